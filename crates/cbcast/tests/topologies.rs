//! What is not safe, whatever links do: each breaks causal order here, without a word from anybody.

use cbcast::{Config, Group, Link, MemberId, Message, Output, Snapshot, Time};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const EVE: MemberId = MemberId::new(0, 3);
const NOW: Time = Time::ZERO;

/// All of them say that their members are relayed.
fn group(me: MemberId) -> Group {
    Group::new(Config::relay(), &Snapshot::fixed([HOST, ANN, BOB, EVE]), [me]).unwrap()
}

fn sent(group: &mut Group) -> Message {
    std::iter::from_fn(|| group.poll_output()).find_map(|output| output.sent().cloned()).unwrap()
}

fn say(group: &mut Group, me: MemberId) -> Message {
    group.broadcast(NOW, me, b"x").unwrap();
    sent(group)
}

/// Whether Eve has delivered the answer to a word that she has not got, in order of these arrivals.
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
    let left = sent(&mut host);
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
    let left = sent(&mut its_own);
    assert!(answer_without_its_word(&words[1], &[&words[0], &left, &answer]));
}
