//! The JSON that browsers and bots speak with a server: what they send, read and checked, and what they are told.
//! `docs/api.md` describes it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use cbcast::{HeldMessage, MemberId, MessageId};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use causerie_core::content::body::Body;
use causerie_core::content::text::json;
use causerie_core::key::Secret;
use causerie_core::log::mark::CLIENT_ID_BYTES_MAX;
use causerie_core::log::page::Standing;
use causerie_core::log::page::{Entry, HistoryRecord, What};
use causerie_core::wire::{MemberInfo, Observation, Observed};

/// Why something that was sent is not understood.
#[derive(Debug, Error)]
pub enum ApiError {
    /// It is not the JSON that is expected there.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// No kind of message has this name.
    #[error(
        "there is no kind '{0}': it is one of text, action, notice, reply, edit, delete, reaction, topic"
    )]
    Kind(String),
    /// A field that this kind needs is missing.
    #[error("a message of kind '{kind}' has a field '{field}'")]
    Missing {
        /// Of the message.
        kind: &'static str,
        /// Which.
        field: &'static str,
    },
    /// A field that this kind does not have.
    #[error("a message of kind '{kind}' has no field '{field}'")]
    Superfluous {
        /// Of the message.
        kind: &'static str,
        /// Which.
        field: &'static str,
    },
    /// A text that is no id of a message.
    #[error("'{0}' is not the id of a message, such as 0.7#90")]
    MessageId(String),
    /// That cannot be a client's id.
    #[error("an id has 1 to {CLIENT_ID_BYTES_MAX} characters, all of them visible ASCII")]
    ClientId,
}

/// Reads `0.7`.
#[must_use]
pub fn member_id(text: &str) -> Option<MemberId> {
    let (origin, ordinal) = text.split_once('.')?;
    Some(MemberId::new(number(origin)?, number(ordinal)?))
}

/// Reads `0.7#90`.
#[must_use]
pub fn message_id(text: &str) -> Option<MessageId> {
    let (member, seq) = text.split_once('#')?;
    Some(MessageId::new(member_id(member)?, number(seq)?))
}

/// Digits only: an id is written in one way.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let canonical = !text.is_empty() && (text == "0" || !text.starts_with('0'));
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok()).flatten()
}

/// A membership as its client shows it: `0.7.` and the secret in hexadecimal.
#[must_use]
pub fn token(member: MemberId, secret: &Secret) -> String {
    format!("{member}.{}", hex::encode(secret))
}

/// Reads what [`token`] has written.
#[must_use]
pub fn read_token(token: &str) -> Option<(MemberId, Secret)> {
    let (member, secret) = token.rsplit_once('.')?;
    Some((member_id(member)?, read_secret(secret)?))
}

/// 32 hexadecimal digits.
#[must_use]
pub fn read_secret(text: &str) -> Option<Secret> {
    let mut secret = Secret::default();
    hex::decode_to_slice(text, &mut secret).ok()?;
    Some(secret)
}

/// A time in milliseconds since 1970, as RFC 3339 has it: `2026-01-31T09:30:00.125Z`. What no calendar reaches is
/// shown as its end.
#[must_use]
pub fn rfc3339(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", time.unwrap_or(jiff::Timestamp::MAX))
}

// What clients send.

/// Something to be said.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// Made by the client: the same id, sent again, is the same message.
    pub id: String,
    /// `text` if it is not there.
    pub kind: Option<String>,
    /// Of most kinds.
    pub text: Option<String>,
    /// Which message a reply or a reaction is about.
    pub to: Option<String>,
    /// Which message is edited or deleted.
    pub of: Option<String>,
    /// Of a reaction.
    pub symbol: Option<String>,
    /// Of a reaction: whether it is put there (if it is not there, it is).
    pub set: Option<bool>,
    /// The reason of a deletion, if there is one.
    pub reason: Option<String>,
}

