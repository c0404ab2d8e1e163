//! TLS on a connection's socket, by rustls' own connection, which does no I/O: so pumps and sessions share it as they share a
//! socket in clear text.
//!
//! No more than one record is encrypted ahead of the socket: who reads nothing holds 16 KiB.

use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, BytesMut};
use rustls::server::{Acceptor, ClientHello, ServerConfig, ServerConnection};

use crate::net::socket::Socket;

/// Bytes of the longest record.
pub(super) const RECORD_MAX: usize = 16 << 10;

/// Reads from the socket at once until something can be taken. A whole record takes five of them; more are of empty ones, and
/// others wait for the connection meanwhile.
const ROUNDS_MAX: usize = 8;

/// Room that a full buffer gets before it is read into.
const ROOM_MIN: usize = 64;

/// A socket as rustls reads and writes it: without waiting.
struct WithoutWaiting<'a>(&'a Socket);

impl Read for WithoutWaiting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for WithoutWaiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns whether the socket would have made one wait.
fn would_block<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// An encrypted connection.
pub(crate) struct Tls {
    connection: Mutex<ServerConnection>,
    /// Bytes are encrypted that the socket has not taken.
    has_unsent: AtomicBool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("has_unsent", &self.has_unsent).finish_non_exhaustive()
    }
}

impl Tls {
    /// Answers a client's handshake, whose beginning `first` may hold already, with the configuration that its hello chooses.
    ///
    /// # Errors
    /// Of the kind `InvalidData` where the client does not speak TLS as this server does; it is told by an alert.
    pub(super) async fn accept(
        socket: &Socket,
        first: &mut BytesMut,
        choose: impl FnOnce(&ClientHello<'_>) -> Arc<ServerConfig>,
    ) -> io::Result<Self> {
        let mut acceptor = Acceptor::default();
        let accepted = loop {
            match acceptor.accept() {
                Ok(Some(accepted)) => break accepted,
                Ok(None) => read_some(socket, first, |input| acceptor.read_tls(input)).await?,
                Err((error, mut alert)) => {
                    // If it cannot be told, it has gone.
                    alert.write_all(&mut WithoutWaiting(socket)).ok();
                    return Err(invalid(error));
                }
            }
        };
        let config = choose(&accepted.client_hello());
        let mut connection = accepted.into_connection(config).map_err(|(error, mut alert)| {
            // If it cannot be told, it has gone.
            alert.write_all(&mut WithoutWaiting(socket)).ok();
            invalid(error)
        })?;
        connection.set_buffer_limit(Some(RECORD_MAX));
        loop {
            while !send(socket, &mut connection)? {
                socket.writable().await?;
            }
            if !connection.is_handshaking() {
                break;
            }
            read_some(socket, first, |input| connection.read_tls(input)).await?;
            if let Err(error) = connection.process_new_packets() {
                // The alert, if it can be told.
                send(socket, &mut connection).ok();
                return Err(invalid(error));
            }
        }
        // What came behind the handshake is read as what comes later is.
        while !first.is_empty() {
            read_some(socket, first, |input| connection.read_tls(input)).await?;
            connection.process_new_packets().map_err(invalid)?;
        }
        Ok(Self { connection: Mutex::new(connection), has_unsent: AtomicBool::new(false) })
    }

    fn connection(&self) -> MutexGuard<'_, ServerConnection> {
        self.connection.lock().expect("nothing panics while holding it")
    }

    /// Returns the protocol that was agreed upon, if any was.
    pub(super) fn protocol(&self) -> Option<Vec<u8>> {
        self.connection().alpn_protocol().map(<[u8]>::to_vec)
    }

    /// Returns the name of the server that the client has asked for, if it has.
    pub(super) fn asked_name(&self) -> Option<String> {
        self.connection().server_name().map(str::to_owned)
    }

    /// Returns the certificate that the client has shown, if it has one. That the client has its key is proven; whose it is
    /// nobody has said.
    pub(super) fn client_certificate(&self) -> Option<Vec<u8>> {
        Some(self.connection().peer_certificates()?.first()?.to_vec())
    }

    /// Takes what the socket has into the connection.
    fn take_in(&self, socket: &Socket, connection: &mut ServerConnection) -> io::Result<()> {
        connection.read_tls(&mut WithoutWaiting(socket))?;
        let processed = connection.process_new_packets();
        // Answers to what came, or the alert about it: what the socket does not take now goes with the next write.
        let sent = self.send(socket, connection);
        processed.map_err(invalid)?;
        sent.map(drop)
    }

