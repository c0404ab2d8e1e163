//! The network: what is on its way, and what stops it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cbcast::{MemberId, Time};

use crate::random::SplitMix64;
use crate::sim::{Faults, Script, SlowLink};

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    pub(super) packet: Bytes,
    /// Seed of the bits that are flipped on the way, if any.
    pub(super) damage: Option<u64>,
    /// Number that both copies of a packet have in common, if it has two.
    twins: Option<u64>,
}

/// Links between all processes, one way each.
#[derive(Debug)]
pub(super) struct Network {
    random: SplitMix64,
    faults: Faults,
    slow_links: Vec<SlowLink>,
    /// Packets that may overtake others of their link, in hundredths of a percent.
    overtaking: u32,
    /// Arrival of the last packet of each link, where not all may overtake.
    last: BTreeMap<(MemberId, MemberId), Time>,
    /// By arrival, then in the order in which they were sent.
    flights: BTreeMap<(Time, u64), Flight>,
    sent: u64,
    /// Packets with two copies of which one has arrived.
    first_copies: BTreeSet<u64>,
    cuts: BTreeMap<u64, LinkCut>,
    /// Packets that may come again, and when they were sent.
    recorded: Vec<(Time, Flight)>,
    /// Processes that receive everything late.
    pub(super) slow: BTreeSet<MemberId>,
    pub(super) counts: LinkCounts,
}

/// Links that let nothing through for a while.
#[derive(Debug)]
struct LinkCut {
    /// From these …
    from: BTreeSet<MemberId>,
    /// … to all others, …
    out: bool,
    /// … and from all others to these.
    back: bool,
    met: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkCounts {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) came_twice: u64,
    pub(super) cut_off: u64,
    pub(super) partitions: u64,
}

/// Factor by which the slow ones receive later.
const SLOWNESS: u32 = 8;
/// Packets of a whole run that may come again, and that do at once.
const RECORDED_MAX: usize = 256;
const REPLAYED_MAX: usize = 32;

impl Network {
    pub(super) fn new(seed: u64, faults: Faults, script: Option<&Script>) -> Self {
        let Script { slow, overtaking, .. } = script.cloned().unwrap_or_default();
        Self {
            random: SplitMix64(seed ^ 0x6e65_7477_6f72_6b00),
            faults,
            slow_links: slow,
            overtaking,
            last: BTreeMap::new(),
            flights: BTreeMap::new(),
            sent: 0,
            first_copies: BTreeSet::new(),
            cuts: BTreeMap::new(),
            recorded: Vec::new(),
            slow: BTreeSet::new(),
            counts: LinkCounts::default(),
        }
    }

    pub(super) fn send(&mut self, now: Time, from: MemberId, to: MemberId, packet: Bytes) {
        self.counts.packets += 1;
        self.counts.bytes += packet.len() as u64;
        if let Some(cut) = self.cuts.values_mut().find(|cut| cut.stops(from, to)) {
            self.counts.cut_off += 1;
            self.counts.partitions += u64::from(!cut.met);
            cut.met = true;
            return;
        }
        if self.random.below(10_000) < self.faults.loss.into() {
            self.counts.lost += 1;
            return;
        }
        let is_doubled = self.random.below(10_000) < self.faults.duplicates.into();
        let twins = is_doubled.then_some(self.sent);
        for _ in 0..1 + u64::from(is_doubled) {
            let at = self.arrival(now, from, to);
            let is_damaged =
                self.faults.corrupt > 0 && self.random.below(10_000) < self.faults.corrupt.into();
            let damage = is_damaged.then(|| self.random.next());
            self.sent += 1;
            let flight = Flight { from, to, packet: packet.clone(), damage, twins };
            if self.faults.replays > 0 {
                self.record(now, &flight);
            }
            self.flights.insert((at, self.sent), flight);
        }
    }

    /// Keeps some packets of all times.
    fn record(&mut self, now: Time, flight: &Flight) {
        let kept = Flight { damage: None, twins: None, ..flight.clone() };
        if self.recorded.len() < RECORDED_MAX {
            self.recorded.push((now, kept));
        } else if let Some(place) = self.recorded.get_mut(self.random.below(self.sent) as usize) {
            *place = (now, kept);
        }
    }

    /// Some packets come again that were sent so long ago that no delay explains it. How many.
    pub(super) fn replay(&mut self, now: Time) -> u64 {
        let age = self.delay_max() * 2;
        let mut old: Vec<_> = self.recorded.iter().filter(|(sent, _)| now.since(*sent) > age).collect();
        self.random.shuffle(&mut old);
        let old: Vec<_> = old.into_iter().take(REPLAYED_MAX).map(|(_, flight)| flight.clone()).collect();
        let count = old.len() as u64;
        for flight in old {
            self.sent += 1;
            self.flights.insert((now, self.sent), flight);
        }
        count
    }

    /// Loses what is on its way to a process.
    pub(super) fn lose_all_to(&mut self, who: MemberId) {
        let before = self.flights.len();
        self.flights.retain(|_, flight| flight.to != who);
        self.counts.lost += (before - self.flights.len()) as u64;
    }

    fn arrival(&mut self, now: Time, from: MemberId, to: MemberId) -> Time {
        let slow = self.slow_links.iter().find(|link| link.carries(now, from, to)).map(|link| link.delay);
        let at = now + slow.unwrap_or_else(|| self.delay(to));
        if self.overtaking >= 10_000 {
            return at;
        }
        let overtakes = self.random.below(10_000) < self.overtaking.into();
        let last = self.last.entry((from, to)).or_insert(at);
        let at = if overtakes { at } else { at.max(*last) };
        *last = at.max(*last);
        at
    }

    /// Nothing is on its way for longer.
    pub(super) fn delay_max(&self) -> Duration {
        self.faults.delay_max * SLOWNESS
    }

    fn delay(&mut self, to: MemberId) -> Duration {
        let (min, max) = (self.faults.delay_min, self.faults.delay_max);
        let spread = (max.saturating_sub(min)).as_nanos() as u64;
        let delay = min + Duration::from_nanos(self.random.below(spread + 1));
        if self.slow.contains(&to) { delay * SLOWNESS } else { delay }
    }

    /// Between these and all others nothing comes through: away from them, towards them, or neither.
    pub(super) fn cut(&mut self, name: u64, from: BTreeSet<MemberId>, out: bool, back: bool) {
        self.cuts.insert(name, LinkCut { from, out, back, met: false });
    }

    pub(super) fn mend(&mut self, name: u64) {
        self.cuts.remove(&name);
    }

    /// From now on everything arrives, if late, out of order and more than once.
    pub(super) fn heal(&mut self) {
        self.cuts.clear();
        self.slow.clear();
        self.faults.loss = 0;
        self.faults.corrupt = 0;
    }

    pub(super) fn next_arrival(&self) -> Option<Time> {
        self.flights.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn arrive(&mut self) -> Option<Flight> {
        let (_, flight) = self.flights.pop_first()?;
        if let Some(twins) = flight.twins
            && !self.first_copies.remove(&twins)
        {
            self.first_copies.insert(twins);
        } else {
            self.counts.came_twice += u64::from(flight.twins.is_some());
        }
        Some(flight)
    }
}

impl LinkCut {
    fn stops(&self, from: MemberId, to: MemberId) -> bool {
        match (self.from.contains(&from), self.from.contains(&to)) {
            (true, false) => self.out,
            (false, true) => self.back,
            _ => false,
        }
    }
}
