//! The screen, drawn of the model.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::diagram;
use super::editor::Editor;
use super::layout::{Layout, SeenRows, bold, dim, waiting_in_words};
use super::links;
use super::model::{Focus, Model, Overlay};
use super::overlay;
use super::room::{DraftPurpose, LinkState, RoomModel, Row};
use super::text::{cut, fit, one_line, width};

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let layout = Layout::of(model);
    let room = model.room();
    let others = model.rooms.iter().enumerate().filter(|(index, _)| *index != model.current);
    let unread = if layout.rooms.is_some() { 0 } else { others.map(|(_, room)| room.unread).sum() };
    title(room, unread, frame, layout.title);
    if let Some(area) = layout.rooms {
        rooms(&model.rooms, model.current, layout.alert(), frame, area);
    }
    match model.diagram {
        true => draw_diagram(room, &layout, frame),
        false => messages(room, &layout, model.links, frame),
    }
    if let Some(area) = layout.members {
        members(room, &layout, frame, area);
    }
    if let Some(area) = layout.purpose {
        purpose(room, frame, area);
    }
    let has_cursor = model.focus == Focus::Input && model.overlay.is_none();
    input(&room.editor, &layout.prompt, has_cursor, frame, layout.input);
    status(model, layout.alert(), frame, layout.status);
    footer(model, frame, layout.footer);
    if let Some(overlay) = &model.overlay {
        overlay::draw(overlay, frame, layout.messages);
    }
}

fn put(frame: &mut Frame<'_>, area: Rect, line: Line<'static>) {
    frame.render_widget(line, area);
}

/// Draws the title; `unread` is told of other rooms, where no pane lists them.
fn title(room: &RoomModel, unread: usize, frame: &mut Frame<'_>, area: Rect) {
    let topic = room.topic();
    let topic = if topic.is_empty() { String::new() } else { format!(" · {}", one_line(topic)) };
    let right = match unread {
        1.. => format!("{unread} unread elsewhere · {} here ", room.members.len()),
        0 => format!("{} here ", room.members.len()),
    };
    let columns = usize::from(area.width);
    let left = fit(&format!(" {}{topic}", one_line(&room.name)), columns.saturating_sub(width(&right)));
    let line = cut(&format!("{left}{right}"), columns);
    put(frame, area, Line::styled(line, Style::new().add_modifier(Modifier::REVERSED)));
}

fn rooms(rooms: &[RoomModel], current: usize, alert: Style, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width) - 1;
    let lines = rooms.iter().enumerate().map(|(index, room)| {
        let count = match (room.unread, room.mentions) {
            (0, _) => String::new(),
            (unread, 0) => format!(" {unread}"),
            (unread, mentions) => format!(" {unread}@{mentions}"),
        };
        let name = fit(&one_line(&room.name), columns.saturating_sub(width(&count) + 1));
        let style = match () {
            () if index == current => Style::new().add_modifier(Modifier::REVERSED),
            () if room.mentions > 0 => alert,
            () if room.unread > 0 => bold(),
            () => Style::new(),
        };
        Line::from(vec![
            Span::styled(fit(&format!(" {name}{count}"), columns), style),
            Span::styled("│", dim()),
        ])
    });
    let empty =
        std::iter::repeat_with(|| Line::from(vec![Span::raw(" ".repeat(columns)), Span::styled("│", dim())]));
    let lines: Vec<_> = lines.chain(empty).take(area.height.into()).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn members(room: &RoomModel, layout: &Layout, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width).saturating_sub(3);
    let mut names: Vec<_> = room
        .members
        .iter()
        .map(|member| {
            let own = Some(member.member) == room.member;
            let style = match own {
                true => bold(),
                false => layout.name_style(room, &member.name).remove_modifier(Modifier::BOLD),
            };
            Span::styled(cut(&one_line(&member.name), columns), style)
        })
        .collect();
    let lines = usize::from(area.height);
    if names.len() > lines && lines > 0 {
        let more = names.len() + 1 - lines;
        names.truncate(lines - 1);
        names.push(Span::styled(format!("and {more} more"), dim()));
    }
    names.resize(lines, Span::raw(""));
    let lines: Vec<_> =
        names.into_iter().map(|name| Line::from(vec![Span::styled("│ ", dim()), name])).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_diagram(room: &RoomModel, layout: &Layout, frame: &mut Frame<'_>) {
    let area = layout.messages;
    let style = |name: &str| layout.name_style(room, name);
    let lines = diagram::lines(room, area.width.into(), area.height.into(), layout.chosen, style);
    let missing = area.height.saturating_sub(lines.len() as u16);
    let below = Rect { y: area.y + missing, height: area.height - missing, ..area };
    frame.render_widget(Paragraph::new(lines), below);
}

