//! Lines: what clients send, read; what they are sent, written.

use std::collections::VecDeque;

use super::split::fitting;
use causerie_core::content::text::visible;

/// Bytes of a line without its tags, line end included [Modern, Message Format].
pub const LINE_BYTES_MAX: usize = 512;

/// Bytes of the tags that a client sends, with the `@` and the space around them [IRCv3, message-tags, Size limit].
pub const CLIENT_TAGS_BYTES_MAX: usize = 4096;

/// Item that a client sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IrcItem {
    /// A line that can be read; it is not checked further.
    Message(IrcMessage),
    /// A line with more bytes than are allowed, which is dropped.
    TooLong,
    /// A line that is not UTF-8, which is dropped.
    NotUtf8,
    /// A line with NUL or a carriage return in it, or without a command, which is dropped.
    Malformed,
}

/// One line of a client.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IrcMessage {
    /// Its tags; of equal keys the last counts.
    pub tags: Vec<(String, String)>,
    /// The command, in capitals.
    pub command: String,
    /// Parameters of the command.
    pub params: Vec<String>,
}

impl IrcMessage {
    /// Reads a line without its end. `None` if there is no command in it; whether it is one that anybody knows is
    /// another question, which is answered with the line's label.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut rest = line;
        let mut tags = Vec::new();
        if let Some(tagged) = rest.strip_prefix('@') {
            let (all, behind) = tagged.split_once(' ')?;
            rest = behind;
            for tag in all.split(';').filter(|tag| !tag.is_empty()) {
                let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
                tags.push((key.to_owned(), unescaped(value)));
            }
        }
        rest = rest.trim_start_matches(' ');
        if rest.starts_with(':') {
            // A client's source tells nothing that the connection does not.
            rest = rest.split_once(' ')?.1.trim_start_matches(' ');
        }
        let mut params = Vec::new();
        let (command, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command.is_empty() {
            return None;
        }
        loop {
            rest = rest.trim_start_matches(' ');
            if rest.is_empty() {
                break;
            }
            if let Some(last) = rest.strip_prefix(':') {
                params.push(last.to_owned());
                break;
            }
            let (param, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            params.push(param.to_owned());
            rest = behind;
        }
        Some(Self { tags, command: command.to_ascii_uppercase(), params })
    }

    /// The value of a tag; empty if it has none.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().rev().find(|(k, _)| k == key).map(|(_, value)| &value[..])
    }

    /// A parameter that is there and not empty.
    #[must_use]
    pub fn param(&self, at: usize) -> Option<&str> {
        self.params.get(at).map(|param| &param[..]).filter(|param| !param.is_empty())
    }
}

/// [IRCv3, message-tags, Escaping values].
fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(':') => out.push(';'),
                Some('s') => out.push(' '),
                Some('r') => out.push('\r'),
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

fn push_escaped(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            ';' => out.push_str("\\:"),
            ' ' => out.push_str("\\s"),
            '\\' => out.push_str("\\\\"),
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            '\0' => {}
            c => out.push(c),
        }
    }
}

/// Splits the bytes of one connection into lines, wherever reads are cut. Never keeps more than the longest line.
#[derive(Clone, Debug, Default)]
pub struct IrcLines {
    held: Vec<u8>,
    /// The line is too long, which has been said: skip the rest of it.
    skipping: bool,
    items: VecDeque<IrcItem>,
}

impl IrcLines {
    /// Takes what one read brought. Drain [`poll_item`](Self::poll_item) before the next.
    pub fn push(&mut self, mut read: &[u8]) {
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            self.hold(&read[..end]);
            self.end_line();
            read = &read[end + 1..];
        }
        self.hold(read);
    }

    /// The next line, or what was wrong with it.
    pub fn poll_item(&mut self) -> Option<IrcItem> {
        self.items.pop_front()
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        // The line feed is not among them, and a carriage return may be.
        if self.held.len() + piece.len() >= CLIENT_TAGS_BYTES_MAX + LINE_BYTES_MAX {
            self.items.push_back(IrcItem::TooLong);
            self.held = Vec::new();
            self.skipping = true;
        } else {
            self.held.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.held);
        if std::mem::take(&mut self.skipping) {
            return;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.iter().all(|byte| *byte == b' ') {
            return;
        }
        let tags = match line[0] {
            b'@' => line.iter().position(|byte| *byte == b' ').map_or(line.len(), |end| end + 1),
            _ => 0,
        };
        self.items.push_back(if tags > CLIENT_TAGS_BYTES_MAX || line.len() - tags > LINE_BYTES_MAX - 2 {
            IrcItem::TooLong
        } else if line.iter().any(|byte| matches!(byte, b'\0' | b'\r')) {
            IrcItem::Malformed
        } else {
            match std::str::from_utf8(&line) {
                Ok(line) => IrcMessage::parse(line).map_or(IrcItem::Malformed, IrcItem::Message),
                Err(_) => IrcItem::NotUtf8,
            }
        });
    }
}

