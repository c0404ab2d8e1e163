//! Asking a server about its rooms.

use std::time::Duration;

use causerie_core::key::{Challenge, KeyPair, Proof, Purpose};
use causerie_core::wire::{ClientFrame, ClosedRoom, ErrorCode, RoomInfo, ServerFrame, VERSION};

use crate::connection::Connection;
use crate::room::ConnectError;
use crate::trust::Security;

/// A connection that asks about rooms instead of joining one.
///
/// ```no_run
/// # async fn example() -> Result<(), causerie_client::ConnectError> {
/// let mut directory = causerie_client::Directory::connect("127.0.0.1:12343").await?;
/// directory.create_room("lobby", None).await?;
/// for room in directory.rooms().await? {
///     println!("{} ({} members)", room.name, room.members);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Directory {
    connection: Connection,
    challenge: Challenge,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

/// Time that an answer may take.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

impl Directory {
    /// Connects to the server at `HOST:PORT`, by TLS unless it is on this machine; see [`Security::new`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(server: &str) -> Result<Self, ConnectError> {
        Self::connect_with(server, &Security::new()).await
    }

    /// Connects to the server at `HOST:PORT`, protected so.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_with(server: &str, security: &Security) -> Result<Self, ConnectError> {
        let connection = Connection::open(server, security).await?;
        let mut directory = Self { connection, challenge: Challenge::default() };
        let agent = concat!("causerie ", env!("CARGO_PKG_VERSION")).to_owned();
        let hello = ClientFrame::Hello { oldest: VERSION, newest: VERSION, agent };
        match directory.ask(&hello).await? {
            ServerFrame::Hello { version: VERSION, challenge, .. } => {
                directory.challenge = challenge;
                Ok(directory)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The rooms there are.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn rooms(&mut self) -> Result<Vec<RoomInfo>, ConnectError> {
        match self.ask(&ClientFrame::ListRooms).await? {
            ServerFrame::Rooms(rooms) => Ok(rooms),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a room of that name, which may be closed with the key; without one only the operator can.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if there is one, or the name cannot be, or the server takes no more.
    pub async fn create_room(
        &mut self,
        name: &str,
        maker: Option<&KeyPair>,
    ) -> Result<RoomInfo, ConnectError> {
        self.create(name, false, maker).await
    }

    /// Makes a room with a port of its own, as `./createRoom` does; it is named by its port.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if no port is left.
    pub async fn create_port_room(&mut self, maker: Option<&KeyPair>) -> Result<RoomInfo, ConnectError> {
        self.create("", true, maker).await
    }

    fn prove(&self, key: Option<&KeyPair>) -> Option<Proof> {
        key.map(|key| key.prove(Purpose::Room, &self.challenge))
    }

    async fn create(
        &mut self,
        name: &str,
        port: bool,
        maker: Option<&KeyPair>,
    ) -> Result<RoomInfo, ConnectError> {
        let maker = self.prove(maker);
        let temporary = false;
        match self.ask(&ClientFrame::CreateRoom { name: name.into(), port, maker, temporary }).await? {
            ServerFrame::RoomCreated(room) => Ok(room),
            other => Err(unexpected(&other)),
        }
    }

    /// Closes a room: who has the key that it was made with may, and who has the operator's token. The server keeps what was
    /// said in it for a while.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if there is no such room, or it is not permitted.
    pub async fn close_room(
        &mut self,
        name: &str,
        operator: Option<&str>,
        maker: Option<&KeyPair>,
    ) -> Result<(), ConnectError> {
        let (name, operator) = (name.to_owned(), operator.unwrap_or_default().into());
        let maker = self.prove(maker);
        match self.ask(&ClientFrame::CloseRoom { name, operator, maker }).await? {
            ServerFrame::RoomClosed { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The rooms that were closed and are kept, the last one last. For the operator.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if that is not the operator's token.
    pub async fn closed_rooms(&mut self, operator: &str) -> Result<Vec<ClosedRoom>, ConnectError> {
        match self.ask(&ClientFrame::ListClosedRooms { operator: operator.into() }).await? {
            ServerFrame::ClosedRooms(rooms) => Ok(rooms),
            other => Err(unexpected(&other)),
        }
    }

    /// Opens a closed room again: the one of that name and [number](ClosedRoom::number), or of that name the one that was closed
    /// last. For the operator.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if there is none, or another room of that name, or that is not the operator's token.
    pub async fn open_room(
        &mut self,
        name: &str,
        number: Option<u64>,
        operator: &str,
    ) -> Result<RoomInfo, ConnectError> {
        let (name, operator) = (name.to_owned(), operator.into());
        match self.ask(&ClientFrame::OpenRoom { name, operator, number }).await? {
            ServerFrame::RoomCreated(room) => Ok(room),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&mut self, question: &ClientFrame) -> Result<ServerFrame, ConnectError> {
        self.push(question);
        match self.next(ANSWER_TIMEOUT).await? {
            ServerFrame::Error(error) => {
                Err(ConnectError::Refused { code: error.code, message: error.message })
            }
            frame => Ok(frame),
        }
    }

    /// Queues a frame; [`next`](Self::next) writes it.
    pub(crate) fn push(&mut self, frame: &ClientFrame) {
        self.connection.push(frame);
    }

    /// The next frame from the server. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<ServerFrame, ConnectError> {
        let answer = async {
            loop {
                if let Some((frame, _)) = self.connection.pop()? {
                    return Ok(frame);
                }
                self.connection.step(true).await?;
            }
        };
        let timed_out = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer");
        let answer = tokio::time::timeout(patience, answer).await;
        answer.unwrap_or_else(|_| Err(timed_out())).map_err(ConnectError::Io)
    }
}

/// Meets the server at `HOST:PORT` before there is anything to say to it: connects, asks about it if it is new, and parts. Nothing
/// is done where connections to it are not encrypted, or it is [known](Security::knows).
///
/// For programs that ask before they draw on the terminal, say, and go on with [`Security::without_asking`].
///
/// # Errors
/// [`ConnectError::Io`], [`ConnectError::Untrusted`].
pub async fn meet(server: &str, security: &Security) -> Result<(), ConnectError> {
    Ok(Connection::meet(server, security).await?)
}

pub(crate) fn unexpected(frame: &ServerFrame) -> ConnectError {
    ConnectError::Refused {
        code: ErrorCode::Unexpected,
        message: format!("the server answered with a frame of kind {:#04x}", frame.kind()),
    }
}
