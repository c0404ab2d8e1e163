//! Faults of a run.

mod text;

use std::time::Duration;

use crate::random::SplitMix64;

pub use text::FaultsError;

/// Faults of a run. Written `delay=0..60ms,loss=5%,dup=2%,partitions=2,crash=1`; each part may be left out,
/// `none` is nothing at all, and a count without a number is 1.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    /// The shortest delay of a packet.
    pub delay_min: Duration,
    /// The longest; each is drawn evenly between the two, so packets overtake each other.
    pub delay_max: Duration,
    /// Packets lost, in hundredths of a percent.
    pub loss: u32,
    /// Packets repeated, in hundredths of a percent.
    pub duplicates: u32,
    /// Times that the network falls in two for a while.
    pub partitions: u32,
    /// Times that one process is heard by nobody, or hears nobody, for a while.
    pub one_way: u32,
    /// Times that a process stops for a while, and goes on with what it had.
    pub crashes: u32,
    /// Times that a member loses everything, is declared left, and comes back as another.
    pub crashes_anew: u32,
    /// Members that join on the way.
    pub joins: u32,
    /// Members that leave on the way.
    pub leaves: u32,
    /// Processes that receive everything eight times later than others.
    pub slow: u32,
    /// Places in each hold-back queue, a quarter of that in a request, and four unstable messages a
    /// sender, so that buffers fill up; 0: the defaults.
    pub small_buffers: u32,
    /// Members that are gone for good without a word; their host parts with them long after.
    pub deaths: u32,
    /// Time after which a missing message is given up ([`GapPolicy::Skip`](cbcast::GapPolicy::Skip)); zero: never.
    pub skip: Duration,
    /// Packets of which bits are flipped on the way, in hundredths of a percent. Links check integrity and drop them;
    /// what could be read of them is tried on a copy of the group.
    pub corrupt: u32,
    /// Times that a process is killed, and goes on with what it had exported.
    pub restarts: u32,
    /// Times that a member goes on from an older state than its last. Not where old packets come again: what they
    /// bring back may have been numbered anew.
    pub rollbacks: u32,
    /// Times that a relay dies, what is on its way to it is lost, and another goes on in its place with its state.
    pub failovers: u32,
    /// Processes with a clock that starts years away and runs up to a tenth too fast or too slow.
    pub skewed: u32,
    /// Times that a process's clock jumps by a year.
    pub jumps: u32,
    /// Processes that have their timeouts handled ten times when none is due.
    pub early_timeouts: u32,
    /// Processes that have all their timeouts handled late, by up to two seconds.
    pub late_timeouts: u32,
    /// Times that a process has no timeout handled for a while.
    pub no_timeouts: u32,
    /// Times that packets come again that are older than any delay.
    pub replays: u32,
    /// Members that are parted with while they live and talk.
    pub evictions: u32,
    /// In a mesh: how often a host begins to part with a member that lives, and calls that off if it still can.
    pub suspicions: u32,
    /// Members that join and start from a snapshot that is taken later, or comes later.
    pub late_snapshots: u32,
    /// Members that join and start from a snapshot of another process than their host's.
    pub foreign_snapshots: u32,
    /// Members over a relay that lie: of their causes, their clocks, their numbers, their names.
    pub liars: u32,
    /// Members that live in another's process: in their relay's, or in that of the next member.
    pub shared: u32,
    /// Times that a client goes from one relay to another, where it is a member anew.
    pub roams: u32,
    /// Clients that read what two relays send.
    pub readers: u32,
    /// Above 0: all limits and delays of each group are drawn at random.
    pub limits: u32,
}

const DELAY_MAX: Duration = Duration::from_secs(60);
/// Small enough to fill up, large enough for groups of a dozen.
const SMALL: u32 = 64;

impl Faults {
    /// Some of them, by chance: bugs show where some faults are on and others are not.
    pub(crate) fn swarm(random: &mut SplitMix64) -> Self {
        let delay = random.pick(&[1, 20, 60, 200, 800]).unwrap_or(0);
        let mut some = |most: u64| {
            let on = random.below(3) == 0;
            let count = 1 + random.below(most) as u32;
            if on { count } else { 0 }
        };
        Self {
            delay_min: Duration::from_millis(delay / 10),
            delay_max: Duration::from_millis(delay),
            loss: [0, 500, 1_500, 3_000][some(3) as usize],
            duplicates: [0, 200, 1_000, 3_000][some(3) as usize],
            partitions: some(3),
            one_way: some(3),
            crashes: some(3),
            crashes_anew: some(2),
            joins: some(4),
            leaves: some(3),
            slow: some(2),
            small_buffers: some(1) * SMALL,
            // The others are drawn apart from these: seeds keep what they mean.
            ..Self::default()
        }
    }