impl Say {
    /// The client's id and what is said. Whether it may be said is another question.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn body(self) -> Result<(String, Body), ApiError> {
        let Self { id, kind, mut text, mut to, mut of, mut symbol, mut set, mut reason } = self;
        if !is_client_id(&id) {
            return Err(ApiError::ClientId);
        }
        let kind = match kind.as_deref() {
            None | Some("text") => "text",
            Some("action") => "action",
            Some("notice") => "notice",
            Some("reply") => "reply",
            Some("edit") => "edit",
            Some("delete") => "delete",
            Some("reaction") => "reaction",
            Some("topic") => "topic",
            Some(other) => return Err(ApiError::Kind(other.chars().take(40).collect())),
        };
        let missing = |field| ApiError::Missing { kind, field };
        let mut take_text = || text.take().ok_or(missing("text"));
        let target = |id: Option<String>, field| {
            let id = id.ok_or(missing(field))?;
            message_id(&id).ok_or_else(|| ApiError::MessageId(id.chars().take(60).collect()))
        };
        let body = match kind {
            "action" => Body::Action(take_text()?),
            "notice" => Body::Notice(take_text()?),
            "reply" => Body::Reply { to: target(to.take(), "to")?, text: take_text()? },
            "edit" => Body::Edit { of: target(of.take(), "of")?, text: take_text()? },
            "delete" => {
                Body::Delete { of: target(of.take(), "of")?, reason: reason.take().unwrap_or_default() }
            }
            "reaction" => Body::Reaction {
                to: target(to.take(), "to")?,
                symbol: symbol.take().ok_or(missing("symbol"))?,
                set: set.take().unwrap_or(true),
            },
            "topic" => Body::Topic(take_text()?),
            _ => Body::Text(take_text()?),
        };
        let left = [
            ("text", text.is_some()),
            ("to", to.is_some()),
            ("of", of.is_some()),
            ("symbol", symbol.is_some()),
            ("set", set.is_some()),
            ("reason", reason.is_some()),
        ];
        match left.iter().find(|(_, left)| *left) {
            Some(&(field, _)) => Err(ApiError::Superfluous { kind, field }),
            None => Ok((id, body)),
        }
    }
}

/// Who wants to join.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// What to be called.
    pub name: String,
    /// Made by the client, random: sent again, it is the same join.
    pub nonce: Option<String>,
}

/// Which room is to be made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct CreateRoom {
    /// What to call it.
    pub name: String,
}

/// What a client says on a WebSocket, one object a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientEvent {
    /// The client becomes a member.
    Join {
        /// As in [`Join`].
        name: String,
        /// As in [`Join`].
        nonce: Option<String>,
        /// Whether to tell what is held back.
        #[serde(default)]
        held: bool,
        /// Whether to tell what members observe.
        #[serde(default)]
        observed: bool,
    },
    /// The client is a member.
    Resume {
        /// As it was given to it.
        token: String,
        /// The last position that it has seen; if it is not there, what comes from now on is told.
        after: Option<u64>,
        /// Whether to tell what is held back.
        #[serde(default)]
        held: bool,
        /// Whether to tell what members observe.
        #[serde(default)]
        observed: bool,
    },
    /// The client reads along, and is no member.
    Watch {
        /// The last position that it has seen; if it is not there, what comes from now on is told.
        after: Option<u64>,
        /// Whether to tell what is held back.
        #[serde(default)]
        held: bool,
        /// Whether to tell what members observe.
        #[serde(default)]
        observed: bool,
    },
    /// The member says something.
    Say(Say),
    /// Who is in?
    Members {},
    /// The member leaves.
    Leave {},
    /// Is anybody there?
    Ping {},
}

/// Reads what a client has sent.
///
/// # Errors
/// [`ApiError::Json`].
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    Ok(serde_json::from_slice(bytes)?)
}

