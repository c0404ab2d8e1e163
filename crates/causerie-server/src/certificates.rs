//! Certificates by which clients know the server, and the configurations of TLS that go with them.

mod acme;
mod chain;
mod keep;
mod self_signed;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::DistinguishedName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use chain::{CertificateError, CertificateInfo};

use crate::certificates::acme::{Answers, Renewal};
use crate::certificates::chain::Chain;
use crate::settings::{CertificateSource, Settings, TlsSettings};

/// Protocols that are agreed upon by TLS: ours, IRC, HTTP, and the one by which authorities look who has a name.
const ALPN_NATIVE: &[u8] = b"causerie/2";
const ALPN_IRC: &[u8] = b"irc";
const ALPN_HTTP: &[u8] = b"http/1.1";
const ALPN_ACME: &[u8] = b"acme-tls/1";

/// Seconds for which clients are told to come by TLS only, where the certificate is one that they trust: half a year.
pub(crate) const ENCRYPTED_FOR: u64 = 15_552_000;

/// Most bytes of the certificates that a client shows, with what is kept of each beside them.
const CLIENT_BYTES_MAX: usize = 8 << 10;

/// Time after which it is looked whether the files of a certificate have changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Protocols of a connection, as agreed upon by TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Agreed {
    Native,
    Irc,
    Http,
    /// An authority has looked, and says nothing more.
    Challenge,
}

impl Agreed {
    /// Returns the protocol of this name.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        match name {
            ALPN_NATIVE => Some(Self::Native),
            ALPN_IRC => Some(Self::Irc),
            ALPN_HTTP => Some(Self::Http),
            ALPN_ACME => Some(Self::Challenge),
            _ => None,
        }
    }
}

impl TlsSettings {
    /// Returns what is to be known of the certificate that a server with these settings shows, if it has one already.
    ///
    /// # Errors
    /// [`CertificateError`] where it cannot be read.
    pub fn certificate(&self) -> Result<Option<CertificateInfo>, CertificateError> {
        Ok(self.kept()?.map(|chain| chain.info))
    }

    /// Makes the certificate of a server that signs its own and keeps it, if there is none yet. Returns the same as
    /// [`certificate`](Self::certificate).
    ///
    /// # Errors
    /// [`CertificateError`] where it cannot be read or made.
    pub fn prepare(&self) -> Result<Option<CertificateInfo>, CertificateError> {
        match &self.source {
            CertificateSource::SelfSigned { folder: None } | CertificateSource::Acme(_) => self.certificate(),
            _ => Ok(Some(self.chain()?.info)),
        }
    }

    /// Returns the chain that is there already.
    fn kept(&self) -> Result<Option<Chain>, CertificateError> {
        match &self.source {
            CertificateSource::SelfSigned { folder: None } => Ok(None),
            CertificateSource::SelfSigned { folder: Some(folder) } => self_signed::read(folder, &self.names),
            CertificateSource::Files { certificate, key } => {
                Chain::read(certificate, key, &self.names).map(Some)
            }
            CertificateSource::Acme(acme) => acme::kept(acme, &self.names),
        }
    }

    /// Returns the chain that is there, or makes one: until an authority has made its own, the server signs one.
    fn chain(&self) -> Result<Chain, CertificateError> {
        match (self.kept()?, &self.source) {
            (Some(chain), _) => Ok(chain),
            (None, CertificateSource::SelfSigned { folder }) => {
                self_signed::make(folder.as_deref(), &self.names)
            }
            (None, _) => self_signed::make(None, &self.names),
        }
    }

    /// Returns when the files that it stands in were written.
    fn written(&self) -> Vec<Option<SystemTime>> {
        let CertificateSource::Files { certificate, key } = &self.source else { return Vec::new() };
        let written = |path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        [certificate, key].into_iter().map(written).collect()
    }
}

/// The server's certificate, as the next handshake shows it.
#[derive(Debug)]
struct Shown {
    current: RwLock<Arc<Chain>>,
    /// Answers to an authority that looks who has a name.
    answers: Mutex<Answers>,
}

impl Shown {
    fn current(&self) -> Arc<Chain> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if offers(&hello, ALPN_ACME) {
            return self.answers().by_tls.get(hello.server_name()?).cloned();
        }
        Some(Arc::clone(&self.current().key))
    }
}

/// Returns whether a client offers to speak this.
fn offers(hello: &ClientHello<'_>, protocol: &[u8]) -> bool {
    hello.alpn().is_some_and(|mut all| all.any(|offered| offered == protocol))
}

/// The server's certificate, and the configurations of TLS for each kind of client.
#[derive(Debug)]
pub(crate) struct Certificates {
    shown: Arc<Shown>,
    /// For who offers nothing, IRC or our protocol: they may show a certificate.
    asking: Arc<ServerConfig>,
    /// For all others. Browsers would have people choose a certificate.
    silent: Arc<ServerConfig>,
    /// For authorities that look who has a name.
    challenge: Arc<ServerConfig>,
}

