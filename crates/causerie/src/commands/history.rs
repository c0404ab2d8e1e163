//! `causerie history`: what was said in a room, to read or for programs.

use std::io::{self, BufWriter, Write};

use anyhow::ensure;
use causerie_client::{Entry, HistoryPage};
use causerie_gateway::api;
use clap::Args;

use crate::address::DEFAULT_SERVER;
use crate::config::security::{self, SecurityArgs};
use crate::log::LogReader;
use crate::told::Told;
use crate::when::Since;
use crate::wording::line;

/// Print what was said in a room, without joining it.
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// The room.
    #[arg(value_name = "ROOM")]
    room: String,

    /// The server.
    #[arg(long, short, value_name = "HOST[:PORT]", default_value = DEFAULT_SERVER)]
    server: String,

    /// From where on: a position (90), a message (0.7#90), a time (2026-01-31T09:30:00Z), or a while ago (2h, 3d).
    #[arg(long, value_name = "PLACE")]
    since: Option<Since>,

    /// How many: with --since the first so many from there, and all if not given; otherwise the last so many, 50 if
    /// not given.
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,

    /// Go on with what is said from now on, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,

    #[command(flatten, next_help_heading = security::HEADING)]
    security: SecurityArgs,
}

pub(crate) async fn run(args: HistoryArgs) -> anyhow::Result<()> {
    let together = !(args.follow && args.since.is_some() && args.limit.is_some());
    ensure!(together, "--limit with --since ends somewhere, and --follow goes on: leave out one of them");
    let mut out = BufWriter::new(io::stdout());
    let printed = print(&args, &mut out).await.and_then(|()| Ok(out.flush()?));
    match printed {
        // Nobody reads any more, so there is nothing left to do.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn print<W: Write>(args: &HistoryArgs, out: &mut W) -> anyhow::Result<()> {
    let mut log = LogReader::open(&args.server, &args.security, &args.room, args.since, args.limit).await?;
    let mut told = Told::default();
    let mut show = |entry: &Entry| if args.json { api::entry(entry) } else { line(entry, &mut told) };
    let mut write =
        |out: &mut W, page: HistoryPage| page.entries.iter().try_for_each(|e| writeln!(out, "{}", show(e)));
    while let Some(page) = log.next().await? {
        write(out, page)?;
    }
    if args.follow {
        loop {
            out.flush()?;
            write(out, log.wait_for_newer().await?)?;
        }
    }
    Ok(())
}
