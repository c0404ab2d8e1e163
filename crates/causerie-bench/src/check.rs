//! The judge: what one receiver has got, and what was wrong with it.
//!
//! It knows texts only, neither stamps nor positions nor clocks of any protocol: so it cannot share their mistakes.
//!
//! - Each sender's messages come once each, in the order of their numbers.
//! - No answer comes before what it answers: its author had received that, so it happened before.

use std::collections::BTreeSet;

use crate::payload::Id;

/// Counts of what went well and what did not, added up over receivers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Messages that a receiver got for the first time.
    pub received: u64,
    /// Answers among them, whose order was looked at.
    pub answers: u64,
    /// Messages that a receiver had got before.
    pub duplicated: u64,
    /// Messages that came behind a later one of the same sender.
    pub out_of_order: u64,
    /// Answers that came before what they answer.
    pub before_cause: u64,
    /// Texts of this run that nobody sent so, or that came into the wrong room.
    pub damaged: u64,
    /// Messages that never came.
    pub lost: u64,
}

impl Tally {
    /// Returns whether all is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self { duplicated, out_of_order, before_cause, damaged, lost, .. } = *self;
        duplicated + out_of_order + before_cause + damaged + lost == 0
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.answers += other.answers;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.before_cause += other.before_cause;
        self.damaged += other.damaged;
        self.lost += other.lost;
    }
}

/// Receiver's record of each sender of its room.
#[derive(Clone, Debug)]
pub struct Checker {
    /// The first of the room's senders; the others follow.
    first: u32,
    heard: Vec<Heard>,
    /// Number of the receiver as a sender, if its own messages do not come to it.
    own: Option<u32>,
}

#[derive(Clone, Debug, Default)]
struct Heard {
    /// One less than the next number.
    last: u32,
    /// Numbers up to `last` that have not come.
    missing: BTreeSet<u32>,
}

impl Heard {
    fn has(&self, seq: u32) -> bool {
        seq <= self.last && !self.missing.contains(&seq)
    }
}

impl Checker {
    /// For a receiver in a room of `senders` senders numbered from `first`. `own`: which of them it is, in a
    /// protocol that does not send its own messages back to it.
    #[must_use]
    pub fn new(first: u32, senders: u32, own: Option<u32>) -> Self {
        Self { first, heard: vec![Heard::default(); senders as usize], own }
    }

    /// Takes note of a message, and of all that is wrong with it. Whether it is one that counts: of this room, and
    /// for the first time.
    #[inline]
    pub fn receive(&mut self, id: Id, answers: Option<Id>, tally: &mut Tally) -> bool {
        let Some(heard) = self.heard.get_mut(id.sender.wrapping_sub(self.first) as usize) else {
            tally.damaged += 1;
            return false;
        };
        if id.seq == heard.last.wrapping_add(1) {
            heard.last = id.seq;
        } else if !Self::unusual(heard, id.seq, tally) {
            return false;
        }
        tally.received += 1;
        if let Some(cause) = answers {
            tally.answers += 1;
            if !self.has(cause) {
                tally.before_cause += 1;
            }
        }
        true
    }

    /// Not the next one of its sender. Whether it is new.
    #[cold]
    fn unusual(heard: &mut Heard, seq: u32, tally: &mut Tally) -> bool {
        if seq > heard.last {
            heard.missing.extend(heard.last + 1..seq);
            heard.last = seq;
            true
        } else if heard.missing.remove(&seq) {
            tally.out_of_order += 1;
            true
        } else {
            tally.duplicated += 1;
            false
        }
    }

    fn has(&self, cause: Id) -> bool {
        let heard = self.heard.get(cause.sender.wrapping_sub(self.first) as usize);
        self.own == Some(cause.sender) || heard.is_some_and(|heard| heard.has(cause.seq))
    }

