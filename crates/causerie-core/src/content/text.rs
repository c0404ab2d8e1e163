//! Text that people typed: shown safely, and checked where it becomes a name.
//!
//! Whatever arrives may be hostile. [`visible`] is the one place that makes text fit for a terminal and for
//! one line; it escapes in the way Python does, because the original program was written in it. Escaping is
//! for showing: a backslash is left alone, so what was shown cannot be turned back.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// `text` made safe for a terminal and fit for one line.
///
/// Escaped are control characters (except TAB), line and paragraph separators, bidirectional controls and
/// the byte order mark: `\n`, `\x1b`, `\u202e`. Joiners and variation selectors stay: scripts and emoji need
/// them. Borrowed when nothing changes.
pub fn visible(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

/// Cuts a text to so many characters; that it was longer is told by `…`.
pub fn clipped(text: &mut String, chars_max: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.push('\u{2026}');
    }
}

/// `text` in ASCII, what is beyond written as Python's `backslashreplace` does: `\xe9`, `\u20ac`,
/// `\U0001f600`. Borrowed when nothing changes.
pub fn ascii(text: &str) -> Cow<'_, str> {
    escape(text, |c| !c.is_ascii())
}

/// `text` as a JSON string, quotes included. What [`visible`] escapes is escaped here too, as `\u001b`, and so are
/// line ends and tabs: it is one line, and a terminal may show it.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            // None of these is beyond the basic plane.
            c if c == '\t' || is_unsafe(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The names as Python prints a list of strings: `['Akshat', 'Raj']`.
pub fn python_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(python_repr).collect();
    format!("[{}]", names.join(", "))
}

/// One string as Python's `repr` prints it.
fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        if c == quote || c == '\\' {
            out.push('\\');
            out.push(c);
        } else if is_printable(c) {
            out.push(c);
        } else {
            push_escaped(&mut out, c);
        }
    }
    out.push(quote);
    out
}

fn escape(text: &str, must: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(must) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if must(c) {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\0'..='\u{ff}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        '\u{100}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// Returns whether a character moves the cursor, breaks the line or reorders what stands around it.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control() && c != '\t'
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Python's `str.isprintable` for one character.
///
/// `escape_debug` draws the line by the same general categories as Python. It also escapes a combining mark
/// at the start of a string, so the character is looked at behind a letter.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut pair = String::from("a");
    pair.push(c);
    pair.escape_debug().nth(1) == Some(c)
}

/// Returns whether a character shows nothing of its own: white space, Unicode's `Default_Ignorable_Code_Point`, and
/// the blank Braille pattern.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns whether a text can be a reaction: something in it shows, and nothing in it is white space, moves
/// what stands around it or hides. What joins emoji, gives them a form or tags a flag may be there.
pub fn is_symbol(text: &str) -> bool {
    let joins = |c: char| matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' | '\u{e0020}'..='\u{e007f}');
    !text.contains(|c: char| is_unsafe(c) || is_invisible(c) && !joins(c))
        && text.chars().any(|c| !is_invisible(c) && !is_combining_mark(c))
}

/// Returns the key that reactions have in common which read the same: composed (NFC), and without the selectors of an emoji's form.
/// Tags stay, by which alone the flags of regions differ.
pub fn symbol_key(symbol: &str) -> String {
    symbol.nfc().filter(|c| !matches!(c, '\u{fe0e}' | '\u{fe0f}')).collect()
}

/// A character for an error message, quoted.
pub(super) fn shown(c: &char) -> String {
    python_repr(c.encode_utf8(&mut [0; 4]))
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reactions_show_something_and_are_one_where_they_read_the_same() {
        let scotland = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";
        let england = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}";
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        for symbol in
            ["+1", "ok", "é", "e\u{301}", "👍🏽", "❤\u{fe0f}", "1\u{fe0f}\u{20e3}", "هلا", family, scotland]
        {
            assert!(is_symbol(symbol), "{symbol:?}");
        }
        let marks = "\u{301}".repeat(20);
        for strange in [
            "",
            "\u{200d}",
            "\u{fe0f}",
            "\u{200b}",
            "\u{202e}",
            "\u{2066}x",
            "x\u{2069}",
            "a b",
            "a\tb",
            "\u{a0}",
            "\u{3164}",
            "\u{2800}",
            "\u{e0067}",
            "x\u{200b}",
            "\u{1b}[2J",
            "\n",
            &marks,
        ] {
            assert!(!is_symbol(strange), "{strange:?}");
        }
        for (one, other, same) in [
            ("❤", "❤\u{fe0f}", true),
            ("👍", "👍\u{fe0e}", true),
            ("é", "e\u{301}", true),
            ("👍", "👍🏽", false),
            (scotland, england, false),
            ("k", "\u{212a}x", false),
            ("①", "1", false),
        ] {
            assert_eq!(symbol_key(one) == symbol_key(other), same, "{one} {other}");
        }
    }

    #[test]
    fn visible_escapes_what_could_harm() {
        for (text, expected) in [
            ("plain \t 'é' \\n \u{1f600}", "plain \t 'é' \\n \u{1f600}"),
            ("a\r\nb\0", "a\\r\\nb\\x00"),
            ("\x1b[2J\x7f\u{85}\u{9b}", "\\x1b[2J\\x7f\\x85\\x9b"),
            ("\u{202e}evil\u{2069}\u{61c}\u{200f}", "\\u202eevil\\u2069\\u061c\\u200f"),
            ("\u{2028}\u{2029}\u{feff}", "\\u2028\\u2029\\ufeff"),
            ("\u{1f469}\u{200d}\u{1f680}\u{2764}\u{fe0f}", "\u{1f469}\u{200d}\u{1f680}\u{2764}\u{fe0f}"),
        ] {
            assert_eq!(visible(text), expected);
        }
        assert!(matches!(visible("é"), Cow::Borrowed(_)));
        assert!(matches!(ascii("\n"), Cow::Borrowed(_)));
        assert_eq!(ascii("é€\u{1f600}\t"), "\\xe9\\u20ac\\U0001f600\t");
    }

    #[test]
    fn lists_look_like_python() {
        assert_eq!(python_list([]), "[]");
        assert_eq!(python_list(["Akshat", "Raj"]), "['Akshat', 'Raj']");
        assert_eq!(python_list(["O'Hara", "a\"b"]), r#"["O'Hara", 'a"b']"#);
        assert_eq!(python_list(["'\""]), r#"['\'"']"#);
        assert_eq!(python_list(["\\"]), r"['\\']");
        assert_eq!(
            python_list(["é\u{301}\u{301}\t\x7f\u{a0}\u{200d}\u{e000}"]),
            "['é\u{301}\u{301}\\t\\x7f\\xa0\\u200d\\ue000']"
        );
        assert_eq!(python_list(["\u{e0001}"]), r"['\U000e0001']");
    }

    proptest! {
        #[test]
        fn what_is_visible_stays_on_its_line(text in any::<String>()) {
            let shown = visible(&text);
            prop_assert!(!shown.contains(is_unsafe));
            prop_assert_eq!(visible(&shown), shown.as_ref());
            prop_assert!(ascii(&text).is_ascii());
            let list = python_list([text.as_str()]);
            prop_assert_eq!(visible(&list), list.as_str());
        }
    }
}
