//! Ages of records and of rooms, whatever the clock does.
//!
//! How old a record is only the wall clock can say, and it may be wrong: for a minute, or until a machine without a
//! battery has heard of the time. So ages count only while the wall clock has kept step with the monotonic one for some
//! time, and not before that after a start; and where records may have been stamped much too early, all of them count as
//! said when that was noticed.

use std::sync::Mutex;
use std::time::Duration;

use causerie_core::id::Position;
use causerie_core::log::records;
use causerie_core::room::Now;
use causerie_store::{Retention, RoomId, Store, StoreError};
use tracing::{info, warn};

/// By how much the wall clock may leave the monotonic one before that is a jump.
const JUMP_MILLIS: i64 = 60_000;
/// Time for which it has to keep step before ages count (again). A guess: a clock that is set is set within it.
const SETTLE_MILLIS: i64 = 600_000;
/// Slowness of its drift, in milliseconds for one: no clock that is being adjusted does so faster.
const DRIFT: i64 = 10;

/// The wall clock beside the monotonic one, in milliseconds.
#[derive(Debug)]
struct Steps {
    /// The wall's time less the monotonic one's.
    offset: i64,
    /// Times when both were looked at last, and since when they have kept step, by the monotonic one.
    looked: i64,
    steady_since: i64,
    /// The least offset since they were believed last: so much too early records may have been stamped.
    least: i64,
    /// Ages count.
    believed: bool,
}

/// Outcome of a look at the clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ClockStep {
    Even,
    /// By so much.
    Jump(i64),
    /// From now on ages count. Records may have been stamped too early by so much.
    Believed(i64),
}

fn millis(now: Now) -> (i64, i64) {
    let monotonic = i64::try_from(now.time.as_nanos() / 1_000_000).unwrap_or(i64::MAX / 2);
    (monotonic, i64::try_from(now.wall_millis).unwrap_or(i64::MAX / 2))
}

impl Steps {
    fn new(now: Now) -> Self {
        let (monotonic, wall) = millis(now);
        let offset = wall - monotonic;
        Self { offset, looked: monotonic, steady_since: monotonic, least: offset, believed: false }
    }

    fn look(&mut self, now: Now) -> ClockStep {
        let (monotonic, wall) = millis(now);
        let passed = monotonic - std::mem::replace(&mut self.looked, monotonic);
        let apart = wall - monotonic - self.offset;
        if apart.abs() >= JUMP_MILLIS {
            self.offset += apart;
            self.least = self.least.min(self.offset);
            (self.steady_since, self.believed) = (monotonic, false);
            return ClockStep::Jump(apart);
        }
        let drift = passed / DRIFT;
        self.offset += apart.clamp(-drift, drift);
        if !self.believed && monotonic - self.steady_since >= SETTLE_MILLIS {
            self.believed = true;
            return ClockStep::Believed(self.offset - std::mem::replace(&mut self.least, self.offset));
        }
        ClockStep::Even
    }
}

/// The clock by which records go.
#[derive(Debug)]
pub(crate) struct Ages {
    steps: Mutex<Steps>,
    /// [`Store::ages_from`] before the clock jumped.
    before: Mutex<Option<u64>>,
}

impl Ages {
    pub(crate) fn new(now: Now) -> Self {
        Self { steps: Mutex::new(Steps::new(now)), before: Mutex::default() }
    }

    /// Notes that the newest stored record is of this time: if the clock stands before it, what is stored now is stamped too early.
    pub(crate) fn compare(&self, store: &dyn Store, newest: u64, now: Now) {
        if newest <= now.wall_millis.saturating_add(JUMP_MILLIS.unsigned_abs()) {
            return;
        }
        let behind = words(newest - now.wall_millis);
        warn!(
            "the clock stands {behind} before the newest stored message: nothing is removed by its age until it is right"
        );
        set(store, store.ages_from().max(newest));
    }

    /// Looks at the clock.
    pub(crate) fn look(&self, now: Now) -> ClockStep {
        self.steps.lock().expect("nothing panics while holding it").look(now)
    }

