//! The rooms there are: making, finding and listing them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causerie_core::content::name::{Name, RoomName, RoomNameError};
use causerie_core::content::reading::Reading;
use causerie_core::id::{Epoch, Position, SecretText};
use causerie_core::key::PublicKey;
use causerie_core::room::{Now, Room, RoomSettings};
use causerie_core::wire::RoomInfo;
use causerie_store::{Change, Retention, RoomId, RoomRow, Store, StoreError, StoredRoom};
use cbcast::MemberId;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::error::StartError;
use crate::lockdown::Lockdown;
use crate::metrics::Limited;
use crate::net::addresses::AddressBlock;
use crate::rooms::access::{self, Right, Who};
use crate::rooms::ages::{self, Ages};
use crate::rooms::error::RoomError;
use crate::rooms::hosted::{HostedRoom, Hosting, Resources};
use crate::rooms::reopen;
use crate::settings::Settings;

/// The rooms of the server.
pub(crate) struct RoomDirectory {
    rooms: Mutex<Rooms>,
    resources: Resources,
    address: SocketAddr,
    settings: watch::Receiver<Settings>,
    lockdown: Arc<Lockdown>,
    ages: Arc<Ages>,
    /// Held while settings are handed to the rooms.
    reconfiguring: Mutex<()>,
}

/// Maker of a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maker {
    /// Address, for the operator, who may want to know.
    pub(crate) address: IpAddr,
    /// Key with which the room may be closed, if anybody but the operator may.
    pub(crate) key: Option<PublicKey>,
    /// Nothing of the room is kept once it is closed.
    pub(crate) temporary: bool,
}

impl Maker {
    /// One who keeps no key, for a room that is kept for a while when it is closed.
    pub(crate) fn without_key(address: IpAddr) -> Self {
        Self { address, key: None, temporary: false }
    }
}

/// A room that nobody can ask for.
#[derive(Clone, Debug)]
pub(crate) struct ClosedEntry {
    pub(crate) name: RoomName,
    pub(crate) closed_millis: u64,
}

/// Closed rooms that are kept.
pub(crate) type ClosedRooms = BTreeMap<RoomId, ClosedEntry>;

/// The rooms by name, those that are not open among them.
#[derive(Default)]
pub(crate) struct Rooms {
    pub(crate) by_name: BTreeMap<RoomName, Arc<HostedRoom>>,
    /// They are kept for a while, and can be opened again.
    pub(crate) closed: ClosedRooms,
    /// They stand in the store, and cannot be made of what stands there.
    damaged: BTreeSet<RoomName>,
    next: u64,
}

impl Rooms {
    /// The name that is meant: that of an older room as it was stored, whatever the grammar is now; else composed.
    fn called(&self, name: &str) -> Result<RoomName, RoomNameError> {
        let stored = RoomName::known(name);
        let is_there = self.by_name.contains_key(&stored) || self.damaged.contains(&stored);
        if is_there && !RoomName::is_of_conversation(name) { Ok(stored) } else { RoomName::parse(name) }
    }
}

/// Time between checks whose grace is over.
pub(crate) const TICK: Duration = Duration::from_millis(500);

impl RoomDirectory {
    pub(crate) fn new(
        address: SocketAddr,
        settings: watch::Receiver<Settings>,
        lockdown: Arc<Lockdown>,
        resources: Resources,
    ) -> Self {
        let ages = Arc::new(Ages::new(resources.clock.now()));
        let (rooms, reconfiguring) = (Mutex::default(), Mutex::default());
        Self { rooms, resources, address, settings, lockdown, ages, reconfiguring }
    }

    /// Watches the settings.
    pub(crate) fn settings(&self) -> watch::Receiver<Settings> {
        self.settings.clone()
    }

    pub(crate) fn ages(&self) -> &Arc<Ages> {
        &self.ages
    }

