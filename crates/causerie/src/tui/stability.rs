//! Members that have delivered our messages, by what they have told the server and what they have said since.

use causerie_client::Position;
use std::collections::BTreeMap;

use causerie_client::{MemberId, MemberInfo, MessageId, Stable};

/// Knowledge of each member.
#[derive(Debug, Default)]
pub(super) struct StabilityView {
    /// Our last message in the past of what it has said.
    seen: BTreeMap<MemberId, u64>,
    /// The position up to which it has delivered the log.
    delivered: BTreeMap<MemberId, Position>,
}

impl StabilityView {
    /// Takes note that a member has said something with this message of ours in its past.
    pub(super) fn saw(&mut self, member: MemberId, seq: u64) {
        let seen = self.seen.entry(member).or_default();
        *seen = seq.max(*seen);
    }

    /// Returns our last message that a member has seen, as far as what it said tells.
    pub(super) fn seen(&self, member: MemberId) -> Option<u64> {
        self.seen.get(&member).copied()
    }

    /// Takes note that a member has delivered the log up to there.
    pub(super) fn delivered(&mut self, member: MemberId, position: Position) {
        let delivered = self.delivered.entry(member).or_default();
        *delivered = position.max(*delivered);
    }

    /// Takes in what the server tells. Of members whose *Joined* is still to come nothing is noted yet.
    pub(super) fn tell(&mut self, stable: &Stable, members: &[MemberInfo]) {
        let behind: BTreeMap<_, _> = stable.behind.iter().copied().collect();
        for MemberInfo { member, .. } in members {
            self.delivered(*member, behind.get(member).copied().unwrap_or(stable.position));
        }
    }

    /// Returns whether a member is known to have delivered this message of ours.
    pub(super) fn has(&self, member: MemberId, id: MessageId, position: Option<Position>) -> bool {
        let delivered = || position.is_some_and(|at| self.delivered.get(&member).is_some_and(|&to| to >= at));
        self.seen(member).is_some_and(|seq| seq >= id.seq) || delivered()
    }

    /// Forgets who has left.
    pub(super) fn forget(&mut self, member: MemberId) {
        self.seen.remove(&member);
        self.delivered.remove(&member);
    }
}
