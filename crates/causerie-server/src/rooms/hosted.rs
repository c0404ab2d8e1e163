//! A room behind a lock, the tail of its log that readers see, and the means to wake them.
//!
//! What happens in the room goes to the store first ([`crate::journal::writer`]); then it comes into the tail.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use causerie_core::content::body::answered_by;
use causerie_core::content::reading::Reading;
use causerie_core::log::page::authors;
use causerie_core::log::{self, Log, Read, Record, records};
use causerie_core::room::{Batch, Now, Room};
use causerie_core::wire::{Direction, HistoryQuestion, MemberInfo, Page, Place, Watched, Welcome};
use causerie_store::{Change, MemberRow, Members, RoomId, RoomRow, Secrets, Store, StoreError};
use cbcast::{MemberId, MessageId, MissingRange, Time};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::Server;
use crate::fanout::{Fanout, Reader};
use crate::gateways::http::JsonTail;
use crate::gateways::irc::IrcTail;
use crate::journal::reads::Asker;
use crate::journal::writer::Writer;
use crate::net::budget::{Rate, Seldom, warn_seldom};
use crate::rooms::history::{self, Ends, HistoryError, Texts};
use crate::rooms::roster::Roster;
use crate::rooms::stability::Stability;
use crate::rooms::standing::Stored;
use crate::rooms::watching::Watching;

/// Monotonic time for timers, wall time for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        Now {
            time: Time::from_nanos(millis(self.0.elapsed().as_nanos())),
            wall_millis: millis(wall.as_millis()),
        }
    }
}

/// Lines that one room may write to the log: who talks without end does not fill it.
const LINES: Rate = Rate::new(1, Duration::from_secs(1), 1_000).expect("not 0");

/// What readers see.
pub(crate) struct Tail {
    pub(crate) log: Log,
    /// [`Room::changes`] that are stored.
    pub(crate) stored: u64,
    /// [`Room::seating`]: whoever sees another one has to look at the room.
    pub(crate) seating: u64,
}

pub(crate) struct HostedRoom {
    pub(crate) id: RoomId,
    /// How its name reads: no other room is made that people would take for it.
    pub(crate) reading: Reading,
    room: Mutex<Room>,
    tail: RwLock<Tail>,
    /// Wakes whoever waits for something particular; readers are served by the pumps.
    changed: watch::Sender<()>,
    pub(crate) fanout: Fanout,
    /// Other messages are held back.
    holding: watch::Sender<()>,
    json: Mutex<JsonTail>,
    irc: Mutex<IrcTail>,
    roster: Mutex<Roster>,
    pub(crate) watching: Watching,
    pub(crate) stability: Stability,
    clock: Clock,
    writer: Arc<Writer>,
    /// It is in the writer's queue.
    pub(crate) is_queued: AtomicBool,
    standing: Mutex<Standing>,
    /// The vectors in the log, where it has a port of its own.
    lines: Mutex<Seldom>,
    /// What is stored of it beside its log, as long as it is open.
    pub(crate) row: RoomRow,
    /// Nothing of it is kept once it is closed. The store does not know: after a restart it is as any other.
    pub(crate) is_temporary: bool,
    /// From which address it was made.
    pub(crate) creator: IpAddr,
    /// When something happened in it last, or it was made, by the wall clock of then, as it was at the start or its making.
    pub(crate) found_millis: u64,
    /// Cancelled when it is closed: its own port closes.
    pub(crate) closed: CancellationToken,
    /// When it was closed, if it is kept then.
    kept_since: OnceLock<u64>,
}

/// What the store knows of a room.
enum Standing {
    /// Nothing yet.
    New,
    Stored,
    /// That it was closed.
    Gone,
}

/// How a room comes to be hosted.
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
    pub(crate) stored: u64,
    /// See [`HostedRoom::found_millis`].
    pub(crate) found_millis: u64,
}

