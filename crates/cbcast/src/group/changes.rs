//! Changes that an import must know of, up to what is on disk.

use alloc::collections::VecDeque;

use super::output::Transmit;
use crate::control::Packet;
use crate::message::Message;
use crate::repair::MissingRange;

/// A moment in the life of a group: all that had happened by then. See [`Group::mark`](crate::Group::mark).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mark(pub(super) u64);

/// A change that an import must know of.
#[derive(Clone, Debug)]
pub(super) enum ChangeEntry {
    Delivered(Message),
    Skipped(MissingRange),
    /// Something that [`Particulars`](crate::persist::Particulars) hold.
    Particulars,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeJournal {
    pub(super) persisted: u64,
    /// The changes behind `persisted`.
    pub(super) entries: VecDeque<ChangeEntry>,
    /// Packets to be sent once so much is on disk.
    pub(super) waiting: VecDeque<(u64, Transmit)>,
}

impl ChangeJournal {
    pub(super) fn end(&self) -> u64 {
        self.persisted + self.entries.len() as u64
    }

    pub(crate) fn delivered(&mut self, message: Message) {
        self.entries.push_back(ChangeEntry::Delivered(message));
    }

    pub(crate) fn skipped(&mut self, range: MissingRange) {
        self.entries.push_back(ChangeEntry::Skipped(range));
    }

    /// The message that was delivered last is a local member's, and is to be sent.
    pub(crate) fn promise_last(&mut self) {
        if let Some(ChangeEntry::Delivered(message)) = self.entries.back() {
            let packet = Packet::Message(message.clone());
            self.waiting.push_back((self.end(), Transmit { to: None, packet }));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
