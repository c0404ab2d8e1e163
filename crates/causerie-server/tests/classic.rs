//! Sessions of classic clients, as the original program's users had them.

mod common;

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use causerie_core::content::body::Body;
use causerie_core::wire::{ClientFrame, ServerFrame};
use causerie_server::Settings;
use cbcast::MessageId;
use common::{Classic, Event, Harness, Native, Wire, capture_log};

/// A server and the address of a room of its own port in it.
async fn with_room() -> (Harness, std::net::SocketAddr) {
    let server = Harness::start(Settings::default()).await;
    let port = Classic::connect(server.address).await.create_room().await;
    let room = server.port(port);
    (server, room)
}

/// Two members in line mode; the newcomer has been announced.
async fn two(room: std::net::SocketAddr) -> (Classic, Classic) {
    let mut akshat = Classic::enter(room, "Akshat").await;
    akshat.send("./members\n").await;
    akshat.expect("['Akshat']").await;
    let raj = Classic::enter(room, "Raj").await;
    akshat.expect("Raj joined the chatroom").await;
    (akshat, raj)
}

// One thread, so that the log can be captured.
#[tokio::test]
async fn the_original_session() {
    let (log, _guard) = capture_log();
    let server = Harness::start(Settings::default()).await;
    let mut controller = Classic::connect(server.address).await;
    controller.send("./createRoom").await;
    let port = server.address.port() + 1;
    let created = format!(
        "{{\"status\": 200, \"port\": {port}, \"type\": \"creation\", \"message\": \"CHATROOM CREATED\"}}\n"
    );
    assert_eq!(String::from_utf8(controller.raw_line().await).unwrap(), created);

    // Without line ends, each text waits until the one before has had its effect.
    let mut akshat = Classic::connect(server.port(port)).await;
    akshat.send("Akshat").await;
    server.members(&port.to_string(), 1).await;
    let mut raj = Classic::connect(server.port(port)).await;
    raj.send("Raj").await;
    akshat.expect("Raj joined the chatroom").await;
    akshat.send("hello").await;
    raj.expect("Akshat : hello").await;
    raj.send("hi").await;
    akshat.expect("Raj : hi").await;
    akshat.send("bye").await;
    raj.expect("Akshat : bye").await;
    akshat.send("./members").await;
    akshat.expect("['Akshat', 'Raj']").await;
    raj.send("./leave").await;
    akshat.expect("Raj left the chatroom").await;
    // The list went to the one who asked alone.
    raj.ended().await;
    controller.send("./rooms").await;
    let rooms = format!(
        r#"{{"status": 200, "type": "rooms", "rooms": [{{"name": "{port}", "port": {port}, "members": 1}}]}}"#
    );
    controller.expect(&rooms).await;

    let connected =
        |client: &Classic| format!("Connected to : {} : {}", client.address().ip(), client.address().port());
    let expected = [
        format!("Server binded to port {}", port - 1),
        "Server is listening".into(),
        connected(&controller),
        format!("Server binded to port {port}"),
        "Server is listening".into(),
        connected(&akshat),
        connected(&raj),
        "[1, 0]".into(),
        "[1, 1]".into(),
        "[2, 1]".into(),
    ];
    let log = log.lock().unwrap().clone();
    // The tests' own look at the list of rooms connects too.
    let logged: Vec<_> = log.iter().filter(|line| expected.contains(line)).collect();
    assert_eq!(logged, expected.iter().collect::<Vec<_>>(), "{log:#?}");
    let vectors: Vec<_> = log.iter().filter(|line| line.starts_with('[')).collect();
    assert_eq!(vectors.len(), 3, "{vectors:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_part_texts_within_one_segment() {
    let (server, room) = with_room().await;
    let port = room.port().to_string();
    let mut akshat = Classic::connect(room).await;
    akshat.send("Akshat").await;
    server.members(&port, 1).await;
    let mut raj = Classic::connect(room).await;
    raj.send("Raj").await;
    akshat.expect("Raj joined the chatroom").await;
    akshat.send("one\ntwo\n").await;
    raj.expect("Akshat : one").await;
    raj.expect("Akshat : two").await;
    // The connection still is one of chunks: what is left over is a text.
    akshat.send("three\r\nfour").await;
    raj.expect("Akshat : three").await;
    raj.expect("Akshat : four").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_with_carriage_returns_over_several_segments() {
    let (server, room) = with_room().await;
    let mut akshat = Classic::connect(room).await;
    akshat.send("Akshat\r\n").await;
    server.members(&room.port().to_string(), 1).await;
    let mut raj = Classic::enter(room, "Raj").await;
    akshat.expect("Raj joined the chatroom").await;
    for piece in ["he", "llo\r", "\nwor", "ld, h\u{e9}\r\n./mem"] {
        akshat.send(piece).await;
        // So that they are segments; if they are not, the outcome is the same.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    raj.expect("Akshat : hello").await;
    raj.expect("Akshat : world, h\\xe9").await;
    akshat.send("bers\r\n").await;
    akshat.expect("['Akshat', 'Raj']").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_ascii_goes_to_those_who_have_sent_it_themselves() {
    let (server, room) = with_room().await;
    let (mut akshat, mut raj) = two(room).await;
    akshat.send("h\u{e9} \u{20ac} \u{1f600}\n").await;
    assert_eq!(raj.raw_line().await, b"Akshat : h\\xe9 \\u20ac \\U0001f600\n");
    raj.send("\u{e7}a\n").await;
    akshat.expect("Raj : \u{e7}a").await;
    akshat.send("h\u{e9} \u{20ac} \u{1f600}\n").await;
    raj.expect("Akshat : h\u{e9} \u{20ac} \u{1f600}").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_are_shown() {
    let (server, room) = with_room().await;
    let (mut akshat, mut raj) = two(room).await;
    akshat.send("a\x1b[2Jb\rc\0d\x7f\n").await;
    raj.expect("Akshat : a\\x1b[2Jb\\rc\\x00d\\x7f").await;
    raj.send("\u{e9}\n").await;
    akshat.expect("Raj : \\xe9").await;
    // To a client that reads UTF-8 too.
    akshat.send("\u{202e}evil\u{2028}\u{9b}\n").await;
    raj.expect("Akshat : \\u202eevil\\u2028\\x9b").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_by_name_from_the_main_port() {
    let server = Harness::start(Settings::default()).await;
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&ClientFrame::CreateRoom { name: "lobby".into(), port: false, maker: None, temporary: false })
        .await;
    let ServerFrame::RoomCreated(info) = wire.frame().await else { panic!() };
    assert_eq!((&info.name[..], info.port, info.members), ("lobby", None, 0));
    let mut raj = Native::join(server.address, "lobby", "Raj").await;

    let mut ann = Classic::connect(server.address).await;
    ann.send("./rooms\n").await;
    ann.expect(
        r#"{"status": 200, "type": "rooms", "rooms": [{"name": "lobby", "port": null, "members": 1}]}"#,
    )
    .await;
    ann.send("./join lobby\nAnn\nhello\n").await;
    raj.expect(Event::Joined("Ann".into())).await;
    let Event::Text(_, text) = raj.event().await else { panic!() };
    assert_eq!(text, "hello");
    raj.say("hi").await;
    ann.expect("Raj : hi").await;
    ann.send("./members\n").await;
    ann.expect("['Raj', 'Ann']").await;
    // The end of the stream is leaving.
    drop(ann);
    raj.event().await; // its own message
    assert!(matches!(raj.event().await, Event::Left(_)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_without_line_ends() {
    let server = Harness::start(Settings::default()).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut ann = Classic::connect(server.address).await;
    ann.send("./rooms").await;
    assert!(ann.line().await.contains("lobby"));
    // Nothing answers the join, so the name stands on a line of its own in the same segment.
    ann.send("./join lobby\nAnn").await;
    raj.expect(Event::Joined("Ann".into())).await;
    ann.send("hello").await;
    assert!(matches!(raj.event().await, Event::Text(_, text) if text == "hello"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_room_is_joined_natively_by_its_number() {
    let (server, room) = with_room().await;
    let mut akshat = Classic::enter(room, "Akshat").await;
    let name = room.port().to_string();
    server.members(&name, 1).await;
    let mut raj = Native::join(server.address, &name, "Raj").await;
    assert!(!raj.welcome.created);
    akshat.expect("Raj joined the chatroom").await;
    raj.say("hi").await;
    akshat.expect("Raj : hi").await;
    raj.expect_text(raj.member, "hi").await;
    akshat.send("hello\n").await;
    assert!(matches!(raj.event().await, Event::Text(_, text) if text == "hello"));
    // From the main port too, by number.
    let mut third = Classic::connect(server.address).await;
    third.send(format!("./join {name}\nMina\n")).await;
    akshat.expect("Mina joined the chatroom").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_the_next_free_ones() {
    let server = Harness::start(Settings::default()).await;
    let base = server.address.port();
    let taken = TcpListener::bind(server.port(base + 2)).unwrap();
    let mut controller = Classic::connect(server.address).await;
    let ports = [
        controller.create_room().await,
        controller.create_room().await,
        Classic::connect(server.address).await.create_room().await,
    ];
    assert_eq!(ports, [base + 1, base + 3, base + 4]);
    drop(taken);
    for port in ports {
        Classic::enter(server.port(port), "Raj").await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be_are_answered_in_one_line() {
    let (server, room) = with_room().await;
    let (mut akshat, _raj) = two(room).await;
    let mut eve = Classic::connect(room).await;
    let long = "x".repeat(33);
    for (name, answer) in [
        (&b" \t"[..], "Error: a name cannot be empty"),
        (long.as_bytes(), "Error: a name has at most 32 characters, and this one has 33"),
        (b"rAJ", "Error: the name rAJ is taken, rAJ2 is free"),
        (b"a\x1bb", "Error: a name cannot contain the character '\\x1b'"),
        (b"a\xffb", "Error: that was not UTF-8"),
        (b"./members", "Error: a name cannot start with ./ because commands do"),
    ] {
        eve.send([name, b"\n"].concat()).await;
        eve.expect(answer).await;
    }
    eve.send("rAJ2\n./members\n").await;
    eve.expect("['Akshat', 'Raj', 'rAJ2']").await;
    akshat.expect("rAJ2 joined the chatroom").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_answered_in_one_line() {
    let (server, room) = with_room().await;
    let mut controller = Classic::connect(server.address).await;
    let error = |message: &str| format!(r#"{{"status": 400, "type": "error", "message": "{message}"}}"#);
    let unknown = "(the commands are ./createRoom, ./rooms and ./join ROOM)";
    for (text, answer) in [
        ("./join nowhere", "there is no room 'nowhere'".into()),
        ("./join", "which room? ./rooms lists them".into()),
        ("./join  ", "which room? ./rooms lists them".into()),
        ("./join a/b", "the name of a room has only letters, digits, '-', '_' and '.', not '/'".to_owned()),
        ("./nope", format!("unknown command ./nope {unknown}")),
        ("GET / HTTP/1.1", format!("unknown command GET / HTTP/1.1 {unknown}")),
        ("./createroom", format!("unknown command ./createroom {unknown}")),
    ] {
        controller.send(format!("{text}\r\n")).await;
        controller.expect(&error(&answer)).await;
    }
    assert!(controller.create_room().await > 0);

    let (mut akshat, mut raj) = two(room).await;
    akshat.send("./nope\n").await;
    akshat.expect("Error: unknown command ./nope (the commands are ./members and ./leave)").await;
    akshat.send([&vec![b'x'; 16_385][..], b"\nmore\n"].concat()).await;
    akshat.expect("Error: a text has at most 16384 bytes, and yours had more").await;
    akshat.send(b"\xff\xfe\n").await;
    akshat.expect("Error: that was not UTF-8").await;
    raj.expect("Akshat : more").await;
    akshat.send("last\n").await;
    raj.expect("Akshat : last").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_said() {
    let (server, room) = with_room().await;
    let (mut akshat, mut raj) = two(room).await;
    let mut controller = Classic::connect(server.address).await;
    controller.send("./rooms\n").await;
    controller.line().await;
    let mut silent = Classic::connect(server.address).await;
    akshat.send("hello\n").await;
    raj.expect("Akshat : hello").await;
    server.shut_down();
    for client in [&mut akshat, &mut raj, &mut controller] {
        // Whose session ends first may be seen to leave by the others.
        let mut line = client.line().await;
        while line.ends_with(" left the chatroom") {
            line = client.line().await;
        }
        assert_eq!(line, "The server is shutting down");
        client.ended().await;
    }
    silent.ended().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_text_reads_as_text() {
    let (server, room) = with_room().await;
    let mut akshat = Classic::enter(room, "Akshat").await;
    let name = room.port().to_string();
    server.members(&name, 1).await;
    let mut raj = Native::join(server.address, &name, "Raj").await;
    akshat.expect("Raj joined the chatroom").await;
    akshat.send("where do we meet?\n").await;
    let question = loop {
        if let Event::Text(author, _) = raj.event().await {
            break MessageId::new(author, 1);
        }
    };
    raj.send(&Body::Reply { to: question, text: "here".into() }).await;
    akshat.expect("Raj : (to Akshat: \"where do we meet?\") here").await;
    let here = MessageId::new(raj.member, 1);
    raj.send(&Body::Edit { of: here, text: "there".into() }).await;
    akshat.expect("Raj : (corrects an earlier message) there").await;
    raj.send(&Body::Reaction { to: question, symbol: "+1".into(), set: true }).await;
    akshat.expect("Raj : (+1 to Akshat: \"where do we meet?\")").await;
    raj.send(&Body::Delete { of: here, reason: String::new() }).await;
    akshat.expect("Raj : (takes back an earlier message)").await;
    raj.send(&Body::Action("waves".into())).await;
    akshat.expect("Raj : * waves").await;
    raj.send(&Body::Topic("meeting".into())).await;
    akshat.expect("Raj : (sets the topic) meeting").await;
    // Kinds that are yet to come are nothing to read, and do no harm.
    raj.send(&Body::Unknown(Bytes::from_static(&[99, 1, 2]))).await;
    raj.say("bye").await;
    akshat.expect("Raj : bye").await;
}
