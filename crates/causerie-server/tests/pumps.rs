//! Readers for whom pumps write, and who now and then have something of their own to be told, or read nothing for a while:
//! each gets all of it, in order, and no frame or line is torn by another.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use causerie_core::wire::ServerFrame;
use causerie_server::Settings;
use common::{Event, Harness, Native, Random, within};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const MESSAGES: usize = 6_000;
const BYTES: usize = 600;
/// The last thing that is said.
const END: &str = "that is all";

/// Connects; a reader with a small buffer leaves the rest with the server.
async fn connect(address: SocketAddr, is_small: bool) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if is_small {
        socket.set_recv_buffer_size(4 << 10).unwrap();
    }
    socket.connect(address).await.unwrap()
}

/// Habits of a client.
#[derive(Clone, Copy, Default)]
struct Habits {
    /// It reads slowly at times.
    is_slow: bool,
    /// It asks, says things and pings between.
    is_busy: bool,
    /// It asks for batches.
    wants_batches: bool,
    /// It is told what is held back.
    wants_held: bool,
    /// It is told what members observe, though nobody tells anything.
    wants_observed: bool,
}

/// Waits a moment now and then.
async fn dawdle(random: &mut Random) {
    if random.below(40) == 0 {
        tokio::time::sleep(Duration::from_millis(random.below(20) as u64)).await;
    }
}

struct Web {
    stream: WebSocketStream<TcpStream>,
    habits: Habits,
    /// Position of the last record, once there was one.
    position: Option<u64>,
    /// What was said: author and text.
    said: Vec<(String, String)>,
    /// Messages that had more than one event.
    batches: usize,
    acks: usize,
    pongs: usize,
}

impl Web {
    async fn open(address: SocketAddr, habits: Habits, first: Value) -> Self {
        let request = format!("ws://{address}/api/rooms/lobby/ws").into_client_request().unwrap();
        let stream = connect(address, habits.is_slow).await;
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let mut web =
            Self { stream, habits, position: None, said: Vec::new(), batches: 0, acks: 0, pongs: 0 };
        let mut first = first;
        for (field, wanted) in [
            ("batch", habits.wants_batches),
            ("held", habits.wants_held),
            ("observed", habits.wants_observed),
        ] {
            if wanted {
                first[field] = true.into();
            }
        }
        web.send(first).await;
        web.hear().await;
        web
    }

    async fn send(&mut self, event: Value) {
        self.stream.send(Message::text(event.to_string())).await.unwrap();
    }

    /// Hears one message. Whether the last thing was said in it.
    async fn hear(&mut self) -> bool {
        let text = match within("a message", self.stream.next()).await.unwrap().unwrap() {
            Message::Text(text) => text,
            Message::Pong(_) => {
                self.pongs += 1;
                return false;
            }
            other => panic!("{other:?}"),
        };
        let events = match serde_json::from_str(&text).unwrap() {
            Value::Array(events) => {
                assert!(self.habits.wants_batches && !events.is_empty(), "{events:?}");
                self.batches += usize::from(events.len() > 1);
                events
            }
            event => vec![event],
        };
        let mut has_ended = false;
        for event in events {
            let kind = event["type"].as_str().unwrap();
            self.acks += usize::from(kind == "ack");
            if ["message", "joined", "left"].contains(&kind) {
                let position = event["position"].as_u64().unwrap();
                assert!(self.position.is_none_or(|last| position == last + 1), "behind {:?}", self.position);
                self.position = Some(position);
            }
            if kind == "message" {
                let (author, text) = (event["author"].as_str().unwrap(), event["text"].as_str().unwrap());
                has_ended |= text == END;
                self.said.push((author.into(), text.into()));
            }
            assert!(!["error", "gap"].contains(&kind), "{event}");
        }
        has_ended
    }

    /// Hears until the last thing was said, by its habits.
    async fn hear_all(mut self, seed: u64) -> Self {
        let mut random = Random(seed);
        let (mut pings, mut says) = (0, 0);
        while !self.hear().await {
            if self.habits.is_slow {
                dawdle(&mut random).await;
            }
            if self.habits.is_busy && !self.said.is_empty() {
                match random.below(60) {
                    0 => {
                        pings += 1;
                        self.stream.send(Message::Ping(b"here?".to_vec().into())).await.unwrap();
                    }
                    1 => self.send(json!({"type": "members"})).await,
                    2 => self.send(json!({"type": "ping"})).await,
                    3 if says < 100 => {
                        says += 1;
                        self.send(json!({"type": "say", "id": says.to_string(), "text": "nächste"})).await;
                    }
                    _ => {}
                }
            }
        }
        while self.pongs < pings || self.acks < says {
            self.hear().await;
        }
        self
    }
}

