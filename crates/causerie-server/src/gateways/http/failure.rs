//! Answers that say what went wrong: JSON with a code for programs and words for people.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use causerie_core::content::body::BodyError;
use causerie_core::room::{HostedSayError, JoinError, ResumeError};
use causerie_gateway::api::{Problem, to_json};
use causerie_store::StoreError;

use crate::gateways::membership::SeatLost;
use crate::journal::unstored::NotStored;
use crate::metrics::Refused;
use crate::net::addresses::TooOften;
use crate::net::budget::warn_seldom;
use crate::rooms::error::RoomError;
use crate::rooms::history::HistoryError;

/// Something was not done.
#[derive(Clone, Debug)]
pub(super) struct HttpFailure {
    pub(super) status: StatusCode,
    pub(super) problem: Box<Problem>,
    /// Seconds after which it is worth trying again, where it is.
    retry: u64,
}

impl HttpFailure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, problem: Box::new(Problem::new(code, message)), retry: 1 }
    }

    /// Returns why a message was not taken, if this is the answer to one.
    pub(super) fn reason(&self) -> Refused {
        match self.problem.code {
            "malformed" | "not_json" | "timed_out" => Refused::Malformed,
            "too_long" => Refused::TooLong,
            "expired" | "wrong_token" | "not_permitted" | "no_such_room" => Refused::NotMember,
            "too_many_requests" => Refused::TooOften,
            "storage_full" => Refused::StorageFull,
            _ => Refused::Invalid,
        }
    }

    pub(super) fn malformed(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message.to_string())
    }

    /// Nobody new is let in; an operator ends that.
    fn lockdown(why: &str) -> Self {
        Self { retry: 60, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "lockdown", why) }
    }

    pub(super) fn wrong_token() -> Self {
        ResumeError::WrongToken.into()
    }

    /// Nothing can be stored at the moment. What was asked for was not done, or is done later; with the same id or nonce
    /// it may be asked for again.
    pub(super) fn storage_full(why: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage_full", why)
    }
}

impl IntoResponse for HttpFailure {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = (self.status, [(CONTENT_TYPE, json)], to_json(&*self.problem)).into_response();
        response.extensions_mut().insert(self.reason());
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, self.retry.into());
            }
            _ => {}
        }
        response
    }
}

impl From<NotStored> for HttpFailure {
    fn from(why: NotStored) -> Self {
        Self::storage_full(&why.to_string())
    }
}

impl From<TooOften> for HttpFailure {
    fn from(why: TooOften) -> Self {
        let retry = why.seconds();
        Self { retry, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", why.to_string()) }
    }
}

impl From<RoomError> for HttpFailure {
    fn from(error: RoomError) -> Self {
        let (status, code) = match &error {
            RoomError::NoSuchRoom(_) => (StatusCode::NOT_FOUND, "no_such_room"),
            RoomError::Name(_) | RoomError::Reserved => (StatusCode::BAD_REQUEST, "room_name_invalid"),
            RoomError::Exists(_) | RoomError::ReadsLike(..) => (StatusCode::CONFLICT, "room_exists"),
            RoomError::TooManyOfAddress(_) => (StatusCode::FORBIDDEN, "too_many_rooms"),
            RoomError::TooMany(_) | RoomError::TooManyPorts(_) | RoomError::NoPort | RoomError::Bind(..) => {
                (StatusCode::SERVICE_UNAVAILABLE, "too_many_rooms")
            }
            RoomError::NotPermitted | RoomError::NotOperator => (StatusCode::FORBIDDEN, "not_permitted"),
            RoomError::Lockdown => return Self::lockdown(&error.to_string()),
            RoomError::StorageFull => (StatusCode::SERVICE_UNAVAILABLE, "storage_full"),
            RoomError::Damaged(_) => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<JoinError> for HttpFailure {
    fn from(error: JoinError) -> Self {
        let message = error.to_string();
        match error {
            JoinError::NameTaken { suggestion, .. } => {
                let mut failure = Self::new(StatusCode::CONFLICT, "name_taken", message);
                failure.problem.suggestion = Some(suggestion.to_string());
                failure
            }
            JoinError::Full { .. } | JoinError::NotSaid(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "room_full", message)
            }
            JoinError::Lockdown => Self::lockdown(&message),
            JoinError::StorageFull => Self::storage_full(&message),
            _ => Self::new(StatusCode::BAD_REQUEST, "name_invalid", message),
        }
    }
}

impl From<ResumeError> for HttpFailure {
    fn from(error: ResumeError) -> Self {
        let message = error.to_string();
        match error {
            ResumeError::Expired { taken } => {
                let mut failure = Self::new(StatusCode::GONE, "expired", message);
                failure.problem.taken = Some(taken);
                failure
            }
            _ => Self::new(StatusCode::UNAUTHORIZED, "wrong_token", message),
        }
    }
}

impl From<HostedSayError> for HttpFailure {
    fn from(error: HostedSayError) -> Self {
        let (status, code) = match &error {
            HostedSayError::NotHere => (StatusCode::GONE, "expired"),
            HostedSayError::StorageFull => (StatusCode::SERVICE_UNAVAILABLE, "storage_full"),
            HostedSayError::Body(BodyError::TooLong { .. }) | HostedSayError::Packet(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_long")
            }
            HostedSayError::Body(BodyError::NotYours { .. }) => (StatusCode::FORBIDDEN, "not_yours"),
            HostedSayError::Body(BodyError::NoSuchMessage { .. }) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "no_such_message")
            }
            _ => (StatusCode::BAD_REQUEST, "malformed"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<StoreError> for HttpFailure {
    fn from(error: StoreError) -> Self {
        match error {
            // It was there when the request began.
            StoreError::NoSuchRoom(_) => {
                Self::new(StatusCode::NOT_FOUND, "no_such_room", SeatLost::RoomClosed.to_string())
            }
            StoreError::Query(_) => Self::new(StatusCode::BAD_REQUEST, "query_too_long", error.to_string()),
            StoreError::SearchTooLong => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "search_too_long", error.to_string())
            }
            StoreError::NoSearch => Self::new(StatusCode::NOT_IMPLEMENTED, "no_search", error.to_string()),
            error => {
                warn_seldom!("what a client asks for cannot be read: {error}");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", error.to_string())
            }
        }
    }
}

impl From<HistoryError> for HttpFailure {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::NoSuchMessage(_) => {
                Self::new(StatusCode::NOT_FOUND, "no_such_message", error.to_string())
            }
            HistoryError::Store(error) => error.into(),
        }
    }
}
