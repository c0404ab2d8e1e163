//! Fingerprints of servers' public keys.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Fingerprint of a server's public key: the SHA-256 of its `SubjectPublicKeyInfo`, which stays as long as the key does, also in
/// another certificate.
///
/// ```
/// use causerie_client::Fingerprint;
///
/// let text = "SHA-256 ca:d6:49:a9:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:67:62";
/// let fingerprint: Fingerprint = text.parse()?;
/// assert_eq!(fingerprint.to_string(), text);
/// assert_eq!(Ok(fingerprint), format!("sha256:{}", fingerprint.hex()).parse());
/// # Ok::<_, causerie_client::FingerprintError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint([u8; 32]);

/// Error of reading a fingerprint.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a fingerprint is 64 hexadecimal digits, with colons or without: sha256:cad649a9… or ca:d6:49:a9:…")]
pub struct FingerprintError;

impl Fingerprint {
    /// The fingerprint with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint of a public key in DER.
    pub(crate) fn of(subject_public_key_info: &[u8]) -> Self {
        Self(Sha256::digest(subject_public_key_info).into())
    }

    /// The 64 hexadecimal digits, as they stand in a file.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The digits with colons between the bytes: one word, for a command line.
    #[must_use]
    pub fn colons(&self) -> String {
        self.0.map(|byte| format!("{byte:02x}")).join(":")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA-256 {}", self.colons())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let text = text.trim().to_ascii_lowercase();
        let prefix = ["sha-256", "sha256"].into_iter().find_map(|prefix| text.strip_prefix(prefix));
        let digits =
            prefix.map_or(Some(&text[..]), |rest| rest.strip_prefix([' ', ':'])).ok_or(FingerprintError)?;
        let digits = match digits.contains(':') {
            false => digits.to_owned(),
            true if digits.split(':').all(|byte| byte.len() == 2) => digits.replace(':', ""),
            true => return Err(FingerprintError),
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| FingerprintError)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written_anywhere() {
        let fingerprint = Fingerprint::of(b"a key");
        let (hex, colons) = (fingerprint.hex(), fingerprint.colons());
        assert_eq!((hex.len(), colons.len()), (64, 95));
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            colons.clone(),
            format!("sha256:{hex}"),
            format!("SHA256:{colons}"),
            format!("SHA-256 {colons}"),
            format!(" {fingerprint}\n"),
        ] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for text in [
            "",
            "sha256:",
            &hex[1..],
            &format!("{hex}00"),
            &format!("sha256{hex}"),
            &format!("sha1:{hex}"),
            &colons.replacen(':', "", 1),
            &format!(":{hex}"),
            &hex.replace(&hex[..1], "g"),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }
}
