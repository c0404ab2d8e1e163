//! Topologies that are not safe, whatever links do: each breaks causal order here, without a word from anybody.

use cbcast::{Config, Control, Group, Link, MemberId, Message, Output, Snapshot, Time};
use cbcast_sim::drive::{controls, say, sent};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const EVE: MemberId = MemberId::new(0, 3);
const NOW: Time = Time::ZERO;

/// All of them say that their members are relayed.
fn group(me: MemberId) -> Group {
    Group::new(Config::relay(), &Snapshot::fixed([HOST, ANN, BOB, EVE]), [me]).unwrap()
}

/// Returns whether Eve has delivered the answer to a word that she has not got, in order of these arrivals.
fn answer_without_its_word(word: &Message, arrivals: &[&Message]) -> bool {
    let mut eve = group(EVE);
    arrivals.iter().for_each(|message| eve.handle_message(NOW, Link::Relay, (*message).clone()).unwrap());
    let outputs: Vec<_> = std::iter::from_fn(|| eve.poll_output()).collect();
    let delivered =
        |id| outputs.iter().any(|o| matches!(o, Output::Deliver { message, .. } if message.id() == id));
    arrivals.iter().all(|message| delivered(message.id())) && !delivered(word.id())
}

/// Ann's last word reaches Bob only. Her host, which has not got it, says that she has left, and her word counts as met.
#[test]
fn left_at_once_in_a_mesh() {
    let (mut host, mut ann, mut bob) = (group(HOST), group(ANN), group(BOB));
    let word = say(&mut ann, ANN);
    bob.handle_message(NOW, Link::Peer(ANN), word.clone()).unwrap();
    let answer = say(&mut bob, BOB);
    host.part(NOW, HOST, ANN, b"").unwrap();
    let left = sent(&mut host).remove(0);
    assert!(answer_without_its_word(&word, &[&left, &answer]));
}

/// It is the same with a client that speaks through two relays at a time: the one that says *Left* is not the one that
/// has its last word.
#[test]
fn a_client_that_speaks_through_two_relays() {
    let (mut its_own, mut other) = (group(HOST), group(BOB));
    let mut ann = group(ANN);
    let words = [say(&mut ann, ANN), say(&mut ann, ANN)];
    its_own.handle_message(NOW, Link::Member(ANN), words[0].clone()).unwrap();
    words.iter().for_each(|word| other.handle_message(NOW, Link::Member(ANN), word.clone()).unwrap());
    let answer = say(&mut other, BOB);
    its_own.part(NOW, HOST, ANN, b"").unwrap();
    let left = sent(&mut its_own).remove(0);
    assert!(answer_without_its_word(&words[1], &[&words[0], &left, &answer]));
}

/// Ann's last word reaches Bob only, and both go. Ann's host knows that Bob goes, so it does not count what he has. But Eve
/// does not know it yet when Ann's *Left* comes, and takes his answer. One host for both would have waited until she does.
#[test]
fn two_hosts_that_part_at_a_time() {
    for of_bob in [MemberId::host(1), HOST] {
        let others = MemberId::host(1);
        let bob_id = if of_bob == HOST { BOB } else { MemberId::new(1, 1) };
        let members = Snapshot::fixed([HOST, ANN, bob_id, EVE, others]);
        let mesh = |me| Group::new(Config::mesh(), &members, [me]).unwrap();
        let (mut host, mut other_host) = (mesh(HOST), mesh(others));
        let (mut ann, mut bob, mut eve) = (mesh(ANN), mesh(bob_id), mesh(EVE));
        let word = say(&mut ann, ANN);
        bob.handle_message(NOW, Link::Peer(ANN), word.clone()).unwrap();
        let answer = say(&mut bob, bob_id);
        if of_bob == HOST {
            host.part(NOW, HOST, bob_id, b"").unwrap();
        } else {
            other_host.part(NOW, others, bob_id, b"").unwrap();
            // It asks all who stay. Eve does not get that yet.
            for (_, control) in controls(&mut other_host).iter().filter(|(to, _)| *to == HOST) {
                host.handle_control(NOW, Link::Peer(others), control);
            }
        }
        controls(&mut host);
        host.part(NOW, HOST, ANN, b"").unwrap();
        let about_ann =
            |(_, control): &(MemberId, Control)| matches!(control, Control::Flush { member: ANN, .. });
        for (to, control) in controls(&mut host).iter().filter(|asked| about_ann(asked)) {
            let asked = if *to == EVE { &mut eve } else { &mut other_host };
            asked.handle_control(NOW, Link::Peer(HOST), control);
            for (_, report) in controls(asked) {
                host.handle_control(NOW, Link::Peer(*to), &report);
            }
        }
        let left = sent(&mut host);
        left.iter().for_each(|left| eve.handle_message(NOW, Link::Peer(HOST), left.clone()).unwrap());
        eve.handle_message(NOW, Link::Peer(bob_id), answer.clone()).unwrap();
        assert_eq!(left.len(), usize::from(of_bob != HOST), "one host waits for all reports");
        assert_eq!(eve.has_delivered(answer.id()), of_bob != HOST);
        assert_eq!(eve.delivered(ANN), if of_bob == HOST { Some(0) } else { None }, "her word is nowhere");
    }
}

/// The guide's table says what holds, and each row which test shows it.
#[test]
fn each_row_of_the_guide_names_a_test_that_there_is() {
    let tests = [
        include_str!("topologies.rs"),
        include_str!("rollback.rs"),
        include_str!("../../cbcast-sim/tests/topologies.rs"),
    ];
    let guide = include_str!("../src/guide.rs");
    let table = guide.split_once("| shown by |").and_then(|(_, rest)| rest.split_once("//! # ")).unwrap().0;
    let mut rows = 0;
    for row in table.lines().filter(|row| row.contains("| yes |") || row.contains("| **no** |")) {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let mut named = shown_by.split('`').skip(1).step_by(2).filter(|name| !name.contains(".rs"));
        let is_there = |name: &str| tests.iter().any(|source| source.contains(&format!("fn {name}()")));
        assert!(named.clone().next().is_some() && named.all(is_there), "{row}");
        rows += 1;
    }
    assert!(rows >= 17, "{rows}");
}
