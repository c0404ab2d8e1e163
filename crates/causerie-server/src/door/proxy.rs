//! Connections of trusted proxies: whom a PROXY header says that they are for.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use causerie_gateway::proxy::header::{self, Beginning, HeaderError};
use tokio::time::Instant;

use super::sniff::{Patience, says_something};
use crate::gateways::FIRST_READ_MAX;
use crate::net::stream::Stream;

/// Introduction of a visitor by its proxy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Introduction {
    /// Nothing was said in time.
    Silent,
    /// The connection begins with something else, which was read as far as it was needed to tell.
    Missing,
    /// The visitor; `None` where the proxy speaks for itself.
    Given(Option<SocketAddr>),
    /// A header that is none, or was not ended in time.
    Refused(HeaderError),
}

/// Reads the PROXY header of a connection, if it begins with one. What comes behind it, or instead of it, stands in `first`.
pub(super) async fn introduce(
    stream: &Stream,
    first: &mut BytesMut,
    patience: impl Fn() -> Patience,
) -> io::Result<Introduction> {
    if !says_something(stream, patience().silent).await? {
        return Ok(Introduction::Silent);
    }
    let deadline = Instant::now() + patience().first_words;
    loop {
        first.reserve(FIRST_READ_MAX);
        let has_ended = match stream.try_read_buf(first) {
            Ok(length) => length == 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => return Err(error),
        };
        let read = header::read(first);
        if let Ok(Beginning::Header { length, .. }) = read {
            first.advance(length);
        }
        // It may stay as long as the connection: in a piece of its own size.
        *first = BytesMut::from(&first[..]);
        let is_header = match read {
            Ok(Beginning::Other) => return Ok(Introduction::Missing),
            Ok(Beginning::Header { source, .. }) => return Ok(Introduction::Given(source)),
            Ok(Beginning::Open { is_header }) => is_header,
            Err(why) => return Ok(Introduction::Refused(why)),
        };
        if has_ended || tokio::time::timeout_at(deadline, stream.readable()).await.is_err() {
            return Ok(if is_header {
                Introduction::Refused(HeaderError::Length)
            } else {
                Introduction::Missing
            });
        }
    }
}
