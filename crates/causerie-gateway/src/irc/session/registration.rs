//! Who it is, what it has negotiated, and what the server says of itself.

use super::IrcSession;
use super::rooms::refused;
use super::state::{
    AWAY_MAX, ChannelSeat, HISTORY_MAX, LINES_MAX, REALNAME_MAX, ROOMS_MAX, ServerView, TARGETS_MAX,
    TOPIC_MAX, cut,
};
use crate::api::rfc3339;
use crate::irc::capability::{Capabilities, OFFERED};
use crate::irc::message::{IrcMessage, Line};
use crate::irc::numeric::*;
use crate::irc::render::shown_nick;
use crate::irc::world::{IrcWorld, JoinRefusal};
use causerie_core::content::name::Name;

/// Bytes of a username, with the `~`.
const USER_MAX: usize = 16;

/// Returns the username as others are shown it: nothing has checked it [Modern, USER].
fn username(given: &str) -> String {
    let is_plain =
        |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '[' | ']' | '{' | '}');
    let plain: String = given.chars().filter(is_plain).take(USER_MAX - 1).collect();
    format!("~{}", if plain.is_empty() { "user" } else { &plain })
}

impl IrcSession {
    pub(super) fn cap(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(subcommand) = message.param(0) else { return self.need_more("CAP") };
        let names = message.params.get(1).map_or("", |names| names);
        match &subcommand.to_ascii_uppercase()[..] {
            "LS" => {
                self.negotiating |= !self.registered;
                if names.parse::<u32>().is_ok_and(|version| version >= 302) {
                    self.knows_302 = true;
                    // [IRCv3, capability-negotiation, cap-notify].
                    self.capabilities = self.capabilities | Capabilities::CAP_NOTIFY;
                }
                let knows_302 = self.knows_302;
                let text_max = self.about.text_max;
                let shown = OFFERED.iter().map(|(name, capability)| match *capability {
                    Capabilities::MULTILINE if knows_302 => {
                        format!("{name}=max-bytes={text_max},max-lines={LINES_MAX}")
                    }
                    _ => (*name).to_owned(),
                });
                // It cannot be asked for, only known.
                let sts = self.about.encrypted_for.filter(|_| knows_302);
                let sts = sts.map(|seconds| format!("sts=duration={seconds}"));
                self.capability_lines("LS", shown.chain(sts).collect());
            }
            "LIST" => {
                let names = self.capabilities.names().map(str::to_owned).collect();
                self.capability_lines("LIST", names);
            }
            "REQ" => {
                self.negotiating |= !self.registered;
                let mut wanted = self.capabilities;
                let mut known = true;
                for name in names.split(' ').filter(|name| !name.is_empty()) {
                    match (name.strip_prefix('-'), Capabilities::named(name.trim_start_matches('-'))) {
                        (None, Some(capability)) => wanted = wanted | capability,
                        // [IRCv3, capability-negotiation]: it cannot be given back with version 302.
                        (Some(_), Some(Capabilities::CAP_NOTIFY)) if self.knows_302 => known = false,
                        (Some(_), Some(capability)) => wanted = wanted.without(capability),
                        (_, None) => known = false,
                    }
                }
                if known {
                    self.capabilities = wanted;
                }
                let line = Line::new(&self.about.server, "CAP").param(&self.shown());
                self.replies.push(line.param(if known { "ACK" } else { "NAK" }).text(names));
            }
            "END" => {
                self.negotiating = false;
                self.register(world);
            }
            other => {
                let other = other.to_owned();
                self.numeric_text(ERR_INVALIDCAPCMD, &[&other], "Invalid CAP command");
            }
        }
    }

