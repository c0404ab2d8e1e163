//! Messages in plain words, for faces that show lines of text.

use crate::content::body::Body;

/// From a room: what a member said, as text: `about` is what it refers to, its author's name and its text, if that is
/// known. `None` if there is nothing that can be read.
pub fn said(name: &str, body: &Body, about: Option<(&str, &str)>) -> Option<String> {
    Some(format!("{name} : {}", words(body, about)?))
}

/// What somebody said, as text.
pub fn words(body: &Body, about: Option<(&str, &str)>) -> Option<String> {
    let about = || match about {
        Some((author, text)) => format!("{author}: \"{}\"", beginning(text)),
        None => "an earlier message".into(),
    };
    Some(match body {
        Body::Text(text) | Body::Notice(text) => text.clone(),
        Body::Action(text) => format!("* {text}"),
        Body::Reply { text, .. } => format!("(to {}) {text}", about()),
        // Not what it was: that is not to be read any more.
        Body::Edit { text, .. } => format!("(corrects an earlier message) {text}"),
        Body::Delete { .. } => "(takes back an earlier message)".into(),
        Body::Reaction { symbol, set: true, .. } => format!("({symbol} to {})", about()),
        Body::Reaction { symbol, set: false, .. } => format!("(no more {symbol} to {})", about()),
        Body::Topic(topic) if topic.is_empty() => "(clears the topic)".into(),
        Body::Topic(topic) => format!("(sets the topic) {topic}"),
        Body::Unknown(_) => return None,
    })
}

/// From a room: a member has come.
pub fn joined(name: &str) -> String {
    format!("{name} joined the chatroom")
}

/// From a room: a member has gone.
pub fn left(name: &str) -> String {
    format!("{name} left the chatroom")
}

/// The beginning of a text, enough to recognise it by, in one line: 40 characters at most, and `...` if there are more.
#[must_use]
pub fn beginning(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    let mut chars = text.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c });
    let mut start: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        start.push_str("...");
    }
    start
}
