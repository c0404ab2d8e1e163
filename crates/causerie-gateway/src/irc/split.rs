//! Cutting texts to the length of lines: between words if there are any, and never inside a character as people see it.

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// A part of a text that fits on one line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TextPiece<'a> {
    /// Text of the piece.
    pub text: &'a str,
    /// Continuation of the line before it, which was too long; else a new line of the text begins here.
    pub goes_on: bool,
}

/// The lines of a text in pieces of `bytes_max` bytes at most: put together again they are the text.
pub fn split(text: &str, bytes_max: usize) -> impl Iterator<Item = TextPiece<'_>> {
    text.split('\n').flat_map(move |line| {
        let mut rest = Some(line.strip_suffix('\r').unwrap_or(line));
        let mut goes_on = false;
        std::iter::from_fn(move || {
            let text = rest?;
            let end = piece_end(text, bytes_max);
            rest = (end < text.len()).then(|| &text[end..]);
            Some(TextPiece { text: &text[..end], goes_on: std::mem::replace(&mut goes_on, true) })
        })
    })
}

fn piece_end(text: &str, bytes_max: usize) -> usize {
    let end = fitting(text, bytes_max);
    if end == text.len() {
        return end;
    }
    // The space stays in front of the cut, so that nothing is lost.
    match text[..end].rfind(' ') {
        Some(space) if space + 1 > end / 2 => space + 1,
        _ => end,
    }
}

/// Returns where to cut so that at most `bytes_max` bytes are in front: between two characters as people see them, or, where
/// one is longer than that, between code points. At least one code point.
pub(super) fn fitting(text: &str, bytes_max: usize) -> usize {
    if text.len() <= bytes_max {
        return text.len();
    }
    let at = text.floor_char_boundary_at(bytes_max);
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    match cursor.is_boundary(text, 0) {
        Ok(true) if at > 0 => return at,
        _ => {}
    }
    let before = cursor.prev_boundary(text, 0).ok().flatten().unwrap_or(0);
    match (before, at) {
        (0, 0) => text.graphemes(true).next().map_or(0, |g| g.chars().next().map_or(0, char::len_utf8)),
        (0, at) => at,
        (before, _) => before,
    }
}

trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, at: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, at: usize) -> usize {
        (0..=at.min(self.len())).rev().find(|at| self.is_char_boundary(*at)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str, max: usize) -> Vec<(&str, bool)> {
        split(text, max).map(|piece| (piece.text, piece.goes_on)).collect()
    }

    #[test]
    fn texts_are_cut_between_words_and_never_inside_a_character() {
        assert_eq!(pieces("", 9), [("", false)]);
        assert_eq!(pieces("one two three", 9), [("one two ", false), ("three", true)]);
        assert_eq!(pieces("a\r\n\nb", 9), [("a", false), ("", false), ("b", false)]);
        assert_eq!(pieces("abcdefghijk", 4), [("abcd", false), ("efgh", true), ("ijk", true)]);
        // An e with an accent of its own, and a family of four.
        assert_eq!(pieces("aae\u{301}", 4), [("aa", false), ("e\u{301}", true)]);
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        let text = format!("ab{family}");
        assert_eq!(pieces(&text, 19), [("ab", false), (family, true)]);
        // One that fits on no line is cut between code points.
        assert_eq!(
            pieces(family, 10),
            [("\u{1f468}\u{200d}", false), ("\u{1f469}\u{200d}", true), ("\u{1f467}", true),]
        );
        assert_eq!(pieces("\u{1f468}b", 1), [("\u{1f468}", false), ("b", true)]);
    }

    proptest! {
        #[test]
        fn pieces_fit_and_make_the_text_again(text in "[a-z \\n\u{e9}\u{301}\u{1f468}\u{200d}\u{1f469}]{0,80}", max in 1usize..40) {
            let mut again = String::new();
            for (at, piece) in split(&text, max).enumerate() {
                prop_assert!(piece.text.len() <= max.max(4));
                if at > 0 && !piece.goes_on {
                    again.push('\n');
                }
                again.push_str(piece.text);
            }
            prop_assert_eq!(again, text);
        }
    }
}
