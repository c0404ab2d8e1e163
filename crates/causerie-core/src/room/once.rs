//! Ids that clients make, so that a message said again is the same message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cbcast::{MemberId, MessageId};
use fastbloom::BloomFilter;

use crate::id::{ClientId, Position};
use crate::log::mark;

/// Ids of clients that a room remembers at most; the store knows them all.
pub(super) const ONCE_MAX: usize = 4_096;

/// Forgotten ids that the first filter is made for; each further one is for twice as many as all before it.
const FILTERED_FIRST: usize = 8_192;
/// Forgotten ids that are told from new ones: some 1.2 MB.
const FILTERED_MAX: usize = 1 << 20;
/// Share of new ids for which the store is asked all the same.
const FALSE_POSITIVES: f64 = 0.01;
/// Any: who finds ids that collide makes the store be asked, as ever.
const FILTER_SEED: u128 = 0x6361_7573_6572_6965;

/// Message that was said with an id of its client's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SaidOnce {
    /// Id of the message.
    pub id: MessageId,
    /// Place of the message.
    pub position: Position,
}

/// Knowledge of whether something was said with an id of its client's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SaidBefore {
    /// It was.
    Said(SaidOnce),
    /// It was not.
    Never,
    /// The store has to be asked ([`mark::once`]).
    Forgotten(ForgottenIds),
}

/// Ids that a room has forgotten. The store knows them once it has what was said with the last; with each further one its
/// answer is out of date.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ForgottenIds {
    /// Number of them.
    count: u64,
    /// Place of what was said with the last.
    pub last: Position,
}

/// Outcome of saying something with an id of its client's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SaysOnce {
    /// It is said: now if `is_new`, else before.
    Said {
        /// The message.
        said: SaidOnce,
        /// It was not said before.
        is_new: bool,
    },
    /// It may have been said before: see [`SaidBefore::Forgotten`].
    AskStore(ForgottenIds),
}

/// Messages that were said last with ids of their clients.
#[derive(Debug, Default)]
pub(super) struct SaidLast {
    /// Messages by their marks.
    said: BTreeMap<Vec<u8>, SaidOnce>,
    order: VecDeque<Vec<u8>>,
    forgotten: ForgottenIds,
    /// Present members all of whose forgotten ids are in the filters.
    known: BTreeSet<MemberId>,
    filters: Vec<BloomFilter>,
    /// Ids in the filters, and how many these are made for.
    filtered: usize,
    filtered_max: usize,
}

impl SaidLast {
    /// Returns what is known of what `member` has said with this id.
    pub(super) fn find(&self, member: MemberId, client_id: &ClientId) -> SaidBefore {
        let mark = mark::once(member, client_id);
        if let Some(said) = self.said.get(&mark) {
            return SaidBefore::Said(*said);
        }
        if self.known.contains(&member) && !self.filters.iter().any(|filter| filter.contains(&mark)) {
            return SaidBefore::Never;
        }
        SaidBefore::Forgotten(self.forgotten)
    }

    /// Notes that somebody is a member, who has said nothing yet.
    pub(super) fn joined(&mut self, member: MemberId) {
        self.known.insert(member);
    }

    /// Notes that somebody says nothing more.
    pub(super) fn left(&mut self, member: MemberId) {
        self.known.remove(&member);
    }

    /// Remembers a message by its mark, and forgets the oldest where there are too many.
    pub(super) fn remember(&mut self, mark: Vec<u8>, said: SaidOnce) {
        self.said.insert(mark.clone(), said);
        self.order.push_back(mark);
        if self.order.len() > ONCE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.forgotten.count += 1;
            if let Some(said) = self.said.remove(&oldest) {
                self.forgotten.last = said.position;
                if self.known.contains(&said.id.member) {
                    self.filter(&oldest);
                }
            }
        }
    }

    fn filter(&mut self, mark: &[u8]) {
        if self.filtered == FILTERED_MAX {
            // Begins anew, for those who join from now on.
            (self.filters, self.known) = (Vec::new(), BTreeSet::new());
            (self.filtered, self.filtered_max) = (0, 0);
        }
        if self.known.is_empty() {
            return;
        }
        if self.filtered == self.filtered_max {
            let more = self.filtered.max(FILTERED_FIRST);
            let filter = BloomFilter::with_false_pos(FALSE_POSITIVES).seed(&FILTER_SEED);
            self.filters.push(filter.expected_items(more));
            self.filtered_max += more;
        }
        if let Some(last) = self.filters.last_mut() {
            last.insert(mark);
            self.filtered += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(n: u64) -> SaidOnce {
        SaidOnce { id: MessageId::new(MemberId::new(0, 1), n), position: Position::new(n) }
    }

    fn id(n: u64) -> ClientId {
        n.to_string().parse().unwrap()
    }

    #[test]
    fn what_is_new_is_told_from_what_is_forgotten_without_the_store() {
        let (ann, raj) = (MemberId::new(0, 1), MemberId::new(0, 2));
        let mut last = SaidLast::default();
        last.joined(ann);
        let count = ONCE_MAX as u64 + 3 * FILTERED_FIRST as u64;
        for n in 0..count {
            assert_ne!(last.find(ann, &id(n)), SaidBefore::Said(said(n)));
            last.remember(mark::once(ann, &id(n)), said(n));
        }
        for n in 0..count {
            assert_ne!(last.find(ann, &id(n)), SaidBefore::Never, "{n} was said");
        }
        let asked = (count..2 * count).filter(|&n| last.find(ann, &id(n)) != SaidBefore::Never).count();
        assert!(asked < count as usize / 20, "{asked} of {count}");
        assert_eq!(last.find(raj, &id(0)), SaidBefore::Forgotten(last.forgotten), "who was here before");
        last.left(ann);
        assert_eq!(last.find(ann, &id(2 * count)), SaidBefore::Forgotten(last.forgotten));
    }

    #[test]
    fn filters_have_an_end_and_begin_anew() {
        let (ann, raj) = (MemberId::new(0, 1), MemberId::new(0, 2));
        let mut last = SaidLast::default();
        last.joined(ann);
        let mark = |member, n: usize| mark::once(member, &id(n as u64));
        for n in 0..FILTERED_MAX {
            last.filter(&mark(ann, n));
        }
        assert_eq!((last.filtered, last.filtered_max), (FILTERED_MAX, FILTERED_MAX));
        last.filter(&mark(ann, FILTERED_MAX));
        assert!(last.filters.is_empty(), "nobody is there whose ids could be known");
        assert_eq!(last.find(ann, &id(0)), SaidBefore::Forgotten(ForgottenIds::default()));
        last.joined(raj);
        assert_eq!(last.find(raj, &id(0)), SaidBefore::Never);
        last.filter(&mark(raj, 0));
        assert_eq!(last.find(raj, &id(0)), SaidBefore::Forgotten(ForgottenIds::default()));
    }
}
