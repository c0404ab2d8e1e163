//! Sessions in real rooms, without sockets and stores: what happens in a room is told to all who are in it at once.
//! (For tests. One long file: it stands in for the whole of a server.)

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cbcast::{MemberId, MessageId};

use super::super::{
    Bound, FoundRecord, HistoryRequest, IrcLines, IrcSession, IrcWorld, JoinRefusal, Joined, MemberView,
    Move, MoveKind, PersonView, RoomView, ServerView, SessionNeed, TargetsRequest, Window,
};
use causerie_core::content::body::Body;
use causerie_core::content::name::{Name, RoomName};
use causerie_core::content::reading::Reading;
use causerie_core::id::Position;
use causerie_core::log::page::{HistoryRecord, What};
use causerie_core::log::records;
use causerie_core::room::{HostedSayError, Now, Room, RoomSettings};
use causerie_core::timeline::fold::{Fold, Said};
use causerie_core::wire::MemberInfo;

pub(super) const SERVER: &str = "irc.test";
/// 2026-01-01T00:00:00Z. Nothing takes any time.
const NOW: u64 = 1_767_225_600_000;
const TEXT_MAX: usize = 2_000;

fn now() -> Now {
    Now { wall_millis: NOW, ..Now::default() }
}

struct Person {
    /// Not here while it is being asked something.
    session: Option<IrcSession>,
    lines: IrcLines,
    view: PersonView,
    is_registered: bool,
    /// Positions up to which it has been told of its rooms, by their numbers.
    cursors: BTreeMap<u64, Position>,
    told: VecDeque<String>,
}

impl Person {
    /// Nobody finds it any more.
    fn end(&mut self) {
        (self.is_registered, self.view.nick) = (false, String::new());
        self.cursors.clear();
    }
}

struct Hosted {
    room: Room,
    log: Vec<HistoryRecord>,
    names: BTreeMap<MemberId, String>,
    /// User and host of members with IRC clients.
    masks: BTreeMap<MemberId, Arc<str>>,
    /// Moves that the coming of members was a part of, and their going.
    came: BTreeMap<MemberId, Arc<Move>>,
    went: BTreeMap<MemberId, Arc<Move>>,
    /// In a conversation: who is in it.
    two: Vec<(String, MemberId)>,
}

impl Hosted {
    /// Writes down what has happened.
    fn settle(&mut self) {
        while let Some(batch) = self.room.take_batch() {
            for record in batch.records.into_iter().flat_map(|run| records(run.bytes)) {
                let record = HistoryRecord::of(record, |member| self.names[&member].clone());
                self.names.insert(record.member, record.name.clone());
                self.log.push(record);
            }
        }
    }

    fn name(&self) -> String {
        self.room.name().to_string()
    }

    fn is_conversation(&self) -> bool {
        !self.two.is_empty()
    }
}

#[derive(Default)]
pub(super) struct Network {
    motd: Vec<String>,
    replay: usize,
    members_max: Option<usize>,
    /// Number of times that each may still change what is known of it.
    changes: Option<u32>,
    /// Rooms by number.
    rooms: BTreeMap<u64, Hosted>,
    /// People by what the script calls them.
    people: BTreeMap<String, Person>,
    /// Those without an IRC client, by name and channel.
    others: BTreeMap<(String, String), MemberId>,
    moves: u64,
    /// Nobody takes any more.
    invitations_wait: bool,
    /// Bytes of the largest piece of an answer that had more.
    pub(super) piece_max: usize,
}

impl Network {
    /// Somebody connects; what the greeting was.
    pub(super) fn enter(&mut self, who: &str, capabilities: &str) -> Vec<String> {
        if !capabilities.is_empty() {
            self.send(who, &format!("CAP REQ :{capabilities}"));
            self.send(who, "CAP END");
        }
        self.send(who, &format!("NICK {who}"));
        self.send(who, &format!("USER {who} 0 * :The real {who}"));
        let person = self.people.get_mut(who).expect("it has sent something");
        person.told.drain(..).collect()
    }