fn messages(room: &RoomModel, layout: &Layout, has_links: bool, frame: &mut Frame<'_>) {
    let area = layout.messages;
    let SeenRows { rows, empty } = layout.seen(room);
    let below = Rect { y: area.y + empty as u16, height: area.height - empty as u16, ..area };
    let mut top = below;
    let mut found = Vec::new();
    for seen in rows.iter().rev().filter(|_| has_links) {
        if let Some(Row::Message(id)) = room.row(seen.row)
            && let Some(text) = room.text(id)
        {
            let lines: Vec<_> = seen.lines.iter().map(ToString::to_string).collect();
            found.extend(links::in_lines(&lines, text).into_iter().map(|link| (link, top)));
        }
        top.y += seen.lines.len() as u16;
        top.height -= seen.lines.len() as u16;
    }
    let mut lines: Vec<_> = rows.into_iter().rev().flat_map(|seen| seen.lines).collect();
    if layout.shows_waiting(room) {
        let waiting = waiting_in_words(&room.held);
        let line = waiting.map_or(String::new(), |waiting| cut(&format!("◌  {waiting}"), area.width.into()));
        lines.push(Line::styled(line, dim()));
    }
    frame.render_widget(Paragraph::new(lines), below);
    for (link, area) in found {
        links::draw(&link, area, frame.buffer_mut());
    }
    if room.loading && area.height > 1 {
        let top = Rect { height: 1, ..area };
        frame.render_widget(Clear, top);
        put(frame, top, Line::styled(fit("reading what was said earlier", area.width.into()), dim()));
    }
}

fn purpose(room: &RoomModel, frame: &mut Frame<'_>, area: Rect) {
    let about = |id| {
        let author = room.message(id).map_or("", |message| message.author.as_str());
        one_line(&format!("{author}: {}", room.text(id).unwrap_or_default()))
    };
    let line = match room.purpose {
        DraftPurpose::Say => return,
        DraftPurpose::Reply(to) => format!("↳ reply to {}", about(to)),
        DraftPurpose::Edit(of) => format!("✎ edit {}", about(of)),
        DraftPurpose::React(to) => format!("+ a symbol for {}", about(to)),
    };
    put(frame, area, Line::styled(cut(&line, area.width.into()), dim()));
}

fn input(editor: &Editor, prompt: &str, has_cursor: bool, frame: &mut Frame<'_>, area: Rect) {
    let indent = width(prompt);
    let (lines, (line, column)) = editor.lines(usize::from(area.width).saturating_sub(indent));
    let height = usize::from(area.height);
    // The cursor's line is seen.
    let first =
        line.saturating_sub(height.saturating_sub(1)).max(lines.len().saturating_sub(height).min(line));
    let shown = lines.into_iter().enumerate().skip(first).take(height).map(|(index, text)| {
        let start =
            if index == 0 { Span::styled(prompt.to_owned(), bold()) } else { Span::raw(" ".repeat(indent)) };
        Line::from(vec![start, Span::raw(text)])
    });
    let shown: Vec<_> = shown.collect();
    frame.render_widget(Paragraph::new(shown), area);
    if has_cursor && area.height > 0 {
        let x = area.x + (indent + column).min(usize::from(area.width).saturating_sub(1)) as u16;
        frame.set_cursor_position((x, area.y + (line - first) as u16));
    }
}

