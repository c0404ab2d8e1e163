//! What a server says that means no good costs a client no more than its limits, and is told.

use std::time::Duration;

use causerie_core::content::body::Body;
use causerie_core::content::name::RoomName;
use causerie_core::id::{Epoch, Position};
use causerie_core::key::Challenge;
use causerie_core::room::{Now, Room, RoomSettings};
use causerie_core::session::{End, Event, Session, SessionConfig, SessionOutput};
use causerie_core::wire::{ClientFrame, Delivered, ErrorCode, ErrorFrame, ServerFrame, VERSION, Welcome};
use cbcast::{Kind, MemberId, Message, MessageId, MissingRange, Time};

const HOST: MemberId = MemberId::host(0);

/// Raj's session, live, in a room that only he is in.
fn live(heartbeat: Option<Duration>) -> (Session, Welcome) {
    let mut config = SessionConfig::new("lobby", "Raj", || [7; 32]);
    config.heartbeat = heartbeat;
    let mut session = Session::new(config);
    session.connected();
    let (agent, challenge) = ("test".into(), Challenge::default());
    session.handle_frame(Time::ZERO, ServerFrame::Hello { version: VERSION, agent, challenge });
    let mut room =
        Room::new(RoomName::parse("lobby").unwrap(), 0, Epoch::new(7), RoomSettings::default(), false);
    let (_, welcome) = room.join(Now::default(), "Raj", [1; 32], None).unwrap();
    session.handle_frame(Time::ZERO, ServerFrame::Welcome(Box::new(welcome.clone())));
    let joined = record(1, HOST, 1, Kind::Joined(welcome.member), b"Raj");
    say(&mut session, joined);
    drain(&mut session);
    assert!(session.is_live());
    (session, welcome)
}

fn record(position: u64, from: MemberId, seq: u64, kind: Kind, payload: &[u8]) -> ServerFrame {
    let message = Message::new(MessageId::new(from, seq), kind, &[], payload).unwrap();
    ServerFrame::Delivered(Delivered {
        position: Position::new(position),
        time_millis: 0,
        packet: message.into_packet(),
    })
}

fn say(session: &mut Session, frame: ServerFrame) {
    session.received(&frame);
    session.handle_frame(Time::ZERO, frame);
}

fn drain(session: &mut Session) -> (Vec<Event>, Vec<ClientFrame>) {
    let (mut events, mut frames) = (Vec::new(), Vec::new());
    while let Some(output) = session.poll_output() {
        match output {
            SessionOutput::Event(event) => events.push(event),
            SessionOutput::Send(frame) => frames.push(frame),
            SessionOutput::HangUp(_) => {}
        }
    }
    (events, frames)
}

