//! The two files as one reads them.
//!
//! Blocks of older formats stand in the first file until they have been taken over. A block is gone there only after it
//! has come into the second: whoever looks into the first file before the second finds each.

use causerie_core::id::Position;
use rusqlite::{Connection, Transaction};

use super::rows::{self, BlockPlace};
use crate::change::RoomId;

/// A connection to each file.
#[derive(Debug)]
pub(super) struct Reader {
    /// The file that takes the commits.
    pub(super) db: Connection,
    pub(super) blocks: Connection,
    /// There may be blocks in the first file, too.
    pub(super) old: bool,
}

impl Reader {
    /// Keeps the blocks of the first file in view, whatever is taken over meanwhile.
    pub(super) fn keep_old(&self) -> rusqlite::Result<Option<Transaction<'_>>> {
        if !self.old {
            return Ok(None);
        }
        let snapshot = self.db.unchecked_transaction()?;
        // It begins with the first row that is read.
        self.db.query_row("SELECT EXISTS (SELECT 1 FROM place)", [], |_| Ok(()))?;
        Ok(Some(snapshot))
    }

    /// Returns the files that may have blocks, in the order in which they are to be looked at.
    pub(super) fn files(&self) -> impl Iterator<Item = &Connection> {
        self.old.then_some(&self.db).into_iter().chain([&self.blocks])
    }

    /// Returns the block that has `position`, or the last one before it, and the file that has it.
    pub(super) fn place_at(
        &self,
        room: RoomId,
        position: Position,
    ) -> rusqlite::Result<Option<(BlockPlace, &Connection)>> {
        let mut found: Option<(BlockPlace, &Connection)> = None;
        for db in self.files() {
            let place = rows::place_at(db, room, position)?;
            let later = |place: &BlockPlace| found.is_none_or(|(before, _)| place.first >= before.first);
            found = place.filter(later).map(|place| (place, db)).or(found);
        }
        Ok(found)
    }

    /// Returns the first block behind `position`, and the file that has it.
    pub(super) fn place_behind(
        &self,
        room: RoomId,
        position: Position,
    ) -> rusqlite::Result<Option<(BlockPlace, &Connection)>> {
        let mut found: Option<(BlockPlace, &Connection)> = None;
        for db in self.files() {
            let place = rows::place_behind(db, room, position)?;
            let earlier = |place: &BlockPlace| found.is_none_or(|(before, _)| place.first <= before.first);
            found = place.filter(earlier).map(|place| (place, db)).or(found);
        }
        Ok(found)
    }
}
