//! The state that a joiner starts from.

use alloc::vec::Vec;

use crate::clock::VectorClock;
use crate::id::{MemberId, MessageId};
use crate::wire::{Reader, WireError, put_varint};

/// A cut of a group: what a new process needs to go on from there. Everything at or below the cut counts as
/// delivered.
///
/// It holds today's members only, so its size follows them, not all who ever came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Snapshot {
    /// Members that are in, with the number of messages of each within the cut.
    pub clock: VectorClock,
    /// For each origin the first ordinal that it has not given out. Members below it that are not in `clock`
    /// have left. Sorted by origin.
    pub next_ordinals: Vec<(u32, u32)>,
    /// The messages within the cut that no other message within it follows. Sorted.
    pub frontier: Vec<MessageId>,
}

/// First byte of snapshots and of cuts, which begin alike.
pub(crate) const VERSION: u8 = 1;

/// Nobody ever says more: sums of counts and distances do not overflow.
pub(crate) const COUNT_MAX: u64 = 1 << 62;

impl Snapshot {
    /// A group in which nothing has been said, with these members, for good: nobody joins, nobody leaves.
    /// O(members log members).
    #[must_use]
    pub fn fixed(members: impl IntoIterator<Item = MemberId>) -> Self {
        let clock: VectorClock = members.into_iter().map(|m| (m, 0)).collect();
        let mut next_ordinals: Vec<(u32, u32)> = Vec::new();
        for (member, _) in clock.iter() {
            let next = member.ordinal.saturating_add(1);
            match next_ordinals.last_mut() {
                Some((origin, ordinal)) if *origin == member.origin => *ordinal = next,
                _ => next_ordinals.push((member.origin, next)),
            }
        }
        Self { clock, next_ordinals, frontier: Vec::new() }
    }

    /// A new group with one host for each of these origins, and nobody else yet. O(origins log origins).
    #[must_use]
    pub fn hosts(origins: impl IntoIterator<Item = u32>) -> Self {
        Self::fixed(origins.into_iter().map(MemberId::host))
    }

    /// Writes it down: `version(1 byte) clock origins{ origin next_ordinal } frontier{ origin ordinal seq }`.
    /// O(members).
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_members(&self.clock, &self.next_ordinals, out);
        put_varint(out, self.frontier.len() as u64);
        for id in &self.frontier {
            put_varint(out, id.member.origin.into());
            put_varint(out, id.member.ordinal.into());
            put_varint(out, id.seq);
        }
    }

    /// Reads a snapshot off `reader`. O(members log members); memory is bounded by the bytes there are.
    ///
    /// # Errors
    /// [`WireError`] where the bytes end early, a number is out of range, or the version is unknown.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (clock, next_ordinals) = decode_members(reader)?;
        let mut frontier = Vec::new();
        for _ in 0..reader.varint()? {
            let member = MemberId::new(reader.varint_u32()?, reader.varint_u32()?);
            frontier.push(MessageId::new(member, reader.varint()?));
        }
        if !frontier.is_sorted_by(|a, b| a.member < b.member) {
            return Err(WireError::Integer);
        }
        Ok(Self { clock, next_ordinals, frontier })
    }
}

/// Writes down who is known, as snapshots and cuts begin: `version(1 byte) clock origins{ origin next_ordinal }`.
pub(crate) fn encode_members(clock: &VectorClock, next_ordinals: &[(u32, u32)], out: &mut Vec<u8>) {
    out.push(VERSION);
    clock.encode(out);
    put_varint(out, next_ordinals.len() as u64);
    for &(origin, ordinal) in next_ordinals {
        put_varint(out, origin.into());
        put_varint(out, ordinal.into());
    }
}

/// Reads and checks what [`encode_members`] has written.
pub(crate) fn decode_members(reader: &mut Reader<'_>) -> Result<(VectorClock, Vec<(u32, u32)>), WireError> {
    if reader.byte()? != VERSION {
        return Err(WireError::Integer);
    }
    let clock = VectorClock::decode(reader)?;
    if clock.iter().any(|(_, count)| count > COUNT_MAX) {
        return Err(WireError::Integer);
    }
    let mut next_ordinals = Vec::new();
    for _ in 0..reader.varint()? {
        next_ordinals.push((reader.varint_u32()?, reader.varint_u32()?));
    }
    if !next_ordinals.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(WireError::Integer);
    }
    Ok((clock, next_ordinals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn snapshots_round_trip() {
        let snapshot = Snapshot {
            clock: [(MemberId::new(0, 0), 7), (MemberId::new(0, 5), 0), (MemberId::new(3, 0), 1 << 50)]
                .into_iter()
                .collect(),
            next_ordinals: alloc::vec![(0, 6), (3, 1)],
            frontier: alloc::vec![MessageId::new(MemberId::new(0, 0), 7)],
        };
        let mut out = Vec::new();
        snapshot.encode(&mut out);
        assert_eq!(Snapshot::decode(&mut Reader::new(&out)), Ok(snapshot));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_snapshot_or_refused(mut bytes: Vec<u8>) {
            bytes.insert(0, VERSION);
            let _ = Snapshot::decode(&mut Reader::new(&bytes));
        }
    }
}
