//! Traits of a protocol on which the load can be put.

use std::fmt;

use causerie_core::content::text::visible;
use thiserror::Error;

/// One place in a room: who a connection is.
#[derive(Clone, Debug)]
pub struct SpeakerSeat {
    /// The room's name: letters, digits and `-`.
    pub room: String,
    /// The member's name: letters, digits and `-`.
    pub name: String,
    /// It will be asked to talk.
    pub talks: bool,
    /// Length of each text, in bytes.
    pub text_bytes: usize,
}

/// A protocol as the load sees it. To add one, write this and a [`LoadSpeaker`].
pub trait LoadProtocol: fmt::Debug + Sync {
    /// Returns the name of the protocol.
    fn name(&self) -> &'static str;

    /// Returns whether a member gets its own messages too.
    fn echoes(&self) -> bool;

    /// The longest text that it carries in one piece.
    fn text_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// One connection's side of the conversation.
    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker>;

    /// Makes the rooms before anybody connects, where joining does not.
    ///
    /// # Errors
    /// If they cannot be made.
    fn open(&self, rooms: &[String]) -> Result<(), SpeakError> {
        let _ = rooms;
        Ok(())
    }

    /// Puts things back after everybody has gone. Nothing depends on whether that succeeds.
    fn close(&self, rooms: &[String]) {
        let _ = rooms;
    }
}

/// One connection's side of the conversation, without the socket.
pub trait LoadSpeaker {
    /// Appends the first words to `out`.
    fn greet(&mut self, out: &mut Vec<u8>);

    /// Returns whether it is in the room, so that it gets whatever is said from now on.
    fn is_ready(&self) -> bool;

    /// Reads the whole frames at the front of `input`, gives each text to `deliver`, and appends what has to be
    /// answered to `out`. Returns how many bytes were read; the others come again with what follows them.
    ///
    /// # Errors
    /// The conversation is over: nobody can go on counting.
    fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, SpeakError>;

    /// Appends what says `text` in the room. Only on those who [talk](SpeakerSeat::talks) and are ready.
    fn say(&mut self, text: &[u8], out: &mut Vec<u8>);
}

/// Reason why a conversation is over.
#[derive(Debug, Error)]
pub enum SpeakError {
    /// The server does not want to.
    #[error("the server says: {}", visible(message))]
    Refused {
        /// Words of the server.
        message: String,
    },
    /// The server broke a rule of the protocol.
    #[error("the server broke the protocol: {}", visible(what))]
    Broken {
        /// Breach of it, in words.
        what: String,
    },
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl SpeakError {
    /// The server broke a rule of the protocol.
    #[must_use]
    pub fn broken(what: impl Into<String>) -> Self {
        Self::Broken { what: what.into() }
    }
}
