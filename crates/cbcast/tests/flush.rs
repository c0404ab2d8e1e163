//! Leaving by flush, step by step: who is asked, whose report counts, what is said when.

use cbcast::{
    BroadcastError, Config, Control, Group, Kind, Link, MemberId, MembershipError, Message, MessageId,
    MissingRange, ReceiveError, Snapshot, Time, Topology,
};
use cbcast_sim::drive::{controls, outputs, say, sent};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const EVE: MemberId = MemberId::new(0, 3);

fn config() -> Config {
    let mut config = Config::mesh();
    config.heartbeat = None;
    config
}

fn group(me: MemberId) -> Group {
    Group::new(config(), &Snapshot::fixed([HOST, ANN, BOB, EVE]), [me]).unwrap()
}

fn hear(group: &mut Group, from: MemberId, message: &Message) -> Result<(), ReceiveError> {
    group.handle_message(Time::ZERO, Link::Peer(from), message.clone())
}

fn control(group: &mut Group, from: MemberId, control: &Control) {
    group.handle_control(Time::ZERO, Link::Peer(from), control);
}

fn flushed(member: MemberId, count: u64) -> Control {
    Control::Flushed { member, number: 1, count }
}

/// The *Left* of a member, of which these have reported so much.
fn parted(host: &mut Group, member: MemberId, reports: [(MemberId, u64); 2]) -> Message {
    host.part(Time::ZERO, HOST, member, b"").unwrap();
    for (from, count) in reports {
        control(host, from, &flushed(member, count));
    }
    sent(host).pop().unwrap()
}

/// Returns whom these announce as gone, with their counts.
fn farewells(messages: &[Message]) -> Vec<(MemberId, u64)> {
    let left = |m: &Message| match m.kind() {
        Kind::Left { member, last_seq } => Some((member, last_seq)),
        _ => None,
    };
    messages.iter().filter_map(left).collect()
}

/// A call that would be forgotten with its word is none: *Left* is not said before the others have reported, and takes
/// along what the application tells.
#[test]
fn parting_does_what_the_topology_needs() {
    let mut relay = group(HOST);
    let mut config = relay.config().clone();
    config.topology = Topology::Relay;
    relay = Group::new(config, &relay.snapshot(), [HOST]).unwrap();
    assert_eq!(relay.part(Time::ZERO, HOST, ANN, b"bye").unwrap(), Some(MessageId::new(HOST, 1)));

    let mut host = group(HOST);
    assert_eq!(host.part(Time::ZERO, HOST, ANN, b"bye").unwrap(), None);
    assert_eq!(host.part(Time::ZERO, HOST, ANN, b"again").unwrap(), None, "it is under way");
    assert_eq!(sent(&mut host), []);
    let again = Group::import(host.config().clone(), &host.export().unwrap()).unwrap();
    for mut host in [host, again] {
        control(&mut host, BOB, &flushed(ANN, 0));
        control(&mut host, EVE, &flushed(ANN, 0));
        assert_eq!(sent(&mut host)[0].payload(), "bye");
    }
    let mut host = group(HOST);
    let long = vec![0; host.config().packet_bytes_max - 20];
    let refused = host.part(Time::ZERO, HOST, ANN, &long);
    assert!(
        matches!(refused, Err(MembershipError::Broadcast(BroadcastError::TooLong { .. }))),
        "{refused:?}"
    );
    assert_eq!(outputs(&mut host), []);
}

#[test]
fn what_one_had_who_stays_counts_and_is_fetched_first() {
    let (mut host, mut ann, mut bob) = (group(HOST), group(ANN), group(BOB));
    let last_words = say(&mut ann, ANN);
    hear(&mut bob, ANN, &last_words).unwrap();

    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    let ask = Control::Flush { member: ANN, number: 1, count: 0 };
    assert_eq!(controls(&mut host), [(BOB, ask.clone()), (EVE, ask.clone())], "not the one who leaves");
    outputs(&mut bob);
    control(&mut bob, HOST, &ask);
    assert_eq!(controls(&mut bob), [(HOST, flushed(ANN, 1))]);
    control(&mut host, BOB, &flushed(ANN, 1));
    control(&mut host, EVE, &flushed(ANN, 0));
    assert_eq!(sent(&mut host), [], "it has not got it itself");
    hear(&mut host, BOB, &last_words).unwrap();
    let sent = sent(&mut host);
    assert_eq!(farewells(&sent), [(ANN, 1)]);
    assert_eq!(sent[0].deps().collect::<Vec<_>>(), [last_words.id()]);
}

