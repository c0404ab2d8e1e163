//! The memory that clients take up without reading: one limit over all connections, above that of each.
//!
//! A connection is charged with what it holds for its client beside the shared log: answers that wait, and what its socket
//! has not taken. Who reads is charged with next to nothing. At the limit connections are ended: first of the network that has
//! left the most unread for the longest, and there the one that has. Messages that rooms hold back count, too; they are
//! never more than a part of the limit, so they end nobody.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::net::addresses::AddressBlock;

/// The part of what is left that one room may fill with messages it holds back.
const HELD_PART: usize = 8;
/// Milliseconds between two lines of the log.
const WARN_EVERY: u64 = 60_000;

/// Memory that all connections and rooms hold.
pub(crate) struct Memory {
    max: AtomicUsize,
    unread: AtomicUsize,
    held: AtomicUsize,
    cut: AtomicU64,
    accounts: Mutex<Accounts>,
    begun: Instant,
    /// Time when it was said last that connections were ended, in milliseconds.
    warned: AtomicU64,
}

#[derive(Default)]
struct Accounts {
    next: u64,
    open: BTreeMap<u64, Arc<Account>>,
}

/// One connection's.
struct Account {
    network: AddressBlock,
    bytes: AtomicUsize,
    /// Since when it has held anything, in milliseconds.
    since: AtomicU64,
    is_cut: AtomicBool,
    cut: CancellationToken,
}

/// A connection's account. What it holds is given back when this is dropped.
pub(crate) struct Charge {
    memory: Arc<Memory>,
    number: u64,
    account: Arc<Account>,
}

impl Memory {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicUsize::new(max),
            unread: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            cut: AtomicU64::new(0),
            accounts: Mutex::default(),
            begun: Instant::now(),
            warned: AtomicU64::new(0),
        })
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().expect("nothing panics while holding it")
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Goes by this limit from now on.
    pub(crate) fn limit(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Bytes that connections hold.
    pub(crate) fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }

    /// Bytes of messages that rooms hold back.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Connections that were ended because of it.
    pub(crate) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// A room holds back so many bytes now, and held so many before.
    pub(crate) fn hold(&self, before: usize, now: usize) {
        match now >= before {
            true => drop(self.held.fetch_add(now - before, Ordering::Relaxed)),
            false => drop(self.held.fetch_sub(before - now, Ordering::Relaxed)),
        }
    }

    /// Returns how much a room may hold back that holds so much already.
    pub(crate) fn may_hold(&self, already: usize) -> usize {
        let left = self.max.load(Ordering::Relaxed).saturating_sub(self.unread() + self.held());
        already + left / HELD_PART
    }

    /// Opens the account of a connection from this address.
    pub(crate) fn open(self: &Arc<Self>, address: IpAddr) -> Charge {
        let account = Arc::new(Account {
            network: AddressBlock::of(address),
            bytes: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            is_cut: AtomicBool::new(false),
            cut: CancellationToken::new(),
        });
        let mut accounts = self.accounts();
        accounts.next += 1;
        let number = accounts.next;
        accounts.open.insert(number, Arc::clone(&account));
        drop(accounts);
        Charge { memory: Arc::clone(self), number, account }
    }

    /// Ends connections until what is left is within the limit.
    fn relieve(&self, now: u64) {
        let accounts = self.accounts();
        let going: usize = accounts.open.values().filter(|a| a.is_cut()).map(|a| a.bytes()).sum();
        let max = self.max.load(Ordering::Relaxed);
        let mut over = (self.unread() + self.held()).saturating_sub(going + max);
        let mut ended = 0;
        while over > 0 {
            let Some(worst) = worst(&accounts.open, now) else { break };
            worst.is_cut.store(true, Ordering::Relaxed);
            worst.cut.cancel();
            over = over.saturating_sub(worst.bytes());
            ended += 1;
        }
        drop(accounts);
        let told = self.cut.fetch_add(ended, Ordering::Relaxed);
        let warned = self.warned.load(Ordering::Relaxed);
        if ended > 0 && (told == 0 || now >= warned + WARN_EVERY) {
            self.warned.store(now, Ordering::Relaxed);
            warn!(
                "clients have left {} MiB unread, which is all that unread-memory allows: connections that read \
                 nothing are ended, {} so far",
                max >> 20,
                told + ended
            );
        }
    }
}

