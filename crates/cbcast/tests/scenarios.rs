//! Scenarios that read like space-time diagrams.

use cbcast::{
    BroadcastError, Config, Control, Group, Kind, Link, MemberId, MembershipError, Message, MessageId,
    MissingRange, Output, Packet, ReceiveError, Snapshot, Time, Transmit, Unit, VectorClock,
};
use cbcast_sim::drive::{id, sent};

const ANN: MemberId = MemberId::new(0, 0);
const BOB: MemberId = MemberId::new(0, 1);
const EVE: MemberId = MemberId::new(0, 2);

fn group(me: MemberId) -> Group {
    Group::new(Config::relay(), &Snapshot::fixed([ANN, BOB, EVE]), [me]).unwrap()
}

fn say(group: &mut Group, me: MemberId, text: &str) -> Message {
    group.broadcast(Time::ZERO, me, text.as_bytes()).unwrap();
    sent(group).pop().unwrap()
}

fn delivered(group: &mut Group) -> Vec<String> {
    let outputs = std::iter::from_fn(|| group.poll_output());
    let texts =
        outputs.filter_map(|o| if let Output::Deliver { message, .. } = o { Some(message) } else { None });
    texts.map(|m| String::from_utf8(m.payload().to_vec()).unwrap()).collect()
}

fn hears(group: &mut Group, message: &Message) -> Vec<String> {
    group.handle_message(Time::ZERO, Link::Relay, message.clone()).unwrap();
    delivered(group)
}

#[test]
fn an_answer_that_overtakes_its_question_is_held() {
    let (mut ann, mut bob, mut eve) = (group(ANN), group(BOB), group(EVE));
    let question = say(&mut ann, ANN, "lunch?");
    assert_eq!(hears(&mut bob, &question), ["lunch?"]);
    let answer = say(&mut bob, BOB, "yes");

    assert!(hears(&mut eve, &answer).is_empty());
    assert_eq!(eve.waits_for(answer.id()), Some(question.id()));
    assert_eq!(eve.root_cause(answer.id()), Some(question.id()));
    assert_eq!(eve.held_payload(answer.id()).unwrap(), "yes");
    assert_eq!(hears(&mut eve, &question), ["lunch?", "yes"]);
    assert_eq!((eve.held_count(), eve.held_bytes(), eve.held().count()), (0, 0, 0));
}

#[test]
fn concurrent_messages_are_not_held() {
    let (mut ann, mut bob, mut eve) = (group(ANN), group(BOB), group(EVE));
    let (a, b) = (say(&mut ann, ANN, "a"), say(&mut bob, BOB, "b"));
    assert_eq!(hears(&mut eve, &b), ["b"]);
    assert_eq!(hears(&mut eve, &a), ["a"]);
    assert_eq!(eve.frontier(), [a.id(), b.id()]);
    let c = say(&mut eve, EVE, "c");
    assert_eq!(c.deps().collect::<Vec<_>>(), [a.id(), b.id()], "direct dependencies");
    assert_eq!(eve.frontier(), [c.id()]);
}

#[test]
fn the_second_of_one_sender_waits_for_the_first() {
    let (mut ann, mut eve) = (group(ANN), group(EVE));
    let messages: Vec<_> = (1..=5).map(|n| say(&mut ann, ANN, &n.to_string())).collect();
    assert_eq!(messages[4].deps().count(), 0, "the sender's own predecessor is implied");
    for m in messages[1..].iter().rev() {
        assert!(hears(&mut eve, m).is_empty());
    }
    assert_eq!(eve.held().count(), 4);
    assert_eq!(eve.root_cause(id(ANN, 5)), Some(id(ANN, 1)));
    assert_eq!(hears(&mut eve, &messages[0]), ["1", "2", "3", "4", "5"]);
}

#[test]
fn copies_are_counted_and_dropped() {
    let (mut ann, mut eve) = (group(ANN), group(EVE));
    let (a, b) = (say(&mut ann, ANN, "same"), say(&mut ann, ANN, "same"));
    assert!(hears(&mut eve, &b).is_empty());
    assert!(hears(&mut eve, &b).is_empty(), "a copy of a held one");
    assert_eq!(hears(&mut eve, &a), ["same", "same"], "two equal texts are two messages");
    assert!(hears(&mut eve, &a).is_empty());
    assert!(hears(&mut eve, &b).is_empty());
    assert_eq!(eve.stats().duplicates, 3);
    assert!(hears(&mut ann, &a).is_empty(), "its own, come back from a relay");
}

