//! Rows as they are written down, each with its checksum.
//!
//! SQLite's integers are signed: what may use all 64 bits is stored with the same bits.

use bytes::Bytes;
use causerie_core::id::{Epoch, Position};
use cbcast::MemberId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::change::{MemberRow, RoomId, RoomRow, StoredSecrets};
use crate::run::{RunDirectory, StoredRun};

pub(super) const fn int(n: u64) -> i64 {
    n as i64
}

pub(super) fn member_key(member: MemberId) -> i64 {
    int(u64::from(member.origin) << 32 | u64::from(member.ordinal))
}

fn member_of(key: i64) -> MemberId {
    MemberId::new((key as u64 >> 32) as u32, key as u32)
}

/// A checksum over fields; each is closed by its length, so that nothing moves from one to the next.
#[derive(Default)]
struct Sum(u32);

impl Sum {
    fn bytes(self, bytes: &[u8]) -> Self {
        let sum = crc32c::crc32c_append(self.0, bytes);
        Self(crc32c::crc32c_append(sum, &(bytes.len() as u64).to_le_bytes()))
    }

    fn int(self, n: i64) -> Self {
        self.bytes(&n.to_le_bytes())
    }

    fn option(self, n: Option<i64>) -> Self {
        n.map_or_else(|| Self(self.0).bytes(&[]), |n| Self(self.0).int(n))
    }
}

// Rooms.

fn room_crc(room: RoomId, row: &RoomRow) -> u32 {
    let sum = Sum::default().int(int(room.0)).bytes(row.name.as_bytes()).bytes(row.creator.as_bytes());
    let sum = sum.option(row.port.map(i64::from)).int(int(row.epoch.number())).int(int(row.created_millis));
    // Rows of older formats have the sum that they had.
    match (row.maker, row.closed_millis) {
        (None, None) => sum.0,
        (maker, closed) => sum.bytes(maker.as_ref().map_or(&[], |key| key)).option(closed.map(int)).0,
    }
}

pub(super) fn put_room(db: &Connection, room: RoomId, row: &RoomRow) -> rusqlite::Result<()> {
    let mut insert =
        db.prepare_cached("INSERT OR REPLACE INTO room VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    insert.execute(params![
        int(room.0),
        row.name,
        row.port,
        row.creator,
        int(row.epoch.number()),
        int(row.created_millis),
        room_crc(room, row),
        row.maker,
        row.closed_millis.map(int)
    ])?;
    Ok(())
}

/// Marks a room as gone: what is left of it goes bit by bit.
pub(super) fn close_room(db: &Connection, room: RoomId) -> rusqlite::Result<()> {
    let room = int(room.0);
    db.prepare_cached("DELETE FROM room WHERE id = ?1")?.execute([room])?;
    db.prepare_cached("DELETE FROM checkpoint WHERE room = ?1")?.execute([room])?;
    db.prepare_cached("INSERT OR REPLACE INTO closing VALUES (?1)")?.execute([room])?;
    Ok(())
}

/// Returns all rooms' ids, and their rows unless they are damaged.
pub(super) fn rooms(db: &Connection) -> rusqlite::Result<Vec<(RoomId, Option<RoomRow>)>> {
    let mut select = db.prepare(
        "SELECT id, name, port, creator, epoch, created, crc, maker, closed FROM room ORDER BY id",
    )?;
    let read = |row: &Row<'_>| {
        let id = RoomId(row.get::<_, i64>(0)? as u64);
        // A damaged row may have other types than ours.
        let fields = || -> rusqlite::Result<(RoomRow, u32)> {
            let kept = RoomRow {
                name: row.get(1)?,
                port: row.get(2)?,
                creator: row.get(3)?,
                epoch: Epoch::new(row.get::<_, i64>(4)? as u64),
                created_millis: row.get::<_, i64>(5)? as u64,
                maker: row.get(7)?,
                closed_millis: row.get::<_, Option<i64>>(8)?.map(|n| n as u64),
            };
            Ok((kept, row.get(6)?))
        };
        let kept = fields().ok().filter(|(kept, crc)| room_crc(id, kept) == *crc);
        Ok((id, kept.map(|(kept, _)| kept)))
    };
    select.query_map([], read)?.collect()
}

