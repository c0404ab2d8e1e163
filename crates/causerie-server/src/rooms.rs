//! The rooms that are open, and all that is known of each.

pub(crate) mod access;
pub(crate) mod ages;
pub(crate) mod attached;
pub(crate) mod closing;
pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod history;
pub(crate) mod hosted;
pub(crate) mod idle;
pub(crate) mod references;
pub(crate) mod renderings;
pub(crate) mod reopen;
pub(crate) mod retention;
pub(crate) mod roster;
pub(crate) mod stability;
pub(crate) mod standing;
pub(crate) mod tail;
pub(crate) mod watching;
