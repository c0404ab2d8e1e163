//! Stability of a room's log: up to where the members who are in have delivered it. Known only while somebody follows it,
//! who is told now and then; never stored.
//!
//! A native member acknowledges what its own group has delivered. A member that lives here has delivered what was written
//! to its connection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use causerie_core::id::Position;
use causerie_core::wire::{BEHIND_MAX, ServerFrame, Stable};
use cbcast::MemberId;

use crate::fanout::reader::Reader;
use crate::net::outbox::Latest;

/// Time after the first news when followers are told.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
/// Members of a room that can be followed: in larger ones each message would be acknowledged hundreds of times.
pub(crate) const MEMBERS_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct RoomStability {
    is_followed: AtomicBool,
    state: Mutex<StabilityState>,
}

#[derive(Default)]
struct StabilityState {
    followers: Vec<Arc<Reader>>,
    acknowledged: BTreeMap<MemberId, Position>,
    /// Followers are about to be told.
    is_due: bool,
    /// The last that all of them were told.
    told: Option<Stable>,
}

impl RoomStability {
    fn state(&self) -> MutexGuard<'_, StabilityState> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// Returns whether anybody wants to know what members acknowledge.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Relaxed)
    }

    /// Notes that a member has delivered the log up to there. Returns whether followers have to be told in a while.
    #[must_use]
    pub(crate) fn acknowledge(&self, member: MemberId, position: Position) -> bool {
        if !self.is_followed() {
            return false;
        }
        let mut state = self.state();
        if state.followers.is_empty() {
            return false;
        }
        let before = state.acknowledged.entry(member).or_default();
        if *before >= position {
            return false;
        }
        *before = position;
        !std::mem::replace(&mut state.is_due, true)
    }

    fn end(&self, state: &mut StabilityState, tell_members: impl FnOnce(bool)) {
        *state = StabilityState { is_due: state.is_due, ..StabilityState::default() };
        self.is_followed.store(false, Ordering::Relaxed);
        tell_members(false);
    }

    /// Removes a reader, and with the last follower what was known.
    pub(crate) fn leave(&self, reader: &Arc<Reader>, tell_members: impl FnOnce(bool)) {
        if !self.is_followed() {
            return;
        }
        let mut state = self.state();
        state.followers.retain(|other| !Arc::ptr_eq(other, reader));
        if state.followers.is_empty() && self.is_followed() {
            self.end(&mut state, tell_members);
        }
    }

    /// Adds a reader to those who are told up to where members have delivered, unless it is one of them. Returns whether they
    /// have to be told in a while.
    #[must_use]
    pub(crate) fn follow(&self, reader: &Arc<Reader>, tell_members: impl FnOnce(bool)) -> bool {
        let mut state = self.state();
        if state.followers.iter().any(|other| Arc::ptr_eq(other, reader)) {
            return false;
        }
        state.followers.push(Arc::clone(reader));
        // It has been told nothing.
        state.told = None;
        if !self.is_followed.swap(true, Ordering::Relaxed) {
            tell_members(true);
        }
        !std::mem::replace(&mut state.is_due, true)
    }

    /// Tells followers, where these members are in the room.
    pub(crate) fn tell(&self, present: &[MemberId], tell_members: impl FnOnce(bool)) {
        let mut state = self.state();
        state.is_due = false;
        if present.len() > MEMBERS_MAX && self.is_followed() {
            return self.end(&mut state, tell_members);
        }
        state.acknowledged.retain(|member, _| present.binary_search(member).is_ok());
        let stable = stable(present, &state.acknowledged);
        if state.told.as_ref() == Some(&stable) {
            return;
        }
        let mut frame = Vec::new();
        ServerFrame::Stable(stable.clone()).encode(&mut frame);
        state.followers.iter().for_each(|reader| reader.tell_latest(Latest::Stable, frame.clone()));
        state.told = Some(stable);
    }
}

/// Returns what these members have acknowledged, so that few are named.
fn stable(present: &[MemberId], acknowledged: &BTreeMap<MemberId, Position>) -> Stable {
    let mut positions: Vec<_> = present
        .iter()
        .map(|member| (acknowledged.get(member).copied().unwrap_or(Position::START), *member))
        .collect();
    positions.sort_unstable();
    let least = positions.len().saturating_sub(1).min(BEHIND_MAX);
    let position = positions.get(least).map_or(Position::START, |(position, _)| *position);
    let behind = positions.iter().filter(|(other, _)| *other < position);
    Stable { position, behind: behind.map(|&(position, member)| (member, position)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_named_and_nobody_is_said_to_have_more_than_it_has() {
        let members: Vec<_> = (1..=40).map(|n| MemberId::new(0, n)).collect();
        assert_eq!(stable(&[], &BTreeMap::new()), Stable::default());
        assert_eq!(stable(&members[..1], &BTreeMap::new()), Stable::default());
        let three = [(members[0], Position::new(7)), (members[1], Position::new(9))].into();
        let behind = vec![(members[2], Position::START), (members[0], Position::new(7))];
        assert_eq!(stable(&members[..3], &three), Stable { position: Position::new(9), behind });
        // One is as far as its number.
        let all: BTreeMap<_, _> =
            members.iter().map(|member| (*member, Position::new(member.ordinal.into()))).collect();
        let told = stable(&members, &all);
        assert_eq!((told.position, told.behind.len()), (Position::new(17), BEHIND_MAX));
        for (member, position) in &all {
            let behind = told.behind.iter().find(|(other, _)| other == member);
            assert!(behind.map_or(told.position, |(_, position)| *position) <= *position, "{member}");
        }
    }
}
