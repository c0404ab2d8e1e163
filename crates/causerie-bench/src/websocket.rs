//! The JSON API over WebSockets (`docs/api.md`), as little of it as a load needs.
//!
//! What a server sends is not masked, so events are read where they lie. The message that nearly all of them are is
//! told by its beginning and its end; everything else goes through a JSON parser.

pub mod framing;

use std::net::SocketAddr;

use serde_json::Value;

use self::framing::{CLOSE, FIN, PING, PONG, TEXT, put_frame, put_request, read_answer, split_frame};
use crate::native;
use crate::socket::LoadServer;
use crate::speaker::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

/// Start of a message of the log, as the server writes it, up to its position.
const MESSAGE: &[u8] = br#"{"type":"message","position":"#;
const BEFORE_TEXT: &[u8] = br#","kind":"text","text":""#;
const BEHIND_TEXT: &[u8] = br#""}"#;
/// Start of the server's word that something which was said is stored.
const ACK: &[u8] = br#"{"type":"ack","#;

/// Causerie's JSON API over WebSockets.
#[derive(Clone, Copy, Debug)]
pub struct WebSocket {
    server: LoadServer,
}

impl WebSocket {
    /// Speaks to this server.
    #[must_use]
    pub fn new(server: impl Into<LoadServer>) -> Self {
        Self { server: server.into() }
    }
}

impl LoadProtocol for WebSocket {
    fn name(&self) -> &'static str {
        "websocket"
    }

    fn echoes(&self) -> bool {
        true
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        Box::new(WebSocketMember {
            seat,
            server: self.server.address,
            state: WebSocketStage::Upgrading,
            mask: framing::mask(),
            said: 0,
            position: None,
        })
    }

    /// A WebSocket is opened in a room that exists.
    fn open(&self, rooms: &[String]) -> Result<(), SpeakError> {
        native::create_rooms(self.server, rooms)
    }

    fn close(&self, rooms: &[String]) {
        // The server may be gone; then so are the rooms.
        let _ = native::close_rooms(self.server, rooms);
    }
}

#[derive(Debug, Eq, PartialEq)]
enum WebSocketStage {
    Upgrading,
    Joining,
    In,
}

struct WebSocketMember {
    seat: SpeakerSeat,
    server: SocketAddr,
    state: WebSocketStage,
    /// One for all frames: it protects proxies from what strangers make a browser say, and here are none.
    mask: [u8; 4],
    /// Number of messages that it has said.
    said: u64,
    /// The last position that came.
    position: Option<u64>,
}

impl WebSocketMember {
    fn write_frame(&self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        put_frame(out, self.mask, opcode, payload);
    }

