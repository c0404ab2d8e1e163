//! Refusals of what clients send.

use thiserror::Error;

use causerie_core::id::NotClientId;

/// Error of something that a client has sent.
#[derive(Debug, Error)]
pub enum ApiError {
    /// Text that is not the JSON that is expected there.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// No kind of message has this name.
    #[error(
        "there is no kind '{0}': it is one of text, action, notice, reply, edit, delete, reaction, topic"
    )]
    Kind(String),
    /// A field that this kind needs is missing.
    #[error("a message of kind '{kind}' has a field '{field}'")]
    Missing {
        /// Kind of the message.
        kind: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// A field that this kind does not have.
    #[error("a message of kind '{kind}' has no field '{field}'")]
    Superfluous {
        /// Kind of the message.
        kind: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// A text that is no id of a message.
    #[error("'{0}' is not the id of a message, such as 0.7#90")]
    MessageId(String),
    /// Text that is no client's id.
    #[error(transparent)]
    ClientId(#[from] NotClientId),
}
