//! A client's side of a room: a state machine without I/O.
//!
//! It runs the member's own [`Group`](cbcast::Group), so it checks the server's order end to end; keeps the member's
//! messages until they come back from the server's log; and goes on after a broken connection without loss or repetition.
//!
//! Delivering and placing are two steps. A message is *delivered* once all its causes have been ([`Event::Delivered`]);
//! it is *placed* once everything before it in the server's log has been delivered ([`Event::Placed`]). What is
//! placed never moves.
//!
//! The parts own what they decide about: `connection` what ends with a connection, `membership` the group and the names,
//! `placement` places in the log, `outbox` own messages, `receipts` what the application has acknowledged, `recovery` what
//! a session makes up for. Here they meet.

mod config;
mod connection;
mod event;
mod handshake;
mod keep;
mod membership;
mod names;
mod observe;
mod outbox;
mod placement;
mod placing;
mod receipts;
mod recovery;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use cbcast::{
    Control, Kind, Link, MemberId, Message, MessageId, MissingRange, Output as GroupOutput, Packet, Time,
    Transmit,
};

pub use self::config::{SessionConfig, kept_name};
use self::connection::{ConnectionState, Phase};
pub use self::event::{End, Event, HeldPost, KeptError, Post, SayError, SessionOutput};
use self::membership::{Membership, too_many_names};
use self::outbox::SessionOutbox;
use self::placement::{PlacedAt, Placement};
use self::placing::Next;
use self::receipts::Receipts;
use self::recovery::SessionRecovery;
use crate::content::body::{Body, BodyError};
use crate::content::text::clipped;
use crate::key::KeyPair;
use crate::wire::{
    BEHIND_MAX, ClientFrame, Delivered, ErrorCode, ErrorFrame, MemberInfo, Observed, ServerFrame, VERSION,
    Watched,
};

/// Characters of a server's reasons that are told.
const REASON_CHARS_MAX: usize = 500;

