//! What a connection has to say beside the room's log: answers, refusals, goodbyes. Bounded: while it is full the
//! connection is not read.

use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Notify;

/// While more waits than this, nothing is read.
const FULL: usize = 256 << 10;

#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    last: bool,
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// Adds what the closure writes.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        if !state.last {
            write(&mut state.bytes);
        }
        drop(state);
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

    /// What there is, and whether it is the last.
    pub(crate) fn take(&self) -> (Vec<u8>, bool) {
        let mut state = self.state();
        let taken = (std::mem::take(&mut state.bytes), state.last);
        drop(state);
        self.emptied.notify_one();
        taken
    }

    /// Until something was added, or the writer was woken.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Whether nothing more will be said.
    pub(crate) fn is_finished(&self) -> bool {
        self.state().last
    }

    /// Whether reading has to wait.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.state();
        state.bytes.len() > FULL && !state.last
    }

    /// Until there is room.
    pub(crate) async fn has_room(&self) {
        while self.is_full() {
            self.emptied.notified().await;
        }
    }
}

/// Ends a connection so that the other side can still read the last words: closing with unread bytes would
/// discard them.
pub(crate) async fn close(mut output: impl AsyncWrite + Unpin, input: &mut OwnedReadHalf) {
    const LINGER: Duration = Duration::from_secs(1);
    const UNREAD_MAX: usize = 1 << 20;
    let drain = async {
        output.shutdown().await?;
        let mut sink = vec![0; 16 << 10];
        let mut unread = 0;
        while unread < UNREAD_MAX {
            match input.read(&mut sink).await? {
                0 => break,
                n => unread += n,
            }
        }
        io::Result::Ok(())
    };
    // Whatever happens here, the connection is over.
    let _ = tokio::time::timeout(LINGER, drain).await;
}
