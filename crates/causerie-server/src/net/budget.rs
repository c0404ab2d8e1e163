//! Token buckets: how much may come at once, and how often in the long term. Time is an argument.

use std::fmt;
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

/// Rest of a budget. A fresh one is full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// Time when it is full again, if that is still to come.
    full_at: Option<Instant>,
}

impl Bucket {
    pub(crate) const fn new() -> Self {
        Self { full_at: None }
    }

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

    /// Takes so much, whether or not it is there: what was too much has to come back first, which takes `longest` at most.
    pub(crate) fn spend(&mut self, now: Instant, rate: Rate, taken: u32, longest: Duration) {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + rate.every.saturating_mul(taken);
        self.full_at = Some(full_at.min(now + longest));
    }

    /// Returns whether more was taken than there was.
    pub(crate) fn is_empty(&self, now: Instant, rate: Rate) -> bool {
        self.full_at.is_some_and(|at| at > now + rate.every * rate.burst)
    }

    /// Returns when it is full again, if it was ever used.
    pub(crate) fn full_at(&self) -> Option<Instant> {
        self.full_at
    }
}

/// Something that is said seldom, and how often it was left out.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    bucket: Bucket,
    left_out: u64,
}

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self { bucket: Bucket::new(), left_out: 0 }
    }

    /// Returns what stands behind it if it may be said now.
    pub(crate) fn turn(&mut self, now: Instant, rate: Rate) -> Option<LeftOut> {
        if self.bucket.take(now, rate, 1).is_ok() {
            return Some(LeftOut(std::mem::take(&mut self.left_out)));
        }
        self.left_out += 1;
        None
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }
}

/// Number of lines that were left out before this one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct LeftOut(u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} more like this were left out)"),
        }
    }
}

/// Lines of the log from one place in the code that anybody may cause.
pub(crate) const SELDOM: Rate = Rate::each(Duration::from_secs(10), 1).expect("not 0");

/// Warns once in ten seconds at most from this place in the code: who asks in a loop does not fill the log.
macro_rules! warn_seldom {
    ($($words:tt)*) => {{
        static TURN: std::sync::Mutex<$crate::net::budget::Seldom> =
            std::sync::Mutex::new($crate::net::budget::Seldom::new());
        let mut turn = TURN.lock().expect("nothing panics while holding it");
        let turn = turn.turn(tokio::time::Instant::now(), $crate::net::budget::SELDOM);
        if let Some(left_out) = turn {
            tracing::warn!("{}{left_out}", format_args!($($words)*));
        }
    }};
}
pub(crate) use warn_seldom;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_many_come_at_once_and_then_so_often() {
        let rate = Rate::new(4, SECOND, 60).unwrap();
        let (mut bucket, mut now) = (Bucket::default(), Instant::now());
        assert_eq!(bucket.take(now, rate, 59), Ok(59));
        assert_eq!(bucket.take(now, rate, 5), Ok(1), "what there is");
        for _ in 0..3 {
            assert_eq!(bucket.take(now, rate, 1), Err(SECOND / 4), "asking in vain costs nothing");
        }
        now += SECOND / 8;
        assert_eq!(bucket.take(now, rate, 1), Err(SECOND / 8));
        now += SECOND / 8;
        assert_eq!(bucket.take(now, rate, 1), Ok(1));
        assert_eq!(bucket.full_at(), Some(now + 15 * SECOND));
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

    #[test]
    fn what_is_left_out_is_counted_and_told_with_the_next() {
        let (mut seldom, now) = (Seldom::new(), Instant::now());
        let words = |turn: Option<LeftOut>| turn.map(|left_out| left_out.to_string());
        assert_eq!(words(seldom.turn(now, SELDOM)).as_deref(), Some(""));
        for _ in 0..3 {
            assert_eq!(seldom.turn(now, SELDOM), None);
        }
        let later = words(seldom.turn(now + 10 * SECOND, SELDOM));
        assert_eq!(later.as_deref(), Some(" (3 more like this were left out)"));
        assert_eq!(words(seldom.turn(now + 20 * SECOND, SELDOM)).as_deref(), Some(""));
    }
}
