//! The handshake of TLS, which shows whose key is at the other end.
//!
//! The handshake does not decide on trust in that key: a certificate of the server's own must be seen before anybody can
//! be asked about it. The handshake itself only insists that the other side has the key that it shows.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use causerie_core::content::text::{clipped, visible};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::fingerprint::Fingerprint;
use super::{Shown, host};

/// Name of our protocol where one is chosen by TLS (ALPN).
const PROTOCOL: &[u8] = b"causerie/2";

/// A server that does not speak TLS. It stands beneath an [`io::Error`]; nothing was sent to it but the offer of TLS.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NotTls {
    /// It answers something else: the beginning of that.
    #[error("it answers in clear text, not by TLS: {}", visible(.0))]
    Answers(String),
    /// It closes the connection.
    #[error("it closes the connection instead of speaking TLS")]
    Closes,
}

impl From<NotTls> for io::Error {
    fn from(why: NotTls) -> Self {
        Self::new(io::ErrorKind::InvalidData, why)
    }
}

/// A connection by TLS.
pub(crate) type TlsStream = tokio_rustls::client::TlsStream<Overheard>;

/// Characters of an answer that is not TLS, for people.
const ANSWER_CHARS_MAX: usize = 120;

/// A socket, and the first bytes that came out of it: who does not speak TLS says there what it has to say.
pub(crate) struct Overheard {
    stream: TcpStream,
    beginning: Vec<u8>,
}

impl Overheard {
    /// Bytes of the beginning that are kept.
    const BYTES: usize = 256;

    /// Returns why there is no TLS with the other side, if it does not speak it.
    fn not_tls(&self) -> Option<NotTls> {
        match self.beginning.first() {
            None => Some(NotTls::Closes),
            // Kinds of records: the handshake's, and alerts [RFC 8446, 5.1].
            Some(20..=23) => None,
            Some(_) => {
                let text = String::from_utf8_lossy(&self.beginning);
                let mut line = text.trim_start().lines().next().unwrap_or_default().to_owned();
                clipped(&mut line, ANSWER_CHARS_MAX);
                Some(NotTls::Answers(line))
            }
        }
    }
}

impl AsyncRead for Overheard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let more = &buf.filled()[before..];
        let room = Self::BYTES - self.beginning.len();
        self.beginning.extend_from_slice(&more[..room.min(more.len())]);
        read
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Shakes hands with the server at `HOST:PORT`, and returns what it has shown. Whether that is trusted the caller decides, before it
/// writes anything.
///
/// # Errors
/// Those of the connection; [`NotTls`] and [`rustls::Error`] stand beneath them.
pub(crate) async fn shake_hands(server: &str, stream: TcpStream) -> io::Result<(TlsStream, Shown)> {
    let name = server_name(server)?;
    let authorities = tokio::task::spawn_blocking(authorities).await.map_err(io::Error::other)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let witness = Arc::new(Witness { authorities, provider: Arc::clone(&provider), seen: Mutex::new(None) });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("the provider has what the versions need").dangerous();
    let verifier = Arc::clone(&witness) as Arc<dyn ServerCertVerifier>;
    let mut config = config.with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A resumed session shows no certificate.
    config.resumption = Resumption::disabled();
    let stream = Overheard { stream, beginning: Vec::new() };
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).into_fallible().await;
    let stream = stream.map_err(|(error, stream)| failed(error, &stream))?;
    let seen = witness.seen.lock().expect("nothing panics while holding it").take();
    let shown = seen.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it shows no certificate"))?;
    debug!(fingerprint = %shown.fingerprint, certificate = ?shown.certificate, "handshake");
    Ok((stream, shown))
}

/// Returns why a handshake has failed.
fn failed(error: io::Error, stream: &Overheard) -> io::Error {
    let is_rustls = error.get_ref().is_some_and(|error| error.is::<Error>());
    let is_over = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    );
    match stream.not_tls() {
        Some(why) if is_rustls || is_over => why.into(),
        _ if is_rustls => io::Error::new(error.kind(), HandshakeFailed(error)),
        _ => error,
    }
}

/// Error of a handshake with somebody who speaks TLS.
#[derive(Debug, Error)]
#[error("no TLS comes about: {0}")]
struct HandshakeFailed(#[source] io::Error);

/// Returns the name by which a server's certificate is judged.
fn server_name(server: &str) -> io::Result<ServerName<'static>> {
    let host = host(server);
    // The interface through which an address is reached is none of its certificate's business.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    if let Ok(address) = address.parse::<Ipv6Addr>() {
        return Ok(IpAddr::V6(address).into());
    }
    let name = ServerName::try_from(host.trim_end_matches('.').to_owned());
    name.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "that is no name of a server"))
}

/// The system's authorities, read once; why there are none, in words that follow "and".
type Authorities = Result<Arc<RootCertStore>, &'static str>;

/// Returns the system's authorities. Blocks the first time.
fn authorities() -> Authorities {
    static AUTHORITIES: OnceLock<Authorities> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let (used, unusable) = store.add_parsable_certificates(found.certs);
        debug!(used, unusable, errors = ?found.errors, "authorities of the system");
        if store.is_empty() { Err("this computer has no list of authorities") } else { Ok(Arc::new(store)) }
    };
    AUTHORITIES.get_or_init(read).clone()
}

/// Verifier that looks on: it insists on the key, and notes what the certificate says.
#[derive(Debug)]
struct Witness {
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Shown>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let fingerprint = Fingerprint::of(&parsed.subject_public_key_info());
        let certificate = self.authorities.clone().map_err(str::to_owned).and_then(|authorities| {
            let provider = Arc::clone(&self.provider);
            let verifier = WebPkiServerVerifier::builder_with_provider(authorities, provider).build();
            let verifier = verifier.expect("there are authorities");
            let verified = verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
            verified.map(drop).map_err(|error| in_words(&error))
        });
        *self.seen.lock().expect("nothing panics while holding it") =
            Some(Shown { fingerprint, certificate });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns why a certificate is not in order, in words that follow "and". What it says itself is not among them.
fn in_words(error: &Error) -> String {
    use CertificateError as Why;
    let why = match error {
        Error::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. }) => "its certificate has expired",
        Error::InvalidCertificate(Why::NotValidYet | Why::NotValidYetContext { .. }) => {
            "its certificate is not valid yet"
        }
        Error::InvalidCertificate(Why::NotValidForName | Why::NotValidForNameContext { .. }) => {
            "its certificate is for other names"
        }
        Error::InvalidCertificate(Why::Revoked) => "its certificate is revoked",
        Error::InvalidCertificate(_) => "no authority vouches for its certificate",
        _ => "its certificate cannot be checked",
    };
    why.to_owned()
}
