//! A server that is killed again and again while clients of each kind talk, over connections that are held up and cut,
//! and some of the clients are killed, too. All start again with what they have on the disk. Nothing that anybody was
//! shown is lost, nothing comes twice, causes come before effects, and in the end everybody has the same.
//!
//! `SEED=n cargo test -p causerie --test crash` draws from another seed; `ROUNDS=n` kills the server that many times.

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use causerie_client::{Body, Event, RoomOptions, Speaker};
use clients::{Chat, Classic, Web};
use common::{Proxy, Server, soon};
use record::{Record, Saw};
use tokio::sync::mpsc;

const NATIVES: usize = 3;
const CHATS: usize = 2;

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

    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }
}

async fn server(address: &str, data: &Path) -> Server {
    let data = data.to_str().expect("a path in UTF-8");
    Server::listening(address, &["--data", data, "--history", "1000000", "--log", "warn"]).await
}

/// All who talk, and what is known of them.
struct Company {
    news: mpsc::UnboundedReceiver<(String, Saw)>,
    record: Record,
    /// Chats whose process has ended.
    ended: BTreeSet<String>,
    natives: Vec<Speaker>,
    chats: Vec<Chat>,
    classic: Classic,
    web: Web,
    /// How many messages there are.
    said: u64,
    /// Those that must have a place in the end.
    owed: BTreeSet<String>,
}

impl Company {
    async fn gather(proxy: &str, folder: &Path) -> Self {
        let (send, news) = mpsc::unbounded_channel();
        let mut record = Record::default();
        let mut natives = Vec::new();
        for n in 0..NATIVES {
            let name = format!("native{n}");
            record.begins(&name);
            natives.push(clients::native(proxy, &name, send.clone()).await);
        }
        record.begins("web");
        let web = Web::start(proxy, "web", send.clone()).await;
        let classic = Classic::start(proxy, "classic", send.clone());
        let mut chats = Vec::new();
        for n in 0..CHATS {
            let name = format!("chat{n}");
            record.begins(&name);
            chats.push(Chat::start(proxy, &name, folder.join(&name), send.clone()));
        }
        let (ended, owed) = (BTreeSet::new(), BTreeSet::new());
        let mut company = Self { news, record, ended, natives, chats, classic, web, said: 0, owed };
        soon("the classic client is in", async {
            while !company.record.is_in("classic") {
                company.listen().await;
            }
        })
        .await;
        // A chat's first words show that it is in: before that, what others say may not be for it.
        for n in 0..CHATS {
            let text = company.say(NATIVES as u64 + n as u64, &mut Random(0)).await;
            soon("a chat is in", async {
                while !company.record.was_shown(&text) {
                    company.listen().await;
                }
            })
            .await;
        }
        company
    }

    /// Takes what has happened, or waits a moment for it.
    async fn listen(&mut self) {
        let first = tokio::time::timeout(Duration::from_millis(20), self.news.recv()).await;
        if let Ok(Some(news)) = first {
            self.take(news);
        }
        self.take_all();
    }

