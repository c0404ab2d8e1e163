//! Leaving by flush, for meshes without a relay.
//!
//! The last message of somebody who leaves may have reached only one. So the host first asks all who stay to take no
//! more of the leaver (to *freeze* it) and to report what they have; it fetches what it lacks, and its *Left* then
//! counts all of that. It is the flush before a new view of [BSS91, section 5.2], for one host that does all parting.
//!
//! Where several leave at once:
//! - Reports of one who leaves too do not count: what only it has may be nowhere any more. Who stays has delivered
//!   nothing that depends on it, and never will.
//! - That holds only while the other is frozen as well, since a *Left* makes whatever its member said count as met.
//!   So nobody's *Left* is said before everybody has reported on all of them.
//! - What the host has delivered itself is certain to count, and may be delivered by all: the request says how much
//!   that is. Else the *Joined* of somebody could wait for a message of one who is frozen, and he for his report.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::control::Control;
use crate::error::{BroadcastError, MembershipError};
use crate::group::Group;
use crate::group::waiting::{CalledOff, Flush};
use crate::id::MemberId;
use crate::members::{Member, Slot};
use crate::message::Kind;
use crate::time::Time;
use crate::trace::tell_event;

/// Bytes that a *Left* takes beside its payload and dependencies on a few members.
const LEFT_BYTES_MAX: usize = 64;

impl Group {
    /// The host asks all who stay about the member in `slot`, unless it does already.
    pub(super) fn begin_flush(
        &mut self,
        now: Time,
        host: MemberId,
        slot: Slot,
        payload: &[u8],
    ) -> Result<(), MembershipError> {
        let member = self.members.get(slot).id;
        // A *Left* that could not be said in the end would hold up those of all others.
        let (length, limit) = (LEFT_BYTES_MAX + payload.len(), self.config.packet_bytes_max);
        if length > limit {
            return Err(BroadcastError::TooLong { length, limit }.into());
        }
        if self.flushes.iter().all(|flush| flush.member != member) {
            self.called_off.retain(|called_off| called_off.member != member);
            tell_event!(debug, %member, "flush begins");
            self.next_flush_number(slot);
            self.frozen_up_to(now, slot, self.members.delivered(slot));
            let payload = Bytes::copy_from_slice(payload);
            self.flushes.push(Flush { host, member, payload, reported: Vec::new() });
            self.ask_to_flush(self.flushes.len() - 1);
            self.release(now);
        }
        Ok(())
    }

    /// The local host does not part with a member of a mesh after all: calls off the flush that [`part`](Self::part)
    /// has begun. The member never knew; what the others have not taken from it meanwhile, they take now. Who cannot be
    /// reached is told with each heartbeat, until it has answered. O(members).
    ///
    /// # Errors
    /// [`MembershipError::NotHost`], [`MembershipError::NotLeaving`]; nothing changed.
    pub fn call_off_parting(
        &mut self,
        now: Time,
        host: MemberId,
        member: MemberId,
    ) -> Result<(), MembershipError> {
        self.local_host(host)?;
        let flush = self.flushes.iter().position(|flush| (flush.host, flush.member) == (host, member));
        self.flushes.remove(flush.ok_or(MembershipError::NotLeaving { member })?);
        if let Some(slot) = self.members.live_slot(member) {
            // Or a report that was on its way would be taken for the answer of one who does not know yet.
            self.next_flush_number(slot);
            self.thaw(slot);
        }
        tell_event!(debug, %member, "flush called off");
        self.called_off.push(CalledOff { member, told: Vec::new() });
        self.tell_called_off();
        // It stays, so its reports on the others who leave count.
        for flush in 0..self.flushes.len() {
            self.ask_to_flush(flush);
        }
        self.release(now);
        Ok(())
    }

    /// Tells those who have not answered yet.
    pub(super) fn tell_called_off(&mut self) {
        let mut all = core::mem::take(&mut self.called_off);
        all.retain(|CalledOff { member, told }| {
            let number = self.flush_number(*member);
            let others = self.members.iter().filter(|(_, m)| m.live && !m.local && m.id != *member);
            let others = others.map(|(slot, _)| self.speaker(slot));
            let mut unaware: Vec<_> = others.filter(|id| !told.contains(id)).collect();
            unaware.sort_unstable();
            unaware.dedup();
            for &to in &unaware {
                let control = Control::CalledOff { member: *member, number };
                self.promise(to, control);
            }
            !unaware.is_empty()
        });
        self.called_off = all;
    }

    fn next_flush_number(&mut self, slot: Slot) {
        let flush = &mut self.members.get_mut(slot).flush;
        *flush = flush.saturating_add(1);
    }

    fn flush_number(&self, member: MemberId) -> u64 {
        self.members.live_slot(member).map_or(0, |slot| self.members.get(slot).flush)
    }

    /// The host says that a member does not leave after all.
    pub(super) fn thaw_for(&mut self, now: Time, host: MemberId, member: MemberId, number: u64) {
        if host != MemberId::host(member.origin) || self.is_local(host) {
            return;
        }
        let Some(slot) = self.members.live_slot(member) else { return };
        let known = self.members.get(slot).flush;
        if number >= known {
            self.members.get_mut(slot).flush = number;
            self.thaw(slot);
            self.release(now);
        }
        let count = self.delivered(member).unwrap_or(0);
        let control = Control::Flushed { member, number, count };
        self.promise(host, control);
    }

    /// Makes what a member says deliverable again.
    fn thaw(&mut self, slot: Slot) {
        self.members.get_mut(slot).frozen = None;
        self.members.settle(slot);
        self.awake.push(slot);
    }

