//! Numbers that must not be mistaken for one another.

use core::fmt;

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
