//! Clients that ask for much: what is made for them is made in turns, as they read it, and is counted.

mod common;

use std::io::ErrorKind;
use std::sync::Arc;

use causerie_core::id::Position;
use causerie_core::room::RoomSettings;
use causerie_core::wire::{ClientFrame, Direction, HistoryQuestion, Place, ServerFrame};
use causerie_server::{IrcSettings, Settings};
use cbcast::MissingRange;
use common::limited::Limited;
use common::{Event, Harness, Native, Wire, metric, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// What waits for a client before it is read no further, and beside that the last piece.
const FULL: f64 = (64 << 10) as f64;
const FULL_AND_A_PIECE: f64 = 2.0 * FULL;

/// Connected, with little room for what is not read.
async fn narrow(server: &Harness) -> Wire {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut wire = Wire::new(socket.connect(server.address).await.unwrap());
    wire.send_bytes(&causerie_core::wire::MAGIC).await;
    wire.hello().await;
    wire
}

/// Waits until so much, or more, is counted. Returns how much it is then.
async fn at_least(server: &Harness, name: &str, least: f64) -> f64 {
    within(name, async {
        loop {
            match metric(server, name).await {
                value if value >= least => return value,
                _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    })
    .await
}

/// Waits until nothing is counted any more.
async fn nothing(server: &Harness, name: &str) {
    within(name, async {
        while metric(server, name).await > 0.0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// So many others in the room, with long names.
async fn crowd(server: &Harness, count: usize) -> Vec<Wire> {
    let mut crowd = Vec::new();
    for n in 0..count {
        let mut wire = Wire::greeted(server.address).await;
        wire.join("lobby", &format!("{}{n:03}", "長".repeat(29))).await;
        let frame = wire.frame().await;
        assert!(matches!(frame, ServerFrame::Welcome(_)), "{frame:?}");
        crowd.push(wire);
    }
    crowd
}

/// Says so many long messages, and reads them back.
async fn say_much(native: &mut Native, count: usize) {
    for n in 0..count {
        let text = format!("{n} {}", "long ".repeat(3_000));
        native.say(&text).await;
        native.expect_text(native.member, &text).await;
    }
}

/// On one thread: whatever the server does before the other is answered, it does before this test goes on.
#[tokio::test]
async fn others_are_answered_between_the_pieces_of_long_answers() {
    /// Far less than a socket takes: some four times as much.
    const BEFORE: usize = 1 << 20;
    let irc = IrcSettings { lines_per_second: 0, ..IrcSettings::default() };
    let server = Harness::start(Settings { irc, ..Settings::default() }).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let _crowd = crowd(&server, 100).await;
    for _ in 0..100 {
        ann.event().await;
    }
    for (first, question) in [
        ("NICK much\r\nUSER much 0 * :Much\r\nJOIN #lobby\r\n", "WHO #lobby\r\n"),
        ("./join lobby\nMuch\n", "./members\n"),
    ] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1 << 20).unwrap();
        let mut much = socket.connect(server.address).await.unwrap();
        much.write_all(first.as_bytes()).await.unwrap();
        assert!(matches!(ann.event().await, Event::Joined(_)));
        ann.wire.ping().await;
        // Written at once, so the server comes to it and to the other together.
        much.write_all(question.repeat(2_000).as_bytes()).await.unwrap();
        ann.wire.ping().await;
        let (mut told, mut piece) = (0, vec![0; 1 << 20]);
        loop {
            match much.try_read(&mut piece) {
                Ok(bytes) => told += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(told <= BEFORE, "{told} bytes for {question:?} before another was answered");
        much.shutdown().await.unwrap();
        drop(much);
        assert!(matches!(ann.event().await, Event::Left(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_wants_is_sent_as_it_is_read() {
    const MESSAGES: usize = 100;
    const QUESTIONS: usize = 10;
    let server = Harness::start(Settings::default()).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    say_much(&mut ann, MESSAGES).await;
    let mut wire = narrow(&server).await;
    wire.join("lobby", "Raj").await;
    let mut raj = Native::welcomed(wire).await;
    let all = MissingRange { member: ann.member, from: 1, to: u64::MAX };
    for _ in 0..QUESTIONS {
        raj.wire.send(&ClientFrame::Want(vec![all])).await;
    }
    let unread = at_least(&server, "causerie_unread_bytes", FULL).await;
    assert!(unread < FULL_AND_A_PIECE, "{unread} bytes wait for one that does not read");
    for n in 0..QUESTIONS * MESSAGES {
        let frame = raj.wire.frame().await;
        let ServerFrame::Delivered(record) = frame else { panic!("{frame:?}") };
        // Behind Ann's own joining.
        assert_eq!(record.position, Position::new(2 + (n % MESSAGES) as u64));
    }
    raj.wire.ping().await;
    nothing(&server, "causerie_unread_bytes").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_is_told_as_it_is_read() {
    const QUESTIONS: usize = 1_000;
    let server = Harness::start(Settings::default()).await;
    let _crowd = crowd(&server, 150).await;
    let mut wire = narrow(&server).await;
    wire.join("lobby", "Raj").await;
    let mut raj = Native::welcomed(wire).await;
    for _ in 0..QUESTIONS {
        raj.wire.send(&ClientFrame::ListMembers).await;
    }
    let unread = at_least(&server, "causerie_unread_bytes", FULL).await;
    assert!(unread < FULL_AND_A_PIECE, "{unread} bytes wait for one that does not read");
    for _ in 0..QUESTIONS {
        let frame = raj.wire.frame().await;
        let ServerFrame::Members(members) = frame else { panic!("{frame:?}") };
        assert_eq!((members.len(), &members[150].name[..]), (151, "Raj"));
    }
    // Whoever comes is in the next answer, and in the order of what is said.
    let mut late = Wire::greeted(server.address).await;
    late.join("lobby", "Late").await;
    assert!(matches!(late.frame().await, ServerFrame::Welcome(_)));
    raj.wire.send(&ClientFrame::Ping(1)).await;
    raj.wire.send(&ClientFrame::ListMembers).await;
    raj.wire.send(&ClientFrame::Ping(2)).await;
    let mut answers = Vec::new();
    while answers.last() != Some(&ServerFrame::Pong(2)) {
        match raj.wire.frame().await {
            ServerFrame::Delivered(record) => drop(raj.take(record)),
            answer => answers.push(answer),
        }
    }
    let [ServerFrame::Pong(1), ServerFrame::Members(members), ServerFrame::Pong(2)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((members.len(), &members[151].name[..]), (152, "Late"));
    nothing(&server, "causerie_unread_bytes").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rooms_hold_back_counts_with_what_is_left_unread() {
    let room = RoomSettings { members_max: 10, ..RoomSettings::default() };
    let settings = Settings { room, unread_bytes_max: 256 << 10, ..Settings::default() };
    let server = Harness::start(settings).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    say_much(&mut ann, 10).await;
    let missing = ann.stamp_text("never sent");
    while metric(&server, "causerie_held_bytes").await < (200 << 10) as f64 {
        ann.say(&"held ".repeat(800)).await;
        ann.wire.ping().await;
    }
    // Alone it would not be too much for one that does not read.
    let mut wire = narrow(&server).await;
    let mut asked = Vec::new();
    let (room, direction, place) = ("lobby".into(), Direction::After, Place::Position(Position::START));
    let question = HistoryQuestion { room, epoch: None, direction, place, limit: 1_000, wait_millis: 0 };
    ClientFrame::History(question).encode(&mut asked);
    // Until the server ends the connection.
    let asking = async { while wire.stream.write_all(&asked).await.is_ok() {} };
    within("a connection to be ended", asking).await;
    assert!(metric(&server, "causerie_connections_cut_total").await >= 1.0);
    assert!(metric(&server, "causerie_held_bytes").await >= (200 << 10) as f64, "and takes nothing else");
    ann.wire.send(&ClientFrame::Broadcast(missing)).await;
    ann.expect_text(ann.member, "never sent").await;
    nothing(&server, "causerie_held_bytes").await;
    // Nor does it stay when its client goes.
    ann.stamp_text("never sent either");
    for _ in 0..10 {
        ann.say(&"held ".repeat(800)).await;
    }
    at_least(&server, "causerie_held_bytes", 1.0).await;
    drop(ann);
    nothing(&server, "causerie_held_bytes").await;
    server.stop().await;
}

/// Reads along from the beginning.
async fn onlooker(server: &Harness) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost: localhost";
    let watch = br#"{"type":"watch","after":0}"#;
    let mut words = format!("GET /api/rooms/lobby/ws HTTP/1.1\r\n{head}\r\n\r\n").into_bytes();
    // Masked with zeros.
    words.extend([0x81, 0x80 | watch.len() as u8, 0, 0, 0, 0]);
    words.extend_from_slice(watch);
    stream.write_all(&words).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_only_look_take_no_places_of_members() {
    let room = RoomSettings { log_bytes_max: 1 << 10, ..RoomSettings::default() };
    let store = Arc::new(Limited::default());
    let server = Harness::with_store(Settings { room, ..Settings::default() }, store.clone()).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    say_much(&mut ann, 10).await;
    let held = store.hold_reads();
    let mut onlookers = Vec::new();
    for _ in 0..8 {
        onlookers.push(onlooker(&server).await);
    }
    // As many as strangers have places. A member reads meanwhile.
    store.holds_reads(2).await;
    ann.wire.ping().await;
    let first = MissingRange { member: ann.member, from: 1, to: 1 };
    ann.wire.send(&ClientFrame::Want(vec![first])).await;
    let frame = ann.wire.frame().await;
    assert!(
        matches!(&frame, ServerFrame::Delivered(record) if record.position == Position::new(2)),
        "{frame:?}"
    );
    drop(held);
    for onlooker in &mut onlookers {
        let mut told = Vec::new();
        while !String::from_utf8_lossy(&told).contains("9 long") {
            assert_ne!(within("the log", onlooker.read_buf(&mut told)).await.unwrap(), 0);
        }
    }
    server.stop().await;
}
