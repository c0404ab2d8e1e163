//! The text that is being written: several lines, with undo, and with what was written before.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::text::shown;

/// Earlier texts that can be called back.
const HISTORY_MAX: usize = 500;
/// Steps that can be undone.
const UNDO_MAX: usize = 200;

/// A text with a cursor, which stands between two characters.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: String,
    /// Place of the cursor, in bytes.
    cursor: usize,
    undo: Vec<(String, usize)>,
    redo: Vec<(String, usize)>,
    /// The last change was typing, which is undone as a whole.
    typing: bool,
    history: Vec<String>,
    /// Entry of the history that is shown, and what was being written when it was called.
    recalled: Option<(usize, String)>,
    killed: String,
}

/// Direction and distance of a move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CaretMove {
    Left,
    Right,
    WordLeft,
    WordRight,
    LineStart,
    LineEnd,
}

impl Editor {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Another text instead; the one before can be had back by undoing.
    pub(super) fn set(&mut self, text: &str) {
        self.remember();
        self.text = text.into();
        self.cursor = self.text.len();
    }

    /// The text, which goes into the history.
    pub(super) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        (self.cursor, self.recalled, self.typing) = (0, None, false);
        self.undo.clear();
        self.redo.clear();
        if !text.trim().is_empty() && self.history.last() != Some(&text) {
            if self.history.len() == HISTORY_MAX {
                self.history.remove(0);
            }
            self.history.push(text.clone());
        }
        text
    }

    fn remember(&mut self) {
        self.typing = false;
        self.redo.clear();
        if self.undo.len() == UNDO_MAX {
            self.undo.remove(0);
        }
        self.undo.push((self.text.clone(), self.cursor));
    }

    pub(super) fn insert(&mut self, text: &str) {
        let typed = text.graphemes(true).count() == 1 && text != " " && text != "\n";
        if !(typed && self.typing) {
            self.remember();
        }
        self.typing = typed;
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Replaces what stands from `from` up to the cursor.
    pub(super) fn complete(&mut self, from: usize, text: &str) {
        self.remember();
        self.text.replace_range(from..self.cursor, text);
        self.cursor = from + text.len();
    }

    fn target(&self, to: CaretMove) -> usize {
        let (before, behind) = self.text.split_at(self.cursor);
        match to {
            CaretMove::Left => before.grapheme_indices(true).next_back().map_or(0, |(at, _)| at),
            CaretMove::Right => self.cursor + behind.graphemes(true).next().map_or(0, str::len),
            CaretMove::WordLeft => before.unicode_word_indices().next_back().map_or(0, |(at, _)| at),
            CaretMove::WordRight => behind
                .unicode_word_indices()
                .next()
                .map_or(self.text.len(), |(at, w)| self.cursor + at + w.len()),
            CaretMove::LineStart => before.rfind('\n').map_or(0, |at| at + 1),
            CaretMove::LineEnd => behind.find('\n').map_or(self.text.len(), |at| self.cursor + at),
        }
    }

    pub(super) fn go(&mut self, to: CaretMove) {
        self.cursor = self.target(to);
        self.typing = false;
    }

    /// Removes what lies between the cursor and there.
    pub(super) fn remove(&mut self, to: CaretMove) {
        let target = self.target(to);
        let range = target.min(self.cursor)..target.max(self.cursor);
        if range.is_empty() {
            return;
        }
        self.remember();
        let removed: String = self.text.drain(range.clone()).collect();
        self.cursor = range.start;
        if !matches!(to, CaretMove::Left | CaretMove::Right) {
            self.killed = removed;
        }
    }

    /// Puts back here what was removed last, but for single characters.
    pub(super) fn yank(&mut self) {
        let killed = self.killed.clone();
        self.insert(&killed);
    }

    pub(super) fn undo(&mut self) {
        if let Some(before) = self.undo.pop() {
            self.redo.push((std::mem::take(&mut self.text), self.cursor));
            (self.text, self.cursor) = before;
            self.typing = false;
        }
    }

    pub(super) fn redo(&mut self) {
        if let Some(after) = self.redo.pop() {
            self.undo.push((std::mem::take(&mut self.text), self.cursor));
            (self.text, self.cursor) = after;
            self.typing = false;
        }
    }

    /// A line up, and from the first line to the text before this one.
    pub(super) fn up(&mut self) {
        let start = self.target(CaretMove::LineStart);
        if start > 0 {
            let column = self.text[start..self.cursor].graphemes(true).count();
            let above = self.text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
            self.cursor = above + bytes_of(&self.text[above..start - 1], column);
            return;
        }
        let earlier = self.recalled.as_ref().map_or(self.history.len(), |(at, _)| *at);
        if let Some(at) = earlier.checked_sub(1) {
            let written = self.recalled.take().map_or_else(|| self.text.clone(), |(_, written)| written);
            self.set(&self.history[at].clone());
            self.recalled = Some((at, written));
        }
    }

    /// A line down, and from the last line to the text behind this one.
    pub(super) fn down(&mut self) {
        let end = self.target(CaretMove::LineEnd);
        if end < self.text.len() {
            let start = self.target(CaretMove::LineStart);
            let column = self.text[start..self.cursor].graphemes(true).count();
            let below = &self.text[end + 1..];
            let below = &below[..below.find('\n').unwrap_or(below.len())];
            self.cursor = end + 1 + bytes_of(below, column);
            return;
        }
        if let Some((at, written)) = self.recalled.take() {
            match self.history.get(at + 1).cloned() {
                Some(later) => {
                    self.set(&later);
                    self.recalled = Some((at + 1, written));
                }
                None => self.set(&written),
            }
        }
    }

    /// Returns the text as it is drawn: lines of so many columns, and the cursor's line and column.
    pub(super) fn lines(&self, columns: usize) -> (Vec<String>, (usize, usize)) {
        let columns = columns.max(2);
        let (mut lines, mut used) = (vec![String::new()], 0);
        let mut cursor = None;
        for (at, character) in self.text.grapheme_indices(true) {
            let drawn = shown(character);
            let needed = if character == "\n" { 0 } else { drawn.width() };
            // The cursor needs a cell as well.
            if used + needed > columns - 1 && used > 0 {
                lines.push(String::new());
                used = 0;
            }
            if at >= self.cursor {
                cursor.get_or_insert((lines.len() - 1, used));
            }
            if character == "\n" {
                lines.push(String::new());
                used = 0;
            } else {
                lines.last_mut().expect("there is one").push_str(&drawn);
                used += needed;
            }
        }
        let end = (lines.len() - 1, used);
        (lines, cursor.unwrap_or(end))
    }
}

