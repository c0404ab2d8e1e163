//! The grammar of the classic line protocol, both directions (DESIGN.md section 5).
//!
//! [`ClassicLines`] turns what a client sends into texts, [`parse_controller`] and [`parse_room`] turn a text
//! into a command, and the functions below them make replies. A reply is one line without its end; [`encode`]
//! makes the bytes, and is where a hostile name or text is rendered harmless.

mod rendering;
mod telnet;

use std::collections::VecDeque;

pub use self::rendering::ClassicRendering;
use self::telnet::Telnet;
use causerie_core::content::name::Name;
use causerie_core::content::plain::beginning;
use causerie_core::content::text::{ascii, python_list, visible};

/// Splits the bytes of one connection into texts.
///
/// The first read decides for the whole connection. If it ends in a line end, everything is lines, wherever
/// reads are cut. Otherwise each read is split at line ends and its remainder is a text too, as the original
/// client sends them: without line ends. A first read with a whole line and part of another is of this kind
/// as well, since nothing tells it from two messages of the original.
///
/// A line end is `\n` or `\r\n`; a remainder may also end in a lone `\r`. Empty texts are skipped. The value
/// goes along when a connection goes from the controller to a room, with all that is not polled yet.
#[derive(Clone, Debug)]
pub struct ClassicLines {
    bytes_max: usize,
    telnet: Telnet,
    /// Undecided until something arrives.
    line_mode: Option<bool>,
    /// The line so far; between reads without line ends, the start of a character that was cut: at most three
    /// bytes. Never more than `bytes_max` and a `\r`, or those three.
    held: Vec<u8>,
    /// The text is too long, which has been said: skip the rest of it.
    skipping: bool,
    saw_non_ascii: bool,
    items: VecDeque<ClassicItem>,
}

/// Item that a client sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClassicItem {
    /// A text without its line end, never empty; it may contain any other character.
    Text(String),
    /// A text of more bytes than the limit, which is dropped: answer with an error.
    TooLong {
        /// The most bytes a text may have.
        limit: usize,
    },
    /// A text that is not UTF-8, which is dropped: answer with an error.
    NotUtf8,
}

impl ClassicLines {
    /// Begins with a connection that has sent nothing yet. A text has at most `max_bytes`, its line end not counted.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            bytes_max: max_bytes,
            telnet: Telnet::default(),
            line_mode: None,
            held: Vec::new(),
            skipping: false,
            saw_non_ascii: false,
            items: VecDeque::new(),
        }
    }

    /// Takes what one read brought; an empty one changes nothing. Drain [`ClassicLines::poll_item`] before
    /// the next read, then no more is kept than one read and one text.
    pub fn push(&mut self, read: &[u8]) {
        let read = self.telnet.text(read);
        let read = &*read;
        if read.is_empty() {
            return;
        }
        if *self.line_mode.get_or_insert(read.ends_with(b"\n")) {
            self.split(read);
        } else {
            let mut bytes = std::mem::take(&mut self.held);
            bytes.extend_from_slice(read);
            let cut = bytes.split_off(bytes.len() - cut_character(&bytes));
            self.split(&bytes);
            self.end_text();
            self.held = cut;
        }
    }

    /// The next text, or what was wrong with it; `None` until more is pushed.
    pub fn poll_item(&mut self) -> Option<ClassicItem> {
        self.items.pop_front()
    }

    /// Says that the stream has ended, so what is held is the last text, and returns the next item. Call it
    /// until it returns `None`.
    pub fn finish(&mut self) -> Option<ClassicItem> {
        self.end_text();
        self.poll_item()
    }

    /// Returns whether the client has sent something beyond ASCII, so that it can be sent such too. Only texts count
    /// that are UTF-8 and not too long: bytes of another kind do not show that the client reads UTF-8.
    pub fn saw_non_ascii(&self) -> bool {
        self.saw_non_ascii
    }

    /// Returns whether everything is lines; `None` until something has arrived.
    pub fn line_mode(&self) -> Option<bool> {
        self.line_mode
    }

    /// Ends a text at each line end, and holds what follows the last.
    fn split(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.hold(&bytes[..end]);
            self.end_text();
            bytes = &bytes[end + 1..];
        }
        self.hold(bytes);
    }

    /// Adds to the text. A `\r` at its end may belong to the line end, and does not count.
    fn hold(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        let carriage_return = piece.last().or(self.held.last()) == Some(&b'\r');
        if self.held.len() + piece.len() - usize::from(carriage_return) > self.bytes_max {
            self.items.push_back(ClassicItem::TooLong { limit: self.bytes_max });
            self.held = Vec::new();
            self.skipping = true;
        } else {
            self.held.extend_from_slice(piece);
        }
    }

    fn end_text(&mut self) {
        let mut bytes = std::mem::take(&mut self.held);
        if std::mem::take(&mut self.skipping) {
            return;
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.is_empty() {
            return;
        }
        self.items.push_back(match String::from_utf8(bytes) {
            Ok(text) => {
                self.saw_non_ascii |= !text.is_ascii();
                ClassicItem::Text(text)
            }
            Err(_) => ClassicItem::NotUtf8,
        });
    }
}

