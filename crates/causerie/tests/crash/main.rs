//! A server that is killed again and again while clients of all kinds talk, and starts again from its data folder:
//! nothing that anybody saw is lost, nothing comes twice, causes stay before effects, and in the end everybody has the
//! same. Some clients are processes that are killed too, and some connections are cut, stall, or are gone for one side only.
//!
//! `SEED=n cargo test -p causerie --test crash` draws from another seed; `ROUNDS=n` kills the server that many times.

mod chat;
mod classic;
#[path = "../common/mod.rs"]
mod common;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use causerie_client::{Body, Event, Fingerprint, MessageId, Room, RoomOptions, Security, Speaker};
use causerie_server::{CertificateSource, TlsSettings};
use common::socket::{self, Socket};
use common::{Fault, Proxy, Said, Server, soon};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::sync::mpsc;

use chat::Chat;
use classic::Classic;
use record::Record;

/// Clients in this process, of which every other one is behind the proxy.
const NATIVE: usize = 4;
/// Processes, likewise.
const CHATS: usize = 2;
const SOCKET: &str = "socket";

// Talkers by number: the native clients, the WebSocket, the classic client, the chats.
const CLASSIC: usize = NATIVE + 1;
const FIRST_CHAT: usize = NATIVE + 2;
const TALKERS: usize = FIRST_CHAT + CHATS;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().expect("a number"))
}

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Faults, which were mended.
#[derive(Debug, Default)]
struct Trouble {
    native_resumed: u64,
    native_resent: usize,
    socket_resumed: u64,
    socket_resent: usize,
    chats_killed: u64,
    chats_resumed: u64,
    chats_resent: u64,
    classic_sessions: u64,
}

fn native_name(who: usize) -> String {
    format!("native{who}")
}

async fn server(address: &str, data: &str, tls: Option<&Encryption>) -> Server {
    let source = if tls.is_some() { "self-signed" } else { "off" };
    let args = ["--data", data, "--history", "1000000", "--log", "warn", "--tls", source];
    Server::listening(address, &args).await
}

/// Knowledge of the server's certificate.
struct Encryption {
    key: Fingerprint,
    /// For the WebSocket.
    config: Arc<ClientConfig>,
}