impl HostedRoom {
    pub(crate) fn new(hosting: Hosting, clock: Clock, writer: Arc<Writer>) -> Arc<Self> {
        let Hosting { id, room, row, is_new, is_temporary, tail_bytes, stored, found_millis } = hosting;
        let log = Log::new(stored, tail_bytes);
        let tail = Tail { log, stored: 0, seating: room.seating() };
        let unstored = room.changes() > 0;
        writer.add(room.pending_bytes());
        let hosted = Arc::new(Self {
            id,
            reading: Reading::of(room.name().as_str()),
            room: Mutex::new(room),
            tail: RwLock::new(tail),
            changed: watch::Sender::new(()),
            fanout: Fanout::default(),
            holding: watch::Sender::new(()),
            json: Mutex::default(),
            irc: Mutex::default(),
            roster: Mutex::default(),
            watching: Watching::default(),
            stability: Stability::default(),
            clock,
            writer,
            is_queued: AtomicBool::new(false),
            standing: Mutex::new(if is_new { Standing::New } else { Standing::Stored }),
            lines: Mutex::default(),
            creator: row.creator.parse().unwrap_or(IpAddr::from([0, 0, 0, 0])),
            row,
            is_temporary,
            found_millis,
            closed: CancellationToken::new(),
            kept_since: OnceLock::new(),
        });
        if unstored {
            hosted.writer.queue(&hosted);
        }
        hosted
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().expect("nothing panics while holding it")
    }

    /// Whether something panicked in the room: it is of no use any more, and of no harm to other rooms.
    pub(crate) fn is_broken(&self) -> bool {
        self.room.is_poisoned()
    }

