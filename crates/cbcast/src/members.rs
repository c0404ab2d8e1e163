//! Who is known here, in dense slots.
//!
//! A member is *live* (admitted and not parted with), *early* (a message names it, its *Joined* has not been
//! delivered) or *forgotten* (its *Left* has been delivered). Live and early ones have a slot. What the delivery
//! rule looks at for each dependency, the count of delivered messages, lies in an array of its own.
//!
//! Looking a live member up takes two array reads: origins are few, and each keeps its ordinals in pages that
//! exist while somebody in them is live, so memory follows today's members. Early ones, and the few whose ordinal
//! is beyond any page, are found in an ordered map.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BinaryHeap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Reverse;

use crate::id::MemberId;
use crate::message::DepCursor;
use crate::time::Time;

pub(crate) type Slot = u32;

/// No slot, no place.
pub(crate) const NONE: u32 = u32::MAX;

const PAGE: usize = 128;

/// Ordinals below this are found by page: the page table of an origin takes 64 KiB at most.
const PAGED: u32 = 1 << 20;

/// What is known of a member id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    Live(Slot),
    /// With a slot if something is held or awaited of it.
    Early(Option<Slot>),
    Forgotten,
}

/// A message that waits for its turn.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) packet: Bytes,
    pub(crate) since: Time,
}

/// Why the next message of a member is held: it waits for message `seq` of the member in slot `on`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// `NONE` once that is met, until the waiter is looked at.
    pub(crate) on: Slot,
    pub(crate) seq: u64,
    /// Its further dependencies, to be looked at from there.
    pub(crate) rest: DepCursor,
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) live: bool,
    pub(crate) local: bool,
    /// Since when its next message has been missing or held, if one is known of.
    pub(crate) lagging_since: Time,
    /// A flush has frozen it: only so many of its messages are deliverable.
    pub(crate) frozen: Option<u64>,
    /// Received and not delivered: `ring[i]` is message `delivered + 1 + i`. Only `ring[0]` is ever read.
    pub(crate) ring: VecDeque<Option<Held>>,
    /// What `ring[0]` waits for, once it has been looked at.
    pub(crate) wait: Option<Wait>,
    /// Whose next message waits for which message of this member. At most one entry for each member.
    pub(crate) waiters: BinaryHeap<Reverse<(u64, Slot)>>,
}

#[derive(Clone, Debug)]
struct Origin {
    id: u32,
    next_ordinal: u32,
    pages: Vec<Option<Box<Page>>>,
}

#[derive(Clone, Debug)]
struct Page {
    live: u32,
    slots: [Slot; PAGE],
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    origins: Vec<Origin>,
    unpaged: BTreeMap<MemberId, Slot>,
    /// By slot: how many messages have been delivered.
    pub(crate) delivered: Vec<u64>,
    /// By slot: the greatest number of a message that anybody has mentioned.
    pub(crate) heard: Vec<u64>,
    /// By slot: the place of the last delivered message in the frontier's list, or `NONE`.
    pub(crate) frontier_at: Vec<u32>,
    all: Vec<Member>,
    free: Vec<Slot>,
    live: usize,
}

impl Members {
    #[inline]
    fn origin(&self, origin: u32) -> Option<&Origin> {
        self.origins.iter().find(|o| o.id == origin)
    }

    #[inline]
    fn page_slot(origin: &Origin, ordinal: u32) -> Slot {
        let ordinal = ordinal as usize;
        match origin.pages.get(ordinal / PAGE) {
            Some(Some(page)) => page.slots[ordinal % PAGE],
            _ => NONE,
        }
    }

    /// What is known of `member`. For a live one: O(origins), two reads.
    #[inline]
    pub(crate) fn standing(&self, member: MemberId) -> Standing {
        let slot = self.origin(member.origin).map_or(NONE, |o| Self::page_slot(o, member.ordinal));
        if slot != NONE { Standing::Live(slot) } else { self.standing_of_unpaged(member) }
    }

    #[inline]
    pub(crate) fn live_slot(&self, member: MemberId) -> Option<Slot> {
        match self.standing(member) {
            Standing::Live(slot) => Some(slot),
            _ => None,
        }
    }

