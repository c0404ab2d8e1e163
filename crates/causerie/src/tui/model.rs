//! Model of the screen, events that change it, and effects of that.

use causerie_client::Position;
use std::ops::Range;

use causerie_client::{
    Body, Epoch, Event as RoomEvent, HeldPost, HistoryPage, MemberId, MemberInfo, MessageId,
};
use crossterm::event::KeyEvent;
use jiff::tz::TimeZone;

use super::places::{Places, ROOMS_MAX, ReadPlace};
use super::room::{DraftPurpose, RoomModel};
use super::theme::{MONO, Palette};
use crate::config::chat::Notify;

/// Records of a page of history.
pub(super) const PAGE: u64 = 200;

/// Something that happened.
#[derive(Debug)]
pub(super) enum ScreenEvent {
    Key(KeyEvent),
    Paste(String),
    /// The wheel was turned so many lines up (or down, below zero).
    Wheel(isize),
    Resize(u16, u16),
    Room {
        room: String,
        event: RoomEvent,
    },
    Facts {
        room: String,
        facts: Facts,
    },
    /// The server does not answer; it is asked again.
    Unreachable {
        room: String,
        reason: String,
    },
    /// The room cannot be joined.
    NotJoined {
        room: String,
        reason: String,
    },
    /// A message could not be said.
    NotSaid {
        room: String,
        text: String,
        purpose: DraftPurpose,
        reason: String,
    },
    Earlier {
        room: String,
        page: Result<Option<HistoryPage>, String>,
    },
    /// Page around a message, to tell what it depends on.
    Around {
        id: MessageId,
        other: Option<MessageId>,
        page: Result<HistoryPage, String>,
    },
    /// A text that was being written when the program ended.
    Draft {
        room: String,
        text: String,
    },
    Rooms(Vec<(String, u64)>),
    Created(String),
    /// A deletion can be taken back no longer.
    DeletionDue {
        room: String,
        number: u64,
    },
    Notice(String),
    /// Somebody wants the program to end.
    Terminate,
}

/// Facts that a session knows and tells in no event.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) member: Option<MemberId>,
    pub(super) members: Option<Vec<MemberInfo>>,
    pub(super) held: Vec<HeldPost>,
    pub(super) on_their_way: usize,
    /// Vector clock in words, where it is shown.
    pub(super) clock: String,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    Join(String),
    /// Joins a room of the time before, if it is there still.
    JoinAgain(String),
    CreateRoom,
    Say {
        room: String,
        body: Body,
        text: String,
        purpose: DraftPurpose,
    },
    Leave(String),
    Earlier {
        room: String,
        epoch: Option<Epoch>,
        before: Position,
    },
    /// Reads so many records before a position, to tell of that message, and of how it stands to the other.
    Around {
        room: String,
        epoch: Option<Epoch>,
        before: Position,
        limit: u64,
        id: MessageId,
        other: Option<MessageId>,
    },
    ListRooms,
    /// Brings [`ScreenEvent::DeletionDue`] once the time to take it back is over.
    SayDeletion {
        room: String,
        number: u64,
    },
    Clock(String),
    Bell,
    /// A harmless text, to the desktop.
    Notify(Notify, String),
    Copy(String),
    Mouse(bool),
    Suspend,
    Redraw,
    Quit,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Focus {
    Input,
    Messages,
}

/// Text over the messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Overlay {
    Help(usize),
    Paste(String),
    /// Question whether this message is to be deleted.
    Delete(MessageId),
    /// Explanation of what a message depends on, and how far down that is scrolled.
    Causality(Vec<String>, usize),
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) server: String,
    pub(super) name: String,
    pub(super) rooms: Vec<RoomModel>,
    pub(super) current: usize,
    pub(super) focus: Focus,
    pub(super) overlay: Option<Overlay>,
    /// Words for a moment, in the status line.
    pub(super) hint: Option<String>,
    pub(super) size: (u16, u16),
    /// As the reader wants the panes; `None`: as it fits.
    pub(super) rooms_pane: Option<bool>,
    pub(super) members_pane: bool,
    /// The room is drawn as a space-time diagram.
    pub(super) diagram: bool,
    pub(super) zone: TimeZone,
    pub(super) palette: Palette,
    pub(super) shows_clock: bool,
    /// Addresses can be opened.
    pub(super) links: bool,
    pub(super) rings: Notify,
    /// Rooms of the server, as far as it was asked.
    pub(super) known_rooms: Vec<String>,
    pub(super) search: Option<String>,
    /// The rows in which that was looked for and is not.
    pub(super) searched: Range<i64>,
    pub(super) mouse: bool,
    pub(super) leaving: bool,
    /// Number of deletions so far.
    pub(super) deletions: u64,
    pub(super) completing: Option<Completing>,
}

#[derive(Debug)]
pub(super) struct Completing {
    pub(super) start: usize,
    pub(super) choices: Vec<String>,
    pub(super) next: usize,
}

impl Model {
    pub(super) fn new(server: &str, name: &str, room: &str, zone: TimeZone) -> Self {
        Self {
            server: server.into(),
            name: name.into(),
            rooms: vec![RoomModel::new(room)],
            current: 0,
            focus: Focus::Input,
            overlay: None,
            hint: None,
            size: (80, 24),
            rooms_pane: None,
            members_pane: true,
            diagram: false,
            zone,
            palette: MONO,
            shows_clock: false,
            links: false,
            rings: Notify::Bell,
            known_rooms: Vec::new(),
            search: None,
            searched: 0..0,
            mouse: false,
            leaving: false,
            deletions: 0,
            completing: None,
        }
    }

    /// Takes in the rooms of the time before: they are joined again, and what came since is new.
    pub(super) fn restore(&mut self, places: Places) -> Vec<Effect> {
        let mut effects = Vec::new();
        for ReadPlace { room: name, epoch, read } in places.rooms {
            let before = Some((epoch, read));
            match self.named(&name) {
                Some((_, room)) => room.read_before = before,
                None => {
                    let mut room = RoomModel::new(&name);
                    room.read_before = before;
                    self.rooms.push(room);
                    effects.push(Effect::JoinAgain(name));
                }
            }
        }
        effects
    }

    /// Returns where reading has come to, without the rooms that were left.
    pub(super) fn places(&self) -> Places {
        let place = |room: &RoomModel| {
            room.place().map(|(epoch, read)| ReadPlace { room: room.name.clone(), epoch, read })
        };
        let current = place(self.room()).map(|place| place.room);
        Places { current, rooms: self.rooms.iter().filter_map(place).take(ROOMS_MAX).collect() }
    }

    pub(super) fn room(&self) -> &RoomModel {
        &self.rooms[self.current]
    }

    pub(super) fn room_mut(&mut self) -> &mut RoomModel {
        &mut self.rooms[self.current]
    }

    pub(super) fn named(&mut self, name: &str) -> Option<(usize, &mut RoomModel)> {
        self.rooms.iter_mut().enumerate().find(|(_, room)| room.name == name)
    }
}
