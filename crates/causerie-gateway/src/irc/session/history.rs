//! What was said before [IRCv3, chathistory], and how far it was read [IRCv3, read-marker].

use super::IrcSession;
use super::state::{ChannelSeat, HISTORY_MAX, SessionNeed, Spot, folded};
use crate::api::rfc3339;
use crate::irc::capability::Capabilities;
use crate::irc::history::{Bound, HistoryRequest, TargetsRequest, Window, bound, timestamp};
use crate::irc::message::{IrcMessage, Line};
use crate::irc::moved::FoundRecord;
use crate::irc::world::{IrcWorld, PersonView};

/// Markers of people that a connection may set.
const MARKERS_MAX: usize = 200;

impl IrcSession {
    /// The history that was asked for, oldest first; `None` if there is no such room or message.
    pub fn history(
        &mut self,
        world: &impl IrcWorld,
        request: &HistoryRequest,
        found: Option<&[FoundRecord]>,
    ) {
        let target = &request.target;
        if request.since_leaving_as.is_some() && found.is_none_or(<[_]>::is_empty) {
            if found.is_none() {
                self.notice(&format!("What was said in {target} before cannot be read"));
            }
            return;
        }
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
        let conversation = self.conversations.get(&request.room).copied();
        let (own, other) = (self.shown(), world.other(request.room).unwrap_or_default());
        for found in found {
            let (id, replayed) = (request.room, Some(request));
            let rendered = match conversation {
                Some(member) => {
                    let is_own = found.record.member == member;
                    self.rendered_between_two((&own, &other), id, is_own, found, replayed)
                }
                None => self.rendered(target, id, found, &found.record.name, replayed),
            };
            self.replies.extend(rendered.within(batched.then_some(&name[..])));
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

    pub(super) fn chathistory(&mut self, world: &impl IrcWorld, message: &IrcMessage) {
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
                    self.needs.push_back(SessionNeed::Targets(TargetsRequest {
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
                let since_leaving_as = None;
                let request =
                    HistoryRequest { room: u64::MAX, target, window, limit, events, since_leaving_as };
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
        let since_leaving_as = None;
        let request = HistoryRequest { room, target, window, limit, events, since_leaving_as };
        self.needs.push_back(SessionNeed::History(request));
    }

    /// [IRCv3, read-marker]. Without accounts a marker lives as long as the connection is in the room.
    pub(super) fn markread(&mut self, world: &impl IrcWorld, message: &IrcMessage) {
        let Some(target) = message.param(0) else {
            return self.fail("MARKREAD", "NEED_MORE_PARAMS", &[], "Missing parameters");
        };
        let spot = self.spot(world, target);
        let shown = match &spot {
            Some(spot) => spot.target.clone(),
            // Somebody with whom nothing was said yet.
            None => match world.person(target) {
                Some(person) => person.nick,
                None => {
                    let why = "You are not in that room, and nobody has that nick";
                    return self.fail("MARKREAD", "INVALID_TARGET", &[target], why);
                }
            },
        };
        let to = match message.param(1).map(timestamp) {
            Some(None) => return self.fail("MARKREAD", "INVALID_PARAMS", &[target], "Invalid timestamp"),
            to => to.flatten(),
        };
        let key = folded(&shown);
        let is_in = |seat: &&mut ChannelSeat| spot.as_ref().is_some_and(|spot| spot.id == seat.id);
        let seat = self.rooms.values_mut().find(is_in);
        // It never goes back.
        let read = seat.as_ref().map_or_else(|| self.read.get(&key).copied(), |seat| seat.read).max(to);
        match (seat, read) {
            (Some(seat), _) => seat.read = read,
            (None, None) => {}
            (None, Some(_)) if self.read.len() >= MARKERS_MAX && !self.read.contains_key(&key) => {
                let why = "You have marked what you have read of too many people";
                return self.fail("MARKREAD", "INTERNAL_ERROR", &[target], why);
            }
            (None, Some(read)) => drop(self.read.insert(key, read)),
        }
        self.tell_read(&shown, read);
    }

    pub(super) fn tell_read(&mut self, channel: &str, read: Option<u64>) {
        let read = read.map_or("*".into(), |read| format!("timestamp={}", rfc3339(read)));
        let line = Line::new(&self.about.server, "MARKREAD").param(channel).param(&read);
        self.replies.push(line);
    }
}