    /// A line of the script that sets something up.
    pub(super) fn set(&mut self, setting: &str) {
        let words: Vec<_> = setting.split(' ').collect();
        match &words[..] {
            [who, "enters"] => drop(self.enter(who, "")),
            [who, "enters", "as", user] => {
                self.send(who, &format!("NICK {who}"));
                self.send(who, &format!("USER {user} 0 * :The real {who}"));
                self.people.values_mut().for_each(|person| person.told.clear());
            }
            [who, "enters", "with", capabilities @ ..] => drop(self.enter(who, &capabilities.join(" "))),
            [who, "is", "in", channels @ ..] => {
                for channel in channels {
                    self.send(who, &format!("JOIN {channel}"));
                }
                self.people.values_mut().for_each(|person| person.told.clear());
            }
            ["newcomers", "are", "shown", count] => self.replay = count.parse().expect("a number"),
            ["changes", "left:", count] => self.changes = Some(count.parse().expect("a number")),
            ["invitations", "wait"] => self.invitations_wait = true,
            ["rooms", "are", "for", count] => self.members_max = Some(count.parse().expect("a number")),
            ["the", "welcome", "is", words @ ..] => self.motd.push(words.join(" ")),
            // Those without an IRC client.
            [who, "joins", channel] => {
                let id = self.find_or_create(&channel[1..]).expect("a name");
                let joined = self.hosted(id).room.join_hosted(now(), &who.replace('_', " "));
                let member = joined.expect("it can join");
                self.others.insert(((*who).to_owned(), (*channel).to_owned()), member);
                self.settle();
            }
            [who, "leaves", channel, why @ ..] => {
                let member = self.other(who, channel);
                self.named(channel).room.part(now(), member, &why.join(" "));
                self.settle();
            }
            [who, "says", channel, text @ ..] => {
                self.says(who, channel, Body::Text(text.join(" ").replace("\\n", "\n")))
            }
            [who, "acts", channel, text @ ..] => self.says(who, channel, Body::Action(text.join(" "))),
            [who, "notes", channel, text @ ..] => self.says(who, channel, Body::Notice(text.join(" "))),
            [who, "answers", channel, n, text @ ..] => {
                let body = Body::Reply { to: self.nth(channel, n), text: text.join(" ") };
                self.says(who, channel, body);
            }
            [who, "edits", channel, n, text @ ..] => {
                let body = Body::Edit { of: self.nth(channel, n), text: text.join(" ") };
                self.says(who, channel, body);
            }
            [who, "deletes", channel, n] => {
                self.says(who, channel, Body::Delete { of: self.nth(channel, n), reason: String::new() })
            }
            [who, "reacts", channel, n, symbol] => {
                let body =
                    Body::Reaction { to: self.nth(channel, n), symbol: (*symbol).to_owned(), set: true };
                self.says(who, channel, body);
            }
            [who, "unreacts", channel, n, symbol] => {
                let body =
                    Body::Reaction { to: self.nth(channel, n), symbol: (*symbol).to_owned(), set: false };
                self.says(who, channel, body);
            }
            ["room", channel, "closes"] => {
                let id = self.number(&channel[1..]).expect("a room");
                let sessions = self.people.values_mut().filter_map(|person| person.session.as_mut());
                sessions.for_each(|session| session.closed(id));
                self.collect();
            }
            _ => panic!("what is {setting:?}?"),
        }
    }

