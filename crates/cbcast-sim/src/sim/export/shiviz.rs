//! The log format of ShiViz.
//!
//! Its clock is one of events, not of deliveries, so it is kept here beside the protocol's: each logged event counts
//! one at its host, and a delivery takes over what the sender had counted when it sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cbcast::{MemberId, MessageId};

use crate::sim::export::words;
use crate::sim::{Event, What};

type Clock = BTreeMap<MemberId, u64>;

pub(super) fn export(trace: &[Event]) -> String {
    // How to read an event, and (nothing) how executions are set apart.
    let mut out = String::from("(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})\n\n");
    let mut clocks: BTreeMap<MemberId, Clock> = BTreeMap::new();
    let mut sent: BTreeMap<MessageId, Clock> = BTreeMap::new();
    for Event { at, process, what } in trace {
        let heard = match what {
            What::Start { from: Some(from) } => clocks.get(from).cloned(),
            What::Deliver { message, .. } => sent.get(message).cloned(),
            _ => None,
        };
        let clock = clocks.entry(*process).or_default();
        for (member, count) in heard.into_iter().flatten() {
            let known = clock.entry(member).or_default();
            *known = count.max(*known);
        }
        *clock.entry(*process).or_default() += 1;
        if let What::Send { message, .. } = what {
            sent.insert(*message, clock.clone());
        }
        let entries: Vec<_> = clock.iter().map(|(member, count)| format!("\"{member}\":{count}")).collect();
        let _ = writeln!(out, "{} ms: {}", at.as_nanos() / 1_000_000, words(what));
        let _ = writeln!(out, "{process} {{{}}}", entries.join(","));
    }
    out
}
