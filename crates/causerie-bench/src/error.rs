//! Errors of a load.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::plan::PlanError;
use crate::speaker::SpeakError;

/// Time that connecting and joining may take, all members together.
pub(crate) const JOIN_PATIENCE: Duration = Duration::from_secs(60);

/// Error instead of a report.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The plan cannot be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The rooms could not be made.
    #[error("cannot make the rooms: {0}")]
    Rooms(SpeakError),
    /// No connection.
    #[error("cannot connect to {server}: {error}")]
    Connect {
        /// Address of the server.
        server: SocketAddr,
        /// Cause.
        error: io::Error,
    },
    /// A conversation ended too early.
    #[error("{name} in room {room}: {error}")]
    Member {
        /// Name of the member.
        name: String,
        /// Name of the room.
        room: String,
        /// Cause.
        error: SpeakError,
    },
    /// Members who never got in.
    #[error("{left} of {members} members were not in their room after {} s", JOIN_PATIENCE.as_secs())]
    Joining {
        /// Number of those who did not get in.
        left: usize,
        /// Number of all members.
        members: usize,
    },
    /// The server's use cannot be read.
    #[error("cannot read what the server (process {pid}) uses: {error}")]
    Usage {
        /// The process.
        pid: u32,
        /// Cause.
        error: io::Error,
    },
    /// The operating system does not let us wait for sockets.
    #[error("cannot wait for connections: {0}")]
    Poll(#[source] io::Error),
}
