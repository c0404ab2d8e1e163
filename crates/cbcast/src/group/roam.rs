//! Going on at another host: whoever has lost its relay keeps what it has delivered, and speaks as another member.
//!
//! The new relay may lack what the old one had. So the first stamp there lists every entry beyond the new relay's cut, not
//! the frontier alone: a message that went down with the old relay counts as met once that is expelled, and what lay
//! behind it would be seen too late. What had been said and was perhaps not taken is said anew, without naming the old ids.
//!
//! ```text
//! client                                                    new relay
//!   resign(old, taken)
//!   ─────────── its cut, who it was ──────────────────────────▸   admits (Joined), takes its own cut
//!   ◂────────── that cut, then what the client's lacks ────────
//!   adopt(new), list_beyond(cut), broadcast
//! ```

use alloc::vec::Vec;

use crate::cut::Cut;
use crate::group::Group;
use crate::id::{MemberId, MessageId};

impl Group {
    /// Returns what has been delivered here, as a value that can be asked and sent. O(members log members).
    #[must_use]
    pub fn cut(&self) -> Cut {
        Cut::new(self.clock(), self.members.next_ordinals())
    }

    /// A member that another process has admitted, and that has said nothing yet, lives here from now on: it speaks
    /// through [`broadcast`](Self::broadcast). Nobody else may speak for it. Whether it is one, and was none.
    pub fn adopt(&mut self, member: MemberId) -> bool {
        let Some(slot) = self.members.live_slot(member).filter(|_| !self.is_local(member)) else {
            return false;
        };
        self.speaks_here(slot);
        self.tell_stable();
        true
    }

    /// A local member does not live here any more, and others have, or may get, `taken` of its messages. What it has said
    /// beyond them is undone, as if it never had been: nobody else's message can have seen it. If it was taken after all
    /// it arrives as anybody's. Call [`list_beyond`](Self::list_beyond) before the next broadcast here: what was undone may
    /// have taken others' place in the frontier. Not where [`Config::retain`](crate::Config::retain) or
    /// [`Config::durable`](crate::Config::durable) is on; returns whether it was done.
    pub fn resign(&mut self, member: MemberId, taken: u64) -> bool {
        let slot = self.members.live_slot(member).filter(|&slot| self.members.get(slot).local);
        let Some(slot) = slot.filter(|_| self.stability.is_none() && self.journal.is_none()) else {
            return false;
        };
        self.members.get_mut(slot).local = false;
        let progress = self.members.progress_mut(slot);
        if taken < progress.delivered {
            progress.delivered = taken;
            progress.in_frontier &= taken > 0;
        }
        self.members.settle(slot);
        true
    }

    /// The next message of a local member is to list every entry of the clock here that `cut` lacks, not the frontier only:
    /// for whoever goes on at a relay that had delivered `cut` when it said *Joined*. `max` entries at most, of members
    /// behind `after`; returns the last one listed if there are more: then broadcast something empty, and call this again
    /// with that. O(members log members).
    pub fn list_beyond(&mut self, cut: &Cut, after: Option<MemberId>, max: usize) -> Option<MemberId> {
        // At least one, or it would be asked for again without end.
        let max = max.max(1);
        let lacking = |&(member, count): &(MemberId, u64)| {
            Some(member) > after
                && !self.is_local(member)
                && count > 0
                && !cut.has(MessageId::new(member, count))
        };
        let lacking: Vec<_> = self.clock().iter().filter(lacking).map(|(member, _)| member).collect();
        for &member in lacking.iter().take(max) {
            let slot = self.members.live_slot(member).expect("it is in the clock");
            if self.passed.iter().any(|&(passed, _)| passed == slot) {
                // Its last message that was not skipped stands there already.
                continue;
            }
            let progress = self.members.progress_mut(slot);
            progress.in_frontier = true;
            if !progress.listed {
                progress.listed = true;
                self.frontier.push(slot);
            }
        }
        (lacking.len() > max).then(|| lacking[max - 1])
    }
}
