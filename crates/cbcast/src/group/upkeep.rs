//! Upkeep of a group beside its messages: clocks, repair, stability, skipping.

use alloc::vec::Vec;

use crate::clock::VectorClock;
use crate::config::GapPolicy;
use crate::control::{Control, Packet};
use crate::error::ReceiveError;
use crate::group::{Group, Link, Output};
use crate::id::{MemberId, MessageId};
use crate::repair::MissingRange;
use crate::time::Time;
use crate::trace::tell_event;

/// Messages sent again in answer to one request.
const RESEND_MAX: usize = 256;

impl Group {
    /// Somebody tells what it has delivered: so much exists. What is missing here will be asked for.
    ///
    /// Over [`Link::Member`] only the speaker's own entry counts; over [`Link::Peer`] it acknowledges too. O(entries).
    pub fn handle_clock(&mut self, now: Time, link: Link, clock: &VectorClock) {
        self.tell_time(now);
        self.answer_departed(link);
        for (member, count) in clock.iter() {
            let theirs = match link {
                Link::Member(speaker) => speaker == member,
                Link::Relay | Link::Peer(_) => true,
            };
            if let Some(slot) = self.members.live_slot(member)
                && theirs
                && !(matches!(link, Link::Member(_)) && self.members.get(slot).local)
            {
                self.hear(now, slot, count, true);
                if count > self.members.delivered(slot) {
                    self.repair.shown(&mut self.members.get_mut(slot).repair, now);
                }
            }
        }
        if let Link::Peer(peer) = link {
            self.acknowledge(peer, clock);
        }
    }

    /// A packet from a process of a mesh. Costs what the calls below it do.
    ///
    /// # Errors
    /// Those of [`handle_message`](Self::handle_message); controls are never refused.
    pub fn handle_packet(&mut self, now: Time, link: Link, packet: Packet) -> Result<(), ReceiveError> {
        match packet {
            Packet::Message(message) => self.handle_message(now, link, message),
            Packet::Control(control) => {
                self.handle_control(now, link, &control);
                Ok(())
            }
        }
    }

    /// Something other than a message has arrived. What makes no sense over this link is ignored: the other end
    /// tells it again. O(entries) for clocks and requests, and what is sent again; O(1) for flushes, and what they
    /// release.
    pub fn handle_control(&mut self, now: Time, link: Link, control: &Control) {
        self.tell_time(now);
        // A clock is answered where it is taken; that somebody has left needs no answer, or two would go on for ever.
        if !matches!(control, Control::Clock(_) | Control::Departed { .. }) {
            self.answer_departed(link);
        }
        if let Some(peer) = self.stats_of(link) {
            peer.controls += 1;
            peer.wanted += u64::from(matches!(control, Control::Want(_)));
        }
        match control {
            Control::Clock(clock) => self.handle_clock(now, link, clock),
            Control::Want(ranges) => {
                if let Link::Peer(peer) = link {
                    self.resend(peer, ranges);
                }
            }
            Control::Flush { member, number, count } => {
                if let Link::Peer(peer) = link {
                    self.freeze_for(now, peer, *member, *number, *count);
                }
            }
            Control::Flushed { member, number, count } => {
                if let Link::Peer(peer) = link {
                    self.flushed(now, peer, *member, *number, *count);
                }
            }
            Control::Locals(members) => {
                if let Link::Peer(peer) = link {
                    self.live_together(now, peer, members);
                }
            }
            Control::Departed { member, count } => self.told_departed(now, link, *member, *count),
            Control::LetGo { member, count } => self.told_let_go(link, *member, *count),
            Control::CalledOff { member, number } => {
                if let Link::Peer(peer) = link {
                    self.thaw_for(now, peer, *member, *number);
                }
            }
        }
    }

    fn resend(&mut self, to: MemberId, ranges: &[MissingRange]) {
        let answer = self.answer(ranges);
        tell_event!(debug, %to, packets = answer.len(), "sent again");
        answer.into_iter().for_each(|packet| self.transmit(Some(to), packet));
    }

