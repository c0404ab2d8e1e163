//! A client's session: its lines in, lines for it out. What it does in rooms goes through [`World`]; what happens there
//! comes as records of their logs. Time, sockets and other sessions are the caller's.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use cbcast::{MemberId, MessageId};

use super::capability::{Capabilities, OFFERED};
use super::history::{Bound, HistoryRequest, TargetsRequest, Window, bound, msgid, read_msgid, timestamp};
use super::message::{Item, Line, Message};
use super::numeric::*;
pub use super::render::{About, room_of, shown_nick};
use super::render::{REPLY_TAGS, Rendered, Viewer, shown_by, source};
use super::shared::{Perspective, Rendering};
use crate::api::rfc3339;
use crate::body::{Body, BodyError, TOPIC_BYTES_MAX};
use crate::history::{HistoryRecord, What};
use crate::room::{JoinError, SayError};
use crate::text::Name;

/// Messages of one answer to `CHATHISTORY`.
pub const HISTORY_MAX: usize = 100;
/// Rooms that a connection may be in.
const ROOMS_MAX: usize = 100;
/// Targets of one message.
const TARGETS_MAX: usize = 4;
/// Lines of one text.
const LINES_MAX: usize = 100;
/// Bytes of a topic: with what stands before it, it fits on a line.
const TOPIC_MAX: usize = 390;
/// Bytes of what is told of being away, and of a name beside the nick.
const AWAY_MAX: usize = 300;
const REALNAME_MAX: usize = 150;
/// Bytes of a label [IRCv3, labeled-response].
const LABEL_MAX: usize = 64;

const _: () = assert!(TOPIC_MAX <= TOPIC_BYTES_MAX);

/// A member of a room, seen from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberView {
    /// What it is called there.
    pub name: String,
    /// Of a member that came by IRC: what else is known.
    pub person: Option<PersonView>,
}

/// Somebody with an IRC connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PersonView {
    /// Its nick.
    pub nick: String,
    /// What it calls itself beside that.
    pub realname: String,
    /// What it says of being away, if it is.
    pub away: Option<String>,
    /// When it came, and when it said something last, in milliseconds since 1970.
    pub came: u64,
    /// See `came`.
    pub spoke: u64,
    /// The rooms that it is in.
    pub rooms: Vec<String>,
}

/// A room, seen from outside.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoomView {
    /// Its name.
    pub name: String,
    /// Who is in it.
    pub members: Vec<MemberView>,
    /// What it is about.
    pub topic: Option<String>,
}

/// Somebody is in a room now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Joined {
    /// The room's number.
    pub id: u64,
    /// As whom.
    pub member: MemberId,
    /// The position of its *Joined*: what is behind it will be told.
    pub position: u64,
    /// The room, with the newcomer.
    pub view: RoomView,
}

/// Why somebody could not join.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JoinRefusal {
    /// There is no such room, and it cannot be made.
    NoSuchRoom(String),
    /// The room does not take this member.
    Room(JoinError),
}

/// What a session asks of the rooms, and of the server around them. Nothing that is answered is told to the client before
/// it is stored.
pub trait World {
    /// Milliseconds since 1970, for people.
    fn now(&self) -> u64;
    /// From now on this connection goes by that nick; `false` if another has it.
    fn claim(&mut self, nick: &Name) -> bool;
    /// Tells others of the realname, first when the client has registered, and of being away. `None`: as before.
    fn describe(&mut self, realname: Option<&str>, away: Option<Option<&str>>);
    /// Who has that nick.
    fn person(&self, nick: &str) -> Option<PersonView>;
    /// How many connections have registered.
    fn people(&self) -> usize;
    /// What the room is called that IRC's rules for names make of this one, if there is any.
    fn resolve(&self, room: &str) -> Option<String>;
    /// The rooms' names, how many are in each, and topics.
    fn rooms(&self) -> Vec<(String, u64, Option<String>)>;
    /// A room as it is now.
    fn look(&mut self, room: &str) -> Option<RoomView>;
    /// A member of any room by its name there; in which rooms.
    fn find(&self, nick: &str) -> Vec<String>;
    /// Joins, and makes the room if need be.
    fn join(&mut self, room: &str, name: &str) -> Result<Joined, JoinRefusal>;
    /// A conversation with who has that nick, begun if need be: the number of its room, and as whom this connection is
    /// in it; or why there can be none.
    fn converse(&mut self, nick: &str) -> Result<(u64, MemberId), String>;
    /// The conversation with who has that nick, if there is one.
    fn conversation(&self, nick: &str) -> Option<u64>;
    /// The nick of the other one in a conversation.
    fn other(&self, id: u64) -> Option<String>;
    /// A member of this connection leaves the room with this number.
    fn part(&mut self, id: u64, member: MemberId, reason: &str);
    /// A member of this connection says something.
    fn say(&mut self, id: u64, member: MemberId, body: &Body) -> Result<MessageId, SayError>;
}

/// A record of history, and who has said what it refers to.
pub type Found = (HistoryRecord, Option<(String, String)>);

/// What the session needs from elsewhere before its command is done: answer in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// A piece of history, for [`Session::history`].
    History(HistoryRequest),
    /// For [`Session::targets`].
    Targets(TargetsRequest),
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerView {
    /// Its own name, with a dot in it.
    pub server: String,
    /// What the network is called.
    pub network: String,
    /// Program and version.
    pub version: String,
    /// Lines of welcome.
    pub motd: Vec<String>,
    /// When it began, in milliseconds since 1970.
    pub since: u64,
    /// Characters of a nick.
    pub nick_max: usize,
    /// Bytes of a text.
    pub text_max: usize,
    /// How many messages who joins is shown, if it cannot ask for history.
    pub replay: usize,
}

#[derive(Clone, Debug)]
struct Seat {
    room: String,
    id: u64,
    member: MemberId,
    /// Members that it was before it took another nick.
    former: Vec<MemberId>,
    /// Up to where its user has read.
    read: Option<u64>,
}

/// A place in a conversation of two.
#[derive(Clone, Debug)]
struct Conversation {
    member: MemberId,
    /// Up to where its user has read.
    read: Option<u64>,
}

/// Where something can be said.
struct Spot {
    /// As the client calls it: a channel, or a nick.
    target: String,
    id: u64,
    member: MemberId,
}

impl Seat {
    fn is_own(&self, member: MemberId) -> bool {
        self.member == member || self.former.contains(&member)
    }
}

/// A text that comes in several lines [IRCv3, multiline].
#[derive(Clone, Debug)]
struct Multiline {
    name: String,
    target: String,
    label: Option<String>,
    reply: Option<String>,
    /// That of the lines, once there is one.
    command: Option<String>,
    text: Option<String>,
    lines: usize,
    failed: bool,
}

/// What a client has negotiated, where it is, and what is still to be told.
#[derive(Clone, Debug)]
pub struct Session {
    about: ServerView,
    capabilities: Capabilities,
    /// It is negotiating: registration waits.
    negotiating: bool,
    /// It knows values of capabilities, and is told of new ones.
    knows_302: bool,
    nick: Option<Name>,
    realname: Option<String>,
    registered: bool,
    away: Option<String>,
    /// By the lower case of their names.
    rooms: BTreeMap<String, Seat>,
    /// By the numbers of their rooms.
    conversations: BTreeMap<u64, Conversation>,
    /// Of what was said and has not come back.
    labels: BTreeMap<(u64, MessageId), String>,
    multiline: Option<Multiline>,
    batches: u64,
    label: Option<String>,
    /// The answer comes with the message itself.
    is_deferred: bool,
    replies: Vec<Line>,
    changes: VecDeque<Change>,
    /// What is to be written, and behind it `out`.
    told: Vec<Bytes>,
    out: Vec<u8>,
    ended: bool,
}

fn folded(room: &str) -> String {
    room.to_ascii_lowercase()
}

impl Session {
    /// Of a client that has said nothing yet.
    #[must_use]
    pub fn new(about: ServerView) -> Self {
        Self {
            about,
            capabilities: Capabilities::default(),
            negotiating: false,
            knows_302: false,
            nick: None,
            realname: None,
            registered: false,
            away: None,
            rooms: BTreeMap::new(),
            conversations: BTreeMap::new(),
            labels: BTreeMap::new(),
            multiline: None,
            batches: 0,
            label: None,
            is_deferred: false,
            replies: Vec::new(),
            changes: VecDeque::new(),
            told: Vec::new(),
            out: Vec::new(),
            ended: false,
        }
    }

    // For the caller.

    /// What is to be written.
    pub fn take_output(&mut self) -> Vec<Bytes> {
        self.tell_shared(Bytes::new());
        std::mem::take(&mut self.told)
    }

    /// Whether the connection ends behind that.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether it is known who this is.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// Whether it is told when others are away or change what they call themselves.
    #[must_use]
    pub fn wants_news(&self) -> bool {
        self.has(Capabilities::AWAY_NOTIFY) || self.has(Capabilities::SETNAME)
    }

