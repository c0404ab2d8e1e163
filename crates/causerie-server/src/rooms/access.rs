//! Access to rooms: who may do what there. Rooms that are not for everybody will be told apart here.

use crate::rooms::hosted::HostedRoom;

/// Somebody who asks for a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    /// Somebody of whom nothing is known, as everybody is.
    Anybody,
}

/// Right to something in a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Right {
    /// Sight of the room in lists.
    See,
    /// Reading what is said there, and who is in.
    Read,
    /// Membership.
    Join,
    /// Asking that it be closed, with what proves that this may be.
    Close,
}

/// Returns whether somebody has that right in a room.
pub(crate) fn may(who: Who, _room: &HostedRoom, right: Right) -> bool {
    match (who, right) {
        (Who::Anybody, Right::See | Right::Read | Right::Join | Right::Close) => true,
    }
}
