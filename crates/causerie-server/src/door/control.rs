//! The control socket: a file in the data folder. Whoever may open it is the operator, and is served the HTTP interface.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::{UnixListener, UnixStream};
use tracing::debug;

use super::{ACCEPT_PAUSE, Door};
use crate::gateways::IncomingConnection;
use crate::gateways::way::Way;
use crate::net::addresses::{Entrance, Visitor};
use crate::net::budget::warn_seldom;
use crate::net::stream::Stream;
use crate::settings::Protocol;

/// A socket's file, which goes with this.
#[derive(Debug)]
pub(crate) struct ControlFile(PathBuf);

impl Drop for ControlFile {
    fn drop(&mut self) {
        // If it stays, the next server replaces it.
        fs::remove_file(&self.0).ok();
    }
}

/// Binds the socket for its owner alone. One that a server has left behind is replaced: who has the folder has it alone.
pub(crate) fn bind(path: &Path) -> io::Result<(UnixListener, ControlFile)> {
    // It is made where nobody else can reach it, and moved once others have no right to it.
    let folder = path.with_extension("new");
    fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    DirBuilder::new().mode(0o700).create(&folder)?;
    let made = folder.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        fs::rename(&made, path)?;
        Ok((listener, ControlFile(path.to_owned())))
    });
    // Nothing is in it, or what could not be bound.
    fs::remove_dir_all(&folder).ok();
    bound
}

impl Door {
    /// Serves the operator in a task of its own until the server stops.
    pub(crate) fn open_control(&self, listener: UnixListener) {
        self.server.spawn(self.clone().accept_operators(listener));
    }

    async fn accept_operators(self, listener: UnixListener) {
        while let Some(accepted) = self.server.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((socket, _)) => {
                    let door = self.clone();
                    self.server.spawn(async move { door.serve_operator(socket).await });
                }
                Err(error) => {
                    warn_seldom!("cannot accept connections of the operator: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_operator(&self, socket: UnixStream) {
        let peer = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let entered = Visitor::enter(&self.server.addresses, peer.ip(), Entrance::Control);
        let Ok(visitor) = entered else { return };
        let (way, first, room, refused) = (Way::Control, BytesMut::new(), None, None);
        let stream: Arc<Stream> = Stream::of_unix(socket);
        let newcomer = IncomingConnection { stream, peer, way, visitor, first, room, refused };
        if let Err(error) = self.gateways.serve(&self.server, Protocol::Http, newcomer).await {
            debug!("connection of the operator: {error}");
        }
    }
}
