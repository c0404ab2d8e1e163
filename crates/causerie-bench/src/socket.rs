//! Sockets of the load, in clear text or by TLS.
//!
//! The load is put on a server that whoever runs it has chosen, and says nothing that is secret: any certificate will do.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// Server under load, and how it is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoadServer {
    /// Address of the server.
    pub address: SocketAddr,
    /// It is spoken to by TLS, whatever its certificate.
    pub tls: bool,
}

impl From<SocketAddr> for LoadServer {
    /// In clear text.
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: false }
    }
}

/// A socket that does not block.
pub(crate) struct LoadSocket {
    stream: mio::net::TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// A socket that blocks.
pub trait BlockingSocket: Read + Write {}

impl<T: Read + Write> BlockingSocket for T {}

impl LoadServer {
    /// Connects, and goes on without blocking. The handshake of TLS comes about as one reads and writes.
    pub(crate) fn connect(self, patience: Duration) -> io::Result<LoadSocket> {
        let stream = self.stream(patience)?;
        stream.set_nonblocking(true)?;
        let tls = if self.tls { Some(Box::new(self.client()?)) } else { None };
        Ok(LoadSocket { stream: mio::net::TcpStream::from_std(stream), tls })
    }

    /// Connects; nothing takes longer than that. The handshake of TLS comes about with the first read or write.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn connect_blocking(self, patience: Duration) -> io::Result<Box<dyn BlockingSocket>> {
        let stream = self.stream(patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(if self.tls { Box::new(StreamOwned::new(self.client()?, stream)) } else { Box::new(stream) })
    }

    fn stream(self, patience: Duration) -> io::Result<std::net::TcpStream> {
        let stream = std::net::TcpStream::connect_timeout(&self.address, patience)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn client(self) -> io::Result<ClientConnection> {
        static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(config);
        ClientConnection::new(Arc::clone(&CONFIG), ServerName::from(self.address.ip()))
            .map_err(io::Error::other)
    }
}

/// Returns the error of a connection, in words where it is one of TLS.
pub(crate) fn told(error: io::Error) -> io::Error {
    match error.get_ref() {
        Some(inner) if inner.is::<rustls::Error>() => {
            io::Error::new(error.kind(), format!("no TLS comes about, it may speak clear text: {inner}"))
        }
        _ => error,
    }
}

impl LoadSocket {
    pub(crate) fn source(&mut self) -> &mut mio::net::TcpStream {
        &mut self.stream
    }

    /// Returns whether there may be more after a read that gave less than was asked for. Where sockets tell of changes by epoll,
    /// there is not, and they tell when there is; TLS reads in pieces of its own.
    pub(crate) fn may_have_more(&self) -> bool {
        self.tls.is_some() || !cfg!(target_os = "linux")
    }
}

impl Read for LoadSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                // Also without the farewell of TLS.
                return Ok(0);
            }
            let processed = tls.process_new_packets();
            // What the handshake answers, and alerts.
            push(tls, &mut self.stream)?;
            processed.map_err(|error| told(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        }
    }
}

impl Write for LoadSocket {
    /// Takes some; what TLS has taken and the socket has not goes out by [`flush`](Self::flush).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.write(bytes) };
        // What waits takes the room, and the socket tells only once that it takes more.
        push(tls, &mut self.stream)?;
        let taken = tls.writer().write(bytes)?;
        push(tls, &mut self.stream)?;
        match taken {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |tls| push(tls, &mut self.stream))
    }
}

/// Writes what the socket takes.
fn push(tls: &mut ClientConnection, stream: &mut mio::net::TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn config() -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("the provider has what the versions need").dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(AnyServer(schemes)));
    let mut config = config.with_no_client_auth();
    // Each member of a load is a client of its own.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Any certificate will do.
#[derive(Debug)]
struct AnyServer(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