/// Finds the client's id in something that [`read`] has refused, so that its client learns what was not said: whatever
/// is wrong with other fields, and where the text is cut off behind the id.
#[must_use]
pub fn id_of_unread(bytes: &[u8]) -> Option<String> {
    let mut id = None;
    // Wherever it fails, what was found before counts.
    let _ = IdIn(&mut id).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
    id.filter(|id| is_client_id(id))
}

fn is_client_id(id: &str) -> bool {
    (1..=CLIENT_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

/// Keeps the field `id` of an object, and skips all others without understanding them.
struct IdIn<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for IdIn<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for IdIn<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            if name == "id" {
                *self.0 = Some(fields.next_value()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

// What clients are told.

/// A member.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Member {
    /// Its id.
    pub member: String,
    /// What it is called.
    pub name: String,
}

impl From<MemberInfo> for Member {
    fn from(info: MemberInfo) -> Self {
        Self { member: info.member.to_string(), name: info.name }
    }
}

/// The answer to a join or a resume, beside who is in ([`with_members`]).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Welcome {
    /// The room's name.
    pub room: String,
    /// What tells its log from any other, as text: it has more digits than numbers in JSON.
    pub epoch: String,
    /// Who the client is.
    pub member: String,
    /// What it shows from now on.
    pub token: String,
    /// The room's last position.
    pub position: u64,
    /// The most bytes that a body or a WebSocket message may have.
    pub bytes_max: usize,
}

/// What has become of something that was said.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Said {
    /// The client's id.
    pub id: String,
    /// Which message it is.
    pub message: String,
    /// Where it stands.
    pub position: u64,
}

/// What went wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// A name that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// How many of the member's messages were taken before it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<u64>,
    /// The client's id of what was not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Problem {
    /// A problem with nothing but its name and its words.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), suggestion: None, taken: None, id: None }
    }
}

/// What a server tells on a WebSocket, beside the records of the log ([`record_event`]).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerEvent {
    /// The client is in.
    Welcome(Welcome),
    /// The client reads along; beside who is in ([`with_members`]).
    Watching {
        /// The room's name.
        room: String,
        /// As in [`Welcome`].
        epoch: String,
        /// The room's last position.
        position: u64,
    },
    /// Something is stored and has its place.
    Ack(Said),
    /// Who is in ([`with_members`]).
    Members {},
    /// Positions that cannot be read.
    Gap {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
        /// `removed` or `damaged`.
        why: &'static str,
    },
    /// A message is held back, since something that its author had seen is not here yet.
    Held {
        /// Which.
        message: String,
        /// A message that it waits for.
        waits_for: String,
    },
    /// A message is not held back any more.
    Released {
        /// Which.
        message: String,
    },
    /// What has happened to a message at another member, as that one says.
    Observed {
        /// Which member.
        member: String,
        /// Which message.
        message: String,
        /// `held` or `delivered`.
        what: &'static str,
        /// What it is held for: a message that has not been delivered there.
        #[serde(skip_serializing_if = "Option::is_none")]
        waits_for: Option<String>,
        /// For how long it has been held, if it has, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        held_ms: Option<u64>,
        /// What had been delivered there when it was held, if that member tells: of each member how many messages.
        #[serde(skip_serializing_if = "Option::is_none")]
        clock: Option<BTreeMap<String, u64>>,
    },
    /// What members have observed beyond what is told.
    Unobserved {
        /// How many times.
        count: u64,
    },
    /// More messages than can be told are held back, or are not any more.
    HeldMore {},
    /// The answer to a ping.
    Pong {},
    /// The member has left, as it wished. The connection ends.
    Parted {
        /// Its messages that were taken.
        taken: u64,
    },
    /// Something went wrong.
    Error(Problem),
    /// The server ends, and so does the connection: come back.
    ShuttingDown {},
}

impl ServerEvent {
    /// As text.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// A message that is held back.
    #[must_use]
    pub fn held(held: &HeldMessage) -> Self {
        Self::Held { message: held.id.to_string(), waits_for: held.waits_for.to_string() }
    }

