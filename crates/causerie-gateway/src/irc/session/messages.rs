//! What is said in rooms and between two, and what changes it.

use super::IrcSession;
use super::state::{AwaitedMessage, LINES_MAX, Multiline, Spot, TARGETS_MAX, cut, targets};
use crate::irc::history::{msgid, read_msgid};
use crate::irc::message::IrcMessage;
use crate::irc::numeric::*;
use crate::irc::render::REPLY_TAGS;
use crate::irc::world::{IrcWorld, PersonView};
use causerie_core::content::body::{Body, BodyError};
use causerie_core::log::page::What;
use causerie_core::room::HostedSayError;

/// Bytes of the reason for a deletion: with what stands before it, it fits on a line.
const REASON_MAX: usize = 300;

impl IrcSession {
    pub(super) fn say(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(list) = message.param(0) else {
            let why = format!("No recipient given ({})", message.command);
            return self.numeric_text(ERR_NORECIPIENT, &[], &why);
        };
        let Some(text) = message.param(1) else {
            return self.numeric_text(ERR_NOTEXTTOSEND, &[], "No text to send");
        };
        let targets = targets(list);
        if targets.len() > TARGETS_MAX {
            return self.numeric_text(ERR_TOOMANYTARGETS, &[targets[0]], "Too many targets");
        }
        for target in targets {
            self.say_to(world, &message.command, target, text, answered(message));
        }
    }

    fn say_to(
        &mut self,
        world: &mut impl IrcWorld,
        command: &str,
        target: &str,
        text: &str,
        reply: Option<&str>,
    ) {
        let Some(spot) = self.reach(world, target) else { return };
        if !target.starts_with('#')
            && let Some(PersonView { nick, away: Some(away), .. }) = world.person(target)
        {
            self.numeric_text(RPL_AWAY, &[&nick], &away);
        }
        let plain = |text: &str| match command {
            "NOTICE" => Body::Notice(text.to_owned()),
            _ => Body::Text(text.to_owned()),
        };
        let ctcp = text.strip_prefix('\u{1}').map(|text| text.strip_suffix('\u{1}').unwrap_or(text));
        let body = match (ctcp, reply.and_then(read_msgid)) {
            (Some(ctcp), _) => match ctcp.strip_prefix("ACTION ") {
                Some(text) if command == "PRIVMSG" => Body::Action(text.to_owned()),
                // Between two IRC clients it is what they know.
                _ if !target.starts_with('#') => plain(text),
                _ => {
                    let why = "Cannot send to channel: of CTCP only ACTION is known here";
                    return self.numeric_text(ERR_CANNOTSENDTOCHAN, &[&spot.target], why);
                }
            },
            // A notice stays one: no program may answer it.
            (None, Some((room, to))) if room == spot.id && command == "PRIVMSG" => {
                Body::Reply { to, text: text.to_owned() }
            }
            _ => plain(text),
        };
        self.speak(world, &spot, body, command);
    }

    /// Finds where that is, in a room that it is in or with somebody; otherwise it is told why not.
    fn reach(&mut self, world: &mut impl IrcWorld, target: &str) -> Option<Spot> {
        if target.starts_with('#') {
            let spot = self.spot(world, target);
            if spot.is_none() {
                let why = "Cannot send to channel: you are not in it";
                self.not_in(world, target, ERR_CANNOTSENDTOCHAN, why);
            }
            return spot;
        }
        let Some(PersonView { nick, .. }) = world.person(target) else {
            match world.find(target).is_empty() {
                true => self.numeric_text(ERR_NOSUCHNICK, &[target], "No such nick/channel"),
                false => self.unreachable(target, "not connected by IRC; meet in a room"),
            }
            return None;
        };
        match world.converse(&nick) {
            Ok((id, member)) => {
                self.addressed(id, member);
                Some(Spot { target: nick, id, member })
            }
            Err(why) => {
                self.unreachable(&nick, &why);
                None
            }
        }
    }

    /// Finds where that is, if it is in that room or conversation.
    pub(super) fn spot(&self, world: &impl IrcWorld, target: &str) -> Option<Spot> {
        if target.starts_with('#') {
            let seat = self.in_room(target)?;
            return Some(Spot { target: format!("#{}", seat.room), id: seat.id, member: seat.member });
        }
        let id = world.conversation(target)?;
        let member = *self.conversations.get(&id)?;
        Some(Spot { target: world.other(id)?, id, member })
    }

    /// Says it; the client learns that it is stored when it comes back.
    pub(super) fn speak(&mut self, world: &mut impl IrcWorld, spot: &Spot, body: Body, command: &str) {
        match world.say(spot.id, spot.member, &body) {
            Ok(id) => {
                let is_heard = self.hears_itself(&What::Said(body));
                self.said.push(AwaitedMessage { room: spot.id, id, is_heard });
            }
            Err(error) => {
                let target = &spot.target;
                match (&error, command) {
                    (HostedSayError::Body(BodyError::NotYours { target: of }), "REDACT") => {
                        let id = msgid(spot.id, *of);
                        let why = "You are not authorized to delete this message";
                        self.fail(command, "REDACT_FORBIDDEN", &[target, &id], why);
                    }
                    (HostedSayError::Body(BodyError::NoSuchMessage { target: of }), "REDACT") => {
                        let id = msgid(spot.id, *of);
                        self.fail(command, "UNKNOWN_MSGID", &[target, &id], "There is no such message");
                    }
                    _ => self.not_sent(target, &error.to_string()),
                }
            }
        }
    }

