//! What HTTP clients share of a room, written once: its records as frames of a WebSocket, so that all who read along are sent
//! the same bytes; what members observe; who is in.

use std::sync::Arc;

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_core::room::Room;
use causerie_core::wire::MemberInfo;
use causerie_gateway::api::{ListedMember, ServerEvent, record_event, to_json};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::{Behind, Follower};
use crate::rooms::watching::{MemberNews, SharedNews};

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

/// What a member has observed, as a frame.
struct NewsFrame(Bytes);

/// Returns what a member has observed as a frame, written once for all who watch.
pub(super) fn news_frame(news: &SharedNews) -> Bytes {
    let render = |news: &MemberNews| {
        let event = match news {
            MemberNews::Observed(member, seen) => ServerEvent::observed(*member, seen),
            MemberNews::LeftOut(count) => ServerEvent::Unobserved { count: *count },
        };
        NewsFrame(frame(&event.to_json()))
    };
    news.rendering(render).0.clone()
}

/// Who is in, as a list of JSON.
pub(super) struct MembersJson(String);

impl MembersJson {
    fn new(members: Vec<MemberInfo>) -> Self {
        let members: Vec<_> = members.into_iter().map(ListedMember::from).collect();
        Self(to_json(&members))
    }

    /// Returns who is in a room, written once while nobody comes or goes. Taken within the room.
    pub(super) fn of(hosted: &HostedRoom, room: &Room) -> Arc<Self> {
        hosted.roster().rendering(room, Self::new)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_a_list() {
        let raj = MemberInfo { member: cbcast::MemberId::new(0, 2), name: "Raj".into(), present: true };
        assert_eq!(MembersJson::new(vec![raj]).as_str(), r#"[{"member":"0.2","name":"Raj"}]"#);
    }

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
