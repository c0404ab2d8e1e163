//! A room: who is in it, what was said in it, and in which order. A state machine without I/O.
//!
//! The room is itself a process of the group ([`cbcast::Group`], whose host it is): the log is the order in which
//! it delivers. Native members stamp their own messages and send packets; hosted members (of clients that cannot)
//! speak through [`Room::say`]. After every call the log's tail may have moved: readers are cursors on
//! [`Room::log`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cbcast::{
    BroadcastError, Config, Group, Kind, Link, MemberId, MembershipError, Message, MessageId, MissingRange,
    Output, Snapshot, Time, VectorClock,
};
use thiserror::Error;

use crate::body::Body;
use crate::frame::{Limits, MemberInfo, RoomInfo, Secret, Welcome};
use crate::log::{Log, Record};
use crate::text::{Name, NameError, RoomName};

/// When something happens: the caller's monotonic time, and what the wall clock shows, which is for people and
/// orders nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// For timers.
    pub time: Time,
    /// Milliseconds since 1970, for people.
    pub wall_millis: u64,
}

/// What a room allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoomSettings {
    /// Characters of a name. Default 32.
    pub name_chars_max: usize,
    /// Bytes of a text. Default 16 KiB.
    pub text_bytes_max: usize,
    /// Members at once. Default 10,000.
    pub members_max: usize,
    /// How long a member whose connection broke may be away before it is declared left. Default 10 minutes.
    pub grace: Duration,
    /// How many records of history a newcomer gets. Default 50.
    pub history: u64,
    /// Bytes of log that are kept in memory. Default 16 MiB.
    pub log_bytes_max: usize,
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self {
            name_chars_max: 32,
            text_bytes_max: 16 << 10,
            members_max: 10_000,
            grace: Duration::from_secs(600),
            history: 50,
            log_bytes_max: 16 << 20,
        }
    }
}

/// What a packet may have beside the text: stamp and ids. A stamp names at most every member once.
const STAMP_BYTES_MAX: usize = 64 << 10;

impl RoomSettings {
    /// Bytes of the largest frame that a client of such a room sends.
    #[must_use]
    pub const fn frame_bytes_max(&self) -> usize {
        self.text_bytes_max + STAMP_BYTES_MAX
    }
}

/// Somebody who is in the room, or within grace.
#[derive(Debug)]
struct Person {
    name: Name,
    joined_at: u64,
    /// Messages delivered, as counted while the log is written.
    delivered: u64,
    native: Option<Native>,
}

/// What is kept of a member that stamps its own messages.
#[derive(Debug)]
struct Native {
    token: Secret,
    nonce: Secret,
    /// Counts its connections: only the newest speaks for it.
    connection: u64,
    gone_since: Option<Time>,
}

/// What is kept of one that has left.
#[derive(Debug)]
struct Departed {
    name: Name,
    joined_at: u64,
    left_at: u64,
    taken: u64,
    token: Option<Secret>,
}

/// A native connection's right to speak for its member, until it resumes elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seat {
    /// For whom.
    pub member: MemberId,
    connection: u64,
}

/// Why somebody could not join. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// That cannot be a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Somebody here has it, or one that reads the same.
    #[error("the name '{name}' is taken; '{suggestion}' is free")]
    NameTaken {
        /// What was asked for.
        name: Name,
        /// A name that is free.
        suggestion: Name,
    },
    /// No more members fit.
    #[error("the room is full at {limit} members")]
    Full {
        /// [`RoomSettings::members_max`].
        limit: usize,
    },
}

/// Why somebody could not resume. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ResumeError {
    /// There is no such member, or the token is not its.
    #[error("that is not the token of that member")]
    WrongToken,
    /// It has been declared left.
    #[error("the member has left, or was away for too long")]
    Expired {
        /// The greatest number taken of its messages.
        taken: u64,
    },
    /// It knows more than the room does.
    #[error("the client knows messages that this room never had")]
    Diverged,
}