fn status(model: &Model, alert: Style, frame: &mut Frame<'_>, area: Rect) {
    let room = model.room();
    let mut parts = Vec::new();
    if room.unread > 0 {
        parts.push(format!("{} new below", room.unread));
    } else if room.anchor.is_some() {
        parts.push("scrolled back".into());
    }
    if model.shows_clock {
        parts.push(cut(&one_line(&room.clock), usize::from(area.width) / 2));
    }
    if room.on_their_way > 0 {
        parts.push(format!("{} on their way", room.on_their_way));
    }
    if let Some(first) = room.held.first() {
        let whom = first.waits_for_author.as_deref().map_or_else(|| first.waits_for.to_string(), one_line);
        parts.push(format!("{} waiting for {whom}", room.held.len()));
    }
    let (link, style) = match &room.link {
        LinkState::Joining => {
            (format!("joining {} on {}", one_line(&room.name), one_line(&model.server)), dim())
        }
        LinkState::In => (format!("connected to {}", one_line(&model.server)), dim()),
        LinkState::Lost(reason) => (format!("connection lost ({}), trying again", one_line(reason)), alert),
        LinkState::Over(reason) => (format!("not in the room: {}", one_line(reason)), alert),
    };
    let right = if parts.is_empty() { String::new() } else { format!(" {} ", parts.join(" · ")) };
    let (left, style) = match &model.hint {
        Some(hint) => (one_line(hint), bold()),
        None => (link, style),
    };
    let columns = usize::from(area.width);
    let right = cut(&right, columns);
    let left = fit(&left, columns - width(&right));
    put(frame, area, Line::from(vec![Span::styled(left, style), Span::styled(right, bold())]));
}

