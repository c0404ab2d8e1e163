//! What people say: the payload of a `cbcast` message in a chat room.
//!
//! ```text
//! payload of Data    = kind text       kind 1: a text, UTF-8. Other kinds are passed on unharmed.
//! payload of Joined  = name            the newcomer's name, UTF-8
//! payload of Left    = reason          UTF-8, may be empty
//! ```

use bytes::Bytes;
use cbcast::wire::{Reader, put_varint};

const TEXT: u64 = 1;

/// What a member said.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// A text.
    Text(String),
    /// Something that this version does not know, or that is malformed: nothing to show, and passed on as it is.
    Unknown(Bytes),
}

impl Body {
    /// Its payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => {
                let mut out = Vec::with_capacity(1 + text.len());
                put_varint(&mut out, TEXT);
                out.extend_from_slice(text.as_bytes());
                out
            }
            Self::Unknown(bytes) => bytes.to_vec(),
        }
    }

    /// Reads a payload. What is not a text of this version is [`Unknown`](Self::Unknown), never an error.
    #[must_use]
    pub fn decode(payload: &Bytes) -> Self {
        let mut reader = Reader::new(payload);
        match reader.varint() {
            Ok(TEXT) => match core::str::from_utf8(reader.rest()) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Unknown(payload.clone()),
            },
            _ => Self::Unknown(payload.clone()),
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Unknown(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_and_the_unknown_passes_unharmed() {
        let text = Body::Text("hé\0llo".into());
        assert_eq!(Body::decode(&text.encode().into()), text);
        for bytes in [&[][..], &[9, 1, 2], &[1, 0xff]] {
            let payload = Bytes::copy_from_slice(bytes);
            assert_eq!(Body::decode(&payload), Body::Unknown(payload.clone()));
            assert_eq!(Body::decode(&payload).encode(), bytes);
        }
    }
}
