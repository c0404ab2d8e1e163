//! Commands in a room, with `/` and as the original program did with `./`; and what TAB completes.

use super::room::RoomModel;

/// A line that begins as a command does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum SlashCommand {
    Help,
    Join(String),
    CreateRoom,
    Leave,
    Rooms,
    Members,
    Clock,
    Held,
    History,
    Topic(String),
    Me(String),
    Search(String),
    Name(String),
    Mouse,
    Quit,
}

/// Name, argument, what it does.
pub(super) const COMMANDS: [(&str, &str, &str); 15] = [
    ("help", "", "all of this"),
    ("join", "ROOM", "join a room, or go to it"),
    ("createRoom", "", "make a room with a port of its own, and join it"),
    ("leave", "", "leave this room"),
    ("rooms", "", "list the server's rooms"),
    ("members", "", "who is in the room"),
    ("clock", "", "how many messages of each have been delivered here"),
    ("held", "", "what has arrived before its causes, and what it waits for"),
    ("history", "", "what was said earlier"),
    ("topic", "TEXT", "what the room is about; nothing: about nothing"),
    ("me", "TEXT", "what you do"),
    ("search", "TEXT", "find a text, from the newest back"),
    ("name", "NAME", "be called otherwise, where the name was refused"),
    ("mouse", "", "scroll with the wheel, or leave the mouse to the terminal"),
    ("quit", "", "leave all rooms and end"),
];

/// Emoji by name. Few, and those that people type.
const EMOJI: [(&str, &str); 30] = [
    ("+1", "👍"),
    ("-1", "👎"),
    ("angry", "😠"),
    ("bug", "🐛"),
    ("cake", "🍰"),
    ("clap", "👏"),
    ("coffee", "☕"),
    ("confused", "😕"),
    ("cry", "😢"),
    ("eyes", "👀"),
    ("fire", "🔥"),
    ("grin", "😁"),
    ("heart", "💜"),
    ("hourglass", "⏳"),
    ("joy", "😂"),
    ("laughing", "😆"),
    ("ok", "👌"),
    ("party", "🎉"),
    ("point_up", "☝"),
    ("pray", "🙏"),
    ("question", "❓"),
    ("rocket", "🚀"),
    ("smile", "😄"),
    ("star", "⭐"),
    ("tada", "🎉"),
    ("thinking", "🤔"),
    ("thumbsup", "👍"),
    ("wave", "👋"),
    ("wink", "😉"),
    ("x", "❌"),
];

/// A text as a command: `None` if it is none, and an error in words.
pub(super) fn parse(text: &str) -> Option<Result<SlashCommand, String>> {
    let line = text.trim_end();
    let command =
        line.strip_prefix("./").or_else(|| line.strip_prefix('/').filter(|rest| !rest.starts_with('/')))?;
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let argument = argument.trim();
    let needed = |make: fn(String) -> SlashCommand| match argument {
        "" => Err(format!("/{name} wants something more: /help tells")),
        _ => Ok(make(argument.into())),
    };
    Some(match name {
        "help" => Ok(SlashCommand::Help),
        "join" => needed(SlashCommand::Join),
        "createRoom" => Ok(SlashCommand::CreateRoom),
        "leave" => Ok(SlashCommand::Leave),
        "rooms" => Ok(SlashCommand::Rooms),
        "members" => Ok(SlashCommand::Members),
        "clock" => Ok(SlashCommand::Clock),
        "held" => Ok(SlashCommand::Held),
        "history" => Ok(SlashCommand::History),
        "topic" => Ok(SlashCommand::Topic(argument.into())),
        "me" => needed(SlashCommand::Me),
        "search" => needed(SlashCommand::Search),
        "name" => needed(SlashCommand::Name),
        "mouse" => Ok(SlashCommand::Mouse),
        "quit" => Ok(SlashCommand::Quit),
        _ => Err(format!("there is no command /{name}: /help lists them, and //{name} says it")),
    })
}

