//! Invariants between calls, checked once the outputs of one have been drained: where assertions are on, so in tests,
//! in the simulator and in the fuzzers. Now and then only, since what is wrong in here stays so.

use alloc::vec::Vec;

use crate::group::{Group, Link};
use crate::id::MessageId;
use crate::members::{NONE, Slot, Wait};
use crate::message::{Message, StampRef};
use crate::ring::Ring;

/// Members and places of the hold-back queue that a group may have to be checked: it costs as much as there are.
const CHECKED_MAX: usize = 64;

/// One of so many arrivals is followed by a check.
const CHECKED_EVERY: u64 = 16;

impl Group {
    /// Checks that nothing is held that could be delivered, that each waiter stands where it will be woken, that what is
    /// missing will be asked for, and that counts and marks are those of what they sum up.
    ///
    /// # Panics
    /// If not: that is a fault of this crate.
    pub(super) fn check_invariants(&self) {
        let arrivals = self.stats.delivered + self.stats.held + self.stats.duplicates;
        let large = self.members.slots() + self.holdback_places > CHECKED_MAX;
        if large || !arrivals.is_multiple_of(CHECKED_EVERY) {
            return;
        }
        assert!(self.awake.is_empty(), "somebody was woken and not looked at");
        let rings = || self.members.iter().map(|(_, member)| &member.ring);
        assert_eq!(self.holdback_places, rings().map(Ring::len).sum(), "places");
        assert_eq!(self.held, rings().flat_map(Ring::iter).count(), "messages held");
        assert_eq!(self.held_bytes, rings().map(Ring::bytes).sum(), "bytes held");
        let lags = |slot| self.members.heard(slot) > self.members.delivered(slot);
        assert_eq!(self.lagging, self.members.iter().filter(|&(slot, _)| lags(slot)).count(), "lagging");
        let mut deps = Vec::new();
        for (slot, _) in self.members.iter() {
            self.check_member(slot);
            self.check_next(slot, &mut deps);
            self.check_waiters(slot);
            self.check_asked_for(slot);
        }
        self.check_frontier();
    }

    /// It is found where it stands, and plain only if it is.
    fn check_member(&self, slot: Slot) {
        let (member, progress) = (self.members.get(slot), self.members.progress(slot));
        assert_eq!(self.members.live_slot(member.id).is_some(), member.live, "{} is found", member.id);
        let places = member.ring.iter().last().map_or(0, |(ahead, _)| ahead + 1);
        assert_eq!(member.ring.len() as u64, places, "{}: places behind the last message", member.id);
        let bytes: usize = member.ring.iter().map(|(_, held)| held.packet.len()).sum();
        assert_eq!(member.ring.bytes(), bytes, "{}: bytes held", member.id);
        let plain = !progress.plain || self.members.is_plain(slot);
        assert!(plain, "{} is taken for plain and is not", member.id);
    }

    /// The next message of a member, if it is held, cannot be delivered, and stands with who is to wake it.
    fn check_next(&self, slot: Slot, deps: &mut Vec<(Slot, u64)>) {
        let (member, delivered) = (self.members.get(slot), self.members.delivered(slot));
        let id = MessageId::new(member.id, delivered + 1);
        let Some(held) = member.ring.next().filter(|_| member.live) else {
            return assert!(member.wait.is_none(), "{id} waits and is not here");
        };
        let frozen = member.frozen.is_some_and(|count| id.seq > count);
        let unmet = self.members.first_unmet(StampRef::new(&held.packet, &id, &held.stamp), deps);
        match member.wait {
            _ if unmet.is_ok() => assert!(frozen, "{id} is held and could be delivered"),
            None => assert!(frozen, "{id} is held and waits for nothing"),
            Some(Wait { on: NONE, .. }) => panic!("{id} was woken and not looked at"),
            Some(Wait { on, seq, .. }) => {
                let cause = MessageId::new(self.members.get(on).id, seq);
                let message = Message::from_parts(held.packet.clone(), id, held.stamp);
                assert!(message.deps().any(|dep| dep == cause), "{id} does not depend on {cause}");
                assert!(!self.has_delivered(cause), "{id} waits for {cause}, which has been delivered");
                let entries = self.members.waiters(on).filter(|&(_, waiter)| waiter == slot);
                assert!(entries.eq([(seq, slot)]), "{id} does not stand with {cause}");
            }
        }
    }

    /// Whoever stands with a member waits for it, and the first of them is looked at first.
    fn check_waiters(&self, slot: Slot) {
        let (id, delivered) = (self.members.get(slot).id, self.members.delivered(slot));
        let first = self.members.waiters(slot).next();
        for (seq, waiter) in self.members.waiters(slot) {
            let wait = self.members.get(waiter).wait.map(|wait| (wait.on, wait.seq));
            assert_eq!(wait, Some((slot, seq)), "{} stands with {id}", self.members.get(waiter).id);
            assert!(seq > delivered, "{}#{seq} is awaited and was delivered", id);
            assert!(first <= Some((seq, waiter)), "the first who waits for {id}");
        }
    }

    /// Checks that what is held was heard of, and that what is missing will be asked for.
    fn check_asked_for(&self, slot: Slot) {
        let (member, delivered) = (self.members.get(slot), self.members.delivered(slot));
        let exist = (delivered + member.ring.len() as u64).max(member.shown).min(self.horizon(delivered));
        assert!(self.members.heard(slot) >= exist, "messages of {} exist and were not heard of", member.id);
        if !member.local && self.gaps(member.id, slot).next().is_some() {
            let due = member.repair.due();
            assert!(due.is_some(), "messages of {} are missing and not asked for", member.id);
            assert!(self.repair.deadline().is_some_and(|deadline| Some(deadline) <= due), "a late deadline");
        }
    }

    /// Each member stands in the frontier once at most, and no message that is retained follows one in it.
    fn check_frontier(&self) {
        for (n, slot) in self.frontier.iter().enumerate() {
            assert!(!self.frontier[..n].contains(slot), "{} is listed twice", self.members.get(*slot).id);
        }
        for (slot, member) in self.members.iter() {
            let progress = self.members.progress(slot);
            assert_eq!(progress.listed, self.frontier.contains(&slot), "{} is listed", member.id);
            assert!(progress.listed || !progress.in_frontier, "{} is in the frontier", member.id);
        }
        let retained = self.stability.iter().flat_map(|stability| stability.all_retained());
        for message in retained.take(CHECKED_MAX) {
            for dep in message.deps() {
                let last = self.members.live_slot(dep.member).filter(|&slot| self.last_of(slot) == dep);
                let maximal = last.is_some_and(|slot| self.members.progress(slot).in_frontier);
                assert!(!maximal, "{dep} is in the frontier, and {} follows it", message.id());
            }
        }
    }

    /// Checks that a message about to be delivered without a closer look would have been delivered after one.
    pub(super) fn check_common(&mut self, link: Link, slot: Slot, message: &Message) {
        let id = message.id();
        let deps = core::mem::take(&mut self.deps);
        let unmet = self.check_deps(link, message);
        assert!(matches!(unmet, Ok(None)), "{id} can be delivered by the short way alone: {unmet:?}");
        assert_eq!(self.deps, deps, "dependencies of {id}");
        let member = self.members.get(slot);
        assert!(member.live && !member.local && member.frozen.is_none() && member.ring.is_empty(), "{id}");
        assert!(self.members.heard(slot) < id.seq && self.members.waiters(slot).next().is_none(), "{id}");
    }
}
