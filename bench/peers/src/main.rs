//! Causerie beside brokers and bare loops, under the same loads, in turns. See `docs/evidence/benchmarks-server.md`.
//!
//! One generator for all, plain sockets for all, so that clients cost the same: what differs is the server. Every
//! server is started anew for each measurement, and only processes started here are ended.

mod bare;
mod lines;
mod nats;
mod redis;
mod table;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use causerie_bench::native::Native;
use causerie_bench::process::{Started, raise_file_limit};
use causerie_bench::{LoadPace, LoadPlan, LoadProtocol, LoadReport};
use clap::{Args, Parser, Subcommand};

/// Compare causerie with nats-server, redis and bare loops under the same loads.
#[derive(Debug, Parser)]
#[command(max_term_width = 100, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct PeersCli {
    #[command(subcommand)]
    command: Option<Internal>,
    #[command(flatten)]
    compare: Compare,
}

#[derive(Debug, Subcommand)]
enum Internal {
    /// The bare loop, as a process of its own.
    #[command(hide = true)]
    Loop {
        /// Where to listen.
        listen: SocketAddr,
        /// Append each batch to this file and sync it first.
        log: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct Compare {
    /// How long each measurement takes, after a second that does not count.
    #[arg(long, value_name = "T", default_value_t = 5.0)]
    seconds: f64,
    /// How often each is measured; the table shows medians.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Only these loads (a, a1000, b, c, d) and servers (causerie, nats, redis, loop, loop+sync), by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// The causerie to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "target/release/causerie")]
    causerie: PathBuf,
    /// The nats-server to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "nats-server")]
    nats: PathBuf,
    /// The redis-server to measure.
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
    redis: PathBuf,
    /// Where servers may write; each gets a directory of its own in it.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

/// One load, and what we want to reach beside whom.
#[derive(Clone, Copy, Debug)]
struct Load {
    name: &'static str,
    what: &'static str,
    rooms: u32,
    receivers: u32,
    senders: u32,
    pace: LoadPace,
    targets: &'static [(Peer, Goal)],
}

/// What causerie should reach beside a peer.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// At least so many times its deliveries a second.
    Deliveries(f64),
    /// A p99 no worse.
    P99,
}

const LOADS: [Load; 5] = [
    Load {
        name: "a",
        what: "1 room of 100, 10 talk, 100 outstanding",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Window(100),
        targets: &[(Peer::Nats, Goal::Deliveries(1.5)), (Peer::LoopSync, Goal::Deliveries(0.8))],
    },
    Load {
        name: "a1000",
        what: "1 room of 100, 10 talk, 1,000 outstanding",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Window(1_000),
        targets: &[(Peer::Redis, Goal::Deliveries(1.0))],
    },
    Load {
        name: "b",
        what: "1 room of 1,000, 1 talks, 100 outstanding",
        rooms: 1,
        receivers: 1_000,
        senders: 1,
        pace: LoadPace::Window(100),
        targets: &[(Peer::Nats, Goal::Deliveries(1.5)), (Peer::LoopSync, Goal::Deliveries(0.8))],
    },
    Load {
        name: "c",
        what: "100 rooms of 10 who all talk, 80 outstanding a room",
        rooms: 100,
        receivers: 10,
        senders: 10,
        pace: LoadPace::Window(80),
        targets: &[(Peer::Nats, Goal::Deliveries(1.0))],
    },
    Load {
        name: "d",
        what: "1 room of 100, 10 talk, 200 messages/s",
        rooms: 1,
        receivers: 100,
        senders: 10,
        pace: LoadPace::Rate(200.0),
        targets: &[(Peer::Nats, Goal::P99)],
    },
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Peer {
    Causerie,
    Nats,
    Redis,
    LoopSync,
    Loop,
}

impl Peer {
    const ALL: [Self; 5] = [Self::Causerie, Self::Nats, Self::Redis, Self::LoopSync, Self::Loop];

    const fn name(self) -> &'static str {
        match self {
            Self::Causerie => "causerie",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Loop => "loop",
            Self::LoopSync => "loop+sync",
        }
    }

    /// A server of its own, as it comes: nothing is tuned, and what would write to disk beside ours is off.
    fn start(self, programs: &Compare, scratch: &Path) -> anyhow::Result<Started> {
        if let Self::Causerie = self {
            return Ok(Started::causerie(Command::new(&programs.causerie))?);
        }
        // Free a moment ago; whoever takes it in between makes the start fail, and is not measured.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = address.port().to_string();
        let mut command = match self {
            Self::Causerie => unreachable!("started above"),
            Self::Nats => {
                let mut command = Command::new(&programs.nats);
                command.args(["--addr", "127.0.0.1", "--port", &port]);
                command
            }
            Self::Redis => {
                let mut command = Command::new(&programs.redis);
                command.args(["--bind", "127.0.0.1", "--port", &port]);
                command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(scratch);
                command
            }
            Self::Loop | Self::LoopSync => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["loop", &address.to_string()]);
                if let Self::LoopSync = self {
                    command.arg(scratch.join("log"));
                }
                command
            }
        };
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir(scratch);
        Ok(Started::at(address, &mut command)?)
    }

