//! Measures the store, and beside it a bare file: the same bytes appended and synced, which is what the disk can
//! do.
//!
//! `cargo bench -p causerie-store -- [--rooms N] [--batch N] [--messages N] [--rate N] [--no-search] [--dir DIR]`
//!
//! Texts have 128 bytes. `--messages` is how many the store holds at the end; `--rate` offers so many a second
//! instead of as many as go. The folder should be on the disk that is meant: the system's temporary folder may be
//! memory.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use causerie_core::content::body::Body;
use causerie_core::id::Position;
use causerie_core::wire::Delivered;
use causerie_store::{Change, Options, RoomId, RoomRow, SqliteStore, Store};
use cbcast::{Kind, MemberId, Message, MessageId};

struct Arguments {
    rooms: u64,
    batch: u64,
    messages: u64,
    rate: u64,
    search: bool,
    dir: PathBuf,
}

fn arguments() -> Arguments {
    let mut found = Arguments {
        rooms: 1_000,
        batch: 1_024,
        messages: 1_000_000,
        rate: 0,
        search: true,
        dir: std::env::temp_dir(),
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || given.next().and_then(|n| n.parse().ok()).expect("a number behind the option");
        match &name[..] {
            "--rooms" => found.rooms = number(),
            "--batch" => found.batch = number(),
            "--messages" => found.messages = number(),
            "--rate" => found.rate = number(),
            "--no-search" => found.search = false,
            "--dir" => found.dir = given.next().expect("a folder behind --dir").into(),
            // Cargo's own.
            "--bench" => {}
            other => panic!("unknown option {other}"),
        }
    }
    found
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

/// 128 bytes of words, some frequent and many rare, as in talk.
fn text(random: &mut Random) -> String {
    let mut text = String::with_capacity(140);
    while text.len() < 128 {
        let rank = random.below(30) * random.below(30) * random.below(30);
        text.push_str(&format!("w{rank} "));
    }
    text.truncate(128);
    text
}

/// The next batch: as many rooms as it has messages for, in turn.
fn batch(
    random: &mut Random,
    texts: &[Vec<u8>],
    lasts: &mut [u64],
    next: &mut usize,
    count: u64,
) -> Vec<Change> {
    let rooms = (lasts.len() as u64).min(count);
    let mut changes = Vec::new();
    for n in 0..rooms {
        let room = *next;
        *next = (*next + 1) % lasts.len();
        let messages = count / rooms + u64::from(n < count % rooms);
        let (first, mut run) = (lasts[room] + 1, Vec::new());
        for _ in 0..messages {
            lasts[room] += 1;
            let position = lasts[room];
            // Twenty members who talk in turn.
            let id = MessageId::new(MemberId::new(0, 1 + (position % 20) as u32), 1 + position / 20);
            let said = &texts[random.below(texts.len() as u64) as usize];
            let packet = Message::new(id, Kind::Data, &[], said).expect("a message").into_packet();
            let time_millis = 1_700_000_000_000 + position * 50;
            Delivered { position: Position::new(position), time_millis, packet }.encode(&mut run);
        }
        let run = Bytes::from(run);
        changes.push(Change::Append {
            room: RoomId(room as u64),
            first: Position::new(first),
            last: Position::new(lasts[room]),
            run,
        });
    }
    changes
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.2} ms", at(0.5), at(0.99), at(0.999), at(1.0))
}

/// The same bytes into one file, each batch synced.
fn ceiling(dir: &Path, bytes: usize, count: u64) -> f64 {
    let path = dir.join("ceiling");
    let mut file = std::fs::File::create(&path).expect("a file");
    let run = vec![7; bytes];
    let begun = Instant::now();
    for _ in 0..count {
        file.write_all(&run).expect("written");
        file.sync_data().expect("synced");
    }
    let each = begun.elapsed().as_secs_f64() / count as f64;
    std::fs::remove_file(path).expect("removed");
    each
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name| status.lines().find(|l| l.starts_with(name)).unwrap_or("").replace([' ', '\t'], "");
    format!("{} {}", line("VmRSS"), line("VmHWM"))
}

