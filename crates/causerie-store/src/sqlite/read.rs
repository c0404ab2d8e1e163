//! Reading: rooms, members, pages, positions.

use bytes::Bytes;
use causerie_core::id::Position;
use cbcast::MemberId;
use rusqlite::{Connection, params};

use super::blocks::read_block;
use super::inner::Inner;
use super::reader::Reader;
use super::rows;
use crate::change::{MemberRow, RoomId};
use crate::error::StoreError;
use crate::page::{Checkpoint, MemberSelection, StoredPage, StoredRoom};
use crate::run::{StoredRun, message_id};

/// A room's ends as they were when reading began, and the staged runs that a read may need.
pub(super) struct ReadView {
    pub(super) first: Position,
    pub(super) last: Position,
    pub(super) moved: Position,
    pub(super) staged: Vec<StoredRun>,
}

/// Place of a position in a block or staged run.
enum At {
    /// In this run, whose bytes there may not be good.
    In(StoredRun),
    /// Among positions that cannot be read.
    Hole { first: Position, last: Position },
}

impl Inner {
    /// Returns the room's ends, and its staged runs of which `wanted` says so.
    fn view(&self, room: RoomId, wanted: impl Fn(&StoredRun) -> bool) -> Result<ReadView, StoreError> {
        let state = self.state();
        let found = state.rooms.get(&room).ok_or(StoreError::NoSuchRoom(room))?;
        let staged = found.staged.iter().map(|s| &s.run).filter(|run| wanted(run)).cloned().collect();
        Ok(ReadView { first: found.first, last: found.last, moved: found.moved, staged })
    }

    pub(super) fn rooms(&self) -> Result<Vec<StoredRoom>, StoreError> {
        let found = self.reading(|Reader { db, .. }| {
            let mut found = Vec::new();
            for (room, row) in rows::rooms(db)? {
                if let Some(row) = row {
                    found.push((room, row, rows::checkpoint(db, room)?));
                }
            }
            Ok(found)
        })?;
        let state = self.state();
        let stored = found.into_iter().filter_map(|(room, row, checkpoint)| {
            let ends = state.rooms.get(&room)?;
            if checkpoint == Some(None) {
                tracing::error!(room = room.0, "the room's checkpoint is damaged");
            }
            let checkpoint = checkpoint.flatten().map(|(position, state)| Checkpoint { position, state });
            Some(StoredRoom { room, row, first: ends.first, last: ends.last, checkpoint, cut: ends.cut })
        });
        Ok(stored.collect())
    }

    pub(super) fn members(
        &self,
        room: RoomId,
        which: MemberSelection<'_>,
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.view(room, |_| false)?;
        const COLUMNS: &str =
            "SELECT member, name, joined_at, left_at, taken, token, nonce, crc, hosted FROM member";
        let found: Vec<_> = self.reading(|Reader { db, .. }| match which {
            MemberSelection::Present | MemberSelection::WithSecrets => {
                let only = if matches!(which, MemberSelection::Present) {
                    "left_at IS NULL"
                } else {
                    "token IS NOT NULL"
                };
                let mut select = db.prepare_cached(&format!("{COLUMNS} WHERE room = ?1 AND {only}"))?;
                select.query_map([rows::int(room.0)], |row| rows::member(room, row))?.collect()
            }
            MemberSelection::Ids(ids) => {
                let mut select = db.prepare_cached(&format!("{COLUMNS} WHERE room = ?1 AND member = ?2"))?;
                let mut found = Vec::new();
                for &id in ids {
                    let key = params![rows::int(room.0), rows::member_key(id)];
                    for row in select.query_map(key, |row| rows::member(room, row))? {
                        found.push(row?);
                    }
                }
                Ok(found)
            }
        })?;
        let mut members = Vec::with_capacity(found.len());
        for row in found {
            match row {
                Ok(row) => members.push(row),
                Err(member) => tracing::error!(room = room.0, %member, "a member's row is damaged"),
            }
        }
        members.sort_by_key(|row: &MemberRow| row.member);
        members.dedup_by_key(|row| row.member);
        Ok(members)
    }

