//! Limits to the message and to the byte, and what is refused beside.

use bytes::Bytes;
use std::time::Duration;

use cbcast::wire::Reader;
use cbcast::{
    BroadcastError, Config, ConfigError, Control, DecodeError, GapPolicy, Group, ImportError, Kind, Link,
    MemberId, MembershipError, Message, MessageId, MissingRange, Output, Packet, ReceiveError, Relation,
    Snapshot, Time, Topology, Transmit, Unit, VectorClock,
};
use cbcast_sim::drive::{delivered, id, message, outputs};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const EVE: MemberId = MemberId::new(0, 3);
const NOW: Time = Time::ZERO;

/// The group of these four, at one of them.
fn group(me: MemberId, change: impl Fn(&mut Config)) -> Group {
    let mut config = Config::relay();
    change(&mut config);
    Group::new(config, &Snapshot::fixed([HOST, ANN, BOB, EVE]), [me]).unwrap()
}

fn hear(group: &mut Group, message: Message) -> Result<(), ReceiveError> {
    group.handle_message(NOW, Link::Relay, message)
}

fn clock_from(group: &mut Group, peer: MemberId, counts: &[(MemberId, u64)]) {
    let clock: VectorClock = counts.iter().copied().collect();
    group.handle_clock(NOW, Link::Peer(peer), &clock);
}

// Configuring.

#[test]
fn what_cannot_be_configured_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::mesh();
        change(&mut config);
        match Group::new(config, &Snapshot::fixed([HOST]), [HOST]).map(|_| ()) {
            Err(ConfigError::OutOfRange { setting, .. } | ConfigError::TooShort { setting, .. }) => {
                Some(setting)
            }
            other => {
                other.unwrap();
                None
            }
        }
    };
    let nanos = Duration::from_nanos;
    type Change<'a> = &'a dyn Fn(&mut Config);
    let bounds: [(&str, Change<'_>, Change<'_>); 15] = [
        ("members_max", &|c| c.members_max = 0, &|c| c.members_max = 1),
        ("members_max", &|c| c.members_max = (1 << 24) + 1, &|c| c.members_max = 1 << 24),
        ("packet_bytes_max", &|c| c.packet_bytes_max = 63, &|c| c.packet_bytes_max = 64),
        ("packet_bytes_max", &|c| c.packet_bytes_max = (1 << 30) + 1, &|c| c.packet_bytes_max = 1 << 30),
        ("holdback_max", &|c| c.holdback_max = (1 << 24) + 1, &|c| c.holdback_max = 1 << 24),
        ("ahead_max", &|c| c.ahead_max = u64::MAX, &|c| c.ahead_max = 0),
        ("ahead_max", &|c| c.ahead_max = (1 << 24) + 1, &|c| c.ahead_max = 1 << 24),
        ("repair_ranges_max", &|c| c.repair_ranges_max = 0, &|c| c.repair_ranges_max = usize::MAX),
        ("unstable_max", &|c| c.unstable_max = 0, &|c| c.unstable_max = 1),
        ("unstable_max", &|c| c.unstable_max = (1 << 24) + 1, &|c| c.unstable_max = 1 << 24),
        ("repair_delay", &|c| c.repair_delay = nanos(99_999), &|c| c.repair_delay = nanos(100_000)),
        ("repair_delay_max", &|c| c.repair_delay_max = nanos(29_999_999), &|c| {
            c.repair_delay_max = c.repair_delay
        }),
        ("repair_delay_max", &|c| c.repair_delay = Duration::MAX, &|c| c.repair_delay_max = Duration::MAX),
        ("heartbeat", &|c| c.heartbeat = Some(nanos(99_999)), &|c| c.heartbeat = Some(nanos(100_000))),
        ("gap_policy", &|c| c.gap_policy = GapPolicy::Skip { after: nanos(29_999_999) }, &|c| {
            c.gap_policy = GapPolicy::Skip { after: c.repair_delay }
        }),
    ];
    for (setting, too_much, allowed) in bounds {
        assert_eq!((refused(too_much), refused(allowed)), (Some(setting), None), "{setting}");
    }
}

#[test]
fn the_longest_delays_are_waited_for() {
    let mut eve = group(EVE, |config| {
        (config.repair_delay, config.repair_delay_max) = (Duration::MAX, Duration::MAX);
    });
    hear(&mut eve, message(ANN, 2, &[])).unwrap();
    let due = eve.poll_timeout().unwrap();
    eve.handle_timeout(due);
    assert_eq!(due, eve.poll_timeout().unwrap(), "the end of time");
}

#[test]
fn the_most_that_can_be_configured_bears_the_greatest_number() {
    let mut eve = group(EVE, |config| (config.ahead_max, config.holdback_max) = (1 << 24, 1 << 24));
    let refused = hear(&mut eve, message(ANN, u64::MAX, &[])).unwrap_err();
    assert_eq!(refused, ReceiveError::TooFarAhead { id: id(ANN, u64::MAX), limit: 1 << 24 });
    hear(&mut eve, message(ANN, 1, &[id(BOB, 1 << 62)])).unwrap();
    let to_the_limit = |member, from| MissingRange { member, from, to: 1 << 24 };
    assert_eq!(eve.missing(9), [to_the_limit(BOB, 1), to_the_limit(ANN, 2)]);
}

#[test]
fn a_snapshot_is_as_large_as_may_be_known_and_no_larger() {
    let start = |members: u32, origins: u32| {
        let mut config = Config::relay();
        config.members_max = 3;
        let mut snapshot = Snapshot::fixed((0..members).map(|n| MemberId::new(0, n)));
        snapshot.next_ordinals = (0..origins).map(|origin| (origin, members)).collect();
        Group::new(config, &snapshot, [HOST]).map(|_| ())
    };
    assert_eq!(start(6, 6), Ok(()));
    let refused = Err(ConfigError::SnapshotTooLarge { listed: 7, limit: 6 });
    assert_eq!((start(7, 1), start(1, 7)), (refused, refused));
}

// Sending.

#[test]
fn a_packet_is_as_long_as_allowed_and_no_longer() {
    let mut ann = group(ANN, |config| config.packet_bytes_max = 64);
    let overhead = message(ANN, 1, &[]).packet().len() - 1;
    ann.broadcast(NOW, ANN, &vec![0; 64 - overhead]).unwrap();
    let refused = ann.broadcast(NOW, ANN, &vec![0; 65 - overhead]);
    assert_eq!(refused, Err(BroadcastError::TooLong { length: 65, limit: 64 }));
    assert_eq!(ann.delivered(ANN), Some(1));
}

#[test]
fn unstable_bytes_block_before_they_exceed_the_limit_and_announcements_pass() {
    let limits = |config: &mut Config| (config.retain, config.unstable_bytes_max) = (true, 100);
    let mut host = group(HOST, limits);
    host.broadcast(NOW, HOST, &[0; 60]).unwrap();
    let blocked = host.broadcast(NOW, HOST, &[0; 60]).unwrap_err();
    assert!(
        matches!(blocked, BroadcastError::WouldBlock { unit: Unit::Bytes, limit: 100, holder: Some(_), .. }),
        "{blocked}"
    );
    host.part(NOW, HOST, EVE, &[0; 60]).unwrap();
    host.admit(NOW, HOST, false, &[0; 60]).unwrap();
}

#[test]
fn what_is_taken_back_is_local_and_next_and_has_its_causes() {
    let mut ann = group(ANN, |_| {});
    assert!(!ann.readopt(NOW, message(BOB, 1, &[])), "another's");
    assert!(!ann.readopt(NOW, message(ANN, 2, &[])), "not the next");
    assert!(!ann.readopt(NOW, message(ANN, 1, &[id(BOB, 1)])), "a cause is missing");
    assert_eq!(ann.clock(), group(ANN, |_| {}).clock());
    hear(&mut ann, message(BOB, 1, &[])).unwrap();
    assert!(ann.readopt(NOW, message(ANN, 1, &[id(BOB, 1)])));
}

// Receiving.

