//! Ids, tokens and times as texts.

use std::str::FromStr;

use cbcast::{MemberId, MessageId};

use causerie_core::key::Secret;

/// Reads `0.7`.
#[must_use]
pub fn member_id(text: &str) -> Option<MemberId> {
    let (origin, ordinal) = text.split_once('.')?;
    Some(MemberId::new(number(origin)?, number(ordinal)?))
}

/// Reads `0.7#90`.
#[must_use]
pub fn message_id(text: &str) -> Option<MessageId> {
    let (member, seq) = text.split_once('#')?;
    Some(MessageId::new(member_id(member)?, number(seq)?))
}

/// Reads digits only: an id is written in one way.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let canonical = !text.is_empty() && (text == "0" || !text.starts_with('0'));
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok()).flatten()
}

/// Writes a membership as its client shows it: `0.7.` and the secret in hexadecimal.
#[must_use]
pub fn token(member: MemberId, secret: &Secret) -> String {
    format!("{member}.{}", hex::encode(secret))
}

/// Reads what [`token`] has written.
#[must_use]
pub fn read_token(token: &str) -> Option<(MemberId, Secret)> {
    let (member, secret) = token.rsplit_once('.')?;
    Some((member_id(member)?, read_secret(secret)?))
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
