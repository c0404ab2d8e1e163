//! Replies, edits, deletions, reactions, actions and topics, said and seen by clients of each kind, on bad links and over
//! connections that are cut: nobody sees one before what it refers to, and the log that pages read is what a newcomer is shown.
//!
//! `SEED=n cargo test -p causerie --test rich` draws from another seed.

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use causerie_client::{Body, Disturbance, Event, Room, RoomOptions, Speaker};
use cbcast_sim::Oracle;
use common::socket::{Socket, Told};
use common::{Proxy, Server, soon};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const NATIVES: usize = 3;
const PAGES: usize = 2;
const CLASSIC: &str = "classic";
const MESSAGES: usize = 300;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Event that one of them was shown.
#[derive(Clone, Debug)]
enum Saw {
    /// A message with its id: what another has said (or it itself has, if `own`).
    Message {
        id: String,
        said: Said,
        own: bool,
    },
    /// A line for people.
    Line(String),
    Held,
    Back,
}

/// Message, the same for all protocols. Each has a word of its own (`k17`), in its text or as its symbol.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Said {
    kind: String,
    word: String,
    /// The id of what it refers to.
    about: Option<String>,
    set: bool,
}

impl Said {
    fn of_body(body: &Body) -> Self {
        let (kind, word, about, set) = match body {
            Body::Text(text) => ("text", text, None, true),
            Body::Action(text) => ("action", text, None, true),
            Body::Notice(text) => ("notice", text, None, true),
            Body::Topic(text) => ("topic", text, None, true),
            Body::Reply { to, text } => ("reply", text, Some(to), true),
            Body::Edit { of, text } => ("edit", text, Some(of), true),
            Body::Delete { of, .. } => ("delete", &String::new(), Some(of), true),
            Body::Reaction { to, symbol, set } => ("reaction", symbol, Some(to), *set),
            _ => panic!("nobody says that"),
        };
        Self { kind: kind.into(), word: word.clone(), about: about.map(ToString::to_string), set }
    }

    fn body(&self) -> Body {
        let about = || self.about.as_ref().expect("it refers to something").parse().expect("an id");
        let word = self.word.clone();
        match &*self.kind {
            "action" => Body::Action(word),
            "notice" => Body::Notice(word),
            "topic" => Body::Topic(word),
            "reply" => Body::Reply { to: about(), text: word },
            "edit" => Body::Edit { of: about(), text: word },
            "delete" => Body::Delete { of: about(), reason: String::new() },
            "reaction" => Body::Reaction { to: about(), symbol: word, set: self.set },
            _ => Body::Text(word),
        }
    }

    fn of_json(record: &Value) -> Self {
        let text = |name: &str| record[name].as_str().map(str::to_owned);
        Self {
            kind: text("kind").expect("a kind"),
            word: text("text").or(text("symbol")).unwrap_or_default(),
            about: text("to").or(text("of")),
            set: record["set"].as_bool().unwrap_or(true),
        }
    }

    fn json(&self) -> Value {
        match &*self.kind {
            "reply" => json!({"kind": "reply", "to": self.about, "text": self.word}),
            "edit" => json!({"kind": "edit", "of": self.about, "text": self.word}),
            "delete" => json!({"kind": "delete", "of": self.about}),
            "reaction" => json!({"kind": "reaction", "to": self.about, "symbol": self.word, "set": self.set}),
            kind => json!({"kind": kind, "text": self.word}),
        }
    }
}

/// Screen of somebody so far.
#[derive(Default)]
struct Screen {
    /// Names of messages for the oracle, by id.
    keys: BTreeMap<String, String>,
    /// Ids of its own messages, and of all, that can be referred to.
    own: Vec<String>,
    all: Vec<String>,
    deleted: BTreeSet<String>,
    words: BTreeSet<String>,
}

#[derive(Default)]
struct Judge {
    oracle: Oracle<String, String>,
    screens: BTreeMap<String, Screen>,
    /// Messages that each has taken back and that who reads lines has not been told of yet: lines do not say which.
    taken_back: BTreeMap<String, VecDeque<String>>,
    /// Numbers of those judged that refer to something, by kind.
    about: BTreeMap<String, u64>,
    held: u64,
    back: u64,
}

