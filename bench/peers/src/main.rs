//! Causerie beside brokers, IRC servers and bare loops, under the same loads, in turns. See
//! `docs/evidence/benchmarks-server.md`.
//!
//! One generator for all, plain sockets for all, so that clients cost the same: what differs is the server.
//! Every server is started anew for each measurement, and only processes started here are ended.

mod bare;
mod charts;
mod config;
mod lines;
mod loads;
mod mqtt;
mod nats;
mod nchan;
mod peer;
mod redis;
mod results;
mod table;
mod tunnel;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use causerie_bench::process::{LaunchError, raise_file_limit};
use causerie_bench::{LoadPlan, LoadReport, LoadServer};
use clap::{Args, Parser, Subcommand};

use config::Certificate;
use loads::{LOADS, Load};
use peer::{Kind, Peer, Programs};
use results::Measurement;

/// Compare causerie with brokers, IRC servers and bare loops under the same loads.
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
    /// Only these loads, servers and kinds of client (native, websocket, irc), by commas; an unknown name
    /// lists them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    programs: Programs,
    /// Measure everything by TLS, too, where the server speaks it from the first byte.
    #[arg(long)]
    tls: bool,
    /// Draw charts into this directory, and write the figures beside them; those of other runs stay among them.
    /// With --rounds 0 what is there is drawn again.
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
    /// Where servers may write; each gets a directory of its own in it.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let cli = PeersCli::parse();
    match cli.command {
        Some(Internal::Loop { listen, log }) => Ok(bare::serve(listen, log.as_deref())?),
        None => compare(&cli.compare),
    }
}

fn compare(args: &Compare) -> anyhow::Result<()> {
    ensure!(args.rounds > 0 || args.charts.is_some(), "at least one round is needed");
    let seconds = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let mut all = chosen(&args.only, args.tls)?;
    // Servers inherit it.
    let _ = raise_file_limit();
    for round in 1..=args.rounds {
        for Measurement { load, peer, tls, reports, failures } in &mut all {
            let what = format!("round {round}  {:<6}{:<18}", load.name, results::name(*peer, *tls));
            match measure(*load, *peer, *tls, seconds, args) {
                Ok(report) => {
                    let (rate, p99) = (report.deliveries_per_second(), report.latency.p99);
                    let wrong = if report.tally.is_clean() { "" } else { ", not all right" };
                    eprintln!("{what}{rate:>12.0} deliveries/s, p99 {p99:?}{wrong}");
                    reports.push(report);
                }
                // A server that is not there is a mistake of ours, one that gives up a result.
                Err(error) if reports.is_empty() && error.is::<LaunchError>() => {
                    return Err(error.context(format!("{} under load {}", peer.name(), load.name)));
                }
                Err(error) => {
                    eprintln!("{what}no result: {error:#}");
                    failures.push(format!("{error:#}"));
                }
            }
        }
    }
    if args.rounds > 0 {
        print!("{}", table::tables(&all));
    }
    args.charts.as_deref().map_or(Ok(()), |dir| charts::write(dir, &all).context("--charts"))
}

fn measure(
    load: Load,
    peer: Peer,
    tls: bool,
    seconds: Duration,
    args: &Compare,
) -> anyhow::Result<LoadReport> {
    let scratch = args.scratch.join(format!("peers-{}-{}", std::process::id(), peer.name()));
    std::fs::create_dir_all(&scratch)?;
    let certificate = if tls { Some(Certificate::write(&scratch)?) } else { None };
    let server = peer.start(&args.programs, &scratch, certificate.as_ref())?;
    let plan = LoadPlan {
        rooms: load.rooms,
        receivers: load.receivers,
        senders: load.senders,
        pace: load.pace,
        seconds,
        ..LoadPlan::default()
    };
    let at = LoadServer { address: server.address, tls };
    let protocol = peer.protocol(at);
    let report = causerie_bench::run(&plan, &*protocol, at, Some(server.pid()), &mut |_| {});
    drop(server);
    std::fs::remove_dir_all(&scratch)?;
    Ok(report?)
}

/// Returns the loads and servers that are named, in turns as they are measured; all of a sort if none of it
/// is. By TLS comes behind in clear text.
fn chosen(only: &[String], by_tls: bool) -> anyhow::Result<Vec<Measurement>> {
    let named = |name: &str| only.iter().any(|only| only == name);
    let is_named = |peer: Peer| named(peer.name()) || named(peer.kind().name());
    let loads = || LOADS.iter().map(|load| load.name);
    let peers = || Peer::ALL.iter().map(|peer| peer.name());
    let kinds = || Kind::ALL.iter().map(|kind| kind.name());
    if let Some(unknown) = only.iter().find(|only| loads().chain(peers()).chain(kinds()).all(|n| n != **only))
    {
        let list = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(", ");
        bail!(
            "--only: there is no '{unknown}'; there are the loads {}, the servers {}, \
             and {} for all servers of a kind",
            list(&mut loads()),
            list(&mut peers()),
            list(&mut kinds())
        );
    }
    let any_load = !loads().any(named);
    let any_peer = !Peer::ALL.into_iter().any(is_named);
    let mut chosen = Vec::new();
    for load in LOADS {
        for peer in Peer::ALL {
            let (this_load, this_peer) = (named(load.name), is_named(peer));
            let belongs = load.peers.is_empty() || load.peers.contains(&peer) || this_load && this_peer;
            if belongs && (any_load || this_load) && (any_peer || this_peer) {
                let mut add = |tls| {
                    chosen.push(Measurement { load, peer, tls, reports: Vec::new(), failures: Vec::new() })
                };
                add(false);
                if by_tls && peer.speaks_tls() {
                    add(true);
                }
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_chosen_and_nothing_unknown() {
        let chosen = |only: &[&str], by_tls| {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            super::chosen(&only, by_tls).map(|all| {
                let names = all.iter().map(|m| format!("{} {}", m.load.name, m.name()));
                names.collect::<Vec<_>>()
            })
        };
        let (chosen, by_tls) = (|only: &[&str]| chosen(only, false), |only: &[&str]| chosen(only, true));
        assert_eq!(chosen(&[]).unwrap().len(), 5 * Peer::ALL.len() + 3 * 4);
        assert_eq!(chosen(&["a", "nats", "causerie"]).unwrap(), ["a causerie", "a nats"]);
        assert_eq!(chosen(&["redis"]).unwrap().len(), LOADS.len());
        assert_eq!(chosen(&["c1000", "nats"]).unwrap(), ["c1000 nats"]);
        assert_eq!(chosen(&["c1000", "ngircd"]).unwrap(), ["c1000 ngircd"], "named, so it is meant");
        assert_eq!(chosen(&["c1000"]).unwrap().len(), 4);
        assert_eq!(chosen(&["ngircd"]).unwrap().len(), 5);
        assert_eq!(chosen(&["b", "irc"]).unwrap(), ["b causerie-irc", "b inspircd", "b ngircd"]);
        assert_eq!(by_tls(&["a", "redis", "loop"]).unwrap(), ["a redis", "a redis+tls", "a loop"]);
        let error = chosen(&["kafka"]).unwrap_err().to_string();
        assert!(
            error.contains("no 'kafka'") && error.contains("a1000, b") && error.contains("nats"),
            "{error}"
        );
    }

    #[test]
    fn the_bare_loop_passes_everything_on() {
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
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
