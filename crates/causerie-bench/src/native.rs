//! The native protocol (`docs/protocol.md`), as little of it as a load needs.
//!
//! A receiver does not run a `Group`. It reads frames where they lie and checks that positions have no hole and that
//! each author's messages are numbered without one; what causes what is judged by the texts. Only who talks reads
//! stamps, to keep the frontier that its own stamps are made of: those are the stamps that a real client would write.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causerie_core::id::{Position, SecretText};
use causerie_core::key::{KeyPair, Proof, Purpose};
use causerie_core::wire::{ClientFrame, MAGIC, ServerFrame, VERSION, split_frame};
use cbcast::wire::Reader;
use cbcast::{Kind, MemberId, Message, MessageId, WireError};

use crate::socket::LoadServer;
use crate::speaker::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

/// The kind of a record's frame: what nearly all frames are.
const DELIVERED: u8 = 0x84;
/// The kind of a packet that a member said.
const DATA: u8 = 0;
/// The first byte of a payload that is a text (`causerie_core::content::body`).
const TEXT: u8 = 1;
/// No server sends a larger frame; the reference client has the same limit.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Time that the conversation about a room may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Causerie's native protocol.
#[derive(Clone, Copy, Debug)]
pub struct Native {
    server: LoadServer,
}

impl Native {
    /// Speaks to this server.
    #[must_use]
    pub fn new(server: impl Into<LoadServer>) -> Self {
        Self { server: server.into() }
    }
}

impl LoadProtocol for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn echoes(&self) -> bool {
        true
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        let state = NativeStage::Greeting;
        Box::new(NativeMember { seat, state, said: 0, seqs: Vec::new(), frontier: Vec::new() })
    }

    fn open(&self, rooms: &[String]) -> Result<(), SpeakError> {
        create_rooms(self.server, rooms)
    }

    fn close(&self, rooms: &[String]) {
        // The server may be gone; then so are the rooms.
        let _ = close_rooms(self.server, rooms);
    }
}

/// The key with which all rooms of this load are made, and closed at its end.
fn maker() -> &'static KeyPair {
    static MAKER: LazyLock<KeyPair> = LazyLock::new(fresh_key);
    &MAKER
}

fn fresh_key() -> KeyPair {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system gives random bytes");
    KeyPair::new(seed)
}

/// Makes rooms that go with all that was said once they are closed.
pub(crate) fn create_rooms(server: LoadServer, rooms: &[String]) -> Result<(), SpeakError> {
    converse(server, rooms, |name, maker| ClientFrame::CreateRoom {
        name,
        port: false,
        maker,
        // Nothing of them is of use to anybody.
        temporary: true,
    })
}

/// Closes rooms that this load has made.
pub(crate) fn close_rooms(server: LoadServer, rooms: &[String]) -> Result<(), SpeakError> {
    converse(server, rooms, |name, maker| ClientFrame::CloseRoom {
        name,
        operator: SecretText::default(),
        maker,
    })
}

/// Asks about one room after the other. The first error ends it.
fn converse(
    server: LoadServer,
    rooms: &[String],
    question: impl Fn(String, Option<Proof>) -> ClientFrame,
) -> Result<(), SpeakError> {
    let mut stream = server.connect_blocking(PATIENCE)?;
    let mut words = MAGIC.to_vec();
    let mut input = BytesMut::new();
    let mut ask = |frame: ClientFrame| {
        frame.encode(&mut words);
        stream.write_all(&words)?;
        words.clear();
        let (kind, body) = loop {
            if let Some(frame) = split_frame(&mut input, FRAME_BYTES_MAX).map_err(broken)? {
                break frame;
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece)? {
                0 => return Err(SpeakError::broken("it closed the connection without an answer")),
                n => input.extend_from_slice(&piece[..n]),
            }
        };
        match ServerFrame::decode(kind, &body).map_err(broken)? {
            Some(ServerFrame::Error(error)) => Err(SpeakError::Refused { message: error.message }),
            answer => Ok(answer),
        }
    };
    let Some(ServerFrame::Hello { challenge, .. }) = ask(hello())? else {
        return Err(SpeakError::broken("it does not greet"));
    };
    let proof = maker().prove(Purpose::Room, &challenge);
    rooms.iter().try_for_each(|name| ask(question(name.clone(), Some(proof))).map(drop))
}

