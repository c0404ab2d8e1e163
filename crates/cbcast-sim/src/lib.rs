//! Judges of causal broadcast.
//!
//! [`Oracle`] rebuilds happened-before from recorded broadcast and deliver events alone. It never looks at a
//! stamp or a clock of the protocol, so it cannot share their bugs.

mod oracle;
pub mod textbook;

pub use oracle::{Oracle, Violation};