#[test]
fn a_message_is_as_far_ahead_as_allowed_and_no_further() {
    let mut eve = group(EVE, |config| config.ahead_max = 3);
    hear(&mut eve, message(ANN, 4, &[])).unwrap();
    let refused = hear(&mut eve, message(ANN, 5, &[])).unwrap_err();
    assert_eq!(refused, ReceiveError::TooFarAhead { id: id(ANN, 5), limit: 3 });
}

#[test]
fn places_are_counted_with_their_gaps_and_given_back() {
    let mut eve = group(EVE, |config| config.holdback_max = 4);
    hear(&mut eve, message(ANN, 3, &[])).unwrap();
    let full = ReceiveError::HoldbackFull { limit: 4, unit: Unit::Messages };
    assert_eq!(hear(&mut eve, message(BOB, 2, &[])), Err(full.clone()), "two more are too many");
    hear(&mut eve, message(BOB, 1, &[id(ANN, 1)])).unwrap();
    assert_eq!(hear(&mut eve, message(HOST, 1, &[id(ANN, 1)])), Err(full));
    for seq in [1, 2] {
        hear(&mut eve, message(ANN, seq, &[])).unwrap();
    }
    assert_eq!(delivered(&mut eve).len(), 4);
    hear(&mut eve, message(ANN, 7, &[])).unwrap();
}

#[test]
fn how_long_messages_were_held_is_counted() {
    let mut eve = group(EVE, |_| {});
    hear(&mut eve, message(ANN, 2, &[])).unwrap();
    eve.handle_message(Time::from_millis(3), Link::Relay, message(ANN, 1, &[])).unwrap();
    let counted: Vec<_> = eve.holds().iter().filter(|&(_, count)| count > 0).collect();
    assert_eq!(counted, [(Some(Duration::from_millis(4)), 1)]);
    assert_eq!(eve.holds().sum(), Duration::from_millis(3));
}

#[test]
fn held_bytes_stay_within_their_limit() {
    let length = message(ANN, 2, &[]).packet().len();
    let mut eve = group(EVE, |config| config.holdback_bytes_max = 2 * length - 1);
    hear(&mut eve, message(ANN, 2, &[])).unwrap();
    let full = ReceiveError::HoldbackFull { limit: 2 * length - 1, unit: Unit::Bytes };
    assert_eq!(hear(&mut eve, message(BOB, 2, &[])), Err(full));
    assert_eq!(eve.held_bytes(), length);
}

#[test]
fn held_bytes_of_one_member_stay_within_their_limit() {
    let length = message(ANN, 2, &[]).packet().len();
    let mut eve = group(EVE, |config| config.ahead_bytes_max = 2 * length);
    for seq in [2, 3] {
        hear(&mut eve, message(ANN, seq, &[])).unwrap();
    }
    let full = ReceiveError::HoldbackFull { limit: 2 * length, unit: Unit::BytesOfMember };
    assert_eq!(hear(&mut eve, message(ANN, 4, &[])), Err(full));
    hear(&mut eve, message(BOB, 2, &[])).unwrap();
    assert_eq!(eve.held_bytes(), 3 * length, "another has room of its own");
}

#[test]
fn what_is_kept_keeps_its_buffer_unless_it_is_copied() {
    for copies_kept in [false, true] {
        let mut eve = group(EVE, |config| {
            config.copies_kept = copies_kept;
            config.retain = true;
            config.heartbeat = Some(Duration::from_secs(1));
        });
        for (seq, what) in [(2, "held"), (1, "retained")] {
            let mut read = message(ANN, seq, &[]).packet().to_vec();
            let length = read.len();
            read.resize(64 << 10, 0);
            let read = Bytes::from(read);
            hear(&mut eve, Message::decode(read.slice(..length)).unwrap()).unwrap();
            while eve.poll_output().is_some() {}
            assert_eq!(read.is_unique(), copies_kept, "{what}, copied: {copies_kept}");
        }
        assert_eq!((eve.held_count(), eve.retained_count()), (0, 2));
    }
}

#[test]
fn what_is_discarded_comes_again() {
    let mut eve = group(EVE, |_| {});
    hear(&mut eve, message(HOST, 1, &[id(BOB, 1)])).unwrap();
    for seq in [2, 3] {
        hear(&mut eve, message(ANN, seq, &[])).unwrap();
        hear(&mut eve, message(HOST, seq, &[])).unwrap();
    }
    eve.discard_ahead(ANN);
    eve.discard_ahead(HOST);
    assert_eq!(eve.held_count(), 1, "the next of the host waits for Bob's still");
    assert_eq!(eve.held_bytes(), message(HOST, 1, &[id(BOB, 1)]).packet().len());
    hear(&mut eve, message(BOB, 1, &[])).unwrap();
    for seq in [1, 2, 3] {
        hear(&mut eve, message(ANN, seq, &[])).unwrap();
        hear(&mut eve, message(HOST, seq, &[])).unwrap();
    }
    assert_eq!((delivered(&mut eve).len(), eve.held_bytes()), (7, 0));
}

#[test]
fn what_a_full_queue_refuses_is_asked_for() {
    let mut eve = group(EVE, |config| config.holdback_max = 0);
    hear(&mut eve, message(ANN, 2, &[id(BOB, 1)])).unwrap_err();
    let range = |member, to| MissingRange { member, from: 1, to };
    assert_eq!(eve.missing(9), [range(ANN, 2), range(BOB, 1)]);
}

#[test]
fn a_copy_of_what_is_held_is_a_copy() {
    let mut eve = group(EVE, |_| {});
    let raj = MemberId::new(0, 4);
    for m in [message(ANN, 2, &[]), message(raj, 1, &[])] {
        hear(&mut eve, m.clone()).unwrap();
        let held = (eve.held_count(), eve.held_bytes());
        hear(&mut eve, m).unwrap();
        assert_eq!((eve.held_count(), eve.held_bytes()), held);
    }
    assert_eq!(eve.stats().duplicates, 2);
}

#[test]
fn who_has_left_is_not_heard_again() {
    let mut host = group(HOST, |_| {});
    host.part(NOW, HOST, ANN, b"").unwrap();
    outputs(&mut host);
    let mut eve = group(EVE, |_| {});
    hear(&mut eve, Message::new(id(HOST, 1), Kind::Left { member: ANN, last_seq: 0 }, &[], b"").unwrap())
        .unwrap();
    for at in [&mut host, &mut eve] {
        assert_eq!(hear(at, message(ANN, 1, &[])), Ok(()));
        assert_eq!((at.held_count(), at.stats().duplicates), (0, 1));
    }
}

#[test]
fn a_host_knows_whom_it_has_not_admitted() {
    let mut host = group(HOST, |_| {});
    let raj = MemberId::new(0, 4);
    assert_eq!(hear(&mut host, message(raj, 1, &[])), Err(ReceiveError::NotTheirs { member: raj }));
}

#[test]
fn a_member_of_a_host_knows_of_its_fellows_through_the_host_only() {
    let mut host = group(HOST, |_| {});
    let lie = message(ANN, 1, &[id(BOB, 1)]);
    let refused = host.handle_message(NOW, Link::Member(ANN), lie.clone()).unwrap_err();
    assert_eq!(refused, ReceiveError::FromTheFuture { id: id(ANN, 1), dependency: id(BOB, 1) });
    assert_eq!(host.handle_message(NOW, Link::Peer(ANN), lie), Ok(()), "in a mesh it is heard of elsewhere");
    assert_eq!(host.held_count(), 1);
}

#[test]
fn a_message_has_no_more_dependencies_than_there_may_be_members() {
    let mut eve = group(EVE, |config| config.members_max = 2);
    for sender in [HOST, ANN, BOB] {
        hear(&mut eve, message(sender, 1, &[])).unwrap();
    }
    eve.broadcast(NOW, EVE, b"x").unwrap();
    let deps = [HOST, ANN, EVE, MemberId::new(0, 4), MemberId::new(0, 5)].map(|member| id(member, 1));
    let refused = hear(&mut eve, message(BOB, 2, &deps)).unwrap_err();
    assert_eq!(refused, ReceiveError::TooManyDependencies { id: id(BOB, 2), limit: 4 });
    hear(&mut eve, message(BOB, 2, &deps[..4])).unwrap();
}