    /// The same with members that die and messages that are given up.
    pub(crate) fn skipping(mut self, random: &mut SplitMix64) -> Self {
        self.deaths = random.below(4) as u32;
        self.skip = Duration::from_millis(random.pick(&[100, 500, 2_000]).unwrap_or(0));
        self
    }

    /// The same with what befalls processes, clocks, links and members in real life. Each is on in one of a few runs.
    pub(crate) fn harsher(mut self, random: &mut SplitMix64) -> Self {
        let mut some = |most: u64| {
            let on = random.below(6) == 0;
            let count = 1 + random.below(most) as u32;
            if on { count } else { 0 }
        };
        self.corrupt = [0, 50, 200, 1_000][some(3) as usize];
        self.restarts = some(4);
        self.failovers = some(3);
        self.rollbacks = some(3);
        self.skewed = some(6);
        self.jumps = some(3);
        self.early_timeouts = some(4);
        self.late_timeouts = some(3);
        self.no_timeouts = some(3);
        self.replays = some(4);
        self.evictions = some(2);
        self.suspicions = some(3);
        self.late_snapshots = some(3);
        self.foreign_snapshots = some(3);
        if self.late_snapshots + self.foreign_snapshots > 0 {
            self.joins += 2;
        }
        self.liars = some(2);
        self.shared = some(3);
        self.roams = some(3);
        self.readers = some(3);
        self.limits = some(1);
        self
    }

    /// The counts, by name.
    fn counts(&mut self) -> [(&'static str, &mut u32); 26] {
        [
            ("partitions", &mut self.partitions),
            ("one-way", &mut self.one_way),
            ("crash", &mut self.crashes),
            ("crash-anew", &mut self.crashes_anew),
            ("joins", &mut self.joins),
            ("leaves", &mut self.leaves),
            ("slow", &mut self.slow),
            ("deaths", &mut self.deaths),
            ("restart", &mut self.restarts),
            ("failover", &mut self.failovers),
            ("rollback", &mut self.rollbacks),
            ("skew", &mut self.skewed),
            ("jump", &mut self.jumps),
            ("early-timeouts", &mut self.early_timeouts),
            ("late-timeouts", &mut self.late_timeouts),
            ("no-timeouts", &mut self.no_timeouts),
            ("replays", &mut self.replays),
            ("evict", &mut self.evictions),
            ("suspect", &mut self.suspicions),
            ("late-snapshots", &mut self.late_snapshots),
            ("foreign-snapshots", &mut self.foreign_snapshots),
            ("liars", &mut self.liars),
            ("shared", &mut self.shared),
            ("roam", &mut self.roams),
            ("two-relays", &mut self.readers),
            ("limits", &mut self.limits),
        ]
    }

    /// The shares of packets, by name.
    fn shares(&mut self) -> [(&'static str, &mut u32); 3] {
        [("loss", &mut self.loss), ("dup", &mut self.duplicates), ("corrupt", &mut self.corrupt)]
    }

    /// The same with less of one of them: what a shrinking plan tries.
    pub(crate) fn fewer(&self) -> Vec<Self> {
        let mut tries = Vec::new();
        for i in 0..self.clone().counts().len() {
            let count = *self.clone().counts()[i].1;
            for fewer in [0, count / 2, count.saturating_sub(1)].into_iter().filter(|&n| n < count) {
                let mut other = self.clone();
                *other.counts()[i].1 = fewer;
                tries.push(other);
            }
        }
        tries.push(Self { loss: 0, ..self.clone() });
        tries.push(Self { duplicates: 0, ..self.clone() });
        tries.push(Self { corrupt: 0, ..self.clone() });
        tries.push(Self { small_buffers: 0, ..self.clone() });
        tries.push(Self { delay_min: Duration::ZERO, ..self.clone() });
        let shorter = Duration::from_millis(self.delay_max.as_millis() as u64 / 2).max(self.delay_min);
        tries.push(Self { delay_max: shorter, ..self.clone() });
        tries.retain(|other| other != self);
        tries.dedup();
        tries
    }
}