// What stands once for a store.

pub(super) fn meta(db: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    let mut select = db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    select.query_row([key], |row| row.get(0)).optional()
}

pub(super) fn put_meta(db: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute(params![key, value])?;
    Ok(())
}

// How far a room has come, where its staging rows do not tell any more.

/// Returns the last position moved, as noted of a room: 0 if none of its rows were deleted; `None` if that is
/// damaged.
pub(super) fn moved(db: &Connection, room: RoomId) -> rusqlite::Result<Option<Position>> {
    let mut select = db.prepare_cached("SELECT last, crc FROM moved WHERE room = ?1")?;
    let read = |row: &Row<'_>| {
        let last = Position::new(row.get::<_, i64>(0).unwrap_or(0) as u64);
        Ok((kept_crc(room, last) == row.get(1).unwrap_or(0)).then_some(last))
    };
    Ok(select.query_row([int(room.0)], read).optional()?.unwrap_or(Some(Position::START)))
}

/// Notes the last position moved of a room, before its rows or blocks are deleted.
pub(super) fn raise_moved(db: &Connection, room: RoomId, last: Position) -> rusqlite::Result<()> {
    if moved(db, room)?.is_some_and(|known| known >= last) {
        return Ok(());
    }
    let mut replace = db.prepare_cached("INSERT OR REPLACE INTO moved VALUES (?1, ?2, ?3)")?;
    replace.execute(params![int(room.0), int(last.get()), kept_crc(room, last)])?;
    Ok(())
}

// The first position kept.

fn kept_crc(room: RoomId, first: Position) -> u32 {
    Sum::default().int(int(room.0)).int(int(first.get())).0
}

pub(super) fn keep_from(db: &Connection, room: RoomId, first: Position) -> rusqlite::Result<()> {
    let mut replace = db.prepare_cached("INSERT OR REPLACE INTO kept VALUES (?1, ?2, ?3)")?;
    replace.execute(params![int(room.0), int(first.get()), kept_crc(room, first)])?;
    Ok(())
}

/// Returns the first position that a room keeps: 1 if nothing was ever removed; `None` if that is damaged.
pub(super) fn kept_from(db: &Connection, room: RoomId) -> rusqlite::Result<Option<Position>> {
    let mut select = db.prepare_cached("SELECT first, crc FROM kept WHERE room = ?1")?;
    let read = |row: &Row<'_>| {
        let first = Position::new(row.get::<_, i64>(0).unwrap_or(0) as u64);
        Ok((kept_crc(room, first) == row.get(1).unwrap_or(0)).then_some(first))
    };
    Ok(select.query_row([int(room.0)], read).optional()?.unwrap_or(Some(Position::FIRST)))
}

// Members.

/// The columns `token`, `nonce` and `hosted`. A public key stands in the first, without a nonce.
type SecretColumns = (Option<[u8; 32]>, Option<[u8; 32]>, bool);

fn secret_columns(secrets: Option<StoredSecrets>) -> SecretColumns {
    match secrets {
        None => (None, None, false),
        Some(StoredSecrets::Key(key)) => (Some(key), None, false),
        Some(StoredSecrets::Bearer { token, nonce }) => (Some(token), Some(nonce), true),
    }
}

fn member_crc(room: RoomId, row: &MemberRow, (token, nonce, hosted): &SecretColumns) -> u32 {
    let sum = Sum::default().int(int(room.0)).int(member_key(row.member)).bytes(row.name.as_bytes());
    let sum =
        sum.int(int(row.joined_at.get())).option(row.left_at.map(|at| int(at.get()))).int(int(row.taken));
    let sum =
        [token, nonce].into_iter().fold(sum, |sum, secret| sum.bytes(secret.as_ref().map_or(&[], |s| s)));
    // Rows of older formats have the sum that they had.
    if *hosted { sum.int(1).0 } else { sum.0 }
}

