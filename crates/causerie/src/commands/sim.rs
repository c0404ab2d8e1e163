//! `causerie sim`: whole groups over a bad network, simulated.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use cbcast_sim::sim::{self, Export, Faults, Labels, Plan, Report, Topology, TraceEvent};
use clap::Args;

/// Simulate groups over a bad network, and judge every delivery.
///
/// The seed decides what is not given: how many talk, over which network, and what goes wrong. The same arguments
/// give the same run.
#[derive(Args, Debug)]
pub(crate) struct SimArgs {
    /// Seed that everything is drawn from; with --runs, the first one.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of members who talk from the start.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=i64::from(sim::MEMBERS_MAX)))]
    members: Option<u32>,
    /// Number of messages that they say.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    messages: Option<u32>,
    /// Connections between members: relay, mesh, relays=N (each to each), chain=N or ring=N (of relays).
    #[arg(long)]
    topology: Option<Topology>,
    /// Faults: none, or any of these, with commas between.
    ///
    /// The network: delay=0..60ms, loss=5%, dup=2%, corrupt=1%, replays (of old packets), and, each with how often,
    /// partitions, one-way, slow (receivers). Processes: crash, restart (from what was exported), rollback (to what
    /// was exported before), failover (of relays),
    /// crash-anew (with all it had). Members: joins, late-snapshots, foreign-snapshots, leaves, evict (alive),
    /// suspect (evict and call it off), deaths, roam (from relay to relay), two-relays (that one reads), shared
    /// (processes), liars. Clocks: skew, jump, early-timeouts, late-timeouts, no-timeouts. Groups: limits (all drawn at
    /// random), small-buffers=PLACES, skip=500ms. What there is nothing for in a topology does not happen.
    #[arg(long, value_name = "FAULTS")]
    faults: Option<Faults>,
    /// Number of seeds to run, from --seed on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Write down what happened: as a picture (svg), for ShiViz, for Graphviz (dot), or as JSON lines (jsonl, by ids).
    #[arg(long, value_name = "svg|shiviz|dot|jsonl")]
    export: Option<Export>,
    /// File to write to; standard output unless given.
    #[arg(long, value_name = "FILE", requires = "export")]
    output: Option<PathBuf>,
    /// After a failure, look for a smaller plan that fails too.
    #[arg(long)]
    shrink: bool,
}

impl SimArgs {
    fn plan(&self, seed: u64) -> Plan {
        let swarm = Plan::swarm(seed);
        Plan {
            seed,
            members: self.members.unwrap_or(swarm.members),
            messages: self.messages.unwrap_or(swarm.messages),
            topology: self.topology.unwrap_or(swarm.topology),
            faults: self.faults.clone().unwrap_or(swarm.faults),
        }
    }
}

pub(crate) fn run(args: &SimArgs) -> anyhow::Result<()> {
    if let Some(format) = args.export {
        ensure!(args.runs == 1, "an export is of one run: leave out --runs");
        return export(args, format);
    }
    let progress = args.runs > 1 && io::stderr().is_terminal();
    let mut total = Report::default();
    let mut failed = 0;
    for seed in args.seed..args.seed.saturating_add(args.runs) {
        let plan = args.plan(seed);
        match sim::run(&plan) {
            Ok(report) => total.add(&report),
            Err(failure) if args.runs == 1 => return Err(explained(args, failure)),
            // The others are run all the same: how often something fails tells what it is.
            Err(failure) => {
                failed += 1;
                eprintln!("causerie: seed {seed}: {:#}", explained(args, failure));
            }
        }
        let done = total.runs + failed;
        if progress && done % 50 == 0 {
            eprint!("\r{done} of {} runs", args.runs);
        }
    }
    if progress {
        eprint!("\r\x1b[K");
    }
    let mut out = io::stdout();
    match args.runs {
        1 => writeln!(out, "causerie sim {}", args.plan(args.seed))?,
        runs => writeln!(out, "{runs} runs, seeds {} to {}", args.seed, args.seed.saturating_add(runs - 1))?,
    }
    writeln!(out, "{total}")?;
    ensure!(failed == 0, "{failed} of {} runs failed, and are not in these sums", args.runs);
    Ok(())
}

/// The trace is written also where it ends in a failure: that is when it is wanted most.
fn export(args: &SimArgs, format: Export) -> anyhow::Result<()> {
    let (trace, done) = sim::trace_of(&args.plan(args.seed));
    let labels = labels(&trace, args.plan(args.seed).topology);
    let text = sim::export_labelled(&trace, format, &labels);
    match &args.output {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
        None => io::stdout().write_all(text.as_bytes())?,
    }
    let report = done.map_err(|failure| explained(args, failure))?;
    if args.output.is_some() {
        println!("causerie sim {}\n{report}", args.plan(args.seed));
    }
    Ok(())
}

/// Names, as the lab has them. Whoever comes later than these goes by an id.
const NAMES: [&str; 26] = [
    "Ann", "Bob", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon", "Kim", "Lea", "Max", "Nia", "Oto",
    "Pia", "Quin", "Ray", "Sam", "Tia", "Uma", "Vic", "Wim", "Xia", "Yan", "Zoe",
];

/// Returns names for the members of a run, by order of appearance, and for its relays.
fn labels(trace: &[TraceEvent], topology: Topology) -> Labels {
    let (mut known, mut names) = (BTreeSet::new(), NAMES.iter());
    let started = trace.iter().map(|event| event.process).filter(|process| known.insert(*process));
    let named = started.filter_map(|process| match process.is_host() && topology != Topology::Mesh {
        true if topology == Topology::Relay => Some((process, "relay".into())),
        true => Some((process, format!("relay {}", process.origin + 1))),
        false => names.next().map(|name| (process, (*name).into())),
    });
    Labels::named(named)
}

fn explained(args: &SimArgs, failure: sim::Failure) -> anyhow::Error {
    if !args.shrink {
        return failure.into();
    }
    let small = sim::shrink(&failure.plan);
    anyhow::anyhow!("{failure}\nor, smaller:  causerie sim {small}")
}
