//! A room, as an application sees it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use causerie_core::content::body::Body;
use causerie_core::content::text::visible;
use causerie_core::key::KeyPair;
use causerie_core::link::Disturbance;
use causerie_core::session::{End, Event, HeldPost, SayError, Session, SessionConfig};
use causerie_core::wire::{ErrorCode, MemberInfo};
use cbcast::{MemberId, MessageId};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::connection::OpenError;
use crate::driver::{self, Driver};
use crate::kept::Kept;
use crate::shared::SharedSession;
use crate::trust::{Security, TrustError};

/// Error of a question to a server.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// There is no connection.
    #[error(transparent)]
    Io(io::Error),
    /// The server is not trusted, and was sent nothing.
    #[error(transparent)]
    Untrusted(TrustError),
    /// The server said no.
    #[error("{}", visible(message))]
    Refused {
        /// Kind of the refusal.
        code: ErrorCode,
        /// Words of the server, for people.
        message: String,
    },
}

impl From<OpenError> for ConnectError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => Self::Io(error),
            OpenError::Untrusted(error) => Self::Untrusted(error),
        }
    }
}

/// Error of joining a room.
#[derive(Debug, Error)]
pub enum JoinError {
    /// There is no connection.
    #[error(transparent)]
    Io(io::Error),
    /// The server is not trusted, and was sent nothing.
    #[error(transparent)]
    Untrusted(TrustError),
    /// The server said no, or broke the protocol.
    #[error(transparent)]
    Ended(#[from] End),
}

impl From<OpenError> for JoinError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => Self::Io(error),
            OpenError::Untrusted(error) => Self::Untrusted(error),
        }
    }
}

/// Options of joining a room.
#[derive(Clone, Debug)]
pub struct RoomOptions {
    server: String,
    security: Security,
    session: SessionConfig,
    disturbance: Option<Disturbance>,
    retry_max: Duration,
    events_max: usize,
}

impl RoomOptions {
    /// Join `room` on the server at `HOST:PORT` as `name`.
    #[must_use]
    pub fn new(server: &str, room: &str, name: &str) -> Self {
        Self {
            server: server.into(),
            security: Security::new(),
            session: SessionConfig::new(room, name, fresh_seed),
            disturbance: None,
            retry_max: driver::RETRY_MAX,
            events_max: 1_024,
        }
    }