/// A classic client that reads until the last thing was said: the messages of others as they were shown. After so many lines
/// it says something beyond ASCII, and other things between.
async fn read_lines(
    address: SocketAddr,
    name: &str,
    is_slow: bool,
    says_at: usize,
    seed: u64,
) -> Vec<String> {
    let (read, mut write) = connect(address, is_slow).await.into_split();
    write.write_all(format!("./join lobby\n{name}\n").as_bytes()).await.unwrap();
    let (mut lines, mut random) = (BufReader::new(read).lines(), Random(seed));
    let mut heard = Vec::new();
    loop {
        let line = within("a line", lines.next_line()).await.unwrap().expect("it goes on");
        if !line.contains(" : ") {
            continue;
        }
        assert!(!line.starts_with(name), "{line}");
        let has_ended = line.ends_with(END);
        heard.push(line);
        if has_ended {
            return heard;
        }
        if is_slow {
            dawdle(&mut random).await;
        }
        if heard.len() == says_at {
            write.write_all("de l'\u{e9}t\u{e9}\n".as_bytes()).await.unwrap();
        } else if says_at < usize::MAX && random.below(100) == 0 {
            write.write_all(b"well\n").await.unwrap();
        }
    }
}

/// Waits for a frame. Whether it is a text that it has said itself.
async fn hears_itself(native: &mut Native) -> bool {
    // It is also told that somebody watches.
    let ServerFrame::Delivered(record) = native.wire.frame().await else { return false };
    matches!(native.take(record), Event::Text(member, _) if member == native.member)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_readers_get_all_of_it_whoever_writes_to_them() {
    let server = Harness::start(Settings::default()).await;
    let address = server.address;
    let mut noisy = Native::join(address, "lobby", "Noisy").await;
    let join = |name: &str| json!({"type": "join", "name": name});
    let watch = || json!({"type": "watch"});
    let none = Habits::default();
    let webs = [
        (none, join("Plain")),
        (Habits { is_busy: true, ..none }, join("Busy")),
        (Habits { is_slow: true, ..none }, join("Slow")),
        (Habits { is_slow: true, is_busy: true, wants_held: true, ..none }, join("Both")),
        (Habits { wants_batches: true, ..none }, join("Batch")),
        (Habits { wants_batches: true, is_slow: true, is_busy: true, ..none }, join("Batches")),
        (Habits { wants_observed: true, is_slow: true, ..none }, watch()),
        (Habits { wants_observed: true, wants_batches: true, is_slow: true, ..none }, watch()),
        (Habits { wants_batches: true, ..none }, watch()),
    ];
    let mut hearing = Vec::new();
    for (seed, (habits, first)) in (1..).zip(webs) {
        let web = Web::open(address, habits, first).await;
        hearing.push(tokio::spawn(web.hear_all(seed)));
    }
    let reading: Vec<_> = [
        ("Cora", false, usize::MAX),
        ("Cyd", true, usize::MAX),
        ("Cleo", false, MESSAGES / 3),
        ("Chloe", true, MESSAGES / 4),
    ]
    .into_iter()
    .map(|(name, is_slow, says_at)| (name, tokio::spawn(read_lines(address, name, is_slow, says_at, 9))))
    .collect();
    server.members("lobby", 11).await;

    let mut heard = 0;
    for n in 0..MESSAGES {
        noisy.say(&format!("{n:0BYTES$}")).await;
        while n - heard >= 300 {
            heard += usize::from(hears_itself(&mut noisy).await);
        }
    }
    while heard < MESSAGES {
        heard += usize::from(hears_itself(&mut noisy).await);
    }
    noisy.say(END).await;

    let mut told = Vec::new();
    for hearing in hearing {
        told.push(hearing.await.unwrap());
    }
    // What the first one was told is what was said.
    let said = told[0].said.clone();
    let numbers: Vec<_> =
        said.iter().filter(|(author, _)| author == "Noisy").map(|(_, text)| &text[..]).collect();
    assert_eq!(numbers.len(), MESSAGES + 1);
    assert!((0..MESSAGES).all(|n| numbers[n].parse() == Ok(n)));
    for web in &told {
        let end = web.said.iter().position(|(_, text)| text == END).unwrap();
        assert!(web.said[..=end] == said[..], "{:?}", web.said.len());
        assert_eq!(web.batches > 0, web.habits.wants_batches);
    }
    for (name, reading) in reading {
        let lines = reading.await.unwrap();
        let escaped = |text: &str| text.replace('\u{e9}', "\\xe9").replace('\u{e4}', "\\xe4");
        // Once it has said something beyond ASCII itself, it is shown such things; before, at most when both are near.
        let (mut lines, mut speaks_beyond) = (lines.into_iter(), false);
        for (author, text) in &said {
            if author == name {
                speaks_beyond |= !text.is_ascii();
                continue;
            }
            let (line, expected) = (lines.next().unwrap(), format!("{author} : {text}"));
            assert!(line == expected || !speaks_beyond && line == escaped(&expected), "{name}: {line}");
        }
        assert_eq!(lines.next(), None, "{name}");
    }
    server.stop().await;
}
