//! Stability of a room's log: up to where the members who are in have delivered it. Known only while somebody follows it,
//! who is told now and then; never stored.
//!
//! A native member acknowledges what its own group has delivered. A member that lives here has delivered what was written
//! to its connection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use causerie_core::wire::{BEHIND_MAX, ServerFrame, Stable};
use cbcast::MemberId;

use crate::Server;
use crate::fanout::Reader;
use crate::net::outbox::Latest;
use crate::rooms::hosted::HostedRoom;

/// Followers are told so long after the first news.
const PAUSE: Duration = Duration::from_millis(200);
/// Members of a room that can be followed: in larger ones each message would be acknowledged hundreds of times.
const MEMBERS_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Stability {
    is_followed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    followers: Vec<Arc<Reader>>,
    acknowledged: BTreeMap<MemberId, u64>,
    /// Followers are about to be told.
    is_due: bool,
    /// What all of them were told last.
    told: Option<Stable>,
}

impl Stability {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// Whether anybody wants to know what members acknowledge.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Relaxed)
    }

    /// A member has delivered the log up to there. Returns whether followers have to be told in a while.
    fn acknowledge(&self, member: MemberId, position: u64) -> bool {
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

    fn end(&self, state: &mut State, tell_members: impl FnOnce(bool)) {
        *state = State { is_due: state.is_due, ..State::default() };
        self.is_followed.store(false, Ordering::Relaxed);
        tell_members(false);
    }

    /// A reader goes, and with the last follower what was known.
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
}

/// What these members have acknowledged, so that few are named.
fn stable(present: &[MemberId], acknowledged: &BTreeMap<MemberId, u64>) -> Stable {
    let mut positions: Vec<_> =
        present.iter().map(|member| (acknowledged.get(member).copied().unwrap_or(0), *member)).collect();
    positions.sort_unstable();
    let least = positions.len().saturating_sub(1).min(BEHIND_MAX);
    let position = positions.get(least).map_or(0, |(position, _)| *position);
    let behind = positions.iter().filter(|(other, _)| *other < position);
    Stable { position, behind: behind.map(|&(position, member)| (member, position)).collect() }
}

impl HostedRoom {
    /// A reader is told from now on up to where members have delivered.
    pub(crate) fn follow_stable(self: &Arc<Self>, server: &Arc<Server>, reader: &Arc<Reader>) {
        if self.look(|room| room.present().len()) > MEMBERS_MAX {
            return;
        }
        let is_due = {
            let mut state = self.stability.state();
            if state.followers.iter().any(|other| Arc::ptr_eq(other, reader)) {
                return;
            }
            state.followers.push(Arc::clone(reader));
            // It has been told nothing.
            state.told = None;
            if !self.stability.is_followed.swap(true, Ordering::Relaxed) {
                self.tell_wanted(true);
            }
            !std::mem::replace(&mut state.is_due, true)
        };
        // Members that live here and have nothing to read say how far they are.
        self.stir();
        if is_due {
            self.tell_stable(server);
        }
    }

    /// A member has delivered the log up to there.
    pub(crate) fn acknowledge(self: &Arc<Self>, server: &Arc<Server>, member: MemberId, position: u64) {
        if self.stability.is_followed() && self.stability.acknowledge(member, position) {
            self.tell_stable(server);
        }
    }

    /// Tells followers, in a while.
    fn tell_stable(self: &Arc<Self>, server: &Arc<Server>) {
        let (room, stop) = (Arc::clone(self), server.stop.clone());
        server.spawn(async move {
            if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
                room.tell_followers();
            }
        });
    }

    fn tell_followers(&self) {
        let present: Vec<_> = self.look(|room| room.present().collect());
        let mut state = self.stability.state();
        state.is_due = false;
        if present.len() > MEMBERS_MAX && self.stability.is_followed() {
            return self.stability.end(&mut state, |_| self.tell_wanted(false));
        }
        state.acknowledged.retain(|member, _| present.binary_search(member).is_ok());
        let stable = stable(&present, &state.acknowledged);
        if state.told.as_ref() == Some(&stable) {
            return;
        }
        let mut frame = Vec::new();
        ServerFrame::Stable(stable.clone()).encode(&mut frame);
        state.followers.iter().for_each(|reader| reader.tell_latest(Latest::Stable, frame.clone()));
        state.told = Some(stable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_named_and_nobody_is_said_to_have_more_than_it_has() {
        let members: Vec<_> = (1..=40).map(|n| MemberId::new(0, n)).collect();
        assert_eq!(stable(&[], &BTreeMap::new()), Stable::default());
        assert_eq!(stable(&members[..1], &BTreeMap::new()), Stable::default());
        let three = [(members[0], 7), (members[1], 9)].into();
        let behind = vec![(members[2], 0), (members[0], 7)];
        assert_eq!(stable(&members[..3], &three), Stable { position: 9, behind });
        // One is as far as its number.
        let all: BTreeMap<_, _> = members.iter().map(|member| (*member, u64::from(member.ordinal))).collect();
        let told = stable(&members, &all);
        assert_eq!((told.position, told.behind.len()), (17, BEHIND_MAX));
        for (member, position) in &all {
            let behind = told.behind.iter().find(|(other, _)| other == member);
            assert!(behind.map_or(told.position, |(_, position)| *position) <= *position, "{member}");
        }
    }
}