// Members.

#[test]
fn members_locals_and_hosts_are_told_apart() {
    let mut host = group(HOST, |_| {});
    host.admit(NOW, HOST, true, b"").unwrap();
    hear(&mut host, message(MemberId::new(0, 5), 1, &[])).unwrap_err();
    host.part(NOW, HOST, BOB, b"").unwrap();
    let sorted = |members: &mut dyn Iterator<Item = MemberId>| {
        let mut members: Vec<_> = members.collect();
        members.sort_unstable();
        members
    };
    let raj = MemberId::new(0, 4);
    assert_eq!(sorted(&mut host.members()), [HOST, ANN, EVE, raj]);
    assert_eq!(sorted(&mut host.locals()), [HOST, raj]);
    assert_eq!(sorted(&mut host.hosts()), [HOST]);
}

#[test]
fn the_group_is_as_large_as_allowed_and_no_larger() {
    let mut host = group(HOST, |config| config.members_max = 5);
    host.admit(NOW, HOST, false, b"").unwrap();
    assert_eq!(host.admit(NOW, HOST, false, b""), Err(MembershipError::Full { limit: 5 }));

    // Limits bind who admits. Whom others have admitted counts, up to twice as many.
    let mut eve = group(EVE, |config| config.members_max = 3);
    let raj = |n: u32| MemberId::new(0, 4 + n);
    let joined = |n: u32| Message::new(id(HOST, 1 + u64::from(n)), Kind::Joined(raj(n)), &[], b"").unwrap();
    hear(&mut eve, message(raj(2), 1, &[])).unwrap();
    hear(&mut eve, message(ANN, 1, &[id(raj(2), 1)])).unwrap();
    for n in 0..3 {
        hear(&mut eve, joined(n)).unwrap();
    }
    assert_eq!([0, 1, 2].map(|n| eve.is_member(raj(n))), [true, true, false]);
    let outputs = outputs(&mut eve);
    assert!(outputs.contains(&Output::MembersFull { member: raj(2), limit: 6 }), "{outputs:?}");
    assert_eq!((eve.delivered(ANN), eve.held_count()), (Some(1), 0), "nobody waits for who is not let in");
    // It has not left, and is not told so.
    let word = message(raj(2), 2, &[]);
    assert_eq!(eve.handle_message(NOW, Link::Peer(raj(2)), word), Ok(()));
    assert_eq!((eve.poll_output(), eve.stats().duplicates), (None, 1));
    // And no later one is out of order for that.
    hear(&mut eve, Message::new(id(HOST, 4), Kind::Left { member: raj(0), last_seq: 0 }, &[], b"").unwrap())
        .unwrap();
    hear(&mut eve, Message::new(id(HOST, 5), Kind::Joined(raj(3)), &[], b"").unwrap()).unwrap();
    assert!(eve.is_member(raj(3)));
    assert_eq!(eve.stats().void_announcements, 0);
}

#[test]
fn what_others_wait_for_of_a_newcomer_is_asked_for() {
    let mut eve = group(EVE, |_| {});
    let raj = MemberId::new(0, 4);
    hear(&mut eve, message(BOB, 1, &[id(raj, 3)])).unwrap();
    assert_eq!(eve.missing(9), []);
    hear(&mut eve, Message::new(id(HOST, 1), Kind::Joined(raj), &[], b"").unwrap()).unwrap();
    assert_eq!(eve.missing(9), [MissingRange { member: raj, from: 1, to: 3 }]);
}

#[test]
fn ordinals_are_given_out_in_order() {
    let mut eve = group(EVE, |_| {});
    let joined = |seq, ordinal| {
        Message::new(id(HOST, seq), Kind::Joined(MemberId::new(0, ordinal)), &[], b"").unwrap()
    };
    for (seq, ordinal) in [(1, 5), (2, 3)] {
        hear(&mut eve, joined(seq, ordinal)).unwrap();
    }
    assert_eq!(eve.stats().void_announcements, 2);
    assert_eq!(eve.clock().len(), 4);
    hear(&mut eve, joined(3, 4)).unwrap();
    assert!(eve.is_member(MemberId::new(0, 4)));
}

/// There is no next one: it would be given out again and again.
#[test]
fn the_last_ordinal_is_given_out_by_nobody() {
    let mut snapshot = Snapshot::fixed([HOST, EVE]);
    snapshot.next_ordinals = vec![(0, u32::MAX)];
    let mut eve = Group::new(Config::relay(), &snapshot, [EVE]).unwrap();
    let last = Kind::Joined(MemberId::new(0, u32::MAX));
    for seq in [1, 2] {
        hear(&mut eve, Message::new(id(HOST, seq), last.clone(), &[], b"").unwrap()).unwrap();
    }
    assert_eq!((eve.stats().void_announcements, eve.members().count()), (2, 2));
}

#[test]
fn a_guest_is_no_host() {
    let mut ann = group(ANN, |_| {});
    assert_eq!(ann.admit(NOW, ANN, false, b""), Err(MembershipError::NotHost));
    assert_eq!(ann.part(NOW, ANN, BOB, b""), Err(MembershipError::NotHost));
}

#[test]
fn what_is_missing_of_the_departed_is_missed_no_more() {
    let mut host = group(HOST, |_| {});
    clock_from(&mut host, BOB, &[(ANN, 3)]);
    assert!(host.poll_timeout().is_some());
    host.part(NOW, HOST, ANN, b"").unwrap();
    assert_eq!((host.poll_timeout(), host.missing(9)), (None, vec![]));
}

// How far ahead.

/// Gives a group what it asks for, until it asks for nothing.
fn serve(group: &mut Group, said: impl Fn(MessageId) -> Message) {
    let mut rounds = 0;
    while let Some(due) = group.poll_timeout() {
        group.handle_timeout(due);
        let wanted: Vec<_> =
            outputs(group).into_iter().filter_map(want).flat_map(|(_, ranges)| ranges).collect();
        for range in wanted {
            for seq in range.from..=range.to.min(range.from + 255) {
                let _ = hear(group, said(id(range.member, seq)));
            }
        }
        rounds += 1;
        assert!(rounds < 1_000, "it asks for ever: {:?}", group.missing(9));
    }
}

#[test]
fn who_lags_further_than_messages_may_be_ahead_catches_up() {
    for (ahead_max, said) in [(4, 10), (Config::relay().ahead_max, 20_000)] {
        // Somebody else's message shows it.
        let mut eve = group(EVE, |config| config.ahead_max = ahead_max);
        hear(&mut eve, message(BOB, 1, &[id(ANN, said)])).unwrap();
        serve(&mut eve, |id| message(id.member, id.seq, &[]));
        assert_eq!((eve.held_count(), eve.delivered(ANN), eve.delivered(BOB)), (0, Some(said), Some(1)));
        // Its own last message does, which is too far ahead itself.
        let mut eve = group(EVE, |config| config.ahead_max = ahead_max);
        hear(&mut eve, message(ANN, said, &[])).unwrap_err();
        serve(&mut eve, |id| message(id.member, id.seq, &[]));
        assert_eq!(eve.delivered(ANN), Some(said));
    }
}

#[test]
fn an_export_remembers_how_far_somebody_is_ahead() {
    let small = |config: &mut Config| config.ahead_max = 4;
    let mut eve = group(EVE, small);
    hear(&mut eve, message(BOB, 1, &[id(ANN, 10)])).unwrap();
    outputs(&mut eve);
    let mut again = Group::import(eve.config().clone(), &eve.export().unwrap()).unwrap();
    serve(&mut again, |id| message(id.member, id.seq, &[]));
    assert_eq!((again.held_count(), again.delivered(BOB)), (0, Some(1)));
}

// Snapshots.