#[test]
fn who_has_reported_takes_no_more_until_the_farewell_says_how_many_there_are() {
    let (mut host, mut ann, mut eve) = (group(HOST), group(ANN), group(EVE));
    let words = [say(&mut ann, ANN), say(&mut ann, ANN), say(&mut ann, ANN)];
    hear(&mut eve, ANN, &words[0]).unwrap();
    control(&mut eve, HOST, &Control::Flush { member: ANN, number: 1, count: 0 });
    for message in &words[1..] {
        hear(&mut eve, ANN, message).unwrap();
    }
    assert_eq!((eve.delivered(ANN), eve.held_count()), (Some(1), 2));
    control(&mut eve, BOB, &Control::Flush { member: ANN, number: 1, count: 3 });
    assert_eq!(eve.delivered(ANN), Some(1), "only the host decides");

    for message in &words[..2] {
        hear(&mut host, ANN, message).unwrap();
    }
    let farewell = parted(&mut host, ANN, [(BOB, 0), (EVE, 1)]);
    hear(&mut eve, HOST, &farewell).unwrap();
    assert!(!eve.is_member(ANN));
    assert_eq!((eve.held_count(), eve.stats().discarded), (0, 1), "the third never was");
}

#[test]
fn the_reports_of_one_who_leaves_too_do_not_count() {
    let (mut host, mut ann, mut bob) = (group(HOST), group(ANN), group(BOB));
    // Ann's word reaches Bob alone, and Bob's answer all.
    let word = say(&mut ann, ANN);
    hear(&mut bob, ANN, &word).unwrap();
    let answer = say(&mut bob, BOB);
    hear(&mut host, BOB, &answer).unwrap();
    assert_eq!(host.held_count(), 1);

    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    control(&mut host, BOB, &flushed(ANN, 1));
    host.part(Time::ZERO, HOST, BOB, b"").unwrap();
    control(&mut host, EVE, &flushed(ANN, 0));
    assert_eq!(sent(&mut host), [], "Eve has not said what she has of Bob");
    control(&mut host, EVE, &flushed(BOB, 0));
    assert_eq!(farewells(&sent(&mut host)), [(ANN, 0), (BOB, 0)]);
    assert_eq!(host.stats().delivered, 2, "the two farewells, and not the answer without its cause");
}

/// Ann's second word followed one of Bob's that is nowhere. With Bob gone that counts as met; but nobody who stays has
/// her second word.
#[test]
fn what_only_those_who_leave_have_is_not_let_through_by_their_leaving() {
    let mut host = group(HOST);
    let word = |seq, deps: &[_]| Message::new(MessageId::new(ANN, seq), Kind::Data, deps, b"x").unwrap();
    hear(&mut host, ANN, &word(1, &[])).unwrap();
    hear(&mut host, ANN, &word(2, &[MessageId::new(BOB, 1)])).unwrap();
    host.part(Time::ZERO, HOST, BOB, b"").unwrap();
    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    control(&mut host, BOB, &flushed(ANN, 2));
    control(&mut host, EVE, &flushed(ANN, 1));
    control(&mut host, EVE, &flushed(BOB, 0));
    assert_eq!(farewells(&sent(&mut host)), [(BOB, 0), (ANN, 1)]);
}

/// Eve had reported on Ann when Bob was still to stay. Were Ann's farewell said before Eve is asked about Bob, she
/// would take his answer without Ann's word, which counts as met from then on.
#[test]
fn nobody_is_said_to_have_left_before_all_have_reported_on_all_who_leave() {
    let (mut host, mut eve) = (group(HOST), group(EVE));
    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    host.part(Time::ZERO, HOST, BOB, b"").unwrap();
    let asked = controls(&mut host);
    assert_eq!(asked.iter().filter(|(to, _)| *to == EVE).count(), 2);
    for (_, ask) in asked.iter().filter(|(to, _)| *to == EVE) {
        control(&mut eve, HOST, ask);
    }
    let reports = controls(&mut eve);
    control(&mut host, EVE, &reports[0].1);
    assert_eq!(sent(&mut host), []);
    control(&mut host, EVE, &reports[1].1);
    assert_eq!(farewells(&sent(&mut host)).len(), 2);
}

