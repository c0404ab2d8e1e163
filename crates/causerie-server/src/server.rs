//! The server: parts that all its connections share, and the tasks that it runs.

use std::net::SocketAddr;
use std::sync::Arc;

use causerie_store::Store;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::certificates::Certificates;
use crate::clock::Clock;
use crate::journal::reads::Reads;
use crate::journal::writer::Writer;
use crate::lockdown::Lockdown;
use crate::metrics::{Gauges, Metrics};
use crate::net::addresses::Addresses;
use crate::net::half_open::HalfOpen;
use crate::net::memory::Memory;
use crate::net::vanished::Vanished;
use crate::rooms::access::Who;
use crate::rooms::directory::{Maker, RoomDirectory};
use crate::rooms::error::RoomError;
use crate::rooms::hosted::{HostedRoom, Resources};
use crate::settings::Settings;

/// Name and version, as told to native clients.
pub(crate) const AGENT: &str = concat!("causerie ", env!("CARGO_PKG_VERSION"));

/// Rooms' ports that were bound, on their way to the door.
pub(crate) type BoundPorts = mpsc::UnboundedReceiver<(Arc<HostedRoom>, TcpListener)>;

/// Parts of the server that all connections share.
pub(crate) struct Server {
    settings: watch::Receiver<Settings>,
    pub(crate) directory: RoomDirectory,
    lockdown: Arc<Lockdown>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) half_open: HalfOpen,
    pub(crate) vanished: Vanished,
    pub(crate) addresses: Arc<Addresses>,
    /// The server's certificate, if connections may be encrypted.
    pub(crate) certificates: Option<Certificates>,
    /// Time of the start, in milliseconds since 1970.
    pub(crate) since: u64,
    /// Way to the door: as many wait as there are rooms with ports of their own.
    bound: mpsc::UnboundedSender<(Arc<HostedRoom>, TcpListener)>,
    /// Cancelled at shutdown: sessions say goodbye and end.
    pub(crate) stop: CancellationToken,
    /// Cancelled at the very end: nothing outlives [`serve`](crate::serve).
    pub(crate) kill: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Server {
    /// Returns the server whose main port is `address`, and rooms' ports as it binds them.
    pub(crate) fn new(
        address: SocketAddr,
        store: Arc<dyn Store>,
        settings: watch::Receiver<Settings>,
        certificates: Option<Certificates>,
    ) -> (Self, BoundPorts) {
        let memory = Memory::new(settings.borrow().unread_bytes_max);
        let metrics = Arc::new(Metrics::new());
        let reads = Arc::new(Reads::new(Arc::clone(&store)));
        let writer = Writer::new(Arc::clone(&store), Arc::clone(&metrics));
        let clock = Clock::start();
        let resources = Resources {
            clock,
            store: Arc::clone(&store),
            writer: Arc::clone(&writer),
            reads: Arc::clone(&reads),
            metrics: Arc::clone(&metrics),
            memory: Arc::clone(&memory),
        };
        let (bound, opened) = mpsc::unbounded_channel();
        let lockdown = Arc::new(Lockdown::default());
        let server = Self {
            directory: RoomDirectory::new(address, settings.clone(), Arc::clone(&lockdown), resources),
            addresses: Addresses::new(settings.clone(), Arc::clone(&lockdown), Arc::clone(&metrics)),
            lockdown,
            store,
            writer,
            reads,
            metrics,
            memory,
            half_open: HalfOpen::default(),
            vanished: Vanished::default(),
            certificates,
            since: clock.now().wall_millis,
            bound,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
            settings,
        };
        (server, opened)
    }

    /// Returns whether there is a certificate that programs trust which know this machine's roots.
    pub(crate) fn has_trusted_certificate(&self) -> bool {
        self.certificates.as_ref().is_some_and(Certificates::is_trusted)
    }

    /// Returns the settings as they are now. Not to be held for longer than a look.
    pub(crate) fn settings(&self) -> watch::Ref<'_, Settings> {
        self.settings.borrow()
    }

    /// Tells the rooms when settings change, until the server stops.
    pub(crate) async fn follow_settings(&self) {
        let mut settings = self.settings.clone();
        while let Some(Ok(())) = self.stop.run_until_cancelled(settings.changed()).await {
            let unread = settings.borrow_and_update().unread_bytes_max;
            self.directory.reconfigure();
            self.memory.limit(unread);
        }
    }

    /// Returns whether nobody new is let in.
    pub(crate) fn is_locked_down(&self) -> bool {
        self.lockdown.is_on()
    }

    /// Begins or ends a lockdown: no new rooms, no new members, and the least limits for each address. Members stay, and come back.
    pub(crate) fn lock_down(&self, on: bool) {
        if !self.lockdown.set(on) {
            return;
        }
        self.directory.reconfigure();
        if on {
            warn!("lockdown: no rooms are made, nobody new is let in, and limits are at their least");
        } else {
            warn!("the lockdown is over");
        }
    }

    /// Waits until all connections have ended, or the time for that is over, which may be made shorter meanwhile. Returns
    /// whether they have.
    pub(crate) async fn drained(&self) -> bool {
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

    /// Returns what was counted, as text. Blocks as a read of the store does.
    pub(crate) fn metrics_text(&self) -> String {
        let rooms = self.directory.list(Who::Anybody);
        let gauges = Gauges {
            rooms: rooms.len(),
            members: rooms.iter().map(|room| room.members as usize).sum(),
            silent: self.half_open.count(),
            pending_bytes: self.writer.pending_bytes(),
            unread_bytes: self.memory.unread(),
            held_bytes: self.memory.held(),
            cut: self.memory.cut(),
            is_locked_down: self.is_locked_down(),
            certificate_ends: self.certificates.as_ref().map_or(0, Certificates::ends),
        };
        self.metrics.text(gauges, &*self.store)
    }

    /// Writes what was counted to the log.
    pub(crate) fn log_metrics(&self) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            debug!("counted in this run:\n{}", self.metrics_text());
        }
    }

    /// Runs a task until it ends, or the server does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        // Apart: handed on by value it would be there several times over.
        let task = Box::pin(task);
        self.tasks.spawn(async move { kill.run_until_cancelled(task).await });
    }

    /// Makes a room with a port of its own, for the door to open.
    pub(crate) async fn open_port_room(&self, maker: Maker) -> Result<Arc<HostedRoom>, RoomError> {
        let (room, listener) = self.directory.create_with_port(maker).await?;
        self.hand_over(&room, listener);
        Ok(room)
    }

    fn hand_over(&self, room: &Arc<HostedRoom>, listener: TcpListener) {
        // Once the server has stopped nobody is accepted any more.
        self.bound.send((Arc::clone(room), listener)).ok();
    }

    /// Binds a room's port again, if it has one.
    async fn reopen_port(&self, room: &Arc<HostedRoom>) {
        let Some(port) = room.row.port else { return };
        match TcpListener::bind((self.directory.ip(), port)).await {
            Ok(listener) => self.hand_over(room, listener),
            Err(error) => warn!("the room of port {port} is reached by ./join only: {error}"),
        }
    }

    /// Binds the ports again that rooms of the store have.
    pub(crate) async fn reopen_ports(&self) {
        for room in self.directory.all() {
            self.reopen_port(&room).await;
        }
    }

    /// Opens a closed room again, for the operator alone.
    pub(crate) async fn open_closed(
        self: &Arc<Self>,
        name: &str,
        number: Option<u64>,
        is_operator: bool,
    ) -> Result<Arc<HostedRoom>, RoomError> {
        if !is_operator {
            return Err(RoomError::NotOperator);
        }
        let (server, named) = (Arc::clone(self), name.to_owned());
        let opened = tokio::task::spawn_blocking(move || server.directory.open_again(&named, number)).await;
        let room = opened.map_err(|_| RoomError::NoSuchRoom(name.to_owned()))??;
        self.reopen_port(&room).await;
        info!("the room '{name}' is open again");
        Ok(room)
    }
}
