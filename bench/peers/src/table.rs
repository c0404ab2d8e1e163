//! The results as one table in Markdown.

use std::fmt::Write;
use std::time::Duration;

use causerie_bench::LoadReport;

use crate::{Goal, Load, Peer};

/// Medians of all rounds, with the least and the greatest rate; ratios are causerie's to the row's.
pub(crate) fn table(loads: &[Load], peers: &[Peer], results: &[Vec<Vec<LoadReport>>]) -> String {
    let mut out = String::from(
        "| load | server | deliveries/s (least to greatest) | causerie to it | p50 ms | p99 ms | causerie's p99 to its \
         | server's processors | deliveries per processor second | causerie's to it | peak MiB | load's processors | wrong |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (load, results) in loads.iter().zip(results) {
        let ours = peers.iter().position(|peer| *peer == Peer::Causerie).map(|at| &results[at][..]);
        for (n, (peer, reports)) in peers.iter().zip(results).enumerate() {
            let label = match n {
                0 => format!("**{}**: {}", load.name, load.what),
                _ => String::new(),
            };
            let rates = sorted(reports, LoadReport::deliveries_per_second);
            let (least, greatest) = (rates[0], rates[rates.len() - 1]);
            let target = load.targets.iter().find(|(of, _)| of == peer).map(|(_, target)| *target);
            let ratio = |of: fn(&LoadReport) -> f64| match ours {
                Some(ours) if *peer != Peer::Causerie => {
                    format!("{:.2}", median(ours, of) / median(reports, of))
                }
                _ => String::new(),
            };
            let (mut rate, mut tail) = (ratio(LoadReport::deliveries_per_second), ratio(p99));
            match target {
                _ if ours.is_none() => {}
                Some(Goal::Deliveries(target)) => rate += &format!(" (want {target:.1})"),
                Some(Goal::P99) => tail += " (want 1.0 or less)",
                None => {}
            }
            writeln!(
                out,
                "| {label} | {} | {:.0} ({least:.0} to {greatest:.0}) | {rate} | {:.2} | {:.2} | {tail} | {:.2} | {:.0} | {} \
                 | {:.0} | {:.2} | {} |",
                peer.name(),
                median(reports, LoadReport::deliveries_per_second),
                median(reports, |report| ms(report.latency.p50)),
                median(reports, p99),
                median(reports, |report| report.server.map_or(f64::NAN, |server| server.cpu)),
                median(reports, per_processor),
                ratio(per_processor),
                median(reports, |report| report.server.map_or(f64::NAN, |s| s.memory_peak as f64 / f64::from(1 << 20))),
                median(reports, |report| report.own_cpu.unwrap_or(f64::NAN)),
                wrong(reports),
            )
            .expect("a string takes everything");
        }
    }
    out
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What a server does with the time it gets: on a busy machine this says more than what gets through.
fn per_processor(report: &LoadReport) -> f64 {
    report.server.map_or(f64::NAN, |server| report.deliveries_per_second() / server.cpu)
}

fn p99(report: &LoadReport) -> f64 {
    ms(report.latency.p99)
}

fn sorted(reports: &[LoadReport], of: impl Fn(&LoadReport) -> f64) -> Vec<f64> {
    let mut values: Vec<_> = reports.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(reports: &[LoadReport], of: impl Fn(&LoadReport) -> f64) -> f64 {
    let values = sorted(reports, of);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

/// What the judge found, over all rounds; `0` if nothing.
fn wrong(reports: &[LoadReport]) -> String {
    let sum =
        |of: fn(&causerie_bench::check::Tally) -> u64| reports.iter().map(|r| of(&r.tally)).sum::<u64>();
    let found = [
        (sum(|t| t.lost), "lost"),
        (sum(|t| t.duplicated), "twice"),
        (sum(|t| t.out_of_order), "behind a later one of the same sender"),
        (sum(|t| t.before_cause), "answers before their question"),
        (sum(|t| t.damaged), "damaged"),
    ];
    let found: Vec<_> = found.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if found.is_empty() { "0".into() } else { found.join(", ") }
}