impl Encryption {
    /// Has the certificate made that the server will find in its folder.
    fn of_server(data: &str) -> Self {
        let folder = PathBuf::from(data).join("tls");
        let source = CertificateSource::SelfSigned { folder: Some(folder.clone()) };
        let made = TlsSettings { source, names: Vec::new() }.prepare().unwrap().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("self-signed.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Self { key: Fingerprint::new(made.key_sha256), config: Arc::new(config) }
    }

    /// Returns how a native client speaks by TLS with the server, which it knows.
    fn security(&self) -> Security {
        Security::new().tls().pin(self.key)
    }
}

/// Events of a room, until it is over.
async fn listen(who: usize, mut room: Room, events: mpsc::UnboundedSender<(usize, Event)>) {
    while let Some(event) = room.next_event().await {
        if events.send((who, event)).is_err() {
            return;
        }
    }
}

/// Everybody, and what they have told so far.
struct World {
    random: Random,
    record: Record,
    trouble: Trouble,
    /// Messages so far, said or tried.
    tried: u64,
    faults: u64,
    proxy: Proxy,
    natives: Vec<Speaker>,
    /// Texts of messages that each native client has been given, to know them when they are placed.
    texts: BTreeMap<(usize, MessageId), String>,
    native_events: mpsc::UnboundedReceiver<(usize, Event)>,
    chats: Vec<Chat>,
    chat_lines: mpsc::UnboundedReceiver<((usize, u64), Said)>,
    /// Runs of chats whose output has ended.
    ended: BTreeSet<(usize, u64)>,
    /// Messages that a run has shown, since a later one may show the last of them again.
    shown: BTreeSet<(usize, u64, String)>,
    socket: Socket,
    socket_told: mpsc::UnboundedReceiver<socket::Told>,
    classic: Classic,
    classic_told: mpsc::UnboundedReceiver<(Arc<str>, classic::Told)>,
}

impl World {
    /// With encryption, half of the clients of each kind use it, and the WebSocket.
    async fn start(random: Random, address: &str, folder: &str, tls: Option<&Encryption>) -> Self {
        let proxy = Proxy::start(address.to_owned()).await;
        let behind = proxy.address();
        let way = |who: usize| if who.is_multiple_of(2) { address } else { &behind };
        let (send, native_events) = mpsc::unbounded_channel();
        let mut natives = Vec::new();
        for who in 0..NATIVE {
            // So that they come back while there are still kills to come.
            let pause = Duration::from_millis(200);
            let options =
                RoomOptions::new(way(who), "lobby", &native_name(who)).create(true).retry_max(pause);
            // One that is behind the proxy, and one that is not.
            let options = match tls.filter(|_| who < NATIVE / 2) {
                Some(tls) => options.security(tls.security()),
                None => options,
            };
            let room = soon("a client is in", options.join()).await.unwrap();
            natives.push(room.speaker());
            tokio::spawn(listen(who, room, send.clone()));
        }
        let (send, mut socket_told) = mpsc::unbounded_channel();
        let config = tls.map(|tls| Arc::clone(&tls.config));
        let socket = Socket::start_with(behind.clone(), config, SOCKET, send);
        // It sees at which positions the sessions join that come after it.
        let welcome = soon("the socket is in", socket_told.recv()).await;
        assert!(matches!(welcome, Some(socket::Told::Joined)), "{welcome:?}");
        let (send, classic_told) = mpsc::unbounded_channel();
        let classic = Classic::start(address.to_owned(), send);
        let (send, chat_lines) = mpsc::unbounded_channel();
        let state = |who| PathBuf::from(format!("{folder}/chat{who}"));
        let pin = |who| tls.filter(|_| who == 0).map(|tls| tls.key.hex());
        let chats =
            (0..CHATS).map(|who| Chat::new(who, way(who), state(who), send.clone(), pin(who))).collect();
        let mut world = Self {
            random,
            record: Record::default(),
            trouble: Trouble::default(),
            tried: 0,
            faults: 0,
            proxy,
            natives,
            texts: BTreeMap::new(),
            native_events,
            chats,
            chat_lines,
            ended: BTreeSet::new(),
            shown: BTreeSet::new(),
            socket,
            socket_told,
            classic,
            classic_told,
        };
        world.chats.iter_mut().for_each(Chat::start);
        // Whoever joins later rightly misses what was said before.
        world.until("everybody is in", |world| world.members() == TALKERS).await;
        world
    }

    fn members(&self) -> usize {
        self.natives.iter().map(|native| native.members().len()).min().expect("there are some")
    }

    // What is told.

    fn take_all(&mut self) {
        assert!(!self.socket.task.is_finished() && !self.classic.task.is_finished(), "a client has failed");
        while let Ok((who, event)) = self.native_events.try_recv() {
            self.take_native(who, event);
        }
        while let Ok(((who, run), said)) = self.chat_lines.try_recv() {
            self.take_chat(who, run, said);
        }
        while let Ok(told) = self.socket_told.try_recv() {
            self.take_socket(told);
        }
        while let Ok((session, told)) = self.classic_told.try_recv() {
            match told {
                classic::Told::In => {
                    self.trouble.classic_sessions += 1;
                    self.record.began(&session);
                }
                classic::Told::Text(text) => {
                    assert!(self.record.heard(&session, &text), "{session} was told '{text}' twice");
                }
            }
        }
    }

