//! A store that is full: senders are told, reading goes on, and once there is room so does writing, with nothing lost.
//! (That SQLite says so in time, and takes more once it can, is shown by the store's own tests.)

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use causerie_core::frame::{ClientFrame, ErrorCode, ServerFrame};
use causerie_server::Settings;
use causerie_store::{
    Change, CommitError, DatabaseError, Found, MemberRow, Members, MemoryStore, Page, Removed, Report,
    Retention, RoomId, Stats, Store, StoreError, StoredRoom,
};
use cbcast::MemberId;
use common::{Event, Harness, Native, within};

/// A store on a disk that is full at times.
#[derive(Debug, Default)]
struct Limited {
    inner: MemoryStore,
    is_full: AtomicBool,
    refused: AtomicU64,
}

impl Store for Limited {
    fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
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

    fn members(&self, room: RoomId, which: Members<'_>) -> Result<Vec<MemberRow>, StoreError> {
        self.inner.members(room, which)
    }

    fn read(&self, room: RoomId, after: u64, bytes_max: usize) -> Result<Page, StoreError> {
        self.inner.read(room, after, bytes_max)
    }

    fn read_before(
        &self,
        room: RoomId,
        before: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Page, StoreError> {
        self.inner.read_before(room, before, records_max, bytes_max)
    }

    fn positions(
        &self,
        room: RoomId,
        member: MemberId,
        from_seq: u64,
        to_seq: u64,
        max: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.inner.positions(room, member, from_seq, to_seq, max)
    }

    fn marked(&self, room: RoomId, name: &[u8], after: u64, max: usize) -> Result<Vec<u64>, StoreError> {
        self.inner.marked(room, name, after, max)
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

    fn retain(&self, room: RoomId, keep: Retention, now_millis: u64) -> Result<Removed, StoreError> {
        self.inner.retain(room, keep, now_millis)
    }

    fn tidy(&self) -> Result<(), StoreError> {
        self.inner.tidy()
    }

    fn check(&self) -> Report {
        self.inner.check()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.inner.backup(to)
    }
}

fn text(n: usize) -> String {
    format!("message {n}")
}

/// What is said next, whoever comes and whatever is told of the store meanwhile.
async fn next_text(member: &mut Native) -> String {
    loop {
        if let Event::Text(_, text) = member.event_but(ErrorCode::StorageFull).await {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_takes_messages_later_and_is_read_meanwhile() {
    let store = Arc::new(Limited::default());
    let server = Harness::with_store(Settings::default(), Arc::clone(&store) as Arc<dyn Store>).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;

    for n in 0..50 {
        ann.say(&text(n)).await;
        assert_eq!(next_text(&mut ann).await, text(n));
    }

    store.is_full.store(true, Ordering::Relaxed);
    for n in 50..100 {
        ann.say(&text(n)).await;
    }
    let told = ann.wire.error().await;
    assert_eq!((told.code, told.fatal), (ErrorCode::StorageFull, false));

    // Reading goes on: all that was stored, for who is there and for who comes back, and questions are answered.
    for n in 0..50 {
        assert_eq!(next_text(&mut raj).await, text(n));
    }
    raj.wire.send(&ClientFrame::Ping(7)).await;
    within("an answer", async {
        loop {
            match raj.wire.frame().await {
                ServerFrame::Pong(7) => break,
                ServerFrame::Error(error) => assert_eq!(error.code, ErrorCode::StorageFull),
                other => panic!("nothing is shown that is not stored: {other:?}"),
            }
        }
    })
    .await;
    within("another try", async {
        while store.refused.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;

    // There is room: everything that waited is stored, and comes once, in order.
    store.is_full.store(false, Ordering::Relaxed);
    for n in 50..100 {
        assert_eq!(next_text(&mut raj).await, text(n));
    }
    ann.say("after all").await;
    raj.expect_text(ann.member, "after all").await;
    server.stop().await;
}
