//! Names under which a store finds records again.
//!
//! ```text
//! name of what changes a message   = 'a' origin ordinal seq       the message, edited or deleted by its author
//! name of what a member said once  = 'o' origin ordinal id        whose, and the id that its client made
//! name of what sets a topic         = 't'
//! ```
//! Numbers are big-endian, of their full width.

use cbcast::{MemberId, MessageId};

use crate::id::ClientId;

/// Name of the records that set the room's topic.
pub const TOPIC: &[u8] = b"t";

/// Returns the name of the records that edit or delete `target`. (Older rooms have marked replies and reactions so, too.)
#[must_use]
pub fn changes(target: MessageId) -> Vec<u8> {
    let mut name = of(b'a', target.member);
    name.extend_from_slice(&target.seq.to_be_bytes());
    name
}

/// Returns the name of the record of what `member` said with the id `client_id`.
#[must_use]
pub fn once(member: MemberId, client_id: &ClientId) -> Vec<u8> {
    let mut name = of(b'o', member);
    name.extend_from_slice(client_id.as_str().as_bytes());
    name
}

fn of(kind: u8, member: MemberId) -> Vec<u8> {
    let mut name = vec![kind];
    name.extend_from_slice(&member.origin.to_be_bytes());
    name.extend_from_slice(&member.ordinal.to_be_bytes());
    name
}
