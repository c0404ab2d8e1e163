//! Ids that clients make, so that a message said again is the same message.

use std::collections::{BTreeMap, VecDeque};

use cbcast::{MemberId, MessageId};

use crate::id::{ClientId, Position};
use crate::log::mark;

/// Ids of clients that a room remembers at most; the store knows them all.
pub(super) const ONCE_MAX: usize = 4_096;

/// Message that was said with an id of its client's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SaidOnce {
    /// Id of the message.
    pub id: MessageId,
    /// Place of the message.
    pub position: Position,
}

/// Messages that were said last with ids of their clients.
#[derive(Debug, Default)]
pub(super) struct SaidLast {
    /// Messages by their marks.
    said: BTreeMap<Vec<u8>, SaidOnce>,
    order: VecDeque<Vec<u8>>,
    forgotten: u64,
}

impl SaidLast {
    /// Returns what `member` has said with this id, if that is remembered, and how many have been forgotten.
    pub(super) fn find(&self, member: MemberId, client_id: &ClientId) -> (Option<SaidOnce>, u64) {
        (self.said.get(&mark::once(member, client_id)).copied(), self.forgotten)
    }

    /// Remembers a message by its mark, and forgets the oldest where there are too many.
    pub(super) fn remember(&mut self, mark: Vec<u8>, said: SaidOnce) {
        self.said.insert(mark.clone(), said);
        self.order.push_back(mark);
        if self.order.len() > ONCE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.said.remove(&oldest);
            self.forgotten += 1;
        }
    }
}
