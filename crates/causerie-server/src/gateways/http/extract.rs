//! Parts of requests: the connection, the room, the token, the question and the body.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use causerie_core::id::{Nonce, SecretText, Token};
use causerie_gateway::api;
use cbcast::MemberId;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::failure::HttpFailure;
use crate::gateways::refusal::Refusal;
use crate::metrics::Open;
use crate::net::addresses::Visitor;
use crate::net::memory::Charge;
use crate::net::stream::Stream;
use crate::rooms::access::{Right, Who};
use crate::rooms::hosted::HostedRoom;
use crate::server::Server;

/// Runs at once, in threads that may block, and those that wait for that.
const AT_ONCE: usize = 2;
const WAITING_MAX: usize = 64;

/// Places of the lab.
pub(crate) struct Lab {
    pub(super) running: Arc<Semaphore>,
    pub(super) waiting: Arc<Semaphore>,
}

impl Default for Lab {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
    }
}

/// Parts that requests of one connection share. Lives as long as the connection, or the WebSocket that it has become.
#[derive(Clone)]
pub(super) struct HttpConnection {
    pub(super) server: Arc<Server>,
    /// The visitor's address: that of the request, where a proxy tells it.
    pub(super) peer: SocketAddr,
    /// The visitor is a program on this machine.
    pub(super) is_here: bool,
    /// It came by the control socket: it is the operator's.
    pub(super) is_control: bool,
    /// The visitor's way here is encrypted, as far as anybody says.
    pub(super) is_encrypted: bool,
    pub(super) stream: Arc<Stream>,
    pub(super) visitor: Arc<Visitor>,
    pub(super) lab: Arc<Lab>,
    /// Account of what it holds for a client that does not read.
    pub(super) charge: Arc<Charge>,
    /// Nothing is answered but why.
    pub(super) refused: Option<Refusal>,
    pub(super) _open: Arc<Open>,
    /// Who has made the connection, a proxy perhaps: counted until the last of it is over.
    pub(super) _arrived: Arc<Visitor>,
}

impl HttpConnection {
    /// Returns how many bytes one message of JSON may have: each byte of a text may be written as six.
    pub(super) fn json_bytes_max(&self) -> usize {
        6 * self.server.settings().room.text_bytes_max + (4 << 10)
    }
}

impl HttpConnection {
    /// Returns whether a request is the operator's, by its token or by the way that it came.
    pub(super) fn is_operator(&self, headers: &HeaderMap) -> bool {
        self.is_control || bearer(headers).is_some_and(|shown| self.server.directory.is_operator(shown))
    }
}

/// Answer of a request.
pub(super) type Answer = Result<Response, HttpFailure>;

/// Returns an answer that is this JSON.
pub(super) fn answer(status: StatusCode, body: String) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, json)], body).into_response()
}

/// Opens the room that a request's path names, for something.
async fn open<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    right: Right,
) -> Result<(HttpConnection, Arc<HostedRoom>), HttpFailure> {
    let path: Result<Path<BTreeMap<String, String>>, PathRejection> =
        Path::from_request_parts(parts, state).await;
    let Path(path) = path.map_err(|error| HttpFailure::malformed(error.body_text()))?;
    let connection =
        parts.extensions.get::<HttpConnection>().expect("each request has its connection").clone();
    let room = path.get("room").map(String::as_str).unwrap_or_default();
    let hosted = connection.server.directory.open(Who::Anybody, room, right)?;
    Ok((connection, hosted))
}

macro_rules! in_room {
    ($(#[$doc:meta])* $name:ident, $right:expr) => {
        $(#[$doc])*
        pub(super) struct $name(pub(super) HttpConnection, pub(super) Arc<HostedRoom>);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = HttpFailure;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpFailure> {
                let (connection, hosted) = open(parts, state, $right).await?;
                Ok(Self(connection, hosted))
            }
        }
    };
}

in_room! {
    /// Connection of a request, and the room that its path names, to be read.
    InRoom, Right::Read
}

in_room! {
    /// Connection of a request, and the room that its path names, for who joins or is a member.
    ToJoin, Right::Join
}

in_room! {
    /// Connection of a request, and the room that its path names, for who wants it closed.
    ToClose, Right::Close
}

/// Body of a request: JSON, within the limits of size and time.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: for<'a> Deserialize<'a>> FromRequest<S> for Json<T> {
    type Rejection = HttpFailure;

    async fn from_request(request: Request, _: &S) -> Result<Self, HttpFailure> {
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let message = "the body is JSON, and Content-Type says application/json";
            return Err(HttpFailure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message));
        }
        let connection =
            request.extensions().get::<HttpConnection>().expect("each request has its connection");
        let (limit, patience) = (connection.json_bytes_max(), connection.server.settings().first_words);
        let read = axum::body::to_bytes(request.into_body(), limit);
        let bytes = match tokio::time::timeout(patience, read).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return Err(unread(&error, limit)),
            Err(_) => {
                let message = "the body did not arrive in time";
                return Err(HttpFailure::new(StatusCode::REQUEST_TIMEOUT, "timed_out", message));
            }
        };
        api::read(&bytes).map(Self).map_err(HttpFailure::malformed)
    }
}

fn unread(error: &axum::Error, limit: usize) -> HttpFailure {
    let too_long =
        std::error::Error::source(error).is_some_and(|why| why.is::<http_body_util::LengthLimitError>());
    match too_long {
        true => {
            let message = format!("a body has at most {limit} bytes here");
            HttpFailure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", message)
        }
        false => HttpFailure::malformed(error),
    }
}

/// Question behind the question mark.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: for<'a> Deserialize<'a> + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = HttpFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpFailure> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| HttpFailure::malformed(error.body_text()))
    }
}

/// Returns the token that a request shows.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Token that a request shows, and whose it is.
pub(super) struct Bearer(pub(super) MemberId, pub(super) Token);

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = HttpFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpFailure> {
        let shown = bearer(&parts.headers).and_then(api::read_token);
        shown.map(|(member, token)| Self(member, token)).ok_or_else(HttpFailure::wrong_token)
    }
}

/// Returns a token of fresh randomness.
pub(super) fn new_token() -> Token {
    Token::new(random())
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Returns the nonce of a join: the client's, or one that nobody repeats.
pub(super) fn nonce(given: Option<&SecretText>) -> Result<Nonce, HttpFailure> {
    let wrong = || {
        HttpFailure::new(StatusCode::BAD_REQUEST, "nonce_invalid", "a nonce is 32 random hexadecimal digits")
    };
    given.map_or_else(|| Ok(Nonce::new(random())), |nonce| nonce.reveal().parse().map_err(|_| wrong()))
}