/// Bob is frozen at Eve. The host has a message of his, and admits Raj after it: Eve needs it to know Raj, on whom
/// she is to report.
#[test]
fn what_the_host_has_is_let_through() {
    let (mut host, mut bob, mut eve) = (group(HOST), group(BOB), group(EVE));
    let word = say(&mut bob, BOB);
    control(&mut eve, HOST, &Control::Flush { member: BOB, number: 1, count: 0 });
    hear(&mut eve, BOB, &word).unwrap();
    assert_eq!(eve.delivered(BOB), Some(0));
    hear(&mut host, BOB, &word).unwrap();
    let raj = host.admit(Time::ZERO, HOST, false, b"Raj").unwrap();
    let joined = sent(&mut host).pop().unwrap();
    hear(&mut eve, HOST, &joined).unwrap();
    assert!(!eve.is_member(raj));
    control(&mut eve, HOST, &Control::Flush { member: BOB, number: 1, count: 1 });
    assert!(eve.is_member(raj));
    assert_eq!(eve.delivered(BOB), Some(1));
}

#[test]
fn a_farewell_that_finds_no_room_lets_through_what_it_counts() {
    let mut small = config();
    small.holdback_max = 2;
    let (mut host, mut ann, mut bob) = (group(HOST), group(ANN), group(BOB));
    let mut eve = Group::new(small, &Snapshot::fixed([HOST, ANN, BOB, EVE]), [EVE]).unwrap();
    let words = [say(&mut ann, ANN), say(&mut ann, ANN)];
    for message in &words {
        hear(&mut bob, ANN, message).unwrap();
        hear(&mut host, ANN, message).unwrap();
    }
    let answer = say(&mut bob, BOB);
    hear(&mut host, BOB, &answer).unwrap();
    control(&mut eve, HOST, &Control::Flush { member: ANN, number: 1, count: 0 });
    // The queue is full of what has been frozen.
    for message in &words {
        hear(&mut eve, ANN, message).unwrap();
    }
    let farewell = parted(&mut host, ANN, [(BOB, 2), (EVE, 0)]);
    let refused = hear(&mut eve, HOST, &farewell).unwrap_err();
    assert!(matches!(refused, ReceiveError::HoldbackFull { .. }), "it waits for Bob's answer: {refused}");
    assert_eq!((eve.delivered(ANN), eve.held_count()), (Some(2), 0));
    hear(&mut eve, BOB, &answer).unwrap();
    hear(&mut eve, HOST, &farewell).unwrap();
    assert!(!eve.is_member(ANN));
}

/// The host's messages wait for what is frozen, and fill all places there are before the Left that lets it go.
#[test]
fn a_left_is_asked_for_though_it_is_too_far_ahead() {
    let mut small = config();
    small.ahead_max = 1;
    let (mut host, mut ann) = (group(HOST), group(ANN));
    let mut eve = Group::new(small, &Snapshot::fixed([HOST, ANN, BOB, EVE]), [EVE]).unwrap();
    let word = say(&mut ann, ANN);
    control(&mut eve, HOST, &Control::Flush { member: ANN, number: 1, count: 0 });
    hear(&mut eve, ANN, &word).unwrap();
    hear(&mut host, ANN, &word).unwrap();
    let answers = [say(&mut host, HOST), say(&mut host, HOST)];
    for answer in &answers {
        hear(&mut eve, HOST, answer).unwrap();
    }
    assert_eq!(eve.missing(9), [], "all that is known of is here");
    let farewell = parted(&mut host, ANN, [(BOB, 1), (EVE, 0)]);
    // It is lost, and a clock tells of it.
    eve.handle_clock(Time::ZERO, Link::Peer(HOST), &host.clock());
    let (from, to) = (3, 3);
    assert_eq!(eve.missing(9), [MissingRange { member: HOST, from, to }]);
    let due = eve.poll_timeout().unwrap();
    outputs(&mut eve);
    eve.handle_timeout(due);
    let asked = controls(&mut eve);
    assert!(matches!(&asked[..], [(HOST, Control::Want(_))]), "{asked:?}");
    let refused = hear(&mut eve, HOST, &farewell).unwrap_err();
    assert!(matches!(refused, ReceiveError::TooFarAhead { .. }), "{refused}");
    assert_eq!((eve.delivered(ANN), eve.delivered(HOST)), (Some(1), Some(2)));
    hear(&mut eve, HOST, &farewell).unwrap();
    assert!(!eve.is_member(ANN));
}

