//! What a session sends, line by line: where `script.txt` goes, nothing else is sent, and nothing that is there is missing.
//!
//! In the script a section begins with `#`, what it is about and where that is written, and with an empty network. `!` sets
//! something up, `ann>` is a line from Ann's client, and `ann<` the next that her client is sent. Behind each line from a client all that
//! anybody is sent has to be there, in its order for each. `<x*300>` is 300 times `x`.

mod network;

use std::collections::BTreeSet;

use super::capability::OFFERED;
use super::numeric;
use network::{Network, SERVER};

const SCRIPT: &str = include_str!("conformance/script.txt");

/// Specifications in which what is sent is written down.
const SOURCES: [&str; 3] = ["[RFC2812", "[Modern", "[IRCv3"];

struct Section {
    title: &'static str,
    /// Steps with their numbers, from 1.
    steps: Vec<(usize, String)>,
}

impl Section {
    fn sent(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|(_, step)| Some(step.split_once("< ")?.1))
    }
}

/// `<x*300>` as 300 times `x`.
fn expanded(line: &str) -> String {
    let mut parts = line.split_inclusive('<');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let times = part.split_once('>').and_then(|(times, rest)| {
            let (what, count) = times.split_once('*')?;
            Some((what.repeat(count.parse().ok()?), rest))
        });
        match times {
            Some((repeated, rest)) => {
                whole.pop();
                whole += &(repeated + rest);
            }
            None => whole += part,
        }
    }
    whole
}

fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (at, line) in SCRIPT.lines().enumerate() {
        match line.strip_prefix("# ") {
            Some(title) => {
                assert!(SOURCES.iter().any(|source| title.contains(source)), "{title}: by which document?");
                sections.push(Section { title, steps: Vec::new() });
            }
            None if line.is_empty() => {}
            None => sections.last_mut().expect("a title").steps.push((at + 1, expanded(line))),
        }
    }
    sections
}

#[test]
fn every_line_is_as_the_script_has_it() {
    for section in sections() {
        let mut network = Network::default();
        let mut before = String::new();
        for (number, step) in &section.steps {
            let place = format!("script.txt:{number}: {}", section.title);
            if let Some(setting) = step.strip_prefix("! ") {
                network.finish(&before);
                network.set(setting);
            } else if let Some((who, line)) =
                step.split_once("> ").filter(|(who, _)| !who.contains(['<', ' ']))
            {
                network.finish(&before);
                network.send(who, line);
            } else if let Some((who, line)) = step.split_once("< ") {
                assert_eq!(network.told(who).as_deref(), Some(line), "{place}");
            } else {
                panic!("{place}: what is {step:?}?");
            }
            before = place;
        }
        network.finish(&before);
    }
}

#[test]
fn an_answer_that_grows_with_a_room_is_made_in_pieces_under_one_label() {
    const MEMBERS: usize = 2_000;
    let mut network = Network::default();
    network.enter("ann", "batch labeled-response");
    for n in 0..MEMBERS {
        network.set(&format!("member{n} joins #big"));
    }
    for (question, named) in [("NAMES #big,#big", "353"), ("WHO #big", "352")] {
        network.send("ann", &format!("@label=x {question}"));
        let told: Vec<_> = std::iter::from_fn(|| network.told("ann")).collect();
        let named = told.iter().filter(|line| parts(line).2[0] == named);
        let nicks: Vec<_> = named.flat_map(|line| line.split([' ', ':'])).collect();
        for n in 0..MEMBERS {
            let nick = format!("member{n}");
            assert!(nicks.contains(&&nick[..]), "{question}: {nick}");
        }
        assert_eq!(told.iter().filter(|line| line.contains("member7 ")).count(), 1, "{question}");
        let whole = told.first().is_some_and(|line| line.starts_with("@label=x") && line.contains("BATCH +"));
        assert!(whole && told.last().is_some_and(|line| line.contains("BATCH -")), "{question}: {told:#?}");
        assert!(told[1..told.len() - 1].iter().all(|line| line.starts_with("@batch=")), "{question}");
    }
    assert!((1..64 << 10).contains(&network.piece_max), "{} bytes at once", network.piece_max);
}

#[test]
fn every_numeric_that_there_is_is_in_the_script() {
    let sections = sections();
    let numeric = |line: &str| {
        let line = if line.starts_with('@') { line.split_once(' ')?.1 } else { line };
        let number = line.strip_prefix(&format!(":{SERVER} "))?.split(' ').next()?;
        number.bytes().all(|b| b.is_ascii_digit()).then(|| number.to_owned())
    };
    let sent: BTreeSet<_> = sections.iter().flat_map(Section::sent).filter_map(numeric).collect();
    let known: BTreeSet<_> = numeric::ALL.iter().map(|number| (*number).to_owned()).collect();
    assert_eq!(sent, known);
}

#[test]
fn every_token_and_every_capability_has_a_section() {
    let sections = sections();
    let about = |kind: &str| -> BTreeSet<_> {
        let subject =
            |section: &Section| section.title.strip_prefix(kind)?.split(' ').next().map(str::to_owned);
        sections.iter().filter_map(subject).collect()
    };
    let mut network = Network::default();
    let greeting = network.enter("ann", "");
    let tokens = greeting.iter().filter_map(|line| line.split_once(" 005 ann ")?.1.split_once(" :"));
    let names = tokens
        .flat_map(|(tokens, _)| tokens.split(' '))
        .map(|token| token.split('=').next().unwrap_or(token));
    assert_eq!(about("ISUPPORT "), names.map(str::to_owned).collect());
    let offered: BTreeSet<_> = OFFERED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(about("CAP "), offered);
}

