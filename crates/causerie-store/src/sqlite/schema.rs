//! The two database files: formats, settings, connections.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::folder::{self, BLOCKS, FILE, Folder};
use super::options::Options;
use super::reader::Reader;
use super::tables::{BLOCKS_FORMAT, FORMAT, STEPS, make, make_blocks, tune_index};
use super::{compare, copy, rows};
use crate::error::{DatabaseError, OpenError};

/// Application id in the header of the file: "CSRL".
const APPLICATION_ID: i64 = 0x4353_524c;
/// Application id in the header of the blocks' file: "CSRB".
const BLOCKS_APPLICATION_ID: i64 = 0x4353_5242;
/// The first version of SQLite without the bug by which two connections could lose a commit.
const ENGINE_MIN: i32 = 3_051_003;

/// Size of a page, SQLite's default: the least that a single message writes. Others were not measured.
const PAGE_BYTES: u32 = 4096;

/// Returns the format of a database; `None` if it has nothing in it.
fn format(db: &Connection, path: &Path) -> Result<Option<i64>, OpenError> {
    format_of(db, path, APPLICATION_ID, FORMAT)
}

fn format_of(db: &Connection, path: &Path, application: i64, known: i64) -> Result<Option<i64>, OpenError> {
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
        Ok((id, found)) if id == application && (1..=known).contains(&found) => Ok(Some(found)),
        Ok((id, found)) if id == application && found > known => Err(OpenError::Newer { found, known }),
        Ok(_) => Err(not_ours()),
    }
}

/// Refuses a database with other tables, columns or indices than ours, and one with triggers or views: what it would do
/// with what is stored nobody knows.
pub(super) fn refuse_foreign(db: &Connection, format: i64, dir: &Path) -> Result<(), OpenError> {
    refuse(compare::differences(db, format)?, dir.join(FILE))
}

/// Refuses both files as [`refuse_foreign`] does.
pub(super) fn refuse_other(reader: &Reader, format: i64, dir: &Path) -> Result<(), OpenError> {
    refuse_foreign(&reader.db, format, dir)?;
    refuse(compare::blocks_differences(&reader.blocks)?, dir.join(BLOCKS))
}

fn refuse(differences: Vec<String>, path: PathBuf) -> Result<(), OpenError> {
    match differences.is_empty() {
        true => Ok(()),
        false => Err(OpenError::Schema { path, differences }),
    }
}

fn check_engine() -> Result<(), OpenError> {
    match rusqlite::version_number() < ENGINE_MIN {
        true => Err(OpenError::Engine { found: rusqlite::version().to_owned() }),
        false => Ok(()),
    }
}

/// Opens the connections that write, one to each file. Makes the files if there are none, and brings older
/// ones up to date.
pub(super) fn writers(dir: &Path, folder: &Folder, options: &Options) -> Result<Reader, OpenError> {
    check_engine()?;
    let path = dir.join(FILE);
    let (bytes, log_bytes) = folder::sizes(dir, FILE);
    // SQLite would take a log beside nothing away; and blocks without the rest are what is left of a store.
    let was_used = || folder.was_used() || folder::has_database(dir, BLOCKS);
    if bytes == 0 && (log_bytes > 0 || (was_used() && !path.exists())) {
        return Err(OpenError::Emptied { path });
    }
    let mut db = make_file(&path)?;
    match format(&db, &path)? {
        None if was_used() => return Err(OpenError::Emptied { path }),
        None => create(&mut db, dir, &path, |db| {
            make(db, FORMAT)?;
            db.pragma_update(None, "application_id", APPLICATION_ID)?;
            db.pragma_update(None, "user_version", FORMAT)
        })?,
        Some(found) => {
            refuse_foreign(&db, found, dir)?;
            if found < FORMAT {
                // No older program has made these blocks.
                if folder::has_database(dir, BLOCKS) {
                    return Err(OpenError::Foreign { path: dir.join(BLOCKS) });
                }
                upgrade(&mut db, dir, found, options)?;
            }
        }
    }
    set_up_writer(&db, options)?;
    let blocks = blocks_writer(&db, dir, options)?;
    Ok(Reader { db, blocks, old: true })
}