    pub(super) fn read(
        &self,
        room: RoomId,
        after: Position,
        bytes_max: usize,
    ) -> Result<StoredPage, StoreError> {
        let first = after.saturating_add(1);
        let mut page = StoredPage { first, last: after, ..StoredPage::default() };
        let mut bytes = 0usize;
        // Frames are counted, not records: a run is never shorter than its frames.
        let mut budget = 0usize;
        let state = self.state();
        let ends = state.rooms.get(&room).ok_or(StoreError::NoSuchRoom(room))?;
        let skip = ends.staged.partition_point(|s| s.run.last() < first);
        let mut staged = Vec::new();
        for s in ends.staged.range(skip..) {
            if budget > bytes_max && !staged.is_empty() {
                break;
            }
            budget = budget.saturating_add(s.run.frames.len());
            staged.push(s.run.clone());
        }
        let end = ends.staged.back().map_or(ends.moved, |s| s.run.last());
        let view = ReadView { first: ends.first, last: ends.last, moved: ends.moved, staged };
        drop(state);
        if first < view.first {
            page.gap = Some(first..=view.first - 1);
            return Ok(page);
        }
        let mut take =
            |page: &mut StoredPage, run: &StoredRun| take_forward(page, run, bytes_max, &mut bytes);
        let mut open = true;
        if first <= view.moved {
            open = self.reading(|reader| {
                while page.last < view.moved {
                    match at(reader, room, page.last + 1, view.moved)? {
                        At::In(run) => {
                            if !take(&mut page, &run) {
                                return Ok(false);
                            }
                        }
                        At::Hole { last, .. } => {
                            page.gap = Some(page.last + 1..=last);
                            return Ok(false);
                        }
                    }
                }
                Ok(true)
            })?;
        }
        for run in &view.staged {
            if !open {
                break;
            }
            open = if run.first() > page.last + 1 {
                page.gap = Some(page.last + 1..=run.first() - 1);
                false
            } else {
                take(&mut page, run)
            };
        }
        if open && page.last >= end && page.last < view.last {
            // The log is known to be longer than what is left of it.
            page.gap = Some(page.last + 1..=view.last);
        }
        self.name_gap(room, &mut page, true);
        Ok(page)
    }

    /// Names the reason of a page's gap: it may be retention's, which came in between; damage is reported.
    fn name_gap(&self, room: RoomId, page: &mut StoredPage, forwards: bool) {
        let Some(gap) = page.gap.clone() else { return };
        let kept = self.state().rooms.get(&room).map(|r| r.first);
        // The room may be closed by now.
        let Some(kept) = kept else { return };
        if *gap.start() >= kept {
            self.report(room, &gap);
        } else if forwards && *gap.end() + 1 < kept {
            page.gap = Some(*gap.start()..=kept - 1);
        } else if *gap.end() >= kept {
            self.report(room, &(kept..=*gap.end()));
        }
    }

