//! Sessions of native clients: frames in, the room's log out. See `docs/protocol.md`.
//!
//! Reading and writing are independent. What is to be said beside the room's log goes through the outbox, and goes
//! first. Who has caught up with the log is left to the room's pumps ([`crate::fanout`]).

mod answer;
mod read;
mod session;
mod write;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use causerie_core::wire::{ErrorCode, ErrorFrame, ServerFrame};

use crate::gateways::refusal::Refusal;
use crate::net::addresses::Visitor;
use crate::net::outbox;
use crate::net::stream::Stream;
use crate::server::Server;
use session::NativeSession;

/// Returns the frame that tells why a connection is not served.
pub(crate) fn refusal(why: Refusal) -> Vec<u8> {
    let mut frame = Vec::new();
    let error = ErrorFrame::fatal(ErrorCode::NotEncrypted, why.to_string());
    ServerFrame::Error(error).encode(&mut frame);
    frame
}

/// Serves a native client until its connection ends.
pub(crate) async fn serve(
    server: &Arc<Server>,
    stream: Arc<Stream>,
    peer: SocketAddr,
    visitor: &Visitor,
    first: BytesMut,
) -> io::Result<()> {
    let session = NativeSession::new(server, peer, visitor, stream);
    let ended = tokio::select! {
        read = session.read(first) => Some(read),
        written = session.write() => Some(written),
        () = session.outbox.charge().cut() => None,
    };
    session.stop_following();
    outbox::end(&session.stream, ended).await
}