/// Counts the bytes at the end, at most three, that are the start of a character whose rest is missing.
fn cut_character(bytes: &[u8]) -> usize {
    let is_cut = |tail: &[u8]| {
        std::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(|length| is_cut(&bytes[bytes.len() - length..])).unwrap_or(0)
}

/// Command to the controller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ControllerCommand {
    /// `./createRoom`: a room with a port of its own.
    CreateRoom,
    /// `./rooms`: the list of all rooms.
    Rooms,
    /// `./join ROOM`: the room's name is not checked yet.
    Join(String),
    /// `./join` without a room.
    MissingRoom,
    /// Anything else: answer with [`unknown_controller_command`].
    Unknown(String),
}

/// Reads a text sent to the controller. White space at its end is ignored.
pub fn parse_controller(text: &str) -> ControllerCommand {
    let text = text.trim_end();
    match text {
        "./createRoom" => return ControllerCommand::CreateRoom,
        "./rooms" => return ControllerCommand::Rooms,
        "./join" => return ControllerCommand::MissingRoom,
        _ => {}
    }
    match text.strip_prefix("./join") {
        Some(room) if room.starts_with(char::is_whitespace) => {
            ControllerCommand::Join(room.trim_start().to_owned())
        }
        _ => ControllerCommand::Unknown(text.to_owned()),
    }
}

/// Command of a member to a room, once it has a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RoomCommand {
    /// `./members`: the list of names.
    Members,
    /// `./leave`: leaves the room.
    Leave,
    /// A message to the others, exactly as sent.
    Text(String),
    /// Anything else that starts with `./`: answer with [`unknown_room_command`], for a command that is
    /// mistyped is not meant for the others.
    Unknown(String),
}

/// Reads a text sent to a room. White space at the end of a command is ignored.
pub fn parse_room(text: &str) -> RoomCommand {
    match text.trim_end() {
        "./members" => RoomCommand::Members,
        "./leave" => RoomCommand::Leave,
        command if command.starts_with("./") => RoomCommand::Unknown(command.to_owned()),
        _ => RoomCommand::Text(text.to_owned()),
    }
}

/// The bytes of one reply: always exactly one line, safe for a terminal, in ASCII if asked. The replies in
/// JSON pass unchanged.
pub fn encode(line: &str, ascii_only: bool) -> Vec<u8> {
    let mut bytes = encode_part(line, ascii_only);
    bytes.push(b'\n');
    bytes
}

/// The bytes of a part of a reply, as [`encode`] has them.
pub fn encode_part(part: &str, ascii_only: bool) -> Vec<u8> {
    let part = visible(part);
    let part = if ascii_only { ascii(&part) } else { part.as_ref().into() };
    let mut bytes = Vec::with_capacity(part.len() + 1);
    bytes.extend_from_slice(part.as_bytes());
    bytes
}

