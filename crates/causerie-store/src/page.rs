//! Answers of a store.

use core::ops::RangeInclusive;

use bytes::Bytes;
use causerie_core::id::Position;
use cbcast::MemberId;

use crate::change::{RoomId, RoomRow};

/// A room, as found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredRoom {
    /// Number of the room.
    pub room: RoomId,
    /// Facts about it.
    pub row: RoomRow,
    /// The first position that is kept; one more than `last` if none is.
    pub first: Position,
    /// The last position; 0 if nothing was ever appended.
    pub last: Position,
    /// The last checkpoint. `None`: there never was one, or it is damaged (then that was reported): go from the
    /// records alone.
    pub checkpoint: Option<Checkpoint>,
    /// More may have been stored, and is lost without a trace: positions behind `last` are given out again, and somebody
    /// may have seen what stood there. True until the next checkpoint is committed.
    pub cut: bool,
}

/// A caller's state, to go on from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Position at which it was taken.
    pub position: Position,
    /// State, as it was given.
    pub state: Bytes,
}

/// Members to read.
#[derive(Clone, Copy, Debug)]
pub enum MemberSelection<'a> {
    /// Those who are in.
    Present,
    /// Those by whose secrets somebody may come back, departed ones too.
    WithSecrets,
    /// These.
    Ids(&'a [MemberId]),
}

/// Some records of a room in ascending order, without holes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoredPage {
    /// Whole `Delivered` frames, as they were appended. Empty: there are no readable records here.
    pub runs: Vec<Bytes>,
    /// The position of the first record. With no records: one more than `last`.
    pub first: Position,
    /// The position of the last record. With no records: where reading began, less one.
    pub last: Position,
    /// Stretch where the page ends (before it, when reading backwards) that cannot be read, if there is one: removed by
    /// retention, or damaged. A long damaged stretch may be told in several pieces.
    pub gap: Option<RangeInclusive<Position>>,
}

impl StoredPage {
    /// The cursor to read on from, forwards: behind the records and the gap.
    #[must_use]
    pub fn next(&self) -> Position {
        self.gap.as_ref().map_or(self.last, |gap| (*gap.end()).max(self.last))
    }

    /// The `before` to read on from, backwards: the records before this page and its gap.
    #[must_use]
    pub fn previous(&self) -> Position {
        self.gap.as_ref().map_or(self.first, |gap| (*gap.start()).min(self.first))
    }

    /// Returns the number of its records.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.last + 1 - self.first
    }

    /// Returns whether it has no records (it may still name a gap).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns the number of bytes of its frames.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(Bytes::len).sum()
    }
}

/// A message that a search found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// Room that it was said in.
    pub room: RoomId,
    /// Place of the message.
    pub position: Position,
    /// Time at which it was said, by the wall clock of its server.
    pub time_millis: u64,
    /// The whole `Delivered` frame.
    pub frame: Bytes,
}

/// Messages that a search found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// The messages, newest first.
    pub hits: Vec<Hit>,
    /// All that was asked for was looked through. Otherwise the index is being made anew, newest messages first, and older
    /// ones are found later.
    pub complete: bool,
}

/// Limits to what is kept of a room's log: whatever is beyond any of these limits goes, the oldest first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// Records are kept for so many milliseconds. Records go in log order: an old one behind a younger stays. One with a
    /// time that has not come yet is as old as those around it.
    pub age_millis: Option<u64>,
    /// Records that are kept at most.
    pub count: Option<u64>,
    /// Bytes of frames that are kept at most.
    pub bytes: Option<u64>,
    /// Position from which on nothing goes, whatever the limits.
    pub before: Option<Position>,
}

/// Times that count where it is asked what is older than an age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgeRange {
    /// Records of this time, and younger ones, are young.
    pub(crate) oldest: u64,
    /// Times behind this one have not come yet, so nobody knows when it was.
    pub(crate) now: u64,
}

/// Clocks of two servers, or of one before and after a correction, may differ so much.
const AHEAD_MILLIS: u64 = 60_000;

impl AgeRange {
    /// `None`: nothing is that old, since times before `from` count as that.
    pub(crate) fn of(keep: &Retention, now_millis: u64, from: u64) -> Option<Self> {
        let oldest = now_millis.saturating_sub(keep.age_millis?);
        let now = now_millis.saturating_add(AHEAD_MILLIS);
        (oldest > from.min(now_millis) || from == 0).then_some(Self { oldest, now })
    }

    /// The first position that is to be kept, of records that follow each other, and whether one of them is young.
    /// `kept` is what was found before.
    pub(crate) fn look(self, times: impl Iterator<Item = (Position, u64)>, kept: &mut Position) -> bool {
        for (position, time) in times {
            if time > self.now {
                continue;
            }
            if time >= self.oldest {
                return true;
            }
            *kept = position + 1;
        }
        false
    }
}

/// Outcome of retention.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Removed {
    /// Number of positions that were readable and are not any more.
    pub records: u64,
    /// The first position that is kept.
    pub first: Position,
}

/// A stretch of a room's log that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Room that it is in.
    pub room: RoomId,
    /// Positions that it has.
    pub positions: RangeInclusive<Position>,
}

/// Findings of a check. It has read everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckReport {
    /// Rooms.
    pub rooms: u64,
    /// Records that are readable and right.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Stretches that should be there and cannot be read. Long lists are cut at 10,000.
    pub damaged: Vec<Damage>,
    /// Other things that are wrong, in words, for people.
    pub problems: Vec<String>,
}

impl CheckReport {
    /// Returns whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.problems.is_empty()
    }
}

/// Numbers for people and metrics. Counters start at 0 when the store is opened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreStats {
    /// Rooms.
    pub rooms: u64,
    /// Positions kept, over all rooms.
    pub records: u64,
    /// Batches committed.
    pub commits: u64,
    /// Records appended.
    pub appended: u64,
    /// Bytes of records in the staging area, not yet moved into their rooms' blocks.
    pub staged_bytes: u64,
    /// Bytes of the database files.
    pub file_bytes: u64,
    /// Bytes of them that are free for what comes next.
    pub free_bytes: u64,
    /// Bytes of the files of the write-ahead logs.
    pub wal_bytes: u64,
    /// Records found damaged or missing while reading.
    pub damaged: u64,
    /// Presence of a search index.
    pub search: bool,
    /// End of writing, by a failure.
    pub failed: bool,
}
