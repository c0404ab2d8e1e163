//! Search: the message before with a text, read back page by page.

use causerie_client::MessageId;

use super::layout::Layout;
use super::model::{Effect, Focus, Model};
use super::room::{LinkState, Row};
use super::scroll;
use super::text::one_line;

/// Hint in a room that has as many rows as are read back at most.
pub(super) const TOO_FAR: &str = "what is earlier is not read: a million lines are here already";

/// The next message before the selected one with the text that is looked for.
pub(super) fn find(model: &mut Model, layout: &Layout, effects: &mut Vec<Effect>) {
    let Some(wanted) = model.search.clone() else { return };
    let low = wanted.to_lowercase();
    let room = model.room();
    let mut at = room.selected;
    if at.is_none() {
        at = room.message_beside(None, false);
        if at.and_then(|id| room.text(id)).is_some_and(|text| text.to_lowercase().contains(&low)) {
            return found(model, layout, at);
        }
    }
    let start = at.and_then(|id| room.number_of(id)).unwrap_or(room.numbers().end);
    let is_it = |number: i64| match room.row(number) {
        Some(Row::Message(id)) if room.text(id)?.to_lowercase().contains(&low) => Some(id),
        _ => None,
    };
    let searched = model.searched.clone();
    let mut rows = (room.numbers().start..start).rev().filter(|number| !searched.contains(number));
    match rows.find_map(is_it) {
        Some(id) => found(model, layout, Some(id)),
        None => match room.older {
            None => {
                model.search = None;
                model.hint = Some(format!("'{}' was not said before that", one_line(&wanted)));
            }
            Some(_) if room.is_full() => (model.search, model.hint) = (None, Some(TOO_FAR.into())),
            Some(before) if !room.loading && room.link == LinkState::In => {
                let (name, epoch, searched) = (room.name.clone(), room.epoch, room.numbers());
                model.searched = searched;
                model.room_mut().loading = true;
                model.hint = Some(format!("looking for '{}'; Esc ends it", one_line(&wanted)));
                effects.push(Effect::Earlier { room: name, epoch, before });
            }
            Some(_) => {}
        },
    }
}

fn found(model: &mut Model, layout: &Layout, id: Option<MessageId>) {
    model.focus = Focus::Messages;
    if let Some(id) = id {
        scroll::select(model.room_mut(), layout, id);
    }
    model.hint = Some("n finds the next one before it".into());
}
