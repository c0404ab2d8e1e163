//! What befalls processes: partitions, crashes, joins, leaves.

use std::time::Duration;

use cbcast::wire::Reader;
use cbcast::{Group, MemberId, Snapshot};

use crate::sim::process::{Process, config};
use crate::sim::schedule::Action;
use crate::sim::world::World;
use crate::sim::{Event, What, Wrong};

/// When to try again what was not possible now.
const AGAIN: Duration = Duration::from_millis(100);

/// When it is noticed that somebody is gone for good.
const NOTICED_AFTER: Duration = Duration::from_secs(5);

impl<F: FnMut(Event)> World<'_, F> {
    pub(super) fn change(&mut self, action: Action) -> Result<(), Wrong> {
        match action {
            Action::Speak | Action::Say(_) => {}
            Action::Cut(place) => {
                if let Some(cut) = self.script.and_then(|script| script.cuts.get(place)) {
                    let side = cut.members.iter().map(|&ordinal| MemberId::new(0, ordinal)).collect();
                    self.network.cut(place as u64, side, true, true);
                }
            }
            Action::Partition | Action::OneWay => self.cut(action == Action::Partition),
            Action::Mend(name) => self.network.mend(name),
            Action::Crash => self.crash(),
            Action::Resume(who) => {
                if let Some(process) = self.processes.get_mut(&who) {
                    process.stopped = false;
                    self.tell(who, What::Resume);
                }
            }
            Action::CrashAnew => {
                if let Some(who) = self.pick_leaver(action) {
                    self.report.crashes += 1;
                    self.remove(who);
                    self.part(who)?;
                    self.join(who.origin)?;
                }
            }
            Action::Join => {
                let relays = self.plan.topology.relays().max(1);
                let origin = self.random.below(relays.into()) as u32;
                match self.processes[&MemberId::host(origin)].stopped {
                    true => self.again(action),
                    false => self.join(origin)?,
                }
            }
            Action::Leave => {
                if let Some(who) = self.pick_leaver(action) {
                    if self.is_mesh() {
                        // It goes at once; what only some have of it the flush is for.
                        self.remove(who);
                        self.part(who)?;
                    } else {
                        self.process(who).leaving = true;
                        self.finish_leaving(MemberId::host(who.origin))?;
                    }
                }
            }
            Action::Die => {
                if let Some(who) = self.pick_leaver(action) {
                    self.report.crashes += 1;
                    self.remove(who);
                    // When all that can be had of it is delivered, and the rest is given up.
                    let noticed = self.now + self.plan.faults.skip * 4 + NOTICED_AFTER;
                    self.schedule.add(noticed, Action::PartWith(who));
                }
            }
            Action::PartWith(who) => match self.processes[&MemberId::host(who.origin)].stopped {
                true => self.again(action),
                false => self.part(who)?,
            },
            Action::Slow => {
                let all: Vec<_> = self.processes.keys().copied().collect();
                self.network.slow.extend(self.random.pick(&all));
            }
        }
        Ok(())
    }

    pub(super) fn again(&mut self, action: Action) {
        self.schedule.add(self.now + AGAIN, action);
    }

    /// Half a second to two and a half.
    fn a_while(&mut self) -> Duration {
        Duration::from_millis(500 + self.random.below(2_000))
    }

    /// The network falls in two, or one process is not heard, or hears nothing.
    fn cut(&mut self, both_ways: bool) {
        let mut all: Vec<_> = self.processes.keys().copied().collect();
        self.random.shuffle(&mut all);
        let size = if both_ways { 1 + self.random.below(all.len() as u64 - 1) as usize } else { 1 };
        let (name, out) = (self.random.next(), self.random.below(2) == 0);
        let side = all.into_iter().take(size).collect();
        self.network.cut(name, side, both_ways || out, both_ways || !out);
        let until = self.now + self.a_while();
        self.schedule.add(until, Action::Mend(name));
    }

    fn crash(&mut self) {
        let running: Vec<_> = self.processes.values().filter(|p| !p.stopped).map(|p| p.me).collect();
        let Some(who) = self.random.pick(&running) else { return self.again(Action::Crash) };
        self.report.crashes += 1;
        self.process(who).stopped = true;
        self.tell(who, What::Stop);
        let until = self.now + self.a_while();
        self.schedule.add(until, Action::Resume(who));
    }

    /// A member whose host is up, where two others remain.
    fn pick_leaver(&mut self, action: Action) -> Option<MemberId> {
        let may = |p: &&Process| !p.me.is_host() && !p.leaving;
        let leavers: Vec<_> = self.processes.values().filter(may).map(|p| p.me).collect();
        let who = self.random.pick(&leavers).filter(|_| leavers.len() > 2)?;
        if self.processes[&MemberId::host(who.origin)].stopped {
            self.again(action);
            return None;
        }
        Some(who)
    }

    fn remove(&mut self, who: MemberId) {
        let process = self.processes.remove(&who).expect("the caller has picked it");
        self.count(&process);
        self.tell(who, What::Gone);
    }

    /// The host parts with a member that is gone.
    fn part(&mut self, who: MemberId) -> Result<(), Wrong> {
        let (now, host) = (self.now, MemberId::host(who.origin));
        let parted = self.process(host).group.part(now, host, who, b"");
        parted.map_err(|error| Wrong::Command { process: host, what: "part", error: error.to_string() })?;
        self.report.leaves += 1;
        self.departed.push(who);
        self.drain(host)
    }

    /// Those who are leaving go once their relay has all that they have said.
    pub(super) fn finish_leaving(&mut self, host: MemberId) -> Result<(), Wrong> {
        if self.is_mesh() || !host.is_host() || self.processes[&host].stopped {
            return Ok(());
        }
        let theirs = |p: &&Process| {
            let here = &self.processes[&host].group;
            p.leaving && p.me.origin == host.origin && here.delivered(p.me) == p.group.delivered(p.me)
        };
        let done: Vec<_> = self.processes.values().filter(theirs).map(|p| p.me).collect();
        for who in done {
            // Parting with one may have let go of the next.
            if self.processes.contains_key(&who) {
                self.remove(who);
                self.part(who)?;
            }
        }
        Ok(())
    }

    /// The host admits somebody, who starts from its snapshot.
    fn join(&mut self, origin: u32) -> Result<(), Wrong> {
        let (now, host) = (self.now, MemberId::host(origin));
        let failed = |error: String| Wrong::Command { process: host, what: "admit", error };
        let group = &mut self.process(host).group;
        let member = group.admit(now, host, false, b"").map_err(|error| failed(error.to_string()))?;
        let mut bytes = Vec::new();
        group.snapshot().encode(&mut bytes);
        let snapshot =
            Snapshot::decode(&mut Reader::new(&bytes)).map_err(|error| failed(error.to_string()))?;
        self.drain(host)?;
        let group = Group::new(config(self.plan, self.script, member), &snapshot, [member])
            .expect("the limits of a plan can be");
        let mut process = Process::new(group, member, false);
        process.seen = self.processes[&host].seen.clone();
        process.skipped = self.processes[&host].skipped.clone();
        self.oracle.starts_from(member, &host);
        self.processes.insert(member, process);
        self.report.joins += 1;
        self.tell(member, What::Start { from: Some(host) });
        Ok(())
    }
}