/// Why a message of a native member was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Its number, 0 if it could not be read.
    pub seq: u64,
    /// It can never be taken, and the membership has ended.
    pub is_final: bool,
    /// For people.
    pub reason: String,
}

/// Why a hosted member could not say something. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SayError {
    /// It is not in the room (any more).
    #[error("you are not in this room")]
    NotHere,
    /// The text is longer than allowed.
    #[error("a text has at most {limit} bytes, and this one has {length}")]
    TooLong {
        /// Its length.
        length: usize,
        /// [`RoomSettings::text_bytes_max`].
        limit: usize,
    },
}

/// How a resumed connection goes on.
#[derive(Debug)]
pub enum Resumed {
    /// The log goes on behind the position that was presented.
    Here {
        /// The greatest number taken of the member's messages.
        taken: u64,
    },
    /// The log does not reach back that far: start again from a snapshot.
    Gap(Box<Welcome>),
}

/// Ranges of one repair request that are looked at.
const RANGES_MAX: usize = 64;

/// How many departed members' tokens are remembered in a room, to tell those who come back what was taken.
const DEPARTED_MAX: usize = 4_096;

/// One room.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    epoch: u64,
    settings: RoomSettings,
    group: Group,
    host: MemberId,
    people: BTreeMap<MemberId, Person>,
    /// Who has which name, by its folded form.
    names: BTreeMap<String, MemberId>,
    departed: BTreeMap<MemberId, Departed>,
    departed_order: VecDeque<MemberId>,
    /// Who wants to be declared left once so much of it has been delivered.
    leaving: BTreeMap<MemberId, u64>,
    log: Log,
    /// Vectors of messages delivered per present member, one for each message, if they are wanted.
    vectors: Option<Vec<String>>,
    closed: bool,
    connections: u64,
}

impl Room {
    /// An empty room, admitting as `origin`. `epoch` is fresh randomness that tells its log from any other. With `vectors`, each message leaves its vector for the log
    /// ([`take_vectors`](Self::take_vectors)).
    #[must_use]
    pub fn new(name: RoomName, origin: u32, epoch: u64, settings: RoomSettings, vectors: bool) -> Self {
        let host = MemberId::host(origin);
        let mut config = Config::default();
        config.members_max = settings.members_max + 1;
        config.packet_bytes_max = settings.frame_bytes_max();
        // A client on a link that reorders may be this far out of order.
        config.ahead_max = 1_024;
        config.holdback_bytes_max = 16 << 20;
        Self {
            name,
            epoch,
            group: Group::new(config, &Snapshot::hosts([origin]), [host]),
            host,
            people: BTreeMap::new(),
            names: BTreeMap::new(),
            departed: BTreeMap::new(),
            departed_order: VecDeque::new(),
            leaving: BTreeMap::new(),
            log: Log::new(settings.log_bytes_max),
            settings,
            vectors: vectors.then(Vec::new),
            closed: false,
            connections: 0,
        }
    }

    // Joining and leaving.

    /// A native client becomes a member, or, by its nonce, gets the answer to its join again. `token` is fresh
    /// randomness for the case that a token is needed.
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn join(
        &mut self,
        now: Now,
        name: &str,
        nonce: Secret,
        token: Secret,
        after: Option<u64>,
        epoch: u64,
    ) -> Result<(Seat, Welcome), JoinError> {
        let same = |p: &Person| p.native.as_ref().is_some_and(|n| same_secret(&n.nonce, &nonce));
        let again = self.people.iter().find(|(_, p)| same(p));
        let member = match again.map(|(&member, _)| member) {
            Some(member) => member,
            None => {
                let native = Native { token, nonce, connection: 0, gone_since: None };
                self.admit(now, name, Some(native))?
            }
        };
        let seat = self.seat(member);
        let last = self.log.last();
        let tail = (last + 1).saturating_sub(self.settings.history).max(1);
        let after = after.filter(|&after| after <= last && epoch == self.epoch);
        let wanted = after.map_or(tail, |after| after + 1);
        let first = wanted.max(self.log.first());
        let gap_from = after.filter(|_| wanted < first).map(|_| wanted);
        Ok((seat, self.welcome(member, first, gap_from)))
    }

