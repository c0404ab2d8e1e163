//! Refusals of a room.

use cbcast::{BroadcastError, ConfigError, MemberId, MembershipError, WireError};
use thiserror::Error;

use crate::content::body::BodyError;
use crate::content::name::{Name, NameError};
use crate::id::Position;

/// Error of joining. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum JoinError {
    /// Text that is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Somebody here has it, or one that reads the same ([`Reading`](crate::content::reading::Reading)).
    #[error("{}; '{suggestion}' is free", taken(.name, .like))]
    NameTaken {
        /// Name that was asked for.
        name: Name,
        /// Name that somebody has.
        like: Name,
        /// Name that is free.
        suggestion: Name,
    },
    /// No more members fit.
    #[error("the room is full at {limit} members")]
    Full {
        /// [`members_max`](super::RoomSettings::members_max).
        limit: usize,
    },
    /// Full storage: nothing can be stored at the moment.
    #[error("no room left to store messages, so nobody can join at the moment; try again later")]
    StorageFull,
    /// Lockdown: nobody becomes a member ([`admits`](super::RoomSettings::admits)).
    #[error("the operator lets nobody new in at the moment; try again later")]
    Lockdown,
    /// The room's host cannot say so.
    #[error("nobody can be let in: {0}")]
    NotSaid(MembershipError),
}

/// Tells that `name` cannot be had beside `like`.
fn taken(name: &Name, like: &Name) -> String {
    if name.same_as(like) {
        format!("the name '{name}' is taken")
    } else {
        format!("the name '{name}' reads like '{like}', who is here")
    }
}

/// Error of resuming. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ResumeError {
    /// Unknown member, or a token that is not its.
    #[error("that is not the token of that member")]
    WrongToken,
    /// Unknown member, or a key that is not its.
    #[error("that is not the key of that member")]
    WrongKey,
    /// Departed member: it has been declared left.
    #[error("the member has left, or was away for too long")]
    Expired {
        /// Greatest number taken of its messages.
        taken: u64,
    },
    /// Member that knows more than the room does. Its membership is over.
    #[error("this server lacks messages that you have seen: it was restored from an older copy")]
    Diverged {
        /// Greatest number taken of its messages.
        taken: u64,
    },
}

/// Refusal of a native member's message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Number of the message, if it could be read.
    pub seq: Option<u64>,
    /// Finality: the message can never be taken, and the membership has ended.
    pub is_final: bool,
    /// Explanation for people.
    pub reason: String,
}

/// Error of speaking as a hosted member. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum HostedSayError {
    /// Member that is not in the room (any more).
    #[error("you are not in this room")]
    NotHere,
    /// Body that is too long, or may not be said by this member.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Its packet cannot be made.
    #[error(transparent)]
    Packet(BroadcastError),
    /// Full storage: nothing can be stored at the moment.
    #[error("no room left to store messages, so this was not said; try again later")]
    StorageFull,
}

/// Error of making a room of what was stored.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RestoreError {
    /// The checkpoint cannot be read.
    #[error("the state of the room cannot be read: {0}")]
    Checkpoint(#[from] WireError),
    /// The checkpoint has more members than a room can have.
    #[error("the state of the room cannot be: {0}")]
    Group(#[from] ConfigError),
    /// The checkpoint does not say who admits.
    #[error("the state of the room has no host")]
    NoHost,
    /// Somebody is in of whom the log says nothing.
    #[error("the log does not say how {member} came in")]
    Member {
        /// Member that is in.
        member: MemberId,
    },
    /// A record does not follow from those before it.
    #[error("the record at position {position} does not fit to those before it")]
    Record {
        /// Place of the record.
        position: Position,
    },
}
