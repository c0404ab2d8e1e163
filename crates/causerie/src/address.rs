//! Addresses of servers.

pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:12343";

/// Adds the default port where none is given.
pub(crate) fn with_port(server: &str) -> String {
    let is_address = server.parse::<std::net::Ipv6Addr>().is_ok();
    // A port that is none stays where it is, to be told.
    let has_port = !is_address && server.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    match (is_address, has_port) {
        (true, _) => format!("[{server}]:12343"),
        (false, true) => server.into(),
        (false, false) => format!("{server}:12343"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_port_has_the_default_one() {
        for (given, meant) in [
            ("localhost", "localhost:12343"),
            ("localhost:99", "localhost:99"),
            ("::1", "[::1]:12343"),
            ("[::1]", "[::1]:12343"),
            ("[::1]:99", "[::1]:99"),
            ("localhost:99999", "localhost:99999"),
            ("localhost:http", "localhost:http"),
        ] {
            assert_eq!(with_port(given), meant);
        }
    }
}
