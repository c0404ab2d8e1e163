//! Limits of a room, and what follows from them for its group and its frames.

use std::time::Duration;

use cbcast::{Config, Time, message::PACKET_BYTES_MAX};
use thiserror::Error;

use crate::wire::Limits;

/// Instant of a call: the caller's monotonic time, and what the wall clock shows, which is for people and orders nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Monotonic time, for timers.
    pub time: Time,
    /// Milliseconds since 1970, for people.
    pub wall_millis: u64,
}

/// Limits and habits of a room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoomSettings {
    /// Characters of a name. Default 32.
    pub name_chars_max: usize,
    /// Bytes of a text. Default 16 KiB.
    pub text_bytes_max: usize,
    /// Members at once. Default 10,000.
    pub members_max: usize,
    /// Time for which a member whose connection broke may be away before it is declared left. Default 10 minutes.
    pub grace: Duration,
    /// Records of history that a newcomer gets. Default 50.
    pub history: u64,
    /// Bytes of log that are kept in memory; what is older is read from the store. Default 16 MiB.
    pub log_bytes_max: usize,
    /// New members are let in. Default: yes.
    pub admits: bool,
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self {
            name_chars_max: 32,
            text_bytes_max: 16 << 10,
            members_max: 10_000,
            grace: Duration::from_secs(600),
            history: 50,
            log_bytes_max: 16 << 20,
            admits: true,
        }
    }
}

/// Bytes of messages that a room holds back.
pub(super) const HELD_BYTES_MAX: usize = 16 << 20;
/// Bytes of these of one member, unless one message alone has more.
pub(super) const HELD_BYTES_EACH: usize = 1 << 20;

/// Members that a room can have at all, its host not counted.
pub const MEMBERS_MAX: usize = 65_535;
/// Bytes of a frame from the server that clients take.
const SERVER_FRAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of these for all that a welcome has beside the members: names of those who have left, above all.
const WELCOME_REST_BYTES: usize = 6 << 20;
/// Bytes of a member in a welcome beside its name: ids, counts, and its place in clock and frontier.
const MEMBER_BYTES: usize = 48;
/// Bytes that a stamp takes for one member: five for an ordinal, seven for a difference of numbers. A member that says a
/// million messages a second needs two years for more.
const DEPENDENCY_BYTES: usize = 12;
/// Bytes of a packet beside dependencies and payload, and of a payload beside its text.
const HEAD_BYTES: usize = 128;
/// Bytes that a payload may have whatever the longest text is: a name, a topic, the reason of a farewell.
const PAYLOAD_BYTES_MIN: usize = 4 << 10;
/// Error of settings that no room can have. They are named as the settings of `causerie serve` are.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SettingsError {
    /// More members than a room can have.
    #[error("members-max is {members}: a room has {MEMBERS_MAX} members at most")]
    Members {
        /// [`RoomSettings::members_max`].
        members: usize,
    },
    /// The names of so many members are too long for a newcomer's welcome.
    #[error(
        "members-max is {members} and name-max is {chars}: with names of that length {fit} members fit into a frame"
    )]
    Names {
        /// [`RoomSettings::members_max`].
        members: usize,
        /// [`RoomSettings::name_chars_max`].
        chars: usize,
        /// Number of members that would do.
        fit: usize,
    },
    /// Text and stamp do not fit into a frame.
    #[error(
        "text-max is {bytes} and members-max is {members}: with as many members {fit} bytes of text fit into a frame"
    )]
    Text {
        /// [`RoomSettings::text_bytes_max`].
        bytes: usize,
        /// [`RoomSettings::members_max`].
        members: usize,
        /// Number of bytes that would do.
        fit: usize,
    },
}

/// Bytes of the largest packet of a room with so many members.
const fn packet_bytes_max(text_bytes_max: usize, members_max: usize) -> usize {
    let payload = if text_bytes_max > PAYLOAD_BYTES_MIN { text_bytes_max } else { PAYLOAD_BYTES_MIN };
    payload.saturating_add(members_max.saturating_mul(DEPENDENCY_BYTES)).saturating_add(HEAD_BYTES)
}

impl RoomSettings {
    /// Bytes of the largest frame that a client of such a room sends: a stamp names every member once at most.
    #[must_use]
    pub const fn frame_bytes_max(&self) -> usize {
        packet_bytes_max(self.text_bytes_max, self.members_max)
    }

    /// Returns whether all that a room of these settings has to say fits into frames.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        let Self { members_max: members, name_chars_max: chars, text_bytes_max: bytes, .. } = *self;
        if members > MEMBERS_MAX {
            return Err(SettingsError::Members { members });
        }
        let fit = (SERVER_FRAME_BYTES_MAX - WELCOME_REST_BYTES)
            / (chars.saturating_mul(4).saturating_add(MEMBER_BYTES));
        if members > fit {
            return Err(SettingsError::Names { members, chars, fit });
        }
        let fit = SERVER_FRAME_BYTES_MAX - packet_bytes_max(0, members) - HEAD_BYTES;
        if bytes > fit {
            return Err(SettingsError::Text { bytes, members, fit });
        }
        Ok(())
    }
    /// Returns the configuration of such a room's group.
    pub(super) fn group(&self) -> Config {
        let mut config = Config::relay();
        // Also of rooms that were made when more members were allowed. How many may join the room itself decides.
        config.members_max = MEMBERS_MAX + 1;
        config.packet_bytes_max = packet_bytes_max(self.text_bytes_max, MEMBERS_MAX).min(PACKET_BYTES_MAX);
        // A client on a link that reorders may be this far out of order.
        config.ahead_max = 1_024;
        config.holdback_bytes_max = HELD_BYTES_MAX;
        config.ahead_bytes_max = HELD_BYTES_EACH.max(config.packet_bytes_max);
        // Packets are slices of what was read.
        config.copies_kept = true;
        config
    }

    /// Returns what members are told of the limits.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            name_chars: self.name_chars_max as u64,
            text_bytes: self.text_bytes_max as u64,
            frame_bytes: self.frame_bytes_max() as u64,
            grace_millis: u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Takes over what may change while there is a room: not the limits of a text, of members, and of the log in memory.
    pub(super) fn update(&mut self, settings: &Self) {
        let Self { name_chars_max, grace, history, admits, .. } = *settings;
        *self = Self { name_chars_max, grace, history, admits, ..self.clone() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_fit_together_are_refused_by_name() {
        let common = RoomSettings::default();
        assert_eq!(common.check(), Ok(()));
        let refused = |settings: RoomSettings| settings.check().unwrap_err().to_string();
        let many = refused(RoomSettings { members_max: 70_000, ..common.clone() });
        assert!(many.starts_with("members-max is 70000"), "{many}");
        let long = refused(RoomSettings { name_chars_max: 1_000, ..common.clone() });
        assert!(long.contains("name-max is 1000") && long.contains("2590 members fit"), "{long}");
        let large = refused(RoomSettings { text_bytes_max: 1 << 24, ..common });
        assert!(large.starts_with("text-max is 16777216"), "{large}");
    }
}