#[test]
fn a_frontier_beyond_the_cut_is_left_out() {
    let mut snapshot = Snapshot::fixed([HOST, ANN]);
    snapshot.clock.set(ANN, 2);
    snapshot.clock.set(HOST, 1);
    snapshot.frontier = vec![id(HOST, 1), id(ANN, 9)];
    assert_eq!(Group::new(Config::relay(), &snapshot, [HOST]).unwrap().frontier(), [id(HOST, 1)]);
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let decode = |snapshot: &Snapshot| {
        let mut bytes = Vec::new();
        snapshot.encode(&mut bytes);
        Snapshot::decode(&mut Reader::new(&bytes))
    };
    let good = Snapshot {
        clock: [(HOST, 1 << 62), (ANN, 2)].into_iter().collect(),
        next_ordinals: vec![(0, 2), (1, 0)],
        frontier: vec![id(HOST, 1), id(ANN, 2)],
    };
    assert_eq!(decode(&good).as_ref(), Ok(&good));
    let mut beyond = good.clone();
    beyond.clock.set(ANN, (1 << 62) + 1);
    assert!(decode(&beyond).is_err());
    for next_ordinals in [vec![(1, 0), (0, 2)], vec![(0, 2), (0, 3)]] {
        assert!(decode(&Snapshot { next_ordinals, ..good.clone() }).is_err());
    }
    for frontier in [vec![id(ANN, 2), id(HOST, 1)], vec![id(ANN, 1), id(ANN, 2)]] {
        assert!(decode(&Snapshot { frontier, ..good.clone() }).is_err());
    }
    let mut bytes = Vec::new();
    good.encode(&mut bytes);
    for version in [0, 2] {
        bytes[0] = version;
        assert!(Snapshot::decode(&mut Reader::new(&bytes)).is_err(), "version {version}");
    }
}

// Repair.

/// Returns whom a request goes to, and what it names.
fn want(output: Output) -> Option<(MemberId, Vec<MissingRange>)> {
    match output {
        Output::Transmit(Transmit { to: Some(to), packet: Packet::Control(Control::Want(ranges)) }) => {
            Some((to, ranges))
        }
        _ => None,
    }
}

/// The pauses between requests of one who misses something, and whom they go to.
fn requests(group: &mut Group, count: usize) -> Vec<(Duration, Vec<Option<MemberId>>)> {
    let mut last = NOW;
    let mut all = Vec::new();
    for _ in 0..count {
        let due = group.poll_timeout().unwrap();
        group.handle_timeout(due);
        let to = |o| Some(Some(want(o)?.0));
        all.push((due.since(last), outputs(group).into_iter().filter_map(to).collect()));
        last = due;
    }
    all
}

#[test]
fn pauses_double_up_to_a_limit_and_are_shortened_by_a_quarter_at_most() {
    let delays = |config: &mut Config, seed| {
        (config.repair_delay, config.repair_delay_max) = (Duration::from_millis(100), Duration::from_secs(1));
        config.seed = seed;
    };
    let mut first = Vec::new();
    for seed in 0..50 {
        let mut eve = group(EVE, |config| delays(config, seed));
        hear(&mut eve, message(ANN, 2, &[])).unwrap();
        let pauses: Vec<_> = requests(&mut eve, 8).into_iter().map(|(pause, _)| pause).collect();
        assert_eq!(pauses[0], Duration::from_millis(100));
        for (pause, millis) in pauses[1..].iter().zip([200, 400, 800, 1_000, 1_000, 1_000, 1_000]) {
            let whole = Duration::from_millis(millis);
            assert!(*pause <= whole && *pause >= whole * 3 / 4, "seed {seed}: {pause:?} for {whole:?}");
        }
        first.push(pauses[1]);
    }
    first.sort_unstable();
    first.dedup();
    assert!(first.len() > 40, "they do not all ask at once");
}

#[test]
fn the_sender_is_asked_first_then_who_has_it_and_in_the_end_everybody() {
    let mut at_relay = group(EVE, |_| {});
    hear(&mut at_relay, message(ANN, 3, &[])).unwrap();
    assert!(requests(&mut at_relay, 40).iter().all(|(_, to)| to.len() == 1), "all go to the relay");
    let mut eve = group(EVE, |config| (config.topology, config.retain) = (Topology::Mesh, true));
    clock_from(&mut eve, BOB, &[(ANN, 1)]);
    hear(&mut eve, message(ANN, 3, &[])).unwrap();
    let asked: Vec<_> = requests(&mut eve, 40).into_iter().map(|(_, to)| to).collect();
    assert_eq!(asked[0], [Some(ANN)]);
    assert_eq!(asked[1], [Some(BOB)], "Bob's clock says that he has it, and nobody else's does");
    let first = &asked[..4];
    assert!(first.iter().flatten().all(|to| [Some(ANN), Some(BOB)].contains(to)), "{asked:?}");
    assert!(asked[..8].concat().contains(&Some(HOST)), "who has it may not be able to send it: {asked:?}");
    assert!(asked.chunks(4).all(|cycle| cycle.concat().contains(&Some(ANN))), "{asked:?}");
    assert!(asked[..2].iter().all(|to| to.len() == 1) && asked.iter().all(|to| to.len() <= 2), "{asked:?}");
}

/// The host and a newcomer have both, as their clocks say; but the newcomer has them from its snapshot.
#[test]
fn what_is_asked_for_and_who_is_asked_are_drawn_apart() {
    for seed in 0..50 {
        let one_at_once = |config: &mut Config| {
            (config.retain, config.repair_ranges_max, config.seed) = (true, 1, seed);
        };
        let mut eve = group(EVE, one_at_once);
        clock_from(&mut eve, HOST, &[(HOST, 1), (ANN, 1)]);
        clock_from(&mut eve, BOB, &[(HOST, 1), (ANN, 1)]);
        let mut pairs = Vec::new();
        while pairs.len() < 4 && eve.stats().wants < 60 {
            let due = eve.poll_timeout().unwrap();
            eve.handle_timeout(due);
            for output in outputs(&mut eve) {
                let Some((to, ranges)) = want(output) else { continue };
                for pair in ranges.into_iter().map(|range| (range.member, to)) {
                    if [HOST, BOB].contains(&pair.1) && !pairs.contains(&pair) {
                        pairs.push(pair);
                    }
                }
            }
        }
        assert_eq!(pairs.len(), 4, "seed {seed}: each is asked for both: {pairs:?}");
    }
}

#[test]
fn progress_starts_the_pauses_of_that_member_anew_and_of_no_other() {
    let mut eve = group(EVE, |config| config.retain = true);
    for m in [message(ANN, 2, &[]), message(ANN, 4, &[]), message(HOST, 2, &[])] {
        hear(&mut eve, m).unwrap();
    }
    let mut now = NOW;
    while eve.stats().wants < 16 {
        now = eve.poll_timeout().unwrap();
        eve.handle_timeout(now);
    }
    outputs(&mut eve);
    eve.handle_message(now, Link::Relay, message(ANN, 1, &[])).unwrap();
    outputs(&mut eve);
    assert_eq!(eve.poll_timeout(), Some(now + eve.config().repair_delay));
    eve.handle_timeout(now + eve.config().repair_delay);
    let wanted = Control::Want(vec![MissingRange { member: ANN, from: 3, to: 3 }]);
    assert_eq!(
        outputs(&mut eve),
        [Output::Transmit(Transmit { to: Some(ANN), packet: Packet::Control(wanted) })],
        "as in a first request"
    );
}

#[test]
fn a_clock_of_who_has_it_ends_the_pause_once_a_request_has_had_its_time() {
    let mut eve = group(EVE, |config| config.retain = true);
    hear(&mut eve, message(ANN, 2, &[])).unwrap();
    let last = requests(&mut eve, 7).iter().fold(NOW, |now, (pause, _)| now + *pause);
    let (asked, delay) = (eve.poll_timeout().unwrap(), eve.config().repair_delay);
    assert!(asked.since(last) > 10 * delay);
    let clock: VectorClock = [(ANN, 1)].into_iter().collect();
    eve.handle_clock(last, Link::Peer(BOB), &clock);
    assert_eq!(eve.poll_timeout(), Some(last + delay), "the request may be answered yet");
    let nothing: VectorClock = [(ANN, 0)].into_iter().collect();
    let mut other = group(EVE, |config| config.retain = true);
    hear(&mut other, message(ANN, 2, &[])).unwrap();
    requests(&mut other, 7);
    let due = other.poll_timeout();
    other.handle_clock(last, Link::Peer(BOB), &nothing);
    assert_eq!(other.poll_timeout(), due, "who has nothing ends nothing");
}

