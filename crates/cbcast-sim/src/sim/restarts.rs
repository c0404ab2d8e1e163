//! Processes that are killed and go on from what they had exported.

use cbcast::{ExportError, Group, MemberId, MessageId};

use crate::sim::clocks::LocalClock;
use crate::sim::limits::config;
use crate::sim::process::{Backup, Stage};
use crate::sim::schedule::Action;
use crate::sim::world::World;
use crate::sim::{TraceEvent, TraceKind, Wrong};

impl<F: FnMut(TraceEvent)> World<'_, F> {
    /// A process is killed; what it exported last, which is all, is what it goes on from. In place of a relay that dies
    /// another goes on, to which nothing is on its way.
    pub(super) fn kill(&mut self, action: Action) -> Result<(), Wrong> {
        let fails_over = action == Action::FailOver;
        let may = self.processes.values().filter(|p| !p.stopped && p.stage == Stage::Stays);
        let may: Vec<_> = may.filter(|p| p.is_relay || !fails_over).map(|p| p.me).collect();
        let Some(who) = self.random.pick(&may) else {
            self.try_later(action);
            return Ok(());
        };
        self.report.meet(if fails_over { "failover" } else { "restart" });
        let bytes = self.export(who)?;
        let process = self.process(who);
        (process.disk, process.stopped) = (Some(bytes), true);
        self.tell(who, TraceKind::Stop);
        if fails_over {
            self.network.lose_all_to(who);
        }
        let until = self.now + self.a_while();
        self.schedule.add(until, Action::Resume(who));
        Ok(())
    }

    fn export(&self, who: MemberId) -> Result<Vec<u8>, Wrong> {
        let failed =
            |error: ExportError| Wrong::Command { process: who, what: "export", error: error.to_string() };
        self.processes[&who].group.export().map_err(failed)
    }

    /// Makes a group of what it had exported.
    fn imported(&self, who: MemberId, bytes: &[u8]) -> Result<Group, Wrong> {
        let group = Group::import(config(self.plan, self.script, who), bytes);
        group.map_err(|error| Wrong::NotRestored { process: who, what: error.to_string() })
    }

    /// A process that was stopped goes on.
    pub(super) fn resume(&mut self, who: MemberId) -> Result<(), Wrong> {
        let Some(process) = self.processes.get(&who) else { return Ok(()) };
        let is_back = process.stage == Stage::WentBack;
        if let Some(bytes) = self.process(who).disk.take() {
            self.import(who, &bytes)?;
        }
        if let Some(backup) = self.process(who).backup.take_if(|_| is_back) {
            self.put_back(who, backup)?;
        }
        self.process(who).stopped = false;
        self.tell(who, TraceKind::Resume);
        Ok(())
    }

    /// Nothing of what was exported is lost. The clock of a process that starts again may be another.
    fn import(&mut self, who: MemberId, bytes: &[u8]) -> Result<(), Wrong> {
        if self.plan.faults.skewed > 0 {
            self.process(who).clock = LocalClock::skewed(&mut self.random);
        }
        let group = self.imported(who, bytes)?;
        let lost = |what| Wrong::NotRestored { process: who, what };
        let old = &self.processes[&who].group;
        let held = |group: &Group| {
            let mut held: Vec<_> = group.held().map(|held| held.id).collect();
            held.sort_unstable();
            held
        };
        if (group.clock(), group.frontier()) != (old.clock(), old.frontier()) {
            return Err(lost(format!("{:?}, of {:?}", group.clock(), old.clock())));
        }
        if held(&group) != held(old) {
            return Err(lost(format!("{:?} are held, of {:?}", held(&group), held(old))));
        }
        if group.retained_count() != old.retained_count() {
            let (new, old) = (group.retained_count(), old.retained_count());
            return Err(lost(format!("{new} are retained, of {old}")));
        }
        let stats = self.processes[&who].group.stats();
        self.report.duplicates += stats.duplicates;
        self.process(who).group = group;
        Ok(())
    }

    /// A copy is made of the state of a client that will go back to it. (The host of a relay would need a new origin.)
    pub(super) fn back_up(&mut self) -> Result<(), Wrong> {
        let may = self.processes.values().filter(|p| !p.is_relay && !p.stopped && p.stage == Stage::Stays);
        let may = may.filter(|p| p.locals.len() == 1 && p.backup.is_none());
        let may: Vec<_> = may.map(|p| p.me).collect();
        let Some(who) = self.random.pick(&may).filter(|_| self.plan.faults.replays == 0) else {
            return Ok(());
        };
        let (observed, bytes) = (self.oracle.seen(&who), self.export(who)?);
        let process = self.process(who);
        process.backup = Some(Backup {
            bytes,
            log: process.log.clone(),
            observed,
            seen: process.seen.clone(),
            skipped: process.skipped.clone(),
            held: process.held.clone(),
            textbook: process.textbook.clone(),
        });
        self.tell(who, TraceKind::BackUp);
        let at = self.now + self.a_while();
        self.schedule.add(at, Action::GoBack(who));
        Ok(())
    }

    /// It is stopped until nothing that it had sent is on its way any more.
    pub(super) fn go_back(&mut self, who: MemberId, action: Action) {
        let Some(process) = self.processes.get_mut(&who) else { return };
        if process.stage != Stage::Stays {
            process.backup = None;
        } else if process.stopped {
            self.try_later(action);
        } else {
            (process.stage, process.stopped) = (Stage::WentBack, true);
            self.tell(who, TraceKind::Stop);
            let until = self.now + self.a_while() + self.network.delay_max() * 2;
            self.schedule.add(until, Action::Resume(who));
        }
    }

    /// The copy is put back, and the application knows it.
    fn put_back(&mut self, who: MemberId, backup: Backup) -> Result<(), Wrong> {
        self.report.meet("rollback");
        let mut group = self.imported(who, &backup.bytes)?;
        group.assume_rollback();
        self.oracle.starts_with(who, backup.observed);
        let process = self.process(who);
        process.group = group;
        (process.seen, process.skipped, process.held) = (backup.seen, backup.skipped, backup.held);
        (process.textbook, process.log) = (backup.textbook, backup.log);
        self.tell(who, TraceKind::GoBack);
        self.try_later(Action::GoOn(who));
        Ok(())
    }

    /// It speaks again once it has all that its relay has taken, which says so as it would over a new link.
    pub(super) fn go_on(&mut self, who: MemberId, action: Action) -> Result<(), Wrong> {
        let number = self.number_of(who);
        let relay = self.process(MemberId::host(who.origin));
        let taken = (!relay.stopped).then(|| relay.group.discard_ahead(who));
        if let Some(textbook) = relay.textbook.as_mut().filter(|_| !relay.stopped) {
            textbook.discard_ahead(number);
        }
        let Some(process) = self.processes.get_mut(&who) else { return Ok(()) };
        let last = taken.and_then(|taken| process.group.go_on(who, taken).ok());
        let Some(last) = last else {
            self.try_later(action);
            return Ok(());
        };
        process.stage = Stage::Stays;
        let beyond = |id: &MessageId| id.member == who && id.seq > last;
        for (&has, other) in &self.processes {
            if let Some(&message) = other.seen.iter().find(|id| beyond(id)) {
                return Err(Wrong::NumberTaken { process: who, last, has, message });
            }
        }
        self.oracle.retract(beyond);
        self.said.retain(|id, _| !beyond(id));
        self.stamped.retain(|id, _| !beyond(id));
        self.tell(who, TraceKind::GoOn { last });
        self.drain(who)
    }
}