    /// A member that lives here joins: it speaks through [`say`](Self::say).
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn join_hosted(&mut self, now: Now, name: &str) -> Result<MemberId, JoinError> {
        self.admit(now, name, None)
    }

    fn admit(&mut self, now: Now, name: &str, native: Option<Native>) -> Result<MemberId, JoinError> {
        let max = self.settings.name_chars_max;
        let name = Name::parse(name, max)?;
        if self.names.contains_key(&name.folded()) {
            let suggestion = name.suggestion(max, |n| self.names.contains_key(&n.folded()));
            return Err(JoinError::NameTaken { name, suggestion });
        }
        let hosted = native.is_none();
        let admitted = self.group.admit(now.time, self.host, hosted, name.as_str().as_bytes());
        let member = admitted.map_err(|error| match error {
            MembershipError::Full { limit } => JoinError::Full { limit: limit.saturating_sub(1) },
            other => panic!("the room's host admits: {other}"),
        })?;
        self.names.insert(name.folded(), member);
        let joined_at = self.log.last() + 1;
        self.people.insert(member, Person { name, joined_at, delivered: 0, native });
        self.drain(now);
        Ok(member)
    }

    fn seat(&mut self, member: MemberId) -> Seat {
        self.connections += 1;
        let native = self.people.get_mut(&member).and_then(|p| p.native.as_mut());
        let native = native.expect("only native members have seats");
        native.connection = self.connections;
        native.gone_since = None;
        Seat { member, connection: self.connections }
    }

    fn welcome(&self, member: MemberId, first: u64, gap_from: Option<u64>) -> Welcome {
        let native = self.people[&member].native.as_ref().expect("a native member is welcomed");
        let mut members = self.members();
        // Whoever joined within the history is named by it; who was there before and has left since is not.
        let departed = self.departed.iter().filter(|(_, d)| d.joined_at < first && d.left_at >= first);
        members.extend(departed.map(|(&member, d)| MemberInfo {
            member,
            name: d.name.to_string(),
            present: false,
        }));
        Welcome {
            room: self.name.to_string(),
            created: false,
            member,
            token: native.token,
            epoch: self.epoch,
            position: self.log.last(),
            first,
            gap_from,
            snapshot: self.group.snapshot(),
            members,
            limits: self.limits(),
        }
    }

    /// A native client comes back with its token. The older connection's seat is void from now on.
    ///
    /// # Errors
    /// [`ResumeError`]; nothing changed.
    pub fn resume(
        &mut self,
        member: MemberId,
        token: &Secret,
        epoch: u64,
        position: u64,
        clock: &VectorClock,
    ) -> Result<(Seat, Resumed), ResumeError> {
        let Some(person) = self.people.get(&member) else {
            return match self.departed.get(&member) {
                Some(departed) if departed.token.is_some_and(|t| same_secret(&t, token)) => {
                    Err(ResumeError::Expired { taken: departed.taken })
                }
                _ => Err(ResumeError::WrongToken),
            };
        };
        if !person.native.as_ref().is_some_and(|native| same_secret(&native.token, token)) {
            return Err(ResumeError::WrongToken);
        }
        // What it has delivered came from here, its own messages on their way excepted.
        let knows_more =
            |(m, n): (MemberId, u64)| m != member && n > 0 && !self.group.has_delivered(MessageId::new(m, n));
        if epoch != self.epoch || position > self.log.last() || clock.iter().any(knows_more) {
            return Err(ResumeError::Diverged);
        }
        let seat = self.seat(member);
        let taken = self.group.delivered(member).unwrap_or(0);
        if position + 1 >= self.log.first() {
            return Ok((seat, Resumed::Here { taken }));
        }
        let welcome = self.welcome(member, self.log.first(), Some(position + 1));
        Ok((seat, Resumed::Gap(Box::new(welcome))))
    }