    /// Protection of the connection. Default: TLS unless the server is on this machine, by the system's authorities, see
    /// [`Security::new`]. Nobody is asked about a server again once the room is joined.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Create the room if it does not exist. Default: no.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.session.create = create;
        self
    }

    /// The key that may close the room if it is created, see [`own_key`](crate::own_key). Default: none, and only the
    /// operator may.
    #[must_use]
    pub fn maker(mut self, key: Option<KeyPair>) -> Self {
        self.session.maker = key;
        self
    }

    /// Ask the server up to where members have delivered: [`Event::Stable`], from the first own message on. Default: no.
    #[must_use]
    pub fn follow_stable(mut self, follow: bool) -> Self {
        self.session.follows_stable = follow;
        self
    }

    /// Own messages that may be on their way at once. Default 1,000.
    #[must_use]
    pub fn pending_max(mut self, pending_max: usize) -> Self {
        self.session.pending_max = pending_max;
        self
    }

    /// Disturb the connection on purpose: messages are delayed, lost, repeated and overtake each other, in both
    /// directions, and are repaired. For seeing causal order at work.
    #[must_use]
    pub fn disturbance(mut self, disturbance: Disturbance) -> Self {
        self.session.heartbeat = Some(HEARTBEAT_ON_BAD_LINKS);
        self.session.seed = disturbance.seed;
        // What is merely late should not be asked for.
        self.session.repair_delay = (disturbance.delay_max * 2).max(Duration::from_millis(50));
        self.disturbance = Some(disturbance);
        self
    }

    /// The longest pause before coming back to a server that is away: the first is 200 ms, and each is twice the one
    /// before. Default 10 s.
    #[must_use]
    pub fn retry_max(mut self, retry_max: Duration) -> Self {
        self.retry_max = retry_max;
        self
    }

    /// Connects and joins.
    ///
    /// # Errors
    /// [`JoinError::Io`] if there is no server there; [`JoinError::Untrusted`] if it is not known to be the right one;
    /// [`JoinError::Ended`] if it refuses, for example because the
    /// name is taken (the error tells one that is free) or the room does not exist. Later breaks of the
    /// connection are mended in the background and are not errors. If the server is not trusted any more then, the session
    /// [ends](End::Untrusted).
    pub async fn join(self) -> Result<Room, JoinError> {
        let session = Session::new(self.session.clone());
        self.run(session, None, false, None).await
    }

    /// Joins as [`join`](Self::join) does, as the member that the file tells of, if there is one, and with everything in it from
    /// now on that must outlive this process. What cannot be read is set aside, see [`Room::not_restored`].
    ///
    /// Who is a member already need not reach the server for that: the first event is then
    /// [`Event::Reconnecting`], and what is said meanwhile is kept.
    ///
    /// # Errors
    /// As [`join`](Self::join). The file stays as it is, unless nothing is in it that is still to be said.
    pub async fn join_and_keep(mut self, mut kept: Kept) -> Result<Room, JoinError> {
        self.session.acknowledges = true;
        let (mut is_member, mut not_restored) = (false, None);
        let session = match kept.take_found() {
            None => Session::new(self.session.clone()),
            Some(found) => match Session::restore(self.session.clone(), &found) {
                Ok(session) => {
                    is_member = true;
                    session
                }
                Err(why) => {
                    let aside = kept.set_aside().map_err(JoinError::Io)?;
                    let aside = aside.display();
                    not_restored = Some(format!("what was kept cannot be used: {why}; it is in {aside} now"));
                    Session::new(self.session.clone())
                }
            },
        };
        self.run(session, Some(kept), is_member, not_restored).await
    }

    async fn run(
        self,
        session: Session,
        kept: Option<Kept>,
        is_member: bool,
        not_restored: Option<String>,
    ) -> Result<Room, JoinError> {
        let shared = Arc::new(SharedSession::new(session));
        let (events_in, events) = mpsc::channel(self.events_max);
        let (place, shared_too) = ((self.server, self.security), Arc::clone(&shared));
        let mut driver = Driver::new(place, self.disturbance, shared_too, events_in, self.retry_max, kept);
        if !is_member {
            driver.connect_first().await?;
        }
        tokio::spawn(driver.run());
        let acknowledges = self.session.acknowledges;
        let speaker = Speaker { shared };
        let mut room = Room { speaker, events, first: None, not_restored, acknowledges, taken: 0 };
        let first = room.events.recv().await;
        first.iter().for_each(|event| room.speaker.shared.takes(event));
        match first {
            Some(Event::Ended(end)) => match room.speaker.shared.take_untrusted() {
                Some(error) => Err(JoinError::Untrusted(error)),
                None => Err(end.into()),
            },
            Some(Event::Reconnecting { reason, .. }) if !is_member => {
                Err(JoinError::Io(io::Error::new(io::ErrorKind::ConnectionAborted, reason)))
            }
            first => {
                room.first = first;
                Ok(room)
            }
        }
    }
}

/// Time after which a client on a disturbed link tells its clock and repeats itself.
const HEARTBEAT_ON_BAD_LINKS: Duration = Duration::from_millis(500);

fn fresh_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system gives random bytes");
    seed
}

/// A room that you are a member of. Dropping it breaks the connection without a farewell: the server keeps the
/// place for a while; [`leave`](Self::leave) says goodbye.
pub struct Room {
    speaker: Speaker,
    events: mpsc::Receiver<Event>,
    first: Option<Event>,
    not_restored: Option<String>,
    acknowledges: bool,
    /// Number of events that have been taken, and not acknowledged yet.
    taken: usize,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

impl Room {
    /// The next thing that happened; the first is [`Event::Welcomed`], the last [`Event::Ended`], and then `None`.
    /// Cancelling it loses nothing. While nobody asks, at most 1,024 events or 4 MiB wait here; the rest wait at the server.
    /// Asking says that the one before is done with: one that is [kept](RoomOptions::join_and_keep) has it no more.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.acknowledge();
        self.further_event().await
    }

