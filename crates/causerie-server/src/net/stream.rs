//! A connection's socket: the one place that knows how its bytes travel.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use rustls::server::{ClientHello, ServerConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::net::socket::Socket;
use crate::net::tls::Tls;

/// Idle time before the other host is asked whether it is there, and the time between further questions.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
#[cfg(not(windows))]
const KEEPALIVE_RETRIES: u32 = 4;
/// Has the system end a connection whose other host has vanished without a word while it was idle: then its member's grace
/// begins. After two minutes; where something was on its way to it, [`Vanished`](crate::net::vanished::Vanished) does. The system's own
/// limit on that would also end connections of those who read slowly.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    Ok(())
}

/// A connection that was accepted, shared by those who read it, write to it and watch over it. In clear text, or encrypted:
/// nobody else knows which.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    /// Apart: it is large, and most that are on this machine have none.
    tls: OnceLock<Box<Tls>>,
}

impl Stream {
    /// Takes over a connection: what is written goes at once, and the system watches over it.
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Arc<Self>> {
        tcp.set_nodelay(true)?;
        watch_over(&tcp)?;
        Ok(Arc::new(Self { socket: Socket::Tcp(tcp), tls: OnceLock::new() }))
    }

    /// Takes over a connection of this machine's own kind, which is never encrypted.
    #[cfg(unix)]
    pub(crate) fn of_unix(socket: UnixStream) -> Arc<Self> {
        Arc::new(Self { socket: Socket::Unix(socket), tls: OnceLock::new() })
    }

    /// Answers the handshake of TLS with which the connection begins, of which `first` may hold some already, with the
    /// configuration that the client's hello chooses. From then on all is encrypted.
    ///
    /// # Errors
    /// Of the kind `InvalidData` where the client does not speak TLS as this server does.
    pub(crate) async fn encrypt(
        &self,
        first: &mut BytesMut,
        choose: impl FnOnce(&ClientHello<'_>) -> Arc<ServerConfig>,
    ) -> io::Result<()> {
        let tls = Tls::accept(&self.socket, first, choose).await?;
        self.tls.set(Box::new(tls)).map_err(|_| io::Error::other("it is encrypted already"))
    }

    /// Returns whether it is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.get().is_some()
    }

    /// Returns the protocol that was agreed upon by TLS, if any was.
    pub(crate) fn agreed_protocol(&self) -> Option<Vec<u8>> {
        self.tls.get().and_then(|tls| tls.protocol())
    }

    /// Returns the name of the server that the client has asked for by TLS, if it has.
    pub(crate) fn asked_name(&self) -> Option<String> {
        self.tls.get().and_then(|tls| tls.asked_name())
    }

    /// Returns the certificate whose key the client has shown to have.
    pub(crate) fn client_certificate(&self) -> Option<Vec<u8>> {
        self.tls.get().and_then(|tls| tls.client_certificate())
    }

    /// Returns the address of the other end.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Returns the address of this end.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits until something has come, and copies its beginning without taking it.
    pub(crate) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = self.tls.get() else { return self.socket.peek(buffer).await };
        loop {
            match tls.try_peek(&self.socket, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable().await?,
                peeked => return peeked,
            }
            // Whoever sends what is empty holds nobody else up.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Waits until something can perhaps be read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self.tls.get() {
            Some(tls) if tls.has_read() => Ok(()),
            _ => self.socket.readable().await,
        }
    }

    /// Waits until something can perhaps be written, and all that was written before is with the system.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        loop {
            self.socket.writable().await?;
            if self.try_flush()? {
                return Ok(());
            }
        }
    }

    /// Reads what is there; 0 at the end.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.tls.get() {
            None => self.socket.try_read(buffer),
            Some(tls) => tls.try_read(&self.socket, buffer),
        }
    }

    /// Reads what is there behind what the buffer has; 0 at the end. An encrypted connection fills the room that is there.
    pub(crate) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self.tls.get() {
            None => self.socket.try_read_buf(buffer),
            Some(tls) => tls.try_read_buf(&self.socket, buffer),
        }
    }

    /// Writes as much of it as is taken at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.tls.get() {
            None => self.socket.try_write(bytes),
            Some(tls) => tls.try_write_vectored(&self.socket, &[IoSlice::new(bytes)]),
        }
    }

    /// Writes as much of these slices as is taken at once.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.tls.get() {
            None => self.socket.try_write_vectored(slices),
            Some(tls) => tls.try_write_vectored(&self.socket, slices),
        }
    }

    /// Hands to the system what was written and is encrypted only. Returns whether it has taken all.
    pub(crate) fn try_flush(&self) -> io::Result<bool> {
        match self.tls.get() {
            Some(tls) if !tls.is_flushed() => tls.try_flush(&self.socket),
            _ => Ok(true),
        }
    }

    /// Returns whether all that was written is with the system. If not, somebody has to wait until the connection is
    /// [writable](Self::writable).
    pub(crate) fn is_flushed(&self) -> bool {
        self.tls.get().is_none_or(|tls| tls.is_flushed())
    }

    /// Polls whether something can perhaps be read.
    pub(crate) fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.tls.get() {
            Some(tls) if tls.has_read() => Poll::Ready(Ok(())),
            _ => self.socket.poll_read_ready(context),
        }
    }

    /// Polls whether something can perhaps be written.
    pub(crate) fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(context)
    }

    /// Ends it in these directions.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if let Some(tls) = self.tls.get() {
            tls.close(&self.socket);
        }
        self.socket.options().shutdown(how)
    }

    /// Has the system drop, when it is closed, what the other side has not taken.
    pub(crate) fn drop_untaken(&self) -> io::Result<()> {
        self.socket.options().set_linger(Some(Duration::ZERO))
    }
}

#[cfg(unix)]
impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn the_system_watches_over_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, _client) = tokio::join!(listener.accept(), client);
        let stream = accepted.unwrap().0;
        watch_over(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        let probed = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(KEEPALIVE_IDLE + probed, Duration::from_secs(120));
        assert_eq!(socket.tcp_user_timeout().unwrap(), None, "who reads slowly is not sent away");
    }
}
