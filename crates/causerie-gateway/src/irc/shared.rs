//! Records of a room as lines, rendered once for all sessions to whom they read alike.

use bytes::Bytes;
use cbcast::MessageId;

use super::capability::Capabilities;
use super::moved::FoundRecord;
use super::render::Viewer;
use causerie_core::log::page::What;

/// View of a room by a session. To all with the same perspective it reads alike, but for what they do themselves, and for what
/// [`IrcRendering`] leaves to each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Perspective {
    pub(super) capabilities: Capabilities,
    pub(super) server: String,
    pub(super) channel: String,
    pub(super) id: u64,
}

/// Neighbouring records, as they read in a perspective.
#[derive(Clone, Debug)]
pub struct IrcRendering {
    perspective: Perspective,
    lines: Bytes,
    places: Vec<SaidSpan>,
}

/// Place of one record's lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct SaidSpan {
    /// Message that it says; `None`: each session is told it by itself.
    pub(super) said: Option<MessageId>,
    /// End of its lines.
    pub(super) end: usize,
}

impl IrcRendering {
    /// Renders records of the perspective's room.
    #[must_use]
    pub fn new(perspective: Perspective, found: &[FoundRecord]) -> Self {
        let Perspective { capabilities, server, channel, id } = &perspective;
        let (capabilities, id) = (*capabilities, *id);
        let viewer =
            Viewer { capabilities, server, target: channel, id, is_conversation: false, replayed: false };
        let mut lines = Vec::new();
        let mut place = |found: &FoundRecord| {
            // Who comes or goes may be known to the session, and batches have names of the session's.
            let said = matches!(found.record.what, What::Said(_)).then(|| {
                let rendered = viewer.render(found, "", String::new);
                (!rendered.batched).then_some(rendered.lines)
            });
            let said = said.flatten().map(|rendered| {
                rendered.iter().for_each(|line| line.encode(&mut lines));
                found.record.id
            });
            SaidSpan { said, end: lines.len() }
        };
        let places = found.iter().map(&mut place).collect();
        Self { perspective, lines: lines.into(), places }
    }

    /// In whose eyes.
    #[must_use]
    pub fn perspective(&self) -> &Perspective {
        &self.perspective
    }

    /// The lines of all, one after the other.
    pub(super) fn lines(&self) -> &Bytes {
        &self.lines
    }

