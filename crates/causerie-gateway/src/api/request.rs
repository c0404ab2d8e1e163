//! Requests of clients, read and checked.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::error::ApiError;
use causerie_core::content::body::Body;
use causerie_core::id::{ClientId, Position, SecretText};

/// Message to be said.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// Id made by the client: sent again, it is the same message.
    pub id: String,
    /// Kind of the message, `text` if it is not there.
    pub kind: Option<String>,
    /// Text of most kinds.
    pub text: Option<String>,
    /// Message that a reply or a reaction is about.
    pub to: Option<String>,
    /// Message that is edited or deleted.
    pub of: Option<String>,
    /// Symbol of a reaction.
    pub symbol: Option<String>,
    /// Presence of a reaction from now on: set, or taken away (set if it is not there).
    pub set: Option<bool>,
    /// The reason of a deletion, if there is one.
    pub reason: Option<String>,
}

impl Say {
    /// Returns the client's id and what is said. Whether it may be said is another question.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn body(self) -> Result<(ClientId, Body), ApiError> {
        let Self { id, kind, mut text, mut to, mut of, mut symbol, mut set, mut reason } = self;
        let id = id.parse()?;
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
            id.parse().map_err(|_| ApiError::MessageId(id.chars().take(60).collect()))
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

/// Wish to join.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Name of the member.
    pub name: String,
    /// Nonce made by the client, random: sent again, it is the same join.
    pub nonce: Option<SecretText>,
}

/// Wish for a new room.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct CreateRoom {
    /// Name of the room.
    pub name: String,
}

/// Event from a client on a WebSocket, one object a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientEvent {
    /// The client becomes a member.
    Join {
        /// Name, as in [`Join`].
        name: String,
        /// Nonce, as in [`Join`].
        nonce: Option<SecretText>,
        /// Wish to be told what is held back.
        #[serde(default)]
        held: bool,
        /// Wish to be told what members observe.
        #[serde(default)]
        observed: bool,
        /// Wish to be told several records at once.
        #[serde(default)]
        batch: bool,
    },
    /// The client is a member.
    Resume {
        /// Token, as it was given to it.
        token: SecretText,
        /// The last position that it has seen; if it is not there, what comes from now on is told.
        after: Option<Position>,
        /// Wish to be told what is held back.
        #[serde(default)]
        held: bool,
        /// Wish to be told what members observe.
        #[serde(default)]
        observed: bool,
        /// Wish to be told several records at once.
        #[serde(default)]
        batch: bool,
    },
    /// The client reads along, and is no member.
    Watch {
        /// The last position that it has seen; if it is not there, what comes from now on is told.
        after: Option<Position>,
        /// Wish to be told what is held back.
        #[serde(default)]
        held: bool,
        /// Wish to be told what members observe.
        #[serde(default)]
        observed: bool,
        /// Wish to be told several records at once.
        #[serde(default)]
        batch: bool,
    },
    /// The member says something.
    Say(Say),
    /// Question who is in.
    Members {},
    /// The member leaves.
    Leave {},
    /// Question whether anybody is there.
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
    id.filter(|id| id.parse::<ClientId>().is_ok())
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
