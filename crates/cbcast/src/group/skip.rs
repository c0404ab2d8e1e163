//! Giving up what nobody has ([`GapPolicy::Skip`](crate::GapPolicy::Skip)).
//!
//! What is skipped counts as delivered, but has not been: it stands in no stamp. The last message of its sender that
//! was delivered stays in the frontier until one that follows it is delivered, else what a stamp says would bind
//! others to less than its author has seen. Only what is shown to exist is skipped: a member that speaks over a link of
//! its own can name any number of another's messages, and must not make the group give those up.

use alloc::vec::Vec;
use core::time::Duration;

use crate::group::{Group, Output};
use crate::id::MessageId;
use crate::members::{Member, Slot};
use crate::repair::MissingRange;
use crate::time::Time;
use crate::trace::tell_event;

/// Requests that must have come to nothing before a message is skipped, however long it has been missing: whoever calls
/// late may not have asked yet.
const REQUESTS_LEAST: u32 = 3;

impl Group {
    /// Skips what has been missing for too long, and been asked for often enough, the last time long enough ago.
    pub(super) fn skip_overdue(&mut self, now: Time, after: Duration) {
        let overdue = |m: &Member| {
            let may_be = m.live && !m.id.is_host() && m.repair.requests >= REQUESTS_LEAST;
            may_be && m.repair.is_due(now) && now.since(m.lagging_since) >= after
        };
        let lagging = self.lagging().filter(|(_, m)| overdue(m));
        let mut slots: Vec<_> = lagging.map(|(slot, m)| (m.id, slot)).collect();
        slots.sort_unstable();
        for (_, slot) in slots {
            let member = self.members.get(slot);
            // Its next message may be held, waiting for another's: then that one is skipped, not this.
            let missing = member.ring.missing_first() as u64;
            let heard = self.members.heard(slot).min(member.shown);
            let beyond_ring = heard.saturating_sub(self.members.delivered(slot));
            let count = if missing == member.ring.len() as u64 { beyond_ring } else { missing };
            if count > 0 {
                self.skip(now, slot, count);
            }
        }
        self.release(now);
    }

    /// The next `count` messages of a member are given up: they count as delivered.
    pub(super) fn skip(&mut self, now: Time, slot: Slot, count: u64) {
        let from = self.members.delivered(slot) + 1;
        let to = from + count - 1;
        let progress = self.members.progress_mut(slot);
        progress.delivered = to;
        if core::mem::take(&mut progress.in_frontier) {
            self.passed.push((slot, from - 1));
        }
        for _ in 0..count {
            if let Some(stability) = &mut self.stability {
                stability.delivered(slot, None);
            }
        }
        self.stats.skipped += count;
        let heard = self.hear_on(slot);
        let member = self.members.get_mut(slot);
        for _ in 0..member.ring.len().min(count as usize) {
            let held = member.ring.pop();
            debug_assert!(held.is_none(), "skipped, and here");
            self.holdback_places -= 1;
        }
        let next_is_here = member.ring.next().is_some();
        member.lagging_since = now;
        self.repair.begin(&mut member.repair, now);
        let member = member.id;
        if heard <= to {
            self.lagging -= 1;
        }
        if next_is_here {
            self.awake.push(slot);
        }
        self.wake_waiters(slot, to);
        tell_event!(warn, %member, from, to, "skipped");
        let range = MissingRange { member, from, to };
        if let Some(journal) = &mut self.journal {
            journal.skipped(range);
        }
        self.outputs.push_back(Output::Gap(range));
    }

    /// A message of `slot` has been delivered, whose dependencies stand in `deps`: what it follows leaves the frontier.
    /// (Whose author has seen a skipped one may have skipped those before it.)
    pub(super) fn follow_passed(&mut self, slot: Slot) {
        let deps = &self.deps;
        self.passed.retain(|passed| passed.0 != slot && !deps.contains(passed));
    }

    /// Messages in the frontier behind which others of their sender were skipped.
    pub(super) fn passed(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.passed.iter().map(|&(slot, seq)| MessageId::new(self.members.get(slot).id, seq))
    }
}
