//! WebSockets: a member of a room that hears everything, and speaks; or somebody who only reads along. A cursor on the
//! room's log, as every session.

mod end;

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use axum::response::Response;
use bytes::Bytes;
use causerie_core::content::name::Name;
use causerie_core::id::{Position, SecretText};
use causerie_core::log::page::{Entries, Entry};
use causerie_core::room::Seat;
use causerie_core::wire::{Direction, Place};
use causerie_gateway::api::{
    self, ClientEvent, Problem, SaidReceipt, Say, ServerEvent, gap_event, record_event,
};
use cbcast::MessageId;
use futures_util::SinkExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use end::{AWAY, NORMAL, POLICY, SocketEnd, StepResult, UNSUPPORTED, closing, fatal, refused};

use super::extract::{self, HttpConnection, InRoom, new_token};
use super::failure::HttpFailure;
use super::rendering::{FrameForm, Frames, MembersJson, Telling, frame, frames, news_frame};
use super::say::Placed;
use super::{rooms, say};
use crate::fanout::reader::Reader;
use crate::gateways::membership::{
    Farewell, Followed, Presence, SeatLost, acknowledge, has_seat, look_after, patiently,
};
use crate::journal::reads::Asker;
use crate::journal::unstored::Unstored;
use crate::journal::writer::{StoreNews, StoreNotice};
use crate::net::memory::{Charge, Unwritten};
use crate::net::outbox::write_all;
use crate::rooms::access::{Right, Who};
use crate::rooms::directory::RoomDirectory;
use crate::rooms::history::Texts;
use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::Follower;
use crate::rooms::watching::Unread;
use crate::settings::Protocol;

/// Bytes that tungstenite reads at once, for which it keeps room; its own default is 128 KiB for each connection.
const READ_BYTES: usize = 2 << 10;
/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 16 << 10;
/// Said and not stored yet; beyond it nothing more is read.
const ACKS_MAX: usize = 256;
/// Time after which a silent client is asked whether it is there; after two that it has not answered it is not.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Held messages are told after this time, and so many at once: most are released within it.
const HELD_PAUSE: Duration = Duration::from_millis(100);
const HELD_MAX: usize = 64;
/// Time after which what members observe is told.
const OBSERVED_PAUSE: Duration = Duration::from_millis(50);
/// Records of a page read from the store, and their bytes.
const PAGE: u64 = 500;
const PAGE_BYTES: usize = 64 << 10;
/// The time that a connection has to end well.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) async fn open(
    InRoom(mut connection, hosted): InRoom,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, HttpFailure> {
    let upgrade =
        upgrade.map_err(|error| HttpFailure::new(error.status(), "not_a_websocket", error.body_text()))?;
    // From here on what it leaves unread is its own: others may have come by the same connection of a proxy.
    connection.charge = Arc::new(connection.server.memory.open(connection.peer.ip()));
    let limit = connection.json_bytes_max();
    let (tracked, kill) = (connection.server.tasks.token(), connection.server.kill.clone());
    let upgrade = upgrade
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_message_size(limit)
        .max_frame_size(limit);
    Ok(upgrade.on_upgrade(async move |socket| {
        let session = SocketSession {
            news: connection.server.writer.news(),
            changed: hosted.subscribe(),
            holding: hosted.holding(),
            observing: hosted.watching.news(),
            connection,
            hosted,
            socket,
            bytes_max: limit,
            reading: None,
            presence: None,
            woken: Arc::default(),
            is_pumped: false,
            early: None,
            acks: VecDeque::new(),
        };
        // It ends in many ways, and nobody is left to be told how.
        kill.run_until_cancelled(Box::pin(session.run())).await;
        drop(tracked);
    }))
}

struct SocketSession {
    connection: HttpConnection,
    hosted: Arc<HostedRoom>,
    socket: WebSocket,
    /// The most bytes of a message that the client sends.
    bytes_max: usize,
    changed: watch::Receiver<()>,
    holding: watch::Receiver<()>,
    observing: watch::Receiver<()>,
    /// News of whether anything can be stored.
    news: StoreNews,
    reading: Option<FollowingClient>,
    /// Presence of the member, until the connection ends.
    presence: Option<Presence>,
    /// Wakes the session while a pump writes for it.
    woken: Arc<Notify>,
    /// A pump writes, and the session does not: whatever it tells, it [steps in](Self::step_in) first.
    is_pumped: bool,
    /// Message that the client says faster than its address may: it is said then, and nothing is heard before.
    early: Option<(Seat, Say, Instant)>,
    /// Messages that were said, and are acknowledged in their order once they are stored.
    acks: VecDeque<Unstored<SaidReceipt>>,
}

