//! Runs of records: whole `Delivered` frames one after the other, and the directory that goes with them.
//!
//! ```text
//! frame      = length kind(0x84) position time packet       as docs/protocol.md has it, varints
//! directory  = room first count entry{count} crc32c(4)      the checksum is of all before it
//! entry      = length zigzag(time - time before) crc32c(4)  the checksum is of the whole frame
//! ```
//! Damage to one record is seen by its checksum and loses that record; damage to the directory loses all of it.

use std::sync::Arc;

use bytes::Bytes;
use causerie_core::id::Position;
use cbcast::wire::{Reader, put_varint};
use cbcast::{MemberId, Message, MessageId};

use crate::change::RoomId;
use crate::error::{InvalidChange, RunError};

/// The kind of a `Delivered` frame.
const DELIVERED: u8 = 0x84;

/// Reads the head of the frame at the start of `bytes`: its whole length, position, time, and the start of
/// its packet.
fn head(bytes: &[u8]) -> Option<(usize, Position, u64, usize)> {
    let mut reader = Reader::new(bytes);
    let length = usize::try_from(reader.varint().ok()?).ok()?;
    let end = reader.position().checked_add(length)?;
    if end > bytes.len() || reader.byte().ok()? != DELIVERED {
        return None;
    }
    let position = reader.varint().ok()?;
    let time = reader.varint().ok()?;
    let packet = reader.position();
    (packet <= end).then_some((end, Position::new(position), time, packet))
}

/// Returns the message in a frame; `None` if it is not one.
pub(crate) fn message(frame: &Bytes) -> Option<Message> {
    let (end, _, _, packet) = head(frame)?;
    Message::decode(frame.slice(packet..end)).ok()
}

/// Returns the id of the message in a frame, without checking the rest.
pub(crate) fn message_id(frame: &[u8]) -> Option<MessageId> {
    let (end, _, _, packet) = head(frame)?;
    let mut reader = Reader::new(&frame[packet..end]);
    reader.byte().ok()?;
    let member = MemberId::new(reader.varint_u32().ok()?, reader.varint_u32().ok()?);
    Some(MessageId::new(member, reader.varint().ok()?))
}

/// Entry of a directory: one record beside its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DirectoryEntry {
    pub(crate) length: u32,
    pub(crate) crc: u32,
    pub(crate) time: u64,
}

/// The directory of a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RunDirectory {
    pub(crate) room: RoomId,
    pub(crate) first: Position,
    pub(crate) entries: Vec<DirectoryEntry>,
}

impl RunDirectory {
    /// Makes the directory of the records `first..=last`, having checked that the bytes are these.
    pub(crate) fn of_run(
        room: RoomId,
        first: Position,
        last: Position,
        run: &Bytes,
    ) -> Result<Self, InvalidChange> {
        let refuse = |position, error| InvalidChange::Run { room, position, error };
        // A frame has five bytes at least: a lying count must not cost more memory than the bytes do.
        let said = last.since(first).and_then(|n| usize::try_from(n).ok()?.checked_add(1));
        let count = said.filter(|&n| n <= run.len()).ok_or(refuse(first, RunError::Count))?;
        let mut entries = Vec::with_capacity(count);
        let mut at = 0;
        while at < run.len() {
            let expected = first + entries.len() as u64;
            if expected > last {
                return Err(refuse(expected, RunError::Count));
            }
            let rest = &run[at..];
            let (end, position, time, packet) = head(rest).ok_or(refuse(expected, RunError::Frame))?;
            if position != expected {
                return Err(refuse(expected, RunError::Position(position)));
            }
            Message::decode(run.slice(at + packet..at + end))
                .map_err(|_| refuse(expected, RunError::Packet))?;
            let length = u32::try_from(end).map_err(|_| refuse(expected, RunError::Frame))?;
            entries.push(DirectoryEntry { length, time, crc: crc32c::crc32c(&rest[..end]) });
            at += end;
        }
        if entries.len() != count {
            return Err(refuse(first + entries.len() as u64, RunError::Count));
        }
        Ok(Self { room, first, entries })
    }

    /// Returns the position of the last record; `first - 1` if there is none.
    pub(crate) fn last(&self) -> Position {
        self.first + self.entries.len() as u64 - 1
    }

    /// Returns how many bytes all its frames have.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.iter().map(|e| e.length as usize).sum()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put_varint(out, self.room.0);
        put_varint(out, self.first.get());
        put_varint(out, self.entries.len() as u64);
        let mut before = 0;
        for entry in &self.entries {
            put_varint(out, entry.length.into());
            let step = entry.time.wrapping_sub(before) as i64;
            put_varint(out, ((step << 1) ^ (step >> 63)) as u64);
            out.extend_from_slice(&entry.crc.to_le_bytes());
            before = entry.time;
        }
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads a directory back; `None` if it is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_at(bytes.len().checked_sub(4)?);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return None;
        }
        let mut reader = Reader::new(body);
        let room = RoomId(reader.varint().ok()?);
        let first = reader.varint().ok()?;
        let count = usize::try_from(reader.varint().ok()?).ok()?;
        if first == 0 || count > body.len() {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        let mut time = 0u64;
        for _ in 0..count {
            let length = reader.varint_u32().ok()?;
            let step = reader.varint().ok()?;
            time = time.wrapping_add(((step >> 1) as i64 ^ -((step & 1) as i64)) as u64);
            let crc = u32::from_le_bytes(reader.take(4).ok()?.try_into().ok()?);
            entries.push(DirectoryEntry { length, crc, time });
        }
        reader.rest().is_empty().then_some(Self { room, first: Position::new(first), entries })
    }
}

