//! Fan-out: what was stored goes to those who have all that came before it, many of them in one task's turn.
//!
//! A reader is a cursor on the room's log. While its socket takes everything, a pump of the room writes for it and
//! its session sleeps. When something else is to be done, be it that the socket is full, the session is woken and
//! writes itself until the reader has caught up.
//!
//! While a room's pumps write, what is said there gathers, and is stored when they have done ([`Fanout::is_busy`]): a
//! turn costs a system call for each reader, however much it brings.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use causerie_core::log::{self, Read};
use causerie_core::wire::{ServerFrame, Watched};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::net::outbox::{Latest, Outbox};
use crate::rooms::hosted::HostedRoom;

/// Readers of one pump: its turn is some hundred microseconds, and a large room has several.
const READERS_MAX: usize = 128;
/// Runs of the log that a pump writes at once. Whoever is further behind catches up by itself.
const SLICES_MAX: usize = 64;

/// One connection's place in a room's log.
pub(crate) struct Reader {
    stream: Arc<TcpStream>,
    /// Filled, and so woken, when the session has to go on.
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

struct State {
    /// Whether the pump writes; otherwise the session does.
    is_pumped: bool,
    cursor: u64,
    /// The tail's seating that the session knows.
    seating: u64,
    /// What the socket did not take of the record at the cursor.
    rest: Bytes,
}

impl State {
    /// The socket took so many bytes of what lies behind the cursor, up to `last`. Whether it took all of it.
    fn took(&mut self, runs: &[Bytes], written: usize, last: u64) -> bool {
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
    pub(crate) fn new(stream: Arc<TcpStream>, outbox: Arc<Outbox>, cursor: u64) -> Arc<Self> {
        let state = State { is_pumped: false, cursor, seating: 0, rest: Bytes::new() };
        Arc::new(Self { stream, outbox, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }

    pub(crate) fn cursor(&self) -> u64 {
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

    /// The session writes from now on: first of all what is returned, which begins within a record.
    pub(crate) fn take_over(&self) -> Bytes {
        let mut state = self.state();
        state.is_pumped = false;
        std::mem::take(&mut state.rest)
    }

    /// For the session: writes as much of what lies behind the cursor, up to `last`, as the socket takes at once.
    pub(crate) fn write(&self, runs: &[Bytes], last: u64) -> io::Result<()> {
        let vectors: Vec<_> = runs.iter().map(|run| IoSlice::new(run)).collect();
        let written = match self.stream.try_write_vectored(&vectors) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            written => written?,
        };
        self.state().took(runs, written, last);
        Ok(())
    }

    /// The pump writes from now on. Whether that holds: if the room has gone on meanwhile, it does not.
    pub(crate) fn hand_over(&self, room: &HostedRoom, seating: u64) -> bool {
        let mut state = self.state();
        (state.is_pumped, state.seating) = (true, seating);
        // A pump that comes after this look finds the reader; what came before it is seen here.
        let tail = room.tail();
        state.is_pumped = tail.log.last() == state.cursor && tail.seating == seating;
        state.is_pumped
    }

    /// Writes what is new, if it is the pump's to write.
    fn pump(&self, news: &mut News<'_>) {
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
        if !state.took(&[run], written, last) {
            state.is_pumped = false;
            drop(state);
            self.outbox.wake();
        }
    }
}

/// What lies behind a cursor, for one turn of a pump: most readers stand at the same place.
struct News<'a> {
    room: &'a HostedRoom,
    seating: u64,
    from: u64,
    run: Bytes,
    last: u64,
}

impl<'a> News<'a> {
    fn new(room: &'a HostedRoom) -> Self {
        Self { room, seating: room.tail().seating, from: u64::MAX, run: Bytes::new(), last: 0 }
    }

    /// One run, and the cursor behind it; `None` if the session has to look.
    fn behind(&mut self, cursor: u64, seating: u64) -> Option<(Bytes, u64)> {
        if seating != self.seating {
            return None;
        }
        if self.from != cursor {
            let Read::Records { mut slices, last } = self.room.read_tail(cursor, SLICES_MAX) else {
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

/// A task that writes for some of a room's readers.
#[derive(Default)]
pub(crate) struct Pump {
    readers: Mutex<Vec<Arc<Reader>>>,
    kicked: Notify,
    /// It is among the busy ones of its room, and has not begun.
    is_kicked: AtomicBool,
}

impl Pump {
    fn readers(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.readers.lock().expect("nothing panics while holding it")
    }

    /// Writes whenever there is something, until nobody is left.
    pub(crate) async fn run(&self, room: &Arc<HostedRoom>) {
        loop {
            self.kicked.notified().await;
            // Before the tail is looked at: what comes later kicks it again.
            let was_kicked = self.is_kicked.swap(false, Ordering::SeqCst);
            let nobody_is_left = {
                let readers = self.readers();
                let mut news = News::new(room);
                readers.iter().for_each(|reader| reader.pump(&mut news));
                readers.is_empty()
            };
            if was_kicked {
                room.fanout.one_has_done(room);
            }
            if nobody_is_left {
                return;
            }
        }
    }
}

/// All pumps of a room.
#[derive(Default)]
pub(crate) struct Fanout {
    pumps: Mutex<Vec<Arc<Pump>>>,
    /// How many pumps have been kicked and have not written yet.
    busy: AtomicUsize,
    /// The room is to be queued once none is.
    is_awaited: AtomicBool,
}

impl Fanout {
    fn pumps(&self) -> MutexGuard<'_, Vec<Arc<Pump>>> {
        self.pumps.lock().expect("nothing panics while holding it")
    }

    /// There is something new in the room.
    pub(crate) fn kick(&self) {
        for pump in &*self.pumps() {
            if !pump.is_kicked.swap(true, Ordering::SeqCst) {
                self.busy.fetch_add(1, Ordering::SeqCst);
                pump.kicked.notify_one();
            }
        }
    }

    /// Tells all clients what others want to be told.
    pub(crate) fn watched(&self, watched: Watched) {
        for pump in &*self.pumps() {
            pump.readers().iter().for_each(|reader| reader.watched(watched));
        }
    }

    /// For the writer: whether pumps still write. If so they queue the room when they have done.
    pub(crate) fn is_busy(&self) -> bool {
        let busy = || self.busy.load(Ordering::SeqCst) > 0;
        if !busy() {
            return false;
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        // They may have done meanwhile: with or without having seen that.
        busy() || !self.is_awaited.swap(false, Ordering::SeqCst)
    }

    /// Whether the room is queued when its pumps have done.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::SeqCst)
    }

    fn one_has_done(&self, room: &Arc<HostedRoom>) {
        if self.busy.fetch_sub(1, Ordering::SeqCst) == 1 && self.is_awaited.swap(false, Ordering::SeqCst) {
            room.queue();
        }
    }

    /// A reader comes. The pump, if it is a new one, which somebody has to run.
    #[must_use]
    pub(crate) fn add(&self, reader: Arc<Reader>) -> Option<Arc<Pump>> {
        let mut pumps = self.pumps();
        if let Some(pump) = pumps.iter().find(|pump| pump.readers().len() < READERS_MAX) {
            pump.readers().push(reader);
            return None;
        }
        let pump = Arc::new(Pump::default());
        pump.readers().push(reader);
        pumps.push(Arc::clone(&pump));
        Some(pump)
    }

    /// A reader goes; with its last one, a pump.
    pub(crate) fn remove(&self, reader: &Arc<Reader>) {
        self.pumps().retain(|pump| {
            let mut readers = pump.readers();
            readers.retain(|other| !Arc::ptr_eq(other, reader));
            if readers.is_empty() {
                pump.kicked.notify_one();
            }
            !readers.is_empty()
        });
    }
}
