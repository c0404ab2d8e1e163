//! Requests that a trusted proxy passes on, one connection for many visitors: each counts as its visitor's.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::header::{FORWARDED, UPGRADE};
use axum::http::{Request, StatusCode};
use causerie_gateway::proxy::forwarded::ForwardingHeaders;

use super::extract::HttpConnection;
use super::failure::HttpFailure;
use crate::gateways::refusal::Refusal;
use crate::net::addresses::{Entrance, Visitor};
use crate::settings::ClearText;

/// Makes of the connection what it is for this request: its visitor's, if a trusted proxy tells one. Returns whether a trusted
/// proxy has passed it on. Who is none may say what it likes.
pub(super) fn follow<B>(connection: &mut HttpConnection, request: &Request<B>) -> Result<bool, HttpFailure> {
    if connection.is_control {
        return Ok(false);
    }
    let server = Arc::clone(&connection.server);
    let (told, is_clear_allowed) = {
        let settings = server.settings();
        if !settings.is_trusted_proxy(connection.peer.ip()) {
            return Ok(false);
        }
        let values =
            |name: &str| request.headers().get_all(name).iter().map(|value| value.as_bytes()).collect();
        let headers = ForwardingHeaders {
            forwarded: values(FORWARDED.as_str()),
            forwarded_for: values("x-forwarded-for"),
            forwarded_proto: values("x-forwarded-proto"),
        };
        let told =
            headers.read(|address| settings.is_trusted_proxy(address)).map_err(HttpFailure::malformed)?;
        (told, settings.clear_text == ClearText::Any)
    };
    if let Some(is_encrypted) = told.is_encrypted {
        connection.is_encrypted = is_encrypted;
        if !is_encrypted && !is_clear_allowed {
            connection.refused = Some(Refusal::ProxyInClearText);
        }
    }
    if let Some(address) = told.address {
        let is_upgrade = request.headers().contains_key(UPGRADE);
        let visitor = Visitor::enter(&server.addresses, address, Entrance::Request { is_upgrade });
        connection.visitor = Arc::new(visitor.map_err(|words| {
            let words = words.unwrap_or("too many connections from your address; try again later");
            HttpFailure::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", words)
        })?);
        connection.peer = SocketAddr::new(address, 0);
        connection.is_here = false;
    }
    Ok(true)
}
