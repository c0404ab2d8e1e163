//! Token buckets: how much may come at once, and how often in the long term. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A rate in the long term, and how much may come at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    every: Duration,
    burst: u32,
}

impl Rate {
    /// Returns the rate of `count` in each `period`, `burst` of them at once; `None`, which is no limit, where `count` is 0.
    pub(crate) const fn new(count: u32, period: Duration, burst: u32) -> Option<Self> {
        if count == 0 {
            return None;
        }
        let burst = if burst == 0 { 1 } else { burst };
        let every = period.checked_div(count).expect("not by 0");
        // What takes no time would never be there.
        Some(Self { every: if every.is_zero() { Duration::from_nanos(1) } else { every }, burst })
    }

    /// Returns the rate at which `count` may come in each `period`, all of them at once.
    pub(crate) const fn each(period: Duration, count: u32) -> Option<Self> {
        Self::new(count, period, count)
    }
}

/// What is left of a budget. A fresh one is full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// When it is full again, if that is still to come.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes what there is of `wanted`, one at least, and returns how much.
    ///
    /// # Errors
    /// How long to wait until there is one. Nothing was taken: whoever asks in vain is not put off for longer.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate, wanted: u32) -> Result<u32, Duration> {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let (missing, capacity) = (full_at - now, rate.every * rate.burst);
        let left = capacity.saturating_sub(missing).as_nanos() / rate.every.as_nanos();
        let taken = wanted.min(u32::try_from(left).unwrap_or(u32::MAX));
        if taken == 0 {
            return Err(missing + rate.every - capacity);
        }
        self.full_at = Some(full_at + rate.every * taken);
        Ok(taken)
    }

    /// Whether nothing is known of it that a fresh one would not know.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_many_come_at_once_and_then_so_often() {
        let rate = Rate::new(4, SECOND, 60).unwrap();
        let (mut bucket, mut now) = (Bucket::default(), Instant::now());
        assert!(bucket.is_full(now));
        assert_eq!(bucket.take(now, rate, 59), Ok(59));
        assert_eq!(bucket.take(now, rate, 5), Ok(1), "what there is");
        for _ in 0..3 {
            assert_eq!(bucket.take(now, rate, 1), Err(SECOND / 4), "asking in vain costs nothing");
        }
        now += SECOND / 8;
        assert_eq!(bucket.take(now, rate, 1), Err(SECOND / 8));
        now += SECOND / 8;
        assert_eq!(bucket.take(now, rate, 1), Ok(1));
        now += 14 * SECOND;
        assert!(!bucket.is_full(now));
        now += SECOND;
        assert!(bucket.is_full(now));
        assert_eq!(bucket.take(now + 1_000 * SECOND, rate, 100), Ok(60), "no more than fits is gathered");
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit_and_a_smaller_one_counts_at_once() {
        assert_eq!(Rate::each(SECOND, 0), None);
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        assert_eq!(bucket.take(now, Rate::each(SECOND, 100).unwrap(), 100), Ok(100));
        // All of its second is spent.
        assert_eq!(bucket.take(now, Rate::new(10, SECOND, 5).unwrap(), 1), Err(SECOND * 6 / 10));
        let fast = Rate::new(u32::MAX, SECOND, u32::MAX).unwrap();
        assert!(Bucket::default().take(now, fast, 7).is_ok());
    }
}
