//! Controls, which members tell each other beside messages: clocks, repair requests, flushes; and packets, which are either.
//!
//! ```text
//! control = kind(1 byte) body
//! kind 16 = clock      17 = ranges{ origin ordinal from to-from }
//! kind 18 = origin ordinal number count      flush: report what you have of this member, take no more than that
//! kind 19 = origin ordinal number count      flushed: so much
//! kind 20 = origin ordinal count             departed: you have left, as your host says
//! kind 21 = origin ordinal number            called off: the flush before
//! kind 23 = origin ordinal count             let go: so many of its messages are kept by nobody
//! kind 22 = members{ origin ordinal }        locals: they all live here
//! checked = packet crc32(4 bytes, least significant first)
//! ```

use alloc::vec::Vec;
use bytes::Bytes;

use crate::clock::VectorClock;
use crate::id::MemberId;
use crate::message::{DecodeError, Message};
use crate::repair::MissingRange;
use crate::wire::{Reader, WireError, put_varint};

const CLOCK: u8 = 16;
const WANT: u8 = 17;
const FLUSH: u8 = 18;
const FLUSHED: u8 = 19;
const DEPARTED: u8 = 20;
const CALLED_OFF: u8 = 21;
const LOCALS: u8 = 22;
const LET_GO: u8 = 23;

const CHECKSUM_BYTES: usize = 4;

/// Something that members tell each other beside messages. Lost ones are told again.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Control {
    /// Clock of what the sender has delivered: a heartbeat, and an acknowledgement.
    Clock(VectorClock),
    /// Send these again.
    Want(Vec<MissingRange>),
    /// The host is about to part with this member: report what you have delivered of it, and take no more than
    /// what you or the host has.
    Flush {
        /// Member that is to leave.
        member: MemberId,
        /// The number of the flush among the flushes of this member and the times that one was called off, from 1.
        number: u64,
        /// Number of its messages that the host has delivered.
        count: u64,
    },
    /// The answer: so many have been delivered or may be, and no more will be until the host says that there are more.
    /// Also the answer to [`CalledOff`](Self::CalledOff).
    Flushed {
        /// Member that is to leave.
        member: MemberId,
        /// The number that is answered.
        number: u64,
        /// Number of its messages that the reporter has delivered, or has been told that the host has.
        count: u64,
    },
    /// To a member that still speaks: it has left, and what it says is dropped by whoever has delivered its *Left*.
    Departed {
        /// Member that has left.
        member: MemberId,
        /// Number of messages of its host that have been delivered; the *Left* is one of them.
        count: u64,
    },
    /// These members live where the link comes from, the one that it speaks for among them: its clocks and reports are
    /// those of all.
    Locals(Vec<MemberId>),
    /// The answer to who asks for messages that all have acknowledged, the asker among them: nobody keeps them.
    LetGo {
        /// Member whose messages they are.
        member: MemberId,
        /// Number of the last of them.
        count: u64,
    },
    /// The member does not leave after all: take what it says again, and answer by [`Flushed`](Self::Flushed).
    CalledOff {
        /// Member that stays.
        member: MemberId,
        /// The number after that of the flush: reports of the flush itself are no answer.
        number: u64,
    },
}

impl Control {
    /// Its bytes. O(entries).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let put_member = |out: &mut Vec<u8>, member: MemberId| {
            put_varint(out, member.origin.into());
            put_varint(out, member.ordinal.into());
        };
        match self {
            Self::Clock(clock) => {
                out.push(CLOCK);
                clock.encode(&mut out);
            }
            Self::Want(ranges) => {
                out.push(WANT);
                put_varint(&mut out, ranges.len() as u64);
                for range in ranges {
                    put_member(&mut out, range.member);
                    put_varint(&mut out, range.from);
                    put_varint(&mut out, range.to - range.from);
                }
            }
            Self::Flush { member, number, count } | Self::Flushed { member, number, count } => {
                out.push(if matches!(self, Self::Flush { .. }) { FLUSH } else { FLUSHED });
                put_member(&mut out, *member);
                put_varint(&mut out, *number);
                put_varint(&mut out, *count);
            }
            Self::Locals(members) => {
                out.push(LOCALS);
                put_varint(&mut out, members.len() as u64);
                members.iter().for_each(|&member| put_member(&mut out, member));
            }
            Self::Departed { member, count: number }
            | Self::CalledOff { member, number }
            | Self::LetGo { member, count: number } => {
                out.push(match self {
                    Self::Departed { .. } => DEPARTED,
                    Self::CalledOff { .. } => CALLED_OFF,
                    _ => LET_GO,
                });
                put_member(&mut out, *member);
                put_varint(&mut out, *number);
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let member = |reader: &mut Reader<'_>| {
            Ok::<_, WireError>(MemberId::new(reader.varint_u32()?, reader.varint_u32()?))
        };
        Ok(match reader.byte()? {
            CLOCK => Self::Clock(VectorClock::decode(&mut reader)?),
            WANT => {
                let mut ranges = Vec::new();
                for _ in 0..reader.varint()? {
                    let (member, from, more) = (member(&mut reader)?, reader.varint()?, reader.varint()?);
                    let to = from.checked_add(more).ok_or(WireError::Integer)?;
                    ranges.push(MissingRange { member, from, to });
                }
                Self::Want(ranges)
            }
            FLUSH => Self::Flush {
                member: member(&mut reader)?,
                number: reader.varint()?,
                count: reader.varint()?,
            },
            FLUSHED => Self::Flushed {
                member: member(&mut reader)?,
                number: reader.varint()?,
                count: reader.varint()?,
            },
            LOCALS => {
                let mut members = Vec::new();
                for _ in 0..reader.varint()? {
                    members.push(member(&mut reader)?);
                }
                Self::Locals(members)
            }
            DEPARTED => Self::Departed { member: member(&mut reader)?, count: reader.varint()? },
            LET_GO => Self::LetGo { member: member(&mut reader)?, count: reader.varint()? },
            CALLED_OFF => Self::CalledOff { member: member(&mut reader)?, number: reader.varint()? },
            kind => return Err(DecodeError::UnknownKind(kind)),
        })
    }
}