#[test]
fn a_jump_in_live_positions_is_a_gap() {
    let (mut session, welcome) = live(None);
    let ann = MemberId::new(0, welcome.member.ordinal + 1);
    say(&mut session, record(2, HOST, 2, Kind::Joined(ann), b"Ann"));
    say(&mut session, record(3, ann, 1, Kind::Data, b"\x01one"));
    // 4 to 8 do not come.
    say(&mut session, record(9, ann, 2, Kind::Data, b"\x01two"));
    say(&mut session, record(10, ann, 3, Kind::Data, b"\x01three"));
    let told: Vec<_> = drain(&mut session)
        .0
        .into_iter()
        .filter_map(|event| match event {
            Event::Placed { position, .. } => Some(position.to_string()),
            Event::Gap { from, to } => Some(format!("gap {from} to {to}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["2", "3", "gap 4 to 8", "9", "10"]);
}

#[test]
fn positions_that_never_come_are_given_up_where_messages_may_overtake_each_other() {
    let (mut session, welcome) = live(Some(Duration::from_millis(500)));
    let ann = MemberId::new(0, welcome.member.ordinal + 1);
    say(&mut session, record(2, HOST, 2, Kind::Joined(ann), b"Ann"));
    let mut gaps = Vec::new();
    for seq in 1..200_000 {
        say(&mut session, record(seq + 8, ann, seq, Kind::Data, b"\x01on"));
        let events = drain(&mut session).0.into_iter();
        gaps.extend(events.filter(|event| matches!(event, Event::Gap { .. })));
    }
    assert_eq!(gaps, [Event::Gap { from: Position::new(3), to: Position::new(8) }]);
}

#[test]
fn members_without_end_end_the_session() {
    for history in [false, true] {
        let (mut session, welcome) = live(None);
        if history {
            // As if all of it had been before.
            session.disconnected("gone".into(), Duration::ZERO);
            session.connected();
            let (agent, challenge) = ("test".into(), Challenge::default());
            session.handle_frame(Time::ZERO, ServerFrame::Hello { version: VERSION, agent, challenge });
            let (first, position) = (2, u64::MAX >> 1);
            let welcome =
                Welcome { first: Position::new(first), position: Position::new(position), ..welcome.clone() };
            session.handle_frame(Time::ZERO, ServerFrame::Welcome(Box::new(welcome)));
        }
        let mut ended = None;
        let name = "x".repeat(1_000);
        for n in 2.. {
            let member = MemberId::new(0, n + 10);
            say(&mut session, record(n.into(), HOST, n.into(), Kind::Joined(member), name.as_bytes()));
            let events = drain(&mut session).0.into_iter();
            ended = ended.or(events.into_iter().find(|event| matches!(event, Event::Ended(_))));
            if ended.is_some() {
                assert!(n < 20_000, "16 MiB of names is what a client spends on them");
                break;
            }
        }
        assert!(matches!(ended, Some(Event::Ended(End::Protocol(_)))), "{ended:?}");
    }
}

#[test]
fn an_answer_to_a_request_is_bounded_however_much_is_asked_for() {
    let (mut session, welcome) = live(None);
    for _ in 0..200 {
        session.say(Time::ZERO, &Body::Text("x".repeat(16_000))).unwrap();
    }
    drain(&mut session);
    let all = MissingRange { member: welcome.member, from: 1, to: u64::MAX };
    say(&mut session, ServerFrame::Want(vec![all; 10_000]));
    let packets = drain(&mut session).1.into_iter();
    let bytes: usize = packets
        .map(|frame| match frame {
            ClientFrame::Broadcast(packet) => packet.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert!((16_000..=256 << 10).contains(&bytes), "{bytes}");
}

#[test]
fn clocks_and_copies_leave_nothing_behind() {
    let (mut session, welcome) = live(None);
    for n in 0..10_000 {
        let clock = [(HOST, n), (welcome.member, 0), (MemberId::new(9, 9), n)].into_iter().collect();
        say(&mut session, ServerFrame::Clock(clock));
        say(&mut session, record(1, HOST, 1, Kind::Joined(welcome.member), b"Raj"));
        assert_eq!(drain(&mut session), (Vec::new(), Vec::new()));
    }
    // Either it lies, or this session has forgotten what it said: its next message would be taken for a copy.
    say(&mut session, ServerFrame::Clock([(welcome.member, 1)].into_iter().collect()));
    let Some(Event::Ended(End::Protocol(said))) = drain(&mut session).0.pop() else { panic!() };
    assert_eq!(said, format!("{}#1 was never said here", welcome.member));
}

#[test]
fn what_a_server_says_of_an_error_is_cut_and_harmless_where_it_is_shown() {
    let (mut session, _) = live(None);
    let words = format!("\x1b]52;c;aGk=\x07{}", "x".repeat(1 << 20));
    say(&mut session, ServerFrame::Error(ErrorFrame::new(ErrorCode::StorageFull, words.clone())));
    let Some(Event::Trouble { message }) = drain(&mut session).0.pop() else { panic!() };
    assert!(message.len() < 2_000);
    say(&mut session, ServerFrame::Error(ErrorFrame::fatal(ErrorCode::RoomClosed, words)));
    let Some(Event::Ended(end)) = drain(&mut session).0.pop() else { panic!() };
    let shown = end.to_string();
    assert!(shown.starts_with("\\x1b]52;c;aGk=\\x07") && !shown.contains('\x1b'), "{shown}");
}
