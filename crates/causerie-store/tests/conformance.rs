//! What every store must do: the same functions for the one on SQLite and its twin in memory; and a random
//! comparison of the two.
//!
//! `SEED=n cargo test -p causerie-store --test conformance random` replays one run, `SEEDS=n` runs that many.

mod common;

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_store::{
    Change, CommitError, InvalidChange, MemberSelection, MemoryStore, Options, QueryError, Removed,
    Retention, RoomId, RunError, SqliteStore, Store, StoreError,
};
use cbcast::MessageId;
use common::{Random, all, append, create, frame, member, member_row, positions_of, run, seeds, small};

const A: RoomId = RoomId(0);
const B: RoomId = RoomId(3);

macro_rules! conformance {
    ($($name:ident,)*) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&super::MemoryStore::new()); })*
        }
        mod sqlite {
            $(#[test] fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&super::SqliteStore::open(dir.path(), super::small()).unwrap());
            })*
        }
        /// As it is used: with the mover's thread.
        mod sqlite_background {
            $(#[test] fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let options = super::Options { background: true, ..super::small() };
                super::$name(&super::SqliteStore::open(dir.path(), options).unwrap());
            })*
        }
    };
}

conformance! {
    what_was_appended_comes_back,
    pages_have_limits,
    a_page_that_is_just_full_has_no_gap,
    batches_are_all_or_nothing,
    what_is_no_batch_is_refused_by_name,
    members_come_and_go,
    checkpoints_replace_each_other,
    messages_are_found_by_number,
    marks_find_their_records,
    texts_are_found_by_words,
    texts_are_found_in_every_script,
    queries_are_bounded,
    the_oldest_go_first,
    what_a_wrong_clock_has_stamped_does_not_go_early,
    a_closed_room_is_gone,
    an_empty_store_is_empty,
}

fn what_was_appended_comes_back(store: &dyn Store) {
    store.commit(vec![create(A), create(B), append(A, 1, 3)]).unwrap();
    store.commit(vec![append(B, 1, 1), append(A, 4, 4), append(A, 5, 90)]).unwrap();
    for _ in 0..2 {
        assert_eq!(all(store, A, usize::MAX), (run(1, 90).to_vec(), vec![]));
        assert_eq!(all(store, A, 0), (run(1, 90).to_vec(), vec![]));
        assert_eq!(all(store, B, 100), (run(1, 1).to_vec(), vec![]));
        let ends: Vec<_> = store.rooms().unwrap().into_iter().map(|r| (r.room, r.first, r.last)).collect();
        assert_eq!(ends, [(A, Position::FIRST, Position::new(90)), (B, Position::FIRST, Position::FIRST)]);
        store.tidy().unwrap();
    }
    store.commit(vec![append(A, 91, 300)]).unwrap();
    assert_eq!(all(store, A, 1_000), (run(1, 300).to_vec(), vec![]));
    assert_eq!(store.stats().records, 301);
    let report = store.check();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.rooms, report.records), (2, 301));
}

fn pages_have_limits(store: &dyn Store) {
    let length = |first, last| run(first, last).len();
    store.commit(vec![create(A), append(A, 1, 50)]).unwrap();
    store.tidy().unwrap();
    store.commit(vec![append(A, 51, 60), append(A, 61, 99)]).unwrap();
    let page = store.read(A, Position::new(40), length(41, 55)).unwrap();
    assert_eq!((page.first, page.last, page.bytes()), (Position::new(41), Position::new(55), length(41, 55)));
    assert_eq!(store.read(A, Position::new(40), length(41, 55) - 1).unwrap().last, Position::new(54));
    assert_eq!(store.read(A, Position::new(40), 1).unwrap().last, Position::new(41), "one at least");
    for after in [99, 100, u64::MAX - 1, u64::MAX] {
        let page = store.read(A, Position::new(after), 1_000).unwrap();
        assert_eq!(
            (page.is_empty(), page.last, page.gap.clone(), page.next()),
            (true, Position::new(after), None, Position::new(after))
        );
    }
    let page = store.read_before(A, Position::new(60), 100, length(45, 59)).unwrap();
    assert_eq!(
        (page.first, page.last, page.runs.concat()),
        (Position::new(45), Position::new(59), run(45, 59).to_vec())
    );
    assert_eq!(
        store.read_before(A, Position::new(60), 100, length(45, 59) - 1).unwrap().first,
        Position::new(46)
    );
    assert_eq!(store.read_before(A, Position::new(60), 7, usize::MAX).unwrap().first, Position::new(53));
    assert_eq!(
        store.read_before(A, Position::new(60), 100, 0).unwrap().first,
        Position::new(59),
        "one at least"
    );
    assert!(store.read_before(A, Position::new(60), 0, 1_000).unwrap().is_empty());
    let page = store.read_before(A, Position::MAX, 1_000, usize::MAX).unwrap();
    assert_eq!(
        (page.first, page.last, page.runs.concat()),
        (Position::FIRST, Position::new(99), run(1, 99).to_vec())
    );
    for before in [0, 1] {
        let page = store.read_before(A, Position::new(before), 9, 999).unwrap();
        assert_eq!((page.is_empty(), page.gap), (true, None));
    }
    assert_eq!(store.read(B, Position::START, 9), Err(StoreError::NoSuchRoom(B)));
    assert_eq!(store.read_before(B, Position::new(9), 9, 9), Err(StoreError::NoSuchRoom(B)));
}

