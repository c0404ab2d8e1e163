//! Values of the settings, checked as they are read.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

use causerie_core::id::SecretText;
use causerie_server::IpNet;
use clap::builder::RangedU64ValueParser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Returns names that stand in one text, with commas between them.
pub(super) fn names(text: Option<&str>) -> Vec<String> {
    text.into_iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect()
}

/// Reads networks, or single addresses, with commas between them.
pub(super) fn parse_networks(text: Option<&str>) -> impl Iterator<Item = Result<IpNet, String>> {
    names(text).into_iter().map(|name| {
        let network = name.parse::<IpNet>().or_else(|_| name.parse::<IpAddr>().map(IpNet::from));
        let network =
            network.map_err(|_| format!("'{name}' is no network: one is like 10.0.0.0/8 or 2001:db8::1"))?;
        match network.addr() == network.network() {
            true => Ok(network),
            false => Err(format!("'{name}' is an address in the network {}", network.trunc())),
        }
    })
}

pub(super) fn networks(text: &str) -> Result<String, String> {
    parse_networks(Some(text)).try_for_each(|network| network.map(drop)).map(|()| text.to_owned())
}

pub(super) fn range<T>(min: u64, max: u64) -> RangedU64ValueParser<T>
where
    T: TryFrom<u64> + Clone + Send + Sync,
{
    RangedU64ValueParser::new().range(min..=max)
}

/// A filter would take any word for the name of a module, so a level that is misspelt would log nothing.
pub(super) fn log_filter(filter: &str) -> Result<String, String> {
    for part in filter.split(',') {
        let is_level = !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        if !part.contains(['=', '[']) && !is_level {
            return Err(format!("'{part}' is neither off, error, warn, info, debug, trace nor module=level"));
        }
    }
    EnvFilter::try_new(filter).map(|_| filter.to_owned()).map_err(|error| error.to_string())
}

/// Names of machines with commas between them, without ports.
pub(super) fn host_names(names: &str) -> Result<String, String> {
    for name in names.split(',').map(str::trim) {
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if name.is_empty() || !is_plain {
            return Err(format!(
                "'{name}' is no name of a machine: letters, digits, '-', '.' and '_', without a port"
            ));
        }
    }
    Ok(names.to_owned())
}

/// Checks a name where IRC has a server's.
pub(super) fn irc_server_name(name: &str) -> Result<String, String> {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    match is_plain && name.len() <= 63 && name.contains('.') && !name.starts_with('.') {
        true => Ok(name.to_owned()),
        false => {
            Err("it has at most 63 letters, digits, '-' and '.', one '.' at least, and that not first"
                .to_owned())
        }
    }
}

/// Checks a name where IRC has a network's.
pub(super) fn irc_network(name: &str) -> Result<String, String> {
    match (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(name.to_owned()),
        false => Err("it has 1 to 63 characters, all of them visible ASCII".to_owned()),
    }
}

/// Bytes of the longest secret.
const SECRET_MAX: u64 = 4096;

pub(super) fn read_secret(file: &Path) -> io::Result<SecretText> {
    let mut secret = String::new();
    File::open(file)?.take(SECRET_MAX + 1).read_to_string(&mut secret)?;
    if secret.len() as u64 > SECRET_MAX {
        return Err(io::Error::other(format!("it has more than {SECRET_MAX} bytes")));
    }
    let secret = secret.trim_end_matches(['\r', '\n']);
    match secret.is_empty() {
        true => Err(io::Error::other("it is empty")),
        false => Ok(secret.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_said_as_such() {
        for given in ["127.0.0.1", "10.0.0.0/8, ::1", "2001:db8::/32"] {
            assert_eq!(networks(given).as_deref(), Ok(given));
        }
        for wrong in ["", "10.0.0.0/8,", "10.0.0.1/8", "localhost", "10.0.0.0/33", "127.0.0.1:80"] {
            assert!(networks(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for filter in ["info", "off", "WARN", "causerie_server=debug", "info,causerie_server=trace"] {
            assert_eq!(log_filter(filter).as_deref(), Ok(filter));
        }
        for filter in ["inof", "", "info,,", "info,causerie_server=loud"] {
            assert!(log_filter(filter).is_err(), "{filter}");
        }
    }
}