impl Judge {
    /// Returns a name for what refers to `about` and has no word of its own.
    fn key(screen: &Screen, said: &Said, who: &str) -> String {
        let about = said.about.as_ref().map(|about| {
            let known = screen.keys.get(about);
            known.unwrap_or_else(|| panic!("{who} is shown {said:?} before what it refers to"))
        });
        if said.word.is_empty() { format!("no {}", about.expect("a deletion")) } else { said.word.clone() }
    }

    fn says(&mut self, who: &str, said: &Said) {
        let screen = self.screens.get_mut(who).expect("all are known");
        let key = Self::key(screen, said, who);
        screen.words.insert(key.clone());
        if said.kind == "delete" {
            self.taken_back.entry(who.to_owned()).or_default().push_back(key.clone());
        }
        self.oracle.broadcast(who.to_owned(), key).expect("said once");
    }

    fn take(&mut self, who: &str, saw: Saw) {
        let screen = self.screens.get_mut(who).expect("all are known");
        match saw {
            Saw::Message { id, said, own } => {
                let key = Self::key(screen, &said, who);
                *self.about.entry(said.kind.clone()).or_default() += u64::from(!own);
                if !own {
                    let judged = self.oracle.deliver(who.to_owned(), &key);
                    judged.unwrap_or_else(|violation| panic!("{who}: {violation}"));
                }
                if matches!(&*said.kind, "text" | "action" | "notice" | "reply") {
                    screen.all.push(id.clone());
                    if own {
                        screen.own.push(id.clone());
                    }
                }
                screen.keys.insert(id, key);
            }
            Saw::Line(line) => {
                let is_word =
                    |word: &&str| word.len() > 1 && word.starts_with('k') && word[1..].parse::<u32>().is_ok();
                let words: Vec<_> = line.split(|c: char| !c.is_alphanumeric()).filter(is_word).collect();
                let mut unknown = words.iter().filter(|word| !screen.words.contains(**word));
                let key = match line.split_once(" : (takes back ") {
                    Some((author, _)) => {
                        let taken_back = self.taken_back.get_mut(author).and_then(VecDeque::pop_front);
                        taken_back.unwrap_or_else(|| panic!("{author} has taken nothing more back"))
                    }
                    None => unknown
                        .next()
                        .unwrap_or_else(|| panic!("{who} is told nothing new: {line}"))
                        .to_string(),
                };
                assert_eq!(unknown.next(), None, "{who} is shown this before what it refers to: {line}");
                let judged = self.oracle.deliver(who.to_owned(), &key);
                judged.unwrap_or_else(|violation| panic!("{who}: {violation}"));
                screen.words.insert(key);
                *self.about.entry("line".into()).or_default() += u64::from(words.len() > 1);
            }
            Saw::Held => self.held += 1,
            Saw::Back => self.back += 1,
        }
    }

    /// Something that `who` may say.
    fn draw(&mut self, who: &str, number: usize, random: &mut Random) -> Said {
        let screen = self.screens.get_mut(who).expect("all are known");
        let mut said = Said { kind: "text".into(), word: format!("k{number}"), about: None, set: true };
        if who == CLASSIC {
            return said;
        }
        let last = |ids: &[String], random: &mut Random| {
            let recent = &ids[ids.len().saturating_sub(6)..];
            (!recent.is_empty()).then(|| recent[random.below(recent.len())].clone())
        };
        let (kind, about) = match random.below(11) {
            10 => ("notice", None),
            0 => ("action", None),
            1 => ("topic", None),
            2 | 3 => ("reply", last(&screen.all, random)),
            4 | 5 => ("reaction", last(&screen.all, random)),
            6 | 7 => ("edit", last(&screen.own, random)),
            8 => ("delete", last(&screen.own, random).filter(|id| screen.deleted.insert(id.clone()))),
            _ => return said,
        };
        if about.is_some() || matches!(kind, "action" | "notice" | "topic") {
            (said.kind, said.about, said.set) = (kind.into(), about, random.below(3) > 0);
            said.set |= kind != "reaction";
        }
        if said.kind == "delete" {
            said.word.clear();
        }
        said
    }
}

type News = mpsc::UnboundedSender<(String, Saw)>;

