//! The store on SQLite: one data folder, one writer, a few readers.
//!
//! A commit writes one row into a staging table, whatever the number of rooms: all runs of the batch in one blob,
//! with their directories. What is staged is also in memory, where it is read from. Behind the commits the mover
//! (`mover.rs`) takes what has gathered, room by room, into the rooms' own blocks, in transactions of some
//! milliseconds, and then removes the rows.
//!
//! Invariants:
//! - A position is in a block exactly up to the room's `moved`, and staged from there to `last`; a run that was
//!   moved and whose row is still there is ignored at open.
//! - The state in memory changes after a transaction has succeeded, never before.
//! - Who opened the folder to read changes nothing in it. So does who opened it to write and found no room, until a
//!   commit finds some.
//! - Only commits are synced. What the mover wrote goes to the disk with the next commit or checkpoint, in order:
//!   a row is never gone before its blocks are there.

mod commit;
mod compare;
mod folder;
mod mover;
mod read;
mod rows;
mod schema;
mod search;
mod state;
mod upkeep;

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cbcast::MemberId;
use rusqlite::Connection;

use crate::change::{Change, MemberRow, RoomId};
use crate::error::{CommitError, DatabaseError, OpenError, StoreError};
use crate::page::{Found, Members, Page, Removed, Report, Retention, Stats, StoredRoom};
use crate::store::Store;
use folder::Folder;
use state::State;

/// Settings of a [`SqliteStore`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Keep a search index. Default true. Messages stored while it is off are not found later.
    pub search: bool,
    /// How long one search may take. Default 1 s.
    pub search_time: Duration,
    /// Move and clean up on a thread of the store's own. Default true. Without it call
    /// [`Store::tidy`] now and then; a commit helps itself when too much is staged.
    pub background: bool,
    /// Bytes of the writer's page cache. Default 16 MiB.
    pub cache_bytes: usize,
    /// Bytes of each reader's page cache. Default 2 MiB.
    pub reader_cache_bytes: usize,
    /// Connections for reading at once; further readers wait. Default 8.
    pub readers: usize,
    /// Staged bytes at which moving begins: larger batches make better blocks. Default 16 MiB.
    pub staging_bytes: u64,
    /// Staged bytes, kept in memory, at which each commit first moves as much as it brings, and more. Default
    /// 64 MiB: a burst of 400,000 short messages.
    pub staging_bytes_max: u64,
    /// How long what was stored may wait to be moved. Default 2 s.
    pub staging_age: Duration,
    /// Free bytes kept in the file for what comes next, before it is made shorter. Default 64 MiB.
    pub free_bytes: u64,
    /// The database file's greatest size: beyond it commits are [`CommitError::Full`]. Default: none.
    pub bytes_max: Option<u64>,
    /// Copy a store of an older format, beside the database, before it is brought up to date. Default true.
    pub copy_before_upgrade: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            search: true,
            search_time: Duration::from_secs(1),
            background: true,
            cache_bytes: 16 << 20,
            reader_cache_bytes: 2 << 20,
            readers: 8,
            staging_bytes: 16 << 20,
            staging_bytes_max: 64 << 20,
            staging_age: Duration::from_secs(2),
            free_bytes: 64 << 20,
            bytes_max: None,
            copy_before_upgrade: true,
        }
    }
}

/// What opening found that was not as it should be. Everything in it was reported by [`tracing`], too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovery {
    /// Staged batches that were read back.
    pub batches: u64,
    /// Staged batches whose head is damaged: which records they had is known in part only.
    pub batches_damaged: u64,
    /// Records of staged batches that are damaged: gaps now.
    pub records_damaged: u64,
    /// Rooms that may have had records in a batch whose head is damaged, with nothing behind it that shows how many:
    /// [`StoredRoom::cut`].
    pub rooms_cut: Vec<RoomId>,
    /// Rooms whose row is damaged: left out of [`Store::rooms`].
    pub rooms_damaged: Vec<RoomId>,
}

/// A store on SQLite. Dropping it ends its thread and [closes](Store::close) it; nothing committed is lost without that.
#[derive(Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
    mover: Option<JoinHandle<()>>,
    recovery: Recovery,
}

