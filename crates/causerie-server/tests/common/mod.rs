//! What the tests share: a server in this process, and clients of both kinds over real TCP on loopback.
//!
//! Nothing here hopes that a pause was long enough: everything waits for what it needs, and fails after
//! [`PATIENCE`].

// Every test binary uses another part.
#![allow(dead_code)]

pub(crate) mod authority;
pub(crate) mod limited;
pub(crate) mod tunnel;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causerie_core::content::body::Body;
use causerie_core::id::Position;
use causerie_core::key::{Challenge, KeyPair, Purpose};
use causerie_core::wire::{
    ClientFrame, Delivered, ErrorCode, ErrorFrame, MAGIC, RoomInfo, ServerFrame, VERSION, Welcome,
    split_frame,
};
use causerie_server::{Settings, StartError};
use causerie_store::{MemoryStore, Store};
use cbcast::{Config, Group, Kind, Link, MemberId, Message, Time};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};

use tunnel::Tunnel;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// An address of its own for each server: rooms bind ports above the server's, and nobody else has any here
/// (clients come from 127.0.0.1).
fn loopback() -> IpAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    if !cfg!(target_os = "linux") {
        return Ipv4Addr::LOCALHOST.into();
    }
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let n = NEXT.fetch_add(1, Ordering::Relaxed) % 200;
    Ipv4Addr::new(127, 10 + n as u8, high, low).into()
}

pub(crate) struct Harness {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<dyn Store>,
    /// They may change while it serves.
    pub(crate) settings: watch::Sender<Settings>,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), StartError>>,
}

impl Harness {
    pub(crate) async fn start(settings: Settings) -> Self {
        Self::with_store(settings, Arc::new(MemoryStore::new())).await
    }

    /// A server that goes on from what is in the store.
    pub(crate) async fn with_store(mut settings: Settings, store: Arc<dyn Store>) -> Self {
        let listener = TcpListener::bind((loopback(), 0)).await.unwrap();
        let mut address = listener.local_addr().unwrap();
        if tunnel::is_used() {
            settings.tls.get_or_insert_with(tunnel::own_certificate);
            address = Tunnel::to(address).open().await;
        }
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let settings = watch::Sender::new(settings);
        let serving = causerie_server::serve(listener, Arc::clone(&store), settings.subscribe(), stopped);
        let serving = tokio::spawn(serving);
        Self { address, store, settings, stop, serving }
    }

    /// The server is told to stop.
    pub(crate) fn shut_down(&self) {
        self.stop.cancel();
    }

    /// Whether `serve` has returned.
    pub(crate) fn has_returned(&self) -> bool {
        self.serving.is_finished()
    }

    /// Stops the server; `serve` must return.
    pub(crate) async fn stop(self) {
        self.shut_down();
        within("serve to return", self.serving).await.unwrap().unwrap();
    }

