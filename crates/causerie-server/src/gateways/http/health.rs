//! For who watches over the server: whether it is ready, and what it counts.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;

use super::extract::{Answer, HttpConnection, bearer};
use super::failure::HttpFailure;
use super::origin;
use crate::journal::reads::Asker;

pub(super) async fn ready(Extension(connection): Extension<HttpConnection>) -> Answer {
    let server = &connection.server;
    let trouble = server.writer.trouble().borrow().as_ref().map(ToString::to_string);
    let stopping = server.stop.is_cancelled().then(|| "the server is shutting down".to_owned());
    match server.writer.failure().or(trouble).or(stopping) {
        Some(why) => Err(HttpFailure::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why)),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

pub(super) async fn metrics(Extension(connection): Extension<HttpConnection>, headers: HeaderMap) -> Answer {
    let HttpConnection { server, peer, .. } = connection;
    let directory = &server.directory;
    let is_operator = || bearer(&headers).is_some_and(|shown| directory.is_operator(shown));
    may_read_metrics(directory.has_operator().then(is_operator), peer.ip())?;
    // The store is asked, too.
    let counted = Arc::clone(&server);
    let text = server.reads.run(Asker::Stranger, move |_| counted.metrics_text()).await;
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

/// The operator; where nobody can show that they are, programs on this machine.
fn may_read_metrics(is_operator: Option<bool>, peer: IpAddr) -> Result<(), HttpFailure> {
    match is_operator {
        Some(true) => Ok(()),
        Some(false) => {
            let message = "the operator's token is needed";
            Err(HttpFailure::new(StatusCode::UNAUTHORIZED, "wrong_token", message))
        }
        None if origin::is_loopback(peer) => Ok(()),
        None => {
            let message = "only for programs on the server's own machine, as there is no operator's token";
            Err(HttpFailure::new(StatusCode::FORBIDDEN, "not_permitted", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_for_the_operator_or_this_machine() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        for (is_operator, peer, expected) in [
            (Some(true), there, Ok(())),
            (Some(true), here, Ok(())),
            (Some(false), here, Err("wrong_token")),
            (Some(false), there, Err("wrong_token")),
            (None, here, Ok(())),
            (None, there, Err("not_permitted")),
        ] {
            let judged = may_read_metrics(is_operator, peer).map_err(|failure| failure.problem.code);
            assert_eq!(judged, expected, "{is_operator:?} {peer}");
        }
    }
}
