//! Folders that older versions wrote, as they wrote them, and databases that are not as they should be.
//!
//! `tests/formats/` has a folder for each format, made by the versions of then with the same few commits.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_store::{
    Change, MemberSelection, OpenError, Options, Retention, RoomId, SqliteStore, Store, StoreError,
};
use common::{all, append, create, member_row, run, small};

const A: RoomId = RoomId(0);

/// Each format, in a folder of its own. The first one had two search indices.
const FORMATS: [(&str, i64); 8] =
    [("1a", 1), ("1b", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("6", 6), ("7", 7)];
/// The first one that knows makers and closed rooms, and in which native members prove keys.
const CLOSED: i64 = 6;
const KEYS: i64 = 6;

/// A copy of what an older version wrote, and whether there are marks in it.
fn older(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name);
    for name in SqliteStore::FILES.iter().filter(|name| made.join(name).exists()) {
        std::fs::copy(made.join(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// All that is in a folder: names, lengths, checksums.
fn files(dir: &Path) -> BTreeMap<PathBuf, (usize, u32)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, (bytes.len(), crc32c::crc32c(&bytes)));
            }
        }
    }
    found
}

/// What the version of that format stored.
fn is_whole(store: &SqliteStore, format: i64) {
    assert_eq!(all(store, A, 9_000), (run(1, 12).to_vec(), vec![]));
    assert_eq!(store.rooms().unwrap().len(), 2);
    assert_eq!(store.rooms().unwrap()[0].checkpoint.as_ref().unwrap().position, Position::new(9));
    // Older versions kept of native members what nobody can prove any more: they join anew.
    let secret = (format >= KEYS).then_some(1);
    assert_eq!(store.members(A, MemberSelection::Present).unwrap(), [member_row(1, None, secret)]);
    let report = store.check();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.records, 12);
}

#[test]
fn an_older_store_is_read_as_it_is() {
    for (name, format) in FORMATS {
        let dir = older(name);
        let before = files(dir.path());
        let store = SqliteStore::open_to_read(dir.path(), small()).unwrap();
        assert_eq!(store.format(), format);
        is_whole(&store, format);
        let rooms = store.rooms().unwrap().into_iter().map(|room| (room.row.maker, room.row.closed_millis));
        let known =
            if format < CLOSED { [(None, None); 2] } else { [(Some([7; 32]), None), (None, Some(7))] };
        assert_eq!(rooms.collect::<Vec<_>>(), known, "format {name}");
        let marked = store.marked(A, b"x", Position::START, 9).unwrap();
        assert_eq!(marked, if format > 1 { vec![Position::new(9)] } else { vec![] }, "format {name}");
        store.stats();
        let copies = tempfile::tempdir().unwrap();
        store.backup(&copies.path().join("copy")).unwrap();
        drop(store);
        assert_eq!(files(dir.path()), before, "format {name}: reading changes nothing");
        let copy = SqliteStore::open_to_read(copies.path().join("copy"), small()).unwrap();
        assert_eq!(copy.format(), format);
        is_whole(&copy, format);
    }
}

#[test]
fn an_older_store_is_copied_and_brought_up_to_date() {
    for (name, format) in FORMATS.into_iter().filter(|(_, format)| *format < SqliteStore::FORMAT) {
        let dir = older(name);
        for _ in 0..2 {
            let store = SqliteStore::open(dir.path(), small()).unwrap();
            assert_eq!(store.format(), SqliteStore::FORMAT);
            is_whole(&store, format);
            let mark = Change::Mark { room: A, name: Bytes::from_static(b"y"), position: Position::new(9) };
            store.commit(vec![mark]).unwrap();
            assert_eq!(store.marked(A, b"y", Position::START, 9), Ok(vec![Position::new(9)]));
            // What has to go out of the search index does so, whatever that was.
            store.tidy().unwrap();
            assert_eq!(store.search(Some(A), "text 9", None, 9).unwrap().hits.len(), 1, "format {name}");
        }
        let copy = dir.path().join(format!("before-format-{}", SqliteStore::FORMAT));
        let copy = SqliteStore::open_to_read(copy, small()).unwrap();
        assert_eq!(copy.format(), format, "the way back");
        is_whole(&copy, format);
        let store = SqliteStore::open(dir.path(), small()).unwrap();
        store.retain(A, Retention { count: Some(1), ..Retention::default() }, 0).unwrap();
        store.tidy().unwrap();
        assert!(store.check().is_clean());
    }
}

