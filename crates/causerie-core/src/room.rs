//! A room: who is in it, what was said in it, and in which order. A state machine without I/O.
//!
//! The room is itself a process of the group ([`cbcast::Group`], whose host it is): the log is the order in which
//! it delivers. Native members stamp their own messages and send packets; hosted members (of clients that cannot)
//! speak through [`Room::say`]. Those who have a token can come back by it within grace, hosted or not.
//!
//! Nothing that happens here may be seen by anybody before it is stored: after every call there may be a
//! [`Batch`] to be taken ([`Room::take_batch`]). What a call answers may be told once the batch that holds its
//! changes ([`Room::changes`]) is stored. [`Room::restore`] makes the same room of what was stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, RangeInclusive};
use std::time::Duration;

use bytes::Bytes;
use cbcast::{
    BroadcastError, Config, ConfigError, Group, HeldMessage, Kind, Link, MemberId, MembershipError, Message,
    MessageId, MissingRange, Output, Snapshot, Time, VectorClock, WireError, message::PACKET_BYTES_MAX,
    wire::Reader, wire::put_varint,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::content::body::{Body, BodyError, changed_by, topic_of, topic_part};
use crate::content::name::{Name, NameError, RoomName};
use crate::content::reading::{Reading, Readings};
use crate::content::text::clipped;
use crate::key::{PublicKey, Secret};
use crate::log::mark::{self, CLIENT_ID_BYTES_MAX};
use crate::log::{Record, Run};
use crate::timeline::standing::LOOKS_MAX;
use crate::wire::{Delivered, Limits, MemberInfo, RoomInfo, Welcome};

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
    /// Bytes of log that are kept in memory; what is older is read from the store. Default 16 MiB.
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

/// Bytes of messages that a room holds back, and of one member's, unless one message alone has more.
const HELD_BYTES_MAX: usize = 16 << 20;
const HELD_BYTES_EACH: usize = 1 << 20;

/// Members that a room can have at all, its host not counted.
pub const MEMBERS_MAX: usize = 65_535;
/// Bytes of a frame from the server: what clients take.
const SERVER_FRAME_BYTES_MAX: usize = 16 << 20;
/// Of these, for what a welcome has beside the members: names of those who have left, above all.
const WELCOME_REST_BYTES: usize = 6 << 20;
/// Bytes of a member in a welcome beside its name: ids, counts, and its place in clock and frontier.
const MEMBER_BYTES: usize = 48;
/// Bytes that a stamp takes for one member: five for an ordinal, seven for a difference of numbers. A member that says a
/// million messages a second needs two years for more.
const DEPENDENCY_BYTES: usize = 12;
/// Bytes of a packet beside dependencies and payload, and of a payload beside its text.
const HEAD_BYTES: usize = 128;
/// Bytes that a payload may have whatever the longest text is: a name, a topic, the reason of a farewell.
const PAYLOAD_BYTES_MIN: usize = 4 << 10;
/// Characters of the reason of a farewell.
const REASON_CHARS_MAX: usize = 500;

/// Why a room cannot be of such settings. Named as the settings of `causerie serve` are.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SettingsError {
    /// More members than a room can have.
    #[error("members-max is {members}: a room has {MEMBERS_MAX} members at most")]
    Members {
        /// [`RoomSettings::members_max`].
        members: usize,
    },
    /// The names of so many members are too long for a newcomer's welcome.
    #[error(
        "members-max is {members} and name-max is {chars}: with names of that length {fit} members fit into a frame"
    )]
    Names {
        /// [`RoomSettings::members_max`].
        members: usize,
        /// [`RoomSettings::name_chars_max`].
        chars: usize,
        /// As many members would do.
        fit: usize,
    },
    /// Text and stamp do not fit into a frame.
    #[error(
        "text-max is {bytes} and members-max is {members}: with as many members {fit} bytes of text fit into a frame"
    )]
    Text {
        /// [`RoomSettings::text_bytes_max`].
        bytes: usize,
        /// [`RoomSettings::members_max`].
        members: usize,
        /// As many bytes would do.
        fit: usize,
    },
}

/// Bytes of the largest packet of a room with so many members.
const fn packet_bytes_max(text_bytes_max: usize, members_max: usize) -> usize {
    let payload = if text_bytes_max > PAYLOAD_BYTES_MIN { text_bytes_max } else { PAYLOAD_BYTES_MIN };
    payload.saturating_add(members_max.saturating_mul(DEPENDENCY_BYTES)).saturating_add(HEAD_BYTES)
}

impl RoomSettings {
    /// Bytes of the largest frame that a client of such a room sends: a stamp names every member once at most.
    #[must_use]
    pub const fn frame_bytes_max(&self) -> usize {
        packet_bytes_max(self.text_bytes_max, self.members_max)
    }

    /// Returns whether all that a room of these settings has to say fits into frames.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        let Self { members_max: members, name_chars_max: chars, text_bytes_max: bytes, .. } = *self;
        if members > MEMBERS_MAX {
            return Err(SettingsError::Members { members });
        }
        let fit = (SERVER_FRAME_BYTES_MAX - WELCOME_REST_BYTES)
            / (chars.saturating_mul(4).saturating_add(MEMBER_BYTES));
        if members > fit {
            return Err(SettingsError::Names { members, chars, fit });
        }
        let fit = SERVER_FRAME_BYTES_MAX - packet_bytes_max(0, members) - HEAD_BYTES;
        if bytes > fit {
            return Err(SettingsError::Text { bytes, members, fit });
        }
        Ok(())
    }
}

/// Somebody who is in the room, or within grace.
#[derive(Debug)]
struct Person {
    name: Name,
    joined_at: u64,
    /// Messages delivered, as counted while the log is written.
    delivered: u64,
    pass: Option<Pass>,
}

/// What is kept of a member that can come back.
#[derive(Debug)]
struct Pass {
    secrets: Secrets,
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
    secrets: Option<Secrets>,
}

/// By what a member is known again. Nothing with which who reads the store could speak for anybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Secrets {
    /// The public key of a member that stamps its own messages.
    Key(PublicKey),
    /// Of a member that lives here, SHA-256 hashes.
    Bearer {
        /// Of its token.
        token: [u8; 32],
        /// Of the nonce of its join.
        nonce: [u8; 32],
    },
}

impl Secrets {
    fn is_hosted(self) -> bool {
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

fn hash(secret: &Secret) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// What is stored of a member, present or departed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberRecord {
    /// Who.
    pub member: MemberId,
    /// What it is called.
    pub name: String,
    /// The position of its *Joined*.
    pub joined_at: u64,
    /// The position of its *Left*, if it has left.
    pub left_at: Option<u64>,
    /// Once it has left: how many of its messages were taken.
    pub taken: u64,
    /// Of a member that can come back.
    pub secrets: Option<Secrets>,
}

/// What has changed since the last batch, to be stored as a whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// The records behind those of the batch before.
    pub records: Option<Run>,
    /// Members that are new, or of whom something has changed.
    pub members: Vec<MemberRecord>,
    /// Names of records, of this batch or of one before ([`crate::log::mark`]).
    pub marks: Vec<(Vec<u8>, u64)>,
    /// The state of the group after the last of the records, now and then: [`Room::restore`] begins there.
    pub checkpoint: Option<(u64, Bytes)>,
    /// [`Room::changes`] when it was taken.
    pub changes: u64,
}

/// What was stored of a room.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its name.
    pub name: RoomName,
    /// What tells its log from any other.
    pub epoch: u64,
    /// The last checkpoint.
    pub checkpoint: Option<(u64, Bytes)>,
    /// Everybody who is in, and as many of the departed as are to be remembered, in order of leaving.
    pub members: Vec<MemberRecord>,
    /// The first record that is kept.
    pub first: u64,
    /// The last record.
    pub last: u64,
    /// The room's topic, if it was ever set ([`mark::TOPIC`]).
    pub topic: Option<Topic>,
}

/// Words on what a room is about.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Topic {
    /// The words; empty if it was taken away.
    pub text: String,
    /// The name of the member that set it.
    pub by: String,
    /// When that was, in milliseconds since 1970, for people.
    pub at_millis: u64,
    /// The message that set it, and the edits of it.
    pub said: BTreeSet<MessageId>,
}

/// A log that a room had before it [began anew](Room::renew): up to `last` it is the same as the present one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Former {
    epoch: u64,
    last: u64,
}

/// So many are remembered; whoever knows only an older one starts with the tail of history.
const FORMER_MAX: usize = 64;

/// So many origins a room has had at most that are still known: a message refers to older ones no more.
const ORIGINS_MAX: usize = 200;

/// What a checkpoint says: `snapshot [ epoch former{ epoch last } ]`, the latter where the room has begun anew.
struct State {
    snapshot: Snapshot,
    epoch: u64,
    former: Vec<Former>,
}

impl State {
    fn decode(state: &[u8], epoch: u64) -> Result<Self, WireError> {
        let reader = &mut Reader::new(state);
        let snapshot = Snapshot::decode(reader)?;
        if reader.position() == state.len() {
            return Ok(Self { snapshot, epoch, former: Vec::new() });
        }
        let epoch = reader.varint()?;
        let mut former = Vec::new();
        for _ in 0..reader.varint()? {
            former.push(Former { epoch: reader.varint()?, last: reader.varint()? });
        }
        Ok(Self { snapshot, epoch, former })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.snapshot.encode(&mut out);
        if !self.former.is_empty() {
            put_varint(&mut out, self.epoch);
            put_varint(&mut out, self.former.len() as u64);
            for former in &self.former {
                put_varint(&mut out, former.epoch);
                put_varint(&mut out, former.last);
            }
        }
        out
    }

