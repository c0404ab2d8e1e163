//! The line-oriented chat: a message per line in, a message per line out.

pub(crate) mod console;
mod past;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use causerie_client::Position;
use causerie_client::{
    ConnectError, End, Epoch, ErrorCode, Event, History, HistoryPage, Place, Post, Room, SayError,
};
use causerie_core::content::text::visible;
use causerie_core::log::page::Standing;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::console::{Console, Input};
use self::past::Past;
use crate::entrance::Entrance;
use crate::log::LIMIT;
use crate::told::Told;
use crate::wording::{self, label, messages, show};

/// End of a stay in a room.
pub(crate) enum Stay {
    /// The member left, as asked.
    Left,
    /// The room ended, or nobody reads our output.
    Over,
}

const HELP: &str = "\
./members  who is in the room, in order of joining
./clock    how many messages of each have been delivered here (the vector clock)
./held     what has arrived before its causes, and what it waits for
./history  what was said earlier, 50 messages at a time; ./history N: N at a time
./leave    leave the room
./help     this
Anything else is said to the room.";

/// The commands of [`HELP`] that are a line of their own, beside `./history`.
const COMMANDS: [&str; 5] = ["./members", "./clock", "./held", "./leave", "./help"];

/// Time that input may take to go on behind `./leave`. A guess: what is in a pipe already takes microseconds.
const REST_TIME: Duration = Duration::from_millis(100);

const WRONG_COMMAND: &str = "Please enter correct command";

pub(crate) struct Chat {
    pub(crate) entrance: Entrance,
    pub(crate) history: bool,
    pub(crate) commands: Commands,
    pub(crate) interrupted: Arc<Notify>,
    /// Number of lines that were to be said and were not.
    pub(crate) unsaid: Cell<u64>,
}

/// Lines that are taken for commands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Commands {
    /// Those that begin as commands do: somebody types, or the original's dialogue is followed.
    All,
    /// Those of [`HELP`], alone on their line. A log that is piped into a room may begin its lines as it likes.
    Documented,
    None,
}

/// The meaning of a line in a room.
#[derive(Debug, Eq, PartialEq)]
enum Meaning<'l> {
    Nothing,
    Leave,
    /// Number of messages from before; `None` if it does not say rightly how many.
    History(Option<u64>),
    Command(&'l str),
    Text,
}

impl Commands {
    /// Returns the meaning of a line, whose trailing white space does not count.
    fn read(self, line: &str, is_terminal: bool) -> Meaning<'_> {
        let line = line.trim_end();
        let history = history_command(line, is_terminal);
        match (self, line, history) {
            (_, "", _) => Meaning::Nothing,
            (Self::None, ..) => Meaning::Text,
            (_, "./leave", _) => Meaning::Leave,
            (Self::All, _, Some(limit)) => Meaning::History(limit),
            (Self::Documented, _, Some(Some(limit))) => Meaning::History(Some(limit)),
            (Self::All, command, _) if command.starts_with("./") => Meaning::Command(command),
            (Self::Documented, command, _) if COMMANDS.contains(&command) => Meaning::Command(command),
            _ => Meaning::Text,
        }
    }
}

impl Chat {
    // The dialogue of the original program.

    /// Asks until there is a usable line; `None` at the end of input.
    async fn answer(&self, console: &mut Console, prompt: &str) -> Option<String> {
        loop {
            tokio::select! {
                input = console.ask(prompt) => match input {
                    Input::Line(line) => return Some(line),
                    Input::Unusable(why) => console.notice(&why),
                    Input::Interrupted | Input::End => return None,
                },
                () = self.interrupted.notified() => return None,
            }
        }
    }

