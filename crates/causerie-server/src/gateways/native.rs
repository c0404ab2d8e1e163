//! Sessions of native clients: frames in, the room's log out. See `docs/protocol.md`.
//!
//! Reading and writing are independent. What is to be said beside the room's log goes through the outbox, and goes
//! first. Who has caught up with the log is left to the room's pumps ([`crate::fanout`]).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causerie_core::content::name::Name;
use causerie_core::content::text::visible;
use causerie_core::key::{Challenge, Proof, PublicKey, Purpose};
use causerie_core::room::{JoinError, ResumeError, Resumed, Seat};
use causerie_core::wire::{
    ClientFrame, Direction, ErrorCode, ErrorFrame, FrameError, HistoryQuestion, Observation, Observed, Place,
    ServerFrame, VERSION, split_frame,
};
use cbcast::{MissingRange, VectorClock};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::fanout::Reader;
use crate::gateways::membership::Presence;
use crate::journal::reads::Asker;
use crate::journal::writer::STORED_AGAIN;
use crate::net::addresses::{TooOften, Visitor};
use crate::net::budget::warn_seldom;
use crate::net::outbox::{self, Outbox, write_all};
use crate::rooms::closing::Authority;
use crate::rooms::directory::{Maker, RoomError};
use crate::rooms::history::{HistoryError, Texts};
use crate::rooms::hosted::{HostedRoom, Unreadable};
use crate::{AGENT, Server};

/// With less room than this, the read buffer grows by [`READ_MAX`].
const READ_MIN: usize = 512;
const READ_MAX: usize = 8 << 10;
/// Runs of the log written at once.
const SLICES_MAX: usize = 64;
/// Messages handed to a room at once.
const PACKETS_MAX: usize = 1_024;
/// How often a write that does not come to an end is looked after.
const STUCK: Duration = Duration::from_secs(2);
/// How long the answer to a question about history may wait for something to tell.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// What a connection may tell of what it observes, in [`OBSERVED_TIME`]; beyond it is only counted.
const OBSERVED_MAX: usize = 640;
const OBSERVED_TIME: Duration = Duration::from_secs(1);
/// So many entries of a clock count as one more.
const CLOCK_ENTRIES: usize = 32;
/// Records sent in answer to one repair request.
const REPAIR_MAX: usize = 256;

/// One membership and where its connection is in the log.
#[derive(Clone)]
struct Membership {
    room: Arc<HostedRoom>,
    seat: Seat,
    reader: Arc<Reader>,
    leaving: bool,
    /// What the tail's seating was when this was last compared with the room.
    seating: u64,
    /// The member has left: the position of its *Left*, and how much was taken of it.
    farewell: Option<(u64, u64)>,
}

/// How far a session has written.
enum Written {
    /// There is more to do at once.
    More,
    /// All there is. Of what changes in the room it has to be told, if it waits for its member's *Left*.
    All(Option<watch::Receiver<()>>),
    /// The last words.
    Last,
}

struct Session<'a> {
    server: &'a Arc<Server>,
    peer: SocketAddr,
    visitor: &'a Visitor,
    stream: Arc<TcpStream>,
    outbox: Arc<Outbox>,
    /// What this connection's keys sign, once there was a hello.
    challenge: OnceLock<Challenge>,
    membership: Mutex<Option<Membership>>,
    /// That of the membership, until the connection ends.
    presence: Mutex<Option<Presence>>,
    /// Since when observations are counted, and how many they are.
    observed: Mutex<(Instant, usize)>,
}

