//! Others' text in cells of a terminal: nothing in it is obeyed, and everything has the width that it is drawn with.

use std::borrow::Cow;

use causerie_core::content::text::visible;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Code points of one character that are drawn: more than the longest family of emoji has. What stacks marks without
/// end is cut there.
const CODE_POINTS_MAX: usize = 16;

/// Columns of a tab.
const TAB: &str = "    ";

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// One character as it is drawn: never a control, never wider than [`width`] says.
pub(super) fn shown(character: &str) -> Cow<'_, str> {
    if character == "\t" {
        return Cow::Borrowed(TAB);
    }
    match visible(character) {
        Cow::Borrowed(same) => match same.char_indices().nth(CODE_POINTS_MAX) {
            Some((end, _)) => Cow::Borrowed(&same[..end]),
            // A mark without a letter: on its own it would go to the cell before it.
            None if same.width() == 0 => Cow::Owned(format!("\u{25cc}{same}")),
            None => Cow::Borrowed(same),
        },
        escaped => escaped,
    }
}

/// A text as one line that can be drawn.
pub(super) fn one_line(text: &str) -> String {
    text.graphemes(true).map(|g| if is_line_end(g) { Cow::Borrowed(" ") } else { shown(g) }).collect()
}

fn is_line_end(character: &str) -> bool {
    matches!(character, "\n" | "\r\n")
}

/// The start of a line that fits into so many columns; what is cut is told by `…`.
pub(super) fn cut(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.into();
    }
    let mut out = String::new();
    let mut used = 0;
    for character in line.graphemes(true) {
        used += character.width();
        if used >= columns {
            break;
        }
        out.push_str(character);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Cuts as [`cut`] does, and fills with blanks.
pub(super) fn fit(line: &str, columns: usize) -> String {
    let mut line = cut(line, columns);
    line.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&line))));
    line
}

/// A text in lines of so many columns at most, broken between words where that is possible, and within an address only
/// where it is longer than a line. A character that is wider than a line has a line of its own.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        wrap_line(line.strip_suffix('\r').unwrap_or(line), columns.max(1), &mut lines);
    }
    lines
}

/// The pieces between which a line may be broken. An address is one.
fn words(line: &str) -> impl Iterator<Item = &str> {
    // Blanks stand alone, as they do at the bounds of words.
    let chunks = line.split_inclusive(char::is_whitespace).flat_map(|chunk| {
        let word = chunk.trim_end_matches(char::is_whitespace);
        [word, &chunk[word.len()..]]
    });
    chunks.flat_map(|chunk| {
        let whole = chunk.contains("://").then_some(chunk);
        let parts = if whole.is_some() { "" } else { chunk };
        whole.into_iter().chain(parts.split_word_bounds())
    })
}

fn wrap_line(line: &str, columns: usize, lines: &mut Vec<String>) {
    let (mut current, mut used) = (String::new(), 0);
    for word in words(line) {
        let word: String = word.graphemes(true).map(shown).collect();
        let needed = width(&word);
        if used + needed > columns && used > 0 && needed <= columns {
            lines.push(std::mem::take(&mut current));
            used = 0;
            // The blank at which a line is broken is the line's end.
            if word == " " {
                continue;
            }
        }
        for character in word.graphemes(true) {
            let needed = character.width();
            if used + needed > columns && used > 0 {
                lines.push(std::mem::take(&mut current));
                used = 0;
            }
            current.push_str(character);
            used += needed;
        }
    }
    lines.push(current);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Texts that have broken terminals before.
    pub(in super::super) const HARD: [&str; 16] = [
        "plain",
        "日本語のテキスト",
        "e\u{301}te\u{301}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466} family",
        "\u{1f44d}\u{1f3fd} skin",
        "\u{2764}\u{fe0f} and \u{2764}\u{fe0e}",
        "\u{1f1eb}\u{1f1f7} flag",
        "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} flag of a part",
        "1\u{fe0f}\u{20e3} key",
        "\x1b[2J\x1b]0;title\x07 gone",
        "\u{202e}evil\u{2066}\u{feff}",
        "\u{301}\u{301} marks on nothing",
        "tab\there",
        "a\rb\u{85}c\u{2028}d",
        "ｆｕｌｌ ｗｉｄｔｈ",
        "한국어 हिन्दी ไทย العربية",
    ];

    #[test]
    fn whatever_is_said_is_harmless_and_fits() {
        let zalgo = format!("a{}b", "\u{301}".repeat(1_000));
        for text in HARD.iter().copied().chain([zalgo.as_str()]) {
            for columns in 1..30 {
                for line in wrap(text, columns) {
                    assert!(width(&line) <= columns.max(9), "{line:?} in {columns}");
                    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
                    assert!(width(&line) <= columns || line.graphemes(true).count() == 1, "{line:?}");
                }
                assert_eq!(width(&fit(&one_line(text), columns)), columns, "{text:?} in {columns}");
            }
            assert!(one_line(text).len() < 100);
        }
    }

    #[test]
    fn lines_break_between_words_where_they_can() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 4), ["unbr", "eaka", "ble"]);
        let address = "https://example.org/a-b?c=d#e";
        assert_eq!(
            wrap(&format!("see {address}, and more"), 31),
            ["see ", "https://example.org/a-b?c=d#e, ", "and more"]
        );
        assert_eq!(wrap(address, 20), ["https://example.org/", "a-b?c=d#e"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("日", 1), ["日"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn what_is_too_long_is_cut_where_a_character_ends() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日… ");
        assert_eq!(cut("abc", 0), "");
    }
}
