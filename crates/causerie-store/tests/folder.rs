//! The data folder: who may open it, what it says when not, copies, size; damage by hand.

mod common;

use std::path::Path;

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_store::{
    Change, CommitError, OpenError, Options, Retention, RoomId, SqliteStore, Store, StoreError,
};
use common::{all, append, as_format_6, create, member, member_row, run, small};

const A: RoomId = RoomId(0);

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, small()).unwrap()
}

fn edit<T>(dir: &Path, edit: impl FnOnce(&rusqlite::Connection) -> T) -> T {
    edit(&rusqlite::Connection::open(dir.join("causerie.db")).unwrap())
}

fn edit_blocks<T>(dir: &Path, edit: impl FnOnce(&rusqlite::Connection) -> T) -> T {
    edit(&rusqlite::Connection::open(dir.join("causerie-blocks.db")).unwrap())
}

#[test]
fn marks_go_with_their_records_and_rooms() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(vec![create(A), create(RoomId(1))]).unwrap();
    for room in [A, RoomId(1)] {
        let mark = |position| Change::Mark { room, name: Bytes::from_static(b"x"), position };
        store
            .commit(
                [append(room, 1, 9_000)]
                    .into_iter()
                    .chain((1..=900).map(|n| mark(Position::new(10 * n))))
                    .collect(),
            )
            .unwrap();
    }
    let count =
        || edit(dir.path(), |db| db.query_row("SELECT count(*) FROM mark", [], |row| row.get::<_, i64>(0)));
    assert_eq!(count().unwrap(), 1_800);
    store.tidy().unwrap();
    store.retain(A, Retention { count: Some(1), ..Retention::default() }, 0).unwrap();
    store.tidy().unwrap();
    let left = count().unwrap();
    assert!((901..=1_200).contains(&left), "but for those of the last block: {left}");
    store.commit(vec![Change::Close { room: RoomId(1) }]).unwrap();
    store.tidy().unwrap();
    assert_eq!(count().unwrap(), left - 900);
}

#[test]
fn the_index_of_a_store_made_before_is_merged_as_seldom_as_a_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let settings = || {
        edit_blocks(dir.path(), |db| {
            let mut rows =
                db.prepare("SELECT k, v FROM words_config WHERE k LIKE '%merge' ORDER BY k").unwrap();
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.collect::<Result<Vec<(String, i64)>, _>>().unwrap()
        })
    };
    drop(open(dir.path()));
    let new = settings();
    assert_eq!(new, [("automerge".to_owned(), 16), ("crisismerge".to_owned(), 64)]);
    edit_blocks(dir.path(), |db| db.execute("DELETE FROM words_config WHERE k <> 'version'", ())).unwrap();
    assert_eq!(settings(), []);
    drop(open(dir.path()));
    assert_eq!(settings(), new);
}

#[test]
fn one_store_at_a_time_has_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("new/folder"));
    let second = SqliteStore::open(dir.path().join("new/folder"), small());
    assert!(matches!(second, Err(OpenError::Locked { .. })), "{second:?}");
    drop(store);
    open(&dir.path().join("new/folder"));
}

#[test]
fn what_is_newer_or_not_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).commit(vec![create(A), append(A, 1, 5)]).unwrap();
    let (known, next) = (SqliteStore::FORMAT, SqliteStore::FORMAT + 1);
    edit(dir.path(), |db| db.pragma_update(None, "user_version", next).unwrap());
    for newer in [SqliteStore::open(dir.path(), small()), SqliteStore::open_to_read(dir.path(), small())] {
        assert!(matches!(newer, Err(OpenError::Newer { found, .. }) if found == next), "{newer:?}");
    }
    edit(dir.path(), |db| db.pragma_update(None, "user_version", known).unwrap());
    assert_eq!(open(dir.path()).rooms().unwrap()[0].last, Position::new(5), "the refusal changed nothing");
    edit(dir.path(), |db| db.pragma_update(None, "application_id", 7).unwrap());
    assert!(matches!(SqliteStore::open(dir.path(), small()), Err(OpenError::NotAStore { .. })));
    for other in [&b"not a database, but long enough to look at"[..], &[7; 5_000]] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("causerie.db"), other).unwrap();
        assert!(matches!(SqliteStore::open(dir.path(), small()), Err(OpenError::NotAStore { .. })));
    }
}

