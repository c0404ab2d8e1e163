//! Words of a reverse proxy about the visitor that it speaks for: a PROXY header before all else on a connection, or headers of
//! each HTTP request. Who is a proxy, and so may say such things, the caller knows.

pub mod forwarded;
pub mod header;