fn footer(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let keys = match (&model.overlay, model.focus) {
        (Some(Overlay::Help(_) | Overlay::Causality(..)), _) => "Up Down scroll  any other key goes back",
        (Some(Overlay::Delete(_)), _) => "y deletes it  n keeps it",
        (Some(Overlay::Paste(_)), _) => "y puts it into the input  n drops it",
        (None, Focus::Messages) => {
            "r reply  e edit  d delete  + react  Enter parent  y copy  c causes  Esc back"
        }
        (None, Focus::Input) if model.room().purpose != DraftPurpose::Say => "Enter says it  Esc drops it",
        (None, Focus::Input) if model.rooms.len() > 1 => {
            "F1 help  Esc messages  PgUp earlier  Tab complete  Ctrl-N room  Ctrl-C quit"
        }
        (None, Focus::Input) => "F1 help  Esc messages  PgUp earlier  Tab complete  Ctrl-C quit",
    };
    put(frame, area, Line::styled(cut(keys, area.width.into()), dim()));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use causerie_client::{Body, Event as RoomEvent, HeldPost, MessageId};
    use crossterm::event::KeyCode;
    use jiff::tz::TimeZone;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::style::Color;

    use super::super::model::{Facts, ScreenEvent};
    use super::super::room::RoomModel;
    use super::super::samples::*;
    use super::super::text::tests::HARD;
    use super::super::theme::MONO;
    use super::super::update::update;
    use super::*;
    use crate::config::chat::Theme;

    fn model(size: (u16, u16)) -> Model {
        let mut model = Model::new("example.org:12343", "Ann", "lobby", TimeZone::UTC);
        model.size = size;
        tell(&mut model, welcome());
        model
    }

    #[test]
    fn people_have_different_colors_while_there_are_any() {
        let mut model = model((80, 24));
        model.palette = super::super::theme::palette(Some(Theme::Dark));
        let count = model.palette.names.len();
        for n in 0..count {
            let mut event = said(BOB, n as u64 + 1, "x", None);
            if let RoomEvent::Delivered(post) = &mut event {
                post.author = format!("person {n}");
            }
            tell(&mut model, event);
        }
        let layout = Layout::of(&model);
        let style = |n| layout.name_style(model.room(), &format!("person {n}"));
        let spoken: Vec<_> = (0..count).map(|n| style(n).fg).collect();
        assert!(spoken.iter().enumerate().all(|(n, color)| !spoken[..n].contains(color)), "{spoken:?}");
    }

    fn tell(model: &mut Model, event: RoomEvent) {
        update(model, ScreenEvent::Room { room: "lobby".into(), event });
    }

    fn screen(model: &Model) -> Vec<String> {
        let (columns, lines) = model.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).expect("memory");
        terminal.draw(|frame| draw(model, frame)).expect("memory");
        let buffer = terminal.backend().buffer().clone();
        let mut out = Vec::new();
        for y in 0..lines {
            let (mut line, mut skip) = (String::new(), 0);
            for x in 0..columns {
                let symbol = buffer[(x, y)].symbol();
                // What is wide hides the cell behind it.
                if skip == 0 {
                    line.push_str(symbol);
                    skip = width(symbol).saturating_sub(1);
                } else {
                    skip -= 1;
                }
            }
            out.push(line.trim_end().to_owned());
        }
        out
    }

    fn talk(model: &mut Model) {
        tell(model, said(BOB, 1, "shall we have lunch?", None));
        tell(model, placed(BOB, 1, 1));
        tell(model, said(ANN, 1, "yes, where?", Some(id(BOB, 1))));
        tell(model, placed(ANN, 1, 2));
        let reply = Body::Reply { to: id(BOB, 1), text: "the usual place, Ann, at half past twelve".into() };
        tell(model, change(EVE, 1, reply));
        tell(model, placed(EVE, 1, 3));
        tell(model, change(BOB, 2, Body::Reaction { to: id(EVE, 1), symbol: "👍".into(), set: true }));
        tell(
            model,
            RoomEvent::Left { member: EVE, name: "Eve".into(), reason: "timed out".into(), history: false },
        );
        tell(model, said(ANN, 2, "fine", Some(id(EVE, 1))));
    }

    #[test]
    fn a_room_at_80_columns() {
        let mut model = model((80, 14));
        talk(&mut model);
        model.rooms[0].editor.insert("I am wri");
        let expected = [
            " lobby                                                                   3 here",
            "                                                                 │ Ann",
            "                                                                 │ Bob",
            "── Saturday, 31 January 2026 ────────────────────────────────────│ Eve",
            "   09:31 Bob: shall we have lunch?                               │",
            "✓  09:32 Ann: yes, where?                                        │",
            "         ╭ Bob: shall we have lunch?                             │",
            "   09:33∥Eve: the usual place, Ann, at half past twelve          │",
            "         👍 1                                                    │",
            "* Eve left (timed out)                                           │",
            "…        Ann: fine                                               │",
            "Ann> I am wri",
            "connected to example.org:12343",
            "F1 help  Esc messages  PgUp earlier  Tab complete  Ctrl-C quit",
        ];
        assert_eq!(screen(&model), expected);
        assert!(is_documented(&expected));
    }

    /// Returns whether the document for users shows these lines.
    fn is_documented(lines: &[&str]) -> bool {
        include_str!("../../../../docs/using.md").contains(&format!("```text\n{}\n```", lines.join("\n")))
    }

    fn hold(model: &mut Model, held: &[(MessageId, &str, u64)]) {
        let held = held.iter().map(|&(id, whose, seconds)| HeldPost {
            id,
            author: Some("Eve".into()),
            held_for: Duration::from_secs(seconds),
            waits_for: MessageId::new(BOB, 7),
            waits_for_author: Some(whose.into()),
            root_cause: None,
        });
        let facts = Facts {
            member: None,
            members: None,
            held: held.collect(),
            on_their_way: 0,
            clock: String::new(),
        };
        update(model, ScreenEvent::Facts { room: "lobby".into(), facts });
    }

    #[test]
    fn what_is_held_back_is_one_line_and_becomes_the_message() {
        let mut model = model((54, 9));
        for n in 1..=9 {
            tell(&mut model, said(BOB, n, &format!("message {n}"), None));
            tell(&mut model, placed(BOB, n, n));
        }
        let messages = |model: &Model| screen(model)[1..6].to_vec();
        let nine = [
            "   09:35 Bob: message 5",
            "   09:36 Bob: message 6",
            "   09:37 Bob: message 7",
            "   09:38 Bob: message 8",
            "   09:39 Bob: message 9",
        ];
        assert_eq!(messages(&model), nine);
        hold(&mut model, &[(id(EVE, 1), "Bob", 3)]);
        let with = |line: &'static str| [&nine[1..], &[line]].concat();
        assert_eq!(messages(&model), with("◌  1 waiting for Bob, 3 s"));
        hold(&mut model, &[(id(EVE, 1), "Bob", 4), (id(EVE, 2), "Bob", 0), (id(ANN, 9), "Zoe", 1)]);
        assert_eq!(messages(&model), with("◌  3 waiting for Bob, Zoe, 4 s"));
        hold(&mut model, &[(id(EVE, 1), "Bob", 4)]);

        // What comes meanwhile stands above it, also once it has its place.
        tell(&mut model, said(BOB, 10, "ten", None));
        let ten = [&nine[2..], &["         Bob: ten", "◌  1 waiting for Bob, 4 s"]].concat();
        assert_eq!(messages(&model), ten);
        tell(&mut model, placed(BOB, 10, 10));
        assert_eq!(messages(&model)[3..], ["   09:40 Bob: ten", ten[4]]);

        // The session has let it go, and its message comes a moment later: nothing moves.
        hold(&mut model, &[]);
        assert_eq!(messages(&model)[3..], ["   09:40 Bob: ten", ""]);
        tell(&mut model, said(EVE, 1, "an answer", None));
        let resolved = [&nine[2..], &["   09:40 Bob: ten", "         Eve: an answer"]].concat();
        assert_eq!(messages(&model), resolved);
        tell(&mut model, placed(EVE, 1, 11));
        assert_eq!(messages(&model)[4], "   09:41∥Eve: an answer");

        // Or the message comes first.
        hold(&mut model, &[(id(EVE, 2), "Bob", 0)]);
        assert_eq!(messages(&model)[4], "◌  1 waiting for Bob, under 1 s");
        tell(&mut model, said(EVE, 2, "another", None));
        assert_eq!(messages(&model)[3..], ["   09:41∥Eve: an answer", "         Eve: another"]);
        hold(&mut model, &[]);
        assert_eq!(messages(&model)[4], "         Eve: another");

        // What changes a message has no row: the line is empty until there is one, and who reads further up sees none.
        hold(&mut model, &[(id(EVE, 3), "Bob", 1)]);
        tell(&mut model, change(EVE, 3, Body::Delete { of: id(EVE, 2), reason: String::new() }));
        assert_eq!(messages(&model)[3..], ["         Eve: (deleted)", ""]);
        tell(&mut model, said(ANN, 1, "mine", None));
        assert_eq!(messages(&model)[3..], ["         Eve: (deleted)", "…        Ann: mine"]);
        hold(&mut model, &[(id(EVE, 4), "Bob", 1)]);
        update(&mut model, ScreenEvent::Key(KeyCode::PageUp.into()));
        assert!(!messages(&model).concat().contains('◌'));
        assert_eq!(screen(&model)[7], "connected to examp… scrolled back · 1 waiting for Bob");
    }

    #[test]
    fn the_room_as_a_diagram_and_what_a_message_depends_on() {
        let mut model = model((80, 14));
        talk(&mut model);
        let key =
            |model: &mut Model, code| update(model, ScreenEvent::Key(crossterm::event::KeyEvent::from(code)));
        use crossterm::event::KeyCode;
        key(&mut model, KeyCode::F(4));
        let drawn = [
            "                                                                 │",
            " Ann Bob Eve                                                     │",
            "  │   ●   │   Bob: shall we have lunch?                          │",
            "  ●───┤   │   Ann: yes, where?                                   │",
            "  │   ├───●   Eve: the usual place, Ann, at half past twelve     │",
            "  ●───┼───┤   Ann: fine                                          │",
        ];
        assert_eq!(screen(&model)[5..11], drawn);
        assert!(is_documented(&drawn[1..]));
        // The chosen one is the same in the list.
        key(&mut model, KeyCode::Esc);
        key(&mut model, KeyCode::Up);
        key(&mut model, KeyCode::F(4));
        assert_eq!(model.room().selected, Some(id(EVE, 1)));

        key(&mut model, KeyCode::Char('v'));
        key(&mut model, KeyCode::Up);
        let effects = key(&mut model, KeyCode::Char('c'));
        let [super::super::model::Effect::Around { id: asked, other, .. }] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!((*asked, *other), (id(ANN, 1), Some(id(EVE, 1))));
        let text = |member, seq, deps: &[MessageId]| causerie_client::HistoryRecord {
            deps: deps.to_vec(),
            ..record(member, seq, Body::Text("x".into()))
        };
        let records = vec![text(BOB, 1, &[]), text(ANN, 1, &[id(BOB, 1)]), text(EVE, 1, &[id(BOB, 1)])];
        update(
            &mut model,
            ScreenEvent::Around { id: id(ANN, 1), other: Some(id(EVE, 1)), page: Ok(page(1, records)) },
        );
        let shown = screen(&model);
        assert_eq!(shown[1], "Ann#1: x                                                         │ Ann");
        let said = "Ann#1 and Eve#1 are concurrent: neither author had seen the other's.";
        assert!(shown[4..6].concat().replace("│ Bob", "").starts_with(&said[..40]), "{shown:#?}");
        key(&mut model, KeyCode::Down);
        key(&mut model, KeyCode::Esc);
        assert!(model.overlay.is_none());
    }

    #[test]
    fn a_narrow_screen_keeps_messages_and_input() {
        let mut model = model((30, 10));
        talk(&mut model);
        let expected = [
            " lobby                 3 here",
            "   ╭ Bob: shall we have lunch?",
            "  ∥Eve: the usual place, Ann,",
            "   at half past twelve",
            "   👍 1",
            "* Eve left (timed out)",
            "…  Ann: fine",
            ">",
            "connected to example.org:12343",
            "F1 help  Esc messages  PgUp e…",
        ];
        assert_eq!(screen(&model), expected);
    }

    #[test]
    fn no_text_moves_what_stands_beside_it() {
        let mut model = model((80, 40));
        for (n, text) in (1..).zip(HARD) {
            tell(&mut model, said(BOB, n, text, None));
            tell(&mut model, placed(BOB, n, n));
        }
        tell(&mut model, change(EVE, 1, Body::Topic(HARD.join(" "))));
        model.rooms[0].editor.insert(&HARD.join(" "));
        for line in screen(&model).iter().skip(1).take(20) {
            let at = line.find('│').map(|at| width(&line[..at]));
            assert_eq!(at, Some(65), "{line}");
        }
        // Nothing is too small, nor of a strange size.
        for size in [(1, 1), (2, 3), (5, 5), (11, 4), (40, 6), (55, 9), (71, 8), (200, 60), (0, 0)] {
            model.size = size;
            screen(&model);
        }
    }

    #[test]
    fn names_topics_and_reasons_are_as_harmless_as_texts() {
        for hard in HARD {
            let mut model = Model::new(hard, hard, hard, TimeZone::UTC);
            model.size = (80, 24);
            let mut tell = |event| drop(update(&mut model, ScreenEvent::Room { room: hard.into(), event }));
            tell(welcome());
            let reason = hard.to_owned();
            tell(RoomEvent::Joined { member: BOB, name: hard.into(), history: false });
            tell(RoomEvent::Left { member: BOB, name: hard.into(), reason: reason.clone(), history: false });
            let mut event = said(BOB, 1, hard, None);
            if let RoomEvent::Delivered(post) = &mut event {
                post.author = hard.into();
            }
            tell(event);
            tell(change(EVE, 1, Body::Reply { to: id(BOB, 1), text: hard.into() }));
            tell(change(EVE, 2, Body::Reaction { to: id(BOB, 1), symbol: hard.into(), set: true }));
            tell(change(EVE, 3, Body::Topic(hard.into())));
            tell(change(EVE, 4, Body::Action(hard.into())));
            update(&mut model, ScreenEvent::Rooms(vec![(hard.into(), 1)]));
            model.rooms.push(RoomModel::new(hard));
            let room = &mut model.rooms[0];
            room.members.iter_mut().for_each(|member| member.name = hard.into());
            room.purpose = DraftPurpose::Reply(id(BOB, 1));
            (model.shows_clock, model.rooms[0].clock) = (true, format!("{hard} 1"));
            model.hint = Some(format!("not said: {hard}"));
            check(&model, hard);
            model.hint = None;
            for link in [
                LinkState::Joining,
                LinkState::In,
                LinkState::Lost(reason.clone()),
                LinkState::Over(reason.clone()),
            ] {
                model.rooms[0].link = link;
                check(&model, hard);
            }
            model.overlay = Some(Overlay::Paste(hard.repeat(3)));
            check(&model, hard);
        }

        fn check(model: &Model, hard: &str) {
            let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("memory");
            terminal.draw(|frame| draw(model, frame)).expect("memory");
            for cell in &terminal.backend().buffer().content {
                let symbol = cell.symbol();
                assert_eq!(causerie_core::content::text::visible(symbol), symbol, "{hard:?}");
                assert!(width(symbol) > 0, "{hard:?}: {symbol:?}");
            }
            if model.overlay.is_none() {
                for line in &screen(model)[1..18] {
                    let bars: Vec<_> = line.match_indices('│').map(|(at, _)| width(&line[..at])).collect();
                    assert_eq!(bars, [15, 65], "{hard:?}: {line}");
                }
            }
        }
    }

    #[test]
    fn addresses_are_links_and_leave_no_trace_when_they_go() {
        let mut model = model((40, 10));
        model.links = true;
        let text = "see https://example.org/a/way/that/is/long and\x1b]8;;http://evil.org/\x1b\\";
        tell(&mut model, said(BOB, 1, text, None));
        let mut drawn = Terminal::new(TestBackend::new(40, 10)).expect("memory");
        drawn.draw(|frame| draw(&model, frame)).expect("memory");
        let symbols: Vec<_> = drawn.backend().buffer().content.iter().map(|cell| cell.symbol()).collect();
        let opened: Vec<_> = symbols.iter().filter(|symbol| symbol.contains('\x1b')).copied().collect();
        let address = "https://example.org/a/way/that/is/long";
        let parts: Vec<_> =
            opened.iter().filter_map(|s| s.strip_prefix(&format!("\x1b]8;;{address}\x1b\\"))).collect();
        let parts: String = parts.iter().filter_map(|s| s.strip_suffix("\x1b]8;;\x1b\\")).collect();
        assert_eq!(parts, address, "{opened:?}");
        assert!(opened.iter().all(|symbol| symbol.matches('\x1b').count() == 4), "{opened:?}");
        // What is written over a link hides all of it.
        model.rooms[0].loading = true;
        model.size = (40, 7);
        let mut small = Terminal::new(TestBackend::new(40, 7)).expect("memory");
        small.draw(|frame| draw(&model, frame)).expect("memory");
        let shown: String = small.backend().buffer().content.iter().map(|cell| cell.symbol()).collect();
        assert!(shown.contains("reading what was said earlier"), "{shown:?}");
        (model.rooms[0].loading, model.size) = (false, (40, 10));
        // The same cells without links: all that was one is drawn anew.
        model.links = false;
        drawn.draw(|frame| draw(&model, frame)).expect("memory");
        let again = drawn.backend().buffer().clone();
        let mut fresh = Terminal::new(TestBackend::new(40, 10)).expect("memory");
        fresh.draw(|frame| draw(&model, frame)).expect("memory");
        assert_eq!(&again, fresh.backend().buffer());
    }

    #[test]
    fn without_colors_there_are_none() {
        let mut model = model((80, 24));
        model.palette = MONO;
        talk(&mut model);
        model.rooms.push(RoomModel::new("ops"));
        model.rooms[1].mentions = 1;
        model.rooms[0].unread_from = Some(1);
        model.rooms[0].link = LinkState::Lost("gone".into());
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("memory");
        terminal.draw(|frame| draw(&model, frame)).expect("memory");
        assert!(
            terminal
                .backend()
                .buffer()
                .content
                .iter()
                .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
        );
    }
}