    /// What readers see.
    pub(crate) fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().expect("nothing panics while holding it")
    }

    fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().expect("nothing panics while holding it")
    }

    /// Asks the room something.
    pub(crate) fn look<T>(&self, ask: impl FnOnce(&Room) -> T) -> T {
        ask(&self.lock())
    }

    /// Does something in the room. What it has changed goes to the store.
    pub(crate) fn act<T>(self: &Arc<Self>, act: impl FnOnce(&mut Room, Now) -> T) -> T {
        self.act_and_count(act).0
    }

    /// As [`act`](Self::act); what the result tells may be told once so many changes are [stored](Self::stored).
    pub(crate) fn act_and_count<T>(self: &Arc<Self>, act: impl FnOnce(&mut Room, Now) -> T) -> (T, u64) {
        let mut room = self.lock();
        let (changes, seating, pending) = (room.changes(), room.seating(), room.pending_bytes());
        let (counts, holding, held) = (room.counts(), room.holding(), room.held_bytes());
        room.set_storage_full(self.writer.is_full());
        let result = act(&mut room, self.clock.now());
        self.writer.metrics.room(&counts, &room.counts());
        for time in room.take_held_times() {
            self.writer.metrics.held_for(time);
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
            self.writer.memory.hold(held, room.held_bytes());
        }
        if room.holding() != holding {
            self.holding.send_replace(());
        }
        self.writer.add(room.pending_bytes() - pending);
        drop(room);
        if changed != changes {
            self.writer.queue(self);
        }
        (result, changed)
    }

    /// Returns whether something has panicked while it held one of the room's locks.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.room.is_poisoned()
            || self.tail.is_poisoned()
            || self.json.is_poisoned()
            || self.irc.is_poisoned()
            || self.roster.is_poisoned()
    }

    /// Until so many changes of the room are stored.
    pub(crate) async fn stored(&self, changes: u64) {
        let mut changed = self.changed.subscribe();
        while self.tail().stored < changes {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Until so many changes of the room are stored, or it is known that they cannot be at the moment: why.
    pub(crate) async fn stored_in_time(&self, changes: u64) -> Result<(), Arc<str>> {
        let mut trouble = self.writer.trouble();
        tokio::select! {
            biased;
            () = self.stored(changes) => Ok(()),
            Ok(why) = trouble.wait_for(Option::is_some) => Err(why.clone().unwrap_or_default()),
        }
    }

    /// As [`stored_in_time`](Self::stored_in_time), for somebody who has just joined: if they cannot be told so, they leave.
    pub(crate) async fn joined_in_time(
        self: &Arc<Self>,
        member: Option<MemberId>,
        changes: u64,
    ) -> Result<(), Arc<str>> {
        let stored = self.stored_in_time(changes).await;
        if let (Err(why), Some(member)) = (&stored, member) {
            self.act(|room, now| room.part(now, member, why));
        }
        stored
    }

    /// It has something to be stored.
    pub(crate) fn queue(self: &Arc<Self>) {
        self.writer.queue(self);
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

    /// The end of its log as JSON. Taken before the tail and the room.
    pub(crate) fn json(&self) -> MutexGuard<'_, JsonTail> {
        self.json.lock().expect("nothing panics while holding it")
    }

    /// The end of its log for IRC clients. Taken before the tail, and within the room.
    pub(crate) fn irc(&self) -> MutexGuard<'_, IrcTail> {
        self.irc.lock().expect("nothing panics while holding it")
    }

    /// Who is in, as clients are told. Taken within the room.
    pub(crate) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().expect("nothing panics while holding it")
    }

    // For the writer.

    /// The room goes: once so many changes are stored. What was stored of it goes along, unless it is kept as closed at this
    /// time.
    pub(crate) fn close(self: &Arc<Self>, kept_since: Option<u64>) -> u64 {
        self.close_if(kept_since, |_| true).expect("it is closed in any case")
    }

    /// Closes the room if it is as it should be for that.
    pub(crate) fn close_if(
        self: &Arc<Self>,
        kept_since: Option<u64>,
        should: impl FnOnce(&Room) -> bool,
    ) -> Option<u64> {
        let (closed, changes) = self.act_and_count(|room, _| {
            let closes = should(room);
            if closes {
                // Before the writer can look at it. Who closes it a second time changes nothing.
                if let Some(millis) = kept_since.filter(|_| !self.closed.is_cancelled()) {
                    let _ = self.kept_since.set(millis);
                }
                self.closed.cancel();
                room.close();
            }
            closes
        });
        closed.then_some(changes)
    }

    /// What is to be stored, and what is to be told to [`has_stored`](Self::has_stored) then.
    pub(crate) fn take_changes(&self, changes: &mut Vec<Change>) -> Option<Batch> {
        if self.is_broken() {
            return None;
        }
        let (mut batch, so_far) = {
            let mut room = self.lock();
            (room.take_batch().unwrap_or_default(), room.changes())
        };
        batch.changes = so_far;
        let room = self.id;
        let mut standing = self.standing.lock().expect("nothing panics while holding it");
        match std::mem::replace(&mut *standing, Standing::Stored) {
            Standing::Stored => {}
            Standing::New => changes.push(Change::Create { room, row: self.row.clone() }),
            Standing::Gone => {
                // Its last words are nobody's.
                *standing = Standing::Gone;
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
            *standing = Standing::Gone;
        }
        Some(batch)
    }

    /// Readers may see it.
    pub(crate) fn has_stored(&self, batch: Batch) {
        let mut tail = self.tail_mut();
        if let Some(run) = batch.records {
            tail.log.push(run);
        }
        tail.stored = tail.stored.max(batch.changes);
        drop(tail);
        self.tell();
    }

    // For readers.

    /// The pumps serve this reader, too, until [`unfollow`](Self::unfollow).
    pub(crate) fn follow(self: &Arc<Self>, server: &Arc<Server>, reader: &Arc<Reader>) {
        let watchers = self.watching.watchers();
        if watchers.watched() != Watched::default() {
            reader.watched(watchers.watched());
        }
        let pump = self.fanout.add(Arc::clone(reader));
        drop(watchers);
        if let Some(pump) = pump {
            let room = Arc::clone(self);
            server.spawn(async move { pump.run(&room).await });
        }
    }

    /// Somebody watches what members observe: from this cursor of [`Watching::read`].
    pub(crate) fn watch(&self) -> u64 {
        self.watching.enter(|watched| self.fanout.watched(watched))
    }

    /// Somebody watches no longer.
    pub(crate) fn unwatch(&self) {
        self.watching.leave(|watched| self.fanout.watched(watched));
    }

    pub(crate) fn unfollow(&self, reader: &Arc<Reader>) {
        self.fanout.remove(reader);
        self.stability.leave(reader, |is_followed| self.tell_wanted(is_followed));
    }

    /// Members acknowledge what they have delivered from now on, or no longer.
    pub(crate) fn tell_wanted(&self, acknowledgements: bool) {
        self.watching.acknowledged(acknowledgements, |watched| self.fanout.watched(watched));
    }

    /// Records before this position are not kept any more.
    pub(crate) fn kept_from(&self, first: u64) {
        self.lock().kept_from(first);
    }

    /// What lies behind a cursor in memory.
    pub(crate) fn read_tail(&self, cursor: u64, slices_max: usize) -> Read {
        let (read, end) = {
            let log = &self.tail().log;
            (log.read(cursor, slices_max), log.last())
        };
        if end > cursor {
            self.writer.metrics.read(end - cursor, matches!(read, Read::Records { .. }));
        }
        read
    }

    /// Reads the store, as soon as there is a place for such a reader.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        asker: Asker,
        read: impl FnOnce(&dyn Store) -> T + Send + 'static,
    ) -> T {
        self.writer.reads.run(asker, read).await
    }

    /// What lies behind a cursor, from memory or from the store: whole frames, and the new cursor. Nothing: there
    /// is nothing more yet.
    pub(crate) async fn read(&self, cursor: u64, slices_max: usize) -> Result<(Vec<Bytes>, u64), Unreadable> {
        match self.read_tail(cursor, slices_max) {
            Read::Records { slices, last } => Ok((slices, last)),
            Read::Older => self.read_older(cursor, OLDER_BYTES).await,
        }
    }

    /// As [`read`](Self::read), of some [`PIECE_BYTES`]: for sessions that keep what they have made of it until it is
    /// written.
    pub(crate) async fn read_piece(&self, cursor: u64) -> Result<(Vec<Bytes>, u64), Unreadable> {
        match self.read_tail_piece(cursor) {
            Read::Records { slices, last } => Ok((slices, last)),
            Read::Older => self.read_older(cursor, PIECE_BYTES).await,
        }
    }

    /// What lies behind a cursor in memory, some [`PIECE_BYTES`] of it.
    pub(crate) fn read_tail_piece(&self, cursor: u64) -> Read {
        match self.read_tail(cursor, PIECE_SLICES_MAX) {
            Read::Records { mut slices, last } => {
                let last = log::cut(&mut slices, PIECE_BYTES).unwrap_or(last);
                Read::Records { slices, last }
            }
            Read::Older => Read::Older,
        }
    }

    async fn read_older(&self, cursor: u64, bytes_max: usize) -> Result<(Vec<Bytes>, u64), Unreadable> {
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
        Err(Unreadable::Gap { end })
    }
}

