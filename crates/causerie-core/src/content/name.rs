//! Names that people choose, checked: those of members and those of rooms.

use std::fmt;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

use crate::content::reading::Reading;
use crate::content::text::{is_invisible, is_unsafe, shown};

/// The most characters the name of a room may have.
pub const ROOM_NAME_CHARS_MAX: usize = 50;

/// The most marks that one letter of a room's name may have. More than four nonspacing ones are suspicious [UTS 39,
/// 5.4]; Burmese adds up to two spacing ones.
const ROOM_NAME_MARKS_MAX: usize = 6;

/// The combining class of the signs that take a letter's vowel away (virama).
const VIRAMA: u8 = 9;
/// The name of a member, checked: it fits on one line, shows something, and is no command.
///
/// `Eq` and `Ord` compare exactly; whether two names may stand beside each other is asked of their [`Reading`].
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Name(Box<str>);

/// Error of a text that is no name. Nothing changed; tell whoever asked, who may try another.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum NameError {
    /// Empty text, or one in which nothing is visible.
    #[error("a name cannot be empty")]
    Empty,
    /// Text with too many characters.
    #[error("a name has at most {limit} characters, and this one has {length}")]
    TooLong {
        /// The most characters allowed.
        limit: usize,
        /// The characters it has.
        length: usize,
    },
    /// A control character, a bidirectional control, a line separator or the like is in it, or a colon behind
    /// white space, which ends a name where lines are `NAME : TEXT`.
    #[error("a name cannot contain the character {}", shown(.character))]
    Forbidden {
        /// The first such character.
        character: char,
    },
    /// Beginning `./`, as commands have it.
    #[error("a name cannot start with ./ because commands do")]
    LooksLikeCommand,
}

