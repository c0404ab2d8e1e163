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
}

/// What causerie should reach beside a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At least so many times its deliveries a second.
    Deliveries(f64),
    /// A p99 no worse.
    P99,
}

pub(crate) const LOADS: [Load; 5] = [
    Load {
        name: "a",
        what: "1 room of 100, 10 talk, 100 outstanding",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Window(100),
        targets: &[(Peer::Nats, Goal::Deliveries(1.5)), (Peer::LoopSync, Goal::Deliveries(0.8))],
    },
    Load {
        name: "a1000",
        what: "1 room of 100, 10 talk, 1,000 outstanding",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Window(1_000),
        targets: &[(Peer::Redis, Goal::Deliveries(1.0))],
    },
    Load {
        name: "b",
        what: "1 room of 1,000, 1 talks, 100 outstanding",
        rooms: 1,
        receivers: 1_000,
        senders: 1,
        pace: LoadPace::Window(100),
        targets: &[(Peer::Nats, Goal::Deliveries(1.5)), (Peer::LoopSync, Goal::Deliveries(0.8))],
    },
    Load {
        name: "c",
        what: "100 rooms of 10 who all talk, 80 outstanding a room",
        rooms: 100,
        receivers: 10,
        senders: 10,
        pace: LoadPace::Window(80),
        targets: &[(Peer::Nats, Goal::Deliveries(1.0))],
    },
    Load {
        name: "d",
        what: "1 room of 100, 10 talk, 200 messages/s",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Rate(200.0),
        targets: &[(Peer::Nats, Goal::P99)],
    },
];
