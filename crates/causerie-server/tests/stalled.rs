//! A server stores, then shows: while the store stalls or is full, nobody is shown what was said, its author included,
//! whatever the protocol it was said by.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causerie_core::wire::{ClientFrame, ServerFrame};
use causerie_server::Settings;
use causerie_store::Store;
use common::limited::Limited;
use common::{Classic, Harness, Native, raw, within};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const ROOM: &str = "lobby";

/// A client of one protocol.
enum Client {
    Native(Box<Native>),
    Classic(Classic),
    Irc(Classic),
    Web(Box<WebSocketStream<TcpStream>>),
}

impl Client {
    async fn native(address: SocketAddr) -> Self {
        Self::Native(Box::new(Native::join(address, ROOM, "Ann").await))
    }

    async fn classic(address: SocketAddr) -> Self {
        let mut client = Classic::connect(address).await;
        client.send(format!("./join {ROOM}\nCleo\n./members\n")).await;
        until(&mut client, "'Cleo'").await;
        Self::Classic(client)
    }

    async fn irc(address: SocketAddr) -> Self {
        let mut client = Classic::connect(address).await;
        client.send("CAP REQ :echo-message\r\nNICK Irma\r\nUSER i 0 * :i\r\nCAP END\r\n").await;
        client.send(format!("JOIN #{ROOM}\r\n")).await;
        until(&mut client, " 366 ").await;
        Self::Irc(client)
    }

    async fn web(address: SocketAddr) -> Self {
        Self::web_as(address, "Wes").await.0
    }

    /// With the token of its member.
    async fn web_as(address: SocketAddr, name: &str) -> (Self, String) {
        let request = format!("ws://{address}/api/rooms/{ROOM}/ws").into_client_request().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let opened = within("the upgrade", tokio_tungstenite::client_async(request, stream)).await;
        let mut client = Self::Web(Box::new(opened.unwrap().0));
        client.tell(json!({"type": "join", "name": name})).await;
        let welcome: Value = serde_json::from_str(&client.next().await).unwrap();
        assert_eq!(welcome["type"], "welcome");
        (client, welcome["token"].as_str().unwrap().to_owned())
    }

    /// One of each protocol, in the room.
    async fn of_each(address: SocketAddr) -> Vec<Self> {
        let native = Self::native(address).await;
        vec![native, Self::classic(address).await, Self::irc(address).await, Self::web(address).await]
    }

    async fn tell(&mut self, event: Value) {
        let Self::Web(socket) = self else { panic!("no WebSocket") };
        socket.send(Message::Text(event.to_string().into())).await.unwrap();
    }

    async fn say(&mut self, text: &str) {
        match self {
            Self::Native(client) => client.say(text).await,
            Self::Classic(client) => client.send(format!("{text}\n")).await,
            Self::Irc(client) => client.send(format!("PRIVMSG #{ROOM} :{text}\r\n")).await,
            Self::Web(_) => {
                self.tell(json!({"type": "say", "id": text.replace(' ', "-"), "text": text})).await
            }
        }
    }

    /// Asks for an answer that has nothing to do with the room.
    async fn ask(&mut self) {
        match self {
            Self::Native(client) => client.wire.send(&ClientFrame::Ping(7)).await,
            Self::Classic(client) => client.send("./nothing\n").await,
            Self::Irc(client) => client.send("PING nothing\r\n").await,
            Self::Web(_) => self.tell(json!({"type": "ping"})).await,
        }
    }

    /// Returns what the client is told next, as text.
    async fn next(&mut self) -> String {
        match self {
            Self::Native(client) => match client.wire.frame().await {
                ServerFrame::Delivered(record) => format!("{:?}", client.take(record)),
                frame => format!("{frame:?}"),
            },
            Self::Classic(client) | Self::Irc(client) => client.line().await,
            Self::Web(socket) => loop {
                let message = within("an event", socket.next()).await.expect("it goes on").unwrap();
                if let Message::Text(text) = message {
                    return text.to_string();
                }
            },
        }
    }

    /// Reads up to the answer of [`ask`](Self::ask).
    async fn answer(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let next = self.next().await;
            let is_answer = match self {
                Self::Native(_) => next.starts_with("Pong"),
                Self::Classic(_) => next.contains("nothing"),
                Self::Irc(_) => next.contains("PONG"),
                Self::Web(_) => next.contains("\"pong\""),
            };
            if is_answer {
                return told;
            }
            told.push(next);
        }
    }

    /// Reads on until something has this in it.
    async fn hears(&mut self, part: &str) {
        while !self.next().await.contains(part) {}
    }

    /// The client is told nothing of it: between two answers its session has looked for all that may be told.
    async fn hears_nothing_of(&mut self, text: &str) {
        for _ in 0..3 {
            self.ask().await;
            let told = self.answer().await;
            // Classic clients are told what they have said themselves by nobody; others by its record.
            assert!(!told.iter().any(|told| told.contains(text)), "it was shown {told:?}");
        }
    }

    fn is_told_its_own(&self) -> bool {
        !matches!(self, Self::Classic(_))
    }
}

