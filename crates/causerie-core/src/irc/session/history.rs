//! What was said before [IRCv3, chathistory], and how far it was read [IRCv3, read-marker].

use super::{Change, Found, HISTORY_MAX, Session, Spot};
use crate::api::rfc3339;
use crate::irc::capability::Capabilities;
use crate::irc::history::{Bound, HistoryRequest, TargetsRequest, Window, bound, timestamp};
use crate::irc::message::{Line, Message};
use crate::irc::world::{PersonView, World};

impl Session {
    /// The history that was asked for, oldest first; `None` if there is no such room or message.
    pub fn history(&mut self, world: &impl World, request: &HistoryRequest, found: Option<&[Found]>) {
        let target = &request.target;
        let Some(found) = found else {
            let context = [request.window.subcommand(), target];
            return self.fail("CHATHISTORY", "MESSAGE_ERROR", &context, "Messages could not be retrieved");
        };
        let batched = self.has(Capabilities::BATCH);
        let name = self.batch();
        let server = self.about.server.clone();
        if batched {
            let start =
                Line::new(&server, "BATCH").param(&format!("+{name}")).param("chathistory").param(target);
            self.replies.push(start);
        }
        let conversation = self.conversations.get(&request.room).map(|conversation| conversation.member);
        let (own, other) = (self.shown(), world.other(request.room).unwrap_or_default());
        for (record, about) in found {
            let about = about.as_ref().map(|(author, text)| (&author[..], &text[..]));
            let (id, replayed) = (request.room, Some(request));
            let rendered = match conversation {
                Some(member) => {
                    let is_own = record.member == member;
                    self.rendered_between_two((&own, &other), id, is_own, record, about, replayed)
                }
                None => self.rendered(target, id, record, about, &record.name, replayed),
            };
            for (at, line) in rendered.lines.into_iter().enumerate() {
                let inner = rendered.batched && at > 0;
                self.replies.push(if batched && !inner { line.tag("batch", &name) } else { line });
            }
        }
        if batched {
            self.replies.push(Line::new(&server, "BATCH").param(&format!("-{name}")));
        }
    }

    /// Channels and nicks, and the times of their newest messages.
    pub fn targets(&mut self, found: &[(String, u64)]) {
        let batched = self.has(Capabilities::BATCH);
        let name = self.batch();
        let server = self.about.server.clone();
        if batched {
            let start = Line::new(&server, "BATCH").param(&format!("+{name}"));
            self.replies.push(start.param("draft/chathistory-targets"));
        }
        for (target, millis) in found {
            let line = Line::new(&server, "CHATHISTORY").param("TARGETS").param(target);
            let line = line.param(&rfc3339(*millis));
            self.replies.push(if batched { line.tag("batch", &name) } else { line });
        }
        if batched {
            self.replies.push(Line::new(&server, "BATCH").param(&format!("-{name}")));
        }
    }

    pub(super) fn chathistory(&mut self, world: &impl World, message: &Message) {
        let Some(subcommand) = message.param(0).map(str::to_ascii_uppercase) else {
            return self.fail("CHATHISTORY", "INVALID_PARAMS", &["*"], "Insufficient parameters");
        };
        let params: Vec<&str> = message.params[1..].iter().map(|param| &param[..]).collect();
        let limit = |limit: &str| limit.parse::<usize>().ok().map(|limit| limit.min(HISTORY_MAX));
        if subcommand == "TARGETS" {
            let [from, to, most] = params[..] else {
                return self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Insufficient parameters");
            };
            return match (timestamp(from), timestamp(to), limit(most)) {
                (Some(a), Some(b), Some(limit)) => {
                    self.changes.push_back(Change::Targets(TargetsRequest {
                        from: a.min(b),
                        to: a.max(b),
                        limit,
                    }));
                }
                _ => self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Invalid parameters"),
            };
        }
        let (target, window, most) = match (&subcommand[..], &params[..]) {
            ("LATEST", [target, "*", most]) => (target, Some(Window::Latest(None)), most),
            ("LATEST", [target, at, most]) => (target, bound(at).map(|at| Window::Latest(Some(at))), most),
            ("BEFORE", [target, at, most]) => (target, bound(at).map(Window::Before), most),
            ("AFTER", [target, at, most]) => (target, bound(at).map(Window::After), most),
            ("AROUND", [target, at, most]) => (target, bound(at).map(Window::Around), most),
            ("BETWEEN", [target, a, b, most]) => {
                (target, bound(a).zip(bound(b)).map(|(a, b)| Window::Between(a, b)), most)
            }
            ("LATEST" | "BEFORE" | "AFTER" | "AROUND" | "BETWEEN", _) => {
                return self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Insufficient parameters");
            }
            _ => return self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Unknown subcommand"),
        };
        let (Some(window), Some(limit)) = (window, limit(most)) else {
            return self.fail("CHATHISTORY", "INVALID_PARAMS", &[&subcommand], "Invalid parameters");
        };
        let events = self.has(Capabilities::EVENT_PLAYBACK);
        let Some(Spot { target, id: room, .. }) = self.spot(world, target) else {
            if let Some(PersonView { nick: target, .. }) = world.person(target) {
                // Nothing was said yet.
                let request = HistoryRequest { room: u64::MAX, target, window, limit, events };
                return self.history(world, &request, Some(&[]));
            }
            let why = "You are not in that room";
            return self.fail("CHATHISTORY", "INVALID_TARGET", &[&subcommand, target], why);
        };
        let of_another = |at: &Bound| matches!(at, Bound::Message(other, _) if *other != room);
        let bounds = match &window {
            Window::Latest(at) => [*at, None],
            Window::Before(at) | Window::After(at) | Window::Around(at) => [Some(*at), None],
            Window::Between(a, b) => [Some(*a), Some(*b)],
        };
        if bounds.iter().flatten().any(of_another) {
            let why = "That message is not of this room";
            return self.fail("CHATHISTORY", "MESSAGE_ERROR", &[&subcommand, &target], why);
        }
        self.changes.push_back(Change::History(HistoryRequest { room, target, window, limit, events }));
    }

    /// [IRCv3, read-marker]. Without accounts a marker lives as long as the connection is in the room.
    pub(super) fn markread(&mut self, world: &impl World, message: &Message) {
        let Some(target) = message.param(0) else {
            return self.fail("MARKREAD", "NEED_MORE_PARAMS", &[], "Missing parameters");
        };
        let Some(spot) = self.spot(world, target) else {
            return self.fail("MARKREAD", "INVALID_TARGET", &[target], "You are not in that room");
        };
        let read = match self.conversations.get_mut(&spot.id) {
            Some(conversation) => &mut conversation.read,
            None => {
                let seat = self.rooms.values_mut().find(|seat| seat.id == spot.id);
                &mut seat.expect("it is in one or the other").read
            }
        };
        if let Some(to) = message.param(1) {
            let Some(to) = timestamp(to) else {
                return self.fail("MARKREAD", "INVALID_PARAMS", &[target], "Invalid timestamp");
            };
            // It never goes back.
            *read = Some(read.map_or(to, |read| read.max(to)));
        }
        let read = *read;
        self.tell_read(&spot.target, read);
    }

    pub(super) fn tell_read(&mut self, channel: &str, read: Option<u64>) {
        let read = read.map_or("*".into(), |read| format!("timestamp={}", rfc3339(read)));
        let line = Line::new(&self.about.server, "MARKREAD").param(channel).param(&read);
        self.replies.push(line);
    }
}