#[test]
fn a_backup_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    store.commit(vec![create(A), append(A, 1, 900)]).unwrap();
    store.tidy().unwrap();
    store
        .commit(vec![append(A, 901, 950), Change::Member { room: A, row: member_row(1, None, None) }])
        .unwrap();
    let to = dir.path().join("copy");
    store.backup(&to).unwrap();
    store.commit(vec![append(A, 951, 999)]).unwrap();
    assert!(matches!(store.backup(&to), Err(StoreError::Backup { .. })), "there is something already");
    let copy = open(&to);
    assert_eq!(all(&copy, A, 9_000), (run(1, 950).to_vec(), vec![]));
    assert!(copy.check().is_clean());
    copy.commit(vec![append(A, 951, 951)]).unwrap();
    assert_eq!(copy.search(Some(A), "text 777", None, 9).unwrap().hits.len(), 1);
}

#[test]
fn a_commit_waits_for_nobody_who_writes_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(vec![create(A), append(A, 1, 9)]).unwrap();
    store.tidy().unwrap();
    edit_blocks(dir.path(), |db| {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begun = std::time::Instant::now();
        store.commit(vec![append(A, 10, 20)]).unwrap();
        assert_eq!(all(&store, A, 999), (run(1, 20).to_vec(), vec![]));
        assert!(begun.elapsed() < std::time::Duration::from_secs(8), "it waited for the lock");
    });
    store.tidy().unwrap();
}

/// Puts a copy of a store's file in place.
fn put(from: &Path, to: &Path, name: &str) {
    std::fs::copy(from.join(name), to.join(name)).unwrap();
}

/// The folder of a store with rooms 0 and 1, copied before its records were moved and behind that.
fn before_and_behind_moving() -> [tempfile::TempDir; 2] {
    let [dir, before, behind] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let store = open(dir.path());
    store.commit(vec![create(A), create(RoomId(1)), append(A, 1, 300)]).unwrap();
    store.tidy().unwrap();
    for first in (301..=600).step_by(50) {
        store.commit(vec![append(A, first, first + 49)]).unwrap();
    }
    drop(store);
    SqliteStore::FILES.iter().for_each(|name| put(dir.path(), before.path(), name));
    let store = open(dir.path());
    store.tidy().unwrap();
    drop(store);
    SqliteStore::FILES.iter().for_each(|name| put(dir.path(), behind.path(), name));
    [before, behind]
}

#[test]
fn a_record_that_is_both_staged_and_moved_counts_once() {
    // As after a crash between the two: the blocks are on the disk, and the rows are still there.
    let [before, behind] = before_and_behind_moving();
    put(behind.path(), before.path(), "causerie-blocks.db");
    let rows =
        |db: &rusqlite::Connection| db.query_row("SELECT count(*) FROM staging", [], |r| r.get::<_, i64>(0));
    assert_eq!(edit(before.path(), rows), Ok(6));
    let once = |store: &SqliteStore| {
        assert_eq!(all(store, A, 9_000), (run(1, 600).to_vec(), vec![]));
        let back = store.read_before(A, Position::new(601), 999, usize::MAX).unwrap();
        assert_eq!((back.runs.concat(), back.gap), (run(1, 600).to_vec(), None));
        let found = store.positions(A, member(1), 1, 600, 9_999).unwrap();
        assert_eq!(found, (1..=600).map(Position::new).collect::<Vec<_>>());
        let hits = store.search(Some(A), "text", None, 9_999).unwrap().hits;
        assert_eq!(
            hits.iter().map(|hit| hit.position).collect::<Vec<_>>(),
            (1..=600).rev().map(Position::new).collect::<Vec<_>>()
        );
        let excess =
            store.excess(A, Retention { bytes: Some(run(101, 600).len() as u64), ..Retention::default() }, 0);
        assert_eq!(excess.unwrap().first, Position::new(101));
        let report = store.check();
        assert_eq!((report.is_clean(), report.records), (true, 600), "{report:?}");
    };
    once(&SqliteStore::open_to_read(before.path(), small()).unwrap());
    let store = open(before.path());
    once(&store);
    store.tidy().unwrap();
    once(&store);
    assert_eq!(edit(before.path(), rows), Ok(0));
    store.commit(vec![append(A, 601, 602)]).unwrap();
    store.tidy().unwrap();
    drop(store);
    assert_eq!(all(&open(before.path()), A, 9_000), (run(1, 602).to_vec(), vec![]));
}

