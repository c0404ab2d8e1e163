//! Counts for each process at the other end of a link.

use cbcast::{Config, Control, Group, Link, MemberId, MissingRange, Output, Packet, Snapshot, Time};
use cbcast_sim::drive::{message, outputs};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const NOW: Time = Time::ZERO;

fn group(config: Config, me: MemberId) -> Group {
    Group::new(config, &Snapshot::fixed([HOST, ANN, BOB]), [me]).unwrap()
}

#[test]
fn each_link_of_a_mesh_has_its_own_counts() {
    let mut bob = group(Config::mesh(), BOB);
    let words = [message(ANN, 1, &[]), message(ANN, 2, &[]), message(ANN, 3, &[])];
    let bytes = words[0].packet().len() as u64;
    for (peer, word) in [(ANN, 0), (HOST, 0), (HOST, 2), (ANN, 1), (ANN, 1)] {
        bob.handle_message(NOW, Link::Peer(peer), words[word].clone()).unwrap();
    }
    let stranger = message(MemberId::new(7, 1), 1, &[]);
    bob.handle_message(NOW, Link::Peer(HOST), stranger.clone()).unwrap_err();
    bob.handle_packet(NOW, Link::Peer(ANN), Packet::Control(Control::Clock(bob.clock()))).unwrap();

    let of_ann = bob.peer_stats(ANN).unwrap();
    assert_eq!((of_ann.received, of_ann.received_bytes), (3, 3 * bytes));
    assert_eq!((of_ann.duplicates, of_ann.held, of_ann.refused, of_ann.controls), (1, 0, 0, 1));
    let of_host = bob.peer_stats(HOST).unwrap();
    let stranger_bytes = stranger.packet().len() as u64;
    assert_eq!((of_host.received, of_host.received_bytes), (3, 2 * bytes + stranger_bytes));
    assert_eq!((of_host.duplicates, of_host.held, of_host.refused, of_host.controls), (1, 1, 1, 0));
    assert_eq!(bob.relay_stats(), cbcast::PeerStats::default());
    let all = bob.stats();
    assert_eq!((all.duplicates, all.held, all.refused), (2, 1, 1));
}

#[test]
fn requests_and_answers_are_counted_where_they_go() {
    let (mut ann, mut bob) = (group(Config::mesh(), ANN), group(Config::mesh(), BOB));
    ann.broadcast(NOW, ANN, b"lost").unwrap();
    let lost = outputs(&mut ann).iter().find_map(Output::sent).cloned().unwrap();
    let bytes = lost.packet().len() as u64;
    assert_eq!((ann.stats().broadcast, ann.stats().broadcast_bytes), (1, bytes));
    bob.handle_clock(NOW, Link::Peer(ANN), &ann.clock());
    let mut asked = Vec::new();
    while asked.is_empty() {
        bob.handle_timeout(bob.poll_timeout().unwrap());
        asked.extend(outputs(&mut bob).into_iter().filter_map(|output| match output {
            Output::Transmit(transmit) if transmit.to.is_some() => Some(transmit),
            _ => None,
        }));
    }
    let wants: u64 = [HOST, ANN].iter().map(|&peer| bob.peer_stats(peer).unwrap().wants).sum();
    assert_eq!((wants, bob.stats().wants), (asked.len() as u64, asked.len() as u64));
    let want = Control::Want(vec![MissingRange { member: ANN, from: 1, to: 9 }]);
    ann.handle_control(NOW, Link::Peer(BOB), &want);
    let of_bob = ann.peer_stats(BOB).unwrap();
    assert_eq!((of_bob.wanted, of_bob.controls, of_bob.resent, of_bob.resent_bytes), (1, 1, 1, bytes));
    assert_eq!(ann.stats().resent, 1);
    assert_eq!(ann.peer_stats(HOST).unwrap().wanted, 0);
}

/// Also where a message takes the short way, and whatever relay it came from.
#[test]
fn what_comes_over_relays_and_members_links_is_counted() {
    let mut host = group(Config::relay(), HOST);
    for seq in 1..=3 {
        host.handle_message(NOW, Link::Member(ANN), message(ANN, seq, &[])).unwrap();
    }
    host.handle_message(NOW, Link::Relay, message(BOB, 1, &[])).unwrap();
    assert_eq!(host.peer_stats(ANN).unwrap().received, 3);
    assert_eq!(host.peer_stats(BOB).unwrap().received, 0, "it came over a relay's link");
    let bytes = message(BOB, 1, &[]).packet().len() as u64;
    assert_eq!((host.relay_stats().received, host.relay_stats().received_bytes), (1, bytes));
}

#[test]
fn counts_go_with_their_member() {
    let mut host = group(Config::relay(), HOST);
    let mut admit = || {
        let member = host.admit(NOW, HOST, false, b"").unwrap();
        assert_eq!(host.peer_stats(member), Some(cbcast::PeerStats::default()), "its slot was another's");
        host.handle_message(NOW, Link::Member(member), message(member, 1, &[])).unwrap();
        assert_eq!(host.peer_stats(member).unwrap().received, 1);
        host.part(NOW, HOST, member, b"").unwrap();
        host.handle_message(NOW, Link::Member(member), message(member, 2, &[])).unwrap_err();
        assert_eq!(host.peer_stats(member), None);
    };
    (0..3).for_each(|_| admit());
}