    /// Who admits.
    fn host(&self) -> Option<MemberId> {
        let mut hosts = self.snapshot.clock.iter().map(|(member, _)| member).filter(|m| m.is_host());
        hosts.next().filter(|_| hosts.next().is_none())
    }
}

/// What a room that begins anew must never have had: both are fresh randomness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Anew {
    /// As whom it admits from now on, so that no id is given out twice.
    pub origin: u32,
    /// What tells its log from what others may have seen of it.
    pub epoch: u64,
}

/// Why a room cannot be made of what was stored.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RestoreError {
    /// The checkpoint cannot be read.
    #[error("the state of the room cannot be read: {0}")]
    Checkpoint(#[from] WireError),
    /// The checkpoint has more members than a room can have.
    #[error("the state of the room cannot be: {0}")]
    Group(#[from] ConfigError),
    /// The checkpoint does not say who admits.
    #[error("the state of the room has no host")]
    NoHost,
    /// Somebody is in of whom the log says nothing.
    #[error("the log does not say how {member} came in")]
    Member {
        /// Who.
        member: MemberId,
    },
    /// A record does not follow from those before it.
    #[error("the record at position {position} does not fit to those before it")]
    Record {
        /// Where it stands.
        position: u64,
    },
}

/// So many records are read again at most when a room is restored.
const CHECKPOINT_EVERY: u64 = 4_096;

/// A connection's right to speak for its member, until it resumes elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seat {
    /// For whom.
    pub member: MemberId,
    connection: u64,
}

/// Why somebody could not join. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum JoinError {
    /// That cannot be a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Somebody here has it, or one that reads the same ([`Reading`]).
    #[error("{}; '{suggestion}' is free", taken(.name, .like))]
    NameTaken {
        /// What was asked for.
        name: Name,
        /// The name that somebody has.
        like: Name,
        /// A name that is free.
        suggestion: Name,
    },
    /// No more members fit.
    #[error("the room is full at {limit} members")]
    Full {
        /// [`RoomSettings::members_max`].
        limit: usize,
    },
    /// Nothing can be stored at the moment.
    #[error("no room left to store messages, so nobody can join at the moment; try again later")]
    StorageFull,
    /// The room's host cannot say so.
    #[error("nobody can be let in: {0}")]
    NotSaid(MembershipError),
}

/// Tells that `name` cannot be had beside `like`.
fn taken(name: &Name, like: &Name) -> String {
    if name.same_as(like) {
        format!("the name '{name}' is taken")
    } else {
        format!("the name '{name}' reads like '{like}', who is here")
    }
}

/// Why somebody could not resume. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ResumeError {
    /// There is no such member, or the token is not its.
    #[error("that is not the token of that member")]
    WrongToken,
    /// There is no such member, or the key is not its.
    #[error("that is not the key of that member")]
    WrongKey,
    /// It has been declared left.
    #[error("the member has left, or was away for too long")]
    Expired {
        /// The greatest number taken of its messages.
        taken: u64,
    },
    /// It knows more than the room does. Its membership is over.
    #[error("this server lacks messages that you have seen: it was restored from an older copy")]
    Diverged {
        /// The greatest number taken of its messages.
        taken: u64,
    },
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
pub enum SayError {
    /// It is not in the room (any more).
    #[error("you are not in this room")]
    NotHere,
    /// It is too long, or may not be said by this member.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Its packet cannot be made.
    #[error(transparent)]
    Packet(BroadcastError),
    /// That cannot be a client's id.
    #[error("an id has 1 to {CLIENT_ID_BYTES_MAX} characters, all of them visible ASCII")]
    ClientId,
    /// Nothing can be stored at the moment.
    #[error("no room left to store messages, so this was not said; try again later")]
    StorageFull,
}

/// What was said with an id of the client's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SaidOnce {
    /// Which message it is.
    pub id: MessageId,
    /// Where it stands.
    pub position: u64,
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

/// How many departed members' tokens are remembered in a room, to tell those who come back what was taken.
const DEPARTED_MAX: usize = 4_096;

/// What has happened in a room since the process has it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Messages that took their place in the log, *Joined* and *Left* among them.
    pub delivered: u64,
    /// Messages that had to be held back.
    pub held: u64,
    /// Copies of messages that were there already.
    pub duplicates: u64,
    /// Messages that could not be taken.
    pub refused: u64,
    /// Members that joined.
    pub joined: u64,
    /// Members that left.
    pub left: u64,
    /// Members that came back.
    pub resumed: u64,
    /// Resumes that were refused.
    pub resumes_refused: u64,
}

/// So many ids of clients are remembered in a room; the store knows them all.
const ONCE_MAX: usize = 4_096;

/// One room.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    epoch: u64,
    former: Vec<Former>,
    settings: RoomSettings,
    group: Group,
    host: MemberId,
    people: BTreeMap<MemberId, Person>,
    /// Names in use.
    names: Readings<MemberId>,
    departed: BTreeMap<MemberId, Departed>,
    departed_order: VecDeque<MemberId>,
    /// Who wants to be declared left once so much of it has been delivered.
    leaving: BTreeMap<MemberId, u64>,
    /// Of the last record.
    position: u64,
    /// The first record that can be read, and stretches behind it that cannot.
    first: u64,
    gaps: Vec<RangeInclusive<u64>>,
    /// What is to be stored.
    pending: Pending,
    changes: u64,
    checkpoint_at: u64,
    /// Vectors of messages delivered per present member, one for each message, if they are wanted.
    vectors: Option<Vec<String>>,
    closed: bool,
    /// Nobody joins, and the server says nothing for anybody.
    storage_full: bool,
    /// Counts what makes seats void, new connections among it.
    seatings: u64,
    /// Number of times that somebody has come or gone.
    rosters: u64,
    /// The last that were said with ids of their clients, by their marks, in that order, and how many were forgotten.
    once: BTreeMap<Vec<u8>, SaidOnce>,
    once_order: VecDeque<Vec<u8>>,
    once_forgotten: u64,
    topic: Option<Topic>,
    counts: Counts,
    /// For how long messages were held that have been delivered since somebody asked.
    held_for: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    records: u64,
    members: BTreeMap<MemberId, MemberRecord>,
    marks: Vec<(Vec<u8>, u64)>,
    checkpoint: bool,
}

impl Room {
    /// An empty room, admitting as `origin`. `epoch` is fresh randomness that tells its log from any other. With
    /// `vectors`, each message leaves its vector for the log ([`take_vectors`](Self::take_vectors)).
    #[must_use]
    pub fn new(name: RoomName, origin: u32, epoch: u64, settings: RoomSettings, vectors: bool) -> Self {
        let snapshot = Snapshot::hosts([origin]);
        let room = Self::at(name, &snapshot, MemberId::host(origin), epoch, settings, vectors);
        let mut room = room.expect("one host, and limits that can be");
        // That there is such a room.
        room.changes = 1;
        room
    }

    fn at(
        name: RoomName,
        snapshot: &Snapshot,
        host: MemberId,
        epoch: u64,
        settings: RoomSettings,
        vectors: bool,
    ) -> Result<Self, ConfigError> {
        let mut config = Config::relay();
        // Also of rooms that were made when more members were allowed. How many may join the room itself decides.
        config.members_max = MEMBERS_MAX + 1;
        config.packet_bytes_max =
            packet_bytes_max(settings.text_bytes_max, MEMBERS_MAX).min(PACKET_BYTES_MAX);
        // A client on a link that reorders may be this far out of order.
        config.ahead_max = 1_024;
        config.holdback_bytes_max = HELD_BYTES_MAX;
        config.ahead_bytes_max = HELD_BYTES_EACH.max(config.packet_bytes_max);
        let group = Group::new(config, snapshot, [host])?;
        Ok(Self {
            name,
            epoch,
            former: Vec::new(),
            group,
            host,
            people: BTreeMap::new(),
            names: Readings::default(),
            departed: BTreeMap::new(),
            departed_order: VecDeque::new(),
            leaving: BTreeMap::new(),
            position: 0,
            first: 1,
            gaps: Vec::new(),
            pending: Pending::default(),
            changes: 0,
            checkpoint_at: 0,
            settings,
            vectors: vectors.then(Vec::new),
            closed: false,
            storage_full: false,
            seatings: 0,
            rosters: 0,
            once: BTreeMap::new(),
            once_order: VecDeque::new(),
            once_forgotten: 0,
            topic: None,
            counts: Counts::default(),
            held_for: Vec::new(),
        })
    }

