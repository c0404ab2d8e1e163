//! What a member tells those who watch its room: all that happens there, up to a bound, and nothing while nobody watches.

use std::time::Duration;

use bytes::BytesMut;
use causerie_core::content::body::Body;
use causerie_core::content::name::RoomName;
use causerie_core::id::{Epoch, Position};
use causerie_core::key::Challenge;
use causerie_core::room::{Now, Room, RoomSettings};
use causerie_core::session::{Event, Session, SessionConfig, SessionOutput};
use causerie_core::wire::{
    BEHIND_MAX, ClientFrame, Observation, Observed, ServerFrame, Stable, VERSION, Watched, split_frame,
};
use cbcast::{Kind, MemberId, Message, MessageId, Time};

const OBSERVATIONS: Watched = Watched { observations: true, acknowledgements: false };
const ACKNOWLEDGEMENTS: Watched = Watched { observations: false, acknowledgements: true };

fn seed() -> [u8; 32] {
    [7; 32]
}

/// Raj's session, live; and what Ann says in his room from then on, as records.
fn live(count: u64) -> (Session, Vec<ServerFrame>) {
    live_among(0, count)
}

/// The same in a room with so many others.
fn live_among(others: u8, count: u64) -> (Session, Vec<ServerFrame>) {
    live_as(SessionConfig::new("lobby", "Raj", seed), others, count)
}

fn live_as(config: SessionConfig, others: u8, count: u64) -> (Session, Vec<ServerFrame>) {
    let mut session = Session::new(config);
    session.connected();
    let (agent, challenge) = ("test".into(), Challenge::default());
    session.handle_frame(Time::ZERO, ServerFrame::Hello { version: VERSION, agent, challenge });
    let mut room =
        Room::new(RoomName::parse("lobby").unwrap(), 0, Epoch::new(7), RoomSettings::default(), false);
    let now = Now { time: Time::ZERO, wall_millis: 0 };
    let (ann, _) = room.join(now, "Ann", [1; 32], None).unwrap();
    for n in 0..others {
        room.join(now, &format!("Other {n}"), [n + 10; 32], None).unwrap();
    }
    let (_, welcome) = room.join(now, "Raj", [2; 32], None).unwrap();
    let joined = welcome.position;
    session.handle_frame(Time::ZERO, ServerFrame::Welcome(Box::new(welcome)));
    for seq in 1..=count {
        let id = MessageId::new(ann.member, seq);
        let message = Message::new(id, Kind::Data, &[], b"\x01hi").unwrap();
        assert!(room.receive(now, ann, message.into_packet()).is_ok());
    }
    let mut bytes = BytesMut::from(&room.take_batch().unwrap().records.unwrap().bytes[..]);
    let frames = std::iter::from_fn(|| split_frame(&mut bytes, 1 << 20).unwrap());
    let mut records: Vec<_> =
        frames.map(|(kind, body)| ServerFrame::decode(kind, &body).unwrap().unwrap()).collect();
    let live = records.split_off(usize::try_from(joined.get()).unwrap());
    records.into_iter().for_each(|frame| session.handle_frame(Time::ZERO, frame));
    while session.poll_output().is_some() {}
    assert!(session.is_live());
    (session, live)
}

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