/// Each record is a batch of its own, so that some end where a page is full.
fn a_page_that_is_just_full_has_no_gap(store: &dyn Store) {
    store.commit(vec![create(A)]).unwrap();
    for position in 1..=20 {
        store.commit(vec![append(A, position, position)]).unwrap();
    }
    for before in 2..=21 {
        for records in 1..=20 {
            for bytes in [0, run(7, 9).len(), usize::MAX] {
                let page = store.read_before(A, Position::new(before), records, bytes).unwrap();
                assert_eq!(
                    (page.last, page.gap),
                    (Position::new(before - 1), None),
                    "{records} before {before}"
                );
            }
        }
    }
    assert_eq!(store.stats().damaged, 0);
}

fn batches_are_all_or_nothing(store: &dyn Store) {
    store.commit(vec![create(A), append(A, 1, 3)]).unwrap();
    let row = member_row(1, None, None);
    let refused = store.commit(vec![
        create(B),
        append(A, 4, 5),
        Change::Member { room: A, row: row.clone() },
        Change::Checkpoint { room: A, position: Position::new(4), state: Bytes::from_static(b"x") },
        Change::Close { room: A },
        append(A, 6, 6),
    ]);
    assert_eq!(refused, Err(CommitError::Invalid(InvalidChange::NoSuchRoom(A))));
    assert_eq!(all(store, A, 1_000), (run(1, 3).to_vec(), vec![]));
    assert_eq!((store.rooms().unwrap().len(), store.next_room().unwrap()), (1, RoomId(1)));
    assert!(store.members(A, MemberSelection::Present).unwrap().is_empty());
    assert_eq!(store.rooms().unwrap()[0].checkpoint, None);
    store.commit(vec![]).unwrap();
    store.commit(vec![append(A, 4, 5)]).unwrap();
}

fn what_is_no_batch_is_refused_by_name(store: &dyn Store) {
    store.commit(vec![create(A), create(B), append(A, 1, 3)]).unwrap();
    let refused = |change: Change| match store.commit(vec![change]) {
        Err(CommitError::Invalid(invalid)) => invalid,
        other => panic!("{other:?}"),
    };
    let next = RoomId(4);
    assert_eq!(refused(create(A)), InvalidChange::RoomIdUsed { room: A, next });
    assert_eq!(refused(create(RoomId(2))), InvalidChange::RoomIdUsed { room: RoomId(2), next });
    let far = RoomId(RoomId::MAX.0 + 1);
    assert_eq!(refused(create(far)), InvalidChange::OutOfRange(far));
    assert_eq!(refused(Change::Close { room: RoomId(1) }), InvalidChange::NoSuchRoom(RoomId(1)));
    assert_eq!(
        refused(append(A, 3, 4)),
        InvalidChange::NotNext { room: A, expected: Position::new(4), first: Position::new(3) }
    );
    assert_eq!(
        refused(append(A, 5, 6)),
        InvalidChange::NotNext { room: A, expected: Position::new(4), first: Position::new(5) }
    );
    let wrong = Change::Append { room: A, first: Position::new(4), last: Position::new(4), run: run(5, 5) };
    let invalid = |position, error| InvalidChange::Run { room: A, position, error };
    assert_eq!(refused(wrong), invalid(Position::new(4), RunError::Position(Position::new(5))));
    let noise = Change::Append {
        room: A,
        first: Position::new(4),
        last: Position::new(4),
        run: Bytes::from_static(b"noise"),
    };
    assert_eq!(refused(noise), invalid(Position::new(4), RunError::Frame));
    let ahead = Change::Checkpoint { room: A, position: Position::new(4), state: Bytes::new() };
    assert_eq!(
        refused(ahead),
        InvalidChange::CheckpointAhead { room: A, last: Position::new(3), position: Position::new(4) }
    );
    assert_eq!(all(store, A, 1_000), (run(1, 3).to_vec(), vec![]));
}

