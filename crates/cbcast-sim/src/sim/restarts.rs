//! Processes that are killed and go on from what they had exported.

use cbcast::{Group, MemberId};

use crate::sim::clocks::LocalClock;
use crate::sim::limits::config;
use crate::sim::process::Stage;
use crate::sim::schedule::Action;
use crate::sim::world::World;
use crate::sim::{Event, What, Wrong};

impl<F: FnMut(Event)> World<'_, F> {
    /// A process is killed; what it exported last, which is all, is what it goes on from. In place of a relay that dies
    /// another goes on, to which nothing is on its way.
    pub(super) fn kill(&mut self, action: Action) -> Result<(), Wrong> {
        let fails_over = action == Action::FailOver;
        let may = self.processes.values().filter(|p| !p.stopped && p.stage == Stage::Stays);
        let may: Vec<_> = may.filter(|p| p.is_relay || !fails_over).map(|p| p.me).collect();
        let Some(who) = self.random.pick(&may) else {
            self.again(action);
            return Ok(());
        };
        self.report.meet(if fails_over { "failover" } else { "restart" });
        let process = self.process(who);
        let bytes = process.group.export();
        let bytes = bytes.map_err(|error| Wrong::Command {
            process: who,
            what: "export",
            error: error.to_string(),
        })?;
        (process.disk, process.stopped) = (Some(bytes), true);
        self.tell(who, What::Stop);
        if fails_over {
            self.network.lose_all_to(who);
        }
        let until = self.now + self.a_while();
        self.schedule.add(until, Action::Resume(who));
        Ok(())
    }

    /// A process that was stopped goes on.
    pub(super) fn resume(&mut self, who: MemberId) -> Result<(), Wrong> {
        if !self.processes.contains_key(&who) {
            return Ok(());
        }
        if let Some(bytes) = self.process(who).disk.take() {
            self.import(who, &bytes)?;
        }
        self.process(who).stopped = false;
        self.tell(who, What::Resume);
        Ok(())
    }

    /// Nothing of what was exported is lost. The clock of a process that starts again may be another.
    fn import(&mut self, who: MemberId, bytes: &[u8]) -> Result<(), Wrong> {
        if self.plan.faults.skewed > 0 {
            self.process(who).clock = LocalClock::skewed(&mut self.random);
        }
        let group = Group::import(config(self.plan, self.script, who), bytes);
        let lost = |what| Wrong::NotRestored { process: who, what };
        let group = group.map_err(|error| lost(error.to_string()))?;
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
}