impl Drop for HostedRoom {
    fn drop(&mut self) {
        let room = self.room.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.writer.memory.hold(room.held_bytes(), 0);
    }
}

/// What messages refer to: how the text of each begins.
pub(crate) type Quotes = BTreeMap<MessageId, String>;

/// What members are called, departed ones too.
pub(crate) type Names = BTreeMap<MemberId, String>;

impl HostedRoom {
    /// Who says something in these records, or leaves, or has said what they refer to. Asks the store for those whom
    /// the room has forgotten; who cannot be read is left out.
    pub(crate) async fn names(&self, slices: &[Bytes], quotes: &Quotes) -> Names {
        let named = slices.iter().flat_map(|run| authors(run.clone()));
        let named: BTreeSet<_> = named.chain(quotes.keys().map(|id| id.member)).collect();
        let (mut names, mut forgotten) = (Names::new(), Vec::new());
        self.look(|room| {
            for member in named {
                match room.name_of(member) {
                    Some(name) => drop(names.insert(member, name.to_string())),
                    None => forgotten.push(member),
                }
            }
        });
        if !forgotten.is_empty() {
            let id = self.id;
            let rows = self.reading(Asker::Member, move |store| store.members(id, Members::Ids(&forgotten)));
            match rows.await {
                Ok(rows) => names.extend(rows.into_iter().map(|row| (row.member, row.name))),
                Err(error) => warn_seldom!("the names of departed members cannot be read: {error}"),
            }
        }
        names
    }