/// A run with its directory: in the staging area, or a block.
#[derive(Clone, Debug)]
pub(crate) struct StoredRun {
    pub(crate) directory: Arc<RunDirectory>,
    pub(crate) frames: Bytes,
}

/// One record of a run.
pub(crate) struct RecordSlot {
    pub(crate) position: Position,
    pub(crate) entry: DirectoryEntry,
    /// Offset of its frame among the run's frames.
    pub(crate) at: usize,
    /// The bytes there are the ones that were appended.
    pub(crate) good: bool,
}

impl StoredRun {
    pub(crate) fn first(&self) -> Position {
        self.directory.first
    }

    pub(crate) fn last(&self) -> Position {
        self.directory.last()
    }

    /// Returns every record, with its checksum compared.
    pub(crate) fn slots(&self) -> impl Iterator<Item = RecordSlot> + '_ {
        let mut at = 0usize;
        self.directory.entries.iter().zip(self.directory.first.onwards()).map(move |(&entry, position)| {
            let start = at;
            at = at.saturating_add(entry.length as usize);
            self.slot(position, entry, start)
        })
    }

    fn slot(&self, position: Position, entry: DirectoryEntry, at: usize) -> RecordSlot {
        let frame = self.frames.get(at..at.saturating_add(entry.length as usize));
        RecordSlot { position, entry, at, good: frame.is_some_and(|f| crc32c::crc32c(f) == entry.crc) }
    }

    /// Returns the frame of a slot whose bytes are good.
    pub(crate) fn frame(&self, slot: &RecordSlot) -> Bytes {
        self.frames.slice(slot.at..slot.at + slot.entry.length as usize)
    }

    /// Returns the good record at a position.
    pub(crate) fn record(&self, position: Position) -> Option<(RecordSlot, Bytes)> {
        let before = usize::try_from(position.since(self.first())?).ok()?;
        let entry = *self.directory.entries.get(before)?;
        let at = self.directory.entries[..before].iter().map(|e| e.length as usize).sum();
        let slot = Some(self.slot(position, entry, at)).filter(|slot| slot.good)?;
        let frame = self.frame(&slot);
        Some((slot, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use causerie_core::wire::Delivered;
    use cbcast::Kind;

    fn run(first: u64, last: u64) -> Bytes {
        let mut out = Vec::new();
        for position in first..=last {
            let id = MessageId::new(MemberId::new(0, 1), position);
            let m = Message::new(id, Kind::Data, &[], b"\x01hi").unwrap();
            let time_millis = if position % 3 == 0 { u64::MAX } else { position };
            Delivered { position: Position::new(position), time_millis, packet: m.into_packet() }
                .encode(&mut out);
        }
        out.into()
    }

    #[test]
    fn directories_round_trip_and_any_flip_is_seen() {
        let bytes = run(7, 20);
        let directory = RunDirectory::of_run(RoomId(3), Position::new(7), Position::new(20), &bytes).unwrap();
        let mut out = Vec::new();
        directory.encode(&mut out);
        assert_eq!(RunDirectory::decode(&out).as_ref(), Some(&directory));
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RunDirectory::decode(&out), None);
            out[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..out.len() {
            assert_eq!(RunDirectory::decode(&out[..cut]), None);
        }
    }

    #[test]
    fn a_flip_in_a_frame_loses_that_record_alone() {
        let bytes = run(1, 9);
        let directory =
            Arc::new(RunDirectory::of_run(RoomId(0), Position::FIRST, Position::new(9), &bytes).unwrap());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let run = StoredRun { directory: directory.clone(), frames: flipped.into() };
            assert_eq!(run.slots().filter(|s| !s.good).count(), 1);
        }
        let short = StoredRun { directory, frames: bytes.slice(..bytes.len() - 1) };
        assert_eq!(short.slots().filter(|s| s.good).count(), 8);
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let error = |first, last, bytes: &Bytes| match RunDirectory::of_run(RoomId(0), first, last, bytes) {
            Err(InvalidChange::Run { position, error, .. }) => (position, error),
            other => panic!("{other:?}"),
        };
        let bytes = run(1, 3);
        assert_eq!(error(Position::FIRST, Position::new(2), &bytes), (Position::new(3), RunError::Count));
        assert_eq!(error(Position::FIRST, Position::new(4), &bytes), (Position::new(4), RunError::Count));
        assert_eq!(error(Position::new(2), Position::FIRST, &bytes), (Position::new(2), RunError::Count));
        assert_eq!(
            error(Position::new(2), Position::new(4), &bytes),
            (Position::new(2), RunError::Position(Position::FIRST))
        );
        assert_eq!(error(Position::FIRST, Position::MAX, &bytes), (Position::FIRST, RunError::Count));
        assert_eq!(
            error(Position::FIRST, Position::FIRST, &Bytes::new()),
            (Position::FIRST, RunError::Count)
        );
        assert_eq!(
            error(Position::FIRST, Position::new(3), &bytes.slice(..bytes.len() - 1)),
            (Position::new(3), RunError::Frame)
        );
        let mut bad = Vec::new();
        Delivered { position: Position::FIRST, time_millis: 0, packet: Bytes::from_static(b"\x09x") }
            .encode(&mut bad);
        assert_eq!(error(Position::FIRST, Position::FIRST, &bad.into()), (Position::FIRST, RunError::Packet));
    }
}
