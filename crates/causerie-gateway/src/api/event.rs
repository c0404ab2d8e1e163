//! Events that clients are told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cbcast::{HeldMessage, MemberId};
use serde::Serialize;

use super::text::rfc3339;
use causerie_core::content::body::Body;
use causerie_core::content::text::json;
use causerie_core::id::{Position, SecretText};
use causerie_core::log::page::{Entry, HistoryRecord, Standing, What};

use causerie_core::wire::{MemberInfo, Observation, Observed};

/// A member.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ListedMember {
    /// Its id.
    pub member: String,
    /// Name of the member.
    pub name: String,
}

impl From<MemberInfo> for ListedMember {
    fn from(info: MemberInfo) -> Self {
        Self { member: info.member.to_string(), name: info.name }
    }
}

/// The answer to a join or a resume, beside who is in ([`with_members`]).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct WelcomeEvent {
    /// The room's name.
    pub room: String,
    /// Epoch of the log, as text: it has more digits than numbers in JSON.
    pub epoch: String,
    /// Id of the member that the client is.
    pub member: String,
    /// Token that it shows from now on.
    pub token: SecretText,
    /// The room's last position.
    pub position: Position,
    /// The most bytes that a body or a WebSocket message may have.
    pub bytes_max: usize,
}

/// Receipt of something that was said.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct SaidReceipt {
    /// The client's id.
    pub id: String,
    /// Id of the message.
    pub message: String,
    /// Place of the message.
    pub position: Position,
}

/// Error as clients are told of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// Code, for programs.
    pub code: &'static str,
    /// Explanation, for people.
    pub message: String,
    /// A name that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// Number of the member's messages that were taken before it left.
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

/// Event on a WebSocket from the server, beside the records of the log ([`record_event`]).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerEvent {
    /// The client is in.
    Welcome(WelcomeEvent),
    /// The client reads along; beside who is in ([`with_members`]).
    Watching {
        /// The room's name.
        room: String,
        /// Epoch, as in [`WelcomeEvent`].
        epoch: String,
        /// The room's last position.
        position: Position,
    },
    /// Something is stored and has its place.
    Ack(SaidReceipt),
    /// Members who are in ([`with_members`]).
    Members {},
    /// Positions that cannot be read.
    Gap {
        /// The first.
        from: Position,
        /// The last.
        to: Position,
        /// `removed` or `damaged`.
        why: &'static str,
    },
    /// A message is held back, since something that its author had seen is not here yet.
    Held {
        /// Id of the message.
        message: String,
        /// A message that it waits for.
        waits_for: String,
    },
    /// A message is not held back any more.
    Released {
        /// Id of the message.
        message: String,
    },
    /// Event of a message at another member, as that one says.
    Observed {
        /// Id of the member.
        member: String,
        /// Id of the message.
        message: String,
        /// `held` or `delivered`.
        what: &'static str,
        /// Message that it is held for, and that has not been delivered there.
        #[serde(skip_serializing_if = "Option::is_none")]
        waits_for: Option<String>,
        /// Time for which it has been held, if it has, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        held_ms: Option<u64>,
        /// Clock of what had been delivered there when it was held, if that member tells: of each member how many messages.
        #[serde(skip_serializing_if = "Option::is_none")]
        clock: Option<BTreeMap<String, u64>>,
    },
    /// Observations of members beyond what is told.
    Unobserved {
        /// Number of these.
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
    /// Writes it as text.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// A message that is held back.
    #[must_use]
    pub fn held(held: &HeldMessage) -> Self {
        Self::Held { message: held.id.to_string(), waits_for: held.waits_for.to_string() }
    }

    /// Tells what a member has observed.
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

/// Writes it as text.
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
pub fn gap_event(from: Position, to: Position, removed: bool) -> ServerEvent {
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
            // Of others no record is told as deleted.
            Body::Text(_) | Body::Delete { .. } | Body::Reaction { .. } | Body::Unknown(_) => {
                write!(out, r#","kind":"text","deleted":true"#)
            }
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
