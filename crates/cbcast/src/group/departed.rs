//! Telling those who have left, or were parted with although they are there.
//!
//! Whoever has delivered the *Left* of a member takes nothing more from it. The member may not know: what would tell it
//! is lost, or was never sent to it. So whatever it says is refused by name, and answered with a *Departed*, which is
//! repeated as often as it speaks; a *Departed* itself is never answered. It names the host's last message, so that the
//! departed asks for *Left* while others still keep it.

use crate::control::Control;
use crate::group::{Group, Link, Output};
use crate::id::MemberId;
use crate::members::IdStanding;
use crate::time::Time;
use crate::trace::tell_event;

impl Group {
    /// Answers whoever speaks over a link of its own although it has left.
    pub(super) fn answer_departed(&mut self, link: Link) -> Option<MemberId> {
        let (Link::Member(speaker) | Link::Peer(speaker)) = link else { return None };
        // Who found no room here has not left.
        if self.overfull || self.members.standing(speaker) != IdStanding::Forgotten {
            return None;
        }
        let count = self.delivered(MemberId::host(speaker.origin)).unwrap_or(0);
        tell_event!(debug, member = %speaker, "speaks and has left");
        let control = Control::Departed { member: speaker, count };
        self.tell(speaker, control);
        Some(speaker)
    }

    /// Others say that a local member has left, and how much they have delivered of its host.
    pub(super) fn told_departed(&mut self, now: Time, link: Link, member: MemberId, count: u64) {
        if matches!(link, Link::Member(_)) || !self.is_local(member) || self.admits_for(member.origin) {
            return;
        }
        if let Some(host) = self.members.live_slot(MemberId::host(member.origin)) {
            self.hear(now, host, count, true);
        }
        self.departs(member);
    }

    /// A local member has left without a command from here.
    pub(super) fn departs(&mut self, member: MemberId) {
        if !self.departed.contains(&member) {
            tell_event!(warn, %member, "departed");
            self.departed.push(member);
            self.outputs.push_back(Output::Departed { member });
        }
    }

    /// Returns whether everybody who lived here has left: then nobody listens to this process any more.
    pub(super) fn is_deserted(&self) -> bool {
        let stays = |member| !self.departed.contains(&member);
        !self.departed.is_empty() && !self.members.iter().any(|(_, m)| m.live && m.local && stays(m.id))
    }
}
