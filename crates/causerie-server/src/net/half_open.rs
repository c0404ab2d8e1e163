//! Connections that have not shown yet what they speak. The original client connects before it asks its user anything, so
//! they may be silent for a while, but there is an end to that and to their number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

use crate::net::addresses::AddressBlock;

#[derive(Default)]
pub(crate) struct HalfOpen {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    /// By age.
    all: BTreeMap<u64, (AddressBlock, CancellationToken)>,
    by_network: BTreeMap<AddressBlock, BTreeSet<u64>>,
}

impl Waiting {
    fn remove(&mut self, ticket: u64) -> Option<CancellationToken> {
        let (network, closed) = self.all.remove(&ticket)?;
        if let Some(tickets) = self.by_network.get_mut(&network) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.by_network.remove(&network);
            }
        }
        Some(closed)
    }

    fn close(&mut self, ticket: u64) {
        self.remove(ticket).inspect(CancellationToken::cancel);
    }
}

impl HalfOpen {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while holding it")
    }

    /// Counts one more until the guard is dropped. Of more than `max` the oldest closes, and of more than `of_one` of one
    /// network its oldest, which is told by `true`.
    pub(crate) fn enter(&self, network: AddressBlock, max: usize, of_one: usize) -> (HalfOpenTurn<'_>, bool) {
        let mut waiting = self.waiting();
        let own_oldest = waiting.by_network.get(&network).filter(|tickets| tickets.len() >= of_one.max(1));
        let own_oldest = own_oldest.and_then(|tickets| tickets.first().copied());
        if let Some(oldest) = own_oldest {
            waiting.close(oldest);
        }
        while waiting.all.len() >= max.max(1) {
            let oldest = *waiting.all.first_key_value().expect("there is one").0;
            waiting.close(oldest);
        }
        waiting.last += 1;
        let (ticket, closed) = (waiting.last, CancellationToken::new());
        waiting.all.insert(ticket, (network, closed.clone()));
        waiting.by_network.entry(network).or_default().insert(ticket);
        drop(waiting);
        (HalfOpenTurn { half_open: self, ticket, closed }, own_oldest.is_some())
    }

    pub(crate) fn count(&self) -> usize {
        self.waiting().all.len()
    }
}

/// One of them.
pub(crate) struct HalfOpenTurn<'a> {
    half_open: &'a HalfOpen,
    ticket: u64,
    /// Cancelled when it has to make room.
    pub(crate) closed: CancellationToken,
}

impl Drop for HalfOpenTurn<'_> {
    fn drop(&mut self) {
        self.half_open.waiting().remove(self.ticket);
    }
}
