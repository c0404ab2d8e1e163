//! The lab: simulated groups, for those who want to see what causal order does. Everything follows from what is asked for,
//! so the same address gives the same bytes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use causerie_core::content::text::json;
use cbcast_sim::sim::{self, Export, Faults, Plan, Script, ScriptedCut, SlowLink, Topology};
use serde::Deserialize;

use super::extract::{Answer, Asked, HttpConnection};
use super::failure::HttpFailure;

/// A run of that size takes a fraction of a second and has less than a mebibyte of events.
const MEMBERS_MAX: u32 = 10;
const MESSAGES_MAX: u32 = 200;
/// Number of slow links, and of partitions.
const LISTED_MAX: usize = 20;
/// End of what is scripted, in simulated time.
const END: Duration = Duration::from_secs(60);
const PACE_MAX: u64 = 300;
const DELAY_MAX: Duration = Duration::from_secs(5);
const LOSS_MAX: u32 = 80;
/// Numbers that JavaScript has exactly.
const SEED_MAX: u64 = (1 << 53) - 1;

/// Run that is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    seed: Option<u64>,
    members: Option<u32>,
    messages: Option<u32>,
    pace: Option<u64>,
    delay: Option<String>,
    loss: Option<u32>,
    dup: Option<u32>,
    reorder: Option<u32>,
    repair: Option<u32>,
    say: Option<String>,
    slow: Option<String>,
    cut: Option<String>,
}

