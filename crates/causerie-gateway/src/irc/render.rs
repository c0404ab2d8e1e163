//! Records of a room's log as lines for a client, by what it has negotiated.

use super::capability::Capabilities;
use super::history::msgid;
use super::message::Line;
use super::moved::FoundRecord;
use super::split::split;
use crate::api::rfc3339;
use causerie_core::content::body::Body;
use causerie_core::content::plain;
use causerie_core::log::page::{HistoryRecord, What};

/// Tags that say to which message an answer is [IRCv3, reply]: the present one, and the draft's, which some clients still know alone.
pub(super) const REPLY_TAGS: [&str; 2] = ["+reply", "+draft/reply"];

/// Point of view from which a record is shown.
pub(super) struct Viewer<'a> {
    pub(super) capabilities: Capabilities,
    /// The server's name, which members without an IRC client have as their host.
    pub(super) server: &'a str,
    /// Target of messages: the channel, or between two people the nick of whom they are for.
    pub(super) target: &'a str,
    /// The room's number.
    pub(super) id: u64,
    /// Conversation of two people with IRC clients.
    pub(super) is_conversation: bool,
    /// History, not news.
    pub(super) replayed: bool,
}

/// Shape of a text.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Shape {
    Text,
    Action,
    Notice,
}

/// Lines that belong together.
#[derive(Default)]
pub(super) struct Rendered {
    pub(super) lines: Vec<Line>,
    /// Batch of these lines: what is said of all is said on the first.
    pub(super) batched: bool,
}

impl Rendered {
    /// Returns the lines within a batch: those of a batch of their own belong to that one, and its first and last to the
    /// outer one [IRCv3, batch, Nested batches].
    pub(super) fn within<'a>(self, batch: Option<&'a str>) -> impl Iterator<Item = Line> + use<'a> {
        let (batched, last) = (self.batched, self.lines.len().saturating_sub(1));
        let is_inner = move |at| batched && at > 0 && at < last;
        self.lines.into_iter().enumerate().map(move |(at, line)| match batch.filter(|_| !is_inner(at)) {
            Some(batch) => line.tag("batch", batch),
            None => line,
        })
    }
}

/// Returns the name of a member where the rules for nicks are IRC's [Modern, Clients]: spaces and the like become `_`.
#[must_use]
pub fn shown_nick(name: &str) -> String {
    let strange =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '*' | '?' | '!' | '@' | '.');
    let mut nick: String = name.chars().map(|c| if strange(c) { '_' } else { c }).collect();
    if nick.starts_with(['$', ':', '#', '&', '~', '+', '%']) {
        nick.insert(0, '_');
    }
    nick
}

/// The room's part of a channel's name.
#[must_use]
pub fn room_of(channel: &str) -> Option<&str> {
    channel.strip_prefix('#').filter(|room| !room.is_empty())
}

/// Returns what stands before what somebody says. Without an IRC client there is no username and no address; the nick
/// then stands for them, so that no two people look like one.
pub(super) fn source(nick: &str, mask: Option<&str>, server: &str) -> String {
    match mask {
        Some(mask) => format!("{nick}!{mask}"),
        None => format!("{nick}!{nick}@{server}"),
    }
}

/// Returns, of what was negotiated, what decides how something that was said now is told.
pub(super) fn shown_by(capabilities: Capabilities) -> Capabilities {
    let batches = Capabilities::MULTILINE | Capabilities::BATCH;
    let shown = Capabilities::SERVER_TIME | Capabilities::MESSAGE_TAGS | Capabilities::REDACTION;
    // One of the two alone shows in nothing.
    capabilities.only(if capabilities.has(batches) { shown | batches } else { shown })
}

