//! Commits.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use rusqlite::Connection;

use super::inner::{DatabaseWriter, Inner, Pen, unpoisoned};
use super::state::{RoomState, StoreState};
use super::trouble::{Trouble, trouble};
use super::{folder, rows};
use crate::change::{Change, MARK_BYTES_MAX, POSITION_MAX, RoomId};
use crate::error::{CommitError, DatabaseError, InvalidChange};
use crate::run::{RunDirectory, StoredRun};
use causerie_core::id::Position;

/// Most bytes of runs in one commit: a blob of SQLite has at most a billion.
const COMMIT_BYTES_MAX: usize = 256 << 20;

/// A batch that has been checked.
#[derive(Default)]
struct CheckedBatch {
    directories: Vec<RunDirectory>,
    runs: Vec<Bytes>,
    bytes: usize,
    records: u64,
    /// Rooms whose lost end is dealt with: by a checkpoint, or since they go.
    uncut: Vec<RoomId>,
}

impl CheckedBatch {
    /// Checks all changes against the rooms as they are, and as earlier changes of the batch leave them.
    fn check(state: &StoreState, changes: &[Change]) -> Result<Self, InvalidChange> {
        let mut batch = Self::default();
        let mut next_room = state.next_room;
        // The last positions of rooms that the batch has changed; `None`: closed.
        let mut lasts: HashMap<RoomId, Option<Position>> = HashMap::new();
        for change in changes {
            let room = change.room();
            if let Change::Create { .. } = change {
                let next = RoomId(next_room);
                if room < next {
                    return Err(InvalidChange::RoomIdUsed { room, next });
                }
                if room > RoomId::MAX {
                    return Err(InvalidChange::OutOfRange(room));
                }
                next_room = room.0 + 1;
                lasts.insert(room, Some(Position::START));
                continue;
            }
            let known = || state.rooms.get(&room).map(|r| r.last);
            let last = lasts.get(&room).copied().unwrap_or_else(known);
            let last = last.ok_or(InvalidChange::NoSuchRoom(room))?;
            let settles = matches!(change, Change::Checkpoint { .. } | Change::Close { .. });
            if settles && state.rooms.get(&room).is_some_and(|r| r.cut) {
                batch.uncut.push(room);
            }
            match change {
                Change::Create { .. } | Change::Update { .. } | Change::Member { .. } => {}
                Change::Close { .. } => {
                    lasts.insert(room, None);
                }
                Change::Append { first, last: new_last, run, .. } => {
                    if *first != last + 1 {
                        return Err(InvalidChange::NotNext { room, expected: last + 1, first: *first });
                    }
                    if *new_last > POSITION_MAX {
                        return Err(InvalidChange::OutOfRange(room));
                    }
                    batch.bytes += run.len();
                    if batch.bytes > COMMIT_BYTES_MAX {
                        let (bytes, limit) = (batch.bytes, COMMIT_BYTES_MAX);
                        return Err(InvalidChange::TooLarge { bytes, limit });
                    }
                    batch.directories.push(RunDirectory::of_run(room, *first, *new_last, run)?);
                    batch.runs.push(run.clone());
                    batch.records += *new_last - *first + 1;
                    lasts.insert(room, Some(*new_last));
                }
                Change::Mark { name, position, .. } => {
                    if name.len() > MARK_BYTES_MAX {
                        return Err(InvalidChange::MarkTooLong { bytes: name.len() });
                    }
                    if *position > last {
                        return Err(InvalidChange::MarkAhead { room, last, position: *position });
                    }
                }
                Change::Checkpoint { position, .. } => {
                    if *position > last {
                        return Err(InvalidChange::CheckpointAhead { room, last, position: *position });
                    }
                }
            }
        }
        Ok(batch)
    }

    /// Returns all frames in one piece: it is stored, and kept in memory until it is moved.
    fn frames(&self) -> Bytes {
        // A run may be part of something larger that the caller would like to let go.
        let mut all = Vec::with_capacity(self.bytes);
        self.runs.iter().for_each(|run| all.extend_from_slice(run));
        all.into()
    }
}

