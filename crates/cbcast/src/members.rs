//! Members that are known here, in dense slots.
//!
//! A member is *live* (admitted and not parted with), *early* (a message names it, its *Joined* has not been
//! delivered) or *forgotten* (its *Left* has been delivered). Live and early ones have a slot. What the delivery
//! rule and a delivery look at for each dependency, [`Progress`], lies in an array of its own.
//!
//! Looking a live member up takes one read of a table ([`Index`]). Early ones, and which ordinals an origin has given
//! out, are found in ordered maps.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::id::{MemberId, MessageId};
use crate::index::Index;
use crate::message::{DepCursor, StampRef};
use crate::peer_stats::PeerStats;
use crate::repair::Target;
use crate::ring::Ring;
pub(crate) use crate::slot::{NONE, Slot};
use crate::time::Time;

/// A dependency that is not met, and of many where to go on behind it.
pub(crate) type Unmet = (MessageId, Option<DepCursor>);

/// Standing of a member id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum IdStanding {
    Live(Slot),
    /// With a slot if something is held or awaited of it.
    Early(Option<Slot>),
    Forgotten,
}

/// Reason why the next message of a member is held: it waits for message `seq` of the member in slot `on`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// `NONE` once that is met, until the waiter is looked at.
    pub(crate) on: Slot,
    pub(crate) seq: u64,
    /// Its further dependencies, if it has many, to be looked at from there.
    pub(crate) rest: Option<DepCursor>,
}

/// State of one member that the delivery rule and a delivery look at: half a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Progress {
    /// Number of messages delivered.
    pub(crate) delivered: u64,
    /// The greatest number of a message that anybody has mentioned, if it is more than `delivered`.
    heard: u64,
    /// The least number of a message that somebody waits for; `u64::MAX` if nobody does.
    awaited: u64,
    /// Slot of the member that waits for that one. Others stand in [`Member::waiters`].
    waiter: Slot,
    /// The last message delivered is in the frontier.
    pub(crate) in_frontier: bool,
    /// It stands in the group's list of those whose last message may be in the frontier.
    pub(crate) listed: bool,
    /// Nothing is to be known of it but what stands here: it is live, not local, not frozen, nothing of it is held
    /// or known to be missing, nobody waits for it. May be false although that is so, as after
    /// [`Members::get_mut`].
    pub(crate) plain: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            delivered: 0,
            heard: 0,
            awaited: u64::MAX,
            waiter: NONE,
            in_frontier: false,
            listed: false,
            plain: false,
        }
    }
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) live: bool,
    pub(crate) local: bool,
    /// Since when its next message has been missing or held, if one is known of.
    pub(crate) lagging_since: Time,
    /// The greatest number of a message of it that is shown to exist, by its own messages or by who passes messages on.
    /// What is heard of follows it as far as messages may be ahead.
    pub(crate) shown: u64,
    /// It speaks over a link of its own ([`Link::Member`](crate::Link::Member)): what it says of others shows nothing.
    pub(crate) direct: bool,
    /// Its clock has come over a link of its own.
    pub(crate) has_own_link: bool,
    /// The member whose link speaks for its process, if that is another: see `group/locals.rs`.
    pub(crate) lives_with: Option<MemberId>,
    /// Counts for the link to its process, once there are any.
    pub(crate) stats: Option<Box<PeerStats>>,
    /// The repair of what is missing of it, while it lags.
    pub(crate) repair: Target,
    /// Number of its messages that nobody keeps, as somebody has said when they were missing here.
    pub(crate) let_go: u64,
    /// Number of its messages known to be on disk, where [`Config::durable`](crate::Config::durable) is set.
    pub(crate) persisted: u64,
    /// A flush has frozen it: only so many of its messages are deliverable.
    pub(crate) frozen: Option<u64>,
    /// The number of the last flush of it, or of its being called off, that was heard of.
    pub(crate) flush: u64,
    /// Received and not delivered.
    pub(crate) ring: Ring,
    /// Cause that the next message waits for, once it has been looked at.
    pub(crate) wait: Option<Wait>,
    /// Members whose next message waits for one of this member, beside [`Progress::waiter`]. At most one entry
    /// for each member, there and here.
    waiters: BinaryHeap<Reverse<(u64, Slot)>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    /// The first ordinal that each origin has not given out.
    next_ordinals: BTreeMap<u32, u32>,
    /// The live ones.
    index: Index,
    /// Those that are not live.
    early: BTreeMap<MemberId, Slot>,
    /// By slot.
    progress: Vec<Progress>,
    all: Vec<Member>,
    free: Vec<Slot>,
    live: usize,
}

