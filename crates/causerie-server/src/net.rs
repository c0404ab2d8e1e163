//! Connections, whoever speaks over them: their bytes, and what they may take up.

pub(crate) mod addresses;
pub(crate) mod budget;
pub(crate) mod half_open;
pub(crate) mod memory;
pub(crate) mod outbox;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod turns;
pub(crate) mod vanished;