    pub(crate) async fn dialogue(&self, console: &mut Console, name: Option<String>) -> anyhow::Result<()> {
        drop(self.entrance.directory().await?);
        loop {
            let Some(command) = self.answer(console, "Enter command : ").await else { return Ok(()) };
            match command.trim() {
                "./createRoom" => match self.entrance.create_port_room().await {
                    Ok(room) => console.message(&format!("CHATROOM CREATED : {}", visible(&room.name)))?,
                    Err(error) => console.notice(&error.to_string()),
                },
                "./rooms" => {
                    for room in self.entrance.directory().await?.rooms().await? {
                        console.message(&wording::room(&room))?;
                    }
                }
                "./join" => {
                    let Some(room) = self.ask_room(console).await? else { continue };
                    if let Some(room) = self.ask_name(console, &room, name.as_deref()).await? {
                        match self.stay(console, room).await? {
                            Stay::Left => {}
                            Stay::Over => return Ok(()),
                        }
                    }
                }
                "" => {}
                _ => {
                    console.message(WRONG_COMMAND)?;
                    console.notice("./createRoom  ./join  ./rooms");
                }
            }
        }
    }

    /// Asks for a room, by its port, as the original did, or by its name; `None` if none was chosen.
    async fn ask_room(&self, console: &mut Console) -> anyhow::Result<Option<String>> {
        let Some(room) = self.answer(console, "Enter port of 5 digits: ").await else { return Ok(None) };
        let room = room.trim().to_owned();
        let rooms = self.entrance.directory().await?.rooms().await?;
        if room.is_empty() || rooms.iter().any(|r| r.name == room) {
            return Ok((!room.is_empty()).then_some(room));
        }
        // Where a port did not answer, the original tried the next one.
        let port = room.parse::<u16>().ok();
        let next = port.and_then(|port| rooms.iter().filter_map(|r| r.port).filter(|&p| p > port).min());
        match next {
            Some(next) => {
                let question = format!("No room at port {room}. The next one is {next}: join it? [Y/n] ");
                let yes =
                    self.answer(console, &question).await.is_some_and(|a| !a.trim().starts_with(['n', 'N']));
                Ok(yes.then(|| next.to_string()))
            }
            None => {
                console.notice(&format!(
                    "There is no room '{}'. ./rooms lists those there are.",
                    visible(&room)
                ));
                Ok(None)
            }
        }
    }

    /// Asks for a name until one is taken, or input ends.
    async fn ask_name(
        &self,
        console: &mut Console,
        room: &str,
        given: Option<&str>,
    ) -> anyhow::Result<Option<Room>> {
        let mut given = given.map(str::to_owned);
        loop {
            let name = match given.take() {
                Some(name) => name,
                None => match self.answer(console, "Enter Name : ").await {
                    Some(name) => name,
                    None => return Ok(None),
                },
            };
            match self.entrance.join(room, &name, false).await {
                Ok(room) => return Ok(Some(room)),
                Err(error) => {
                    let another = |code| matches!(code, ErrorCode::NameTaken | ErrorCode::NameInvalid);
                    match error.downcast_ref::<End>() {
                        Some(End::Refused { code, message, .. }) if another(*code) => console.notice(message),
                        Some(End::Refused { message, .. }) => {
                            console.notice(message);
                            return Ok(None);
                        }
                        _ => return Err(error),
                    }
                }
            }
        }
    }

    // In a room.

