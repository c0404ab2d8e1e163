//! The session that the handles of a room and its driver share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use causerie_core::content::body::Body;
use causerie_core::session::{Event, Session};
use cbcast::Time;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::trust::TrustError;

/// Session that a room's handles and its driver share, and its clock.
pub(crate) struct SharedSession {
    session: Mutex<Session>,
    /// The application has said or asked something, or taken what there was no room behind.
    pub(crate) changed: Notify,
    epoch: Instant,
    /// Bytes of events that the application has not taken.
    untaken: AtomicUsize,
    /// Why the session has ended, if the server is not trusted.
    untrusted: Mutex<Option<TrustError>>,
}

/// Most bytes of events that wait for the application, beside one of any size; the rest waits at the server.
const UNTAKEN_BYTES_MAX: usize = 4 << 20;

/// Bytes of the texts in an event.
fn bytes(event: &Event) -> usize {
    let body = |body: &Body| match body {
        Body::Unknown(bytes) => bytes.len(),
        body => body.text().map_or(0, str::len),
    };
    match event {
        Event::Delivered(post) => body(&post.body) + post.author.len(),
        Event::Unsaid { body: unsaid, reason, .. } => body(unsaid) + reason.len(),
        Event::Welcomed { members, .. } => members.iter().map(|member| member.name.len()).sum(),
        Event::Joined { name, .. } => name.len(),
        Event::Left { name, reason, .. } => name.len() + reason.len(),
        _ => 0,
    }
}

impl SharedSession {
    pub(crate) fn new(session: Session) -> Self {
        let (session, changed) = (Mutex::new(session), Notify::new());
        let (untaken, untrusted) = (AtomicUsize::new(0), Mutex::default());
        Self { session, changed, epoch: Instant::now(), untaken, untrusted }
    }

    /// Ends the session, since the server is not trusted.
    pub(crate) fn distrust(&self, why: TrustError) {
        self.session().distrust(why.to_string());
        *self.untrusted.lock().expect("nothing panics while holding it") = Some(why);
    }

    pub(crate) fn take_untrusted(&self) -> Option<TrustError> {
        self.untrusted.lock().expect("nothing panics while holding it").take()
    }

    /// Returns whether the application has taken so much that it may be given more.
    pub(crate) fn has_room(&self) -> bool {
        self.untaken.load(Ordering::Relaxed) < UNTAKEN_BYTES_MAX
    }

    /// The application is about to be given this.
    pub(crate) fn gives(&self, event: &Event) {
        self.untaken.fetch_add(bytes(event), Ordering::Relaxed);
    }

    pub(crate) fn takes(&self, event: &Event) {
        let before = self.untaken.fetch_sub(bytes(event), Ordering::Relaxed);
        if before >= UNTAKEN_BYTES_MAX {
            self.changed.notify_one();
        }
    }

    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().expect("nothing panics while holding it")
    }

    pub(crate) fn now(&self) -> Time {
        time_since(self.epoch)
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.epoch + Duration::from_nanos(time.as_nanos())
    }
}

/// Nanoseconds since `epoch`, as the state machines count them.
fn time_since(epoch: Instant) -> Time {
    Time::from_nanos(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
}
