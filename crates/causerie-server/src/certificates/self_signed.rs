//! A certificate that the server signs itself: made once, and kept, since clients know the server by it.

use std::io;
use std::path::Path;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use x509_parser::time::ASN1Time;

use crate::certificates::chain::{CertificateError, Chain};
use crate::certificates::keep::write_private;

/// The file in the folder: the key, then the certificate.
const FILE: &str = "self-signed.pem";

/// Years that it counts for. Clients know it by its key, and ask again when that changes.
const YEARS: i32 = 10;

/// Reads the server's own certificate from the folder, if there is one.
pub(super) fn read(folder: &Path, names: &[String]) -> Result<Option<Chain>, CertificateError> {
    let path = folder.join(FILE);
    match std::fs::read(&path) {
        Ok(pem) => Chain::parse((&path, &pem), (&path, &pem), names).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(CertificateError::Unreadable { path, why }),
    }
}

/// Makes the server's own certificate, and keeps it in the folder.
pub(super) fn make(folder: Option<&Path>, names: &[String]) -> Result<Chain, CertificateError> {
    let made = pem(names)?;
    let path = folder.unwrap_or(Path::new("")).join(FILE);
    if folder.is_some() {
        write_private(&path, made.as_bytes())
            .map_err(|error| CertificateError::NotMade(format!("{}: {error}", path.display())))?;
    }
    Chain::parse((&path, made.as_bytes()), (&path, made.as_bytes()), names)
}

/// Makes a key and its certificate, in PEM form.
fn pem(names: &[String]) -> Result<String, CertificateError> {
    let failed = |error: rcgen::Error| CertificateError::NotMade(error.to_string());
    // A kind of key that all clients know.
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut all: Vec<String> = names.to_vec();
    for own in ["localhost", "127.0.0.1", "::1"] {
        if !all.iter().any(|name| name == own) {
            all.push(own.to_owned());
        }
    }
    let common = all[0].clone();
    let mut params = CertificateParams::new(all).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, common);
    // From a day ago on: clocks differ.
    let now = ASN1Time::now().to_datetime();
    params.not_before = now - std::time::Duration::from_secs(86_400);
    params.not_after = now.replace_year(now.year() + YEARS).unwrap_or(now);
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(key.serialize_pem() + &certificate.pem())
}
