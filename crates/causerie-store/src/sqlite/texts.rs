//! Texts of runs in the search index.

use std::ops::RangeBounds;

use causerie_core::content::body::Body;
use causerie_core::id::Position;
use rusqlite::{Connection, params};

use super::rows::int;
use crate::change::{POSITION_MAX, RoomId};
use crate::run::{StoredRun, message};
use crate::words;

const POSITION_BITS: u32 = POSITION_MAX.get().count_ones();

/// Returns the key of a text: rooms one after the other, positions ascending in each, so that a search in one
/// room is a range of keys.
pub(super) fn key(room: RoomId, position: Position) -> i64 {
    int(room.0 << POSITION_BITS | position.min(POSITION_MAX).get())
}

/// Returns the room of a key.
pub(super) const fn room_of(key: i64) -> RoomId {
    RoomId(key as u64 >> POSITION_BITS)
}

/// Calls `each` with the tokens of every text of a run's good records at these positions, and its key.
pub(super) fn for_texts(
    run: &StoredRun,
    positions: impl RangeBounds<Position>,
    mut each: impl FnMut(i64, &str) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut tokens = String::new();
    for slot in run.slots().filter(|s| s.good && positions.contains(&s.position)) {
        let Some(m) = message(&run.frame(&slot)).filter(|m| m.is_data()) else { continue };
        if let Some(text) = Body::decode(&m.payload()).text() {
            words::indexed(text, &mut tokens);
            each(key(run.directory.room, slot.position), &tokens)?;
        }
    }
    Ok(())
}

/// Takes texts of a run at these positions out of the index. Damaged ones stay in it, and are never shown.
pub(super) fn unindex(
    db: &Connection,
    run: &StoredRun,
    positions: impl RangeBounds<Position>,
) -> rusqlite::Result<()> {
    let mut delete = db.prepare_cached("INSERT INTO words (words, rowid, text) VALUES ('delete', ?1, ?2)")?;
    for_texts(run, positions, |key, text| delete.execute(params![key, text]).map(|_| ()))
}