#[test]
fn without_room_for_a_copy_an_older_store_stays_as_it_is() {
    let dir = older("3");
    // Where the copy shall be there is something else.
    std::fs::write(dir.path().join(format!("before-format-{}", SqliteStore::FORMAT)), "").unwrap();
    let refused = SqliteStore::open(dir.path(), small());
    assert!(matches!(refused, Err(OpenError::Copy { found: 3, .. })), "{refused:?}");
    is_whole(&SqliteStore::open_to_read(dir.path(), small()).unwrap(), 3);
    let options = Options { copy_before_upgrade: false, ..small() };
    is_whole(&SqliteStore::open(dir.path(), options).unwrap(), 3);
}

fn edit(dir: &Path, sql: &str) {
    rusqlite::Connection::open(dir.join("causerie.db")).unwrap().execute_batch(sql).unwrap();
}

/// A store with a room of nine records, closed.
fn filled(dir: &Path) {
    let store = SqliteStore::open(dir, small()).unwrap();
    store.commit(vec![create(A), create(RoomId(1)), append(A, 1, 9), append(RoomId(1), 1, 9)]).unwrap();
    store.tidy().unwrap();
    let row = member_row(1, None, None);
    let members = [A, RoomId(1)].map(|room| Change::Member { room, row: row.clone() });
    store.commit(members.into()).unwrap();
}

