//! The log as it stands: edits, deletions and reactions applied to what they refer to.

pub mod standing;
