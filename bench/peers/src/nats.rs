//! The NATS client protocol, as little of it as a load needs: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use causerie_bench::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

use crate::lines::{find_line, number};

/// NATS without persistence: a room is a subject.
#[derive(Debug)]
pub(crate) struct Nats;

impl LoadProtocol for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn echoes(&self) -> bool {
        true
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        Box::new(NatsClient { room: seat.room, is_ready: false })
    }
}

struct NatsClient {
    room: String,
    is_ready: bool,
}

impl LoadSpeaker for NatsClient {
    fn greet(&mut self, out: &mut Vec<u8>) {
        let options = r#"{"verbose":false,"pedantic":false,"echo":true,"lang":"rust","version":"0"}"#;
        out.extend_from_slice(format!("CONNECT {options}\r\nSUB {} 1\r\nPING\r\n", self.room).as_bytes());
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, SpeakError> {
        let mut at = 0;
        while let Some(line) = find_line(&input[at..]) {
            let behind = at + line.len() + 2;
            match line {
                [b'M', b'S', b'G', b' ', ..] => {
                    // The length is the last word: MSG <subject> <sid> [reply-to] <#bytes>
                    let length = line.rsplit(|byte| *byte == b' ').next().and_then(number);
                    let length = length.ok_or_else(|| SpeakError::broken("a MSG without a length"))?;
                    let Some(payload) = input.get(behind..behind + length + 2) else { return Ok(at) };
                    deliver(&payload[..length]);
                    at = behind + length + 2;
                    continue;
                }
                b"PING" => out.extend_from_slice(b"PONG\r\n"),
                b"PONG" => self.is_ready = true,
                [b'-', ..] => {
                    return Err(SpeakError::Refused { message: String::from_utf8_lossy(line).into_owned() });
                }
                _ => {}
            }
            at = behind;
        }
        Ok(at)
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("PUB {} {}\r\n", self.room, text.len()).as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_wherever_the_stream_is_cut() {
        let input = b"INFO {}\r\nPONG\r\nMSG r 1 4\r\nab\r\n\r\nPING\r\nMSG r 1 2\r\nhi\r\n";
        for cut in 0..input.len() {
            let mut client = NatsClient { room: "r".into(), is_ready: false };
            let (mut texts, mut out) = (Vec::new(), Vec::new());
            let used = client.read(&input[..cut], &mut out, &mut |text| texts.push(text.to_vec())).unwrap();
            let rest = client.read(&input[used..], &mut out, &mut |text| texts.push(text.to_vec())).unwrap();
            assert_eq!(used + rest, input.len());
            assert_eq!(texts, [&b"ab\r\n"[..], b"hi"]);
            assert_eq!(out, b"PONG\r\n");
            assert!(client.is_ready());
        }
    }
}
