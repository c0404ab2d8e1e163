//! Renderings of a room that HTTP clients share, written once: its records as frames of a WebSocket, so that all who read along are
//! sent the same bytes; news of what members observe; the list of members.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_core::log::page::HistoryRecord;
use causerie_core::room::Room;
use causerie_core::wire::MemberInfo;
use causerie_gateway::api::{ListedMember, ServerEvent, record_event, to_json};
use cbcast::MemberId;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::fanout::form::{Form, Run};
use crate::rooms::hosted::HostedRoom;
use crate::rooms::tail::{Behind, Follower, Piece};
use crate::rooms::watching::{MemberNews, SharedNews};

/// Bytes that one reader takes at once, but one record at least.
const BYTES_MAX: usize = 64 << 10;

/// Bytes of a batch at which it ends.
const BATCH_BYTES: usize = 16 << 10;

/// Neighbouring records as frames, one behind the other.
struct Framed {
    frames: Bytes,
    ends: Vec<FrameEnd>,
}

/// End of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FrameEnd {
    /// Bytes up to there.
    bytes: usize,
    /// Position of the last record in it.
    position: Position,
}

impl Framed {
    /// Makes a frame of each event.
    fn each(events: impl Iterator<Item = (Position, String)>) -> Self {
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        for (position, event) in events {
            write_frame(&event, &mut frames);
            ends.push(FrameEnd { bytes: frames.len(), position });
        }
        Self { frames: frames.into(), ends }
    }

    /// Makes frames of as many events each as fit, as arrays.
    fn batches(events: impl Iterator<Item = (Position, String)>) -> Self {
        let mut events = events.peekable();
        let batches = std::iter::from_fn(|| {
            let (mut last, first) = events.next()?;
            let mut batch = format!("[{first}");
            while let Some((position, event)) = events.next_if(|_| batch.len() < BATCH_BYTES) {
                (batch, last) = (batch + "," + &event, position);
            }
            Some((last, batch + "]"))
        });
        Self::each(batches)
    }

    /// Returns how many frames have nothing behind this cursor.
    fn before(&self, cursor: Position) -> usize {
        self.ends.partition_point(|end| end.position <= cursor)
    }

    /// Returns how many bytes so many frames have.
    fn bytes_of(&self, frames: usize) -> usize {
        frames.checked_sub(1).map_or(0, |last| self.ends[last].bytes)
    }
}

/// Records behind a cursor in batches, which begin there.
struct Batched {
    behind: Position,
    framed: Arc<Framed>,
}

/// Returns the records of a piece as frames; in batches, only those behind a cursor.
async fn framed(piece: &Piece, hosted: &HostedRoom, cursor: Position, in_batches: bool) -> Arc<Framed> {
    let records = piece.records(hosted).await;
    let events = |records: &[HistoryRecord]| {
        records.iter().map(|record| (record.position, record_event(record))).collect::<Vec<_>>().into_iter()
    };
    if !in_batches {
        return piece.rendering(|_| true, || Framed::each(events(records)));
    }
    let make = || {
        let first = records.partition_point(|record| record.position <= cursor);
        Batched { behind: cursor, framed: Arc::new(Framed::batches(events(&records[first..]))) }
    };
    let batched = piece.rendering(|batched: &Batched| batched.behind == cursor, make);
    Arc::clone(&batched.framed)
}

/// The log as frames, each record in one of its own or some in a batch: the form of those who read along.
pub(super) struct FrameForm<const IN_BATCHES: bool> {
    hosted: Arc<HostedRoom>,
    follower: Follower,
}

impl<const IN_BATCHES: bool> FrameForm<IN_BATCHES> {
    pub(super) fn of(hosted: &Arc<HostedRoom>) -> Self {
        Self { hosted: Arc::clone(hosted), follower: Follower::resting(hosted) }
    }
}

impl<const IN_BATCHES: bool> Form for FrameForm<IN_BATCHES> {
    type Run = FramedRun;

    async fn read(&self, cursor: Position) -> Option<FramedRun> {
        let Behind::Piece(piece) = self.follower.behind(cursor) else { return None };
        let framed = framed(&piece, &self.hosted, cursor, IN_BATCHES).await;
        let from = framed.bytes_of(framed.before(cursor));
        Some(FramedRun { slice: [framed.frames.slice(from..)], from, framed, last: piece.last })
    }

    fn advance(&self, cursor: Position) {
        self.follower.stand(Some(cursor));
    }
}

/// Frames behind a cursor.
pub(super) struct FramedRun {
    framed: Arc<Framed>,
    from: usize,
    slice: [Bytes; 1],
    last: Position,
}

impl Run for FramedRun {
    fn last(&self) -> Position {
        self.last
    }

