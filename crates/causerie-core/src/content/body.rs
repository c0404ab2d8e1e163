//! Bodies: the payload of a `cbcast` message in a chat room.
//!
//! ```text
//! payload of Data    = kind fields     as in the table below. Other kinds are passed on unharmed.
//! payload of Joined  = name            the newcomer's name, UTF-8
//! payload of Left    = reason          UTF-8, may be empty
//!
//! 1 text       text{rest}
//! 2 action     text{rest}              what the author does: "/me waves"
//! 3 reply      target text{rest}       answers that message
//! 4 edit       target text{rest}       that message, the author's own, now reads so
//! 5 delete     target reason{rest}     that message, the author's own, is taken back; the reason may be empty
//! 6 reaction   target set symbol{rest} set 1: the symbol is put beside that message, 0: taken away again
//! 7 topic      text{rest}              what the room is about from now on; may be empty
//! 8 notice     text{rest}              a text that no program answers of itself
//! target       = origin ordinal seq    a message that the author had delivered, or its own
//! ```
//! All numbers are shortest-form LEB128. A target is in its message's causal past, so nobody sees what refers to it
//! before it.

use bytes::Bytes;
use cbcast::wire::{Reader, WireError, put_varint};
use cbcast::{MemberId, MessageId};
use thiserror::Error;

use crate::content::text::is_symbol;

const TEXT: u64 = 1;
const ACTION: u64 = 2;
const REPLY: u64 = 3;
const EDIT: u64 = 4;
const DELETE: u64 = 5;
const REACTION: u64 = 6;
const TOPIC: u64 = 7;
const NOTICE: u64 = 8;

/// Bytes of a reaction's symbol.
pub const SYMBOL_BYTES_MAX: usize = 64;

/// Bytes of the reason for a deletion.
pub const REASON_BYTES_MAX: usize = 1_024;

/// Bytes of a topic.
pub const TOPIC_BYTES_MAX: usize = 1_024;

/// Limit of messages that are looked at for one: who edits edits for ever is not followed for ever.
pub(crate) const LOOKS_MAX: usize = 64;

/// A body: what a member says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// A text.
    Text(String),
    /// An action of the author's: `/me waves`.
    Action(String),
    /// An answer.
    Reply {
        /// Message that it answers.
        to: MessageId,
        /// Text of the answer.
        text: String,
    },
    /// An own message reads otherwise from now on.
    Edit {
        /// Message that is changed.
        of: MessageId,
        /// Text from now on.
        text: String,
    },
    /// An own message is taken back.
    Delete {
        /// Message that is changed.
        of: MessageId,
        /// Reason; empty if none is said.
        reason: String,
    },
    /// A symbol beside a message.
    Reaction {
        /// Message that it stands beside.
        to: MessageId,
        /// Symbol: an emoji, as a rule.
        symbol: String,
        /// True to put it there; otherwise the author takes its own away again.
        set: bool,
    },
    /// A topic of the room from now on.
    Topic(String),
    /// A text that no program answers of itself: what bots say, so that they do not talk with each other for ever
    /// [RFC 2812, 3.3.2].
    Notice(String),
    /// A kind that this version does not know: nothing to show, and passed on as it is.
    Unknown(Bytes),
}

