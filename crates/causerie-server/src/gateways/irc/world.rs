//! The world of one IRC session: its rooms, its conversations, and what it can ask for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use causerie_core::content::body::Body;
use causerie_core::content::name::Name;
use causerie_core::content::reading::Reading;
use causerie_core::id::Position;
use causerie_core::room::{HostedSayError, JoinError, Room};
use causerie_core::wire::MemberInfo;
use causerie_gateway::irc::{
    FoundRecord, HistoryRequest, IrcWorld, JoinRefusal, Joined, MemberView, Move, MoveKind, PersonView,
    RoomView, ServerView, TargetsRequest,
};
use cbcast::{MemberId, MessageId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::history;
use super::people::{Conversation, IrcPerson, People, PersonNews};
use super::rendering::{Traces, with_traces};
use crate::clock::Clock;
use crate::gateways::membership::SeatLost;
use crate::journal::unstored::Debts;
use crate::net::addresses::Visitor;
use crate::net::budget::{Bucket, Rate, warn_seldom};
use crate::rooms::access::{Right, Who};
use crate::rooms::directory::Maker;
use crate::rooms::error::RoomError;
use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::Follower;
use crate::server::{AGENT, Server};
use crate::settings::Protocol;

/// Conversations that a connection may have begun.
const CONVERSATIONS_MAX: usize = 100;
/// Changes of nick, realname and being away: as many as this at once, and as often as this in the long term.
const CHANGES: Rate = Rate::each(Duration::from_secs(100), 5).expect("not 0");

/// Returns what the server says of itself to a connection.
pub(super) fn server_view(server: &Server, person: &IrcPerson) -> ServerView {
    let settings = server.settings();
    let view = settings.irc.clone();
    ServerView {
        server: view.server_name,
        host: person.host(),
        network: view.network,
        version: AGENT.replace(' ', "-"),
        motd: view.motd,
        since: server.since,
        nick_max: settings.room.name_chars_max,
        text_max: settings.room.text_bytes_max,
        replay: view.history,
        encrypted_for: None,
    }
}

/// A room that the connection is in, and how far it has read there.
pub(super) struct JoinedRoom {
    pub(super) follower: Follower,
    pub(super) hosted: Arc<HostedRoom>,
    pub(super) cursor: Position,
    pub(super) changed: watch::Receiver<()>,
    /// Members as which it is in there, as long as it is.
    pub(super) members: Vec<MemberId>,
    /// The other one of a conversation.
    other: Option<Arc<IrcPerson>>,
    /// A conversation that this connection has begun.
    begun: bool,
}

impl JoinedRoom {
    fn new(hosted: Arc<HostedRoom>, cursor: Position) -> Self {
        with_traces(&hosted, Traces::enter);
        let follower = Follower::new(&hosted, cursor);
        Self {
            changed: hosted.subscribe(),
            follower,
            hosted,
            cursor,
            members: Vec::new(),
            other: None,
            begun: false,
        }
    }
}

impl Drop for JoinedRoom {
    fn drop(&mut self) {
        if !self.hosted.is_poisoned() {
            with_traces(&self.hosted, Traces::leave);
        }
    }
}

/// The world that a session can reach.
pub(super) struct GatewayWorld<'a> {
    pub(super) server: &'a Arc<Server>,
    people: &'a People,
    ip: IpAddr,
    pub(super) visitor: &'a Visitor,
    pub(super) person: Arc<IrcPerson>,
    /// By the rooms' numbers.
    pub(super) places: BTreeMap<u64, JoinedRoom>,
    /// Changes that have to be stored before the client is told anything.
    pub(super) debts: Debts,
    /// Budget for changes of who this is.
    changes: Bucket,
}

/// Takes who was in it out of a conversation; with the last one it goes.
fn leave_conversation(server: &Server, people: &People, hosted: &Arc<HostedRoom>, member: MemberId) {
    people.end_conversation(hosted);
    let is_empty = hosted.act(|room, now| {
        room.part(now, member, "");
        room.info(None).members == 0
    });
    if is_empty.told_by_its_record() {
        server.directory.close_conversation(hosted);
    }
}

fn view(hosted: &HostedRoom, room: &Room) -> RoomView {
    let name = room.name().to_string();
    RoomView { name, topic: room.topic().cloned(), created: hosted.row.created_millis }
}

