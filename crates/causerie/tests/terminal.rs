//! The full-screen client in a pseudo-terminal, with a real server: what a person would see, and what is left of it on
//! the terminal afterwards.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causerie_client::{Body, Event, KnownServers, Room, RoomOptions};
use common::{Certificate, Front, Server, causerie, soon};
use pty_process::{OwnedWritePty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

const ESC: &str = "\x1b";
const ALT_ENTER: &str = "\x1b\r";
const PAGE_UP: &str = "\x1b[5~";

/// A chat in a terminal of 80 by 24.
struct Screen {
    child: Child,
    input: OwnedWritePty,
    parser: Arc<Mutex<vt100::Parser>>,
    changed: Arc<Notify>,
}

impl Screen {
    fn start(server: &str, state: &PathBuf) -> Self {
        Self::of("Ann", server, state)
    }

    fn of(name: &str, server: &str, state: &PathBuf) -> Self {
        Self::with(&[server, "--room", "lobby", "--name", name], &[], state)
    }

    fn with(args: &[&str], variables: &[(&str, &str)], state: &PathBuf) -> Self {
        let (pty, pts) = pty_process::open().expect("a pseudo-terminal");
        pty.resize(Size::new(24, 80)).expect("a size");
        let mut command = pty_process::Command::new(env!("CARGO_BIN_EXE_causerie")).kill_on_drop(true);
        for (name, _) in causerie().as_std().get_envs() {
            command = command.env_remove(name);
        }
        let command = command
            .args(["chat", "--state"])
            .arg(state)
            .args(args)
            .env("TERM", "xterm-256color")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("TZ", "UTC")
            .envs(variables.iter().copied());
        let child = command.spawn(pts).expect("the binary was built");
        let (mut output, input) = pty.into_split();
        let parser = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let changed = Arc::new(Notify::new());
        let (shown, told) = (Arc::clone(&parser), Arc::clone(&changed));
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes).await {
                shown.lock().unwrap().process(&bytes[..read]);
                told.notify_one();
            }
        });
        Self { child, input, parser, changed }
    }

    async fn press(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).await.expect("the terminal is there");
    }

    fn shown(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// Until the screen is so.
    async fn until(&self, what: &str, is_so: impl Fn(&vt100::Screen) -> bool) {
        let waiting = async {
            while !is_so(self.parser.lock().unwrap().screen()) {
                self.changed.notified().await;
            }
        };
        if tokio::time::timeout(common::PATIENCE, waiting).await.is_err() {
            panic!("no {what} on the screen:\n{}", self.shown());
        }
    }

    async fn shows(&self, part: &str) {
        self.until(part, |screen| screen.contents().contains(part)).await;
    }

    /// On the line that begins so, what is written.
    async fn shows_no(&self, part: &str) {
        self.until(&format!("screen without {part}"), |screen| !screen.contents().contains(part)).await;
    }

    async fn resize(&self, lines: u16, columns: u16) {
        self.parser.lock().unwrap().screen_mut().set_size(lines, columns);
        self.input.resize(Size::new(lines, columns)).expect("a size");
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().await;
        assert!(sent.expect("kill exists").success());
    }

    /// Until nothing of ours is left on the terminal.
    async fn is_restored(&self) {
        self.until("terminal as it was", |screen| {
            !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste()
        })
        .await;
    }
}

static STATES: AtomicUsize = AtomicUsize::new(0);

struct State(PathBuf);

