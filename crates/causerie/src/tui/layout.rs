//! Rows as lines, and which of them are on the screen. Whoever asks how high a row is, to scroll, asks where it is drawn,
//! so that both agree.

use causerie_client::{HeldPost, MessageId};
use jiff::Timestamp;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::model::{Focus, Model};
use super::room::{Anchor, Coming, Message, Purpose, RoomView, Row};
use super::text::{cut, one_line, width, wrap};

/// Columns of the panes, the line beside them included.
const ROOMS_COLUMNS: u16 = 16;

const MEMBERS_COLUMNS: u16 = 15;

/// Messages get so many columns before there are panes beside them.
const MESSAGES_COLUMNS_MIN: u16 = 40;

/// Lines of the input that are seen.
const INPUT_LINES_MAX: usize = 6;

/// Rows that are looked at for the date before.
const DATE_ROWS: i64 = 50;

/// Names that what is held back waits for.
const WAITED_FOR_MAX: usize = 3;

/// Begins the line above a reply that quotes what it answers; it leads down to the author of the reply.
pub(super) const QUOTE: char = '╭';

pub(super) struct Areas {
    pub(super) title: Rect,
    pub(super) rooms: Option<Rect>,
    pub(super) messages: Rect,
    pub(super) members: Option<Rect>,
    pub(super) purpose: Option<Rect>,
    pub(super) input: Rect,
    pub(super) status: Rect,
    pub(super) footer: Rect,
}

pub(super) fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Returns the style of a name: the same each time, and not that of another one while there are colours left.
pub(super) fn name_style(model: &Model, name: &str) -> Style {
    let colors = model.palette.names;
    bold().fg(colors[model.room().number_of_name(name) % colors.len()])
}

pub(super) fn alert(model: &Model) -> Style {
    bold().fg(model.palette.alert)
}

pub(super) fn shows_rooms(model: &Model) -> bool {
    model.rooms_pane.unwrap_or(model.rooms.len() > 1) && model.size.0 >= MESSAGES_COLUMNS_MIN + ROOMS_COLUMNS
}

pub(super) fn prompt(model: &Model) -> String {
    let name = cut(&one_line(&model.name), 12);
    if model.size.0 < 40 { "> ".into() } else { format!("{name}> ") }
}

pub(super) fn areas(model: &Model) -> Areas {
    let (columns, lines) = model.size;
    let prompt = width(&prompt(model));
    let (input, _) = model.room().editor.lines(usize::from(columns).saturating_sub(prompt));
    // The footer goes first where there is little room, then the title.
    let footer = u16::from(lines >= 8);
    let title = u16::from(lines >= 6);
    let purpose = u16::from(model.room().purpose != Purpose::Say && lines >= 5);
    let most = usize::from(lines / 3).clamp(1, INPUT_LINES_MAX);
    let input = input.len().min(most) as u16;
    let [title, body, purpose_area, input, status, footer] = Layout::vertical([
        Constraint::Length(title),
        Constraint::Fill(1),
        Constraint::Length(purpose),
        Constraint::Length(input),
        Constraint::Length(1),
        Constraint::Length(footer),
    ])
    .areas(Rect::new(0, 0, columns, lines));
    let rooms = if shows_rooms(model) { ROOMS_COLUMNS } else { 0 };
    let shows_members = model.members_pane && columns >= MESSAGES_COLUMNS_MIN + MEMBERS_COLUMNS + rooms;
    let members = if shows_members { MEMBERS_COLUMNS } else { 0 };
    let [rooms_area, messages, members_area] =
        Layout::horizontal([Constraint::Length(rooms), Constraint::Fill(1), Constraint::Length(members)])
            .areas(body);
    Areas {
        title,
        rooms: (rooms > 0).then_some(rooms_area),
        messages,
        members: (members > 0).then_some(members_area),
        purpose: (purpose > 0).then_some(purpose_area),
        input,
        status,
        footer,
    }
}

// Where rows are.

/// Lines that messages have.
pub(super) fn message_lines(model: &Model) -> usize {
    areas(model).messages.height.max(1).into()
}

pub(super) fn row_height(model: &Model, row: i64) -> usize {
    row_lines(model, row, areas(model).messages.width.into()).len()
}

