//! Stability over hosts: what everybody whom any relay serves has been sent.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::clock::VectorClock;
use crate::cut::Cut;
use crate::group::Group;
use crate::id::{MemberId, MessageId};

/// Stability over hosts: what each has told that all whom it serves have been sent, and what follows of it. It informs
/// ("delivered to all"): logs let nothing go by it. Hosts that cannot be reached hold it up; those that sleep, as nobody
/// is served there, and those that are expelled do not count.
///
/// Where the others are members of a mesh instead, see [`Config::retain`](crate::Config::retain).
///
/// ```
/// use cbcast::{Config, Group, HostStability, MemberId, Snapshot, Time};
///
/// let [here, there] = [1, 2].map(MemberId::host);
/// let mut group = Group::new(Config::relay(), &Snapshot::hosts([1, 2]), [here])?;
/// let mut stability = HostStability::default();
/// stability.tell(2, group.cut());
/// group.broadcast(Time::ZERO, here, b"hello")?;
/// stability.tell(1, group.cut());
/// assert_eq!(stability.stable(&group).get(here), 0);
/// assert_eq!(stability.holder(&group, here), Some(2));
/// stability.tell(2, group.cut());
/// assert_eq!(stability.stable(&group).get(here), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostStability {
    told: BTreeMap<u32, Cut>,
    asleep: BTreeSet<u32>,
}

impl HostStability {
    /// The host of `origin` tells that all whom it serves have been sent what is within `cut`. It is awake.
    pub fn tell(&mut self, origin: u32, cut: Cut) {
        self.asleep.remove(&origin);
        self.told.insert(origin, cut);
    }

    /// The host of `origin` serves nobody until it tells a cut again.
    pub fn sleep(&mut self, origin: u32) {
        self.told.remove(&origin);
        self.asleep.insert(origin);
    }

    /// Returns for each live member how many of its messages have been sent to all. O(members × hosts).
    #[must_use]
    pub fn stable(&self, group: &Group) -> VectorClock {
        let clock = group.clock();
        let hosts = self.awake(group);
        let least = |(member, delivered)| {
            let told = hosts.iter().map(|&host| self.told_of(host, member));
            (member, told.fold(delivered, u64::min))
        };
        clock.iter().map(least).collect()
    }

    /// Returns the origin of a host by which no more of this member's messages is stable, the first one. O(members).
    #[must_use]
    pub fn holder(&self, group: &Group, member: MemberId) -> Option<u32> {
        let hosts = self.awake(group);
        let least = hosts.iter().map(|&host| (self.told_of(host, member), host)).min();
        least.filter(|&(count, _)| Some(count) < group.delivered(member)).map(|(_, host)| host)
    }

    fn awake(&self, group: &Group) -> BTreeSet<u32> {
        group.hosts().map(|host| host.origin).filter(|origin| !self.asleep.contains(origin)).collect()
    }

    fn told_of(&self, host: u32, member: MemberId) -> u64 {
        match self.told.get(&host) {
            // There the member has left already, and all have been sent that.
            Some(cut) if cut.has(MessageId::new(member, u64::MAX)) => u64::MAX,
            Some(cut) => cut.clock().get(member),
            None => 0,
        }
    }
}
