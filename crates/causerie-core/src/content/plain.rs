//! Messages in plain words, for faces that show lines of text.

use crate::content::body::Body;

/// Returns what a member of a room said, as a line; `about` as for its [words]. `None` if there is nothing that can be read.
#[must_use]
pub fn said(name: &str, body: &Body, about: Option<(&str, &str)>) -> Option<String> {
    Some(format!("{name} : {}", words(body, about)?))
}

/// Returns what somebody said, as text. `about` is what it refers to, its author's name and its text, if that is known.
#[must_use]
pub fn words(body: &Body, about: Option<(&str, &str)>) -> Option<String> {
    const EARLIER: &str = "an earlier message";
    let quoted = about.map(|(author, text)| format!("{author}: \"{}\"", beginning(text)));
    // What is changed is not quoted: that is not to be read any more.
    told(body, quoted.as_deref().unwrap_or(EARLIER), EARLIER)
}

/// Returns what somebody said, as text; `label` names what it refers to.
#[must_use]
pub fn labelled(body: &Body, label: &str) -> Option<String> {
    told(body, label, label)
}

/// Tells a body by the message that it answers, or else by the one that it changes.
fn told(body: &Body, answered: &str, changed: &str) -> Option<String> {
    Some(match body {
        Body::Text(text) | Body::Notice(text) => text.clone(),
        Body::Action(text) => format!("* {text}"),
        Body::Reply { text, .. } => format!("(to {answered}) {text}"),
        Body::Edit { text, .. } => format!("(corrects {changed}) {text}"),
        Body::Delete { .. } => format!("(takes back {changed})"),
        Body::Reaction { symbol, set: true, .. } => format!("({symbol} to {answered})"),
        Body::Reaction { symbol, set: false, .. } => format!("(no more {symbol} to {answered})"),
        Body::Topic(topic) if topic.is_empty() => "(clears the topic)".into(),
        Body::Topic(topic) => format!("(sets the topic) {topic}"),
        Body::Unknown(_) => return None,
    })
}

/// Returns the line that tells that a member has come.
#[must_use]
pub fn joined(name: &str) -> String {
    format!("{name} joined the chatroom")
}

/// Returns the line that tells that a member has gone.
#[must_use]
pub fn left(name: &str) -> String {
    format!("{name} left the chatroom")
}

/// Returns the beginning of a text, enough to recognise it by, in one line: 40 characters at most, and `...` if there are
/// more.
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
