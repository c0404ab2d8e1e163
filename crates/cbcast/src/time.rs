//! Time as the caller tells it: nothing here reads a clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment, in nanoseconds since an epoch of the caller's choice.
///
/// It should not run backwards between calls to one group. Where it does, or jumps ahead, nothing is due later than it
/// was; what is due may be so early. No ordering decision ever looks at it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Time(u64);

impl Time {
    /// The caller's epoch.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the epoch (the end of time if that does not fit).
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment so long before (the epoch if that does not fit).
    pub(crate) const fn earlier(self, by: Duration) -> Self {
        let nanos = by.as_nanos();
        Self(if nanos < self.0 as u128 { self.0 - nanos as u64 } else { 0 })
    }

    /// Returns how long ago `earlier` was; zero if it was not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}
