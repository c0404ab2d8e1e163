//! A room behind a lock, with the means to wake its readers.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use causerie_core::room::{Now, Room};
use cbcast::Time;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// Monotonic time for timers, wall time for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        Now {
            time: Time::from_nanos(millis(self.0.elapsed().as_nanos())),
            wall_millis: millis(wall.as_millis()),
        }
    }
}

pub(crate) struct HostedRoom {
    room: Mutex<Room>,
    clock: Clock,
    changed: watch::Sender<()>,
    /// Its own port, for classic clients.
    pub(crate) port: Option<u16>,
    /// Who made it, and may close it.
    pub(crate) creator: IpAddr,
    /// Cancelled when it is closed: its own port closes.
    pub(crate) closed: CancellationToken,
}

impl HostedRoom {
    pub(crate) fn new(room: Room, clock: Clock, port: Option<u16>, creator: IpAddr) -> Self {
        let room = Mutex::new(room);
        let closed = CancellationToken::new();
        Self { room, clock, changed: watch::Sender::new(()), port, creator, closed }
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().expect("nothing panics while holding it")
    }

    /// Whether something panicked in the room: it is of no use any more, and of no harm to other rooms.
    pub(crate) fn is_broken(&self) -> bool {
        self.room.is_poisoned()
    }

    /// Asks the room something.
    pub(crate) fn look<T>(&self, ask: impl FnOnce(&Room) -> T) -> T {
        ask(&self.lock())
    }

    /// Does something in the room, and wakes its readers if they have something to do.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut Room, Now) -> T) -> T {
        let mut room = self.lock();
        let before = room.pulse();
        let result = act(&mut room, self.clock.now());
        for vector in room.take_vectors() {
            // In the lock, so that the lines stand in the log's order.
            match self.port {
                Some(_) => info!("{vector}"),
                None => debug!("{vector}"),
            }
        }
        let changed = room.pulse() != before;
        drop(room);
        if changed {
            self.changed.send_replace(());
        }
        result
    }

    /// Wakes at each change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
