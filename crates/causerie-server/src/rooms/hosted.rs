//! A room behind a lock, the tail of its log that readers see, and the means to wake them.
//!
//! What happens in the room goes to the store first ([`crate::journal::writer`]); then it comes into the tail.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use causerie_core::content::reading::Reading;
use causerie_core::id::Position;
use causerie_core::log::{self, Log, Read};
use causerie_core::room::{Batch, Now, Room};
use causerie_core::wire::Watched;
use causerie_store::{Change, RoomId, RoomRow, Store};
use cbcast::MemberId;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::clock::Clock;
use crate::fanout::Fanout;
use crate::fanout::form::Form;
use crate::fanout::pump::Pump;
use crate::fanout::readable::{LogEnd, Readable};
use crate::fanout::reader::Reader;
use crate::journal::changes::{Journaled, changes_of};
use crate::journal::reads::{Asker, Reads};
use crate::journal::unstored::{NotStored, StoringProgress, Unstored};
use crate::journal::writer::Writer;
use crate::metrics::Metrics;
use crate::net::budget::{Rate, Seldom};
use crate::net::memory::Memory;
use crate::rooms::attached::Attached;
use crate::rooms::error::Unreadable;
use crate::rooms::roster::RenderedRoster;
use crate::rooms::stability::{self, RoomStability};
use crate::rooms::watching::Watching;

/// Lines that one room may write to the log: who talks without end does not fill it.
const LINES: Rate = Rate::new(1, Duration::from_secs(1), 1_000).expect("not 0");

/// Parts of the server that rooms use.
#[derive(Clone)]
pub(crate) struct Resources {
    pub(crate) clock: Clock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: Arc<Memory>,
}

/// The part of a room that readers see.
pub(crate) struct Tail {
    pub(crate) log: Log,
    /// [`Room::seating`]: whoever sees another one has to look at the room.
    pub(crate) seating: u64,
}

/// A room with all that serves it here.
pub(crate) struct HostedRoom {
    pub(crate) id: RoomId,
    /// Reading of its name: no other room is made that people would take for it.
    pub(crate) reading: Reading,
    room: Mutex<Room>,
    tail: RwLock<Tail>,
    progress: Arc<StoringProgress>,
    /// Wakes whoever waits for something particular; readers are served by the pumps.
    changed: watch::Sender<()>,
    pub(crate) fanout: Fanout,
    /// Other messages are held back.
    holding: watch::Sender<()>,
    /// Some are taken before the tail, some within the room.
    pub(crate) attached: Attached,
    roster: Mutex<RenderedRoster>,
    pub(crate) watching: Watching,
    pub(crate) stability: RoomStability,
    resources: Resources,
    /// It is in the writer's queue.
    is_queued: AtomicBool,
    in_store: Mutex<InStore>,
    /// The vectors in the log, where it has a port of its own.
    lines: Mutex<Seldom>,
    /// Row that is stored of it beside its log, as long as it is open.
    pub(crate) row: RoomRow,
    /// Nothing of it is kept once it is closed. The store does not know: after a restart it is as any other.
    pub(crate) is_temporary: bool,
    /// Address from which it was made.
    pub(crate) creator: IpAddr,
    /// Time when something happened in it last, or it was made, by the wall clock of then, as it was at the start or its making.
    pub(crate) found_millis: u64,
    /// Cancelled when it is closed: its own port closes.
    pub(crate) closed: CancellationToken,
    /// Time when it was closed, if it is kept then.
    kept_since: OnceLock<u64>,
}

/// Knowledge that the store has of a room.
enum InStore {
    /// Nothing yet.
    New,
    Stored,
    /// It was closed.
    Gone,
}

/// Origin of a hosted room.
pub(crate) struct Hosting {
    pub(crate) id: RoomId,
    pub(crate) room: Room,
    pub(crate) row: RoomRow,
    /// It is not in the store yet.
    pub(crate) is_new: bool,
    /// See [`HostedRoom::is_temporary`].
    pub(crate) is_temporary: bool,
    pub(crate) tail_bytes: usize,
    /// The last position that is in the store.
    pub(crate) stored: Position,
    /// See [`HostedRoom::found_millis`].
    pub(crate) found_millis: u64,
}

