//! Words for people: messages, entries of a log, errors and what to do about them.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use causerie_client::Position;
use causerie_client::{
    Body, ConnectError, Entry, HeldPost, JoinError, MessageId, NotTls, RoomInfo, TrustError, What,
};
use causerie_core::content::plain;
use causerie_core::content::text::visible;
use causerie_core::log::page::Standing;

use crate::told::Told;
use crate::when::to_the_second;

/// Returns the words that tell why the command failed.
pub(crate) fn failure(error: &anyhow::Error) -> String {
    let hint = match error.downcast_ref() {
        Some(error) => trust_hint(error),
        None => system_error(error).and_then(hint),
    };
    format!("{error:#}{}", hint.map_or(String::new(), |hint| format!("; {hint}")))
}

/// Returns the system's error beneath, wherever it stands.
fn system_error(error: &anyhow::Error) -> Option<&io::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(ConnectError::Io(error)) => Some(error),
        _ => match cause.downcast_ref() {
            Some(JoinError::Io(error)) => Some(error),
            _ => cause.downcast_ref(),
        },
    })
}

/// Returns what somebody can do about a server that is not trusted.
fn trust_hint(error: &TrustError) -> Option<&'static str> {
    match error {
        TrustError::Unknown(_) => {
            Some("if that is what its operator tells, give it as --pin; in a terminal you are asked")
        }
        TrustError::Changed { place: Some(_), .. } => {
            Some("if its operator tells the new key, take the line with the old one out")
        }
        _ => None,
    }
}

/// Returns what somebody can do about a server that cannot be reached.
fn hint(error: &io::Error) -> Option<&'static str> {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        // A server of ours that has no room: it tells everybody so.
        Some(NotTls::Answers(words)) if words.starts_with("Error: ") => return None,
        Some(_) => {
            return Some("if it speaks none, --no-tls is clear text, which all who are on the way can read");
        }
        None => {}
    }
    // What a name is that nobody knows, or a port that is none, has no kind of its own.
    let is_address = error.kind() == io::ErrorKind::InvalidInput
        || error.to_string().contains("lookup address information");
    if is_address {
        return Some("an address is HOST or HOST:PORT, see --help");
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some("is a server running? `causerie serve` starts one"),
        _ => None,
    }
}

/// Returns a message by its author's name and number: `Raj#7`.
pub(crate) fn label(author: Option<&str>, id: MessageId) -> String {
    match author {
        Some(author) => format!("{}#{}", visible(author), id.seq),
        None if id.member.is_host() => format!("a notice of the room (#{})", id.seq),
        None => id.to_string(),
    }
}

/// Returns what is held back, since when, and for which message.
pub(crate) fn held(held: &HeldPost) -> String {
    let since = show(held.held_for);
    let cause = label(held.waits_for_author.as_deref(), held.waits_for);
    format!("{} for {since}: waits for {cause}", label(held.author.as_deref(), held.id))
}

/// Returns a number of messages in words.
pub(crate) fn messages(count: impl Display + PartialEq + From<u8>) -> String {
    let plural = if count == 1.into() { "" } else { "s" };
    format!("{count} message{plural}")
}

pub(crate) fn show(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs())
    }
}

/// Returns words as they stand; `None` if there are none that this version can show.
pub(crate) fn marked(words: Option<String>, standing: Standing) -> Option<String> {
    match standing {
        Standing::AsSaid => words,
        Standing::Edited => words.map(|words| format!("{words} (edited)")),
        Standing::Deleted => Some("(deleted)".into()),
    }
}

/// Returns what somebody said, as it stands; `None` if this version cannot show it. What refers to it later is told what it
/// is about.
pub(crate) fn said(
    id: MessageId,
    name: &str,
    body: Body,
    standing: Standing,
    told: &mut Told,
) -> Option<String> {
    let words = marked(plain::words(&body, told.about(&body)), standing);
    told.note(id, name, body, standing);
    Some(format!("{name} : {}", words?))
}

/// Returns an entry as a line: time (UTC), and what happened.
pub(crate) fn line(entry: &Entry, told: &mut Told) -> String {
    let record = match entry {
        Entry::Record(record) => record,
        Entry::Gap { from, to, removed } => return gap(*from, *to, *removed),
    };
    let (time, name) = (to_the_second(record.time_millis), visible(&record.name));
    match &record.what {
        What::Said(body) => match said(record.id, &record.name, body.clone(), record.standing, told) {
            Some(said) => format!("{time} {}", visible(&said)),
            None => format!("{time} * {name} said something that this version cannot show"),
        },
        What::Joined => format!("{time} * {name} joined"),
        What::Left { reason } if reason.is_empty() => format!("{time} * {name} left"),
        What::Left { reason } => format!("{time} * {name} left ({})", visible(reason)),
    }
}

