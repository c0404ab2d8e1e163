//! A data folder that is damaged, copied and put back, with real servers: what can be read is there, what cannot be is
//! a visible gap, ids are never given out twice, and what was on its way arrives once.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use causerie_client::{Body, Event, MemberId, MessageId, Room, RoomOptions};
use common::{Server, causerie, soon};

/// A client, and what it has seen.
struct Client {
    room: Room,
    /// Others' texts, and how often.
    seen: BTreeMap<String, usize>,
    texts: BTreeMap<MessageId, String>,
    placed: Vec<String>,
    gaps: Vec<(u64, u64)>,
    rejoined: Vec<String>,
}

impl Client {
    async fn join(address: &str, name: &str) -> Self {
        let options = RoomOptions::new(address, "lobby", name).create(true);
        let room = soon("a client is in", options.join()).await.unwrap();
        let (seen, texts) = Default::default();
        Self { room, seen, texts, placed: vec![], gaps: vec![], rejoined: vec![] }
    }

    async fn next(&mut self) {
        match self.room.next_event().await.expect("it goes on") {
            Event::Delivered(post) => {
                let Body::Text(text) = post.body else { panic!("only texts are said") };
                *self.seen.entry(text.clone()).or_default() += 1;
                if post.history {
                    self.placed.push(text.clone());
                }
                self.texts.insert(post.id, text);
            }
            Event::Placed { id, .. } => self.placed.extend(self.texts.get(&id).cloned()),
            Event::Gap { from, to } => self.gaps.push((from.get(), to.get())),
            Event::Rejoined { reason, renamed, .. } => {
                for (old, new) in renamed {
                    let text = self.texts[&old].clone();
                    self.texts.insert(new, text);
                }
                self.rejoined.push(reason);
            }
            Event::Ended(end) => panic!("{end}"),
            _ => {}
        }
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        soon(what, async {
            while !done(self) {
                self.next().await;
            }
        })
        .await;
    }

    async fn placed(&mut self, text: &str) {
        self.until(text, |client| client.placed.iter().any(|t| t == text)).await;
    }

    fn saw_nothing_twice(&self) {
        assert!(self.seen.values().all(|&times| times == 1), "{:?}", self.seen);
    }
}

async fn server(address: &str, data: &Path) -> Server {
    let data = data.to_str().expect("a path in UTF-8");
    Server::listening(address, &["--data", data, "--history", "1000", "--log", "warn"]).await
}

async fn store(args: &[&str], data: &Path) -> Output {
    let mut command = causerie();
    command.arg("store").args(args).arg("--data").arg(data);
    soon("the command ends", command.output()).await.unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_TARGET_TMPDIR"), &format!("damage-{name}-{}", std::process::id())].iter().collect()
}

/// The databases of a store.
const FILES: [&str; 2] = ["causerie.db", "causerie-blocks.db"];

