//! Errors, one enum per operation.

use std::io;
use std::path::PathBuf;

use causerie_core::id::Position;
use thiserror::Error;

use crate::change::RoomId;
use crate::words::QueryError;

/// Error that the database told.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{message} (code {code})")]
pub struct DatabaseError {
    /// SQLite's extended result code; 0 if it was not SQLite that complained.
    pub code: i32,
    /// Its words.
    pub message: String,
}

impl DatabaseError {
    pub(crate) const fn full(message: String) -> Self {
        Self { code: rusqlite::ffi::SQLITE_FULL, message }
    }

    /// Returns whether it found no room.
    pub(crate) const fn is_full(&self) -> bool {
        // The second: the shared index of the write-ahead log could not grow.
        self.code & 0xff == rusqlite::ffi::SQLITE_FULL || self.code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&rusqlite::Error> for DatabaseError {
    fn from(error: &rusqlite::Error) -> Self {
        let code = error.sqlite_error().map_or(0, |e| e.extended_code);
        Self { code, message: error.to_string() }
    }
}

/// Error of opening a store. Nothing was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("the data folder {} is in use by another process", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A later version of the program has written it.
    #[error(
        "the data folder has format {found}, and this version knows up to {known}: use the newer program"
    )]
    Newer {
        /// The folder's format.
        found: i64,
        /// The newest that this version knows.
        known: i64,
    },
    /// There is a database, and it is not ours.
    #[error("{} is not a causerie store", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The database has other tables, columns or indices than this program makes, or triggers or views.
    #[error("{} is not as this program makes it: {}", path.display(), differences.join("; "))]
    Schema {
        /// The file.
        path: PathBuf,
        /// Each in words.
        differences: Vec<String>,
    },
    /// The file with the blocks is another store's.
    #[error("{} belongs to another store than the database beside it", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// There were rooms, and now the database, or the file with their blocks, is gone or has nothing in it.
    #[error(
        "{} is gone or empty, and there was a store: `causerie store restore` puts a copy in place; if it shall \
         begin with nothing, remove what is left of the folder",
        path.display()
    )]
    Emptied {
        /// The file.
        path: PathBuf,
    },
    /// A store of an older format could not be copied, so it was not brought up to date.
    #[error("the store has format {found}, and cannot be copied before it is brought to {known}: {message}")]
    Copy {
        /// The folder's format.
        found: i64,
        /// The newest that this version knows.
        known: i64,
        /// Reason, in words.
        message: String,
    },
    /// The engine is older than 3.51.3, which can lose committed data.
    #[error("SQLite {found} is too old: 3.51.3 or later is needed")]
    Engine {
        /// The version that was linked.
        found: String,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Error that it told.
        source: io::Error,
    },
    /// The database refused, or is damaged where nothing works without it.
    #[error("the store cannot be opened: {0}")]
    Database(#[from] DatabaseError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Error of committing a batch.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CommitError {
    /// The disk is full, or the store has its greatest size. Rolled back, nothing changed: keep the batch and try
    /// the same again later. Reading goes on.
    #[error("no room left to store messages: {0}")]
    Full(DatabaseError),
    /// Another program holds the database. Rolled back, nothing changed: try the same again.
    #[error("the database is held by another program: {0}")]
    Busy(DatabaseError),
    /// The database is damaged where this batch had to write. Rolled back, nothing changed. The same will fail
    /// again until the store is repaired or restored.
    #[error("the store is damaged where it had to be written: {0}")]
    Damaged(DatabaseError),
    /// The disk did not say that it has the data: whether the batch will be there is unknown. End the process;
    /// every later commit fails too.
    #[error("the disk failed to sync: {0}")]
    Sync(DatabaseError),
    /// Writing failed for another reason. End the process; every later commit fails too.
    #[error("the store failed: {0}")]
    Failed(DatabaseError),
    /// The batch is not one: the caller's bug. Nothing changed, and the same will never be taken.
    #[error(transparent)]
    Invalid(#[from] InvalidChange),
}

impl CommitError {
    /// Returns whether the process must end: what the disk holds is not known any more.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::Failed(_))
    }

    /// Returns whether the same batch may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Busy(_))
    }
}

/// Error of a batch that is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum InvalidChange {
    /// There is no such room (any more).
    #[error("{0} does not exist")]
    NoSuchRoom(RoomId),
    /// A new room has a number that was given out before.
    #[error("{room} cannot be created: the next free one is {next}")]
    RoomIdUsed {
        /// The number.
        room: RoomId,
        /// The first free one.
        next: RoomId,
    },
    /// A room number or position beyond what there can be.
    #[error("a number of {0} is out of range")]
    OutOfRange(RoomId),
    /// An append that does not continue where the log ends.
    #[error("{room} goes on at {expected}, not at {first}")]
    NotNext {
        /// The room.
        room: RoomId,
        /// The room's last position plus one.
        expected: Position,
        /// Position that was given.
        first: Position,
    },
    /// The bytes of an append are not the records that they should be.
    #[error("{room}, at {position}: {error}")]
    Run {
        /// The room.
        room: RoomId,
        /// Position of the record.
        position: Position,
        /// Error in it.
        error: RunError,
    },
    /// A checkpoint of a position that the log does not have.
    #[error("{room} ends at {last}, so it has no checkpoint at {position}")]
    CheckpointAhead {
        /// The room.
        room: RoomId,
        /// The room's last position.
        last: Position,
        /// Position that was given.
        position: Position,
    },
    /// A mark on a record that the log does not have.
    #[error("{room} ends at {last}, so there is nothing to be marked at {position}")]
    MarkAhead {
        /// The room.
        room: RoomId,
        /// The room's last position.
        last: Position,
        /// Position that was given.
        position: Position,
    },
    /// A mark's name with more bytes than it may have.
    #[error("a mark's name has at most {limit} bytes, and this one has {bytes}", limit = crate::change::MARK_BYTES_MAX)]
    MarkTooLong {
        /// Number of them.
        bytes: usize,
    },
    /// More bytes than one commit may have.
    #[error("a commit of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Number of them.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Error of bytes that are not a run of records.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RunError {
    /// A frame that is not a whole `Delivered` frame.
    #[error("not a whole record")]
    Frame,
    /// A record whose packet is not a message.
    #[error("the record's packet is not a message")]
    Packet,
    /// A record with another position than its place in the run says.
    #[error("the record says that it stands at {0}")]
    Position(Position),
    /// The run holds more or fewer records than was said.
    #[error("not as many records as was said")]
    Count,
}

/// Error of reading or removing something.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum StoreError {
    /// There is no such room (any more).
    #[error("{0} does not exist")]
    NoSuchRoom(RoomId),
    /// The database is damaged in a place that cannot be passed over. Other rooms may still be readable.
    #[error("the store is damaged: {0}")]
    Damaged(DatabaseError),
    /// No room for what had to be written. Nothing is lost; try again once there is space.
    #[error("no room left on the disk: {0}")]
    Full(DatabaseError),
    /// The database refused for another reason; if it had to be written, end the process.
    #[error("the store failed: {0}")]
    Failed(DatabaseError),
    /// The search index is switched off, or was found damaged.
    #[error("there is no search index")]
    NoSearch,
    /// The text is no query.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A search would have taken longer than it may.
    #[error("the search took too long: look for words that are less common")]
    SearchTooLong,
    /// The target of a backup exists already, or cannot be written.
    #[error("the backup cannot be written to {path}: {message}")]
    Backup {
        /// Folder that it was to go to.
        path: String,
        /// Reason, in words.
        message: String,
    },
}
