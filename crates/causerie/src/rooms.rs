//! `causerie rooms`: list, create and close rooms.

use std::io::{self, Write};

use anyhow::Context;
use causerie_client::{ConnectError, Directory};
use causerie_core::text::visible;
use clap::{Args, Subcommand};

/// List, create and close rooms.
#[derive(Args, Debug)]
pub(crate) struct RoomsArgs {
    /// The server.
    #[arg(long, short, value_name = "HOST[:PORT]", default_value = "127.0.0.1:12343", global = true)]
    server: String,

    #[command(subcommand)]
    command: Option<RoomsCommand>,
}

#[derive(Debug, Subcommand)]
enum RoomsCommand {
    /// List the rooms there are (the default).
    List,
    /// Create a room.
    Create {
        /// Its name: letters of any script, digits, '-', '_' and '.'. Without one it gets a port of its own and is named by it.
        name: Option<String>,
    },
    /// Close a room: who created it may, from the same address, and the operator.
    Close {
        /// Its name.
        name: String,
        /// The operator's token, as given to `serve`.
        #[arg(long, env = "CAUSERIE_OPERATOR_TOKEN", hide_env_values = true)]
        operator_token: Option<String>,
    },
}

pub(crate) async fn run(args: RoomsArgs) -> anyhow::Result<()> {
    let server = crate::chat::with_port(&args.server);
    let directory = Directory::connect(&server).await;
    let mut directory = directory.with_context(|| format!("cannot reach {server}"))?;
    let mut out = io::stdout();
    match args.command.unwrap_or(RoomsCommand::List) {
        RoomsCommand::List => list(&mut directory, |line| writeln!(out, "{line}")).await?,
        RoomsCommand::Create { name } => {
            let room = match name {
                Some(name) => directory.create_room(&name).await?,
                None => directory.create_port_room().await?,
            };
            writeln!(out, "{}", visible(&room.name))?;
        }
        RoomsCommand::Close { name, operator_token } => {
            directory.close_room(&name, operator_token.as_deref()).await?;
        }
    }
    Ok(())
}

/// One line for each room.
pub(crate) async fn list(
    directory: &mut Directory,
    mut line: impl FnMut(&str) -> io::Result<()>,
) -> Result<(), ConnectError> {
    for room in directory.rooms().await? {
        let members = if room.members == 1 { "member" } else { "members" };
        let port = room.port.map_or(String::new(), |port| format!(", port {port}"));
        let text = format!("{}  ({} {members}{port})", visible(&room.name), room.members);
        line(&text).map_err(ConnectError::Io)?;
    }
    Ok(())
}
