//! For who watches over the server: whether it is ready, and what it counts.

use std::sync::Arc;

use axum::Extension;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;

use super::extract::{Answer, HttpConnection};
use super::failure::HttpFailure;
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
    let is_operator = connection.is_operator(&headers);
    let HttpConnection { server, peer, is_here, is_control, .. } = connection;
    // Whoever comes through a proxy is from elsewhere, also where it does not say from where.
    let is_here = is_here && !server.settings().is_trusted_proxy(peer.ip());
    let can_show = is_control || server.directory.has_operator();
    may_read_metrics(can_show.then_some(is_operator), is_here)?;
    // The store is asked, too.
    let counted = Arc::clone(&server);
    let text = server.reads.run(Asker::Stranger, move |_| counted.metrics_text()).await;
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

/// The operator; where nobody can show that they are, programs on this machine.
fn may_read_metrics(is_operator: Option<bool>, is_here: bool) -> Result<(), HttpFailure> {
    match is_operator {
        Some(true) => Ok(()),
        Some(false) => {
            let message = "the operator's token is needed";
            Err(HttpFailure::new(StatusCode::UNAUTHORIZED, "wrong_token", message))
        }
        None if is_here => Ok(()),
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
        let (here, there) = (true, false);
        for (is_operator, is_here, expected) in [
            (Some(true), there, Ok(())),
            (Some(true), here, Ok(())),
            (Some(false), here, Err("wrong_token")),
            (Some(false), there, Err("wrong_token")),
            (None, here, Ok(())),
            (None, there, Err("not_permitted")),
        ] {
            let judged = may_read_metrics(is_operator, is_here).map_err(|failure| failure.problem.code);
            assert_eq!(judged, expected, "{is_operator:?} {is_here}");
        }
    }
}