    /// Whether this seat's connection still speaks for its member.
    #[must_use]
    pub fn is_seated(&self, seat: Seat) -> bool {
        let native = self.people.get(&seat.member).and_then(|p| p.native.as_ref());
        native.is_some_and(|n| n.connection == seat.connection)
    }

    /// Whether the member is in the room, or within grace.
    #[must_use]
    pub fn is_present(&self, member: MemberId) -> bool {
        self.people.contains_key(&member)
    }

    /// The connection of a native member is gone: its grace begins.
    pub fn disconnected(&mut self, now: Now, seat: Seat) {
        if self.is_seated(seat) {
            let native = self.people.get_mut(&seat.member).and_then(|p| p.native.as_mut());
            native.expect("seated").gone_since = Some(now.time);
        }
    }

    /// A native member leaves: *Left* is said once everything up to `last_seq` has been delivered, or at the end
    /// of grace.
    pub fn leave(&mut self, now: Now, member: MemberId, last_seq: u64) {
        if self.people.contains_key(&member) {
            self.leaving.insert(member, last_seq);
            self.drain(now);
        }
    }

    /// What the room has taken of a member that has left, if it is remembered.
    #[must_use]
    pub fn taken_of_departed(&self, member: MemberId) -> Option<u64> {
        self.departed.get(&member).map(|d| d.taken)
    }

    /// A member is out at once: a hosted one leaves, or a membership ends.
    pub fn part(&mut self, now: Now, member: MemberId, reason: &str) {
        self.say_left(now, member, reason);
        self.drain(now);
    }

    fn say_left(&mut self, now: Now, member: MemberId, reason: &str) {
        self.leaving.remove(&member);
        let Some(person) = self.people.remove(&member) else { return };
        self.names.remove(&person.name.folded());
        let taken = self.group.delivered(member).unwrap_or(0);
        self.group
            .part(now.time, self.host, member, reason.as_bytes())
            .expect("a present member is parted with");
        let departed = Departed {
            name: person.name,
            joined_at: person.joined_at,
            left_at: self.log.last() + 1,
            taken,
            token: person.native.map(|n| n.token),
        };
        self.departed.insert(member, departed);
        self.departed_order.push_back(member);
        if self.departed_order.len() > DEPARTED_MAX {
            let oldest = self.departed_order.pop_front().expect("not empty");
            self.departed.remove(&oldest);
        }
    }

    // Speaking.

    /// A packet from a native member. From a connection whose seat is void it is dropped: the client sends it again
    /// where it has resumed.
    ///
    /// # Errors
    /// A [`Refusal`]; if it is final the membership has ended.
    pub fn receive(&mut self, now: Now, seat: Seat, packet: Bytes) -> Result<(), Refusal> {
        if !self.is_seated(seat) {
            return Ok(());
        }
        let taken = self.take(now, seat.member, packet);
        if let Err(refusal) = &taken
            && refusal.is_final
        {
            self.part(now, seat.member, &refusal.reason);
        }
        self.drain(now);
        taken
    }

    fn take(&mut self, now: Now, member: MemberId, packet: Bytes) -> Result<(), Refusal> {
        let last = |seq, reason: String| Refusal { seq, is_final: true, reason };
        // A copy, since a held packet would keep the whole read buffer that it came in.
        let message = Message::decode(Bytes::copy_from_slice(&packet)).map_err(|e| last(0, e.to_string()))?;
        let seq = message.id().seq;
        let payload = message.payload();
        if let Err(error) = self.check_text_length(payload.len().saturating_sub(1)) {
            return Err(last(seq, error.to_string()));
        }
        if payload.first() == Some(&1) && Body::decode(&payload).text().is_none() {
            return Err(last(seq, "the text is not UTF-8".into()));
        }
        let handled = self.group.handle_message(now.time, Link::Member(member), message);
        handled.map_err(|e| Refusal { seq, is_final: e.is_final(), reason: e.to_string() })
    }

