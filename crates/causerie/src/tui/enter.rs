//! Enter: what is written is said, or obeyed as a command.

use causerie_client::Body;

use super::command::{self, SlashCommand};
use super::layout::Layout;
use super::model::{Effect, Model, Overlay};
use super::room::{DraftPurpose, LinkState};
use super::rooms::{join, leave, quit, show_room};
use super::scroll::{scroll, to_end};
use super::search::find;
use super::text::one_line;
use crate::wording;

pub(super) fn enter(model: &mut Model, effects: &mut Vec<Effect>) {
    let room = &mut model.rooms[model.current];
    let text = room.editor.text().to_owned();
    if text.trim().is_empty() {
        return;
    }
    if room.purpose == DraftPurpose::Say
        && let Some(command) = command::parse(&text)
    {
        match command {
            Ok(command) => {
                room.editor.take();
                obey(model, command, effects);
            }
            // What was written stays, to be mended.
            Err(why) => model.hint = Some(one_line(&why)),
        }
        return;
    }
    let said = command::said(&text);
    let purpose = std::mem::take(&mut room.purpose);
    let body = match purpose {
        DraftPurpose::Say => Body::Text(said),
        DraftPurpose::Reply(to) => Body::Reply { to, text: said },
        DraftPurpose::Edit(of) => Body::Edit { of, text: said },
        DraftPurpose::React(to) => {
            let symbol = said.trim().to_owned();
            let set = !room.has_put(&symbol, to);
            Body::Reaction { to, symbol, set }
        }
    };
    room.editor.take();
    effects.push(Effect::Say { room: room.name.clone(), body, text, purpose });
    room.unread_from = None;
    to_end(room);
}

fn obey(model: &mut Model, command: SlashCommand, effects: &mut Vec<Effect>) {
    let room = model.room_mut();
    let name = room.name.clone();
    match command {
        SlashCommand::Help => model.overlay = Some(Overlay::Help(0)),
        SlashCommand::Join(other) => join(model, &other, effects),
        SlashCommand::CreateRoom => effects.push(Effect::CreateRoom),
        SlashCommand::Leave if matches!(room.link, LinkState::Over(_)) => {
            if model.rooms.len() > 1 {
                model.rooms.remove(model.current);
                show_room(model, model.current.min(model.rooms.len() - 1));
            } else {
                quit(model, effects);
            }
        }
        SlashCommand::Leave => {
            room.given_up = true;
            leave(room, effects);
        }
        SlashCommand::Rooms => effects.push(Effect::ListRooms),
        SlashCommand::Members => {
            let names: Vec<_> = room.members.iter().map(|member| member.name.clone()).collect();
            room.notice(format!("in '{name}': {}", names.join(", ")));
        }
        SlashCommand::Clock => effects.push(Effect::Clock(name)),
        SlashCommand::Held => {
            let held: Vec<_> = room.held.iter().map(wording::held).collect();
            match held.is_empty() {
                true => room.notice("nothing is held back".into()),
                false => held.into_iter().for_each(|line| room.notice(line)),
            }
        }
        SlashCommand::History => {
            let layout = Layout::of(model);
            scroll(model.room_mut(), &layout, layout.message_lines() as isize - 1);
        }
        SlashCommand::Topic(topic) => {
            let body = Body::Topic(topic.clone());
            effects.push(Effect::Say {
                room: name,
                body,
                text: format!("/topic {topic}"),
                purpose: DraftPurpose::Say,
            });
        }
        SlashCommand::Me(text) => {
            let body = Body::Action(command::said(&text));
            effects.push(Effect::Say {
                room: name,
                body,
                text: format!("/me {text}"),
                purpose: DraftPurpose::Say,
            });
        }
        SlashCommand::Search(text) => {
            room.selected = None;
            (model.search, model.searched) = (Some(text), 0..0);
            find(model, &Layout::of(model), effects);
        }
        SlashCommand::Name(other) => {
            if !matches!(room.link, LinkState::Over(_)) {
                model.hint = Some("you are in; leave first, or start another chat with --name".into());
                return;
            }
            model.name = other;
            model.room_mut().link = LinkState::Joining;
            effects.push(Effect::Join(name));
        }
        SlashCommand::Mouse => {
            model.mouse = !model.mouse;
            effects.push(Effect::Mouse(model.mouse));
        }
        SlashCommand::Quit => quit(model, effects),
    }
}
