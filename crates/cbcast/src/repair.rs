//! When to ask for what is missing.
//!
//! A gap is given `repair_delay` to close by itself. Then it is asked for, again after each pause, which doubles
//! up to `repair_delay_max` and is shortened by up to a quarter at random, so that many members that miss the
//! same message do not all ask at once.

use core::time::Duration;

use crate::config::Config;
use crate::id::MemberId;
use crate::time::Time;

/// Messages of one member that are known to exist and have not arrived: `from..=to`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MissingRange {
    /// Whose messages.
    pub member: MemberId,
    /// The first missing one.
    pub from: u64,
    /// The last missing one.
    pub to: u64,
}

/// Which time the same gaps are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Round {
    /// The first: ask whoever sent the messages.
    First,
    /// A later one: ask anybody, by this draw.
    Later(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Repair {
    first_delay: Duration,
    deadline: Option<Time>,
    pause: Duration,
    random: u64,
}

impl Repair {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            first_delay: config.repair_delay,
            deadline: None,
            pause: config.repair_delay,
            random: config.seed,
        }
    }

    pub(crate) fn gap_opened(&mut self, now: Time) {
        if self.deadline.is_none() {
            self.deadline = Some(now + self.first_delay);
        }
    }

    pub(crate) fn all_gaps_closed(&mut self) {
        self.deadline = None;
        self.pause = self.first_delay;
    }

    /// Something missing has come: the pauses start small again.
    pub(crate) fn progress(&mut self) {
        self.pause = self.first_delay;
    }

    pub(crate) fn due(&self, now: Time) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The missing was asked for at `now`: sets the next deadline. Which round that was.
    pub(crate) fn asked(&mut self, now: Time, config: &Config) -> Round {
        let round = if self.pause == self.first_delay { Round::First } else { Round::Later(self.draw()) };
        self.pause = self.pause.saturating_mul(2).min(config.repair_delay_max).max(self.first_delay);
        let quarter = u64::try_from(self.pause.as_nanos() / 4).unwrap_or(u64::MAX).max(1);
        let jitter = Duration::from_nanos(self.draw() % quarter);
        self.deadline = Some(now + (self.pause - jitter));
        round
    }

    /// SplitMix64 [SLF14].
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadline
    }
}
