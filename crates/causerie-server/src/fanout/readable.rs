//! Logs as fan-out sees them.

use std::sync::Arc;

use causerie_core::id::Position;
use causerie_core::log::Read;

/// The end of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LogEnd {
    /// The last position that readers may see.
    pub(crate) last: Position,
    /// A number that changes whenever readers have to look who is seated.
    pub(crate) seating: u64,
}

/// A log that is read behind cursors.
pub(crate) trait Readable: Send + Sync {
    /// Returns where it ends.
    fn end(&self) -> LogEnd;

    /// Returns what lies behind a cursor in memory.
    fn read_tail(&self, cursor: Position, slices_max: usize) -> Read;

    /// Notes that a pump has written what there was when it was kicked.
    fn pump_has_written(self: &Arc<Self>);
}
