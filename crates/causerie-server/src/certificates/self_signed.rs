//! A certificate that the server signs itself: made once, and kept, since clients know the server by it.

use std::io::{self, Write};
use std::path::Path;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use x509_parser::time::ASN1Time;

use crate::certificates::chain::{CertificateError, Chain};

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

/// Reads the server's own certificate from the folder, or makes it there, if there is none. Without a folder it is a new one
/// each time.
pub(super) fn chain(folder: Option<&Path>, names: &[String]) -> Result<Chain, CertificateError> {
    if let Some(chain) = folder.map(|folder| read(folder, names)).transpose()?.flatten() {
        return Ok(chain);
    }
    let made = make(names)?;
    let path = folder.unwrap_or(Path::new("")).join(FILE);
    if let Some(folder) = folder {
        write(folder, &path, made.as_bytes())
            .map_err(|error| CertificateError::NotMade(format!("{}: {error}", path.display())))?;
    }
    Chain::parse((&path, made.as_bytes()), (&path, made.as_bytes()), names)
}

/// Makes a key and its certificate, in PEM form.
fn make(names: &[String]) -> Result<String, CertificateError> {
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

/// Writes the file as a whole, for its owner only.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut folders = std::fs::DirBuilder::new();
    folders.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
    folders.create(folder)?;
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    // So that the name is there after a power cut, too, where folders can be synced.
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).or_else(|error| match cfg!(unix) {
        true => Err(error),
        false => Ok(()),
    })
}
