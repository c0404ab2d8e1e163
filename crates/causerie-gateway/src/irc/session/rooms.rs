//! Joining and leaving, and what there is to know of rooms.

use std::collections::BTreeSet;

use super::IrcSession;
use super::state::{AnswerStep, ChannelSeat, HISTORY_MAX, ROOMS_MAX, Spot, TOPIC_MAX, cut, folded, targets};
use crate::irc::capability::Capabilities;
use crate::irc::history::{Bound, HistoryRequest, Window};
use crate::irc::message::{IrcMessage, Line};
use crate::irc::numeric::*;
use crate::irc::render::{room_of, shown_nick};
use crate::irc::world::{IrcWorld, JoinRefusal, Joined, RoomView};
use causerie_core::content::body::Body;
use causerie_core::room::JoinError;

impl IrcSession {
    pub(super) fn seat(&self, id: u64) -> Option<&ChannelSeat> {
        self.rooms.values().find(|seat| seat.id == id)
    }

    pub(super) fn leave_seat(&mut self, id: u64) -> Option<ChannelSeat> {
        let key = self.rooms.iter().find(|(_, seat)| seat.id == id)?.0.clone();
        self.forget_said_in(id);
        self.rooms.remove(&key)
    }

    pub(super) fn leave_conversation(&mut self, id: u64) {
        self.forget_said_in(id);
        self.conversations.remove(&id);
    }

    /// The room of a channel that it is in.
    pub(super) fn in_room(&self, channel: &str) -> Option<&ChannelSeat> {
        self.rooms.get(&folded(room_of(channel)?))
    }

    fn no_such_channel(&mut self, channel: &str) {
        self.numeric_text(ERR_NOSUCHCHANNEL, &[channel], "No such channel");
    }

    pub(super) fn join(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(channels) = message.param(0) else { return self.need_more("JOIN") };
        if channels == "0" {
            let channels: Vec<_> = self.rooms.values().map(|seat| format!("#{}", seat.room)).collect();
            return channels.iter().for_each(|channel| self.part_one(world, channel, ""));
        }
        self.steps.extend(targets(channels).into_iter().map(|channel| AnswerStep::Join(channel.to_owned())));
    }

    pub(super) fn join_one(&mut self, world: &mut impl IrcWorld, channel: &str) {
        let Some(asked) = room_of(channel) else { return self.no_such_channel(channel) };
        let name = world.resolve(asked).unwrap_or_else(|| asked.to_owned());
        match self.rooms.get(&folded(&name)) {
            Some(seat) if seat.room == name => return,
            Some(seat) => {
                let why = format!("You are in #{}, which differs from it in case only", seat.room);
                return self.numeric_text(ERR_UNAVAILRESOURCE, &[channel], &why);
            }
            None if self.rooms.len() >= ROOMS_MAX => {
                return self.numeric_text(
                    ERR_TOOMANYCHANNELS,
                    &[channel],
                    "You have joined too many channels",
                );
            }
            None => {}
        }
        let joined = match world.join(&name, &self.shown()) {
            Ok(joined) => joined,
            Err(refusal) => {
                let (number, why) = refused(&refusal);
                return self.numeric_text(number, &[channel], &why);
            }
        };
        let Joined { id, member, position, view } = joined;
        let seat = ChannelSeat { room: view.name.clone(), id, member, former: Vec::new(), read: None };
        self.rooms.insert(folded(&view.name), seat);
        let channel = format!("#{}", view.name);
        let line = Line::new(&self.source(), "JOIN").param(&channel);
        let realname = self.realname.clone().unwrap_or_default();
        self.replies.push(if self.has(Capabilities::EXTENDED_JOIN) {
            line.param("*").text(&realname)
        } else {
            line
        });
        self.tell_topic(&view);
        if self.has(Capabilities::READ_MARKER) {
            self.tell_read(&channel, None);
        }
        // Before those of other channels.
        let mut steps = vec![AnswerStep::Names { room: view.name, after: None }];
        if !self.has(Capabilities::CHATHISTORY) && self.about.replay > 0 {
            steps.push(AnswerStep::Replay(HistoryRequest {
                room: id,
                target: channel,
                window: Window::Before(Bound::Position(position)),
                limit: self.about.replay.min(HISTORY_MAX),
                events: false,
                since_leaving_as: Some(self.shown()),
            }));
        }
        steps.into_iter().rev().for_each(|step| self.steps.push_front(step));
    }

