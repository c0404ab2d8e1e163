//! Slots of live members by their ids: one read of memory for most, however many members and origins there are.
//!
//! A table twice as long as there are members. Each member has a *home*, where the ordinals of an origin lie side by
//! side, so those who talk in one group share cache lines. Where a home is taken it has *refuges*, four times four places
//! elsewhere in the table; where those are taken too it stands in an ordered map, so ids that somebody has chosen to collide
//! cost O(log members), no more. No random key: the same calls find the same places.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::id::MemberId;
use crate::slot::{NONE, Slot};

/// Places of a refuge.
const REFUGE: usize = 4;

/// Refuges of each member: with fewer, many would be crowded where the ordinals of two origins overlap.
const REFUGES: usize = 4;

/// Members that the smallest table has room for.
const LEAST: usize = 4;

/// 2⁶⁴ divided by the golden ratio: multiples of it are spread evenly [Knu98, section 6.4].
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    id: MemberId,
    /// `NONE`: nobody. Then `id` is one that has its home elsewhere.
    slot: Slot,
}

#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// A power of two of them.
    entries: Vec<IndexEntry>,
    /// Shift that brings a number of 64 bits down to one of a place: origins begin as far from each other as can be.
    shift: u32,
    crowded: BTreeMap<MemberId, Slot>,
    members: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self::with_room_for(LEAST)
    }
}

impl Index {
    fn with_room_for(members: usize) -> Self {
        let entries: Vec<_> = (0..2 * members).map(nobody).collect();
        let shift = u64::BITS - entries.len().ilog2();
        Self { entries, shift, crowded: BTreeMap::new(), members: 0 }
    }

    #[inline(always)]
    fn home(&self, id: MemberId) -> usize {
        let origin = (u64::from(id.origin).wrapping_mul(SPREAD) >> self.shift) as usize;
        origin.wrapping_add(id.ordinal as usize) & (self.entries.len() - 1)
    }

    /// The places of its refuges, in the order in which they are taken.
    fn refuges(&self, id: MemberId) -> impl Iterator<Item = usize> + use<> {
        let last = self.entries.len() - 1;
        let mixed = (u64::from(id.origin ^ id.ordinal) | u64::from(id.origin) << 32).wrapping_mul(SPREAD);
        let (first, step) = ((mixed >> 32) as usize, (mixed >> 20) as usize | REFUGE);
        let refuge = move |n: usize| first.wrapping_add(n.wrapping_mul(step)) & last & !(REFUGE - 1);
        (0..REFUGES).map(refuge).flat_map(|refuge| refuge..refuge + REFUGE)
    }

    /// The slot of a live member, or `NONE`.
    #[inline(always)]
    pub(crate) fn get(&self, id: MemberId) -> Slot {
        let entry = self.entries[self.home(id)];
        if entry.id == id { entry.slot } else { self.get_from_refuge(id) }
    }

    #[inline(never)]
    fn get_from_refuge(&self, id: MemberId) -> Slot {
        let here = |entry: &IndexEntry| entry.id == id && entry.slot != NONE;
        match self.refuges(id).map(|place| self.entries[place]).find(here) {
            Some(entry) => entry.slot,
            None if self.crowded.is_empty() => NONE,
            None => self.crowded.get(&id).copied().unwrap_or(NONE),
        }
    }

    /// Adds a member that is not there. Amortised O(1), O(log members) where it is crowded.
    pub(crate) fn insert(&mut self, id: MemberId, slot: Slot) {
        if 2 * (self.members + 1) > self.entries.len() {
            let larger = Self::with_room_for(self.entries.len());
            let Self { entries, crowded, .. } = core::mem::replace(self, larger);
            let entries = entries.into_iter().filter(|entry| entry.slot != NONE);
            for (id, slot) in entries.map(|entry| (entry.id, entry.slot)).chain(crowded) {
                self.place(id, slot);
            }
        }
        self.place(id, slot);
    }

    fn place(&mut self, id: MemberId, slot: Slot) {
        let mut places = [self.home(id)].into_iter().chain(self.refuges(id));
        match places.find(|&place| self.entries[place].slot == NONE) {
            Some(place) => self.entries[place] = IndexEntry { id, slot },
            None => {
                self.crowded.insert(id, slot);
            }
        }
        self.members += 1;
    }

    /// Takes out a member that is there.
    pub(crate) fn remove(&mut self, id: MemberId) {
        let mut places = [self.home(id)].into_iter().chain(self.refuges(id));
        match places.find(|&place| self.entries[place].id == id && self.entries[place].slot != NONE) {
            Some(place) => self.entries[place] = nobody(place),
            None => {
                self.crowded.remove(&id);
            }
        }
        self.members -= 1;
    }
}

/// Returns the entry of a place where nobody is: its id has its home in the next one.
fn nobody(place: usize) -> IndexEntry {
    IndexEntry { id: MemberId::new(0, (place as u32).wrapping_add(1)), slot: NONE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = MemberId> {
        // Few, dense, far apart, and with the same home in every small table.
        let ordinal = prop_oneof![0u32..12, any::<u32>(), (0u32..64).prop_map(|n| n << 12)];
        let origin = prop_oneof![Just(0u32), 0u32..4, any::<u32>()];
        (origin, ordinal).prop_map(|(origin, ordinal)| MemberId::new(origin, ordinal))
    }

    proptest! {
        #[test]
        fn members_are_found_where_an_ordered_map_has_them(
            steps in prop::collection::vec((ids(), 0u8..3), 0..200),
            others in prop::collection::vec(ids(), 0..20),
        ) {
            let (mut index, mut map) = (Index::default(), BTreeMap::new());
            for (slot, (id, remove)) in steps.iter().enumerate() {
                match map.remove(id) {
                    Some(_) => index.remove(*id),
                    None if *remove == 0 => {}
                    None => {
                        map.insert(*id, slot as Slot);
                        index.insert(*id, slot as Slot);
                    }
                }
                for id in steps.iter().map(|(id, _)| id).chain(&others) {
                    prop_assert_eq!(index.get(*id), map.get(id).copied().unwrap_or(NONE), "{}", id);
                }
            }
            prop_assert_eq!(index.members, map.len());
        }
    }

    #[test]
    fn ids_that_were_chosen_to_collide_are_found_in_the_map() {
        let mut index = Index::default();
        let collide = |n: u32| MemberId::new(0, n << 20);
        for n in 0..1_000 {
            index.insert(collide(n), n);
        }
        assert!(index.entries.len() <= 4_096, "the table does not grow for them");
        assert!((0..1_000).all(|n| index.get(collide(n)) == n));
        assert_eq!(index.get(collide(1_000)), NONE);
    }

    /// Nearly all are found at the first look, many ordinals of few origins and few of many alike.
    #[test]
    fn most_are_at_home() {
        for (origins, ordinals) in [(1, 4_000), (2, 2_000), (4_000, 1)] {
            for distance in [1, 1_000_003] {
                let mut index = Index::default();
                let ids =
                    (0..origins).flat_map(|o| (0..ordinals).map(move |n| MemberId::new(o * distance, n)));
                for (slot, id) in ids.clone().enumerate() {
                    index.insert(id, slot as Slot);
                }
                let at_home = ids.filter(|&id| index.entries[index.home(id)].id == id).count();
                assert!(at_home > 2_700, "{at_home} of {origins} with {ordinals}, {distance} apart");
                assert!(index.crowded.len() <= 40, "{}", index.crowded.len());
            }
        }
    }
}
