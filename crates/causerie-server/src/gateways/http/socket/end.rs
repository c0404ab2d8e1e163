//! Ends of WebSocket sessions, and what clients are told then.

use causerie_gateway::api::{Problem, ServerEvent};

use crate::gateways::http::failure::HttpFailure;
use crate::metrics::Refused;

/// Codes of close frames [RFC 6455, 7.4.1].
pub(super) const NORMAL: u16 = 1000;
pub(super) const AWAY: u16 = 1001;
const PROTOCOL: u16 = 1002;
pub(super) const UNSUPPORTED: u16 = 1003;
const NOT_UTF8: u16 = 1007;
pub(super) const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;
/// End of a session.
pub(super) enum SocketEnd {
    /// The client has gone, or the connection has.
    Gone,
    /// The client has closed, and is answered.
    Closed,
    /// The client is told.
    Told(u16, Box<ServerEvent>),
}

impl From<axum::Error> for SocketEnd {
    fn from(_: axum::Error) -> Self {
        Self::Gone
    }
}

impl From<std::io::Error> for SocketEnd {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

/// Outcome of a step: the session goes on, or ends.
pub(super) type StepResult<T = ()> = Result<T, SocketEnd>;

/// Returns the event that tells of a failure.
pub(super) fn refused(failure: HttpFailure, id: Option<String>) -> ServerEvent {
    ServerEvent::Error(Problem { id, ..*failure.problem })
}

/// Returns the end that tells of a violation.
pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> SocketEnd {
    closing(POLICY, code, message)
}

/// Returns the end with this code, which tells why.
pub(super) fn closing(with: u16, code: &'static str, message: impl Into<String>) -> SocketEnd {
    SocketEnd::Told(with, Box::new(ServerEvent::Error(Problem::new(code, message))))
}

/// Returns the end for a client that sends what is too long, or not a WebSocket's bytes, and why that is not taken.
pub(super) fn unreadable(error: &axum::Error, bytes_max: usize) -> (Option<Refused>, SocketEnd) {
    use tungstenite::error::{Error, ProtocolError};
    let cause = std::error::Error::source(error).and_then(|why| why.downcast_ref::<Error>());
    match cause {
        Some(Error::Capacity(_)) => {
            let message = format!("a message has at most {bytes_max} bytes here");
            (Some(Refused::TooLong), closing(TOO_BIG, "too_long", message))
        }
        Some(Error::Utf8(_)) => (Some(Refused::Malformed), closing(NOT_UTF8, "malformed", error.to_string())),
        Some(Error::Protocol(why)) if *why != ProtocolError::ResetWithoutClosingHandshake => {
            (Some(Refused::Malformed), closing(PROTOCOL, "malformed", error.to_string()))
        }
        _ => (None, SocketEnd::Gone),
    }
}
