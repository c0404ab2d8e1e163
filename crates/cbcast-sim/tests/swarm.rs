//! Swarms of simulated groups: the seed decides who talks over which network and what goes wrong.
//!
//! `SEED=n cargo test -p cbcast-sim --test swarm` runs one seed; `SEEDS=n` that many, `SEEDS=m..n` those from m on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use cbcast_sim::Violation;
use cbcast_sim::sim::{self, Export, Plan, Report, Topology, TraceKind};

fn seeds(default: u64) -> Vec<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    if let Ok(seed) = std::env::var("SEED") {
        return vec![number(&seed)];
    }
    match std::env::var("SEEDS") {
        Ok(seeds) => match seeds.split_once("..") {
            Some((first, end)) => (number(first)..number(end)).collect(),
            None => (0..number(&seeds)).collect(),
        },
        Err(_) => (0..default).collect(),
    }
}

/// Results of some seeds: the sum, the number of runs of each topology, and the least seed that failed.
#[derive(Default)]
struct Swarm {
    all: Report,
    kinds: [u64; 5],
    failed: Option<(u64, sim::Failure)>,
}

/// Runs seeds, with others who take from the same list, until one of the seeds before `stop` has failed.
fn run_some(plan: impl Fn(u64) -> Plan, seeds: &[u64], next: &AtomicU64, stop: &AtomicU64) -> Swarm {
    let mut swarm = Swarm::default();
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some(&seed) = seeds.get(place as usize) else { return swarm };
        // Seeds are taken in order, so the least that fails is never left out.
        if place > stop.load(Ordering::Relaxed) {
            return swarm;
        }
        let plan = plan(seed);
        match sim::run(&plan) {
            Ok(report) => swarm.all.add(&report),
            Err(failure) => {
                stop.fetch_min(place, Ordering::Relaxed);
                swarm.failed = Some((seed, failure));
                return swarm;
            }
        }
        swarm.kinds[match plan.topology {
            Topology::Relay => 0,
            Topology::Mesh => 1,
            Topology::Relays(_) => 2,
            Topology::Chain(_) => 3,
            Topology::Ring(_) => 4,
        }] += 1;
    }
}

/// Runs all of them on all processors. Panics with the least seed that fails, and how to repeat it.
fn run_all(plan: impl Fn(u64) -> Plan + Sync, seeds: &[u64]) -> (Report, [u64; 5]) {
    let (next, stop) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let swarms: Vec<Swarm> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let running: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| run_some(&plan, seeds, &next, &stop))).collect();
        running.into_iter().map(|thread| thread.join().expect("runs catch panics")).collect()
    });
    let mut all = Report::default();
    let mut kinds = [0; 5];
    let mut failures = Vec::new();
    for swarm in swarms {
        all.add(&swarm.all);
        (0..5).for_each(|kind| kinds[kind] += swarm.kinds[kind]);
        failures.extend(swarm.failed);
    }
    if let Some((seed, failure)) = failures.into_iter().min_by_key(|(seed, _)| *seed) {
        panic!("{failure}\n  or with: SEED={seed} cargo test -p cbcast-sim --test swarm");
    }
    (all, kinds)
}

#[test]
fn swarms_keep_causal_order_and_converge() {
    let (all, kinds) = run_all(Plan::swarm, &seeds(300));
    println!("{} runs\n{all}", all.runs);
    if all.runs >= 100 {
        let Report { held, wants, resent, duplicates, lost, cut_off, partitions, .. } = all;
        let Report { joins, leaves, crashes, refused, blocked, textbook_agreed, .. } = all;
        let met = [held, wants, resent, duplicates, lost, cut_off, partitions];
        let more = [joins, leaves, crashes, refused, blocked, textbook_agreed];
        let all_kinds = met.iter().chain(&more).chain(&kinds).all(|&n| n > 0);
        assert!(all_kinds, "a run without trouble proves nothing: {kinds:?} {all:?}");
        let unmet: Vec<_> = MET.iter().filter(|fault| !all.met.contains_key(*fault)).collect();
        assert!(unmet.is_empty(), "{unmet:?} were not met");
    }
}

/// Faults of processes, clocks, links and members beside that, and what came of them.
const MET: [&str; 25] = [
    "corrupt",
    "corrupt, readable",
    "early-timeouts",
    "evict",
    "failover",
    "foreign-snapshots",
    "jump",
    "jump back",
    "late-snapshots",
    "late-timeouts",
    "liars",
    "lies delivered",
    "lies refused",
    "limits",
    "limits refused",
    "no-timeouts",
    "replays",
    "restart",
    "roam",
    "rollback",
    "rollback, proven",
    "shared",
    "skew",
    "suspect, called off",
    "two-relays",
];