    /// Tells of jumps, and sees to it that nothing goes early for them. Blocks.
    pub(crate) fn heed(&self, step: ClockStep, store: &dyn Store, now: Now, age: u64) {
        // So little makes no record young that was removed.
        let much = |millis: i64| millis > 0 && millis.unsigned_abs() >= age / 4;
        let mut before = self.before.lock().expect("nothing panics while holding it");
        match step {
            ClockStep::Even => {}
            ClockStep::Jump(by) => {
                let way = if by > 0 { "ahead" } else { "back" };
                let by_words = words(by.unsigned_abs());
                warn!(
                    "the clock has jumped {way} by {by_words}: nothing is removed by its age until it has kept step for 10 minutes"
                );
                if much(by) {
                    // At once: the process may end before it is known which was right.
                    before.get_or_insert_with(|| store.ages_from());
                    set(store, now.wall_millis);
                }
            }
            ClockStep::Believed(early) => {
                let before = before.take();
                let kept = before.unwrap_or_else(|| store.ages_from()).min(now.wall_millis);
                let from = if much(early) { now.wall_millis } else { kept };
                if from != store.ages_from() {
                    set(store, from);
                }
                if much(early) {
                    let early = words(early.unsigned_abs());
                    warn!(
                        "messages may have been stamped {early} too early: they count as said now, and stay as long as others do from now on"
                    );
                }
            }
        }
    }

    /// Returns the limits that count at the moment.
    pub(crate) fn now(&self, retention: Retention) -> Retention {
        let believed = self.steps.lock().expect("nothing panics while holding it").believed;
        Retention { age_millis: retention.age_millis.filter(|_| believed), ..retention }
    }
}

fn set(store: &dyn Store, millis: u64) {
    if let Err(error) = store.count_ages_from(millis) {
        warn!("from when on ages count cannot be stored: {error}");
    }
}

