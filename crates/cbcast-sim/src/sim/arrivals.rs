//! A run as it would have been shown without causal order.

use std::collections::{BTreeMap, BTreeSet};

use cbcast::{MemberId, MessageId};

use crate::sim::{TraceEvent, TraceKind};

/// The same run where each message is delivered when its first copy arrives. What members send stays as it was.
#[must_use]
pub fn as_it_arrives(trace: &[TraceEvent]) -> Vec<TraceEvent> {
    let arrived = |event: &TraceEvent| {
        let what = match &event.what {
            TraceKind::Hold { message, deps, .. } => {
                TraceKind::Deliver { message: *message, deps: deps.clone(), held_for: None }
            }
            // It came before.
            TraceKind::Deliver { held_for: Some(_), .. } => return None,
            what => what.clone(),
        };
        Some(TraceEvent { what, ..event.clone() })
    };
    trace.iter().filter_map(arrived).collect()
}

/// The arrivals of a message before one that its author had delivered before sending it: each with its place in
/// [`as_it_arrives`], and the messages that were missing. Happened-before is that of the run, from its events alone.
#[must_use]
pub fn anomalies(trace: &[TraceEvent]) -> Vec<(usize, BTreeSet<MessageId>)> {
    let mut delivered: BTreeMap<MemberId, BTreeSet<MessageId>> = BTreeMap::new();
    let mut pasts = BTreeMap::new();
    for TraceEvent { process, what, .. } in trace {
        match what {
            TraceKind::Send { message, .. } => {
                let delivered = delivered.entry(*process).or_default();
                pasts.insert(*message, delivered.clone());
                delivered.insert(*message);
            }
            TraceKind::Deliver { message, .. } => {
                delivered.entry(*process).or_default().insert(*message);
            }
            _ => {}
        }
    }
    let mut arrived: BTreeMap<MemberId, BTreeSet<MessageId>> = BTreeMap::new();
    let mut found = Vec::new();
    for (place, TraceEvent { process, what, .. }) in as_it_arrives(trace).iter().enumerate() {
        let (TraceKind::Send { message, .. } | TraceKind::Deliver { message, .. }) = what else { continue };
        let arrived = arrived.entry(*process).or_default();
        if let (TraceKind::Deliver { .. }, Some(past)) = (what, pasts.get(message)) {
            let missing: BTreeSet<_> = past.difference(arrived).copied().collect();
            if !missing.is_empty() {
                found.push((place, missing));
            }
        }
        arrived.insert(*message);
    }
    found
}
