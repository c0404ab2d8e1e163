//! Measurements: what the rounds of one load on one server came to.

use std::time::Duration;

use causerie_bench::LoadReport;
use causerie_bench::check::Tally;

use crate::loads::Load;
use crate::peer::{Kind, Peer};

/// All rounds of one load on one server.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) load: Load,
    pub(crate) peer: Peer,
    /// It is spoken to by TLS.
    pub(crate) tls: bool,
    pub(crate) reports: Vec<LoadReport>,
    /// Reasons why rounds have no report.
    pub(crate) failures: Vec<String>,
}

/// Name of a server as it is spoken to.
pub(crate) fn name(peer: Peer, tls: bool) -> String {
    format!("{}{}", peer.name(), if tls { "+tls" } else { "" })
}

impl Measurement {
    /// Kind of client, and whether it comes by TLS: measurements of one kind are compared.
    pub(crate) fn kind(&self) -> (Kind, bool) {
        (self.peer.kind(), self.tls)
    }

    pub(crate) fn name(&self) -> String {
        name(self.peer, self.tls)
    }

    /// Median over the rounds that have a report; not a number if none has.
    pub(crate) fn median(&self, of: impl Fn(&LoadReport) -> f64) -> f64 {
        let values = self.sorted(of);
        match values.len() {
            0 => f64::NAN,
            n => (values[(n - 1) / 2] + values[n / 2]) / 2.0,
        }
    }

    pub(crate) fn sorted(&self, of: impl Fn(&LoadReport) -> f64) -> Vec<f64> {
        let mut values: Vec<_> = self.reports.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// Findings of the judge over all rounds, and rounds that failed; `0` if there are none.
    pub(crate) fn wrong(&self) -> String {
        let sum = |of: fn(&Tally) -> u64| self.reports.iter().map(|report| of(&report.tally)).sum::<u64>();
        let found = [
            (sum(|t| t.lost), "lost"),
            (sum(|t| t.duplicated), "twice"),
            (sum(|t| t.out_of_order), "behind a later one of the same sender"),
            (sum(|t| t.before_cause), "answers before their question"),
            (sum(|t| t.damaged), "damaged"),
        ];
        let mut found: Vec<_> =
            found.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if let Some(last) = self.failures.last() {
            found.push(format!("no result {} times: {last}", self.failures.len()));
        }
        if found.is_empty() { "0".into() } else { found.join(", ") }
    }
}

/// Returns the measurement of causerie under the same load by the same kind of client.
pub(crate) fn ours<'a>(all: &'a [Measurement], of: &Measurement) -> Option<&'a Measurement> {
    all.iter().find(|m| m.load.name == of.load.name && (m.kind(), m.peer.is_ours()) == (of.kind(), true))
}

/// Returns the measurement of the same in clear text, for one by TLS.
pub(crate) fn plain<'a>(all: &'a [Measurement], of: &Measurement) -> Option<&'a Measurement> {
    all.iter().find(|m| of.tls && (m.load.name, m.peer, m.tls) == (of.load.name, of.peer, false))
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn p99(report: &LoadReport) -> f64 {
    ms(report.latency.p99)
}

/// Deliveries a second by the processor time that the server was given: on a busy machine this says more than
/// what gets through.
pub(crate) fn per_processor(report: &LoadReport) -> f64 {
    report.server.map_or(f64::NAN, |server| report.deliveries_per_second() / server.cpu)
}
