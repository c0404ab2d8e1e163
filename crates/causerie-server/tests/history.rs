//! Pages of history over real sockets: the same records in the same order as live, from wherever they are asked for.

mod common;

use std::sync::Arc;
use std::time::Duration;

use causerie_core::id::{Epoch, Position};
use causerie_core::log::page::{Entry, HistoryPage, What};
use causerie_core::room::RoomSettings;
use causerie_core::wire::{
    ClientFrame, Delivered, Direction, ErrorCode, HistoryQuestion, Place, ServerFrame,
};
use causerie_server::Settings;
use causerie_store::{MemoryStore, Options, Retention, SqliteStore, Store};
use cbcast::{MemberId, MessageId};
use common::{Classic, Event, Harness, Native, Pair, Random, Wire, within};

fn question(direction: Direction, place: Place, limit: u64) -> HistoryQuestion {
    HistoryQuestion { room: "lobby".into(), epoch: None, direction, place, limit, wait_millis: 0 }
}

async fn ask(wire: &mut Wire, question: HistoryQuestion) -> HistoryPage {
    wire.send(&ClientFrame::History(question)).await;
    page(wire).await
}

async fn page(wire: &mut Wire) -> HistoryPage {
    match wire.frame().await {
        ServerFrame::Page(page) => HistoryPage::read(&page).expect("it tells of each position"),
        frame => panic!("no page: {frame:?}"),
    }
}

/// All of a room, read forwards in pages of any size.
async fn forwards(wire: &mut Wire, random: &mut Random) -> Vec<Entry> {
    let (mut after, mut all) = (0, Vec::new());
    loop {
        let limit = 1 + random.below(9) as u64;
        let page = ask(wire, question(Direction::After, Place::Position(Position::new(after)), limit)).await;
        assert_eq!(page.from, Position::new(after + 1));
        assert!(page.records().count() as u64 <= limit);
        after = page.to.get();
        let more = page.has_newer();
        all.extend(page.entries);
        if !more {
            return all;
        }
    }
}

/// All of a room, read backwards from the end, by positions or by the ids of the oldest that came.
async fn backwards(wire: &mut Wire, random: &mut Random) -> Vec<Entry> {
    let (mut place, mut all) = (Place::End, Vec::new());
    loop {
        let limit = 1 + random.below(9) as u64;
        let page = ask(wire, question(Direction::Before, place, limit)).await;
        place = match page.entries.first() {
            Some(Entry::Record(record)) if random.below(2) == 0 => Place::Message(record.id),
            _ => Place::Position(page.from),
        };
        let more = page.has_older();
        all.splice(0..0, page.entries);
        if !more {
            return all;
        }
    }
}

/// The next records as they come.
async fn live(reader: &mut Native, count: usize) -> Vec<Delivered> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match reader.wire.frame().await {
            ServerFrame::Delivered(record) => {
                seen.push(record.clone());
                reader.take(record);
            }
            frame => panic!("no record: {frame:?}"),
        }
    }
    seen
}

fn same(live: &[Delivered], history: &[Entry]) {
    assert_eq!(live.len(), history.len());
    for (live, entry) in live.iter().zip(history) {
        let Entry::Record(record) = entry else { panic!("{entry:?} instead of {live:?}") };
        let message = cbcast::Message::decode(live.packet.clone()).unwrap();
        assert_eq!((record.position, record.time_millis), (live.position, live.time_millis));
        assert_eq!((record.id, &record.deps), (message.id(), &message.deps().collect()));
        match (&record.what, message.kind()) {
            (What::Said(body), cbcast::Kind::Data) => assert_eq!(body.encode(), message.payload().to_vec()),
            (What::Joined, cbcast::Kind::Joined(member)) => assert_eq!(record.member, member),
            (What::Left { .. }, cbcast::Kind::Left { member, .. }) => assert_eq!(record.member, member),
            other => panic!("{other:?}"),
        }
    }
}

