//! Processes that come back from what they have stored, at any moment, and have promised nothing that is not in there.

use std::collections::BTreeMap;
use std::time::Duration;

use cbcast::{
    BroadcastError, Config, Control, ExportError, GapPolicy, Group, Link, Mark, MemberId, Message, MessageId,
    Output, Packet, ReceiveError, Snapshot, Time, Transmit, VectorClock,
};
use cbcast_sim::drive::{message, outputs};
use cbcast_sim::{Oracle, SplitMix64};

const HOST: MemberId = MemberId::new(0, 0);
const ANN: MemberId = MemberId::new(0, 1);
const BOB: MemberId = MemberId::new(0, 2);
const NOW: Time = Time::ZERO;

fn config() -> Config {
    let mut config = Config::mesh();
    config.durable = true;
    config
}

fn group(me: MemberId) -> Group {
    Group::new(config(), &Snapshot::fixed([HOST, ANN, BOB]), [me]).unwrap()
}

fn transmits(group: &mut Group) -> Vec<(Option<MemberId>, Packet)> {
    let transmit =
        |o| if let Output::Transmit(Transmit { to, packet }) = o { Some((to, packet)) } else { None };
    outputs(group).into_iter().filter_map(transmit).collect()
}

fn hear(group: &mut Group, from: MemberId, message: &Message) {
    group.handle_message(NOW, Link::Peer(from), message.clone()).unwrap();
}

fn clock(counts: [(MemberId, u64); 3]) -> VectorClock {
    counts.into_iter().collect()
}

#[test]
fn nothing_is_promised_before_it_is_stored() {
    let mut ann = group(ANN);
    let id = ann.broadcast(NOW, ANN, b"x").unwrap();
    assert!(
        matches!(&outputs(&mut ann)[..], [Output::Deliver { .. }]),
        "delivered here at once, and not sent"
    );
    hear(&mut ann, BOB, &message(BOB, 1, &[]));
    outputs(&mut ann);
    assert_eq!(ann.clock(), clock([(HOST, 0), (ANN, 1), (BOB, 1)]));
    ann.handle_timeout(NOW);
    let nothing = clock([(HOST, 0), (ANN, 0), (BOB, 0)]);
    assert_eq!(transmits(&mut ann), [(None, Packet::Control(Control::Clock(nothing)))]);
    let want = Control::Want(vec![cbcast::MissingRange { member: ANN, from: 1, to: 1 }]);
    ann.handle_control(NOW, Link::Peer(BOB), &want);
    assert_eq!(transmits(&mut ann), [], "nor sent because somebody guesses that it is there");

    let (before, mark) = (Mark::default(), ann.mark());
    ann.persisted(before);
    assert_eq!(transmits(&mut ann), []);
    ann.persisted(mark);
    let sent = transmits(&mut ann);
    assert!(matches!(&sent[..], [(None, Packet::Message(m))] if m.id() == id), "{sent:?}");
    ann.handle_timeout(ann.poll_timeout().unwrap());
    let all = clock([(HOST, 0), (ANN, 1), (BOB, 1)]);
    assert_eq!(ann.acknowledged(), all);
    assert_eq!(transmits(&mut ann), [(None, Packet::Control(Control::Clock(all)))]);
    ann.handle_control(NOW, Link::Peer(BOB), &want);
    assert_eq!(transmits(&mut ann).len(), 1);
}

/// All others have acknowledged it. What this process has not stored it may have to ask for again itself.
#[test]
fn what_is_not_stored_here_is_not_stable() {
    let mut ann = group(ANN);
    hear(&mut ann, BOB, &message(BOB, 1, &[]));
    for peer in [HOST, BOB] {
        ann.handle_clock(NOW, Link::Peer(peer), &clock([(HOST, 0), (ANN, 0), (BOB, 1)]));
    }
    assert!(matches!(&outputs(&mut ann)[..], [Output::Deliver { .. }]));
    assert_eq!((ann.stable(BOB), ann.retained_count()), (Some(0), 1));
    let mark = ann.mark();
    hear(&mut ann, BOB, &message(BOB, 2, &[]));
    for peer in [HOST, BOB] {
        ann.handle_clock(NOW, Link::Peer(peer), &clock([(HOST, 0), (ANN, 0), (BOB, 2)]));
    }
    outputs(&mut ann);
    ann.persisted(mark);
    assert_eq!(outputs(&mut ann), [Output::Stable([(BOB, 1)].into_iter().collect())]);
    assert_eq!((ann.stable(BOB), ann.retained_count()), (Some(1), 1), "the second is not stored");
}

