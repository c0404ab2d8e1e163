//! The room server: one front door, the sessions behind it, and the rooms.
//!
//! A message's journey: bytes → front door → session (decode, check limits) → room (`Group`: deliver or hold) →
//! store → tail → pumps write to all readers. The decisions are in `causerie-core`; here bytes are moved.

#![deny(unused_must_use, clippy::let_underscore_must_use)]

mod certificates;
mod clock;
mod door;
mod error;
mod fanout;
mod gateways;
mod journal;
mod lockdown;
mod metrics;
mod net;
mod rooms;
mod server;
mod settings;

use std::future::Future;
use std::io;
use std::sync::Arc;

use causerie_store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

pub use ipnet::IpNet;

pub use crate::certificates::{CertificateError, CertificateInfo};
pub use crate::error::StartError;
pub use crate::journal::unstored::{NotStored, Unstored};
pub use crate::rooms::reopen::renew_all;
pub use crate::settings::{
    AcmeChallenge, AcmeSettings, AddressLimits, CONTROL_SOCKET, CertificateSource, ClearText, IrcSettings,
    Protocol, Settings, TlsSettings,
};

use crate::certificates::Certificates;
use crate::door::{Door, Port};
use crate::journal::writer::Writer;
use crate::server::Server;

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
    let mut ports = vec![(listener, Port::Front)];
    let own_ports = settings.borrow().own_ports.clone();
    for (protocol, address) in own_ports {
        let listener = TcpListener::bind(address).await;
        let why =
            |error| io::Error::new(io::Error::kind(&error), format!("cannot listen on {address}: {error}"));
        ports.push((listener.map_err(why)?, Port::Own(protocol)));
    }
    let tls = settings.borrow().tls.clone();
    // Files are read, and roots looked at: it may take a moment.
    let certificates =
        tokio::task::spawn_blocking(move || tls.map(|tls| Certificates::new(&tls)).transpose());
    let certificates = certificates.await.map_err(io::Error::other)??;
    let (server, bound) = Server::new(address, store, settings.clone(), certificates);
    let server = Arc::new(server);
    let writer = Arc::clone(&server.writer);
    let opening = Arc::clone(&server);
    let opened = tokio::task::spawn_blocking(move || opening.directory.restore()).await;
    opened.map_err(io::Error::other)??;
    let (done, mut written) = tokio::sync::oneshot::channel();
    let writing = Arc::clone(&writer);
    // A thread of its own: it waits for the disk most of the time, and must never wait for its turn.
    std::thread::Builder::new().name("writer".into()).spawn(move || {
        writing.run();
        // Nobody waits for it if the server was dropped.
        done.send(()).ok();
    })?;
    let stop_writing = StopWriting(Arc::clone(&writer));
    // Whether it returns or is dropped.
    let _killing = server.kill.clone().drop_guard();
    let door = Door { server: Arc::clone(&server), gateways: Arc::default() };
    door::announce(address.port());
    for (listener, port) in ports {
        door.open(listener, port, server.stop.clone());
    }
    #[cfg(unix)]
    let _control = open_control(&door, settings.borrow().control.as_deref());
    server.reopen_ports().await;
    server.spawn(door.open_rooms(bound));
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.directory.keep_time(&keeper.stop).await });
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.directory.keep_retention(&keeper.stop).await });
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.directory.keep_closed(&keeper.stop).await });
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.directory.keep_idle_rooms(&keeper.stop).await });
    let keeper = Arc::clone(&server);
    server.spawn(async move { keeper.follow_settings().await });
    let keeper = Arc::clone(&server);
    server.spawn(async move {
        if let Some(certificates) = &keeper.certificates {
            tokio::join!(
                certificates.keep(settings.clone(), &keeper.stop),
                certificates.renew(settings, &keeper.stop)
            );
        }
    });
    let keeper = Arc::clone(&server);
    server.spawn(async move {
        keeper.vanished.end_them(|| keeper.settings().answer_time, &keeper.stop).await;
    });

    let failed = tokio::select! {
        () = shutdown => None,
        why = writer.failed() => Some(why),
    };
    let (open, drain) = (server.addresses.connections(), server.settings().drain);
    info!("shutting down; {open} connections have {} s to read what is left", drain.as_secs_f32());
    server.stop.cancel();
    server.tasks.close();
    if !server.drained().await {
        info!("{} connections did not end in time, and are cut", server.addresses.connections());
        server.kill.cancel();
        server.tasks.wait().await;
    }
    server.log_metrics();
    server.directory.leave_checkpoints();
    drop(stop_writing);
    if failed.is_none() {
        // It has told if it could not.
        (&mut written).await.ok();
    }
    match failed.or_else(|| writer.failure()) {
        None => Ok(()),
        Some(why) => Err(StartError::Writing(why)),
    }
}

/// Opens the control socket. A server does without it, and says so.
#[cfg(unix)]
fn open_control(door: &Door, path: Option<&std::path::Path>) -> Option<door::control::ControlFile> {
    let path = path?;
    match door::control::bind(path) {
        Ok((listener, file)) => {
            door.open_control(listener);
            Some(file)
        }
        Err(error) => {
            tracing::warn!("there is no control socket: {}: {error}", path.display());
            None
        }
    }
}

struct StopWriting(Arc<Writer>);

impl Drop for StopWriting {
    fn drop(&mut self) {
        self.0.stop();
    }
}