/// A client that follows the log.
struct FollowingClient {
    /// Reads where the session writes itself.
    follower: Follower,
    /// Its place in the log, known to the pumps.
    followed: Followed,
    /// Its membership, unless it only reads along.
    seat: Option<Seat>,
    /// It is told records in batches.
    in_batches: bool,
    /// The seating that was looked at last, if one was.
    seating: Option<u64>,
    /// It has left.
    farewell: Option<Farewell>,
    leaving: bool,
    /// Messages that it was told to be held, if it wants to know.
    held: Option<BTreeSet<MessageId>>,
    /// Cursor of what it was told that members observe, if it wants to know.
    observed: Option<u64>,
}

/// Wishes of a client to be told more than the log.
#[derive(Clone, Copy)]
struct Wants {
    held: bool,
    observed: bool,
    batch: bool,
}

impl Drop for SocketSession {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl SocketSession {
    async fn run(mut self) {
        let charge = Arc::clone(&self.connection.charge);
        let end = tokio::select! {
            Err(end) = self.converse() => end,
            () = charge.cut() => SocketEnd::Gone,
        };
        let rest = self.reading.as_ref().map(|reading| reading.followed.reader.take_over());
        self.disconnect();
        let last_words = async {
            if let (Some(rest), false) = (rest, matches!(end, SocketEnd::Gone)) {
                write_all(&self.connection.stream, vec![rest], None).await.map_err(axum::Error::new)?;
            }
            match end {
                SocketEnd::Gone => return Ok(()),
                // The library has an answer ready, which is written before the end is read.
                SocketEnd::Closed => {}
                SocketEnd::Told(code, event) => {
                    self.socket.send(Message::Text(event.to_json().into())).await?;
                    let frame = CloseFrame { code, reason: Utf8Bytes::default() };
                    self.socket.send(Message::Close(Some(frame))).await?;
                }
            }
            // Until the client has closed too: else it might not read the last words.
            while self.socket.recv().await.is_some_and(|message| message.is_ok()) {}
            Ok::<_, axum::Error>(())
        };
        // Whatever happens here, the connection is over.
        tokio::time::timeout(FAREWELL, last_words).await.ok();
    }

    /// Takes it out of the room, and out of those who follow it.
    fn disconnect(&mut self) {
        drop(self.presence.take());
        let watched = self.reading.take().is_some_and(|reading| reading.observed.is_some());
        if watched && !self.hosted.is_poisoned() {
            self.hosted.unwatch();
        }
    }

