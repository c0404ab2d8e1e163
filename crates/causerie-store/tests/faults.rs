//! Failing disks: power cuts at any operation with torn writes, full disks, failed writes and syncs, flipped bits.
//! Afterwards nothing acknowledged is lost, unless a bit was flipped: then it is a gap, or a named error, and
//! never another message. Nothing panics.
//!
//! `SEED=n cargo test -p causerie-store --test faults` replays one run of each, `SEEDS=n` runs that many.

mod common;

#[path = "common/disk.rs"]
mod disk;

use std::path::Path;

use causerie_core::id::Position;
use causerie_store::{
    Change, CommitError, MemberRow, MemberSelection, MemoryStore, OpenError, Options, RoomId, SqliteStore,
    Store, StoreError,
};
use common::{Random, append, create, member_row, positions_of, run, seeds, small};
use disk::{Disk, Faults};

/// The next batch, from what the twin has: appends, members, checkpoints, rooms that come and go.
fn batch(r: &mut Random, twin: &MemoryStore) -> Vec<Change> {
    let mut changes = Vec::new();
    for room in twin.rooms().unwrap() {
        if r.chance(60) {
            let most = if r.chance(10) { 150 } else { 6 };
            let last = room.last + 1 + r.below(most);
            changes.push(append(room.room, room.last.get() + 1, last.get()));
            if r.chance(30) {
                let state = vec![last.get() as u8; r.below(6_000) as usize].into();
                changes.push(Change::Checkpoint { room: room.room, position: last, state });
            }
            let row = MemberRow { taken: last.get(), ..member_row(r.below(3) as u32, None, None) };
            changes.push(Change::Member { room: room.room, row });
        }
        if r.chance(2) {
            changes.push(Change::Close { room: room.room });
        }
    }
    if r.chance(20) {
        changes.push(create(twin.next_room().unwrap()));
    }
    changes
}

/// Everything that a reader can see.
fn contents(store: &dyn Store) -> Result<impl PartialEq + std::fmt::Debug + use<>, StoreError> {
    let mut seen = Vec::new();
    for room in store.rooms()? {
        let (mut bytes, mut after, mut gaps) = (Vec::new(), 0, Vec::new());
        loop {
            let page = store.read(room.room, Position::new(after), 9_000)?;
            page.runs.iter().for_each(|run| bytes.extend_from_slice(run));
            gaps.extend(page.gap.clone());
            if page.next() == Position::new(after) {
                break;
            }
            after = page.next().get();
        }
        let right = bytes == run(room.first.get(), room.last.get());
        let members = store.members(room.room, MemberSelection::Present)?;
        seen.push((room.room, room.last, right, gaps, members, room.checkpoint));
    }
    Ok(seen)
}

fn open(folder: &Path, options: &Options) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(folder, options.clone())
}

/// Commits at random until the disk fails, or `steps` times. The batch that was not acknowledged, and why.
fn talk(
    r: &mut Random,
    store: &SqliteStore,
    twin: &MemoryStore,
    steps: u64,
) -> Result<(), (Vec<Change>, Option<CommitError>)> {
    for _ in 0..steps {
        if r.chance(20) {
            if store.tidy().is_err() {
                return Err((Vec::new(), None));
            }
            continue;
        }
        let changes = batch(r, twin);
        match store.commit(changes.clone()) {
            Ok(()) => twin.commit(changes).unwrap(),
            Err(error) => return Err((changes, Some(error))),
        }
    }
    Ok(())
}

