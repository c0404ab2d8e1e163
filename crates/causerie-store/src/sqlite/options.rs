//! Settings of the store.

use std::time::Duration;

/// Settings of a [`SqliteStore`](crate::SqliteStore).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// A search index is kept. Default true. Messages stored while it is off are not found later.
    pub search: bool,
    /// Time limit of one search. Default 1 s.
    pub search_time: Duration,
    /// A thread of the store's own moves and cleans up. Default true. Without it call
    /// [`Store::tidy`](crate::Store::tidy) now and then; a commit helps itself when too much is staged.
    pub background: bool,
    /// Bytes of the page cache of each of the two writers. Default 16 MiB.
    pub cache_bytes: usize,
    /// Bytes of each reader's page cache, of each file. Default 2 MiB.
    pub reader_cache_bytes: usize,
    /// Connections for reading at once; further readers wait. Default 8.
    pub readers: usize,
    /// Staged bytes at which moving begins: larger batches make better blocks. Default 16 MiB.
    pub staging_bytes: u64,
    /// Staged bytes, kept in memory, at which each commit first moves as much as it brings, and more. Default
    /// 64 MiB: a burst of 400,000 short messages.
    pub staging_bytes_max: u64,
    /// Time that staged runs may wait to be moved. Default 2 s.
    pub staging_age: Duration,
    /// Free bytes kept in each file for what comes next, before it is made shorter. Default 64 MiB.
    pub free_bytes: u64,
    /// Each database file's greatest size: beyond it commits are
    /// [`CommitError::Full`](crate::CommitError::Full). Default: none.
    pub bytes_max: Option<u64>,
    /// A store of an older format is copied, beside the database, before it is brought up to date. Default
    /// true.
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