    /// The rooms that it is in, conversations too: their numbers, and as whom.
    pub fn seats(&self) -> impl Iterator<Item = (u64, MemberId)> {
        let conversations = self.conversations.iter().map(|(id, conversation)| (*id, conversation.member));
        self.rooms.values().map(|seat| (seat.id, seat.member)).chain(conversations)
    }

    /// Somebody has begun a conversation with this one: its room, and as whom this one is in it.
    pub fn addressed(&mut self, id: u64, member: MemberId) {
        self.conversations.entry(id).or_insert(Conversation { member, read: None });
    }

    /// Takes one line. Behind it come [`poll_change`](Self::poll_change), with an answer to each, and
    /// [`finish`](Self::finish).
    pub fn handle(&mut self, world: &mut impl World, item: Item) {
        let message = match item {
            Item::Message(message) => message,
            Item::TooLong => return self.numeric_text(ERR_INPUTTOOLONG, &[], "Input line was too long"),
            Item::NotUtf8 => {
                return self.fail("*", "INVALID_UTF8", &[], "Message rejected, it was not UTF-8");
            }
            Item::Malformed => {
                return self.fail("*", "INVALID_MESSAGE", &[], "Message rejected, it was no line of IRC");
            }
        };
        if self.has(Capabilities::LABELED_RESPONSE) {
            self.label =
                message.tag("label").filter(|l| (1..=LABEL_MAX).contains(&l.len())).map(str::to_owned);
        }
        self.command(world, &message);
    }

    /// What is needed before the command is done.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// The command is done: its answer can be written.
    pub fn finish(&mut self) {
        let replies = std::mem::take(&mut self.replies);
        let deferred = std::mem::take(&mut self.is_deferred);
        let Some(label) = self.label.take() else {
            return replies.iter().for_each(|line| line.encode(&mut self.out));
        };
        let is_batch = |line: &Line| line.is_batch_start();
        match replies.len() {
            0 if deferred => {}
            0 => Line::new(&self.about.server, "ACK").tag("label", &label).encode(&mut self.out),
            1 => replies[0].clone().tag("label", &label).encode(&mut self.out),
            n => {
                let whole = is_batch(&replies[0]) && replies[n - 1].ends_batch_of(&replies[0]);
                if whole || !self.has(Capabilities::BATCH) {
                    for (at, line) in replies.into_iter().enumerate() {
                        if at == 0 { line.tag("label", &label) } else { line }.encode(&mut self.out);
                    }
                    return;
                }
                let name = self.batch();
                let server = self.about.server.clone();
                let start = Line::new(&server, "BATCH").param(&format!("+{name}")).param("labeled-response");
                start.tag("label", &label).encode(&mut self.out);
                let mut open = None;
                for line in replies {
                    // What is in a batch of its own, or ends one, is not in this one too.
                    let inside =
                        line.is_in_batch() || open.as_ref().is_some_and(|start| line.ends_batch_of(start));
                    if is_batch(&line) && !line.is_in_batch() {
                        open = Some(line.clone());
                    }
                    if inside { line } else { line.tag("batch", &name) }.encode(&mut self.out);
                }
                Line::new(&server, "BATCH").param(&format!("-{name}")).encode(&mut self.out);
            }
        }
    }

    /// The server ends the connection.
    pub fn end(&mut self, why: &str) {
        Line::bare("ERROR").text(why).encode(&mut self.out);
        self.ended = true;
    }

    /// The server has something to say.
    pub fn notice(&mut self, words: &str) {
        let nick = self.shown();
        Line::new(&self.about.server, "NOTICE").param(&nick).text(words).encode(&mut self.out);
    }

    /// A room was closed.
    pub fn closed(&mut self, id: u64) {
        self.leave_conversation(id);
        let nick = self.shown();
        if let Some(seat) = self.leave_seat(id) {
            let line = Line::new(&self.about.server, "KICK").param(&format!("#{}", seat.room)).param(&nick);
            line.text("the room was closed").encode(&mut self.out);
        }
    }

    /// Messages of a room cannot be read any more.
    pub fn gap(&mut self, id: u64, lost: u64) {
        let target = self.seat(id).map_or_else(|| self.shown(), |seat| format!("#{}", seat.room));
        let words = format!("{lost} messages cannot be read any more");
        Line::new(&self.about.server, "NOTICE").param(&target).text(&words).encode(&mut self.out);
    }

    /// Somebody who shares a room is away, or back.
    pub fn away_changed(&mut self, nick: &str, away: Option<&str>) {
        if self.has(Capabilities::AWAY_NOTIFY) {
            let line = Line::new(&source(nick, &self.about.server), "AWAY");
            match away {
                Some(why) => line.text(why).encode(&mut self.out),
                None => line.encode(&mut self.out),
            }
        }
    }

    /// Somebody who shares a room calls itself something else.
    pub fn realname_changed(&mut self, nick: &str, realname: &str) {
        if self.has(Capabilities::SETNAME) {
            Line::new(&source(nick, &self.about.server), "SETNAME").text(realname).encode(&mut self.out);
        }
    }

    /// How it reads a room, if others read it alike.
    #[must_use]
    pub fn perspective(&self, id: u64) -> Option<Perspective> {
        let channel = format!("#{}", self.seat(id)?.room);
        let (capabilities, server) = (shown_by(self.capabilities), self.about.server.clone());
        Some(Perspective { capabilities, server, channel, id })
    }

    /// The next records of the room with this number, and their rendering in this session's
    /// [`perspective`](Self::perspective), if there is one.
    pub fn records(
        &mut self,
        world: &mut impl World,
        id: u64,
        found: &[Found],
        rendering: Option<&Rendering>,
    ) {
        let about = |n: usize| found[n].1.as_ref().map(|(author, text)| (&author[..], &text[..]));
        let shared = rendering.zip(self.seat(id)).filter(|(rendering, _)| {
            self.perspective(id).as_ref() == Some(rendering.perspective())
                && rendering.places().len() == found.len()
        });
        let Some((rendering, seat)) = shared else {
            return (0..found.len()).for_each(|n| self.record(world, id, &found[n].0, about(n)));
        };
        let echoes = self.has(Capabilities::ECHO_MESSAGE);
        let reads_alike =
            |said: MessageId| !seat.is_own(said.member) || echoes && !self.labels.contains_key(&(id, said));
        let places = rendering.places();
        let apart = |n: &usize| !places[*n].said.is_some_and(reads_alike);
        let apart: Vec<_> = (0..places.len()).filter(apart).collect();
        let mut start = 0;
        for n in apart {
            let before = if n == 0 { 0 } else { places[n - 1].end };
            self.tell_shared(rendering.lines().slice(start..before));
            start = places[n].end;
            self.record(world, id, &found[n].0, about(n));
            if self.seat(id).is_none() {
                return;
            }
        }
        self.tell_shared(rendering.lines().slice(start..));
    }

    fn tell_shared(&mut self, lines: Bytes) {
        let own = std::mem::take(&mut self.out);
        self.told.extend([own.into(), lines].into_iter().filter(|lines| !lines.is_empty()));
    }

    /// The next record of the room with this number.
    fn record(&mut self, world: &mut impl World, id: u64, record: &HistoryRecord, about: About<'_>) {
        if let Some(conversation) = self.conversations.get(&id) {
            let member = conversation.member;
            return self.record_between_two(world, id, member, record, about);
        }
        let Some(seat) = self.seat(id) else { return };
        let (is_own, is_now, room) =
            (seat.is_own(record.member), seat.member == record.member, seat.room.clone());
        if let (true, What::Left { .. }) = (is_own, &record.what) {
            match is_now {
                // Not by this connection's wish.
                true => self.closed(id),
                false => {
                    let seat = self.rooms.get_mut(&folded(&room)).expect("it was just there");
                    seat.former.retain(|former| *former != record.member);
                }
            }
            return;
        }
        // Who joins is told so at once.
        let silent = is_own && !self.hears_itself(&record.what);
        let person = match record.what {
            What::Joined => world.person(&record.name),
            _ => None,
        };
        let rendered = match silent {
            true => Rendered::default(),
            false => {
                let realname = person.as_ref().map_or(&record.name[..], |p| &p.realname);
                self.rendered(&format!("#{room}"), id, record, about, realname, None)
            }
        };
        self.tell(is_own, id, record, rendered);
        if let Some(PersonView { nick, away: Some(away), .. }) = person.filter(|_| !silent) {
            self.away_changed(&nick, Some(&away));
        }
    }

    /// Whether what it has done itself is told to it.
    fn hears_itself(&self, what: &What) -> bool {
        match what {
            What::Said(Body::Topic(_) | Body::Delete { .. }) => true,
            What::Said(_) => self.has(Capabilities::ECHO_MESSAGE),
            _ => false,
        }
    }

