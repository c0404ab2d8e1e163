//! Time as the group is told it.
//!
//! It drives repair and heartbeats, never order. A clock may be put back, by a second or by years, and a process that
//! starts again from an export may have another. What was due in so long must not be due in so much longer: whenever
//! the time told is before that told last, all moments noted here are put back by as much. A clock that is put forward
//! only makes things due early.

use core::time::Duration;

use crate::group::Group;
use crate::time::Time;

impl Group {
    /// Takes note of the time. O(1), and O(members + places in the hold-back queue) where it runs backwards.
    #[inline]
    pub(super) fn tell_time(&mut self, now: Time) {
        if now < self.latest {
            self.turn_back(self.latest - now);
        }
        self.latest = now;
    }

    #[cold]
    fn turn_back(&mut self, by: Duration) {
        self.heartbeat_at = self.heartbeat_at.map(|at| at.earlier(by));
        self.repair.turn_back(by);
        for member in self.members.all_mut() {
            member.lagging_since = member.lagging_since.earlier(by);
            member.repair.turn_back(by);
            for held in member.ring.iter_mut() {
                held.since = held.since.earlier(by);
            }
        }
    }
}
