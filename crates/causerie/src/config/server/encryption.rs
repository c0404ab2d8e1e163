//! Settings of encryption: the certificate, its source, and clients that may speak in clear text.

use std::path::{Path, PathBuf};

use causerie_server::{AcmeChallenge, AcmeSettings, CertificateSource, ClearText, TlsSettings};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use super::values::{host_names, names};

/// Settings of encryption that SIGHUP reads again.
#[derive(Args, Clone, Debug)]
pub(super) struct EncryptionArgs {
    /// The file with the certificate that TLS shows, and those between it and its authority, in PEM form. It is read again when
    /// it changes.
    #[arg(long, value_name = "FILE", env = "CAUSERIE_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// The file with the certificate's private key, in PEM form.
    #[arg(long, value_name = "FILE", env = "CAUSERIE_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// The directory of the authority that makes certificates for tls = acme.
    #[arg(long, value_name = "URL", default_value = LETS_ENCRYPT, env = "CAUSERIE_ACME_DIRECTORY")]
    acme_directory: String,

    /// E-mail address that the authority may write to.
    #[arg(long, value_name = "ADDRESS", value_parser = NonEmptyStringValueParser::new(), env = "CAUSERIE_ACME_CONTACT")]
    acme_contact: Option<String>,

    /// Way in which the authority looks whether the server has its names: by TLS on port 443, or by HTTP on port 80. The server
    /// answers on all its ports; one of them is that port, or is forwarded from it.
    #[arg(long, value_name = "WAY", value_enum, default_value_t = Challenge::Tls, env = "CAUSERIE_ACME_CHALLENGE")]
    acme_challenge: Challenge,

    /// The profile of certificate that is asked for, where the authority has several, such as shortlived.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), env = "CAUSERIE_ACME_PROFILE")]
    acme_profile: Option<String>,

    /// The file with the roots by which the authority itself is trusted, in PEM form. By default those of this machine.
    #[arg(long, value_name = "FILE", env = "CAUSERIE_ACME_ROOTS")]
    acme_roots: Option<PathBuf>,

    /// Names of the server that its certificate is for, such as `chat.example.org`, with commas between them. Browsers may ask
    /// for it by these, as by those of allow-host.
    #[arg(long, value_name = "NAMES", value_parser = host_names, env = "CAUSERIE_TLS_NAME")]
    tls_name: Option<String>,

    /// Clients that may speak in clear text: those on this machine, any, or never one.
    #[arg(long, value_name = "WHO", value_enum, default_value_t = Plain::Loopback, env = "CAUSERIE_PLAIN")]
    pub(super) plain: Plain,
}

/// Sources of the certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum TlsMode {
    Off,
    SelfSigned,
    Files,
    Acme,
}

/// Address of the authority that is asked by default.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Ways in which an authority looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Challenge {
    Tls,
    Http,
}

/// Clients that may speak in clear text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Plain {
    Loopback,
    Any,
    Never,
}

impl From<Plain> for ClearText {
    fn from(plain: Plain) -> Self {
        match plain {
            Plain::Loopback => Self::Loopback,
            Plain::Any => Self::Any,
            Plain::Never => Self::Never,
        }
    }
}

impl EncryptionArgs {
    /// Returns the certificate's source: the one that was chosen, or else the one that fits.
    pub(super) fn mode(&self, chosen: Option<TlsMode>, is_exposed: bool) -> TlsMode {
        chosen.unwrap_or(match (&self.tls_cert, is_exposed) {
            (Some(_), _) => TlsMode::Files,
            (None, true) => TlsMode::SelfSigned,
            (None, false) => TlsMode::Off,
        })
    }

    /// Returns the server's names.
    pub(super) fn names(&self) -> Vec<String> {
        names(self.tls_name.as_deref())
    }

    /// Keeps the files of the certificate that were there before, if there are none any more.
    pub(super) fn keep_files(&mut self, before: &Self) {
        if self.tls_cert.is_none() {
            self.tls_cert.clone_from(&before.tls_cert);
            self.tls_key.clone_from(&before.tls_key);
        }
    }

    /// Returns the settings of TLS, unless it is off; what is made is kept in the folder.
    pub(super) fn settings(&self, mode: TlsMode, folder: Option<&Path>) -> Option<TlsSettings> {
        let source = match mode {
            TlsMode::Off => return None,
            TlsMode::SelfSigned => return Some(self.self_signed(folder)),
            TlsMode::Files => CertificateSource::Files {
                certificate: self.tls_cert.clone().unwrap_or_default(),
                // One file may have both.
                key: self.tls_key.clone().or_else(|| self.tls_cert.clone()).unwrap_or_default(),
            },
            TlsMode::Acme => CertificateSource::Acme(AcmeSettings {
                directory: self.acme_directory.clone(),
                contact: self.acme_contact.clone(),
                challenge: match self.acme_challenge {
                    Challenge::Tls => AcmeChallenge::TlsAlpn,
                    Challenge::Http => AcmeChallenge::Http,
                },
                profile: self.acme_profile.clone(),
                roots: self.acme_roots.clone(),
                folder: folder.map(Path::to_owned).unwrap_or_default(),
            }),
        };
        Some(TlsSettings { source, names: self.names() })
    }

    /// Returns the settings of a server that signs its own certificate.
    pub(super) fn self_signed(&self, folder: Option<&Path>) -> TlsSettings {
        let source = CertificateSource::SelfSigned { folder: folder.map(Path::to_owned) };
        TlsSettings { source, names: self.names() }
    }

    /// Checks settings that depend on each other.
    ///
    /// # Errors
    /// Words about what does not go together.
    pub(super) fn check(
        &self,
        mode: TlsMode,
        is_exposed: bool,
        folder: Option<&Path>,
    ) -> Result<(), &'static str> {
        let has_files = self.tls_cert.is_some() || self.tls_key.is_some();
        match mode {
            TlsMode::Off if has_files => Err("tls-cert and tls-key are for tls = files, and tls is off"),
            TlsMode::Off if self.plain == Plain::Never => {
                Err("nobody could come in: tls is off, and plain = never lets nobody speak in clear text")
            }
            TlsMode::Off if is_exposed && self.plain != Plain::Any => Err(
                "tls is off, so that nobody beyond this machine could come in: plain = any lets them speak in clear text",
            ),
            TlsMode::Files if self.tls_cert.is_none() => Err("tls = files needs tls-cert, and tls-key"),
            TlsMode::Acme if self.tls_name.is_none() => {
                Err("tls = acme needs tls-name: the names that the certificate is for")
            }
            TlsMode::Acme if folder.is_none() => {
                Err("tls = acme keeps its certificate in the data folder, and there is none")
            }
            TlsMode::SelfSigned | TlsMode::Acme if has_files => {
                Err("tls-cert and tls-key are for tls = files, and tls is something else")
            }
            _ => Ok(()),
        }
    }
}
