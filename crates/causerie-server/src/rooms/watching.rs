//! What members observe, for those who watch a room: kept for a moment, told in its place between the records of the
//! log, never stored. While nobody watches, no member tells anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use causerie_core::id::Position;
use causerie_core::wire::{Observation, Watched};
use cbcast::{MemberId, VectorClock};
use tokio::sync::watch;

use crate::rooms::renderings::Renderings;

/// Events that are kept for those who read slowly.
const EVENTS_MAX: usize = 2_048;
/// Events that one watcher has in hand.
const READ_MAX: usize = 256;
/// Bytes of them, about: what is held is told with a clock, which has an entry for each member.
const BYTES_MAX: usize = 1 << 20;
/// Bytes of one as a text, and of an entry of its clock, about.
const EVENT_BYTES: usize = 160;
const ENTRY_BYTES: usize = 16;
/// Most that one frame can say to have left out.
const LEFT_OUT_MAX: u64 = 1_000_000;

#[derive(Default)]
pub(crate) struct Watching {
    watchers: Mutex<Watchers>,
    news: watch::Sender<()>,
}

#[derive(Default)]
pub(crate) struct Watchers {
    count: usize,
    /// Somebody follows what members acknowledge ([`crate::rooms::stability`]).
    acknowledgements: bool,
    /// Number of observations that there have been.
    total: u64,
    events: VecDeque<WatchedEvent>,
    /// Bytes of them.
    bytes: usize,
}

/// One thing that members have observed.
#[derive(Debug)]
pub(crate) enum MemberNews {
    /// A member has observed this.
    Observed(MemberId, Box<Observation>),
    /// So many more are not told.
    LeftOut(u64),
}

impl MemberNews {
    /// Returns about how many bytes it takes up, rendered.
    fn bytes(&self) -> usize {
        match self {
            Self::Observed(_, seen) => {
                EVENT_BYTES + ENTRY_BYTES * seen.what.clock().map_or(0, VectorClock::len)
            }
            Self::LeftOut(_) => EVENT_BYTES,
        }
    }
}

/// News with its renderings.
pub(crate) struct SharedNews {
    news: MemberNews,
    renderings: Renderings,
}

impl SharedNews {
    /// Returns the rendering of this kind.
    pub(crate) fn rendering<R: Send + Sync + 'static>(&self, make: impl FnOnce(&MemberNews) -> R) -> Arc<R> {
        self.renderings.get(|_| true, || make(&self.news))
    }
}

/// One observation, or how many were left out.
struct WatchedEvent {
    /// The log's last position when it came.
    behind: Position,
    /// The total before it, and with it.
    before: u64,
    with: u64,
    news: Arc<SharedNews>,
}

/// News that a watcher has not been told.
#[derive(Default)]
pub(crate) struct Unread {
    /// Number of observations that are not there any more.
    pub(crate) missed: u64,
    /// Events: the position behind which each stands, and the watcher's cursor behind it.
    pub(crate) events: VecDeque<(Position, u64, Arc<SharedNews>)>,
    /// More are behind these.
    pub(crate) has_more: bool,
}

impl Watchers {
    /// Returns whether anybody watches.
    pub(crate) fn are_there(&self) -> bool {
        self.count > 0
    }

    /// Returns what members are to tell.
    pub(crate) fn watched(&self) -> Watched {
        Watched { observations: self.are_there(), acknowledgements: self.acknowledgements }
    }

    fn push(&mut self, behind: Position, count: u64, news: MemberNews) {
        let before = self.total;
        self.total += count;
        self.bytes += news.bytes();
        let news = Arc::new(SharedNews { news, renderings: Renderings::default() });
        self.events.push_back(WatchedEvent { behind, before, with: self.total, news });
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.news.news.bytes();
        }
    }
}

impl Watching {
    /// Held while members are told whether anybody watches, so that they are told in order.
    pub(crate) fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().expect("nothing panics while holding it")
    }

    /// Counts somebody who watches from now on. Returns the cursor to begin with.
    pub(crate) fn enter(&self, tell_members: impl FnOnce(Watched)) -> u64 {
        let mut watchers = self.watchers();
        watchers.count += 1;
        if watchers.count == 1 {
            tell_members(watchers.watched());
        }
        watchers.total
    }

    /// Counts somebody less who watches.
    pub(crate) fn leave(&self, tell_members: impl FnOnce(Watched)) {
        let mut watchers = self.watchers();
        watchers.count -= 1;
        if watchers.count == 0 {
            (watchers.events, watchers.bytes) = (VecDeque::new(), 0);
            tell_members(watchers.watched());
        }
    }

    /// Notes that somebody follows what members acknowledge from now on, or nobody does.
    pub(crate) fn acknowledged(&self, is_followed: bool, tell_members: impl FnOnce(Watched)) {
        let mut watchers = self.watchers();
        watchers.acknowledgements = is_followed;
        tell_members(watchers.watched());
    }

    /// A member has observed this, while the log ended there.
    pub(crate) fn tell(&self, behind: Position, member: MemberId, seen: Vec<Observation>, left_out: u64) {
        let mut watchers = self.watchers();
        if !watchers.are_there() {
            return;
        }
        for seen in seen {
            watchers.push(behind, 1, MemberNews::Observed(member, Box::new(seen)));
        }
        let count = left_out.min(LEFT_OUT_MAX);
        if count > 0 {
            watchers.push(behind, count, MemberNews::LeftOut(count));
        }
        drop(watchers);
        self.news.send_replace(());
    }

    /// Returns what lies behind a cursor.
    pub(crate) fn read(&self, cursor: u64) -> Unread {
        let watchers = self.watchers();
        let first = watchers.events.partition_point(|event| event.before < cursor);
        let unread = watchers.events.range(first..);
        let events: VecDeque<_> =
            unread.take(READ_MAX).map(|e| (e.behind, e.with, Arc::clone(&e.news))).collect();
        let has_more = first + events.len() < watchers.events.len();
        let next = watchers.events.get(first).map_or(watchers.total, |event| event.before);
        Unread { missed: next - cursor, events, has_more }
    }

    /// Wakes when there is something to read.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }
}