#[test]
fn the_next_gap_starts_the_pauses_anew() {
    let mut eve = group(EVE, |config| config.retain = true);
    clock_from(&mut eve, BOB, &[(ANN, 1)]);
    requests(&mut eve, 8);
    // Nothing is missing, and nothing was held.
    hear(&mut eve, message(ANN, 1, &[])).unwrap();
    assert_eq!(eve.poll_timeout(), None);
    outputs(&mut eve);
    clock_from(&mut eve, BOB, &[(ANN, 2)]);
    let asked = requests(&mut eve, 2);
    assert_eq!(asked[0].1, [Some(ANN)], "as in a first request");
    assert!(asked[1].0 <= 2 * eve.config().repair_delay, "{asked:?}");
}

#[test]
fn arrivals_do_not_put_a_request_off() {
    let mut eve = group(EVE, |_| {});
    hear(&mut eve, message(ANN, 2, &[])).unwrap();
    let due = eve.poll_timeout();
    eve.handle_message(Time::from_millis(20), Link::Relay, message(BOB, 2, &[])).unwrap();
    assert_eq!(eve.poll_timeout(), due);
}

#[test]
fn a_request_names_so_many_ranges_and_another_member_each_time() {
    let mut eve = group(EVE, |config| config.repair_ranges_max = 1);
    for member in [HOST, ANN, BOB] {
        clock_from(&mut eve, member, &[(member, 1)]);
    }
    assert_eq!((eve.missing(1).len(), eve.missing(2).len(), eve.missing(9).len()), (1, 2, 3));
    let mut named: Vec<MemberId> = Vec::new();
    for _ in 0..3 {
        let due = eve.poll_timeout().unwrap();
        eve.handle_timeout(due);
        for output in outputs(&mut eve) {
            if let Output::Transmit(Transmit { packet: Packet::Control(Control::Want(ranges)), .. }) = output
            {
                assert_eq!(ranges.len(), 1);
                named.push(ranges[0].member);
            }
        }
    }
    assert_eq!(named[0], HOST);
    assert!([HOST, ANN, BOB].iter().all(|member| named.contains(member)), "{named:?}");
}

#[test]
fn an_answer_is_bounded_and_what_does_not_exist_costs_nothing() {
    let mut ann = group(ANN, |config| config.retain = true);
    let mut bob = group(BOB, |_| {});
    bob.broadcast(NOW, BOB, b"x").unwrap();
    hear(&mut ann, message(BOB, 1, &[])).unwrap();
    for _ in 0..300 {
        ann.broadcast(NOW, ANN, b"x").unwrap();
    }
    outputs(&mut ann);
    let resent = |ann: &mut Group, ranges: Vec<MissingRange>| {
        ann.handle_control(NOW, Link::Peer(EVE), &Control::Want(ranges));
        let count = |member| {
            move |o: &&Output| {
                matches!(o, Output::Transmit(Transmit { to: Some(EVE), packet: Packet::Message(m) })
                    if m.id().member == member)
            }
        };
        let all = outputs(ann);
        (all.iter().filter(count(ANN)).count(), all.iter().filter(count(BOB)).count())
    };
    let range = |member, from| MissingRange { member, from, to: u64::MAX };
    assert_eq!(resent(&mut ann, vec![range(ANN, 1)]), (256, 0));
    assert_eq!(resent(&mut ann, vec![range(ANN, 300), range(BOB, 1)]), (1, 1));
}

#[test]
fn who_is_about_to_leave_is_not_asked() {
    let mut eve = group(EVE, |_| {});
    eve.handle_control(NOW, Link::Peer(HOST), &Control::Flush { member: BOB, number: 1, count: 0 });
    outputs(&mut eve);
    hear(&mut eve, message(ANN, 2, &[])).unwrap();
    let asked = requests(&mut eve, 40);
    assert!(asked[1..].iter().any(|(_, to)| *to == [Some(HOST)]));
    assert!(asked.iter().all(|(_, to)| !to.contains(&Some(BOB))), "{asked:?}");
}

#[test]
fn a_request_beyond_all_numbers_is_refused() {
    let mut bytes = Control::Want(vec![MissingRange { member: ANN, from: 0, to: u64::MAX }]).encode();
    assert!(Packet::decode(bytes.clone().into()).is_ok());
    let from = bytes.iter().position(|&byte| byte == 0xff).unwrap() - 1;
    bytes[from] = 1;
    assert!(Packet::decode(bytes.into()).is_err());
}

// Stability.

#[test]
fn stable_is_what_the_last_has_and_never_less() {
    let mut ann = group(ANN, |config| config.retain = true);
    for _ in 0..3 {
        ann.broadcast(NOW, ANN, b"x").unwrap();
    }
    clock_from(&mut ann, HOST, &[(ANN, 3)]);
    clock_from(&mut ann, BOB, &[(ANN, 2)]);
    assert_eq!(ann.stable(ANN), Some(0));
    clock_from(&mut ann, BOB, &[(ANN, 1)]);
    clock_from(&mut ann, EVE, &[(ANN, 3)]);
    assert_eq!(ann.stable(ANN), Some(2), "a clock that comes late takes nothing back");
    assert_eq!(ann.stability_holder(ANN), Some(BOB));
    // What has not been delivered here is not stable here, whoever has it.
    for peer in [HOST, BOB, EVE] {
        clock_from(&mut ann, peer, &[(HOST, 0), (BOB, 4), (ANN, 3)]);
    }
    assert_eq!((ann.stable(ANN), ann.stable(BOB)), (Some(3), Some(0)));
}

#[test]
fn one_alone_and_its_guests_need_nobody() {
    let mut config = Config::relay();
    config.retain = true;
    let mut host = Group::new(config.clone(), &Snapshot::hosts([0]), [HOST]).unwrap();
    let guest = host.admit(NOW, HOST, true, b"").unwrap();
    host.broadcast(NOW, guest, b"x").unwrap();
    assert_eq!((host.stable(guest), host.retained_count()), (Some(1), 0));
    let again = Group::new(config, &host.snapshot(), [guest]).unwrap();
    assert_eq!((again.stable(HOST), again.stable(guest)), (Some(1), Some(1)), "all in a snapshot is");
}

/// The host counts Raj, whom Ann does not know yet: Raj may lack what the host acknowledges.
#[test]
fn who_is_ahead_of_us_in_a_hosts_messages_acknowledges_later() {
    let mut ann = group(ANN, |config| config.retain = true);
    ann.broadcast(NOW, ANN, b"x").unwrap();
    for peer in [HOST, BOB, EVE] {
        clock_from(&mut ann, peer, &[(HOST, 1), (ANN, 1)]);
    }
    assert_eq!(ann.stable(ANN), Some(0));
    let raj = MemberId::new(0, 4);
    hear(&mut ann, Message::new(id(HOST, 1), Kind::Joined(raj), &[], b"").unwrap()).unwrap();
    for peer in [HOST, BOB, EVE] {
        clock_from(&mut ann, peer, &[(HOST, 1), (ANN, 1)]);
    }
    assert_eq!(ann.stable(ANN), Some(0), "Raj has said nothing");
    clock_from(&mut ann, raj, &[(ANN, 1)]);
    assert_eq!(ann.stable(ANN), Some(1));
}

#[test]
fn what_the_departed_said_is_kept_until_all_know_that_they_left() {
    let mut host = group(HOST, |config| config.retain = true);
    hear(&mut host, message(ANN, 1, &[])).unwrap();
    host.part(NOW, HOST, ANN, b"").unwrap();
    let retains = |host: &Group| host.retained_count();
    assert_eq!(retains(&host), 2);
    clock_from(&mut host, BOB, &[(HOST, 1)]);
    assert_eq!(retains(&host), 2, "Eve may not know");
    clock_from(&mut host, EVE, &[(HOST, 1)]);
    assert_eq!(retains(&host), 0);
    host.broadcast(NOW, HOST, b"x").unwrap();
    for peer in [BOB, EVE] {
        clock_from(&mut host, peer, &[(HOST, 2)]);
    }
    assert_eq!(host.stable(HOST), Some(2), "without Ann");
}