#[test]
fn a_chain_of_a_hundred_thousand_is_released_without_recursion() {
    let config = || {
        let mut config = Config::relay();
        (config.holdback_max, config.ahead_max) = (1 << 20, 1 << 20);
        config
    };
    let snapshot = Snapshot::fixed([ANN, BOB, EVE]);
    let mut ann = Group::new(config(), &snapshot, [ANN]).unwrap();
    let mut bob = Group::new(config(), &snapshot, [BOB]).unwrap();
    let mut chain = Vec::new();
    for n in 0..100_000 {
        let (speaker, me) = if n % 2 == 0 { (&mut ann, ANN) } else { (&mut bob, BOB) };
        let m = say(speaker, me, "x");
        let listener = if n % 2 == 0 { &mut bob } else { &mut ann };
        listener.handle_message(Time::ZERO, Link::Relay, m.clone()).unwrap();
        chain.push(m);
    }
    let mut eve = Group::new(config(), &snapshot, [EVE]).unwrap();
    for m in chain.iter().rev() {
        eve.handle_message(Time::ZERO, Link::Relay, m.clone()).unwrap();
    }
    assert_eq!(delivered(&mut eve).len(), 100_000);
    assert_eq!(eve.held_count(), 0);
}

#[test]
fn what_cannot_be_is_refused_by_name_and_changes_nothing() {
    let mut bob = group(BOB);
    let before = bob.clone();
    let message = |id, deps: &[MessageId]| Message::new(id, Kind::Data, deps, b"x").unwrap();
    let from_ann = Link::Member(ANN);
    let mut refused = |link, m: &Message| bob.handle_message(Time::ZERO, link, m.clone()).unwrap_err();

    let m = message(id(EVE, 1), &[]);
    assert_eq!(refused(from_ann, &m), ReceiveError::NotTheirs { member: EVE });
    let m = message(id(BOB, 1), &[]);
    assert_eq!(refused(Link::Member(BOB), &m), ReceiveError::OwnFuture { id: id(BOB, 1) });
    let m = message(id(ANN, 1), &[id(BOB, 9)]);
    assert_eq!(
        refused(from_ann, &m),
        ReceiveError::FromTheFuture { id: id(ANN, 1), dependency: id(BOB, 9) },
        "it has seen what Bob has not said"
    );
    let joined = Message::new(id(ANN, 1), Kind::Joined(MemberId::new(0, 9)), &[], b"").unwrap();
    assert_eq!(refused(from_ann, &joined), ReceiveError::NotHost { id: id(ANN, 1) });
    let deps: Vec<_> = (3..140_000).map(|n| id(MemberId::new(0, n), 1)).collect();
    assert!(matches!(
        refused(from_ann, &message(id(ANN, 1), &deps)),
        ReceiveError::TooManyDependencies { limit: 131_072, .. }
    ));
    let long = Message::new(id(ANN, 1), Kind::Data, &[], &vec![0; 2 << 20]).unwrap();
    assert!(matches!(refused(from_ann, &long), ReceiveError::TooLong { .. }));

    assert_eq!(bob.stats().refused, 6);
    assert_eq!((bob.clock(), bob.frontier()), (before.clock(), before.frontier()));
    assert_eq!((bob.held_count(), bob.poll_output(), bob.poll_timeout()), (0, None, None));

    // What may be taken later shows that something is missing.
    let far = message(id(ANN, 1 << 40), &[]);
    let refused = bob.handle_message(Time::ZERO, from_ann, far).unwrap_err();
    assert!(matches!(refused, ReceiveError::TooFarAhead { .. }));
    assert_eq!((bob.clock(), bob.held_count()), (before.clock(), 0));
    assert_eq!(bob.missing(9), [MissingRange { member: ANN, from: 1, to: bob.config().ahead_max }]);
}

