//! Opening: the state in memory, read from the tables.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use causerie_core::id::Position;
use rusqlite::Connection;

use super::reader::Reader;
use super::rows::{self, BlockPlace};
use super::state::{RoomState, StoreState};
use crate::change::RoomId;

/// Damage that opening found. Everything in it was reported by [`tracing`], too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovery {
    /// Staged batches that were read back.
    pub batches: u64,
    /// Staged batches with a damaged head: their records are known in part only.
    pub batches_damaged: u64,
    /// Records of staged batches that are damaged: gaps now.
    pub records_damaged: u64,
    /// Rooms that may have had records in a batch whose head is damaged, with nothing behind it that shows how many:
    /// [`StoredRoom::cut`](crate::StoredRoom::cut).
    pub rooms_cut: Vec<RoomId>,
    /// Rooms whose row is damaged: left out of [`Store::rooms`](crate::Store::rooms).
    pub rooms_damaged: Vec<RoomId>,
}

/// Reads from the tables what is kept in memory.
pub(super) fn load(reader: &Reader) -> rusqlite::Result<(StoreState, Recovery)> {
    let db = &reader.db;
    let mut state = StoreState::default();
    let mut recovery = Recovery::default();
    state.next_room = rows::meta(db, "next_room")?.unwrap_or(0) as u64;
    state.ages_from = rows::meta(db, "ages_from")?.unwrap_or(0) as u64;
    let old: bool = db.query_row("SELECT EXISTS (SELECT 1 FROM place)", [], |row| row.get(0))?;
    state.old_before = old.then_some((i64::MAX, i64::MAX));
    for (room, row) in rows::rooms(db)? {
        if row.is_none() {
            tracing::error!(room = room.0, "the room's row is damaged: the room is left out");
            recovery.rooms_damaged.push(room);
        }
        let kept = match rows::kept_from(&reader.blocks, room)? {
            Some(first) => first.max(Position::FIRST),
            None => reader
                .place_behind(room, Position::START)?
                .map_or(Position::FIRST, |(place, _)| place.first.max(Position::FIRST)),
        };
        let end = reader
            .files()
            .try_fold(Position::START, |end, db| last_block_end(db, room).map(|last| last.max(end)))?;
        let moved = end.max(kept - 1);
        state.next_room = state.next_room.max(room.0 + 1);
        state.rooms.insert(room, RoomState { first: kept, moved, last: moved, ..RoomState::EMPTY });
    }
    let mut closing = db.prepare("SELECT room FROM closing")?;
    for room in closing.query_map([], |row| row.get::<_, i64>(0))? {
        let room = RoomId(room? as u64);
        state.next_room = state.next_room.max(room.0 + 1);
        state.closing.insert(room);
    }
    load_staging(db, &mut state, &mut recovery)?;
    let mut cut = db.prepare("SELECT room FROM cut")?;
    for room in cut.query_map([], |row| row.get::<_, i64>(0))? {
        if let Some(room) = state.rooms.get_mut(&RoomId(room? as u64)) {
            room.cut = true;
        }
    }
    for (&room, ends) in &mut state.rooms {
        // What a checkpoint says was there, was there, and what the deleted rows had.
        let checkpoint =
            rows::checkpoint(db, room)?.flatten().map_or(Position::START, |(position, _)| position);
        let position = checkpoint.max(rows::moved(db, room)?.unwrap_or_default());
        if position > ends.last {
            tracing::error!(
                room = room.0,
                first = (ends.last + 1).get(),
                last = position.get(),
                "records are lost"
            );
            recovery.records_damaged += position - ends.last;
            ends.last = position;
        }
        if ends.cut {
            tracing::error!(room = room.0, last = ends.last.get(), "what was stored last may be lost");
            recovery.rooms_cut.push(room);
        }
    }
    recovery.rooms_cut.sort_unstable();
    state.next_row = state.rows.last_key_value().map_or(1, |(&row, _)| row + 1);
    state.waiting_since = (!state.rows.is_empty()).then(Instant::now);
    Ok((state, recovery))
}

