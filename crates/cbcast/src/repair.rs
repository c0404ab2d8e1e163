//! Schedule of asking for what is missing, and whom.
//!
//! Each member whose messages are missing has a [`Target`] of its own. Its gap is given `repair_delay` to close by
//! itself. Then it is asked for, again after each pause, which doubles up to `repair_delay_max` and is shortened by up
//! to a quarter at random, so that many members that miss the same message do not all ask at once. Whatever comes of
//! the member starts the pauses anew. A clock that shows somebody to have what is missing ends the pause once a
//! request has had `repair_delay` to be answered: whoever tells its clock is there to be asked.
//!
//! The sender is asked first, and every fourth time. In between those who are known to have it are asked in turn,
//! and in every other cycle all others: an acknowledgement says that a member has delivered a message, not that it
//! can send it again (it may have started from a snapshot). So everybody is asked in the end. From the third request
//! on two are asked at once in a mesh: over links that lose a fifth, a request and its answer come through two times
//! in three.

use core::time::Duration;

use crate::config::Config;
use crate::id::MemberId;
use crate::time::Time;

/// Messages of one member that are known to exist and have not arrived: `from..=to`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct MissingRange {
    /// Member whose messages they are.
    pub member: MemberId,
    /// The first missing one.
    pub from: u64,
    /// The last missing one.
    pub to: u64,
}

/// The repair of one member's messages, while some of them are missing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Target {
    /// Time to ask next; `None` while nothing of the member is missing but what is held.
    due: Option<Time>,
    /// Time of the last request.
    asked_at: Time,
    /// Number of requests since something of it came last.
    pub(crate) requests: u32,
    /// Place among the others where those who are asked begin: drawn with the first request.
    start: u32,
}

/// Addressee of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    /// Whoever sent the messages.
    Sender,
    /// The one in this place, counted round, of those known to have the first of them.
    Holder(usize),
    /// The one in this place of all others.
    Anybody(usize),
}

/// The sender is asked every so many requests.
const CYCLE: u32 = 4;

/// From this request on two are asked at once, in a mesh.
const DOUBLED_FROM: u32 = 3;

impl Target {
    pub(crate) fn due(&self) -> Option<Time> {
        self.due
    }

    /// The clock was put back by so much.
    pub(crate) fn turn_back(&mut self, by: Duration) {
        self.due = self.due.map(|due| due.earlier(by));
        self.asked_at = self.asked_at.earlier(by);
    }

    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// For whom it is the turn to be asked for, the one asked for longest ago.
    pub(crate) fn asked_at(&self) -> Time {
        if self.requests == 0 { Time::ZERO } else { self.asked_at }
    }

    /// Returns whom to send the request to that was counted last: one, or two where the first have come to nothing.
    pub(crate) fn whom(&self) -> impl Iterator<Item = Ask> + use<> {
        let target = *self;
        let many = u32::from(self.requests >= DOUBLED_FROM);
        (0..=many).map(move |more| target.nth(target.requests.saturating_add(more)))
    }

    fn nth(&self, request: u32) -> Ask {
        let before = request.saturating_sub(1);
        let (cycle, place) = (before / CYCLE, before % CYCLE);
        let turn = self.start.wrapping_add(cycle / 2 * (CYCLE - 1) + place) as usize;
        match place {
            0 => Ask::Sender,
            _ if cycle.is_multiple_of(2) => Ask::Holder(turn),
            _ => Ask::Anybody(turn),
        }
    }
}

/// Time at which the next target is due, and the draws.
#[derive(Clone, Debug)]
pub(crate) struct Repair {
    delay: Duration,
    delay_max: Duration,
    /// No target is due before; there may be none at all.
    deadline: Option<Time>,
    random: u64,
}

impl Repair {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            delay: config.repair_delay,
            delay_max: config.repair_delay_max,
            deadline: None,
            random: config.seed,
        }
    }

    /// The clock was put back by so much. Targets are told apart from this.
    pub(crate) fn turn_back(&mut self, by: Duration) {
        self.deadline = self.deadline.map(|deadline| deadline.earlier(by));
    }

    /// Something of the member is missing and nothing was, or something has come: it is given time to come by itself.
    pub(crate) fn begin(&mut self, target: &mut Target, now: Time) {
        *target = Target::default();
        self.gap_opened(target, now);
    }

    /// More of the member is missing than before.
    pub(crate) fn gap_opened(&mut self, target: &mut Target, now: Time) {
        if target.due.is_none() {
            self.set_due(target, now + self.delay);
        }
    }

    /// Somebody who can be reached has what is missing.
    pub(crate) fn shown(&mut self, target: &mut Target, now: Time) {
        let soon = match target.requests {
            0 => now + self.delay / 2,
            _ => target.asked_at + self.delay,
        };
        if target.due.is_some_and(|due| due > soon.max(now)) {
            self.set_due(target, soon.max(now));
        }
    }

    /// It is asked for at `now`: sets when to ask again.
    pub(crate) fn asked(&mut self, target: &mut Target, now: Time) {
        if target.requests == 0 {
            target.start = self.draw() as u32;
        }
        target.requests = target.requests.saturating_add(1);
        target.asked_at = now;
        let doubled = self.delay.saturating_mul(1u32.checked_shl(target.requests).unwrap_or(u32::MAX));
        let pause = doubled.min(self.delay_max).max(self.delay);
        let quarter = u64::try_from(pause.as_nanos() / 4).unwrap_or(u64::MAX).max(1);
        let jitter = Duration::from_nanos(self.draw() % quarter);
        target.due = Some(now + (pause - jitter));
    }

    /// There was no place for it in the requests made at `now`.
    pub(crate) fn put_off(&mut self, target: &mut Target, now: Time) {
        target.due = Some(now + self.delay);
    }

    /// Nothing is missing that can be asked for.
    pub(crate) fn nothing_to_ask(&mut self, target: &mut Target) {
        target.due = None;
    }

    fn set_due(&mut self, target: &mut Target, due: Time) {
        target.due = Some(due);
        self.deadline = Some(self.deadline.map_or(due, |deadline| deadline.min(due)));
    }

    /// Returns how long before its time a target may be asked for with others.
    pub(crate) fn slack(&self) -> Duration {
        self.delay / 4
    }

    pub(crate) fn due(&self, now: Time) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    pub(crate) fn set_deadline(&mut self, deadline: Option<Time>) {
        self.deadline = deadline;
    }

    /// SplitMix64 [SLF14].
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadline
    }
}