    /// Returns what there is of these messages, and says which are kept by nobody.
    fn answer(&self, ranges: &[MissingRange]) -> Vec<Packet> {
        let mut answer = Vec::new();
        let Some(stability) = &self.stability else { return answer };
        let mut budget = RESEND_MAX;
        for range in ranges.iter().take(RESEND_MAX) {
            let stable = self.members.live_slot(range.member).map_or(0, |slot| stability.stable(slot));
            if range.from <= stable {
                // It has acknowledged them, and does not know them any more.
                answer.push(Packet::Control(Control::LetGo { member: range.member, count: stable }));
            }
            for seq in range.from.max(stable.saturating_add(1))..=range.to {
                let id = MessageId::new(range.member, seq);
                let retained = match self.members.live_slot(range.member) {
                    // Nobody has said more than was delivered here; what was not cannot be retained.
                    Some(slot) if seq > self.members.delivered(slot) => break,
                    // What is not on disk yet was not sent yet.
                    Some(slot) if self.is_unpersisted_own(slot, seq) => break,
                    Some(slot) => stability.retained(slot, seq),
                    None => stability.retained_of_departed(id),
                };
                if let Some(message) = retained {
                    answer.push(Packet::Message(message.clone()));
                } else if self.members.live_slot(range.member).is_none() {
                    break;
                }
                budget -= 1;
                if budget == 0 {
                    return answer;
                }
            }
        }
        answer
    }

    /// A peer's clock acknowledges what it has delivered.
    fn acknowledge(&mut self, from: MemberId, clock: &VectorClock) {
        let acknowledging = self.acknowledging(from);
        let members = &self.members;
        // Who has delivered a Joined that has not been here may count for one who is not counted here yet: then
        // its acknowledgement has to wait. It will tell its clock again.
        let ahead = |(member, count): (MemberId, u64)| {
            member.is_host() && members.live_slot(member).is_none_or(|slot| count > members.delivered(slot))
        };
        if clock.iter().any(ahead) {
            return;
        }
        if let Some(stability) = &mut self.stability {
            for from in acknowledging {
                let counts = clock.iter().filter_map(|(m, n)| Some((members.live_slot(m)?, n)));
                // Nobody has delivered more than was sent, and what was not delivered here is not stable here.
                stability.acknowledge(from, counts);
            }
        }
        self.tell_stable();
    }

    pub(super) fn tell_stable(&mut self) {
        let Some(stability) = &mut self.stability else { return };
        let advanced = stability.take_advanced();
        if advanced.is_empty() {
            return;
        }
        let cut: VectorClock =
            advanced.iter().map(|&slot| (self.members.get(slot).id, stability.stable(slot))).collect();
        let members = &self.members;
        let hosts = advanced.iter().map(|&slot| members.get(slot).id).filter(|id| id.is_host());
        let hosts: Vec<(MemberId, u64)> = hosts
            .map(|host| (host, members.live_slot(host).map_or(0, |slot| stability.stable(slot))))
            .collect();
        stability
            .let_go(|left| hosts.iter().any(|&(host, stable)| host == left.member && left.seq <= stable));
        tell_event!(trace, ?cut, "stable");
        self.outputs.push_back(Output::Stable(cut));
    }

    /// The deadline of [`poll_timeout`](Self::poll_timeout) has come. Early or repeated calls do nothing.
    /// O(members log members + places in the hold-back queue) where something is missing.
    pub fn handle_timeout(&mut self, now: Time) {
        self.tell_time(now);
        if self.heartbeat_at.is_some_and(|at| at <= now) {
            let beats = self.config.heartbeat.filter(|_| !self.is_deserted());
            self.heartbeat_at = beats.map(|pause| now + pause);
            if beats.is_some() {
                self.tell_locals();
                let control = Control::Clock(self.acknowledged());
                self.transmit(None, Packet::Control(control));
            }
            for flush in 0..self.flushes.len() {
                self.ask_to_flush(flush);
            }
            self.tell_called_off();
        }
        if self.repair.due(now)
            && let GapPolicy::Skip { after } = self.config.gap_policy
        {
            self.skip_overdue(now, after);
        }
        // Unless nothing is missing any more, now that it was skipped.
        if self.repair.due(now) {
            self.ask_for_missing(now);
        }
    }
}