    fn check_text_length(&self, length: usize) -> Result<(), SayError> {
        let limit = self.settings.text_bytes_max;
        if length > limit { Err(SayError::TooLong { length, limit }) } else { Ok(()) }
    }

    /// A hosted member says something.
    ///
    /// # Errors
    /// [`SayError`]; nothing changed.
    pub fn say(&mut self, now: Now, member: MemberId, text: &str) -> Result<MessageId, SayError> {
        self.check_text_length(text.len())?;
        let payload = Body::Text(text.to_owned()).encode();
        let said = self.group.broadcast(now.time, member, &payload);
        let id = said.map_err(|error| match error {
            BroadcastError::NotLocal { .. } => SayError::NotHere,
            other => panic!("a text within the limit can be broadcast: {other}"),
        })?;
        self.drain(now);
        Ok(id)
    }

    /// Writes what the group has delivered to the log, and says *Left* for those whose time has come.
    fn drain(&mut self, now: Now) {
        loop {
            while let Some(output) = self.group.poll_output() {
                let Output::Deliver { message, .. } = output else { continue };
                self.log.append(now.wall_millis, &message);
                if message.kind() == Kind::Data {
                    if let Some(person) = self.people.get_mut(&message.id().member) {
                        person.delivered = message.id().seq;
                    }
                    let vector = self.vectors.as_ref().map(|_| self.vector());
                    if let (Some(vectors), Some(vector)) = (&mut self.vectors, vector) {
                        vectors.push(vector);
                    }
                }
            }
            let done = |(member, last_seq): (&MemberId, &u64)| {
                self.people.get(member).is_none_or(|p| p.delivered >= *last_seq).then_some(*member)
            };
            match self.leaving.iter().find_map(done) {
                Some(member) => self.say_left(now, member, ""),
                None => break,
            }
        }
        let kept_from = self.log.first();
        self.log.commit();
        if self.log.first() > kept_from {
            let first = self.log.first();
            // Tokens of the departed are remembered for as long as there is room; names need be no longer.
            while let Some(&oldest) = self.departed_order.front() {
                match self.departed.get(&oldest) {
                    Some(d) if d.left_at >= first || d.token.is_some() => break,
                    _ => {
                        self.departed.remove(&oldest);
                        self.departed_order.pop_front();
                    }
                }
            }
        }
    }

    // Repair.

    /// A native member tells its clock. Returns what it has said and has not arrived here.
    pub fn handle_clock(&mut self, now: Now, member: MemberId, clock: &VectorClock) -> Vec<MissingRange> {
        self.group.handle_clock(now.time, Link::Member(member), clock);
        let mut missing = self.group.missing(usize::MAX);
        missing.retain(|range| range.member == member);
        missing.truncate(self.group.config().repair_ranges_max);
        missing
    }

    /// The records of these messages that are kept, oldest first, `max` at most. Of the ranges the first 64 count.
    #[must_use]
    pub fn find(&self, ranges: &[MissingRange], max: usize) -> Vec<Record> {
        let kept = |r: &MissingRange| self.log.positions(r.member, r.from, r.to).take(max);
        let mut positions: Vec<_> = ranges.iter().take(RANGES_MAX).flat_map(kept).take(max).collect();
        positions.sort_unstable();
        positions.dedup();
        positions.into_iter().filter_map(|position| self.log.record(position)).collect()
    }

    // Time.

    /// Declares those left whose grace is over.
    pub fn handle_timeout(&mut self, now: Now) {
        let grace = self.settings.grace;
        let over = |p: &Person| {
            let gone = p.native.as_ref().and_then(|n| n.gone_since);
            gone.is_some_and(|since| since + grace <= now.time)
        };
        let gone: Vec<_> = self.people.iter().filter(|(_, p)| over(p)).map(|(&m, _)| m).collect();
        for member in gone {
            self.part(now, member, "was away for too long");
        }
    }

