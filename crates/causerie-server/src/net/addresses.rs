//! What one address may take up, so that one stranger cannot use up what is there for all.
//!
//! An address is one of IPv4, or a network of 64 bits of IPv6, which one host may have to itself. The table of addresses is
//! bounded: it forgets those without a connection whose budgets are full, and, if there are too many of the others, those that
//! are closest to that.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lockdown::Lockdown;
use crate::metrics::{Limited, Metrics};
use crate::net::budget::{Bucket, LeftOut, Rate, Seldom};
use crate::net::turns::{GivenAnswers, Turn, Turns};
use crate::settings::{AddressLimits, Settings};

/// An address of IPv4, or a network of IPv6.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct AddressBlock(IpAddr);

impl AddressBlock {
    /// Returns the network of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                IpAddr::V6((u128::from(address) >> 64 << 64).into())
            }
            address => address,
        })
    }

    fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }

    /// Returns the limits that count for it, if any do.
    pub(crate) fn limits(self, limits: AddressLimits) -> Option<AddressLimits> {
        (limits.loopback || !self.is_loopback()).then_some(limits)
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(address) if !address.is_loopback() => write!(f, "{address}/64"),
            address => write!(f, "{address}"),
        }
    }
}

/// Returns whether an address is this machine's own, also where a listener for both kinds of addresses tells one as the other.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Time in which connections and joins are counted.
const TEN_MINUTES: Duration = Duration::from_secs(600);
/// Refusals of one address that are told it.
const WORDS: Rate = Rate::each(TEN_MINUTES, 60).expect("not 0");
/// Lines of the log about one address.
const LINES: Rate = Rate::each(TEN_MINUTES, 120).expect("not 0");
/// Runs of the lab of one address, loopback among them: each takes a while of a processor.
const LAB: Rate = Rate::new(4, Duration::from_secs(1), 60).expect("not 0");
/// Addresses without a connection that are remembered.
const IDLE_MAX: usize = 1 << 16;

/// Use that one address has made of what is there for all.
#[derive(Debug)]
pub(crate) struct Address {
    network: AddressBlock,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    connections: usize,
    arrivals: Bucket,
    joins: Bucket,
    messages: Bucket,
    lab: Bucket,
    words: Bucket,
    lines: Seldom,
}

impl Used {
    /// Returns the time at which nothing is left to be known of it.
    fn forgotten_at(&self) -> Option<Instant> {
        let Self { connections: _, arrivals, joins, messages, lab, words, lines } = self;
        let buckets = [arrivals, joins, messages, lab, words, lines.bucket()];
        buckets.into_iter().filter_map(|bucket| bucket.full_at()).max()
    }
}

impl Address {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().expect("nothing panics while holding it")
    }
}

/// The addresses that somebody comes from, or came from lately, and the limits that they are held to.
pub(crate) struct Addresses {
    settings: watch::Receiver<Settings>,
    lockdown: Arc<Lockdown>,
    metrics: Arc<Metrics>,
    /// Connections that are open.
    connections: AtomicUsize,
    /// Turns at making long answers.
    turns: Turns,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    known: BTreeMap<AddressBlock, Arc<Address>>,
    /// Number of addresses at which it is looked again which can be forgotten.
    full_at: usize,
}

impl Addresses {
    pub(crate) fn new(
        settings: watch::Receiver<Settings>,
        lockdown: Arc<Lockdown>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let threads = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
        let (connections, turns, table) = (AtomicUsize::new(0), Turns::new(threads), Mutex::default());
        Arc::new(Self { settings, lockdown, metrics, connections, turns, table })
    }

