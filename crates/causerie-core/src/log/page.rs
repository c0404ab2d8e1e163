//! Pages of a room's history: what a server makes of its log's runs, and what a client reads.
//!
//! A page covers neighbouring positions. Each is that of a record, or lies in a gap: nothing is left out in silence,
//! and [`HistoryPage::read`] refuses a page of which that is not true.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use cbcast::{Kind, MemberId, Message, MessageId};
use thiserror::Error;

use crate::content::body::Body;
use crate::id::{Epoch, Position};
use crate::log::{self, Record};
use crate::wire::{Delivered, Page, split_frame};

/// A part of a room's log.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// The room's name.
    pub room: String,
    /// Epoch of the log: positions mean something within it only.
    pub epoch: Epoch,
    /// The first position that it covers.
    pub from: Position,
    /// The last position that it covers; `from - 1` if it covers none.
    pub to: Position,
    /// The log's last position when the server answered.
    pub end: Position,
    /// Records and gaps that it covers, by position.
    pub entries: Vec<Entry>,
}

/// A record, or positions without one.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A record of the log.
    Record(HistoryRecord),
    /// Records that nobody can read any more.
    Gap {
        /// The first position.
        from: Position,
        /// The last.
        to: Position,
        /// The server keeps them no longer, as it was told to. Otherwise they are damaged.
        removed: bool,
    },
}

/// A record of a room's log.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRecord {
    /// Its place.
    pub position: Position,
    /// The server's wall clock at delivery, in milliseconds since 1970: for people, never for order.
    pub time_millis: u64,
    /// The message's id. Joining and leaving are messages of the room's host.
    pub id: MessageId,
    /// The messages that its author had seen last, its own before it not among them.
    pub deps: Vec<MessageId>,
    /// Member that has said it, or joined, or left.
    pub member: MemberId,
    /// Name of that member; its id if the server does not know.
    pub name: String,
    /// Event that it tells.
    pub what: What,
    /// Relation of what it tells to what was said.
    pub standing: Standing,
}

/// Difference between what a record tells and what was said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Standing {
    /// None: it is what was said.
    #[default]
    AsSaid,
    /// Its author has changed it since: it has the words that stand.
    Edited,
    /// Its author has taken it back: it has no words.
    Deleted,
}

/// Event in a room.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Somebody has said something.
    Said(Body),
    /// Somebody has joined.
    Joined,
    /// Somebody has left.
    Left {
        /// Reason, if it was not its own wish.
        reason: String,
    },
}

/// Error of a page that is none: the server has broken the protocol.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PageError {
    /// A record cannot be read.
    #[error("the record at position {position} of a page cannot be read")]
    Record {
        /// Place where it should be.
        position: Position,
    },
    /// A position has neither a record nor a gap, or both.
    #[error("a page of {from} to {to} does not tell what is at {position}")]
    Hole {
        /// The page's first position.
        from: Position,
        /// Its last.
        to: Position,
        /// Position that is not told.
        position: Position,
    },
}

impl HistoryPage {
    /// Reads a page that a server has sent, and checks it.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn read(page: &Page) -> Result<Self, PageError> {
        let &Page { epoch, from, to, end, .. } = page;
        let entries = Entries::new(page.clone()).collect::<Result<_, _>>()?;
        Ok(Self { room: page.room.clone(), epoch, from, to, end, entries })
    }

    /// The records in it, by position.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &HistoryRecord> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Record(record) => Some(record),
            Entry::Gap { .. } => None,
        })
    }

    /// Returns whether there is more before it, be it a gap.
    #[must_use]
    pub fn has_older(&self) -> bool {
        self.from > Position::FIRST
    }

    /// Returns whether there was more behind it when the server answered.
    #[must_use]
    pub fn has_newer(&self) -> bool {
        self.to < self.end
    }
}

/// Entries of a page, read and checked one by one: for who cannot have all of it in hand.
#[derive(Clone, Debug)]
pub struct Entries {
    names: BTreeMap<MemberId, String>,
    rest: BytesMut,
    gaps: VecDeque<(Position, Position)>,
    revised: BTreeMap<Position, Standing>,
    /// Read, and not handed out yet.
    ready: Option<Entry>,
    from: Position,
    to: Position,
    kept: Position,
    next: Position,
    /// End of the page: nothing comes behind what is ready.
    is_done: bool,
}

impl Entries {
    /// Begins with the first entry of a page that a server has sent.
    #[must_use]
    pub fn new(page: Page) -> Self {
        let Page { from, to, kept, gaps, names, revised, records, .. } = page;
        let standing =
            |(position, deleted)| (position, if deleted { Standing::Deleted } else { Standing::Edited });
        let revised = revised.into_iter().map(standing).collect();
        let names = names.into_iter().map(|m| (m.member, m.name)).collect();
        let (rest, gaps) = (BytesMut::from(records), gaps.into_iter().collect());
        Self { names, rest, gaps, revised, ready: None, from, to, kept, next: from, is_done: false }
    }

