//! A WebSocket client that comes back with its token and its position, and says again, with the same ids, what was not
//! acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Event that it was told.
#[derive(Debug)]
pub(crate) enum Told {
    Joined,
    /// The record at the next position, as it came.
    Record(Value),
    /// Its message has its place.
    Ack {
        position: u64,
        said: Value,
    },
    Resumed {
        resent: usize,
    },
}

pub(crate) struct Socket {
    say: mpsc::UnboundedSender<Value>,
    /// Said, and not acknowledged.
    on_its_way: Arc<AtomicUsize>,
    /// Ends only by a mistake.
    pub(crate) task: JoinHandle<()>,
}

impl Socket {
    /// Joins at once; `told` hears the rest.
    pub(crate) fn start(address: String, name: &str, told: mpsc::UnboundedSender<Told>) -> Self {
        Self::start_with(address, None, name, told)
    }

    /// Joins by TLS, where it is told how.
    pub(crate) fn start_with(
        address: String,
        tls: Option<Arc<ClientConfig>>,
        name: &str,
        told: mpsc::UnboundedSender<Told>,
    ) -> Self {
        let (say, wanted) = mpsc::unbounded_channel();
        let on_its_way = Arc::new(AtomicUsize::new(0));
        let session = Session {
            address,
            tls,
            name: name.into(),
            token: None,
            position: 0,
            said: 0,
            unacknowledged: Vec::new(),
            on_its_way: Arc::clone(&on_its_way),
            told,
        };
        let task = tokio::spawn(session.run(wanted));
        Self { say, on_its_way, task }
    }

    /// The fields of what is said, but for its `type` and `id`.
    pub(crate) fn say(&self, said: Value) {
        self.on_its_way.fetch_add(1, Ordering::Relaxed);
        self.say.send(said).expect("it runs");
    }

    pub(crate) fn on_its_way(&self) -> usize {
        self.on_its_way.load(Ordering::Relaxed)
    }
}

struct Session {
    address: String,
    /// Encrypted so, if at all.
    tls: Option<Arc<ClientConfig>>,
    name: String,
    token: Option<String>,
    /// Position of the last record.
    position: u64,
    said: u64,
    unacknowledged: Vec<(String, Value)>,
    on_its_way: Arc<AtomicUsize>,
    told: mpsc::UnboundedSender<Told>,
}

/// A connection in clear text, or by TLS.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

type Stream = WebSocketStream<Box<dyn Bytes>>;

impl Session {
    async fn run(mut self, mut wanted: mpsc::UnboundedReceiver<Value>) {
        loop {
            if let Some(mut stream) = self.connect().await {
                self.talk(&mut stream, &mut wanted).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nobody waits here for ever: a line that has stalled is cut in the end.
    async fn connect(&self) -> Option<Stream> {
        let url = format!("ws://{}/api/rooms/lobby/ws", self.address);
        let stream = TcpStream::connect(&self.address).await.ok()?;
        let stream: Box<dyn Bytes> = match &self.tls {
            None => Box::new(stream),
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.ok()?)
            }
        };
        let upgrade = tokio_tungstenite::client_async(url.into_client_request().unwrap(), stream);
        let mut stream = upgrade.await.ok()?.0;
        let first = match &self.token {
            None => json!({"type": "join", "name": self.name}),
            Some(token) => json!({"type": "resume", "token": token, "after": self.position}),
        };
        stream.send(Message::text(first.to_string())).await.ok()?;
        Some(stream)
    }

    /// Until the connection is gone.
    async fn talk(&mut self, stream: &mut Stream, wanted: &mut mpsc::UnboundedReceiver<Value>) {
        let mut welcomed = false;
        loop {
            tokio::select! {
                event = stream.next() => match event {
                    Some(Ok(Message::Text(event))) => {
                        let event: Value = serde_json::from_str(&event).expect("JSON");
                        if self.take(stream, &event).await.is_none() {
                            return;
                        }
                        welcomed = true;
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                said = wanted.recv() => {
                    let Some(said) = said else { return };
                    self.said += 1;
                    self.unacknowledged.push((self.said.to_string(), said));
                    let Some((id, said)) = self.unacknowledged.last() else { unreachable!("just pushed") };
                    if welcomed && say(stream, id, said).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// `None`: the connection is gone.
    async fn take(&mut self, stream: &mut Stream, event: &Value) -> Option<()> {
        let text = |field: &str| event[field].as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
        let position = event["position"].as_u64();
        match &*text("type") {
            "welcome" => {
                let position = position.expect("a position");
                match self.token.replace(text("token")) {
                    None => {
                        self.position = position - 1;
                        let _ = self.told.send(Told::Joined);
                    }
                    Some(_) => {
                        let _ = self.told.send(Told::Resumed { resent: self.unacknowledged.len() });
                    }
                }
                for (id, said) in &self.unacknowledged {
                    say(stream, id, said).await?;
                }
            }
            "message" | "joined" | "left" => {
                let position = position.expect("a position");
                self.position += 1;
                assert_eq!(position, self.position, "positions have no holes: {event}");
                let _ = self.told.send(Told::Record(event.clone()));
            }
            "ack" => {
                // What was said again is acknowledged again.
                if let Some(at) = self.unacknowledged.iter().position(|(id, _)| *id == text("id")) {
                    let (_, said) = self.unacknowledged.remove(at);
                    let position = position.expect("a position");
                    let _ = self.told.send(Told::Ack { position, said });
                    self.on_its_way.fetch_sub(1, Ordering::Relaxed);
                }
            }
            _ => panic!("{event}"),
        }
        Some(())
    }
}

/// `None`: the connection is gone.
async fn say(stream: &mut Stream, id: &str, said: &Value) -> Option<()> {
    let mut event = said.clone();
    event["type"] = "say".into();
    event["id"] = id.into();
    stream.send(Message::text(event.to_string())).await.ok()
}
