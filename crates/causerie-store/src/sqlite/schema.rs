//! The database file: formats, settings, connections.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::folder::{self, FILE, Folder};
use super::options::Options;
use super::tables::{FORMAT, STEPS, make};
use super::{compare, copy};
use crate::error::{DatabaseError, OpenError};

/// "CSRL", in the header of the file.
const APPLICATION_ID: i64 = 0x4353_524c;
/// The first version without the bug by which two connections could lose a commit.
const ENGINE_MIN: i32 = 3_051_003;

/// SQLite's default: the least that a single message writes. Others were not measured.
const PAGE_BYTES: u32 = 4096;

/// The format of a database; `None`: it has nothing in it.
fn format(db: &Connection, path: &Path) -> Result<Option<i64>, OpenError> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = pragma("application_id").and_then(|id| Ok((id, pragma("user_version")?)));
    let not_ours = || OpenError::NotAStore { path: path.to_owned() };
    match found {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => Err(not_ours()),
        Err(error) => Err(error.into()),
        Ok((0, 0)) => {
            let parts: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if parts == 0 { Ok(None) } else { Err(not_ours()) }
        }
        Ok((APPLICATION_ID, found @ 1..=FORMAT)) => Ok(Some(found)),
        Ok((APPLICATION_ID, found)) if found > FORMAT => Err(OpenError::Newer { found, known: FORMAT }),
        Ok(_) => Err(not_ours()),
    }
}

/// Refuses a database with other tables, columns or indices than ours, and one with triggers or views: what it would do
/// with what is stored nobody knows.
pub(super) fn refuse_foreign(db: &Connection, format: i64, dir: &Path) -> Result<(), OpenError> {
    let differences = compare::differences(db, format)?;
    match differences.is_empty() {
        true => Ok(()),
        false => Err(OpenError::Schema { path: dir.join(FILE), differences }),
    }
}

fn check_engine() -> Result<(), OpenError> {
    match rusqlite::version_number() < ENGINE_MIN {
        true => Err(OpenError::Engine { found: rusqlite::version().to_owned() }),
        false => Ok(()),
    }
}

/// The connection that writes. Makes the database if there is none, and brings an older one up to date.
pub(super) fn writer(dir: &Path, folder: &Folder, options: &Options) -> Result<Connection, OpenError> {
    check_engine()?;
    let path = dir.join(FILE);
    let (bytes, log_bytes) = folder::sizes(dir);
    // SQLite would take a log beside nothing away.
    if bytes == 0 && (log_bytes > 0 || (folder.was_used() && !path.exists())) {
        return Err(OpenError::Emptied { path });
    }
    folder::make_private_file(&path).map_err(folder::io(&path))?;
    let mut db = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::from_secs(10))?;
    match format(&db, &path)? {
        None if folder.was_used() => return Err(OpenError::Emptied { path }),
        None => create(&mut db, dir, &path)?,
        Some(found) => {
            refuse_foreign(&db, found, dir)?;
            if found < FORMAT {
                upgrade(&mut db, dir, found, options)?;
            }
        }
    }
    let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let message = format!("no write-ahead log here, only '{mode}'");
        return Err(OpenError::Database(DatabaseError { code: 0, message }));
    }
    // Checkpoints are the mover's business: none in the middle of a commit.
    db.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864;
         PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
    )?;
    db.pragma_update(None, "cache_size", kib(options.cache_bytes))?;
    if let Some(bytes) = options.bytes_max {
        let page_bytes: i64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = i64::try_from(bytes / page_bytes.max(1) as u64).unwrap_or(i64::MAX);
        db.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))?;
    }
    keep_statements(&db, 64)?;
    Ok(db)
}

