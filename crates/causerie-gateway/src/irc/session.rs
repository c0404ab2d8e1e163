//! A client's session: its lines in, lines for it out. What it does in rooms goes through [`IrcWorld`]; what
//! happens there comes as records of their logs. Time, sockets and other sessions are the caller's.

mod answer;
mod history;
mod labels;
mod messages;
mod people;
mod registration;
mod rooms;
mod state;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use cbcast::{MemberId, MessageId};

use super::capability::Capabilities;
use super::history::HistoryRequest;
use super::message::{IrcItem, IrcMessage, Line};
use super::moved::{FoundRecord, MoveKind, ToldMoves};
use super::numeric::*;
use super::render::{Rendered, Viewer, shown_by, shown_nick, source};
use super::shared::{IrcRendering, Perspective};
use super::world::{IrcWorld, PersonView};
use crate::api::rfc3339;
use causerie_core::content::body::Body;
use causerie_core::content::name::Name;
use causerie_core::log::page::{HistoryRecord, What};

use self::state::{AnswerStep, AwaitedMessage, ChannelSeat, LABEL_MAX, Multiline, PendingAnswer, folded};
pub use self::state::{HISTORY_MAX, ServerView, SessionNeed};

/// State of a client: what it has negotiated, where it is, and what is still to be told.
#[derive(Clone, Debug)]
pub struct IrcSession {
    about: ServerView,
    capabilities: Capabilities,
    /// Negotiation in progress: registration waits.
    negotiating: bool,
    /// Knowledge of values of capabilities: it is told of new ones.
    knows_302: bool,
    nick: Option<Name>,
    /// User as others are shown it, marked as unchecked by a `~`.
    user: Option<String>,
    realname: Option<String>,
    registered: bool,
    away: Option<String>,
    /// The user mode `i`, which nothing depends on: who shares no room is in no list anyway.
    invisible: bool,
    /// Rooms by the lower case of their names.
    rooms: BTreeMap<String, ChannelSeat>,
    /// Members that it is in conversations, by the numbers of their rooms.
    conversations: BTreeMap<u64, MemberId>,
    /// Times up to which its user has read what was said with a person, by the lower case of the nick.
    read: BTreeMap<String, u64>,
    /// Numbers of answers, by what was said for them and has not come back.
    labels: BTreeMap<(u64, MessageId), u64>,
    answers: BTreeMap<u64, PendingAnswer>,
    answers_begun: u64,
    /// Moves of others in many rooms at once that were told.
    told_moves: ToldMoves,
    multiline: Option<Multiline>,
    batches: u64,
    label: Option<String>,
    /// Messages that the command has said.
    said: Vec<AwaitedMessage>,
    replies: Vec<Line>,
    needs: VecDeque<SessionNeed>,
    /// The rest of the answer.
    steps: VecDeque<AnswerStep>,
    /// The batch of an answer with a label that is written in pieces.
    batch_begun: Option<String>,
    /// Bytes that are to be written, and behind them `out`.
    told: Vec<Bytes>,
    out: Vec<u8>,
    ended: bool,
}

impl IrcSession {
    /// Begins with a client that has said nothing yet.
    #[must_use]
    pub fn new(about: ServerView) -> Self {
        Self {
            about,
            capabilities: Capabilities::default(),
            negotiating: false,
            knows_302: false,
            nick: None,
            user: None,
            realname: None,
            registered: false,
            away: None,
            invisible: false,
            rooms: BTreeMap::new(),
            conversations: BTreeMap::new(),
            read: BTreeMap::new(),
            labels: BTreeMap::new(),
            answers: BTreeMap::new(),
            answers_begun: 0,
            told_moves: ToldMoves::default(),
            multiline: None,
            batches: 0,
            label: None,
            said: Vec::new(),
            replies: Vec::new(),
            needs: VecDeque::new(),
            steps: VecDeque::new(),
            batch_begun: None,
            told: Vec::new(),
            out: Vec::new(),
            ended: false,
        }
    }

