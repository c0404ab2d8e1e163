//! Redis publish and subscribe over RESP 3, where one connection may do both:
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use causerie_bench::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

use crate::lines::{find_line, number};

/// Redis without persistence: a room is a channel.
#[derive(Debug)]
pub(crate) struct Redis;

impl LoadProtocol for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn echoes(&self) -> bool {
        true
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        Box::new(RedisClient { room: seat.room, is_ready: false })
    }
}

struct RedisClient {
    room: String,
    is_ready: bool,
}

/// How each message from a channel begins.
const MESSAGE: &[u8] = b">3\r\n$7\r\nmessage\r\n";
const SUBSCRIBED: &[u8] = b">3\r\n$9\r\nsubscribe\r\n";

fn put_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// A bulk string at the front, and what it takes in all.
#[inline]
fn bulk(input: &[u8]) -> Option<(&[u8], usize)> {
    let line = find_line(input)?;
    let length = number(line.strip_prefix(b"$")?)?;
    let start = line.len() + 2;
    input.get(start..start + length + 2)?;
    Some((&input[start..start + length], start + length + 2))
}

/// How long the value at the front is, whatever it is; `None` until it is whole.
fn value(input: &[u8]) -> Result<Option<usize>, SpeakError> {
    let Some(line) = find_line(input) else { return Ok(None) };
    let mut end = line.len() + 2;
    let count = |digits| number(digits).ok_or_else(|| SpeakError::broken("a value without a length"));
    let items = match line {
        [b'$' | b'=', digits @ ..] => {
            end += count(digits)? + 2;
            return Ok((end <= input.len()).then_some(end));
        }
        [b'-', ..] => {
            return Err(SpeakError::Refused { message: String::from_utf8_lossy(line).into_owned() });
        }
        [b'*' | b'>' | b'~', digits @ ..] => count(digits)?,
        [b'%', digits @ ..] => 2 * count(digits)?,
        _ => 0,
    };
    for _ in 0..items {
        match value(&input[end..])? {
            Some(length) => end += length,
            None => return Ok(None),
        }
    }
    Ok(Some(end))
}

impl LoadSpeaker for RedisClient {
    fn greet(&mut self, out: &mut Vec<u8>) {
        put_command(out, &[b"HELLO", b"3"]);
        put_command(out, &[b"SUBSCRIBE", self.room.as_bytes()]);
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
        let mut at = 0;
        loop {
            let rest = &input[at..];
            if let Some(message) = rest.strip_prefix(MESSAGE) {
                let Some((_, channel)) = bulk(message) else { return Ok(at) };
                let Some((text, length)) = bulk(&message[channel..]) else { return Ok(at) };
                deliver(text);
                at += MESSAGE.len() + channel + length;
                continue;
            }
            match value(rest)? {
                Some(length) => {
                    self.is_ready |= rest.starts_with(SUBSCRIBED);
                    at += length;
                }
                None => return Ok(at),
            }
        }
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        put_command(out, &[b"PUBLISH", self.room.as_bytes(), text]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_wherever_the_stream_is_cut() {
        let input = b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*1\r\n$2\r\n\r\n\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nr\r\n:1\r\n\
            :100\r\n>3\r\n$7\r\nmessage\r\n$1\r\nr\r\n$4\r\nab\r\n\r\n>3\r\n$7\r\nmessage\r\n$1\r\nr\r\n$2\r\nhi\r\n";
        for cut in 0..input.len() {
            let mut client = RedisClient { room: "r".into(), is_ready: false };
            let mut texts = Vec::new();
            let mut read =
                |input: &[u8]| client.read(input, &mut Vec::new(), &mut |text| texts.push(text.to_vec()));
            let used = read(&input[..cut]).unwrap();
            assert_eq!(used + read(&input[used..]).unwrap(), input.len());
            assert_eq!(texts, [&b"ab\r\n"[..], b"hi"]);
            assert!(client.is_ready());
        }
        let mut client = RedisClient { room: "r".into(), is_ready: false };
        assert!(client.read(b"-NOPERM no\r\n", &mut Vec::new(), &mut |_| {}).is_err());
    }
}