    fn record_between_two(
        &mut self,
        world: &mut impl World,
        id: u64,
        member: MemberId,
        record: &HistoryRecord,
        about: About<'_>,
    ) {
        let is_own = record.member == member;
        if let What::Left { .. } = record.what {
            // With the other one the conversation ends.
            world.part(id, member, "");
            self.leave_conversation(id);
            return;
        }
        let (own, other) = (self.shown(), world.other(id).unwrap_or_default());
        let silent = is_own && !self.hears_itself(&record.what);
        let rendered = match silent {
            true => Rendered::default(),
            false => self.rendered_between_two((&own, &other), id, is_own, record, about, None),
        };
        self.tell(is_own, id, record, rendered);
        if silent && own == other {
            // Who talks to itself wants to hear it; the label is not on that [IRCv3, labeled-response].
            let rendered = self.rendered_between_two((&own, &other), id, is_own, record, about, None);
            self.tell(false, id, record, rendered);
        }
    }

    /// People go by the nicks that they have now.
    fn rendered_between_two(
        &mut self,
        (own, other): (&str, &str),
        id: u64,
        is_own: bool,
        record: &HistoryRecord,
        about: About<'_>,
        replayed: Option<&HistoryRequest>,
    ) -> Rendered {
        let (from, to) = if is_own { (own, other) } else { (other, own) };
        let record = HistoryRecord { name: from.to_owned(), ..record.clone() };
        match record.what {
            What::Said(_) => self.rendered(to, id, &record, about, from, replayed),
            _ => Rendered::default(),
        }
    }

    /// With the label of the command, if it was one of this connection's.
    fn tell(&mut self, is_own: bool, id: u64, record: &HistoryRecord, rendered: Rendered) {
        let label = is_own.then(|| self.labels.remove(&(id, record.id))).flatten();
        match label {
            Some(label) if rendered.lines.is_empty() => {
                Line::new(&self.about.server, "ACK").tag("label", &label).encode(&mut self.out);
            }
            label => {
                for (at, line) in rendered.lines.into_iter().enumerate() {
                    let label = label.as_ref().filter(|_| at == 0);
                    label.map_or(line.clone(), |label| line.tag("label", label)).encode(&mut self.out);
                }
            }
        }
    }

    /// The history that was asked for, oldest first; `None` if there is no such room or message.
    pub fn history(&mut self, world: &impl World, request: &HistoryRequest, found: Option<&[Found]>) {
        let target = &request.target;
        let Some(found) = found else {
            let context = [request.window.subcommand(), target];
            return self.fail("CHATHISTORY", "MESSAGE_ERROR", &context, "Messages could not be retrieved");
        };
        let batched = self.has(Capabilities::BATCH);
        let name = self.batch();
        let server = self.about.server.clone();
        if batched {
            let start =
                Line::new(&server, "BATCH").param(&format!("+{name}")).param("chathistory").param(target);
            self.replies.push(start);
        }
        let conversation = self.conversations.get(&request.room).map(|conversation| conversation.member);
        let (own, other) = (self.shown(), world.other(request.room).unwrap_or_default());
        for (record, about) in found {
            let about = about.as_ref().map(|(author, text)| (&author[..], &text[..]));
            let (id, replayed) = (request.room, Some(request));
            let rendered = match conversation {
                Some(member) => {
                    let is_own = record.member == member;
                    self.rendered_between_two((&own, &other), id, is_own, record, about, replayed)
                }
                None => self.rendered(target, id, record, about, &record.name, replayed),
            };
            for (at, line) in rendered.lines.into_iter().enumerate() {
                let inner = rendered.batched && at > 0;
                self.replies.push(if batched && !inner { line.tag("batch", &name) } else { line });
            }
        }
        if batched {
            self.replies.push(Line::new(&server, "BATCH").param(&format!("-{name}")));
        }
    }

    /// Channels and nicks, and the times of their newest messages.
    pub fn targets(&mut self, found: &[(String, u64)]) {
        let batched = self.has(Capabilities::BATCH);
        let name = self.batch();
        let server = self.about.server.clone();
        if batched {
            let start = Line::new(&server, "BATCH").param(&format!("+{name}"));
            self.replies.push(start.param("draft/chathistory-targets"));
        }
        for (target, millis) in found {
            let line = Line::new(&server, "CHATHISTORY").param("TARGETS").param(target);
            let line = line.param(&rfc3339(*millis));
            self.replies.push(if batched { line.tag("batch", &name) } else { line });
        }
        if batched {
            self.replies.push(Line::new(&server, "BATCH").param(&format!("-{name}")));
        }
    }

    fn rendered(
        &mut self,
        target: &str,
        id: u64,
        record: &HistoryRecord,
        about: About<'_>,
        realname: &str,
        replayed: Option<&HistoryRequest>,
    ) -> Rendered {
        let mut capabilities = self.capabilities;
        if replayed.is_some_and(|request| !request.events) {
            capabilities = capabilities.without(Capabilities::EVENT_PLAYBACK);
        }
        let server = &self.about.server;
        let is_conversation = self.conversations.contains_key(&id);
        let viewer =
            Viewer { capabilities, server, target, id, is_conversation, replayed: replayed.is_some() };
        let batches = &mut self.batches;
        viewer.render(record, about, realname, || {
            *batches += 1;
            batches.to_string()
        })
    }

    // Saying.

    fn has(&self, capabilities: Capabilities) -> bool {
        self.capabilities.has(capabilities)
    }

    fn batch(&mut self) -> String {
        self.batches += 1;
        self.batches.to_string()
    }

    fn shown(&self) -> String {
        self.nick.as_ref().map_or("*".to_owned(), ToString::to_string)
    }

    fn source(&self) -> String {
        source(&self.shown(), &self.about.server)
    }

    fn numeric(&self, number: &str) -> Line {
        Line::new(&self.about.server, number).param(&self.shown())
    }

    fn numeric_text(&mut self, number: &str, params: &[&str], text: &str) {
        let line = params.iter().fold(self.numeric(number), |line, param| line.param(param));
        self.replies.push(line.text(text));
    }

    /// [IRCv3, standard-replies]; who has not negotiated them gets a numeric.
    fn fail(&mut self, command: &str, code: &str, context: &[&str], text: &str) {
        if !self.has(Capabilities::STANDARD_REPLIES) {
            return self.numeric_text(ERR_UNKNOWNERROR, &[command], text);
        }
        let line = Line::new(&self.about.server, "FAIL").param(command).param(code);
        self.replies.push(context.iter().fold(line, |line, param| line.param(param)).text(text));
    }

    fn need_more(&mut self, command: &str) {
        self.numeric_text(ERR_NEEDMOREPARAMS, &[command], "Not enough parameters");
    }

    // Commands.

