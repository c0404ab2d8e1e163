//! The room server: one front door, the sessions behind it, and the rooms.
//!
//! A message's journey: bytes → front door → session (decode, check limits) → room (`Group`: deliver or hold) →
//! log → cursors wake → bytes out. The decisions are in `causerie-core`; here bytes are moved.

mod classic;
mod controller;
mod front_door;
mod hosted_room;
mod native;
mod outbox;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use causerie_core::room::RoomSettings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::controller::Controller;
use crate::front_door::{Door, SilentOnes};

/// What the server allows, and how long it waits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For each room.
    pub room: RoomSettings,
    /// Rooms at once. Default 1,000.
    pub rooms_max: usize,
    /// Connections at once. Default 20,000.
    pub connections_max: usize,
    /// Connections that have said nothing yet; beyond it the oldest of them closes. Default 1,000.
    pub silent_max: usize,
    /// How long, from its first byte, a begun frame may take, and a connection to show what it speaks. Default
    /// 10 s.
    pub first_words: Duration,
    /// How long connections may take to end at shutdown. Default 5 s.
    pub drain: Duration,
    /// Who knows it may close any room.
    pub operator_token: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            room: RoomSettings::default(),
            rooms_max: 1_000,
            connections_max: 20_000,
            silent_max: 1_000,
            first_words: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            operator_token: None,
        }
    }
}

/// Name and version, as told to native clients.
const AGENT: &str = concat!("causerie ", env!("CARGO_PKG_VERSION"));

/// What all connections share.
struct Server {
    settings: Settings,
    controller: Controller,
    silent: SilentOnes,
    connections: Arc<tokio::sync::Semaphore>,
    /// Cancelled at shutdown: sessions say goodbye and end.
    stop: CancellationToken,
    /// Cancelled at the very end: nothing outlives [`serve`].
    kill: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Runs a task until it ends, or the server does.
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move { kill.run_until_cancelled(task).await });
    }
}

/// Serves rooms on `listener` until `shutdown` is done; returns once all connections have ended, or after
/// [`Settings::drain`].
///
/// Rooms made by `./createRoom` listen on the same address, on ports above the listener's.
///
/// # Errors
/// If the listener's address cannot be told. Connections that fail are logged, and concern nobody else.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let server = Arc::new(Server {
        controller: Controller::new(address, &settings),
        silent: SilentOnes::new(settings.silent_max),
        connections: Arc::new(tokio::sync::Semaphore::new(settings.connections_max)),
        stop: CancellationToken::new(),
        kill: CancellationToken::new(),
        tasks: TaskTracker::new(),
        settings,
    });
    // Whether it returns or is dropped.
    let _killing = server.kill.clone().drop_guard();
    announce(address.port());
    front_door::open(&server, listener, Door::Front, server.stop.clone());
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.controller.keep_time(&keeper.stop).await });

    shutdown.await;
    info!("shutting down");
    server.stop.cancel();
    server.tasks.close();
    if tokio::time::timeout(server.settings.drain, server.tasks.wait()).await.is_err() {
        info!("some connections did not end in time");
        server.kill.cancel();
        server.tasks.wait().await;
    }
    Ok(())
}

/// The log's words for a bound port, as the original program's.
fn announce(port: u16) {
    info!("Server binded to port {port}");
    info!("Server is listening");
}
