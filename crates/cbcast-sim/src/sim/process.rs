//! One process: a group, what a driver keeps beside it, and the textbook's process to compare with.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cbcast::{Group, MemberId, MessageId, Time};

use crate::Seen;
use crate::sim::Wrong;
use crate::sim::clocks::{LocalClock, Timeouts};
use crate::textbook::Bss;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) group: Group,
    /// Member that it is known by: the first of its members, in a relay the host.
    pub(super) me: MemberId,
    /// The members that live in it.
    pub(super) locals: BTreeSet<MemberId>,
    pub(super) is_relay: bool,
    pub(super) stopped: bool,
    /// Somebody has started from its snapshot.
    pub(super) gave_snapshot: bool,
    /// State that it goes on from, if it was killed.
    pub(super) disk: Option<Vec<u8>>,
    /// An older state than that, and what the judges knew of it then.
    pub(super) backup: Option<Backup>,
    pub(super) stage: Stage,
    pub(super) clock: LocalClock,
    pub(super) timeouts: Timeouts,
    /// Log that a relay answers requests from: all that was delivered; elsewhere what was said here. Unused in a mesh.
    pub(super) log: BTreeMap<MessageId, Bytes>,
    /// Messages that it has delivered, or has in its snapshot.
    pub(super) seen: BTreeSet<MessageId>,
    /// Messages that it has given up.
    pub(super) skipped: BTreeSet<MessageId>,
    /// Messages that are held, and since when: its own clock may jump.
    pub(super) held: BTreeMap<MessageId, Time>,
    pub(super) textbook: Option<Bss<MessageId>>,
}

/// A copy of a process's state that is put back later.
#[derive(Clone, Debug)]
pub(super) struct Backup {
    pub(super) bytes: Vec<u8>,
    pub(super) log: BTreeMap<MessageId, Bytes>,
    pub(super) observed: Seen,
    pub(super) seen: BTreeSet<MessageId>,
    pub(super) skipped: BTreeSet<MessageId>,
    pub(super) held: BTreeMap<MessageId, Time>,
    pub(super) textbook: Option<Bss<MessageId>>,
}

/// Stage in the life of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Stays,
    /// It has said its last, and goes as soon as its relay has it all.
    Leaves,
    /// It has said its last, and is to be this member of another relay.
    Roams(MemberId),
    /// In a mesh: it is being parted with, and lives. That may be called off.
    Suspected,
    /// It was parted with, and lives.
    Evicted,
    /// The same, and it knows.
    ToldToHaveLeft,
    /// It has gone back to an older state, and says nothing until nobody can have more of it.
    WentBack,
    /// It lies, and so many messages of its own it has numbered.
    Lies(u64),
}

impl Process {
    pub(super) fn new(group: Group, locals: BTreeSet<MemberId>, is_relay: bool) -> Self {
        let me = *locals.first().expect("a process has a member");
        Self {
            group,
            me,
            locals,
            is_relay,
            stopped: false,
            gave_snapshot: false,
            disk: None,
            backup: None,
            stage: Stage::Stays,
            clock: LocalClock::default(),
            timeouts: Timeouts::default(),
            log: BTreeMap::new(),
            seen: BTreeSet::new(),
            skipped: BTreeSet::new(),
            held: BTreeMap::new(),
            textbook: None,
        }
    }

    /// Returns when its next timeout is handled, if ever.
    pub(super) fn timeout(&self) -> Option<Time> {
        self.wakes().filter(|_| !self.stopped)
    }

    /// The same, once it goes on if it is stopped.
    pub(super) fn wakes(&self) -> Option<Time> {
        let due = self.group.poll_timeout()?;
        Some(self.timeouts.when(self.clock.when(due)))
    }

    /// It runs, and is what it says.
    pub(super) fn is_honest(&self) -> bool {
        matches!(
            self.stage,
            Stage::Stays | Stage::Leaves | Stage::Roams(_) | Stage::Suspected | Stage::WentBack
        )
    }

    /// Members that say something here, if any does.
    pub(super) fn speakers(&self) -> impl Iterator<Item = MemberId> + '_ {
        let stage = self.stage;
        let speaks = matches!(stage, Stage::Stays | Stage::Suspected | Stage::Evicted | Stage::Lies(_));
        let speaks = speaks && !self.stopped;
        self.locals.iter().copied().filter(move |member| speaks && !(self.is_relay && member.is_host()))
    }

    /// Returns what it holds and misses.
    pub(super) fn describe(&self) -> String {
        let group = &self.group;
        let held: Vec<_> = group.held().map(|held| format!("{} for {}", held.id, held.waits_for)).collect();
        let (clock, missing) = (group.clock(), group.missing(usize::MAX));
        format!("it has {clock:?}, holds {held:?}, misses {missing:?}")
    }

    /// No buffer is larger than its limit.
    pub(super) fn check_buffers(&self) -> Result<(), Wrong> {
        self.check_buffers_of(&self.group)
    }

    /// The same of a copy of its group.
    pub(super) fn check_buffers_of(&self, group: &Group) -> Result<(), Wrong> {
        let config = group.config();
        // Announcements of hosts are let through, whatever is unstable.
        let unstable = |member: &MemberId| match (group.delivered(*member), group.stable(*member)) {
            (Some(said), Some(stable)) if !member.is_host() => (said - stable) as usize,
            _ => 0,
        };
        for (what, size, limit) in [
            ("held messages", group.held_count(), config.holdback_max),
            ("held bytes", group.held_bytes(), config.holdback_bytes_max),
            (
                "unstable messages of one of its own",
                self.locals.iter().map(unstable).max().unwrap_or(0),
                config.unstable_max,
            ),
        ] {
            if size > limit {
                return Err(Wrong::Buffer { process: self.me, what, size, limit });
            }
        }
        Ok(())
    }

    /// The textbook's process has delivered what ours has. `members` are by their numbers in the textbook.
    pub(super) fn check_textbook(&self, members: &[MemberId]) -> Result<bool, Wrong> {
        let Some(textbook) = &self.textbook else { return Ok(false) };
        let ours = members.iter().map(|&member| self.group.delivered(member));
        let theirs = (0..members.len()).map(|number| textbook.delivered(number));
        if ours.clone().eq(theirs.clone()) {
            return Ok(true);
        }
        Err(Wrong::NotAsTextbook { process: self.me, ours: ours.collect(), textbook: theirs.collect() })
    }
}