    /// Returns how many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts one connection more, unless that is more than `max`.
    fn enter(&self, max: usize) -> bool {
        let more = |open| (open < max).then_some(open + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn find(&self, address: IpAddr) -> Arc<Address> {
        let network = AddressBlock::of(address);
        let mut table = self.table.lock().expect("nothing panics while holding it");
        if let Some(known) = table.known.get(&network) {
            return Arc::clone(known);
        }
        if table.known.len() >= table.full_at.max(IDLE_MAX) {
            table.forget(Instant::now());
        }
        let address = Arc::new(Address { network, used: Mutex::default() });
        table.known.insert(network, Arc::clone(&address));
        address
    }
}

impl Table {
    /// Forgets who has nothing and takes nothing. Whoever comes from very many addresses does not fill the table with them.
    fn forget(&mut self, now: Instant) {
        // Without a connection: the table alone has it.
        let is_idle = |address: &Arc<Address>| Arc::strong_count(address) == 1;
        self.known.retain(|_, a| !is_idle(a) || a.used().forgotten_at().is_some_and(|at| at > now));
        let idle = self.known.values().filter(|address| is_idle(address));
        let mut idle: Vec<_> = idle.map(|address| (address.used().forgotten_at(), address.network)).collect();
        idle.sort_unstable();
        // Some more than need be, so that this is not done each time.
        let too_many = (idle.len() + IDLE_MAX / 4).saturating_sub(IDLE_MAX);
        for (_, network) in &idle[..too_many] {
            self.known.remove(network);
        }
        self.full_at = self.known.len() + IDLE_MAX / 4;
    }
}

/// Way in which a visitor comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Entrance {
    /// By a connection, of its own or that a proxy has made for it.
    Connection,
    /// By a trusted proxy's connection, of which nobody has said whom it is for: without limits of one address.
    Proxy,
    /// By the control socket: without any limits.
    Control,
    /// By a request on a proxy's connection, which counts already.
    Request {
        /// It becomes a connection of the visitor's own, and is counted as a new one.
        is_upgrade: bool,
    },
}

impl Entrance {
    /// Returns whether limits of one address hold.
    fn is_limited(self) -> bool {
        !matches!(self, Self::Proxy | Self::Control)
    }

    /// Returns whether it is one connection more of all.
    fn is_counted(self) -> bool {
        matches!(self, Self::Connection | Self::Proxy)
    }
}

/// A connection that is served, counted for all and for its address until this is dropped; or one request, where others come by
/// the same connection.
pub(crate) struct Visitor {
    all: Arc<Addresses>,
    address: Arc<Address>,
    entrance: Entrance,
    given: GivenAnswers,
}

impl Visitor {
    /// Counts one more connection.
    ///
    /// # Errors
    /// Why it is one too many, in words if some are left to say. The attempt counts.
    pub(crate) fn enter(
        all: &Arc<Addresses>,
        from: IpAddr,
        entrance: Entrance,
    ) -> Result<Self, Option<&'static str>> {
        let is_arrival = entrance != Entrance::Request { is_upgrade: false };
        let (max, limits) = {
            let settings = all.settings.borrow();
            (settings.connections_max, settings.address)
        };
        let address = all.find(from);
        let mut used = address.used();
        let limits = address.network.limits(all.lockdown.limits(limits)).filter(|_| entrance.is_limited());
        let now = Instant::now();
        let refused = limits.and_then(|limits| {
            let rate = Rate::each(TEN_MINUTES, limits.rate);
            if is_arrival && rate.is_some_and(|rate| used.arrivals.take(now, rate, 1).is_err()) {
                return Some(Limited::Arrivals);
            }
            let is_full = limits.connections > 0 && used.connections >= limits.connections;
            is_full.then_some(Limited::Connections)
        });
        let refused = match refused {
            Some(what) => {
                all.metrics.limited(what);
                Some("too many connections from your address; try again later")
            }
            None if !entrance.is_counted() || all.enter(max) => None,
            None => Some("too many connections; try again later"),
        };
        if let Some(words) = refused {
            all.metrics.connection_refused();
            let may_say = limits.is_none() || used.words.take(now, WORDS, 1).is_ok();
            return Err(may_say.then_some(words));
        }
        used.connections += 1;
        drop(used);
        Ok(Self { all: Arc::clone(all), address, entrance, given: GivenAnswers::default() })
    }

    /// Returns the limits that count for it.
    pub(crate) fn limits(&self) -> Option<AddressLimits> {
        let limits = self.all.settings.borrow().address;
        self.address.network.limits(self.all.lockdown.limits(limits)).filter(|_| self.entrance.is_limited())
    }

    pub(crate) fn network(&self) -> AddressBlock {
        self.address.network
    }

    /// Takes up to so many messages out of the budget, one at least.
    ///
    /// # Errors
    /// How long to wait before it is asked again.
    pub(crate) fn speak(&self, wanted: usize) -> Result<usize, Duration> {
        let rate = self.limits().and_then(|l| Rate::new(l.say_rate, Duration::from_secs(1), l.say_burst));
        let Some(rate) = rate else { return Ok(wanted) };
        let some = u32::try_from(wanted).unwrap_or(u32::MAX);
        let taken = self.address.used().messages.take(Instant::now(), rate, some);
        taken.map(|taken| taken as usize).inspect_err(|_| self.limited(Limited::Messages))
    }