/// Natives and classics come, talk and leave; one reader sees it all live.
async fn talk(server: &Harness, random: &mut Random) -> (Native, Vec<Delivered>) {
    let mut reader = Native::join(server.address, "lobby", "Reader").await;
    let mut natives: Vec<Native> = Vec::new();
    let mut classics: Vec<Classic> = Vec::new();
    let (mut seen, mut left) = (Vec::new(), Vec::new());
    for round in 0..15 + random.below(15) {
        match random.below(4) {
            0 | 1 if random.below(2) == 0 => {
                natives.push(Native::join(server.address, "lobby", &format!("Native {round}")).await);
            }
            0 | 1 => {
                let mut classic = Classic::connect(server.address).await;
                classic.send(format!("./join lobby\nClassic {round}\n")).await;
                classics.push(classic);
            }
            2 if !natives.is_empty() => {
                let mut gone = natives.swap_remove(random.below(natives.len()));
                let last_seq = gone.group.delivered(gone.member).unwrap_or(0);
                gone.wire.send(&ClientFrame::Leave { last_seq }).await;
                // Closed with unread bytes, the connection would lose the last words.
                left.push(gone);
            }
            3 if !classics.is_empty() => drop(classics.swap_remove(random.below(classics.len()))),
            _ => reader.say(&format!("round {round}")).await,
        }
        // What each round brings is awaited, so that nobody leaves with words on the way.
        seen.extend(live(&mut reader, 1).await);
        let mut said = 0;
        for native in &mut natives {
            for n in 0..random.below(3) {
                native.say(&format!("text {n} of round {round}")).await;
                said += 1;
            }
        }
        for classic in &mut classics {
            if random.below(2) == 0 {
                classic.send(format!("line of round {round}\n")).await;
                said += 1;
            }
        }
        seen.extend(live(&mut reader, said).await);
    }
    let leaving = classics.len();
    drop(classics);
    seen.extend(live(&mut reader, leaving).await);
    (reader, seen)
}

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..4).collect(),
    }
}

