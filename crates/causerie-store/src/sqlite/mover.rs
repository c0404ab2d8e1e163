//! Work behind the commits: staged runs go into their rooms' blocks, closed rooms and removed records go,
//! free space is given back, the write-ahead logs go into the files.
//!
//! All of it in steps of some milliseconds, most of them in the blocks' file, for which no commit waits. What
//! goes from the file that takes the commits goes only once what stands for it is on the disk in the other,
//! and in small pieces.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use causerie_core::id::Position;
use rusqlite::{Connection, params};

use super::blocks::{BlockBuilder, delete_block, put_block, read_block};
use super::inner::{DatabaseWriter, Inner, no_writer, unpoisoned};
use super::rows::{self, int};
use super::state::{MovingRound, SettledRows};
use super::trouble::{Trouble, trouble};
use crate::change::RoomId;
use crate::error::{DatabaseError, StoreError};
use crate::run::{RunDirectory, StoredRun};

/// Bytes of a block: the smallest page reads so much, and damage to a directory loses it. One record may be
/// more. A guess between the cost of a page and overhead.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of a room that are moved at once: a step does one of these at least.
const PART_BYTES: usize = 4 * BLOCK_BYTES;
/// Most bytes of a round of moving, as a multiple of those at which it begins.
const PLAN_TIMES: u64 = 2;
/// Time for which a step works before it commits. A guess; much shorter ones make many small parts of the search
/// index.
const STEP: Duration = Duration::from_millis(5);
/// Bytes of staging rows that a step deletes, and rooms of which it notes how far they have come: a commit
/// waits so long. Guesses: a millisecond or less.
const DELETE_BYTES: u64 = 1 << 20;
const NOTE_ROOMS: usize = 128;
/// Pages of the blocks' file that a step gives back; a quarter of that in the file that takes the commits. A
/// guess.
const VACUUM_PAGES: i64 = 512;
/// Blocks of older formats that are taken over at once, with one sync. A guess.
const TAKE_OVER_BLOCKS: i64 = 8;
/// Blocks of removed records that a step deletes.
const DELETE_BLOCKS: usize = 8;
/// Frames (pages) of the write-ahead log at which it is moved into the file, and at which commits wait for that:
/// 16 and 128 MiB. Guesses.
const WAL_FRAMES: i64 = 4_096;
const WAL_FRAMES_MAX: i64 = 32_768;
/// Time that commits have to themselves behind a step, in lengths of that step, while less than half is
/// staged. A guess.
const GIVE_WAY_TIMES: u32 = 4;
/// Time between two looks of the mover when nobody wakes it.
const REST: Duration = Duration::from_millis(200);

impl Inner {
    pub(super) fn wake(&self) {
        unpoisoned(&self.signal).work = true;
        self.wake.notify_all();
    }

    /// Runs the mover, on a thread of its own.
    pub(super) fn run_mover(&self) {
        let mut said: Option<StoreError> = None;
        loop {
            let mut signal = unpoisoned(&self.signal);
            if !signal.work && !signal.stop {
                let rest = self.wake.wait_timeout(signal, REST);
                signal = rest.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            }
            if signal.stop {
                return;
            }
            signal.work = false;
            drop(signal);
            match self.look_around() {
                Ok(()) => said = None,
                Err(_) if unpoisoned(&self.signal).stop => return,
                Err(error) => {
                    if said.as_ref() != Some(&error) {
                        tracing::error!(%error, "the store cannot tidy up; it tries again");
                    }
                    said = Some(error);
                    let signal = unpoisoned(&self.signal);
                    let _rest = self.wake.wait_timeout(signal, REST * 5);
                }
            }
        }
    }

    /// Does what is due.
    fn look_around(&self) -> Result<(), StoreError> {
        if unpoisoned(&self.failed).is_some() {
            return Ok(());
        }
        while self.is_due() {
            if !self.may_write() {
                return Ok(());
            }
            let (begun, commits) = (Instant::now(), self.counts.commits.load(Ordering::Relaxed));
            let more = self.move_on()? | self.close_some()?;
            self.move_logs()?;
            if self.counts.commits.load(Ordering::Relaxed) > commits {
                self.give_way(begun.elapsed());
            }
            if unpoisoned(&self.signal).stop || !more {
                break;
            }
        }
        if !self.may_write() {
            return Ok(());
        }
        let begun = Instant::now();
        if self.take_over_some()? {
            self.move_logs()?;
            self.give_way(begun.elapsed());
            self.wake();
            return Ok(());
        }
        while self.vacuum_some()? && !unpoisoned(&self.signal).stop {
            self.move_logs()?;
        }
        self.move_logs()
    }