fn members_come_and_go(store: &dyn Store) {
    let rows = [
        member_row(1, None, Some(1)),
        member_row(2, Some(7), Some(2)),
        member_row(3, None, None),
        member_row(4, Some(8), None),
    ];
    let put = |room, row: &causerie_store::MemberRow| Change::Member { room, row: row.clone() };
    store.commit(vec![create(A), create(B), put(B, &rows[0])]).unwrap();
    store.commit(rows.iter().rev().map(|row| put(A, row)).collect()).unwrap();
    let those = |which| {
        let found = store.members(A, which).unwrap();
        found.iter().for_each(|row| assert!(rows.contains(row), "{row:?}"));
        found.iter().map(|row| row.member.ordinal).collect::<Vec<_>>()
    };
    assert_eq!(those(MemberSelection::Present), [1, 3]);
    assert_eq!(those(MemberSelection::WithSecrets), [1, 2]);
    assert_eq!(those(MemberSelection::Ids(&[member(4), member(9), member(2), member(4)])), [2, 4]);
    let left = member_row(1, Some(99), None);
    store.commit(vec![put(A, &left)]).unwrap();
    assert_eq!(store.members(A, MemberSelection::Ids(&[member(1)])).unwrap(), [left]);
    assert_eq!(store.members(A, MemberSelection::Present).unwrap().len(), 1);
    assert_eq!(store.members(B, MemberSelection::Present).unwrap(), [rows[0].clone()]);
    assert_eq!(store.members(RoomId(9), MemberSelection::Present), Err(StoreError::NoSuchRoom(RoomId(9))));
}

fn checkpoints_replace_each_other(store: &dyn Store) {
    store.commit(vec![create(A), append(A, 1, 9)]).unwrap();
    for (position, length) in [(0, 0), (3, 100_000), (9, 5)] {
        let state = Bytes::from(vec![7; length]);
        store
            .commit(vec![Change::Checkpoint {
                room: A,
                position: Position::new(position),
                state: state.clone(),
            }])
            .unwrap();
        let found = store.rooms().unwrap().remove(0);
        let checkpoint = found.checkpoint.unwrap();
        assert_eq!((checkpoint.position, checkpoint.state), (Position::new(position), state));
        assert_eq!(found.row.name, "room 0");
    }
}

fn messages_are_found_by_number(store: &dyn Store) {
    store.commit(vec![create(A)]).unwrap();
    // Three members in turn: position p is message (p + 2) / 3 of member p % 3.
    for first in (1..=900).step_by(30) {
        let records = (first..first + 30).map(|p: u64| {
            let id = MessageId::new(member((p % 3) as u32), p.div_ceil(3));
            frame(p, p, id, "x")
        });
        let run = records.flatten().collect::<Vec<_>>().into();
        store
            .commit(vec![Change::Append {
                room: A,
                first: Position::new(first),
                last: Position::new(first + 29),
                run,
            }])
            .unwrap();
        if first == 601 {
            store.tidy().unwrap();
        }
    }
    for _ in 0..2 {
        let found = |from, to, max| store.positions(A, member(1), from, to, max).unwrap();
        assert_eq!(found(0, 3, 99), [Position::FIRST, Position::new(4), Position::new(7)]);
        assert_eq!(
            found(199, 202, 99),
            [Position::new(595), Position::new(598), Position::new(601), Position::new(604)]
        );
        assert_eq!(found(199, 202, 2), [Position::new(595), Position::new(598)]);
        assert_eq!(found(300, u64::MAX, 99), [Position::new(898)]);
        assert_eq!(found(0, u64::MAX, 1_000).len(), 300);
        assert!(found(301, 400, 9).is_empty() && found(5, 4, 9).is_empty() && found(1, 1, 0).is_empty());
        assert!(store.positions(A, member(7), 0, 99, 9).unwrap().is_empty());
        store.tidy().unwrap();
    }
    store.retain(A, Retention { count: Some(450), ..Retention::default() }, 0).unwrap();
    assert_eq!(store.positions(A, member(1), 0, u64::MAX, 1_000).unwrap().len(), 150);
}