impl Wanted {
    /// Within the limits, or what is wrong.
    fn read(&self) -> Result<(Plan, Script), HttpFailure> {
        let members = within("members", self.members.unwrap_or(4), 2..=MEMBERS_MAX)?;
        let percent = |name, value: Option<u32>, default, max| {
            within(name, value.unwrap_or(default), 0..=max).map(|percent| percent * 100)
        };
        let delay = self.delay.as_deref().unwrap_or("20..200");
        let delay = span(delay, "..").filter(|delay| delay.start <= delay.end && delay.end <= DELAY_MAX);
        let delay = delay
            .ok_or_else(|| HttpFailure::malformed("delay is like 20..200, in milliseconds, at most 5000"))?;
        let who = |text: &str| number::<u32>(text).filter(|who| (1..=members).contains(who));
        let when =
            |text: &str| number(text).filter(|&at| at < END.as_millis() as u64).map(Duration::from_millis);
        let window = |text: &str| {
            let during = span(text, "..")?;
            (during.start < during.end && during.end < END).then_some(during)
        };
        let says =
            list("say", self.say.as_deref(), MESSAGES_MAX as usize, "2@300: member 2 at 300 ms", |item| {
                let (speaker, at) = item.split_once('@')?;
                Some((when(at)?, who(speaker)?))
            })?;
        let example = "0..500:1-3:900: what 1 sends to 3 in the first 500 ms takes 900 ms";
        let slow = list("slow", self.slow.as_deref(), LISTED_MAX, example, |item| {
            let mut parts = item.split(':');
            let (during, link, delay) = (parts.next()?, parts.next()?, parts.next()?);
            let (from, to) = link.split_once('-')?;
            let (from, to) = (who(from)?, who(to)?);
            let delay =
                when(delay).filter(|&delay| delay <= DELAY_MAX && from != to && parts.next().is_none())?;
            Some(SlowLink { during: window(during)?, from, to, delay })
        })?;
        let example =
            "500..2000:1+2: from 500 to 2000 ms nothing comes through between 1 and 2 and the others";
        let cuts = list("cut", self.cut.as_deref(), LISTED_MAX, example, |item| {
            let (during, side) = item.split_once(':')?;
            let members: BTreeSet<_> = side.split('+').map(who).collect::<Option<_>>()?;
            Some(ScriptedCut { during: window(during)?, members })
        })?;
        let plan = Plan {
            seed: within("seed", self.seed.unwrap_or(1), 0..=SEED_MAX)?,
            members,
            messages: within("messages", self.messages.unwrap_or(30), 1..=MESSAGES_MAX)?,
            topology: Topology::Mesh,
            faults: Faults {
                delay_min: delay.start,
                delay_max: delay.end,
                loss: percent("loss", self.loss, 0, LOSS_MAX)?,
                duplicates: percent("dup", self.dup, 0, 100)?,
                ..Faults::default()
            },
        };
        let repair = within("repair", self.repair.unwrap_or(1), 0..=1)? == 1;
        if !repair && (plan.faults.loss > 0 || !cuts.is_empty()) {
            let message = "repair can be 0 only where nothing is lost: with loss 0, and without a cut";
            return Err(HttpFailure::malformed(message));
        }
        let pace = Duration::from_millis(within("pace", self.pace.unwrap_or(100), 1..=PACE_MAX)?);
        let overtaking = percent("reorder", self.reorder, 100, 100)?;
        Ok((plan, Script { says, pace, cuts, slow, overtaking, repair }))
    }
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, HttpFailure> {
    let (min, max) = (range.start(), range.end());
    let wrong = || HttpFailure::malformed(format!("{name} is a number from {min} to {max}"));
    range.contains(&value).then_some(value).ok_or_else(wrong)
}

/// Digits, and not too many.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Two times in milliseconds.
fn span(text: &str, between: &str) -> Option<Range<Duration>> {
    let (start, end) = text.split_once(between)?;
    Some(
        Duration::from_millis(number::<u32>(start)?.into())
            ..Duration::from_millis(number::<u32>(end)?.into()),
    )
}

fn list<T>(
    name: &str,
    text: Option<&str>,
    max: usize,
    example: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, HttpFailure> {
    let items = text.unwrap_or_default().split(',').filter(|item| !item.is_empty());
    let mut list = Vec::new();
    for item in items {
        let wrong = || {
            let item: String = item.chars().take(40).collect();
            HttpFailure::malformed(format!(
                "{name} has '{item}': it is a list like {example}; of members that there are, before {} ms, with at most {max} entries",
                END.as_millis()
            ))
        };
        list.push(read(item).filter(|_| list.len() < max).ok_or_else(wrong)?);
    }
    Ok(list)
}

/// The events of a run as JSON lines, and how it went.
fn run(plan: &Plan, script: &Script) -> String {
    let mut trace = Vec::new();
    let done = sim::run_scripted(plan, script, |event| trace.push(event));
    let mut lines = sim::export(&trace, Export::Jsonl);
    lines += &match done {
        Ok(report) => format!(
            r#"{{"event":"end","messages":{},"deliveries":{},"held":{},"longest_hold_us":{},"anomalies":{},"lost":{},"cut_off":{},"came_twice":{},"resent":{},"duration_us":{}}}"#,
            report.messages,
            report.deliveries,
            report.held,
            report.longest_hold.as_micros(),
            sim::anomalies(&trace).len(),
            report.lost,
            report.cut_off,
            report.came_twice,
            report.resent,
            report.duration.as_micros(),
        ),
        Err(failure) => format!(r#"{{"event":"failed","message":{}}}"#, json(&failure.to_string())),
    };
    lines + "\n"
}

pub(super) async fn lab(
    Extension(connection): Extension<HttpConnection>,
    Asked(wanted): Asked<Wanted>,
) -> Answer {
    let (plan, script) = wanted.read()?;
    connection.visitor.run_lab()?;
    let lab = connection.lab;
    let busy = |_| HttpFailure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many wait for the lab");
    let waiting = Arc::clone(&lab.waiting).try_acquire_owned().map_err(busy)?;
    let place = Arc::clone(&lab.running).acquire_owned().await.expect("it is never closed");
    let running = tokio::task::spawn_blocking(move || {
        // Until it has ended, also if nobody waits for it any more.
        let _places = (waiting, place);
        run(&plan, &script)
    });
    let lines = running.await.expect("a run catches its panics");
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(CONTENT_TYPE, kind)], Body::from(lines)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long something was held and how often packets came twice, of a run.
    fn held_and_twice(wanted: &Wanted) -> (Vec<u64>, u64) {
        let (plan, script) = wanted.read().unwrap();
        let lines = run(&plan, &script);
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let held = lines.iter().filter_map(|line| line["held_us"].as_u64()).collect();
        (held, lines.last().unwrap()["came_twice"].as_u64().unwrap())
    }

    #[test]
    fn without_repair_a_slow_link_takes_its_time_and_nothing_comes_twice() {
        let wanted = |repair| Wanted {
            members: Some(3),
            delay: Some("100..100".into()),
            say: Some("1@0,2@200".into()),
            slow: Some("0..5000:1-3:900".into()),
            repair: Some(repair),
            ..Wanted::default()
        };
        assert_eq!(held_and_twice(&wanted(0)), (vec![600_000], 0), "received at 300 ms, delivered at 900 ms");
        let (held, twice) = held_and_twice(&wanted(1));
        assert!(held[0] < 600_000, "it is asked for, and sent again: {held:?}");
        assert_eq!(twice, 0, "what is sent again is another packet");
        let doubled = Wanted { dup: Some(100), ..wanted(0) };
        assert!(held_and_twice(&doubled).1 >= 4, "each of four messages, and what is told beside them");
        for lossy in [
            Wanted { loss: Some(1), ..wanted(0) },
            Wanted { cut: Some("1..2:1".into()), ..wanted(0) },
            Wanted { repair: Some(2), ..wanted(0) },
        ] {
            assert!(lossy.read().is_err());
        }
    }

    #[test]
    fn the_largest_run_is_bounded() {
        let wanted = Wanted {
            members: Some(MEMBERS_MAX),
            messages: Some(MESSAGES_MAX),
            pace: Some(PACE_MAX),
            delay: Some("0..5000".into()),
            loss: Some(LOSS_MAX),
            dup: Some(100),
            cut: Some("1..59999:1+2+3".into()),
            ..Wanted::default()
        };
        let (plan, script) = wanted.read().unwrap();
        let started = std::time::Instant::now();
        let lines = run(&plan, &script);
        println!("{} bytes in {:?}", lines.len(), started.elapsed());
        assert!(lines.len() < 1 << 20, "{} bytes", lines.len());
        assert!(
            lines.ends_with("}\n") && lines.contains(r#""event":"end""#),
            "{}",
            &lines[lines.len() - 300..]
        );
    }
}