    fn not_sent(&mut self, target: &str, why: &str) {
        match target.starts_with('#') {
            true => {
                self.numeric_text(ERR_CANNOTSENDTOCHAN, &[target], &format!("Cannot send to channel: {why}"))
            }
            false => self.unreachable(target, why),
        }
    }

    /// Answers by the numeric that clients show in the window in which the message was written: others they show elsewhere.
    fn unreachable(&mut self, nick: &str, why: &str) {
        self.numeric_text(ERR_NOSUCHNICK, &[nick], &format!("Cannot send to user: {why}"));
    }

    pub(super) fn tagmsg(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(target) = message.param(0) else {
            return self.numeric_text(ERR_NORECIPIENT, &[], "No recipient given (TAGMSG)");
        };
        let react = message.tag("+draft/react").map(|symbol| (symbol, true));
        let Some((symbol, set)) =
            react.or_else(|| message.tag("+draft/unreact").map(|symbol| (symbol, false)))
        else {
            // As CLIENTTAGDENY says, it is not carried.
            return;
        };
        let Some(spot) = self.reach(world, target) else { return };
        match answered(message).and_then(read_msgid) {
            Some((room, to)) if room == spot.id => {
                self.speak(world, &spot, Body::Reaction { to, symbol: symbol.to_owned(), set }, "TAGMSG");
            }
            _ => self.not_sent(&spot.target, "a reaction needs the message that it is to"),
        }
    }

    /// [IRCv3, message-redaction].
    pub(super) fn redact(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let (Some(target), Some(id)) = (message.param(0), message.param(1)) else {
            return self.need_more("REDACT");
        };
        let Some(spot) = self.spot(world, target) else {
            return self.fail("REDACT", "INVALID_TARGET", &[target], "You cannot delete messages there");
        };
        match read_msgid(id) {
            Some((room, of)) if room == spot.id => {
                let reason = cut(message.param(2).unwrap_or_default(), REASON_MAX).to_owned();
                self.speak(world, &spot, Body::Delete { of, reason }, "REDACT");
            }
            _ => self.fail("REDACT", "UNKNOWN_MSGID", &[target, id], "There is no such message"),
        }
    }

    /// [IRCv3, multiline]: a batch of lines is one text.
    pub(super) fn multiline(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(name) = message.param(0) else { return self.need_more("BATCH") };
        if let Some(name) = name.strip_prefix('+') {
            let (Some("draft/multiline"), Some(target)) = (message.param(1), message.param(2)) else {
                return self.fail(
                    "BATCH",
                    "UNKNOWN_TYPE",
                    &[name],
                    "Only batches of draft/multiline are known",
                );
            };
            // A batch that was not ended is given up for it.
            self.multiline = Some(Multiline {
                name: name.to_owned(),
                target: target.to_owned(),
                label: self.label.take(),
                reply: answered(message).map(str::to_owned),
                command: None,
                text: None,
                lines: 0,
                failed: false,
            });
            return;
        }
        let batch = self.multiline.take_if(|batch| Some(&batch.name[..]) == name.strip_prefix('-'));
        let Some(batch) = batch else {
            return self.fail("BATCH", "MULTILINE_INVALID", &[], "There is no such batch");
        };
        if batch.failed {
            return;
        }
        self.label = batch.label;
        let is_text = |text: &String| text.contains(|c| c != '\n');
        let (Some(command), Some(text)) = (batch.command, batch.text.filter(is_text)) else {
            return self.fail("BATCH", "MULTILINE_INVALID", &[], "There is no text in the batch");
        };
        self.say_to(world, &command, &batch.target, &text, batch.reply.as_deref());
        if command == "NOTICE" {
            self.replies.clear();
        }
    }

    pub(super) fn multiline_part(&mut self, message: &IrcMessage, name: &str) {
        let text_max = self.about.text_max;
        let Some(batch) = self.multiline.as_mut().filter(|batch| !batch.failed) else { return };
        let text = message.params.get(1).map_or("", |text| text);
        let goes_on = message.tag("draft/multiline-concat").is_some();
        let so_far = batch.text.as_ref().map_or(0, |text| text.len() + usize::from(!goes_on));
        batch.lines += 1;
        let context = text_max.to_string();
        let lines_max = LINES_MAX.to_string();
        let target = message.param(0).unwrap_or("*").to_owned();
        let command = batch.command.get_or_insert_with(|| message.command.clone());
        let belongs =
            batch.name == name && *command == message.command && matches!(&command[..], "PRIVMSG" | "NOTICE");
        let (code, context, why): (_, Vec<&str>, _) = if !belongs {
            ("MULTILINE_INVALID", vec![], "That does not belong into the batch")
        } else if goes_on && text.is_empty() {
            ("MULTILINE_INVALID", vec![], "A line that goes on is not blank")
        } else if target != batch.target {
            let expected = batch.target.clone();
            batch.failed = true;
            let context = [&expected[..], &target[..]];
            return self.fail("BATCH", "MULTILINE_INVALID_TARGET", &context, "The batch has another target");
        } else if so_far + text.len() > text_max {
            ("MULTILINE_MAX_BYTES", vec![&context], "The text is too long")
        } else if batch.lines > LINES_MAX {
            ("MULTILINE_MAX_LINES", vec![&lines_max], "The text has too many lines")
        } else {
            match &mut batch.text {
                Some(whole) => {
                    whole.push_str(if goes_on { "" } else { "\n" });
                    whole.push_str(text);
                }
                none => *none = Some(text.to_owned()),
            }
            return;
        };
        batch.failed = true;
        self.fail("BATCH", code, &context, why);
    }
}

/// The message that this one answers, as the client calls it.
fn answered(message: &IrcMessage) -> Option<&str> {
    REPLY_TAGS.iter().find_map(|key| message.tag(key))
}
