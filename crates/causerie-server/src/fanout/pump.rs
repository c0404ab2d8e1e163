//! Pumps: each writes for some of a log's readers, in one form.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use causerie_core::id::Position;
use cbcast::MemberId;
use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::fanout::form::Form;
use crate::fanout::readable::Readable;
use crate::fanout::reader::Reader;

/// A task that writes for some of a room's readers.
pub(crate) struct Pump {
    /// The form in which it writes.
    pub(super) form: TypeId,
    readers: Mutex<Vec<Arc<Reader>>>,
    pub(super) kicked: Notify,
    /// It is among the busy ones of its room, and has not begun.
    pub(super) is_kicked: AtomicBool,
}

impl Pump {
    pub(super) fn new(form: TypeId) -> Self {
        let (readers, kicked) = (Mutex::default(), Notify::new());
        Self { form, readers, kicked, is_kicked: AtomicBool::new(false) }
    }

    pub(super) fn readers(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.readers.lock().expect("nothing panics while holding it")
    }

    /// Writes whenever there is something, until nobody is left. `written` is told up to where members that live here have
    /// been written to.
    pub(crate) async fn run<F: Form>(
        &self,
        log: &Arc<impl Readable>,
        form: F,
        written: impl Fn(MemberId, Position) + Send + Sync,
    ) {
        loop {
            self.kicked.notified().await;
            // Before the tail is looked at: what comes later kicks it again.
            let was_kicked = self.is_kicked.swap(false, Ordering::SeqCst);
            self.write(&**log, &form, &written).await;
            if was_kicked {
                log.pump_has_written();
            }
            if self.readers().is_empty() {
                return;
            }
        }
    }

    /// Writes up to where the log ends now, for all readers that are the pump's.
    async fn write<F: Form>(
        &self,
        log: &impl Readable,
        form: &F,
        written: &(impl Fn(MemberId, Position) + Sync),
    ) {
        let end = log.end();
        // Each round takes readers on, or leaves them to their sessions.
        loop {
            let mut runs: BTreeMap<Position, Option<F::Run>> = BTreeMap::new();
            for reader in &*self.readers() {
                if let Some(cursor) = reader.is_behind(end) {
                    runs.insert(cursor, None);
                }
            }
            if runs.is_empty() {
                break;
            }
            // What is read may have to wait, and nothing is locked meanwhile.
            for (cursor, run) in &mut runs {
                // Should a rendering panic, the room goes on all the same, and its sessions end by that themselves.
                *run = AssertUnwindSafe(form.read(*cursor)).catch_unwind().await.unwrap_or(None);
            }
            let delivered: Vec<_> = {
                let readers = self.readers();
                readers.iter().for_each(|reader| reader.pump(&runs));
                readers.iter().filter_map(|reader| reader.delivered()).collect()
            };
            delivered.into_iter().for_each(|(member, cursor)| written(member, cursor));
        }
        form.advance(end.last);
    }
}
