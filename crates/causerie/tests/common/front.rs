//! A front that speaks TLS before a server that does not, and counts what clients have sent it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use causerie_client::Fingerprint;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData as _};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Certificate {
    certificate: CertificateDer<'static>,
    config: Arc<ServerConfig>,
    pub(crate) fingerprint: Fingerprint,
}

impl Certificate {
    /// One that nobody vouches for, for this name.
    pub(crate) fn own(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Self::of(certificate.der().clone(), &key)
    }

    /// One for this name, and the authority that vouches for it, as systems keep such.
    pub(crate) fn vouched(name: &str) -> (Self, String) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        (Self::of(certificate.der().clone(), &key), authority.pem())
    }

    /// The same certificate in the hands of somebody who has not its key, by this version of TLS.
    pub(crate) fn stolen(&self, version: &'static SupportedProtocolVersion) -> Self {
        let other = KeyPair::generate().unwrap();
        let config = config(&self.certificate, &other, &[version]);
        Self { config, ..self.clone() }
    }

    /// One of its own by this version of TLS alone.
    pub(crate) fn by(version: &'static SupportedProtocolVersion) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        let own = Self::of(certificate.der().clone(), &key);
        Self { config: config(&own.certificate, &key, &[version]), ..own }
    }

    fn of(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        let fingerprint = Fingerprint::new(sha256(&key.subject_public_key_info()));
        let config = config(&certificate, key, rustls::ALL_VERSIONS);
        Self { certificate, config, fingerprint }
    }
}

/// Whether the key is the certificate's nobody looks at.
fn config(
    certificate: &CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let certified = Arc::new(CertifiedKey::new(vec![certificate.clone()], key));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_protocol_versions(versions).unwrap().with_no_client_auth();
    Arc::new(config.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
}

/// SHA-256, by somebody else than who is tested.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().unwrap().common.hash_provider.hash(bytes).as_ref().try_into().unwrap()
}

pub(crate) struct Front {
    pub(crate) port: u16,
    certificate: Arc<Mutex<Certificate>>,
    heard: Arc<AtomicU64>,
    shaken: Arc<AtomicU64>,
    cut: Arc<Notify>,
}

impl Front {
    /// Starts one that passes on what comes to the server at `to`.
    pub(crate) async fn start(to: String, certificate: &Certificate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let front = Self {
            port,
            certificate: Arc::new(Mutex::new(certificate.clone())),
            heard: Arc::default(),
            shaken: Arc::default(),
            cut: Arc::default(),
        };
        let (certificate, heard, shaken, cut) = (
            Arc::clone(&front.certificate),
            Arc::clone(&front.heard),
            Arc::clone(&front.shaken),
            Arc::clone(&front.cut),
        );
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let config = Arc::clone(&certificate.lock().unwrap().config);
                let (heard, shaken, cut, to) =
                    (Arc::clone(&heard), Arc::clone(&shaken), Arc::clone(&cut), to.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = pass(near, config, to, heard, shaken) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        front
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// It has another certificate from now on.
    pub(crate) fn change(&self, certificate: &Certificate) {
        *self.certificate.lock().unwrap() = certificate.clone();
    }

    /// Cuts the connections there are.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// Bytes that came out of TLS, up to now.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }

    /// Handshakes that were completed.
    pub(crate) fn shaken(&self) -> u64 {
        self.shaken.load(Ordering::SeqCst)
    }
}

async fn pass(
    near: TcpStream,
    config: Arc<ServerConfig>,
    to: String,
    heard: Arc<AtomicU64>,
    shaken: Arc<AtomicU64>,
) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    let near = TlsAcceptor::from(config).accept(near).await?;
    shaken.fetch_add(1, Ordering::SeqCst);
    let (mut from_client, mut to_client) = tokio::io::split(near);
    let server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            match from_client.read(&mut bytes).await? {
                0 => return to_server.shutdown().await,
                read => {
                    heard.fetch_add(read as u64, Ordering::SeqCst);
                    to_server.write_all(&bytes[..read]).await?;
                }
            }
        }
    };
    let down = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            match from_server.read(&mut bytes).await? {
                0 => return to_client.shutdown().await,
                read => {
                    to_client.write_all(&bytes[..read]).await?;
                    to_client.flush().await?;
                }
            }
        }
    };
    tokio::try_join!(up, down).map(drop)
}