fn hello() -> ClientFrame {
    let agent = concat!("causerie-bench ", env!("CARGO_PKG_VERSION")).to_owned();
    ClientFrame::Hello { oldest: VERSION, newest: VERSION, agent }
}

fn broken(error: impl std::fmt::Display) -> SpeakError {
    SpeakError::broken(error.to_string())
}

enum NativeStage {
    Greeting,
    Joining,
    In {
        me: MemberId,
        /// Records up to here are history.
        history: Position,
        /// The last position that came.
        position: Position,
    },
}

struct NativeMember {
    seat: SpeakerSeat,
    state: NativeStage,
    /// Number of messages that it has said.
    said: u64,
    /// Numbers of messages of each member of our origin that have come, by ordinal.
    seqs: Vec<u64>,
    /// Last messages that a talker has delivered of each branch, its own left out.
    frontier: Vec<MessageId>,
}

impl NativeMember {
    /// A frame that is no record: how the conversation begins, or why it ends.
    #[cold]
    fn answer(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) -> Result<(), SpeakError> {
        match (ServerFrame::decode(kind, &Bytes::copy_from_slice(body)).map_err(broken)?, &self.state) {
            (Some(ServerFrame::Hello { challenge, .. }), NativeStage::Greeting) => {
                let (room, name) = (self.seat.room.clone(), self.seat.name.clone());
                let proof = fresh_key().prove(Purpose::Member, &challenge);
                let (create, maker, after) = (false, None, None);
                ClientFrame::Join { room, name, proof, create, maker, after }.encode(out);
                self.state = NativeStage::Joining;
            }
            (Some(ServerFrame::Welcome(welcome)), NativeStage::Joining) => {
                for (member, count) in welcome.snapshot.clock.iter() {
                    if member.origin == welcome.member.origin {
                        *self.seq(member.ordinal) = count;
                    }
                }
                self.frontier = welcome.snapshot.frontier;
                let (history, position) = (welcome.position, welcome.first - 1);
                self.state = NativeStage::In { me: welcome.member, history, position };
            }
            (Some(ServerFrame::Error(error)), _) => {
                return Err(SpeakError::Refused { message: error.message });
            }
            (Some(ServerFrame::Refused { reason, .. }), _) => {
                return Err(SpeakError::Refused { message: reason });
            }
            (None, _) => {}
            (Some(frame), _) => {
                return Err(SpeakError::broken(format!("an unexpected frame of kind {:#04x}", frame.kind())));
            }
        }
        Ok(())
    }

    fn seq(&mut self, ordinal: u32) -> &mut u64 {
        let index = ordinal as usize;
        if index >= self.seqs.len() {
            self.seqs.resize(index + 1, 0);
        }
        &mut self.seqs[index]
    }

    fn record(&mut self, body: &[u8], deliver: &mut dyn FnMut(&[u8])) -> Result<(), SpeakError> {
        let NativeStage::In { me, history, position: last } = &mut self.state else {
            return Err(SpeakError::broken("a record before the welcome"));
        };
        let (me, history) = (*me, *history);
        let mut reader = Reader::new(body);
        let position = Position::new(reader.varint().map_err(broken)?);
        reader.varint().map_err(broken)?;
        if position != *last + 1 {
            return Err(SpeakError::broken(format!("position {position} behind {last}")));
        }
        *last = position;
        if position <= history {
            return Ok(());
        }
        let packet = reader.rest();
        let mut reader = Reader::new(packet);
        let kind = reader.byte().map_err(broken)?;
        let author =
            MemberId::new(reader.varint_u32().map_err(broken)?, reader.varint_u32().map_err(broken)?);
        let id = MessageId::new(author, reader.varint().map_err(broken)?);
        // Ordinals are given out one by one, so a table of them stays small; a server that lies is not believed.
        if author.origin == me.origin && (author.ordinal as u64) < position.get() {
            let seq = self.seq(author.ordinal);
            if id.seq != *seq + 1 {
                return Err(SpeakError::broken(format!("{id} at position {position}, behind #{seq}")));
            }
            *seq = id.seq;
        }
        if self.seat.talks && author != me {
            self.happened(packet, reader, id)?;
        }
        if kind == DATA
            && let Some(start) = packet.len().checked_sub(self.seat.text_bytes)
            && start > 0
            && packet[start - 1] == TEXT
        {
            deliver(&packet[start..]);
        }
        Ok(())
    }

