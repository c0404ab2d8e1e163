//! The store on SQLite: one data folder, one writer, a few readers.
//!
//! A commit writes one row into a staging table, whatever the number of rooms: all runs of the batch in one blob,
//! with their directories. What is staged is also in memory, where it is read from. Behind the commits the mover
//! (`mover.rs`) takes what has gathered, room by room, into the rooms' own blocks, in transactions of some
//! milliseconds, and then removes the rows.
//!
//! Blocks and search index stand in a file of their own (`reader.rs`), so that no commit waits for the mover:
//! each file has one write lock. What the first position of a room is stands there, too; all else is in the
//! first file.
//!
//! Invariants:
//! - A position is in a block exactly up to the room's `moved`, and staged from there to `last`; a run that was
//!   moved and whose row is still there is ignored at open.
//! - The state in memory changes after a transaction has succeeded, never before.
//! - Who opened the folder to read changes nothing in it. So does who opened it to write and found no room, until a
//!   commit finds some.
//! - Of two files nothing goes at once. What was moved is synced in the second before its rows, or blocks of
//!   older formats, go from the first; that a room is closed is synced in the first before anything of it
//!   goes from the second, and stays there until all has gone. What goes within one file is not synced: it
//!   keeps its order.
//! - How far a room has come the first file knows alone: a row goes only once that is noted (`moved`).
//! - Who waits for the second file's writer may have the first one's, never the other way.

mod blocks;
mod commit;
mod compare;
mod copy;
mod folder;
mod inner;
mod load;
mod mover;
mod options;
mod read;
mod reader;
mod rows;
mod schema;
mod search;
mod searcher;
mod state;
mod tables;
mod texts;
mod trouble;
mod upkeep;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use causerie_core::id::Position;
use cbcast::MemberId;

use crate::change::{Change, MemberRow, RoomId};
use crate::error::{CommitError, DatabaseError, OpenError, StoreError};
use crate::page::{
    CheckReport, Found, MemberSelection, Removed, Retention, StoreStats, StoredPage, StoredRoom,
};
use crate::store::Store;
use folder::Folder;
use inner::{DatabaseWriter, Inner, Pen, unpoisoned};
pub use load::Recovery;
pub use options::Options;
use rusqlite::Connection;
use state::StoreState;

/// A store on SQLite. Dropping it ends its thread and [closes](Store::close) it; nothing committed is lost without that.
#[derive(Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
    mover: Option<JoinHandle<()>>,
    recovery: Recovery,
}

