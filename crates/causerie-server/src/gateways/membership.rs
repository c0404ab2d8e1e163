//! The seat of one connection in a room: the member's presence, and what its room has running for it.

use std::sync::Arc;

use causerie_core::id::Position;
use causerie_core::room::Seat;
use cbcast::MemberId;

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

/// Has a room's pumps write for a reader, too, until it unfollows.
pub(super) fn follow(server: &Server, room: &Arc<HostedRoom>, reader: &Arc<Reader>) {
    if let Some(pump) = room.follow(reader) {
        let room = Arc::clone(room);
        server.spawn(async move { pump.run(&room).await });
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