    fn take_native(&mut self, who: usize, event: Event) {
        let name = native_name(who);
        match event {
            Event::Delivered(post) => {
                let Body::Text(text) = post.body else { panic!("only texts are said") };
                if !post.own {
                    assert!(self.record.heard(&name, &text), "{name} was told '{text}' twice");
                }
                if let Some(position) = post.position {
                    self.record.stands_at(position.get(), &text);
                }
                self.texts.insert((who, post.id), text);
            }
            Event::Placed { id, position, .. } => {
                if let Some(text) = self.texts.get(&(who, id)) {
                    self.record.stands_at(position.get(), text);
                }
            }
            Event::Resumed { resent } => {
                self.trouble.native_resumed += 1;
                self.trouble.native_resent += resent;
            }
            Event::Rejoined { reason, .. } => panic!("{name} lost its membership: {reason}"),
            Event::Ended(end) => panic!("{name}: {end}"),
            Event::Gap { from, to } => panic!("{name} misses {from} to {to}"),
            _ => {}
        }
    }

    fn take_chat(&mut self, who: usize, run: u64, said: Said) {
        let name = Arc::clone(&self.chats[who].name);
        match said {
            Said::Out(line) => {
                let (_, text) = line.split_once(" : ").unwrap_or_else(|| panic!("{name}: {line}"));
                assert!(self.shown.insert((who, run, text.into())), "{name} shows '{text}' twice");
                self.record.heard(&name, text);
            }
            Said::Err(line) => {
                let bad =
                    ["joined again", "not said", "gap:", "what was kept", "this client cannot", "causerie: "];
                assert!(!bad.iter().any(|bad| line.contains(bad)), "{name}: {line}");
                self.trouble.chats_resumed +=
                    u64::from(line.starts_with("back") || line.starts_with("in '") && run > 1);
                if let Some(resent) = line.strip_prefix("back; ").and_then(|line| line.split(' ').next()) {
                    self.trouble.chats_resent += resent.parse::<u64>().expect("a number");
                }
            }
            Said::OutEnd => {
                self.ended.insert((who, run));
            }
        }
    }

