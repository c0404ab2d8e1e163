//! What a client asks of history [IRCv3, chathistory].

use cbcast::MessageId;

use causerie_core::content::body::Body;
use causerie_core::id::Position;
use causerie_core::log::page::{HistoryRecord, Standing, What};

/// A place in a room's log; what is asked for does not include it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// A message, of the room with this number.
    Message(u64, MessageId),
    /// Milliseconds since 1970.
    Time(u64),
    /// A position.
    Position(Position),
}

/// Part of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Window {
    /// The newest, behind the bound if there is one.
    Latest(Option<Bound>),
    /// The newest before it.
    Before(Bound),
    /// The oldest behind it.
    After(Bound),
    /// Around it, and itself.
    Around(Bound),
    /// Between the two, counted from the first.
    Between(Bound, Bound),
}

impl Window {
    /// Returns the subcommand by which a client asks for it.
    pub(super) fn subcommand(&self) -> &'static str {
        match self {
            Self::Latest(_) => "LATEST",
            Self::Before(_) => "BEFORE",
            Self::After(_) => "AFTER",
            Self::Around(_) => "AROUND",
            Self::Between(..) => "BETWEEN",
        }
    }
}

/// Messages of one room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryRequest {
    /// Its number.
    pub room: u64,
    /// Channel or nick, as the client calls it.
    pub target: String,
    /// Part of the log that is asked for.
    pub window: Window,
    /// Number of messages at most.
    pub limit: usize,
    /// Joins, leaves and the like are wanted too.
    pub events: bool,
    /// Name that the client went by before: of the newest, only what came after one of this name left is wanted.
    pub since_leaving_as: Option<String>,
}

impl HistoryRequest {
    /// Returns whether this record and those before it have been seen.
    #[must_use]
    pub fn has_seen(&self, record: &HistoryRecord) -> bool {
        let name = self.since_leaving_as.as_ref().filter(|_| matches!(record.what, What::Left { .. }));
        name.is_some_and(|name| record.name.to_lowercase() == name.to_lowercase())
    }

    /// Returns whether a record would be shown at all.
    #[must_use]
    pub fn shows(&self, record: &HistoryRecord) -> bool {
        // What was taken back stands no more.
        if record.standing == Standing::Deleted {
            return false;
        }
        match &record.what {
            What::Joined | What::Left { .. } => self.events && self.target.starts_with('#'),
            What::Said(body) => match body {
                Body::Topic(_) | Body::Delete { .. } => self.events,
                // Its words stand in the message, or in a later edit, and come with that.
                Body::Edit { .. } => record.standing != Standing::Edited,
                Body::Text(_)
                | Body::Action(_)
                | Body::Notice(_)
                | Body::Reply { .. }
                | Body::Reaction { .. } => true,
                Body::Unknown(_) => false,
            },
        }
    }
}

/// The rooms that the client is in, by their newest messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TargetsRequest {
    /// These messages are newer, in milliseconds since 1970.
    pub from: u64,
    /// And older.
    pub to: u64,
    /// Number of targets at most.
    pub limit: usize,
}

/// Writes the name of a message: in a room that no other room ever is, so on the whole server.
pub(super) fn msgid(room: u64, id: MessageId) -> String {
    format!("{room}/{id}")
}

pub(super) fn read_msgid(text: &str) -> Option<(u64, MessageId)> {
    let (room, id) = text.split_once('/')?;
    Some((room.parse().ok()?, id.parse().ok()?))
}

/// `timestamp=2026-01-31T09:30:00.125Z`.
pub(super) fn timestamp(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.strip_prefix("timestamp=")?.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// `msgid=…` or `timestamp=…`.
pub(super) fn bound(text: &str) -> Option<Bound> {
    match text.strip_prefix("msgid=") {
        Some(id) => read_msgid(id).map(|(room, id)| Bound::Message(room, id)),
        None => timestamp(text).map(Bound::Time),
    }
}

#[cfg(test)]
mod tests {
    use cbcast::MemberId;

    use super::*;

    #[test]
    fn places_are_read() {
        let id = MessageId::new(MemberId::new(1, 7), 90);
        assert_eq!(msgid(3, id), "3/1.7#90");
        assert_eq!(bound("msgid=3/1.7#90"), Some(Bound::Message(3, id)));
        assert_eq!(bound("timestamp=1970-01-01T00:00:01.250Z"), Some(Bound::Time(1_250)));
        for none in [
            "",
            "*",
            "msgid=",
            "msgid=1.7#90",
            "msgid=3/",
            "timestamp=yesterday",
            "timestamp=1969-01-01T00:00:00Z",
        ] {
            assert_eq!(bound(none), None, "{none}");
        }
    }
}