fn words(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Says what of a room is beyond the limits, and removes it. Returns the first position that is kept.
pub(crate) fn retain(
    store: &dyn Store,
    room: RoomId,
    name: &str,
    keep: Retention,
    now: Now,
) -> Result<Position, StoreError> {
    let excess = store.excess(room, keep, now.wall_millis)?;
    if excess.records > 0 {
        let (records, last) = (excess.records, excess.first - 1);
        info!(
            "of the room '{name}' the {records} oldest records, up to position {last}, are beyond what is kept, and go"
        );
    }
    // Also what an earlier call was kept from.
    Ok(store.retain(room, keep, now.wall_millis)?.first)
}

/// The wall clock is believed once it has agreed with the monotonic one for so long,
const BELIEVED_AFTER: Duration = Duration::from_secs(3_600);
/// to so much.
const AGREES_TO: Duration = Duration::from_secs(300);

/// Since when the wall clock has agreed with the monotonic one.
#[derive(Debug, Default)]
pub(crate) struct Wall(Option<Now>);

impl Wall {
    /// Returns what it shows, if that can be believed.
    pub(crate) fn look(&mut self, now: Now) -> Option<u64> {
        let since = *self.0.get_or_insert(now);
        let ran = now.time.since(since.time);
        let shown = Duration::from_millis(now.wall_millis.saturating_sub(since.wall_millis));
        let went_back = now.wall_millis < since.wall_millis;
        if went_back || shown.abs_diff(ran) > AGREES_TO {
            warn!("the clock was set: rooms go by it in an hour at the earliest");
            self.0 = Some(now);
            return None;
        }
        (ran >= BELIEVED_AFTER).then_some(now.wall_millis)
    }
}

/// Returns when the last record of a room was stored, by the wall clock of then; `None` if it cannot be read, 0 if there is
/// none.
pub(crate) fn last_millis(
    store: &dyn Store,
    room: RoomId,
    last: Position,
) -> Result<Option<u64>, StoreError> {
    if last == Position::START {
        return Ok(Some(0));
    }
    let page = store.read_before(room, last + 1, 1, 1)?;
    Ok(page.runs.into_iter().flat_map(records).map(|record| record.time_millis).max())
}

#[cfg(test)]
mod tests {
    use super::*;
    use causerie_store::MemoryStore;
    use cbcast::Time;

    const DAY: u64 = 86_400_000;
    const START: u64 = 20_000 * DAY;

    fn at(seconds: u64, wall_millis: u64) -> Now {
        Now { time: Time::from_nanos(seconds * 1_000_000_000), wall_millis }
    }

    /// A wall clock that is so much ahead, in milliseconds, at each second.
    struct World {
        store: MemoryStore,
        ages: Ages,
        seconds: u64,
    }

    impl World {
        fn new(wall: u64) -> Self {
            Self { store: MemoryStore::new(), ages: Ages::new(at(0, wall)), seconds: 0 }
        }

        fn run(&mut self, seconds: u64, wall_at_zero: u64) {
            for _ in 0..seconds {
                self.seconds += 1;
                let now = at(self.seconds, wall_at_zero + self.seconds * 1_000);
                let step = self.ages.look(now);
                self.ages.heed(step, &self.store, now, 30 * DAY);
            }
        }

        fn counts(&self) -> bool {
            let keep = Retention { age_millis: Some(30 * DAY), count: Some(7), ..Retention::default() };
            let now = self.ages.now(keep);
            assert_eq!(now.count, Some(7), "counts need no clock");
            now.age_millis.is_some()
        }
    }

    #[test]
    fn ages_count_once_the_clock_has_kept_step() {
        let mut world = World::new(START);
        world.run(599, START);
        assert!(!world.counts(), "right after the start nobody knows");
        world.run(1, START);
        assert!(world.counts());
        // A year ahead for a minute.
        world.run(60, START + 365 * DAY);
        assert!(!world.counts());
        assert!(world.store.ages_from() > START, "it may have been right");
        world.run(599, START);
        assert!(!world.counts());
        world.run(2, START);
        assert!(world.counts());
        assert_eq!(world.store.ages_from(), 0, "it was not, and nothing has been stamped too early");
    }

    #[test]
    fn what_was_stamped_too_early_counts_as_said_now() {
        // A machine that wakes up in 1970, and hears of the time after a minute.
        let mut world = World::new(0);
        world.run(60, 0);
        world.run(1, START);
        assert_eq!(world.store.ages_from(), START + 61_000, "at once, for the process may end");
        world.run(600, START);
        assert!(world.counts());
        assert_eq!(world.store.ages_from(), START + 660_000 + 1_000);
        // Back for a minute: what was said in it looks old, too.
        world.run(60, START - 365 * DAY);
        world.run(601, START);
        assert!(world.counts());
        assert_eq!(world.store.ages_from(), START + world.seconds * 1_000);
    }

    #[test]
    fn small_steps_and_slow_ones_are_none() {
        let mut world = World::new(START);
        world.run(700, START);
        for second in 0..3_600 {
            // A clock that is adjusted by a twentieth of the time.
            world.run(1, START + second * 50);
            assert!(world.counts());
        }
        world.run(1, START + 180_000 + 59_000);
        assert!(world.counts());
        assert_eq!(world.store.ages_from(), 0);
        // A night's sleep, in which the monotonic clock stands still, is waited out, and then nothing has happened.
        world.run(1, START + 8 * 3_600_000);
        assert!(!world.counts());
        world.run(600, START + 8 * 3_600_000);
        assert!(world.counts());
        assert_eq!(world.store.ages_from(), 0);
    }

    #[test]
    fn a_clock_before_the_newest_message_is_wrong() {
        let world = World::new(1_000);
        world.ages.compare(&world.store, START, at(0, 1_000));
        assert_eq!(world.store.ages_from(), START);
        let world = World::new(START);
        world.ages.compare(&world.store, START + 59_000, at(0, START));
        assert_eq!(world.store.ages_from(), 0);
    }
}