/// Returns the end of each room, as far as the file that takes the commits tells; `None` if a damaged batch
/// hides it.
pub(super) fn known_ends(db: &Connection) -> rusqlite::Result<Option<HashMap<RoomId, Position>>> {
    let mut known = HashMap::new();
    for (room, _) in rows::rooms(db)? {
        let Some(moved) = rows::moved(db, room)? else { return Ok(None) };
        let checkpoint =
            rows::checkpoint(db, room)?.flatten().map_or(Position::START, |(position, _)| position);
        known.insert(room, moved.max(checkpoint).max(last_block_end(db, room)?));
    }
    let mut select = db.prepare("SELECT id, crc, head, frames FROM staging")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let row = rows::staging(row)?;
        if !row.whole {
            return Ok(None);
        }
        for run in row.runs {
            known.entry(run.directory.room).and_modify(|last| *last = run.last().max(*last));
        }
    }
    Ok(Some(known))
}

/// Notes the rooms that may have lost their end, before anything else can take the damaged batches away.
pub(super) fn note_cuts(db: &mut Connection, state: &StoreState) -> rusqlite::Result<()> {
    let cut: Vec<_> = state.rooms.iter().filter(|(_, ends)| ends.cut).collect();
    if cut.is_empty() {
        return Ok(());
    }
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for (room, ends) in cut {
        tx.prepare_cached("INSERT OR REPLACE INTO cut VALUES (?1)")?.execute([rows::int(room.0)])?;
        // The positions of what was cut are given out again.
        tx.prepare_cached("DELETE FROM mark WHERE room = ?1 AND position > ?2")?
            .execute([rows::int(room.0), rows::int(ends.last.get())])?;
    }
    tx.commit()
}

fn load_staging(db: &Connection, state: &mut StoreState, recovery: &mut Recovery) -> rusqlite::Result<()> {
    let mut select = db.prepare("SELECT id, crc, head, frames FROM staging ORDER BY id")?;
    let mut rows = select.query([])?;
    // Rooms that have something behind the last damaged batch, which shows what is missing.
    let mut known = HashSet::new();
    while let Some(row) = rows.next()? {
        let row = rows::staging(row)?;
        recovery.batches += 1;
        state.rows.insert(row.id, row.bytes);
        let lost = |slot: &crate::run::RecordSlot| !slot.good;
        if !row.whole {
            known.clear();
            recovery.batches_damaged += 1;
            tracing::error!(
                batch = row.id,
                bytes = row.bytes,
                runs = row.runs.len(),
                "a staged batch is damaged"
            );
        }
        for run in row.runs {
            let room = run.directory.room;
            if row.whole {
                known.insert(room);
            }
            let Some(ends) = state.rooms.get(&room) else { continue };
            // Also of what was moved it has to be noted how far the room has come, before the row goes.
            state.waiting.insert(room);
            if run.last() <= ends.moved || run.last() <= ends.last || run.directory.entries.is_empty() {
                continue;
            }
            let damaged = run.slots().filter(lost).count() as u64;
            if damaged > 0 {
                tracing::error!(
                    room = room.0,
                    first = run.first().get(),
                    records = damaged,
                    "staged records are damaged"
                );
                recovery.records_damaged += damaged;
            }
            state.stage(room, row.id, run);
        }
    }
    if recovery.batches_damaged > 0 {
        for (_, ends) in state.rooms.iter_mut().filter(|(room, _)| !known.contains(room)) {
            ends.cut = true;
        }
    }
    Ok(())
}

/// Returns the last position of the blocks that a file has of a room; 0 if it has none.
fn last_block_end(db: &Connection, room: RoomId) -> rusqlite::Result<Position> {
    match rows::place_at(db, room, Position::MAX)? {
        Some(place) if place.good => Ok(place.last),
        Some(place) => true_last(db, room, &place),
        None => Ok(Position::START),
    }
}

/// Returns the last position of a block whose place is damaged.
fn true_last(db: &Connection, room: RoomId, place: &BlockPlace) -> rusqlite::Result<Position> {
    tracing::error!(
        room = room.0,
        first = place.first.get(),
        "the place of the room's last block is damaged"
    );
    let known = rows::directory(db, room, place)?.map(|d| d.last());
    // Too great costs a gap; too small would give positions twice.
    Ok(known.unwrap_or(place.last.min(Position::new(crate::change::POSITION_MAX.get() / 2)).max(place.first)))
}