    /// On several lines where it has to be: all but the last have a `*`, for who knows version 302.
    fn capability_lines(&mut self, subcommand: &str, names: Vec<String>) {
        let start = Line::new(&self.about.server, "CAP").param(&self.shown()).param(subcommand);
        let mut lines = vec![String::new()];
        for name in names {
            let line = lines.last_mut().expect("one at least");
            if line.len() + 1 + name.len() > start.room() - 2 {
                lines.push(name);
            } else {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&name);
            }
        }
        let last = lines.len() - 1;
        for (at, names) in lines.into_iter().enumerate() {
            let line = start.clone();
            self.replies.push(if at < last && self.knows_302 { line.param("*") } else { line }.text(&names));
        }
    }

    pub(super) fn nick(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        let Some(wanted) = message.param(0) else {
            return self.numeric_text(ERR_NONICKNAMEGIVEN, &[], "No nickname given");
        };
        let name = match Name::parse(wanted, self.about.nick_max) {
            Ok(name) if shown_nick(name.as_str()) == name.as_str() => name,
            Ok(_) => return self.numeric_text(ERR_ERRONEUSNICKNAME, &[wanted], "Erroneous nickname"),
            Err(error) => return self.numeric_text(ERR_ERRONEUSNICKNAME, &[wanted], &error.to_string()),
        };
        if self.nick.as_ref() == Some(&name) {
            return;
        }
        if let Some((channel, refusal)) = self.rename_refused_by(world, &name) {
            let (number, why) = refused(&refusal);
            return self.numeric_text(number, &[name.as_str(), &channel], &why);
        }
        if let Err(like) = world.claim(&name) {
            let why = if like.same_as(&name) {
                "Nickname is already in use".to_owned()
            } else {
                format!("Nickname reads like {like}, which is in use")
            };
            return self.numeric_text(ERR_NICKNAMEINUSE, &[wanted], &why);
        }
        if !self.registered {
            world.adopt(&name);
            self.nick = Some(name);
            return self.register(world);
        }
        // Until all rooms have taken it, nobody else takes the one or the other.
        if !self.rename(world, &name) {
            return world.disclaim(&name);
        }
        world.adopt(&name);
        let line = Line::new(&self.source(), "NICK").text(name.as_str());
        self.replies.push(line);
        self.nick = Some(name);
    }

    /// Returns the channel that would not take that name, and why. Asked of all of them before anything is done in one:
    /// a nick that cannot be had leaves no record.
    fn rename_refused_by(&self, world: &impl IrcWorld, name: &Name) -> Option<(String, JoinRefusal)> {
        // What differs in case only is the same to a room.
        if self.nick.as_ref().is_some_and(|nick| nick.same_as(name)) {
            return None;
        }
        let refused = |seat: &ChannelSeat| {
            let refusal = world.could_join(&seat.room, name.as_str()).err()?;
            Some((format!("#{}", seat.room), refusal))
        };
        self.rooms.values().find_map(refused)
    }

    /// In a room a member has one name, so another member comes and the one before leaves. Returns whether all rooms take it.
    fn rename(&mut self, world: &mut impl IrcWorld, name: &Name) -> bool {
        let mut members: Vec<_> = self.rooms.values().map(|seat| (seat.id, seat.member)).collect();
        let renamed = world.rename(&mut members, name);
        for (seat, (_, member)) in self.rooms.values_mut().zip(members) {
            let before = std::mem::replace(&mut seat.member, member);
            if before != member {
                seat.former.push(before);
            }
        }
        let Err((id, refusal)) = renamed else { return true };
        let channel = self.seat(id).map_or_else(String::new, |seat| format!("#{}", seat.room));
        let (number, why) = refused(&refusal);
        self.numeric_text(number, &[name.as_str(), &channel], &why);
        false
    }

    pub(super) fn user(&mut self, world: &mut impl IrcWorld, message: &IrcMessage) {
        if self.registered {
            return self.numeric_text(ERR_ALREADYREGISTRED, &[], "You may not reregister");
        }
        if message.params.len() < 4 || message.params[0].is_empty() {
            return self.need_more("USER");
        }
        self.user = Some(username(&message.params[0]));
        self.realname = Some(cut(&message.params[3], REALNAME_MAX).to_owned());
        self.register(world);
    }

    fn register(&mut self, world: &mut impl IrcWorld) {
        let (Some(nick), Some(realname)) = (&self.nick, &self.realname) else { return };
        if self.registered || self.negotiating {
            return;
        }
        self.registered = true;
        let realname = if realname.is_empty() { nick.to_string() } else { realname.clone() };
        world.register(self.user.as_deref().unwrap_or_default());
        world.describe(Some(&realname), None);
        self.realname = Some(realname);
        let ServerView { server, network, version, since, .. } = self.about.clone();
        let welcome = format!("Welcome to the {network} Network, {nick}");
        self.numeric_text(RPL_WELCOME, &[], &welcome);
        self.numeric_text(RPL_YOURHOST, &[], &format!("Your host is {server}, running version {version}"));
        self.numeric_text(RPL_CREATED, &[], &format!("This server was started {}", rfc3339(since)));
        // `i` for users, `n` for channels.
        let line = self.numeric(RPL_MYINFO).param(&server).param(&version).param("i").param("n");
        self.replies.push(line);
        self.isupport();
        self.lusers(world);
        self.motd();
    }

    pub(super) fn isupport(&mut self) {
        let tokens = [
            format!("AWAYLEN={AWAY_MAX}"),
            "CASEMAPPING=ascii".into(),
            format!("CHANLIMIT=#:{ROOMS_MAX}"),
            "CHANMODES=,,,n".into(),
            format!("CHANNELLEN={}", causerie_core::content::name::ROOM_NAME_CHARS_MAX + 1),
            "CHANTYPES=#".into(),
            format!("CHATHISTORY={HISTORY_MAX}"),
            "CLIENTTAGDENY=*,-reply,-draft/reply,-draft/react,-draft/unreact".into(),
            "MODES=1".into(),
            "MSGREFTYPES=msgid,timestamp".into(),
            format!("NAMELEN={REALNAME_MAX}"),
            format!("NETWORK={}", self.about.network.replace(' ', "\\x20")),
            format!("NICKLEN={}", self.about.nick_max),
            // Nobody has them, but programs end over a server that knows none.
            "PREFIX=(ov)@+".into(),
            "SAFELIST".into(),
            format!("TARGMAX=JOIN:,NAMES:,NOTICE:{TARGETS_MAX},PART:,PRIVMSG:{TARGETS_MAX},WHOIS:1"),
            format!("TOPICLEN={TOPIC_MAX}"),
            format!("USERLEN={USER_MAX}"),
            "UTF8ONLY".into(),
            "WHOX".into(),
        ];
        // At most 13 on a line [Modern, RPL_ISUPPORT].
        for tokens in tokens.chunks(10) {
            let line = tokens.iter().fold(self.numeric(RPL_ISUPPORT), |line, token| line.param(token));
            self.replies.push(line.text("are supported by this server"));
        }
    }

    pub(super) fn lusers(&mut self, world: &mut impl IrcWorld) {
        let (people, rooms) = (world.people(), world.room_count());
        let count = people.to_string();
        self.numeric_text(
            RPL_LUSERCLIENT,
            &[],
            &format!("There are {people} users and 0 invisible on 1 servers"),
        );
        self.numeric_text(RPL_LUSEROP, &["0"], "operator(s) online");
        self.numeric_text(RPL_LUSERCHANNELS, &[&rooms.to_string()], "channels formed");
        self.numeric_text(RPL_LUSERME, &[], &format!("I have {people} clients and 0 servers"));
        // The most that there were is not counted.
        self.numeric_text(RPL_LOCALUSERS, &[], &format!("Current local users {count}"));
        self.numeric_text(RPL_GLOBALUSERS, &[], &format!("Current global users {count}"));
    }

    pub(super) fn motd(&mut self) {
        let ServerView { server, motd, .. } = self.about.clone();
        if motd.is_empty() {
            return self.numeric_text(ERR_NOMOTD, &[], "MOTD File is missing");
        }
        self.numeric_text(RPL_MOTDSTART, &[], &format!("- {server} Message of the day -"));
        for line in &motd {
            self.numeric_text(RPL_MOTD, &[], &format!("- {line}"));
        }
        self.numeric_text(RPL_ENDOFMOTD, &[], "End of /MOTD command.");
    }
}