#[test]
fn a_full_queue_says_later_and_takes_the_rest_once_there_is_room() {
    let mut config = Config::relay();
    config.holdback_max = 3;
    let mut ann = group(ANN);
    let mut eve = Group::new(config, &Snapshot::fixed([ANN, BOB, EVE]), [EVE]).unwrap();
    let m: Vec<_> = (1..=5).map(|n| say(&mut ann, ANN, &n.to_string())).collect();
    eve.handle_message(Time::ZERO, Link::Relay, m[2].clone()).unwrap();
    let refused = eve.handle_message(Time::ZERO, Link::Relay, m[4].clone()).unwrap_err();
    assert_eq!(refused, ReceiveError::HoldbackFull { limit: 3, unit: Unit::Messages });
    assert!(!refused.is_final());
    assert_eq!(hears(&mut eve, &m[0]), ["1"]);
    assert_eq!(hears(&mut eve, &m[1]), ["2", "3"]);
    assert!(hears(&mut eve, &m[4]).is_empty(), "now there is room");
    assert_eq!(hears(&mut eve, &m[3]), ["4", "5"]);
}

/// Else it is refused for ever: nobody asks for the cause.
#[test]
fn a_full_queue_learns_what_the_refused_waits_for() {
    let mut config = Config::relay();
    config.holdback_max = 1;
    let (mut ann, mut bob) = (group(ANN), group(BOB));
    let mut eve = Group::new(config, &Snapshot::fixed([ANN, BOB, EVE]), [EVE]).unwrap();
    let question = say(&mut ann, ANN, "?");
    hears(&mut bob, &question);
    let answers = [say(&mut bob, BOB, "1"), say(&mut bob, BOB, "2")];
    eve.handle_message(Time::ZERO, Link::Relay, answers[1].clone()).unwrap_err();
    assert_eq!(eve.missing(9), [MissingRange { member: BOB, from: 1, to: 2 }]);
    // Bob's first answer would be next; it is refused as well if another's message fills the queue.
    let mut raj = group(ANN);
    say(&mut raj, ANN, "lost");
    let second = say(&mut raj, ANN, "of Ann");
    let mut eve = Group::new(eve.config().clone(), &Snapshot::fixed([ANN, BOB, EVE]), [EVE]).unwrap();
    eve.handle_message(Time::ZERO, Link::Relay, answers[0].clone()).unwrap();
    eve.handle_message(Time::ZERO, Link::Relay, second).unwrap_err();
    let of = |member, from, to| MissingRange { member, from, to };
    assert_eq!(eve.missing(9), [of(ANN, 1, 2)], "the answer's cause and what was refused");
}

#[test]
fn what_can_be_delivered_at_once_is_asked_for_before_what_cannot() {
    let mut eve = group(EVE);
    let word = |member, seq| Message::new(id(member, seq), Kind::Data, &[], b"x").unwrap();
    for seq in [3, 5, 7] {
        eve.handle_message(Time::ZERO, Link::Relay, word(ANN, seq)).unwrap();
        eve.handle_message(Time::ZERO, Link::Relay, word(BOB, seq)).unwrap();
    }
    let of = |member, from, to| MissingRange { member, from, to };
    assert_eq!(
        eve.missing(2),
        [of(ANN, 1, 2), of(ANN, 4, 4)],
        "a host's are half of what there is place for"
    );
    assert_eq!(eve.missing(4), [of(ANN, 1, 2), of(BOB, 1, 2), of(ANN, 4, 4), of(ANN, 6, 6)]);
    assert_eq!(eve.missing(99).len(), 6);
}

#[test]
fn a_full_queue_of_bytes_says_later() {
    let mut config = Config::relay();
    config.holdback_bytes_max = 100;
    let mut ann = group(ANN);
    let mut eve = Group::new(config, &Snapshot::fixed([ANN, BOB, EVE]), [EVE]).unwrap();
    let m: Vec<_> = (0..3).map(|_| say(&mut ann, ANN, &"x".repeat(60))).collect();
    eve.handle_message(Time::ZERO, Link::Relay, m[1].clone()).unwrap();
    let refused = eve.handle_message(Time::ZERO, Link::Relay, m[2].clone()).unwrap_err();
    assert_eq!(refused, ReceiveError::HoldbackFull { limit: 100, unit: Unit::Bytes });
}

