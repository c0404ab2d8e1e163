//! Times and places in a room's log, as people write and read them.

use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use causerie_client::Place;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// Place from which on to read a room's log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Since(pub(crate) Place);

impl FromStr for Since {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some(id) = text.contains('#').then(|| text.parse().ok()) {
            return Ok(Self(Place::Message(id.context("a message's id is written like 0.7#90")?)));
        }
        if text.chars().all(|c| c.is_ascii_digit()) && !text.is_empty() {
            return Ok(Self(Place::Position(text.parse().context("there are no such positions")?)));
        }
        let time = match text.parse::<Timestamp>() {
            Ok(time) => time,
            Err(_) => ago(text, Timestamp::now())?,
        };
        ensure!(time.as_millisecond() >= 0, "there was nothing before 1970");
        Ok(Self(Place::Time(time.as_millisecond() as u64)))
    }
}

fn ago(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let Ok(span) = text.parse::<Span>() else {
        bail!(
            "neither a position such as 90, a message such as 0.7#90, a time such as 2026-01-31T09:30:00Z, nor a while ago such as 2h or 3d"
        );
    };
    let span =
        span.to_duration(SpanRelativeTo::days_are_24_hours()).context("months and years have no length")?;
    ensure!(!span.is_negative(), "that is not in the past");
    Ok(now.checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH).max(Timestamp::UNIX_EPOCH))
}

/// A time in milliseconds since 1970, as RFC 3339 has it, to the second: `2026-01-31T09:30:00Z`. What no calendar
/// reaches is shown as its end.
pub(crate) fn to_the_second(millis: u64) -> String {
    format!("{:.0}", timestamp(millis - millis % 1_000))
}

fn timestamp(millis: u64) -> Timestamp {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use causerie_client::{MemberId, MessageId, Position};
    use causerie_gateway::api::rfc3339;

    use super::*;

    #[test]
    fn places_are_positions_messages_times_and_whiles_ago() {
        let place = |text: &str| text.parse::<Since>().map(|since| since.0);
        assert_eq!(place("90").unwrap(), Place::Position(Position::new(90)));
        let id = MessageId::new(MemberId::new(0, 7), 90);
        assert_eq!(place("0.7#90").unwrap(), Place::Message(id));
        assert_eq!(place("1970-01-01T00:00:01.5Z").unwrap(), Place::Time(1_500));
        assert_eq!(place("1970-01-01T02:00:01+02:00").unwrap(), Place::Time(1_000));
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (text, seconds) in
            [("90s", 90), ("2h", 7_200), ("1h30m", 5_400), ("2d", 172_800), ("900w", 1_000_000)]
        {
            assert_eq!(ago(text, now).unwrap().as_second(), 1_000_000 - seconds, "{text}");
        }
        assert!(matches!(place("2h").unwrap(), Place::Time(_)));
        for wrong in [
            "",
            "yesterday",
            "-2h",
            "1month",
            "0.7#",
            "7#90",
            "0.7#x",
            "-1",
            "2026-01-31",
            "2026-01-31T09:30:00",
            "1960-01-01T00:00:00Z",
            "99999999999999999999",
        ] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_and_read_back() {
        for millis in [0, 999, 1_700_000_000_125, 4_102_444_800_000] {
            assert_eq!(rfc3339(millis).parse::<Since>().unwrap().0, Place::Time(millis));
        }
        assert_eq!(rfc3339(1_700_000_000_120), "2023-11-14T22:13:20.120Z");
        assert_eq!(to_the_second(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert!(rfc3339(u64::MAX).starts_with("9999-12-30T"));
    }
}
