//! Forms of a log: the bytes that readers of one kind are written, the same for all who stand at the same place.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use causerie_core::id::Position;
use causerie_core::log::{self, Read};
use cbcast::MemberId;

use crate::fanout::readable::Readable;

/// Runs of the log that a pump writes at once. Whoever is further behind catches up by itself.
const SLICES_MAX: usize = 64;

/// A form of a log. Each pump has one of its own.
pub(crate) trait Form: Send + Sync + 'static {
    /// Neighbouring records in this form.
    type Run: Run;

    /// Reads records behind a cursor from memory; `None` if the sessions have to, or there are none.
    fn read(&self, cursor: Position) -> impl Future<Output = Option<Self::Run>> + Send;

    /// Notes that all readers that the pump writes for stand here, or further.
    fn advance(&self, cursor: Position);
}

/// Neighbouring records behind a cursor, in one form.
pub(crate) trait Run: Send + Sync {
    /// Returns the position of the last record.
    fn last(&self) -> Position;

    /// Returns the bytes for a reader that is this member, where the form leaves out what a member has done itself.
    fn slices(&self, member: Option<MemberId>) -> Cow<'_, [Bytes]>;

    /// Returns where that reader is once its socket has taken so many of these bytes: the position of the last record that
    /// is begun, if any is, and what is still needed of it. A copy, so that nothing else is kept for who reads slowly.
    fn after(&self, member: Option<MemberId>, taken: usize) -> (Option<Position>, Bytes);
}

/// Records as they stand in the log: the form of native clients.
pub(crate) struct Frames<L>(pub(crate) Arc<L>);

/// Runs of the log.
pub(crate) struct FrameRun {
    pub(crate) slices: Vec<Bytes>,
    pub(crate) last: Position,
}

impl<L: Readable + 'static> Form for Frames<L> {
    type Run = FrameRun;

    async fn read(&self, cursor: Position) -> Option<FrameRun> {
        let Read::Records { slices, last } = self.0.read_tail(cursor, SLICES_MAX) else { return None };
        // Copied once for all; each write is one piece then.
        let one = |slices: Vec<Bytes>| {
            let mut run = BytesMut::with_capacity(slices.iter().map(Bytes::len).sum());
            slices.iter().for_each(|slice| run.extend_from_slice(slice));
            vec![run.freeze()]
        };
        let slices = if slices.len() > 1 { one(slices) } else { slices };
        (!slices.is_empty()).then_some(FrameRun { slices, last })
    }

    fn advance(&self, _: Position) {}
}

impl Run for FrameRun {
    fn last(&self) -> Position {
        self.last
    }

    fn slices(&self, _: Option<MemberId>) -> Cow<'_, [Bytes]> {
        Cow::Borrowed(&self.slices)
    }

    fn after(&self, _: Option<MemberId>, taken: usize) -> (Option<Position>, Bytes) {
        log::after(&self.slices, taken)
    }
}
