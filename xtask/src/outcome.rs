//! The end of a step.

use std::process::ExitCode;

/// The way in which a step ended.
pub(crate) enum Outcome {
    Passed,
    /// Not done, and why.
    Skipped(String),
    /// With the code to exit with; why was said.
    Failed(ExitCode),
}
