//! Traces, for other programs.

mod dot;
mod jsonl;
mod labels;
mod shiviz;
mod svg;

use std::str::FromStr;

use thiserror::Error;

pub use self::labels::Labels;
use crate::sim::TraceEvent;

/// For which program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Export {
    /// ShiViz, a space-time diagram in the browser.
    Shiviz,
    /// Graphviz: messages, and the direct dependencies between them.
    Dot,
    /// One JSON object a line and event. By ids only.
    Jsonl,
    /// A space-time diagram as a picture: what was sent, received, held and delivered, as far as the trace has it.
    Svg,
}

/// Reason why a text is not an [`Export`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{0}' is none of shiviz, dot, jsonl, svg")]
pub struct ExportFormatError(String);

impl FromStr for Export {
    type Err = ExportFormatError;

    fn from_str(text: &str) -> Result<Self, ExportFormatError> {
        match text {
            "shiviz" => Ok(Self::Shiviz),
            "dot" => Ok(Self::Dot),
            "jsonl" => Ok(Self::Jsonl),
            "svg" => Ok(Self::Svg),
            _ => Err(ExportFormatError(text.into())),
        }
    }
}

/// The whole trace as a text, everything by its id.
#[must_use]
pub fn export(trace: &[TraceEvent], format: Export) -> String {
    export_labelled(trace, format, &Labels::default())
}

/// The whole trace as a text.
///
/// It need not be of a simulation: where only [`TraceKind::Send`](crate::sim::TraceKind::Send) is known, the
/// direct dependencies tell all there is of the order. Dependencies that the trace does not have are left
/// out.
#[must_use]
pub fn export_labelled(trace: &[TraceEvent], format: Export, labels: &Labels) -> String {
    match format {
        Export::Shiviz => shiviz::export(trace, labels),
        Export::Dot => dot::export(trace, labels),
        Export::Jsonl => jsonl::export(trace),
        Export::Svg => svg::export(trace, labels),
    }
}
