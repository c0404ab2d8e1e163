//! Asking a server about its rooms.

use std::time::Duration;

use causerie_core::frame::{ClientFrame, ErrorCode, RoomInfo, ServerFrame, VERSION};

use crate::connection::Connection;
use crate::room::ConnectError;

/// A connection that asks about rooms instead of joining one.
///
/// ```no_run
/// # async fn example() -> Result<(), causerie_client::ConnectError> {
/// let mut directory = causerie_client::Directory::connect("127.0.0.1:12343").await?;
/// directory.create_room("lobby").await?;
/// for room in directory.rooms().await? {
///     println!("{} ({} members)", room.name, room.members);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Directory {
    connection: Connection,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

/// How long an answer may take.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

impl Directory {
    /// Connects to the server at `HOST:PORT`.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(server: &str) -> Result<Self, ConnectError> {
        let connection = Connection::open(server).await.map_err(ConnectError::Io)?;
        let mut directory = Self { connection };
        let agent = concat!("causerie ", env!("CARGO_PKG_VERSION")).to_owned();
        let hello = ClientFrame::Hello { oldest: VERSION, newest: VERSION, agent };
        match directory.ask(&hello).await? {
            ServerFrame::Hello { version: VERSION, .. } => Ok(directory),
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

    /// Makes a room of that name.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if there is one, or the name cannot be, or the server takes no more.
    pub async fn create_room(&mut self, name: &str) -> Result<RoomInfo, ConnectError> {
        self.create(name, false).await
    }

    /// Makes a room with a port of its own, as `./createRoom` does; it is named by its port.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if no port is left.
    pub async fn create_port_room(&mut self) -> Result<RoomInfo, ConnectError> {
        self.create("", true).await
    }

    async fn create(&mut self, name: &str, port: bool) -> Result<RoomInfo, ConnectError> {
        match self.ask(&ClientFrame::CreateRoom { name: name.into(), port }).await? {
            ServerFrame::RoomCreated(room) => Ok(room),
            other => Err(unexpected(&other)),
        }
    }

    /// Closes a room: its creator may, from the same address, and who has the operator's token.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if there is no such room, or it is not permitted.
    pub async fn close_room(&mut self, name: &str, operator: Option<&str>) -> Result<(), ConnectError> {
        let operator = operator.unwrap_or_default().to_owned();
        match self.ask(&ClientFrame::CloseRoom { name: name.into(), operator }).await? {
            ServerFrame::RoomClosed { .. } => Ok(()),
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

pub(crate) fn unexpected(frame: &ServerFrame) -> ConnectError {
    ConnectError::Refused {
        code: ErrorCode::Unexpected,
        message: format!("the server answered with a frame of kind {:#04x}", frame.kind()),
    }
}