/// A host counts it, and the one who has reported must not take more once it has come back.
#[test]
fn a_report_on_who_leaves_waits_until_it_is_stored() {
    let mut bob = group(BOB);
    hear(&mut bob, ANN, &message(ANN, 1, &[]));
    outputs(&mut bob);
    let base = bob.export().unwrap();
    let start = bob.mark();
    bob.handle_control(NOW, Link::Peer(HOST), &Control::Flush { member: ANN, number: 1, count: 0 });
    assert_eq!(transmits(&mut bob), []);
    let (mark, changes) = (bob.mark(), bob.changes_since(start).unwrap());
    bob.persisted(mark);
    let report = Packet::Control(Control::Flushed { member: ANN, number: 1, count: 1 });
    assert_eq!(transmits(&mut bob), [(Some(HOST), report)]);
    let mut again = Group::import(config(), &base).unwrap();
    again.replay(&changes).unwrap();
    hear(&mut again, ANN, &message(ANN, 2, &[]));
    assert_eq!(again.delivered(ANN), Some(1), "it is frozen");

    // So does what a host asks, and that it has called it off.
    let mut host = group(HOST);
    host.part(NOW, HOST, ANN, b"").unwrap();
    host.call_off_parting(NOW, HOST, ANN).unwrap();
    assert_eq!(transmits(&mut host), []);
    let mark = host.mark();
    host.persisted(mark);
    assert_eq!(transmits(&mut host).len(), 2);
}

#[test]
fn changes_that_are_not_stored_are_bounded() {
    let mut small = config();
    small.unpersisted_max = 2;
    let mut ann = Group::new(small, &Snapshot::fixed([HOST, ANN, BOB]), [ANN]).unwrap();
    for _ in 0..2 {
        ann.broadcast(NOW, ANN, b"x").unwrap();
    }
    assert_eq!(ann.broadcast(NOW, ANN, b"x"), Err(BroadcastError::Unpersisted { limit: 2 }));
    let refused = ann.handle_message(NOW, Link::Peer(BOB), message(BOB, 1, &[])).unwrap_err();
    assert_eq!(refused, ReceiveError::Unpersisted { limit: 2 });
    assert!(!refused.is_final());
    let mark = ann.mark();
    ann.persisted(mark);
    ann.handle_message(NOW, Link::Peer(BOB), message(BOB, 1, &[])).unwrap();
    ann.broadcast(NOW, ANN, b"x").unwrap();
}

