//! Parting with whole origins: hosts that are gone for good, disks and all, and everybody whom they had admitted.
//!
//! Their last messages may have reached only one of those that stay. So it is a flush over hosts: every one of the
//! *directory* (not only those known here: the sponsor that took one in may be among the dead) stores that it takes no
//! more of these origins, and answers how much it has ([`Group::freeze`]); the coordinator fetches what the most have, and
//! then says *Expelled* with these counts ([`Group::expel`]). When *Expelled* arrives somewhere, so much may go there
//! after all, and of members whose *Left* is among that, all up to their last. Once it is delivered the origins are
//! forgotten, and as dependencies all of theirs count as met: what nobody has is given up.
//!
//! Nothing is given up on one's own account meanwhile: all this is for [`GapPolicy::Wait`]. And an application that wants
//! more than a host's word for it, an operator's signature for instance, does not hand an *Expelled* over before it has
//! that: it comes again with the next repair.
//!
//! All that are gone are expelled together; one by one, each would wait for another. A host that has been through an
//! expulsion says so ([`ExpelError::Expelled`]), and a second coordinator gives up: its counts may be less.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use thiserror::Error;

#[cfg(doc)]
use crate::config::GapPolicy;

use crate::clock::VectorClock;
use crate::error::{BroadcastError, MembershipError};
use crate::group::Group;
use crate::id::{MemberId, MessageId};
use crate::members::{IdStanding, Slot};
use crate::message::{Kind, Message};
use crate::time::Time;
use crate::trace::tell_event;

/// Reason why origins cannot be frozen or expelled. Nothing changed, unless it says so.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ExpelError {
    /// The origin has been expelled already: what came of it is in the past of that message.
    #[error("origin {origin} has been expelled")]
    Expelled {
        /// Origin concerned.
        origin: u32,
    },
    /// Members of the origin live here.
    #[error("members of origin {origin} live here")]
    Alive {
        /// Origin concerned.
        origin: u32,
    },
    /// The local process does not host, or cannot say it.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// Somebody who was asked has not answered.
    #[error("server {server} has not answered")]
    Unanswered {
        /// One that has not.
        server: u32,
    },
    /// Somebody has delivered this message, and it has not been delivered here: fetch it, and what it depends on. So much
    /// may be delivered from now on.
    #[error("{id} has been delivered elsewhere")]
    Lacking {
        /// One such message.
        id: MessageId,
    },
}

impl From<BroadcastError> for ExpelError {
    fn from(error: BroadcastError) -> Self {
        Self::Membership(error.into())
    }
}

/// Answers that a coordinator has been given: see [`Group::expel`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expulsion {
    origins: BTreeSet<u32>,
    /// By server: whether it has answered.
    asked: BTreeMap<u32, bool>,
    counts: VectorClock,
}

impl Expulsion {
    /// These origins are to be expelled. Everybody in the directory that stays is to be asked, the coordinator included, by
    /// [`ask`](Self::ask).
    #[must_use]
    pub fn new(origins: impl IntoIterator<Item = u32>) -> Self {
        Self { origins: origins.into_iter().collect(), ..Self::default() }
    }

    /// Iterates over the origins, in order.
    pub fn origins(&self) -> impl Iterator<Item = u32> + '_ {
        self.origins.iter().copied()
    }

    /// This server has to answer, too. Call it again with who has come into the directory since: nobody may be left out.
    pub fn ask(&mut self, servers: impl IntoIterator<Item = u32>) {
        for server in servers {
            self.asked.entry(server).or_insert(false);
        }
    }

    /// Iterates over the servers that have not answered, in order.
    pub fn unanswered(&self) -> impl Iterator<Item = u32> + '_ {
        self.asked.iter().filter(|(_, answered)| !**answered).map(|(&server, _)| server)
    }

    /// A server's answer: what [`Group::freeze`] returned there.
    pub fn answer(&mut self, server: u32, counts: &VectorClock) {
        for (member, count) in counts.iter() {
            if self.origins.contains(&member.origin) {
                self.counts.set(member, count.max(self.counts.get(member)));
            }
        }
        self.asked.insert(server, true);
    }

    /// The greatest counts that anybody has answered.
    #[must_use]
    pub const fn counts(&self) -> &VectorClock {
        &self.counts
    }
}

impl Group {
    /// Takes nothing more of these origins than what has been delivered here, and says how much that is; what a coordinator
    /// that has given up had let through is taken back. Store what this changed before it is told. Origins that are not known here may be among them. O(members + messages held).
    ///
    /// # Errors
    /// [`ExpelError::Expelled`], [`ExpelError::Alive`]; nothing changed.
    pub fn freeze(
        &mut self,
        now: Time,
        origins: impl IntoIterator<Item = u32>,
    ) -> Result<VectorClock, ExpelError> {
        let origins: BTreeSet<u32> = origins.into_iter().collect();
        for &origin in &origins {
            if self.is_expelled(origin) {
                return Err(ExpelError::Expelled { origin });
            }
            if self.members.iter().any(|(_, m)| m.local && m.live && m.id.origin == origin) {
                return Err(ExpelError::Alive { origin });
            }
        }
        let of_these = self.live().filter(|(_, member)| origins.contains(&member.origin));
        let slots: Vec<_> = of_these.collect();
        let count_of = |&(slot, member): &(Slot, MemberId)| (member, self.members.delivered(slot));
        let counts: VectorClock = slots.iter().map(count_of).collect();
        // What an expulsion that was given up had let through is taken back: nobody may have it any more.
        for &origin in &origins {
            self.frozen_origins.insert(origin, counts.iter().filter(|(m, _)| m.origin == origin).collect());
        }
        for (slot, member) in slots {
            self.members.get_mut(slot).frozen = Some(counts.get(member));
        }
        tell_event!(debug, ?origins, "frozen");
        self.raise_by_what_is_held(now);
        self.release(now);
        Ok(counts)
    }

