//! Sessions of IRC clients: a connection in as many rooms as it likes. The decisions are in
//! [`causerie_gateway::irc::Session`]; here are its socket, its cursors in the rooms' logs, and what it can ask for.

mod history;
mod host;
mod people;
#[cfg(test)]
mod races;
mod rendering;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causerie_core::content::body::Body;
use causerie_core::content::name::Name;
use causerie_core::content::reading::Reading;
use causerie_core::log::page::{HistoryRecord, What};
use causerie_core::room::{JoinError, Room, SayError};
use causerie_core::wire::MemberInfo;
use causerie_gateway::irc::{
    Change, Found, HistoryRequest, Item, JoinRefusal, Joined, Lines, MemberView, Move, MoveKind, PersonView,
    RoomView, ServerView, Session, TargetsRequest, World,
};
use cbcast::{MemberId, MessageId};
use futures_util::future::select_all;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Server;
use crate::journal::writer::{STORED_AGAIN, StoreNews};
use crate::net::addresses::Visitor;
use crate::net::budget::{Bucket, Rate, warn_seldom};
use crate::net::memory::Charge;
use crate::net::outbox::{self, write_all};
use crate::rooms::directory::Maker;
use crate::rooms::hosted::{HostedRoom, Names, Quotes, Unreadable};
pub(crate) use people::People;
use people::{Conversation, News, Person};
pub(crate) use rendering::IrcTail;

/// How the gateway shows itself to IRC clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IrcSettings {
    /// Whether IRC is spoken at all. Default: yes.
    pub enabled: bool,
    /// What the server calls itself: with a dot in it, so that it is not taken for a nick. Default `causerie.local`.
    pub server_name: String,
    /// What clients show as the network's name. Default `Causerie`.
    pub network: String,
    /// Lines that everybody is shown who connects. Default: none.
    pub motd: Vec<String>,
    /// How many messages who joins is shown that it has not seen, unless it can ask for history itself; at most 100.
    /// Default 50.
    pub history: usize,
    /// How often a client that says nothing is asked whether it is there. Default 60 s.
    pub ping: Duration,
    /// Lines a second that a client may go on sending; what comes faster waits. 0: no limit. Default 10.
    pub lines_per_second: u32,
    /// How long a client may take to say who it is: people are asked for passwords meanwhile. Default 60 s.
    pub registration: Duration,
}

impl Default for IrcSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            server_name: "causerie.local".into(),
            network: "Causerie".into(),
            motd: Vec::new(),
            history: 50,
            ping: Duration::from_secs(60),
            lines_per_second: 10,
            registration: Duration::from_secs(60),
        }
    }
}

/// What one read takes at most.
const READ_MAX: usize = 16 << 10;
/// Lines handled before what they have brought is written, and bytes of that.
const LINES_AT_ONCE: usize = 64;
const OUTPUT_AT_ONCE: usize = 32 << 10;
/// Conversations that a connection may have begun.
const CONVERSATIONS_MAX: usize = 100;
/// So many seconds' worth of lines may come at once.
const BURST_SECONDS: u32 = 5;
/// Changes of nick, realname and being away: as many as this at once, and as often as this in the long term.
const CHANGES: Rate = Rate::each(Duration::from_secs(100), 5).expect("not 0");

pub(crate) async fn serve(
    server: &Arc<Server>,
    stream: Arc<TcpStream>,
    peer: SocketAddr,
    visitor: &Visitor,
    first: BytesMut,
) -> io::Result<()> {
    if !server.settings().irc.enabled {
        write_all(&stream, vec![Bytes::from_static(b"ERROR :IRC is turned off on this server\r\n")], None)
            .await?;
        outbox::close(&stream).await;
        return Ok(());
    }
    let here = Here::new(server, visitor, peer.ip());
    let session = Session::new(server_view(server, &here.person));
    let (lines, budget, news) = (Lines::default(), Bucket::default(), server.writer.news());
    let charge = server.writer.memory.open(peer.ip());
    let mut connection = Connection { session, here, stream, lines, budget, news, charge: &charge };
    let ended = tokio::select! {
        ended = connection.converse(first) => Some(ended),
        () = charge.cut() => None,
    };
    let Connection { here, stream, .. } = connection;
    drop(here);
    match ended {
        Some(ended) => {
            outbox::close(&stream).await;
            ended
        }
        None => {
            outbox::cut(&stream);
            Ok(())
        }
    }
}

