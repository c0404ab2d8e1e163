//! Blocks: runs of records that have been moved, with who has messages in them.

use bytes::Bytes;
use causerie_core::id::Position;
use cbcast::MemberId;
use rusqlite::{Connection, params};

use super::rows::{self, BlockPlace, int, member_key};
use super::texts;
use super::trouble::{Trouble, trouble};
use crate::change::RoomId;
use crate::run::{DirectoryEntry, RunDirectory, StoredRun, message_id};

/// Reads a block; `None` if it is damaged, or the database itself cannot read it.
pub(super) fn read_block(
    db: &Connection,
    room: RoomId,
    place: &BlockPlace,
) -> rusqlite::Result<Option<StoredRun>> {
    match rows::block(db, room, place) {
        Err(error) if trouble(&error) == Trouble::Damaged => Ok(None),
        other => other,
    }
}

/// A block in the making.
pub(super) struct BlockBuilder {
    room: RoomId,
    first: Position,
    entries: Vec<DirectoryEntry>,
    pub(super) frames: Vec<u8>,
}

impl BlockBuilder {
    pub(super) fn new(room: RoomId, first: Position) -> Self {
        Self { room, first, entries: Vec::new(), frames: Vec::new() }
    }

    pub(super) fn push(&mut self, entry: DirectoryEntry, frame: &[u8]) {
        self.entries.push(entry);
        self.frames.extend_from_slice(frame);
    }

    /// Writes the block, and begins the next one.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let next = Self::new(self.room, self.first + self.entries.len() as u64);
        let done = core::mem::replace(self, next);
        let directory = RunDirectory { room: done.room, first: done.first, entries: done.entries };
        put_block(db, &StoredRun { directory: directory.into(), frames: Bytes::from(done.frames) })
    }
}

/// Writes a block and the authors of its messages.
pub(super) fn put_block(db: &Connection, run: &StoredRun) -> rusqlite::Result<()> {
    rows::insert_block(db, run)?;
    let mut insert = db.prepare_cached("INSERT OR REPLACE INTO author VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let (room, block) = (int(run.directory.room.0), int(run.first().get()));
    for (member, first, last) in authors(run) {
        insert.execute(params![room, member_key(member), first, block, last])?;
    }
    Ok(())
}

/// Returns each author of a run once, with its first and last number, as they are stored.
fn authors(run: &StoredRun) -> Vec<(MemberId, i64, i64)> {
    let mut at = 0usize;
    let frames = run.directory.entries.iter().map(|entry| {
        let start = at;
        at = at.saturating_add(entry.length as usize);
        run.frames.get(start.min(run.frames.len())..at.min(run.frames.len()))
    });
    let ids = frames.filter_map(|frame| message_id(frame?));
    let mut all: Vec<_> = ids.map(|id| (id.member, id.seq)).collect();
    all.sort_unstable();
    let number = |seq: u64| int(seq.min(i64::MAX as u64));
    let each = all.chunk_by(|a, b| a.0 == b.0);
    each.map(|of| (of[0].0, number(of[0].1), number(of[of.len() - 1].1))).collect()
}

/// Cuts the blocks of a room off behind `last`.
pub(super) fn cut_blocks(db: &Connection, room: RoomId, last: Position) -> rusqlite::Result<()> {
    if rows::kept_from(db, room)?.is_some_and(|kept| kept > last + 1) {
        rows::keep_from(db, room, last + 1)?;
    }
    while let Some(place) = rows::place_at(db, room, Position::MAX)? {
        let run = read_block(db, room, &place)?.filter(|run| run.first() == place.first);
        let end = run.as_ref().map_or(place.last, StoredRun::last);
        if place.first <= last && (run.is_none() || end <= last) {
            break;
        }
        if let Some(run) = &run {
            match texts::unindex(db, run, last + 1..) {
                // It stays as it is, and is never shown.
                Err(error) if trouble(&error) == Trouble::Damaged => {}
                other => other?,
            }
        }
        delete_block(db, room, &place, run.as_ref())?;
        if let Some(run) = run.filter(|_| place.first <= last) {
            let mut block = BlockBuilder::new(room, place.first);
            for slot in run.slots().take_while(|slot| slot.position <= last) {
                let end = (slot.at + slot.entry.length as usize).min(run.frames.len());
                block.push(slot.entry, &run.frames[slot.at.min(end)..end]);
            }
            block.write(db)?;
        }
    }
    Ok(())
}

/// Deletes a block and all rows that point at it; `run` is its content, if that is readable.
pub(super) fn delete_block(
    db: &Connection,
    room: RoomId,
    place: &BlockPlace,
    run: Option<&StoredRun>,
) -> rusqlite::Result<()> {
    if let Some(run) = run {
        let mut delete = db.prepare_cached(
            "DELETE FROM author WHERE room = ?1 AND member = ?2 AND first_seq = ?3 AND block_first = ?4",
        )?;
        for (member, first, _) in authors(run) {
            delete.execute(params![int(room.0), member_key(member), first, int(place.first.get())])?;
        }
    }
    db.prepare_cached("DELETE FROM block WHERE id = ?1")?.execute([place.block])?;
    db.prepare_cached("DELETE FROM place WHERE room = ?1 AND first = ?2")?
        .execute(params![int(room.0), int(place.first.get())])?;
    Ok(())
}