    /// Returns whether anything can be written: not while there is no room, nor once it is closed.
    fn may_write(&self) -> bool {
        unpoisoned(&self.blocks).is_some()
    }

    fn is_due(&self) -> bool {
        let state = self.state();
        state.waiting_since.is_some_and(|t| t.elapsed() >= self.options.staging_age)
            || state.staged_bytes >= self.options.staging_bytes
            || state.round.is_some()
            || state.settled.is_some()
            || !state.closing.is_empty()
    }

    /// Leaves commits the greater part of the time while much may be staged yet: a burst goes to the disk
    /// first, and is moved behind it.
    fn give_way(&self, worked: Duration) {
        let half = self.options.staging_bytes.midpoint(self.options.staging_bytes_max);
        if self.state().staged_bytes < half {
            let signal = unpoisoned(&self.signal);
            let _rest = self.wake.wait_timeout_while(signal, GIVE_WAY_TIMES * worked, |signal| !signal.stop);
        }
    }

    /// Does everything, due or not, until nothing is left.
    pub(super) fn tidy(&self) -> Result<(), StoreError> {
        while self.move_on()? {}
        while self.close_some()? {}
        while self.take_over_some()? {}
        while self.vacuum_some()? {}
        self.move_logs()
    }

    /// Takes one step in the file that takes the commits, when no commit waits. Errors that end writing are
    /// kept.
    pub(super) fn step<T>(
        &self,
        work: impl FnOnce(&Self, &mut DatabaseWriter) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut pen = self.writer_last();
        if let Some(error) = unpoisoned(&self.failed).clone() {
            return Err(StoreError::Failed(error));
        }
        let writer = self.writer(&mut pen).map_err(|error| match error.is_full() {
            true => StoreError::Full(error),
            false => StoreError::Failed(error),
        })?;
        work(self, writer).map_err(|error| self.step_error(error))
    }

    /// Takes one step in the blocks' file, whatever commits meanwhile.
    pub(super) fn step_apart<T>(
        &self,
        work: impl FnOnce(&Self, &mut DatabaseWriter) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if unpoisoned(&self.blocks).is_none() {
            // Both are opened together, or it says why not.
            self.step(|_, _| Ok(()))?;
        }
        let mut blocks = unpoisoned(&self.blocks);
        if let Some(error) = unpoisoned(&self.failed).clone() {
            return Err(StoreError::Failed(error));
        }
        let blocks = blocks.as_mut().ok_or_else(|| StoreError::Failed(no_writer("the store is closed")))?;
        work(self, blocks).map_err(|error| self.step_error(error))
    }

    fn step_error(&self, error: rusqlite::Error) -> StoreError {
        if matches!(trouble(&error), Trouble::Sync | Trouble::Other) {
            self.fail(&DatabaseError::from(&error));
        }
        self.store_error(error)
    }

    // Moving.

    /// Moves some staged runs, and deletes some rows whose runs were moved. Returns whether there is more to
    /// do.
    fn move_on(&self) -> Result<bool, StoreError> {
        let moved = self.step_apart(Self::move_some)?;
        if self.state().settled.is_none() {
            return Ok(moved);
        }
        Ok(self.step(Self::delete_rows)? | moved)
    }

    /// Returns the round of moving, a new one if there is none; `None` if nothing is to be moved, or not
    /// before the rows of the last round are gone.
    fn round(&self) -> Option<MovingRound> {
        let mut state = self.state_mut();
        if state.round.is_none() && state.settled.is_none() {
            // Not all at once: the memory of a batch is free when the last of its rooms has been moved.
            let mut bytes = 0;
            let some = state.rows.iter().find(|(_, row_bytes)| {
                bytes += **row_bytes;
                bytes >= PLAN_TIMES * self.options.staging_bytes
            });
            let (&up_to, _) = some.or(state.rows.last_key_value())?;
            let rooms = state.waiting.iter().copied().collect();
            state.round = Some(MovingRound { up_to, rooms, ends: Vec::new() });
            state.waiting_since = None;
        }
        state.round.clone()
    }

