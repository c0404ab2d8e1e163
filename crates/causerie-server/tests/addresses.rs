//! What one address may take up: each limit is reached by one address, and another goes on.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use causerie_core::wire::{ClientFrame, ErrorCode, ServerFrame};
use causerie_server::{AddressLimits, IrcSettings, Protocol, Settings};
use causerie_store::{MemoryStore, Store};
use common::{Classic, Event, Harness, Native, Wire, metric, raw, within};
use tokio::net::TcpListener;

/// Another than the tests' clients come from.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// No limits but these, which count on loopback.
fn limits(address: AddressLimits) -> Settings {
    let irc = IrcSettings { lines_per_second: 0, ..IrcSettings::default() };
    Settings { address: AddressLimits { loopback: true, ..address }, irc, ..Settings::default() }
}

const NONE: AddressLimits = AddressLimits {
    connections: 0,
    rate: 0,
    silent: 0,
    rooms: 0,
    joins: 0,
    say_rate: 0,
    say_burst: 0,
    loopback: true,
};

const TOO_MANY: &str = "Error: too many connections from your address; try again later";

/// How often an address was at a limit.
async fn limited(server: &Harness, what: &str) -> f64 {
    metric(server, &format!("causerie_address_limited_total{{what=\"{what}\"}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_at_once() {
    let server = Harness::start(limits(AddressLimits { connections: 2, ..NONE })).await;
    let mut both = [Wire::greeted(server.address).await, Wire::greeted(server.address).await];
    for _ in 0..3 {
        let mut refused = Classic::connect(server.address).await;
        refused.expect(TOO_MANY).await;
        refused.ended().await;
    }
    Wire::greeted_from(OTHER, server.address).await.ping().await;
    for wire in &mut both {
        wire.ping().await;
    }
    // Whose place is free is taken by the next.
    drop(both);
    within("a place", async {
        loop {
            let mut next = Classic::connect(server.address).await;
            next.send("./rooms\n").await;
            if next.raw_line().await.starts_with(b"{") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_and_the_words_for_those_beyond() {
    let server = Harness::start(limits(AddressLimits { rate: 3, ..NONE })).await;
    for _ in 0..3 {
        Wire::greeted(server.address).await.ping().await;
    }
    // However many are open.
    let mut told = 0;
    for _ in 0..300 {
        let line = Classic::connect(server.address).await.raw_line().await;
        assert!(line.is_empty() || line == format!("{TOO_MANY}\n").as_bytes());
        told += usize::from(!line.is_empty());
    }
    assert!((1..200).contains(&told), "{told} of 300 were answered");
    Wire::greeted_from(OTHER, server.address).await.ping().await;
    server.stop().await;
}

// One thread, so that connections are served in the order in which they are made.
#[tokio::test]
async fn connections_that_say_nothing() {
    let server = Harness::start(limits(AddressLimits { silent: 2, ..NONE })).await;
    // The oldest of all, of another address, stays.
    let mut other = Classic::connect_from(OTHER, server.address).await;
    let mut silent = Vec::new();
    for n in 0..4 {
        silent.push(Classic::connect(server.address).await);
        // Half a word is none.
        silent[n].send(if n % 2 == 0 { "" } else { "GE" }).await;
    }
    for oldest in &mut silent[..2] {
        oldest.ended().await;
    }
    for client in silent[2..].iter_mut().chain([&mut other]) {
        client.send("T\n./rooms\n").await;
        while !client.line().await.contains("rooms") {}
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_by_every_protocol() {
    let server = Harness::start(limits(AddressLimits { joins: 4, ..NONE })).await;
    let port = Classic::connect(server.address).await.create_room().await;
    let _raj = Native::join(server.address, "lobby", "Raj").await;
    let mut akshat = Classic::enter(server.port(port), "Akshat").await;
    akshat.send("./members\n").await;
    akshat.expect("['Akshat']").await;
    let mut ann = Classic::connect(server.address).await;
    ann.send("NICK Ann\r\nUSER a 0 * :Ann\r\nJOIN #lobby\r\n").await;
    while !ann.line().await.contains(" 366 ") {}
    // That was all.
    let words = "too many joins and new rooms from your address; try again in ";
    let mut wire = Wire::greeted(server.address).await;
    wire.join("lobby", "Eve").await;
    assert!(wire.refused(ErrorCode::TooOften).await.message.starts_with(words));
    wire.send(&ClientFrame::CreateRoom { name: "more".into(), port: false, maker: None, temporary: false })
        .await;
    wire.refused(ErrorCode::TooOften).await;
    let mut eve = Classic::enter(server.port(port), "Eve").await;
    assert!(eve.line().await.starts_with(&format!("Error: {words}")));
    let mut controller = Classic::connect(server.address).await;
    controller.send("./createRoom\n").await;
    assert!(
        controller
            .line()
            .await
            .starts_with(&format!(r#"{{"status": 400, "type": "error", "message": "{words}"#))
    );
    ann.send("JOIN #more\r\n").await;
    let told = ann.line().await;
    assert!(told.contains(&format!(" 437 Ann #more :Cannot join channel: {words}")), "{told}");
    // A new nick is no new member.
    ann.send("NICK Anna\r\n").await;
    assert!(ann.line().await.ends_with(" NICK :Anna\r"));
    assert_eq!(limited(&server, "joins").await, 5.0);
    let mut other = Wire::greeted_from(OTHER, server.address).await;
    other.join("lobby", "Eve").await;
    Native::welcomed(other).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_one_has_made() {
    let server = Harness::start(limits(AddressLimits { rooms: 2, ..NONE })).await;
    let create = |name: &str| ClientFrame::CreateRoom {
        name: name.into(),
        port: false,
        maker: None,
        temporary: false,
    };
    let mut wire = Wire::greeted(server.address).await;
    for name in ["one", "two"] {
        wire.send(&create(name)).await;
        assert!(matches!(wire.frame().await, ServerFrame::RoomCreated(_)));
    }
    wire.send(&create("three")).await;
    let error = wire.refused(ErrorCode::TooManyRooms).await;
    assert!(error.message.starts_with("your address has made 2 rooms"), "{error:?}");
    let mut controller = Classic::connect(server.address).await;
    controller.send("./createRoom\n").await;
    assert!(controller.line().await.contains("your address has made 2 rooms"));
    let mut other = Wire::greeted_from(OTHER, server.address).await;
    other.send(&create("three")).await;
    assert!(matches!(other.frame().await, ServerFrame::RoomCreated(_)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_too_fast_is_read_later_and_nothing_is_lost() {
    let server = Harness::start(limits(AddressLimits { say_rate: 500, say_burst: 5, ..NONE })).await;
    let mut other = Wire::greeted_from(OTHER, server.address).await;
    other.join("lobby", "Other").await;
    let mut other = Native::welcomed(other).await;
    // In one piece each, and with what ends the connection behind it.
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    other.expect(Event::Joined("Raj".into())).await;
    let mut frames = Vec::new();
    for n in 0..100 {
        let packet = raj.stamp_text(&format!("raj {n}"));
        ClientFrame::Broadcast(packet).encode(&mut frames);
    }
    ClientFrame::Ping(1).encode(&mut frames);
    raj.wire.send_bytes(&frames).await;
    for n in 0..100 {
        other.expect(Event::Text(raj.member, format!("raj {n}"))).await;
    }
    let native = limited(&server, "messages").await;
    assert!(native > 0.0, "it had to wait");
    let texts = |who: &str| (0..100).map(|n| format!("{who} {n}")).collect::<Vec<_>>();
    let mut classic = Classic::connect(server.address).await;
    classic.send(format!("./join lobby\nAkshat\n{}\n./leave\n", texts("akshat").join("\n"))).await;
    hear(&mut other, &texts("akshat")).await;
    let by_classic = limited(&server, "messages").await;
    assert!(by_classic > native, "it had to wait");
    let mut irc = Classic::connect(server.address).await;
    let lines: String = texts("ann").iter().map(|text| format!("PRIVMSG #lobby :{text}\r\n")).collect();
    irc.send(format!("NICK Ann\r\nUSER a 0 * :Ann\r\nJOIN #lobby\r\n{lines}QUIT\r\n")).await;
    hear(&mut other, &texts("ann")).await;
    assert!(limited(&server, "messages").await > by_classic, "it had to wait");
    server.stop().await;
}

/// These texts come, in this order and no others, while people come and go.
async fn hear(listener: &mut Native, texts: &[String]) {
    for text in texts {
        let said = loop {
            if let Event::Text(_, said) = listener.event().await {
                break said;
            }
        };
        assert_eq!(said, *text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_this_machine_nothing_is_limited_unless_that_is_told() {
    let few = AddressLimits {
        connections: 1,
        rate: 1,
        silent: 1,
        rooms: 1,
        joins: 1,
        say_rate: 1,
        say_burst: 1,
        loopback: false,
    };
    let server = Harness::start(Settings { address: few, ..Settings::default() }).await;
    let mut raj = Native::join(server.address, "one", "Raj").await;
    let mut ann = Native::join(server.address, "two", "Ann").await;
    for n in 0..5 {
        raj.say(&n.to_string()).await;
        raj.expect(Event::Text(raj.member, n.to_string())).await;
    }
    // From then on.
    server.settings.send_modify(|settings| settings.address.loopback = true);
    let mut refused = Classic::connect(server.address).await;
    refused.expect(TOO_MANY).await;
    ann.wire.ping().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_bounded_apart_from_rooms() {
    let server = Harness::start(Settings { ports_max: 2, ..Settings::default() }).await;
    let mut controller = Classic::connect(server.address).await;
    for _ in 0..2 {
        controller.create_room().await;
    }
    controller.send("./createRoom\n").await;
    let words =
        "the server has 2 rooms with ports of their own, and takes no more; rooms without are made by name";
    controller.expect(&format!(r#"{{"status": 400, "type": "error", "message": "{words}"}}"#)).await;
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&ClientFrame::CreateRoom { name: String::new(), port: true, maker: None, temporary: false })
        .await;
    assert_eq!(wire.refused(ErrorCode::TooManyRooms).await.message, words);
    Native::join(server.address, "lobby", "Raj").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_nobody_uses_go_restarts_or_not() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let idle = |rooms_idle| Settings { rooms_idle, ..limits(NONE) };
    let server = Harness::with_store(idle(Duration::ZERO), Arc::clone(&store)).await;
    let mut ann = Wire::greeted(server.address).await;
    for name in ["left", "kept"] {
        ann.send(&ClientFrame::CreateRoom { name: name.into(), port: false, maker: None, temporary: false })
            .await;
        assert!(matches!(ann.frame().await, ServerFrame::RoomCreated(_)));
    }
    server.stop().await;

    let server = Harness::with_store(idle(Duration::ZERO), Arc::clone(&store)).await;
    let port = Classic::connect(server.address).await.create_room().await;
    let room = server.port(port);
    let _raj = Native::join(server.address, "kept", "Raj").await;
    assert_eq!(server.rooms().await.len(), 3);
    server.settings.send_modify(|settings| settings.rooms_idle = Duration::from_millis(50));
    within("the rooms to go", async {
        while server.rooms().await.len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(server.rooms().await[0].name, "kept");
    // The port is free again.
    within("the port", async {
        while TcpListener::bind(room).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    server.stop().await;
    let server = Harness::with_store(idle(Duration::ZERO), store).await;
    assert_eq!(server.rooms().await.iter().map(|room| &room.name[..]).collect::<Vec<_>>(), ["kept"]);
    server.stop().await;
}

/// What a page of any web site has a browser send, with lines of its own behind it.
const BY_A_PAGE: &[u8] =
    b"POST / HTTP/1.1\r\nHost: localhost:12344\r\nCookie: secret=1\r\nContent-Type: text/plain\r\n\
    Content-Length: 99\r\n\r\nEve\r\nNICK Eve\r\nUSER e 0 * :e\r\nJOIN #lobby\r\nPRIVMSG #lobby :hello\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn ports_for_lines_close_on_web_pages_and_tls() {
    let probe = Harness::start(Settings::default()).await;
    let mut own_ports = Vec::new();
    for protocol in [Protocol::Classic, Protocol::Irc, Protocol::Native] {
        let free = TcpListener::bind((probe.address.ip(), 0)).await.unwrap().local_addr().unwrap();
        own_ports.push((protocol, free));
    }
    let settings = Settings { own_ports: own_ports.clone(), ..Settings::default() };
    let server = Harness::start(settings).await;
    let room = server.port(Classic::connect(server.address).await.create_room().await);
    let mut akshat = Classic::enter(room, "Akshat").await;
    let ports: Vec<SocketAddr> = own_ports.iter().map(|(_, port)| *port).chain([room]).collect();
    for port in ports {
        for request in [BY_A_PAGE, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        {
            let told = raw(port, request).await;
            // A port for frames need not look at more than their first bytes.
            assert!(told.is_empty() || told.starts_with("HTTP/1.1 400 "), "{port}: {told}");
            assert!(!told.contains("Eve") && !told.contains("./"), "{port}: {told}");
        }
        assert_eq!(raw(port, b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03\r\nEve\r\n").await, "", "{port}");
    }
    // Nobody came, and nothing was said.
    akshat.send("./members\n").await;
    akshat.expect("['Akshat']").await;
    assert_eq!(server.rooms().await.len(), 1);
    // Where all is spoken, a first line of HTTP is HTTP, whatever word it begins with; TLS is not spoken.
    for word in ["NICK", "USER", "get", "PRI"] {
        let told =
            raw(server.address, format!("{word} / HTTP/1.1\r\nHost: x\r\n\r\nNICK Eve\r\n").as_bytes()).await;
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{word}: {told}");
    }
    assert_eq!(raw(server.address, b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03").await, "");
    // A name that only begins like that is one.
    let mut get = Classic::connect(room).await;
    get.send("GET").await;
    akshat.expect("GET joined the chatroom").await;
    server.stop().await;
    probe.stop().await;
}
