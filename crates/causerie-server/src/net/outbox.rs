//! What a connection has to say beside the room's log: answers, refusals, goodbyes. Bounded: while it is full the
//! connection is not read.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::Notify;

use crate::net::memory::{Charge, Unwritten};
use crate::net::stream::Stream;
use crate::net::tls::RECORD_MAX;

/// While more waits than this, or is being written, nothing is read: with the largest page behind it, it is less than the
/// 256 KiB that are promised.
const FULL: usize = 64 << 10;

/// Time that the last words before the end of a connection may take.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);

pub(crate) struct Outbox {
    charge: Charge,
    state: Mutex<OutboxState>,
    filled: Arc<Notify>,
    emptied: Notify,
}

#[derive(Default)]
struct OutboxState {
    /// Goes first.
    shared: Vec<Bytes>,
    bytes: Vec<u8>,
    /// Bytes of both.
    waiting: usize,
    /// Goes behind what is there; only the last of each kind is said.
    latest: [Vec<u8>; 2],
    last: bool,
    /// More of the same answer comes: nothing else is said before that.
    is_open: bool,
    /// Bytes that were taken and are not written yet.
    writing: usize,
}

/// Kinds of what is said only as it is by then.
#[derive(Clone, Copy)]
pub(crate) enum Latest {
    Watched,
    Stable,
}

/// Bytes that were taken to be written.
pub(crate) struct TakenBytes {
    pub(crate) slices: Vec<Bytes>,
    /// Nothing comes behind it.
    pub(crate) is_last: bool,
    /// It ends within an answer, whose next piece goes next.
    pub(crate) is_open: bool,
}

impl Outbox {
    /// Makes an outbox; what waits in it is charged to this account.
    pub(crate) fn new(charge: Charge) -> Self {
        let (filled, emptied) = (Arc::default(), Notify::new());
        Self { charge, state: Mutex::default(), filled, emptied }
    }

    /// The connection's account.
    pub(crate) fn charge(&self) -> &Charge {
        &self.charge
    }

    fn state(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// Adds what the closure writes. Returns how many bytes that is.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut state = self.state();
        let before = state.bytes.len();
        if !state.last {
            write(&mut state.bytes);
        }
        let more = state.bytes.len() - before;
        state.waiting += more;
        drop(state);
        self.charge.add(more);
        self.filled.notify_one();
        more
    }

    /// Adds bytes that others are sent, too. They are charged to each: nobody else may want them any more.
    pub(crate) fn push_shared(&self, bytes: Bytes) {
        let mut state = self.state();
        if state.last {
            return;
        }
        let more = bytes.len();
        let before = std::mem::take(&mut state.bytes);
        state.shared.extend([before.into(), bytes]);
        state.waiting += more;
        drop(state);
        self.charge.add(more);
        self.filled.notify_one();
    }

    /// Adds a piece of an answer, once there is room for it; nothing but the next piece comes between, until the last.
    pub(crate) async fn push_piece(&self, piece: &[u8], is_last: bool) {
        self.state().is_open = !is_last;
        self.push(|out| out.extend_from_slice(piece));
        self.has_room().await;
    }

    /// Says this instead of what was to be said this way and has not been.
    pub(crate) fn push_latest(&self, kind: Latest, bytes: Vec<u8>) {
        self.state().latest[kind as usize] = bytes;
        self.filled.notify_one();
    }

    /// Nothing more will be said: the connection ends behind what is there.
    pub(crate) fn finish(&self) {
        self.state().last = true;
        self.filled.notify_one();
    }

    /// Wakes the writer for another reason.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Takes what there is.
    pub(crate) fn take(&self) -> TakenBytes {
        let mut state = self.state();
        let mut more = 0;
        if !state.last && !state.is_open {
            let latest = std::mem::take(&mut state.latest);
            more = latest.iter().map(Vec::len).sum();
            latest.into_iter().for_each(|bytes| state.bytes.extend(bytes));
        }
        state.writing = std::mem::take(&mut state.waiting) + more;
        let mut slices = std::mem::take(&mut state.shared);
        slices.push(std::mem::take(&mut state.bytes).into());
        let taken = TakenBytes { slices, is_last: state.last, is_open: state.is_open };
        drop(state);
        self.charge.add(more);
        taken
    }

