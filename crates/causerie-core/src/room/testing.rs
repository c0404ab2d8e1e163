//! Rooms, clients and stores for the tests of rooms.

use std::collections::BTreeMap;

use bytes::Bytes;
use cbcast::{Config, Group, Kind, MemberId, Time};

use super::{MemberRecord, Now, RestoreError, Room, RoomSettings, Stored};
use crate::content::body::Body;
use crate::content::name::RoomName;
use crate::id::{Epoch, Position};
use crate::log::{Record, records};
use crate::wire::Welcome;

pub(super) fn room(settings: RoomSettings) -> Room {
    Room::new(RoomName::parse("lobby").unwrap(), 0, Epoch::new(7), settings, true)
}

pub(super) fn at(seconds: u64) -> Now {
    Now { time: Time::from_millis(seconds * 1_000), wall_millis: 0 }
}

/// Returns what stands in the log, as a store would have it.
pub(super) fn texts(room: &Room) -> Vec<String> {
    let all = records(room.journal.pending().0);
    all.map(|r| match r.message.kind() {
        Kind::Joined(_) => format!("+{}", String::from_utf8_lossy(&r.message.payload())),
        Kind::Left { .. } => "-".into(),
        _ => Body::decode(&r.message.payload()).text().unwrap_or("?").into(),
    })
    .collect()
}

/// A native client's side, as little of it as a test needs.
pub(super) fn client(welcome: &Welcome) -> Group {
    Group::new(Config::relay(), &welcome.snapshot, [welcome.member]).unwrap()
}

pub(super) fn packet(group: &mut Group, member: MemberId, text: &str) -> Bytes {
    group.broadcast(Time::ZERO, member, &Body::Text(text.into()).encode()).unwrap();
    let outputs = std::iter::from_fn(|| group.poll_output());
    let sent = outputs.filter_map(|o| o.sent().cloned());
    sent.last().unwrap().into_packet()
}

/// Store that outlives a room.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) records: Vec<Record>,
    pub(super) members: BTreeMap<MemberId, MemberRecord>,
    pub(super) checkpoint: Option<(Position, Bytes)>,
}

impl Disk {
    pub(super) fn store(&mut self, room: &mut Room) {
        let Some(batch) = room.take_batch() else { return };
        self.records.extend(batch.records.into_iter().flat_map(|run| records(run.bytes)));
        self.members.extend(batch.members.into_iter().map(|m| (m.member, m)));
        self.checkpoint = batch.checkpoint.or(self.checkpoint.take());
    }

    pub(super) fn stored(&self) -> Stored {
        Stored {
            name: RoomName::parse("lobby").unwrap(),
            epoch: Epoch::new(7),
            checkpoint: self.checkpoint.clone(),
            members: self.members.values().cloned().collect(),
            first: Position::FIRST,
            last: Position::new(self.records.len() as u64),
            topic: None,
        }
    }

    pub(super) fn restore(&self, now: Now) -> Result<Room, RestoreError> {
        let stored = self.stored();
        let from = self.checkpoint.as_ref().map_or(0, |(position, _)| position.get() as usize);
        let records = self.records[from..].iter().cloned();
        Room::restore(now, 0, stored, records, RoomSettings::default(), false)
    }
}
