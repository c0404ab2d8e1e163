//! The presence of a member in a room, bound to the life of its connection.

use std::sync::Arc;

use causerie_core::room::Seat;
use cbcast::MemberId;

use crate::rooms::hosted::HostedRoom;

/// A member's presence by one connection. It ends when this is dropped, so however the connection ends: with the session's
/// last step, an error of its socket, a panic, or in the middle of an answer that nobody waits for any more.
pub(crate) struct Presence {
    hosted: Arc<HostedRoom>,
    member: Member,
}

enum Member {
    /// It lives here, and leaves with its connection.
    Hosted(MemberId),
    /// It may come back: its grace begins.
    Seated(Seat),
}

impl Presence {
    pub(crate) fn hosted(room: &Arc<HostedRoom>, member: MemberId) -> Self {
        Self { hosted: Arc::clone(room), member: Member::Hosted(member) }
    }

    pub(crate) fn seated(room: &Arc<HostedRoom>, seat: Seat) -> Self {
        Self { hosted: Arc::clone(room), member: Member::Seated(seat) }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Whatever panicked in the room itself, a second panic on the way out would end the server.
        if self.hosted.is_poisoned() {
            return;
        }
        self.hosted.act(|room, now| match self.member {
            Member::Hosted(member) => room.part(now, member, ""),
            Member::Seated(seat) => room.disconnected(now, seat),
        });
    }
}