impl Viewer<'_> {
    fn has(&self, capabilities: Capabilities) -> bool {
        self.capabilities.has(capabilities)
    }

    /// Returns whether things that are no messages may be told.
    fn takes_events(&self) -> bool {
        !self.replayed || self.has(Capabilities::EVENT_PLAYBACK)
    }

    /// Adds what every message has.
    pub(super) fn tagged(&self, mut line: Line, record: &HistoryRecord) -> Line {
        if self.has(Capabilities::SERVER_TIME) {
            line = line.tag("time", &rfc3339(record.time_millis));
        }
        if self.has(Capabilities::MESSAGE_TAGS) {
            line = line.tag("msgid", &msgid(self.id, record.id));
        }
        line
    }

    /// A record as lines. `realname` is that of who joins, `batch` gives the next batch's name.
    pub(super) fn render(
        &self,
        found: &FoundRecord,
        realname: &str,
        batch: impl FnOnce() -> String,
    ) -> Rendered {
        let (record, about) = (&found.record, found.about());
        let from = source(&shown_nick(&record.name), found.mask(), self.server);
        let one = |line: Line| Rendered { lines: vec![self.tagged(line, record)], batched: false };
        let body = match &record.what {
            What::Said(body) => body,
            What::Joined | What::Left { .. } if !self.takes_events() => return Rendered::default(),
            What::Joined => {
                let line = Line::new(&from, "JOIN").param(self.target);
                return one(match self.has(Capabilities::EXTENDED_JOIN) {
                    true => line.param("*").text(realname),
                    false => line,
                });
            }
            What::Left { reason } => {
                let line = Line::new(&from, "PART").param(self.target);
                return one(if reason.is_empty() { line } else { line.text(reason) });
            }
        };
        let mut tags = Vec::new();
        let target = body.target().map(|target| msgid(self.id, target));
        let target = target.as_deref().unwrap_or_default();
        let (words, shape) = match body {
            Body::Topic(_) if !self.takes_events() => return Rendered::default(),
            Body::Topic(topic) => return one(Line::new(&from, "TOPIC").param(self.target).text(topic)),
            Body::Text(text) => (text.clone(), Shape::Text),
            Body::Action(text) => (text.clone(), Shape::Action),
            Body::Notice(text) => (text.clone(), Shape::Notice),
            Body::Reply { text, .. } if self.has(Capabilities::MESSAGE_TAGS) => {
                tags.extend(REPLY_TAGS.map(|key| (key, target)));
                (text.clone(), Shape::Text)
            }
            Body::Delete { reason, .. } if self.has(Capabilities::REDACTION) && self.takes_events() => {
                let line = Line::new(&from, "REDACT").param(self.target).param(target);
                return one(if reason.is_empty() { line } else { line.text(reason) });
            }
            Body::Reaction { symbol, set, .. }
                if self.has(Capabilities::MESSAGE_TAGS) && self.takes_events() =>
            {
                let key = if *set { "+draft/react" } else { "+draft/unreact" };
                let line = Line::new(&from, "TAGMSG").param(self.target);
                let line = line.tag(key, symbol);
                return one(REPLY_TAGS.into_iter().fold(line, |line, key| line.tag(key, target)));
            }
            // What this client has no better way for.
            Body::Reply { .. }
            | Body::Edit { .. }
            | Body::Delete { .. }
            | Body::Reaction { .. }
            | Body::Unknown(_) => match plain::words(body, about) {
                Some(words) => (words, Shape::Text),
                None => return Rendered::default(),
            },
        };
        let mut words = words;
        if self.replayed && !self.has(Capabilities::SERVER_TIME) {
            // Day and hour, so that what is old does not look new.
            let time = rfc3339(record.time_millis);
            let part = |range| time.get(range).unwrap_or_default();
            words = format!("[{} {}] {words}", part(0..10), part(11..19));
        }
        self.texts(&from, record, &words, shape, &tags, batch)
    }

    fn texts(
        &self,
        from: &str,
        record: &HistoryRecord,
        words: &str,
        shape: Shape,
        tags: &[(&str, &str)],
        batch: impl FnOnce() -> String,
    ) -> Rendered {
        const ACTION: &str = "\u{1}ACTION ";
        let is_action = shape == Shape::Action;
        let command = if shape == Shape::Notice { "NOTICE" } else { "PRIVMSG" };
        let line = || Line::new(from, command).param(self.target);
        // Only what a client says itself is an action; what IRC clients ask each other stays what it is.
        let strange = |c: char| c == '\0' || c == '\u{1}' && !self.is_conversation;
        let words: String = words.chars().filter(|c| !strange(*c)).collect();
        let room = if is_action { line().room() - ACTION.len() - 1 } else { line().room() };
        let pieces: Vec<_> = split(&words, room).collect();
        let said = |text: &str| match is_action {
            true => line().text(&format!("{ACTION}{text}\u{1}")),
            false => line().text(text),
        };
        let batched =
            pieces.len() > 1 && !is_action && self.has(Capabilities::MULTILINE | Capabilities::BATCH);
        let mut lines = Vec::with_capacity(pieces.len());
        if batched {
            let name = batch();
            let start = Line::new(from, "BATCH")
                .param(&format!("+{name}"))
                .param("draft/multiline")
                .param(self.target);
            lines.push(
                tags.iter().fold(self.tagged(start, record), |line, (key, value)| line.tag(key, value)),
            );
            for piece in &pieces {
                let line = said(piece.text).tag("batch", &name);
                lines.push(if piece.goes_on { line.tag("draft/multiline-concat", "") } else { line });
            }
            lines.push(Line::new(self.server, "BATCH").param(&format!("-{name}")));
            return Rendered { lines, batched };
        }
        for piece in pieces.iter().filter(|piece| !piece.text.is_empty() || pieces.len() == 1) {
            let mut line = said(piece.text);
            if lines.is_empty() {
                line = tags.iter().fold(self.tagged(line, record), |line, (key, value)| line.tag(key, value));
            } else if self.has(Capabilities::SERVER_TIME) {
                // Not the id, which is that of the first [IRCv3, multiline, Fallback].
                line = line.tag("time", &rfc3339(record.time_millis));
            }
            lines.push(line);
        }
        Rendered { lines, batched }
    }
}
