//! Texts over the messages: help, questions, explanations.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::command::COMMANDS;
use super::layout::{bold, dim};
use super::model::Overlay;
use super::text::{cut, fit, one_line, wrap};

const KEYS: [(&str, &str); 28] = [
    ("Enter", "say it"),
    ("Alt-Enter, Ctrl-J", "a new line"),
    ("Tab", "complete a name, a room, a command, :emoji"),
    ("Up, Down", "what you said before"),
    ("Ctrl-_, Ctrl-R", "undo, redo"),
    ("Ctrl-A E K U W Y", "start, end, cut, cut, cut a word, put back"),
    ("PageUp, PageDown", "scroll; End: to the newest"),
    ("Alt-U", "to the first unread"),
    ("Ctrl-F", "search"),
    ("Ctrl-N, Ctrl-P", "next room, room before; Alt-1 to 9"),
    ("F2, F3", "rooms, members"),
    ("F4", "who had seen what: the room as a diagram"),
    ("Ctrl-L", "draw anew"),
    ("Ctrl-Z", "suspend"),
    ("Ctrl-C", "leave all rooms and end"),
    ("Esc", "choose a message, then:"),
    ("  Up, Down, j, k", "another one"),
    ("  r, e, d, +", "reply, edit, delete, react"),
    ("  Enter", "to the message that it answers"),
    ("  u", "not to delete it after all"),
    ("  m, u, n", "to a mention, the unread, the next found"),
    ("  c", "what it depends on, and what on it"),
    ("  v, then c at another", "which was before, or neither"),
    ("  t", "the diagram, as F4"),
    ("  y", "copy it"),
    ("  Esc", "back to writing"),
    ("Marks", "… on its way  ✓ stored  ✓✓ delivered to all  ◌ held back"),
    ("  ∥", "its author had not seen the one above"),
];

pub(super) fn draw(overlay: &Overlay, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let lines: Vec<Line<'static>> = match overlay {
        // The question stands in the status line, and the message where it is.
        Overlay::Delete(_) => return,
        Overlay::Paste(text) => {
            let count = text.lines().count();
            let question =
                format!("Paste {count} lines ({} characters) into the input? y/n", text.chars().count());
            let mut lines = vec![Line::styled(fit(&question, columns), bold())];
            let shown = usize::from(area.height).saturating_sub(2);
            lines.extend(
                text.lines()
                    .take(shown)
                    .map(|line| Line::raw(fit(&format!("  {}", one_line(line)), columns))),
            );
            lines
        }
        Overlay::Causality(told, at) => {
            let lines = told.iter().enumerate().flat_map(|(index, line)| {
                let is_heading = index == 0 || !line.starts_with(' ') && line.ends_with(':');
                let style = if is_heading { bold() } else { Style::new() };
                wrap(line, columns.saturating_sub(1)).into_iter().map(move |line| Line::styled(line, style))
            });
            lines.skip(*at).collect()
        }
        Overlay::Help(at) => {
            let entry = |name: &str, what: &str| {
                Line::from(vec![
                    Span::styled(fit(name, 20.min(columns)), bold()),
                    Span::raw(cut(what, columns.saturating_sub(20))),
                ])
            };
            let keys = KEYS.iter().map(|(key, what)| entry(key, what));
            let commands =
                COMMANDS.iter().map(|(name, argument, what)| entry(&format!("/{name} {argument}"), what));
            let also = "Each command works as ./command too; // at the start says a slash.";
            let heading = Line::styled(cut(also, columns), dim());
            keys.chain([Line::raw(""), heading]).chain(commands).skip(*at).collect()
        }
    };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}
