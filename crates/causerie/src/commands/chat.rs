//! `causerie chat`: in a terminal the full-screen client (`tui`), otherwise and with `--plain` the line-oriented one.
//!
//! With a room and a name there are no questions in a pipe: a message per line in, a message per line out, notices on
//! standard error. Otherwise the line-oriented client asks as the original program did.

use std::cell::Cell;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use anyhow::anyhow;
use clap::Command;
use tokio::sync::Notify;

use crate::address::{DEFAULT_SERVER, with_port};
use crate::config::chat::{ChatArgs, ChatSettings};
use crate::config::setup;
use crate::entrance::{Entrance, NO_STATE, default_state};
use crate::lines::console::{Console, Input};
use crate::lines::{Chat, Commands};
use crate::tui;

/// Runs it; `cli` is the whole command line, which is read once more with the values of the configuration file.
pub(crate) async fn run(mut args: ChatArgs, cli: Command) -> anyhow::Result<()> {
    let is_full_screen = !args.plain && tui::is_possible();
    let mut notes = Vec::new();
    if is_full_screen {
        match setup::complete(args, cli)? {
            Some(completed) => (args, notes) = completed,
            None => return Ok(()),
        }
    }
    let state = args.state.or_else(default_state);
    let server = args.settings.server.as_deref().unwrap_or(DEFAULT_SERVER);
    let mut entrance = Entrance {
        server: with_port(server),
        security: args.security.security(),
        link: args.link,
        state,
        follows_stable: is_full_screen,
    };
    entrance.meet().await?;
    if is_full_screen {
        return tui::run(entrance, args.settings, notes).await;
    }
    let ChatSettings { room, name, .. } = args.settings;
    let mut console = Console::open()?;
    if !args.plain && io::stdin().is_terminal() && io::stdout().is_terminal() {
        console.notice("this terminal cannot be drawn on (see TERM): a line at a time, as with --plain");
    }
    let history = args.history || console.is_terminal();
    if entrance.state.is_none() {
        console.notice(NO_STATE);
    }
    let reads_commands = match (args.text, room.is_some() && !console.is_terminal()) {
        (true, _) => Commands::None,
        (false, true) => Commands::Documented,
        (false, false) => Commands::All,
    };
    let chat = Chat {
        entrance,
        history,
        commands: reads_commands,
        interrupted: interrupts()?,
        unsaid: Cell::new(0),
    };
    if let Some(link) = &chat.entrance.link {
        console.notice(&format!("this connection is disturbed on purpose: {link}"));
    }
    match room {
        Some(room) => {
            let name = match name {
                Some(name) => name,
                None => match console.ask("Enter Name : ").await {
                    Input::Line(name) => name,
                    _ => return Ok(()),
                },
            };
            let room = chat.entrance.join(&room, &name, true).await?;
            chat.stay(&mut console, room).await?;
        }
        None => chat.dialogue(&mut console, name).await?,
    }
    match chat.unsaid.get() {
        // Who types has read why.
        count if count > 0 && !console.is_terminal() => Err(anyhow!("lines that were not said: {count}")),
        _ => Ok(()),
    }
}

/// Ctrl-C, and the polite signal of whoever wants the process to end. Heard from now on: one that comes while
/// nobody waits for it is kept for the next who does.
fn interrupts() -> anyhow::Result<Arc<Notify>> {
    let interrupted = Arc::new(Notify::new());
    let tell = Arc::clone(&interrupted);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => tell.notify_one(),
                    _ = terminate.recv() => tell.notify_one(),
                }
            }
        });
    }
    #[cfg(not(unix))]
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            tell.notify_one();
        }
    });
    Ok(interrupted)
}
