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
use crate::{Protocol, Server, classic, http, irc, native};

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
/// may be silent for a while, but there is an end to that and to their number.
#[derive(Default)]
pub(crate) struct SilentOnes {
    waiting: Mutex<(u64, BTreeMap<u64, CancellationToken>)>,
}

impl SilentOnes {
    /// Waits for the first byte, so long, and unless the connection becomes the oldest of more than `max`.
    async fn first_byte(&self, stream: &TcpStream, max: usize, patience: Duration) -> io::Result<bool> {
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
        let mut byte = [0];
        let peeked = evicted.run_until_cancelled(stream.peek(&mut byte));
        let peeked = tokio::time::timeout(patience, peeked).await.unwrap_or(None);
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
    let (silent_max, silent_time) = (server.settings().silent_max, server.settings().silent_time);
    let spoke = tokio::select! {
        spoke = server.silent.first_byte(&stream, silent_max, silent_time) => spoke?,
        () = server.stop.cancelled() => false,
    };
    if !spoke {
        debug!("closing the connection of {peer}, which has said nothing");
        return Ok(());
    }
    let mut first = BytesMut::new();
    let (protocol, room) = match door {
        Door::Room(room) => (Protocol::Classic, Some(Arc::clone(room))),
        Door::Own(protocol @ (Protocol::Classic | Protocol::Http | Protocol::Irc)) => (*protocol, None),
        Door::Front | Door::Own(Protocol::Native) => {
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
    // Each apart: a connection takes what its own protocol needs. What was read may stay as long as the connection, so it
    // goes into a piece of its own size where the session reads into smaller ones.
    match protocol {
        Protocol::Native => {
            let _open = metrics.connection("native");
            let rest = BytesMut::from(&std::mem::take(&mut first)[MAGIC.len()..]);
            Box::pin(native::serve(server, stream, peer, rest)).await
        }
        Protocol::Classic => {
            let _open = metrics.connection("classic");
            Box::pin(classic::serve(server, stream, peer, first, room)).await
        }
        Protocol::Irc => {
            let _open = metrics.connection("irc");
            let first = BytesMut::from(&std::mem::take(&mut first)[..]);
            Box::pin(irc::serve(server, stream, peer, first)).await
        }
        Protocol::Http => {
            let first = BytesMut::from(&std::mem::take(&mut first)[..]);
            Box::pin(http::serve(server, stream, peer, first, entered)).await
        }
    }
}

/// HTTP's methods.
const METHODS: [&str; 10] =
    ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "QUERY ", "TRACE ", "CONNECT "];

/// What IRC clients begin with, in any case: irssi with a join of nothing. No command of a classic client is among them.
const IRC: [&str; 5] = ["CAP ", "NICK ", "USER ", "PASS ", "JOIN :"];

/// The longest of all these, and of the magic bytes.
const BEGINNING_MAX: usize = 8;

/// What a connection speaks that begins so; `None` if that is not clear yet.
fn recognize(beginning: &[u8]) -> Option<Protocol> {
    if beginning.starts_with(&MAGIC) {
        return Some(Protocol::Native);
    }
    let is_same = |word: &str, any_case: bool| {
        let length = word.len().min(beginning.len());
        let (word, begun) = (&word.as_bytes()[..length], &beginning[..length]);
        word == begun || any_case && word.eq_ignore_ascii_case(begun)
    };
    let words = METHODS.iter().map(|method| (*method, Protocol::Http));
    let words = words.chain(IRC.iter().map(|word| (*word, Protocol::Irc)));
    let mut may_become = MAGIC.starts_with(beginning);
    for (word, protocol) in words {
        if is_same(word, protocol == Protocol::Irc) {
            if word.len() <= beginning.len() {
                return Some(protocol);
            }
            may_become = true;
        }
    }
    (!may_become).then_some(Protocol::Classic)
}

/// Waits until it is clear what the connection speaks: the magic bytes, an HTTP method and a space, what IRC clients begin
/// with, or anything else.
async fn sniff(stream: &mut TcpStream, first: &mut BytesMut) -> io::Result<Protocol> {
    // Looked at without reading, where that tells: a large buffer for each connection, even if only for a moment, leaves
    // memory in pieces that are too small for the next.
    let mut beginning = [0; BEGINNING_MAX];
    let length = stream.peek(&mut beginning).await?;
    match recognize(&beginning[..length]) {
        Some(Protocol::Native) => {
            first.resize(MAGIC.len(), 0);
            stream.read_exact(first).await?;
            return Ok(Protocol::Native);
        }
        Some(protocol @ (Protocol::Http | Protocol::Irc)) => return Ok(protocol),
        _ => {}
    }
    loop {
        // As much as one read takes elsewhere: the first read decides how a classic client is understood.
        first.reserve(classic::READ_MAX);
        match stream.try_read_buf(first) {
            Ok(0) => return Ok(Protocol::Classic),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if let Some(protocol) = recognize(first) {
            return Ok(protocol);
        }
        *first = BytesMut::from(&first[..]);
        stream.readable().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_by_how_they_begin() {
        for (beginning, protocol) in [
            (&b""[..], None),
            (&MAGIC[..3], None),
            (&MAGIC, Some(Protocol::Native)),
            (b"\xcbXSR", Some(Protocol::Classic)),
            (b"GE", None),
            (b"GET", None),
            (b"GET ", Some(Protocol::Http)),
            (b"GET\n", Some(Protocol::Classic)),
            (b"OPTIONS ", Some(Protocol::Http)),
            (b"get ", Some(Protocol::Classic)),
            (b"./rooms", Some(Protocol::Classic)),
            (b"CA", None),
            (b"cap ", Some(Protocol::Irc)),
            (b"NICK Ann", Some(Protocol::Irc)),
            (b"User ", Some(Protocol::Irc)),
            (b"PASS ", Some(Protocol::Irc)),
            (b"PA", None),
            (b"JOIN", None),
            (b"JOIN :", Some(Protocol::Irc)),
            (b"JOIN x", Some(Protocol::Classic)),
            (b"NICK\n", Some(Protocol::Classic)),
        ] {
            assert_eq!(recognize(beginning), protocol, "{beginning:?}");
        }
        let longest = METHODS.iter().map(|method| method.len()).max();
        assert_eq!(longest, Some(BEGINNING_MAX));
        assert!(MAGIC.len() <= BEGINNING_MAX);
    }

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
