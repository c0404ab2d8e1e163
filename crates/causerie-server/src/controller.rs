//! The rooms there are: making, finding, listing and closing them.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use causerie_core::frame::{ErrorCode, RoomInfo};
use causerie_core::room::{Room, RoomSettings};
use causerie_core::text::{RoomName, RoomNameError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::hosted_room::{Clock, HostedRoom};
use crate::{Server, Settings};

/// Why a room could not be made, found or closed. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum RoomError {
    #[error("there is no room '{0}'")]
    NoSuchRoom(String),
    #[error(transparent)]
    Name(#[from] RoomNameError),
    #[error("names that are numbers belong to rooms with a port of their own")]
    Reserved,
    #[error("there is a room '{0}' already")]
    Exists(RoomName),
    #[error("the server has {0} rooms, and takes no more")]
    TooMany(usize),
    #[error("no port above the server's own is free")]
    NoPort,
    #[error("cannot listen on port {0}: {1}")]
    Bind(u16, String),
    #[error("only the room's creator and the operator may close it")]
    NotPermitted,
}

impl RoomError {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NoSuchRoom(_) => ErrorCode::NoSuchRoom,
            Self::Name(_) | Self::Reserved => ErrorCode::RoomNameInvalid,
            Self::Exists(_) => ErrorCode::RoomExists,
            Self::TooMany(_) | Self::NoPort | Self::Bind(..) => ErrorCode::TooManyRooms,
            Self::NotPermitted => ErrorCode::NotPermitted,
        }
    }
}

pub(crate) struct Controller {
    rooms: Mutex<BTreeMap<RoomName, Arc<HostedRoom>>>,
    address: SocketAddr,
    settings: RoomSettings,
    rooms_max: usize,
    operator_token: Option<String>,
    clock: Clock,
}

/// Every server here admits as this origin: one server, one origin.
const ORIGIN: u32 = 0;

/// How often it is checked whose grace is over.
const TICK: Duration = Duration::from_millis(500);

impl Controller {
    pub(crate) fn new(address: SocketAddr, settings: &Settings) -> Self {
        Self {
            rooms: Mutex::new(BTreeMap::new()),
            address,
            settings: settings.room.clone(),
            rooms_max: settings.rooms_max,
            operator_token: settings.operator_token.clone().filter(|token| !token.is_empty()),
            clock: Clock::start(),
        }
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<RoomName, Arc<HostedRoom>>> {
        self.rooms.lock().expect("nothing panics while holding it")
    }

    /// The room of that name.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<HostedRoom>, RoomError> {
        let name = RoomName::parse(name)?;
        self.rooms().get(&name).cloned().ok_or_else(|| RoomError::NoSuchRoom(name.to_string()))
    }

    /// The room of that name, made if need be; whether it was.
    pub(crate) fn find_or_create(
        &self,
        name: &str,
        creator: IpAddr,
    ) -> Result<(Arc<HostedRoom>, bool), RoomError> {
        match self.create(name, creator) {
            Ok(room) => Ok((room, true)),
            Err(RoomError::Exists(_)) => Ok((self.find(name)?, false)),
            Err(RoomError::Reserved) => Ok((self.find(name)?, false)),
            Err(error) => Err(error),
        }
    }

    /// Makes a room without a port of its own.
    pub(crate) fn create(&self, name: &str, creator: IpAddr) -> Result<Arc<HostedRoom>, RoomError> {
        let name = RoomName::parse(name)?;
        if name.is_port().is_some() {
            return Err(RoomError::Reserved);
        }
        self.insert(name, None, creator)
    }

    fn insert(
        &self,
        name: RoomName,
        port: Option<u16>,
        creator: IpAddr,
    ) -> Result<Arc<HostedRoom>, RoomError> {
        let mut rooms = self.rooms();
        if rooms.contains_key(&name) {
            return Err(RoomError::Exists(name));
        }
        if rooms.len() >= self.rooms_max {
            return Err(RoomError::TooMany(self.rooms_max));
        }
        let vectors = port.is_some() || tracing::enabled!(tracing::Level::DEBUG);
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch).expect("the operating system gives random bytes");
        // 0 is no epoch.
        let epoch = u64::from_le_bytes(epoch).max(1);
        let room = Room::new(name.clone(), ORIGIN, epoch, self.settings.clone(), vectors);
        let room = Arc::new(HostedRoom::new(room, self.clock, port, creator));
        rooms.insert(name, Arc::clone(&room));
        Ok(room)
    }

    /// Makes a room with a port of its own, the next free one above the controller's, bound on return. The room
    /// is named by it.
    pub(crate) async fn create_with_port(
        &self,
        creator: IpAddr,
    ) -> Result<(Arc<HostedRoom>, TcpListener), RoomError> {
        for port in self.address.port().saturating_add(1)..=u16::MAX {
            let name = RoomName::parse(&port.to_string()).expect("a number is a room's name");
            let full = {
                let rooms = self.rooms();
                if rooms.contains_key(&name) {
                    continue;
                }
                rooms.len() >= self.rooms_max
            };
            if full {
                return Err(RoomError::TooMany(self.rooms_max));
            }
            match TcpListener::bind((self.address.ip(), port)).await {
                Ok(listener) => return Ok((self.insert(name, Some(port), creator)?, listener)),
                // A port that somebody else has is skipped.
                Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {}
                Err(error) => return Err(RoomError::Bind(port, error.to_string())),
            }
        }
        Err(RoomError::NoPort)
    }

    /// Closes a room: its members are told, its port closes.
    pub(crate) fn close(&self, name: &str, from: IpAddr, operator: &str) -> Result<(), RoomError> {
        let room = self.find(name)?;
        if room.creator != from && !self.is_operator(operator) {
            return Err(RoomError::NotPermitted);
        }
        self.rooms().retain(|_, other| !Arc::ptr_eq(other, &room));
        room.closed.cancel();
        room.act(|room, _| room.close());
        Ok(())
    }

    fn is_operator(&self, given: &str) -> bool {
        let differ = |token: &str| {
            token
                .bytes()
                .zip(given.bytes())
                .fold(token.len() ^ given.len(), |d, (a, b)| d | usize::from(a ^ b))
        };
        self.operator_token.as_deref().is_some_and(|token| differ(token) == 0)
    }

    fn all(&self) -> Vec<Arc<HostedRoom>> {
        self.rooms().values().filter(|room| !room.is_broken()).cloned().collect()
    }

    /// What there is, sorted by name.
    pub(crate) fn list(&self) -> Vec<RoomInfo> {
        let rooms = self.all();
        rooms.iter().map(|hosted| hosted.look(|room| room.info(hosted.port))).collect()
    }

    /// Lets grace run out, until the server stops.
    pub(crate) async fn keep_time(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            let now = self.clock.now();
            for hosted in self.all() {
                if hosted.look(|room| room.poll_timeout().is_some_and(|at| at <= now.time)) {
                    hosted.act(|room, now| room.handle_timeout(now));
                }
            }
        }
    }
}

impl Server {
    /// Makes a room with a port of its own and serves it.
    pub(crate) async fn open_port_room(
        self: &Arc<Self>,
        creator: IpAddr,
    ) -> Result<Arc<HostedRoom>, RoomError> {
        let (room, listener) = self.controller.create_with_port(creator).await?;
        crate::announce(room.port.unwrap_or_default());
        let door = crate::front_door::Door::Room(Arc::clone(&room));
        crate::front_door::open(self, listener, door, room.closed.clone());
        Ok(room)
    }
}
