//! A chain of certificates with its key, and what is to be known of it.

use std::fmt;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Reasons why a certificate cannot be shown.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: io::Error,
    },
    /// A file has no certificate, or no key, in PEM form.
    #[error("{}: {why}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The key is not that of the certificate, or of a kind that is not known.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// One of the server's own cannot be made.
    #[error("no certificate can be made: {0}")]
    NotMade(String),
    /// The authority has made none.
    #[error("no certificate from the authority: {0}")]
    Authority(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Facts about the server's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateInfo {
    /// SHA-256 of its public key (`SubjectPublicKeyInfo` in DER), by which our clients know it.
    pub key_sha256: [u8; 32],
    /// SHA-256 of the certificate itself, by which IRC clients know it.
    pub certificate_sha256: [u8; 32],
    /// Names and addresses that it counts for.
    pub names: Vec<String>,
    /// Time from which on it counts, in seconds since 1970.
    pub starts: u64,
    /// Time from which on it does not count any more, in seconds since 1970.
    pub ends: u64,
    /// Programs that know the roots that this machine knows trust it, for the first of the server's names.
    pub is_trusted: bool,
}

impl CertificateInfo {
    /// Returns the time until it ends; zero if it has.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        (SystemTime::UNIX_EPOCH + Duration::from_secs(self.ends))
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    }
}

impl fmt::Display for CertificateInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.remaining().as_secs() / 86_400;
        write!(
            f,
            "for {}, {days} days left, public key SHA-256 {}",
            self.names.join(", "),
            hex(&self.key_sha256)
        )
    }
}

/// Returns bytes in the form in which people compare fingerprints: `ca:d6:49`.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().enumerate().fold(String::new(), |mut text, (n, byte)| {
        // Writing to a text does not fail.
        write!(text, "{}{byte:02x}", if n > 0 { ":" } else { "" }).ok();
        text
    })
}

/// A chain, its key, and what is to be known of it.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) info: CertificateInfo,
}

impl Chain {
    /// Reads a chain and its key from files in PEM form.
    pub(super) fn read(certificate: &Path, key: &Path, names: &[String]) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|why| CertificateError::Unreadable { path: path.to_owned(), why })
        };
        Self::parse((certificate, &read(certificate)?), (key, &read(key)?), names)
    }

    /// Parses a chain and its key, each of which is in PEM form in what its file has.
    pub(super) fn parse(
        (certificate_path, certificate): (&Path, &[u8]),
        (key_path, key): (&Path, &[u8]),
        names: &[String],
    ) -> Result<Self, CertificateError> {
        let not_pem = |path: &Path, what: &str, error: pem::Error| CertificateError::NotPem {
            path: path.to_owned(),
            why: match error {
                pem::Error::NoItemsFound => format!("there is no {what} in it"),
                other => format!("no {what} can be read: {other}"),
            },
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.and_then(|chain| match chain.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(chain),
        });
        let chain = chain.map_err(|error| not_pem(certificate_path, "certificate", error))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| not_pem(key_path, "private key", error))?;
        let unusable = |why: String| CertificateError::Unusable { path: key_path.to_owned(), why };
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| unusable(format!("it does not go with the certificate: {error}")))?;
        let unusable = |why: String| CertificateError::Unusable { path: certificate_path.to_owned(), why };
        let info = info(&key.cert, names).map_err(unusable)?;
        Ok(Self { key: Arc::new(key), info })
    }
}

fn info(chain: &[CertificateDer<'static>], wanted: &[String]) -> Result<CertificateInfo, String> {
    let (_, certificate) = X509Certificate::from_der(&chain[0]).map_err(|error| error.to_string())?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    Ok(CertificateInfo {
        key_sha256: Sha256::digest(certificate.public_key().raw).into(),
        certificate_sha256: Sha256::digest(&chain[0]).into(),
        names: names.collect(),
        starts: u64::try_from(certificate.validity().not_before.timestamp()).unwrap_or(0),
        ends: u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0),
        is_trusted: wanted.first().is_some_and(|name| is_trusted(chain, name)),
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string())).ok()
}

/// Returns whether those who trust the roots of this machine take the chain for this name.
fn is_trusted(chain: &[CertificateDer<'static>], name: &str) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() else {
        return false;
    };
    let Ok(name) = ServerName::try_from(name) else { return false };
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()).is_ok()
}
