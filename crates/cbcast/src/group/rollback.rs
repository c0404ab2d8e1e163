//! Local members of which others have more than this process knows: its state is older than what it has said.
//!
//! A disk was restored from a copy, an export was older than the last broadcast, or the same state was started twice.
//! To go on from there would give numbers a second time, and whatever has such a number is dropped by others as a copy.
//! So a local member that is *rolled back* says nothing. Meanwhile its messages that others have are asked for and
//! delivered here as anybody's are, and the application decides.
//!
//! Behind a relay the member may go on under its id: all that anybody has of it went through the relay, which says how
//! much that is. In a mesh it joins anew. Any process may hold, or may still receive, messages of the time before that
//! nobody who can be asked has told of; they bear numbers that would be given again, and nothing in a packet tells one
//! run of a member from another. Numbers are not all that was promised there, either: what this process has
//! acknowledged others have let go, and what it has reported of a leaver the host has counted.

use alloc::vec::Vec;

use crate::config::Topology;
use crate::error::{BroadcastError, RollbackError};
use crate::group::waiting::Rollback;
use crate::group::{Group, Link, Output};
use crate::id::MemberId;
use crate::members::Slot;
use crate::repair::MissingRange;
use crate::trace::tell_event;

impl Group {
    /// Takes note that this state may be older than the last broadcasts: a backup was put back. Each local member then
    /// is as after an [`Output::Rollback`]: it says nothing until [`go_on`](Self::go_on). O(members).
    pub fn assume_rollback(&mut self) {
        let locals: Vec<_> = self.locals().collect();
        for member in locals {
            let known = self.rollbacks.iter().any(|rollback| rollback.member == member);
            let proven = self.delivered(member).unwrap_or(0);
            if !known {
                self.rollbacks.push(Rollback { member, proven });
            }
        }
    }

    /// Lets a local member speak again after an [`Output::Rollback`] or [`assume_rollback`](Self::assume_rollback): its
    /// next message follows the last one that others have, all of which have been delivered here. O(members).
    ///
    /// `taken` is the number of the last message that the member's own relay has taken from it, as the relay says when
    /// the member comes back over a new link: what [`discard_ahead`](Self::discard_ahead) returns there. Nothing that was
    /// sent over an older link may arrive at the relay after that. (The relay's log answers for the messages up to it.)
    ///
    /// A member of a mesh does not go on, and neither does the host of a relay, whose clients may have seen what is nowhere
    /// else. The first joins anew, from a snapshot, and its host parts with the old member; the second begins anew, with a
    /// new origin.
    ///
    /// Returns the number of its last message.
    ///
    /// # Errors
    /// [`RollbackError`]; nothing changed.
    pub fn go_on(&mut self, member: MemberId, taken: u64) -> Result<u64, RollbackError> {
        let place = self.rollbacks.iter().position(|rollback| rollback.member == member);
        let (place, last) =
            place.zip(self.delivered(member)).ok_or(RollbackError::NotRolledBack { member })?;
        match self.config.topology {
            Topology::Mesh => return Err(RollbackError::Mesh { member }),
            Topology::Relay if member.is_host() => return Err(RollbackError::Host { member }),
            Topology::Relay => {}
        }
        let to = taken.max(self.rollbacks[place].proven);
        if last < to {
            return Err(RollbackError::Missing { member, from: last + 1, to });
        }
        tell_event!(debug, %member, last, "goes on");
        self.rollbacks.remove(place);
        Ok(last)
    }

    /// Somebody says that so many messages of a member are kept by nobody.
    pub(super) fn told_let_go(&mut self, link: Link, member: MemberId, count: u64) {
        let Some(slot) = self.members.live_slot(member).filter(|_| !matches!(link, Link::Member(_))) else {
            return;
        };
        let delivered = self.members.delivered(slot);
        if count > delivered.max(self.members.get(slot).let_go) {
            self.members.get_mut(slot).let_go = count;
            self.members.settle(slot);
            tell_event!(warn, %member, from = delivered + 1, to = count, "let go by all");
            self.outputs.push_back(Output::LetGo(MissingRange { member, from: delivered + 1, to: count }));
        }
    }

    /// Others have message `seq` of the local member in `slot`, which has not said it.
    pub(super) fn rolled_back(&mut self, slot: Slot, seq: u64) {
        let member = self.members.get(slot).id;
        match self.rollbacks.iter_mut().find(|rollback| rollback.member == member) {
            Some(rollback) if rollback.proven >= seq => return,
            Some(rollback) => rollback.proven = seq,
            None => self.rollbacks.push(Rollback { member, proven: seq }),
        }
        tell_event!(warn, %member, seq, "rolled back");
        self.outputs.push_back(Output::Rollback { member, seq });
    }

    /// Refuses what is said by members that others have parted with, or of which others have more.
    #[cold]
    pub(super) fn may_speak(&self, member: MemberId) -> Result<(), BroadcastError> {
        if self.departed.contains(&member) {
            return Err(BroadcastError::Departed { member });
        }
        match self.rollbacks.iter().find(|rollback| rollback.member == member) {
            Some(rollback) => Err(BroadcastError::RolledBack { member, seq: rollback.proven }),
            None => Ok(()),
        }
    }
}
