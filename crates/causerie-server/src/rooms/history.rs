//! Answers to questions about a room's history: pages, read from the store and bounded, whatever was asked for.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use causerie_core::id::{Epoch, Position};
use causerie_core::log::page::authors;
use causerie_core::log::{head, records};
use causerie_core::wire::{Direction, HistoryQuestion, MemberInfo, Page, Place};
use causerie_store::{MemberSelection, RoomId, Store, StoreError};
use cbcast::{MemberId, MessageId};
use thiserror::Error;

use crate::rooms::standing::{Revised, revised};

/// Records of one page at most.
pub(crate) const RECORDS_MAX: u64 = 1_000;
/// Bytes of its records at most, unless it has one record only.
pub(crate) const BYTES_MAX: usize = 128 << 10;
/// Gaps of one page at most: each costs a read.
const GAPS_MAX: usize = 16;

/// Reasons why there is no page.
#[derive(Debug, Error)]
pub(crate) enum HistoryError {
    #[error("there is no readable message {0} in this room")]
    NoSuchMessage(MessageId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Texts that a page has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Texts {
    /// Those that were said, for who takes in what changes them.
    AsSaid,
    /// Those that stand today.
    Standing,
}

/// Knowledge of a room's log beside what the store has.
pub(crate) struct Ends {
    pub(crate) epoch: Epoch,
    /// The first position that is kept.
    pub(crate) first: Position,
    /// The last one that is stored.
    pub(crate) last: Position,
}

/// The page that is asked for, with `bytes_max` bytes of records at most, unless it has one only. Blocks. Cost: that of a few reads of the store, the same anywhere in the log; a place
/// in time takes some thirty.
pub(crate) fn page(
    store: &dyn Store,
    room: RoomId,
    ends: &Ends,
    question: &HistoryQuestion,
    bytes_max: usize,
    texts: Texts,
) -> Result<Page, HistoryError> {
    let Edge { before, after } = edge(store, room, ends, question.place)?;
    let records = question.limit.min(RECORDS_MAX);
    let mut page = match question.direction {
        Direction::Before => Gathered::at(before, records, bytes_max),
        Direction::After => Gathered::at(after + 1, records, bytes_max),
        Direction::Around => Gathered::at(before, records / 2, bytes_max / 2),
    };
    if question.direction != Direction::After {
        page.read_back(store, room)?;
    }
    if question.direction == Direction::Around {
        let had = page.records;
        (page.records, page.bytes) = (records - (records / 2 - had), page.bytes + bytes_max / 2);
    }
    if question.direction != Direction::Before {
        page.read_on(store, room)?;
    }
    let mut named: BTreeSet<MemberId> = BTreeSet::new();
    page.runs.iter().for_each(|run| named.extend(authors(run.clone())));
    let named: Vec<_> = named.into_iter().collect();
    let members = store.members(room, MemberSelection::Ids(&named))?;
    let runs = page.runs.make_contiguous();
    let Revised { records, revised } = match texts {
        Texts::AsSaid => Revised { records: runs.concat().into(), revised: Vec::new() },
        Texts::Standing => revised(store, room, runs, bytes_max)?,
    };
    let name = |row: causerie_store::MemberRow| MemberInfo {
        member: row.member,
        name: row.name,
        present: row.left_at.is_none(),
    };
    Ok(Page {
        room: question.room.clone(),
        epoch: ends.epoch,
        from: page.from,
        to: page.to,
        kept: ends.first,
        end: ends.last.max(page.to),
        gaps: page.gaps.into(),
        names: members.into_iter().map(name).collect(),
        revised,
        records,
    })
}

/// A place as positions: what is before it lies below `before`, what is behind it beyond `after`.
struct Edge {
    before: Position,
    after: Position,
}

impl Edge {
    const fn record(position: Position) -> Self {
        Self { before: position, after: position }
    }

    /// Between a record and the one before it.
    const fn between(position: Position) -> Self {
        Self { before: position, after: position.previous() }
    }
}

fn edge(store: &dyn Store, room: RoomId, ends: &Ends, place: Place) -> Result<Edge, HistoryError> {
    Ok(match place {
        Place::Position(Position::START) => Edge::between(Position::FIRST),
        Place::Position(position) if position <= ends.last => Edge::record(position),
        Place::End | Place::Position(_) => Edge::between(ends.last + 1),
        Place::Message(id) => {
            let found = store.positions(room, id.member, id.seq, id.seq, 1)?;
            Edge::record(*found.first().ok_or(HistoryError::NoSuchMessage(id))?)
        }
        Place::Time(millis) => Edge::between(first_since(store, room, ends, millis)?),
    })
}

/// The position of the first record of that time or later. Times may jump back: then it is a record of that time or
/// later whose predecessor is earlier.
fn first_since(store: &dyn Store, room: RoomId, ends: &Ends, millis: u64) -> Result<Position, StoreError> {
    let (mut low, mut high) = (ends.first, ends.last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match record_from(store, room, middle, high)? {
            Some((position, time)) if time < millis => low = position + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Position and time of the first readable record from `position` on that lies before `end`.
fn record_from(
    store: &dyn Store,
    room: RoomId,
    mut position: Position,
    end: Position,
) -> Result<Option<(Position, u64)>, StoreError> {
    while position < end {
        let page = store.read(room, position - 1, 1)?;
        if let Some(record) = page.runs.first().and_then(|run| records(run.clone()).next()) {
            return Ok((record.position < end).then_some((record.position, record.time_millis)));
        }
        match page.next() {
            next if next >= position => position = next + 1,
            _ => break,
        }
    }
    Ok(None)
}

/// Neighbouring positions, as they are read.
struct Gathered {
    from: Position,
    to: Position,
    runs: VecDeque<Bytes>,
    gaps: VecDeque<(Position, Position)>,
    /// Number of records that may still come.
    records: u64,
    bytes: usize,
}

impl Gathered {
    /// Nothing yet, before the record at `position`.
    fn at(position: Position, records: u64, bytes: usize) -> Self {
        let (runs, gaps) = (VecDeque::new(), VecDeque::new());
        Self { from: position, to: position - 1, runs, gaps, records, bytes }
    }

    /// Returns whether this much more would be too much: a page has one record at least.
    fn is_full(&self, bytes: usize) -> bool {
        bytes > self.bytes && !self.runs.is_empty()
    }

    fn count(&mut self, records: u64, bytes: usize) {
        self.records -= records;
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn read_back(&mut self, store: &dyn Store, room: RoomId) -> Result<(), StoreError> {
        while self.records > 0 && self.from > Position::FIRST && self.gaps.len() < GAPS_MAX {
            let records = usize::try_from(self.records).unwrap_or(usize::MAX);
            let page = store.read_before(room, self.from, records, self.bytes)?;
            if self.is_full(page.bytes()) {
                break;
            }
            if !page.is_empty() {
                self.count(page.len(), page.bytes());
                self.from = page.first;
                page.runs.into_iter().rev().for_each(|run| self.runs.push_front(run));
            }
            let Some(gap) = page.gap else { break };
            match self.gaps.front_mut() {
                Some(later) if later.0 == *gap.end() + 1 => later.0 = *gap.start(),
                _ => self.gaps.push_front((*gap.start(), *gap.end())),
            }
            self.from = *gap.start();
        }
        Ok(())
    }

    fn read_on(&mut self, store: &dyn Store, room: RoomId) -> Result<(), StoreError> {
        while self.records > 0 && self.gaps.len() < GAPS_MAX {
            let page = store.read(room, self.to, self.bytes)?;
            if self.is_full(page.bytes()) {
                break;
            }
            for mut run in page.runs {
                let taken = first_records(&run, self.records);
                run.truncate(taken.1);
                self.count(taken.0, taken.1);
                self.to = self.to + taken.0;
                if !run.is_empty() {
                    self.runs.push_back(run);
                }
            }
            let Some(gap) = page.gap.filter(|gap| *gap.start() == self.to + 1) else { break };
            match self.gaps.back_mut() {
                Some(earlier) if earlier.1 + 1 == *gap.start() => earlier.1 = *gap.end(),
                _ => self.gaps.push_back((*gap.start(), *gap.end())),
            }
            self.to = *gap.end();
        }
        Ok(())
    }
}

/// Returns how many records of a run these are, `max` at most, and their bytes.
fn first_records(run: &Bytes, max: u64) -> (u64, usize) {
    let (mut count, mut at) = (0, 0);
    while count < max && at < run.len() {
        at += head(&run.slice(at..)).1;
        count += 1;
    }
    (count, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use causerie_core::log::page::HistoryPage;
    use causerie_core::wire::Delivered;
    use causerie_store::{Change, MemoryStore, Retention, RoomRow};
    use cbcast::{Kind, Message};

    const ROOM: RoomId = RoomId(0);
    const RAJ: MemberId = MemberId::new(0, 7);

    /// So many records, a second apart; of Raj, whose name is not told.
    fn store(count: u64, bytes: usize) -> MemoryStore {
        let store = MemoryStore::new();
        let row = RoomRow { name: "room".into(), epoch: Epoch::new(1), ..RoomRow::default() };
        let mut run = Vec::new();
        for position in 1..=count {
            let payload = vec![1; bytes];
            let message = Message::new(MessageId::new(RAJ, position), Kind::Data, &[], &payload).unwrap();
            let packet = message.into_packet();
            Delivered { position: Position::new(position), time_millis: position * 1_000, packet }
                .encode(&mut run);
        }
        store
            .commit(vec![
                Change::Create { room: ROOM, row },
                Change::Append {
                    room: ROOM,
                    first: Position::FIRST,
                    last: Position::new(count),
                    run: run.into(),
                },
            ])
            .unwrap();
        store
    }

    /// From, to, and how many records.
    fn ask(store: &MemoryStore, direction: Direction, place: Place, limit: u64) -> (u64, u64, usize) {
        let found = store.rooms().unwrap();
        let ends = Ends { epoch: Epoch::new(1), first: found[0].first, last: found[0].last };
        let question =
            HistoryQuestion { room: "room".into(), epoch: None, direction, place, limit, wait_millis: 0 };
        let page = page(store, ROOM, &ends, &question, BYTES_MAX, Texts::Standing).unwrap();
        let read = HistoryPage::read(&page).expect("it tells of each position");
        (read.from.get(), read.to.get(), read.records().count())
    }

    #[test]
    fn every_place_from_both_sides_and_with_every_limit() {
        use Direction::{After, Around, Before};
        let last = 9;
        let store = store(last, 1);
        for limit in 0..=11 {
            for position in 0..=12 {
                let at = position.min(last + 1);
                let records = |from: u64, to: u64| (from, to, (to + 1 - from) as usize);
                let all = [
                    (
                        Place::Position(Position::new(position)),
                        at,
                        if position == 0 { 1 } else { at },
                        at.min(last),
                    ),
                    // A place in time is between two records.
                    (Place::Time(position * 1_000), at.max(1), at.max(1), at.max(1) - 1),
                ];
                for (place, _, before, after) in all {
                    let from = before.saturating_sub(limit).max(1);
                    assert_eq!(ask(&store, Before, place, limit), records(from, before - 1), "{place:?}");
                    let to = (after + limit).min(last);
                    assert_eq!(ask(&store, After, place, limit), records(after + 1, to), "{place:?}");
                    let from = before.saturating_sub(limit / 2).max(1);
                    let to = (from + limit - 1).min(last).max(before - 1);
                    assert_eq!(ask(&store, Around, place, limit), records(from, to), "{place:?} {limit}");
                }
            }
            let message = Place::Message(MessageId::new(RAJ, 5));
            assert_eq!(
                ask(&store, Around, message, limit),
                ask(&store, Around, Place::Position(Position::new(5)), limit)
            );
            assert_eq!(
                ask(&store, Before, Place::End, limit),
                ask(&store, Before, Place::Position(Position::new(99)), limit)
            );
        }
    }

    #[test]
    fn a_page_is_bounded_whatever_is_asked_for_and_has_a_record_at_least() {
        let many = store(3_000, 1);
        assert_eq!(ask(&many, Direction::Before, Place::End, u64::MAX), (2_001, 3_000, 1_000));
        assert_eq!(
            ask(&many, Direction::After, Place::Position(Position::START), u64::MAX),
            (1, 1_000, 1_000)
        );
        assert_eq!(
            ask(&many, Direction::Around, Place::Position(Position::new(1_500)), u64::MAX),
            (1_000, 1_999, 1_000)
        );
        // Of which six fit.
        let long = store(30, 20_000);
        assert_eq!(ask(&long, Direction::Before, Place::End, 100), (25, 30, 6));
        assert_eq!(ask(&long, Direction::After, Place::Position(Position::new(7)), 100), (8, 13, 6));
        assert_eq!(ask(&long, Direction::Around, Place::Position(Position::new(7)), 100), (4, 9, 6));
        let longer = store(9, BYTES_MAX + 1);
        assert_eq!(ask(&longer, Direction::Before, Place::End, 100), (9, 9, 1));
        assert_eq!(ask(&longer, Direction::After, Place::Position(Position::new(3)), 100), (4, 4, 1));
    }

    #[test]
    fn what_was_removed_is_a_gap_in_front() {
        let store = store(20, 1);
        store.retain(ROOM, Retention { count: Some(5), ..Retention::default() }, 0).unwrap();
        assert_eq!(ask(&store, Direction::Before, Place::End, 9), (1, 20, 5));
        // What adjoins it comes along: it costs nothing.
        assert_eq!(ask(&store, Direction::Before, Place::End, 5), (1, 20, 5));
        assert_eq!(ask(&store, Direction::Before, Place::End, 4), (17, 20, 4));
        assert_eq!(ask(&store, Direction::Before, Place::Position(Position::new(16)), 1), (1, 15, 0));
        assert_eq!(ask(&store, Direction::Before, Place::Position(Position::new(7)), 1), (1, 6, 0));
        assert_eq!(ask(&store, Direction::After, Place::Position(Position::START), 2), (1, 17, 2));
        assert_eq!(ask(&store, Direction::After, Place::Position(Position::new(9)), 2), (10, 17, 2));
        assert_eq!(ask(&store, Direction::After, Place::Time(0), 2), (16, 17, 2));
        assert_eq!(ask(&store, Direction::Around, Place::Position(Position::new(16)), 2), (1, 17, 2));
        store.retain(ROOM, Retention { count: Some(0), ..Retention::default() }, 0).unwrap();
        assert_eq!(ask(&store, Direction::After, Place::Position(Position::START), 2), (1, 20, 0));
        assert_eq!(ask(&store, Direction::Before, Place::End, 2), (1, 20, 0));
        assert_eq!(ask(&store, Direction::After, Place::Time(0), 2), (21, 20, 0));
    }
}