    /// A line from somebody's client; all who are told something because of it are told.
    pub(super) fn send(&mut self, who: &str, line: &str) {
        let view = self.view(who);
        let person = self.people.entry(who.to_owned()).or_insert_with(|| Person {
            session: Some(IrcSession::new(view)),
            lines: IrcLines::default(),
            view: PersonView {
                host: format!("{who}.test"),
                came: NOW - 90_000,
                spoke: NOW - 30_000,
                encrypted: who == "sue",
                certificate: (who == "sue").then(|| "ab01".into()),
                ..PersonView::default()
            },
            is_registered: false,
            cursors: BTreeMap::new(),
            told: VecDeque::new(),
        });
        person.lines.push(&[&unescaped(line)[..], b"\r\n"].concat());
        while let Some(item) = self.people.get_mut(who).and_then(|person| person.lines.poll_item()) {
            self.with(who, |session, here| {
                session.handle(here, item);
                loop {
                    while let Some(need) = session.poll_need() {
                        match need {
                            SessionNeed::History(request) => {
                                let found = here.network.history(&request);
                                session.history(here, &request, found.as_deref());
                            }
                            SessionNeed::Targets(request) => session.targets(&here.targets(&request)),
                        }
                    }
                    here.network.written(here.who, session);
                    if !session.has_more() {
                        break;
                    }
                    session.go_on(here);
                }
                session.finish();
            });
            self.settle();
        }
        if self.people[who].session.as_ref().is_some_and(IrcSession::has_ended) {
            self.people.get_mut(who).expect("it was just there").end();
            for hosted in self.rooms.values_mut() {
                for (_, member) in hosted.two.iter().filter(|(other, _)| other == who) {
                    hosted.room.part(now(), *member, "");
                }
            }
            self.settle();
        }
    }

    /// Writes to who has asked what there is of an answer that has more.
    fn written(&mut self, who: &str, session: &mut IrcSession) {
        self.piece_max = self.piece_max.max(session.output_bytes());
        let told = String::from_utf8(session.take_output().concat()).expect("UTF-8");
        let person = self.people.get_mut(who).expect("somebody");
        person.told.extend(told.split_terminator("\r\n").map(escaped));
    }

    /// The next line that somebody's client is sent.
    pub(super) fn told(&mut self, who: &str) -> Option<String> {
        self.people.get_mut(who)?.told.pop_front()
    }

    /// Nobody was told anything else.
    pub(super) fn finish(&self, place: &str) {
        for (who, person) in &self.people {
            assert!(person.told.is_empty(), "{place}: {who} is told more: {:#?}", person.told);
        }
    }

    fn view(&self, who: &str) -> ServerView {
        ServerView {
            server: SERVER.into(),
            host: format!("{who}.test"),
            network: "Test Net".into(),
            version: "causerie-0".into(),
            motd: self.motd.clone(),
            since: NOW - 3_600_000,
            nick_max: 32,
            text_max: TEXT_MAX,
            replay: self.replay,
            encrypted_for: (who == "sue").then_some(15_552_000),
        }
    }

