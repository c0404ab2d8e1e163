//! `causerie`: a self-hosted group chat in which nobody sees an answer before the question.
//!
//! Exit codes: 0 done, 1 failed (why is said in one line on standard error), 2 wrong usage, or a data folder of a newer
//! version.

mod address;
mod commands;
mod config;
mod entrance;
mod lines;
mod log;
mod told;
mod tui;
mod when;
mod wording;

use std::process::ExitCode;

use causerie_core::content::text::visible;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::{bench, chat, demo, history, man, operate, rooms, serve, sim, store, tls, trace};
use crate::config::{file, server, setup};

/// Group chat in which nobody ever sees an answer before the question.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open rooms for others to talk in (the default).
    Serve(Box<server::ServeArgs>),
    /// Join a room and talk.
    Chat(config::chat::ChatArgs),
    /// List, create and close rooms.
    Rooms(rooms::RoomsArgs),
    /// Print what was said in a room, without joining it.
    History(history::HistoryArgs),
    /// Draw what was said in a room, and after what.
    Trace(trace::TraceArgs),
    /// Check, measure, copy and restore a server's data folder.
    Store(store::StoreArgs),
    /// Operate the server that runs on this machine.
    Operate(operate::OperateArgs),
    /// Show the certificate by which a server is known.
    Tls(tls::TlsArgs),
    /// See it at once: a server with members who talk over bad links.
    Demo(demo::DemoArgs),
    /// Simulate groups over a bad network, and judge every delivery.
    Sim(sim::SimArgs),
    /// Put load on a server, and check all that comes of it.
    Bench(bench::BenchArgs),
    /// Write the manual: a page for each command.
    Man(man::ManArgs),
    /// Print what lets a shell complete commands and flags with TAB.
    Completions(man::CompletionsArgs),
}

fn parsed() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        // A value may be the environment's, and clap does not say so.
        if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue)
            && let Err(usage) = file::check_environment(&server::command())
                .and_then(|()| file::check_environment(&setup::command()))
        {
            complain(&usage);
            std::process::exit(2);
        }
        error.exit()
    })
}

/// Says what went wrong, which may be in the words of a server or of a file: nothing in them is obeyed by a terminal.
fn complain(why: &dyn std::fmt::Display) {
    let why = why.to_string();
    let lines: Vec<_> = why.lines().map(visible).collect();
    eprintln!("causerie: {}", lines.join("\n"));
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match parsed().command {
        // It reads its flags once more, with the configuration file beneath them.
        None | Some(Command::Serve(_)) => serve::run().await,
        Some(Command::Chat(args)) => chat::run(args, Cli::command()).await,
        Some(Command::Rooms(args)) => rooms::run(args).await,
        Some(Command::History(args)) => history::run(args).await,
        Some(Command::Trace(args)) => trace::run(args).await,
        Some(Command::Store(args)) => store::run(args),
        Some(Command::Operate(args)) => operate::run(args),
        Some(Command::Tls(args)) => tls::run(args),
        Some(Command::Demo(args)) => demo::run(args).await,
        Some(Command::Sim(args)) => sim::run(&args),
        Some(Command::Bench(args)) => bench::run(args).await,
        Some(Command::Man(args)) => man::run(&args, Cli::command()),
        Some(Command::Completions(args)) => man::completions(&args, Cli::command()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&wording::failure(&error));
            // Neither becomes right by itself.
            let newer = matches!(error.downcast_ref(), Some(causerie_store::OpenError::Newer { .. }));
            let wrong = newer || error.is::<file::UsageError>();
            if wrong { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
