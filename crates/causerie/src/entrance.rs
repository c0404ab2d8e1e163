//! The way into a server's rooms.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use causerie_client::{
    ConnectError, Directory, Disturbance, History, JoinError, Kept, KeyPair, NotTls, Room, RoomInfo,
    RoomOptions, Security,
};
use causerie_core::content::text::visible;
use causerie_core::session::kept_name;

/// The way into a server's rooms.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    pub(crate) server: String,
    pub(crate) security: Security,
    pub(crate) link: Option<Disturbance>,
    /// `None`: nothing is kept.
    pub(crate) state: Option<PathBuf>,
    /// Asks who has delivered what is said, to show it.
    pub(crate) follows_stable: bool,
}

/// The key with which rooms are made, and may be closed.
pub(crate) fn own_key(state: Option<&Path>) -> anyhow::Result<Option<KeyPair>> {
    let Some(path) = state.map(|state| state.join("key")) else { return Ok(None) };
    let key = causerie_client::own_key(&path);
    key.map(Some).with_context(|| format!("the key of your rooms, {}, cannot be had", path.display()))
}

/// The platform's folder for the state of programs.
pub(crate) fn default_state() -> Option<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "causerie")?;
    Some(folders.state_dir().unwrap_or(folders.data_local_dir()).join("chat"))
}

/// Asks a server about its rooms.
pub(crate) async fn directory(server: &str, security: &Security) -> anyhow::Result<Directory> {
    Directory::connect_with(server, security).await.map_err(|error| unreached(error, server))
}

/// Says that a server cannot be reached, unless it was reached and is not the right one.
pub(crate) fn unreached(error: ConnectError, server: &str) -> anyhow::Error {
    match error {
        ConnectError::Untrusted(error) => error.into(),
        error => anyhow::Error::new(error).context(format!("cannot reach {server}")),
    }
}

fn answers_in_clear_text(error: &io::Error) -> bool {
    let why = error.get_ref().and_then(|why| why.downcast_ref());
    matches!(why, Some(NotTls::Answers(_)))
}

impl Entrance {
    /// Sees to it that nobody has to be asked about the server later, when there is something else on the terminal. A server that
    /// cannot be reached is told of later, by who needs it.
    pub(crate) async fn meet(&mut self) -> anyhow::Result<()> {
        let asking = self.security.clone();
        self.security = asking.clone().without_asking();
        if !asking.asks() {
            return Ok(());
        }
        match causerie_client::meet(&self.server, &asking).await {
            Err(ConnectError::Io(error)) if !answers_in_clear_text(&error) => Ok(()),
            met => met.map_err(|error| unreached(error, &self.server)),
        }
    }

    /// Joins a room; where the server does not answer, the error is one of input and output.
    pub(crate) async fn join(&self, room: &str, name: &str, create: bool) -> anyhow::Result<Room> {
        let maker = if create { self.own_key()? } else { None };
        let mut options = RoomOptions::new(&self.server, room, name)
            .create(create)
            .security(self.security.clone())
            .maker(maker)
            .follow_stable(self.follows_stable);
        if let Some(link) = &self.link {
            options = options.disturbance(link.clone());
        }
        let joined = match self.kept(room, name)? {
            Some(kept) => options.join_and_keep(kept).await,
            None => options.join().await,
        };
        joined.map_err(|error| match error {
            JoinError::Io(error) => {
                anyhow::Error::new(error).context(format!("cannot reach {}", self.server))
            }
            JoinError::Untrusted(error) => error.into(),
            JoinError::Ended(end) => anyhow::Error::new(end),
        })
    }

    /// The key with which rooms are made here; `None` where nothing is kept.
    pub(crate) fn own_key(&self) -> anyhow::Result<Option<KeyPair>> {
        own_key(self.state.as_deref())
    }

    /// Opens the file in which the membership is kept.
    fn kept(&self, room: &str, name: &str) -> anyhow::Result<Option<Kept>> {
        let Some(state) = &self.state else { return Ok(None) };
        let path = state.join(kept_name(&self.server, room, name));
        match Kept::open(&path) {
            Ok(kept) => Ok(Some(kept)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(anyhow!("'{}' is in '{}' already, from here", visible(name), visible(room)))
            }
            Err(error) => Err(anyhow!(
                "who you are cannot be kept in {}: {error}; --state DIR chooses another folder",
                state.display()
            )),
        }
    }

    /// Makes a room with a port of its own.
    pub(crate) async fn create_port_room(&self) -> anyhow::Result<RoomInfo> {
        let maker = self.own_key()?;
        Ok(self.directory().await?.create_port_room(maker.as_ref()).await?)
    }

    pub(crate) async fn history(&self, room: &str) -> Result<History, ConnectError> {
        History::connect_with(&self.server, room, &self.security).await
    }

    pub(crate) async fn directory(&self) -> anyhow::Result<Directory> {
        directory(&self.server, &self.security).await
    }
}

pub(crate) const NO_STATE: &str =
    "there is no folder to keep state in: what is on its way is lost if this chat is killed";
