//! The twin in memory: the same contract, nothing durable, as simple as can be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use causerie_core::content::body::Body;
use causerie_core::id::Position;
use cbcast::{MemberId, MessageId};

use crate::change::{Change, MARK_BYTES_MAX, MemberRow, POSITION_MAX, RoomId, RoomRow};
use crate::error::{CommitError, InvalidChange, StoreError};
use crate::page::{
    AgeRange, CheckReport, Checkpoint, Found, Hit, MemberSelection, Removed, Retention, StoreStats,
    StoredPage, StoredRoom,
};
use crate::run::{RunDirectory, StoredRun, message, message_id};
use crate::store::Store;
use crate::words::Query;

/// A store that forgets everything when it is dropped. For tests, and for servers that keep nothing.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<MemoryState>,
}

#[derive(Clone, Debug, Default)]
struct MemoryState {
    rooms: BTreeMap<RoomId, MemoryRoom>,
    next_room: u64,
    commits: u64,
    appended: u64,
    /// Times before this one count as this one.
    ages_from: u64,
}

#[derive(Clone, Debug)]
struct MemoryRoom {
    row: RoomRow,
    first: Position,
    records: VecDeque<MemoryRecord>,
    members: BTreeMap<MemberId, MemberRow>,
    checkpoint: Option<Checkpoint>,
    marks: BTreeSet<(Bytes, Position)>,
}

#[derive(Clone, Debug)]
struct MemoryRecord {
    time_millis: u64,
    id: MessageId,
    frame: Bytes,
}

impl MemoryRoom {
    fn last(&self) -> Position {
        self.first + self.records.len() as u64 - 1
    }

    fn numbered(&self) -> impl Iterator<Item = (Position, &MemoryRecord)> {
        self.first.onwards().zip(&self.records)
    }

    /// The gap in front of what is kept.
    fn removed(&self) -> Option<core::ops::RangeInclusive<Position>> {
        (self.first > Position::FIRST).then(|| Position::FIRST..=self.first - 1)
    }
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, MemoryState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_place(rooms: &mut BTreeMap<RoomId, MemoryRoom>, room: RoomId) -> &mut MemoryRoom {
    rooms.get_mut(&room).expect("steps are undone in reverse order")
}

/// Step that undoes one change of a batch that is refused further on.
enum Undo {
    Create(RoomId),
    Close(RoomId, Box<MemoryRoom>),
    Update(RoomId, Box<RoomRow>),
    Append(RoomId, usize),
    Member(RoomId, MemberId, Option<MemberRow>),
    Checkpoint(RoomId, Option<Checkpoint>),
    Mark(RoomId, (Bytes, Position)),
}

impl MemoryState {
    fn undo(&mut self, step: Undo) {
        let rooms = &mut self.rooms;
        match step {
            Undo::Create(room) => {
                rooms.remove(&room);
            }
            Undo::Close(room, closed) => {
                rooms.insert(room, *closed);
            }
            Undo::Update(room, row) => in_place(rooms, room).row = *row,
            Undo::Append(room, length) => in_place(rooms, room).records.truncate(length),
            Undo::Member(room, _, Some(row)) => {
                in_place(rooms, room).members.insert(row.member, row);
            }
            Undo::Member(room, member, None) => {
                in_place(rooms, room).members.remove(&member);
            }
            Undo::Checkpoint(room, old) => in_place(rooms, room).checkpoint = old,
            Undo::Mark(room, mark) => {
                in_place(rooms, room).marks.remove(&mark);
            }
        }
    }

    fn room(&self, room: RoomId) -> Result<&MemoryRoom, StoreError> {
        self.rooms.get(&room).ok_or(StoreError::NoSuchRoom(room))
    }

