//! Happened-before as sets of messages.

use std::collections::BTreeMap;
use std::fmt::Debug;

use thiserror::Error;

/// A thing that a run did and causal broadcast forbids.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Violation<P: Debug, M: Debug> {
    /// A message was delivered although one that its author had seen before sending it had not been.
    #[error("{process:?} delivered {message:?} before its cause {cause:?}")]
    BeforeCause {
        /// Process that delivered it.
        process: P,
        /// Message concerned.
        message: M,
        /// One cause that the process had not delivered.
        cause: M,
    },
    /// A message was delivered twice by one process, or to its author as if it were another's.
    #[error("{process:?} delivered {message:?} twice")]
    Twice {
        /// Process concerned.
        process: P,
        /// Message concerned.
        message: M,
    },
    /// A message was delivered that nobody broadcast.
    #[error("{process:?} delivered {message:?}, which nobody broadcast")]
    FromNowhere {
        /// Process concerned.
        process: P,
        /// Message concerned.
        message: M,
    },
    /// Two broadcasts have the same name: the recording is of no use.
    #[error("{message:?} was broadcast twice")]
    BroadcastTwice {
        /// Message concerned.
        message: M,
    },
    /// At the end a process lacks a message.
    #[error("{process:?} never delivered {message:?}")]
    Lost {
        /// Process concerned.
        process: P,
        /// Message concerned.
        message: M,
    },
}

/// Judges each delivery as it happens. Messages are numbered as they are broadcast; what a process has seen, and
/// what a message's author had seen, are sets of those numbers.
///
/// Cost: O(messages / 64) a broadcast and a delivery, and as much memory a message.
#[derive(Clone, Debug, Default)]
pub struct Oracle<P, M> {
    numbers: BTreeMap<M, usize>,
    names: Vec<M>,
    /// By message: what its author had seen when sending it.
    past: Vec<Set>,
    seen: BTreeMap<P, Set>,
    /// Messages that processes have given up: not in the past of what they say, and never to be delivered there.
    skipped: BTreeMap<P, Set>,
    /// No messages, though they have numbers.
    retracted: Set,
    deliveries: u64,
}

/// Messages that a process has seen and given up: see [`Oracle::seen`].
#[derive(Clone, Debug, Default)]
pub struct Seen {
    seen: Set,
    skipped: Set,
}

#[derive(Clone, Debug, Default)]
struct Set(Vec<u64>);

impl Set {
    fn insert(&mut self, n: usize) -> bool {
        if self.0.len() <= n / 64 {
            self.0.resize(n / 64 + 1, 0);
        }
        let bit = 1 << (n % 64);
        let new = self.0[n / 64] & bit == 0;
        self.0[n / 64] |= bit;
        new
    }

    fn contains(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|word| word & (1 << (n % 64)) != 0)
    }

    fn and(mut self, other: &Self) -> Self {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
        self
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|&n| self.contains(n))
    }

    /// A member of `self` that is in none of the others.
    fn beyond(&self, others: [&Self; 2]) -> Option<usize> {
        self.0.iter().enumerate().find_map(|(i, &word)| {
            let there = others.iter().fold(0, |all, other| all | other.0.get(i).copied().unwrap_or(0));
            let missing = word & !there;
            (missing != 0).then(|| i * 64 + missing.trailing_zeros() as usize)
        })
    }
}