    /// Another's message has been delivered here: what it depends on is not the frontier any more, it is.
    fn happened(&mut self, packet: &[u8], mut reader: Reader<'_>, id: MessageId) -> Result<(), SpeakError> {
        let frontier = &mut self.frontier;
        let before = MessageId::new(id.member, id.seq - 1);
        frontier.retain(|member| *member != before);
        let head = reader.varint().map_err(broken)?;
        if head & 1 == 0 {
            let mut next_ordinal = 0;
            for _ in 0..head >> 1 {
                let ordinal = next_ordinal + reader.varint_u32().map_err(broken)?;
                let zigzag = reader.varint().map_err(broken)?;
                let seq = id.seq.wrapping_add_signed((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
                next_ordinal = ordinal.wrapping_add(1);
                let dep = MessageId::new(MemberId::new(id.member.origin, ordinal), seq);
                if let Some(place) = frontier.iter().position(|member| *member == dep) {
                    frontier.swap_remove(place);
                }
            }
        } else {
            // Several servers in one room: rare enough for the way that understands everything.
            let message = Message::decode(Bytes::copy_from_slice(packet)).map_err(broken)?;
            frontier.retain(|member| message.deps().all(|dep| dep != *member));
        }
        frontier.push(id);
        Ok(())
    }
}

impl LoadSpeaker for NativeMember {
    fn greet(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        hello().encode(out);
    }

    fn is_ready(&self) -> bool {
        matches!(self.state, NativeStage::In { .. })
    }

    fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, SpeakError> {
        let mut at = 0;
        loop {
            let mut reader = Reader::new(&input[at..]);
            let length = match reader.varint() {
                Ok(length) => length,
                Err(WireError::Truncated) => return Ok(at),
                Err(error) => return Err(broken(error)),
            };
            if length == 0 || length > FRAME_BYTES_MAX as u64 {
                return Err(SpeakError::broken(format!("a frame of {length} bytes")));
            }
            let Ok(frame) = reader.take(length as usize) else { return Ok(at) };
            at += reader.position();
            match frame[0] {
                DELIVERED => self.record(&frame[1..], deliver)?,
                kind => self.answer(kind, &frame[1..], out)?,
            }
        }
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let NativeStage::In { me, .. } = self.state else { unreachable!("only on those who are ready") };
        self.said += 1;
        let mut payload = Vec::with_capacity(1 + text.len());
        payload.push(TEXT);
        payload.extend_from_slice(text);
        self.frontier.sort_unstable();
        let id = MessageId::new(me, self.said);
        let message =
            Message::new(id, Kind::Data, &self.frontier, &payload).expect("sorted, and not our own");
        // All of it is in the past of this one, which is implied in the next one's stamp.
        self.frontier.clear();
        ClientFrame::Broadcast(message.into_packet()).encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use causerie_core::content::body::Body;
    use causerie_core::wire::Delivered;

    fn member(talks: bool) -> NativeMember {
        let seat = SpeakerSeat { room: "r".into(), name: "n".into(), talks, text_bytes: 2 };
        let state = NativeStage::In {
            me: MemberId::new(0, 1),
            history: Position::new(9),
            position: Position::new(9),
        };
        NativeMember { seat, state, said: 0, seqs: Vec::new(), frontier: Vec::new() }
    }

    /// The record at `position` behind nine that let the members in.
    fn record(position: u64, id: MessageId, deps: &[MessageId], text: &str) -> Vec<u8> {
        let payload = Body::Text(text.into()).encode();
        let packet = Message::new(id, Kind::Data, deps, &payload).unwrap().into_packet();
        let mut out = Vec::new();
        Delivered { position: Position::new(9 + position), time_millis: 1 << 40, packet }.encode(&mut out);
        out
    }

    fn id(ordinal: u32, seq: u64) -> MessageId {
        MessageId::new(MemberId::new(0, ordinal), seq)
    }

    fn read(member: &mut NativeMember, input: &[u8]) -> Result<(usize, Vec<String>), SpeakError> {
        let mut texts = Vec::new();
        let read = member.read(input, &mut Vec::new(), &mut |text| {
            texts.push(String::from_utf8(text.to_vec()).unwrap());
        })?;
        Ok((read, texts))
    }

    #[test]
    fn records_are_read_wherever_the_stream_is_cut() {
        let whole = [record(1, id(2, 1), &[], "m1"), record(2, id(0, 1), &[id(2, 1)], "m2")].concat();
        for cut in 0..whole.len() {
            let mut member = member(false);
            let (used, mut texts) = read(&mut member, &whole[..cut]).unwrap();
            let (rest, more) = read(&mut member, &whole[used..]).unwrap();
            texts.extend(more);
            assert_eq!((used + rest, texts), (whole.len(), vec!["m1".to_owned(), "m2".to_owned()]));
        }
    }

    #[test]
    fn holes_are_noticed() {
        let (first, third) = (record(1, id(2, 1), &[], "m1"), record(3, id(2, 2), &[], "m3"));
        assert!(read(&mut member(false), &[first.clone(), third].concat()).is_err(), "a position");
        let beyond = record(2, id(2, 3), &[], "m3");
        assert!(read(&mut member(false), &[first.clone(), beyond].concat()).is_err(), "a number");
        assert!(read(&mut member(false), &[first.clone(), first].concat()).is_err(), "twice");
    }

    #[test]
    fn stamps_are_those_of_a_group() {
        use cbcast::{Config, Group, Link, Snapshot, Time};
        let ids = |member: &mut NativeMember| {
            let mut out = Vec::new();
            member.say(b"hi", &mut out);
            let mut out = BytesMut::from(&out[..]);
            let (kind, body) = split_frame(&mut out, usize::MAX).unwrap().unwrap();
            match ClientFrame::decode(kind, &body).unwrap() {
                Some(ClientFrame::Broadcast(packet)) => Message::decode(packet).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let members = (0..4).map(|n| MemberId::new(0, n));
        let mut group =
            Group::new(Config::relay(), &Snapshot::fixed(members), [MemberId::new(0, 1)]).unwrap();
        let mut member = member(true);
        // Two branches, joined by the third; then one beside it.
        let steps = [(id(2, 1), vec![]), (id(3, 1), vec![]), (id(2, 2), vec![id(3, 1)]), (id(3, 2), vec![])];
        let mut position = 0;
        for (id, deps) in steps {
            position += 1;
            let bytes = record(position, id, &deps, "hi");
            read(&mut member, &bytes).unwrap();
            let payload = Body::Text("hi".into()).encode();
            let message = Message::new(id, Kind::Data, &deps, &payload).unwrap();
            group.handle_message(Time::ZERO, Link::Relay, message).unwrap();
            if position % 2 == 0 {
                while group.poll_output().is_some() {}
                group.broadcast(Time::ZERO, MemberId::new(0, 1), &payload).unwrap();
                let theirs =
                    std::iter::from_fn(|| group.poll_output()).find_map(|output| output.sent().cloned());
                let ours = ids(&mut member);
                assert_eq!(Some(ours.clone()), theirs);
                position += 1;
                read(&mut member, &record(position, ours.id(), &ours.deps().collect::<Vec<_>>(), "hi"))
                    .unwrap();
            }
        }
    }
}
