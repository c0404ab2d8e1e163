//! Events of a run, and judging them afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use cbcast::{MemberId, MessageId, MissingRange, Time};

use crate::{Oracle, Violation};

/// Something that happened at a process, which is named by its member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceEvent {
    /// Virtual time of the event.
    pub at: Time,
    /// Process at which it happened.
    pub process: MemberId,
    /// The event itself.
    pub what: TraceKind,
}

/// Kind of event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TraceKind {
    /// The process begins, from a snapshot of another's unless it is one of the first.
    Start {
        /// Process whose snapshot it was, taken for it before, or now.
        from: Option<MemberId>,
    },
    /// A snapshot is taken of it for another, who will start from it later.
    Snapshot {
        /// Member that will start from it.
        to: MemberId,
    },
    /// Whoever this is goes on as another member, knowing what it knew.
    Moved {
        /// Member that it is from now on.
        to: MemberId,
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
        /// Time for which it was held back.
        held_for: Option<Duration>,
    },
    /// It gives up messages that nobody has.
    Gap {
        /// Messages that were given up.
        range: MissingRange,
    },
    /// It stops, and forgets nothing, or is killed after an export.
    Stop,
    /// It goes on.
    Resume,
    /// A copy is made of its state.
    BackUp,
    /// That copy is put back: all that it has seen since is to come again.
    GoBack,
    /// It is known by now what others have of it: what it had said beyond that is nowhere, and never was.
    GoOn {
        /// The number of its last message.
        last: u64,
    },
    /// It is gone for good.
    Gone,
}

/// Rebuilds happened-before from these events alone, and judges each delivery.
///
/// # Errors
/// The first [`Violation`].
pub fn judge(trace: &[TraceEvent]) -> Result<(), Violation<MemberId, MessageId>> {
    let mut oracle = Oracle::new();
    let (mut snapshots, mut backups) = (BTreeMap::new(), BTreeMap::new());
    for TraceEvent { process, what, .. } in trace {
        match what {
            TraceKind::Start { from: Some(from) } => {
                let snapshot = snapshots.remove(process).unwrap_or_else(|| oracle.seen(from));
                oracle.starts_with(*process, snapshot);
            }
            TraceKind::Snapshot { to } => {
                snapshots.insert(*to, oracle.seen(process));
            }
            TraceKind::BackUp => {
                backups.insert(*process, oracle.seen(process));
            }
            TraceKind::GoBack => {
                oracle.starts_with(*process, backups.remove(process).unwrap_or_default());
            }
            TraceKind::GoOn { last } => {
                oracle.retract(|id: &MessageId| id.member == *process && id.seq > *last)
            }
            TraceKind::Moved { to } => oracle.goes_on_as(process, *to),
            TraceKind::Send { message, .. } => oracle.broadcast(*process, *message)?,
            TraceKind::Deliver { message, .. } => oracle.deliver(*process, message)?,
            TraceKind::Gap { range } => {
                for seq in range.from..=range.to {
                    oracle.skip(*process, &MessageId::new(range.member, seq))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
