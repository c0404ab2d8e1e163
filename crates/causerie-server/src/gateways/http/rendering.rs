//! Records of a room as frames of a WebSocket: each is written once, and all who read along are sent the same bytes.

use std::sync::Arc;

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_gateway::api::record_event;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::{Behind, Follower};

/// Bytes that one reader takes at once, but one record at least.
const BYTES_MAX: usize = 64 << 10;

/// The records of a piece as frames, one behind the other.
struct Framed {
    frames: Bytes,
    /// Where the frame of each record ends.
    ends: Vec<usize>,
}

impl Framed {
    fn new(events: impl Iterator<Item = String>) -> Self {
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        for event in events {
            write_frame(&event, &mut frames);
            ends.push(frames.len());
        }
        Self { frames: frames.into(), ends }
    }

    fn end_of(&self, records: usize) -> usize {
        records.checked_sub(1).map_or(0, |last| self.ends[last])
    }
}

/// Writes a text as a server's frame, which is the same for everybody: it is not masked [RFC 6455, section 5.1].
fn write_frame(text: &str, out: &mut Vec<u8>) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    header.format(text.len() as u64, out).expect("a vector takes everything");
    out.extend_from_slice(text.as_bytes());
}

/// Returns a text as a frame.
pub(super) fn frame(text: &str) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 10);
    write_frame(text, &mut out);
    out.into()
}

/// Frames of neighbouring records, each with the position of its last record.
pub(super) type Frames = Vec<(Bytes, Position)>;

/// Returns the frames behind a cursor, as many as one reader takes at once; `None` if they are not in memory: ask for a
/// page. `one_by_one`: each record by itself.
pub(super) async fn frames(
    follower: &Follower,
    hosted: &HostedRoom,
    cursor: Position,
    one_by_one: bool,
) -> Option<Frames> {
    let (mut frames, mut room, mut last) = (Frames::new(), BYTES_MAX, cursor);
    // Who is some pieces behind takes them at once: each turn of a session costs more than they do.
    loop {
        let piece = match follower.behind(last) {
            Behind::Piece(piece) => piece,
            Behind::Older if frames.is_empty() => return None,
            Behind::Older | Behind::Nothing => return Some(frames),
        };
        let records = piece.records(hosted).await;
        let all: Arc<Framed> = piece.rendering(|_| true, || Framed::new(records.iter().map(record_event)));
        let first = records.partition_point(|record| record.position <= last);
        let from = all.end_of(first);
        let fitting = all.ends.partition_point(|end| *end <= from + room);
        let count = if frames.is_empty() { fitting.max(first + 1) } else { fitting }.min(records.len());
        let step = if one_by_one { 1 } else { (count - first.min(count)).max(1) };
        for begin in (first..count).step_by(step) {
            let behind = (begin + step).min(count);
            last = records[behind - 1].position;
            frames.push((all.frames.slice(all.end_of(begin)..all.end_of(behind)), last));
        }
        if count < records.len() {
            return Some(frames);
        }
        room = room.saturating_sub(all.end_of(count) - from);
        last = piece.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_protocol() {
        for (length, head) in [
            (5, &[0x81, 5][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(length);
            assert_eq!(frame(&text), [head, text.as_bytes()].concat(), "{length}");
        }
        let framed = Framed::new(["a".to_owned(), String::new()].into_iter());
        assert_eq!((&framed.frames[..], &framed.ends[..]), (&b"\x81\x01a\x81\x00"[..], &[3, 5][..]));
        assert_eq!((framed.end_of(0), framed.end_of(2)), (0, 5));
    }
}