impl<P: Clone + Debug + Ord, M: Clone + Debug + Ord> Oracle<P, M> {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            numbers: BTreeMap::new(),
            names: Vec::new(),
            past: Vec::new(),
            seen: BTreeMap::new(),
            skipped: BTreeMap::new(),
            retracted: Set::default(),
            deliveries: 0,
        }
    }

    /// Returns what `process` has seen and given up until now: what a snapshot holds that is taken of it.
    #[must_use]
    pub fn seen(&self, process: &P) -> Seen {
        let of = |sets: &BTreeMap<P, Set>| sets.get(process).cloned().unwrap_or_default();
        Seen { seen: of(&self.seen), skipped: of(&self.skipped) }
    }

    /// `process` starts with all that `other` has seen (a snapshot was taken from it at this moment).
    pub fn starts_from(&mut self, process: P, other: &P) {
        let snapshot = self.seen(other);
        self.starts_with(process, snapshot);
    }

    /// `process` starts, or starts again, with what a snapshot holds.
    pub fn starts_with(&mut self, process: P, snapshot: Seen) {
        self.seen.insert(process.clone(), snapshot.seen);
        self.skipped.insert(process, snapshot.skipped);
    }

    /// Whoever was `process` is `other` from now on, and has seen what both have.
    pub fn goes_on_as(&mut self, process: &P, other: P) {
        let Seen { seen, skipped } = self.seen(process);
        for (sets, set) in [(&mut self.seen, seen), (&mut self.skipped, skipped)] {
            let all = sets.remove(&other).unwrap_or_default().and(&set);
            sets.insert(other.clone(), all);
        }
    }

    /// `process` claims to have seen `message`, and so all that its author had: whether or not it lies, nobody may see what
    /// it says before that.
    pub fn claims(&mut self, process: P, message: &M) {
        if let Some(&number) = self.numbers.get(message) {
            let past = &self.past[number];
            let seen = self.seen.entry(process).or_default();
            *seen = std::mem::take(seen).and(past);
            seen.insert(number);
        }
    }

    /// Messages that their author has forgotten before anybody else saw them: they never were.
    pub fn retract(&mut self, chosen: impl Fn(&M) -> bool) {
        self.numbers.retain(|message, &mut number| {
            let is_kept = !chosen(message);
            if !is_kept {
                self.retracted.insert(number);
            }
            is_kept
        });
    }

    /// `process` broadcasts `message`, and so has seen it.
    ///
    /// # Errors
    /// [`Violation::BroadcastTwice`].
    pub fn broadcast(&mut self, process: P, message: M) -> Result<(), Violation<P, M>> {
        let number = self.names.len();
        if self.numbers.contains_key(&message) {
            return Err(Violation::BroadcastTwice { message });
        }
        self.numbers.insert(message.clone(), number);
        self.names.push(message);
        let seen = self.seen.entry(process).or_default();
        self.past.push(seen.clone());
        seen.insert(number);
        Ok(())
    }

    /// `process` delivers `message`, which another has broadcast.
    ///
    /// # Errors
    /// The [`Violation`], if this delivery is one.
    pub fn deliver(&mut self, process: P, message: &M) -> Result<(), Violation<P, M>> {
        let message = message.clone();
        let Some(&number) = self.numbers.get(&message) else {
            return Err(Violation::FromNowhere { process, message });
        };
        if let Some(missing) = self.missing_cause(&process, number) {
            return Err(Violation::BeforeCause { process, message, cause: self.names[missing].clone() });
        }
        let seen = self.seen.entry(process.clone()).or_default();
        let skipped = self.skipped.entry(process.clone()).or_default();
        if skipped.contains(number) || !seen.insert(number) {
            return Err(Violation::Twice { process, message });
        }
        self.deliveries += 1;
        Ok(())
    }

    /// A cause that a process has neither seen nor given up. Once it has given something up, only direct causes must be
    /// there: what a message that is nowhere had followed, nobody knows. (Of what was seen the same was asked before,
    /// so what is missing lies behind something given up.)
    fn missing_cause(&self, process: &P, number: usize) -> Option<usize> {
        let nothing = Set::default();
        let past = &self.past[number];
        let seen = self.seen.get(process).unwrap_or(&nothing);
        let skipped = self.skipped.get(process).unwrap_or(&nothing);
        let first = past.beyond([seen, skipped])?;
        let is_direct = |cause| past.iter().all(|n| !self.past[n].contains(cause));
        let missing = |&n: &usize| !seen.contains(n) && !skipped.contains(n);
        match past.iter().any(|n| skipped.contains(n)) {
            true => past.iter().filter(missing).find(|&cause| is_direct(cause)),
            false => Some(first),
        }
    }

    /// `process` gives up `message`, and says so: as a cause it counts as delivered there, and must not be any more.
    ///
    /// # Errors
    /// The [`Violation`]: it was delivered or given up before, or nobody has broadcast it.
    pub fn skip(&mut self, process: P, message: &M) -> Result<(), Violation<P, M>> {
        let message = message.clone();
        let Some(&number) = self.numbers.get(&message) else {
            return Err(Violation::FromNowhere { process, message });
        };
        let seen = self.seen.get(&process).is_some_and(|seen| seen.contains(number));
        if seen || !self.skipped.entry(process.clone()).or_default().insert(number) {
            return Err(Violation::Twice { process, message });
        }
        Ok(())
    }

    /// Returns whether `process` has seen all that was ever broadcast, or said that it gives it up.
    ///
    /// # Errors
    /// [`Violation::Lost`] names one message that it has not.
    pub fn has_all(&self, process: &P) -> Result<(), Violation<P, M>> {
        let nothing = Set::default();
        let (seen, skipped) = (self.seen.get(process), self.skipped.get(process));
        let mut all = Set::default();
        (0..self.names.len()).filter(|&n| !self.retracted.contains(n)).for_each(|n| {
            all.insert(n);
        });
        match all.beyond([seen.unwrap_or(&nothing), skipped.unwrap_or(&nothing)]) {
            Some(n) => Err(Violation::Lost { process: process.clone(), message: self.names[n].clone() }),
            None => Ok(()),
        }
    }

    /// Returns how many of the messages that `choose` chooses `process` has seen.
    pub fn seen_of(&self, process: &P, choose: impl Fn(&M) -> bool) -> usize {
        let nothing = Set::default();
        let seen = self.seen.get(process).unwrap_or(&nothing);
        let chosen = self.names.iter().enumerate().filter(|(_, name)| choose(name));
        chosen.filter(|(n, _)| seen.contains(*n)).count()
    }

    /// Returns how many messages were broadcast.
    #[must_use]
    pub fn broadcasts(&self) -> usize {
        self.names.len()
    }

    /// Returns how many deliveries were judged, those of authors to themselves not counted.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_before_its_question_is_a_violation() {
        let mut oracle = Oracle::new();
        oracle.broadcast("ann", "lunch?").unwrap();
        oracle.deliver("bob", &"lunch?").unwrap();
        oracle.broadcast("bob", "yes").unwrap();
        assert_eq!(
            oracle.deliver("eve", &"yes"),
            Err(Violation::BeforeCause { process: "eve", message: "yes", cause: "lunch?" })
        );
        oracle.deliver("eve", &"lunch?").unwrap();
        oracle.deliver("eve", &"yes").unwrap();
        assert_eq!(oracle.has_all(&"eve"), Ok(()));
        assert_eq!(oracle.has_all(&"ann"), Err(Violation::Lost { process: "ann", message: "yes" }));
    }

    #[test]
    fn fifo_twice_and_nowhere_are_seen_too() {
        let mut oracle = Oracle::new();
        oracle.broadcast("ann", 1).unwrap();
        oracle.broadcast("ann", 2).unwrap();
        assert!(matches!(oracle.deliver("bob", &2), Err(Violation::BeforeCause { cause: 1, .. })));
        oracle.deliver("bob", &1).unwrap();
        assert_eq!(oracle.deliver("bob", &1), Err(Violation::Twice { process: "bob", message: 1 }));
        assert!(matches!(oracle.deliver("ann", &2), Err(Violation::Twice { .. })));
        assert!(matches!(oracle.deliver("bob", &3), Err(Violation::FromNowhere { .. })));
        assert!(matches!(oracle.broadcast("bob", 1), Err(Violation::BroadcastTwice { .. })));
    }

    #[test]
    fn what_is_skipped_counts_as_a_cause_and_is_never_delivered() {
        let mut oracle = Oracle::new();
        for message in [1, 2, 3] {
            oracle.broadcast("ann", message).unwrap();
        }
        oracle.deliver("bob", &1).unwrap();
        assert!(matches!(oracle.skip("bob", &1), Err(Violation::Twice { .. })), "it was delivered");
        oracle.skip("bob", &2).unwrap();
        assert!(matches!(oracle.skip("bob", &2), Err(Violation::Twice { .. })), "said twice");
        assert!(matches!(oracle.skip("bob", &9), Err(Violation::FromNowhere { .. })));
        assert!(matches!(oracle.deliver("bob", &2), Err(Violation::Twice { .. })), "after all");
        oracle.deliver("bob", &3).unwrap();
        assert_eq!(oracle.has_all(&"bob"), Ok(()));
        // Behind what Bob has given up he cannot know of anything; beside it he can.
        oracle.broadcast("raj", 5).unwrap();
        oracle.deliver("ann", &5).unwrap();
        oracle.broadcast("ann", 6).unwrap();
        oracle.broadcast("ann", 7).unwrap();
        assert!(matches!(oracle.deliver("bob", &6), Err(Violation::BeforeCause { cause: 5, .. })));
        assert!(matches!(oracle.deliver("bob", &7), Err(Violation::BeforeCause { cause: 6, .. })));
        oracle.skip("bob", &6).unwrap();
        oracle.deliver("bob", &7).unwrap();
        oracle.deliver("bob", &5).unwrap();
        oracle.broadcast("bob", 4).unwrap();
        assert!(matches!(oracle.deliver("eve", &4), Err(Violation::BeforeCause { cause: 1, .. })));
    }

    #[test]
    fn a_joiner_owes_only_what_its_snapshot_lacks() {
        let mut oracle = Oracle::new();
        oracle.broadcast("host", "old").unwrap();
        let snapshot = oracle.seen(&"host");
        oracle.broadcast("host", "after it").unwrap();
        oracle.starts_with("raj", snapshot);
        oracle.deliver("raj", &"after it").unwrap();
        oracle.broadcast("host", "new").unwrap();
        oracle.deliver("raj", &"new").unwrap();
        assert_eq!(oracle.has_all(&"raj"), Ok(()));
    }

    #[test]
    fn what_a_liar_claims_to_follow_must_come_first() {
        let mut oracle = Oracle::new();
        oracle.broadcast("ann", 1).unwrap();
        oracle.broadcast("ann", 2).unwrap();
        oracle.claims("liar", &2);
        oracle.claims("liar", &9);
        oracle.broadcast("liar", 3).unwrap();
        assert!(matches!(oracle.deliver("bob", &3), Err(Violation::BeforeCause { cause: 1, .. })));
        oracle.deliver("bob", &1).unwrap();
        assert!(matches!(oracle.deliver("bob", &3), Err(Violation::BeforeCause { cause: 2, .. })));
    }

    #[test]
    fn what_its_author_has_forgotten_may_be_said_anew() {
        let mut oracle = Oracle::new();
        oracle.broadcast("ann", 1).unwrap();
        let backup = oracle.seen(&"ann");
        oracle.broadcast("ann", 2).unwrap();
        oracle.broadcast("ann", 3).unwrap();
        oracle.deliver("bob", &1).unwrap();
        oracle.deliver("bob", &2).unwrap();
        oracle.starts_with("ann", backup);
        oracle.deliver("ann", &2).unwrap();
        oracle.retract(|&message| message > 2);
        assert!(matches!(oracle.deliver("bob", &3), Err(Violation::FromNowhere { .. })));
        assert_eq!(oracle.has_all(&"bob"), Ok(()));
        oracle.broadcast("ann", 3).unwrap();
        assert!(matches!(oracle.has_all(&"bob"), Err(Violation::Lost { message: 3, .. })));
    }

    #[test]
    fn who_goes_on_as_another_has_seen_what_it_had() {
        let mut oracle = Oracle::new();
        oracle.broadcast("ann", 1).unwrap();
        oracle.broadcast("host", 2).unwrap();
        let snapshot = oracle.seen(&"host");
        oracle.starts_with("ann at host", snapshot);
        oracle.goes_on_as(&"ann", "ann at host");
        oracle.broadcast("ann at host", 3).unwrap();
        oracle.deliver("bob", &2).unwrap();
        assert!(matches!(oracle.deliver("bob", &3), Err(Violation::BeforeCause { cause: 1, .. })));
        assert!(matches!(oracle.deliver("ann at host", &1), Err(Violation::Twice { .. })));
    }
}
