//! Leaving by flush, step by step: who is asked, whose report counts, what is said when.

use cbcast::{
    BroadcastError, Config, Control, Group, Kind, Link, MemberId, MembershipError, Message, MessageId,
    Output, Packet, ReceiveError, Snapshot, Time, Topology, Transmit,
};

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

fn say(group: &mut Group, me: MemberId) -> Message {
    group.broadcast(Time::ZERO, me, b"x").unwrap();
    let sent = sent(group);
    assert_eq!(sent.len(), 1);
    sent[0].clone()
}

fn outputs(group: &mut Group) -> Vec<Output> {
    std::iter::from_fn(|| group.poll_output()).collect()
}

fn sent(group: &mut Group) -> Vec<Message> {
    outputs(group).iter().filter_map(Output::sent).cloned().collect()
}

fn controls(group: &mut Group) -> Vec<(MemberId, Control)> {
    let to = |o| match o {
        Output::Transmit(Transmit { to: Some(to), packet: Packet::Control(control) }) => Some((to, control)),
        _ => None,
    };
    outputs(group).into_iter().filter_map(to).collect()
}

fn hear(group: &mut Group, from: MemberId, message: &Message) -> Result<(), ReceiveError> {
    group.handle_message(Time::ZERO, Link::Peer(from), message.clone())
}

fn control(group: &mut Group, from: MemberId, control: &Control) {
    group.handle_control(Time::ZERO, Link::Peer(from), control);
}

fn flushed(member: MemberId, count: u64) -> Control {
    Control::Flushed { member, count }
}

/// The *Left* of a member, of which these have reported so much.
fn parted(host: &mut Group, member: MemberId, reports: [(MemberId, u64); 2]) -> Message {
    host.part(Time::ZERO, HOST, member, b"").unwrap();
    for (from, count) in reports {
        control(host, from, &flushed(member, count));
    }
    sent(host).pop().unwrap()
}

/// Whom these announce as gone, with their counts.
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
    let ask = Control::Flush { member: ANN, count: 0 };
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
    control(&mut eve, HOST, &Control::Flush { member: ANN, count: 0 });
    for message in &words[1..] {
        hear(&mut eve, ANN, message).unwrap();
    }
    assert_eq!((eve.delivered(ANN), eve.held_count()), (Some(1), 2));
    control(&mut eve, BOB, &Control::Flush { member: ANN, count: 3 });
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
    control(&mut eve, HOST, &Control::Flush { member: BOB, count: 0 });
    hear(&mut eve, BOB, &word).unwrap();
    assert_eq!(eve.delivered(BOB), Some(0));
    hear(&mut host, BOB, &word).unwrap();
    let raj = host.admit(Time::ZERO, HOST, false, b"Raj").unwrap();
    let joined = sent(&mut host).pop().unwrap();
    hear(&mut eve, HOST, &joined).unwrap();
    assert!(!eve.is_member(raj));
    control(&mut eve, HOST, &Control::Flush { member: BOB, count: 1 });
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
    control(&mut eve, HOST, &Control::Flush { member: ANN, count: 0 });
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