/// Members die, and what nobody has is given up, visibly: each message at most once at each process, none of it
/// delivered there any more, and as a cause it counts.
#[test]
fn swarms_keep_causal_order_where_messages_are_given_up() {
    let (all, kinds) = run_all(Plan::skipping, &seeds(300));
    println!("{} runs\n{all}", all.runs);
    if all.runs >= 100 {
        assert!(all.skipped > 0 && kinds.iter().all(|&n| n > 0), "nothing was given up: {kinds:?} {all:?}");
    }
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    for seed in 0..20 {
        let plan = Plan::swarm(seed);
        let [(first, one), (second, two)] = [sim::trace_of(&plan), sim::trace_of(&plan)];
        assert_eq!(one, two);
        assert!(!first.is_empty());
        for format in [Export::Jsonl, Export::Shiviz, Export::Dot] {
            assert_eq!(sim::export(&first, format), sim::export(&second, format), "{plan}");
        }
    }
}

/// The judge would notice a group whose rule is broken: a delivery put before its cause is one.
#[test]
fn a_doctored_trace_is_caught() {
    let mut caught = 0;
    for seed in 0..20 {
        let (trace, done) = sim::trace_of(&Plan::swarm(seed));
        done.unwrap();
        assert_eq!(sim::judge(&trace), Ok(()));
        // A delivery that follows that of a direct cause at the same process; both change places.
        let deliver = |event: &sim::TraceEvent| match &event.what {
            TraceKind::Deliver { message, deps, .. } => Some((event.process, *message, deps.clone())),
            _ => None,
        };
        let pair = trace.iter().enumerate().find_map(|(later, event)| {
            let (process, _, deps) = deliver(event)?;
            let cause =
                |e: &sim::TraceEvent| deliver(e).is_some_and(|(p, m, _)| p == process && deps.contains(&m));
            Some((trace[..later].iter().position(cause)?, later))
        });
        let Some((earlier, later)) = pair else { continue };
        let mut doctored = trace.clone();
        (doctored[earlier].what, doctored[later].what) =
            (trace[later].what.clone(), trace[earlier].what.clone());
        assert!(sim::judge(&doctored).is_err(), "seed {seed}");
        let mut repeated = trace.clone();
        repeated.insert(later, trace[later].clone());
        assert!(matches!(sim::judge(&repeated), Err(Violation::Twice { .. })), "seed {seed}");
        caught += 1;
    }
    assert!(caught > 10, "{caught}");
}

#[test]
fn shrinking_leaves_just_what_is_needed() {
    let plan = (0..).map(Plan::swarm).find(|plan| {
        let faults = &plan.faults;
        plan.members > 5 && plan.messages > 40 && faults.joins > 1 && faults.loss > 0
    });
    let fails = |plan: &Plan| plan.members >= 3 && plan.messages >= 17 && plan.faults.joins >= 1;
    let small = sim::shrink_while(&plan.unwrap(), fails);
    assert_eq!((small.members, small.messages), (3, 17));
    assert_eq!(small.faults.to_string(), "joins=1");
    let fine = Plan::swarm(1);
    assert_eq!(sim::shrink(&fine), fine, "does not fail");
}

/// Shrinking leaves of many faults the one that a failure needs, and of many relays as few.
#[test]
fn shrinking_finds_the_fault_among_the_others() {
    let plan = (0..).map(Plan::swarm).find(|plan| {
        let faults = &plan.faults;
        matches!(plan.topology, Topology::Ring(_))
            && faults.restarts > 1
            && faults.skewed + faults.replays > 0
    });
    let fails = |plan: &Plan| plan.faults.restarts > 0 && plan.topology != Topology::Relay;
    let small = sim::shrink_while(&plan.unwrap(), fails);
    assert_eq!((small.topology, small.faults.to_string().as_str()), (Topology::Relays(2), "restart=1"));
}

#[test]
fn a_failure_names_the_command_that_repeats_it() {
    let plan = Plan::swarm(3);
    let wrong = Box::new(sim::Wrong::Panic("at the disco".into()));
    let failure = sim::Failure { wrong, at: cbcast::Time::from_millis(1_500), plan: Box::new(plan.clone()) };
    let text = failure.to_string();
    assert!(text.contains("panicked: at the disco (after 1.500 s, virtual)"), "{text}");
    assert!(text.ends_with(&format!("replay with: causerie sim {plan}")), "{text}");
    assert!(text.contains("--seed 3 --members"), "{text}");
}
