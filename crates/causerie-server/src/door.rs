//! Accepting connections, and telling by their first bytes what they speak.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causerie_core::wire::MAGIC;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::gateways::{classic, http, irc, native};
use crate::metrics::Limited;
use crate::net::addresses::Visitor;
use crate::net::budget::warn_seldom;
use crate::net::outbox;
use crate::rooms::hosted::HostedRoom;
use crate::{Protocol, Server};

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
/// Has the system end a connection whose other host has vanished without a word while it was idle: then its member's grace
/// begins. After two minutes; where something was on its way to it, [`Vanished`](crate::net::vanished::Vanished) does. The system's own
/// limit on that would also end connections of those who read slowly.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    Ok(())
}

/// How many connections there are.
#[derive(Default)]
pub(crate) struct Connections(AtomicUsize);

impl Connections {
    /// Counts one more, unless that is more than `max`.
    pub(crate) fn enter(&self, max: usize) -> bool {
        let more = |open| (open < max).then_some(open + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
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
                warn_seldom!("cannot accept connections: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (server, door) = (Arc::clone(&server), Arc::clone(&door));
        Arc::clone(&server).spawn(async move {
            let visitor = match Visitor::enter(&server, peer.ip()) {
                Ok(visitor) => visitor,
                Err(words) => return refuse(stream, peer, words).await,
            };
            if let Err(error) = converse(&server, stream, peer, &door, visitor).await {
                debug!("connection of {peer}: {error}");
            }
        });
    }
}

async fn refuse(mut stream: TcpStream, peer: SocketAddr, words: Option<&str>) {
    debug!("refused: {peer}");
    let Some(words) = words else { return };
    let line = format!("Error: {words}\n");
    // If this cannot be said, there is nothing else to say.
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(line.as_bytes())).await;
}

async fn converse(
    server: &Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    door: &Door,
    visitor: Visitor,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    watch_over(&stream)?;
    let stream = Arc::new(stream);
    server.vanished.watch(&stream);
    let mut first = BytesMut::new();
    let begun = {
        let max = server.settings().silent_max;
        let of_one = visitor.limits().map_or(0, |limits| limits.silent);
        let of_one = if of_one == 0 { usize::MAX } else { of_one };
        let (turn, was_full) = server.half_open.enter(visitor.network(), max, of_one);
        if was_full {
            visitor.limited(Limited::Silent);
        }
        // Apart: what it takes is free once that is known.
        let begin = Box::pin(begin(server, &stream, &mut first, door));
        tokio::select! {
            begun = turn.closed.run_until_cancelled(begin) => begun.transpose()?,
            () = server.stop.cancelled() => None,
        }
    };
    let protocol = match begun.flatten() {
        Some(Beginning::Speaks(protocol)) => protocol,
        Some(Beginning::Misdirected) => {
            debug!("closing the connection of {peer}, which speaks HTTP where it is not spoken");
            outbox::write_all(&stream, vec![Bytes::from_static(NO_HTTP)], None).await?;
            outbox::close(&stream).await;
            return Ok(());
        }
        Some(Beginning::Foreign) => {
            debug!("closing the connection of {peer}, which speaks what is not spoken here");
            return Ok(());
        }
        None => {
            debug!("closing the connection of {peer}, which has said nothing");
            return Ok(());
        }
    };
    // The original program's line, for those who use its client; a page alone opens several connections.
    if protocol != Protocol::Classic {
        debug!("{peer} speaks {protocol:?}");
    } else if let Some(left_out) = visitor.log() {
        info!("Connected to : {} : {}{left_out}", peer.ip(), peer.port());
    }
    let metrics = &server.writer.metrics;
    // Each apart: a connection takes what its own protocol needs. What was read may stay as long as the connection, so it
    // goes into a piece of its own size where the session reads into smaller ones.
    match protocol {
        Protocol::Native => {
            let _open = metrics.connection("native");
            let rest = BytesMut::from(&std::mem::take(&mut first)[MAGIC.len()..]);
            Box::pin(native::serve(server, stream, peer, &visitor, rest)).await
        }
        Protocol::Classic => {
            let _open = metrics.connection("classic");
            let room = if let Door::Room(room) = door { Some(Arc::clone(room)) } else { None };
            Box::pin(classic::serve(server, stream, peer, &visitor, first, room)).await
        }
        Protocol::Irc => {
            let _open = metrics.connection("irc");
            let first = BytesMut::from(&std::mem::take(&mut first)[..]);
            Box::pin(irc::serve(server, stream, peer, &visitor, first)).await
        }
        Protocol::Http => {
            let first = BytesMut::from(&std::mem::take(&mut first)[..]);
            Box::pin(http::serve(server, stream, peer, first, visitor)).await
        }
    }
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Beginning {
    Speaks(Protocol),
    /// HTTP on a port where it is not spoken. A web page can have any browser send it there, with lines of the page's own
    /// in it, so nothing of it may be taken for lines.
    Misdirected,
    /// Another protocol, such as TLS.
    Foreign,
}

/// The answer to [`Beginning::Misdirected`].
const NO_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 32\r\n\r\n\
    This port does not speak HTTP.\r\n";

/// Waits for the first words, and tells by them what is spoken. `None`: it has said nothing in time.
async fn begin(
    server: &Server,
    stream: &TcpStream,
    first: &mut BytesMut,
    door: &Door,
) -> io::Result<Option<Beginning>> {
    // Looked at, not only awaited: sockets are called readable sometimes when there is nothing to read.
    let silent_time = server.settings().silent_time;
    let Ok(peeked) = tokio::time::timeout(silent_time, stream.peek(&mut [0])).await else { return Ok(None) };
    if peeked? == 0 {
        return Ok(None);
    }
    let beginning = match door {
        // The first read decides how a classic client is understood, and is as long as it likes.
        Door::Room(_) => {
            let line = peek_line(stream).await?;
            recognize(&line).filter(|b| *b != Beginning::Speaks(Protocol::Irc)).unwrap_or(CLASSIC)
        }
        _ => {
            let deadline = tokio::time::Instant::now() + server.settings().first_words;
            let spoken = tokio::time::timeout_at(deadline, sniff(stream, first)).await;
            // What began like the others and did not go on is text like any other.
            spoken.unwrap_or(Ok(CLASSIC))?
        }
    };
    let line = match beginning {
        Beginning::Speaks(Protocol::Classic) if !first.is_empty() => &first[..],
        Beginning::Speaks(Protocol::Classic | Protocol::Irc) => &peek_line(stream).await?,
        _ => &[],
    };
    let beginning = if is_request(line) { Beginning::Speaks(Protocol::Http) } else { beginning };
    Ok(Some(match (beginning, door.protocol()) {
        (spoken, None) => spoken,
        (Beginning::Speaks(spoken), Some(own)) if spoken == own => beginning,
        // A port of its own takes all that is nothing else for its protocol.
        (CLASSIC, Some(own @ (Protocol::Irc | Protocol::Http))) => Beginning::Speaks(own),
        (Beginning::Speaks(Protocol::Irc), Some(Protocol::Classic)) => CLASSIC,
        (Beginning::Speaks(Protocol::Http), Some(_)) => Beginning::Misdirected,
        _ => Beginning::Foreign,
    }))
}

const CLASSIC: Beginning = Beginning::Speaks(Protocol::Classic);

impl Door {
    /// The one protocol that is spoken there.
    fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Front => None,
            Self::Own(protocol) => Some(*protocol),
            Self::Room(_) => Some(Protocol::Classic),
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

/// How a connection of TLS begins: a record of its handshake.
const TLS: [u8; 2] = [0x16, 0x03];

/// What a connection speaks that begins so; `None` if that is not clear yet.
fn recognize(beginning: &[u8]) -> Option<Beginning> {
    if beginning.starts_with(&MAGIC) {
        return Some(Beginning::Speaks(Protocol::Native));
    }
    if beginning.starts_with(&TLS) {
        return Some(Beginning::Foreign);
    }
    // An empty line may stand before a request [RFC 9112, 2.2].
    if let [b'\r' | b'\n', ..] = beginning {
        let line_ends = beginning.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let request = &beginning[line_ends..];
        return match METHODS
            .iter()
            .find(|method| method.as_bytes().starts_with(request) || request.starts_with(method.as_bytes()))
        {
            Some(method) if request.len() >= method.len() => Some(Beginning::Speaks(Protocol::Http)),
            Some(_) if !request.is_empty() => None,
            _ => Some(CLASSIC),
        };
    }
    let is_same = |word: &str, any_case: bool| {
        let length = word.len().min(beginning.len());
        let (word, begun) = (&word.as_bytes()[..length], &beginning[..length]);
        word == begun || any_case && word.eq_ignore_ascii_case(begun)
    };
    let words = METHODS.iter().map(|method| (*method, Protocol::Http));
    let words = words.chain(IRC.iter().map(|word| (*word, Protocol::Irc)));
    let mut may_become = MAGIC.starts_with(beginning) || TLS.starts_with(beginning);
    for (word, protocol) in words {
        if is_same(word, protocol == Protocol::Irc) {
            if word.len() <= beginning.len() {
                return Some(Beginning::Speaks(protocol));
            }
            may_become = true;
        }
    }
    (!may_become).then_some(CLASSIC)
}

/// Returns whether the first line is one of HTTP, with whatever method.
fn is_request(first: &[u8]) -> bool {
    let line = first.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let Some(space) = line.iter().rposition(|byte| *byte == b' ') else { return false };
    let (before, version) = (&line[..space], &line[space + 1..]);
    let number = version.get(..5).filter(|name| name.eq_ignore_ascii_case(b"HTTP/")).map(|_| &version[5..]);
    before.contains(&b' ')
        && number.is_some_and(|n| !n.is_empty() && n.iter().all(|b| b.is_ascii_digit() || *b == b'.'))
}

/// Bytes of a line that are looked at.
const LINE_MAX: usize = 1 << 10;

/// What has come, without reading it. A buffer of its own for a moment: a connection does not keep that much.
async fn peek_line(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut line = vec![0; LINE_MAX];
    let length = stream.peek(&mut line).await?;
    line.truncate(length);
    Ok(line)
}

/// Waits until it is clear what the connection speaks: the magic bytes, an HTTP method and a space, what IRC clients begin
/// with, or anything else.
async fn sniff(stream: &TcpStream, first: &mut BytesMut) -> io::Result<Beginning> {
    // Looked at without reading, where that tells: a large buffer for each connection, even if only for a moment, leaves
    // memory in pieces that are too small for the next.
    let mut beginning = [0; BEGINNING_MAX];
    let length = stream.peek(&mut beginning).await?;
    match recognize(&beginning[..length]) {
        Some(native @ Beginning::Speaks(Protocol::Native)) => {
            first.resize(MAGIC.len(), 0);
            // All of it is there.
            let read = stream.try_read(first)?;
            debug_assert_eq!(read, MAGIC.len());
            return Ok(native);
        }
        None | Some(CLASSIC) => {}
        Some(other) => return Ok(other),
    }
    loop {
        // As much as one read takes elsewhere: the first read decides how a classic client is understood.
        first.reserve(classic::READ_MAX);
        match stream.try_read_buf(first) {
            Ok(0) => return Ok(CLASSIC),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if let Some(spoken) = recognize(first) {
            return Ok(spoken);
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
            (b"\r\nGE", None),
            (b"\r\nGET ", Some(Protocol::Http)),
            (b"\r\n", Some(Protocol::Classic)),
            (b"\nAnn", Some(Protocol::Classic)),
            (b"NICK\n", Some(Protocol::Classic)),
        ] {
            assert_eq!(recognize(beginning), protocol.map(Beginning::Speaks), "{beginning:?}");
        }
        assert_eq!(recognize(b"\x16"), None);
        assert_eq!(recognize(b"\x16\x03\x01\x02\0\x01"), Some(Beginning::Foreign));
        let longest = METHODS.iter().map(|method| method.len()).max();
        assert_eq!(longest, Some(BEGINNING_MAX));
        assert!(MAGIC.len() <= BEGINNING_MAX);
    }

    #[test]
    fn a_first_line_of_http_is_one_with_any_method() {
        for line in [
            &b"get / http/1.1"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM",
            b"NICK /x HTTP/1.1\r\nHost: a\r\n",
            b"USER  HTTP/1.0\nx",
        ] {
            assert!(is_request(line), "{}", String::from_utf8_lossy(line));
        }
        for line in
            [&b""[..], b"Ann", b"./rooms\n", b"NICK Ann\r\nUSER x HTTP/1.1", b"about HTTP/1.1", b"a b HTTP/x"]
        {
            assert!(!is_request(line), "{}", String::from_utf8_lossy(line));
        }
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
