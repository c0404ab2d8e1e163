//! The places of the parts of the screen, rows as lines, and which of them are in sight: a value, made once an event, by
//! which rows are scrolled, and once a drawing, so that both agree on how high a row is.

use causerie_client::{Body, HeldPost, MessageId, What};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::layout::{Constraint, Layout as Split, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::model::{Focus, Model};
use super::room::{Anchor, Coming, DraftPurpose, RoomModel, Row, ShownMessage};
use super::text::{cut, one_line, width, wrap};
use super::theme::Palette;

/// Columns of the pane of rooms, the line beside it included.
const ROOMS_COLUMNS: u16 = 16;

/// Columns of the pane of members, the line beside it included.
const MEMBERS_COLUMNS: u16 = 15;

/// Columns that messages keep before there are panes beside them.
const MESSAGES_COLUMNS_MIN: u16 = 40;

/// Lines of the input that are seen.
const INPUT_LINES_MAX: usize = 6;

/// Rows that are looked at for the date before.
const DATE_ROWS: i64 = 50;

/// Names that what is held back waits for.
const WAITED_FOR_MAX: usize = 3;

/// Beginning of the line above a reply that quotes what it answers; it leads down to the author of the reply.
pub(super) const QUOTE: char = '╭';

pub(super) fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Parts of the screen, and the looks of the rows in it.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) title: Rect,
    pub(super) rooms: Option<Rect>,
    pub(super) messages: Rect,
    pub(super) members: Option<Rect>,
    pub(super) purpose: Option<Rect>,
    pub(super) input: Rect,
    pub(super) status: Rect,
    pub(super) footer: Rect,
    /// Text before the one being written.
    pub(super) prompt: String,
    palette: Palette,
    zone: TimeZone,
    /// Message that is highlighted.
    pub(super) chosen: Option<MessageId>,
}

/// Part of a row that is on the screen.
pub(super) struct SeenRow {
    pub(super) row: i64,
    pub(super) lines: Vec<Line<'static>>,
}

/// Rows on the screen, from below.
pub(super) struct SeenRows {
    pub(super) rows: Vec<SeenRow>,
    /// Lines that stay empty because there is nothing before the first row.
    pub(super) empty: usize,
}

impl Layout {
    pub(super) fn of(model: &Model) -> Self {
        let (columns, lines) = model.size;
        let room = model.room();
        let name = cut(&one_line(&model.name), 12);
        let prompt = if columns < 40 { "> ".into() } else { format!("{name}> ") };
        let (input, _) = room.editor.lines(usize::from(columns).saturating_sub(width(&prompt)));
        // The footer goes first where there is little room, then the title.
        let footer = u16::from(lines >= 8);
        let title = u16::from(lines >= 6);
        let purpose = u16::from(room.purpose != DraftPurpose::Say && lines >= 5);
        let most = usize::from(lines / 3).clamp(1, INPUT_LINES_MAX);
        let input = input.len().min(most) as u16;
        let [title, body, purpose_area, input, status, footer] = Split::vertical([
            Constraint::Length(title),
            Constraint::Fill(1),
            Constraint::Length(purpose),
            Constraint::Length(input),
            Constraint::Length(1),
            Constraint::Length(footer),
        ])
        .areas(Rect::new(0, 0, columns, lines));
        let wants_rooms = model.rooms_pane.unwrap_or(model.rooms.len() > 1);
        let shows_rooms = wants_rooms && columns >= MESSAGES_COLUMNS_MIN + ROOMS_COLUMNS;
        let rooms = if shows_rooms { ROOMS_COLUMNS } else { 0 };
        let shows_members = model.members_pane && columns >= MESSAGES_COLUMNS_MIN + MEMBERS_COLUMNS + rooms;
        let members = if shows_members { MEMBERS_COLUMNS } else { 0 };
        let [rooms_area, messages, members_area] =
            Split::horizontal([Constraint::Length(rooms), Constraint::Fill(1), Constraint::Length(members)])
                .areas(body);
        Self {
            title,
            rooms: shows_rooms.then_some(rooms_area),
            messages,
            members: shows_members.then_some(members_area),
            purpose: (purpose > 0).then_some(purpose_area),
            input,
            status,
            footer,
            prompt,
            palette: model.palette,
            zone: model.zone.clone(),
            chosen: room.selected.filter(|_| model.focus == Focus::Messages),
        }
    }

