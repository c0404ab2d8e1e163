//! Reasons why a call was refused. Each type says what has changed when it is returned: nothing that orders.

use core::fmt;

use thiserror::Error;

use crate::id::{MemberId, MessageId};
use crate::message::DecodeError;

/// Unit of a limit that was met.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Unit {
    /// Messages, or places for them.
    Messages,
    /// Bytes of packets.
    Bytes,
    /// Bytes of the packets of one member.
    BytesOfMember,
    /// Places for messages of origins that are not known.
    EarlyMessages,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::BytesOfMember => "bytes of one member",
            Self::EarlyMessages => "messages of unknown origins",
        })
    }
}

/// Reason why an arriving message was refused. It has not been taken, and is counted in
/// [`Stats::refused`](crate::Stats::refused). Beside that nothing changed, except with
/// [`HoldbackFull`](Self::HoldbackFull), and where the message is a *Left* that lets more of a frozen member through.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The link may not speak for this member. Tell the link, and drop it.
    #[error("this link may not speak for member {member}")]
    NotTheirs {
        /// Member that the message says it is from.
        member: MemberId,
    },
    /// The sender is a local member, and this is a message that it has not broadcast here.
    #[error("{id} is from a member that lives here and has not sent it")]
    OwnFuture {
        /// The message.
        id: MessageId,
    },
    /// It depends on a message that its author cannot have delivered, as it was not broadcast or passed on
    /// from here yet.
    #[error("{id} depends on {dependency}, which does not exist yet")]
    FromTheFuture {
        /// The message.
        id: MessageId,
        /// Message that it claims to have seen.
        dependency: MessageId,
    },
    /// Nobody of the sender's origin can be admitted: its host is not a member here. (Or the sender is that host.)
    #[error("{member} is of an origin whose host is not a member")]
    UnknownOrigin {
        /// The sender.
        member: MemberId,
    },
    /// The link speaks for a member that has left, and this is from it: nobody takes it. The other end is told by a
    /// [`Control::Departed`](crate::Control::Departed), which is to be sent over the same link.
    #[error("{member} has left")]
    Departed {
        /// The sender.
        member: MemberId,
    },
    /// Only hosts say *Joined* and *Left*, and not over a link that speaks for one member.
    #[error("{id} announces members, which its link may not")]
    NotHost {
        /// The message.
        id: MessageId,
    },
    /// More dependencies than there can be members.
    #[error("{id} has more than {limit} dependencies")]
    TooManyDependencies {
        /// The message.
        id: MessageId,
        /// [`Config::members_known_max`](crate::Config::members_known_max).
        limit: usize,
    },
    /// The packet is longer than this group takes.
    #[error("{id} has {length} bytes, the limit is {limit}")]
    TooLong {
        /// The message.
        id: MessageId,
        /// Its packet's length.
        length: usize,
        /// [`Config::packet_bytes_max`](crate::Config::packet_bytes_max).
        limit: usize,
    },
    /// No room to hold it back. The same bytes may come again later; that the message and its dependencies exist has
    /// been noted, so repair asks for them.
    #[error("the hold-back queue is full at {limit} {unit}")]
    HoldbackFull {
        /// Limit that was met.
        limit: usize,
        /// Unit that it counts.
        unit: Unit,
    },
    /// Too many changes wait to be stored ([`Group::persisted`](crate::Group::persisted)). Nothing changed; the same
    /// bytes may come again later.
    #[error("{limit} changes are not stored yet")]
    Unpersisted {
        /// [`Config::unpersisted_max`](crate::Config::unpersisted_max).
        limit: usize,
    },
    /// Too far ahead of its sender's messages that are here. The same bytes may come again later.
    #[error("{id} is more than {limit} messages ahead of what has been delivered of its sender")]
    TooFarAhead {
        /// The message.
        id: MessageId,
        /// [`Config::ahead_max`](crate::Config::ahead_max).
        limit: u64,
    },
}

impl ReceiveError {
    /// Returns whether the same bytes can never be taken. Where a member speaks for itself, its membership should end
    /// then, as the hole in its numbers would block it for ever. Otherwise: the same bytes again, later.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::HoldbackFull { .. } | Self::Unpersisted { .. } | Self::TooFarAhead { .. })
    }
}

