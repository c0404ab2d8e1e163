//! What happens behind the commits: staged runs go into their rooms' blocks, closed rooms and removed records go,
//! free space is given back, the write-ahead log goes into the file.
//!
//! All of it in steps of some milliseconds; a commit that comes in between waits for one step at most.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use causerie_core::id::Position;
use cbcast::MemberId;
use rusqlite::{Connection, params};

use super::inner::{DatabaseWriter, Inner, MovingRound, Pen, unpoisoned};
use super::rows::{self, int, member_key};
use super::trouble::{Trouble, trouble};
use crate::change::RoomId;
use crate::error::{DatabaseError, StoreError};
use crate::run::{DirectoryEntry, RunDirectory, StoredRun, message_id};

/// Bytes of a block: what is read for the smallest page, and what damage to a directory loses. One record may be
/// more. A guess between the cost of a page and overhead.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of a room that are moved at once: a step does one of these at least.
const PART_BYTES: usize = 4 * BLOCK_BYTES;
/// A round of moving takes so many times the bytes at which it begins, at most.
const PLAN_TIMES: u64 = 2;
/// How long a step works before it commits: a commit waits so long at most, and what it takes to write that. A
/// guess; much shorter ones make many small parts of the search index.
pub(super) const STEP: Duration = Duration::from_millis(5);
/// Bytes of staging rows that a step deletes, and pages that it gives back. Guesses: some milliseconds each.
const DELETE_BYTES: u64 = 4 << 20;
const VACUUM_PAGES: i64 = 512;
/// Blocks of removed records that a step deletes.
const DELETE_BLOCKS: usize = 8;
/// Frames (pages) of the write-ahead log at which it is moved into the file, and at which commits wait for that:
/// 16 and 128 MiB. Guesses.
const WAL_FRAMES: i64 = 4_096;
const WAL_FRAMES_MAX: i64 = 32_768;
/// How many times the length of a step commits have to themselves behind it, while less than half is staged. A guess.
const GIVE_WAY_TIMES: u32 = 4;
/// The mover looks around this often when nobody wakes it.
const REST: Duration = Duration::from_millis(200);

impl Inner {
    pub(super) fn wake(&self) {
        unpoisoned(&self.signal).work = true;
        self.wake.notify_all();
    }

