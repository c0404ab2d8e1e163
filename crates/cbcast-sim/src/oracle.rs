//! Happened-before as sets of messages.

use std::collections::BTreeMap;
use std::fmt::Debug;

use thiserror::Error;

/// What a run did that causal broadcast forbids.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Violation<P: Debug, M: Debug> {
    /// A message was delivered although one that its author had seen before sending it had not been.
    #[error("{process:?} delivered {message:?} before its cause {cause:?}")]
    BeforeCause {
        /// Who delivered it.
        process: P,
        /// What.
        message: M,
        /// One cause that the process had not delivered.
        cause: M,
    },
    /// A message was delivered twice by one process, or to its author as if it were another's.
    #[error("{process:?} delivered {message:?} twice")]
    Twice {
        /// Who.
        process: P,
        /// What.
        message: M,
    },
    /// A message was delivered that nobody broadcast.
    #[error("{process:?} delivered {message:?}, which nobody broadcast")]
    FromNowhere {
        /// Who.
        process: P,
        /// What.
        message: M,
    },
    /// Two broadcasts have the same name: the recording is of no use.
    #[error("{message:?} was broadcast twice")]
    BroadcastTwice {
        /// What.
        message: M,
    },
    /// At the end a process lacks a message.
    #[error("{process:?} never delivered {message:?}")]
    Lost {
        /// Who.
        process: P,
        /// What.
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
    deliveries: u64,
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

    /// A member of `self` that is not in `other`.
    fn beyond(&self, other: &Self) -> Option<usize> {
        self.0.iter().enumerate().find_map(|(i, &word)| {
            let missing = word & !other.0.get(i).copied().unwrap_or(0);
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
            deliveries: 0,
        }
    }

    /// `process` starts with all that `other` has seen (a snapshot was taken from it at this moment).
    pub fn starts_from(&mut self, process: P, other: &P) {
        let seen = self.seen.get(other).cloned().unwrap_or_default();
        self.seen.insert(process, seen);
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
        let seen = self.seen.entry(process.clone()).or_default();
        if let Some(missing) = self.past[number].beyond(seen) {
            return Err(Violation::BeforeCause { process, message, cause: self.names[missing].clone() });
        }
        if !seen.insert(number) {
            return Err(Violation::Twice { process, message });
        }
        self.deliveries += 1;
        Ok(())
    }

    /// Whether `process` has seen all that was ever broadcast.
    ///
    /// # Errors
    /// [`Violation::Lost`] names one message that it has not.
    pub fn has_all(&self, process: &P) -> Result<(), Violation<P, M>> {
        let nothing = Set::default();
        let seen = self.seen.get(process).unwrap_or(&nothing);
        let mut all = Set::default();
        (0..self.names.len()).for_each(|n| {
            all.insert(n);
        });
        match all.beyond(seen) {
            Some(n) => Err(Violation::Lost { process: process.clone(), message: self.names[n].clone() }),
            None => Ok(()),
        }
    }

    /// How many of the messages that `choose` chooses `process` has seen.
    pub fn seen_of(&self, process: &P, choose: impl Fn(&M) -> bool) -> usize {
        let nothing = Set::default();
        let seen = self.seen.get(process).unwrap_or(&nothing);
        let chosen = self.names.iter().enumerate().filter(|(_, name)| choose(name));
        chosen.filter(|(n, _)| seen.contains(*n)).count()
    }

    /// How many messages were broadcast.
    #[must_use]
    pub fn broadcasts(&self) -> usize {
        self.names.len()
    }

    /// How many deliveries were judged, those of authors to themselves not counted.
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
    fn a_joiner_owes_only_what_its_snapshot_lacks() {
        let mut oracle = Oracle::new();
        oracle.broadcast("host", "old").unwrap();
        oracle.starts_from("raj", &"host");
        oracle.broadcast("host", "new").unwrap();
        oracle.deliver("raj", &"new").unwrap();
        assert_eq!(oracle.has_all(&"raj"), Ok(()));
    }
}