    // For the caller.

    /// Takes what is to be written.
    pub fn take_output(&mut self) -> Vec<Bytes> {
        self.tell_shared(Bytes::new());
        std::mem::take(&mut self.told)
    }

    /// Bytes that are to be written.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.told.iter().map(Bytes::len).sum::<usize>() + self.out.len()
    }

    /// Returns whether the connection ends behind that.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns whether it is known who this is.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// Returns whether it is told when others are away or change what they call themselves.
    #[must_use]
    pub fn wants_news(&self) -> bool {
        self.has(Capabilities::AWAY_NOTIFY) || self.has(Capabilities::SETNAME)
    }

    /// The rooms that it is in, conversations too: their numbers, and as whom.
    pub fn seats(&self) -> impl Iterator<Item = (u64, MemberId)> {
        let conversations = self.conversations.iter().map(|(id, member)| (*id, *member));
        self.rooms.values().map(|seat| (seat.id, seat.member)).chain(conversations)
    }

    /// Somebody has begun a conversation with this one: its room, and as whom this one is in it.
    pub fn addressed(&mut self, id: u64, member: MemberId) {
        self.conversations.entry(id).or_insert(member);
    }

    /// Takes one line. Behind it come [`poll_need`](Self::poll_need), with an answer to each, and
    /// [`go_on`](Self::go_on), in turns until there is no more of either; then [`finish`](Self::finish).
    pub fn handle(&mut self, world: &mut impl IrcWorld, item: IrcItem) {
        let message = match item {
            IrcItem::Message(message) => message,
            IrcItem::TooLong => return self.numeric_text(ERR_INPUTTOOLONG, &[], "Input line was too long"),
            IrcItem::NotUtf8 => {
                return self.fail("*", "INVALID_UTF8", &[], "Message rejected, it was not UTF-8");
            }
            IrcItem::Malformed => {
                let why = "Message rejected, it was no line of IRC";
                return match self.has(Capabilities::STANDARD_REPLIES) {
                    true => self.fail("*", "INVALID_MESSAGE", &[], why),
                    false => self.numeric_text(ERR_UNKNOWNERROR, &["*"], why),
                };
            }
        };
        if self.has(Capabilities::LABELED_RESPONSE) {
            self.label =
                message.tag("label").filter(|l| (1..=LABEL_MAX).contains(&l.len())).map(str::to_owned);
        }
        self.command(world, &message);
    }

    /// Takes what is needed before the command is done.
    pub fn poll_need(&mut self) -> Option<SessionNeed> {
        self.needs.pop_front()
    }

    /// The server ends the connection.
    pub fn end(&mut self, why: &str) {
        Line::bare("ERROR").text(why).encode(&mut self.out);
        self.ended = true;
    }

    /// Asks the client whether it is there: what is on its way to it tells whether its host is.
    pub fn ping(&mut self) {
        Line::bare("PING").text(&self.about.server).encode(&mut self.out);
    }

    /// Somebody, who shows itself so, invites this one into a room.
    pub fn invited(&mut self, source: &str, channel: &str) {
        let nick = self.shown();
        Line::new(source, "INVITE").param(&nick).param(channel).encode(&mut self.out);
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

    /// Messages of a room cannot be read any more, in the server's words.
    pub fn gap(&mut self, id: u64, words: &str) {
        let target = self.seat(id).map_or_else(|| self.shown(), |seat| format!("#{}", seat.room));
        Line::new(&self.about.server, "NOTICE").param(&target).text(words).encode(&mut self.out);
    }

    /// Somebody who shares a room, and shows itself so, is away, or back.
    pub fn away_changed(&mut self, source: &str, away: Option<&str>) {
        if self.has(Capabilities::AWAY_NOTIFY) {
            let line = Line::new(source, "AWAY");
            match away {
                Some(why) => line.text(why).encode(&mut self.out),
                None => line.encode(&mut self.out),
            }
        }
    }

    /// Somebody who shares a room, and shows itself so, calls itself something else.
    pub fn realname_changed(&mut self, source: &str, realname: &str) {
        if self.has(Capabilities::SETNAME) {
            Line::new(source, "SETNAME").text(realname).encode(&mut self.out);
        }
    }

    /// Returns its view of a room, if others read it alike.
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
        world: &mut impl IrcWorld,
        id: u64,
        found: &[FoundRecord],
        rendering: Option<&IrcRendering>,
    ) {
        let shared = rendering.zip(self.seat(id)).filter(|(rendering, _)| {
            self.perspective(id).as_ref() == Some(rendering.perspective())
                && rendering.places().len() == found.len()
        });
        let Some((rendering, seat)) = shared else {
            return found.iter().for_each(|found| self.record(world, id, found));
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
            self.record(world, id, &found[n]);
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
    fn record(&mut self, world: &mut impl IrcWorld, id: u64, found: &FoundRecord) {
        let record = &found.record;
        if let Some(member) = self.conversations.get(&id) {
            return self.record_between_two(world, id, *member, found);
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
        if !is_own && found.moved.is_some() {
            return self.tell_move(id, found);
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
                self.rendered(&format!("#{room}"), id, found, realname, None)
            }
        };
        self.tell(is_own, id, record.id, rendered);
        if let Some(person) = person.filter(|_| !silent)
            && let Some(away) = &person.away
        {
            self.away_changed(&person.source(), Some(away));
        }
    }

    /// Tells what somebody does in all its rooms with the first record of it, in whichever room that is.
    fn tell_move(&mut self, id: u64, found: &FoundRecord) {
        let Some(moved) = found.moved.as_deref().filter(|moved| self.told_moves.is_first(moved)) else {
            return;
        };
        let from = source(&shown_nick(&moved.nick), found.mask(), &self.about.server);
        let line = match &moved.kind {
            MoveKind::Quit(why) => Line::new(&from, "QUIT").text(why),
            MoveKind::Nick(nick) => Line::new(&from, "NICK").text(&shown_nick(nick)),
        };
        let capabilities = self.capabilities;
        let viewer = self.viewer(capabilities, "", id, false);
        viewer.tagged(line, &found.record).encode(&mut self.out);
    }

    /// Returns whether what it has done itself is told to it.
    fn hears_itself(&self, what: &What) -> bool {
        match what {
            What::Said(body) => match body {
                Body::Topic(_) | Body::Delete { .. } => true,
                Body::Text(_)
                | Body::Action(_)
                | Body::Notice(_)
                | Body::Reply { .. }
                | Body::Edit { .. }
                | Body::Reaction { .. }
                | Body::Unknown(_) => self.has(Capabilities::ECHO_MESSAGE),
            },
            What::Joined | What::Left { .. } => false,
        }
    }

    fn record_between_two(
        &mut self,
        world: &mut impl IrcWorld,
        id: u64,
        member: MemberId,
        found: &FoundRecord,
    ) {
        let record = &found.record;
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
            false => self.rendered_between_two((&own, &other), id, is_own, found, None),
        };
        self.tell(is_own, id, record.id, rendered);
        if is_own && own == other {
            // Who talks to itself is the one who says it, and the one to whom it is said; the label is not on that
            // [IRCv3, labeled-response; IRCv3, echo-message].
            let rendered = self.rendered_between_two((&own, &other), id, is_own, found, None);
            self.tell(false, id, record.id, rendered);
        }
    }

    /// People go by the nicks that they have now.
    fn rendered_between_two(
        &mut self,
        (own, other): (&str, &str),
        id: u64,
        is_own: bool,
        found: &FoundRecord,
        replayed: Option<&HistoryRequest>,
    ) -> Rendered {
        if !matches!(found.record.what, What::Said(_)) {
            return Rendered::default();
        }
        let (from, to) = if is_own { (own, other) } else { (other, own) };
        let record = HistoryRecord { name: from.to_owned(), ..found.record.clone() };
        self.rendered(to, id, &FoundRecord { record, ..found.clone() }, from, replayed)
    }

    fn rendered(
        &mut self,
        target: &str,
        id: u64,
        found: &FoundRecord,
        realname: &str,
        replayed: Option<&HistoryRequest>,
    ) -> Rendered {
        let mut capabilities = self.capabilities;
        if replayed.is_some_and(|request| !request.events) {
            capabilities = capabilities.without(Capabilities::EVENT_PLAYBACK);
        }
        let mut batches = self.batches;
        let rendered =
            self.viewer(capabilities, target, id, replayed.is_some()).render(found, realname, || {
                batches += 1;
                batches.to_string()
            });
        self.batches = batches;
        rendered
    }

    fn viewer<'a>(
        &'a self,
        capabilities: Capabilities,
        target: &'a str,
        id: u64,
        replayed: bool,
    ) -> Viewer<'a> {
        let is_conversation = self.conversations.contains_key(&id);
        Viewer { capabilities, server: &self.about.server, target, id, is_conversation, replayed }
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
        let mask = format!("{}@{}", self.user.as_deref().unwrap_or_default(), self.about.host);
        source(&self.shown(), Some(&mask), &self.about.server)
    }

    fn numeric(&self, number: &str) -> Line {
        Line::new(&self.about.server, number).param(&self.shown())
    }

    fn numeric_text(&mut self, number: &str, params: &[&str], text: &str) {
        let line = params.iter().fold(self.numeric(number), |line, param| line.param(param));
        self.replies.push(line.text(text));
    }

    /// [IRCv3, standard-replies]: whoever has negotiated a capability whose specification has these replies knows them.
    fn fail(&mut self, command: &str, code: &str, context: &[&str], text: &str) {
        let line = Line::new(&self.about.server, "FAIL").param(command).param(code);
        self.replies.push(context.iter().fold(line, |line, param| line.param(param)).text(text));
    }

    fn need_more(&mut self, command: &str) {
        self.numeric_text(ERR_NEEDMOREPARAMS, &[command], "Not enough parameters");
    }

    // Commands.

    fn command(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        if let Some(name) = message.tag("batch").filter(|_| self.multiline.is_some()) {
            return self.multiline_part(message, name);
        }
        // Each is told to many, and a new nick is two records in every room.
        let is_change = self.registered && matches!(&message.command[..], "NICK" | "AWAY" | "SETNAME");
        if let Some(Err(wait)) = is_change.then(|| world.spend_change()) {
            let why = format!("Please wait {} s and try again.", wait.as_secs() + 1);
            return self.numeric_text(RPL_TRYAGAIN, &[&message.command], &why);
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
                let reason = message.param(0).unwrap_or_default();
                // Marked as its own words [Modern, QUIT].
                world.quit(reason, &format!("Quit: {reason}"));
                self.rooms.clear();
                self.conversations.clear();
                let reason = message.param(0).unwrap_or("Quit");
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
            "LIST" => self.list(message.param(0)),
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
                let shown = |p: PersonView| {
                    format!("{}={}{}", p.nick, if p.away.is_some() { '-' } else { '+' }, p.mask())
                };
                let found: Vec<_> =
                    message.params.iter().filter_map(|nick| world.person(nick).map(shown)).collect();
                self.numeric_text(RPL_USERHOST, &[], &found.join(" "));
            }
            "OPER" | "KICK" | "INVITE" if message.param(1).is_none() => self.need_more(&message.command),
            "OPER" => self.numeric_text(ERR_NOOPERHOST, &[], "There are no operators by IRC"),
            "KICK" => self.refuse_to_operate(world, message.param(0).unwrap_or_default()),
            "INVITE" => self.invite(world, message),
            command => {
                let command = command.to_owned();
                self.numeric_text(ERR_UNKNOWNCOMMAND, &[&command], "Unknown command");
            }
        }
    }
}