#[test]
fn nobody_hears_a_word_before_joined_nor_an_answer_to_a_farewell_before_left() {
    let host = MemberId::host(0);
    let mut server = Group::new(Config::relay(), &Snapshot::hosts([0]), [host]).unwrap();
    let eve = server.admit(Time::ZERO, host, false, b"Eve").unwrap();
    let mut at_eve = Group::new(Config::relay(), &server.snapshot(), [eve]).unwrap();
    sent(&mut server);

    let raj = server.admit(Time::ZERO, host, true, b"Raj joined").unwrap();
    server.broadcast(Time::ZERO, raj, b"hello").unwrap();
    server.part(Time::ZERO, host, raj, b"Raj left").unwrap();
    server.broadcast(Time::ZERO, host, b"bye, Raj").unwrap();
    let m = sent(&mut server);
    assert_eq!(m.len(), 4);

    for late in m.iter().rev().take(3) {
        assert!(hears(&mut at_eve, late).is_empty());
    }
    assert!(!at_eve.is_member(raj));
    assert_eq!(at_eve.root_cause(m[1].id()), Some(m[0].id()), "Raj's word waits for his Joined");
    assert_eq!(hears(&mut at_eve, &m[0]), ["Raj joined", "hello", "Raj left", "bye, Raj"]);
    assert!(!at_eve.is_member(raj), "forgotten");
    assert!(hears(&mut at_eve, &m[1]).is_empty(), "as a sender it is a duplicate now");
    assert_eq!(at_eve.clock(), server.clock());
    assert_eq!(at_eve.snapshot(), server.snapshot());
}

#[test]
fn a_dependency_on_a_departed_member_counts_as_met() {
    let host = MemberId::host(0);
    let mut server = Group::new(Config::relay(), &Snapshot::hosts([0]), [host]).unwrap();
    let ann = server.admit(Time::ZERO, host, false, b"").unwrap();
    let mut at_ann = Group::new(Config::relay(), &server.snapshot(), [ann]).unwrap();
    let raj = server.admit(Time::ZERO, host, true, b"").unwrap();
    server.broadcast(Time::ZERO, raj, b"hello").unwrap();
    for m in sent(&mut server) {
        hears(&mut at_ann, &m);
    }
    let answer = say(&mut at_ann, ann, "hello Raj");
    assert_eq!(answer.deps().collect::<Vec<_>>(), [id(raj, 1)]);
    server.part(Time::ZERO, host, raj, b"").unwrap();
    delivered(&mut server);
    server.handle_message(Time::ZERO, Link::Member(ann), answer).unwrap();
    assert_eq!(delivered(&mut server), ["hello Raj"]);
}

/// Found by seed 9 of `random.rs`: the farewell was released before the other who waited for the same word, and
/// the departed was forgotten with that one still waiting.
#[test]
fn a_waiter_is_released_though_the_farewell_goes_first() {
    let host = MemberId::host(0);
    let mut server = Group::new(Config::relay(), &Snapshot::hosts([0]), [host]).unwrap();
    let ann = server.admit(Time::ZERO, host, true, b"").unwrap();
    let raj = server.admit(Time::ZERO, host, true, b"").unwrap();
    let eve = server.admit(Time::ZERO, host, false, b"").unwrap();
    let mut at_eve = Group::new(Config::relay(), &server.snapshot(), [eve]).unwrap();
    sent(&mut server);
    let word = {
        server.broadcast(Time::ZERO, raj, b"word").unwrap();
        sent(&mut server).pop().unwrap()
    };
    // Another server's view: Ann has seen the word and not the farewell.
    let answer = Message::new(id(ann, 1), Kind::Data, &[word.id()], b"answer").unwrap();
    server.part(Time::ZERO, host, raj, b"farewell").unwrap();
    let farewell = sent(&mut server).pop().unwrap();
    assert!(hears(&mut at_eve, &farewell).is_empty());
    assert!(hears(&mut at_eve, &answer).is_empty());
    assert_eq!(hears(&mut at_eve, &word), ["word", "farewell", "answer"]);
}

/// A relay may have dropped what it held of the departed; who claims to have seen that is not held for ever.
#[test]
fn what_waits_for_a_message_that_the_departed_never_sent_is_released_by_the_farewell() {
    let host = MemberId::host(0);
    let mut server = Group::new(Config::relay(), &Snapshot::hosts([0]), [host]).unwrap();
    let ann = server.admit(Time::ZERO, host, true, b"").unwrap();
    let raj = server.admit(Time::ZERO, host, true, b"").unwrap();
    let eve = server.admit(Time::ZERO, host, false, b"").unwrap();
    let mut at_eve = Group::new(Config::relay(), &server.snapshot(), [eve]).unwrap();
    sent(&mut server);
    let answer = Message::new(id(ann, 1), Kind::Data, &[id(raj, 5)], b"answer").unwrap();
    assert!(hears(&mut at_eve, &answer).is_empty());
    server.part(Time::ZERO, host, raj, b"farewell").unwrap();
    let farewell = sent(&mut server).pop().unwrap();
    assert_eq!(hears(&mut at_eve, &farewell), ["farewell", "answer"]);
    assert_eq!((at_eve.held_count(), at_eve.missing(64)), (0, vec![]));
}