/// What the server says of itself to a connection.
fn server_view(server: &Server, person: &Person) -> ServerView {
    let settings = server.settings();
    let view = settings.irc.clone();
    ServerView {
        server: view.server_name,
        host: person.host(),
        network: view.network,
        version: crate::AGENT.replace(' ', "-"),
        motd: view.motd,
        since: server.since,
        nick_max: settings.room.name_chars_max,
        text_max: settings.room.text_bytes_max,
        replay: view.history,
    }
}

struct Connection<'a> {
    session: Session,
    here: Here<'a>,
    stream: Arc<TcpStream>,
    lines: Lines,
    /// For lines to be handled.
    budget: Bucket,
    /// Whether anything can be stored.
    news: StoreNews,
    charge: &'a Charge,
}

impl Connection<'_> {
    /// Until either side ends it.
    async fn converse(&mut self, mut buffer: BytesMut) -> io::Result<()> {
        let begun = Instant::now();
        let server = self.here.server;
        // A line, and what it still has to take out of the budgets.
        let mut next: Option<(Item, Due)> = None;
        let mut ask_at = begun + server.settings().irc.ping;
        loop {
            let mut wait = None;
            self.write().await?;
            if self.session.has_ended() {
                return Ok(());
            }
            for place in self.here.places.values() {
                for &member in &place.members {
                    place.hosted.acknowledge(server, member, place.cursor);
                }
            }
            if self.tell_rooms().await {
                continue;
            }
            self.lines.push(&std::mem::take(&mut buffer));
            let mut handled = 0;
            while handled < LINES_AT_ONCE
                && self.session.output_bytes() < OUTPUT_AT_ONCE
                && !self.session.has_ended()
                && let Some((item, mut due)) = next.take().or_else(|| self.next_item())
            {
                wait = self.must_wait(&mut due);
                if wait.is_some() {
                    next = Some((item, due));
                    break;
                }
                self.handle(item).await?;
                handled += 1;
            }
            if handled > 0 {
                continue;
            }
            if server.stop.is_cancelled() {
                self.session.end("The server is shutting down");
                continue;
            }
            let registered_by = begun + server.settings().irc.registration;
            if !self.session.is_registered() && Instant::now() >= registered_by {
                self.session.end("Registration timed out");
                continue;
            }
            tokio::select! {
                read = outbox::read(&self.stream, &mut buffer, READ_MAX, READ_MAX), if wait.is_none() => {
                    if read? == 0 {
                        return Ok(());
                    }
                    ask_at = Instant::now() + server.settings().irc.ping;
                }
                () = tokio::time::sleep_until(ask_at), if self.session.is_registered() => {
                    self.session.ping();
                    ask_at = Instant::now() + server.settings().irc.ping;
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                () = any_changed(&mut self.here.places) => {}
                () = self.here.person.stirred.notified() => self.tell_news(),
                trouble = self.news.next() => self.tell_trouble(trouble),
                () = server.stop.cancelled() => {}
                () = tokio::time::sleep_until(registered_by), if !self.session.is_registered() => {}
            }
        }
    }

    fn next_item(&mut self) -> Option<(Item, Due)> {
        let item = self.lines.poll_item()?;
        let due = Due { line: true, messages: messages_of(&item) };
        Some((item, due))
    }

    /// Returns for how long a client that sends too fast has to wait. If it does not, all is paid.
    fn must_wait(&mut self, due: &mut Due) -> Option<Duration> {
        if due.line {
            let rate = self.here.server.settings().irc.lines_per_second;
            let rate = Rate::new(rate, Duration::from_secs(1), rate.saturating_mul(BURST_SECONDS));
            if let Some(wait) = rate.and_then(|rate| self.budget.take(Instant::now(), rate, 1).err()) {
                return Some(wait);
            }
            due.line = false;
        }
        while due.messages > 0 {
            match self.here.visitor.speak(due.messages) {
                Ok(taken) => due.messages = due.messages.saturating_sub(taken),
                Err(wait) => return Some(wait),
            }
        }
        None
    }

    async fn handle(&mut self, item: Item) -> io::Result<()> {
        let server = self.here.server;
        self.until(server.writer.has_room()).await?;
        if let Item::Message(message) = &item
            && matches!(&message.command[..], "PRIVMSG" | "NOTICE" | "TAGMSG")
        {
            let now = self.here.now();
            self.here.person.state().view.spoke = now;
        }
        self.session.handle(&mut self.here, item);
        loop {
            // Nothing is told before it is stored.
            for (hosted, changes) in std::mem::take(&mut self.here.unstored) {
                self.until(hosted.stored(changes)).await?;
            }
            while let Some(change) = self.session.poll_change() {
                match change {
                    Change::History(request) => {
                        let _turn = self.here.visitor.turn().await;
                        let found = self.here.history(&request).await;
                        self.session.history(&self.here, &request, found.as_deref());
                    }
                    Change::Targets(request) => {
                        let _turn = self.here.visitor.turn().await;
                        let found = self.here.targets(&request).await;
                        self.session.targets(&found);
                    }
                }
            }
            // A long answer waits until its beginning is written, and the lines behind it for its end.
            if self.session.output_bytes() >= OUTPUT_AT_ONCE {
                self.write().await?;
            }
            if !self.session.has_more() {
                break;
            }
            let _turn = self.here.visitor.turn().await;
            self.session.go_on(&mut self.here);
        }
        self.session.finish();
        let seats: BTreeMap<_, _> = self.session.seats().collect();
        self.here.places.retain(|id, _| seats.contains_key(id));
        self.here.person.state().wants_news = self.session.wants_news();
        Ok(())
    }

    /// Waits, and tells the client meanwhile why it has to.
    async fn until(&mut self, done: impl Future<Output = ()>) -> io::Result<()> {
        let mut done = std::pin::pin!(done);
        loop {
            tokio::select! {
                biased;
                () = &mut done => return Ok(()),
                trouble = self.news.next() => {
                    self.tell_trouble(trouble);
                    self.write().await?;
                }
            }
        }
    }

    /// Writes what the session has to say.
    async fn write(&mut self) -> io::Result<()> {
        let output = self.session.take_output();
        self.here.visitor.made(output.iter().map(Bytes::len).sum());
        write_all(&self.stream, output, Some(self.charge)).await
    }

    fn tell_trouble(&mut self, trouble: Option<Arc<str>>) {
        self.session.notice(trouble.as_deref().unwrap_or(STORED_AGAIN));
    }

    /// Tells what lies behind the cursors. Whether that was anything.
    async fn tell_rooms(&mut self) -> bool {
        let mut told = false;
        let ids: Vec<_> = self.here.places.keys().copied().collect();
        for id in ids {
            if self.session.output_bytes() >= OUTPUT_AT_ONCE {
                return true;
            }
            let place = self.here.places.get_mut(&id).expect("it is not removed here before");
            place.changed.mark_unchanged();
            let hosted = Arc::clone(&place.hosted);
            let closed = hosted.closed.is_cancelled();
            let before = place.cursor;
            let piece = match rendering::read(&hosted, before).await {
                Ok(piece) => piece,
                Err(Unreadable::Gap { end }) => {
                    self.session.gap(id, end - before);
                    place.cursor = end;
                    told = true;
                    None
                }
                Err(Unreadable::Failed(why)) => {
                    self.session.end(&why);
                    return true;
                }
            };
            let Some(piece) = piece else {
                if closed {
                    self.session.closed(id);
                    self.here.leave(id);
                    told = true;
                }
                continue;
            };
            place.cursor = piece.last;
            told = true;
            let (found, rendering) = piece.read(&hosted, before, self.session.perspective(id)).await;
            self.session.records(&mut self.here, id, found, rendering.as_deref());
        }
        // Of a room that it was made to leave.
        let seats: BTreeMap<_, _> = self.session.seats().collect();
        let gone: Vec<_> = self.here.places.keys().filter(|id| !seats.contains_key(id)).copied().collect();
        gone.into_iter().for_each(|id| self.here.leave(id));
        told
    }

    fn tell_news(&mut self) {
        for conversation in self.here.person.take_addressed() {
            let member = self.here.enter(&conversation);
            self.session.addressed(conversation.hosted.id.0, member);
        }
        for (source, channel) in self.here.person.take_invitations() {
            self.session.invited(&source, &channel);
        }
        let (news, lost) = self.here.person.take_news();
        if lost > 0 {
            let words =
                format!("{lost} changes of who is away and of real names were not told, as too many waited");
            self.session.notice(&words);
        }
        for (source, News { away, realname }) in news {
            if let Some(away) = away {
                self.session.away_changed(&source, away.as_deref());
            }
            if let Some(realname) = realname {
                self.session.realname_changed(&source, &realname);
            }
        }
    }
}