    fn slices(&self, _: Option<MemberId>) -> Cow<'_, [Bytes]> {
        Cow::Borrowed(&self.slice)
    }

    fn after(&self, _: Option<MemberId>, taken: usize) -> (Option<Position>, Bytes) {
        let at = self.from + taken;
        let whole = self.framed.ends.partition_point(|end| end.bytes <= at);
        if at > self.framed.bytes_of(whole) {
            let end = self.framed.ends[whole];
            return (Some(end.position), Bytes::copy_from_slice(&self.framed.frames[at..end.bytes]));
        }
        ((taken > 0).then(|| self.framed.ends[whole - 1].position), Bytes::new())
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

/// Way in which a session is told records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Telling {
    /// Several frames at once.
    Together,
    /// Each record by itself.
    OneByOne,
    /// Several records in a frame, several frames at once.
    InBatches,
}

/// Returns the frames behind a cursor, as many as one reader takes at once; `None` if they are not in memory: ask for a
/// page.
pub(super) async fn frames(
    follower: &Follower,
    hosted: &HostedRoom,
    cursor: Position,
    telling: Telling,
) -> Option<Frames> {
    let (mut frames, mut room, mut last) = (Frames::new(), BYTES_MAX, cursor);
    // Who is some pieces behind takes them at once: each turn of a session costs more than they do.
    loop {
        let piece = match follower.behind(last) {
            Behind::Piece(piece) => piece,
            Behind::Older if frames.is_empty() => return None,
            Behind::Older | Behind::Nothing => return Some(frames),
        };
        let all = framed(&piece, hosted, last, telling == Telling::InBatches).await;
        let first = all.before(last);
        let from = all.bytes_of(first);
        let fitting = all.ends.partition_point(|end| end.bytes <= from + room);
        let count = if frames.is_empty() { fitting.max(first + 1) } else { fitting }.min(all.ends.len());
        let step = if telling == Telling::OneByOne { 1 } else { (count - first.min(count)).max(1) };
        for begin in (first..count).step_by(step) {
            let behind = (begin + step).min(count);
            last = all.ends[behind - 1].position;
            frames.push((all.frames.slice(all.bytes_of(begin)..all.bytes_of(behind)), last));
        }
        if count < all.ends.len() {
            return Some(frames);
        }
        room = room.saturating_sub(all.bytes_of(count) - from);
        last = piece.last;
    }
}

/// Observation of a member, as a frame.
struct NewsFrame(Bytes);

/// Returns an observation of a member as a frame, written once for all who watch.
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
    }

    fn events(texts: &[&str]) -> impl Iterator<Item = (Position, String)> {
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        Position::new(7).onwards().zip(texts)
    }

    #[test]
    fn frames_stand_one_behind_the_other() {
        let framed = Framed::each(events(&["a", ""]));
        let end = |bytes, position| FrameEnd { bytes, position: Position::new(position) };
        assert_eq!(
            (&framed.frames[..], &framed.ends[..]),
            (&b"\x81\x01a\x81\x00"[..], &[end(3, 7), end(5, 8)][..])
        );
        assert_eq!((framed.bytes_of(0), framed.bytes_of(2)), (0, 5));
        assert_eq!([6, 7, 8].map(|cursor| framed.before(Position::new(cursor))), [0, 1, 2]);
    }

    #[test]
    fn a_batch_is_an_array_and_ends_when_it_is_long() {
        let long = "x".repeat(BATCH_BYTES);
        let framed = Framed::batches(events(&["1", "2", &long, "3", "4"]));
        let ends: Vec<_> = framed.ends.iter().map(|end| end.position.get()).collect();
        assert_eq!(ends, [9, 11]);
        let first = frame(&format!("[1,2,{long}]"));
        assert_eq!(framed.frames, [&first[..], b"\x81\x05[3,4]"].concat());
        assert!(Framed::batches(events(&[])).ends.is_empty());
    }

    #[test]
    fn wherever_a_reader_stops_it_goes_on_with_the_next_byte_and_keeps_one_frame_at_most() {
        let framed = Arc::new(Framed::each(events(&["a", "", "bcd", "e"])));
        for cursor in [6, 7, 8].map(Position::new) {
            let run = |cursor| {
                let from = framed.bytes_of(framed.before(cursor));
                let (framed, slice) = (Arc::clone(&framed), [framed.frames.slice(from..)]);
                FramedRun { framed, from, slice, last: Position::new(10) }
            };
            let all = run(cursor).slice[0].clone();
            for taken in 0..=all.len() {
                let (begun, rest) = run(cursor).after(None, taken);
                let behind = &run(begun.unwrap_or(cursor)).slice[0];
                assert_eq!([&all[..taken], &rest, behind].concat(), all, "{taken} bytes behind {cursor}");
                assert!(rest.len() < 5, "no frame is longer");
            }
        }
    }
}
