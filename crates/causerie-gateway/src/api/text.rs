//! Tokens and times as texts.

use cbcast::MemberId;

use causerie_core::id::{SecretText, Token};

/// Writes a membership as its client shows it: `0.7.` and the token in hexadecimal.
#[must_use]
pub fn token(member: MemberId, token: &Token) -> SecretText {
    format!("{member}.{}", hex::encode(token.bytes())).into()
}

/// Reads what [`token`] has written.
#[must_use]
pub fn read_token(text: &str) -> Option<(MemberId, Token)> {
    let (member, token) = text.rsplit_once('.')?;
    Some((member.parse().ok()?, token.parse().ok()?))
}

/// Writes a time in milliseconds since 1970, as RFC 3339 has it: `2026-01-31T09:30:00.125Z`. What no calendar reaches is
/// shown as its end.
#[must_use]
pub fn rfc3339(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", time.unwrap_or(jiff::Timestamp::MAX))
}