/// Reason why something cannot be said. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BodyError {
    /// The bytes are not what their kind says.
    #[error("the payload is malformed: {0}")]
    Wire(#[from] WireError),
    /// A text that is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Longer than the room allows.
    #[error("a {what} has at most {limit} bytes here, and this one has {length}")]
    TooLong {
        /// A text, a symbol, a topic.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A reaction in which nothing shows, or something hides, turns or moves what stands around it.
    #[error("a reaction is a symbol that shows, without spaces")]
    NotASymbol,
    /// Edits and deletions are of one's own messages.
    #[error("{target} is somebody else's message")]
    NotYours {
        /// Message that was to be changed.
        target: MessageId,
    },
    /// A reference to a message that has not been delivered here.
    #[error("there is no message {target}")]
    NoSuchMessage {
        /// Message that is not there.
        target: MessageId,
    },
}

impl Body {
    /// Returns its payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.text().map_or(0, str::len));
        let mut start = |kind, target: Option<&MessageId>| {
            put_varint(&mut out, kind);
            if let Some(&MessageId { member, seq }) = target {
                put_varint(&mut out, member.origin.into());
                put_varint(&mut out, member.ordinal.into());
                put_varint(&mut out, seq);
            }
        };
        match self {
            Self::Text(_) => start(TEXT, None),
            Self::Action(_) => start(ACTION, None),
            Self::Notice(_) => start(NOTICE, None),
            Self::Reply { to, .. } => start(REPLY, Some(to)),
            Self::Edit { of, .. } => start(EDIT, Some(of)),
            Self::Delete { of, reason } => {
                start(DELETE, Some(of));
                out.extend_from_slice(reason.as_bytes());
            }
            Self::Reaction { to, set, symbol } => {
                start(REACTION, Some(to));
                out.push((*set).into());
                out.extend_from_slice(symbol.as_bytes());
            }
            Self::Topic(topic) => {
                start(TOPIC, None);
                out.extend_from_slice(topic.as_bytes());
            }
            Self::Unknown(bytes) => return bytes.to_vec(),
        }
        out.extend_from_slice(self.text().unwrap_or_default().as_bytes());
        out
    }

    /// Reads a payload. What this version does not know, or what is malformed, is [`Unknown`](Self::Unknown).
    #[must_use]
    pub fn decode(payload: &Bytes) -> Self {
        Self::try_decode(payload).unwrap_or_else(|_| Self::Unknown(payload.clone()))
    }

    /// Reads a payload as [`decode`](Self::decode) does, but what claims to be of a known kind must be so.
    ///
    /// # Errors
    /// [`BodyError::Wire`] and [`BodyError::NotUtf8`].
    pub fn try_decode(payload: &Bytes) -> Result<Self, BodyError> {
        let mut reader = Reader::new(payload);
        let Ok(kind) = reader.varint() else { return Ok(Self::Unknown(payload.clone())) };
        let rest = |reader: Reader<'_>| match core::str::from_utf8(reader.rest()) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(BodyError::NotUtf8),
        };
        Ok(match kind {
            TEXT => Self::Text(rest(reader)?),
            ACTION => Self::Action(rest(reader)?),
            REPLY => Self::Reply { to: target(&mut reader)?, text: rest(reader)? },
            EDIT => Self::Edit { of: target(&mut reader)?, text: rest(reader)? },
            DELETE => Self::Delete { of: target(&mut reader)?, reason: rest(reader)? },
            REACTION => {
                Self::Reaction { to: target(&mut reader)?, set: reader.byte()? != 0, symbol: rest(reader)? }
            }
            TOPIC => Self::Topic(rest(reader)?),
            NOTICE => Self::Notice(rest(reader)?),
            _ => Self::Unknown(payload.clone()),
        })
    }

    /// Returns the text to read and to search: of a text, an action, a notice, a reply or an edit.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text)
            | Self::Action(text)
            | Self::Notice(text)
            | Self::Reply { text, .. }
            | Self::Edit { text, .. } => Some(text),
            Self::Delete { .. } | Self::Reaction { .. } | Self::Topic(_) | Self::Unknown(_) => None,
        }
    }

    /// Returns the text to read, of a topic too.
    #[must_use]
    pub fn readable(&self) -> Option<&str> {
        match self {
            Self::Topic(topic) => Some(topic),
            _ => self.text(),
        }
    }

    /// Returns the same body with another text, if it has one, or with another topic.
    #[must_use]
    pub fn with_text(&self, text: String) -> Self {
        match self {
            Self::Text(_) => Self::Text(text),
            Self::Action(_) => Self::Action(text),
            Self::Notice(_) => Self::Notice(text),
            Self::Reply { to, .. } => Self::Reply { to: *to, text },
            Self::Edit { of, .. } => Self::Edit { of: *of, text },
            Self::Topic(_) => Self::Topic(topic_part(&text).to_owned()),
            Self::Delete { .. } | Self::Reaction { .. } | Self::Unknown(_) => self.clone(),
        }
    }

    /// Returns whether it has a line of its own in a timeline. A body without one only changes other messages.
    #[must_use]
    pub const fn has_line(&self) -> bool {
        match self {
            Self::Text(_)
            | Self::Action(_)
            | Self::Notice(_)
            | Self::Reply { .. }
            | Self::Topic(_)
            | Self::Unknown(_) => true,
            Self::Edit { .. } | Self::Delete { .. } | Self::Reaction { .. } => false,
        }
    }

    /// Returns the message that it edits or deletes.
    #[must_use]
    pub const fn changed(&self) -> Option<MessageId> {
        match self {
            Self::Edit { of, .. } | Self::Delete { of, .. } => Some(*of),
            Self::Text(_)
            | Self::Action(_)
            | Self::Notice(_)
            | Self::Reply { .. }
            | Self::Reaction { .. }
            | Self::Topic(_)
            | Self::Unknown(_) => None,
        }
    }

    /// Returns the message that it refers to.
    #[must_use]
    pub const fn target(&self) -> Option<MessageId> {
        match self {
            Self::Reply { to: target, .. }
            | Self::Reaction { to: target, .. }
            | Self::Edit { of: target, .. }
            | Self::Delete { of: target, .. } => Some(*target),
            Self::Text(_) | Self::Action(_) | Self::Notice(_) | Self::Topic(_) | Self::Unknown(_) => None,
        }
    }

    /// Returns the same body about another message, if it is about any. Of a reply to nothing the text is left.
    ///
    /// # Errors
    /// [`BodyError::NoSuchMessage`]: what else refers to nothing cannot be said.
    pub(crate) fn retargeted(self, instead: Option<MessageId>) -> Result<Self, BodyError> {
        let Some(target) = self.target() else { return Ok(self) };
        Ok(match (self, instead) {
            (Self::Reply { text, .. }, None) => Self::Text(text),
            (_, None) => return Err(BodyError::NoSuchMessage { target }),
            (Self::Reply { text, .. }, Some(to)) => Self::Reply { to, text },
            (Self::Edit { text, .. }, Some(of)) => Self::Edit { of, text },
            (Self::Delete { reason, .. }, Some(of)) => Self::Delete { of, reason },
            (Self::Reaction { symbol, set, .. }, Some(to)) => Self::Reaction { to, symbol, set },
            (other, _) => other,
        })
    }

    /// Checks that `author` may say it in a room whose texts have `text_bytes_max` bytes at most. Whether the target is
    /// there is another question.
    ///
    /// # Errors
    /// [`BodyError`].
    pub fn check(&self, author: MemberId, text_bytes_max: usize) -> Result<(), BodyError> {
        let fits = |what, length, limit| {
            if length > limit { Err(BodyError::TooLong { what, length, limit }) } else { Ok(()) }
        };
        match self {
            Self::Edit { of: target, .. } | Self::Delete { of: target, .. } if target.member != author => {
                Err(BodyError::NotYours { target: *target })
            }
            Self::Reaction { symbol, .. } => {
                fits("symbol", symbol.len(), SYMBOL_BYTES_MAX)?;
                if is_symbol(symbol) { Ok(()) } else { Err(BodyError::NotASymbol) }
            }
            Self::Delete { reason, .. } => fits("reason", reason.len(), REASON_BYTES_MAX),
            Self::Topic(topic) => fits("topic", topic.len(), TOPIC_BYTES_MAX),
            Self::Unknown(bytes) => fits("message", bytes.len(), text_bytes_max),
            Self::Text(text)
            | Self::Action(text)
            | Self::Notice(text)
            | Self::Reply { text, .. }
            | Self::Edit { text, .. } => fits("text", text.len(), text_bytes_max),
        }
    }
}

