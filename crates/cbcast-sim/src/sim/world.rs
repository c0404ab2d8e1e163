//! The world of a run: processes, the network between them, and the judges.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cbcast::{BroadcastError, Group, MemberId, Message, MessageId, Snapshot, Time};

use crate::Oracle;
use crate::random::SplitMix64;
use crate::sim::clocks::LocalClock;
use crate::sim::limits::{self, config};
use crate::sim::network::Network;
use crate::sim::newcomer::Newcomer;
use crate::sim::process::{Process, Stage};
use crate::sim::schedule::{Action, Schedule};
use crate::sim::{Plan, Report, Script, Topology, TraceEvent, TraceKind, Wrong};
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
    /// All that there are or were, in the order of their numbers in the textbook, and those numbers.
    pub(super) members: Vec<MemberId>,
    numbers: BTreeMap<MemberId, usize>,
    /// Messages that the textbook's processes sent.
    pub(super) stamped: BTreeMap<MessageId, Stamped<MessageId>>,
    /// Messages that there are, as their authors wrote them.
    pub(super) said: BTreeMap<MessageId, Message>,
    /// Members that live in another's process.
    pub(super) homes: BTreeMap<MemberId, MemberId>,
    /// Clients of other relays that read this one, too.
    pub(super) readers: BTreeMap<MemberId, BTreeSet<MemberId>>,
    pub(super) newcomers: BTreeMap<MemberId, Newcomer>,
    pub(super) liars: BTreeSet<MemberId>,
    /// Messages of theirs that the oracle knows.
    pub(super) lies: BTreeSet<MessageId>,
    /// Answer to the last sender that had to wait.
    blocked: String,
    observe: F,
}

/// Number of times in a run that timeouts of one process are handled when none is due.
const EARLY_TIMEOUTS: u32 = 10;

/// Configurations that are tried before a run.
const WILD_LIMITS: u32 = 20;

/// Virtual time after which something hangs that was to happen.
const PATIENCE: Duration = Duration::from_secs(300);

