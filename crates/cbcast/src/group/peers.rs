//! Counts of what has come over each link and gone out over it.

use crate::control::{Control, Packet};
use crate::group::{Group, Link};
use crate::id::MemberId;
use crate::members::Slot;
use crate::message::Message;
use crate::peer_stats::PeerStats;

impl Group {
    /// Counts for what came over [`Link::Member`] or [`Link::Peer`] of a live member, and was sent to it alone; what goes
    /// to everybody is in [`stats`](Self::stats). They go with the member when it leaves, so there are no more of them
    /// than members. O(1).
    #[must_use]
    pub fn peer_stats(&self, member: MemberId) -> Option<PeerStats> {
        let slot = self.members.live_slot(member)?;
        Some(self.members.get(slot).stats.as_deref().copied().unwrap_or_default())
    }

    /// Counts for what came over [`Link::Relay`], whichever relay it was. O(1).
    #[must_use]
    pub const fn relay_stats(&self) -> PeerStats {
        self.relays
    }

    /// The counts of the process at the other end, where there are any.
    pub(super) fn stats_of(&mut self, link: Link) -> Option<&mut PeerStats> {
        match link {
            Link::Relay => Some(&mut self.relays),
            Link::Member(peer) | Link::Peer(peer) => self.stats_of_member(peer),
        }
    }

    fn stats_of_member(&mut self, member: MemberId) -> Option<&mut PeerStats> {
        self.members.live_slot(member).map(|slot| self.members.stats_mut(slot))
    }

    /// Counts a message of the member in `slot` that is delivered at once.
    #[inline(always)]
    pub(super) fn count_common(&mut self, link: Link, slot: Slot, message: &Message) {
        let peer = match link {
            Link::Relay => &mut self.relays,
            Link::Member(_) => self.members.stats_mut(slot),
            Link::Peer(peer) => match self.stats_of_member(peer) {
                Some(stats) => stats,
                None => return,
            },
        };
        peer.received += 1;
        peer.received_bytes += message.packet().len() as u64;
    }

    /// Counts a packet that is to be sent.
    pub(super) fn count_sent(&mut self, to: Option<MemberId>, packet: &Packet) {
        match (to, packet) {
            (None, Packet::Message(message)) => {
                self.stats.broadcast += 1;
                self.stats.broadcast_bytes += message.packet().len() as u64;
            }
            (Some(to), Packet::Message(message)) => {
                self.stats.resent += 1;
                if let Some(stats) = self.stats_of_member(to) {
                    stats.resent += 1;
                    stats.resent_bytes += message.packet().len() as u64;
                }
            }
            (Some(to), Packet::Control(Control::Want(_))) => {
                self.stats.wants += 1;
                if let Some(stats) = self.stats_of_member(to) {
                    stats.wants += 1;
                }
            }
            (_, Packet::Control(_)) => {}
        }
    }
}
