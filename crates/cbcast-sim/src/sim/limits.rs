//! Limits and delays of the groups of a run.

use std::time::Duration;

use cbcast::{Config, GapPolicy, MemberId};

use crate::random::SplitMix64;
use crate::sim::{Plan, Script, Topology};

/// Longer than any run.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Those of a process in this plan.
pub(super) fn config(plan: &Plan, script: Option<&Script>, me: MemberId) -> Config {
    let mut config = match plan.topology {
        Topology::Mesh => Config::mesh(),
        _ => Config::relay(),
    };
    if script.is_some_and(|script| !script.repair) {
        (config.repair_delay, config.repair_delay_max) = (NEVER, NEVER);
    }
    config.seed = plan.seed ^ u64::from(me.origin) << 32 ^ u64::from(me.ordinal);
    config.heartbeat = Some(Duration::from_millis(200));
    if plan.faults.limits > 0 {
        let random = &mut SplitMix64(config.seed ^ 0x6c69_6d69_7473_0000);
        draw(&mut config, random);
    }
    if plan.faults.small_buffers > 0 {
        let places = plan.faults.small_buffers;
        config.holdback_max = places as usize;
        config.holdback_bytes_max = places as usize * 32;
        config.repair_ranges_max = (places as usize / 4).max(4);
        config.unstable_max = 4;
        config.ahead_max = 3;
    }
    if plan.faults.skip > Duration::ZERO {
        config.gap_policy = GapPolicy::Skip { after: plan.faults.skip.max(config.repair_delay) };
    }
    config
}

/// Any that there are, most of them impossible.
pub(super) fn wild(random: &mut SplitMix64) -> Config {
    let mut config = if random.below(2) == 0 { Config::relay() } else { Config::mesh() };
    // Nothing, a little, much, everything.
    let mut any = || (random.next() >> random.below(64)).wrapping_sub(random.below(2));
    config.members_max = any() as usize;
    config.packet_bytes_max = any() as usize;
    config.holdback_max = any() as usize;
    config.holdback_bytes_max = any() as usize;
    config.ahead_bytes_max = any() as usize;
    config.ahead_max = any();
    config.repair_delay = Duration::from_nanos(any());
    config.repair_delay_max = Duration::from_nanos(any());
    config.repair_ranges_max = any() as usize;
    config.heartbeat = Some(Duration::from_nanos(any()));
    config.unstable_max = any() as usize;
    config.unstable_bytes_max = any() as usize;
    config
}

/// Any that a group can live with, each on its own.
fn draw(config: &mut Config, random: &mut SplitMix64) {
    // As many orders of magnitude as there are between the two, each as likely.
    let mut between = |least: u64, most: u64| {
        let bits = random.below(u64::from((most / least).ilog2()) + 1);
        (least << bits).saturating_add(random.below(least << bits)).min(most)
    };
    config.packet_bytes_max = between(512, 1 << 20) as usize;
    config.holdback_max = between(8, 65_536) as usize;
    config.holdback_bytes_max = between(512, 1 << 26) as usize;
    config.ahead_bytes_max = between(512, 1 << 26) as usize;
    config.ahead_max = between(1_024, 1 << 20);
    config.repair_delay = Duration::from_millis(between(1, 400));
    config.repair_delay_max = Duration::from_millis(between(1, 4_000)).max(config.repair_delay);
    config.repair_ranges_max = between(1, 256) as usize;
    config.heartbeat = Some(Duration::from_millis(between(20, 1_000)));
    config.unstable_max = between(1, 4_096) as usize;
    config.unstable_bytes_max = between(64, 1 << 24) as usize;
    config.copies_kept = random.below(2) == 0;
}