async fn until(client: &mut Classic, part: &str) {
    while !client.line().await.contains(part) {}
}

async fn start() -> (Arc<Limited>, Harness) {
    let store = Arc::new(Limited::default());
    let server = Harness::with_store(Settings::default(), Arc::clone(&store) as Arc<dyn Store>).await;
    (store, server)
}

/// The author is the one at that place.
async fn nobody_is_shown_what_is_not_stored(author: usize) {
    let (store, server) = start().await;
    let mut clients = Client::of_each(server.address).await;

    store.hold();
    clients[author].say("stalled").await;
    store.holds().await;
    for client in &mut clients {
        client.hears_nothing_of("stalled").await;
    }
    assert!(!page(&server).await.contains("stalled"));
    store.release();
    for (n, client) in clients.iter_mut().enumerate() {
        if n != author || client.is_told_its_own() {
            client.hears("stalled").await;
        }
    }
    assert!(page(&server).await.contains("stalled"));

    store.fill();
    clients[author].say("too much").await;
    let refused = store.refused();
    within("another try", async {
        while store.refused() < refused + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for client in &mut clients {
        client.hears_nothing_of("too much").await;
    }
    assert!(!page(&server).await.contains("too much"));
    store.make_room();
    for (n, client) in clients.iter_mut().enumerate() {
        if n != author || client.is_told_its_own() {
            client.hears("too much").await;
        }
    }
    server.stop().await;
}

/// The newest page of the room's log.
async fn page(server: &Harness) -> String {
    let address = server.address;
    let ask =
        format!("GET /api/rooms/{ROOM}/messages HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    raw(address, ask.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_native_client_says_is_stored_then_shown() {
    nobody_is_shown_what_is_not_stored(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_classic_client_says_is_stored_then_shown() {
    nobody_is_shown_what_is_not_stored(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_irc_client_says_is_stored_then_shown() {
    nobody_is_shown_what_is_not_stored(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_web_socket_says_is_stored_then_shown() {
    nobody_is_shown_what_is_not_stored(3).await;
}

/// One request, and the body of its answer.
async fn post(address: SocketAddr, path: String, token: String, body: Value) -> String {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    raw(address, (head + &body).as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_says_is_stored_then_shown_and_then_answered() {
    let (store, server) = start().await;
    let address = server.address;
    let mut clients = Client::of_each(address).await;
    let join = post(address, format!("/api/rooms/{ROOM}/members"), String::new(), json!({"name": "Hal"}));
    let joined = join.await;
    let joined: Value = serde_json::from_str(joined.split_once("\r\n\r\n").unwrap().1).unwrap();
    let token = joined["token"].as_str().unwrap().to_owned();
    let say = |text: &str| {
        let path = format!("/api/rooms/{ROOM}/messages");
        tokio::spawn(post(address, path, token.clone(), json!({"id": text.replace(' ', "-"), "text": text})))
    };

    store.hold();
    let mut answer = say("stalled");
    store.holds().await;
    for client in &mut clients {
        client.hears_nothing_of("stalled").await;
    }
    assert!(!page(&server).await.contains("stalled"));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut answer).await;
    assert!(early.is_err(), "it was answered before it was stored: {early:?}");
    store.release();
    let answer = within("the answer", answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    for client in &mut clients {
        client.hears("stalled").await;
    }

    // On a full disk that is answered, and what was taken is shown once there is room.
    store.fill();
    let answer = within("the answer", say("too much")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("storage_full"), "{answer}");
    for client in &mut clients {
        client.hears_nothing_of("too much").await;
    }
    assert!(!page(&server).await.contains("too much"));
    store.make_room();
    for client in &mut clients {
        client.hears("too much").await;
    }
    server.stop().await;
}

/// More than the room remembers is on its way to the store: what is said again is neither remembered nor stored.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_again_before_it_is_stored_is_one_message() {
    let (store, server) = start().await;
    let address = server.address;
    // What each may have unstored at once, and more than 4,096 in all.
    let (count, each) = (18, 250);
    // Native clients make a room by joining it.
    let _maker = Client::native(address).await;
    let (mut first, token) = Client::web_as(address, "Wes").await;
    let mut others = Vec::new();
    for n in 1..count {
        others.push(Client::web_as(address, &format!("Wes{n}")).await.0);
    }

    store.hold();
    first.say("stalled").await;
    store.holds().await;
    // A WebSocket answers what was asked behind what it has heard.
    first.ask().await;
    first.hears("pong").await;
    for other in &mut others {
        for n in 0..each {
            other.say(&format!("other {n}")).await;
        }
        other.ask().await;
        other.hears("pong").await;
    }
    let path = format!("/api/rooms/{ROOM}/messages");
    let mut again = tokio::spawn(post(address, path, token, json!({"id": "stalled", "text": "stalled"})));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut again).await;
    assert!(early.is_err(), "it was answered before it was stored: {early:?}");
    store.release();
    let again = within("the answer", again).await.unwrap();
    assert!(again.starts_with("HTTP/1.1 200 "), "it was said before: {again}");
    first.hears("stalled").await;
    server.stop().await;
}
