//! What a member tells those who watch its room: bounded, and nothing at all while nobody watches.

use std::time::Duration;

use cbcast::{MessageId, Time, VectorClock};

use crate::id::Position;
use crate::wire::{ClientFrame, Observation, Observed, Watched};

/// Time after the first of what is told at which it goes out; observations also before the member's next message.
const OBSERVED_PAUSE: Duration = Duration::from_millis(100);
/// Number of observations that are told in that time; those beyond it are counted.
const OBSERVED_MAX: usize = 32;
/// Entries of clocks that are told in that time: a hold in a room of a thousand, or each of 32 in a room of 32.
const CLOCK_ENTRIES_MAX: usize = 1_024;

/// Observations that have not been told yet.
#[derive(Debug, Default)]
pub(super) struct Observer {
    watched: Watched,
    waiting: Vec<Observation>,
    left_out: u64,
    /// Number of observations told since the last pause began.
    told: usize,
    /// Entries of clocks likewise.
    told_entries: usize,
    until: Option<Time>,
    /// Position up to which all is delivered, if that is still to be told.
    delivered_to: Option<Position>,
    acknowledged: Position,
}

impl Observer {
    /// Takes in what others want to be told from now on, and returns whether they begin to watch.
    pub(super) fn watched(&mut self, watched: Watched) -> bool {
        let before = std::mem::replace(&mut self.watched, watched);
        if before.observations != watched.observations {
            (self.waiting, self.left_out, self.told, self.told_entries) = (Vec::new(), 0, 0, 0);
            self.until = self.until.filter(|_| self.delivered_to.is_some());
        }
        if before.acknowledgements != watched.acknowledgements {
            (self.delivered_to, self.acknowledged) = (None, Position::START);
        }
        watched.observations && !before.observations
    }

    /// Everything in the log is delivered up to this position.
    pub(super) fn delivered_to(&mut self, now: Time, position: Position) {
        if self.watched.acknowledgements && position > self.acknowledged {
            (self.delivered_to, self.acknowledged) = (Some(position), position);
            self.until.get_or_insert(now + OBSERVED_PAUSE);
        }
    }

    /// Something has happened.
    pub(super) fn see(&mut self, now: Time, message: MessageId, what: Observed) {
        if !self.watched.observations {
            return;
        }
        self.until.get_or_insert(now + OBSERVED_PAUSE);
        match self.told < OBSERVED_MAX {
            true => self.waiting.push(Observation { message, what }),
            false => self.left_out += 1,
        }
        self.told = (self.told + 1).min(OBSERVED_MAX);
    }

    /// A message is held back, where so much has been delivered.
    pub(super) fn see_held(
        &mut self,
        now: Time,
        message: MessageId,
        (held_millis, waits_for): (u64, MessageId),
        clock: impl FnOnce() -> VectorClock,
    ) {
        let mut told = None;
        if self.watched.observations && self.told < OBSERVED_MAX && self.told_entries < CLOCK_ENTRIES_MAX {
            told = Some(clock()).filter(|clock| self.told_entries + clock.len() <= CLOCK_ENTRIES_MAX);
            self.told_entries += told.as_ref().map_or(0, VectorClock::len);
        }
        self.see(now, message, Observed::Held { held_millis, waits_for, clock: told });
    }

    /// Takes the observations that there are to tell.
    pub(super) fn take(&mut self) -> Option<ClientFrame> {
        let (seen, left_out) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.left_out));
        (!seen.is_empty() || left_out > 0).then_some(ClientFrame::Observed { seen, left_out })
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.until
    }

    pub(super) fn handle_timeout(&mut self, now: Time) -> Vec<ClientFrame> {
        if self.until.is_none_or(|until| until > now) {
            return Vec::new();
        }
        (self.told, self.told_entries, self.until) = (0, 0, None);
        let acknowledged = self.delivered_to.take().map(ClientFrame::Acknowledge);
        self.take().into_iter().chain(acknowledged).collect()
    }
}
