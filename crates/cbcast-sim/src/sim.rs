//! A deterministic simulator: groups over a network that loses, delays, repeats, damages and reorders, falls apart and
//! heals, while processes crash, restart, join, leave, roam, lie and lag, with clocks that are wrong. In virtual time,
//! from a seed, through cbcast's public API and real wire bytes at each hop.
//!
//! Every delivery is judged by the [`Oracle`](crate::Oracle), and compared with what the author wrote. Where nothing is
//! given up and nobody leaves by flush, the [`textbook`](crate::textbook) runs beside each process on the same
//! arrivals, and must have delivered the same messages after each. Buffers must stay within their limits at all times, and once the network has healed
//! everybody must come to have everything, hold nothing, and (in a mesh) know that all is stable.
//!
//! ```
//! use cbcast_sim::sim::{Plan, run};
//!
//! let report = run(&Plan::swarm(7))?;
//! assert_eq!(report.order_violations, 0);
//! # Ok::<(), cbcast_sim::sim::Failure>(())
//! ```

mod arrivals;
mod changes;
mod clocks;
mod export;
mod faults;
mod incoming;
mod joining;
mod lies;
mod limits;
mod links;
mod network;
mod newcomer;
mod outgoing;
mod plan;
mod process;
mod report;
mod restarts;
mod schedule;
mod script;
mod settle;
mod shrink;
mod trace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cbcast::Time;

pub use arrivals::{anomalies, as_it_arrives};
pub use export::{Export, ExportFormatError, Labels, export, export_labelled};
pub use faults::{Faults, FaultsError};
pub use plan::{MEMBERS_MAX, Plan, RELAYS_MAX, Topology, TopologyError};
pub use report::{Failure, Report, Wrong};
pub use script::{Script, ScriptedCut, SlowLink};
pub use shrink::{shrink, shrink_while};
pub use trace::{TraceEvent, TraceKind, judge};

/// Runs a plan to its end: until everything is said, the network has healed, and everybody has everything.
///
/// # Errors
/// The [`Failure`], with the plan that repeats it.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    run_observed(plan, |_| {})
}

/// The same, and tells of every event as it happens, also before a failure.
///
/// # Errors
/// The [`Failure`], with the plan that repeats it.
pub fn run_observed(plan: &Plan, observe: impl FnMut(TraceEvent)) -> Result<Report, Failure> {
    run_in(plan, None, observe)
}

/// The same in a mesh whose members are those of the script.
///
/// # Errors
/// The [`Failure`]; its plan alone does not repeat it.
pub fn run_scripted(
    plan: &Plan,
    script: &Script,
    observe: impl FnMut(TraceEvent),
) -> Result<Report, Failure> {
    run_in(&Plan { topology: Topology::Mesh, ..plan.clone() }, Some(script), observe)
}

fn run_in(plan: &Plan, script: Option<&Script>, observe: impl FnMut(TraceEvent)) -> Result<Report, Failure> {
    let plan = plan.clone().clamped();
    let failure = |wrong, at| Failure { wrong: Box::new(wrong), at, plan: Box::new(plan.clone()) };
    // A panic in the protocol is a find as good as any, and should name its plan.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = world::World::new(&plan, script, observe);
        world.run().map_err(|wrong| failure(wrong, world.now()))
    }));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.into()));
        Err(failure(Wrong::Panic(text.unwrap_or_default()), Time::ZERO))
    })
}

/// The whole trace of a plan, whether it fails or not.
pub fn trace_of(plan: &Plan) -> (Vec<TraceEvent>, Result<Report, Failure>) {
    let mut trace = Vec::new();
    let done = run_observed(plan, |event| trace.push(event));
    (trace, done)
}
