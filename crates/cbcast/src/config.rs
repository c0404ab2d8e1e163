//! Limits and delays of a group.

use core::time::Duration;

/// What to do about a message that has been asked for again and again, and that nobody has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum GapPolicy {
    /// Go on asking, and hold back what depends on it. Nothing is ever delivered without its causes.
    #[default]
    Wait,
    /// After this long without progress, deliver a visible [`Output::Gap`](crate::Output::Gap) in its place and
    /// go on. Messages of hosts are never skipped: who is in must be known. What a skipped message had followed is not
    /// known, so who follows it may be delivered before that; all other causes are awaited as ever.
    Skip {
        /// How long a member's next message may be missing.
        after: Duration,
    },
}

/// The ways that messages of a member take to the others, which decide how its host parts with it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Topology {
    /// Through the process of the host that admitted it, and through nobody else: then whatever anybody has of a member
    /// is in the past of the host's *Left*, which [`Group::part`](crate::Group::part) says at once.
    #[default]
    Relay,
    /// From the member to everybody: its last message may have reached only one.
    /// [`Group::part`](crate::Group::part) then asks all who stay for what they have before *Left* is said. Needs
    /// [`heartbeat`](Config::heartbeat), with which it is asked again, and [`retain`](Config::retain).
    Mesh,
}

/// Limits and delays of a group. Reaching a limit is a named error or event, never silence.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The ways that messages of a member take to the others. Default [`Topology::Relay`].
    pub topology: Topology,
    /// Members present at once, local ones included. Default 65,536.
    ///
    /// Also the most dependencies a message may have: [`ReceiveError::TooManyDependencies`].
    ///
    /// [`ReceiveError::TooManyDependencies`]: crate::ReceiveError::TooManyDependencies
    pub members_max: usize,
    /// Bytes of one packet, stamp and payload. Default 1 MiB.
    pub packet_bytes_max: usize,
    /// Places in the hold-back queue, the gaps between held messages of one sender included, so that a message
    /// far ahead of its predecessors costs what it takes. Default 65,536.
    pub holdback_max: usize,
    /// Bytes of packets held back. Default 64 MiB.
    pub holdback_bytes_max: usize,
    /// Bytes of one sender's packets held back, so that one alone cannot fill the queue. Default 64 MiB.
    pub ahead_bytes_max: usize,
    /// How far ahead of its sender's next message a message may be. Default 16,384.
    pub ahead_max: u64,
    /// How long a gap may be before it is asked for. Default 50 ms (a guess: several round trips on a fast
    /// link, and short enough not to be noticed).
    pub repair_delay: Duration,
    /// The longest pause between two requests while nothing of what is missing comes: each pause is twice the last,
    /// from `repair_delay` up to this. Default 2 s.
    pub repair_delay_max: Duration,
    /// Ranges named in one repair request. Default 64.
    pub repair_ranges_max: usize,
    /// How often to tell everybody what has been delivered here, which exposes lost tails and is what stability
    /// is made of. Default `None`: on a relay, or where links lose nothing while they last, there is no need.
    pub heartbeat: Option<Duration>,
    /// What to do about a message that nobody has. Default [`GapPolicy::Wait`].
    pub gap_policy: GapPolicy,
    /// Keep delivered messages until they are *stable* (delivered by every member), to answer repair requests
    /// from. Default no: on a relay the log does that. In a mesh: yes, together with `heartbeat`.
    pub retain: bool,
    /// Messages of one local member that may be unstable at once, where `retain` is on. Default 4,096.
    pub unstable_max: usize,
    /// Bytes of one local member's unstable packets, likewise. Default 16 MiB.
    pub unstable_bytes_max: usize,
    /// What the jitter of repair requests is drawn from. Same seed and same calls: same outputs.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            topology: Topology::Relay,
            members_max: 65_536,
            packet_bytes_max: 1 << 20,
            holdback_max: 65_536,
            holdback_bytes_max: 64 << 20,
            ahead_bytes_max: 64 << 20,
            ahead_max: 16_384,
            repair_delay: Duration::from_millis(50),
            repair_delay_max: Duration::from_secs(2),
            repair_ranges_max: 64,
            heartbeat: None,
            gap_policy: GapPolicy::Wait,
            retain: false,
            unstable_max: 4_096,
            unstable_bytes_max: 16 << 20,
            seed: 0,
        }
    }
}