#[test]
fn a_run_that_was_moved_in_part_is_read_once() {
    let [dir, before] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let options = Options { search: false, ..small() };
    let open = || SqliteStore::open(dir.path(), options.clone()).unwrap();
    let store = open();
    store.commit(vec![create(A), append(A, 1, 9_000)]).unwrap();
    drop(store);
    put(dir.path(), before.path(), "causerie.db");
    let store = open();
    store.tidy().unwrap();
    drop(store);
    put(before.path(), dir.path(), "causerie.db");
    edit_blocks(dir.path(), |db| {
        db.execute_batch(
            "DELETE FROM author WHERE block_first = (SELECT max(first) FROM place);
             DELETE FROM block WHERE id = (SELECT block FROM place ORDER BY first DESC LIMIT 1);
             DELETE FROM place WHERE first = (SELECT max(first) FROM place);",
        )
        .unwrap();
    });
    let store = open();
    for _ in 0..2 {
        assert_eq!(all(&store, A, usize::MAX), (run(1, 9_000).to_vec(), vec![]));
        let back = store.read_before(A, Position::new(9_001), 99_999, usize::MAX).unwrap();
        assert_eq!((back.runs.concat(), back.gap), (run(1, 9_000).to_vec(), None));
        let found = store.positions(A, member(1), 1, 9_000, 9_999).unwrap();
        assert_eq!(found, (1..=9_000).map(Position::new).collect::<Vec<_>>());
        let keep = Retention { bytes: Some(run(8_001, 9_000).len() as u64), ..Retention::default() };
        assert_eq!(store.excess(A, keep, 0).unwrap().first, Position::new(8_001));
        store.tidy().unwrap();
    }
    assert!(store.check().is_clean());
}

#[test]
fn older_blocks_leave_a_gap_and_no_position_is_given_twice() {
    let [before, behind] = before_and_behind_moving();
    put(before.path(), behind.path(), "causerie-blocks.db");
    let store = open(behind.path());
    assert_eq!(store.rooms().unwrap()[0].last, Position::new(600));
    assert_eq!(all(&store, A, 9_000), (run(1, 300).to_vec(), vec![(301, 600)]));
    assert_eq!(store.check().damaged.len(), 1);
    store.commit(vec![append(A, 601, 603)]).unwrap();
    for _ in 0..2 {
        assert_eq!(all(&store, A, 9_000), ([run(1, 300), run(601, 603)].concat(), vec![(301, 600)]));
        store.tidy().unwrap();
    }
}

#[test]
fn the_two_files_of_a_store_belong_together() {
    let refused = |what: &str, dir: &Path| {
        let open = [SqliteStore::open(dir, small()), SqliteStore::open_to_read(dir, small())];
        open.map(|refused| refused.expect_err(what))
    };
    let [before, behind] = before_and_behind_moving();
    let blocks = behind.path().join("causerie-blocks.db");
    std::fs::remove_file(&blocks).unwrap();
    for error in refused("gone", behind.path()) {
        assert!(matches!(&error, OpenError::Emptied { path } if *path == blocks), "{error:?}");
    }
    assert!(!blocks.exists(), "nothing is made");
    std::fs::write(&blocks, "").unwrap();
    for error in refused("empty", behind.path()) {
        assert!(matches!(&error, OpenError::Emptied { path } if *path == blocks), "{error:?}");
    }
    // Of another store, and the other file of the store itself.
    let [_, other] = before_and_behind_moving();
    put(other.path(), behind.path(), "causerie-blocks.db");
    for error in refused("another's", behind.path()) {
        assert!(matches!(&error, OpenError::Foreign { path } if *path == blocks), "{error:?}");
    }
    std::fs::copy(behind.path().join("causerie.db"), &blocks).unwrap();
    for error in refused("no blocks", behind.path()) {
        assert!(matches!(&error, OpenError::NotAStore { path } if *path == blocks), "{error:?}");
    }
    put(before.path(), behind.path(), "causerie-blocks.db");
    edit_blocks(behind.path(), |db| db.execute_batch("CREATE TABLE more (x)").unwrap());
    let error = SqliteStore::open(behind.path(), small()).unwrap_err();
    assert!(matches!(&error, OpenError::Schema { path, .. } if *path == blocks), "{error:?}");
    let told = SqliteStore::open_to_read(behind.path(), small()).unwrap().check().problems;
    assert!(told.iter().any(|told| told.contains("table 'more'")), "{told:?}");
    // Blocks beside nothing are what is left of a store.
    std::fs::remove_file(behind.path().join("causerie.db")).unwrap();
    let error = SqliteStore::open(behind.path(), small()).unwrap_err();
    assert!(matches!(&error, OpenError::Emptied { .. }), "{error:?}");
    // Where nothing was ever moved, they are made.
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(vec![create(A), append(A, 1, 9)]).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("causerie-blocks.db")).unwrap();
    let store = SqliteStore::open_to_read(dir.path(), small()).unwrap();
    assert_eq!((all(&store, A, 99), store.check().is_clean()), ((run(1, 9).to_vec(), vec![]), true));
    drop(store);
    let store = open(dir.path());
    store.tidy().unwrap();
    assert_eq!(all(&store, A, 99), (run(1, 9).to_vec(), vec![]));
}