pub(crate) async fn serve(
    server: &Arc<Server>,
    stream: Arc<TcpStream>,
    peer: SocketAddr,
    visitor: &Visitor,
    first: BytesMut,
) -> io::Result<()> {
    let session = Session {
        server,
        peer,
        visitor,
        stream,
        outbox: Arc::new(Outbox::new(server.writer.memory.open(peer.ip()))),
        challenge: OnceLock::new(),
        membership: Mutex::new(None),
        presence: Mutex::new(None),
        observed: Mutex::new((Instant::now(), 0)),
    };
    let ended = tokio::select! {
        read = session.read(first) => Some(read),
        written = session.write() => Some(written),
        () = session.outbox.charge().cut() => None,
    };
    session.stop_following();
    match ended {
        Some(ended) => {
            Box::pin(outbox::close(&session.stream)).await;
            ended
        }
        None => {
            outbox::cut(&session.stream);
            Ok(())
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.stop_following();
    }
}

impl Session<'_> {
    fn membership(&self) -> MutexGuard<'_, Option<Membership>> {
        self.membership.lock().expect("nothing panics while holding it")
    }

    /// Before anything is waited for: the connection may end meanwhile.
    fn begin_presence(&self, room: &Arc<HostedRoom>, seat: Seat) {
        *self.presence() = Some(Presence::seated(room, seat));
    }

    fn presence(&self) -> MutexGuard<'_, Option<Presence>> {
        self.presence.lock().expect("nothing panics while holding it")
    }

    fn current(&self) -> Option<Membership> {
        self.membership().clone()
    }

    /// The membership has no connection any more.
    fn stop_following(&self) {
        if let Some(membership) = self.membership().take() {
            membership.room.unfollow(&membership.reader);
        }
        drop(self.presence().take());
    }

    fn send(&self, frame: &ServerFrame) {
        let bytes = self.outbox.push(|out| frame.encode(out));
        self.visitor.made(bytes);
    }

    fn error(&self, error: ErrorFrame) {
        let fatal = error.fatal;
        if fatal {
            debug!("{}: {}", self.peer, visible(&error.message));
        }
        self.send(&ServerFrame::Error(error));
        if fatal {
            self.outbox.finish();
        }
    }

    // Reading.

    /// Reads until the client has closed. After a fatal error the writer ends the connection.
    async fn read(&self, mut buffer: BytesMut) -> io::Result<()> {
        let limit = self.server.settings().room.frame_bytes_max();
        let mut begun = Instant::now();
        loop {
            let greeted = self.is_greeted();
            if let Err(error) = self.handle_all(&mut buffer, limit, &mut begun).await {
                let code = match error {
                    FrameError::TooLong { .. } => ErrorCode::FrameTooLong,
                    _ => ErrorCode::Malformed,
                };
                self.error(ErrorFrame::fatal(code, error.to_string()));
                return std::future::pending().await;
            }
            if self.outbox.is_finished() {
                // The writer ends the connection behind what it still has to say.
                return std::future::pending().await;
            }
            if greeted != self.is_greeted() {
                begun = Instant::now();
            }
            let deadline = begun + self.server.settings().first_words;
            let patient = buffer.is_empty() && self.is_greeted();
            if buffer.is_empty() {
                // Nothing is kept for a connection that is silent.
                buffer = BytesMut::new();
            }
            tokio::select! {
                read = outbox::read(&self.stream, &mut buffer, READ_MIN, READ_MAX) => {
                    if read? == 0 {
                        if !buffer.is_empty() {
                            let message = "the connection ended in the middle of a frame";
                            self.error(ErrorFrame::fatal(ErrorCode::Malformed, message));
                        }
                        // What is still to be said may be read yet.
                        self.outbox.finish();
                        return std::future::pending().await;
                    }
                    if patient {
                        begun = Instant::now();
                    }
                }
                () = tokio::time::sleep_until(deadline), if !patient => {
                    let seconds = self.server.settings().first_words.as_secs_f32();
                    let message = match self.is_greeted() {
                        true => format!("a frame was begun and not ended within {seconds} s"),
                        false => format!("there was no hello within {seconds} s"),
                    };
                    self.error(ErrorFrame::fatal(ErrorCode::TimedOut, message));
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Handles the whole frames in `buffer`; broadcasts that stand together go to the room together.
    async fn handle_all(
        &self,
        buffer: &mut BytesMut,
        limit: usize,
        begun: &mut Instant,
    ) -> Result<(), FrameError> {
        let mut packets = Vec::new();
        let handled = loop {
            if self.outbox.is_finished() {
                packets.clear();
                break Ok(());
            }
            if self.outbox.is_full() {
                self.broadcast_in_turn(&mut packets).await;
                self.outbox.has_room().await;
                *begun = Instant::now();
            }
            if packets.len() >= PACKETS_MAX {
                self.broadcast_in_turn(&mut packets).await;
                self.server.writer.has_room().await;
                *begun = Instant::now();
            }
            let frame = match split_frame(buffer, limit) {
                Ok(None) => break Ok(()),
                Ok(Some((kind, body))) => ClientFrame::decode(kind, &body),
                Err(error) => break Err(error),
            };
            *begun = Instant::now();
            match frame {
                Ok(Some(ClientFrame::Broadcast(packet))) => packets.push(packet),
                Ok(Some(frame)) => {
                    self.broadcast_in_turn(&mut packets).await;
                    // Apart: it is large, and rare.
                    Box::pin(self.handle(frame)).await;
                    // An answer may take its time, and what follows the frame is not late by that.
                    *begun = Instant::now();
                }
                Ok(None) if !self.is_greeted() => self.no_hello(),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        if self.broadcast_in_turn(&mut packets).await {
            // What has been begun behind them is not late by that.
            *begun = Instant::now();
        }
        self.server.writer.has_room().await;
        handled
    }

    /// Hands the packets to the room, no more of them at once than the address may say: what comes faster waits here, and
    /// nothing is read meanwhile. Whether it had to wait.
    async fn broadcast_in_turn(&self, packets: &mut Vec<Bytes>) -> bool {
        if packets.is_empty() {
            return false;
        }
        let some = self.visitor.speak(packets.len());
        if some == Ok(packets.len()) {
            self.broadcast(packets);
            return false;
        }
        // Apart: it is rare.
        Box::pin(self.broadcast_slowly(packets, some)).await;
        true
    }

    async fn broadcast_slowly(&self, packets: &mut Vec<Bytes>, mut some: Result<usize, Duration>) {
        loop {
            match some {
                Ok(count) => {
                    let rest = packets.split_off(count.min(packets.len()));
                    self.broadcast(packets);
                    *packets = rest;
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
            if packets.is_empty() || self.outbox.is_finished() {
                return packets.clear();
            }
            some = self.visitor.speak(packets.len());
        }
    }

    fn broadcast(&self, packets: &mut Vec<Bytes>) {
        if packets.is_empty() {
            return;
        }
        if !self.is_greeted() {
            packets.clear();
            return self.no_hello();
        }
        let Some(Membership { room, seat, .. }) = self.membership().clone() else {
            packets.clear();
            return self.unexpected("a message before joining");
        };
        let memory = &self.server.writer.memory;
        let refusals = room.act(|room, now| {
            room.limit_held_bytes(memory.may_hold(room.held_bytes()));
            let mut refusals = Vec::new();
            for packet in packets.drain(..) {
                if room.is_closed() {
                    break;
                }
                refusals.extend(room.receive(now, seat, packet).err());
            }
            refusals
        });
        for refusal in refusals {
            let (seq, is_final, reason) = (refusal.seq, refusal.is_final, refusal.reason);
            if let Some(left_out) = self.visitor.log() {
                info!("refused from {}: {}{left_out}", self.peer, visible(&reason));
            }
            self.send(&ServerFrame::Refused { seq, is_final, reason: reason.clone() });
            if is_final {
                self.error(ErrorFrame::fatal(ErrorCode::MembershipEnded, reason));
            }
        }
    }

    fn is_greeted(&self) -> bool {
        self.challenge.get().is_some()
    }

    /// Whose key this is, if its holder is at the other end of this connection. Not in a room's lock: it takes longer than
    /// anything that a room does for one frame.
    fn holder(&self, purpose: Purpose, proof: &Proof) -> Option<PublicKey> {
        let held = self.challenge.get().is_some_and(|challenge| proof.holds(purpose, challenge));
        if !held {
            let message = "the key is not proven: its signature is not over this connection's challenge";
            self.error(ErrorFrame::new(ErrorCode::WrongKey, message));
        }
        held.then_some(proof.key)
    }

    /// Who makes or closes a room, with the key if one is given; `None`: it is not proven, and that was told.
    fn maker(&self, proof: Option<&Proof>) -> Option<Maker> {
        let key = match proof {
            None => None,
            Some(proof) => Some(self.holder(Purpose::Room, proof)?),
        };
        Some(Maker { key, ..Maker::without_key(self.peer.ip()) })
    }

    fn no_hello(&self) {
        self.error(ErrorFrame::fatal(ErrorCode::Unexpected, "the first frame must be a hello"));
    }

    fn storage_full(&self, why: &str) {
        self.error(ErrorFrame::new(ErrorCode::StorageFull, why));
    }

    fn unexpected(&self, what: &str) {
        self.error(ErrorFrame::new(ErrorCode::Unexpected, format!("{what} does not fit here")));
    }

    fn too_often(&self, why: TooOften) {
        self.error(ErrorFrame::new(ErrorCode::TooOften, why.to_string()));
    }

    async fn handle(&self, frame: ClientFrame) {
        let greeted = self.is_greeted();
        match frame {
            ClientFrame::Hello { oldest, newest, agent } if !greeted => self.hello(oldest, newest, &agent),
            _ if !greeted => self.no_hello(),
            ClientFrame::Join { room, name, proof, create, maker, after, epoch } => {
                let Some(maker) = self.maker(maker.as_ref()) else { return };
                self.join(&room, &name, &proof, create.then_some(maker), after, epoch).await;
            }
            ClientFrame::Resume { room, member, proof, epoch, position, clock } => {
                if self.membership().is_some() {
                    return self.unexpected("a second membership on one connection");
                }
                let Some(key) = self.holder(Purpose::Member, &proof) else { return };
                let found = match self.server.controller.find(&room) {
                    Ok(found) => found,
                    Err(error) => return self.error(ErrorFrame::new(error.code(), error.to_string())),
                };
                let (resumed, changes) = found.act_and_count(|room, now| {
                    (room.resume(now, member, key, epoch, position, &clock), room.position())
                });
                let (resumed, last) = resumed;
                if let Ok((seat, _)) = &resumed {
                    self.begin_presence(&found, *seat);
                }
                if let Err(why) = found.stored_in_time(changes).await {
                    return self.storage_full(&why);
                }
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
                            ResumeError::Expired { taken } => (ErrorCode::Expired, *taken),
                            ResumeError::Diverged { taken } => (ErrorCode::Diverged, *taken),
                            _ => (ErrorCode::WrongKey, 0),
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
                    Some((room, seat)) => room.act(|room, now| {
                        if room.is_seated(seat) {
                            room.leave(now, seat.member, last_seq);
                        }
                    }),
                    None => self.unexpected("leaving before joining"),
                }
            }
            ClientFrame::Ping(number) => self.send(&ServerFrame::Pong(number)),
            ClientFrame::ListRooms => {
                let _turn = self.visitor.turn().await;
                self.send(&ServerFrame::Rooms(self.server.controller.list()));
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
                    (false, _) => self.server.controller.create(&name, maker),
                };
                match created {
                    Ok(hosted) => {
                        let (info, changes) = hosted.act_and_count(|room, _| room.info(hosted.row.port));
                        match hosted.stored_in_time(changes).await {
                            Ok(()) => self.send(&ServerFrame::RoomCreated(info)),
                            Err(why) => self.storage_full(&why),
                        }
                    }
                    Err(error) => self.error(ErrorFrame::new(error.code(), error.to_string())),
                }
            }
            ClientFrame::CloseRoom { name, operator, maker } => {
                let Some(Maker { key, .. }) = self.maker(maker.as_ref()) else { return };
                let authority = Authority { operator: &operator, key };
                match self.server.controller.close(&name, authority).await {
                    Ok(()) => self.send(&ServerFrame::RoomClosed { name }),
                    Err(error) => self.error(ErrorFrame::new(error.code(), error.to_string())),
                }
            }
            ClientFrame::ListClosedRooms { operator } => {
                if !self.server.controller.is_operator(&operator) {
                    let error = RoomError::NotOperator;
                    return self.error(ErrorFrame::new(error.code(), error.to_string()));
                }
                self.send(&ServerFrame::ClosedRooms(self.server.controller.closed()));
            }
            ClientFrame::OpenRoom { name, operator, number } => {
                match self.server.open_closed(&name, number, &operator).await {
                    Ok(hosted) => {
                        let (info, changes) = hosted.act_and_count(|room, _| room.info(hosted.row.port));
                        hosted.stored(changes).await;
                        self.send(&ServerFrame::RoomCreated(info));
                    }
                    Err(error) => self.error(ErrorFrame::new(error.code(), error.to_string())),
                }
            }
            ClientFrame::ListMembers => match self.current() {
                Some(m) => {
                    let turn = self.visitor.turn().await;
                    let (members, changes) = m.room.act_and_count(|room, _| m.room.roster().frame(room));
                    self.visitor.made(members.len());
                    drop(turn);
                    match m.room.stored_in_time(changes).await {
                        Ok(()) => self.outbox.push_shared(members),
                        Err(why) => self.storage_full(&why),
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
                    let ((missing, clock), changes) = m.room.act_and_count(|room, now| {
                        let missing = match room.is_seated(m.seat) {
                            true => room.handle_clock(now, m.seat.member, &clock),
                            false => Vec::new(),
                        };
                        (missing, room.clock())
                    });
                    drop(turn);
                    if m.room.stored_in_time(changes).await.is_err() {
                        // It has been told, and says its clock again.
                        return;
                    }
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
                Some(Membership { room, seat, .. }) => {
                    if room.stability.is_followed() && room.look(|room| room.is_seated(seat)) {
                        let position = position.min(room.tail().log.last());
                        room.acknowledge(self.server, seat.member, position);
                    }
                }
                None => self.unexpected("an acknowledgement before joining"),
            },
            ClientFrame::FollowStable => match self.current() {
                Some(m) => m.room.follow_stable(self.server, &m.reader),
                None => self.unexpected("following before joining"),
            },
            _ => self.unexpected("this"),
        }
    }

    /// Sends again what a client lacks, as its socket takes it.
    async fn repair(&self, room: &HostedRoom, ranges: Vec<MissingRange>) {
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
    fn observed(&self, membership: &Membership, mut seen: Vec<Observation>, mut left_out: u64) {
        let Membership { room, seat, .. } = membership;
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
        room.look(|room| {
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
        room.watching.tell(behind, seat.member, &seen, left_out);
    }

    /// Answers with a page; where it has nothing yet and the client says so, once there is something, or it has
    /// waited long enough. Rooms are open to all who may join, so no membership is needed.
    async fn history(&self, mut question: HistoryQuestion) {
        let found = self.server.controller.find(&question.room);
        let refuse = |error: RoomError| self.error(ErrorFrame::new(error.code(), error.to_string()));
        let hosted = match found {
            Ok(hosted) => hosted,
            Err(error) => return refuse(error),
        };
        if question.epoch != 0 && question.epoch != hosted.look(|room| room.epoch()) {
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

    fn hello(&self, oldest: u64, newest: u64, agent: &str) {
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

    async fn join(
        &self,
        room: &str,
        name: &str,
        proof: &Proof,
        create: Option<Maker>,
        after: Option<u64>,
        epoch: u64,
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
        let controller = &self.server.controller;
        let found = match create {
            Some(maker) => controller.find_or_create(room, maker),
            None => controller.find(room).map(|room| (room, false)),
        };
        let (hosted, created) = match found {
            Ok(found) => found,
            Err(error) => return self.error(ErrorFrame::new(error.code(), error.to_string())),
        };
        let ((joined, is_new), changes) = hosted.act_and_count(|room, now| {
            let before = room.position();
            let joined = room.join(now, name, key, after, epoch);
            (joined, room.position() > before)
        });
        if let Ok((seat, _)) = &joined {
            self.begin_presence(&hosted, *seat);
        }
        let member = joined.as_ref().ok().filter(|_| is_new).map(|(seat, _)| seat.member);
        if let Err(why) = hosted.joined_in_time(member, changes).await {
            return self.storage_full(&why);
        }
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
                    JoinError::NameTaken { suggestion, .. } => (ErrorCode::NameTaken, suggestion.to_string()),
                    JoinError::Full { .. } | JoinError::NotSaid(_) => (ErrorCode::RoomFull, String::new()),
                    JoinError::StorageFull => (ErrorCode::StorageFull, String::new()),
                    _ => (ErrorCode::NameInvalid, String::new()),
                };
                self.error(ErrorFrame { suggestion, ..ErrorFrame::new(code, error.to_string()) });
            }
        }
    }

    /// From now on the writer follows the room's log.
    fn sit(&self, room: Arc<HostedRoom>, seat: Seat, cursor: u64) {
        // Compared with the room before anything is read.
        let seating = u64::MAX;
        let reader = Reader::new(Arc::clone(&self.stream), Arc::clone(&self.outbox), cursor);
        room.follow(self.server, &reader);
        let membership = Membership { room, seat, reader, leaving: false, seating, farewell: None };
        *self.membership() = Some(membership);
        self.outbox.wake();
    }

    // Writing.

    /// Writes until the connection is to end.
    async fn write(&self) -> io::Result<()> {
        let mut news = self.server.writer.news();
        loop {
            // Apart: it is large, and while the pumps write for it a session only waits.
            let mut changes = match Box::pin(self.write_what_there_is()).await? {
                Written::More => continue,
                Written::Last => return Ok(()),
                Written::All(changes) => changes,
            };
            let changed = async {
                match &mut changes {
                    Some(changes) => drop(changes.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.outbox.filled() => {}
                () = changed => {}
                trouble = news.next(), if self.membership().is_some() => match trouble {
                    Some(why) => self.storage_full(&why),
                    None => self.error(ErrorFrame::new(ErrorCode::StorageAgain, STORED_AGAIN)),
                },
                () = self.server.stop.cancelled() => {}
            }
        }
    }

    async fn write_what_there_is(&self) -> io::Result<Written> {
        // In this order: a membership is made after its welcome was put into the outbox, and goes after it.
        let membership = self.current();
        if let Some(membership) = &membership {
            let rest = membership.reader.take_over();
            self.patiently(write_all(&self.stream, vec![rest], Some(self.outbox.charge()))).await?;
            // Before anything is read for it: nothing is kept for who takes nothing.
            self.patiently(self.stream.writable()).await?;
        }
        let taken = self.outbox.take();
        let said = write_all(&self.stream, taken.slices, None);
        if taken.is_last {
            tokio::time::timeout(outbox::LAST_WORDS, said).await.unwrap_or(Ok(()))?;
            return Ok(Written::Last);
        }
        self.patiently(said).await?;
        self.outbox.written();
        let mut changes = None;
        if let Some(membership) = &membership {
            // Before the log is read: what comes after that ends the wait.
            changes = membership.farewell.map(|_| membership.room.subscribe());
            if self.write_log(membership).await? {
                return Ok(Written::More);
            }
        }
        if self.server.stop.is_cancelled() {
            self.error(ErrorFrame::fatal(ErrorCode::ShuttingDown, "the server is shutting down"));
            return Ok(Written::More);
        }
        Ok(Written::All(changes))
    }

    /// Writes for as long as it takes, while the connection still has a seat to write for: a client that reads
    /// slowly is waited for, but not once it has resumed elsewhere or its room is gone.
    async fn patiently(&self, write: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let mut write = std::pin::pin!(write);
        loop {
            tokio::select! {
                biased;
                done = &mut write => return done,
                () = tokio::time::sleep(STUCK) => {
                    let membership = self.membership().clone();
                    let void = |m: Membership| m.room.look(|room| room.is_closed() || !room.is_seated(m.seat));
                    if membership.is_some_and(void) {
                        return Err(io::Error::other("the client reads nothing, and has no seat any more"));
                    }
                }
            }
        }
    }

    /// Writes what lies behind the cursor. Whether there is more to do at once; if not, the pump goes on.
    async fn write_log(&self, membership: &Membership) -> io::Result<bool> {
        let Membership { room, seat, reader, leaving, .. } = membership;
        let cursor = reader.cursor();
        let mut farewell = membership.farewell;
        let seating = room.tail().seating;
        if seating != membership.seating {
            let void = room.look(|room| {
                if room.is_closed() {
                    return Some((ErrorCode::RoomClosed, "the room was closed"));
                }
                if !room.is_present(seat.member) {
                    farewell = Some(room.farewell(seat.member).unwrap_or((room.position(), 0)));
                } else if !room.is_seated(*seat) {
                    return Some((ErrorCode::Superseded, "the member has resumed on another connection"));
                }
                None
            });
            if let Some((code, message)) = void {
                self.error(ErrorFrame::fatal(code, message));
                return Ok(true);
            }
            if let Some(membership) = self.membership().as_mut() {
                (membership.seating, membership.farewell) = (seating, farewell);
            }
        }
        match farewell {
            Some((left_at, taken)) if cursor >= left_at => {
                match leaving {
                    true => {
                        self.send(&ServerFrame::Parted { taken });
                        self.outbox.finish();
                    }
                    false => {
                        let error = ErrorFrame::fatal(ErrorCode::Expired, "the member has left");
                        self.error(ErrorFrame { taken, ..error });
                    }
                }
                return Ok(true);
            }
            _ => {}
        }
        match room.read(cursor, SLICES_MAX).await {
            Ok((slices, last)) => {
                if slices.is_empty() {
                    return Ok(match (farewell, membership.farewell) {
                        (None, _) => !reader.hand_over(room, seating),
                        // The session waits itself for the member's *Left*, and from now on is told of changes.
                        (Some(_), told) => told.is_none(),
                    });
                }
                reader.write(&slices, last)?;
                Ok(true)
            }
            Err(Unreadable::Gap { .. }) => {
                let message = "what comes next cannot be read any more; resume to go on behind it";
                self.error(ErrorFrame::fatal(ErrorCode::TooFarBehind, message));
                Ok(true)
            }
            Err(Unreadable::Failed(why)) => Err(io::Error::other(why)),
        }
    }
}
