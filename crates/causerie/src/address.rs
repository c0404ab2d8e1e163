//! Addresses of servers, with a port or without one.

use std::net::{Ipv6Addr, SocketAddr};

/// Port of a server where none is given.
pub(crate) const DEFAULT_PORT: u16 = 12343;

/// Server where none is given.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:12343";

/// Adds the default port where none is given.
pub(crate) fn with_port(server: &str) -> String {
    let is_address = server.parse::<Ipv6Addr>().is_ok();
    // A port that is none stays where it is, to be told.
    let has_port = !is_address && server.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    match (is_address, has_port) {
        (true, _) => format!("[{server}]:{DEFAULT_PORT}"),
        (false, true) => server.into(),
        (false, false) => format!("{server}:{DEFAULT_PORT}"),
    }
}

/// Reads an address to listen on, with the default port where none is given.
pub(crate) fn listening(address: &str) -> Result<SocketAddr, String> {
    with_port(address).parse().map_err(|_| "it is an address, or an address and a port: 0.0.0.0:12343".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_port_has_the_default_one() {
        for (given, meant) in [
            ("localhost", "localhost:12343"),
            ("localhost:99", "localhost:99"),
            ("127.0.0.1", "127.0.0.1:12343"),
            ("::1", "[::1]:12343"),
            ("[::1]", "[::1]:12343"),
            ("[::1]:99", "[::1]:99"),
            ("localhost:99999", "localhost:99999"),
            ("localhost:http", "localhost:http"),
        ] {
            assert_eq!(with_port(given), meant);
        }
        assert_eq!(with_port("127.0.0.1"), DEFAULT_SERVER);
    }

    #[test]
    fn one_listens_on_an_address_with_a_port_or_without() {
        for (given, meant) in [
            ("0.0.0.0", "0.0.0.0:12343"),
            ("::", "[::]:12343"),
            ("[::1]", "[::1]:12343"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::]:99", "[::]:99"),
        ] {
            assert_eq!(listening(given), Ok(meant.parse().unwrap()), "{given}");
        }
        for wrong in ["", "localhost", "12343", "127.0.0.1:", "127.0.0.1:99999", "[::1", "256.0.0.1"] {
            assert!(listening(wrong).is_err(), "{wrong}");
        }
    }
}