    /// Returns the style of a name: the same each time, and not that of another one while there are colours left.
    pub(super) fn name_style(&self, room: &RoomModel, name: &str) -> Style {
        let colors = self.palette.names;
        bold().fg(colors[room.number_of_name(name) % colors.len()])
    }

    pub(super) fn alert(&self) -> Style {
        bold().fg(self.palette.alert)
    }

    /// Returns the number of lines that messages have.
    pub(super) fn message_lines(&self) -> usize {
        self.messages.height.max(1).into()
    }

    pub(super) fn row_height(&self, room: &RoomModel, row: i64) -> usize {
        self.row_lines(room, row).len()
    }

    /// Returns the last row with all its lines.
    pub(super) fn end_anchor(&self, room: &RoomModel) -> Option<Anchor> {
        let row = room.numbers().end - 1;
        (row >= room.numbers().start).then(|| Anchor { row, lines: self.row_height(room, row) })
    }

    pub(super) fn seen(&self, room: &RoomModel) -> SeenRows {
        let waiting = usize::from(self.shows_waiting(room));
        let mut left = usize::from(self.messages.height) - waiting;
        let numbers = room.numbers();
        let mut rows = Vec::new();
        let first = room.anchor.map_or(numbers.end - 1, |anchor| anchor.row.min(numbers.end - 1));
        for row in (numbers.start..=first).rev() {
            let mut lines = self.row_lines(room, row);
            if let Some(anchor) = room.anchor.filter(|anchor| anchor.row == row) {
                lines.truncate(anchor.lines.max(1));
            }
            lines.drain(..lines.len().saturating_sub(left));
            left -= lines.len();
            rows.push(SeenRow { row, lines });
            if left == 0 {
                break;
            }
        }
        SeenRows { rows, empty: left }
    }

    /// Returns whether a line is kept for what is held back, which is at the end only.
    pub(super) fn shows_waiting(&self, room: &RoomModel) -> bool {
        room.waiting_line && room.anchor.is_none() && self.messages.height > 1
    }

    /// Returns the uppermost and the lowest row on the screen.
    pub(super) fn rows_seen(&self, room: &RoomModel) -> (i64, i64) {
        let SeenRows { rows, .. } = self.seen(room);
        let end = room.numbers().end - 1;
        (rows.last().map_or(end, |seen| seen.row), rows.first().map_or(end, |seen| seen.row))
    }

    /// Returns whether the first row there is may be on the screen, or near.
    pub(super) fn sees_first_row(&self, room: &RoomModel) -> bool {
        let numbers = room.numbers();
        let lowest = room.anchor.map_or(numbers.end - 1, |anchor| anchor.row);
        // A row has a line at least.
        lowest - numbers.start <= self.message_lines() as i64 && self.rows_seen(room).0 <= numbers.start
    }

    pub(super) fn last_message_seen(&self, room: &RoomModel) -> Option<MessageId> {
        self.seen(room).rows.iter().find_map(|seen| match room.row(seen.row) {
            Some(Row::Message(id)) => Some(id),
            _ => None,
        })
    }

    // A row.

    fn local(&self, millis: u64) -> Option<jiff::Zoned> {
        let timestamp = Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()?;
        Some(timestamp.to_zoned(self.zone.clone()))
    }

