//! Retention, checking, numbers, copies.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use causerie_core::id::Position;
use rusqlite::Connection;

use super::copy::{CopyError, copy};
use super::folder::{self, Folder};
use super::inner::{Inner, unpoisoned};
use super::reader::Reader;
use super::state::RoomState;
use super::trouble::{Trouble, trouble};
use super::{compare, rows, schema};
use crate::change::RoomId;
use crate::error::{OpenError, StoreError};
use crate::page::{AgeRange, CheckReport, Damage, Removed, Retention, StoreStats};

/// Most entries of a report's lists.
const REPORT_MAX: usize = 10_000;

impl Inner {
    /// Returns the first position of the room, now and by these limits; `None` if there is no such room.
    fn limit(
        &self,
        reader: &Reader,
        room: RoomId,
        keep: Retention,
        now_millis: u64,
    ) -> rusqlite::Result<Option<(Position, Position)>> {
        // Blocks may be joined meanwhile.
        let _snapshot = reader.blocks.unchecked_transaction()?;
        let (ends, ages) = {
            let state = self.state();
            let found = state.rooms.get(&room);
            let staged = |r: &RoomState| r.staged.iter().map(|s| s.run.clone()).collect::<Vec<_>>();
            let ends = found.map(|r| (r.first, r.moved, r.last, staged(r)));
            (ends, AgeRange::of(&keep, now_millis, state.ages_from))
        };
        let Some((before, moved, last, staged)) = ends else { return Ok(None) };
        let mut first = before;
        if let Some(count) = keep.count {
            first = first.max((last + 1).saturating_sub(count));
        }
        if let Some(bytes) = keep.bytes {
            first = first.max(by_bytes(reader, room, before, moved, last, &staged, bytes)?);
        }
        if let Some(ages) = ages {
            first = by_age(reader, room, first, moved, &staged, ages)?;
        }
        Ok(Some((before, first.min(keep.before.unwrap_or(Position::MAX)).clamp(before, last + 1))))
    }

    pub(super) fn excess(
        &self,
        room: RoomId,
        keep: Retention,
        now_millis: u64,
    ) -> Result<Removed, StoreError> {
        let limit = self.reading(|reader| self.limit(reader, room, keep, now_millis))?;
        let (before, first) = limit.ok_or(StoreError::NoSuchRoom(room))?;
        Ok(Removed { records: first - before, first })
    }

    pub(super) fn count_ages_from(&self, millis: u64) -> Result<(), StoreError> {
        self.step(|inner, writer| {
            writer.sync(true)?;
            writer
                .transaction(|db| rows::put_meta(db, "ages_from", rows::int(millis.min(i64::MAX as u64))))?;
            inner.state_mut().ages_from = millis;
            Ok(())
        })
    }

    pub(super) fn retain(
        &self,
        room: RoomId,
        keep: Retention,
        now_millis: u64,
    ) -> Result<Removed, StoreError> {
        let limit = self.reading(|reader| self.limit(reader, room, keep, now_millis))?;
        let (_, first) = limit.ok_or(StoreError::NoSuchRoom(room))?;
        let before = self.step_apart(|inner, blocks| {
            // Both may have changed meanwhile.
            let Some(before) = inner.state().rooms.get(&room).map(|r| r.first) else { return Ok(None) };
            if first > before {
                blocks.sync(false)?;
                blocks.transaction(|db| rows::keep_from(db, room, first))?;
                if let Some(room) = inner.state_mut().rooms.get_mut(&room) {
                    room.first = first;
                    room.moved = room.moved.max(first - 1);
                }
            }
            Ok(Some(before))
        })?;
        let before = before.ok_or(StoreError::NoSuchRoom(room))?;
        let first = first.max(before);
        // Also what an earlier call was kept from.
        let mut any = first > before;
        while self.step_apart(|inner, blocks| {
            blocks.sync(false)?;
            blocks.transaction(|db| inner.delete_blocks(db, room, first, true))
        })? {
            any = true;
        }
        if any {
            // Nothing goes from the other file before it is on the disk that it was to go.
            self.step_apart(|_, blocks| blocks.settle())?;
            while self.step(|inner, writer| {
                writer.sync(false)?;
                writer.transaction(|db| {
                    Ok(rows::delete_marks(db, room, first)? | inner.delete_blocks(db, room, first, false)?)
                })
            })? {}
        }
        self.wake();
        Ok(Removed { records: first - before, first })
    }

