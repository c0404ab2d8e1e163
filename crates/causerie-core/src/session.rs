//! A client's side of a room: a state machine without I/O.
//!
//! It runs the member's own [`Group`], so it checks the server's order end to end; keeps the member's messages
//! until they come back from the server's log; and goes on after a broken connection without loss or repetition.
//!
//! Delivering and placing are two steps. A message is *delivered* once all its causes have been ([`Event::Delivered`]);
//! it is *placed* once everything before it in the server's log has been delivered ([`Event::Placed`]). What is
//! placed never moves.

mod keep;
mod names;
mod observe;
mod placing;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cbcast::{
    Config, ConfigError, Control, Group, Kind, Link, MemberId, Message, MessageId, MissingRange,
    Output as GroupOutput, Packet, Snapshot, Time, Transmit, VectorClock, message::PACKET_BYTES_MAX,
};
use thiserror::Error;

pub use self::keep::{KeptError, kept_name};
use self::names::Names;
use self::observe::Observer;
use self::placing::{Next, Placing};
use crate::content::body::{Body, BodyError};
use crate::content::text::{clipped, visible};
use crate::key::{Challenge, KeyPair, Purpose};
use crate::wire::{
    BEHIND_MAX, ClientFrame, Delivered, ErrorCode, ErrorFrame, Limits, MemberInfo, Observed, ServerFrame,
    Stable, VERSION, Watched, Welcome,
};

/// What a session needs to know.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The room's name.
    pub room: String,
    /// The member's name.
    pub name: String,
    /// Create the room if it does not exist.
    pub create: bool,
    /// The key that may close the room then, beside the operator.
    pub maker: Option<KeyPair>,
    /// Own messages that may be on their way at once. Default 1,000.
    pub pending_max: usize,
    /// How often to tell the clock and to send again what has not come back; for links that lose messages above
    /// TCP. `None` (the default): the connection is reliable while it lasts.
    pub heartbeat: Option<Duration>,
    /// How long a gap may be before it is asked for. Default 50 ms.
    pub repair_delay: Duration,
    /// For the jitter of repair.
    pub seed: u64,
    /// Whether each event is [acknowledged](Session::acknowledge): what was not is told again by a session that was
    /// [kept](Session::keep).
    pub acknowledges: bool,
    /// Whether [`Event::Stable`] is wanted, from the first own message on. Default: no, since members then tell the server
    /// what they have delivered.
    pub follows_stable: bool,
    /// Where keys come from: 32 bytes of good randomness at each call.
    pub fresh_seed: fn() -> [u8; 32],
}

impl SessionConfig {
    /// The defaults, for a member called `name` in `room`.
    #[must_use]
    pub fn new(room: &str, name: &str, fresh_seed: fn() -> [u8; 32]) -> Self {
        Self {
            room: room.into(),
            name: name.into(),
            create: false,
            maker: None,
            pending_max: 1_000,
            heartbeat: None,
            repair_delay: Duration::from_millis(50),
            seed: 0,
            acknowledges: false,
            follows_stable: false,
            fresh_seed,
        }
    }
}

/// Something that happened in the room.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The member is in.
    Welcomed {
        /// Who it is.
        member: MemberId,
        /// The room's name.
        room: String,
        /// Whether the room was created for it.
        created: bool,
        /// Which log this is, for [`Place`](crate::wire::Place)s in it.
        epoch: u64,
        /// The first position of the history that follows.
        first: u64,
        /// The last one, or `first - 1`.
        position: u64,
        /// Who is in, in order of joining, the member itself included.
        members: Vec<MemberInfo>,
        /// What the room allows.
        limits: Limits,
    },
    /// A message, all of whose causes have been delivered.
    Delivered(Post),
    /// A message that was delivered before has its place in the room's order.
    Placed {
        /// Which.
        id: MessageId,
        /// Its place.
        position: u64,
        /// The server's wall clock at delivery.
        time_millis: u64,
    },
    /// A message arrived before a cause of it, and is held back.
    Held {
        /// Which.
        id: MessageId,
        /// What its author is called, if that is known already.
        author: Option<String>,
        /// A cause that has not been delivered.
        waits_for: MessageId,
        /// What that one's author is called, if that is known already.
        waits_for_author: Option<String>,
        /// What had been delivered here by then.
        clock: VectorClock,
    },
    /// Somebody joined.
    Joined {
        /// Who.
        member: MemberId,
        /// What it is called.
        name: String,
        /// Before the member itself did.
        history: bool,
    },
    /// Somebody left.
    Left {
        /// Who.
        member: MemberId,
        /// What it was called.
        name: String,
        /// Why, if not by its own wish.
        reason: String,
        /// Before the member itself joined.
        history: bool,
    },
    /// The connection is gone; what is said meanwhile is kept.
    Reconnecting {
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The server is in trouble that will pass: what is said waits, and nobody sees it yet. Or it has passed.
    Trouble {
        /// What kind.
        message: String,
    },
    /// The connection is back, and nothing was lost.
    Resumed {
        /// Own messages that were sent again.
        resent: usize,
    },
    /// The member had been declared left, or the server does not know it any more: it is a new member now.
    Rejoined {
        /// Who it is now.
        member: MemberId,
        /// Why it could not resume.
        reason: String,
        /// Own messages that had not been taken, and their new ids. What is said here about the old ones from now on is
        /// about the new ones.
        renamed: Vec<(MessageId, MessageId)>,
    },
    /// An own message that was on its way cannot be said any more: an edit or a deletion of a message of the
    /// membership before, or what a room that was made anew does not allow.
    Unsaid {
        /// Which it was.
        id: MessageId,
        /// What it was.
        body: Body,
        /// Why.
        reason: String,
    },
    /// Records of the log that do not come: the server does not keep them any more, or has left them out.
    Gap {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The server refused a message for now; it is sent again.
    Refused {
        /// Which.
        id: MessageId,
        /// Why.
        reason: String,
    },
    /// Up to where the members who are in have delivered the room's log, as far as the server knows. See
    /// [`SessionConfig::follows_stable`].
    Stable(Stable),
    /// The session is over.
    Ended(End),
}

/// A message of somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// Which.
    pub id: MessageId,
    /// What its author is called.
    pub author: String,
    /// What was said.
    pub body: Body,
    /// Whether it is the member's own.
    pub own: bool,
    /// Its place in the room's order, if the server has told.
    pub position: Option<u64>,
    /// The server's wall clock at delivery, if the server has told.
    pub time_millis: Option<u64>,
    /// For how long it was held back here.
    pub held_for: Option<Duration>,
    /// Said before the client first joined: it has its place already, and no [`Event::Placed`] follows.
    pub history: bool,
    /// The messages that its author had seen last.
    pub deps: Vec<MessageId>,
}

