//! Records that a room has to store, and the reach of its log.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use cbcast::MemberId;

use super::roster::MemberRecord;
use super::topic::Topic;
use crate::content::name::RoomName;
use crate::id::{Epoch, Position};
use crate::log::Run;
use crate::wire::Delivered;

/// Records that are read again at most when a room is restored.
const CHECKPOINT_EVERY: u64 = 4_096;

/// Changes since the batch before, to be stored as a whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// The records behind those of the batch before.
    pub records: Option<Run>,
    /// Members that are new, or of whom something has changed.
    pub members: Vec<MemberRecord>,
    /// Names of records, of this batch or of one before ([`crate::log::mark`]).
    pub marks: Vec<(Vec<u8>, Position)>,
    /// The state of the group after the last of the records, now and then: [`Room::restore`](super::Room::restore) begins
    /// there.
    pub checkpoint: Option<(Position, Bytes)>,
    /// [`Room::changes`](super::Room::changes) when it was taken.
    pub changes: u64,
}

/// A room as it was stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Name of the room.
    pub name: RoomName,
    /// Number that tells its log from any other.
    pub epoch: Epoch,
    /// The last checkpoint.
    pub checkpoint: Option<(Position, Bytes)>,
    /// Everybody who is in, and as many of the departed as are to be remembered, in order of leaving.
    pub members: Vec<MemberRecord>,
    /// The first record that is kept.
    pub first: Position,
    /// The last record.
    pub last: Position,
    /// The room's topic, if it was ever set ([`mark::TOPIC`](crate::log::mark::TOPIC)).
    pub topic: Option<Topic>,
}

/// Changes that no batch has taken yet.
#[derive(Debug, Default)]
struct PendingChanges {
    bytes: Vec<u8>,
    records: u64,
    members: BTreeMap<MemberId, MemberRecord>,
    marks: Vec<(Vec<u8>, Position)>,
    checkpoint: bool,
}

/// The end of a room's log, what of it can be read, and what is to be stored.
///
/// Invariant: whatever is to be stored raises [`changes`](Self::changes), so that who waits for it knows when it is.
#[derive(Debug)]
pub(super) struct Journal {
    /// Position of the last record.
    position: Position,
    /// The first record that can be read, and stretches behind it that cannot.
    first: Position,
    gaps: Vec<RangeInclusive<Position>>,
    pending: PendingChanges,
    changes: u64,
    checkpoint_at: Position,
}

impl Journal {
    /// Begins behind `position`, where the last checkpoint stands, in a log that can be read from `first` on.
    pub(super) fn new(position: Position, first: Position) -> Self {
        let (gaps, pending) = (Vec::new(), PendingChanges::default());
        Self { position, first, gaps, pending, changes: 0, checkpoint_at: position }
    }

    /// Takes note that a record is stored already.
    pub(super) fn restored(&mut self, position: Position) {
        self.position = position;
    }

    // What is to be stored.

    /// Appends a message to the log, and returns its position.
    pub(super) fn append(&mut self, time_millis: u64, packet: Bytes) -> Position {
        self.position = self.position.next();
        self.changes += 1;
        self.pending.records += 1;
        let record = Delivered { position: self.position, time_millis, packet };
        record.encode(&mut self.pending.bytes);
        self.position
    }

    /// Stores what is known of a member.
    pub(super) fn note_member(&mut self, record: MemberRecord) {
        self.pending.members.insert(record.member, record);
        self.changes += 1;
    }

    /// Gives the record at `position` a name under which the store finds it.
    pub(super) fn mark(&mut self, name: Vec<u8>, position: Position) {
        self.pending.marks.push((name, position));
    }

    /// Takes note of a change that is stored by others than the next batch.
    pub(super) fn note_change(&mut self) {
        self.changes += 1;
    }

    /// Puts a checkpoint into the next batch, whenever the last one was.
    pub(super) fn ask_for_checkpoint(&mut self) {
        if self.checkpoint_at < self.position {
            self.require_checkpoint();
        }
    }

    /// Puts a checkpoint into the next batch, even if no record has come since the last one.
    pub(super) fn require_checkpoint(&mut self) {
        self.pending.checkpoint = true;
        self.changes += 1;
    }

    /// Takes what has changed since the last batch, if anything has. `state` writes a checkpoint.
    pub(super) fn take_batch(&mut self, state: impl FnOnce() -> Bytes) -> Option<Batch> {
        let due = self.position - self.checkpoint_at >= CHECKPOINT_EVERY;
        let PendingChanges { bytes, records, members, marks, checkpoint } =
            core::mem::take(&mut self.pending);
        if records == 0 && members.is_empty() && !checkpoint {
            return None;
        }
        let first = self.position + 1 - records;
        let run = (records > 0).then(|| Run { first, last: self.position, bytes: bytes.into() });
        let checkpoint = (due || checkpoint).then(|| {
            self.checkpoint_at = self.position;
            (self.position, state())
        });
        let members = members.into_values().collect();
        Some(Batch { records: run, members, marks, checkpoint, changes: self.changes })
    }

    /// Counts what is to be stored.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Counts the bytes of records that wait to be taken.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.bytes.len()
    }

    /// Returns where the last checkpoint that was taken stands.
    pub(super) fn checkpoint_at(&self) -> Position {
        self.checkpoint_at
    }

    // What can be read.

    /// Returns the position of the last record, stored or not.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Returns the first position that is kept.
    pub(super) fn first(&self) -> Position {
        self.first
    }

    /// Takes note that records before this position are not kept any more.
    pub(super) fn kept_from(&mut self, first: Position) {
        self.first = self.first.max(first);
        self.gaps.retain(|gap| *gap.end() >= first);
    }

    /// Takes note that these records cannot be read.
    pub(super) fn unreadable(&mut self, gap: RangeInclusive<Position>) {
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    /// Returns the first position from `wanted` on that can be read.
    pub(super) fn readable_from(&self, wanted: Position) -> Position {
        let from = wanted.max(self.first);
        let gap = self.gaps.iter().find(|gap| gap.contains(&from));
        gap.map_or(from, |gap| *gap.end() + 1)
    }

    /// Returns the records, and the marks, that wait to be taken.
    #[cfg(test)]
    pub(super) fn pending(&self) -> (Bytes, &[(Vec<u8>, Position)]) {
        (Bytes::copy_from_slice(&self.pending.bytes), &self.pending.marks)
    }
}