async fn listen(mut room: Room, who: String, news: News) {
    while let Some(event) = room.next_event().await {
        let saw = match event {
            Event::Delivered(post) => {
                Saw::Message { id: post.id.to_string(), said: Said::of_body(&post.body), own: post.own }
            }
            Event::Held { .. } => Saw::Held,
            Event::Resumed { .. } => Saw::Back,
            Event::Rejoined { .. }
            | Event::Gap { .. }
            | Event::Ended(_)
            | Event::Refused { .. }
            | Event::Unsaid { .. } => {
                panic!("{who}: {event:?}")
            }
            _ => continue,
        };
        if news.send((who.clone(), saw)).is_err() {
            return;
        }
    }
}

async fn relay(mut told: mpsc::UnboundedReceiver<Told>, who: String, news: News) {
    while let Some(told) = told.recv().await {
        let saw = match told {
            Told::Record(record) if record["type"] == "message" => Saw::Message {
                id: record["id"].as_str().expect("an id").to_owned(),
                said: Said::of_json(&record),
                own: record["author"] == who.as_str(),
            },
            Told::Resumed { .. } => Saw::Back,
            _ => continue,
        };
        if news.send((who.clone(), saw)).is_err() {
            return;
        }
    }
}

/// Texts in the end and what became of them, by the log's order.
#[derive(Debug, Default, Eq, PartialEq)]
struct Shown {
    texts: BTreeMap<String, String>,
    reactions: BTreeSet<(String, String)>,
    topic: String,
}

impl Shown {
    fn add(&mut self, id: String, said: Said) {
        let Said { kind, word, about, set } = said;
        match (&*kind, about) {
            ("topic", _) => self.topic = word,
            ("edit", Some(of)) => {
                if let Some(text) = self.texts.get_mut(&of) {
                    *text = word;
                }
            }
            ("delete", Some(of)) => {
                self.texts.remove(&of);
            }
            ("reaction", Some(to)) if set => {
                self.reactions.insert((to, word));
            }
            ("reaction", Some(to)) => {
                self.reactions.remove(&(to, word));
            }
            _ => {
                self.texts.insert(id, word);
            }
        }
    }
}

