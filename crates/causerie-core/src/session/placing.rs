//! Messages that are delivered and not placed: an earlier position is still to come, or never will.

use crate::id::Position;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cbcast::MessageId;

/// Number of positions that wait for an earlier one at most.
const WAITING_MAX: usize = 1 << 16;

/// Content of a position.
#[derive(Clone, Copy, Debug)]
enum PositionContent {
    /// A message, and when the server delivered it.
    Message(MessageId, u64),
    /// Stretch up to there that the server has left out.
    Nothing(Position),
}

/// The place in the log up to which all is known, and what is known behind it.
#[derive(Debug, Default)]
pub(super) struct Placing {
    waiting: BTreeMap<Position, PositionContent>,
}

/// Next entry in the room's order.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// This message.
    Message { id: MessageId, position: Position, time_millis: u64 },
    /// Stretch in which nothing is still to come; whether that has been told.
    Nothing { from: Position, to: Position, is_told: bool },
}

impl Placing {
    /// A message is delivered, and has its position. `false`: it was known already.
    pub(super) fn add(&mut self, position: Position, id: MessageId, time_millis: u64) -> bool {
        match self.waiting.entry(position) {
            Entry::Vacant(entry) => {
                entry.insert(PositionContent::Message(id, time_millis));
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Leaves out these positions: nothing comes there, and that has been told.
    pub(super) fn leave_out(&mut self, from: Position, to: Position) {
        self.waiting.entry(from).or_insert(PositionContent::Nothing(to));
    }

    /// Takes what stands behind `placed`, if that is known; where too much waits for what is not, that is given up.
    pub(super) fn next(&mut self, placed: Position) -> Option<Next> {
        let position = placed.checked_add(1)?;
        loop {
            let (&at, &place) = self.waiting.first_key_value()?;
            if at > position {
                let given_up = self.waiting.len() > WAITING_MAX;
                return given_up.then_some(Next::Nothing { from: position, to: at - 1, is_told: false });
            }
            self.waiting.pop_first();
            match place {
                PositionContent::Message(id, time_millis) if at == position => {
                    return Some(Next::Message { id, position, time_millis });
                }
                PositionContent::Nothing(to) if to >= position => {
                    return Some(Next::Nothing { from: position, to, is_told: true });
                }
                // It lies before that, and had been given up.
                _ => {}
            }
        }
    }

    /// The messages that wait.
    pub(super) fn messages(&self) -> impl Iterator<Item = (Position, MessageId, u64)> {
        self.waiting.iter().filter_map(|(&position, place)| match *place {
            PositionContent::Message(id, time_millis) => Some((position, id, time_millis)),
            PositionContent::Nothing(_) => None,
        })
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use cbcast::MemberId;

    use super::*;

    const fn pos(number: u64) -> Position {
        Position::new(number)
    }

    #[test]
    fn what_is_left_out_is_passed_over_and_what_waits_in_vain_is_given_up() {
        let id = |seq| MessageId::new(MemberId::new(0, 1), seq);
        let mut placing = Placing::default();
        assert_eq!(placing.next(pos(0)), None);
        assert!(placing.add(pos(1), id(1), 7) && !placing.add(pos(1), id(1), 7));
        placing.leave_out(pos(2), pos(4));
        assert_eq!(placing.next(pos(0)), Some(Next::Message { id: id(1), position: pos(1), time_millis: 7 }));
        assert_eq!(placing.next(pos(1)), Some(Next::Nothing { from: pos(2), to: pos(4), is_told: true }));
        for seq in 0..WAITING_MAX as u64 {
            placing.add(pos(seq + 9), id(seq), 0);
            assert_eq!(placing.next(pos(4)), None);
        }
        placing.add(pos(1 << 20), id(99), 0);
        assert_eq!(placing.next(pos(4)), Some(Next::Nothing { from: pos(5), to: pos(8), is_told: false }));
        // It comes after all.
        placing.add(pos(6), id(98), 0);
        assert_eq!(placing.next(pos(8)), Some(Next::Message { id: id(0), position: pos(9), time_millis: 0 }));
    }
}
