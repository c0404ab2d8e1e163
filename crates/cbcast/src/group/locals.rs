//! Several members in one process of a mesh.
//!
//! They share what has been delivered, so one clock acknowledges for all, and one report of a flush; but a link speaks
//! for one member. So such a process tells with each heartbeat who lives there. Others then ask only the member that the
//! link speaks for, their *speaker*, and count what it tells for all of them. Whose clock has come over a link of its own
//! lives with nobody, whatever others say.

use alloc::vec::Vec;

use crate::config::Topology;
use crate::control::{Control, Packet};
use crate::group::Group;
use crate::id::MemberId;
use crate::members::{Member, Slot};
use crate::time::Time;

impl Group {
    /// Tells who lives here, unless that is one alone.
    pub(super) fn tell_locals(&mut self) {
        if self.config.topology != Topology::Mesh {
            return;
        }
        let mut locals: Vec<_> = self.locals().collect();
        if locals.len() > 1 {
            locals.sort_unstable();
            self.transmit(None, Packet::Control(Control::Locals(locals)));
        }
    }

    /// These members live where `speaker` does.
    pub(super) fn live_together(&mut self, now: Time, speaker: MemberId, locals: &[MemberId]) {
        if !self.is_member(speaker) || self.is_local(speaker) {
            return;
        }
        for &member in locals {
            let slot = self.members.live_slot(member).filter(|_| member != speaker);
            let Some(slot) = slot else { continue };
            let Member { local, has_own_link, lives_with, .. } = self.members.get(slot);
            if !local && !has_own_link && *lives_with != Some(speaker) {
                self.members.get_mut(slot).lives_with = Some(speaker);
                self.members.settle(slot);
            }
        }
        // Reports that have come may be all that there will be.
        self.release(now);
    }

    /// The member that the link to the process of the one in `slot` speaks for.
    pub(super) fn speaker(&self, slot: Slot) -> MemberId {
        let member = self.members.get(slot);
        member.lives_with.filter(|&speaker| self.is_member(speaker)).unwrap_or(member.id)
    }

    /// A clock has come over the link of this member: who acknowledges with it, itself included.
    pub(super) fn acknowledging(&mut self, speaker: MemberId) -> Vec<Slot> {
        let Some(slot) = self.members.live_slot(speaker) else { return Vec::new() };
        let Member { has_own_link, lives_with, .. } = self.members.get(slot);
        if !has_own_link || lives_with.is_some() {
            let member = self.members.get_mut(slot);
            (member.has_own_link, member.lives_with) = (true, None);
            self.members.settle(slot);
        }
        let with_it = self.members.iter().filter(|(_, m)| m.live && m.lives_with == Some(speaker));
        core::iter::once(slot).chain(with_it.map(|(slot, _)| slot)).collect()
    }
}
