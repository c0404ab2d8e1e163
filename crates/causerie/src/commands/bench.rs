//! `causerie bench`: load on a running server, and a check of all that comes of it.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use causerie_bench::classic::Classic;
use causerie_bench::irc::Irc;
use causerie_bench::native::Native;
use causerie_bench::process::{Started, raise_file_limit};
use causerie_bench::websocket::WebSocket;
use causerie_bench::{LoadPace, LoadPlan, LoadProgress, LoadProtocol, LoadServer};
use causerie_client::Security;
use clap::{Args, ValueEnum};

use crate::address::{DEFAULT_SERVER, with_port};

/// Put load on a server, and check all that comes of it.
///
/// Every message carries who sent it, its number, when it was sent and what it answers. Every receiver checks that
/// nothing is lost or comes twice, that each sender's messages come in order, and that no answer comes before what
/// it answers. If anything of that is wrong, the exit code is 1.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// The server.
    #[arg(long, short, value_name = "HOST[:PORT]", default_value = DEFAULT_SERVER)]
    server: String,
    /// Speak TLS, also with a server on this machine. With all others it is spoken anyway. Any certificate will do.
    #[arg(long)]
    tls: bool,
    /// Speak clear text.
    #[arg(long, conflicts_with = "tls")]
    no_tls: bool,
    /// Start a server of our own on a free port for this, and end it afterwards.
    #[arg(long, conflicts_with_all = ["server", "server_pid"])]
    spawn: bool,
    /// The server's process on this machine: tells what it uses.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Protocol of the members.
    #[arg(long, value_enum, default_value_t = Spoken::Native)]
    protocol: Spoken,
    /// Rooms.
    #[arg(long, value_name = "N", default_value_t = 1)]
    rooms: u32,
    /// Members in each room: all of them receive.
    #[arg(long, value_name = "N", default_value_t = LoadPlan::default().receivers)]
    receivers: u32,
    /// Number of each room's members who talk.
    #[arg(long, value_name = "N", default_value_t = LoadPlan::default().senders)]
    senders: u32,
    /// Number of each room's members who read nothing until the others have finished, and everything then.
    #[arg(long, value_name = "N", default_value_t = LoadPlan::default().stopped)]
    stopped: u32,
    /// Bytes of each text.
    #[arg(long, value_name = "BYTES", default_value_t = LoadPlan::default().text_bytes)]
    payload: usize,
    /// Messages outstanding in each room: sent, and not yet received by everybody.
    #[arg(long, value_name = "N", default_value_t = 100)]
    window: usize,
    /// Messages a second over all rooms, instead of as many as go through.
    #[arg(long, value_name = "M/S", conflicts_with = "window")]
    rate: Option<f64>,
    /// Messages of a hundred that answer what their sender has just received.
    #[arg(long, value_name = "PERCENT", default_value_t = LoadPlan::default().answers_percent)]
    answers: u32,
    /// Time that is measured.
    #[arg(long, value_name = "T", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Time that they talk before that, in seconds.
    #[arg(long, value_name = "T", default_value = "1", value_parser = seconds)]
    warm_up: Duration,
    /// Threads of the load; a room belongs to one of them.
    #[arg(long, value_name = "N", default_value_t = LoadPlan::default().threads)]
    threads: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Tell on standard error how far it is, even if that is no terminal.
    #[arg(long)]
    progress: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spoken {
    /// Causerie's own protocol.
    Native,
    /// Lines, as the original program's clients speak them.
    Classic,
    /// The JSON API over WebSockets.
    #[value(name = "websocket")]
    WebSocket,
    /// IRC. A running server should not limit it: start it with `--irc-rate 0`.
    Irc,
}

impl Spoken {
    fn protocol(self, server: LoadServer) -> Box<dyn LoadProtocol + Send> {
        match self {
            Self::Native => Box::new(Native::new(server)),
            Self::Classic => Box::new(Classic::new(server)),
            Self::WebSocket => Box::new(WebSocket::new(server)),
            Self::Irc => Box::new(Irc::new(server)),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match seconds {
        Some(seconds) if seconds <= Duration::from_secs(86_400) => Ok(seconds),
        _ => Err("a number of seconds is needed, a day at most".into()),
    }
}

impl BenchArgs {
    fn security(&self) -> Security {
        match (self.tls, self.no_tls) {
            (true, _) => Security::new().tls(),
            (_, true) => Security::new().clear_text(),
            _ => Security::new(),
        }
    }

    fn plan(&self) -> LoadPlan {
        LoadPlan {
            rooms: self.rooms,
            receivers: self.receivers,
            senders: self.senders,
            stopped: self.stopped,
            text_bytes: self.payload,
            pace: self.rate.map_or(LoadPace::Window(self.window), LoadPace::Rate),
            answers_percent: self.answers,
            warm_up: self.warm_up,
            seconds: self.seconds,
            threads: self.threads,
        }
    }
}

pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<()> {
    let plan = args.plan();
    // Before a server is started for it.
    plan.check()?;
    let named = with_port(&args.server);
    let address = match args.spawn {
        true => None,
        false => {
            let found = tokio::net::lookup_host(&named).await;
            let found: Vec<_> = found.with_context(|| format!("cannot find {named}"))?.collect();
            let tls = args.security().encrypts(&named, &found);
            let address = *found.first().with_context(|| format!("{named} has no address"))?;
            Some(LoadServer { address, tls })
        }
    };
    // Threads of its own, which do not wait for anything but sockets.
    tokio::task::spawn_blocking(move || load(&args, &plan, address)).await?
}

fn load(args: &BenchArgs, plan: &LoadPlan, address: Option<LoadServer>) -> anyhow::Result<()> {
    let spawned = match address {
        Some(_) => None,
        None => {
            // A process that is started inherits it.
            let _ = raise_file_limit();
            let program = std::env::current_exe().context("cannot tell which program this is")?;
            let command = std::process::Command::new(program);
            Some(if args.tls { Started::causerie_by_tls(command)? } else { Started::causerie(command)? })
        }
    };
    let (server, pid) = match (&spawned, address) {
        // Only Linux tells what a process uses.
        (Some(spawned), _) => (
            LoadServer { address: spawned.address, tls: args.tls },
            cfg!(target_os = "linux").then(|| spawned.pid()),
        ),
        (None, Some(address)) => (address, args.server_pid),
        (None, None) => bail!("there is no server"),
    };
    let told = args.progress || io::stderr().is_terminal();
    let mut progress = |progress: LoadProgress| {
        if told {
            let (elapsed, whole) = (progress.elapsed.as_secs_f64(), progress.whole.as_secs_f64());
            eprintln!("{elapsed:.1} of {whole:.1} s: {} deliveries so far", progress.deliveries);
        }
    };
    let report = causerie_bench::run(plan, &*args.protocol.protocol(server), server, pid, &mut progress)?;
    let mut out = io::stdout();
    match args.json {
        true => writeln!(out, "{}", report.to_json())?,
        false => write!(out, "{report}")?,
    }
    if !report.tally.is_clean() {
        bail!("not everybody got everything once and in order");
    }
    Ok(())
}
