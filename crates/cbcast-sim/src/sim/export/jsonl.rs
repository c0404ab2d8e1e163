//! JSON lines. Nothing in them needs escaping: names are numbers and dots, words are ours.

use std::fmt::Write as _;

use cbcast::MessageId;

use crate::sim::{TraceEvent, TraceKind};

pub(super) fn export(trace: &[TraceEvent]) -> String {
    let mut out = String::new();
    for TraceEvent { at, process, what } in trace {
        let _ = write!(out, "{{\"at_us\":{},\"process\":\"{process}\",", at.as_nanos() / 1_000);
        let _ = match what {
            TraceKind::Start { from: None } => write!(out, "\"event\":\"start\""),
            TraceKind::Start { from: Some(from) } => write!(out, "\"event\":\"start\",\"from\":\"{from}\""),
            TraceKind::Snapshot { to } => write!(out, "\"event\":\"snapshot\",\"to\":\"{to}\""),
            TraceKind::Moved { to } => write!(out, "\"event\":\"moved\",\"to\":\"{to}\""),
            TraceKind::Send { message, deps } => {
                write!(out, "\"event\":\"send\",\"message\":\"{message}\",\"deps\":[{}]", names(deps))
            }
            TraceKind::Hold { message, deps, waits_for } => write!(
                out,
                "\"event\":\"hold\",\"message\":\"{message}\",\"deps\":[{}],\"waits_for\":\"{waits_for}\"",
                names(deps)
            ),
            TraceKind::Deliver { message, deps, held_for } => {
                let _ =
                    write!(out, "\"event\":\"deliver\",\"message\":\"{message}\",\"deps\":[{}]", names(deps));
                held_for.map_or(Ok(()), |held| write!(out, ",\"held_us\":{}", held.as_micros()))
            }
            TraceKind::Gap { range } => write!(
                out,
                "\"event\":\"gap\",\"member\":\"{}\",\"from\":{},\"to\":{}",
                range.member, range.from, range.to
            ),
            TraceKind::BackUp => write!(out, "\"event\":\"backup\""),
            TraceKind::GoBack => write!(out, "\"event\":\"back\""),
            TraceKind::GoOn { last } => write!(out, "\"event\":\"on\",\"last\":{last}"),
            TraceKind::Stop => write!(out, "\"event\":\"stop\""),
            TraceKind::Resume => write!(out, "\"event\":\"resume\""),
            TraceKind::Gone => write!(out, "\"event\":\"gone\""),
        };
        out.push_str("}\n");
    }
    out
}

fn names(ids: &[MessageId]) -> String {
    ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(",")
}
