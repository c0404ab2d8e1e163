//! The topic of a room, with the edits and the deletion of what set it.

use std::collections::BTreeSet;

use bytes::Bytes;
use cbcast::MessageId;

use crate::content::body::{Body, LOOKS_MAX, topic_part};

/// Words on what a room is about.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Topic {
    /// The words; empty if it was taken away.
    pub text: String,
    /// Name of the member that set it.
    pub by: String,
    /// Time at which it was set, in milliseconds since 1970, for people.
    pub at_millis: u64,
    /// The message that set it, and the edits of it.
    pub said: BTreeSet<MessageId>,
}

impl Topic {
    /// Returns the topic after `payload`, the message `id`, has changed `target`: another one only if `target` set it or
    /// edited it.
    pub(super) fn changed(mut self, target: MessageId, id: MessageId, payload: &Bytes) -> Option<Self> {
        if !self.said.contains(&target) {
            return Some(self);
        }
        match Body::decode(payload) {
            Body::Edit { text, .. } if self.said.len() <= LOOKS_MAX => {
                self.text = topic_part(&text).to_owned();
                self.said.insert(id);
            }
            Body::Delete { .. } => return None,
            Body::Text(_)
            | Body::Action(_)
            | Body::Notice(_)
            | Body::Reply { .. }
            | Body::Edit { .. }
            | Body::Reaction { .. }
            | Body::Topic(_)
            | Body::Unknown(_) => {}
        }
        Some(self)
    }
}