#[test]
fn other_tables_columns_indices_triggers_and_views_are_refused_and_told() {
    for (sql, told) in [
        (
            "CREATE TRIGGER gone AFTER INSERT ON staging BEGIN DELETE FROM block; END",
            "trigger 'gone' on 'staging'",
        ),
        ("CREATE TRIGGER less INSTEAD OF INSERT ON seen BEGIN SELECT 1; END", "trigger 'less'"),
        ("", "view 'seen'"),
        ("CREATE TABLE more (x)", "table 'more'"),
        ("DROP TABLE mark", "missing: table 'mark'"),
        ("ALTER TABLE room ADD COLUMN x TEXT", "of 'room': 'x' TEXT"),
        ("ALTER TABLE room DROP COLUMN port", "missing: column 2 of 'room': 'port' INTEGER"),
        ("ALTER TABLE room RENAME COLUMN creator TO port2", "'port2' TEXT not null"),
        ("DROP INDEX present", "missing: index 'present' of 'member'"),
        (
            "CREATE UNIQUE INDEX one ON member (room)",
            "index 'one' of 'member', part 0: room (BINARY, unique)",
        ),
        ("DROP INDEX known; CREATE INDEX known ON member (room) WHERE token IS NULL", "WHERE token IS NULL"),
        ("DROP TABLE cut; CREATE TABLE cut (room TEXT PRIMARY KEY)", "column 0 of 'cut': 'room' TEXT"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        if told.contains("view") || sql.contains("INSTEAD") {
            edit(dir.path(), "CREATE VIEW seen AS SELECT * FROM room");
        }
        edit(dir.path(), sql);
        let refused = SqliteStore::open(dir.path(), small()).expect_err(told).to_string();
        assert!(refused.contains(told), "{sql}: {refused}");
        // What can be read is read, and the check tells.
        let told_by_check = match SqliteStore::open_to_read(dir.path(), small()) {
            Ok(store) => store.check().problems.join("\n"),
            Err(error) => error.to_string(),
        };
        assert!(told_by_check.contains(told), "{sql}: {told_by_check}");
    }
}

#[test]
fn an_emptied_store_is_told_from_a_new_one() {
    let emptied = |what: &str, empty: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        empty(dir.path());
        let before = files(dir.path());
        for refused in
            [SqliteStore::open(dir.path(), small()), SqliteStore::open_to_read(dir.path(), small())]
        {
            assert!(matches!(refused, Err(OpenError::Emptied { .. })), "{what}: {refused:?}");
        }
        assert_eq!(files(dir.path()).len(), before.len(), "{what}: nothing is made");
    };
    emptied("blocks gone", &|dir| std::fs::remove_file(dir.join("causerie-blocks.db")).unwrap());
    emptied("blocks cut to nothing", &|dir| std::fs::write(dir.join("causerie-blocks.db"), "").unwrap());
    emptied("only the blocks' log is there", &|dir| {
        std::fs::write(dir.join("causerie-blocks.db"), "").unwrap();
        std::fs::write(dir.join("causerie-blocks.db-wal"), "something").unwrap();
    });
    emptied("gone", &|dir| std::fs::remove_file(dir.join("causerie.db")).unwrap());
    emptied("cut to nothing", &|dir| std::fs::write(dir.join("causerie.db"), "").unwrap());
    emptied("without a row", &|dir| {
        let tables = ["meta", "room", "checkpoint", "member", "staging", "block", "place", "author", "kept"];
        tables.iter().for_each(|table| edit(dir, &format!("DELETE FROM {table}")));
    });
    emptied("without a table", &|dir| {
        std::fs::write(dir.join("causerie.db"), "").unwrap();
        edit(dir, "VACUUM");
    });
    emptied("only its log is there", &|dir| {
        std::fs::write(dir.join("lock"), "").unwrap();
        std::fs::write(dir.join("causerie.db"), "").unwrap();
        std::fs::write(dir.join("causerie.db-wal"), "something").unwrap();
    });
    // A store that never had rooms is none.
    let dir = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(dir.path(), small()).unwrap());
    SqliteStore::FILES.iter().for_each(|name| std::fs::remove_file(dir.path().join(name)).unwrap());
    filled(dir.path());
    // One whose rooms have all been closed is empty rightly.
    let store = SqliteStore::open(dir.path(), small()).unwrap();
    store.commit(vec![Change::Close { room: A }, Change::Close { room: RoomId(1) }]).unwrap();
    store.tidy().unwrap();
    drop(store);
    assert!(SqliteStore::open(dir.path(), small()).unwrap().check().is_clean());
}

#[test]
fn rows_that_were_taken_away_are_missed() {
    let [file, blocks] = SqliteStore::FILES;
    for (name, sql, told) in [
        (file, "DELETE FROM room WHERE id = 1", "room 1: it is gone, and 1 rows of 'member' are there"),
        (file, "DELETE FROM room WHERE id = 1", "room 1: it is gone, and 1 rows of 'place' are there"),
        (blocks, "DELETE FROM place WHERE room = 1", "1 blocks of records belong nowhere"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        rusqlite::Connection::open(dir.path().join(name)).unwrap().execute_batch(sql).unwrap();
        let report = SqliteStore::open_to_read(dir.path(), small()).unwrap().check();
        assert!(report.problems.iter().any(|problem| problem.contains(told)), "{sql}: {report:?}");
    }
}

#[test]
fn a_closed_store_is_its_databases_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), Options::default()).unwrap();
    store.commit(vec![create(A), append(A, 1, 500)]).unwrap();
    store.tidy().unwrap();
    store.commit(vec![append(A, 501, 900)]).unwrap();
    assert_eq!(store.read(A, Position::START, 9).unwrap().first, Position::FIRST);
    store.close().unwrap();
    let names: Vec<_> =
        files(dir.path()).into_keys().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["causerie-blocks.db", "causerie.db", "lock"]);
    assert!(matches!(store.read(A, Position::START, 9), Err(StoreError::Failed(_))), "it is closed");
    let copy = tempfile::tempdir().unwrap();
    for name in SqliteStore::FILES {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let copy = SqliteStore::open_to_read(copy.path(), small()).unwrap();
    assert_eq!(all(&copy, A, 9_000), (run(1, 900).to_vec(), vec![]));
    assert!(copy.check().is_clean());
    let refused = SqliteStore::open_to_read(dir.path(), small());
    assert!(matches!(refused, Err(OpenError::Locked { .. })), "until it is dropped it is ours: {refused:?}");
    drop(store);
    SqliteStore::open_to_read(dir.path(), small()).unwrap();
}

