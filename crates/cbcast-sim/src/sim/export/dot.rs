//! A graph for Graphviz: the messages of each member in a box, arrows from causes to what followed directly.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cbcast::{MemberId, MessageId};

use crate::sim::{Event, What};

pub(super) fn export(trace: &[Event]) -> String {
    let mut messages: BTreeMap<MemberId, Vec<(MessageId, &[MessageId])>> = BTreeMap::new();
    for event in trace {
        if let What::Send { message, deps } = &event.what {
            messages.entry(message.member).or_default().push((*message, deps));
        }
    }
    let mut out = String::from("digraph causes {\n  rankdir=LR;\n  node [shape=box];\n");
    for (member, messages) in &messages {
        let _ = writeln!(out, "  subgraph \"cluster_{member}\" {{\n    label=\"{member}\";");
        for (message, _) in messages {
            let _ = writeln!(out, "    \"{message}\";");
        }
        out.push_str("  }\n");
    }
    for (message, deps) in messages.values().flatten() {
        let before = (message.seq > 1).then(|| MessageId::new(message.member, message.seq - 1));
        for cause in before.iter().chain(*deps) {
            let _ = writeln!(out, "  \"{cause}\" -> \"{message}\";");
        }
    }
    out.push_str("}\n");
    out
}
