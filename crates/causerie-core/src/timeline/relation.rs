//! Causal order of the messages of a log: which of two stands before the other, or neither.
//!
//! A part of the log without holes is enough. Whatever lies between two of its messages in causal order lies between
//! them in the log too, so relations within it are exact, however little of the log it is.

use std::collections::{BTreeMap, BTreeSet};

use cbcast::MessageId;

use crate::id::Position;
use crate::log::page::{HistoryPage, HistoryRecord};

/// Messages behind the last one with a line that are kept; behind more of them it is not told any more whether two
/// neighbours were concurrent.
const BEHIND_MAX: usize = 200;

/// Relation of one message to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// In the other's causal past.
    Before,
    /// With the other in its causal past.
    After,
    /// Neither before nor after: neither author had delivered the other's.
    Concurrent,
}

/// Returns the messages that one rests on directly: its author's one before it, and those that its author had seen last.
pub fn causes(id: MessageId, deps: &[MessageId]) -> impl Iterator<Item = MessageId> + '_ {
    let before = (id.seq > 1).then(|| MessageId::new(id.member, id.seq - 1));
    before.into_iter().chain(deps.iter().copied())
}

/// Returns the causal past of a message, as far as `direct` knows what each message depends on.
fn past<'a>(
    id: MessageId,
    deps: &[MessageId],
    direct: impl Fn(MessageId) -> Option<&'a [MessageId]>,
) -> BTreeSet<MessageId> {
    let mut past = BTreeSet::new();
    let mut open: Vec<_> = causes(id, deps).collect();
    while let Some(cause) = open.pop() {
        let Some(deps) = direct(cause) else { continue };
        if past.insert(cause) {
            open.extend(causes(cause, deps));
        }
    }
    past
}

/// A part of a log without holes, for questions about causal order.
#[derive(Clone, Debug)]
pub struct Stretch<'a> {
    records: BTreeMap<MessageId, &'a HistoryRecord>,
    /// First position of it.
    pub from: Position,
    /// Last position of it.
    pub to: Position,
}

impl<'a> Stretch<'a> {
    /// Takes the records of a page.
    #[must_use]
    pub fn new(page: &'a HistoryPage) -> Self {
        let records = page.records().map(|record| (record.id, record)).collect();
        Self { records, from: page.from, to: page.to }
    }

    /// Returns a message's record, if it is in here.
    #[must_use]
    pub fn get(&self, id: MessageId) -> Option<&'a HistoryRecord> {
        self.records.get(&id).copied()
    }

    /// Returns all records, by their ids.
    pub fn records(&self) -> impl Iterator<Item = &'a HistoryRecord> + '_ {
        self.records.values().copied()
    }

    /// Returns all in here that is causally before a message.
    #[must_use]
    pub fn past(&self, id: MessageId) -> BTreeSet<MessageId> {
        let direct = |id| Some(&self.get(id)?.deps[..]);
        direct(id).map_or_else(BTreeSet::new, |deps| past(id, deps, direct))
    }

    /// Returns how `one` stands to `other`; `None` if either is not in here.
    #[must_use]
    pub fn relation(&self, one: MessageId, other: MessageId) -> Option<Relation> {
        self.get(one).and(self.get(other))?;
        Some(if self.past(other).contains(&one) {
            Relation::Before
        } else if self.past(one).contains(&other) {
            Relation::After
        } else {
            Relation::Concurrent
        })
    }

    /// Returns the steps from a message to one after it.
    #[must_use]
    pub fn chain(&self, from: MessageId, to: MessageId) -> Vec<MessageId> {
        let mut chain = vec![to];
        while let Some(record) = chain.last().filter(|last| **last != from).and_then(|&id| self.get(id)) {
            let leads = |cause: &MessageId| *cause == from || self.past(*cause).contains(&from);
            let Some(cause) = causes(record.id, &record.deps).find(leads) else { break };
            chain.push(cause);
        }
        chain.reverse();
        chain
    }
}

/// The last message of a log that has a line, and what came behind it, to compare the next one with it.
#[derive(Clone, Debug, Default)]
pub struct Neighbour(Vec<(MessageId, Vec<MessageId>)>);

impl Neighbour {
    /// Returns whether the last message with a line is concurrent with this one, which comes behind all that was added.
    #[must_use]
    pub fn is_concurrent(&self, id: MessageId, deps: &[MessageId]) -> bool {
        let Some((last, _)) = self.0.first() else { return false };
        let direct = |id| self.0.iter().find(|(known, _)| *known == id).map(|(_, deps)| &deps[..]);
        !past(id, deps, direct).contains(last)
    }

