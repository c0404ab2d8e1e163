//! The seat of one connection in a room: the member's presence, how long who reads slowly is waited for, what ends it, and
//! what its room has running for it.

use std::sync::Arc;
use std::time::Duration;

use causerie_core::id::Position;
use causerie_core::room::Seat;
use cbcast::MemberId;
use thiserror::Error;

use crate::fanout::form::Form;
use crate::fanout::reader::Reader;
use crate::rooms::hosted::HostedRoom;
use crate::rooms::stability;
use crate::server::Server;

/// A member's presence by one connection. It ends when this is dropped, so however the connection ends: with the session's
/// last step, an error of its socket, a panic, or in the middle of an answer that nobody waits for any more.
pub(crate) struct Presence {
    hosted: Arc<HostedRoom>,
    member: Occupant,
}

enum Occupant {
    /// It lives here, and leaves with its connection.
    Hosted(MemberId),
    /// It may come back: its grace begins.
    Seated(Seat),
}

impl Presence {
    pub(crate) fn hosted(room: &Arc<HostedRoom>, member: MemberId) -> Self {
        Self { hosted: Arc::clone(room), member: Occupant::Hosted(member) }
    }

    pub(crate) fn seated(room: &Arc<HostedRoom>, seat: Seat) -> Self {
        Self { hosted: Arc::clone(room), member: Occupant::Seated(seat) }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Whatever panicked in the room itself, a second panic on the way out would end the server.
        if self.hosted.is_poisoned() {
            return;
        }
        let parted = self.hosted.act(|room, now| match self.member {
            Occupant::Hosted(member) => room.part(now, member, ""),
            Occupant::Seated(seat) => room.disconnected(now, seat),
        });
        parted.told_by_its_record();
    }
}

/// Time that a client that takes nothing is waited for before it is looked whether it still has a seat.
const STUCK: Duration = Duration::from_secs(2);

/// Writes for as long as it takes, while the connection still has a seat to write for: a client that reads slowly is waited
/// for, but not once it has resumed elsewhere or its room is gone. `None`: then it is told nothing, as it does not read.
pub(super) async fn patiently<T>(write: impl Future<Output = T>, has_seat: impl Fn() -> bool) -> Option<T> {
    let mut write = std::pin::pin!(write);
    loop {
        tokio::select! {
            biased;
            done = &mut write => return Some(done),
            () = tokio::time::sleep(STUCK) => {
                if !has_seat() {
                    return None;
                }
            }
        }
    }
}

/// Returns whether a seat is still one. Seats are not stored.
pub(super) fn has_seat(room: &HostedRoom, seat: Seat) -> bool {
    room.peek_unstored(|room| !room.is_closed() && room.is_seated(seat))
}

/// Reason why a connection has no seat any more.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum SeatLost {
    #[error("the room was closed")]
    RoomClosed,
    #[error("the member has resumed on another connection")]
    Superseded,
}

/// The position of a member's *Left*, behind which it is told that it has left, and how much was taken of it.
pub(super) type Farewell = (Position, u64);

/// Looks whether a connection still has its seat, or may read along if it has none. Returns the farewell of a member that
/// has left.
///
/// # Errors
/// [`SeatLost`].
pub(super) fn look_after(room: &HostedRoom, seat: Option<Seat>) -> Result<Option<Farewell>, SeatLost> {
    // Seats are not stored; a farewell is told behind its *Left*.
    room.peek_unstored(|room| {
        if room.is_closed() {
            return Err(SeatLost::RoomClosed);
        }
        match seat {
            Some(seat) if !room.is_present(seat.member) => {
                Ok(Some(room.farewell(seat.member).unwrap_or((room.position(), 0))))
            }
            Some(seat) if !room.is_seated(seat) => Err(SeatLost::Superseded),
            _ => Ok(None),
        }
    })
}

/// Has a room's pumps write for a reader in a form, too, until it unfollows.
pub(super) fn follow<F: Form>(
    server: &Arc<Server>,
    room: &Arc<HostedRoom>,
    reader: &Arc<Reader>,
    form: impl FnOnce() -> F,
) {
    if let Some(pump) = room.follow::<F>(reader) {
        let (room, form, serving) = (Arc::clone(room), form(), Arc::clone(server));
        server.spawn(async move {
            let written = |member, position| acknowledge(&serving, &room, member, position);
            pump.run(&room, form, written).await;
        });
    }
}

/// A reader that a room's pumps write for as long as this is there.
pub(super) struct Followed {
    room: Arc<HostedRoom>,
    pub(super) reader: Arc<Reader>,
}

impl Followed {
    pub(super) fn new<F: Form>(
        server: &Arc<Server>,
        room: &Arc<HostedRoom>,
        reader: Arc<Reader>,
        form: impl FnOnce() -> F,
    ) -> Self {
        follow(server, room, &reader, form);
        Self { room: Arc::clone(room), reader }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.room.unfollow(&self.reader);
    }
}

/// Notes that a member has delivered the room's log up to there.
pub(super) fn acknowledge(server: &Server, room: &Arc<HostedRoom>, member: MemberId, position: Position) {
    if room.stability.acknowledge(member, position) {
        tell_followers(server, room);
    }
}

/// Has a reader be told from now on up to where members have delivered.
pub(super) fn follow_stable(server: &Server, room: &Arc<HostedRoom>, reader: &Arc<Reader>) {
    if room.follow_stable(reader) {
        tell_followers(server, room);
    }
}

/// Tells those who follow what is stable, in a while.
fn tell_followers(server: &Server, room: &Arc<HostedRoom>) {
    let (room, stop) = (Arc::clone(room), server.stop.clone());
    server.spawn(async move {
        if stop.run_until_cancelled(tokio::time::sleep(stability::PAUSE)).await.is_some() {
            room.tell_followers();
        }
    });
}