    pub(super) fn read_before(
        &self,
        room: RoomId,
        before: Position,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<StoredPage, StoreError> {
        let state = self.state();
        let ends = state.rooms.get(&room).ok_or(StoreError::NoSuchRoom(room))?;
        let before = before.clamp(Position::FIRST, ends.last + 1);
        let (mut bytes, mut records) = (0usize, 0usize);
        let mut staged = Vec::new();
        let mut all_staged = true;
        let behind = ends.staged.partition_point(|s| s.run.first() < before);
        for s in ends.staged.range(..behind).rev() {
            if !staged.is_empty() && (bytes > bytes_max || records >= records_max) {
                all_staged = false;
                break;
            }
            if s.run.last() < before {
                bytes += s.run.frames.len();
                records += s.run.directory.entries.len();
            }
            staged.push(s.run.clone());
        }
        let view = ReadView { first: ends.first, last: ends.last, moved: ends.moved, staged };
        drop(state);
        let mut page = StoredPage { first: before, last: before - 1, ..StoredPage::default() };
        if records_max == 0 {
            return Ok(page);
        }
        let mut budget = Budget { records: records_max, bytes: bytes_max };
        let mut open = page.first > view.first;
        for run in &view.staged {
            if !open {
                break;
            }
            open = if run.last() + 1 < page.first {
                page.gap = Some(run.last() + 1..=page.first - 1);
                false
            } else {
                take_backward(&mut page, run, view.first, &mut budget)
            };
        }
        // Those that were not taken along are more than there is room for, though the last one may have just fit.
        open &= all_staged;
        let lower = view.moved.max(view.first - 1) + 1;
        if open && page.first > lower {
            page.gap = Some(lower..=page.first - 1);
            open = false;
        }
        if open && page.first > view.first {
            self.reading(|reader| {
                while page.first > view.first {
                    match at(reader, room, page.first - 1, view.moved)? {
                        At::In(run) => {
                            if !take_backward(&mut page, &run, view.first, &mut budget) {
                                break;
                            }
                        }
                        At::Hole { first, .. } => {
                            page.gap = Some(first.max(view.first)..=page.first - 1);
                            break;
                        }
                    }
                }
                Ok(())
            })?;
        }
        page.runs.reverse();
        if page.gap.is_none() && page.first <= view.first && page.first > Position::FIRST {
            page.gap = Some(Position::FIRST..=page.first - 1);
            return Ok(page);
        }
        self.name_gap(room, &mut page, false);
        Ok(page)
    }

    pub(super) fn marked(
        &self,
        room: RoomId,
        name: &[u8],
        after: Position,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let view = self.view(room, |_| false)?;
        let found: Vec<_> = self.reading(|Reader { db, .. }| {
            let mut select = db.prepare_cached(
                "SELECT position, crc FROM mark WHERE room = ?1 AND name = ?2 AND position BETWEEN ?3 AND ?4
                 ORDER BY position LIMIT ?5",
            )?;
            let limit = |n: u64| rows::int(n.min(i64::MAX as u64));
            let from = after.saturating_add(1).max(view.first);
            let key = params![
                rows::int(room.0),
                name,
                limit(from.get()),
                limit(view.last.get()),
                limit(max as u64)
            ];
            select.query_map(key, |row| rows::mark(room, name, row))?.collect()
        })?;
        let mut positions = Vec::with_capacity(found.len());
        for row in found {
            match row {
                Ok(position) => positions.push(position),
                Err(position) => {
                    tracing::error!(room = room.0, position = position.get(), "a mark's row is damaged")
                }
            }
        }
        Ok(positions)
    }

    pub(super) fn marked_between(
        &self,
        room: RoomId,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<(Vec<u8>, Position)>, StoreError> {
        let view = self.view(room, |_| false)?;
        let found: Vec<_> = self.reading(|Reader { db, .. }| {
            let mut select = db.prepare_cached(
                "SELECT position, crc, name FROM mark WHERE room = ?1 AND name BETWEEN ?2 AND ?3
                 AND position BETWEEN ?4 AND ?5 ORDER BY name, position DESC LIMIT ?6",
            )?;
            let limit = |n: u64| rows::int(n.min(i64::MAX as u64));
            let (first, last, max) = (limit(view.first.get()), limit(view.last.get()), limit(max as u64));
            let key = params![rows::int(room.0), from, to, first, last, max];
            let read = |row: &rusqlite::Row<'_>| {
                let name: Vec<u8> = row.get(2)?;
                Ok(rows::mark(room, &name, row)?.map(|position| (name, position)))
            };
            select.query_map(key, read)?.collect()
        })?;
        let mut marks = Vec::with_capacity(found.len());
        for row in found {
            match row {
                Ok(mark) => marks.push(mark),
                Err(position) => {
                    tracing::error!(room = room.0, position = position.get(), "a mark's row is damaged")
                }
            }
        }
        Ok(marks)
    }

    pub(super) fn positions(
        &self,
        room: RoomId,
        member: MemberId,
        from_seq: u64,
        to_seq: u64,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let view = self.view(room, |_| true)?;
        let mut found = Vec::new();
        let look =
            |run: &StoredRun, found: &mut Vec<Position>, within: core::ops::RangeInclusive<Position>| {
                for slot in run.slots() {
                    if found.len() < max && slot.good && within.contains(&slot.position) {
                        let id = message_id(&run.frames[slot.at..slot.at + slot.entry.length as usize]);
                        if id.is_some_and(|id| id.member == member && (from_seq..=to_seq).contains(&id.seq)) {
                            found.push(slot.position);
                        }
                    }
                }
            };
        if view.moved >= view.first && max > 0 {
            let limit = |seq: u64| rows::int(seq.min(i64::MAX as u64));
            let (from, to) = (limit(from_seq), limit(to_seq));
            self.reading(|reader| {
                for db in reader.files() {
                    let mut here = Vec::new();
                    // The blocks' ranges do not overlap, so the first that matters begins at or before
                    // `from`.
                    let mut select = db.prepare_cached(
                        "SELECT block_first FROM author WHERE room = ?1 AND member = ?2 AND last_seq >= ?3
                         AND first_seq <= ?4 AND first_seq >= coalesce((SELECT max(first_seq) FROM author
                         WHERE room = ?1 AND member = ?2 AND first_seq <= ?3), 0) ORDER BY first_seq, block_first",
                    )?;
                    let key = params![rows::int(room.0), rows::member_key(member), from, to];
                    let mut blocks = select.query(key)?;
                    while here.len() < max
                        && let Some(row) = blocks.next()?
                    {
                        let first = row.get::<_, i64>(0)? as u64;
                        if let At::In(run) = at(reader, room, Position::new(first), view.moved)? {
                            look(&run, &mut here, view.first..=view.moved);
                        }
                    }
                    found.append(&mut here);
                }
                // What is being taken over is in both files.
                found.sort_unstable();
                found.dedup();
                found.truncate(max);
                Ok(())
            })?;
        }
        for run in &view.staged {
            if found.len() >= max {
                break;
            }
            look(run, &mut found, view.first.max(view.moved + 1)..=view.last);
        }
        // A damaged row of the index may name a block twice, or too early.
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Returns one good record, wherever it is. `read` is the run of the one before, which may have this one
    /// as well.
    pub(super) fn record(
        &self,
        reader: &Reader,
        room: RoomId,
        position: Position,
        read: &mut Option<StoredRun>,
    ) -> rusqlite::Result<Option<(u64, Bytes)>> {
        let view = self.view(room, |run| (run.first()..=run.last()).contains(&position));
        let Ok(view) = view else { return Ok(None) };
        if position < view.first || position > view.last {
            return Ok(None);
        }
        let has = |run: &StoredRun| (run.first()..=run.last()).contains(&position);
        let run = match (view.staged.into_iter().next(), read.take().filter(has)) {
            (Some(run), _) | (None, Some(run)) => run,
            (None, None) => match at(reader, room, position, view.moved)? {
                At::In(run) => run,
                At::Hole { .. } => return Ok(None),
            },
        };
        let run = read.insert(run);
        Ok(run.record(position).map(|(slot, frame)| (slot.entry.time, frame)))
    }
}

/// Looks `position`, which is at most `moved`, up in the blocks.
fn at(reader: &Reader, room: RoomId, position: Position, moved: Position) -> rusqlite::Result<At> {
    let mut hole = (Position::START, moved);
    for db in reader.files() {
        match at_in(db, room, position, moved)? {
            At::Hole { first, last } => hole = (first.max(hole.0), last.min(hole.1)),
            found => return Ok(found),
        }
    }
    Ok(At::Hole { first: hole.0, last: hole.1 })
}

/// Looks a position up as [`at`] does, in one file.
fn at_in(db: &Connection, room: RoomId, position: Position, moved: Position) -> rusqlite::Result<At> {
    let place = rows::place_at(db, room, position)?;
    let before = match place {
        Some(place) => match read_block(db, room, &place)? {
            Some(run) if (run.first()..=run.last()).contains(&position) => return Ok(At::In(run)),
            Some(run) if run.last() < position => run.last(),
            // Unreadable: as far as its place says, if that can be believed.
            None if place.good && place.last >= position => {
                return Ok(At::Hole { first: place.first, last: place.last.min(moved) });
            }
            _ => place.first.saturating_sub(1).min(position - 1),
        },
        None => Position::START,
    };
    let next = rows::place_behind(db, room, position)?;
    let last = next.map_or(moved, |next| (next.first - 1).clamp(position, moved));
    Ok(At::Hole { first: before + 1, last })
}

/// Takes the records of a run behind the page. Returns whether reading goes on behind the run.
fn take_forward(page: &mut StoredPage, run: &StoredRun, bytes_max: usize, bytes: &mut usize) -> bool {
    let mut begin = None;
    let mut end = 0;
    let mut open = true;
    let mut bad: Option<(Position, Position)> = None;
    for slot in run.slots() {
        if slot.position <= page.last {
            continue;
        }
        match (&mut bad, slot.good) {
            (Some((_, last)), false) => *last = slot.position,
            (Some(_), true) => break,
            (None, false) => {
                bad = Some((slot.position, slot.position));
                open = false;
            }
            (None, true) => {
                let length = slot.entry.length as usize;
                let some = !page.runs.is_empty() || begin.is_some();
                if some && bytes.saturating_add(length) > bytes_max {
                    open = false;
                    break;
                }
                *bytes += length;
                begin.get_or_insert(slot.at);
                end = slot.at + length;
                page.last = slot.position;
            }
        }
    }
    if let Some(begin) = begin {
        page.runs.push(run.frames.slice(begin..end));
    }
    page.gap = bad.map(|(first, last)| first..=last);
    open
}

struct Budget {
    records: usize,
    bytes: usize,
}

/// Takes the records of a run before the page; runs are pushed last first. Returns whether reading goes on
/// before the run.
fn take_backward(page: &mut StoredPage, run: &StoredRun, kept: Position, budget: &mut Budget) -> bool {
    let slots: Vec<_> = run.slots().filter(|s| s.position < page.first && s.position >= kept).collect();
    let mut piece: Option<(usize, usize)> = None;
    let mut open = true;
    let mut bad: Option<(Position, Position)> = None;
    for slot in slots.iter().rev() {
        match (&mut bad, slot.good) {
            (Some((first, _)), false) => *first = slot.position,
            (Some(_), true) => break,
            (None, false) => {
                bad = Some((slot.position, slot.position));
                open = false;
            }
            (None, true) => {
                let length = slot.entry.length as usize;
                let some = !page.runs.is_empty() || piece.is_some();
                if budget.records == 0 || (some && length > budget.bytes) {
                    open = false;
                    break;
                }
                budget.records -= 1;
                budget.bytes = budget.bytes.saturating_sub(length);
                let end = piece.map_or(slot.at + length, |(_, end)| end);
                piece = Some((slot.at, end));
                page.first = slot.position;
            }
        }
    }
    if let Some((begin, end)) = piece {
        page.runs.push(run.frames.slice(begin..end));
    }
    page.gap = bad.map(|(first, last)| first..=last);
    open
}