/// Writes the controller's answer that a room was made, and listens on this port.
pub fn room_created(port: u16) -> String {
    format!(r#"{{"status": 200, "port": {port}, "type": "creation", "message": "CHATROOM CREATED"}}"#)
}

/// Writes the controller's answer that what was asked cannot be done.
pub fn controller_error(message: &str) -> String {
    format!(r#"{{"status": 400, "type": "error", "message": {}}}"#, json_string(message))
}

/// Writes the controller's answer that this is none of its commands, which are listed.
pub fn unknown_controller_command(text: &str) -> String {
    controller_error(&unknown(text, "./createRoom, ./rooms and ./join ROOM"))
}

/// Writes the controller's list of rooms, each with its name, its own port if it has one, and how many are in it.
pub fn rooms<'a>(rooms: impl IntoIterator<Item = (&'a str, Option<u16>, usize)>) -> String {
    let rooms: Vec<String> = rooms
        .into_iter()
        .map(|(name, port, members)| {
            let port = port.map_or("null".to_owned(), |port| port.to_string());
            format!(r#"{{"name": {}, "port": {port}, "members": {members}}}"#, json_string(name))
        })
        .collect();
    format!(r#"{{"status": 200, "type": "rooms", "rooms": [{}]}}"#, rooms.join(", "))
}

/// Writes a room's answer who is in it.
pub fn members<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    python_list(names)
}

/// A part of what [`members`] tells, where it is told in several.
pub fn members_part<'a>(names: impl IntoIterator<Item = &'a str>, is_first: bool, is_last: bool) -> String {
    let list = members(names);
    let names = &list[1..list.len() - 1];
    let (start, end) = (if is_first { "[" } else { ", " }, if is_last { "]" } else { "" });
    let start = if names.is_empty() && !is_first { "" } else { start };
    format!("{start}{names}{end}")
}

/// Writes a room's answer that what was asked cannot be done.
pub fn error(message: &str) -> String {
    format!("Error: {message}")
}

/// Writes a room's answer that the name is taken, or reads like that of somebody there, and another is free.
pub fn name_taken(name: &Name, like: &Name, suggestion: &Name) -> String {
    if name.same_as(like) {
        error(&format!("the name {name} is taken, {suggestion} is free"))
    } else {
        error(&format!("the name {name} reads like {like}, who is here; {suggestion} is free"))
    }
}

/// Writes a room's answer that this is none of its commands, which are listed.
pub fn unknown_room_command(text: &str) -> String {
    error(&unknown(text, "./members and ./leave"))
}

fn unknown(text: &str, commands: &str) -> String {
    format!("unknown command {} (the commands are {commands})", beginning(text))
}