#[test]
fn blocks_of_one_file_are_taken_over_while_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (RoomId(0), RoomId(2));
    let store = open(dir.path());
    store.commit(vec![create(a), create(b)]).unwrap();
    for first in (1..=12_000).step_by(2_000) {
        store.commit(vec![append(a, first, first + 1_999), append(b, first, first + 1_999)]).unwrap();
    }
    store.tidy().unwrap();
    store.commit(vec![append(a, 12_001, 12_010)]).unwrap();
    store.retain(b, Retention { count: Some(11_000), ..Retention::default() }, 0).unwrap();
    drop(store);
    as_format_6(dir.path());
    std::fs::remove_file(dir.path().join("causerie-blocks.db")).unwrap();
    let whole = |store: &SqliteStore| {
        assert_eq!(all(store, a, 90_000), (run(1, 12_010).to_vec(), vec![]));
        assert_eq!(all(store, b, 90_000), (run(1_001, 12_000).to_vec(), vec![(1, 1_000)]));
        let back = store.read_before(b, Position::new(12_001), 20_000, usize::MAX).unwrap();
        assert_eq!(
            (back.runs.concat(), back.gap),
            (run(1_001, 12_000).to_vec(), Some(Position::FIRST..=Position::new(1_000)))
        );
        let found = store.positions(a, member(1), 1, 99_999, 99_999).unwrap();
        assert_eq!(found, (1..=12_010).map(Position::new).collect::<Vec<_>>());
        assert_eq!(store.positions(a, member(1), 5, 99_999, 3).unwrap(), [5, 6, 7].map(Position::new));
    };
    let options = Options { copy_before_upgrade: false, ..small() };
    let store = SqliteStore::open(dir.path(), options.clone()).unwrap();
    whole(&store);
    assert!(!store.search(Some(a), "text", None, 9).unwrap().complete);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                whole(&store);
                rounds += 1;
            }
            rounds
        });
        store.tidy().unwrap();
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        println!("read {} times meanwhile", reads.join().unwrap());
    });
    whole(&store);
    let found = store.search(None, "text 7777", None, 9).unwrap();
    assert_eq!((found.hits.len(), found.complete), (2, true));
    let report = store.check();
    assert!(report.is_clean(), "{report:?}");
    let left = |db: &rusqlite::Connection| {
        ["block", "place", "author"].map(|table| {
            db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
        })
    };
    assert_eq!(edit(dir.path(), left), [0, 0, 0], "all of it has gone over");
    drop(store);
    whole(&SqliteStore::open(dir.path(), options).unwrap());
}

#[test]
fn a_damaged_block_of_one_file_stays_damaged_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(vec![create(A), append(A, 1, 9_000)]).unwrap();
    store.tidy().unwrap();
    drop(store);
    as_format_6(dir.path());
    std::fs::remove_file(dir.path().join("causerie-blocks.db")).unwrap();
    let (first, last) = edit(dir.path(), |db| {
        db.execute("UPDATE block SET directory = x'00' WHERE id = 2", []).unwrap();
        let place = "SELECT first, last FROM place WHERE block = 2";
        db.query_row(place, [], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)))
            .unwrap()
    });
    for _ in 0..2 {
        let store = open(dir.path());
        for _ in 0..2 {
            let wanted = [run(1, first - 1), run(last + 1, 9_000)].concat();
            assert_eq!(all(&store, A, 90_000), (wanted, vec![(first, last)]));
            assert_eq!(store.check().damaged.len(), 1);
            store.tidy().unwrap();
        }
        assert!(store.search(None, "text", None, 1).unwrap().complete, "as far as it can be");
    }
    // What is removed goes from both, and what is closed.
    let store = open(dir.path());
    let blocks =
        |db: &rusqlite::Connection| db.query_row("SELECT count(*) FROM place", [], |r| r.get::<_, i64>(0));
    assert_eq!(edit(dir.path(), blocks), Ok(1));
    store.retain(A, Retention { count: Some(9_000 - last), ..Retention::default() }, 0).unwrap();
    assert_eq!(edit(dir.path(), blocks), Ok(0));
    assert!(store.check().is_clean());
    store.commit(vec![Change::Close { room: A }]).unwrap();
    store.tidy().unwrap();
    assert_eq!((edit_blocks(dir.path(), blocks), store.check().is_clean()), (Ok(0), true));
}

