//! `causerie trace`: a room's real history as a diagram: who has said what, and after what.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use causerie_client::{Entry, HistoryRecord, What};
use causerie_core::content::plain;
use causerie_core::content::text::visible;
use causerie_core::log::page::Standing;
use cbcast::{MemberId, MessageId, Time};
use cbcast_sim::sim::{self, Export, Labels, TraceEvent};
use clap::{Args, ValueEnum};

use super::history::is_broken_pipe;
use crate::address::DEFAULT_SERVER;
use crate::config::security::{self, SecurityArgs};
use crate::log::LogReader;
use crate::when::Since;
use crate::wording::{gap, marked};

/// Draw what was said in a room, and after what: the causal order that it had.
#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    /// The room.
    #[arg(value_name = "ROOM")]
    room: String,

    /// The server.
    #[arg(long, short, value_name = "HOST[:PORT]", default_value = DEFAULT_SERVER)]
    server: String,

    /// From where on: a position (90), a message (0.7#90), a time (2026-01-31T09:30:00Z), or a while ago (2h, 3d).
    #[arg(long, value_name = "PLACE")]
    since: Option<Since>,

    /// How many: with --since the first so many from there, otherwise the last so many. A diagram is held in memory.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 200)]
    limit: u64,

    /// A picture, or for ShiViz or Graphviz.
    #[arg(long, short, value_enum, default_value_t = Format::Svg)]
    format: Format,

    /// Where to; standard output unless given.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten, next_help_heading = security::HEADING)]
    security: SecurityArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Svg,
    Shiviz,
    Dot,
}

pub(crate) async fn run(args: TraceArgs) -> anyhow::Result<()> {
    let mut log =
        LogReader::open(&args.server, &args.security, &args.room, args.since, Some(args.limit)).await?;
    let mut diagram = Diagram::default();
    while let Some(page) = log.next().await? {
        for entry in page.entries {
            match entry {
                Entry::Record(record) => diagram.add(record),
                Entry::Gap { from, to, removed } => {
                    eprintln!(
                        "causerie: not in the diagram: {}",
                        gap(from, to, removed).trim_start_matches("* gap: ")
                    );
                }
            }
        }
    }
    let format = match args.format {
        Format::Shiviz => Export::Shiviz,
        Format::Dot => Export::Dot,
        Format::Svg => Export::Svg,
    };
    let (trace, labels) = diagram.finish();
    let text = sim::export_labelled(&trace, format, &labels);
    match &args.output {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
        None => match io::stdout().write_all(text.as_bytes()).map_err(anyhow::Error::from) {
            Err(error) if is_broken_pipe(&error) => Ok(()),
            written => written,
        },
    }
}

/// What is known of real history: that members have said something, and what they had seen last. When others saw it
/// nobody tells. The room's host is a member like the others: it announces who joins and who leaves.
#[derive(Default)]
struct Diagram {
    trace: Vec<TraceEvent>,
    /// In order of appearance.
    members: Vec<(MemberId, String)>,
    known: BTreeSet<MemberId>,
    said: Vec<(MessageId, String, What, Standing)>,
    /// The time of the first record.
    begun: Option<u64>,
}

impl Diagram {
    fn add(&mut self, record: HistoryRecord) {
        let HistoryRecord { time_millis, id, deps, name, what, standing, .. } = record;
        let begun = *self.begun.get_or_insert(time_millis);
        if self.known.insert(id.member) {
            let author = if id.member.is_host() { "room" } else { &name };
            self.members.push((id.member, visible(author).into_owned()));
        }
        let at = Time::from_millis(time_millis.saturating_sub(begun));
        let process: MemberId = id.member;
        self.trace.push(TraceEvent { at, process, what: sim::TraceKind::Send { message: id, deps } });
        self.said.push((id, name, what, standing));
    }

    /// Returns the events, and the names of members and messages.
    fn finish(self) -> (Vec<TraceEvent>, Labels) {
        let mut labels = Labels::named(self.members);
        for (id, name, what, standing) in self.said {
            let said = match &what {
                What::Said(body) => {
                    let about = body.target().map_or(String::new(), |target| labels.id(target));
                    let words = marked(plain::labelled(body, &about), standing);
                    words.unwrap_or_else(|| "(something that this version does not know)".into())
                }
                What::Joined => format!("{name} joined"),
                What::Left { reason } if reason.is_empty() => format!("{name} left"),
                What::Left { reason } => format!("{name} left ({reason})"),
            };
            labels.messages.insert(id, visible(&said).into_owned());
        }
        (self.trace, labels)
    }
}