/// A JSON string in ASCII. DEL is escaped too, which JSON does not ask for, but [`encode`] would otherwise,
/// in a way that is not JSON.
fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use cbcast::{MemberId, MessageId};
    use proptest::prelude::*;

    use causerie_core::content::body::Body;
    use causerie_core::content::plain::{joined, left, said};

    use super::*;

    fn text(text: &str) -> ClassicItem {
        ClassicItem::Text(text.to_owned())
    }

    /// Everything that comes of these reads, the end of the stream included.
    fn items_of<'a>(max_bytes: usize, reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<ClassicItem> {
        let mut lines = ClassicLines::new(max_bytes);
        let mut items = Vec::new();
        for read in reads {
            lines.push(read);
            items.extend(std::iter::from_fn(|| lines.poll_item()));
            assert!(lines.held.len() <= (max_bytes + 1).max(3));
        }
        items.extend(std::iter::from_fn(|| lines.finish()));
        items
    }

    fn texts_of<const N: usize>(reads: [&str; N]) -> Vec<ClassicItem> {
        items_of(100, reads.map(str::as_bytes))
    }

    #[test]
    fn a_line_end_in_the_first_read_makes_lines() {
        assert_eq!(
            texts_of(["Raj\n", "hel", "lo\r", "\nbye\n\n", "", "end"]),
            ["Raj", "hello", "bye", "end"].map(text)
        );
        assert_eq!(texts_of(["\r\n", "a", "b\n"]), ["ab"].map(text));
        assert_eq!(texts_of(["a\nb\r\n", "c\rd\r\r\n", "e\r"]), ["a", "b", "c\rd\r", "e"].map(text));
        assert_eq!(texts_of(["", "a\n", "b", "c"]), ["a", "bc"].map(text));
    }

    #[test]
    fn otherwise_each_read_is_a_text() {
        assert_eq!(
            texts_of(["Raj", "hello", "a\nb\r\nc", "d\n", "e\r", "\nf"]),
            ["Raj", "hello", "a", "b", "c", "d", "e", "f"].map(text)
        );
        assert_eq!(texts_of(["Raj\nhel", "lo\n"]), ["Raj", "hel", "lo"].map(text));
        assert_eq!(texts_of([]), []);
    }

    #[test]
    fn the_mode_goes_along() {
        let mut lines = ClassicLines::new(10);
        assert_eq!(lines.line_mode(), None);
        lines.push(b"");
        assert_eq!(lines.line_mode(), None);
        lines.push(b"./join a\nRaj\n");
        assert_eq!((lines.line_mode(), lines.poll_item()), (Some(true), Some(text("./join a"))));
        let mut moved = lines;
        moved.push(b"hi");
        assert_eq!((moved.poll_item(), moved.poll_item()), (Some(text("Raj")), None));
        assert_eq!((moved.finish(), moved.finish(), moved.finish()), (Some(text("hi")), None, None));
    }

    #[test]
    fn a_cut_character_is_kept_for_the_next_read() {
        let reads: [&[u8]; 8] =
            [b"Raj", b"caf\xc3", b"\xa9!", b"\xf0", b"\x9f", b"\x98", b"\x80", b"\xe2\x82\xac\xe2\x82"];
        let expected =
            [text("Raj"), text("caf"), text("é!"), text("\u{1f600}"), text("€"), ClassicItem::NotUtf8];
        assert_eq!(items_of(100, reads), expected);
        // A text that is too long does not spoil the character at its end.
        assert_eq!(items_of(3, [&b"abcd\xc3"[..], b"\xa9"]), [ClassicItem::TooLong { limit: 3 }, text("é")]);
    }

    #[test]
    fn what_is_not_utf8_is_refused_alone() {
        let expected = [text("a"), ClassicItem::NotUtf8, text("b")];
        assert_eq!(items_of(100, [&b"a\n"[..], b"\xfe\xf4\nb\n"]), expected);
        assert_eq!(items_of(100, [&b"a"[..], b"\xfe\xf4\nb"]), expected);
        assert_eq!(items_of(100, [&b"a"[..], b"\xc3", b"(", b"b"]), expected);
        assert_eq!(items_of(100, [&b"a"[..], b"\xc3\n", b"b"]), expected);
        assert_eq!(items_of(100, [&b"a\n"[..], b"\xed\xa0\x80\r\nb"]), expected);
    }

    #[test]
    fn what_is_too_long_is_refused_once() {
        let too_long = ClassicItem::TooLong { limit: 3 };
        assert_eq!(
            items_of(3, [&b"a\n"[..], b"abc", b"d", b"efgh", b"i\nb\n"]),
            [text("a"), too_long.clone(), text("b")]
        );
        assert_eq!(
            items_of(3, [&b"abc\r\n"[..], b"abc", b"\r", b"\nabc\r", b"x"]),
            [text("abc"), text("abc"), too_long.clone()]
        );
        assert_eq!(
            items_of(3, [&b"abcd"[..], b"abc\r", b"a\nabcd\nb"]),
            [too_long.clone(), text("abc"), text("a"), too_long, text("b")]
        );
        assert_eq!(items_of(0, [&b"\n"[..], b"\r\n", b"a\n"]), [ClassicItem::TooLong { limit: 0 }]);
    }

    #[test]
    fn only_utf8_shows_that_a_client_reads_it() {
        let mut lines = ClassicLines::new(4);
        for read in [&b"Raj"[..], b"\xff\xfd", "ééé".as_bytes()] {
            lines.push(read);
            assert!(!lines.saw_non_ascii());
        }
        lines.push("é".as_bytes());
        lines.push(b"e");
        assert!(lines.saw_non_ascii());
    }

    #[test]
    fn commands_are_told_apart() {
        use ControllerCommand as C;
        for (text, expected) in [
            ("./createRoom", C::CreateRoom),
            ("./createRoom \t", C::CreateRoom),
            ("./rooms\r", C::Rooms),
            ("./join lobby ", C::Join("lobby".into())),
            ("./join \t a b", C::Join("a b".into())),
            ("./join", C::MissingRoom),
            ("./join  ", C::MissingRoom),
            ("./joinlobby", C::Unknown("./joinlobby".into())),
            ("./createroom", C::Unknown("./createroom".into())),
            (" ./rooms", C::Unknown(" ./rooms".into())),
            ("", C::Unknown(String::new())),
        ] {
            assert_eq!(parse_controller(text), expected, "{text:?}");
        }
        use RoomCommand as R;
        for (text, expected) in [
            ("./members", R::Members),
            ("./leave  ", R::Leave),
            ("./leave now", R::Unknown("./leave now".into())),
            ("./memebrs", R::Unknown("./memebrs".into())),
            ("./", R::Unknown("./".into())),
            (" ./leave ", R::Text(" ./leave ".into())),
            ("../leave", R::Text("../leave".into())),
            ("hi  ", R::Text("hi  ".into())),
        ] {
            assert_eq!(parse_room(text), expected, "{text:?}");
        }
    }

    #[test]
    fn replies_are_spelled_as_ever() {
        assert_eq!(
            room_created(12344),
            r#"{"status": 200, "port": 12344, "type": "creation", "message": "CHATROOM CREATED"}"#
        );
        assert_eq!(
            controller_error("\"\\\r\n\t\0\x7fé\u{202e}\u{1f600}"),
            r#"{"status": 400, "type": "error", "message": "\"\\\r\n\t\u0000\u007f\u00e9\u202e\ud83d\ude00"}"#
        );
        assert_eq!(rooms([]), r#"{"status": 200, "type": "rooms", "rooms": []}"#);
        assert_eq!(
            rooms([("lobby", None, 3), ("12344", Some(12344), 0)]),
            concat!(
                r#"{"status": 200, "type": "rooms", "rooms": [{"name": "lobby", "port": null, "members": 3}, "#,
                r#"{"name": "12344", "port": 12344, "members": 0}]}"#
            )
        );
        assert_eq!(members(["Akshat", "Raj"]), "['Akshat', 'Raj']");
        let parts = |names: &[&[&str]]| {
            let part = |(n, part): (usize, &&[&str])| {
                members_part(part.iter().copied(), n == 0, n + 1 == names.len())
            };
            names.iter().enumerate().map(part).collect::<String>()
        };
        assert_eq!(parts(&[&["Akshat", "Raj"], &["Ann"], &[]]), members(["Akshat", "Raj", "Ann"]));
        assert_eq!(parts(&[&[]]), members([]));
        let raj = |body| {
            said("Raj", &body, Some(("Ann", "shall we meet at the station,\nor where was it?"))).unwrap()
        };
        let target = MessageId::new(MemberId::new(0, 1), 7);
        let text = || "hi".to_owned();
        assert_eq!(raj(Body::Text(text())), "Raj : hi");
        assert_eq!(raj(Body::Action("waves".into())), "Raj : * waves");
        assert_eq!(
            raj(Body::Reply { to: target, text: text() }),
            r#"Raj : (to Ann: "shall we meet at the station, or where w...") hi"#
        );
        let edit = Body::Edit { of: target, text: text() };
        assert_eq!(
            said("Raj", &edit, Some(("Raj", "ho"))).unwrap(),
            "Raj : (corrects an earlier message) hi"
        );
        assert_eq!(said("Raj", &edit, None).unwrap(), "Raj : (corrects an earlier message) hi");
        let delete = Body::Delete { of: target, reason: String::new() };
        assert_eq!(
            said("Raj", &delete, Some(("Raj", "ho"))).unwrap(),
            "Raj : (takes back an earlier message)"
        );
        let thumb = |set| Body::Reaction { to: target, symbol: "+1".into(), set };
        assert_eq!(said("Raj", &thumb(true), Some(("Ann", "ho"))).unwrap(), r#"Raj : (+1 to Ann: "ho")"#);
        assert_eq!(
            said("Raj", &thumb(false), Some(("Ann", "ho"))).unwrap(),
            r#"Raj : (no more +1 to Ann: "ho")"#
        );
        assert_eq!(raj(Body::Topic("cats".into())), "Raj : (sets the topic) cats");
        assert_eq!(raj(Body::Topic(String::new())), "Raj : (clears the topic)");
        assert_eq!(said("Raj", &Body::Unknown(bytes::Bytes::from_static(&[99])), None), None);
        assert_eq!(joined("Raj"), "Raj joined the chatroom");
        assert_eq!(left("Raj"), "Raj left the chatroom");
        let name = |raw| Name::parse(raw, 20).unwrap();
        let line = name_taken(&name("RAJ"), &name("Raj"), &name("RAJ2"));
        assert_eq!(line, "Error: the name RAJ is taken, RAJ2 is free");
        let line = name_taken(&name("Ian"), &name("lan"), &name("Ian2"));
        assert_eq!(line, "Error: the name Ian reads like lan, who is here; Ian2 is free");
        assert_eq!(
            unknown_room_command("./memebrs"),
            "Error: unknown command ./memebrs (the commands are ./members and ./leave)"
        );
        assert!(unknown_controller_command(&"x".repeat(9999)).len() < 200);
    }

    #[test]
    fn a_reply_is_one_harmless_line() {
        assert_eq!(
            encode(&said("Raj", &Body::Text("a\nEve left\x1b[2J é".into()), None).unwrap(), false),
            "Raj : a\\nEve left\\x1b[2J é\n".as_bytes()
        );
        assert_eq!(encode("é\u{1f600}", true), b"\\xe9\\U0001f600\n");
        assert_eq!(encode("", true), b"\n");
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_reads_are_cut(
            bytes in prop::collection::vec(prop::sample::select(&b"ab\r\n\n\xc3\xa9\xff"[..]), 0..60),
            size in 1usize..7,
        ) {
            let whole = items_of(4, [&b"x\n"[..], &bytes]);
            let cut = items_of(4, std::iter::once(&b"x\n"[..]).chain(bytes.chunks(size)));
            prop_assert_eq!(whole, cut);
        }

        #[test]
        fn a_text_survives_any_cut(message in "\\PC{1,20}", size in 1usize..9) {
            let items = items_of(100, std::iter::once(&b"x"[..]).chain(message.as_bytes().chunks(size)));
            let text_of = |item: ClassicItem| match item {
                ClassicItem::Text(text) => text,
                _ => "refused".to_owned(),
            };
            prop_assert_eq!(items.into_iter().map(text_of).collect::<String>(), format!("x{message}"));
        }

        #[test]
        fn no_input_breaks_it(reads in prop::collection::vec(any::<Vec<u8>>(), 0..8), limit in 0usize..50) {
            for item in items_of(limit, reads.iter().map(Vec::as_slice)) {
                if let ClassicItem::Text(text) = item {
                    prop_assert!(!text.is_empty() && text.len() <= limit && !text.contains('\n'));
                    parse_controller(&text);
                    parse_room(&text);
                }
            }
        }

        #[test]
        fn every_reply_is_one_line(a in any::<String>(), b in any::<String>(), ascii_only: bool) {
            let reply = Body::Reply { to: MessageId::new(MemberId::new(0, 1), 7), text: b.clone() };
            let said = said(&a, &reply, Some((&b, &a))).unwrap();
            let taken = name_taken(&Name::known(&a), &Name::known(&b), &Name::known(&a));
            for line in [said, members([&*a, &*b]), taken, unknown_room_command(&a)] {
                let bytes = encode(&line, ascii_only);
                prop_assert_eq!(bytes.iter().position(|b| *b == b'\n'), Some(bytes.len() - 1));
                prop_assert!(!bytes.contains(&b'\r') && !bytes.contains(&0x1b));
                prop_assert!(!ascii_only || bytes.is_ascii());
            }
            for json in [controller_error(&a), rooms([(&*a, None, 1)]), unknown_controller_command(&b)] {
                prop_assert_eq!(encode(&json, ascii_only), format!("{json}\n").into_bytes());
                prop_assert!(json.is_ascii());
            }
        }
    }
}
