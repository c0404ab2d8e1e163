//! What a proxy says of a visitor: PROXY headers of both versions, wherever they are cut, and headers of HTTP, in which only what
//! the nearest proxy has appended counts.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use arbitrary::Arbitrary;
use causerie_gateway::proxy::forwarded::ForwardingHeaders;
use causerie_gateway::proxy::header::{self, Beginning, HEADER_MAX, LINE_MAX};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// What the bytes stand behind.
    form: Form,
    bytes: &'a [u8],
    /// A visitor, which is written down and read again.
    visitor: IpAddr,
    port: u16,
    forwarded: Vec<&'a [u8]>,
    forwarded_for: Vec<&'a [u8]>,
    forwarded_proto: Vec<&'a [u8]>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Form {
    Nothing,
    Line,
    Binary { command: u8, kind: u8, length: u16 },
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of either version for this visitor.
fn written(source: SocketAddr) -> [Vec<u8>; 2] {
    let port = source.port();
    let [high, low] = port.to_be_bytes();
    let (line, kind, octets) = match source.ip() {
        IpAddr::V4(ip) => (format!("PROXY TCP4 {ip} 192.0.2.1 {port} 1\r\n"), 0x11, ip.octets().to_vec()),
        IpAddr::V6(ip) => (format!("PROXY TCP6 {ip} 2001:db8::1 {port} 1\r\n"), 0x21, ip.octets().to_vec()),
    };
    let addresses = [&octets[..], &octets, &[high, low, 0, 1]].concat();
    let head = [0x21, kind, 0, addresses.len() as u8];
    [line.into_bytes(), [SIGNATURE, &head, &addresses].concat()]
}

fuzz_target!(|input: Input<'_>| {
    let bytes = match input.form {
        Form::Nothing => input.bytes.to_vec(),
        Form::Line => [b"PROXY ", input.bytes].concat(),
        Form::Binary { command, kind, length } => {
            let length = length.to_be_bytes();
            [SIGNATURE, &[command, kind], &length, input.bytes].concat()
        }
    };
    let whole = header::read(&bytes);
    for cut in 0..bytes.len() {
        match header::read(&bytes[..cut]) {
            Ok(Beginning::Open { is_header: true }) => assert_ne!(whole, Ok(Beginning::Other)),
            Ok(Beginning::Open { is_header: false }) => assert!(cut < SIGNATURE.len()),
            said => assert_eq!(said, whole, "more bytes change what was said"),
        }
    }
    match whole {
        Ok(Beginning::Header { length, .. }) => {
            let max = if bytes[0] == b'P' { LINE_MAX } else { HEADER_MAX };
            assert!(length <= max && length <= bytes.len());
        }
        Ok(Beginning::Open { .. }) => assert!(bytes.len() < HEADER_MAX),
        _ => {}
    }
    let source = SocketAddr::new(input.visitor, input.port);
    for mut header in written(source) {
        let length = header.len();
        header.extend(input.bytes);
        assert_eq!(header::read(&header), Ok(Beginning::Header { source: Some(source), length }));
    }

    let Input { forwarded, forwarded_for, forwarded_proto, .. } = input;
    let headers = ForwardingHeaders { forwarded, forwarded_for, forwarded_proto };
    // Nothing panics, whoever is a proxy.
    let _ = headers.read(|_| true);
    let _ = headers.read(|address| address.is_ipv6());
    let nearest = input.visitor.to_canonical();
    let text = nearest.to_string();
    let mut told = headers.clone();
    told.forwarded_for.push(text.as_bytes());
    if let Ok(visitor) = told.read(|_| false) {
        assert_eq!(visitor.address, Some(nearest));
    }
    let text = if nearest.is_ipv6() { format!("for=\"[{nearest}]\"") } else { format!("for={nearest}") };
    let mut told = headers;
    told.forwarded.push(text.as_bytes());
    if let Ok(visitor) = told.read(|_| false) {
        assert_eq!(visitor.address, Some(nearest));
    }
});