    /// Calls the function with bytes that were decrypted, which returns how many of them it takes. None are there at the end.
    ///
    /// # Errors
    /// `WouldBlock` where there are none yet; the socket may be readable still, if what came was empty.
    fn with_read<T>(&self, socket: &Socket, mut take: impl FnMut(&[u8]) -> (usize, T)) -> io::Result<T> {
        let mut connection = self.connection();
        for _ in 0..ROUNDS_MAX {
            let mut reader = connection.reader();
            match reader.fill_buf() {
                Ok(bytes) => {
                    let (taken, result) = take(bytes);
                    reader.consume(taken);
                    return Ok(result);
                }
                // Many do not say that they close, and their messages tell for themselves where they end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(take(&[]).1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.take_in(socket, &mut connection)?;
        }
        // The socket is readable still, so whoever reads comes back, behind others.
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Returns whether something can be read without the socket: bytes, or the end.
    pub(super) fn has_read(&self) -> bool {
        !would_block(&self.connection().reader().fill_buf().map(drop))
    }

    /// Copies the beginning of what is there, without taking it; nothing at the end.
    pub(super) fn try_peek(&self, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        self.with_read(socket, |bytes| {
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            (0, length)
        })
    }

    /// Reads what is there; 0 at the end.
    pub(super) fn try_read(&self, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        self.with_read(socket, |bytes| {
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            (length, length)
        })
    }

    /// Reads as much of what is there as the buffer has room for; 0 at the end.
    pub(super) fn try_read_buf(&self, socket: &Socket, buffer: &mut BytesMut) -> io::Result<usize> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(ROOM_MIN);
        }
        self.with_read(socket, |bytes| {
            let length = bytes.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&bytes[..length]);
            (length, length)
        })
    }

    /// Sends what is encrypted. Returns whether the socket has taken all of it.
    fn send(&self, socket: &Socket, connection: &mut ServerConnection) -> io::Result<bool> {
        let sent = send(socket, connection);
        self.has_unsent.store(!matches!(sent, Ok(true)), Ordering::Release);
        sent
    }

    /// Sends what is encrypted. Returns whether the socket has taken all of it.
    pub(super) fn try_flush(&self, socket: &Socket) -> io::Result<bool> {
        self.send(socket, &mut self.connection())
    }

    /// Returns whether the socket has taken all that is encrypted.
    pub(super) fn is_flushed(&self) -> bool {
        !self.has_unsent.load(Ordering::Acquire)
    }

    /// Writes as much as the socket takes, and at most one record more, which is encrypted already.
    pub(super) fn try_write_vectored(&self, socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut connection = self.connection();
        if !self.send(socket, &mut connection)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut left = slices.to_vec();
        let mut left = &mut left[..];
        let mut taken = 0;
        loop {
            let written = connection.writer().write_vectored(left)?;
            taken += written;
            IoSlice::advance_slices(&mut left, written);
            // What was taken counts, whatever comes of the rest.
            let sent = self.send(socket, &mut connection);
            if written == 0 || left.is_empty() || !matches!(sent, Ok(true)) {
                return Ok(taken);
            }
        }
    }

    /// Says that nothing more comes. What the socket does not take of that is lost.
    pub(super) fn close(&self, socket: &Socket) {
        let mut connection = self.connection();
        connection.send_close_notify();
        // The socket is closed next.
        self.send(socket, &mut connection).ok();
    }
}

/// Waits until the socket has something, unless `first` holds some, and reads it.
async fn read_some(
    socket: &Socket,
    first: &mut BytesMut,
    mut read: impl FnMut(&mut dyn Read) -> io::Result<usize>,
) -> io::Result<()> {
    if !first.is_empty() {
        let length = read(&mut &first[..])?;
        first.advance(length);
        return Ok(());
    }
    loop {
        socket.readable().await?;
        let read = read(&mut WithoutWaiting(socket));
        if !would_block(&read) {
            return match read? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            };
        }
    }
}

/// Sends what is encrypted. Returns whether the socket has taken all of it.
fn send(socket: &Socket, connection: &mut ServerConnection) -> io::Result<bool> {
    while connection.wants_write() {
        let sent = connection.write_tls(&mut WithoutWaiting(socket));
        if would_block(&sent) {
            return Ok(false);
        }
        if sent? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(true)
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;

    #[tokio::test]
    async fn one_record_is_encrypted_ahead_of_who_reads_nothing() {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![own.cert.der().clone()], key).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider);
        let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let connector = TlsConnector::from(Arc::new(client.with_no_client_auth()));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::Tcp(listener.accept().await.unwrap().0);
        let name = ServerName::try_from("localhost").unwrap();
        let mut first = BytesMut::new();
        let (client, tls) = tokio::join!(
            connector.connect(name, client),
            Tls::accept(&socket, &mut first, |_| Arc::clone(&config))
        );
        let (_client, tls) = (client.unwrap(), tls.unwrap());

        let piece = vec![b'x'; 1 << 20];
        let mut taken = 0;
        let why = loop {
            match tls.try_write_vectored(&socket, &[IoSlice::new(&piece)]) {
                Ok(length) => taken += length,
                Err(why) => break why,
            }
        };
        assert_eq!(why.kind(), io::ErrorKind::WouldBlock);
        let mut ahead = Vec::new();
        let mut connection = tls.connection();
        while connection.wants_write() {
            connection.write_tls(&mut ahead).unwrap();
        }
        assert!(taken > 2 * RECORD_MAX && !tls.is_flushed());
        assert!((1..=RECORD_MAX + 256).contains(&ahead.len()), "{} bytes", ahead.len());
    }
}
