//! Fields of a frame's body, written and read.

use bytes::Bytes;
use cbcast::wire::{Reader, put_varint};
use cbcast::{MemberId, MessageId, MissingRange, Snapshot, VectorClock, WireError};

use super::error::FrameError;
use crate::id::{Epoch, Position};
use crate::key::Proof;

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_member(out: &mut Vec<u8>, member: MemberId) {
    put_varint(out, member.origin.into());
    put_varint(out, member.ordinal.into());
}

pub(super) fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    put_varint(out, value.map_or(0, |v| v.saturating_add(1)));
}

pub(super) fn put_position(out: &mut Vec<u8>, position: Position) {
    put_varint(out, position.get());
}

pub(super) fn put_ranges(out: &mut Vec<u8>, ranges: &[MissingRange]) {
    put_varint(out, ranges.len() as u64);
    for range in ranges {
        put_member(out, range.member);
        put_varint(out, range.from);
        put_varint(out, range.to - range.from);
    }
}

pub(super) fn put_message_id(out: &mut Vec<u8>, id: MessageId) {
    put_member(out, id.member);
    put_varint(out, id.seq);
}

pub(super) fn put_proof(out: &mut Vec<u8>, proof: &Proof) {
    out.extend_from_slice(&proof.key);
    out.extend_from_slice(&proof.signature);
}

pub(super) fn put_maker(out: &mut Vec<u8>, maker: Option<&Proof>) {
    out.push(u8::from(maker.is_some()));
    maker.into_iter().for_each(|proof| put_proof(out, proof));
}

/// Reads the fields of one body.
pub(super) struct Fields<'a> {
    kind: u8,
    body: &'a Bytes,
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(kind: u8, body: &'a Bytes) -> Self {
        Self { kind, body, reader: Reader::new(body) }
    }

    pub(super) fn field<T>(&self, value: Result<T, WireError>) -> Result<T, FrameError> {
        value.map_err(|error| FrameError::Field { kind: self.kind, error })
    }

    pub(super) fn number(&mut self) -> Result<u64, FrameError> {
        let value = self.reader.varint();
        self.field(value)
    }

    pub(super) fn number_u32(&mut self) -> Result<u32, FrameError> {
        let value = self.reader.varint_u32();
        self.field(value)
    }

    pub(super) fn epoch(&mut self) -> Result<Epoch, FrameError> {
        Ok(Epoch::new(self.number()?))
    }

    pub(super) fn position(&mut self) -> Result<Position, FrameError> {
        Ok(Position::new(self.number()?))
    }

    pub(super) fn flag(&mut self) -> Result<bool, FrameError> {
        let value = self.reader.byte();
        Ok(self.field(value)? != 0)
    }

    pub(super) fn option(&mut self) -> Result<Option<u64>, FrameError> {
        Ok(self.number()?.checked_sub(1))
    }

    pub(super) fn text(&mut self) -> Result<String, FrameError> {
        let bytes = self.reader.prefixed();
        let bytes = self.field(bytes)?;
        let text = core::str::from_utf8(bytes).map_err(|_| FrameError::NotUtf8 { kind: self.kind })?;
        Ok(text.to_owned())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let bytes = self.reader.take(N);
        Ok(self.field(bytes)?.try_into().expect("took as many"))
    }

    pub(super) fn proof(&mut self) -> Result<Proof, FrameError> {
        Ok(Proof { key: self.array()?, signature: self.array()? })
    }

    pub(super) fn maker(&mut self) -> Result<Option<Proof>, FrameError> {
        Ok(if self.flag()? { Some(self.proof()?) } else { None })
    }

    pub(super) fn member(&mut self) -> Result<MemberId, FrameError> {
        Ok(MemberId::new(self.number_u32()?, self.number_u32()?))
    }

    pub(super) fn message_id(&mut self) -> Result<MessageId, FrameError> {
        Ok(MessageId::new(self.member()?, self.number()?))
    }

    pub(super) fn out_of_range(&self) -> FrameError {
        FrameError::Field { kind: self.kind, error: WireError::Integer }
    }

    /// Stretches of positions, as the first and how many follow it.
    pub(super) fn stretches(&mut self) -> Result<Vec<(Position, Position)>, FrameError> {
        self.list(|f| {
            let (from, more) = (f.position()?, f.number()?);
            Ok((from, f.field(from.checked_add(more).ok_or(WireError::Integer))?))
        })
    }

    /// Bytes behind their length.
    pub(super) fn bytes(&mut self) -> Result<Bytes, FrameError> {
        let bytes = self.reader.prefixed();
        let length = self.field(bytes)?.len();
        let end = self.reader.position();
        Ok(self.body.slice(end - length..end))
    }

    pub(super) fn clock(&mut self) -> Result<VectorClock, FrameError> {
        let clock = VectorClock::decode(&mut self.reader);
        self.field(clock)
    }

    pub(super) fn snapshot(&mut self) -> Result<Snapshot, FrameError> {
        let snapshot = Snapshot::decode(&mut self.reader);
        self.field(snapshot)
    }

    pub(super) fn rest(&mut self) -> Bytes {
        self.body.slice(self.reader.position()..)
    }

    /// A list; its memory is bounded by the bytes there are.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Vec<T>, FrameError> {
        let count = self.number()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn ranges(&mut self) -> Result<Vec<MissingRange>, FrameError> {
        self.list(|f| {
            let (member, from, more) = (f.member()?, f.number()?, f.number()?);
            let to = f.field(from.checked_add(more).ok_or(WireError::Integer))?;
            Ok(MissingRange { member, from, to })
        })
    }
}
