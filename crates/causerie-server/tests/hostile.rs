//! Clients that mean harm, or are broken. In each test two others in the same room talk on, and lose nothing.

mod common;

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::Bytes;
use causerie_core::room::RoomSettings;
use causerie_core::wire::{ClientFrame, ErrorCode, MAGIC, ServerFrame, VERSION};
use causerie_server::Settings;
use cbcast::wire::put_varint;
use cbcast::{Kind, MemberId, Message, MessageId};
use common::{Classic, Event, Harness, Native, Pair, Random, Wire, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A server, and the pair that talks in its lobby.
async fn talking(settings: Settings) -> (Harness, Pair) {
    let server = Harness::start(settings).await;
    let pair = Pair::start(server.address, "lobby").await;
    (server, pair)
}

/// Mallory joins where the pair talks.
async fn mallory(server: &Harness) -> Native {
    Native::join(server.address, "lobby", "Mallory").await
}

/// The next frame that is no record of what the others say.
async fn answer(native: &mut Native) -> Option<ServerFrame> {
    loop {
        match native.wire.next().await {
            Some(ServerFrame::Delivered(record)) => drop(native.take(record)),
            frame => return frame,
        }
    }
}

/// The packet is refused for good, and the membership ends.
async fn is_fatal(native: &mut Native, packet: Bytes) -> String {
    native.wire.send(&ClientFrame::Broadcast(packet)).await;
    let frame = answer(native).await;
    let Some(ServerFrame::Refused { is_final: true, reason, .. }) = frame else { panic!("{frame:?}") };
    let frame = answer(native).await;
    let Some(ServerFrame::Error(error)) = frame else { panic!("{frame:?}") };
    assert_eq!((error.code, error.fatal), (ErrorCode::MembershipEnded, true));
    assert_eq!(answer(native).await, None);
    reason
}

/// A packet that nobody honest writes.
fn packet(id: MessageId, deps: &[MessageId], payload: &[u8]) -> Bytes {
    Message::new(id, Kind::Data, deps, payload).unwrap().into_packet()
}

/// Joins as a fresh member for each of the packets, each of which must end that membership, and nobody else's.
async fn all_fatal(what: &[fn(MemberId) -> Bytes]) {
    let (server, pair) = talking(Settings::default()).await;
    let mut gone = Vec::new();
    for bad in what {
        let mut mallory = mallory(&server).await;
        let bad = bad(mallory.member);
        is_fatal(&mut mallory, bad).await;
        gone.push(Event::Joined("Mallory".into()));
        gone.push(Event::Left(mallory.member));
        server.members("lobby", 2).await;
    }
    assert_eq!(pair.finish().await, gone);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_behind_the_magic() {
    let (server, pair) = talking(Settings::default()).await;
    for garbage in [&[0xff; 20][..], &[0], &[0x80, 0], &[2, 0x01, 0xff], b"\x05\x01\x01\x01\x02\xff"] {
        let mut wire = Wire::connect(server.address).await;
        wire.send_bytes(garbage).await;
        wire.fatal(ErrorCode::Malformed).await;
    }
    // A frame that is whole, and no hello.
    let elsewhere = Wire::greeted(server.address).await;
    for frame in [
        ClientFrame::ListRooms,
        ClientFrame::Broadcast(Bytes::from_static(b"x")),
        elsewhere.join_frame("lobby", "Mallory"),
    ] {
        let mut wire = Wire::connect(server.address).await;
        wire.send(&frame).await;
        wire.fatal(ErrorCode::Unexpected).await;
    }
    // In the middle of a membership.
    let mut mallory = mallory(&server).await;
    mallory.wire.send_bytes(&[3, 0x06, 0xff, 0xff]).await;
    let frame = answer(&mut mallory).await;
    assert!(
        matches!(&frame, Some(ServerFrame::Error(e)) if e.code == ErrorCode::Malformed && e.fatal),
        "{frame:?}"
    );
    assert_eq!(pair.finish().await, [Event::Joined("Mallory".into())], "it is within grace");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_longer_than_the_limit() {
    let (server, pair) = talking(Settings::default()).await;
    let limit = RoomSettings::default().frame_bytes_max() as u64;
    for length in [limit + 1, 1 << 30, u64::MAX] {
        let mut wire = Wire::greeted(server.address).await;
        let mut bytes = Vec::new();
        put_varint(&mut bytes, length);
        wire.send_bytes(&bytes).await;
        wire.fatal(ErrorCode::FrameTooLong).await;
    }
    // The longest that is allowed.
    let mut wire = Wire::greeted(server.address).await;
    let mut bytes = Vec::new();
    put_varint(&mut bytes, limit);
    bytes.push(0x7f);
    bytes.resize(bytes.len() + limit as usize - 1, 0);
    wire.send_bytes(&bytes).await;
    wire.ping().await;
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_cut_in_the_middle() {
    let (server, pair) = talking(Settings::default()).await;
    let mut whole = MAGIC.to_vec();
    ClientFrame::Hello { oldest: 1, newest: 1, agent: "test".into() }.encode(&mut whole);
    for cut in 1..whole.len() {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&whole[..cut]).await.unwrap();
        stream.shutdown().await.unwrap();
        within("the end", stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
    // A broadcast cut off is not taken.
    let mut mallory = mallory(&server).await;
    let mut bytes = Vec::new();
    ClientFrame::Broadcast(mallory.stamp_text("half a message")).encode(&mut bytes);
    mallory.wire.send_bytes(&bytes[..bytes.len() - 3]).await;
    mallory.wire.stream.shutdown().await.unwrap();
    let frame = answer(&mut mallory).await;
    assert!(matches!(&frame, Some(ServerFrame::Error(e)) if e.code == ErrorCode::Malformed), "{frame:?}");
    assert_eq!(pair.finish().await, [Event::Joined("Mallory".into())]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_does_not_end() {
    let settings = Settings { first_words: Duration::from_millis(200), ..Settings::default() };
    let (server, pair) = talking(settings).await;
    let mut hello = Wire::connect(server.address).await;
    hello.send_bytes(&[9, 0x01]).await;
    hello.fatal(ErrorCode::TimedOut).await;
    // Nothing at all behind the magic.
    Wire::connect(server.address).await.fatal(ErrorCode::TimedOut).await;
    let mut mallory = mallory(&server).await;
    mallory.wire.send_bytes(&[200]).await;
    let frame = answer(&mut mallory).await;
    assert!(matches!(&frame, Some(ServerFrame::Error(e)) if e.code == ErrorCode::TimedOut), "{frame:?}");
    assert_eq!(answer(&mut mallory).await, None);
    pair.finish().await;
    server.stop().await;
}

// One thread, so that connections are served in the order in which they are made.
#[tokio::test]
async fn of_too_many_silent_connections_the_oldest_closes() {
    let (server, pair) = talking(Settings { silent_max: 3, ..Settings::default() }).await;
    let mut speaking = Classic::connect(server.address).await;
    speaking.send("./rooms\n").await;
    speaking.line().await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(Classic::connect(server.address).await);
    }
    for oldest in &mut silent[..3] {
        oldest.ended().await;
    }
    // The others have stayed, and speak when they like.
    for client in silent[3..].iter_mut().chain([&mut speaking]) {
        client.send("./rooms\n").await;
        assert!(client.line().await.contains("lobby"));
    }
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_for_too_long_is_closed() {
    let settings = Settings { silent_time: Duration::from_millis(200), ..Settings::default() };
    let (server, pair) = talking(settings).await;
    let mut speaking = Wire::greeted(server.address).await;
    for _ in 0..3 {
        Classic::connect(server.address).await.ended().await;
    }
    // Who has spoken may be silent.
    speaking.ping().await;
    pair.finish().await;
    server.stop().await;
}

/// A WebSocket, byte by byte.
struct Frames(TcpStream);

impl Frames {
    /// Opened, and where a name is given, joined.
    async fn open(server: &Harness, name: Option<&str>) -> Self {
        let mut frames = Self(TcpStream::connect(server.address).await.unwrap());
        let request = format!(
            "GET /api/rooms/lobby/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            server.address
        );
        frames.0.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("the upgrade", frames.0.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        if let Some(name) = name {
            frames.send(0x81, format!(r#"{{"type":"join","name":"{name}"}}"#).as_bytes()).await.unwrap();
            frames.hear("welcome").await;
        }
        frames
    }

    /// A frame, masked with zeros. The server may have closed.
    async fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        within("sending", self.0.write_all(&frame(first, payload))).await
    }

    /// Reads frames up to a text with these words; `None` at the end.
    async fn try_hear(&mut self, words: &str) -> Option<()> {
        loop {
            let first = within("a frame", self.0.read_u8()).await.ok()?;
            let length = match self.0.read_u8().await.ok()? {
                126 => self.0.read_u16().await.ok()?.into(),
                127 => self.0.read_u64().await.ok()?,
                short => short.into(),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            if first == 0x81 && String::from_utf8(payload).unwrap().contains(words) {
                return Some(());
            }
        }
    }

    async fn hear(&mut self, words: &str) {
        self.try_hear(words).await.unwrap_or_else(|| panic!("the end, and not {words}"));
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0xfe);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn web_sockets_that_break_the_rules() {
    let (server, pair) = talking(Settings::default()).await;
    let unmasked = [&[0x81, 15][..], br#"{"type":"ping"}"#].concat();
    for (n, (what, bytes)) in [
        ("not masked", unmasked),
        ("a ping of 126 bytes", frame(0x89, &[b'x'; 126])),
        ("a ping in fragments", frame(0x09, b"x")),
        ("a close of one byte", frame(0x88, b"x")),
        ("an unknown kind", frame(0x83, b"x")),
        ("an unknown control", frame(0x8b, b"x")),
        ("a reserved bit", frame(0xc1, b"{}")),
        ("not UTF-8", frame(0x81, b"\"\xff\"")),
        ("half a character", frame(0x81, b"\"caf\xc3")),
        ("half a surrogate pair", frame(0x81, b"\"\xed\xa0\x80\"")),
        ("a continuation of nothing", frame(0x80, b"x")),
        ("a text within a text", [frame(0x01, b"{"), frame(0x81, b"}")].concat()),
        ("2^63 bytes", vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("2^63 - 1 bytes", vec![0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        ("a gibibyte", vec![0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]),
    ]
    .into_iter()
    .enumerate()
    {
        for name in [None, Some(format!("Mallory{n}"))] {
            let mut frames = Frames::open(&server, name.as_deref()).await;
            frames.0.write_all(&bytes).await.unwrap();
            // Without waiting for what was announced, in eight bytes.
            let code = if bytes.starts_with(&[0x81, 0xff]) { "too_long" } else { "malformed" };
            let told = frames.try_hear(&format!(r#""code":"{code}""#)).await;
            assert!(told.is_some() && frames.try_hear("anything").await.is_none(), "{what}: {told:?}");
        }
    }
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web_socket_messages_of_endless_fragments() {
    let (server, pair) = talking(Settings::default()).await;
    let mut frames = Frames::open(&server, Some("Mallory")).await;
    // One byte at a time, until it is more than a message may be.
    frames.send(0x01, b"x").await.unwrap();
    let limit = 6 * RoomSettings::default().text_bytes_max + (4 << 10);
    let mut sent = 1;
    while frames.send(0x00, b"x").await.is_ok() {
        sent += 1;
        // What is on its way may be more than what was read.
        assert!(sent < 100 * limit, "it is still read");
    }
    // Of fragments with nothing in them nothing is kept, and others go on meanwhile; controls may stand between.
    let mut frames = Frames::open(&server, Some("Patient")).await;
    frames.send(0x01, br#"{"type":"#).await.unwrap();
    let nothing = [frame(0x00, b""), frame(0x8a, b"")].concat().repeat(1_000);
    for _ in 0..200 {
        frames.0.write_all(&nothing).await.unwrap();
    }
    frames.send(0x80, br#""ping"}"#).await.unwrap();
    frames.hear("pong").await;
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections() {
    let (server, pair) = talking(Settings { connections_max: 4, ..Settings::default() }).await;
    let mut others = [Wire::greeted(server.address).await, Wire::greeted(server.address).await];
    for _ in 0..10 {
        let mut refused = Classic::connect(server.address).await;
        refused.expect("Error: too many connections; try again later").await;
        refused.ended().await;
    }
    for wire in &mut others {
        wire.ping().await;
    }
    // Whose place is free is taken by the next.
    let [gone, _stays] = others;
    drop(gone);
    within("a place", async {
        loop {
            let mut next = Classic::connect(server.address).await;
            next.send("./rooms\n").await;
            let line = next.raw_line().await;
            if line.starts_with(b"{") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_magic_and_silence() {
    let settings = Settings { first_words: Duration::from_millis(200), ..Settings::default() };
    let (server, pair) = talking(settings).await;
    let mut wire = Classic::connect(server.address).await;
    wire.send(&MAGIC[..2]).await;
    // It was text, then.
    wire.expect(r#"{"status": 400, "type": "error", "message": "that was not UTF-8"}"#).await;
    wire.send("./rooms").await;
    assert!(wire.line().await.contains("lobby"));
    // In pieces, but in time.
    let mut slow = Wire::new(TcpStream::connect(server.address).await.unwrap());
    for byte in MAGIC {
        slow.send_bytes(&[byte]).await;
    }
    slow.hello().await;
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_spoken() {
    let (server, pair) = talking(Settings::default()).await;
    for (oldest, newest) in [(7, 9), (0, 0), (1, 1), (2, 1), (u64::MAX, u64::MAX)] {
        let mut wire = Wire::connect(server.address).await;
        wire.send(&ClientFrame::Hello { oldest, newest, agent: "\x1b[2J".into() }).await;
        wire.fatal(ErrorCode::Version).await;
    }
    let mut wire = Wire::connect(server.address).await;
    wire.send(&ClientFrame::Hello { oldest: 0, newest: u64::MAX, agent: String::new() }).await;
    assert!(matches!(wire.frame().await, ServerFrame::Hello { version: 2, .. }));
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_before_joining() {
    let (server, pair) = talking(Settings::default()).await;
    let mut wire = Wire::greeted(server.address).await;
    let id = MessageId::new(MemberId::new(0, 1), 1_000_000);
    for frame in [
        ClientFrame::Broadcast(packet(id, &[], b"\x01x")),
        ClientFrame::Leave { last_seq: 0 },
        ClientFrame::ListMembers,
        ClientFrame::Want(Vec::new()),
        ClientFrame::Clock([(MemberId::new(0, 1), 9)].into_iter().collect()),
        ClientFrame::Hello { oldest: 1, newest: 1, agent: "again".into() },
    ] {
        wire.send(&frame).await;
        wire.refused(ErrorCode::Unexpected).await;
    }
    wire.join("lobby", "Raj").await;
    assert!(matches!(wire.frame().await, ServerFrame::Welcome(_)));
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_that_cannot_be() {
    all_fatal(&[
        // Another member's, and the host's.
        |_| packet(MessageId::new(MemberId::new(0, 1), 1_000_000), &[], b"\x01I am Ann"),
        |_| packet(MessageId::new(MemberId::host(0), 9), &[], b"\x01I am the host"),
        // Of nobody, and of another server.
        |m| packet(MessageId::new(MemberId::new(0, m.ordinal + 1), 1), &[], b"\x01x"),
        |m| packet(MessageId::new(MemberId::new(7, m.ordinal), 1), &[], b"\x01x"),
        // From the future: a message that is not delivered, a member that has not joined.
        |m| packet(MessageId::new(m, 1), &[MessageId::new(MemberId::new(0, 1), 1 << 40)], b"\x01x"),
        |m| packet(MessageId::new(m, 1), &[MessageId::new(MemberId::new(0, 500_000), 1)], b"\x01x"),
        |m| packet(MessageId::new(m, 3), &[MessageId::new(MemberId::host(0), 1 << 40)], b"\x01x"),
        // Of servers that have no part in the room.
        |m| packet(MessageId::new(m, 1), &[MessageId::new(MemberId::host(7), 1)], b"\x01x"),
        |m| {
            let deps: Vec<_> = (1..5_000).map(|n| MessageId::new(MemberId::new(7, n), 1)).collect();
            packet(MessageId::new(m, 1), &deps, b"\x01x")
        },
        // A host's word.
        |_| {
            let id = MessageId::new(MemberId::host(0), 1_000);
            Message::new(id, Kind::Joined(MemberId::new(0, 9)), &[], b"Eve").unwrap().into_packet()
        },
        |_| {
            let id = MessageId::new(MemberId::host(0), 1_000);
            let kind = Kind::Left { member: MemberId::new(0, 1), last_seq: 0 };
            Message::new(id, kind, &[], b"").unwrap().into_packet()
        },
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_cannot_be_read() {
    all_fatal(&[
        |_| Bytes::new(),
        |_| Bytes::from_static(&[0xff; 100]),
        |_| Bytes::from_static(&[9, 0, 1, 1, 0]),
        // Number 0.
        |m| Bytes::from(vec![0, 0, m.ordinal as u8, 0, 0]),
        // The same foreign origin twice, each time with the same member.
        |m| Bytes::from(vec![0, 0, m.ordinal as u8, 1, 1, 2, 7, 1, 0, 0, 7, 1, 0, 0, 1, b'x']),
        // The own origin as a foreign one; itself among its dependencies.
        |m| Bytes::from(vec![0, 0, m.ordinal as u8, 1, 1, 1, 0, 1, 1, 0, 1, b'x']),
        |m| Bytes::from(vec![0, 0, m.ordinal as u8, 1, 2, m.ordinal as u8, 0, 1, b'x']),
        // More dependencies than bytes, more groups than bytes.
        |m| Bytes::from(vec![0, 0, m.ordinal as u8, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 0]),
        |m| Bytes::from(vec![0, 0, m.ordinal as u8, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 7, 1]),
        // An integer that is longer than it need be.
        |m| Bytes::from(vec![0, 0, m.ordinal as u8, 0x81, 0x00, 0, 1, b'x']),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_dependencies() {
    all_fatal(&[
        // On members that there have never been.
        |m| {
            let nobody = m.ordinal + 1..m.ordinal + 5_000;
            let deps: Vec<_> = nobody.map(|n| MessageId::new(MemberId::new(0, n), 1)).collect();
            packet(MessageId::new(m, 1), &deps, b"\x01x")
        },
        // On more members than a room has, of a server that there is not.
        |m| {
            let deps: Vec<_> = (1..20_000).map(|n| MessageId::new(MemberId::new(7, n), 1)).collect();
            packet(MessageId::new(m, 1), &deps, b"\x01x")
        },
    ])
    .await;
}

/// There is one server, but a client can write as if there were others. Whatever the server makes of it, it is
/// that client's own loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_far_ahead_is_refused_for_now() {
    let (server, pair) = talking(Settings::default()).await;
    let mut mallory = mallory(&server).await;
    for seq in [5_000, u64::MAX] {
        let far = packet(MessageId::new(mallory.member, seq), &[], b"\x01far");
        mallory.wire.send(&ClientFrame::Broadcast(far)).await;
        let frame = answer(&mut mallory).await;
        let Some(ServerFrame::Refused { seq: refused, is_final: false, .. }) = frame else {
            panic!("{frame:?}")
        };
        assert_eq!(refused, Some(seq));
    }
    // Nothing has ended.
    mallory.say("near").await;
    let member = mallory.member;
    while mallory.event().await != Event::Text(member, "near".into()) {}
    let others = pair.finish().await;
    assert_eq!(others, [Event::Joined("Mallory".into()), Event::Text(member, "near".into())]);
    server.stop().await;
}

/// Whose first message never comes fills what the room has for holding back. Who sends in order needs none of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_is_never_filled() {
    let (server, pair) = talking(Settings::default()).await;
    let mut mallory = mallory(&server).await;
    let text = [&[1][..], &[b'x'; 16_384]].concat();
    for seq in 2..=1_025 {
        let ahead = packet(MessageId::new(mallory.member, seq), &[], &text);
        mallory.wire.send(&ClientFrame::Broadcast(ahead)).await;
    }
    mallory.wire.send(&ClientFrame::Ping(1)).await;
    let mut refused = 0;
    loop {
        match answer(&mut mallory).await {
            Some(ServerFrame::Refused { is_final: false, .. }) => refused += 1,
            Some(ServerFrame::Pong(1)) => break,
            frame => panic!("{frame:?}"),
        }
    }
    assert!(refused > 0, "the room is full");
    assert_eq!(pair.finish().await, [Event::Joined("Mallory".into())]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_cannot_be() {
    fn text(m: MemberId, payload: &[u8]) -> Bytes {
        packet(MessageId::new(m, 1), &[], payload)
    }
    all_fatal(&[
        |m| text(m, &[&[1][..], &vec![b'x'; 16_385]].concat()),
        |m| text(m, &[9; 16_386]),
        |m| text(m, b"\x01\xff"),
        |m| text(m, b"\x01caf\xc3"),
        |m| text(m, b"\x01\xed\xa0\x80"),
    ])
    .await;
    // The longest that is allowed, from a classic client's view too.
    let (server, pair) = talking(Settings::default()).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let long = "\u{e9}".repeat(8_192);
    raj.say(&long).await;
    let member = raj.member;
    while raj.event().await != Event::Text(member, long.clone()) {}
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_kinds_are_skipped_and_later_fields_ignored() {
    let (server, pair) = talking(Settings::default()).await;
    let mut wire = Wire::connect(server.address).await;
    // A hello of a later version: something behind its fields.
    wire.send_bytes(b"\x0a\x01\x02\x03\x01xlater").await;
    let ServerFrame::Hello { version: 2, challenge, .. } = wire.frame().await else { panic!() };
    wire.challenge = challenge;
    for kind in [0x00, 0x0f, 0x7f, 0x81, 0x84, 0xff] {
        wire.send_bytes(&[4, kind, 1, 2, 3]).await;
        wire.send_bytes(&[1, kind]).await;
        wire.ping().await;
    }
    wire.send_bytes(b"\x07\x06\x4dlater").await;
    assert_eq!(wire.frame().await, ServerFrame::Pong(77));
    wire.send_bytes(b"\x06\x07later").await;
    assert!(matches!(wire.frame().await, ServerFrame::Rooms(_)));
    let mut join = Vec::new();
    wire.join_frame("lobby", "Raj").encode(&mut join);
    // Its length is below 128 still, with five bytes more.
    join[0] += 5;
    join.extend_from_slice(b"later");
    wire.send_bytes(&join).await;
    assert!(matches!(wire.frame().await, ServerFrame::Welcome(_)));
    pair.finish().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_holds_nobody_up() {
    const MESSAGES: usize = 20_000;
    const BYTES: usize = 800;
    // Much less than is said: who reads later reads from the store.
    let room = RoomSettings { log_bytes_max: 256 << 10, ..RoomSettings::default() };
    let (server, pair) = talking(Settings { room, ..Settings::default() }).await;
    // Small buffers, so that what is not read stays with the server.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut wire = Wire::new(socket.connect(server.address).await.unwrap());
    wire.send_bytes(&MAGIC).await;
    wire.hello().await;
    wire.join("lobby", "Slow").await;
    let mut slow = Native::welcomed(wire).await;

    let mut noisy = Native::join(server.address, "lobby", "Noisy").await;
    let member = noisy.member;
    let text = |n: usize| format!("{n:0BYTES$}");
    let mut heard = 0;
    // All are taken, delivered and read by their author, while the slow one reads nothing at all.
    let loud = async {
        for n in 0..MESSAGES {
            noisy.say(&text(n)).await;
            // Not more on the way than a test may hold.
            while n - heard >= 1_000 {
                heard += usize::from(matches!(noisy.event().await, Event::Text(m, _) if m == member));
            }
        }
        while heard < MESSAGES {
            heard += usize::from(matches!(noisy.event().await, Event::Text(m, _) if m == member));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), loud).await.expect("the noisy one is not held up");
    let others = pair.finish().await;
    let said =
        |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Text(m, _) if *m == member)).count();
    assert_eq!(said(&others), MESSAGES, "the pair's last turn comes behind all of them");

    let catching_up = async {
        let mut next = 0;
        while next < MESSAGES {
            if let Event::Text(from, said) = slow.event().await
                && from == member
            {
                assert_eq!(said, text(next));
                next += 1;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), catching_up).await.expect("the slow one gets everything");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes() {
    const CONNECTIONS: u64 = 200;
    let seed: u64 = std::env::var("CAUSERIE_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into());
    println!("CAUSERIE_SEED={seed}");
    let (server, pair) = talking(Settings::default()).await;
    let mut tasks = Vec::new();
    for n in 0..CONNECTIONS {
        let address = server.address;
        tasks.push(tokio::spawn(async move {
            let mut random = Random(seed ^ (n << 40));
            let mut bytes = Vec::new();
            let mut wire = match n % 4 {
                3 => Wire::greeted(address).await,
                _ => Wire::new(TcpStream::connect(address).await.unwrap()),
            };
            match n % 4 {
                1 => bytes.extend_from_slice(&MAGIC),
                2 => {
                    bytes.extend_from_slice(&MAGIC);
                    let agent = "random".into();
                    ClientFrame::Hello { oldest: VERSION, newest: VERSION, agent }.encode(&mut bytes);
                }
                _ => {}
            }
            if n % 4 == 3 {
                // Members who send frames of the right shape with anything in them.
                wire.join_frame("lobby", &format!("Random{n}")).encode(&mut bytes);
                for _ in 0..30 {
                    let length = random.below(40);
                    bytes.extend_from_slice(&[length as u8 + 1, random.below(14) as u8]);
                    bytes.extend(random.bytes(length));
                }
            } else {
                let length = random.below(4_000);
                bytes.extend(random.bytes(length));
            }
            let stream = &mut wire.stream;
            while !bytes.is_empty() {
                let later = bytes.split_off(bytes.len().min(1 + random.below(1_000)));
                let now = std::mem::replace(&mut bytes, later);
                // The server may have had enough.
                if stream.write_all(&now).await.is_err() {
                    return;
                }
            }
            let _ = stream.shutdown().await;
            match stream.read_to_end(&mut Vec::new()).await {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }));
    }
    for task in tasks {
        within("a random connection to end", task).await.unwrap();
    }
    pair.finish().await;
    // And all is well.
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    raj.say("hello").await;
    let member = raj.member;
    while raj.event().await != Event::Text(member, "hello".into()) {}
    server.stop().await;
}