    /// Returns how many messages have not come, where `sent` tells for each sender of the room how many it sent.
    #[must_use]
    pub fn lost(&self, sent: &[u32]) -> u64 {
        let senders = (self.first..).zip(self.heard.iter().zip(sent));
        senders
            .filter(|(sender, _)| self.own != Some(*sender))
            .map(|(_, (heard, sent))| u64::from(sent.saturating_sub(heard.last)) + heard.missing.len() as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(sender: u32, seq: u32) -> Id {
        Id { sender, seq }
    }

    /// Returns what a receiver in a room of senders 4 and 5, who sent three messages each, says of a feed.
    fn judge(feed: &[(Id, Option<Id>)]) -> Tally {
        let mut checker = Checker::new(4, 2, None);
        let mut tally = Tally::default();
        for &(id, answers) in feed {
            checker.receive(id, answers, &mut tally);
        }
        tally.lost = checker.lost(&[3, 3]);
        tally
    }

    /// 5#1 answers 4#1, 4#3 answers 5#2.
    const FEED: [(Id, Option<Id>); 6] = [
        (id(4, 1), None),
        (id(4, 2), None),
        (id(5, 1), Some(id(4, 1))),
        (id(5, 2), None),
        (id(4, 3), Some(id(5, 2))),
        (id(5, 3), None),
    ];

    #[test]
    fn a_good_feed_is_clean() {
        let tally = judge(&FEED);
        assert!(tally.is_clean());
        assert_eq!(tally, Tally { received: 6, answers: 2, ..Tally::default() });
    }

    #[test]
    fn each_doctored_feed_is_noticed_for_what_it_is() {
        let good = Tally { received: 6, answers: 2, ..Tally::default() };

        let mut feed = FEED.to_vec();
        feed.remove(1);
        assert_eq!(judge(&feed), Tally { received: 5, lost: 1, ..good }, "one in the middle is lost");
        assert_eq!(judge(&FEED[..5]), Tally { received: 5, lost: 1, ..good }, "the last one is lost");
        assert_eq!(judge(&[]), Tally { lost: 6, ..Tally::default() }, "nothing came");

        let mut feed = FEED.to_vec();
        feed.insert(4, FEED[1]);
        assert_eq!(judge(&feed), Tally { duplicated: 1, ..good });
        assert_eq!(judge(&[FEED, FEED].concat()).duplicated, 6, "all of it twice");

        let mut feed = FEED.to_vec();
        feed.swap(0, 1);
        assert_eq!(judge(&feed), Tally { out_of_order: 1, ..good }, "4#2 before 4#1");

        let mut feed = FEED.to_vec();
        feed.swap(3, 4);
        assert_eq!(judge(&feed), Tally { before_cause: 1, ..good }, "the answer 4#3 before 5#2");

        let mut feed = FEED.to_vec();
        feed.remove(3);
        let lost_cause = judge(&feed);
        assert_eq!((lost_cause.lost, lost_cause.before_cause), (1, 1), "an answer to what never came");

        let mut feed = FEED.to_vec();
        feed[0] = (id(6, 1), None);
        assert_eq!(judge(&feed).damaged, 1, "of another room");
        for tally in [judge(&feed), judge(&FEED[1..]), judge(&FEED[..5])] {
            assert!(!tally.is_clean());
        }
    }

    #[test]
    fn a_late_one_that_comes_twice_is_late_and_a_duplicate() {
        let feed = [id(4, 2), id(4, 1), id(4, 1), id(4, 3), id(5, 1), id(5, 2), id(5, 3)];
        let tally = judge(&feed.map(|id| (id, None)));
        assert_eq!(tally, Tally { received: 6, out_of_order: 1, duplicated: 1, ..Tally::default() });
    }

    #[test]
    fn own_messages_are_known_where_they_do_not_come_back() {
        let mut checker = Checker::new(4, 2, Some(4));
        let mut tally = Tally::default();
        checker.receive(id(5, 1), Some(id(4, 1)), &mut tally);
        tally.lost = checker.lost(&[3, 1]);
        assert!(tally.is_clean());
    }
}
