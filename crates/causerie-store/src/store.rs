//! The trait.

use std::path::Path;

use crate::change::{Change, MemberRow, RoomId};
use crate::error::{CommitError, StoreError};
use crate::page::{
    CheckReport, Found, MemberSelection, Removed, Retention, StoreStats, StoredPage, StoredRoom,
};
use causerie_core::id::Position;
use cbcast::MemberId;

/// A durable log per room, and what is kept beside it. The contract is told in the [crate's documentation](crate).
///
/// All methods block, and may be called from any thread. Costs are those of [`SqliteStore`](crate::SqliteStore).
pub trait Store: Send + Sync + core::fmt::Debug {
    /// Makes these changes durable: all or none, with one sync. An empty batch costs nothing.
    ///
    /// Cost: O(bytes of the batch) and one sync, whatever the number of rooms. Commits run one at a time.
    ///
    /// # Errors
    /// [`CommitError`] says what became of the batch, and whether the process must end.
    fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError>;

    /// All rooms, by id, with their last checkpoints. Cost: O(rooms and their checkpoints).
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Failed`]. One damaged row is reported and left out, no error.
    fn rooms(&self) -> Result<Vec<StoredRoom>, StoreError>;

    /// The first id that no room ever had. O(1).
    ///
    /// # Errors
    /// None of these; the signature leaves room for stores behind a network.
    fn next_room(&self) -> Result<RoomId, StoreError>;

    /// MemberSelection of a room, by id. Cost: O(log members + what is returned).
    ///
    /// # Errors
    /// [`StoreError`]. One damaged row is reported and left out, no error.
    fn members(&self, room: RoomId, which: MemberSelection<'_>) -> Result<Vec<MemberRow>, StoreError>;

    /// The records behind `after`: whole frames, `bytes_max` bytes at most, but one record at least.
    ///
    /// Ends before a stretch that cannot be read and names it in [`StoredPage::gap`]; goes on from
    /// [`StoredPage::next`]. A cursor at or beyond the last position reads an empty page. Cost: O(log room +
    /// bytes read), the same at every place of the log.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, room: RoomId, after: Position, bytes_max: usize) -> Result<StoredPage, StoreError>;

    /// The records just before `before`, in ascending order: `records_max` and `bytes_max` at most, but one
    /// record at least (none if `records_max` is 0).
    ///
    /// Begins behind a stretch that cannot be read and names it in [`StoredPage::gap`]; goes on from
    /// [`StoredPage::previous`]. `before` may lie beyond the end. Cost as [`read`](Self::read).
    ///
    /// # Errors
    /// [`StoreError`].
    fn read_before(
        &self,
        room: RoomId,
        before: Position,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<StoredPage, StoreError>;

    /// Positions of the readable messages of a member with numbers in `from_seq..=to_seq`, ascending, the first
    /// `max` of them. Cost: O(log blocks of the member + blocks read).
    ///
    /// Relies on what the log promises: a member's numbers grow with their positions.
    ///
    /// # Errors
    /// [`StoreError`].
    fn positions(
        &self,
        room: RoomId,
        member: MemberId,
        from_seq: u64,
        to_seq: u64,
        max: usize,
    ) -> Result<Vec<Position>, StoreError>;

    /// Positions of readable and kept records that are marked `name`, ascending, the first `max` of them behind `after`.
    /// Cost: O(log marks + what is returned).
    ///
    /// # Errors
    /// [`StoreError`]. One damaged row is reported and left out, no error.
    fn marked(
        &self,
        room: RoomId,
        name: &[u8],
        after: Position,
        max: usize,
    ) -> Result<Vec<Position>, StoreError>;

    /// Names from `from` to `to`, both included, that mark readable and kept records, with the positions: by name, of each
    /// name the last first, `max` at most. Cost: O(log marks + what is returned).
    ///
    /// # Errors
    /// [`StoreError`]. One damaged row is reported and left out, no error.
    fn marked_between(
        &self,
        room: RoomId,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<(Vec<u8>, Position)>, StoreError>;

    /// Texts in which every word of `query` occurs, newest first, `max` at most. A word of a query finds words that begin
    /// so, or, in scripts without spaces between words, any part of a sentence; what has no white space in it (`go-on`)
    /// has to stand together. Case, diacritics and width do not matter. A query without words finds nothing.
    ///
    /// In one room newest is by position, and `before` is a position (exclusive). In all rooms it is by the wall
    /// clock, and `before` is milliseconds (exclusive). Messages are found once they have been moved into their
    /// rooms' blocks, some seconds after the commit, or after [`tidy`](Self::tidy). Cost: O(hits read); in all
    /// rooms O(rooms with hits × `max`).
    ///
    /// # Errors
    /// [`StoreError::NoSearch`], [`StoreError::Query`], [`StoreError::SearchTooLong`], and the others.
    fn search(
        &self,
        room: Option<RoomId>,
        query: &str,
        before: Option<u64>,
        max: usize,
    ) -> Result<Found, StoreError>;

    /// Returns what [`retain`](Self::retain) would remove. Cost as there, without the removing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn excess(&self, room: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError>;

    /// Counts records with times before this one as if they were of this time, from now on, where it is asked how old they
    /// are: the clock was wrong when they were stored. 0 believes all times.
    ///
    /// # Errors
    /// [`StoreError`].
    fn count_ages_from(&self, millis: u64) -> Result<(), StoreError>;

    /// Returns what [`count_ages_from`](Self::count_ages_from) has set last.
    fn ages_from(&self) -> u64;

    /// Removes what is beyond the limits, oldest first. It is unreadable at once; the space is freed in bounded
    /// steps between commits, by whole blocks: up to a block's worth of removed records may still be on the disk.
    ///
    /// Cost: O(what is removed), and with `bytes` O(blocks of the room).
    ///
    /// # Errors
    /// [`StoreError`]; what was removed up to there is removed.
    fn retain(&self, room: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError>;

    /// Does now what is done behind the scenes: moves staged records into their rooms' blocks, removes closed
    /// rooms, gives back free space. Commits may go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]; the work is taken up again later.
    fn tidy(&self) -> Result<(), StoreError>;

    /// Reads everything and compares every checksum. Cost: O(store); commits and reads go on meanwhile.
    fn check(&self) -> CheckReport;

    /// Numbers. O(rooms).
    fn stats(&self) -> StoreStats;

    /// A consistent copy of everything committed so far, into the new folder `to`. Cost: O(store); commits and
    /// reads go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Backup`] if there is something at `to`, or it cannot be written; and the others.
    fn backup(&self, to: &Path) -> Result<(), StoreError>;

    /// Ends: later calls fail. What is kept in files is whole in the databases alone then, with nothing left
    /// beside them.
    ///
    /// # Errors
    /// [`StoreError`]: something stays in a log beside a database, as after a kill. Nothing is lost.
    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