    /// The mover's thread.
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
        loop {
            let due = {
                let Pen::Writer(writer) = &*self.writer_last() else { return Ok(()) };
                let old = writer.waiting_since.is_some_and(|t| t.elapsed() >= self.options.staging_age);
                writer.plan.is_some() || old || self.state().staged_bytes >= self.options.staging_bytes
            };
            if !due && self.state().closing.is_empty() {
                break;
            }
            let (begun, commits) = (Instant::now(), self.counts.commits.load(Ordering::Relaxed));
            let more = self.step(|inner, writer| inner.move_some(writer))? | self.step(Self::close_some)?;
            self.move_log()?;
            if self.counts.commits.load(Ordering::Relaxed) > commits {
                self.give_way(begun.elapsed());
            }
            if unpoisoned(&self.signal).stop || !more {
                break;
            }
        }
        if self.indexing.load(Ordering::Relaxed) {
            let begun = Instant::now();
            if self.step(Self::index_some)? {
                self.move_log()?;
                self.give_way(begun.elapsed());
                self.wake();
                return Ok(());
            }
        }
        while self.step(Self::vacuum_some)? && !unpoisoned(&self.signal).stop {}
        self.move_log()
    }

    /// While much may be staged yet, commits have the greater part of the time: a burst goes to the disk first, and is
    /// moved behind it.
    fn give_way(&self, worked: Duration) {
        let half = self.options.staging_bytes.midpoint(self.options.staging_bytes_max);
        if self.state().staged_bytes < half {
            let signal = unpoisoned(&self.signal);
            let _rest = self.wake.wait_timeout_while(signal, GIVE_WAY_TIMES * worked, |signal| !signal.stop);
        }
    }

    /// Everything that is due or not, until nothing is left.
    pub(super) fn tidy(&self) -> Result<(), StoreError> {
        while self.step(|inner, writer| inner.move_some(writer))? {}
        while self.step(Self::close_some)? {}
        while self.step(Self::index_some)? {}
        while self.step(Self::vacuum_some)? {}
        self.move_log()
    }

    /// One step, when no commit waits. Errors that end writing are kept.
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
        work(self, writer).map_err(|error| {
            if matches!(trouble(&error), Trouble::Sync | Trouble::Other) {
                self.fail(&DatabaseError::from(&error));
            }
            self.store_error(error)
        })
    }

    // Moving.

    /// Moves some staged runs, or deletes some rows whose runs were moved. Whether there is more to do.
    pub(super) fn move_some(&self, writer: &mut DatabaseWriter) -> rusqlite::Result<bool> {
        if writer.plan.is_none() {
            let state = self.state();
            // Not all at once: the memory of a batch is free when the last of its rooms has been moved.
            let mut bytes = 0;
            let some = state.rows.iter().find(|(_, row_bytes)| {
                bytes += **row_bytes;
                bytes >= PLAN_TIMES * self.options.staging_bytes
            });
            let Some((&up_to, _)) = some.or(state.rows.last_key_value()) else { return Ok(false) };
            writer.plan = Some(MovingRound { up_to, rooms: state.waiting.iter().copied().collect() });
            writer.waiting_since = None;
        }
        let plan = writer.plan.as_ref().expect("made above");
        let (up_to, rooms) = (plan.up_to, plan.rooms.clone());
        if rooms.is_empty() {
            return self.delete_rows(writer, up_to);
        }
        writer.sync(false)?;
        let moved = writer.transaction(|writer| {
            let begun = Instant::now();
            let mut moved = Vec::new();
            for &room in &rooms {
                let (kept, mut after, runs) = self.staged(room, up_to);
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
                    self.write_blocks(&writer.db, pieces)?;
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
        let moved = match moved {
            Err(error) if trouble(&error) == Trouble::Damaged && self.search.load(Ordering::Relaxed) => {
                // The index can be made anew; messages cannot. Without it the next try gets further, or the
                // damage is elsewhere and is told then.
                self.search_is_damaged(&error);
                return Ok(true);
            }
            other => other?,
        };
        let mut state = self.state_mut();
        let plan = writer.plan.as_mut().expect("made above");
        for (room, after) in moved {
            match after {
                Some(after) => state.moved(room, after),
                // All of it is moved.
                None => drop(plan.rooms.pop_front()),
            }
        }
        Ok(true)
    }

    /// The first position kept, the last one moved, and the runs of a room in rows up to `up_to`.
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
        if self.search.load(Ordering::Relaxed) {
            for run in &pieces {
                self.index(db, run)?;
            }
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
            let Some(run) =
                super::read::read_block(db, room, &place)?.filter(|run| run.slots().all(|s| s.good))
            else {
                break;
            };
            delete_block(db, room, &place, Some(&run))?;
            bytes += run.frames.len();
            first = run.first();
            pieces.push_front(run);
        }
        let mut block = Builder::new(room, first);
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

    fn delete_rows(&self, writer: &mut DatabaseWriter, up_to: i64) -> rusqlite::Result<bool> {
        let mut last = None;
        let mut bytes = 0;
        for (&row, &row_bytes) in self.state().rows.range(..=up_to) {
            bytes += row_bytes;
            last = Some(row);
            if bytes > DELETE_BYTES {
                break;
            }
        }
        let Some(last) = last else {
            writer.plan = None;
            let state = self.state();
            if !state.rows.is_empty() {
                writer.waiting_since.get_or_insert_with(Instant::now);
            }
            return Ok(!state.rows.is_empty());
        };
        writer.sync(false)?;
        writer.transaction(|writer| {
            writer.db.prepare_cached("DELETE FROM staging WHERE id <= ?1")?.execute([last])
        })?;
        let mut state = self.state_mut();
        state.rows = state.rows.split_off(&(last + 1));
        Ok(true)
    }

    // Cleaning up.

    /// Deletes some of a closed room. Whether there is more to do.
    fn close_some(&self, writer: &mut DatabaseWriter) -> rusqlite::Result<bool> {
        let Some(&room) = self.state().closing.first() else { return Ok(false) };
        writer.sync(false)?;
        let left = writer.transaction(|writer| {
            let db = &writer.db;
            if self.delete_blocks(db, room, Position::MAX)? {
                return Ok(true);
            }
            for (table, column) in [("author", "member"), ("member", "member"), ("mark", "position")] {
                let delete = format!(
                    "DELETE FROM {table} WHERE room = ?1 AND {column} IN
                     (SELECT {column} FROM {table} WHERE room = ?1 LIMIT 500)"
                );
                if db.prepare_cached(&delete)?.execute([int(room.0)])? > 0 {
                    return Ok(true);
                }
            }
            for table in ["kept", "unindexed", "closing"] {
                let delete = format!("DELETE FROM {table} WHERE room = ?1");
                db.prepare_cached(&delete)?.execute([int(room.0)])?;
            }
            Ok(false)
        })?;
        if left {
            return Ok(true);
        }
        let mut state = self.state_mut();
        state.closing.remove(&room);
        Ok(!state.closing.is_empty())
    }

    /// Deletes some blocks whose positions are all before `kept`. Whether there were any.
    pub(super) fn delete_blocks(
        &self,
        db: &Connection,
        room: RoomId,
        kept: Position,
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
            let run = super::read::read_block(db, room, &place)?;
            if let Some(run) = &run {
                self.unindex(db, run)?;
            }
            delete_block(db, room, &place, run.as_ref())?;
            rows::delete_marks(db, room, last)?;
            any = true;
        }
        Ok(any)
    }

    /// Gives some free pages back. Whether there is more to do.
    fn vacuum_some(&self, writer: &mut DatabaseWriter) -> rusqlite::Result<bool> {
        let pragma = |name| writer.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let free = pragma("freelist_count")?;
        let reserve = int(self.options.free_bytes) / pragma("page_size")?.max(1);
        let pages = (free - reserve).min(VACUUM_PAGES);
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

    /// Moves the write-ahead log into the file once it is long. Mostly beside the commits; only when the log
    /// would begin anew, or has become very long, do they wait for the rest.
    fn move_log(&self) -> Result<(), StoreError> {
        let checkpointer = unpoisoned(&self.checkpointer);
        let Some(checkpointer) = &*checkpointer else { return Ok(()) };
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
            let _writer = self.writer_last();
            run("PASSIVE")?;
        }
        Ok(())
    }
}

/// What follows each other without a gap in `runs` from the first position at or behind `from` that there is: as much
/// as is moved at once.
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

/// The records of a run from a position on, as many as are moved at once. `None`: there are none.
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

/// A block in the making.
struct Builder {
    room: RoomId,
    first: Position,
    entries: Vec<DirectoryEntry>,
    frames: Vec<u8>,
    authors: Vec<(MemberId, u64)>,
}

impl Builder {
    fn new(room: RoomId, first: Position) -> Self {
        Self { room, first, entries: Vec::new(), frames: Vec::new(), authors: Vec::new() }
    }

    fn push(&mut self, entry: DirectoryEntry, frame: &[u8]) {
        if let Some(id) = message_id(frame) {
            self.authors.push((id.member, id.seq));
        }
        self.entries.push(entry);
        self.frames.extend_from_slice(frame);
    }

    /// Writes the block, and begins the next one.
    fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let next = Self::new(self.room, self.first + self.entries.len() as u64);
        let done = core::mem::replace(self, next);
        let directory = RunDirectory { room: done.room, first: done.first, entries: done.entries };
        let run = StoredRun { directory: directory.into(), frames: Bytes::from(done.frames) };
        rows::insert_block(db, &run)?;
        let mut insert = db.prepare_cached("INSERT OR REPLACE INTO author VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (member, first, last) in authors(done.authors) {
            insert.execute(params![
                int(run.directory.room.0),
                member_key(member),
                first,
                int(run.first().get()),
                last
            ])?;
        }
        Ok(())
    }
}

