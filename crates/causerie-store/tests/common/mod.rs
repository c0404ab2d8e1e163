//! What the tests of the store share.

#![allow(dead_code, reason = "each test uses a part of it")]

use bytes::Bytes;
use causerie_core::content::body::Body;
use causerie_core::id::Position;
use causerie_core::wire::Delivered;
use causerie_store::{Change, MemberRow, Options, RoomId, RoomRow, SqliteStore, Store, StoredSecrets};
use cbcast::{Kind, MemberId, Message, MessageId};

/// Numbers from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The seeds to run: `SEED` alone, or `SEEDS` of them, or `default`.
pub(crate) fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|s: String| s.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(default),
    }
}

pub(crate) fn member(ordinal: u32) -> MemberId {
    MemberId::new(0, ordinal)
}

pub(crate) fn frame(position: u64, time_millis: u64, id: MessageId, text: &str) -> Vec<u8> {
    let said = Body::Text(text.into()).encode();
    let m = Message::new(id, Kind::Data, &[], &said).unwrap();
    let mut out = Vec::new();
    Delivered { position: Position::new(position), time_millis, packet: m.into_packet() }.encode(&mut out);
    out
}

/// A run of records `first..=last`, member 1's messages of the same numbers, one second apart.
pub(crate) fn run(first: u64, last: u64) -> Bytes {
    let mut out = Vec::new();
    for position in first..=last {
        let id = MessageId::new(member(1), position);
        out.extend(frame(position, position * 1_000, id, &format!("text {position} of all")));
    }
    out.into()
}

pub(crate) fn append(room: RoomId, first: u64, last: u64) -> Change {
    Change::Append { room, first: Position::new(first), last: Position::new(last), run: run(first, last) }
}

pub(crate) fn create(room: RoomId) -> Change {
    let row = RoomRow {
        name: format!("room {}", room.0),
        port: Some(12_343),
        creator: "127.0.0.1".into(),
        epoch: causerie_core::id::Epoch::new(u64::MAX - room.0),
        created_millis: 5,
        maker: (room.0 & 1 == 0).then_some([7; 32]),
        closed_millis: None,
    };
    Change::Create { room, row }
}

pub(crate) fn member_row(ordinal: u32, left_at: Option<u64>, secret: Option<u8>) -> MemberRow {
    MemberRow {
        member: member(ordinal),
        name: format!("né {ordinal}"),
        joined_at: Position::FIRST,
        left_at: left_at.map(Position::new),
        taken: 9,
        secrets: secret.map(|b| match b % 2 {
            0 => StoredSecrets::Bearer { token: [b; 32], nonce: [!b; 32] },
            _ => StoredSecrets::Key([b; 32]),
        }),
    }
}

/// Small limits, so that little data reaches all of them; no thread, so that runs repeat.
pub(crate) fn small() -> Options {
    Options {
        background: false,
        staging_bytes: 4 << 10,
        staging_bytes_max: 16 << 10,
        free_bytes: 0,
        cache_bytes: 256 << 10,
        reader_cache_bytes: 64 << 10,
        readers: 2,
        ..Options::default()
    }
}

/// Everything of a room that can be read, forwards, as one piece; and the gaps.
pub(crate) fn all(store: &dyn Store, room: RoomId, bytes_max: usize) -> (Vec<u8>, Vec<(u64, u64)>) {
    let (mut bytes, mut gaps, mut after) = (Vec::new(), Vec::new(), Position::START);
    loop {
        let page = store.read(room, after, bytes_max).unwrap();
        assert!(page.first == after + 1, "{page:?} behind {after}");
        page.runs.iter().for_each(|run| bytes.extend_from_slice(run));
        if let Some(gap) = &page.gap {
            assert_eq!(*gap.start(), page.last + 1);
            gaps.push((gap.start().get(), gap.end().get()));
        }
        if page.next() == after {
            return (bytes, gaps);
        }
        after = page.next();
    }
}

/// Makes of a store the one that format 6 would have had: blocks and all in one file. What the other has is
/// not needed any more.
pub(crate) fn as_format_6(dir: &std::path::Path) {
    let db = rusqlite::Connection::open(dir.join(SqliteStore::FILES[0])).unwrap();
    let blocks = dir.join(SqliteStore::FILES[1]);
    db.execute("ATTACH ?1 AS b", [blocks.to_str().unwrap()]).unwrap();
    let meta = "DELETE FROM meta WHERE key IN ('store', 'moved', 'synced')";
    for table in ["kept", "block", "place", "author"] {
        db.execute(&format!("INSERT OR REPLACE INTO main.{table} SELECT * FROM b.{table}"), []).unwrap();
    }
    db.execute_batch(&format!("DETACH b; {meta}; DROP TABLE moved;")).unwrap();
    db.execute_batch(
        "CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0, tokenize='ascii');
         CREATE TABLE unindexed (room INTEGER PRIMARY KEY, up_to INTEGER NOT NULL); PRAGMA user_version = 6;",
    )
    .unwrap();
}

/// The positions of frames in a piece.
pub(crate) fn positions_of(bytes: &[u8]) -> Vec<u64> {
    causerie_core::log::records(Bytes::copy_from_slice(bytes)).map(|r| r.position.get()).collect()
}
