//! State in memory: where each room's log begins and ends, and the staged runs. Bounded by the number of
//! rooms and by [`Options::staging_bytes_max`](super::options::Options::staging_bytes_max), never by history.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::change::RoomId;
use crate::run::StoredRun;
use causerie_core::id::Position;

/// A run that waits in the staging area.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    /// Number of its row.
    pub(super) row: i64,
    pub(super) run: StoredRun,
}

#[derive(Debug)]
pub(super) struct RoomState {
    /// The first position kept.
    pub(super) first: Position,
    /// The last position that is in a block, or gone.
    pub(super) moved: Position,
    pub(super) last: Position,
    pub(super) staged: VecDeque<Staged>,
    /// Records behind `last` may have been lost.
    pub(super) cut: bool,
}

impl RoomState {
    pub(super) const EMPTY: Self = Self {
        first: Position::FIRST,
        moved: Position::START,
        last: Position::START,
        staged: VecDeque::new(),
        cut: false,
    };
}

#[derive(Debug, Default)]
pub(super) struct StoreState {
    pub(super) rooms: HashMap<RoomId, RoomState>,
    pub(super) next_room: u64,
    /// The time as which earlier ones count.
    pub(super) ages_from: u64,
    /// The rooms that have staged runs, or had some in rows that are still there.
    pub(super) waiting: BTreeSet<RoomId>,
    /// Bytes of frames in staged runs.
    pub(super) staged_bytes: u64,
    /// The staging rows in the database, and their sizes.
    pub(super) rows: BTreeMap<i64, u64>,
    /// Number of the next staging row.
    pub(super) next_row: i64,
    /// Time when the oldest staged batch came.
    pub(super) waiting_since: Option<Instant>,
    pub(super) round: Option<MovingRound>,
    pub(super) settled: Option<SettledRows>,
    /// Room and position before which blocks of older formats are still to be taken over, if there are some.
    pub(super) old_before: Option<(i64, i64)>,
    /// Closed rooms of which something is left in the database.
    pub(super) closing: BTreeSet<RoomId>,
}

/// A round of moving: all rows up to one, room by room.
#[derive(Clone, Debug)]
pub(super) struct MovingRound {
    pub(super) up_to: i64,
    pub(super) rooms: VecDeque<RoomId>,
    /// Rooms that are done, with the last position moved of each.
    pub(super) ends: Vec<(RoomId, Position)>,
}

/// Staging rows whose runs are in blocks, on the disk.
#[derive(Debug)]
pub(super) struct SettledRows {
    pub(super) up_to: i64,
    /// Rooms of which that is not noted yet, with the last position moved of each.
    pub(super) ends: Vec<(RoomId, Position)>,
}

impl StoreState {
    pub(super) fn stage(&mut self, id: RoomId, row: i64, run: StoredRun) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.last = run.last();
        self.staged_bytes += run.frames.len() as u64;
        room.staged.push_back(Staged { row, run });
        self.waiting.insert(id);
    }

    /// Notes that the blocks of a room reach up to `moved` now: runs that were staged up to there go.
    pub(super) fn moved(&mut self, id: RoomId, moved: Position) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.moved = room.moved.max(moved);
        while room.staged.front().is_some_and(|s| s.run.last() <= moved) {
            let staged = room.staged.pop_front().expect("there is a front");
            self.staged_bytes -= staged.run.frames.len() as u64;
        }
        if room.staged.is_empty() {
            self.waiting.remove(&id);
        }
    }

    /// Notes that the round has come to its end in a room.
    pub(super) fn room_is_done(&mut self, id: RoomId) {
        let end = self.rooms.get(&id).map(|room| (room.moved, room.staged.is_empty()));
        if end.is_none_or(|(_, empty)| empty) {
            self.waiting.remove(&id);
        }
        let Some(round) = &mut self.round else { return };
        round.rooms.pop_front();
        round.ends.extend(end.map(|(moved, _)| (id, moved)));
    }

    pub(super) fn close(&mut self, id: RoomId) {
        if let Some(room) = self.rooms.remove(&id) {
            self.staged_bytes -= room.staged.iter().map(|s| s.run.frames.len() as u64).sum::<u64>();
        }
        self.waiting.remove(&id);
        self.closing.insert(id);
    }
}
