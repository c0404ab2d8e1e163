//! The JSON API over real sockets: requests byte by byte, WebSockets by another library.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use causerie_core::id::Position;
use causerie_core::wire::{ClientFrame, ErrorCode, Observation, Observed, ServerFrame, Stable, Watched};
use causerie_server::{AddressLimits, Protocol, Settings};
use causerie_store::{Change, MemoryStore, Options, RoomRow, SqliteStore, Store};
use cbcast::{Kind, MemberId, MessageId};
use common::limited::Limited;
use common::{Classic, Event, Harness, Native, Wire, raw, within};
use futures_util::{SinkExt, StreamExt};
use jsonschema::Validator;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const OBSERVATIONS: Watched = Watched { observations: true, acknowledgements: false };

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: Value,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }

    fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(self.body["message"].as_str().is_some_and(|words| !words.is_empty()));
        self.body
    }
}

async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Reply {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    if let Some(body) = body {
        bytes += &format!("Content-Length: {}\r\n", body.len());
    }
    bytes += "\r\n";
    bytes += body.unwrap_or_default();
    let answer = raw(address, bytes.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap_or(json!(body)) };
    let reply = Reply { status, head: head.to_owned(), body };
    is_as_described(method, path, &reply);
    reply
}

/// What `/api/openapi.json` says.
static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../src/gateways/http/openapi.json")).unwrap());

/// The value is as this schema of the description says.
fn is_valid(value: &Value, schema: &Value, what: &str) {
    static BUILT: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let build = || {
        let mut schema = schema.clone();
        // What it refers to.
        schema["components"] = DESCRIPTION["components"].clone();
        Arc::new(jsonschema::options().should_validate_formats(true).build(&schema).unwrap())
    };
    let validator = Arc::clone(BUILT.lock().unwrap().entry(schema.to_string()).or_insert_with(build));
    let wrong: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{what}: {value} is not as described: {}", wrong.join("; "));
}

fn named(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// Every answer in these tests has a status, a type and a body that are described.
fn is_as_described(method: &str, path: &str, reply: &Reply) {
    let what = format!("{method} {path}");
    let path = path.split('?').next().unwrap();
    let matches = |template: &str| {
        let (is, ought) = (path.split('/'), template.split('/'));
        is.clone().count() == ought.clone().count()
            && is.zip(ought).all(|(is, ought)| ought.starts_with('{') || is == ought)
    };
    let template = DESCRIPTION["paths"].as_object().unwrap().keys().find(|template| matches(template));
    let kind = reply.header("content-type").map(|kind| kind.split(';').next().unwrap());
    let operation = template.map(|template| &DESCRIPTION["paths"][template][method.to_lowercase()]);
    let Some(operation) = operation.filter(|operation| operation.is_object()) else {
        // What is not described is not there, or is no JSON.
        if reply.status >= 400 {
            assert_eq!(kind, Some("application/json"), "{what}");
            is_valid(&reply.body, &named("Problem"), &what);
        }
        return;
    };
    let response = &operation["responses"][reply.status.to_string()];
    assert!(response.is_object(), "{what}: the status {} is not described", reply.status);
    let Some(content) = response.get("content") else {
        assert_eq!((kind, &reply.body), (None, &Value::Null), "{what}: no body is described");
        return;
    };
    let kind = kind.unwrap_or_else(|| panic!("{what}: of which type?"));
    assert!(content.get(kind).is_some(), "{what}: the type {kind} is not described");
    is_valid(&reply.body, &content[kind]["schema"], &what);
}

/// An event has the fields that are described for answers to requests.
fn event_is_as_described(event: &Value) {
    let mut fields = event.clone();
    fields.as_object_mut().unwrap().remove("type");
    let schema = match event["type"].as_str().unwrap() {
        "message" | "joined" | "left" => "Entry",
        "welcome" => "Welcome",
        "ack" => "Said",
        "error" => "Problem",
        _ => return,
    };
    is_valid(&fields, &named(schema), "an event");
}

async fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, "GET", path, &[], None).await
}

async fn post(address: SocketAddr, path: &str, token: &str, body: Value) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", &authorization[..]), ("Content-Type", "application/json")];
    request(address, "POST", path, &headers, Some(&body.to_string())).await
}

/// A room and a bot in it: its id and its token.
async fn bot(address: SocketAddr, room: &str, name: &str) -> (String, String) {
    post(address, "/api/rooms", "", json!({"name": room})).await;
    let joined = post(address, &format!("/api/rooms/{room}/members"), "", json!({"name": name})).await;
    let joined = joined.expect(201);
    (joined["member"].as_str().unwrap().to_owned(), joined["token"].as_str().unwrap().to_owned())
}

/// What a WebSocket or a page tells, as one line.
fn line(record: &Value) -> String {
    let author = record["author"].as_str().unwrap();
    match record["kind"].as_str().unwrap() {
        "joined" => format!("+{author}"),
        "left" => format!("-{author}"),
        _ => format!("{author}: {}", record["text"].as_str().unwrap()),
    }
}

struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Of the last record.
    position: u64,
    token: String,
    /// What came beside records, and was not asked for.
    aside: Vec<Value>,
}

impl Socket {
    async fn open(address: SocketAddr, room: &str) -> Self {
        let request = format!("ws://{address}/api/rooms/{room}/ws").into_client_request().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (stream, _) =
            within("the upgrade", tokio_tungstenite::client_async(request, stream)).await.unwrap();
        Self { stream, position: 0, token: String::new(), aside: Vec::new() }
    }

    async fn join(address: SocketAddr, room: &str, name: &str) -> Self {
        let mut socket = Self::open(address, room).await;
        socket.send(json!({"type": "join", "name": name})).await;
        socket.welcomed().await;
        socket.position -= 1;
        let joined = socket.record().await;
        assert_eq!(line(&joined), format!("+{name}"));
        socket
    }

    async fn resume(address: SocketAddr, room: &str, token: &str, after: u64) -> Self {
        let mut socket = Self::open(address, room).await;
        socket.send(json!({"type": "resume", "token": token, "after": after})).await;
        socket.welcomed().await;
        socket.position = after;
        socket
    }

    async fn welcomed(&mut self) -> Value {
        let welcome = self.event().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        self.token = welcome["token"].as_str().unwrap().to_owned();
        self.position = welcome["position"].as_u64().unwrap();
        welcome
    }

    async fn send(&mut self, event: Value) {
        within("sending", self.stream.send(Message::text(event.to_string()))).await.unwrap();
    }