    /// Talks until the member leaves, input ends, or the session is over.
    pub(crate) async fn stay(&self, console: &mut Console, mut room: Room) -> anyhow::Result<Stay> {
        if let Some(why) = room.not_restored() {
            console.notice(&visible(why));
        }
        // A line that the session has no room for yet.
        let mut waiting: Option<String> = None;
        // Whether the lines behind `./leave` would have been said to this room.
        let ends_with_the_room = self.commands != Commands::All && !console.is_terminal();
        let mut told = Told::default();
        let mut past = Past::default();
        let mut leaving = false;
        let mut ended_by_input = false;
        let mut earlier: Option<Earlier> = None;
        let mut asking: Option<JoinHandle<EarlierAnswer>> = None;
        loop {
            if let Some(line) = waiting.take() {
                waiting = self.say(console, &room, line);
            }
            let event = tokio::select! {
                // What is not shown yet is not done with either: a chat that is killed meanwhile is told it again.
                event = async {
                    if past.is_waiting() { room.further_event().await } else { room.next_event().await }
                } => event,
                input = console.ask(""), if !leaving && waiting.is_none() => {
                    match input {
                        Input::Line(line) => match self.commands.read(&line, console.is_terminal()) {
                            Meaning::Leave => {
                                leaving = true;
                                room.leave();
                            }
                            Meaning::History(limit) => match (limit, earlier.take()) {
                                (None, kept) => {
                                    earlier = kept;
                                    console.notice("./history N: N is a number, 1 or more");
                                }
                                (Some(limit), Some(earlier)) => asking = Some(tokio::spawn(earlier.ask(limit))),
                                (Some(_), None) => console.notice("one page after the other, please"),
                            },
                            Meaning::Command(command) => answer_command(console, &room, command),
                            Meaning::Nothing => {}
                            Meaning::Text => waiting = Some(line),
                        },
                        Input::Unusable(why) => self.leave_unsaid(console, &why),
                        Input::Interrupted | Input::End => {
                            leaving = true;
                            ended_by_input = true;
                            room.leave();
                        }
                    }
                    continue;
                }
                answer = async { asking.as_mut().expect("looked at").await }, if asking.is_some() => {
                    asking = None;
                    let (place, page) = answer?;
                    match show_page(console, &place, page) {
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                        shown => shown?,
                    }
                    earlier = Some(place);
                    continue;
                }
                () = self.interrupted.notified() => {
                    if leaving {
                        return Err(anyhow!("interrupted with {} not taken yet", messages(room.on_their_way())));
                    }
                    leaving = true;
                    ended_by_input = true;
                    room.leave();
                    continue;
                }
            };
            if matches!(event, Some(Event::Ended(_)))
                && let Some(asked) = asking.take()
            {
                // What was asked for is still shown, if anybody reads it.
                let (place, page) = asked.await?;
                let _ = show_page(console, &place, page);
            }
            match event {
                Some(Event::Ended(End::Left)) if ended_by_input => return Ok(Stay::Over),
                Some(Event::Ended(End::Left)) if ends_with_the_room => {
                    self.note_rest(console).await;
                    return Ok(Stay::Left);
                }
                Some(Event::Ended(End::Left)) => return Ok(Stay::Left),
                Some(Event::Ended(end)) => return Err(end.into()),
                None => return Err(anyhow!("the session is over")),
                Some(event) => {
                    if let Event::Welcomed { room, epoch, first, position, .. } = &event {
                        let shown_from = if self.history { *first } else { position.saturating_add(1) };
                        earlier = Some(Earlier::new(&self.entrance, room, *epoch, shown_from));
                    }
                    let mut events = past.take(event).into_iter();
                    let shown = events.try_for_each(|(event, standing)| {
                        self.show(console, &room, &mut told, event, standing)
                    });
                    if let Err(error) = shown {
                        if error.kind() != io::ErrorKind::BrokenPipe {
                            return Err(error.into());
                        }
                        // Nobody reads any more, so there is nothing to stay for.
                        leaving = true;
                        ended_by_input = true;
                        room.leave();
                    }
                }
            }
        }
    }

    /// Says a line; gives it back if there is no room for it yet.
    fn say(&self, console: &Console, room: &Room, line: String) -> Option<String> {
        match room.say(&line) {
            Ok(_) => None,
            Err(SayError::Full { .. }) => Some(line),
            Err(error) => {
                self.leave_unsaid(console, &format!("not said: {error}"));
                None
            }
        }
    }

    /// Tells why a line was not said, and counts it.
    fn leave_unsaid(&self, console: &Console, why: &str) {
        console.notice(why);
        self.unsaid.set(self.unsaid.get() + 1);
    }