/// A text as it is said: `//` for a slash at the start, and emoji by their names.
pub(super) fn said(text: &str) -> String {
    let text = if text.starts_with("//") { &text[1..] } else { text };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(':') {
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        let named = after[1..].find(':').map(|end| &after[1..=end]);
        match named.and_then(|name| EMOJI.iter().find(|(known, _)| *known == name)) {
            Some((name, emoji)) => {
                out.push_str(emoji);
                rest = &after[name.len() + 2..];
            }
            None => {
                out.push(':');
                rest = &after[1..];
            }
        }
    }
    out + rest
}

/// Returns where the word before the cursor starts, and what it may become.
pub(super) fn completions(before: &str, room: &RoomModel, rooms: &[String]) -> (usize, Vec<String>) {
    let start = before
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    let slash = if word.starts_with("./") { "./" } else { "/" };
    let mut choices: Vec<String> = if start == 0 && word.starts_with(slash) {
        let name = &word[slash.len()..];
        let starts = |(command, ..): &&(&str, &str, &str)| command.starts_with(name);
        COMMANDS.iter().filter(starts).map(|(command, ..)| format!("{slash}{command} ")).collect()
    } else if let Some(name) = word.strip_prefix(':').filter(|name| !name.is_empty()) {
        EMOJI
            .iter()
            .filter(|(known, _)| known.starts_with(name))
            .map(|(_, emoji)| format!("{emoji} "))
            .collect()
    } else if ["/join ", "./join "].contains(&before[..start].trim_start()) {
        rooms.iter().filter(|room| room.starts_with(word)).cloned().collect()
    } else {
        let plain = word.strip_prefix('@').unwrap_or(word);
        let at = &word[..word.len() - plain.len()];
        let low = plain.to_lowercase();
        let names = room.members.iter().filter(|m| Some(m.member) != room.member).map(|m| &m.name);
        let end = if start == 0 { ": " } else { " " };
        let matching = names.filter(|name| !low.is_empty() && name.to_lowercase().starts_with(&low));
        matching.map(|name| format!("{at}{name}{end}")).collect()
    };
    choices.sort();
    choices.dedup();
    (start, choices)
}

#[cfg(test)]
mod tests {
    use super::super::samples::welcomed;
    use super::*;

    #[test]
    fn commands_work_with_a_slash_and_as_they_did() {
        for text in ["/join lobby", "./join  lobby ", "/join\tlobby"] {
            assert_eq!(parse(text), Some(Ok(SlashCommand::Join("lobby".into()))));
        }
        for (name, argument, _) in COMMANDS {
            for slash in ["/", "./"] {
                assert!(matches!(parse(&format!("{slash}{name} {argument}")), Some(Ok(_))), "{name}");
            }
        }
        assert!(matches!(parse("/join"), Some(Err(_))));
        assert!(matches!(parse("/etc/passwd"), Some(Err(_))));
        assert_eq!(parse("//etc"), None);
        assert_eq!(parse("a /help"), None);
        assert_eq!(parse(".. /help"), None);
    }

    #[test]
    fn what_is_said_has_its_emoji() {
        assert_eq!(said(":+1: at 12:30:45 :nothing: :tada::x:"), "👍 at 12:30:45 :nothing: 🎉❌");
        assert_eq!(said("//help"), "/help");
        assert_eq!(said("::"), "::");
    }

    #[test]
    fn words_are_completed() {
        let room = welcomed();
        let rooms = ["lobby".to_owned(), "ops".into()];
        let choices = |before: &str| completions(before, &room, &rooms);
        assert_eq!(choices("b"), (0, vec!["Bob: ".into()]));
        assert_eq!(choices("hi @b"), (3, vec!["@Bob ".into()]));
        assert_eq!(choices("/he"), (0, vec!["/held ".into(), "/help ".into()]));
        assert_eq!(choices("./joi"), (0, vec!["./join ".into()]));
        assert_eq!(choices("/join o"), (6, vec!["ops".into()]));
        assert_eq!(choices("so :tad"), (3, vec!["🎉 ".into()]));
        assert_eq!(choices("日本\u{3000}e"), (9, vec!["Eve ".into()]));
        assert_eq!(choices("a"), (0, vec![]), "not oneself");
        assert_eq!(choices(""), (0, vec![]));
    }
}
