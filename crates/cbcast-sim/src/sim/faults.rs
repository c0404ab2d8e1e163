//! What goes wrong in a run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::random::SplitMix64;

/// What goes wrong. Written `delay=0..60ms,loss=5%,dup=2%,partitions=2,crash=1`; each part may be left out,
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
    /// How often the network falls in two for a while.
    pub partitions: u32,
    /// How often one process is heard by nobody, or hears nobody, for a while.
    pub one_way: u32,
    /// How often a process stops for a while, and goes on with what it had.
    pub crashes: u32,
    /// How often a member loses everything, is declared left, and comes back as another.
    pub crashes_anew: u32,
    /// How many join on the way.
    pub joins: u32,
    /// How many leave on the way.
    pub leaves: u32,
    /// How many processes receive everything eight times later than others.
    pub slow: u32,
    /// So many places in each hold-back queue, a quarter of that in a request, and four unstable messages a
    /// sender, so that buffers fill up; 0: the defaults.
    pub small_buffers: u32,
    /// How many members are gone for good without a word; their host parts with them long after.
    pub deaths: u32,
    /// What has been missing for so long is given up ([`GapPolicy::Skip`](cbcast::GapPolicy::Skip)); zero: never.
    pub skip: Duration,
}

/// Beyond this nothing comes through in reasonable time.
const LOSS_MAX: u32 = 9_000;
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Small enough to fill up, large enough for groups of a dozen.
const SMALL: u32 = 64;
const COUNT_MAX: u32 = 1_000;

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
            // Not with the others: seeds keep what they mean.
            deaths: 0,
            skip: Duration::ZERO,
        }
    }

    /// The same with members that die and messages that are given up.
    pub(crate) fn skipping(mut self, random: &mut SplitMix64) -> Self {
        self.deaths = random.below(4) as u32;
        self.skip = Duration::from_millis(random.pick(&[100, 500, 2_000]).unwrap_or(0));
        self
    }

    /// The counts, by name.
    fn counts(&mut self) -> [(&'static str, &mut u32); 8] {
        [
            ("partitions", &mut self.partitions),
            ("one-way", &mut self.one_way),
            ("crash", &mut self.crashes),
            ("crash-anew", &mut self.crashes_anew),
            ("joins", &mut self.joins),
            ("leaves", &mut self.leaves),
            ("slow", &mut self.slow),
            ("deaths", &mut self.deaths),
        ]
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
        tries.push(Self { small_buffers: 0, ..self.clone() });
        tries.push(Self { delay_min: Duration::ZERO, ..self.clone() });
        let shorter = Duration::from_millis(self.delay_max.as_millis() as u64 / 2).max(self.delay_min);
        tries.push(Self { delay_max: shorter, ..self.clone() });
        tries.retain(|other| other != self);
        tries.dedup();
        tries
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.delay_max > Duration::ZERO {
            parts.push(format!("delay={}..{}ms", self.delay_min.as_millis(), self.delay_max.as_millis()));
        }
        for (name, hundredths) in [("loss", self.loss), ("dup", self.duplicates)] {
            if hundredths > 0 {
                parts.push(format!("{name}={}%", f64::from(hundredths) / 100.0));
            }
        }
        let mut copy = self.clone();
        let counts = copy.counts();
        parts.extend(counts.into_iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name}={n}")));
        if self.small_buffers > 0 {
            parts.push(format!("small-buffers={}", self.small_buffers));
        }
        if self.skip > Duration::ZERO {
            parts.push(format!("skip={}ms", self.skip.as_millis()));
        }
        f.write_str(&if parts.is_empty() { "none".into() } else { parts.join(",") })
    }
}

