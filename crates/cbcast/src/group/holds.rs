//! Histogram of how long messages were held back.

use core::time::Duration;

/// Bounds of 1 ms, 2 ms and so on, up to 18 minutes; and one more count, for what was held for longer.
const BUCKETS: usize = 22;

/// Messages that were held back and then delivered, by how long they had been held. See
/// [`Group::holds`](crate::Group::holds).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Holds {
    counts: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Holds {
    pub(crate) fn count(&mut self, held_nanos: u64) {
        // The first power of two that is no less.
        let millis = held_nanos.div_ceil(1_000_000).max(1);
        let bucket = (u64::BITS - (millis - 1).leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(held_nanos);
    }

    /// Iterates over the bounds, each with how many messages were held no longer than it and longer than the one before;
    /// `None`: those held for longer than the last.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Option<Duration>, u64)> + '_ {
        self.counts.iter().enumerate().map(|(bucket, &count)| {
            let bound = (bucket + 1 < BUCKETS).then(|| Duration::from_millis(1 << bucket));
            (bound, count)
        })
    }

    /// Returns how long all of them were held together, up to 584 years.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hold_counts_below_the_first_bound_that_is_no_less() {
        let ms = Duration::from_millis;
        for (held_for, bound) in [
            (Duration::ZERO, Some(1)),
            (ms(1), Some(1)),
            (ms(1) + Duration::from_nanos(1), Some(2)),
            (ms(2), Some(2)),
            (ms(3), Some(4)),
            (ms(1 << 20), Some(1 << 20)),
            (ms((1 << 20) + 1), None),
            (Duration::from_nanos(u64::MAX), None),
        ] {
            let mut holds = Holds::default();
            holds.count(u64::try_from(held_for.as_nanos()).unwrap());
            let counted: alloc::vec::Vec<_> = holds.iter().filter(|&(_, count)| count > 0).collect();
            assert_eq!(counted, [(bound.map(ms), 1)], "{held_for:?}");
            assert_eq!(holds.sum(), held_for);
        }
    }
}
