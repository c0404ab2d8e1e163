//! Answers that grow with a room or with the number of rooms: made piece by piece, each once the one before is written.

use std::collections::BTreeSet;

use cbcast::MemberId;

use super::IrcSession;
use super::state::{AnswerStep, SessionNeed, folded, targets};
use crate::irc::message::Line;
use crate::irc::numeric::*;
use crate::irc::render::{room_of, shown_nick};
use crate::irc::world::IrcWorld;

/// Members or rooms that are looked at for one step.
const STEP: usize = 256;
/// Bytes of replies that are gathered before they are written.
const PIECE: usize = 16 << 10;

impl IrcSession {
    /// Returns whether an answer has more.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Makes the next piece of an answer that [has more](Self::has_more). What there is to write is to be written before this
    /// is called again.
    pub fn go_on(&mut self, world: &mut impl IrcWorld) {
        let Some(step) = self.steps.pop_front() else { return };
        match step {
            AnswerStep::Join(channel) => self.join_one(world, &channel),
            AnswerStep::Names { room, after } => self.names(world, room, after),
            AnswerStep::Who { room, mask, fields, after } => self.who_in(world, room, mask, fields, after),
            AnswerStep::List { wanted, after } => self.list_from(world, wanted, after),
            AnswerStep::Tell(line) => self.replies.push(line),
            AnswerStep::Replay(request) => self.needs.push_back(SessionNeed::History(request)),
        }
        if self.replies.iter().map(Line::bytes).sum::<usize>() >= PIECE {
            self.tell_piece();
        }
    }

    fn names(&mut self, world: &mut impl IrcWorld, room: String, after: Option<MemberId>) {
        let channel = format!("#{room}");
        let members = world.members(&room, after, STEP);
        let start = self.numeric(RPL_NAMREPLY).param("=").param(&channel);
        let mut nicks = String::new();
        for member in &members {
            let nick = shown_nick(&member.name);
            if !nicks.is_empty() && nicks.len() + 1 + nick.len() > start.room() {
                self.replies.push(start.clone().text(&nicks));
                nicks.clear();
            }
            if !nicks.is_empty() {
                nicks.push(' ');
            }
            nicks.push_str(&nick);
        }
        if !nicks.is_empty() {
            self.replies.push(start.text(&nicks));
        }
        match members.last().filter(|_| members.len() == STEP) {
            Some(last) => self.steps.push_front(AnswerStep::Names { room, after: Some(last.member) }),
            None => self.numeric_text(RPL_ENDOFNAMES, &[&channel], "End of /NAMES list"),
        }
    }

    fn who_in(
        &mut self,
        world: &mut impl IrcWorld,
        room: String,
        mask: String,
        fields: Option<String>,
        after: Option<MemberId>,
    ) {
        let channel = format!("#{room}");
        let members = world.members(&room, after, STEP);
        for member in &members {
            let nick = shown_nick(&member.name);
            self.who_line(world, &channel, &nick, &member.name, member.person.as_ref(), fields.as_deref());
        }
        match members.last().filter(|_| members.len() == STEP) {
            Some(last) => {
                self.steps.push_front(AnswerStep::Who { room, mask, fields, after: Some(last.member) });
            }
            None => self.numeric_text(RPL_ENDOFWHO, &[&mask], "End of WHO list"),
        }
    }

    fn list_from(&mut self, world: &mut impl IrcWorld, wanted: BTreeSet<String>, after: Option<String>) {
        let rooms = world.rooms(after.as_deref(), STEP);
        let next = rooms.last().filter(|_| rooms.len() == STEP).map(|(name, ..)| name.clone());
        for (name, members, topic) in rooms {
            if wanted.is_empty() || wanted.contains(&folded(&name)) {
                let channel = format!("#{name}");
                self.numeric_text(RPL_LIST, &[&channel, &members.to_string()], &topic.unwrap_or_default());
            }
        }
        match next {
            Some(_) => self.steps.push_front(AnswerStep::List { wanted, after: next }),
            None => self.numeric_text(RPL_LISTEND, &[], "End of /LIST"),
        }
    }

    pub(super) fn list(&mut self, channels: Option<&str>) {
        let wanted = channels.filter(|channels| channels.contains('#'));
        let wanted = wanted.into_iter().flat_map(targets).filter_map(room_of).map(folded).collect();
        self.numeric_text(RPL_LISTSTART, &["Channel"], "Users  Name");
        self.steps.push_back(AnswerStep::List { wanted, after: None });
    }
}
