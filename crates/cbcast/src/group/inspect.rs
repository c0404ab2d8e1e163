//! Questions about a group.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use bytes::Bytes;

use crate::clock::VectorClock;
use crate::config::Config;
use crate::group::{Group, Holds, Stats};
use crate::id::{MemberId, MessageId};
use crate::members::{IdStanding, Member, Slot};
use crate::message::Message;
use crate::repair::MissingRange;
use crate::snapshot::Snapshot;
use crate::time::Time;

/// A message that is held back. See [`Group::held`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldMessage {
    /// The message.
    pub id: MessageId,
    /// Time at which it arrived.
    pub since: Time,
    /// A cause of it that has not been delivered: its sender's message before it, or a dependency.
    pub waits_for: MessageId,
}

/// Relation of two messages by happened-before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// They are one message.
    Same,
    /// The first was seen by the author of the second.
    Before,
    /// The second was seen by the author of the first.
    After,
    /// Neither author had seen the other's.
    Concurrent,
}

impl Group {
    /// Returns whether `member` is live here: its *Joined* has been delivered, its *Left* has not. O(1).
    #[must_use]
    pub fn is_member(&self, member: MemberId) -> bool {
        self.members.live_slot(member).is_some()
    }

    /// Returns whether `member` is live and lives here. O(1).
    #[must_use]
    pub fn is_local(&self, member: MemberId) -> bool {
        self.members.live_slot(member).is_some_and(|slot| self.members.get(slot).local)
    }

    /// Returns how many messages of a live member have been delivered. O(1).
    #[must_use]
    pub fn delivered(&self, member: MemberId) -> Option<u64> {
        self.members.live_slot(member).map(|slot| self.members.delivered(slot))
    }

    /// Returns whether this message has been delivered, or is of a member that has left. O(1).
    #[must_use]
    pub fn has_delivered(&self, id: MessageId) -> bool {
        match self.members.standing(id.member) {
            IdStanding::Live(slot) => id.seq <= self.members.delivered(slot),
            IdStanding::Early(_) => false,
            IdStanding::Forgotten => true,
        }
    }

