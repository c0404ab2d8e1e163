//! Ten thousand connections that say nothing, or begin something and do not go on, and hundreds that ask for much and read
//! nothing, on a real server: it stays as it was, and others talk on.
#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use causerie_client::{Body, Event, Room, RoomOptions};
use causerie_core::id::Position;
use causerie_core::wire::{ClientFrame, Direction, HistoryQuestion, MAGIC, Place, VERSION};
use common::{Server, soon};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CONNECTIONS: usize = 10_000;
/// Silent connections that the server is told to bear.
const SILENT_MAX: f64 = 1_000.0;
/// A generous bound of what one that is not served yet may take.
const BYTES_EACH: usize = 32 << 10;
/// Files that this process, or the server, has open beside.
const BESIDE: usize = 500;

/// Beginnings before they say no more: nothing, a native greeting's first bytes, half a head of HTTP, half a hello of TLS, and
/// half a word, which is taken for a classic client's text in the end.
const BEGINNINGS: [&[u8]; 5] =
    [b"", &MAGIC, b"GET /api/rooms HTTP/1.1\r\nHost: localhost\r\nX: ", HALF_A_HELLO, HALF_A_WORD];
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";
const HALF_A_WORD: &[u8] = b"GE";

/// Begins, and waits until the server has had enough. What it says.
async fn half_open(mut stream: TcpStream, beginning: &[u8]) -> String {
    // It may have been closed already; what it closes with something unread is reset.
    let _ = stream.write_all(beginning).await;
    let mut told = Vec::new();
    if beginning == HALF_A_WORD {
        let _ = stream.read_buf(&mut told).await;
    } else {
        let _ = stream.read_to_end(&mut told).await;
    }
    String::from_utf8_lossy(&told).into_owned()
}

/// Returns how many connections this process may have, and the server, which inherits that.
fn connections() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let most = limit.current.map_or(usize::MAX, |most| most as usize - BESIDE);
    if most < CONNECTIONS {
        println!("*** only {most} connections instead of {CONNECTIONS}: no more files may be open here");
    }
    most.min(CONNECTIONS)
}

