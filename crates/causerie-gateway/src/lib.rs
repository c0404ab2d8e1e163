//! The protocols of others, without I/O: the JSON of the HTTP interface, the lines of classic clients, IRC, and what proxies say.
//! Each turns what [`causerie_core`] knows into its own bytes and back; sockets belong to the server.

pub mod api;
pub mod classic;
pub mod irc;
pub mod proxy;
