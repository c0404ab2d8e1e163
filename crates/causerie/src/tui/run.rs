//! The loop: takes in what happens, does what [`update`] says, and draws.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use causerie_client::{
    Direction, End, ErrorCode, Event as RoomEvent, MemberInfo, Place, Room, Speaker, TrustError, private,
};
use causerie_core::content::name::RoomName;
use causerie_core::session::kept_name;
use crossterm::event::{Event as TerminalEvent, EventStream, MouseEventKind};
use futures_util::StreamExt as _;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::deletion::TAKE_BACK;
use super::model::{Effect, Facts, Model, PAGE, ScreenEvent};
use super::places::Places;
use super::room::DraftPurpose;
use super::terminal::Terminal;
use super::theme;
use super::update::update;
use crate::config::chat::ChatSettings;
use crate::config::setup;
use crate::entrance::{Entrance, NO_STATE};
use crate::wording::{failure, messages};

/// Between two drawings at least.
const FRAME: Duration = Duration::from_millis(25);
/// Time between two looks at what is being written, to keep it, and at what is held.
const TICK: Duration = Duration::from_millis(500);
/// Events of rooms that wait for the screen; rooms wait where there are more.
const EVENTS_MAX: usize = 1_024;
/// Time that rooms that are being left may take where nobody waits for it any more.
const FAREWELL: Duration = Duration::from_secs(2);
/// Lines of one turn of a mouse's wheel.
const WHEEL: isize = 3;

const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

pub(crate) async fn run(
    entrance: Entrance,
    settings: ChatSettings,
    notes: Vec<String>,
) -> anyhow::Result<()> {
    let name = settings.name.unwrap_or_else(setup::own_name);
    let places_path = entrance.state.as_ref().map(|state| {
        // No room has that name.
        state.join(kept_name(&entrance.server, "", &name)).with_extension("rooms")
    });
    let kept = places_path.as_ref().and_then(|path| fs::read_to_string(path).ok());
    let places = kept.as_deref().map(Places::parse).unwrap_or_default();
    let room = settings.room.or_else(|| places.current.clone()).unwrap_or_else(|| "lobby".into());
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    let mut model = Model::new(&entrance.server, &name, &room, zone);
    model.palette = theme::palette(settings.theme);
    model.size = crossterm::terminal::size()?;
    (model.rooms_pane, model.members_pane) = (settings.rooms_pane, settings.members_pane);
    (model.shows_clock, model.rings) = (settings.clock, settings.notify);
    // The console of Linux has nothing to open them with, and old ones show the sequence.
    model.links = settings.links && env::var_os("TERM").is_none_or(|term| term != "linux");
    let (events, incoming) = mpsc::channel(EVENTS_MAX);
    let terminal = Terminal::enter(model.size)?;
    let mut client = FullScreenClient {
        entrance,
        model,
        terminal,
        events,
        incoming,
        rooms: BTreeMap::new(),
        drafts: BTreeMap::new(),
        places_path,
        places: places.clone(),
        is_draft_lost: false,
    };
    let ended = client.run(room, places, notes).await;
    client.keep();
    let unsent: usize = client.rooms.values().map(|handle| handle.speaker.on_their_way()).sum();
    drop(client);
    ended?;
    if unsent > 0 {
        eprintln!(
            "{} still on the way: the next chat in that room sends what has not arrived",
            messages(unsent)
        );
    }
    Ok(())
}

struct FullScreenClient {
    entrance: Entrance,
    model: Model,
    terminal: Terminal,
    events: mpsc::Sender<ScreenEvent>,
    incoming: mpsc::Receiver<ScreenEvent>,
    rooms: BTreeMap<String, Handle>,
    /// State on the disk.
    drafts: BTreeMap<PathBuf, String>,
    places_path: Option<PathBuf>,
    /// State on the disk.
    places: Places,
    /// The text being written could not be written down, which was told.
    is_draft_lost: bool,
}

/// A room that is joined.
struct Handle {
    speaker: Speaker,
    /// The members may have changed.
    members_changed: bool,
    /// Something has happened since its facts were taken.
    changed: bool,
}