    fn command(&mut self, world: &mut impl World, message: &Message) {
        if let Some(name) = message.tag("batch").filter(|_| self.multiline.is_some()) {
            return self.multiline_part(message, name);
        }
        match &message.command[..] {
            "CAP" => self.cap(world, message),
            "NICK" => self.nick(world, message),
            "USER" => self.user(world, message),
            // There are no passwords.
            "PASS" if self.registered => {
                self.numeric_text(ERR_ALREADYREGISTRED, &[], "You may not reregister")
            }
            "PASS" | "PONG" => {}
            "PING" => match message.params.first() {
                Some(token) => {
                    let server = self.about.server.clone();
                    self.replies.push(Line::new(&server, "PONG").param(&server).text(token));
                }
                None => self.need_more("PING"),
            },
            "QUIT" => {
                let reason = message.param(0).unwrap_or("Quit").to_owned();
                for (id, member) in self.seats().collect::<Vec<_>>() {
                    world.part(id, member, &reason);
                }
                self.rooms.clear();
                self.conversations.clear();
                self.replies.push(Line::bare("ERROR").text(&format!("Closing link: {reason}")));
                self.ended = true;
            }
            _ if !self.registered => {
                // irssi says `JOIN :` first, to learn whether it is answered.
                self.numeric_text(ERR_NOTREGISTERED, &[], "You have not registered");
            }
            "JOIN" => self.join(world, message),
            "PART" => self.part(world, message),
            "NAMES" => self.names_of(world, message),
            "LIST" => self.list(world, message),
            "TOPIC" => self.topic(world, message),
            "WHO" => self.who(world, message),
            "WHOIS" => self.whois(world, message),
            "WHOWAS" => match message.param(0) {
                Some(nick) => {
                    self.numeric_text(ERR_WASNOSUCHNICK, &[nick], "There was no such nickname");
                    self.numeric_text(RPL_ENDOFWHOWAS, &[nick], "End of WHOWAS");
                }
                None => self.numeric_text(ERR_NONICKNAMEGIVEN, &[], "No nickname given"),
            },
            "MODE" => self.mode(world, message),
            "AWAY" => self.away(world, message),
            "PRIVMSG" => self.say(world, message),
            "NOTICE" => {
                self.say(world, message);
                // No program may answer a notice, servers neither [RFC 2812, 3.3.2].
                self.replies.clear();
            }
            "TAGMSG" if self.has(Capabilities::MESSAGE_TAGS) => self.tagmsg(world, message),
            "REDACT" if self.has(Capabilities::REDACTION) => self.redact(world, message),
            "BATCH" if self.has(Capabilities::MULTILINE | Capabilities::BATCH) => {
                self.multiline(world, message)
            }
            "SETNAME" => {
                self.setname(world, message);
                if !self.has(Capabilities::SETNAME) {
                    // It is done without a word [IRCv3, setname].
                    self.replies.clear();
                }
            }
            "CHATHISTORY" if self.has(Capabilities::CHATHISTORY) => self.chathistory(world, message),
            "MARKREAD" if self.has(Capabilities::READ_MARKER) => self.markread(world, message),
            "MOTD" => self.motd(),
            "LUSERS" => self.lusers(world),
            "VERSION" => {
                let (version, server) = (self.about.version.clone(), self.about.server.clone());
                self.numeric_text(RPL_VERSION, &[&version, &server], "");
                self.isupport();
            }
            "TIME" => {
                let (server, now) = (self.about.server.clone(), rfc3339(world.now()));
                self.numeric_text(RPL_TIME, &[&server], &now);
            }
            "INFO" => {
                let version = self.about.version.clone();
                self.numeric_text(RPL_INFO, &[], &format!("{version}: chat in causal order"));
                self.numeric_text(RPL_ENDOFINFO, &[], "End of INFO");
            }
            "ADMIN" => {
                let server = self.about.server.clone();
                self.numeric_text(ERR_NOADMININFO, &[&server], "No administrative info available");
            }
            "ISON" | "USERHOST" if message.params.is_empty() => self.need_more(&message.command),
            "ISON" => {
                let nicks =
                    message.params.iter().flat_map(|param| param.split(' ')).filter(|nick| !nick.is_empty());
                let on: Vec<_> = nicks.filter(|nick| world.person(nick).is_some()).collect();
                let on = on.join(" ");
                self.numeric_text(RPL_ISON, &[], &on);
            }
            "USERHOST" => {
                let server = self.about.server.clone();
                let shown = |p: PersonView| {
                    format!("{}={}member@{server}", p.nick, if p.away.is_some() { '-' } else { '+' })
                };
                let found: Vec<_> =
                    message.params.iter().filter_map(|nick| world.person(nick).map(shown)).collect();
                self.numeric_text(RPL_USERHOST, &[], &found.join(" "));
            }
            "OPER" | "KICK" | "INVITE" if message.param(1).is_none() => self.need_more(&message.command),
            "OPER" => self.numeric_text(ERR_NOOPERHOST, &[], "There are no operators by IRC"),
            "KICK" => self.refuse_to_operate(world, message.param(0).unwrap_or_default()),
            "INVITE" => self.refuse_to_operate(world, message.param(1).unwrap_or_default()),
            command => {
                let command = command.to_owned();
                self.numeric_text(ERR_UNKNOWNCOMMAND, &[&command], "Unknown command");
            }
        }
    }

    /// There are none.
    fn refuse_to_operate(&mut self, world: &impl World, channel: &str) {
        if self.in_room(channel).is_none() {
            return self.not_in(world, channel, ERR_NOTONCHANNEL, "You're not on that channel");
        }
        let why = "Rooms are open to all, and have no operators";
        self.numeric_text(ERR_CHANOPRIVSNEEDED, &[channel], why);
    }

    fn cap(&mut self, world: &mut impl World, message: &Message) {
        let Some(subcommand) = message.param(0) else { return self.need_more("CAP") };
        let names = message.params.get(1).map_or("", |names| names);
        match &subcommand.to_ascii_uppercase()[..] {
            "LS" => {
                self.negotiating |= !self.registered;
                if names.parse::<u32>().is_ok_and(|version| version >= 302) {
                    self.knows_302 = true;
                    // [IRCv3, capability-negotiation, cap-notify].
                    self.capabilities = self.capabilities | Capabilities::CAP_NOTIFY;
                }
                let knows_302 = self.knows_302;
                let text_max = self.about.text_max;
                let shown = OFFERED.iter().map(|(name, capability)| match *capability {
                    Capabilities::MULTILINE if knows_302 => {
                        format!("{name}=max-bytes={text_max},max-lines={LINES_MAX}")
                    }
                    _ => (*name).to_owned(),
                });
                self.capability_lines("LS", shown.collect());
            }
            "LIST" => {
                let names = self.capabilities.names().map(str::to_owned).collect();
                self.capability_lines("LIST", names);
            }
            "REQ" => {
                self.negotiating |= !self.registered;
                let mut wanted = self.capabilities;
                let mut known = true;
                for name in names.split(' ').filter(|name| !name.is_empty()) {
                    match (name.strip_prefix('-'), Capabilities::named(name.trim_start_matches('-'))) {
                        (None, Some(capability)) => wanted = wanted | capability,
                        // [IRCv3, capability-negotiation]: it cannot be given back with version 302.
                        (Some(_), Some(Capabilities::CAP_NOTIFY)) if self.knows_302 => known = false,
                        (Some(_), Some(capability)) => wanted = wanted.without(capability),
                        (_, None) => known = false,
                    }
                }
                if known {
                    self.capabilities = wanted;
                }
                let line = Line::new(&self.about.server, "CAP").param(&self.shown());
                self.replies.push(line.param(if known { "ACK" } else { "NAK" }).text(names));
            }
            "END" => {
                self.negotiating = false;
                self.register(world);
            }
            other => {
                let other = other.to_owned();
                self.numeric_text(ERR_INVALIDCAPCMD, &[&other], "Invalid CAP command");
            }
        }
    }