impl<'a, F: FnMut(TraceEvent)> World<'a, F> {
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
            members: Vec::new(),
            numbers: BTreeMap::new(),
            stamped: BTreeMap::new(),
            said: BTreeMap::new(),
            homes: BTreeMap::new(),
            readers: BTreeMap::new(),
            newcomers: BTreeMap::new(),
            liars: BTreeSet::new(),
            lies: BTreeSet::new(),
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
        members.iter().for_each(|&member| {
            world.number_of(member);
        });
        world.share_processes();
        let snapshot = Snapshot::fixed(members.iter().copied());
        let mut residents: BTreeMap<MemberId, BTreeSet<MemberId>> = BTreeMap::new();
        for &member in &members {
            residents.entry(world.home(member)).or_default().insert(member);
        }
        for (me, locals) in residents {
            let group = Group::new(config(plan, script, me), &snapshot, locals.iter().copied())
                .expect("the limits of a plan can be");
            let mut process = Process::new(group, locals, plan.topology != Topology::Mesh && me.is_host());
            process.textbook = plan.has_textbook().then(|| Bss::new(members.len()));
            world.processes.insert(me, process);
            world.tell(me, TraceKind::Start { from: None });
        }
        world.turn_liars();
        world.set_clocks();
        world.try_wild_limits();
        world
    }

    /// Some members live in their relay's process, or in that of the next member.
    fn share_processes(&mut self) {
        let clients: Vec<_> = match self.plan.topology {
            Topology::Mesh => self.members.clone(),
            _ => self.members.iter().copied().filter(|member| !member.is_host()).collect(),
        };
        // Two processes of members remain.
        let most = (clients.len().saturating_sub(2) as u32).min(self.plan.faults.shared);
        for n in 0..most as usize {
            let (member, home) = match self.plan.topology {
                Topology::Mesh if 2 * n + 1 < clients.len() => {
                    (clients[clients.len() - 1 - 2 * n], clients[clients.len() - 2 - 2 * n])
                }
                Topology::Mesh => break,
                _ => (clients[n], MemberId::host(clients[n].origin)),
            };
            self.homes.insert(member, home);
            self.report.meet("shared");
        }
    }

    /// Some clocks are wrong, and some timeouts are handled late, or when none is due.
    fn set_clocks(&mut self) {
        let faults = &self.plan.faults;
        let all: Vec<_> = self.processes.keys().copied().collect();
        if faults.jumps > 0 {
            // So that they can jump back.
            self.processes.values_mut().for_each(|process| process.clock = LocalClock::a_year_ahead());
        }
        for _ in 0..faults.skewed {
            if let Some(who) = self.random.pick(&all) {
                let clock = LocalClock::skewed(&mut self.random);
                self.process(who).clock = clock;
                self.report.meet("skew");
            }
        }
        for _ in 0..faults.late_timeouts {
            if let Some(who) = self.random.pick(&all) {
                let late = Duration::from_millis(1 + self.random.below(2_000));
                self.process(who).timeouts.late = late;
                self.report.meet("late-timeouts");
            }
        }
        for _ in 0..faults.early_timeouts {
            let who = self.random.pick(&all).unwrap_or(MemberId::host(0));
            self.report.meet("early-timeouts");
            for _ in 0..EARLY_TIMEOUTS {
                let at = Time::from_nanos(self.random.below(self.schedule.span + 1));
                self.schedule.add(at, Action::HandleTimeout(who));
            }
        }
    }

    /// Tries limits at random: those that cannot be are refused by name, the others do not matter, as nothing is said.
    fn try_wild_limits(&mut self) {
        if self.plan.faults.limits == 0 {
            return;
        }
        self.report.meet("limits");
        let someone = MemberId::host(0);
        for _ in 0..WILD_LIMITS {
            let config = limits::wild(&mut self.random);
            match Group::new(config, &Snapshot::fixed([someone]), [someone]) {
                Ok(mut group) => group.handle_timeout(Time::ZERO),
                Err(_) => self.report.meet("limits refused"),
            }
        }
    }

    /// The number of a member in the textbook.
    pub(super) fn number_of(&mut self, member: MemberId) -> usize {
        let next = self.members.len();
        let number = *self.numbers.entry(member).or_insert(next);
        if number == next {
            self.members.push(member);
        }
        number
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn is_mesh(&self) -> bool {
        self.plan.topology == Topology::Mesh
    }

    pub(super) fn tell(&mut self, process: MemberId, what: TraceKind) {
        (self.observe)(TraceEvent { at: self.now, process, what });
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
        let timer = self.processes.values().filter_map(|p| Some((p.timeout()?, p.me))).min();
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
            self.handle_timeout(who)
        }
    }

    pub(super) fn handle_timeout(&mut self, who: MemberId) -> Result<(), Wrong> {
        let now = self.now;
        if let Some(process) = self.processes.get_mut(&who).filter(|process| !process.stopped) {
            let now = process.clock.at(now);
            process.group.handle_timeout(now);
            self.drain(who)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Wrong> {
        match action {
            Action::Speak => self.speak(),
            Action::Say(ordinal) => self.say(MemberId::new(0, ordinal), action),
            other => self.change(other),
        }
    }

    fn speak(&mut self) -> Result<(), Wrong> {
        let speakers: Vec<_> = self.processes.values().flat_map(Process::speakers).collect();
        let Some(who) = self.random.pick(&speakers) else {
            self.try_later(Action::Speak);
            return Ok(());
        };
        self.say(who, Action::Speak)
    }

    /// Says something now, or does this later.
    fn say(&mut self, who: MemberId, later: Action) -> Result<(), Wrong> {
        let text = format!("{who} at {} ms", self.now.as_nanos() / 1_000_000);
        let home = self.home(who);
        let process = &self.processes[&home];
        let (stage, now) = (process.stage, process.clock.at(self.now));
        if let Stage::Lies(_) = stage {
            self.lie(who);
            return Ok(());
        }
        match self.process(home).group.broadcast(now, who, text.as_bytes()) {
            Ok(_) => self.drain(home),
            // Nobody listens to it any more, and it may have been told.
            Err(_) if stage == Stage::Evicted => Ok(()),
            Err(error @ BroadcastError::WouldBlock { .. }) => {
                self.report.blocked += 1;
                self.blocked = error.to_string();
                self.try_later(later);
                Ok(())
            }
            Err(error) => Err(Wrong::Command { process: home, what: "broadcast", error: error.to_string() }),
        }
    }
}
