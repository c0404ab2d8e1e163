//! The PROXY protocol, versions 1 and 2 [HAProxy, proxy-protocol.txt]: who a proxy speaks for, before the visitor's own bytes.
//!
//! Strict: what the specification does not name is refused. The version is told by the first bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// Bytes of the longest line of version 1 [2.1].
pub const LINE_MAX: usize = 107;
/// Bytes of the longest header of version 2 that is taken. A guess: proxies tell of TLS and of names in a few hundred.
pub const HEADER_MAX: usize = 2 << 10;

const LINE_BEGINNING: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const FIXED: usize = 16;

/// Beginning of a connection, as far as it has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beginning {
    /// None of a PROXY header.
    Other,
    /// More bytes have to come, to tell or to end the header.
    Open {
        /// It cannot be anything but a header.
        is_header: bool,
    },
    /// A whole header, and perhaps what comes behind it.
    Header {
        /// The visitor; `None` where the proxy speaks for itself, or does not know.
        source: Option<SocketAddr>,
        /// Bytes of the header.
        length: usize,
    },
}

/// Error of a header that begins as one, and is none. The connection is worth nothing: who it is from is unknown.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum HeaderError {
    /// A line that is not one of version 1.
    #[error("a line of the PROXY protocol that is malformed")]
    Line,
    /// A line, or a header of version 2, that is longer than it may be.
    #[error("a header of the PROXY protocol that is too long")]
    TooLong,
    /// A version, a command or a kind of address that there is not.
    #[error("a header of the PROXY protocol of an unknown kind")]
    Unknown,
    /// Addresses or additions of version 2 that do not fit into its length.
    #[error("a header of the PROXY protocol whose parts do not fit into its length")]
    Length,
}

/// Reads the header with which a connection begins, if it does. Given more of the same bytes it says the same, or more.
///
/// # Errors
/// [`HeaderError`].
pub fn read(bytes: &[u8]) -> Result<Beginning, HeaderError> {
    let begins = |signature: &[u8]| {
        let length = signature.len().min(bytes.len());
        bytes[..length] == signature[..length]
    };
    match (begins(LINE_BEGINNING), begins(SIGNATURE)) {
        (true, _) if bytes.len() >= LINE_BEGINNING.len() => read_line(bytes),
        (_, true) if bytes.len() >= SIGNATURE.len() => read_binary(bytes),
        (false, false) => Ok(Beginning::Other),
        _ => Ok(Beginning::Open { is_header: false }),
    }
}

fn read_line(bytes: &[u8]) -> Result<Beginning, HeaderError> {
    let seen = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return match seen.len() < LINE_MAX {
            true => Ok(Beginning::Open { is_header: true }),
            false => Err(HeaderError::TooLong),
        };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(HeaderError::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| HeaderError::Line)?;
    let parts: Vec<&str> = line.split(' ').collect();
    let source = match parts[..] {
        // Whatever stands behind it.
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", source, destination, from, to] => {
            Some(read_parts::<Ipv4Addr>([source, destination], [from, to])?)
        }
        ["PROXY", "TCP6", source, destination, from, to] => {
            Some(read_parts::<Ipv6Addr>([source, destination], [from, to])?)
        }
        _ => return Err(HeaderError::Line),
    };
    Ok(Beginning::Header { source, length: end + 1 })
}

/// Reads source and destination, and returns the source.
fn read_parts<A: FromStr + Into<IpAddr>>(
    addresses: [&str; 2],
    ports: [&str; 2],
) -> Result<SocketAddr, HeaderError> {
    let address = |text: &str| text.parse::<A>().map(Into::into).map_err(|_| HeaderError::Line);
    // Digits alone, without zeros before them.
    let port = |text: &str| {
        let is_plain =
            text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u16>().ok().filter(|_| is_plain).ok_or(HeaderError::Line)
    };
    let [source, _] = [address(addresses[0])?, address(addresses[1])?];
    let [from, _] = [port(ports[0])?, port(ports[1])?];
    Ok(SocketAddr::new(source, from))
}

fn read_binary(bytes: &[u8]) -> Result<Beginning, HeaderError> {
    let open = Ok(Beginning::Open { is_header: true });
    let Some((&command, rest)) = bytes[SIGNATURE.len()..].split_first() else { return open };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Unknown),
    };
    let Some((&kind, rest)) = rest.split_first() else { return open };
    let Some((length, rest)) = rest.split_first_chunk::<2>() else { return open };
    let length = usize::from(u16::from_be_bytes(*length));
    if FIXED + length > HEADER_MAX {
        return Err(HeaderError::TooLong);
    }
    let Some(body) = rest.get(..length) else { return open };
    let length = FIXED + length;
    if is_local {
        // What stands in it is not looked at.
        return Ok(Beginning::Header { source: None, length });
    }
    let (source, additions) = match kind {
        0x00 => (None, &[][..]),
        0x11 => {
            let (addresses, additions) = body.split_first_chunk::<12>().ok_or(HeaderError::Length)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            (Some(SocketAddr::new([a, b, c, d].into(), u16::from_be_bytes([high, low]))), additions)
        }
        0x21 => {
            let (addresses, additions) = body.split_first_chunk::<36>().ok_or(HeaderError::Length)?;
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(HeaderError::Length)?;
            let port = u16::from_be_bytes([rest[16], rest[17]]);
            (Some(SocketAddr::new(IpAddr::from(*source), port)), additions)
        }
        // A socket of a machine's own: who is at its other end it cannot tell.
        0x31 => (None, body.get(216..).ok_or(HeaderError::Length)?),
        _ => return Err(HeaderError::Unknown),
    };
    check_additions(additions)?;
    Ok(Beginning::Header { source, length })
}

