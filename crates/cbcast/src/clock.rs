//! Vector clocks: what a member has delivered of each.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::id::{MemberId, MessageId};
use crate::wire::{Reader, WireError, put_varint};

/// Per member, how many of its messages have been delivered [BSS91, section 5.1]. Members at 0 are kept: a
/// clock also says whom its owner knows.
///
/// Clocks travel in heartbeats, snapshots and resumptions; messages carry direct dependencies instead.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(from = "Vec<(MemberId, u64)>", into = "Vec<(MemberId, u64)>"))]
pub struct VectorClock {
    counts: BTreeMap<MemberId, u64>,
}

impl VectorClock {
    /// A clock that knows nobody.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: BTreeMap::new() }
    }

    /// Returns how many of `member`'s messages it counts; 0 where it does not know the member. O(log members).
    #[must_use]
    pub fn get(&self, member: MemberId) -> u64 {
        self.counts.get(&member).copied().unwrap_or(0)
    }

    /// Returns whether it has an entry for `member`, be it 0. O(log members).
    #[must_use]
    pub fn knows(&self, member: MemberId) -> bool {
        self.counts.contains_key(&member)
    }

    /// Sets the count of `member`. O(log members).
    pub fn set(&mut self, member: MemberId, count: u64) {
        self.counts.insert(member, count);
    }

    /// Returns whether it counts this message. O(log members).
    #[must_use]
    pub fn includes(&self, id: MessageId) -> bool {
        id.seq <= self.get(id.member)
    }

    /// Its entries, sorted by member.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (MemberId, u64)> + '_ {
        self.counts.iter().map(|(&member, &count)| (member, count))
    }

    /// Returns how many members it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Returns whether it knows nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Writes it down: `entries`, then per entry the origin's and ordinal's differences and the count. O(members).
    ///
    /// ```text
    /// clock = entries { origin - previous origin, ordinal - (same origin ? previous ordinal + 1 : 0), count }
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.counts.len() as u64);
        let mut next = (0u32, 0u64);
        for (&member, &count) in &self.counts {
            let base = if member.origin == next.0 { next.1 } else { 0 };
            put_varint(out, u64::from(member.origin - next.0));
            put_varint(out, u64::from(member.ordinal) - base);
            put_varint(out, count);
            next = (member.origin, u64::from(member.ordinal) + 1);
        }
    }

    /// Reads a clock off `reader`. O(members log members); memory is bounded by the bytes there are.
    ///
    /// # Errors
    /// [`WireError`] where the bytes end early or a number is out of range.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let entries = reader.varint()?;
        let mut counts = BTreeMap::new();
        let mut next = (0u32, 0u64);
        for _ in 0..entries {
            let origin = next.0.checked_add(reader.varint_u32()?).ok_or(WireError::Integer)?;
            let base = if origin == next.0 { next.1 } else { 0 };
            let ordinal = base + u64::from(reader.varint_u32()?);
            next = (origin, ordinal + 1);
            let ordinal = u32::try_from(ordinal).map_err(|_| WireError::Integer)?;
            counts.insert(MemberId::new(origin, ordinal), reader.varint()?);
        }
        Ok(Self { counts })
    }
}

/// As pairs: many formats have no maps but of strings.
#[cfg(feature = "serde")]
impl From<Vec<(MemberId, u64)>> for VectorClock {
    fn from(entries: Vec<(MemberId, u64)>) -> Self {
        entries.into_iter().collect()
    }
}

#[cfg(feature = "serde")]
impl From<VectorClock> for Vec<(MemberId, u64)> {
    fn from(clock: VectorClock) -> Self {
        clock.counts.into_iter().collect()
    }
}

impl FromIterator<(MemberId, u64)> for VectorClock {
    fn from_iter<I: IntoIterator<Item = (MemberId, u64)>>(entries: I) -> Self {
        Self { counts: entries.into_iter().collect() }
    }
}

/// `a <= b` when every count of `a` is at most that of `b`; a missing entry counts as 0. O(members log members).
impl PartialOrd for VectorClock {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let below = |a: &Self, b: &Self| a.counts.iter().all(|(&m, &n)| n <= b.get(m));
        match (below(self, other), below(other, self)) {
            // Two clocks that differ only in entries of 0 are not `==`, so they are not `Equal` either.
            (true, true) => (self == other).then_some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock() -> impl Strategy<Value = VectorClock> {
        let member = (prop_oneof![0u32..3, any::<u32>()], prop_oneof![0u32..5, any::<u32>()]);
        let entries = prop::collection::btree_map(member, prop_oneof![0u64..4, any::<u64>()], 0..9);
        entries.prop_map(|e| e.into_iter().map(|((o, n), c)| (MemberId::new(o, n), c)).collect())
    }

    proptest! {
        #[test]
        fn clocks_round_trip(c in clock()) {
            let mut out = Vec::new();
            c.encode(&mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(VectorClock::decode(&mut reader).unwrap(), c);
            prop_assert!(reader.rest().is_empty());
        }

        #[test]
        fn any_bytes_are_a_clock_or_refused(bytes: Vec<u8>) {
            let _ = VectorClock::decode(&mut Reader::new(&bytes));
        }

        #[test]
        fn order_is_antisymmetric(a in clock(), b in clock()) {
            prop_assert_eq!(a.partial_cmp(&b), b.partial_cmp(&a).map(Ordering::reverse));
            prop_assert_eq!(a.partial_cmp(&a), Some(Ordering::Equal));
        }
    }
}
