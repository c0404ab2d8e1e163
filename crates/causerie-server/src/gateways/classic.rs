//! Sessions of classic clients: lines in, lines out. The server hosts their members.
//!
//! On the front port a connection first speaks to the controller; `./join ROOM` leads into a room. On a room's own
//! port the first thing said is the name.

mod rendering;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use causerie_core::content::body::Body;
use causerie_core::id::Position;
use causerie_core::room::JoinError;
use causerie_gateway::classic::{
    self, ClassicItem, ClassicLines, ControllerCommand, RoomCommand, encode, encode_part, parse_controller,
    parse_room,
};
use cbcast::MemberId;

use crate::fanout::form::Run;
use crate::fanout::reader::Reader;
use crate::gateways::membership::{Followed, Presence, SeatLost, acknowledge, patiently};
use crate::journal::writer::StoreNotice;
use crate::metrics::Refused;
use crate::net::addresses::Visitor;
use crate::net::outbox::{self, Outbox, write_all};
use crate::net::stream::Stream;
use crate::rooms::access::{Right, Who};
use crate::rooms::directory::Maker;
use crate::rooms::error::Unreadable;
use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::Follower;
use crate::server::Server;
use crate::settings::Protocol;
use rendering::{LineForm, LineRun};

/// Members that are looked at for one piece of an answer.
const MEMBERS_AT_ONCE: usize = 256;
/// Bytes that one read takes at most: a chunk of a client that does not end its lines.
pub(crate) const READ_MAX: usize = 64 << 10;

/// A member that lives here, and where its connection is in the log.
#[derive(Clone)]
struct ClassicMembership {
    room: Arc<HostedRoom>,
    /// Reads where the session writes itself.
    follower: Arc<Follower>,
    /// Its place in the log, known to the pumps.
    followed: Arc<Followed>,
    /// The pumps write ASCII for it.
    ascii_only: bool,
    member: MemberId,
}

struct ClassicSession<'a> {
    server: &'a Arc<Server>,
    peer: SocketAddr,
    visitor: &'a Visitor,
    stream: Arc<Stream>,
    outbox: Outbox,
    /// The client has sent something beyond ASCII, so it can read it too.
    beyond_ascii: AtomicBool,
    membership: Mutex<Option<ClassicMembership>>,
    /// Presence of the member, until the connection ends.
    presence: Mutex<Option<Presence>>,
}

/// Meaning of the next text.
enum NextText {
    Controller,
    /// The next text is a name.
    Name(Arc<HostedRoom>),
    Room(Arc<HostedRoom>, MemberId),
}

pub(crate) async fn serve(
    server: &Arc<Server>,
    stream: Arc<Stream>,
    peer: SocketAddr,
    visitor: &Visitor,
    first: BytesMut,
    room: Option<Arc<HostedRoom>>,
) -> io::Result<()> {
    let session = ClassicSession {
        server,
        peer,
        visitor,
        stream: Arc::clone(&stream),
        outbox: Outbox::new(server.memory.open(peer.ip())),
        beyond_ascii: AtomicBool::new(false),
        membership: Mutex::new(None),
        presence: Mutex::new(None),
    };
    let ended = tokio::select! {
        read = session.read(&stream, first, room) => Some(read),
        written = session.write(&stream) => Some(written),
        () = session.outbox.charge().cut() => None,
    };
    drop(session);
    outbox::end(&stream, ended).await
}