/// The connection that is ended first.
fn worst(open: &BTreeMap<u64, Arc<Account>>, now: u64) -> Option<&Account> {
    let weight = |account: &Account| {
        let age = now.saturating_sub(account.since.load(Ordering::Relaxed)).max(1);
        account.bytes() as u128 * u128::from(age)
    };
    let candidates = || open.values().filter(|a| !a.is_cut() && a.bytes() > 0);
    let mut networks: BTreeMap<AddressBlock, u128> = BTreeMap::new();
    for account in candidates() {
        *networks.entry(account.network).or_default() += weight(account);
    }
    let (network, _) = networks.into_iter().max_by_key(|(_, weight)| *weight)?;
    candidates().filter(|a| a.network == network).max_by_key(|a| weight(a)).map(|account| &**account)
}

impl Account {
    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }
}

impl Charge {
    /// The connection holds so much more.
    pub(crate) fn add(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        if self.account.bytes.fetch_add(bytes, Ordering::Relaxed) == 0 {
            self.account.since.store(self.memory.millis(), Ordering::Relaxed);
        }
        let memory = &self.memory;
        let unread = memory.unread.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unread + memory.held() > memory.max.load(Ordering::Relaxed) {
            memory.relieve(memory.millis());
        }
    }

    /// The connection holds so much less.
    pub(crate) fn sub(&self, bytes: usize) {
        self.account.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.memory.unread.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Waits until the connection has to end, as it has left too much unread.
    pub(crate) async fn cut(&self) {
        self.account.cut.cancelled().await;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut accounts = self.memory.accounts();
        accounts.open.remove(&self.number);
        self.memory.unread.fetch_sub(self.account.bytes(), Ordering::Relaxed);
    }
}

/// Charge of what a socket has not taken yet.
pub(crate) struct Unwritten<'a> {
    charge: &'a Charge,
    bytes: usize,
}

impl<'a> Unwritten<'a> {
    pub(crate) fn new(charge: &'a Charge, bytes: usize) -> Self {
        charge.add(bytes);
        Self { charge, bytes }
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.charge.sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_leaves_the_most_unread_is_cut_first_and_no_more_than_needed() {
        let memory = Memory::new(1_000);
        let reader = memory.open(address("192.0.2.1"));
        let strangers: Vec<_> = (0..4).map(|_| memory.open(address("192.0.2.2"))).collect();
        reader.add(300);
        strangers.iter().for_each(|stranger| stranger.add(170));
        assert_eq!((memory.unread(), memory.cut()), (980, 0));
        strangers[3].add(30);
        let cut = |charge: &Charge| charge.account.cut.is_cancelled();
        assert_eq!(strangers.iter().map(cut).collect::<Vec<_>>(), [false, false, false, true]);
        assert!(!cut(&reader), "alone it has the most, but its network has not");
        assert_eq!(memory.cut(), 1);
        // It has not given it back yet, and nobody else pays for that.
        reader.add(100);
        assert_eq!(memory.cut(), 1);
        drop(strangers);
        assert_eq!(memory.unread(), 400);
        reader.sub(400);
        assert_eq!(memory.unread(), 0);
    }

    #[test]
    fn who_has_just_come_is_not_cut_for_those_who_have_read_nothing_for_long() {
        let memory = Memory::new(usize::MAX);
        let [old, new] = [memory.open(address("::1")), memory.open(address("::1"))];
        old.add(100);
        new.add(900);
        new.account.since.store(10_000, Ordering::Relaxed);
        memory.limit(950);
        memory.relieve(10_001);
        assert!(old.account.is_cut() && !new.account.is_cut());
    }

    #[test]
    fn rooms_hold_a_part_of_what_is_left() {
        let memory = Memory::new(800);
        assert_eq!(memory.may_hold(0), 100);
        memory.hold(0, 80);
        assert_eq!((memory.may_hold(80), memory.held()), (80 + 90, 80));
        let charge = memory.open(address("::1"));
        charge.add(720);
        assert_eq!((memory.may_hold(80), memory.cut()), (80, 0));
        memory.hold(80, 0);
        assert_eq!(memory.held(), 0);
    }
}