    /// The answer to the handshake, and joining. How long it is, once it is all there.
    fn upgrade(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, SpeakError> {
        let Some(length) = read_answer(input)? else { return Ok(None) };
        let join = format!(r#"{{"type":"join","name":"{}"}}"#, self.seat.name);
        self.write_frame(TEXT, join.as_bytes(), out);
        self.state = WebSocketStage::Joining;
        Ok(Some(length))
    }

    /// The record behind the last one.
    fn placed(&mut self, position: u64) -> Result<(), SpeakError> {
        match self.position.replace(position) {
            Some(last) if position != last + 1 => {
                Err(SpeakError::broken(format!("position {position} behind {last}")))
            }
            _ => Ok(()),
        }
    }

    /// A message that says a text as long as those of the load: that text, and the position.
    fn quick<'a>(&self, event: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let rest = event.strip_prefix(MESSAGE)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let position = rest[..digits]
            .iter()
            .fold(0u64, |n, digit| n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
        let start = rest.len().checked_sub(self.seat.text_bytes + BEHIND_TEXT.len())?;
        let text = rest[start..].strip_suffix(BEHIND_TEXT)?;
        // One with an escape in it is none of ours, and may be one that ends here by chance.
        (rest[..start].ends_with(BEFORE_TEXT) && !text.contains(&b'\\')).then_some((position, text))
    }

    /// Any other event.
    #[cold]
    fn event(&mut self, event: &[u8], deliver: &mut dyn FnMut(&[u8])) -> Result<(), SpeakError> {
        let event: Value =
            serde_json::from_slice(event).map_err(|error| SpeakError::broken(error.to_string()))?;
        let field = |name| event.get(name).and_then(Value::as_str).unwrap_or_default();
        match (field("type"), &self.state) {
            ("welcome", WebSocketStage::Joining) => self.state = WebSocketStage::In,
            ("message" | "joined" | "left", WebSocketStage::In) => {
                let position = event.get("position").and_then(Value::as_u64);
                self.placed(position.ok_or_else(|| SpeakError::broken("a record without a position"))?)?;
                if field("kind") == "text" && field("text").len() == self.seat.text_bytes {
                    deliver(field("text").as_bytes());
                }
            }
            ("error", _) => return Err(SpeakError::Refused { message: field("message").to_owned() }),
            ("ack" | "members" | "held" | "released" | "pong", WebSocketStage::In) => {}
            (kind, _) => return Err(SpeakError::broken(format!("an unexpected event '{kind}'"))),
        }
        Ok(())
    }
}

impl LoadSpeaker for WebSocketMember {
    fn greet(&mut self, out: &mut Vec<u8>) {
        put_request(out, self.server, &format!("/api/rooms/{}/ws", self.seat.room), None);
    }

    fn is_ready(&self) -> bool {
        self.state == WebSocketStage::In
    }

    fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, SpeakError> {
        let mut at = 0;
        if self.state == WebSocketStage::Upgrading {
            match self.upgrade(input, out)? {
                Some(length) => at = length,
                None => return Ok(0),
            }
        }
        while let Some((first, payload, length)) = split_frame(&input[at..])? {
            at += length;
            match first ^ FIN {
                TEXT => match self.quick(payload) {
                    Some((position, text)) => {
                        self.placed(position)?;
                        deliver(text);
                    }
                    None if self.state == WebSocketStage::In && payload.starts_with(ACK) => {}
                    None => self.event(payload, deliver)?,
                },
                PING => self.write_frame(PONG, payload, out),
                PONG => {}
                CLOSE => return Err(SpeakError::Refused { message: "it closes the WebSocket".into() }),
                _ => return Err(SpeakError::broken(format!("a frame that begins with {first:#x}"))),
            }
        }
        Ok(at)
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.said += 1;
        let text = std::str::from_utf8(text).expect("the load's texts are ASCII, without what JSON escapes");
        let say = format!(r#"{{"type":"say","id":"{}","text":"{text}"}}"#, self.said);
        self.write_frame(TEXT, say.as_bytes(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::framing::HEAD_BYTES_MAX;
    use super::*;

    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    const WELCOME: &str = r#"{"type":"welcome","room":"r","epoch":"7","member":"0.1","token":"0.1.00","position":1,"members":[]}"#;

    fn frame(first: u8, payload: &str) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(short as u8),
            medium => out.extend([126, (medium >> 8) as u8, medium as u8]),
        }
        out.extend_from_slice(payload.as_bytes());
        out
    }

    fn event(payload: &str) -> Vec<u8> {
        frame(FIN | TEXT, payload)
    }

    fn message(position: u64, text: &str) -> Vec<u8> {
        let head = format!(r#"{{"type":"message","position":{position},"id":"0.2#1","deps":["0.0#3"]"#);
        event(&format!(
            r#"{head},"time":"2026-11-23T06:41:12.881Z","member":"0.2","author":"m1","kind":"text","text":"{text}"}}"#
        ))
    }

    fn member() -> WebSocketMember {
        let seat = SpeakerSeat { room: "r".into(), name: "m0".into(), talks: true, text_bytes: 4 };
        let server = SocketAddr::from(([127, 0, 0, 1], 12343));
        WebSocketMember {
            seat,
            server,
            state: WebSocketStage::Upgrading,
            mask: [1, 2, 3, 4],
            said: 0,
            position: None,
        }
    }

    fn read(member: &mut WebSocketMember, input: &[u8]) -> Result<(usize, Vec<u8>, Vec<String>), SpeakError> {
        let (mut out, mut texts) = (Vec::new(), Vec::new());
        let used = member.read(input, &mut out, &mut |text| {
            texts.push(String::from_utf8(text.to_vec()).expect("text"));
        })?;
        Ok((used, out, texts))
    }

    #[test]
    fn events_are_read_wherever_the_stream_is_cut() {
        // The fields in another order are the same message.
        let turned = r#"{"position":6,"kind":"text","text":"mnop","type":"message"}"#;
        let input = [
            ANSWER.as_bytes().to_vec(),
            event(WELCOME),
            event(r#"{"type":"joined","position":2,"id":"0.0#2","author":"m0"}"#),
            message(3, "abcd"),
            event(r#"{"type":"ack","id":"1","message":"0.1#1","position":3}"#),
            frame(FIN | PING, "hi"),
            message(4, "no"),
            message(5, "efgh"),
            event(turned),
        ]
        .concat();
        for cut in 0..=input.len() {
            let mut member = member();
            let (used, mut out, mut texts) = read(&mut member, &input[..cut]).unwrap();
            let (rest, more_out, more_texts) = read(&mut member, &input[used..]).unwrap();
            out.extend(more_out);
            texts.extend(more_texts);
            assert_eq!(
                (used + rest, texts),
                (input.len(), ["abcd", "efgh", "mnop"].map(str::to_owned).into())
            );
            assert!(member.is_ready());
            let join = br#"{"type":"join","name":"m0"}"#;
            assert_eq!(out[..6], [0x81, 0x80 | join.len() as u8, 1, 2, 3, 4]);
            let unmasked: Vec<_> =
                out[6..6 + join.len()].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(b, m)| b ^ m).collect();
            assert_eq!(unmasked, join);
            assert_eq!(out[6 + join.len()..], [0x8a, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2], "a pong");
        }
    }

    #[test]
    fn a_text_that_looks_like_ours_from_behind_is_not_delivered() {
        let mut member = member();
        member.state = WebSocketStage::In;
        // `x\nyz` is written with an escape and has four characters; `ab\u0001`, as written, ends with four of ours.
        let input = [message(1, r"x\nyz"), message(2, r"\\nyz"), message(3, r"abcdefgh")].concat();
        assert_eq!(read(&mut member, &input).unwrap().2, ["x\nyz", "\\nyz"]);
    }

    #[test]
    fn what_a_server_must_not_do_is_noticed() {
        let inside = |input: &[u8]| {
            let mut member = member();
            member.state = WebSocketStage::In;
            read(&mut member, input).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(inside(&[message(3, "abcd"), message(4, "efgh")].concat()), Ok(()));
        let failing: [(Vec<u8>, &str); 9] = [
            ([message(3, "abcd"), message(5, "efgh")].concat(), "position 5 behind 3"),
            ([message(3, "abcd"), message(3, "abcd")].concat(), "position 3 behind 3"),
            (event(r#"{"type":"gap","from":3,"to":4,"why":"removed"}"#), "an unexpected event 'gap'"),
            (event(r#"{"type":"message"}"#), "without a position"),
            (event(r#"{"type":"error","code":"expired","message":"the member has left"}"#), "has left"),
            (event("{"), "EOF"),
            (frame(FIN | CLOSE, ""), "closes the WebSocket"),
            (frame(TEXT, "half"), "begins with 0x1"),
            (vec![FIN | TEXT, 127, 0, 0, 1, 0, 0, 0, 0, 0], "a frame of 1099511627776 bytes"),
        ];
        for (input, why) in failing {
            let error = inside(&input).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
        for (answer, why) in [
            ("HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found"),
            ("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: no\r\n\r\n", "another handshake"),
        ] {
            let error = read(&mut member(), answer.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
        assert!(read(&mut member(), &[b'x'; HEAD_BYTES_MAX + 1]).is_err(), "a head that never ends");
    }

    #[test]
    fn long_frames_have_their_length_in_more_bytes() {
        let member = member();
        for (length, head) in
            [(125, vec![0x81, 0xfd]), (126, vec![0x81, 0xfe, 0, 126]), (65_535, vec![0x81, 0xfe, 0xff, 0xff])]
        {
            let mut out = Vec::new();
            member.write_frame(TEXT, &vec![b'x'; length], &mut out);
            assert_eq!(out[..head.len()], head);
            assert_eq!(out.len(), head.len() + 4 + length);
        }
        let mut out = Vec::new();
        member.write_frame(TEXT, &[b'x'; 65_536], &mut out);
        assert_eq!(out[..10], [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
