//! Members that lie over their links: a client of its own making, which no group runs behind.
//!
//! Whatever it sends, it speaks over a link that speaks for one member. The relay takes or refuses it, and nobody else
//! may see anything go wrong: neither an order broken, nor a message of theirs lost, changed or held for ever. A
//! message of the liar is what its relay has made of it: the first to be delivered, anywhere, under its number.

use cbcast::{Control, Kind, MemberId, Message, MessageId, MissingRange, Packet, VectorClock};

use crate::sim::process::{Process, Stage};
use crate::sim::world::World;
use crate::sim::{TraceEvent, TraceKind, Wrong};
use crate::textbook::Stamped;

/// Lies are no further away than that, mostly.
const FAR: u64 = 5_000;

impl<F: FnMut(TraceEvent)> World<'_, F> {
    /// Makes liars of some clients.
    pub(super) fn turn_liars(&mut self) {
        for _ in 0..self.plan.faults.liars {
            let stays = |p: &&Process| !p.me.is_host() && p.stage == Stage::Stays;
            let clients: Vec<_> = self.processes.values().filter(stays).map(|p| p.me).collect();
            if let Some(who) = self.random.pick(&clients).filter(|_| clients.len() > 2 && !self.is_mesh()) {
                let process = self.process(who);
                (process.stage, process.textbook) = (Stage::Lies(0), None);
                self.liars.insert(who);
            }
        }
    }

    /// Sends something that no group would.
    pub(super) fn lie(&mut self, who: MemberId) {
        let Stage::Lies(said) = self.processes[&who].stage else { return };
        self.report.meet("liars");
        let me = |seq| MessageId::new(who, seq);
        let text = format!("a lie of {who} at {} ms", self.now.as_nanos() / 1_000_000);
        let next = said + 1;
        let data = |id, deps: &[MessageId]| Message::new(id, Kind::Data, deps, text.as_bytes()).ok();
        let victim = self.somebody(who);
        let far = 1 + self.random.below(FAR);
        let huge = if self.random.below(4) == 0 { u64::MAX - far } else { far };
        let (message, control) = match self.random.below(14) {
            // Causes that it has not seen, or not all that it has.
            0..=2 => {
                let deps = self.some_messages(who);
                (data(me(next), &deps), None)
            }
            // A cause that nobody has said.
            3 => (data(me(next), &[MessageId::new(victim, huge)]), None),
            // Under a number that it has used.
            4 => (data(me(said.max(1)), &self.some_messages(who)), None),
            5 => (data(me(next + far), &[]), None),
            // In another's name.
            6 => (data(MessageId::new(victim, far), &[]), None),
            7 => {
                let left = Kind::Left { member: MemberId::new(who.origin, 1), last_seq: far };
                let host = MessageId::new(MemberId::host(who.origin), far);
                (Message::new(host, left, &[], b"").ok(), None)
            }
            // That it and everybody else has said, and has delivered, so much.
            8 => {
                let everybody = self.members.iter().map(|&member| (member, huge));
                let clock: VectorClock = everybody.chain([(who, next)]).collect();
                (None, Some(Control::Clock(clock)))
            }
            9 => {
                let all = |&member: &MemberId| MissingRange { member, from: 1, to: u64::MAX };
                (None, Some(Control::Want(self.members.iter().map(all).collect())))
            }
            10 => (None, Some(Control::Flush { member: victim, number: far, count: 0 })),
            11 => (None, Some(Control::Flushed { member: victim, number: 1, count: huge })),
            12 => (None, Some(Control::CalledOff { member: victim, number: huge })),
            _ => (None, Some(Control::Departed { member: victim, count: huge })),
        };
        if message.as_ref().is_some_and(|message| message.id() == me(next)) {
            self.process(who).stage = Stage::Lies(next);
        }
        let packet = message.map(Packet::Message).or(control.map(Packet::Control));
        if let Some(packet) = packet {
            self.network.send(self.now, who, MemberId::host(who.origin), packet.into_bytes());
        }
    }

    /// Another member: one of the liar's relay, or of another.
    fn somebody(&mut self, not: MemberId) -> MemberId {
        let others: Vec<_> = self.members.iter().copied().filter(|&member| member != not).collect();
        self.random.pick(&others).unwrap_or(MemberId::host(0))
    }

    /// Some messages that there are, one a member at most.
    fn some_messages(&mut self, not: MemberId) -> Vec<MessageId> {
        let last = |member: &MemberId| {
            let all = MessageId::new(*member, 0)..=MessageId::new(*member, u64::MAX);
            self.said.range(all).next_back().map(|(id, _)| *id)
        };
        let all: Vec<_> = self.members.iter().filter(|&&member| member != not).filter_map(last).collect();
        let mut some = Vec::new();
        for id in all {
            if self.random.below(2) == 0 {
                some.push(MessageId::new(id.member, 1 + self.random.below(id.seq)));
            }
        }
        some.sort_unstable();
        some
    }

    /// Stamps a liar's message as the textbook would: by its sender's number and the causes that it names. What those follow
    /// in turn has been delivered wherever they have; and where their author has left without their being taken they
    /// count as met, with all that they follow.
    pub(super) fn stamp_lie(&mut self, message: &Message) {
        let id = message.id();
        if !self.plan.has_textbook() || self.stamped.contains_key(&id) {
            return;
        }
        let sender = self.number_of(id.member);
        let mut vector = vec![0; sender + 1];
        for cause in message.deps().chain([id]) {
            let number = self.number_of(cause.member);
            if vector.len() <= number {
                vector.resize(number + 1, 0);
            }
            vector[number] = cause.seq;
        }
        self.stamped.insert(id, Stamped { sender, vector, change: None, payload: id });
    }

    /// A liar's message is delivered for the first time: only now does anybody know it.
    /// What it claims to follow binds, as far as there is something.
    pub(super) fn note_lie(&mut self, who: MemberId, message: &Message) -> Result<(), Wrong> {
        let id = message.id();
        if self.liars.contains(&id.member) && !self.lies.contains(&id) {
            let here = &self.processes[&who];
            let is_here = |dep: &MessageId| here.seen.contains(dep) || here.skipped.contains(dep);
            message.deps().filter(is_here).for_each(|dep| self.oracle.claims(id.member, &dep));
        }
        self.know_lie(id)?;
        if self.liars.contains(&id.member) && !self.said.contains_key(&id) {
            self.said.insert(id, message.clone());
            self.report.messages += 1;
            self.report.meet("lies delivered");
            self.tell(id.member, TraceKind::Send { message: id, deps: message.deps().collect() });
        }
        Ok(())
    }

    /// The oracle has to know a liar's message before it is delivered, or given up: that harms nobody else.
    pub(super) fn know_lie(&mut self, id: MessageId) -> Result<(), Wrong> {
        if self.liars.contains(&id.member) && self.lies.insert(id) {
            self.oracle.broadcast(id.member, id)?;
        }
        Ok(())
    }

    /// Returns whether anybody has said such a message: who believes a liar misses what is none.
    pub(super) fn exists(&self, id: MessageId) -> bool {
        self.said.contains_key(&id)
    }

    /// In the end relays part with those who lie.
    pub(super) fn unmask_liars(&mut self) -> Result<(), Wrong> {
        let liars: Vec<_> =
            self.liars.iter().copied().filter(|who| self.processes.contains_key(who)).collect();
        for who in liars {
            self.remove(who);
            self.part(who)?;
        }
        Ok(())
    }
}
