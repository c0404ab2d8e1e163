//! Tokens and times as texts.

use cbcast::MemberId;

use causerie_core::key::Secret;

/// Writes a membership as its client shows it: `0.7.` and the secret in hexadecimal.
#[must_use]
pub fn token(member: MemberId, secret: &Secret) -> String {
    format!("{member}.{}", hex::encode(secret))
}

/// Reads what [`token`] has written.
#[must_use]
pub fn read_token(token: &str) -> Option<(MemberId, Secret)> {
    let (member, secret) = token.rsplit_once('.')?;
    Some((member.parse().ok()?, read_secret(secret)?))
}

/// Reads 32 hexadecimal digits.
#[must_use]
pub fn read_secret(text: &str) -> Option<Secret> {
    let mut secret = Secret::default();
    hex::decode_to_slice(text, &mut secret).ok()?;
    Some(secret)
}

/// Writes a time in milliseconds since 1970, as RFC 3339 has it: `2026-01-31T09:30:00.125Z`. What no calendar reaches is
/// shown as its end.
#[must_use]
pub fn rfc3339(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", time.unwrap_or(jiff::Timestamp::MAX))
}
