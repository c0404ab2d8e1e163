//! Copies of the databases.
//!
//! The file that takes the commits is copied first: what goes from it later has come into the blocks before,
//! and so into their copy. That may be ahead of the other, and is cut back to what that one knows.

use std::path::Path;

use rusqlite::{Connection, params};

use super::blocks::cut_blocks;
use super::folder::{self, BLOCKS, BLOCKS_PART, FILE, PART};
use super::{load, rows};
use crate::change::RoomId;

/// Error of a copy that could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the path is not Unicode")]
    Path,
}

/// Copies the databases as the connections see them into the folder `to`, in place of what is there.
/// `between` is called after the first file.
pub(super) fn copy(
    db: &Connection,
    blocks: Option<&Connection>,
    to: &Path,
    between: impl FnOnce(),
) -> Result<(), CopyError> {
    folder::make_private(to)?;
    // Where it is not ours to say who may look into it, the files in it are their owner's alone.
    let _ = folder::own(to);
    let (part, blocks_part) = (to.join(PART), to.join(BLOCKS_PART));
    let write = || {
        copy_file(db, &part)?;
        between();
        if let Some(blocks) = blocks {
            copy_file(blocks, &blocks_part)?;
            fit(db, &part, &blocks_part)?;
            name(&blocks_part, &to.join(BLOCKS))?;
        }
        // A folder without this one is no store.
        name(&part, &to.join(FILE))?;
        Ok(folder::sync_folder(to)?)
    };
    let written = write();
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
        let _ = std::fs::remove_file(&blocks_part);
    }
    written
}

fn copy_file(db: &Connection, part: &Path) -> Result<(), CopyError> {
    let name = part.to_str().ok_or(CopyError::Path)?;
    match std::fs::remove_file(part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => folder::make_private_file(part)?,
    }
    db.execute("VACUUM main INTO ?1", [name])?;
    Ok(())
}

/// Renames a copy, once it is whole and on the disk.
fn name(part: &Path, whole: &Path) -> Result<(), CopyError> {
    std::fs::File::options().write(true).open(part)?.sync_all()?;
    Ok(std::fs::rename(part, whole)?)
}

/// Makes copies of two moments one of the first, without the rooms that are gone by now in `db`: their blocks
/// may be, too.
fn fit(db: &Connection, part: &Path, blocks_part: &Path) -> rusqlite::Result<()> {
    let (mut copy, mut blocks) = (Connection::open(part)?, Connection::open(blocks_part)?);
    let Some(known) = load::known_ends(&copy)? else { return Ok(()) };
    let tx = copy.transaction()?;
    for &room in known.keys() {
        let is_there = "SELECT EXISTS (SELECT 1 FROM room WHERE id = ?1)";
        if !db.prepare_cached(is_there)?.query_row([rows::int(room.0)], |row| row.get::<_, bool>(0))? {
            rows::close_room(&tx, room)?;
        }
    }
    tx.commit()?;
    let tx = blocks.transaction()?;
    let rooms = "SELECT room FROM place UNION SELECT room FROM kept";
    let found: Vec<i64> = tx.prepare(rooms)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for room in found {
        let is_closing = "SELECT EXISTS (SELECT 1 FROM closing WHERE room = ?1)";
        if copy.prepare_cached(is_closing)?.query_row([room], |row| row.get::<_, bool>(0))? {
            continue;
        }
        let last = known.get(&RoomId(room as u64));
        cut_blocks(&tx, RoomId(room as u64), last.copied().unwrap_or_default())?;
        if last.is_none() {
            // Made later.
            tx.execute("DELETE FROM kept WHERE room = ?1", params![room])?;
        }
    }
    tx.commit()
}

#[cfg(test)]
mod tests {
    use super::super::{SqliteStore, schema};
    use super::*;
    use crate::{Change, Options, Retention, RoomRow, Store};
    use bytes::Bytes;
    use causerie_core::content::body::Body;
    use causerie_core::id::Position;
    use causerie_core::wire::Delivered;
    use cbcast::{Kind, MemberId, Message, MessageId};

    const A: RoomId = RoomId(0);
    const B: RoomId = RoomId(1);
    const C: RoomId = RoomId(2);
    const D: RoomId = RoomId(3);

    fn create(room: RoomId) -> Change {
        Change::Create { room, row: RoomRow { name: format!("{room}"), ..RoomRow::default() } }
    }

    fn append(room: RoomId, first: u64, last: u64) -> Change {
        let mut run = Vec::new();
        for position in first..=last {
            let id = MessageId::new(MemberId::new(0, 1), position);
            let said = Body::Text(format!("text n{position}")).encode();
            let packet = Message::new(id, Kind::Data, &[], &said).unwrap().into_packet();
            Delivered { position: Position::new(position), time_millis: 0, packet }.encode(&mut run);
        }
        Change::Append { room, first: Position::new(first), last: Position::new(last), run: Bytes::from(run) }
    }

    #[test]
    fn what_changes_between_the_files_is_in_neither_or_in_both() {
        let dir = tempfile::tempdir().unwrap();
        let (data, to) = (dir.path().join("data"), dir.path().join("copy"));
        let options = Options { background: false, ..Options::default() };
        let store = SqliteStore::open(&data, options.clone()).unwrap();
        store.commit([A, B, C].map(create).into()).unwrap();
        store.commit([A, B, C].map(|room| append(room, 1, 4_000)).into()).unwrap();
        store.tidy().unwrap();
        store.commit(vec![append(A, 4_001, 4_300)]).unwrap();
        let (db, blocks, _) = schema::beside(&data).unwrap();
        copy(&db, blocks.as_ref(), &to, || {
            // What the first copy has staged goes from the original, and into blocks with what comes behind
            // it.
            store.commit(vec![append(A, 4_301, 4_350), create(D), append(D, 1, 9)]).unwrap();
            store.tidy().unwrap();
            store.retain(B, Retention { count: Some(9), ..Retention::default() }, 0).unwrap();
            store.commit(vec![Change::Close { room: C }]).unwrap();
            store.tidy().unwrap();
        })
        .unwrap();
        let copy = SqliteStore::open(&to, options).unwrap();
        for _ in 0..2 {
            let report = copy.check();
            assert!(report.is_clean(), "{report:?}");
            let ends: Vec<_> =
                copy.rooms().unwrap().iter().map(|r| (r.room, r.first.get(), r.last.get())).collect();
            assert_eq!(
                ends,
                [(A, 1, 4_300), (B, 3_992, 4_000)],
                "as it was at the first copy, but for what has gone"
            );
            assert_eq!(report.records, 4_309);
            copy.tidy().unwrap();
            let found = |word: &str| copy.search(Some(A), word, None, 9).unwrap().hits.len();
            assert_eq!((found("n4300"), found("n4301")), (1, 0));
        }
        assert_eq!(
            copy.search(None, "n9", None, 999).unwrap().hits.iter().filter(|hit| hit.room == D).count(),
            0
        );
        copy.commit(vec![append(A, 4_301, 4_302), create(D)]).unwrap();
        copy.tidy().unwrap();
        assert_eq!(copy.search(Some(A), "n4301", None, 9).unwrap().hits.len(), 1);
        assert!(copy.check().is_clean());
    }
}