    /// When somebody's grace ends next. O(members).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let gone = self.people.values().filter_map(|p| p.native.as_ref()?.gone_since);
        gone.min().map(|since| since + self.settings.grace)
    }

    /// Nobody speaks or joins any more; the connections see it and end.
    pub fn close(&mut self) {
        self.closed = true;
    }

    // What there is to know.

    /// Differs from an earlier value whenever a connection may have something to do: the log has grown, a seat
    /// has changed, the room was closed.
    #[must_use]
    pub fn pulse(&self) -> (u64, u64, bool) {
        (self.log.last(), self.connections, self.closed)
    }

    /// Whether the room was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What it has delivered of each member.
    #[must_use]
    pub fn clock(&self) -> VectorClock {
        self.group.clock()
    }

    /// Who is in, in order of joining.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        let present = |(&member, p): (&MemberId, &Person)| MemberInfo {
            member,
            name: p.name.to_string(),
            present: true,
        };
        self.people.iter().map(present).collect()
    }

    /// What a present member is called.
    #[must_use]
    pub fn name_of(&self, member: MemberId) -> Option<&Name> {
        let departed = || self.departed.get(&member).map(|d| &d.name);
        self.people.get(&member).map(|p| &p.name).or_else(departed)
    }

    /// What is told of it in a list.
    #[must_use]
    pub fn info(&self, port: Option<u16>) -> RoomInfo {
        RoomInfo { name: self.name.to_string(), port, members: self.people.len() as u64 }
    }

    /// What it allows, as members are told.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            name_chars: self.settings.name_chars_max as u64,
            text_bytes: self.settings.text_bytes_max as u64,
            frame_bytes: self.settings.frame_bytes_max() as u64,
            grace_millis: u64::try_from(self.settings.grace.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Messages delivered per present member, in order of joining: `[2, 1]`.
    #[must_use]
    pub fn vector(&self) -> String {
        let counts: Vec<_> = self.people.values().map(|p| p.delivered).collect();
        format!("{counts:?}")
    }

    /// The vectors of the messages since the last call, if the room keeps them.
    pub fn take_vectors(&mut self) -> Vec<String> {
        self.vectors.as_mut().map(core::mem::take).unwrap_or_default()
    }
}