    /// The texts, as they read today, of what these records answer, for clients that cannot look it up. Asks the store if
    /// they answer anything; what was taken back or cannot be read is left out.
    pub(crate) async fn quotes(&self, slices: &[Bytes]) -> Quotes {
        let said = |r: Record| (r.message.is_data()).then(|| r.message.payload());
        // Each with the first that answers it: what comes behind that is not told with it.
        let mut targets: BTreeMap<MessageId, u64> = BTreeMap::new();
        for record in slices.iter().cloned().flat_map(records) {
            let position = record.position;
            if let Some(target) = said(record).and_then(|payload| answered_by(&payload)) {
                targets.entry(target).or_insert(position);
            }
        }
        if targets.is_empty() {
            return Quotes::new();
        }
        let id = self.id;
        let read = self.reading(Asker::Member, move |store| {
            let (mut quotes, mut stored) = (Quotes::new(), Stored::new(store, id));
            for (target, position) in targets {
                if let Some(text) = stored.quote(target, position)? {
                    quotes.insert(target, beginning(&text));
                }
            }
            Ok::<_, StoreError>(quotes)
        });
        read.await.unwrap_or_else(|error| {
            warn_seldom!("what messages refer to cannot be read: {error}");
            Quotes::new()
        })
    }

    /// The positions of the stored records of these messages, oldest first, `max` at most. Of the ranges the first 64
    /// count.
    pub(crate) async fn find(&self, ranges: Vec<MissingRange>, max: usize) -> Result<Vec<u64>, StoreError> {
        let id = self.id;
        let find = move |store: &dyn Store| {
            let mut positions = Vec::new();
            for range in ranges.iter().take(RANGES_MAX) {
                let left = max - positions.len();
                positions.extend(store.positions(id, range.member, range.from, range.to, left)?);
            }
            positions.sort_unstable();
            positions.dedup();
            Ok(positions)
        };
        self.reading(Asker::Member, find).await
    }

    /// The stored records at these positions as whole frames, oldest first, as many as have some [`PIECE_BYTES`]; and how
    /// many of the positions that are.
    pub(crate) async fn records_at(&self, positions: Vec<u64>) -> Result<(Vec<Bytes>, usize), StoreError> {
        let id = self.id;
        let read = move |store: &dyn Store| {
            let (mut frames, mut bytes) = (Vec::new(), 0);
            for (done, position) in positions.iter().enumerate() {
                if bytes >= PIECE_BYTES {
                    return Ok((frames, done));
                }
                // One record at least, and no more.
                let runs = store.read(id, position - 1, 1)?.runs;
                bytes += runs.iter().map(Bytes::len).sum::<usize>();
                frames.extend(runs);
            }
            Ok((frames, positions.len()))
        };
        self.reading(Asker::Member, read).await
    }
}