/// A line's tags, its source, and its words, the command first.
fn parts(line: &str) -> (Vec<&str>, &str, Vec<&str>) {
    let tagged = line.strip_prefix('@').and_then(|line| line.split_once(' '));
    let (tags, line) = tagged.unwrap_or(("", line));
    let sourced = line.strip_prefix(':').and_then(|line| line.split_once(' '));
    let (source, line) = sourced.unwrap_or(("", line));
    (tags.split(';').filter(|tag| !tag.is_empty()).collect(), source, line.split(' ').collect())
}

/// Returns whether a line to Ann's client is one that only this capability brings; `None`: it brings none, as nothing of the kind ever
/// happens here.
fn is_brought_by(capability: &str, line: &str) -> Option<bool> {
    let (tags, source, words) = parts(line);
    let has_tag = |key: &str| tags.iter().any(|tag| tag.split('=').next() == Some(key));
    let is = |command: &str| words[0] == command;
    Some(match capability {
        // There are no accounts, what is offered does not change, and nobody has a prefix.
        "account-notify" | "cap-notify" | "multi-prefix" => return None,
        "away-notify" => is("AWAY"),
        "batch" => is("BATCH") || has_tag("batch"),
        "draft/chathistory" => is("CHATHISTORY"),
        "draft/event-playback" => is("JOIN") && has_tag("batch") && source.starts_with("Raj!"),
        "draft/message-redaction" => is("REDACT"),
        "draft/multiline" => line.contains("draft/multiline"),
        "draft/read-marker" => is("MARKREAD"),
        "echo-message" => is("PRIVMSG") && source.starts_with("ann!"),
        "extended-join" => is("JOIN") && words.len() > 2,
        "labeled-response" => has_tag("label"),
        "message-tags" => has_tag("msgid") || is("TAGMSG") || tags.iter().any(|tag| tag.starts_with('+')),
        "server-time" => has_tag("time"),
        "setname" => is("SETNAME"),
        "standard-replies" => line.contains("INVALID_MESSAGE"),
        _ => panic!("what does {capability} bring?"),
    })
}

/// Returns what Ann's client is sent, who has negotiated these, while all sorts of things happen.
fn life(capabilities: &[&str]) -> Vec<String> {
    let mut network = Network::default();
    for step in ["newcomers are shown 3", "bob enters", "Raj joins #lobby", "Raj says #lobby question?"] {
        network.set(step);
    }
    let mut told = network.enter("ann", &capabilities.join(" "));
    network.send("ann", "@label=1 JOIN #lobby");
    // What is in the batches of this is not labelled, and behind the join nothing is said by Ann.
    network.send("ann", "@label=2 CHATHISTORY LATEST #lobby * 10");
    network.send(
        "ann",
        "CHATHISTORY TARGETS timestamp=2025-01-01T00:00:00.000Z timestamp=2027-01-01T00:00:00.000Z 10",
    );
    network.send("bob", "AWAY :lunch");
    network.send("bob", "JOIN #lobby");
    network.send("bob", "SETNAME :Robert");
    for step in [
        "Raj answers #lobby 1 answer",
        "Raj says #lobby one\\ntwo",
        "Raj reacts #lobby 1 +1",
        "Raj acts #lobby waves",
        "Raj notes #lobby look",
        "Raj deletes #lobby 1",
        "Raj leaves #lobby tired",
    ] {
        network.set(step);
    }
    network.send("ann", "@label=3 NAMES #lobby");
    network.send("ann", "@label=4 PRIVMSG #lobby :hello");
    network.send("ann", "MARKREAD #lobby timestamp=2026-01-01T00:00:00.000Z");
    network.send("ann", "MARKREAD #nowhere");
    network.send("ann", "PRIVMSG bob :\\xff");
    network.send("ann", "PRIVMSG bob :a\\x0db");
    told.extend(std::iter::from_fn(|| network.told("ann")));
    told
}

#[test]
fn only_what_was_negotiated_is_sent() {
    let all: Vec<_> = OFFERED.iter().map(|(name, _)| *name).collect();
    let is_sent = |told: &[String], capability: &str| {
        let brought: Option<Vec<_>> = told.iter().map(|line| is_brought_by(capability, line)).collect();
        brought.map(|brought| brought.contains(&true))
    };
    let (with_all, with_none) = (life(&all), life(&[]));
    for capability in &all {
        let others: Vec<_> = all.iter().copied().filter(|other| other != capability).collect();
        let without = life(&others);
        match is_sent(&with_all, capability) {
            Some(sent) => assert!(sent, "{capability} brings nothing: {with_all:#?}"),
            None => assert_eq!(without[1..], with_all[1..], "{capability} brings something"),
        }
        assert!(is_sent(&without, capability) != Some(true), "without {capability}: {without:#?}");
        assert!(is_sent(&with_none, capability) != Some(true), "with nothing: {with_none:#?}");
    }
}
