//! Errors in words, and what to do about them.

use std::io;

use causerie_client::{ConnectError, JoinError};

/// Returns the words that tell why the command failed.
pub(crate) fn failure(error: &anyhow::Error) -> String {
    let hint = system_error(error).and_then(hint);
    format!("{error:#}{}", hint.map_or(String::new(), |hint| format!("; {hint}")))
}

/// Returns the system's error beneath, wherever it stands.
fn system_error(error: &anyhow::Error) -> Option<&io::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(ConnectError::Io(error)) => Some(error),
        _ => match cause.downcast_ref() {
            Some(JoinError::Io(error)) => Some(error),
            _ => cause.downcast_ref(),
        },
    })
}

/// Returns what somebody can do about a server that cannot be reached.
fn hint(error: &io::Error) -> Option<&'static str> {
    // What a name is that nobody knows, or a port that is none, has no kind of its own.
    let is_address = error.kind() == io::ErrorKind::InvalidInput
        || error.to_string().contains("lookup address information");
    if is_address {
        return Some("an address is HOST or HOST:PORT, see --help");
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some("is a server running? `causerie serve` starts one"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn told(error: io::Error) -> String {
        let failed: Result<(), _> = Err(ConnectError::Io(error));
        failure(&failed.context("cannot reach example.org:12343").unwrap_err())
    }

    #[test]
    fn a_server_that_is_not_there_is_told_once_and_with_what_to_do() {
        assert_eq!(
            told(io::ErrorKind::ConnectionRefused.into()),
            "cannot reach example.org:12343: connection refused; is a server running? `causerie serve` starts one"
        );
        assert_eq!(
            told(io::Error::new(io::ErrorKind::InvalidInput, "invalid port value")),
            "cannot reach example.org:12343: invalid port value; an address is HOST or HOST:PORT, see --help"
        );
        assert_eq!(told(io::Error::other("unplugged")), "cannot reach example.org:12343: unplugged");
    }
}