/// What was found is what was acknowledged, and of the last batch all or nothing. The twin follows.
fn judge(store: &SqliteStore, twin: &mut MemoryStore, last: Vec<Change>, replay: &str) -> bool {
    let recovery = store.recovery();
    assert_eq!((recovery.batches_damaged, recovery.records_damaged), (0, 0), "{replay}");
    let report = store.check();
    assert!(report.is_clean(), "{report:?}; {replay}");
    let found = contents(store).unwrap();
    if found == contents(twin).unwrap() {
        return false;
    }
    twin.commit(last).unwrap();
    assert_eq!(found, contents(twin).unwrap(), "{replay}");
    true
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let (mut cuts, mut kept, mut between) = (0, 0, 0);
    for seed in seeds(60) {
        let replay = format!("SEED={seed} cargo test -p causerie-store --test faults power_cut");
        let r = &mut Random(seed);
        let disk = Disk::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut twin = MemoryStore::new();
        for _ in 0..6 {
            let store = match open(folder.path(), &small()) {
                Ok(store) => store,
                // The power went while it was being made or opened.
                Err(_) if disk.is_dead() => {
                    disk.power_cut();
                    open(folder.path(), &small()).unwrap()
                }
                Err(error) => panic!("{error}; {replay}"),
            };
            disk.faults(Faults { dies_at: Some(disk.operations() + r.below(400)), ..Faults::default() });
            let Err((last, _)) = talk(r, &store, &twin, 1_000) else { panic!("it never failed; {replay}") };
            assert!(disk.is_dead(), "{replay}");
            // Reading may go on from memory; writing does not.
            let again = store.commit(last.clone());
            assert!(last.is_empty() || again.is_err(), "{replay}");
            drop(store);
            disk.power_cut();
            cuts += 1;
            // Sometimes the power goes again while it recovers.
            if r.chance(30) {
                disk.faults(Faults { dies_at: Some(disk.operations() + r.below(30)), ..Faults::default() });
                let _ = open(folder.path(), &small()).map(|store| store.tidy());
                disk.power_cut();
            }
            let store = open(folder.path(), &small()).unwrap_or_else(|error| panic!("{error}; {replay}"));
            let rows = rusqlite::Connection::open(folder.path().join(SqliteStore::FILES[0])).unwrap();
            let rows =
                rows.query_row("SELECT count(*) FROM staging", [], |row| row.get::<_, i64>(0)).unwrap();
            between += u64::from(rows > 0 && store.stats().staged_bytes == 0);
            kept += u64::from(judge(&store, &mut twin, last, &replay));
        }
    }
    println!("{cuts} power cuts; {kept} times the batch that was not acknowledged was there");
    println!("{between} times all of it was in blocks, and its rows were there as well");
    assert!(between > 0 || std::env::var_os("SEED").is_some(), "none between the syncs of the two files");
}

/// Rooms 0 to 3 as they were filled, with some more in the first or without. Whether that is there.
fn is_as_filled(folder: &Path, options: &Options, lasts: &[u64], more: u64, replay: &str) -> bool {
    let store = open(folder, options).unwrap_or_else(|error| panic!("{error}; {replay}"));
    let report = store.check();
    assert!(report.is_clean(), "{report:?}; {replay}");
    let found: Vec<_> = store.rooms().unwrap().iter().map(|room| room.last.get()).collect();
    let there = found[0] > lasts[0];
    let wanted: Vec<_> =
        (0..).zip(lasts).map(|(room, last)| last + more * u64::from(there && room == 0)).collect();
    assert_eq!(found, wanted, "{replay}");
    for _ in 0..2 {
        assert_eq!(
            every_position_is_right_or_told(&store, &wanted, replay),
            (wanted.iter().sum(), 0),
            "{replay}"
        );
        for (room, &last) in wanted.iter().enumerate() {
            let found = store.positions(RoomId(room as u64), common::member(1), 1, last, 10_000).unwrap();
            assert!(found.into_iter().eq((1..=last).map(Position::new)), "{replay}");
        }
        store.tidy().unwrap();
    }
    there
}

