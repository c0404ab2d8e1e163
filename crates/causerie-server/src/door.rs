//! The door: accepts connections, hears what they speak, and hands them to the gateways.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::certificates::Agreed;
use crate::gateways::refusal::Refusal;
use crate::gateways::way::Way;
use crate::gateways::{Gateways, IncomingConnection, Serving};
use crate::metrics::{Handshake, Limited};
use crate::net::addresses::{Entrance, Visitor, is_loopback};
use crate::net::budget::warn_seldom;
use crate::net::outbox;
use crate::net::stream::Stream;
use crate::rooms::hosted::HostedRoom;
use crate::server::{BoundPorts, Server};
use crate::settings::{ClearText, Protocol};
use proxy::Introduction;
use sniff::{Beginning, NO_HTTP, Patience, Takes};

#[cfg(unix)]
pub(crate) mod control;
mod proxy;
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

/// A connection that was accepted, of which nothing is known but where it comes from.
struct Caller {
    stream: Arc<Stream>,
    /// The visitor's address.
    peer: SocketAddr,
    visitor: Visitor,
    /// Bytes that were read already.
    first: BytesMut,
    way: Way,
}

/// Most that the task of a connection takes, without what it has put apart: there is one for each.
const TASK_BYTES_MAX: usize = 256;

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
            let task = async move {
                // Apart: what it takes is free once it is served.
                let served = match Box::pin(door.receive(stream, peer, &port)).await {
                    Ok(Some(serving)) => serving.await,
                    received => received.map(drop),
                };
                if let Err(error) = served {
                    debug!("connection of {peer}: {error}");
                }
            };
            debug_assert!(size_of_val(&task) <= TASK_BYTES_MAX, "{} bytes", size_of_val(&task));
            self.server.spawn(task);
        }
    }

    /// Lets a connection in, if its address, or the one that a trusted proxy tells, has not got too much. Returns its service, if it
    /// is to be served.
    async fn receive(&self, stream: TcpStream, peer: SocketAddr, port: &Port) -> io::Result<Option<Serving>> {
        let server = &self.server;
        let is_proxied = server.settings().is_trusted_proxy(peer.ip());
        let (way, entrance) = match is_proxied {
            true => (Way::Proxied, Entrance::Proxy),
            false => (Way::Direct, Entrance::Connection),
        };
        let visitor = match Visitor::enter(&server.addresses, peer.ip(), entrance) {
            Ok(visitor) => visitor,
            Err(words) => {
                debug!("refused: {peer}");
                refuse(stream, words).await;
                return Ok(None);
            }
        };
        let stream = Stream::new(stream)?;
        server.vanished.watch(&stream);
        let caller = Caller { stream, peer, visitor, first: BytesMut::new(), way };
        match is_proxied {
            false => self.converse(caller, port).await,
            // Apart: most do not come this way.
            true => Box::pin(self.receive_proxied(caller, port)).await,
        }
    }

    /// Lets a connection in that a trusted proxy has made, for the visitor whom it tells.
    async fn receive_proxied(&self, mut caller: Caller, port: &Port) -> io::Result<Option<Serving>> {
        let Caller { stream, first, visitor, .. } = &mut caller;
        let introducing = Box::pin(proxy::introduce(stream, first, || self.patience()));
        let introduction = self.in_turn(visitor, introducing).await?.unwrap_or(Introduction::Silent);
        let proxy = caller.peer;
        match introduction {
            Introduction::Silent => {
                debug!("closing the connection of the proxy {proxy}, which has said nothing");
                return Ok(None);
            }
            Introduction::Refused(why) => {
                warn_seldom!("closing a connection of the proxy {proxy}: {why}");
                return Ok(None);
            }
            Introduction::Missing if self.server.settings().proxy_protocol => {
                warn_seldom!(
                    "closing a connection of the proxy {proxy}, which does not begin with a PROXY header"
                );
                return Ok(None);
            }
            Introduction::Missing | Introduction::Given(None) => {}
            Introduction::Given(Some(visitor)) => {
                // As where a connection comes without a proxy.
                caller.peer = SocketAddr::new(visitor.ip().to_canonical(), visitor.port());
                let entrance = match self.server.settings().is_trusted_proxy(visitor.ip()) {
                    true => Entrance::Proxy,
                    false => Entrance::Connection,
                };
                // The proxy's own place is free before.
                drop(caller.visitor);
                caller.visitor = match Visitor::enter(&self.server.addresses, caller.peer.ip(), entrance) {
                    Ok(visitor) => visitor,
                    Err(words) => {
                        debug!("refused: {}", caller.peer);
                        let Some(line) = words.map(refusal_line) else { return Ok(None) };
                        let told = outbox::write_all(&caller.stream, vec![line.into()], None);
                        // If this cannot be said, there is nothing else to say.
                        tokio::time::timeout(REFUSAL, told).await.ok();
                        return Ok(None);
                    }
                };
            }
        }
        self.converse(caller, port).await
    }

    fn patience(&self) -> Patience {
        let settings = self.server.settings();
        Patience { silent: settings.silent_time, first_words: settings.first_words }
    }

    /// Waits for what a connection says first, in its turn among all that have not. `None` if it has to end before.
    ///
    /// That is a future of its own: what it takes is free once it is known, and no task that serves a connection has room for it.
    async fn in_turn<T>(
        &self,
        visitor: &Visitor,
        said: Pin<Box<dyn Future<Output = io::Result<T>> + Send + '_>>,
    ) -> io::Result<Option<T>> {
        let server = &self.server;
        let max = server.settings().silent_max;
        let of_one = visitor.limits().map_or(0, |limits| limits.silent);
        let of_one = if of_one == 0 { usize::MAX } else { of_one };
        let (turn, was_full) = server.half_open.enter(visitor.network(), max, of_one);
        if was_full {
            visitor.limited(Limited::Silent);
        }
        tokio::select! {
            said = turn.closed.run_until_cancelled(said) => said.transpose(),
            () = server.stop.cancelled() => Ok(None),
        }
    }

    /// Hears what a connection speaks, and returns its service.
    async fn converse(&self, caller: Caller, port: &Port) -> io::Result<Option<Serving>> {
        let Caller { stream, peer, visitor, mut first, way } = caller;
        let beginning = Box::pin(self.begin(&stream, &mut first, port.takes()));
        let begun = self.in_turn(&visitor, beginning).await?;
        let protocol = match begun.flatten() {
            Some(Beginning::Speaks(protocol)) => protocol,
            Some(Beginning::Misdirected) => {
                debug!("closing the connection of {peer}, which speaks HTTP where it is not spoken");
                outbox::write_all(&stream, vec![Bytes::from_static(NO_HTTP)], None).await?;
                outbox::close(&stream).await;
                return Ok(None);
            }
            Some(Beginning::Foreign | Beginning::Encrypted) => {
                debug!("closing the connection of {peer}, which speaks what is not spoken here");
                return Ok(None);
            }
            None => {
                debug!("closing the connection of {peer}, which has said nothing");
                return Ok(None);
            }
        };
        // The original program's line, for those who use its client; a page alone opens several connections.
        if protocol != Protocol::Classic {
            debug!("{peer} speaks {protocol:?}");
        } else if let Some(left_out) = visitor.log() {
            info!("Connected to : {} : {}{left_out}", peer.ip(), peer.port());
        }
        let room = if let Port::Room(room) = port { Some(Arc::clone(room)) } else { None };
        let refused = self.refusal(protocol, &stream, (peer, way));
        if let Some(why) = refused {
            debug!("refusing {peer}: {why}");
        }
        let newcomer = IncomingConnection { stream, peer, way, visitor, first, room, refused };
        Ok(Some(self.gateways.serve(&self.server, protocol, newcomer)))
    }

    /// Hears what a connection speaks, behind the handshake of TLS if it begins with one. `None` if nothing was said in time.
    async fn begin(
        &self,
        stream: &Stream,
        first: &mut BytesMut,
        takes: Takes,
    ) -> io::Result<Option<Beginning>> {
        let server = &self.server;
        let patience = || self.patience();
        let begun = sniff::begin(stream, first, takes, patience).await?;
        let (Some(Beginning::Encrypted), Some(certificates)) = (begun, &server.certificates) else {
            return Ok(begun);
        };
        let encrypting = stream.encrypt(first, |hello| certificates.choose(hello));
        let encrypted = tokio::time::timeout(patience().first_words, encrypting).await;
        server.metrics.handshake(match &encrypted {
            Ok(Ok(())) => Handshake::Done,
            Ok(Err(error)) => Handshake::failed(error),
            Err(_) => Handshake::TimedOut,
        });
        let Ok(encrypted) = encrypted else { return Ok(None) };
        encrypted?;
        let agreed = stream.agreed_protocol().as_deref().and_then(Agreed::named);
        let spoken = match agreed {
            None => return sniff::begin(stream, first, takes, patience).await,
            Some(Agreed::Native) => Protocol::Native,
            Some(Agreed::Irc) => Protocol::Irc,
            Some(Agreed::Http) => Protocol::Http,
            Some(Agreed::Challenge) => return Ok(None),
        };
        match takes {
            Takes::All => sniff::begin(stream, first, Takes::Only(spoken), patience).await,
            Takes::Only(protocol) if protocol == spoken => sniff::begin(stream, first, takes, patience).await,
            _ => Ok(Some(Beginning::Foreign)),
        }
    }

    /// Returns why a connection is not served, if it is not.
    fn refusal(
        &self,
        protocol: Protocol,
        stream: &Stream,
        (peer, way): (SocketAddr, Way),
    ) -> Option<Refusal> {
        let settings = self.server.settings();
        let may_be_clear = match settings.clear_text {
            ClearText::Any => true,
            // The proxy encrypts in front, and tells by HTTP where it does not.
            ClearText::Loopback => way == Way::Proxied || is_loopback(peer.ip()),
            ClearText::Never => false,
        };
        if !stream.is_encrypted() && !may_be_clear {
            return Some(Refusal::ClearText);
        }
        (protocol == Protocol::Classic && !settings.classic).then_some(Refusal::Classic)
    }
}

/// Time that a refusal may take to be said.
const REFUSAL: Duration = Duration::from_secs(1);

async fn refuse(mut stream: TcpStream, words: Option<&str>) {
    let Some(line) = words.map(refusal_line) else { return };
    // If this cannot be said, there is nothing else to say.
    tokio::time::timeout(REFUSAL, stream.write_all(line.as_bytes())).await.ok();
}

fn refusal_line(words: &str) -> String {
    format!("Error: {words}\n")
}

/// Says in the log, in the original program's words, that a port is bound.
pub(crate) fn announce(port: u16) {
    info!("Server binded to port {port}");
    info!("Server is listening");
}
