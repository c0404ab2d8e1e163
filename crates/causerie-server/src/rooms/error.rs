//! Reasons why something cannot be done with a room.

use causerie_core::content::name::{RoomName, RoomNameError};
use causerie_core::id::Position;
use causerie_core::wire::ErrorCode;
use thiserror::Error as ThisError;

/// Reasons why a room could not be made, found or closed. Nothing changed.
#[derive(Clone, Debug, Eq, PartialEq, ThisError)]
pub(crate) enum RoomError {
    #[error("there is no room '{0}'")]
    NoSuchRoom(String),
    #[error(transparent)]
    Name(#[from] RoomNameError),
    #[error("names that are numbers belong to rooms with a port of their own")]
    Reserved,
    #[error("there is a room '{0}' already")]
    Exists(RoomName),
    #[error("the name '{0}' reads like that of the room '{1}'")]
    ReadsLike(RoomName, RoomName),
    #[error("the server has {0} rooms, and takes no more")]
    TooMany(usize),
    #[error(
        "the server has {0} rooms with ports of their own, and takes no more; rooms without are made by name"
    )]
    TooManyPorts(usize),
    #[error("your address has made {0} rooms, and makes no more until one of them has gone")]
    TooManyOfAddress(usize),
    #[error("the operator lets nobody make rooms at the moment; try again later")]
    Lockdown,
    #[error("no port above the server's own is free")]
    NoPort,
    #[error("cannot listen on port {0}: {1}")]
    Bind(u16, String),
    #[error("only who has the key that the room was made with, and the operator, may close it")]
    NotPermitted,
    #[error("only the operator may do that")]
    NotOperator,
    #[error("what is stored of the room '{0}' is damaged; the operator knows more")]
    Damaged(RoomName),
    #[error("no room left to store messages; try again later")]
    StorageFull,
}

impl RoomError {
    /// Returns the code that native clients are told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NoSuchRoom(_) | Self::Damaged(_) => ErrorCode::NoSuchRoom,
            Self::Name(_) | Self::Reserved => ErrorCode::RoomNameInvalid,
            Self::Exists(_) | Self::ReadsLike(..) => ErrorCode::RoomExists,
            Self::TooMany(_)
            | Self::TooManyPorts(_)
            | Self::TooManyOfAddress(_)
            | Self::NoPort
            | Self::Bind(..) => ErrorCode::TooManyRooms,
            Self::NotPermitted | Self::NotOperator => ErrorCode::NotPermitted,
            Self::StorageFull => ErrorCode::StorageFull,
            Self::Lockdown => ErrorCode::Lockdown,
        }
    }
}

/// Reasons why the log cannot be read on, in the words that all gateways tell.
#[derive(Debug, ThisError)]
pub(crate) enum Unreadable {
    /// Records that come next are not kept any more, or damaged, up to here.
    #[error("{lost} messages cannot be read any more")]
    Gap {
        /// The last position that cannot be read.
        end: Position,
        /// Number of records behind the cursor that cannot be read.
        lost: u64,
    },
    /// The store has failed.
    #[error("{0}")]
    Failed(String),
}