/// Reason why a local member could not broadcast. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The sender is not a local member of the group (any more).
    #[error("{member} is not a local member of this group")]
    NotLocal {
        /// The sender.
        member: MemberId,
    },
    /// The others have parted with the sender, as [`Output::Departed`](crate::Output::Departed) has told: whatever it
    /// says is dropped by them. Join anew, and say it again under the new id.
    #[error("{member} has left, as the others say")]
    Departed {
        /// The sender.
        member: MemberId,
    },
    /// Others have messages of the sender that are not known here, as [`Output::Rollback`](crate::Output::Rollback) has
    /// told: the number would be given a second time. See [`Group::go_on`](crate::Group::go_on).
    #[error("others have messages of {member} up to {seq}, and this state may be older")]
    RolledBack {
        /// The sender.
        member: MemberId,
        /// The greatest number that others are known to have.
        seq: u64,
    },
    /// The sender's host is about to part with it, and nobody takes what it says any more. Broadcast again should that
    /// be called off.
    #[error("{member} is about to leave")]
    Leaving {
        /// The sender.
        member: MemberId,
    },
    /// Too much of what the sender has said is not stable yet. Broadcast again after the next
    /// [`Output::Stable`](crate::Output::Stable).
    #[error("{member} has {limit} {unit} unstable; {holder:?} has not acknowledged them")]
    WouldBlock {
        /// The sender.
        member: MemberId,
        /// Limit that was met.
        limit: usize,
        /// Unit that it counts.
        unit: Unit,
        /// One member that has acknowledged least.
        holder: Option<MemberId>,
    },
    /// Too many changes wait to be stored: say it again after [`Group::persisted`](crate::Group::persisted).
    #[error("{limit} changes are not stored yet")]
    Unpersisted {
        /// [`Config::unpersisted_max`](crate::Config::unpersisted_max).
        limit: usize,
    },
    /// The packet would be longer than the group takes.
    #[error("the message would have {length} bytes, the limit is {limit}")]
    TooLong {
        /// Length that the packet would have.
        length: usize,
        /// [`Config::packet_bytes_max`](crate::Config::packet_bytes_max).
        limit: usize,
    },
    /// The message cannot be written down (a sequence number too far from a dependency's).
    #[error(transparent)]
    Unwritable(#[from] DecodeError),
}

/// Reason why a member could not be admitted or parted with. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MembershipError {
    /// This group has no host among its local members: others announce who comes and goes.
    #[error("this group does not host anybody")]
    NotHost,
    /// The member is not one that this host has admitted, or it has left.
    #[error("{member} is not a member admitted here")]
    NotAMember {
        /// Member concerned.
        member: MemberId,
    },
    /// The host is not parting with this member: it has not begun to, or *Left* has been said.
    #[error("{member} is not about to leave")]
    NotLeaving {
        /// Member concerned.
        member: MemberId,
    },
    /// The origin has a host, or had one.
    #[error("origin {origin} is taken")]
    OriginTaken {
        /// Origin concerned.
        origin: u32,
    },
    /// There is no room for another.
    #[error("the group is full at {limit} members")]
    Full {
        /// [`Config::members_max`](crate::Config::members_max).
        limit: usize,
    },
    /// The host could not say it.
    #[error(transparent)]
    Broadcast(#[from] BroadcastError),
}

/// Reason why a local member that was rolled back cannot go on yet. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RollbackError {
    /// It was not rolled back, has gone on, or is no local member (any more).
    #[error("{member} was not rolled back")]
    NotRolledBack {
        /// Member concerned.
        member: MemberId,
    },
    /// Others have these messages of it, which have not been delivered here. They are asked for.
    #[error("messages {from} to {to} of {member} have not come yet")]
    Missing {
        /// Member concerned.
        member: MemberId,
        /// The number of the first one.
        from: u64,
        /// The number of the last one.
        to: u64,
    },
    /// A member of a mesh does not go on under its id: nobody can tell what there is of it. It joins anew.
    #[error("{member} lives in a mesh, and joins anew")]
    Mesh {
        /// Member concerned.
        member: MemberId,
    },
    /// The host of a relay does not go on under its id: it takes a new origin.
    #[error("{member} is the host of a relay, and needs a new origin")]
    Host {
        /// Member concerned.
        member: MemberId,
    },
}
