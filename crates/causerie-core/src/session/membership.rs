//! A membership: who the client is, the group that it runs, and what members are called.

use std::time::Duration;

use cbcast::{Config, ConfigError, Group, MemberId, MessageId, Snapshot, Time, message::PACKET_BYTES_MAX};

use super::config::SessionConfig;
use super::event::{End, HeldPost};
use super::names::Names;
use crate::id::{Epoch, Position};
use crate::wire::{Limits, MemberInfo, Welcome};

/// Servers that one room can be spread over.
const ORIGINS_MAX: usize = 256;

/// One membership.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) member: MemberId,
    pub(super) epoch: Epoch,
    pub(super) group: Group,
    pub(super) limits: Limits,
    /// Place where the group began: records up to here are not its business.
    pub(super) joined_at: Position,
    /// Records up to there are from before the client's time, not something that it has missed.
    pub(super) newcomer: bool,
    pub(super) names: Names,
}

impl Membership {
    /// Begins the membership of a welcome.
    ///
    /// # Errors
    /// [`End::Protocol`]: no group can be like that.
    pub(super) fn new(config: &SessionConfig, welcome: &Welcome, newcomer: bool) -> Result<Self, End> {
        let Welcome { member, epoch, position, first, snapshot, members, limits, .. } = welcome;
        let broken = |reason: &str| Err(End::Protocol(reason.to_owned()));
        let group = group_of(config, snapshot, *member, limits)
            .map_err(|error| End::Protocol(format!("a group cannot be like that: {error}")))?;
        if !group.is_local(*member) {
            return broken("the snapshot does not know its member");
        }
        if *first == Position::START || *first - 1 > *position {
            return broken("the history begins behind the snapshot");
        }
        if snapshot.next_ordinals.len() > ORIGINS_MAX {
            return broken("the snapshot has more origins than there are servers");
        }
        let mut names = Names::default();
        for MemberInfo { member, name, present } in members {
            if !names.add(*member, name.clone(), *present) {
                return Err(too_many_names());
            }
        }
        let (member, epoch, limits, joined_at) = (*member, *epoch, *limits, *position);
        Ok(Self { member, epoch, group, limits, joined_at, newcomer, names })
    }

    /// Counts the member's own messages.
    pub(super) fn said(&self) -> u64 {
        self.group.delivered(self.member).unwrap_or(0)
    }

    /// Returns the name of a message's author, if that is known.
    pub(super) fn author(&self, id: MessageId) -> Option<String> {
        self.names.get(id.member).cloned()
    }

    /// Returns the messages that are held back, the oldest first.
    pub(super) fn held(&self, now: Time) -> Vec<HeldPost> {
        let mut held: Vec<_> = self.group.held().collect();
        held.sort_unstable_by_key(|h| (h.since, h.id));
        held.into_iter()
            .map(|h| HeldPost {
                id: h.id,
                author: self.author(h.id),
                held_for: now.since(h.since),
                waits_for: h.waits_for,
                waits_for_author: self.author(h.waits_for),
                root_cause: self.group.root_cause(h.id),
            })
            .collect()
    }
}

/// Makes the group of a member that begins with this snapshot.
pub(super) fn group_of(
    config: &SessionConfig,
    snapshot: &Snapshot,
    member: MemberId,
    limits: &Limits,
) -> Result<Group, ConfigError> {
    let mut group = Config::relay();
    // Of nothing it would be a timer that never rests.
    group.repair_delay = config.repair_delay.max(Duration::from_millis(1));
    group.repair_delay_max = group.repair_delay_max.max(group.repair_delay);
    group.seed = config.seed;
    // Packets are slices of what was read.
    group.copies_kept = true;
    // What the room takes its members take.
    group.packet_bytes_max =
        usize::try_from(limits.frame_bytes).map_or(PACKET_BYTES_MAX, |bytes| bytes.min(PACKET_BYTES_MAX));
    Group::new(group, snapshot, [member])
}

pub(super) fn too_many_names() -> End {
    End::Protocol("it announces more members than a room can have".into())
}