/// Each member once, with its first and last number, as they are stored.
fn authors(mut all: Vec<(MemberId, u64)>) -> Vec<(MemberId, i64, i64)> {
    all.sort_unstable();
    let number = |seq: u64| int(seq.min(i64::MAX as u64));
    let each = all.chunk_by(|a, b| a.0 == b.0);
    each.map(|of| (of[0].0, number(of[0].1), number(of[of.len() - 1].1))).collect()
}

/// Deletes a block with what points at it; `run` is what it holds, if that is readable.
fn delete_block(
    db: &Connection,
    room: RoomId,
    place: &rows::BlockPlace,
    run: Option<&StoredRun>,
) -> rusqlite::Result<()> {
    if let Some(run) = run {
        let frame = |s: crate::run::RecordSlot| run.frames.get(s.at..s.at + s.entry.length as usize);
        let ids = run.slots().filter_map(|s| message_id(frame(s)?));
        let mut delete = db.prepare_cached(
            "DELETE FROM author WHERE room = ?1 AND member = ?2 AND first_seq = ?3 AND block_first = ?4",
        )?;
        for (member, first, _) in authors(ids.map(|id| (id.member, id.seq)).collect()) {
            delete.execute(params![int(room.0), member_key(member), first, int(place.first.get())])?;
        }
    }
    db.prepare_cached("DELETE FROM block WHERE id = ?1")?.execute([place.block])?;
    db.prepare_cached("DELETE FROM place WHERE room = ?1 AND first = ?2")?
        .execute(params![int(room.0), int(place.first.get())])?;
    Ok(())
}
