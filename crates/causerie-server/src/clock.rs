//! The clock of the server.

use std::time::{SystemTime, UNIX_EPOCH};

use causerie_core::room::Now;
use cbcast::Time;
use tokio::time::Instant;

/// Monotonic time for timers, wall time for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts a clock whose monotonic time begins now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time by both.
    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        Now {
            time: Time::from_nanos(millis(self.0.elapsed().as_nanos())),
            wall_millis: millis(wall.as_millis()),
        }
    }
}