/// Room that a task has joined.
type NewSpeaker = (String, Speaker);

/// Next step of the loop after an effect.
#[derive(Eq, PartialEq)]
enum Then {
    GoOn,
    End,
}

impl FullScreenClient {
    async fn run(&mut self, room: String, places: Places, notes: Vec<String>) -> anyhow::Result<()> {
        let (joined_in, mut joined) = mpsc::unbounded_channel::<NewSpeaker>();
        let mut keys = EventStream::new();
        let mut signals = TerminalSignals::new()?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut drawn, mut stale) = (Instant::now() - FRAME, true);
        // A key is on the screen at once, also between two frames of a busy room; many of them are frames again.
        let (mut answered, mut pressed) = (Instant::now() - FRAME, false);
        if let Some(link) = &self.entrance.link {
            self.take(
                ScreenEvent::Notice(format!("this connection is disturbed on purpose: {link}")),
                &joined_in,
            )?;
        }
        if self.entrance.state.is_none() {
            self.take(ScreenEvent::Notice(NO_STATE.into()), &joined_in)?;
        }
        for note in notes {
            self.take(ScreenEvent::Notice(note), &joined_in)?;
        }
        self.act(Effect::Join(room), &joined_in)?;
        for effect in self.model.restore(places) {
            self.act(effect, &joined_in)?;
        }
        let mut terminated = None;
        loop {
            let answers = pressed && answered.elapsed() >= FRAME;
            if stale && (answers || drawn.elapsed() >= FRAME) {
                self.facts(&joined_in)?;
                self.terminal.draw(&self.model)?;
                (drawn, stale) = (Instant::now(), false);
                if std::mem::take(&mut pressed) {
                    answered = drawn;
                }
            }
            let event = tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    TerminalSignal::Terminate => {
                        terminated.get_or_insert(Instant::now() + FAREWELL);
                        ScreenEvent::Terminate
                    }
                    TerminalSignal::Stop => {
                        self.suspend()?;
                        continue;
                    }
                    TerminalSignal::GoOn => {
                        self.go_on()?;
                        continue;
                    }
                },
                () = sleep_until(terminated), if terminated.is_some() => return Ok(()),
                key = keys.next() => match key {
                    Some(Ok(event)) => match of_terminal(event) {
                        Some(event) => event,
                        None => continue,
                    },
                    // The terminal is gone; what was said goes out yet.
                    Some(Err(_)) | None => {
                        terminated.get_or_insert(Instant::now() + FAREWELL);
                        keys = EventStream::new();
                        tokio::time::sleep(FRAME).await;
                        continue;
                    }
                },
                Some((room, speaker)) = joined.recv() => {
                    self.rooms.insert(room, Handle { speaker, members_changed: true, changed: true });
                    stale = true;
                    continue;
                }
                event = self.incoming.recv() => event.expect("this end has a sender as well"),
                () = tokio::time::sleep_until(drawn + FRAME), if stale => continue,
                _ = tick.tick() => {
                    self.keep();
                    for handle in self.rooms.values_mut() {
                        handle.changed = true;
                    }
                    self.facts(&joined_in)?;
                    // Also where its signal was not seen, as while the process was stopped.
                    let (columns, lines) = crossterm::terminal::size()?;
                    if (columns, lines) != self.model.size {
                        stale = true;
                        self.take(ScreenEvent::Resize(columns, lines), &joined_in)?;
                    }
                    // Times of what is held pass.
                    stale |= !self.model.room().held.is_empty();
                    continue;
                }
            };
            (stale, pressed) = (true, pressed || matches!(event, ScreenEvent::Key(_)));
            if self.take(event, &joined_in)? == Then::End {
                return Ok(());
            }
        }
    }

    fn take(
        &mut self,
        event: ScreenEvent,
        joined: &mpsc::UnboundedSender<NewSpeaker>,
    ) -> anyhow::Result<Then> {
        if let ScreenEvent::Room { room, event } = &event
            && let Some(handle) = self.rooms.get_mut(room)
        {
            handle.changed = true;
            handle.members_changed |= matches!(
                event,
                RoomEvent::Joined { .. }
                    | RoomEvent::Left { .. }
                    | RoomEvent::Resumed { .. }
                    | RoomEvent::Rejoined { .. }
            );
        }
        // Also where the size is what it was: on its way there the terminal may have dropped what did not fit.
        let is_resized = matches!(event, ScreenEvent::Resize(..));
        let effects = update(&mut self.model, event);
        if is_resized {
            self.terminal.redraw(self.model.size)?;
        }
        for effect in effects {
            if self.act(effect, joined)? == Then::End {
                return Ok(Then::End);
            }
        }
        Ok(Then::GoOn)
    }

    /// Asks the sessions what no event tells.
    fn facts(&mut self, joined: &mpsc::UnboundedSender<NewSpeaker>) -> anyhow::Result<()> {
        let mut told = Vec::new();
        for (room, handle) in self.rooms.iter_mut().filter(|(_, handle)| handle.changed) {
            let members: Option<Vec<MemberInfo>> =
                std::mem::take(&mut handle.members_changed).then(|| handle.speaker.members());
            handle.changed = false;
            let speaker = &handle.speaker;
            let (member, held, on_their_way) = (speaker.member(), speaker.held(), speaker.on_their_way());
            let clock = if self.model.shows_clock { clock_in_words(speaker) } else { String::new() };
            told.push(ScreenEvent::Facts {
                room: room.clone(),
                facts: Facts { member, members, held, on_their_way, clock },
            });
        }
        for event in told {
            self.take(event, joined)?;
        }
        Ok(())
    }

    fn act(&mut self, effect: Effect, joined: &mpsc::UnboundedSender<NewSpeaker>) -> anyhow::Result<Then> {
        match effect {
            Effect::Join(room) => self.join(room, true, joined.clone()),
            Effect::JoinAgain(room) => self.join(room, false, joined.clone()),
            Effect::CreateRoom => self.ask(|entrance| async move {
                let made = entrance.create_port_room().await;
                told(made.map(|room| ScreenEvent::Created(room.name)))
            }),
            Effect::ListRooms => self.ask(|entrance| async move {
                let rooms = async { Ok(entrance.directory().await?.rooms().await?) }.await;
                told(rooms.map(|rooms| {
                    ScreenEvent::Rooms(rooms.into_iter().map(|r| (r.name, r.members)).collect())
                }))
            }),
            Effect::Say { room, body, text, purpose } => {
                let said = match self.rooms.get_mut(&room) {
                    Some(handle) => {
                        handle.changed = true;
                        handle.speaker.send(&body).map(drop).map_err(|error| error.to_string())
                    }
                    None => Err("not in the room yet".into()),
                };
                if let Err(reason) = said {
                    return self.take(ScreenEvent::NotSaid { room, text, purpose, reason }, joined);
                }
            }
            Effect::Leave(room) => match self.rooms.get(&room) {
                Some(handle) => handle.speaker.leave(),
                None => {
                    let reason = End::Left.to_string();
                    return self.take(ScreenEvent::NotJoined { room, reason }, joined);
                }
            },
            Effect::Earlier { room, epoch, before } => self.ask(move |entrance| async move {
                let page = async {
                    let mut history = entrance.history(&room).await?;
                    history.expect_epoch(epoch);
                    history.seek(Place::Position(before));
                    history.older(PAGE).await
                };
                let page = page.await.map_err(|error| error.to_string());
                ScreenEvent::Earlier { room, page }
            }),
            Effect::Around { room, epoch, before, limit, id, other } => {
                self.ask(move |entrance| async move {
                    let page = async {
                        let mut history = entrance.history(&room).await?;
                        history.expect_epoch(epoch);
                        history.page(Direction::Before, Place::Position(before), limit).await
                    };
                    let page = page.await.map_err(|error| error.to_string());
                    ScreenEvent::Around { id, other, page }
                })
            }
            Effect::SayDeletion { room, number } => self.ask(move |_| async move {
                tokio::time::sleep(TAKE_BACK).await;
                ScreenEvent::DeletionDue { room, number }
            }),
            Effect::Clock(room) => {
                let counts = self.rooms.get(&room).map(|handle| clock_in_words(&handle.speaker));
                let counts = counts.unwrap_or_default();
                return self.take(ScreenEvent::Notice(format!("delivered here: {counts}")), joined);
            }
            Effect::Bell => self.terminal.bell()?,
            Effect::Notify(way, text) => self.terminal.notify(way, &text)?,
            Effect::Copy(text) => self.terminal.copy(&text)?,
            Effect::Mouse(on) => self.terminal.mouse(on)?,
            Effect::Suspend => self.suspend()?,
            Effect::Redraw => self.terminal.redraw(self.model.size)?,
            Effect::Quit => return Ok(Then::End),
        }
        Ok(Then::GoOn)
    }

    /// Does something in the background, and takes in what comes of it.
    fn ask<F: Future<Output = ScreenEvent> + Send + 'static>(&self, question: impl FnOnce(Entrance) -> F) {
        let (answer, events) = (question(self.entrance.clone()), self.events.clone());
        tokio::spawn(async move {
            let _ = events.send(answer.await).await;
        });
    }

    fn join(&self, room: String, create: bool, joined: mpsc::UnboundedSender<NewSpeaker>) {
        let (entrance, name, events) = (self.entrance.clone(), self.model.name.clone(), self.events.clone());
        let draft = self.draft_path(&room);
        tokio::spawn(async move {
            if let Some(text) = draft.and_then(|path| fs::read_to_string(path).ok()) {
                let _ = events.send(ScreenEvent::Draft { room: room.clone(), text }).await;
            }
            if let Some(session) = enter(&entrance, &room, &name, create, &events).await {
                let _ = joined.send((room.clone(), session.speaker()));
                follow(session, room, events).await;
            }
        });
    }

    // What is kept for the next time.

    fn keep(&mut self) {
        self.keep_drafts();
        self.keep_places();
    }

    /// Writes down which rooms are joined and how far they are read, where that has changed.
    fn keep_places(&mut self) {
        let places = self.model.places();
        if places == self.places {
            return;
        }
        // What cannot be kept is told with the drafts.
        if let Some(path) = &self.places_path
            && keep(path, &places.to_text()).is_ok()
        {
            self.places = places;
        }
    }

    fn draft_path(&self, room: &str) -> Option<PathBuf> {
        let name = kept_name(&self.entrance.server, room, &self.model.name);
        Some(self.entrance.state.as_ref()?.join(name).with_extension("draft"))
    }

    /// Writes down what is being written, where it has changed.
    fn keep_drafts(&mut self) {
        let mut trouble = None;
        for room in &self.model.rooms {
            let Some(path) = self.draft_path(&room.name) else { return };
            let is_text = matches!(room.purpose, DraftPurpose::Say | DraftPurpose::Reply(_));
            let text = if is_text { room.editor.text() } else { "" };
            if self.drafts.get(&path).map_or("", String::as_str) == text {
                continue;
            }
            let kept = if text.is_empty() { fs::remove_file(&path) } else { keep(&path, text) };
            match kept {
                Ok(()) => drop(self.drafts.insert(path, text.into())),
                // What cannot be kept is on the screen still.
                Err(error) if !text.is_empty() => trouble = Some(format!("{}: {error}", path.display())),
                Err(_) => {}
            }
        }
        let is_new = trouble.is_some() && !self.is_draft_lost;
        self.is_draft_lost = trouble.is_some();
        if let Some(why) = trouble.filter(|_| is_new) {
            let words = format!("what you write is not kept for the next time: {why}");
            // Where that is full, much else is wrong.
            let _ = self.events.try_send(ScreenEvent::Notice(words));
        }
    }

    #[cfg(unix)]
    fn suspend(&mut self) -> anyhow::Result<()> {
        self.keep();
        self.terminal.suspend()?;
        self.redraw()
    }

    #[cfg(unix)]
    fn go_on(&mut self) -> anyhow::Result<()> {
        self.terminal.take_again()?;
        self.redraw()
    }

    #[cfg(not(unix))]
    fn suspend(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    #[cfg(not(unix))]
    fn go_on(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    #[cfg(unix)]
    fn redraw(&mut self) -> anyhow::Result<()> {
        self.model.size = crossterm::terminal::size()?;
        self.terminal.redraw(self.model.size)?;
        self.terminal.draw(&self.model)?;
        Ok(())
    }
}

fn keep(path: &std::path::Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    private::create(&beside)?.write_all(text.as_bytes())?;
    fs::rename(beside, path)
}

fn clock_in_words(speaker: &Speaker) -> String {
    let counts = speaker.vector();
    counts.iter().map(|(member, count)| format!("{} {count}", member.name)).collect::<Vec<_>>().join(", ")
}

fn told(answer: anyhow::Result<ScreenEvent>) -> ScreenEvent {
    answer.unwrap_or_else(|error| ScreenEvent::Notice(format!("{error:#}")))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Joins, again and again while the server does not answer.
async fn enter(
    entrance: &Entrance,
    room: &str,
    name: &str,
    create: bool,
    events: &mpsc::Sender<ScreenEvent>,
) -> Option<Room> {
    let mut pause = RETRY_MIN;
    if let Err(error) = RoomName::parse(room) {
        let _ = events.send(ScreenEvent::NotJoined { room: room.into(), reason: error.to_string() }).await;
        return None;
    }
    loop {
        let error = match entrance.join(room, name, create).await {
            Ok(session) => return Some(session),
            Err(error) => error,
        };
        let room = room.to_owned();
        if error.is::<io::Error>() {
            events.send(ScreenEvent::Unreachable { room, reason: format!("{error:#}") }).await.ok()?;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
            continue;
        }
        let mut reason = if error.is::<TrustError>() { failure(&error) } else { format!("{error:#}") };
        if let Some(End::Refused {
            code: ErrorCode::NameTaken | ErrorCode::NameInvalid, suggestion, ..
        }) = error.downcast_ref::<End>()
        {
            let free = suggestion.as_deref().unwrap_or("NAME");
            reason.push_str(&format!("; /name {free} joins by another"));
        }
        let _ = events.send(ScreenEvent::NotJoined { room, reason }).await;
        return None;
    }
}

/// Hands on what happens in a room.
async fn follow(mut session: Room, room: String, events: mpsc::Sender<ScreenEvent>) {
    if let Some(why) = session.not_restored() {
        let _ = events.send(ScreenEvent::Notice(why.into())).await;
    }
    while let Some(event) = session.next_event().await {
        if events.send(ScreenEvent::Room { room: room.clone(), event }).await.is_err() {
            return;
        }
    }
}

fn of_terminal(event: TerminalEvent) -> Option<ScreenEvent> {
    Some(match event {
        TerminalEvent::Key(key) => ScreenEvent::Key(key),
        TerminalEvent::Paste(text) => ScreenEvent::Paste(text),
        TerminalEvent::Resize(columns, lines) => ScreenEvent::Resize(columns, lines),
        TerminalEvent::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => ScreenEvent::Wheel(WHEEL),
            MouseEventKind::ScrollDown => ScreenEvent::Wheel(-WHEEL),
            _ => return None,
        },
        _ => return None,
    })
}

enum TerminalSignal {
    Terminate,
    Stop,
    GoOn,
}

#[cfg(unix)]
struct TerminalSignals([(tokio::signal::unix::Signal, fn() -> TerminalSignal); 5]);

#[cfg(unix)]
impl TerminalSignals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate: fn() -> TerminalSignal = || TerminalSignal::Terminate;
        Ok(Self([
            (signal(SignalKind::interrupt())?, terminate),
            (signal(SignalKind::terminate())?, terminate),
            (signal(SignalKind::hangup())?, terminate),
            (signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGTSTP as i32))?, || {
                TerminalSignal::Stop
            }),
            (signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGCONT as i32))?, || {
                TerminalSignal::GoOn
            }),
        ]))
    }

    async fn next(&mut self) -> TerminalSignal {
        std::future::poll_fn(|context| {
            for (signal, meaning) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(meaning());
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(not(unix))]
struct TerminalTerminalSignals;

#[cfg(not(unix))]
impl TerminalSignals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> TerminalSignal {
        let _ = tokio::signal::ctrl_c().await;
        TerminalSignal::Terminate
    }
}
