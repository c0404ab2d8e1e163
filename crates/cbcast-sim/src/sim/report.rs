//! Results of runs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use cbcast::{DecodeError, MemberId, MessageId, MissingRange, ReceiveError, Time};
use thiserror::Error;

use crate::Violation;
use crate::sim::Plan;

/// Counts of what a run met that went well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Number of runs that are summed up here.
    pub runs: u64,
    /// Messages broadcast, those that announce members included.
    pub messages: u64,
    /// Deliveries to others than the author, each judged.
    pub deliveries: u64,
    /// Deliveries that were against causal order, lost or repeated. None: the first ends a run as a [`Failure`].
    pub order_violations: u64,
    /// Arrivals after which the textbook's process had delivered just what ours had.
    pub textbook_agreed: u64,
    /// Messages that had to be held back.
    pub held: u64,
    /// The longest time that one was, in virtual time.
    pub longest_hold: Duration,
    /// Requests for what was missing.
    pub wants: u64,
    /// Messages sent again because of them.
    pub resent: u64,
    /// Messages that came again and were recognised: packets that came twice, and what was sent again and came after all.
    pub duplicates: u64,
    /// Packets of which the network has delivered a second copy.
    pub came_twice: u64,
    /// Packets lost on their way, or because nobody was there.
    pub lost: u64,
    /// Packets that a partition stopped.
    pub cut_off: u64,
    /// Partitions, two-way and one-way, that stopped at least one packet.
    pub partitions: u64,
    /// Members that joined on the way.
    pub joins: u64,
    /// Members that left, those that came back as another included.
    pub leaves: u64,
    /// Processes that stopped for a while or lost everything.
    pub crashes: u64,
    /// Messages refused because a buffer was full: they come again.
    pub refused: u64,
    /// Times that a sender was told to wait.
    pub blocked: u64,
    /// Messages given up, by each process that did.
    pub skipped: u64,
    /// Packets put on the wire.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Duration in virtual time.
    pub duration: Duration,
    /// Counts of the faults that have none of their own above, by their names in
    /// [`Faults`](crate::sim::Faults), and what came of some.
    pub met: BTreeMap<&'static str, u64>,
}

impl Report {
    /// A fault was met.
    pub(super) fn meet(&mut self, fault: &'static str) {
        *self.met.entry(fault).or_default() += 1;
    }

    /// Sums up both; of the longest hold the longer.
    pub fn add(&mut self, other: &Self) {
        self.longest_hold = self.longest_hold.max(other.longest_hold);
        self.duration += other.duration;
        for (mine, theirs) in [
            (&mut self.runs, other.runs),
            (&mut self.messages, other.messages),
            (&mut self.deliveries, other.deliveries),
            (&mut self.order_violations, other.order_violations),
            (&mut self.textbook_agreed, other.textbook_agreed),
            (&mut self.held, other.held),
            (&mut self.wants, other.wants),
            (&mut self.resent, other.resent),
            (&mut self.duplicates, other.duplicates),
            (&mut self.came_twice, other.came_twice),
            (&mut self.lost, other.lost),
            (&mut self.cut_off, other.cut_off),
            (&mut self.partitions, other.partitions),
            (&mut self.joins, other.joins),
            (&mut self.leaves, other.leaves),
            (&mut self.crashes, other.crashes),
            (&mut self.refused, other.refused),
            (&mut self.blocked, other.blocked),
            (&mut self.skipped, other.skipped),
            (&mut self.packets, other.packets),
            (&mut self.bytes, other.bytes),
        ] {
            *mine += theirs;
        }
        for (&fault, count) in &other.met {
            *self.met.entry(fault).or_default() += count;
        }
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, deliveries, order_violations, textbook_agreed, held, wants, resent, .. } = self;
        let Self { lost, cut_off, partitions, duplicates, joins, leaves, crashes, refused, blocked, .. } =
            self;
        let Self { packets, bytes, skipped, .. } = self;
        writeln!(f, "  said       {messages} messages, {deliveries} deliveries to others")?;
        writeln!(f, "  order      {order_violations} violations")?;
        if *textbook_agreed > 0 {
            writeln!(f, "  textbook   agreed after each of {textbook_agreed} arrivals")?;
        }
        writeln!(f, "  held back  {held}, the longest for {:.3} s", self.longest_hold.as_secs_f64())?;
        writeln!(f, "  repaired   {wants} requests, {resent} messages sent again")?;
        writeln!(f, "  network    {packets} packets, {bytes} bytes")?;
        writeln!(f, "             {lost} lost, {cut_off} cut off by {partitions} partitions")?;
        writeln!(f, "             {duplicates} duplicates dropped")?;
        writeln!(f, "  members    {joins} joined, {leaves} left, {crashes} crashes")?;
        writeln!(f, "  buffers    {refused} arrivals refused, {blocked} senders told to wait")?;
        if *skipped > 0 {
            writeln!(f, "  given up   {skipped}")?;
        }
        let met: Vec<_> = self.met.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
        for (line, met) in met.chunks(5).enumerate() {
            writeln!(f, "  {:<10} {}", if line == 0 { "met" } else { "" }, met.join(", "))?;
        }
        write!(f, "  duration   {:.3} s, virtual", self.duration.as_secs_f64())
    }
}