fn texts_are_found_by_words(store: &dyn Store) {
    store.commit(vec![create(A), create(B)]).unwrap();
    let texts = ["the quick fox", "a lazy dog", "The Dog and the fox", "fox-trot", "écoute!", "\"quoted\""];
    for (room, times) in [(A, [10, 20, 30, 40, 50, 60]), (B, [15, 25, 35, 45, 55, 65])] {
        for (n, text) in texts.iter().enumerate() {
            let position = n as u64 + 1;
            let run = frame(position, times[n], MessageId::new(member(1), position), text).into();
            store
                .commit(vec![Change::Append {
                    room,
                    first: Position::new(position),
                    last: Position::new(position),
                    run,
                }])
                .unwrap();
        }
    }
    store.tidy().unwrap();
    let found = |room, query: &str, before, max| -> Vec<(u64, u64)> {
        let hits = store.search(room, query, before, max).unwrap().hits;
        hits.iter().for_each(|hit| assert_eq!(positions_of(&hit.frame), [hit.position.get()]));
        hits.iter().map(|hit| (hit.room.0, hit.position.get())).collect()
    };
    assert_eq!(found(Some(A), "FOX", None, 9), [(0, 4), (0, 3), (0, 1)]);
    assert_eq!(found(Some(A), "fox", Some(4), 1), [(0, 3)]);
    assert_eq!(found(Some(A), "dog fox", None, 9), [(0, 3)]);
    assert_eq!(found(Some(A), "fox-trot", None, 9), [(0, 4)]);
    assert_eq!(found(Some(B), "\"quoted", None, 9), [(3, 6)]);
    assert_eq!(found(None, "lazy", None, 9), [(3, 2), (0, 2)]);
    assert_eq!(found(None, "fox", Some(41), 2), [(0, 4), (3, 3)], "45 is too late");
    for nothing in ["", " \t", "*", "\"\"", "cat", "NOT fox AND", "text:fox", "fox*x"] {
        assert!(found(None, nothing, None, 9).is_empty(), "{nothing:?}");
    }
    store.commit(vec![Change::Close { room: B }]).unwrap();
    assert_eq!(found(None, "lazy", None, 9), [(0, 2)]);
    assert_eq!(store.search(Some(B), "lazy", None, 9), Err(StoreError::NoSuchRoom(B)));
    store.retain(A, Retention { count: Some(3), ..Retention::default() }, 0).unwrap();
    assert_eq!(found(None, "fox", None, 9), [(0, 4)]);
}

fn texts_are_found_in_every_script(store: &dyn Store) {
    let texts = [
        "今天玩成语接龙游戏，很有趣",
        "今日は成語しりとりをした",
        "오늘 끝말잇기 게임을 했다",
        "ฉันชอบกินข้าวผัดมาก",
        "重跑gen-itgc后五十条",
        "the deployment failed",
        "Café in Paris, ＦＵＬＬ width",
        "हिन्दी में लिखा",
        "هذا مُدَرِّس جديد",
    ];
    let text = |n: u64| frame(n, n, MessageId::new(member(1), n), texts[n as usize - 1]);
    let run: Vec<u8> = (1..=9).flat_map(text).collect();
    store
        .commit(vec![
            create(A),
            Change::Append { room: A, first: Position::FIRST, last: Position::new(9), run: run.into() },
        ])
        .unwrap();
    store.tidy().unwrap();
    let found = |query: &str| -> Vec<u64> {
        let found = store.search(Some(A), query, None, 9).unwrap();
        assert!(found.complete);
        found.hits.iter().map(|hit| hit.position.get()).collect()
    };
    for (query, positions) in [
        ("成语接龙", &[1][..]),
        ("接龙", &[1]),
        ("龙", &[1]),
        ("今", &[2, 1]),
        ("今 游戏", &[1]),
        ("しりとり", &[2]),
        ("끝말잇기", &[3]),
        ("말잇", &[3]),
        ("게임", &[3]),
        ("ข้าวผัด", &[4]),
        ("gen", &[5]),
        ("itgc", &[5]),
        ("itgc后五", &[5]),
        ("deploy", &[6]),
        ("fail deploy", &[6]),
        ("FAILED", &[6]),
        ("cafe\u{301} full", &[7]),
        ("हिन्दी", &[8]),
        ("مدرس", &[9]),
        ("天气", &[]),
        ("ployment", &[]),
        ("龙接", &[]),
    ] {
        assert_eq!(found(query), positions, "{query}");
    }
}