#[test]
fn who_starts_from_a_later_snapshot_depends_on_all_that_is_in_it() {
    let (mut ann, mut bob) = (group(ANN), group(BOB));
    let (a, b) = (say(&mut ann, ANN, "a"), say(&mut bob, BOB, "b"));
    hears(&mut ann, &b);
    let mut again = Group::new(Config::relay(), &ann.snapshot(), [EVE]).unwrap();
    let c = say(&mut again, EVE, "c");
    assert_eq!(c.deps().collect::<Vec<_>>(), [a.id(), b.id()]);
    assert!(hears(&mut bob, &c).is_empty(), "Bob has not seen what Eve had");
}

#[test]
fn only_a_local_host_admits_and_only_whom_it_admitted_it_parts_with() {
    let host = MemberId::host(0);
    let mut server = Group::new(Config::relay(), &Snapshot::hosts([0, 1]), [host]).unwrap();
    let part = |g: &mut Group, m| g.part(Time::ZERO, host, m, b"").unwrap_err();
    assert_eq!(server.admit(Time::ZERO, MemberId::host(1), true, b"").unwrap_err(), MembershipError::NotHost);
    for member in [host, MemberId::host(1), MemberId::new(0, 7)] {
        assert_eq!(part(&mut server, member), MembershipError::NotAMember { member });
    }
    let raj = server.admit(Time::ZERO, host, false, b"").unwrap();
    assert_eq!(
        server.broadcast(Time::ZERO, raj, b"x").unwrap_err(),
        BroadcastError::NotLocal { member: raj },
        "Raj does not live here"
    );
    let unknown = Message::new(id(MemberId::new(0, 99), 1), Kind::Data, &[], b"").unwrap();
    assert!(server.handle_message(Time::ZERO, Link::Relay, unknown).unwrap_err().is_final());
}

#[test]
fn gaps_are_named_exactly_and_asked_for_after_the_delay() {
    let (mut ann, mut eve) = (group(ANN), group(EVE));
    let m: Vec<_> = (1..=9).map(|n| say(&mut ann, ANN, &n.to_string())).collect();
    for n in [3, 4, 7] {
        hears(&mut eve, &m[n - 1]);
    }
    let range = |from, to| MissingRange { member: ANN, from, to };
    assert_eq!(eve.missing(64), [range(1, 2), range(5, 6)]);
    assert_eq!(eve.missing(1), [range(1, 2)]);
    eve.handle_clock(Time::ZERO, Link::Relay, &ann.clock());
    assert_eq!(eve.missing(64), [range(1, 2), range(5, 6), range(8, 9)], "a clock exposes the lost tail");

    let due = eve.poll_timeout().unwrap();
    assert_eq!(
        due,
        Time::ZERO + eve.config().repair_delay / 2,
        "somebody has them, and is there to be asked"
    );
    eve.handle_timeout(Time::ZERO);
    assert_eq!(eve.poll_output(), None, "too early: nothing happens");
    eve.handle_timeout(due);
    let wanted = vec![range(1, 2), range(5, 6), range(8, 9)];
    assert_eq!(
        eve.poll_output(),
        Some(Output::Transmit(Transmit { to: Some(ANN), packet: Packet::Control(Control::Want(wanted)) })),
        "at first from the sender"
    );
    let again = eve.poll_timeout().unwrap();
    assert!(again.since(due) > eve.config().repair_delay, "backs off");
    for m in &m {
        hears(&mut eve, m);
    }
    assert_eq!((eve.poll_timeout(), eve.missing(64)), (None, vec![]));
}

#[test]
fn a_clock_over_a_members_link_counts_for_that_member_alone() {
    let mut eve = group(EVE);
    let lie: VectorClock = [(ANN, 3), (BOB, 9)].into_iter().collect();
    eve.handle_clock(Time::ZERO, Link::Member(ANN), &lie);
    assert_eq!(eve.missing(64), [MissingRange { member: ANN, from: 1, to: 3 }]);
}