    /// Returns the places by record.
    pub(super) fn places(&self) -> &[SaidSpan] {
        &self.places
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use causerie_core::id::Position;
    use cbcast::MemberId;
    use proptest::prelude::*;

    use super::super::capability::OFFERED;
    use super::super::{
        IrcItem, IrcMessage, IrcSession, IrcWorld, JoinRefusal, Joined, MemberView, PersonView, RoomView,
        ServerView,
    };
    use super::*;
    use causerie_core::content::body::Body;
    use causerie_core::content::name::Name;
    use causerie_core::log::page::HistoryRecord;
    use causerie_core::log::page::Standing;
    use causerie_core::room::HostedSayError;

    const ROOM: u64 = 7;
    const OWN: MemberId = MemberId::new(0, 1);
    const NEXT: MemberId = MemberId::new(0, 2);

    /// One room; who changes its nick comes as the next member. How many have joined, and how often something was said.
    struct Lobby(u32, u64);

    impl IrcWorld for Lobby {
        fn now(&self) -> u64 {
            0
        }
        fn spend_change(&mut self) -> Result<(), Duration> {
            Ok(())
        }
        fn claim(&mut self, _: &Name) -> Result<(), Name> {
            Ok(())
        }
        fn adopt(&mut self, _: &Name) {}
        fn disclaim(&mut self, _: &Name) {}
        fn register(&mut self, _: &str) {}
        fn describe(&mut self, _: Option<&str>, _: Option<Option<&str>>) {}
        fn person(&self, nick: &str) -> Option<PersonView> {
            let away = Some("at lunch".to_owned());
            (nick == "Raj").then(|| PersonView { nick: nick.into(), away, ..PersonView::default() })
        }
        fn people(&self) -> usize {
            1
        }
        fn resolve(&self, _: &str) -> Option<String> {
            None
        }
        fn room_count(&self) -> usize {
            1
        }
        fn rooms(&self, _: Option<&str>, _: usize) -> Vec<(String, u64, Option<String>)> {
            Vec::new()
        }
        fn members(&mut self, _: &str, _: Option<MemberId>, _: usize) -> Vec<MemberView> {
            Vec::new()
        }
        fn look(&mut self, _: &str) -> Option<RoomView> {
            None
        }
        fn find(&self, _: &str) -> Vec<String> {
            Vec::new()
        }
        fn could_join(&self, _: &str, _: &str) -> Result<(), JoinRefusal> {
            Ok(())
        }
        fn join(&mut self, room: &str, _: &str) -> Result<Joined, JoinRefusal> {
            self.0 += 1;
            let view = RoomView { name: room.to_owned(), ..RoomView::default() };
            Ok(Joined { id: ROOM, member: MemberId::new(0, self.0), position: Position::FIRST, view })
        }
        fn rename(&mut self, members: &mut [(u64, MemberId)], _: &Name) -> Result<(), (u64, JoinRefusal)> {
            self.0 += 1;
            members.iter_mut().for_each(|(_, member)| *member = MemberId::new(0, self.0));
            Ok(())
        }
        fn invite(&mut self, _: &str, _: &str) -> bool {
            true
        }
        fn converse(&mut self, _: &str) -> Result<(u64, MemberId), String> {
            Err("nobody else is there".to_owned())
        }
        fn conversation(&self, _: &str) -> Option<u64> {
            None
        }
        fn other(&self, _: u64) -> Option<String> {
            None
        }
        fn part(&mut self, _: u64, _: MemberId, _: &str) {}
        fn quit(&mut self, _: &str, _: &str) {}
        fn say(&mut self, _: u64, member: MemberId, _: &Body) -> Result<MessageId, HostedSayError> {
            self.1 += 1;
            Ok(MessageId::new(member, self.1))
        }
    }

    /// In the room, with these of the capabilities that are offered, and with what it has said before it took another nick.
    fn session(capabilities: Capabilities) -> (IrcSession, Lobby) {
        let (mut session, mut lobby) = (
            IrcSession::new(ServerView {
                server: "irc.example".into(),
                host: "ann.example".into(),
                nick_max: 9,
                text_max: 999,
                ..ServerView::default()
            }),
            Lobby(0, 0),
        );
        let names = capabilities.names().collect::<Vec<_>>().join(" ");
        let lines = [
            &format!("CAP REQ :{names}"),
            "NICK Ann",
            "USER ann 0 * :Ann",
            "CAP END",
            "JOIN #lobby",
            "@label=x PRIVMSG #lobby :labelled",
            "PRIVMSG #lobby :not labelled",
            "NICK Annie",
        ];
        for line in lines {
            session.handle(&mut lobby, IrcItem::Message(IrcMessage::parse(line).expect("a line")));
            while session.has_more() {
                session.go_on(&mut lobby);
            }
            session.finish();
        }
        session.take_output();
        (session, lobby)
    }

    fn capabilities() -> impl Strategy<Value = Capabilities> {
        (0u32..1 << OFFERED.len()).prop_map(Capabilities)
    }

    fn body() -> impl Strategy<Value = Body> {
        let to = MessageId::new(MemberId::new(0, 3), 1);
        let text = prop_oneof![
            "[a-z\u{1} ]{0,9}",
            Just("two\nlines".to_owned()),
            (300usize..900).prop_map(|length| "word ".repeat(length / 5)),
        ];
        (0..9, text).prop_map(move |(kind, text)| match kind {
            0 | 1 => Body::Text(text),
            2 => Body::Action(text),
            3 => Body::Notice(text),
            4 => Body::Reply { to, text },
            5 => Body::Edit { of: to, text },
            6 => Body::Delete { of: to, reason: text },
            7 => Body::Reaction { to, symbol: "\u{1f44d}".into(), set: text.len() % 2 == 0 },
            _ => Body::Topic(text),
        })
    }

    /// Makes records by strangers, by this connection, and by whom it was before.
    fn found() -> impl Strategy<Value = Vec<FoundRecord>> {
        let what = prop_oneof![
            8 => body().prop_map(What::Said),
            1 => Just(What::Joined),
            1 => Just(What::Left { reason: "tired".into() }),
        ];
        let about = prop_oneof![Just(None), Just(Some(("Zoe".to_owned(), "what?".to_owned())))];
        let record = (1u32..6, 1u64..4, what, about);
        prop::collection::vec(record, 0..12).prop_map(|records| {
            let record = |(n, (member, seq, what, about)): (usize, (u32, u64, What, _))| {
                let member = MemberId::new(0, member);
                let name = if member == OWN || member == NEXT { "Ann" } else { "Raj" }.to_owned();
                let (position, deps) = (n as u64 + 2, Vec::new());
                let id = MessageId::new(member, seq);
                let mask = (member == OWN || member == NEXT).then(|| "~ann@ann.example".into());
                let record = HistoryRecord {
                    position: Position::new(position),
                    time_millis: 86_400_000,
                    id,
                    deps,
                    member,
                    name,
                    what,
                    standing: Standing::AsSaid,
                };
                FoundRecord { record, about, mask, moved: None }
            };
            records.into_iter().enumerate().map(record).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_shared_is_what_each_would_be_told(capabilities in capabilities(), found in found()) {
            let (mut sharing, mut world) = session(capabilities);
            let mut alone = sharing.clone();
            let perspective = sharing.perspective(ROOM).expect("it is in the room");
            let rendering = IrcRendering::new(perspective, &found);
            sharing.records(&mut world, ROOM, &found, Some(&rendering));
            alone.records(&mut world, ROOM, &found, None);
            let text =
                |session: &mut IrcSession| String::from_utf8(session.take_output().concat()).expect("text");
            prop_assert_eq!(text(&mut sharing), text(&mut alone));
            prop_assert_eq!(sharing.perspective(ROOM), alone.perspective(ROOM));
        }

        #[test]
        fn equal_perspectives_are_equal_lines(one in capabilities(), other in capabilities(), found in found()) {
            // Whatever both have of what counts, and each its own of what does not.
            let counts = super::super::render::shown_by(Capabilities(u32::MAX));
            let other = other.without(counts) | one.only(counts);
            let ((mut one, mut world), (mut other, _)) = (session(one), session(other));
            let is_strangers =
                |f: &FoundRecord| {
                    ![OWN, NEXT].contains(&f.record.member) && matches!(f.record.what, What::Said(_))
                };
            let strangers: Vec<_> = found.into_iter().filter(is_strangers).collect();
            prop_assert_eq!(one.perspective(ROOM), other.perspective(ROOM));
            one.records(&mut world, ROOM, &strangers, None);
            other.records(&mut world, ROOM, &strangers, None);
            prop_assert_eq!(one.take_output().concat(), other.take_output().concat());
        }
    }

    #[test]
    fn what_strangers_say_is_one_piece_for_all() {
        let record = |seq, member| {
            let (id, what) = (MessageId::new(member, seq), What::Said(Body::Text(format!("text {seq}"))));
            let (position, name, deps) = (seq, "Raj".to_owned(), Vec::new());
            let record = HistoryRecord {
                position: Position::new(position),
                time_millis: 0,
                id,
                deps,
                member,
                name,
                what,
                standing: Standing::AsSaid,
            };
            FoundRecord { record, about: None, mask: None, moved: None }
        };
        let found: Vec<_> =
            (1..=100).map(|n| record(n, if n == 50 { NEXT } else { MemberId::new(0, 9) })).collect();
        let (mut one, mut world) = session(Capabilities::default());
        let (mut other, _) = session(Capabilities::ECHO_MESSAGE);
        let rendering = IrcRendering::new(one.perspective(ROOM).expect("it is in the room"), &found);
        one.records(&mut world, ROOM, &found, Some(&rendering));
        other.records(&mut world, ROOM, &found, Some(&rendering));
        let (one, other) = (one.take_output(), other.take_output());
        assert_eq!(
            (one.len(), other.len()),
            (2, 1),
            "cut where its own is, which only the other wants to hear"
        );
        assert_eq!(other[0].as_ptr(), one[0].as_ptr(), "not a copy");
    }
}