pub(super) fn put_member(db: &Connection, room: RoomId, row: &MemberRow) -> rusqlite::Result<()> {
    let mut replace =
        db.prepare_cached("INSERT OR REPLACE INTO member VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    let columns = secret_columns(row.secrets);
    replace.execute(params![
        int(room.0),
        member_key(row.member),
        row.name,
        int(row.joined_at.get()),
        row.left_at.map(|at| int(at.get())),
        int(row.taken),
        columns.0,
        columns.1,
        member_crc(room, row, &columns),
        columns.2
    ])?;
    Ok(())
}

/// Reads a row of all columns of `member` behind the room. `Err`: whose it was, and it is damaged.
pub(super) fn member(room: RoomId, row: &Row<'_>) -> rusqlite::Result<Result<MemberRow, MemberId>> {
    let id = member_of(row.get(0)?);
    let fields = || -> rusqlite::Result<(MemberRow, u32, u32)> {
        let columns: SecretColumns = (row.get(5)?, row.get(6)?, row.get(8)?);
        let secrets = match columns {
            (Some(key), None, false) => Some(StoredSecrets::Key(key)),
            (Some(token), Some(nonce), true) => Some(StoredSecrets::Bearer { token, nonce }),
            // Also of members that stamp their own messages and had tokens, before there were keys: nobody resumes with
            // these any more.
            _ => None,
        };
        let kept = MemberRow {
            member: id,
            name: row.get(1)?,
            joined_at: Position::new(row.get::<_, i64>(2)? as u64),
            left_at: row.get::<_, Option<i64>>(3)?.map(|n| Position::new(n as u64)),
            taken: row.get::<_, i64>(4)? as u64,
            secrets,
        };
        let sum = member_crc(room, &kept, &columns);
        Ok((kept, sum, row.get(7)?))
    };
    let kept = fields().ok().filter(|(_, sum, crc)| sum == crc);
    Ok(kept.map(|(kept, ..)| kept).ok_or(id))
}

// Checkpoints.

fn checkpoint_crc(room: RoomId, position: Position, state: &[u8]) -> u32 {
    Sum::default().int(int(room.0)).int(int(position.get())).bytes(state).0
}

pub(super) fn put_checkpoint(
    db: &Connection,
    room: RoomId,
    position: Position,
    state: &[u8],
) -> rusqlite::Result<()> {
    let mut replace = db.prepare_cached("INSERT OR REPLACE INTO checkpoint VALUES (?1, ?2, ?3, ?4)")?;
    replace.execute(params![
        int(room.0),
        int(position.get()),
        checkpoint_crc(room, position, state),
        state
    ])?;
    Ok(())
}

/// Returns a room's checkpoint; `None` if there is none, `Some(None)` if it is damaged.
pub(super) fn checkpoint(
    db: &Connection,
    room: RoomId,
) -> rusqlite::Result<Option<Option<(Position, Bytes)>>> {
    let mut select = db.prepare_cached("SELECT position, crc, state FROM checkpoint WHERE room = ?1")?;
    let read = |row: &Row<'_>| {
        let fields = || -> rusqlite::Result<(Position, u32, Vec<u8>)> {
            Ok((Position::new(row.get::<_, i64>(0)? as u64), row.get(1)?, row.get(2)?))
        };
        let kept =
            fields().ok().filter(|(position, crc, state)| checkpoint_crc(room, *position, state) == *crc);
        Ok(kept.map(|(position, _, state)| (position, Bytes::from(state))))
    };
    select.query_row([int(room.0)], read).optional()
}

// Marks.

fn mark_crc(room: RoomId, name: &[u8], position: i64) -> u32 {
    Sum::default().int(int(room.0)).bytes(name).int(position).0
}