/// Lets the power go at each operation of opening, moving and one more commit, or at one of so many, on a
/// disk that is `prepared`.
fn cut_at_each(of: usize, prepared: impl Fn(&Disk, &Path) -> Vec<u64>) {
    let options = Options { copy_before_upgrade: false, ..small() };
    let first = std::env::var("AT").ok().and_then(|at| at.parse().ok());
    for at in (first.unwrap_or(0)..).step_by(of) {
        let replay = format!("AT={at}, of every operation");
        let disk = Disk::new(at);
        let folder = tempfile::tempdir().unwrap();
        let lasts = prepared(&disk, folder.path());
        disk.faults(Faults { dies_at: Some(disk.operations() + at), ..Faults::default() });
        let mut done = false;
        if let Ok(store) = open(folder.path(), &options) {
            let _ = store.tidy();
            done = store.commit(vec![append(RoomId(0), lasts[0] + 1, lasts[0] + 9)]).is_ok();
            // What it deletes behind that must not be ahead of what it has moved.
            let _ = store.tidy();
        }
        let dead = disk.is_dead();
        disk.power_cut();
        let there = is_as_filled(folder.path(), &options, &lasts, 9, &replay);
        assert!(there || !done, "what was acknowledged is lost; {replay}");
        if !dead {
            println!("{at} operations");
            assert!(at > 30, "it did next to nothing");
            return;
        }
    }
}

#[test]
fn a_power_cut_at_any_write_of_moving_loses_nothing() {
    cut_at_each(1, |_, folder| filled_in(folder, 14, true));
}

#[test]
fn a_power_cut_at_any_write_of_taking_over_one_file_loses_nothing() {
    for staged in [false, true] {
        cut_at_each(2, |disk, folder| {
            let lasts = filled_in(folder, 14, staged);
            common::as_format_6(folder);
            disk.remove("causerie-blocks.db");
            lasts
        });
    }
}

/// The test above can see what it is about.
#[test]
fn a_disk_that_lies_loses_messages() {
    let mut lost = 0;
    for seed in 0..20 {
        let r = &mut Random(seed);
        let disk = Disk::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let twin = MemoryStore::new();
        let store = open(folder.path(), &small()).unwrap();
        store.commit(vec![create(RoomId(0))]).unwrap();
        twin.commit(vec![create(RoomId(0))]).unwrap();
        disk.faults(Faults { lies: true, ..Faults::default() });
        talk(r, &store, &twin, 15).unwrap();
        disk.faults(Faults { lies: true, dies_at: Some(0), ..Faults::default() });
        drop(store);
        disk.power_cut();
        let same = open(folder.path(), &small()).ok().and_then(|s| contents(&s).ok()) == contents(&twin).ok();
        lost += u64::from(!same);
    }
    assert!(lost > 5, "{lost} of 20");
}

#[test]
fn a_full_disk_changes_nothing_and_goes_on_later() {
    let mut full = 0;
    for seed in seeds(40) {
        let replay = format!("SEED={seed} cargo test -p causerie-store --test faults full_disk");
        let r = &mut Random(seed);
        let disk = Disk::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut twin = MemoryStore::new();
        let store = open(folder.path(), &small()).unwrap();
        for _ in 0..6 {
            disk.faults(Faults {
                bytes_max: Some(disk.bytes() + r.below(100_000) as usize),
                ..Faults::default()
            });
            let Err((last, error)) = talk(r, &store, &twin, 400) else { continue };
            assert!(matches!(error, None | Some(CommitError::Full(_))), "{error:?}; {replay}");
            full += 1;
            assert_eq!(contents(&store), contents(&twin), "reading goes on; {replay}");
            assert!(!store.stats().failed, "{replay}");
            disk.faults(Faults::default());
            store.commit(last.clone()).unwrap_or_else(|error| panic!("{error}; {replay}"));
            twin.commit(last).unwrap();
        }
        drop(store);
        let store = open(folder.path(), &small()).unwrap();
        judge(&store, &mut twin, Vec::new(), &replay);
    }
    assert!(full > 20, "{full}");
}