#[tokio::test]
async fn live_reloaded_and_in_history_the_order_is_the_same() {
    for seed in seeds() {
        println!("SEED={seed} cargo test -p causerie-server --test history");
        let random = &mut Random(seed);
        let folder = tempfile::tempdir().unwrap();
        let open = || Arc::new(SqliteStore::open(folder.path(), Options::default()).unwrap());
        let store = open();
        let server = Harness::with_store(Settings::default(), store.clone()).await;
        let (reader, seen) = talk(&server, random).await;
        let mut wire = Wire::greeted(server.address).await;
        let before: Vec<_> = forwards(&mut wire, random).await;
        // All but the reader's own joining.
        same(&seen, &before[1..]);
        assert_eq!(backwards(&mut wire, random).await, before);
        // By id, from anywhere.
        for entry in &before {
            let Entry::Record(record) = entry else { panic!("{entry:?}") };
            let at = ask(&mut wire, question(Direction::Around, Place::Message(record.id), 1)).await;
            assert_eq!(at.entries, std::slice::from_ref(entry));
            let name = record.name.as_str();
            assert!(
                name == "Reader" || name.starts_with("Native ") || name.starts_with("Classic "),
                "a name and not an id: {name}"
            );
        }
        drop((reader, wire));
        server.stop().await;
        within("the server to let go of its store", async {
            while Arc::strong_count(&store) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        drop(store);

        let server = Harness::with_store(Settings::default(), open()).await;
        let mut wire = Wire::greeted(server.address).await;
        assert_eq!(forwards(&mut wire, random).await, before);
        assert_eq!(backwards(&mut wire, random).await, before);
        server.stop().await;
    }
}

#[tokio::test]
async fn pages_are_whole_while_retention_removes_the_front() {
    for seed in seeds() {
        println!("SEED={seed} cargo test -p causerie-server --test history");
        let random = &mut Random(seed);
        let store = Arc::new(MemoryStore::new());
        let server = Harness::with_store(Settings::default(), store.clone()).await;
        let (_reader, seen) = talk(&server, random).await;
        let mut wire = Wire::greeted(server.address).await;
        let room = store.rooms().unwrap()[0].room;
        let last = seen.last().unwrap().position;
        let (mut after, mut found) = (Position::START, Vec::new());
        while after < last {
            if random.below(3) == 0 {
                let keep = Retention {
                    count: Some(random.below(last.get() as usize) as u64),
                    ..Retention::default()
                };
                store.retain(room, keep, 0).unwrap();
            }
            let page = ask(&mut wire, question(Direction::After, Place::Position(after), 7)).await;
            assert_eq!(page.from, after + 1);
            after = page.to;
            found.extend(page.entries);
        }
        let of = |entry: &Entry| match entry {
            Entry::Record(record) => (record.position, record.position),
            Entry::Gap { from, to, .. } => (*from, *to),
        };
        let mut next = Position::FIRST;
        for entry in &found {
            assert_eq!(of(entry).0, next, "neither a hole nor a repetition");
            next = of(entry).1 + 1;
            if let Entry::Record(record) = entry {
                let live = seen.iter().find(|live| live.position == record.position);
                live.into_iter()
                    .for_each(|live| same(std::slice::from_ref(live), std::slice::from_ref(entry)));
            }
        }
        assert_eq!(next, last + 1);
        let back = backwards(&mut wire, random).await;
        assert_eq!((of(&back[0]).0, of(back.last().unwrap()).1), (Position::FIRST, last));
        server.stop().await;
    }
}

#[tokio::test]
async fn who_has_left_is_called_by_its_name() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let room = RoomSettings { history: 3, ..RoomSettings::default() };
    let settings = Settings { room, ..Settings::default() };
    let server = Harness::with_store(settings.clone(), Arc::clone(&store)).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let mut classic = Classic::connect(server.address).await;
    classic.send("./join lobby\nOld Tom\n").await;
    ann.expect(Event::Joined("Old Tom".into())).await;
    classic.send("hello\n").await;
    let Event::Text(tom, _) = ann.event().await else { panic!() };
    drop(classic);
    ann.expect(Event::Left(tom)).await;
    server.stop().await;

    let server = Harness::with_store(settings, store).await;
    let mut wire = Wire::greeted(server.address).await;
    wire.send(&ClientFrame::History(question(Direction::Before, Place::End, 2))).await;
    let ServerFrame::Page(page) = wire.frame().await else { panic!() };
    let names: Vec<_> = page.names.iter().map(|m| (m.member, &m.name[..], m.present)).collect();
    assert_eq!(names, [(tom, "Old Tom", false)]);

    // Who joins is shown the last three records, two of them about him.
    let eve = Native::join(server.address, "lobby", "Eve").await;
    assert_eq!((eve.welcome.first, eve.welcome.position), (Position::new(3), Position::new(5)));
    let names: Vec<_> = eve.welcome.members.iter().map(|m| (&m.name[..], m.present)).collect();
    assert_eq!(names, [("Ann", true), ("Eve", true), ("Old Tom", false)]);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_and_the_connection_goes_on() {
    let server = Harness::start(Settings::default()).await;
    let mut wire = Wire::greeted(server.address).await;
    let asked = question(Direction::Before, Place::End, 9);
    wire.send(&ClientFrame::History(asked.clone())).await;
    wire.refused(ErrorCode::NoSuchRoom).await;
    wire.send(&ClientFrame::History(HistoryQuestion { room: "../x".into(), ..asked.clone() })).await;
    wire.refused(ErrorCode::RoomNameInvalid).await;

    let ann = Native::join(server.address, "lobby", "Ann").await;
    let epoch = ann.welcome.epoch;
    for unknown in [
        MessageId::new(ann.member, 1),
        MessageId::new(ann.member, u64::MAX),
        MessageId::new(MemberId::host(0), 2),
        MessageId::new(MemberId::new(u32::MAX, u32::MAX), 0),
    ] {
        let asked = question(Direction::After, Place::Message(unknown), 9);
        wire.send(&ClientFrame::History(asked)).await;
        wire.refused(ErrorCode::NoSuchMessage).await;
    }
    wire.send(&ClientFrame::History(HistoryQuestion {
        epoch: Some(Epoch::new(epoch.number() ^ 1)),
        ..asked.clone()
    }))
    .await;
    wire.refused(ErrorCode::Diverged).await;
    let right = ask(&mut wire, HistoryQuestion { epoch: Some(epoch), ..asked }).await;
    assert_eq!(
        (right.epoch, right.from, right.to, right.end),
        (epoch, Position::FIRST, Position::FIRST, Position::FIRST)
    );
    for beyond in [1, 2, 1 << 40, u64::MAX] {
        for limit in [0, 1, u64::MAX] {
            let place = Place::Position(Position::new(beyond));
            let page = ask(&mut wire, question(Direction::After, place, limit)).await;
            assert_eq!((page.from, page.to, page.end), (Position::new(2), Position::FIRST, Position::FIRST));
        }
    }
    let page = ask(&mut wire, question(Direction::After, Place::Time(u64::MAX), 9)).await;
    assert_eq!((page.from, page.to), (Position::new(2), Position::FIRST));
    // A side that there is not, and a place that there is not: no frame of this version.
    for bad in [[3, 0], [0, 9]] {
        let mut wire = Wire::greeted(server.address).await;
        wire.send_bytes(&[9, 0x0d, 1, b'x', 0, bad[0], bad[1], 1, 0, 0]).await;
        wire.fatal(ErrorCode::Malformed).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn an_answer_may_wait_for_what_comes() {
    let server = Harness::start(Settings::default()).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let mut wire = Wire::greeted(server.address).await;
    let waiting = |place| HistoryQuestion { wait_millis: u64::MAX, ..question(Direction::After, place, 9) };
    // What is there is told at once.
    assert_eq!(ask(&mut wire, waiting(Place::Position(Position::START))).await.to, Position::FIRST);
    for place in [Place::End, Place::Position(Position::new(2)), Place::Time(u64::MAX)] {
        let at = ann.position;
        wire.send(&ClientFrame::History(waiting(place))).await;
        wire.send(&ClientFrame::Ping(5)).await;
        ann.say("at last").await;
        ann.event().await;
        let page = page(&mut wire).await;
        // Where the text came first, the question has found it there.
        if page.from <= page.to {
            assert_eq!((page.from, page.to), (Position::new((at + 1).get()), Position::new((at + 1).get())));
        }
        assert_eq!(wire.frame().await, ServerFrame::Pong(5), "what follows waits for the answer");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_waits_is_told_when_the_room_goes_and_when_the_server_does() {
    let server = Harness::start(Settings::default()).await;
    let ann = Native::join(server.address, "lobby", "Ann").await;
    let mut wire = Wire::greeted(server.address).await;
    let waiting = HistoryQuestion { wait_millis: 30_000, ..question(Direction::After, Place::End, 9) };
    wire.send(&ClientFrame::History(waiting.clone())).await;
    let mut other = Wire::greeted(server.address).await;
    other.key = ann.key.clone();
    other.send(&other.close_frame("lobby", "")).await;
    assert_eq!(other.frame().await, ServerFrame::RoomClosed { name: "lobby".into() });
    wire.refused(ErrorCode::NoSuchRoom).await;
    drop(ann);
    let _ann = Native::join(server.address, "lobby", "Ann").await;
    wire.send(&ClientFrame::History(waiting)).await;
    server.shut_down();
    wire.fatal(ErrorCode::ShuttingDown).await;
    server.stop().await;
}

/// Members' questions are answered too, between the records.
#[tokio::test]
async fn a_member_may_ask_as_well() {
    let server = Harness::start(Settings::default()).await;
    let mut wire = Wire::greeted(server.address).await;
    wire.join("lobby", "Ann").await;
    let mut ann = Native::welcomed(wire).await;
    let page = ask(&mut ann.wire, question(Direction::Before, Place::End, 9)).await;
    assert_eq!(page.records().next().unwrap().name, "Ann");
    ann.say("on").await;
    ann.expect_text(ann.member, "on").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_holds_nobody_up_and_is_answered_in_the_end() {
    const QUESTIONS: u64 = 100;
    let server = Harness::start(Settings::default()).await;
    let mut noisy = Native::join(server.address, "lobby", "Noisy").await;
    for n in 0..500 {
        noisy.say(&format!("{n:01000}")).await;
        noisy.event().await;
    }
    let pair = Pair::start(server.address, "lobby").await;
    // Nobody reads the answers, of 128 KiB each: the server reads the questions as answers are read.
    let mut floods = Vec::new();
    for _ in 0..20 {
        let mut flood = Wire::greeted(server.address).await;
        for n in 0..QUESTIONS {
            let place = if n % 2 == 0 { Place::Position(Position::new(400)) } else { Place::Time(n) };
            flood.send(&ClientFrame::History(question(Direction::Around, place, u64::MAX))).await;
        }
        floods.push(flood);
    }
    let mut wire = Wire::greeted(server.address).await;
    let asked = ask(&mut wire, question(Direction::Before, Place::End, 9)).await;
    assert_eq!(asked.records().count(), 9);
    pair.finish().await;
    let mut flood = floods.swap_remove(7);
    for _ in 0..QUESTIONS {
        assert!(page(&mut flood).await.records().count() > 0);
    }
    drop(floods);
    server.stop().await;
}