#[test]
fn copies_of_a_store_in_use_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let eager = Options { background: true, staging_age: std::time::Duration::from_millis(1), ..small() };
    let store = SqliteStore::open(&data, eager).unwrap();
    store.commit(vec![create(A), create(RoomId(1))]).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            let mut last = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                // Both rooms grow by the same commits.
                store
                    .commit(vec![append(A, last + 1, last + 7), append(RoomId(1), last + 1, last + 7)])
                    .unwrap();
                last += 7;
                if last % 70 == 0 {
                    store.retain(A, Retention { count: Some(300), ..Retention::default() }, 0).unwrap();
                }
            }
        });
        for n in 0..12 {
            let copy = dir.path().join(format!("copy {n}"));
            SqliteStore::backup_of(&data, &copy).unwrap();
            let copy = SqliteStore::open_to_read(&copy, small()).unwrap();
            let report = copy.check();
            assert!(report.is_clean(), "copy {n}: {report:?}");
            let rooms = copy.rooms().unwrap();
            assert_eq!(rooms[0].last, rooms[1].last, "copy {n}: of one commit all or nothing");
            assert_eq!(
                all(&copy, RoomId(1), 90_000),
                (run(1, rooms[1].last.get()).to_vec(), vec![]),
                "copy {n}"
            );
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        writes.join().unwrap();
    });
}

#[test]
fn removed_records_give_their_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(vec![create(A)]).unwrap();
    for first in (1..=40_000).step_by(2_000) {
        store.commit(vec![append(A, first, first + 1_999)]).unwrap();
    }
    store.tidy().unwrap();
    drop(store);
    let store = open(dir.path());
    let before = store.stats();
    store.retain(A, Retention { count: Some(1_000), ..Retention::default() }, 0).unwrap();
    store.tidy().unwrap();
    drop(store);
    let store = open(dir.path());
    let after = store.stats();
    // What the search index keeps goes when its parts are merged, some time.
    assert!(after.file_bytes < before.file_bytes * 2 / 3, "{before:?} {after:?}");
    assert_eq!((after.records, after.free_bytes), (1_000, 0));
    assert!(store.search(Some(A), "text 500", None, 9).unwrap().hits.is_empty());
    assert!(store.check().is_clean());
}

#[test]
fn a_store_has_a_greatest_size() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: Some(1 << 20), ..small() };
    let store = SqliteStore::open(dir.path(), options).unwrap();
    store.commit(vec![create(A)]).unwrap();
    let mut last = 0;
    let error = loop {
        match store.commit(vec![append(A, last + 1, last + 500)]) {
            Ok(()) => last += 500,
            Err(error) => break error,
        }
        assert!(last < 100_000, "it has no limit");
    };
    assert!(matches!(error, CommitError::Full(_)) && error.is_retryable(), "{error:?}");
    assert_eq!(all(&store, A, 99_000), (run(1, last).to_vec(), vec![]));
    store.retain(A, Retention { count: Some(100), ..Retention::default() }, 0).unwrap();
    store.tidy().unwrap();
    store.commit(vec![append(A, last + 1, last + 500)]).unwrap();
}

