//! The connections, and the state in memory beside them.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use causerie_core::id::Position;
use rusqlite::Connection;

use super::folder::{self, Folder};
use super::options::Options;
use super::reader::Reader;
use super::searcher::Searcher;
use super::state::StoreState;
use super::trouble::{Trouble, trouble};
use super::{load, schema};
use crate::change::RoomId;
use crate::error::{DatabaseError, OpenError, StoreError};

/// The store itself, shared with the thread that moves.
pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    /// The writer of the file that takes the commits. Who has it may wait for `blocks`.
    pub(super) writer: Mutex<Pen>,
    /// The writer of the blocks' file, where `writer` has one. Who has it waits for no other.
    pub(super) blocks: Mutex<Option<DatabaseWriter>>,
    /// Commits that wait for the writer: the mover lets them go first.
    pub(super) queue: AtomicUsize,
    pub(super) state: RwLock<StoreState>,
    pub(super) readers: Mutex<Readers>,
    pub(super) reader_back: Condvar,
    /// Connections that move the write-ahead logs into the files, beside the writers.
    pub(super) checkpointers: Mutex<Option<[Connection; 2]>>,
    /// Error that has ended writing.
    pub(super) failed: Mutex<Option<DatabaseError>>,
    pub(super) search: AtomicBool,
    /// There may be blocks of older formats in the file that takes the commits.
    pub(super) old: AtomicBool,
    pub(super) searcher: Mutex<Option<Searcher>>,
    pub(super) wake: Condvar,
    pub(super) signal: Mutex<MoverSignal>,
    pub(super) counts: StoreCounters,
    pub(super) reported: Mutex<HashSet<(RoomId, Position)>>,
    /// The last commit found no room: the next one waits until there is enough for more than itself, or what is said would
    /// be taken and refused in turns.
    pub(super) full: AtomicBool,
    /// Format of the database as it was found, or was brought to.
    pub(super) format: i64,
    /// The data folder, locked for as long as the store is open: dropped last.
    pub(super) folder: Folder,
}

/// The writer of a file, or its absence.
pub(super) enum Pen {
    Writer(Box<DatabaseWriter>),
    /// The disk was full when the store was opened: each commit tries again.
    NoRoom,
    /// Opened to be read.
    None,
    Closed,
}

/// The connections that read.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pub(super) idle: Vec<Reader>,
    pub(super) out: usize,
    /// A writer is there. Without one nothing changes, and nothing is locked.
    pub(super) beside_writer: bool,
    pub(super) closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct MoverSignal {
    pub(super) stop: bool,
    pub(super) work: bool,
}

#[derive(Debug, Default)]
pub(super) struct StoreCounters {
    pub(super) commits: AtomicU64,
    pub(super) appended: AtomicU64,
    pub(super) damaged: AtomicU64,
}

impl core::fmt::Debug for Inner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Inner")
            .field("dir", &self.dir)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The one connection that writes a file.
pub(super) struct DatabaseWriter {
    pub(super) db: Connection,
    /// Commits sync at present.
    pub(super) full_sync: bool,
    /// Something may be in the write-ahead log and not on the disk: at first, what a killed process has left.
    pub(super) unsynced: bool,
}

impl DatabaseWriter {
    pub(super) fn new(db: Connection) -> Self {
        Self { db, full_sync: true, unsynced: true }
    }
}

/// Returns the error of a store without a writer.
pub(super) fn no_writer(why: &str) -> DatabaseError {
    DatabaseError { code: 0, message: why.to_owned() }
}

pub(super) fn unpoisoned<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Damaged places that are remembered as reported.
const REPORTED_MAX: usize = 4_096;

impl Inner {
    pub(super) fn new(
        dir: &Path,
        folder: Folder,
        options: Options,
        pen: Pen,
        blocks: Option<(DatabaseWriter, [Connection; 2])>,
        format: i64,
        state: StoreState,
    ) -> Self {
        let (blocks, checkpointers) = blocks.unzip();
        let beside_writer = matches!(pen, Pen::Writer(_));
        Self {
            checkpointers: Mutex::new(checkpointers),
            blocks: Mutex::new(blocks),
            writer: Mutex::new(pen),
            queue: AtomicUsize::new(0),
            old: AtomicBool::new(state.old_before.is_some()),
            state: RwLock::new(state),
            readers: Mutex::new(Readers { beside_writer, ..Readers::default() }),
            reader_back: Condvar::new(),
            failed: Mutex::new(None),
            search: AtomicBool::new(options.search),
            searcher: Mutex::default(),
            wake: Condvar::new(),
            signal: Mutex::default(),
            counts: StoreCounters::default(),
            reported: Mutex::default(),
            full: AtomicBool::new(false),
            dir: dir.to_owned(),
            options,
            format,
            folder,
        }
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, StoreState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, StoreState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the writer before the mover, if that wants it too.
    pub(super) fn writer_first(&self) -> MutexGuard<'_, Pen> {
        self.queue.fetch_add(1, Ordering::SeqCst);
        let pen = unpoisoned(&self.writer);
        self.queue.fetch_sub(1, Ordering::SeqCst);
        pen
    }