    pub(super) fn check(&self) -> CheckReport {
        let mut report = CheckReport::default();
        let mut problem = |text: String| {
            tracing::error!("{text}");
            text
        };
        let rooms = match self.rooms() {
            Ok(rooms) => rooms,
            Err(error) => {
                report.problems.push(problem(format!("the rooms cannot be read: {error}")));
                return report;
            }
        };
        // Connections of its own: the search index of an older one does not look whether it has changed
        // since.
        let fresh = self.open_reader(unpoisoned(&self.readers).beside_writer);
        let quick = fresh.and_then(|fresh| {
            let mut lines = Vec::new();
            for db in [&fresh.db, &fresh.blocks] {
                let check = || {
                    let mut check = db.prepare("PRAGMA quick_check(100)")?;
                    let found = check.query_map([], |row| row.get::<_, String>(0))?;
                    found.collect::<rusqlite::Result<Vec<_>>>()
                };
                lines.extend(check().map_err(|error| self.store_error(error))?);
            }
            Ok(lines)
        });
        match quick {
            Ok(lines) => {
                report.problems.extend(lines.into_iter().filter(|line| line != "ok").map(&mut problem));
            }
            Err(error) => report.problems.push(problem(format!("the database cannot be checked: {error}"))),
        }
        let small = self.reading(|Reader { db, blocks, .. }| {
            let mut bad = Vec::new();
            for (room, row) in rows::rooms(db)? {
                if row.is_none() {
                    bad.push(format!("{room}: its row is damaged"));
                }
                if rows::moved(db, room)?.is_none() {
                    bad.push(format!("{room}: how far it has come is damaged"));
                }
                if rows::kept_from(blocks, room)?.is_none() {
                    bad.push(format!("{room}: where it begins is damaged"));
                }
                if rows::checkpoint(db, room)? == Some(None) {
                    bad.push(format!("{room}: its checkpoint is damaged"));
                }
                let mut members = db.prepare_cached(
                    "SELECT member, name, joined_at, left_at, taken, token, nonce, crc, hosted FROM member WHERE room = ?1",
                )?;
                for row in members.query_map([rows::int(room.0)], |row| rows::member(room, row))? {
                    if let Err(member) = row? {
                        bad.push(format!("{room}: the row of member {member} is damaged"));
                    }
                }
            }
            let mut marks = db.prepare("SELECT position, crc, room, name FROM mark")?;
            let mut all = marks.query([])?;
            while let Some(row) = all.next()? {
                let room = RoomId(row.get::<_, i64>(2)? as u64);
                let name: Vec<u8> = row.get(3).unwrap_or_default();
                if let Err(position) = rows::mark(room, &name, row)? {
                    bad.push(format!("{room}: a mark of position {position} is damaged"));
                }
            }
            let mut staging = db.prepare("SELECT id, crc, head, frames FROM staging ORDER BY id")?;
            let mut all = staging.query([])?;
            while let Some(row) = all.next()? {
                let row = rows::staging(row)?;
                let lost = row.runs.iter().flat_map(|run| run.slots()).filter(|slot| !slot.good).count();
                if !row.whole || lost > 0 {
                    bad.push(format!("staged batch {}: damaged, with {lost} records known to be lost", row.id));
                }
            }
            // First those of the blocks: what is made or closed meanwhile is known.
            let known = known_rooms(db)?;
            let mut lost = orphans(blocks, &["kept", "place", "author"])?;
            lost.extend(orphans(db, &["kept", "moved", "checkpoint", "member", "mark", "place", "author"])?);
            let known: HashSet<_> = known_rooms(db)?.union(&known).copied().collect();
            lost.retain(|(room, _)| room.is_none_or(|room| !known.contains(&room)));
            bad.extend(lost.into_iter().map(|(_, told)| told));
            Ok(bad)
        });
        let differences = |reader: &Reader| {
            let blocks = compare::blocks_differences(&reader.blocks)?;
            Ok([compare::differences(&reader.db, self.format)?, blocks].concat())
        };
        match self.reading(differences) {
            Ok(differences) => report.problems.extend(differences.into_iter().map(&mut problem)),
            Err(error) => report.problems.push(problem(format!("the tables cannot be listed: {error}"))),
        }
        match small {
            Ok(bad) => report.problems.extend(bad.into_iter().map(&mut problem)),
            Err(error) => report.problems.push(problem(format!("tables cannot be read: {error}"))),
        }
        for room in rooms {
            report.rooms += 1;
            let mut after = room.first - 1;
            loop {
                let page = match self.read(room.room, after, 1 << 20) {
                    Ok(page) => page,
                    // Closed while we were reading.
                    Err(StoreError::NoSuchRoom(_)) => break,
                    Err(error) => {
                        report.problems.push(problem(format!("{}, behind {after}: {error}", room.room)));
                        break;
                    }
                };
                report.records += page.len();
                report.bytes += page.bytes() as u64;
                if let Some(positions) = page.gap.clone() {
                    let kept = self.state().rooms.get(&room.room).map(|r| r.first);
                    if kept.is_some_and(|kept| *positions.start() >= kept)
                        && report.damaged.len() < REPORT_MAX
                    {
                        report.damaged.push(Damage { room: room.room, positions });
                    }
                }
                if page.next() <= after {
                    break;
                }
                after = page.next();
            }
        }
        report.problems.truncate(REPORT_MAX);
        report
    }