/// What a line has still to take out of the budgets before it is handled.
struct Due {
    line: bool,
    messages: usize,
}

/// How many messages a line becomes, at most.
fn messages_of(item: &Item) -> usize {
    let Item::Message(message) = item else { return 0 };
    match &message.command[..] {
        // Of a text of many lines, its end counts.
        "PRIVMSG" | "NOTICE" if message.tag("batch").is_some() => 0,
        "PRIVMSG" | "NOTICE" | "TAGMSG" => message.param(0).map_or(0, |targets| targets.split(',').count()),
        "TOPIC" | "REDACT" | "BATCH" => 1,
        _ => 0,
    }
}

/// Until there is something new in one of the rooms.
async fn any_changed(places: &mut BTreeMap<u64, Place>) {
    if places.is_empty() {
        return std::future::pending().await;
    }
    // It fails only without the room, which is held here.
    drop(select_all(places.values_mut().map(|place| Box::pin(place.changed.changed()))).await);
}

/// Who has said what a record refers to, and what.
fn about(record: &HistoryRecord, names: &Names, quotes: &Quotes) -> Option<(String, String)> {
    let What::Said(body) = &record.what else { return None };
    let target = body.target()?;
    let name = names.get(&target.member).cloned().unwrap_or_else(|| target.member.to_string());
    Some((name, quotes.get(&target)?.clone()))
}

