//! The state of a room as bytes, and the logs that it had before.
//!
//! ```text
//! checkpoint = snapshot [ epoch past{ epoch last } ]     the latter where the room has begun anew
//! ```

use cbcast::wire::{Reader, put_varint};
use cbcast::{MemberId, Snapshot, WireError};

use crate::id::{Epoch, Position};

/// Logs before the present one that are remembered; whoever knows only an older one starts with the tail of history.
const PAST_MAX: usize = 64;

/// Number and origin of a room that begins anew. Neither may ever have been its own: both are fresh randomness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewOrigin {
    /// Origin from which it admits from now on, so that no id is given out twice.
    pub origin: u32,
    /// Number that tells its log from what others may have seen of it.
    pub epoch: Epoch,
}

/// A log that a room had before it began anew: up to `last` it is the same as the present one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct PastEpoch {
    epoch: Epoch,
    last: Position,
}

/// The epoch of a room's log, and those before it.
#[derive(Clone, Debug)]
pub(super) struct Epochs {
    present: Epoch,
    past: Vec<PastEpoch>,
}

impl Epochs {
    /// Begins with this one.
    pub(super) fn new(present: Epoch) -> Self {
        Self { present, past: Vec::new() }
    }

    /// Returns the number that tells the log from any other.
    pub(super) fn present(&self) -> Epoch {
        self.present
    }

    /// Returns up to where the log that had this epoch is the present one, which ends at `position`.
    pub(super) fn shared(&self, epoch: Epoch, position: Position) -> Option<Position> {
        let past = || self.past.iter().find(|past| past.epoch == epoch).map(|past| past.last);
        if epoch == self.present { Some(position) } else { past() }
    }

    /// Begins another epoch. `last` is where the present one ends, if its name is known.
    pub(super) fn renew(&mut self, epoch: Epoch, last: Option<Position>) {
        self.past.extend(last.map(|last| PastEpoch { epoch: self.present, last }));
        self.past.drain(..self.past.len().saturating_sub(PAST_MAX));
        self.present = epoch;
    }
}

/// State of a room at a position, beside its members.
pub(super) struct RoomCheckpoint {
    pub(super) snapshot: Snapshot,
    pub(super) epochs: Epochs,
}

impl RoomCheckpoint {
    /// Reads a checkpoint of a log that had `epoch` when it began.
    pub(super) fn decode(state: &[u8], epoch: Epoch) -> Result<Self, WireError> {
        let reader = &mut Reader::new(state);
        let snapshot = Snapshot::decode(reader)?;
        let mut epochs = Epochs::new(epoch);
        if reader.position() < state.len() {
            epochs.present = Epoch::new(reader.varint()?);
            for _ in 0..reader.varint()? {
                epochs.past.push(PastEpoch {
                    epoch: Epoch::new(reader.varint()?),
                    last: Position::new(reader.varint()?),
                });
            }
        }
        Ok(Self { snapshot, epochs })
    }

    /// Writes what [`decode`](Self::decode) reads.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.snapshot.encode(&mut out);
        let Epochs { present, past } = &self.epochs;
        if !past.is_empty() {
            put_varint(&mut out, present.number());
            put_varint(&mut out, past.len() as u64);
            for past in past {
                put_varint(&mut out, past.epoch.number());
                put_varint(&mut out, past.last.get());
            }
        }
        out
    }

    /// Returns the host that admits, if there is exactly one.
    pub(super) fn host(&self) -> Option<MemberId> {
        let mut hosts = self.snapshot.clock.iter().map(|(member, _)| member).filter(|m| m.is_host());
        hosts.next().filter(|_| hosts.next().is_none())
    }
}
