//! The world of a run: processes, the network between them, and the judges.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cbcast::{
    BroadcastError, Control, Group, Link, MemberId, Message, MessageId, MissingRange, Output, Packet,
    ReceiveError, Snapshot, Time, Transmit,
};

use crate::Oracle;
use crate::random::SplitMix64;
use crate::sim::network::{Flight, Network};
use crate::sim::process::{Process, config};
use crate::sim::schedule::{Action, Schedule};
use crate::sim::{Event, Plan, Report, Script, Topology, What, Wrong};
use crate::textbook::{Bss, Stamped};

pub(super) struct World<'a, F> {
    pub(super) plan: &'a Plan,
    pub(super) script: Option<&'a Script>,
    pub(super) now: Time,
    pub(super) random: SplitMix64,
    pub(super) processes: BTreeMap<MemberId, Process>,
    pub(super) network: Network,
    pub(super) schedule: Schedule,
    pub(super) oracle: Oracle<MemberId, MessageId>,
    pub(super) report: Report,
    /// In a mesh: whom the host is parting with, or has parted with.
    pub(super) departed: Vec<MemberId>,
    /// The members of a fixed group, in the order of their numbers in the textbook.
    fixed: Vec<MemberId>,
    /// What the textbook's processes sent.
    stamped: BTreeMap<MessageId, Stamped<MessageId>>,
    deps: BTreeMap<MessageId, Vec<MessageId>>,
    /// What the last sender that had to wait was told.
    blocked: String,
    observe: F,
}

/// Messages sent again in answer to one request, where the driver answers.
const RESEND_MAX: usize = 256;

/// What was to happen has happened so long after its time, in virtual time, or something hangs.
const PATIENCE: Duration = Duration::from_secs(300);

