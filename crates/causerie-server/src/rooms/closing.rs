//! Rooms that were closed: kept for a while, opened again by the operator, and then removed.

use std::sync::Arc;
use std::time::Duration;

use causerie_core::content::name::RoomName;
use causerie_core::key::PublicKey;
use causerie_core::wire;
use causerie_store::{Change, RoomId};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::rooms::access::{Right, Who};
use crate::rooms::ages::Wall;
use crate::rooms::directory::{ClosedEntry, RoomDirectory};
use crate::rooms::error::RoomError;
use crate::rooms::hosted::HostedRoom;

/// Time between looks at which rooms have been kept for long enough.
const EVERY: Duration = Duration::from_secs(60);

/// Authority to close a room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Authority {
    /// The operator's.
    pub(crate) is_operator: bool,
    /// A key that was proven.
    pub(crate) key: Option<PublicKey>,
}

impl RoomDirectory {
    /// Closes a room for whoever may: its members are told, its port closes. What was said in it is kept for
    /// [`closed`](crate::settings::Settings::closed).
    pub(crate) async fn close(&self, name: &str, authority: Authority) -> Result<(), RoomError> {
        let room = self.open(Who::Anybody, name, Right::Close)?;
        let made = |key: PublicKey| room.row.maker.is_some_and(|maker| maker.ct_eq(&key).into());
        if !authority.key.is_some_and(made) && !authority.is_operator {
            return Err(RoomError::NotPermitted);
        }
        if self.is_full() {
            return Err(RoomError::StorageFull);
        }
        let kept_since = self.kept_since().filter(|_| !room.is_temporary);
        self.put_aside(&room, kept_since);
        room.close(kept_since).stored_in_time().await.map_err(|_| RoomError::StorageFull)
    }

    /// Returns as of when a room is kept that is closed now, if it is.
    pub(crate) fn kept_since(&self) -> Option<u64> {
        let keeps = !self.settings().borrow().closed.is_zero();
        keeps.then(|| self.now().wall_millis)
    }

    /// Takes a room out of those that are found.
    pub(crate) fn put_aside(&self, room: &Arc<HostedRoom>, kept_since: Option<u64>) {
        let mut rooms = self.rooms();
        let there = rooms.by_name.len();
        rooms.by_name.retain(|_, other| !Arc::ptr_eq(other, room));
        if let Some(closed_millis) = kept_since.filter(|_| rooms.by_name.len() < there) {
            // A name is for life.
            let name = room.peek_unstored(|room| room.name().clone());
            rooms.closed.insert(room.id, ClosedEntry { name, closed_millis });
        }
    }

    /// Returns the rooms that were closed and are kept, as the operator is told; the last that was closed last.
    pub(crate) fn closed(&self) -> Vec<wire::ClosedRoom> {
        let keeps = u64::try_from(self.settings().borrow().closed.as_millis()).unwrap_or(u64::MAX);
        let told = |(id, room): (&RoomId, &ClosedEntry)| wire::ClosedRoom {
            name: room.name.to_string(),
            closed_millis: room.closed_millis,
            until_millis: room.closed_millis.saturating_add(keeps),
            number: id.0,
        };
        let mut closed: Vec<_> = self.rooms().closed.iter().map(told).collect();
        closed.sort_by_key(|room| room.closed_millis);
        closed
    }

    /// Removes rooms whose time is over, until the server stops.
    pub(crate) async fn keep_closed(&self, stop: &CancellationToken) {
        let mut wall = Wall::default();
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            self.remove_closed(&mut wall).await;
        }
    }

    async fn remove_closed(&self, wall: &mut Wall) {
        let Some(now) = wall.look(self.now()) else { return };
        let over: Vec<_> = {
            let keeps = u64::try_from(self.settings().borrow().closed.as_millis()).unwrap_or(u64::MAX);
            let rooms = self.rooms();
            let over =
                rooms.closed.iter().filter(|(_, room)| room.closed_millis.saturating_add(keeps) <= now);
            over.map(|(&id, room)| (id, room.name.clone())).collect()
        };
        for (id, name) in over {
            let store = self.store();
            let removed =
                tokio::task::spawn_blocking(move || store.commit(vec![Change::Close { room: id }])).await;
            match removed {
                Ok(Ok(())) => {
                    self.rooms().closed.remove(&id);
                    info!("the room '{name}', which was closed, is removed");
                }
                Ok(Err(error)) => warn!("the closed room '{name}' cannot be removed: {error}"),
                Err(_) => {}
            }
        }
    }

    /// Opens the room of that name and number again, or that of the name that was closed last. Nobody is in it. Blocks.
    pub(crate) fn open_again(&self, name: &str, number: Option<u64>) -> Result<Arc<HostedRoom>, RoomError> {
        let name = RoomName::known(name);
        let (id, closed) = {
            let mut rooms = self.rooms();
            let named = rooms
                .closed
                .iter()
                .filter(|(id, room)| room.name == name && number.is_none_or(|number| number == id.0));
            let Some((&id, _)) = named.max_by_key(|(_, room)| room.closed_millis) else {
                return Err(RoomError::NoSuchRoom(name.to_string()));
            };
            self.check_free(&rooms, &name)?;
            // Nobody else opens it meanwhile, nor removes it.
            let closed = rooms.closed.remove(&id).expect("it was found there");
            (id, closed)
        };
        let opened = self.restore_closed(id, &name).and_then(|room| {
            let mut rooms = self.rooms();
            self.check_free(&rooms, &name)?;
            rooms.by_name.insert(name.clone(), Arc::clone(&room));
            drop(rooms);
            // They may have changed meanwhile.
            self.reconfigure();
            Ok(room)
        });
        if opened.is_err() {
            self.rooms().closed.insert(id, closed);
        }
        opened
    }

    fn restore_closed(&self, id: RoomId, name: &RoomName) -> Result<Arc<HostedRoom>, RoomError> {
        let damaged = |error: &dyn std::fmt::Display| {
            warn!("the closed room '{name}' cannot be opened: {error}");
            RoomError::Damaged(name.clone())
        };
        let stored = self.store().rooms().map_err(|error| damaged(&error))?;
        let found = stored.into_iter().find(|stored| stored.room == id);
        let mut found = found.ok_or_else(|| RoomError::NoSuchRoom(name.to_string()))?;
        found.row.closed_millis = None;
        let row = found.row.clone();
        let room = self.restore_one(found, name.clone()).map_err(|error| damaged(&error))?;
        let opened = self.store().commit(vec![Change::Update { room: id, row }]);
        opened.map_err(|error| damaged(&error))?;
        room.act(|room, now| {
            for member in room.members() {
                room.part(now, member.member, "the room was closed");
            }
        })
        .told_by_its_record();
        Ok(room)
    }
}
