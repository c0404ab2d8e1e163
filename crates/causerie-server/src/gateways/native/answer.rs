//! Answers to the frames of native clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causerie_core::content::name::Name;
use causerie_core::content::text::visible;
use causerie_core::id::{Epoch, Position};
use causerie_core::key::{Challenge, Proof, PublicKey, Purpose};
use causerie_core::room::{JoinError, ResumeError, Resumed, Seat};
use causerie_core::wire::{
    ClientFrame, Direction, ErrorCode, ErrorFrame, HistoryQuestion, MemberInfo, Observation, Observed, Place,
    ServerFrame, VERSION,
};
use cbcast::{MissingRange, VectorClock};
use tokio::time::Instant;
use tracing::debug;

use super::session::{NativeMembership, NativeSession};
use crate::fanout::form::Frames;
use crate::fanout::reader::Reader;
use crate::gateways::membership;
use crate::journal::reads::Asker;
use crate::net::budget::warn_seldom;
use crate::rooms::access::{Right, Who};
use crate::rooms::closing::Authority;
use crate::rooms::directory::Maker;
use crate::rooms::error::RoomError;
use crate::rooms::history::{HistoryError, Texts};
use crate::rooms::hosted::HostedRoom;
use crate::server::AGENT;

/// Time that the answer to a question about history may wait for something to tell.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Observations that a connection may tell in [`OBSERVED_TIME`]; beyond it they are only counted.
const OBSERVED_MAX: usize = 640;
const OBSERVED_TIME: Duration = Duration::from_secs(1);
/// Entries of a clock that count as one more.
const CLOCK_ENTRIES: usize = 32;
/// Records sent in answer to one repair request.
const REPAIR_MAX: usize = 256;

/// Who is in, as the frame that answers who asks.
struct MembersFrame(Bytes);

impl MembersFrame {
    fn new(members: Vec<MemberInfo>) -> Self {
        let mut frame = Vec::new();
        ServerFrame::Members(members).encode(&mut frame);
        Self(frame.into())
    }
}

