//! Readers: connections that follow a log from a cursor, and what lies behind their cursors.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use causerie_core::id::Position;
use causerie_core::log::{self, Read};
use causerie_core::wire::{ServerFrame, Watched};

use crate::net::outbox::{Latest, Outbox};
use crate::net::stream::Stream;

/// Runs of the log that a pump writes at once. Whoever is further behind catches up by itself.
const SLICES_MAX: usize = 64;

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

/// One connection's place in a room's log.
pub(crate) struct Reader {
    stream: Arc<Stream>,
    /// Filled, and so woken, when the session has to go on.
    outbox: Arc<Outbox>,
    state: Mutex<ReaderState>,
}

struct ReaderState {
    /// The pump writes; otherwise the session does.
    is_pumped: bool,
    cursor: Position,
    /// Seating that the session knows.
    seating: u64,
    /// Bytes that the socket did not take of the record at the cursor.
    rest: Bytes,
}

impl ReaderState {
    /// Notes that the socket took so many bytes of what lies behind the cursor, up to `last`. Returns whether it took all.
    fn took(&mut self, runs: &[Bytes], written: usize, last: Position) -> bool {
        if written == runs.iter().map(Bytes::len).sum::<usize>() {
            self.cursor = last;
            return true;
        }
        let (cursor, rest) = log::after(runs, written);
        (self.cursor, self.rest) = (cursor.unwrap_or(self.cursor), rest);
        false
    }
}

impl Reader {
    pub(crate) fn new(stream: Arc<Stream>, outbox: Arc<Outbox>, cursor: Position) -> Arc<Self> {
        let state = ReaderState { is_pumped: false, cursor, seating: 0, rest: Bytes::new() };
        Arc::new(Self { stream, outbox, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().expect("nothing panics while holding it")
    }

    pub(crate) fn cursor(&self) -> Position {
        self.state().cursor
    }

    /// Tells the client what others want to be told.
    pub(crate) fn watched(&self, watched: Watched) {
        let mut frame = Vec::new();
        ServerFrame::Watched(watched).encode(&mut frame);
        self.tell_latest(Latest::Watched, frame);
    }

    /// Tells the client a frame in place of one of its kind that was not written yet.
    pub(crate) fn tell_latest(&self, kind: Latest, frame: Vec<u8>) {
        self.outbox.push_latest(kind, frame);
    }

    /// Has the session write from now on. Returns what goes first, which begins within a record.
    pub(crate) fn take_over(&self) -> Bytes {
        let mut state = self.state();
        state.is_pumped = false;
        std::mem::take(&mut state.rest)
    }

    /// Writes, for the session, as much of what lies behind the cursor, up to `last`, as the socket takes at once.
    pub(crate) fn write(&self, runs: &[Bytes], last: Position) -> io::Result<()> {
        let vectors: Vec<_> = runs.iter().map(|run| IoSlice::new(run)).collect();
        let written = match self.stream.try_write_vectored(&vectors) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            written => written?,
        };
        self.state().took(runs, written, last);
        Ok(())
    }

    /// Has the pump write from now on. Returns whether that holds: if the room has gone on meanwhile, it does not.
    pub(crate) fn hand_over(&self, log: &impl Readable, seating: u64) -> bool {
        let mut state = self.state();
        (state.is_pumped, state.seating) = (true, seating);
        // A pump that comes after this look finds the reader; what came before it is seen here.
        state.is_pumped = log.end() == LogEnd { last: state.cursor, seating };
        state.is_pumped
    }

    /// Writes what is new, if it is the pump's to write.
    pub(super) fn pump(&self, news: &mut UnreadRun<'_, impl Readable>) {
        let mut state = self.state();
        if !state.is_pumped {
            return;
        }
        let Some((run, last)) = news.behind(state.cursor, state.seating) else {
            state.is_pumped = false;
            drop(state);
            return self.outbox.wake();
        };
        if run.is_empty() {
            return;
        }
        // If nothing can be written any more, the session meets the error too, and ends by it.
        let written = self.stream.try_write(&run).unwrap_or(0);
        if !state.took(&[run], written, last) || !self.stream.is_flushed() {
            state.is_pumped = false;
            drop(state);
            self.outbox.wake();
        }
    }
}

/// Records behind a cursor, for one turn of a pump: most readers stand at the same place.
pub(super) struct UnreadRun<'a, L> {
    log: &'a L,
    seating: u64,
    from: Position,
    run: Bytes,
    last: Position,
}

impl<'a, L: Readable> UnreadRun<'a, L> {
    pub(super) fn new(log: &'a L) -> Self {
        Self {
            log,
            seating: log.end().seating,
            from: Position::MAX,
            run: Bytes::new(),
            last: Position::START,
        }
    }

    /// Returns one run, and the cursor behind it; `None` if the session has to look.
    fn behind(&mut self, cursor: Position, seating: u64) -> Option<(Bytes, Position)> {
        if seating != self.seating {
            return None;
        }
        if self.from != cursor {
            let Read::Records { mut slices, last } = self.log.read_tail(cursor, SLICES_MAX) else {
                return None;
            };
            (self.from, self.last) = (cursor, last);
            self.run = match slices.len() {
                0 | 1 => slices.pop().unwrap_or_default(),
                // Copied once for all; each write is one piece then.
                _ => slices
                    .iter()
                    .fold(BytesMut::new(), |mut run, slice| {
                        run.extend_from_slice(slice);
                        run
                    })
                    .freeze(),
            };
        }
        Some((self.run.clone(), self.last))
    }
}