fn queries_are_bounded(store: &dyn Store) {
    store.commit(vec![create(A), append(A, 1, 3)]).unwrap();
    store.tidy().unwrap();
    let asked = |query: &str| store.search(Some(A), query, None, 9).map(|found| found.hits.len());
    assert_eq!(asked(&"text ".repeat(16)), Ok(3));
    assert_eq!(asked(&"text ".repeat(17)), Err(QueryError::TooManyWords.into()));
    assert_eq!(asked(&"a-".repeat(64)), Ok(0));
    assert_eq!(asked(&"a-".repeat(7_500)), Err(QueryError::TooManyParts.into()));
}

fn what_a_wrong_clock_has_stamped_does_not_go_early(store: &dyn Store) {
    let stamped = |position: u64, time: u64| {
        let id = MessageId::new(member(1), position);
        Change::Append {
            room: A,
            first: Position::new(position),
            last: Position::new(position),
            run: frame(position, time, id, "text").into(),
        }
    };
    const DAY: u64 = 86_400_000;
    let keep = Retention { age_millis: Some(DAY), ..Retention::default() };
    let now = 20_000 * DAY;
    // Old, of a year that has not come, old, of that year once more, and young.
    let times = [now - 3 * DAY, now + 400 * DAY, now - 2 * DAY, now + 400 * DAY, now - 10];
    store.commit(vec![create(A)]).unwrap();
    for (position, time) in (1..).zip(times) {
        store.commit(vec![stamped(position, time)]).unwrap();
        store.tidy().unwrap();
    }
    store.commit(vec![stamped(6, 5), stamped(7, now + 400 * DAY)]).unwrap();
    let excess = |now| store.excess(A, keep, now).unwrap();
    assert_eq!(
        excess(now),
        Removed { records: 3, first: Position::new(4) },
        "the year to come is in nobody's way"
    );
    assert_eq!(
        excess(now + DAY),
        Removed { records: 6, first: Position::new(7) },
        "and who knows when the last one was"
    );
    // Whatever is stored now may have been stamped by a clock that was wrong.
    store.count_ages_from(now).unwrap();
    assert_eq!(store.ages_from(), now);
    assert_eq!(excess(now).records + excess(now + DAY).records, 0);
    assert_eq!(excess(now + DAY + 1).records, 6);
    // A time to come does not keep everything until then.
    store.count_ages_from(now + 400 * DAY).unwrap();
    assert_eq!(excess(now + 2 * DAY).records, 0);
    store.count_ages_from(0).unwrap();
    assert_eq!(store.retain(A, keep, now).unwrap(), Removed { records: 3, first: Position::new(4) });
    assert_eq!(store.read(A, Position::new(3), 9_000).unwrap().first, Position::new(4));
    assert_eq!(excess(now).records, 0);
}

fn the_oldest_go_first(store: &dyn Store) {
    store.commit(vec![create(A), append(A, 1, 3_000)]).unwrap();
    store.tidy().unwrap();
    store.commit(vec![append(A, 3_001, 3_010), append(A, 3_011, 3_100)]).unwrap();
    let retain = |keep| store.retain(A, keep, 3_100_000).unwrap();
    let none = Retention::default();
    assert_eq!(retain(none).records, 0);
    assert_eq!(retain(Retention { count: Some(9_999), ..none }).records, 0);
    let removed = retain(Retention { age_millis: Some(3_050_000), ..none });
    assert_eq!(
        (removed.records, removed.first),
        (49, Position::new(50)),
        "the record of that very moment stays"
    );
    assert_eq!(retain(Retention { count: Some(2_000), ..none }).first, Position::new(1_101));
    let bytes = run(2_000, 3_100).len() as u64;
    assert_eq!(retain(Retention { bytes: Some(bytes + 1), ..none }).first, Position::new(2_000));
    assert_eq!(retain(Retention { bytes: Some(bytes), ..none }).first, Position::new(2_000));
    assert_eq!(retain(Retention { bytes: Some(bytes - 1), ..none }).first, Position::new(2_001));
    for _ in 0..2 {
        assert_eq!(all(store, A, 5_000), (run(2_001, 3_100).to_vec(), vec![(1, 2_000)]));
        let page = store.read(A, Position::new(700), 5_000).unwrap();
        assert_eq!((page.is_empty(), page.gap), (true, Some(Position::new(701)..=Position::new(2_000))));
        let page = store.read_before(A, Position::new(2_011), 99, 9_999).unwrap();
        assert_eq!(
            (page.first, page.last, page.gap.clone(), page.previous()),
            (
                Position::new(2_001),
                Position::new(2_010),
                Some(Position::FIRST..=Position::new(2_000)),
                Position::FIRST
            )
        );
        assert_eq!(
            store.read_before(A, Position::new(50), 9, 999).unwrap().gap,
            Some(Position::FIRST..=Position::new(49))
        );
        assert_eq!(
            store.read_before(A, Position::new(2_010), 9, 9_999).unwrap().gap,
            Some(Position::FIRST..=Position::new(2_000)),
            "it begins at the gap"
        );
        assert_eq!(store.read_before(A, Position::new(2_011), 9, 9_999).unwrap().gap, None);
        store.tidy().unwrap();
    }
    assert_eq!(retain(Retention { count: Some(50), ..none }).first, Position::new(3_051));
    assert_eq!(retain(Retention { count: Some(0), ..none }).records, 50);
    assert_eq!(retain(Retention { count: Some(0), ..none }).records, 0);
    assert_eq!(all(store, A, 5_000), (vec![], vec![(1, 3_100)]));
    let room = store.rooms().unwrap().remove(0);
    assert_eq!((room.first, room.last), (Position::new(3_101), Position::new(3_100)));
    store.commit(vec![append(A, 3_101, 3_102)]).unwrap();
    store.tidy().unwrap();
    assert_eq!(all(store, A, 5_000), (run(3_101, 3_102).to_vec(), vec![(1, 3_100)]));
    assert!(store.check().is_clean());
    assert_eq!(store.retain(B, none, 0), Err(StoreError::NoSuchRoom(B)));
}

