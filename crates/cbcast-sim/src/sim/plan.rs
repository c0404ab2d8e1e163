//! Plans of runs: everything follows from one, so the same plan gives the same run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::random::SplitMix64;
use crate::sim::Faults;

/// A whole run. Written as the arguments of `causerie sim` that repeat it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Seed that everything is drawn from.
    pub seed: u64,
    /// Number of members that talk from the start. Relays come on top.
    pub members: u32,
    /// Number of messages that they say.
    pub messages: u32,
    /// Connections between processes.
    pub topology: Topology,
    /// Faults on the way.
    pub faults: Faults,
}

/// Connections between processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Topology {
    /// One relay, which passes on what each has said in an order that is causal.
    Relay,
    /// Everybody sends to everybody. Member `0.0` admits and parts with members.
    Mesh,
    /// Several relays, each connected to all others and to its own members.
    Relays(u32),
    /// Several relays in a row, each connected to its neighbours and to its own members. They pass on what they hear.
    Chain(u32),
    /// The same, and the last is connected to the first.
    Ring(u32),
}

/// More members than that make a run too slow to be of use.
pub const MEMBERS_MAX: u32 = 200;
/// More relays than that are not simulated.
pub const RELAYS_MAX: u32 = 16;

impl Plan {
    /// The seed decides how many talk, how much, over which network, and what goes wrong.
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        // Not the draws of the run itself: whoever overrides a part keeps the others.
        let random = &mut SplitMix64(seed ^ 0x7377_6172_6d00_0000);
        let mut topology = match random.below(5) {
            0 | 1 => Topology::Relay,
            2 | 3 => Topology::Mesh,
            _ => Topology::Relays(2 + random.below(2) as u32),
        };
        let members = 2 + random.below(11) as u32;
        let messages = 10 + random.below(91) as u32;
        let faults = Faults::swarm(random);
        let random = &mut SplitMix64(seed ^ 0x6861_7273_6800_0000);
        if let Topology::Relays(n) = topology {
            topology = match random.below(3) {
                0 => topology,
                1 => Topology::Chain(n + random.below(3) as u32),
                _ => Topology::Ring(n + 1 + random.below(2) as u32),
            };
        }
        Self { seed, members, messages, topology, faults: faults.harsher(random) }.with_what_can_be()
    }

    /// Without faults that there is nothing for in this topology.
    fn with_what_can_be(mut self) -> Self {
        let relays = self.topology.relays();
        let faults = &mut self.faults;
        if relays == 0 {
            (faults.liars, faults.failovers) = (0, 0);
        }
        if relays > 0 {
            faults.suspicions = 0;
        } else {
            // What others have let go because it had acknowledged it is nowhere any more.
            faults.rollbacks = 0;
        }
        if relays < 2 {
            (faults.roams, faults.readers) = (0, 0);
        }
        self
    }

    /// The same, with members that die and messages that are given up where nobody has them. In a mesh one goes at most:
    /// where departures overlap, what the host has given up can let through what followed it elsewhere.
    #[must_use]
    pub fn skipping(seed: u64) -> Self {
        let mut plan = Self::swarm(seed);
        plan.faults = plan.faults.skipping(&mut SplitMix64(seed ^ 0x736b_6970_0000_0000));
        // What one relay has given up another may have, and what it gives up may be numbered anew.
        (plan.faults.roams, plan.faults.rollbacks) = (0, 0);
        if plan.topology == Topology::Mesh {
            let Faults { deaths, leaves, crashes_anew, evictions, suspicions, .. } = &mut plan.faults;
            let mut left = 1;
            for count in [deaths, leaves, crashes_anew, evictions, suspicions] {
                *count = left.min(*count);
                left -= *count;
            }
        }
        plan
    }

    /// Within limits: at least two members, a message, a relay; not more than [`MEMBERS_MAX`] and [`RELAYS_MAX`].
    #[must_use]
    pub fn clamped(mut self) -> Self {
        self.members = self.members.clamp(2, MEMBERS_MAX);
        self.messages = self.messages.max(1);
        if let Topology::Relays(n) | Topology::Chain(n) | Topology::Ring(n) = &mut self.topology {
            *n = (*n).clamp(1, RELAYS_MAX);
        }
        self.faults.delay_max = self.faults.delay_max.clamp(self.faults.delay_min, Duration::from_secs(60));
        self
    }

    /// Returns whether the textbook runs beside: it gives nothing up, and knows no flush.
    #[must_use]
    pub fn has_textbook(&self) -> bool {
        let Faults { leaves, crashes_anew, deaths, evictions, suspicions, skip, .. } = self.faults;
        let part = [leaves, crashes_anew, deaths, evictions, suspicions].iter().any(|&count| count > 0);
        let flushes = self.topology == Topology::Mesh && part;
        skip == Duration::ZERO && !flushes
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, members, messages, topology, faults } = self;
        write!(f, "--seed {seed} --members {members} --messages {messages} ")?;
        write!(f, "--topology {topology} --faults {faults}")
    }
}

impl Topology {
    /// Returns how many relays there are; none in a mesh.
    pub(super) fn relays(self) -> u32 {
        match self {
            Self::Relay => 1,
            Self::Mesh => 0,
            Self::Relays(n) | Self::Chain(n) | Self::Ring(n) => n,
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay => f.write_str("relay"),
            Self::Mesh => f.write_str("mesh"),
            Self::Relays(n) => write!(f, "relays={n}"),
            Self::Chain(n) => write!(f, "chain={n}"),
            Self::Ring(n) => write!(f, "ring={n}"),
        }
    }
}

/// Reason why a text is not a [`Topology`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{0}' is none of relay, mesh, relays=N, chain=N, ring=N (N up to {RELAYS_MAX})")]
pub struct TopologyError(String);

impl FromStr for Topology {
    type Err = TopologyError;

    fn from_str(text: &str) -> Result<Self, TopologyError> {
        match text {
            "relay" => Ok(Self::Relay),
            "mesh" => Ok(Self::Mesh),
            _ => {
                let (shape, n) = text.split_once('=').unwrap_or_default();
                let n = n.parse().ok().filter(|n| (1..=RELAYS_MAX).contains(n));
                match (shape, n) {
                    ("relays", Some(n)) => Ok(Self::Relays(n)),
                    ("chain", Some(n)) => Ok(Self::Chain(n)),
                    ("ring", Some(n)) => Ok(Self::Ring(n)),
                    _ => Err(TopologyError(text.into())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_written_as_it_is_read() {
        for seed in 0..200 {
            let plan = Plan::swarm(seed);
            assert_eq!(plan.clone().clamped(), plan);
            assert_eq!(plan.topology.to_string().parse(), Ok(plan.topology));
            assert_eq!(plan.faults.to_string().parse(), Ok(plan.faults.clone()), "{plan}");
            let plan = Plan::skipping(seed);
            assert_eq!(plan.faults.to_string().parse(), Ok(plan.faults.clone()), "{plan}");
        }
        assert!("ring".parse::<Topology>().is_err());
        assert!("relays=0".parse::<Topology>().is_err());
    }
}
