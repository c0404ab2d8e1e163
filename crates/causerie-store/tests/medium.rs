//! A real disk that is full when the store is opened, and one that cannot be written: a small file system in memory, in
//! a namespace of the test's own. Where the system gives none, nothing is tested, and that is said.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use causerie_store::{CommitError, Options, Retention, RoomId, SqliteStore, Store, StoreError};
use common::{all, append, create, run, small};

const A: RoomId = RoomId(0);
const MOUNTED: &str = "CAUSERIE_TEST_MOUNTED";

/// Runs a test of this file once more, where `MOUNTED` is a file system of 2 MiB.
fn in_a_namespace(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let unshared = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", command]).env(MOUNTED, dir.path());
        unshare
    };
    let mount = format!("mount -t tmpfs -o size=2m tmpfs \"${MOUNTED}\"");
    if !unshared(&mount).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: {test} needs a file system of its own, and may not mount one");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let command = format!("{mount} && exec '{}' --exact {test} --nocapture", program.display());
    assert!(unshared(&command).status().unwrap().success());
}

fn fill(dir: &Path) {
    let mut bytes = 1 << 20;
    let mut file = fs::File::create(dir.join("fill")).unwrap();
    while bytes > 0 {
        if std::io::Write::write_all(&mut file, &vec![0; bytes]).is_err() {
            bytes /= 2;
        }
    }
}

fn mounted(test: &str) -> Option<std::path::PathBuf> {
    let mounted = std::env::var_os(MOUNTED);
    if mounted.is_none() {
        in_a_namespace(test);
    }
    mounted.map(Into::into)
}

#[test]
fn a_store_on_a_full_disk_is_read_and_takes_more_once_there_is_room() {
    let Some(disk) = mounted("a_store_on_a_full_disk_is_read_and_takes_more_once_there_is_room") else {
        return;
    };
    let data = disk.join("data");
    let options = Options { background: true, ..small() };
    let store = SqliteStore::open(&data, options.clone()).unwrap();
    store.commit(vec![create(A), append(A, 1, 200)]).unwrap();
    drop(store);
    fill(&disk);
    let store = SqliteStore::open(&data, options).unwrap();
    for _ in 0..2 {
        assert_eq!(all(&store, A, 900), (run(1, 200).to_vec(), vec![]));
        let refused = store.commit(vec![append(A, 201, 400)]);
        assert!(matches!(refused, Err(CommitError::Full(_))), "{refused:?}");
        let kept = store.retain(A, Retention { count: Some(1), ..Retention::default() }, 0);
        assert!(matches!(kept, Err(StoreError::Full(_))), "{kept:?}");
    }
    assert!(store.check().is_clean());
    fs::remove_file(disk.join("fill")).unwrap();
    store.commit(vec![append(A, 201, 400)]).unwrap();
    store.tidy().unwrap();
    assert_eq!(all(&store, A, 900), (run(1, 400).to_vec(), vec![]));
    drop(store);
    assert!(SqliteStore::open_to_read(&data, small()).unwrap().check().is_clean());
}

#[test]
fn a_medium_that_cannot_be_written_is_checked_and_copied() {
    let Some(disk) = mounted("a_medium_that_cannot_be_written_is_checked_and_copied") else { return };
    let remount = |how: &str| {
        assert!(Command::new("mount").args(["-o", how]).arg(&disk).status().unwrap().success());
    };
    let data = disk.join("data");
    let store = SqliteStore::open(&data, small()).unwrap();
    store.commit(vec![create(A), append(A, 1, 200)]).unwrap();
    // As a killed process leaves it, and after an orderly end.
    let killed = disk.join("killed");
    fs::create_dir(&killed).unwrap();
    for name in ["causerie.db", "causerie.db-wal"] {
        fs::copy(data.join(name), killed.join(name)).unwrap();
    }
    drop(store);
    remount("remount,ro");
    for from in [&data, &killed] {
        let store = SqliteStore::open_to_read(from, small()).unwrap();
        assert_eq!(all(&store, A, 900), (run(1, 200).to_vec(), vec![]));
        assert!(store.check().is_clean());
        let copies = tempfile::tempdir().unwrap();
        SqliteStore::backup_of(from, copies.path().join("copy")).unwrap();
        let copy = SqliteStore::open(copies.path().join("copy"), small()).unwrap();
        assert_eq!(all(&copy, A, 900), (run(1, 200).to_vec(), vec![]));
    }
    remount("remount,rw");
}