    /// Moves some staged runs into blocks. Once all of a round are there, and on the disk, its rows may be
    /// deleted. Returns whether something was done.
    pub(super) fn move_some(&self, blocks: &mut DatabaseWriter) -> rusqlite::Result<bool> {
        let Some(MovingRound { up_to, rooms, ends }) = self.round() else { return Ok(false) };
        if rooms.is_empty() {
            blocks.settle()?;
            let mut state = self.state_mut();
            state.round = None;
            state.settled = Some(SettledRows { up_to, ends });
            return Ok(true);
        }
        blocks.sync(false)?;
        let moved = blocks.transaction(|db| {
            let begun = Instant::now();
            let mut moved = Vec::new();
            for &room in &rooms {
                let (kept, mut after, runs) = self.staged(room, up_to);
                // What is there already is not moved again.
                let there = rows::place_at(db, room, Position::MAX)?.filter(|place| place.good);
                if let Some(place) = there.filter(|place| place.last > after) {
                    after = place.last;
                    moved.push((room, Some(after)));
                }
                let mut done = false;
                // A room with very much is moved in several steps; something is moved in each, however slow the
                // machine is.
                while moved.is_empty() || begun.elapsed() <= STEP {
                    let pieces = part(&runs, kept.max(after + 1));
                    let Some(piece) = pieces.last() else {
                        done = true;
                        break;
                    };
                    after = piece.last();
                    self.write_blocks(db, pieces)?;
                    moved.push((room, Some(after)));
                }
                if !done {
                    break;
                }
                // Runs of which retention has left nothing are done, too.
                moved.extend(runs.last().map(|run| (room, Some(run.last()))));
                moved.push((room, None));
                if begun.elapsed() > STEP {
                    break;
                }
            }
            Ok(moved)
        });
        if self.is_of_index(&moved) {
            return Ok(true);
        }
        let moved = moved?;
        let mut state = self.state_mut();
        for (room, after) in moved {
            match after {
                Some(after) => state.moved(room, after),
                // All of it is moved.
                None => state.room_is_done(room),
            }
        }
        Ok(true)
    }

    /// Returns whether something failed of damage, and is to be tried without the index. That can be made
    /// anew, messages cannot: the next try gets further, or the damage is elsewhere and is told then.
    fn is_of_index<T>(&self, written: &rusqlite::Result<T>) -> bool {
        match written {
            Err(error) if trouble(error) == Trouble::Damaged && self.search.load(Ordering::Relaxed) => {
                self.search_is_damaged(error);
                true
            }
            _ => false,
        }
    }

    /// Returns the first position kept, the last one moved, and the runs of a room in rows up to `up_to`.
    fn staged(&self, room: RoomId, up_to: i64) -> (Position, Position, Vec<StoredRun>) {
        let state = self.state();
        let Some(found) = state.rooms.get(&room) else {
            return (Position::START, Position::START, Vec::new());
        };
        let runs = found.staged.iter().take_while(|s| s.row <= up_to).map(|s| s.run.clone()).collect();
        (found.first, found.moved, runs)
    }

    /// Writes runs that follow each other as blocks, together with small blocks before them.
    fn write_blocks(&self, db: &Connection, pieces: Vec<StoredRun>) -> rusqlite::Result<()> {
        let Some(run) = pieces.first() else { return Ok(()) };
        let (room, mut first) = (run.directory.room, run.first());
        for run in &pieces {
            self.index(db, run)?;
        }
        let mut bytes: usize = pieces.iter().map(|run| run.frames.len()).sum();
        let mut pieces = VecDeque::from(pieces);
        // A block before this that is not much larger joins: so each byte is written a few times at most, and
        // blocks become large however little comes at once.
        while bytes < BLOCK_BYTES {
            let Some(place) = rows::place_at(db, room, first - 1)? else { break };
            let small = place.bytes <= 2 * bytes as u64 && place.bytes + bytes as u64 <= BLOCK_BYTES as u64;
            if !place.good || place.last + 1 != first || !small {
                break;
            }
            // Damage stays where it is, under its own checksums.
            let Some(run) = read_block(db, room, &place)?.filter(|run| run.slots().all(|s| s.good)) else {
                break;
            };
            delete_block(db, room, &place, Some(&run))?;
            bytes += run.frames.len();
            first = run.first();
            pieces.push_front(run);
        }
        let mut block = BlockBuilder::new(room, first);
        for run in &pieces {
            for slot in run.slots() {
                let length = slot.entry.length as usize;
                if !block.frames.is_empty() && block.frames.len() + length > BLOCK_BYTES {
                    block.write(db)?;
                }
                // What is damaged goes with its checksum, and stays damaged.
                let end = (slot.at + length).min(run.frames.len());
                block.push(slot.entry, &run.frames[slot.at.min(end)..end]);
            }
        }
        block.write(db)
    }

