//! The search index: one row of FTS5 for each text, keyed by room and position.

use std::sync::atomic::Ordering;

use causerie_core::body::Body;
use cbcast::Kind;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::int;
use super::{Inner, commit};
use crate::change::{POSITION_MAX, RoomId};
use crate::error::StoreError;
use crate::page::Hit;
use crate::run::{Run, message};

const POSITION_BITS: u32 = POSITION_MAX.count_ones();

/// Rooms one after the other, positions ascending in each: a search in one room is a range of keys.
fn key(room: RoomId, position: u64) -> i64 {
    int(room.0 << POSITION_BITS | position.min(POSITION_MAX))
}

/// Any text as a query: its words, each quoted, all of which must occur. `None`: it has no word.
fn quoted(query: &str) -> Option<String> {
    let words = query.split(|c: char| c.is_whitespace() || c == '\0');
    let words = words.filter(|word| word.chars().any(char::is_alphanumeric));
    let words: Vec<_> = words.map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The texts of a run's good records, with their keys.
fn for_texts(run: &Run, mut each: impl FnMut(i64, &str) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    for slot in run.slots().filter(|s| s.good) {
        let Some(m) = message(&run.frame(&slot)).filter(|m| m.kind() == Kind::Data) else { continue };
        if let Some(text) = Body::decode(&m.payload()).text() {
            each(key(run.directory.room, slot.position), text)?;
        }
    }
    Ok(())
}

impl Inner {
    /// Makes the texts of a run findable.
    pub(super) fn index(&self, db: &Connection, run: &Run) -> rusqlite::Result<()> {
        let mut insert = db.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?;
        for_texts(run, |key, text| insert.execute(params![key, text]).map(|_| ()))
    }

    /// Takes the texts of a run out of the index. What is damaged stays in it, and is never shown.
    pub(super) fn unindex(&self, db: &Connection, run: &Run) -> rusqlite::Result<()> {
        if !self.search.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut delete =
            db.prepare_cached("INSERT INTO words (words, rowid, text) VALUES ('delete', ?1, ?2)")?;
        match for_texts(run, |key, text| delete.execute(params![key, text]).map(|_| ())) {
            Err(error) if commit::trouble(&error) == commit::Trouble::Damaged => {
                tracing::error!(%error, "the search index is damaged: searching is switched off");
                self.search.store(false, Ordering::Relaxed);
                Ok(())
            }
            other => other,
        }
    }

    pub(super) fn search(
        &self,
        room: Option<RoomId>,
        query: &str,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<Hit>, StoreError> {
        if !self.search.load(Ordering::Relaxed) {
            return Err(StoreError::NoSearch);
        }
        if let Some(room) = room.filter(|room| !self.state().rooms.contains_key(room)) {
            return Err(StoreError::NoSuchRoom(room));
        }
        let Some(query) = quoted(query) else { return Ok(Vec::new()) };
        if max == 0 {
            return Ok(Vec::new());
        }
        let before = before.unwrap_or(u64::MAX);
        self.reading(|db| match room {
            Some(room) => self.search_room(db, room, &query, before, max, u64::MAX),
            None => {
                let mut hits: Vec<Hit> = Vec::new();
                let mut below = i64::MAX;
                // From the greatest room with a hit to the next below it.
                let mut greatest = db.prepare_cached(
                    "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid < ?2 ORDER BY rowid DESC LIMIT 1",
                )?;
                loop {
                    let found = greatest.query_row(params![query, below], |row| row.get::<_, i64>(0));
                    let Some(found) = found.optional()? else { break };
                    let room = RoomId(found as u64 >> POSITION_BITS);
                    below = key(room, 0);
                    hits.extend(self.search_room(db, room, &query, u64::MAX, max, before)?);
                }
                hits.sort_by_key(|hit| core::cmp::Reverse((hit.time_millis, hit.room, hit.position)));
                hits.truncate(max);
                Ok(hits)
            }
        })
    }

    /// Hits of one room, newest first, at positions before `before` and times before `before_millis`.
    fn search_room(
        &self,
        db: &Connection,
        room: RoomId,
        query: &str,
        before: u64,
        max: usize,
        before_millis: u64,
    ) -> rusqlite::Result<Vec<Hit>> {
        let mut select = db.prepare_cached(
            "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid >= ?2 AND rowid < ?3 ORDER BY rowid DESC",
        )?;
        let end =
            if before > POSITION_MAX { key(room, POSITION_MAX).saturating_add(1) } else { key(room, before) };
        let mut hits = Vec::new();
        let mut found = select.query(params![query, key(room, 0), end])?;
        while hits.len() < max {
            let Some(row) = found.next()? else { break };
            let position = row.get::<_, i64>(0)? as u64 & POSITION_MAX;
            // What was removed or damaged since is not found any more.
            if let Some((time_millis, frame)) = self.record(db, room, position)?
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
        db.execute_batch("CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0)").unwrap();
        db.execute("INSERT INTO words (rowid, text) VALUES (1, 'say \"hi\" AND go')", []).unwrap();
        let finds = |query: &str| {
            let Some(query) = quoted(query) else { return 0 };
            let count =
                db.query_row("SELECT count(*) FROM words WHERE words MATCH ?1", [query], |r| r.get(0));
            count.unwrap()
        };
        for hit in
            ["say", "HI", "\"hi\"", "and go", "  go\tsay ", "\"say", "say- go*", "say\0go", "hi!!! ..."]
        {
            assert_eq!(finds(hit), 1, "{hit:?}");
        }
        for miss in ["", "***", "\"", "text:", "NEAR(say go)", "go OR nothing", "-", "\0", "a'b--", "ho"] {
            assert_eq!(finds(miss), 0, "{miss:?}");
        }
    }

    #[test]
    fn keys_keep_rooms_apart() {
        assert!(key(RoomId(0), POSITION_MAX) < key(RoomId(1), 0));
        assert!(key(RoomId::MAX, POSITION_MAX) > 0);
    }
}