impl NativeSession<'_> {
    /// Returns whose key this is, if its holder is at the other end of this connection. Not in a room's lock: it takes longer than
    /// anything that a room does for one frame.
    pub(super) fn holder(&self, purpose: Purpose, proof: &Proof) -> Option<PublicKey> {
        let held = self.challenge.get().is_some_and(|challenge| proof.holds(purpose, challenge));
        if !held {
            let message = "the key is not proven: its signature is not over this connection's challenge";
            self.error(ErrorFrame::new(ErrorCode::WrongKey, message));
        }
        held.then_some(proof.key)
    }

    /// Returns who makes or closes a room, with the key if one is given; `None`: it is not proven, and that was told.
    pub(super) fn maker(&self, proof: Option<&Proof>) -> Option<Maker> {
        let key = match proof {
            None => None,
            Some(proof) => Some(self.holder(Purpose::Room, proof)?),
        };
        Some(Maker { key, ..Maker::without_key(self.peer.ip()) })
    }

    pub(super) async fn handle(&self, frame: ClientFrame) {
        let greeted = self.is_greeted();
        match frame {
            ClientFrame::Hello { oldest, newest, agent } if !greeted => self.hello(oldest, newest, &agent),
            _ if !greeted => self.no_hello(),
            ClientFrame::Join { room, name, proof, create, maker, after } => {
                let Some(maker) = self.maker(maker.as_ref()) else { return };
                self.join(&room, &name, &proof, create.then_some(maker), after).await;
            }
            ClientFrame::Resume { room, member, proof, epoch, position, clock } => {
                if self.membership().is_some() {
                    return self.unexpected("a second membership on one connection");
                }
                let Some(key) = self.holder(Purpose::Member, &proof) else { return };
                let found = match self.server.directory.open(Who::Anybody, &room, Right::Join) {
                    Ok(found) => found,
                    Err(error) => return self.error(ErrorFrame::new(error.code(), error.to_string())),
                };
                let resumed = found.act(|room, now| {
                    (room.resume(now, member, key, epoch, position, &clock), room.position())
                });
                // Before anything is waited for: the connection may end meanwhile.
                if let (Ok((seat, _)), _) = resumed.peek_unstored() {
                    self.begin_presence(&found, *seat);
                }
                let (resumed, last) = match resumed.stored_in_time().await {
                    Ok(resumed) => resumed,
                    Err(why) => return self.storage_full(&why.to_string()),
                };
                match resumed {
                    Ok((seat, Resumed::Here { taken })) => {
                        self.send(&ServerFrame::Resumed { taken, position: last });
                        self.sit(found, seat, position);
                    }
                    Ok((seat, Resumed::Gap(mut welcome))) => {
                        found.name_history(&mut welcome).await;
                        let cursor = welcome.first - 1;
                        self.send(&ServerFrame::Welcome(welcome));
                        self.sit(found, seat, cursor);
                    }
                    Err(error) => {
                        let (code, taken) = match &error {
                            ResumeError::Expired { taken } => (ErrorCode::Expired, Some(*taken)),
                            ResumeError::Diverged { taken } => (ErrorCode::Diverged, Some(*taken)),
                            _ => (ErrorCode::WrongKey, None),
                        };
                        self.error(ErrorFrame { taken, ..ErrorFrame::new(code, error.to_string()) });
                    }
                }
            }
            ClientFrame::Leave { last_seq } => {
                let left = self.membership().as_mut().map(|membership| {
                    membership.leaving = true;
                    (Arc::clone(&membership.room), membership.seat)
                });
                match left {
                    Some((room, seat)) => {
                        let left = room.act(|room, now| {
                            if room.is_seated(seat) {
                                room.leave(now, seat.member, last_seq);
                            }
                        });
                        left.told_by_its_record();
                    }
                    None => self.unexpected("leaving before joining"),
                }
            }
            ClientFrame::Ping(number) => self.send(&ServerFrame::Pong(number)),
            ClientFrame::ListRooms => {
                let _turn = self.visitor.turn().await;
                self.send(&ServerFrame::Rooms(self.server.directory.list(Who::Anybody)));
            }
            ClientFrame::CreateRoom { name, port, maker, temporary } => {
                if let Err(why) = self.visitor.join() {
                    return self.too_often(why);
                }
                let Some(maker) = self.maker(maker.as_ref()) else { return };
                let maker = Maker { temporary, ..maker };
                let created = match (port, name.is_empty()) {
                    (true, true) => self.server.open_port_room(maker).await,
                    (true, false) => return self.unexpected("a name for a room that is named by its port"),
                    (false, _) => self.server.directory.create(&name, maker),
                };
                match created {
                    Ok(hosted) => {
                        match hosted.ask(|room| room.info(hosted.row.port)).stored_in_time().await {
                            Ok(info) => self.send(&ServerFrame::RoomCreated(info)),
                            Err(why) => self.storage_full(&why.to_string()),
                        }
                    }
                    Err(error) => self.error(ErrorFrame::new(error.code(), error.to_string())),
                }
            }
            ClientFrame::CloseRoom { name, operator, maker } => {
                let Some(Maker { key, .. }) = self.maker(maker.as_ref()) else { return };
                let is_operator = self.server.directory.is_operator(operator.reveal());
                let authority = Authority { is_operator, key };
                match self.server.directory.close(&name, authority).await {
                    Ok(()) => self.send(&ServerFrame::RoomClosed { name }),
                    Err(error) => self.error(ErrorFrame::new(error.code(), error.to_string())),
                }
            }
            ClientFrame::ListClosedRooms { operator } => {
                if !self.server.directory.is_operator(operator.reveal()) {
                    let error = RoomError::NotOperator;
                    return self.error(ErrorFrame::new(error.code(), error.to_string()));
                }
                self.send(&ServerFrame::ClosedRooms(self.server.directory.closed()));
            }
            ClientFrame::OpenRoom { name, operator, number } => {
                let is_operator = self.server.directory.is_operator(operator.reveal());
                match self.server.open_closed(&name, number, is_operator).await {
                    Ok(hosted) => {
                        let info = hosted.ask(|room| room.info(hosted.row.port)).stored().await;
                        self.send(&ServerFrame::RoomCreated(info));
                    }
                    Err(error) => self.error(ErrorFrame::new(error.code(), error.to_string())),
                }
            }
            ClientFrame::ListMembers => match self.current() {
                Some(m) => {
                    let turn = self.visitor.turn().await;
                    let members = m.room.ask(|room| m.room.roster().rendering(room, MembersFrame::new));
                    // Its length alone.
                    self.visitor.made(members.peek_unstored().0.len());
                    drop(turn);
                    match members.stored_in_time().await {
                        Ok(members) => self.outbox.push_shared(members.0.clone()),
                        Err(why) => self.storage_full(&why.to_string()),
                    }
                }
                None => self.unexpected("asking for members before joining"),
            },
            ClientFrame::Want(ranges) => match self.current() {
                Some(m) => self.repair(&m.room, ranges).await,
                None => self.unexpected("asking for messages before joining"),
            },
            ClientFrame::Clock(clock) => match self.current() {
                Some(m) => {
                    let turn = self.visitor.turn().await;
                    let answer = m.room.act(|room, now| {
                        let missing = match room.is_seated(m.seat) {
                            true => room.handle_clock(now, m.seat.member, &clock),
                            false => Vec::new(),
                        };
                        (missing, room.clock())
                    });
                    drop(turn);
                    // Else it has been told, and says its clock again.
                    let Ok((missing, clock)) = answer.stored_in_time().await else { return };
                    if !missing.is_empty() {
                        self.send(&ServerFrame::Want(missing));
                    }
                    self.send(&ServerFrame::Clock(clock));
                }
                None => self.unexpected("a clock before joining"),
            },
            ClientFrame::History(question) => self.history(question).await,
            ClientFrame::Observed { seen, left_out } => match self.current() {
                Some(m) => self.observed(&m, seen, left_out),
                None => self.unexpected("observations before joining"),
            },
            ClientFrame::Acknowledge(position) => match self.current() {
                Some(NativeMembership { room, seat, .. }) => {
                    // A seat is not stored.
                    if room.stability.is_followed() && room.peek_unstored(|room| room.is_seated(seat)) {
                        let position = position.min(room.tail().log.last());
                        membership::acknowledge(self.server, &room, seat.member, position);
                    }
                }
                None => self.unexpected("an acknowledgement before joining"),
            },
            ClientFrame::FollowStable => match self.current() {
                Some(m) => membership::follow_stable(self.server, &m.room, &m.reader),
                None => self.unexpected("following before joining"),
            },
            _ => self.unexpected("this"),
        }
    }

    /// Sends again what a client lacks, as its socket takes it.
    pub(super) async fn repair(&self, room: &HostedRoom, ranges: Vec<MissingRange>) {
        let mut positions = match room.find(ranges, REPAIR_MAX).await {
            Ok(positions) => positions,
            Err(error) => return warn_seldom!("what a client wants cannot be read: {error}"),
        };
        while !positions.is_empty() {
            let turn = self.visitor.turn().await;
            match room.records_at(positions.clone()).await {
                Ok((frames, done)) => {
                    let bytes = self.outbox.push(|out| frames.iter().for_each(|f| out.extend_from_slice(f)));
                    self.visitor.made(bytes);
                    positions.drain(..done);
                }
                Err(error) => return warn_seldom!("what a client wants cannot be read: {error}"),
            }
            drop(turn);
            self.outbox.has_room().await;
        }
    }

    /// Hands on what the member has observed, as far as it can have: what is in the log.
    pub(super) fn observed(
        &self,
        membership: &NativeMembership,
        mut seen: Vec<Observation>,
        mut left_out: u64,
    ) {
        let NativeMembership { room, seat, .. } = membership;
        if !room.watching.watchers().are_there() {
            return;
        }
        let within = {
            let mut observed = self.observed.lock().expect("nothing panics while holding it");
            if observed.0.elapsed() >= OBSERVED_TIME {
                *observed = (Instant::now(), 0);
            }
            let mut places = OBSERVED_MAX - observed.1;
            let fits = |seen: &&Observation| {
                let cost = 1 + seen.what.clock().map_or(0, VectorClock::len) / CLOCK_ENTRIES;
                let left = places.checked_sub(cost);
                places = left.unwrap_or(places);
                left.is_some()
            };
            let within = seen.iter().take_while(fits).count();
            observed.1 = OBSERVED_MAX - places;
            within
        };
        left_out = left_out.saturating_add((seen.len() - within) as u64);
        seen.truncate(within);
        // What is not in the log yet is told behind it.
        room.peek_unstored(|room| {
            let waited_for = |what: &Observed| match what {
                Observed::Held { waits_for, .. } => room.has_delivered(*waits_for),
                Observed::Delivered { .. } => true,
            };
            seen.retain(|seen| room.has_delivered(seen.message) && waited_for(&seen.what));
            if !room.is_seated(*seat) {
                (seen, left_out) = (Vec::new(), 0);
            }
        });
        // What it has observed is in the log by now, and what it says next is not.
        let behind = room.tail().log.last();
        room.watching.tell(behind, seat.member, seen, left_out);
    }

    /// Answers with a page; where it has nothing yet and the client says so, once there is something, or it has
    /// waited long enough. Rooms are open to all who may join, so no membership is needed.
    pub(super) async fn history(&self, mut question: HistoryQuestion) {
        let found = self.server.directory.open(Who::Anybody, &question.room, Right::Read);
        let refuse = |error: RoomError| self.error(ErrorFrame::new(error.code(), error.to_string()));
        let hosted = match found {
            Ok(hosted) => hosted,
            Err(error) => return refuse(error),
        };
        // An epoch is the room's for life.
        if question.epoch.is_some_and(|epoch| epoch != hosted.peek_unstored(|room| room.epoch())) {
            let message = "the room of that name is another one now";
            return self.error(ErrorFrame::new(ErrorCode::Diverged, message));
        }
        let may_wait = question.direction == Direction::After && question.limit > 0;
        let wait = Duration::from_millis(if may_wait { question.wait_millis } else { 0 }).min(WAIT_MAX);
        let until = Instant::now() + wait;
        let mut changes = hosted.subscribe();
        loop {
            let turn = self.visitor.turn().await;
            let page = match hosted.page(Asker::Stranger, Texts::Standing, question.clone()).await {
                // What is kept of a closed room is for who may open it again.
                _ if hosted.closed.is_cancelled() => return refuse(RoomError::NoSuchRoom(question.room)),
                Ok(page) => page,
                Err(error @ HistoryError::NoSuchMessage(_)) => {
                    return self.error(ErrorFrame::new(ErrorCode::NoSuchMessage, error.to_string()));
                }
                Err(error) => {
                    warn_seldom!("what a client asks for cannot be read: {error}");
                    return self.error(ErrorFrame::new(ErrorCode::Unreadable, error.to_string()));
                }
            };
            if page.from <= page.to || until <= Instant::now() {
                return self.send(&ServerFrame::Page(page));
            }
            drop(turn);
            // From here on it is this place, wherever the log ends then.
            question.place = Place::Position(page.to);
            while hosted.tail().log.last() < page.from && Instant::now() < until {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = hosted.closed.cancelled() => break,
                    () = tokio::time::sleep_until(until) => {}
                }
            }
        }
    }

    pub(super) fn hello(&self, oldest: u64, newest: u64, agent: &str) {
        if !(oldest..=newest).contains(&VERSION) {
            let message = format!("this server speaks version {VERSION}, not {oldest} to {newest}");
            return self.error(ErrorFrame::fatal(ErrorCode::Version, message));
        }
        debug!("{} is {}", self.peer, visible(agent));
        let mut challenge = Challenge::default();
        getrandom::fill(&mut challenge.random).expect("the operating system gives random bytes");
        let challenge = *self.challenge.get_or_init(|| challenge);
        self.send(&ServerFrame::Hello { version: VERSION, agent: AGENT.to_owned(), challenge });
    }

    pub(super) async fn join(
        &self,
        room: &str,
        name: &str,
        proof: &Proof,
        create: Option<Maker>,
        after: Option<(Epoch, Position)>,
    ) {
        if self.membership().is_some() {
            return self.unexpected("a second membership on one connection");
        }
        // Before a room is made for it.
        let Some(key) = self.holder(Purpose::Member, proof) else { return };
        let name_chars_max = self.server.settings().room.name_chars_max;
        if let Err(error) = Name::parse(name, name_chars_max) {
            return self.error(ErrorFrame::new(ErrorCode::NameInvalid, error.to_string()));
        }
        if let Err(why) = self.visitor.join() {
            return self.too_often(why);
        }
        let directory = &self.server.directory;
        let found = match create {
            Some(maker) => directory.open_or_create(Who::Anybody, room, maker),
            None => directory.open(Who::Anybody, room, Right::Join).map(|room| (room, false)),
        };
        let (hosted, created) = match found {
            Ok(found) => found,
            Err(error) => return self.error(ErrorFrame::new(error.code(), error.to_string())),
        };
        let joined = hosted.act(|room, now| {
            let before = room.position();
            let joined = room.join(now, name, key, after);
            (joined, room.position() > before)
        });
        // Before anything is waited for: the connection may end meanwhile.
        let (seated, is_new) = joined.peek_unstored();
        let (seat, is_new) = (seated.as_ref().ok().map(|(seat, _)| *seat), *is_new);
        if let Some(seat) = seat {
            self.begin_presence(&hosted, seat);
        }
        let member = seat.filter(|_| is_new).map(|seat| seat.member);
        let joined = match hosted.joined_in_time(member, joined).await {
            Ok((joined, _)) => joined,
            Err(why) => return self.storage_full(&why.to_string()),
        };
        match joined {
            Ok((seat, mut welcome)) => {
                welcome.created = created;
                hosted.name_history(&mut welcome).await;
                let cursor = welcome.first - 1;
                self.send(&ServerFrame::Welcome(Box::new(welcome)));
                self.sit(hosted, seat, cursor);
            }
            Err(error) => {
                let (code, suggestion) = match &error {
                    JoinError::NameTaken { suggestion, .. } => {
                        (ErrorCode::NameTaken, Some(suggestion.to_string()))
                    }
                    JoinError::Full { .. } | JoinError::NotSaid(_) => (ErrorCode::RoomFull, None),
                    JoinError::StorageFull => (ErrorCode::StorageFull, None),
                    JoinError::Lockdown => (ErrorCode::Lockdown, None),
                    _ => (ErrorCode::NameInvalid, None),
                };
                self.error(ErrorFrame { suggestion, ..ErrorFrame::new(code, error.to_string()) });
            }
        }
    }

    /// Has the writer follow the room's log from now on.
    pub(super) fn sit(&self, room: Arc<HostedRoom>, seat: Seat, cursor: Position) {
        let reader = Reader::native(Arc::clone(&self.stream), Arc::clone(&self.outbox), cursor);
        membership::follow(self.server, &room, &reader, || Frames(Arc::clone(&room)));
        // Without a seating it is compared with the room before anything is read.
        let membership =
            NativeMembership { room, seat, reader, leaving: false, seating: None, farewell: None };
        *self.membership() = Some(membership);
        self.outbox.wake();
    }
}
