//! Sessions of native clients, frame by frame.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causerie_core::id::{Epoch, Position};
use causerie_core::key::{Proof, Purpose};
use causerie_core::room::RoomSettings;
use causerie_core::wire::{ClientFrame, ErrorCode, ServerFrame, Welcome};
use causerie_server::Settings;
use causerie_store::Retention;
use cbcast::{MemberId, MissingRange, VectorClock};
use common::{Event, Harness, Native, PATIENCE, Wire, within};

async fn started() -> Harness {
    Harness::start(Settings::default()).await
}

fn with_room(room: RoomSettings) -> Settings {
    Settings { room, ..Settings::default() }
}

/// Ann and Raj in a room; each has read all there is.
async fn two(server: &Harness) -> (Native, Native) {
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let raj = Native::join(server.address, "lobby", "Raj").await;
    ann.expect(Event::Joined("Raj".into())).await;
    (ann, raj)
}

fn create(name: &str, port: bool) -> ClientFrame {
    ClientFrame::CreateRoom { name: name.into(), port, maker: None, temporary: false }
}

fn close(name: &str, operator: &str) -> ClientFrame {
    ClientFrame::CloseRoom { name: name.into(), operator: operator.into(), maker: None }
}

fn open(name: &str, operator: &str) -> ClientFrame {
    ClientFrame::OpenRoom { name: name.into(), operator: operator.into(), number: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_comes_back_with_its_position() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    assert!(ann.welcome.created && !raj.welcome.created);
    assert_eq!((ann.position, raj.position), (Position::new(2), Position::new(2)), "the two Joined");
    assert_eq!(ann.welcome.epoch, raj.welcome.epoch);
    let limits = raj.welcome.limits;
    assert_eq!((limits.name_chars, limits.text_bytes, limits.grace_millis), (32, 16_384, 600_000));
    ann.say("hello").await;
    for reader in [&mut ann, &mut raj] {
        reader.expect_text(MemberId::new(0, 1), "hello").await;
        assert_eq!(reader.position, Position::new(3));
    }
    raj.say("hi").await;
    raj.say("and bye").await;
    for reader in [&mut ann, &mut raj] {
        reader.expect_text(MemberId::new(0, 2), "hi").await;
        reader.expect_text(MemberId::new(0, 2), "and bye").await;
    }
    // A newcomer gets the history.
    let mina = Native::join(server.address, "lobby", "Mina").await;
    assert_eq!((mina.welcome.first, mina.position), (Position::FIRST, Position::new(6)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_unknown_kinds_pass_unharmed() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    let payload = Bytes::from_static(b"\x09\xff\x00tomorrow");
    let packet = ann.stamp(&payload);
    ann.wire.send(&ClientFrame::Broadcast(packet)).await;
    raj.expect(Event::Other(payload)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_and_members_are_listed() {
    let server = started().await;
    let (mut ann, _raj) = two(&server).await;
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&create("attic", false)).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomCreated(_)));
    let rooms: Vec<_> = server.rooms().await.into_iter().map(|r| (r.name, r.port, r.members)).collect();
    assert_eq!(rooms, [("attic".into(), None, 0), ("lobby".into(), None, 2)]);

    ann.wire.send(&ClientFrame::ListMembers).await;
    let ServerFrame::Members(members) = ann.wire.frame().await else { panic!() };
    let members: Vec<_> = members.into_iter().map(|m| (m.member.ordinal, m.name, m.present)).collect();
    assert_eq!(members, [(1, "Ann".into(), true), (2, "Raj".into(), true)]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_made() {
    let server = Harness::start(Settings { rooms_max: 2, ..Settings::default() }).await;
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&create("attic", false)).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomCreated(_)));
    for (name, code) in [
        ("attic", ErrorCode::RoomExists),
        ("a b", ErrorCode::RoomNameInvalid),
        ("", ErrorCode::RoomNameInvalid),
        ("12345", ErrorCode::RoomNameInvalid),
    ] {
        wire.send(&create(name, false)).await;
        wire.refused(code).await;
    }
    wire.send(&create("name", true)).await;
    wire.refused(ErrorCode::Unexpected).await;
    wire.send(&create("", true)).await;
    let ServerFrame::RoomCreated(info) = wire.frame().await else { panic!() };
    assert_eq!(info.port, Some(server.address.port() + 1));
    assert_eq!(info.name, info.port.unwrap().to_string());
    for name in ["cellar", ""] {
        wire.send(&create(name, name.is_empty())).await;
        wire.refused(ErrorCode::TooManyRooms).await;
    }
    let absent = ClientFrame::Join {
        room: "cellar".into(),
        name: "Raj".into(),
        proof: wire.key.prove(Purpose::Member, &wire.challenge),
        create: false,
        maker: None,
        after: None,
    };
    wire.send(&absent).await;
    wire.refused(ErrorCode::NoSuchRoom).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_closed_by_who_has_its_key_and_by_the_operator() {
    let settings = Settings { operator_token: Some("sesame".into()), ..Settings::default() };
    let server = Harness::start(settings).await;
    // From the same address as Ann, who makes the room.
    let mut stranger = Wire::greeted(server.address).await;
    let (mut ann, mut raj) = two(&server).await;
    for token in ["", "wrong!", "sesam", "sesame!"] {
        stranger.send(&close("lobby", token)).await;
        stranger.refused(ErrorCode::NotPermitted).await;
        stranger.send(&stranger.close_frame("lobby", token)).await;
        stranger.refused(ErrorCode::NotPermitted).await;
    }
    // What was heard of her key is worth nothing here, and so is what it has proven for another purpose.
    let heard = ann.key.prove(Purpose::Room, &ann.wire.challenge);
    for proof in [heard, ann.key.prove(Purpose::Member, &stranger.challenge)] {
        let (name, operator) = ("lobby".into(), "".into());
        stranger.send(&ClientFrame::CloseRoom { name, operator, maker: Some(proof) }).await;
        stranger.refused(ErrorCode::WrongKey).await;
    }
    stranger.send(&close("nowhere", "sesame")).await;
    stranger.refused(ErrorCode::NoSuchRoom).await;
    ann.say("still here").await;
    ann.expect_text(ann.member, "still here").await;
    raj.expect_text(ann.member, "still here").await;
    stranger.send(&close("lobby", "sesame")).await;
    assert_eq!(stranger.frame().await, ServerFrame::RoomClosed { name: "lobby".into() });
    ann.wire.fatal(ErrorCode::RoomClosed).await;
    raj.wire.fatal(ErrorCode::RoomClosed).await;
    assert_eq!(server.rooms().await, []);
    raj.wire = stranger;
    raj.wire.send(&raj.resume_frame()).await;
    raj.wire.refused(ErrorCode::NoSuchRoom).await;

    // Another room of that name: who made it needs no token, and positions mean something else there.
    let ann = Native::join(server.address, "lobby", "Ann").await;
    assert!(ann.welcome.created && ann.welcome.epoch != raj.welcome.epoch);
    let mut maker = Wire::greeted(server.address).await;
    maker.key = ann.key.clone();
    maker.send(&maker.close_frame("lobby", "")).await;
    assert_eq!(maker.frame().await, ServerFrame::RoomClosed { name: "lobby".into() });
    // A room without a key is the operator's.
    maker.send(&create("attic", false)).await;
    assert!(matches!(maker.frame().await, ServerFrame::RoomCreated(_)));
    maker.send(&maker.close_frame("attic", "")).await;
    maker.refused(ErrorCode::NotPermitted).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_room_is_kept_and_opened_again_by_the_operator_alone() {
    let settings = Settings { operator_token: Some("sesame".into()), ..Settings::default() };
    let server = Harness::start(settings.clone()).await;
    let (mut ann, mut raj) = two(&server).await;
    ann.say("keep this").await;
    raj.expect_text(ann.member, "keep this").await;
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&close("lobby", "sesame")).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomClosed { .. }));
    wire.send(&open("lobby", "")).await;
    wire.refused(ErrorCode::NotPermitted).await;
    wire.send(&ClientFrame::ListClosedRooms { operator: "sesam".into() }).await;
    wire.refused(ErrorCode::NotPermitted).await;
    // Over a restart, too, and while another room has its name.
    let store = Arc::clone(&server.store);
    server.stop().await;
    let server = Harness::with_store(settings.clone(), store).await;
    assert_eq!(server.rooms().await, []);
    let other = Native::join(server.address, "lobby", "Ann").await;
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&open("lobby", "sesame")).await;
    wire.refused(ErrorCode::RoomExists).await;
    wire.send(&ClientFrame::ListClosedRooms { operator: "sesame".into() }).await;
    let ServerFrame::ClosedRooms(closed) = wire.frame().await else { panic!() };
    let [room] = &closed[..] else { panic!("{closed:?}") };
    assert_eq!((&room.name[..], room.until_millis - room.closed_millis), ("lobby", 7 * 86_400_000));
    // Where nothing is to be kept, nothing is.
    server.settings.send_modify(|settings| settings.closed = Duration::ZERO);
    wire.key = other.key.clone();
    wire.send(&wire.close_frame("lobby", "")).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomClosed { .. }));
    wire.send(&ClientFrame::ListClosedRooms { operator: "sesame".into() }).await;
    let ServerFrame::ClosedRooms(still) = wire.frame().await else { panic!() };
    assert_eq!((still.len(), still[0].closed_millis), (1, closed[0].closed_millis));

    wire.send(&open("lobby", "sesame")).await;
    let ServerFrame::RoomCreated(info) = wire.frame().await else { panic!() };
    assert_eq!((&info.name[..], info.members), ("lobby", 0));
    wire.send(&open("lobby", "sesame")).await;
    wire.refused(ErrorCode::NoSuchRoom).await;
    // Its log goes on, and whoever was in it has left.
    let again = Native::join(server.address, "lobby", "Raj").await;
    assert_eq!((again.welcome.created, again.welcome.epoch), (false, raj.welcome.epoch));
    assert!(again.welcome.position > raj.position);
    raj.wire = Wire::greeted(server.address).await;
    raj.wire.send(&raj.resume_frame()).await;
    assert_eq!(raj.wire.refused(ErrorCode::Expired).await.taken, Some(0));
    // And over a restart it is open.
    let store = Arc::clone(&server.store);
    drop(again);
    server.stop().await;
    let server = Harness::with_store(settings, store).await;
    assert_eq!(server.rooms().await.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_of_two_closed_rooms_of_one_name_can_be_opened_again() {
    let settings = Settings { operator_token: Some("sesame".into()), ..Settings::default() };
    let server = Harness::start(settings).await;
    let mut wire = Wire::greeted(server.address).await;
    let mut epochs = Vec::new();
    for _ in 0..2 {
        epochs.push(Native::join(server.address, "lobby", "Ann").await.welcome.epoch);
        wire.send(&close("lobby", "sesame")).await;
        assert!(matches!(wire.frame().await, ServerFrame::RoomClosed { .. }));
    }
    // What a program makes that tests is not kept.
    let maker = Some(wire.key.prove(Purpose::Room, &wire.challenge));
    let name = "test".to_owned();
    wire.send(&ClientFrame::CreateRoom { name, port: false, maker, temporary: true }).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomCreated(_)));
    wire.send(&wire.close_frame("test", "")).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomClosed { .. }));
    wire.send(&ClientFrame::ListClosedRooms { operator: "sesame".into() }).await;
    let ServerFrame::ClosedRooms(closed) = wire.frame().await else { panic!() };
    let [older, newer] = &closed[..] else { panic!("{closed:?}") };
    assert!(older.number != newer.number && older.name == newer.name, "{closed:?}");
    let open = |name: &str, number| {
        let operator = "sesame".into();
        ClientFrame::OpenRoom { name: name.into(), operator, number: Some(number) }
    };
    for (name, number) in [("lobby", 99), ("attic", older.number)] {
        wire.send(&open(name, number)).await;
        wire.refused(ErrorCode::NoSuchRoom).await;
    }
    wire.send(&open("lobby", older.number)).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomCreated(_)));
    let again = Native::join(server.address, "lobby", "Raj").await;
    assert_eq!((again.welcome.epoch, epochs[0] == epochs[1]), (epochs[0], false));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_port_room_closes_its_port() {
    let server = started().await;
    let mut wire = Wire::greeted(server.address).await;
    let maker = Some(wire.key.prove(Purpose::Room, &wire.challenge));
    wire.send(&ClientFrame::CreateRoom { name: String::new(), port: true, maker, temporary: false }).await;
    let ServerFrame::RoomCreated(info) = wire.frame().await else { panic!() };
    let address = server.port(info.port.unwrap());
    let mut classic = common::Classic::enter(address, "Ann").await;
    server.members(&info.name, 1).await;
    wire.send(&wire.close_frame(&info.name, "")).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomClosed { .. }));
    classic.expect("Error: the room was closed").await;
    classic.ended().await;
    within("the port to close", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // And is there for the next room.
    wire.send(&create("", true)).await;
    assert!(matches!(wire.frame().await, ServerFrame::RoomCreated(next) if next == info));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_name_is_tried_on_the_same_connection() {
    let server = Harness::start(with_room(RoomSettings { members_max: 2, ..RoomSettings::default() })).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let mut wire = Wire::greeted(server.address).await;
    wire.join("lobby", " aNN ").await;
    let error = wire.refused(ErrorCode::NameTaken).await;
    let free = error.suggestion.unwrap();
    assert_eq!(free, "aNN2");
    for name in ["", " \t", "a\x1bb", "./leave", &"x".repeat(33)] {
        wire.join("lobby", name).await;
        wire.refused(ErrorCode::NameInvalid).await;
    }
    wire.join("lobby", &free).await;
    let mut second = Native::welcomed(wire).await;
    ann.expect(Event::Joined("aNN2".into())).await;
    // One membership for each connection.
    second.wire.join("attic", "Ann").await;
    second.wire.refused(ErrorCode::Unexpected).await;
    let mut third = Wire::greeted(server.address).await;
    third.join("lobby", "Raj").await;
    third.refused(ErrorCode::RoomFull).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_repeated_is_one_member() {
    let server = started().await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let mut wires = Vec::<Native>::new();
    for _ in 0..2 {
        let mut wire = Wire::greeted(server.address).await;
        if let Some(first) = wires.first() {
            wire.key = first.key.clone();
        }
        wire.join("lobby", "Raj").await;
        wires.push(Native::welcomed(wire).await);
    }
    let [first, again] = &mut wires[..] else { panic!() };
    assert_eq!((first.member, first.position), (again.member, again.position));
    first.wire.fatal(ErrorCode::Superseded).await;
    ann.expect(Event::Joined("Raj".into())).await;
    again.say("hello").await;
    ann.expect_text(again.member, "hello").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_resumes_gets_exactly_what_is_missing() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    ann.say("one").await;
    raj.expect_text(ann.member, "one").await;
    ann.expect_text(ann.member, "one").await;
    raj.say("mine").await;
    ann.expect_text(raj.member, "mine").await;
    // Said, and lost with the connection before it was sent; what came of "mine" has not been read.
    let lost = raj.stamp_text("lost");
    raj.wire = Wire::greeted(server.address).await;
    for text in ["two", "three"] {
        ann.say(text).await;
        ann.expect_text(ann.member, text).await;
    }
    assert_eq!(raj.position, Position::new(3));
    assert_eq!(
        raj.resume(server.address).await,
        ServerFrame::Resumed { taken: 1, position: Position::new(6) }
    );
    raj.expect_text(raj.member, "mine").await;
    raj.expect_text(ann.member, "two").await;
    raj.expect_text(ann.member, "three").await;
    raj.wire.ping().await;
    raj.wire.send(&ClientFrame::Broadcast(lost)).await;
    ann.expect_text(raj.member, "lost").await;
    raj.expect_text(raj.member, "lost").await;
    // Once more, with nothing missing.
    assert_eq!(
        raj.resume(server.address).await,
        ServerFrame::Resumed { taken: 2, position: Position::new(7) }
    );
    raj.wire.ping().await;
    ann.say("four").await;
    raj.expect_text(ann.member, "four").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_closes_the_older_connection() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    let wire = Wire::greeted(server.address).await;
    let mut wire = std::mem::replace(&mut raj.wire, wire);
    raj.wire.send(&raj.resume_frame()).await;
    assert_eq!(raj.wire.frame().await, ServerFrame::Resumed { taken: 0, position: Position::new(2) });
    // The older one speaks for nobody.
    let before = raj.group.clone();
    let ghost = raj.stamp_text("ghost");
    raj.group = before;
    wire.send(&ClientFrame::Broadcast(ghost)).await;
    wire.fatal(ErrorCode::Superseded).await;
    // The old connection's end starts no grace.
    drop(wire);
    raj.say("hello").await;
    ann.expect_text(raj.member, "hello").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_grace_the_member_has_left() {
    let grace = Duration::from_millis(100);
    let server = Harness::start(with_room(RoomSettings { grace, ..RoomSettings::default() })).await;
    let (mut ann, mut raj) = two(&server).await;
    for text in ["one", "two"] {
        raj.say(text).await;
        ann.expect_text(raj.member, text).await;
    }
    raj.wire = Wire::greeted(server.address).await;
    ann.expect(Event::Left(raj.member)).await;
    raj.wire.send(&raj.resume_frame()).await;
    let error = raj.wire.refused(ErrorCode::Expired).await;
    assert_eq!(error.taken, Some(2));
    // Anew, on the same connection, from where it was.
    raj.wire
        .send(&ClientFrame::Join {
            room: "lobby".into(),
            name: "Raj".into(),
            proof: raj.wire.key.prove(Purpose::Member, &raj.wire.challenge),
            create: false,
            maker: None,
            after: Some((raj.welcome.epoch, raj.position)),
        })
        .await;
    let position = raj.position;
    let again = Native::welcomed(raj.wire).await;
    assert_ne!(again.member, raj.member);
    assert_eq!((again.welcome.first, again.welcome.gap_from), (Position::new((position + 1).get()), None));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_more_than_the_server_is_told() {
    for how in 0..4 {
        let server = started().await;
        let (_ann, mut raj) = two(&server).await;
        raj.wire = Wire::greeted(server.address).await;
        let honest = raj.resume_frame();
        let mut lying = honest.clone();
        let ClientFrame::Resume { epoch, position, clock, .. } = &mut lying else { panic!() };
        match how {
            0 => *position = position.next(),
            1 => *position = Position::MAX,
            2 => clock.set(MemberId::new(0, 1), 1),
            _ => *epoch = Epoch::new(epoch.number() ^ 1),
        }
        raj.wire.send(&lying).await;
        assert_eq!(raj.wire.refused(ErrorCode::Diverged).await.taken, Some(0));
        raj.wire.send(&honest).await;
        raj.wire.refused(ErrorCode::Expired).await;
        // Its name is free for it.
        raj.wire.join("lobby", "Raj").await;
        assert!(matches!(raj.wire.frame().await, ServerFrame::Welcome(_)));
        server.stop().await;
    }
}

/// The key's owner alone: not who has heard all that was ever said, nor who has the files.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_hold_the_key_resumes_nothing() {
    let server = started().await;
    let (ann, mut raj) = two(&server).await;
    // Heard on connections of his: to join, and to resume.
    let joined = raj.key.prove(Purpose::Member, &raj.wire.challenge);
    raj.resume(server.address).await;
    let resumed = raj.key.prove(Purpose::Member, &raj.wire.challenge);
    let mut wire = Wire::greeted(server.address).await;
    let theirs = wire.key.prove(Purpose::Member, &wire.challenge);
    let right = raj.key.prove(Purpose::Member, &wire.challenge);
    for (member, proof) in [
        (raj.member, joined),
        (raj.member, resumed),
        (raj.member, theirs),
        (raj.member, Proof { key: raj.key.public(), ..theirs }),
        (raj.member, Proof { key: theirs.key, ..right }),
        (raj.member, ann.key.prove(Purpose::Member, &wire.challenge)),
        (MemberId::new(0, 0), right),
        (MemberId::new(0, 9), right),
        (ann.member, right),
    ] {
        wire.send(&ClientFrame::Resume {
            room: "lobby".into(),
            member,
            proof,
            epoch: raj.welcome.epoch,
            position: Position::new(2),
            clock: VectorClock::default(),
        })
        .await;
        wire.refused(ErrorCode::WrongKey).await;
    }
    // Nor does his join, repeated.
    for proof in [joined, resumed, Proof { key: raj.key.public(), ..theirs }] {
        let ClientFrame::Join { room, name, create, maker, after, .. } = wire.join_frame("lobby", "Raj")
        else {
            unreachable!()
        };
        wire.send(&ClientFrame::Join { room, name, proof, create, maker, after }).await;
        wire.refused(ErrorCode::WrongKey).await;
    }
    // It has its seat still.
    raj.wire.ping().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_is_said_behind_the_last_message() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    raj.wire.send(&ClientFrame::Leave { last_seq: 1 }).await;
    raj.wire.ping().await;
    raj.say("bye").await;
    ann.expect_text(raj.member, "bye").await;
    ann.expect(Event::Left(raj.member)).await;
    raj.expect_text(raj.member, "bye").await;
    raj.expect(Event::Left(raj.member)).await;
    assert_eq!(raj.wire.frame().await, ServerFrame::Parted { taken: 1 });
    assert_eq!(raj.wire.next().await, None);
    // Its name is free.
    Native::join(server.address, "lobby", "Raj").await;
    ann.expect(Event::Joined("Raj".into())).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_is_a_gap() {
    let room = RoomSettings { log_bytes_max: 1_000, ..RoomSettings::default() };
    let server = Harness::start(with_room(room)).await;
    let (mut ann, mut raj) = two(&server).await;
    let position = raj.position;
    // Not taken before the break, and said again after it.
    let packet = raj.stamp_text("mine");
    raj.wire = Wire::greeted(server.address).await;
    for n in 0..200 {
        let text = n.to_string();
        ann.say(&text).await;
        ann.expect_text(ann.member, &text).await;
    }
    let room = server.store.rooms().unwrap()[0].room;
    let keep = Retention { count: Some(50), ..Retention::default() };
    server.store.retain(room, keep, 0).unwrap();
    raj.wire.send(&raj.resume_frame()).await;
    let ServerFrame::Resumed { .. } = raj.wire.frame().await else { panic!("the server has not noticed") };
    let ServerFrame::Error(error) = raj.wire.frame().await else { panic!("there is nothing to read") };
    assert_eq!((error.code, error.fatal), (ErrorCode::TooFarBehind, true));
    raj.wire = Wire::greeted(server.address).await;
    raj.wire.send(&raj.resume_frame()).await;
    let mut again = Native::welcomed(raj.wire).await;
    let Welcome { first, gap_from, position: cut, .. } = again.welcome;
    assert_eq!(
        (gap_from, cut),
        (Some(Position::new((position + 1).get())), Position::new((position + 200).get()))
    );
    assert!(first > Position::new((position + 1).get()) && first <= cut);
    assert_eq!(again.member, raj.member);
    again.wire.send(&ClientFrame::Broadcast(packet)).await;
    ann.expect_text(raj.member, "mine").await;

    // A newcomer who asks for what is gone is told too, by a server that knows what it keeps.
    let store = Arc::clone(&server.store);
    let epoch = again.welcome.epoch;
    drop((ann, again.wire));
    server.stop().await;
    let server = Harness::with_store(Settings { retention: keep, ..Settings::default() }, store).await;
    let mut wire = Wire::greeted(server.address).await;
    let join = |wire: &Wire, name: &str, epoch| ClientFrame::Join {
        room: "lobby".into(),
        name: name.into(),
        proof: wire.key.prove(Purpose::Member, &wire.challenge),
        create: false,
        maker: None,
        after: Some((epoch, Position::START)),
    };
    wire.send(&join(&wire, "Mina", epoch)).await;
    assert_eq!(Native::welcomed(wire).await.welcome.gap_from, Some(Position::FIRST));
    // Positions of another log mean nothing.
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&join(&wire, "Noor", Epoch::new(epoch.number() ^ 1))).await;
    assert_eq!(Native::welcomed(wire).await.welcome.gap_from, None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_members_and_messages_outlive_the_server() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    let mut classic = common::Classic::connect(server.address).await;
    classic.send("./join lobby\n").await;
    classic.send("Cleo\n").await;
    ann.expect(Event::Joined("Cleo".into())).await;
    ann.say("before").await;
    raj.expect(Event::Joined("Cleo".into())).await;
    raj.expect_text(ann.member, "before").await;
    let unsent = raj.stamp_text("said while nobody listened");

    let store = Arc::clone(&server.store);
    server.stop().await;
    let server = Harness::with_store(Settings::default(), store).await;
    // Who was a connection only has left.
    server.members("lobby", 2).await;
    raj.wire = Wire::greeted(server.address).await;
    raj.wire.send(&raj.resume_frame()).await;
    let ServerFrame::Resumed { taken: 0, .. } = raj.wire.frame().await else { panic!() };
    raj.wire.send(&ClientFrame::Broadcast(unsent)).await;
    ann.wire = Wire::greeted(server.address).await;
    ann.wire.send(&ann.resume_frame()).await;
    let ServerFrame::Resumed { taken: 1, .. } = ann.wire.frame().await else { panic!() };
    ann.expect_text(ann.member, "before").await;
    let Event::Left(_) = ann.event().await else { panic!("Cleo's farewell") };
    ann.expect_text(raj.member, "said while nobody listened").await;
    // Names are taken still, numbers go on, and history is there for a newcomer.
    let mina = Native::join(server.address, "lobby", "Mina").await;
    assert_eq!(mina.member.ordinal, 4);
    assert_eq!((mina.welcome.first, mina.position), (Position::FIRST, Position::new(7)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_said_and_serve_returns() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    let mut outside = Wire::greeted(server.address).await;
    server.shut_down();
    for wire in [&mut ann.wire, &mut raj.wire, &mut outside] {
        wire.fatal(ErrorCode::ShuttingDown).await;
    }
    let address = server.address;
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_while_it_serves() {
    let server = started().await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    for n in 0..3 {
        ann.say(&n.to_string()).await;
        ann.expect_text(ann.member, &n.to_string()).await;
    }
    server.settings.send_modify(|settings| {
        settings.rooms_max = 1;
        settings.operator_token = Some("sesame".into());
        settings.room.name_chars_max = 3;
        settings.room.history = 2;
        settings.room.grace = Duration::from_secs(5);
        // A room keeps what it was made with.
        settings.room.text_bytes_max = 1;
    });
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&create("second", false)).await;
    wire.refused(ErrorCode::TooManyRooms).await;
    wire.join("lobby", "Raja").await;
    wire.refused(ErrorCode::NameInvalid).await;
    // The rooms are told by a task of its own.
    let newcomer = within("the room to know", async {
        for n in 0.. {
            let newcomer = Native::join(server.address, "lobby", &format!("{n}")).await;
            if newcomer.welcome.limits.grace_millis == 5_000 {
                return newcomer;
            }
        }
        unreachable!()
    });
    let raj = newcomer.await;
    assert_eq!(raj.welcome.first + 1, raj.position, "of what was said the last two");
    assert_eq!(raj.welcome.limits.text_bytes, 16_384);
    let mut stranger = Wire::greeted_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), server.address).await;
    stranger.send(&close("lobby", "sesame")).await;
    assert_eq!(stranger.frame().await, ServerFrame::RoomClosed { name: "lobby".into() });

    server.settings.send_modify(|settings| settings.connections_max = 1);
    let mut refused = common::Classic::connect(server.address).await;
    refused.expect("Error: too many connections; try again later").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_at_the_end_is_cut_when_the_time_is_over() {
    // Longer than the test may take: only what shortens it ends the wait.
    let settings = Settings { drain: Duration::from_secs(86_400), ..Settings::default() };
    let server = Harness::start(settings).await;
    let (mut ann, raj) = two(&server).await;
    let text = "x".repeat(16_000);
    // More than both sides' sockets hold, and Raj reads none of it.
    for _ in 0..2_000 {
        ann.say(&text).await;
        ann.expect_text(ann.member, &text).await;
    }
    server.shut_down();
    // Ann reads, and is told; whether anybody is accepted is not asked.
    ann.wire.fatal(ErrorCode::ShuttingDown).await;
    assert!(!server.has_returned(), "Raj has not read yet");
    server.settings.send_modify(|settings| settings.drain = Duration::ZERO);
    server.stop().await;
    drop(raj);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_at_the_end_gets_all_that_was_said() {
    let settings = Settings { drain: Duration::from_secs(86_400), ..Settings::default() };
    let server = Harness::start(settings).await;
    let (mut ann, mut raj) = two(&server).await;
    let text = "x".repeat(16_000);
    for _ in 0..2_000 {
        ann.say(&text).await;
        ann.expect_text(ann.member, &text).await;
    }
    server.shut_down();
    ann.wire.fatal(ErrorCode::ShuttingDown).await;
    for _ in 0..2_000 {
        raj.expect_text(ann.member, &text).await;
    }
    raj.wire.fatal(ErrorCode::ShuttingDown).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_on_the_way_is_asked_for() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    let [one, two, three] = ["one", "two", "three"].map(|text| raj.stamp_text(text));
    raj.wire.send(&ClientFrame::Broadcast(two)).await;
    raj.wire.send(&ClientFrame::Clock(raj.group.clock())).await;
    let member = raj.member;
    let missing = |from, to| MissingRange { member, from, to };
    let ServerFrame::Want(mut wanted) = raj.wire.frame().await else { panic!() };
    wanted.sort_by_key(|range| range.from);
    assert_eq!(wanted, [missing(1, 1), missing(3, 3)]);
    let ServerFrame::Clock(clock) = raj.wire.frame().await else { panic!() };
    assert_eq!(clock.get(raj.member), 0);
    for packet in [three, one] {
        raj.wire.send(&ClientFrame::Broadcast(packet)).await;
    }
    for text in ["one", "two", "three"] {
        ann.expect_text(raj.member, text).await;
        raj.expect_text(raj.member, text).await;
    }
    // Nothing is missing any more.
    raj.wire.send(&ClientFrame::Clock(raj.group.clock())).await;
    assert_eq!(raj.wire.frame().await, ServerFrame::Clock(raj.group.clock()));

    // The other way: the server sends again, with the old positions.
    ann.wire.send(&ClientFrame::Want(vec![missing(3, u64::MAX), missing(1, 1)])).await;
    let mut positions = Vec::new();
    for _ in 0..2 {
        let ServerFrame::Delivered(record) = ann.wire.frame().await else { panic!() };
        positions.push(record.position);
    }
    assert_eq!(positions, [Position::new(3), Position::new(5)]);
    ann.wire.ping().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_twice_is_delivered_once() {
    let server = started().await;
    let (mut ann, mut raj) = two(&server).await;
    let packet = raj.stamp_text("once");
    for _ in 0..3 {
        raj.wire.send(&ClientFrame::Broadcast(packet.clone())).await;
    }
    raj.say("then").await;
    for reader in [&mut ann, &mut raj] {
        let from = MemberId::new(0, 2);
        reader.expect_text(from, "once").await;
        reader.expect_text(from, "then").await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_connection_gets_its_answers() {
    let server = started().await;
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&ClientFrame::Ping(1)).await;
    tokio::io::AsyncWriteExt::shutdown(&mut wire.stream).await.unwrap();
    assert_eq!(wire.frame().await, ServerFrame::Pong(1));
    assert_eq!(tokio::time::timeout(PATIENCE, wire.next()).await.unwrap(), None);
    server.stop().await;
}
