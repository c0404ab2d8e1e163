//! A bad network on purpose: a link that delays, loses and repeats what goes through it, from a seed.
//!
//! It stands above TCP, between a client's session and its connection, so that messages overtake each other and
//! people can see causal order at work.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use cbcast::Time;
use thiserror::Error;

/// Badness of a link. Written `delay=0..800ms,loss=5%,dup=2%,seed=7`; each part may be left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Disturbance {
    /// The shortest delay of a copy.
    pub delay_min: Duration,
    /// The longest delay of a copy; each is drawn evenly between the two.
    pub delay_max: Duration,
    /// Copies lost, in hundredths of a percent.
    pub loss: u32,
    /// Messages repeated, in hundredths of a percent.
    pub duplicates: u32,
    /// Seed that everything is drawn from.
    pub seed: u64,
}

/// Error of a text that is not a [`Disturbance`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{part}': {reason}; write for example delay=0..800ms,loss=5%,dup=2%,seed=7")]
pub struct DisturbanceError {
    part: String,
    reason: String,
}

/// A longer delay than anybody waits for.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Beyond this nothing comes through in reasonable time.
const LOSS_MAX: u32 = 9_000;

impl FromStr for Disturbance {
    type Err = DisturbanceError;

    fn from_str(text: &str) -> Result<Self, DisturbanceError> {
        let mut disturbance = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let error = |reason: &str| DisturbanceError { part: part.into(), reason: reason.into() };
            let (key, value) = part.split_once('=').ok_or_else(|| error("not KEY=VALUE"))?;
            match key {
                "delay" => {
                    let (min, max) = value.split_once("..").unwrap_or((value, value));
                    let unit = if max.ends_with("ms") { "ms" } else { "s" };
                    let parse = |text: &str| {
                        let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
                            (Some(number), _) => (number, "ms"),
                            (_, Some(number)) => (number, "s"),
                            _ => (text, unit),
                        };
                        let number: f64 = number.parse().ok()?;
                        let seconds = if unit == "ms" { number / 1_000.0 } else { number };
                        Duration::try_from_secs_f64(seconds).ok()
                    };
                    let bounds = parse(min).zip(parse(max));
                    let (min, max) = bounds.ok_or_else(|| error("a delay is like 50ms, 1s or 0..800ms"))?;
                    if min > max || max > DELAY_MAX {
                        return Err(error("a delay is at most 60s, the smaller bound first"));
                    }
                    (disturbance.delay_min, disturbance.delay_max) = (min, max);
                }
                "loss" | "dup" => {
                    let number: f64 = value
                        .strip_suffix('%')
                        .and_then(|number| number.parse().ok())
                        .filter(|n| (0.0..=100.0).contains(n))
                        .ok_or_else(|| error("a share is like 5%"))?;
                    let hundredths = (number * 100.0).round() as u32;
                    if key == "dup" {
                        disturbance.duplicates = hundredths;
                    } else if hundredths > LOSS_MAX {
                        return Err(error("a loss of more than 90% lets nothing through"));
                    } else {
                        disturbance.loss = hundredths;
                    }
                }
                "seed" => disturbance.seed = value.parse().map_err(|_| error("a seed is a whole number"))?,
                _ => return Err(error("the parts are delay, loss, dup and seed")),
            }
        }
        Ok(disturbance)
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (self.delay_min.as_millis(), self.delay_max.as_millis());
        let percent = |hundredths: u32| f64::from(hundredths) / 100.0;
        let (loss, dup) = (percent(self.loss), percent(self.duplicates));
        write!(f, "delay={min}..{max}ms,loss={loss}%,dup={dup}%,seed={}", self.seed)
    }
}

/// One direction of a bad link.
#[derive(Clone, Debug)]
pub struct DisturbedLink<T> {
    disturbance: Disturbance,
    random: u64,
    /// On their way, by arrival and then by the order in which they were sent, with their sizes.
    on_their_way: BTreeMap<(Time, u64), (T, usize)>,
    bytes: usize,
    sent: u64,
}