pub(crate) struct Inner {
    dir: PathBuf,
    options: Options,
    writer: Mutex<Pen>,
    /// Commits that wait for the writer: the mover lets them go first.
    queue: AtomicUsize,
    state: RwLock<State>,
    readers: Mutex<Readers>,
    reader_back: Condvar,
    /// Beside the writer.
    checkpointer: Mutex<Option<Connection>>,
    /// Why writing has ended.
    failed: Mutex<Option<DatabaseError>>,
    search: AtomicBool,
    /// Texts of older formats may have to be indexed.
    indexing: AtomicBool,
    searcher: Mutex<Option<search::Searcher>>,
    wake: Condvar,
    signal: Mutex<Signal>,
    counts: Counts,
    reported: Mutex<HashSet<(RoomId, u64)>>,
    /// The last commit found no room: the next one waits until there is enough for more than itself, or what is said would
    /// be taken and refused in turns.
    full: AtomicBool,
    /// Of the database as it was found, or was brought to.
    format: i64,
    /// Held for as long as the store is open: dropped last.
    folder: Folder,
}

/// What there is to write with.
enum Pen {
    Writer(Box<Writer>),
    /// The disk was full when the store was opened: each commit tries again.
    NoRoom,
    /// Opened to be read.
    None,
    Closed,
}

/// The connections that read.
#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Connection>,
    out: usize,
    /// A writer is there. Without one nothing changes, and nothing is locked.
    beside_writer: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Signal {
    stop: bool,
    work: bool,
}

#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    appended: AtomicU64,
    damaged: AtomicU64,
}

impl core::fmt::Debug for Inner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Inner")
            .field("dir", &self.dir)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The one connection that writes, and what belongs to it.
struct Writer {
    db: Connection,
    /// Whether a commit syncs at present.
    full_sync: bool,
    next_row: i64,
    plan: Option<mover::Plan>,
    /// When the oldest staged batch came.
    waiting_since: Option<Instant>,
}

impl Writer {
    fn new(db: Connection, state: &State) -> Self {
        let next_row = state.rows.last_key_value().map_or(1, |(&row, _)| row + 1);
        let waiting_since = (!state.rows.is_empty()).then(Instant::now);
        Self { db, full_sync: true, next_row, plan: None, waiting_since }
    }
}