fn main() {
    let arguments = arguments();
    let folder = arguments.dir.join(format!("causerie-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let Arguments { rooms, batch: size, messages, rate, search, .. } = arguments;
    println!("{rooms} rooms, batches of {size}, {messages} messages of 128 bytes, search {search}");
    let random = &mut Random(1);
    let texts: Vec<_> = (0..10_000).map(|_| Body::Text(text(random)).encode()).collect();
    let options = Options { search, ..Options::default() };
    let store = SqliteStore::open(folder.join("data"), options.clone()).expect("a store");
    let row = RoomRow { name: "room".into(), epoch: causerie_core::id::Epoch::new(1), ..RoomRow::default() };
    let create = (0..rooms).map(|n| Change::Create { room: RoomId(n), row: row.clone() });
    store.commit(create.collect()).expect("created");

    let (mut lasts, mut next) = (vec![0; rooms as usize], 0);
    let (mut times, mut done, mut bytes) = (Vec::new(), 0, 0);
    let begun = Instant::now();
    let mut busy = Duration::ZERO;
    let mut slice = (Instant::now(), 0, Duration::ZERO);
    // The first part of it, before the mover has much to do.
    let mut burst = None;
    while done < messages {
        let changes = batch(random, &texts, &mut lasts, &mut next, size.min(messages - done));
        bytes += changes
            .iter()
            .map(|c| if let Change::Append { run, .. } = c { run.len() } else { 0 })
            .sum::<usize>();
        let start = Instant::now();
        store.commit(changes).expect("committed");
        let took = start.elapsed();
        times.push(took);
        busy += took;
        done += size.min(messages - done);
        if burst.is_none() && done >= messages.min(200_000) {
            burst = Some((done as f64 / busy.as_secs_f64(), percentiles(times.clone())));
        }
        if slice.0.elapsed() > Duration::from_secs(10) {
            let stats = store.stats();
            println!(
                "  {done}: {:.0}/s, {} MB staged, file {} MB, log {} MB, {}",
                (done - slice.1) as f64 / slice.0.elapsed().as_secs_f64(),
                stats.staged_bytes >> 20,
                stats.file_bytes >> 20,
                stats.wal_bytes >> 20,
                memory()
            );
            slice = (Instant::now(), done, busy);
        }
        if rate > 0 {
            let due = Duration::from_secs_f64(done as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    let all = begun.elapsed();
    let begun_rest = Instant::now();
    store.tidy().expect("tidy");
    let sustained = messages as f64 / (all + begun_rest.elapsed()).as_secs_f64();
    let (burst, latencies) = burst.expect("there was a first part");
    println!("burst      {burst:.0} messages/s, {latencies}");
    println!("commits    {:.0} messages/s, {}", done as f64 / busy.as_secs_f64(), percentiles(times.clone()));
    println!(
        "sustained  {sustained:.0} messages/s with everything moved, {:.1} s to catch up",
        begun_rest.elapsed().as_secs_f64()
    );
    let each = bytes / times.len();
    let bare = ceiling(&folder, each, 200.min(times.len() as u64).max(20));
    let ceiling = size.min(messages) as f64 / bare;
    println!(
        "bare file  {ceiling:.0} messages/s; burst is {:.2} of it, sustained {:.2}",
        burst / ceiling,
        sustained / ceiling
    );

    let mut page = |name: &str, read: &mut dyn FnMut(&mut Random) -> u64| {
        let mut times = Vec::new();
        let mut records = 0;
        for _ in 0..2_000 {
            let start = Instant::now();
            records += read(random);
            times.push(start.elapsed());
        }
        println!("{name:<10} {}, {} records each", percentiles(times), records / 2_000);
    };
    let pick = |r: &mut Random| {
        let room = r.below(rooms);
        (RoomId(room), r.below(lasts[room as usize]))
    };
    page("page of 50", &mut |r| {
        let (room, at) = pick(r);
        store.read_before(room, Position::new(at + 2), 50, 1 << 20).expect("a page").len()
    });
    for (name, tenth) in [("oldest", 0), ("middle", 5), ("newest", 9)] {
        page(name, &mut |r| {
            let (room, _) = pick(r);
            let last = lasts[room.0 as usize];
            let at = last * tenth / 10 + r.below(last / 10);
            store.read_before(room, Position::new(at + 2), 50, 1 << 20).expect("a page").len()
        });
    }
    page("64 KiB", &mut |r| {
        let (room, at) = pick(r);
        store.read(room, Position::new(at), 64 << 10).expect("a page").len()
    });
    page("by number", &mut |r| {
        let (room, at) = pick(r);
        let member = MemberId::new(0, 1 + (at % 20) as u32);
        store.positions(room, member, at / 20, at / 20 + 2, 9).expect("positions").len() as u64
    });
    if search {
        page("search", &mut |r| {
            let word = format!("w{}", r.below(2_000));
            store.search(Some(RoomId(r.below(rooms))), &word, None, 20).expect("hits").hits.len() as u64
        });
    }
    let stats = store.stats();
    println!(
        "on disk    {} MB, {} of it free; {:.0} bytes a message; {}",
        stats.file_bytes >> 20,
        stats.free_bytes >> 20,
        stats.file_bytes as f64 / messages as f64,
        memory()
    );
    drop(store);
    let start = Instant::now();
    let store = SqliteStore::open(folder.join("data"), options).expect("opened");
    println!("open       {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    assert_eq!(store.rooms().expect("rooms").len() as u64, rooms);
    println!("rooms      {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    drop(store);
    std::fs::remove_dir_all(folder).expect("removed");
}
