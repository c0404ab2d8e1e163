//! The rooms that somebody was in, and where reading stopped in each: kept for the next start.

use causerie_client::{Epoch, Position};
use serde::{Deserialize, Serialize};

/// Rooms that are remembered. Nobody has so many on a screen.
pub(super) const ROOMS_MAX: usize = 100;

/// The rooms of one person at one server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Places {
    /// The room on the screen.
    pub(super) current: Option<String>,
    #[serde(default)]
    pub(super) rooms: Vec<ReadPlace>,
}

/// Place where reading stopped in a room.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct ReadPlace {
    pub(super) room: String,
    /// Epoch of the log whose positions these are, in hexadecimal: TOML's numbers have a sign.
    #[serde(with = "hexadecimal")]
    pub(super) epoch: Epoch,
    /// Position of the last message that was on the screen.
    pub(super) read: Position,
}

impl Places {
    /// Reads what was kept; what cannot be read is as if nothing had been.
    pub(super) fn parse(text: &str) -> Self {
        toml::from_str(text).unwrap_or_default()
    }

    /// Returns the places as text.
    pub(super) fn to_text(&self) -> String {
        toml::to_string(self).expect("texts and numbers are valid TOML")
    }
}

mod hexadecimal {
    use causerie_client::Epoch;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:x}", epoch.number()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Epoch, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Epoch::new).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_were_written_and_damage_is_none() {
        let place = |room: &str, epoch| ReadPlace {
            room: room.into(),
            epoch: Epoch::new(epoch),
            read: Position::new(12),
        };
        let rooms = vec![place("lobby", u64::MAX), place("日本\"\\", 1)];
        let places = Places { current: Some("lobby".into()), rooms };
        assert_eq!(Places::parse(&places.to_text()), places);
        assert_eq!(Places::parse("rooms = 7"), Places::default());
        assert_eq!(Places::parse("\u{0}"), Places::default());
    }
}