    fn read(&mut self) -> Result<Option<Entry>, PageError> {
        let &mut Self { from, to, kept, next, .. } = self;
        let hole = |position| PageError::Hole { from, to, position };
        if from == Position::START || to < from - 1 {
            return Err(hole(from));
        }
        if next > to {
            let is_whole = self.gaps.is_empty() && self.rest.is_empty();
            return if is_whole { Ok(None) } else { Err(hole(next)) };
        }
        if let Some((first, last)) = self.gaps.front().copied().filter(|gap| gap.0 == next) {
            self.gaps.pop_front();
            if last > to || last == Position::MAX {
                return Err(hole(last));
            }
            self.next = last + 1;
            // Where removed ones and damaged ones meet, each is told by itself.
            if first < kept && last >= kept {
                self.ready = Some(Entry::Gap { from: kept, to: last, removed: false });
                return Ok(Some(Entry::Gap { from: first, to: kept - 1, removed: true }));
            }
            return Ok(Some(Entry::Gap { from: first, to: last, removed: last < kept }));
        }
        let error = PageError::Record { position: next };
        let frame = split_frame(&mut self.rest, usize::MAX).ok().flatten().ok_or(hole(next))?;
        let Ok(Some(record)) = Delivered::decode(frame.0, &frame.1) else { return Err(error) };
        if record.position != next {
            return Err(hole(next));
        }
        self.next = next.checked_add(1).ok_or(hole(next))?;
        let mut record = HistoryRecord::read(record, &self.names).ok_or(error)?;
        record.standing = self.revised.remove(&next).unwrap_or_default();
        Ok(Some(Entry::Record(record)))
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, PageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(ready) = self.ready.take() {
            return Some(Ok(ready));
        }
        if self.is_done {
            return None;
        }
        let read = self.read();
        self.is_done = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

impl HistoryRecord {
    fn read(record: Delivered, names: &BTreeMap<MemberId, String>) -> Option<Self> {
        let Delivered { position, time_millis, packet } = record;
        let message = Message::decode(packet).ok()?;
        Some(Self::of(Record { position, time_millis, message }, |member| match names.get(&member) {
            Some(name) => name.clone(),
            None => member.to_string(),
        }))
    }

    /// The record, with the names of whoever has said something or left: see [`authors`].
    #[must_use]
    pub fn of(record: Record, name: impl Fn(MemberId) -> String) -> Self {
        let Record { position, time_millis, message } = record;
        let (id, payload) = (message.id(), message.payload());
        let text = || String::from_utf8_lossy(&payload).into_owned();
        let (member, name, what) = match message.kind() {
            Kind::Data | Kind::Signed(_) | Kind::Emptied { .. } => {
                (id.member, name(id.member), What::Said(Body::decode(&payload)))
            }
            // Nothing to show.
            Kind::Hosted { .. } | Kind::Expelled { .. } => {
                (id.member, name(id.member), What::Said(Body::Unknown(payload.clone())))
            }
            Kind::Joined(member) => (member, text(), What::Joined),
            Kind::Left { member, .. } => (member, name(member), What::Left { reason: text() }),
        };
        let deps = message.deps().collect();
        Self { position, time_millis, id, deps, member, name, what, standing: Standing::AsSaid }
    }
}

/// Returns whose names a reader of these records needs: who has said a text, and who leaves. Joining says its name itself.
pub fn authors(run: Bytes) -> impl Iterator<Item = MemberId> {
    log::records(run).filter_map(|record| match record.message.kind() {
        Kind::Left { member, .. } => Some(member),
        Kind::Joined(_) | Kind::Hosted { .. } | Kind::Expelled { .. } => None,
        Kind::Data | Kind::Signed(_) | Kind::Emptied { .. } => Some(record.message.id().member),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MemberInfo;
    use proptest::prelude::*;

    const fn pos(number: u64) -> Position {
        Position::new(number)
    }

    const RAJ: MemberId = MemberId::new(0, 7);

    fn record(position: u64, kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
        let author = if matches!(kind, Kind::Data) { RAJ } else { MemberId::host(0) };
        let deps = [MessageId::new(MemberId::new(0, 3), 5)];
        let message = Message::new(MessageId::new(author, position), kind, &deps, payload).unwrap();
        Delivered { position: pos(position), time_millis: 90, packet: message.into_packet() }.encode(out);
    }

    /// Positions 1 to 9; 1 to 3 are removed, 6 is damaged.
    fn page() -> Page {
        let mut records = Vec::new();
        for position in [4, 5, 7, 8, 9] {
            match position {
                7 => record(7, Kind::Joined(MemberId::new(0, 8)), b"Ann", &mut records),
                8 => record(8, Kind::Left { member: RAJ, last_seq: 5 }, b"tired", &mut records),
                _ => record(position, Kind::Data, b"\x01hi", &mut records),
            }
        }
        let names = vec![MemberInfo { member: RAJ, name: "Raj".into(), present: false }];
        let (room, gaps, records) =
            ("lobby".into(), vec![(pos(1), pos(3)), (pos(6), pos(6))], records.into());
        let revised = vec![(pos(5), true)];
        Page {
            room,
            epoch: Epoch::new(7),
            from: pos(1),
            to: pos(9),
            kept: pos(4),
            end: pos(12),
            gaps,
            names,
            revised,
            records,
        }
    }

    #[test]
    fn a_page_is_read_in_the_order_of_positions_with_names_and_gaps() {
        let read = HistoryPage::read(&page()).unwrap();
        assert_eq!((read.from, read.to, read.has_older(), read.has_newer()), (pos(1), pos(9), false, true));
        let told: Vec<_> = read
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::Gap { from, to, removed } => format!("{from}-{to} {removed}"),
                Entry::Record(r) => match &r.what {
                    What::Said(body) => format!("{} {}: {}", r.position, r.name, body.text().unwrap()),
                    What::Joined => format!("{} +{}", r.position, r.name),
                    What::Left { reason } => format!("{} -{} {reason}", r.position, r.name),
                },
            })
            .collect();
        assert_eq!(
            told,
            ["1-3 true", "4 Raj: hi", "5 Raj: hi", "6-6 false", "7 +Ann", "8 -Raj tired", "9 Raj: hi"]
        );
        let standing: Vec<_> = read.records().map(|record| record.standing == Standing::Deleted).collect();
        assert_eq!(standing, [false, true, false, false, false]);
        let Entry::Record(first) = &read.entries[1] else { panic!() };
        assert_eq!(first.deps, [MessageId::new(MemberId::new(0, 3), 5)]);
        let unknown = HistoryPage::read(&Page { names: vec![], ..page() }).unwrap();
        let Entry::Record(first) = &unknown.entries[1] else { panic!() };
        assert_eq!(first.name, "0.7");
        let mixed = HistoryPage::read(&Page { kept: pos(3), ..page() }).unwrap();
        assert_eq!(mixed.entries[..2].len(), 2);
        assert_eq!(mixed.entries[1], Entry::Gap { from: pos(3), to: pos(3), removed: false });
    }

    #[test]
    fn a_page_that_hides_something_is_refused() {
        let refused = |page: Page| HistoryPage::read(&page).unwrap_err();
        let hole = |from, to, position| PageError::Hole { from, to, position };
        assert_eq!(refused(Page { to: pos(10), ..page() }), hole(pos(1), pos(10), pos(10)));
        assert_eq!(refused(Page { to: pos(8), ..page() }), hole(pos(1), pos(8), pos(9)));
        assert_eq!(refused(Page { from: pos(2), ..page() }), hole(pos(2), pos(9), pos(2)));
        assert_eq!(refused(Page { from: pos(0), ..page() }), hole(pos(0), pos(9), pos(0)));
        assert_eq!(refused(Page { from: pos(12), ..page() }), hole(pos(12), pos(9), pos(12)));
        assert_eq!(refused(Page { gaps: vec![(pos(1), pos(3))], ..page() }), hole(pos(1), pos(9), pos(6)));
        assert_eq!(
            refused(Page { gaps: vec![(pos(1), pos(3)), (pos(6), pos(6)), (pos(8), pos(9))], ..page() }),
            hole(pos(1), pos(9), pos(10))
        );
        assert_eq!(
            refused(Page { gaps: vec![(pos(1), pos(u64::MAX))], ..page() }),
            hole(pos(1), pos(9), pos(u64::MAX))
        );
        let cut = page().records;
        assert_eq!(
            refused(Page { records: cut.slice(..cut.len() - 1), ..page() }),
            hole(pos(1), pos(9), pos(9))
        );
        let error = Bytes::from_static(&[2, 0x86, 1]);
        let other = Page { from: pos(1), to: pos(1), gaps: vec![], records: error, ..page() };
        assert_eq!(refused(other), PageError::Record { position: pos(1) });
        let empty = Page { from: pos(13), to: pos(12), gaps: vec![], records: Bytes::new(), ..page() };
        assert_eq!(HistoryPage::read(&empty).unwrap().entries, []);
    }

    proptest! {
        #[test]
        fn any_page_is_read_or_refused(
            from in 0u64..12,
            to: u64,
            kept in 0u64..12,
            gaps in proptest::collection::vec((0u64..12, any::<u64>()), 0..4),
            cut in 0usize..200,
        ) {
            let mut page = page();
            let records = page.records.slice(..cut.min(page.records.len()));
            let gaps = gaps.into_iter().map(|(from, to)| (pos(from), pos(to))).collect();
            page = Page { from: pos(from), to: pos(to % 14), kept: pos(kept), gaps, records, ..page };
            if let Ok(read) = HistoryPage::read(&page) {
                let covered: u64 = read.entries.iter().map(|entry| match entry {
                    Entry::Record(_) => 1,
                    Entry::Gap { from, to, .. } => *to + 1 - *from,
                }).sum();
                prop_assert_eq!(covered, page.to + 1 - page.from);
            }
        }
    }
}