fn mark(room: RoomId, name: &[u8], position: u64) -> Change {
    Change::Mark { room, name: Bytes::copy_from_slice(name), position: Position::new(position) }
}

fn marks_find_their_records(store: &dyn Store) {
    store.commit(vec![create(A), create(B), append(A, 1, 9), mark(A, b"x", 9), mark(A, b"x", 2)]).unwrap();
    store.commit(vec![append(A, 10, 900), mark(A, b"x", 10), mark(A, b"x", 10), mark(A, b"xy", 11)]).unwrap();
    for _ in 0..2 {
        let marked = |name: &[u8], after, max| store.marked(A, name, after, max).unwrap();
        assert_eq!(
            marked(b"x", Position::START, 99),
            [Position::new(2), Position::new(9), Position::new(10)]
        );
        assert_eq!(marked(b"x", Position::new(2), 1), [Position::new(9)]);
        assert_eq!(marked(b"x", Position::MAX, 9), []);
        assert_eq!(
            (
                marked(b"xy", Position::START, 9),
                marked(b"", Position::START, 9),
                marked(b"x", Position::START, 0)
            ),
            (vec![Position::new(11)], vec![], vec![])
        );
        assert_eq!(store.marked(B, b"x", Position::START, 9), Ok(vec![]));
        let between = |from: &[u8], to: &[u8], max| store.marked_between(A, from, to, max).unwrap();
        let all = [("x", 10), ("x", 9), ("x", 2), ("xy", 11)]
            .map(|(name, n)| (name.as_bytes().to_vec(), Position::new(n)));
        assert_eq!(between(b"a", b"z", 99), all);
        assert_eq!(between(b"x", b"x", 2), all[..2]);
        assert_eq!((between(b"xa", b"xz", 9), between(b"y", b"x", 9)), (all[3..].to_vec(), vec![]));
        store.tidy().unwrap();
    }
    assert_eq!(store.marked(RoomId(1), b"x", Position::START, 9), Err(StoreError::NoSuchRoom(RoomId(1))));
    // All or none, as ever.
    let ahead = InvalidChange::MarkAhead { room: A, last: Position::new(901), position: Position::new(902) };
    let refused = store.commit(vec![append(A, 901, 901), mark(A, b"x", 901), mark(A, b"x", 902)]);
    assert_eq!(refused, Err(ahead.into()));
    assert_eq!(
        store.commit(vec![mark(A, &[0; 129], 1)]),
        Err(InvalidChange::MarkTooLong { bytes: 129 }.into())
    );
    assert_eq!(store.marked(A, b"x", Position::new(9), 9), Ok(vec![Position::new(10)]));
    // Marks go with their records.
    store.retain(A, Retention { count: Some(900 - 9), ..Retention::default() }, 0).unwrap();
    assert_eq!(store.marked(A, b"x", Position::START, 9), Ok(vec![Position::new(10)]));
    assert_eq!(store.marked_between(A, b"x", b"x", 9), Ok(vec![(b"x".to_vec(), Position::new(10))]));
    store.retain(A, Retention { count: Some(1), ..Retention::default() }, 0).unwrap();
    store.tidy().unwrap();
    assert_eq!(store.marked(A, b"x", Position::START, 9), Ok(vec![]));
    let report = store.check();
    assert!(report.is_clean(), "{report:?}");
}

