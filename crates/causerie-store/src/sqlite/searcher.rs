//! Searching that stops in time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rusqlite::ffi;

use super::reader::Reader;

/// The connections that search: one search at a time, beside those who read.
#[derive(Debug)]
pub(super) struct Searcher {
    pub(super) reader: Reader,
    /// Deadline of the search.
    end: Arc<Mutex<Option<Instant>>>,
}

/// Instructions of SQLite between two looks at the clock: some microseconds. A guess.
const LOOK_EVERY: i32 = 200;

impl Searcher {
    pub(super) fn new(mut reader: Reader) -> rusqlite::Result<Self> {
        let end = Arc::new(Mutex::new(None));
        let ends = Arc::clone(&end);
        let is_over = move || unpoisoned_end(&ends).is_some_and(|end| Instant::now() >= end);
        reader.db.progress_handler(LOOK_EVERY, Some(is_over.clone()))?;
        reader.blocks.progress_handler(LOOK_EVERY, Some(is_over))?;
        Ok(Self { reader, end })
    }

    /// Fails once the time is over: between two rows SQLite does not look.
    pub(super) fn look(&self) -> rusqlite::Result<()> {
        match *unpoisoned_end(&self.end) {
            Some(end) if Instant::now() >= end => {
                Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None))
            }
            _ => Ok(()),
        }
    }

    /// Sets the deadline of searches.
    pub(super) fn end_at(&self, end: Option<Instant>) {
        *unpoisoned_end(&self.end) = end;
    }
}

fn unpoisoned_end(end: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    end.lock().unwrap_or_else(PoisonError::into_inner)
}