/// The same where a clock had told of what lies behind before anybody was frozen.
#[test]
fn what_lies_too_far_ahead_is_asked_for_once_somebody_is_frozen() {
    let mut small = config();
    small.ahead_max = 1;
    let (mut host, mut ann) = (group(HOST), group(ANN));
    let mut eve = Group::new(small, &Snapshot::fixed([HOST, ANN, BOB, EVE]), [EVE]).unwrap();
    let word = say(&mut ann, ANN);
    hear(&mut host, ANN, &word).unwrap();
    let answers = [say(&mut host, HOST), say(&mut host, HOST), say(&mut host, HOST)];
    for answer in &answers[..2] {
        hear(&mut eve, HOST, answer).unwrap();
    }
    eve.handle_clock(Time::ZERO, Link::Peer(HOST), &host.clock());
    let of_host = |eve: &Group| eve.missing(9).into_iter().filter(|range| range.member == HOST).count();
    assert_eq!(of_host(&eve), 0);
    control(&mut eve, HOST, &Control::Flush { member: ANN, number: 1, count: 0 });
    assert_eq!(of_host(&eve), 1);
    let due = eve.poll_timeout().unwrap();
    outputs(&mut eve);
    eve.handle_timeout(due);
    let of_host = |range: &MissingRange| range.member == HOST;
    let is_asked = |control: &Control| matches!(control, Control::Want(ranges) if ranges.iter().any(of_host));
    assert!(controls(&mut eve).iter().any(|(_, control)| is_asked(control)));
}

// Calling it off.

fn called_off(member: MemberId, number: u64) -> Control {
    Control::CalledOff { member, number }
}

/// Ann was thought to be gone, and has come back.
#[test]
fn a_flush_that_is_called_off_leaves_nothing_behind() {
    let (mut host, mut ann, mut eve) = (group(HOST), group(ANN), group(EVE));
    let word = say(&mut ann, ANN);
    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    let asked = controls(&mut host).pop().unwrap();
    control(&mut eve, HOST, &asked.1);
    hear(&mut eve, ANN, &word).unwrap();
    hear(&mut host, ANN, &word).unwrap();
    assert_eq!((eve.delivered(ANN), host.delivered(ANN)), (Some(0), Some(0)), "frozen");
    control(&mut host, EVE, &flushed(ANN, 0));
    outputs(&mut eve);

    assert_eq!(
        host.call_off_parting(Time::ZERO, HOST, BOB),
        Err(MembershipError::NotLeaving { member: BOB })
    );
    assert_eq!(host.call_off_parting(Time::ZERO, BOB, ANN), Err(MembershipError::NotHost));
    host.call_off_parting(Time::ZERO, HOST, ANN).unwrap();
    assert_eq!(host.delivered(ANN), Some(1));
    let told = controls(&mut host);
    assert_eq!(told, [(BOB, called_off(ANN, 2)), (EVE, called_off(ANN, 2))], "Ann never knew");
    assert_eq!(
        host.call_off_parting(Time::ZERO, HOST, ANN),
        Err(MembershipError::NotLeaving { member: ANN })
    );
    control(&mut host, BOB, &flushed(ANN, 0));
    assert_eq!(sent(&mut host), [], "an old report: nobody leaves");

    control(&mut eve, BOB, &told[1].1);
    assert_eq!(eve.delivered(ANN), Some(0), "only the host decides");
    control(&mut eve, HOST, &told[1].1);
    assert_eq!(eve.delivered(ANN), Some(1));
    let answer = Control::Flushed { member: ANN, number: 2, count: 1 };
    assert_eq!(controls(&mut eve), [(HOST, answer)]);
    // What asked for the flush may come late, also at one who hears of it now only.
    let mut bob = group(BOB);
    control(&mut bob, HOST, &called_off(ANN, 2));
    outputs(&mut bob);
    let mut again = Group::import(bob.config().clone(), &bob.export().unwrap()).unwrap();
    for late in [&mut eve, &mut bob, &mut again] {
        control(late, HOST, &asked.1);
        hear(late, ANN, &word).unwrap();
        assert_eq!(late.delivered(ANN), Some(1));
    }
}

