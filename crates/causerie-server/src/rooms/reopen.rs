//! Rooms out of the store: as they were, or, where that cannot be, begun anew behind what can be read.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use causerie_core::content::body::Body;
use causerie_core::content::name::RoomName;
use causerie_core::id::{Epoch, Position};
use causerie_core::log::mark::TOPIC;
use causerie_core::log::{Record, records};
use causerie_core::room::{MemberRecord, NewOrigin, Now, Room, RoomSettings, Secrets, Stored, Topic};
use causerie_core::timeline::standing;
use causerie_store::{Change, MemberRow, MemberSelection, RoomId, Store, StoreError, StoredRoom};
use cbcast::{MemberId, MessageId};
use tracing::{error, warn};

use crate::error::StartError;
use crate::journal::changes::changes_of;

/// Origin as which rooms admit until they begin anew.
pub(crate) const ORIGIN: u32 = 0;

/// Marks read at once.
const MARKS_AT_ONCE: usize = 4_096;

/// Bytes read at once.
const REPLAY_BYTES: usize = 1 << 20;

/// Returns the room that is stored. If its state cannot be known it begins anew: who was in joins again, and goes on with the
/// log where it was.
pub(crate) fn room(
    store: &dyn Store,
    found: StoredRoom,
    name: RoomName,
    now: Now,
    settings: &RoomSettings,
    vectors: bool,
) -> Result<Room, StoreError> {
    let stored = stored(store, &found, name)?;
    let name = stored.name.clone();
    let mut replay = Replay::new(store, &found);
    let room = Room::restore(now, ORIGIN, stored.clone(), &mut replay, settings.clone(), vectors);
    let why = match (room, replay.gaps.first(), replay.failed.take()) {
        (_, _, Some(error)) => return Err(error),
        _ if found.cut => "what was stored last is lost, and may have been seen".to_owned(),
        (_, Some(gap), _) => format!("the records {} to {} cannot be read", gap.start(), gap.end()),
        (Err(error), ..) => error.to_string(),
        (Ok(room), ..) => return Ok(room),
    };
    error!("the room '{name}' is damaged: {why}; everybody in it has to join again");
    begin_anew(store, &found, stored, settings, vectors)
}

/// All rooms of a store that is a copy of another begin anew, in one commit: others may have seen another
/// continuation. How many there are.
///
/// # Errors
/// [`StartError`]; nothing changed.
pub fn renew_all(store: &dyn Store) -> Result<usize, StartError> {
    let found = store.rooms()?;
    let mut changes: Vec<Change> = Vec::new();
    for found in &found {
        let name = RoomName::known(&found.row.name);
        let stored = stored(store, found, name)?;
        let mut room = begin_anew(store, found, stored, &RoomSettings::default(), false)?;
        let mut batch = room.take_batch().unwrap_or_default();
        changes_of(found.room, &mut batch, &mut changes);
    }
    store.commit(changes).map_err(|error| StartError::Writing(error.to_string()))?;
    Ok(found.len())
}

fn stored(store: &dyn Store, found: &StoredRoom, name: RoomName) -> Result<Stored, StoreError> {
    let mut members = store.members(found.room, MemberSelection::Present)?;
    let departed = store.members(found.room, MemberSelection::WithSecrets)?;
    members.extend(departed.into_iter().filter(|m| m.left_at.is_some()));
    members.sort_by_key(|m| (m.left_at, m.member));
    Ok(Stored {
        name,
        epoch: found.row.epoch,
        checkpoint: found
            .checkpoint
            .as_ref()
            .map(|checkpoint| (checkpoint.position, checkpoint.state.clone())),
        members: members.into_iter().map(member_record).collect(),
        first: found.first,
        last: found.last,
        topic: topic(store, found.room)?,
    })
}

