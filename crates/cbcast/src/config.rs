//! Limits and delays of a group.

use core::time::Duration;

/// Limits and delays of a group. Reaching a limit is a named error or event, never silence.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Config {
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
    /// How far ahead of its sender's next message a message may be. Default 16,384.
    pub ahead_max: u64,
    /// How long a gap may be before it is asked for. Default 50 ms (a guess: several round trips on a fast
    /// link, and short enough not to be noticed).
    pub repair_delay: Duration,
    /// The longest pause between two requests while the same gaps stay open: each pause is twice the last,
    /// from `repair_delay` up to this. Default 5 s.
    pub repair_delay_max: Duration,
    /// Ranges named in one repair request. Default 64.
    pub repair_ranges_max: usize,
    /// What the jitter of repair requests is drawn from. Same seed and same calls: same outputs.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            members_max: 65_536,
            packet_bytes_max: 1 << 20,
            holdback_max: 65_536,
            holdback_bytes_max: 64 << 20,
            ahead_max: 16_384,
            repair_delay: Duration::from_millis(50),
            repair_delay_max: Duration::from_secs(5),
            repair_ranges_max: 64,
            seed: 0,
        }
    }
}