pub(super) fn put_mark(
    db: &Connection,
    room: RoomId,
    name: &[u8],
    position: Position,
) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT OR REPLACE INTO mark VALUES (?1, ?2, ?3, ?4)")?;
    let position = int(position.get());
    insert.execute(params![int(room.0), name, position, mark_crc(room, name, position)])?;
    Ok(())
}

/// Reads a row of `position, crc` of `mark`. `Err`: it is damaged.
pub(super) fn mark(room: RoomId, name: &[u8], row: &Row<'_>) -> rusqlite::Result<Result<Position, Position>> {
    let position: i64 = row.get(0)?;
    let good = row.get(1).unwrap_or(0) == mark_crc(room, name, position);
    Ok(if good { Ok(Position::new(position as u64)) } else { Err(Position::new(position as u64)) })
}

/// Removes some of the marks of positions before `first`. Returns whether there were any.
pub(super) fn delete_marks(db: &Connection, room: RoomId, first: Position) -> rusqlite::Result<bool> {
    let mut delete = db.prepare_cached(
        "DELETE FROM mark WHERE room = ?1 AND position IN
         (SELECT position FROM mark WHERE room = ?1 AND position < ?2 ORDER BY position LIMIT 500)",
    )?;
    Ok(delete.execute(params![int(room.0), int(first.get().min(i64::MAX as u64))])? > 0)
}

// Staging rows.

/// Writes a staging row: the directories of its runs, and then their frames in the same order.
///
/// `head` = { length directory }*, each directory with its own checksum; the row's checksum is of the head.
pub(super) fn put_staging(
    db: &Connection,
    id: i64,
    runs: &[RunDirectory],
    frames: &[u8],
) -> rusqlite::Result<u64> {
    let mut head = Vec::new();
    let mut one = Vec::new();
    for directory in runs {
        one.clear();
        directory.encode(&mut one);
        cbcast::wire::put_varint(&mut head, one.len() as u64);
        head.extend_from_slice(&one);
    }
    let crc = Sum::default().int(id).bytes(&head).int(frames.len() as i64).0;
    db.prepare_cached("INSERT INTO staging VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, crc, head, frames])?;
    Ok((head.len() + frames.len()) as u64)
}

/// A staging row read back.
pub(super) struct StagingRow {
    pub(super) id: i64,
    pub(super) bytes: u64,
    /// The runs whose directories are good; their frames may not be.
    pub(super) runs: Vec<StoredRun>,
    /// The row's head is as it was written: if not, there may have been more runs.
    pub(super) whole: bool,
}

pub(super) fn staging(row: &Row<'_>) -> rusqlite::Result<StagingRow> {
    let id = row.get(0)?;
    let crc: Option<u32> = row.get(1).ok();
    let head: Vec<u8> = row.get(2).unwrap_or_default();
    let frames: Bytes = row.get::<_, Vec<u8>>(3).unwrap_or_default().into();
    let bytes = (head.len() + frames.len()) as u64;
    let whole = crc == Some(Sum::default().int(id).bytes(&head).int(frames.len() as i64).0);
    let mut runs = Vec::new();
    let mut reader = cbcast::wire::Reader::new(&head);
    let mut at = 0usize;
    // Behind a directory that cannot be read, nobody knows where the next one's frames begin.
    while let Some(directory) = reader.prefixed().ok().and_then(RunDirectory::decode) {
        let end = at.saturating_add(directory.bytes()).min(frames.len());
        runs.push(StoredRun { directory: directory.into(), frames: frames.slice(at.min(end)..end) });
        at = end;
    }
    Ok(StagingRow { id, bytes, runs, whole })
}

// Blocks.

/// Place of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockPlace {
    pub(super) first: Position,
    pub(super) last: Position,
    pub(super) bytes: u64,
    pub(super) block: i64,
    /// This row is as it was written.
    pub(super) good: bool,
}

fn place_crc(room: RoomId, first: i64, last: i64, bytes: i64, block: i64) -> u32 {
    Sum::default().int(int(room.0)).int(first).int(last).int(bytes).int(block).0
}

