//! Members of a room, present and departed: their names, their secrets, and the connections that speak for them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use cbcast::{MemberId, Time};
use sha2::{Digest, Sha256};

use super::error::ResumeError;
use crate::content::name::Name;
use crate::content::reading::{Reading, Readings};
use crate::id::{Nonce, Position, Token};
use crate::key::PublicKey;
use crate::wire::MemberInfo;

/// Departed members that a room remembers at most, to tell those who come back what was taken.
const DEPARTED_MAX: usize = 4_096;

/// Means by which a member is known again. Nothing with which who reads the store could speak for anybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Secrets {
    /// The public key of a member that stamps its own messages.
    Key(PublicKey),
    /// SHA-256 hashes of the secrets of a member that lives here.
    Bearer {
        /// Hash of its token.
        token: [u8; 32],
        /// Hash of the nonce of its join.
        nonce: [u8; 32],
    },
}

impl Secrets {
    /// Hashes the secrets of a member that lives here.
    pub(super) fn bearer(token: &Token, nonce: &Nonce) -> Self {
        Self::Bearer { token: hash(token.bytes()), nonce: hash(nonce.bytes()) }
    }

    pub(super) fn is_hosted(self) -> bool {
        matches!(self, Self::Bearer { .. })
    }

    /// Returns whether a join with these is the same join.
    fn is_same_join(self, other: Self) -> bool {
        match (self, other) {
            (Self::Key(key), Self::Key(other)) => key == other,
            (Self::Bearer { nonce, .. }, Self::Bearer { nonce: other, .. }) => nonce == other,
            _ => false,
        }
    }
}

/// Hashes a secret as it is kept.
pub(super) fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Record of a member, present or departed, as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberRecord {
    /// Id of the member.
    pub member: MemberId,
    /// Name of the member.
    pub name: String,
    /// The position of its *Joined*.
    pub joined_at: Position,
    /// The position of its *Left*, if it has left.
    pub left_at: Option<Position>,
    /// Number of its messages that were taken, once it has left.
    pub taken: u64,
    /// Secrets of a member that can come back.
    pub secrets: Option<Secrets>,
}

/// A connection's right to speak for its member, until it resumes elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seat {
    /// Member that it speaks for.
    pub member: MemberId,
    connection: u64,
}

/// Somebody who is in the room, or within grace.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: Name,
    pub(super) joined_at: Position,
    /// Messages delivered, as counted while the log is written.
    pub(super) delivered: u64,
    pub(super) pass: Option<Pass>,
}

/// Right of a member to come back.
#[derive(Debug)]
pub(super) struct Pass {
    secrets: Secrets,
    /// Number of its newest connection, which alone speaks for it.
    connection: u64,
    gone_since: Option<Time>,
}

impl Pass {
    /// Lets a member come back with these secrets; its grace begins now.
    pub(super) fn new(secrets: Secrets, now: Time) -> Self {
        Self { secrets, connection: 0, gone_since: Some(now) }
    }

    /// Returns whether the member lives here.
    pub(super) fn is_hosted(&self) -> bool {
        self.secrets.is_hosted()
    }
}

/// Somebody who has left.
#[derive(Debug)]
pub(super) struct Departed {
    pub(super) name: Name,
    pub(super) joined_at: Position,
    pub(super) left_at: Position,
    pub(super) taken: u64,
    pub(super) secrets: Option<Secrets>,
}

/// All members of a room.
///
/// Invariants: the names in use are those of the people; nobody is both present and departed; each change of who may
/// speak raises [`seating`](Self::seating), and each coming and going raises [`changes`](Self::changes).
#[derive(Debug, Default)]
pub(super) struct Roster {
    people: BTreeMap<MemberId, Person>,
    /// Names in use.
    names: Readings<MemberId>,
    departed: BTreeMap<MemberId, Departed>,
    departed_order: VecDeque<MemberId>,
    /// Members to be declared left once so much of them has been delivered.
    leaving: BTreeMap<MemberId, u64>,
    /// Counts what makes seats void, new connections among it.
    seatings: u64,
    /// Number of times that somebody has come or gone.
    changes: u64,
}

impl Roster {
    // Coming and going.

    /// Adds somebody who is in from now on.
    pub(super) fn add(&mut self, member: MemberId, person: Person) {
        self.names.insert(person.name.as_str(), &member);
        self.people.insert(member, person);
        self.changes += 1;
    }

