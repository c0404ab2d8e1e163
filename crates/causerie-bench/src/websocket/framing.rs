//! WebSockets themselves, from the client's side: the handshake and the frames [RFC 6455].

use std::net::SocketAddr;

use crate::speaker::SpeakError;

/// The example of RFC 6455, section 1.3: its answer is known, so the handshake is checked without computing
/// SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Bytes of the server's answer to the handshake.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;
/// No server sends a longer frame: a record of causerie's has one text, written with escapes.
const FRAME_BYTES_MAX: u64 = 16 << 20;
/// Opcode of a frame that goes on with a message [RFC 6455, section 5.2].
pub const CONTINUATION: u8 = 0;
/// Opcode of a message in UTF-8.
pub const TEXT: u8 = 1;
/// Opcode of a message in bytes.
pub const BINARY: u8 = 2;
/// Opcode of the last frame of a connection.
pub const CLOSE: u8 = 8;
/// Opcode of a frame that must be answered.
pub const PING: u8 = 9;
/// Opcode of the answer to it.
pub const PONG: u8 = 10;
/// Bit of the first byte: this frame is the last of its message.
pub const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// First byte of a frame, its payload, and how long it is in all.
pub type Frame<'a> = (u8, &'a [u8], usize);

/// Draws a mask for all frames of a connection: masks protect proxies from what strangers make a browser say,
/// and here are none.
#[must_use]
pub fn mask() -> [u8; 4] {
    let mut mask = [0; 4];
    getrandom::fill(&mut mask).expect("the operating system gives random bytes");
    mask
}

/// Appends the client's part of the handshake.
pub fn put_request(out: &mut Vec<u8>, host: SocketAddr, path: &str, subprotocol: Option<&str>) {
    let subprotocol =
        subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n{subprotocol}Sec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    out.extend_from_slice(request.as_bytes());
}

/// Reads the answer to the handshake, up to the empty line. Returns how long it is, once it is all there.
///
/// # Errors
/// If the server refuses, or answers something else.
pub fn read_answer(input: &[u8]) -> Result<Option<usize>, SpeakError> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
        return match input.len() {
            ..=HEAD_BYTES_MAX => Ok(None),
            _ => Err(SpeakError::broken("an answer to the handshake without an end")),
        };
    };
    let head = String::from_utf8_lossy(&input[..end]);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(SpeakError::Refused { message: status.to_owned() });
    }
    let accept = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-accept").then(|| value.trim())
    });
    if accept != Some(ACCEPT) {
        return Err(SpeakError::broken("it answers another handshake"));
    }
    Ok(Some(end + 4))
}

/// Splits off one frame of the server's. `None`: it is not all there.
///
/// # Errors
/// If no server may send such a frame.
#[inline]
pub fn split_frame(input: &[u8]) -> Result<Option<Frame<'_>>, SpeakError> {
    let &[first, length, ref rest @ ..] = input else { return Ok(None) };
    if length & MASKED != 0 {
        return Err(SpeakError::broken("a masked frame"));
    }
    let (wide, length) = match length {
        126 => (2, rest.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes)))),
        127 => (8, rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))),
        short => (0, Some(u64::from(short))),
    };
    let Some(length) = length else { return Ok(None) };
    if length > FRAME_BYTES_MAX {
        return Err(SpeakError::broken(format!("a frame of {length} bytes")));
    }
    let length = length as usize;
    Ok(rest.get(wide..wide + length).map(|payload| (first, payload, 2 + wide + length)))
}

/// Appends one frame of the client's, the only one of its message.
pub fn put_frame(out: &mut Vec<u8>, mask: [u8; 4], opcode: u8, payload: &[u8]) {
    out.push(FIN | opcode);
    match payload.len() {
        short @ 0..126 => out.push(MASKED | short as u8),
        medium @ 126..0x1_0000 => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