#[test]
fn own_messages_are_taken_back_after_a_fresh_snapshot() {
    let mut ann = group(ANN);
    let (a, b) = (say(&mut ann, ANN, "a"), say(&mut ann, ANN, "b"));
    let mut again = group(ANN);
    assert!(!again.readopt(Time::ZERO, b.clone()), "not the next");
    assert!(again.readopt(Time::ZERO, a));
    assert!(again.readopt(Time::ZERO, b));
    assert!(sent(&mut again).is_empty());
    assert_eq!(say(&mut again, ANN, "c").id(), id(ANN, 3));
}

/// Found by fuzzing: it waited for itself.
#[test]
fn who_can_never_be_admitted_is_refused() {
    let mut bob = group(BOB);
    for sender in [MemberId::host(1), MemberId::new(1, 5)] {
        let m = Message::new(id(sender, 1), Kind::Data, &[], b"x").unwrap();
        let refused = bob.handle_message(Time::ZERO, Link::Relay, m).unwrap_err();
        assert_eq!(refused, ReceiveError::UnknownOrigin { member: sender });
        let m = Message::new(id(ANN, 1), Kind::Data, &[id(sender, 1)], b"x").unwrap();
        let refused = bob.handle_message(Time::ZERO, Link::Relay, m).unwrap_err();
        assert_eq!(refused, ReceiveError::FromTheFuture { id: id(ANN, 1), dependency: id(sender, 1) });
    }
}

#[test]
fn a_clock_that_claims_the_impossible_costs_nothing() {
    let mut config = Config::relay();
    config.gap_policy = cbcast::GapPolicy::Skip { after: config.repair_delay };
    (config.retain, config.ahead_max) = (true, 1_000);
    let mut bob = Group::new(config, &Snapshot::fixed([ANN, BOB, EVE]), [BOB]).unwrap();
    let lie: VectorClock = [(EVE, u64::MAX)].into_iter().collect();
    bob.handle_clock(Time::ZERO, Link::Peer(EVE), &lie);
    assert_eq!(bob.missing(9), [MissingRange { member: EVE, from: 1, to: 1_000 }]);
    bob.handle_timeout(Time::from_millis(10_000));
    assert!(bob.stats().skipped <= 1_000);
}

/// In milliseconds: when this one asks for something, if it is left alone from `now` on.
fn asks_at(group: &mut Group, now: u64) -> u64 {
    group.handle_timeout(Time::from_millis(now));
    for _ in 0..10 {
        let outputs: Vec<_> = std::iter::from_fn(|| group.poll_output()).collect();
        let is_request = |o: &Output| {
            matches!(o, Output::Transmit(Transmit { packet: Packet::Control(Control::Want(_)), .. }))
        };
        if outputs.iter().any(is_request) {
            break;
        }
        let due = group.poll_timeout().unwrap();
        group.handle_timeout(due);
    }
    group.poll_timeout().unwrap().as_nanos() / 1_000_000
}

/// By a year, while something is missing; or the clock of the process that goes on from the export is another.
#[test]
fn a_clock_that_is_put_back_makes_nothing_due_later() {
    let year = 365 * 24 * 3_600_000;
    let (mut ann, mut eve) = (group(ANN), Group::new(Config::mesh(), &Snapshot::fixed([ANN, EVE]), [EVE]));
    let eve = eve.as_mut().unwrap();
    say(&mut ann, ANN, "a");
    let second = say(&mut ann, ANN, "b");
    eve.handle_timeout(Time::from_millis(year));
    eve.handle_message(Time::from_millis(year), Link::Peer(ANN), second.clone()).unwrap();
    while eve.poll_output().is_some() {}
    let mut started_again = Group::import(Config::mesh(), &eve.export().unwrap()).unwrap();
    let mut skipping = eve.clone();
    for group in [eve, &mut started_again] {
        assert!(asks_at(group, 7) < 1_000);
        let since = group.held().next().unwrap().since;
        assert!(since <= Time::from_millis(7), "{since:?}");
    }
    // What tells the time may be anything that happens.
    let mut by_clock = skipping.clone();
    by_clock.handle_clock(Time::from_millis(7), Link::Peer(ANN), &VectorClock::new());
    skipping.broadcast(Time::from_millis(7), EVE, b"c").unwrap();
    for mut group in [by_clock, skipping] {
        assert!(group.poll_timeout().unwrap() < Time::from_millis(1_000));
        assert!(asks_at(&mut group, 8) < 1_000);
    }
}
