//! `causerie history`: what was said in a room, to read or for programs.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, ensure};
use causerie_client::{Body, ConnectError, Direction, Entry, History, HistoryPage, MessageId, Place, What};
use causerie_core::content::body::Recent;
use causerie_core::content::plain;
use causerie_core::content::text::visible;
use causerie_core::timeline::standing::Standing;
use causerie_gateway::api;
use clap::Args;

use crate::when::{Since, to_the_second};

/// Print what was said in a room, without joining it.
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// The room.
    #[arg(value_name = "ROOM")]
    room: String,

    /// The server.
    #[arg(long, short, value_name = "HOST[:PORT]", default_value = "127.0.0.1:12343")]
    server: String,

    /// From where on: a position (90), a message (0.7#90), a time (2026-01-31T09:30:00Z), or a while ago (2h, 3d).
    #[arg(long, value_name = "PLACE")]
    since: Option<Since>,

    /// How many: with --since the first so many from there, and all if not given; otherwise the last so many, 50 if
    /// not given.
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,

    /// Go on with what is said from now on, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How many are shown where nothing else is asked for.
pub(crate) const LIMIT: u64 = 50;

/// How many of the last texts are kept, to name what later messages are about.
pub(crate) const RECENT: usize = 500;

/// Records of one page: servers have a limit of their own.
const PAGE: u64 = 1_000;

pub(crate) async fn run(args: HistoryArgs) -> anyhow::Result<()> {
    let together = !(args.follow && args.since.is_some() && args.limit.is_some());
    ensure!(together, "--limit with --since ends somewhere, and --follow goes on: leave out one of them");
    let mut out = BufWriter::new(io::stdout());
    let printed = print(&args, &mut out).await.and_then(|()| Ok(out.flush()?));
    match printed {
        // Nobody reads any more, so there is nothing left to do.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn print<W: Write>(args: &HistoryArgs, out: &mut W) -> anyhow::Result<()> {
    let mut log = Log::open(&args.server, &args.room, args.since, args.limit).await?;
    let mut recent = Recent::new(RECENT);
    let mut show = |entry: &Entry| if args.json { api::entry(entry) } else { line(entry, &mut recent) };
    let mut write =
        |out: &mut W, page: HistoryPage| page.entries.iter().try_for_each(|e| writeln!(out, "{}", show(e)));
    while let Some(page) = log.next().await? {
        write(out, page)?;
    }
    if args.follow {
        loop {
            out.flush()?;
            let page = log.history.wait_for_newer(PAGE).await;
            write(out, page.map_err(|error| explained(error, &log.server))?)?;
        }
    }
    Ok(())
}

fn explained(error: ConnectError, server: &str) -> anyhow::Error {
    match error {
        ConnectError::Io(error) => anyhow::anyhow!("the connection to {server} is lost: {error}"),
        other => other.into(),
    }
}

/// A part of a room's log, read forwards page by page.
pub(crate) struct Log {
    history: History,
    server: String,
    /// How many records more.
    left: u64,
    /// The log's end when it was opened: what comes later is not told.
    end: u64,
    read_to: u64,
}

impl Log {
    /// From `since` on, `limit` records at most; without `since` the last `limit`.
    pub(crate) async fn open(
        server: &str,
        room: &str,
        since: Option<Since>,
        limit: Option<u64>,
    ) -> anyhow::Result<Self> {
        let server = crate::chat::with_port(server);
        let history = History::connect(&server, room).await;
        let mut history = history.with_context(|| format!("cannot reach {server}"))?;
        let nothing = history.page(Direction::After, Place::End, 0).await;
        let end = nothing.map_err(|error| explained(error, &server))?.end;
        let place = match since {
            None => Place::Position(end.saturating_sub(limit.unwrap_or(LIMIT))),
            // What is at the place is to be among them.
            Some(Since(Place::Position(position))) => Place::Position(position.saturating_sub(1)),
            Some(Since(Place::Message(id))) => {
                let page = history.page(Direction::Around, Place::Message(id), 1).await;
                Place::Position(page.map_err(|error| explained(error, &server))?.from - 1)
            }
            Some(Since(place)) => place,
        };
        history.seek(place);
        let left = limit.filter(|_| since.is_some()).unwrap_or(u64::MAX);
        Ok(Self { history, server, left, end, read_to: 0 })
    }

    /// The next page; `None` at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<HistoryPage>> {
        if self.left == 0 || self.end <= self.read_to {
            return Ok(None);
        }
        let page = self.history.newer(self.left.min(PAGE)).await;
        let page = page.map_err(|error| explained(error, &self.server))?;
        if let Some(page) = &page {
            self.left -= page.records().count() as u64;
            self.read_to = page.to;
        }
        Ok(page)
    }
}