/// However the session ends, it is in no room then, and has no nick.
impl Drop for GatewayWorld<'_> {
    fn drop(&mut self) {
        // Whatever panicked in a room itself, a second panic on the way out would end the server.
        self.places.retain(|_, place| !place.hosted.is_poisoned());
        self.quit("Connection closed", "Connection closed");
        // Behind that, since its members have the nick.
        for conversation in self.people.forget(&self.person) {
            let (member, _) = conversation.seen_by(&self.person);
            leave_conversation(self.server, self.people, &conversation.hosted, member);
        }
    }
}

impl<'a> GatewayWorld<'a> {
    pub(super) fn new(server: &'a Arc<Server>, people: &'a People, visitor: &'a Visitor, ip: IpAddr) -> Self {
        let person = people.begin(ip, Clock::start().now().wall_millis);
        let changes = Bucket::default();
        Self {
            server,
            people,
            ip,
            visitor,
            person,
            places: BTreeMap::new(),
            debts: Debts::default(),
            changes,
        }
    }

    /// Reads on in that conversation. Returns as whom.
    pub(super) fn enter(&mut self, conversation: &Conversation) -> MemberId {
        let (member, other) = conversation.seen_by(&self.person);
        let hosted = &conversation.hosted;
        self.places.entry(hosted.id.0).or_insert_with(|| {
            let mut place = JoinedRoom::new(Arc::clone(hosted), conversation.position);
            place.members.push(member);
            place.other = Some(Arc::clone(other));
            place.begun = conversation.was_begun_by(&self.person);
            place
        });
        member
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.places.remove(&id);
        self.person.state().rooms.remove(&id);
    }

    fn part_room(&mut self, id: u64, member: MemberId, reason: &str, moved: Option<&Arc<Move>>) {
        let hosted = Arc::clone(&self.places[&id].hosted);
        let parted = hosted.act(|room, now| {
            with_traces(&hosted, |traces| traces.went(member, moved.cloned()));
            room.part(now, member, reason);
        });
        parted.owed(&mut self.debts);
        let mut state = self.person.state();
        if state.rooms.get(&id).is_some_and(|(now, _)| *now == member) {
            state.rooms.remove(&id);
        }
    }

    /// Has the one member go and the other come, as a part of that move.
    fn rename_in(
        &mut self,
        id: u64,
        member: MemberId,
        name: &str,
        moved: &Arc<Move>,
    ) -> Result<MemberId, JoinRefusal> {
        let gone = || JoinRefusal::NoSuchRoom(SeatLost::RoomClosed.to_string());
        let place = self.places.get_mut(&id).ok_or_else(gone)?;
        let (hosted, mask) = (Arc::clone(&place.hosted), self.person.mask());
        let renamed = hosted.act(|room, now| {
            let renamed = room.rename_hosted(now, member, name, &format!("is {name} now"))?;
            with_traces(&hosted, |traces| {
                traces.came(renamed, mask, Some(Arc::clone(moved)));
                traces.went(member, Some(Arc::clone(moved)));
            });
            self.person.state().rooms.insert(id, (renamed, room.name().to_string()));
            Ok(renamed)
        });
        let renamed = renamed.owed(&mut self.debts).map_err(JoinRefusal::Room)?;
        place.members.retain(|before| *before != member);
        place.members.push(renamed);
        Ok(renamed)
    }

    pub(super) async fn history(&self, request: &HistoryRequest) -> Option<Vec<FoundRecord>> {
        let hosted = Arc::clone(&self.places.get(&request.room)?.hosted);
        history::window(&hosted, request)
            .await
            .inspect_err(|error| warn_seldom!("history for an IRC client cannot be read: {error}"))
            .ok()
    }