/// A line to a client, made harmless whatever it is made of: one line, of the right length, with the parameters it was
/// given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Line {
    tags: String,
    client_tags: String,
    body: String,
}

impl Line {
    /// Begins a line from `source`.
    #[must_use]
    pub fn new(source: &str, command: &str) -> Self {
        let mut body = String::with_capacity(128);
        body.push(':');
        body.push_str(source);
        body.push(' ');
        body.push_str(command);
        Self { body, ..Self::default() }
    }

    /// A line without a source.
    #[must_use]
    pub fn bare(command: &str) -> Self {
        Self { body: command.to_owned(), ..Self::default() }
    }

    /// A parameter with others behind it. It cannot be empty, have spaces, or start with a colon: what is meant for
    /// that goes into the last.
    #[must_use]
    pub fn param(mut self, param: &str) -> Self {
        self.body.push(' ');
        if param.is_empty() || param.starts_with(':') {
            self.body.push('*');
        }
        self.body.extend(param.chars().map(|c| if c == ' ' || c.is_control() { '_' } else { c }));
        self
    }

    /// The last parameter.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.body.push_str(" :");
        for c in text.chars() {
            match c {
                // What clients make bold, coloured and the like [Modern, Formatting], and what begins an action.
                '\u{1}'..='\u{4}' | '\t' | '\u{f}' | '\u{11}' | '\u{16}' | '\u{1d}'..='\u{1f}' => {
                    self.body.push(c)
                }
                c if c.is_control() => self.body.push_str(&visible(c.encode_utf8(&mut [0; 4]))),
                c => self.body.push(c),
            }
        }
        self
    }

    /// A tag; empty values are left out. Those of clients, with a `+`, stand behind the server's [IRCv3, message-tags,
    /// Client-only tags].
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        let tags = if key.starts_with('+') { &mut self.client_tags } else { &mut self.tags };
        if !tags.is_empty() {
            tags.push(';');
        }
        tags.push_str(key);
        if !value.is_empty() {
            tags.push('=');
            push_escaped(tags, value);
        }
        self
    }

    /// The name of the batch that it begins (`+`) or ends (`-`).
    fn batch(&self, sign: char) -> Option<&str> {
        let mut words = self.body.split(' ').skip(1);
        (words.next() == Some("BATCH")).then(|| words.next()?.strip_prefix(sign)).flatten()
    }

    /// Returns whether it ends the batch that `start` begins.
    pub(super) fn ends_batch_of(&self, start: &Self) -> bool {
        self.batch('-').is_some() && self.batch('-') == start.batch('+')
    }

    /// Returns whether it is in a batch.
    pub(super) fn is_in_batch(&self) -> bool {
        self.tags.split(';').any(|tag| tag.starts_with("batch="))
    }

    /// Bytes of it, without its end.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tags.len() + self.client_tags.len() + self.body.len()
    }

    /// Counts the bytes of a text that fit behind what is there.
    #[must_use]
    pub fn room(&self) -> usize {
        (LINE_BYTES_MAX - 2).saturating_sub(self.body.len() + 2)
    }

    /// Writes it with its end; what is too long is cut between characters.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut before = b'@';
        for tags in [&self.tags, &self.client_tags].into_iter().filter(|tags| !tags.is_empty()) {
            out.push(std::mem::replace(&mut before, b';'));
            out.extend_from_slice(tags.as_bytes());
        }
        if before == b';' {
            out.push(b' ');
        }
        let body = &self.body[..fitting(&self.body, LINE_BYTES_MAX - 2)];
        out.extend_from_slice(body.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(line: &str) -> IrcMessage {
        IrcMessage::parse(line).unwrap_or_else(|| panic!("{line:?} is a message"))
    }

    fn items(reads: &[&[u8]]) -> Vec<IrcItem> {
        let mut lines = IrcLines::default();
        let mut items = Vec::new();
        for read in reads {
            lines.push(read);
            items.extend(std::iter::from_fn(|| lines.poll_item()));
        }
        items
    }

    // [Modern, Message Format] and [IRCv3, message-tags].
    #[test]
    fn lines_are_read() {
        let parts = |line: &str| {
            let IrcMessage { tags, command, params } = message(line);
            (tags, command, params)
        };
        let strings = |strings: &[&str]| strings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(parts("join :"), (vec![], "JOIN".into(), strings(&[""])));
        assert_eq!(parts("PRIVMSG  #a   ::b  c "), (vec![], "PRIVMSG".into(), strings(&["#a", ":b  c "])));
        assert_eq!(parts(":me!u@h USER a 0 * :"), (vec![], "USER".into(), strings(&["a", "0", "*", ""])));
        let tags = [("a", ""), ("+b/c", "; \\\r\nx"), ("d", "y"), ("e", "")];
        let tags = tags.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        assert_eq!(
            parts("@a;+b/c=\\:\\s\\\\\\r\\n\\x;d=y\\;e= PING x"),
            (tags, "PING".into(), strings(&["x"]))
        );
        assert_eq!(message("@a=1;a=2 PING x").tag("a"), Some("2"));
        for none in ["", " ", ":a", ":a ", "@a", "@a ", "@a :b ", "@ "] {
            assert_eq!(IrcMessage::parse(none), None, "{none:?}");
        }
    }

    #[test]
    fn lines_have_a_length() {
        let fits = format!("A {}\r\n", "x".repeat(LINE_BYTES_MAX - 4));
        assert!(matches!(items(&[fits.as_bytes()])[..], [IrcItem::Message(_)]));
        assert_eq!(items(&[format!("A{fits}").as_bytes()]), [IrcItem::TooLong]);
        let tags = |n: usize| format!("@{} {fits}", "t".repeat(n));
        assert!(matches!(items(&[tags(CLIENT_TAGS_BYTES_MAX - 2).as_bytes()])[..], [IrcItem::Message(_)]));
        assert_eq!(items(&[tags(CLIENT_TAGS_BYTES_MAX - 1).as_bytes()]), [IrcItem::TooLong]);
        // Said once, as soon as it is known, and the next line is read again.
        let mut lines = IrcLines::default();
        for _ in 0..100 {
            lines.push(&[b'x'; 1000]);
            assert!(lines.held.len() < CLIENT_TAGS_BYTES_MAX + LINE_BYTES_MAX);
        }
        lines.push(b"\r\nPING a\r\n");
        assert_eq!(lines.poll_item(), Some(IrcItem::TooLong));
        assert_eq!(lines.poll_item(), Some(IrcItem::Message(message("PING a"))));
        assert_eq!(lines.poll_item(), None);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        let wrong = items(&[b"A \xff\r\nA \0\r\nA \rb\n123 a\n,\n\r\n  \n"]);
        let (number, comma) = (IrcItem::Message(message("123 a")), IrcItem::Message(message(",")));
        assert_eq!(wrong, [IrcItem::NotUtf8, IrcItem::Malformed, IrcItem::Malformed, number, comma]);
    }

    #[test]
    fn lines_are_written() {
        let line = Line::new("irc.example", "001").param("a b").param("").param(":x").text(" :y\r\nz\u{1}");
        let mut out = Vec::new();
        line.tag("k", "a;b c\\\r\n").tag("empty", "").encode(&mut out);
        let expected = "@k=a\\:b\\sc\\\\\\r\\n;empty :irc.example 001 a_b * *:x : :y\\r\\nz\u{1}\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_wherever_they_are_cut(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in any::<usize>()) {
            let at = at % (bytes.len() + 1);
            prop_assert_eq!(items(&[&bytes]), items(&[&bytes[..at], &bytes[at..]]));
        }

        #[test]
        fn what_is_written_is_one_line_and_is_read_again(text in "\\PC*", key in "[a-z/+]{1,9}", value in any::<String>()) {
            let line = Line::new("s", "PRIVMSG").param("#a").text(&text).tag(&key, &value);
            let mut out = Vec::new();
            line.encode(&mut out);
            let written = String::from_utf8(out).unwrap();
            let read = message(written.strip_suffix("\r\n").unwrap());
            prop_assert!(text.starts_with(&read.params[1]));
            prop_assert_eq!(read.tag(&key).unwrap(), value.replace('\0', ""));
        }
    }
}