/// Why a session is over.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum End {
    /// The member left, as asked.
    #[error("left the room")]
    Left,
    /// The server said no.
    #[error("{}", visible(message))]
    Refused {
        /// What went wrong.
        code: ErrorCode,
        /// For people, in the server's words.
        message: String,
        /// If the name was taken: one that is free.
        suggestion: Option<String>,
    },
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

/// Why a text could not be said. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SayError {
    /// It is too long, may not be said by this member, or refers to what has not been delivered here.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Too many own messages are on their way: say it again once some are placed.
    #[error("{limit} messages are on their way already")]
    Full {
        /// [`SessionConfig::pending_max`].
        limit: usize,
    },
    /// The session is over, or is leaving.
    #[error("the session is over")]
    Over,
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this frame.
    Send(ClientFrame),
    /// Tell the application.
    Event(Event),
    /// Close the connection, for this reason; connect again unless the session [is over](Session::is_over).
    HangUp(String),
}

/// A message that is held back, with the names there are for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldPost {
    /// Which.
    pub id: MessageId,
    /// What its author is called, if that is known.
    pub author: Option<String>,
    /// For how long it has been held.
    pub held_for: Duration,
    /// A cause that has not been delivered.
    pub waits_for: MessageId,
    /// What that one's author is called, if that is known.
    pub waits_for_author: Option<String>,
    /// The missing message at the end of the chain.
    pub root_cause: Option<MessageId>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Offline,
    Greeting,
    Joining,
    Resuming,
    Live,
    Over,
}

/// An own message that has not been placed.
#[derive(Debug)]
struct Pending {
    message: Message,
    sent_at: Option<Time>,
}

/// An event that the application has not acknowledged.
#[derive(Debug)]
enum Untaken {
    Delivered(MessageId),
    /// New ids of own messages.
    Renamed(Vec<MessageId>),
    /// The epoch, and the position in it.
    Placed(u64, u64),
    Other,
}

#[derive(Debug)]
struct Membership {
    member: MemberId,
    epoch: u64,
    group: Group,
    limits: Limits,
    /// Where the group began: records up to here are not its business.
    joined_at: u64,
    /// Records up to there are from before the client's time, not something that it has missed.
    newcomer: bool,
    pending: VecDeque<Pending>,
    names: Names,
}

/// A client's side of a room. Drain [`poll_output`](Self::poll_output) after every call that takes `&mut`; call
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    phase: Phase,
    /// The key of the membership, or of the one that is asked for.
    key: KeyPair,
    membership: Option<Membership>,
    /// Said while there was no membership, or not taken under the last one: to be said under the next.
    unsent: VecDeque<(Option<MessageId>, Vec<u8>)>,
    rejoining: Option<String>,
    leaving: bool,
    leave_sent: bool,
    outputs: VecDeque<Output>,
    heartbeat_at: Option<Time>,
    /// Which log the positions are of; 0 before the first welcome.
    epoch: u64,
    /// The last contiguous position that came off a connection.
    received: u64,
    /// The last position before which everything is placed.
    placed: u64,
    /// Positions and times of messages that are not delivered yet.
    arrived: BTreeMap<MessageId, (u64, u64)>,
    /// Delivered and not placed: an earlier position is missing.
    ready: Placing,
    /// Positions that the connection has passed over, until the record behind them is handled.
    jumped: Option<(u64, u64)>,
    /// Delivered under an earlier membership, or own, and not placed then.
    seen: BTreeSet<MessageId>,
    /// It has been made of what was [kept](Self::keep), and has not been in a room since.
    restored: bool,
    /// Nothing is said before everything up to there is delivered: the application may have seen it in another life.
    catching_up: Option<u64>,
    /// Why it is another member than in its last life, to be told once it has caught up.
    rejoined: Option<String>,
    /// What the application has been told and not acknowledged, in order.
    untaken: VecDeque<Untaken>,
    /// Delivered in another life, and not acknowledged there, or on their way: told again as they come by.
    again: BTreeSet<MessageId>,
    /// What must be kept before anything is sent has changed.
    unkept: bool,
    /// What own messages that were not taken under a membership before are called now; `None`: they were not said again.
    instead: BTreeMap<MessageId, Option<MessageId>>,
    /// What those who watch the room are to be told.
    observer: Observer,
    /// It was asked on this connection up to where members have delivered.
    has_asked_stable: bool,
}

