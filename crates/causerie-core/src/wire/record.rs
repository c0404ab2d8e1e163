//! Records of a room's log, as frames.

use bytes::Bytes;
use cbcast::wire::{Reader, put_varint};

use super::error::FrameError;
use super::fields::{Fields, put_position};
use super::frame::put_frame;
use crate::id::Position;

/// A record of a room's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// Its place in the room's order, from 1, without holes.
    pub position: Position,
    /// The server's wall clock at delivery, in milliseconds since 1970: for people, never for order.
    pub time_millis: u64,
    /// The `cbcast` packet, as its author wrote it.
    pub packet: Bytes,
}

/// Kind of a frame with a record.
pub(super) const DELIVERED: u8 = 0x84;

impl Delivered {
    /// Appends the record as a frame to `out`: the bytes that every reader of the log gets.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_frame(out, DELIVERED, |out| {
            put_position(out, self.position);
            put_varint(out, self.time_millis);
            out.extend_from_slice(&self.packet);
        });
    }

    /// Reads the body of a frame. `None`: its kind is another one.
    ///
    /// # Errors
    /// [`FrameError::Field`].
    pub fn decode(kind: u8, body: &Bytes) -> Result<Option<Self>, FrameError> {
        if kind != DELIVERED {
            return Ok(None);
        }
        let mut f = Fields::new(kind, body);
        Ok(Some(Self { position: f.position()?, time_millis: f.number()?, packet: f.rest() }))
    }
}

/// The position of the first record of a run, and the length of its frame. The run is one of the log's own, and
/// not empty.
#[must_use]
pub fn head(run: &Bytes) -> (Position, usize) {
    let mut reader = Reader::new(run);
    let length = reader.varint().expect("the log's own frames") as usize;
    let head = reader.position();
    reader.byte().expect("the log's own frames");
    (Position::new(reader.varint().expect("the log's own frames")), head + length)
}
