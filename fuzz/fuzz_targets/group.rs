//! A group driven by arbitrary calls: honest traffic of another server, forged messages, lying clocks.
//!
//! Two groups do the same side by side: the subject, and a clone of it taken at an arbitrary moment, which must
//! answer alike for ever after.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::iter::from_fn;
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use cbcast::wire::Reader;
use cbcast::{
    Config, Control, Expulsion, GapPolicy, Group, Kind, Link, MemberId, Message, MessageId, MissingRange,
    Output, Packet, ReceiveError, Relation, Signature, Snapshot, Time, Topology, Transmit, VectorClock,
};
use libfuzzer_sys::fuzz_target;

/// Few members and small numbers, so that things meet; now and then anything.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Who(u8);

impl Who {
    fn id(self) -> MemberId {
        match self.0 {
            255 => MemberId::new(u32::MAX, u32::MAX),
            254 => MemberId::new(0, u32::MAX),
            n => MemberId::new(u32::from(n / 8 % 3), u32::from(n % 8)),
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Small(u8),
    Any(u64),
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Self::Small(n) => u64::from(n % 16),
            Self::Any(n) => n,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum By {
    Member(Who),
    Sender,
    Relay,
    Peer(Who),
    SenderPeer,
}

impl By {
    fn link(self, sender: MemberId) -> Link {
        match self {
            Self::Member(who) => Link::Member(who.id()),
            Self::Sender => Link::Member(sender),
            Self::Relay => Link::Relay,
            Self::Peer(who) => Link::Peer(who.id()),
            Self::SenderPeer => Link::Peer(sender),
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum What {
    Data,
    Joined(Who),
    Left(Who, Number),
    Signed,
    Hosted(u8),
    Expelled((Who, Number), Option<(Who, Number)>),
}

impl What {
    fn kind(self) -> Kind {
        match self {
            Self::Data => Kind::Data,
            Self::Joined(who) => Kind::Joined(who.id()),
            Self::Left(who, last_seq) => Kind::Left { member: who.id(), last_seq: last_seq.get() },
            Self::Signed => Kind::Signed(Signature::NONE),
            Self::Hosted(origin) => Kind::Hosted { origin: u32::from(origin % 4), server: 1 },
            Self::Expelled(one, other) => {
                let counts = [Some(one), other].into_iter().flatten();
                let counts = counts
                    .flat_map(|(who, n)| [(MemberId::host(who.id().origin), n.get()), (who.id(), n.get())]);
                Kind::Expelled { home: 1, counts: counts.collect() }
            }
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Op<'a> {
    Broadcast {
        from: Who,
        bytes: u8,
    },
    Admit {
        host: Who,
        local: bool,
        bytes: u8,
    },
    Part {
        host: Who,
        member: Who,
    },
    /// The other server, honest, says something, admits, parts, or takes what the subject has sent.
    OtherSays {
        from: Who,
        bytes: u8,
    },
    OtherAdmits {
        local: bool,
    },
    OtherParts {
        member: Who,
    },
    OtherTakes {
        which: u8,
    },
    /// One of the packets there are arrives.
    Arrive {
        which: u8,
        by: By,
    },
    Forge {
        by: By,
        from: Who,
        seq: Number,
        what: What,
        deps: Vec<(Who, Number)>,
        bytes: u8,
    },
    Bytes {
        by: By,
        packet: &'a [u8],
    },
    Clock {
        by: By,
        entries: Vec<(Who, Number)>,
    },
    /// What a member that has delivered as much as the subject would acknowledge.
    Acknowledge {
        peer: Who,
    },
    Want {
        by: By,
        ranges: Vec<(Who, Number, Number)>,
    },
    Flush {
        by: By,
        member: Who,
        count: Number,
    },
    Flushed {
        by: By,
        member: Who,
        count: Number,
    },
    Relation {
        a: (Who, Number),
        b: (Who, Number),
    },
    Later {
        millis: u16,
    },
    Timeout,
    Readopt {
        from: Who,
        seq: Number,
        deps: Vec<(Who, Number)>,
    },
    ReadoptPacket {
        which: u8,
    },
    /// Another host is taken in, origins are frozen and expelled.
    Sponsor {
        origin: u8,
    },
    Freeze {
        origins: [u8; 2],
    },
    Expel {
        origins: [u8; 2],
        counts: Vec<(Who, Number)>,
    },
    Fork,
    /// The process goes on from its own snapshot, without what it held.
    Restart,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// What the subject is: a server with its host, or a process of one member, or nobody in particular.
    role: u8,
    limits: [u8; 5],
    mesh: u8,
    ops: Vec<Op<'a>>,
}

fn config(limits: [u8; 5], mesh: u8) -> Config {
    let mut config = Config::relay();
    config.members_max = 2 + usize::from(limits[0] % 6);
    config.packet_bytes_max = 64 + usize::from(limits[1]);
    config.holdback_max = usize::from(limits[2] % 12);
    config.holdback_bytes_max = usize::from(limits[3]) * 4;
    config.ahead_max = u64::from(limits[4] % 8);
    config.early_max = usize::from(limits[4] / 8 % 8);
    config.repair_ranges_max = 1 + usize::from(limits[4] / 64);
    config.repair_delay = Duration::from_millis(10);
    config.repair_delay_max = Duration::from_millis(200);
    config.retain = mesh & 1 != 0;
    config.topology = if mesh & 17 == 17 { Topology::Mesh } else { Topology::Relay };
    config.heartbeat = (mesh & 2 != 0).then_some(Duration::from_millis(50));
    if mesh & 4 != 0 {
        config.gap_policy = GapPolicy::Skip { after: Duration::from_millis(10 + u64::from(mesh / 16)) };
    }
    config.unstable_max = if mesh & 8 != 0 { 3 } else { 1_000 };
    config
}

/// All of the state that can matter: what an export holds, and the timers. The time told last stands behind the
/// export's version; a refused call tells it, too.
fn state(group: &Group) -> (Vec<u8>, Option<Time>) {
    let export = group.export().expect("outputs are drained after each call");
    let mut reader = Reader::new(&export[1..]);
    reader.varint().expect("the time of the export");
    (reader.rest().to_vec(), group.poll_timeout())
}

fn dependencies(deps: &[(Who, Number)], sender: MemberId) -> Vec<MessageId> {
    let deps: BTreeMap<MemberId, u64> = deps.iter().map(|(who, seq)| (who.id(), seq.get())).collect();
    deps.into_iter().filter(|(m, _)| *m != sender).map(|(m, seq)| MessageId::new(m, seq)).collect()
}

struct Subject {
    group: Group,
    twin: Group,
    locals: Vec<MemberId>,
    delivered: BTreeSet<MessageId>,
    last: BTreeMap<MemberId, u64>,
    /// Delivered since the group was made, and how many of those had been held.
    deliveries: u64,
    released: u64,
    skipped: u64,
    stable: BTreeMap<MemberId, u64>,
    sent: Vec<Message>,
}

impl Subject {
    /// Does the same to both, and looks at what comes of it.
    fn act<T: PartialEq + std::fmt::Debug>(&mut self, act: impl Fn(&mut Group) -> T) -> T {
        let result = act(&mut self.group);
        assert_eq!(result, act(&mut self.twin), "the clone answers alike");
        let outputs: Vec<Output> = from_fn(|| self.group.poll_output()).collect();
        let same: Vec<Output> = from_fn(|| self.twin.poll_output()).collect();
        assert_eq!(outputs, same, "the clone does the same");
        assert_eq!(self.group.poll_output(), None);
        for output in outputs {
            match output {
                Output::Deliver { message, held_since } => {
                    let id = message.id();
                    assert!(self.delivered.insert(id), "{id} twice");
                    let last = self.last.insert(id.member, id.seq).unwrap_or(id.seq - 1);
                    assert_eq!(last + 1, id.seq, "{id} out of turn");
                    assert!(self.group.has_delivered(id));
                    self.deliveries += 1;
                    self.released += u64::from(held_since.is_some());
                }
                Output::Held { id, waits_for } => assert_ne!(id, waits_for),
                Output::Transmit(Transmit { to: None, packet: Packet::Message(message) }) => {
                    self.sent.push(message)
                }
                Output::Transmit(Transmit { packet: Packet::Message(message), .. }) => {
                    assert!(self.group.has_delivered(message.id()));
                }
                Output::Transmit(Transmit { packet: Packet::Control(control), .. }) => {
                    if let Control::Want(ranges) = &control {
                        let most = self.group.config().repair_ranges_max;
                        assert!(!ranges.is_empty() && ranges.len() <= most);
                    }
                    let bytes = Bytes::from(control.encode());
                    assert_eq!(Packet::decode(bytes), Ok(Packet::Control(control)));
                }
                Output::Stable(cut) => {
                    for (member, count) in cut.iter() {
                        if let Some(delivered) = self.group.delivered(member) {
                            assert!(count <= delivered);
                        }
                    }
                }
                Output::Gap(MissingRange { member, from, to }) => {
                    // Hosts are given up with their origin only.
                    assert!(from <= to && (!member.is_host() || !self.group.is_member(member)));
                    let last = self.last.insert(member, to).unwrap_or(from - 1);
                    assert_eq!(last + 1, from, "a gap that does not follow");
                    self.skipped = self.skipped.saturating_add(to - from + 1);
                }
                _ => {}
            }
        }
        self.check();
        for (member, _) in self.group.clock().iter() {
            if let Some(count) = self.group.stable(member) {
                let before = self.stable.insert(member, count).unwrap_or(0);
                assert!(before <= count, "less of {member} is stable now");
                assert!(self.group.delivered(member) >= Some(count), "stable and not delivered");
            }
            if let Some(holder) = self.group.stability_holder(member) {
                assert!(self.group.is_member(holder));
            }
        }
        result
    }

    fn check(&self) {
        let group = &self.group;
        let (config, stats) = (group.config(), group.stats());
        assert!(group.held_count() <= config.holdback_max);
        assert!(group.held_bytes() <= config.holdback_bytes_max);
        assert_eq!((stats.delivered, stats.skipped), (self.deliveries, self.skipped));
        assert!(config.retain || group.retained_count() == 0);
        assert_eq!(stats.held, group.held_count() as u64 + self.released + stats.discarded);
        let clock = group.clock();
        assert!(clock.len() <= config.members_known_max());
        for (member, count) in clock.iter() {
            let last = self.last.get(&member).copied();
            assert!(last.is_none_or(|last| last == count), "{member} is at {count}, not {last:?}");
            assert_eq!(group.delivered(member), Some(count));
        }

        let held: Vec<_> = group.held().collect();
        assert_eq!(held.len(), group.held_count());
        let is_held = |id| held.iter().any(|h| h.id == id);
        for h in &held {
            assert!(!group.has_delivered(h.id));
            assert_eq!(group.waits_for(h.id), Some(h.waits_for));
            assert!(!group.has_delivered(h.waits_for), "{h:?} could be delivered");
            assert!(group.held_payload(h.id).is_some());
            if let Some(root) = group.root_cause(h.id) {
                assert!(!group.has_delivered(root) && !is_held(root), "{root} at the root of {h:?}");
            }
        }

        for most in [1, 2, usize::MAX] {
            // The most useful first; sorted they must lie apart.
            let mut missing = group.missing(most);
            missing.sort_by_key(|range| (range.member, range.from));
            assert!(missing.len() <= most);
            for range in &missing {
                let (from, to) =
                    (MessageId::new(range.member, range.from), MessageId::new(range.member, range.to));
                assert!(range.from <= range.to, "{range:?}");
                assert!(
                    !group.has_delivered(from) && !is_held(from),
                    "{range:?} begins with one that is here"
                );
                assert!(!is_held(to), "{range:?} ends with one that is here");
            }
            let apart = |w: &[cbcast::MissingRange]| (w[0].member, w[0].to) < (w[1].member, w[1].from);
            assert!(missing.windows(2).all(apart), "{missing:?}");
            assert!(missing.is_empty() || group.poll_timeout().is_some(), "nobody would ask for {missing:?}");
        }

        let frontier = group.frontier();
        assert!(frontier.windows(2).all(|w| w[0].member < w[1].member));
        assert!(frontier.iter().all(|id| group.delivered(id.member) == Some(id.seq)));
    }

    fn restart(&mut self) {
        let snapshot = self.group.snapshot();
        let mut bytes = Vec::new();
        snapshot.encode(&mut bytes);
        let read = Snapshot::decode(&mut Reader::new(&bytes)).expect("its own snapshot");
        assert_eq!(read, snapshot);
        self.group = Group::new(self.group.config().clone(), &read, self.locals.iter().copied())
            .expect("limits that can be");
        self.twin = self.group.clone();
        assert_eq!(self.group.snapshot(), snapshot);
        (self.deliveries, self.released, self.skipped) = (0, 0, 0);
        self.stable.clear();
        self.check();
    }
}

fuzz_target!(|input: Input<'_>| {
    let hosts = Snapshot::hosts([0, 1]);
    let mut other = Group::new(Config::relay(), &hosts, [MemberId::host(1)]).expect("limits that can be");
    let (snapshot, locals) = match input.role % 3 {
        0 => (hosts, vec![MemberId::host(0)]),
        1 => (Snapshot::fixed([0, 1].map(|n| MemberId::new(0, n))), vec![MemberId::new(0, 1)]),
        _ => (hosts, vec![]),
    };
    let group = Group::new(config(input.limits, input.mesh), &snapshot, locals.iter().copied())
        .expect("limits that can be");
    let mut subject = Subject {
        twin: group.clone(),
        group,
        locals,
        delivered: BTreeSet::new(),
        last: BTreeMap::new(),
        deliveries: 0,
        released: 0,
        skipped: 0,
        stable: BTreeMap::new(),
        sent: Vec::new(),
    };
    let mut now = Time::ZERO;
    let mut packets: Vec<Message> = Vec::new();
    let text = [b'x'; 255];
    for op in input.ops {
        match op {
            Op::Broadcast { from, bytes } => {
                let payload = &text[..usize::from(bytes)];
                let before = state(&subject.group);
                if subject.act(|g| g.broadcast(now, from.id(), payload)).is_err() {
                    assert_eq!(before, state(&subject.group), "a refusal has left a trace");
                }
            }
            Op::Admit { host, local, bytes } => {
                let payload = &text[..usize::from(bytes)];
                let before = state(&subject.group);
                match subject.act(|g| g.admit(now, host.id(), local, payload)) {
                    Ok(member) if local => subject.locals.push(member),
                    Ok(_) => {}
                    Err(_) => assert_eq!(before, state(&subject.group), "a refusal has left a trace"),
                }
            }
            Op::Part { host, member } => {
                let before = state(&subject.group);
                match subject.act(|g| g.part(now, host.id(), member.id(), b"")) {
                    Ok(left) => assert!(left.is_none() || !subject.group.is_member(member.id())),
                    Err(_) => assert_eq!(before, state(&subject.group), "a refusal has left a trace"),
                }
            }
            Op::OtherSays { from, bytes } => {
                let _ = other.broadcast(now, from.id(), &text[..usize::from(bytes)]);
            }
            Op::OtherAdmits { local } => {
                let _ = other.admit(now, MemberId::host(1), local, b"");
            }
            Op::OtherParts { member } => {
                let _ = other.part(now, MemberId::host(1), member.id(), b"");
            }
            Op::OtherTakes { which } => {
                if let Some(message) = subject.sent.get(usize::from(which)) {
                    let _ = other.handle_message(now, Link::Relay, message.clone());
                }
            }
            Op::Arrive { which, by } => {
                if let Some(message) = packets.get(usize::from(which)) {
                    arrive(&mut subject, now, by, message.clone());
                }
            }
            Op::Forge { by, from, seq, what, deps, bytes } => {
                let (id, deps) = (MessageId::new(from.id(), seq.get()), dependencies(&deps, from.id()));
                if let Ok(message) = Message::new(id, what.kind(), &deps, &text[..usize::from(bytes)]) {
                    packets.push(message.clone());
                    arrive(&mut subject, now, by, message);
                }
            }
            Op::Bytes { by, packet } => {
                if let Ok(message) = Message::decode(Bytes::copy_from_slice(packet)) {
                    arrive(&mut subject, now, by, message);
                }
            }
            Op::Clock { by, entries } => {
                let clock: VectorClock = entries.iter().map(|(who, n)| (who.id(), n.get())).collect();
                let link = by.link(MemberId::host(1));
                let before = subject.group.clock();
                subject.act(|g| g.handle_clock(now, link, &clock));
                assert_eq!(before, subject.group.clock(), "hearsay is not delivery");
            }
            Op::Acknowledge { peer } => {
                let clock = subject.group.clock();
                subject.act(|g| g.handle_control(now, Link::Peer(peer.id()), &Control::Clock(clock.clone())));
            }
            Op::Want { by, ranges } => {
                let ranges = ranges.iter().filter_map(|(who, from, more)| {
                    let from = from.get();
                    Some(MissingRange { member: who.id(), from, to: from.checked_add(more.get())? })
                });
                let control = Control::Want(ranges.collect());
                subject.act(|g| g.handle_control(now, by.link(MemberId::host(1)), &control));
            }
            Op::Flush { by, member, count } => {
                let control = Control::Flush { member: member.id(), number: 1, count: count.get() };
                subject.act(|g| g.handle_control(now, by.link(MemberId::host(member.id().origin)), &control));
            }
            Op::Flushed { by, member, count } => {
                let control = Control::Flushed { member: member.id(), number: 1, count: count.get() };
                subject.act(|g| g.handle_control(now, by.link(MemberId::host(1)), &control));
            }
            Op::Relation { a, b } => {
                let [a, b] = [a, b].map(|(who, seq)| MessageId::new(who.id(), seq.get()));
                let reverse = subject.group.relation(b, a).map(|relation| match relation {
                    Relation::Before => Relation::After,
                    Relation::After => Relation::Before,
                    other => other,
                });
                assert_eq!(subject.group.relation(a, b), reverse);
            }
            Op::Later { millis } => now = now + Duration::from_millis(millis.into()),
            Op::Timeout => {
                let due = subject.group.poll_timeout().is_some_and(|at| at <= now);
                let before = state(&subject.group);
                subject.act(|g| g.handle_timeout(now));
                if due {
                    assert!(subject.group.poll_timeout().is_none_or(|at| at > now), "it would spin");
                } else {
                    assert_eq!(before, state(&subject.group), "an early call does nothing");
                }
            }
            Op::Readopt { from, seq, deps } => {
                let (id, deps) = (MessageId::new(from.id(), seq.get()), dependencies(&deps, from.id()));
                if let Ok(message) = Message::new(id, Kind::Data, &deps, b"") {
                    readopt(&mut subject, now, message);
                }
            }
            Op::ReadoptPacket { which } => {
                if let Some(message) = packets.get(usize::from(which)) {
                    readopt(&mut subject, now, message.clone());
                }
            }
            Op::Sponsor { origin } => {
                let before = state(&subject.group);
                if subject.act(|g| g.sponsor(now, MemberId::host(0), u32::from(origin % 4), 1, b"")).is_err()
                {
                    assert_eq!(before, state(&subject.group), "a refusal has left a trace");
                }
            }
            Op::Freeze { origins } => {
                let before = state(&subject.group);
                let origins = origins.map(|origin| u32::from(origin % 4));
                if subject.act(|g| g.freeze(now, origins)).is_err() {
                    assert_eq!(before, state(&subject.group), "a refusal has left a trace");
                }
            }
            Op::Expel { origins, counts } => {
                let origins = origins.map(|origin| u32::from(origin % 4));
                let mut expulsion = Expulsion::new(origins);
                expulsion.answer(1, &counts.iter().map(|(who, n)| (who.id(), n.get())).collect());
                if subject.act(|g| g.expel(now, MemberId::host(0), &expulsion, 0, b"")).is_ok() {
                    assert!(origins.iter().all(|&origin| !subject.group.is_member(MemberId::host(origin))));
                }
            }
            Op::Fork => {
                let whole = format!("{:?}", subject.group);
                assert_eq!(whole, format!("{:?}", subject.twin), "the clone is in the same state");
                subject.twin = subject.group.clone();
            }
            Op::Restart => subject.restart(),
        }
        packets.extend(from_fn(|| other.poll_output()).filter_map(|output| match output {
            Output::Transmit(Transmit { to: None, packet: Packet::Message(message) }) => Some(message),
            _ => None,
        }));
    }
    assert_eq!(format!("{:?}", subject.group), format!("{:?}", subject.twin));
});

fn arrive(subject: &mut Subject, now: Time, by: By, message: Message) {
    let before = state(&subject.group);
    let (here, held) = (subject.group.has_delivered(message.id()), subject.group.held_count());
    let clock = subject.group.clock();
    let link = by.link(message.id().member);
    let deliveries = subject.deliveries;
    let taken = subject.act(|g| g.handle_message(now, link, message.clone()));
    if let Err(ReceiveError::HoldbackFull { .. } | ReceiveError::TooFarAhead { .. }) = taken {
        // What it shows to be missing is taken note of; and a Left lets through what it counts.
        assert!(!subject.group.has_delivered(message.id()));
        assert!(subject.group.held_count() <= held);
        if !lets_others_through(&message) {
            assert_eq!((subject.group.clock(), subject.deliveries), (clock, deliveries));
        }
    } else if (taken.is_err() && !lets_others_through(&message)) || here {
        assert_eq!(before, state(&subject.group), "a refusal or a copy has left a trace");
        assert_eq!(deliveries, subject.deliveries);
    }
}

/// What it says of the frozen counts on arrival.
fn lets_others_through(message: &Message) -> bool {
    matches!(message.kind(), Kind::Left { .. } | Kind::Expelled { .. })
}

fn readopt(subject: &mut Subject, now: Time, message: Message) {
    let before = state(&subject.group);
    if subject.act(|g| g.readopt(now, message.clone())) {
        assert!(subject.group.has_delivered(message.id()));
    } else {
        assert_eq!(before, state(&subject.group), "a refusal has left a trace");
    }
}