/// Returns a gap in words.
pub(crate) fn gap(from: Position, to: Position, removed: bool) -> String {
    let why = if removed { "are not kept any more" } else { "are damaged and cannot be read" };
    match to - from {
        0 if removed => format!("* gap: the message at {from} is not kept any more"),
        0 => format!("* gap: the message at {from} is damaged and cannot be read"),
        more => format!("* gap: {} messages ({from} to {to}) {why}", more + 1),
    }
}

/// Returns a room's name, how many are in it, and its port.
pub(crate) fn room(room: &RoomInfo) -> String {
    let members = if room.members == 1 { "member" } else { "members" };
    let port = room.port.map_or(String::new(), |port| format!(", port {port}"));
    format!("{}  ({} {members}{port})", visible(&room.name), room.members)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use causerie_client::{HistoryRecord, MemberId};
    use causerie_gateway::api;

    use super::*;

    fn told(error: io::Error) -> String {
        let failed: Result<(), _> = Err(ConnectError::Io(error));
        failure(&failed.context("cannot reach example.org:12343").unwrap_err())
    }

    #[test]
    fn a_server_that_is_not_there_is_told_once_and_with_what_to_do() {
        assert_eq!(
            told(io::ErrorKind::ConnectionRefused.into()),
            "cannot reach example.org:12343: connection refused; is a server running? `causerie serve` starts one"
        );
        assert_eq!(
            told(io::Error::new(io::ErrorKind::InvalidInput, "invalid port value")),
            "cannot reach example.org:12343: invalid port value; an address is HOST or HOST:PORT, see --help"
        );
        assert_eq!(told(io::Error::other("unplugged")), "cannot reach example.org:12343: unplugged");
    }

    #[test]
    fn whatever_is_said_is_an_object_and_a_harmless_line() {
        let id = MessageId::new(MemberId::new(0, 7), 90);
        let text = || "\"\x1b[2J\u{202e}\n\\ \u{1f600}".to_owned();
        for (kind, body) in [
            ("text", Body::Text(text())),
            ("action", Body::Action(text())),
            ("notice", Body::Notice(text())),
            ("reply", Body::Reply { to: id, text: text() }),
            ("edit", Body::Edit { of: id, text: text() }),
            ("delete", Body::Delete { of: id, reason: String::new() }),
            ("reaction", Body::Reaction { to: id, symbol: text(), set: false }),
            ("topic", Body::Topic(text())),
            ("unknown", Body::Unknown(vec![99, 1].into())),
        ] {
            let deps = vec![MessageId::new(MemberId::new(0, 3), 88), id];
            let (member, name) = (id.member, text());
            let what = What::Said(body.clone());
            let record = HistoryRecord {
                position: Position::new(3),
                time_millis: 1_700_000_000_000,
                id,
                deps,
                member,
                name,
                what,
                standing: Standing::AsSaid,
            };
            let entry = Entry::Record(record);
            let value: serde_json::Value = serde_json::from_str(&api::entry(&entry)).expect("an object");
            assert_eq!((&value["kind"], &value["id"]), (&kind.into(), &"0.7#90".into()));
            assert_eq!(value["deps"], serde_json::json!(["0.3#88", "0.7#90"]));
            assert_eq!(
                (&value["author"], &value["time"]),
                (&text().into(), &"2023-11-14T22:13:20.000Z".into())
            );
            for field in ["to", "of"] {
                assert!(value.get(field).is_none_or(|target| target == "0.7#90"));
            }
            assert_eq!(value.get("to").or(value.get("of")).is_some(), body.target().is_some());
            for field in ["text", "symbol"] {
                assert!(value.get(field).is_none_or(|said| *said == text()));
            }
            for line in [api::entry(&entry), line(&entry, &mut Told::default())] {
                assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
            }
        }
        assert_eq!(
            api::entry(&Entry::Gap { from: Position::FIRST, to: Position::new(9), removed: true }),
            r#"{"kind":"gap","from":1,"to":9,"why":"removed"}"#
        );
        assert_eq!(
            gap(Position::FIRST, Position::new(9), true),
            "* gap: 9 messages (1 to 9) are not kept any more"
        );
        assert_eq!(
            gap(Position::new(9), Position::new(9), false),
            "* gap: the message at 9 is damaged and cannot be read"
        );
    }
}