    /// Returns the date, where the row is the first of its day.
    fn new_date(&self, room: &RoomModel, row: i64) -> Option<String> {
        let now = self.local(time_of(room, row)?)?;
        let start = room.numbers().start;
        let earliest = start.max(row - DATE_ROWS);
        let before = (earliest..row).rev().find_map(|row| time_of(room, row));
        let is_new = match before {
            Some(before) => self.local(before)?.date() != now.date(),
            None => earliest == start,
        };
        is_new.then(|| now.strftime("%A, %-d %B %Y").to_string())
    }

    fn row_lines(&self, room: &RoomModel, number: i64) -> Vec<Line<'static>> {
        let columns = usize::from(self.messages.width);
        let mut lines = Vec::new();
        if room.unread_from == Some(number) {
            lines.push(rule("new", columns).style(self.alert()));
        }
        if let Some(date) = self.new_date(room, number) {
            lines.push(rule(&date, columns));
        }
        match room.row(number) {
            Some(Row::Message(id)) => {
                if let Some(message) = room.message(id) {
                    self.message_lines_of(room, id, message, &mut lines);
                }
            }
            Some(Row::Comings(comings)) => notice(&comings_in_words(&comings), columns, &mut lines),
            Some(Row::Gap { from, to, removed }) => {
                notice(crate::wording::gap(from, to, removed).trim_start_matches("* "), columns, &mut lines);
            }
            Some(Row::Notice(text)) => notice(&text, columns, &mut lines),
            None => {}
        }
        lines
    }

    fn message_lines_of(
        &self,
        room: &RoomModel,
        id: MessageId,
        message: &ShownMessage,
        lines: &mut Vec<Line<'static>>,
    ) {
        let known = &message.extra;
        let columns = usize::from(self.messages.width);
        let start = lines.len();
        let shows_time = columns >= usize::from(MESSAGES_COLUMNS_MIN);
        let indent = if shows_time { 9 } else { 3 };
        let room_for = columns.saturating_sub(indent).max(1);
        let blank = " ".repeat(indent.min(columns));
        if let Some(quote) = room.quote(id) {
            let quoted = match quote.author.map(one_line) {
                Some(author) if quote.deleted => format!("{QUOTE} {author}: (deleted)"),
                Some(author) => {
                    let words = room.text(quote.id).unwrap_or_default();
                    format!("{QUOTE} {author}: {}", one_line(words))
                }
                None => format!("{QUOTE} something further back"),
            };
            lines.push(Line::styled(format!("{blank}{}", cut(&quoted, room_for)), dim()));
        }
        let mark = match () {
            () if room.marked == Some(id) => "◆ ",
            () if !known.own => "  ",
            () if message.position().is_none() => "… ",
            () if room.is_delivered_to_all(id) => "✓✓",
            () => "✓ ",
        };
        let time = known.time_millis.and_then(|millis| self.local(millis));
        let concurrent = if known.concurrent { '∥' } else { ' ' };
        let time = match (shows_time, time) {
            (true, Some(time)) => format!("{}{concurrent}", time.strftime(" %H:%M")),
            (true, None) => " ".repeat(7),
            (false, _) => concurrent.to_string(),
        };
        let author = one_line(&message.author);
        let view = room.view(id);
        let (text, text_style) = match room.words(id) {
            None => ("(deleted)".into(), dim()),
            Some(text) if room.is_being_deleted(id) => {
                (format!("{text} (to be deleted: u takes it back)"), dim())
            }
            Some(text) => {
                let edited = if view.as_ref().is_some_and(|view| view.edited) { " (edited)" } else { "" };
                let style = if known.mention { bold() } else { Style::new() };
                (format!("{text}{edited}"), style)
            }
        };
        let name = if is_action(message.what()) { format!("* {author}") } else { format!("{author}:") };
        let wrapped = wrap(&format!("{name} {text}"), room_for);
        for (index, line) in wrapped.into_iter().enumerate() {
            let mut spans = match index {
                0 => vec![Span::styled(format!("{mark}{time}"), dim())],
                _ => vec![Span::raw(blank.clone())],
            };
            match line.strip_prefix(&name).filter(|_| index == 0) {
                Some(rest) => {
                    spans.push(Span::styled(name.clone(), self.name_style(room, &message.author)));
                    spans.push(Span::styled(rest.to_owned(), text_style));
                }
                None => spans.push(Span::styled(line, text_style)),
            }
            lines.push(Line::from(spans));
        }
        let reactions = view.map(|view| view.reactions).unwrap_or_default();
        if !reactions.is_empty() {
            let shown = reactions.iter().map(|r| format!("{} {}", one_line(r.symbol), r.by.len()));
            let shown: Vec<_> = shown.collect();
            lines.push(Line::styled(format!("{blank}{}", cut(&shown.join("  "), room_for)), dim()));
        }
        if let Some(held) = known.held_for {
            let held = format!("held back for {}", crate::wording::show(held));
            lines.push(Line::styled(format!("{blank}{}", cut(&held, room_for)), dim()));
        }
        if self.chosen == Some(id) {
            for line in &mut lines[start..] {
                line.style = line.style.add_modifier(Modifier::REVERSED);
                let missing = columns.saturating_sub(line.width());
                line.push_span(Span::raw(" ".repeat(missing)));
            }
        }
    }
}