    /// Iterates over the live members, local ones included, in no particular order. O(members).
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.live().map(|(_, member)| member)
    }

    /// Iterates over the live members that live here, in no particular order. O(members).
    pub fn locals(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.live().filter(|&(slot, _)| self.members.get(slot).local).map(|(_, member)| member)
    }

    /// Iterates over the live hosts, which say who joins and who leaves, in no particular order. O(members).
    pub fn hosts(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.members().filter(|member| member.is_host())
    }

    /// Returns the clock: how much has been delivered of each live member. O(members log members).
    #[must_use]
    pub fn clock(&self) -> VectorClock {
        self.live().map(|(slot, member)| (member, self.members.delivered(slot))).collect()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (Slot, MemberId)> + '_ {
        self.members.iter().filter(|(_, m)| m.live).map(|(slot, m)| (slot, m.id))
    }

    /// The delivered messages that no other delivered message follows, sorted. O(frontier log frontier).
    #[must_use]
    pub fn frontier(&self) -> Vec<MessageId> {
        let last = self.frontier_slots().map(|slot| self.last_of(slot));
        let mut frontier: Vec<_> = last.chain(self.passed()).collect();
        frontier.sort_unstable();
        frontier
    }

    /// Returns the state that a new process starts from. O(members log members).
    ///
    /// Where there are relays only they give snapshots: a client has what it has said itself, and its relay may not. In a
    /// mesh who gives one stays until all in it is stable, as the host does: whoever starts from it has delivered
    /// messages that it cannot send again.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            clock: self.clock(),
            next_ordinals: self.members.next_ordinals(),
            frontier: self.frontier(),
        }
    }

    /// Every message held back, and a cause that it waits for; members in no particular order, the messages of
    /// each in theirs. O(members + places in the queue).
    pub fn held(&self) -> impl Iterator<Item = HeldMessage> + '_ {
        self.members.iter().flat_map(move |(slot, member)| {
            let first = self.members.delivered(slot) + 1;
            member.ring.iter().filter_map(move |(ahead, held)| {
                let id = MessageId::new(member.id, first + ahead);
                let waits_for = self.cause_of(slot, id)?;
                Some(HeldMessage { id, since: held.since, waits_for })
            })
        })
    }

    /// A cause that `id`, which is held back, waits for; `None` if it is not held back. That cause may itself be
    /// held: follow it, or see [`root_cause`](Self::root_cause). O(1).
    #[must_use]
    pub fn waits_for(&self, id: MessageId) -> Option<MessageId> {
        let slot = match self.members.standing(id.member) {
            IdStanding::Live(slot) | IdStanding::Early(Some(slot)) => slot,
            _ => return None,
        };
        let place = id.seq.checked_sub(self.members.delivered(slot) + 1)?;
        self.members.get(slot).ring.get(place)?;
        self.cause_of(slot, id)
    }

    fn cause_of(&self, slot: Slot, id: MessageId) -> Option<MessageId> {
        let member = self.members.get(slot);
        if id.seq > self.members.delivered(slot) + 1 {
            return Some(MessageId::new(id.member, id.seq - 1));
        }
        let Some(wait) = member.wait.as_ref().filter(|_| member.live) else {
            // Its Joined is to come, or (frozen by a flush) its Left.
            return Some(self.next_of_host(id.member));
        };
        Some(MessageId::new(self.members.get(wait.on).id, wait.seq))
    }

    /// The missing message at the end of the chain that `id` waits in: one that is not here at all. `None` if
    /// `id` is not held back, or (which takes a lying relay) its causes wait for each other. O(held messages).
    #[must_use]
    pub fn root_cause(&self, id: MessageId) -> Option<MessageId> {
        let mut cause = self.waits_for(id)?;
        for _ in 0..self.held {
            match self.waits_for(cause) {
                Some(next) => cause = next,
                None => return Some(cause),
            }
        }
        self.waits_for(cause).is_none().then_some(cause)
    }

    /// The messages that are known to exist and are neither delivered nor held, as at most `ranges_max` ranges. Those
    /// that are next of their sender come first, as one of them can be delivered on arrival, however full the
    /// hold-back queue is; what else hosts have said comes before what else others have. O(members log members +
    /// places in the queue).
    #[must_use]
    pub fn missing(&self, ranges_max: usize) -> Vec<MissingRange> {
        let mut lagging: Vec<_> = self.lagging().map(|(slot, m)| (m.id, slot)).collect();
        lagging.sort_unstable();
        self.missing_of(lagging, ranges_max)
    }

    /// Members of which a message is known to exist that has not been delivered, in no order. Local ones are among
    /// them after a rollback only.
    pub(super) fn lagging(&self) -> impl Iterator<Item = (Slot, &Member)> + '_ {
        self.members.iter().filter(|&(slot, _)| self.members.heard(slot) > self.members.delivered(slot))
    }

    /// [`missing`](Self::missing) of these members, in this order.
    pub(super) fn missing_of(
        &self,
        members: impl IntoIterator<Item = (MemberId, Slot)>,
        ranges_max: usize,
    ) -> Vec<MissingRange> {
        let (mut next, mut of_hosts, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (id, slot) in members {
            let first = self.members.delivered(slot) + 1;
            for range in self.gaps(id, slot).take(ranges_max) {
                let ranges = match id.is_host() {
                    _ if range.from == first => &mut next,
                    true => &mut of_hosts,
                    false => &mut others,
                };
                if ranges.len() < ranges_max {
                    ranges.push(range);
                }
            }
        }
        // A Left may be needed to let through what fills the queue, and it may not be next.
        let places = ranges_max.saturating_sub(of_hosts.len().min(ranges_max / 2));
        next.truncate(places);
        next.append(&mut of_hosts);
        next.append(&mut others);
        next.truncate(ranges_max);
        next
    }

    /// Returns what is missing of one member, in order.
    pub(super) fn gaps(&self, member: MemberId, slot: Slot) -> impl Iterator<Item = MissingRange> + '_ {
        let first = self.members.delivered(slot) + 1;
        let held = self.members.get(slot).ring.iter().map(move |(ahead, _)| first + ahead);
        let mut from = first;
        held.chain([self.wanted_up_to(slot).saturating_add(1)]).filter_map(move |here| {
            let gap = (from < here).then(|| MissingRange { member, from, to: here - 1 });
            from = here.saturating_add(1);
            gap
        })
    }

    /// Returns how many messages of `member` are stable: delivered by every member. `None` without
    /// [`Config::retain`], or if it is not a live member. O(1).
    #[must_use]
    pub fn stable(&self, member: MemberId) -> Option<u64> {
        let slot = self.members.live_slot(member)?;
        self.stability.as_ref().map(|stability| stability.stable(slot))
    }

    /// One member that has acknowledged no more of `member`'s messages than what is stable: who holds things up.
    /// O(members).
    #[must_use]
    pub fn stability_holder(&self, member: MemberId) -> Option<MemberId> {
        let slot = self.members.live_slot(member)?;
        let holder = self.stability.as_ref()?.holder(slot)?;
        Some(self.members.get(holder).id)
    }

    /// Messages retained until they are stable. O(members + messages retained).
    #[must_use]
    pub fn retained_count(&self) -> usize {
        self.stability.as_ref().map_or(0, |stability| stability.all_retained().count())
    }

    /// Returns how two retained messages are related: did the author of one see the other before? `None` where that
    /// cannot be told, because one of them is not retained any more, or a message that may lie between them was skipped.
    /// O(retained messages in the past of the later one).
    #[must_use]
    pub fn relation(&self, a: MessageId, b: MessageId) -> Option<Relation> {
        if a == b {
            return self.retained(a).map(|_| Relation::Same);
        }
        self.retained(a)?;
        self.retained(b)?;
        match (self.precedes(a, b), self.precedes(b, a)) {
            (Some(true), _) => Some(Relation::Before),
            (_, Some(true)) => Some(Relation::After),
            (Some(false), Some(false)) => Some(Relation::Concurrent),
            _ => None,
        }
    }

    pub(super) fn retained(&self, id: MessageId) -> Option<&Message> {
        let stability = self.stability.as_ref()?;
        match self.members.live_slot(id.member) {
            Some(slot) => stability.retained(slot, id.seq),
            None => stability.retained_of_departed(id),
        }
    }

    /// Returns whether `a` is in the past of `b`, both retained. Whatever lies between them and was delivered is retained too: if
    /// it were stable, everybody would have delivered it, and `a` before it, so `a` would be stable and not retained.
    /// `None`: something was skipped, whose past is not known.
    fn precedes(&self, a: MessageId, b: MessageId) -> Option<bool> {
        let mut all_known = true;
        let mut seen = BTreeSet::new();
        let mut to_visit = Vec::from([b]);
        while let Some(id) = to_visit.pop() {
            let Some(message) = self.retained(id) else {
                all_known &= !self.was_skipped(id);
                continue;
            };
            let before = (id.seq > 1).then(|| MessageId::new(id.member, id.seq - 1));
            for cause in message.deps().chain(before) {
                if cause.member == a.member && cause.seq >= a.seq {
                    return Some(true);
                }
                if seen.insert(cause) {
                    to_visit.push(cause);
                }
            }
        }
        all_known.then_some(false)
    }

    /// Returns whether a message that counts as delivered and is not retained was skipped; else it is stable.
    fn was_skipped(&self, id: MessageId) -> bool {
        let Some(stability) = &self.stability else { return false };
        match self.members.live_slot(id.member) {
            Some(slot) => id.seq > stability.stable(slot),
            None => stability.departed().iter().any(|d| d.member == id.member && id.seq >= d.first),
        }
    }

    /// Returns how many messages are held back. O(1).
    #[must_use]
    pub const fn held_count(&self) -> usize {
        self.held
    }

    /// Bytes of the packets held back. O(1).
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Returns how long messages were held back that have been delivered since the group was made. O(1).
    #[must_use]
    pub const fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Counts since the group was made. O(1).
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Its limits and delays.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Payload of a held message, for showing what waits; `None` if it is not held. O(1).
    #[must_use]
    pub fn held_payload(&self, id: MessageId) -> Option<Bytes> {
        let slot = match self.members.standing(id.member) {
            IdStanding::Live(slot) | IdStanding::Early(Some(slot)) => slot,
            _ => return None,
        };
        let place = id.seq.checked_sub(self.members.delivered(slot) + 1)?;
        let held = self.members.get(slot).ring.get(place)?;
        Some(Message::from_parts(held.packet.clone(), id, held.stamp).payload())
    }
}
