//! Schedule of what happens: drawn from the seed before the run begins.

use std::collections::BTreeMap;
use std::time::Duration;

use cbcast::{MemberId, Time};

use crate::random::SplitMix64;
use crate::sim::{Plan, Script};

/// Something that is to happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Speak,
    /// This one speaks.
    Say(u32),
    /// The cut that the script has in this place.
    Cut(usize),
    Partition,
    OneWay,
    /// The partition of this name ends.
    Mend(u64),
    Crash,
    Resume(MemberId),
    CrashAnew,
    Join,
    Leave,
    Slow,
    /// A member is gone for good, without a word.
    Die,
    /// Its host notices at last.
    PartWith(MemberId),
    /// Is killed, and comes back with what it had exported.
    Restart,
    /// The same of a relay, with the loss of what is on its way to it.
    FailOver,
    /// A copy is made of the state of a process, which goes back to it later.
    BackUp,
    GoBack(MemberId),
    /// It goes on once nobody can have more of it.
    GoOn(MemberId),
    /// A process's clock jumps.
    Jump,
    /// Timeouts are handled, whether or not one is due.
    HandleTimeout(MemberId),
    /// A process has no timeout handled for a while.
    IgnoreTimeouts,
    /// Old packets come again.
    Replay,
    /// Is parted with, and lives.
    Evict,
    /// Its host begins to part with it, and calls that off later.
    Suspect,
    CallOff(MemberId),
    /// Start of a member that was admitted; [`Newcomer`](crate::sim::newcomer::Newcomer) says from whose
    /// snapshot.
    Start(MemberId),
    /// A client wants to go to another relay.
    Roam,
    /// It is a member there, and goes once the relay has all that it has seen.
    Arrive(MemberId),
    /// A client reads another relay, too.
    ReadTwo,
}

/// Actions to come, by time.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    actions: BTreeMap<(Time, u64), Action>,
    added: u64,
    /// Length of the talk, in nanoseconds.
    pub(super) span: u64,
}

impl Schedule {
    pub(super) fn new(plan: &Plan, script: Option<&Script>, random: &mut SplitMix64) -> Self {
        let mut schedule = Self::default();
        let mut now = Time::ZERO;
        let by_seed = &Script::default();
        let script = script.unwrap_or(by_seed);
        let messages = if script.says.is_empty() { plan.messages } else { 0 };
        for _ in 0..messages {
            now = now + Duration::from_nanos(random.below(2 * script.pace.as_nanos() as u64));
            schedule.add(now, Action::Speak);
        }
        for &(at, who) in &script.says {
            schedule.add(Time::ZERO + at, Action::Say(who));
        }
        for (place, cut) in script.cuts.iter().enumerate() {
            schedule.add(Time::ZERO + cut.during.start, Action::Cut(place));
            schedule.add(Time::ZERO + cut.during.end, Action::Mend(place as u64));
        }
        schedule.span = now.as_nanos();
        let span = schedule.span;
        let faults = &plan.faults;
        for (count, action) in [
            (faults.partitions, Action::Partition),
            (faults.one_way, Action::OneWay),
            (faults.crashes, Action::Crash),
            (faults.crashes_anew, Action::CrashAnew),
            (faults.joins, Action::Join),
            (faults.leaves, Action::Leave),
            (faults.deaths, Action::Die),
            (faults.restarts, Action::Restart),
            (faults.failovers, Action::FailOver),
            (faults.rollbacks, Action::BackUp),
            (faults.jumps, Action::Jump),
            (faults.no_timeouts, Action::IgnoreTimeouts),
            (faults.replays, Action::Replay),
            (faults.evictions, Action::Evict),
            (faults.suspicions, Action::Suspect),
            (faults.roams, Action::Roam),
            (faults.readers, Action::ReadTwo),
        ] {
            for _ in 0..count {
                schedule.add(Time::from_nanos(random.below(span + 1)), action);
            }
        }
        for _ in 0..faults.slow {
            schedule.add(Time::ZERO, Action::Slow);
        }
        schedule
    }

    pub(super) fn add(&mut self, at: Time, action: Action) {
        self.added += 1;
        self.actions.insert((at, self.added), action);
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.actions.first_key_value().map(|((at, _), _)| *at)
    }

    /// Returns when the last thing is to happen.
    pub(super) fn last(&self) -> Time {
        self.actions.last_key_value().map_or(Time::ZERO, |((at, _), _)| *at)
    }

    pub(super) fn take(&mut self) -> Option<Action> {
        self.actions.pop_first().map(|(_, action)| action)
    }
}