    /// Adds the next message of the log. Without `deps` it is one of the room's host, which depends on all before it.
    pub fn add(&mut self, id: MessageId, deps: Option<Vec<MessageId>>, has_line: bool) {
        if has_line || self.0.len() >= BEHIND_MAX {
            self.0.clear();
        }
        if has_line || !self.0.is_empty() {
            let all = || self.0.first().map(|(last, _)| *last).into_iter().collect();
            let deps = deps.unwrap_or_else(all);
            self.0.push((id, deps));
        }
    }
}

#[cfg(test)]
mod tests {
    use cbcast::MemberId;

    use super::*;
    use crate::content::body::Body;
    use crate::log::page::Standing;
    use crate::log::page::{Entry, What};

    fn id(ordinal: u32, seq: u64) -> MessageId {
        MessageId::new(MemberId::new(0, ordinal), seq)
    }

    /// ```text
    /// 1#1 ─► 2#1 ─► 2#2 ─► 1#2
    ///   └──► 3#1 ───────────┘
    /// ```
    fn page() -> HistoryPage {
        let record = |(position, (id, deps)): (u64, (MessageId, Vec<MessageId>))| {
            Entry::Record(HistoryRecord {
                position: Position::new(position),
                time_millis: 0,
                id,
                deps,
                member: id.member,
                name: "x".into(),
                what: What::Said(Body::Text("x".into())),
                standing: Standing::AsSaid,
            })
        };
        let said = [
            (id(1, 1), vec![id(2, 9)]),
            (id(2, 1), vec![id(1, 1)]),
            (id(3, 1), vec![id(1, 1)]),
            (id(2, 2), vec![]),
            (id(1, 2), vec![id(2, 2), id(3, 1)]),
        ];
        let entries = (11..).zip(said).map(record).collect();
        HistoryPage {
            room: "lobby".into(),
            epoch: crate::id::Epoch::new(7),
            from: Position::new(11),
            to: Position::new(15),
            end: Position::new(15),
            entries,
        }
    }

    #[test]
    fn relations_are_those_of_the_dependencies() {
        let page = page();
        let stretch = Stretch::new(&page);
        for (one, other, expected) in [
            (id(1, 1), id(1, 2), Some(Relation::Before)),
            (id(2, 2), id(1, 1), Some(Relation::After)),
            (id(2, 2), id(3, 1), Some(Relation::Concurrent)),
            (id(3, 1), id(2, 1), Some(Relation::Concurrent)),
            (id(2, 1), id(2, 2), Some(Relation::Before)),
            (id(2, 1), id(2, 9), None),
        ] {
            assert_eq!(stretch.relation(one, other), expected, "{one} {other}");
        }
        assert_eq!(stretch.past(id(2, 2)), [id(1, 1), id(2, 1)].into());
        assert_eq!(stretch.chain(id(1, 1), id(1, 2)), [id(1, 1), id(1, 2)]);
        assert_eq!(stretch.chain(id(1, 1), id(2, 2)), [id(1, 1), id(2, 1), id(2, 2)]);
    }

    #[test]
    fn neighbours_are_compared_as_in_the_log() {
        let page = page();
        let mut neighbour = Neighbour::default();
        let told = page.records().map(|record| {
            let is_concurrent = neighbour.is_concurrent(record.id, &record.deps);
            neighbour.add(record.id, Some(record.deps.clone()), true);
            is_concurrent
        });
        assert_eq!(told.collect::<Vec<_>>(), [false, false, true, true, false]);
        // Behind 1#2 come a reaction to it and a word of the room's host, which has seen both.
        neighbour.add(id(3, 2), Some(vec![id(1, 2)]), false);
        assert!(!neighbour.is_concurrent(id(2, 3), &[id(3, 2)]));
        assert!(neighbour.is_concurrent(id(2, 3), &[]));
        neighbour.add(id(0, 9), None, false);
        assert!(!neighbour.is_concurrent(id(2, 3), &[id(0, 9)]));
        for seq in 10..10 + BEHIND_MAX as u64 {
            neighbour.add(id(4, seq), Some(Vec::new()), false);
        }
        assert!(!neighbour.is_concurrent(id(2, 3), &[]), "too much is between them");
    }
}