/// Returns whether a message tells what its author does.
const fn is_action(what: &What) -> bool {
    match what {
        What::Said(body) => match body {
            Body::Action(_) | Body::Topic(_) | Body::Unknown(_) => true,
            Body::Text(_)
            | Body::Notice(_)
            | Body::Reply { .. }
            | Body::Edit { .. }
            | Body::Delete { .. }
            | Body::Reaction { .. } => false,
        },
        What::Joined | What::Left { .. } => true,
    }
}

fn rule(label: &str, columns: usize) -> Line<'static> {
    let label = cut(&format!("── {label} "), columns);
    let rest = columns.saturating_sub(width(&label));
    Line::styled(format!("{label}{}", "─".repeat(rest)), dim())
}

fn time_of(room: &RoomModel, row: i64) -> Option<u64> {
    match room.row(row)? {
        Row::Message(id) => room.message(id)?.extra.time_millis,
        _ => None,
    }
}

fn notice(text: &str, columns: usize, lines: &mut Vec<Line<'static>>) {
    let wrapped = wrap(text, columns.saturating_sub(2));
    lines.extend(wrapped.into_iter().enumerate().map(|(index, line)| {
        let start = if index == 0 { "* " } else { "  " };
        Line::styled(format!("{start}{line}"), dim())
    }));
}

fn comings_in_words(comings: &[Coming]) -> String {
    let mut out: Vec<String> = Vec::new();
    for run in comings.chunk_by(|a, b| a.joined == b.joined && a.reason == b.reason) {
        let names: Vec<_> = run.iter().map(|coming| one_line(&coming.name)).collect();
        let what = if run[0].joined { "joined" } else { "left" };
        let reason = match run[0].reason.as_str() {
            "" => String::new(),
            reason => format!(" ({})", one_line(reason)),
        };
        out.push(format!("{} {what}{reason}", names.join(", ")));
    }
    out.join("; ")
}

/// Returns how many are held back, for whose messages, and for how long the first of them.
pub(super) fn waiting_in_words(held: &[HeldPost]) -> Option<String> {
    let longest = held.iter().map(|held| held.held_for).max()?;
    let mut whose: Vec<String> = Vec::new();
    for held in held {
        let author = held.waits_for_author.as_deref().map_or_else(|| held.waits_for.to_string(), one_line);
        if !whose.contains(&author) {
            whose.push(author);
        }
    }
    let others = whose.len().saturating_sub(WAITED_FOR_MAX);
    whose.truncate(WAITED_FOR_MAX);
    let others = if others > 0 { format!(" and {others} more") } else { String::new() };
    let since = match longest.as_secs() {
        0 => "under 1 s".into(),
        seconds => format!("{seconds} s"),
    };
    Some(format!("{} waiting for {}{others}, {since}", held.len(), whose.join(", ")))
}
