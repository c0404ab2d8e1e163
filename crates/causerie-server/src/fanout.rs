//! Fan-out: what was stored goes to those who have all that came before it, many of them in one task's turn.
//!
//! A reader is a cursor on the room's log. While its socket takes everything, a pump of the room writes for it and
//! its session sleeps. When something else is to be done, be it that the socket is full, the session is woken and
//! writes itself until the reader has caught up.
//!
//! A pump writes one form of the log ([`form`]): its own frames, or what a gateway makes of them, once for all readers.
//!
//! While a room's pumps write, what is said there gathers, and is stored when they have done ([`Fanout::is_busy`]): a
//! turn costs a system call for each reader, however much it brings.

pub(crate) mod form;
pub(crate) mod pump;
pub(crate) mod readable;
pub(crate) mod reader;

use std::any::TypeId;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use causerie_core::id::Position;
use causerie_core::wire::Watched;
use cbcast::MemberId;

use crate::fanout::form::Form;
use crate::fanout::pump::Pump;
use crate::fanout::reader::Reader;

/// Readers of one pump: its turn is some hundred microseconds, and a large room has several.
const READERS_MAX: usize = 128;

/// All pumps of a room.
#[derive(Default)]
pub(crate) struct Fanout {
    pumps: Mutex<Vec<Arc<Pump>>>,
    /// Number of pumps that have been kicked and have not written yet.
    busy: AtomicUsize,
    /// The room is to be queued once none is.
    is_awaited: AtomicBool,
}

impl Fanout {
    fn pumps(&self) -> MutexGuard<'_, Vec<Arc<Pump>>> {
        self.pumps.lock().expect("nothing panics while holding it")
    }

    /// Has all pumps write what is new in the room.
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

    /// Returns, for the writer, whether pumps still write. If so the room is to be queued when they have done.
    pub(crate) fn is_busy(&self) -> bool {
        let busy = || self.busy.load(Ordering::SeqCst) > 0;
        if !busy() {
            return false;
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        // They may have done meanwhile: with or without having seen that.
        busy() || !self.is_awaited.swap(false, Ordering::SeqCst)
    }

    /// Returns whether the room is queued when its pumps have done.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::SeqCst)
    }

    /// Notes that a pump has written. Returns whether the room is to be queued now.
    #[must_use]
    pub(crate) fn one_has_done(&self) -> bool {
        self.busy.fetch_sub(1, Ordering::SeqCst) == 1 && self.is_awaited.swap(false, Ordering::SeqCst)
    }

    /// Returns the members that live here and read along, and up to where each was written to.
    pub(crate) fn delivered(&self) -> Vec<(MemberId, Position)> {
        let pumps = self.pumps();
        pumps
            .iter()
            .flat_map(|pump| pump.readers().iter().filter_map(|r| r.delivered()).collect::<Vec<_>>())
            .collect()
    }

    /// Adds a reader of this form. Returns its pump if that is a new one, which somebody has to run.
    #[must_use]
    pub(crate) fn add<F: Form>(&self, reader: Arc<Reader>) -> Option<Arc<Pump>> {
        let mut pumps = self.pumps();
        let form = TypeId::of::<F>();
        let found = pumps.iter().find(|pump| pump.form == form && pump.readers().len() < READERS_MAX);
        if let Some(pump) = found {
            pump.readers().push(reader);
            return None;
        }
        let pump = Arc::new(Pump::new(form));
        pump.readers().push(reader);
        pumps.push(Arc::clone(&pump));
        Some(pump)
    }

    /// Removes a reader, and with its last one a pump.
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
