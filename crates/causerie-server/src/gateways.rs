//! The gateways: which of them serves what.

pub(crate) mod classic;
pub(crate) mod http;
pub(crate) mod irc;
pub(crate) mod membership;
pub(crate) mod native;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use causerie_core::wire::MAGIC;

use crate::net::addresses::Visitor;
use crate::net::stream::Stream;
use crate::rooms::hosted::HostedRoom;
use crate::server::Server;
use crate::settings::Protocol;

/// Bytes of the first read: it decides how a classic client is understood, so it takes as much as each read of one.
pub(crate) const FIRST_READ_MAX: usize = classic::READ_MAX;

/// A connection that has shown what it speaks.
pub(crate) struct Newcomer {
    pub(crate) stream: Arc<Stream>,
    pub(crate) peer: SocketAddr,
    pub(crate) visitor: Visitor,
    /// Bytes that were read already.
    pub(crate) first: BytesMut,
    /// The room to whose own port it came.
    pub(crate) room: Option<Arc<HostedRoom>>,
}

/// All gateways, with what the connections of each share.
#[derive(Default)]
pub(crate) struct Gateways {
    http: Arc<http::Lab>,
    irc: Arc<irc::People>,
}

impl Gateways {
    /// Serves a connection until it ends.
    pub(crate) async fn serve(
        &self,
        server: &Arc<Server>,
        protocol: Protocol,
        newcomer: Newcomer,
    ) -> io::Result<()> {
        let Newcomer { stream, peer, visitor, mut first, room } = newcomer;
        let open = server.metrics.connection(protocol);
        // Each apart: a connection takes what its own protocol needs. What was read may stay as long as the connection, so it
        // goes into a piece of its own size where the session reads into smaller ones.
        match protocol {
            Protocol::Native => {
                let rest = BytesMut::from(&std::mem::take(&mut first)[MAGIC.len()..]);
                Box::pin(native::serve(server, stream, peer, &visitor, rest)).await
            }
            Protocol::Classic => Box::pin(classic::serve(server, stream, peer, &visitor, first, room)).await,
            Protocol::Irc => {
                let first = BytesMut::from(&std::mem::take(&mut first)[..]);
                Box::pin(irc::serve(server, &self.irc, stream, peer, &visitor, first)).await
            }
            Protocol::Http => {
                let first = BytesMut::from(&std::mem::take(&mut first)[..]);
                // A WebSocket goes on when its request is answered, and is the same connection.
                Box::pin(http::serve(server, &self.http, stream, peer, first, visitor, open)).await
            }
        }
    }
}