impl Members {
    /// Returns what is known of `member`. O(1) for a live one, else O(log origins + log early members).
    #[inline]
    pub(crate) fn standing(&self, member: MemberId) -> IdStanding {
        match self.index.get(member) {
            NONE => self.standing_of_absent(member),
            slot => IdStanding::Live(slot),
        }
    }

    #[inline]
    pub(crate) fn live_slot(&self, member: MemberId) -> Option<Slot> {
        match self.index.get(member) {
            NONE => None,
            slot => Some(slot),
        }
    }

    #[cold]
    fn standing_of_absent(&self, member: MemberId) -> IdStanding {
        if member.ordinal < self.next_ordinal(member.origin) {
            IdStanding::Forgotten
        } else {
            IdStanding::Early(self.early.get(&member).copied())
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> &Member {
        &self.all[slot as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Member {
        self.progress[slot as usize].plain = false;
        &mut self.all[slot as usize]
    }

    /// Everybody there is a slot for: for what the delivery rule does not look at.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.all.iter_mut()
    }

    pub(crate) fn stats_mut(&mut self, slot: Slot) -> &mut PeerStats {
        self.all[slot as usize].stats.get_or_insert_default()
    }

    pub(crate) fn set_persisted(&mut self, slot: Slot, count: u64) {
        self.all[slot as usize].persisted = count;
    }

    /// Returns how many messages of each live member have been delivered.
    pub(crate) fn counts(&self) -> Vec<(Slot, u64)> {
        let live = self.iter().filter(|(_, m)| m.live);
        live.map(|(slot, _)| (slot, self.delivered(slot))).collect()
    }

    /// Looks whether the member is plain again.
    pub(crate) fn settle(&mut self, slot: Slot) {
        self.progress[slot as usize].plain = self.is_plain(slot);
    }

    /// Returns whether [`Progress::plain`] may be set.
    pub(crate) fn is_plain(&self, slot: Slot) -> bool {
        let (member, progress) = (self.get(slot), self.progress(slot));
        let here = member.live && !member.local && member.frozen.is_none();
        let idle = member.ring.is_empty() && progress.waiter == NONE;
        here && idle && progress.heard <= progress.delivered
    }

    #[inline]
    pub(crate) fn progress(&self, slot: Slot) -> &Progress {
        &self.progress[slot as usize]
    }

    #[inline]
    pub(crate) fn progress_mut(&mut self, slot: Slot) -> &mut Progress {
        &mut self.progress[slot as usize]
    }

    #[inline]
    pub(crate) fn delivered(&self, slot: Slot) -> u64 {
        self.progress[slot as usize].delivered
    }

    /// The greatest number of a message that anybody has mentioned, or that has been delivered.
    #[inline]
    pub(crate) fn heard(&self, slot: Slot) -> u64 {
        let progress = self.progress(slot);
        progress.heard.max(progress.delivered)
    }

    /// Takes note that there is a message `seq`, which has not been delivered.
    pub(crate) fn set_heard(&mut self, slot: Slot, seq: u64) {
        let progress = self.progress_mut(slot);
        progress.heard = seq;
        progress.plain = false;
    }

    /// Returns whether a delivery that has just been counted was the last that was missing.
    pub(crate) fn closes_gap(&self, slot: Slot) -> bool {
        let progress = self.progress(slot);
        progress.heard == progress.delivered
    }

    /// The next message of `waiter` waits for message `seq` of the member in `slot`.
    pub(crate) fn add_waiter(&mut self, slot: Slot, seq: u64, waiter: Slot) {
        let progress = &mut self.progress[slot as usize];
        progress.plain = false;
        let mut later = (seq, waiter);
        if later < (progress.awaited, progress.waiter) {
            (progress.awaited, progress.waiter, later) = (seq, waiter, (progress.awaited, progress.waiter));
        }
        if later.1 != NONE {
            self.all[slot as usize].waiters.push(Reverse(later));
        }
    }

    /// Somebody who waits for a message of the member in `slot` up to `seq`, the first one first; who waits no more.
    #[inline]
    pub(crate) fn next_waiter(&mut self, slot: Slot, seq: u64) -> Option<Slot> {
        let progress = &mut self.progress[slot as usize];
        if progress.waiter == NONE || progress.awaited > seq {
            return None;
        }
        let waiter = progress.waiter;
        let next = self.all[slot as usize].waiters.pop().map_or((u64::MAX, NONE), |Reverse(next)| next);
        (progress.awaited, progress.waiter) = next;
        Some(waiter)
    }

    /// The greatest number of a message of the member in `slot` that somebody waits for, and the greatest that
    /// somebody waits for who does not speak over a link of its own; 0 if nobody does.
    pub(crate) fn last_awaited(&self, slot: Slot) -> (u64, u64) {
        let progress = self.progress(slot);
        let first = (progress.waiter != NONE).then_some((progress.awaited, progress.waiter));
        let others = self.get(slot).waiters.iter().map(|Reverse(waiter)| *waiter);
        first.into_iter().chain(others).fold((0, 0), |(last, shown), (seq, waiter)| {
            let shows = if self.get(waiter).direct { 0 } else { seq };
            (last.max(seq), shown.max(shows))
        })
    }

    /// Returns who waits for which message of the member in `slot`, the first one first, the others in no order.
    #[cfg(debug_assertions)]
    pub(crate) fn waiters(&self, slot: Slot) -> impl Iterator<Item = (u64, Slot)> + '_ {
        let progress = self.progress(slot);
        let first = (progress.waiter != NONE).then_some((progress.awaited, progress.waiter));
        first.into_iter().chain(self.get(slot).waiters.iter().map(|&Reverse(later)| later))
    }

    /// Returns how many slots there are, taken or free.
    #[cfg(debug_assertions)]
    pub(crate) fn slots(&self) -> usize {
        self.all.len()
    }

    /// `waiter` waits no more for whatever it waited for of the member in `slot`.
    fn strike_waiter(&mut self, slot: Slot, waiter: Slot) {
        if self.progress(slot).waiter == waiter {
            self.next_waiter(slot, u64::MAX);
        } else {
            self.all[slot as usize].waiters.retain(|Reverse((_, other))| *other != waiter);
        }
    }

    /// Returns whether something is held of the member in `slot`, or awaited.
    fn has_traffic(&self, slot: Slot) -> bool {
        !self.get(slot).ring.is_empty() || self.progress(slot).waiter != NONE
    }

    /// The delivery rule for the dependencies of a message. If it holds, those on live members stand in `deps` then.
    #[inline(always)]
    pub(crate) fn first_unmet(&self, stamp: StampRef<'_>, deps: &mut Vec<(Slot, u64)>) -> Result<(), Unmet> {
        deps.clear();
        let Some(few) = stamp.few() else { return self.first_unmet_from(stamp, stamp.cursor(), deps) };
        for dep in few {
            self.meet(dep, deps).map_err(|dep| (dep, None))?;
        }
        Ok(())
    }

    /// As [`first_unmet`](Self::first_unmet), of many dependencies those from `cursor` on; adds to `deps`.
    #[inline(never)]
    pub(crate) fn first_unmet_from(
        &self,
        stamp: StampRef<'_>,
        mut cursor: DepCursor,
        deps: &mut Vec<(Slot, u64)>,
    ) -> Result<(), Unmet> {
        loop {
            while cursor.left > 0 {
                let dep = stamp.next_in_list(&mut cursor);
                self.meet(dep, deps).map_err(|dep| (dep, Some(cursor)))?;
            }
            match stamp.next_list(cursor) {
                Some(next) => cursor = next,
                None => return Ok(()),
            }
        }
    }

    #[inline(always)]
    fn meet(&self, dep: MessageId, deps: &mut Vec<(Slot, u64)>) -> Result<(), MessageId> {
        match self.standing(dep.member) {
            IdStanding::Live(slot) if self.delivered(slot) >= dep.seq => deps.push((slot, dep.seq)),
            IdStanding::Forgotten => {}
            _ => return Err(dep),
        }
        Ok(())
    }

    /// Returns whether this origin has a host, or had one.
    pub(crate) fn knows_origin(&self, origin: u32) -> bool {
        self.next_ordinal(origin) > 0
    }

    /// Places held for members of origins that are not known. O(early members).
    pub(crate) fn early_places(&self) -> usize {
        let early = self.early.iter().filter(|(id, _)| !self.knows_origin(id.origin));
        early.map(|(_, &slot)| self.get(slot).ring.len()).sum()
    }

    /// Returns how many are live.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Everybody with a slot, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Member)> {
        let taken = self.all.iter().enumerate().map(|(slot, m)| (slot as Slot, m));
        taken.filter(|(slot, m)| m.live || self.has_traffic(*slot))
    }

    /// The first ordinal that `origin` has not given out.
    pub(crate) fn next_ordinal(&self, origin: u32) -> u32 {
        self.next_ordinals.get(&origin).copied().unwrap_or(0)
    }

    pub(crate) fn next_ordinals(&self) -> Vec<(u32, u32)> {
        self.next_ordinals.iter().map(|(&origin, &next)| (origin, next)).collect()
    }

    /// Takes note that `origin` has given out all ordinals below `next`.
    pub(crate) fn set_next_ordinal(&mut self, origin: u32, next: u32) {
        let known = self.next_ordinals.entry(origin).or_default();
        *known = next.max(*known);
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
                self.progress.push(Progress::default());
                (self.all.len() - 1) as Slot
            }
        }
    }

    /// A slot for somebody who has not been announced yet.
    pub(crate) fn early_slot(&mut self, id: MemberId) -> Slot {
        if let Some(&slot) = self.early.get(&id) {
            return slot;
        }
        let slot = self.new_slot(id);
        self.early.insert(id, slot);
        slot
    }

    /// Makes `id` live. Ordinals must be given out by [`set_next_ordinal`](Self::set_next_ordinal).
    pub(crate) fn admit(&mut self, id: MemberId, delivered: u64) -> Slot {
        let slot = self.early.remove(&id).unwrap_or_else(|| self.new_slot(id));
        self.index.insert(id, slot);
        self.live += 1;
        let progress = self.progress_mut(slot);
        progress.delivered = delivered;
        self.get_mut(slot).live = true;
        self.settle(slot);
        slot
    }

    /// Forgets a live member and gives back what was kept of it.
    pub(crate) fn remove(&mut self, slot: Slot) -> Member {
        self.index.remove(self.get(slot).id);
        self.live -= 1;
        let member = self.vacate(slot);
        if let Some(wait) = member.wait.filter(|wait| wait.on != NONE) {
            self.strike_waiter(wait.on, slot);
            if !self.get(wait.on).live && !self.has_traffic(wait.on) {
                let id = self.get(wait.on).id;
                self.early.remove(&id);
                self.vacate(wait.on);
            }
        }
        member
    }

    /// Forgets somebody who is not live and for whom nobody waits, and gives back what was kept of it.
    pub(crate) fn remove_early(&mut self, slot: Slot) -> Member {
        let id = self.get(slot).id;
        self.early.remove(&id);
        self.vacate(slot)
    }

    fn vacate(&mut self, slot: Slot) -> Member {
        // Where it is listed it stays so, and whoever has the slot next with it.
        let listed = self.progress(slot).listed;
        *self.progress_mut(slot) = Progress { listed, ..Progress::default() };
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
            shown: 0,
            direct: false,
            has_own_link: false,
            lives_with: None,
            stats: None,
            repair: Target::default(),
            let_go: 0,
            persisted: 0,
            frozen: None,
            flush: 0,
            ring: Ring::default(),
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
        assert_eq!(members.standing(raj), IdStanding::Early(None));
        let early = members.early_slot(raj);
        assert_eq!(members.standing(raj), IdStanding::Early(Some(early)));
        assert_eq!(members.admit(raj, 0), early);
        members.set_next_ordinal(2, 301);
        assert_eq!(members.standing(raj), IdStanding::Live(early));
        assert_eq!(members.standing(MemberId::new(2, 299)), IdStanding::Forgotten);
        assert_eq!(members.standing(MemberId::new(2, 301)), IdStanding::Early(None));
        members.remove(early);
        assert_eq!(members.standing(raj), IdStanding::Forgotten);
        assert_eq!(members.live(), 0);
        assert_eq!(members.admit(MemberId::new(2, 301), 0), early, "slots are used again");
    }

    #[test]
    fn the_last_ordinals_are_found_too() {
        let mut members = Members::default();
        let late = MemberId::new(0, u32::MAX - 1);
        let slot = members.admit(late, 3);
        members.set_next_ordinal(0, u32::MAX);
        assert_eq!(members.standing(late), IdStanding::Live(slot));
        members.remove(slot);
        assert_eq!(members.standing(late), IdStanding::Forgotten);
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