/// The last row with all its lines.
pub(super) fn end_anchor(model: &Model) -> Option<Anchor> {
    let row = model.room().numbers().end - 1;
    (row >= model.room().numbers().start).then(|| Anchor { row, lines: row_height(model, row) })
}

/// What of a row is on the screen.
pub(super) struct Seen {
    pub(super) row: i64,
    pub(super) lines: Vec<Line<'static>>,
}

/// The rows on the screen from below, and how many lines are left empty.
pub(super) fn seen(model: &Model) -> (Vec<Seen>, usize) {
    let area = areas(model).messages;
    let room = model.room();
    let waiting = usize::from(shows_waiting(model, area));
    let (columns, mut left) = (usize::from(area.width), usize::from(area.height) - waiting);
    let numbers = room.numbers();
    let mut seen = Vec::new();
    let first = room.anchor.map_or(numbers.end - 1, |anchor| anchor.row.min(numbers.end - 1));
    for row in (numbers.start..=first).rev() {
        let mut lines = row_lines(model, row, columns);
        if let Some(anchor) = room.anchor.filter(|anchor| anchor.row == row) {
            lines.truncate(anchor.lines.max(1));
        }
        lines.drain(..lines.len().saturating_sub(left));
        left -= lines.len();
        seen.push(Seen { row, lines });
        if left == 0 {
            break;
        }
    }
    (seen, left)
}

/// At the end a line is kept for what is held back.
pub(super) fn shows_waiting(model: &Model, messages: Rect) -> bool {
    let room = model.room();
    room.waiting_line && room.anchor.is_none() && messages.height > 1
}

/// Lines that stay empty because there is nothing before the first row.
pub(super) fn lines_missing(model: &Model) -> usize {
    seen(model).1
}

/// The uppermost and the lowest row on the screen.
pub(super) fn rows_seen(model: &Model) -> (i64, i64) {
    let (seen, _) = seen(model);
    let end = model.room().numbers().end - 1;
    (seen.last().map_or(end, |s| s.row), seen.first().map_or(end, |s| s.row))
}

/// Whether the first row there is may be on the screen, or near.
pub(super) fn sees_first_row(model: &Model) -> bool {
    let numbers = model.room().numbers();
    let lowest = model.room().anchor.map_or(numbers.end - 1, |anchor| anchor.row);
    // A row has a line at least.
    lowest - numbers.start <= message_lines(model) as i64 && rows_seen(model).0 <= numbers.start
}

pub(super) fn last_message_seen(model: &Model) -> Option<MessageId> {
    seen(model).0.iter().find_map(|seen| match model.room().row(seen.row) {
        Some(Row::Message(id)) => Some(id),
        _ => None,
    })
}

// A row.

fn rule(label: &str, columns: usize) -> Line<'static> {
    let label = cut(&format!("── {label} "), columns);
    let rest = columns.saturating_sub(width(&label));
    Line::styled(format!("{label}{}", "─".repeat(rest)), dim())
}

fn time_of(room: &RoomView, row: i64) -> Option<u64> {
    match room.row(row)? {
        Row::Message(id) => room.message(id)?.time_millis,
        _ => None,
    }
}

fn local(model: &Model, millis: u64) -> Option<jiff::Zoned> {
    let timestamp = Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()?;
    Some(timestamp.to_zoned(model.zone.clone()))
}

/// The date, where the row is the first of its day.
fn new_date(model: &Model, row: i64) -> Option<String> {
    let room = model.room();
    let now = local(model, time_of(room, row)?)?;
    let start = room.numbers().start;
    let earliest = start.max(row - DATE_ROWS);
    let before = (earliest..row).rev().find_map(|row| time_of(room, row));
    let is_new = match before {
        Some(before) => local(model, before)?.date() != now.date(),
        None => earliest == start,
    };
    is_new.then(|| now.strftime("%A, %-d %B %Y").to_string())
}