fn bytes_of(line: &str, characters: usize) -> usize {
    line.grapheme_indices(true).nth(characters).map_or(line.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn characters_are_removed_as_people_count_them() {
        for character in
            ["e\u{301}", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", "\u{1f1eb}\u{1f1f7}", "日"]
        {
            let mut editor = editor(&format!("a{character}"));
            editor.remove(CaretMove::Left);
            assert_eq!(editor.text(), "a");
            editor.remove(CaretMove::Left);
            editor.remove(CaretMove::Left);
            assert_eq!(editor.text(), "");
        }
    }

    #[test]
    fn words_and_lines_are_removed_and_brought_back() {
        let mut editor = editor("one two\nthree four");
        editor.remove(CaretMove::WordLeft);
        assert_eq!(editor.text(), "one two\nthree ");
        editor.remove(CaretMove::LineStart);
        assert_eq!(editor.text(), "one two\n");
        editor.yank();
        assert_eq!(editor.text(), "one two\nthree ");
        editor.undo();
        editor.undo();
        editor.undo();
        assert_eq!(editor.text(), "one two\nthree four");
        editor.redo();
        assert_eq!(editor.text(), "one two\nthree ");
    }

    #[test]
    fn typing_is_undone_word_by_word() {
        let mut editor = Editor::default();
        "ab cd".chars().for_each(|c| editor.insert(c.encode_utf8(&mut [0; 4])));
        editor.undo();
        assert_eq!(editor.text(), "ab ");
        editor.undo();
        assert_eq!(editor.text(), "ab");
        editor.undo();
        assert_eq!(editor.text(), "");
        editor.undo();
        assert_eq!(editor.text(), "");
    }

    #[test]
    fn earlier_texts_come_back_and_what_was_written_is_not_lost() {
        let mut editor = editor("first");
        assert_eq!(editor.take(), "first");
        editor.insert("second\nlines");
        editor.take();
        editor.insert("half");
        editor.up();
        assert_eq!(editor.text(), "second\nlines");
        editor.up();
        assert_eq!(editor.text(), "second\nlines", "within the text first");
        editor.up();
        assert_eq!(editor.text(), "first");
        editor.up();
        assert_eq!(editor.text(), "first");
        editor.down();
        editor.down();
        assert_eq!(editor.text(), "half");
        editor.down();
        assert_eq!(editor.text(), "half");
    }

    #[test]
    fn the_cursor_is_where_it_is_drawn() {
        let mut editor = editor("日本語\nab\u{202e}");
        let (lines, cursor) = editor.lines(6);
        assert_eq!(lines, ["日本", "語", "ab", "\\u202e"].map(String::from));
        assert_eq!(cursor, (3, 6));
        editor.go(CaretMove::LineStart);
        assert_eq!(editor.lines(6).1, (2, 0));
        editor.go(CaretMove::Left);
        assert_eq!(editor.lines(6).1, (1, 2));
        editor.go(CaretMove::LineStart);
        editor.go(CaretMove::WordRight);
        assert!(editor.before_cursor().starts_with('日'));
        assert_eq!(Editor::default().lines(6), (vec![String::new()], (0, 0)));
    }
}