    async fn say(&mut self, id: &str, text: &str) {
        self.send(json!({"type": "say", "id": id, "text": text})).await;
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match within("an event", self.stream.next()).await? {
                Ok(Message::Text(text)) => {
                    let event = serde_json::from_str(&text).unwrap();
                    event_is_as_described(&event);
                    return Some(event);
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn event(&mut self) -> Value {
        self.next().await.expect("the connection goes on")
    }

    /// The next event of this type; others that are no records are kept aside.
    async fn expect(&mut self, kind: &str) -> Value {
        if let Some(at) = self.aside.iter().position(|event| event["type"] == kind) {
            return self.aside.remove(at);
        }
        loop {
            let event = self.event().await;
            if event["type"] == kind {
                return event;
            }
            self.aside.push(event);
        }
    }

    /// The next record of the log: the one behind the last.
    async fn record(&mut self) -> Value {
        let of_log = |event: &Value| ["message", "joined", "left"].iter().any(|kind| event["type"] == *kind);
        let record = match self.aside.iter().position(of_log) {
            Some(at) => self.aside.remove(at),
            None => loop {
                let event = self.event().await;
                if of_log(&event) {
                    break event;
                }
                self.aside.push(event);
            },
        };
        self.position += 1;
        assert_eq!(record["position"], self.position, "positions have no holes: {record}");
        record
    }

    async fn fatal(&mut self, code: &str) -> Value {
        let error = self.expect("error").await;
        assert_eq!(error["code"], code, "{error}");
        assert_eq!(self.next().await, None);
        error
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_kinds_of_clients_see_one_order_live_and_later() {
    let server = Harness::start(Settings::default()).await;
    let (_, token) = bot(server.address, "lobby", "Bot").await;
    let mut eve = Socket::join(server.address, "lobby", "Eve").await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut ann = Classic::connect(server.address).await;
    ann.send("./join lobby\n").await;
    ann.send("Ann\n").await;
    server.members("lobby", 4).await;
    // Each answers what it has seen.
    eve.say("1", "lunch?").await;
    ann.expect("Eve : lunch?").await;
    ann.send("yes\n").await;
    while raj.event().await != Event::Text(raj.group.clock().iter().last().unwrap().0, "yes".into()) {}
    raj.say("where?").await;
    ann.expect("Raj : where?").await;
    let said = post(server.address, "/api/rooms/lobby/messages", &token, json!({"id": "x", "text": "here"}));
    let said = said.await.expect(201);
    ann.expect("Bot : here").await;
    let mut lines = Vec::new();
    while eve.position < said["position"].as_u64().unwrap() {
        let record = eve.record().await;
        lines.push((line(&record), record["id"].as_str().unwrap().to_owned()));
    }
    let told: Vec<_> = lines.iter().map(|(line, _)| &line[..]).collect();
    assert_eq!(told, ["+Raj", "+Ann", "Eve: lunch?", "Ann: yes", "Raj: where?", "Bot: here"]);
    assert_eq!(lines.last().unwrap().1, said["message"].as_str().unwrap());
    assert_eq!(eve.expect("ack").await["id"], "1");
    // Whoever comes back, and whoever asks, is told the same.
    drop(eve.stream);
    let page = get(server.address, "/api/rooms/lobby/messages").await.expect(200);
    let later: Vec<_> = page["messages"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(later[2..], told[..]);
    let mut again = Socket::resume(server.address, "lobby", &eve.token, 2).await;
    for expected in &told {
        assert_eq!(line(&again.record().await), *expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_sent_again_is_the_same_message_whatever_happens_between() {
    let store = Arc::new(MemoryStore::new());
    let settings = Settings {
        room: causerie_core::room::RoomSettings { grace: Duration::from_millis(1), ..Default::default() },
        ..Settings::default()
    };
    let server = Harness::with_store(Settings::default(), store.clone()).await;
    let (member, token) = bot(server.address, "lobby", "Bot").await;
    let say = async |server: &Harness, id: &str, text: &str| {
        post(server.address, "/api/rooms/lobby/messages", &token, json!({"id": id, "text": text})).await
    };
    let first = say(&server, "a", "one").await.expect(201);
    assert_eq!(first, json!({"id": "a", "message": format!("{member}#1"), "position": 2}));
    assert_eq!(say(&server, "a", "one").await.expect(200), first);
    let (x, y) = tokio::join!(say(&server, "b", "two"), say(&server, "b", "two"));
    assert_eq!(x.status + y.status, 401, "one of them is new");
    assert_eq!(x.body, y.body);
    server.stop().await;
    let server = Harness::with_store(Settings::default(), store.clone()).await;
    assert_eq!(say(&server, "a", "one").await.expect(200), first);
    assert_eq!(say(&server, "c", "three").await.expect(201)["message"], format!("{member}#3"));
    // The same membership, the same ids, on a WebSocket.
    let mut socket = Socket::resume(server.address, "lobby", &token, 0).await;
    socket.say("a", "one").await;
    assert_eq!(socket.expect("ack").await["message"], first["message"]);
    drop(socket);
    server.stop().await;
    // Even of one that has left by then.
    let server = Harness::with_store(settings, store).await;
    server.members("lobby", 0).await;
    assert_eq!(say(&server, "a", "one").await.expect(200), first);
    assert_eq!(say(&server, "d", "four").await.refused(410, "expired")["taken"], 3);
    let mut socket = Socket::open(server.address, "lobby").await;
    socket.send(json!({"type": "resume", "token": token})).await;
    assert_eq!(socket.expect("error").await["taken"], 3);
    let page = get(server.address, "/api/rooms/lobby/messages").await.expect(200);
    let told: Vec<_> = page["messages"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(told, ["+Bot", "Bot: one", "Bot: two", "Bot: three", "-Bot"]);
    server.stop().await;
}

#[tokio::test]
async fn names_that_people_would_take_for_each_other_are_refused_and_told() {
    let server = Harness::start(Settings::default()).await;
    let at = server.address;
    let make = async |name: &str| post(at, "/api/rooms", "", json!({"name": name})).await;
    make("Lobby").await.expect(201);
    // Greek omicron; letter case; letters of full width.
    for name in ["L\u{3bf}bby", "lobby", "\u{ff2c}obby"] {
        let refused = make(name).await.refused(409, "room_exists");
        assert_eq!(refused["message"], format!("the name '{name}' reads like that of the room 'Lobby'"));
        // It is looked up as it is, and is not there.
        get(at, &format!("/api/rooms/{}/messages", percent(name))).await.refused(404, "no_such_room");
    }
    make("Lobbies").await.expect(201);
    let join = async |name: &str| post(at, "/api/rooms/Lobby/members", "", json!({"name": name})).await;
    join("Ann").await.expect(201);
    let refused = join("\u{410}nn").await.refused(409, "name_taken");
    assert_eq!(
        refused["message"],
        "the name '\u{410}nn' reads like 'Ann', who is here; '\u{410}nn2' is free"
    );
    join("An\u{2060}n").await.refused(409, "name_taken");
    join("Ann\u{a0}: hi").await.refused(400, "name_invalid");
    join("Anne").await.expect(201);
    server.stop().await;
}

/// `text` as it stands in a path.
fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test]
async fn what_is_wrong_is_told_with_the_right_status() {
    let room =
        causerie_core::room::RoomSettings { members_max: 2, text_bytes_max: 100, ..Default::default() };
    let server = Harness::start(Settings { room, rooms_max: 2, ..Settings::default() }).await;
    let at = server.address;
    let (_, token) = bot(at, "lobby", "Bot").await;
    let (other, others) = bot(at, "lobby", "Other").await;
    get(at, "/api/nothing").await.refused(404, "not_found");
    get(at, "/api/rooms/none").await.refused(404, "no_such_room");
    get(at, "/api/rooms/a%20b").await.refused(400, "room_name_invalid");
    get(at, "/api/rooms/%ff").await.refused(400, "malformed");
    let wrong = request(at, "PUT", "/api/rooms", &[], Some("")).await;
    assert_eq!(wrong.header("allow"), Some("GET,HEAD,POST"));
    wrong.refused(405, "method_not_allowed");
    let text = [("Content-Type", "text/plain")];
    request(at, "POST", "/api/rooms", &text, Some("{}")).await.refused(415, "not_json");
    let json = [("Content-Type", "application/json; charset=utf-8")];
    request(at, "POST", "/api/rooms", &json, Some("{")).await.refused(400, "malformed");
    request(at, "POST", "/api/rooms", &json, Some("{\"name\":\"x\",\"y\":1}"))
        .await
        .refused(400, "malformed");
    request(at, "POST", "/api/rooms", &json, Some(&" ".repeat(9_999))).await.refused(413, "too_long");
    post(at, "/api/rooms", "", json!({"name": "lobby"})).await.refused(409, "room_exists");
    post(at, "/api/rooms", "", json!({"name": "12345"})).await.refused(400, "room_name_invalid");
    post(at, "/api/rooms", "", json!({"name": "more"})).await.expect(201);
    post(at, "/api/rooms", "", json!({"name": "evenmore"})).await.refused(503, "too_many_rooms");
    let join = async |body| post(at, "/api/rooms/lobby/members", "", body).await;
    join(json!({"name": "x", "nonce": "short"})).await.refused(400, "nonce_invalid");
    join(json!({"name": "./x"})).await.refused(400, "name_invalid");
    join(json!({"name": "Third"})).await.refused(503, "room_full");
    assert_eq!(join(json!({"name": "bot"})).await.refused(409, "name_taken")["suggestion"], "bot2");
    let say = async |token: &str, body| post(at, "/api/rooms/lobby/messages", token, body).await;
    let refused = say("nonsense", json!({"id": "1", "text": "x"})).await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    refused.refused(401, "wrong_token");
    let forged = token.replace(|c: char| c.is_ascii_digit(), "0");
    say(&forged, json!({"id": "1", "text": "x"})).await.refused(401, "wrong_token");
    say(&token, json!({"id": "1"})).await.refused(400, "malformed");
    say(&token, json!({"id": "1", "text": "x".repeat(101)})).await.refused(413, "too_long");
    say(&token, json!({"id": "1", "kind": "reply", "to": "0.1#9", "text": "x"}))
        .await
        .refused(422, "no_such_message");
    let theirs = say(&others, json!({"id": "1", "text": "x"})).await.expect(201);
    say(&token, json!({"id": "1", "kind": "delete", "of": theirs["message"]}))
        .await
        .refused(403, "not_yours");
    say(&token, json!({"id": "1", "kind": "reaction", "to": theirs["message"], "symbol": "👍"}))
        .await
        .expect(201);
    let page = async |query: &str| get(at, &format!("/api/rooms/lobby/messages?{query}")).await;
    for wrong in
        ["limit=0", "limit=1001", "limit=x", "before=1&after=2", "before=-1", "after=0.1", "colour=red"]
    {
        page(wrong).await.refused(400, "malformed");
    }
    page("around=0.1%2399").await.refused(404, "no_such_message");
    get(at, "/api/rooms/lobby/ws").await.refused(400, "not_a_websocket");
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", &authorization[..])];
    let leave = async |member: &str| {
        request(at, "DELETE", &format!("/api/rooms/lobby/members/{member}"), &headers, None).await
    };
    leave(&other).await.refused(403, "not_permitted");
    leave("x").await.refused(400, "malformed");
    let (member, _) = token.rsplit_once('.').unwrap();
    assert_eq!(leave(member).await.expect(200), json!({"taken": 1}));
    assert_eq!(leave(member).await.refused(410, "expired")["taken"], 1);
    server.stop().await;
}

#[tokio::test]
async fn a_room_is_told_by_pages_lines_and_clocks_with_its_topic() {
    let store = Arc::new(MemoryStore::new());
    let mut server = Harness::with_store(Settings::default(), store.clone()).await;
    let (member, token) = bot(server.address, "lobby", "Bot").await;
    for n in 1..=9 {
        let said = json!({"id": n.to_string(), "text": format!("number {n}")});
        post(server.address, "/api/rooms/lobby/messages", &token, said).await.expect(201);
    }
    let topic = json!({"id": "t", "kind": "topic", "text": "numbers"});
    post(server.address, "/api/rooms/lobby/messages", &token, topic).await.expect(201);
    for restarted in [false, true] {
        if restarted {
            server.stop().await;
            server = Harness::with_store(Settings::default(), store.clone()).await;
        }
        let at = server.address;
        let positions = async |query: &str| {
            let page = get(at, &format!("/api/rooms/lobby/messages?{query}")).await.expect(200);
            let messages = page["messages"].as_array().unwrap();
            let positions: Vec<_> =
                messages.iter().map(|record| record["position"].as_u64().unwrap()).collect();
            assert_eq!((page["from"].as_u64(), page["end"].as_u64()), (positions.first().copied(), Some(11)));
            positions
        };
        assert_eq!(positions("limit=3").await, [9, 10, 11]);
        assert_eq!(positions("before=4&limit=2").await, [2, 3]);
        assert_eq!(positions("after=4&limit=2").await, [5, 6]);
        assert_eq!(positions(&format!("around={member}%235&limit=3")).await, [5, 6, 7]);
        let room = get(at, "/api/rooms/lobby").await.expect(200);
        assert_eq!((&room["topic"], &room["position"]), (&json!("numbers"), &json!(11)));
        assert_eq!(room["members"], json!([{"member": member, "name": "Bot"}]));
        let rooms = get(at, "/api/rooms").await.expect(200);
        assert_eq!(rooms, json!({"rooms": [{"name": "lobby", "port": null, "members": 1}]}));
        let clock = get(at, "/api/rooms/lobby/clock").await.expect(200);
        assert_eq!(clock["clock"][&member], 10);
        assert_eq!(clock["frontier"], json!([format!("{member}#10")]));
        let trace = get(at, "/api/rooms/lobby/trace?after=9").await;
        assert_eq!(trace.header("content-type"), Some("application/x-ndjson"));
        let trace = raw(
            at,
            format!("GET /api/rooms/lobby/trace HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await;
        let (_, lines) = trace.split_once("\r\n\r\n").unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[4]["id"], format!("{member}#4"));
        let time = lines[4]["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
    let found = get(server.address, "/api/rooms/lobby/search?q=number%204").await.expect(200);
    assert_eq!(found["messages"][0]["text"], "number 4");
    assert_eq!(found["messages"][0]["author"], "Bot");
    assert_eq!(found["messages"].as_array().unwrap().len(), 1);
    get(server.address, "/api/rooms/lobby/search").await.refused(400, "malformed");
    assert_eq!(get(server.address, "/healthz").await.status, 204);
    assert_eq!(get(server.address, "/readyz").await.status, 204);
    // What is described is there, and by these methods only.
    let described = get(server.address, "/api/openapi.json").await.expect(200);
    for (path, operations) in described["paths"].as_object().unwrap() {
        let at = path.replace("{room}", "lobby").replace("{member}", &member);
        let wrong = request(server.address, "PATCH", &at, &[], None).await;
        let allowed = wrong.header("allow").unwrap_or_default().to_owned();
        for method in ["GET", "POST", "DELETE"] {
            let is_described = operations.get(method.to_lowercase()).is_some();
            assert_eq!(allowed.split(',').any(|allowed| allowed == method), is_described, "{method} {path}");
        }
        wrong.refused(405, "method_not_allowed");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_topic_is_told_as_it_stands() {
    let store = Arc::new(MemoryStore::new());
    let mut server = Harness::with_store(Settings::default(), store.clone()).await;
    let (_, token) = bot(server.address, "lobby", "Bot").await;
    let say = async |at: SocketAddr, said: Value| {
        let said = post(at, "/api/rooms/lobby/messages", &token, said).await.expect(201);
        said["message"].as_str().unwrap().to_owned()
    };
    let topic = async |at: SocketAddr| get(at, "/api/rooms/lobby").await.expect(200)["topic"].clone();
    let set = say(server.address, json!({"id": "1", "kind": "topic", "text": "my password"})).await;
    let edit = json!({"id": "2", "kind": "edit", "of": set, "text": "numbers"});
    let edited = say(server.address, edit).await;
    assert_eq!(topic(server.address).await, "numbers");
    server.stop().await;
    server = Harness::with_store(Settings::default(), store.clone()).await;
    assert_eq!(topic(server.address).await, "numbers");
    // An edit of the edit is one of the topic, before a restart and after it.
    say(server.address, json!({"id": "3", "kind": "edit", "of": edited, "text": "odd numbers"})).await;
    assert_eq!(topic(server.address).await, "odd numbers");
    let mut kim = TcpStream::connect(server.address).await.unwrap();
    kim.write_all(b"NICK Kim\r\nUSER kim 0 * :Kim\r\nTOPIC #lobby\r\nJOIN #lobby\r\n").await.unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(" 332 Kim #lobby :odd numbers") {
        assert_ne!(within("the topic", kim.read_buf(&mut heard)).await.unwrap(), 0);
    }
    say(server.address, json!({"id": "4", "kind": "delete", "of": set})).await;
    for restarted in [false, true] {
        if restarted {
            server.stop().await;
            server = Harness::with_store(Settings::default(), store.clone()).await;
        }
        assert_eq!(topic(server.address).await, Value::Null);
        let page = get(server.address, "/api/rooms/lobby/messages?after=1&limit=2").await.expect(200);
        let kinds: Vec<_> = page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|record| {
                (record["kind"].as_str().unwrap(), record["deleted"] == true, record.get("text").is_some())
            })
            .collect();
        assert_eq!(kinds, [("topic", true, false), ("edit", true, false)]);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_lab_repeats_a_run_and_refuses_what_is_too_much() {
    let server = Harness::start(Settings::default()).await;
    let at = server.address;
    let events = |reply: Reply| -> Vec<Value> {
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("application/x-ndjson")),
            "{reply:?}"
        );
        let lines = reply.body.as_str().unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // The three exercises: who holds what for what, and how often arrivals are against causal order.
    for (query, holds, anomalies) in [
        ("say=1@0,2@10,3@20", vec![], 0),
        ("say=1@0,2@200&slow=0..5000:1-3:900", vec![("0.3", "0.2#1", "0.1#1")], 1),
        ("say=1@0,1@100&slow=0..50:1-3:900", vec![("0.3", "0.1#2", "0.1#1")], 1),
    ] {
        let told = events(get(at, &format!("/api/lab?members=3&delay=100..100&{query}")).await);
        let held: Vec<_> = told
            .iter()
            .filter(|event| event["event"] == "hold")
            .map(|event| ["process", "message", "waits_for"].map(|field| event[field].as_str().unwrap()))
            .map(|[process, message, cause]| (process, message, cause))
            .collect();
        assert_eq!(held, holds, "{query}");
        let end = told.last().unwrap();
        assert_eq!((&end["event"], &end["anomalies"]), (&json!("end"), &json!(anomalies)), "{query}");
    }
    let weather =
        "/api/lab?members=6&messages=60&delay=0..900&loss=20&dup=10&reorder=50&cut=100..900:1%2B2&seed=";
    let [once, again, other] = [
        get(at, &format!("{weather}5")).await,
        get(at, &format!("{weather}5")).await,
        get(at, &format!("{weather}6")).await,
    ];
    assert_eq!(once.body, again.body);
    assert_ne!(once.body, other.body);
    let told = events(once);
    let count = |kind: &str| told.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((count("send"), count("deliver")), (60, 300));
    let end = told.last().unwrap();
    assert!(
        ["held", "anomalies", "lost", "cut_off", "came_twice"]
            .iter()
            .all(|field| end[field].as_u64() > Some(0)),
        "{end}"
    );
    // No bound can be passed, and nothing is guessed.
    let long = vec!["1@0"; 201].join(",");
    let many = vec!["0..9:1-2:3"; 21].join(",");
    for wrong in [
        "members=1",
        "members=11",
        "messages=0",
        "messages=201",
        "pace=0",
        "pace=301",
        "loss=81",
        "dup=101",
        "reorder=101",
        "seed=9007199254740992",
        "seed=-1",
        "delay=5",
        "delay=9..1",
        "delay=0..5001",
        "say=5@0",
        "say=0@0",
        "say=1@60000",
        "say=x",
        "say=1@-1",
        "slow=0..9:1-1:5",
        "slow=9..9:1-2:5",
        "slow=0..9:1-2:5001",
        "slow=0..9:1-2:5:6",
        "cut=5..60000:1",
        "cut=5..9:",
        "cut=5..9:5",
        "frogs=1",
        &format!("say={long}"),
        &format!("slow={many}"),
    ] {
        get(at, &format!("/api/lab?{wrong}")).await.refused(400, "malformed");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_room_has_one_name_however_it_was_typed_and_keeps_the_one_it_was_stored_with() {
    let store = Arc::new(MemoryStore::new());
    // A lone vowel sign was a name once, and so were the parts of a syllable.
    for name in ["\u{93e}", "\u{1112}\u{1161}\u{11ab}"] {
        let (room, epoch) = (store.next_room().unwrap(), causerie_core::id::Epoch::new(7));
        let row = RoomRow { name: name.into(), epoch, ..RoomRow::default() };
        store.commit(vec![Change::Create { room, row }]).unwrap();
    }
    let server = Harness::with_store(Settings::default(), store).await;
    let make = async |name: &str| post(server.address, "/api/rooms", "", json!({"name": name})).await;
    for name in ["हिन्दी", "ที่นี่", "தமிழ்", "مُدَرِّس", "ශ්\u{200d}රී", "caf\u{e9}"]
    {
        assert_eq!(make(name).await.expect(201)["name"], name);
    }
    make("cafe\u{301}").await.refused(409, "room_exists");
    assert_eq!(get(server.address, "/api/rooms/cafe%CC%81").await.expect(200)["name"], "caf\u{e9}");
    for name in ["\u{301}", "\u{200d}", &format!("a{}", "\u{301}".repeat(40)), ".7"] {
        make(name).await.refused(400, "room_name_invalid");
    }
    for stored in ["\u{93e}", "\u{1112}\u{1161}\u{11ab}"] {
        make(stored).await.refused(409, "room_exists");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_search_is_bounded_in_words_and_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = |search_time| Options { search_time, ..Options::default() };
    let store = SqliteStore::open(dir.path(), options(Duration::ZERO)).unwrap();
    let server = Harness::with_store(Settings::default(), Arc::new(store)).await;
    let (_, token) = bot(server.address, "lobby", "Bot").await;
    let said = json!({"id": "1", "text": "a heron"});
    post(server.address, "/api/rooms/lobby/messages", &token, said).await.expect(201);
    let search = async |q: &str| get(server.address, &format!("/api/rooms/lobby/search?q={q}")).await;
    search(&"a-".repeat(7_500)).await.refused(400, "query_too_long");
    search(&"a+".repeat(17)).await.refused(400, "query_too_long");
    search("heron").await.refused(503, "search_too_long");
    get(server.address, "/api/rooms/lobby/messages").await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn pages_and_search_have_what_stands() {
    let server = Harness::start(Settings::default()).await;
    let (member, token) = bot(server.address, "lobby", "Bot").await;
    let one = format!("{member}#1");
    let say = async |said: Value| {
        post(server.address, "/api/rooms/lobby/messages", &token, said).await.expect(201);
    };
    let page = async || {
        let page = get(server.address, "/api/rooms/lobby/messages?after=1").await.expect(200);
        let messages = page["messages"].as_array().unwrap().iter();
        let fields =
            |m: &Value| ["kind", "text", "edited", "deleted", "reason"].map(|field| m[field].clone());
        messages.map(fields).collect::<Vec<_>>()
    };
    let found = async |q: &str| {
        let found = get(server.address, &format!("/api/rooms/lobby/search?q={q}")).await.expect(200);
        let messages = found["messages"].as_array().unwrap().iter();
        messages.map(|m| m["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (none, yes) = (Value::Null, json!(true));
    let row = |kind: &str, text: &str, edited: &Value| {
        [json!(kind), json!(text), edited.clone(), Value::Null, Value::Null]
    };
    say(json!({"id": "1", "text": "my passwort"})).await;
    assert_eq!(page().await, [row("text", "my passwort", &none)]);
    say(json!({"id": "2", "kind": "edit", "of": one, "text": "my password"})).await;
    // Of the edit.
    say(json!({"id": "3", "kind": "edit", "of": format!("{member}#2"), "text": "my mail"})).await;
    let edited = [row("text", "my mail", &yes), row("edit", "my mail", &yes), row("edit", "my mail", &none)];
    assert_eq!(page().await, edited);
    assert_eq!((found("passw").await, found("my").await), (vec![], vec!["my mail".to_owned()]));
    say(json!({"id": "4", "kind": "delete", "of": one, "reason": "not for here"})).await;
    let gone = |kind: &str| [json!(kind), Value::Null, Value::Null, json!(true), Value::Null];
    let deletion = [json!("delete"), Value::Null, Value::Null, Value::Null, json!("not for here")];
    assert_eq!(page().await, [gone("text"), gone("edit"), gone("edit"), deletion]);
    assert_eq!(found("my").await, [""; 0]);
    let trace = get(server.address, "/api/rooms/lobby/trace").await.body.to_string();
    assert!(!trace.contains("mail") && !trace.contains("pass"), "{trace}");
    server.stop().await;
}

#[tokio::test]
async fn a_web_socket_says_everything_a_member_can() {
    let server = Harness::start(Settings::default()).await;
    bot(server.address, "lobby", "Bot").await;
    let mut eve = Socket::open(server.address, "lobby").await;
    eve.send(json!({"type": "ping"})).await;
    eve.expect("pong").await;
    eve.say("1", "too early").await;
    let error = eve.expect("error").await;
    assert_eq!((&error["code"], &error["id"]), (&json!("unexpected"), &json!("1")));
    eve.send(json!({"type": "join", "name": "BOT"})).await;
    assert_eq!(eve.expect("error").await["suggestion"], "BOT2");
    let nonce = "00112233445566778899aabbccddeeff";
    eve.send(json!({"type": "join", "name": "Eve", "nonce": nonce})).await;
    let welcome = eve.welcomed().await;
    assert_eq!(welcome["members"].as_array().unwrap().len(), 2);
    eve.position -= 1;
    eve.record().await;
    eve.send(json!({"type": "fly"})).await;
    assert_eq!(eve.expect("error").await["code"], "malformed");
    // What cannot be read is told with its id, and what comes next is said: half of a character, a field that is none.
    for unread in [
        r#"{"type":"say","id":"h1","text":"\ud83d x"}"#,
        r#"{"type":"say","id":"h1","text":"x","color":7}"#,
        r#"{"type":"say","id":"h1","text":"cut"#,
    ] {
        eve.stream.send(Message::text(unread)).await.unwrap();
        let error = eve.expect("error").await;
        assert_eq!((&error["code"], &error["id"]), (&json!("malformed"), &json!("h1")), "{unread}");
    }
    eve.send(json!({"type": "say", "id": "1", "kind": "edit", "of": "0.1#1", "text": "x"})).await;
    let error = eve.expect("error").await;
    assert_eq!((&error["code"], &error["id"]), (&json!("not_yours"), &json!("1")));
    // Many at once, acknowledged in their order.
    for n in 0..600 {
        eve.say(&format!("n{n}"), &n.to_string()).await;
    }
    for n in 0..600 {
        let ack = eve.expect("ack").await;
        assert_eq!((&ack["id"], &ack["position"]), (&json!(format!("n{n}")), &json!(3 + n)));
    }
    for n in 0..600 {
        assert_eq!(line(&eve.record().await), format!("Eve: {n}"));
    }
    eve.send(json!({"type": "members"})).await;
    assert_eq!(eve.expect("members").await["members"][1]["name"], "Eve");
    // A join that is repeated, its answer lost, is the same membership; the older connection ends.
    let mut again = Socket::open(server.address, "lobby").await;
    again.send(json!({"type": "join", "name": "Eve", "nonce": nonce})).await;
    assert_eq!(again.welcomed().await["member"], welcome["member"]);
    eve.fatal("superseded").await;
    again.send(json!({"type": "leave"})).await;
    assert_eq!(again.expect("parted").await["taken"], 600);
    assert_eq!(again.next().await, None);
    assert_eq!(line(&again.record_aside()), "-Eve");
    server.shut_down();
    server.stop().await;
}

/// A client's frame: the first byte has FIN, reserved bits and opcode.
fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(mask | length as u8),
        length => frame.extend([&[mask | 127][..], &(length as u64).to_be_bytes()].concat()),
    }
    if masked {
        // A key of zeros changes nothing.
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn a_web_socket_ends_with_the_code_that_says_why() {
    let server = Harness::start(Settings::default()).await;
    bot(server.address, "lobby", "Bot").await;
    let mut count = 0;
    for (what, sent, code) in [
        ("a close", frame(0x88, &[&1000u16.to_be_bytes()[..], b"bye"].concat(), true), Some(1000)),
        ("going away", frame(0x88, &1001u16.to_be_bytes(), true), Some(1001)),
        ("a close without a code", frame(0x88, b"", true), None),
        ("a code that nobody may send", frame(0x88, &1006u16.to_be_bytes(), true), Some(1002)),
        ("text that is not UTF-8", frame(0x81, b"\xff\xfe", true), Some(1007)),
        ("the end of nothing", frame(0x80, b"x", true), Some(1002)),
        ("a reserved bit", frame(0xc1, b"{}", true), Some(1002)),
        ("a reserved opcode", frame(0x83, b"{}", true), Some(1002)),
        ("no mask", frame(0x81, b"{}", false), Some(1002)),
        ("a ping in pieces", frame(0x09, b"x", true), Some(1002)),
        ("bytes", frame(0x82, b"{}", true), Some(1003)),
        ("too much", frame(0x81, &[b' '; 200_000], true)[..14].to_vec(), Some(1009)),
    ] {
        count += 1;
        let mut socket = Socket::join(server.address, "lobby", &format!("m{count}")).await;
        socket.stream.get_mut().write_all(&sent).await.unwrap();
        let answer = loop {
            match within(what, socket.stream.next()).await {
                Some(Ok(Message::Close(answer))) => break answer,
                Some(Ok(_)) => {}
                other => panic!("{what}: {other:?}"),
            }
        };
        assert_eq!(answer.map(|frame| u16::from(frame.code)), code, "{what}");
    }
    // What is as long as the welcome says, is read.
    let mut socket = Socket::open(server.address, "lobby").await;
    socket.send(json!({"type": "join", "name": "long"})).await;
    let most = socket.welcomed().await["bytes_max"].as_u64().unwrap() as usize;
    let [head, end] = [r#"{"type":"say","id":"long","text":""#, r#""}"#];
    let long = "x".repeat(most - head.len() - end.len());
    socket.stream.send(Message::text([head, &long, end].concat())).await.unwrap();
    let error = socket.expect("error").await;
    assert_eq!((&error["code"], &error["id"]), (&json!("too_long"), &json!("long")));
    socket.say("next", "and on").await;
    socket.expect("ack").await;
    server.shut_down();
    server.stop().await;
}

impl Socket {
    /// A record that came before what was waited for.
    fn record_aside(&mut self) -> Value {
        self.aside.pop().expect("it came before")
    }
}

#[tokio::test]
async fn who_comes_back_reads_on_from_anywhere_and_is_told_of_gaps() {
    let store = Arc::new(MemoryStore::new());
    let room = causerie_core::room::RoomSettings { log_bytes_max: 4 << 10, ..Default::default() };
    let retention = causerie_store::Retention { count: Some(500), ..Default::default() };
    let server =
        Harness::with_store(Settings { room: room.clone(), ..Settings::default() }, store.clone()).await;
    bot(server.address, "lobby", "Bot").await;
    let mut eve = Socket::join(server.address, "lobby", "Eve").await;
    for n in 0..1_500 {
        eve.say(&n.to_string(), &n.to_string()).await;
        // It says that it reads nothing meanwhile; what it is told waits for it.
        if n % 200 == 199 {
            for _ in 0..200 {
                eve.expect("ack").await;
            }
        }
    }
    for _ in 0..100 {
        eve.expect("ack").await;
    }
    for n in 0..1_500 {
        assert_eq!(line(&eve.record().await), format!("Eve: {n}"));
    }
    // Much further back than what is in memory; at the same time, two at different places.
    let mut one = Socket::resume(server.address, "lobby", &eve.token, 2).await;
    let (_, token) = bot(server.address, "lobby", "Other").await;
    let mut two = Socket::resume(server.address, "lobby", &token, 1_400).await;
    for n in 0..1_500 {
        assert_eq!(line(&one.record().await), format!("Eve: {n}"));
        if n >= 1_398 {
            assert_eq!(line(&two.record().await), format!("Eve: {n}"));
        }
    }
    server.stop().await;
    let server = Harness::with_store(Settings { room, retention, ..Settings::default() }, store).await;
    let mut one = Socket::resume(server.address, "lobby", &eve.token, 2).await;
    let gap = one.expect("gap").await;
    assert_eq!((&gap["from"], &gap["why"]), (&json!(3), &json!("removed")));
    one.position = gap["to"].as_u64().unwrap();
    assert_eq!(one.record().await["kind"], "text");
    server.stop().await;
}

#[tokio::test]
async fn held_messages_are_told_to_those_who_ask() {
    let server = Harness::start(Settings::default()).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut eve = Socket::open(server.address, "lobby").await;
    eve.send(json!({"type": "join", "name": "Eve", "held": true})).await;
    eve.welcomed().await;
    let first = raj.stamp_text("one");
    raj.say("two").await;
    let held = eve.expect("held").await;
    assert_eq!(
        held,
        json!({"type": "held", "message": format!("{}#2", raj.member), "waits_for": format!("{}#1", raj.member)})
    );
    raj.wire.send(&ClientFrame::Broadcast(first)).await;
    assert_eq!(eve.expect("released").await["message"], held["message"]);
    server.stop().await;
}

#[tokio::test]
async fn what_members_observe_is_told_to_those_who_ask_within_bounds() {
    let server = Harness::start(Settings::default()).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let held = |message, waits_for| {
        let clock = Some([(MemberId::host(0), 1), (MemberId::new(0, 1), 4)].into_iter().collect());
        Observation { message, what: Observed::Held { waits_for, held_millis: 3, clock } }
    };
    let delivered = |message, held_millis| Observation { message, what: Observed::Delivered { held_millis } };
    let frame = |seen, left_out| ClientFrame::Observed { seen, left_out };

    // Nobody has asked: nothing is asked of Raj, and what he tells all the same is nobody's.
    let mut ann = Socket::join(server.address, "lobby", "Ann").await;
    raj.expect(Event::Joined("Ann".into())).await;
    ann.say("1", "hello").await;
    let said = ann.record().await;
    let id = MessageId::new(ann_member(&said), 1);
    raj.expect_text(id.member, "hello").await;
    raj.wire.send(&frame(vec![delivered(id, None)], 7)).await;

    let mut eve = Socket::open(server.address, "lobby").await;
    eve.send(json!({"type": "join", "name": "Eve", "observed": true})).await;
    eve.welcomed().await;
    let mut frames = vec![raj.wire.frame().await, raj.wire.frame().await];
    frames.retain(|frame| !matches!(frame, ServerFrame::Delivered(_)));
    assert_eq!(frames, [ServerFrame::Watched(OBSERVATIONS)]);
    // Who comes now is told at once.
    let mut bob = Wire::greeted(server.address).await;
    bob.join("lobby", "Bob").await;
    assert!(matches!(bob.frame().await, ServerFrame::Welcome(_)));
    assert_eq!(bob.frame().await, ServerFrame::Watched(OBSERVATIONS));

    // Of what is not there nothing can be observed.
    let (next, nobody) = (MessageId::new(id.member, 2), MessageId::new(MemberId::new(0, 99), 1));
    let lies = [next, nobody].map(|id| delivered(id, None)).into_iter().chain([held(id, nobody)]);
    let cause = MessageId::new(MemberId::host(0), 1);
    let seen = lies.chain([held(id, cause), delivered(id, Some(5))]).collect();
    raj.wire.send(&frame(seen, 2)).await;
    let (member, message) = (raj.member.to_string(), id.to_string());
    assert_eq!(
        eve.expect("observed").await,
        json!({"type": "observed", "member": member, "message": message, "what": "held", "waits_for": "0.0#1", "held_ms": 3, "clock": {"0.0": 1, "0.1": 4}})
    );
    assert_eq!(
        eve.expect("observed").await,
        json!({"type": "observed", "member": member, "message": message, "what": "delivered", "held_ms": 5})
    );
    assert_eq!(eve.expect("unobserved").await, json!({"type": "unobserved", "count": 2}));

    // A flood is cut, and counted.
    for _ in 0..10 {
        raj.wire.send(&frame(vec![delivered(id, None); 1_000], u64::MAX)).await;
    }
    raj.wire.send(&ClientFrame::Ping(1)).await;
    while raj.wire.frame().await != ServerFrame::Pong(1) {}
    eve.send(json!({"type": "leave"})).await;
    let (mut told, mut counted) = (0, 0);
    while let Some(event) = eve.next().await {
        match event["type"].as_str().unwrap() {
            "observed" => told += 1,
            "unobserved" => counted += event["count"].as_u64().unwrap(),
            _ => {}
        }
    }
    // Of each frame at least so many are cut, however slow this is.
    assert!((1..=6_400).contains(&told) && counted >= 10 * 360, "{told} told, {counted} counted");
    loop {
        match raj.wire.frame().await {
            ServerFrame::Delivered(_) => {}
            frame => break assert_eq!(frame, ServerFrame::Watched(Watched::default())),
        }
    }
    // Outside a room it does not fit, and the connection goes on.
    let mut nobody = Wire::greeted(server.address).await;
    nobody.send(&frame(Vec::new(), 0)).await;
    assert!(matches!(nobody.frame().await, ServerFrame::Error(error) if !error.fatal));
    server.stop().await;
}

#[tokio::test]
async fn up_to_where_members_of_each_kind_have_delivered_is_told_to_who_follows() {
    const ACKNOWLEDGEMENTS: Watched = Watched { observations: false, acknowledgements: true };
    let server = Harness::start(Settings::default()).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut bob = Native::join(server.address, "lobby", "Bob").await;
    let mut eve = Socket::join(server.address, "lobby", "Eve").await;
    let mut dan = Classic::connect(server.address).await;
    dan.send("./join lobby\nDan\n").await;
    let mut kim = TcpStream::connect(server.address).await.unwrap();
    kim.write_all(b"NICK Kim\r\nUSER kim 0 * :Kim\r\nJOIN #lobby\r\n").await.unwrap();
    server.members("lobby", 5).await;
    raj.say("hello").await;
    while raj.event().await != Event::Text(raj.member, "hello".into()) {}
    let end = raj.position;

    // What it tells all the same is nobody's.
    bob.wire.send(&ClientFrame::Acknowledge(end)).await;
    raj.wire.send(&ClientFrame::FollowStable).await;
    raj.wire.send(&ClientFrame::FollowStable).await;
    while bob.wire.frame().await != ServerFrame::Watched(ACKNOWLEDGEMENTS) {}
    // Members that live here have what was written to their connections; others have what they say.
    let told = async |raj: &mut Native, behind: &[(MemberId, Position)]| {
        let expected = ServerFrame::Stable(Stable { position: end, behind: behind.to_vec() });
        while raj.wire.frame().await != expected {}
    };
    let (me, other) = (raj.member, bob.member);
    told(&mut raj, &[(me, Position::START), (other, Position::START)]).await;
    bob.wire.send(&ClientFrame::Acknowledge(Position::MAX)).await;
    raj.wire.send(&ClientFrame::Acknowledge(Position::new((end - 1).get()))).await;
    told(&mut raj, &[(me, end - 1)]).await;
    raj.wire.send(&ClientFrame::Acknowledge(Position::new(3))).await;
    raj.wire.send(&ClientFrame::Acknowledge(end)).await;
    told(&mut raj, &[]).await;

    // Who comes now is asked at once, and is behind; a page that is closed stays behind until it comes back.
    let mut ann = Wire::greeted(server.address).await;
    ann.join("lobby", "Ann").await;
    assert!(matches!(ann.frame().await, ServerFrame::Welcome(_)));
    assert_eq!(ann.frame().await, ServerFrame::Watched(ACKNOWLEDGEMENTS));
    let is_behind = |stable: &Stable| {
        stable.behind.iter().filter(|(_, position)| *position == Position::START).count() == 1
    };
    while !matches!(raj.wire.frame().await, ServerFrame::Stable(stable) if is_behind(&stable)) {}
    eve.send(json!({"type": "leave"})).await;
    drop((raj, dan, kim));
    let wanted = async |wire: &mut Wire| loop {
        if let ServerFrame::Watched(watched) = wire.frame().await {
            return watched;
        }
    };
    assert_eq!(wanted(&mut ann).await, Watched::default());
    assert_eq!(wanted(&mut bob.wire).await, Watched::default());

    // Outside a room neither fits, and the connection goes on.
    let mut nobody = Wire::greeted(server.address).await;
    nobody.send(&ClientFrame::FollowStable).await;
    nobody.refused(ErrorCode::Unexpected).await;
    nobody.send(&ClientFrame::Acknowledge(Position::FIRST)).await;
    nobody.refused(ErrorCode::Unexpected).await;
    server.stop().await;
}

#[tokio::test]
async fn in_a_crowd_nobody_is_asked_what_it_has_delivered() {
    let server = Harness::start(Settings::default()).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut crowd = Vec::new();
    for n in 0..256 {
        let mut wire = Wire::greeted(server.address).await;
        wire.join("lobby", &format!("Member {n}")).await;
        assert!(matches!(wire.frame().await, ServerFrame::Welcome(_)));
        crowd.push(wire);
        if n == 100 {
            raj.wire.send(&ClientFrame::FollowStable).await;
            while !matches!(raj.wire.frame().await, ServerFrame::Watched(_)) {}
        }
    }
    // It was asked while there were fewer, and that ends with the next that is told.
    crowd[0].send(&ClientFrame::Acknowledge(Position::FIRST)).await;
    while raj.wire.frame().await != ServerFrame::Watched(Watched::default()) {}
    raj.wire.send(&ClientFrame::FollowStable).await;
    raj.wire.send(&ClientFrame::Ping(1)).await;
    loop {
        match raj.wire.frame().await {
            ServerFrame::Pong(1) => break,
            frame => assert!(!matches!(frame, ServerFrame::Watched(_)), "{frame:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_only_reads_along_is_told_all_that_members_are_told_and_is_nobody() {
    let server = Harness::start(Settings::default()).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut onlooker = Socket::open(server.address, "lobby").await;
    onlooker.send(json!({"type": "watch", "after": 0, "held": true, "observed": true})).await;
    let watching = onlooker.expect("watching").await;
    assert_eq!(watching["members"], json!([{"member": raj.member.to_string(), "name": "Raj"}]));
    assert_eq!((&watching["room"], &watching["position"]), (&json!("lobby"), &json!(1)));
    assert_eq!(onlooker.record().await["author"], "Raj", "from behind the position that it names");
    assert_eq!(raj.wire.frame().await, ServerFrame::Watched(OBSERVATIONS));

    // What is held at the server, what members observe, and what is said.
    let packet =
        |seq| cbcast::Message::new(MessageId::new(raj.member, seq), Kind::Data, &[], b"\x01hi").unwrap();
    raj.wire.send(&ClientFrame::Broadcast(packet(2).into_packet())).await;
    assert_eq!(onlooker.expect("held").await["waits_for"], format!("{}#1", raj.member));
    raj.wire.send(&ClientFrame::Broadcast(packet(1).into_packet())).await;
    assert_eq!(onlooker.record().await["text"], "hi");
    assert_eq!(onlooker.record().await["text"], "hi");
    let seen = vec![Observation {
        message: MessageId::new(MemberId::host(0), 1),
        what: Observed::Delivered { held_millis: None },
    }];
    raj.wire.send(&ClientFrame::Observed { seen, left_out: 0 }).await;
    assert_eq!(onlooker.expect("observed").await["message"], "0.0#1");

    // It speaks for nobody, and nobody sees it.
    for wrong in [
        json!({"type": "say", "id": "1", "text": "hello"}),
        json!({"type": "leave"}),
        json!({"type": "join", "name": "Onlooker"}),
    ] {
        onlooker.send(wrong).await;
        assert_eq!(onlooker.expect("error").await["code"], "unexpected");
    }
    onlooker.send(json!({"type": "members"})).await;
    assert_eq!(onlooker.expect("members").await["members"].as_array().unwrap().len(), 1);
    drop(onlooker);
    while raj.wire.frame().await != ServerFrame::Watched(Watched::default()) {}
    server.stop().await;
}

/// Who has said it.
fn ann_member(record: &Value) -> MemberId {
    record["member"].as_str().unwrap().parse().unwrap()
}

/// What is measured: the text, and the values by name and labels.
async fn metrics(server: &Harness) -> (String, BTreeMap<String, f64>) {
    let answer = get(server.address, "/metrics").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
    let text = answer.body.as_str().unwrap().to_owned();
    assert!(text.ends_with("\n# EOF\n"));
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    let samples = samples.collect();
    (text, samples)
}

#[tokio::test]
async fn what_happens_is_counted_and_all_that_is_counted_is_described() {
    let server = Harness::start(Settings::default()).await;
    let (_, before) = metrics(&server).await;
    let (_, token) = bot(server.address, "lobby", "Bot").await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut ann = Classic::connect(server.address).await;
    ann.send("./join lobby\n").await;
    ann.send("Ann\n").await;
    server.members("lobby", 3).await;
    // Two overtakes one, and one comes twice.
    let one = ClientFrame::Broadcast(raj.stamp_text("one"));
    raj.say("two").await;
    raj.wire.send(&one).await;
    raj.wire.send(&one).await;
    ann.expect("Raj : one").await;
    ann.expect("Raj : two").await;
    // The copy has come to nothing.
    raj.wire.send(&ClientFrame::Ping(1)).await;
    while raj.wire.frame().await != ServerFrame::Pong(1) {}
    post(server.address, "/api/rooms/lobby/messages", &token, json!({"id": "1", "text": "x"}))
        .await
        .expect(201);
    get(server.address, "/api/nothing").await.refused(404, "not_found");
    let _silent = TcpStream::connect(server.address).await.unwrap();
    // Connections come and go in their own time.
    let (text, after) = within("the silent one, and nobody else", async {
        loop {
            let told = metrics(&server).await;
            let now = |name: &str| told.1[&format!("causerie_connections_{name}")];
            if now("silent") == 1.0 && now("open{protocol=\"native\"}") == 1.0 {
                break told;
            }
        }
    })
    .await;
    for (name, more) in [
        ("connections_open{protocol=\"classic\"}", 1.0),
        ("connections_total{protocol=\"classic\"}", 1.0),
        ("http_requests_total{status=\"404\"}", 1.0),
        ("http_requests_total{status=\"201\"}", 3.0),
        ("rooms", 1.0),
        ("members", 3.0),
        ("members_joined_total", 3.0),
        ("messages_delivered_total", 6.0),
        ("messages_held_total", 1.0),
        ("held_seconds_count", 1.0),
        ("messages_duplicate_total", 1.0),
        ("stored_records_total", 6.0),
    ] {
        let name = format!("causerie_{name}");
        let value = |told: &BTreeMap<String, f64>| told.get(&name).copied().unwrap_or_default();
        assert_eq!(value(&after) - value(&before), more, "{name} in\n{text}");
    }
    for grown in ["commit_seconds_count", "stored_bytes_total", "log_reads_total{from=\"memory\"}"] {
        assert!(after[&format!("causerie_{grown}")] > 0.0, "{grown} in\n{text}");
    }
    // The list for operators has all that is told, and nothing else.
    let docs = include_str!("../../../docs/operating.md");
    let listed: BTreeSet<_> = docs.split('`').filter(|word| word.starts_with("causerie_")).collect();
    let listed: BTreeSet<_> =
        listed.into_iter().map(|name| name.split('{').next().unwrap().trim_end_matches("_total")).collect();
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<_> = told.map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(told, listed);
    for name in &told {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_taken_is_counted_by_protocol_and_reason() {
    let server = Harness::start(Settings::default()).await;
    let address = server.address;
    let (fresh, _) = metrics(&server).await;
    for protocol in ["native", "classic", "http", "irc"] {
        for name in ["connections_open", "connections_total"] {
            let line = format!("\ncauserie_{name}{{protocol=\"{protocol}\"}} ");
            assert!(fresh.contains(&line), "no {line:?} in {fresh}");
        }
        let line =
            format!("\ncauserie_messages_refused_total{{protocol=\"{protocol}\",reason=\"malformed\"}} 0\n");
        assert!(fresh.contains(&line), "no {line:?} in {fresh}");
    }
    let (_, token) = bot(address, "lobby", "Bot").await;
    let path = "/api/rooms/lobby/messages";
    post(address, path, &token, json!({"id": "1"})).await.refused(400, "malformed");
    let nobody = format!("0.99.{}", "0".repeat(32));
    post(address, path, &nobody, json!({"id": "1", "text": "x"})).await.refused(401, "wrong_token");
    let mut eve = Socket::join(address, "lobby", "Eve").await;
    eve.send(json!({"type": "nothing"})).await;
    eve.expect("error").await;
    let mut cleo = Classic::connect(address).await;
    cleo.send(b"./join lobby\nCleo\n\xff\xfe\n").await;
    cleo.line().await;
    let mut irma = Classic::connect(address).await;
    irma.send("NICK Irma\r\nUSER i 0 * :i\r\n").await;
    irma.send(format!("PRIVMSG #lobby :{}\r\nPING here\r\n", "x".repeat(9_000))).await;
    while !irma.line().await.contains("PONG") {}
    let mut raj = Native::join(address, "lobby", "Raj").await;
    raj.wire.send(&ClientFrame::Broadcast(vec![0xff; 3].into())).await;
    loop {
        if let ServerFrame::Error(error) = raj.wire.frame().await {
            assert_eq!(error.code, ErrorCode::MembershipEnded);
            break;
        }
    }
    let (text, told) = metrics(&server).await;
    for (protocol, reason, count) in [
        ("http", "malformed", 2.0),
        ("http", "not_member", 1.0),
        ("classic", "malformed", 1.0),
        ("irc", "too_long", 1.0),
        ("native", "malformed", 1.0),
        ("native", "invalid", 0.0),
    ] {
        let name = format!("causerie_messages_refused_total{{protocol=\"{protocol}\",reason=\"{reason}\"}}");
        assert_eq!(told.get(&name), Some(&count), "{name} in\n{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_counted() {
    let server = Harness::start(Settings { connections_max: 1, ..Settings::default() }).await;
    let mut only = Classic::connect(server.address).await;
    only.send("./rooms\n").await;
    only.line().await;
    for _ in 0..3 {
        let refused = Classic::connect(server.address).await.line().await;
        assert_eq!(refused, "Error: too many connections; try again later");
    }
    drop(only);
    let ask = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    let mut refused = 3;
    // Its place becomes free soon, not at once.
    let told = within("a place", async {
        loop {
            let told = raw(server.address, ask.as_bytes()).await;
            if told.starts_with("HTTP/1.1 200 ") {
                break told;
            }
            refused += 1;
        }
    })
    .await;
    let line = format!("\ncauserie_connections_refused_total {refused}\n");
    assert!(told.contains(&line), "no {line:?} in {told}");
    server.stop().await;
}

/// One message each few seconds, a few joins, and nothing else is limited.
fn limited() -> Settings {
    let address = AddressLimits {
        rate: 0,
        say_rate: 1,
        say_burst: 2,
        joins: 2,
        loopback: true,
        ..AddressLimits::default()
    };
    Settings { address, ..Settings::default() }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let server = Harness::start(limited()).await;
    let at = server.address;
    post(at, "/api/rooms", "", json!({"name": "lobby"})).await.expect(201);
    let joined = post(at, "/api/rooms/lobby/members", "", json!({"name": "Bot"})).await.expect(201);
    let token = joined["token"].as_str().unwrap();
    let refused = post(at, "/api/rooms/lobby/members", "", json!({"name": "Bob"})).await;
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((100..=300).contains(&seconds), "{seconds}");
    refused.refused(429, "too_many_requests");
    post(at, "/api/rooms", "", json!({"name": "more"})).await.refused(429, "too_many_requests");
    // Of many at once some are refused, and each of those is said once it is sent again.
    let mut refusals = 0;
    for n in 0..5 {
        let said = json!({"id": n.to_string(), "text": n.to_string()});
        within("its turn", async {
            loop {
                let reply = post(at, "/api/rooms/lobby/messages", token, said.clone()).await;
                match reply.status {
                    201 => break,
                    _ => assert_eq!(reply.header("retry-after"), Some("1")),
                }
                reply.refused(429, "too_many_requests");
                refusals += 1;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
    }
    assert!(refusals > 0);
    let page = get(at, "/api/rooms/lobby/messages").await.expect(200);
    let texts = page["messages"].as_array().unwrap().iter().filter_map(|record| record["text"].as_str());
    assert_eq!(texts.collect::<Vec<_>>(), ["0", "1", "2", "3", "4"]);
    server.stop().await;
}

#[tokio::test]
async fn what_a_web_socket_says_too_fast_is_heard_later() {
    let server = Harness::start(limited()).await;
    let at = server.address;
    post(at, "/api/rooms", "", json!({"name": "lobby"})).await.expect(201);
    let mut ann = Socket::join(at, "lobby", "Ann").await;
    for n in 0..5 {
        ann.say(&n.to_string(), &n.to_string()).await;
    }
    ann.send(json!({"type": "ping"})).await;
    for n in 0..5 {
        assert_eq!(line(&ann.record().await), format!("Ann: {n}"));
    }
    ann.expect("pong").await;
    let (_, told) = metrics(&server).await;
    assert!(told["causerie_address_limited_total{what=\"messages\"}"] > 0.0, "{told:?}");
    // Nobody more joins.
    let mut bob = Socket::open(at, "lobby").await;
    bob.send(json!({"type": "join", "name": "Bob"})).await;
    assert_eq!(bob.expect("error").await["code"], "too_many_requests");
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_for_who_has_the_operators_token_where_there_is_one() {
    let settings = Settings { operator_token: Some("sesame".into()), ..Settings::default() };
    let server = Harness::start(settings).await;
    let ask =
        async |headers: &[(&str, &str)]| request(server.address, "GET", "/metrics", headers, None).await;
    let refused = ask(&[]).await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    refused.refused(401, "wrong_token");
    for wrong in ["Bearer sesam", "Bearer", "Bearer ", "Basic sesame", "sesame", "Bearer sesamesesame"] {
        ask(&[("Authorization", wrong)]).await.refused(401, "wrong_token");
    }
    assert_eq!(ask(&[("Authorization", "bearer sesame")]).await.status, 200);
    // A token that is taken away is none.
    server.settings.send_modify(|settings| settings.operator_token = None);
    assert_eq!(ask(&[]).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_read_nothing_and_do_nothing() {
    let allowed = "https://chat.example.org";
    let server = Harness::start(Settings { origins: vec![allowed.into()], ..Settings::default() }).await;
    let at = server.address;
    let ask = async |method: &str, origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Content-Type", "application/json"),
            ("Access-Control-Request-Method", "POST"),
        ];
        request(at, method, "/api/rooms", &headers, Some("{\"name\":\"x\"}")).await
    };
    ask("POST", "http://evil.example").await.refused(403, "foreign_origin");
    ask("OPTIONS", "http://evil.example").await.refused(403, "foreign_origin");
    let read = ask("GET", "http://evil.example").await;
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, None));
    let preflight = ask("OPTIONS", allowed).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some(allowed)));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization, content-type"));
    let made = ask("POST", allowed).await;
    assert_eq!(made.header("vary"), Some("Origin"));
    assert_eq!(made.header("set-cookie"), None);
    made.expect(201);
    ask("POST", &format!("http://{at}")).await.refused(409, "room_exists");
    for (origin, opens) in [("http://evil.example", false), ("null", false), (allowed, true)] {
        let mut request = format!("ws://{at}/api/rooms/x/ws").into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let stream = TcpStream::connect(at).await.unwrap();
        let opened = within("an answer", tokio_tungstenite::client_async(request, stream)).await;
        assert_eq!(opened.is_ok(), opens, "{origin}");
    }
    // A page whose own name has been given this address.
    let fooled = raw(at, b"GET /api/rooms HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert!(fooled.starts_with("HTTP/1.1 421 "), "{fooled}");
    server.stop().await;
}

#[tokio::test]
async fn only_names_that_the_server_was_told_are_its() {
    let server =
        Harness::start(Settings { hosts: vec!["chat.example.org".into()], ..Settings::default() }).await;
    let at = server.address;
    for (host, is_ours) in [
        ("evil.example", false),
        ("evil.example:12343", false),
        ("chat.example.org.evil.example", false),
        ("chat.example.org", true),
        ("CHAT.example.org:8080", true),
        ("192.0.2.7:12343", true),
        ("localhost", true),
    ] {
        for target in [
            "/",
            "/app.js",
            "/lab",
            "/api/rooms",
            "/api/rooms/x/ws",
            "/api/lab?members=3",
            "/healthz",
            "/metrics",
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let refused = raw(at, head.as_bytes()).await.starts_with("HTTP/1.1 421 ");
            assert_eq!(refused, !is_ours, "{host} {target}");
        }
    }
    // The target counts, too.
    let absolute =
        b"GET http://evil.example/api/rooms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(raw(at, absolute).await.starts_with("HTTP/1.1 421 "));
    server.stop().await;
}

#[tokio::test]
async fn a_room_is_closed_with_the_key_that_its_maker_got() {
    let settings = Settings { operator_token: Some("sesame".into()), ..Settings::default() };
    let server = Harness::start(settings).await;
    let at = server.address;
    let make = async || post(at, "/api/rooms", "", json!({"name": "x"})).await.expect(201);
    let close = async |token: &str| {
        let shown = format!("Bearer {token}");
        request(at, "DELETE", "/api/rooms/x", &[("Authorization", &shown)], None).await
    };
    let key = make().await["key"].as_str().unwrap().to_owned();
    request(at, "DELETE", "/api/rooms/x", &[], None).await.refused(401, "wrong_token");
    let mut other = key.clone();
    other.replace_range(..2, if key.starts_with("00") { "01" } else { "00" });
    for wrong in ["", "sesam", &other, &key[1..]] {
        assert!([401, 403].contains(&close(wrong).await.status), "{wrong}");
    }
    assert_eq!(close(&key).await.status, 204);
    request(at, "GET", "/api/rooms/x", &[], None).await.refused(404, "no_such_room");
    make().await;
    // That was another room.
    close(&key).await.refused(403, "not_permitted");
    assert_eq!(close("sesame").await.status, 204);
    server.stop().await;
}

#[tokio::test]
async fn requests_that_two_readers_could_read_differently_are_refused_and_end_the_connection() {
    let server = Harness::start(Settings::default()).await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for (what, head) in [
        ("both lengths", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        ("both lengths", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        ("two lengths", "Content-Length: 4\r\nContent-Length: 5\r\n"),
        ("a list of lengths", "Content-Length: 4, 5\r\n"),
        ("a signed length", "Content-Length: +4\r\n"),
        ("an unknown coding", "Transfer-Encoding: gzip\r\n"),
        ("chunked not last", "Transfer-Encoding: chunked, gzip\r\n"),
        ("white space before the colon", "Content-Length : 4\r\n"),
        ("a folded header", "X-A: a\r\n b\r\n"),
        ("a NUL", "X-A: \0\r\n"),
        ("a bare CR", "X-A: a\rb\r\n"),
    ] {
        let request = format!(
            "POST /api/rooms HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{head}\r\n0\r\n\r\n{smuggled}",
            server.address
        );
        let answer = raw(server.address, request.as_bytes()).await;
        let statuses: Vec<_> = answer.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
        assert_eq!(statuses, ["HTTP/1.1 400 Bad Request"], "{what}: {answer}");
    }
    for (what, request) in [
        ("bare LF in a name", "GET /healthz HTTP/1.1\r\nHo\nst: x\r\n\r\n".to_owned()),
        ("another version", "GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n".to_owned()),
        ("a control character in the path", "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        ("a long head", format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10))),
        ("many headers", format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(100))),
    ] {
        let answer = raw(server.address, request.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(["400", "431", "505"].contains(&&status[..]), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    }
    assert_eq!(get(server.address, "/healthz").await.status, 204);
    server.stop().await;
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let server = Harness::start(Settings::default()).await;
    let host = format!("Host: {}\r\n", server.address);
    let foreign = "Host: evil.example\r\n";
    for (what, request, status) in [
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("two hosts", format!("GET /healthz HTTP/1.1\r\n{host}{foreign}\r\n"), "400"),
        ("the same twice", format!("GET /healthz HTTP/1.1\r\n{host}{host}\r\n"), "400"),
        ("a target elsewhere", format!("GET http://evil.example/healthz HTTP/1.1\r\n{host}\r\n"), "421"),
        ("its own target", format!("GET http://{}/healthz HTTP/1.1\r\n{host}\r\n", server.address), "204"),
        ("an older version", "GET /healthz HTTP/1.0\r\n\r\n".to_owned(), "204"),
        ("the server as a whole", format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), "204"),
        ("an empty line before it", format!("\r\nGET /healthz HTTP/1.1\r\n{host}\r\n"), "204"),
    ] {
        let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let answer = raw(server.address, request.as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{what}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_sends_too_slowly_or_too_much_is_refused_and_others_are_served() {
    let settings = Settings { first_words: Duration::from_millis(200), ..Settings::default() };
    let server = Harness::start(settings).await;
    let (_, token) = bot(server.address, "lobby", "Bot").await;
    // A head that never ends, and a body.
    let slow = raw(server.address, b"GET /healthz HTTP/1.1\r\nX: ").await;
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408 "), "{slow}");
    let head = format!(
        "POST /api/rooms HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{",
        server.address
    );
    let slow = raw(server.address, head.as_bytes()).await;
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    // A connection that is idle between two requests, and a WebSocket that says nothing.
    let idle =
        raw(server.address, format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).as_bytes())
            .await;
    assert!(idle.starts_with("HTTP/1.1 204 "), "{idle}");
    Socket::open(server.address, "lobby").await.fatal("timed_out").await;
    // Messages and fragments beyond the limit, and other strange things.
    let limit = 6 * (16 << 10) + (4 << 10);
    let mut eve = Socket::resume(server.address, "lobby", &token, 0).await;
    let _ = eve.stream.send(Message::text("x".repeat(limit + 1))).await;
    eve.fatal("too_long").await;
    let mut eve = Socket::resume(server.address, "lobby", &token, 0).await;
    eve.send(json!({"type": "say", "id": "fits", "text": "\u{1}".repeat(16 << 10)})).await;
    eve.expect("ack").await;
    let fragments = eve.stream.get_mut();
    // Text, not final, masked with zeros; then continuations.
    let mut frame = vec![0x01, 0xfe, 0xff, 0xff, 0, 0, 0, 0];
    frame.resize(frame.len() + 0xffff, b'x');
    let _ = fragments.write_all(&frame).await;
    frame[0] = 0x00;
    let _ = fragments.write_all(&frame).await;
    eve.fatal("too_long").await;
    let mut eve = Socket::resume(server.address, "lobby", &token, 0).await;
    eve.stream.send(Message::binary(vec![1])).await.unwrap();
    eve.fatal("malformed").await;
    let mut eve = Socket::resume(server.address, "lobby", &token, 0).await;
    eve.stream.get_mut().write_all(&[0xff; 64]).await.unwrap();
    eve.fatal("malformed").await;
    // The member is still there.
    post(server.address, "/api/rooms/lobby/messages", &token, json!({"id": "1", "text": "x"}))
        .await
        .expect(201);
    server.stop().await;
}

#[tokio::test]
async fn a_protocol_can_have_a_port_of_its_own() {
    let probe = Harness::start(Settings::default()).await;
    let ip = probe.address.ip();
    let mut ports = Vec::new();
    for protocol in [Protocol::Native, Protocol::Classic, Protocol::Http] {
        ports.push((protocol, TcpListener::bind((ip, 0)).await.unwrap().local_addr().unwrap()));
    }
    let settings = Settings { own_ports: ports.clone(), ..Settings::default() };
    let server = Harness::start(settings).await;
    let [native, classic, http] = [0, 1, 2].map(|n: usize| ports[n].1);
    // All ports listen before any is served.
    assert_eq!(get(server.address, "/healthz").await.status, 204);
    Native::join(native, "lobby", "Raj").await;
    assert!(raw(native, b"GET /healthz HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let mut ann = Classic::connect(classic).await;
    ann.send("./rooms\n").await;
    assert!(ann.line().await.contains("lobby"));
    assert_eq!(get(http, "/healthz").await.status, 204);
    assert!(raw(http, b"./rooms\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    // All of them on the main port.
    assert_eq!(get(server.address, "/api/rooms").await.expect(200)["rooms"][0]["name"], "lobby");
    Wire::greeted(server.address).await.ping().await;
    server.stop().await;
    probe.stop().await;
}

#[tokio::test]
async fn a_shutdown_is_told_on_web_sockets_and_what_was_said_is_stored() {
    let store = Arc::new(MemoryStore::new());
    let server = Harness::with_store(Settings::default(), store.clone()).await;
    bot(server.address, "lobby", "Bot").await;
    let mut eve = Socket::join(server.address, "lobby", "Eve").await;
    eve.say("1", "last words").await;
    eve.expect("ack").await;
    server.shut_down();
    eve.expect("shutting_down").await;
    assert_eq!(eve.next().await, None);
    server.stop().await;
    let server = Harness::with_store(Settings::default(), store).await;
    let mut eve = Socket::resume(server.address, "lobby", &eve.token, 2).await;
    assert_eq!(line(&eve.record().await), "Eve: last words");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_told_in_time_and_nothing_is_done_twice() {
    let store = Arc::new(Limited::default());
    let server = Harness::with_store(Settings::default(), store.clone()).await;
    let address = server.address;
    let (_, token) = bot(address, "lobby", "Bot").await;
    let say = async |id: &str, text: &str| {
        post(address, "/api/rooms/lobby/messages", &token, json!({"id": id, "text": text})).await
    };
    let join = async |name: &str| {
        let nonce = format!("{:0>32}", name.len());
        post(address, "/api/rooms/lobby/members", "", json!({"name": name, "nonce": nonce})).await
    };
    // What is on its way when the disk turns out to be full.
    store.hold();
    let filling = async {
        server.members("lobby", 2).await;
        store.fill();
        store.release();
    };
    let joining = async {
        store.holds().await;
        join("Late").await
    };
    let (said, joined, ()) = tokio::join!(say("a", "one"), joining, filling);
    said.refused(503, "storage_full");
    joined.refused(503, "storage_full");

    // Once that is known: nothing is taken, and what tells of what is not stored is not told.
    say("a", "one").await.refused(503, "storage_full");
    say("b", "never").await.refused(503, "storage_full");
    join("Never").await.refused(503, "storage_full");
    post(address, "/api/rooms", "", json!({"name": "never"})).await.refused(503, "storage_full");
    get(address, "/api/rooms/lobby").await.refused(503, "storage_full");
    let page = get(address, "/api/rooms/lobby/messages").await.expect(200);
    assert_eq!(page["messages"].as_array().unwrap().len(), 1);
    let mut socket = Socket::open(address, "lobby").await;
    socket.send(json!({"type": "join", "name": "Never"})).await;
    assert_eq!(socket.expect("error").await["code"], "storage_full");

    store.make_room();
    within("it stores again", async {
        while get(address, "/readyz").await.status != 204 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(say("a", "one").await.expect(200)["position"], 2);
    join("Late").await.expect(201);
    let page = get(address, "/api/rooms/lobby/messages").await.expect(200);
    let told: Vec<_> = page["messages"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(told, ["+Bot", "Bot: one", "+Late", "-Late", "+Late"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_closed_its_sending_side_is_answered() {
    let store = Arc::new(Limited::default());
    let server = Harness::with_store(Settings::default(), store.clone()).await;
    let (_, token) = bot(server.address, "lobby", "Bot").await;
    let body = json!({"id": "a", "text": "one"}).to_string();
    let request = format!(
        "POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    store.hold();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    store.holds().await;
    store.release();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer:?}");
    server.stop().await;
}