fn a_closed_room_is_gone(store: &dyn Store) {
    store.commit(vec![create(A), create(B), append(A, 1, 900), append(B, 1, 5), mark(A, b"x", 7)]).unwrap();
    store.commit(vec![Change::Member { room: A, row: member_row(1, None, None) }]).unwrap();
    store.tidy().unwrap();
    store.commit(vec![append(A, 901, 905), append(B, 6, 9)]).unwrap();
    store.commit(vec![Change::Close { room: A }]).unwrap();
    assert_eq!(store.read(A, Position::START, 9), Err(StoreError::NoSuchRoom(A)));
    assert_eq!(store.commit(vec![append(A, 906, 906)]), Err(InvalidChange::NoSuchRoom(A).into()));
    store.tidy().unwrap();
    assert_eq!(store.next_room().unwrap(), RoomId(4), "numbers are not given twice");
    assert_eq!(all(store, B, 50), (run(1, 9).to_vec(), vec![]));
    assert!(store.search(None, "text 900", None, 9).unwrap().hits.is_empty());
    let report = store.check();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.rooms, report.records), (1, 9));
    store.commit(vec![create(RoomId(4)), Change::Close { room: RoomId(4) }, create(RoomId(5))]).unwrap();
    assert_eq!(store.next_room().unwrap(), RoomId(6));
}

fn an_empty_store_is_empty(store: &dyn Store) {
    assert_eq!(store.next_room().unwrap(), RoomId(0));
    assert!(store.rooms().unwrap().is_empty());
    assert!(store.search(None, "a", None, 9).unwrap().hits.is_empty());
    assert!(store.check().is_clean());
    store.tidy().unwrap();
}

/// What can be seen of a room, for comparison.
fn seen(store: &dyn Store, room: RoomId, r: &mut Random) -> impl PartialEq + std::fmt::Debug + use<> {
    let ids = [member(0), member(2)];
    let of = |which| store.members(room, which);
    let before =
        store.read_before(room, Position::new(r.below(400)), r.below(50) as usize, r.below(3_000) as usize);
    // Short enough to be printed.
    let sum = |bytes: &[u8]| {
        (bytes.len(), bytes.iter().fold(7u64, |sum, &b| sum.wrapping_mul(31).wrapping_add(u64::from(b))))
    };
    let (bytes, gaps) = all(store, room, r.below(5_000) as usize);
    (
        (sum(&bytes), gaps),
        before.map(|p| (p.first, p.last, sum(&p.runs.concat()), p.gap)),
        (of(MemberSelection::Present), of(MemberSelection::WithSecrets), of(MemberSelection::Ids(&ids))),
        store.positions(room, member(r.below(4) as u32), r.below(50), r.below(120), r.below(30) as usize),
        store.marked(room, &[r.below(3) as u8], Position::new(r.below(300)), r.below(9) as usize),
        store.search(Some(room), ["one", "two three", "word7"][r.below(3) as usize], None, 20),
    )
}

