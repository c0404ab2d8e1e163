//! Recognition of protocols by how connections begin.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use causerie_core::wire::MAGIC;
use tokio::time::Instant;

use crate::gateways::FIRST_READ_MAX;
use crate::net::stream::Stream;
use crate::settings::Protocol;

/// Beginning of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Beginning {
    Speaks(Protocol),
    /// HTTP on a port where it is not spoken. A web page can have any browser send it there, with lines of the page's own
    /// in it, so nothing of it may be taken for lines.
    Misdirected,
    /// A handshake of TLS.
    Encrypted,
    /// Another protocol than the port's.
    Foreign,
}

/// The answer to [`Beginning::Misdirected`].
pub(super) const NO_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 32\r\n\r\n\
    This port does not speak HTTP.\r\n";

/// Languages that a port takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Takes {
    /// All protocols.
    All,
    /// One of them.
    Only(Protocol),
    /// Lines, without sniffing: the first read decides how a classic client is understood, and is as long as it likes.
    Lines,
}

impl Takes {
    /// Returns the one protocol that is spoken there.
    fn protocol(self) -> Option<Protocol> {
        match self {
            Self::All => None,
            Self::Only(protocol) => Some(protocol),
            Self::Lines => Some(Protocol::Classic),
        }
    }
}

/// Times that a beginning may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Time until the first byte.
    pub(super) silent: Duration,
    /// Time from there until it is clear what is spoken.
    pub(super) first_words: Duration,
}

/// Waits for the first words, and tells by them what is spoken; `None` if nothing was said in time.
pub(super) async fn begin(
    stream: &Stream,
    first: &mut BytesMut,
    takes: Takes,
    patience: impl Fn() -> Patience,
) -> io::Result<Option<Beginning>> {
    if first.is_empty() && !says_something(stream, patience().silent).await? {
        return Ok(None);
    }
    let beginning = match takes {
        Takes::Lines => {
            let line = peek_line(stream, first).await?;
            recognize(&line).filter(|b| *b != Beginning::Speaks(Protocol::Irc)).unwrap_or(CLASSIC)
        }
        _ => {
            let deadline = Instant::now() + patience().first_words;
            let spoken = tokio::time::timeout_at(deadline, sniff(stream, first)).await;
            // What began like the others and did not go on is text like any other.
            spoken.unwrap_or(Ok(CLASSIC))?
        }
    };
    let line = match beginning {
        Beginning::Speaks(Protocol::Classic) if !first.is_empty() => &first[..],
        Beginning::Speaks(Protocol::Classic | Protocol::Irc) => &peek_line(stream, first).await?,
        _ => &[],
    };
    let beginning = if is_request(line) { Beginning::Speaks(Protocol::Http) } else { beginning };
    Ok(Some(match (beginning, takes.protocol()) {
        (spoken, None) => spoken,
        (Beginning::Speaks(spoken), Some(own)) if spoken == own => beginning,
        // A port of its own takes all that is nothing else for its protocol.
        (CLASSIC, Some(own @ (Protocol::Irc | Protocol::Http))) => Beginning::Speaks(own),
        (Beginning::Speaks(Protocol::Irc), Some(Protocol::Classic)) => CLASSIC,
        (Beginning::Speaks(Protocol::Http), Some(_)) => Beginning::Misdirected,
        (Beginning::Encrypted, _) => Beginning::Encrypted,
        _ => Beginning::Foreign,
    }))
}

const CLASSIC: Beginning = Beginning::Speaks(Protocol::Classic);

/// HTTP's methods.
const METHODS: [&str; 10] =
    ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "QUERY ", "TRACE ", "CONNECT "];

/// Beginnings of IRC clients, in any case: irssi with a join of nothing. No command of a classic client is among them.
const IRC: [&str; 5] = ["CAP ", "NICK ", "USER ", "PASS ", "JOIN :"];

/// The longest of all these, and of the magic bytes.
const BEGINNING_MAX: usize = 8;

/// Beginning of a connection of TLS: a record of its handshake.
const TLS: [u8; 2] = [0x16, 0x03];

/// Returns what a connection speaks that begins so; `None` if that is not clear yet.
fn recognize(beginning: &[u8]) -> Option<Beginning> {
    if beginning.starts_with(&MAGIC) {
        return Some(Beginning::Speaks(Protocol::Native));
    }
    if beginning.starts_with(&TLS) {
        return Some(Beginning::Encrypted);
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

/// Waits for the first byte. Returns whether there is one in time.
pub(super) async fn says_something(stream: &Stream, time: Duration) -> io::Result<bool> {
    // Looked at, not only awaited: sockets are called readable sometimes when there is nothing to read.
    match tokio::time::timeout(time, stream.peek(&mut [0])).await {
        Ok(peeked) => Ok(peeked? > 0),
        Err(_) => Ok(false),
    }
}

/// Returns what has come, without reading it. A buffer of its own for a moment: a connection does not keep that much.
async fn peek_line(stream: &Stream, first: &[u8]) -> io::Result<Vec<u8>> {
    if !first.is_empty() {
        return Ok(first[..first.len().min(LINE_MAX)].to_vec());
    }
    let mut line = vec![0; LINE_MAX];
    let length = stream.peek(&mut line).await?;
    line.truncate(length);
    Ok(line)
}

/// Waits until it is clear what the connection speaks: the magic bytes, an HTTP method and a space, what IRC clients begin
/// with, or anything else.
async fn sniff(stream: &Stream, first: &mut BytesMut) -> io::Result<Beginning> {
    // Something came with a PROXY header.
    if let Some(spoken) = recognize(first).filter(|_| !first.is_empty()) {
        return Ok(spoken);
    }
    // Looked at without reading, where that tells: a large buffer for each connection, even if only for a moment, leaves
    // memory in pieces that are too small for the next.
    let mut beginning = [0; BEGINNING_MAX];
    let length = if first.is_empty() { stream.peek(&mut beginning).await? } else { 0 };
    match recognize(&beginning[..length]) {
        Some(native @ Beginning::Speaks(Protocol::Native)) => {
            first.resize(MAGIC.len(), 0);
            // All of it is there, and nothing was read before.
            let read = stream.try_read(first)?;
            debug_assert_eq!(read, MAGIC.len());
            return Ok(native);
        }
        None | Some(CLASSIC) => {}
        Some(other) => return Ok(other),
    }
    loop {
        // As much as one read takes elsewhere: the first read decides how a classic client is understood.
        first.reserve(FIRST_READ_MAX);
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
        assert_eq!(recognize(b"\x16\x03\x01\x02\0\x01"), Some(Beginning::Encrypted));
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
}