    /// The room that was stored, with nobody connected: the grace of those who can come back begins now, and the
    /// others, whose connections were all that they were, are declared left. `records` are those behind the checkpoint, in order.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(
        now: Now,
        origin: u32,
        stored: Stored,
        records: impl IntoIterator<Item = Record>,
        settings: RoomSettings,
        vectors: bool,
    ) -> Result<Self, RestoreError> {
        let (position, state) = match &stored.checkpoint {
            Some((position, state)) => (*position, State::decode(state, stored.epoch)?),
            None => {
                let snapshot = Snapshot::hosts([origin]);
                (0, State { snapshot, epoch: stored.epoch, former: Vec::new() })
            }
        };
        let host = state.host().ok_or(RestoreError::NoHost)?;
        let mut room = Self::at(stored.name, &state.snapshot, host, state.epoch, settings, vectors)?;
        (room.position, room.checkpoint_at, room.first) = (position, position, stored.first);
        room.former = state.former;
        room.topic = stored.topic;
        for Record { position, message, .. } in records {
            let id = message.id();
            let fits = position == room.position + 1
                && match id.member == host {
                    true => room.group.readopt(now.time, message),
                    false => room.group.handle_message(now.time, Link::Relay, message).is_ok(),
                };
            while room.group.poll_output().is_some() {}
            if !fits || !room.group.has_delivered(id) {
                return Err(RestoreError::Record { position });
            }
            room.position = position;
        }
        let (mut hosted, mut gone) = (Vec::new(), Vec::new());
        for record in stored.members {
            let MemberRecord { member, name, joined_at, left_at, taken, secrets } = record;
            let name = Name::known(&name);
            if let Some(left_at) = left_at {
                room.remember(member, Departed { name, joined_at, left_at, taken, secrets });
                continue;
            }
            let pass = secrets.map(|secrets| Pass { secrets, connection: 0, gone_since: Some(now.time) });
            match secrets {
                None => gone.push(member),
                Some(secrets) if secrets.is_hosted() => hosted.push(member),
                Some(_) => {}
            }
            let delivered = room.group.delivered(member).filter(|_| !member.is_host());
            let delivered = delivered.ok_or(RestoreError::Member { member })?;
            room.names.insert(name.as_str(), &member);
            room.people.insert(member, Person { name, joined_at, delivered, pass });
        }
        // Of those who speak through here.
        if !hosted.is_empty() {
            let config = room.group.config().clone();
            room.group = Group::new(config, &room.group.snapshot(), hosted.into_iter().chain([host]))?;
        }
        for member in gone {
            room.part(now, member, "the server was restarted");
        }
        let nobody = |m: &MemberId| !m.is_host() && !room.people.contains_key(m);
        let lost: Vec<_> = room.group.clock().iter().map(|(m, _)| m).filter(nobody).collect();
        for member in lost {
            let parted = room.group.part(now.time, host, member, b"what was kept of this member is damaged");
            parted.map_err(|_| RestoreError::Member { member })?;
        }
        room.drain(now);
        Ok(room)
    }

    /// The room that was stored, behind its last record, where the state at that record cannot be known or others may
    /// have seen another continuation: a copy was put in place, or a part of the log cannot be read. Nobody is in: all
    /// memberships are over, of everybody so much is `taken`, and whoever comes back joins as a new member, of another
    /// origin, so that no id is ever given out twice. Where they knew the log up to now, they go on from there.
    #[must_use]
    pub fn renew(
        anew: Anew,
        stored: Stored,
        taken: &BTreeMap<MemberId, u64>,
        settings: RoomSettings,
        vectors: bool,
    ) -> Self {
        let Anew { origin, epoch } = anew;
        let checkpoint = stored.checkpoint.as_ref();
        let state = checkpoint.and_then(|(_, state)| State::decode(state, stored.epoch).ok());
        let known = state.is_some();
        let State { mut snapshot, epoch: before, mut former } =
            state.unwrap_or(State { snapshot: Snapshot::default(), epoch: stored.epoch, former: Vec::new() });
        let of_members = stored.members.iter().map(|m| m.member).chain(taken.keys().copied());
        let of_state = snapshot.next_ordinals.iter().map(|&(origin, _)| origin);
        let mut origins: BTreeSet<u32> = of_members.map(|member| member.origin).chain(of_state).collect();
        // Without its state it is not known whether it has begun anew before, and with which epoch.
        if known || origins.len() <= 1 {
            former.push(Former { epoch: before, last: stored.last });
        }
        former.drain(..former.len().saturating_sub(FORMER_MAX));
        while origins.len() >= ORIGINS_MAX {
            origins.pop_first();
        }
        let counted = snapshot.clock;
        // How many they have admitted is not known, and none is admitted again.
        snapshot = Snapshot::hosts([origin]);
        snapshot.next_ordinals.extend(origins.into_iter().map(|origin| (origin, u32::MAX)));
        snapshot.next_ordinals.sort_unstable();
        let room = Self::at(stored.name, &snapshot, MemberId::host(origin), epoch, settings, vectors);
        let mut room = room.expect("one host, few origins, and limits that can be");
        (room.position, room.checkpoint_at, room.first) = (stored.last, stored.last, stored.first);
        room.former = former;
        room.topic = stored.topic;
        room.pending.checkpoint = true;
        room.changes = 1;
        for MemberRecord { member, name, joined_at, left_at, taken: before, secrets } in stored.members {
            let name = Name::known(&name);
            let taken = before.max(counted.get(member)).max(taken.get(&member).copied().unwrap_or(0));
            let here = left_at.is_none();
            let left_at = left_at.unwrap_or(stored.last);
            room.remember(member, Departed { name, joined_at, left_at, taken, secrets });
            if here {
                room.note_member(member);
            }
        }
        room
    }

    /// Up to where the log that had this epoch is the present one.
    fn shared(&self, epoch: u64) -> Option<u64> {
        let former = || self.former.iter().find(|former| former.epoch == epoch).map(|former| former.last);
        if epoch == self.epoch { Some(self.position) } else { former() }
    }

    /// Sets whether nothing can be stored at the moment. Then nobody joins and nothing is said by hosted members; what native
    /// members say is taken, and waits.
    pub const fn set_storage_full(&mut self, full: bool) {
        self.storage_full = full;
    }

    // Joining and leaving.

    /// A native client becomes a member, or, by its key, gets the answer to its join again. The caller has seen the
    /// [proof](crate::key::Proof) of the key.
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn join(
        &mut self,
        now: Now,
        name: &str,
        key: PublicKey,
        after: Option<u64>,
        epoch: u64,
    ) -> Result<(Seat, Welcome), JoinError> {
        let member = self.admit_returning(now, name, Secrets::Key(key))?;
        let seat = self.seat(member);
        let last = self.position;
        let tail = (last + 1).saturating_sub(self.settings.history).max(1);
        let shared = after.and_then(|_| self.shared(epoch));
        let after = after.and_then(|after| Some(after.min(shared?)));
        let wanted = after.map_or(tail, |after| after + 1);
        let first = self.readable_from(wanted);
        let gap_from = after.filter(|_| wanted < first).map(|_| wanted);
        Ok((seat, Welcome { shared, ..self.welcome(member, first, gap_from) }))
    }

    /// Admits a member that can come back, or finds the one that this join has admitted before.
    fn admit_returning(&mut self, now: Now, name: &str, secrets: Secrets) -> Result<MemberId, JoinError> {
        if self.storage_full {
            return Err(JoinError::StorageFull);
        }
        let passes = self.people.iter_mut().filter_map(|(&member, p)| Some((member, p.pass.as_mut()?)));
        let Some((member, pass)) = passes.into_iter().find(|(_, pass)| pass.secrets.is_same_join(secrets))
        else {
            return self.admit(now, name, Some(Pass { secrets, connection: 0, gone_since: Some(now.time) }));
        };
        if pass.secrets != secrets {
            // The token of an answer that has not come is void.
            pass.secrets = secrets;
            self.note_member(member);
        }
        Ok(member)
    }

    /// A member that lives here joins, and can come back with its token: it speaks through [`say`](Self::say), and
    /// its grace begins now. Repeated with the same nonce it gets the same member, with another token: who repeats a join
    /// has not got the first one. `token` is fresh randomness.
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn join_returning(
        &mut self,
        now: Now,
        name: &str,
        nonce: Secret,
        token: Secret,
    ) -> Result<MemberId, JoinError> {
        self.admit_returning(now, name, Secrets::Bearer { token: hash(&token), nonce: hash(&nonce) })
    }

    /// Whether this is the token of that member, who lives here: a sign of life, so that its grace begins anew.
    ///
    /// # Errors
    /// [`ResumeError`]; nothing changed.
    pub fn authorize(&mut self, now: Now, member: MemberId, token: &Secret) -> Result<(), ResumeError> {
        self.check_token(member, token)?;
        let pass = self.people.get_mut(&member).and_then(|p| p.pass.as_mut());
        if let Some(since) = pass.and_then(|pass| pass.gone_since.as_mut()) {
            *since = now.time;
        }
        Ok(())
    }

    /// A connection speaks for that member, who lives here, from now on; an older connection's seat is void.
    ///
    /// # Errors
    /// [`ResumeError`]; nothing changed.
    pub fn take_seat(&mut self, member: MemberId, token: &Secret) -> Result<Seat, ResumeError> {
        let checked = self.check_token(member, token);
        match &checked {
            Ok(()) => self.counts.resumed += 1,
            Err(_) => self.counts.resumes_refused += 1,
        }
        checked.map(|()| self.seat(member))
    }

    fn check_token(&self, member: MemberId, given: &Secret) -> Result<(), ResumeError> {
        let given = hash(given);
        let has = |secrets| matches!(secrets, Secrets::Bearer { token, .. } if token == given);
        self.check_secrets(member, has, ResumeError::WrongToken)
    }

    fn check_secrets(
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

    /// A member that lives here joins, for as long as its connection: it speaks through [`say`](Self::say).
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn join_hosted(&mut self, now: Now, name: &str) -> Result<MemberId, JoinError> {
        self.admit(now, name, None)
    }

    /// Returns the name under which somebody could join now.
    ///
    /// # Errors
    /// [`JoinError`], as joining would return.
    pub fn could_admit(&self, name: &str) -> Result<Name, JoinError> {
        if self.storage_full {
            return Err(JoinError::StorageFull);
        }
        let max = self.settings.name_chars_max;
        let name = Name::parse(name, max)?;
        if let Some(like) = self.named_like(&Reading::of(name.as_str()), None) {
            let like = like.clone();
            let suggestion =
                name.suggestion(max, |other| self.named_like(&Reading::of(other.as_str()), None).is_some());
            return Err(JoinError::NameTaken { name, like, suggestion });
        }
        if self.people.len() >= self.settings.members_max {
            return Err(JoinError::Full { limit: self.settings.members_max });
        }
        Ok(name)
    }

    fn admit(&mut self, now: Now, name: &str, pass: Option<Pass>) -> Result<MemberId, JoinError> {
        let name = self.could_admit(name)?;
        let hosted = pass.as_ref().is_none_or(|pass| pass.secrets.is_hosted());
        let admitted = self.group.admit(now.time, self.host, hosted, name.as_str().as_bytes());
        let member = admitted.map_err(|error| match error {
            MembershipError::Full { limit } => JoinError::Full { limit: limit.saturating_sub(1) },
            other => JoinError::NotSaid(other),
        })?;
        self.names.insert(name.as_str(), &member);
        let joined_at = self.position + 1;
        self.people.insert(member, Person { name, joined_at, delivered: 0, pass });
        self.rosters += 1;
        self.note_member(member);
        self.counts.joined += 1;
        self.drain(now);
        Ok(member)
    }

    fn seat(&mut self, member: MemberId) -> Seat {
        self.seatings += 1;
        if let Some(pass) = self.people.get_mut(&member).and_then(|p| p.pass.as_mut()) {
            pass.connection = self.seatings;
            pass.gone_since = None;
        }
        // What came by an older connection it sends again.
        self.group.discard_ahead(member);
        Seat { member, connection: self.seatings }
    }

    /// The first position from `wanted` on that can be read.
    fn readable_from(&self, wanted: u64) -> u64 {
        let from = wanted.max(self.first);
        let gap = self.gaps.iter().find(|gap| gap.contains(&from));
        gap.map_or(from, |gap| gap.end() + 1)
    }

    fn welcome(&self, member: MemberId, first: u64, gap_from: Option<u64>) -> Welcome {
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
            epoch: self.epoch,
            position: self.position,
            first,
            gap_from,
            snapshot: self.group.snapshot(),
            members,
            limits: self.limits(),
            shared: gap_from.map(|from| from - 1),
        }
    }

    /// A native client comes back with its key, whose proof the caller has seen. The older connection's seat is void
    /// from now on.
    ///
    /// # Errors
    /// [`ResumeError`]. Nothing changed, except that a membership that has diverged is over.
    pub fn resume(
        &mut self,
        now: Now,
        member: MemberId,
        key: PublicKey,
        epoch: u64,
        position: u64,
        clock: &VectorClock,
    ) -> Result<(Seat, Resumed), ResumeError> {
        let resumed = self.resume_checked(now, member, key, epoch, position, clock);
        match &resumed {
            Ok(_) => self.counts.resumed += 1,
            Err(_) => self.counts.resumes_refused += 1,
        }
        resumed
    }

    fn resume_checked(
        &mut self,
        now: Now,
        member: MemberId,
        key: PublicKey,
        epoch: u64,
        position: u64,
        clock: &VectorClock,
    ) -> Result<(Seat, Resumed), ResumeError> {
        let has = |secrets| secrets == Secrets::Key(key);
        self.check_secrets(member, has, ResumeError::WrongKey).map_err(|error| match error {
            ResumeError::Expired { taken } if self.shared(epoch).is_none_or(|last| position > last) => {
                ResumeError::Diverged { taken }
            }
            error => error,
        })?;
        // What it has delivered came from here, its own messages on their way excepted.
        let knows_more =
            |(m, n): (MemberId, u64)| m != member && n > 0 && !self.group.has_delivered(MessageId::new(m, n));
        if epoch != self.epoch || position > self.position || clock.iter().any(knows_more) {
            let taken = self.group.delivered(member).unwrap_or(0);
            self.part(now, member, "has seen what this server does not have");
            return Err(ResumeError::Diverged { taken });
        }
        let seat = self.seat(member);
        let taken = self.group.delivered(member).unwrap_or(0);
        let first = self.readable_from(position + 1);
        if first == position + 1 {
            return Ok((seat, Resumed::Here { taken }));
        }
        let welcome = self.welcome(member, first, Some(position + 1));
        Ok((seat, Resumed::Gap(Box::new(welcome))))
    }

    /// Whether this seat's connection still speaks for its member.
    #[must_use]
    pub fn is_seated(&self, seat: Seat) -> bool {
        let pass = self.people.get(&seat.member).and_then(|p| p.pass.as_ref());
        pass.is_some_and(|pass| pass.connection == seat.connection)
    }

    /// Whether the member is in the room, or within grace.
    #[must_use]
    pub fn is_present(&self, member: MemberId) -> bool {
        self.people.contains_key(&member)
    }

    /// The connection of a member that can come back is gone: its grace begins. What is held of it goes, as the client sends
    /// again what has not come back to it.
    pub fn disconnected(&mut self, now: Now, seat: Seat) {
        let pass = self.people.get_mut(&seat.member).and_then(|p| p.pass.as_mut());
        if let Some(pass) = pass.filter(|pass| pass.connection == seat.connection) {
            pass.gone_since = Some(now.time);
            self.group.discard_ahead(seat.member);
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

    /// Where a member has left, and how much had been taken of it, if that is remembered.
    #[must_use]
    pub fn farewell(&self, member: MemberId) -> Option<(u64, u64)> {
        self.departed.get(&member).map(|d| (d.left_at, d.taken))
    }

    /// A hosted member goes on under another name. In a room a name is for life, so it is another member from then on; the
    /// records of the two stand side by side.
    ///
    /// # Errors
    /// [`JoinError`]; nothing changed.
    pub fn rename_hosted(
        &mut self,
        now: Now,
        member: MemberId,
        name: &str,
        reason: &str,
    ) -> Result<MemberId, JoinError> {
        Name::parse(name, self.settings.name_chars_max)?;
        // What reads the same as its own name, and as no other, can come only once that one has gone.
        let alike: Vec<_> = self.names.like(&Reading::of(name)).copied().collect();
        let is_in_its_way = !alike.is_empty() && alike.iter().all(|holder| *holder == member);
        if is_in_its_way {
            self.part(now, member, reason);
        }
        let next = self.admit(now, name, None)?;
        if !is_in_its_way {
            self.part(now, member, reason);
        }
        Ok(next)
    }

    /// A member is out at once: a hosted one leaves, or a membership ends.
    pub fn part(&mut self, now: Now, member: MemberId, reason: &str) {
        self.say_left(now, member, reason);
        self.drain(now);
    }

    fn say_left(&mut self, now: Now, member: MemberId, reason: &str) {
        self.leaving.remove(&member);
        if !self.people.contains_key(&member) {
            return;
        }
        let taken = self.group.delivered(member).unwrap_or(0);
        let mut reason = reason.to_owned();
        clipped(&mut reason, REASON_CHARS_MAX);
        if let Err(MembershipError::Broadcast(_)) =
            self.group.part(now.time, self.host, member, reason.as_bytes())
        {
            // It cannot be said, so it is not so. Packets are as large as settings that were checked need them.
            return;
        }
        let Some(person) = self.people.remove(&member) else { return };
        self.counts.left += 1;
        self.seatings += 1;
        self.rosters += 1;
        self.names.remove(person.name.as_str(), &member);
        let departed = Departed {
            name: person.name,
            joined_at: person.joined_at,
            left_at: self.position + 1,
            taken,
            secrets: person.pass.map(|pass| pass.secrets),
        };
        self.remember(member, departed);
        self.note_member(member);
    }

    fn remember(&mut self, member: MemberId, departed: Departed) {
        self.departed.insert(member, departed);
        self.departed_order.push_back(member);
        if self.departed_order.len() > DEPARTED_MAX
            && let Some(oldest) = self.departed_order.pop_front()
        {
            self.departed.remove(&oldest);
        }
    }

    /// What is known of a member is to be stored.
    fn note_member(&mut self, member: MemberId) {
        let record = match (self.people.get(&member), self.departed.get(&member)) {
            (Some(p), _) => MemberRecord {
                member,
                name: p.name.to_string(),
                joined_at: p.joined_at,
                left_at: None,
                taken: 0,
                secrets: p.pass.as_ref().map(|pass| pass.secrets),
            },
            (None, Some(d)) => MemberRecord {
                member,
                name: d.name.to_string(),
                joined_at: d.joined_at,
                left_at: Some(d.left_at),
                taken: d.taken,
                secrets: d.secrets,
            },
            (None, None) => return,
        };
        self.pending.members.insert(member, record);
        self.changes += 1;
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
        let message = Message::decode(packet).map_err(|e| last(0, e.to_string()))?;
        let seq = message.id().seq;
        if message.is_data() && message.kind() != Kind::Data {
            self.counts.refused += 1;
            return Err(last(seq, "signed messages are not taken here yet".to_owned()));
        }
        let body = Body::try_decode(&message.payload());
        if let Err(error) = body.and_then(|body| self.check_body(message.id(), &body)) {
            self.counts.refused += 1;
            return Err(last(seq, error.to_string()));
        }
        let handled = self.group.handle_message(now.time, Link::Member(member), message);
        handled.map_err(|e| Refusal { seq, is_final: e.is_final(), reason: e.to_string() })
    }

    /// What is to become the message `id` fits, and refers to nothing that comes behind it in the log: a member has
    /// seen through here only what was delivered here, and its own messages come in their order.
    fn check_body(&self, id: MessageId, body: &Body) -> Result<(), BodyError> {
        body.check(id.member, self.settings.text_bytes_max)?;
        let before = |target: MessageId| match target.member == id.member {
            true => (1..id.seq).contains(&target.seq),
            false => self.group.has_delivered(target),
        };
        match body.target() {
            Some(target) if !before(target) => Err(BodyError::NoSuchMessage { target }),
            _ => Ok(()),
        }
    }

    /// A hosted member says something.
    ///
    /// # Errors
    /// [`SayError`]; nothing changed.
    pub fn say(&mut self, now: Now, member: MemberId, body: &Body) -> Result<MessageId, SayError> {
        let said = self.group.delivered(member).ok_or(SayError::NotHere)?;
        if self.storage_full {
            return Err(SayError::StorageFull);
        }
        self.check_body(MessageId::new(member, said + 1), body)?;
        let said = self.group.broadcast(now.time, member, &body.encode());
        let id = said.map_err(|error| match error {
            BroadcastError::NotLocal { .. } => SayError::NotHere,
            other => SayError::Packet(other),
        })?;
        self.drain(now);
        Ok(id)
    }

    /// What `member` has said with this id of its client's, if that is remembered here; the store knows older ones. And
    /// how many have been forgotten here.
    #[must_use]
    pub fn said_once(&self, member: MemberId, client_id: &str) -> (Option<SaidOnce>, u64) {
        (self.once.get(&mark::once(member, client_id)).copied(), self.once_forgotten)
    }

    /// A hosted member says something with an id of its client's own making: said again, however late, it is the same
    /// message. The store is to be asked first ([`mark::once`]), and `forgotten` is what [`said_once`](Self::said_once) told
    /// before that; `None` if others have been forgotten since, so that it has to be asked again.
    ///
    /// # Errors
    /// [`SayError`]; nothing changed.
    pub fn say_once(
        &mut self,
        now: Now,
        member: MemberId,
        client_id: &str,
        body: &Body,
        forgotten: u64,
    ) -> Result<Option<SaidOnce>, SayError> {
        if !(1..=CLIENT_ID_BYTES_MAX).contains(&client_id.len())
            || !client_id.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(SayError::ClientId);
        }
        let (said, so_far) = self.said_once(member, client_id);
        if said.is_some() {
            return Ok(said);
        }
        if so_far != forgotten {
            return Ok(None);
        }
        // A message of a hosted member waits for nothing: it is the next.
        let position = self.position + 1;
        let id = self.say(now, member, body)?;
        let name = mark::once(member, client_id);
        self.pending.marks.push((name.clone(), position));
        self.once.insert(name.clone(), SaidOnce { id, position });
        self.once_order.push_back(name);
        if self.once_order.len() > ONCE_MAX
            && let Some(oldest) = self.once_order.pop_front()
        {
            self.once.remove(&oldest);
            self.once_forgotten += 1;
        }
        Ok(Some(SaidOnce { id, position }))
    }

    /// Appends what the group has delivered to the log, and says *Left* for those whose time has come.
    fn drain(&mut self, now: Now) {
        loop {
            while let Some(output) = self.group.poll_output() {
                let Output::Deliver { message, held_since } = output else { continue };
                self.held_for.extend(held_since.map(|since| now.time.since(since)));
                self.append(now.wall_millis, &message);
                if message.is_data() {
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
    }

    /// What changes the message that set the topic, or an edit of it, changes the topic.
    fn change_topic(&mut self, target: MessageId, id: MessageId, payload: &Bytes) {
        let Some(topic) = self.topic.as_mut().filter(|topic| topic.said.contains(&target)) else { return };
        match Body::decode(payload) {
            Body::Edit { text, .. } if topic.said.len() <= LOOKS_MAX => {
                topic.text = topic_part(&text).to_owned();
                topic.said.insert(id);
            }
            Body::Delete { .. } => self.topic = None,
            _ => {}
        }
    }

    fn append(&mut self, time_millis: u64, message: &Message) {
        self.position += 1;
        self.changes += 1;
        self.pending.records += 1;
        let record = Delivered { position: self.position, time_millis, packet: message.packet().clone() };
        record.encode(&mut self.pending.bytes);
        if !message.is_data() {
            return;
        }
        let payload = message.payload();
        if let Some(target) = changed_by(&payload).filter(|target| target.member == message.id().member) {
            self.pending.marks.push((mark::changes(target), self.position));
            self.change_topic(target, message.id(), &payload);
        }
        if let Some(topic) = topic_of(&payload) {
            self.pending.marks.push((mark::TOPIC.to_vec(), self.position));
            let by = self.name_of(message.id().member).map(ToString::to_string).unwrap_or_default();
            let said = BTreeSet::from([message.id()]);
            self.topic = Some(Topic { text: topic.to_owned(), by, at_millis: time_millis, said });
        }
    }

    // Counting.

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let stats = self.group.stats();
        Counts {
            delivered: stats.delivered,
            held: stats.held,
            duplicates: stats.duplicates,
            // Those that the group has not seen are counted here.
            refused: stats.refused + self.counts.refused,
            ..self.counts
        }
    }

    /// For how long messages were held that have been delivered since this was called last.
    pub fn take_held_times(&mut self) -> Vec<Duration> {
        core::mem::take(&mut self.held_for)
    }

    // Storing.

    /// How often something has changed that is to be stored.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes of records that wait to be taken.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.bytes.len()
    }

    /// Where the last checkpoint that was taken stands.
    #[must_use]
    pub fn checkpoint_at(&self) -> u64 {
        self.checkpoint_at
    }

    /// The next batch has a checkpoint, whenever the last one was.
    pub fn ask_for_checkpoint(&mut self) {
        if self.checkpoint_at < self.position {
            self.pending.checkpoint = true;
            self.changes += 1;
        }
    }

    /// What has changed since the last batch, if anything has.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let due = self.position - self.checkpoint_at >= CHECKPOINT_EVERY;
        let Pending { bytes, records, members, marks, checkpoint } = core::mem::take(&mut self.pending);
        if records == 0 && members.is_empty() && !checkpoint {
            return None;
        }
        let first = self.position + 1 - records;
        let run = (records > 0).then(|| Run { first, last: self.position, bytes: bytes.into() });
        let checkpoint = (due || checkpoint).then(|| {
            self.checkpoint_at = self.position;
            let (snapshot, former) = (self.group.snapshot(), self.former.clone());
            (self.position, State { snapshot, epoch: self.epoch, former }.encode().into())
        });
        let members = members.into_values().collect();
        Some(Batch { records: run, members, marks, checkpoint, changes: self.changes })
    }

    /// Records before this position are not kept any more.
    pub fn kept_from(&mut self, first: u64) {
        self.first = self.first.max(first);
        self.gaps.retain(|gap| *gap.end() >= first);
    }

    /// These records cannot be read: who needs them is told of a gap.
    pub fn unreadable(&mut self, gap: RangeInclusive<u64>) {
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
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

    // Time.

    /// Declares those left whose grace is over.
    pub fn handle_timeout(&mut self, now: Now) {
        let grace = self.settings.grace;
        let over = |p: &Person| {
            let gone = p.pass.as_ref().and_then(|pass| pass.gone_since);
            gone.is_some_and(|since| since + grace <= now.time)
        };
        let gone: Vec<_> = self.people.iter().filter(|(_, p)| over(p)).map(|(&m, _)| m).collect();
        for member in gone {
            self.part(now, member, "was away for too long");
        }
    }

    /// Goes by these settings from now on. What it was made with stays: the limits of a text, of members, and of the log
    /// in memory. Whose grace is running is judged by the new one.
    pub fn reconfigure(&mut self, settings: &RoomSettings) {
        let RoomSettings { name_chars_max, grace, history, .. } = *settings;
        self.settings = RoomSettings { name_chars_max, grace, history, ..self.settings.clone() };
    }

    /// When somebody's grace ends next. O(members).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let gone = self.people.values().filter_map(|p| p.pass.as_ref()?.gone_since);
        gone.min().map(|since| since + self.settings.grace)
    }

    /// Nobody speaks or joins any more; the connections see it and end.
    pub fn close(&mut self) {
        self.seatings += 1;
        self.changes += 1;
        self.closed = true;
        for member in self.people.keys() {
            self.group.discard_ahead(*member);
        }
    }

    // What there is to know.

    /// Differs from an earlier value whenever a connection may have to end: a seat has changed hands, somebody has
    /// left, the room was closed.
    #[must_use]
    pub fn seating(&self) -> u64 {
        self.seatings
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

    /// The position of the last record, stored or not.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The first position that is kept.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// What tells its log from any other.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What it has delivered of each member.
    #[must_use]
    pub fn clock(&self) -> VectorClock {
        self.group.clock()
    }

    /// Differs from an earlier value whenever somebody has come or gone since.
    #[must_use]
    pub fn roster(&self) -> u64 {
        self.rosters
    }

    /// Who is in, in order of joining.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        self.members_after(None, usize::MAX)
    }

    /// The members who are in, in order of joining.
    pub fn present(&self) -> impl ExactSizeIterator<Item = MemberId> {
        self.people.keys().copied()
    }

    /// Who has joined after that one and is in, in order of joining, `max` at most.
    #[must_use]
    pub fn members_after(&self, after: Option<MemberId>, max: usize) -> Vec<MemberInfo> {
        let present = |(&member, p): (&MemberId, &Person)| MemberInfo {
            member,
            name: p.name.to_string(),
            present: true,
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.people.range((from, Bound::Unbounded)).map(present).take(max).collect()
    }

    /// What a present member is called.
    #[must_use]
    pub fn name_of(&self, member: MemberId) -> Option<&Name> {
        let departed = || self.departed.get(&member).map(|d| &d.name);
        self.people.get(&member).map(|p| &p.name).or_else(departed)
    }

    /// Returns whether somebody here has that name, letter case aside.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let folded = name.to_lowercase();
        let reading = Reading::of(name);
        self.names
            .like(&reading)
            .any(|member| self.people.get(member).is_some_and(|person| person.name.folded() == folded))
    }

    /// Returns the name of somebody here, other than `besides`, that reads as `reading` does, within grace included.
    #[must_use]
    pub fn named_like(&self, reading: &Reading, besides: Option<MemberId>) -> Option<&Name> {
        let mut alike = self.names.like(reading).filter(|member| Some(**member) != besides);
        alike.find_map(|member| self.people.get(member)).map(|person| &person.name)
    }

    /// What it is about, if anybody has said so.
    #[must_use]
    pub fn topic(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    /// The messages that no other delivered message follows.
    #[must_use]
    pub fn frontier(&self) -> Vec<MessageId> {
        self.group.frontier()
    }

    /// The messages that are held back, `max` at most. O(members + places in the queue).
    #[must_use]
    pub fn held(&self, max: usize) -> Vec<HeldMessage> {
        match self.group.held_count() {
            0 => Vec::new(),
            _ => self.group.held().take(max).collect(),
        }
    }

    /// Whether a message has been delivered here.
    #[must_use]
    pub fn has_delivered(&self, id: MessageId) -> bool {
        self.group.has_delivered(id)
    }

    /// Bytes of the messages that are held back.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.group.held_bytes()
    }

    /// Holds back no more than so many bytes from now on, but one message at least.
    pub fn limit_held_bytes(&mut self, bytes: usize) {
        let least = self.settings.frame_bytes_max();
        self.group.limit_holdback(bytes.min(HELD_BYTES_MAX).max(least));
    }

    /// Differs from an earlier value whenever other messages are held back.
    #[must_use]
    pub fn holding(&self) -> (u64, usize) {
        (self.group.stats().held, self.group.held_count())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::records;

    fn room(settings: RoomSettings) -> Room {
        Room::new(RoomName::parse("lobby").unwrap(), 0, 7, settings, true)
    }

    fn at(seconds: u64) -> Now {
        Now { time: Time::from_millis(seconds * 1_000), wall_millis: 0 }
    }

    /// What stands in the log, as a store would have it.
    fn texts(room: &Room) -> Vec<String> {
        let all = records(Bytes::copy_from_slice(&room.pending.bytes));
        all.map(|r| match r.message.kind() {
            Kind::Joined(_) => format!("+{}", String::from_utf8_lossy(&r.message.payload())),
            Kind::Left { .. } => "-".into(),
            _ => Body::decode(&r.message.payload()).text().unwrap_or("?").into(),
        })
        .collect()
    }

    /// A native client's side, as little of it as a test needs.
    fn client(welcome: &Welcome) -> Group {
        Group::new(Config::relay(), &welcome.snapshot, [welcome.member]).unwrap()
    }

    fn packet(group: &mut Group, member: MemberId, text: &str) -> Bytes {
        group.broadcast(Time::ZERO, member, &Body::Text(text.into()).encode()).unwrap();
        let outputs = std::iter::from_fn(|| group.poll_output());
        let sent = outputs.filter_map(|o| o.sent().cloned());
        sent.last().unwrap().into_packet()
    }

    #[test]
    fn the_original_session_gives_the_original_vectors() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Akshat").unwrap();
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        room.say(at(0), ann, &Body::Text("hello".into())).unwrap();
        room.say(at(0), raj, &Body::Text("hi".into())).unwrap();
        room.say(at(0), ann, &Body::Text("bye".into())).unwrap();
        assert_eq!(room.take_vectors(), ["[1, 0]", "[1, 1]", "[2, 1]"]);
        assert_eq!(texts(&room), ["+Akshat", "+Raj", "hello", "hi", "bye"]);
    }

    #[test]
    fn what_refers_to_a_message_comes_behind_it() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        let hello = room.say(at(0), ann, &Body::Text("hello".into())).unwrap();
        let reply = |to| Body::Reply { to, text: "yes".into() };
        // Hosted: what is not there, or not one's own.
        let next = MessageId::new(ann, hello.seq + 1);
        for target in [next, MessageId::new(welcome.member, 1), MessageId::new(MemberId::new(9, 9), 1)] {
            let refused = room.say(at(0), ann, &reply(target));
            assert_eq!(refused, Err(SayError::Body(BodyError::NoSuchMessage { target })));
        }
        assert!(room.say(at(0), ann, &reply(hello)).is_ok());
        assert!(room.say(at(0), ann, &Body::Edit { of: hello, text: "hallo".into() }).is_ok());

        // Native: its own messages may still be on their way, in any order.
        let mut raj = client(&welcome);
        let mut said = |body: &Body| {
            raj.broadcast(Time::ZERO, welcome.member, &body.encode()).unwrap();
            let outputs = std::iter::from_fn(|| raj.poll_output());
            let sent = outputs.filter_map(|o| o.sent().cloned());
            sent.last().unwrap().into_packet()
        };
        let first = MessageId::new(welcome.member, 1);
        let packets = [Body::Text("teh".into()), Body::Edit { of: first, text: "the".into() }, reply(hello)]
            .map(|b| said(&b));
        for packet in packets.into_iter().rev() {
            room.receive(at(0), seat, packet).unwrap();
        }
        assert_eq!(texts(&room)[5..], ["teh", "the", "yes"]);
        let changed = [(hello, 5), (first, 7)];
        assert_eq!(room.pending.marks, changed.map(|(target, position)| (mark::changes(target), position)));
        let refusal =
            room.receive(at(0), seat, said(&Body::Delete { of: hello, reason: String::new() })).unwrap_err();
        assert!(refusal.is_final && refusal.reason.contains("somebody else's"), "{refusal:?}");
        assert!(!room.is_present(welcome.member), "a hole in its numbers would block it for ever");
    }

    #[test]
    fn what_is_said_once_is_one_message() {
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        let text = Body::Text("hello".into());
        let mut once = |who, id: &str, forgotten| room.say_once(at(0), who, id, &text, forgotten);
        let first = once(ann, "a", 0).unwrap().unwrap();
        assert_eq!((first.id, first.position), (MessageId::new(ann, 1), 3));
        assert_eq!(once(ann, "a", 0), Ok(Some(first)));
        assert_eq!(once(raj, "a", 0).unwrap().unwrap().position, 4, "another's id is another id");
        for bad in ["", "a b", "é", "\n", &"x".repeat(65)] {
            assert_eq!(once(ann, bad, 0), Err(SayError::ClientId), "{bad:?}");
        }
        for n in 0..ONCE_MAX as u64 - 2 {
            once(ann, &n.to_string(), 0).unwrap().unwrap();
        }
        // The next makes room: now only the store knows the first.
        once(raj, "b", 0).unwrap().unwrap();
        assert_eq!(once(ann, "c", 0), Ok(None), "others were forgotten since the store was asked");
        assert_eq!(room.said_once(ann, "a"), (None, 1));
        assert!(room.say_once(at(0), ann, "c", &text, 1).unwrap().is_some());
        let batch = room.take_batch().unwrap();
        assert_eq!(batch.marks[0], (mark::once(ann, "a"), 3));
        assert_eq!(batch.marks.len(), ONCE_MAX + 2);
    }

    #[test]
    fn names_are_unique_among_those_present_and_free_again_after() {
        let mut room = room(RoomSettings::default());
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        let mut refused = |name| match room.join_hosted(at(0), name) {
            Err(error @ JoinError::NameTaken { .. }) => error.to_string(),
            other => panic!("{name:?}: {other:?}"),
        };
        assert_eq!(refused(" RAJ "), "the name 'RAJ' is taken; 'RAJ2' is free");
        assert_eq!(
            refused("R\u{430}j"),
            "the name 'R\u{430}j' reads like 'Raj', who is here; 'R\u{430}j2' is free"
        );
        assert!(room.is_named("raj"));
        assert!(!room.is_named("R\u{430}j"), "who is looked up is found by the name that it has");
        room.part(at(0), raj, "");
        room.join_hosted(at(0), "Raj").unwrap();
        assert!(matches!(room.join_hosted(at(0), "a\x1bb"), Err(JoinError::Name(_))));
    }

    #[test]
    fn a_join_repeated_with_its_key_is_one_member() {
        let mut room = room(RoomSettings::default());
        let (first, w1) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        let (again, w2) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        assert_eq!(w1.member, w2.member);
        assert_eq!(room.members().len(), 1);
        assert!(!room.is_seated(first) && room.is_seated(again));
        assert!(room.resume(at(0), w1.member, [1; 32], 7, 1, &VectorClock::new()).is_ok());
    }

    /// Everybody has said something that nobody has seen, so a stamp names each of them.
    #[test]
    fn a_room_that_is_as_large_as_its_settings_say_can_say_so() {
        let members_max = 21_000;
        let settings = RoomSettings { members_max, ..RoomSettings::default() };
        settings.check().unwrap();
        let limit = settings.frame_bytes_max();
        let mut room = room(settings);
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        let mut seats = Vec::new();
        for n in 2..members_max {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            let pass = Pass { secrets: Secrets::Key(key), connection: 0, gone_since: None };
            let member = room.admit(at(0), &n.to_string(), Some(pass)).unwrap();
            seats.push(room.seat(member));
        }
        for seat in seats {
            let m = Message::new(MessageId::new(seat.member, 1), Kind::Data, &[], b"\x01hi").unwrap();
            room.receive(at(0), seat, m.into_packet()).unwrap();
        }
        let longest = |room: &mut Room| {
            let run = room.take_batch().unwrap().records.unwrap();
            records(run.bytes).map(|record| record.message.packet().len()).max().unwrap()
        };
        longest(&mut room);
        let raj = room.join_hosted(at(0), "Raj").unwrap();
        assert!((80_000..limit).contains(&longest(&mut room)), "joined behind all of them");
        assert_eq!(room.join_hosted(at(0), "Eve"), Err(JoinError::Full { limit: members_max }));
        room.part(at(0), raj, &"why ".repeat(1_000));
        assert!(!room.is_present(raj));
        room.say(at(0), ann, &Body::Text("x".repeat(16_384))).unwrap();
        assert!(longest(&mut room) < limit);
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused_by_name() {
        let usual = RoomSettings::default();
        assert_eq!(usual.check(), Ok(()));
        let refused = |settings: RoomSettings| settings.check().unwrap_err().to_string();
        let many = refused(RoomSettings { members_max: 70_000, ..usual.clone() });
        assert!(many.starts_with("members-max is 70000"), "{many}");
        let long = refused(RoomSettings { name_chars_max: 1_000, ..usual.clone() });
        assert!(long.contains("name-max is 1000") && long.contains("2590 members fit"), "{long}");
        let large = refused(RoomSettings { text_bytes_max: 1 << 24, ..usual });
        assert!(large.starts_with("text-max is 16777216"), "{large}");
    }

    #[test]
    fn a_native_member_speaks_resumes_and_leaves() {
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        let mut raj = client(&welcome);
        let (one, two) = (packet(&mut raj, seat.member, "one"), packet(&mut raj, seat.member, "two"));
        room.receive(at(0), seat, two.clone()).unwrap();
        assert_eq!(texts(&room), ["+Raj"], "held: its predecessor is missing");
        assert_eq!(
            room.handle_clock(at(0), seat.member, &raj.clock()),
            [MissingRange { member: seat.member, from: 1, to: 1 }]
        );
        room.disconnected(at(0), seat);
        assert!(room.resume(at(0), seat.member, [9; 32], 7, 1, &raj.clock()).is_err(), "wrong key");
        let (seat2, resumed) = room.resume(at(0), seat.member, [1; 32], 7, 1, &raj.clock()).unwrap();
        assert!(matches!(resumed, Resumed::Here { taken: 0 }));
        assert!(!room.is_seated(seat));
        room.receive(at(0), seat, one.clone()).unwrap();
        assert_eq!(texts(&room), ["+Raj"], "what the older connection had left unread is not taken");
        room.leave(at(0), seat2.member, 2);
        assert!(room.is_present(seat2.member), "two messages are still to come");
        room.receive(at(0), seat2, one).unwrap();
        room.receive(at(0), seat2, two).unwrap();
        assert_eq!(texts(&room), ["+Raj", "one", "two", "-"]);
        let late = room.resume(at(0), seat.member, [1; 32], 7, 1, &raj.clock()).unwrap_err();
        assert_eq!(late, ResumeError::Expired { taken: 2 });
        let other = room.resume(at(0), seat.member, [9; 32], 7, 1, &raj.clock()).unwrap_err();
        assert_eq!(other, ResumeError::WrongKey, "only who has the key is told");
    }

    #[test]
    fn what_is_held_of_a_member_is_bounded_and_goes_with_its_connection() {
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        let mut raj = client(&welcome);
        let text = "x".repeat(16 << 10);
        let packets: Vec<_> = (0..100).map(|_| packet(&mut raj, seat.member, &text)).collect();
        let refused =
            packets[1..].iter().filter(|packet| room.receive(at(0), seat, (*packet).clone()).is_err());
        assert!(refused.count() > 0, "not all of it is held");
        assert!((1..=HELD_BYTES_EACH).contains(&room.held_bytes()), "{} bytes", room.held_bytes());
        room.disconnected(at(0), seat);
        assert_eq!(room.held_bytes(), 0);
        let (seat, _) = room.resume(at(0), seat.member, [1; 32], 7, 1, &raj.clock()).unwrap();
        room.limit_held_bytes(3 * text.len());
        let refused =
            packets[1..].iter().filter_map(|packet| room.receive(at(0), seat, packet.clone()).err());
        assert!(refused.into_iter().all(|refusal| !refusal.is_final));
        let (seat, _) = room.resume(at(0), seat.member, [1; 32], 7, 1, &raj.clock()).unwrap();
        assert_eq!(room.held_bytes(), 0, "it sends again what it has not got back");
        packets.into_iter().for_each(|packet| room.receive(at(0), seat, packet).unwrap());
        assert_eq!(texts(&room).len(), 101);
    }

    #[test]
    fn who_knows_more_than_the_room_is_told_so_and_is_out() {
        let more: VectorClock = [(MemberId::host(0), 9)].into_iter().collect();
        for (epoch, position, clock) in [(7, 99, None), (8, 1, None), (7, 1, Some(more))] {
            let mut room = room(RoomSettings::default());
            let (eve, _) = room.join(at(0), "Eve", [8; 32], None, 0).unwrap();
            let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
            let mut raj = client(&welcome);
            room.receive(at(0), seat, packet(&mut raj, seat.member, "one")).unwrap();
            let clock = clock.unwrap_or(raj.clock());
            let wrong = room.resume(at(0), seat.member, [3; 32], epoch, position, &clock).unwrap_err();
            assert_eq!(wrong, ResumeError::WrongKey);
            assert!(room.is_present(seat.member), "nobody is put out by whoever does not have the key");
            let diverged = room.resume(at(0), seat.member, [1; 32], epoch, position, &clock).unwrap_err();
            assert_eq!(diverged, ResumeError::Diverged { taken: 1 });
            assert!(room.is_seated(eve) && !room.is_present(seat.member));
            room.join(at(0), "Raj", [4; 32], Some(position), epoch).expect("the name is free");
        }
    }

    #[test]
    fn a_room_that_begins_anew_gives_out_no_id_twice_and_goes_on_with_its_log() {
        let mut disk = Disk::default();
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        let mut raj = client(&welcome);
        for text in ["one", "two"] {
            room.receive(at(0), seat, packet(&mut raj, seat.member, text)).unwrap();
        }
        disk.store(&mut room);
        let renew = |disk: &Disk, origin, epoch| {
            let stored = disk.stored();
            Room::renew(
                Anew { origin, epoch },
                stored,
                &BTreeMap::from([(seat.member, 2)]),
                RoomSettings::default(),
                false,
            )
        };
        let mut room = renew(&disk, 5, 8);
        assert_eq!((room.epoch(), room.position(), room.members().len()), (8, 3, 0));
        disk.store(&mut room);
        // Stored and read again it is the same.
        let mut room = disk.restore(at(0)).unwrap();
        assert_eq!((room.epoch(), room.position()), (8, 3));
        let clock = raj.clock();
        let knew = room.resume(at(0), seat.member, [1; 32], 7, 3, &clock).unwrap_err();
        assert_eq!(knew, ResumeError::Expired { taken: 2 });
        let more = room.resume(at(0), seat.member, [1; 32], 7, 4, &clock).unwrap_err();
        assert_eq!(more, ResumeError::Diverged { taken: 2 }, "it has seen another continuation");
        let (again, welcome) = room.join(at(0), "Raj", [3; 32], Some(4), 7).unwrap();
        assert_eq!(again.member, MemberId::new(5, 1));
        assert_eq!((welcome.epoch, welcome.shared, welcome.first, welcome.gap_from), (8, Some(3), 4, None));
        let mut raj = client(&welcome);
        assert!(raj.has_delivered(MessageId::new(seat.member, 2)), "what is in the log can be referred to");
        room.receive(at(0), again, packet(&mut raj, again.member, "three")).unwrap();
        disk.store(&mut room);

        // And again: who knew the first continuation shares less than who knew the second.
        let mut room = renew(&disk, 6, 9);
        disk.store(&mut room);
        let (_, early) = room.join(at(0), "Ann", [5; 32], Some(5), 7).unwrap();
        let (late, welcome) = room.join(at(0), "Eve", [7; 32], Some(5), 8).unwrap();
        assert_eq!((early.shared, welcome.shared), (Some(3), Some(5)));
        let (_, behind) = room.join(at(0), "Kim", [10; 32], Some(1), 7).unwrap();
        assert_eq!((behind.shared, behind.first), (Some(3), 2), "it may have delivered more than is placed");
        assert_eq!(late.member, MemberId::new(6, 2));
        let (_, other) = room.join(at(0), "Bob", [9; 32], Some(5), 77).unwrap();
        assert_eq!((other.shared, other.first), (None, 1));
    }

    #[test]
    fn a_member_without_a_row_leaves_and_a_row_without_a_member_is_no_room() {
        let mut disk = Disk::default();
        let mut room = room(RoomSettings::default());
        let (seat, _) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        disk.store(&mut room);
        let row = disk.members.remove(&seat.member).unwrap();
        let room = disk.restore(at(0)).unwrap();
        assert_eq!(texts(&room), ["-"]);
        disk.records.clear();
        disk.members.insert(seat.member, row);
        assert_eq!(disk.restore(at(0)).unwrap_err(), RestoreError::Member { member: seat.member });
    }

    #[test]
    fn grace_ends_with_left() {
        let mut room = room(RoomSettings::default());
        let (seat, _) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        room.disconnected(at(10), seat);
        assert_eq!(room.poll_timeout(), Some(at(610).time));
        room.handle_timeout(at(609));
        assert!(room.is_present(seat.member));
        room.handle_timeout(at(610));
        assert!(!room.is_present(seat.member));
        assert_eq!(room.poll_timeout(), None);
    }

    #[test]
    fn a_hosted_member_with_a_token_comes_back_within_grace_also_after_a_restart() {
        let mut store = Disk::default();
        let mut room = room(RoomSettings::default());
        let member = room.join_returning(at(0), "Bot", [1; 16], [2; 16]).unwrap();
        assert_eq!(room.join_returning(at(1), "Bot", [1; 16], [3; 16]), Ok(member), "it is the same join");
        assert_eq!(room.authorize(at(1), member, &[2; 16]), Err(ResumeError::WrongToken));
        let raj = room.join(at(1), "Raj", [4; 32], None, 0).unwrap().0.member;
        assert_eq!(room.authorize(at(1), raj, &[5; 16]), Err(ResumeError::WrongToken), "he stamps his own");
        let none = VectorClock::new();
        assert_eq!(room.resume(at(1), member, [3; 32], 7, 1, &none).unwrap_err(), ResumeError::WrongKey);
        room.say(at(1), member, &Body::Text("one".into())).unwrap();
        store.store(&mut room);
        // What it says after a restart goes on where it was, from a checkpoint or not.
        for (n, checkpoint) in [(2, false), (3, true), (4, false)] {
            if checkpoint {
                room.ask_for_checkpoint();
                store.store(&mut room);
            }
            room = store.restore(at(10)).unwrap();
            room.authorize(at(10), member, &[3; 16]).unwrap();
            let said = room.say(at(10), member, &Body::Text(n.to_string())).unwrap();
            assert_eq!(said, MessageId::new(member, n));
            store.store(&mut room);
        }
        room.authorize(at(100), member, &[3; 16]).unwrap();
        room.handle_timeout(at(699));
        assert!(room.is_present(member), "its last sign of life was at 100 s");
        let seat = room.take_seat(member, &[3; 16]).unwrap();
        room.handle_timeout(at(9_999));
        assert!(room.is_present(member), "it is connected");
        room.disconnected(at(10_000), seat);
        room.handle_timeout(at(10_600));
        let expired = Err(ResumeError::Expired { taken: 4 });
        assert_eq!(room.authorize(at(10_601), member, &[3; 16]), expired);
        store.store(&mut room);
        assert_eq!(store.restore(at(0)).unwrap().authorize(at(0), member, &[3; 16]), expired);
        assert!(room.authorize(at(0), member, &[9; 16]) == Err(ResumeError::WrongToken));
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
            let (seat, _) = room.join(at(0), "Raj", [i as u8; 32], None, 0).unwrap();
            let refusal = room.receive(at(0), seat, bad.into()).unwrap_err();
            assert!(refusal.is_final, "{refusal:?}");
            assert!(!room.is_present(seat.member) && room.is_present(eve));
        }
        let (seat, welcome) = room.join(at(0), "Raj", [5; 32], None, 0).unwrap();
        let long = packet(&mut client(&welcome), seat.member, &"x".repeat(20_000));
        assert!(room.receive(at(0), seat, long).unwrap_err().is_final);
        let (seat, _) = room.join(at(0), "Raj", [6; 32], None, 0).unwrap();
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
            room.say(Now { time: Time::ZERO, wall_millis }, member, &Body::Text(text.into())).unwrap();
        }
        assert_eq!(texts(&room), ["+Ann", "+Raj", "question", "answer", "thanks"]);
    }

    #[test]
    fn a_client_older_than_what_is_kept_gets_a_snapshot_and_the_gap() {
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        for n in 0..200 {
            room.say(at(0), ann, &Body::Text(n.to_string())).unwrap();
        }
        let resume = |room: &mut Room, position| {
            let clock = client(&welcome).clock();
            match room.resume(at(0), seat.member, [1; 32], 7, position, &clock).unwrap().1 {
                Resumed::Gap(again) => {
                    assert_eq!((again.member, again.position), (seat.member, 202));
                    Some((again.gap_from, again.first))
                }
                Resumed::Here { .. } => None,
            }
        };
        assert_eq!(resume(&mut room, 1), None);
        room.kept_from(100);
        assert_eq!(resume(&mut room, 1), Some((Some(2), 100)));
        assert_eq!(resume(&mut room, 99), None);
        room.unreadable(150..=150);
        assert_eq!(resume(&mut room, 120), None, "it will come to the gap, and resume there");
        assert_eq!(resume(&mut room, 149), Some((Some(150), 151)));
    }

    /// What outlives a room.
    #[derive(Default)]
    struct Disk {
        records: Vec<Record>,
        members: BTreeMap<MemberId, MemberRecord>,
        checkpoint: Option<(u64, Bytes)>,
    }

    impl Disk {
        fn store(&mut self, room: &mut Room) {
            let Some(batch) = room.take_batch() else { return };
            self.records.extend(batch.records.into_iter().flat_map(|run| records(run.bytes)));
            self.members.extend(batch.members.into_iter().map(|m| (m.member, m)));
            self.checkpoint = batch.checkpoint.or(self.checkpoint.take());
        }

        fn stored(&self) -> Stored {
            Stored {
                name: RoomName::parse("lobby").unwrap(),
                epoch: 7,
                checkpoint: self.checkpoint.clone(),
                members: self.members.values().cloned().collect(),
                first: 1,
                last: self.records.len() as u64,
                topic: None,
            }
        }

        fn restore(&self, now: Now) -> Result<Room, RestoreError> {
            let stored = self.stored();
            let from = self.checkpoint.as_ref().map_or(0, |(position, _)| *position as usize);
            let records = self.records[from..].iter().cloned();
            Room::restore(now, 0, stored, records, RoomSettings::default(), false)
        }
    }

    #[test]
    fn what_was_stored_is_the_same_room_again() {
        for checkpointed in [false, true] {
            let mut disk = Disk::default();
            let mut room = room(RoomSettings::default());
            let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
            let (gone, _) = room.join(at(0), "Eve", [4; 32], None, 0).unwrap();
            let ann = room.join_hosted(at(0), "Ann").unwrap();
            let mut raj = client(&welcome);
            room.receive(at(0), seat, packet(&mut raj, seat.member, "hi")).unwrap();
            disk.store(&mut room);
            if checkpointed {
                room.ask_for_checkpoint();
            }
            disk.store(&mut room);
            assert_eq!(disk.checkpoint.is_some(), checkpointed);
            room.say(at(0), ann, &Body::Text("hello".into())).unwrap();
            room.part(at(0), gone.member, "");
            disk.store(&mut room);
            assert_eq!(room.take_batch(), None);
            // Never stored, so it never was.
            room.receive(at(0), seat, packet(&mut raj, seat.member, "again")).unwrap();

            let mut room = disk.restore(at(100)).unwrap();
            let names: Vec<_> = room.members().into_iter().map(|m| m.name).collect();
            assert_eq!(names, ["Raj"], "who was a connection only has left");
            let Err(gone) = room.resume(at(0), gone.member, [4; 32], 7, 1, &VectorClock::new()) else {
                panic!()
            };
            assert_eq!(gone, ResumeError::Expired { taken: 0 });
            assert_eq!(room.poll_timeout(), Some(at(700).time), "grace begins anew");
            let clock = client(&welcome).clock();
            let (seat, resumed) = room.resume(at(0), seat.member, [1; 32], 7, 1, &clock).unwrap();
            assert!(matches!(resumed, Resumed::Here { taken: 1 }));
            assert_eq!(room.position(), disk.records.len() as u64 + 1, "and Ann's farewell");
            let next = room.join_hosted(at(100), "Ann").unwrap();
            assert_eq!(next.ordinal, ann.ordinal + 1, "no ordinal is given out twice");
            let m = Message::new(MessageId::new(seat.member, 2), Kind::Data, &[], b"\x01again").unwrap();
            room.receive(at(100), seat, m.into_packet()).unwrap();
            assert_eq!(texts(&room), ["-", "+Ann", "again"]);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_no_room() {
        let mut disk = Disk::default();
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        room.say(at(0), ann, &Body::Text("one".into())).unwrap();
        room.say(at(0), ann, &Body::Text("two".into())).unwrap();
        disk.store(&mut room);
        disk.records.remove(1);
        assert_eq!(disk.restore(at(0)).unwrap_err(), RestoreError::Record { position: 3 });
        disk.checkpoint = Some((0, Bytes::from_static(b"no")));
        assert!(matches!(disk.restore(at(0)), Err(RestoreError::Checkpoint(_))));
    }

    #[test]
    fn history_names_those_who_have_left() {
        let mut room = room(RoomSettings { history: 2, ..RoomSettings::default() });
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        room.say(at(0), ann, &Body::Text("hello".into())).unwrap();
        room.part(at(0), ann, "");
        let (_, welcome) = room.join(at(0), "Raj", [1; 32], None, 0).unwrap();
        assert_eq!((welcome.first, welcome.position), (3, 4));
        let names: Vec<_> = welcome.members.iter().map(|m| (&m.name[..], m.present)).collect();
        assert_eq!(names, [("Raj", true), ("Ann", false)]);
    }
}