    /// Deletes some of the rows whose runs are in blocks, on the disk. Returns whether there is more to do.
    pub(super) fn delete_rows(&self, writer: &mut DatabaseWriter) -> rusqlite::Result<bool> {
        let state = self.state();
        let Some(settled) = &state.settled else { return Ok(false) };
        let left = settled.ends.len().saturating_sub(NOTE_ROOMS);
        // Not of those that were closed meanwhile.
        let is_there = |end: &&(RoomId, Position)| state.rooms.contains_key(&end.0);
        let ends: Vec<_> = settled.ends[left..].iter().filter(is_there).copied().collect();
        let noted = !settled.ends.is_empty();
        let (mut last, mut bytes) = (None, 0);
        for (&row, &row_bytes) in state.rows.range(..=settled.up_to) {
            bytes += row_bytes;
            last = Some(row);
            if bytes > DELETE_BYTES {
                break;
            }
        }
        drop(state);
        writer.sync(false)?;
        if noted {
            writer.transaction(|db| {
                rows::put_meta(db, "moved", 1)?;
                ends.iter().try_for_each(|&(room, last)| rows::raise_moved(db, room, last))
            })?;
            let mut state = self.state_mut();
            state.settled.as_mut().expect("only who writes takes it").ends.truncate(left);
            return Ok(true);
        }
        let Some(last) = last else {
            let mut state = self.state_mut();
            state.settled = None;
            let more = !state.rows.is_empty();
            if more {
                state.waiting_since.get_or_insert_with(Instant::now);
            }
            return Ok(more);
        };
        writer.transaction(|db| {
            rows::put_meta(db, "moved", 1)?;
            db.prepare_cached("DELETE FROM staging WHERE id <= ?1")?.execute([last])
        })?;
        let mut state = self.state_mut();
        state.rows = state.rows.split_off(&(last + 1));
        Ok(true)
    }

    /// Takes over some blocks of older formats, in each room the newest first. Returns whether there is more
    /// to do.
    ///
    /// Damage stays where it is.
    fn take_over_some(&self) -> Result<bool, StoreError> {
        let Some(before) = self.state().old_before else { return Ok(false) };
        let found = match self.reading(|reader| old_blocks(&reader.db, before)) {
            Err(StoreError::Damaged(error)) => {
                tracing::error!(%error, "blocks of an older format stay where they are: where they are is damaged");
                self.state_mut().old_before = None;
                return Ok(false);
            }
            found => found?,
        };
        let Some((room, place, _)) = found.last() else {
            let any = "SELECT EXISTS (SELECT 1 FROM place)";
            let left = self.reading(|reader| reader.db.query_row(any, [], |row| row.get(0)))?;
            self.old.store(left, Ordering::SeqCst);
            self.state_mut().old_before = None;
            return Ok(false);
        };
        let next = Some((int(room.0), int(place.first.get())));
        let is_there = |room: &RoomId| self.state().rooms.contains_key(room);
        let whole = || found.iter().filter_map(|(room, place, run)| Some((room, place, run.as_ref()?)));
        let there = self.step_apart(|inner, blocks| {
            blocks.sync(false)?;
            let written = blocks.transaction(|db| {
                for (&room, _, run) in whole().filter(|(room, ..)| is_there(room)) {
                    let there = rows::place_at(db, room, run.first())?;
                    if there.is_none_or(|there| there.last < run.first()) {
                        put_block(db, run)?;
                        inner.index(db, run)?;
                    }
                }
                Ok(())
            });
            if inner.is_of_index(&written) {
                return Ok(false);
            }
            written?;
            blocks.settle()?;
            Ok(true)
        })?;
        if !there {
            return Ok(true);
        }
        self.step(|_, writer| {
            writer.sync(false)?;
            writer.transaction(|db| {
                rows::put_meta(db, "moved", 1)?;
                for (&room, place, run) in whole().filter(|(room, ..)| is_there(room)) {
                    rows::raise_moved(db, room, run.last())?;
                    delete_block(db, room, place, Some(run))?;
                }
                Ok(())
            })
        })?;
        self.state_mut().old_before = next;
        Ok(true)
    }

