//! The door: accepts connections, hears what they speak, and hands them to the gateways.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::gateways::{Gateways, IncomingConnection};
use crate::metrics::Limited;
use crate::net::addresses::Visitor;
use crate::net::budget::warn_seldom;
use crate::net::outbox;
use crate::net::stream::Stream;
use crate::rooms::hosted::HostedRoom;
use crate::server::{BoundPorts, Server};
use crate::settings::Protocol;
use sniff::{Beginning, NO_HTTP, Patience, Takes};

mod sniff;

/// A port.
pub(crate) enum Port {
    /// The main one: all protocols; classic clients speak to the controller.
    Front,
    /// A port for one of them.
    Own(Protocol),
    /// A room's own: classic clients, without sniffing.
    Room(Arc<HostedRoom>),
}

impl Port {
    fn takes(&self) -> Takes {
        match self {
            Self::Front => Takes::All,
            Self::Own(protocol) => Takes::Only(*protocol),
            Self::Room(_) => Takes::Lines,
        }
    }
}

/// The means to take somebody in.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) server: Arc<Server>,
    pub(crate) gateways: Arc<Gateways>,
}

/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Door {
    /// Opens rooms' own ports as they are bound, until the server stops.
    pub(crate) async fn open_rooms(self, mut bound: BoundPorts) {
        let stop = self.server.stop.clone();
        while let Some(Some((room, listener))) = stop.run_until_cancelled(bound.recv()).await {
            announce(room.row.port.unwrap_or_default());
            let closed = room.closed.clone();
            self.open(listener, Port::Room(room), closed);
        }
    }

    /// Accepts connections in a task of its own until `stop`, or the server stops.
    pub(crate) fn open(&self, listener: TcpListener, port: Port, stop: CancellationToken) {
        self.server.spawn(self.clone().accept(listener, port, stop));
    }

    async fn accept(self, listener: TcpListener, port: Port, stop: CancellationToken) {
        let port = Arc::new(port);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
                () = self.server.stop.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn_seldom!("cannot accept connections: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (door, port) = (self.clone(), Arc::clone(&port));
            self.server.spawn(async move {
                let visitor = match Visitor::enter(&door.server.addresses, peer.ip()) {
                    Ok(visitor) => visitor,
                    Err(words) => return refuse(stream, peer, words).await,
                };
                if let Err(error) = door.converse(stream, peer, &port, visitor).await {
                    debug!("connection of {peer}: {error}");
                }
            });
        }
    }

    async fn converse(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        port: &Port,
        visitor: Visitor,
    ) -> io::Result<()> {
        let server = &self.server;
        let stream = Stream::new(stream)?;
        server.vanished.watch(&stream);
        let mut first = BytesMut::new();
        let begun = {
            let max = server.settings().silent_max;
            let of_one = visitor.limits().map_or(0, |limits| limits.silent);
            let of_one = if of_one == 0 { usize::MAX } else { of_one };
            let (turn, was_full) = server.half_open.enter(visitor.network(), max, of_one);
            if was_full {
                visitor.limited(Limited::Silent);
            }
            // Apart: what it takes is free once that is known.
            let patience = || {
                let settings = server.settings();
                Patience { silent: settings.silent_time, first_words: settings.first_words }
            };
            let begin = Box::pin(sniff::begin(&stream, &mut first, port.takes(), patience));
            tokio::select! {
                begun = turn.closed.run_until_cancelled(begin) => begun.transpose()?,
                () = server.stop.cancelled() => None,
            }
        };
        let protocol = match begun.flatten() {
            Some(Beginning::Speaks(protocol)) => protocol,
            Some(Beginning::Misdirected) => {
                debug!("closing the connection of {peer}, which speaks HTTP where it is not spoken");
                outbox::write_all(&stream, vec![Bytes::from_static(NO_HTTP)], None).await?;
                outbox::close(&stream).await;
                return Ok(());
            }
            Some(Beginning::Foreign) => {
                debug!("closing the connection of {peer}, which speaks what is not spoken here");
                return Ok(());
            }
            None => {
                debug!("closing the connection of {peer}, which has said nothing");
                return Ok(());
            }
        };
        // The original program's line, for those who use its client; a page alone opens several connections.
        if protocol != Protocol::Classic {
            debug!("{peer} speaks {protocol:?}");
        } else if let Some(left_out) = visitor.log() {
            info!("Connected to : {} : {}{left_out}", peer.ip(), peer.port());
        }
        let room = if let Port::Room(room) = port { Some(Arc::clone(room)) } else { None };
        let newcomer = IncomingConnection { stream, peer, visitor, first, room };
        self.gateways.serve(&self.server, protocol, newcomer).await
    }
}

async fn refuse(mut stream: TcpStream, peer: SocketAddr, words: Option<&str>) {
    debug!("refused: {peer}");
    let Some(words) = words else { return };
    let line = format!("Error: {words}\n");
    // If this cannot be said, there is nothing else to say.
    tokio::time::timeout(Duration::from_secs(1), stream.write_all(line.as_bytes())).await.ok();
}

/// Says in the log, in the original program's words, that a port is bound.
pub(crate) fn announce(port: u16) {
    info!("Server binded to port {port}");
    info!("Server is listening");
}