    /// Notes that what was taken is written.
    pub(crate) fn written(&self) {
        let written = std::mem::take(&mut self.state().writing);
        self.charge.sub(written);
        self.emptied.notify_one();
    }

    /// Wakes the writer for another reason, wherever it is kept.
    pub(crate) fn waker(&self) -> &Arc<Notify> {
        &self.filled
    }

    /// Waits until something was added, or the writer was woken.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Returns whether nothing more will be said.
    pub(crate) fn is_finished(&self) -> bool {
        self.state().last
    }

    /// Returns whether reading has to wait.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.state();
        state.waiting + state.writing > FULL && !state.last
    }

    /// Waits until there is room.
    pub(crate) async fn has_room(&self) {
        while self.is_full() {
            self.emptied.notified().await;
        }
    }
}

/// Reads some, once there is something: until then nothing is allocated for it. 0 at the end of the stream.
pub(crate) async fn read(
    stream: &Stream,
    buffer: &mut BytesMut,
    at_least: usize,
    at_once: usize,
) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        if buffer.capacity() - buffer.len() < at_least {
            buffer.reserve(at_once);
        }
        match stream.try_read_buf(buffer) {
            // Sockets are called readable sometimes when there is nothing to read.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && buffer.is_empty() => {
                *buffer = BytesMut::new();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        // Whoever sends what is empty, encrypted, holds nobody else up.
        tokio::task::coop::consume_budget().await;
    }
}

/// Writes shared slices without copying them. What the socket does not take is charged to this account until it does.
pub(crate) async fn write_all(
    stream: &Stream,
    mut slices: Vec<Bytes>,
    charge: Option<&Charge>,
) -> io::Result<()> {
    slices.retain(|slice| !slice.is_empty());
    let mut unwritten = None;
    let mut first = 0;
    while first < slices.len() {
        let vectors: Vec<_> = slices[first..].iter().map(|slice| IoSlice::new(slice)).collect();
        let mut written = match stream.try_write_vectored(&vectors) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let (None, Some(charge)) = (&unwritten, charge) {
                    unwritten = Some(Unwritten::new(charge, slices.iter().map(Bytes::len).sum()));
                }
                stream.writable().await?;
                continue;
            }
            written => written?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while first < slices.len() && written >= slices[first].len() {
            written -= slices[first].len();
            first += 1;
        }
        if written > 0 {
            slices[first].advance(written);
        }
        // Whoever takes all that comes holds nobody else up.
        tokio::task::coop::consume_budget().await;
    }
    drop(unwritten);
    if !stream.is_flushed() {
        let _unsent = charge.map(|charge| Unwritten::new(charge, RECORD_MAX));
        stream.writable().await?;
    }
    Ok(())
}

/// Ends a connection as its session has ended; none is one that was cut for what it holds.
pub(crate) async fn end(stream: &Stream, ended: Option<io::Result<()>>) -> io::Result<()> {
    match ended {
        Some(ended) => {
            // Apart, so that a session does not have room for it all along.
            Box::pin(close(stream)).await;
            ended
        }
        None => {
            cut(stream);
            Ok(())
        }
    }
}

/// Ends a connection at once: what was not read is dropped, by the system too.
pub(crate) fn cut(stream: &Stream) {
    // It ends anyway.
    stream.drop_untaken().ok();
}

/// Ends a connection so that the other side can still read the last words: closing with unread bytes would
/// discard them.
pub(crate) async fn close(stream: &Stream) {
    const LINGER: Duration = Duration::from_secs(1);
    const UNREAD_MAX: usize = 1 << 20;
    let drain = async {
        if !stream.is_flushed() {
            stream.writable().await?;
        }
        stream.shutdown(Shutdown::Write)?;
        let mut sink = BytesMut::new();
        let mut unread = 0;
        while unread < UNREAD_MAX {
            sink.clear();
            match read(stream, &mut sink, 1, 16 << 10).await? {
                0 => break,
                n => unread += n,
            }
        }
        io::Result::Ok(())
    };
    // Whatever happens here, the connection is over.
    tokio::time::timeout(LINGER, drain).await.ok();
}
