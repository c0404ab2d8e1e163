//! `causerie rooms`: list, create and close rooms.

use std::io::{self, Write};
use std::path::PathBuf;

use causerie_client::ClosedRoom;
use causerie_core::content::text::visible;
use causerie_core::id::SecretText;
use clap::{Args, Subcommand};

use crate::address::{DEFAULT_SERVER, with_port};
use crate::config::security::{self, SecurityArgs};
use crate::entrance::{default_state, directory, own_key};
use crate::when::to_the_second;
use crate::wording;

/// List, create and close rooms.
#[derive(Args, Debug)]
pub(crate) struct RoomsArgs {
    /// The server, if it is not given before the command.
    #[arg(long, short, value_name = "HOST[:PORT]", default_value = DEFAULT_SERVER, global = true)]
    server: String,

    /// The server, as `--server` gives it.
    #[arg(value_name = "HOST[:PORT]", conflicts_with = "server")]
    host: Option<String>,

    /// The folder with your key: rooms that you make can be closed with it. By default that of `causerie chat`.
    #[arg(long, value_name = "DIR", env = "CAUSERIE_STATE", global = true)]
    state: Option<PathBuf>,

    #[command(flatten, next_help_heading = security::HEADING)]
    security: SecurityArgs,

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
    /// Close a room: who made it may, with the key that stands in the folder then, and the operator. The server keeps what was
    /// said in it for a while.
    Close {
        /// Its name.
        name: String,
        /// The operator's token, as given to `serve`.
        #[arg(long, env = "CAUSERIE_OPERATOR_TOKEN", hide_env_values = true)]
        operator_token: Option<SecretText>,
    },
    /// List the rooms that were closed and are kept, for the operator.
    Closed {
        /// The operator's token, as given to `serve`.
        #[arg(long, env = "CAUSERIE_OPERATOR_TOKEN", hide_env_values = true)]
        operator_token: SecretText,
    },
    /// Open a closed room again, for the operator.
    Open {
        /// Its name.
        name: String,
        /// Its number, as `closed` tells it, where several of that name were closed; else it is the one that was closed last.
        #[arg(long, value_name = "N")]
        number: Option<u64>,
        /// The operator's token, as given to `serve`.
        #[arg(long, env = "CAUSERIE_OPERATOR_TOKEN", hide_env_values = true)]
        operator_token: SecretText,
    },
}

pub(crate) async fn run(args: RoomsArgs) -> anyhow::Result<()> {
    let server = with_port(args.host.as_deref().unwrap_or(&args.server));
    let mut directory = directory(&server, &args.security.security()).await?;
    let state = args.state.or_else(default_state);
    let own_key = || own_key(state.as_deref());
    let mut out = io::stdout();
    match args.command.unwrap_or(RoomsCommand::List) {
        RoomsCommand::List => {
            for room in directory.rooms().await? {
                writeln!(out, "{}", wording::room(&room))?;
            }
        }
        RoomsCommand::Create { name } => {
            let room = match name {
                Some(name) => directory.create_room(&name, own_key()?.as_ref()).await?,
                None => directory.create_port_room(own_key()?.as_ref()).await?,
            };
            writeln!(out, "{}", visible(&room.name))?;
        }
        RoomsCommand::Close { name, operator_token } => {
            let own_key = if operator_token.is_some() { None } else { own_key()? };
            directory
                .close_room(&name, operator_token.as_ref().map(SecretText::reveal), own_key.as_ref())
                .await?;
        }
        RoomsCommand::Closed { operator_token } => {
            for ClosedRoom { name, closed_millis, until_millis, number } in
                directory.closed_rooms(operator_token.reveal()).await?
            {
                let (closed, until) = (to_the_second(closed_millis), to_the_second(until_millis));
                writeln!(out, "{}  (number {number}, closed {closed}, kept until {until})", visible(&name))?;
            }
        }
        RoomsCommand::Open { name, number, operator_token } => {
            directory.open_room(&name, number, operator_token.reveal()).await?;
        }
    }
    Ok(())
}
