//! Cuts: all that a process has delivered, as a value of its own.

use alloc::vec::Vec;

use crate::clock::VectorClock;
use crate::id::{MemberId, MessageId};
use crate::snapshot::{Snapshot, decode_members, encode_members};
use crate::wire::{Reader, WireError};

/// A causally closed set of messages: what somebody had delivered at one moment, the departed included.
///
/// It is what repair goes by where logs answer: whoever lacks something says its cut, and is sent what the cut lacks of
/// the other's log, in the order of that log, which is causal, so that nothing is held back. It is also what somebody
/// says who goes on elsewhere (see [`Group::list_beyond`](crate::Group::list_beyond)).
///
/// ```
/// use cbcast::{Config, Group, MemberId, Message, Output, Snapshot, Time};
///
/// let host = MemberId::host(7);
/// let mut group = Group::new(Config::relay(), &Snapshot::hosts([7]), [host])?;
/// let mut log: Vec<Message> = Vec::new();
/// let before = group.cut();
/// group.broadcast(Time::ZERO, host, b"hello")?;
/// while let Some(output) = group.poll_output() {
///     if let Output::Deliver { message, .. } = output {
///         log.push(message);
///     }
/// }
/// // Somebody who was last here before that asks: where does what it lacks begin?
/// let begin = before.first_lacking().filter_map(|id| log.iter().position(|m| m.id() == id)).min();
/// let missing: Vec<_> = log[begin.unwrap_or(log.len())..].iter().filter(|m| !before.has(m.id())).collect();
/// assert_eq!(missing.len(), 1);
/// assert!(group.cut().has(missing[0].id()) && group.cut().includes(&before));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cut {
    clock: VectorClock,
    /// Sorted by origin.
    next_ordinals: Vec<(u32, u32)>,
}

impl Cut {
    pub(crate) fn new(clock: VectorClock, next_ordinals: Vec<(u32, u32)>) -> Self {
        Self { clock, next_ordinals }
    }

    /// Returns whether the message is within it, or is of a member that has left. O(log members).
    #[must_use]
    pub fn has(&self, id: MessageId) -> bool {
        self.clock.includes(id) || (!self.clock.knows(id.member) && self.has_parted_with(id.member))
    }

    /// Returns whether a member had left: its ordinal had been given out, and it was in no more. O(log members).
    #[must_use]
    pub fn has_parted_with(&self, member: MemberId) -> bool {
        let origin = self.next_ordinals.binary_search_by_key(&member.origin, |&(origin, _)| origin);
        !self.clock.knows(member) && origin.is_ok_and(|at| member.ordinal < self.next_ordinals[at].1)
    }

    /// Returns who was in, and how many messages of each are within it.
    #[must_use]
    pub const fn clock(&self) -> &VectorClock {
        &self.clock
    }

    /// Returns whether it has all that `other` has. O(members log members).
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        // Whoever came or left since is in what a host has said.
        other.clock.iter().all(|(member, count)| count == 0 || self.has(MessageId::new(member, count)))
    }

    /// Returns where to begin in a log that may have more: of all messages that this cut lacks, the first in any log is one of
    /// these. (What newcomers say stands behind their host's message, which is among them.) O(members).
    pub fn first_lacking(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.clock.iter().map(|(member, count)| MessageId::new(member, count.saturating_add(1)))
    }

    /// Writes it down: `version(1 byte) clock origins{ origin next_ordinal }`. O(members).
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_members(&self.clock, &self.next_ordinals, out);
    }

    /// Reads a cut off `reader`. O(members log members); memory is bounded by the bytes there are.
    ///
    /// # Errors
    /// [`WireError`] where the bytes end early, a number is out of range, or the version is unknown.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (clock, next_ordinals) = decode_members(reader)?;
        Ok(Self { clock, next_ordinals })
    }
}

impl From<&Snapshot> for Cut {
    fn from(snapshot: &Snapshot) -> Self {
        Self { clock: snapshot.clock.clone(), next_ordinals: snapshot.next_ordinals.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::VERSION;
    use proptest::prelude::*;

    const HOST: MemberId = MemberId::host(3);

    fn id(ordinal: u32, seq: u64) -> MessageId {
        MessageId::new(MemberId::new(3, ordinal), seq)
    }

    #[test]
    fn a_cut_has_what_was_delivered_and_all_of_the_departed() {
        let cut = Cut::new([(HOST, 4), (MemberId::new(3, 2), 1)].into_iter().collect(), [(3, 3)].to_vec());
        assert!(cut.has(id(0, 4)) && !cut.has(id(0, 5)));
        assert!(cut.has(id(2, 1)) && !cut.has(id(2, 2)));
        assert!(cut.has(id(1, 900)), "left: all it had said is in the past of its Left");
        assert!(!cut.has(id(3, 1)), "not in yet");
        assert!(!cut.has(MessageId::new(MemberId::host(4), 1)), "an origin that was not known");
        let mut out = Vec::new();
        cut.encode(&mut out);
        let mut reader = Reader::new(&out);
        assert_eq!(Cut::decode(&mut reader), Ok(cut));
        assert!(reader.rest().is_empty());
    }

    #[test]
    fn one_includes_another_if_it_lacks_none_of_its_last() {
        let cut = |host, ann| {
            Cut::new([(HOST, host), (MemberId::new(3, 1), ann)].into_iter().collect(), [(3, 2)].to_vec())
        };
        assert!(cut(2, 3).includes(&cut(2, 1)) && !cut(2, 3).includes(&cut(3, 3)));
        let parted = Cut::new([(HOST, 3)].into_iter().collect(), [(3, 2)].to_vec());
        assert!(parted.includes(&cut(2, 9)) && !cut(2, 9).includes(&parted));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_cut_or_refused(mut bytes: Vec<u8>) {
            bytes.insert(0, VERSION);
            let _ = Cut::decode(&mut Reader::new(&bytes));
        }
    }
}