    fn protocol(self, server: SocketAddr) -> Box<dyn LoadProtocol> {
        match self {
            Self::Causerie => Box::new(Native::new(server)),
            Self::Nats => Box::new(nats::Nats),
            Self::Redis => Box::new(redis::Redis),
            Self::Loop | Self::LoopSync => Box::new(bare::Bare),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let cli = PeersCli::parse();
    match cli.command {
        Some(Internal::Loop { listen, log }) => Ok(bare::serve(listen, log.as_deref())?),
        None => compare(&cli.compare),
    }
}

fn compare(args: &Compare) -> anyhow::Result<()> {
    ensure!(args.rounds > 0, "at least one round is needed");
    let seconds = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let (loads, peers) = chosen(&args.only)?;
    // Servers inherit it.
    let _ = raise_file_limit();
    let mut results: Vec<Vec<Vec<LoadReport>>> = vec![vec![Vec::new(); peers.len()]; loads.len()];
    for round in 1..=args.rounds {
        for (load, results) in loads.iter().zip(&mut results) {
            for (peer, results) in peers.iter().zip(results) {
                let report = measure(*load, *peer, seconds, args)
                    .with_context(|| format!("{} under load {}", peer.name(), load.name))?;
                eprintln!(
                    "round {round}  {:<6}{:<10}{:>12.0} deliveries/s, p99 {:?}",
                    load.name,
                    peer.name(),
                    report.deliveries_per_second(),
                    report.latency.p99,
                );
                results.push(report);
            }
        }
    }
    print!("{}", table::table(&loads, &peers, &results));
    Ok(())
}

fn measure(load: Load, peer: Peer, seconds: Duration, args: &Compare) -> anyhow::Result<LoadReport> {
    let scratch = args.scratch.join(format!("peers-{}-{}", std::process::id(), peer.name()));
    std::fs::create_dir_all(&scratch)?;
    let server = peer.start(args, &scratch)?;
    let plan = LoadPlan {
        rooms: load.rooms,
        receivers: load.receivers,
        senders: load.senders,
        pace: load.pace,
        seconds,
        ..LoadPlan::default()
    };
    let protocol = peer.protocol(server.address);
    let report = causerie_bench::run(&plan, &*protocol, server.address, Some(server.pid()), &mut |_| {})?;
    drop(server);
    std::fs::remove_dir_all(&scratch)?;
    Ok(report)
}

/// The loads and servers that are named; all of a kind if none of it is.
fn chosen(only: &[String]) -> anyhow::Result<(Vec<Load>, Vec<Peer>)> {
    let named = |name: &str| only.iter().any(|only| only == name);
    if let Some(unknown) = only.iter().find(|only| {
        LOADS.iter().all(|load| load.name != **only) && Peer::ALL.iter().all(|peer| peer.name() != **only)
    }) {
        bail!("--only: there is no load and no server '{unknown}'");
    }
    let mut loads: Vec<_> = LOADS.into_iter().filter(|load| named(load.name)).collect();
    if loads.is_empty() {
        loads = LOADS.to_vec();
    }
    let mut peers: Vec<_> = Peer::ALL.into_iter().filter(|peer| named(peer.name())).collect();
    if peers.is_empty() {
        peers = Peer::ALL.to_vec();
    }
    Ok((loads, peers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_chosen_and_nothing_unknown() {
        let chosen = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            super::chosen(&only).map(|(loads, peers)| (loads.len(), peers.len()))
        };
        assert_eq!(chosen(&[]).unwrap(), (5, 5));
        assert_eq!(chosen(&["a", "nats", "causerie"]).unwrap(), (1, 2));
        assert_eq!(chosen(&["redis"]).unwrap(), (5, 1));
        assert!(chosen(&["kafka"]).is_err());
    }

    #[test]
    fn the_bare_loop_passes_everything_on() {
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        std::thread::spawn(move || bare::serve(listen, None));
        while std::net::TcpStream::connect(listen).is_err() {
            std::thread::yield_now();
        }
        let plan = LoadPlan {
            rooms: 3,
            receivers: 4,
            senders: 2,
            warm_up: Duration::ZERO,
            seconds: Duration::from_millis(200),
            ..LoadPlan::default()
        };
        let report = causerie_bench::run(&plan, &bare::Bare, listen, None, &mut |_| {}).unwrap();
        assert!(report.tally.is_clean() && report.tally.received > 0, "{report}");
    }
}