impl State {
    fn new() -> Self {
        let name = format!("terminal-{}-{}", std::process::id(), STATES.fetch_add(1, Ordering::Relaxed));
        Self([env!("CARGO_TARGET_TMPDIR"), &name].iter().collect())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn bob(address: &str) -> Room {
    member(address, "Bob").await
}

async fn member(address: &str, name: &str) -> Room {
    soon("somebody is in", RoomOptions::new(address, "lobby", name).create(true).join()).await.unwrap()
}

async fn hears(room: &mut Room, text: &str) {
    soon(text, async {
        loop {
            match room.next_event().await.expect("it goes on") {
                Event::Delivered(post) if post.body.text() == Some(text) => return,
                _ => {}
            }
        }
    })
    .await;
}

/// Returns what Ann says next, as Bob sees it.
async fn ann_says(bob: &mut Room) -> Body {
    soon("Ann says something", async {
        loop {
            match bob.next_event().await.expect("it goes on") {
                Event::Delivered(post) if post.author == "Ann" => return post.body,
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_talk() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let mut bob = bob(&server.address()).await;
    let mut ann = Screen::start(&server.address(), &state.0);
    ann.shows("connected to").await;
    ann.shows("│ Bob").await;
    bob.say("shall we have lunch?").unwrap();
    ann.shows("Bob: shall we have lunch?").await;
    ann.press("yes, where?\r").await;
    assert_eq!(ann_says(&mut bob).await, Body::Text("yes, where?".into()));
    // Bob has it, though he says nothing yet.
    ann.shows("✓✓").await;
    bob.say("\x1b[2J\u{202e}the usual").unwrap();
    // His escape sequence has cleared nothing.
    ann.shows("Bob: \\x1b[2J\\u202ethe usual").await;

    // An answer to what was said last.
    ann.press(ESC).await;
    ann.shows("r reply").await;
    ann.press("r").await;
    ann.shows("reply to Bob").await;
    ann.press(&format!("two{ALT_ENTER}lines\r")).await;
    let answer = ann_says(&mut bob).await;
    let Body::Reply { to, text } = answer else { panic!("{answer:?}") };
    assert_eq!(text, "two\nlines");
    bob.send(&Body::Reaction { to, symbol: "👍".into(), set: true }).unwrap();
    ann.shows("👍 1").await;
    ann.shows("╭ Bob").await;

    // Another room, and a word in the first.
    ann.press("/join ops\r").await;
    ann.shows("the room 'ops' did not exist").await;
    bob.say("still there, Ann?").unwrap();
    ann.shows("1@1").await;
    ann.press("\x0e").await;
    ann.shows("still there, Ann?").await;

    // Both are left at the end.
    ann.press("\x03").await;
    let status = soon("it ends", ann.child.wait()).await.unwrap();
    assert!(status.success());
    ann.is_restored().await;
    soon("Ann leaves", async {
        while !matches!(bob.next_event().await, Some(Event::Left { name, .. }) if name == "Ann") {}
    })
    .await;
}

/// Bob and Eve answer each other, and what they say comes to Ann in any order.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_chat_goes_on_where_reading_stopped() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let mut bob = bob(&server.address()).await;
    let mut ann = Screen::start(&server.address(), &state.0);
    ann.shows("connected to").await;
    ann.press("/join ops\r").await;
    ann.shows("the room 'ops' did not exist").await;
    ann.press("\x10").await;
    bob.say("read by Ann").unwrap();
    ann.shows("Bob: read by Ann").await;
    ann.press("\x03").await;
    assert!(soon("it ends", ann.child.wait()).await.unwrap().success());
    soon("Ann leaves", async {
        while !matches!(bob.next_event().await, Some(Event::Left { name, .. }) if name == "Ann") {}
    })
    .await;
    let missed = bob.say("said while she was away").unwrap();
    soon("it is stored", async {
        while !matches!(bob.next_event().await, Some(Event::Placed { id, .. }) if Some(id) == missed) {}
    })
    .await;
    // Both rooms are joined again, and the line stands between what was read and what was not.
    let mut ann = Screen::start(&server.address(), &state.0);
    ann.shows("Bob: said while she was away").await;
    ann.shows("ops").await;
    let shown = ann.shown();
    let [read, new, missed] =
        ["read by Ann", " new ", "said while she was away"].map(|part| shown.find(part).expect(part));
    assert!(read < new && new < missed, "{shown}");
    ann.press("\x03").await;
    assert!(soon("it ends", ann.child.wait()).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_is_told_with_what_it_waits_for_until_that_has_come() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let (mut bob, mut eve) = (bob(&server.address()).await, member(&server.address(), "Eve").await);
    let address = server.address();
    let args = [&address, "--room", "lobby", "--name", "Ann", "--link", "delay=0..2s,seed=7"];
    let ann = Screen::with(&args, &[], &state.0);
    ann.shows("connected to").await;
    let is_told = || {
        let shown = ann.shown();
        shown.lines().any(|line| line.starts_with("◌  ") && line.contains(" waiting for "))
    };
    let mut said = 0;
    soon("something is held back", async {
        while !is_told() {
            said += 1;
            let (author, other) = if said % 2 == 0 { (&mut eve, &mut bob) } else { (&mut bob, &mut eve) };
            author.say(&format!("answer {said}.")).unwrap();
            hears(other, &format!("answer {said}.")).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    ann.shows(&format!("answer {said}.")).await;
    ann.shows_no("◌").await;
    let shown = ann.shown();
    let answers = shown.split("answer ").skip(1).filter_map(|part| part.split('.').next()?.parse().ok());
    let answers: Vec<u32> = answers.collect();
    let expected: Vec<u32> = (said + 1 - answers.len() as u32..=said).collect();
    assert_eq!(answers, expected, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_found_again_and_nothing_is_lost() {
    let data = State::new();
    let folder = data.0.to_str().unwrap().to_owned();
    let state = State::new();
    let mut server = Server::listening("127.0.0.1:0", &["--data", &folder]).await;
    let address = server.address();
    let mut ann = Screen::start(&address, &state.0);
    ann.shows("connected to").await;
    ann.press("one\r").await;
    ann.shows("✓ ").await;
    server.process.signal("KILL").await;
    server.process.exit().await;
    ann.shows("connection lost").await;
    ann.press("two\rthree, half wri").await;
    ann.shows("1 on their way").await;
    ann.shows("Ann> three, half wri").await;

    // The client is killed as well, once what it writes is on the disk.
    let draft = || {
        let files = fs::read_dir(&state.0).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|e| e == "draft"))
            .find_map(|path| fs::read_to_string(path).ok())
    };
    soon("the text is kept", async {
        while draft().as_deref() != Some("three, half wri") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    ann.signal("KILL").await;
    let _ = ann.child.wait().await;
    let mut ann = Screen::start(&address, &state.0);
    ann.shows("connection lost").await;
    ann.shows("Ann> three, half wri").await;
    let _server = Server::listening(&address, &["--data", &folder]).await;
    ann.shows("connected to").await;
    ann.shows("Ann: two").await;
    ann.press("tten\r").await;
    ann.shows("Ann: three, half written").await;
    ann.shows_no("on their way").await;
    let mut bob = bob(&address).await;
    let mut said = Vec::new();
    while said.last().is_none_or(|last| last != "three, half written") {
        if let Body::Text(text) = ann_says(&mut bob).await {
            said.push(text);
        }
    }
    assert_eq!(said, ["one", "two", "three, half written"], "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_ago_is_read_page_by_page_and_any_size_will_do() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let mut bob = bob(&server.address()).await;
    for n in 1..=10_000 {
        while bob.say(&format!("message {n}.")).is_err() {
            bob.next_event().await;
        }
        while bob.on_their_way() > 500 {
            bob.next_event().await;
        }
    }
    let mut ann = Screen::start(&server.address(), &state.0);
    ann.shows("connected to").await;
    ann.press("/search message 10000.\r").await;
    ann.shows("n finds the next one").await;
    ann.press(ESC).await;
    // With what follows at once it would be one key.
    ann.shows("F1 help").await;
    // Far more than was loaded: page after page is read.
    ann.press("/search message 1.\r").await;
    ann.shows("Bob: message 1.").await;
    ann.shows("Bob: message 2.").await;
    ann.resize(10, 40).await;
    ann.shows_no("│ Bob").await;
    ann.resize(3, 10).await;
    ann.shows_no("r reply").await;
    ann.resize(24, 80).await;
    ann.shows("│ Bob").await;
    ann.shows("Bob: message 1.").await;
    ann.press(ESC).await;
    ann.shows("Bob: message 10000.").await;
    ann.press(PAGE_UP).await;
    ann.shows("scrolled back").await;
    bob.say("news").unwrap();
    ann.shows("1 new below").await;

    // Two hundred lines are asked about before they are in the input.
    let lines: String = (0..200).map(|n| format!("line {n}\r")).collect();
    ann.press(&format!("\x1b[200~{lines}\x1b[201~")).await;
    ann.shows("Paste 200 lines").await;
    ann.press("y").await;
    ann.shows("line 199").await;
    ann.press("\r").await;
    let Body::Text(text) = ann_says(&mut bob).await else { panic!("a text was said") };
    assert_eq!(text.lines().count(), 200);
}

// no-color.org: a variable that is there and not empty.
#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_colours_where_none_are_wanted() {
    let server = Server::start(&[]).await;
    let bob = bob(&server.address()).await;
    bob.say("hello").unwrap();
    // A theme that is asked for is what is wanted.
    let cases: [(_, &[&str], _, _); 3] =
        [("Ann", &[], "", true), ("Eve", &[], "1", false), ("Cal", &["--theme", "dark"], "1", true)];
    for (name, more, variable, wanted) in cases {
        let state = State::new();
        let address = server.address();
        let args = [&[&address[..], "--room", "lobby", "--name", name], more].concat();
        let ann = Screen::with(&args, &[("NO_COLOR", variable)], &state.0);
        ann.shows("Bob: hello").await;
        let is_coloured = |screen: &vt100::Screen| {
            let cells = (0..24).flat_map(|line| (0..80).map(move |column| (line, column)));
            let mut cells = cells.filter_map(|(line, column)| screen.cell(line, column));
            cells.any(|cell| {
                (cell.fgcolor(), cell.bgcolor()) != (vt100::Color::Default, vt100::Color::Default)
            })
        };
        assert_eq!(is_coloured(ann.parser.lock().unwrap().screen()), wanted, "NO_COLOR={variable} {more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_pasted_as_keys_are_all_read_with_no_key_after_them() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let mut ann = Screen::start(&server.address(), &state.0);
    ann.shows("connected to").await;
    // More than is read at once, as from a terminal that marks no paste.
    let lines: String = (1..=500).map(|n| format!("row {n}\r")).collect();
    ann.press(&lines).await;
    ann.shows("Ann: row 500").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_given_back_whenever_it_is_left() {
    let server = Server::start(&[]).await;
    for signal in ["TERM", "HUP", "INT"] {
        let state = State::new();
        let mut ann = Screen::start(&server.address(), &state.0);
        ann.shows("connected to").await;
        ann.press("half a te").await;
        ann.shows("Ann> half a te").await;
        ann.signal(signal).await;
        assert!(soon("it ends", ann.child.wait()).await.unwrap().success(), "{signal}");
        ann.is_restored().await;
        let mut ann = Screen::start(&server.address(), &state.0);
        ann.shows("connected to").await;
        ann.shows("Ann> half a te").await;
        ann.press("\x15\x04").await;
        assert!(soon("it ends", ann.child.wait()).await.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_suspended_goes_on() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let bob = bob(&server.address()).await;
    let mut ann = Screen::start(&server.address(), &state.0);
    ann.shows("connected to").await;
    ann.press("half a te\x1a").await;
    ann.is_restored().await;
    let path = format!("/proc/{}/stat", ann.pid());
    soon("it stops", async {
        while !fs::read_to_string(&path).unwrap().contains(") T ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bob.say("meanwhile").unwrap();
    ann.signal("CONT").await;
    ann.until("the client's screen", vt100::Screen::alternate_screen).await;
    ann.shows("Bob: meanwhile").await;
    ann.shows("Ann> half a te").await;
    ann.press("xt\r").await;
    ann.shows("Ann: half a text").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_told_with_one_that_is_free() {
    let server = Server::start(&[]).await;
    let (state, other) = (State::new(), State::new());
    let ann = Screen::start(&server.address(), &state.0);
    ann.shows("connected to").await;
    let mut second = Screen::start(&server.address(), &other.0);
    second.shows("not in the room").await;
    second.shows("/name").await;
    second.press("/name Anna\r").await;
    second.shows("connected to").await;
    second.shows("│ Anna").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_chat_asks_and_the_next_remembers() {
    let server = Server::start(&[]).await;
    let (state, home) = (State::new(), State::new());
    let home = [("XDG_CONFIG_HOME", home.0.to_str().unwrap()), ("USER", "ann")];
    let mut first = Screen::with(&[], &home, &state.0);
    first.shows("Server [127.0.0.1:12343]:").await;
    first.press("no host\r").await;
    first.shows("'no host' is not possible").await;
    first.press(&format!("{}\r", server.address())).await;
    first.shows("Your name [ann]:").await;
    first.press("\r").await;
    first.shows("connected to").await;
    first.shows("your answers are in").await;
    first.press("\x03").await;
    assert!(soon("it ends", first.child.wait()).await.unwrap().success());

    let mut second = Screen::with(&[], &home, &state.0);
    second.shows("connected to").await;
    second.shows("│ ann").await;
    assert!(!second.shown().contains("Server ["), "{}", second.shown());
    second.press("\x03").await;
    soon("it ends", second.child.wait()).await.unwrap();

    // A flag comes before the environment, and that before the file.
    let file = PathBuf::from(home[0].1).join("causerie/chat.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("#clock = false", "clock = true")
            .replace("#members-pane = true", "members-pane = false"),
    )
    .unwrap();
    let variables = [home[0], ("CAUSERIE_NAME", "Bea"), ("CAUSERIE_ROOM", "ops")];
    let mut third = Screen::with(&["--room", "yard"], &variables, &state.0);
    third.shows("Bea>").await;
    third.shows(" yard").await;
    third.shows("connected to").await;
    third.press("hello\r").await;
    third.shows("Bea 1").await;
    assert!(!third.shown().contains("│ Bea"), "{}", third.shown());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_kept_are_told_and_the_chat_goes_on() {
    let server = Server::start(&[]).await;
    let state = State::new();
    for (folder, told) in
        [("/proc/nothing", "cannot be kept in /proc/nothing"), ("/dev/null", "cannot be read")]
    {
        let home = [("XDG_CONFIG_HOME", folder), ("HOME", "/dev/null")];
        let mut ann = Screen::with(&[], &home, &state.0);
        ann.shows("Server [").await;
        ann.press(&format!("{}\r", server.address())).await;
        ann.shows("Your name [").await;
        ann.press("Ann\r").await;
        ann.shows("connected to").await;
        ann.shows(told).await;
        ann.press("\x03").await;
        soon("it ends", ann.child.wait()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_cannot_be_kept_is_told_once() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let mut ann = Screen::start(&server.address(), &state.0);
    ann.shows("connected to").await;
    fs::remove_dir_all(&state.0).unwrap();
    ann.press("half a te").await;
    ann.shows("what you write is not kept").await;
    // It is tried again every half second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    ann.press("xt\rand more\r").await;
    ann.shows("Ann: and more").await;
    assert_eq!(ann.shown().matches("what you write is not kept").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_wrong_is_told_with_its_line() {
    let (state, home) = (State::new(), State::new());
    let file = home.0.join("chat.toml");
    fs::create_dir_all(&home.0).unwrap();
    let variables = [("CAUSERIE_CHAT_CONFIG", file.to_str().unwrap())];
    let wrong = [
        ("\nnmae = 'x'", "chat.toml:2: there is no setting 'nmae'"),
        ("members_pane = true", "there is no setting 'members_pane', but there is 'members-pane'"),
        ("# x\n\nnotify = 'drum'", "chat.toml:3: notify: 'drum' is not possible: it can be bell or"),
        ("clock = 'yes'", "chat.toml:1: clock: it must be true or false, not a string"),
        ("name = ''", "chat.toml:1: name:"),
        ("room = 'no room'", "chat.toml:1: room:"),
        ("server = 'x\ty'", "chat.toml:1: server: it is a host"),
        ("server = ", "chat.toml:1:"),
    ];
    for (text, told) in wrong {
        fs::write(&file, text).unwrap();
        let mut ann = Screen::with(&["--name", "Ann"], &variables, &state.0);
        let said = |screen: &vt100::Screen| screen.contents().replace('\n', "").contains(told);
        ann.until(told, said).await;
        assert_eq!(soon("it ends", ann.child.wait()).await.unwrap().code(), Some(2), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_cannot_be_drawn_on_has_the_client_for_lines() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let args = [&server.address()[..], "--room", "lobby", "--name", "Ann"];
    let ann = Screen::with(&args, &[("TERM", "dumb")], &state.0);
    ann.shows("this terminal cannot be drawn on").await;
    ann.shows("in 'lobby': Ann").await;
    assert!(!ann.parser.lock().unwrap().screen().alternate_screen());
}

#[tokio::test]
async fn a_server_that_is_new_is_asked_about_once_before_the_screen_is_up() {
    let (server, certificate) = (Server::start(&[]).await, Certificate::own("127.0.0.1"));
    let front = Front::start(server.address(), &certificate).await;
    let (state, at) = (State::new(), front.address());
    let known = KnownServers::new(state.0.join("known_servers"));
    let variables = [("CAUSERIE_KNOWN_SERVERS", known.path().to_str().unwrap())];
    let args = [&at, "--tls", "--room", "lobby", "--name", "Ann"];

    let mut screen = Screen::with(&args, &variables, &state.0);
    screen.shows("Is that what its operator tells? [y/N]").await;
    assert!(!screen.parser.lock().unwrap().screen().alternate_screen());
    let asked = screen.shown().replace('\n', "");
    assert!(asked.contains(&certificate.fingerprint.to_string()), "{asked}");
    screen.press("n\r").await;
    screen.shows("is not trusted").await;
    assert!(!soon("it ends", screen.child.wait()).await.unwrap().success());
    assert_eq!((front.heard(), known.path().exists()), (0, false));

    let mut screen = Screen::with(&args, &variables, &state.0);
    screen.shows("[y/N]").await;
    screen.press("y\r").await;
    screen.shows("connected to").await;
    screen.press("hello\r").await;
    screen.shows("Ann: hello").await;

    // Another key while it runs: nothing is sent, and both are there to be compared.
    let mallory = Certificate::own("127.0.0.1");
    front.change(&mallory);
    front.cut();
    screen.shows("not in the room").await;
    let heard = front.heard();
    let shown = || screen.shown().replace([' ', '│', '\n'], "");
    for key in [mallory.fingerprint, certificate.fingerprint] {
        assert!(shown().contains(&key.colons()), "{}", screen.shown());
    }
    screen.press("/join lobby\r").await;
    screen.shows("operator").await;
    assert_eq!(front.heard(), heard);
    // And once it is itself again, it goes on.
    front.change(&certificate);
    screen.press("/join lobby\r").await;
    screen.shows("connected to").await;
    screen.press("again\r").await;
    screen.shows("Ann: again").await;
    screen.press("\x03").await;
    screen.is_restored().await;
    soon("it ends", screen.child.wait()).await.unwrap();

    // Nobody is asked again; and about another key nobody is, either.
    let mut screen = Screen::with(&args, &variables, &state.0);
    screen.shows("connected to").await;
    screen.press("\x03").await;
    soon("it ends", screen.child.wait()).await.unwrap();
}

#[tokio::test]
async fn several_terminals_accept_servers_at_the_same_time() {
    let server = Server::start(&[]).await;
    let state = State::new();
    let known = KnownServers::new(state.0.join("known_servers"));
    let mut started = Vec::new();
    for n in 0..4 {
        let certificate = Certificate::own("127.0.0.1");
        let front = Front::start(server.address(), &certificate).await;
        let variables = [("CAUSERIE_KNOWN_SERVERS", known.path().to_str().unwrap())];
        let name = format!("Ann{n}");
        let args = [&front.address(), "--tls", "--plain", "--room", "lobby", "--name", &name];
        let screen = Screen::with(&args, &variables, &state.0.join(&name));
        screen.shows("[y/N]").await;
        started.push((screen, front, certificate));
    }
    for (screen, ..) in &mut started {
        screen.press("yes\r").await;
    }
    for (screen, front, certificate) in &started {
        screen.shows("in 'lobby'").await;
        let keys = known.keys(&front.address()).unwrap();
        assert_eq!(keys.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [certificate.fingerprint]);
    }
}