    /// Takes the writer after every commit that waits.
    pub(super) fn writer_last(&self) -> MutexGuard<'_, Pen> {
        while self.queue.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        unpoisoned(&self.writer)
    }

    /// Returns the writer. Where there was no room for one, tries again.
    pub(super) fn writer<'a>(&self, pen: &'a mut Pen) -> Result<&'a mut DatabaseWriter, DatabaseError> {
        if matches!(pen, Pen::NoRoom) {
            let opened = self.open_writer();
            *pen = Pen::Writer(Box::new(opened.map_err(|error| match error {
                OpenError::Database(error) if error.is_full() => error,
                error if folder::is_full(&self.dir) => DatabaseError::full(error.to_string()),
                error => DatabaseError { code: 0, message: error.to_string() },
            })?));
        }
        match pen {
            Pen::Writer(writer) => Ok(writer),
            Pen::NoRoom | Pen::None => Err(no_writer("the store was opened to be read")),
            Pen::Closed => Err(no_writer("the store is closed")),
        }
    }

    fn open_writer(&self) -> Result<DatabaseWriter, OpenError> {
        // Readers that lock nothing have to be gone before anything is written.
        let mut searcher = unpoisoned(&self.searcher);
        *searcher = None;
        let mut readers = unpoisoned(&self.readers);
        while readers.out > 0 {
            readers = self.reader_back.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
        let Reader { mut db, blocks, .. } = schema::writers(&self.dir, &self.folder, &self.options)?;
        load::note_cuts(&mut db, &self.state())?;
        let mut writer = DatabaseWriter::new(db);
        writer.settle()?;
        *unpoisoned(&self.checkpointers) = Some(schema::checkpointers(&self.dir)?);
        *unpoisoned(&self.blocks) = Some(DatabaseWriter::new(blocks));
        *readers = Readers { beside_writer: true, ..Readers::default() };
        Ok(writer)
    }

    /// Runs `read` on a connection of the pool.
    pub(super) fn reading<T>(
        &self,
        read: impl FnOnce(&Reader) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        struct Out<'a>(&'a Inner, Option<Reader>);
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
            return Err(StoreError::Failed(no_writer("the store is closed")));
        }
        readers.out += 1;
        let mut out = Out(self, readers.idle.pop());
        let beside_writer = readers.beside_writer;
        drop(readers);
        let reader = match out.1.take() {
            Some(reader) => reader,
            None => self.open_reader(beside_writer)?,
        };
        let reader = out.1.insert(reader);
        let found = self.looking(reader, read);
        found.map_err(|error| self.store_error(error))
    }

    /// Runs `read` with blocks of older formats in view, if there are some.
    pub(super) fn looking<T>(
        &self,
        reader: &mut Reader,
        read: impl FnOnce(&Reader) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        reader.old = self.old.load(Ordering::SeqCst);
        let _old = reader.keep_old()?;
        read(reader)
    }

    pub(super) fn open_reader(&self, beside_writer: bool) -> Result<Reader, StoreError> {
        if beside_writer {
            let reader = schema::reader(&self.dir, &self.options, true);
            return reader.map_err(|error| self.store_error(error));
        }
        match schema::quiet_reader(&self.dir, &self.options) {
            Ok((reader, _)) => Ok(reader),
            Err(OpenError::Database(error)) => Err(StoreError::Failed(error)),
            Err(error) => Err(StoreError::Failed(no_writer(&error.to_string()))),
        }
    }

    /// Ends writing and reading, and leaves nothing in the write-ahead logs.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        unpoisoned(&self.signal).stop = true;
        self.wake.notify_all();
        // Before the writer, as the mover has them.
        drop(unpoisoned(&self.checkpointers).take());
        let mut pen = self.writer_first();
        let closed = std::mem::replace(&mut *pen, Pen::Closed);
        let blocks = unpoisoned(&self.blocks).take();
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
        let Pen::Writer(writer) = closed else { return Ok(()) };
        if self.state().next_room > 0 {
            self.folder.note_use();
        }
        // After a failure nobody knows what the log has: opening it finds out.
        if unpoisoned(&self.failed).is_some() {
            return Ok(());
        }
        let blocks = blocks.map_or(Ok(()), |blocks| self.empty_log(blocks));
        self.empty_log(*writer).and(blocks)
    }

    fn empty_log(&self, mut writer: DatabaseWriter) -> Result<(), StoreError> {
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

    pub(super) fn store_error(&self, error: rusqlite::Error) -> StoreError {
        match trouble(&error) {
            Trouble::Damaged => StoreError::Damaged(error.into()),
            Trouble::Full => StoreError::Full(error.into()),
            _ => StoreError::Failed(error.into()),
        }
    }

    /// Logs once that positions of a room cannot be read.
    pub(super) fn report(&self, room: RoomId, gap: &RangeInclusive<Position>) {
        let mut reported = unpoisoned(&self.reported);
        if reported.len() < REPORTED_MAX && reported.insert((room, *gap.start())) {
            self.counts.damaged.fetch_add(*gap.end() - *gap.start() + 1, Ordering::Relaxed);
            tracing::error!(
                room = room.0,
                first = gap.start().get(),
                last = gap.end().get(),
                "records are damaged"
            );
        }
    }

    /// Ends writing with this error.
    pub(super) fn fail(&self, error: &DatabaseError) {
        let mut failed = unpoisoned(&self.failed);
        if failed.is_none() {
            tracing::error!(%error, "the store has failed: nothing can be stored any more");
            *failed = Some(error.clone());
        }
    }
}
