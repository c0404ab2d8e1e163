//! Who and which: member ids and message ids.

use core::fmt;

/// One BSS process in one group. Never used twice.
///
/// `origin` is the server that admitted the member, `ordinal` counts the members that it admitted, from 0;
/// ordinal 0 is the origin's *host*, which announces who joined and who left. In a group with fixed membership
/// origin and ordinal are whatever the application numbers its processes by.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct MemberId {
    /// The server that admitted the member.
    pub origin: u32,
    /// Which of the members that the origin admitted, counted from 0 (the host itself).
    pub ordinal: u32,
}

impl MemberId {
    /// The member `ordinal` of `origin`.
    #[must_use]
    pub const fn new(origin: u32, ordinal: u32) -> Self {
        Self { origin, ordinal }
    }

    /// The host of `origin`: the member that says *Joined* and *Left*.
    #[must_use]
    pub const fn host(origin: u32) -> Self {
        Self { origin, ordinal: 0 }
    }

    /// Whether this member is the host of its origin.
    #[must_use]
    pub const fn is_host(self) -> bool {
        self.ordinal == 0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.origin, self.ordinal)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One message: its sender, and which of the sender's messages it is, counted from 1 (a *dot*).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct MessageId {
    /// Who broadcast it.
    pub member: MemberId,
    /// Its number among the sender's messages, from 1.
    pub seq: u64,
}

impl MessageId {
    /// The message `seq` of `member`.
    #[must_use]
    pub const fn new(member: MemberId, seq: u64) -> Self {
        Self { member, seq }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.member, self.seq)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