/// With each heartbeat, as a flush is, and by a host that has been started again, too.
#[test]
fn who_was_not_told_that_it_is_called_off_is_told_again_until_it_answers() {
    let mut host = group(HOST);
    let mut config = config();
    config.heartbeat = Some(std::time::Duration::from_millis(100));
    host = Group::new(config.clone(), &host.snapshot(), [HOST]).unwrap();
    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    host.call_off_parting(Time::ZERO, HOST, ANN).unwrap();
    let answer = Control::Flushed { member: ANN, number: 2, count: 0 };
    control(&mut host, BOB, &answer);
    // Her report was on its way for longer: she is frozen still.
    control(&mut host, EVE, &flushed(ANN, 0));
    outputs(&mut host);
    let again = Group::import(config, &host.export().unwrap()).unwrap();
    for (mut host, told) in [(host, vec![EVE]), (again, vec![BOB, EVE])] {
        host.handle_timeout(Time::from_millis(100));
        assert_eq!(controls(&mut host).into_iter().map(|(to, _)| to).collect::<Vec<_>>(), told);
        told.iter().for_each(|&who| control(&mut host, who, &answer));
        host.handle_timeout(Time::from_millis(200));
        assert_eq!(controls(&mut host), []);
    }
}

/// Between the two Eve takes more, so what she said of the first says nothing about the second.
#[test]
fn reports_of_a_flush_that_was_called_off_do_not_count_for_the_next() {
    let mut host = group(HOST);
    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    host.call_off_parting(Time::ZERO, HOST, ANN).unwrap();
    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    outputs(&mut host);
    let report = |number| Control::Flushed { member: ANN, number, count: 0 };
    control(&mut host, BOB, &report(3));
    control(&mut host, EVE, &report(1));
    assert_eq!(sent(&mut host), []);
    control(&mut host, EVE, &report(3));
    assert_eq!(farewells(&sent(&mut host)), [(ANN, 0)]);
}

/// Two were to leave. The one that stays may have what the other has said.
#[test]
fn who_stays_after_all_is_asked_about_those_who_leave() {
    let (mut host, mut ann, mut bob) = (group(HOST), group(ANN), group(BOB));
    let word = say(&mut ann, ANN);
    hear(&mut bob, ANN, &word).unwrap();
    host.part(Time::ZERO, HOST, ANN, b"").unwrap();
    host.part(Time::ZERO, HOST, BOB, b"").unwrap();
    control(&mut host, EVE, &flushed(ANN, 0));
    outputs(&mut host);
    outputs(&mut bob);
    host.call_off_parting(Time::ZERO, HOST, BOB).unwrap();
    let told = controls(&mut host);
    assert!(told.contains(&(BOB, Control::Flush { member: ANN, number: 1, count: 0 })), "{told:?}");
    assert_eq!(sent(&mut host), [], "Bob has not reported");
    control(&mut bob, HOST, &Control::Flush { member: ANN, number: 1, count: 0 });
    assert_eq!(controls(&mut bob), [(HOST, flushed(ANN, 1))]);
    control(&mut host, BOB, &flushed(ANN, 1));
    assert_eq!(sent(&mut host), [], "it is fetched first");
    hear(&mut host, BOB, &word).unwrap();
    assert_eq!(farewells(&sent(&mut host)), [(ANN, 1)]);
}
