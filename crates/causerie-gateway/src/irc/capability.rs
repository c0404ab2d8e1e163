//! What clients may negotiate [IRCv3, capability-negotiation].

use std::ops::BitOr;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Capabilities(pub(super) u32);

macro_rules! capabilities {
    ($($constant:ident $bit:literal $name:literal)*) => {
        impl Capabilities {
            $(pub(super) const $constant: Self = Self(1 << $bit);)*
        }
        /// All that are offered, by name.
        pub(super) const OFFERED: &[(&str, Capabilities)] = &[$(($name, Capabilities::$constant)),*];
    };
}

capabilities! {
    ACCOUNT_NOTIFY 0 "account-notify"
    AWAY_NOTIFY 1 "away-notify"
    BATCH 2 "batch"
    CAP_NOTIFY 3 "cap-notify"
    CHATHISTORY 4 "draft/chathistory"
    EVENT_PLAYBACK 5 "draft/event-playback"
    REDACTION 6 "draft/message-redaction"
    MULTILINE 7 "draft/multiline"
    READ_MARKER 8 "draft/read-marker"
    ECHO_MESSAGE 9 "echo-message"
    EXTENDED_JOIN 10 "extended-join"
    LABELED_RESPONSE 11 "labeled-response"
    MESSAGE_TAGS 12 "message-tags"
    MULTI_PREFIX 13 "multi-prefix"
    SERVER_TIME 14 "server-time"
    SETNAME 15 "setname"
    STANDARD_REPLIES 16 "standard-replies"
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Capabilities {
    /// Returns whether all of `others` are in it.
    #[must_use]
    pub(super) const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    pub(super) const fn only(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(super) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        OFFERED.iter().find(|(offered, _)| *offered == name).map(|(_, capability)| *capability)
    }

    /// The names of those in it.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        OFFERED.iter().filter(move |(_, capability)| self.has(*capability)).map(|(name, _)| *name)
    }
}
