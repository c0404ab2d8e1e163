//! Steps that a group has its caller take, and links that messages come over.

use crate::clock::VectorClock;
use crate::control::Packet;
use crate::id::{MemberId, MessageId};
use crate::message::Message;
use crate::repair::MissingRange;
use crate::time::Time;

/// Process at the other end of the link that a message came over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    /// A client that speaks for this member and nobody else, and that hears of the group through here only: its own
    /// messages, no *Joined*, no *Left*, and nothing that depends on what has not been delivered here.
    Member(MemberId),
    /// A process that passes on what others have said: a relay, a peer that repairs.
    Relay,
    /// A process of the group in a mesh: it speaks for this member, passes on what others have said, and its
    /// clock acknowledges. Where several members live in a process its links speak for one of them, always the same.
    Peer(MemberId),
}

/// Next thing for the caller to do. Drain [`Group::poll_output`](crate::Group::poll_output) after every call that takes `&mut`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send this. All that is to be sent comes as this: what local members broadcast, what somebody has asked for again,
    /// clocks and requests. A relay that appends every delivery to a log which the others read needs none of it: what
    /// its local members say is [delivered](Self::Deliver) as well.
    Transmit(Transmit),
    /// Hand this to the application: all its causes have been.
    Deliver {
        /// The message.
        message: Message,
        /// Since when it had been held back; `None` if it was deliverable on arrival.
        held_since: Option<Time>,
    },
    /// A message arrived before a cause of it, and is held back. For information.
    Held {
        /// The message.
        id: MessageId,
        /// A cause that has not been delivered.
        waits_for: MessageId,
    },
    /// More is stable: of each member listed, every member has delivered all messages up to this number. (Messages
    /// concurrent with them may still be on their way here; see `examples/shared_list.rs` for what a CRDT does.)
    Stable(VectorClock),
    /// Delivered in place of messages that nobody has ([`GapPolicy::Skip`](crate::GapPolicy::Skip)): they count as
    /// delivered. Also, whatever the policy here, in place of those of a departed member that its host has given up.
    Gap(MissingRange),
    /// A host elsewhere has admitted somebody for whom there is no room here, beyond [`Config::members_known_max`](crate::Config::members_known_max). What
    /// it says is not delivered here, and as a cause it counts as met.
    MembersFull {
        /// Member concerned.
        member: MemberId,
        /// [`Config::members_known_max`](crate::Config::members_known_max).
        limit: usize,
    },
    /// Others have messages of a local member, up to this number, which this process does not know: its state is older
    /// than what it has said, or somebody else says it. The messages are asked for, and delivered as they come; the
    /// member says nothing ([`BroadcastError::RolledBack`](crate::BroadcastError::RolledBack)) until the application calls [`Group::go_on`](crate::Group::go_on), or joins anew.
    /// Repeated when others are found to have more.
    Rollback {
        /// Member whose messages they are.
        member: MemberId,
        /// The greatest number that others are known to have.
        seq: u64,
    },
    /// Nobody keeps these any more, since all have acknowledged them, this process among them: its state is older than
    /// that. What follows them can never be delivered here. Join anew, as a new member.
    LetGo(MissingRange),
    /// A local member has left without a command from here: its *Left* is delivered next, or somebody says that there
    /// is one. What it says is dropped by the others, so [`Group::broadcast`](crate::Group::broadcast) refuses it. Join anew; what others have
    /// not acknowledged by then is said again under the new id. Without another local member this group is at its end.
    Departed {
        /// Member concerned.
        member: MemberId,
    },
}

impl Output {
    /// Returns the message that a local member has just broadcast, if this sends it: for who keeps own messages, or
    /// whose link carries them apart from the rest.
    #[must_use]
    pub const fn sent(&self) -> Option<&Message> {
        match self {
            Self::Transmit(Transmit { to: None, packet: Packet::Message(message) }) => Some(message),
            _ => None,
        }
    }
}

/// Packet to be sent. A message to everybody is what a local member has just broadcast; one to a single member is sent
/// again because it has asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// To whom; `None`: everybody. Members that hear of the group through a relay send all of it to the relay.
    pub to: Option<MemberId>,
    /// Packet, not encoded yet: [`Packet::into_bytes`].
    pub packet: Packet,
}
