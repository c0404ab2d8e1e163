//! Report of a load, for people and for programs.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::check::Tally;
use crate::plan::{LoadPace, LoadPlan};

/// Result of a load. It prints as a few lines; [`LoadReport::to_json`] is for programs.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// Plan that was followed.
    pub plan: LoadPlan,
    /// Over which protocol.
    pub protocol: &'static str,
    /// Time that was measured.
    pub measured: Duration,
    /// Messages sent while it was.
    pub messages: u64,
    /// Deliveries that came while it was.
    pub deliveries: u64,
    /// Times from sending a message to its receipt, over those deliveries.
    pub latency: Latency,
    /// Counts of the receivers, over all messages, the warm-up's too.
    pub tally: Tally,
    /// Messages that were not sent at their time, because too many were outstanding.
    pub held_up: u64,
    /// Time that those who had stopped reading took to read all that they had missed.
    pub catching_up: Duration,
    /// Use of the server, where its process is known.
    pub server: Option<ServerUse>,
    /// Processor seconds a second that the load itself took, where that can be told: close to one a thread, and it
    /// is this program that is measured.
    pub own_cpu: Option<f64>,
}

/// Times that messages took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Latency {
    /// Half of the deliveries took no longer.
    pub p50: Duration,
    /// 99 in 100 took no longer.
    pub p99: Duration,
    /// 999 in 1,000 took no longer.
    pub p999: Duration,
    /// None took longer.
    pub max: Duration,
}

impl Latency {
    pub(crate) fn of(nanos: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_nanos(nanos.value_at_quantile(quantile));
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: Duration::from_nanos(nanos.max()) }
    }
}

/// Use of the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerUse {
    /// Processor seconds a second, while it was measured.
    pub cpu: f64,
    /// The most memory that it ever had, in bytes.
    pub memory_peak: u64,
}

impl LoadReport {
    /// Deliveries a second.
    #[must_use]
    pub fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / self.measured.as_secs_f64()
    }

    /// Messages a second.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.measured.as_secs_f64()
    }

    /// One JSON object on one line. Times are in microseconds; what is not known is null.
    #[must_use]
    pub fn to_json(&self) -> String {
        let LoadPlan { rooms, receivers, senders, stopped, text_bytes, pace, .. } = self.plan;
        let (window, rate) = match pace {
            LoadPace::Window(window) => (window.to_string(), "null".to_owned()),
            LoadPace::Rate(rate) => ("null".to_owned(), rate.to_string()),
        };
        let Tally { received, answers, duplicated, out_of_order, before_cause, damaged, lost } = self.tally;
        let micros = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e6);
        let Latency { p50, p99, p999, max } = self.latency;
        let (p50, p99, p999, max) = (micros(p50), micros(p99), micros(p999), micros(max));
        let known = |value: Option<String>| value.unwrap_or_else(|| "null".into());
        let cpu = known(self.server.map(|server| format!("{:.3}", server.cpu)));
        let memory = known(self.server.map(|server| server.memory_peak.to_string()));
        let own = known(self.own_cpu.map(|cpu| format!("{cpu:.3}")));
        format!(
            "{{\"protocol\":\"{}\",\"rooms\":{rooms},\"receivers\":{receivers},\"senders\":{senders},\
             \"stopped\":{stopped},\"catching_up_us\":{},\"text_bytes\":{text_bytes},\"window\":{window},\"rate\":{rate},\"seconds\":{:.3},\
             \"messages_per_second\":{:.1},\"deliveries_per_second\":{:.1},\
             \"latency_us\":{{\"p50\":{p50},\"p99\":{p99},\"p99.9\":{p999},\"max\":{max}}},\
             \"received\":{received},\"answers\":{answers},\"lost\":{lost},\"duplicated\":{duplicated},\
             \"out_of_order\":{out_of_order},\"before_cause\":{before_cause},\"damaged\":{damaged},\
             \"held_up\":{},\"server_cpu\":{cpu},\"server_memory_peak\":{memory},\"own_cpu\":{own}}}",
            self.protocol,
            micros(self.catching_up),
            self.measured.as_secs_f64(),
            self.messages_per_second(),
            self.deliveries_per_second(),
            self.held_up,
        )
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadPlan { rooms, receivers, senders, stopped, text_bytes, pace, .. } = self.plan;
        let plural = |n: u32| if n == 1 { "" } else { "s" };
        write!(
            f,
            "{}: {rooms} room{} of {receivers} member{}, {senders} of whom talk, texts of {text_bytes} bytes, ",
            self.protocol,
            plural(rooms),
            plural(receivers),
        )?;
        match pace {
            LoadPace::Window(window) => writeln!(f, "{window} outstanding a room")?,
            LoadPace::Rate(rate) => writeln!(f, "{rate} messages/s")?,
        }
        let seconds = self.measured.as_secs_f64();
        writeln!(f, "  measured    {seconds:.1} s")?;
        writeln!(f, "  deliveries  {}/s", grouped(self.deliveries_per_second()))?;
        writeln!(f, "  messages    {}/s", grouped(self.messages_per_second()))?;
        let Latency { p50, p99, p999, max } = self.latency;
        writeln!(f, "  latency     p50 {}  p99 {}  p99.9 {}  max {}", ms(p50), ms(p99), ms(p999), ms(max))?;
        let Tally { received, answers, duplicated, out_of_order, before_cause, damaged, lost } = self.tally;
        let count = |n: u64| grouped(n as f64);
        writeln!(f, "  checked     {} deliveries, {} of them answers", count(received), count(answers))?;
        writeln!(f, "  lost        {lost}")?;
        writeln!(f, "  duplicated  {duplicated}")?;
        write!(f, "  out of causal order  {}", out_of_order + before_cause)?;
        if out_of_order + before_cause > 0 {
            write!(f, ": {out_of_order} behind a later one of the same sender, ")?;
            write!(f, "{before_cause} before what they answer")?;
        }
        writeln!(f)?;
        if stopped > 0 {
            let took = self.catching_up.as_secs_f64();
            writeln!(
                f,
                "  stopped     {stopped} in each room read nothing meanwhile, and all of it in {took:.2} s"
            )?;
        }
        if damaged > 0 {
            writeln!(f, "  damaged     {damaged}")?;
        }
        if self.held_up > 0 {
            writeln!(f, "  not sent in time  {}: the server is too far behind", self.held_up)?;
        }
        if let Some(ServerUse { cpu, memory_peak }) = self.server {
            let mib = memory_peak as f64 / f64::from(1 << 20);
            writeln!(f, "  server      {cpu:.2} processors, {mib:.1} MiB at most")?;
        }
        if let Some(cpu) = self.own_cpu {
            writeln!(f, "  this load   {cpu:.2} processors")?;
        }
        Ok(())
    }
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let texts = [(0.4, "0"), (999.0, "999"), (1_000.0, "1,000"), (1_234_567.2, "1,234,567")];
        for (number, text) in texts {
            assert_eq!(grouped(number), text);
        }
    }
}