    /// On several lines where it has to be: all but the last have a `*`, for who knows version 302.
    fn capability_lines(&mut self, subcommand: &str, names: Vec<String>) {
        let start = Line::new(&self.about.server, "CAP").param(&self.shown()).param(subcommand);
        let mut lines = vec![String::new()];
        for name in names {
            let line = lines.last_mut().expect("one at least");
            if line.len() + 1 + name.len() > start.room() - 2 {
                lines.push(name);
            } else {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&name);
            }
        }
        let last = lines.len() - 1;
        for (at, names) in lines.into_iter().enumerate() {
            let line = start.clone();
            self.replies.push(if at < last && self.knows_302 { line.param("*") } else { line }.text(&names));
        }
    }

    fn nick(&mut self, world: &mut impl World, message: &Message) {
        let Some(wanted) = message.param(0) else {
            return self.numeric_text(ERR_NONICKNAMEGIVEN, &[], "No nickname given");
        };
        let name = match Name::parse(wanted, self.about.nick_max) {
            Ok(name) if shown_nick(name.as_str()) == name.as_str() => name,
            Ok(_) => return self.numeric_text(ERR_ERRONEUSNICKNAME, &[wanted], "Erroneous nickname"),
            Err(error) => return self.numeric_text(ERR_ERRONEUSNICKNAME, &[wanted], &error.to_string()),
        };
        if self.nick.as_ref() == Some(&name) {
            return;
        }
        if !world.claim(&name) {
            return self.numeric_text(ERR_NICKNAMEINUSE, &[wanted], "Nickname is already in use");
        }
        if !self.registered {
            self.nick = Some(name);
            return self.register(world);
        }
        if !self.rename(world, &name) {
            let old = self.nick.clone().expect("registered");
            assert!(world.claim(&old), "nobody else has claimed it meanwhile");
            return;
        }
        let line = Line::new(&self.source(), "NICK").text(name.as_str());
        self.replies.push(line);
        self.nick = Some(name);
    }

    /// In a room a member has one name, so another member comes and the one before leaves. Whether all rooms take it.
    fn rename(&mut self, world: &mut impl World, name: &Name) -> bool {
        let old = self.nick.clone().expect("registered");
        // What differs in case only is the same to a room.
        let same = old.same_as(name);
        let mut taken = Vec::new();
        for (key, seat) in &self.rooms {
            if same {
                world.part(seat.id, seat.member, "");
            }
            match world.join(&seat.room, name.as_str()) {
                Ok(joined) => taken.push((key.clone(), joined)),
                Err(_) if same => {}
                Err(refusal) => {
                    let channel = format!("#{}", seat.room);
                    for (_, joined) in &taken {
                        world.part(joined.id, joined.member, "");
                    }
                    let (number, why) = refused(&refusal);
                    self.numeric_text(number, &[name.as_str(), &channel], &why);
                    return false;
                }
            }
        }
        for (key, joined) in taken {
            let seat = self.rooms.get_mut(&key).expect("it was just there");
            let former = std::mem::replace(&mut seat.member, joined.member);
            if !same {
                world.part(seat.id, former, &format!("is {name} now"));
            }
            seat.former.push(former);
        }
        true
    }

    fn user(&mut self, world: &mut impl World, message: &Message) {
        if self.registered {
            return self.numeric_text(ERR_ALREADYREGISTRED, &[], "You may not reregister");
        }
        if message.params.len() < 4 || message.params[0].is_empty() {
            return self.need_more("USER");
        }
        self.realname = Some(cut(&message.params[3], REALNAME_MAX).to_owned());
        self.register(world);
    }

    fn register(&mut self, world: &mut impl World) {
        let (Some(nick), Some(realname)) = (&self.nick, &self.realname) else { return };
        if self.registered || self.negotiating {
            return;
        }
        self.registered = true;
        let realname = if realname.is_empty() { nick.to_string() } else { realname.clone() };
        world.describe(Some(&realname), None);
        self.realname = Some(realname);
        let ServerView { server, network, version, since, .. } = self.about.clone();
        let welcome = format!("Welcome to the {network} Network, {nick}");
        self.numeric_text(RPL_WELCOME, &[], &welcome);
        self.numeric_text(RPL_YOURHOST, &[], &format!("Your host is {server}, running version {version}"));
        self.numeric_text(RPL_CREATED, &[], &format!("This server was started {}", rfc3339(since)));
        // No modes for users, and `n` for channels.
        let line = self.numeric(RPL_MYINFO).param(&server).param(&version).param("-").param("n");
        self.replies.push(line);
        self.isupport();
        self.lusers(world);
        self.motd();
    }

    fn isupport(&mut self) {
        let tokens = [
            format!("AWAYLEN={AWAY_MAX}"),
            "CASEMAPPING=ascii".into(),
            format!("CHANLIMIT=#:{ROOMS_MAX}"),
            "CHANMODES=,,,n".into(),
            format!("CHANNELLEN={}", crate::text::ROOM_NAME_CHARS_MAX + 1),
            "CHANTYPES=#".into(),
            format!("CHATHISTORY={HISTORY_MAX}"),
            "CLIENTTAGDENY=*,-reply,-draft/reply,-draft/react,-draft/unreact".into(),
            "MODES=1".into(),
            "MSGREFTYPES=msgid,timestamp".into(),
            format!("NAMELEN={REALNAME_MAX}"),
            format!("NETWORK={}", self.about.network.replace(' ', "\\x20")),
            format!("NICKLEN={}", self.about.nick_max),
            "PREFIX=".into(),
            "SAFELIST".into(),
            format!("TARGMAX=JOIN:,NAMES:,NOTICE:{TARGETS_MAX},PART:,PRIVMSG:{TARGETS_MAX},WHOIS:1"),
            format!("TOPICLEN={TOPIC_MAX}"),
            "UTF8ONLY".into(),
            "WHOX".into(),
        ];
        // At most 13 on a line [Modern, RPL_ISUPPORT].
        for tokens in tokens.chunks(10) {
            let line = tokens.iter().fold(self.numeric(RPL_ISUPPORT), |line, token| line.param(token));
            self.replies.push(line.text("are supported by this server"));
        }
    }

    fn lusers(&mut self, world: &mut impl World) {
        let (people, rooms) = (world.people(), world.rooms().len());
        let count = people.to_string();
        self.numeric_text(
            RPL_LUSERCLIENT,
            &[],
            &format!("There are {people} users and 0 invisible on 1 servers"),
        );
        self.numeric_text(RPL_LUSEROP, &["0"], "operator(s) online");
        self.numeric_text(RPL_LUSERCHANNELS, &[&rooms.to_string()], "channels formed");
        self.numeric_text(RPL_LUSERME, &[], &format!("I have {people} clients and 0 servers"));
        // The most that there were is not counted.
        self.numeric_text(RPL_LOCALUSERS, &[], &format!("Current local users {count}"));
        self.numeric_text(RPL_GLOBALUSERS, &[], &format!("Current global users {count}"));
    }

    fn motd(&mut self) {
        let ServerView { server, motd, .. } = self.about.clone();
        if motd.is_empty() {
            return self.numeric_text(ERR_NOMOTD, &[], "MOTD File is missing");
        }
        self.numeric_text(RPL_MOTDSTART, &[], &format!("- {server} Message of the day -"));
        for line in &motd {
            self.numeric_text(RPL_MOTD, &[], &format!("- {line}"));
        }
        self.numeric_text(RPL_ENDOFMOTD, &[], "End of /MOTD command.");
    }

    // Rooms.

    fn seat(&self, id: u64) -> Option<&Seat> {
        self.rooms.values().find(|seat| seat.id == id)
    }

    fn leave_seat(&mut self, id: u64) -> Option<Seat> {
        let key = self.rooms.iter().find(|(_, seat)| seat.id == id)?.0.clone();
        self.labels.retain(|(room, _), _| *room != id);
        self.rooms.remove(&key)
    }

    fn leave_conversation(&mut self, id: u64) {
        self.labels.retain(|(room, _), _| *room != id);
        self.conversations.remove(&id);
    }

    /// The room of a channel that it is in.
    fn in_room(&self, channel: &str) -> Option<&Seat> {
        self.rooms.get(&folded(room_of(channel)?))
    }

    fn no_such_channel(&mut self, channel: &str) {
        self.numeric_text(ERR_NOSUCHCHANNEL, &[channel], "No such channel");
    }

    fn join(&mut self, world: &mut impl World, message: &Message) {
        let Some(channels) = message.param(0) else { return self.need_more("JOIN") };
        if channels == "0" {
            let channels: Vec<_> = self.rooms.values().map(|seat| format!("#{}", seat.room)).collect();
            return channels.iter().for_each(|channel| self.part_one(world, channel, ""));
        }
        for channel in channels.split(',').filter(|channel| !channel.is_empty()) {
            self.join_one(world, channel);
        }
    }

    fn join_one(&mut self, world: &mut impl World, channel: &str) {
        let Some(asked) = room_of(channel) else { return self.no_such_channel(channel) };
        let name = world.resolve(asked).unwrap_or_else(|| asked.to_owned());
        match self.rooms.get(&folded(&name)) {
            Some(seat) if seat.room == name => return,
            Some(seat) => {
                let why = format!("You are in #{}, which differs from it in case only", seat.room);
                return self.numeric_text(ERR_UNAVAILRESOURCE, &[channel], &why);
            }
            None if self.rooms.len() >= ROOMS_MAX => {
                return self.numeric_text(
                    ERR_TOOMANYCHANNELS,
                    &[channel],
                    "You have joined too many channels",
                );
            }
            None => {}
        }
        let joined = match world.join(&name, &self.shown()) {
            Ok(joined) => joined,
            Err(refusal) => {
                let (number, why) = refused(&refusal);
                return self.numeric_text(number, &[channel], &why);
            }
        };
        let Joined { id, member, position, view } = joined;
        let seat = Seat { room: view.name.clone(), id, member, former: Vec::new(), read: None };
        self.rooms.insert(folded(&view.name), seat);
        let channel = format!("#{}", view.name);
        let line = Line::new(&self.source(), "JOIN").param(&channel);
        let realname = self.realname.clone().unwrap_or_default();
        self.replies.push(if self.has(Capabilities::EXTENDED_JOIN) {
            line.param("*").text(&realname)
        } else {
            line
        });
        if let Some(topic) = view.topic.as_deref().filter(|topic| !topic.is_empty()) {
            self.numeric_text(RPL_TOPIC, &[&channel], topic);
        }
        if self.has(Capabilities::READ_MARKER) {
            self.tell_read(&channel, None);
        }
        self.names(&view);
        if !self.has(Capabilities::CHATHISTORY) && self.about.replay > 0 {
            self.changes.push_back(Change::History(HistoryRequest {
                room: id,
                target: channel,
                window: Window::Before(Bound::Position(position)),
                limit: self.about.replay.min(HISTORY_MAX),
                events: false,
            }));
        }
    }

    fn names(&mut self, view: &RoomView) {
        let channel = format!("#{}", view.name);
        let start = self.numeric(RPL_NAMREPLY).param("=").param(&channel);
        let mut nicks = String::new();
        for member in &view.members {
            let nick = shown_nick(&member.name);
            if !nicks.is_empty() && nicks.len() + 1 + nick.len() > start.room() {
                self.replies.push(start.clone().text(&nicks));
                nicks.clear();
            }
            if !nicks.is_empty() {
                nicks.push(' ');
            }
            nicks.push_str(&nick);
        }
        if !nicks.is_empty() {
            self.replies.push(start.text(&nicks));
        }
        self.numeric_text(RPL_ENDOFNAMES, &[&channel], "End of /NAMES list");
    }

    fn names_of(&mut self, world: &mut impl World, message: &Message) {
        let Some(channels) = message.param(0) else {
            return self.numeric_text(RPL_ENDOFNAMES, &["*"], "End of /NAMES list");
        };
        for channel in channels.split(',').filter(|channel| !channel.is_empty()) {
            match self.view(world, channel) {
                Some(view) => self.names(&view),
                None => self.numeric_text(RPL_ENDOFNAMES, &[channel], "End of /NAMES list"),
            }
        }
    }

    fn view(&self, world: &mut impl World, channel: &str) -> Option<RoomView> {
        let asked = room_of(channel)?;
        let name = self.in_room(channel).map(|seat| seat.room.clone()).or_else(|| world.resolve(asked))?;
        world.look(&name)
    }

    fn part(&mut self, world: &mut impl World, message: &Message) {
        let Some(channels) = message.param(0) else { return self.need_more("PART") };
        for channel in channels.split(',').filter(|channel| !channel.is_empty()) {
            self.part_one(world, channel, message.param(1).unwrap_or_default());
        }
    }

    fn part_one(&mut self, world: &mut impl World, channel: &str, reason: &str) {
        let Some(seat) = self.in_room(channel).cloned() else {
            return self.not_in(world, channel, ERR_NOTONCHANNEL, "You're not on that channel");
        };
        world.part(seat.id, seat.member, reason);
        self.leave_seat(seat.id);
        let line = Line::new(&self.source(), "PART").param(&format!("#{}", seat.room));
        self.replies.push(if reason.is_empty() { line } else { line.text(reason) });
    }

    /// There is no such room, or it is not in it.
    fn not_in(&mut self, world: &impl World, channel: &str, number: &str, why: &str) {
        match room_of(channel).and_then(|room| world.resolve(room)) {
            Some(_) => self.numeric_text(number, &[channel], why),
            None => self.no_such_channel(channel),
        }
    }

    fn list(&mut self, world: &mut impl World, message: &Message) {
        let wanted: Vec<_> = match message.param(0).filter(|param| param.contains('#')) {
            Some(channels) => channels.split(',').filter_map(room_of).map(folded).collect(),
            None => Vec::new(),
        };
        self.numeric_text(RPL_LISTSTART, &["Channel"], "Users  Name");
        for (name, members, topic) in world.rooms() {
            if wanted.is_empty() || wanted.contains(&folded(&name)) {
                let channel = format!("#{name}");
                self.numeric_text(RPL_LIST, &[&channel, &members.to_string()], &topic.unwrap_or_default());
            }
        }
        self.numeric_text(RPL_LISTEND, &[], "End of /LIST");
    }

    fn topic(&mut self, world: &mut impl World, message: &Message) {
        let Some(channel) = message.param(0) else { return self.need_more("TOPIC") };
        let Some(topic) = message.params.get(1) else {
            let Some(view) = self.view(world, channel) else { return self.no_such_channel(channel) };
            let channel = format!("#{}", view.name);
            return match view.topic.filter(|topic| !topic.is_empty()) {
                Some(topic) => self.numeric_text(RPL_TOPIC, &[&channel], &topic),
                None => self.numeric_text(RPL_NOTOPIC, &[&channel], "No topic is set"),
            };
        };
        let Some(seat) = self.in_room(channel).cloned() else {
            return self.not_in(world, channel, ERR_NOTONCHANNEL, "You're not on that channel");
        };
        if topic.len() > TOPIC_MAX {
            let why = format!("a topic has at most {TOPIC_MAX} bytes");
            return self.numeric_text(ERR_UNKNOWNERROR, &["TOPIC"], &why);
        }
        let spot = Spot { target: channel.to_owned(), id: seat.id, member: seat.member };
        self.speak(world, &spot, Body::Topic(topic.clone()), "TOPIC");
    }

    fn mode(&mut self, world: &mut impl World, message: &Message) {
        let Some(target) = message.param(0) else { return self.need_more("MODE") };
        let modes = message.param(1);
        if target.starts_with('#') {
            let Some(view) = self.view(world, target) else { return self.no_such_channel(target) };
            let channel = format!("#{}", view.name);
            return match modes.map(|modes| modes.trim_start_matches('+')) {
                None => {
                    let line = self.numeric(RPL_CHANNELMODEIS).param(&channel).param("+n");
                    self.replies.push(line);
                }
                Some("b") if message.param(2).is_none() => {
                    self.numeric_text(RPL_ENDOFBANLIST, &[&channel], "End of channel ban list");
                }
                Some("n") => {}
                Some(modes) if modes.trim_start_matches('-').starts_with('n') => {
                    self.numeric_text(ERR_CHANOPRIVSNEEDED, &[&channel], "Rooms have no operators");
                }
                Some(modes) => {
                    let mode =
                        modes.trim_start_matches('-').chars().next().map_or("*".into(), |c| c.to_string());
                    self.numeric_text(ERR_UNKNOWNMODE, &[&mode], "is unknown mode char to me");
                }
            };
        }
        let own = self.nick.as_ref().is_some_and(|nick| nick.as_str().eq_ignore_ascii_case(target));
        match (own, modes) {
            (true, None) => {
                let line = self.numeric(RPL_UMODEIS).param("+");
                self.replies.push(line);
            }
            (true, Some(_)) => self.numeric_text(ERR_UMODEUNKNOWNFLAG, &[], "Unknown MODE flag"),
            (false, _) if world.person(target).is_none() => {
                self.numeric_text(ERR_NOSUCHNICK, &[target], "No such nick/channel");
            }
            (false, _) => self.numeric_text(ERR_USERSDONTMATCH, &[], "Cant change mode for other users"),
        }
    }

    // People.

    fn who(&mut self, world: &mut impl World, message: &Message) {
        let Some(mask) = message.param(0) else { return self.need_more("WHO") };
        let fields = message.param(1).and_then(|fields| fields.strip_prefix('%'));
        if let Some(view) = self.view(world, mask) {
            let channel = format!("#{}", view.name);
            for member in &view.members {
                let nick = shown_nick(&member.name);
                self.who_line(world, &channel, &nick, &member.name, member.person.as_ref(), fields);
            }
        } else if let Some(person) = world.person(mask) {
            let channel = person.rooms.first().map_or("*".into(), |room| format!("#{room}"));
            self.who_line(world, &channel, &person.nick, &person.nick, Some(&person), fields);
        } else if let Some(room) = world.find(mask).first() {
            self.who_line(world, &format!("#{room}"), mask, mask, None, fields);
        }
        self.numeric_text(RPL_ENDOFWHO, &[mask], "End of WHO list");
    }

    fn who_line(
        &mut self,
        world: &impl World,
        channel: &str,
        nick: &str,
        name: &str,
        person: Option<&PersonView>,
        fields: Option<&str>,
    ) {
        let flags = if person.is_some_and(|p| p.away.is_some()) { "G" } else { "H" };
        let realname = person.map_or(name, |p| &p.realname);
        let server = self.about.server.clone();
        let Some(fields) = fields else {
            let params = [channel, "member", &server, &server, nick, flags];
            return self.numeric_text(RPL_WHOREPLY, &params, &format!("0 {realname}"));
        };
        // [IRCv3, whox]: in this order, whatever the order of the question.
        let (fields, token) = fields.split_once(',').unwrap_or((fields, "0"));
        let idle = person.map_or(0, |person| idle_seconds(world, person)).to_string();
        let mut line = self.numeric(RPL_WHOSPCRPL);
        for (field, value) in [
            ('t', token),
            ('c', channel),
            ('u', "member"),
            ('i', "255.255.255.255"),
            ('h', &server),
            ('s', &server),
            ('n', nick),
            ('f', flags),
            ('d', "0"),
            ('l', &idle),
            ('a', "0"),
            ('o', "n/a"),
        ] {
            if fields.contains(field) {
                line = line.param(value);
            }
        }
        self.replies.push(if fields.contains('r') { line.text(realname) } else { line });
    }

    fn whois(&mut self, world: &mut impl World, message: &Message) {
        // With two, the first is a server.
        let Some(nick) = message.param(1).or(message.param(0)) else {
            return self.numeric_text(ERR_NONICKNAMEGIVEN, &[], "No nickname given");
        };
        let server = self.about.server.clone();
        let person = world.person(nick);
        let rooms = person.as_ref().map_or_else(|| world.find(nick), |person| person.rooms.clone());
        if person.is_none() && rooms.is_empty() {
            self.numeric_text(ERR_NOSUCHNICK, &[nick], "No such nick/channel");
            return self.numeric_text(RPL_ENDOFWHOIS, &[nick], "End of /WHOIS list");
        }
        let shown = person.as_ref().map_or(nick, |person| &person.nick).to_owned();
        let realname = person.as_ref().map_or(nick, |person| &person.realname).to_owned();
        self.numeric_text(RPL_WHOISUSER, &[&shown, "member", &server, "*"], &realname);
        let channels: Vec<_> = rooms.iter().map(|room| format!("#{room}")).collect();
        let start = self.numeric(RPL_WHOISCHANNELS).param(&shown);
        let mut line = String::new();
        for channel in channels {
            if !line.is_empty() && line.len() + 1 + channel.len() > start.room() {
                self.replies.push(start.clone().text(&line));
                line.clear();
            }
            line += if line.is_empty() { "" } else { " " };
            line += &channel;
        }
        if !line.is_empty() {
            self.replies.push(start.text(&line));
        }
        let network = self.about.network.clone();
        self.numeric_text(RPL_WHOISSERVER, &[&shown, &server], &network);
        if let Some(person) = person {
            if let Some(away) = &person.away {
                self.numeric_text(RPL_AWAY, &[&shown], away);
            }
            let idle = idle_seconds(world, &person).to_string();
            let came = (person.came / 1_000).to_string();
            self.numeric_text(RPL_WHOISIDLE, &[&shown, &idle, &came], "seconds idle, signon time");
        }
        self.numeric_text(RPL_ENDOFWHOIS, &[nick], "End of /WHOIS list");
    }

    fn away(&mut self, world: &mut impl World, message: &Message) {
        self.away = message.param(0).map(|why| cut(why, AWAY_MAX).to_owned());
        world.describe(None, Some(self.away.as_deref()));
        match self.away {
            Some(_) => self.numeric_text(RPL_NOWAWAY, &[], "You have been marked as being away"),
            None => self.numeric_text(RPL_UNAWAY, &[], "You are no longer marked as being away"),
        }
    }

    fn setname(&mut self, world: &mut impl World, message: &Message) {
        let Some(realname) = message.param(0) else { return self.need_more("SETNAME") };
        if realname.len() > REALNAME_MAX {
            return self.fail("SETNAME", "INVALID_REALNAME", &[], "Realname is not valid");
        }
        self.realname = Some(realname.to_owned());
        world.describe(Some(realname), None);
        let line = Line::new(&self.source(), "SETNAME").text(realname);
        self.replies.push(line);
    }

    // Messages.

    fn say(&mut self, world: &mut impl World, message: &Message) {
        let Some(targets) = message.param(0) else {
            let why = format!("No recipient given ({})", message.command);
            return self.numeric_text(ERR_NORECIPIENT, &[], &why);
        };
        let Some(text) = message.param(1) else {
            return self.numeric_text(ERR_NOTEXTTOSEND, &[], "No text to send");
        };
        let targets: Vec<_> = targets.split(',').filter(|target| !target.is_empty()).collect();
        if targets.len() > TARGETS_MAX {
            return self.numeric_text(ERR_TOOMANYTARGETS, &[targets[0]], "Too many targets");
        }
        for target in targets {
            self.say_to(world, &message.command, target, text, answered(message));
        }
    }

    fn say_to(
        &mut self,
        world: &mut impl World,
        command: &str,
        target: &str,
        text: &str,
        reply: Option<&str>,
    ) {
        let Some(spot) = self.reach(world, target) else { return };
        if !target.starts_with('#')
            && let Some(PersonView { nick, away: Some(away), .. }) = world.person(target)
        {
            self.numeric_text(RPL_AWAY, &[&nick], &away);
        }
        let plain = |text: &str| match command {
            "NOTICE" => Body::Notice(text.to_owned()),
            _ => Body::Text(text.to_owned()),
        };
        let ctcp = text.strip_prefix('\u{1}').map(|text| text.strip_suffix('\u{1}').unwrap_or(text));
        let body = match (ctcp, reply.and_then(read_msgid)) {
            (Some(ctcp), _) => match ctcp.strip_prefix("ACTION ") {
                Some(text) if command == "PRIVMSG" => Body::Action(text.to_owned()),
                // Between two IRC clients it is what they know.
                _ if !target.starts_with('#') => plain(text),
                _ => {
                    let why = "Cannot send to channel: of CTCP only ACTION is known here";
                    return self.numeric_text(ERR_CANNOTSENDTOCHAN, &[&spot.target], why);
                }
            },
            // A notice stays one: no program may answer it.
            (None, Some((room, to))) if room == spot.id && command == "PRIVMSG" => {
                Body::Reply { to, text: text.to_owned() }
            }
            _ => plain(text),
        };
        self.speak(world, &spot, body, command);
    }

    /// Where that is, in a room that it is in or with somebody; otherwise it is told why not.
    fn reach(&mut self, world: &mut impl World, target: &str) -> Option<Spot> {
        if target.starts_with('#') {
            let spot = self.spot(world, target);
            if spot.is_none() {
                let why = "Cannot send to channel: you are not in it";
                self.not_in(world, target, ERR_CANNOTSENDTOCHAN, why);
            }
            return spot;
        }
        let Some(PersonView { nick, .. }) = world.person(target) else {
            match world.find(target).is_empty() {
                true => self.numeric_text(ERR_NOSUCHNICK, &[target], "No such nick/channel"),
                false => {
                    let why = "Cannot send to user: not connected by IRC; meet in a room";
                    self.numeric_text(ERR_CANNOTSENDTOUSER, &[target], why);
                }
            }
            return None;
        };
        match world.converse(&nick) {
            Ok((id, member)) => {
                self.addressed(id, member);
                Some(Spot { target: nick, id, member })
            }
            Err(why) => {
                self.numeric_text(ERR_CANNOTSENDTOUSER, &[&nick], &format!("Cannot send to user: {why}"));
                None
            }
        }
    }

    /// Where that is, if it is in that room or conversation.
    fn spot(&self, world: &impl World, target: &str) -> Option<Spot> {
        if target.starts_with('#') {
            let seat = self.in_room(target)?;
            return Some(Spot { target: format!("#{}", seat.room), id: seat.id, member: seat.member });
        }
        let id = world.conversation(target)?;
        let Conversation { member, .. } = self.conversations.get(&id)?;
        Some(Spot { target: world.other(id)?, id, member: *member })
    }

    /// Says it; the client learns that it is stored when it comes back.
    fn speak(&mut self, world: &mut impl World, spot: &Spot, body: Body, command: &str) {
        match world.say(spot.id, spot.member, &body) {
            Ok(id) => {
                if let Some(label) = &self.label
                    && !self.is_deferred
                {
                    self.labels.insert((spot.id, id), label.clone());
                    self.is_deferred = true;
                }
            }
            Err(error) => {
                let target = &spot.target;
                match (&error, command) {
                    (SayError::Body(BodyError::NotYours { target: of }), "REDACT") => {
                        let id = msgid(spot.id, *of);
                        let why = "You are not authorized to delete this message";
                        self.fail(command, "REDACT_FORBIDDEN", &[target, &id], why);
                    }
                    (SayError::Body(BodyError::NoSuchMessage { target: of }), "REDACT") => {
                        let id = msgid(spot.id, *of);
                        self.fail(command, "UNKNOWN_MSGID", &[target, &id], "There is no such message");
                    }
                    _ => self.not_sent(target, &error.to_string()),
                }
            }
        }
    }

    fn not_sent(&mut self, target: &str, why: &str) {
        let (number, to) = match target.starts_with('#') {
            true => (ERR_CANNOTSENDTOCHAN, "channel"),
            false => (ERR_CANNOTSENDTOUSER, "user"),
        };
        self.numeric_text(number, &[target], &format!("Cannot send to {to}: {why}"));
    }

    fn tagmsg(&mut self, world: &mut impl World, message: &Message) {
        let Some(target) = message.param(0) else {
            return self.numeric_text(ERR_NORECIPIENT, &[], "No recipient given (TAGMSG)");
        };
        let react = message.tag("+draft/react").map(|symbol| (symbol, true));
        let Some((symbol, set)) =
            react.or_else(|| message.tag("+draft/unreact").map(|symbol| (symbol, false)))
        else {
            // As CLIENTTAGDENY says, it is not carried.
            return;
        };
        let Some(spot) = self.reach(world, target) else { return };
        match answered(message).and_then(read_msgid) {
            Some((room, to)) if room == spot.id => {
                self.speak(world, &spot, Body::Reaction { to, symbol: symbol.to_owned(), set }, "TAGMSG");
            }
            _ => self.not_sent(&spot.target, "a reaction needs the message that it is to"),
        }
    }

    /// [IRCv3, message-redaction].
    fn redact(&mut self, world: &mut impl World, message: &Message) {
        let (Some(target), Some(id)) = (message.param(0), message.param(1)) else {
            return self.need_more("REDACT");
        };
        let Some(spot) = self.spot(world, target) else {
            return self.fail("REDACT", "INVALID_TARGET", &[target], "You cannot delete messages there");
        };
        match read_msgid(id) {
            Some((room, of)) if room == spot.id => {
                self.speak(world, &spot, Body::Delete { of }, "REDACT");
            }
            _ => self.fail("REDACT", "UNKNOWN_MSGID", &[target, id], "There is no such message"),
        }
    }

    /// [IRCv3, multiline]: a batch of lines is one text.
    fn multiline(&mut self, world: &mut impl World, message: &Message) {
        let Some(name) = message.param(0) else { return self.need_more("BATCH") };
        if let Some(name) = name.strip_prefix('+') {
            let (Some("draft/multiline"), Some(target)) = (message.param(1), message.param(2)) else {
                return self.fail(
                    "BATCH",
                    "UNKNOWN_TYPE",
                    &[name],
                    "Only batches of draft/multiline are known",
                );
            };
            // A batch that was not ended is given up for it.
            self.multiline = Some(Multiline {
                name: name.to_owned(),
                target: target.to_owned(),
                label: self.label.take(),
                reply: answered(message).map(str::to_owned),
                command: None,
                text: None,
                lines: 0,
                failed: false,
            });
            return;
        }
        let batch = self.multiline.take_if(|batch| Some(&batch.name[..]) == name.strip_prefix('-'));
        let Some(batch) = batch else {
            return self.fail("BATCH", "MULTILINE_INVALID", &[], "There is no such batch");
        };
        if batch.failed {
            return;
        }
        self.label = batch.label;
        let is_text = |text: &String| text.contains(|c| c != '\n');
        let (Some(command), Some(text)) = (batch.command, batch.text.filter(is_text)) else {
            return self.fail("BATCH", "MULTILINE_INVALID", &[], "There is no text in the batch");
        };
        self.say_to(world, &command, &batch.target, &text, batch.reply.as_deref());
        if command == "NOTICE" {
            self.replies.clear();
        }
    }

    fn multiline_part(&mut self, message: &Message, name: &str) {
        let text_max = self.about.text_max;
        let Some(batch) = self.multiline.as_mut().filter(|batch| !batch.failed) else { return };
        let text = message.params.get(1).map_or("", |text| text);
        let goes_on = message.tag("draft/multiline-concat").is_some();
        let so_far = batch.text.as_ref().map_or(0, |text| text.len() + usize::from(!goes_on));
        batch.lines += 1;
        let context = text_max.to_string();
        let lines_max = LINES_MAX.to_string();
        let target = message.param(0).unwrap_or("*").to_owned();
        let command = batch.command.get_or_insert_with(|| message.command.clone());
        let belongs =
            batch.name == name && *command == message.command && matches!(&command[..], "PRIVMSG" | "NOTICE");
        let (code, context, why): (_, Vec<&str>, _) = if !belongs {
            ("MULTILINE_INVALID", vec![], "That does not belong into the batch")
        } else if goes_on && text.is_empty() {
            ("MULTILINE_INVALID", vec![], "A line that goes on is not blank")
        } else if target != batch.target {
            let expected = batch.target.clone();
            batch.failed = true;
            let context = [&expected[..], &target[..]];
            return self.fail("BATCH", "MULTILINE_INVALID_TARGET", &context, "The batch has another target");
        } else if so_far + text.len() > text_max {
            ("MULTILINE_MAX_BYTES", vec![&context], "The text is too long")
        } else if batch.lines > LINES_MAX {
            ("MULTILINE_MAX_LINES", vec![&lines_max], "The text has too many lines")
        } else {
            match &mut batch.text {
                Some(whole) => {
                    whole.push_str(if goes_on { "" } else { "\n" });
                    whole.push_str(text);
                }
                none => *none = Some(text.to_owned()),
            }
            return;
        };
        batch.failed = true;
        self.fail("BATCH", code, &context, why);
    }

    // History.

    fn chathistory(&mut self, world: &impl World, message: &Message) {
        let Some(subcommand) = message.param(0).map(str::to_ascii_uppercase) else {
            return self.fail("CHATHISTORY", "INVALID_PARAMS", &["*"], "Insufficient parameters");
        };
        let params: Vec<&str> = message.params[1..].iter().map(|param| &param[..]).collect();
        let limit = |limit: &str| limit.parse::<usize>().ok().map(|limit| limit.min(HISTORY_MAX));
        if subcommand == "TARGETS" {
            let [from, to, most] = params[..] else {
                return self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Insufficient parameters");
            };
            return match (timestamp(from), timestamp(to), limit(most)) {
                (Some(a), Some(b), Some(limit)) => {
                    self.changes.push_back(Change::Targets(TargetsRequest {
                        from: a.min(b),
                        to: a.max(b),
                        limit,
                    }));
                }
                _ => self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Invalid parameters"),
            };
        }
        let (target, window, most) = match (&subcommand[..], &params[..]) {
            ("LATEST", [target, "*", most]) => (target, Some(Window::Latest(None)), most),
            ("LATEST", [target, at, most]) => (target, bound(at).map(|at| Window::Latest(Some(at))), most),
            ("BEFORE", [target, at, most]) => (target, bound(at).map(Window::Before), most),
            ("AFTER", [target, at, most]) => (target, bound(at).map(Window::After), most),
            ("AROUND", [target, at, most]) => (target, bound(at).map(Window::Around), most),
            ("BETWEEN", [target, a, b, most]) => {
                (target, bound(a).zip(bound(b)).map(|(a, b)| Window::Between(a, b)), most)
            }
            ("LATEST" | "BEFORE" | "AFTER" | "AROUND" | "BETWEEN", _) => {
                return self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Insufficient parameters");
            }
            _ => return self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Unknown subcommand"),
        };
        let (Some(window), Some(limit)) = (window, limit(most)) else {
            return self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Invalid parameters");
        };
        let events = self.has(Capabilities::EVENT_PLAYBACK);
        let Some(Spot { target, id: room, .. }) = self.spot(world, target) else {
            if let Some(PersonView { nick: target, .. }) = world.person(target) {
                // Nothing was said yet.
                let request = HistoryRequest { room: u64::MAX, target, window, limit, events };
                return self.history(world, &request, Some(&[]));
            }
            let why = "You are not in that room";
            return self.fail("CHATHISTORY", "INVALID_TARGET", &[&subcommand, target], why);
        };
        let of_another = |at: &Bound| matches!(at, Bound::Message(other, _) if *other != room);
        let bounds = match &window {
            Window::Latest(at) => [*at, None],
            Window::Before(at) | Window::After(at) | Window::Around(at) => [Some(*at), None],
            Window::Between(a, b) => [Some(*a), Some(*b)],
        };
        if bounds.iter().flatten().any(of_another) {
            let why = "That message is not of this room";
            return self.fail("CHATHISTORY", "MESSAGE_ERROR", &[&subcommand, &target], why);
        }
        self.changes.push_back(Change::History(HistoryRequest { room, target, window, limit, events }));
    }

    /// [IRCv3, read-marker]. Without accounts a marker lives as long as the connection is in the room.
    fn markread(&mut self, world: &impl World, message: &Message) {
        let Some(target) = message.param(0) else {
            return self.fail("MARKREAD", "NEED_MORE_PARAMS", &[], "Missing parameters");
        };
        let Some(spot) = self.spot(world, target) else {
            return self.fail("MARKREAD", "INVALID_TARGET", &[target], "You are not in that room");
        };
        let read = match self.conversations.get_mut(&spot.id) {
            Some(conversation) => &mut conversation.read,
            None => {
                let seat = self.rooms.values_mut().find(|seat| seat.id == spot.id);
                &mut seat.expect("it is in one or the other").read
            }
        };
        if let Some(to) = message.param(1) {
            let Some(to) = timestamp(to) else {
                return self.fail("MARKREAD", "INVALID_PARAMS", &[target], "Invalid timestamp");
            };
            // It never goes back.
            *read = Some(read.map_or(to, |read| read.max(to)));
        }
        let read = *read;
        self.tell_read(&spot.target, read);
    }

    fn tell_read(&mut self, channel: &str, read: Option<u64>) {
        let read = read.map_or("*".into(), |read| format!("timestamp={}", rfc3339(read)));
        let line = Line::new(&self.about.server, "MARKREAD").param(channel).param(&read);
        self.replies.push(line);
    }
}

fn refused(refusal: &JoinRefusal) -> (&'static str, String) {
    match refusal {
        JoinRefusal::NoSuchRoom(why) => (ERR_NOSUCHCHANNEL, why.clone()),
        JoinRefusal::Room(JoinError::Full { .. }) => {
            (ERR_CHANNELISFULL, "Cannot join channel: it is full".into())
        }
        JoinRefusal::Room(JoinError::NameTaken { name, .. }) => {
            (ERR_UNAVAILRESOURCE, format!("Cannot join channel: somebody in it is called {name} already"))
        }
        JoinRefusal::Room(error) => (ERR_UNAVAILRESOURCE, format!("Cannot join channel: {error}")),
    }
}

fn idle_seconds(world: &impl World, person: &PersonView) -> u64 {
    world.now().saturating_sub(person.spoke) / 1_000
}

/// The message that this one answers, as the client calls it.
fn answered(message: &Message) -> Option<&str> {
    REPLY_TAGS.iter().find_map(|key| message.tag(key))
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..super::split::fitting(text, bytes_max)]
}