impl Name {
    /// The name in `raw`, without the white space around it; it has 1 to `max_chars` characters.
    pub fn parse(raw: &str, max_chars: usize) -> Result<Self, NameError> {
        let name = raw.trim();
        if name.chars().all(is_invisible) {
            return Err(NameError::Empty);
        }
        let length = name.chars().count();
        if length > max_chars {
            return Err(NameError::TooLong { limit: max_chars, length });
        }
        if let Some(character) = name.chars().find(|c| is_unsafe(*c) || matches!(c, '\t' | '\u{200b}')) {
            return Err(NameError::Forbidden { character });
        }
        if Reading::of(name).ends_a_name() {
            // `NAME : TEXT` would be read as another's words.
            return Err(NameError::Forbidden { character: ':' });
        }
        if name.starts_with("./") {
            return Err(NameError::LooksLikeCommand);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the form by which the name is looked up: without letter case.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }

    /// A name that was one when it was stored, whatever the limits are now.
    pub fn known(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns whether the two differ in letter case at most.
    pub fn same_as(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }

    /// A free name like this one: the first of `NAME2`, `NAME3`, ... that is not taken, with NAME cut so that
    /// all of it has at most `max_chars` characters.
    ///
    /// `taken` must let some name through, as any room with a finite roster does. Where not even the number
    /// fits, it is the name, whatever `max_chars` says.
    pub fn suggestion(&self, max_chars: usize, taken: impl Fn(&Name) -> bool) -> Name {
        let mut number = 2u64;
        loop {
            let suffix = number.to_string();
            let base: String = self.0.chars().take(max_chars.saturating_sub(suffix.len())).collect();
            // A cut may leave a joiner with nothing to join, or white space before the number.
            let name = Self(format!("{}{suffix}", base.trim_end_matches(is_invisible)).into());
            if !taken(&name) {
                return name;
            }
            number += 1;
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a room: 1 to [`ROOM_NAME_CHARS_MAX`] letters with their marks, digits, `-`, `_` and `.`, not starting
/// with `.`; in Unicode's composed form (NFC), so that two ways to write the same letters are one name.
///
/// So it can stand in a path, a query and a command without quoting.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RoomName(Box<str>);

/// Error of a text that is no name of a room. Nothing changed; tell whoever asked, who may try another.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum RoomNameError {
    /// Empty text.
    #[error("the name of a room cannot be empty")]
    Empty,
    /// More than [`ROOM_NAME_CHARS_MAX`] characters.
    #[error("the name of a room has at most {limit} characters, and this one has {length}")]
    TooLong {
        /// The most characters allowed.
        limit: usize,
        /// The characters it has.
        length: usize,
    },
    /// Something other than letters, digits, `-`, `_` and `.` is in it, a mark that no letter carries, or one mark too
    /// many on a letter.
    #[error("the name of a room has only letters, digits, '-', '_' and '.', not {}", shown(.character))]
    Forbidden {
        /// The first such character.
        character: char,
    },
    /// Leading dot, as hidden files and relative paths have it.
    #[error("the name of a room cannot start with a dot")]
    LeadingDot,
}

impl RoomName {
    /// The name of a room in `raw`, composed.
    pub fn parse(raw: &str) -> Result<Self, RoomNameError> {
        let name: String = raw.nfc().collect();
        if name.is_empty() {
            return Err(RoomNameError::Empty);
        }
        let length = name.chars().count();
        if length > ROOM_NAME_CHARS_MAX {
            return Err(RoomNameError::TooLong { limit: ROOM_NAME_CHARS_MAX, length });
        }
        // Marks that a letter can still take, and whether one of those since it is a virama: composing puts others behind it.
        let (mut marks, mut virama) = (0_usize, false);
        for character in name.chars() {
            let allowed = match character {
                '-' | '_' | '.' => {
                    marks = 0;
                    true
                }
                // Joiners change how letters look behind a virama, and show nothing anywhere else [RFC 5892, A.1, A.2].
                '\u{200c}' | '\u{200d}' => virama,
                // Some fillers count as letters and show nothing.
                c if is_invisible(c) => false,
                c if is_combining_mark(c) => {
                    let had = marks;
                    marks = marks.saturating_sub(1);
                    had > 0
                }
                c => {
                    marks = ROOM_NAME_MARKS_MAX;
                    c.is_alphanumeric()
                }
            };
            if !allowed {
                return Err(RoomNameError::Forbidden { character });
            }
            virama = match character {
                c if is_combining_mark(c) => virama || canonical_combining_class(c) == VIRAMA,
                _ => false,
            };
        }
        if name.starts_with('.') {
            return Err(RoomNameError::LeadingDot);
        }
        Ok(Self(name.into()))
    }

    /// A name that was one when it was stored, whatever the grammar is now.
    #[must_use]
    pub fn known(name: &str) -> Self {
        Self(name.into())
    }

    /// The name of the room of a conversation between two: no client can ask for it.
    #[must_use]
    pub fn of_conversation(number: u64) -> Self {
        Self(format!(".{number}").into())
    }

    /// Returns whether it is such a name.
    #[must_use]
    pub fn is_of_conversation(name: &str) -> bool {
        name.starts_with('.')
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The port this name spells. Such names are reserved for rooms that were made with a port of their own.
    pub fn is_port(&self) -> Option<u16> {
        if self.0.starts_with('0') || !self.0.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        self.0.parse().ok()
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::text::visible;

    fn name(raw: &str) -> Name {
        Name::parse(raw, 20).unwrap()
    }

    #[test]
    fn names_are_checked() {
        let error = |raw: &str| Name::parse(raw, 5).unwrap_err();
        assert_eq!(name(" \tRaj K\r\n").as_str(), "Raj K");
        assert_eq!(Name::parse("ééééé", 5).unwrap().to_string(), "ééééé");
        assert_eq!(error(""), NameError::Empty);
        assert_eq!(error(" \n"), NameError::Empty);
        assert_eq!(error("\u{200d}\u{3164}\u{200b}\u{2060}\u{feff}"), NameError::Empty);
        assert_eq!(error("abcdef"), NameError::TooLong { limit: 5, length: 6 });
        for character in ['\t', '\n', '\0', '\x7f', '\u{9b}', '\u{200b}', '\u{2028}', '\u{202e}', '\u{feff}']
        {
            assert_eq!(error(&format!("a{character}b")), NameError::Forbidden { character });
        }
        assert_eq!(error(" ./m"), NameError::LooksLikeCommand);
        assert_eq!(error("a\u{200b}").to_string(), "a name cannot contain the character '\\u200b'");
        assert_eq!(name("../x").as_str(), "../x");
    }

    #[test]
    fn no_name_ends_within_itself_where_lines_begin_with_it() {
        for forged in
            ["Ann : hi", "Ann\u{a0}: hi", "Ann \u{200d}: hi", "Ann\u{2003}\u{ff1a} hi", "Ann \u{2236} hi"]
        {
            assert!(Name::parse(forged, 20).is_err(), "{forged:?}");
        }
        for name in ["Ann: hi", "a:b", ":-)"] {
            assert!(Name::parse(name, 20).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn names_differ_in_more_than_case() {
        assert!(name("RAJ").same_as(&name("raj")));
        assert!(name("ÉMILE").same_as(&name("émile")));
        assert!(!name("Raj").same_as(&name("Raj2")));
        assert_ne!(name("RAJ"), name("raj"));
    }

    #[test]
    fn a_suggestion_is_free_and_fits() {
        let raj = name("Raj");
        assert_eq!(raj.suggestion(20, |_| false).as_str(), "Raj2");
        assert_eq!(raj.suggestion(20, |n| n.same_as(&name("RAJ2"))).as_str(), "Raj3");
        assert_eq!(raj.suggestion(3, |_| false).as_str(), "Ra2");
        assert_eq!(raj.suggestion(3, |n| n.as_str().starts_with("Ra")).as_str(), "R10");
        assert_eq!(raj.suggestion(0, |_| false).as_str(), "2");
        assert_eq!(name("ab cd").suggestion(4, |_| false).as_str(), "ab2");
        assert_eq!(name("\u{1f469}\u{200d}\u{1f680}").suggestion(3, |_| false).as_str(), "\u{1f469}2");
    }

    #[test]
    fn room_names_are_checked() {
        let parse = RoomName::parse;
        for good in ["lobby", "a.b-c_d", "Grüße", "部屋", "-", "12344"] {
            assert_eq!(parse(good).unwrap().as_str(), good);
        }
        assert_eq!(parse(""), Err(RoomNameError::Empty));
        assert_eq!(parse(".."), Err(RoomNameError::LeadingDot));
        assert!(parse(&"é".repeat(50)).is_ok());
        assert_eq!(parse(&"é".repeat(51)), Err(RoomNameError::TooLong { limit: 50, length: 51 }));
        for character in ['/', '\\', ' ', '\n', '\0', ':', '\u{3164}', '\u{202e}', '\u{1f600}'] {
            assert_eq!(parse(&format!("a{character}")), Err(RoomNameError::Forbidden { character }));
        }
    }

    #[test]
    fn rooms_are_called_as_people_write() {
        let parse = RoomName::parse;
        for good in [
            "हिन्दी",
            "ที่นี่",
            "தமிழ்",
            "مُدَرِّس",
            "বাংলা",
            "人工",
            "straße",
            "ភាសាខ្មែរ",
            "မြန်မာ",
            "བསྒྲུབས",
            "ශ්\u{200d}රී",
            // Composing puts the virama before the other mark.
            "क\u{1dc2}\u{94d}\u{200d}",
            "שָׁלוֹם",
        ] {
            assert_eq!(
                parse(good).unwrap_or_else(|e| panic!("{good}: {e}")).as_str(),
                good.nfc().to_string()
            );
        }
        assert_eq!(parse("cafe\u{301}"), parse("caf\u{e9}"));
        assert_eq!(parse("\u{1112}\u{1161}\u{11ab}"), parse("\u{d55c}"));
        assert!(parse(&"e\u{301}".repeat(50)).is_ok(), "composed it has 50 characters");
        for (name, character) in [
            ("\u{301}", '\u{301}'),
            ("-\u{301}", '\u{301}'),
            ("\u{93e}", '\u{93e}'),
            (&format!("x{}", "\u{301}".repeat(7)), '\u{301}'),
            ("\u{200d}", '\u{200d}'),
            ("a\u{200d}b", '\u{200d}'),
            ("\u{915}\u{94d}\u{200d}\u{200d}", '\u{200d}'),
            ("\u{2764}\u{fe0f}", '\u{2764}'),
        ] {
            assert_eq!(parse(name), Err(RoomNameError::Forbidden { character }), "{name:?}");
        }
    }

    #[test]
    fn some_room_names_are_ports() {
        for (raw, port) in [
            ("12344", Some(12344)),
            ("1", Some(1)),
            ("65535", Some(65535)),
            ("65536", None),
            ("0", None),
            ("080", None),
            ("12a", None),
            ("-1", None),
            ("١٢", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(RoomName::parse(raw).unwrap().is_port(), port, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn a_room_name_parses_to_itself(raw in "\\PC{0,12}|[e.\u{301}\u{915}\u{94d}\u{200d}-]{0,8}") {
            if let Ok(name) = RoomName::parse(&raw) {
                prop_assert_eq!(RoomName::parse(name.as_str()), Ok(name.clone()));
                prop_assert_eq!(visible(name.as_str()), name.as_str());
            }
        }

        #[test]
        fn a_name_parses_to_itself(raw in "\\PC{0,30}|[ ./a\u{200d}\u{301}]{0,8}", taken in 0usize..30) {
            if let Ok(name) = Name::parse(&raw, 12) {
                prop_assert_eq!(Name::parse(name.as_str(), 12), Ok(name.clone()));
                prop_assert_eq!(visible(name.as_str()), name.as_str());
                let tried = std::cell::Cell::new(0);
                let free = name.suggestion(12, |_| tried.replace(tried.get() + 1) < taken);
                prop_assert_eq!(Name::parse(free.as_str(), 12), Ok(free));
            }
        }
    }
}