impl HostedRoom {
    /// Names the departed of a welcome's history whom the room has forgotten, those of the first page's worth.
    pub(crate) async fn name_history(&self, welcome: &mut Welcome) {
        let history = (welcome.position + 1).saturating_sub(welcome.first);
        if history == 0 {
            return;
        }
        let question = HistoryQuestion {
            room: welcome.room.clone(),
            epoch: welcome.epoch,
            direction: Direction::After,
            place: Place::Position(welcome.first - 1),
            limit: history,
            wait_millis: 0,
        };
        match self.page(Asker::Member, Texts::AsSaid, question).await {
            Ok(page) => {
                let known: BTreeSet<_> = welcome.members.iter().map(|m| m.member).collect();
                let departed = |m: &MemberInfo| !m.present && !known.contains(&m.member);
                welcome.members.extend(page.names.into_iter().filter(departed));
            }
            // Then they go by their ids.
            Err(error) => warn_seldom!("the names in a history cannot be read: {error}"),
        }
    }

    /// A page of what is stored, as it is asked for.
    pub(crate) async fn page(
        &self,
        asker: Asker,
        texts: Texts,
        question: HistoryQuestion,
    ) -> Result<Page, HistoryError> {
        self.page_within(asker, texts, question, history::BYTES_MAX).await
    }

    /// As [`page`](Self::page), with so many bytes of records at most, unless it has one only.
    pub(crate) async fn page_within(
        &self,
        asker: Asker,
        texts: Texts,
        question: HistoryQuestion,
        bytes_max: usize,
    ) -> Result<Page, HistoryError> {
        let (epoch, first) = self.look(|room| (room.epoch(), room.first()));
        let ends = Ends { epoch, first, last: self.tail().log.last() };
        let nothing = Page { room: question.room.clone(), epoch, from: 1, kept: first, ..Page::default() };
        let id = self.id;
        let page = move |store: &dyn Store| history::page(store, id, &ends, &question, bytes_max, texts);
        match self.reading(asker, page).await {
            // It was made just now, and nothing of it is stored yet.
            Err(HistoryError::Store(StoreError::NoSuchRoom(_))) if !self.closed.is_cancelled() => Ok(nothing),
            read => read,
        }
    }
}

/// As much of a text as is ever quoted.
fn beginning(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    text.chars().take(CHARS_MAX).collect()
}

/// What a batch of a room is to the store.
pub(crate) fn changes_of(room: RoomId, batch: &mut Batch, changes: &mut Vec<Change>) {
    if let Some(run) = &batch.records {
        changes.push(Change::Append { room, first: run.first, last: run.last, run: run.bytes.clone() });
    }
    for record in &batch.members {
        let secrets = record.secrets.map(|secrets| match secrets {
            causerie_core::room::Secrets::Key(key) => Secrets::Key(key),
            causerie_core::room::Secrets::Bearer { token, nonce } => Secrets::Bearer { token, nonce },
        });
        let row = MemberRow {
            member: record.member,
            name: record.name.clone(),
            joined_at: record.joined_at,
            left_at: record.left_at,
            taken: record.taken,
            secrets,
        };
        changes.push(Change::Member { room, row });
    }
    for (name, position) in std::mem::take(&mut batch.marks) {
        changes.push(Change::Mark { room, name: name.into(), position });
    }
    if let Some((position, state)) = batch.checkpoint.clone() {
        changes.push(Change::Checkpoint { room, position, state });
    }
}

/// Ranges of one repair request that are looked at.
const RANGES_MAX: usize = 64;

/// Bytes read from the store at once.
const OLDER_BYTES: usize = 256 << 10;

/// Bytes and runs of the log that a session has in hand, where it makes something else of them: rendered, short messages
/// become several times as much.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
const PIECE_SLICES_MAX: usize = 16;

/// Why the log cannot be read on.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// What comes next is not kept any more, or damaged, up to here.
    Gap {
        /// The last position that cannot be read.
        end: u64,
    },
    /// The store has failed.
    Failed(String),
}
