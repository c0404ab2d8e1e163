//! Changes that befall processes: partitions, crashes, joins, leaves.

use std::time::Duration;

use cbcast::MemberId;

use crate::sim::process::{Process, Stage};
use crate::sim::schedule::Action;
use crate::sim::world::World;
use crate::sim::{TraceEvent, TraceKind, Wrong};

/// Pause before something is tried again that was not possible.
const AGAIN: Duration = Duration::from_millis(100);

/// Longer than any group wants its driver to sleep.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Time until it is noticed that somebody is gone for good.
const NOTICED_AFTER: Duration = Duration::from_secs(5);

impl<F: FnMut(TraceEvent)> World<'_, F> {
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
            Action::Resume(who) => self.resume(who)?,
            Action::BackUp => self.back_up()?,
            Action::GoBack(who) => self.go_back(who, action),
            Action::GoOn(who) => self.go_on(who, action)?,
            Action::Restart | Action::FailOver => self.kill(action)?,
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
                    true => self.try_later(action),
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
                        self.process(who).stage = Stage::Leaves;
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
                true => self.try_later(action),
                false => self.part(who)?,
            },
            Action::Evict => {
                if let Some(who) = self.pick_leaver(action) {
                    self.report.meet("evict");
                    self.process(who).stage = Stage::Evicted;
                    self.part(who)?;
                }
            }
            Action::Suspect => {
                if let Some(who) = self.pick_leaver(action).filter(|_| self.is_mesh()) {
                    self.process(who).stage = Stage::Suspected;
                    self.part(who)?;
                    let at = self.now + self.a_while();
                    self.schedule.add(at, Action::CallOff(who));
                }
            }
            Action::CallOff(who) => self.call_off(who, action)?,
            Action::Start(member) => self.start_newcomer(member)?,
            Action::Roam => self.roam()?,
            Action::Arrive(who) => self.arrive(who)?,
            Action::ReadTwo => self.read_two(),
            Action::Jump => {
                let (who, back) = (self.pick_process(), self.random.below(2) == 0);
                // Who sleeps sleeps on for as long as was meant.
                let wakes = self.process(who).wakes();
                self.process(who).clock.jump(back);
                self.report.meet(if back { "jump back" } else { "jump" });
                // Further away is only what it does not know yet to have been put back.
                if let Some(at) = wakes.filter(|at| at.since(self.now) < SLEEP_MAX) {
                    self.schedule.add(at.max(self.now), Action::HandleTimeout(who));
                }
            }
            // Who is stopped meanwhile wakes as soon as it goes on.
            Action::HandleTimeout(who) => match self.processes.get(&who).is_some_and(|p| p.stopped) {
                true => self.try_later(action),
                false => self.handle_timeout(who)?,
            },
            Action::IgnoreTimeouts => {
                let (who, until) = (self.pick_process(), self.now + self.a_while());
                self.process(who).timeouts.ignored_until = until;
                self.report.meet("no-timeouts");
            }
            Action::Replay => {
                for _ in 0..self.network.replay(self.now) {
                    self.report.meet("replays");
                }
            }
            Action::Slow => {
                let all: Vec<_> = self.processes.keys().copied().collect();
                self.network.slow.extend(self.random.pick(&all));
            }
        }
        Ok(())
    }

    pub(super) fn try_later(&mut self, action: Action) {
        self.schedule.add(self.now + AGAIN, action);
    }

    /// Half a second to two and a half.
    pub(super) fn a_while(&mut self) -> Duration {
        Duration::from_millis(500 + self.random.below(2_000))
    }

    fn pick_process(&mut self) -> MemberId {
        let all: Vec<_> = self.processes.keys().copied().collect();
        self.random.pick(&all).expect("there always is one")
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
        let Some(who) = self.random.pick(&running) else { return self.try_later(Action::Crash) };
        self.report.crashes += 1;
        self.process(who).stopped = true;
        self.tell(who, TraceKind::Stop);
        let until = self.now + self.a_while();
        self.schedule.add(until, Action::Resume(who));
    }

    /// A member that has a process of its own and whose host is up, where two others remain.
    fn pick_leaver(&mut self, action: Action) -> Option<MemberId> {
        // What is in a snapshot whoever started from it has delivered, but cannot send again: in a mesh who gave it stays.
        let may = |p: &&Process| {
            let alone = !p.me.is_host() && p.locals.len() == 1;
            alone && p.stage == Stage::Stays && !p.gave_snapshot
        };
        let leavers: Vec<_> = self.processes.values().filter(may).map(|p| p.me).collect();
        let who = self.random.pick(&leavers).filter(|_| leavers.len() > 2)?;
        if self.processes[&MemberId::host(who.origin)].stopped {
            self.try_later(action);
            return None;
        }
        Some(who)
    }

    pub(super) fn remove(&mut self, who: MemberId) {
        let process = self.processes.remove(&who).expect("the caller has picked it");
        self.count(&process);
        self.readers.values_mut().for_each(|readers| {
            readers.remove(&who);
        });
        self.tell(who, TraceKind::Gone);
    }

    /// The host parts with a member that is gone.
    pub(super) fn part(&mut self, who: MemberId) -> Result<(), Wrong> {
        let host = MemberId::host(who.origin);
        let process = self.processes.get_mut(&host).expect("hosts stay");
        let now = process.clock.at(self.now);
        let parted = process.group.part(now, host, who, b"");
        parted.map_err(|error| Wrong::Command { process: host, what: "part", error: error.to_string() })?;
        self.report.leaves += 1;
        self.departed.push(who);
        self.drain(host)
    }

    /// It stays, unless it has left by now.
    fn call_off(&mut self, who: MemberId, action: Action) -> Result<(), Wrong> {
        let host = MemberId::host(who.origin);
        let process = self.processes.get_mut(&host).expect("hosts stay");
        if process.stopped {
            self.try_later(action);
            return Ok(());
        }
        let now = process.clock.at(self.now);
        let called_off = process.group.call_off_parting(now, host, who).is_ok();
        let suspect = self.process(who);
        if called_off {
            suspect.stage = Stage::Stays;
            self.departed.retain(|&departed| departed != who);
            self.report.meet("suspect, called off");
        } else if suspect.stage == Stage::Suspected {
            suspect.stage = Stage::Evicted;
            self.report.meet("suspect, too late");
        }
        self.drain(host)
    }

    /// Those who are leaving go once their relay has all that they have said.
    pub(super) fn finish_leaving(&mut self, host: MemberId) -> Result<(), Wrong> {
        if self.is_mesh() || !host.is_host() || self.processes[&host].stopped {
            return Ok(());
        }
        let theirs = |p: &&Process| {
            let here = &self.processes[&host].group;
            p.stage == Stage::Leaves
                && p.me.origin == host.origin
                && here.delivered(p.me) == p.group.delivered(p.me)
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
}