/// Members that come and go, of this process and of others, messages that are given up, one that waited: after it all
/// the same group.
#[test]
fn changes_bring_an_export_up_to_what_it_would_be_now() {
    let config = || {
        let mut config = config();
        (config.topology, config.retain) = (cbcast::Topology::Relay, false);
        config.gap_policy = GapPolicy::Skip { after: Duration::from_secs(1) };
        config
    };
    let mut host = Group::new(config(), &Snapshot::fixed([HOST, ANN, BOB]), [HOST]).unwrap();
    hear(&mut host, ANN, &message(ANN, 2, &[]));
    outputs(&mut host);
    assert_eq!(host.changes_since(Mark::default()).map(|changes| changes.len()), Ok(10), "next to nothing");
    let (base, start) = (host.export().unwrap(), host.mark());
    let mut pieces = Vec::new();
    let mut last = start;
    type Step = Box<dyn FnMut(&mut Group)>;
    let mut steps: Vec<Step> = vec![
        Box::new(|host| _ = host.admit(NOW, HOST, true, b"").unwrap()),
        Box::new(|host| _ = host.broadcast(NOW, MemberId::new(0, 3), b"hello").unwrap()),
        Box::new(|host| _ = host.admit(NOW, HOST, false, b"").unwrap()),
        Box::new(|host| hear(host, MemberId::new(0, 4), &message(MemberId::new(0, 4), 1, &[]))),
        Box::new(|host| hear(host, ANN, &message(ANN, 1, &[]))),
        Box::new(|host| hear(host, BOB, &message(BOB, 3, &[]))),
        Box::new(|host| {
            for _ in 0..99 {
                host.handle_timeout(host.poll_timeout().unwrap());
                outputs(host);
            }
            assert_eq!(host.delivered(BOB), Some(3), "given up");
        }),
        Box::new(|host| _ = host.part(NOW, HOST, MemberId::new(0, 3), b"").unwrap()),
        Box::new(|host| _ = host.broadcast(NOW, HOST, b"bye").unwrap()),
        Box::new(|host| _ = host.admit(NOW, HOST, true, b"").unwrap()),
    ];
    for step in &mut steps {
        step(&mut host);
        outputs(&mut host);
        pieces.extend(host.changes_since(last).unwrap());
        last = host.mark();
    }
    let mut again = Group::import(config(), &base).unwrap();
    assert_eq!(again.held_count(), 1);
    again.replay(&pieces).unwrap();
    assert_eq!(outputs(&mut again), [], "nothing is told twice");
    assert_eq!(again.export().unwrap(), host.export().unwrap());
    assert_eq!(again.acknowledged(), host.clock(), "all of it is on disk");
    assert!(again.is_local(HOST) && !again.is_local(MemberId::new(0, 4)));
    again.broadcast(NOW, HOST, b"x").unwrap();
    again.broadcast(NOW, MemberId::new(0, 5), b"x").unwrap();

    let mut once = Group::import(config(), &base).unwrap();
    once.replay(&host.changes_since(start).unwrap()).unwrap();
    assert_eq!(once.export().unwrap(), host.export().unwrap(), "in one piece");
    for cut in 1..pieces.len() {
        // Refused or taken, but never a panic.
        let _ = Group::import(config(), &base).unwrap().replay(&pieces[..cut]);
    }
    assert!(Group::import(config(), &base).unwrap().replay(&pieces[9..]).is_err(), "they do not follow");
    let mark = host.mark();
    host.persisted(mark);
    outputs(&mut host);
    assert_eq!(host.changes_since(start), Err(ExportError::NotKept));
}

/// Processes that store now and then, a while before they know that it is stored, and are killed at any moment.
struct World {
    random: SplitMix64,
    now: Time,
    processes: BTreeMap<MemberId, Process>,
    network: Vec<(MemberId, MemberId, Packet)>,
    oracle: Oracle<(MemberId, Shelf), u64>,
    /// Names of messages for the oracle: a number may be given again if nobody has seen its message.
    named: BTreeMap<MessageId, u64>,
    kills: u64,
}

struct Process {
    group: Group,
    base: Vec<u8>,
    changes: Vec<u8>,
    mark: Mark,
    /// Bytes on their way to the disk: a whole export, or a piece of changes.
    storing: Option<(bool, Vec<u8>, Mark)>,
}

/// State of a process that the oracle sees: as it is, as it is on its way to the disk, as it is there.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Shelf {
    Live,
    Storing,
    Stored,
}

impl World {
    fn new(seed: u64) -> Self {
        let members = [HOST, ANN, BOB];
        let process = |me| {
            let mut config = config();
            config.seed = seed;
            let group = Group::new(config, &Snapshot::fixed(members), [me]).unwrap();
            let base = group.export().unwrap();
            (me, Process { group, base, changes: Vec::new(), mark: Mark::default(), storing: None })
        };
        Self {
            random: SplitMix64(seed),
            now: NOW,
            processes: members.into_iter().map(process).collect(),
            network: Vec::new(),
            oracle: Oracle::new(),
            named: BTreeMap::new(),
            kills: 0,
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n as u64) as usize
    }