    /// Says what a room is about, if that was ever said. Returns whether it was.
    fn tell_topic(&mut self, view: &RoomView) -> bool {
        let channel = format!("#{}", view.name);
        let Some(topic) = view.topic.as_ref().filter(|topic| !topic.text.is_empty()) else { return false };
        self.numeric_text(RPL_TOPIC, &[&channel], &topic.text);
        let line = self.numeric(RPL_TOPICWHOTIME).param(&channel).param(&shown_nick(&topic.by));
        self.replies.push(line.param(&(topic.at_millis / 1_000).to_string()));
        true
    }

    pub(super) fn names_of(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(channels) = message.param(0) else {
            return self.numeric_text(RPL_ENDOFNAMES, &["*"], "End of /NAMES list");
        };
        let mut found = BTreeSet::new();
        for channel in targets(channels) {
            match self.named(world, channel) {
                // Other ways to write the same name are the same target.
                Some(room) if !found.insert(room.clone()) => {}
                Some(room) => self.steps.push_back(AnswerStep::Names { room, after: None }),
                None => {
                    let line = self.numeric(RPL_ENDOFNAMES).param(channel).text("End of /NAMES list");
                    self.steps.push_back(AnswerStep::Tell(line));
                }
            }
        }
    }

    /// Returns the name of a channel's room.
    pub(super) fn named(&self, world: &impl IrcWorld, channel: &str) -> Option<String> {
        let asked = room_of(channel)?;
        self.in_room(channel).map(|seat| seat.room.clone()).or_else(|| world.resolve(asked))
    }

    pub(super) fn view(&self, world: &mut impl IrcWorld, channel: &str) -> Option<RoomView> {
        let name = self.named(world, channel)?;
        world.look(&name)
    }

    pub(super) fn part(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(channels) = message.param(0) else { return self.need_more("PART") };
        for channel in targets(channels) {
            self.part_one(world, channel, message.param(1).unwrap_or_default());
        }
    }

    fn part_one(&mut self, world: &mut impl IrcWorld, channel: &str, reason: &str) {
        let Some(seat) = self.in_room(channel).cloned() else {
            return self.not_in(world, channel, ERR_NOTONCHANNEL, "You're not on that channel");
        };
        world.part(seat.id, seat.member, reason);
        self.leave_seat(seat.id);
        let line = Line::new(&self.source(), "PART").param(&format!("#{}", seat.room));
        self.replies.push(if reason.is_empty() { line } else { line.text(reason) });
    }

    /// Answers that there is no such room, or that it is not in it.
    pub(super) fn not_in(&mut self, world: &impl IrcWorld, channel: &str, number: &str, why: &str) {
        match room_of(channel).and_then(|room| world.resolve(room)) {
            Some(_) => self.numeric_text(number, &[channel], why),
            None => self.no_such_channel(channel),
        }
    }

    pub(super) fn topic(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(channel) = message.param(0) else { return self.need_more("TOPIC") };
        let Some(topic) = message.params.get(1) else {
            let Some(view) = self.view(world, channel) else { return self.no_such_channel(channel) };
            if !self.tell_topic(&view) {
                self.numeric_text(RPL_NOTOPIC, &[&format!("#{}", view.name)], "No topic is set");
            }
            return;
        };
        let Some(seat) = self.in_room(channel).cloned() else {
            return self.not_in(world, channel, ERR_NOTONCHANNEL, "You're not on that channel");
        };
        let spot = Spot { target: channel.to_owned(), id: seat.id, member: seat.member };
        // What is too long is cut [Modern, TOPICLEN Parameter].
        self.speak(world, &spot, Body::Topic(cut(topic, TOPIC_MAX).to_owned()), "TOPIC");
    }

    /// Rooms are open, so nobody needs to be invited; it is told all the same [Modern, INVITE].
    pub(super) fn invite(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let (nick, channel) = (message.param(0).unwrap_or_default(), message.param(1).unwrap_or_default());
        let Some(seat) = self.in_room(channel) else {
            return self.not_in(world, channel, ERR_NOTONCHANNEL, "You're not on that channel");
        };
        let (room, channel) = (seat.room.clone(), format!("#{}", seat.room));
        let (person, elsewhere) = (world.person(nick), world.find(nick));
        if person.as_ref().map_or(&elsewhere, |person| &person.rooms).contains(&room) {
            return self.numeric_text(ERR_USERONCHANNEL, &[nick, &channel], "is already on channel");
        }
        let Some(person) = person else {
            let why = match elsewhere.is_empty() {
                true => "No such nick/channel",
                false => "Cannot invite user: not connected by IRC",
            };
            return self.numeric_text(ERR_NOSUCHNICK, &[nick], why);
        };
        if !world.invite(&person.nick, &channel) {
            let why = "Too many invitations wait for that user. Please try again.";
            return self.numeric_text(RPL_TRYAGAIN, &["INVITE"], why);
        }
        let line = self.numeric(RPL_INVITING).param(&person.nick).param(&channel);
        self.replies.push(line);
        if let Some(away) = &person.away {
            self.numeric_text(RPL_AWAY, &[&person.nick], away);
        }
    }