impl ClassicSession<'_> {
    fn membership(&self) -> MutexGuard<'_, Option<ClassicMembership>> {
        self.membership.lock().expect("nothing panics while holding it")
    }

    fn refused(&self, reason: Refused) {
        self.server.metrics.refused(Protocol::Classic, reason);
    }

    fn is_ascii_only(&self) -> bool {
        !self.beyond_ascii.load(Ordering::Relaxed)
    }

    /// Returns the membership of somebody who has read up to there, for the pumps to write for.
    fn following(
        &self,
        room: &Arc<HostedRoom>,
        follower: Arc<Follower>,
        member: MemberId,
        cursor: Position,
    ) -> ClassicMembership {
        let (stream, woken) = (Arc::clone(&self.stream), Arc::clone(self.outbox.waker()));
        let reader = Reader::hosted(stream, woken, Some(member), cursor);
        let ascii_only = self.is_ascii_only();
        let followed = if ascii_only {
            Followed::new(self.server, room, reader, || LineForm::<true>::of(room))
        } else {
            Followed::new(self.server, room, reader, || LineForm::<false>::of(room))
        };
        ClassicMembership {
            room: Arc::clone(room),
            follower,
            followed: Arc::new(followed),
            ascii_only,
            member,
        }
    }

    fn reply(&self, line: &str) {
        let line = encode(line, self.is_ascii_only());
        self.outbox.push(|out| out.extend_from_slice(&line));
        self.visitor.made(line.len());
    }

    // Reading.

    /// Reads until the client has left; the end of the stream is leaving too.
    async fn read(
        &self,
        stream: &Stream,
        mut buffer: BytesMut,
        room: Option<Arc<HostedRoom>>,
    ) -> io::Result<()> {
        let mut lines = ClassicLines::new(self.server.settings().room.text_bytes_max);
        let mut talk = room.map_or(NextText::Controller, NextText::Name);
        loop {
            let ended =
                buffer.is_empty() && { outbox::read(stream, &mut buffer, READ_MAX, READ_MAX).await? == 0 };
            lines.push(&buffer);
            // Nothing is kept for a connection that is silent.
            buffer = BytesMut::new();
            let mut items: Vec<_> = std::iter::from_fn(|| lines.poll_item()).collect();
            if ended {
                items.extend(std::iter::from_fn(|| lines.finish()));
            }
            if lines.saw_non_ascii() && !self.beyond_ascii.swap(true, Ordering::Relaxed) {
                // Whatever answers this is not in ASCII any more.
                if let Some(membership) = &*self.membership() {
                    membership.followed.reader.retire();
                }
            }
            // Apart, as well.
            if !Box::pin(self.handle_all(&mut talk, items)).await || ended {
                // What is still to be said is written; then the connection ends.
                self.outbox.finish();
                return std::future::pending().await;
            }
        }
    }

    /// Handles the texts of one read. Whether the conversation goes on.
    async fn handle_all(&self, talk: &mut NextText, items: Vec<ClassicItem>) -> bool {
        for item in items {
            self.outbox.has_room().await;
            // Each answer is some work, too.
            self.visitor.speak_in_turn().await;
            let text = match item {
                ClassicItem::Text(text) => text,
                ClassicItem::TooLong { limit } => {
                    self.refused(Refused::TooLong);
                    self.complain(talk, &format!("a text has at most {limit} bytes, and yours had more"));
                    continue;
                }
                ClassicItem::NotUtf8 => {
                    self.refused(Refused::Malformed);
                    self.complain(talk, "that was not UTF-8");
                    continue;
                }
            };
            match talk {
                NextText::Controller => {
                    if let Some(room) = self.command(&text).await {
                        *talk = NextText::Name(room);
                    }
                }
                NextText::Name(room) => {
                    if let Some(member) = self.join(room, &text).await {
                        *talk = NextText::Room(Arc::clone(room), member);
                    }
                }
                NextText::Room(room, member) => {
                    if !self.talk(room, *member, &text).await {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn complain(&self, talk: &NextText, message: &str) {
        match talk {
            NextText::Controller => self.reply(&classic::controller_error(message)),
            _ => self.reply(&classic::error(message)),
        }
    }

    /// Handles a command to the controller. Returns the room, if one is to be joined.
    async fn command(&self, text: &str) -> Option<Arc<HostedRoom>> {
        match parse_controller(text) {
            ControllerCommand::CreateRoom => {
                let created = match self.visitor.join() {
                    Ok(()) => self
                        .server
                        .open_port_room(Maker::without_key(self.peer.ip()))
                        .await
                        .map_err(|e| e.to_string()),
                    Err(why) => Err(why.to_string()),
                };
                match created {
                    Ok(room) => self.reply(&classic::room_created(room.row.port.unwrap_or_default())),
                    Err(why) => self.reply(&classic::controller_error(&why)),
                }
            }
            ControllerCommand::Rooms => {
                let _turn = self.visitor.turn().await;
                let rooms = self.server.directory.list(Who::Anybody);
                let rooms = rooms.iter().map(|r| (&r.name[..], r.port, r.members as usize));
                self.reply(&classic::rooms(rooms));
            }
            ControllerCommand::Join(name) => {
                match self.server.directory.open(Who::Anybody, &name, Right::Join) {
                    Ok(room) => return Some(room),
                    Err(error) => self.reply(&classic::controller_error(&error.to_string())),
                }
            }
            ControllerCommand::MissingRoom => {
                self.reply(&classic::controller_error("which room? ./rooms lists them"));
            }
            ControllerCommand::Unknown(command) => {
                self.reply(&classic::unknown_controller_command(&command));
            }
        }
        None
    }

    async fn join(&self, hosted: &Arc<HostedRoom>, name: &str) -> Option<MemberId> {
        if let Err(why) = self.visitor.join() {
            self.reply(&classic::error(&why.to_string()));
            return None;
        }
        let joined = hosted.act(|room, now| {
            let joined = room.join_hosted(now, name).map(|member| (member, room.position()));
            joined.map_err(|error| match error {
                JoinError::NameTaken { name, like, suggestion } => {
                    classic::name_taken(&name, &like, &suggestion)
                }
                error => classic::error(&error.to_string()),
            })
        });
        // Before anything is waited for: the connection may end meanwhile.
        let member = joined.peek_unstored().as_ref().ok().map(|(member, _)| *member);
        if let Some(member) = member {
            let presence = Presence::hosted(hosted, member);
            *self.presence.lock().expect("nothing panics while holding it") = Some(presence);
        }
        let joined = match hosted.joined_in_time(member, joined).await {
            Ok(joined) => joined,
            Err(why) => Err(classic::error(&why.to_string())),
        };
        match joined {
            Ok((member, cursor)) => {
                let follower = Arc::new(Follower::new(hosted, cursor));
                *self.membership() = Some(self.following(hosted, follower, member, cursor));
                self.outbox.wake();
                Some(member)
            }
            Err(line) => {
                self.reply(&line);
                None
            }
        }
    }

    /// Handles a text in a room. Returns whether the conversation goes on.
    async fn talk(&self, hosted: &Arc<HostedRoom>, member: MemberId, text: &str) -> bool {
        match parse_room(text) {
            RoomCommand::Members => {
                self.members(hosted).await;
            }
            RoomCommand::Leave => return false,
            RoomCommand::Unknown(command) => self.reply(&classic::unknown_room_command(&command)),
            RoomCommand::Text(text) => {
                let said = hosted.act(|room, now| room.say(now, member, &Body::Text(text)));
                if let Err(error) = said.told_by_its_record() {
                    self.refused(Refused::from(&error));
                    self.reply(&classic::error(&error.to_string()));
                }
                self.server.writer.has_room().await;
            }
        }
        true
    }

    /// One line that may be long: its pieces are made as the client takes them.
    async fn members(&self, hosted: &Arc<HostedRoom>) {
        let ascii_only = self.is_ascii_only();
        let mut after = None;
        loop {
            let turn = self.visitor.turn().await;
            let members = hosted.ask(|room| room.members_after(after, MEMBERS_AT_ONCE));
            let is_first = after.is_none();
            let part = members.map(|members| {
                let is_last = members.len() < MEMBERS_AT_ONCE;
                let names = members.iter().map(|info| &info.name[..]);
                let part = classic::members_part(names, is_first, is_last);
                let part = if is_last { encode(&part, ascii_only) } else { encode_part(&part, ascii_only) };
                (part, members.last().map(|info| info.member), is_last)
            });
            // Its length alone.
            self.visitor.made(part.peek_unstored().0.len());
            drop(turn);
            let (part, last, is_last) = match part.stored_in_time().await {
                Ok(part) => part,
                Err(why) => {
                    if after.is_some() {
                        self.outbox.push_piece(&encode("]", ascii_only), true).await;
                    }
                    return self.reply(&classic::error(&why.to_string()));
                }
            };
            after = last;
            self.outbox.push_piece(&part, is_last).await;
            if is_last {
                return;
            }
        }
    }

    // Writing.

    /// Writes until the connection is to end.
    async fn write(&self, stream: &Stream) -> io::Result<()> {
        let mut news = self.server.writer.news();
        loop {
            let membership = self.membership().clone();
            if let Some(membership) = &membership {
                let rest = membership.followed.reader.take_over();
                if !rest.is_empty() || !stream.is_flushed() {
                    // Apart: it is rare.
                    Box::pin(self.write_lines(stream, membership, vec![rest])).await?;
                }
            }
            let taken = self.outbox.take();
            let said = write_all(stream, taken.slices, None);
            if taken.is_last {
                return tokio::time::timeout(outbox::LAST_WORDS, said).await.unwrap_or(Ok(()));
            }
            said.await?;
            self.outbox.written();
            if taken.is_open {
                self.outbox.filled().await;
                continue;
            }
            let (mut more, mut closed, mut seating) = (false, false, 0);
            if let Some(membership) = &membership {
                let hosted = &membership.room;
                seating = hosted.tail().seating;
                closed = hosted.closed.is_cancelled();
                // Apart: it is large, and most sessions wait.
                more = Box::pin(self.write_log(stream, membership)).await?;
            }
            if more {
                continue;
            }
            if closed {
                self.reply(&classic::error(&SeatLost::RoomClosed.to_string()));
                self.outbox.finish();
            } else if self.server.stop.is_cancelled() {
                self.reply("The server is shutting down");
                self.outbox.finish();
            } else if membership.as_ref().is_none_or(|membership| self.hand_over(membership, seating)) {
                tokio::select! {
                    () = self.outbox.filled() => {}
                    notice = news.next(), if membership.is_some() => match &notice {
                        StoreNotice::Full(_) => self.reply(&classic::error(&notice.to_string())),
                        StoreNotice::Again => self.reply(&notice.to_string()),
                    },
                    () = self.server.stop.cancelled() => {}
                }
            }
        }
    }

    /// Writes what lies behind the cursor. Whether there may be more.
    async fn write_log(&self, stream: &Stream, membership: &ClassicMembership) -> io::Result<bool> {
        let ClassicMembership { room: hosted, follower, followed, member, .. } = membership;
        let before = followed.reader.cursor();
        let (lines, cursor) = match follower.read(before).await {
            Ok(Some(piece)) => {
                let run = LineRun::of(&piece, hosted, before, self.is_ascii_only()).await;
                (run.map_or_else(Vec::new, |run| run.slices(Some(*member)).into_owned()), piece.last)
            }
            Ok(None) => (Vec::new(), before),
            Err(gap @ Unreadable::Gap { end, .. }) => {
                self.reply(&classic::error(&gap.to_string()));
                (Vec::new(), end)
            }
            Err(failed @ Unreadable::Failed(_)) => return Err(io::Error::other(failed)),
        };
        self.write_lines(stream, membership, lines).await?;
        followed.reader.advance(cursor);
        acknowledge(self.server, hosted, *member, cursor);
        Ok(cursor > before)
    }

    /// Writes lines for as long as it takes: see [`patiently`].
    async fn write_lines(
        &self,
        stream: &Stream,
        membership: &ClassicMembership,
        lines: Vec<Bytes>,
    ) -> io::Result<()> {
        let ClassicMembership { room, member, .. } = membership;
        let has_seat = || room.peek_unstored(|room| !room.is_closed() && room.is_present(*member));
        let written = patiently(write_all(stream, lines, Some(self.outbox.charge())), has_seat).await;
        written.unwrap_or_else(|| Err(io::Error::other("the client reads nothing, and is in no room")))
    }

    /// Leaves writing to a pump. Returns whether the session may wait now; if the room has gone on, or the lines are written
    /// otherwise from now on, it may not.
    fn hand_over(&self, membership: &ClassicMembership, seating: u64) -> bool {
        let ClassicMembership { room, follower, followed, ascii_only, member } = membership;
        if *ascii_only != self.is_ascii_only() {
            let cursor = followed.reader.cursor();
            *self.membership() = Some(self.following(room, Arc::clone(follower), *member, cursor));
            return false;
        }
        follower.stand(None);
        followed.reader.hand_over(&**room, seating)
    }
}