#[test]
fn damage_in_a_block_is_a_gap_of_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(vec![create(A), append(A, 1, 200)]).unwrap();
    store.tidy().unwrap();
    drop(store);
    // In the text of the 7th and the 8th record.
    let at = |position| run(1, position).len() - 3;
    edit_blocks(dir.path(), |db| {
        let mut frames: Vec<u8> = db.query_row("SELECT frames FROM block", [], |row| row.get(0)).unwrap();
        frames[at(7)] ^= 1;
        frames[at(8)] ^= 1;
        frames[at(150)] ^= 1;
        db.execute("UPDATE block SET frames = ?1", [frames]).unwrap();
    });
    let store = open(dir.path());
    let gaps = vec![(7, 8), (150, 150)];
    let wanted = [run(1, 6), run(9, 149), run(151, 200)].concat();
    assert_eq!(all(&store, A, 90_000), (wanted.clone(), gaps.clone()));
    let page = store.read_before(A, Position::new(20), 99, 9_999).unwrap();
    assert_eq!(
        (page.first, page.last, page.gap.clone(), page.previous()),
        (Position::new(9), Position::new(19), Some(Position::new(7)..=Position::new(8)), Position::new(7))
    );
    assert_eq!(
        store.read_before(A, Position::new(9), 99, 9_999).unwrap().gap,
        Some(Position::new(7)..=Position::new(8))
    );
    let report = store.check();
    assert_eq!((report.records, report.damaged.len()), (197, 2), "{report:?}");
    assert_eq!(store.stats().damaged, 3);
    // More comes behind it, and stays apart from it.
    store.commit(vec![append(A, 201, 210)]).unwrap();
    store.tidy().unwrap();
    assert_eq!(all(&store, A, 90_000), ([wanted, run(201, 210).to_vec()].concat(), gaps));
}

#[test]
fn damage_in_the_staging_area_is_a_gap_or_a_cut() {
    let dir = tempfile::tempdir().unwrap();
    let stage = || {
        let _ = std::fs::remove_dir_all(dir.path());
        let store = open(dir.path());
        store.commit(vec![create(A), create(RoomId(1)), append(RoomId(1), 1, 3)]).unwrap();
        for first in [1, 11, 21] {
            let name = Bytes::from_static(b"x");
            let mark = Change::Mark { room: A, name, position: Position::new(first + 5) };
            store.commit(vec![append(A, first, first + 9), mark]).unwrap();
        }
    };
    let flip = |column: &str, id: i64| {
        edit(dir.path(), |db| {
            let select = format!("SELECT {column} FROM staging WHERE id = ?1");
            let mut bytes: Vec<u8> = db.query_row(&select, [id], |row| row.get(0)).unwrap();
            *bytes.last_mut().unwrap() ^= 4;
            db.execute(&format!("UPDATE staging SET {column} = ?2 WHERE id = ?1"), (id, bytes)).unwrap();
        });
    };
    // The last record of the second batch.
    stage();
    flip("frames", 3);
    let store = open(dir.path());
    assert_eq!((store.recovery().records_damaged, &*store.recovery().rooms_cut), (1, &[][..]));
    for _ in 0..2 {
        assert_eq!(all(&store, A, 999), ([run(1, 19), run(21, 30)].concat(), vec![(20, 20)]));
        store.tidy().unwrap();
    }
    drop(store);
    // The whole second batch: what comes behind it shows what is missing.
    stage();
    flip("head", 3);
    let store = open(dir.path());
    assert_eq!((store.recovery().batches_damaged, &*store.recovery().rooms_cut), (1, &[RoomId(1)][..]));
    for _ in 0..2 {
        assert_eq!(all(&store, A, 999), ([run(1, 10), run(21, 30)].concat(), vec![(11, 20)]));
        let page = store.read_before(A, Position::new(25), 99, 9_999).unwrap();
        assert_eq!((page.first, page.gap), (Position::new(21), Some(Position::new(11)..=Position::new(20))));
        store.tidy().unwrap();
    }
    drop(store);
    // The last batch: nothing shows how far the log had come.
    stage();
    flip("head", 4);
    let store = open(dir.path());
    assert_eq!(store.recovery().rooms_cut, [A, RoomId(1)]);
    assert_eq!(store.rooms().unwrap()[0].last, Position::new(20));
    store.commit(vec![append(A, 21, 29)]).unwrap();
    store.tidy().unwrap();
    assert_eq!(all(&store, A, 999), (run(1, 29).to_vec(), vec![]));
    assert_eq!(
        store.marked(A, b"x", Position::START, 9),
        Ok(vec![Position::new(6), Position::new(16)]),
        "what has the position now has not the name"
    );
    drop(store);
    // Unless a checkpoint does.
    stage();
    let state = Bytes::from_static(b"state");
    open(dir.path())
        .commit(vec![Change::Checkpoint { room: A, position: Position::new(30), state }])
        .unwrap();
    flip("head", 4);
    let store = open(dir.path());
    assert_eq!(all(&store, A, 999), (run(1, 20).to_vec(), vec![(21, 30)]));
    let page = store.read_before(A, Position::new(31), 99, 9_999).unwrap();
    assert_eq!(
        (page.is_empty(), page.gap.clone(), page.previous()),
        (true, Some(Position::new(21)..=Position::new(30)), Position::new(21))
    );
    store.commit(vec![append(A, 31, 33)]).unwrap();
    for _ in 0..2 {
        let wanted = ([run(1, 20), run(31, 33)].concat(), vec![(21, 30)]);
        assert_eq!(all(&store, A, 999), wanted);
        store.tidy().unwrap();
    }
    drop(store);
    assert_eq!(open(dir.path()).rooms().unwrap()[0].last, Position::new(33));
}

