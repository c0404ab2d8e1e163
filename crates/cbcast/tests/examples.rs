//! The examples do what they say. Cargo builds them for `cargo test` (though not for `cargo test --test examples`),
//! and here they run as the processes that they are.

#![expect(clippy::disallowed_types, reason = "real processes are waited for in real time")]

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, str, thread};

/// Runs an example to its end, which it must reach with success. What it has printed.
fn run(name: &str, args: &[&str]) -> String {
    let binary = binary(name);
    let Output { status, stdout, stderr } = Command::new(&binary).args(args).output().expect("it starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name} {args:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// Examples lie beside the directory of the tests: `target/PROFILE/examples` and `target/PROFILE/deps`.
fn binary(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a test knows where it lies");
    let profile = this.parent().and_then(|deps| deps.parent()).expect("it lies in target/PROFILE/deps");
    let binary = profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(binary.is_file(), "there is no {}: run `cargo build -p cbcast --examples`", binary.display());
    binary
}

/// The number right before these words.
fn number_before(text: &str, words: &str) -> u64 {
    let before = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in:\n{text}")).0;
    let number = before.split_whitespace().next_back().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number before {words:?} in:\n{text}"))
}

#[test]
fn three_friends_read_the_question_before_its_answer() {
    let printed = run("three_friends", &[]);
    let eve: Vec<_> = printed.lines().filter(|line| line.starts_with("Eve ")).collect();
    let expected = [
        "Eve holds 0.1#1 back: it waits for 0.0#1",
        "Eve delivers 0.0#1, Ann's \"Lunch?\"",
        "Eve delivers 0.1#1, Bob's \"Yes, at one.\", held for 240ms",
    ];
    assert_eq!(eve, expected, "{printed}");
}

#[test]
fn a_mesh_of_processes_survives_its_network() {
    let printed = run("udp_mesh", &["--members", "5", "--words", "40", "--loss", "20", "--seconds", "60"]);
    assert!(
        printed.contains("5 processes, 40 words each: all delivered everywhere, in causal order"),
        "{printed}"
    );
    assert_eq!(number_before(&printed, " deliveries"), 5 * 5 * 40);
    // Without trouble it would prove nothing.
    for trouble in [" dropped", " overtaking others", " held back", " repairs asked for", " words sent again"]
    {
        assert!(number_before(&printed, trouble) > 0, "{printed}");
    }
}

#[test]
fn a_mesh_that_hears_nothing_gives_up_in_time_and_says_why() {
    let args = ["--members", "3", "--words", "2", "--loss", "100", "--seconds", "1"];
    let ended = Command::new(binary("udp_mesh")).args(args).output().expect("it starts");
    let said = str::from_utf8(&ended.stderr).expect("it is text");
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("is not done after 1s") && said.contains("those behind are {0."), "{said}");
}

#[test]
fn a_shared_text_converges_and_drops_its_tombstones() {
    let printed = run("shared_list", &["600"]);
    let after = printed.split_once("The network has healed").expect("the story has an end").1;
    for name in ["Ann", "Bob", "Eve"] {
        let line = format!("{name}: \"Good bye, dear world!\", and 0 tombstones");
        assert!(after.contains(&line), "{printed}");
    }
    assert!(
        printed.contains("Eve: \"Hello, dear wrld!\", and 0 tombstones"),
        "they differ at first: {printed}"
    );
    assert!(printed.contains("600 random stories: all have converged"), "{printed}");
    assert!(number_before(&printed, " edits came before a cause") > 0, "{printed}");
}

/// A process of the map, and what it has printed so far.
struct MapProcess {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl MapProcess {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(binary("udp_map"));
        let mut child =
            command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let (printed, output) = (Arc::new(Mutex::new(Vec::new())), child.stdout.take().expect("it is piped"));
        let lines = Arc::clone(&printed);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines.lock().expect("nobody panics with it").push(line);
            }
        });
        Self { child, printed }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("it is piped"), "{line}").expect("it reads");
    }

    /// Waits until it has printed all of these, in any order.
    fn expect(&self, expected: &[&str]) {
        let start = Instant::now();
        loop {
            let printed = self.printed.lock().expect("nobody panics with it").clone();
            if expected.iter().all(|line| printed.iter().any(|p| p == line)) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{expected:?} were to come: {printed:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for MapProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_map_over_udp_survives_joining_leaving_and_being_killed() {
    let folder = env::temp_dir().join(format!("udp_map-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("it can be made");
    // Ports that were free a moment ago.
    let sockets = [(); 4].map(|()| UdpSocket::bind("127.0.0.1:0").expect("there is one"));
    let addresses = sockets.map(|socket| socket.local_addr().expect("it has one").to_string());
    let files = ["host", "ann", "bob", "carol"].map(|name| folder.join(name).display().to_string());
    let start = |n: usize| {
        MapProcess::start(&[&files[n][..], &addresses[n], &addresses[0]][..if n == 0 { 2 } else { 3 }])
    };

    let (host, mut ann, mut bob) = (start(0), start(1), start(2));
    ann.say("lunch noon");
    bob.say("tea four");
    [&host, &ann, &bob].iter().for_each(|process| process.expect(&["lunch noon", "tea four"]));

    drop(bob); // killed
    ann.say("lunch one");
    ann.say("dinner eight");
    ann.expect(&["lunch one", "dinner eight"]);
    let bob = start(2);
    bob.expect(&["lunch noon", "tea four", "lunch one", "dinner eight"]);

    let mut carol = start(3);
    carol.expect(&["lunch one", "dinner eight"]);
    ann.say("leave");
    ann.expect(&["left"]);
    assert!(ann.child.wait().expect("it ends").success());
    carol.say("tea five");
    [&host, &bob, &carol].iter().for_each(|process| process.expect(&["tea five"]));
    drop((host, bob, carol));
    std::fs::remove_dir_all(&folder).expect("it was there");
}

#[test]
fn clients_of_a_relay_resume_where_they_were() {
    let printed = run("relay_resume", &[]);
    let expected = [
        r#"Ann reads ["lunch?", "yes", "at one"]"#,
        r#"Bob reads ["lunch?", "yes", "at one"], and 0 are pending"#,
        r#"Eve reads ["bye"], and Ann is not there"#,
        "Ann comes back: the relay has parted with it: join anew",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_client_between_two_relays_reads_no_answer_before_its_question() {
    let printed = run("two_relays", &[]);
    let expected = [
        r#"Eve, who reads the east first: ["lunch?", "yes"]"#,
        r#"Ann, in the west: ["lunch?", "yes", "see you"]"#,
        r#"Bob, in the east: ["lunch?", "yes", "see you"]"#,
    ];
    assert_eq!(printed.lines().take(3).collect::<Vec<_>>(), expected);
    assert!(number_before(&printed, " copies more") > 0, "{printed}");
}
