//! Members of this process of which others have more than it has itself: its state is older than what it has said.
//!
//! A disk was restored from a copy, an export was older than the last broadcast, or the same state was started twice.
//! To go on from there would give numbers a second time, and whatever has such a number is dropped by others as a copy.
//! So a local member that is *rolled back* says nothing. Meanwhile its messages that others have are asked for and
//! delivered here as anybody's are, and the application decides: to go on once nobody can have more, or to leave.

use alloc::vec::Vec;

use crate::config::Topology;
use crate::error::{BroadcastError, RollbackError};
use crate::group::{Group, Link, Output};
use crate::id::MemberId;
use crate::members::Slot;
use crate::repair::MissingRange;

/// A local member that must not say anything for now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rollback {
    pub(crate) member: MemberId,
    /// The greatest number that others are known to have of it.
    pub(crate) proven: u64,
}

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
        self.forget_who_has_told();
    }

    /// A local member goes on after an [`Output::Rollback`] or [`assume_rollback`](Self::assume_rollback): its next
    /// message follows the last one that others are known to have, all of which have been delivered here.
    ///
    /// That is sound once nobody can have more: in a mesh every other member must have told its clock since, where
    /// there is a relay the relay. (A clock that was sent before does not count; whoever may receive such, delayed for
    /// longer than the restart took, waits for that long first. A clock tells what was delivered: a relay drops what it
    /// holds of the member when its link begins anew, [`discard_ahead`](Self::discard_ahead), and tells its clock once it
    /// holds nothing more of it.) The host of a relay cannot go on, since its clients may
    /// have seen what is nowhere else: it begins anew, with a new origin. O(members).
    ///
    /// Returns the number of its last message.
    ///
    /// # Errors
    /// [`RollbackError`] says what is missing; nothing changed. Try again as time goes on, or leave: a new member says
    /// under a new id what others lack.
    pub fn go_on(&mut self, member: MemberId) -> Result<u64, RollbackError> {
        let place = self.rollbacks.iter().position(|rollback| rollback.member == member);
        let (place, last) =
            place.zip(self.delivered(member)).ok_or(RollbackError::NotRolledBack { member })?;
        let proven = self.rollbacks[place].proven;
        if last < proven {
            return Err(RollbackError::Missing { member, from: last + 1, to: proven });
        }
        match self.config.topology {
            Topology::Mesh => {
                let others = self.members.iter().filter(|(_, m)| m.live && !m.local);
                let speaker = |slot| self.members.live_slot(self.speaker(slot));
                let has_told = |slot| speaker(slot).is_some_and(|slot| self.members.get(slot).has_told);
                let silent = others.filter(|&(slot, _)| !has_told(slot)).map(|(_, m)| m.id).min();
                silent.map_or(Ok(()), |member| Err(RollbackError::Unheard { member }))?;
            }
            Topology::Relay if member.is_host() => return Err(RollbackError::Host { member }),
            Topology::Relay if !self.relay_has_told => {
                return Err(RollbackError::Unheard { member: MemberId::host(member.origin) });
            }
            Topology::Relay => {}
        }
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
            self.outputs.push_back(Output::LetGo(MissingRange { member, from: delivered + 1, to: count }));
        }
    }

    /// Others have message `seq` of the local member in `slot`, which has not said it.
    pub(super) fn rolled_back(&mut self, slot: Slot, seq: u64) {
        let member = self.members.get(slot).id;
        match self.rollbacks.iter_mut().find(|rollback| rollback.member == member) {
            Some(rollback) if rollback.proven >= seq => return,
            Some(rollback) => rollback.proven = seq,
            None => {
                self.rollbacks.push(Rollback { member, proven: seq });
                self.forget_who_has_told();
            }
        }
        self.outputs.push_back(Output::Rollback { member, seq });
    }

    /// Somebody has told a whole clock.
    pub(super) fn has_told(&mut self, link: Link) {
        match link {
            Link::Member(_) => {}
            Link::Relay => self.relay_has_told = true,
            Link::Peer(peer) => {
                if let Some(slot) = self.members.live_slot(peer)
                    && !self.members.get(slot).has_told
                {
                    self.members.get_mut(slot).has_told = true;
                    self.members.settle(slot);
                }
            }
        }
    }

    fn forget_who_has_told(&mut self) {
        self.relay_has_told = false;
        let all: Vec<_> = self.members.iter().map(|(slot, _)| slot).collect();
        for slot in all {
            self.members.get_mut(slot).has_told = false;
            self.members.settle(slot);
        }
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