    /// Takes out somebody who has left at this position, after so many of its messages.
    pub(super) fn remove(&mut self, member: MemberId, left_at: Position, taken: u64) {
        let Some(Person { name, joined_at, pass, .. }) = self.people.remove(&member) else { return };
        self.seatings += 1;
        self.changes += 1;
        self.names.remove(name.as_str(), &member);
        let secrets = pass.map(|pass| pass.secrets);
        self.remember(member, Departed { name, joined_at, left_at, taken, secrets });
    }

    /// Remembers somebody who has left, and forgets the first of them where there are too many.
    pub(super) fn remember(&mut self, member: MemberId, departed: Departed) {
        self.departed.insert(member, departed);
        self.departed_order.push_back(member);
        if self.departed_order.len() > DEPARTED_MAX
            && let Some(oldest) = self.departed_order.pop_front()
        {
            self.departed.remove(&oldest);
        }
    }

    /// Takes note that a member is to be declared left once so much of it has been delivered.
    pub(super) fn wants_to_leave(&mut self, member: MemberId, last_seq: u64) {
        if self.is_present(member) {
            self.leaving.insert(member, last_seq);
        }
    }

    /// Takes note that nothing is waited for any more before a member is declared left.
    pub(super) fn leaves_now(&mut self, member: MemberId) {
        self.leaving.remove(&member);
    }

    /// Returns a member that is to be declared left now.
    pub(super) fn next_to_leave(&self) -> Option<MemberId> {
        self.leaving.iter().find_map(|(member, last_seq)| {
            self.people.get(member).is_none_or(|p| p.delivered >= *last_seq).then_some(*member)
        })
    }

    // Secrets and seats.

    /// Finds the member that this join has admitted before, and whether its secrets have changed: a repeated join voids
    /// the token of an answer that has not come.
    pub(super) fn rejoin(&mut self, secrets: Secrets) -> Option<(MemberId, bool)> {
        let mut passes = self.people.iter_mut().filter_map(|(&member, p)| Some((member, p.pass.as_mut()?)));
        let (member, pass) = passes.find(|(_, pass)| pass.secrets.is_same_join(secrets))?;
        let has_changed = pass.secrets != secrets;
        pass.secrets = secrets;
        Some((member, has_changed))
    }

    /// Returns whether a member that is in has such secrets.
    ///
    /// # Errors
    /// [`ResumeError::Expired`] if it has left, else `wrong`.
    pub(super) fn check_secrets(
        &self,
        member: MemberId,
        has: impl Fn(Secrets) -> bool,
        wrong: ResumeError,
    ) -> Result<(), ResumeError> {
        match (self.people.get(&member), self.departed.get(&member)) {
            (Some(person), _) if person.pass.as_ref().is_some_and(|pass| has(pass.secrets)) => Ok(()),
            (None, Some(departed)) if departed.secrets.is_some_and(has) => {
                Err(ResumeError::Expired { taken: departed.taken })
            }
            _ => Err(wrong),
        }
    }

    /// Lets a new connection speak for a member; the seat of an older one is void.
    pub(super) fn seat(&mut self, member: MemberId) -> Seat {
        self.seatings += 1;
        if let Some(pass) = self.people.get_mut(&member).and_then(|p| p.pass.as_mut()) {
            pass.connection = self.seatings;
            pass.gone_since = None;
        }
        Seat { member, connection: self.seatings }
    }

    /// Returns whether this seat's connection still speaks for its member.
    pub(super) fn is_seated(&self, seat: Seat) -> bool {
        let pass = self.people.get(&seat.member).and_then(|p| p.pass.as_ref());
        pass.is_some_and(|pass| pass.connection == seat.connection)
    }

    /// Begins the grace of a member whose connection is gone. `false`: another connection speaks for it by now.
    pub(super) fn unseat(&mut self, seat: Seat, now: Time) -> bool {
        let pass = self.people.get_mut(&seat.member).and_then(|p| p.pass.as_mut());
        let Some(pass) = pass.filter(|pass| pass.connection == seat.connection) else { return false };
        pass.gone_since = Some(now);
        true
    }

    /// Makes connections look at their seats.
    pub(super) fn void_seats(&mut self) {
        self.seatings += 1;
    }

    /// Returns a number that differs from an earlier one whenever a connection may have to end.
    pub(super) fn seating(&self) -> u64 {
        self.seatings
    }

    // Grace.

    /// Begins the grace of a member anew that has no connection, and has shown that it is alive.
    pub(super) fn is_alive(&mut self, member: MemberId, now: Time) {
        let pass = self.people.get_mut(&member).and_then(|p| p.pass.as_mut());
        if let Some(since) = pass.and_then(|pass| pass.gone_since.as_mut()) {
            *since = now;
        }
    }