/// Packet that goes over a link of a mesh: a message or a control.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packet {
    /// A message, to be delivered in causal order.
    Message(Message),
    /// Something for the group itself.
    Control(Control),
}

impl Packet {
    /// Reads a whole packet. O(dependencies) for a message, O(entries) for a control.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with it.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        match bytes.first() {
            Some(&kind) if kind >= CLOCK => Ok(Self::Control(Control::decode(&bytes)?)),
            _ => Ok(Self::Message(Message::decode(bytes)?)),
        }
    }

    /// Reads a whole packet that [`into_checked_bytes`](Self::into_checked_bytes) wrote. O(bytes).
    ///
    /// # Errors
    /// [`DecodeError`]: [`Checksum`](DecodeError::Checksum) if it was changed on its way.
    pub fn decode_checked(mut bytes: Bytes) -> Result<Self, DecodeError> {
        let length = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(WireError::Truncated)?;
        let checksum = bytes.split_off(length);
        if checksum[..] != crc32fast::hash(&bytes).to_le_bytes() {
            return Err(DecodeError::Checksum);
        }
        Self::decode(bytes)
    }

    /// Its bytes and, behind them, their CRC-32: for links that may change what they carry without a word. Nothing is
    /// added to what a message's author wrote, so each link of a way can do it or leave it. O(bytes), and a copy.
    #[must_use]
    pub fn into_checked_bytes(self) -> Bytes {
        let bytes = self.into_bytes();
        let mut checked = Vec::with_capacity(bytes.len() + CHECKSUM_BYTES);
        checked.extend_from_slice(&bytes);
        checked.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        checked.into()
    }

    /// Its bytes: those of a message as they are, O(1); those of a control, O(entries).
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Message(message) => message.into_packet(),
            Self::Control(control) => Bytes::from(control.encode()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::message::Kind;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn controls_round_trip() {
        let raj = MemberId::new(3, 300);
        for control in [
            Control::Clock([(raj, 7)].into_iter().collect()),
            Control::Want(vec![MissingRange { member: raj, from: 3, to: 300 }]),
            Control::Flush { member: raj, number: 2, count: 300 },
            Control::Flushed { member: raj, number: 300, count: 1 << 40 },
            Control::Departed { member: raj, count: 300 },
            Control::CalledOff { member: raj, number: 1 },
            Control::LetGo { member: raj, count: 300 },
            Control::Locals(vec![raj, MemberId::new(4, 1)]),
        ] {
            let packet = Packet::Control(control);
            assert_eq!(Packet::decode(packet.clone().into_bytes()), Ok(packet));
        }
    }

    proptest! {
        /// Bits that are flipped, up to three of them, and an end that is missing.
        #[test]
        fn a_packet_that_was_changed_is_refused(
            payload: Vec<u8>,
            flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let id = MessageId::new(MemberId::new(0, 1), 1);
            let message = Message::new(id, Kind::Data, &[], &payload).unwrap();
            let packet = Packet::Message(message);
            let checked = packet.clone().into_checked_bytes();
            prop_assert_eq!(Packet::decode_checked(checked.clone()), Ok(packet));
            let mut changed = checked.to_vec();
            let bits: alloc::collections::BTreeSet<_> =
                flips.iter().map(|flip| flip.index(8 * checked.len())).collect();
            for bit in bits {
                changed[bit / 8] ^= 1 << (bit % 8);
            }
            prop_assert_eq!(Packet::decode_checked(changed.into()), Err(DecodeError::Checksum));
            prop_assert!(Packet::decode_checked(checked.slice(..cut.index(checked.len()))).is_err());
        }

        #[test]
        fn any_bytes_are_a_packet_or_refused(mut bytes: Vec<u8>, kind in 0u8..24) {
            let _ = Packet::decode(Bytes::from(bytes.clone()));
            let _ = Packet::decode_checked(Bytes::from(bytes.clone()));
            bytes.insert(0, kind);
            let _ = Packet::decode(Bytes::from(bytes));
        }
    }
}
