//! The classic line protocol: lines in, `NAME : TEXT` out. A member's own lines do not come back to it.

use crate::native;
use crate::socket::LoadServer;
use crate::speaker::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

/// Causerie's classic protocol, on the front port.
#[derive(Clone, Copy, Debug)]
pub struct Classic {
    server: LoadServer,
}

impl Classic {
    /// Speaks to this server.
    #[must_use]
    pub fn new(server: impl Into<LoadServer>) -> Self {
        Self { server: server.into() }
    }
}

impl LoadProtocol for Classic {
    fn name(&self) -> &'static str {
        "classic"
    }

    fn echoes(&self) -> bool {
        false
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        Box::new(ClassicMember { seat, is_ready: false })
    }

    /// Rooms without a port of their own are made by native clients only.
    fn open(&self, rooms: &[String]) -> Result<(), SpeakError> {
        native::create_rooms(self.server, rooms)
    }

    fn close(&self, rooms: &[String]) {
        // The server may be gone; then so are the rooms.
        let _ = native::close_rooms(self.server, rooms);
    }
}

struct ClassicMember {
    seat: SpeakerSeat,
    is_ready: bool,
}

impl LoadSpeaker for ClassicMember {
    fn greet(&mut self, out: &mut Vec<u8>) {
        let SpeakerSeat { room, name, .. } = &self.seat;
        out.extend_from_slice(format!("./join {room}\n{name}\n./members\n").as_bytes());
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn read(
        &mut self,
        input: &[u8],
        _: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, SpeakError> {
        let text_bytes = self.seat.text_bytes;
        let mut at = 0;
        loop {
            let rest = &input[at..];
            // Most lines end where the text of one that long ends: "NAME : TEXT\n".
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(at) };
            let line = &rest[..length];
            at += length + 1;
            match line.len().checked_sub(text_bytes) {
                Some(head) if line[..head].ends_with(b" : ") => deliver(&line[head..]),
                // The answer to `./members` stands behind the joining.
                _ if line.starts_with(b"['") => self.is_ready = true,
                _ if line.starts_with(b"Error") || line.starts_with(b"{\"status\"") => {
                    return Err(SpeakError::Refused { message: String::from_utf8_lossy(line).into_owned() });
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_wherever_the_stream_is_cut() {
        let input = b"['m0', 'm1']\nm1 joined the chatroom\nm1 : abcd\nm1 : no\nm0 : efgh\n";
        for cut in 0..input.len() {
            let seat = SpeakerSeat { room: "r".into(), name: "m0".into(), talks: true, text_bytes: 4 };
            let mut member = ClassicMember { seat, is_ready: false };
            let mut texts = Vec::new();
            let mut read =
                |input: &[u8]| member.read(input, &mut Vec::new(), &mut |text| texts.push(text.to_vec()));
            let used = read(&input[..cut]).unwrap();
            assert_eq!(used + read(&input[used..]).unwrap(), input.len());
            assert_eq!(texts, [b"abcd", b"efgh"]);
            assert!(member.is_ready());
        }
    }
}