/// Brings an older store up to date, once there is a copy of it.
fn upgrade(db: &mut Connection, dir: &Path, found: i64, options: &Options) -> Result<(), OpenError> {
    if options.copy_before_upgrade {
        let copy = folder::before_format(dir, FORMAT);
        let failed = |message: String| OpenError::Copy { found, known: FORMAT, message };
        folder::make_private(&copy).map_err(|error| failed(error.to_string()))?;
        copy::copy(db, &copy).map_err(|error| failed(error.to_string()))?;
        tracing::warn!(
            "the store is brought from format {found} to {FORMAT}; as it was it is in {}: `causerie store restore` of \
             the older program goes back to that",
            copy.display()
        );
    }
    let tx = db.transaction()?;
    for step in &STEPS[found as usize..] {
        tx.execute_batch(step.change)?;
    }
    tx.pragma_update(None, "user_version", FORMAT)?;
    Ok(tx.commit()?)
}

fn create(db: &mut Connection, dir: &Path, path: &Path) -> Result<(), OpenError> {
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "synchronous", "EXTRA")?;
    let tx = db.transaction()?;
    make(&tx, FORMAT)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", FORMAT)?;
    tx.commit()?;
    // The names of file and folder, too: SQLite syncs neither where there was no journal.
    folder::sync_folder(dir).map_err(folder::io(path))?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        // Not ours: it may be readable only, and then it was not us who made the folder.
        let _ = folder::sync_folder(parent);
    }
    Ok(())
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

/// A connection that reads beside the one that writes.
pub(super) fn reader(dir: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        dir.join(FILE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::from_secs(10))?;
    set_up_reader(&db, options)?;
    Ok(db)
}

fn set_up_reader(db: &Connection, options: &Options) -> rusqlite::Result<()> {
    db.execute_batch("PRAGMA query_only=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;")?;
    db.pragma_update(None, "cache_size", kib(options.reader_cache_bytes))?;
    keep_statements(db, 32)
}

/// A connection to a store that nobody writes. It makes, changes and locks nothing, so the medium may be read-only.
pub(super) fn untouched(dir: &Path) -> rusqlite::Result<Connection> {
    let path = dir.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = if folder::has_log(dir) {
        // With the log's index in its own memory; who has the folder is known from elsewhere.
        let unlocked = if cfg!(unix) { c"unix-none" } else { c"win32-none" };
        let db = Connection::open_with_flags_and_vfs(&path, flags, unlocked)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        db.execute_batch("PRAGMA main.locking_mode=EXCLUSIVE")?;
        db
    } else {
        // The file is all there is, and does not change.
        Connection::open_with_flags(uri(&path), flags | OpenFlags::SQLITE_OPEN_URI)?
    };
    db.execute_batch("PRAGMA temp_store=MEMORY")?;
    Ok(db)
}

/// A path as SQLite reads it where more is said of the file.
fn uri(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    // Two slashes more, or what stands between the first of the path's own would be a host.
    let mut uri = String::from(if bytes.starts_with(b"/") { "file://" } else { "file:" });
    for &byte in bytes {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?immutable=1"
}

/// Looks at a store that nobody writes: its format.
pub(super) fn look(dir: &Path) -> Result<i64, OpenError> {
    check_engine()?;
    let path = dir.join(FILE);
    if !folder::has_database(dir) {
        return Err(OpenError::Emptied { path });
    }
    let found = format(&untouched(dir)?, &path)?;
    found.ok_or(OpenError::Emptied { path })
}

/// A connection that reads what a server in another process writes, and changes nothing.
pub(super) fn beside(dir: &Path) -> Result<Connection, OpenError> {
    check_engine()?;
    let path = dir.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&path, flags)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    format(&db, &path)?.ok_or(OpenError::Emptied { path })?;
    Ok(db)
}

/// A connection that reads a store that nobody writes, whatever its format.
pub(super) fn quiet_reader(dir: &Path, options: &Options, format: i64) -> rusqlite::Result<Connection> {
    let db = untouched(dir)?;
    STEPS
        .iter()
        .skip(usize::try_from(format).unwrap_or(0))
        .try_for_each(|step| db.execute_batch(step.stand_in))?;
    set_up_reader(&db, options)?;
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
