//! Which web pages may speak with the server. Programs that are no browsers send no `Origin`, and are not concerned.

use std::net::IpAddr;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HOST, ORIGIN, UPGRADE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};

use causerie_core::content::text::visible;

use super::failure::HttpFailure;

/// Judges whether the request may be answered. Returns the page's origin if it may read the answer from elsewhere.
///
/// On an encrypted connection only an encrypted page is the server's own.
///
/// Whoever asks must mean this server, by an address or by a name that it was told: else a page could give its own name the
/// server's address, and be taken for the server's own.
pub(super) fn judge<B>(
    request: &Request<B>,
    allowed: &[String],
    hosts: &[String],
    is_encrypted: bool,
) -> Result<Option<HeaderValue>, HttpFailure> {
    // Two readers of two names would choose each its own [RFC 9112, 3.2].
    let count = request.headers().get_all(HOST).iter().count();
    if count > 1 || count == 0 && request.version() == Version::HTTP_11 {
        let message = "a request names its host once";
        return Err(HttpFailure::new(StatusCode::BAD_REQUEST, "malformed", message));
    }
    let named = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    let known = |host: &str| {
        is_local_name(host)
            || hosts.iter().any(|name| without_port(host).eq_ignore_ascii_case(without_dot(name)))
            || allowed.iter().any(|origin| authority(origin) == Some(host))
    };
    // A request's target counts before its header.
    let target = request.uri().authority().map(|authority| authority.as_str());
    let all: Vec<_> = target.into_iter().chain(named).collect();
    let host = all.first().copied().unwrap_or_default();
    if let Some(other) = all.iter().find(|host| !host.is_empty() && !known(host)) {
        let message =
            format!("this server is not '{}' as far as it knows; --allow-host tells it", visible(other));
        return Err(HttpFailure::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message));
    }
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(None) };
    let text = origin.to_str().unwrap_or("?");
    if allowed.iter().any(|allowed| allowed == text) {
        return Ok(Some(origin.clone()));
    }
    // A page that came in clear text may be anybody's.
    let own = authority(text) == Some(host) && !(is_encrypted && text.starts_with("http://"));
    let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if own || only_reads && !request.headers().contains_key(UPGRADE) {
        return Ok(None);
    }
    let message = "pages of this origin may not do that here; --allow-origin lets them";
    Err(HttpFailure::new(StatusCode::FORBIDDEN, "foreign_origin", message))
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

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    without_dot(name)
}

/// An address, or a name that no page can have.
fn is_local_name(host: &str) -> bool {
    let name = without_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.to_ascii_lowercase();
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
        let hosts = ["talk.example.org".to_owned()];
        let judged = judge(&request.body(()).unwrap(), &allowed, &hosts, false);
        judged.map(|origin| origin.is_some()).map_err(|failure| failure.problem.code)
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
            ("GET", "evil.example:12343", "http://evil.example:12343", true, Err("wrong_host")),
            // Names that it was told, on whatever port, and addresses that no page can have.
            ("GET", "talk.example.org", "", false, Ok(false)),
            ("POST", "TALK.example.org.:8080", "http://TALK.example.org.:8080", false, Ok(false)),
            ("GET", "x.talk.example.org", "", false, Err("wrong_host")),
            ("GET", "192.0.2.7:12343", "http://192.0.2.7:12343", true, Ok(false)),
            ("GET", "[2001:db8::7]:12343", "", false, Ok(false)),
            ("GET", "", "", false, Ok(false)),
        ] {
            assert_eq!(judged(method, host, origin, upgrade), expected, "{method} {host} {origin} {upgrade}");
        }
    }
}