    /// Returns the next event without saying that the one before is done with: for who gathers some before it shows them. What is
    /// asked for by [`next_event`](Self::next_event) says it of all.
    pub async fn further_event(&mut self) -> Option<Event> {
        let event = match self.first.take() {
            Some(event) => Some(event),
            None => {
                let event = self.events.recv().await;
                event.iter().for_each(|event| self.speaker.shared.takes(event));
                event
            }
        };
        self.taken += usize::from(event.is_some());
        event
    }

    fn acknowledge(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if self.acknowledges && taken > 0 {
            let mut session = self.speaker.shared.session();
            (0..taken).for_each(|_| session.acknowledge());
            drop(session);
            if self.events.is_empty() {
                // What is kept can follow.
                self.speaker.shared.changed.notify_one();
            }
        }
    }

    /// Returns why the membership that was kept could not be taken up again, if so, for people.
    #[must_use]
    pub fn not_restored(&self) -> Option<&str> {
        self.not_restored.as_deref()
    }

    /// Says a text: delivered here at once, on its way to the others as soon as there is a connection. Its id,
    /// unless the room has to be joined again first.
    ///
    /// # Errors
    /// [`SayError`]; nothing changed. Where too much is on its way, wait for [`Event::Placed`] of earlier ones.
    pub fn say(&self, text: &str) -> Result<Option<MessageId>, SayError> {
        self.speaker.say(text)
    }

    /// Says as [`say`](Self::say) does, for all that can be said: replies, edits, deletions, reactions, topics.
    ///
    /// # Errors
    /// [`SayError`]; nothing changed.
    pub fn send(&self, body: &Body) -> Result<Option<MessageId>, SayError> {
        self.speaker.send(body)
    }

    /// A handle to speak and ask with from elsewhere.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        self.speaker.clone()
    }

    /// Says goodbye, once everything said has been taken: then [`Event::Ended`] with [`End::Left`] comes.
    pub fn leave(&self) {
        self.speaker.leave();
    }
}

impl std::ops::Deref for Room {
    type Target = Speaker;

    fn deref(&self) -> &Speaker {
        &self.speaker
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.acknowledge();
        self.events.close();
        self.speaker.shared.changed.notify_one();
    }
}

/// Speaks in a room, and answers questions about it. Cheap to clone.
#[derive(Clone)]
pub struct Speaker {
    shared: Arc<SharedSession>,
}

impl std::fmt::Debug for Speaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speaker").finish_non_exhaustive()
    }
}

impl Speaker {
    /// See [`Room::say`].
    ///
    /// # Errors
    /// [`SayError`]; nothing changed.
    pub fn say(&self, text: &str) -> Result<Option<MessageId>, SayError> {
        self.send(&Body::Text(text.into()))
    }

    /// See [`Room::send`].
    ///
    /// # Errors
    /// [`SayError`]; nothing changed.
    pub fn send(&self, body: &Body) -> Result<Option<MessageId>, SayError> {
        let said = self.shared.session().say(self.shared.now(), body);
        self.shared.changed.notify_one();
        said
    }

    /// See [`Room::leave`].
    pub fn leave(&self) {
        self.shared.session().leave();
        self.shared.changed.notify_one();
    }

    /// Returns who you are, while you are a member.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.shared.session().member()
    }

    /// Returns who is in, in order of joining, as delivered here.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        self.shared.session().members()
    }

    /// Returns who is in, in order of joining, and how many messages of each have been delivered here.
    #[must_use]
    pub fn vector(&self) -> Vec<(MemberInfo, u64)> {
        self.shared.session().vector()
    }

    /// Returns what has arrived here before its causes, and what it waits for.
    #[must_use]
    pub fn held(&self) -> Vec<HeldPost> {
        self.shared.session().held(self.shared.now())
    }

    /// Own messages that the server has not placed yet.
    #[must_use]
    pub fn on_their_way(&self) -> usize {
        self.shared.session().on_their_way()
    }
}
