//! The requests that are answered at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use causerie_core::content::name::Name;
use causerie_core::content::text::json;
use causerie_core::id::{Position, Token};
use causerie_core::key::{KeyPair, read_room_key, room_key};
use causerie_core::log::page::Standing;
use causerie_core::log::page::{Entries, Entry, HistoryRecord, authors};
use causerie_core::log::{Record, records};
use causerie_core::room::Room;
use causerie_core::wire::{Direction, HistoryQuestion, Page, Place};
use causerie_gateway::api::{self, CreateRoom, Join, Say, WelcomeEvent, to_json, with_members};
use causerie_store::{Found, MemberSelection, RoomId, Store, StoreError};
use cbcast::MemberId;
use serde::{Deserialize, Serialize};

use super::extract::{
    Answer, Asked, Bearer, HttpConnection, InRoom, Json, ToClose, ToJoin, answer, bearer, new_token, nonce,
};
use super::failure::HttpFailure;
use super::rendering::MembersJson;
use super::{held, say};
use crate::journal::reads::Asker;
use crate::journal::unstored::Unstored;
use crate::net::addresses::TooOften;
use crate::rooms::access::Who;
use crate::rooms::closing::Authority;
use crate::rooms::directory::Maker;
use crate::rooms::history::{BYTES_MAX, RECORDS_MAX, Texts};
use crate::rooms::hosted::HostedRoom;
use crate::rooms::standing::StoredChanges;

/// Records of a page where no number is asked for.
const PAGE: u64 = 50;
/// Time for which a search goes on behind messages that do not stand any more.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(1);
/// Messages that one search finds at most.
const HITS_MAX: usize = 100;

impl Bearer {
    async fn authorize(&self, hosted: &Arc<HostedRoom>) -> Result<MemberId, HttpFailure> {
        let known = hosted.act(|room, now| room.authorize(now, self.0, &self.1));
        // Who is in goes on at once: what it does then waits. That somebody has left is told once it is stored.
        if known.peek_unstored().is_err() {
            stored(known).await??;
        }
        Ok(self.0)
    }
}

/// Waits until a result is stored: nothing is told before. On a full disk that is answered.
pub(super) async fn stored<T>(result: Unstored<T>) -> Result<T, HttpFailure> {
    Ok(result.stored_in_time().await?)
}

// Rooms.

#[derive(Serialize)]
struct RoomSummary {
    name: String,
    port: Option<u16>,
    members: u64,
}

