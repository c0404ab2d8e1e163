//! Errors of the database, by what they mean here.

use rusqlite::{ErrorCode, ffi};

/// Kinds of errors of the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    Full,
    Busy,
    Damaged,
    Sync,
    Other,
}

/// Returns the kind of an error.
pub(super) fn trouble(error: &rusqlite::Error) -> Trouble {
    let Some(error) = error.sqlite_error() else {
        // A column of another type than was written.
        return Trouble::Damaged;
    };
    match (error.code, error.extended_code) {
        (ErrorCode::DiskFull, _) => Trouble::Full,
        // The shared index of the write-ahead log could not grow: the file system is full, or out of quota.
        (_, ffi::SQLITE_IOERR_SHMSIZE) => Trouble::Full,
        (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => Trouble::Sync,
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Trouble::Busy,
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Trouble::Damaged,
        _ => Trouble::Other,
    }
}
