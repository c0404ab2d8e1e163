//! Members that others have parted with, and that are still there: they are told, and refused by name.

use cbcast::{
    BroadcastError, Config, Control, Group, Kind, Link, MemberId, Message, MessageId, MissingRange, Output,
    Packet, ReceiveError, Snapshot, Time, Transmit, VectorClock,
};
use cbcast_sim::drive::{outputs, say};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const NOW: Time = Time::ZERO;
const GONE: Control = Control::Departed { member: ANN, count: 1 };

fn group(me: MemberId) -> Group {
    Group::new(Config::relay(), &Snapshot::fixed([HOST, ANN, BOB]), [me]).unwrap()
}

/// The host, and Bob who has heard what it said: Ann has left.
fn without_ann() -> [Group; 2] {
    let (mut host, mut bob) = (group(HOST), group(BOB));
    host.part(NOW, HOST, ANN, b"").unwrap();
    let left = outputs(&mut host).iter().find_map(Output::sent).cloned();
    bob.handle_message(NOW, Link::Peer(HOST), left.unwrap()).unwrap();
    outputs(&mut bob);
    [host, bob]
}

#[test]
fn what_the_departed_say_is_refused_where_it_comes_from_them() {
    let word = say(&mut group(ANN), ANN);
    for mut group in without_ann() {
        let answer = Output::Transmit(Transmit { to: Some(ANN), packet: Packet::Control(GONE) });
        for link in [Link::Peer(ANN), Link::Member(ANN)] {
            let refused = group.handle_message(NOW, link, word.clone()).unwrap_err();
            assert_eq!(refused, ReceiveError::Departed { member: ANN });
            assert!(refused.is_final());
            assert_eq!(outputs(&mut group), std::slice::from_ref(&answer));
        }
        // Who passes it on has done nothing wrong.
        for link in [Link::Relay, Link::Peer(BOB)] {
            group.handle_message(NOW, link, word.clone()).unwrap();
            assert_eq!(outputs(&mut group), []);
        }
        // Whatever else it says is answered, too.
        group.handle_clock(NOW, Link::Peer(ANN), &VectorClock::new());
        group.handle_control(NOW, Link::Peer(ANN), &Control::Clock(VectorClock::new()));
        group.handle_control(NOW, Link::Peer(ANN), &Control::Want(Vec::new()));
        assert_eq!(outputs(&mut group), [answer.clone(), answer.clone(), answer.clone()]);
    }
}

#[test]
fn who_is_told_to_have_left_says_nothing_more_and_asks_for_its_left() {
    let mut ann = group(ANN);
    ann.handle_control(NOW, Link::Member(BOB), &GONE);
    assert_eq!(outputs(&mut ann), [], "a client says nothing about others");
    for of in [BOB, MemberId::new(7, 7)] {
        ann.handle_control(NOW, Link::Peer(BOB), &Control::Departed { member: of, count: 1 });
        assert_eq!(outputs(&mut ann), [], "nobody of this process");
    }
    for _ in 0..2 {
        ann.handle_control(NOW, Link::Peer(BOB), &GONE);
    }
    assert_eq!(outputs(&mut ann), [Output::Departed { member: ANN }], "once");
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), Err(BroadcastError::Departed { member: ANN }));
    assert_eq!(ann.missing(9), [MissingRange { member: HOST, from: 1, to: 1 }]);
    let left = Kind::Left { member: ANN, last_seq: 0 };
    let left = Message::new(MessageId::new(HOST, 1), left, &[], b"").unwrap();
    ann.handle_message(NOW, Link::Peer(BOB), left.clone()).unwrap();
    assert!(matches!(outputs(&mut ann)[..], [Output::Deliver { .. }]), "told already");
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), Err(BroadcastError::Departed { member: ANN }));

    let mut ann = group(ANN);
    ann.handle_message(NOW, Link::Relay, left).unwrap();
    assert!(matches!(outputs(&mut ann)[..], [Output::Departed { member: ANN }, Output::Deliver { .. }]));
}

/// They would tell each other for ever.
#[test]
fn that_somebody_has_left_is_not_answered() {
    let [_, mut bob] = without_ann();
    bob.handle_control(NOW, Link::Peer(ANN), &Control::Departed { member: BOB, count: 1 });
    assert_eq!(outputs(&mut bob), [Output::Departed { member: BOB }]);
}

#[test]
fn a_process_whose_members_have_all_left_has_no_heartbeat() {
    let mut config = Config::relay();
    config.heartbeat = Some(std::time::Duration::from_millis(100));
    let mut both = Group::new(config, &Snapshot::fixed([HOST, ANN, BOB]), [ANN, BOB]).unwrap();
    for (member, beats) in [(ANN, true), (BOB, false)] {
        both.handle_control(NOW, Link::Peer(HOST), &Control::Departed { member, count: 0 });
        outputs(&mut both);
        let now = both.poll_timeout().unwrap();
        both.handle_timeout(now);
        assert_eq!((outputs(&mut both).len(), both.poll_timeout().is_some()), (usize::from(beats), beats));
    }
}

/// A host decides itself who lives with it.
#[test]
fn a_host_believes_nobody_about_those_who_live_with_it() {
    let mut host = group(HOST);
    let raj = host.admit(NOW, HOST, true, b"").unwrap();
    outputs(&mut host);
    host.handle_control(NOW, Link::Relay, &Control::Departed { member: raj, count: 1 });
    assert_eq!(outputs(&mut host), []);
    host.part(NOW, HOST, raj, b"").unwrap();
    assert!(matches!(outputs(&mut host)[..], [Output::Transmit(_), Output::Deliver { .. }]));
}