fn unpoisoned<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many damaged places are remembered as reported.
const REPORTED_MAX: usize = 4_096;

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
        let mut db = match schema::writer(dir, &folder, &options) {
            Err(OpenError::Database(error)) if error.is_full() || folder::is_full(dir) => {
                // What is there can be read, if there is something.
                if folder::has_database(dir) && schema::look(dir)? == schema::FORMAT {
                    return Self::without_room(dir, folder, options, &error);
                }
                return Err(OpenError::Database(error));
            }
            db => db?,
        };
        let checkpointer = schema::checkpointer(dir)?;
        let (state, recovery) = upkeep::load(&db)?;
        upkeep::note_cuts(&mut db, &state)?;
        if state.next_room > 0 {
            folder.note_use();
        } else if folder.was_used() {
            return Err(OpenError::Emptied { path: dir.join(Self::FILE) });
        }
        let pen = Pen::Writer(Box::new(Writer::new(db, &state)));
        Self::begin(dir, folder, options, pen, Some(checkpointer), schema::FORMAT, (state, recovery))
    }

    /// Opens the data folder `dir` to be read, and changes nothing there: not the format, not the files' rights, nothing
    /// on a medium that cannot be written. Others may read it meanwhile; while one has it open to write, it is locked.
    ///
    /// # Errors
    /// [`OpenError`]. Other tables than the program makes are no error here, but a problem that [`Store::check`] tells.
    pub fn open_to_read(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let folder = Folder::take_to_read(dir)?;
        let format = schema::look(dir)?;
        let db = schema::quiet_reader(dir, &options, format)?;
        let loaded = match upkeep::load(&db) {
            Ok(loaded) => loaded,
            Err(error) => {
                // Where it cannot be read at all, this says more.
                schema::refuse_foreign(&db, format, dir)?;
                return Err(error.into());
            }
        };
        if loaded.0.next_room == 0 && folder.was_used() {
            return Err(OpenError::Emptied { path: dir.join(Self::FILE) });
        }
        let options = Options { background: false, ..options };
        Self::begin(dir, folder, options, Pen::None, None, format, loaded)
    }

    /// The store as it is on a full disk: it is read, and written as soon as there is room.
    fn without_room(
        dir: &Path,
        folder: Folder,
        options: Options,
        error: &DatabaseError,
    ) -> Result<Self, OpenError> {
        tracing::error!(%error, "the disk is full: what is stored can be read, and nothing is stored until there is room");
        let loaded = upkeep::load(&schema::quiet_reader(dir, &options, schema::FORMAT)?)?;
        Self::begin(dir, folder, options, Pen::NoRoom, None, schema::FORMAT, loaded)
    }

    fn begin(
        dir: &Path,
        folder: Folder,
        options: Options,
        pen: Pen,
        checkpointer: Option<Connection>,
        format: i64,
        (state, recovery): (State, Recovery),
    ) -> Result<Self, OpenError> {
        let background = options.background;
        let beside_writer = matches!(pen, Pen::Writer(_));
        let inner = Arc::new(Inner {
            checkpointer: Mutex::new(checkpointer),
            writer: Mutex::new(pen),
            queue: AtomicUsize::new(0),
            state: RwLock::new(state),
            readers: Mutex::new(Readers { beside_writer, ..Readers::default() }),
            reader_back: Condvar::new(),
            failed: Mutex::new(None),
            search: AtomicBool::new(options.search),
            indexing: AtomicBool::new(true),
            searcher: Mutex::default(),
            wake: Condvar::new(),
            signal: Mutex::default(),
            counts: Counts::default(),
            reported: Mutex::default(),
            full: AtomicBool::new(false),
            dir: dir.to_owned(),
            options,
            format,
            folder,
        });
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

    /// The name of the database in a data folder.
    pub const FILE: &str = folder::FILE;

    /// The newest format of data folders that this version knows.
    pub const FORMAT: i64 = schema::FORMAT;

    /// The data folder's format: an older one only where it was opened [to be read](Self::open_to_read).
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

    /// As [`Store::backup`], of a folder that another process may have open.
    ///
    /// # Errors
    /// [`StoreError::Backup`], and the others.
    pub fn backup_of(dir: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), StoreError> {
        upkeep::backup(dir.as_ref(), to.as_ref())
    }

    /// What opening found that was not as it should be.
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

impl Inner {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What writes, before the mover if that wants it too.
    fn writer_first(&self) -> MutexGuard<'_, Pen> {
        self.queue.fetch_add(1, Ordering::SeqCst);
        let pen = unpoisoned(&self.writer);
        self.queue.fetch_sub(1, Ordering::SeqCst);
        pen
    }

    /// What writes, after every commit that waits.
    fn writer_last(&self) -> MutexGuard<'_, Pen> {
        while self.queue.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        unpoisoned(&self.writer)
    }

    /// The writer. Where there was no room for one, tries again.
    fn writer<'a>(&self, pen: &'a mut Pen) -> Result<&'a mut Writer, DatabaseError> {
        if matches!(pen, Pen::NoRoom) {
            let opened = self.open_writer();
            *pen = Pen::Writer(Box::new(opened.map_err(|error| match error {
                OpenError::Database(error) if error.is_full() => error,
                error if folder::is_full(&self.dir) => DatabaseError::full(error.to_string()),
                error => DatabaseError { code: 0, message: error.to_string() },
            })?));
        }
        let none = |why: &str| DatabaseError { code: 0, message: why.to_owned() };
        match pen {
            Pen::Writer(writer) => Ok(writer),
            Pen::NoRoom | Pen::None => Err(none("the store was opened to be read")),
            Pen::Closed => Err(none("the store is closed")),
        }
    }

    fn open_writer(&self) -> Result<Writer, OpenError> {
        // Readers that lock nothing have to be gone before anything is written.
        let mut searcher = unpoisoned(&self.searcher);
        *searcher = None;
        let mut readers = unpoisoned(&self.readers);
        while readers.out > 0 {
            readers = self.reader_back.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
        let mut db = schema::writer(&self.dir, &self.folder, &self.options)?;
        upkeep::note_cuts(&mut db, &self.state())?;
        *unpoisoned(&self.checkpointer) = Some(schema::checkpointer(&self.dir)?);
        *readers = Readers { beside_writer: true, ..Readers::default() };
        Ok(Writer::new(db, &self.state()))
    }

    /// Runs `read` on a connection of the pool.
    fn reading<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        struct Out<'a>(&'a Inner, Option<Connection>);
        impl Drop for Out<'_> {
            fn drop(&mut self) {
                let mut readers = unpoisoned(&self.0.readers);
                readers.out -= 1;
                if !readers.closed {
                    readers.idle.extend(self.1.take());
                }
                drop(readers);
                self.0.reader_back.notify_all();
            }
        }
        let mut readers = unpoisoned(&self.readers);
        while readers.out >= self.options.readers.max(1) && !readers.closed {
            readers = self.reader_back.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
        if readers.closed {
            let message = "the store is closed".to_owned();
            return Err(StoreError::Failed(DatabaseError { code: 0, message }));
        }
        readers.out += 1;
        let mut out = Out(self, readers.idle.pop());
        let beside_writer = readers.beside_writer;
        drop(readers);
        let db = match out.1.take() {
            Some(db) => Ok(db),
            None => self.open_reader(beside_writer),
        };
        let db = out.1.insert(db.map_err(|error| self.store_error(error))?);
        read(db).map_err(|error| self.store_error(error))
    }

    fn open_reader(&self, beside_writer: bool) -> rusqlite::Result<Connection> {
        match beside_writer {
            true => schema::reader(&self.dir, &self.options),
            false => schema::quiet_reader(&self.dir, &self.options, self.format),
        }
    }

    /// Ends writing and reading, and leaves nothing in the write-ahead log.
    fn close(&self) -> Result<(), StoreError> {
        unpoisoned(&self.signal).stop = true;
        self.wake.notify_all();
        // Before the writer, as the mover has them.
        drop(unpoisoned(&self.checkpointer).take());
        let mut pen = self.writer_first();
        let closed = std::mem::replace(&mut *pen, Pen::Closed);
        let mut searcher = unpoisoned(&self.searcher);
        *searcher = None;
        let mut readers = unpoisoned(&self.readers);
        readers.closed = true;
        drop(searcher);
        self.reader_back.notify_all();
        while readers.out > 0 {
            readers = self.reader_back.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
        readers.idle.clear();
        let Pen::Writer(mut writer) = closed else { return Ok(()) };
        if self.state().next_room > 0 {
            self.folder.note_use();
        }
        // After a failure nobody knows what the log has: opening it finds out.
        if unpoisoned(&self.failed).is_some() {
            return Ok(());
        }
        let moved = writer.sync(true).and_then(|()| {
            writer.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        });
        match moved {
            Ok(false) => Ok(()),
            Ok(true) => {
                tracing::warn!(
                    "another program reads the database: what was stored last stays in its log beside it"
                );
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "what was stored last stays in the log beside the database");
                Err(self.store_error(error))
            }
        }
    }

    fn store_error(&self, error: rusqlite::Error) -> StoreError {
        match commit::trouble(&error) {
            commit::Trouble::Damaged => StoreError::Damaged(error.into()),
            commit::Trouble::Full => StoreError::Full(error.into()),
            _ => StoreError::Failed(error.into()),
        }
    }

    /// Says once that positions of a room cannot be read.
    fn report(&self, room: RoomId, gap: &RangeInclusive<u64>) {
        let mut reported = unpoisoned(&self.reported);
        if reported.len() < REPORTED_MAX && reported.insert((room, *gap.start())) {
            self.counts.damaged.fetch_add(gap.end() - gap.start() + 1, Ordering::Relaxed);
            tracing::error!(room = room.0, first = gap.start(), last = gap.end(), "records are damaged");
        }
    }

    /// Writing has ended.
    fn fail(&self, error: &DatabaseError) {
        let mut failed = unpoisoned(&self.failed);
        if failed.is_none() {
            tracing::error!(%error, "the store has failed: nothing can be stored any more");
            *failed = Some(error.clone());
        }
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

    fn members(&self, room: RoomId, which: Members<'_>) -> Result<Vec<MemberRow>, StoreError> {
        self.inner.members(room, which)
    }

    fn read(&self, room: RoomId, after: u64, bytes_max: usize) -> Result<Page, StoreError> {
        self.inner.read(room, after, bytes_max)
    }

    fn read_before(
        &self,
        room: RoomId,
        before: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Page, StoreError> {
        self.inner.read_before(room, before, records_max, bytes_max)
    }

    fn positions(
        &self,
        room: RoomId,
        member: MemberId,
        from_seq: u64,
        to_seq: u64,
        max: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.inner.positions(room, member, from_seq, to_seq, max)
    }

    fn marked(&self, room: RoomId, name: &[u8], after: u64, max: usize) -> Result<Vec<u64>, StoreError> {
        self.inner.marked(room, name, after, max)
    }

    fn marked_between(
        &self,
        room: RoomId,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, StoreError> {
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

    fn check(&self) -> Report {
        self.inner.check()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn backup(&self, to: &Path) -> Result<(), StoreError> {
        upkeep::backup(&self.inner.dir, to)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}
