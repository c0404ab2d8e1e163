//! One connection, as frames.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use causerie_core::wire::{ClientFrame, MAGIC, ServerFrame, split_frame};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

use crate::trust::{Security, TlsStream, TrustError, shake_hands};

/// Time that connecting may take, the handshake of TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No server sends a larger frame: the welcome to a room with a hundred thousand members stays below it.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// Error of opening a connection.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Untrusted(#[from] TrustError),
}

/// A stream of bytes, encrypted or not.
enum Stream {
    Clear(TcpStream),
    Tls(Box<TlsStream>),
}

pub(crate) struct Connection {
    stream: Stream,
    read: BytesMut,
    write: Vec<u8>,
    /// Number of bytes of `write` that have been written.
    written: usize,
    /// Something that was written may still be in the stream's own buffer.
    unflushed: bool,
    /// Time at which something was read last.
    pub(crate) heard: Instant,
}

impl Connection {
    /// Connects to a server that is trusted, with the magic bytes waiting to be written. Who may be asked about one that is new is.
    pub(crate) async fn open(server: &str, security: &Security) -> Result<Self, OpenError> {
        match Self::open_unasked(server, security).await {
            // It may take a while, and no server waits for ever.
            Err(OpenError::Untrusted(TrustError::Unknown(stranger))) => {
                security.meet(stranger).await?;
                Self::open_unasked(server, security).await
            }
            opened => opened,
        }
    }

    /// Connects to a server that is to be trusted, says nothing, and parts.
    pub(crate) async fn meet(server: &str, security: &Security) -> Result<(), OpenError> {
        let addresses = within(async { Ok(addresses(server).await?) }).await?;
        // A list that cannot be read is told of where it is needed: a certificate may speak for itself.
        if security.encrypts(server, &addresses) && !security.knows(server).unwrap_or(false) {
            let mut connection = Self::open(server, security).await?;
            // It may have gone.
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, connection.stream.shutdown()).await;
        }
        Ok(())
    }

    async fn open_unasked(server: &str, security: &Security) -> Result<Self, OpenError> {
        let stream = within(Self::connect(server, security)).await?;
        let (read, heard) = (BytesMut::with_capacity(16 << 10), Instant::now());
        Ok(Self { stream, read, write: MAGIC.to_vec(), written: 0, unflushed: false, heard })
    }

    /// Connects, and has nothing sent before the server is trusted.
    async fn connect(server: &str, security: &Security) -> Result<Stream, OpenError> {
        // The addresses that decide about encryption are those that are connected to.
        let addresses = addresses(server).await?;
        let stream = TcpStream::connect(&addresses[..]).await?;
        stream.set_nodelay(true)?;
        if !security.encrypts(server, &addresses) {
            return Ok(Stream::Clear(stream));
        }
        let (stream, shown) = shake_hands(server, stream).await?;
        security.judge(server, &shown)?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Queues a frame. [`step`](Self::step) writes it.
    pub(crate) fn push(&mut self, frame: &ClientFrame) {
        frame.encode(&mut self.write);
    }

    /// Bytes that wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.write.len() - self.written
    }

    /// The next frame that has been read whole, and how many bytes it was.
    pub(crate) fn pop(&mut self) -> io::Result<Option<(ServerFrame, usize)>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        loop {
            match split_frame(&mut self.read, FRAME_BYTES_MAX).map_err(invalid)? {
                None => return Ok(None),
                Some((kind, body)) => {
                    if let Some(frame) = ServerFrame::decode(kind, &body).map_err(invalid)? {
                        return Ok(Some((frame, body.len())));
                    }
                }
            }
        }
    }

    /// Reads some, if `reading`, and writes some of what waits; returns once one of both has come about. Cancelling it loses
    /// nothing.
    ///
    /// # Errors
    /// What the socket says; `UnexpectedEof` when the server has closed.
    pub(crate) async fn step(&mut self, reading: bool) -> io::Result<()> {
        poll_fn(|cx| {
            let written = self.poll_write(cx)?;
            let read = if reading { self.poll_read(cx)? } else { Poll::Pending };
            if written.is_ready() || read.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let read = pin!(self.stream.read_buf(&mut self.read)).poll(cx);
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection");
        match std::task::ready!(read) {
            Ok(0) => Poll::Ready(Err(closed())),
            // Without the farewell of TLS: a frame that was cut is noticed anyway.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Err(closed())),
            Err(error) => Poll::Ready(Err(error)),
            Ok(_) => {
                self.heard = Instant::now();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Writes some of what waits, or brings what was written out of the stream's own buffer. Pending also where nothing waits.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.written < self.write.len() {
            let taken = pin!(self.stream.write(&self.write[self.written..])).poll(cx);
            match std::task::ready!(taken)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.written += taken,
            }
            self.unflushed = true;
            if self.written == self.write.len() {
                self.write.clear();
                self.written = 0;
            }
            return Poll::Ready(Ok(()));
        }
        if self.unflushed {
            std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    /// Writes all that waits, for a last word.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while self.unwritten() > 0 {
            self.step(false).await?;
        }
        self.stream.shutdown().await
    }
}

/// Gives up after [`CONNECT_TIMEOUT`].
async fn within<T>(future: impl Future<Output = Result<T, OpenError>>) -> Result<T, OpenError> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer");
    tokio::time::timeout(CONNECT_TIMEOUT, future).await.map_err(timed_out)?
}

async fn addresses(server: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host(server).await?.collect())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
