//! Writing to native clients: what was answered, then the room's log, until a pump takes over.

use std::io;

use causerie_core::wire::{ErrorCode, ErrorFrame, ServerFrame};
use tokio::sync::watch;

use super::session::{NativeMembership, NativeSession};
use crate::fanout::form::FrameRun;
use crate::gateways::membership::{SeatLost, has_seat, look_after, patiently};
use crate::journal::writer::StoreNotice;
use crate::net::outbox::{self, write_all};
use crate::rooms::error::Unreadable;

/// Runs of the log written at once.
const SLICES_MAX: usize = 64;

/// Progress of a session that writes.
pub(super) enum Written {
    /// More is to be done at once.
    More,
    /// All there is. Of what changes in the room it has to be told, if it waits for its member's *Left*.
    All(Option<watch::Receiver<()>>),
    /// The last words.
    Last,
}

impl NativeSession<'_> {
    /// Writes until the connection is to end.
    pub(super) async fn write(&self) -> io::Result<()> {
        let mut news = self.server.writer.news();
        loop {
            // Apart: it is large, and while the pumps write for it a session only waits.
            let mut changes = match Box::pin(self.write_what_there_is()).await? {
                Written::More => continue,
                Written::Last => return Ok(()),
                Written::All(changes) => changes,
            };
            let changed = async {
                match &mut changes {
                    Some(changes) => drop(changes.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.outbox.filled() => {}
                () = changed => {}
                notice = news.next(), if self.membership().is_some() => {
                    let code = match notice {
                        StoreNotice::Full(_) => ErrorCode::StorageFull,
                        StoreNotice::Again => ErrorCode::StorageAgain,
                    };
                    self.error(ErrorFrame::new(code, notice.to_string()));
                }
                () = self.server.stop.cancelled() => {}
            }
        }
    }

    pub(super) async fn write_what_there_is(&self) -> io::Result<Written> {
        // In this order: a membership is made after its welcome was put into the outbox, and goes after it.
        let membership = self.current();
        if let Some(membership) = &membership {
            let rest = membership.reader.take_over();
            self.patiently(write_all(&self.stream, vec![rest], Some(self.outbox.charge()))).await?;
            // Before anything is read for it: nothing is kept for who takes nothing.
            self.patiently(self.stream.writable()).await?;
        }
        let taken = self.outbox.take();
        let said = write_all(&self.stream, taken.slices, None);
        if taken.is_last {
            tokio::time::timeout(outbox::LAST_WORDS, said).await.unwrap_or(Ok(()))?;
            return Ok(Written::Last);
        }
        self.patiently(said).await?;
        self.outbox.written();
        let mut changes = None;
        if let Some(membership) = &membership {
            // Before the log is read: what comes after that ends the wait.
            changes = membership.farewell.map(|_| membership.room.subscribe());
            if self.write_log(membership).await? {
                return Ok(Written::More);
            }
        }
        if self.server.stop.is_cancelled() {
            self.error(ErrorFrame::fatal(ErrorCode::ShuttingDown, "the server is shutting down"));
            return Ok(Written::More);
        }
        Ok(Written::All(changes))
    }

    /// Writes for as long as it takes: see [`patiently`].
    pub(super) async fn patiently(&self, write: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let has_seat = || self.current().is_none_or(|m| has_seat(&m.room, m.seat));
        let void = || Err(io::Error::other("the client reads nothing, and has no seat any more"));
        patiently(write, has_seat).await.unwrap_or_else(void)
    }

    /// Writes what lies behind the cursor. Whether there is more to do at once; if not, the pump goes on.
    pub(super) async fn write_log(&self, membership: &NativeMembership) -> io::Result<bool> {
        let NativeMembership { room, seat, reader, leaving, .. } = membership;
        let cursor = reader.cursor();
        let mut farewell = membership.farewell;
        let seating = room.tail().seating;
        if membership.seating != Some(seating) {
            let looked = look_after(room, Some(*seat)).map_err(|why| match why {
                SeatLost::RoomClosed => ErrorFrame::fatal(ErrorCode::RoomClosed, why.to_string()),
                SeatLost::Superseded => ErrorFrame::fatal(ErrorCode::Superseded, why.to_string()),
            });
            match looked {
                Ok(has_left) => farewell = has_left.or(farewell),
                Err(lost) => {
                    self.error(lost);
                    return Ok(true);
                }
            }
            if let Some(membership) = self.membership().as_mut() {
                (membership.seating, membership.farewell) = (Some(seating), farewell);
            }
        }
        match farewell {
            Some((left_at, taken)) if cursor >= left_at => {
                match leaving {
                    true => {
                        self.send(&ServerFrame::Parted { taken });
                        self.outbox.finish();
                    }
                    false => {
                        let error = ErrorFrame::fatal(ErrorCode::Expired, "the member has left");
                        self.error(ErrorFrame { taken: Some(taken), ..error });
                    }
                }
                return Ok(true);
            }
            _ => {}
        }
        match room.read(cursor, SLICES_MAX).await {
            Ok((slices, last)) => {
                if slices.is_empty() {
                    return Ok(match (farewell, membership.farewell) {
                        (None, _) => !reader.hand_over(&**room, seating),
                        // The session waits itself for the member's *Left*, and from now on is told of changes.
                        (Some(_), told) => told.is_none(),
                    });
                }
                reader.write(&FrameRun { slices, last })?;
                Ok(true)
            }
            Err(gap @ Unreadable::Gap { .. }) => {
                let message = format!("{gap}; resume to go on behind them");
                self.error(ErrorFrame::fatal(ErrorCode::TooFarBehind, message));
                Ok(true)
            }
            Err(failed @ Unreadable::Failed(_)) => Err(io::Error::other(failed)),
        }
    }
}
