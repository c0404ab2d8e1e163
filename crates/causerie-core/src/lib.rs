//! The chat of causerie, without I/O: what a room decides, what a client session decides, and how both are
//! written down. Bytes, clocks, randomness and sockets belong to the server and the client crates.

pub mod api;
pub mod body;
pub mod classic;
pub mod frame;
pub mod history;
pub mod irc;
pub mod key;
pub mod link;
pub mod log;
pub mod mark;
pub mod room;
pub mod session;
pub mod standing;

pub mod text;