    /// Refuses what only operators may: there are none.
    pub(super) fn refuse_to_operate(&mut self, world: &impl IrcWorld, channel: &str) {
        if self.in_room(channel).is_none() {
            return self.not_in(world, channel, ERR_NOTONCHANNEL, "You're not on that channel");
        }
        let why = "Rooms are open to all, and have no operators";
        self.numeric_text(ERR_CHANOPRIVSNEEDED, &[channel], why);
    }

    pub(super) fn mode(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(target) = message.param(0) else { return self.need_more("MODE") };
        let modes = message.param(1);
        if target.starts_with('#') {
            let Some(view) = self.view(world, target) else { return self.no_such_channel(target) };
            let channel = format!("#{}", view.name);
            return match modes.map(|modes| modes.trim_start_matches('+')) {
                None => {
                    let line = self.numeric(RPL_CHANNELMODEIS).param(&channel).param("+n");
                    self.replies.push(line);
                    let created = (view.created / 1_000).to_string();
                    let line = self.numeric(RPL_CREATIONTIME).param(&channel).param(&created);
                    self.replies.push(line);
                }
                Some("b") if message.param(2).is_none() => {
                    self.numeric_text(RPL_ENDOFBANLIST, &[&channel], "End of channel ban list");
                }
                Some("n") => {}
                Some(modes) if modes.trim_start_matches('-').starts_with(['n', 'o', 'v']) => {
                    self.numeric_text(ERR_CHANOPRIVSNEEDED, &[&channel], "Rooms have no operators");
                }
                Some(modes) => {
                    let mode =
                        modes.trim_start_matches('-').chars().next().map_or("*".into(), |c| c.to_string());
                    self.numeric_text(ERR_UNKNOWNMODE, &[&mode], "is unknown mode char to me");
                }
            };
        }
        let own = self.nick.as_ref().is_some_and(|nick| nick.as_str().eq_ignore_ascii_case(target));
        match (own, modes) {
            (true, None) => {
                let line = self.numeric(RPL_UMODEIS).param(if self.invisible { "+i" } else { "+" });
                self.replies.push(line);
            }
            (true, Some(modes)) => self.own_modes(modes),
            (false, _) if world.person(target).is_none() => {
                self.numeric_text(ERR_NOSUCHNICK, &[target], "No such nick/channel");
            }
            (false, _) => self.numeric_text(ERR_USERSDONTMATCH, &[], "Cant change mode for other users"),
        }
    }
}

impl IrcSession {
    /// Changes its own modes, of which there is one, `i`.
    fn own_modes(&mut self, modes: &str) {
        let (mut sets, mut invisible, mut unknown) = (true, self.invisible, false);
        for mode in modes.chars() {
            match mode {
                '+' | '-' => sets = mode == '+',
                'i' => invisible = sets,
                _ => unknown = true,
            }
        }
        if std::mem::replace(&mut self.invisible, invisible) != invisible {
            let line = Line::new(&self.source(), "MODE").param(&self.shown());
            self.replies.push(line.text(if invisible { "+i" } else { "-i" }));
        }
        if unknown {
            self.numeric_text(ERR_UMODEUNKNOWNFLAG, &[], "Unknown MODE flag");
        }
    }
}

pub(super) fn refused(refusal: &JoinRefusal) -> (&'static str, String) {
    match refusal {
        JoinRefusal::NoSuchRoom(why) => (ERR_NOSUCHCHANNEL, why.clone()),
        // Clients that join by themselves try again after this one.
        JoinRefusal::TooOften(why) => (ERR_UNAVAILRESOURCE, format!("Cannot join channel: {why}")),
        JoinRefusal::Room(JoinError::Full { .. } | JoinError::NotSaid(_)) => {
            (ERR_CHANNELISFULL, "Cannot join channel: it is full".into())
        }
        JoinRefusal::Room(JoinError::NameTaken { like, .. }) => {
            (ERR_UNAVAILRESOURCE, format!("Cannot join channel: somebody in it is called {like} already"))
        }
        JoinRefusal::Room(error) => (ERR_UNAVAILRESOURCE, format!("Cannot join channel: {error}")),
    }
}