/// A room that the connection is in, and how far it has read there.
struct Place {
    hosted: Arc<HostedRoom>,
    cursor: u64,
    changed: watch::Receiver<()>,
    /// As whom it is in there, as long as it is.
    members: Vec<MemberId>,
    /// In a conversation: the other one.
    other: Option<Arc<Person>>,
    /// A conversation that this connection has begun.
    begun: bool,
}

impl Place {
    fn new(hosted: Arc<HostedRoom>, cursor: u64) -> Self {
        hosted.irc().enter();
        Self { changed: hosted.subscribe(), hosted, cursor, members: Vec::new(), other: None, begun: false }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.hosted.is_poisoned() {
            self.hosted.irc().leave();
        }
    }
}

/// What a session can reach.
struct Here<'a> {
    server: &'a Arc<Server>,
    ip: IpAddr,
    visitor: &'a Visitor,
    person: Arc<Person>,
    /// By the rooms' numbers.
    places: BTreeMap<u64, Place>,
    /// What has to be stored before the client is told anything.
    unstored: Vec<(Arc<HostedRoom>, u64)>,
    /// For changes of who this is.
    changes: Bucket,
}

/// Who was in it leaves it; with the last one it goes.
fn leave_conversation(server: &Server, hosted: &Arc<HostedRoom>, member: MemberId) {
    server.people.end_conversation(hosted);
    let is_empty = hosted.act(|room, now| {
        room.part(now, member, "");
        room.info(None).members == 0
    });
    if is_empty {
        server.controller.close_conversation(hosted);
    }
}

fn view(hosted: &HostedRoom, room: &Room) -> RoomView {
    let name = room.name().to_string();
    RoomView { name, topic: room.topic().cloned(), created: hosted.row.created_millis }
}

/// However the session ends, it is in no room then, and has no nick.
impl Drop for Here<'_> {
    fn drop(&mut self) {
        // Whatever panicked in a room itself, a second panic on the way out would end the server.
        self.places.retain(|_, place| !place.hosted.is_poisoned());
        self.quit("Connection closed", "Connection closed");
        // Behind that, since its members have the nick.
        for conversation in self.server.people.forget(&self.person) {
            let (member, _) = conversation.seen_by(&self.person);
            leave_conversation(self.server, &conversation.hosted, member);
        }
    }
}

