//! Storing, and reading what is stored.

pub(crate) mod changes;
pub(crate) mod reads;
pub(crate) mod unstored;
pub(crate) mod writer;
