//! Mistakes to be made, and counts of what happened.

/// A mistake of the application around the groups, to see that the judge finds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weakening {
    /// A server publishes before it has stored.
    PublishFirst,
    /// A newcomer starts from what its sponsor has not stored.
    SnapshotEarly,
    /// Only hosts that the coordinator knows are asked before an expulsion.
    AskKnownHosts,
    /// A client that goes elsewhere starts from a snapshot there.
    RoamForgets,
    /// Whoever has been shown something is shown it again when it is said anew.
    NoAgain,
    /// A client that goes elsewhere reads from the end of the log there.
    CursorAtEnd,
}

impl Weakening {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PublishFirst,
        Self::SnapshotEarly,
        Self::AskKnownHosts,
        Self::RoamForgets,
        Self::NoAgain,
        Self::CursorAtEnd,
    ];
}

/// Counts of things that happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is what it says")]
pub struct HostsCounts {
    pub messages: u64,
    pub held: u64,
    pub refused_for_now: u64,
    pub late_hosts: u64,
    pub two_sponsors: u64,
    pub roams: u64,
    pub said_again: u64,
    pub crashes: u64,
    pub partitions: u64,
    pub stream_losses: u64,
    pub destroyed: u64,
    pub expulsions: u64,
    pub expelled_together: u64,
    pub expulsions_given_up: u64,
    pub lost_with_a_disk: u64,
    pub left: u64,
}

impl HostsCounts {
    /// Adds those of another run.
    pub const fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.held += other.held;
        self.refused_for_now += other.refused_for_now;
        self.late_hosts += other.late_hosts;
        self.two_sponsors += other.two_sponsors;
        self.roams += other.roams;
        self.said_again += other.said_again;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.stream_losses += other.stream_losses;
        self.destroyed += other.destroyed;
        self.expulsions += other.expulsions;
        self.expelled_together += other.expelled_together;
        self.expulsions_given_up += other.expulsions_given_up;
        self.lost_with_a_disk += other.lost_with_a_disk;
        self.left += other.left;
    }
}
