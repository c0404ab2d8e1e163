//! The client's place in the room's log: what has come off connections, what is placed, and what waits for its place.

use std::collections::{BTreeMap, BTreeSet};

use cbcast::MessageId;

use super::placing::{Next, Placing};
use crate::id::{Epoch, Position};

/// Position of a record, and the server's wall clock at its delivery.
pub(super) type PlacedAt = (Position, u64);

/// Places of messages in the log of one epoch.
///
/// Invariants: what is placed never moves, so [`placed`](Self::placed) only grows within an epoch; nothing waits at or
/// below it.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Log that the positions are of; `None` before the first welcome.
    epoch: Option<Epoch>,
    /// The last contiguous position that came off a connection.
    received: Position,
    /// The last position before which everything is placed.
    placed: Position,
    /// Places of messages that are not delivered yet.
    arrived: BTreeMap<MessageId, PlacedAt>,
    /// Messages that are delivered and not placed: an earlier position is missing.
    waiting: Placing,
    /// Positions that the connection has passed over, until the record behind them is handled.
    jumped: Option<(Position, Position)>,
    /// Messages that were delivered under an earlier membership, or are own, and were not placed then.
    seen: BTreeSet<MessageId>,
}

impl Placement {
    /// Begins behind `placed`, in a log of this epoch.
    pub(super) fn restored(epoch: Option<Epoch>, placed: Position) -> Self {
        Self { epoch, placed, received: placed, ..Self::default() }
    }

    /// Returns the epoch of the log, once the client has been in it.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Returns the last contiguous position that came off a connection.
    pub(super) fn received(&self) -> Position {
        self.received
    }

    /// Returns the last position before which everything is placed.
    pub(super) fn placed(&self) -> Position {
        self.placed
    }

    /// Begins with the record `first` of a log of which all up to `shared` is as in the one before.
    pub(super) fn begin(&mut self, epoch: Epoch, shared: Option<Position>, first: Position) {
        if self.epoch == Some(epoch) {
            // What was delivered and not placed comes again.
            self.seen.extend(self.waiting.messages().map(|(_, id, _)| id));
        } else if let Some(shared) = shared {
            // Another continuation of the same log: what was delivered of the common part comes again.
            let common = self.waiting.messages().take_while(|(position, ..)| *position <= shared);
            self.seen.extend(common.map(|(_, id, _)| id));
        } else {
            // Another log: nothing in it has been seen.
            self.seen.clear();
        }
        self.waiting.clear();
        self.arrived.clear();
        self.epoch = Some(epoch);
        self.received = first - 1;
        self.placed = first - 1;
    }

    // Off the connection.

    /// Counts a position that has come off the connection. Where it may jump, positions before it that have not come are
    /// left out by the server.
    pub(super) fn receive(&mut self, position: Position, may_jump: bool) {
        if self.received.checked_add(1) == Some(position) {
            self.received = position;
        } else if may_jump && position > self.received {
            self.jumped = Some((self.received + 1, position - 1));
            self.received = position;
        }
    }

    /// Passes over the positions that the server has left out, and returns the first and the last of them.
    pub(super) fn pass_over(&mut self) -> Option<(Position, Position)> {
        let (from, to) = self.jumped.take()?;
        self.waiting.leave_out(from, to);
        Some((from, to))
    }

    /// Notes the place of a message that has arrived and may have to wait for its causes.
    pub(super) fn arrive(&mut self, id: MessageId, place: PlacedAt) {
        self.arrived.insert(id, place);
    }

    /// Forgets a message that was not taken: repair brings it again.
    pub(super) fn refuse(&mut self, id: MessageId) {
        self.arrived.remove(&id);
    }

    // Into the order.

    /// Returns the place of a message that is delivered now, if it has arrived with one.
    pub(super) fn deliver(&mut self, id: MessageId) -> Option<PlacedAt> {
        let place = self.arrived.remove(&id);
        // Behind what is placed there is no place any more: it had been given up.
        if let Some((position, time_millis)) = place.filter(|(position, _)| *position > self.placed) {
            self.waiting.add(position, id, time_millis);
        }
        place
    }

    /// Adds a message that is delivered. `false`: its place was known already.
    pub(super) fn add(&mut self, id: MessageId, (position, time_millis): PlacedAt) -> bool {
        self.waiting.add(position, id, time_millis)
    }

    /// Places what comes next, if that is known.
    pub(super) fn place(&mut self) -> Option<Next> {
        let next = self.waiting.next(self.placed)?;
        self.placed = match next {
            Next::Message { position, .. } => position,
            Next::Nothing { to, .. } => to,
        };
        Some(next)
    }

    /// Places a record from before the group began. `false`: it is not the next.
    pub(super) fn place_history(&mut self, position: Position) -> bool {
        let is_next = self.placed.checked_add(1) == Some(position);
        if is_next {
            self.placed = position;
        }
        is_next
    }

    /// Returns the messages that wait for their place.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Position, MessageId, u64)> {
        self.waiting.messages()
    }

    // Seen before.

    /// Notes a message that the application has been told of, and that comes again as history.
    pub(super) fn see(&mut self, id: MessageId) {
        self.seen.insert(id);
    }

    /// Returns whether a message was seen before, which is done with that.
    pub(super) fn take_seen(&mut self, id: MessageId) -> bool {
        self.seen.remove(&id)
    }

    /// Returns the messages that were seen before.
    pub(super) fn seen(&self) -> impl ExactSizeIterator<Item = MessageId> {
        self.seen.iter().copied()
    }

    /// Forgets what was seen before, once the history is over.
    pub(super) fn forget_seen(&mut self) {
        self.seen.clear();
    }
}