fn row_lines(model: &Model, number: i64, columns: usize) -> Vec<Line<'static>> {
    let room = model.room();
    let mut lines = Vec::new();
    if room.unread_from == Some(number) {
        lines.push(rule("new", columns).style(alert(model)));
    }
    if let Some(date) = new_date(model, number) {
        lines.push(rule(&date, columns));
    }
    match room.row(number) {
        Some(Row::Message(id)) => {
            if let Some(message) = room.message(id) {
                message_lines_of(model, id, message, columns, &mut lines);
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

fn message_lines_of(
    model: &Model,
    id: MessageId,
    message: &Message,
    columns: usize,
    lines: &mut Vec<Line<'static>>,
) {
    let room = model.room();
    let start = lines.len();
    let shows_time = columns >= usize::from(MESSAGES_COLUMNS_MIN);
    let indent = if shows_time { 9 } else { 3 };
    let room_for = columns.saturating_sub(indent).max(1);
    let blank = " ".repeat(indent.min(columns));
    if let Some(to) = message.reply_to {
        let quoted = match (room.message(to), room.text(to)) {
            (Some(parent), Some(text)) => format!("{QUOTE} {}: {}", one_line(&parent.author), one_line(text)),
            (Some(parent), None) => format!("{QUOTE} {}: (deleted)", one_line(&parent.author)),
            (None, _) => format!("{QUOTE} something further back"),
        };
        lines.push(Line::styled(format!("{blank}{}", cut(&quoted, room_for)), dim()));
    }
    let mark = match () {
        () if room.marked == Some(id) => "◆ ",
        () if !message.own => "  ",
        () if message.position.is_none() => "… ",
        () if room.is_delivered_to_all(id) => "✓✓",
        () => "✓ ",
    };
    let time = message.time_millis.and_then(|millis| local(model, millis));
    let concurrent = if message.concurrent { '∥' } else { ' ' };
    let time = match (shows_time, time) {
        (true, Some(time)) => format!("{}{concurrent}", time.strftime(" %H:%M")),
        (true, None) => " ".repeat(7),
        (false, _) => concurrent.to_string(),
    };
    let author = one_line(&message.author);
    let changes = room.changes(id);
    let edited = changes.is_some_and(|changes| changes.text().is_some());
    let (text, text_style) = match room.words(id) {
        None => ("(deleted)".into(), dim()),
        Some(text) if room.is_being_deleted(id) => {
            (format!("{text} (to be deleted: u takes it back)"), dim())
        }
        Some(text) => {
            let edited = if edited { " (edited)" } else { "" };
            let style = if message.mention { bold() } else { Style::new() };
            (format!("{text}{edited}"), style)
        }
    };
    let name = if message.action { format!("* {author}") } else { format!("{author}:") };
    let wrapped = wrap(&format!("{name} {text}"), room_for);
    for (index, line) in wrapped.into_iter().enumerate() {
        let mut spans = match index {
            0 => vec![Span::styled(format!("{mark}{time}"), dim())],
            _ => vec![Span::raw(blank.clone())],
        };
        match line.strip_prefix(&name).filter(|_| index == 0) {
            Some(rest) => {
                spans.push(Span::styled(name.clone(), name_style(model, &message.author)));
                spans.push(Span::styled(rest.to_owned(), text_style));
            }
            None => spans.push(Span::styled(line, text_style)),
        }
        lines.push(Line::from(spans));
    }
    let reactions = changes.map(|changes| changes.reactions(room.member)).unwrap_or_default();
    if !reactions.is_empty() && room.text(id).is_some() {
        let shown: Vec<_> =
            reactions.iter().map(|(symbol, count, _)| format!("{} {count}", one_line(symbol))).collect();
        lines.push(Line::styled(format!("{blank}{}", cut(&shown.join("  "), room_for)), dim()));
    }
    if let Some(held) = message.held_for {
        let held = format!("held back for {}", crate::wording::show(held));
        lines.push(Line::styled(format!("{blank}{}", cut(&held, room_for)), dim()));
    }
    if model.focus == Focus::Messages && room.selected == Some(id) {
        for line in &mut lines[start..] {
            line.style = line.style.add_modifier(Modifier::REVERSED);
            let missing = columns.saturating_sub(line.width());
            line.push_span(Span::raw(" ".repeat(missing)));
        }
    }
}

/// What is held back, for people.
pub(super) fn held_in_words(held: &HeldPost) -> String {
    let since = crate::wording::show(held.held_for);
    let cause = crate::wording::label(held.waits_for_author.as_deref(), held.waits_for);
    format!("{} for {since}: waits for {cause}", crate::wording::label(held.author.as_deref(), held.id))
}

/// How many are held back, for whose messages, and for how long the first of them.
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
