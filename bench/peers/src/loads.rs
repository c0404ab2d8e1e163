//! The loads, and what causerie should reach under them.

use causerie_bench::LoadPace;

use crate::peer::Peer;

/// One load, and what we want to reach beside whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) rooms: u32,
    pub(crate) receivers: u32,
    pub(crate) senders: u32,
    pub(crate) pace: LoadPace,
    pub(crate) targets: &'static [(Peer, Goal)],
    /// The servers on which it is put if none is named; all of them if there are none here.
    pub(crate) peers: &'static [Peer],
}

/// Servers on which rooms from one to a thousand are put.
const ROOMS_PEERS: &[Peer] = &[Peer::Causerie, Peer::Nats, Peer::Redis, Peer::LoopSync];

/// Rooms of ten members who all talk.
const fn rooms_of_ten(
    name: &'static str,
    what: &'static str,
    rooms: u32,
    targets: &'static [(Peer, Goal)],
    peers: &'static [Peer],
) -> Load {
    Load { name, what, rooms, receivers: 10, senders: 10, pace: LoadPace::Window(80), targets, peers }
}

/// A target of causerie beside a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At least so many times its deliveries a second.
    Deliveries(f64),
    /// A p99 no worse.
    P99,
}

pub(crate) const LOADS: [Load; 8] = [
    Load {
        name: "a",
        what: "1 room of 100, 10 talk, 100 outstanding",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Window(100),
        targets: &[(Peer::Nats, Goal::Deliveries(1.5)), (Peer::LoopSync, Goal::Deliveries(0.8))],
        peers: &[],
    },
    Load {
        name: "a1000",
        what: "1 room of 100, 10 talk, 1,000 outstanding",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Window(1_000),
        targets: &[(Peer::Redis, Goal::Deliveries(1.0))],
        peers: &[],
    },
    Load {
        name: "b",
        what: "1 room of 1,000, 1 talks, 100 outstanding",
        rooms: 1,
        receivers: 1_000,
        senders: 1,
        pace: LoadPace::Window(100),
        targets: &[(Peer::Nats, Goal::Deliveries(1.5)), (Peer::LoopSync, Goal::Deliveries(0.8))],
        peers: &[],
    },
    rooms_of_ten("c1", "1 room of 10 who all talk, 80 outstanding a room", 1, &[], ROOMS_PEERS),
    rooms_of_ten("c10", "10 rooms of 10 who all talk, 80 outstanding a room", 10, &[], ROOMS_PEERS),
    rooms_of_ten(
        "c",
        "100 rooms of 10 who all talk, 80 outstanding a room",
        100,
        &[(Peer::Nats, Goal::Deliveries(1.0))],
        &[],
    ),
    rooms_of_ten("c1000", "1,000 rooms of 10 who all talk, 80 outstanding a room", 1_000, &[], ROOMS_PEERS),
    Load {
        name: "d",
        what: "1 room of 100, 10 talk, 200 messages/s",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Rate(200.0),
        targets: &[(Peer::Nats, Goal::P99)],
        peers: &[],
    },
];