/// Checks that additions [2.2] fill their place: a kind, two bytes of length, and so many bytes each.
fn check_additions(mut bytes: &[u8]) -> Result<(), HeaderError> {
    while !bytes.is_empty() {
        let [_, high, low, rest @ ..] = bytes else { return Err(HeaderError::Length) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        bytes = rest.get(length..).ok_or(HeaderError::Length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(text: &str, length: usize) -> Result<Beginning, HeaderError> {
        Ok(Beginning::Header { source: Some(text.parse().unwrap()), length })
    }

    fn binary(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, kind], &length, body].concat()
    }

    const FOUR: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0x1f, 0x90, 0, 80];

    #[test]
    fn lines_are_read_strictly() {
        let line = "PROXY TCP4 192.0.2.1 198.51.100.1 8080 80\r\n";
        assert_eq!(read(line.as_bytes()), source("192.0.2.1:8080", line.len()));
        assert_eq!(read(format!("{line}GET / HTTP/1.1").as_bytes()), source("192.0.2.1:8080", line.len()));
        let line = "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n";
        assert_eq!(read(line.as_bytes()), source("[2001:db8::1]:0", line.len()));
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ::1 1 2 3\r\n"] {
            let length = line.len();
            assert_eq!(read(line.as_bytes()), Ok(Beginning::Header { source: None, length }), "{line}");
        }
        for line in [
            "PROXY \r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
            "PROXY TCP4 192.0.2.001 192.0.2.2 1 2\r\n",
            "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Err(HeaderError::Line), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 16));
        assert_eq!(long.len(), LINE_MAX);
        assert_eq!(read(long.as_bytes()), Ok(Beginning::Header { source: None, length: LINE_MAX }));
        let longer = long.replace("x\r", "xx\r");
        assert_eq!(read(longer.as_bytes()), Err(HeaderError::TooLong));
    }

    #[test]
    fn binary_headers_are_read_strictly() {
        let four = binary(0x21, 0x11, FOUR);
        assert_eq!(read(&four), source("192.0.2.1:8080", 28));
        let six = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], &[0, 7, 0, 8]].concat();
        assert_eq!(read(&binary(0x21, 0x21, &six)), source("[::1]:7", 52));
        // With the name that was asked for, and padding.
        let more = [FOUR, &[2, 0, 1, b'a', 4, 0, 0]].concat();
        assert_eq!(read(&binary(0x21, 0x11, &more)), source("192.0.2.1:8080", 35));
        for own in [
            binary(0x20, 0x11, FOUR),
            binary(0x20, 0, &[1]),
            binary(0x21, 0, &[1]),
            binary(0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(read(&own), Ok(Beginning::Header { source: None, length: own.len() }));
        }
        for (bytes, expected) in [
            (binary(0x11, 0x11, FOUR), HeaderError::Unknown),
            (binary(0x22, 0x11, FOUR), HeaderError::Unknown),
            (binary(0x21, 0x12, FOUR), HeaderError::Unknown),
            (binary(0x21, 0x13, FOUR), HeaderError::Unknown),
            (binary(0x21, 0x41, FOUR), HeaderError::Unknown),
            (binary(0x21, 0x21, FOUR), HeaderError::Length),
            (binary(0x21, 0x11, &FOUR[1..]), HeaderError::Length),
            (binary(0x21, 0x11, &[FOUR, &[2, 0]].concat()), HeaderError::Length),
            (binary(0x21, 0x11, &[FOUR, &[2, 0, 2, 0]].concat()), HeaderError::Length),
            (binary(0x21, 0x31, &[0; 215]), HeaderError::Length),
            (binary(0x20, 0, &[0; HEADER_MAX - FIXED + 1]), HeaderError::TooLong),
        ] {
            assert_eq!(read(&bytes), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_clear_yet_waits_for_more() {
        for (bytes, expected) in [
            (&b""[..], Beginning::Open { is_header: false }),
            (b"PROXY", Beginning::Open { is_header: false }),
            (b"PROXY ", Beginning::Open { is_header: true }),
            (b"PROPFIND", Beginning::Other),
            (b"proxy ", Beginning::Other),
            (b"\r\n", Beginning::Open { is_header: false }),
            (b"\r\nGET /", Beginning::Other),
            (SIGNATURE, Beginning::Open { is_header: true }),
            (b"GET / HTTP/1.1\r\n", Beginning::Other),
        ] {
            assert_eq!(read(bytes), Ok(expected), "{bytes:?}");
        }
    }

    fn beginnings() -> impl Strategy<Value = Vec<u8>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            bytes(),
            "PROXY (TCP4|TCP6|UNKNOWN)( [0-9a-f.:]{0,12}){0,5}\r?\n?.{0,20}".prop_map(String::into_bytes),
            (0x1f..0x23u8, 0..0x33u8, bytes()).prop_map(|(command, kind, body)| binary(command, kind, &body)),
        ]
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_what_was_said(bytes in beginnings(), cut in any::<prop::sample::Index>()) {
            let part = &bytes[..cut.index(bytes.len() + 1)];
            match read(part) {
                Ok(Beginning::Open { is_header: true }) => prop_assert_ne!(read(&bytes), Ok(Beginning::Other)),
                Ok(Beginning::Open { is_header: false }) => {}
                said => prop_assert_eq!(said, read(&bytes)),
            }
        }
    }
}
