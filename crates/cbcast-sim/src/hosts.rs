//! One room on several servers: each with a host of its own, a log, and the rule "stored, then shown and published".
//!
//! Between them: a live path that loses, repeats and reorders; a stream that only the side of the majority can write or
//! read, and that may forget what it has acknowledged; repair from another's log by a [`Cut`](cbcast::Cut). Servers come
//! late, by one sponsor or two at once; they crash and go on from what they had stored; they are cut off in groups;
//! some are destroyed, and expelled by those that stay. Clients stamp their own messages, and go elsewhere with all that
//! they have delivered; what was on its way is said anew.
//!
//! Happened-before is rebuilt from recorded events. [`Weakening`]s are what an application may do wrong, and must be found.

mod clients;
mod expel;
mod judge;
mod parts;
mod plan;
mod servers;
mod settle;
mod world;

pub use plan::{HostsCounts, Weakening};
use world::HostsWorld;

/// One random run.
///
/// # Errors
/// What went wrong, in words.
pub fn run(seed: u64, weakening: Option<Weakening>) -> Result<HostsCounts, String> {
    HostsWorld::new(seed, weakening).run()
}
