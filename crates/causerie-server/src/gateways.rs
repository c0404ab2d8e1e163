//! The gateways: which of them serves what.

pub(crate) mod classic;
pub(crate) mod http;
pub(crate) mod irc;
pub(crate) mod membership;
pub(crate) mod native;
pub(crate) mod refusal;
pub(crate) mod way;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use causerie_core::wire::MAGIC;

use crate::gateways::refusal::Refusal;
use crate::gateways::way::Way;
use crate::net::addresses::Visitor;
use crate::net::outbox;
use crate::net::stream::Stream;
use crate::rooms::hosted::HostedRoom;
use crate::server::Server;
use crate::settings::Protocol;

/// Bytes of the first read: it decides how a classic client is understood, so it takes as much as each read of one.
pub(crate) const FIRST_READ_MAX: usize = classic::READ_MAX;

/// A connection that has shown what it speaks.
pub(crate) struct IncomingConnection {
    pub(crate) stream: Arc<Stream>,
    /// The visitor's address.
    pub(crate) peer: SocketAddr,
    pub(crate) way: Way,
    pub(crate) visitor: Visitor,
    /// Bytes that were read already.
    pub(crate) first: BytesMut,
    /// The room to whose own port it came.
    pub(crate) room: Option<Arc<HostedRoom>>,
    /// It is not served, and only told why.
    pub(crate) refused: Option<Refusal>,
}

/// Service of a connection until it ends.
pub(crate) type Serving = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Most that the service of a connection takes, without what it has put apart: there is one for each.
const SERVING_BYTES_MAX: usize = 5 << 10;

fn apart<F: Future<Output = io::Result<()>> + Send + 'static>(serving: F) -> Serving {
    debug_assert!(
        size_of::<F>() <= SERVING_BYTES_MAX,
        "{}: {} bytes",
        std::any::type_name::<F>(),
        size_of::<F>()
    );
    Box::pin(serving)
}

/// Time that a refusal may take.
const REFUSAL: Duration = Duration::from_secs(5);

/// All gateways, with what the connections of each share.
#[derive(Default)]
pub(crate) struct Gateways {
    http: Arc<http::Lab>,
    irc: Arc<irc::People>,
}

impl Gateways {
    /// Serves a connection until it ends. Each protocol apart: a connection takes what its own needs, and once.
    pub(crate) fn serve(
        &self,
        server: &Arc<Server>,
        protocol: Protocol,
        newcomer: IncomingConnection,
    ) -> Serving {
        let IncomingConnection { stream, peer, way, visitor, first, room, refused } = newcomer;
        let (server, open) = (Arc::clone(server), server.metrics.connection(protocol));
        // What was read may stay as long as the connection, so it goes into a piece of its own size where the session reads
        // into smaller ones.
        let cut = |from: usize| BytesMut::from(&first[from..]);
        if let Some(why) = refused.filter(|_| protocol != Protocol::Http) {
            return apart(async move {
                let _open = (open, visitor);
                let refused = Self::refuse(&server, protocol, (&stream, &first), why);
                tokio::time::timeout(REFUSAL, refused).await.unwrap_or(Ok(()))
            });
        }
        match protocol {
            Protocol::Native => {
                let rest = cut(MAGIC.len());
                apart(async move {
                    let _open = open;
                    native::serve(&server, stream, peer, &visitor, rest).await
                })
            }
            Protocol::Classic => apart(async move {
                let _open = open;
                classic::serve(&server, stream, peer, &visitor, first, room).await
            }),
            Protocol::Irc => {
                let (people, first) = (Arc::clone(&self.irc), cut(0));
                apart(async move {
                    let _open = open;
                    irc::serve(&server, &people, stream, peer, &visitor, first).await
                })
            }
            Protocol::Http => {
                let (lab, first) = (Arc::clone(&self.http), cut(0));
                // A WebSocket goes on when its request is answered, and is the same connection.
                apart(async move {
                    let from = (peer, way);
                    http::serve(&server, &lab, stream, from, first, visitor, (open, refused)).await
                })
            }
        }
    }

    /// Tells a connection why it is not served, in its protocol's own way, and ends it.
    async fn refuse(
        server: &Server,
        protocol: Protocol,
        (stream, first): (&Stream, &[u8]),
        why: Refusal,
    ) -> io::Result<()> {
        let words = match protocol {
            Protocol::Native => native::refusal(why),
            Protocol::Irc => irc::refusal(server, stream, first, why).await?,
            // HTTP tells it with the answer to its request.
            Protocol::Classic | Protocol::Http => format!("Error: {why}\n").into_bytes(),
        };
        outbox::write_all(stream, vec![words.into()], None).await?;
        outbox::close(stream).await;
        Ok(())
    }
}
