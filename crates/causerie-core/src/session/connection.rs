//! The state of one connection of a session; nothing of it outlives the connection.

use cbcast::Time;

use super::observe::Observer;

/// Stage of a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Phase {
    #[default]
    Offline,
    Greeting,
    Joining,
    Resuming,
    Live,
    /// End: there is no other connection after this one.
    Over,
}

/// One connection, or none.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    pub(super) phase: Phase,
    pub(super) heartbeat_at: Option<Time>,
    /// Things that those who watch the room are to be told.
    pub(super) observer: Observer,
    /// Flag of a server that was asked up to where members have delivered.
    pub(super) has_asked_stable: bool,
    /// Flag of a server that was asked to say *Left*.
    pub(super) has_asked_to_leave: bool,
}

impl ConnectionState {
    /// Returns whether the member is in by it.
    pub(super) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Returns whether the session is over.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }
}
