//! Each way of connecting processes that the documentation of cbcast calls safe, under loss, partitions and crashes, with
//! members that come and go: the oracle judges each delivery, and all have everything in the end.
//!
//! `SEEDS=n cargo test -p cbcast-sim --test topologies` runs more of each.

use cbcast_sim::sim::{self, Plan, Report, Topology};

/// Faults in all of them.
const TROUBLE: &str = "delay=0..80ms,loss=10%,dup=2%,partitions=1,crash=1,restart=1";

/// Runs it, and has met all that was to be shown.
fn holds(topology: Topology, faults: &str, met: &[&str]) -> Report {
    let seeds = std::env::var("SEEDS").map_or(25, |seeds| seeds.parse().expect("a number"));
    let mut all = Report::default();
    for seed in 0..seeds {
        let faults = format!("{TROUBLE},{faults}").parse().expect("faults as they are written");
        let plan = Plan { seed, members: 6, messages: 40, topology, faults };
        all.add(&sim::run(&plan).unwrap_or_else(|failure| panic!("{failure}")));
    }
    assert!(all.held > 0 && all.lost > 0 && all.wants > 0, "without trouble it proves nothing: {all:?}");
    let unmet: Vec<_> = met.iter().filter(|fault| !all.met.contains_key(**fault)).collect();
    assert!(unmet.is_empty(), "{unmet:?} were not met: {:?}", all.met);
    all
}

fn come_and_go(all: &Report) {
    assert!(all.joins > 0 && all.leaves > 0, "{all:?}");
}

#[test]
fn one_relay() {
    come_and_go(&holds(Topology::Relay, "joins=3,leaves=2,crash-anew=1", &["restart"]));
}

#[test]
fn relays_each_to_each() {
    come_and_go(&holds(Topology::Relays(3), "joins=3,leaves=2", &["restart"]));
}

#[test]
fn relays_in_a_row_that_pass_on_what_they_deliver() {
    come_and_go(&holds(Topology::Chain(4), "joins=3,leaves=2", &["restart"]));
}

#[test]
fn relays_in_a_ring() {
    come_and_go(&holds(Topology::Ring(4), "joins=3,leaves=2", &["restart"]));
}

#[test]
fn clients_that_read_two_relays() {
    come_and_go(&holds(Topology::Relays(3), "two-relays=2,joins=2,leaves=2", &["two-relays"]));
}

#[test]
fn a_client_that_changes_its_relay() {
    come_and_go(&holds(Topology::Relays(3), "roam=3,joins=2,leaves=1", &["roam"]));
}

#[test]
fn a_relay_in_whose_place_another_goes_on() {
    come_and_go(&holds(Topology::Relays(2), "failover=2,joins=2,leaves=1", &["failover"]));
}

#[test]
fn a_mesh_whose_members_are_fixed() {
    let all = holds(Topology::Mesh, "one-way=1", &["restart"]);
    assert_eq!((all.joins, all.leaves), (0, 0));
    assert!(all.textbook_agreed > 0);
}

#[test]
fn a_mesh_whose_members_join_and_leave_by_flush() {
    let met = ["restart", "suspect, called off"];
    come_and_go(&holds(Topology::Mesh, "joins=3,leaves=2,crash-anew=1,suspect=2", &met));
}

#[test]
fn members_that_share_a_process() {
    come_and_go(&holds(Topology::Mesh, "shared=2,joins=2,leaves=1", &["shared"]));
}