/// Copies on their way at once, and their bytes; beyond it what is sent goes through at once, undelayed.
const ON_THEIR_WAY_MAX: usize = 65_536;
const BYTES_MAX: usize = 32 << 20;

impl<T: Clone> DisturbedLink<T> {
    /// An empty link. `direction` gives the two directions of a link different draws from one seed.
    #[must_use]
    pub fn new(disturbance: Disturbance, direction: u64) -> Self {
        let random = disturbance.seed.wrapping_mul(2).wrapping_add(direction);
        Self { disturbance, random, on_their_way: BTreeMap::new(), bytes: 0, sent: 0 }
    }

    /// SplitMix64, evenly below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(n)) >> 64) as u64
    }

    /// Returns whether there is no room for more: wait until something has [come out](Self::pop).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.on_their_way.len() >= ON_THEIR_WAY_MAX || self.bytes >= BYTES_MAX
    }

    /// Sends `item` into the link, which is so many bytes.
    pub fn push(&mut self, now: Time, item: T, bytes: usize) {
        let copies = 1 + u64::from(self.below(10_000) < u64::from(self.disturbance.duplicates));
        for _ in 0..copies {
            if self.below(10_000) < u64::from(self.disturbance.loss) {
                continue;
            }
            let range = self.disturbance.delay_max - self.disturbance.delay_min;
            let extra = self.below(range.as_nanos() as u64 + 1);
            let delay = match self.is_full() {
                false => self.disturbance.delay_min + Duration::from_nanos(extra),
                true => Duration::ZERO,
            };
            self.sent += 1;
            self.bytes += bytes;
            self.on_their_way.insert((now + delay, self.sent), (item.clone(), bytes));
        }
    }

    /// Takes what has come out of the link by `now`.
    pub fn pop(&mut self, now: Time) -> Option<T> {
        let first = self.on_their_way.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let (item, bytes) = first.remove();
        self.bytes -= bytes;
        Some(item)
    }

    /// Returns when the next comes out, if anything is on its way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.on_their_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// Loses everything that is on its way: the connection under it broke.
    pub fn clear(&mut self) {
        self.on_their_way.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_read() {
        let d: Disturbance = "delay=0..800ms,loss=5%,dup=2%,seed=7".parse().unwrap();
        assert_eq!((d.delay_max, d.loss, d.duplicates, d.seed), (Duration::from_millis(800), 500, 200, 7));
        assert_eq!(d.to_string(), "delay=0..800ms,loss=5%,dup=2%,seed=7");
        let d: Disturbance = "delay=1s".parse().unwrap();
        assert_eq!((d.delay_min, d.delay_max), (Duration::from_secs(1), Duration::from_secs(1)));
        assert_eq!("delay=0.5..1s".parse::<Disturbance>().unwrap().delay_min, Duration::from_millis(500));
        assert_eq!("".parse(), Ok(Disturbance::default()));
        for bad in ["delay", "delay=x", "delay=9..1ms", "loss=5", "loss=99%", "dup=-1%", "seed=x", "lag=3"] {
            let error = bad.parse::<Disturbance>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("'{bad}': ")), "{error}");
        }
    }

    #[test]
    fn a_link_loses_repeats_and_reorders_about_as_told_and_the_same_each_time() {
        let run = || {
            let mut link = DisturbedLink::new("delay=0..100ms,loss=10%,dup=5%,seed=1".parse().unwrap(), 0);
            (0..10_000).for_each(|n| link.push(Time::from_millis(n), n, 1));
            std::iter::from_fn(|| link.pop(Time::from_millis(1 << 40))).collect::<Vec<_>>()
        };
        let out = run();
        assert_eq!(out, run());
        assert!((9_200..9_700).contains(&out.len()), "{}", out.len());
        assert!(!out.is_sorted());
    }

    #[test]
    fn nothing_comes_out_early() {
        let mut link = DisturbedLink::new("delay=50ms".parse().unwrap(), 0);
        link.push(Time::ZERO, "x", 1);
        assert_eq!(link.poll_timeout(), Some(Time::from_millis(50)));
        assert_eq!(link.pop(Time::from_millis(49)), None);
        assert_eq!(link.pop(Time::from_millis(50)), Some("x"));
    }
}