    fn take_all(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.take(news);
        }
    }

    fn take(&mut self, (who, saw): (String, Saw)) {
        if matches!(saw, Saw::Ended) {
            self.ended.insert(who.clone());
        }
        self.record.take(&who, saw);
    }

    /// One of them says something, often in answer to what it was shown last.
    async fn say(&mut self, who: u64, random: &mut Random) -> String {
        self.take_all();
        let who = who as usize;
        let name = match who {
            0..NATIVES => format!("native{who}"),
            NATIVES.. if who < NATIVES + CHATS => format!("chat{}", who - NATIVES),
            _ if who == NATIVES + CHATS => "web".to_owned(),
            _ => "classic".to_owned(),
        };
        let number = self.said;
        self.said += 1;
        let text = match self.record.last_shown(&name).and_then(|text| text.split(' ').next()) {
            Some(question) if random.below(2) == 0 => format!("{number} of {name} answers {question}"),
            _ => format!("{number} of {name}"),
        };
        if name != "classic" {
            self.record.says(&name, &text);
            self.owed.insert(text.clone());
        }
        match who {
            0..NATIVES => self.natives[who].say(&text).map(|_| ()).expect("there is room for what waits"),
            NATIVES.. if who < NATIVES + CHATS => self.chats[who - NATIVES].say(&text).await,
            _ if who == NATIVES + CHATS => self.web.say(&text),
            _ => self.classic.say(&text),
        }
        text
    }

    /// Kills a chat that has promised to say `last`, and starts it again.
    async fn kill_chat(&mut self, n: usize, last: Option<&str>) {
        if let Some(last) = last {
            soon("the chat has taken it", async {
                while !self.record.was_shown(last) && !self.chats[n].has_taken(last) {
                    self.listen().await;
                }
            })
            .await;
        }
        let name = format!("chat{n}");
        self.chats[n].kill().await;
        soon("all that it printed", async {
            while !self.ended.remove(&name) {
                self.listen().await;
            }
        })
        .await;
        self.record.begins(&name);
        self.chats[n].start_again();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_saw_outlives_servers_and_clients_that_are_killed() {
    let (seed, rounds) = (number("SEED", 1), number("ROUNDS", 12));
    println!("replay with: SEED={seed} ROUNDS={rounds} cargo test -p causerie --test crash -- --nocapture");
    let mut random = Random(seed);
    let folder: PathBuf =
        [env!("CARGO_TARGET_TMPDIR"), &format!("crash-{}-{seed}", std::process::id())].iter().collect();
    let data = folder.join("data");
    let mut running = server("127.0.0.1:0", &data).await;
    let address = running.address();
    let proxy = Proxy::start(address.clone()).await;
    let mut company = Company::gather(&proxy.address(), &folder).await;
    let (mut cut, mut stalls, mut chats_killed) = (0, 0, 0);
    for round in 0..rounds {
        let mut last = [const { None }; CHATS];
        // Some rounds end soon after the start: in the middle of resuming.
        let (messages, cut_at, stall_at) = (random.below(60), random.below(60), random.below(60));
        for n in 0..messages {
            let who = random.below((NATIVES + CHATS + 2) as u64);
            let text = company.say(who, &mut random).await;
            if let Some(last) = (who as usize).checked_sub(NATIVES).and_then(|chat| last.get_mut(chat)) {
                *last = Some(text);
            }
            tokio::time::sleep(random.millis(12)).await;
            if n == cut_at {
                cut += proxy.cut();
            }
            if n == stall_at {
                stalls += 1;
                proxy.stall(true);
            }
            if n == stall_at + 10 {
                proxy.stall(false);
            }
        }
        if random.below(2) == 0 {
            proxy.stall(false);
            // Every other time all come back first; else some are still waiting, or in the middle of resuming.
            soon("all are back", async {
                while company.natives.iter().any(|speaker| speaker.on_their_way() > 0) {
                    company.listen().await;
                }
            })
            .await;
        }
        // A chat is killed before the server, or after it, or not at all.
        let (chat, when) = (random.below(CHATS as u64) as usize, (random.below(2) + round) % 3);
        if when == 0 {
            company.kill_chat(chat, last[chat].as_deref()).await;
        }
        running.process.signal("KILL").await;
        running.process.exit().await;
        if when == 1 {
            company.kill_chat(chat, last[chat].as_deref()).await;
        }
        chats_killed += u64::from(when < 2);
        proxy.stall(false);
        tokio::time::sleep(random.millis(200)).await;
        running = server(&address, &data).await;
    }

    // What a classic client says is not promised, but what comes behind it on the same connection tells that it was heard.
    let mut heard = false;
    while !heard {
        let text = company.say((NATIVES + CHATS + 1) as u64, &mut random).await;
        let patience = tokio::time::timeout(Duration::from_secs(5), async {
            while !company.record.was_shown(&text) {
                company.listen().await;
            }
        });
        heard = patience.await.is_ok();
    }
    soon("all that is owed was shown", async {
        while company.owed.iter().any(|text| !company.record.was_shown(text)) {
            company.listen().await;
        }
    })
    .await;
    let log = history(&address, &company.owed, &mut company.record).await;
    company.record.ends_with(&log, &company.owed);
    soon("everybody has everything", async {
        while !company.record.has_everybody_everything() {
            company.listen().await;
        }
    })
    .await;
    running.process.signal("INT").await;
    assert!(running.process.exit().await.success());
    let record = &company.record;
    println!(
        "{rounds} kills of the server, {chats_killed} of chats, {cut} connections cut, {stalls} times held up; \
         {} messages, {} deliveries judged, {} times resumed, {} sent again",
        company.said,
        record.deliveries(),
        record.resumed,
        record.resent
    );
    let trouble = [chats_killed, cut as u64, stalls, record.resumed, record.resent as u64];
    assert!(trouble.iter().all(|count| *count > 0), "a run without trouble proves nothing");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

/// The whole log, as a newcomer gets it, once it has all that is owed.
async fn history(address: &str, owed: &BTreeSet<String>, record: &mut Record) -> BTreeMap<u64, String> {
    const END: &str = "the end of the log";
    record.begins("newcomer");
    let mut newcomer =
        soon("a newcomer", RoomOptions::new(address, "lobby", "newcomer").join()).await.unwrap();
    let mut log = BTreeMap::new();
    let mut left = owed.clone();
    soon("all of history", async {
        while !left.is_empty() {
            if let Some(Event::Delivered(post)) = newcomer.next_event().await
                && let (Body::Text(text), Some(position)) = (post.body, post.position)
            {
                left.remove(&text);
                assert_eq!(log.insert(position, text), None);
            }
        }
        // Nothing is said any more: what is behind the last of them comes now, or is not there.
        record.says("newcomer", END);
        newcomer.speaker().say(END).expect("there is room");
        loop {
            match newcomer.next_event().await {
                Some(Event::Placed { position, .. }) => {
                    log.insert(position, END.to_owned());
                    break;
                }
                Some(Event::Delivered(post)) if !post.own => {
                    if let (Body::Text(text), Some(position)) = (post.body, post.position) {
                        assert_eq!(log.insert(position, text), None);
                    }
                }
                _ => {}
            }
        }
    })
    .await;
    log
}
