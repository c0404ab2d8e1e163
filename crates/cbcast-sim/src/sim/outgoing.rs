//! Outputs of a process: they are done, judged, and compared with the textbook.

use std::time::Duration;

use cbcast::{Kind, MemberId, Message, MessageId, MissingRange, Output, Packet, Transmit};

use crate::Violation;
use crate::sim::process::{Process, Stage};
use crate::sim::world::World;
use crate::sim::{TraceEvent, TraceKind, Wrong};
use crate::textbook::GroupChange;

impl<F: FnMut(TraceEvent)> World<'_, F> {
    pub(super) fn drain(&mut self, who: MemberId) -> Result<(), Wrong> {
        if let Stage::Lies(_) = self.processes[&who].stage {
            // It listens, so that it knows whom to lie about. What it says is made up.
            while self.process(who).group.poll_output().is_some() {}
            return Ok(());
        }
        while let Some(output) = self.process(who).group.poll_output() {
            match output {
                Output::Transmit(Transmit { to, packet }) => self.transmit(who, to, packet)?,
                Output::Deliver { message, held_since } => {
                    // Its own is noted when it is sent. After going back it comes again from others.
                    let process = &self.processes[&who];
                    let is_echo =
                        process.locals.contains(&message.id().member) && process.seen.contains(&message.id());
                    if !is_echo {
                        self.delivered(who, &message, held_since.is_some())?;
                    }
                }
                Output::Held { id, waits_for } => {
                    self.report.held += 1;
                    let now = self.now;
                    self.process(who).held.insert(id, now);
                    let deps = self.deps(id);
                    self.tell(who, TraceKind::Hold { message: id, deps, waits_for });
                }
                Output::Stable(cut) => {
                    for (member, count) in cut.iter() {
                        self.check_stable(who, member, count)?;
                    }
                }
                Output::Rollback { member, .. } => match self.processes[&who].stage {
                    Stage::WentBack => self.report.meet("rollback, proven"),
                    // A liar may name any message of one whom its relay has parted with: to the relay it counts as met.
                    Stage::Evicted | Stage::ToldToHaveLeft if !self.liars.is_empty() => {}
                    _ => return Err(Wrong::NotRolledBack { process: who, member }),
                },
                Output::Departed { member } => self.told_departed(who, member)?,
                Output::Gap(range) => {
                    self.tell(who, TraceKind::Gap { range });
                    self.given_up(who, range)?;
                }
                _ => {}
            }
        }
        let process = &self.processes[&who];
        process.check_buffers()?;
        if process.is_honest() {
            self.report.textbook_agreed += u64::from(process.check_textbook(&self.members)?);
        }
        self.finish_leaving(who)
    }

    fn transmit(&mut self, who: MemberId, to: Option<MemberId>, packet: Packet) -> Result<(), Wrong> {
        match (to, packet) {
            (None, Packet::Message(message)) => self.sent(who, message)?,
            (Some(to), Packet::Message(message)) => {
                self.report.resent += 1;
                let to = self.home(to);
                self.network.send(self.now, who, to, message.into_packet());
            }
            (to, Packet::Control(control)) => self.control(who, to, control),
        }
        Ok(())
    }

    fn sent(&mut self, who: MemberId, message: Message) -> Result<(), Wrong> {
        let id = message.id();
        self.report.messages += 1;
        self.oracle.broadcast(who, id)?;
        let change = self.change_of(message.kind());
        let number = self.number_of(id.member);
        let process = self.process(who);
        process.seen.insert(id);
        process.log.insert(id, message.packet().clone());
        if let Some(textbook) = &mut process.textbook {
            let stamped = textbook.announce(number, change, id);
            self.stamped.insert(id, stamped);
        }
        let deps: Vec<_> = message.deps().collect();
        self.said.insert(id, message.clone());
        self.tell(who, TraceKind::Send { message: id, deps });
        self.pass_on(who, id, message.packet());
        Ok(())
    }

    /// As the textbook has it.
    fn change_of(&mut self, kind: Kind) -> Option<GroupChange> {
        match kind {
            Kind::Joined(member) => Some(GroupChange::Joined(self.number_of(member))),
            Kind::Left { member, .. } => Some(GroupChange::Left(self.number_of(member))),
            _ => None,
        }
    }

    fn delivered(&mut self, who: MemberId, message: &Message, was_held: bool) -> Result<(), Wrong> {
        let id = message.id();
        let since = self.process(who).held.remove(&id).filter(|_| was_held);
        let held_for = was_held.then(|| since.map_or(Duration::ZERO, |since| self.now.since(since)));
        self.note_lie(who, message)?;
        // Told first: a trace that ends in a violation shows it.
        self.tell(who, TraceKind::Deliver { message: id, deps: message.deps().collect(), held_for });
        match self.oracle.deliver(who, &id) {
            // Whoever is parted with together with others is not asked to take nothing more from them. Until its own Left
            // comes, theirs may let through what followed their last messages, which are nowhere any more.
            Err(Violation::BeforeCause { .. }) if !self.processes[&who].is_honest() => {
                self.report.meet("evict, out of order");
                return Ok(());
            }
            delivered => delivered?,
        }
        if self.said.get(&id) != Some(message) {
            return Err(Wrong::Content { process: who, message: id });
        }
        self.report.deliveries += 1;
        self.report.longest_hold = self.report.longest_hold.max(held_for.unwrap_or_default());
        let process = self.process(who);
        process.seen.insert(id);
        if process.is_relay {
            process.log.insert(id, message.packet().clone());
            self.pass_on(who, id, message.packet());
        }
        Ok(())
    }

    /// Only who was parted with is told so.
    fn told_departed(&mut self, who: MemberId, member: MemberId) -> Result<(), Wrong> {
        let process = self.process(who);
        if !matches!(process.stage, Stage::Evicted | Stage::Suspected) {
            return Err(Wrong::NotDeparted { process: who, member });
        }
        process.stage = Stage::ToldToHaveLeft;
        Ok(())
    }

    /// Only where that was asked for, and never of a host.
    fn given_up(&mut self, who: MemberId, range: MissingRange) -> Result<(), Wrong> {
        if self.plan.faults.skip == Duration::ZERO || range.member.is_host() {
            return Err(Wrong::Gap { process: who, range });
        }
        for seq in range.from..=range.to {
            let id = MessageId::new(range.member, seq);
            self.know_lie(id)?;
            self.oracle.skip(who, &id)?;
            self.process(who).skipped.insert(id);
            self.report.skipped += 1;
        }
        Ok(())
    }

    /// The direct dependencies of a message that was sent here.
    fn deps(&self, id: MessageId) -> Vec<MessageId> {
        self.said.get(&id).map(|message| message.deps().collect()).unwrap_or_default()
    }

    /// Checks that everybody has what is said to be stable. (Who has been parted with and does not know it takes others
    /// for members that are none, and does not know them that are.)
    fn check_stable(&self, process: MemberId, member: MemberId, count: u64) -> Result<(), Wrong> {
        if !self.processes[&process].is_honest() {
            return Ok(());
        }
        // Who is suspected may have left by now, as this process knows and that one does not.
        let here = &self.processes[&process].group;
        let counts = |other: &Process| match other.stage {
            Stage::Suspected => here.is_member(other.me),
            _ => other.is_honest(),
        };
        for (&lacking, other) in self.processes.iter().filter(|(_, other)| counts(other)) {
            if let Some(delivered) = other.group.delivered(member).filter(|&delivered| delivered < count) {
                return Err(Wrong::NotStable { process, member, count, lacking, delivered });
            }
        }
        Ok(())
    }
}