    fn drain(&mut self, who: MemberId) {
        while let Some(output) = self.processes.get_mut(&who).and_then(|p| p.group.poll_output()) {
            match output {
                Output::Transmit(Transmit { to, packet }) => {
                    for other in
                        [HOST, ANN, BOB].into_iter().filter(|&m| m != who && to.is_none_or(|to| to == m))
                    {
                        if self.below(5) > 0 {
                            self.network.push((who, other, packet.clone()));
                        }
                    }
                }
                Output::Deliver { message, .. } if message.id().member == who => {
                    let name = self.oracle.broadcasts() as u64;
                    self.named.insert(message.id(), name);
                    self.oracle.broadcast((who, Shelf::Live), name).unwrap();
                }
                Output::Deliver { message, .. } => {
                    self.oracle.deliver((who, Shelf::Live), &self.named[&message.id()]).unwrap();
                }
                Output::Rollback { member, seq } => panic!("{member} has promised {seq}"),
                Output::Held { .. } | Output::Stable(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn begin_to_store(&mut self, who: MemberId) {
        let whole = self.below(4) == 0;
        let process = self.processes.get_mut(&who).unwrap();
        if process.storing.is_none() {
            let bytes = match whole {
                true => process.group.export(),
                false => process.group.changes_since(process.mark),
            };
            process.storing = Some((whole, bytes.unwrap(), process.group.mark()));
            self.oracle.starts_from((who, Shelf::Storing), &(who, Shelf::Live));
        }
    }

    fn is_stored(&mut self, who: MemberId) {
        let process = self.processes.get_mut(&who).unwrap();
        let Some((whole, bytes, mark)) = process.storing.take() else { return };
        match whole {
            true => (process.base, process.changes) = (bytes, Vec::new()),
            false => process.changes.extend(bytes),
        }
        process.mark = mark;
        process.group.persisted(mark);
        self.oracle.starts_from((who, Shelf::Stored), &(who, Shelf::Storing));
        self.drain(who);
    }

    fn kill(&mut self, who: MemberId) {
        let process = self.processes.get_mut(&who).unwrap();
        let config = process.group.config().clone();
        process.group = Group::import(config, &process.base).unwrap();
        process.group.replay(&process.changes).unwrap();
        (process.storing, process.mark) = (None, process.group.mark());
        self.oracle.starts_from((who, Shelf::Live), &(who, Shelf::Stored));
        self.kills += 1;
        self.drain(who);
    }

    fn step(&mut self, kills: bool) {
        let who = [HOST, ANN, BOB][self.below(3)];
        match self.below(40) {
            0..20 if !self.network.is_empty() => {
                let index = self.below(self.network.len());
                let (from, to, packet) = self.network.swap_remove(index);
                let group = &mut self.processes.get_mut(&to).unwrap().group;
                group.handle_packet(self.now, Link::Peer(from), packet).unwrap();
                self.drain(to);
            }
            20..26 => self.begin_to_store(who),
            26..32 => self.is_stored(who),
            32 if kills => self.kill(who),
            33..36 if kills => {
                let _ = self.processes.get_mut(&who).unwrap().group.broadcast(self.now, who, b"x");
                self.drain(who);
            }
            _ => {
                self.now = self.now + Duration::from_millis(20);
                let group = &mut self.processes.get_mut(&who).unwrap().group;
                group.handle_timeout(self.now);
                self.drain(who);
            }
        }
    }

    fn is_settled(&self) -> bool {
        let clocks: Vec<_> = self.processes.values().map(|p| p.group.acknowledged()).collect();
        let idle = |p: &Process| p.group.held_count() == 0 && p.group.retained_count() == 0;
        clocks.windows(2).all(|w| w[0] == w[1]) && self.processes.values().all(idle)
    }
}

#[test]
fn who_comes_back_from_what_it_has_stored_has_promised_nothing_else() {
    let mut kills = 0;
    for seed in 0..200 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..1_500).for_each(|_| world.step(true));
            for _ in 0..60_000 {
                if world.is_settled() {
                    break;
                }
                world.step(false);
            }
            assert!(world.is_settled(), "what somebody asks for is nowhere any more");
            world.kills
        });
        kills += run.unwrap_or_else(|_| panic!("seed {seed}"));
    }
    assert!(kills > 1_000, "{kills}");
}
