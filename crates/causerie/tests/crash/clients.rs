//! Clients of each kind, and how they are told to speak.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use causerie_client::{Body, Event, Room, RoomOptions, Speaker};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::common::{Process, Said, causerie, soon};
use crate::record::Saw;

pub(crate) type News = mpsc::UnboundedSender<(String, Saw)>;

const ROOM: &str = "lobby";
/// Between tries to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// In this process, with the client library.
pub(crate) async fn native(proxy: &str, name: &str, news: News) -> Speaker {
    let options = RoomOptions::new(proxy, ROOM, name).create(true);
    let room = soon("a client is in", options.join()).await.unwrap();
    let speaker = room.speaker();
    tokio::spawn(listen(room, name.to_owned(), news));
    speaker
}

async fn listen(mut room: Room, name: String, news: News) {
    let mut own = std::collections::BTreeMap::new();
    while let Some(event) = room.next_event().await {
        let saw = match event {
            Event::Delivered(post) => {
                let Body::Text(text) = post.body else { panic!("only texts are said") };
                match (post.own, post.position) {
                    (false, position) => Saw::Message { text, position },
                    (true, Some(position)) => Saw::Placed { text, position },
                    (true, None) => {
                        own.insert(post.id, text);
                        continue;
                    }
                }
            }
            Event::Placed { id, position, .. } => match own.remove(&id) {
                Some(text) => Saw::Placed { text, position },
                None => continue,
            },
            Event::Resumed { resent } => Saw::Resumed { resent },
            Event::Rejoined { reason, .. } => Saw::Wrong(format!("it lost its membership: {reason}")),
            Event::Gap { from, to } => Saw::Wrong(format!("{from} to {to} are missing")),
            Event::Ended(end) => Saw::Wrong(end.to_string()),
            _ => continue,
        };
        if news.send((name.clone(), saw)).is_err() {
            return;
        }
    }
}

/// `causerie chat`, which is killed and started again.
pub(crate) struct Chat {
    name: String,
    proxy: String,
    state: PathBuf,
    process: Process,
    news: News,
}

impl Chat {
    pub(crate) fn start(proxy: &str, name: &str, state: PathBuf, news: News) -> Self {
        let process = Self::spawn(proxy, name, &state, news.clone());
        Self { name: name.to_owned(), proxy: proxy.to_owned(), state, process, news }
    }

    fn spawn(proxy: &str, name: &str, state: &PathBuf, news: News) -> Process {
        let mut command = causerie();
        command.args(["chat", proxy, "--room", ROOM, "--name", name, "--state"]).arg(state);
        let (send, mut said) = mpsc::unbounded_channel();
        let name = name.to_owned();
        tokio::spawn(async move {
            while let Some(((), said)) = said.recv().await {
                let saw = match said {
                    Said::Out(line) => match line.split_once(" : ") {
                        Some((_, text)) => Saw::Message { text: text.to_owned(), position: None },
                        None => Saw::Wrong(format!("printed {line:?}")),
                    },
                    Said::Err(line) => match line.strip_prefix("back; ") {
                        Some(rest) => {
                            let resent = rest.split(' ').next().and_then(|n| n.parse().ok());
                            Saw::Resumed { resent: resent.unwrap_or_default() }
                        }
                        None if line.starts_with("back") => Saw::Resumed { resent: 0 },
                        None if line.starts_with("joined again") || line.starts_with("causerie: ") => {
                            Saw::Wrong(line)
                        }
                        None => continue,
                    },
                    Said::OutEnd => Saw::Ended,
                };
                if news.send((name.clone(), saw)).is_err() {
                    return;
                }
            }
        });
        Process::start(command, (), send)
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.process.write(text).await;
    }

    /// Whether it has promised to say it: it is on the disk until it has its place.
    pub(crate) fn has_taken(&self, text: &str) -> bool {
        let entries = std::fs::read_dir(&self.state).into_iter().flatten();
        let mut files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_none());
        let bytes = files.next().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    pub(crate) async fn kill(&mut self) {
        self.process.signal("KILL").await;
        self.process.exit().await;
    }

    pub(crate) fn start_again(&mut self) {
        self.process = Self::spawn(&self.proxy, &self.name, &self.state, self.news.clone());
    }
}

/// Lines in, lines out. It has no way to resume: each connection is another member.
pub(crate) struct Classic {
    say: mpsc::UnboundedSender<String>,
}

