//! Events of a session, for the application and its driver.

use std::time::Duration;

use cbcast::{MemberId, MessageId, VectorClock, WireError};
use thiserror::Error;

use crate::content::body::{Body, BodyError};
use crate::content::text::visible;
use crate::id::{Epoch, Position};
use crate::wire::{ClientFrame, ErrorCode, Limits, MemberInfo, Stable};

/// Something that happened in the room.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The member is in.
    Welcomed {
        /// Id of the member.
        member: MemberId,
        /// Name of the room.
        room: String,
        /// Creation of the room by this join.
        created: bool,
        /// Epoch of the log, for [`Place`](crate::wire::Place)s in it.
        epoch: Epoch,
        /// The first position of the history that follows.
        first: Position,
        /// The last one, or `first - 1`.
        position: Position,
        /// Members who are in, in order of joining, the member itself included.
        members: Vec<MemberInfo>,
        /// Limits of the room.
        limits: Limits,
    },
    /// A message, all of whose causes have been delivered.
    Delivered(Post),
    /// A message that was delivered before has its place in the room's order.
    Placed {
        /// Id of the message.
        id: MessageId,
        /// Place of the message.
        position: Position,
        /// The server's wall clock at delivery.
        time_millis: u64,
    },
    /// A message arrived before a cause of it, and is held back.
    Held {
        /// Id of the message.
        id: MessageId,
        /// Name of its author, if that is known already.
        author: Option<String>,
        /// A cause that has not been delivered.
        waits_for: MessageId,
        /// Name of that one's author, if that is known already.
        waits_for_author: Option<String>,
        /// Clock of what had been delivered here by then.
        clock: VectorClock,
    },
    /// Somebody joined.
    Joined {
        /// Id of the member.
        member: MemberId,
        /// Name of the member.
        name: String,
        /// Past event: it joined before the client's own member did.
        history: bool,
    },
    /// Somebody left.
    Left {
        /// Id of the member.
        member: MemberId,
        /// Name of the member.
        name: String,
        /// Reason, if it was not its own wish.
        reason: String,
        /// Past event: it left before the client's own member joined.
        history: bool,
    },
    /// The connection is gone; what is said meanwhile is kept.
    Reconnecting {
        /// Reason for people.
        reason: String,
        /// Pause before it is tried again.
        retry_in: Duration,
    },
    /// The server is in trouble that will pass: what is said waits, and nobody sees it yet. Or it has passed.
    Trouble {
        /// Description for people.
        message: String,
    },
    /// The connection is back, and nothing was lost.
    Resumed {
        /// Own messages that were sent again.
        resent: usize,
    },
    /// Records follow that were said while the connection was away: what is among them may change what is among them, too.
    CatchingUp {
        /// Position of the last of them.
        to: Position,
    },
    /// The member had been declared left, or the server does not know it any more: it is a new member now.
    Rejoined {
        /// New id of the member.
        member: MemberId,
        /// Reason why it could not resume.
        reason: String,
        /// Own messages that had not been taken, and their new ids. What is said here about the old ones from now on is
        /// about the new ones.
        renamed: Vec<(MessageId, MessageId)>,
    },
    /// An own message that was on its way cannot be said any more: an edit or a deletion of a message of the
    /// membership before, or what a room that was made anew does not allow.
    Unsaid {
        /// Id that it had.
        id: MessageId,
        /// Body that it had.
        body: Body,
        /// Reason for people.
        reason: String,
    },
    /// Records of the log that do not come: the server does not keep them any more, or has left them out.
    Gap {
        /// The first.
        from: Position,
        /// The last.
        to: Position,
    },
    /// The server refused a message for now; it is sent again.
    Refused {
        /// Id of the message.
        id: MessageId,
        /// Reason for people.
        reason: String,
    },
    /// The members who are in have delivered the room's log up to there, as far as the server knows. See
    /// [`SessionConfig::follows_stable`](super::SessionConfig::follows_stable).
    Stable(Stable),
    /// The session is over.
    Ended(End),
}

/// A message of somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// Id of the message.
    pub id: MessageId,
    /// Name of its author.
    pub author: String,
    /// Body of the message.
    pub body: Body,
    /// Own message of the member.
    pub own: bool,
    /// Place in the room's order, if the server has told.
    pub position: Option<Position>,
    /// The server's wall clock at delivery, if the server has told.
    pub time_millis: Option<u64>,
    /// Time for which it was held back here.
    pub held_for: Option<Duration>,
    /// Said before the client first joined: it has its place already, and no [`Event::Placed`] follows.
    pub history: bool,
    /// The messages that its author had seen last.
    pub deps: Vec<MessageId>,
}

/// End of a session.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum End {
    /// The member left, as asked.
    #[error("left the room")]
    Left,
    /// The server said no.
    #[error("{}", visible(message))]
    Refused {
        /// Code of the error.
        code: ErrorCode,
        /// Explanation for people, in the server's words.
        message: String,
        /// Name that is free, if the one asked for was taken.
        suggestion: Option<String>,
    },
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The server cannot be trusted to be the one that it was, so nothing was sent to it: why, in words of ours. At the right one
    /// the membership goes on.
    #[error("{0}")]
    Untrusted(String),
}

/// Error of speaking. Nothing changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SayError {
    /// Body that is too long, may not be said by this member, or refers to what has not been delivered here.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Too many own messages are on their way: say it again once some are placed.
    #[error("{limit} messages are on their way already")]
    Full {
        /// [`SessionConfig::pending_max`](super::SessionConfig::pending_max).
        limit: usize,
    },
    /// The session is over, or is leaving.
    #[error("the session is over")]
    Over,
}

/// Next act of the driver.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionOutput {
    /// Send this frame.
    Send(ClientFrame),
    /// Tell the application.
    Event(Event),
    /// Close the connection, for this reason; connect again unless the session
    /// [is over](super::Session::is_over).
    HangUp(String),
}

/// A message that is held back, with the names there are for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldPost {
    /// Id of the message.
    pub id: MessageId,
    /// Name of its author, if that is known.
    pub author: Option<String>,
    /// Time for which it has been held.
    pub held_for: Duration,
    /// A cause that has not been delivered.
    pub waits_for: MessageId,
    /// Name of that one's author, if that is known.
    pub waits_for_author: Option<String>,
    /// The missing message at the end of the chain.
    pub root_cause: Option<MessageId>,
}

/// Error of making a session of bytes.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum KeptError {
    /// Written by a later version.
    #[error("it was written by a later version of the program")]
    Newer,
    /// Bytes that are not what was written.
    #[error("it is damaged")]
    Damaged,
}

impl From<WireError> for KeptError {
    fn from(_: WireError) -> Self {
        Self::Damaged
    }
}
