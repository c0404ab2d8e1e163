//! Requests of the operator: who shows the token, or comes by the control socket.

use axum::Extension;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use causerie_gateway::api::{to_json, with_members};
use serde::{Deserialize, Serialize};

use super::extract::{Answer, HttpConnection, Json, answer};
use super::failure::HttpFailure;
use super::rooms::{describe, stored};

/// Connection of a request that is the operator's.
pub(super) struct Operator(HttpConnection);

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = HttpFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpFailure> {
        let connection = Extension::<HttpConnection>::from_request_parts(parts, state).await;
        let Extension(connection) = connection.expect("each request has its connection");
        if connection.is_operator(&parts.headers) {
            return Ok(Self(connection));
        }
        let message = "the operator's token is needed";
        Err(HttpFailure::new(StatusCode::UNAUTHORIZED, "wrong_token", message))
    }
}

/// State of the lockdown, as it is told and asked for.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockdownState {
    on: bool,
}

pub(super) async fn lockdown(Operator(connection): Operator) -> Answer {
    let on = connection.server.is_locked_down();
    Ok(answer(StatusCode::OK, to_json(&LockdownState { on })))
}

pub(super) async fn lock_down(Operator(connection): Operator, Json(asked): Json<LockdownState>) -> Answer {
    let server = connection.server.clone();
    // Each room is told.
    let done = tokio::task::spawn_blocking(move || server.lock_down(asked.on)).await;
    done.map_err(|error| HttpFailure::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()))?;
    Ok(answer(StatusCode::OK, to_json(&asked)))
}

/// A room that was closed and is kept, in milliseconds since 1970.
#[derive(Serialize)]
struct ClosedRoom {
    name: String,
    number: u64,
    closed_millis: u64,
    until_millis: u64,
}

pub(super) async fn closed(Operator(connection): Operator) -> Answer {
    let rooms = connection.server.directory.closed().into_iter().map(|room| ClosedRoom {
        name: room.name,
        number: room.number,
        closed_millis: room.closed_millis,
        until_millis: room.until_millis,
    });
    let rooms: Vec<_> = rooms.collect();
    Ok(answer(StatusCode::OK, format!(r#"{{"rooms":{}}}"#, to_json(&rooms))))
}

/// A closed room that is to be opened again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToOpen {
    name: String,
    /// Number of the room, where several had that name; else it is the one that was closed last.
    number: Option<u64>,
}

pub(super) async fn open(Operator(connection): Operator, Json(asked): Json<ToOpen>) -> Answer {
    let hosted = connection.server.open_closed(&asked.name, asked.number, true).await?;
    let room = stored(hosted.ask(|room| describe(room, &hosted))).await?;
    // Nobody is in it yet.
    Ok(answer(StatusCode::OK, with_members(to_json(&room), "[]")))
}
