//! The room server: one front door, the sessions behind it, and the rooms.
//!
//! A message's journey: bytes → front door → session (decode, check limits) → room (`Group`: deliver or hold) →
//! store → tail → pumps write to all readers. The decisions are in `causerie-core`; here bytes are moved.

mod door;
mod fanout;
mod gateways;
mod journal;
mod metrics;
mod net;
mod rooms;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causerie_core::room::{RoomSettings, SettingsError};
use causerie_store::{Retention, Store, StoreError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

pub use crate::gateways::irc::IrcSettings;
pub use crate::net::addresses::AddressLimits;
pub use crate::rooms::reopen::renew_all;

use crate::door::{Connections, Door};
use crate::journal::writer::Writer;
use crate::metrics::Gauges;
use crate::net::addresses::Addresses;
use crate::net::half_open::HalfOpen;
use crate::net::memory::Memory;
use crate::net::turns::Turns;
use crate::net::vanished::Vanished;
use crate::rooms::directory::Controller;

/// What the server allows, and how long it waits. All of it may change while it serves, except what a room is made
/// with: [`RoomSettings::text_bytes_max`], [`RoomSettings::members_max`] and [`RoomSettings::log_bytes_max`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// For each room.
    pub room: RoomSettings,
    /// Rooms at once. Default 1,000.
    pub rooms_max: usize,
    /// Rooms with ports of their own at once. Default 100.
    pub ports_max: usize,
    /// How long a room stays in which nobody is and nothing is said, unless it was made from an address without limits.
    /// Zero: for ever. Default: a day.
    pub rooms_idle: Duration,
    /// Connections at once. Default 20,000.
    pub connections_max: usize,
    /// What one address may take up of all this.
    pub address: AddressLimits,
    /// Bytes that clients of all connections may leave unread, and rooms hold back, taken together. Beyond it connections
    /// that read nothing are ended. Default 256 MiB.
    pub unread_bytes_max: usize,
    /// Connections that have not shown yet what they speak; beyond it the oldest of them closes. Default 1,000.
    pub silent_max: usize,
    /// How long a connection may say nothing at all. Default 10 minutes.
    pub silent_time: Duration,
    /// How long, from its first byte, a begun frame may take, and a connection to show what it speaks. Default
    /// 10 s.
    pub first_words: Duration,
    /// How long a connection's host may leave all that is sent to it without any answer, before it counts as gone. Whoever
    /// is slow answers that it has no room. Default 90 s.
    pub answer_time: Duration,
    /// How long connections may take at shutdown to read what was said so far. Default 10 s.
    pub drain: Duration,
    /// Who knows it may close any room, and read the metrics, which else only programs on the same machine may.
    pub operator_token: Option<String>,
    /// How long a room is kept that was closed. Default 7 days.
    pub closed: Duration,
    /// What is kept of each room's log. Default: all.
    pub retention: Retention,
    /// Web pages of these origins (`https://chat.example.org`) may use the API, beside the server's own. Default: none.
    pub origins: Vec<String>,
    /// Names under which HTTP clients may ask for the server, beside its addresses and `localhost`. Default: none.
    pub hosts: Vec<String>,
    /// How the server shows itself to IRC clients. Read when one connects.
    pub irc: IrcSettings,
    /// Ports on which only one protocol is spoken, beside the one for all. Default: none.
    pub own_ports: Vec<(Protocol, SocketAddr)>,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// `docs/protocol.md`.
    Native,
    /// Lines.
    Classic,
    /// `docs/api.md`.
    Http,
    /// `docs/irc.md`.
    Irc,
}

/// Why a server could not start, or had to end.
#[derive(Debug, Error)]
pub enum StartError {
    /// The listener, or a thread, could not be had.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rooms cannot be of such settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Nothing can be stored any more: what was said last nobody has seen.
    #[error("{0}")]
    Writing(String),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            room: RoomSettings::default(),
            rooms_max: 1_000,
            ports_max: 100,
            rooms_idle: Duration::from_secs(86_400),
            connections_max: 20_000,
            address: AddressLimits::default(),
            unread_bytes_max: 256 << 20,
            silent_max: 1_000,
            silent_time: Duration::from_secs(600),
            first_words: Duration::from_secs(10),
            answer_time: Duration::from_secs(90),
            drain: Duration::from_secs(10),
            operator_token: None,
            closed: Duration::from_secs(7 * 86_400),
            retention: Retention::default(),
            origins: Vec::new(),
            hosts: Vec::new(),
            irc: IrcSettings::default(),
            own_ports: Vec::new(),
        }
    }
}

/// Name and version, as told to native clients.
const AGENT: &str = concat!("causerie ", env!("CARGO_PKG_VERSION"));

/// What all connections share.
struct Server {
    settings: watch::Receiver<Settings>,
    controller: Controller,
    writer: Arc<Writer>,
    half_open: HalfOpen,
    vanished: Vanished,
    connections: Connections,
    addresses: Addresses,
    people: gateways::irc::People,
    /// At making long answers.
    turns: Turns,
    /// When it began, in milliseconds since 1970.
    since: u64,
    lab: gateways::http::Lab,
    /// Cancelled at shutdown: sessions say goodbye and end.
    stop: CancellationToken,
    /// Cancelled at the very end: nothing outlives [`serve`].
    kill: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    fn new(address: SocketAddr, writer: Arc<Writer>, settings: watch::Receiver<Settings>) -> Self {
        Self {
            controller: Controller::new(address, settings.clone(), Arc::clone(&writer)),
            writer,
            half_open: HalfOpen::default(),
            vanished: Vanished::default(),
            connections: Connections::default(),
            addresses: Addresses::default(),
            people: gateways::irc::People::default(),
            turns: Turns::new(Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers())),
            since: rooms::hosted::Clock::start().now().wall_millis,
            lab: gateways::http::Lab::new(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
            settings,
        }
    }