#[test]
fn damaged_rows_are_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let state = Bytes::from_static(b"state");
    store.commit(vec![create(A), create(RoomId(1)), append(A, 1, 9)]).unwrap();
    store.commit(vec![Change::Checkpoint { room: A, position: Position::new(9), state }]).unwrap();
    store
        .commit((1..4).map(|n| Change::Member { room: A, row: member_row(n, None, None) }).collect())
        .unwrap();
    drop(store);
    edit(dir.path(), |db| {
        db.execute("UPDATE room SET name = 'another' WHERE id = 1", []).unwrap();
        db.execute("UPDATE member SET taken = taken + 1 WHERE member = 2", []).unwrap();
        db.execute("UPDATE checkpoint SET state = x'5374617465'", []).unwrap();
    });
    let store = open(dir.path());
    assert_eq!(store.recovery().rooms_damaged, [RoomId(1)]);
    let rooms = store.rooms().unwrap();
    assert_eq!((rooms.len(), rooms[0].checkpoint.clone(), rooms[0].last), (1, None, Position::new(9)));
    let members = store.members(A, causerie_store::MemberSelection::Present).unwrap();
    assert_eq!(members.iter().map(|m| m.member.ordinal).collect::<Vec<_>>(), [1, 3]);
    let report = store.check();
    assert_eq!(report.problems.len(), 3, "{report:?}");
    assert_eq!(store.next_room().unwrap(), RoomId(2));
}

#[test]
fn an_older_index_is_made_anew_in_steps_while_the_store_is_used() {
    let dir = tempfile::tempdir().unwrap();
    // Without makers, which stores of that time did not know.
    let (a, b, texts) = (RoomId(1), RoomId(3), 4_000);
    let store = open(dir.path());
    store.commit(vec![create(a), create(b), append(b, 1, 5)]).unwrap();
    for first in (1..=texts).step_by(1_000) {
        store.commit(vec![append(a, first, first + 999)]).unwrap();
    }
    store.tidy().unwrap();
    drop(store);
    as_format_6(dir.path());
    std::fs::remove_file(dir.path().join("causerie-blocks.db")).unwrap();
    edit(dir.path(), |db| {
        db.execute_batch(
            "DROP TABLE words; DROP TABLE unindexed; PRAGMA user_version = 4;
             ALTER TABLE room DROP COLUMN maker; ALTER TABLE room DROP COLUMN closed;
             CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0);
             INSERT INTO words (rowid, text) VALUES (1, 'of another time');",
        )
        .unwrap();
    });
    let store = open(dir.path());
    let found = |query: &str| store.search(Some(a), query, None, 9_999).unwrap();
    let none = found("text");
    assert_eq!((none.hits.len(), none.complete), (0, false), "it says so");
    store.commit(vec![append(a, texts + 1, texts + 10), Change::Close { room: b }]).unwrap();
    store.retain(a, Retention { count: Some(3_000), ..Retention::default() }, 0).unwrap();
    store.tidy().unwrap();
    let all = found("text");
    assert_eq!((all.hits.len(), all.complete), (3_000, true));
    let positions: Vec<_> = all.hits.iter().map(|hit| hit.position.get()).collect();
    assert_eq!(positions, (texts - 2_989..=texts + 10).rev().collect::<Vec<_>>());
    assert!(store.search(None, "another", None, 9).unwrap().hits.is_empty());
    // What goes takes its words along.
    store.retain(a, Retention { count: Some(0), ..Retention::default() }, 0).unwrap();
    store.tidy().unwrap();
    drop(store);
    let left = |db: &rusqlite::Connection| {
        db.query_row("SELECT count(*) FROM words WHERE words MATCH 'text'", [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(edit_blocks(dir.path(), left), Ok(0));
    assert!(open(dir.path()).check().is_clean());
}

#[test]
fn a_search_ends_in_time_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(vec![create(A), append(A, 1, 900)]).unwrap();
    store.tidy().unwrap();
    drop(store);
    let hurried = Options { search_time: std::time::Duration::ZERO, ..small() };
    let store = SqliteStore::open(dir.path(), hurried).unwrap();
    for room in [Some(A), None] {
        assert_eq!(store.search(room, "text", None, 900), Err(StoreError::SearchTooLong));
    }
    assert_eq!(store.read(A, Position::START, 99).unwrap().first, Position::FIRST);
    drop(store);
    assert_eq!(open(dir.path()).search(Some(A), "text", None, 900).unwrap().hits.len(), 900);
}

#[test]
fn without_an_index_there_is_no_search() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), Options { search: false, ..small() }).unwrap();
    store.commit(vec![create(A), append(A, 1, 9)]).unwrap();
    store.tidy().unwrap();
    assert_eq!(store.search(None, "text", None, 9), Err(StoreError::NoSearch));
    drop(store);
    let store = open(dir.path());
    store.commit(vec![append(A, 10, 12)]).unwrap();
    store.tidy().unwrap();
    assert_eq!(store.search(None, "text", None, 9).unwrap().hits.len(), 3, "only what came with an index");
    store.retain(A, Retention { count: Some(1), ..Retention::default() }, 0).unwrap();
    store.tidy().unwrap();
    assert!(store.check().is_clean());
}

