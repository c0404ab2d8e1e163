//! MQTT 3.1.1 with quality of service 0, as little of it as a load needs:
//! <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html>.

use causerie_bench::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

/// An MQTT broker: a room is a topic.
#[derive(Debug)]
pub(crate) struct Mqtt;

impl LoadProtocol for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn echoes(&self) -> bool {
        true
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        Box::new(MqttClient { seat, is_ready: false })
    }
}

/// First bytes of packets [MQTT 3.1.1, section 2.2].
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
/// Connect flags: nothing is kept of earlier connections of the same client.
const CLEAN_SESSION: u8 = 2;
/// No broker sends a longer packet: a publication has one text.
const PACKET_BYTES_MAX: usize = 16 << 20;

struct MqttClient {
    seat: SpeakerSeat,
    is_ready: bool,
}

/// Appends a packet whose contents are these parts.
fn put_packet(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    out.push(first);
    let mut left: usize = parts.iter().map(|part| part.len()).sum();
    loop {
        let digit = (left % 128) as u8;
        left /= 128;
        if left == 0 {
            out.push(digit);
            break;
        }
        out.push(0x80 | digit);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Length of a string, as it stands before it.
fn length(text: &str) -> [u8; 2] {
    u16::try_from(text.len()).expect("names are short").to_be_bytes()
}

/// First byte of a packet, its contents, and how long it is in all.
type Packet<'a> = (u8, &'a [u8], usize);

/// Splits off the packet at the front. `None`: it is not all there.
#[inline]
fn split_packet(input: &[u8]) -> Result<Option<Packet<'_>>, SpeakError> {
    let Some((first, rest)) = input.split_first() else { return Ok(None) };
    let mut length = 0;
    for (n, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            if length > PACKET_BYTES_MAX {
                return Err(SpeakError::broken(format!("a packet of {length} bytes")));
            }
            let end = 1 + n + 1 + length;
            return Ok(input.get(end - length..end).map(|contents| (*first, contents, end)));
        }
    }
    match rest.len() {
        0..4 => Ok(None),
        _ => Err(SpeakError::broken("a packet whose length has no end")),
    }
}

impl LoadSpeaker for MqttClient {
    fn greet(&mut self, out: &mut Vec<u8>) {
        let SpeakerSeat { room, name, .. } = &self.seat;
        // A name is unique in its room only.
        let client = format!("{name}-{room}");
        // Level 4 is version 3.1.1; no keep-alive.
        let head = [0, 4, b'M', b'Q', b'T', b'T', 4, CLEAN_SESSION, 0, 0];
        put_packet(out, CONNECT, &[&head, &length(&client), client.as_bytes()]);
        put_packet(out, SUBSCRIBE, &[&[0, 1], &length(room), room.as_bytes(), &[0]]);
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
        while let Some((first, contents, whole)) = split_packet(&input[at..])? {
            at += whole;
            match (first, contents) {
                (PUBLISH, [high, low, rest @ ..]) => {
                    let topic = usize::from(u16::from_be_bytes([*high, *low]));
                    let text = rest.get(topic..);
                    deliver(text.ok_or_else(|| SpeakError::broken("a publication without a topic"))?);
                }
                (CONNACK, [_, 0]) => {}
                (SUBACK, [0, 1, 0]) => self.is_ready = true,
                (CONNACK, [_, code]) | (SUBACK, [_, _, code]) => {
                    return Err(SpeakError::Refused { message: format!("code {code:#x}") });
                }
                _ => return Err(SpeakError::broken(format!("a packet that begins with {first:#x}"))),
            }
        }
        Ok(at)
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let room = &self.seat.room;
        put_packet(out, PUBLISH, &[&length(room), room.as_bytes(), text]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> MqttClient {
        let seat = SpeakerSeat { room: "r".into(), name: "m0".into(), talks: true, text_bytes: 4 };
        MqttClient { seat, is_ready: false }
    }

    #[test]
    fn packets_are_read_wherever_the_stream_is_cut() {
        let long = [b'x'; 200];
        let mut input = vec![CONNACK, 2, 0, 0, SUBACK, 3, 0, 1, 0];
        put_packet(&mut input, PUBLISH, &[&[0, 1, b'r'], b"abcd"]);
        put_packet(&mut input, PUBLISH, &[&[0, 1, b'r'], &long]);
        for cut in 0..input.len() {
            let (mut client, mut texts) = (client(), Vec::new());
            let mut read =
                |input: &[u8]| client.read(input, &mut Vec::new(), &mut |text| texts.push(text.to_vec()));
            let used = read(&input[..cut]).unwrap();
            assert_eq!(used + read(&input[used..]).unwrap(), input.len());
            assert_eq!(texts, [&b"abcd"[..], &long]);
            assert!(client.is_ready());
        }
    }

    #[test]
    fn what_is_said_is_what_a_client_would_send() {
        let (mut client, mut out) = (client(), Vec::new());
        client.greet(&mut out);
        assert_eq!(out, b"\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04m0-r\x82\x06\0\x01\0\x01r\0");
        out.clear();
        client.say(&[b'y'; 126], &mut out);
        assert_eq!(out[..6], [PUBLISH, 0x81, 1, 0, 1, b'r'], "129 bytes are two digits");
        assert_eq!(out.len(), 3 + 3 + 126);
    }

    #[test]
    fn what_a_broker_refuses_or_breaks_is_told() {
        for (input, why) in [
            (&[CONNACK, 2, 0, 5][..], "code 0x5"),
            (&[SUBACK, 3, 0, 1, 0x80], "code 0x80"),
            (&[PUBLISH, 2, 0, 9], "without a topic"),
            (&[PUBLISH | 2, 5, 0, 1, b'r', 0, 1], "begins with 0x32"),
            (&[PUBLISH, 0xff, 0xff, 0xff, 0x7f], "a packet of"),
            (&[PUBLISH, 0xff, 0xff, 0xff, 0xff], "has no end"),
        ] {
            let error = client().read(input, &mut Vec::new(), &mut |_| {}).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