impl<'a> Here<'a> {
    fn new(server: &'a Arc<Server>, visitor: &'a Visitor, ip: IpAddr) -> Self {
        let person = server.people.begin(ip, crate::rooms::hosted::Clock::start().now().wall_millis);
        let changes = Bucket::default();
        Self { server, ip, visitor, person, places: BTreeMap::new(), unstored: Vec::new(), changes }
    }

    /// Reads on in that conversation; as whom.
    fn enter(&mut self, conversation: &Conversation) -> MemberId {
        let (member, other) = conversation.seen_by(&self.person);
        let hosted = &conversation.hosted;
        self.places.entry(hosted.id.0).or_insert_with(|| {
            let mut place = Place::new(Arc::clone(hosted), conversation.position);
            place.members.push(member);
            place.other = Some(Arc::clone(other));
            place.begun = conversation.was_begun_by(&self.person);
            place
        });
        member
    }

    fn leave(&mut self, id: u64) {
        self.places.remove(&id);
        self.person.state().rooms.remove(&id);
    }

    fn part_room(&mut self, id: u64, member: MemberId, reason: &str, moved: Option<&Arc<Move>>) {
        let hosted = Arc::clone(&self.places[&id].hosted);
        let ((), changes) = hosted.act_and_count(|room, now| {
            hosted.irc().went(member, moved.cloned());
            room.part(now, member, reason);
        });
        self.unstored.push((hosted, changes));
        let mut state = self.person.state();
        if state.rooms.get(&id).is_some_and(|(now, _)| *now == member) {
            state.rooms.remove(&id);
        }
    }

    /// The one member goes and the other comes, as a part of that move.
    fn rename_in(
        &mut self,
        id: u64,
        member: MemberId,
        name: &str,
        moved: &Arc<Move>,
    ) -> Result<MemberId, JoinRefusal> {
        let gone = || JoinRefusal::NoSuchRoom("the room was closed".to_owned());
        let place = self.places.get_mut(&id).ok_or_else(gone)?;
        let (hosted, mask) = (Arc::clone(&place.hosted), self.person.mask());
        let (renamed, changes) = hosted.act_and_count(|room, now| {
            let renamed = room.rename_hosted(now, member, name, &format!("is {name} now"))?;
            let mut tail = hosted.irc();
            tail.came(renamed, mask, Some(Arc::clone(moved)));
            tail.went(member, Some(Arc::clone(moved)));
            self.person.state().rooms.insert(id, (renamed, room.name().to_string()));
            Ok(renamed)
        });
        self.unstored.push((hosted, changes));
        let renamed = renamed.map_err(JoinRefusal::Room)?;
        place.members.retain(|before| *before != member);
        place.members.push(renamed);
        Ok(renamed)
    }

    async fn history(&self, request: &HistoryRequest) -> Option<Vec<Found>> {
        let hosted = Arc::clone(&self.places.get(&request.room)?.hosted);
        history::window(&hosted, request)
            .await
            .inspect_err(|error| warn_seldom!("history for an IRC client cannot be read: {error}"))
            .ok()
    }

    async fn targets(&self, request: &TargetsRequest) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        for place in self.places.values() {
            match history::newest(&place.hosted).await {
                Ok(Some(millis)) if request.from < millis && millis < request.to => {
                    let target = match &place.other {
                        Some(other) => other.nick(),
                        None => place.hosted.look(|room| format!("#{}", room.name())),
                    };
                    found.push((target, millis));
                }
                Ok(_) => {}
                Err(error) => warn_seldom!("history for an IRC client cannot be read: {error}"),
            }
        }
        found.sort_by_key(|(_, millis)| *millis);
        found.truncate(request.limit);
        found
    }
}

