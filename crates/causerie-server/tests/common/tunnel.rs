//! TLS in front of clients that know nothing of it: they connect to a tunnel in clear text, and it to the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use causerie_server::{CertificateSource, TlsSettings};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A variable of the environment with which all tests of clients go through TLS.
pub(crate) const THROUGH_TLS: &str = "CAUSERIE_TEST_TLS";

/// Returns whether they do.
pub(crate) fn is_used() -> bool {
    std::env::var_os(THROUGH_TLS).is_some()
}

/// A certificate that the server makes for this run.
pub(crate) fn own_certificate() -> TlsSettings {
    TlsSettings { source: CertificateSource::SelfSigned { folder: None }, names: Vec::new() }
}

/// A client of TLS, which takes any certificate.
#[derive(Clone)]
pub(crate) struct Tunnel {
    to: SocketAddr,
    config: Arc<ClientConfig>,
    /// The certificate that it was shown last.
    pub(crate) shown: Arc<Mutex<Option<CertificateDer<'static>>>>,
}

impl Tunnel {
    pub(crate) fn to(to: SocketAddr) -> Self {
        Self::with(to, &[], None)
    }

    /// Offers these protocols, and shows this chain of certificates if it is asked for one.
    pub(crate) fn with(
        to: SocketAddr,
        protocols: &[&str],
        own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let shown = Arc::new(Mutex::new(None));
        let any = Arc::new(AnyServer { provider: Arc::clone(&provider), shown: Arc::clone(&shown) });
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.dangerous().with_custom_certificate_verifier(any);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { to, config: Arc::new(config), shown }
    }

    pub(crate) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as("localhost").await
    }

    /// Connects, and asks for this name.
    pub(crate) async fn connect_as(&self, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }

    /// Opens the tunnel, for as long as the test runs.
    pub(crate) async fn open(self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let tunnel = self.clone();
                tokio::spawn(async move {
                    client.set_nodelay(true)?;
                    let mut server = tunnel.connect().await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        address
    }
}

#[derive(Debug)]
struct AnyServer {
    provider: Arc<CryptoProvider>,
    shown: Arc<Mutex<Option<CertificateDer<'static>>>>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.shown.lock().unwrap() = Some(certificate.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        match rustls::crypto::verify_tls13_signature(message, certificate, signed, known) {
            // One for authorities only, with an extension that others cannot read.
            Err(rustls::Error::InvalidCertificate(_)) => Ok(HandshakeSignatureValid::assertion()),
            verified => verified,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
