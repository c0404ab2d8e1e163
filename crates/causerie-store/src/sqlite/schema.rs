//! The database file: format, settings, connections.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::Options;
use crate::error::OpenError;

/// "CSRL", in the header of the file.
const APPLICATION_ID: i64 = 0x4353_524c;
/// The newest format that this version knows.
const FORMAT: i64 = STEPS.len() as i64;
/// What each format has more than the one before.
const STEPS: [&str; 4] = [SCHEMA, MARKS, HOSTED, CUT];
/// The first version without the bug by which two connections could lose a commit.
const ENGINE_MIN: i32 = 3_051_003;

pub(super) const FILE: &str = "causerie.db";
const LOCK: &str = "lock";
/// SQLite's default: the least that a single message writes. Others were not measured.
const PAGE_BYTES: u32 = 4096;

/// `staging` holds one row for each commit, all rooms' runs in it. `place` says which block has which positions
/// (and its own checksum), `block` has the bytes: apart, so that the first stays small, and the second grows at
/// its end. `author` finds a member's messages: one row for each block and
/// member. `words` is the search index; texts are taken out by telling it what they were, since there are the records.
const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE room (id INTEGER PRIMARY KEY, name TEXT NOT NULL, port INTEGER, creator TEXT NOT NULL,
    epoch INTEGER NOT NULL, created INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE kept (room INTEGER PRIMARY KEY, first INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE closing (room INTEGER PRIMARY KEY);
CREATE TABLE checkpoint (room INTEGER PRIMARY KEY, position INTEGER NOT NULL, crc INTEGER NOT NULL,
    state BLOB NOT NULL);
CREATE TABLE member (room INTEGER NOT NULL, member INTEGER NOT NULL, name TEXT NOT NULL,
    joined_at INTEGER NOT NULL, left_at INTEGER, taken INTEGER NOT NULL, token BLOB, nonce BLOB,
    crc INTEGER NOT NULL, PRIMARY KEY (room, member)) WITHOUT ROWID;
CREATE INDEX present ON member (room) WHERE left_at IS NULL;
CREATE INDEX known ON member (room) WHERE token IS NOT NULL;
CREATE TABLE staging (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, head BLOB NOT NULL, frames BLOB NOT NULL);
CREATE TABLE block (id INTEGER PRIMARY KEY, directory BLOB NOT NULL, frames BLOB NOT NULL);
CREATE TABLE place (room INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    bytes INTEGER NOT NULL, block INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (room, first)) WITHOUT ROWID;
CREATE TABLE author (room INTEGER NOT NULL, member INTEGER NOT NULL, first_seq INTEGER NOT NULL,
    block_first INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    PRIMARY KEY (room, member, first_seq, block_first)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0);
";

/// Names under which records are found again.
const MARKS: &str = "
CREATE TABLE mark (room INTEGER NOT NULL, name BLOB NOT NULL, position INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (room, name, position)) WITHOUT ROWID;
CREATE INDEX marks_of ON mark (room, position);
";

/// Whether the server speaks for a member that can come back.
const HOSTED: &str = "ALTER TABLE member ADD COLUMN hosted INTEGER NOT NULL DEFAULT 0;";

/// Rooms whose end may be lost, until their next checkpoint.
const CUT: &str = "CREATE TABLE cut (room INTEGER PRIMARY KEY);";

fn io(path: &Path) -> impl Fn(std::io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.to_owned(), source }
}

/// Makes the folder if need be, and takes it for this process for as long as the file lives.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    std::fs::create_dir_all(dir).map_err(io(dir))?;
    let path = dir.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

/// The connection that writes. Makes the database if there is none.
pub(super) fn writer(dir: &Path, options: &Options) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < ENGINE_MIN {
        return Err(OpenError::Engine { found: rusqlite::version().to_owned() });
    }
    let path = dir.join(FILE);
    let mut db = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::from_secs(10))?;
    let pragma = |db: &Connection, name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = match (pragma(&db, "application_id"), pragma(&db, "user_version")) {
        (Ok(id), Ok(format)) => (id, format),
        (Err(error), _) | (_, Err(error))
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) =>
        {
            return Err(OpenError::NotAStore { path });
        }
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match found {
        (0, 0) if tables == 0 => create(&mut db, dir, &path)?,
        (APPLICATION_ID, FORMAT) => {}
        (APPLICATION_ID, older @ 1..FORMAT) => {
            let tx = db.transaction()?;
            for step in &STEPS[older as usize..] {
                tx.execute_batch(step)?;
            }
            tx.pragma_update(None, "user_version", FORMAT)?;
            tx.commit()?;
        }
        (APPLICATION_ID, found) if found > FORMAT => {
            return Err(OpenError::Newer { found, known: FORMAT });
        }
        _ => return Err(OpenError::NotAStore { path }),
    }
    let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let message = format!("no write-ahead log here, only '{mode}'");
        return Err(OpenError::Database(crate::DatabaseError { code: 0, message }));
    }
    // Checkpoints are the mover's business: none in the middle of a commit.
    db.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864;
         PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
    )?;
    db.pragma_update(None, "cache_size", kib(options.cache_bytes))?;
    if let Some(bytes) = options.bytes_max {
        let pages = i64::try_from(bytes / pragma(&db, "page_size")?.max(1) as u64).unwrap_or(i64::MAX);
        db.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))?;
    }
    keep_statements(&db, 64)?;
    Ok(db)
}

/// Whether it is a store, in a format that this version knows.
pub(super) fn is_ours(db: &Connection) -> rusqlite::Result<bool> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(pragma("application_id")? == APPLICATION_ID && (1..=FORMAT).contains(&pragma("user_version")?))
}

fn create(db: &mut Connection, dir: &Path, path: &Path) -> Result<(), OpenError> {
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "synchronous", "EXTRA")?;
    let tx = db.transaction()?;
    for step in STEPS {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", FORMAT)?;
    tx.commit()?;
    // The names of file and folder, too: SQLite syncs neither where there was no journal.
    sync_folder(dir).map_err(io(path))?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        // Not ours: it may be readable only, and then it was not us who made the folder.
        let _ = sync_folder(parent);
    }
    Ok(())
}

/// What the folder lists is on the disk.
pub(super) fn sync_folder(dir: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Prepared statements are kept, and as they are: by default SQLite prepares some of them anew for other values of
/// their parameters, which took a third of the mover's time.
fn keep_statements(db: &Connection, capacity: usize) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(capacity);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

/// SQLite counts a cache in pages, or, negative, in KiB.
fn kib(bytes: usize) -> i64 {
    -i64::try_from(bytes / 1024).unwrap_or(i64::MAX).max(64)
}

/// A connection that reads.
pub(super) fn reader(dir: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        dir.join(FILE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.execute_batch("PRAGMA query_only=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;")?;
    db.pragma_update(None, "cache_size", kib(options.reader_cache_bytes))?;
    keep_statements(&db, 32)?;
    Ok(db)
}

/// The connection that moves the write-ahead log into the file, beside the writer.
pub(super) fn checkpointer(dir: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        dir.join(FILE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // It never waits for readers: what cannot be moved now is moved later.
    db.busy_timeout(Duration::ZERO)?;
    db.execute_batch("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-64;")?;
    Ok(db)
}

/// The files' sizes: database, write-ahead log.
pub(super) fn sizes(dir: &Path) -> (u64, u64) {
    let length = |name: PathBuf| std::fs::metadata(name).map_or(0, |m| m.len());
    (length(dir.join(FILE)), length(dir.join(format!("{FILE}-wal"))))
}
