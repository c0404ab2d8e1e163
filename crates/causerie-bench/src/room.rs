//! One room under load: who talks next, what is outstanding, and what its receivers got.

use std::collections::VecDeque;
use std::ops::Range;

use crate::check::Tally;
use crate::payload::{Id, NotOurs, RunTexts, SaidText};

pub(crate) use crate::check::Checker;

/// More than this is never outstanding in a room, however far behind a server is: what is open has to be kept.
pub(crate) const OUTSTANDING_MAX: usize = 1 << 16;

#[derive(Debug)]
pub(crate) struct LoadRoom {
    /// The run's connections in this room; the first of them talk.
    pub(crate) connections: Range<usize>,
    /// Those of them whose receipt counts; the others have stopped reading.
    pub(crate) waited_for: Range<usize>,
    pub(crate) senders: Vec<Sender>,
    /// The number of the first sender.
    first: u32,
    /// Sender whose turn it is.
    turn: usize,
    /// Number of those who have to get a message.
    audience: u32,
    /// Messages that not everybody has.
    pub(crate) outstanding: usize,
    /// Messages of a hundred that are answers.
    answers_percent: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Sender {
    pub(crate) sent: u32,
    /// Numbers of those who have not got each message from `sent - open.len() + 1` on.
    open: VecDeque<u32>,
    /// Message that it heard last of another, and has not answered.
    heard: Option<Id>,
    /// Counts up by the percentage; an answer is due at a hundred.
    answers_due: u32,
}

impl LoadRoom {
    pub(crate) fn new(
        connections: Range<usize>,
        waited_for: Range<usize>,
        first: u32,
        senders: u32,
        audience: u32,
        answers_percent: u32,
    ) -> Self {
        let senders: Vec<_> = (0..senders).map(|_| Sender::default()).collect();
        Self { connections, waited_for, senders, first, turn: 0, audience, outstanding: 0, answers_percent }
    }

    /// The next message: which connection says it, and what.
    pub(crate) fn next(&mut self, now_nanos: u64) -> (usize, SaidText) {
        let index = self.turn;
        self.turn = (index + 1) % self.senders.len();
        let sender = &mut self.senders[index];
        sender.sent += 1;
        if self.audience > 0 {
            sender.open.push_back(self.audience);
            self.outstanding += 1;
        }
        sender.answers_due += self.answers_percent;
        let mut answers = None;
        if sender.answers_due >= 100 {
            answers = sender.heard.take();
            // If there is nothing new to answer, the next one is an answer, but not more than one.
            sender.answers_due = if answers.is_some() { sender.answers_due - 100 } else { 100 };
        }
        let id = Id { sender: self.first + index as u32, seq: sender.sent };
        (self.connections.start + index, SaidText { id, sent_nanos: now_nanos, answers })
    }

    /// One receiver got a text. What it says, if it counts.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        text: &[u8],
        texts: &RunTexts,
        connection: usize,
        checker: &mut Checker,
        tally: &mut Tally,
    ) -> Option<SaidText> {
        let said = match texts.read(text) {
            Ok(said) => said,
            Err(NotOurs::Foreign) => return None,
            Err(NotOurs::Damaged) => {
                tally.damaged += 1;
                return None;
            }
        };
        let index = said.id.sender.wrapping_sub(self.first) as usize;
        let Some(sender) = self.senders.get_mut(index).filter(|s| (1..=s.sent).contains(&said.id.seq)) else {
            tally.damaged += 1;
            return None;
        };
        if !checker.receive(said.id, said.answers, tally) {
            return None;
        }
        let oldest = sender.sent - sender.open.len() as u32 + 1;
        if self.waited_for.contains(&connection)
            && let Some(left) = said.id.seq.checked_sub(oldest).and_then(|n| sender.open.get_mut(n as usize))
        {
            *left -= 1;
            if *left == 0 {
                self.outstanding -= 1;
                while sender.open.front() == Some(&0) {
                    sender.open.pop_front();
                }
            }
        }
        let here = connection - self.connections.start;
        if here != index
            && let Some(listener) = self.senders.get_mut(here)
        {
            listener.heard = Some(said.id);
        }
        Some(said)
    }

    pub(crate) fn sent(&self) -> Vec<u32> {
        self.senders.iter().map(|sender| sender.sent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_outstanding_until_everybody_has_it() {
        let texts = RunTexts::new(1, 64);
        let mut room = LoadRoom::new(10..14, 10..13, 4, 2, 3, 100);
        let mut checkers = vec![Checker::new(4, 2, None); 4];
        let mut tally = Tally::default();
        let mut said = Vec::new();
        for _ in 0..3 {
            said.push(room.next(7).1);
        }
        assert_eq!(room.outstanding, 3);
        assert_eq!(
            said.iter().map(|s| (s.id.sender, s.id.seq)).collect::<Vec<_>>(),
            [(4, 1), (5, 1), (4, 2)]
        );
        let mut deliver = |room: &mut LoadRoom, said: &SaidText, to: usize| {
            let mut text = Vec::new();
            texts.write(&mut text, said);
            room.receive(&text, &texts, 10 + to, &mut checkers[to], &mut tally)
        };
        assert_eq!(deliver(&mut room, &said[1], 3), Some(said[1]), "who has stopped settles nothing");
        for to in 0..3 {
            assert_eq!(room.outstanding, 3);
            assert_eq!(deliver(&mut room, &said[1], to), Some(said[1]));
            assert_eq!(deliver(&mut room, &said[1], to), None, "a duplicate settles nothing");
        }
        assert_eq!(room.outstanding, 2);
        assert_eq!(room.next(8).1.answers, None, "5 has heard nobody else");
        assert_eq!(room.next(8).1.answers, Some(said[1].id), "4 has heard 5");
        let forged = SaidText { id: Id { sender: 4, seq: 9 }, ..said[0] };
        assert_eq!(deliver(&mut room, &forged, 0), None, "nobody said that");
        assert_eq!((tally.received, tally.duplicated, tally.damaged), (4, 3, 1));
    }
}
