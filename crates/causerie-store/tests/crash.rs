//! Real processes, killed at random moments: what was acknowledged is there, nothing is there twice, and no batch
//! is there by half.
//!
//! `ROUNDS=n cargo test -p causerie-store --test crash` kills that many; `SEED=n` draws other moments.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use causerie_core::id::Position;
use causerie_store::{Change, Options, Retention, RoomId, SqliteStore, Store};
use common::{Random, all, append, create, member_row, run, small};

const ROOMS: u64 = 12;
/// A child that finds this in its environment is the writer; its folder is the value.
const FOLDER: &str = "CAUSERIE_STORE_CRASH_FOLDER";
const ROUND: &str = "CAUSERIE_STORE_CRASH_ROUND";

fn options(round: u64) -> Options {
    // Small and eager, so that kills hit the mover too.
    Options { background: true, staging_age: Duration::from_millis(3 + round % 40), ..small() }
}

/// What a commit tells of itself, in each room that it touches: its number is the member's `taken`, and each room
/// of it has the same.
fn batch(r: &mut Random, number: u64, lasts: &mut BTreeMap<u64, u64>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (&room, last) in lasts.iter_mut() {
        if r.chance(60) {
            let most = if r.chance(5) { 200 } else { 5 };
            let count = 1 + r.below(most);
            changes.push(append(RoomId(room), *last + 1, *last + count));
            *last += count;
            let row = causerie_store::MemberRow {
                taken: number,
                joined_at: Position::new(*last),
                ..member_row(1, None, None)
            };
            changes.push(Change::Member { room: RoomId(room), row });
            if r.chance(20) {
                let state = number.to_le_bytes().to_vec().into();
                changes.push(Change::Checkpoint {
                    room: RoomId(room),
                    position: Position::new(*last),
                    state,
                });
            }
        }
    }
    changes
}

/// The child: commits without end, and says what was acknowledged.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let store = SqliteStore::open(folder, options(round)).unwrap();
    let mut lasts: BTreeMap<_, _> = store.rooms().unwrap().iter().map(|r| (r.room.0, r.last.get())).collect();
    if lasts.is_empty() {
        store.commit((0..ROOMS).map(|n| create(RoomId(n))).collect()).unwrap();
        lasts = (0..ROOMS).map(|n| (n, 0)).collect();
    }
    let r = &mut Random(round);
    let mut number = round << 32;
    // Not through the test harness, which would keep it back.
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready").unwrap();
    loop {
        number += 1;
        let changes = batch(r, number, &mut lasts);
        let of: Vec<_> = changes.iter().filter(|c| matches!(c, Change::Append { .. })).collect();
        let line = |word: &str| {
            let mut line = format!("{word} {number}");
            for change in &of {
                let Change::Append { room, last, .. } = change else { unreachable!("filtered") };
                line.push_str(&format!(" {}={last}", room.0));
            }
            line
        };
        writeln!(out, "{}", line("begin")).unwrap();
        let acknowledged = line("done");
        store.commit(changes).unwrap();
        writeln!(out, "{acknowledged}").unwrap();
        if r.chance(3) {
            let keep = Retention { count: Some(400 + r.below(100)), ..Retention::default() };
            store.retain(RoomId(r.below(ROOMS)), keep, 0).unwrap();
        }
    }
}

/// What the child said: of each batch its rooms' last positions.
#[derive(Default)]
struct Told {
    begun: Option<(u64, BTreeMap<u64, u64>)>,
    done: BTreeMap<u64, u64>,
    done_numbers: BTreeMap<u64, u64>,
}

impl Told {
    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(word), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) else { return };
        let parse = |word: &str| {
            let (room, last) = word.split_once('=')?;
            Some((room.parse().ok()?, last.parse().ok()?))
        };
        let Some(rooms) = words.map(parse).collect::<Option<BTreeMap<u64, u64>>>() else { return };
        match word {
            "begin" => self.begun = Some((number, rooms)),
            "done" => {
                self.done_numbers.extend(rooms.keys().map(|&room| (room, number)));
                self.done.extend(rooms);
                self.begun = None;
            }
            _ => {}
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let rounds = number("ROUNDS").unwrap_or(50);
    let seed = number("SEED").unwrap_or(1);
    let r = &mut Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let (mut commits, mut unacknowledged) = (0, 0);
    let begun = Instant::now();
    for round in 1..=rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
            .env(FOLDER, dir.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().any(|line| line.unwrap().ends_with("ready"));
        assert!(ready, "the writer did not open the store, round {round}; SEED={seed}");
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_micros(r.below(120_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            commits += u64::from(line.starts_with("done "));
            told.take(&line);
        }
        let replay = format!("round {round}; SEED={seed} ROUNDS={rounds}");
        unacknowledged += u64::from(judge(dir.path(), round, &mut told, &replay));
    }
    println!("{rounds} kills, {commits} commits, {unacknowledged} batches stored and not acknowledged");
    println!("in {:?}", begun.elapsed());
    assert!(commits > rounds, "nearly nothing was committed between the kills: {commits}");
}

/// Compares the store with what was told. Whether the batch that was not acknowledged is there.
fn judge(folder: &Path, round: u64, told: &mut Told, replay: &str) -> bool {
    let store = SqliteStore::open(folder, options(round)).unwrap();
    let recovery = store.recovery();
    assert_eq!((recovery.batches_damaged, recovery.records_damaged), (0, 0), "{replay}");
    let rooms = store.rooms().unwrap();
    // All of the batch that was being committed, or nothing.
    let lasts: BTreeMap<_, _> = rooms.iter().map(|r| (r.room.0, r.last.get())).collect();
    let there = told.begun.take().is_some_and(|(number, begun)| {
        let of = |room: &u64| (lasts[room], begun[room]);
        let there = begun.keys().filter(|&room| of(room).0 == of(room).1).count();
        assert!(there == 0 || there == begun.len(), "half a batch: {lasts:?} {begun:?}; {replay}");
        if there > 0 {
            told.done_numbers.extend(begun.keys().map(|&room| (room, number)));
            told.done.extend(begun);
        }
        there > 0
    });
    for room in &rooms {
        let wanted = told.done.get(&room.room.0).copied().unwrap_or(0);
        assert_eq!(room.last, Position::new(wanted), "{}; {replay}", room.room);
        let (bytes, gaps) = all(&store, room.room, 64 << 10);
        assert!(bytes == run(room.first.get(), room.last.get()), "{}; {replay}", room.room);
        let removed = (room.first > Position::FIRST).then(|| (1, room.first.get() - 1));
        assert_eq!(gaps, removed.into_iter().collect::<Vec<_>>(), "{}; {replay}", room.room);
        let members = store.members(room.room, causerie_store::MemberSelection::Present).unwrap();
        let taken = members.first().map(|row| row.taken);
        assert_eq!(taken, told.done_numbers.get(&room.room.0).copied(), "{}; {replay}", room.room);
        if room.last >= room.first {
            let (from, to) = (room.last.min(room.first + 5), room.last);
            let found =
                store.positions(room.room, common::member(1), from.get(), to.get(), usize::MAX).unwrap();
            assert!(
                found.into_iter().map(Position::get).eq(from.get()..=to.get()),
                "{}: places {from} to {to}; {replay}",
                room.room
            );
        }
    }
    let report = store.check();
    assert!(report.is_clean(), "{report:?}; {replay}");
    there
}
