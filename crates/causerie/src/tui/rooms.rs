//! Rooms: joined, shown, left.

use super::deletion;
use super::model::{Effect, Focus, Model};
use super::room::{LinkState, RoomModel};
use super::scroll;

pub(super) fn ends_if_all_left(model: &Model, effects: &mut Vec<Effect>) {
    if model.leaving && model.rooms.iter().all(|room| matches!(room.link, LinkState::Over(_))) {
        effects.push(Effect::Quit);
    }
}

/// Leaves all rooms; the second time it ends at once.
pub(super) fn quit(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.leaving {
        effects.push(Effect::Quit);
        return;
    }
    model.leaving = true;
    model.hint = Some("leaving; once more ends at once, and keeps what is on its way".into());
    for room in model.rooms.iter_mut().filter(|room| !matches!(room.link, LinkState::Over(_))) {
        leave(room, effects);
    }
    ends_if_all_left(model, effects);
}

/// Leaves a room, once what was confirmed is said.
pub(super) fn leave(room: &mut RoomModel, effects: &mut Vec<Effect>) {
    deletion::say_all(room, effects);
    effects.push(Effect::Leave(room.name.clone()));
}

pub(super) fn join(model: &mut Model, name: &str, effects: &mut Vec<Effect>) {
    match model.named(name) {
        Some((index, room)) => {
            let again = matches!(room.link, LinkState::Over(_));
            if again {
                room.link = LinkState::Joining;
                effects.push(Effect::Join(name.into()));
            }
            show_room(model, index);
        }
        None => {
            model.rooms.push(RoomModel::new(name));
            effects.push(Effect::Join(name.into()));
            show_room(model, model.rooms.len() - 1);
        }
    }
}

pub(super) fn show_room(model: &mut Model, index: usize) {
    if index != model.current {
        model.room_mut().unread_from = None;
        model.room_mut().selected = None;
    }
    model.current = index;
    model.focus = Focus::Input;
    scroll::follow(model.room_mut());
}