/// Opens the blocks' file of the store `db`. Makes it, where nothing was ever moved.
fn blocks_writer(db: &Connection, dir: &Path, options: &Options) -> Result<Connection, OpenError> {
    let path = dir.join(BLOCKS);
    let (bytes, log_bytes) = folder::sizes(dir, BLOCKS);
    let may_be_made = rows::meta(db, "moved")?.is_none();
    if bytes == 0 && (log_bytes > 0 || (!may_be_made && !path.exists())) {
        return Err(OpenError::Emptied { path });
    }
    let mut blocks = make_file(&path)?;
    match format_of(&blocks, &path, BLOCKS_APPLICATION_ID, BLOCKS_FORMAT)? {
        None if !may_be_made => return Err(OpenError::Emptied { path }),
        None => create(&mut blocks, dir, &path, |blocks| {
            begin_blocks(blocks, db)?;
            blocks.pragma_update(None, "application_id", BLOCKS_APPLICATION_ID)?;
            blocks.pragma_update(None, "user_version", BLOCKS_FORMAT)
        })?,
        Some(_) => {
            know_each_other(db, &blocks, dir)?;
            refuse(compare::blocks_differences(&blocks)?, path)?;
        }
    }
    set_up_writer(&blocks, options)?;
    // Whoever writes into a damaged index next finds out, and goes on without it.
    if let Err(error) = tune_index(&blocks) {
        tracing::debug!(%error, "the search index is merged as it was before");
    }
    Ok(blocks)
}

/// Makes the tables of the blocks' file, for the store `db`.
fn begin_blocks(blocks: &Connection, db: &Connection) -> rusqlite::Result<()> {
    make_blocks(blocks)?;
    if let Some(store) = rows::meta(db, "store")? {
        rows::put_meta(blocks, "store", store)?;
    }
    // As it is, with its checksum.
    let mut kept = db.prepare("SELECT room, first, crc FROM kept")?;
    let mut kept = kept.query([])?;
    while let Some(row) = kept.next()? {
        let (room, first, crc): (i64, Value, Value) = (row.get(0)?, row.get(1)?, row.get(2)?);
        blocks.prepare_cached("INSERT INTO kept VALUES (?1, ?2, ?3)")?.execute((room, first, crc))?;
    }
    Ok(())
}

/// Refuses the blocks of another store.
fn know_each_other(db: &Connection, blocks: &Connection, dir: &Path) -> Result<(), OpenError> {
    match rows::meta(db, "store")? {
        None => Err(OpenError::Emptied { path: dir.join(FILE) }),
        store if store == rows::meta(blocks, "store")? => Ok(()),
        Some(_) => Err(OpenError::Foreign { path: dir.join(BLOCKS) }),
    }
}

/// Opens a connection that may write a file, which only its owner can read; makes it if need be.
fn make_file(path: &Path) -> Result<Connection, OpenError> {
    folder::make_private_file(path).map_err(folder::io(path))?;
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::from_secs(10))?;
    Ok(db)
}

fn set_up_writer(db: &Connection, options: &Options) -> Result<(), OpenError> {
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
    Ok(keep_statements(db, 64)?)
}

/// Brings an older store up to date, once there is a copy of it.
fn upgrade(db: &mut Connection, dir: &Path, found: i64, options: &Options) -> Result<(), OpenError> {
    if options.copy_before_upgrade {
        let copy = folder::before_format(dir, FORMAT);
        let failed = |message: String| OpenError::Copy { found, known: FORMAT, message };
        folder::make_private(&copy).map_err(|error| failed(error.to_string()))?;
        copy::copy(db, None, &copy, || {}).map_err(|error| failed(error.to_string()))?;
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

fn create(
    db: &mut Connection,
    dir: &Path,
    path: &Path,
    make: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), OpenError> {
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "synchronous", "EXTRA")?;
    let tx = db.transaction()?;
    make(&tx)?;
    tx.commit()?;
    // The names of file and folder, too: SQLite syncs neither where there was no journal.
    folder::sync_folder(dir).map_err(folder::io(path))?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        // Not ours: it may be readable only, and then it was not us who made the folder.
        let _ = folder::sync_folder(parent);
    }
    Ok(())
}

/// Has prepared statements kept as they are: by default SQLite prepares some of them anew for other values of
/// their parameters, which took a third of the mover's time.
fn keep_statements(db: &Connection, capacity: usize) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(capacity);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

/// Returns the size of a cache as SQLite takes it: in pages, or, negative, in KiB.
fn kib(bytes: usize) -> i64 {
    -i64::try_from(bytes / 1024).unwrap_or(i64::MAX).max(64)
}