    fn take_socket(&mut self, told: socket::Told) {
        match told {
            socket::Told::Joined => panic!("it joins once"),
            socket::Told::Record(record) => {
                let field =
                    |name: &str| record[name].as_str().unwrap_or_else(|| panic!("{record}")).to_owned();
                let (position, author) = (record["position"].as_u64().expect("a position"), field("author"));
                match &*field("type") {
                    "joined" => self.record.joined_at(position, author),
                    "left" => {}
                    _ => {
                        let text = field("text");
                        self.record.stands_at(position, &text);
                        if author != SOCKET {
                            assert!(self.record.heard(SOCKET, &text), "the socket was told '{text}' twice");
                        }
                    }
                }
            }
            socket::Told::Ack { position, said } => {
                self.record.stands_at(position, said["text"].as_str().expect("a text"));
            }
            socket::Told::Resumed { resent } => {
                self.trouble.socket_resumed += 1;
                self.trouble.socket_resent += resent;
            }
        }
    }

    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        soon(what, async {
            loop {
                self.take_all();
                if is_so(self) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    // What is done.

    /// Returns what `who` says next: an answer to what it has seen last, or something new.
    fn next_text(&mut self, who: &str) -> String {
        let number = self.tried;
        self.tried += 1;
        let text = match self.record.last_heard(who) {
            Some(question) if self.random.one_in(2) => {
                let question = question.split(' ').next().unwrap_or_default().trim_start_matches('#');
                format!("#{number} of {who} answers {question}.")
            }
            _ => format!("#{number} of {who}."),
        };
        self.record.said(who, &text);
        text
    }

    async fn say(&mut self, talker: usize) {
        self.take_all();
        match talker {
            0..NATIVE => {
                let text = self.next_text(&native_name(talker));
                self.natives[talker].say(&text).expect("there is room for what waits");
            }
            NATIVE => {
                let text = self.next_text(SOCKET);
                self.socket.say(json!({"text": text}));
            }
            CLASSIC => {
                if let Some(session) = self.classic.session() {
                    // Before it is in nothing is known of it.
                    self.take_all();
                    let text = self.next_text(&session);
                    self.classic.say(session, text);
                }
            }
            _ => {
                let chat = talker - FIRST_CHAT;
                if self.chats[chat].process.is_some() {
                    let name = Arc::clone(&self.chats[chat].name);
                    let text = self.next_text(&name);
                    self.chats[chat].give(&text).await;
                }
            }
        }
    }

    /// Something happens to a connection: each time another thing.
    fn disturb(&mut self) {
        self.faults += 1;
        let (drawn, which) = (self.random.below(150), self.random.below(1 << 32));
        let time = Duration::from_millis(drawn);
        let fault = match self.faults % 4 {
            0 => Fault::Cut { bytes: drawn as usize },
            1 => Fault::Stall(time),
            2 => Fault::LostClient,
            _ => Fault::LostServer(time),
        };
        self.proxy.fault(fault, which);
    }

    async fn talk(&mut self, messages: u64) {
        for _ in 0..messages {
            let talker = self.random.below(TALKERS as u64) as usize;
            self.say(talker).await;
            if self.random.one_in(6) {
                self.disturb();
            }
            if self.random.one_in(40) {
                self.classic.leave();
            }
            tokio::time::sleep(Duration::from_millis(self.random.below(8))).await;
        }
    }

    /// While there is no server: gives a chat a line, and waits until it is in its file, and so all before it was taken.
    async fn take_line(&mut self, who: usize) {
        self.say(FIRST_CHAT + who).await;
        self.until("the chat has taken it", |world| {
            let given = world.chats[who].given.last().and_then(|given| given.last());
            given.is_some_and(|text| world.chats[who].kept().contains(text))
        })
        .await;
    }

    async fn kill_chat(&mut self, who: usize) {
        if self.chats[who].process.is_none() {
            return;
        }
        let run = (who, self.chats[who].run);
        self.chats[who].kill().await;
        self.until("its output has ended", |world| world.ended.contains(&run)).await;
        self.trouble.chats_killed += 1;
    }

    /// Starts those that were killed. They are members, so they need no server for that.
    fn start_chats(&mut self) {
        self.chats.iter_mut().filter(|chat| chat.process.is_none()).for_each(Chat::start);
    }

    /// All that is on its way is in the log: of chats what this run has been given, and what those before had taken.
    fn is_settled(&self) -> bool {
        let chat_has = |chat: &Chat| {
            let given = chat.given.last().into_iter().flatten();
            given.chain(&chat.taken).all(|text| self.record.in_log.contains(text))
        };
        let session = self.classic.session();
        self.natives.iter().all(|native| native.on_their_way() == 0)
            && self.socket.on_its_way() == 0
            && self.chats.iter().all(chat_has)
            && session.is_some_and(|session| self.record.is_taken(&session))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_saw_outlives_servers_and_clients_that_are_killed() {
    kill_and_judge(number("ROUNDS", 16), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_where_half_of_them_speak_by_tls() {
    kill_and_judge(number("ROUNDS", 8), true).await;
}

async fn kill_and_judge(rounds: u64, by_tls: bool) {
    let seed = number("SEED", 1);
    println!("replay with: SEED={seed} ROUNDS={rounds} cargo test -p causerie --test crash -- --nocapture");
    let folder = format!("crash-{}-{seed}-{by_tls}", std::process::id());
    let folder: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &folder].iter().collect();
    let folder = folder.to_str().expect("a path in UTF-8").to_owned();
    let data = format!("{folder}/data");
    let tls = by_tls.then(|| Encryption::of_server(&data));
    let mut running = server("127.0.0.1:0", &data, tls.as_ref()).await;
    let address = running.address();
    let mut world = World::start(Random(seed), &address, &folder, tls.as_ref()).await;

    for round in 0..rounds {
        // Some rounds end soon after the start: in the middle of resuming.
        let messages = world.random.below(100);
        world.talk(messages).await;
        for chat in 0..CHATS {
            if world.random.one_in(3) {
                world.kill_chat(chat).await;
            }
        }
        if world.random.one_in(4) {
            // Now and then all come back first; else some are still waiting, or in the middle of resuming.
            world
                .until("all are back", |world| world.natives.iter().all(|native| native.on_their_way() == 0))
                .await;
        }
        running.process.signal("KILL").await;
        running.process.exit().await;
        // While nobody is there all goes on; at first everybody says something, so that there is something to say again.
        if round == 0 {
            for talker in 0..TALKERS {
                world.say(talker).await;
            }
        } else {
            let messages = world.random.below(10);
            world.talk(messages).await;
        }
        for chat in 0..CHATS {
            if round == 0 || world.random.one_in(3) {
                if world.chats[chat].process.is_some() && (round == 0 || world.random.one_in(2)) {
                    world.take_line(chat).await;
                }
                world.kill_chat(chat).await;
            }
        }
        if world.random.one_in(2) {
            world.start_chats();
        }
        running = server(&address, &data, tls.as_ref()).await;
        world.start_chats();
    }
    world.until("everything is in the log", World::is_settled).await;
    // Nothing stands behind this, so whoever has it has all.
    let last = world.next_text(&native_name(0));
    world.natives[0].say(&last).unwrap();
    let session = world.classic.session().expect("it is in");
    let mut listeners: Vec<String> = (0..NATIVE).map(native_name).collect();
    listeners.extend(world.chats.iter().map(|chat| chat.name.to_string()));
    listeners.extend([SOCKET.to_owned(), session.to_string()]);
    world
        .until("everybody has everything", |world| {
            let others = listeners.iter().filter(|name| **name != native_name(0));
            world.record.in_log.contains(&last)
                && others.clone().all(|name| world.record.has_heard(name, &last))
        })
        .await;
    let deliveries = world.record.judge(&listeners);
    for chat in &world.chats {
        for given in &chat.given {
            let in_log: Vec<_> = given.iter().map(|text| world.record.in_log.contains(text)).collect();
            assert!(in_log.is_sorted_by(|a, b| a >= b), "{} left out some of {given:?}", chat.name);
        }
    }

    // And a newcomer finds all of it, once, in the same order.
    let mut newcomer =
        soon("a newcomer", RoomOptions::new(&address, "lobby", "newcomer").join()).await.unwrap();
    let mut history = BTreeMap::new();
    soon("all of history", async {
        while history.len() < world.record.log.len() {
            if let Some(Event::Delivered(post)) = newcomer.next_event().await
                && let (Body::Text(text), Some(position)) = (post.body, post.position)
            {
                assert_eq!(history.insert(position.get(), text), None);
            }
        }
    })
    .await;
    assert_eq!(history, world.record.log);
    world.socket.task.abort();
    world.classic.task.abort();
    for who in 0..CHATS {
        let mut process = world.chats[who].process.take().expect("it runs");
        process.stdin = None;
        assert!(process.exit().await.success(), "{who}");
        assert_eq!(world.chats[who].kept(), Vec::<String>::new());
    }
    running.process.signal("INT").await;
    assert!(running.process.exit().await.success());
    let (trouble, faults) = (&world.trouble, world.proxy.happened());
    println!(
        "{rounds} kills; {} messages, {deliveries} deliveries judged; {trouble:?}; {faults:?}",
        world.record.log.len(),
    );
    let kinds = [
        trouble.native_resumed,
        trouble.native_resent as u64,
        trouble.socket_resumed,
        trouble.socket_resent as u64,
        trouble.chats_killed,
        trouble.chats_resumed,
        trouble.chats_resent,
        trouble.classic_sessions - 1,
        faults.cut,
        faults.stalled,
        faults.half_open,
    ];
    assert!(kinds.iter().all(|&kind| kind > 0), "a run without trouble proves nothing");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}
