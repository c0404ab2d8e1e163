//! Members that come: at once, late, from another's snapshot, from another relay.

use std::collections::BTreeSet;

use cbcast::wire::Reader;
use cbcast::{Group, MemberId, Snapshot};

use crate::sim::limits::config;
use crate::sim::newcomer::{Newcomer, Taken};
use crate::sim::process::{Process, Stage};
use crate::sim::schedule::Action;
use crate::sim::world::World;
use crate::sim::{TraceEvent, TraceKind, Wrong};
use crate::textbook::Bss;

impl<F: FnMut(TraceEvent)> World<'_, F> {
    /// The host admits somebody, who starts from its snapshot: now, or as the faults will have it.
    pub(super) fn join(&mut self, origin: u32) -> Result<(), Wrong> {
        let host = MemberId::host(origin);
        let (member, taken) = self.admit(host)?;
        let faults = &self.plan.faults;
        let odd = u64::from(faults.late_snapshots) + u64::from(faults.foreign_snapshots);
        if odd == 0 || self.random.below(odd + 2) >= odd {
            return self.start(member, taken);
        }
        let newcomer = match self.random.below(odd) < faults.foreign_snapshots.into() {
            true => Newcomer::Waits,
            false if self.random.below(2) == 0 => Newcomer::Waits,
            false => Newcomer::Has(Box::new(taken)),
        };
        if let Newcomer::Has(taken) = &newcomer {
            self.tell(taken.from, TraceKind::Snapshot { to: member });
        }
        self.newcomers.insert(member, newcomer);
        let at = self.now + self.a_while();
        self.schedule.add(at, Action::Start(member));
        Ok(())
    }

    fn admit(&mut self, host: MemberId) -> Result<(MemberId, Taken), Wrong> {
        let now = self.processes[&host].clock.at(self.now);
        let member = self.process(host).group.admit(now, host, false, b"");
        let member = member.map_err(|error| Wrong::Command {
            process: host,
            what: "admit",
            error: error.to_string(),
        })?;
        // Its outputs are drained, and so judged, before the judges are asked what it knows.
        self.drain(host)?;
        Ok((member, self.take_snapshot(host)))
    }

    fn take_snapshot(&self, from: MemberId) -> Taken {
        let process = &self.processes[&from];
        let mut bytes = Vec::new();
        process.group.snapshot().encode(&mut bytes);
        Taken {
            from,
            bytes,
            observed: self.oracle.seen(&from),
            seen: process.seen.clone(),
            skipped: process.skipped.clone(),
            textbook: process.textbook.as_ref().map(Bss::snapshot),
        }
    }

    /// Starts a member that was admitted, if there is somebody to start from.
    pub(super) fn start_newcomer(&mut self, member: MemberId) -> Result<(), Wrong> {
        match self.newcomers.get(&member).cloned() {
            None => Ok(()),
            Some(Newcomer::Has(taken)) => {
                self.newcomers.remove(&member);
                self.report.meet("late-snapshots");
                self.start(member, *taken)
            }
            Some(Newcomer::Waits) => {
                let others = self.is_mesh() || self.plan.topology.relays() > 1;
                let foreign = others && self.plan.faults.foreign_snapshots > 0 && self.random.below(2) == 0;
                let host = MemberId::host(member.origin);
                // A client has what it has said itself, and its relay may not: whoever starts from that would name
                // causes that do not exist for the relay. So only relays give snapshots, where there are any.
                let is_mesh = self.is_mesh();
                let knows = |p: &&Process| {
                    let may = (p.is_relay || is_mesh) && p.is_honest() && !p.stopped;
                    may && (p.me == host) != foreign && p.group.is_member(member)
                };
                let sources: Vec<_> = self.processes.values().filter(knows).map(|p| p.me).collect();
                let Some(from) = self.random.pick(&sources) else {
                    self.try_later(Action::Start(member));
                    return Ok(());
                };
                self.newcomers.remove(&member);
                self.report.meet(if foreign { "foreign-snapshots" } else { "late-snapshots" });
                let taken = self.take_snapshot(from);
                self.process(from).gave_snapshot = is_mesh;
                self.start(member, taken)
            }
        }
    }

    fn start(&mut self, member: MemberId, taken: Taken) -> Result<(), Wrong> {
        let failed = |error: String| Wrong::Command { process: member, what: "start", error };
        let snapshot = Snapshot::decode(&mut Reader::new(&taken.bytes));
        let snapshot = snapshot.map_err(|error| failed(error.to_string()))?;
        let group = Group::new(config(self.plan, self.script, member), &snapshot, [member]);
        let group = group.map_err(|error| failed(error.to_string()))?;
        let mut process = Process::new(group, BTreeSet::from([member]), false);
        (process.seen, process.skipped) = (taken.seen, taken.skipped);
        process.textbook = taken.textbook;
        self.oracle.starts_with(member, taken.observed);
        self.processes.insert(member, process);
        self.report.joins += 1;
        self.tell(member, TraceKind::Start { from: Some(taken.from) });
        Ok(())
    }

    /// A client is admitted by another relay. It says nothing more until it is there.
    pub(super) fn roam(&mut self) -> Result<(), Wrong> {
        let stays = |p: &&Process| !p.me.is_host() && !p.stopped && p.stage == Stage::Stays;
        let clients: Vec<_> = self.processes.values().filter(stays).map(|p| p.me).collect();
        let Some(who) = self.random.pick(&clients).filter(|_| clients.len() > 2) else { return Ok(()) };
        let Some(relay) = self.another_relay(who.origin) else { return Ok(()) };
        if self.processes[&relay].stopped {
            self.try_later(Action::Roam);
            return Ok(());
        }
        let (member, _) = self.admit(relay)?;
        self.process(who).stage = Stage::Roams(member);
        self.try_later(Action::Arrive(who));
        Ok(())
    }

    /// It starts from the other relay's snapshot once that has all that it has delivered itself: its past goes with it.
    pub(super) fn arrive(&mut self, who: MemberId) -> Result<(), Wrong> {
        let Some(Process { stage: Stage::Roams(member), stopped, group, .. }) = self.processes.get(&who)
        else {
            return Ok(());
        };
        let member = *member;
        let (relay, old_relay) = (MemberId::host(member.origin), MemberId::host(who.origin));
        let there = &self.processes[&relay];
        let has_all = group.frontier().into_iter().all(|id| there.group.has_delivered(id));
        if *stopped || there.stopped || !has_all || self.processes[&old_relay].stopped {
            self.try_later(Action::Arrive(who));
            return Ok(());
        }
        self.report.meet("roam");
        let taken = self.take_snapshot(relay);
        self.start(member, taken)?;
        self.oracle.goes_on_as(&who, member);
        self.tell(who, TraceKind::Moved { to: member });
        self.remove(who);
        self.part(who)
    }
}
