//! The one thread that stores: whatever waits, of all rooms together, with one sync. While it runs, the next batch
//! gathers. What is stored is shown; nothing is shown before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use causerie_store::{RoomId, Store};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::journal::changes::{ChangedRooms, Journaled};
use crate::metrics::Metrics;

/// Bytes of records that may wait to be stored, of all rooms together. Beyond it connections are not read.
const PENDING_MAX: usize = 64 << 20;

/// Pause after the store was full.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// The queue of rooms that have something to be stored, and the thread's side of it.
pub(crate) struct Writer {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    queue: Mutex<Queue>,
    filled: Condvar,
    pending: AtomicUsize,
    drained: watch::Sender<()>,
    /// Reason why nothing can be stored at the moment. Changes when that begins and when it ends, not in between.
    trouble: watch::Sender<Option<Arc<str>>>,
    /// There is such a reason.
    is_full: AtomicBool,
    /// Reason why it has ended.
    failed: watch::Sender<Option<String>>,
}

/// News of the store, in the words that all gateways tell.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub(crate) enum StoreNotice {
    /// Nothing can be stored at the moment, for this reason.
    #[error("{0}")]
    Full(Arc<str>),
    /// It can be again.
    #[error("there is room again: messages are stored")]
    Again,
}

/// The news of the store for one client: each once.
pub(crate) struct StoreNews {
    trouble: watch::Receiver<Option<Arc<str>>>,
    told: bool,
}

impl StoreNews {
    /// Waits for the next of them. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> StoreNotice {
        loop {
            if self.trouble.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let trouble = self.trouble.borrow_and_update().clone();
            if std::mem::replace(&mut self.told, trouble.is_some()) != trouble.is_some() {
                return trouble.map_or(StoreNotice::Again, StoreNotice::Full);
            }
        }
    }
}

#[derive(Default)]
struct Queue {
    rooms: ChangedRooms,
    stopping: bool,
}

impl Writer {
    pub(crate) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            store,
            metrics,
            queue: Mutex::default(),
            filled: Condvar::new(),
            pending: AtomicUsize::new(0),
            drained: watch::Sender::new(()),
            trouble: watch::Sender::new(None),
            is_full: AtomicBool::new(false),
            failed: watch::Sender::new(None),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while holding it")
    }

    /// Queues a room that has something to be stored.
    pub(crate) fn queue(&self, room: Arc<dyn Journaled>) {
        if !room.is_queued().swap(true, Ordering::AcqRel) {
            self.lock().rooms.push(room);
            self.filled.notify_one();
        }
    }

    /// Counts bytes that wait from now on.
    pub(crate) fn add(&self, bytes: usize) {
        self.pending.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns how many bytes wait.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Waits until little enough waits that more may be read.
    pub(crate) async fn has_room(&self) {
        if self.pending.load(Ordering::Relaxed) <= PENDING_MAX {
            return;
        }
        let mut drained = self.drained.subscribe();
        while self.pending.load(Ordering::Relaxed) > PENDING_MAX {
            if drained.changed().await.is_err() {
                return;
            }
        }
    }

    /// Watches the reason why nothing can be stored at the moment, if there is one.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.trouble.subscribe()
    }

    /// Returns what a client is to be told of that.
    pub(crate) fn news(&self) -> StoreNews {
        let mut trouble = self.trouble.subscribe();
        trouble.mark_changed();
        StoreNews { trouble, told: false }
    }

    /// Returns whether nothing can be stored at the moment: then nobody is admitted, and nothing is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    fn set_trouble(&self, why: Option<Arc<str>>) {
        self.is_full.store(why.is_some(), Ordering::Relaxed);
        self.trouble.send_replace(why);
    }

    /// Waits until the store has failed for good. Returns the reason.
    pub(crate) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        let why = failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_default()
    }

    /// Returns why the store has failed for good, if it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Has [`run`](Self::run) return once whatever waits is stored.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.filled.notify_one();
    }

    /// Stores until it is stopped, or the store has failed. Blocks.
    pub(crate) fn run(&self) {
        // These come back when their readers have been served; at the end, without that.
        let mut put_off = BTreeMap::new();
        // A store that found no room when it was opened is known to be full before anybody comes.
        if let Err(why) = self.store_all(Vec::new(), &mut put_off, false) {
            error!("{why}");
            self.failed.send_replace(Some(why));
            return;
        }
        loop {
            let (mut rooms, stopping) = {
                let mut queue = self.lock();
                while queue.rooms.is_empty() && !queue.stopping {
                    queue = self.filled.wait(queue).expect("nothing panics while holding it");
                }
                (std::mem::take(&mut queue.rooms), queue.stopping)
            };
            put_off.retain(|_, room: &mut Arc<dyn Journaled>| room.is_awaited());
            if stopping {
                rooms.extend(std::mem::take(&mut put_off).into_values());
            }
            if rooms.is_empty() {
                return;
            }
            if let Err(why) = self.store_all(rooms, &mut put_off, stopping) {
                error!("{why}");
                self.failed.send_replace(Some(why));
                return;
            }
        }
    }

    /// Stores what the rooms have, except for those whose last messages are still being written to their readers.
    fn store_all(
        &self,
        rooms: ChangedRooms,
        put_off: &mut BTreeMap<RoomId, Arc<dyn Journaled>>,
        stopping: bool,
    ) -> Result<(), String> {
        let mut changes = Vec::new();
        let mut batches = Vec::with_capacity(rooms.len());
        for room in rooms {
            // Before it is looked at: what changes after that queues it again.
            room.is_queued().store(false, Ordering::Release);
            if !stopping && room.is_busy() {
                put_off.insert(room.id(), room);
                continue;
            }
            if let Some(batch) = room.take_changes(&mut changes) {
                batches.push((room, batch));
            }
        }
        let mut full = false;
        let mut begun = Instant::now();
        while let Err(error) = self.store.commit(changes.clone()) {
            if !error.is_retryable() {
                return Err(error.to_string());
            }
            self.metrics.commit_put_off();
            if !std::mem::replace(&mut full, true) {
                warn!("{error}; nobody joins and nothing is stored until there is room");
                self.set_trouble(Some(error.to_string().into()));
            }
            if stopping || self.lock().stopping {
                if changes.is_empty() {
                    return Ok(());
                }
                return Err(format!("{error}; what was said last is not stored, and nobody has seen it"));
            }
            std::thread::sleep(FULL_PAUSE);
            begun = Instant::now();
        }
        if full {
            self.set_trouble(None);
            info!("{}", StoreNotice::Again);
        }
        if batches.is_empty() {
            return Ok(());
        }
        let time = begun.elapsed();
        let (mut bytes, mut records) = (0, 0);
        for (room, batch) in batches {
            if let Some(run) = &batch.records {
                bytes += run.bytes.len();
                records += run.last + 1 - run.first;
            }
            room.has_stored(batch);
        }
        self.metrics.committed(time, records, bytes);
        self.pending.fetch_sub(bytes, Ordering::Relaxed);
        self.drained.send_replace(());
        Ok(())
    }
}