impl HostedRoom {
    pub(crate) fn new(hosting: Hosting, resources: Resources) -> Arc<Self> {
        let Hosting { id, room, row, is_new, is_temporary, tail_bytes, stored, found_millis } = hosting;
        let log = Log::new(stored, tail_bytes);
        let tail = Tail { log, seating: room.seating() };
        let unstored = room.changes() > 0;
        resources.writer.add(room.pending_bytes());
        let hosted = Arc::new(Self {
            id,
            reading: Reading::of(room.name().as_str()),
            room: Mutex::new(room),
            tail: RwLock::new(tail),
            progress: StoringProgress::new(resources.writer.trouble()),
            changed: watch::Sender::new(()),
            fanout: Fanout::default(),
            holding: watch::Sender::new(()),
            attached: Attached::default(),
            roster: Mutex::default(),
            watching: Watching::default(),
            stability: RoomStability::default(),
            resources,
            is_queued: AtomicBool::new(false),
            in_store: Mutex::new(if is_new { InStore::New } else { InStore::Stored }),
            lines: Mutex::default(),
            creator: row.creator.parse().unwrap_or(IpAddr::from([0, 0, 0, 0])),
            row,
            is_temporary,
            found_millis,
            closed: CancellationToken::new(),
            kept_since: OnceLock::new(),
        });
        if unstored {
            hosted.queue();
        }
        hosted
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().expect("nothing panics while holding it")
    }

    /// Returns whether something panicked in the room: it is of no use any more, and of no harm to other rooms.
    pub(crate) fn is_broken(&self) -> bool {
        self.room.is_poisoned()
    }

