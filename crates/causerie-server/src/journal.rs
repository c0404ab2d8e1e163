//! Storing, and reading what is stored.

pub(crate) mod reads;
pub(crate) mod writer;