    fn with(&mut self, who: &str, act: impl FnOnce(&mut IrcSession, &mut Here<'_>)) {
        let person = self.people.get_mut(who).expect("somebody");
        let mut session = person.session.take().expect("it is at rest");
        let mut here = Here { network: self, who };
        act(&mut session, &mut here);
        let person = self.people.get_mut(who).expect("somebody");
        let seats: BTreeMap<_, _> = session.seats().collect();
        person.cursors.retain(|id, _| seats.contains_key(id));
        person.session = Some(session);
    }

    /// All are told what has happened in their rooms.
    fn settle(&mut self) {
        self.rooms.values_mut().for_each(Hosted::settle);
        let names: Vec<_> = self.people.keys().cloned().collect();
        for who in names {
            let behind = |(id, from): (&u64, &Position)| {
                (from.get() < self.rooms[id].log.len() as u64).then_some((*id, *from))
            };
            let behind: Vec<_> = self.people[&who].cursors.iter().filter_map(behind).collect();
            for (id, from) in behind {
                let found = self.found(id, |record| record.position > from);
                self.people.get_mut(&who).expect("somebody").cursors.insert(id, from + found.len() as u64);
                self.with(&who, |session, here| session.records(here, id, &found, None));
            }
        }
        self.collect();
    }

    /// Gathers what sessions have to say.
    fn collect(&mut self) {
        for person in self.people.values_mut() {
            let told = person.session.as_mut().expect("it is at rest").take_output().concat();
            let told = String::from_utf8(told).expect("UTF-8");
            person.told.extend(told.split_terminator("\r\n").map(escaped));
        }
    }

    fn found(&self, id: u64, is_wanted: impl Fn(&HistoryRecord) -> bool) -> Vec<FoundRecord> {
        let hosted = &self.rooms[&id];
        let log = &hosted.log;
        let about = |record: &HistoryRecord| {
            let What::Said(body) = &record.what else { return None };
            let fold = folded(log);
            let quote = fold.quote(body.target()?);
            Some((quote.author?.to_owned(), quote.words?.to_owned()))
        };
        let moved = |record: &HistoryRecord| match record.what {
            What::Joined => hosted.came.get(&record.member).cloned(),
            What::Left { .. } => hosted.went.get(&record.member).cloned(),
            What::Said(_) => None,
        };
        let found = |record: &HistoryRecord| FoundRecord {
            record: record.clone(),
            about: about(record),
            mask: hosted.masks.get(&record.member).cloned(),
            moved: moved(record),
        };
        log.iter().filter(|record| is_wanted(record)).map(found).collect()
    }

    fn history(&self, request: &HistoryRequest) -> Option<Vec<FoundRecord>> {
        let hosted = &self.rooms[&request.room];
        let at = |bound: Bound| match bound {
            Bound::Position(position) => Some(position),
            Bound::Message(_, id) => {
                hosted.log.iter().find(|record| record.id == id).map(|record| record.position)
            }
            // All that was said was said at the same time.
            Bound::Time(millis) if millis > NOW => Some(Position::MAX),
            Bound::Time(_) => Some(Position::START),
        };
        let (from, to, newest) = match request.window {
            Window::Latest(None) => (Position::START, Position::MAX, true),
            Window::Latest(Some(bound)) => (at(bound)?, Position::MAX, true),
            Window::Before(bound) => (Position::START, at(bound)?, true),
            Window::After(bound) => (at(bound)?, Position::MAX, false),
            Window::Around(bound) => (at(bound)? - 1, at(bound)? + 1, true),
            Window::Between(a, b) => (at(a)?.min(at(b)?), at(a)?.max(at(b)?), false),
        };
        let seen = |record: &&HistoryRecord| record.position < to && request.has_seen(record);
        let from = hosted.log.iter().rev().find(seen).map_or(from, |record| from.max(record.position));
        let mut found = self.found(request.room, |record| record.position > from && record.position < to);
        found.iter_mut().for_each(|found| found.record = stands(&hosted.log, &found.record));
        found.retain(|found| request.shows(&found.record));
        match newest {
            true => drop(found.drain(..found.len().saturating_sub(request.limit))),
            false => found.truncate(request.limit),
        }
        Some(found)
    }

    fn hosted(&mut self, id: u64) -> &mut Hosted {
        self.rooms.get_mut(&id).expect("a room")
    }

    fn number(&self, room: &str) -> Option<u64> {
        let is_it = |hosted: &Hosted| !hosted.is_conversation() && hosted.name() == room;
        self.rooms.iter().find(|(_, hosted)| is_it(hosted)).map(|(id, _)| *id)
    }

    fn named(&mut self, channel: &str) -> &mut Hosted {
        self.hosted(self.number(&channel[1..]).expect("a room"))
    }

    fn find_or_create(&mut self, room: &str) -> Result<u64, String> {
        if let Some(id) = self.number(room) {
            return Ok(id);
        }
        let name = RoomName::parse(room).map_err(|error| error.to_string())?;
        Ok(self.host(name))
    }

    fn host(&mut self, name: RoomName) -> u64 {
        let mut settings = RoomSettings { text_bytes_max: TEXT_MAX, ..RoomSettings::default() };
        settings.members_max = self.members_max.unwrap_or(settings.members_max);
        let room = Room::new(name, 0, causerie_core::id::Epoch::new(1), settings, false);
        let id = self.rooms.len() as u64;
        let hosted = Hosted {
            room,
            log: Vec::new(),
            names: BTreeMap::new(),
            masks: BTreeMap::new(),
            came: BTreeMap::new(),
            went: BTreeMap::new(),
            two: Vec::new(),
        };
        self.rooms.insert(id, hosted);
        id
    }

    fn other(&self, who: &str, channel: &str) -> MemberId {
        self.others[&(who.to_owned(), channel.to_owned())]
    }

    /// The message with that number, from 1, in a room.
    fn nth(&self, channel: &str, n: &str) -> MessageId {
        let hosted = &self.rooms[&self.number(&channel[1..]).expect("a room")];
        let mut said = hosted.log.iter().filter(|record| matches!(record.what, What::Said(_)));
        said.nth(n.parse::<usize>().expect("a number") - 1).expect("so many").id
    }

    fn says(&mut self, who: &str, channel: &str, body: Body) {
        let member = self.other(who, channel);
        self.named(channel).room.say(now(), member, &body).expect("it can be said");
        self.settle();
    }

    fn label_of(&self, nick: &str) -> Option<&String> {
        let is_it = |person: &Person| person.is_registered && person.view.nick.eq_ignore_ascii_case(nick);
        self.people.iter().find(|(_, person)| is_it(person)).map(|(label, _)| label)
    }

    fn view_of(&self, label: &str) -> PersonView {
        let person = &self.people[label];
        let channels =
            person.cursors.keys().map(|id| &self.rooms[id]).filter(|hosted| !hosted.is_conversation());
        PersonView { rooms: channels.map(Hosted::name).collect(), ..person.view.clone() }
    }

    fn room_view(&self, id: u64) -> RoomView {
        let room = &self.rooms[&id].room;
        let topic = room.topic().cloned();
        RoomView { name: room.name().to_string(), topic, created: NOW - 60_000 }
    }
}

/// Reads control characters as the script writes them.
fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some((before, hex)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(&hex[..2], 16).expect("two digits"));
        rest = &hex[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn escaped(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_ascii_control() { format!("\\x{:02x}", u32::from(c)) } else { c.into() })
        .collect()
}

/// One connection's sight of it.
struct Here<'a> {
    network: &'a mut Network,
    who: &'a str,
}

