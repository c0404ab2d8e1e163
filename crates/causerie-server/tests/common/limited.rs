//! A store in memory that is full, or waits, when a test says so.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use causerie_core::id::Position;
use causerie_store::{
    Change, CheckReport, CommitError, DatabaseError, Found, MemberRow, MemberSelection, MemoryStore, Removed,
    Retention, RoomId, Store, StoreError, StoreStats, StoredPage, StoredRoom,
};
use cbcast::MemberId;

use super::within;

/// A store on a disk that is full at times.
#[derive(Debug, Default)]
pub(crate) struct Limited {
    inner: MemoryStore,
    is_full: AtomicBool,
    refused: AtomicU64,
    gate: Mutex<Gate>,
    moved: Condvar,
    reads: Mutex<Reads>,
    read_on: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    /// A commit stands before it.
    waits: bool,
}

#[derive(Debug, Default)]
struct Reads {
    held: bool,
    waiting: usize,
}

pub(crate) struct HeldReads<'a>(&'a Limited);

impl Drop for HeldReads<'_> {
    fn drop(&mut self) {
        self.0.reads.lock().unwrap().held = false;
        self.0.read_on.notify_all();
    }
}

impl Limited {
    pub(crate) fn fill(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    pub(crate) fn make_room(&self) {
        self.is_full.store(false, Ordering::Relaxed);
    }

    /// Commits that found no room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The next commit waits until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.gate.lock().unwrap().closed = true;
    }

    pub(crate) fn release(&self) {
        self.gate.lock().unwrap().closed = false;
        self.moved.notify_all();
    }

    /// Reads from the beginning of a log wait until what is returned is dropped: also where a test fails.
    pub(crate) fn hold_reads(&self) -> HeldReads<'_> {
        self.reads.lock().unwrap().held = true;
        HeldReads(self)
    }

    /// Until so many reads are held.
    pub(crate) async fn holds_reads(&self, count: usize) {
        within("reads", async {
            while self.reads.lock().unwrap().waiting < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// Until a commit is held.
    pub(crate) async fn holds(&self) {
        within("a commit", async {
            while !self.gate.lock().unwrap().waits {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

impl Store for Limited {
    fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let mut gate = self.gate.lock().unwrap();
        gate.waits = gate.closed;
        drop(self.moved.wait_while(gate, |gate| gate.closed).unwrap());
        if self.is_full.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let message = "database or disk is full".into();
            return Err(CommitError::Full(DatabaseError { code: 13, message }));
        }
        self.inner.commit(changes)
    }

    fn rooms(&self) -> Result<Vec<StoredRoom>, StoreError> {
        self.inner.rooms()
    }

    fn next_room(&self) -> Result<RoomId, StoreError> {
        self.inner.next_room()
    }

    fn members(&self, room: RoomId, which: MemberSelection<'_>) -> Result<Vec<MemberRow>, StoreError> {
        self.inner.members(room, which)
    }

    fn read(&self, room: RoomId, after: Position, bytes_max: usize) -> Result<StoredPage, StoreError> {
        let mut reads = self.reads.lock().unwrap();
        reads.waiting += 1;
        reads = self.read_on.wait_while(reads, |reads| reads.held && after == Position::START).unwrap();
        reads.waiting -= 1;
        drop(reads);
        self.inner.read(room, after, bytes_max)
    }

    fn read_before(
        &self,
        room: RoomId,
        before: Position,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<StoredPage, StoreError> {
        self.inner.read_before(room, before, records_max, bytes_max)
    }

    fn positions(
        &self,
        room: RoomId,
        member: MemberId,
        from_seq: u64,
        to_seq: u64,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        self.inner.positions(room, member, from_seq, to_seq, max)
    }

    fn marked(
        &self,
        room: RoomId,
        name: &[u8],
        after: Position,
        max: usize,
    ) -> Result<Vec<Position>, StoreError> {
        self.inner.marked(room, name, after, max)
    }

    fn marked_between(
        &self,
        room: RoomId,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<(Vec<u8>, Position)>, StoreError> {
        self.inner.marked_between(room, from, to, max)
    }

    fn search(
        &self,
        room: Option<RoomId>,
        query: &str,
        before: Option<u64>,
        max: usize,
    ) -> Result<Found, StoreError> {
        self.inner.search(room, query, before, max)
    }

    fn excess(&self, room: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError> {
        self.inner.excess(room, keep, now_millis)
    }

    fn count_ages_from(&self, millis: u64) -> Result<(), StoreError> {
        self.inner.count_ages_from(millis)
    }

    fn ages_from(&self) -> u64 {
        self.inner.ages_from()
    }

    fn retain(&self, room: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError> {
        self.inner.retain(room, keep, now_millis)
    }

    fn tidy(&self) -> Result<(), StoreError> {
        self.inner.tidy()
    }

    fn check(&self) -> CheckReport {
        self.inner.check()
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }

    fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.inner.backup(to)
    }
}