    #[cold]
    fn standing_of_unpaged(&self, member: MemberId) -> Standing {
        let slot = self.unpaged.get(&member).copied();
        match (slot, self.origin(member.origin)) {
            (Some(slot), _) if self.get(slot).live => Standing::Live(slot),
            (_, Some(origin)) if member.ordinal < origin.next_ordinal => Standing::Forgotten,
            _ => Standing::Early(slot),
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> &Member {
        &self.all[slot as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Member {
        &mut self.all[slot as usize]
    }

    #[inline]
    pub(crate) fn delivered(&self, slot: Slot) -> u64 {
        self.delivered[slot as usize]
    }

    #[inline]
    pub(crate) fn heard(&self, slot: Slot) -> u64 {
        self.heard[slot as usize]
    }

    /// How many are live.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Everybody with a slot, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Member)> {
        let taken = self.all.iter().enumerate().map(|(slot, m)| (slot as Slot, m));
        taken.filter(|(_, m)| m.live || !m.ring.is_empty() || !m.waiters.is_empty())
    }

    /// The first ordinal that `origin` has not given out.
    pub(crate) fn next_ordinal(&self, origin: u32) -> u32 {
        self.origin(origin).map_or(0, |o| o.next_ordinal)
    }

    pub(crate) fn next_ordinals(&self) -> Vec<(u32, u32)> {
        let mut all: Vec<_> = self.origins.iter().map(|o| (o.id, o.next_ordinal)).collect();
        all.sort_unstable();
        all
    }

    /// Takes note that `origin` has given out all ordinals below `next`.
    pub(crate) fn set_next_ordinal(&mut self, origin: u32, next: u32) {
        match self.origins.iter_mut().find(|o| o.id == origin) {
            Some(o) => o.next_ordinal = o.next_ordinal.max(next),
            None => self.origins.push(Origin { id: origin, next_ordinal: next, pages: Vec::new() }),
        }
    }

    fn new_slot(&mut self, id: MemberId) -> Slot {
        let member = Member::absent(id);
        match self.free.pop() {
            Some(slot) => {
                self.all[slot as usize] = member;
                slot
            }
            None => {
                self.all.push(member);
                self.delivered.push(0);
                self.heard.push(0);
                self.frontier_at.push(NONE);
                (self.all.len() - 1) as Slot
            }
        }
    }

    /// A slot for somebody who has not been announced yet.
    pub(crate) fn early_slot(&mut self, id: MemberId) -> Slot {
        if let Some(&slot) = self.unpaged.get(&id) {
            return slot;
        }
        let slot = self.new_slot(id);
        self.unpaged.insert(id, slot);
        slot
    }

    /// Makes `id` live. Ordinals must be given out by [`set_next_ordinal`](Self::set_next_ordinal).
    pub(crate) fn admit(&mut self, id: MemberId, delivered: u64) -> Slot {
        let slot = self.unpaged.remove(&id).unwrap_or_else(|| self.new_slot(id));
        self.set_next_ordinal(id.origin, 0);
        if id.ordinal < PAGED {
            let origin = self.origins.iter_mut().find(|o| o.id == id.origin).expect("made above");
            let page = id.ordinal as usize / PAGE;
            if origin.pages.len() <= page {
                origin.pages.resize(page + 1, None);
            }
            let page = &mut origin.pages[page];
            let page = page.get_or_insert_with(|| Box::new(Page { live: 0, slots: [NONE; PAGE] }));
            page.live += 1;
            page.slots[id.ordinal as usize % PAGE] = slot;
        } else {
            self.unpaged.insert(id, slot);
        }
        self.live += 1;
        self.delivered[slot as usize] = delivered;
        let heard = &mut self.heard[slot as usize];
        *heard = delivered.max(*heard);
        self.get_mut(slot).live = true;
        slot
    }

    /// Forgets a live member and gives back what was kept of it.
    pub(crate) fn remove(&mut self, slot: Slot) -> Member {
        let id = self.get(slot).id;
        if id.ordinal < PAGED {
            let origin = self.origins.iter_mut().find(|o| o.id == id.origin);
            let place = &mut origin.expect("a live member has an origin").pages[id.ordinal as usize / PAGE];
            let page = place.as_mut().expect("a live member has a page");
            page.slots[id.ordinal as usize % PAGE] = NONE;
            page.live -= 1;
            if page.live == 0 {
                *place = None;
            }
        } else {
            self.unpaged.remove(&id);
        }
        self.live -= 1;
        let member = self.vacate(slot);
        if let Some(wait) = member.wait.filter(|wait| wait.on != NONE) {
            let cause = self.get_mut(wait.on);
            cause.waiters.retain(|Reverse((_, waiter))| *waiter != slot);
            if !cause.live && cause.waiters.is_empty() && cause.ring.is_empty() {
                let id = cause.id;
                self.unpaged.remove(&id);
                self.vacate(wait.on);
            }
        }
        member
    }

    fn vacate(&mut self, slot: Slot) -> Member {
        self.delivered[slot as usize] = 0;
        self.heard[slot as usize] = 0;
        self.frontier_at[slot as usize] = NONE;
        self.free.push(slot);
        let member = self.get_mut(slot);
        core::mem::replace(member, Member::absent(member.id))
    }
}

impl Member {
    fn absent(id: MemberId) -> Self {
        Self {
            id,
            live: false,
            local: false,
            lagging_since: Time::ZERO,
            frozen: None,
            ring: VecDeque::new(),
            wait: None,
            waiters: BinaryHeap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_are_found_and_are_forgotten() {
        let mut members = Members::default();
        let raj = MemberId::new(2, 300);
        assert_eq!(members.standing(raj), Standing::Early(None));
        let early = members.early_slot(raj);
        assert_eq!(members.standing(raj), Standing::Early(Some(early)));
        assert_eq!(members.admit(raj, 0), early);
        members.set_next_ordinal(2, 301);
        assert_eq!(members.standing(raj), Standing::Live(early));
        assert_eq!(members.standing(MemberId::new(2, 299)), Standing::Forgotten);
        assert_eq!(members.standing(MemberId::new(2, 301)), Standing::Early(None));
        members.remove(early);
        assert_eq!(members.standing(raj), Standing::Forgotten);
        assert_eq!(members.live(), 0);
        assert!(members.origins[0].pages.iter().all(Option::is_none), "no page without a live member");
        assert_eq!(members.admit(MemberId::new(2, 301), 0), early, "slots are used again");
    }

    #[test]
    fn ordinals_beyond_any_page_are_found_too() {
        let mut members = Members::default();
        let late = MemberId::new(0, u32::MAX - 1);
        let slot = members.admit(late, 3);
        members.set_next_ordinal(0, u32::MAX);
        assert_eq!(members.standing(late), Standing::Live(slot));
        members.remove(slot);
        assert_eq!(members.standing(late), Standing::Forgotten);
        assert!(members.origins[0].pages.is_empty());
    }

    #[test]
    fn memory_follows_the_live() {
        let mut members = Members::default();
        for ordinal in 0..100_000 {
            let slot = members.admit(MemberId::new(0, ordinal), 0);
            members.set_next_ordinal(0, ordinal + 1);
            members.remove(slot);
        }
        assert_eq!(members.all.len(), 1);
        assert_eq!(members.next_ordinals(), [(0, 100_000)]);
    }
}
