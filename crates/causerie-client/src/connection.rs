//! One TCP connection, as frames.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use causerie_core::wire::{ClientFrame, MAGIC, ServerFrame, split_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Time that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No server sends a larger frame: the welcome to a room with a hundred thousand members stays below it.
const FRAME_BYTES_MAX: usize = 16 << 20;

pub(crate) struct Connection {
    stream: TcpStream,
    read: BytesMut,
    write: Vec<u8>,
    /// Number of bytes of `write` that have been written.
    written: usize,
    /// Time at which something was read last.
    pub(crate) heard: Instant,
}

impl Connection {
    /// Connects, with the magic bytes waiting to be written.
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "no answer");
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| timed_out())??;
        stream.set_nodelay(true)?;
        let (read, heard) = (BytesMut::with_capacity(16 << 10), Instant::now());
        Ok(Self { stream, read, write: MAGIC.to_vec(), written: 0, heard })
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

    /// Reads some, if `reading`, or writes some of what waits. Cancelling it loses nothing.
    ///
    /// # Errors
    /// What the socket says; `UnexpectedEof` when the server has closed.
    pub(crate) async fn step(&mut self, reading: bool) -> io::Result<()> {
        let (mut input, mut output) = self.stream.split();
        let writing = self.written < self.write.len();
        tokio::select! {
            read = input.read_buf(&mut self.read), if reading => {
                if read? == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
                }
                self.heard = Instant::now();
            }
            written = output.write(&self.write[self.written..]), if writing => {
                self.written += written?;
                if self.written == self.write.len() {
                    self.write.clear();
                    self.written = 0;
                }
            }
            else => std::future::pending().await,
        }
        Ok(())
    }

    /// Writes all that waits, for a last word.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while self.unwritten() > 0 {
            self.step(false).await?;
        }
        self.stream.shutdown().await
    }
}
