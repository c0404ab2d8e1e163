//! An IRC client's bytes, in reads of any size, and whatever is said in its rooms: every line to it is one line.
#![no_main]

use std::collections::BTreeMap;
use std::iter::from_fn;
use std::time::Duration;

use arbitrary::Arbitrary;
use causerie_core::content::body::Body;
use causerie_core::content::name::{Name, RoomName};
use causerie_core::log::page::Standing;
use causerie_core::log::page::{HistoryRecord, What};
use causerie_core::room::{HostedSayError, Now, Room, RoomSettings};
use causerie_gateway::irc::{
    FoundRecord, IrcItem, IrcLines, IrcRendering, IrcSession, IrcWorld, JoinRefusal, Joined, LINE_BYTES_MAX,
    MemberView, Move, MoveKind, PersonView, RoomView, ServerView, SessionNeed,
};
use cbcast::{MemberId, MessageId};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// It negotiates everything and registers before it goes on.
    registered: bool,
    reads: Vec<&'a [u8]>,
    said: Vec<(u8, &'a str)>,
}

/// What no channel can be called.
const CONVERSATION: &str = "";

/// Real rooms, without a store.
#[derive(Default)]
struct Rooms(BTreeMap<String, (u64, Room)>);

impl Rooms {
    fn by_id(&mut self, id: u64) -> Option<&mut Room> {
        self.0.values_mut().find(|(other, _)| *other == id).map(|(_, room)| room)
    }
}

fn view(room: &Room) -> RoomView {
    RoomView { name: room.name().to_string(), topic: room.topic().cloned(), created: 1 }
}

impl IrcWorld for Rooms {
    fn now(&self) -> u64 {
        0
    }

    fn spend_change(&mut self) -> Result<(), Duration> {
        Ok(())
    }

    fn claim(&mut self, nick: &Name) -> Result<(), Name> {
        if nick.as_str().eq_ignore_ascii_case("taken") { Err(nick.clone()) } else { Ok(()) }
    }

    fn adopt(&mut self, _: &Name) {}

    fn disclaim(&mut self, _: &Name) {}

    fn register(&mut self, _: &str) {}

    fn describe(&mut self, _: Option<&str>, _: Option<Option<&str>>) {}

    fn person(&self, nick: &str) -> Option<PersonView> {
        (nick == "Ann").then(PersonView::default)
    }

    fn people(&self) -> usize {
        1
    }

    fn resolve(&self, room: &str) -> Option<String> {
        self.0.keys().find(|name| name.eq_ignore_ascii_case(room)).cloned()
    }

    fn room_count(&self) -> usize {
        self.0.keys().filter(|name| *name != CONVERSATION).count()
    }

    fn rooms(&self, after: Option<&str>, max: usize) -> Vec<(String, u64, Option<String>)> {
        let channels = self.0.iter().filter(|(name, _)| *name != CONVERSATION);
        let channels = channels.filter(|(name, _)| after.is_none_or(|after| &name[..] > after)).take(max);
        channels
            .map(|(name, (_, room))| (name.clone(), 1, room.topic().map(|topic| topic.text.clone())))
            .collect()
    }

    fn members(&mut self, room: &str, after: Option<MemberId>, max: usize) -> Vec<MemberView> {
        let members = self.0.get(room).map_or_else(Vec::new, |(_, room)| room.members_after(after, max));
        members.into_iter().map(|m| MemberView { member: m.member, name: m.name, person: None }).collect()
    }

    fn look(&mut self, room: &str) -> Option<RoomView> {
        self.0.get(room).map(|(_, room)| view(room))
    }