/// Opens connections that read beside those that write.
pub(super) fn reader(dir: &Path, options: &Options, old: bool) -> rusqlite::Result<Reader> {
    let open = |file: &str| {
        let db = Connection::open_with_flags(
            dir.join(file),
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        db.busy_timeout(Duration::from_secs(10))?;
        set_up_reader(&db, options)?;
        Ok::<_, rusqlite::Error>(db)
    };
    Ok(Reader { db: open(FILE)?, blocks: open(BLOCKS)?, old })
}

fn set_up_reader(db: &Connection, options: &Options) -> rusqlite::Result<()> {
    db.execute_batch("PRAGMA query_only=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;")?;
    db.pragma_update(None, "cache_size", kib(options.reader_cache_bytes))?;
    keep_statements(db, 32)
}

/// Opens a connection to a file of a store that nobody writes. It makes, changes and locks nothing, so the
/// medium may be read-only.
fn untouched(dir: &Path, file: &str) -> rusqlite::Result<Connection> {
    let path = dir.join(file);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = if folder::has_log(dir, file) {
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

/// Returns a path as SQLite reads it in a URI.
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

/// Returns the format of a store that nobody writes.
pub(super) fn look(dir: &Path) -> Result<i64, OpenError> {
    Ok(untouched_pair(dir)?.2)
}

/// Opens connections to a store that nobody writes, and returns its format. The second is `None` where there
/// is no such file, and need not be.
pub(super) fn untouched_pair(dir: &Path) -> Result<(Connection, Option<Connection>, i64), OpenError> {
    check_engine()?;
    let path = dir.join(FILE);
    if !folder::has_database(dir, FILE) {
        return Err(OpenError::Emptied { path });
    }
    let db = untouched(dir, FILE)?;
    let found = format(&db, &path)?.ok_or(OpenError::Emptied { path })?;
    let blocks = blocks_beside(&db, found, dir, untouched)?;
    Ok((db, blocks, found))
}

/// Opens connections that read while a server in another process writes, and change nothing.
pub(super) fn beside(dir: &Path) -> Result<(Connection, Option<Connection>, i64), OpenError> {
    check_engine()?;
    let open = |dir: &Path, file: &str| {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(dir.join(file), flags)?;
        db.busy_timeout(Duration::from_secs(10))?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(db)
    };
    let path = dir.join(FILE);
    let db = open(dir, FILE)?;
    let found = format(&db, &path)?.ok_or(OpenError::Emptied { path })?;
    let blocks = blocks_beside(&db, found, dir, open)?;
    Ok((db, blocks, found))
}

/// Opens the blocks' file of a store that is only read; `None` if there is none, and nothing was ever moved
/// into one.
fn blocks_beside(
    db: &Connection,
    format: i64,
    dir: &Path,
    open: impl FnOnce(&Path, &str) -> rusqlite::Result<Connection>,
) -> Result<Option<Connection>, OpenError> {
    // The first format with two files.
    if format < 7 {
        return Ok(None);
    }
    let path = dir.join(BLOCKS);
    if folder::has_database(dir, BLOCKS) {
        let blocks = open(dir, BLOCKS)?;
        if format_of(&blocks, &path, BLOCKS_APPLICATION_ID, BLOCKS_FORMAT)?.is_some() {
            know_each_other(db, &blocks, dir)?;
            return Ok(Some(blocks));
        }
    }
    match rows::meta(db, "moved")? {
        None => Ok(None),
        Some(_) => Err(OpenError::Emptied { path }),
    }
}

/// Opens connections that read a store that nobody writes, whatever its format.
pub(super) fn quiet_reader(dir: &Path, options: &Options) -> Result<(Reader, i64), OpenError> {
    let (db, blocks, format) = untouched_pair(dir)?;
    STEPS
        .iter()
        .skip(usize::try_from(format).unwrap_or(0))
        .try_for_each(|step| db.execute_batch(step.stand_in))?;
    let blocks = match blocks {
        Some(blocks) => blocks,
        None => {
            let blocks = Connection::open_in_memory()?;
            begin_blocks(&blocks, &db)?;
            blocks
        }
    };
    set_up_reader(&db, options)?;
    set_up_reader(&blocks, options)?;
    Ok((Reader { db, blocks, old: true }, format))
}

/// Opens the connections that move the write-ahead logs into the files, beside the writers.
pub(super) fn checkpointers(dir: &Path) -> rusqlite::Result<[Connection; 2]> {
    let open = |file: &str| {
        let db = Connection::open_with_flags(
            dir.join(file),
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        // It never waits for readers: what cannot be moved now is moved later.
        db.busy_timeout(Duration::ZERO)?;
        db.execute_batch("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-64;")?;
        Ok::<_, rusqlite::Error>(db)
    };
    Ok([open(FILE)?, open(BLOCKS)?])
}
