//! Things that go wrong on a connection, and their numbers.

use cbcast::WireError;
use thiserror::Error;

/// Something went wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorFrame {
    /// Code of the error.
    pub code: ErrorCode,
    /// The server closes the connection behind this frame.
    pub fatal: bool,
    /// A sentence for people.
    pub message: String,
    /// [`NameTaken`](ErrorCode::NameTaken): a name that is free. On the wire an empty one is none.
    pub suggestion: Option<String>,
    /// [`Expired`](ErrorCode::Expired), [`Diverged`](ErrorCode::Diverged): the greatest number taken of the member's
    /// messages. On the wire 0 stands for none, too.
    pub taken: Option<u64>,
}

impl ErrorFrame {
    /// An error after which the connection goes on.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, fatal: false, message: message.into(), suggestion: None, taken: None }
    }

    /// An error after which the connection ends.
    #[must_use]
    pub fn fatal(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { fatal: true, ..Self::new(code, message) }
    }
}

impl ErrorCode {
    /// Returns whether an error of this code tells how much was taken, be it nothing.
    pub(super) const fn tells_taken(self) -> bool {
        matches!(self, Self::Expired | Self::Diverged)
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Codes of what can go wrong.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A number that this version does not know.
            Other(u64),
        }

        impl ErrorCode {
            /// Its number on the wire.
            #[must_use]
            pub const fn number(self) -> u64 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// The code of this number.
            #[must_use]
            pub const fn from_number(code: u64) -> Self {
                match code {
                    $($code => Self::$name,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

error_codes! {
    /// No version that both sides speak.
    Version = 1,
    /// Bytes that are not what they should be.
    Malformed = 2,
    /// A frame longer than the limit.
    FrameTooLong = 3,
    /// A frame was begun and not ended, or a connection did not say hello, within the time allowed.
    TimedOut = 4,
    /// A frame that does not fit here, such as a broadcast before joining.
    Unexpected = 5,
    /// No room of that name.
    NoSuchRoom = 10,
    /// Text that is no room's name.
    RoomNameInvalid = 11,
    /// Text that is no member's name.
    NameInvalid = 12,
    /// Another member has that name.
    NameTaken = 13,
    /// The room takes no more members.
    RoomFull = 14,
    /// Name that a room has already.
    RoomExists = 15,
    /// The server takes no more rooms, or has no port left for one.
    TooManyRooms = 16,
    /// Neither the room's key nor the operator's token.
    NotPermitted = 17,
    /// The room's log has no readable message of that id.
    NoSuchMessage = 18,
    /// The key is not that member's, or its proof does not hold on this connection.
    WrongKey = 20,
    /// The member was away for longer than `grace`, or has left.
    Expired = 21,
    /// The client knows more than the server: they do not share a past.
    Diverged = 22,
    /// The member has resumed on another connection.
    Superseded = 23,
    /// The room was closed.
    RoomClosed = 24,
    /// The server is going down.
    ShuttingDown = 25,
    /// A message was refused for good, so the membership has ended.
    MembershipEnded = 26,
    /// The connection was read so slowly that what comes next is not kept any more. Resuming tells the gap.
    TooFarBehind = 27,
    /// Full storage: nobody joins; what members say waits, and nobody sees it yet.
    StorageFull = 28,
    /// Records that cannot be read at the moment; the server's operator knows more.
    Unreadable = 29,
    /// Too much of that from the client's address: it may try again later.
    TooOften = 30,
    /// End of [`StorageFull`](Self::StorageFull): what waited is stored.
    StorageAgain = 31,
    /// Connection in clear text with a server that is spoken with by TLS.
    NotEncrypted = 46,
    /// Lockdown by the operator: no room is made, and nobody joins who is not a member.
    Lockdown = 47,
}

/// Error of bytes that are not a frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Longer than agreed.
    #[error("a frame of {length} bytes, the limit is {limit}")]
    TooLong {
        /// Its length.
        length: u64,
        /// The limit.
        limit: usize,
    },
    /// A length of 0: there is always a kind.
    #[error("a frame without a kind")]
    Empty,
    /// A field is cut off or out of range.
    #[error("in a frame of kind {kind:#04x}: {error}")]
    Field {
        /// The kind of frame.
        kind: u8,
        /// Error in the field.
        error: WireError,
    },
    /// A text is not UTF-8.
    #[error("a text in a frame of kind {kind:#04x} is not UTF-8")]
    NotUtf8 {
        /// The kind of frame.
        kind: u8,
    },
    /// The length field itself is malformed.
    #[error("the length of a frame is malformed")]
    Length,
}
