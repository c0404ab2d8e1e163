//! Traces, for other programs.

mod dot;
mod jsonl;
mod shiviz;

use std::fmt::Display;
use std::str::FromStr;

use cbcast::MessageId;
use thiserror::Error;

use crate::sim::{Event, What};

/// For which program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Export {
    /// ShiViz, a space-time diagram in the browser.
    Shiviz,
    /// Graphviz: messages, and the direct dependencies between them.
    Dot,
    /// One JSON object a line and event.
    Jsonl,
}

/// Why a text is not an [`Export`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{0}' is none of shiviz, dot, jsonl")]
pub struct ExportError(String);

impl FromStr for Export {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        match text {
            "shiviz" => Ok(Self::Shiviz),
            "dot" => Ok(Self::Dot),
            "jsonl" => Ok(Self::Jsonl),
            _ => Err(ExportError(text.into())),
        }
    }
}

/// The whole trace as a text.
#[must_use]
pub fn export(trace: &[Event], format: Export) -> String {
    match format {
        Export::Shiviz => shiviz::export(trace),
        Export::Dot => dot::export(trace),
        Export::Jsonl => jsonl::export(trace),
    }
}

/// The message that an event is about, in words.
fn words(what: &What) -> String {
    let after = |deps: &[MessageId]| match deps {
        [] => String::new(),
        deps => format!(" after {}", list(deps, ", ")),
    };
    match what {
        What::Start { from: None } => "start".into(),
        What::Start { from: Some(from) } => format!("start from the snapshot of {from}"),
        What::Send { message, deps } => format!("send {message}{}", after(deps)),
        What::Hold { message, waits_for, .. } => format!("hold {message}, which waits for {waits_for}"),
        What::Deliver { message, held_for: None, .. } => format!("deliver {message}"),
        What::Deliver { message, held_for: Some(held), .. } => {
            format!("deliver {message}, held for {} ms", held.as_millis())
        }
        What::Gap { range } => format!("skip {}#{} to {}", range.member, range.from, range.to),
        What::Stop => "stop".into(),
        What::Resume => "resume".into(),
        What::Gone => "gone".into(),
    }
}

fn list<T: Display>(items: &[T], between: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}