/// A client's side of a room. Drain [`poll_output`](Self::poll_output) after every call that takes `&mut`; call
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    /// The key of the membership, or of the one that is asked for.
    key: KeyPair,
    connection: ConnectionState,
    membership: Option<Membership>,
    placement: Placement,
    outbox: SessionOutbox,
    receipts: Receipts,
    recovery: SessionRecovery,
    /// The application wants to leave.
    leaving: bool,
    outputs: VecDeque<SessionOutput>,
    /// Something has changed that must be kept before anything is sent.
    unkept: bool,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Session {
    /// Makes a session that has not connected yet.
    #[must_use]
    pub fn new(config: SessionConfig) -> Self {
        Self {
            key: KeyPair::new((config.fresh_seed)()),
            config,
            connection: ConnectionState::default(),
            membership: None,
            placement: Placement::default(),
            outbox: SessionOutbox::default(),
            receipts: Receipts::default(),
            recovery: SessionRecovery::default(),
            leaving: false,
            outputs: VecDeque::new(),
            unkept: true,
        }
    }

    // Commands from the application.

    /// Says something: delivered here at once, on its way to the others as soon as there is a connection. Returns its id,
    /// unless the room has to be joined (again) first. Until then nothing can be said that refers to a message.
    ///
    /// # Errors
    /// [`SayError`]; nothing changed.
    pub fn say(&mut self, now: Time, body: &Body) -> Result<Option<MessageId>, SayError> {
        if self.is_over() || self.leaving {
            return Err(SayError::Over);
        }
        let body = match body.target().and_then(|target| self.outbox.replacement(target)) {
            None => Cow::Borrowed(body),
            Some(Some(new)) => Cow::Owned(body.clone().retargeted(Some(new))?),
            Some(None) => {
                let target = body.target().expect("it was looked for");
                return Err(BodyError::NoSuchMessage { target }.into());
            }
        };
        let m = self.membership.as_ref().filter(|_| !self.recovery.catch_up.is_open());
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
                self.outbox.push_unsent((None, payload));
                Ok(None)
            }
        }
    }

    fn broadcast(&mut self, now: Time, payload: &[u8]) -> Option<MessageId> {
        let membership = self.membership.as_mut().filter(|_| !self.recovery.catch_up.is_open())?;
        let id = membership.group.broadcast(now, membership.member, payload).ok()?;
        self.drain(now);
        Some(id)
    }

    /// Leaves once all own messages are placed: then [`End::Left`].
    pub fn leave(&mut self) {
        self.leaving = true;
        if self.membership.is_none() && self.on_their_way() == 0 {
            self.end(End::Left);
        }
        self.leave_if_done();
    }

    fn leave_if_done(&mut self) {
        let Some(membership) = &self.membership else { return };
        let connection = &mut self.connection;
        let may_ask = connection.is_live() && !connection.has_asked_to_leave;
        if self.leaving && may_ask && self.outbox.len() == 0 {
            connection.has_asked_to_leave = true;
            self.outputs.push_back(SessionOutput::Send(ClientFrame::Leave { last_seq: membership.said() }));
        }
    }

    /// Acknowledges the first event that the application has not acknowledged yet. One call for each event; without
    /// [`SessionConfig::acknowledges`] it does nothing.
    pub fn acknowledge(&mut self) {
        self.receipts.acknowledge();
    }

    // What the world did.

    /// Begins a connection; the magic bytes are on their way.
    pub fn connected(&mut self) {
        if !self.is_over() {
            self.connection.phase = Phase::Greeting;
            let agent = concat!("causerie ", env!("CARGO_PKG_VERSION")).to_owned();
            self.outputs.push_back(SessionOutput::Send(ClientFrame::Hello {
                oldest: VERSION,
                newest: VERSION,
                agent,
            }));
        }
    }

    /// Ends the connection, which is tried again after `retry_in`.
    pub fn disconnected(&mut self, reason: String, retry_in: Duration) {
        if !self.is_over() {
            self.connection = ConnectionState::default();
            self.outputs
                .retain(|output| !matches!(output, SessionOutput::Send(_) | SessionOutput::HangUp(_)));
            // What was kept begins with a welcome, also if its membership is over and it has to join anew.
            if !(self.recovery.is_restored && self.recovery.rejoining.is_some()) {
                self.event(Event::Reconnecting { reason, retry_in });
            }
        }
    }

    /// Counts the position of a frame that has come off the connection. Call it before anything disturbs the frame on
    /// purpose, and then [`handle_frame`](Self::handle_frame).
    pub fn received(&mut self, frame: &ServerFrame) {
        let ServerFrame::Delivered(record) = frame else { return };
        // Where nothing is asked for again, nothing can have been overtaken.
        let may_jump = self.config.heartbeat.is_none() && self.membership.is_some();
        self.placement.receive(record.position, may_jump);
    }

    /// Returns whether a frame may be lost, delayed or repeated on purpose without breaking a handshake.
    #[must_use]
    pub fn may_disturb(&self, frame: &ServerFrame) -> bool {
        match frame {
            // What a kept session has missed is told again, and nobody would ask for what it has delivered.
            ServerFrame::Delivered(_) if self.recovery.catch_up.is_open() => false,
            ServerFrame::Delivered(record) => {
                self.membership.as_ref().is_some_and(|m| record.position > m.joined_at)
            }
            ServerFrame::Want(_) | ServerFrame::Clock(_) => true,
            _ => false,
        }
    }

    /// Takes a frame from the server.
    pub fn handle_frame(&mut self, now: Time, frame: ServerFrame) {
        if self.is_over() {
            return;
        }
        let phase = self.connection.phase;
        match frame {
            ServerFrame::Hello { version, challenge, .. } if phase == Phase::Greeting => {
                self.greeted(version, &challenge);
            }
            ServerFrame::Welcome(welcome) => self.welcomed(now, *welcome),
            ServerFrame::Resumed { taken, position } if phase == Phase::Resuming => {
                self.resumed(now, taken, position);
            }
            ServerFrame::Delivered(record) => self.record(now, record),
            ServerFrame::Parted { .. } => self.end(End::Left),
            // A late one may come off a disturbed link while a new connection is not let in yet.
            ServerFrame::Want(ranges) if phase == Phase::Live => {
                let packets = self.outbox.resend_wanted(&ranges, now);
                self.send_packets(packets);
            }
            ServerFrame::Clock(clock) => {
                if let Some(membership) = &mut self.membership {
                    membership.group.handle_clock(now, Link::Relay, &clock);
                }
            }
            ServerFrame::Refused { seq, is_final, reason } => self.refused(seq, is_final, reason),
            ServerFrame::Watched(watched) => self.watched(now, watched),
            ServerFrame::Error(error) => self.error(error),
            // More than a server names would be taken for others who are not behind.
            ServerFrame::Stable(stable) if phase == Phase::Live && stable.behind.len() <= BEHIND_MAX => {
                self.event(Event::Stable(stable));
            }
            // Answers to questions that a session does not ask, and what tomorrow's servers say.
            _ => {}
        }
        self.drain(now);
    }

    /// Takes a record of the log that has arrived.
    fn record(&mut self, now: Time, record: Delivered) {
        if let Some((from, to)) = self.placement.pass_over() {
            self.event(Event::Gap { from, to });
            self.place();
        }
        let Some(membership) = &mut self.membership else { return };
        if record.position <= self.placement.placed() {
            return;
        }
        let message = match Message::decode(record.packet) {
            Ok(message) => message,
            Err(error) => return self.end(End::Protocol(format!("record {}: {error}", record.position))),
        };
        let (id, place) = (message.id(), (record.position, record.time_millis));
        if record.position <= membership.joined_at {
            if self.placement.place_history(record.position) {
                let is_last = record.position == membership.joined_at;
                self.history(place, &message);
                if is_last {
                    self.placement.forget_seen();
                }
            }
            return;
        }
        if id.member == membership.member {
            if !membership.group.has_delivered(id) {
                return self.end(End::Protocol(format!("{id} was never said here")));
            }
            self.outbox.came_back(id);
            self.tell_again(&message, Some(place));
            self.placement.add(id, place);
            self.place();
            return self.leave_if_done();
        }
        if membership.group.has_delivered(id) {
            self.tell_again(&message, Some(place));
            if self.placement.add(id, place) {
                self.place();
            }
            return;
        }
        self.placement.arrive(id, place);
        let refused = membership.group.handle_message(now, Link::Relay, message).err();
        if refused.is_some() {
            // Repair brings it again.
            self.placement.refuse(id);
        }
        if let Some(error) = refused.filter(cbcast::ReceiveError::is_final) {
            self.end(End::Protocol(format!("record {}: {error}", record.position)));
        }
    }

    /// Tells, of what was delivered in another life, what the application had not acknowledged, and what was its own.
    fn tell_again(&mut self, message: &Message, place: Option<PlacedAt>) {
        if self.receipts.take_retold(message.id()) {
            self.deliver_data(message, place, None);
        }
    }

    /// Tells a record from before the group began: shown and placed, and not the group's business.
    fn history(&mut self, (position, time_millis): PlacedAt, message: &Message) {
        let id = message.id();
        if self.placement.take_seen(id) {
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
                let author = membership.author(id).unwrap_or_else(|| id.member.to_string());
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
        while let Some(next) = self.placement.place() {
            match next {
                Next::Message { id, position, time_millis } => {
                    self.event(Event::Placed { id, position, time_millis });
                }
                Next::Nothing { from, to, is_told } => {
                    if !is_told {
                        self.event(Event::Gap { from, to });
                    }
                }
            }
        }
    }

    fn refused(&mut self, seq: Option<u64>, is_final: bool, mut reason: String) {
        clipped(&mut reason, REASON_CHARS_MAX);
        let Some(membership) = &self.membership else { return };
        let id = seq.map(|seq| MessageId::new(membership.member, seq));
        if is_final {
            let code = ErrorCode::MembershipEnded;
            return self.end(End::Refused { code, message: reason, suggestion: None });
        }
        if let Some(id) = id {
            self.event(Event::Refused { id, reason });
        }
        // On a link without heartbeats the connection is the repair: what is missing is sent again on resuming.
        if self.config.heartbeat.is_none() {
            self.outputs.push_back(SessionOutput::HangUp("the server cannot take more now".into()));
        }
    }

    fn error(&mut self, mut error: ErrorFrame) {
        clipped(&mut error.message, REASON_CHARS_MAX);
        error.suggestion.iter_mut().for_each(|name| clipped(name, REASON_CHARS_MAX));
        let resuming = self.connection.phase == Phase::Resuming;
        match error.code {
            ErrorCode::ShuttingDown | ErrorCode::TimedOut | ErrorCode::TooFarBehind => {
                self.outputs.push_back(SessionOutput::HangUp(error.message));
            }
            ErrorCode::Expired => self.lose_membership(error.taken.unwrap_or(0), error.message),
            ErrorCode::WrongKey | ErrorCode::Diverged | ErrorCode::NoSuchRoom if resuming => {
                // None where the server knows nothing of this member.
                self.lose_membership(error.taken.unwrap_or(0), error.message);
            }
            // What was said is not given up for that.
            ErrorCode::TooOften | ErrorCode::StorageFull | ErrorCode::Lockdown
                if self.recovery.rejoining.is_some() =>
            {
                self.outputs.push_back(SessionOutput::HangUp(error.message));
            }
            ErrorCode::StorageFull if resuming => {
                self.outputs.push_back(SessionOutput::HangUp(error.message))
            }
            ErrorCode::StorageFull | ErrorCode::StorageAgain if self.is_live() => {
                self.event(Event::Trouble { message: error.message });
            }
            code => {
                self.end(End::Refused { code, message: error.message, suggestion: error.suggestion });
            }
        }
    }

    fn end(&mut self, end: End) {
        if !self.is_over() {
            self.connection.phase = Phase::Over;
            let reason = end.to_string();
            self.event(Event::Ended(end));
            self.outputs.push_back(SessionOutput::HangUp(reason));
        }
    }

    /// Ends the session, since the server is not trusted to be the one that it was.
    pub fn distrust(&mut self, why: String) {
        self.end(End::Untrusted(why));
    }

    /// Tells of trouble of the application that is not the session's, in order with all else.
    pub fn trouble(&mut self, message: String) {
        self.event(Event::Trouble { message });
    }

    fn event(&mut self, event: Event) {
        if self.config.acknowledges {
            self.receipts.note(&event, self.placement.epoch());
        }
        self.outputs.push_back(SessionOutput::Event(event));
    }

    fn send_packets(&mut self, packets: impl IntoIterator<Item = Bytes>) {
        let frames = packets.into_iter().map(|packet| SessionOutput::Send(ClientFrame::Broadcast(packet)));
        self.outputs.extend(frames);
    }

    /// Does what the group says.
    fn drain(&mut self, now: Time) {
        self.drain_but(now, None);
        self.catch_up(now);
        self.connection.observer.delivered_to(now, self.placement.placed());
        self.follow_stable();
    }

    /// Asks up to where members have delivered, once there is something of this member's that they could.
    fn follow_stable(&mut self) {
        if self.config.follows_stable
            && self.is_live()
            && !self.connection.has_asked_stable
            && self.membership.as_ref().is_some_and(|m| m.said() > 0)
        {
            self.connection.has_asked_stable = true;
            self.outputs.push_back(SessionOutput::Send(ClientFrame::FollowStable));
        }
    }

    /// Does the same, without telling of `quiet`.
    fn drain_but(&mut self, now: Time, quiet: Option<MessageId>) {
        loop {
            let live = self.is_live();
            let Some(membership) = &mut self.membership else { return };
            let Some(output) = membership.group.poll_output() else { break };
            match output {
                GroupOutput::Transmit(Transmit { packet: Packet::Message(message), .. }) => {
                    if live {
                        // Before what may depend on it.
                        self.outputs.extend(self.connection.observer.take().map(SessionOutput::Send));
                        let packet = message.packet().clone();
                        self.outputs.push_back(SessionOutput::Send(ClientFrame::Broadcast(packet)));
                    }
                    self.outbox.push(message, live.then_some(now));
                }
                GroupOutput::Deliver { message, held_since } if quiet != Some(message.id()) => {
                    self.deliver(now, &message, held_since);
                }
                GroupOutput::Held { id, waits_for } => {
                    let group = &membership.group;
                    self.connection.observer.see_held(now, id, (0, waits_for), || group.clock());
                    let (author, waits_for_author) = (membership.author(id), membership.author(waits_for));
                    let clock = group.clock();
                    self.event(Event::Held { id, author, waits_for, waits_for_author, clock });
                }
                GroupOutput::Transmit(Transmit {
                    packet: Packet::Control(Control::Want(ranges)), ..
                }) if live => {
                    self.outputs.push_back(SessionOutput::Send(ClientFrame::Want(ranges)));
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
            self.connection.observer.see(now, id, Observed::Delivered { held_millis });
        }
        let place = self.placement.deliver(id);
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

    fn deliver_data(&mut self, message: &Message, place: Option<PlacedAt>, held_for: Option<Duration>) {
        let membership = self.membership.as_ref().expect("its group delivers");
        let id = message.id();
        let author = membership.author(id);
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

    /// Does what is due at the deadline of [`poll_timeout`](Self::poll_timeout). Early or repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        if !self.is_live() {
            return;
        }
        let observed = self.connection.observer.handle_timeout(now);
        self.outputs.extend(observed.into_iter().map(SessionOutput::Send));
        let Some(membership) = &mut self.membership else { return };
        membership.group.handle_timeout(now);
        let heartbeat_at = &mut self.connection.heartbeat_at;
        if let Some(pause) = self.config.heartbeat.filter(|_| heartbeat_at.is_some_and(|at| at <= now)) {
            *heartbeat_at = Some(now + pause);
            self.outputs.push_back(SessionOutput::Send(ClientFrame::Clock(membership.group.clock())));
            let mut own = Vec::new();
            for message in self.outbox.resend_overdue(pause * 2, now) {
                let id = message.id();
                own.push(MissingRange { member: id.member, from: id.seq, to: id.seq });
                self.outputs.push_back(SessionOutput::Send(ClientFrame::Broadcast(message.into_packet())));
            }
            if !own.is_empty() {
                self.outputs.push_back(SessionOutput::Send(ClientFrame::Want(own)));
            }
        }
        self.drain(now);
    }

    /// Takes in what others want to be told. Who watches from now on is told what is held already.
    fn watched(&mut self, now: Time, watched: Watched) {
        let observer = &mut self.connection.observer;
        if !observer.watched(watched) {
            return;
        }
        let Some(Membership { group, .. }) = &self.membership else { return };
        for held in group.held() {
            let held_millis = millis(now.since(held.since));
            observer.see_held(now, held.id, (held_millis, held.waits_for), || group.clock());
        }
    }

    // What the driver does next.

    /// Takes the next thing to do.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if !self.is_live() {
            return None;
        }
        let repair = self.membership.as_ref().and_then(|m| m.group.poll_timeout());
        let ConnectionState { heartbeat_at, observer, .. } = &self.connection;
        repair.into_iter().chain(*heartbeat_at).chain(observer.poll_timeout()).min()
    }

    // What there is to know.

    /// Returns whether the session has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.connection.is_over()
    }

    /// Returns whether the member is in, with a connection that stands.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.connection.is_live()
    }

    /// Returns the client's id in the room, if it is in.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.membership.as_ref().map(|m| m.member)
    }

    /// Counts own messages that have not been placed.
    #[must_use]
    pub fn on_their_way(&self) -> usize {
        self.outbox.len()
    }

    /// Returns those who are in, in order of joining.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        let Some(m) = &self.membership else { return Vec::new() };
        m.names.present()
    }

    /// Returns those who are in, in order of joining, and how many messages of each have been delivered here.
    #[must_use]
    pub fn vector(&self) -> Vec<(MemberInfo, u64)> {
        let delivered = |m: &MemberInfo| self.membership.as_ref()?.group.delivered(m.member);
        self.members().into_iter().map(|m| (delivered(&m).unwrap_or(0), m)).map(|(n, m)| (m, n)).collect()
    }

    /// Returns what is held back, and what it waits for.
    #[must_use]
    pub fn held(&self, now: Time) -> Vec<HeldPost> {
        self.membership.as_ref().map_or_else(Vec::new, |m| m.held(now))
    }
}
