//! Pumps: each writes for some of a log's readers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::fanout::reader::{Readable, Reader, UnreadRun};

/// A task that writes for some of a room's readers.
#[derive(Default)]
pub(crate) struct Pump {
    readers: Mutex<Vec<Arc<Reader>>>,
    pub(super) kicked: Notify,
    /// It is among the busy ones of its room, and has not begun.
    pub(super) is_kicked: AtomicBool,
}

impl Pump {
    pub(super) fn readers(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.readers.lock().expect("nothing panics while holding it")
    }

    /// Writes whenever there is something, until nobody is left.
    pub(crate) async fn run(&self, log: &Arc<impl Readable>) {
        loop {
            self.kicked.notified().await;
            // Before the tail is looked at: what comes later kicks it again.
            let was_kicked = self.is_kicked.swap(false, Ordering::SeqCst);
            let nobody_is_left = {
                let readers = self.readers();
                let mut news = UnreadRun::new(&**log);
                readers.iter().for_each(|reader| reader.pump(&mut news));
                readers.is_empty()
            };
            if was_kicked {
                log.pump_has_written();
            }
            if nobody_is_left {
                return;
            }
        }
    }
}