    pub(crate) fn clock(&self) -> Clock {
        self.resources.clock
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.resources.store)
    }

    pub(crate) fn retention(&self) -> Retention {
        self.settings.borrow().retention
    }

    /// Returns whether nothing can be stored at the moment.
    pub(crate) fn is_full(&self) -> bool {
        self.resources.writer.is_full()
    }

    fn room_settings(&self) -> RoomSettings {
        RoomSettings { admits: !self.lockdown.is_on(), ..self.settings.borrow().room.clone() }
    }

    pub(crate) fn now(&self) -> Now {
        self.resources.clock.now()
    }

    /// The rooms go by the settings as they are now, as far as they can change.
    pub(crate) fn reconfigure(&self) {
        // One after the other, so that the last ones stand.
        let _turn = self.reconfiguring.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = self.room_settings();
        for hosted in self.all() {
            hosted.act(|room, _| room.reconfigure(&settings)).told_by_its_record();
        }
    }

    /// The rooms that are stored. Blocks.
    pub(crate) fn restore(&self) -> Result<(), StartError> {
        let store = &self.resources.store;
        let mut rooms = self.rooms();
        rooms.next = store.next_room()?.0;
        let found = store.rooms()?;
        let count = found.len();
        // Who was in a conversation is gone.
        let (conversations, found): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|stored| RoomName::is_of_conversation(&stored.row.name));
        let gone = conversations.iter().map(|stored| Change::Close { room: stored.room });
        match store.commit(gone.collect()) {
            // They go at the next start.
            Err(error) if error.is_retryable() => warn!("conversations that have ended stay stored: {error}"),
            closed => closed.map_err(|error| StartError::Writing(error.to_string()))?,
        }
        let count = count - conversations.len();
        if self.retention().age_millis.is_some() {
            let newest = found.iter().map(|room| ages::last_millis(&**store, room.room, room.last));
            let newest = newest.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().max().unwrap_or(0);
            self.ages.compare(&**store, newest, self.now());
        }
        for stored in found {
            let name = RoomName::known(&stored.row.name);
            if let Some(closed_millis) = stored.row.closed_millis {
                rooms.closed.insert(stored.room, ClosedEntry { name, closed_millis });
                continue;
            }
            match self.restore_one(stored, name.clone()) {
                Ok(room) => {
                    rooms.by_name.insert(name, room);
                }
                Err(why) => {
                    error!("the room '{name}' cannot be opened: {why}");
                    rooms.damaged.insert(name);
                }
            }
        }
        if count > 0 {
            let (open, closed) = (rooms.by_name.len(), rooms.closed.len());
            info!("{open} of {count} stored rooms are open, and {closed} were closed");
        }
        Ok(())
    }

    pub(crate) fn restore_one(
        &self,
        mut found: StoredRoom,
        name: RoomName,
    ) -> Result<Arc<HostedRoom>, StoreError> {
        let store = &*self.resources.store;
        let id = found.room;
        let retention = self.ages.now(self.retention());
        if retention != Retention::default() {
            // What the next start needs is kept.
            let before =
                found.checkpoint.as_ref().map_or(Position::FIRST, |checkpoint| checkpoint.position + 1);
            let keep = Retention { before: Some(before), ..retention };
            match ages::retain(store, id, name.as_str(), keep, self.now()) {
                Ok(first) => found.first = first,
                Err(StoreError::Full(error)) => warn!("old messages cannot be removed: {error}"),
                Err(error) => return Err(error),
            }
        }
        let vectors = found.row.port.is_some() || tracing::enabled!(tracing::Level::DEBUG);
        let row = found.row.clone();
        let (stored, now) = (found.last, self.now());
        let created_millis = row.created_millis;
        let last_millis = ages::last_millis(store, id, stored)?.unwrap_or(now.wall_millis);
        let found_millis = last_millis.max(created_millis).min(now.wall_millis);
        let settings = self.room_settings();
        let room = reopen::room(store, found, name, now, &settings, vectors)?;
        let tail_bytes = settings.log_bytes_max;
        let (is_new, is_temporary) = (false, false);
        let hosting = Hosting { id, room, row, is_new, is_temporary, tail_bytes, stored, found_millis };
        Ok(HostedRoom::new(hosting, self.resources.clone()))
    }

    pub(crate) fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().expect("nothing panics while holding it")
    }

    /// Opens the room of that name to somebody, for something. To who has no right to it there is no such room.
    pub(crate) fn open(&self, who: Who, name: &str, right: Right) -> Result<Arc<HostedRoom>, RoomError> {
        let room = self.find(name)?;
        Self::check(who, &room, right)?;
        Ok(room)
    }

    /// Checks that somebody who has a room open has another right to it as well.
    pub(crate) fn check(who: Who, room: &HostedRoom, right: Right) -> Result<(), RoomError> {
        match access::may(who, room, right) {
            true => Ok(()),
            // A name is for life.
            false => Err(RoomError::NoSuchRoom(room.peek_unstored(|room| room.name().to_string()))),
        }
    }

    fn find(&self, name: &str) -> Result<Arc<HostedRoom>, RoomError> {
        let rooms = self.rooms();
        let name = rooms.called(name)?;
        match rooms.by_name.get(&name) {
            Some(room) => Ok(Arc::clone(room)),
            None if rooms.damaged.contains(&name) => Err(RoomError::Damaged(name)),
            None => Err(RoomError::NoSuchRoom(name.to_string())),
        }
    }

    /// Opens the room of that name to somebody who joins it, and makes it if need be. Returns whether it was made.
    pub(crate) fn open_or_create(
        &self,
        who: Who,
        name: &str,
        maker: Maker,
    ) -> Result<(Arc<HostedRoom>, bool), RoomError> {
        match self.create(name, maker) {
            Ok(room) => Ok((room, true)),
            Err(RoomError::Exists(_) | RoomError::Reserved) => {
                Ok((self.open(who, name, Right::Join)?, false))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a room without a port of its own.
    pub(crate) fn create(&self, name: &str, maker: Maker) -> Result<Arc<HostedRoom>, RoomError> {
        let name = self.rooms().called(name)?;
        if name.is_port().is_some() {
            return Err(RoomError::Reserved);
        }
        self.insert(|_| name, None, maker)
    }

    /// Makes the room of a conversation between two: it is in no list, and nobody can ask for it.
    pub(crate) fn create_conversation(&self, maker: Maker) -> Result<Arc<HostedRoom>, RoomError> {
        self.insert(|id| RoomName::of_conversation(id.0), None, maker)
    }

    /// It goes, with all that was said.
    pub(crate) fn close_conversation(&self, room: &Arc<HostedRoom>) {
        self.rooms().by_name.remove(&RoomName::of_conversation(room.id.0));
        // Nobody is in it who could be told.
        room.close(None).told_by_its_record();
    }

    /// Returns whether there may be a room of that name, beside those that there are.
    pub(crate) fn check_free(&self, rooms: &Rooms, name: &RoomName) -> Result<(), RoomError> {
        if rooms.by_name.contains_key(name) {
            return Err(RoomError::Exists(name.clone()));
        }
        if rooms.damaged.contains(name) {
            return Err(RoomError::Damaged(name.clone()));
        }
        // Numbers and conversations are not chosen by anybody.
        if name.is_port().is_none() && !RoomName::is_of_conversation(name.as_str()) {
            let reading = Reading::of(name.as_str());
            let mut rooms = rooms.by_name.iter();
            if let Some((other, _)) = rooms.find(|(_, room)| room.reading.same_as(&reading)) {
                return Err(RoomError::ReadsLike(name.clone(), other.clone()));
            }
        }
        Ok(())
    }

    fn insert(
        &self,
        name: impl FnOnce(RoomId) -> RoomName,
        port: Option<u16>,
        maker: Maker,
    ) -> Result<Arc<HostedRoom>, RoomError> {
        let mut rooms = self.rooms();
        let id = RoomId(rooms.next);
        let name = name(id);
        self.check_free(&rooms, &name)?;
        if self.lockdown.is_on() {
            return Err(RoomError::Lockdown);
        }
        if self.is_full() {
            return Err(RoomError::StorageFull);
        }
        self.has_room(&rooms, &name, port.is_some(), maker.address)?;
        let settings = self.room_settings();
        let tail_bytes = settings.log_bytes_max;
        let vectors = port.is_some() || tracing::enabled!(tracing::Level::DEBUG);
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch).expect("the operating system gives random bytes");
        // 0 is no epoch.
        let epoch = Epoch::new(u64::from_le_bytes(epoch).max(1));
        let room = Room::new(name.clone(), reopen::ORIGIN, epoch, settings, vectors);
        rooms.next += 1;
        let created_millis = self.now().wall_millis;
        let row = RoomRow {
            name: name.to_string(),
            port,
            creator: maker.address.to_string(),
            maker: maker.key,
            epoch,
            created_millis,
            closed_millis: None,
        };
        let hosting = Hosting {
            id,
            room,
            row,
            is_new: true,
            is_temporary: maker.temporary,
            tail_bytes,
            stored: Position::START,
            found_millis: created_millis,
        };
        let room = HostedRoom::new(hosting, self.resources.clone());
        rooms.by_name.insert(name, Arc::clone(&room));
        Ok(room)
    }

    /// # Errors
    /// Why no such room may be added, if so.
    fn has_room(
        &self,
        rooms: &Rooms,
        name: &RoomName,
        has_port: bool,
        creator: IpAddr,
    ) -> Result<(), RoomError> {
        let (rooms_max, ports_max, limits, is_proxy) = {
            let settings = self.settings.borrow();
            (settings.rooms_max, settings.ports_max, settings.address, settings.is_trusted_proxy(creator))
        };
        let creator = AddressBlock::of(creator);
        // Neither takes the other's room.
        let is_conversation = |name: &RoomName| RoomName::is_of_conversation(name.as_str());
        let (mut all, mut with_ports, mut own) = (0, 0, 0);
        let alike = rooms.by_name.iter().filter(|(other, _)| is_conversation(other) == is_conversation(name));
        for (_, room) in alike {
            all += 1;
            with_ports += usize::from(room.row.port.is_some());
            own += usize::from(AddressBlock::of(room.creator) == creator);
        }
        if all >= rooms_max {
            return Err(RoomError::TooMany(rooms_max));
        }
        if has_port && with_ports >= ports_max {
            return Err(RoomError::TooManyPorts(ports_max));
        }
        let limits = creator.limits(limits).filter(|_| !is_proxy);
        let own_max = limits.map_or(0, |limits| limits.rooms);
        // Conversations end with those who are in them.
        let own_max = if is_conversation(name) { own_max.saturating_mul(10) } else { own_max };
        if own_max > 0 && own >= own_max {
            self.resources.metrics.limited(Limited::Rooms);
            return Err(RoomError::TooManyOfAddress(own_max));
        }
        Ok(())
    }

    /// Makes a room with a port of its own, the next free one above the controller's, bound on return. The room
    /// is named by it.
    pub(crate) async fn create_with_port(
        &self,
        maker: Maker,
    ) -> Result<(Arc<HostedRoom>, TcpListener), RoomError> {
        // Before a port is bound for it.
        if self.lockdown.is_on() {
            return Err(RoomError::Lockdown);
        }
        for port in self.address.port().saturating_add(1)..=u16::MAX {
            let name = RoomName::parse(&port.to_string()).expect("a number is a room's name");
            {
                let rooms = self.rooms();
                if rooms.by_name.contains_key(&name) || rooms.damaged.contains(&name) {
                    continue;
                }
                // Before a port is bound for it.
                self.has_room(&rooms, &name, true, maker.address)?;
            }
            match TcpListener::bind((self.address.ip(), port)).await {
                Ok(listener) => return Ok((self.insert(|_| name, Some(port), maker)?, listener)),
                // A port that somebody else has is skipped.
                Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {}
                Err(error) => return Err(RoomError::Bind(port, error.to_string())),
            }
        }
        Err(RoomError::NoPort)
    }

    /// Returns whether anybody can show that they are the operator.
    pub(crate) fn has_operator(&self) -> bool {
        self.settings.borrow().operator_token.as_ref().is_some_and(|token| !token.reveal().is_empty())
    }

    pub(crate) fn is_operator(&self, given: &str) -> bool {
        let settings = self.settings.borrow();
        let token =
            settings.operator_token.as_ref().map(SecretText::reveal).filter(|token| !token.is_empty());
        token.is_some_and(|token| token.as_bytes().ct_eq(given.as_bytes()).into())
    }

    pub(crate) fn all(&self) -> Vec<Arc<HostedRoom>> {
        self.rooms().by_name.values().filter(|room| !room.is_broken()).cloned().collect()
    }

    /// Returns the rooms that somebody may see. Nobody sees conversations.
    fn listed(&self, who: Who) -> Vec<Arc<HostedRoom>> {
        let rooms = self.rooms();
        let seen = rooms.by_name.iter().filter(|(name, _)| !RoomName::is_of_conversation(name.as_str()));
        let seen = seen.filter(|(_, room)| !room.is_broken() && access::may(who, room, Right::See));
        seen.map(|(_, room)| Arc::clone(room)).collect()
    }

    /// Returns the rooms that go when they are idle.
    pub(crate) fn transient(&self) -> Vec<Arc<HostedRoom>> {
        let limits = self.settings.borrow().address;
        let mut rooms = self.listed(Who::Anybody);
        rooms.retain(|room| AddressBlock::of(room.creator).limits(limits).is_some());
        rooms
    }

    /// Closes a room if nobody is in it and nothing has happened behind that position. Whether it has.
    pub(crate) fn close_idle(&self, room: &Arc<HostedRoom>, position: Position) -> bool {
        let is_idle = |room: &Room| room.position() == position && room.info(None).members == 0;
        let kept_since = self.kept_since();
        // Nobody is in it who could be told.
        let closed = room.close_if(kept_since, is_idle).told_by_its_record();
        if closed {
            self.put_aside(room, kept_since);
        }
        closed
    }

    /// Returns what somebody may see, sorted by name.
    pub(crate) fn list(&self, who: Who) -> Vec<RoomInfo> {
        let rooms = self.listed(who);
        // Numbers of the moment, of people who are about to come or go.
        rooms.iter().map(|hosted| hosted.peek_unstored(|room| room.info(hosted.row.port))).collect()
    }

    /// Returns how many rooms there are that somebody may see.
    pub(crate) fn count(&self, who: Who) -> usize {
        self.listed(who).len()
    }

    /// Returns the rooms that somebody may see whose names come after this one, `max` at most: names, how many are in each, and topics.
    pub(crate) fn describe(
        &self,
        who: Who,
        after: Option<&str>,
        max: usize,
    ) -> Vec<(String, u64, Option<String>)> {
        let rooms = self.listed(who);
        let from = rooms.partition_point(|hosted| {
            // A name is for life.
            after.is_some_and(|after| hosted.peek_unstored(|room| room.name().as_str() <= after))
        });
        let told = |room: &Room| {
            let topic = room.topic().map(|topic| topic.text.clone());
            (room.name().to_string(), room.info(None).members, topic)
        };
        // As in a list.
        rooms[from..].iter().take(max).map(|hosted| hosted.peek_unstored(told)).collect()
    }

    /// Returns the name of a room that somebody may see: that name, or, if there is none, the first of one that differs in the case of ASCII letters only.
    pub(crate) fn resolve(&self, who: Who, name: &str) -> Option<String> {
        let rooms = self.rooms();
        let name = rooms.called(name).ok()?;
        let sees = |room: &HostedRoom| access::may(who, room, Right::See);
        if rooms.by_name.get(&name).is_some_and(|room| sees(room)) {
            return Some(name.to_string());
        }
        let mut seen = rooms.by_name.iter().filter(|(_, room)| sees(room)).map(|(name, _)| name);
        let similar = seen.find(|other| other.as_str().eq_ignore_ascii_case(name.as_str()));
        similar.map(ToString::to_string)
    }

    /// Returns the rooms that somebody may see in which somebody has that name.
    pub(crate) fn rooms_of(&self, who: Who, name: &str) -> Vec<String> {
        let has = |room: &Room| room.is_named(name).then(|| room.name().to_string());
        // As in a list.
        self.listed(who).iter().filter_map(|hosted| hosted.peek_unstored(has)).collect()
    }

    /// Returns the name of a member of a room that everybody may see, if it reads as `reading` does and the member is not
    /// the one that `own` tells for the room's number. Looks into each room.
    pub(crate) fn named_like(
        &self,
        reading: &Reading,
        own: impl Fn(u64) -> Option<MemberId>,
    ) -> Option<Name> {
        let in_room = |hosted: Arc<HostedRoom>| {
            let own = own(hosted.id.0);
            // A name that somebody is about to have is taken.
            hosted.peek_unstored(|room| room.named_like(reading, own).cloned())
        };
        // A name is one for all, whoever may see where it is taken.
        self.listed(Who::Anybody).into_iter().find_map(in_room)
    }

    /// Lets grace run out, until the server stops.
    pub(crate) async fn keep_time(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            let now = self.now();
            for hosted in self.all() {
                // Nobody is told.
                if hosted.peek_unstored(|room| room.poll_timeout().is_some_and(|at| at <= now.time)) {
                    hosted.act(|room, now| room.handle_timeout(now)).told_by_its_record();
                }
            }
        }
    }

    /// Each room leaves its state, so that the next start has little to read.
    pub(crate) fn leave_checkpoints(&self) {
        for hosted in self.all() {
            hosted.act(|room, _| room.ask_for_checkpoint()).told_by_its_record();
        }
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}
