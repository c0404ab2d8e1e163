//! Leaving by flush, for meshes without a relay.

use alloc::vec::Vec;

use crate::control::Control;
use crate::error::MembershipError;
use crate::group::{Group, Output};
use crate::id::MemberId;
use crate::members::Slot;
use crate::time::Time;

/// A member that the local host is about to part with, in a mesh.
#[derive(Clone, Debug)]
pub(crate) struct Flush {
    pub(crate) host: MemberId,
    pub(crate) member: MemberId,
    /// The greatest count that anybody has reported.
    pub(crate) count: u64,
    pub(crate) reported: Vec<MemberId>,
}

impl Group {
    /// The local host is about to part with a member in a mesh, which may not answer any more: its last message may
    /// have reached only one. Every live member is asked to take no more from it and to report what it has; once
    /// all have, and the host has delivered the greatest count, *Left* is said by itself. Needs
    /// [`Config::heartbeat`], with which it is asked again.
    ///
    /// Known limit: part with one member at a time. Where departures overlap and messages are lost, a flush may wait
    /// for ever, or a message of the second be delivered without one of the first that it depends on (found by the
    /// simulator: `causerie sim --seed 87769`, `--seed 61256`).
    ///
    /// # Errors
    /// [`MembershipError`]; nothing changed.
    pub fn part_by_flush(
        &mut self,
        now: Time,
        host: MemberId,
        member: MemberId,
    ) -> Result<(), MembershipError> {
        self.local_host(host)?;
        let slot = self.members.live_slot(member).filter(|_| member.origin == host.origin && member != host);
        let slot = slot.ok_or(MembershipError::NotAMember { member })?;
        if self.flushes.iter().all(|flush| flush.member != member) {
            let count = self.members.delivered(slot);
            let frozen = &mut self.members.get_mut(slot).frozen;
            *frozen = Some(frozen.unwrap_or(count));
            self.flushes.push(Flush { host, member, count, reported: Vec::new() });
            self.ask_to_flush(self.flushes.len() - 1);
            self.finish_flushes(now);
        }
        Ok(())
    }

    pub(super) fn ask_to_flush(&mut self, flush: usize) {
        let member = self.flushes[flush].member;
        for to in self.who_must_report(flush) {
            self.outputs.push_back(Output::Control { to: Some(to), control: Control::Flush { member } });
        }
    }

    /// The live members elsewhere that have not reported, those about to leave excepted.
    fn who_must_report(&self, flush: usize) -> Vec<MemberId> {
        let leaving = |member| self.flushes.iter().any(|f| f.member == member);
        let live = self.members.iter().filter(|(_, m)| m.live && !m.local);
        let must =
            live.map(|(_, m)| m.id).filter(|&m| !leaving(m) && !self.flushes[flush].reported.contains(&m));
        let mut must: Vec<_> = must.collect();
        must.sort_unstable();
        must
    }

    /// The host asks to take no more of a member.
    pub(super) fn freeze(&mut self, host: MemberId, member: MemberId) {
        if !host.is_host() || host.origin != member.origin {
            return;
        }
        let Some(slot) = self.members.live_slot(member) else { return };
        let delivered = self.members.delivered(slot);
        let frozen = &mut self.members.get_mut(slot).frozen;
        let count = *frozen.get_or_insert(delivered);
        let control = Control::Flushed { member, count };
        self.outputs.push_back(Output::Control { to: Some(host), control });
    }

    pub(super) fn flushed(&mut self, now: Time, from: MemberId, member: MemberId, count: u64) {
        let Some(flush) = self.flushes.iter_mut().find(|flush| flush.member == member) else { return };
        if !flush.reported.contains(&from) {
            flush.reported.push(from);
        }
        flush.count = flush.count.max(count);
        let count = flush.count;
        if let Some(slot) = self.members.live_slot(member) {
            self.thaw(slot, count);
            self.hear(now, slot, count);
            self.release(now);
        }
        self.finish_flushes(now);
    }

    /// Messages of a frozen member up to `count` may be delivered after all.
    pub(super) fn thaw(&mut self, slot: Slot, count: u64) {
        if let Some(frozen) = &mut self.members.get_mut(slot).frozen {
            *frozen = (*frozen).max(count);
            self.awake.push(slot);
        }
    }

    /// Says *Left* for those of whom everything that anybody has delivered has been delivered here.
    pub(super) fn finish_flushes(&mut self, now: Time) {
        let done = |flush: usize| {
            let Flush { member, count, .. } = &self.flushes[flush];
            let delivered = self.delivered(*member).unwrap_or(u64::MAX);
            self.who_must_report(flush).is_empty() && delivered >= *count
        };
        if let Some(flush) = (0..self.flushes.len()).find(|&flush| done(flush)) {
            let Flush { host, member, .. } = self.flushes[flush];
            // Forgetting the member removes its flush.
            if self.part(now, host, member, b"").is_ok() {
                self.finish_flushes(now);
            }
        }
    }
}
