//! Rooms in which nobody is and nothing is said any more: they go, so that those who make rooms and leave them do not use up
//! the places for all.
//!
//! How long a room has been idle is counted by the monotonic clock while the server runs. What the store tells of the time
//! before is compared with the wall clock only while that has agreed with the monotonic one for a while: a clock that is
//! wrong for a moment, at the start too, lets no young room go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causerie_core::id::Position;
use causerie_core::room::Now;
use causerie_store::RoomId;
use cbcast::Time;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::rooms::ages::Wall;
use crate::rooms::directory::RoomDirectory;
use crate::rooms::hosted::HostedRoom;

/// Time between looks at which rooms are idle.
const EVERY: Duration = Duration::from_secs(60);
/// State of a room when it was seen last.
#[derive(Debug)]
struct LastSeen {
    position: Position,
    /// Since when it is so.
    since: Time,
    /// By the wall clock, when something happened in it last, as far as the store knows. `None`: something has happened
    /// since the start.
    stored_millis: Option<u64>,
}

/// Idle times of rooms.
#[derive(Debug, Default)]
pub(crate) struct IdleRooms {
    wall: Wall,
    seen: BTreeMap<RoomId, LastSeen>,
    /// Rooms that were in the store at the start have been seen.
    began: bool,
}

/// A room as it is now.
struct Look {
    id: RoomId,
    position: Position,
    is_empty: bool,
    /// Time when something happened in it last, as the store has it.
    stored_millis: u64,
}

impl IdleRooms {
    /// Returns which of all these rooms have been idle for so long.
    fn look(&mut self, now: Now, limit: Duration, rooms: Vec<Look>) -> Vec<RoomId> {
        let wall = self.wall.look(now);
        let mut before = std::mem::take(&mut self.seen);
        let mut idle = Vec::new();
        for Look { id, position, is_empty, stored_millis } in rooms {
            let fresh = || LastSeen { position, since: now.time, stored_millis: None };
            let seen = match before.remove(&id) {
                Some(seen) if seen.position == position && is_empty => seen,
                None if !self.began => LastSeen { stored_millis: Some(stored_millis), ..fresh() },
                _ => fresh(),
            };
            let ran = now.time.since(seen.since);
            let by_wall = wall.zip(seen.stored_millis).map(|(wall, then)| wall.saturating_sub(then));
            let quiet = ran.max(Duration::from_millis(by_wall.unwrap_or_default()));
            if is_empty && quiet >= limit {
                idle.push(id);
            }
            self.seen.insert(id, seen);
        }
        self.began = true;
        idle
    }
}

