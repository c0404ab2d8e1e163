//! The smallest plan that still fails.

use crate::sim::{Plan, Topology, run};

/// Fewer members, messages and faults, while the run still fails. A plan that does not fail stays as it is.
#[must_use]
pub fn shrink(plan: &Plan) -> Plan {
    shrink_while(plan, |plan| run(plan).is_err())
}

/// Runs that one shrinking takes at most.
const TRIES_MAX: usize = 2_000;

/// The same for any property: the result has it if `plan` has, and nothing smaller that was tried does.
pub fn shrink_while(plan: &Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut smallest = plan.clone();
    let mut tries = 0;
    loop {
        let next = smaller(&smallest).into_iter().find(|plan| {
            tries += 1;
            tries <= TRIES_MAX && fails(plan)
        });
        match next {
            Some(plan) => smallest = plan,
            None => return smallest,
        }
    }
}

/// Smaller plans to try, those with most taken away first.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let Plan { members, messages, .. } = *plan;
    let mut tries = Vec::new();
    let counts = [messages / 2, messages - messages / 4, messages.saturating_sub(1)];
    tries.extend(counts.map(|messages| Plan { messages, ..plan.clone() }));
    tries.extend([members / 2, members - 1].map(|n| Plan { members: n.max(2), ..plan.clone() }));
    tries.extend(plan.faults.fewer().into_iter().map(|faults| Plan { faults, ..plan.clone() }));
    let topology = match plan.topology {
        Topology::Relay | Topology::Mesh => plan.topology,
        Topology::Relays(n) if n > 2 => Topology::Relays(n - 1),
        Topology::Chain(n) if n > 2 => Topology::Chain(n - 1),
        Topology::Ring(n) if n > 3 => Topology::Ring(n - 1),
        Topology::Chain(n) | Topology::Ring(n) => Topology::Relays(n),
        Topology::Relays(_) => Topology::Relay,
    };
    tries.push(Plan { topology, ..plan.clone() });
    tries.retain(|other| other != plan);
    tries
}