    /// Returns what readers see.
    pub(crate) fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().expect("nothing panics while holding it")
    }

    fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().expect("nothing panics while holding it")
    }

    /// Looks at the room as it is now, with changes that are not stored. Each use says why nothing is told too early.
    pub(crate) fn peek_unstored<T>(&self, ask: impl FnOnce(&Room) -> T) -> T {
        ask(&self.lock())
    }

    /// Asks the room something.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&Room) -> T) -> Unstored<T> {
        let room = self.lock();
        Unstored::new(ask(&room), room.changes(), &self.progress)
    }

    /// Passes on what the store itself has told.
    pub(crate) fn was_stored<T>(&self, value: T) -> Unstored<T> {
        Unstored::new(value, 0, &self.progress)
    }

    /// Does something in the room. What it has changed goes to the store.
    pub(crate) fn act<T>(self: &Arc<Self>, act: impl FnOnce(&mut Room, Now) -> T) -> Unstored<T> {
        let mut room = self.lock();
        let (changes, seating, pending) = (room.changes(), room.seating(), room.pending_bytes());
        let (counts, holding, held) = (room.counts(), room.holding(), room.held_bytes());
        room.set_storage_full(self.resources.writer.is_full());
        let result = act(&mut room, self.resources.clock.now());
        self.resources.metrics.room(&counts, &room.counts());
        for time in room.take_held_times() {
            self.resources.metrics.held_for(time);
        }
        for vector in room.take_vectors() {
            // In the lock, so that the lines stand in the log's order.
            match self.row.port {
                Some(_) => {
                    let mut lines = self.lines.lock().expect("nothing panics while holding it");
                    if let Some(left_out) = lines.turn(Instant::now(), LINES) {
                        info!("{vector}{left_out}");
                    }
                }
                None => debug!("{vector}"),
            }
        }
        let changed = room.changes();
        if room.seating() != seating {
            self.tail_mut().seating = room.seating();
            self.tell();
        }
        if room.held_bytes() != held {
            self.resources.memory.hold(held, room.held_bytes());
        }
        if room.holding() != holding {
            self.holding.send_replace(());
        }
        self.resources.writer.add(room.pending_bytes() - pending);
        drop(room);
        if changed != changes {
            self.queue();
        }
        Unstored::new(result, changed, &self.progress)
    }

    /// Returns whether something has panicked while it held one of the room's locks.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.room.is_poisoned()
            || self.tail.is_poisoned()
            || self.attached.is_poisoned()
            || self.roster.is_poisoned()
    }

    /// Waits until somebody's join is stored, or it is known that it cannot be at the moment: then who has joined leaves,
    /// since it cannot be told so.
    pub(crate) async fn joined_in_time<T>(
        self: &Arc<Self>,
        member: Option<MemberId>,
        joined: Unstored<T>,
    ) -> Result<T, NotStored> {
        let stored = joined.stored_in_time().await;
        if let (Err(why), Some(member)) = (&stored, member) {
            self.act(|room, now| room.part(now, member, &why.to_string())).told_by_its_record();
        }
        stored
    }

    /// Has what it has to store be stored.
    pub(crate) fn queue(self: &Arc<Self>) {
        self.resources.writer.queue(Arc::clone(self) as _);
    }

    /// Wakes at each change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Wakes sessions of members that live here.
    pub(crate) fn stir(&self) {
        self.changed.send_replace(());
    }

    fn tell(&self) {
        self.fanout.kick();
        self.changed.send_replace(());
    }

    /// Wakes whenever other messages are held back.
    pub(crate) fn holding(&self) -> watch::Receiver<()> {
        self.holding.subscribe()
    }

    /// Returns who is in, as clients are told. Taken within the room.
    pub(crate) fn roster(&self) -> MutexGuard<'_, RenderedRoster> {
        self.roster.lock().expect("nothing panics while holding it")
    }

    /// Closes the room, which goes once that is stored. What was stored of it goes along, unless it is kept as closed at this
    /// time.
    pub(crate) fn close(self: &Arc<Self>, kept_since: Option<u64>) -> Unstored<()> {
        self.close_if(kept_since, |_| true).map(drop)
    }

    /// Closes the room if it is as it should be for that.
    pub(crate) fn close_if(
        self: &Arc<Self>,
        kept_since: Option<u64>,
        should: impl FnOnce(&Room) -> bool,
    ) -> Unstored<bool> {
        self.act(|room, _| {
            let closes = should(room);
            if closes {
                // Before the writer can look at it. Who closes it a second time changes nothing.
                if let Some(millis) = kept_since.filter(|_| !self.closed.is_cancelled()) {
                    self.kept_since.set(millis).ok();
                }
                self.closed.cancel();
                room.close();
            }
            closes
        })
    }

    /// Has the pumps of a form serve this reader, too, until [`unfollow`](Self::unfollow). Returns its pump if that is a new one, which
    /// somebody has to run.
    #[must_use]
    pub(crate) fn follow<F: Form>(&self, reader: &Arc<Reader>) -> Option<Arc<Pump>> {
        let watchers = self.watching.watchers();
        if watchers.watched() != Watched::default() {
            reader.watched(watchers.watched());
        }
        self.fanout.add::<F>(Arc::clone(reader))
    }

    /// Counts somebody who watches what members observe, from this cursor of [`Watching::read`].
    pub(crate) fn watch(&self) -> u64 {
        self.watching.enter(|watched| self.fanout.watched(watched))
    }

    /// Counts somebody less who watches.
    pub(crate) fn unwatch(&self) {
        self.watching.leave(|watched| self.fanout.watched(watched));
    }

    pub(crate) fn unfollow(&self, reader: &Arc<Reader>) {
        self.fanout.remove(reader);
        self.stability.leave(reader, |is_followed| self.tell_wanted(is_followed));
    }

    /// Has members acknowledge what they have delivered from now on, or no longer.
    pub(crate) fn tell_wanted(&self, acknowledgements: bool) {
        self.watching.acknowledged(acknowledgements, |watched| self.fanout.watched(watched));
    }

    /// Has a reader be told from now on up to where members have delivered. Returns whether
    /// [followers](Self::tell_followers) are to be told in a while.
    #[must_use]
    pub(crate) fn follow_stable(&self, reader: &Arc<Reader>) -> bool {
        // A number, which nobody is told.
        if self.peek_unstored(|room| room.present().len()) > stability::MEMBERS_MAX {
            return false;
        }
        let is_due = self.stability.follow(reader, |is_followed| self.tell_wanted(is_followed));
        // Members that live here and have nothing to read say how far they are, or the pumps' readers do for them.
        self.stir();
        let delivered = self.fanout.delivered().into_iter();
        delivered
            .fold(is_due, |is_due, (member, position)| self.stability.acknowledge(member, position) || is_due)
    }

    /// Tells those who follow it up to where members have delivered.
    pub(crate) fn tell_followers(&self) {
        // Members who are about to be in acknowledge nothing yet.
        let present: Vec<_> = self.peek_unstored(|room| room.present().collect());
        self.stability.tell(&present, |is_followed| self.tell_wanted(is_followed));
    }

    /// Notes that records before this position are not kept any more.
    pub(crate) fn kept_from(&self, first: Position) {
        self.lock().kept_from(first);
    }

    /// Reads the store, as soon as there is a place for such a reader.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        asker: Asker,
        read: impl FnOnce(&dyn Store) -> T + Send + 'static,
    ) -> T {
        self.resources.reads.run(asker, read).await
    }

    /// Reads what lies behind a cursor, from memory or from the store: whole frames, and the new cursor. Nothing: there
    /// is nothing more yet.
    pub(crate) async fn read(
        &self,
        cursor: Position,
        slices_max: usize,
    ) -> Result<(Vec<Bytes>, Position), Unreadable> {
        match self.read_tail(cursor, slices_max) {
            Read::Records { slices, last } => Ok((slices, last)),
            Read::Older => self.read_older(cursor, OLDER_BYTES).await,
        }
    }

    /// Reads as [`read`](Self::read) does, of some [`PIECE_BYTES`]: for sessions that keep what they have made of it until it is
    /// written.
    pub(crate) async fn read_piece(&self, cursor: Position) -> Result<(Vec<Bytes>, Position), Unreadable> {
        match self.read_tail_piece(cursor) {
            Read::Records { slices, last } => Ok((slices, last)),
            Read::Older => self.read_older(cursor, PIECE_BYTES).await,
        }
    }

    /// Reads what lies behind a cursor in memory, some [`PIECE_BYTES`] of it.
    pub(crate) fn read_tail_piece(&self, cursor: Position) -> Read {
        match self.read_tail(cursor, PIECE_SLICES_MAX) {
            Read::Records { mut slices, last } => {
                let last = log::cut(&mut slices, PIECE_BYTES).unwrap_or(last);
                Read::Records { slices, last }
            }
            Read::Older => Read::Older,
        }
    }

    async fn read_older(
        &self,
        cursor: Position,
        bytes_max: usize,
    ) -> Result<(Vec<Bytes>, Position), Unreadable> {
        let id = self.id;
        let page = self.reading(Asker::Member, move |store| store.read(id, cursor, bytes_max)).await;
        let page = page.map_err(|error| Unreadable::Failed(error.to_string()))?;
        if !page.runs.is_empty() {
            return Ok((page.runs, page.last));
        }
        let Some(gap) = page.gap else {
            return Err(Unreadable::Failed("the store lacks what it should have".into()));
        };
        let end = *gap.end();
        self.lock().unreadable(gap);
        Err(Unreadable::Gap { end, lost: end - cursor })
    }
}