    /// Waits until one message more may be said.
    pub(crate) async fn speak_in_turn(&self) {
        if let Err(wait) = self.speak(1) {
            // Apart: it is rare.
            Box::pin(self.speak_after(wait)).await;
        }
    }

    async fn speak_after(&self, mut wait: Duration) {
        loop {
            tokio::time::sleep(wait).await;
            match self.speak(1) {
                Ok(_) => return,
                Err(more) => wait = more,
            }
        }
    }

    /// Waits until a piece of an answer may be made for it, which is to be [counted](Self::made) then.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.all.turns.next(&self.given).await
    }

    /// Counts bytes of answers that were made for it.
    pub(crate) fn made(&self, bytes: usize) {
        self.given.add(bytes);
    }

    /// Takes one joining, or one making of a room, out of the budget.
    pub(crate) fn join(&self) -> Result<(), TooOften> {
        let Some(rate) = self.limits().and_then(|l| Rate::each(TEN_MINUTES, l.joins)) else { return Ok(()) };
        let taken = self.address.used().joins.take(Instant::now(), rate, 1);
        taken.map(drop).map_err(|wait| {
            self.limited(Limited::Joins);
            TooOften { what: "joins and new rooms", wait }
        })
    }

    /// Takes one run of the lab out of the budget.
    pub(crate) fn run_lab(&self) -> Result<(), TooOften> {
        let taken = self.address.used().lab.take(Instant::now(), LAB, 1);
        taken.map(drop).map_err(|wait| {
            self.limited(Limited::Lab);
            TooOften { what: "runs of the lab", wait }
        })
    }

    /// Returns what stands behind a line of the log about this connection, if it may be written.
    pub(crate) fn log(&self) -> Option<LeftOut> {
        match self.limits() {
            Some(_) => self.address.used().lines.turn(Instant::now(), LINES),
            None => Some(LeftOut::default()),
        }
    }

    pub(crate) fn limited(&self, what: Limited) {
        self.all.metrics.limited(what);
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if self.entrance.is_counted() {
            self.all.connections.fetch_sub(1, Ordering::Relaxed);
        }
        self.address.used().connections -= 1;
    }
}

/// Refusal of what there was too much of from an address.
#[derive(Clone, Copy, Debug, Error)]
#[error("too many {what} from your address; try again in {} s", self.seconds())]
pub(crate) struct TooOften {
    what: &'static str,
    wait: Duration,
}

impl TooOften {
    pub(crate) fn messages(wait: Duration) -> Self {
        Self { what: "messages", wait }
    }

    /// After so many whole seconds it is worth trying.
    pub(crate) fn seconds(&self) -> u64 {
        self.wait.as_secs() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> AddressBlock {
        AddressBlock::of(address.parse().unwrap())
    }

    #[test]
    fn loopback_is_told_by_any_kind_of_address() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn one_host_is_one_network() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(network("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        let limits = AddressLimits::default();
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(network(local).limits(limits), None, "{local}");
            let told = AddressLimits { loopback: true, ..limits };
            assert_eq!(network(local).limits(told), Some(told), "{local}");
        }
        assert_eq!(network("::2").limits(limits), Some(limits));
    }

    #[test]
    fn few_addresses_are_remembered_and_those_longest_that_took_most() {
        let settings = watch::Sender::new(Settings::default()).subscribe();
        let addresses = Addresses::new(settings, Arc::default(), Arc::new(Metrics::new()));
        let now = Instant::now();
        let address = |n: usize| IpAddr::from((n as u32).to_be_bytes());
        let find = |n: usize| addresses.find(address(n));
        let rate = Rate::each(TEN_MINUTES, 100).unwrap();
        let connected = find(0);
        for n in 1..=IDLE_MAX {
            // All have taken something, and the first ones most.
            find(n).used().joins.take(now, rate, if n < 100 { 100 } else { 1 }).unwrap();
        }
        for n in 0..3 * IDLE_MAX {
            find(2 * IDLE_MAX + n);
        }
        let known = addresses.table.lock().unwrap().known.len();
        assert!(known <= IDLE_MAX + IDLE_MAX / 4 + 1, "{known}");
        assert!(Arc::ptr_eq(&connected, &find(0)), "who is there is known");
        let left = find(50).used().joins.take(now, rate, 1);
        assert!(left.is_err(), "who has used up something does not get it again by filling the table");
    }
}