    pub(super) fn stats(&self) -> StoreStats {
        let sizes = [folder::FILE, folder::BLOCKS].map(|file| folder::sizes(&self.dir, file));
        let free = self.reading(|Reader { db, blocks, .. }| {
            [db, blocks].into_iter().try_fold(0, |free, db| {
                let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
                Ok(free + (pragma("freelist_count")? * pragma("page_size")?) as u64)
            })
        });
        let state = self.state();
        StoreStats {
            rooms: state.rooms.len() as u64,
            records: state.rooms.values().map(|r| r.last + 1 - r.first).sum(),
            commits: self.counts.commits.load(Ordering::Relaxed),
            appended: self.counts.appended.load(Ordering::Relaxed),
            staged_bytes: state.staged_bytes,
            file_bytes: sizes[0].0 + sizes[1].0,
            free_bytes: free.unwrap_or(0),
            wal_bytes: sizes[0].1 + sizes[1].1,
            damaged: self.counts.damaged.load(Ordering::Relaxed),
            search: self.search.load(Ordering::Relaxed),
            failed: unpoisoned(&self.failed).is_some(),
        }
    }
}

/// Returns the rooms of which there may be something anywhere.
fn known_rooms(db: &Connection) -> rusqlite::Result<HashSet<RoomId>> {
    let mut select = db.prepare("SELECT id FROM room UNION SELECT room FROM closing")?;
    select.query_map([], |row| Ok(RoomId(row.get::<_, i64>(0)? as u64)))?.collect()
}

