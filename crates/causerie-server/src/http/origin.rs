//! Which web pages may speak with the server. Programs that are no browsers send no `Origin`, and are not concerned.

use std::net::IpAddr;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HOST, ORIGIN, UPGRADE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::failure::Failure;

/// Whether the request may be answered, and the page's origin if it may read the answer from elsewhere.
///
/// Whoever reaches the server at a loopback address must also mean that: else a page could give its own name this
/// address, and be taken for the server's own.
pub(super) fn judge<B>(
    request: &Request<B>,
    is_local: bool,
    allowed: &[String],
) -> Result<Option<HeaderValue>, Failure> {
    let text = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let host = text(HOST).unwrap_or_default();
    let known = |host: &str| allowed.iter().any(|origin| authority(origin) == Some(host));
    if is_local && !host.is_empty() && !is_local_name(host) && !known(host) {
        let message = format!("this server is not '{host}' as far as it knows; --allow-origin tells it");
        return Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message));
    }
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(None) };
    let text = origin.to_str().unwrap_or("?");
    if allowed.iter().any(|allowed| allowed == text) {
        return Ok(Some(origin.clone()));
    }
    let own = authority(text) == Some(host);
    let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if own || only_reads && !request.headers().contains_key(UPGRADE) {
        return Ok(None);
    }
    let message = "pages of this origin may not do that here; --allow-origin lets them";
    Err(Failure::new(StatusCode::FORBIDDEN, "foreign_origin", message))
}

/// Also where a listener for both kinds of addresses tells one as the other.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The page may read the answer.
pub(super) fn allow(origin: HeaderValue, is_preflight: bool, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if is_preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
        let names = HeaderValue::from_static("authorization, content-type");
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}

fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

/// An address, or a name that no page can have.
fn is_local_name(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = without_port.trim_start_matches('[').trim_end_matches(']');
    let name = without_port.to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(method: &str, host: &str, origin: &str, upgrade: bool) -> Result<bool, &'static str> {
        let mut request = Request::builder().method(method).header("host", host);
        if !origin.is_empty() {
            request = request.header("origin", origin);
        }
        if upgrade {
            request = request.header("upgrade", "websocket");
        }
        let allowed = ["https://chat.example.org".to_owned()];
        let judged = judge(&request.body(()).unwrap(), true, &allowed);
        judged.map(|origin| origin.is_some()).map_err(|failure| failure.problem.code)
    }

    #[test]
    fn loopback_is_told_by_any_kind_of_address() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn foreign_pages_may_only_ask_and_not_read_the_answer() {
        let local = "127.0.0.1:12343";
        for (method, host, origin, upgrade, expected) in [
            ("POST", local, "", false, Ok(false)),
            ("POST", local, "http://127.0.0.1:12343", false, Ok(false)),
            ("GET", "localhost:1", "http://localhost:1", true, Ok(false)),
            ("GET", "[::1]:1", "", false, Ok(false)),
            ("GET", local, "http://evil.example", false, Ok(false)),
            ("HEAD", local, "null", false, Ok(false)),
            ("POST", local, "http://evil.example", false, Err("foreign_origin")),
            ("DELETE", local, "null", false, Err("foreign_origin")),
            ("OPTIONS", local, "http://evil.example", false, Err("foreign_origin")),
            ("GET", local, "http://evil.example", true, Err("foreign_origin")),
            ("GET", local, "http://127.0.0.1:80", true, Err("foreign_origin")),
            ("POST", local, "https://chat.example.org", false, Ok(true)),
            ("GET", "chat.example.org", "https://chat.example.org", true, Ok(true)),
            ("POST", local, "https://chat.example.org.evil.example", false, Err("foreign_origin")),
            // A page that has given its name our address.
            ("GET", "evil.example:12343", "", false, Err("wrong_host")),
            ("POST", "evil.example:12343", "http://evil.example:12343", false, Err("wrong_host")),
            ("GET", "127.0.0.1.evil.example", "", false, Err("wrong_host")),
        ] {
            assert_eq!(judged(method, host, origin, upgrade), expected, "{method} {host} {origin} {upgrade}");
        }
    }
}
