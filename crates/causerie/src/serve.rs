//! `causerie serve`: the server.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use causerie_core::room::RoomSettings;
use causerie_server::Settings;
use causerie_store::{MemoryStore, Options, Retention, SqliteStore, Store};
use clap::Args;
use tokio::net::TcpListener;

/// Open rooms for others to talk in.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Where to listen. Rooms made by `./createRoom` get ports above this one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:12343", env = "CAUSERIE_LISTEN")]
    listen: SocketAddr,

    /// Where rooms are kept. By default in the platform's folder for data of programs.
    #[arg(long, value_name = "DIR", env = "CAUSERIE_DATA", conflicts_with = "forget")]
    data: Option<PathBuf>,

    /// Keep nothing: rooms and what was said in them are gone when the server stops.
    #[arg(long)]
    forget: bool,

    /// Longest name of a member, in characters.
    #[arg(long, value_name = "N", default_value_t = RoomSettings::default().name_chars_max)]
    name_max: usize,

    /// Longest text, in bytes.
    #[arg(long, value_name = "N", default_value_t = RoomSettings::default().text_bytes_max)]
    text_max: usize,

    /// Members of one room at once.
    #[arg(long, value_name = "N", default_value_t = RoomSettings::default().members_max)]
    members_max: usize,

    /// Rooms at once.
    #[arg(long, value_name = "N", default_value_t = Settings::default().rooms_max)]
    rooms_max: usize,

    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = Settings::default().connections_max)]
    connections_max: usize,

    /// How many messages newcomers are shown of what was said before.
    #[arg(long, value_name = "N", default_value_t = RoomSettings::default().history)]
    history: u64,

    /// How long a member whose connection broke keeps its place, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = RoomSettings::default().grace.as_secs())]
    grace: u64,

    /// Remove messages older than so many days. By default none is removed.
    #[arg(long, value_name = "DAYS")]
    keep_days: Option<u64>,

    /// Keep at most so many messages a room.
    #[arg(long, value_name = "N")]
    keep_messages: Option<u64>,

    /// Keep at most so many MiB of messages a room.
    #[arg(long, value_name = "MIB")]
    keep_mib: Option<u64>,

    /// How much of each room's log is kept in memory, in MiB; what is older is read from the disk.
    #[arg(long, value_name = "MIB", default_value_t = RoomSettings::default().log_bytes_max >> 20)]
    log_memory: usize,

    /// Who gives this token may close any room.
    #[arg(long, value_name = "TOKEN", env = "CAUSERIE_OPERATOR_TOKEN", hide_env_values = true)]
    operator_token: Option<String>,

    /// What is logged on standard error: error, warn, info, debug or trace, or a filter such as
    /// causerie_server=debug.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "CAUSERIE_LOG")]
    log: String,
}

impl Default for ServeArgs {
    fn default() -> Self {
        use clap::FromArgMatches;
        let matches = ServeArgs::augment_args(clap::Command::new("serve")).get_matches_from(["serve"]);
        Self::from_arg_matches(&matches).expect("every argument has a default")
    }
}

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&args.log)?)
        .with_target(false)
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none())
        .init();
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        anyhow!("cannot listen on {}: {error}; --listen ADDRESS:PORT chooses another", args.listen)
    })?;
    let settings = Settings {
        room: RoomSettings {
            name_chars_max: args.name_max,
            text_bytes_max: args.text_max,
            members_max: args.members_max,
            grace: Duration::from_secs(args.grace),
            history: args.history,
            log_bytes_max: args.log_memory << 20,
        },
        rooms_max: args.rooms_max,
        connections_max: args.connections_max,
        operator_token: args.operator_token,
        retention: Retention {
            age_millis: args.keep_days.map(|days| days.saturating_mul(86_400_000)),
            count: args.keep_messages,
            bytes: args.keep_mib.map(|mib| mib.saturating_mul(1 << 20)),
            before: None,
        },
        ..Settings::default()
    };
    let store = open_store(args.data, args.forget)?;
    welcome(listener.local_addr()?)?;
    causerie_server::serve(listener, store, settings, stopped()).await?;
    Ok(())
}

fn open_store(data: Option<PathBuf>, forget: bool) -> anyhow::Result<Arc<dyn Store>> {
    if forget {
        return Ok(Arc::new(MemoryStore::new()));
    }
    let data = data.or_else(default_data);
    let data = data.ok_or_else(|| anyhow!("there is no folder for data here; --data DIR chooses one"))?;
    tracing::info!("rooms are kept in {}", data.display());
    Ok(Arc::new(SqliteStore::open(&data, Options::default())?))
}

/// The platform's folder for data of programs.
pub(crate) fn default_data() -> Option<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "causerie")?;
    Some(folders.data_dir().join("server"))
}

/// What to do next, for whoever has just started a server.
fn welcome(address: SocketAddr) -> io::Result<()> {
    let program = std::env::args().next().unwrap_or_else(|| "causerie".into());
    let port = address.port();
    let at = if port == 12343 && address.ip().is_loopback() { String::new() } else { format!(" {address}") };
    let mut out = io::stdout().lock();
    writeln!(out, "causerie {} is listening on {address}.", env!("CARGO_PKG_VERSION"))?;
    writeln!(out)?;
    writeln!(out, "  To chat, in another terminal:  {program} chat{at} --room lobby --name YOUR-NAME")?;
    writeln!(out, "  To see causal order at work:   add  --link delay=0..800ms,loss=5%,seed=7")?;
    writeln!(out, "  The original client:           connects to port {port} and says ./createRoom")?;
    writeln!(out, "  To stop:                       Ctrl-C")?;
    writeln!(out)?;
    out.flush()
}

/// Ctrl-C, or the polite signal of a service manager.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
