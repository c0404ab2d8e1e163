//! nchan, the channels of nginx: whoever has a WebSocket to `/CHANNEL` is sent, as they are, the text
//! messages that each of them sends: <https://nchan.io/>.

use std::net::SocketAddr;

use causerie_bench::websocket::framing::{
    self, CLOSE, FIN, PING, PONG, TEXT, put_frame, put_request, read_answer, split_frame,
};
use causerie_bench::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

/// nchan: a room is a channel.
#[derive(Debug)]
pub(crate) struct Nchan {
    pub(crate) server: SocketAddr,
}

impl LoadProtocol for Nchan {
    fn name(&self) -> &'static str {
        "nchan"
    }

    fn echoes(&self) -> bool {
        true
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        Box::new(NchanClient { server: self.server, seat, is_ready: false, mask: framing::mask() })
    }
}

struct NchanClient {
    server: SocketAddr,
    seat: SpeakerSeat,
    is_ready: bool,
    mask: [u8; 4],
}

impl LoadSpeaker for NchanClient {
    fn greet(&mut self, out: &mut Vec<u8>) {
        put_request(out, self.server, &format!("/{}", self.seat.room), None);
    }

    /// The handshake is answered once the client has subscribed.
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
        if !self.is_ready {
            let Some(length) = read_answer(input)? else { return Ok(0) };
            at = length;
            self.is_ready = true;
        }
        while let Some((first, payload, length)) = split_frame(&input[at..])? {
            at += length;
            match first ^ FIN {
                TEXT if payload.len() == self.seat.text_bytes => deliver(payload),
                // What a publisher is told of what it has published, if it is.
                TEXT => {}
                PING => put_frame(out, self.mask, PONG, payload),
                PONG => {}
                CLOSE => return Err(SpeakError::Refused { message: "it closes the WebSocket".into() }),
                _ => return Err(SpeakError::broken(format!("a frame that begins with {first:#x}"))),
            }
        }
        Ok(at)
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        put_frame(out, self.mask, TEXT, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::tests::{ANSWER, frame, unmasked};

    fn client() -> NchanClient {
        let seat = SpeakerSeat { room: "r".into(), name: "m0".into(), talks: true, text_bytes: 4 };
        NchanClient {
            server: SocketAddr::from(([127, 0, 0, 1], 80)),
            seat,
            is_ready: false,
            mask: [1, 2, 3, 4],
        }
    }

    #[test]
    fn messages_are_read_wherever_the_stream_is_cut() {
        let input = [
            ANSWER.to_vec(),
            frame(FIN | TEXT, b"abcd"),
            frame(FIN | TEXT, b"queued messages: 1"),
            frame(FIN | PING, b"hi"),
            frame(FIN | TEXT, b"efgh"),
        ]
        .concat();
        for cut in 0..=input.len() {
            let (mut client, mut texts, mut out) = (client(), Vec::new(), Vec::new());
            let mut deliver = |text: &[u8]| texts.push(text.to_vec());
            let used = client.read(&input[..cut], &mut out, &mut deliver).unwrap();
            assert_eq!(used + client.read(&input[used..], &mut out, &mut deliver).unwrap(), input.len());
            assert_eq!(texts, [b"abcd", b"efgh"]);
            assert_eq!(unmasked(&out), b"hi");
            assert!(client.is_ready());
        }
    }

    #[test]
    fn a_channel_is_asked_for_by_its_path_and_texts_go_as_they_are() {
        let (mut client, mut out) = (client(), Vec::new());
        client.greet(&mut out);
        assert!(out.starts_with(b"GET /r HTTP/1.1\r\n"));
        out.clear();
        client.say(b"abcd", &mut out);
        assert_eq!(out[..2], [FIN | TEXT, 0x84]);
        assert_eq!(unmasked(&out), b"abcd");
        for (bytes, why) in [(frame(FIN | CLOSE, b""), "closes"), (frame(TEXT, b"ab"), "begins with 0x1")] {
            let input = [ANSWER, &bytes].concat();
            let error = self::client().read(&input, &mut Vec::new(), &mut |_| {}).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
