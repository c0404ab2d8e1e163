//! Ten thousand connections that say nothing, or begin something and do not go on, on a real server: it stays as it was,
//! and others talk on.
#![cfg(target_os = "linux")]

mod common;

use causerie_client::{Body, Event, Room, RoomOptions};
use causerie_core::frame::MAGIC;
use common::{Server, soon};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 10_000;
/// What the server is told to bear of silent ones.
const SILENT_MAX: f64 = 1_000.0;
/// A generous bound of what one that is not served yet may take.
const BYTES_EACH: usize = 32 << 10;
/// What this process, or the server, has open beside.
const BESIDE: usize = 500;

/// What they say before they say no more: nothing, a native greeting's first bytes, half a head of HTTP, and half a word,
/// which is taken for a classic client's text in the end.
const BEGINNINGS: [&[u8]; 4] =
    [b"", &MAGIC, b"GET /api/rooms HTTP/1.1\r\nHost: localhost\r\nX: ", HALF_A_WORD];
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

/// So many connections as this process may have, and the server, which inherits that.
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

/// What of the server's memory is not on disk.
fn resident_bytes(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// A number of `/metrics`.
async fn metric(server: &Server, name: &str) -> f64 {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    soon("the metrics", stream.read_to_string(&mut text)).await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    value.trim().parse().unwrap()
}

/// Not both of them at once: files may not be open for twice as many.
static TURN: Mutex<()> = Mutex::const_new(());

struct Talk {
    ann: Room,
    bob: Room,
    turns: usize,
}

impl Talk {
    /// Ann says something, Bob hears it and answers, and Ann hears that.
    async fn turn(&mut self) {
        self.turns += 1;
        let (ask, answer) = (format!("question {}", self.turns), format!("answer {}", self.turns));
        self.ann.say(&ask).unwrap();
        hear(&mut self.bob, &ask).await;
        self.bob.say(&answer).unwrap();
        hear(&mut self.ann, &answer).await;
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
    let server =
        Server::start(&["--silent-max", "1000", "--silent-time", "5", "--frame-time", "5", "--log", "error"])
            .await;
    let mut talk = Talk { ann: join(&server, "Ann").await, bob: join(&server, "Bob").await, turns: 0 };
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
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
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
    let mut talk = Talk { ann: join(&server, "Ann").await, bob: join(&server, "Bob").await, turns: 0 };
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
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(metric(&server, "causerie_connections_open{protocol=\"irc\"}").await, 0.0);
}