    // Cleaning up.

    /// Deletes some of a closed room. Returns whether there is more to do.
    fn close_some(&self) -> Result<bool, StoreError> {
        let Some(&room) = self.state().closing.first() else { return Ok(false) };
        // While anything of it is elsewhere, the file that takes the commits says that it is closed.
        let left = self.step_apart(|inner, blocks| {
            blocks.sync(false)?;
            let left = blocks.transaction(|db| {
                if inner.delete_blocks(db, room, Position::MAX, true)? || delete_some(db, room, &["author"])?
                {
                    return Ok(true);
                }
                db.prepare_cached("DELETE FROM kept WHERE room = ?1")?.execute([int(room.0)])?;
                Ok(false)
            })?;
            if !left {
                blocks.settle()?;
            }
            Ok(left)
        })?;
        if left {
            return Ok(true);
        }
        let left = self.step(|inner, writer| {
            writer.sync(false)?;
            writer.transaction(|db| {
                if inner.delete_blocks(db, room, Position::MAX, false)?
                    || delete_some(db, room, &["author", "member", "mark"])?
                {
                    return Ok(true);
                }
                for table in ["kept", "moved", "closing"] {
                    let delete = format!("DELETE FROM {table} WHERE room = ?1");
                    db.prepare_cached(&delete)?.execute([int(room.0)])?;
                }
                Ok(false)
            })
        })?;
        if left {
            return Ok(true);
        }
        let mut state = self.state_mut();
        state.closing.remove(&room);
        Ok(!state.closing.is_empty())
    }

    /// Deletes some blocks whose positions are all before `kept`. Returns whether there were any.
    pub(super) fn delete_blocks(
        &self,
        db: &Connection,
        room: RoomId,
        kept: Position,
        indexed: bool,
    ) -> rusqlite::Result<bool> {
        let mut any = false;
        for _ in 0..DELETE_BLOCKS {
            let Some(place) = rows::place_behind(db, room, Position::START)? else { break };
            let last = match place.good {
                true => place.last,
                false => {
                    rows::place_behind(db, room, place.first)?.map_or(Position::MAX, |next| next.first - 1)
                }
            };
            if last >= kept {
                break;
            }
            let run = read_block(db, room, &place)?;
            if let Some(run) = run.as_ref().filter(|_| indexed) {
                self.unindex(db, run)?;
            }
            delete_block(db, room, &place, run.as_ref())?;
            any = true;
        }
        Ok(any)
    }

    /// Gives some free pages of both files back. Returns whether there is more to do.
    fn vacuum_some(&self) -> Result<bool, StoreError> {
        let more = self.step(|inner, writer| inner.vacuum(writer, VACUUM_PAGES / 4))?;
        Ok(self.step_apart(|inner, blocks| inner.vacuum(blocks, VACUUM_PAGES))? | more)
    }

    fn vacuum(&self, writer: &mut DatabaseWriter, pages_max: i64) -> rusqlite::Result<bool> {
        let pragma = |name| writer.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let free = pragma("freelist_count")?;
        let reserve = int(self.options.free_bytes) / pragma("page_size")?.max(1);
        let pages = (free - reserve).min(pages_max);
        if pages <= 0 {
            return Ok(false);
        }
        writer.sync(false)?;
        let mut vacuum = writer.db.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        drop(steps);
        drop(vacuum);
        let after: i64 = writer.db.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        Ok(after < free)
    }

    /// Moves each write-ahead log into its file once it is long. Mostly beside the commits; only when the log
    /// would begin anew, or has become very long, do they wait for the rest.
    fn move_logs(&self) -> Result<(), StoreError> {
        let checkpointers = unpoisoned(&self.checkpointers);
        let Some([first, blocks]) = &*checkpointers else { return Ok(()) };
        self.move_log(first, || self.writer_last())?;
        self.move_log(blocks, || unpoisoned(&self.blocks))
    }