/// A thing that must not happen, and did.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum Wrong {
    /// Causal order, or exactly once, is broken.
    #[error(transparent)]
    Order(#[from] Violation<MemberId, MessageId>),
    /// The textbook's process and ours have delivered different sets of messages.
    #[error("{process} has delivered {ours:?}, the textbook {textbook:?}")]
    NotAsTextbook {
        /// Process at which it happened.
        process: MemberId,
        /// Messages of each member delivered here; none of who is no member here.
        ours: Vec<Option<u64>>,
        /// And by the textbook.
        textbook: Vec<Option<u64>>,
    },
    /// A member takes a number of its own for free that another has a message of.
    #[error("{process} goes on from number {last}, and {has} has {message}")]
    NumberTaken {
        /// Process at which it happened.
        process: MemberId,
        /// Its last message, as it knows.
        last: u64,
        /// Process that has more.
        has: MemberId,
        /// The message or the fault.
        message: MessageId,
    },
    /// A member is told that others have more of it, and they have not.
    #[error("{process} was told that others have more of {member}")]
    NotRolledBack {
        /// Process at which it happened.
        process: MemberId,
        /// Member concerned.
        member: MemberId,
    },
    /// A member is told that it has left, and it has not.
    #[error("{process} was told that {member} has left")]
    NotDeparted {
        /// Process at which it happened.
        process: MemberId,
        /// Member concerned.
        member: MemberId,
    },
    /// A message says something else than its author said.
    #[error("{process} delivered {message} with another content than it was sent with")]
    Content {
        /// Process at which it happened.
        process: MemberId,
        /// Message or range concerned.
        message: MessageId,
    },
    /// The group that was imported is not the one that was exported.
    #[error("{process} has lost something by export and import: {what}")]
    NotRestored {
        /// Process at which it happened.
        process: MemberId,
        /// Difference between both.
        what: String,
    },
    /// A packet of ours cannot be read.
    #[error("{process} cannot read a packet: {error}")]
    Unreadable {
        /// Process at which it happened.
        process: MemberId,
        /// Error that it gave.
        error: DecodeError,
    },
    /// A message of ours was refused for good.
    #[error("{process} refused a message for good: {error}")]
    Refused {
        /// Process at which it happened.
        process: MemberId,
        /// Error that it gave.
        error: ReceiveError,
    },
    /// A command that should succeed did not.
    #[error("{process} could not {what}: {error}")]
    Command {
        /// Process at which it happened.
        process: MemberId,
        /// Command that failed.
        what: &'static str,
        /// The error's words.
        error: String,
    },
    /// A buffer is larger than its limit.
    #[error("{process} keeps {size} {what}, the limit is {limit}")]
    Buffer {
        /// Process at which it happened.
        process: MemberId,
        /// Name of the buffer.
        what: &'static str,
        /// Size that it has.
        size: usize,
        /// Size that it may have.
        limit: usize,
    },
    /// Messages were given up though nobody asked for that, or a host's were.
    #[error("{process} gave up {range:?}")]
    Gap {
        /// Process at which it happened.
        process: MemberId,
        /// Message or range concerned.
        range: MissingRange,
    },
    /// A message was called stable that not everybody has delivered.
    #[error("{process} takes {count} messages of {member} for stable, {lacking} has delivered {delivered}")]
    NotStable {
        /// Process at which it happened.
        process: MemberId,
        /// Member whose messages they are.
        member: MemberId,
        /// Number that is said to be stable.
        count: u64,
        /// Process that has not delivered them.
        lacking: MemberId,
        /// Number that it has delivered.
        delivered: u64,
    },
    /// Long after the network has healed, something is still open.
    #[error("not settled: {process} {what}")]
    NotSettled {
        /// Process at which it happened.
        process: MemberId,
        /// Matter that is still open.
        what: String,
    },
    /// A panic in the protocol.
    #[error("panicked: {0}")]
    Panic(String),
}

/// A run that went wrong. Shown with the command that repeats it.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{wrong} (after {:.3} s, virtual)\nreplay with: causerie sim {plan}", .at.as_nanos() as f64 / 1e9)]
pub struct Failure {
    /// The message or the fault.
    pub wrong: Box<Wrong>,
    /// Virtual time at which it happened.
    pub at: Time,
    /// Plan of the run.
    pub plan: Box<Plan>,
}
