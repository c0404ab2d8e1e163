//! Counts for one link.

/// Counts for the process at the other end of a link, since it became known here or the group was made. See
/// [`Group::peer_stats`](crate::Group::peer_stats) and [`Group::relay_stats`](crate::Group::relay_stats).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Messages that have come over the link, copies and refused ones included.
    pub received: u64,
    /// Bytes of their packets.
    pub received_bytes: u64,
    /// Controls that have come over the link, requests for messages included.
    pub controls: u64,
    /// Messages among those received that were here already, or are of members that have left.
    pub duplicates: u64,
    /// Messages among those received that were held back.
    pub held: u64,
    /// Messages among those received that were refused, by [`ReceiveError`](crate::ReceiveError).
    pub refused: u64,
    /// Requests for messages that were made of this process. (Members of a relay send theirs to the relay, whomever they
    /// name.)
    pub wants: u64,
    /// Requests for messages that this process has made.
    pub wanted: u64,
    /// Messages that were sent again because this process has asked for them.
    pub resent: u64,
    /// Bytes of their packets.
    pub resent_bytes: u64,
}