    /// Notes whether the input goes on behind the line that left the room.
    ///
    /// A file or a program's output is there already. Somebody who keeps the pipe open without a word is not waited for.
    async fn note_rest(&self, console: &mut Console) {
        let rest = async {
            loop {
                match console.ask("").await {
                    Input::Line(line) if line.trim_end().is_empty() => {}
                    Input::Line(_) | Input::Unusable(_) => return true,
                    Input::Interrupted | Input::End => return false,
                }
            }
        };
        if tokio::time::timeout(REST_TIME, rest).await == Ok(true) {
            self.leave_unsaid(console, "what stands behind ./leave was not said");
        }
    }

    fn show(
        &self,
        console: &Console,
        room: &Room,
        told: &mut Told,
        event: Event,
        standing: Standing,
    ) -> io::Result<()> {
        match event {
            Event::Welcomed { room, created, members, .. } => {
                let room = visible(&room);
                if created {
                    console.notice(&format!("the room '{room}' did not exist: it has been created"));
                }
                let names: Vec<_> = members.iter().map(|m| visible(&m.name).into_owned()).collect();
                console.notice(&format!("in '{room}': {} (./help lists commands)", names.join(", ")));
            }
            Event::Delivered(Post { id, author, body, own, held_for, history, .. }) => {
                let line = wording::said(id, &author, body, standing, told);
                let Some(line) = line.filter(|_| !own && (!history || self.history)) else { return Ok(()) };
                if let Some(held_for) = held_for {
                    let name = visible(&author);
                    console.notice(&format!("released {} after {}", label(Some(&name), id), show(held_for)));
                }
                console.message(&visible(&line))?;
            }
            Event::Unsaid { reason, .. } => {
                self.leave_unsaid(console, &format!("not said: {}", visible(&reason)))
            }
            Event::Held { id, author, waits_for, waits_for_author, .. } => {
                let held = label(author.as_deref(), id);
                let cause = label(waits_for_author.as_deref(), waits_for);
                console.notice(&format!("holding {held}: it waits for {cause}"));
            }
            Event::Joined { member, name, history }
                if (!history || self.history) && Some(member) != room.member() =>
            {
                console.notice(&format!("{} joined the chatroom", visible(&name)));
            }
            Event::Left { member, name, reason, history }
                if (!history || self.history) && Some(member) != room.member() =>
            {
                let reason =
                    if reason.is_empty() { String::new() } else { format!(" ({})", visible(&reason)) };
                console.notice(&format!("{} left the chatroom{reason}", visible(&name)));
            }
            Event::Reconnecting { reason, retry_in } => {
                let retry = show(retry_in);
                console.notice(&format!("connection lost ({}), trying again in {retry}", visible(&reason)));
            }
            Event::Resumed { resent: 0 } => console.notice("back"),
            Event::Resumed { resent } => console.notice(&format!("back; {} sent again", messages(resent))),
            Event::Rejoined { reason, renamed, .. } => {
                let resent = messages(renamed.len());
                console.notice(&format!("joined again ({}); {resent} sent again", visible(&reason)));
            }
            Event::Trouble { message } => console.notice(&format!("the server: {}", visible(&message))),
            Event::Gap { from, to } => {
                let count = to.since(from).unwrap_or(0).saturating_add(1);
                console.notice(&format!("gap: the server does not keep {} any more", messages(count)));
            }
            Event::Refused { id, reason } => {
                console.notice(&format!("message {} was refused for now: {}", id.seq, visible(&reason)));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Messages from before those that are shown.
struct Earlier {
    entrance: Entrance,
    room: String,
    epoch: Option<Epoch>,
    place: Place,
    history: Option<History>,
}

type EarlierAnswer = (Earlier, Result<Option<HistoryPage>, ConnectError>);

impl Earlier {
    fn new(entrance: &Entrance, room: &str, epoch: Epoch, shown_from: Position) -> Self {
        let place = Place::Position(shown_from);
        Self { entrance: entrance.clone(), room: room.into(), epoch: Some(epoch), place, history: None }
    }

    async fn ask(mut self, limit: u64) -> EarlierAnswer {
        let page = self.page(limit).await;
        match &page {
            Ok(Some(page)) => self.place = Place::Position(page.from),
            Ok(None) => {}
            Err(ConnectError::Refused { code: ErrorCode::Diverged, .. }) => {
                // Another room of that name: from its end.
                (self.epoch, self.place, self.history) = (None, Place::End, None);
            }
            Err(_) => self.history = None,
        }
        (self, page)
    }

    async fn page(&mut self, limit: u64) -> Result<Option<HistoryPage>, ConnectError> {
        if self.history.is_none() {
            let mut history = self.entrance.history(&self.room).await?;
            history.expect_epoch(self.epoch);
            history.seek(self.place);
            self.history = Some(history);
        }
        self.history.as_mut().expect("just made").older(limit).await
    }
}

/// Returns how much history a line asks for, if it does; `Some(None)` if it does not say so rightly. With one stroke less
/// only where somebody types: in a pipe that is a text.
fn history_command(line: &str, is_terminal: bool) -> Option<Option<u64>> {
    let mut words = line.split_whitespace();
    match words.next()? {
        "./history" => {}
        "/history" if is_terminal => {}
        _ => return None,
    }
    let limit = words.next().map_or(Some(LIMIT), |limit| limit.parse().ok());
    Some(limit.filter(|&limit| limit > 0 && words.next().is_none()))
}

fn show_page(
    console: &Console,
    earlier: &Earlier,
    page: Result<Option<HistoryPage>, ConnectError>,
) -> io::Result<()> {
    match page {
        Ok(None) => console.notice("there is nothing earlier"),
        Ok(Some(page)) => {
            let mut told = Told::default();
            for entry in &page.entries {
                console.message(&wording::line(entry, &mut told))?;
            }
            match page.has_older() {
                true => {
                    console.notice(&format!("that was {} to {}; ./history tells more", page.from, page.to))
                }
                false => {
                    console.notice(&format!("that was {} to {}: from the beginning", page.from, page.to))
                }
            }
        }
        Err(error) => {
            console.notice(&format!("no history from {}: {error}", visible(&earlier.entrance.server)))
        }
    }
    Ok(())
}

fn answer_command(console: &Console, room: &Room, command: &str) {
    match command {
        "./members" => {
            let members = room.members();
            console.notice(&causerie_core::content::text::python_list(members.iter().map(|m| &m.name[..])));
        }
        "./clock" => {
            let vector = room.vector();
            let counts: Vec<_> = vector.iter().map(|(_, count)| count).collect();
            let names: Vec<_> = vector.iter().map(|(m, _)| visible(&m.name).into_owned()).collect();
            console.notice(&format!("{counts:?}  {}", names.join(", ")));
        }
        "./held" => {
            let held = room.held();
            if held.is_empty() {
                console.notice("nothing is held back");
            }
            for h in held {
                let root = h.root_cause.filter(|root| *root != h.waits_for);
                let root = root.map_or(String::new(), |root| format!(" (and that, in the end, for {root})"));
                console.notice(&format!("{}{root}", wording::held(&h)));
            }
        }
        "./help" => HELP.lines().for_each(|line| console.notice(line)),
        _ => console.notice(&format!("unknown command {}; ./help lists them", visible(command))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_pipe_only_whole_lines_are_commands() {
        let read = |line| Commands::Documented.read(line, false);
        for line in ["./members", "./clock ", "./held", "./help"] {
            assert_eq!(read(line), Meaning::Command(line.trim_end()));
        }
        assert_eq!(read("./leave"), Meaning::Leave);
        assert_eq!(read("./history 7"), Meaning::History(Some(7)));
        for line in [
            "./configure failed",
            "./leave me alone",
            "/usr/bin/x",
            "./history of x",
            "./unknown",
            " ./leave",
        ] {
            assert_eq!(read(line), Meaning::Text, "{line}");
            assert_eq!(Commands::None.read(line, false), Meaning::Text);
        }
        assert_eq!(Commands::None.read("./leave", false), Meaning::Text);
        assert_eq!(Commands::All.read("./unknown", true), Meaning::Command("./unknown"));
        assert_eq!(Commands::All.read("./history x", true), Meaning::History(None));
    }
}
