//! The log as it stands: edits, deletions and reactions applied to what they refer to, and causal order.

pub mod fold;
pub mod relation;
pub mod standing;