#[test]
fn failed_and_short_writes_are_named() {
    let (mut failed, mut short) = (0, 0);
    for seed in seeds(60) {
        let replay = format!("SEED={seed} cargo test -p causerie-store --test faults short_writes");
        let r = &mut Random(seed);
        let disk = Disk::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut twin = MemoryStore::new();
        let store = open(folder.path(), &small()).unwrap();
        let at = Some(disk.operations() + 20 + r.below(600));
        let is_short = r.chance(50);
        let faults = Faults::default();
        disk.faults(match is_short {
            true => Faults { short_write_at: at, ..faults },
            false => Faults { write_error_at: at, ..faults },
        });
        let ended = talk(r, &store, &twin, 200);
        let last = match ended {
            Ok(()) => Vec::new(),
            Err((last, None)) => last,
            Err((last, Some(CommitError::Full(_)))) if is_short => {
                short += 1;
                store.commit(last.clone()).unwrap();
                twin.commit(last).unwrap();
                Vec::new()
            }
            Err((last, Some(CommitError::Failed(_)))) if !is_short => {
                failed += 1;
                let again = store.commit(vec![create(RoomId(9_999))]);
                assert!(matches!(again, Err(CommitError::Failed(_))), "{again:?}; {replay}");
                last
            }
            Err((_, error)) => panic!("{error:?}; {replay}"),
        };
        drop(store);
        let store = open(folder.path(), &small()).unwrap();
        judge(&store, &mut twin, last, &replay);
    }
    assert!(failed > 5 && short > 5, "{failed} {short}");
}

#[test]
fn a_failed_sync_ends_writing() {
    let mut seen = 0;
    for seed in seeds(60) {
        let replay = format!("SEED={seed} cargo test -p causerie-store --test faults failed_sync");
        let r = &mut Random(seed);
        let disk = Disk::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut twin = MemoryStore::new();
        let store = open(folder.path(), &small()).unwrap();
        disk.faults(Faults { sync_error_from: Some(disk.operations() + r.below(200)), ..Faults::default() });
        let last = match talk(r, &store, &twin, 120) {
            Ok(()) => Vec::new(),
            Err((last, error)) => {
                seen += 1;
                assert!(error.as_ref().is_none_or(CommitError::is_fatal), "{error:?}; {replay}");
                let again = store.commit(vec![create(RoomId(9_999))]);
                assert!(matches!(again, Err(CommitError::Failed(_))), "{again:?}; {replay}");
                assert!(store.stats().failed, "{replay}");
                last
            }
        };
        disk.faults(Faults { dies_at: Some(0), ..Faults::default() });
        drop(store);
        disk.power_cut();
        let store = open(folder.path(), &small()).unwrap();
        judge(&store, &mut twin, last, &replay);
    }
    assert!(seen > 10, "{seen}");
}

/// Reads all that there is of `last` positions in each room. Each is what it was, or in a gap, or an error says so.
fn every_position_is_right_or_told(store: &SqliteStore, lasts: &[u64], replay: &str) -> (u64, u64) {
    let (mut good, mut told) = (0, 0);
    for (room, &last) in lasts.iter().enumerate() {
        let room = RoomId(room as u64);
        let mut after = 0;
        while after < last {
            match store.read(room, Position::new(after), 9_000) {
                Err(_) => {
                    told += last - after;
                    break;
                }
                Ok(page) => {
                    let bytes = page.runs.concat();
                    let wanted = if page.is_empty() {
                        Vec::new()
                    } else {
                        run(page.first.get(), page.last.get()).to_vec()
                    };
                    assert!(bytes == wanted, "{room} behind {after}: {:?}; {replay}", positions_of(&bytes));
                    assert_eq!(page.first, Position::new(after + 1), "{replay}");
                    good += page.len();
                    told += page.gap.as_ref().map_or(0, |gap| *gap.end() - *gap.start() + 1);
                    if page.next() == Position::new(after) {
                        // The end, earlier than it should be: then opening must have told.
                        let recovery = store.recovery();
                        let cut = recovery.rooms_cut.contains(&room);
                        assert!(cut, "{room} ends at {after}, not {last}, and nothing was said; {replay}");
                        told += last - after;
                        break;
                    }
                    after = page.next().get();
                }
            }
            let back = store.read_before(room, Position::new(last + 1), 20, 9_000);
            if let Ok(page) = back
                && !page.is_empty()
            {
                assert!(page.runs.concat() == run(page.first.get(), page.last.get()).to_vec(), "{replay}");
            }
        }
        if let Ok(found) = store.positions(room, common::member(1), 1, last, 10_000) {
            assert!(found.is_sorted() && found.len() as u64 <= last, "{replay}");
        }
        let _ = store.search(Some(room), "text 3", None, 9);
        let _ = store.members(room, MemberSelection::Present);
    }
    let _ = store.rooms();
    let _ = store.check();
    (good, told)
}

