//! Clocks of processes, right and wrong, and the times at which timeouts are handled.

use std::time::Duration;

use cbcast::Time;

use crate::random::SplitMix64;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A clock of a process: far from the others', too fast or too slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalClock {
    /// Time that it shows at the beginning of the run.
    start: Duration,
    /// Thousandths of a second that pass on it in each second.
    pace: u64,
}

/// Times at which a process has its timeouts handled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timeouts {
    /// Delay after they are due.
    pub(super) late: Duration,
    /// None before.
    pub(super) ignored_until: Time,
}

impl Default for LocalClock {
    fn default() -> Self {
        Self { start: Duration::ZERO, pace: 1_000 }
    }
}

impl LocalClock {
    /// Right, but for a year.
    pub(super) fn a_year_ahead() -> Self {
        Self { start: YEAR, ..Self::default() }
    }

    /// Years away, and up to a tenth too fast or too slow.
    pub(super) fn skewed(random: &mut SplitMix64) -> Self {
        Self { start: YEAR * (1 + random.below(40) as u32), pace: 900 + random.below(201) }
    }

    /// Returns what it shows at this moment.
    pub(super) fn at(&self, now: Time) -> Time {
        let passed = u128::from(now.as_nanos()) * u128::from(self.pace) / 1_000;
        Time::ZERO + self.start + Duration::from_nanos(passed as u64)
    }

    /// The first moment at which it shows that much.
    pub(super) fn when(&self, shown: Time) -> Time {
        let passed = shown.since(Time::ZERO + self.start).as_nanos() * 1_000;
        Time::from_nanos(u64::try_from(passed.div_ceil(u128::from(self.pace))).unwrap_or(u64::MAX))
    }

    /// It is put forward by a year, or back by one if it can be.
    pub(super) fn jump(&mut self, back: bool) {
        match self.start.checked_sub(YEAR).filter(|_| back) {
            Some(start) => self.start = start,
            None => self.start += YEAR,
        }
    }
}

impl Timeouts {
    /// Returns when a timeout is handled that is due at this moment.
    pub(super) fn when(&self, due: Time) -> Time {
        (due + self.late).max(self.ignored_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_due_when_the_clock_shows_it_and_not_before() {
        for seed in 0..1_000 {
            let random = &mut SplitMix64(seed);
            let mut clock = LocalClock::skewed(random);
            let now = Time::from_nanos(random.below(1 << 40));
            assert!(clock.when(clock.at(now)) <= now);
            let shown = clock.at(now) + Duration::from_nanos(random.below(1 << 30));
            let due = clock.when(shown);
            assert!(clock.at(due) >= shown);
            assert!(
                clock.at(Time::from_nanos(due.as_nanos().saturating_sub(1))) < shown || due == Time::ZERO
            );
            let before = clock.at(now);
            clock.jump(false);
            assert_eq!(clock.at(now).since(before), YEAR);
            clock.jump(true);
            assert_eq!(clock.at(now), before);
        }
    }
}
