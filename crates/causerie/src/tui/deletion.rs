//! Deletions: asked about first, said a while later, and until then taken back by a key.

use std::time::Duration;

use causerie_client::{Body, MessageId};

use super::model::{Effect, Focus, Model, Overlay};
use super::room::{Deletion, DraftPurpose, RoomModel};
use super::text::{cut, one_line};

/// Time that a deletion can be taken back.
pub(super) const TAKE_BACK: Duration = Duration::from_secs(5);

/// Columns of the text that is asked about.
const QUOTED_COLUMNS: usize = 40;

/// Asks whether a message is to be deleted.
pub(super) fn ask(model: &mut Model, of: MessageId) {
    let room = model.room();
    if room.is_being_deleted(of) || room.text(of).is_none() {
        return model.hint = Some("it is deleted already".into());
    }
    let quoted = cut(&one_line(room.text(of).unwrap_or_default()), QUOTED_COLUMNS);
    model.hint = Some(format!("delete \"{quoted}\"? y/n"));
    model.overlay = Some(Overlay::Delete(of));
}

/// Lets the deletion be said in a while.
pub(super) fn confirm(model: &mut Model, of: MessageId, effects: &mut Vec<Effect>) {
    let number = model.deletions;
    model.deletions += 1;
    let room = model.room_mut();
    room.deletions.push(Deletion { number, of });
    effects.push(Effect::SayDeletion { room: room.name.clone(), number });
    model.focus = Focus::Messages;
    model.hint = Some(hint());
}

fn hint() -> String {
    format!("deleted in {} s; u takes it back", TAKE_BACK.as_secs())
}

/// Takes away what says that a deletion can be taken back, once none can be any more.
pub(super) fn forget_hint(model: &mut Model) {
    if model.rooms.iter().all(|room| room.deletions.is_empty()) {
        model.hint.take_if(|told| *told == hint());
    }
}

/// Takes back the deletion of the chosen message, or else the latest one; returns whether there was any.
pub(super) fn take_back(model: &mut Model) -> bool {
    let room = model.room_mut();
    let chosen = room.deletions.iter().position(|deletion| Some(deletion.of) == room.selected);
    let Some(at) = chosen.or(room.deletions.len().checked_sub(1)) else { return false };
    room.deletions.remove(at);
    model.hint = Some("not deleted".into());
    true
}

/// Says a deletion whose time has come, unless it was taken back.
pub(super) fn due(room: &mut RoomModel, number: u64, effects: &mut Vec<Effect>) {
    let due = room.deletions.iter().position(|deletion| deletion.number == number);
    effects.extend(due.map(|at| say(&room.name, room.deletions[at])));
    room.deletions.retain(|deletion| deletion.number != number);
}

/// Says what has been confirmed in a room that is about to be left.
pub(super) fn say_all(room: &mut RoomModel, effects: &mut Vec<Effect>) {
    let deletions = std::mem::take(&mut room.deletions);
    effects.extend(deletions.into_iter().map(|deletion| say(&room.name, deletion)));
}

fn say(room: &str, deletion: Deletion) -> Effect {
    let body = Body::Delete { of: deletion.of, reason: String::new() };
    Effect::Say { room: room.into(), body, text: String::new(), purpose: DraftPurpose::Say }
}