/// Counts the rows that these tables have for each room, in words that are true if there is no such room, and
/// blocks that no place names: something has taken rows away.
fn orphans(db: &Connection, tables: &[&str]) -> rusqlite::Result<Vec<(Option<RoomId>, String)>> {
    let mut bad = Vec::new();
    for table in tables {
        let mut select = db.prepare(&format!("SELECT room, count(*) FROM {table} GROUP BY room"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (room, count) = (RoomId(row.get::<_, i64>(0)? as u64), row.get::<_, i64>(1)?);
            bad.push((Some(room), format!("{room}: it is gone, and {count} rows of '{table}' are there")));
        }
    }
    let lost = "SELECT count(*) FROM block WHERE id NOT IN (SELECT block FROM place)";
    match db.query_row(lost, [], |row| row.get::<_, i64>(0))? {
        0 => {}
        count => bad.push((None, format!("{count} blocks of records belong nowhere"))),
    }
    Ok(bad)
}

/// Writes a consistent copy of the store in the folder `from`, whoever has it open, into the new folder `to`.
/// Changes nothing in `from`.
pub(super) fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    let refuse = |message: String| StoreError::Backup { path: to.display().to_string(), message };
    let io = |error: std::io::Error| refuse(error.to_string());
    match std::fs::read_dir(to) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(refuse("there is something already".into()));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    // A server that has the folder goes on, and this reads beside it.
    let (_folder, files) = match Folder::take_to_read(from) {
        Ok(folder) => (Some(folder), schema::untouched_pair(from)),
        Err(OpenError::Locked { .. }) => (None, schema::beside(from)),
        Err(error) => return Err(refuse(error.to_string())),
    };
    let (db, blocks, _) = files.map_err(|error| refuse(error.to_string()))?;
    copy(&db, blocks.as_ref(), to, || {}).map_err(|error| match error {
        CopyError::Database(error) if trouble(&error) == Trouble::Damaged => {
            StoreError::Damaged(error.into())
        }
        error => refuse(error.to_string()),
    })
}

/// Returns the first position of the longest end of the log that has at most so many bytes.
fn by_bytes(
    reader: &Reader,
    room: RoomId,
    first: Position,
    moved: Position,
    last: Position,
    staged: &[crate::run::StoredRun],
    bytes_max: u64,
) -> rusqlite::Result<Position> {
    let mut left = bytes_max;
    let mut within = |directory: &crate::run::RunDirectory, from: Position| {
        let positions = (directory.first.get()..=directory.last().get()).rev().map(Position::new);
        for (entry, position) in directory.entries.iter().rev().zip(positions) {
            if position < from {
                break;
            }
            match left.checked_sub(entry.length.into()) {
                Some(rest) => left = rest,
                None => return Some(position + 1),
            }
        }
        None
    };
    for run in staged.iter().rev() {
        if let Some(first) = within(&run.directory, first.max(moved + 1)) {
            return Ok(first);
        }
    }
    let mut end = moved.min(last);
    while end >= first && end > Position::START {
        let Some((place, db)) = reader.place_at(room, end)? else { break };
        let directory = rows::directory(db, room, &place);
        match directory {
            Ok(Some(directory)) => {
                if let Some(first) = within(&directory, first) {
                    return Ok(first);
                }
            }
            Err(error) if trouble(&error) != Trouble::Damaged => return Err(error),
            // Unreadable: it counts for nothing.
            _ => {}
        }
        end = place.first.min(end) - 1;
    }
    Ok(first)
}

/// Returns the first position from `first` on that is to be kept.
fn by_age(
    reader: &Reader,
    room: RoomId,
    first: Position,
    moved: Position,
    staged: &[crate::run::StoredRun],
    ages: AgeRange,
) -> rusqlite::Result<Position> {
    let (mut kept, mut at) = (first, first);
    let times = |directory: &crate::run::RunDirectory, from: Position| {
        let all = directory
            .first
            .onwards()
            .zip(directory.entries.iter().map(|entry| entry.time).collect::<Vec<_>>());
        all.skip_while(move |(position, _)| *position < from)
    };
    while at <= moved {
        let (place, db) = match reader.place_at(room, at)? {
            Some(found) if found.0.last >= at => found,
            _ => match reader.place_behind(room, at)? {
                Some(found) => found,
                None => break,
            },
        };
        match rows::directory(db, room, &place) {
            Ok(Some(directory)) if ages.look(times(&directory, at), &mut kept) => return Ok(kept),
            Err(error) if trouble(&error) != Trouble::Damaged => return Err(error),
            // Old, or unreadable: as old as what is around it.
            _ => {}
        }
        at = place.last.max(at) + 1;
    }
    for run in staged {
        at = at.max(moved + 1);
        if ages.look(times(&run.directory, at), &mut kept) {
            return Ok(kept);
        }
        at = at.max(run.last() + 1);
    }
    Ok(kept)
}
