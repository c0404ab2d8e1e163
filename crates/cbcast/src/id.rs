//! Ids of members and messages.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

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
    /// Number among the members that the origin admitted, counted from 0 (the host itself).
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

    /// Returns whether this member is the host of its origin.
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

impl FromStr for MemberId {
    type Err = ParseIdError;

    /// Reads `0.7`.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (origin, ordinal) = text.split_once('.').ok_or(ParseIdError)?;
        Ok(Self::new(number(origin)?, number(ordinal)?))
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
    /// Member that broadcast it.
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

impl FromStr for MessageId {
    type Err = ParseIdError;

    /// Reads `0.7#90`.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (member, seq) = text.split_once('#').ok_or(ParseIdError)?;
        Ok(Self::new(member.parse()?, number(seq)?))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Error of reading an id: it is not written as ids are.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not an id: members are written like 0.7, messages like 0.7#90")]
pub struct ParseIdError;

/// Reads digits only, and no zero before others: an id is written in one way.
fn number<N: FromStr>(text: &str) -> Result<N, ParseIdError> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    // Of nothing there is no number, and what is too large is none.
    if is_canonical && is_digits { text.parse().map_err(|_| ParseIdError) } else { Err(ParseIdError) }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_otherwise_is_no_id() {
        for text in [
            "",
            ".",
            "7",
            "0.",
            ".7",
            "00.7",
            "0.07",
            "+0.7",
            "0.-7",
            " 0.7",
            "0.7 ",
            "0.7.1",
            "0.4294967296",
        ] {
            assert_eq!(text.parse::<MemberId>(), Err(ParseIdError), "{text:?}");
        }
        for text in ["0.7", "0.7#", "#90", "0.7#090", "0.7#9#0", "0.7#18446744073709551616"] {
            assert_eq!(text.parse::<MessageId>(), Err(ParseIdError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_written_in_one_way(origin: u32, ordinal: u32, seq: u64, text in "[0-9.#a+ -]{0,24}") {
            let id = MessageId::new(MemberId::new(origin, ordinal), seq);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.member.to_string().parse(), Ok(id.member));
            if let Ok(id) = text.parse::<MessageId>() {
                prop_assert_eq!(id.to_string(), text.clone());
            }
            if let Ok(id) = text.parse::<MemberId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
