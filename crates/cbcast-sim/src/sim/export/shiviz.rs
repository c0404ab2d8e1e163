//! The log format of ShiViz.
//!
//! Its clock is one of events, not of deliveries, so it is kept here beside the protocol's: each logged event counts
//! one at its host, and a delivery takes over what the sender had counted when it sent. So does what depends on a
//! message: it was delivered there before, whether the trace tells of it or not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cbcast::{MemberId, MessageId};

use crate::sim::export::labels::{Labels, words};
use crate::sim::{TraceEvent, TraceKind};

type ShivizClock = BTreeMap<MemberId, u64>;

pub(super) fn export(trace: &[TraceEvent], labels: &Labels) -> String {
    let hosts = hosts(trace, labels);
    // How to read an event, and (nothing) how executions are set apart.
    let mut out = String::from("(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})\n\n");
    let mut clocks: BTreeMap<MemberId, ShivizClock> = BTreeMap::new();
    let mut sent: BTreeMap<MessageId, ShivizClock> = BTreeMap::new();
    for TraceEvent { at, process, what } in trace {
        let heard: Vec<_> = match what {
            TraceKind::Start { from: Some(from) } => clocks.get(from).cloned().into_iter().collect(),
            TraceKind::Deliver { message, .. } => sent.get(message).cloned().into_iter().collect(),
            TraceKind::Send { deps, .. } => deps.iter().filter_map(|dep| sent.get(dep)).cloned().collect(),
            _ => Vec::new(),
        };
        let clock = clocks.entry(*process).or_default();
        for (member, count) in heard.into_iter().flatten() {
            let known = clock.entry(member).or_default();
            *known = count.max(*known);
        }
        *clock.entry(*process).or_default() += 1;
        if let TraceKind::Send { message, .. } = what {
            sent.insert(*message, clock.clone());
        }
        let entry = |(member, count): (&MemberId, &u64)| format!("\"{}\":{count}", hosts[member]);
        let entries: Vec<_> = clock.iter().map(entry).collect();
        let words = words(what, labels).replace(char::is_control, " ");
        let words = words.replace(['\u{2028}', '\u{2029}'], " ");
        let _ = writeln!(out, "{} ms: {words}", at.as_nanos() / 1_000_000);
        let _ = writeln!(out, "{} {{{}}}", hosts[process], entries.join(","));
    }
    out
}

/// A name for each process that stands for it alone, is one word, and needs no escape in JSON.
fn hosts(trace: &[TraceEvent], labels: &Labels) -> BTreeMap<MemberId, String> {
    let mut hosts = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for TraceEvent { process, .. } in trace {
        if hosts.contains_key(process) {
            continue;
        }
        let strange = |c: char| c.is_whitespace() || c.is_control() || "\"\\{}\u{feff}".contains(c);
        let name = labels.member(*process).replace(strange, "_");
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
        let free = free.expect("there are more numbers than processes");
        taken.insert(free.clone());
        hosts.insert(*process, free);
    }
    hosts
}
