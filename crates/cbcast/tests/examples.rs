//! The examples do what they say. Cargo builds them for `cargo test` (though not for `cargo test --test examples`),
//! and here they run as the processes that they are.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, str};

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

#[test]
fn a_map_over_udp_survives_joining_leaving_and_being_killed() {
    let printed = run("udp_map", &[]);
    let expected = [
        "Ann and Bob have joined: lunch at noon, tea at four",
        "Bob was killed, and is back: dinner at eight, lunch at one, tea at four",
        "Ann has left, Carol has joined: dinner at eight, lunch at one, tea at five",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
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
