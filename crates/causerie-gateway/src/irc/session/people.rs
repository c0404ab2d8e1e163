//! Who somebody is, and whether it is away.

use super::IrcSession;
use super::state::{AWAY_MAX, AnswerStep, REALNAME_MAX, cut};
use crate::irc::message::{IrcMessage, Line};
use crate::irc::numeric::*;
use crate::irc::world::{IrcWorld, PersonView};

impl IrcSession {
    pub(super) fn who(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(mask) = message.param(0) else { return self.need_more("WHO") };
        let fields = message.param(1).and_then(|fields| fields.strip_prefix('%'));
        if let Some(room) = self.named(world, mask) {
            let (mask, fields) = (mask.to_owned(), fields.map(str::to_owned));
            return self.steps.push_back(AnswerStep::Who { room, mask, fields, after: None });
        }
        if let Some(person) = world.person(mask) {
            let channel = person.rooms.first().map_or("*".into(), |room| format!("#{room}"));
            self.who_line(world, &channel, &person.nick, &person.nick, Some(&person), fields);
        } else if let Some(room) = world.find(mask).first() {
            self.who_line(world, &format!("#{room}"), mask, mask, None, fields);
        }
        self.numeric_text(RPL_ENDOFWHO, &[mask], "End of WHO list");
    }

    pub(super) fn who_line(
        &mut self,
        world: &impl IrcWorld,
        channel: &str,
        nick: &str,
        name: &str,
        person: Option<&PersonView>,
        fields: Option<&str>,
    ) {
        let flags = if person.is_some_and(|p| p.away.is_some()) { "G" } else { "H" };
        let realname = person.map_or(name, |p| &p.realname);
        let server = self.about.server.clone();
        let (user, host) = person.map_or((nick, &server[..]), |p| (&p.user, &p.host));
        let Some(fields) = fields else {
            let params = [channel, user, host, &server, nick, flags];
            return self.numeric_text(RPL_WHOREPLY, &params, &format!("0 {realname}"));
        };
        // [IRCv3, whox]: in this order, whatever the order of the question.
        let (fields, token) = fields.split_once(',').unwrap_or((fields, "0"));
        let idle = person.map_or(0, |person| idle_seconds(world, person)).to_string();
        let mut line = self.numeric(RPL_WHOSPCRPL);
        for (field, value) in [
            ('t', token),
            ('c', channel),
            ('u', user),
            ('i', "255.255.255.255"),
            ('h', host),
            ('s', &server),
            ('n', nick),
            ('f', flags),
            ('d', "0"),
            ('l', &idle),
            ('a', "0"),
            ('o', "n/a"),
        ] {
            if fields.contains(field) {
                line = line.param(value);
            }
        }
        self.replies.push(if fields.contains('r') { line.text(realname) } else { line });
    }

    pub(super) fn whois(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        // With two, the first is a server.
        let Some(nick) = message.param(1).or(message.param(0)) else {
            return self.numeric_text(ERR_NONICKNAMEGIVEN, &[], "No nickname given");
        };
        let server = self.about.server.clone();
        let person = world.person(nick);
        let rooms = person.as_ref().map_or_else(|| world.find(nick), |person| person.rooms.clone());
        if person.is_none() && rooms.is_empty() {
            self.numeric_text(ERR_NOSUCHNICK, &[nick], "No such nick/channel");
            return self.numeric_text(RPL_ENDOFWHOIS, &[nick], "End of /WHOIS list");
        }
        let shown = person.as_ref().map_or(nick, |person| &person.nick).to_owned();
        let realname = person.as_ref().map_or(nick, |person| &person.realname).to_owned();
        let (user, host) = person.as_ref().map_or((&shown, &server), |person| (&person.user, &person.host));
        self.numeric_text(RPL_WHOISUSER, &[&shown, user, host, "*"], &realname);
        let channels: Vec<_> = rooms.iter().map(|room| format!("#{room}")).collect();
        let start = self.numeric(RPL_WHOISCHANNELS).param(&shown);
        let mut line = String::new();
        for channel in channels {
            if !line.is_empty() && line.len() + 1 + channel.len() > start.room() {
                self.replies.push(start.clone().text(&line));
                line.clear();
            }
            line += if line.is_empty() { "" } else { " " };
            line += &channel;
        }
        if !line.is_empty() {
            self.replies.push(start.text(&line));
        }
        let network = self.about.network.clone();
        self.numeric_text(RPL_WHOISSERVER, &[&shown, &server], &network);
        if let Some(person) = person {
            if let Some(away) = &person.away {
                self.numeric_text(RPL_AWAY, &[&shown], away);
            }
            if person.encrypted {
                self.numeric_text(RPL_WHOISSECURE, &[&shown], "is using a secure connection");
            }
            // Others could tell by it who somebody is elsewhere.
            let own = self.nick.as_ref().is_some_and(|nick| nick.as_str() == shown);
            if let Some(certificate) = person.certificate.as_ref().filter(|_| own) {
                let words = format!("has client certificate fingerprint {certificate}");
                self.numeric_text(RPL_WHOISCERTFP, &[&shown], &words);
            }
            let idle = idle_seconds(world, &person).to_string();
            let came = (person.came / 1_000).to_string();
            self.numeric_text(RPL_WHOISIDLE, &[&shown, &idle, &came], "seconds idle, signon time");
        }
        self.numeric_text(RPL_ENDOFWHOIS, &[nick], "End of /WHOIS list");
    }

    pub(super) fn away(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        self.away = message.param(0).map(|why| cut(why, AWAY_MAX).to_owned());
        world.describe(None, Some(self.away.as_deref()));
        match self.away {
            Some(_) => self.numeric_text(RPL_NOWAWAY, &[], "You have been marked as being away"),
            None => self.numeric_text(RPL_UNAWAY, &[], "You are no longer marked as being away"),
        }
    }

    pub(super) fn setname(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(realname) = message.param(0) else { return self.need_more("SETNAME") };
        if realname.len() > REALNAME_MAX {
            return self.fail("SETNAME", "INVALID_REALNAME", &[], "Realname is not valid");
        }
        self.realname = Some(realname.to_owned());
        world.describe(Some(realname), None);
        let line = Line::new(&self.source(), "SETNAME").text(realname);
        self.replies.push(line);
    }
}

fn idle_seconds(world: &impl IrcWorld, person: &PersonView) -> u64 {
    world.now().saturating_sub(person.spoke) / 1_000
}