// Several members in a process.

#[test]
fn a_process_of_a_mesh_tells_who_lives_there() {
    let told = |topology, locals: &[MemberId]| {
        let mut config = Config::mesh();
        config.topology = topology;
        let all = Snapshot::fixed([HOST, ANN, BOB, EVE]);
        let mut group = Group::new(config, &all, locals.iter().copied()).unwrap();
        group.handle_timeout(NOW);
        let locals = |o| match o {
            Output::Transmit(Transmit { to: None, packet: Packet::Control(Control::Locals(all)) }) => {
                Some(all)
            }
            _ => None,
        };
        outputs(&mut group).into_iter().filter_map(locals).collect::<Vec<_>>()
    };
    assert_eq!(told(Topology::Mesh, &[BOB, ANN]), [[ANN, BOB]]);
    assert!(told(Topology::Mesh, &[ANN]).is_empty());
    assert!(told(Topology::Relay, &[ANN, BOB]).is_empty(), "a relay acknowledges nothing");
}

#[test]
fn a_clock_acknowledges_for_all_who_live_together_and_nobody_else() {
    let together = |group: &mut Group| {
        group.handle_control(NOW, Link::Peer(BOB), &Control::Locals(vec![BOB, EVE]));
    };
    let mut ann = group(ANN, |config| config.retain = true);
    ann.broadcast(NOW, ANN, b"x").unwrap();
    clock_from(&mut ann, HOST, &[(ANN, 1)]);
    clock_from(&mut ann, BOB, &[(ANN, 1)]);
    assert_eq!(ann.stable(ANN), Some(0));
    together(&mut ann);
    clock_from(&mut ann, BOB, &[(ANN, 1)]);
    assert_eq!(ann.stable(ANN), Some(1));

    let mut ann = group(ANN, |config| config.retain = true);
    ann.broadcast(NOW, ANN, b"x").unwrap();
    clock_from(&mut ann, HOST, &[(ANN, 1)]);
    clock_from(&mut ann, EVE, &[(ANN, 0)]);
    together(&mut ann);
    clock_from(&mut ann, BOB, &[(ANN, 1)]);
    assert_eq!(ann.stable(ANN), Some(0), "Eve's clock came over a link of her own");
    // Who speaks for a process may change.
    together(&mut ann);
    clock_from(&mut ann, EVE, &[(ANN, 1)]);
    assert_eq!(ann.stable(ANN), Some(1));
}

#[test]
fn requests_go_to_whom_the_link_speaks_for() {
    let mut ann = group(ANN, |_| {});
    ann.handle_control(NOW, Link::Peer(BOB), &Control::Locals(vec![BOB, EVE]));
    hear(&mut ann, message(EVE, 2, &[])).unwrap();
    let asked: Vec<_> = requests(&mut ann, 40).into_iter().flat_map(|(_, to)| to).collect();
    assert_eq!(asked[0], Some(BOB));
    assert!(!asked.contains(&Some(EVE)) && asked.contains(&Some(HOST)), "{asked:?}");
}

#[test]
fn who_is_about_to_leave_a_shared_process_says_nothing_more() {
    let mut config = Config::mesh();
    config.seed = 1;
    let mut group = Group::new(config, &Snapshot::fixed([HOST, ANN, BOB]), [ANN, BOB]).unwrap();
    group.handle_control(NOW, Link::Peer(HOST), &Control::Flush { member: ANN, number: 1, count: 0 });
    assert_eq!(group.broadcast(NOW, ANN, b"x"), Err(BroadcastError::Leaving { member: ANN }));
    group.broadcast(NOW, BOB, b"x").unwrap();
    group.handle_control(NOW, Link::Peer(HOST), &Control::CalledOff { member: ANN, number: 2 });
    group.broadcast(NOW, ANN, b"x").unwrap();
}

// Skipping.

fn skipping(config: &mut Config) {
    config.gap_policy = GapPolicy::Skip { after: Duration::from_secs(10) };
    config.retain = true;
}

/// Lets time go on until then; what was skipped and delivered.
fn until(group: &mut Group, end: Time) -> (Vec<MissingRange>, Vec<MessageId>) {
    let (mut gaps, mut ids) = (Vec::new(), Vec::new());
    while let Some(due) = group.poll_timeout().filter(|&due| due <= end) {
        group.handle_timeout(due);
        for output in outputs(group) {
            match output {
                Output::Gap(range) => gaps.push(range),
                Output::Deliver { message, .. } => ids.push(message.id()),
                _ => {}
            }
        }
    }
    (gaps, ids)
}

#[test]
fn each_gap_is_skipped_after_its_own_time_and_releases_who_waited_for_it() {
    let mut eve = group(EVE, skipping);
    for m in [message(ANN, 2, &[]), message(ANN, 4, &[]), message(BOB, 1, &[id(ANN, 1)])] {
        hear(&mut eve, m).unwrap();
    }
    outputs(&mut eve);
    let gap = |seq| MissingRange { member: ANN, from: seq, to: seq };
    assert_eq!(until(&mut eve, Time::from_millis(9_999)), (vec![], vec![]));
    let (gaps, ids) = until(&mut eve, Time::from_millis(15_000));
    assert_eq!((gaps, ids), (vec![gap(1)], vec![id(ANN, 2), id(BOB, 1)]));
    let (gaps, ids) = until(&mut eve, Time::from_millis(40_000));
    assert_eq!((gaps, ids), (vec![gap(3)], vec![id(ANN, 4)]));
    assert_eq!((eve.stats().skipped, eve.poll_timeout()), (2, None));
    for peer in [HOST, ANN, BOB] {
        clock_from(&mut eve, peer, &[(ANN, 4)]);
    }
    assert_eq!(eve.stable(ANN), Some(4), "skipped ones count");
}

#[test]
fn who_waits_for_the_last_that_is_skipped_goes_on() {
    let mut eve = group(EVE, skipping);
    hear(&mut eve, message(BOB, 1, &[id(ANN, 2)])).unwrap();
    outputs(&mut eve);
    let (gaps, ids) = until(&mut eve, Time::from_millis(15_000));
    assert_eq!(gaps, [MissingRange { member: ANN, from: 1, to: 2 }]);
    assert_eq!((ids, eve.poll_timeout()), (vec![id(BOB, 1)], None));
}

#[test]
fn nothing_is_skipped_before_it_has_been_asked_for() {
    let mut eve = group(EVE, skipping);
    hear(&mut eve, message(ANN, 2, &[])).unwrap();
    outputs(&mut eve);
    // Whoever calls has slept for hours.
    let late = Time::from_millis(10_000_000);
    eve.handle_timeout(late);
    let wanted = Control::Want(vec![MissingRange { member: ANN, from: 1, to: 1 }]);
    let request = Output::Transmit(Transmit { to: Some(ANN), packet: Packet::Control(wanted) });
    assert_eq!(outputs(&mut eve), [request]);
    eve.handle_timeout(late);
    assert_eq!(outputs(&mut eve), [], "there was no time to answer");
    let again = eve.poll_timeout().unwrap();
    eve.handle_timeout(again);
    assert_eq!((outputs(&mut eve).len(), eve.stats().skipped), (1, 0), "asked for again");
    let third = eve.poll_timeout().unwrap();
    eve.handle_timeout(third);
    assert_eq!(eve.stats().wants, 3);
    eve.handle_message(third, Link::Relay, message(BOB, 2, &[])).unwrap();
    eve.handle_timeout(third + eve.config().repair_delay);
    assert_eq!((eve.stats().wants, eve.stats().skipped), (4, 0), "it is another's turn");
    outputs(&mut eve);
    let (gaps, ids) = until(&mut eve, late + Duration::from_secs(60));
    let gap = |member| MissingRange { member, from: 1, to: 1 };
    assert_eq!((gaps, ids), (vec![gap(ANN), gap(BOB)], vec![id(ANN, 2), id(BOB, 2)]));
}