    fn find(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn could_join(&self, room: &str, name: &str) -> Result<(), JoinRefusal> {
        let room = self.0.get(room);
        room.map_or(Ok(()), |(_, room)| room.could_admit(name).map(drop).map_err(JoinRefusal::Room))
    }

    fn join(&mut self, room: &str, name: &str) -> Result<Joined, JoinRefusal> {
        let parsed = RoomName::parse(room).map_err(|error| JoinRefusal::NoSuchRoom(error.to_string()))?;
        let id = self.0.len() as u64;
        let make =
            || (id, Room::new(parsed, 0, causerie_core::id::Epoch::new(1), RoomSettings::default(), false));
        let (id, room) = self.0.entry(room.to_owned()).or_insert_with(make);
        let member = room.join_hosted(Now::default(), name).map_err(JoinRefusal::Room)?;
        Ok(Joined { id: *id, member, position: room.position(), view: view(room) })
    }

    fn rename(&mut self, members: &mut [(u64, MemberId)], name: &Name) -> Result<(), (u64, JoinRefusal)> {
        for (id, member) in members {
            let room = self.by_id(*id).ok_or((*id, JoinRefusal::NoSuchRoom("gone".into())))?;
            let next = room.rename_hosted(Now::default(), *member, name.as_str(), "");
            *member = next.map_err(|error| (*id, JoinRefusal::Room(error)))?;
        }
        Ok(())
    }

    fn invite(&mut self, _: &str, channel: &str) -> bool {
        channel.len() % 2 == 0
    }

    fn converse(&mut self, nick: &str) -> Result<(u64, MemberId), String> {
        if self.person(nick).is_none() {
            return Err("nobody is called that".to_owned());
        }
        let id = self.0.len() as u64;
        let make = || {
            (
                id,
                Room::new(
                    RoomName::parse("talk").expect("a name"),
                    0,
                    causerie_core::id::Epoch::new(1),
                    RoomSettings::default(),
                    false,
                ),
            )
        };
        let (id, room) = self.0.entry(CONVERSATION.to_owned()).or_insert_with(make);
        let member = match room.members().first() {
            Some(own) => own.member,
            None => room.join_hosted(Now::default(), nick).map_err(|error| error.to_string())?,
        };
        Ok((*id, member))
    }

    fn conversation(&self, nick: &str) -> Option<u64> {
        self.0.get(CONVERSATION).filter(|_| self.person(nick).is_some()).map(|(id, _)| *id)
    }

    fn other(&self, id: u64) -> Option<String> {
        (self.conversation("Ann") == Some(id)).then(|| "Ann".to_owned())
    }

    fn part(&mut self, id: u64, member: MemberId, reason: &str) {
        if let Some(room) = self.by_id(id) {
            room.part(Now::default(), member, reason);
        }
    }

    fn quit(&mut self, reason: &str, _: &str) {
        for (_, room) in self.0.values_mut() {
            for member in room.members() {
                room.part(Now::default(), member.member, reason);
            }
        }
    }

    fn say(&mut self, id: u64, member: MemberId, body: &Body) -> Result<MessageId, HostedSayError> {
        self.by_id(id).ok_or(HostedSayError::NotHere)?.say(Now::default(), member, body)
    }
}

/// Lines, each of them one, and no longer than it may be.
fn check(output: &[u8]) {
    let text = std::str::from_utf8(output).expect("UTF-8");
    let Some(text) = text.strip_suffix("\r\n") else { return assert!(text.is_empty(), "{text:?}") };
    for line in text.split("\r\n") {
        assert!(!line.is_empty() && !line.contains(['\r', '\n', '\0']), "{line:?}");
        let body = match line.strip_prefix('@') {
            Some(tagged) => tagged.split_once(' ').expect("something behind the tags").1,
            None => line,
        };
        assert!(body.len() <= LINE_BYTES_MAX - 2, "{line:?}");
    }
}

fuzz_target!(|input: Input<'_>| {
    let mut lines = IrcLines::default();
    let mut items = Vec::new();
    for read in &input.reads {
        lines.push(read);
        let before = items.len();
        items.extend(from_fn(|| lines.poll_item()));
        assert!(items.len() - before <= read.len(), "more items than bytes");
    }
    let whole = input.reads.concat();
    let mut again = IrcLines::default();
    again.push(&whole);
    assert_eq!(items, Vec::from_iter(from_fn(|| again.poll_item())));

    let mut world = Rooms::default();
    let mut session = IrcSession::new(ServerView {
        server: "irc.example".into(),
        network: "Example".into(),
        version: "v".into(),
        nick_max: 32,
        text_max: 16 << 10,
        replay: 50,
        ..ServerView::default()
    });
    let first = b"CAP REQ :batch message-tags server-time echo-message labeled-response draft/multiline standard-replies \
        draft/chathistory draft/message-redaction draft/read-marker setname\r\nCAP END\r\nNICK Ann\r\nUSER a 0 * :A\r\nJOIN #a\r\n";
    let mut greeting = IrcLines::default();
    greeting.push(if input.registered { first } else { b"" });
    let mut taken = 0;
    for item in from_fn(|| greeting.poll_item()).chain(items) {
        if session.has_ended() {
            break;
        }
        let is_line = matches!(item, IrcItem::Message(_));
        session.handle(&mut world, item);
        while let Some(need) = session.poll_need() {
            match need {
                SessionNeed::History(request) => {
                    assert!(is_line && request.limit <= causerie_gateway::irc::HISTORY_MAX);
                    session.history(&world, &request, None);
                }
                SessionNeed::Targets(_) => session.targets(&[("a".into(), 1)]),
            }
        }
        session.finish();
        check(&session.take_output().concat());
        if let Some((kind, text)) = input.said.get(taken) {
            taken += 1;
            let seats: Vec<_> = session.seats().collect();
            let raj = MemberId::new(0, 9_999);
            let id = MessageId::new(raj, taken as u64);
            let text = (*text).to_owned();
            let body = match kind % 9 {
                0 => Body::Text(text),
                1 => Body::Action(text),
                2 => Body::Reply { to: id, text },
                3 => Body::Edit { of: id, text },
                4 => Body::Delete { of: id, reason: text },
                5 => Body::Reaction { to: id, symbol: text, set: kind & 8 == 0 },
                6 => Body::Topic(text),
                7 => Body::Notice(text),
                _ => Body::Unknown(text.into()),
            };
            let what = match kind / 16 {
                0 => What::Joined,
                1 => What::Left { reason: body.text().unwrap_or_default().to_owned() },
                _ => What::Said(body),
            };
            let name = if kind & 32 == 0 { "Raj".to_owned() } else { "R a:j!@".to_owned() };
            let standing = Standing::default();
            let record = HistoryRecord {
                position: causerie_core::id::Position::FIRST,
                time_millis: 1,
                id,
                deps: Vec::new(),
                member: raj,
                name,
                what,
                standing,
            };
            let about = Some(("Raj".to_owned(), "a\r\nb".to_owned()));
            let words = record.name.clone();
            let moved = match kind % 5 {
                0 => Some(Move { number: taken as u64, nick: words, kind: MoveKind::Quit("a\r\nb".into()) }),
                1 => Some(Move { number: taken as u64, nick: words, kind: MoveKind::Nick("a b!".into()) }),
                _ => None,
            };
            let mask = (kind % 3 == 0).then(|| "~raj@raj.example".into());
            let found = [FoundRecord { record, about, mask, moved: moved.map(Into::into) }];
            for (room, _) in seats {
                let rendering =
                    session.perspective(room).map(|perspective| IrcRendering::new(perspective, &found));
                session.records(&mut world, room, &found, rendering.as_ref());
            }
            check(&session.take_output().concat());
        }
    }
    session.end("The server is shutting down");
    check(&session.take_output().concat());
});