    fn move_log<T>(&self, checkpointer: &Connection, alone: impl FnOnce() -> T) -> Result<(), StoreError> {
        let run = |mode: &str| {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
            let result = checkpointer.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], read);
            result.or_else(|error| match trouble(&error) {
                Trouble::Busy => Ok((0, 0)),
                Trouble::Sync | Trouble::Other => {
                    self.fail(&DatabaseError::from(&error));
                    Err(self.store_error(error))
                }
                _ => Err(self.store_error(error)),
            })
        };
        if run("NOOP")?.0 < WAL_FRAMES {
            return Ok(());
        }
        let (frames, moved) = run("PASSIVE")?;
        if frames - moved < WAL_FRAMES / 2 || frames > WAL_FRAMES_MAX {
            let _writer = alone();
            run("PASSIVE")?;
        }
        Ok(())
    }
}

/// Returns the neighbouring records of `runs` from the first position at or behind `from` that there is: as
/// many as are moved at once.
fn part(runs: &[StoredRun], mut from: Position) -> Vec<StoredRun> {
    let mut pieces: Vec<StoredRun> = Vec::new();
    let mut bytes = 0;
    for run in &runs[runs.partition_point(|run| run.last() < from)..] {
        let Some(piece) = part_of(run, from.max(run.first())) else { continue };
        bytes += piece.frames.len();
        if !pieces.is_empty() && (piece.first() != from || bytes > PART_BYTES) {
            break;
        }
        from = piece.last() + 1;
        pieces.push(piece);
    }
    pieces
}

/// Returns the records of a run from a position on, as many as are moved at once; `None` if there are none.
fn part_of(run: &StoredRun, from: Position) -> Option<StoredRun> {
    let skip = usize::try_from(from.since(run.first()).unwrap_or(0)).ok()?;
    let entries = run.directory.entries.get(skip..).filter(|rest| !rest.is_empty())?;
    let at: usize = run.directory.entries[..skip].iter().map(|e| e.length as usize).sum();
    let mut bytes = 0;
    let large = entries.iter().position(|entry| {
        bytes += entry.length as usize;
        bytes > PART_BYTES
    });
    let entries = entries[..large.map_or(entries.len(), |n| n.max(1))].to_vec();
    let directory = RunDirectory { room: run.directory.room, first: run.first() + skip as u64, entries };
    // What a damaged run lacks at its end, its last parts lack.
    let end = (at + directory.bytes()).min(run.frames.len());
    Some(StoredRun { directory: directory.into(), frames: run.frames.slice(at.min(end)..end) })
}

/// Deletes some rows of a room, of the first of these tables that has some. Returns whether there were any.
fn delete_some(db: &Connection, room: RoomId, tables: &[&str]) -> rusqlite::Result<bool> {
    for table in tables {
        let column = if *table == "mark" { "position" } else { "member" };
        let delete = format!(
            "DELETE FROM {table} WHERE room = ?1 AND {column} IN
             (SELECT {column} FROM {table} WHERE room = ?1 LIMIT 500)"
        );
        if db.prepare_cached(&delete)?.execute([int(room.0)])? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns blocks of an older format before this room and position, the last first, as many as are taken over
/// at once. Those that cannot be read, or whose places are damaged, come without their content.
fn old_blocks(
    db: &Connection,
    before: (i64, i64),
) -> rusqlite::Result<Vec<(RoomId, rows::BlockPlace, Option<StoredRun>)>> {
    let mut select = db.prepare_cached(
        "SELECT first, last, bytes, block, crc, room FROM place WHERE (room, first) < (?1, ?2)
         ORDER BY room DESC, first DESC LIMIT ?3",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        let room = RoomId(row.get::<_, i64>(5)? as u64);
        Ok((room, rows::place(room, row)?))
    };
    let mut found = Vec::new();
    for row in select.query_map(params![before.0, before.1, TAKE_OVER_BLOCKS], read)? {
        let (room, place) = row?;
        let run = if place.good { read_block(db, room, &place)? } else { None };
        found.push((room, place, run.filter(|run| run.first() == place.first && run.last() == place.last)));
    }
    Ok(found)
}
