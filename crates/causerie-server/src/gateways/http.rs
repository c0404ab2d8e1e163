//! The JSON API over HTTP and WebSockets, for browsers and bots, which `docs/api.md` describes; and the page that
//! speaks it.
//!
//! A gateway: what is sent becomes calls of the room, and records of its log become JSON. Members who come this way
//! are hosted ones with a token.

mod extract;
mod failure;
mod forwarded;
mod health;
mod held;
mod lab;
mod operate;
mod origin;
mod page;
mod rendering;
mod rooms;
mod say;
mod shared;
mod socket;

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HOST, LOCATION, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tower_service::Service;

use crate::certificates::ENCRYPTED_FOR;
use crate::gateways::refusal::Refusal;
use crate::gateways::way::Way;
use crate::metrics::{Open, Refused};
use crate::net::addresses::{Visitor, is_loopback};
use crate::net::outbox;
use crate::net::stream::Stream;
use crate::server::Server;
use crate::settings::Protocol;
use extract::HttpConnection;
use failure::HttpFailure;
use shared::SharedStream;

pub(crate) use extract::Lab;

/// Limits of a request's head: bytes, and number of headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

static ROUTES: LazyLock<Router> = LazyLock::new(|| {
    Router::new()
        .route("/api/rooms", get(rooms::list).post(rooms::create))
        .route("/api/rooms/{room}", get(rooms::room).delete(rooms::close))
        .route("/api/rooms/{room}/members", post(rooms::join))
        .route("/api/rooms/{room}/members/{member}", delete(rooms::leave))
        .route("/api/rooms/{room}/messages", get(rooms::messages).post(rooms::say))
        .route("/api/rooms/{room}/search", get(rooms::search))
        .route("/api/rooms/{room}/clock", get(rooms::clock))
        .route("/api/rooms/{room}/trace", get(rooms::trace))
        .route("/api/rooms/{room}/ws", any(socket::open))
        .route("/api/lab", get(lab::lab))
        .route("/api/operate/lockdown", get(operate::lockdown).post(operate::lock_down))
        .route("/api/operate/closed", get(operate::closed))
        .route("/api/operate/open", post(operate::open))
        .route("/api/openapi.json", get(openapi))
        .merge(page::routes())
        .route("/healthz", get(async || StatusCode::NO_CONTENT))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(async || {
            HttpFailure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "that cannot be done with this",
            )
        })
        .fallback(async || HttpFailure::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here"))
});

async fn openapi() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], include_str!("http/openapi.json")).into_response()
}

/// Answers requests until the connection ends or becomes a WebSocket. `first` has been read already.
pub(crate) async fn serve(
    server: &Arc<Server>,
    lab: &Arc<Lab>,
    stream: Arc<Stream>,
    (peer, way): (SocketAddr, Way),
    first: BytesMut,
    visitor: Visitor,
    (open, refused): (Open, Option<Refusal>),
) -> io::Result<()> {
    let charge = Arc::new(server.memory.open(peer.ip()));
    let visitor = Arc::new(visitor);
    let connection = HttpConnection {
        server: Arc::clone(server),
        peer,
        is_here: way != Way::Proxied && is_loopback(peer.ip()),
        is_control: way == Way::Control,
        is_encrypted: stream.is_encrypted(),
        stream: Arc::clone(&stream),
        visitor: Arc::clone(&visitor),
        charge: Arc::clone(&charge),
        lab: Arc::clone(lab),
        refused,
        _open: Arc::new(open),
        _arrived: visitor,
    };
    let socket = Arc::clone(&stream);
    let (input, output) = (SharedStream(Arc::clone(&stream)), SharedStream(stream));
    let stream = TokioIo::new(tokio::io::join(Cursor::new(first).chain(input), output));
    let service = service_fn(move |request| answer(connection.clone(), request));
    let mut builder = http1::Builder::new();
    builder
        // Who has said all may close that side and still wait for the answer.
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(server.settings().first_words)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let mut serving = std::pin::pin!(builder.serve_connection(stream, service).with_upgrades());
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = server.stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = charge.cut() => {
            outbox::cut(&socket);
            return Ok(());
        }
    };
    ended.map_err(io::Error::other)
}

/// Sends who asks in clear text to the same place by TLS, if there is one.
fn encrypted_place<B>(request: &hyper::Request<B>, server: &Server, why: Refusal) -> Response {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or(named);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let has_place = server.certificates.is_some() || why == Refusal::ProxyInClearText;
    let place = host.filter(|_| has_place).map(|host| format!("https://{host}{path}"));
    match place.and_then(|place| HeaderValue::try_from(place).ok()) {
        Some(place) => {
            (StatusCode::PERMANENT_REDIRECT, [(LOCATION, place)], format!("{why}\n")).into_response()
        }
        None => HttpFailure::new(StatusCode::FORBIDDEN, "not_encrypted", why.to_string()).into_response(),
    }
}

async fn answer(
    mut connection: HttpConnection,
    mut request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let server = Arc::clone(&connection.server);
    let forwarded = forwarded::follow(&mut connection, &request);
    let (visitor, charge) = (Arc::clone(&connection.visitor), Arc::clone(&connection.charge));
    let is_forwarded = *forwarded.as_ref().unwrap_or(&true);
    let allowed = forwarded.and_then(|_| {
        let settings = server.settings();
        origin::judge(&request, &settings.origins, &settings.hosts, connection.is_encrypted)
    });
    // Where a proxy encrypts, it tells browsers so.
    let is_trusted = connection.stream.is_encrypted() && !is_forwarded && server.has_trusted_certificate();
    let is_preflight = request.method() == Method::OPTIONS;
    let is_message = request.method() == Method::POST && request.uri().path().ends_with("/messages");
    let asked = request.uri().path().strip_prefix("/.well-known/acme-challenge/");
    let certificates = server.certificates.as_ref();
    let answer = asked.and_then(|token| certificates.and_then(|certificates| certificates.answer(token)));
    let mut response = match (answer, &allowed, connection.refused) {
        // An authority comes by HTTP, by a name that is to become the server's.
        (Some(answer), ..) => answer.into_response(),
        (None, Err(refused), _) => refused.clone().into_response(),
        (None, Ok(_), Some(why)) => encrypted_place(&request, &server, why),
        (None, Ok(Some(_)), None) if is_preflight => StatusCode::NO_CONTENT.into_response(),
        // About the server as a whole [RFC 9110, 9.3.7].
        (None, Ok(_), None) if is_preflight && request.uri().path() == "*" => {
            StatusCode::NO_CONTENT.into_response()
        }
        (None, Ok(_), None) => {
            request.extensions_mut().insert(connection);
            let Ok(response) = ROUTES.clone().call(request.map(Body::new)).await;
            response
        }
    };
    if let Ok(Some(origin)) = allowed {
        origin::allow(origin, is_preflight, response.headers_mut());
    }
    let headers = response.headers_mut();
    // The page's files say for themselves how long they last.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_trusted {
        let only = HeaderValue::try_from(format!("max-age={ENCRYPTED_FOR}"));
        headers.insert(STRICT_TRANSPORT_SECURITY, only.expect("digits"));
    }
    server.metrics.answered(response.status().as_u16());
    if let Some(reason) = response.extensions().get::<Refused>().filter(|_| is_message) {
        server.metrics.refused(Protocol::Http, *reason);
    }
    Ok(response.map(|body| held::whole(body, &visitor, &charge)))
}
