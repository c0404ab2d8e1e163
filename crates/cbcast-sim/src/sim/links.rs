//! Links between processes, and the processes that are asked for messages.

use std::collections::BTreeMap;

use bytes::Bytes;
use cbcast::{Control, Link, MemberId, MessageId, MissingRange, Packet};

use crate::sim::process::Stage;
use crate::sim::world::World;
use crate::sim::{Topology, TraceEvent};

/// Messages sent again in answer to one request, where the driver answers.
const RESEND_MAX: usize = 256;

impl<F: FnMut(TraceEvent)> World<'_, F> {
    /// The process in which a member lives or has lived.
    pub(super) fn home(&self, member: MemberId) -> MemberId {
        self.homes.get(&member).copied().unwrap_or(member)
    }

    /// The relay of a client, or of a relay itself.
    fn relay_of(&self, who: MemberId) -> MemberId {
        MemberId::host(who.origin)
    }

    /// Returns what a process knows of the other end of a link.
    pub(super) fn link(&self, at: MemberId, from: MemberId) -> Link {
        match (self.is_mesh(), at.is_host(), from.is_host()) {
            (true, _, _) => Link::Peer(from),
            (false, true, false) => Link::Member(from),
            _ => Link::Relay,
        }
    }

    /// Relays that have a link to this one.
    fn neighbours(&self, relay: MemberId) -> Vec<MemberId> {
        let n = self.plan.topology.relays();
        let (me, last) = (relay.origin, n - 1);
        let origins: Vec<u32> = match self.plan.topology {
            Topology::Chain(_) => {
                [me.checked_sub(1), Some(me + 1).filter(|&next| next < n)].into_iter().flatten().collect()
            }
            Topology::Ring(_) => {
                vec![if me == 0 { last } else { me - 1 }, if me == last { 0 } else { me + 1 }]
            }
            _ => (0..n).collect(),
        };
        let mut others: Vec<_> =
            origins.into_iter().filter(|&origin| origin != me).map(MemberId::host).collect();
        others.dedup();
        others
    }

    /// Returns whom a process has a link to: in a mesh all that it knows; a client its relay; a relay its clients, those who
    /// read it too, and the relays beside it.
    pub(super) fn links(&self, who: MemberId) -> Vec<MemberId> {
        if self.is_mesh() {
            let known = self.processes[&who].group.clock();
            let mut homes: Vec<_> = known.iter().map(|(member, _)| self.home(member)).collect();
            homes.sort_unstable();
            homes.dedup();
            homes.retain(|&home| home != who);
            homes
        } else if who.is_host() {
            let clients =
                self.processes.keys().filter(|client| !client.is_host() && client.origin == who.origin);
            let readers = self.readers.get(&who).into_iter().flatten();
            self.neighbours(who).into_iter().chain(clients.chain(readers).copied()).collect()
        } else {
            vec![self.relay_of(who)]
        }
    }

    /// To whom a process sends a message that it has said or, as a relay, delivered.
    pub(super) fn pass_on(&mut self, who: MemberId, id: MessageId, packet: &Bytes) {
        let author = self.home(id.member);
        let all_to_all = matches!(self.plan.topology, Topology::Relay | Topology::Relays(_));
        for to in self.links(who) {
            // Where relays are connected each to each, what they hear from others they pass on to their clients only.
            let came_from_relay =
                all_to_all && who.is_host() && to.is_host() && id.member.origin != who.origin;
            if to != author && !came_from_relay {
                self.network.send(self.now, who, to, packet.clone());
            }
        }
    }

    pub(super) fn control(&mut self, who: MemberId, to: Option<MemberId>, control: Control) {
        match control {
            Control::Want(ranges) => {
                self.report.wants += 1;
                for (to, ranges) in self.whom_to_ask(who, to, ranges) {
                    let packet = Packet::Control(Control::Want(ranges)).into_bytes();
                    self.network.send(self.now, who, to, packet);
                }
            }
            control => {
                let to = match to {
                    Some(to) if self.is_mesh() || matches!(control, Control::Departed { .. }) => {
                        vec![self.home(to)]
                    }
                    _ => self.links(who),
                };
                let packet = Packet::Control(control).into_bytes();
                to.into_iter().for_each(|to| self.network.send(self.now, who, to, packet.clone()));
            }
        }
    }

    /// In a mesh whom the group says. Else a client its relay; a relay its client, the relay of the origin if it is
    /// connected to it, or all relays beside it.
    fn whom_to_ask(
        &self,
        who: MemberId,
        to: Option<MemberId>,
        ranges: Vec<MissingRange>,
    ) -> BTreeMap<MemberId, Vec<MissingRange>> {
        let mut asked: BTreeMap<MemberId, Vec<MissingRange>> = BTreeMap::new();
        for range in ranges {
            let host = MemberId::host(range.member.origin);
            let whom = match (to, self.plan.topology) {
                (Some(to), Topology::Mesh) => vec![self.home(to)],
                _ if !who.is_host() => vec![self.relay_of(who)],
                _ if range.member.origin == who.origin => vec![self.home(range.member)],
                (_, Topology::Chain(_) | Topology::Ring(_)) => self.neighbours(who),
                _ => vec![host],
            };
            for whom in whom {
                asked.entry(whom).or_default().push(range);
            }
        }
        asked
    }

    /// A request over a relay's link is answered from the log, by the original bytes.
    pub(super) fn answer(&mut self, who: MemberId, to: MemberId, ranges: &[MissingRange]) {
        let log = &self.processes[&who].log;
        let ids = |r: &MissingRange| MessageId::new(r.member, r.from)..=MessageId::new(r.member, r.to);
        let wanted = ranges.iter().flat_map(|range| log.range(ids(range)).map(|(_, bytes)| bytes.clone()));
        for packet in wanted.take(RESEND_MAX).collect::<Vec<_>>() {
            self.report.resent += 1;
            self.network.send(self.now, who, to, packet);
        }
    }

    /// A client reads a second relay from now on.
    pub(super) fn read_two(&mut self) {
        let stays = |p: &&crate::sim::process::Process| !p.me.is_host() && p.stage == Stage::Stays;
        let clients: Vec<_> = self.processes.values().filter(stays).map(|p| p.me).collect();
        let Some(who) = self.random.pick(&clients) else { return };
        let Some(other) = self.another_relay(who.origin) else { return };
        if self.readers.entry(other).or_default().insert(who) {
            self.report.meet("two-relays");
        }
    }

    /// One of the other relays.
    pub(super) fn another_relay(&mut self, origin: u32) -> Option<MemberId> {
        let others: Vec<_> = (0..self.plan.topology.relays()).filter(|&other| other != origin).collect();
        self.random.pick(&others).map(MemberId::host)
    }
}