pub(super) async fn list(Extension(connection): Extension<HttpConnection>) -> Response {
    let _turn = connection.visitor.turn().await;
    let rooms = connection.server.directory.list(Who::Anybody).into_iter();
    let rooms: Vec<_> =
        rooms.map(|room| RoomSummary { name: room.name, port: room.port, members: room.members }).collect();
    answer(StatusCode::OK, format!(r#"{{"rooms":{}}}"#, to_json(&rooms)))
}

pub(super) async fn create(
    Extension(connection): Extension<HttpConnection>,
    Json(asked): Json<CreateRoom>,
) -> Answer {
    connection.visitor.join()?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system gives random bytes");
    let key = Some(KeyPair::new(seed).public());
    let maker = Maker { key, ..Maker::without_key(connection.peer.ip()) };
    let hosted = connection.server.directory.create(&asked.name, maker)?;
    let room = stored(hosted.ask(|room| describe(room, &hosted))).await?;
    let made = to_json(&MadeRoom { room, key: room_key(&seed) });
    // Nobody is in it yet.
    Ok(answer(StatusCode::CREATED, with_members(made, "[]")))
}

/// A room that was made just now, and with what its maker may close it.
#[derive(Serialize)]
struct MadeRoom {
    #[serde(flatten)]
    room: Described,
    key: String,
}

/// Closes a room, for whoever shows its key or the operator's token.
pub(super) async fn close(ToClose(connection, hosted): ToClose, headers: HeaderMap) -> Answer {
    let is_operator = connection.is_operator(&headers);
    let shown = bearer(&headers);
    if shown.is_none() && !is_operator {
        return Err(HttpFailure::wrong_token());
    }
    let key = shown.and_then(read_room_key).map(|seed| KeyPair::new(seed).public());
    // A name is for life.
    let name = hosted.peek_unstored(|room| room.name().to_string());
    connection.server.directory.close(&name, Authority { is_operator, key }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Description of a room, beside who is in.
#[derive(Serialize)]
pub(super) struct Described {
    name: String,
    port: Option<u16>,
    epoch: String,
    topic: Option<String>,
    first: Position,
    position: Position,
}

pub(super) fn describe(room: &Room, hosted: &HostedRoom) -> Described {
    Described {
        name: room.name().to_string(),
        port: hosted.row.port,
        epoch: room.epoch().to_string(),
        topic: room.topic().map(|topic| topic.text.clone()),
        first: room.first(),
        position: room.position(),
    }
}

pub(super) async fn room(InRoom(connection, hosted): InRoom) -> Answer {
    let turn = connection.visitor.turn().await;
    let asked = hosted.ask(|room| (describe(room, &hosted), MembersJson::of(&hosted, room)));
    drop(turn);
    let (room, members) = stored(asked).await?;
    Ok(answer(StatusCode::OK, with_members(to_json(&room), members.as_str())))
}

// Members.

pub(super) async fn join(ToJoin(connection, hosted): ToJoin, Json(asked): Json<Join>) -> Answer {
    let nonce = nonce(asked.nonce.as_ref())?;
    Name::parse(&asked.name, connection.server.settings().room.name_chars_max)
        .map_err(|error| HttpFailure::new(StatusCode::BAD_REQUEST, "name_invalid", error.to_string()))?;
    connection.visitor.join()?;
    let (token, bytes_max) = (new_token(), connection.json_bytes_max());
    let joined = hosted.act(|room, now| {
        let before = room.position();
        let member = room.join_returning(now, &asked.name, nonce, token)?;
        let is_new = room.position() > before;
        let welcome = welcome(room, member, &token, bytes_max);
        Ok::<_, causerie_core::room::JoinError>((welcome, MembersJson::of(&hosted, room), is_new, member))
    });
    // Who leaves again if it cannot be told.
    let new = joined.peek_unstored().as_ref().ok().filter(|(.., is_new, _)| *is_new);
    let member = new.map(|(.., member)| *member);
    let (welcome, members, is_new, _) = hosted.joined_in_time(member, joined).await??;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, with_members(to_json(&welcome), members.as_str())))
}

pub(super) fn welcome(room: &Room, member: MemberId, token: &Token, bytes_max: usize) -> WelcomeEvent {
    WelcomeEvent {
        room: room.name().to_string(),
        epoch: room.epoch().to_string(),
        member: member.to_string(),
        token: api::token(member, token),
        position: room.position(),
        bytes_max,
    }
}

pub(super) async fn leave(
    ToJoin(_, hosted): ToJoin,
    Path((_, member)): Path<(String, String)>,
    bearer: Bearer,
) -> Answer {
    let member = member.parse::<MemberId>();
    let member = member.map_err(|_| HttpFailure::malformed("the id of a member is like 0.7"))?;
    if member != bearer.authorize(&hosted).await? {
        return Err(HttpFailure::new(StatusCode::FORBIDDEN, "not_permitted", "that is somebody else"));
    }
    let parted = hosted.act(|room, now| {
        room.part(now, member, "");
        room.farewell(member).map_or(0, |(_, taken)| taken)
    });
    let taken = stored(parted).await?;
    Ok(answer(StatusCode::OK, format!(r#"{{"taken":{taken}}}"#)))
}

// Messages.

pub(super) async fn say(
    ToJoin(connection, hosted): ToJoin,
    bearer: Bearer,
    Json(asked): Json<Say>,
) -> Answer {
    let (id, body) = asked.body().map_err(HttpFailure::malformed)?;
    connection.visitor.speak(1).map_err(TooOften::messages)?;
    let placed = match bearer.authorize(&hosted).await {
        // What it has said it has said.
        Err(expired) if expired.status == StatusCode::GONE => {
            say::find(&hosted, bearer.0, &id).await?.ok_or(expired)?
        }
        Err(failure) => return Err(failure),
        Ok(member) => {
            connection.server.writer.has_room().await;
            say::say(&hosted, member, &id, &body).await?
        }
    };
    let placed = stored(placed).await?;
    let said = api::SaidReceipt {
        id: id.to_string(),
        message: placed.said.id.to_string(),
        position: placed.said.position,
    };
    let status = if placed.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, to_json(&said)))
}

/// Part of the log that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    before: Option<String>,
    after: Option<String>,
    around: Option<String>,
    limit: Option<u64>,
}

async fn page(hosted: &Arc<HostedRoom>, part: Part) -> Result<Page, HttpFailure> {
    let limit = part.limit.unwrap_or(PAGE);
    if !(1..=RECORDS_MAX).contains(&limit) {
        return Err(HttpFailure::malformed(format!("limit is 1 to {RECORDS_MAX}")));
    }
    let (direction, place) = match (part.before, part.after, part.around) {
        (None, None, None) => (Direction::Before, Place::End),
        (Some(place), None, None) => (Direction::Before, read_place(&place)?),
        (None, Some(place), None) => (Direction::After, read_place(&place)?),
        (None, None, Some(place)) => (Direction::Around, read_place(&place)?),
        _ => return Err(HttpFailure::malformed("at most one of before, after and around")),
    };
    read_page(Asker::Stranger, Texts::Standing, hosted, direction, place, limit, BYTES_MAX).await
}

fn read_place(text: &str) -> Result<Place, HttpFailure> {
    let position = || text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let place = position().map(Place::Position).or_else(|| text.parse().ok().map(Place::Message));
    place.ok_or_else(|| {
        HttpFailure::malformed("a place is a position (90) or a message (0.7#90, where # is written %23)")
    })
}

/// A part of the log, with names and gaps.
pub(super) async fn read_page(
    asker: Asker,
    texts: Texts,
    hosted: &Arc<HostedRoom>,
    direction: Direction,
    place: Place,
    limit: u64,
    bytes_max: usize,
) -> Result<Page, HttpFailure> {
    // A name is for life.
    let room = hosted.peek_unstored(|room| room.name().to_string());
    let question = HistoryQuestion { room, epoch: None, direction, place, limit, wait_millis: 0 };
    Ok(hosted.page_within(asker, texts, question, bytes_max).await?)
}

/// The page as JSON, made as the client takes it.
fn pieces(
    connection: &HttpConnection,
    page: Page,
    start: String,
    render: impl Fn(&Entry) -> String + Send + 'static,
    between: &'static str,
    end: &'static str,
) -> Body {
    let bytes = page.records.len() + page.names.iter().map(|named| named.name.len()).sum::<usize>();
    held::entries(start, Entries::new(page), render, (between, end), (connection, bytes))
}

pub(super) async fn messages(InRoom(connection, hosted): InRoom, Asked(part): Asked<Part>) -> Answer {
    let _turn = connection.visitor.turn().await;
    let page = page(&hosted, part).await?;
    let Page { room, epoch, from, to, end, .. } = &page;
    let start = format!(
        r#"{{"room":{},"epoch":"{epoch}","from":{from},"to":{to},"end":{end},"messages":["#,
        json(room)
    );
    let body = pieces(&connection, page, start, api::entry, ",", "]}");
    let kind = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}

/// Part of the log that is asked for, forwards.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    after: Option<String>,
    limit: Option<u64>,
}

/// The same as lines, for programs that read logs.
pub(super) async fn trace(InRoom(connection, hosted): InRoom, Asked(from): Asked<From>) -> Answer {
    let after = from.after.or(Some("0".into()));
    let limit = from.limit.or(Some(RECORDS_MAX));
    let _turn = connection.visitor.turn().await;
    let page = page(&hosted, Part { before: None, after, around: None, limit }).await?;
    let body = pieces(&connection, page, String::new(), |entry| api::entry(entry) + "\n", "", "");
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}

/// Search that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sought {
    q: String,
    before: Option<Position>,
    limit: Option<usize>,
}