impl RoomDirectory {
    /// Lets idle rooms go, until the server stops.
    pub(crate) async fn keep_idle_rooms(&self, stop: &CancellationToken) {
        let mut idle = IdleRooms::default();
        let mut settings = self.settings();
        loop {
            let limit = settings.borrow_and_update().rooms_idle;
            if !limit.is_zero() {
                let rooms = self.transient();
                let look = |hosted: &Arc<HostedRoom>| {
                    // Nobody is told.
                    let (position, is_empty) =
                        hosted.peek_unstored(|room| (room.position(), room.info(None).members == 0));
                    Look { id: hosted.id, position, is_empty, stored_millis: hosted.found_millis }
                };
                let gone = idle.look(self.now(), limit, rooms.iter().map(look).collect());
                for hosted in rooms.iter().filter(|hosted| gone.contains(&hosted.id)) {
                    let position = idle.seen[&hosted.id].position;
                    if self.close_idle(hosted, position) {
                        // A name is for life.
                        let name = hosted.peek_unstored(|room| room.name().to_string());
                        let hours = limit.as_secs() / 3_600;
                        info!(
                            "the room '{name}' has gone: nobody was in it and nothing was said for {hours} h"
                        );
                    }
                }
            }
            let pause = if limit.is_zero() { EVERY } else { EVERY.min(limit) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = settings.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR: Duration = Duration::from_secs(3_600);
    const NONE: [u64; 0] = [];
    /// Some time in 2026.
    const START: u64 = 1_790_000_000_000;

    struct World {
        idle: IdleRooms,
        ran: Duration,
        /// How far the wall clock is off.
        off_millis: i64,
    }

    impl World {
        fn new() -> Self {
            Self { idle: IdleRooms::default(), ran: Duration::ZERO, off_millis: 0 }
        }

        /// Time goes by, and each minute it is looked. Which rooms were found idle.
        fn pass(&mut self, time: Duration, rooms: &[(u64, u64, bool, u64)]) -> Vec<u64> {
            let mut found = Vec::new();
            let end = self.ran + time;
            while self.ran < end {
                let wall = START + u64::try_from(self.ran.as_millis()).unwrap();
                let now = Now {
                    time: Time::from_nanos(u64::try_from(self.ran.as_nanos()).unwrap()),
                    wall_millis: wall.saturating_add_signed(self.off_millis),
                };
                let look = |&(id, position, is_empty, stored_millis): &(u64, u64, bool, u64)| Look {
                    id: RoomId(id),
                    position: Position::new(position),
                    is_empty,
                    stored_millis,
                };
                for RoomId(id) in self.idle.look(now, DAY, rooms.iter().map(look).collect()) {
                    if !found.contains(&id) {
                        found.push(id);
                    }
                }
                self.ran += EVERY;
            }
            found
        }
    }

    #[test]
    fn a_room_goes_after_a_day_without_anybody_or_anything() {
        let mut world = World::new();
        // One that is found as of now, one that somebody is in, one in which something is said after 20 hours.
        assert_eq!(
            world.pass(20 * HOUR, &[(1, 5, true, START), (2, 5, false, 0), (3, 5, true, START)]),
            NONE
        );
        assert_eq!(world.pass(3 * HOUR, &[(1, 5, true, START), (2, 5, false, 0), (3, 6, true, START)]), NONE);
        assert_eq!(world.pass(2 * HOUR, &[(1, 5, true, START), (2, 5, false, 0), (3, 6, true, START)]), [1]);
        // From when the last one has left; and one that was made meanwhile has its own day.
        let rooms = [(2, 6, true, 0), (3, 6, true, START), (4, 0, true, 0)];
        assert_eq!(world.pass(18 * HOUR, &rooms), NONE);
        assert_eq!(world.pass(2 * HOUR, &rooms), [3]);
        assert_eq!(world.pass(5 * HOUR, &rooms), [3, 2, 4]);
    }

    #[test]
    fn restarts_do_not_keep_a_room_for_ever() {
        let mut world = World::new();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let (old, young) = (START - millis(DAY), START - millis(20 * HOUR));
        let rooms = [(1, 5, true, old), (2, 5, true, young)];
        // Somebody may come back first, and the clock may be wrong when the machine has just been turned on.
        assert_eq!(world.pass(HOUR - EVERY, &rooms), NONE);
        assert_eq!(world.pass(2 * EVERY, &rooms), [1]);
        assert_eq!(world.pass(2 * HOUR, &rooms), [1]);
        assert_eq!(world.pass(2 * HOUR, &rooms), [1, 2]);
    }

    #[test]
    fn a_clock_that_jumps_lets_no_young_room_go() {
        let rooms = [(1, 5, true, START)];
        // Wrong at the start, and set right before an hour has passed.
        let mut world = World::new();
        world.off_millis = 400 * 86_400_000;
        assert_eq!(world.pass(HOUR / 2, &rooms), NONE);
        world.off_millis = 0;
        assert_eq!(world.pass(20 * HOUR, &rooms), NONE);
        // Wrong for a minute, once it was believed.
        for off in [400 * 86_400_000, -400 * 86_400_000] {
            world.off_millis = off;
            assert_eq!(world.pass(EVERY, &rooms), NONE);
            world.off_millis = 0;
            assert_eq!(world.pass(HOUR, &rooms), NONE);
        }
        assert_eq!(world.pass(3 * HOUR, &rooms), [1]);
    }
}
