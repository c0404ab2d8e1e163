//! Own messages that have not been placed: those on their way, and those that no membership has said yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cbcast::{Message, MessageId, MissingRange, Time};

/// Old ids of own messages that are remembered.
const REPLACEMENTS_MAX: usize = 10_000;

/// Own messages sent again at one heartbeat, or in answer to one request.
const RESEND_MAX: usize = 64;
/// Bytes of these in answer to one request, beyond the first message.
const RESEND_BYTES_MAX: usize = 256 << 10;
/// Ranges of a request that are looked at: a server names no more.
const RANGES_MAX: usize = 64;

/// An own message that has not been placed.
#[derive(Debug)]
pub(super) struct PendingMessage {
    pub(super) message: Message,
    pub(super) sent_at: Option<Time>,
}

/// A payload that no membership has said yet, with the id that it had under one before.
pub(super) type Unsent = (Option<MessageId>, Vec<u8>);

/// Own messages until they are placed.
///
/// Invariant: what is on its way was said under the present membership; without one nothing is.
#[derive(Debug, Default)]
pub(super) struct SessionOutbox {
    on_way: VecDeque<PendingMessage>,
    unsent: VecDeque<Unsent>,
    /// Present ids of own messages that were not taken under a membership before; `None`: they were not said again.
    replacements: BTreeMap<MessageId, Option<MessageId>>,
}

impl SessionOutbox {
    /// Counts all own messages that have not been placed.
    pub(super) fn len(&self) -> usize {
        self.on_way.len() + self.unsent.len()
    }

    // On their way.

    /// Adds a message that was sent at this time, if it was sent.
    pub(super) fn push(&mut self, message: Message, sent_at: Option<Time>) {
        self.on_way.push_back(PendingMessage { message, sent_at });
    }

    /// Returns the messages that are on their way, in the order in which they were said.
    pub(super) fn on_way(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.on_way.iter().map(|pending| &pending.message)
    }

    /// Takes all that are on their way.
    pub(super) fn take_on_way(&mut self) -> impl Iterator<Item = Message> + use<> {
        core::mem::take(&mut self.on_way).into_iter().map(|pending| pending.message)
    }

    /// Removes a message that has come back.
    pub(super) fn came_back(&mut self, id: MessageId) {
        self.on_way.retain(|pending| pending.message.id() != id);
    }

    /// Returns the packets of messages behind the `taken`th, which are sent again now.
    pub(super) fn resend_after(&mut self, taken: u64, now: Time) -> Vec<Bytes> {
        let mut packets = Vec::new();
        for pending in self.on_way.iter_mut().filter(|p| p.message.id().seq > taken) {
            pending.sent_at = Some(now);
            packets.push(pending.message.packet().clone());
        }
        packets
    }

    /// Returns the packets of messages in these ranges, which are sent again now.
    pub(super) fn resend_wanted(&mut self, ranges: &[MissingRange], now: Time) -> Vec<Bytes> {
        let ranges = &ranges[..ranges.len().min(RANGES_MAX)];
        let wanted =
            |id: MessageId| ranges.iter().any(|r| r.member == id.member && (r.from..=r.to).contains(&id.seq));
        let (mut packets, mut bytes) = (Vec::new(), 0);
        for pending in self.on_way.iter_mut().filter(|p| wanted(p.message.id())).take(RESEND_MAX) {
            let packet = pending.message.packet();
            bytes += packet.len();
            if bytes > RESEND_BYTES_MAX && bytes > packet.len() {
                break;
            }
            packets.push(packet.clone());
            pending.sent_at = Some(now);
        }
        packets
    }

    /// Returns the messages that were sent so long ago that they, or their coming back, may have been lost, and are sent
    /// again now.
    pub(super) fn resend_overdue(&mut self, after: Duration, now: Time) -> Vec<Message> {
        let overdue = |p: &&mut PendingMessage| p.sent_at.is_none_or(|sent| sent + after <= now);
        let resent = self.on_way.iter_mut().filter(overdue).take(RESEND_MAX);
        resent
            .map(|pending| {
                pending.sent_at = Some(now);
                pending.message.clone()
            })
            .collect()
    }

    /// Makes of all messages that are on their way, and of which the first `taken` were taken, messages to be said again.
    /// Returns those that were taken.
    pub(super) fn lose_membership(&mut self, taken: u64) -> Vec<MessageId> {
        let mut were_taken = Vec::new();
        for pending in core::mem::take(&mut self.on_way).into_iter().rev() {
            let id = pending.message.id();
            if id.seq <= taken {
                were_taken.push(id);
            } else {
                self.unsent.push_front((Some(id), pending.message.payload().to_vec()));
            }
        }
        were_taken
    }

    // Unsent.

    /// Adds a payload to be said under the next membership.
    pub(super) fn push_unsent(&mut self, unsent: Unsent) {
        self.unsent.push_back(unsent);
    }

    /// Returns the payloads to be said under the next membership.
    pub(super) fn unsent(&self) -> impl ExactSizeIterator<Item = &Unsent> {
        self.unsent.iter()
    }

    /// Takes the payloads to be said under the next membership.
    pub(super) fn take_unsent(&mut self) -> VecDeque<Unsent> {
        core::mem::take(&mut self.unsent)
    }

    // Replacements.

    /// Returns what an own message is called now that was not taken under a membership before; `Some(None)`: it was not
    /// said again.
    pub(super) fn replacement(&self, id: MessageId) -> Option<Option<MessageId>> {
        self.replacements.get(&id).copied()
    }

    /// Returns all replacements, by old ids.
    pub(super) fn replacements(&self) -> impl ExactSizeIterator<Item = (MessageId, Option<MessageId>)> {
        self.replacements.iter().map(|(&old, &new)| (old, new))
    }

    /// Notes what an own message is called now.
    pub(super) fn replace(&mut self, old: MessageId, new: Option<MessageId>) {
        self.replacements.insert(old, new);
    }

    /// Follows earlier replacements on to those of the last membership, and forgets the oldest where there are too many.
    pub(super) fn follow_replacements(&mut self, newer: &BTreeMap<MessageId, Option<MessageId>>) {
        for later in self.replacements.values_mut() {
            *later = later.and_then(|id| newer.get(&id).copied().unwrap_or(Some(id)));
        }
        while self.replacements.len() > REPLACEMENTS_MAX {
            self.replacements.pop_first();
        }
    }
}
