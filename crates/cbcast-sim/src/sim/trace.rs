//! What happened, event by event, and judging it afterwards.

use std::time::Duration;

use cbcast::{MemberId, MessageId, MissingRange, Time};

use crate::{Oracle, Violation};

/// Something that happened at a process, which is named by its member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// When, in virtual time.
    pub at: Time,
    /// Where.
    pub process: MemberId,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// The process begins, from a snapshot of another's unless it is one of the first.
    Start {
        /// Whose snapshot.
        from: Option<MemberId>,
    },
    /// It broadcasts a message, which is delivered there at once.
    Send {
        /// The message.
        message: MessageId,
        /// Its direct dependencies, its sender's message before it not among them.
        deps: Vec<MessageId>,
    },
    /// It received a message before a cause of it, and holds it back.
    Hold {
        /// The message.
        message: MessageId,
        /// Its direct dependencies.
        deps: Vec<MessageId>,
        /// A missing cause.
        waits_for: MessageId,
    },
    /// It delivers another's message.
    Deliver {
        /// The message.
        message: MessageId,
        /// Its direct dependencies.
        deps: Vec<MessageId>,
        /// How long it was held back.
        held_for: Option<Duration>,
    },
    /// It gives up messages that nobody has.
    Gap {
        /// Which.
        range: MissingRange,
    },
    /// It stops, and forgets nothing.
    Stop,
    /// It goes on.
    Resume,
    /// It is gone for good.
    Gone,
}

/// Rebuilds happened-before from these events alone, and judges each delivery.
///
/// # Errors
/// The first [`Violation`].
pub fn judge(trace: &[Event]) -> Result<(), Violation<MemberId, MessageId>> {
    let mut oracle = Oracle::new();
    for Event { process, what, .. } in trace {
        match what {
            What::Start { from: Some(from) } => oracle.starts_from(*process, from),
            What::Send { message, .. } => oracle.broadcast(*process, *message)?,
            What::Deliver { message, .. } => oracle.deliver(*process, message)?,
            What::Gap { range } => {
                for seq in range.from..=range.to {
                    oracle.skip(*process, &MessageId::new(range.member, seq))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