/// Why a text is not [`Faults`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{part}': {reason}; write for example delay=0..60ms,loss=5%,dup=2%,partitions=2,crash")]
pub struct FaultsError {
    part: String,
    reason: &'static str,
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::default();
        let parts = text.split(',').map(str::trim).filter(|part| !matches!(*part, "" | "none"));
        for part in parts {
            let error = |reason| FaultsError { part: part.into(), reason };
            let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
            match (key, value) {
                ("delay", Some(value)) => {
                    let delay = delays(value).ok_or_else(|| error("a delay is like 50ms or 0..800ms"))?;
                    if delay.0 > delay.1 || delay.1 > DELAY_MAX {
                        return Err(error("a delay is at most 60s, the smaller bound first"));
                    }
                    (faults.delay_min, faults.delay_max) = delay;
                }
                ("loss" | "dup", Some(value)) => {
                    let number = value.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
                    let number = number.filter(|n| (0.0..=100.0).contains(n));
                    let share = (number.ok_or_else(|| error("a share is like 5%"))? * 100.0).round() as u32;
                    match key {
                        "dup" => faults.duplicates = share,
                        _ if share > LOSS_MAX => {
                            return Err(error("a loss of more than 90% lets nothing through"));
                        }
                        _ => faults.loss = share,
                    }
                }
                ("skip", Some(value)) => {
                    let after = delays(value).filter(|(min, max)| min == max && *max <= DELAY_MAX);
                    faults.skip = after.ok_or_else(|| error("skip is like 500ms, and at most 60s"))?.1;
                }
                ("small-buffers", None) => faults.small_buffers = SMALL,
                ("small-buffers", Some(places)) => {
                    let places = places.parse().ok().filter(|n| (1..=65_536).contains(n));
                    faults.small_buffers =
                        places.ok_or_else(|| error("places are a number from 1 to 65536"))?;
                }
                _ => {
                    let count = value.map_or(Ok(1), str::parse).ok().filter(|&n| n <= COUNT_MAX);
                    let mut counts = faults.counts();
                    let known = counts.iter_mut().find(|(name, _)| *name == key);
                    let known = known.ok_or_else(|| {
                        error(
                            "the parts are delay, loss, dup, partitions, one-way, crash, crash-anew, joins, \
                             leaves, slow, deaths, small-buffers and skip",
                        )
                    })?;
                    *known.1 = count.ok_or_else(|| error("a count is a number up to 1000"))?;
                }
            }
        }
        Ok(faults)
    }
}

fn delays(text: &str) -> Option<(Duration, Duration)> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (max, unit) = match (max.strip_suffix("ms"), max.strip_suffix('s')) {
        (Some(max), _) => (max, 1),
        (_, Some(max)) => (max, 1_000),
        _ => return None,
    };
    let min = min.trim_end_matches(['m', 's']);
    let parse = |text: &str| text.parse::<u64>().ok()?.checked_mul(unit).map(Duration::from_millis);
    Some((parse(min)?, parse(max)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_refused() {
        let faults: Faults = "delay=1..60ms,loss=2.5%,partitions,joins=3,small-buffers=9".parse().unwrap();
        assert_eq!(faults.delay_max, Duration::from_millis(60));
        assert_eq!((faults.loss, faults.partitions, faults.joins), (250, 1, 3));
        assert_eq!(faults.to_string(), "delay=1..60ms,loss=2.5%,partitions=1,joins=3,small-buffers=9");
        assert_eq!("none".parse(), Ok(Faults::default()));
        assert_eq!("delay=50ms".parse::<Faults>().unwrap().delay_min, Duration::from_millis(50));
        let skipping: Faults = "deaths=2,skip=2s".parse().unwrap();
        assert_eq!((skipping.deaths, skipping.skip), (2, Duration::from_secs(2)));
        assert_eq!(skipping.to_string(), "deaths=2,skip=2000ms");
        for wrong in [
            "skip",
            "skip=1..2s",
            "skip=99s",
            "loss",
            "loss=5",
            "loss=95%",
            "delay=3",
            "delay=9..1ms",
            "frogs",
            "joins=-1",
            "delay",
        ] {
            assert!(wrong.parse::<Faults>().is_err(), "{wrong}");
        }
    }
}
