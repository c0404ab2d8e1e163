//! Reverse proxies: who they speak for counts where they are trusted, and what strangers say of themselves changes nothing.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use causerie_server::{AddressLimits, ClearText, Settings};
use common::tunnel::{self, Tunnel};
use common::{Classic, Harness, Native, Wire, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The proxy's address; the tests' other clients come from 127.0.0.1.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const ANN: &str = "192.0.2.1";
const RAJ: &str = "192.0.2.2";

/// A server that trusts the proxy, and on which the limits of one address hold on loopback, too.
fn trusting() -> Settings {
    let address = AddressLimits { loopback: true, ..AddressLimits::default() };
    Settings { trusted_proxies: vec!["127.0.0.2/32".parse().unwrap()], address, ..Settings::default() }
}

async fn connect_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let stream = within("a connection", socket.connect(to)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Opens a port of a proxy that begins each of its connections with these bytes.
async fn proxy(to: SocketAddr, header: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = connect_from(PROXY, to).await;
            let header = header.clone();
            tokio::spawn(async move {
                server.write_all(&header).await.unwrap();
                // Whoever ends first.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

fn line(visitor: &str) -> Vec<u8> {
    format!("PROXY TCP4 {visitor} 198.51.100.1 40000 12343\r\n").into_bytes()
}

fn binary(visitor: IpAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match visitor {
        IpAddr::V4(visitor) => {
            header.extend([0x11, 0, 12]);
            header.extend(visitor.octets());
            header.extend([198, 51, 100, 1]);
        }
        IpAddr::V6(visitor) => {
            header.extend([0x21, 0, 36]);
            header.extend(visitor.octets());
            header.extend(Ipv6Addr::LOCALHOST.octets());
        }
    }
    header.extend([0x9c, 0x40, 0x30, 0x37]);
    header
}

/// A connection of HTTP that stays open for more requests.
struct Http(TcpStream);

impl Http {
    async fn from(from: IpAddr, server: &Harness) -> Self {
        Self(connect_from(from, server.address).await)
    }

    async fn send(&mut self, request: &str, headers: &[&str], body: &str) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let request = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads an answer: its head, and its body if it tells its length.
    async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        within("an answer", async {
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(self.0.read_u8().await.expect("the head of an answer"));
            }
            let head = String::from_utf8(answer.clone()).unwrap().to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            self.0.read_exact(&mut body).await.unwrap();
            answer.extend(body);
        })
        .await;
        String::from_utf8(answer).unwrap()
    }

    async fn ask(&mut self, request: &str, headers: &[&str], body: &str) -> (u16, String) {
        self.send(request, headers, body).await;
        let answer = self.answer().await;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{answer}")), answer)
    }

    async fn create(&mut self, room: &str, headers: &[&str]) -> (u16, String) {
        self.ask("POST /api/rooms", headers, &format!(r#"{{"name":"{room}"}}"#)).await
    }
}

fn told(visitor: &str) -> String {
    format!("X-Forwarded-For: {visitor}")
}

/// The address that a room was made from, once it is stored.
async fn maker(server: &Harness, room: &str) -> String {
    within(room, async {
        loop {
            let rooms = server.store.rooms().unwrap();
            if let Some(stored) = rooms.into_iter().find(|stored| stored.row.name == room) {
                break stored.row.creator;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_say_of_themselves_changes_nothing() {
    let server = Harness::start(trusting()).await;
    let simple = Harness::start(Settings::default()).await;
    // Text like any other: as where nobody is trusted.
    for text in [line(ANN), binary(ANN.parse().unwrap()), b"PROXY \xff\r\n".to_vec()] {
        let mut answers = Vec::new();
        for address in [server.address, simple.address] {
            let mut stranger = Classic::connect(address).await;
            // At once: the first read decides how it is understood.
            stranger.send([&text[..], b"\n./rooms\n"].concat()).await;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\"rooms\": []}\n") {
                answer.extend(stranger.raw_line().await);
            }
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
        assert_eq!(answers[0], answers[1]);
    }
    let mut http = Http::from(Ipv4Addr::LOCALHOST.into(), &server).await;
    let headers = [
        &told(ANN)[..],
        "Forwarded: for=192.0.2.1;proto=http",
        "X-Forwarded-Proto: http",
        "X-Forwarded-For: ?",
    ];
    assert_eq!(http.create("lobby", &headers).await.0, 201);
    assert_eq!(maker(&server, "lobby").await, "127.0.0.1");
    assert_eq!(http.ask("GET /metrics", &headers, "").await.0, 200);
    server.stop().await;
    simple.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_tells_its_visitor_before_all_else() {
    let mut settings = trusting();
    settings.tls = Some(tunnel::own_certificate());
    let server = Harness::start(settings).await;
    let six: IpAddr = "2001:db8::7".parse().unwrap();
    let unknown = [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"];
    for (n, (header, expected)) in [
        (line(ANN), ANN.to_owned()),
        (binary(ANN.parse().unwrap()), ANN.to_owned()),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), six.to_string()),
        (binary(six), six.to_string()),
        (binary("::ffff:192.0.2.1".parse().unwrap()), ANN.to_owned()),
        // The proxy itself.
        (unknown[0].to_vec(), PROXY.to_string()),
        (unknown[1].to_vec(), PROXY.to_string()),
        (Vec::new(), PROXY.to_string()),
    ]
    .into_iter()
    .enumerate()
    {
        let front = proxy(server.address, header).await;
        let raj = Native::join(front, &format!("native{n}"), "Raj").await;
        assert_eq!(maker(&server, &format!("native{n}")).await, expected);
        drop(raj);
        let port = Classic::connect(front).await.create_room().await;
        assert_eq!(maker(&server, &port.to_string()).await, expected);
        let mut irc = Classic::connect(front).await;
        irc.send(format!("NICK ann{n}\r\nUSER a 0 * :A\r\nJOIN #irc{n}\r\n")).await;
        while !irc.line().await.contains(" 366 ") {}
        assert_eq!(maker(&server, &format!("irc{n}")).await, expected);
        // Before the handshake of TLS.
        let tunnel = Tunnel::to(front).open().await;
        let _sam = Native::join(tunnel, &format!("tls{n}"), "Sam").await;
        assert_eq!(maker(&server, &format!("tls{n}")).await, expected);
        let mut http = Http(TcpStream::connect(front).await.unwrap());
        assert_eq!(http.create(&format!("http{n}"), &[]).await.0, 201);
        // Not what a visitor who is no proxy says of itself; but the proxy.
        let is_proxy = expected == PROXY.to_string();
        assert_eq!(http.create(&format!("told{n}"), &[&told(RAJ)]).await.0, 201);
        assert_eq!(maker(&server, &format!("told{n}")).await, if is_proxy { RAJ } else { &expected });
        assert_eq!(http.ask("GET /metrics", &[], "").await.0, 403, "it is not from this machine");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_come_byte_by_byte_and_together_with_what_follows() {
    let server = Harness::start(trusting()).await;
    let request = "POST /api/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    for (n, header) in [line(ANN), binary(ANN.parse().unwrap()), Vec::new()].into_iter().enumerate() {
        for slow in [true, false] {
            let body = format!(r#"{{"name":"room{n}{slow}"}}"#);
            let text = format!("{request}Content-Length: {}\r\n\r\n{body}", body.len());
            let mut http = Http::from(PROXY, &server).await;
            let bytes = [&header[..], text.as_bytes()].concat();
            for piece in bytes.chunks(if slow { 1 } else { bytes.len() }) {
                http.0.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            let answer = http.answer().await;
            assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
            let expected = if header.is_empty() { PROXY.to_string() } else { ANN.to_owned() };
            assert_eq!(maker(&server, &format!("room{n}{slow}")).await, expected);
        }
    }
    // What only begins like a header is a request's method, or a name.
    let mut http = Http::from(PROXY, &server).await;
    for piece in [&b"PRO"[..], b"PFIND / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        http.0.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(http.answer().await.starts_with("HTTP/1.1 405 "));
    server.stop().await;
}

/// Sends these bytes as the proxy, and returns what comes until the server closes.
async fn as_proxy(server: &Harness, bytes: &[u8]) -> String {
    let mut stream = connect_from(PROXY, server.address).await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // It may be closed with something unread.
    let _ = within("the end", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_none_are_refused() {
    let mut settings = trusting();
    settings.first_words = Duration::from_millis(200);
    let server = Harness::start(settings).await;
    let get = "GET /api/rooms HTTP/1.0\r\n\r\n";
    for header in [
        "PROXY TCP4 192.0.2.1\r\n",
        "PROXY \n",
        "\r\n\r\n\0\r\nQUIT\n\x23\0\0\0",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 ",
    ] {
        assert_eq!(as_proxy(&server, format!("{header}{get}").as_bytes()).await, "", "{header:?}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(as_proxy(&server, long.as_bytes()).await, "");
    // Not ended in time.
    assert_eq!(as_proxy(&server, b"PROXY TCP4 ").await, "");
    // One alone: what comes behind it is text.
    assert!(!as_proxy(&server, format!("PROXY UNKNOWN\r\n{get}").as_bytes()).await.is_empty());
    let mut twice = Classic::connect_from(PROXY, server.address).await;
    twice.send([line(ANN), line(RAJ)].concat()).await;
    assert!(twice.line().await.contains("unknown command PROXY"));
    server.settings.send_modify(|settings| settings.proxy_protocol = true);
    assert_eq!(as_proxy(&server, get.as_bytes()).await, "", "there has to be one now");
    assert!(as_proxy(&server, &[line(ANN), get.into()].concat()).await.contains("200 OK"));
    Wire::greeted(server.address).await.ping().await;
    // Who is a proxy may change, too: then it is a stranger's text.
    server.settings.send_modify(|settings| settings.trusted_proxies.clear());
    assert!(as_proxy(&server, get.as_bytes()).await.contains("200 OK"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_of_a_proxy_carries_requests_of_many() {
    let mut settings = trusting();
    settings.address.joins = 2;
    let server = Harness::start(settings).await;
    let mut http = Http::from(PROXY, &server).await;
    for n in 0..3 {
        let expected = if n < 2 { 201 } else { 429 };
        assert_eq!(http.create(&format!("ann{n}"), &[&told(ANN)]).await.0, expected);
        // What stands before the proxy's own entry is anybody's invention.
        let forged = told(&format!("203.0.113.{n}, {RAJ}"));
        assert_eq!(http.create(&format!("raj{n}"), &[&forged]).await.0, expected);
        let standard = r#"Forwarded: for=198.51.100.9, for="[2001:db8::7]:1""#;
        assert_eq!(http.create(&format!("six{n}"), &[standard]).await.0, expected);
    }
    assert_eq!(maker(&server, "ann0").await, ANN);
    assert_eq!(maker(&server, "raj1").await, RAJ);
    assert_eq!(maker(&server, "six1").await, "2001:db8::7");
    // Nobody told: the proxy's own have no limit.
    for n in 0..30 {
        assert_eq!(http.create(&format!("own{n}"), &[]).await.0, 201);
    }
    for headers in [
        &["X-Forwarded-For: unknown"][..],
        &["X-Forwarded-For: 192.0.2.1,"],
        &["Forwarded: proto=https"],
        &["Forwarded: for=_hidden"],
        &["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2"],
        &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: gopher"],
    ] {
        let (status, answer) = http.ask("GET /api/rooms", headers, "").await;
        assert!(status == 400 && answer.contains("\"malformed\""), "{answer}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_visitors_and_not_for_their_proxy() {
    let mut settings = trusting();
    settings.address.connections = 2;
    let server = Harness::start(settings).await;
    let ann = proxy(server.address, line(ANN)).await;
    let mut both = [Wire::greeted(ann).await, Wire::greeted(ann).await];
    let mut third = Classic::connect(ann).await;
    third.expect("Error: too many connections from your address; try again later").await;
    third.ended().await;
    let mut raj = Wire::greeted(proxy(server.address, binary(RAJ.parse().unwrap())).await).await;
    raj.ping().await;
    for wire in &mut both {
        wire.ping().await;
    }
    drop(both);
    // WebSockets by HTTP are connections of their visitors.
    Native::join(server.address, "lobby", "Sam").await;
    let headers = |visitor| {
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==".to_owned();
        [
            told(visitor),
            "Connection: Upgrade".into(),
            "Upgrade: websocket".into(),
            "Sec-WebSocket-Version: 13".into(),
            key,
        ]
    };
    let mut open = Vec::new();
    for (visitor, expected) in
        [(RAJ, 101), (ANN, 101), (ANN, 101), (ANN, 429), ("192.0.2.3", 101), (RAJ, 429)]
    {
        let mut http = Http::from(PROXY, &server).await;
        let headers = headers(visitor);
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        // Until those of before have gone.
        let (status, answer) = within("a place", async {
            loop {
                let asked = http.ask("GET /api/rooms/lobby/ws", &headers, "").await;
                if asked.0 == expected {
                    break asked;
                }
                http = Http::from(PROXY, &server).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(status, expected, "{answer}");
        open.push(http);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_through_a_proxy_is_not_from_this_machine() {
    let mut settings = trusting();
    settings.trusted_proxies.push("127.0.0.1".parse::<IpAddr>().unwrap().into());
    let server = Harness::start(settings).await;
    let mut http = Http::from(PROXY, &server).await;
    let local = told("127.0.0.1");
    for headers in [&[][..], &[&local[..]], &["X-Forwarded-For: 192.0.2.1"], &["Forwarded: for=\"[::1]\""]] {
        let (status, answer) = http.ask("GET /metrics", headers, "").await;
        assert!(status == 403 && answer.contains("not_permitted"), "{answer}");
    }
    // A server that trusts only the other one.
    server.settings.send_modify(|settings| settings.trusted_proxies.truncate(1));
    let mut direct = Http::from(Ipv4Addr::LOCALHOST.into(), &server).await;
    assert_eq!(direct.ask("GET /metrics", &[], "").await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheme_is_what_the_proxy_says() {
    let server = Harness::start(trusting()).await;
    let mut http = Http::from(PROXY, &server).await;
    let (status, answer) = http.ask("GET /api/rooms?x", &[&told(ANN), "X-Forwarded-Proto: http"], "").await;
    assert!(status == 308 && answer.contains("location: https://localhost/api/rooms?x\r\n"), "{answer}");
    for headers in [&["X-Forwarded-Proto: https"][..], &["Forwarded: for=192.0.2.1;proto=https"], &[]] {
        let (status, answer) = http.ask("GET /api/rooms", headers, "").await;
        assert!(status == 200 && !answer.contains("strict-transport-security"), "{answer}");
    }
    let (clear, encrypted) = ("Origin: http://localhost", "Origin: https://localhost");
    for (n, (proto, origin, expected)) in [
        ("X-Forwarded-Proto: https", encrypted, 201),
        // A page that came in clear text may be anybody's.
        ("X-Forwarded-Proto: https", clear, 403),
        ("X-None: ", clear, 201),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, answer) = http.create(&format!("room{n}"), &[&told(ANN), proto, origin]).await;
        assert_eq!(status, expected, "{answer}");
    }
    server.settings.send_modify(|settings| settings.clear_text = ClearText::Any);
    assert_eq!(http.create("any", &[&told(ANN), "X-Forwarded-Proto: http", clear]).await.0, 201);
    // Not even proxies.
    server.settings.send_modify(|settings| settings.clear_text = ClearText::Never);
    assert_eq!(Http::from(PROXY, &server).await.ask("GET /api/rooms", &[], "").await.0, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_through_a_proxy_count_among_all_connections() {
    let server = Harness::start(Settings { connections_max: 3, ..trusting() }).await;
    let mut maker = Http::from(PROXY, &server).await;
    let (status, _) =
        maker.ask("POST /api/rooms", &["X-Forwarded-For: 192.0.2.9"], r#"{"name": "lobby"}"#).await;
    assert_eq!(status, 201);
    drop(maker);
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key];
    let mut open = Vec::new();
    for visitor in 1..=3 {
        let forwarded = format!("X-Forwarded-For: 192.0.2.{visitor}");
        let headers: Vec<_> = upgrade.iter().copied().chain([&forwarded[..]]).collect();
        // The one before has gone, at the latest when it is noticed.
        let socket = within("a WebSocket", async {
            loop {
                let mut socket = Http::from(PROXY, &server).await;
                socket.send("GET /api/rooms/lobby/ws", &headers, "").await;
                let mut first = [0; 12];
                if socket.0.read_exact(&mut first).await.is_ok() && first == *b"HTTP/1.1 101" {
                    return socket;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        open.push(socket.await);
    }
    let mut late = Classic::connect(server.address).await;
    assert!(late.line().await.contains("too many connections"));
    drop(open);
    server.stop().await;
}