    /// All who stay are asked, those who have reported too: they are told how much may be delivered.
    pub(super) fn ask_to_flush(&mut self, flush: usize) {
        let member = self.flushes[flush].member;
        let (number, count) = (self.flush_number(member), self.delivered(member).unwrap_or(0));
        for to in self.who_stays() {
            let control = Control::Flush { member, number, count };
            self.promise(to, control);
        }
    }

    /// The live members elsewhere that are not about to leave, by those who speak for them.
    fn who_stays(&self) -> Vec<MemberId> {
        let stay = self.members.iter().filter(|(_, m)| m.live && !m.local && m.frozen.is_none());
        let mut stay: Vec<_> = stay.map(|(slot, _)| self.speaker(slot)).collect();
        stay.sort_unstable();
        stay.dedup();
        stay
    }

    /// The host asks to take no more of a member than what has been delivered here or there.
    pub(super) fn freeze_for(
        &mut self,
        now: Time,
        host: MemberId,
        member: MemberId,
        number: u64,
        count: u64,
    ) {
        // No host says that it has left itself: one that was frozen would be so for good.
        if member.is_host() || host != MemberId::host(member.origin) || self.is_local(host) {
            return;
        }
        // Who does not know the member yet will when its Joined comes, and is asked again.
        let Some(slot) = self.members.live_slot(member) else { return };
        let Member { flush: known, frozen, .. } = self.members.get(slot);
        if number < *known || number == *known && frozen.is_none() {
            // It was on its way for longer than what called it off.
            return;
        }
        self.members.get_mut(slot).flush = number;
        let count = self.frozen_up_to(now, slot, count.max(self.members.delivered(slot)));
        tell_event!(debug, %member, count, "frozen for its host");
        let control = Control::Flushed { member, number, count };
        self.promise(host, control);
        self.hear(now, slot, count, true);
        self.release(now);
    }

    /// A report, which counts for the flush that it names only: between two flushes its sender may have delivered more.
    pub(super) fn flushed(&mut self, now: Time, from: MemberId, member: MemberId, number: u64, count: u64) {
        if number != self.flush_number(member) {
            return;
        }
        if let Some(called_off) = self.called_off.iter_mut().find(|c| c.member == member) {
            if !called_off.told.contains(&from) {
                called_off.told.push(from);
            }
            return;
        }
        let Some(flush) = self.flushes.iter_mut().find(|flush| flush.member == member) else { return };
        if flush.reported.iter().all(|&(reporter, _)| reporter != from) {
            flush.reported.push((from, count));
        }
        self.exists_and_may_go(now, member, count);
        self.release(now);
    }

    /// Somebody is frozen, and what the host has said is held up to where messages may be ahead. What lets the frozen go
    /// lies behind that then, and what the host has said may wait for it.
    pub(super) fn ask_beyond(&mut self, now: Time, host: Slot) {
        if self.wanted_up_to(host) > self.members.heard(host) {
            let target = &mut self.members.get_mut(host).repair;
            self.repair.gap_opened(target, now);
        }
    }

    /// The greatest number of a message of the member in `slot` that is worth asking for.
    pub(super) fn wanted_up_to(&self, slot: Slot) -> u64 {
        let (member, heard) = (self.members.get(slot), self.members.heard(slot));
        let is_theirs = |m: &Member| m.frozen.is_some() && m.id.origin == member.id.origin;
        let frozen = member.id.is_host() && self.members.iter().any(|(_, m)| is_theirs(m));
        if frozen { heard.max(member.shown) } else { heard }
    }

    /// Takes note that `member` has said so many messages: if it is frozen, they may be delivered after all.
    pub(super) fn exists_and_may_go(&mut self, now: Time, member: MemberId, count: u64) {
        if let Some(slot) = self.members.live_slot(member)
            && self.members.get(slot).frozen.is_some()
        {
            self.frozen_up_to(now, slot, count);
            self.hear(now, slot, count, true);
        }
    }

    /// Freezes a member, or lets more of its messages through: how many then may be delivered.
    pub(super) fn frozen_up_to(&mut self, now: Time, slot: Slot, count: u64) -> u64 {
        let frozen = self.members.get_mut(slot).frozen.get_or_insert(count);
        *frozen = count.max(*frozen);
        let count = *frozen;
        self.awake.push(slot);
        if let Some(host) = self.members.live_slot(MemberId::host(self.members.get(slot).id.origin)) {
            self.ask_beyond(now, host);
        }
        count
    }

    /// Says *Left* for all of whom everything that anybody who stays has delivered has been delivered here.
    pub(super) fn finish_flushes(&mut self, now: Time) {
        let stay = self.who_stays();
        let done = |flush: &Flush| {
            let count_of = |member| flush.reported.iter().find(|(reporter, _)| reporter == member);
            let delivered = self.delivered(flush.member).unwrap_or(u64::MAX);
            stay.iter().all(|member| count_of(member).is_some_and(|&(_, count)| count <= delivered))
        };
        if !self.flushes.iter().all(done) {
            return;
        }
        // Reports of those who leave too may have let more through than will count.
        let leaving = core::mem::take(&mut self.flushes);
        for flush in &leaving {
            if let Some(slot) = self.members.live_slot(flush.member) {
                self.members.get_mut(slot).frozen = Some(self.members.delivered(slot));
            }
        }
        for flush in leaving {
            let Some(last_seq) = self.delivered(flush.member) else { continue };
            let left = Kind::Left { member: flush.member, last_seq };
            if self.say(now, flush.host, left, &flush.payload).is_err() {
                self.flushes.push(flush);
            }
        }
    }
}