/// Damages the head of the staged batch that is `back` before the last.
fn damage_head(dir: &Path, back: i64) {
    let damage = "UPDATE staging SET head = x'00' WHERE id = (SELECT max(id) FROM staging) - ?1";
    assert_eq!(edit(dir, |db| db.execute(damage, [back])).unwrap(), 1);
}

#[test]
fn a_lost_end_is_not_hidden_by_what_other_rooms_stored_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (b, c) = (RoomId(1), RoomId(2));
    let store = open(dir.path());
    store.commit(vec![create(A), create(b), create(c)]).unwrap();
    store.commit(vec![append(A, 1, 10), append(b, 1, 3), append(c, 1, 4)]).unwrap();
    store.commit(vec![append(A, 11, 20), append(b, 4, 5)]).unwrap();
    store.commit(vec![append(b, 6, 7)]).unwrap();
    drop(store);
    damage_head(dir.path(), 1);
    let store = open(dir.path());
    let found: Vec<_> = store.rooms().unwrap().iter().map(|r| (r.last, r.cut)).collect();
    // Whether the third room was in the damaged batch nobody knows.
    assert_eq!(found, [(Position::new(10), true), (Position::new(7), false), (Position::new(4), true)]);
    assert_eq!(store.recovery().rooms_cut, [A, c]);
    assert_eq!(all(&store, b, 99), ([run(1, 3), run(6, 7)].concat(), vec![(4, 5)]));
}

#[test]
fn a_lost_end_is_known_until_the_room_has_another_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(vec![create(A), create(RoomId(1))]).unwrap();
    store.commit(vec![append(A, 1, 10)]).unwrap();
    store.commit(vec![append(A, 11, 20)]).unwrap();
    drop(store);
    damage_head(dir.path(), 0);
    let cut = |store: &SqliteStore| store.rooms().unwrap().iter().map(|r| r.cut).collect::<Vec<_>>();
    let store = open(dir.path());
    // The damaged batch goes, and the server ends before the rooms have begun anew.
    store.tidy().unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.recovery().batches_damaged, 0);
    assert_eq!(cut(&store), [true, true]);
    let state = Bytes::from_static(b"anew");
    store
        .commit(vec![append(A, 11, 12), Change::Checkpoint { room: A, position: Position::new(12), state }])
        .unwrap();
    assert_eq!(cut(&store), [false, true]);
    store.commit(vec![Change::Close { room: RoomId(1) }]).unwrap();
    drop(store);
    assert_eq!(cut(&open(dir.path())), [false]);
    assert_eq!(edit(dir.path(), |db| db.query_row("SELECT count(*) FROM cut", [], |r| r.get(0))), Ok(0));
}
