//! JSON lines. Nothing in them needs escaping: names are numbers and dots, words are ours.

use std::fmt::Write as _;

use cbcast::MessageId;

use crate::sim::{Event, What};

pub(super) fn export(trace: &[Event]) -> String {
    let mut out = String::new();
    for Event { at, process, what } in trace {
        let _ = write!(out, "{{\"at_us\":{},\"process\":\"{process}\",", at.as_nanos() / 1_000);
        let _ = match what {
            What::Start { from: None } => write!(out, "\"event\":\"start\""),
            What::Start { from: Some(from) } => write!(out, "\"event\":\"start\",\"from\":\"{from}\""),
            What::Snapshot { to } => write!(out, "\"event\":\"snapshot\",\"to\":\"{to}\""),
            What::Moved { to } => write!(out, "\"event\":\"moved\",\"to\":\"{to}\""),
            What::Send { message, deps } => {
                write!(out, "\"event\":\"send\",\"message\":\"{message}\",\"deps\":[{}]", names(deps))
            }
            What::Hold { message, deps, waits_for } => write!(
                out,
                "\"event\":\"hold\",\"message\":\"{message}\",\"deps\":[{}],\"waits_for\":\"{waits_for}\"",
                names(deps)
            ),
            What::Deliver { message, deps, held_for } => {
                let _ =
                    write!(out, "\"event\":\"deliver\",\"message\":\"{message}\",\"deps\":[{}]", names(deps));
                held_for.map_or(Ok(()), |held| write!(out, ",\"held_us\":{}", held.as_micros()))
            }
            What::Gap { range } => write!(
                out,
                "\"event\":\"gap\",\"member\":\"{}\",\"from\":{},\"to\":{}",
                range.member, range.from, range.to
            ),
            What::BackUp => write!(out, "\"event\":\"backup\""),
            What::GoBack => write!(out, "\"event\":\"back\""),
            What::GoOn { last } => write!(out, "\"event\":\"on\",\"last\":{last}"),
            What::Stop => write!(out, "\"event\":\"stop\""),
            What::Resume => write!(out, "\"event\":\"resume\""),
            What::Gone => write!(out, "\"event\":\"gone\""),
        };
        out.push_str("}\n");
    }
    out
}

fn names(ids: &[MessageId]) -> String {
    ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(",")
}