/// Flips a bit wherever the databases say this. How often they did.
fn damage(data: &Path, text: &str) -> usize {
    let of = |name: &str| {
        let file = data.join(name);
        let mut bytes = std::fs::read(&file).unwrap();
        let found: Vec<_> = bytes
            .windows(text.len())
            .enumerate()
            .filter(|(_, w)| *w == text.as_bytes())
            .map(|(i, _)| i)
            .collect();
        found.iter().for_each(|&place| bytes[place] ^= 1);
        std::fs::write(&file, bytes).unwrap();
        found.len()
    };
    FILES.iter().map(|name| of(name)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_a_gap_and_the_room_goes_on() {
    for killed in [true, false] {
        let data = folder(if killed { "killed" } else { "stopped" });
        let mut running = server("127.0.0.1:0", &data).await;
        let address = running.address();
        let mut ann = Client::join(&address, "Ann").await;
        let mut bob = Client::join(&address, "Bob").await;
        for n in 10..30 {
            ann.room.say(&format!("the {n}th of them")).unwrap();
        }
        bob.placed("the 29th of them").await;
        ann.placed("the 29th of them").await;
        // Stopped, it leaves a state behind the damage; killed, it does not.
        running.process.signal(if killed { "KILL" } else { "INT" }).await;
        running.process.exit().await;
        let clean = store(&["check"], &data).await;
        assert!(clean.status.success(), "{}", said(&clean));
        // The databases as a whole, without logs beside.
        let copy = data.with_extension("whole");
        let copied = store(&["backup", copy.to_str().unwrap()], &data).await;
        assert!(copied.status.success(), "{}", said(&copied));
        for name in FILES {
            std::fs::rename(copy.join(name), data.join(name)).unwrap();
            for log in ["wal", "shm"] {
                let _ = std::fs::remove_file(data.join(format!("{name}-{log}")));
            }
        }
        std::fs::remove_dir(copy).unwrap();
        assert!(damage(&data, "the 15th of them") > 0);
        let found = store(&["check"], &data).await;
        assert_eq!(found.status.code(), Some(1));
        assert!(
            said(&found).contains("room 'lobby': the record at position 8 is damaged"),
            "{}",
            said(&found)
        );
        // On its way while there is no server.
        ann.room.say("said meanwhile").unwrap();

        let mut running = server(&address, &data).await;
        ann.placed("said meanwhile").await;
        bob.placed("said meanwhile").await;
        for client in [&ann, &bob] {
            assert_eq!(client.rejoined.len(), usize::from(killed), "{:?}", client.rejoined);
            assert_eq!(client.gaps, [], "they had seen it");
            assert_eq!(client.placed.len(), 21);
            client.saw_nothing_twice();
        }
        bob.room.say("an answer").unwrap();
        ann.placed("an answer").await;

        let mut eve = Client::join(&address, "Eve").await;
        eve.placed("an answer").await;
        assert_eq!(eve.gaps, [(8, 8)]);
        let mut wanted = ann.placed.clone();
        wanted.retain(|text| text != "the 15th of them");
        assert_eq!(eve.placed, wanted);
        eve.saw_nothing_twice();
        running.process.signal("INT").await;
        assert!(running.process.exit().await.success());
        // And once more: the room is one that opens.
        let mut running = server(&address, &data).await;
        ann.room.say("the end").unwrap();
        eve.placed("the end").await;
        assert_eq!(ann.rejoined.len(), usize::from(killed));
        running.process.signal("INT").await;
        assert!(running.process.exit().await.success());
        std::fs::remove_dir_all(&data).unwrap();
    }
}

/// Makes the batch that was stored last unreadable, if it has this and was not moved yet. Whether it did.
fn cut_last_batch(data: &Path, text: &str) -> bool {
    let db = rusqlite::Connection::open(data.join("causerie.db")).unwrap();
    let damage = "UPDATE staging SET head = x'00'
                  WHERE id = (SELECT max(id) FROM staging) AND instr(frames, CAST(?1 AS BLOB)) > 0";
    db.execute(damage, [text]).unwrap() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_seen_what_was_cut_joins_again_and_no_position_has_two_messages() {
    // A store that has moved the last words meanwhile shows nothing: then once more.
    for attempt in 0..20 {
        let data = folder(&format!("cut-{attempt}"));
        let mut running = server("127.0.0.1:0", &data).await;
        let address = running.address();
        let mut ann = Client::join(&address, "Ann").await;
        let mut bob = Client::join(&address, "Bob").await;
        ann.room.say("the first").unwrap();
        ann.placed("the first").await;
        bob.placed("the first").await;
        // A batch of its own.
        ann.room.say("the last words").unwrap();
        ann.placed("the last words").await;
        bob.placed("the last words").await;
        running.process.signal("KILL").await;
        running.process.exit().await;
        if !cut_last_batch(&data, "the last words") {
            std::fs::remove_dir_all(&data).unwrap();
            continue;
        }
        let found = store(&["check"], &data).await;
        assert_eq!(found.status.code(), Some(1));
        assert!(said(&found).contains("what was stored last may be lost"), "{}", said(&found));
        ann.room.say("on its way").unwrap();

        let mut running = server(&address, &data).await;
        ann.placed("on its way").await;
        bob.placed("on its way").await;
        bob.room.say("an answer").unwrap();
        ann.placed("an answer").await;
        bob.placed("an answer").await;
        for client in [&ann, &bob] {
            assert_eq!(client.placed, ["the first", "the last words", "on its way", "an answer"]);
            assert_eq!(client.gaps, []);
            client.saw_nothing_twice();
            assert_eq!(client.rejoined.len(), 1, "{:?}", client.rejoined);
        }
        let mut eve = Client::join(&address, "Eve").await;
        eve.placed("an answer").await;
        assert_eq!(eve.placed, ["the first", "on its way", "an answer"]);
        running.process.signal("INT").await;
        assert!(running.process.exit().await.success());
        // Once: the next start finds nothing to cut.
        let mut running = server(&address, &data).await;
        eve.room.say("the end").unwrap();
        ann.placed("the end").await;
        assert_eq!(ann.rejoined.len(), 1);
        running.process.signal("INT").await;
        assert!(running.process.exit().await.success());
        std::fs::remove_dir_all(&data).unwrap();
        return;
    }
    panic!("the store was always faster");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_seen_more_than_a_restored_server_goes_on_with_it() {
    let (data, copy) = (folder("data"), folder("copy"));
    let copy_name = copy.to_str().unwrap();
    let mut running = server("127.0.0.1:0", &data).await;
    let address = running.address();
    let mut ann = Client::join(&address, "Ann").await;
    let mut bob = Client::join(&address, "Bob").await;
    ann.room.say("before the copy").unwrap();
    ann.placed("before the copy").await;
    bob.placed("before the copy").await;
    let made = store(&["backup", copy_name], &data).await;
    assert!(made.status.success(), "a server may run meanwhile: {}", said(&made));
    let again = store(&["backup", copy_name], &data).await;
    assert_eq!(again.status.code(), Some(1), "nothing is written over");
    for refused in [&["check"][..], &["stats"], &["restore", copy_name, "--replace"]] {
        let refused = store(refused, &data).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains("is in use by another process"), "{}", said(&refused));
    }
    ann.room.say("behind the copy").unwrap();
    bob.placed("behind the copy").await;
    ann.placed("behind the copy").await;
    running.process.signal("INT").await;
    running.process.exit().await;
    let refused = store(&["restore", copy_name], &data).await;
    assert!(said(&refused).contains("--replace sets it aside"), "{}", said(&refused));
    let nothing = store(&["restore", env!("CARGO_MANIFEST_DIR"), "--replace"], &data).await;
    assert!(said(&nothing).contains("there is no store in"), "{}", said(&nothing));
    ann.room.say("on its way").unwrap();
    let restored = store(&["restore", copy_name, "--replace"], &data).await;
    assert!(restored.status.success(), "{}", said(&restored));

    let mut running = server(&address, &data).await;
    ann.placed("on its way").await;
    bob.placed("on its way").await;
    bob.room.say("an answer").unwrap();
    ann.placed("an answer").await;
    bob.placed("an answer").await;
    for client in [&ann, &bob] {
        assert_eq!(client.placed, ["before the copy", "behind the copy", "on its way", "an answer"]);
        assert_eq!(client.gaps, []);
        client.saw_nothing_twice();
        assert_eq!(client.rejoined.len(), 1);
        assert!(client.rejoined[0].contains("restored from an older copy"), "{:?}", client.rejoined);
        let member = client.room.member().unwrap();
        assert_ne!(member.origin, MemberId::host(0).origin, "ids are never given out twice");
    }
    let mut eve = Client::join(&address, "Eve").await;
    eve.placed("an answer").await;
    assert_eq!(eve.placed, ["before the copy", "on its way", "an answer"]);
    running.process.signal("INT").await;
    assert!(running.process.exit().await.success());
    let clean = store(&["check"], &data).await;
    assert!(clean.status.success(), "{}", said(&clean));
    let numbers = said(&store(&["stats"], &data).await);
    assert!(numbers.contains("room 'lobby': 3 members, 8 records"), "{numbers}");
    let aside = data.with_file_name(format!("{}.replaced-1", data.file_name().unwrap().to_str().unwrap()));
    for folder in [data, copy, aside] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