    pub(crate) fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.ip(), port)
    }

    pub(crate) async fn rooms(&self) -> Vec<RoomInfo> {
        let mut wire = Wire::greeted(self.address).await;
        wire.send(&ClientFrame::ListRooms).await;
        let ServerFrame::Rooms(rooms) = wire.frame().await else { panic!("no rooms") };
        rooms
    }

    /// Waits until so many members are in a room.
    pub(crate) async fn members(&self, room: &str, count: u64) {
        let mut wire = Wire::greeted(self.address).await;
        within(&format!("{count} members in {room}"), async {
            loop {
                wire.send(&ClientFrame::ListRooms).await;
                let ServerFrame::Rooms(rooms) = wire.frame().await else { panic!("no rooms") };
                if rooms.iter().any(|r| r.name == room && r.members == count) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

// What any client may say.

/// Sends these bytes, and reads what comes until the server closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses may close before it has read everything.
    let _ = within("sending", stream.write_all(bytes)).await;
    let mut answer = Vec::new();
    let _ = within("the answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

/// A number of `/metrics`.
pub(crate) async fn metric(server: &Harness, name: &str) -> f64 {
    let get = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let text = raw(server.address, get).await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("{text}"))
}

// Classic clients.

pub(crate) struct Classic {
    stream: BufReader<TcpStream>,
}

impl Classic {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Connected from another address.
    pub(crate) async fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        Self { stream: BufReader::new(socket.connect(address).await.unwrap()) }
    }

    /// Enters a room's own port in line mode.
    pub(crate) async fn enter(address: SocketAddr, name: &str) -> Self {
        let mut client = Self::connect(address).await;
        client.send(format!("{name}\n")).await;
        client
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// Sends exactly these bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("sending", self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The bytes of the next line, its end included; empty at the end.
    pub(crate) async fn raw_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        within("a line", self.stream.read_until(b'\n', &mut line)).await.unwrap();
        line
    }

    /// The next line without its end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::from_utf8(self.raw_line().await).unwrap();
        assert_eq!(line.pop(), Some('\n'), "the connection ended behind {line:?}");
        line
    }

    pub(crate) async fn expect(&mut self, line: &str) {
        assert_eq!(self.line().await, line);
    }

    /// Nothing more comes. A connection that the server never accepted is reset.
    pub(crate) async fn ended(&mut self) {
        let mut rest = Vec::new();
        match within("the end", self.stream.read_to_end(&mut rest)).await {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }

    /// Makes a room with a port of its own, and returns the port.
    pub(crate) async fn create_room(&mut self) -> u16 {
        self.send("./createRoom\n").await;
        let line = self.line().await;
        let port = line.strip_prefix(r#"{"status": 200, "port": "#).and_then(|l| l.split(',').next());
        port.and_then(|p| p.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }
}

// Native clients.

/// A native connection, frame by frame.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
    pub(crate) challenge: Challenge,
    /// What it joins with.
    pub(crate) key: KeyPair,
}

/// A key that nobody else here has.
fn fresh_key() -> KeyPair {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    KeyPair::new(seed)
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: BytesMut::new(), challenge: Challenge::default(), key: fresh_key() }
    }

    /// Connected, with the magic bytes said.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut wire = Self::new(TcpStream::connect(address).await.unwrap());
        wire.send_bytes(&MAGIC).await;
        wire
    }

    /// Connected from another address, and greeted.
    pub(crate) async fn greeted_from(from: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let mut wire = Self::new(socket.connect(address).await.unwrap());
        wire.send_bytes(&MAGIC).await;
        wire.hello().await;
        wire
    }

    pub(crate) async fn greeted(address: SocketAddr) -> Self {
        let mut wire = Self::connect(address).await;
        wire.hello().await;
        wire
    }

    pub(crate) async fn hello(&mut self) {
        self.send(&ClientFrame::Hello { oldest: 1, newest: VERSION, agent: "test".into() }).await;
        let frame = self.frame().await;
        let ServerFrame::Hello { version: VERSION, challenge, .. } = frame else { panic!("{frame:?}") };
        self.challenge = challenge;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        within("sending", self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, frame: &ClientFrame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send_bytes(&bytes).await;
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<ServerFrame> {
        loop {
            if let Some((kind, body)) = split_frame(&mut self.buffer, 16 << 20).unwrap() {
                return Some(ServerFrame::decode(kind, &body).unwrap().expect("a known kind"));
            }
            match within("a frame", self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) => {
                    assert!(self.buffer.is_empty(), "the connection ended within a frame");
                    return None;
                }
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> ServerFrame {
        self.next().await.expect("the connection goes on")
    }

    pub(crate) async fn error(&mut self) -> ErrorFrame {
        match self.frame().await {
            ServerFrame::Error(error) => error,
            frame => panic!("no error: {frame:?}"),
        }
    }

    /// An error with this code, after which the connection goes on.
    pub(crate) async fn refused(&mut self, code: ErrorCode) -> ErrorFrame {
        let error = self.error().await;
        assert_eq!((error.code, error.fatal), (code, false), "{error:?}");
        self.ping().await;
        error
    }

    /// An error with this code, and the end.
    pub(crate) async fn fatal(&mut self, code: ErrorCode) -> ErrorFrame {
        let error = self.error().await;
        assert_eq!((error.code, error.fatal), (code, true), "{error:?}");
        assert_eq!(self.next().await, None);
        error
    }

    pub(crate) fn join_frame(&self, room: &str, name: &str) -> ClientFrame {
        let proof = self.key.prove(Purpose::Member, &self.challenge);
        let maker = Some(self.key.prove(Purpose::Room, &self.challenge));
        ClientFrame::Join { room: room.into(), name: name.into(), proof, create: true, maker, after: None }
    }

    /// To close a room with this wire's key, or the operator's token.
    pub(crate) fn close_frame(&self, room: &str, operator: &str) -> ClientFrame {
        let maker = Some(self.key.prove(Purpose::Room, &self.challenge));
        ClientFrame::CloseRoom { name: room.into(), operator: operator.into(), maker }
    }

    /// Asks to be let in.
    pub(crate) async fn join(&mut self, room: &str, name: &str) {
        let frame = self.join_frame(room, name);
        self.send(&frame).await;
    }

    /// The connection is alive, and nothing else is said on it.
    pub(crate) async fn ping(&mut self) {
        self.send(&ClientFrame::Ping(77)).await;
        assert_eq!(self.frame().await, ServerFrame::Pong(77));
    }
}

/// What a record of the log says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Joined(String),
    Left(MemberId),
    Text(MemberId, String),
    Other(Bytes),
}

/// A member, with a group that must be able to deliver every record at once.
pub(crate) struct Native {
    pub(crate) wire: Wire,
    pub(crate) welcome: Welcome,
    pub(crate) member: MemberId,
    pub(crate) key: KeyPair,
    pub(crate) group: Group,
    /// The last position that has come off the connection.
    pub(crate) position: Position,
}

impl Native {
    /// Joins, and reads the history.
    pub(crate) async fn join(address: SocketAddr, room: &str, name: &str) -> Self {
        let mut wire = Wire::greeted(address).await;
        wire.join(room, name).await;
        Self::welcomed(wire).await
    }

    /// Reads the welcome and the history.
    pub(crate) async fn welcomed(mut wire: Wire) -> Self {
        let frame = wire.frame().await;
        let ServerFrame::Welcome(welcome) = frame else { panic!("not welcome: {frame:?}") };
        let welcome = *welcome;
        let member = welcome.member;
        let group = Group::new(Config::relay(), &welcome.snapshot, [member]).unwrap();
        let position = welcome.first - 1;
        let key = wire.key.clone();
        let mut native = Self { wire, member, key, group, position, welcome };
        while native.position < native.welcome.position {
            native.event().await;
        }
        native
    }

    pub(crate) fn room(&self) -> &str {
        &self.welcome.room
    }

    /// Stamps a message without sending it.
    pub(crate) fn stamp(&mut self, payload: &[u8]) -> Bytes {
        self.group.broadcast(Time::ZERO, self.member, payload).unwrap();
        let outputs = std::iter::from_fn(|| self.group.poll_output());
        let mut sent = outputs.filter_map(|o| o.sent().cloned());
        sent.next().unwrap().into_packet()
    }

    pub(crate) fn stamp_text(&mut self, text: &str) -> Bytes {
        self.stamp(&Body::Text(text.into()).encode())
    }

    pub(crate) async fn send(&mut self, body: &Body) {
        let packet = self.stamp(&body.encode());
        self.wire.send(&ClientFrame::Broadcast(packet)).await;
    }

    pub(crate) async fn say(&mut self, text: &str) {
        let packet = self.stamp_text(text);
        self.wire.send(&ClientFrame::Broadcast(packet)).await;
    }

    /// Takes a record: it is the next, and its causes have been.
    pub(crate) fn take(&mut self, record: Delivered) -> Event {
        assert_eq!(record.position, self.position.next(), "positions have no holes");
        self.position = record.position;
        let message = Message::decode(record.packet).unwrap();
        if record.position > self.welcome.position {
            let id = message.id();
            self.group.handle_message(Time::ZERO, Link::Relay, message.clone()).unwrap();
            assert!(self.group.has_delivered(id), "{message:?} came before its causes");
            while self.group.poll_output().is_some() {}
        }
        let payload = message.payload();
        match message.kind() {
            Kind::Joined(_) => Event::Joined(String::from_utf8(payload.to_vec()).unwrap()),
            Kind::Left { member, .. } => Event::Left(member),
            Kind::Hosted { .. } | Kind::Expelled { .. } => Event::Other(payload),
            Kind::Data | Kind::Signed(_) | Kind::Emptied { .. } => match Body::decode(&payload) {
                Body::Text(text) => Event::Text(message.id().member, text),
                _ => Event::Other(payload),
            },
        }
    }

    /// The next record; errors of this kind are passed over.
    pub(crate) async fn event_but(&mut self, code: ErrorCode) -> Event {
        loop {
            match self.wire.frame().await {
                ServerFrame::Delivered(record) => return self.take(record),
                ServerFrame::Error(error) if error.code == code => {}
                other => panic!("no record but {other:?}"),
            }
        }
    }

    /// The next frame, which must be a record.
    pub(crate) async fn event(&mut self) -> Event {
        match self.wire.frame().await {
            ServerFrame::Delivered(record) => self.take(record),
            frame => panic!("no record: {frame:?}"),
        }
    }

    pub(crate) async fn expect(&mut self, event: Event) {
        assert_eq!(self.event().await, event);
    }

    pub(crate) async fn expect_text(&mut self, from: MemberId, text: &str) {
        self.expect(Event::Text(from, text.into())).await;
    }

    /// For its present connection.
    pub(crate) fn resume_frame(&self) -> ClientFrame {
        ClientFrame::Resume {
            room: self.room().into(),
            member: self.member,
            proof: self.key.prove(Purpose::Member, &self.wire.challenge),
            epoch: self.welcome.epoch,
            position: self.position,
            clock: self.group.clock(),
        }
    }

    /// Asks to go on over a new connection; the older one is dropped.
    pub(crate) async fn resume(&mut self, address: SocketAddr) -> ServerFrame {
        self.wire = Wire::greeted(address).await;
        let frame = self.resume_frame();
        self.wire.send(&frame).await;
        self.wire.frame().await
    }
}

/// Two members who talk to each other without a pause, whatever others do.
pub(crate) struct Pair {
    stop: CancellationToken,
    talking: JoinHandle<(u64, Vec<Event>)>,
}

impl Pair {
    pub(crate) async fn start(address: SocketAddr, room: &str) -> Self {
        let mut ann = Native::join(address, room, "Ann").await;
        let mut bob = Native::join(address, room, "Bob").await;
        ann.expect(Event::Joined("Bob".into())).await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let talking = tokio::spawn(async move {
            let mut others = Vec::new();
            let mut turns = 0;
            loop {
                // Looked at before the turn: a whole turn comes after whatever happened before the stop.
                let last = stopped.is_cancelled();
                turns += 1;
                let text = format!("turn {turns}");
                let said = [ann.member, bob.member].map(|member| Event::Text(member, text.clone()));
                ann.say(&text).await;
                hear(&mut ann, &mut others, &said[0]).await;
                hear(&mut bob, &mut Vec::new(), &said[0]).await;
                bob.say(&text).await;
                hear(&mut bob, &mut Vec::new(), &said[1]).await;
                hear(&mut ann, &mut others, &said[1]).await;
                if last {
                    return (turns, others);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { stop, talking }
    }

    /// Ends the talk after one more turn; nothing was lost. Returns what others did in the room meanwhile.
    pub(crate) async fn finish(self) -> Vec<Event> {
        self.stop.cancel();
        let (turns, others) =
            within("the pair's last turn", self.talking).await.expect("the pair lost nothing");
        assert!(turns > 0);
        others
    }
}

/// Reads up to this event; events of others go to `others`.
async fn hear(native: &mut Native, others: &mut Vec<Event>, awaited: &Event) {
    loop {
        match native.event().await {
            event if event == *awaited => return,
            event => others.push(event),
        }
    }
}

/// Random numbers that a seed repeats (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number() as u8).collect()
    }
}

// The server's log.

thread_local! {
    static LOG: RefCell<Option<Log>> = const { RefCell::new(None) };
}

type Log = Arc<Mutex<Vec<String>>>;

/// Ends the capture of a log.
pub(crate) struct Captured;

impl Drop for Captured {
    fn drop(&mut self) {
        LOG.take();
    }
}

/// The messages logged on this thread, while the guard lives: for tests on a runtime of one thread.
///
/// One subscriber for the whole process: `tracing` remembers for each place whether anybody listens, and
/// a thread that passes it without a subscriber of its own makes it deaf for the others.
pub(crate) fn capture_log() -> (Log, Captured) {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Capture);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else sets one");
    });
    let lines = Log::default();
    LOG.set(Some(Arc::clone(&lines)));
    (lines, Captured)
}

struct Capture;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > tracing::Level::INFO {
            return;
        }
        LOG.with_borrow(|log| {
            if let Some(lines) = log {
                event.record(&mut MessageOf(lines));
            }
        });
    }
}

struct MessageOf<'a>(&'a Mutex<Vec<String>>);

impl Visit for MessageOf<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}