impl Classic {
    /// Joins, again and again.
    pub(crate) fn start(proxy: &str, name: &str, news: News) -> Self {
        let (say, mut said) = mpsc::unbounded_channel::<String>();
        let (proxy, name) = (proxy.to_owned(), name.to_owned());
        tokio::spawn(async move {
            for life in 0.. {
                let Ok(stream) = TcpStream::connect(&proxy).await else { continue };
                let (input, mut output) = stream.into_split();
                let mut lines = BufReader::new(input).lines();
                let greeting = format!("./join {ROOM}\n{name}x{life}\n./members\n");
                let mut is_in = false;
                if output.write_all(greeting.as_bytes()).await.is_ok() {
                    loop {
                        tokio::select! {
                            line = lines.next_line() => match line {
                                Ok(Some(line)) if !is_in => {
                                    is_in = line.starts_with("['");
                                    if is_in && news.send((name.clone(), Saw::Begins)).is_err() {
                                        return;
                                    }
                                }
                                Ok(Some(line)) => {
                                    let Some((_, text)) = line.split_once(" : ") else { continue };
                                    let saw = Saw::Message { text: text.to_owned(), position: None };
                                    if news.send((name.clone(), saw)).is_err() {
                                        return;
                                    }
                                }
                                _ => break,
                            },
                            text = said.recv(), if is_in => {
                                let Some(text) = text else { return };
                                // Told before anybody can be shown it.
                                if news.send((name.clone(), Saw::Says { text: text.clone() })).is_err() {
                                    return;
                                }
                                if output.write_all(format!("{text}\n").as_bytes()).await.is_err() {
                                    break;
                                }
                            }
                        }
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { say }
    }

    pub(crate) fn say(&self, text: &str) {
        self.say.send(text.to_owned()).expect("it goes on for ever");
    }
}

/// A program that speaks JSON over a WebSocket, and says again what was not acknowledged.
pub(crate) struct Web {
    say: mpsc::UnboundedSender<String>,
}

impl Web {
    pub(crate) async fn start(proxy: &str, name: &str, news: News) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let mut member = WebMember {
            proxy: proxy.to_owned(),
            name: name.to_owned(),
            news,
            token: None,
            position: 0,
            unacknowledged: VecDeque::new(),
            next_id: 0,
            ready: Some(ready),
        };
        tokio::spawn(async move { member.go_on(said).await });
        soon("a page is in", is_ready).await.unwrap();
        Self { say }
    }

    pub(crate) fn say(&self, text: &str) {
        self.say.send(text.to_owned()).expect("it goes on for ever");
    }
}

struct WebMember {
    proxy: String,
    name: String,
    news: News,
    token: Option<String>,
    /// Of the last record.
    position: u64,
    unacknowledged: VecDeque<(String, String)>,
    next_id: u64,
    ready: Option<tokio::sync::oneshot::Sender<()>>,
}

impl WebMember {
    async fn go_on(&mut self, mut said: mpsc::UnboundedReceiver<String>) {
        loop {
            if let Some(socket) = self.connect().await
                && self.converse(socket, &mut said).await.is_none()
            {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connect(&self) -> Option<WebSocketStream<TcpStream>> {
        let request = format!("ws://{}/api/rooms/{ROOM}/ws", self.proxy).into_client_request().unwrap();
        let stream = TcpStream::connect(&self.proxy).await.ok()?;
        Some(tokio_tungstenite::client_async(request, stream).await.ok()?.0)
    }

    /// Until the connection breaks. `None`: nobody wants it any more.
    async fn converse(
        &mut self,
        mut socket: WebSocketStream<TcpStream>,
        said: &mut mpsc::UnboundedReceiver<String>,
    ) -> Option<()> {
        let first = match &self.token {
            Some(token) => json!({"type": "resume", "token": token, "after": self.position}),
            None => json!({"type": "join", "name": self.name}),
        };
        let mut out = VecDeque::from([first]);
        let mut is_in = false;
        loop {
            while let Some(event) = out.pop_front() {
                if socket.send(Message::text(event.to_string())).await.is_err() {
                    return Some(());
                }
            }
            tokio::select! {
                message = socket.next() => {
                    let Some(Ok(Message::Text(text))) = message else { return Some(()) };
                    let event: Value = serde_json::from_str(&text).unwrap();
                    if event["type"] == "welcome" {
                        is_in = true;
                        if self.token.is_some() {
                            let resent = self.unacknowledged.len();
                            self.news.send((self.name.clone(), Saw::Resumed { resent })).ok()?;
                        } else {
                            self.position = event["position"].as_u64().unwrap() - 1;
                        }
                        self.token = Some(event["token"].as_str().unwrap().to_owned());
                        out.extend(self.unacknowledged.iter().map(|(id, text)| say(id, text)));
                        self.ready.take().map(|ready| ready.send(()));
                    } else {
                        self.take(&event)?;
                    }
                }
                text = said.recv(), if is_in => {
                    let id = self.next_id.to_string();
                    self.next_id += 1;
                    let text = text?;
                    out.push_back(say(&id, &text));
                    self.unacknowledged.push_back((id, text));
                }
            }
        }
    }

    fn take(&mut self, event: &Value) -> Option<()> {
        let saw = match event["type"].as_str().unwrap() {
            "message" | "joined" | "left" => {
                let position = event["position"].as_u64().unwrap();
                if position == self.position + 1 {
                    self.position = position;
                    match event["text"].as_str() {
                        Some(text) if event["author"] == self.name.as_str() => {
                            Saw::Placed { text: text.to_owned(), position }
                        }
                        Some(text) => Saw::Message { text: text.to_owned(), position: Some(position) },
                        None => return Some(()),
                    }
                } else {
                    Saw::Wrong(format!("{event} behind {}", self.position))
                }
            }
            "ack" => {
                let known = self.unacknowledged.iter().position(|(id, _)| event["id"] == id.as_str());
                let Some((_, text)) = known.and_then(|at| self.unacknowledged.remove(at)) else {
                    return Some(());
                };
                Saw::Placed { text, position: event["position"].as_u64().unwrap() }
            }
            "shutting_down" => return Some(()),
            _ => Saw::Wrong(event.to_string()),
        };
        self.news.send((self.name.clone(), saw)).ok()
    }
}

fn say(id: &str, text: &str) -> Value {
    json!({"type": "say", "id": id, "text": text})
}