fn group_of(
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
    // What the room takes its members take.
    group.packet_bytes_max =
        usize::try_from(limits.frame_bytes).map_or(PACKET_BYTES_MAX, |bytes| bytes.min(PACKET_BYTES_MAX));
    Group::new(group, snapshot, [member])
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Servers that one room can be spread over.
const ORIGINS_MAX: usize = 256;

/// Old ids of own messages that are remembered.
const INSTEAD_MAX: usize = 10_000;

/// Own messages sent again at one heartbeat, or in answer to one request.
const RESEND_MAX: usize = 64;
/// Bytes of these in answer to one request, beyond the first message.
const RESEND_BYTES_MAX: usize = 256 << 10;
/// Ranges of a request that are looked at: a server names no more.
const RANGES_MAX: usize = 64;

/// Characters of a server's reasons that are told.
const REASON_CHARS_MAX: usize = 500;

fn too_many_names() -> End {
    End::Protocol("it announces more members than a room can have".into())
}

impl Session {
    /// A session that has not connected yet.
    #[must_use]
    pub fn new(config: SessionConfig) -> Self {
        Self {
            key: KeyPair::new((config.fresh_seed)()),
            config,
            phase: Phase::Offline,
            membership: None,
            unsent: VecDeque::new(),
            rejoining: None,
            leaving: false,
            leave_sent: false,
            outputs: VecDeque::new(),
            heartbeat_at: None,
            epoch: 0,
            received: 0,
            placed: 0,
            arrived: BTreeMap::new(),
            ready: Placing::default(),
            jumped: None,
            seen: BTreeSet::new(),
            restored: false,
            catching_up: None,
            rejoined: None,
            untaken: VecDeque::new(),
            again: BTreeSet::new(),
            unkept: true,
            instead: BTreeMap::new(),
            observer: Observer::default(),
            has_asked_stable: false,
        }
    }

    // Commands from the application.

    /// Says something: delivered here at once, on its way to the others as soon as there is a connection. Its id,
    /// unless the room has to be joined (again) first. Until then nothing can be said that refers to a message.
    ///
    /// # Errors
    /// [`SayError`]; nothing changed.
    pub fn say(&mut self, now: Time, body: &Body) -> Result<Option<MessageId>, SayError> {
        if self.phase == Phase::Over || self.leaving {
            return Err(SayError::Over);
        }
        let body = match body.target().and_then(|target| self.instead.get(&target)) {
            None => Cow::Borrowed(body),
            Some(Some(new)) => Cow::Owned(body.clone().retargeted(Some(*new))?),
            Some(None) => {
                let target = body.target().expect("it was looked for");
                return Err(BodyError::NoSuchMessage { target }.into());
            }
        };
        let m = self.membership.as_ref().filter(|_| self.catching_up.is_none());
        let delivered = |target| m.is_some_and(|m| m.group.has_delivered(target));
        if let Some(target) = body.target().filter(|&target| !delivered(target)) {
            return Err(BodyError::NoSuchMessage { target }.into());
        }
        if let Some(m) = &self.membership {
            body.check(m.member, m.limits.text_bytes as usize)?;
        }
        let limit = self.config.pending_max;
        if self.on_their_way() >= limit {
            return Err(SayError::Full { limit });
        }
        let payload = body.encode();
        self.unkept = true;
        match self.broadcast(now, &payload) {
            Some(id) => Ok(Some(id)),
            None => {
                self.unsent.push_back((None, payload));
                Ok(None)
            }
        }
    }

    fn broadcast(&mut self, now: Time, payload: &[u8]) -> Option<MessageId> {
        let membership = self.membership.as_mut().filter(|_| self.catching_up.is_none())?;
        let id = membership.group.broadcast(now, membership.member, payload).ok()?;
        self.drain(now);
        Some(id)
    }

    /// Leaves once all own messages are placed: then [`End::Left`].
    pub fn leave(&mut self) {
        self.leaving = true;
        if self.membership.is_none() && self.unsent.is_empty() {
            self.end(End::Left);
        }
        self.leave_if_done();
    }

    fn leave_if_done(&mut self) {
        let Some(membership) = &self.membership else { return };
        let done = membership.pending.is_empty() && self.unsent.is_empty();
        if self.leaving && !self.leave_sent && done && self.phase == Phase::Live {
            let last_seq = membership.group.delivered(membership.member).unwrap_or(0);
            self.leave_sent = true;
            self.outputs.push_back(Output::Send(ClientFrame::Leave { last_seq }));
        }
    }

    /// The application is done with the first event that it has not acknowledged yet. One call for each event; without
    /// [`SessionConfig::acknowledges`] it does nothing.
    pub fn acknowledge(&mut self) {
        self.untaken.pop_front();
    }

    // What the world did.

    /// A connection stands, and the magic bytes are on their way.
    pub fn connected(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Greeting;
            let agent = concat!("causerie ", env!("CARGO_PKG_VERSION")).to_owned();
            self.outputs.push_back(Output::Send(ClientFrame::Hello {
                oldest: VERSION,
                newest: VERSION,
                agent,
            }));
        }
    }

    /// The connection is gone, and is tried again after `retry_in`.
    pub fn disconnected(&mut self, reason: String, retry_in: Duration) {
        if self.phase != Phase::Over {
            self.phase = Phase::Offline;
            self.leave_sent = false;
            self.heartbeat_at = None;
            self.observer = Observer::default();
            self.has_asked_stable = false;
            self.outputs.retain(|output| !matches!(output, Output::Send(_) | Output::HangUp(_)));
            // What was kept begins with a welcome, also if its membership is over and it has to join anew.
            if !(self.restored && self.rejoining.is_some()) {
                self.event(Event::Reconnecting { reason, retry_in });
            }
        }
    }

    /// A frame has come off the connection: positions are counted here. Call it before anything disturbs the
    /// frame on purpose, and then [`handle_frame`](Self::handle_frame).
    pub fn received(&mut self, frame: &ServerFrame) {
        let ServerFrame::Delivered(record) = frame else { return };
        // Where nothing is asked for again, nothing can have been overtaken.
        let jumps =
            self.config.heartbeat.is_none() && record.position > self.received && self.membership.is_some();
        if record.position.checked_sub(1) == Some(self.received) {
            self.received = record.position;
        } else if jumps {
            self.jumped = Some((self.received + 1, record.position - 1));
            self.received = record.position;
        }
    }

    /// Whether a frame may be lost, delayed or repeated on purpose without breaking a handshake.
    #[must_use]
    pub fn may_disturb(&self, frame: &ServerFrame) -> bool {
        match frame {
            // What a kept session has missed is told again, and nobody would ask for what it has delivered.
            ServerFrame::Delivered(_) if self.catching_up.is_some() => false,
            ServerFrame::Delivered(record) => {
                self.membership.as_ref().is_some_and(|m| record.position > m.joined_at)
            }
            ServerFrame::Want(_) | ServerFrame::Clock(_) => true,
            _ => false,
        }
    }

    /// A frame from the server.
    pub fn handle_frame(&mut self, now: Time, frame: ServerFrame) {
        if self.phase == Phase::Over {
            return;
        }
        match frame {
            ServerFrame::Hello { version, challenge, .. } if self.phase == Phase::Greeting => {
                self.greeted(version, &challenge);
            }
            ServerFrame::Welcome(welcome) => self.welcomed(now, *welcome),
            ServerFrame::Resumed { taken, position } if self.phase == Phase::Resuming => {
                self.resumed(now, taken, position);
            }
            ServerFrame::Delivered(record) => self.record(now, record),
            ServerFrame::Parted { .. } => self.end(End::Left),
            // A late one may come off a disturbed link while a new connection is not let in yet.
            ServerFrame::Want(ranges) if self.phase == Phase::Live => self.resend(now, &ranges),
            ServerFrame::Clock(clock) => {
                if let Some(membership) = &mut self.membership {
                    membership.group.handle_clock(now, Link::Relay, &clock);
                }
            }
            ServerFrame::Refused { seq, is_final, reason } => self.refused(seq, is_final, reason),
            ServerFrame::Watched(watched) => self.watched(now, watched),
            ServerFrame::Error(error) => self.error(error),
            // More than a server names would be taken for others who are not behind.
            ServerFrame::Stable(stable) if self.phase == Phase::Live && stable.behind.len() <= BEHIND_MAX => {
                self.event(Event::Stable(stable));
            }
            // Answers to questions that a session does not ask, and what tomorrow's servers say.
            _ => {}
        }
        self.drain(now);
    }

    fn greeted(&mut self, version: u64, challenge: &Challenge) {
        if version != VERSION {
            return self.end(End::Protocol(format!("version {version} was not offered")));
        }
        let proof = self.key.prove(Purpose::Member, challenge);
        let maker = self.config.maker.as_ref().filter(|_| self.config.create);
        let frame = match &self.membership {
            Some(membership) => {
                self.phase = Phase::Resuming;
                ClientFrame::Resume {
                    room: self.config.room.clone(),
                    member: membership.member,
                    proof,
                    epoch: membership.epoch,
                    position: self.received,
                    clock: membership.group.clock(),
                }
            }
            None => {
                self.phase = Phase::Joining;
                ClientFrame::Join {
                    room: self.config.room.clone(),
                    name: self.config.name.clone(),
                    proof,
                    create: self.config.create,
                    maker: maker.map(|key| key.prove(Purpose::Room, challenge)),
                    after: (self.epoch != 0).then_some(self.placed),
                    epoch: self.epoch,
                }
            }
        };
        self.outputs.push_back(Output::Send(frame));
    }

    fn welcomed(&mut self, now: Time, welcome: Welcome) {
        if !matches!(self.phase, Phase::Joining | Phase::Resuming) {
            return;
        }
        let group = match group_of(&self.config, &welcome.snapshot, welcome.member, &welcome.limits) {
            Ok(group) => group,
            Err(error) => return self.end(End::Protocol(format!("a group cannot be like that: {error}"))),
        };
        if !group.is_local(welcome.member) {
            return self.end(End::Protocol("the snapshot does not know its member".into()));
        }
        if welcome.first == 0 || welcome.first - 1 > welcome.position {
            return self.end(End::Protocol("the history begins behind the snapshot".into()));
        }
        if welcome.snapshot.next_ordinals.len() > ORIGINS_MAX {
            return self.end(End::Protocol("the snapshot has more origins than there are servers".into()));
        }
        let before = self.membership.take();
        let untold = self.restored || self.catching_up.is_some();
        (self.unkept, self.catching_up) = (true, None);
        if welcome.epoch == self.epoch {
            // What was delivered and not placed comes again.
            self.seen.extend(self.ready.messages().map(|(_, id, _)| id));
        } else if let Some(shared) = welcome.shared {
            // Another continuation of the same log: what was delivered of the common part comes again.
            let common = self.ready.messages().take_while(|(position, ..)| *position <= shared);
            self.seen.extend(common.map(|(_, id, _)| id));
        } else {
            // Another log: nothing in it has been seen.
            self.seen.clear();
        }
        self.ready.clear();
        self.arrived.clear();
        // What was not told again comes as history.
        let again = core::mem::take(&mut self.again);
        for event in &mut self.untaken {
            if let Untaken::Placed(epoch, position) = event
                && *epoch == self.epoch
                && welcome.shared.is_some_and(|shared| *position <= shared)
            {
                *epoch = welcome.epoch;
            }
        }
        let mut membership = Membership {
            member: welcome.member,
            epoch: welcome.epoch,
            group,
            limits: welcome.limits,
            joined_at: welcome.position,
            newcomer: self.epoch == 0,
            pending: VecDeque::new(),
            names: Names::default(),
        };
        for MemberInfo { member, name, present } in welcome.members {
            if !membership.names.add(member, name, present) {
                return self.end(too_many_names());
            }
        }
        self.epoch = welcome.epoch;
        self.received = welcome.first - 1;
        self.placed = welcome.first - 1;
        if let Some(from) = welcome.gap_from {
            self.event(Event::Gap { from, to: welcome.first - 1 });
        }
        self.phase = Phase::Live;
        self.heartbeat_at = self.config.heartbeat.map(|pause| now + pause);
        if let Some(before) = before.filter(|b| b.member == membership.member) {
            // The same member, from a fresh snapshot: its messages that the server has not taken are still its.
            let taken = membership.group.delivered(membership.member).unwrap_or(0);
            for mut pending in before.pending {
                let id = pending.message.id();
                if id.seq <= taken {
                    self.seen.extend((!again.contains(&id)).then_some(id));
                } else if membership.group.readopt(now, pending.message.clone()) {
                    pending.sent_at = Some(now);
                    let packet = pending.message.packet().clone();
                    self.outputs.push_back(Output::Send(ClientFrame::Broadcast(packet)));
                    membership.pending.push_back(pending);
                    self.again.extend(again.contains(&id).then_some(id));
                } else {
                    return self.end(End::Protocol("own messages do not fit the server's snapshot".into()));
                }
            }
            while membership.group.poll_output().is_some() {}
            let resent = membership.pending.len();
            self.membership = Some(membership);
            self.tell_restored();
            self.event(Event::Resumed { resent });
            self.catching_up = Some(if untold { welcome.position } else { 0 });
            self.catch_up(now);
        } else {
            let (member, limits) = (membership.member, membership.limits);
            self.membership = Some(membership);
            if self.rejoining.is_some() {
                self.tell_restored();
            }
            self.restored = false;
            match self.rejoining.take() {
                None => {
                    let members = self.members();
                    let Welcome { room, created, epoch, first, position, .. } = welcome;
                    let welcomed =
                        Event::Welcomed { member, room, created, epoch, first, position, members, limits };
                    self.event(welcomed);
                    self.say_unsent(now, false);
                }
                Some(reason) if untold => {
                    // What was said in another life is told in this one once what it may refer to is.
                    self.rejoined = Some(reason);
                    self.catching_up = Some(welcome.position);
                    self.catch_up(now);
                }
                Some(reason) => {
                    let renamed = self.say_unsent(now, true);
                    self.event(Event::Rejoined { member, reason, renamed });
                }
            }
        }
        self.leave_if_done();
    }

    /// Says again under this membership what was not taken under the last one: the new ids of what is said `quietly`,
    /// since the application has been told of it already.
    fn say_unsent(&mut self, now: Time, quietly: bool) -> Vec<(MessageId, MessageId)> {
        let mut renamed = Vec::new();
        // What messages that had not been taken are to those that refer to them: for a deletion or an edit that cannot be
        // said any more, what it was about.
        let mut instead = BTreeMap::new();
        // What was kept has no numbers for these.
        self.unkept |= !self.unsent.is_empty();
        for (old, payload) in core::mem::take(&mut self.unsent) {
            let Some(old) = old else {
                self.broadcast(now, &payload);
                continue;
            };
            let membership = self.membership.as_mut().expect("just made");
            let body = Body::decode(&payload.into());
            let target =
                body.target().and_then(|target| instead.get(&target).copied().unwrap_or(Some(target)));
            let target = target.filter(|&target| membership.group.has_delivered(target));
            let limit = membership.limits.text_bytes as usize;
            let allowed = body.clone().retargeted(target).and_then(|body| {
                body.check(membership.member, limit)?;
                Ok(body)
            });
            // It has been shown already, under its old id.
            let said = allowed.and_then(|body| {
                let said = membership.group.broadcast(now, membership.member, &body.encode());
                said.map_err(|_| BodyError::TooLong { what: "message", length: body.encode().len(), limit })
            });
            self.instead.insert(old, said.as_ref().ok().copied());
            match said {
                Ok(new) => {
                    instead.insert(old, Some(new));
                    renamed.push((old, new));
                    self.drain_but(now, quietly.then_some(new));
                }
                Err(error) => {
                    instead.insert(old, target);
                    self.event(Event::Unsaid { id: old, body, reason: error.to_string() });
                }
            }
        }
        for later in self.instead.values_mut() {
            *later = later.and_then(|id| instead.get(&id).copied().unwrap_or(Some(id)));
        }
        while self.instead.len() > INSTEAD_MAX {
            self.instead.pop_first();
        }
        renamed
    }

    fn resumed(&mut self, now: Time, taken: u64, last: u64) {
        let Some(membership) = &mut self.membership else { return };
        if taken > membership.group.delivered(membership.member).unwrap_or(0) {
            let reason = "the server has messages of this member that it did not send here";
            return self.end(End::Protocol(reason.into()));
        }
        self.phase = Phase::Live;
        self.heartbeat_at = self.config.heartbeat.map(|pause| now + pause);
        let mut resent = 0;
        for pending in membership.pending.iter_mut().filter(|p| p.message.id().seq > taken) {
            pending.sent_at = Some(now);
            resent += 1;
            let packet = pending.message.packet().clone();
            self.outputs.push_back(Output::Send(ClientFrame::Broadcast(packet)));
        }
        self.tell_restored();
        self.event(Event::Resumed { resent });
        self.catching_up = self.catching_up.map(|_| last);
        self.catch_up(now);
        self.leave_if_done();
    }

    /// A record of the log has arrived.
    fn record(&mut self, now: Time, record: Delivered) {
        if let Some((from, to)) = self.jumped.take() {
            self.event(Event::Gap { from, to });
            self.ready.leave_out(from, to);
            self.place();
        }
        let Some(membership) = &mut self.membership else { return };
        if record.position <= self.placed {
            return;
        }
        let message = match Message::decode(record.packet) {
            Ok(message) => message,
            Err(error) => return self.end(End::Protocol(format!("record {}: {error}", record.position))),
        };
        let id = message.id();
        if record.position <= membership.joined_at {
            if record.position - 1 == self.placed {
                self.placed = record.position;
                self.history(record.position, record.time_millis, &message);
                if self.placed == self.membership.as_ref().map_or(0, |m| m.joined_at) {
                    self.seen.clear();
                }
            }
            return;
        }
        if id.member == membership.member {
            if !membership.group.has_delivered(id) {
                return self.end(End::Protocol(format!("{id} was never said here")));
            }
            membership.pending.retain(|pending| pending.message.id() != id);
            self.tell_again(&message, Some((record.position, record.time_millis)));
            self.ready.add(record.position, id, record.time_millis);
            self.place();
            return self.leave_if_done();
        }
        if membership.group.has_delivered(id) {
            self.tell_again(&message, Some((record.position, record.time_millis)));
            if self.ready.add(record.position, id, record.time_millis) {
                self.place();
            }
            return;
        }
        self.arrived.insert(id, (record.position, record.time_millis));
        let refused = membership.group.handle_message(now, Link::Relay, message).err();
        if refused.is_some() {
            // Repair brings it again.
            self.arrived.remove(&id);
        }
        if let Some(error) = refused.filter(cbcast::ReceiveError::is_final) {
            self.end(End::Protocol(format!("record {}: {error}", record.position)));
        }
    }

    /// Of what was delivered in another life, what the application had not acknowledged, and what was its own.
    fn tell_again(&mut self, message: &Message, place: Option<(u64, u64)>) {
        if self.again.remove(&message.id()) {
            self.deliver_data(message, place, None);
        }
    }

    /// A record from before the group began: shown and placed, and not the group's business.
    fn history(&mut self, position: u64, time_millis: u64, message: &Message) {
        let id = message.id();
        if self.seen.remove(&id) {
            return self.event(Event::Placed { id, position, time_millis });
        }
        let membership = self.membership.as_mut().expect("checked by the caller");
        let payload = message.payload();
        let history = membership.newcomer;
        match message.kind() {
            Kind::Joined(member) => {
                let name = String::from_utf8_lossy(&payload).into_owned();
                if membership.names.get(member).is_none()
                    && !membership.names.add(member, name.clone(), false)
                {
                    return self.end(too_many_names());
                }
                self.event(Event::Joined { member, name, history });
            }
            Kind::Left { member, .. } => {
                // It says nothing more in this history either.
                let name = membership.names.remove(member).unwrap_or_else(|| member.to_string());
                let reason = String::from_utf8_lossy(&payload).into_owned();
                self.event(Event::Left { member, name, reason, history });
            }
            Kind::Hosted { .. } | Kind::Expelled { .. } => {}
            Kind::Data | Kind::Signed(_) | Kind::Emptied { .. } => {
                let author = membership.names.get(id.member).cloned();
                let author = author.unwrap_or_else(|| id.member.to_string());
                let post = Post {
                    id,
                    author,
                    body: Body::decode(&payload),
                    own: id.member == membership.member,
                    position: Some(position),
                    time_millis: Some(time_millis),
                    held_for: None,
                    history,
                    deps: message.deps().collect(),
                };
                self.event(Event::Delivered(post));
            }
        }
        if !history {
            self.event(Event::Placed { id, position, time_millis });
        }
    }

    /// Places what is next, and what follows it.
    fn place(&mut self) {
        while let Some(next) = self.ready.next(self.placed) {
            match next {
                Next::Message { id, position, time_millis } => {
                    self.placed = position;
                    self.event(Event::Placed { id, position, time_millis });
                }
                Next::Nothing { from, to, is_told } => {
                    self.placed = to;
                    if !is_told {
                        self.event(Event::Gap { from, to });
                    }
                }
            }
        }
    }

    fn resend(&mut self, now: Time, ranges: &[MissingRange]) {
        let Some(membership) = &mut self.membership else { return };
        let ranges = &ranges[..ranges.len().min(RANGES_MAX)];
        let wanted =
            |id: MessageId| ranges.iter().any(|r| r.member == id.member && (r.from..=r.to).contains(&id.seq));
        let mut bytes = 0;
        for pending in membership.pending.iter_mut().filter(|p| wanted(p.message.id())).take(RESEND_MAX) {
            bytes += pending.message.packet().len();
            if bytes > RESEND_BYTES_MAX && bytes > pending.message.packet().len() {
                break;
            }
            pending.sent_at = Some(now);
            let packet = pending.message.packet().clone();
            self.outputs.push_back(Output::Send(ClientFrame::Broadcast(packet)));
        }
    }

    fn refused(&mut self, seq: u64, is_final: bool, mut reason: String) {
        clipped(&mut reason, REASON_CHARS_MAX);
        let Some(membership) = &self.membership else { return };
        let id = MessageId::new(membership.member, seq);
        if is_final {
            let code = ErrorCode::MembershipEnded;
            return self.end(End::Refused { code, message: reason, suggestion: None });
        }
        self.event(Event::Refused { id, reason });
        // On a link without heartbeats the connection is the repair: what is missing is sent again on resuming.
        if self.config.heartbeat.is_none() {
            self.outputs.push_back(Output::HangUp("the server cannot take more now".into()));
        }
    }

    fn error(&mut self, mut error: ErrorFrame) {
        clipped(&mut error.message, REASON_CHARS_MAX);
        clipped(&mut error.suggestion, REASON_CHARS_MAX);
        let resuming = self.phase == Phase::Resuming;
        match error.code {
            ErrorCode::ShuttingDown | ErrorCode::TimedOut | ErrorCode::TooFarBehind => {
                self.outputs.push_back(Output::HangUp(error.message));
            }
            ErrorCode::Expired => self.lose_membership(error.taken, error.message),
            ErrorCode::WrongKey | ErrorCode::Diverged | ErrorCode::NoSuchRoom if resuming => {
                // 0 where the server knows nothing of this member.
                self.lose_membership(error.taken, error.message);
            }
            // What was said is not given up for that.
            ErrorCode::TooOften | ErrorCode::StorageFull if self.rejoining.is_some() => {
                self.outputs.push_back(Output::HangUp(error.message));
            }
            ErrorCode::StorageFull if resuming => self.outputs.push_back(Output::HangUp(error.message)),
            ErrorCode::StorageFull | ErrorCode::StorageAgain if self.phase == Phase::Live => {
                self.event(Event::Trouble { message: error.message });
            }
            code => {
                let suggestion = Some(error.suggestion).filter(|s| !s.is_empty());
                self.end(End::Refused { code, message: error.message, suggestion });
            }
        }
    }

    /// The member is no more: what it had said and was not taken is kept for the next.
    fn lose_membership(&mut self, taken: u64, reason: String) {
        if self.leaving && self.leave_sent {
            return self.end(End::Left);
        }
        if let Some(membership) = self.membership.take() {
            for pending in membership.pending.into_iter().rev() {
                let id = pending.message.id();
                if id.seq <= taken {
                    // What was said in another life may not have been told in this one.
                    self.seen.extend((!self.again.contains(&id)).then_some(id));
                } else {
                    self.unsent.push_front((Some(id), pending.message.payload().to_vec()));
                }
            }
        }
        if self.leaving && self.unsent.is_empty() {
            return self.end(End::Left);
        }
        self.key = KeyPair::new((self.config.fresh_seed)());
        self.unkept = true;
        self.rejoining = Some(reason);
        self.outputs.push_back(Output::HangUp("joining again".into()));
    }

    fn end(&mut self, end: End) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            let reason = end.to_string();
            self.event(Event::Ended(end));
            self.outputs.push_back(Output::HangUp(reason));
        }
    }

    /// The application is in trouble that is not the session's: told in order with all else.
    pub fn trouble(&mut self, message: String) {
        self.event(Event::Trouble { message });
    }

    fn event(&mut self, event: Event) {
        if self.config.acknowledges {
            self.untaken.push_back(match &event {
                &Event::Placed { position, .. } => Untaken::Placed(self.epoch, position),
                &Event::Delivered(Post { history: true, position: Some(position), .. }) => {
                    Untaken::Placed(self.epoch, position)
                }
                Event::Delivered(post) => Untaken::Delivered(post.id),
                Event::Rejoined { renamed, .. } => {
                    Untaken::Renamed(renamed.iter().map(|(_, id)| *id).collect())
                }
                _ => Untaken::Other,
            });
        }
        self.outputs.push_back(Output::Event(event));
    }

    /// Does what the group says.
    fn drain(&mut self, now: Time) {
        self.drain_but(now, None);
        self.catch_up(now);
        self.observer.delivered_to(now, self.placed);
        self.follow_stable();
    }

    /// Asks up to where members have delivered, once there is something of this member's that they could.
    fn follow_stable(&mut self) {
        let has_spoken = |m: &Membership| m.group.delivered(m.member).is_some_and(|count| count > 0);
        if self.config.follows_stable
            && self.phase == Phase::Live
            && !self.has_asked_stable
            && self.membership.as_ref().is_some_and(has_spoken)
        {
            self.has_asked_stable = true;
            self.outputs.push_back(Output::Send(ClientFrame::FollowStable));
        }
    }

    /// The same, without telling of `quiet`.
    fn drain_but(&mut self, now: Time, quiet: Option<MessageId>) {
        loop {
            let live = self.phase == Phase::Live;
            let Some(membership) = &mut self.membership else { return };
            let Some(output) = membership.group.poll_output() else { break };
            match output {
                GroupOutput::Transmit(Transmit { packet: Packet::Message(message), .. }) => {
                    if live {
                        // Before what may depend on it.
                        self.outputs.extend(self.observer.take().map(Output::Send));
                        let packet = message.packet().clone();
                        self.outputs.push_back(Output::Send(ClientFrame::Broadcast(packet)));
                    }
                    membership.pending.push_back(Pending { message, sent_at: live.then_some(now) });
                }
                GroupOutput::Deliver { message, held_since } if quiet != Some(message.id()) => {
                    self.deliver(now, &message, held_since);
                }
                GroupOutput::Held { id, waits_for } => {
                    let group = &membership.group;
                    self.observer.see_held(now, id, (0, waits_for), || group.clock());
                    let name = |id: MessageId| membership.names.get(id.member).cloned();
                    let (author, waits_for_author) = (name(id), name(waits_for));
                    let clock = group.clock();
                    self.event(Event::Held { id, author, waits_for, waits_for_author, clock });
                }
                GroupOutput::Transmit(Transmit {
                    packet: Packet::Control(Control::Want(ranges)), ..
                }) if live => {
                    self.outputs.push_back(Output::Send(ClientFrame::Want(ranges)));
                }
                GroupOutput::Rollback { member, seq } => {
                    let id = MessageId::new(member, seq);
                    return self.end(End::Protocol(format!("{id} was never said here")));
                }
                _ => {}
            }
        }
        self.place();
    }

    fn deliver(&mut self, now: Time, message: &Message, held_since: Option<Time>) {
        let membership = self.membership.as_mut().expect("its group delivers");
        let id = message.id();
        if id.member != membership.member {
            let held_millis = held_since.map(|since| millis(now.since(since)));
            self.observer.see(now, id, Observed::Delivered { held_millis });
        }
        let place = self.arrived.remove(&id);
        // Behind what is placed there is no place any more: it had been given up.
        if let Some((position, time_millis)) = place.filter(|(position, _)| *position > self.placed) {
            self.ready.add(position, id, time_millis);
        }
        let payload = message.payload();
        match message.kind() {
            Kind::Joined(member) => {
                let name = String::from_utf8_lossy(&payload).into_owned();
                if !membership.names.add(member, name.clone(), true) {
                    return self.end(too_many_names());
                }
                self.event(Event::Joined { member, name, history: false });
            }
            Kind::Left { member, .. } => {
                let name = membership.names.remove(member).unwrap_or_else(|| member.to_string());
                let reason = String::from_utf8_lossy(&payload).into_owned();
                self.event(Event::Left { member, name, reason, history: false });
            }
            Kind::Hosted { .. } | Kind::Expelled { .. } => {}
            Kind::Data | Kind::Signed(_) | Kind::Emptied { .. } => {
                self.deliver_data(message, place, held_since.map(|since| now.since(since)));
            }
        }
    }

    fn deliver_data(&mut self, message: &Message, place: Option<(u64, u64)>, held_for: Option<Duration>) {
        let membership = self.membership.as_ref().expect("its group delivers");
        let id = message.id();
        let author = membership.names.get(id.member).cloned();
        let own = id.member == membership.member;
        self.event(Event::Delivered(Post {
            id,
            author: author.unwrap_or_else(|| id.member.to_string()),
            body: Body::decode(&message.payload()),
            own,
            position: place.map(|(position, _)| position),
            time_millis: place.map(|(_, time)| time),
            held_for,
            history: false,
            deps: message.deps().collect(),
        }));
    }

    /// The deadline of [`poll_timeout`](Self::poll_timeout) has come. Early or repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.phase != Phase::Live {
            return;
        }
        self.outputs.extend(self.observer.handle_timeout(now).into_iter().map(Output::Send));
        let Some(membership) = &mut self.membership else { return };
        membership.group.handle_timeout(now);
        if let Some(pause) = self.config.heartbeat.filter(|_| self.heartbeat_at.is_some_and(|at| at <= now)) {
            self.heartbeat_at = Some(now + pause);
            self.outputs.push_back(Output::Send(ClientFrame::Clock(membership.group.clock())));
            // The message may have been lost, or its coming back.
            let overdue = |p: &&mut Pending| p.sent_at.is_none_or(|sent| sent + pause * 2 <= now);
            let mut own = Vec::new();
            for pending in membership.pending.iter_mut().filter(overdue).take(RESEND_MAX) {
                pending.sent_at = Some(now);
                let (id, packet) = (pending.message.id(), pending.message.packet().clone());
                own.push(MissingRange { member: id.member, from: id.seq, to: id.seq });
                self.outputs.push_back(Output::Send(ClientFrame::Broadcast(packet)));
            }
            if !own.is_empty() {
                self.outputs.push_back(Output::Send(ClientFrame::Want(own)));
            }
        }
        self.drain(now);
    }

    /// Others want to be told something, or nothing any more. Who watches from now on is told what is held already.
    fn watched(&mut self, now: Time, watched: Watched) {
        if !self.observer.watched(watched) {
            return;
        }
        let Some(Membership { group, .. }) = &self.membership else { return };
        for held in group.held() {
            let held_millis = millis(now.since(held.since));
            self.observer.see_held(now, held.id, (held_millis, held.waits_for), || group.clock());
        }
    }

    // What the driver does next.

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.phase != Phase::Live {
            return None;
        }
        let repair = self.membership.as_ref().and_then(|m| m.group.poll_timeout());
        repair.into_iter().chain(self.heartbeat_at).chain(self.observer.poll_timeout()).min()
    }

    // What there is to know.

    /// Whether the session has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the member is in, with a connection that stands.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Who the client is in the room, if it is in.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.membership.as_ref().map(|m| m.member)
    }

    /// Own messages that have not been placed.
    #[must_use]
    pub fn on_their_way(&self) -> usize {
        self.membership.as_ref().map_or(0, |m| m.pending.len()) + self.unsent.len()
    }

    /// Who is in, in order of joining.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        let Some(m) = &self.membership else { return Vec::new() };
        m.names.present()
    }

    /// Who is in, in order of joining, and how many messages of each have been delivered here.
    #[must_use]
    pub fn vector(&self) -> Vec<(MemberInfo, u64)> {
        let delivered = |m: &MemberInfo| self.membership.as_ref()?.group.delivered(m.member);
        self.members().into_iter().map(|m| (delivered(&m).unwrap_or(0), m)).map(|(n, m)| (m, n)).collect()
    }

    /// What is held back, and what it waits for.
    #[must_use]
    pub fn held(&self, now: Time) -> Vec<HeldPost> {
        let Some(membership) = &self.membership else { return Vec::new() };
        let name = |id: MessageId| membership.names.get(id.member).cloned();
        let mut held: Vec<_> = membership.group.held().collect();
        held.sort_unstable_by_key(|h| (h.since, h.id));
        held.into_iter()
            .map(|h| HeldPost {
                id: h.id,
                author: name(h.id),
                held_for: now.since(h.since),
                waits_for: h.waits_for,
                waits_for_author: name(h.waits_for),
                root_cause: membership.group.root_cause(h.id),
            })
            .collect()
    }
}