pub(super) fn place(room: RoomId, row: &Row<'_>) -> rusqlite::Result<BlockPlace> {
    let get = |n| row.get::<_, i64>(n).unwrap_or(0);
    let (first, last, bytes, block) = (get(0), get(1), get(2), get(3));
    let good = row.get(4).unwrap_or(0) == place_crc(room, first, last, bytes, block);
    let (first, last, bytes) = (Position::new(first as u64), Position::new(last as u64), bytes as u64);
    Ok(BlockPlace { first, last, bytes, block, good })
}

/// Returns the block that has `position`, or the last one before it.
pub(super) fn place_at(
    db: &Connection,
    room: RoomId,
    position: Position,
) -> rusqlite::Result<Option<BlockPlace>> {
    let mut select = db.prepare_cached(
        "SELECT first, last, bytes, block, crc FROM place WHERE room = ?1 AND first <= ?2
         ORDER BY first DESC LIMIT 1",
    )?;
    let position = position.get().min(i64::MAX as u64);
    select.query_row([int(room.0), int(position)], |row| place(room, row)).optional()
}

/// Returns the first block behind `position`.
pub(super) fn place_behind(
    db: &Connection,
    room: RoomId,
    position: Position,
) -> rusqlite::Result<Option<BlockPlace>> {
    let mut select = db.prepare_cached(
        "SELECT first, last, bytes, block, crc FROM place WHERE room = ?1 AND first > ?2
         ORDER BY first LIMIT 1",
    )?;
    let position = position.get().min(i64::MAX as u64);
    select.query_row([int(room.0), int(position)], |row| place(room, row)).optional()
}

/// Writes a block and where it is. Returns the bytes written.
pub(super) fn insert_block(db: &Connection, run: &StoredRun) -> rusqlite::Result<u64> {
    let mut directory = Vec::new();
    run.directory.encode(&mut directory);
    let frames: &[u8] = &run.frames;
    db.prepare_cached("INSERT INTO block (directory, frames) VALUES (?1, ?2)")?
        .execute(params![directory, frames])?;
    let block = db.last_insert_rowid();
    let room = run.directory.room;
    let (first, last, bytes) = (int(run.first().get()), int(run.last().get()), frames.len() as i64);
    let crc = place_crc(room, first, last, bytes, block);
    db.prepare_cached("INSERT INTO place VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        int(room.0),
        first,
        last,
        bytes,
        block,
        crc
    ])?;
    Ok((directory.len() + frames.len()) as u64)
}

/// Returns a block; `None` if its directory is gone, damaged, or another's.
pub(super) fn block(
    db: &Connection,
    room: RoomId,
    place: &BlockPlace,
) -> rusqlite::Result<Option<StoredRun>> {
    let mut select = db.prepare_cached("SELECT directory, frames FROM block WHERE id = ?1")?;
    let read = |row: &Row<'_>| {
        let directory: Vec<u8> = row.get(0).unwrap_or_default();
        let Some(directory) = RunDirectory::decode(&directory).filter(|d| d.room == room) else {
            return Ok(None);
        };
        let frames: Vec<u8> = row.get(1).unwrap_or_default();
        Ok(Some(StoredRun { directory: directory.into(), frames: frames.into() }))
    };
    Ok(select.query_row([place.block], read).optional()?.flatten())
}

/// Returns a block's directory alone: less to read where only times and lengths matter.
pub(super) fn directory(
    db: &Connection,
    room: RoomId,
    place: &BlockPlace,
) -> rusqlite::Result<Option<RunDirectory>> {
    let mut select = db.prepare_cached("SELECT directory FROM block WHERE id = ?1")?;
    let read = |row: &Row<'_>| Ok(RunDirectory::decode(&row.get::<_, Vec<u8>>(0).unwrap_or_default()));
    let found = select.query_row([place.block], read).optional()?.flatten();
    Ok(found.filter(|d| d.room == room))
}
