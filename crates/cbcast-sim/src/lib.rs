//! Judges of causal broadcast.
//!
//! [`Oracle`] rebuilds happened-before from recorded broadcast and deliver events alone. It never looks at a
//! stamp or a clock of the protocol, so it cannot share their bugs. [`textbook`] is the protocol as its paper has
//! it, and [`history`] makes up who said what: both for tests that compare, and for benchmarks. [`sim`] runs whole
//! groups over a bad network, in virtual time and from a seed, before all these judges.
//! [`hosts`] does so with a room on several servers. [`drive`] is for tests that go step by step.

pub mod drive;
pub mod history;
pub mod hosts;
mod oracle;
mod random;
pub mod sim;
pub mod textbook;

pub use oracle::{Oracle, Seen, Violation};
pub use random::SplitMix64;