    /// What a member has observed.
    #[must_use]
    pub fn observed(member: MemberId, seen: &Observation) -> Self {
        let (what, waits_for, held_ms) = match seen.what {
            Observed::Delivered { held_millis } => ("delivered", None, held_millis),
            Observed::Held { held_millis, waits_for, .. } => {
                ("held", Some(waits_for.to_string()), Some(held_millis))
            }
        };
        let clock = seen.what.clock();
        let clock =
            clock.map(|clock| clock.iter().map(|(member, count)| (member.to_string(), count)).collect());
        let (member, message) = (member.to_string(), seen.message.to_string());
        Self::Observed { member, message, what, waits_for, held_ms, clock }
    }
}

/// As text.
#[must_use]
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these have no maps with strange keys")
}

/// Adds to an object of JSON, which is not empty, its `members`, in the order of joining: a list that was written before.
#[must_use]
pub fn with_members(mut object: String, members: &str) -> String {
    let end = object.pop();
    debug_assert_eq!(end, Some('}'), "it is an object");
    object.reserve_exact(members.len() + r#","members":}"#.len());
    object + r#","members":"# + members + "}"
}

/// A record of the log as an event: `message`, `joined` or `left`.
#[must_use]
pub fn record_event(record: &HistoryRecord) -> String {
    let kind = match &record.what {
        What::Said(_) => "message",
        What::Joined => "joined",
        What::Left { .. } => "left",
    };
    let mut event = format!(r#"{{"type":"{kind}","#);
    write_record(record, &mut event);
    event
}

/// A gap as an event.
#[must_use]
pub fn gap_event(from: u64, to: u64, removed: bool) -> ServerEvent {
    ServerEvent::Gap { from, to, why: why(removed) }
}

fn why(removed: bool) -> &'static str {
    if removed { "removed" } else { "damaged" }
}

/// An entry of the log as an object.
#[must_use]
pub fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Record(record) => {
            let mut object = String::from("{");
            write_record(record, &mut object);
            object
        }
        Entry::Gap { from, to, removed } => {
            format!(r#"{{"kind":"gap","from":{from},"to":{to},"why":"{}"}}"#, why(*removed))
        }
    }
}