/// A store with blocks of several rooms, staged batches, members and checkpoints.
fn filled(folder: &Path, staged: bool) -> Vec<u64> {
    filled_in(folder, 60, staged)
}

fn filled_in(folder: &Path, rounds: u64, staged: bool) -> Vec<u64> {
    let store = open(folder, &small()).unwrap();
    let mut lasts = vec![0u64; 4];
    store.commit((0..4).map(|n| create(RoomId(n))).collect()).unwrap();
    for round in 0..rounds {
        let mut changes = Vec::new();
        for (room, last) in lasts.iter_mut().enumerate() {
            let count = 1 + (round * 7 + room as u64 * 5) % 40;
            let room = RoomId(room as u64);
            changes.push(append(room, *last + 1, *last + count));
            *last += count;
            changes.push(Change::Member { room, row: member_row((round % 9) as u32, None, Some(1)) });
            let state = vec![3; 700].into();
            changes.push(Change::Checkpoint { room, position: Position::new(*last), state });
        }
        store.commit(changes).unwrap();
        if round % 20 == 10 || (round + 1 == rounds && !staged) {
            store.tidy().unwrap();
        }
    }
    lasts
}

#[test]
fn flipped_bits_are_told_and_never_served() {
    let (mut harmless, mut told, mut refused) = (0, 0, 0);
    for (staged, file) in
        [false, true].into_iter().flat_map(|staged| SqliteStore::FILES.map(|file| (staged, file)))
    {
        let disk = Disk::new(1);
        let folder = tempfile::tempdir().unwrap();
        let lasts = filled(folder.path(), staged);
        let images = SqliteStore::FILES.map(|file| disk.edit(file, |bytes| bytes.clone()));
        let put = || {
            for (file, image) in SqliteStore::FILES.iter().zip(&images) {
                disk.edit(file, |bytes| bytes.clone_from(image));
            }
        };
        for seed in seeds(150) {
            let replay = format!("SEED={seed} cargo test -p causerie-store --test faults flipped_bits");
            let r = &mut Random(seed << 1 | u64::from(staged));
            disk.edit(file, |bytes| {
                for _ in 0..1 + r.below(2) {
                    let bit = r.below(bytes.len() as u64 * 8) as usize;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            });
            match open(folder.path(), &small()) {
                Err(_) => refused += 1,
                Ok(store) => {
                    let (_, lost) = every_position_is_right_or_told(&store, &lasts, &replay);
                    *(if lost > 0 { &mut told } else { &mut harmless }) += 1;
                    // Life goes on, or says why not.
                    let next =
                        store.rooms().map_or(1, |rooms| rooms.first().map_or(1, |room| room.last.get() + 1));
                    let _ = store.commit(vec![append(RoomId(0), next, next + 5)]);
                    let _ = store.tidy();
                    let _ = store.retain(
                        RoomId(1),
                        causerie_store::Retention { count: Some(9), ..Default::default() },
                        0,
                    );
                }
            }
            // What a clean close has left beside the file belongs to the damaged ones.
            put();
        }
    }
    println!("{harmless} harmless, {told} told, {refused} did not open");
}

#[test]
fn bits_flipped_while_reading_are_told() {
    for seed in seeds(30) {
        let replay = format!("SEED={seed} cargo test -p causerie-store --test faults while_reading");
        let disk = Disk::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let lasts = filled(folder.path(), seed % 2 == 0);
        let flips = Faults { flips: Some(20), ..Faults::default() };
        if let Ok(store) = open(folder.path(), &small()) {
            disk.faults(flips);
            every_position_is_right_or_told(&store, &lasts, &replay);
            assert!(disk.flipped() > 0, "{replay}");
        }
        disk.faults(Faults::default());
        let store = open(folder.path(), &small()).unwrap();
        let (good, told) = every_position_is_right_or_told(&store, &lasts, &replay);
        assert_eq!((good, told), (lasts.iter().sum(), 0), "the disk itself was right; {replay}");
    }
}
