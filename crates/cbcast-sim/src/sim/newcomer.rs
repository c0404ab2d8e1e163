//! Members that are on their way into the group.

use std::collections::BTreeSet;

use cbcast::{MemberId, MessageId};

use crate::Seen;
use crate::textbook::Bss;

/// Somebody who was admitted and has not started.
#[derive(Clone, Debug)]
pub(super) enum Newcomer {
    /// A snapshot is taken for it when it starts, of any process.
    Waits,
    /// It was taken, and is on its way.
    Has(Box<Taken>),
}

/// A snapshot, and what the judges know of the process at that moment.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) from: MemberId,
    pub(super) bytes: Vec<u8>,
    pub(super) observed: Seen,
    pub(super) seen: BTreeSet<MessageId>,
    pub(super) skipped: BTreeSet<MessageId>,
    pub(super) textbook: Option<Bss<MessageId>>,
}
