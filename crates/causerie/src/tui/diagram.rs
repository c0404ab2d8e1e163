//! The room as a space-time diagram in characters: a column for each member, time downwards, the newest at the bottom.
//!
//! ```text
//!  Ann Bob Eve
//!   ●   │   │   Ann: who is in?
//!   ├───●   │   Bob: I am          had seen Ann's last
//!   ├───┼───●   Eve: me too        had not seen Bob's
//! ```
//!
//! Lines are direct dependencies (BSS, section 4.1: what the author had delivered last of each member), so nothing is
//! drawn that follows from another line or from a column. A digit instead of a corner says which message up that
//! column it is.

use std::collections::BTreeMap;

use causerie_client::{MemberId, MessageId};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::room::{RoomModel, Row};
use super::text::{cut, fit, one_line};
use crate::wording::{label, show};

/// Columns of the screen for each member.
const LANE: usize = 4;
/// Columns that texts keep.
const TEXT_COLUMNS_MIN: usize = 26;
/// Rows that are looked through for messages, for each line of the screen.
const ROWS_A_LINE: i64 = 20;

/// Cell of the drawing.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Empty,
    /// A member's time.
    Time,
    Link,
    /// A link across another member's time.
    Cross,
    Corner {
        right: bool,
        up: usize,
    },
    Sent,
    Held,
}

impl Cell {
    fn character(self) -> char {
        match self {
            Self::Empty => ' ',
            Self::Time => '│',
            Self::Link => '─',
            Self::Cross => '┼',
            Self::Corner { right: true, up: 1 } => '├',
            Self::Corner { right: false, up: 1 } => '┤',
            Self::Corner { up, .. } => char::from_digit(up as u32, 10).unwrap_or('+'),
            Self::Sent => '●',
            Self::Held => '◌',
        }
    }
}

/// Columns of the members. Those who do not fit share the last one.
struct Lanes {
    of: BTreeMap<MemberId, usize>,
    count: usize,
    shared: usize,
}

impl Lanes {
    fn new(mut members: Vec<MemberId>, most: usize) -> Self {
        members.sort_unstable();
        members.dedup();
        let most = most.max(1);
        let count = members.len().min(most);
        let shared = members.len() - count + usize::from(members.len() > count);
        let of = members
            .into_iter()
            .enumerate()
            .map(|(n, member)| (member, n.min(count.saturating_sub(1))))
            .collect();
        Self { of, count, shared }
    }

    fn middle(lane: usize) -> usize {
        lane * LANE + LANE / 2
    }

    fn empty(&self) -> Vec<Cell> {
        let mut cells = vec![Cell::Empty; self.count * LANE + 1];
        (0..self.count).for_each(|lane| cells[Self::middle(lane)] = Cell::Time);
        cells
    }
}

/// The messages that a screen of so many lines shows: up to the newest, or around the chosen one.
fn window(room: &RoomModel, lines: usize, selected: Option<MessageId>) -> Vec<MessageId> {
    let numbers = room.numbers();
    let message = |number: i64| match room.row(number) {
        Some(Row::Message(id)) => Some(id),
        _ => None,
    };
    let last = match selected.and_then(|id| room.number_of(id)) {
        None => numbers.end,
        // Some of what came later is seen below it.
        Some(number) => (number + 1..numbers.end)
            .filter(|&number| message(number).is_some())
            .nth(lines / 3)
            .map_or(numbers.end, |number| number + 1),
    };
    let first = numbers.start.max(last - ROWS_A_LINE * lines as i64);
    let mut ids: Vec<_> = (first..last).rev().filter_map(message).take(lines).collect();
    ids.reverse();
    ids
}

/// Returns how many messages up a member's column the last one is that was said not later than `dep`.
fn up(drawn: &[MessageId], dep: MessageId) -> Option<usize> {
    let of_member = drawn.iter().rev().filter(|id| id.member == dep.member);
    of_member.enumerate().find(|(_, id)| id.seq <= dep.seq).map(|(n, _)| n + 1)
}

