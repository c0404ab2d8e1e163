//! The search index: one row of FTS5 for each text, keyed by room and position.

use std::sync::atomic::Ordering;
use std::time::Instant;

use causerie_core::id::Position;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::inner::{Inner, no_writer, unpoisoned};
use super::reader::Reader;
use super::rows::int;
use super::searcher::Searcher;
use super::texts::{for_texts, key, room_of, unindex};
use super::trouble::{Trouble, trouble};
use crate::change::{POSITION_MAX, RoomId};
use crate::error::StoreError;
use crate::page::{Found, Hit};
use crate::run::StoredRun;
use crate::words::Query;

/// Returns whether blocks of a room, or of any, are still to be taken over and indexed: those before a room
/// and position.
fn is_behind(db: &Connection, room: Option<RoomId>, before: Option<(i64, i64)>) -> rusqlite::Result<bool> {
    let Some((before, first)) = before else { return Ok(false) };
    // All positions that a room has there, or none.
    let first = match room.map(|room| int(room.0)) {
        Some(room) if room > before => return Ok(false),
        Some(room) if room < before => i64::MAX,
        _ => first,
    };
    let any = "SELECT EXISTS (SELECT 1 FROM place WHERE room = ?1 AND first < ?2)";
    let all = "SELECT EXISTS (SELECT 1 FROM place WHERE (room, first) < (?1, ?2))";
    let mut select = db.prepare_cached(if room.is_some() { any } else { all })?;
    select.query_row([room.map_or(before, |room| int(room.0)), first], |row| row.get(0))
}