    async fn converse(&mut self) -> StepResult<std::convert::Infallible> {
        let server = Arc::clone(&self.connection.server);
        let begun = Instant::now();
        let (mut heard, mut asked) = (begun, begun);
        let mut tell_held: Option<Instant> = None;
        let mut tell_observed: Option<Instant> = None;
        loop {
            self.step_in().await?;
            self.changed.mark_unchanged();
            self.tell_acks().await?;
            if tell_observed.is_some_and(|at| at <= Instant::now()) {
                tell_observed = None;
            }
            // Apart: it is large, and most sessions wait.
            let more = Box::pin(self.tell_log()).await?;
            if tell_held.is_some_and(|at| at <= Instant::now()) {
                tell_held = None;
                self.tell_held().await?;
            }
            self.flush().await?;
            if let Some((member, position)) =
                self.reading.as_ref().and_then(|r| r.followed.reader.delivered())
            {
                acknowledge(&server, &self.hosted, member, position);
            }
            if server.stop.is_cancelled() && self.acks.is_empty() {
                return Err(SocketEnd::Told(AWAY, Box::new(ServerEvent::ShuttingDown {})));
            }
            if more {
                continue;
            }
            let now = Instant::now();
            if let Some((seat, say, _)) = self.early.take_if(|(.., at)| *at <= now) {
                heard = now;
                Box::pin(self.say(seat, say)).await?;
                continue;
            }
            if self.reading.is_none() && now >= begun + server.settings().first_words {
                return Err(fatal(
                    "timed_out",
                    "the first event is join, resume or watch, and it did not come",
                ));
            }
            if now >= heard + 3 * PING_EVERY {
                return Err(fatal("timed_out", "nothing was heard from the client"));
            }
            if now >= heard + PING_EVERY && now >= asked + PING_EVERY {
                asked = now;
                self.feed(Message::Ping(Default::default())).await?;
                continue;
            }
            let mut wake = (heard + PING_EVERY).max(asked + PING_EVERY);
            if self.reading.is_none() {
                wake = wake.min(begun + server.settings().first_words);
            }
            let due = self.early.as_ref().map(|(.., at)| *at);
            wake = tell_held.into_iter().chain(tell_observed).chain(due).fold(wake, Instant::min);
            if !self.hand_over() {
                continue;
            }
            let is_pumped = self.is_pumped;
            let wants_held = self.reading.as_ref().is_some_and(|r| r.held.is_some());
            let wants_observed = self.reading.as_ref().is_some_and(|r| r.observed.is_some());
            tokio::select! {
                message = self.socket.recv(), if self.acks.len() < ACKS_MAX && due.is_none() => {
                    heard = Instant::now();
                    Box::pin(self.hear(message)).await?;
                    // Held messages are told from the beginning on.
                    if !wants_held && self.reading.as_ref().is_some_and(|r| r.held.is_some()) {
                        tell_held = Some(Instant::now());
                    }
                }
                () = self.woken.notified(), if is_pumped => {}
                _ = self.changed.changed(), if !is_pumped => {}
                _ = self.holding.changed(), if wants_held => {
                    tell_held.get_or_insert_with(|| Instant::now() + HELD_PAUSE);
                }
                _ = self.observing.changed(), if wants_observed => {
                    tell_observed.get_or_insert_with(|| Instant::now() + OBSERVED_PAUSE);
                }
                notice = self.news.next(), if self.reading.is_some() => {
                    let code = match notice {
                        StoreNotice::Full(_) => "storage_full",
                        StoreNotice::Again => "storage_again",
                    };
                    let problem = Problem::new(code, notice.to_string());
                    self.tell(&ServerEvent::Error(problem)).await?;
                }
                () = server.stop.cancelled(), if self.acks.is_empty() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    // Hearing.

    async fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> StepResult {
        let text = match message {
            None => return Err(SocketEnd::Gone),
            Some(Ok(Message::Close(_))) => return Err(SocketEnd::Closed),
            Some(Err(error)) => return Err(self.unreadable(&error)),
            // Pings are answered by the library.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Binary(_))) => {
                return Err(closing(UNSUPPORTED, "malformed", "events are text messages"));
            }
            Some(Ok(Message::Text(text))) => text,
        };
        let event = match api::read(text.as_bytes()) {
            Ok(event) => event,
            Err(error) => {
                let id = api::id_of_unread(text.as_bytes());
                return self.refuse(HttpFailure::malformed(error), id).await;
            }
        };
        match (event, &mut self.reading) {
            (ClientEvent::Ping {}, _) => self.tell(&ServerEvent::Pong {}).await,
            (ClientEvent::Join { name, nonce, held, observed, batch }, None) => {
                self.join(&name, nonce.as_ref(), Wants { held, observed, batch }).await
            }
            (ClientEvent::Resume { token, after, held, observed, batch }, None) => {
                self.resume(token.reveal(), after, Wants { held, observed, batch }).await
            }
            (ClientEvent::Watch { after, held, observed, batch }, None) => {
                self.read_along(after, Wants { held, observed, batch }).await
            }
            (ClientEvent::Say(say), Some(FollowingClient { seat: Some(seat), .. })) => {
                let seat = *seat;
                self.say(seat, say).await
            }
            (ClientEvent::Members {}, Some(_)) => {
                let turn = self.connection.visitor.turn().await;
                let members = self.hosted.ask(|room| MembersJson::of(&self.hosted, room));
                drop(turn);
                match members.stored_in_time().await {
                    Ok(members) => self.tell_with(&ServerEvent::Members {}, members.as_str()).await,
                    Err(why) => self.tell(&refused(why.into(), None)).await,
                }
            }
            (ClientEvent::Leave {}, Some(FollowingClient { seat: Some(seat), leaving, .. })) => {
                *leaving = true;
                let member = seat.member;
                self.hosted.act(|room, now| room.part(now, member, "")).told_by_its_record();
                Ok(())
            }
            (event, reading) => {
                let id = if let ClientEvent::Say(say) = event { Some(say.id) } else { None };
                let message = match reading {
                    Some(FollowingClient { seat: None, .. }) => "this WebSocket only reads along",
                    Some(_) => "one WebSocket is in one room, as one member",
                    None => "the first event is join, resume or watch",
                };
                self.unexpected(message, id).await
            }
        }
    }

    async fn unexpected(&mut self, message: &str, id: Option<String>) -> StepResult {
        self.tell(&ServerEvent::Error(Problem { id, ..Problem::new("unexpected", message) })).await
    }

    /// Returns the end of a session whose client sends what is too long, or not a WebSocket's bytes.
    fn unreadable(&self, error: &axum::Error) -> SocketEnd {
        let (reason, end) = end::unreadable(error, self.bytes_max);
        if let Some(reason) = reason {
            self.connection.server.metrics.refused(Protocol::Http, reason);
        }
        end
    }

    async fn join(&mut self, name: &str, nonce: Option<&SecretText>, wants: Wants) -> StepResult {
        if let Err(error) = RoomDirectory::check(Who::Anybody, &self.hosted, Right::Join) {
            return self.tell(&refused(error.into(), None)).await;
        }
        let chars = self.connection.server.settings().room.name_chars_max;
        let named = Name::parse(name, chars).map_err(causerie_core::room::JoinError::from);
        let nonce = match named.map_err(HttpFailure::from).and_then(|_| extract::nonce(nonce)) {
            Ok(nonce) => nonce,
            Err(failure) => return self.tell(&refused(failure, None)).await,
        };
        if let Err(why) = self.connection.visitor.join() {
            return self.tell(&refused(why.into(), None)).await;
        }
        let (token, bytes_max) = (new_token(), self.bytes_max);
        let joined = self.hosted.act(|room, now| {
            let before = room.position();
            let member = room.join_returning(now, name, nonce, token)?;
            let seat = room.take_seat(member, &token).expect("it has just been given that token");
            let is_new = room.position() > before;
            let welcome = rooms::welcome(room, member, &token, bytes_max);
            let welcome = (welcome, MembersJson::of(&self.hosted, room));
            Ok::<_, causerie_core::room::JoinError>((welcome, seat, before, is_new))
        });
        // Before anything is waited for: the connection may end meanwhile.
        let seated = joined.peek_unstored().as_ref().ok().map(|(_, seat, _, is_new)| (*seat, *is_new));
        self.presence = seated.map(|(seat, _)| Presence::seated(&self.hosted, seat));
        let member = seated.filter(|(_, is_new)| *is_new).map(|(seat, _)| seat.member);
        let joined = match self.hosted.joined_in_time(member, joined).await {
            Ok(joined) => joined,
            Err(why) => return self.tell(&refused(why.into(), None)).await,
        };
        match joined {
            Ok(((welcome, members), seat, cursor, _)) => {
                self.follow(Some(seat), cursor, wants);
                self.tell_with(&ServerEvent::Welcome(welcome), members.as_str()).await
            }
            Err(error) => self.tell(&refused(error.into(), None)).await,
        }
    }

    async fn resume(&mut self, token: &str, after: Option<Position>, wants: Wants) -> StepResult {
        if let Err(error) = RoomDirectory::check(Who::Anybody, &self.hosted, Right::Join) {
            return self.tell(&refused(error.into(), None)).await;
        }
        let Some((member, token)) = api::read_token(token) else {
            return self.tell(&refused(HttpFailure::wrong_token(), None)).await;
        };
        let bytes_max = self.bytes_max;
        let resumed = self.hosted.act(|room, _| {
            let seat = room.take_seat(member, &token)?;
            let cursor = after.unwrap_or(room.position()).min(room.position());
            let welcome = rooms::welcome(room, member, &token, bytes_max);
            let welcome = (welcome, MembersJson::of(&self.hosted, room));
            Ok::<_, causerie_core::room::ResumeError>((welcome, seat, cursor))
        });
        // Before anything is waited for: the connection may end meanwhile.
        let seat = resumed.peek_unstored().as_ref().ok().map(|(_, seat, _)| *seat);
        self.presence = seat.map(|seat| Presence::seated(&self.hosted, seat));
        let resumed = match resumed.stored_in_time().await {
            Ok(resumed) => resumed,
            Err(why) => return self.tell(&refused(why.into(), None)).await,
        };
        match resumed {
            Ok(((welcome, members), seat, cursor)) => {
                self.follow(Some(seat), cursor, wants);
                self.tell_with(&ServerEvent::Welcome(welcome), members.as_str()).await
            }
            Err(error) => self.tell(&refused(error.into(), None)).await,
        }
    }

    /// Rooms are open to all who may join, so whoever only looks is told the same.
    async fn read_along(&mut self, after: Option<Position>, wants: Wants) -> StepResult {
        let asked = self.hosted.ask(|room| {
            let position = room.position();
            let watching = ServerEvent::Watching {
                room: room.name().to_string(),
                epoch: room.epoch().to_string(),
                position,
            };
            (after.unwrap_or(position).min(position), watching, MembersJson::of(&self.hosted, room))
        });
        let (cursor, watching, members) = match asked.stored_in_time().await {
            Ok(asked) => asked,
            Err(why) => return self.tell(&refused(why.into(), None)).await,
        };
        self.follow(None, cursor, wants);
        self.tell_with(&watching, members.as_str()).await
    }

    fn follow(&mut self, seat: Option<Seat>, cursor: Position, wants: Wants) {
        let held = wants.held.then(BTreeSet::new);
        let observed = wants.observed.then(|| self.hosted.watch());
        let stream = Arc::clone(&self.connection.stream);
        let reader = Reader::hosted(stream, Arc::clone(&self.woken), seat.map(|seat| seat.member), cursor);
        let (server, hosted) = (&self.connection.server, &self.hosted);
        let followed = if wants.batch {
            Followed::new(server, hosted, reader, || FrameForm::<true>::of(hosted))
        } else {
            Followed::new(server, hosted, reader, || FrameForm::<false>::of(hosted))
        };
        self.reading = Some(FollowingClient {
            seat,
            follower: Follower::new(hosted, cursor),
            followed,
            in_batches: wants.batch,
            seating: None,
            farewell: None,
            leaving: false,
            held,
            observed,
        });
    }

    async fn say(&mut self, seat: Seat, said: Say) -> StepResult {
        if let Err(wait) = self.connection.visitor.speak(1) {
            self.early = Some((seat, said, Instant::now() + wait));
            return Ok(());
        }
        let id = said.id.clone();
        let placed = self.say_checked(seat, said).await;
        match placed {
            Ok(said) => {
                self.acks.push_back(said);
                Ok(())
            }
            Err(failure) => self.refuse(failure, Some(id)).await,
        }
    }

    /// Tells that a message is not taken.
    async fn refuse(&mut self, failure: HttpFailure, id: Option<String>) -> StepResult {
        self.connection.server.metrics.refused(Protocol::Http, failure.reason());
        self.tell(&refused(failure, id)).await
    }

    async fn say_checked(&mut self, seat: Seat, said: Say) -> Result<Unstored<SaidReceipt>, HttpFailure> {
        let (id, body) = said.body().map_err(HttpFailure::malformed)?;
        // Whoever has resumed elsewhere speaks there.
        // A seat is not stored.
        if !self.hosted.peek_unstored(|room| room.is_seated(seat)) {
            return Err(causerie_core::room::HostedSayError::NotHere.into());
        }
        self.connection.server.writer.has_room().await;
        let placed = say::say(&self.hosted, seat.member, &id, &body).await?;
        let said = |placed: Placed| SaidReceipt {
            id: id.to_string(),
            message: placed.said.id.to_string(),
            position: placed.said.position,
        };
        Ok(placed.map(said))
    }

    // Telling.

    async fn tell(&mut self, event: &ServerEvent) -> StepResult {
        self.feed(Message::Text(event.to_json().into())).await
    }

    /// Tells as [`tell`](Self::tell) does, with who is in.
    async fn tell_with(&mut self, event: &ServerEvent, members: &str) -> StepResult {
        let event = api::with_members(event.to_json(), members);
        self.connection.visitor.made(event.len());
        self.feed(Message::Text(event.into())).await
    }

    /// Writes itself from now on: first what the pump has left of a frame.
    async fn step_in(&mut self) -> StepResult {
        if !std::mem::take(&mut self.is_pumped) {
            return Ok(());
        }
        let Some(reading) = &self.reading else { return Ok(()) };
        let (rest, seat) = (reading.followed.reader.take_over(), reading.seat);
        if rest.is_empty() && self.connection.stream.is_flushed() {
            return Ok(());
        }
        // And a record, where it is encrypted.
        let held = (&*self.connection.charge, rest.len() + WRITE_BYTES);
        // Apart: it is rare.
        Box::pin(charged(write_all(&self.connection.stream, vec![rest], None), &self.hosted, seat, held))
            .await
    }

    /// Leaves writing to a pump where nothing but the log is to be told: all that was fed is flushed, so that reading from
    /// the socket writes nothing. Returns whether the session may wait now; if the room has gone on, it may not.
    fn hand_over(&mut self) -> bool {
        let Some(reading) = &self.reading else { return true };
        let is_busy = reading.observed.is_some() || reading.farewell.is_some() || !self.acks.is_empty();
        let Some(seating) = reading.seating.filter(|_| !is_busy) else { return true };
        reading.follower.stand(None);
        self.is_pumped = reading.followed.reader.hand_over(&*self.hosted, seating);
        self.is_pumped
    }

    async fn feed(&mut self, message: Message) -> StepResult {
        self.step_in().await?;
        let (hosted, seat) = (&self.hosted, self.reading.as_ref().and_then(|r| r.seat));
        let bytes = if let Message::Text(text) = &message { text.len() } else { 0 };
        let held = (&*self.connection.charge, bytes + WRITE_BYTES);
        charged(self.socket.feed(message), hosted, seat, held).await
    }

    async fn flush(&mut self) -> StepResult {
        self.step_in().await?;
        let (hosted, seat) = (&self.hosted, self.reading.as_ref().and_then(|r| r.seat));
        let held = (&*self.connection.charge, WRITE_BYTES);
        charged(self.socket.flush(), hosted, seat, held).await
    }

    async fn tell_acks(&mut self) -> StepResult {
        while let Some(said) = self.acks.pop_front() {
            match said.try_stored() {
                Ok(said) => self.tell(&ServerEvent::Ack(said)).await?,
                Err(said) => {
                    self.acks.push_front(said);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Tells what lies behind the cursor. Whether there may be more at once.
    async fn tell_log(&mut self) -> StepResult<bool> {
        let Some(reading) = &mut self.reading else { return Ok(false) };
        let seating = self.hosted.tail().seating;
        if reading.seating != Some(seating) {
            reading.farewell = look_after(&self.hosted, reading.seat).map_err(|why| match why {
                SeatLost::RoomClosed => fatal("room_closed", why.to_string()),
                SeatLost::Superseded => fatal("superseded", why.to_string()),
            })?;
            reading.seating = Some(seating);
        }
        if let Some((left_at, taken)) = reading.farewell
            && reading.followed.reader.cursor() >= left_at
            && self.acks.is_empty()
        {
            return Err(match reading.leaving {
                true => SocketEnd::Told(NORMAL, Box::new(ServerEvent::Parted { taken })),
                false => {
                    let mut problem = Problem::new("expired", "the member has left");
                    problem.taken = Some(taken);
                    SocketEnd::Told(POLICY, Box::new(ServerEvent::Error(problem)))
                }
            });
        }
        let cursor = reading.followed.reader.cursor();
        let telling = if reading.in_batches { Telling::InBatches } else { Telling::Together };
        let (mut frames, is_page) = match frames(&reading.follower, &self.hosted, cursor, telling).await {
            Some(frames) => (frames, false),
            None => (self.read_page(cursor).await?, true),
        };
        let mut more = !frames.is_empty();
        // After the log: what is not there yet was observed by nobody who had said what is in the log.
        let mut unread = self.unobserved().await?;
        if !unread.events.is_empty() && !is_page {
            self.separate(cursor, &mut frames).await?;
        }
        let (mut slices, mut told) = (Vec::with_capacity(frames.len()), cursor);
        for (frame, last) in frames {
            self.take_observed(&mut unread, told, &mut slices);
            slices.push(frame);
            told = last;
        }
        self.take_observed(&mut unread, told, &mut slices);
        if !slices.is_empty() {
            self.write(slices).await?;
        }
        if let Some(reading) = &self.reading {
            reading.followed.reader.advance(told);
        }
        more |= unread.has_more && unread.events.is_empty();
        Ok(more)
    }

    /// Reads these frames once more, each record by itself, so that something can be told between them.
    async fn separate(&mut self, cursor: Position, together: &mut Frames) -> StepResult {
        let (Some(reading), Some(&(_, last))) = (&self.reading, together.last()) else { return Ok(()) };
        let separate = frames(&reading.follower, &self.hosted, cursor, Telling::OneByOne).await;
        *together = match separate {
            Some(frames) => frames,
            None => self.read_page(cursor).await?,
        };
        together.retain(|(_, position)| *position <= last);
        Ok(())
    }

    /// Writes frames that others are sent, too, behind what was fed.
    async fn write(&mut self, frames: Vec<Bytes>) -> StepResult {
        self.flush().await?;
        let (hosted, seat) = (&self.hosted, self.reading.as_ref().and_then(|r| r.seat));
        let held = (&*self.connection.charge, frames.iter().map(Bytes::len).sum());
        charged(write_all(&self.connection.stream, frames, None), hosted, seat, held).await
    }

    /// Takes what members have observed and the client was not told.
    async fn unobserved(&mut self) -> StepResult<Unread> {
        let Some(cursor) = self.reading.as_mut().and_then(|r| r.observed.as_mut()) else {
            return Ok(Unread::default());
        };
        let unread = self.hosted.watching.read(*cursor);
        *cursor += unread.missed;
        if unread.missed > 0 {
            self.tell(&ServerEvent::Unobserved { count: unread.missed }).await?;
        }
        Ok(unread)
    }

    /// Takes of it what stands behind positions up to this one.
    fn take_observed(&mut self, unread: &mut Unread, position: Position, frames: &mut Vec<Bytes>) {
        while unread.events.front().is_some_and(|(behind, ..)| *behind <= position) {
            let Some((_, cursor, event)) = unread.events.pop_front() else { break };
            frames.push(news_frame(&event));
            if let Some(reading) = &mut self.reading {
                reading.observed = Some(cursor);
            }
        }
    }

    /// Reads what is not in memory any more.
    async fn read_page(&mut self, cursor: Position) -> StepResult<Frames> {
        let visitor = Arc::clone(&self.connection.visitor);
        let place = Place::Position(cursor);
        let is_member = self.reading.as_ref().is_some_and(|reading| reading.seat.is_some());
        // A member hears the room so: that is no answer.
        let _turn = if is_member { None } else { Some(visitor.turn().await) };
        let page = rooms::read_page(
            if is_member { Asker::Member } else { Asker::Stranger },
            Texts::AsSaid,
            &self.hosted,
            Direction::After,
            place,
            PAGE,
            PAGE_BYTES,
        )
        .await;
        let page = page.map_err(|failure| SocketEnd::Told(POLICY, Box::new(refused(failure, None))))?;
        visitor.made(page.records.len());
        let frames = Entries::new(page).map(|entry| match entry {
            Ok(Entry::Record(record)) => Ok((frame(&record_event(&record)), record.position)),
            Ok(Entry::Gap { from, to, removed }) => Ok((frame(&gap_event(from, to, removed).to_json()), to)),
            Err(error) => Err(fatal("unreadable", error.to_string())),
        });
        frames.collect()
    }

    /// Tells what is held back, or is not any more.
    async fn tell_held(&mut self) -> StepResult {
        let Some(told) = self.reading.as_mut().and_then(|r| r.held.as_mut()) else { return Ok(()) };
        // What is held is in no log.
        let held = self.hosted.peek_unstored(|room| room.held(usize::MAX));
        let mut events: Vec<_> = told
            .iter()
            .filter(|id| held.iter().all(|held| held.id != **id))
            .map(|id| (*id, ServerEvent::Released { message: id.to_string() }))
            .collect();
        for (id, _) in &events {
            told.remove(id);
        }
        for held in &held {
            if told.len() < HELD_MAX && told.insert(held.id) {
                events.push((held.id, ServerEvent::held(held)));
            }
        }
        for (_, event) in events {
            self.tell(&event).await?;
        }
        Ok(())
    }
}

/// Writes as [`patiently`] does, for who only reads along as if it had no seat. So much is charged to the connection while its
/// socket takes nothing.
async fn charged<E>(
    write: impl Future<Output = Result<(), E>>,
    hosted: &HostedRoom,
    seat: Option<Seat>,
    (charge, bytes): (&Charge, usize),
) -> StepResult
where
    SocketEnd: From<E>,
{
    let mut write = std::pin::pin!(write);
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
        return Ok(done?);
    }
    let _unwritten = Unwritten::new(charge, bytes);
    let has_seat = || seat.is_some_and(|seat| has_seat(hosted, seat));
    Ok(patiently(write, has_seat).await.ok_or(SocketEnd::Gone)??)
}