/// What a killed process leaves: the database, and what was stored last in a log beside it.
fn killed() -> tempfile::TempDir {
    let (running, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = SqliteStore::open(running.path(), small()).unwrap();
    store.commit(vec![create(A), append(A, 1, 90)]).unwrap();
    for name in ["causerie.db", "causerie.db-wal", "lock"] {
        std::fs::copy(running.path().join(name), dir.path().join(name)).unwrap();
    }
    dir
}

#[test]
fn a_log_is_read_and_left_where_it_is() {
    let dir = killed();
    let before = files(dir.path());
    assert!(before[&dir.path().join("causerie.db-wal")].0 > 1_000);
    // Several at once, and copies meanwhile.
    let one = SqliteStore::open_to_read(dir.path(), small()).unwrap();
    let two = SqliteStore::open_to_read(dir.path(), small()).unwrap();
    for store in [&one, &two] {
        assert_eq!(all(store, A, 900), (run(1, 90).to_vec(), vec![]));
        assert!(store.check().is_clean());
    }
    let copies = tempfile::tempdir().unwrap();
    SqliteStore::backup_of(dir.path(), copies.path().join("copy")).unwrap();
    assert!(matches!(SqliteStore::open(dir.path(), small()), Err(OpenError::Locked { .. })));
    drop((one, two));
    assert_eq!(files(dir.path()), before);
    let copy = SqliteStore::open(copies.path().join("copy"), small()).unwrap();
    assert_eq!(all(&copy, A, 900), (run(1, 90).to_vec(), vec![]));
}

#[test]
fn whoever_only_reads_cannot_write() {
    let dir = killed();
    let store = SqliteStore::open_to_read(dir.path(), small()).unwrap();
    store.commit(vec![append(A, 91, 92)]).unwrap_err();
    assert_eq!(store.read(A, Position::START, 9_000).unwrap().last, Position::new(90));
}

#[cfg(unix)]
#[test]
fn what_is_made_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let rights = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let are_private = |folder: &Path| {
        let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        let all: Vec<_> = names.iter().map(|path| (path, rights(path))).collect();
        assert!(rights(folder) == 0o700 && all.iter().all(|(_, rights)| *rights == 0o600), "{all:?}");
        names.len()
    };
    // All of it new, with the log and its index.
    let data = dir.path().join("new/data");
    let store = SqliteStore::open(&data, small()).unwrap();
    store.commit(vec![create(A), append(A, 1, 9)]).unwrap();
    store.read(A, Position::START, 1).unwrap();
    assert_eq!((are_private(&data), rights(data.parent().unwrap())), (7, 0o700));
    store.backup(&dir.path().join("copy")).unwrap();
    are_private(&dir.path().join("copy"));
    drop(store);
    // One that others could look into.
    set(&data, 0o755);
    std::fs::read_dir(&data).unwrap().for_each(|entry| set(&entry.unwrap().path(), 0o644));
    let store = SqliteStore::open(&data, small()).unwrap();
    store.commit(vec![append(A, 10, 12)]).unwrap();
    are_private(&data);
}
