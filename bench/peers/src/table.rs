//! The results as tables in Markdown, one for each kind of client.

use std::fmt::Write;

use causerie_bench::LoadReport;

use crate::loads::Goal;
use crate::peer::Kind;
use crate::results::{Measurement, ms, ours, p99, per_processor, plain};

const HEAD: &str = "| load | server | deliveries/s (least to greatest) | causerie to it | p50 ms | p99 ms | causerie's p99 to its \
     | server's processors | deliveries per processor second | causerie's to it | peak MiB | load's processors | wrong |\n\
     |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";

/// Medians of all rounds, with the least and the greatest rate; ratios are causerie's to the row's.
pub(crate) fn tables(all: &[Measurement]) -> String {
    let mut out = String::new();
    for (kind, tls) in Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let rows: Vec<_> = all.iter().filter(|m| m.kind() == (kind, tls)).collect();
        if rows.is_empty() {
            continue;
        }
        let mut names: Vec<_> = rows.iter().filter(|m| !m.peer.stores()).map(|m| m.name()).collect();
        names.sort_unstable();
        names.dedup();
        let how = if tls { ", by TLS" } else { "" };
        writeln!(out, "### {}{how}\n", kind.title()).expect("a string takes everything");
        if !names.is_empty() {
            writeln!(out, "Stored nowhere: what goes through {}.\n", names.join(", "))
                .expect("a string takes everything");
        }
        out += HEAD;
        let mut last = "";
        for row in rows {
            let label = match row.load.name {
                same if same == last => String::new(),
                name => format!("**{name}**: {}", row.load.what),
            };
            last = row.load.name;
            out += &line(&label, row, ours(all, row), plain(all, row));
        }
        out.push('\n');
    }
    out
}

fn line(label: &str, row: &Measurement, ours: Option<&Measurement>, plain: Option<&Measurement>) -> String {
    let name = row.name();
    let rates = row.sorted(LoadReport::deliveries_per_second);
    let (Some(least), Some(greatest)) = (rates.first(), rates.last()) else {
        return format!("| {label} | {name} |  |  |  |  |  |  |  |  |  |  | {} |\n", row.wrong());
    };
    let ratio = |of: fn(&LoadReport) -> f64| match ours {
        Some(ours) if !row.peer.is_ours() && !ours.reports.is_empty() => {
            format!("{:.2}", ours.median(of) / row.median(of))
        }
        _ => String::new(),
    };
    let to_plain = plain.filter(|plain| !plain.reports.is_empty()).map_or(String::new(), |plain| {
        let rate = |of: &Measurement| of.median(LoadReport::deliveries_per_second);
        format!(", {:.2} of clear text", rate(row) / rate(plain))
    });
    let (mut rate, mut tail) = (ratio(LoadReport::deliveries_per_second), ratio(p99));
    match row.load.targets.iter().find(|(of, _)| *of == row.peer).map(|(_, target)| *target) {
        _ if ours.is_none() || row.tls => {}
        Some(Goal::Deliveries(target)) => rate += &format!(" (want {target:.1})"),
        Some(Goal::P99) => tail += " (want 1.0 or less)",
        None => {}
    }
    format!(
        "| {label} | {name} | {:.0} ({least:.0} to {greatest:.0}){to_plain} | {rate} | {:.2} | {:.2} | {tail} | {:.2} | {:.0} | {} \
         | {:.0} | {:.2} | {} |\n",
        row.median(LoadReport::deliveries_per_second),
        row.median(|report| ms(report.latency.p50)),
        row.median(p99),
        row.median(|report| report.server.map_or(f64::NAN, |server| server.cpu)),
        row.median(per_processor),
        ratio(per_processor),
        row.median(|report| report.server.map_or(f64::NAN, |s| s.memory_peak as f64 / f64::from(1 << 20))),
        row.median(|report| report.own_cpu.unwrap_or(f64::NAN)),
        row.wrong(),
    )
}