    pub(super) async fn targets(&self, request: &TargetsRequest) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        for place in self.places.values() {
            match history::newest(&place.hosted).await {
                Ok(Some(millis)) if request.from < millis && millis < request.to => {
                    let target = match &place.other {
                        Some(other) => other.nick(),
                        // A name is for life.
                        None => place.hosted.peek_unstored(|room| format!("#{}", room.name())),
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

impl IrcWorld for GatewayWorld<'_> {
    fn now(&self) -> u64 {
        Clock::start().now().wall_millis
    }

    fn spend_change(&mut self) -> Result<(), Duration> {
        match self.server.settings().irc.lines_per_second {
            0 => Ok(()),
            _ => self.changes.take(Instant::now(), CHANGES, 1).map(drop),
        }
    }

    fn claim(&mut self, nick: &Name) -> Result<(), Name> {
        let reading = Reading::of(nick.as_str());
        self.people.claim(&self.person, nick, &reading)?;
        let own = |id| self.person.state().rooms.get(&id).map(|(member, _)| *member);
        let Some(like) = self.server.directory.named_like(&reading, own) else { return Ok(()) };
        self.disclaim(nick);
        Err(like)
    }

    fn adopt(&mut self, nick: &Name) {
        self.people.adopt(&self.person, nick);
    }

    fn disclaim(&mut self, nick: &Name) {
        self.people.disclaim(&self.person, nick);
    }

    fn register(&mut self, user: &str) {
        let state = &mut *self.person.state();
        (state.is_registered, state.view.user) = (true, user.to_owned());
    }

    fn describe(&mut self, realname: Option<&str>, away: Option<Option<&str>>) {
        let news = PersonNews {
            realname: realname.map(str::to_owned),
            away: away.map(|away| away.map(str::to_owned)),
        };
        {
            let state = &mut *self.person.state();
            if let Some(realname) = &news.realname {
                state.view.realname.clone_from(realname);
            }
            if let Some(away) = &news.away {
                state.view.away.clone_from(away);
            }
        }
        self.people.tell(&self.person, &news);
    }

    fn person(&self, nick: &str) -> Option<PersonView> {
        self.people.named(nick)
    }

    fn people(&self) -> usize {
        self.people.count()
    }

    fn resolve(&self, room: &str) -> Option<String> {
        self.server.directory.resolve(Who::Anybody, room)
    }

    fn room_count(&self) -> usize {
        self.server.directory.count(Who::Anybody)
    }

    fn rooms(&self, after: Option<&str>, max: usize) -> Vec<(String, u64, Option<String>)> {
        self.server.directory.describe(Who::Anybody, after, max)
    }

    fn look(&mut self, room: &str) -> Option<RoomView> {
        let hosted = self.server.directory.open(Who::Anybody, room, Right::See).ok()?;
        Some(hosted.ask(|room| view(&hosted, room)).owed(&mut self.debts))
    }

    fn members(&mut self, room: &str, after: Option<MemberId>, max: usize) -> Vec<MemberView> {
        let found = self.server.directory.open(Who::Anybody, room, Right::Read);
        let Ok(hosted) = found else { return Vec::new() };
        let members = hosted.ask(|room| room.members_after(after, max)).owed(&mut self.debts);
        let id = hosted.id.0;
        let view = |info: MemberInfo| MemberView {
            member: info.member,
            person: self.people.member(id, info.member, &info.name),
            name: info.name,
        };
        members.into_iter().map(view).collect()
    }

    fn find(&self, nick: &str) -> Vec<String> {
        self.server.directory.rooms_of(Who::Anybody, nick)
    }

    fn could_join(&self, room: &str, name: &str) -> Result<(), JoinRefusal> {
        // A room that has gone meanwhile is made again.
        let found = self.server.directory.open(Who::Anybody, room, Right::Join);
        let Ok(hosted) = found else { return Ok(()) };
        // A name that somebody is about to have is taken; the join itself waits.
        hosted.peek_unstored(|room| room.could_admit(name).map(drop)).map_err(JoinRefusal::Room)
    }

    fn join(&mut self, room: &str, name: &str) -> Result<Joined, JoinRefusal> {
        self.visitor.join().map_err(|why| JoinRefusal::TooOften(why.to_string()))?;
        let found = self.server.directory.open_or_create(Who::Anybody, room, Maker::without_key(self.ip));
        let (hosted, _) = found.map_err(|error| match error {
            RoomError::Lockdown => JoinRefusal::Room(JoinError::Lockdown),
            error => JoinRefusal::NoSuchRoom(error.to_string()),
        })?;
        let (id, mask) = (hosted.id.0, self.person.mask());
        // It reads along before it is in: what is known of IRC's members is known as long as one of them does.
        let mut place = JoinedRoom::new(Arc::clone(&hosted), Position::START);
        let joined = hosted.act(|room, now| {
            let member = room.join_hosted(now, name)?;
            with_traces(&hosted, |traces| traces.came(member, mask, None));
            let position = room.position();
            self.person.state().rooms.insert(id, (member, room.name().to_string()));
            Ok(Joined { id, member, position, view: view(&hosted, room) })
        });
        let joined = joined.owed(&mut self.debts).map_err(JoinRefusal::Room)?;
        place.cursor = joined.position;
        place.members.push(joined.member);
        self.places.insert(id, place);
        Ok(joined)
    }

    fn rename(&mut self, members: &mut [(u64, MemberId)], name: &Name) -> Result<(), (u64, JoinRefusal)> {
        let old = self.person.nick();
        let moved = self.people.begin_move(&old, MoveKind::Nick(name.to_string()));
        for at in 0..members.len() {
            let (id, member) = members[at];
            match self.rename_in(id, member, name.as_str(), &moved) {
                Ok(renamed) => members[at].1 = renamed,
                Err(refusal) => {
                    // Somebody without an IRC client has taken the name just now.
                    let back = self.people.begin_move(name.as_str(), MoveKind::Nick(old.clone()));
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
        self.people.invite(&self.person, nick, channel)
    }

    fn part(&mut self, id: u64, member: MemberId, reason: &str) {
        let Some(place) = self.places.get_mut(&id) else { return };
        place.members.retain(|other| *other != member);
        if place.other.is_some() {
            return leave_conversation(self.server, self.people, &place.hosted, member);
        }
        self.part_room(id, member, reason, None);
    }

    fn quit(&mut self, reason: &str, told: &str) {
        let moved = self.people.begin_move(&self.person.nick(), MoveKind::Quit(told.to_owned()));
        let places = self.places.iter_mut();
        let members = places.flat_map(|(id, place)| place.members.drain(..).map(|member| (*id, member)));
        for (id, member) in members.collect::<Vec<_>>() {
            let place = &self.places[&id];
            match place.other.is_some() {
                true => leave_conversation(self.server, self.people, &place.hosted, member),
                false => self.part_room(id, member, reason, Some(&moved)),
            }
        }
    }

    fn converse(&mut self, nick: &str) -> Result<(u64, MemberId), String> {
        let begun = self.places.values().filter(|place| place.begun).count();
        let (server, ip, own) = (self.server, self.ip, self.person.nick());
        let conversation = self.people.converse(&self.person, nick, |other| {
            if begun >= CONVERSATIONS_MAX {
                return Err("you have begun too many conversations".to_owned());
            }
            let hosted = server
                .directory
                .create_conversation(Maker::without_key(ip))
                .map_err(|error| error.to_string())?;
            let (masks, other) = ([self.person.mask(), other.mask()], other.nick());
            let joined = hosted.act(|room, now| {
                let one = room.join_hosted(now, &own)?;
                let two = if own == other { one } else { room.join_hosted(now, &other)? };
                let members = [one, two].into_iter().zip(masks);
                members.for_each(|(member, mask)| {
                    with_traces(&hosted, |traces| traces.came(member, mask, None))
                });
                Ok((one, two, room.position()))
            });
            // Neither is told: who has something to say there reads it there.
            match joined.told_by_its_record() {
                Ok((one, two, position)) => Ok((hosted, [one, two], position)),
                Err::<_, JoinError>(error) => {
                    server.directory.close_conversation(&hosted);
                    Err(error.to_string())
                }
            }
        })?;
        let conversation = conversation.ok_or_else(|| format!("{nick} has just gone"))?;
        Ok((conversation.hosted.id.0, self.enter(&conversation)))
    }

    fn conversation(&self, nick: &str) -> Option<u64> {
        let nick = nick.to_lowercase();
        let is_with = |place: &&JoinedRoom| {
            place.other.as_ref().is_some_and(|other| other.nick().to_lowercase() == nick)
        };
        self.places.values().find(is_with).map(|place| place.hosted.id.0)
    }

    fn other(&self, id: u64) -> Option<String> {
        Some(self.places.get(&id)?.other.as_ref()?.nick())
    }

    fn say(&mut self, id: u64, member: MemberId, body: &Body) -> Result<MessageId, HostedSayError> {
        let said = match self.places.get(&id) {
            Some(place) => place.hosted.act(|room, now| room.say(now, member, body)).told_by_its_record(),
            None => Err(HostedSayError::NotHere),
        };
        said.inspect_err(|error| self.server.metrics.refused(Protocol::Irc, error.into()))
    }
}