impl<'a, F: FnMut(Event)> World<'a, F> {
    pub(super) fn new(plan: &'a Plan, script: Option<&'a Script>, observe: F) -> Self {
        let mut random = SplitMix64(plan.seed);
        let schedule = Schedule::new(plan, script, &mut random);
        let mut world = Self {
            plan,
            script,
            now: Time::ZERO,
            random,
            processes: BTreeMap::new(),
            network: Network::new(plan.seed, plan.faults.clone(), script),
            schedule,
            oracle: Oracle::new(),
            report: Report { runs: 1, ..Report::default() },
            departed: Vec::new(),
            fixed: Vec::new(),
            stamped: BTreeMap::new(),
            deps: BTreeMap::new(),
            blocked: String::new(),
            observe,
        };
        let members: Vec<MemberId> = match plan.topology.relays() {
            // Nobody joins a scripted one, so it needs no host.
            0 => {
                let first = u32::from(script.is_some());
                (first..first + plan.members).map(|ordinal| MemberId::new(0, ordinal)).collect()
            }
            relays => {
                let talkers = (0..plan.members).map(|n| MemberId::new(n % relays, n / relays + 1));
                (0..relays).map(MemberId::host).chain(talkers).collect()
            }
        };
        let snapshot = Snapshot::fixed(members.iter().copied());
        for (number, &me) in members.iter().enumerate() {
            let group =
                Group::new(config(plan, script, me), &snapshot, [me]).expect("the limits of a plan can be");
            let mut process = Process::new(group, me, plan.topology != Topology::Mesh && me.is_host());
            process.textbook = plan.is_fixed().then(|| Bss::new(members.len(), number));
            world.processes.insert(me, process);
            world.tell(me, What::Start { from: None });
        }
        world.fixed = members;
        world
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn is_mesh(&self) -> bool {
        self.plan.topology == Topology::Mesh
    }

    pub(super) fn tell(&mut self, process: MemberId, what: What) {
        (self.observe)(Event { at: self.now, process, what });
    }

    pub(super) fn process(&mut self, who: MemberId) -> &mut Process {
        self.processes.get_mut(&who).expect("the caller knows that it is there")
    }

    /// Until all is said and done, and everybody has everything.
    pub(super) fn run(&mut self) -> Result<Report, Wrong> {
        let end = self.schedule.last() + PATIENCE;
        while self.schedule.next().is_some() {
            if self.now > end {
                let what = format!("is told to wait for ever: {}", self.blocked);
                return Err(Wrong::NotSettled { process: MemberId::host(0), what });
            }
            self.step()?;
        }
        self.settle()?;
        Ok(self.sum_up())
    }

    /// Time goes on to the next thing that happens.
    pub(super) fn step(&mut self) -> Result<(), Wrong> {
        let timers = self.processes.values().filter(|p| !p.stopped);
        let timer = timers.filter_map(|p| Some((p.group.poll_timeout()?, p.me))).min();
        let (arrival, action) = (self.network.next_arrival(), self.schedule.next());
        let next = [arrival, action, timer.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(next) = next else { return Ok(()) };
        self.now = self.now.max(next);
        if action == Some(next) {
            let action = self.schedule.take().expect("it is the next");
            self.act(action)
        } else if arrival == Some(next) {
            let flight = self.network.arrive().expect("it is the next");
            self.receive(flight)
        } else {
            let (_, who) = timer.expect("it is the next");
            let now = self.now;
            self.process(who).group.handle_timeout(now);
            self.drain(who)
        }
    }

    fn act(&mut self, action: Action) -> Result<(), Wrong> {
        match action {
            Action::Speak => self.speak(),
            Action::Say(ordinal) => self.say(MemberId::new(0, ordinal), action),
            other => self.change(other),
        }
    }

    fn speak(&mut self) -> Result<(), Wrong> {
        let may = |p: &&Process| !p.is_relay && !p.stopped && !p.leaving;
        let speakers: Vec<_> = self.processes.values().filter(may).map(|p| p.me).collect();
        let Some(who) = self.random.pick(&speakers) else {
            self.again(Action::Speak);
            return Ok(());
        };
        self.say(who, Action::Speak)
    }

    /// Says something now, or does this later.
    fn say(&mut self, who: MemberId, later: Action) -> Result<(), Wrong> {
        let text = format!("{who} at {} ms", self.now.as_nanos() / 1_000_000);
        let now = self.now;
        match self.process(who).group.broadcast(now, who, text.as_bytes()) {
            Ok(_) => self.drain(who),
            Err(error @ BroadcastError::WouldBlock { .. }) => {
                self.report.blocked += 1;
                self.blocked = error.to_string();
                self.again(later);
                Ok(())
            }
            Err(error) => Err(Wrong::Command { process: who, what: "broadcast", error: error.to_string() }),
        }
    }

    // What arrives.

    fn receive(&mut self, Flight { from, to, packet, .. }: Flight) -> Result<(), Wrong> {
        let (now, is_mesh) = (self.now, self.is_mesh());
        let Some(process) = self.processes.get_mut(&to).filter(|p| !p.stopped) else {
            self.network.counts.lost += 1;
            return Ok(());
        };
        let packet = Packet::decode(packet).map_err(|error| Wrong::Unreadable { process: to, error })?;
        let link = match (is_mesh, process.is_relay, from.is_host()) {
            (true, _, _) => Link::Peer(from),
            (false, true, false) => Link::Member(from),
            _ => Link::Relay,
        };
        match packet {
            Packet::Message(message) => {
                let id = message.id();
                match process.group.handle_message(now, link, message) {
                    Ok(()) => {
                        if let (Some(textbook), Some(stamped)) =
                            (&mut process.textbook, self.stamped.get(&id))
                        {
                            textbook.receive(stamped.clone());
                        }
                    }
                    // It was on its way when its sender left.
                    Err(ReceiveError::Departed { .. }) => {}
                    Err(error) if error.is_final() => return Err(Wrong::Refused { process: to, error }),
                    Err(_) => self.report.refused += 1,
                }
            }
            Packet::Control(Control::Want(ranges)) if !is_mesh => self.answer(to, from, &ranges),
            control => {
                process
                    .group
                    .handle_packet(now, link, control)
                    .map_err(|error| Wrong::Refused { process: to, error })?;
            }
        }
        self.drain(to)
    }

    /// A request over a relay's link is answered from the log, by the original bytes.
    fn answer(&mut self, who: MemberId, to: MemberId, ranges: &[MissingRange]) {
        let log = &self.processes[&who].log;
        let ids = |r: &MissingRange| MessageId::new(r.member, r.from)..=MessageId::new(r.member, r.to);
        let wanted = ranges.iter().flat_map(|range| log.range(ids(range)).map(|(_, bytes)| bytes.clone()));
        for packet in wanted.take(RESEND_MAX).collect::<Vec<_>>() {
            self.report.resent += 1;
            self.network.send(self.now, who, to, packet);
        }
    }

    // What a process wants done.

    /// Does it, judges it, and compares with the textbook.
    pub(super) fn drain(&mut self, who: MemberId) -> Result<(), Wrong> {
        while let Some(output) = self.process(who).group.poll_output() {
            match output {
                Output::Transmit(Transmit { to, packet }) => match (to, packet) {
                    (None, Packet::Message(message)) => self.sent(who, message)?,
                    (Some(to), Packet::Message(message)) => {
                        self.report.resent += 1;
                        self.network.send(self.now, who, to, message.into_packet());
                    }
                    (to, Packet::Control(control)) => self.control(who, to, control),
                },
                Output::Deliver { message, held_since } if message.id().member != who => {
                    self.delivered(who, &message, held_since)?;
                }
                Output::Held { id, waits_for } => {
                    self.report.held += 1;
                    let deps = self.deps(id);
                    self.tell(who, What::Hold { message: id, deps, waits_for });
                }
                Output::Stable(cut) => {
                    for (member, count) in cut.iter() {
                        self.check_stable(who, member, count)?;
                    }
                }
                Output::Gap(range) => {
                    self.tell(who, What::Gap { range });
                    self.given_up(who, range)?;
                }
                _ => {}
            }
        }
        let process = &self.processes[&who];
        process.check_buffers()?;
        self.report.textbook_agreed += u64::from(process.check_textbook(&self.fixed)?);
        self.finish_leaving(who)
    }

    fn sent(&mut self, who: MemberId, message: Message) -> Result<(), Wrong> {
        let id = message.id();
        self.report.messages += 1;
        self.oracle.broadcast(who, id)?;
        let process = self.process(who);
        process.seen.insert(id);
        process.log.insert(id, message.packet().clone());
        if let Some(textbook) = &mut process.textbook {
            let stamped = textbook.broadcast(id);
            self.stamped.insert(id, stamped);
        }
        let deps: Vec<_> = message.deps().collect();
        self.deps.insert(id, deps.clone());
        self.tell(who, What::Send { message: id, deps });
        self.pass_on(who, id, message.packet());
        Ok(())
    }

    fn delivered(&mut self, who: MemberId, message: &Message, held_since: Option<Time>) -> Result<(), Wrong> {
        let id = message.id();
        let held_for = held_since.map(|since| self.now.since(since));
        // Told first: a trace that ends in a violation shows it.
        self.tell(who, What::Deliver { message: id, deps: message.deps().collect(), held_for });
        self.oracle.deliver(who, &id)?;
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

    /// Only where that was asked for, and never of a host.
    fn given_up(&mut self, who: MemberId, range: MissingRange) -> Result<(), Wrong> {
        if self.plan.faults.skip == Duration::ZERO || range.member.is_host() {
            return Err(Wrong::Gap { process: who, range });
        }
        for seq in range.from..=range.to {
            let id = MessageId::new(range.member, seq);
            self.oracle.skip(who, &id)?;
            self.process(who).skipped.insert(id);
            self.report.skipped += 1;
        }
        Ok(())
    }

    /// To whom a process sends a message that it has said or, as a relay, delivered.
    fn pass_on(&mut self, who: MemberId, id: MessageId, packet: &Bytes) {
        let to: Vec<_> = self.links(who).filter(|&to| to != id.member).collect();
        let is_mesh = self.is_mesh();
        for to in to {
            // What relays hear from others they pass on to their members only.
            if is_mesh || !(who.is_host() && to.is_host()) || id.member.origin == who.origin {
                self.network.send(self.now, who, to, packet.clone());
            }
        }
    }

    fn control(&mut self, who: MemberId, to: Option<MemberId>, control: Control) {
        let is_mesh = self.is_mesh();
        match control {
            Control::Want(ranges) => {
                self.report.wants += 1;
                for (to, ranges) in self.whom_to_ask(who, to, ranges) {
                    let packet = Packet::Control(Control::Want(ranges)).into_bytes();
                    self.network.send(self.now, who, to, packet);
                }
            }
            control => {
                let to: Vec<_> = match to {
                    Some(to) if is_mesh => vec![to],
                    _ => self.links(who).collect(),
                };
                let packet = Packet::Control(control).into_bytes();
                to.into_iter().for_each(|to| self.network.send(self.now, who, to, packet.clone()));
            }
        }
    }

    /// In a mesh whom the group says; else a member its relay, and a relay the member or the relay of its origin.
    fn whom_to_ask(
        &self,
        who: MemberId,
        to: Option<MemberId>,
        ranges: Vec<MissingRange>,
    ) -> BTreeMap<MemberId, Vec<MissingRange>> {
        let mut asked: BTreeMap<MemberId, Vec<MissingRange>> = BTreeMap::new();
        for range in ranges {
            let host = MemberId::host(range.member.origin);
            let whom = match to {
                Some(to) if self.is_mesh() => to,
                _ if !who.is_host() => MemberId::host(who.origin),
                _ if range.member.origin == who.origin => range.member,
                _ => host,
            };
            asked.entry(whom).or_default().push(range);
        }
        asked
    }

    /// Whom a process has a link to: in a mesh all that it knows; a member its relay; a relay its members, and
    /// all other relays.
    fn links(&self, who: MemberId) -> Box<dyn Iterator<Item = MemberId> + '_> {
        let others = self.processes.keys().copied().filter(move |&other| other != who);
        if self.is_mesh() {
            let known = self.processes[&who].group.clock();
            Box::new(known.iter().map(|(m, _)| m).filter(|&m| m != who).collect::<Vec<_>>().into_iter())
        } else if who.is_host() {
            Box::new(others.filter(move |other| other.is_host() || other.origin == who.origin))
        } else {
            Box::new([MemberId::host(who.origin)].into_iter())
        }
    }

    /// The direct dependencies of a message that was sent here.
    fn deps(&self, id: MessageId) -> Vec<MessageId> {
        self.deps.get(&id).cloned().unwrap_or_default()
    }

    /// What is said to be stable everybody has.
    fn check_stable(&self, process: MemberId, member: MemberId, count: u64) -> Result<(), Wrong> {
        for (&lacking, other) in &self.processes {
            if let Some(delivered) = other.group.delivered(member).filter(|&delivered| delivered < count) {
                return Err(Wrong::NotStable { process, member, count, lacking, delivered });
            }
        }
        Ok(())
    }
}
