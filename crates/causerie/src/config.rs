//! The settings of the commands, from flags, the environment and configuration files.

pub(crate) mod chat;
pub(crate) mod file;
pub(crate) mod security;
pub(crate) mod server;
pub(crate) mod setup;
