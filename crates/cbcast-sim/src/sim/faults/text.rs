//! Faults as they are written on a command line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::sim::Faults;
use crate::sim::faults::{DELAY_MAX, SMALL};

/// Beyond this nothing comes through in reasonable time.
const LOSS_MAX: u32 = 9_000;
const COUNT_MAX: u32 = 1_000;

const PARTS: &str = "the parts are delay, loss, dup, corrupt, partitions, one-way, crash, crash-anew, restart, \
                     failover, rollback, joins, leaves, evict, suspect, deaths, late-snapshots, foreign-snapshots, roam, two-relays, \
                     shared, liars, slow, skew, jump, early-timeouts, late-timeouts, no-timeouts, replays, limits, \
                     small-buffers and skip";

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.delay_max > Duration::ZERO {
            parts.push(format!("delay={}..{}ms", self.delay_min.as_millis(), self.delay_max.as_millis()));
        }
        let mut copy = self.clone();
        for (name, hundredths) in copy.shares().into_iter().filter(|(_, n)| **n > 0) {
            parts.push(format!("{name}={}%", f64::from(*hundredths) / 100.0));
        }
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

/// Reason why a text is not [`Faults`].
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
                ("loss" | "dup" | "corrupt", Some(value)) => {
                    let number = value.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
                    let number = number.filter(|n| (0.0..=100.0).contains(n));
                    let share = (number.ok_or_else(|| error("a share is like 5%"))? * 100.0).round() as u32;
                    if key != "dup" && share > LOSS_MAX {
                        return Err(error("a loss of more than 90% lets nothing through"));
                    }
                    let mut shares = faults.shares();
                    let known = shares.iter_mut().find(|(name, _)| *name == key);
                    *known.expect("one of the three above").1 = share;
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
                    let known = known.ok_or_else(|| error(PARTS))?;
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
    fn the_help_names_all_parts() {
        let mut all = Faults::default();
        let names = all.counts().map(|(name, _)| name).into_iter().chain(all.shares().map(|(name, _)| name));
        let missing: Vec<_> = names.filter(|name| !PARTS.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

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
