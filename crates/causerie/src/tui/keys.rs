//! Keys: over the messages, in the input, at a message.

use causerie_client::MessageId;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::command;
use super::deletion;
use super::editor::CaretMove;
use super::enter::enter;
use super::layout::Layout;
use super::model::{Completing, Effect, Focus, Model, Overlay};
use super::room::{DraftPurpose, Row, ShownMessage};
use super::rooms::{quit, show_room};
use super::scroll::{scroll, select, show_above, to_end};
use super::search::find;

/// Records that are read before and behind a message to tell what it depends on.
const AROUND: u64 = 100;

/// Records that are read around two messages at most.
const AROUND_MAX: u64 = 500;

/// Lines that the help scrolls at most.
const HELP_LINES_MAX: usize = 60;

pub(super) fn on_key(model: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    let (control, alt) =
        (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
    if let Some(overlay) = model.overlay.take() {
        return on_overlay_key(model, overlay, key, effects);
    }
    let layout = Layout::of(model);
    let page = layout.message_lines().saturating_sub(1).max(1) as isize;
    if key.code != KeyCode::Tab {
        model.completing = None;
    }
    match key.code {
        KeyCode::Char('c') if control => return quit(model, effects),
        KeyCode::Char('z') if control => return effects.push(Effect::Suspend),
        KeyCode::Char('l') if control => return effects.push(Effect::Redraw),
        KeyCode::Char('n') if control => return show_room(model, (model.current + 1) % model.rooms.len()),
        KeyCode::Char('p') if control => {
            return show_room(model, (model.current + model.rooms.len() - 1) % model.rooms.len());
        }
        KeyCode::Char(digit @ '1'..='9') if alt => {
            let index = digit as usize - '1' as usize;
            if index < model.rooms.len() {
                show_room(model, index);
            }
            return;
        }
        KeyCode::Char('u') if alt => return to_unread(model, &layout),
        KeyCode::F(1) => return model.overlay = Some(Overlay::Help(0)),
        KeyCode::F(2) => return model.rooms_pane = Some(layout.rooms.is_none()),
        KeyCode::F(3) => return model.members_pane = !model.members_pane,
        KeyCode::F(4) => return model.diagram = !model.diagram,
        KeyCode::PageUp if model.diagram => return choose_further(model, &layout, page),
        KeyCode::PageDown if model.diagram => return choose_further(model, &layout, -page),
        KeyCode::PageUp => return scroll(model.room_mut(), &layout, page),
        KeyCode::PageDown => return scroll(model.room_mut(), &layout, -page),
        _ => {}
    }
    match model.focus {
        Focus::Input => on_input_key(model, &layout, key, effects),
        Focus::Messages => on_messages_key(model, &layout, key, effects),
    }
}

fn on_overlay_key(model: &mut Model, overlay: Overlay, key: KeyEvent, effects: &mut Vec<Effect>) {
    match (overlay, key.code) {
        (_, KeyCode::Char('c')) if key.modifiers.contains(KeyModifiers::CONTROL) => quit(model, effects),
        (Overlay::Paste(text), KeyCode::Char('y' | 'Y') | KeyCode::Enter) => {
            model.focus = Focus::Input;
            model.room_mut().editor.insert(&text);
        }
        (Overlay::Paste(_), KeyCode::Char('n' | 'N') | KeyCode::Esc) => {}
        // It is not lost by another key.
        (paste @ Overlay::Paste(_), _) => model.overlay = Some(paste),
        (Overlay::Delete(of), KeyCode::Char('y' | 'Y') | KeyCode::Enter) => {
            deletion::confirm(model, of, effects);
        }
        (Overlay::Delete(_), KeyCode::Char('n' | 'N') | KeyCode::Esc) => {}
        // Somebody writes a word that begins as the command does.
        (Overlay::Delete(_), KeyCode::Char(c)) if is_written(key) => write_on(model, &format!("d{c}")),
        (Overlay::Delete(_), _) => {}
        (Overlay::Help(at), KeyCode::Down | KeyCode::PageDown) => {
            model.overlay = Some(Overlay::Help((at + 5).min(HELP_LINES_MAX)));
        }
        (Overlay::Help(at), KeyCode::Up | KeyCode::PageUp) => {
            model.overlay = Some(Overlay::Help(at.saturating_sub(5)));
        }
        (
            Overlay::Causality(lines, at),
            code @ (KeyCode::Down | KeyCode::PageDown | KeyCode::Up | KeyCode::PageUp),
        ) => {
            let up = matches!(code, KeyCode::Up | KeyCode::PageUp);
            let at = if up { at.saturating_sub(5) } else { (at + 5).min(lines.len().saturating_sub(5)) };
            model.overlay = Some(Overlay::Causality(lines, at));
        }
        (Overlay::Help(_) | Overlay::Causality(..), _) => {}
    }
}

/// Chooses a message so many further up, in the diagram.
fn choose_further(model: &mut Model, layout: &Layout, up: isize) {
    for _ in 0..up.unsigned_abs() {
        let room = model.room();
        let Some(next) = room.message_beside(room.selected, up < 0) else { break };
        model.focus = Focus::Messages;
        select(model.room_mut(), layout, next);
    }
}

/// Asks for what is needed to tell what a message depends on, and how it stands to the one that was marked.
fn explain(model: &mut Model, id: MessageId, effects: &mut Vec<Effect>) {
    let room = model.room();
    let Some(position) = room.message(id).and_then(ShownMessage::position) else {
        return model.hint = Some("it has no place in the room's order yet".into());
    };
    let other = room.marked.filter(|&other| other != id);
    let place_of_other = other.and_then(|other| room.message(other)?.position());
    let (first, last) =
        (position.min(place_of_other.unwrap_or(position)), position.max(place_of_other.unwrap_or(position)));
    let (from, to) = (first.saturating_sub(AROUND), last + AROUND);
    let limit = (to - from + 1).min(AROUND_MAX);
    let (room, epoch) = (room.name.clone(), room.epoch);
    effects.push(Effect::Around { room, epoch, before: to + 1, limit, id, other });
    model.hint = Some("reading what was said around it".into());
}

fn to_unread(model: &mut Model, layout: &Layout) {
    match model.room().unread_from {
        Some(row) => {
            show_above(model.room_mut(), layout, row, layout.message_lines().saturating_sub(2));
        }
        None => model.hint = Some("all has been read".into()),
    }
}

fn on_input_key(model: &mut Model, layout: &Layout, key: KeyEvent, effects: &mut Vec<Effect>) {
    let (control, alt) =
        (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    let has_purpose = model.room().purpose != DraftPurpose::Say;
    let editor = &mut model.rooms[model.current].editor;
    match key.code {
        KeyCode::Enter if alt || shift => editor.insert("\n"),
        KeyCode::Char('j') if control => editor.insert("\n"),
        KeyCode::Enter => enter(model, effects),
        KeyCode::Tab => complete(model, effects),
        KeyCode::Esc if model.search.take().is_some() => {}
        KeyCode::Esc if has_purpose => {
            let room = model.room_mut();
            room.purpose = DraftPurpose::Say;
            room.editor.set("");
        }
        KeyCode::Esc => {
            let last = model.room().message_beside(None, false);
            match last {
                Some(last) => {
                    model.focus = Focus::Messages;
                    let room = model.room_mut();
                    select(room, layout, layout.last_message_seen(room).unwrap_or(last));
                }
                None => model.hint = Some("there is no message to choose".into()),
            }
        }
        KeyCode::Char('d') if control && editor.is_empty() => quit(model, effects),
        KeyCode::Char('f') if control => editor.set("/search "),
        KeyCode::Char('a') if control => editor.go(CaretMove::LineStart),
        KeyCode::Char('e') if control => editor.go(CaretMove::LineEnd),
        KeyCode::Char('k') if control => editor.remove(CaretMove::LineEnd),
        KeyCode::Char('u') if control => editor.remove(CaretMove::LineStart),
        KeyCode::Char('w') if control => editor.remove(CaretMove::WordLeft),
        KeyCode::Char('y') if control => editor.yank(),
        // Terminals send one or the other for Ctrl-_.
        KeyCode::Char('_' | '7') if control => editor.undo(),
        KeyCode::Char('r') if control => editor.redo(),
        KeyCode::Char('d') if control => editor.remove(CaretMove::Right),
        KeyCode::Char('b') if alt => editor.go(CaretMove::WordLeft),
        KeyCode::Char('f') if alt => editor.go(CaretMove::WordRight),
        KeyCode::Backspace if alt || control => editor.remove(CaretMove::WordLeft),
        KeyCode::Backspace => editor.remove(CaretMove::Left),
        KeyCode::Delete => editor.remove(CaretMove::Right),
        KeyCode::Left if control || alt => editor.go(CaretMove::WordLeft),
        KeyCode::Right if control || alt => editor.go(CaretMove::WordRight),
        KeyCode::Left => editor.go(CaretMove::Left),
        KeyCode::Right => editor.go(CaretMove::Right),
        KeyCode::Home => editor.go(CaretMove::LineStart),
        KeyCode::End if editor.is_empty() => to_end(model.room_mut()),
        KeyCode::End => editor.go(CaretMove::LineEnd),
        KeyCode::Up => editor.up(),
        KeyCode::Down => editor.down(),
        KeyCode::Char(c) if !control && !alt => editor.insert(c.encode_utf8(&mut [0; 4])),
        _ => {}
    }
}

fn on_messages_key(model: &mut Model, layout: &Layout, key: KeyEvent, effects: &mut Vec<Effect>) {
    let room = &model.rooms[model.current];
    let Some(id) = room.selected.filter(|&id| room.message(id).is_some()) else {
        model.focus = Focus::Input;
        return;
    };
    let own = Some(id.member) == room.member;
    match key.code {
        KeyCode::Esc | KeyCode::Char('i') => {
            model.search = None;
            model.focus = Focus::Input;
            to_end(model.room_mut());
        }
        KeyCode::Up | KeyCode::Char('k') => select_beside(model, layout, Some(id), false),
        KeyCode::Down | KeyCode::Char('j') => select_beside(model, layout, Some(id), true),
        KeyCode::End | KeyCode::Char('G') => select_beside(model, layout, None, false),
        KeyCode::Char('u') => {
            let taken_back = deletion::take_back(model);
            if !taken_back {
                to_unread(model, layout);
            }
        }
        KeyCode::Char('n') => {
            model.searched = 0..0;
            find(model, layout, effects);
        }
        KeyCode::Enter | KeyCode::Char('p') => match room.quote(id).map(|quote| quote.id) {
            Some(parent) if room.number_of(parent).is_some() => select(model.room_mut(), layout, parent),
            Some(_) => model.hint = Some("what it answers is further back".into()),
            None => model.hint = Some("it answers nothing".into()),
        },
        KeyCode::Char('m') => {
            let numbers = room.numbers().start..room.number_of(id).unwrap_or(0);
            let mention = |number| match room.row(number) {
                Some(Row::Message(id)) if room.message(id)?.extra.mention => Some(id),
                _ => None,
            };
            match numbers.rev().find_map(mention) {
                Some(id) => select(model.room_mut(), layout, id),
                None => model.hint = Some("nobody called you before that, as far as was read".into()),
            }
        }
        KeyCode::Char('r') => write_about(model, DraftPurpose::Reply(id), ""),
        KeyCode::Char('+') => write_about(model, DraftPurpose::React(id), ""),
        KeyCode::Char('e') | KeyCode::Char('d') | KeyCode::Delete if !own => {
            model.hint = Some("that is somebody else's message".into());
        }
        KeyCode::Char('e') => {
            let text = room.text(id).unwrap_or_default().to_owned();
            write_about(model, DraftPurpose::Edit(id), &text);
        }
        KeyCode::Char('d') | KeyCode::Delete => deletion::ask(model, id),
        KeyCode::Char('c') => explain(model, id, effects),
        KeyCode::Char('t') => model.diagram = !model.diagram,
        KeyCode::Char('v') => {
            let marked = (room.marked != Some(id)).then_some(id);
            model.room_mut().marked = marked;
            model.hint = Some(match marked {
                Some(_) => "marked: c at another message tells how the two stand to each other".into(),
                None => "no longer marked".into(),
            });
        }
        KeyCode::Char('y') => {
            effects.push(Effect::Copy(room.text(id).unwrap_or_default().into()));
            model.hint = Some("copied, if the terminal allows it".into());
        }
        // No command: it is the first letter of what is to be said.
        KeyCode::Char(c) if is_written(key) => write_on(model, c.encode_utf8(&mut [0; 4])),
        _ => {}
    }
}

/// Chooses the message before or behind that one, if there is one.
fn select_beside(model: &mut Model, layout: &Layout, of: Option<MessageId>, behind: bool) {
    if let Some(id) = model.room().message_beside(of, behind) {
        select(model.room_mut(), layout, id);
    }
}

/// Returns whether a key writes its character.
fn is_written(key: KeyEvent) -> bool {
    !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
}

/// Goes back to the input with what was typed.
fn write_on(model: &mut Model, typed: &str) {
    model.search = None;
    model.focus = Focus::Input;
    to_end(model.room_mut());
    model.room_mut().editor.insert(typed);
}

/// Begins to write about a message; what was being written stays in the history of the input.
fn write_about(model: &mut Model, purpose: DraftPurpose, text: &str) {
    model.focus = Focus::Input;
    let room = model.room_mut();
    if matches!(purpose, DraftPurpose::Edit(_) | DraftPurpose::React(_)) && !room.editor.is_empty() {
        room.editor.take();
    }
    if !text.is_empty() {
        room.editor.set(text);
    }
    room.purpose = purpose;
    (room.selected, room.anchor) = (None, None);
}

fn complete(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.completing.is_none() {
        let room = &model.rooms[model.current];
        let (start, choices) = command::completions(room.editor.before_cursor(), room, &model.known_rooms);
        if room.editor.before_cursor().trim_start_matches('.').starts_with("/join")
            && model.known_rooms.is_empty()
        {
            effects.push(Effect::ListRooms);
        }
        model.completing = Some(Completing { start, choices, next: 0 });
    }
    let Some(completing) = &mut model.completing else { return };
    if let Some(choice) = completing.choices.get(completing.next).cloned() {
        completing.next = (completing.next + 1) % completing.choices.len();
        let others: Vec<_> = completing.choices.iter().map(|choice| choice.trim_end()).collect();
        if others.len() > 1 {
            model.hint = Some(others.join("  "));
        }
        let start = completing.start;
        model.rooms[model.current].editor.complete(start, &choice);
    }
}