impl Here<'_> {
    fn person(&mut self) -> &mut Person {
        self.network.people.get_mut(self.who).expect("it is connected")
    }

    fn next_move(&mut self, kind: MoveKind) -> Arc<Move> {
        self.network.moves += 1;
        let nick = self.person().view.nick.clone();
        Arc::new(Move { number: self.network.moves, nick, kind })
    }

    fn targets(&self, request: &TargetsRequest) -> Vec<(String, u64)> {
        let named = self.network.people[self.who].cursors.keys().map(|id| match self.other(*id) {
            Some(other) => other,
            None => format!("#{}", self.network.rooms[id].name()),
        });
        let is_asked_for = request.from < NOW && NOW < request.to;
        named.filter(|_| is_asked_for).map(|target| (target, NOW)).take(request.limit).collect()
    }
}

impl IrcWorld for Here<'_> {
    fn now(&self) -> u64 {
        NOW
    }

    fn spend_change(&mut self) -> Result<(), Duration> {
        let left = self.network.changes.as_mut();
        left.map_or(Ok(()), |left| {
            left.checked_sub(1).map(|less| *left = less).ok_or(Duration::from_millis(19_500))
        })
    }

    fn claim(&mut self, nick: &Name) -> Result<(), Name> {
        let reading = Reading::of(nick.as_str());
        let others = self.network.people.iter().filter(|(who, _)| *who != self.who);
        let mut nicks = others.filter_map(|(_, person)| Name::parse(&person.view.nick, usize::MAX).ok());
        if let Some(like) = nicks.find(|other| Reading::of(other.as_str()).same_as(&reading)) {
            return Err(like);
        }
        // Of those in rooms, the ones that did not come by IRC.
        let members = self.network.rooms.values().flat_map(|hosted| {
            let others = hosted.room.members().into_iter();
            others.filter(|info| !hosted.masks.contains_key(&info.member)).map(|info| info.name)
        });
        let mut names = members.filter_map(|name| Name::parse(&name, usize::MAX).ok());
        names.find(|name| Reading::of(name.as_str()).same_as(&reading)).map_or(Ok(()), Err)
    }

    fn adopt(&mut self, nick: &Name) {
        self.person().view.nick = nick.to_string();
    }

    fn disclaim(&mut self, _: &Name) {}

    fn register(&mut self, user: &str) {
        let person = self.person();
        (person.is_registered, person.view.user) = (true, user.to_owned());
    }

    fn describe(&mut self, realname: Option<&str>, away: Option<Option<&str>>) {
        let person = self.person();
        if let Some(realname) = realname {
            person.view.realname = realname.to_owned();
        }
        if let Some(away) = away {
            person.view.away = away.map(str::to_owned);
        }
        let source = person.view.source();
        let rooms: Vec<_> = person.cursors.keys().copied().collect();
        let shares = |person: &&mut Person| rooms.iter().any(|id| person.cursors.contains_key(id));
        for session in self.network.people.values_mut().filter(shares).filter_map(|p| p.session.as_mut()) {
            if let Some(away) = away {
                session.away_changed(&source, away);
            }
            if let Some(realname) = realname {
                session.realname_changed(&source, realname);
            }
        }
    }

    fn person(&self, nick: &str) -> Option<PersonView> {
        self.network.label_of(nick).map(|label| self.network.view_of(label))
    }

    fn people(&self) -> usize {
        self.network.people.values().filter(|person| person.is_registered).count()
    }

    fn resolve(&self, room: &str) -> Option<String> {
        let names =
            || self.network.rooms.values().filter(|hosted| !hosted.is_conversation()).map(Hosted::name);
        names().find(|name| name == room).or_else(|| names().find(|name| name.eq_ignore_ascii_case(room)))
    }

    fn room_count(&self) -> usize {
        self.network.rooms.values().filter(|hosted| !hosted.is_conversation()).count()
    }

    fn rooms(&self, after: Option<&str>, max: usize) -> Vec<(String, u64, Option<String>)> {
        let rooms = self.network.rooms.values().filter(|hosted| !hosted.is_conversation());
        let described = |hosted: &Hosted| {
            let room = &hosted.room;
            (hosted.name(), room.members().len() as u64, room.topic().map(|topic| topic.text.clone()))
        };
        let mut rooms: Vec<_> = rooms.map(described).collect();
        rooms.sort();
        rooms.retain(|(name, ..)| after.is_none_or(|after| &name[..] > after));
        rooms.truncate(max);
        rooms
    }

    fn members(&mut self, room: &str, after: Option<MemberId>, max: usize) -> Vec<MemberView> {
        let network = &*self.network;
        let Some(id) = network.number(room) else { return Vec::new() };
        let is_in = |label: &&String| network.people[*label].cursors.contains_key(&id);
        let person = |name: &str| network.label_of(name).filter(is_in).map(|label| network.view_of(label));
        let members = network.rooms[&id].room.members_after(after, max).into_iter();
        let view = |info: MemberInfo| MemberView {
            member: info.member,
            person: person(&info.name),
            name: info.name,
        };
        members.map(view).collect()
    }

    fn look(&mut self, room: &str) -> Option<RoomView> {
        self.network.number(room).map(|id| self.network.room_view(id))
    }

    fn find(&self, nick: &str) -> Vec<String> {
        let rooms = self.network.rooms.values().filter(|hosted| !hosted.is_conversation());
        rooms.filter(|hosted| hosted.room.is_named(nick)).map(Hosted::name).collect()
    }

    fn could_join(&self, room: &str, name: &str) -> Result<(), JoinRefusal> {
        let Some(id) = self.network.number(room) else { return Ok(()) };
        self.network.rooms[&id].room.could_admit(name).map(drop).map_err(JoinRefusal::Room)
    }

    fn join(&mut self, room: &str, name: &str) -> Result<Joined, JoinRefusal> {
        let id = self.network.find_or_create(room).map_err(JoinRefusal::NoSuchRoom)?;
        let mask = self.person().view.mask().into();
        let hosted = self.network.hosted(id);
        let member = hosted.room.join_hosted(now(), name).map_err(JoinRefusal::Room)?;
        hosted.masks.insert(member, mask);
        let position = hosted.room.position();
        self.person().cursors.entry(id).or_insert(position);
        Ok(Joined { id, member, position, view: self.network.room_view(id) })
    }

    fn converse(&mut self, nick: &str) -> Result<(u64, MemberId), String> {
        let (own, other) =
            (self.who.to_owned(), self.network.label_of(nick).expect("it was looked up").clone());
        let id = match self.conversation(nick) {
            Some(id) => id,
            None => {
                let id = self.network.host(RoomName::of_conversation(self.network.rooms.len() as u64));
                let mut labels = vec![own.clone(), other];
                labels.dedup();
                for label in labels {
                    let PersonView { nick: name, .. } = self.network.people[&label].view.clone();
                    let mask = self.network.people[&label].view.mask().into();
                    let hosted = self.network.hosted(id);
                    let member = hosted.room.join_hosted(now(), &name).map_err(|error| error.to_string())?;
                    hosted.masks.insert(member, mask);
                    hosted.two.push((label.clone(), member));
                    let person = self.network.people.get_mut(&label).expect("somebody");
                    person.cursors.insert(id, Position::START);
                    if let Some(session) = &mut person.session {
                        session.addressed(id, member);
                    }
                }
                id
            }
        };
        let two = &self.network.rooms[&id].two;
        let (_, member) = two.iter().find(|(label, _)| *label == own).expect("it is in it");
        Ok((id, *member))
    }

    fn conversation(&self, nick: &str) -> Option<u64> {
        let is_with = |id: &&u64| self.other(**id).is_some_and(|other| other.eq_ignore_ascii_case(nick));
        self.network.people[self.who].cursors.keys().find(is_with).copied()
    }

    fn other(&self, id: u64) -> Option<String> {
        let two = &self.network.rooms.get(&id)?.two;
        let (label, _) = two.iter().find(|(label, _)| label != self.who).or(two.first())?;
        Some(self.network.people[label].view.nick.clone())
    }

    fn rename(&mut self, members: &mut [(u64, MemberId)], name: &Name) -> Result<(), (u64, JoinRefusal)> {
        let moved = self.next_move(MoveKind::Nick(name.to_string()));
        for (id, member) in members {
            let hosted = self.network.hosted(*id);
            let renamed = hosted.room.rename_hosted(now(), *member, name.as_str(), &format!("is {name} now"));
            let renamed = renamed.map_err(|error| (*id, JoinRefusal::Room(error)))?;
            let mask = hosted.masks[member].clone();
            hosted.masks.insert(renamed, mask);
            hosted.came.insert(renamed, moved.clone());
            hosted.went.insert(std::mem::replace(member, renamed), moved.clone());
        }
        Ok(())
    }

    fn invite(&mut self, nick: &str, channel: &str) -> bool {
        if self.network.invitations_wait {
            return false;
        }
        let source = self.person().view.source();
        let label = self.network.label_of(nick).expect("it was looked up").clone();
        let invited = self.network.people.get_mut(&label).expect("somebody");
        // Whoever invites itself is just being asked.
        invited.session.as_mut().map(|session| session.invited(&source, channel)).is_some()
    }

    fn quit(&mut self, reason: &str, told: &str) {
        let moved = self.next_move(MoveKind::Quit(told.to_owned()));
        let nick = self.person().view.nick.clone();
        let rooms: Vec<_> = self.person().cursors.keys().copied().collect();
        for id in rooms {
            let hosted = self.network.hosted(id);
            let is_own = |info: &MemberInfo| info.name == nick && !hosted.is_conversation();
            if let Some(info) = hosted.room.members().into_iter().find(is_own) {
                hosted.went.insert(info.member, moved.clone());
                hosted.room.part(now(), info.member, reason);
            }
        }
    }

    fn part(&mut self, id: u64, member: MemberId, reason: &str) {
        self.network.hosted(id).room.part(now(), member, reason);
    }

    fn say(&mut self, id: u64, member: MemberId, body: &Body) -> Result<MessageId, HostedSayError> {
        self.network.hosted(id).room.say(now(), member, body)
    }
}

/// Folds a room's log.
fn folded(log: &[HistoryRecord]) -> Fold {
    let mut fold = Fold::default();
    for record in log {
        fold.take(Said::from(record.clone()));
    }
    fold
}

/// Returns a record as it reads today.
fn stands(log: &[HistoryRecord], record: &HistoryRecord) -> HistoryRecord {
    let What::Said(body) = &record.what else { return record.clone() };
    let (standing, body) = folded(log).as_it_stands(record.id, body.clone());
    HistoryRecord { what: What::Said(body), standing, ..record.clone() }
}