fn random_batch(r: &mut Random, memory: &MemoryStore, seqs: &mut Seqs, time: &mut u64) -> Vec<Change> {
    let rooms: Vec<_> = memory.rooms().unwrap();
    let mut changes = Vec::new();
    for room in rooms {
        let (id, mut last) = (room.room, room.last);
        for _ in 0..r.below(3) {
            let count = if r.chance(5) { r.below(400) + 1 } else { r.below(6) + 1 };
            let (first, mut run) = (last + 1, Vec::new());
            for _ in 0..count {
                last = last.next();
                *time += r.below(5);
                let who = member(r.below(4) as u32);
                let seq = seqs.entry((id, who)).or_default();
                *seq += 1;
                let text = match r.below(30) {
                    0 => "long ".repeat(r.below(20_000) as usize),
                    1 => String::new(),
                    n => format!("{} word{}", ["one", "two", "three four", "two three"][(n % 4) as usize], n),
                };
                run.extend(frame(last.get(), *time, MessageId::new(who, *seq), &text));
            }
            changes.push(Change::Append { room: id, first, last, run: run.into() });
        }
        if r.chance(20) {
            let left = r.chance(50).then(|| r.below(9));
            let row = member_row(r.below(4) as u32, left, r.chance(50).then_some(7));
            changes.push(Change::Member { room: id, row });
        }
        if r.chance(10) {
            let state = vec![last.get() as u8; r.below(9_000) as usize].into();
            changes.push(Change::Checkpoint {
                room: id,
                position: last - r.below(last.get().min(9) + 1),
                state,
            });
        }
        for _ in 0..if last > Position::START { r.below(3) } else { 0 } {
            changes.push(mark(id, &[r.below(3) as u8], last.get() - r.below(last.get().min(20))));
        }
        if r.chance(2) {
            changes.push(Change::Close { room: id });
        }
    }
    if r.chance(20) {
        let next = memory.next_room().unwrap().0;
        changes.push(create(RoomId(next + r.below(2))));
    }
    if r.chance(5) {
        // Refused, with all the others.
        changes.push(append(RoomId(r.below(5)), 1_000_000, 1_000_001));
    }
    changes
}

type Seqs = std::collections::BTreeMap<(RoomId, cbcast::MemberId), u64>;

#[test]
fn random_stores_are_as_their_twins() {
    for seed in seeds(6) {
        let replay = format!("SEED={seed} cargo test -p causerie-store --test conformance random");
        println!("{replay}");
        let r = &mut Random(seed);
        let dir = tempfile::tempdir().unwrap();
        let memory = MemoryStore::new();
        let options = Options { background: r.chance(30), ..small() };
        let mut sqlite = SqliteStore::open(dir.path(), options.clone()).unwrap();
        let (mut seqs, mut time) = (Seqs::new(), 0);
        for step in 0..120 {
            match r.below(20) {
                0..12 => {
                    let mut after = seqs.clone();
                    let changes = random_batch(r, &memory, &mut after, &mut time);
                    let done = memory.commit(changes.clone());
                    assert_eq!(sqlite.commit(changes), done, "step {step}; {replay}");
                    if done.is_ok() {
                        seqs = after;
                    }
                }
                12..15 => sqlite.tidy().unwrap(),
                15 => {
                    for room in memory.rooms().unwrap() {
                        let keep = match r.below(4) {
                            0 => Retention { count: Some(r.below(300)), ..Retention::default() },
                            1 => Retention { bytes: Some(r.below(50_000)), ..Retention::default() },
                            2 => Retention { age_millis: Some(r.below(2_000)), ..Retention::default() },
                            _ => Retention {
                                count: Some(r.below(900)),
                                bytes: Some(r.below(90_000)),
                                age_millis: Some(r.below(9_000)),
                                before: (r.below(2) == 0)
                                    .then(|| Position::new(r.below(room.last.get() + 2))),
                            },
                        };
                        assert_eq!(
                            sqlite.excess(room.room, keep, time),
                            memory.excess(room.room, keep, time)
                        );
                        let done = sqlite.retain(room.room, keep, time);
                        let wanted = memory.retain(room.room, keep, time);
                        assert_eq!(done, wanted, "step {step}, {keep:?}; {replay}");
                    }
                }
                16 => {
                    drop(sqlite);
                    sqlite = SqliteStore::open(dir.path(), options.clone()).unwrap();
                    assert_eq!(sqlite.recovery().batches_damaged + sqlite.recovery().records_damaged, 0);
                }
                _ => {
                    sqlite.tidy().unwrap();
                    assert_eq!(sqlite.next_room(), memory.next_room(), "step {step}; {replay}");
                    let rooms = memory.rooms().unwrap();
                    assert_eq!(sqlite.rooms().unwrap(), rooms, "step {step}; {replay}");
                    for room in rooms {
                        let look = r.next();
                        let mine = seen(&sqlite, room.room, &mut Random(look));
                        let wanted = seen(&memory, room.room, &mut Random(look));
                        assert!(
                            mine == wanted,
                            "{} at step {step}:\n{mine:?}\n{wanted:?}\n{replay}",
                            room.room
                        );
                    }
                    let everywhere = |store: &dyn Store| store.search(None, "four", None, 10);
                    assert_eq!(everywhere(&sqlite), everywhere(&memory), "step {step}; {replay}");
                }
            }
        }
        let report = sqlite.check();
        assert!(report.is_clean(), "{report:?}; {replay}");
        assert_eq!(report.records, memory.check().records, "{replay}");
    }
}
