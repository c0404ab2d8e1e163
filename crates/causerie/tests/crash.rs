//! A server that is killed again and again while four clients talk, and starts again from its data folder: nothing
//! that anybody saw is lost, nothing comes twice, causes stay before effects, and in the end everybody has the same.
//!
//! `SEED=n cargo test -p causerie --test crash` draws from another seed; `ROUNDS=n` kills it that many times.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use causerie_client::{Body, Event, MessageId, Room, RoomOptions, Speaker};
use cbcast_sim::Oracle;
use common::{Server, soon};
use tokio::sync::mpsc;

const CLIENTS: usize = 4;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().expect("a number"))
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What all have seen so far.
#[derive(Default)]
struct Record {
    oracle: Oracle<usize, String>,
    /// What stands at which position, whoever was told.
    log: BTreeMap<u64, String>,
    /// Texts of messages that each client has been given, to know them when they are placed.
    texts: BTreeMap<(usize, MessageId), String>,
    last_seen: BTreeMap<usize, String>,
    resumed: u64,
    resent: usize,
    rejoined: u64,
}

impl Record {
    fn take(&mut self, who: usize, event: Event) {
        match event {
            Event::Delivered(post) => {
                let Body::Text(text) = post.body else { panic!("only texts are said") };
                if !post.own {
                    let delivered = self.oracle.deliver(who, &text);
                    delivered.unwrap_or_else(|violation| panic!("client {who}: {violation}"));
                    self.last_seen.insert(who, text.clone());
                }
                if let Some(position) = post.position {
                    self.stands_at(position, &text);
                }
                self.texts.insert((who, post.id), text);
            }
            Event::Placed { id, position, .. } => {
                if let Some(text) = self.texts.get(&(who, id)).cloned() {
                    self.stands_at(position, &text);
                }
            }
            Event::Resumed { resent } => {
                self.resumed += 1;
                self.resent += resent;
            }
            Event::Rejoined { reason, .. } => {
                self.rejoined += 1;
                panic!("client {who} lost its membership: {reason}");
            }
            Event::Ended(end) => panic!("client {who}: {end}"),
            Event::Gap { from, to } => panic!("client {who} misses {from} to {to}"),
            _ => {}
        }
    }

    fn stands_at(&mut self, position: u64, text: &str) {
        let known = self.log.entry(position).or_insert_with(|| text.to_owned());
        assert_eq!(known, text, "one text at position {position}");
    }
}

async fn server(address: &str, data: &str) -> Server {
    Server::listening(address, &["--data", data, "--history", "1000000", "--log", "warn"]).await
}

/// Events of a room, until it is over.
async fn listen(who: usize, mut room: Room, events: mpsc::UnboundedSender<(usize, Event)>) {
    while let Some(event) = room.next_event().await {
        if events.send((who, event)).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_saw_outlives_a_server_that_is_killed() {
    let (seed, rounds) = (number("SEED", 1), number("ROUNDS", 12));
    println!("replay with: SEED={seed} ROUNDS={rounds} cargo test -p causerie --test crash -- --nocapture");
    let mut random = Random(seed);
    let data: PathBuf =
        [env!("CARGO_TARGET_TMPDIR"), &format!("crash-{}-{seed}", std::process::id())].iter().collect();
    let data = data.to_str().expect("a path in UTF-8").to_owned();
    let mut running = server("127.0.0.1:0", &data).await;
    let address = running.address();

    let (send, mut events) = mpsc::unbounded_channel();
    let mut speakers: Vec<Speaker> = Vec::new();
    for who in 0..CLIENTS {
        let options = RoomOptions::new(&address, "lobby", &format!("client{who}")).create(true);
        let room = soon("a client is in", options.join()).await.unwrap();
        speakers.push(room.speaker());
        tokio::spawn(listen(who, room, send.clone()));
    }
    let mut record = Record::default();
    let mut said = 0;
    for _ in 0..rounds {
        // Some rounds end soon after the start: in the middle of resuming.
        for _ in 0..random.below(60) {
            while let Ok((who, event)) = events.try_recv() {
                record.take(who, event);
            }
            let who = random.below(CLIENTS as u64) as usize;
            let text = match record.last_seen.get(&who) {
                Some(question) if random.below(2) == 0 => {
                    format!("{said} of {who} answers {}", question.split(' ').next().unwrap_or_default())
                }
                _ => format!("{said} of {who}"),
            };
            said += 1;
            record.oracle.broadcast(who, text.clone()).unwrap();
            speakers[who].say(&text).expect("there is room for what waits");
            tokio::time::sleep(Duration::from_millis(random.below(12))).await;
        }
        if random.below(2) == 0 {
            // Every other time all come back first; else some are still waiting, or in the middle of resuming.
            soon("all are back", async {
                while speakers.iter().any(|speaker| speaker.on_their_way() > 0) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        }
        running.process.signal("KILL").await;
        running.process.exit().await;
        tokio::time::sleep(Duration::from_millis(random.below(200))).await;
        running = server(&address, &data).await;
    }
    soon("everybody has everything", async {
        while (0..CLIENTS).any(|who| record.oracle.has_all(&who).is_err())
            || speakers.iter().any(|speaker| speaker.on_their_way() > 0)
        {
            match tokio::time::timeout(Duration::from_millis(100), events.recv()).await {
                Ok(Some((who, event))) => record.take(who, event),
                Ok(None) => panic!("nobody listens any more"),
                Err(_) => {}
            }
        }
    })
    .await;
    while let Ok((who, event)) = events.try_recv() {
        record.take(who, event);
    }
    assert_eq!(record.log.len(), said, "each has one place");

    // And a newcomer finds all of it, once, in the same order.
    let mut newcomer =
        soon("a newcomer", RoomOptions::new(&address, "lobby", "newcomer").join()).await.unwrap();
    let mut history = BTreeMap::new();
    soon("all of history", async {
        while history.len() < said {
            if let Some(Event::Delivered(post)) = newcomer.next_event().await
                && let (Body::Text(text), Some(position)) = (post.body, post.position)
            {
                assert_eq!(history.insert(position, text), None);
            }
        }
    })
    .await;
    assert_eq!(history, record.log);
    assert_eq!(history.values().collect::<BTreeSet<_>>().len(), said);
    running.process.signal("INT").await;
    assert!(running.process.exit().await.success());
    println!(
        "{rounds} kills, {said} messages, {} deliveries judged, {} times resumed, {} sent again",
        record.oracle.deliveries(),
        record.resumed,
        record.resent
    );
    assert!(record.resumed > 0 && record.resent > 0, "a run without trouble proves nothing");
    std::fs::remove_dir_all(&data).expect("the data folder is ours");
}