    /// As they are now. Not to be held for longer than a look.
    fn settings(&self) -> watch::Ref<'_, Settings> {
        self.settings.borrow()
    }

    /// Tells the rooms when settings change, until the server stops.
    async fn follow_settings(&self) {
        let mut settings = self.settings.clone();
        while let Some(Ok(())) = self.stop.run_until_cancelled(settings.changed()).await {
            let (room, unread) = {
                let settings = settings.borrow_and_update();
                (settings.room.clone(), settings.unread_bytes_max)
            };
            self.controller.reconfigure(&room);
            self.writer.memory.limit(unread);
        }
    }

    /// Until all connections have ended, or the time for that is over, which may be made shorter meanwhile. Whether
    /// they have.
    async fn drained(&self) -> bool {
        let begun = Instant::now();
        let mut settings = self.settings.clone();
        loop {
            let end = begun + settings.borrow_and_update().drain;
            tokio::select! {
                () = self.tasks.wait() => return true,
                () = tokio::time::sleep_until(end) => return false,
                Ok(()) = settings.changed() => {}
            }
        }
    }

    /// What was counted, as text. Blocks as a read of the store does.
    fn metrics(&self) -> String {
        let rooms = self.controller.list();
        let writer = &self.writer;
        let gauges = Gauges {
            rooms: rooms.len(),
            members: rooms.iter().map(|room| room.members as usize).sum(),
            silent: self.half_open.count(),
            pending_bytes: writer.pending_bytes(),
            unread_bytes: writer.memory.unread(),
            held_bytes: writer.memory.held(),
            cut: writer.memory.cut(),
        };
        writer.metrics.text(gauges, &*writer.store)
    }

    fn log_metrics(&self) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            debug!("counted in this run:\n{}", self.metrics());
        }
    }

    /// Runs a task until it ends, or the server does.
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move { kill.run_until_cancelled(task).await });
    }
}

/// Serves rooms on `listener` until `shutdown` is done. Then nobody is accepted any more, each connection is told and
/// ends behind what it had still to read; after [`Settings::drain`] the rest is cut. Returns when all that was said is in
/// the store.
///
/// `settings` may change while it serves.
///
/// Rooms that are in the store are there again. Rooms made by `./createRoom` listen on the same address, on ports
/// above the listener's.
///
/// # Errors
/// [`StartError`]: if the listener's address cannot be told, or the store has failed. Connections that fail are
/// logged, and concern nobody else.
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn Store>,
    settings: watch::Receiver<Settings>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let address = listener.local_addr()?;
    settings.borrow().room.check()?;
    let mut doors = vec![(listener, Door::Front)];
    let own_ports = settings.borrow().own_ports.clone();
    for (protocol, address) in own_ports {
        let listener = TcpListener::bind(address).await;
        let why =
            |error| io::Error::new(io::Error::kind(&error), format!("cannot listen on {address}: {error}"));
        doors.push((listener.map_err(why)?, Door::Own(protocol)));
    }
    let memory = Memory::new(settings.borrow().unread_bytes_max);
    let writer = Writer::new(store, memory);
    let server = Arc::new(Server::new(address, Arc::clone(&writer), settings));
    let opening = Arc::clone(&server);
    let opened = tokio::task::spawn_blocking(move || opening.controller.restore()).await;
    opened.map_err(io::Error::other)??;
    let (done, mut written) = tokio::sync::oneshot::channel();
    let writing = Arc::clone(&writer);
    // A thread of its own: it waits for the disk most of the time, and must never wait for its turn.
    std::thread::Builder::new().name("writer".into()).spawn(move || {
        writing.run();
        // Nobody waits for it if the server was dropped.
        let _ = done.send(());
    })?;
    let stop_writing = StopWriting(Arc::clone(&writer));
    // Whether it returns or is dropped.
    let _killing = server.kill.clone().drop_guard();
    announce(address.port());
    for (listener, door) in doors {
        door::open(&server, listener, door, server.stop.clone());
    }
    server.reopen_ports().await;
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.controller.keep_time(&keeper.stop).await });
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.controller.keep_retention(&keeper.stop).await });
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.controller.keep_closed(&keeper.stop).await });
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.controller.keep_idle_rooms(&keeper.stop).await });
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.follow_settings().await });
    let keeper = Arc::clone(&server);
    server.spawn(async move {
        keeper.vanished.end_them(|| keeper.settings().answer_time, &keeper.stop).await;
    });

    let failed = tokio::select! {
        () = shutdown => None,
        why = writer.failed() => Some(why),
    };
    let (open, drain) = (server.connections.count(), server.settings().drain);
    info!("shutting down; {open} connections have {} s to read what is left", drain.as_secs_f32());
    server.stop.cancel();
    server.tasks.close();
    if !server.drained().await {
        info!("{} connections did not end in time, and are cut", server.connections.count());
        server.kill.cancel();
        server.tasks.wait().await;
    }
    server.log_metrics();
    server.controller.leave_checkpoints();
    drop(stop_writing);
    if failed.is_none() {
        // It has told if it could not.
        let _ = (&mut written).await;
    }
    match failed.or_else(|| writer.failure()) {
        None => Ok(()),
        Some(why) => Err(StartError::Writing(why)),
    }
}

struct StopWriting(Arc<Writer>);

impl Drop for StopWriting {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The log's words for a bound port, as the original program's.
fn announce(port: u16) {
    info!("Server binded to port {port}");
    info!("Server is listening");
}