/// Takes what the session says now: to the application, as observations, and to the server.
fn drain(session: &mut Session) -> (Vec<(MessageId, &'static str)>, Vec<ClientFrame>) {
    let (mut events, mut frames) = (Vec::new(), Vec::new());
    while let Some(output) = session.poll_output() {
        match output {
            SessionOutput::Event(Event::Held { id, .. }) => events.push((id, "held")),
            SessionOutput::Event(Event::Delivered(post)) if !post.own => {
                events.push((post.id, if post.held_for.is_some() { "released" } else { "delivered" }));
            }
            SessionOutput::Send(frame) => frames.push(frame),
            _ => {}
        }
    }
    (events, frames)
}

fn told(frames: Vec<ClientFrame>) -> (Vec<(MessageId, &'static str)>, u64) {
    let (mut all, mut all_left_out) = (Vec::new(), 0);
    for frame in frames {
        let ClientFrame::Observed { seen, left_out } = frame else { panic!("{frame:?}") };
        all_left_out += left_out;
        all.extend(seen.into_iter().map(|Observation { message, what }| match what {
            Observed::Held { waits_for, held_millis: 0, clock } => {
                let clock = clock.expect("few hold little");
                assert_eq!(clock.get(waits_for.member), waits_for.seq - 1, "the rule fails by one");
                assert_eq!((waits_for.member, waits_for.seq), (message.member, message.seq - 1));
                (message, "held")
            }
            Observed::Delivered { held_millis: None } => (message, "delivered"),
            Observed::Delivered { held_millis: Some(0..=9) } => (message, "released"),
            other => panic!("{message} {other:?}"),
        }));
    }
    (all, all_left_out)
}

/// Each second message overtakes the one before it.
fn swapped(records: Vec<ServerFrame>) -> impl Iterator<Item = ServerFrame> {
    let pairs: Vec<_> =
        records.chunks(2).flat_map(|pair| pair.iter().rev().cloned().collect::<Vec<_>>()).collect();
    pairs.into_iter()
}

#[test]
fn while_nobody_watches_nothing_is_told() {
    let (mut session, records) = live(40);
    for (frame, millis) in swapped(records).zip(0..) {
        session.handle_frame(at(millis), frame);
    }
    // The clock runs on: nothing is gathered either.
    session.handle_timeout(at(10_000));
    session.handle_frame(at(10_000), ServerFrame::Watched(OBSERVATIONS));
    session.handle_frame(at(10_000), ServerFrame::Watched(Watched::default()));
    session.handle_timeout(at(20_000));
    let (events, frames) = drain(&mut session);
    assert_eq!(events.len(), 60);
    let own: Vec<_> = frames.iter().filter(|frame| matches!(frame, ClientFrame::Observed { .. })).collect();
    assert!(own.is_empty(), "{own:?}");
}

#[test]
fn who_watches_is_told_all_that_happens_where_little_does() {
    let (mut session, records) = live(40);
    session.handle_frame(at(0), ServerFrame::Watched(OBSERVATIONS));
    let (mut happened, mut observed) = (Vec::new(), Vec::new());
    let (mut frames, mut millis) = (0, 0);
    for frame in swapped(records) {
        millis += 9;
        while let Some(due) = session.poll_timeout().filter(|due| *due <= at(millis)) {
            session.handle_timeout(due);
        }
        session.handle_frame(at(millis), frame);
        let (events, sent) = drain(&mut session);
        frames += sent.len();
        let (seen, left_out) = told(sent);
        assert_eq!(left_out, 0);
        happened.extend(events);
        observed.extend(seen);
    }
    session.handle_timeout(at(millis + 100));
    observed.extend(told(drain(&mut session).1).0);
    assert_eq!(happened.len(), 60);
    assert_eq!(observed, happened, "in order");
    assert!(frames <= 4, "{frames} frames in {millis} ms");
    assert_eq!(session.poll_timeout(), None, "and then it sleeps");
}

#[test]
fn what_is_too_much_is_counted_and_not_queued() {
    let (mut session, records) = live(2_000);
    session.handle_frame(at(0), ServerFrame::Watched(OBSERVATIONS));
    let mut happened = 0;
    for (n, frame) in records.into_iter().enumerate() {
        session.handle_frame(at(n as u64 / 1_000), frame);
        let (events, sent) = drain(&mut session);
        happened += events.len();
        assert!(sent.is_empty(), "a frame goes out after its pause, not before");
    }
    session.handle_timeout(at(100));
    let (seen, left_out) = told(drain(&mut session).1);
    assert_eq!((seen.len(), seen.len() + usize::try_from(left_out).unwrap()), (32, happened));
    assert_eq!(happened, 2_000);
}

#[test]
fn what_was_observed_goes_before_what_is_said_then() {
    let (mut session, records) = live(1);
    session.handle_frame(at(0), ServerFrame::Watched(OBSERVATIONS));
    records.into_iter().for_each(|frame| session.handle_frame(at(1), frame));
    session.say(at(2), &Body::Text("yes".into())).unwrap();
    let (_, sent) = drain(&mut session);
    assert!(matches!(&sent[..], [ClientFrame::Observed { .. }, ClientFrame::Broadcast(_)]), "{sent:?}");
    // A new connection is told anew whether anybody watches.
    session.disconnected("cut".into(), Duration::ZERO);
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn who_begins_to_watch_is_told_what_is_held_already() {
    let (mut session, records) = live(2);
    session.handle_frame(at(0), records[1].clone());
    session.handle_frame(at(300), ServerFrame::Watched(OBSERVATIONS));
    while session.poll_output().is_some() {}
    session.handle_timeout(at(400));
    let (_, sent) = drain(&mut session);
    let observed = sent.iter().find_map(|frame| match frame {
        ClientFrame::Observed { seen, left_out: 0 } => Some(seen.clone()),
        _ => None,
    });
    let seen = observed.expect("it is told");
    let [Observation { what: Observed::Held { held_millis: 300, clock: Some(clock), .. }, message }] =
        &seen[..]
    else {
        panic!("{seen:?}")
    };
    // The host has said who came: Ann and Raj.
    assert_eq!((clock.get(message.member), clock.get(MemberId::host(message.member.origin))), (0, 2));
}

#[test]
fn clocks_of_what_is_held_are_told_up_to_a_bound() {
    let (mut session, records) = live_among(100, 40);
    session.handle_frame(at(0), ServerFrame::Watched(OBSERVATIONS));
    swapped(records).for_each(|frame| session.handle_frame(at(1), frame));
    session.handle_timeout(at(101));
    let (_, sent) = drain(&mut session);
    let [ClientFrame::Observed { seen, .. }] = &sent[..] else { panic!("{sent:?}") };
    let held = seen.iter().filter(|seen| matches!(seen.what, Observed::Held { .. })).count();
    let clocks: Vec<_> = seen.iter().filter_map(|seen| seen.what.clock()).collect();
    // The host, Ann, Raj and the others.
    assert!(clocks.iter().all(|clock| clock.len() == 103), "a clock is told whole or not at all");
    assert_eq!((clocks.len(), held), (9, 11), "1,024 entries in a pause");
}

/// The positions that a session acknowledges now.
fn acknowledged(session: &mut Session) -> Vec<Position> {
    let position = |frame| match frame {
        ClientFrame::Acknowledge(position) => Some(position),
        // What it lacks it asks for.
        ClientFrame::Want(_) => None,
        other => panic!("{other:?}"),
    };
    drain(session).1.into_iter().filter_map(position).collect()
}

#[test]
fn up_to_where_all_is_delivered_is_told_while_somebody_wants_to_know() {
    let (mut session, mut records) = live(20);
    let first = match &records[0] {
        ServerFrame::Delivered(record) => record.position,
        other => panic!("{other:?}"),
    };
    let welcomed = first - 1;
    // What it was told at the welcome is history, which it has.
    assert_eq!(session.poll_timeout(), None);
    let later = records.split_off(10);
    for frame in records {
        session.handle_frame(at(1), frame);
    }
    assert_eq!((acknowledged(&mut session), session.poll_timeout()), (vec![], None), "nobody wants to know");
    session.handle_frame(at(2), ServerFrame::Watched(ACKNOWLEDGEMENTS));
    session.handle_timeout(at(102));
    assert_eq!(acknowledged(&mut session), [welcomed + 10], "what was before, at once");
    for (n, frame) in (0..).zip(swapped(later)) {
        session.handle_frame(at(200 + 5 * n), frame);
        // Of what is held nothing is claimed.
        if n == 8 {
            session.handle_timeout(at(299));
            assert!(acknowledged(&mut session).is_empty());
            session.handle_timeout(at(305));
            assert_eq!(acknowledged(&mut session), [welcomed + 18]);
        }
    }
    session.handle_timeout(at(500));
    assert_eq!(acknowledged(&mut session), [welcomed + 20]);
    session.handle_timeout(at(1_000));
    assert_eq!((acknowledged(&mut session), session.poll_timeout()), (vec![], None), "and then it sleeps");
    session.handle_frame(at(1_000), ServerFrame::Watched(Watched::default()));
    session.handle_frame(at(1_000), ServerFrame::Watched(ACKNOWLEDGEMENTS));
    session.handle_timeout(at(1_100));
    assert_eq!(acknowledged(&mut session), [welcomed + 20], "others may not have heard it");
}

#[test]
fn who_wants_to_know_who_has_delivered_asks_once_it_has_spoken() {
    let mut config = SessionConfig::new("lobby", "Raj", seed);
    config.follows_stable = true;
    let (mut session, _) = live_as(config, 0, 0);
    let asks =
        |session: &mut Session| drain(session).1.iter().filter(|f| **f == ClientFrame::FollowStable).count();
    assert_eq!(asks(&mut session), 0);
    session.say(at(1), &Body::Text("yes".into())).unwrap();
    session.say(at(2), &Body::Text("yes".into())).unwrap();
    assert_eq!(asks(&mut session), 1);
    let stable = Stable { position: Position::new(3), behind: vec![(MemberId::new(7, 1), Position::new(2))] };
    session.handle_frame(at(3), ServerFrame::Stable(stable.clone()));
    assert_eq!(session.poll_output(), Some(SessionOutput::Event(Event::Stable(stable.clone()))));
    // Who is left out of the list would be taken for somebody who has delivered.
    let too_many = Stable { behind: vec![stable.behind[0]; BEHIND_MAX + 1], ..stable };
    session.handle_frame(at(3), ServerFrame::Stable(too_many));
    assert_eq!(session.poll_output(), None);
}
