//! Accepting connections, and telling by their first bytes what they speak.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use causerie_core::frame::MAGIC;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::hosted_room::HostedRoom;
use crate::{Protocol, Server, classic, http, native};

/// Which port a connection came to.
pub(crate) enum Door {
    /// The main one: all protocols; classic clients speak to the controller.
    Front,
    /// For one of them.
    Own(Protocol),
    /// A room's own: classic clients, without sniffing.
    Room(Arc<HostedRoom>),
}

/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection is idle before the other host is asked whether it is there, and how often then.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
#[cfg(not(windows))]
const KEEPALIVE_RETRIES: u32 = 4;
/// Has the system end a connection whose other host has vanished without a word: then its member's grace begins. After
/// two minutes; where something was on its way to it, after as long as the system tries to send it again (on Linux a
/// quarter of an hour). A shorter limit on that would also end connections of those who read slowly.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    Ok(())
}

/// Connections that have said nothing yet. The original client connects before it asks its user anything, so they
/// may be silent for as long as they like, but there is an end to their number.
#[derive(Default)]
pub(crate) struct SilentOnes {
    waiting: Mutex<(u64, BTreeMap<u64, CancellationToken>)>,
}

impl SilentOnes {
    /// Waits for the first byte, unless the connection becomes the oldest of more than `max`.
    async fn first_byte(&self, stream: &TcpStream, max: usize) -> io::Result<bool> {
        let evicted = CancellationToken::new();
        let ticket = {
            let mut waiting = self.waiting.lock().expect("nothing panics while holding it");
            while waiting.1.len() >= max.max(1) {
                let (_, oldest) = waiting.1.pop_first().expect("there is one");
                oldest.cancel();
            }
            waiting.0 += 1;
            let ticket = waiting.0;
            waiting.1.insert(ticket, evicted.clone());
            ticket
        };
        // Looked at, not only awaited: sockets are called readable sometimes when there is nothing to read.
        let peeked = evicted.run_until_cancelled(stream.peek(&mut [0])).await;
        self.waiting.lock().expect("nothing panics while holding it").1.remove(&ticket);
        peeked.transpose().map(|peeked| peeked.is_some())
    }

    pub(crate) fn count(&self) -> usize {
        self.waiting.lock().expect("nothing panics while holding it").1.len()
    }
}

/// How many connections there are.
#[derive(Default)]
pub(crate) struct Connections(AtomicUsize);

impl Connections {
    /// One more, unless that is more than `max`. Counted until the guard is dropped.
    fn enter(server: &Arc<Server>, max: usize) -> Option<Entered> {
        let more = |open| (open < max).then_some(open + 1);
        let open = &server.connections.0;
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Entered(Arc::clone(server)))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Entered(Arc<Server>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.connections.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections in a task of its own until `stop`, or the server stops.
pub(crate) fn open(server: &Arc<Server>, listener: TcpListener, door: Door, stop: CancellationToken) {
    // Boxed: a connection may open further doors, and the type would contain itself.
    let accepting: Pin<Box<dyn Future<Output = ()> + Send>> =
        Box::pin(accept(Arc::clone(server), listener, door, stop));
    server.spawn(accepting);
}

async fn accept(server: Arc<Server>, listener: TcpListener, door: Door, stop: CancellationToken) {
    let door = Arc::new(door);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
            () = server.stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        info!("Connected to : {} : {}", peer.ip(), peer.port());
        let (server, door) = (Arc::clone(&server), Arc::clone(&door));
        Arc::clone(&server).spawn(async move {
            let max = server.settings().connections_max;
            let Some(entered) = Connections::enter(&server, max) else {
                server.writer.metrics.connection_refused();
                return refuse(stream).await;
            };
            if let Err(error) = converse(&server, stream, peer, &door, entered).await {
                debug!("connection of {peer}: {error}");
            }
        });
    }
}

async fn refuse(mut stream: TcpStream) {
    let words = stream.write_all(b"Error: too many connections; try again later\n");
    // If this cannot be said, there is nothing else to say.
    let _ = tokio::time::timeout(Duration::from_secs(1), words).await;
}

async fn converse(
    server: &Arc<Server>,
    mut stream: TcpStream,
    peer: SocketAddr,
    door: &Door,
    entered: Entered,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    watch_over(&stream)?;
    let silent_max = server.settings().silent_max;
    let spoke = tokio::select! {
        spoke = server.silent.first_byte(&stream, silent_max) => spoke?,
        () = server.stop.cancelled() => false,
    };
    if !spoke {
        debug!("closing the connection of {peer}, which has said nothing");
        return Ok(());
    }
    // As much as one read takes elsewhere: the first read decides how a classic client is understood.
    let mut first = BytesMut::new();
    let (protocol, room) = match door {
        Door::Room(room) => (Protocol::Classic, Some(Arc::clone(room))),
        Door::Own(protocol @ (Protocol::Classic | Protocol::Http)) => (*protocol, None),
        Door::Front | Door::Own(Protocol::Native) => {
            first.reserve(classic::READ_MAX);
            let deadline = tokio::time::Instant::now() + server.settings().first_words;
            let spoken = tokio::time::timeout_at(deadline, sniff(&mut stream, &mut first)).await;
            // What began like the others and did not go on is text like any other.
            let protocol = spoken.unwrap_or(Ok(Protocol::Classic))?;
            if matches!(door, Door::Own(_)) && protocol != Protocol::Native {
                debug!("closing the connection of {peer}, which does not speak the native protocol");
                return Ok(());
            }
            (protocol, None)
        }
    };
    let metrics = &server.writer.metrics;
    // Each apart: a connection takes what its own protocol needs.
    match protocol {
        Protocol::Native => {
            let _open = metrics.connection("native");
            // A native session reads into smaller pieces; this one would stay as long as the connection.
            let rest = BytesMut::from(&std::mem::take(&mut first)[MAGIC.len()..]);
            Box::pin(native::serve(server, stream, peer, rest)).await
        }
        Protocol::Classic => {
            let _open = metrics.connection("classic");
            Box::pin(classic::serve(server, stream, peer, first, room)).await
        }
        Protocol::Http => Box::pin(http::serve(server, stream, peer, first, entered)).await,
    }
}

/// HTTP's methods.
const METHODS: [&str; 10] =
    ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "QUERY ", "TRACE ", "CONNECT "];

/// Reads until it is clear what the connection speaks: the magic bytes, an HTTP method and a space, or anything else.
async fn sniff(stream: &mut TcpStream, first: &mut BytesMut) -> io::Result<Protocol> {
    loop {
        if stream.read_buf(first).await? == 0 {
            return Ok(Protocol::Classic);
        }
        if first.starts_with(&MAGIC) {
            return Ok(Protocol::Native);
        }
        if METHODS.iter().any(|method| first.starts_with(method.as_bytes())) {
            return Ok(Protocol::Http);
        }
        if !MAGIC.starts_with(first) && !METHODS.iter().any(|method| method.as_bytes().starts_with(first)) {
            return Ok(Protocol::Classic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn the_system_watches_over_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, _client) = tokio::join!(listener.accept(), client);
        let stream = accepted.unwrap().0;
        watch_over(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        let probed = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(KEEPALIVE_IDLE + probed, Duration::from_secs(120));
        assert_eq!(socket.tcp_user_timeout().unwrap(), None, "who reads slowly is not sent away");
    }
}
