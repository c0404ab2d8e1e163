//! Protocols of byte streams, carried in the binary messages of a WebSocket. Where frames end says nothing: a
//! message of the protocol may lie across several, and several in one.

use std::net::SocketAddr;

use causerie_bench::websocket::framing::{
    self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, put_frame, put_request, read_answer, split_frame,
};
use causerie_bench::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

/// A protocol over a WebSocket.
#[derive(Debug)]
pub(crate) struct Tunnel<P> {
    pub(crate) server: SocketAddr,
    pub(crate) path: &'static str,
    pub(crate) subprotocol: Option<&'static str>,
    pub(crate) inner: P,
}

impl<P: LoadProtocol> LoadProtocol for Tunnel<P> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn echoes(&self) -> bool {
        self.inner.echoes()
    }

    fn text_bytes_max(&self) -> usize {
        self.inner.text_bytes_max()
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        let mut request = Vec::new();
        put_request(&mut request, self.server, self.path, self.subprotocol);
        Box::new(TunnelClient::new(request, self.inner.speaker(seat)))
    }
}

struct TunnelClient {
    request: Vec<u8>,
    is_open: bool,
    mask: [u8; 4],
    inner: Box<dyn LoadSpeaker>,
    /// Start of a message of the inner protocol whose end has not come.
    rest: Vec<u8>,
    /// Words of the inner protocol that are not in a frame yet.
    words: Vec<u8>,
}

impl TunnelClient {
    fn new(request: Vec<u8>, inner: Box<dyn LoadSpeaker>) -> Self {
        Self { request, is_open: false, mask: framing::mask(), inner, rest: Vec::new(), words: Vec::new() }
    }

    fn frame_words(&mut self, out: &mut Vec<u8>) {
        if !self.words.is_empty() {
            put_frame(out, self.mask, BINARY, &self.words);
            self.words.clear();
        }
    }
}

impl LoadSpeaker for TunnelClient {
    fn greet(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }

    fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, SpeakError> {
        let mut at = 0;
        if !self.is_open {
            let Some(length) = read_answer(input)? else { return Ok(0) };
            at = length;
            self.is_open = true;
            self.inner.greet(&mut self.words);
        }
        while let Some((first, payload, length)) = split_frame(&input[at..])? {
            at += length;
            match first & !FIN {
                BINARY | CONTINUATION if self.rest.is_empty() => {
                    let used = self.inner.read(payload, &mut self.words, deliver)?;
                    self.rest.extend_from_slice(&payload[used..]);
                }
                BINARY | CONTINUATION => {
                    self.rest.extend_from_slice(payload);
                    let used = self.inner.read(&self.rest, &mut self.words, deliver)?;
                    self.rest.drain(..used);
                }
                PING => put_frame(out, self.mask, PONG, payload),
                PONG => {}
                CLOSE => return Err(SpeakError::Refused { message: "it closes the WebSocket".into() }),
                _ => return Err(SpeakError::broken(format!("a frame that begins with {first:#x}"))),
            }
        }
        self.frame_words(out);
        Ok(at)
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.inner.say(text, &mut self.words);
        self.frame_words(out);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::nats::Nats;

    pub(crate) const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        [&[first, u8::try_from(payload.len()).unwrap()], payload].concat()
    }

    pub(crate) fn unmasked(frame: &[u8]) -> Vec<u8> {
        let (mask, payload) = frame[2..].split_at(4);
        payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }

    /// Payloads of all short frames of this kind.
    fn sent(mut out: &[u8], opcode: u8) -> Vec<u8> {
        let mut payloads = Vec::new();
        while let [first, length, ..] = out {
            assert!(*length < 0x80 | 126, "it is short and masked");
            let (frame, rest) = out.split_at(6 + usize::from(length & 0x7f));
            if *first == FIN | opcode {
                payloads.extend(unmasked(frame));
            }
            out = rest;
        }
        payloads
    }

    fn client() -> TunnelClient {
        let seat = SpeakerSeat { room: "r".into(), name: "m0".into(), talks: true, text_bytes: 4 };
        TunnelClient::new(b"GET / HTTP/1.1\r\n\r\n".to_vec(), Nats.speaker(seat))
    }

    #[test]
    fn messages_are_read_wherever_the_stream_and_its_frames_are_cut() {
        let stream = b"INFO {}\r\nPONG\r\nMSG r 1 4\r\nab\r\n\r\nMSG r 1 2\r\nhi\r\n";
        for split in 0..stream.len() {
            let (start, end) = stream.split_at(split);
            let parts = [
                ANSWER.to_vec(),
                frame(BINARY, start),
                frame(FIN | PING, b"hi"),
                frame(FIN | CONTINUATION, end),
                frame(FIN | BINARY, b"PING\r\n"),
            ];
            let input = parts.concat();
            for cut in 0..=input.len() {
                let (mut client, mut texts, mut out) = (client(), Vec::new(), Vec::new());
                let mut deliver = |text: &[u8]| texts.push(text.to_vec());
                let used = client.read(&input[..cut], &mut out, &mut deliver).unwrap();
                let rest = client.read(&input[used..], &mut out, &mut deliver).unwrap();
                assert_eq!(used + rest, input.len());
                assert_eq!(texts, [&b"ab\r\n"[..], b"hi"]);
                assert!(client.is_ready());
                assert_eq!(sent(&out, PONG), b"hi");
                let words = sent(&out, BINARY);
                assert!(words.starts_with(b"CONNECT {") && words.ends_with(b"SUB r 1\r\nPING\r\nPONG\r\n"));
            }
        }
    }

    #[test]
    fn what_is_said_is_one_binary_message() {
        let (mut client, mut out) = (client(), Vec::new());
        client.say(b"abcd", &mut out);
        assert_eq!(out[..2], [FIN | BINARY, 0x80 | 15]);
        assert_eq!(unmasked(&out), b"PUB r 4\r\nabcd\r\n");
    }

    #[test]
    fn what_ends_the_conversation_is_told() {
        for (bytes, why) in [
            (frame(FIN | CLOSE, b""), "closes the WebSocket"),
            (frame(FIN | 1, b"text"), "begins with 0x81"),
            (frame(FIN | BINARY, b"-ERR 'no'\r\n"), "-ERR 'no'"),
        ] {
            let input = [ANSWER, &bytes].concat();
            let error = client().read(&input, &mut Vec::new(), &mut |_| {}).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