impl World for Here<'_> {
    fn now(&self) -> u64 {
        crate::rooms::hosted::Clock::start().now().wall_millis
    }

    fn spend_change(&mut self) -> Result<(), Duration> {
        match self.server.settings().irc.lines_per_second {
            0 => Ok(()),
            _ => self.changes.take(Instant::now(), CHANGES, 1).map(drop),
        }
    }

    fn claim(&mut self, nick: &Name) -> Result<(), Name> {
        let reading = Reading::of(nick.as_str());
        self.server.people.claim(&self.person, nick, &reading)?;
        let own = |id| self.person.state().rooms.get(&id).map(|(member, _)| *member);
        let Some(like) = self.server.controller.named_like(&reading, own) else { return Ok(()) };
        self.disclaim(nick);
        Err(like)
    }

    fn adopt(&mut self, nick: &Name) {
        self.server.people.adopt(&self.person, nick);
    }

    fn disclaim(&mut self, nick: &Name) {
        self.server.people.disclaim(&self.person, nick);
    }

    fn register(&mut self, user: &str) {
        let state = &mut *self.person.state();
        (state.is_registered, state.view.user) = (true, user.to_owned());
    }

    fn describe(&mut self, realname: Option<&str>, away: Option<Option<&str>>) {
        let news =
            News { realname: realname.map(str::to_owned), away: away.map(|away| away.map(str::to_owned)) };
        {
            let state = &mut *self.person.state();
            if let Some(realname) = &news.realname {
                state.view.realname.clone_from(realname);
            }
            if let Some(away) = &news.away {
                state.view.away.clone_from(away);
            }
        }
        self.server.people.tell(&self.person, &news);
    }

    fn person(&self, nick: &str) -> Option<PersonView> {
        self.server.people.named(nick)
    }

    fn people(&self) -> usize {
        self.server.people.count()
    }

    fn resolve(&self, room: &str) -> Option<String> {
        self.server.controller.resolve(room)
    }

    fn room_count(&self) -> usize {
        self.server.controller.count()
    }

    fn rooms(&self, after: Option<&str>, max: usize) -> Vec<(String, u64, Option<String>)> {
        self.server.controller.describe(after, max)
    }

    fn look(&mut self, room: &str) -> Option<RoomView> {
        let hosted = self.server.controller.find(room).ok()?;
        let (view, changes) = hosted.act_and_count(|room, _| view(&hosted, room));
        self.unstored.push((hosted, changes));
        Some(view)
    }

    fn members(&mut self, room: &str, after: Option<MemberId>, max: usize) -> Vec<MemberView> {
        let Ok(hosted) = self.server.controller.find(room) else { return Vec::new() };
        let (members, changes) = hosted.act_and_count(|room, _| room.members_after(after, max));
        let id = hosted.id.0;
        self.unstored.push((hosted, changes));
        let view = |info: MemberInfo| MemberView {
            member: info.member,
            person: self.server.people.member(id, info.member, &info.name),
            name: info.name,
        };
        members.into_iter().map(view).collect()
    }

    fn find(&self, nick: &str) -> Vec<String> {
        self.server.controller.rooms_of(nick)
    }

    fn could_join(&self, room: &str, name: &str) -> Result<(), JoinRefusal> {
        // A room that has gone meanwhile is made again.
        let Ok(hosted) = self.server.controller.find(room) else { return Ok(()) };
        hosted.look(|room| room.could_admit(name)).map(drop).map_err(JoinRefusal::Room)
    }

    fn join(&mut self, room: &str, name: &str) -> Result<Joined, JoinRefusal> {
        self.visitor.join().map_err(|why| JoinRefusal::TooOften(why.to_string()))?;
        let found = self.server.controller.find_or_create(room, Maker::without_key(self.ip));
        let (hosted, _) = found.map_err(|error| JoinRefusal::NoSuchRoom(error.to_string()))?;
        let (id, mask) = (hosted.id.0, self.person.mask());
        // It reads along before it is in: what is known of IRC's members is known as long as one of them does.
        let mut place = Place::new(Arc::clone(&hosted), 0);
        let (joined, changes) = hosted.act_and_count(|room, now| {
            let member = room.join_hosted(now, name)?;
            hosted.irc().came(member, mask, None);
            let position = room.position();
            self.person.state().rooms.insert(id, (member, room.name().to_string()));
            Ok(Joined { id, member, position, view: view(&hosted, room) })
        });
        let joined = joined.map_err(JoinRefusal::Room)?;
        self.unstored.push((hosted, changes));
        place.cursor = joined.position;
        place.members.push(joined.member);
        self.places.insert(id, place);
        Ok(joined)
    }

    fn rename(&mut self, members: &mut [(u64, MemberId)], name: &Name) -> Result<(), (u64, JoinRefusal)> {
        let old = self.person.nick();
        let moved = self.server.people.begin_move(&old, MoveKind::Nick(name.to_string()));
        for at in 0..members.len() {
            let (id, member) = members[at];
            match self.rename_in(id, member, name.as_str(), &moved) {
                Ok(renamed) => members[at].1 = renamed,
                Err(refusal) => {
                    // Somebody without an IRC client has taken the name just now.
                    let back = self.server.people.begin_move(name.as_str(), MoveKind::Nick(old.clone()));
                    for (id, member) in &mut members[..at] {
                        match self.rename_in(*id, *member, &old, &back) {
                            Ok(renamed) => *member = renamed,
                            // Nor is the one before left there: then it is out, and told so.
                            Err(_) => self.part(*id, *member, "both names are taken"),
                        }
                    }
                    return Err((id, refusal));
                }
            }
        }
        Ok(())
    }

    fn invite(&mut self, nick: &str, channel: &str) -> bool {
        self.server.people.invite(&self.person, nick, channel)
    }

    fn part(&mut self, id: u64, member: MemberId, reason: &str) {
        let Some(place) = self.places.get_mut(&id) else { return };
        place.members.retain(|other| *other != member);
        if place.other.is_some() {
            return leave_conversation(self.server, &place.hosted, member);
        }
        self.part_room(id, member, reason, None);
    }

    fn quit(&mut self, reason: &str, told: &str) {
        let moved = self.server.people.begin_move(&self.person.nick(), MoveKind::Quit(told.to_owned()));
        let places = self.places.iter_mut();
        let members = places.flat_map(|(id, place)| place.members.drain(..).map(|member| (*id, member)));
        for (id, member) in members.collect::<Vec<_>>() {
            let place = &self.places[&id];
            match place.other.is_some() {
                true => leave_conversation(self.server, &place.hosted, member),
                false => self.part_room(id, member, reason, Some(&moved)),
            }
        }
    }

    fn converse(&mut self, nick: &str) -> Result<(u64, MemberId), String> {
        let begun = self.places.values().filter(|place| place.begun).count();
        let (server, ip, own) = (self.server, self.ip, self.person.nick());
        let conversation = server.people.converse(&self.person, nick, |other| {
            if begun >= CONVERSATIONS_MAX {
                return Err("you have begun too many conversations".to_owned());
            }
            let hosted = server
                .controller
                .create_conversation(Maker::without_key(ip))
                .map_err(|error| error.to_string())?;
            let (masks, other) = ([self.person.mask(), other.mask()], other.nick());
            let joined = hosted.act(|room, now| {
                let one = room.join_hosted(now, &own)?;
                let two = if own == other { one } else { room.join_hosted(now, &other)? };
                let members = [one, two].into_iter().zip(masks);
                members.for_each(|(member, mask)| hosted.irc().came(member, mask, None));
                Ok((one, two, room.position()))
            });
            match joined {
                Ok((one, two, position)) => Ok((hosted, [one, two], position)),
                Err::<_, JoinError>(error) => {
                    server.controller.close_conversation(&hosted);
                    Err(error.to_string())
                }
            }
        })?;
        let conversation = conversation.ok_or_else(|| format!("{nick} has just gone"))?;
        Ok((conversation.hosted.id.0, self.enter(&conversation)))
    }

    fn conversation(&self, nick: &str) -> Option<u64> {
        let nick = nick.to_lowercase();
        let is_with =
            |place: &&Place| place.other.as_ref().is_some_and(|other| other.nick().to_lowercase() == nick);
        self.places.values().find(is_with).map(|place| place.hosted.id.0)
    }

    fn other(&self, id: u64) -> Option<String> {
        Some(self.places.get(&id)?.other.as_ref()?.nick())
    }

    fn say(&mut self, id: u64, member: MemberId, body: &Body) -> Result<MessageId, SayError> {
        let place = self.places.get(&id).ok_or(SayError::NotHere)?;
        place.hosted.act(|room, now| room.say(now, member, body))
    }
}
