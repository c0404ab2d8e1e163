//! Counts of a room, and lines of it for the log of the server.

use std::time::Duration;

use cbcast::Stats;

/// Counts of what has happened in a room since the process has it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Messages that took their place in the log, *Joined* and *Left* among them.
    pub delivered: u64,
    /// Messages that had to be held back.
    pub held: u64,
    /// Copies of messages that were there already.
    pub duplicates: u64,
    /// Messages that could not be taken.
    pub refused: u64,
    /// Members that joined.
    pub joined: u64,
    /// Members that left.
    pub left: u64,
    /// Members that came back.
    pub resumed: u64,
    /// Resumes that were refused.
    pub resumes_refused: u64,
}

/// Counts that the room makes itself, beside those of its group.
#[derive(Debug)]
pub(super) struct RoomTally {
    counts: Counts,
    /// Times for which messages were held that have been delivered since somebody asked.
    held_for: Vec<Duration>,
    /// Vectors of messages delivered per present member, one for each message, if they are wanted.
    vectors: Option<Vec<String>>,
}

impl RoomTally {
    /// Counts from nothing; with `vectors` each message leaves its vector.
    pub(super) fn new(vectors: bool) -> Self {
        Self { counts: Counts::default(), held_for: Vec::new(), vectors: vectors.then(Vec::new) }
    }

    /// Counts somebody who joined.
    pub(super) fn joined(&mut self) {
        self.counts.joined += 1;
    }

    /// Counts somebody who left.
    pub(super) fn left(&mut self) {
        self.counts.left += 1;
    }

    /// Counts an attempt to come back.
    pub(super) fn resumed<T, E>(&mut self, resumed: &Result<T, E>) {
        match resumed {
            Ok(_) => self.counts.resumed += 1,
            Err(_) => self.counts.resumes_refused += 1,
        }
    }

    /// Counts a message that was refused before the group has seen it.
    pub(super) fn refused(&mut self) {
        self.counts.refused += 1;
    }

    /// Notes for how long a message was held that is delivered now.
    pub(super) fn held_for(&mut self, time: Duration) {
        self.held_for.push(time);
    }

    /// Notes the vector of a message, if vectors are wanted.
    pub(super) fn vector(&mut self, vector: impl FnOnce() -> String) {
        if let Some(vectors) = &mut self.vectors {
            vectors.push(vector());
        }
    }

    /// Returns all counts, those of the group among them.
    pub(super) fn counts(&self, stats: &Stats) -> Counts {
        Counts {
            delivered: stats.delivered,
            held: stats.held,
            duplicates: stats.duplicates,
            // Those that the group has not seen are counted here.
            refused: stats.refused + self.counts.refused,
            ..self.counts
        }
    }

    /// Takes the times for which messages were held.
    pub(super) fn take_held_times(&mut self) -> Vec<Duration> {
        core::mem::take(&mut self.held_for)
    }

    /// Takes the vectors that there are.
    pub(super) fn take_vectors(&mut self) -> Vec<String> {
        self.vectors.as_mut().map(core::mem::take).unwrap_or_default()
    }
}