/// Returns the message that a payload answers or reacts to. O(1).
#[must_use]
pub fn answered_by(payload: &[u8]) -> Option<MessageId> {
    let mut reader = Reader::new(payload);
    match reader.varint() {
        Ok(REPLY | REACTION) => target(&mut reader).ok(),
        _ => None,
    }
}

/// Returns the message that a payload changes: that it edits or deletes. O(1).
#[must_use]
pub fn changed_by(payload: &[u8]) -> Option<MessageId> {
    let mut reader = Reader::new(payload);
    match reader.varint() {
        Ok(EDIT | DELETE) => target(&mut reader).ok(),
        _ => None,
    }
}

/// Returns as much of a text as a topic may have.
pub(crate) fn topic_part(text: &str) -> &str {
    let mut end = text.len().min(TOPIC_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns the topic that a payload sets.
pub(crate) fn topic_of(payload: &[u8]) -> Option<&str> {
    let mut reader = Reader::new(payload);
    let is_topic = reader.varint() == Ok(TOPIC);
    is_topic.then(|| core::str::from_utf8(reader.rest()).ok()).flatten()
}

fn target(reader: &mut Reader<'_>) -> Result<MessageId, WireError> {
    let member = MemberId::new(reader.varint_u32()?, reader.varint_u32()?);
    Ok(MessageId::new(member, reader.varint()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_body() -> impl Strategy<Value = Body> {
        let target = (any::<u32>(), any::<u32>(), any::<u64>())
            .prop_map(|(origin, ordinal, seq)| MessageId::new(MemberId::new(origin, ordinal), seq));
        prop_oneof![
            any::<String>().prop_map(Body::Text),
            any::<String>().prop_map(Body::Action),
            any::<String>().prop_map(Body::Notice),
            (target.clone(), any::<String>()).prop_map(|(to, text)| Body::Reply { to, text }),
            (target.clone(), any::<String>()).prop_map(|(of, text)| Body::Edit { of, text }),
            (target.clone(), any::<String>()).prop_map(|(of, reason)| Body::Delete { of, reason }),
            (target, any::<String>(), any::<bool>()).prop_map(|(to, symbol, set)| Body::Reaction {
                to,
                symbol,
                set
            }),
            any::<String>().prop_map(Body::Topic),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_round_trips(body in any_body()) {
            let payload = Bytes::from(body.encode());
            prop_assert_eq!(answered_by(&payload).or(changed_by(&payload)), body.target());
            prop_assert_eq!(Body::try_decode(&payload), Ok(body));
        }

        #[test]
        fn any_bytes_pass_unharmed(bytes in any::<Vec<u8>>()) {
            let payload = Bytes::from(bytes);
            let body = Body::decode(&payload);
            match Body::try_decode(&payload) {
                Ok(same) => prop_assert_eq!(&body, &same),
                Err(_) => prop_assert_eq!(&body, &Body::Unknown(payload.clone())),
            }
            if let Body::Unknown(same) = body {
                prop_assert_eq!(same, payload);
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let target = MessageId::new(MemberId::new(0, 3), 300);
        let cases: [(Body, &[u8]); 8] = [
            (Body::Text("hi".into()), b"\x01hi"),
            (Body::Action("waves".into()), b"\x02waves"),
            (Body::Notice("done".into()), b"\x08done"),
            (Body::Reply { to: target, text: "yes".into() }, b"\x03\x00\x03\xac\x02yes"),
            (Body::Edit { of: target, text: "no".into() }, b"\x04\x00\x03\xac\x02no"),
            (Body::Delete { of: target, reason: String::new() }, b"\x05\x00\x03\xac\x02"),
            (Body::Reaction { to: target, symbol: "+1".into(), set: true }, b"\x06\x00\x03\xac\x02\x01+1"),
            (Body::Topic(String::new()), b"\x07"),
        ];
        for (body, bytes) in cases {
            assert_eq!(body.encode(), bytes, "{body:?}");
        }
    }

    #[test]
    fn what_claims_to_be_known_and_is_not_is_told() {
        for bytes in [&[1, 0xff][..], &[3, 0, 3], &[5], &[6, 0, 3, 1], &[6, 0, 3, 1, 1, 0xff]] {
            let payload = Bytes::copy_from_slice(bytes);
            assert!(Body::try_decode(&payload).is_err(), "{bytes:?}");
            assert_eq!(Body::decode(&payload).encode(), bytes);
        }
    }

    #[test]
    fn limits_and_rights() {
        let [ann, raj] = [1, 2].map(|ordinal| MemberId::new(0, ordinal));
        let anns = MessageId::new(ann, 1);
        let check = |body: Body| body.check(raj, 5);
        assert_eq!(check(Body::Text("12345".into())), Ok(()));
        assert!(matches!(check(Body::Action("123456".into())), Err(BodyError::TooLong { length: 6, .. })));
        assert_eq!(check(Body::Reply { to: anns, text: "yes".into() }), Ok(()));
        assert_eq!(
            check(Body::Delete { of: anns, reason: String::new() }),
            Err(BodyError::NotYours { target: anns })
        );
        assert_eq!(Body::Delete { of: anns, reason: String::new() }.check(ann, 5), Ok(()));
        let reaction = |symbol: &str| check(Body::Reaction { to: anns, symbol: symbol.into(), set: true });
        assert_eq!(reaction("👍🏽"), Ok(()));
        for strange in ["", "a b", "\u{1b}[2J", "\n", "\u{202e}", "\u{200d}"] {
            assert_eq!(reaction(strange), Err(BodyError::NotASymbol), "{strange:?}");
        }
        assert!(matches!(reaction(&"x".repeat(65)), Err(BodyError::TooLong { .. })));
        assert_eq!(check(Body::Topic("longer than five".into())), Ok(()));
        assert!(check(Body::Topic("x".repeat(1_025))).is_err());
        assert!(check(Body::Unknown(Bytes::from_static(&[9; 6]))).is_err());
    }
}
