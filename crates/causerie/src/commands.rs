//! The commands, a file each.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod demo;
pub(crate) mod history;
pub(crate) mod man;
pub(crate) mod operate;
pub(crate) mod rooms;
pub(crate) mod serve;
pub(crate) mod sim;
pub(crate) mod store;
pub(crate) mod tls;
pub(crate) mod trace;
