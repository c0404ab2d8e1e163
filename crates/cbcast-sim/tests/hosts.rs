//! A room on several servers, by chance: no run breaks the order, and each mistake around the groups is found.
//!
//! `SEED=n cargo test -p cbcast-sim --test hosts` runs one seed; `SEEDS=n` that many.

use cbcast_sim::hosts::{self, HostsCounts, Weakening};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|n| n.parse().expect("a number"))
}

#[test]
fn no_run_breaks_the_order() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(300),
    };
    let (mut all, many) = (HostsCounts::default(), seeds.end - seeds.start);
    for seed in seeds {
        match hosts::run(seed, None) {
            Ok(counts) => all.add(&counts),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    println!("{many} runs: {all:?}");
    if many >= 300 {
        // Each happened.
        for count in [
            all.held,
            all.refused_for_now,
            all.two_sponsors,
            all.said_again,
            all.crashes,
            all.partitions,
            all.stream_losses,
            all.expelled_together,
            all.expulsions_given_up,
            all.lost_with_a_disk,
            all.left,
        ] {
            assert!(count > 0, "{all:?}");
        }
    }
}

#[test]
fn each_mistake_is_found() {
    for weakening in Weakening::ALL {
        let found = (0..3_000).find(|&seed| hosts::run(seed, Some(weakening)).is_err());
        assert!(found.is_some(), "{weakening:?}");
    }
}
