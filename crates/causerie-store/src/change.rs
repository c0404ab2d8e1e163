//! Changes that can be committed.

use core::fmt;

use bytes::Bytes;
use causerie_core::id::{Epoch, Position};
use cbcast::MemberId;

/// Number of a room, for the store: given out by the caller, from [`Store::next_room`](crate::Store::next_room) on,
/// never used again, not even after the room was closed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoomId(pub u64);

impl RoomId {
    /// The greatest: with a position it fits one key of 63 bits of the search index.
    pub const MAX: Self = Self((1 << 27) - 1);
}

/// The greatest position of a room's log.
pub(crate) const POSITION_MAX: Position = Position::new((1 << 36) - 1);

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room {}", self.0)
    }
}

/// Bytes of a mark's name.
pub const MARK_BYTES_MAX: usize = 128;

/// Facts kept of a room beside its log. The store reads none of it, and does not keep names unique.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoomRow {
    /// Its name.
    pub name: String,
    /// Its own port, if it has one.
    pub port: Option<u16>,
    /// Address from which it was made: for the operator.
    pub creator: String,
    /// The public key of who may close it, if anybody but the operator may.
    pub maker: Option<[u8; 32]>,
    /// Epoch of its log.
    pub epoch: Epoch,
    /// Time at which it was made, by the wall clock: for people.
    pub created_millis: u64,
    /// Time at which it was closed, by the wall clock, if it was: it is kept for a while.
    pub closed_millis: Option<u64>,
}

/// Facts kept of a member, present or departed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberRow {
    /// Id of the member.
    pub member: MemberId,
    /// Name of the member.
    pub name: String,
    /// The position of its *Joined*.
    pub joined_at: Position,
    /// The position of its *Left*; `None`: it is in.
    pub left_at: Option<Position>,
    /// Number of its messages that have been taken. For the departed, as told to who comes back; for those present
    /// the log knows better.
    pub taken: u64,
    /// Means by which it is known again, if it can come back.
    pub secrets: Option<StoredSecrets>,
}

/// Means by which a member is known again, made by the caller: whoever reads the store cannot resume as anybody.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum StoredSecrets {
    /// The public key of a member that stamps its own messages.
    Key([u8; 32]),
    /// SHA-256 hashes of the secrets of a member that the server speaks for.
    Bearer {
        /// Hash of its token.
        token: [u8; 32],
        /// Hash of its join's nonce.
        nonce: [u8; 32],
    },
}

impl fmt::Debug for StoredSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredSecrets(..)")
    }
}

/// One change. Those of one [`commit`](crate::Store::commit) happen in their order, all or none.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new, empty room. The caller keeps names unique.
    Create {
        /// Number of the room, not below [`Store::next_room`](crate::Store::next_room).
        room: RoomId,
        /// Facts about it.
        row: RoomRow,
    },
    /// Other facts about a room, in place of those before.
    Update {
        /// The room.
        room: RoomId,
        /// The facts.
        row: RoomRow,
    },
    /// A room goes, and everything of it: unreadable at once, removed from the disk behind the scenes.
    Close {
        /// The room.
        room: RoomId,
    },
    /// The log of a room grows.
    Append {
        /// The room.
        room: RoomId,
        /// The room's last position plus one.
        first: Position,
        /// The position of the run's last record.
        last: Position,
        /// Whole `Delivered` frames of the positions `first..=last`. Kept and given back as they are.
        run: Bytes,
    },
    /// A member comes, changes or leaves: inserted, or replaced whole.
    Member {
        /// The room that it is in.
        room: RoomId,
        /// All that is kept of it.
        row: MemberRow,
    },
    /// A name under which a record is found again ([`Store::marked`](crate::Store::marked)): one record can have many, and
    /// many records one. It goes with its record.
    Mark {
        /// The room that it is in.
        room: RoomId,
        /// The name: any bytes, [`MARK_BYTES_MAX`] at most.
        name: Bytes,
        /// Position of the record, at most the room's last.
        position: Position,
    },
    /// Replaces the room's checkpoint: what the caller needs beside the records behind `position` to go on.
    Checkpoint {
        /// The room.
        room: RoomId,
        /// The position at which the state was taken, at most the room's last.
        position: Position,
        /// Opaque to the store.
        state: Bytes,
    },
}

impl Change {
    /// The room that it changes.
    #[must_use]
    pub const fn room(&self) -> RoomId {
        match self {
            Self::Create { room, .. }
            | Self::Update { room, .. }
            | Self::Close { room }
            | Self::Append { room, .. }
            | Self::Member { room, .. }
            | Self::Mark { room, .. }
            | Self::Checkpoint { room, .. } => *room,
        }
    }
}