/// A member of this host claims to have seen what a member of another origin has not said.
#[test]
fn a_lie_over_a_members_link_does_not_make_anybody_elses_messages_be_given_up() {
    let (other, victim) = (MemberId::host(1), MemberId::new(1, 1));
    let members = [HOST, ANN, BOB, other, victim];
    for exported in [false, true] {
        let mut config = Config::relay();
        skipping(&mut config);
        let mut host = Group::new(config.clone(), &Snapshot::fixed(members), [HOST]).unwrap();
        host.handle_message(NOW, Link::Member(ANN), message(ANN, 1, &[id(victim, 5_000)])).unwrap();
        let newcomer = MemberId::new(1, 2);
        host.handle_message(NOW, Link::Member(BOB), message(BOB, 1, &[id(newcomer, 7)])).unwrap();
        let joined = Message::new(id(other, 1), Kind::Joined(newcomer), &[], b"").unwrap();
        host.handle_message(NOW, Link::Relay, joined).unwrap();
        outputs(&mut host);
        if exported {
            host = Group::import(config, &host.export().unwrap()).unwrap();
        }
        until(&mut host, Time::from_millis(100_000));
        assert_eq!((host.delivered(victim), host.stats().skipped), (Some(0), 0));
        // It speaks on, and what of it is missing and others know of is given up as ever.
        let later = Time::from_millis(100_000);
        for seq in [1, 2] {
            host.handle_message(later, Link::Relay, message(victim, seq, &[])).unwrap();
        }
        assert_eq!(delivered(&mut host), [id(victim, 1), id(victim, 2)]);
        host.handle_message(later, Link::Relay, message(other, 2, &[id(victim, 4)])).unwrap();
        outputs(&mut host);
        let (gaps, ids) = until(&mut host, Time::from_millis(300_000));
        assert_eq!(
            gaps,
            [MissingRange { member: victim, from: 3, to: 4 }],
            "what a relay passes on shows it"
        );
        assert_eq!(ids, [id(other, 2)]);
        let mut held: Vec<_> = host.held().map(|held| held.id).collect();
        held.sort_unstable();
        assert_eq!(held, [id(ANN, 1), id(BOB, 1)], "who lied waits");
    }
}

/// Ann said two. Bob gave up her second and spoke; Eve has it, and speaks after both. Whoever gives up Bob's word only
/// must still wait for Ann's second before Eve's.
#[test]
fn what_was_skipped_stands_in_no_stamp() {
    let mut bob = group(BOB, skipping);
    hear(&mut bob, message(ANN, 1, &[])).unwrap();
    hear(&mut bob, message(HOST, 1, &[id(ANN, 2)])).unwrap();
    outputs(&mut bob);
    let (gaps, ids) = until(&mut bob, Time::from_millis(20_000));
    assert_eq!((gaps, ids), (vec![MissingRange { member: ANN, from: 2, to: 2 }], vec![id(HOST, 1)]));
    assert_eq!(bob.frontier(), [id(HOST, 1), id(ANN, 1)], "the host may have skipped the one before");
    hear(&mut bob, message(EVE, 1, &[id(ANN, 1)])).unwrap();
    assert_eq!(bob.frontier(), [id(HOST, 1), id(EVE, 1)]);

    let mut bob = group(BOB, skipping);
    hear(&mut bob, message(ANN, 1, &[])).unwrap();
    clock_from(&mut bob, HOST, &[(ANN, 2)]);
    outputs(&mut bob);
    until(&mut bob, Time::from_millis(20_000));
    assert_eq!((bob.delivered(ANN), bob.frontier()), (Some(2), vec![id(ANN, 1)]));
    let words = |group: &mut Group, me| {
        group.broadcast(NOW, me, b"x").unwrap();
        let sent = |o: Output| o.sent().cloned();
        outputs(group).into_iter().find_map(sent).unwrap()
    };
    // So has who starts from its snapshot.
    let snapshot = bob.snapshot();
    let mut bytes = Vec::new();
    snapshot.encode(&mut bytes);
    let snapshot = Snapshot::decode(&mut Reader::new(&bytes)).unwrap();
    let mut heir = Group::new(Config::relay(), &snapshot, [HOST]).unwrap();
    assert_eq!(words(&mut heir, HOST).deps().collect::<Vec<_>>(), [id(ANN, 1)]);
    let word = words(&mut bob, BOB);
    assert_eq!(word.deps().collect::<Vec<_>>(), [id(ANN, 1)]);
    assert_eq!(bob.frontier(), [word.id()]);

    let mut eve = group(EVE, |_| {});
    for m in [message(ANN, 1, &[]), message(ANN, 2, &[]), word] {
        hear(&mut eve, m).unwrap();
    }
    outputs(&mut eve);
    let effect = words(&mut eve, EVE);
    assert_eq!(effect.deps().collect::<Vec<_>>(), [id(ANN, 2), id(BOB, 1)]);

    let mut host = group(HOST, skipping);
    hear(&mut host, message(ANN, 1, &[])).unwrap();
    clock_from(&mut host, EVE, &[(BOB, 1)]);
    outputs(&mut host);
    until(&mut host, Time::from_millis(20_000));
    assert_eq!((host.delivered(BOB), host.stats().skipped), (Some(1), 1));
    let later = Time::from_millis(20_000);
    host.handle_message(later, Link::Relay, effect.clone()).unwrap();
    assert_eq!(host.waits_for(effect.id()), Some(id(ANN, 2)));
    host.handle_message(later, Link::Relay, message(ANN, 2, &[])).unwrap();
    assert_eq!(delivered(&mut host), [id(ANN, 2), effect.id()]);
}

/// Skipping needs no retention.
#[test]
fn the_last_that_was_delivered_before_a_skipped_one_is_followed_as_any() {
    let skipped = || {
        let mut host =
            group(HOST, |config| config.gap_policy = GapPolicy::Skip { after: Duration::from_secs(1) });
        hear(&mut host, message(ANN, 1, &[])).unwrap();
        clock_from(&mut host, EVE, &[(ANN, 2)]);
        outputs(&mut host);
        until(&mut host, Time::from_millis(20_000));
        assert_eq!(host.frontier(), [id(ANN, 1)]);
        host
    };
    let mut host = skipped();
    hear(&mut host, message(BOB, 1, &[id(ANN, 1)])).unwrap();
    assert_eq!(host.frontier(), [id(BOB, 1)]);
    let mut host = skipped();
    hear(&mut host, message(ANN, 3, &[])).unwrap();
    assert_eq!(host.frontier(), [id(ANN, 3)]);
    let mut host = skipped();
    host.part(NOW, HOST, ANN, b"").unwrap();
    assert_eq!(host.frontier(), [id(HOST, 1)]);
    // Others may part with Ann who have seen what was skipped here.
    let mut config = Config::relay();
    config.gap_policy = GapPolicy::Skip { after: Duration::from_secs(1) };
    let mut eve = Group::new(config, &skipped().snapshot(), [EVE]).unwrap();
    let left = Kind::Left { member: ANN, last_seq: 2 };
    hear(&mut eve, Message::new(id(HOST, 1), left, &[id(ANN, 2)], b"").unwrap()).unwrap();
    assert_eq!(eve.frontier(), [id(HOST, 1)]);
    // Ann goes on from there.
    let mut ann = Group::new(Config::relay(), &skipped().snapshot(), [ANN]).unwrap();
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), Ok(id(ANN, 3)));
}

#[test]
fn a_skipped_message_hides_how_others_are_related() {
    let mut eve = group(EVE, skipping);
    for m in [message(ANN, 1, &[]), message(HOST, 1, &[id(BOB, 1)])] {
        hear(&mut eve, m).unwrap();
    }
    outputs(&mut eve);
    until(&mut eve, Time::from_millis(20_000));
    eve.broadcast(NOW, EVE, b"x").unwrap();
    assert_eq!(eve.stats().skipped, 1);
    assert_eq!(eve.relation(id(ANN, 1), id(HOST, 1)), None, "Bob may have seen Ann's");
    assert_eq!(eve.relation(id(ANN, 1), id(EVE, 1)), Some(Relation::Before));
    assert_eq!(eve.relation(id(HOST, 1), id(EVE, 1)), Some(Relation::Before));
}

