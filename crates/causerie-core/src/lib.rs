//! The chat of causerie, without I/O: what a room decides, what a client session decides, and how both are
//! written down. Bytes, clocks, randomness and sockets belong to the server and the client crates.

pub mod content;
pub mod id;
pub mod key;
pub mod link;
pub mod log;
pub mod room;
pub mod session;
pub mod timeline;
pub mod wire;