impl DatabaseWriter {
    /// Sets whether the next transaction is synced when it ends.
    pub(super) fn sync(&mut self, full: bool) -> rusqlite::Result<()> {
        if self.full_sync != full {
            self.db.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })?;
            self.full_sync = full;
        }
        Ok(())
    }

    /// Runs `write` in a transaction: all of it or nothing. Errors of the database leave nothing behind.
    pub(super) fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let changes = self.db.total_changes();
        let result = write(&self.db).and_then(|value| {
            self.unsynced |= !self.full_sync && self.db.total_changes() != changes;
            self.db.prepare_cached("COMMIT")?.execute([])?;
            Ok(value)
        });
        if result.is_err() && !self.db.is_autocommit() {
            // Some errors have rolled back already. If this fails too, the next BEGIN says so.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        result
    }

    /// Brings everything that was written to the disk: a commit that is synced takes along what came before
    /// it.
    pub(super) fn settle(&mut self) -> rusqlite::Result<()> {
        if !self.unsynced {
            return Ok(());
        }
        self.sync(true)?;
        self.transaction(|db| rows::put_meta(db, "synced", rows::meta(db, "synced")?.unwrap_or(0) + 1))?;
        self.unsynced = false;
        Ok(())
    }

    fn write(
        &mut self,
        row: i64,
        changes: &[Change],
        batch: &CheckedBatch,
        frames: &Bytes,
    ) -> rusqlite::Result<Option<u64>> {
        self.sync(true)?;
        self.transaction(|db| {
            let mut next_room = None;
            for change in changes {
                match change {
                    Change::Create { room, row } => {
                        rows::put_room(db, *room, row)?;
                        next_room = Some(room.0 + 1);
                    }
                    Change::Close { room } => rows::close_room(db, *room)?,
                    Change::Append { .. } => {}
                    Change::Update { room, row } => rows::put_room(db, *room, row)?,
                    Change::Member { room, row } => rows::put_member(db, *room, row)?,
                    Change::Mark { room, name, position } => rows::put_mark(db, *room, name, *position)?,
                    Change::Checkpoint { room, position, state } => {
                        rows::put_checkpoint(db, *room, *position, state)?;
                    }
                }
            }
            for room in &batch.uncut {
                db.prepare_cached("DELETE FROM cut WHERE room = ?1")?.execute([rows::int(room.0)])?;
            }
            if let Some(next) = next_room {
                rows::put_meta(db, "next_room", rows::int(next))?;
            }
            if batch.directories.is_empty() {
                return Ok(None);
            }
            rows::put_staging(db, row, &batch.directories, frames).map(Some)
        })
    }
}

impl Inner {
    pub(super) fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let mut pen = self.writer_first();
        // Only to find out whether there is room now.
        if changes.is_empty() && matches!(&*pen, Pen::Writer(_)) && !self.full.load(Ordering::Relaxed) {
            return Ok(());
        }
        let failed = unpoisoned(&self.failed).clone();
        if let Some(error) = failed {
            return Err(CommitError::Failed(error));
        }
        let writer = self.writer(&mut pen).map_err(|error| match error.is_full() {
            true => CommitError::Full(error),
            false => CommitError::Failed(error),
        })?;
        if self.full.load(Ordering::Relaxed) && folder::is_full(&self.dir) {
            return Err(CommitError::Full(DatabaseError::full("the disk is full".into())));
        }
        self.full.store(false, Ordering::Relaxed);
        if changes.is_empty() {
            return Ok(());
        }
        // Only this thread, which has the writer, changes what is checked here.
        let batch = CheckedBatch::check(&self.state(), &changes)?;
        self.help(writer, batch.bytes as u64)?;
        let frames = batch.frames();
        let row = self.state().next_row;
        let row_bytes = writer.write(row, &changes, &batch, &frames);
        let row_bytes = row_bytes.map_err(|error| self.commit_error(error))?;

        let mut state = self.state_mut();
        if let Some(bytes) = row_bytes {
            state.next_row += 1;
            state.waiting_since.get_or_insert_with(Instant::now);
            state.rows.insert(row, bytes);
        }
        for room in batch.uncut {
            if let Some(room) = state.rooms.get_mut(&room) {
                room.cut = false;
            }
        }
        let mut at = 0;
        let mut directories = batch.directories.into_iter();
        for change in changes {
            let room = change.room();
            match change {
                Change::Create { .. } => {
                    state.next_room = room.0 + 1;
                    state.rooms.insert(room, RoomState::EMPTY);
                }
                Change::Close { .. } => state.close(room),
                Change::Append { run, .. } => {
                    let directory = directories.next().expect("one for each append").into();
                    let run = StoredRun { directory, frames: frames.slice(at..at + run.len()) };
                    at += run.frames.len();
                    state.stage(room, row, run);
                }
                Change::Update { .. }
                | Change::Member { .. }
                | Change::Mark { .. }
                | Change::Checkpoint { .. } => {}
            }
        }
        let gathered = state.staged_bytes >= self.options.staging_bytes || !state.closing.is_empty();
        drop(state);
        drop(pen);
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.counts.appended.fetch_add(batch.records, Ordering::Relaxed);
        if gathered {
            self.wake();
        }
        Ok(())
    }

    /// Moves twice what a commit brings, if more is staged than may be: so what is staged grows no further,
    /// and no commit pays for all that others have left. Only then does it wait while the mover makes room.
    fn help(&self, writer: &mut DatabaseWriter, bytes: u64) -> Result<(), CommitError> {
        let before = self.state().staged_bytes;
        let enough = before.saturating_sub(2 * bytes).max(self.options.staging_bytes_max);
        while self.state().staged_bytes > enough {
            let deleted = self.delete_rows(writer).map_err(|error| self.commit_error(error))?;
            // Behind the mover's step, if it is in one.
            let moved = unpoisoned(&self.blocks).as_mut().map_or(Ok(false), |blocks| self.move_some(blocks));
            if !moved.map_err(|error| self.commit_error(error))? && !deleted {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn commit_error(&self, error: rusqlite::Error) -> CommitError {
        let trouble = trouble(&error);
        let error = DatabaseError::from(error);
        match trouble {
            Trouble::Full => {
                self.full.store(true, Ordering::Relaxed);
                CommitError::Full(error)
            }
            Trouble::Busy => CommitError::Busy(error),
            Trouble::Damaged => CommitError::Damaged(error),
            Trouble::Sync => {
                self.fail(&error);
                CommitError::Sync(error)
            }
            Trouble::Other => {
                self.fail(&error);
                CommitError::Failed(error)
            }
        }
    }
}
