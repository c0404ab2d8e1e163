//! One process: a group, what a driver keeps beside it, and the textbook's process to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cbcast::{Config, GapPolicy, Group, MemberId, MessageId};

use crate::sim::{Plan, Script, Topology, Wrong};
use crate::textbook::Bss;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) group: Group,
    /// Its one local member: in a relay, the host.
    pub(super) me: MemberId,
    pub(super) is_relay: bool,
    pub(super) stopped: bool,
    /// It has said its last, and goes as soon as its relay has it all.
    pub(super) leaving: bool,
    /// What a relay answers requests from: all that was delivered; elsewhere what was said here. Unused in a mesh.
    pub(super) log: BTreeMap<MessageId, Bytes>,
    /// What it has delivered, or has in its snapshot.
    pub(super) seen: BTreeSet<MessageId>,
    /// What it has given up.
    pub(super) skipped: BTreeSet<MessageId>,
    pub(super) textbook: Option<Bss<MessageId>>,
}

impl Process {
    pub(super) fn new(group: Group, me: MemberId, is_relay: bool) -> Self {
        Self {
            group,
            me,
            is_relay,
            stopped: false,
            leaving: false,
            log: BTreeMap::new(),
            seen: BTreeSet::new(),
            skipped: BTreeSet::new(),
            textbook: None,
        }
    }

    /// What it holds and misses.
    pub(super) fn describe(&self) -> String {
        let group = &self.group;
        let held: Vec<_> = group.held().map(|held| format!("{} for {}", held.id, held.waits_for)).collect();
        let (clock, missing) = (group.clock(), group.missing(usize::MAX));
        format!("it has {clock:?}, holds {held:?}, misses {missing:?}")
    }

    /// No buffer is larger than its limit.
    pub(super) fn check_buffers(&self) -> Result<(), Wrong> {
        let (group, config) = (&self.group, self.group.config());
        let unstable = match (group.delivered(self.me), group.stable(self.me)) {
            // Announcements of hosts are let through, whatever is unstable.
            (Some(said), Some(stable)) if !self.me.is_host() => (said - stable) as usize,
            _ => 0,
        };
        for (what, size, limit) in [
            ("held messages", group.held_count(), config.holdback_max),
            ("held bytes", group.held_bytes(), config.holdback_bytes_max),
            ("unstable messages of its own", unstable, config.unstable_max),
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
        let ours: Vec<_> = members.iter().map(|&member| self.group.delivered(member)).collect();
        if ours.iter().zip(textbook.time()).all(|(&ours, &theirs)| ours == Some(theirs)) {
            return Ok(true);
        }
        Err(Wrong::NotAsTextbook { process: self.me, ours, textbook: textbook.time().to_vec() })
    }
}

/// Longer than any run.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Limits and delays of a process in this plan.
pub(super) fn config(plan: &Plan, script: Option<&Script>, me: MemberId) -> Config {
    let mut config = match plan.topology {
        Topology::Mesh => Config::mesh(),
        _ => Config::relay(),
    };
    if script.is_some_and(|script| !script.repair) {
        (config.repair_delay, config.repair_delay_max) = (NEVER, NEVER);
    }
    config.seed = plan.seed ^ u64::from(me.origin) << 32 ^ u64::from(me.ordinal);
    config.heartbeat = Some(Duration::from_millis(200));
    if plan.faults.skip > Duration::ZERO {
        config.gap_policy = GapPolicy::Skip { after: plan.faults.skip };
    }
    if plan.faults.small_buffers > 0 {
        let places = plan.faults.small_buffers;
        config.holdback_max = places as usize;
        config.holdback_bytes_max = places as usize * 32;
        config.repair_ranges_max = (places as usize / 4).max(4);
        config.unstable_max = 4;
    }
    config
}
