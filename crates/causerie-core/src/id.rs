//! Numbers, secrets and ids that must not be mistaken for one another.

use core::fmt;
use core::num::ParseIntError;
use core::ops::{Add, Sub};
use core::str::FromStr;

use thiserror::Error;

/// Number that tells a room's log from any other: positions mean something within one epoch only.
///
/// It is drawn at random when a room is made, and again when it has to begin anew. On the wire and in files 0 stands for
/// no epoch, so none is drawn that is 0.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(u64);

impl Epoch {
    /// Makes an epoch of its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Makes an epoch of a number that is 0 where there is none.
    #[must_use]
    pub fn read(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Returns the number of an epoch, 0 where there is none.
    #[must_use]
    pub fn written(epoch: Option<Self>) -> u64 {
        epoch.map_or(0, Self::number)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Place of a record in a room's log: 1 for the first, one more for each behind it, without holes.
///
/// 0 stands before the first record: a reader that has read nothing is there. Positions of two epochs do not compare.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(transparent))]
pub struct Position(u64);

impl Position {
    /// The place before the first record.
    pub const START: Self = Self(0);
    /// The place of the first record.
    pub const FIRST: Self = Self(1);
    /// The place that no log reaches.
    pub const MAX: Self = Self(u64::MAX);

    /// Makes a position of its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the position behind it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the position before it. It is not [`START`](Self::START).
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// Returns the number of records from an earlier position to this one. `None`: it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// Returns this position and all behind it.
    pub fn onwards(self) -> impl Iterator<Item = Self> {
        (self.0..).map(Self)
    }

    /// Returns the position so many behind it, if there is one.
    #[must_use]
    pub const fn checked_add(self, records: u64) -> Option<Self> {
        match self.0.checked_add(records) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the position so many behind it, or the last that there is.
    #[must_use]
    pub const fn saturating_add(self, records: u64) -> Self {
        Self(self.0.saturating_add(records))
    }

    /// Returns the position so many before it, or [`START`](Self::START).
    #[must_use]
    pub const fn saturating_sub(self, records: u64) -> Self {
        Self(self.0.saturating_sub(records))
    }
}

/// The position so many records behind.
impl Add<u64> for Position {
    type Output = Self;

    fn add(self, records: u64) -> Self {
        Self(self.0 + records)
    }
}

/// The position so many records before.
impl Sub<u64> for Position {
    type Output = Self;

    fn sub(self, records: u64) -> Self {
        Self(self.0 - records)
    }
}

/// The number of records from one position to a later one.
impl Sub for Position {
    type Output = u64;

    fn sub(self, earlier: Self) -> u64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Position {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// Token of a member that lives on the server: 16 random bytes with which its client speaks for it.
///
/// It is shown as a bearer's, until there is TLS. Whoever prints it for debugging sees no byte of it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Token([u8; SECRET_BYTES]);

/// Nonce of a join: 16 random bytes, so that a join sent again is the same join.
///
/// It is as secret as the [`Token`] that the join brings: with it one gets another.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Nonce([u8; SECRET_BYTES]);

const SECRET_BYTES: usize = 16;

/// Error of a text that is no secret: not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("this is not 32 hexadecimal digits")]
pub struct NotSecret;

macro_rules! secret {
    ($name:ident, $hidden:literal) => {
        impl $name {
            /// Takes fresh randomness, or what was given out before.
            #[must_use]
            pub const fn new(bytes: [u8; SECRET_BYTES]) -> Self {
                Self(bytes)
            }

            /// Returns its bytes.
            #[must_use]
            pub const fn bytes(&self) -> &[u8; SECRET_BYTES] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($hidden)
            }
        }

        impl FromStr for $name {
            type Err = NotSecret;

            fn from_str(text: &str) -> Result<Self, NotSecret> {
                let mut bytes = [0; SECRET_BYTES];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| NotSecret)?;
                Ok(Self(bytes))
            }
        }
    };
}

secret!(Token, "Token(..)");
secret!(Nonce, "Nonce(..)");

/// Secret as a text that somebody gives: a token or nonce as clients show it, before anybody has read it, or the operator's
/// token.
///
/// Its `Debug` shows nothing of it, not even its length.
#[derive(Clone, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(transparent))]
pub struct SecretText(Box<str>);

impl SecretText {
    /// Returns the text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Id that a client makes for something that it says: said again with the same id, it is the same message.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientId(Box<str>);

/// Error of a text that is no client's id.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("an id has 1 to {max} characters, all of them visible ASCII", max = ClientId::BYTES_MAX)]
pub struct NotClientId;

impl ClientId {
    /// Bytes of an id at most.
    pub const BYTES_MAX: usize = 64;

    /// Returns its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = NotClientId;

    fn from_str(text: &str) -> Result<Self, NotClientId> {
        let is_one =
            (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if is_one { Ok(Self(text.into())) } else { Err(NotClientId) }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let digits = "00112233445566778899aabbccddeeff";
        let (token, nonce): (Token, Nonce) = (digits.parse().unwrap(), digits.parse().unwrap());
        assert_eq!((token.bytes()[1], nonce.bytes()[15]), (0x11, 0xff));
        assert_eq!(format!("{token:?} {nonce:?}"), "Token(..) Nonce(..)");
        let text = SecretText::from(digits);
        assert_eq!((text.reveal(), format!("{text:?}")), (digits, "SecretText(..)".to_owned()));
        for text in ["", "short", &digits[1..], &format!("{digits}0"), &digits.replace('a', "g")] {
            assert_eq!(text.parse::<Token>(), Err(NotSecret), "{text:?}");
        }
    }

    #[test]
    fn an_id_of_a_client_is_short_and_visible() {
        for text in ["a", "a-1", &"x".repeat(64)] {
            assert_eq!(text.parse::<ClientId>().unwrap().as_str(), text);
        }
        for text in ["", "a b", "é", "\n", &"x".repeat(65)] {
            assert_eq!(text.parse::<ClientId>(), Err(NotClientId), "{text:?}");
        }
    }
}