/// Compares without telling by the time it takes how much of a guess is right.
fn same_secret(a: &Secret, b: &Secret) -> bool {
    a.iter().zip(b).fold(0, |differ, (x, y)| differ | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Read, records};

    fn room(settings: RoomSettings) -> Room {
        Room::new(RoomName::parse("lobby").unwrap(), 0, 7, settings, true)
    }

    fn at(seconds: u64) -> Now {
        Now { time: Time::from_millis(seconds * 1_000), wall_millis: 0 }
    }

    fn texts(room: &Room) -> Vec<String> {
        let Read::Records { slices, .. } = room.log().read(room.log().first() - 1, usize::MAX) else {
            panic!()
        };
        let all = slices.into_iter().flat_map(records);
        all.map(|r| match r.message.kind() {
            Kind::Joined(_) => format!("+{}", String::from_utf8_lossy(&r.message.payload())),
            Kind::Left { .. } => "-".into(),
            Kind::Data => Body::decode(&r.message.payload()).text().unwrap_or("?").into(),
        })
        .collect()
    }

    /// A native client's side, as little of it as a test needs.
    fn client(welcome: &Welcome) -> Group {
        Group::new(Config::default(), &welcome.snapshot, [welcome.member])
    }

    fn packet(group: &mut Group, member: MemberId, text: &str) -> Bytes {
        group.broadcast(Time::ZERO, member, &Body::Text(text.into()).encode()).unwrap();
        let outputs = std::iter::from_fn(|| group.poll_output());
        let sent = outputs.filter_map(|o| if let Output::Send(m) = o { Some(m) } else { None });
        sent.last().unwrap().into_packet()
    }

    #[test]
    fn the_original_session_gives_the_original_vectors() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Akshat").unwrap();
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        room.say(at(0), ann, "hello").unwrap();
        room.say(at(0), raj, "hi").unwrap();
        room.say(at(0), ann, "bye").unwrap();
        assert_eq!(room.take_vectors(), ["[1, 0]", "[1, 1]", "[2, 1]"]);
        assert_eq!(texts(&room), ["+Akshat", "+Raj", "hello", "hi", "bye"]);
    }

    #[test]
    fn names_are_unique_among_those_present_and_free_again_after() {
        let mut room = room(RoomSettings::default());
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        let Err(JoinError::NameTaken { suggestion, .. }) = room.join_hosted(at(0), " RAJ ") else { panic!() };
        assert_eq!(suggestion.as_str(), "RAJ2");
        room.part(at(0), raj, "");
        room.join_hosted(at(0), "Raj").unwrap();
        assert!(matches!(room.join_hosted(at(0), "a\x1bb"), Err(JoinError::Name(_))));
    }

    #[test]
    fn a_join_repeated_with_its_nonce_is_one_member() {
        let mut room = room(RoomSettings::default());
        let (first, w1) = room.join(at(0), "Raj", [1; 16], [2; 16], None, 0).unwrap();
        let (again, w2) = room.join(at(0), "Raj", [1; 16], [3; 16], None, 0).unwrap();
        assert_eq!((w1.member, w1.token), (w2.member, w2.token));
        assert_eq!(room.members().len(), 1);
        assert!(!room.is_seated(first) && room.is_seated(again));
    }

    #[test]
    fn a_native_member_speaks_resumes_and_leaves() {
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 16], [2; 16], None, 0).unwrap();
        let mut raj = client(&welcome);
        let (one, two) = (packet(&mut raj, seat.member, "one"), packet(&mut raj, seat.member, "two"));
        room.receive(at(0), seat, two.clone()).unwrap();
        assert_eq!(texts(&room), ["+Raj"], "held: its predecessor is missing");
        assert_eq!(
            room.handle_clock(at(0), seat.member, &raj.clock()),
            [MissingRange { member: seat.member, from: 1, to: 1 }]
        );
        room.disconnected(at(0), seat);
        assert!(room.resume(seat.member, &[9; 16], 7, 1, &raj.clock()).is_err(), "wrong token");
        assert_eq!(
            room.resume(seat.member, &[2; 16], 7, 99, &raj.clock()).unwrap_err(),
            ResumeError::Diverged
        );
        let more: VectorClock = [(MemberId::host(0), 9)].into_iter().collect();
        assert_eq!(room.resume(seat.member, &[2; 16], 7, 1, &more).unwrap_err(), ResumeError::Diverged);
        let (seat2, resumed) = room.resume(seat.member, &[2; 16], 7, 1, &raj.clock()).unwrap();
        assert!(matches!(resumed, Resumed::Here { taken: 0 }));
        assert!(!room.is_seated(seat));
        room.receive(at(0), seat, one.clone()).unwrap();
        assert_eq!(texts(&room), ["+Raj"], "what the older connection had left unread is not taken");
        room.leave(at(0), seat2.member, 2);
        assert!(room.is_present(seat2.member), "two messages are still to come");
        room.receive(at(0), seat2, one).unwrap();
        room.receive(at(0), seat2, two).unwrap();
        assert_eq!(texts(&room), ["+Raj", "one", "two", "-"]);
        let late = room.resume(seat.member, &[2; 16], 7, 1, &raj.clock()).unwrap_err();
        assert_eq!(late, ResumeError::Expired { taken: 2 });
    }

    #[test]
    fn grace_ends_with_left() {
        let mut room = room(RoomSettings::default());
        let (seat, _) = room.join(at(0), "Raj", [1; 16], [2; 16], None, 0).unwrap();
        room.disconnected(at(10), seat);
        assert_eq!(room.poll_timeout(), Some(at(610).time));
        room.handle_timeout(at(609));
        assert!(room.is_present(seat.member));
        room.handle_timeout(at(610));
        assert!(!room.is_present(seat.member));
        assert_eq!(room.poll_timeout(), None);
    }

    #[test]
    fn what_can_never_be_taken_ends_that_membership_alone() {
        let mut room = room(RoomSettings::default());
        let eve = room.join_hosted(at(0), "Eve").unwrap();
        for (i, bad) in [
            b"garbage".to_vec(),
            Message::new(MessageId::new(eve, 1), Kind::Data, &[], b"\x01x").unwrap().packet().to_vec(),
        ]
        .into_iter()
        .enumerate()
        {
            let (seat, _) = room.join(at(0), "Raj", [i as u8; 16], [2; 16], None, 0).unwrap();
            let refusal = room.receive(at(0), seat, bad.into()).unwrap_err();
            assert!(refusal.is_final, "{refusal:?}");
            assert!(!room.is_present(seat.member) && room.is_present(eve));
        }
        let (seat, welcome) = room.join(at(0), "Raj", [5; 16], [2; 16], None, 0).unwrap();
        let long = packet(&mut client(&welcome), seat.member, &"x".repeat(20_000));
        assert!(room.receive(at(0), seat, long).unwrap_err().is_final);
        let (seat, _) = room.join(at(0), "Raj", [6; 16], [2; 16], None, 0).unwrap();
        let far = Message::new(MessageId::new(seat.member, 5_000), Kind::Data, &[], b"\x01x").unwrap();
        let refusal = room.receive(at(0), seat, far.into_packet()).unwrap_err();
        assert!(!refusal.is_final && room.is_present(seat.member), "too far ahead: later");
    }

    #[test]
    fn wall_clocks_order_nothing() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        for (wall_millis, member, text) in [(900, ann, "question"), (5, raj, "answer"), (400, ann, "thanks")]
        {
            room.say(Now { time: Time::ZERO, wall_millis }, member, text).unwrap();
        }
        assert_eq!(texts(&room), ["+Ann", "+Raj", "question", "answer", "thanks"]);
    }

    #[test]
    fn a_client_older_than_the_log_gets_a_snapshot_and_the_gap() {
        let mut room = room(RoomSettings { log_bytes_max: 1_000, ..RoomSettings::default() });
        let (seat, welcome) = room.join(at(0), "Raj", [1; 16], [2; 16], None, 0).unwrap();
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        for n in 0..200 {
            room.say(at(0), ann, &n.to_string()).unwrap();
        }
        let (_, resumed) = room.resume(seat.member, &[2; 16], 7, 1, &client(&welcome).clock()).unwrap();
        let Resumed::Gap(again) = resumed else { panic!() };
        assert_eq!((again.gap_from, again.member), (Some(2), seat.member));
        assert_eq!(again.first, room.log().first());
        assert_eq!(again.position, 202);
    }

    #[test]
    fn history_names_those_who_have_left() {
        let mut room = room(RoomSettings { history: 2, ..RoomSettings::default() });
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        room.say(at(0), ann, "hello").unwrap();
        room.part(at(0), ann, "");
        let (_, welcome) = room.join(at(0), "Raj", [1; 16], [2; 16], None, 0).unwrap();
        assert_eq!((welcome.first, welcome.position), (3, 4));
        let names: Vec<_> = welcome.members.iter().map(|m| (&m.name[..], m.present)).collect();
        assert_eq!(names, [("Raj", true), ("Ann", false)]);
    }

    #[test]
    fn lost_messages_are_found_by_id() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        for n in 0..9 {
            room.say(at(0), ann, &n.to_string()).unwrap();
        }
        let range = |from, to| MissingRange { member: ann, from, to };
        let found = room.find(&[range(8, u64::MAX), range(2, 3)], 100);
        assert_eq!(found.iter().map(|r| r.message.id().seq).collect::<Vec<_>>(), [2, 3, 8, 9]);
        assert_eq!(room.find(&[range(1, 9)], 4).len(), 4);
    }
}
