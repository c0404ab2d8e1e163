//! A session of a native client: its connection, its membership, and what it says beside the log.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use causerie_core::content::text::visible;
use causerie_core::key::Challenge;
use causerie_core::room::Seat;
use causerie_core::wire::{ErrorCode, ErrorFrame, ServerFrame};
use tokio::time::Instant;
use tracing::debug;

use crate::fanout::reader::Reader;
use crate::gateways::membership::{Farewell, Presence};
use crate::net::addresses::{TooOften, Visitor};
use crate::net::outbox::Outbox;
use crate::net::stream::Stream;
use crate::rooms::hosted::HostedRoom;
use crate::server::Server;

/// One membership and where its connection is in the log.
#[derive(Clone)]
pub(super) struct NativeMembership {
    pub(super) room: Arc<HostedRoom>,
    pub(super) seat: Seat,
    pub(super) reader: Arc<Reader>,
    pub(super) leaving: bool,
    /// Seating of the tail when this was last compared with the room, if it was.
    pub(super) seating: Option<u64>,
    /// The member has left.
    pub(super) farewell: Option<Farewell>,
}

pub(super) struct NativeSession<'a> {
    pub(super) server: &'a Arc<Server>,
    pub(super) peer: SocketAddr,
    pub(super) visitor: &'a Visitor,
    pub(super) stream: Arc<Stream>,
    pub(super) outbox: Arc<Outbox>,
    /// Challenge that this connection's keys sign, once there was a hello.
    pub(super) challenge: OnceLock<Challenge>,
    pub(super) membership: Mutex<Option<NativeMembership>>,
    /// Presence of the member, until the connection ends.
    pub(super) presence: Mutex<Option<Presence>>,
    /// Since when observations are counted, and how many they are.
    pub(super) observed: Mutex<(Instant, usize)>,
}

impl Drop for NativeSession<'_> {
    fn drop(&mut self) {
        self.stop_following();
    }
}

impl<'a> NativeSession<'a> {
    pub(super) fn new(
        server: &'a Arc<Server>,
        peer: SocketAddr,
        visitor: &'a Visitor,
        stream: Arc<Stream>,
    ) -> Self {
        Self {
            server,
            peer,
            visitor,
            stream,
            outbox: Arc::new(Outbox::new(server.memory.open(peer.ip()))),
            challenge: OnceLock::new(),
            membership: Mutex::new(None),
            presence: Mutex::new(None),
            observed: Mutex::new((Instant::now(), 0)),
        }
    }
}

impl NativeSession<'_> {
    pub(super) fn membership(&self) -> MutexGuard<'_, Option<NativeMembership>> {
        self.membership.lock().expect("nothing panics while holding it")
    }

    /// Before anything is waited for: the connection may end meanwhile.
    pub(super) fn begin_presence(&self, room: &Arc<HostedRoom>, seat: Seat) {
        *self.presence() = Some(Presence::seated(room, seat));
    }

    pub(super) fn presence(&self) -> MutexGuard<'_, Option<Presence>> {
        self.presence.lock().expect("nothing panics while holding it")
    }

    pub(super) fn current(&self) -> Option<NativeMembership> {
        self.membership().clone()
    }

    /// The membership has no connection any more.
    pub(super) fn stop_following(&self) {
        if let Some(membership) = self.membership().take() {
            membership.room.unfollow(&membership.reader);
        }
        drop(self.presence().take());
    }

    pub(super) fn send(&self, frame: &ServerFrame) {
        let bytes = self.outbox.push(|out| frame.encode(out));
        self.visitor.made(bytes);
    }

    pub(super) fn error(&self, error: ErrorFrame) {
        let fatal = error.fatal;
        if fatal {
            debug!("{}: {}", self.peer, visible(&error.message));
        }
        self.send(&ServerFrame::Error(error));
        if fatal {
            self.outbox.finish();
        }
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.challenge.get().is_some()
    }

    pub(super) fn no_hello(&self) {
        self.error(ErrorFrame::fatal(ErrorCode::Unexpected, "the first frame must be a hello"));
    }

    pub(super) fn storage_full(&self, why: &str) {
        self.error(ErrorFrame::new(ErrorCode::StorageFull, why));
    }

    pub(super) fn unexpected(&self, what: &str) {
        self.error(ErrorFrame::new(ErrorCode::Unexpected, format!("{what} does not fit here")));
    }

    pub(super) fn too_often(&self, why: TooOften) {
        self.error(ErrorFrame::new(ErrorCode::TooOften, why.to_string()));
    }
}
