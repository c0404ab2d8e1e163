//! After the trouble: everybody comes to have everything, and holds nothing.

use std::time::Duration;

use cbcast::{MemberId, MessageId, MissingRange};

use crate::sim::clocks::Timeouts;
use crate::sim::process::{Process, Stage};
use crate::sim::world::World;
use crate::sim::{Report, TraceEvent, Wrong};

/// In virtual time. Heartbeats come every 200 ms and pauses between requests are 2 s at most; the slowest
/// packets of a healed network take what the plan says.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl<F: FnMut(TraceEvent)> World<'_, F> {
    pub(super) fn settle(&mut self) -> Result<(), Wrong> {
        self.network.heal();
        self.unmask_liars()?;
        self.processes.values_mut().for_each(|process| process.timeouts = Timeouts::default());
        let patience = SETTLED_WITHIN + self.plan.faults.delay_max * 50;
        let end = self.now + patience;
        let mut look = self.now;
        loop {
            if self.now >= look {
                look = self.now + LOOK_EVERY;
                match self.open() {
                    Err(open) if self.now >= end => return Err(open),
                    Err(_) => {}
                    Ok(()) => return Ok(()),
                }
            }
            self.step()?;
        }
    }

    /// Returns what is still open.
    fn open(&self) -> Result<(), Wrong> {
        let mut first: Option<&Process> = None;
        for process in self.processes.values() {
            let open = |what: String| {
                let what = format!("{what}; {}", process.describe());
                Err(Wrong::NotSettled { process: process.me, what })
            };
            let group = &process.group;
            if process.stage == Stage::ToldToHaveLeft {
                continue;
            }
            if process.stage != Stage::Stays {
                return open(format!("{:?}, still", process.stage));
            }
            if let Some(&member) = self.departed.iter().find(|&&member| group.is_member(member)) {
                return open(format!("still has {member}, which has left"));
            }
            if let Some(held) = group.held().next() {
                let root = group.root_cause(held.id);
                return open(format!("holds {}, which waits for {root:?} in the end", held.id));
            }
            let exists = |range: &&MissingRange| {
                let is_made_up = |seq| !self.exists(MessageId::new(range.member, seq));
                let may_be_made_up = !self.liars.is_empty() || self.report.met.contains_key("rollback");
                !may_be_made_up || !(range.from..=range.to).all(is_made_up)
            };
            if let Some(missing) = group.missing(usize::MAX).iter().find(exists) {
                return open(format!("misses {missing:?}"));
            }
            let first = *first.get_or_insert(process);
            let given_up = |id: &MessageId| first.skipped.contains(id) || process.skipped.contains(id);
            if let Some(lost) = first.seen.symmetric_difference(&process.seen).find(|id| !given_up(id)) {
                return open(format!("and {} differ in {lost}", first.me));
            }
            if first.group.clock() != group.clock() {
                return open(format!("and {} know different members", first.me));
            }
            if self.is_mesh() {
                if group.retained_count() > 0 {
                    let clock = group.clock();
                    let unstable = clock.iter().find(|&(member, count)| group.stable(member) != Some(count));
                    let holder = unstable.and_then(|(member, _)| group.stability_holder(member));
                    return open(format!("retains {} messages, for {holder:?}", group.retained_count()));
                }
                let clock = group.clock();
                let unstable = clock.iter().find(|&(member, count)| group.stable(member) != Some(count));
                if let Some((member, count)) = unstable {
                    let holder = group.stability_holder(member);
                    return open(format!("does not know {member}'s {count} to be stable, for {holder:?}"));
                }
            }
        }
        if self.departed.is_empty() {
            self.processes.keys().try_for_each(|who: &MemberId| self.oracle.has_all(who))?;
        }
        Ok(())
    }

    /// The counts of a process that is gone, or at the end.
    pub(super) fn count(&mut self, process: &Process) {
        self.report.duplicates += process.group.stats().duplicates;
    }

    pub(super) fn sum_up(&mut self) -> Report {
        let mut report = self.report.clone();
        report.duplicates += self.processes.values().map(|p| p.group.stats().duplicates).sum::<u64>();
        let counts = self.network.counts;
        report.packets = counts.packets;
        report.bytes = counts.bytes;
        report.came_twice = counts.came_twice;
        report.lost = counts.lost;
        report.cut_off = counts.cut_off;
        report.partitions = counts.partitions;
        report.duration = Duration::from_nanos(self.now.as_nanos());
        report
    }
}
