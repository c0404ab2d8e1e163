//! Servers, clients, and an expulsion under way.

use cbcast::{Expulsion, Group, MemberId, Message};

#[derive(Debug)]
pub(super) struct HostClient {
    pub(super) server: u32,
    pub(super) member: MemberId,
    pub(super) group: Group,
    /// The next record of its server's log.
    pub(super) cursor: usize,
    /// Own messages that have not come back, and how many of them have been sent.
    pub(super) unplaced: Vec<Message>,
    pub(super) sent: usize,
    /// Number of its own messages that have come back.
    pub(super) placed: u64,
    /// Messages that were on their way when it went elsewhere.
    pub(super) before: Vec<Message>,
}

#[derive(Debug)]
pub(super) struct FlushRound {
    pub(super) coordinator: u32,
    pub(super) dead: Vec<u32>,
    pub(super) expulsion: Expulsion,
}

#[derive(Debug)]
pub(super) struct HostServer {
    pub(super) group: Group,
    /// Durable.
    pub(super) log: Vec<Message>,
    /// The group as it was when it was stored last.
    pub(super) durable: Vec<u8>,
    /// Delivered, and not stored.
    pub(super) pending: Vec<Message>,
    /// Number of its own records that the stream has acknowledged, and of those read from it: hints.
    pub(super) acknowledged: usize,
    pub(super) read: usize,
    pub(super) up: bool,
    pub(super) alive: bool,
}

impl HostServer {
    pub(super) fn new(group: Group, log: Vec<Message>) -> Self {
        let durable = group.export().expect("no outputs wait");
        let (acknowledged, read, pending) = (0, 0, Vec::new());
        Self { group, log, durable, pending, acknowledged, read, up: true, alive: true }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up && self.alive
    }
}