impl Certificates {
    /// Reads, or makes, the certificate.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Self, CertificateError> {
        let current = RwLock::new(Arc::new(settings.chain()?));
        let shown = Arc::new(Shown { current, answers: Mutex::default() });
        let provider = Arc::new(aws_lc_rs::default_provider());
        let ticketer = aws_lc_rs::Ticketer::new()?;
        let config = |protocols: &[&[u8]], asks: bool| {
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
            let builder = builder.with_safe_default_protocol_versions()?;
            let builder = match asks {
                true => builder.with_client_cert_verifier(Arc::new(AnyCertificate(Arc::clone(&provider)))),
                false => builder.with_no_client_auth(),
            };
            let mut config = builder.with_cert_resolver(Arc::<Shown>::clone(&shown));
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            config.ticketer = Arc::clone(&ticketer);
            Ok::<_, CertificateError>(Arc::new(config))
        };
        Ok(Self {
            asking: config(&[ALPN_NATIVE, ALPN_IRC], true)?,
            silent: config(&[ALPN_HTTP], false)?,
            challenge: config(&[ALPN_ACME], false)?,
            shown,
        })
    }

    /// Returns the configuration for a client that begins so.
    pub(crate) fn choose(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let config = if offers(hello, ALPN_ACME) {
            &self.challenge
        } else if hello.alpn().is_none() || offers(hello, ALPN_NATIVE) || offers(hello, ALPN_IRC) {
            &self.asking
        } else {
            &self.silent
        };
        Arc::clone(config)
    }

    /// Returns whether programs that know this machine's roots trust the certificate.
    pub(crate) fn is_trusted(&self) -> bool {
        self.shown.current().info.is_trusted
    }

    /// Returns the time from which on the certificate does not count, in seconds since 1970.
    pub(crate) fn ends(&self) -> u64 {
        self.shown.current().info.ends
    }

    /// Reads the certificate again when the settings are told anew and when its files have changed. What cannot be read does
    /// not count: the old one stays.
    pub(crate) async fn keep(&self, mut settings: watch::Receiver<Settings>, stop: &CancellationToken) {
        // Whatever has changed since the first was read is looked at.
        let mut known = None;
        loop {
            let told = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => false,
                changed = settings.changed() => match changed {
                    Ok(()) => true,
                    Err(_) => return,
                },
            };
            let Some(tls) = settings.borrow_and_update().tls.clone() else { continue };
            // What an authority makes is shown by whoever has it made: it may not be in its file yet.
            if let CertificateSource::Acme(_) = tls.source {
                continue;
            }
            let written = Some(tls.written());
            if !told && known == written {
                continue;
            }
            known = written;
            // Files are read, or one that the server signs itself is made; it may take a moment.
            match tokio::task::spawn_blocking(move || tls.prepare().and_then(|_| tls.kept())).await {
                Ok(Ok(chain)) => drop(chain.map(|chain| self.show(chain))),
                Ok(Err(why)) => warn!("the certificate stays as it was: {why}"),
                // The server is going down.
                Err(_) => return,
            }
        }
    }

    /// Returns the answer to an authority that looks by HTTP who has a name, if it has asked for one.
    pub(crate) fn answer(&self, token: &str) -> Option<String> {
        self.shown.answers().by_http.get(token).cloned()
    }

    /// Has an authority make certificates as they are needed.
    pub(crate) async fn renew(&self, mut settings: watch::Receiver<Settings>, stop: &CancellationToken) {
        let mut renewal = Renewal::new();
        loop {
            let tls = settings.borrow_and_update().tls.clone();
            let wait = match &tls {
                Some(TlsSettings { source: CertificateSource::Acme(acme), names }) if !names.is_empty() => {
                    let answer = |answers| *self.shown.answers() = answers;
                    let renewing = renewal.renew(acme, names, answer);
                    let Some((renewed, wait)) = stop.run_until_cancelled(renewing).await else { return };
                    match renewed {
                        Ok(Some(chain)) => self.show(chain),
                        Ok(None) => {}
                        Err(why) => warn!("{why}; tried again in {} s", wait.as_secs()),
                    }
                    Some(wait)
                }
                _ => None,
            };
            let waited = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = waited => {}
                changed = settings.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn show(&self, chain: Chain) {
        let mut current = self.shown.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.key.cert != chain.key.cert {
            info!("the certificate is another: {}", chain.info);
            *current = Arc::new(chain);
        }
    }
}

/// Takes any certificate: that the client has its key is proven by TLS, and whose it is others decide.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // They are kept as long as the connection, and there may be thousands of empty ones.
        let one = |certificate: &CertificateDer<'_>| size_of_val(certificate) + certificate.len();
        let bytes = one(certificate) + others.iter().map(one).sum::<usize>();
        match bytes > CLIENT_BYTES_MAX {
            true => Err(rustls::Error::General("the client's certificates are too long".into())),
            false => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