/// Searches what stands: deleted texts and those that were edited away are passed over.
fn search_standing(
    store: &dyn Store,
    room: RoomId,
    words: &str,
    mut before: Option<Position>,
    limit: usize,
) -> Result<Found, StoreError> {
    let (mut found, mut stored) = (Vec::new(), StoredChanges::new(store, room));
    let end = Instant::now() + SEARCH_TIME_MAX;
    loop {
        let Found { hits, complete } = store.search(Some(room), words, before.map(Position::get), limit)?;
        let is_last = hits.len() < limit;
        before = hits.last().map(|hit| hit.position);
        for hit in hits {
            let Some(Record { message, .. }) = records(hit.frame.clone()).next() else { continue };
            let said = causerie_core::content::body::Body::decode(&message.payload());
            if stored.reads(message.id(), &said)?.0 == Standing::AsSaid && found.len() < limit {
                found.push(hit);
            }
        }
        if is_last || found.len() == limit {
            return Ok(Found { hits: found, complete });
        }
        if Instant::now() >= end {
            return Err(StoreError::SearchTooLong);
        }
    }
}

pub(super) async fn search(InRoom(_, hosted): InRoom, Asked(sought): Asked<Sought>) -> Answer {
    let limit = sought.limit.unwrap_or(20);
    if !(1..=HITS_MAX).contains(&limit) {
        return Err(HttpFailure::malformed(format!("limit is 1 to {HITS_MAX}")));
    }
    let room = hosted.id;
    let searching = hosted.reading(Asker::Search, move |store| {
        let Found { hits, complete } = search_standing(store, room, &sought.q, sought.before, limit)?;
        let ids: std::collections::BTreeSet<_> =
            hits.iter().flat_map(|hit| authors(hit.frame.clone())).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let members = store.members(room, MemberSelection::Ids(&ids))?;
        let names: BTreeMap<_, _> = members.into_iter().map(|row| (row.member, row.name)).collect();
        let name = |member: MemberId| names.get(&member).cloned().unwrap_or_else(|| member.to_string());
        let found = hits.into_iter().flat_map(|hit| records(hit.frame));
        let found = found.map(|record| api::entry(&Entry::Record(HistoryRecord::of(record, name))));
        let mut bytes = 0;
        let fits = |entry: &String| {
            let is_first = bytes == 0;
            bytes += entry.len();
            is_first || bytes <= BYTES_MAX
        };
        Ok::<_, StoreError>((found.take_while(fits).collect::<Vec<_>>(), complete))
    });
    let (found, complete) = match searching.await {
        // It was made just now.
        Err(StoreError::NoSuchRoom(_)) if !hosted.closed.is_cancelled() => (Vec::new(), true),
        found => found?,
    };
    let found = found.join(",");
    Ok(answer(StatusCode::OK, format!(r#"{{"messages":[{found}],"complete":{complete}}}"#)))
}

// What is known.

#[derive(Serialize)]
struct KnownClock {
    position: Position,
    clock: BTreeMap<String, u64>,
    frontier: Vec<String>,
}

pub(super) async fn clock(InRoom(connection, hosted): InRoom) -> Answer {
    let turn = connection.visitor.turn().await;
    let known = hosted.ask(|room| KnownClock {
        position: room.position(),
        clock: room.clock().iter().map(|(member, count)| (member.to_string(), count)).collect(),
        frontier: room.frontier().iter().map(ToString::to_string).collect(),
    });
    drop(turn);
    let known = stored(known).await?;
    Ok(answer(StatusCode::OK, to_json(&known)))
}
