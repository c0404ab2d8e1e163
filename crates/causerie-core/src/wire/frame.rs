//! Frames as such: their lengths, and where one ends in a stream.

use bytes::{Buf, Bytes, BytesMut};
use cbcast::WireError;
use cbcast::wire::{Reader, put_varint};

use super::error::FrameError;

/// Takes the next whole frame off the front of `buffer`: its kind and body. `None`: more bytes are needed.
///
/// Nothing is copied; the body shares the buffer's memory. O(1).
///
/// # Errors
/// [`FrameError::TooLong`], [`FrameError::Empty`], [`FrameError::Length`]: the stream cannot be read further.
pub fn split_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<(u8, Bytes)>, FrameError> {
    let mut reader = Reader::new(buffer);
    let length = match reader.varint() {
        Ok(0) => return Err(FrameError::Empty),
        Ok(length) if length > limit as u64 => return Err(FrameError::TooLong { length, limit }),
        Ok(length) => length as usize,
        Err(WireError::Truncated) if buffer.len() < 10 => return Ok(None),
        Err(_) => return Err(FrameError::Length),
    };
    let head = reader.position();
    if buffer.len() < head + length {
        return Ok(None);
    }
    buffer.advance(head);
    let mut frame = buffer.split_to(length).freeze();
    let kind = frame[0];
    frame.advance(1);
    Ok(Some((kind, frame)))
}

/// Appends `length kind body` to `out`, with `body` written by the closure.
pub(super) fn put_frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(kind);
    body(out);
    let length = out.len() - start;
    let mut head = Vec::with_capacity(3);
    put_varint(&mut head, length as u64);
    out.splice(start..start, head);
}
