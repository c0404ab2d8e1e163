//! What somebody does in all its rooms at once, which their logs have as one record each or two: IRC clients are told of
//! it once, as QUIT or NICK.

use std::collections::BTreeSet;
use std::sync::Arc;

use causerie_core::log::page::HistoryRecord;

/// Message that another refers to: its author, and how it read.
pub type About<'a> = Option<(&'a str, &'a str)>;

/// A record as IRC clients need it.
#[derive(Clone, Debug)]
pub struct FoundRecord {
    /// The record itself.
    pub record: HistoryRecord,
    /// Author and text of the message that it refers to.
    pub about: Option<(String, String)>,
    /// User and host of its member, if that came by IRC.
    pub mask: Option<Arc<str>>,
    /// Move that it is a part of.
    pub moved: Option<Arc<Move>>,
}

impl FoundRecord {
    /// Returns who has said what it refers to, and how that read.
    pub(super) fn about(&self) -> About<'_> {
        self.about.as_ref().map(|(author, text)| (&author[..], &text[..]))
    }

    /// Returns user and host of its member, if that came by IRC.
    pub(super) fn mask(&self) -> Option<&str> {
        self.mask.as_deref()
    }
}

/// Act of somebody in all its rooms at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Move {
    /// Tells it from all others.
    pub number: u64,
    /// Nick by which it went until then.
    pub nick: String,
    /// Kind of the act.
    pub kind: MoveKind,
}

/// The kinds of moves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MoveKind {
    /// Going, with these words.
    Quit(String),
    /// Change to that nick.
    Nick(String),
}

/// Moves that a session remembers to have told. Of one that takes part in more rooms, records may come much later where
/// the session is far behind; then they are told as if they stood alone.
const TOLD_MAX: usize = 512;

/// The moves that a session has told.
#[derive(Clone, Debug, Default)]
pub(super) struct ToldMoves(BTreeSet<u64>);

impl ToldMoves {
    /// Returns whether it is told for the first time.
    pub(super) fn is_first(&mut self, moved: &Move) -> bool {
        let is_first = self.0.insert(moved.number);
        if self.0.len() > TOLD_MAX {
            self.0.pop_first();
        }
        is_first
    }
}