    fn apply(&mut self, change: &Change, undo: &mut Vec<Undo>) -> Result<(), InvalidChange> {
        let room = change.room();
        if let Change::Create { row, .. } = change {
            let next = RoomId(self.next_room);
            if room < next {
                return Err(InvalidChange::RoomIdUsed { room, next });
            }
            if room > RoomId::MAX {
                return Err(InvalidChange::OutOfRange(room));
            }
            self.next_room = room.0 + 1;
            let row = row.clone();
            let room_of = MemoryRoom {
                row,
                first: Position::FIRST,
                records: VecDeque::new(),
                members: BTreeMap::new(),
                checkpoint: None,
                marks: BTreeSet::new(),
            };
            self.rooms.insert(room, room_of);
            undo.push(Undo::Create(room));
            return Ok(());
        }
        let found = self.rooms.get_mut(&room).ok_or(InvalidChange::NoSuchRoom(room))?;
        match change {
            Change::Create { .. } => unreachable!("returned above"),
            Change::Close { .. } => {
                let closed = self.rooms.remove(&room).expect("found above");
                undo.push(Undo::Close(room, Box::new(closed)));
            }
            Change::Append { first, last, run, .. } => {
                let expected = found.last() + 1;
                if *first != expected {
                    return Err(InvalidChange::NotNext { room, expected, first: *first });
                }
                if *last > POSITION_MAX {
                    return Err(InvalidChange::OutOfRange(room));
                }
                let directory = RunDirectory::of_run(room, *first, *last, run)?;
                undo.push(Undo::Append(room, found.records.len()));
                let run = StoredRun { directory: directory.into(), frames: run.clone() };
                for slot in run.slots() {
                    let frame = run.frame(&slot);
                    let id = message_id(&frame).expect("checked with the run");
                    found.records.push_back(MemoryRecord { time_millis: slot.entry.time, id, frame });
                }
                self.appended += *last - *first + 1;
            }
            Change::Update { row, .. } => {
                let old = core::mem::replace(&mut found.row, row.clone());
                undo.push(Undo::Update(room, Box::new(old)));
            }
            Change::Member { row, .. } => {
                let old = found.members.insert(row.member, row.clone());
                undo.push(Undo::Member(room, row.member, old));
            }
            Change::Mark { name, position, .. } => {
                let (position, last) = (*position, found.last());
                if name.len() > MARK_BYTES_MAX {
                    return Err(InvalidChange::MarkTooLong { bytes: name.len() });
                }
                if position > last {
                    return Err(InvalidChange::MarkAhead { room, last, position });
                }
                let mark = (name.clone(), position);
                if found.marks.insert(mark.clone()) {
                    undo.push(Undo::Mark(room, mark));
                }
            }
            Change::Checkpoint { position, state, .. } => {
                let (position, last) = (*position, found.last());
                if position > last {
                    return Err(InvalidChange::CheckpointAhead { room, last, position });
                }
                let new = Checkpoint { position, state: state.clone() };
                undo.push(Undo::Checkpoint(room, found.checkpoint.replace(new)));
            }
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock();
        let counts = (inner.next_room, inner.appended);
        let mut undo = Vec::new();
        for change in &changes {
            if let Err(error) = inner.apply(change, &mut undo) {
                undo.into_iter().rev().for_each(|step| inner.undo(step));
                (inner.next_room, inner.appended) = counts;
                return Err(error.into());
            }
        }
        inner.commits += 1;
        Ok(())
    }

    fn rooms(&self) -> Result<Vec<StoredRoom>, StoreError> {
        let stored = |(&room, r): (&RoomId, &MemoryRoom)| StoredRoom {
            room,
            row: r.row.clone(),
            first: r.first,
            last: r.last(),
            checkpoint: r.checkpoint.clone(),
            cut: false,
        };
        Ok(self.lock().rooms.iter().map(stored).collect())
    }

    fn next_room(&self) -> Result<RoomId, StoreError> {
        Ok(RoomId(self.lock().next_room))
    }

    fn members(&self, room: RoomId, which: MemberSelection<'_>) -> Result<Vec<MemberRow>, StoreError> {
        let inner = self.lock();
        let wanted = |row: &&MemberRow| match which {
            MemberSelection::Present => row.left_at.is_none(),
            MemberSelection::WithSecrets => row.secrets.is_some(),
            MemberSelection::Ids(ids) => ids.contains(&row.member),
        };
        Ok(inner.room(room)?.members.values().filter(wanted).cloned().collect())
    }

    fn read(&self, room: RoomId, after: Position, bytes_max: usize) -> Result<StoredPage, StoreError> {
        let inner = self.lock();
        let room = inner.room(room)?;
        let mut page = StoredPage { first: after.saturating_add(1), last: after, ..StoredPage::default() };
        if page.first < room.first {
            page.gap = Some(page.first..=room.first - 1);
            return Ok(page);
        }
        let mut bytes = 0;
        let skip = usize::try_from(page.first - room.first).unwrap_or(usize::MAX);
        for record in room.records.iter().skip(skip) {
            bytes += record.frame.len();
            if bytes > bytes_max && !page.runs.is_empty() {
                break;
            }
            page.runs.push(record.frame.clone());
            page.last = page.last.next();
        }
        Ok(page)
    }

    fn read_before(
        &self,
        room: RoomId,
        before: Position,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<StoredPage, StoreError> {
        let inner = self.lock();
        let room = inner.room(room)?;
        let before = before.clamp(Position::FIRST, room.last() + 1);
        let mut page = StoredPage { first: before, last: before - 1, ..StoredPage::default() };
        if records_max == 0 {
            return Ok(page);
        }
        if before <= room.first {
            page.gap = (before > Position::FIRST).then(|| Position::FIRST..=before - 1);
            return Ok(page);
        }
        let mut bytes = 0;
        let kept = usize::try_from(before - room.first).expect("a count of records in memory");
        for record in room.records.iter().take(kept).rev() {
            bytes += record.frame.len();
            if page.runs.len() >= records_max || (bytes > bytes_max && !page.runs.is_empty()) {
                break;
            }
            page.runs.push(record.frame.clone());
            page.first = page.first.previous();
        }
        page.runs.reverse();
        if page.first == room.first {
            page.gap = room.removed();
        }
        Ok(page)
    }

    fn positions(
        &self,
        room: RoomId,
        member: MemberId,
        from_seq: u64,
        to_seq: u64,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let inner = self.lock();
        let wanted = |r: &MemoryRecord| r.id.member == member && (from_seq..=to_seq).contains(&r.id.seq);
        let found = inner.room(room)?.numbered().filter(|(_, r)| wanted(r)).map(|(position, _)| position);
        Ok(found.take(max).collect())
    }

    fn marked(
        &self,
        room: RoomId,
        name: &[u8],
        after: Position,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let inner = self.lock();
        let room = inner.room(room)?;
        let name = Bytes::copy_from_slice(name);
        let from = (name.clone(), after.saturating_add(1).max(room.first));
        let found = room.marks.range(from..).take_while(|(other, _)| *other == name);
        Ok(found.map(|&(_, position)| position).take(max).collect())
    }

    fn marked_between(
        &self,
        room: RoomId,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<(Vec<u8>, Position)>, StoreError> {
        let inner = self.lock();
        let room = inner.room(room)?;
        let from = (Bytes::copy_from_slice(from), room.first);
        let mut found: Vec<_> = room.marks.range(from..).take_while(|(name, _)| name[..] <= *to).collect();
        found.retain(|(_, position)| *position >= room.first);
        found.sort_by_key(|(name, position)| (name, core::cmp::Reverse(position)));
        Ok(found.into_iter().take(max).map(|(name, position)| (name.to_vec(), *position)).collect())
    }

    fn search(
        &self,
        room: Option<RoomId>,
        query: &str,
        before: Option<u64>,
        max: usize,
    ) -> Result<Found, StoreError> {
        let query = Query::parse(query)?;
        let inner = self.lock();
        if let Some(room) = room {
            inner.room(room)?;
        }
        let before = before.unwrap_or(u64::MAX);
        let mut hits = Vec::new();
        for (&id, kept) in inner.rooms.iter().filter(|(id, _)| room.is_none_or(|room| room == **id)) {
            for (position, record) in kept.numbered() {
                let key = if room.is_some() { position.get() } else { record.time_millis };
                let Some(said) = message(&record.frame).filter(|m| m.is_data()) else {
                    continue;
                };
                let text = Body::decode(&said.payload());
                if key < before && text.text().is_some_and(|text| query.matches(text)) {
                    let (time_millis, frame) = (record.time_millis, record.frame.clone());
                    hits.push(Hit { room: id, position, time_millis, frame });
                }
            }
        }
        match room {
            Some(_) => hits.sort_by_key(|hit| core::cmp::Reverse(hit.position)),
            None => hits.sort_by_key(|hit| core::cmp::Reverse((hit.time_millis, hit.room, hit.position))),
        }
        hits.truncate(max);
        Ok(Found { hits, complete: true })
    }

    fn excess(&self, room: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError> {
        let inner = self.lock();
        let room = inner.rooms.get(&room).ok_or(StoreError::NoSuchRoom(room))?;
        let last = room.first + room.records.len() as u64 - 1;
        let mut first = room.first;
        if let Some(count) = keep.count {
            first = first.max((last + 1).saturating_sub(count));
        }
        if let Some(max) = keep.bytes {
            let mut bytes = 0;
            let fits = |record: &&MemoryRecord| {
                bytes += record.frame.len() as u64;
                bytes <= max
            };
            first = first.max(last + 1 - room.records.iter().rev().take_while(fits).count() as u64);
        }
        if let Some(ages) = AgeRange::of(&keep, now_millis, inner.ages_from) {
            let times =
                room.records.iter().zip(room.first.onwards()).map(|(record, at)| (at, record.time_millis));
            ages.look(times.skip((first - room.first) as usize), &mut first);
        }
        first = first.min(keep.before.unwrap_or(Position::MAX)).max(room.first);
        Ok(Removed { records: first - room.first, first })
    }

    fn retain(&self, id: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError> {
        let removed = self.excess(id, keep, now_millis)?;
        let mut inner = self.lock();
        let room = inner.rooms.get_mut(&id).ok_or(StoreError::NoSuchRoom(id))?;
        room.records.drain(..(removed.first.since(room.first).unwrap_or(0) as usize).min(room.records.len()));
        room.first = room.first.max(removed.first);
        let first = room.first;
        room.marks.retain(|&(_, position)| position >= first);
        Ok(removed)
    }

    fn count_ages_from(&self, millis: u64) -> Result<(), StoreError> {
        self.lock().ages_from = millis;
        Ok(())
    }

    fn ages_from(&self) -> u64 {
        self.lock().ages_from
    }

    fn tidy(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn check(&self) -> CheckReport {
        let inner = self.lock();
        let mut report = CheckReport { rooms: inner.rooms.len() as u64, ..CheckReport::default() };
        for record in inner.rooms.values().flat_map(|room| &room.records) {
            report.records += 1;
            report.bytes += record.frame.len() as u64;
        }
        report
    }

    fn stats(&self) -> StoreStats {
        let inner = self.lock();
        StoreStats {
            rooms: inner.rooms.len() as u64,
            records: inner.rooms.values().map(|room| room.records.len() as u64).sum(),
            commits: inner.commits,
            appended: inner.appended,
            search: true,
            ..StoreStats::default()
        }
    }

    /// There is nothing that a copy could be opened with: always [`StoreError::Backup`].
    fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let message = "this store is in memory only".into();
        Err(StoreError::Backup { path: to.display().to_string(), message })
    }
}
