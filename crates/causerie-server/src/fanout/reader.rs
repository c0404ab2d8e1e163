//! Readers: connections that follow a log from a cursor.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use causerie_core::id::Position;
use causerie_core::wire::{ServerFrame, Watched};
use cbcast::MemberId;
use tokio::sync::Notify;

use crate::fanout::form::Run;
use crate::fanout::readable::{LogEnd, Readable};
use crate::net::outbox::{Latest, Outbox};
use crate::net::stream::Stream;

/// One connection's place in a room's log.
pub(crate) struct Reader {
    stream: Arc<Stream>,
    /// Wakes the session when it has to go on.
    woken: Arc<Notify>,
    /// Takes frames beside the log, if the client is a native one.
    outbox: Option<Arc<Outbox>>,
    /// The member that lives here, whose connection this is.
    member: Option<MemberId>,
    state: Mutex<ReaderState>,
}

struct ReaderState {
    /// The seating that the session knew when it left writing to the pump; `None`: it writes itself.
    pumped: Option<u64>,
    /// No pump writes any more.
    is_retired: bool,
    cursor: Position,
    /// Bytes that the socket did not take of the record at the cursor.
    rest: Bytes,
}

impl Reader {
    /// Makes the reader of a native client.
    pub(crate) fn native(stream: Arc<Stream>, outbox: Arc<Outbox>, cursor: Position) -> Arc<Self> {
        let woken = Arc::clone(outbox.waker());
        Self::with(stream, woken, Some(outbox), None, cursor)
    }

    /// Makes the reader of a client whose member, if it is one, lives here.
    pub(crate) fn hosted(
        stream: Arc<Stream>,
        woken: Arc<Notify>,
        member: Option<MemberId>,
        cursor: Position,
    ) -> Arc<Self> {
        Self::with(stream, woken, None, member, cursor)
    }

    fn with(
        stream: Arc<Stream>,
        woken: Arc<Notify>,
        outbox: Option<Arc<Outbox>>,
        member: Option<MemberId>,
        cursor: Position,
    ) -> Arc<Self> {
        let state = ReaderState { pumped: None, is_retired: false, cursor, rest: Bytes::new() };
        Arc::new(Self { stream, woken, outbox, member, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().expect("nothing panics while holding it")
    }

    pub(crate) fn cursor(&self) -> Position {
        self.state().cursor
    }

    /// Returns the member that lives here, and up to where it was written to.
    pub(crate) fn delivered(&self) -> Option<(MemberId, Position)> {
        self.member.map(|member| (member, self.cursor()))
    }

    /// Tells the client what others want to be told.
    pub(crate) fn watched(&self, watched: Watched) {
        let mut frame = Vec::new();
        ServerFrame::Watched(watched).encode(&mut frame);
        self.tell_latest(Latest::Watched, frame);
    }

    /// Tells a native client a frame in place of one of its kind that was not written yet.
    pub(crate) fn tell_latest(&self, kind: Latest, frame: Vec<u8>) {
        if let Some(outbox) = &self.outbox {
            outbox.push_latest(kind, frame);
        }
    }

    /// Has the session write from now on. Returns what goes first, which begins within a record.
    pub(crate) fn take_over(&self) -> Bytes {
        let mut state = self.state();
        state.pumped = None;
        std::mem::take(&mut state.rest)
    }

    /// Has no pump ever write for it again, and the session go on: with another reader, of another form.
    pub(crate) fn retire(&self) {
        let mut state = self.state();
        state.is_retired = true;
        self.leave(state);
    }

    /// Writes, for the session, as much of a run as the socket takes at once.
    pub(crate) fn write(&self, run: &impl Run) -> io::Result<()> {
        let mut state = self.state();
        match self.write_some(&mut state, run) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            written => written.map(drop),
        }
    }

    /// Writes a run. Returns whether the socket took all of it.
    fn write_some(&self, state: &mut ReaderState, run: &impl Run) -> io::Result<bool> {
        let slices = run.slices(self.member);
        let written = match &slices[..] {
            [] => 0,
            [slice] => self.stream.try_write(slice)?,
            slices => {
                let vectors: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
                self.stream.try_write_vectored(&vectors)?
            }
        };
        if written == slices.iter().map(Bytes::len).sum::<usize>() {
            state.cursor = run.last();
            return Ok(true);
        }
        let (cursor, rest) = run.after(self.member, written);
        (state.cursor, state.rest) = (cursor.unwrap_or(state.cursor), rest);
        Ok(false)
    }

    /// Notes that the session itself has written up to there.
    pub(crate) fn advance(&self, cursor: Position) {
        self.state().cursor = cursor;
    }

    /// Has the pump write from now on. Returns whether that holds: if the room has gone on meanwhile, it does not.
    pub(crate) fn hand_over(&self, log: &impl Readable, seating: u64) -> bool {
        let mut state = self.state();
        state.pumped = Some(seating);
        // A pump that comes after this look finds the reader; what came before it is seen here.
        if state.is_retired || log.end() != (LogEnd { last: state.cursor, seating }) {
            state.pumped = None;
        }
        state.pumped.is_some()
    }

    /// Has the session go on, if the pump writes.
    fn leave(&self, mut state: MutexGuard<'_, ReaderState>) {
        state.pumped = None;
        drop(state);
        self.woken.notify_one();
    }

    /// Returns the cursor if it is the pump's to write up to this end. If somebody has left meanwhile, or the like, it is not,
    /// and the session looks.
    pub(super) fn is_behind(&self, end: LogEnd) -> Option<Position> {
        let state = self.state();
        if state.pumped? != end.seating {
            self.leave(state);
            return None;
        }
        (state.cursor < end.last).then_some(state.cursor)
    }

    /// Writes the run behind the cursor, if it is the pump's to write. Where there is none, the session has to.
    pub(super) fn pump(&self, runs: &BTreeMap<Position, Option<impl Run>>) {
        let mut state = self.state();
        if state.pumped.is_none() {
            return;
        }
        // Who was handed over since the runs were read has all that they tell.
        let Some(run) = runs.get(&state.cursor) else { return };
        // If nothing can be written any more, the session meets the error too, and ends by it.
        let took_all = run.as_ref().is_some_and(|run| self.write_some(&mut state, run).unwrap_or(false));
        if !took_all || !self.stream.is_flushed() {
            self.leave(state);
        }
    }
}