/// Returns what was said last of what a room is about.
fn topic(store: &dyn Store, room: RoomId) -> Result<Option<Topic>, StoreError> {
    let mut last = Position::START;
    while let Some(&later) = store.marked(room, TOPIC, last, MARKS_AT_ONCE)?.last() {
        last = later;
    }
    let page = store.read(room, last.saturating_sub(1), 1)?;
    let record = page.runs.into_iter().flat_map(records).find(|record| record.position == last);
    let Some(record) = record else { return Ok(None) };
    let (id, body) = (record.message.id(), Body::decode(&record.message.payload()));
    let Body::Topic(text) = body else { return Ok(None) };
    let Some((text, said)) =
        standing::topic(&mut crate::rooms::standing::StoredChanges::new(store, room), id, &text)?
    else {
        return Ok(None);
    };
    let by = store.members(room, MemberSelection::Ids(&[id.member]))?;
    let by = by.into_iter().next().map(|row| row.name).unwrap_or_default();
    Ok(Some(Topic { text, by, at_millis: record.time_millis, said }))
}

fn begin_anew(
    store: &dyn Store,
    found: &StoredRoom,
    stored: Stored,
    settings: &RoomSettings,
    vectors: bool,
) -> Result<Room, StoreError> {
    let mut taken: BTreeMap<MemberId, u64> = BTreeMap::new();
    let mut replay = Replay::new(store, found);
    replay.over_gaps = true;
    for Record { message, .. } in &mut replay {
        let MessageId { member, seq } = message.id();
        let last = taken.entry(member).or_default();
        *last = seq.max(*last);
    }
    if let Some(error) = replay.failed {
        return Err(error);
    }
    let mut fresh = [0; 12];
    getrandom::fill(&mut fresh).expect("the operating system gives random bytes");
    let (origin, epoch) = fresh.split_at(4);
    // 0 is the first origin, and no epoch.
    let anew = NewOrigin {
        origin: u32::from_le_bytes(origin.try_into().expect("four bytes")).max(1),
        epoch: Epoch::new(u64::from_le_bytes(epoch.try_into().expect("eight bytes")).max(1)),
    };
    let mut room = Room::renew(anew, stored, &taken, settings.clone(), vectors);
    for gap in replay.gaps {
        warn!("in the room '{}' the records {} to {} cannot be read", room.name(), gap.start(), gap.end());
        room.unreadable(gap);
    }
    Ok(room)
}

/// The records behind a room's checkpoint, up to the first that cannot be read, or all others.
struct Replay<'a> {
    store: &'a dyn Store,
    found: &'a StoredRoom,
    cursor: Position,
    page: Vec<Record>,
    over_gaps: bool,
    gaps: Vec<RangeInclusive<Position>>,
    failed: Option<StoreError>,
}

impl<'a> Replay<'a> {
    fn new(store: &'a dyn Store, found: &'a StoredRoom) -> Self {
        let cursor = found.checkpoint.as_ref().map_or(Position::START, |checkpoint| checkpoint.position);
        Self { store, found, cursor, page: Vec::new(), over_gaps: false, gaps: Vec::new(), failed: None }
    }
}

impl Iterator for Replay<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.page.pop() {
                return Some(record);
            }
            let stop = self.failed.is_some() || !(self.over_gaps || self.gaps.is_empty());
            if stop || self.cursor >= self.found.last {
                return None;
            }
            match self.store.read(self.found.room, self.cursor, REPLAY_BYTES) {
                Ok(page) => {
                    // It always gets on.
                    self.cursor = page.next().max(self.cursor + 1);
                    self.gaps.extend(page.gap);
                    self.page = page.runs.into_iter().flat_map(records).collect();
                    self.page.reverse();
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }
}

fn member_record(row: MemberRow) -> MemberRecord {
    MemberRecord {
        member: row.member,
        name: row.name,
        joined_at: row.joined_at,
        left_at: row.left_at,
        taken: row.taken,
        secrets: row.secrets.map(|secrets| match secrets {
            causerie_store::StoredSecrets::Key(key) => Secrets::Key(key),
            causerie_store::StoredSecrets::Bearer { token, nonce } => Secrets::Bearer { token, nonce },
        }),
    }
}