#[test]
fn hosts_are_not_skipped() {
    let mut eve = group(EVE, skipping);
    hear(&mut eve, message(HOST, 2, &[])).unwrap();
    outputs(&mut eve);
    assert_eq!(until(&mut eve, Time::from_millis(100_000)), (vec![], vec![]));
    assert_eq!(eve.delivered(HOST), Some(0));
}

/// The host has given up Ann's second word, so its *Left* does not follow it.
#[test]
fn what_the_host_has_given_up_of_the_departed_does_not_go_missing_in_silence() {
    let mut eve = group(EVE, |_| {});
    hear(&mut eve, message(ANN, 1, &[])).unwrap();
    outputs(&mut eve);
    let left = Kind::Left { member: ANN, last_seq: 3 };
    hear(&mut eve, Message::new(id(HOST, 1), left, &[id(ANN, 1)], b"").unwrap()).unwrap();
    let outputs = outputs(&mut eve);
    assert_eq!(outputs[0], Output::Gap(MissingRange { member: ANN, from: 2, to: 3 }));
    assert!(matches!(outputs[1], Output::Deliver { .. }));
    assert_eq!((outputs.len(), eve.stats().skipped), (2, 2));
}

// Export and import.

#[test]
fn an_export_keeps_who_is_to_leave_since_when_messages_are_held_and_what_the_departed_said() {
    let mesh = |config: &mut Config| (config.topology, config.retain) = (Topology::Mesh, true);
    let mut host = group(HOST, mesh);
    hear(&mut host, message(ANN, 1, &[])).unwrap();
    host.part(NOW, HOST, ANN, b"").unwrap();
    for from in [BOB, EVE] {
        host.handle_control(NOW, Link::Peer(from), &Control::Flushed { member: ANN, number: 1, count: 0 });
    }
    host.handle_message(Time::from_millis(7), Link::Peer(EVE), message(EVE, 2, &[])).unwrap();
    host.part(NOW, HOST, BOB, b"").unwrap();
    outputs(&mut host);
    let mut again = Group::import(host.config().clone(), &host.export().unwrap()).unwrap();
    assert_eq!(again.held().map(|held| held.since).collect::<Vec<_>>(), [Time::from_millis(7)]);
    assert_eq!(again.retained_count(), 2);
    hear(&mut again, message(BOB, 1, &[])).unwrap();
    assert_eq!(again.delivered(BOB), Some(0), "he is frozen");
    again.handle_control(NOW, Link::Peer(EVE), &Control::Flushed { member: BOB, number: 1, count: 0 });
    assert!(!again.is_member(BOB), "Eve was the only one to ask");
}

/// Frozen, it would be so for good: no host says that it has left itself.
#[test]
fn a_flush_that_names_a_host_changes_nothing() {
    let mut eve = group(EVE, |config| config.retain = true);
    let before = eve.export().unwrap();
    eve.handle_control(NOW, Link::Peer(HOST), &Control::Flush { member: HOST, number: 1, count: 0 });
    assert_eq!((outputs(&mut eve), eve.export().unwrap()), (vec![], before));
    hear(&mut eve, message(HOST, 1, &[])).unwrap();
    assert_eq!(eve.delivered(HOST), Some(1));
}

#[test]
fn an_import_parts_with_and_freezes_only_who_can_leave() {
    let mesh = |config: &mut Config| (config.topology, config.retain) = (Topology::Mesh, true);
    let mut host = group(HOST, mesh);
    host.part(NOW, HOST, BOB, b"").unwrap();
    outputs(&mut host);
    let export = host.export().unwrap();
    let with = |from: &[u8], to: &[u8], last: bool| {
        let mut windows = export.windows(from.len());
        let is = |bytes: &[u8]| bytes == from;
        let at = if last { windows.rposition(is) } else { windows.position(is) }.unwrap();
        let mut export = export.clone();
        export[at..at + to.len()].copy_from_slice(to);
        Group::import(host.config().clone(), &export).map(|_| ())
    };
    let parting = |host: MemberId, member: MemberId| {
        [host, member].map(|id| [id.origin as u8, id.ordinal as u8]).concat()
    };
    let flush = |host, member| [&[1][..], &parting(host, member), &[0]].concat();
    assert_eq!(with(&flush(HOST, BOB), &flush(HOST, BOB), true), Ok(()));
    for (host, member) in [(HOST, HOST), (ANN, BOB), (HOST, MemberId::new(0, 9)), (MemberId::new(1, 0), BOB)]
    {
        let refused = with(&flush(HOST, BOB), &flush(host, member), true);
        assert_eq!(refused, Err(ImportError::Inconsistent), "{host} parts with {member}");
    }
    let frozen = |member: MemberId| {
        let mut bytes = Vec::new();
        [(member, 0)].into_iter().collect::<VectorClock>().encode(&mut bytes);
        bytes
    };
    assert_eq!(with(&frozen(BOB), &frozen(ANN), false), Ok(()));
    assert_eq!(with(&frozen(BOB), &frozen(HOST), false), Err(ImportError::Inconsistent));
}

#[test]
fn parts_of_an_export_that_do_not_fit_each_other_are_refused() {
    fn with(export: &[u8], part: &[u8], other: &[u8]) -> Result<Group, ImportError> {
        assert_eq!(part.len(), other.len());
        let at = export.windows(part.len()).rposition(|bytes| bytes == part).unwrap();
        let mut export = export.to_vec();
        export[at..at + other.len()].copy_from_slice(other);
        let mut config = Config::relay();
        config.retain = true;
        Group::import(config, &export)
    }
    let retain = |config: &mut Config| config.retain = true;
    let packet = |member, seq| message(member, seq, &[]).into_packet();
    let refused =
        |group: Result<Group, ImportError>| assert_eq!(group.err(), Some(ImportError::Inconsistent));

    let mut eve = group(EVE, retain);
    hear(&mut eve, message(ANN, 2, &[])).unwrap();
    outputs(&mut eve);
    let export = eve.export().unwrap();
    assert!(with(&export, &packet(ANN, 2), &packet(ANN, 3)).is_ok(), "held as well");
    refused(with(&export, &packet(ANN, 2), &packet(ANN, 1)));

    let mut eve = group(EVE, retain);
    let clock = |ann| {
        let counts = [(HOST, 0), (ANN, ann), (BOB, 0), (EVE, 0)];
        let mut bytes = Vec::new();
        counts.into_iter().collect::<VectorClock>().encode(&mut bytes);
        bytes
    };
    refused(with(&eve.export().unwrap(), &clock(0), &clock(1)));

    hear(&mut eve, message(ANN, 1, &[])).unwrap();
    outputs(&mut eve);
    let export = eve.export().unwrap();
    assert!(with(&export, &packet(ANN, 1), &packet(ANN, 1)).is_ok());
    refused(with(&export, &packet(ANN, 1), &packet(BOB, 1)));
}

// Decoding.

#[test]
fn what_is_no_message_is_refused_by_name() {
    let decode = |bytes: &[u8]| Message::decode(bytes.to_vec().into());
    assert_eq!(decode(&[7, 0, 0, 1, 0, 1]), Err(DecodeError::UnknownKind(7)));
    assert_eq!(decode(&[0, 0, 1, 1, 1, 2, 3, 1, 1, 0, 2, 1, 1, 0]), Err(DecodeError::DependenciesUnsorted));
    assert_eq!(decode(&[0, 0, 1, 1, 1, 1, 0, 1, 1, 0]), Err(DecodeError::DependenciesUnsorted));
    assert_eq!(decode(&[1, 0, 1, 1, 0, 2]), Err(DecodeError::NotHost));
    assert_eq!(decode(&[1, 0, 0, 1, 0, 0]), Err(DecodeError::NotHost));
}