    /// The origins that are frozen here, for whoever starts from a snapshot of this group: it must
    /// [`freeze`](Self::freeze) them before it takes anything.
    pub fn frozen_origins(&self) -> impl Iterator<Item = u32> + '_ {
        self.frozen_origins.keys().copied()
    }

    /// The local host parts with the origins of `expulsion`, once everybody that was asked has answered and all that
    /// anybody has delivered of them has been delivered here, and says so (*Expelled*). Call it again when more has
    /// come. `home` is for the application: where its decisions are made from now on.
    ///
    /// # Errors
    /// [`ExpelError`] says what is still to be waited for.
    pub fn expel(
        &mut self,
        now: Time,
        host: MemberId,
        expulsion: &Expulsion,
        home: u32,
        payload: &[u8],
    ) -> Result<MessageId, ExpelError> {
        self.local_host(host)?;
        if let Some(origin) = expulsion.origins().find(|&origin| self.is_expelled(origin)) {
            return Err(ExpelError::Expelled { origin });
        }
        if let Some(server) = expulsion.unanswered().next() {
            return Err(ExpelError::Unanswered { server });
        }
        self.freeze(now, expulsion.origins())?;
        for (member, count) in expulsion.counts.iter() {
            self.may_go(now, member, count);
        }
        self.raise_by_what_is_held(now);
        self.release(now);
        let ids = expulsion.counts.iter().filter(|&(_, count)| count > 0);
        let mut ids = ids.map(|(member, count)| MessageId::new(member, count));
        if let Some(id) = ids.find(|&id| !self.has_delivered(id)) {
            return Err(ExpelError::Lacking { id });
        }
        let mut counts: VectorClock = expulsion.origins().map(|origin| (MemberId::host(origin), 0)).collect();
        for (slot, member) in self.live().filter(|(_, member)| expulsion.origins.contains(&member.origin)) {
            counts.set(member, self.members.delivered(slot));
        }
        Ok(self.say(now, host, Kind::Expelled { home, counts }, payload)?)
    }

    /// Returns whether all of an origin count as departed, its host too.
    fn is_expelled(&self, origin: u32) -> bool {
        self.members.standing(MemberId::host(origin)) == IdStanding::Forgotten
    }

    /// Returns how many messages of a member may be delivered, if its origin is frozen.
    pub(super) fn frozen_at(&self, member: MemberId) -> Option<u64> {
        self.frozen_origins.get(&member.origin).map(|counts| counts.get(member))
    }

    /// Lets so many messages of a member of a frozen origin be delivered.
    fn may_go(&mut self, now: Time, member: MemberId, count: u64) -> bool {
        let Some(counts) = self.frozen_origins.get_mut(&member.origin) else { return false };
        let raised = count > counts.get(member);
        counts.set(member, count.max(counts.get(member)));
        if let Some(slot) = self.members.live_slot(member) {
            self.frozen_up_to(now, slot, count);
            self.hear(now, slot, count, true);
        }
        raised
    }

    /// A host's message has arrived: what it says of others counts before it is delivered, whether or not there is room
    /// for it, as what is frozen may be what fills the queue.
    pub(super) fn has_arrived(&mut self, now: Time, message: &Message) {
        let id = message.id();
        match message.kind() {
            Kind::Left { member, last_seq } if self.frozen_at(id.member).is_none() => {
                self.exists_and_may_go(now, member, last_seq);
            }
            kind => {
                self.raise_by(now, id, &kind);
                self.raise_by_what_is_held(now);
            }
        }
    }

    /// Returns whether a message lets more of the frozen through.
    fn raise_by(&mut self, now: Time, id: MessageId, kind: &Kind) -> bool {
        match kind {
            // What is frozen itself, and will not count, says nothing.
            _ if self.frozen_at(id.member).is_some_and(|count| id.seq > count) => false,
            Kind::Left { member, last_seq } => self.may_go(now, *member, *last_seq),
            Kind::Expelled { counts, .. } => {
                counts.iter().fold(false, |raised, (member, count)| self.may_go(now, member, count) || raised)
            }
            _ => false,
        }
    }

    /// The same of all that is held: a *Left* that may go now lets its member's go.
    fn raise_by_what_is_held(&mut self, now: Time) {
        if self.frozen_origins.is_empty() {
            return;
        }
        let said: Vec<_> = self.held_announcements().collect();
        while said.iter().fold(false, |raised, (id, kind)| self.raise_by(now, *id, kind) || raised) {}
    }

    /// Applies an *Expelled* that has been delivered. All that anybody who stays has delivered of these origins is in its
    /// past.
    pub(super) fn expelled(&mut self, expelled: MessageId, counts: &VectorClock) {
        let origins: BTreeSet<u32> = counts.iter().map(|(member, _)| member.origin).collect();
        let slots: Vec<(Slot, MemberId, bool)> = self
            .members
            .iter()
            .filter(|(_, m)| origins.contains(&m.id.origin))
            .map(|(slot, m)| (slot, m.id, m.live))
            .collect();
        tell_event!(debug, ?origins, by = %expelled, "expelled");
        for &origin in &origins {
            self.members.set_next_ordinal(origin, u32::MAX);
            self.frozen_origins.remove(&origin);
        }
        for (slot, member, live) in slots {
            if live {
                if self.members.get(slot).local {
                    self.departs(member);
                }
                let given_up = self.give_up_with(slot, counts.get(member));
                self.forget(slot, expelled, given_up);
            } else {
                self.forget_early(slot);
            }
        }
    }
}
