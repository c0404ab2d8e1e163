//! Messages that this client has held back itself, with what had been delivered here by then: kept for a while, so that the delivery
//! rule can be shown as it was.

use std::collections::{BTreeMap, VecDeque};

use causerie_client::{MessageId, VectorClock};

/// Holds that are kept.
const HOLDS_MAX: usize = 1_000;
/// Entries of their clocks: in a room of a thousand, a hundred holds.
const ENTRIES_MAX: usize = 100_000;

/// A message that was received before a cause of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hold {
    /// Messages delivered here when it was received.
    pub(super) clock: VectorClock,
    /// A cause that was missing, and what its author is called, if that was known.
    pub(super) waits_for: (MessageId, Option<String>),
}

/// The last of them.
#[derive(Debug, Default)]
pub(super) struct LastHolds {
    holds: BTreeMap<MessageId, Hold>,
    order: VecDeque<MessageId>,
    entries: usize,
}

impl LastHolds {
    pub(super) fn get(&self, id: MessageId) -> Option<&Hold> {
        self.holds.get(&id)
    }

    /// Keeps the first hold of a message, and forgets the oldest of others where that is too much.
    pub(super) fn keep(&mut self, id: MessageId, hold: Hold) {
        if self.holds.contains_key(&id) {
            return;
        }
        self.entries += hold.clock.len();
        self.holds.insert(id, hold);
        self.order.push_back(id);
        while (self.order.len() > HOLDS_MAX || self.entries > ENTRIES_MAX) && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front().and_then(|oldest| self.holds.remove(&oldest)) else {
                break;
            };
            self.entries -= oldest.clock.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use causerie_client::MemberId;

    use super::super::samples::*;
    use super::*;

    #[test]
    fn the_last_are_kept_within_bounds() {
        let hold = |members| {
            let clock = (0..members).map(|n| (MemberId::new(0, n), 1)).collect();
            Hold { clock, waits_for: (id(BOB, 1), None) }
        };
        let mut holds = LastHolds::default();
        for seq in 1..=HOLDS_MAX as u64 + 5 {
            holds.keep(id(EVE, seq), hold(3));
        }
        assert!(holds.get(id(EVE, 5)).is_none() && holds.get(id(EVE, 6)).is_some());
        for seq in 1..=101 {
            holds.keep(id(BOB, seq), hold(1_000));
        }
        assert!(holds.get(id(BOB, 1)).is_none() && holds.get(id(BOB, 2)).is_some());
        assert_eq!((holds.holds.len(), holds.entries), (100, ENTRIES_MAX));
        // One that is held again was received before.
        holds.keep(id(BOB, 2), hold(1));
        assert_eq!(holds.get(id(BOB, 2)).unwrap().clock.len(), 1_000);
    }
}