impl Journaled for HostedRoom {
    fn id(&self) -> RoomId {
        self.id
    }

    fn is_queued(&self) -> &AtomicBool {
        &self.is_queued
    }

    fn is_busy(&self) -> bool {
        self.fanout.is_busy()
    }

    fn is_awaited(&self) -> bool {
        self.fanout.is_awaited()
    }

    fn take_changes(&self, changes: &mut Vec<Change>) -> Option<Batch> {
        if self.is_broken() {
            return None;
        }
        let (mut batch, so_far) = {
            let mut room = self.lock();
            (room.take_batch().unwrap_or_default(), room.changes())
        };
        batch.changes = so_far;
        let room = self.id;
        let mut in_store = self.in_store.lock().expect("nothing panics while holding it");
        match std::mem::replace(&mut *in_store, InStore::Stored) {
            InStore::Stored => {}
            InStore::New => changes.push(Change::Create { room, row: self.row.clone() }),
            InStore::Gone => {
                // Its last words are nobody's.
                *in_store = InStore::Gone;
                return Some(batch);
            }
        }
        changes_of(room, &mut batch, changes);
        if self.closed.is_cancelled() {
            changes.push(match self.kept_since.get() {
                None => Change::Close { room },
                Some(&millis) => {
                    Change::Update { room, row: RoomRow { closed_millis: Some(millis), ..self.row.clone() } }
                }
            });
            *in_store = InStore::Gone;
        }
        Some(batch)
    }

    fn has_stored(&self, batch: Batch) {
        let mut tail = self.tail_mut();
        if let Some(run) = batch.records {
            tail.log.push(run);
        }
        drop(tail);
        self.progress.has_stored(batch.changes);
        self.tell();
    }
}

impl Readable for HostedRoom {
    fn end(&self) -> LogEnd {
        let tail = self.tail();
        LogEnd { last: tail.log.last(), seating: tail.seating }
    }

    fn read_tail(&self, cursor: Position, slices_max: usize) -> Read {
        let (read, end) = {
            let log = &self.tail().log;
            (log.read(cursor, slices_max), log.last())
        };
        if end > cursor {
            self.resources.metrics.read(end - cursor, matches!(read, Read::Records { .. }));
        }
        read
    }

    fn pump_has_written(self: &Arc<Self>) {
        if self.fanout.one_has_done() {
            self.queue();
        }
    }
}

impl Drop for HostedRoom {
    fn drop(&mut self) {
        let room = self.room.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.resources.memory.hold(room.held_bytes(), 0);
    }
}

/// Bytes read from the store at once.
const OLDER_BYTES: usize = 256 << 10;

/// Bytes and runs of the log that a session has in hand, where it makes something else of them: rendered, short messages
/// become several times as much.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
const PIECE_SLICES_MAX: usize = 16;