/// The drawing of a line: `deps` are the columns that it is linked with, and how far up.
fn draw(lanes: &Lanes, author: usize, dot: Cell, deps: &[(usize, usize)]) -> Vec<Cell> {
    let mut cells = lanes.empty();
    let here = Lanes::middle(author);
    for &(lane, _) in deps {
        let there = Lanes::middle(lane);
        for cell in &mut cells[here.min(there)..=here.max(there)] {
            *cell = match *cell {
                Cell::Time | Cell::Cross => Cell::Cross,
                _ => Cell::Link,
            };
        }
    }
    for &(lane, up) in deps {
        cells[Lanes::middle(lane)] = Cell::Corner { right: lane < author, up };
    }
    cells[here] = dot;
    cells
}

fn drawing(cells: &[Cell], dot: Style, rest: Style) -> Vec<Span<'static>> {
    let runs =
        cells.chunk_by(|a, b| matches!(a, Cell::Sent | Cell::Held) == matches!(b, Cell::Sent | Cell::Held));
    runs.map(|run| {
        let style = if matches!(run[0], Cell::Sent | Cell::Held) { dot } else { rest };
        Span::styled(run.iter().map(|cell| cell.character()).collect::<String>(), style)
    })
    .collect()
}

/// The diagram in `lines` lines of `columns`, names above. `style` is that of a name.
pub(super) fn lines(
    room: &RoomModel,
    columns: usize,
    lines: usize,
    selected: Option<MessageId>,
    style: impl Fn(&str) -> Style,
) -> Vec<Line<'static>> {
    let dim = Style::new().add_modifier(Modifier::DIM);
    // At most half of the screen is for what waits.
    let held = &room.held[..room.held.len().min(lines / 2)];
    let window = window(room, lines.saturating_sub(1 + held.len()), selected);
    let authors = window.iter().map(|id| id.member).chain(held.iter().map(|held| held.id.member));
    let lanes = Lanes::new(authors.collect(), columns.saturating_sub(TEXT_COLUMNS_MIN) / LANE);
    let mut names: Vec<String> = vec![String::new(); lanes.count];
    for &id in &window {
        if let Some(message) = room.message(id) {
            names[lanes.of[&id.member]].clone_from(&message.author);
        }
    }
    for held in held {
        names[lanes.of[&held.id.member]] = held.author.clone().unwrap_or_default();
    }
    let mut head = vec![Span::raw(" ")];
    for (lane, name) in names.iter().enumerate() {
        let is_shared = lanes.shared > 0 && lane + 1 == lanes.count;
        let text = if is_shared { format!("+{}", lanes.shared) } else { one_line(name) };
        head.push(Span::styled(fit(&cut(&text, LANE - 1), LANE), if is_shared { dim } else { style(name) }));
    }
    let mut out = vec![Line::from(head)];
    let text_columns = columns.saturating_sub(lanes.count * LANE + 2);
    for (index, &id) in window.iter().enumerate() {
        let Some(message) = room.message(id) else { continue };
        let drawn = &window[..index];
        let deps = message.extra.deps.iter().filter(|dep| dep.member != id.member).filter_map(|&dep| {
            let lane = *lanes.of.get(&dep.member)?;
            (lane != lanes.of[&id.member]).then_some((lane, up(drawn, dep)?))
        });
        let deps: Vec<_> = deps.collect();
        let mut spans =
            drawing(&draw(&lanes, lanes.of[&id.member], Cell::Sent, &deps), style(&message.author), dim);
        let text = match room.words(id) {
            Some(text) => format!("{}: {}", one_line(&message.author), one_line(&text)),
            None => format!("{}: (deleted)", one_line(&message.author)),
        };
        let held_for =
            message.extra.held_for.map_or(String::new(), |held| format!(" (held back {})", show(held)));
        spans.push(Span::raw(" "));
        spans.push(Span::raw(cut(&format!("{text}{held_for}"), text_columns)));
        let mut line = Line::from(spans);
        if selected == Some(id) {
            line.style = line.style.add_modifier(Modifier::REVERSED);
            let missing = columns.saturating_sub(line.width());
            line.push_span(Span::raw(" ".repeat(missing)));
        }
        out.push(line);
    }
    for held in held {
        let cells = draw(&lanes, lanes.of[&held.id.member], Cell::Held, &[]);
        let author = held.author.as_deref().unwrap_or_default();
        let mut spans = drawing(&cells, style(author), dim);
        let cause = label(held.waits_for_author.as_deref(), held.waits_for);
        let text =
            format!("{} waits for {cause}, {}", label(held.author.as_deref(), held.id), show(held.held_for));
        spans.push(Span::styled(format!(" {}", cut(&text, text_columns)), dim));
        out.push(Line::from(spans));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use causerie_client::HeldPost;

    use super::super::samples::*;
    use super::*;

    fn plain(room: &RoomModel, columns: usize, height: usize, selected: Option<MessageId>) -> Vec<String> {
        let drawn = lines(room, columns, height, selected, |_| Style::new());
        drawn.iter().map(|line| line.to_string().trim_end().to_owned()).collect()
    }

    /// ```text
    /// Ann#1 ─► Bob#1 ─► Ann#2
    ///     └──► Eve#1 (had not seen Bob's)
    /// ```
    fn talk() -> RoomModel {
        let mut room = welcomed();
        let say = |room: &mut RoomModel, member, seq, position, text: &str, after: Option<MessageId>| {
            room.handle(said(member, seq, text, after), "Ann");
            room.handle(placed(member, seq, position), "Ann");
        };
        say(&mut room, ANN, 1, 1, "who is in?", None);
        say(&mut room, BOB, 1, 2, "I am", Some(id(ANN, 1)));
        say(&mut room, ANN, 2, 3, "good", Some(id(BOB, 1)));
        say(&mut room, EVE, 1, 4, "me too", Some(id(ANN, 1)));
        room
    }

    #[test]
    fn lines_are_direct_dependencies_and_the_newest_is_at_the_bottom() {
        assert_eq!(
            plain(&talk(), 60, 10, None),
            [
                " Ann Bob Eve",
                "  ●   │   │   Ann: who is in?",
                "  ├───●   │   Bob: I am",
                "  ●───┤   │   Ann: good",
                // It had seen the last but one.
                "  2───┼───●   Eve: me too",
            ]
        );
    }

    #[test]
    fn what_is_held_back_is_hollow_and_says_what_it_waits_for() {
        let mut room = talk();
        room.held = vec![HeldPost {
            id: id(EVE, 3),
            author: Some("Eve".into()),
            held_for: Duration::from_secs(2),
            waits_for: id(EVE, 2),
            waits_for_author: Some("Eve".into()),
            root_cause: None,
        }];
        let drawn = plain(&room, 60, 10, None);
        assert_eq!(drawn.last().unwrap(), "  │   │   ◌   Eve#3 waits for Eve#2, 2000 ms");
    }

    #[test]
    fn it_keeps_to_the_screen_and_shows_the_chosen_message() {
        let room = talk();
        let chosen = plain(&room, 60, 3, Some(id(ANN, 1)));
        assert_eq!(chosen, [" Ann Bob", "  ●   │   Ann: who is in?", "  ├───●   Bob: I am"]);
        // Two columns: the last is shared by two.
        assert_eq!(plain(&room, 34, 10, None)[..2], [" Ann +2", "  ●   │   Ann: who is in?"]);
        for (columns, height) in [(0, 0), (1, 1), (5, 2), (26, 3), (200, 50)] {
            let drawn = lines(&room, columns, height, Some(id(EVE, 1)), |_| Style::new());
            assert!(drawn.len() <= height.max(1));
        }
    }
}
