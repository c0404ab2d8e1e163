//! Plan of a load.

use std::time::Duration;

use thiserror::Error;

use crate::payload::TEXT_BYTES_MIN;
use crate::room::OUTSTANDING_MAX;

/// Plan of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadPlan {
    /// Number of rooms.
    pub rooms: u32,
    /// Number of members in each: all of them receive.
    pub receivers: u32,
    /// Number of those who talk.
    pub senders: u32,
    /// Number of those who read nothing until the others have finished. They do not talk.
    pub stopped: u32,
    /// Length of each text, in bytes.
    pub text_bytes: usize,
    /// Pace at which they talk.
    pub pace: LoadPace,
    /// Messages of a hundred that answer what their sender has just received.
    pub answers_percent: u32,
    /// Time that they talk before anything is measured.
    pub warm_up: Duration,
    /// Time that is measured.
    pub seconds: Duration,
    /// Threads that share the rooms.
    pub threads: u32,
}

/// Pace of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LoadPace {
    /// As much as goes through: so many messages are outstanding in each room, that is, sent and not yet received by
    /// everybody.
    Window(usize),
    /// Number of messages a second, over all rooms.
    Rate(f64),
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self {
            rooms: 1,
            receivers: 10,
            senders: 1,
            stopped: 0,
            text_bytes: 128,
            pace: LoadPace::Window(100),
            answers_percent: 25,
            warm_up: Duration::from_secs(1),
            seconds: Duration::from_secs(10),
            threads: 1,
        }
    }
}

/// Mistake in a plan.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum PlanError {
    /// Something is needed of which there is none.
    #[error("at least one {what} is needed")]
    None {
        /// Noun of it.
        what: &'static str,
    },
    /// Those who talk are among those who receive.
    #[error("{senders} senders among {receivers} receivers: a room's senders are some of its receivers")]
    Senders {
        /// Number of those who talk.
        senders: u32,
        /// Number of all.
        receivers: u32,
    },
    /// Those who have stopped neither talk nor are waited for.
    #[error("{senders} senders and {stopped} stopped readers among {receivers} receivers: nobody is both")]
    Stopped {
        /// Number of those who talk.
        senders: u32,
        /// Number of those who read nothing.
        stopped: u32,
        /// Number of all.
        receivers: u32,
    },
    /// The text has no room for what it must say.
    #[error("a payload of {bytes} bytes is too small: what is checked takes {TEXT_BYTES_MIN}")]
    Text {
        /// Length that it would have.
        bytes: usize,
    },
    /// The protocol would cut the text.
    #[error("a payload of {bytes} bytes is too large for {protocol}: {most} at most")]
    LongText {
        /// Length that it would have.
        bytes: usize,
        /// Protocol that carries it.
        protocol: &'static str,
        /// Length that it may have.
        most: usize,
    },
    /// No such pace.
    #[error("a rate must be above 0 and below a million messages a second")]
    Rate,
    /// More than can be kept.
    #[error("at most {OUTSTANDING_MAX} messages can be outstanding in a room")]
    Window,
    /// More than a hundred of a hundred.
    #[error("{percent} % of the messages cannot be answers")]
    Answers {
        /// Percentage asked for.
        percent: u32,
    },
    /// The operating system does not allow as many connections.
    #[error(
        "{connections} connections are too many: this process may have {limit} files open (see ulimit -n)"
    )]
    Files {
        /// Number of connections that there would be.
        connections: u64,
        /// Number of files that may be open.
        limit: u64,
    },
}

impl LoadPlan {
    /// Checks whether it can be.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with it.
    pub fn check(&self) -> Result<(), PlanError> {
        let needed = [
            ("room", self.rooms),
            ("receiver", self.receivers),
            ("sender", self.senders),
            ("thread", self.threads),
            ("second", u32::from(!self.seconds.is_zero())),
        ];
        if let Some((what, _)) = needed.into_iter().find(|(_, n)| *n == 0) {
            return Err(PlanError::None { what });
        }
        if self.senders > self.receivers {
            return Err(PlanError::Senders { senders: self.senders, receivers: self.receivers });
        }
        if self.stopped > self.receivers - self.senders {
            let Self { senders, stopped, receivers, .. } = *self;
            return Err(PlanError::Stopped { senders, stopped, receivers });
        }
        if self.text_bytes < TEXT_BYTES_MIN {
            return Err(PlanError::Text { bytes: self.text_bytes });
        }
        if self.answers_percent > 100 {
            return Err(PlanError::Answers { percent: self.answers_percent });
        }
        match self.pace {
            LoadPace::Window(0) => Err(PlanError::None { what: "message outstanding" }),
            LoadPace::Window(window) if window > OUTSTANDING_MAX => Err(PlanError::Window),
            LoadPace::Rate(rate) if !(rate > 0.0 && rate < 1e6) => Err(PlanError::Rate),
            _ => Ok(()),
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        u64::from(self.rooms) * u64::from(self.receivers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_cannot_be_are_refused_with_the_reason() {
        let good = LoadPlan::default();
        assert_eq!(good.check(), Ok(()));
        let bad = [
            LoadPlan { rooms: 0, ..good },
            LoadPlan { receivers: 0, ..good },
            LoadPlan { senders: 0, ..good },
            LoadPlan { senders: 11, ..good },
            LoadPlan { senders: 8, stopped: 3, ..good },
            LoadPlan { text_bytes: TEXT_BYTES_MIN - 1, ..good },
            LoadPlan { answers_percent: 101, ..good },
            LoadPlan { pace: LoadPace::Window(0), ..good },
            LoadPlan { pace: LoadPace::Window(OUTSTANDING_MAX + 1), ..good },
            LoadPlan { pace: LoadPace::Rate(0.0), ..good },
            LoadPlan { pace: LoadPace::Rate(f64::NAN), ..good },
            LoadPlan { seconds: Duration::ZERO, ..good },
            LoadPlan { threads: 0, ..good },
        ];
        for plan in bad {
            assert!(plan.check().is_err(), "{plan:?}");
        }
    }
}