/// Returns how much of the server's memory is not on disk.
fn resident_bytes(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Asks the server something by HTTP. Returns head and body of the answer.
async fn request(server: &Server, what: &str, json: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json";
    let length = json.len();
    let request = format!("{what} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{json}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    soon("an answer", stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// A number of `/metrics`.
async fn metric(server: &Server, name: &str) -> f64 {
    let text = request(server, "GET /metrics", "").await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    value.trim().parse().unwrap()
}

/// Not both of them at once: files may not be open for twice as many.
static TURN: Mutex<()> = Mutex::const_new(());

struct Talk {
    ann: Room,
    bob: Room,
    turns: usize,
    /// Durations of the turns.
    times: Vec<Duration>,
}

impl Talk {
    async fn begin(server: &Server) -> Self {
        let (ann, bob) = (join(server, "Ann").await, join(server, "Bob").await);
        Self { ann, bob, turns: 0, times: Vec::new() }
    }

    /// Ann says something, Bob hears it and answers, and Ann hears that.
    async fn turn(&mut self) {
        let begun = Instant::now();
        self.turns += 1;
        let (ask, answer) = (format!("question {}", self.turns), format!("answer {}", self.turns));
        self.ann.say(&ask).unwrap();
        hear(&mut self.bob, &ask).await;
        self.bob.say(&answer).unwrap();
        hear(&mut self.ann, &answer).await;
        self.times.push(begun.elapsed());
    }

    /// Returns how long the turns took since this was asked last: half of them at most, and all but one in a hundred.
    fn latency(&mut self) -> String {
        let mut times = std::mem::take(&mut self.times);
        times.sort_unstable();
        let of = |percent| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        format!("{} turns, p50 {:?}, p99 {:?}", times.len(), of(50), of(99))
    }
}

async fn join(server: &Server, name: &str) -> Room {
    let joining = RoomOptions::new(&server.address(), "lobby", name).create(true).join();
    soon("a member is in", joining).await.expect("the server takes it")
}

async fn hear(room: &mut Room, text: &str) {
    soon(text, async {
        loop {
            match room.next_event().await.expect("it goes on") {
                Event::Delivered(post) if !post.own && post.body == Body::Text(text.into()) => break,
                Event::Reconnecting { reason, .. } => panic!("a member was sent away: {reason}"),
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_half_open_connections() {
    let _turn = TURN.lock().await;
    let connections = connections();
    let server = Server::start(&[
        "--silent-max",
        "1000",
        "--silent-time",
        "5",
        "--frame-time",
        "5",
        "--tls",
        "self-signed",
        "--log",
        "error",
    ])
    .await;
    let mut talk = Talk::begin(&server).await;
    talk.turn().await;
    let before = resident_bytes(&server);
    let mut open = JoinSet::new();
    let mut most = before;
    let mut silent = 0.0;
    for n in 0..connections {
        let beginning = BEGINNINGS[n % BEGINNINGS.len()];
        let stream = soon("a connection", TcpStream::connect(server.address())).await.unwrap();
        open.spawn(async move { (beginning, half_open(stream, beginning).await) });
        // Never more at the system's door than it can hold, as it would forget some. They are accepted in their order, and
        // who asks for this number is the last.
        if n % 250 == 249 {
            silent = f64::max(silent, metric(&server, "causerie_connections_silent").await);
            talk.turn().await;
            most = most.max(resident_bytes(&server));
        }
    }
    // Who comes now gets in, too.
    let late = join(&server, "Late").await;
    late.say("hello").unwrap();
    hear(&mut talk.bob, "hello").await;
    let http = metric(&server, "causerie_connections_open{protocol=\"http\"}").await;
    most = most.max(resident_bytes(&server));
    println!(
        "{connections} connections; {silent} silent at most, and {http} of HTTP now; {} KiB before, {} KiB at most",
        before >> 10,
        most >> 10
    );
    assert!(silent <= SILENT_MAX, "{silent} silent connections");
    assert!(most - before < BYTES_EACH * connections, "more than {BYTES_EACH} bytes for each");
    // All of them are closed, while others talk.
    while !open.is_empty() {
        let (beginning, told) = soon("the end of a connection", open.join_next()).await.unwrap().unwrap();
        // Of too many that had said nothing yet, the oldest are closed without a word.
        let words = match beginning {
            b"" => "nothing is said to them",
            HALF_A_WORD => r#""status": 400"#,
            beginning if beginning == MAGIC => "within 5 s",
            _ => "HTTP/1.1 408 ",
        };
        let is_right = told.is_empty() || told.contains(words);
        assert!(is_right, "{:?}: {told}", String::from_utf8_lossy(beginning));
        if open.len() % 500 == 0 {
            talk.turn().await;
        }
    }
    soon("no connection to be left but those of the members", async {
        while metric(&server, "causerie_connections_silent").await > 0.0
            || metric(&server, "causerie_connections_open{protocol=\"http\"}").await > 1.0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    println!("{} KiB after, {} turns", resident_bytes(&server) >> 10, talk.turns);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_irc_clients_that_never_say_who_they_are() {
    let _turn = TURN.lock().await;
    let connections = connections();
    let server = Server::start(&["--irc-registration-time", "20", "--log", "error"]).await;
    let mut talk = Talk::begin(&server).await;
    talk.turn().await;
    let before = resident_bytes(&server);
    let (mut most, mut at_once) = (before, 0.0);
    let mut open = JoinSet::new();
    for n in 0..connections {
        // What is missing is a name, a nick, or the end of the negotiation.
        let beginning = match n % 3 {
            0 => format!("NICK half{n}\r\n"),
            1 => "CAP REQ :message-tags batch\r\nCAP END\r\nUSER half 0 * :Half\r\n".to_owned(),
            _ => format!("CAP LS 302\r\nNICK half{n}\r\nUSER half 0 * :Half\r\n"),
        };
        let mut stream = soon("a connection", TcpStream::connect(server.address())).await.unwrap();
        open.spawn(async move {
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let mut told = String::new();
            stream.read_to_string(&mut told).await.unwrap();
            told
        });
        if n % 250 == 249 {
            at_once = f64::max(at_once, metric(&server, "causerie_connections_open{protocol=\"irc\"}").await);
            talk.turn().await;
            most = most.max(resident_bytes(&server));
        }
    }
    println!(
        "{connections} connections, {at_once} of them open at once; {} KiB before, {} KiB at most",
        before >> 10,
        most >> 10
    );
    assert!(most - before < BYTES_EACH * connections, "more than {BYTES_EACH} bytes for each");
    while !open.is_empty() {
        let told = soon("the end of a connection", open.join_next()).await.unwrap().unwrap();
        assert!(told.ends_with("ERROR :Registration timed out\r\n"), "{told}");
        if open.len() % 500 == 0 {
            talk.turn().await;
        }
    }
    soon("no connection to be left", async {
        while metric(&server, "causerie_connections_open{protocol=\"irc\"}").await > 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(metric(&server, "causerie_connections_open{protocol=\"irc\"}").await, 0.0);
}

/// Connections of each kind that read nothing.
const UNREAD_EACH: usize = 60;
/// Memory that they may take up together, and each of them.
const UNREAD_MEMORY: usize = 8 << 20;
const UNREAD_BYTES_EACH: usize = 256 << 10;

/// A text of a WebSocket's client.
fn socket_text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    // Masked with zeros.
    [&[0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0], text.as_bytes()].concat()
}

/// Returns what clients of each kind say first, and then again and again, so that they would be told far more than there is room for.
async fn questions(server: &Server, n: usize) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let mut hello = MAGIC.to_vec();
    ClientFrame::Hello { oldest: VERSION, newest: VERSION, agent: "test".into() }.encode(&mut hello);
    let mut page = Vec::new();
    let (room, direction, place) = ("lobby".into(), Direction::After, Place::Position(Position::START));
    let question = HistoryQuestion { room, epoch: None, direction, place, limit: 1_000, wait_millis: 0 };
    ClientFrame::History(question).encode(&mut page);
    let joined =
        request(server, "POST /api/rooms/lobby/members", &format!(r#"{{"name": "socket {n}"}}"#)).await;
    let token =
        joined.split_once(r#""token":""#).and_then(|(_, rest)| rest.split_once('"')).expect(&joined).0;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = format!("GET /api/rooms/lobby/ws HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n\r\n");
    let resume = socket_text(&format!(r#"{{"type": "resume", "token": "{token}", "after": 0}}"#));
    let get = "GET /api/rooms/lobby/messages?after=0&limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    vec![
        ("native", hello, page),
        ("classic", format!("./join lobby\nclassic {n}\n").into(), b"./members\n".repeat(1_000)),
        (
            "irc",
            format!("NICK irc{n}\r\nUSER irc 0 * :Irc\r\nJOIN #lobby\r\n").into(),
            b"WHO #lobby\r\nNAMES #lobby,#lobby\r\n".repeat(1_000),
        ),
        ("websocket", [upgrade.as_bytes(), &resume[..]].concat(), socket_text(r#"{"type": "members"}"#)),
        ("http", get.into(), get.into()),
    ]
}

/// Asks again and again and reads nothing, until the server ends the connection.
async fn never_read(server: String, first: Vec<u8>, again: Vec<u8>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(server.parse().unwrap()).await.unwrap();
    let mut sent = stream.write_all(&first).await;
    while sent.is_ok() {
        sent = stream.write_all(&again).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_every_kind_that_read_nothing() {
    let _turn = TURN.lock().await;
    connections();
    let memory = (UNREAD_MEMORY >> 20).to_string();
    let args = ["--unread-memory", &memory, "--log-memory", "1", "--irc-rate", "0", "--log", "error"];
    let server = Server::start(&args).await;
    let mut talk = Talk::begin(&server).await;
    let long = |n: usize| format!("{n} {}", "long ".repeat(3_000));
    for n in 0..400 {
        talk.ann.say(&long(n)).unwrap();
        hear(&mut talk.bob, &long(n)).await;
    }
    let before = resident_bytes(&server);
    let mut most = before;
    for _ in 0..20 {
        talk.turn().await;
    }
    println!("before: {}", talk.latency());
    let mut open = JoinSet::new();
    for n in 0..UNREAD_EACH {
        for (kind, first, again) in questions(&server, n).await {
            let asking = never_read(server.address(), first, again);
            open.spawn(async move {
                asking.await;
                kind
            });
        }
        talk.ann.say(&long(n)).unwrap();
        talk.turn().await;
        most = most.max(resident_bytes(&server));
    }
    println!("while they come: {}", talk.latency());
    // Until there is more than they may take up together, and beyond.
    soon("a connection to be ended", async {
        while metric(&server, "causerie_connections_cut_total").await == 0.0 {
            talk.turn().await;
        }
    })
    .await;
    for n in 0..20 {
        talk.ann.say(&long(n)).unwrap();
        talk.turn().await;
        most = most.max(resident_bytes(&server));
    }
    soon("what is unread to be within its limit", async {
        while metric(&server, "causerie_unread_bytes").await > UNREAD_MEMORY as f64 {
            talk.turn().await;
        }
    })
    .await;
    println!("behind that: {}", talk.latency());
    let cut = metric(&server, "causerie_connections_cut_total").await;
    let connections = 5 * UNREAD_EACH;
    println!(
        "{connections} connections that read nothing, {cut} of them ended; {} KiB before, {} KiB at most",
        before >> 10,
        most >> 10
    );
    assert!(
        most.saturating_sub(before) < connections * UNREAD_BYTES_EACH + UNREAD_MEMORY,
        "{} KiB more than before",
        (most - before) >> 10
    );
}
