//! Recovery of a session: from a life before this one, and from a membership that it has lost.

use crate::id::Position;

/// Place in the log up to which everything has to be delivered before anything is said: the application may have seen it
/// in another life.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum CatchUp {
    /// Caught up: nothing is waited for.
    #[default]
    Done,
    /// The server has not told yet where the log ends.
    ToTheEnd,
    /// Catching up to this position.
    To(Position),
}

impl CatchUp {
    /// Returns whether something is waited for.
    pub(super) fn is_open(self) -> bool {
        self != Self::Done
    }

    /// Returns whether what is waited for has come, where all is placed up to `placed`.
    pub(super) fn is_reached(self, placed: Position) -> bool {
        matches!(self, Self::To(last) if placed >= last)
    }

    /// Waits up to this position, where something is waited for.
    pub(super) fn ends_at(&mut self, last: Position) {
        if self.is_open() {
            *self = Self::To(last);
        }
    }
}

/// Tellings and sayings that wait for another welcome.
#[derive(Debug, Default)]
pub(super) struct SessionRecovery {
    /// The session was made of what was kept, and has not been in a room since.
    pub(super) is_restored: bool,
    pub(super) catch_up: CatchUp,
    /// Reason why the membership was lost, until there is another one.
    pub(super) rejoining: Option<String>,
    /// Reason why it is another member than in its last life, to be told once it has caught up.
    pub(super) rejoined: Option<String>,
}

impl SessionRecovery {
    /// Returns whether the application has not been told all of another life yet.
    pub(super) fn is_untold(&self) -> bool {
        self.is_restored || self.catch_up.is_open()
    }
}