/// Returns what somebody said, as it stands; `None` if this version cannot show it. What refers to it later is told what it
/// is about.
pub(crate) fn said(
    id: MessageId,
    name: &str,
    body: &Body,
    standing: Standing,
    recent: &mut Recent,
) -> Option<String> {
    if standing == Standing::Deleted {
        return Some(format!("{name} : (deleted)"));
    }
    let said = plain::said(name, body, recent.about(body));
    recent.note(id, name, body);
    let edited = if standing == Standing::Edited { " (edited)" } else { "" };
    said.map(|said| format!("{said}{edited}"))
}

/// An entry for people: time (UTC), and what happened.
pub(crate) fn line(entry: &Entry, recent: &mut Recent) -> String {
    let record = match entry {
        Entry::Record(record) => record,
        Entry::Gap { from, to, removed } => return gap(*from, *to, *removed),
    };
    let (time, name) = (to_the_second(record.time_millis), visible(&record.name));
    match &record.what {
        What::Said(body) => match said(record.id, &record.name, body, record.standing, recent) {
            Some(said) => format!("{time} {}", visible(&said)),
            None => format!("{time} * {name} said something that this version cannot show"),
        },
        What::Joined => format!("{time} * {name} joined"),
        What::Left { reason } if reason.is_empty() => format!("{time} * {name} left"),
        What::Left { reason } => format!("{time} * {name} left ({})", visible(reason)),
    }
}

/// A gap in words.
pub(crate) fn gap(from: u64, to: u64, removed: bool) -> String {
    let why = if removed { "are not kept any more" } else { "are damaged and cannot be read" };
    match to - from {
        0 if removed => format!("* gap: the message at {from} is not kept any more"),
        0 => format!("* gap: the message at {from} is damaged and cannot be read"),
        more => format!("* gap: {} messages ({from} to {to}) {why}", more + 1),
    }
}

#[cfg(test)]
mod tests {
    use causerie_client::{Body, HistoryRecord, MemberId, MessageId};

    use super::*;

    #[test]
    fn whatever_is_said_is_an_object_and_a_harmless_line() {
        let id = MessageId::new(MemberId::new(0, 7), 90);
        let text = || "\"\x1b[2J\u{202e}\n\\ \u{1f600}".to_owned();
        for (kind, body) in [
            ("text", Body::Text(text())),
            ("action", Body::Action(text())),
            ("notice", Body::Notice(text())),
            ("reply", Body::Reply { to: id, text: text() }),
            ("edit", Body::Edit { of: id, text: text() }),
            ("delete", Body::Delete { of: id, reason: String::new() }),
            ("reaction", Body::Reaction { to: id, symbol: text(), set: false }),
            ("topic", Body::Topic(text())),
            ("unknown", Body::Unknown(vec![99, 1].into())),
        ] {
            let deps = vec![MessageId::new(MemberId::new(0, 3), 88), id];
            let (member, name) = (id.member, text());
            let what = What::Said(body.clone());
            let record = HistoryRecord {
                position: 3,
                time_millis: 1_700_000_000_000,
                id,
                deps,
                member,
                name,
                what,
                standing: Standing::AsSaid,
            };
            let entry = Entry::Record(record);
            let value: serde_json::Value = serde_json::from_str(&api::entry(&entry)).expect("an object");
            assert_eq!((&value["kind"], &value["id"]), (&kind.into(), &"0.7#90".into()));
            assert_eq!(value["deps"], serde_json::json!(["0.3#88", "0.7#90"]));
            assert_eq!(
                (&value["author"], &value["time"]),
                (&text().into(), &"2023-11-14T22:13:20.000Z".into())
            );
            for field in ["to", "of"] {
                assert!(value.get(field).is_none_or(|target| target == "0.7#90"));
            }
            assert_eq!(value.get("to").or(value.get("of")).is_some(), body.target().is_some());
            for field in ["text", "symbol"] {
                assert!(value.get(field).is_none_or(|said| *said == text()));
            }
            for line in [api::entry(&entry), line(&entry, &mut Recent::new(9))] {
                assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
            }
        }
        assert_eq!(
            api::entry(&Entry::Gap { from: 1, to: 9, removed: true }),
            r#"{"kind":"gap","from":1,"to":9,"why":"removed"}"#
        );
        assert_eq!(gap(1, 9, true), "* gap: 9 messages (1 to 9) are not kept any more");
        assert_eq!(gap(9, 9, false), "* gap: the message at 9 is damaged and cannot be read");
    }
}