/// The fields of a record, and the brace behind them.
fn write_record(record: &HistoryRecord, out: &mut String) {
    let HistoryRecord { position, time_millis, id, deps, member, name, what, standing } = record;
    // Writing to a string does not fail.
    let _ = write!(out, r#""position":{position},"id":"{id}","deps":["#);
    for (i, dep) in deps.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(out, r#"{comma}"{dep}""#);
    }
    let (time, author) = (rfc3339(*time_millis), json(name));
    let _ = write!(out, r#"],"time":"{time}","member":"{member}","author":{author}"#);
    let _ = match what {
        What::Said(body) if *standing == Standing::Deleted => match body {
            Body::Action(_) => write!(out, r#","kind":"action","deleted":true"#),
            Body::Notice(_) => write!(out, r#","kind":"notice","deleted":true"#),
            Body::Reply { to, .. } => write!(out, r#","kind":"reply","to":"{to}","deleted":true"#),
            Body::Edit { of, .. } => write!(out, r#","kind":"edit","of":"{of}","deleted":true"#),
            Body::Topic(_) => write!(out, r#","kind":"topic","deleted":true"#),
            _ => write!(out, r#","kind":"text","deleted":true"#),
        },
        What::Said(body) => match body {
            Body::Text(text) => write!(out, r#","kind":"text","text":{}"#, json(text)),
            Body::Action(text) => write!(out, r#","kind":"action","text":{}"#, json(text)),
            Body::Notice(text) => write!(out, r#","kind":"notice","text":{}"#, json(text)),
            Body::Reply { to, text } => write!(out, r#","kind":"reply","to":"{to}","text":{}"#, json(text)),
            Body::Edit { of, text } => write!(out, r#","kind":"edit","of":"{of}","text":{}"#, json(text)),
            Body::Delete { of, reason } if reason.is_empty() => {
                write!(out, r#","kind":"delete","of":"{of}""#)
            }
            Body::Delete { of, reason } => {
                write!(out, r#","kind":"delete","of":"{of}","reason":{}"#, json(reason))
            }
            Body::Reaction { to, symbol, set } => {
                write!(out, r#","kind":"reaction","to":"{to}","symbol":{},"set":{set}"#, json(symbol))
            }
            Body::Topic(text) => write!(out, r#","kind":"topic","text":{}"#, json(text)),
            Body::Unknown(_) => write!(out, r#","kind":"unknown""#),
        },
        What::Joined => write!(out, r#","kind":"joined""#),
        What::Left { reason } => write!(out, r#","kind":"left","reason":{}"#, json(reason)),
    };
    out.push_str(if *standing == Standing::Edited { r#","edited":true}"# } else { "}" });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn say(value: Value) -> Result<(String, Body), ApiError> {
        read::<Say>(value.to_string().as_bytes())?.body()
    }

    #[test]
    fn each_kind_has_its_fields_and_no_others() {
        let id = MessageId::new(MemberId::new(0, 7), 90);
        let text = String::from("x");
        for (body, fields) in [
            (Body::Text(text.clone()), json!({"text": "x"})),
            (Body::Action(text.clone()), json!({"kind": "action", "text": "x"})),
            (Body::Notice(text.clone()), json!({"kind": "notice", "text": "x"})),
            (
                Body::Reply { to: id, text: text.clone() },
                json!({"kind": "reply", "to": "0.7#90", "text": "x"}),
            ),
            (Body::Edit { of: id, text: text.clone() }, json!({"kind": "edit", "of": "0.7#90", "text": "x"})),
            (Body::Delete { of: id, reason: String::new() }, json!({"kind": "delete", "of": "0.7#90"})),
            (
                Body::Delete { of: id, reason: text.clone() },
                json!({"kind": "delete", "of": "0.7#90", "reason": "x"}),
            ),
            (
                Body::Reaction { to: id, symbol: text.clone(), set: false },
                json!({"kind": "reaction", "to": "0.7#90", "symbol": "x", "set": false}),
            ),
            (Body::Topic(text), json!({"kind": "topic", "text": "x"})),
        ] {
            let mut object = fields.clone();
            object["id"] = "a-1".into();
            assert_eq!(say(object.clone()).unwrap(), ("a-1".into(), body));
            for field in ["text", "to", "of", "symbol", "set"] {
                let mut other = object.clone();
                let had = other.as_object_mut().unwrap().remove(field).is_some();
                if had {
                    assert_eq!(say(other).is_err(), field != "set", "{object} without {field}");
                } else {
                    other[field] = if field == "set" { true.into() } else { "0.7#90".into() };
                    assert!(matches!(say(other), Err(ApiError::Superfluous { .. })), "{object} with {field}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for (value, told) in [
            (json!({"id": "a", "kind": "shout", "text": "x"}), "no kind 'shout'"),
            (json!({"id": "a"}), "has a field 'text'"),
            (json!({"id": "", "text": "x"}), "1 to 64 characters"),
            (json!({"id": "a b", "text": "x"}), "visible ASCII"),
            (json!({"id": "a", "kind": "delete", "of": "0.7#090"}), "'0.7#090' is not the id"),
            (json!({"text": "x"}), "missing field `id`"),
            (json!({"id": "a", "text": "x", "color": 1}), "unknown field `color`"),
            (json!([]), "invalid length 0"),
        ] {
            let error = say(value.clone()).unwrap_err().to_string();
            assert!(error.contains(told), "{value}: {error}");
        }
        for strange in
            ["", "{", "[[[[", "{\"type\":\"fly\"}", "{\"type\":\"ping\",\"x\":1}", "{\"type\":\"say\"}"]
        {
            assert!(read::<ClientEvent>(strange.as_bytes()).is_err(), "{strange}");
        }
        let deep = "[".repeat(100_000);
        assert!(read::<ClientEvent>(deep.as_bytes()).is_err());
    }

    #[test]
    fn what_cannot_be_read_has_its_id_all_the_same() {
        for (text, id) in [
            // Half of a character, as cut text has it.
            (r#"{"type":"say","id":"a1","text":"\ud83d x"}"#, Some("a1")),
            (r#"{"type":"say","text":"\ud83d","id":"a2"}"#, Some("a2")),
            (r#"{"type":"say","id":"a3","text":7,"color":{"x":[1]}}"#, Some("a3")),
            (r#"{"type":"say","id":"a4","text":"cut of"#, Some("a4")),
            (r#"{"type":"say","id":"a5","id2":"x"} and more"#, Some("a5")),
            (r#"{"type":"say","text":"cut of"#, None),
            (r#"{"nested":{"id":"x"}}"#, None),
            (r#"{"id":7}"#, None),
            (r#"{"id":"not an id"}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert!(read::<ClientEvent>(text.as_bytes()).is_err(), "{text}");
            assert_eq!(id_of_unread(text.as_bytes()).as_deref(), id, "{text}");
        }
        assert_eq!(id_of_unread(b"{\"id\":\"b\",\"text\":\"\xff\"}").as_deref(), Some("b"));
        assert_eq!(id_of_unread("{\"a\":[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn events_are_named_by_their_type() {
        let read = |text: &str| read::<ClientEvent>(text.as_bytes()).unwrap();
        assert_eq!(
            read(r#"{"type":"join","name":"Ann"}"#),
            ClientEvent::Join { name: "Ann".into(), nonce: None, held: false, observed: false }
        );
        assert_eq!(
            read(r#"{"type":"resume","token":"t","after":3,"held":true}"#),
            ClientEvent::Resume { token: "t".into(), after: Some(3), held: true, observed: false }
        );
        assert!(matches!(read(r#"{"type":"say","id":"1","text":"x"}"#), ClientEvent::Say(_)));
        assert_eq!(read(r#"{"type":"ping"}"#), ClientEvent::Ping {});
        assert_eq!(ServerEvent::ShuttingDown {}.to_json(), r#"{"type":"shutting_down"}"#);
        let error = ServerEvent::Error(Problem::new("malformed", "no"));
        assert_eq!(error.to_json(), r#"{"type":"error","code":"malformed","message":"no"}"#);
    }

    proptest! {
        #[test]
        fn ids_and_tokens_are_written_in_one_way(origin: u32, ordinal: u32, seq: u64, secret: Secret) {
            let id = MessageId::new(MemberId::new(origin, ordinal), seq);
            prop_assert_eq!(message_id(&id.to_string()), Some(id));
            prop_assert_eq!(read_token(&token(id.member, &secret)), Some((id.member, secret)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.#a-f+ -]{0,40}") {
            if let Some(id) = message_id(&text) {
                prop_assert_eq!(id.to_string(), text.clone());
            }
            let _ = read_token(&text);
            let _ = read::<ClientEvent>(text.as_bytes());
        }

        #[test]
        fn whatever_is_said_is_an_object_with_that_in_it(text: String, name: String, position: u64, time_millis: u64) {
            let id = MessageId::new(MemberId::new(0, 7), 90);
            let what = What::Said(Body::Reply { to: id, text: text.clone() });
            let record = HistoryRecord { position, time_millis, id, deps: vec![id], member: id.member, name: name.clone(), what, standing: Standing::AsSaid };
            let value: Value = serde_json::from_str(&record_event(&record)).unwrap();
            prop_assert_eq!(&value["text"], &Value::from(text));
            prop_assert_eq!(&value["author"], &Value::from(name));
            prop_assert_eq!(&value["type"], &Value::from("message"));
            prop_assert_eq!(&value["position"], &Value::from(position));
        }
    }
}
