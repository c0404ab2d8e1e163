//! The session that the handles of a room and its driver share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use causerie_core::content::body::Body;
use causerie_core::session::{Event, Session};
use cbcast::{MemberId, Time};
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

/// Bytes of a body, however its author has filled it.
fn body_bytes(body: &Body) -> usize {
    match body {
        Body::Text(text)
        | Body::Action(text)
        | Body::Notice(text)
        | Body::Topic(text)
        | Body::Reply { text, .. }
        | Body::Edit { text, .. } => text.len(),
        Body::Delete { reason, .. } => reason.len(),
        Body::Reaction { symbol, .. } => symbol.len(),
        Body::Unknown(bytes) => bytes.len(),
    }
}

/// Bytes of what an event has beside its fixed size.
fn bytes(event: &Event) -> usize {
    match event {
        Event::Delivered(post) => body_bytes(&post.body) + post.author.len() + size_of_val(&*post.deps),
        Event::Unsaid { body, reason, .. } => body_bytes(body) + reason.len(),
        Event::Welcomed { room, members, .. } => {
            let names = members.iter().map(|member| member.name.len()).sum::<usize>();
            room.len() + size_of_val(&**members) + names
        }
        Event::Held { author, waits_for_author, clock, .. } => {
            let names = [author, waits_for_author].into_iter().flatten();
            names.map(String::len).sum::<usize>() + clock.len() * size_of::<(MemberId, u64)>()
        }
        Event::Joined { name, .. } => name.len(),
        Event::Left { name, reason, .. } => name.len() + reason.len(),
        Event::Rejoined { reason, renamed, .. } => reason.len() + size_of_val(&**renamed),
        Event::Reconnecting { reason, .. } | Event::Refused { reason, .. } => reason.len(),
        Event::Trouble { message } => message.len(),
        Event::Stable(stable) => size_of_val(&*stable.behind),
        // The last one.
        Event::Ended(_) => 0,
        Event::Placed { .. } | Event::Resumed { .. } | Event::CatchingUp { .. } | Event::Gap { .. } => 0,
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

#[cfg(test)]
mod tests {
    use causerie_core::session::Post;
    use cbcast::MessageId;

    use super::*;

    #[test]
    fn whatever_a_body_is_filled_with_counts() {
        let target = MessageId::new(MemberId::new(0, 1), 1);
        let long = || "x".repeat(10_000);
        for body in [
            Body::Text(long()),
            Body::Action(long()),
            Body::Notice(long()),
            Body::Topic(long()),
            Body::Reply { to: target, text: long() },
            Body::Edit { of: target, text: long() },
            Body::Delete { of: target, reason: long() },
            Body::Reaction { to: target, symbol: long(), set: true },
            Body::Unknown(long().into()),
        ] {
            let said = Event::Delivered(Post {
                id: target,
                author: long(),
                body: body.clone(),
                own: false,
                position: None,
                time_millis: None,
                held_for: None,
                history: false,
                deps: vec![target; 1_000],
            });
            let bytes_of_it = 20_000 + 1_000 * size_of::<MessageId>();
            assert_eq!(bytes(&said), bytes_of_it, "{body:?}");
            let unsaid = Event::Unsaid { id: target, body, reason: long() };
            assert_eq!(bytes(&unsaid), 20_000);
        }
        let held = Event::Held {
            id: target,
            author: Some(long()),
            waits_for: target,
            waits_for_author: Some(long()),
            clock: cbcast::VectorClock::new(),
        };
        assert_eq!(bytes(&held), 20_000);
    }
}