    /// Returns the members whose grace is over.
    pub(super) fn expired(&self, grace: Duration, now: Time) -> Vec<MemberId> {
        let over = |p: &Person| {
            let gone = p.pass.as_ref().and_then(|pass| pass.gone_since);
            gone.is_some_and(|since| since + grace <= now)
        };
        self.people.iter().filter(|(_, p)| over(p)).map(|(&m, _)| m).collect()
    }

    /// Returns since when that member has been gone who has been gone for longest. O(members).
    pub(super) fn first_gone(&self) -> Option<Time> {
        self.people.values().filter_map(|p| p.pass.as_ref()?.gone_since).min()
    }

    // Counting.

    /// Takes note of the number of a member's last delivered message.
    pub(super) fn delivered(&mut self, member: MemberId, seq: u64) {
        if let Some(person) = self.people.get_mut(&member) {
            person.delivered = seq;
        }
    }

    /// Writes the messages delivered per present member, in order of joining: `[2, 1]`.
    pub(super) fn vector(&self) -> String {
        let counts: Vec<_> = self.people.values().map(|p| p.delivered).collect();
        format!("{counts:?}")
    }

    // Members.

    /// Returns what is to be stored of a member.
    pub(super) fn record(&self, member: MemberId) -> Option<MemberRecord> {
        match (self.people.get(&member), self.departed.get(&member)) {
            (Some(p), _) => Some(MemberRecord {
                member,
                name: p.name.to_string(),
                joined_at: p.joined_at,
                left_at: None,
                taken: 0,
                secrets: p.pass.as_ref().map(|pass| pass.secrets),
            }),
            (None, Some(d)) => Some(MemberRecord {
                member,
                name: d.name.to_string(),
                joined_at: d.joined_at,
                left_at: Some(d.left_at),
                taken: d.taken,
                secrets: d.secrets,
            }),
            (None, None) => None,
        }
    }

    /// Returns a number that differs from an earlier one whenever somebody has come or gone since.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn is_present(&self, member: MemberId) -> bool {
        self.people.contains_key(&member)
    }

    /// Returns where a member has left, and how much had been taken of it, if that is remembered.
    pub(super) fn farewell(&self, member: MemberId) -> Option<(Position, u64)> {
        self.departed.get(&member).map(|d| (d.left_at, d.taken))
    }

    /// Returns those who are in, in order of joining.
    pub(super) fn present(&self) -> impl ExactSizeIterator<Item = MemberId> {
        self.people.keys().copied()
    }

    /// Returns those who have joined after that one and are in, in order of joining, `max` at most.
    pub(super) fn members_after(&self, after: Option<MemberId>, max: usize) -> Vec<MemberInfo> {
        let present = |(&member, p): (&MemberId, &Person)| MemberInfo {
            member,
            name: p.name.to_string(),
            present: true,
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.people.range((from, Bound::Unbounded)).map(present).take(max).collect()
    }

    /// Returns those who were in before position `first` and have left since: history from there does not name them.
    pub(super) fn departed_since(&self, first: Position) -> impl Iterator<Item = MemberInfo> {
        let departed = self.departed.iter().filter(move |(_, d)| d.joined_at < first && d.left_at >= first);
        departed.map(|(&member, d)| MemberInfo { member, name: d.name.to_string(), present: false })
    }

    /// Returns the name of a member, present or departed.
    pub(super) fn name_of(&self, member: MemberId) -> Option<&Name> {
        let departed = || self.departed.get(&member).map(|d| &d.name);
        self.people.get(&member).map(|p| &p.name).or_else(departed)
    }

    /// Returns whether somebody here has that name, letter case aside.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let folded = name.to_lowercase();
        let reading = Reading::of(name);
        self.names
            .like(&reading)
            .any(|member| self.people.get(member).is_some_and(|person| person.name.folded() == folded))
    }

    /// Returns the members whose names read like that.
    pub(super) fn like(&self, reading: &Reading) -> impl Iterator<Item = MemberId> {
        self.names.like(reading).copied()
    }

    /// Returns the name of somebody here, other than `besides`, that reads as `reading` does.
    pub(super) fn named_like(&self, reading: &Reading, besides: Option<MemberId>) -> Option<&Name> {
        let mut alike = self.names.like(reading).filter(|member| Some(**member) != besides);
        alike.find_map(|member| self.people.get(member)).map(|person| &person.name)
    }
}