/// The log by pages of the HTTP interface.
async fn pages(address: &str) -> Vec<Value> {
    let (mut records, mut after) = (Vec::new(), 0);
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let get = format!(
            "GET /api/rooms/lobby/messages?after={after}&limit=37 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("a page", stream.read_to_string(&mut answer)).await.unwrap();
        let page: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).unwrap();
        let (to, end) = (page["to"].as_u64().unwrap(), page["end"].as_u64().unwrap());
        records.extend(page["messages"].as_array().unwrap().iter().cloned());
        if to >= end {
            return records;
        }
        after = to;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_seen_before_what_it_refers_to() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("replay with: SEED={seed} cargo test -p causerie --test rich -- --nocapture");
    let mut random = Random(seed);
    let server = Server::start(&["--history", "1000000"]).await;
    let proxy = Proxy::start(server.address()).await;
    let (news_in, mut news) = mpsc::unbounded_channel();
    let mut judge = Judge::default();
    let mut natives: Vec<Speaker> = Vec::new();
    for n in 0..NATIVES {
        let who = format!("native{n}");
        let disturbance = Disturbance {
            delay_max: Duration::from_millis(150 * n as u64 + 20),
            loss: 8_00,
            duplicates: 5_00,
            seed: seed * 10 + n as u64,
            ..Disturbance::default()
        };
        let options = RoomOptions::new(&proxy.address(), "lobby", &who).create(true).disturbance(disturbance);
        let room = soon("a client is in", options.join()).await.unwrap();
        natives.push(room.speaker());
        judge.screens.insert(who.clone(), Screen::default());
        tokio::spawn(listen(room, who, news_in.clone()));
    }
    let mut sockets = Vec::new();
    for n in 0..PAGES {
        let who = format!("page{n}");
        let (told_in, mut told) = mpsc::unbounded_channel();
        sockets.push(Socket::start(proxy.address(), &who, told_in));
        let joined = soon("a page is in", told.recv()).await;
        assert!(matches!(joined, Some(Told::Joined)), "{joined:?}");
        judge.screens.insert(who.clone(), Screen::default());
        tokio::spawn(relay(told, who, news_in.clone()));
    }
    let (input, mut classic) = TcpStream::connect(server.address()).await.unwrap().into_split();
    classic.write_all(format!("./join lobby\n{CLASSIC}\n./members\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(input).lines();
    soon("the classic client is in", async {
        while !lines.next_line().await.unwrap().expect("it goes on").starts_with("['") {}
    })
    .await;
    judge.screens.insert(CLASSIC.into(), Screen::default());
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains(" : ") && news_in.send((CLASSIC.into(), Saw::Line(line))).is_err() {
                return;
            }
        }
    });

    let mut cut = 0;
    for number in 0..MESSAGES {
        while let Ok((who, saw)) = news.try_recv() {
            judge.take(&who, saw);
        }
        let at = random.below(NATIVES + PAGES + 1);
        let who = match at {
            0..NATIVES => format!("native{at}"),
            _ if at < NATIVES + PAGES => format!("page{}", at - NATIVES),
            _ => CLASSIC.to_owned(),
        };
        let said = judge.draw(&who, number, &mut random);
        judge.says(&who, &said);
        match at {
            0..NATIVES => {
                natives[at].send(&said.body()).unwrap_or_else(|error| panic!("{who} {said:?}: {error}"));
            }
            _ if at < NATIVES + PAGES => sockets[at - NATIVES].say(said.json()),
            _ => classic.write_all(format!("{}\n", said.word).as_bytes()).await.unwrap(),
        }
        if number % 60 == 30 {
            cut += proxy.cut();
        }
        tokio::time::sleep(Duration::from_millis(random.below(25) as u64)).await;
    }
    soon("everybody has everything", async {
        while judge.screens.keys().any(|who| judge.oracle.has_all(who).is_err())
            || natives.iter().any(|native| native.on_their_way() > 0)
            || sockets.iter().any(|socket| socket.on_its_way() > 0)
        {
            if let Ok(Some((who, saw))) = tokio::time::timeout(Duration::from_millis(50), news.recv()).await {
                judge.take(&who, saw);
            }
        }
    })
    .await;

    // The log as pages read it: what refers to something stands behind it, and all that was said stands there once.
    let mut reader = Screen::default();
    let mut shown = Shown::default();
    for record in pages(&server.address()).await {
        let said = Said::of_json(&record);
        if !matches!(&*said.kind, "joined" | "left") {
            let id = record["id"].as_str().expect("an id").to_owned();
            // Pages have the texts that stand: which message it is, its id says.
            let key = judge.screens["native0"].keys[&id].clone();
            let about = said.about.as_ref();
            assert!(
                about.is_none_or(|about| reader.keys.contains_key(about)),
                "{key} before what it refers to"
            );
            assert!(record["deleted"] != true || record.get("text").is_none(), "{record}");
            assert!(reader.words.insert(key.clone()), "{key} stands there twice");
            reader.keys.insert(id.clone(), key);
            shown.add(id, said);
        }
    }
    assert_eq!(reader.words.len(), MESSAGES);
    // And a newcomer's client shows the same.
    let mut newcomer =
        soon("a newcomer", RoomOptions::new(&server.address(), "lobby", "newcomer").join()).await.unwrap();
    let (mut theirs, mut left) = (Shown::default(), MESSAGES);
    soon("all of the log", async {
        while left > 0 {
            if let Some(Event::Delivered(post)) = newcomer.next_event().await {
                theirs.add(post.id.to_string(), Said::of_body(&post.body));
                left -= 1;
            }
        }
    })
    .await;
    assert_eq!(theirs, shown);

    let Judge { about, held, back, oracle, .. } = &judge;
    println!(
        "{MESSAGES} messages, {} deliveries judged, {about:?}, {held} held, {cut} connections cut, {back} times back",
        oracle.deliveries()
    );
    let kinds = ["reply", "edit", "delete", "reaction", "topic", "action", "notice", "line"];
    assert!(
        kinds.iter().all(|kind| about.get(*kind).is_some_and(|n| *n > 0)),
        "all kinds were seen: {about:?}"
    );
    assert!(*held > 0 && cut > 0 && *back > 0, "a run without trouble proves nothing");
}