impl SqliteStore {
    /// Opens the data folder `dir`, and makes it if need be. Waits for nothing: a folder in use is an error.
    ///
    /// Cost: O(rooms) and what is staged, at most [`Options::staging_bytes_max`]; not the length of the logs.
    ///
    /// # Errors
    /// [`OpenError`]. Damaged records, batches and rows are no error: see [`recovery`](Self::recovery).
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let folder = Folder::take(dir)?;
        let (writer, blocks, loaded) = match Self::writers(dir, &folder, &options) {
            Err(OpenError::Database(error)) if error.is_full() || folder::is_full(dir) => {
                // What is there can be read, if there is something.
                if folder::has_database(dir, folder::FILE) && schema::look(dir)? == tables::FORMAT {
                    return Self::without_room(dir, folder, options, &error);
                }
                return Err(OpenError::Database(error));
            }
            opened => opened?,
        };
        let checkpointers = schema::checkpointers(dir)?;
        if loaded.0.next_room > 0 {
            folder.note_use();
        } else if folder.was_used() {
            return Err(OpenError::Emptied { path: dir.join(Self::FILE) });
        }
        let pen = Pen::Writer(Box::new(writer));
        Self::begin(dir, folder, options, pen, Some((blocks, checkpointers)), tables::FORMAT, loaded)
    }

    /// Opens the writers of both files, and reads what is kept in memory.
    fn writers(
        dir: &Path,
        folder: &Folder,
        options: &Options,
    ) -> Result<(DatabaseWriter, DatabaseWriter, (StoreState, Recovery)), OpenError> {
        let mut opened = schema::writers(dir, folder, options)?;
        let loaded = load::load(&opened)?;
        load::note_cuts(&mut opened.db, &loaded.0)?;
        let (mut writer, blocks) = (DatabaseWriter::new(opened.db), DatabaseWriter::new(opened.blocks));
        if !loaded.0.rows.is_empty() {
            // What a process has left that was killed in a commit may not be on the disk, and is moved soon.
            writer.settle()?;
        }
        Ok((writer, blocks, loaded))
    }

    /// Opens the data folder `dir` to be read, and changes nothing there: not the format, not the files' rights, nothing
    /// on a medium that cannot be written. Others may read it meanwhile; while one has it open to write, it is locked.
    ///
    /// # Errors
    /// [`OpenError`]. Other tables than the program makes are no error here, but a problem that [`Store::check`] tells.
    pub fn open_to_read(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let folder = Folder::take_to_read(dir)?;
        let (reader, format) = schema::quiet_reader(dir, &options)?;
        let loaded = match load::load(&reader) {
            Ok(loaded) => loaded,
            Err(error) => {
                // Where it cannot be read at all, this says more.
                schema::refuse_other(&reader, format, dir)?;
                return Err(error.into());
            }
        };
        if loaded.0.next_room == 0 && folder.was_used() {
            return Err(OpenError::Emptied { path: dir.join(Self::FILE) });
        }
        let options = Options { background: false, ..options };
        Self::begin(dir, folder, options, Pen::None, None, format, loaded)
    }

    /// Opens the store on a full disk: it is read, and written as soon as there is room.
    fn without_room(
        dir: &Path,
        folder: Folder,
        options: Options,
        error: &DatabaseError,
    ) -> Result<Self, OpenError> {
        tracing::error!(%error, "the disk is full: what is stored can be read, and nothing is stored until there is room");
        let loaded = load::load(&schema::quiet_reader(dir, &options)?.0)?;
        Self::begin(dir, folder, options, Pen::NoRoom, None, tables::FORMAT, loaded)
    }

    fn begin(
        dir: &Path,
        folder: Folder,
        options: Options,
        pen: Pen,
        blocks: Option<(DatabaseWriter, [Connection; 2])>,
        format: i64,
        (state, recovery): (StoreState, Recovery),
    ) -> Result<Self, OpenError> {
        let background = options.background;
        let inner = Arc::new(Inner::new(dir, folder, options, pen, blocks, format, state));
        let mover = if background {
            let inner = inner.clone();
            let named = std::thread::Builder::new().name("store-mover".into());
            let spawned = named.spawn(move || inner.run_mover());
            let failed = |e: std::io::Error| DatabaseError { code: 0, message: e.to_string() };
            Some(spawned.map_err(failed)?)
        } else {
            None
        };
        Ok(Self { inner, mover, recovery })
    }

    /// The name of the database in a data folder that takes the commits. Where it is, there is a store.
    pub const FILE: &str = folder::FILE;

    /// The names of a store's databases in a data folder.
    pub const FILES: [&str; 2] = [folder::FILE, folder::BLOCKS];

    /// The newest format of data folders that this version knows.
    pub const FORMAT: i64 = tables::FORMAT;

    /// Returns the data folder's format: an older one only where it was opened [to be
    /// read](Self::open_to_read).
    #[must_use]
    pub fn format(&self) -> i64 {
        self.inner.format
    }

    /// Keeps servers out of a data folder for as long as the result lives, whatever state it is in.
    ///
    /// # Errors
    /// [`OpenError::Locked`], [`OpenError::Io`].
    pub fn hold(dir: &Path) -> Result<impl core::fmt::Debug + use<>, OpenError> {
        Folder::take_to_read(dir)
    }

    /// Writes a copy as [`Store::backup`] does, of a folder that another process may have open.
    ///
    /// # Errors
    /// [`StoreError::Backup`], and the others.
    pub fn backup_of(dir: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), StoreError> {
        upkeep::backup(dir.as_ref(), to.as_ref())
    }

    /// Returns the damage that opening found.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        unpoisoned(&self.inner.signal).stop = true;
        self.inner.wake.notify_all();
        if let Some(mover) = self.mover.take() {
            // It has reported its own failures.
            let _ = mover.join();
        }
        // And so does this.
        let _ = self.inner.close();
    }
}

impl Store for SqliteStore {
    fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        self.inner.commit(changes)
    }

    fn rooms(&self) -> Result<Vec<StoredRoom>, StoreError> {
        self.inner.rooms()
    }

    fn next_room(&self) -> Result<RoomId, StoreError> {
        Ok(RoomId(self.inner.state().next_room))
    }

    fn members(&self, room: RoomId, which: MemberSelection<'_>) -> Result<Vec<MemberRow>, StoreError> {
        self.inner.members(room, which)
    }

    fn read(&self, room: RoomId, after: Position, bytes_max: usize) -> Result<StoredPage, StoreError> {
        self.inner.read(room, after, bytes_max)
    }

    fn read_before(
        &self,
        room: RoomId,
        before: Position,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<StoredPage, StoreError> {
        self.inner.read_before(room, before, records_max, bytes_max)
    }

    fn positions(
        &self,
        room: RoomId,
        member: MemberId,
        from_seq: u64,
        to_seq: u64,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        self.inner.positions(room, member, from_seq, to_seq, max)
    }

    fn marked(
        &self,
        room: RoomId,
        name: &[u8],
        after: Position,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        self.inner.marked(room, name, after, max)
    }

    fn marked_between(
        &self,
        room: RoomId,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<(Vec<u8>, Position)>, StoreError> {
        self.inner.marked_between(room, from, to, max)
    }

    fn search(
        &self,
        room: Option<RoomId>,
        query: &str,
        before: Option<u64>,
        max: usize,
    ) -> Result<Found, StoreError> {
        self.inner.search(room, query, before, max)
    }

    fn excess(&self, room: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError> {
        self.inner.excess(room, keep, now_millis)
    }

    fn count_ages_from(&self, millis: u64) -> Result<(), StoreError> {
        self.inner.count_ages_from(millis)
    }

    fn ages_from(&self) -> u64 {
        self.inner.state().ages_from
    }

    fn retain(&self, room: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError> {
        self.inner.retain(room, keep, now_millis)
    }

    fn tidy(&self) -> Result<(), StoreError> {
        self.inner.tidy()
    }

    fn check(&self) -> CheckReport {
        self.inner.check()
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }

    fn backup(&self, to: &Path) -> Result<(), StoreError> {
        upkeep::backup(&self.inner.dir, to)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}
