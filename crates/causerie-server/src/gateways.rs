//! The gateways: each speaks one protocol with its clients.

pub(crate) mod classic;
pub(crate) mod http;
pub(crate) mod irc;
pub(crate) mod membership;
pub(crate) mod native;