impl Inner {
    /// Runs a search, for as long as one may take.
    fn searching<T>(
        &self,
        search: impl FnOnce(&Searcher, &Reader) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut kept = unpoisoned(&self.searcher);
        let beside_writer = {
            let readers = unpoisoned(&self.readers);
            if readers.closed {
                return Err(StoreError::Failed(no_writer("the store is closed")));
            }
            readers.beside_writer
        };
        let searcher = match kept.take() {
            Some(searcher) => searcher,
            None => {
                Searcher::new(self.open_reader(beside_writer)?).map_err(|error| self.store_error(error))?
            }
        };
        let searcher = kept.insert(searcher);
        searcher.end_at(Some(Instant::now() + self.options.search_time));
        searcher.reader.old = self.old.load(Ordering::SeqCst);
        let searcher = &*searcher;
        let found = searcher.reader.keep_old().and_then(|_old| search(searcher, &searcher.reader));
        searcher.end_at(None);
        found.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => StoreError::SearchTooLong,
            _ => self.store_error(error),
        })
    }

    /// Puts the texts of a run into the index.
    pub(super) fn index(&self, db: &Connection, run: &StoredRun) -> rusqlite::Result<()> {
        if !self.search.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut insert = db.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?;
        for_texts(run, .., |key, text| insert.execute(params![key, text]).map(|_| ()))
    }

    /// Takes the texts of a run out of the index.
    pub(super) fn unindex(&self, db: &Connection, run: &StoredRun) -> rusqlite::Result<()> {
        if !self.search.load(Ordering::Relaxed) {
            return Ok(());
        }
        match unindex(db, run, ..) {
            Err(error) if trouble(&error) == Trouble::Damaged => {
                self.search_is_damaged(&error);
                Ok(())
            }
            other => other,
        }
    }

    /// Turns search off: messages are read and stored without the index, which can be made anew.
    pub(super) fn search_is_damaged(&self, error: &rusqlite::Error) {
        tracing::error!(%error, "the search index is damaged: searching is switched off");
        self.search.store(false, Ordering::Relaxed);
    }

    pub(super) fn search(
        &self,
        room: Option<RoomId>,
        query: &str,
        before: Option<u64>,
        max: usize,
    ) -> Result<Found, StoreError> {
        if !self.search.load(Ordering::Relaxed) {
            return Err(StoreError::NoSearch);
        }
        if let Some(room) = room.filter(|room| !self.state().rooms.contains_key(room)) {
            return Err(StoreError::NoSuchRoom(room));
        }
        let query = Query::parse(query)?;
        if query.is_empty() || max == 0 {
            return Ok(Found { hits: Vec::new(), complete: true });
        }
        let query = query.to_fts5();
        let before = before.unwrap_or(u64::MAX);
        let old_before = self.state().old_before;
        self.searching(|searcher, reader| match room {
            Some(room) => {
                let complete = !is_behind(&reader.db, Some(room), old_before)?;
                let hits = self.search_room(searcher, room, &query, before, max, u64::MAX)?;
                Ok(Found { hits, complete })
            }
            None => {
                let complete = !is_behind(&reader.db, None, old_before)?;
                let mut hits: Vec<Hit> = Vec::new();
                let mut below = i64::MAX;
                // From the greatest room with a hit to the next below it.
                let mut greatest = reader.blocks.prepare_cached(
                    "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid < ?2 ORDER BY rowid DESC LIMIT 1",
                )?;
                loop {
                    let found = greatest.query_row(params![query, below], |row| row.get::<_, i64>(0));
                    let Some(found) = found.optional()? else { break };
                    let room = room_of(found);
                    below = key(room, Position::START);
                    hits.extend(self.search_room(searcher, room, &query, u64::MAX, max, before)?);
                }
                hits.sort_by_key(|hit| core::cmp::Reverse((hit.time_millis, hit.room, hit.position)));
                hits.truncate(max);
                Ok(Found { hits, complete })
            }
        })
    }

    /// Returns hits of one room, newest first, at positions before `before` and times before `before_millis`.
    fn search_room(
        &self,
        searcher: &Searcher,
        room: RoomId,
        query: &str,
        before: u64,
        max: usize,
        before_millis: u64,
    ) -> rusqlite::Result<Vec<Hit>> {
        let reader = &searcher.reader;
        let mut select = reader.blocks.prepare_cached(
            "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid >= ?2 AND rowid < ?3 ORDER BY rowid DESC",
        )?;
        let end = if before > POSITION_MAX.get() {
            key(room, POSITION_MAX).saturating_add(1)
        } else {
            key(room, Position::new(before))
        };
        let (mut hits, mut read) = (Vec::new(), None);
        let mut found = select.query(params![query, key(room, Position::START), end])?;
        while hits.len() < max {
            searcher.look()?;
            let Some(row) = found.next()? else { break };
            let position = Position::new(row.get::<_, i64>(0)? as u64 & POSITION_MAX.get());
            // What was removed or damaged since is not found any more.
            if let Some((time_millis, frame)) = self.record(reader, room, position, &mut read)?
                && time_millis < before_millis
            {
                hits.push(Hit { room, position, time_millis, frame });
            }
        }
        Ok(hits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_query() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0, tokenize='ascii')",
        )
        .unwrap();
        let text = "say \"hi\" AND go, Ünder 重跑gen-itgc后";
        let mut tokens = String::new();
        crate::words::indexed(text, &mut tokens);
        db.execute("INSERT INTO words (rowid, text) VALUES (1, ?1)", [&tokens]).unwrap();
        let finds = |query: &str| {
            let query = Query::parse(query).unwrap();
            let count = match query.is_empty() {
                true => 0,
                false => {
                    let count = "SELECT count(*) FROM words WHERE words MATCH ?1";
                    db.query_row(count, [query.to_fts5()], |r| r.get(0)).unwrap()
                }
            };
            assert_eq!(count == 1, query.matches(text), "the twin finds the same");
            count
        };
        for hit in [
            "say",
            "HI",
            "\"hi\"",
            "and go",
            "  go\tsay ",
            "\"say",
            "say- go*",
            "hi!!! ...",
            "sa",
            "itgc后",
            "跑ge",
            "und",
            "u\u{308}NDER",
            "后",
        ] {
            assert_eq!(finds(hit), 1, "{hit:?}");
        }
        for miss in [
            "",
            "***",
            "\"",
            "text:",
            "NEAR(say go)",
            "go OR nothing",
            "-",
            "\0",
            "a'b--",
            "ho",
            "ay",
            "重后",
            "say\0go",
        ] {
            assert_eq!(finds(miss), 0, "{miss:?}");
        }
    }

    #[test]
    fn keys_keep_rooms_apart() {
        assert!(key(RoomId(0), POSITION_MAX) < key(RoomId(1), Position::START));
        assert!(key(RoomId::MAX, POSITION_MAX) > 0);
    }
}
