//! A graph for Graphviz: the messages of each member in a box, arrows from causes to what followed directly.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cbcast::{MemberId, MessageId};

use crate::sim::TraceEvent;
use crate::sim::export::labels::{Labels, messages};

pub(super) fn export(trace: &[TraceEvent], labels: &Labels) -> String {
    let messages = messages(trace);
    let mut members: BTreeMap<MemberId, Vec<MessageId>> = BTreeMap::new();
    for (message, _) in &messages {
        members.entry(message.member).or_default().push(*message);
    }
    let mut out = String::from("digraph causes {\n  rankdir=LR;\n  node [shape=box];\n");
    for (member, messages) in &members {
        let name = quoted(&labels.member(*member));
        let _ = writeln!(out, "  subgraph \"cluster_{member}\" {{\n    label={name};");
        for message in messages {
            let _ = match labels.messages.contains_key(message) {
                true => writeln!(out, "    \"{message}\" [label={}];", quoted(&labels.message(*message))),
                false => writeln!(out, "    \"{message}\";"),
            };
        }
        out.push_str("  }\n");
    }
    for (message, causes) in &messages {
        for cause in causes {
            let _ = writeln!(out, "  \"{cause}\" -> \"{message}\";");
        }
    }
    out.push_str("}\n");
    out
}

/// A string of Graphviz, in one line.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
