//! The cases of `tests/timeline`: what a room's log says today. The page's tests read the same files.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use causerie_core::content::body::Body;
use causerie_core::id::Position;
use causerie_core::log::page::{Entry, HistoryRecord, Standing, What};
use causerie_core::timeline::fold::{Fold, Said};
use cbcast::{MemberId, MessageId};
use serde_json::{Value, json};

/// Cases that there are at the least.
const CASES_MIN: usize = 40;

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn member(id: &str) -> MemberId {
    let (origin, ordinal) = id.split_once('.').expect("ORIGIN.ORDINAL");
    MemberId::new(origin.parse().unwrap(), ordinal.parse().unwrap())
}

fn id(value: &Value, field: &str) -> MessageId {
    let id = value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"));
    let (author, seq) = id.split_once('#').expect("MEMBER#SEQ");
    MessageId::new(member(author), seq.parse().unwrap())
}

/// Reads a record as the JSON API has it.
fn entry(value: &Value) -> Entry {
    let words = || text(value, "text");
    let what = match value["kind"].as_str().expect("a kind") {
        "gap" => {
            let removed = value["why"] == "removed";
            return Entry::Gap {
                from: Position::new(number(value, "from")),
                to: Position::new(number(value, "to")),
                removed,
            };
        }
        "joined" => What::Joined,
        "left" => What::Left { reason: text(value, "reason") },
        "text" => What::Said(Body::Text(words())),
        "action" => What::Said(Body::Action(words())),
        "notice" => What::Said(Body::Notice(words())),
        "topic" => What::Said(Body::Topic(words())),
        "reply" => What::Said(Body::Reply { to: id(value, "to"), text: words() }),
        "edit" => What::Said(Body::Edit { of: id(value, "of"), text: words() }),
        "delete" => What::Said(Body::Delete { of: id(value, "of"), reason: text(value, "reason") }),
        "reaction" => {
            let (symbol, set) = (text(value, "symbol"), value["set"] == true);
            What::Said(Body::Reaction { to: id(value, "to"), symbol, set })
        }
        "unknown" => What::Said(Body::Unknown(Bytes::from_static(&[99]))),
        other => panic!("the kind {other}"),
    };
    let standing = match (&value["edited"], &value["deleted"]) {
        (_, Value::Bool(true)) => Standing::Deleted,
        (Value::Bool(true), _) => Standing::Edited,
        _ => Standing::AsSaid,
    };
    Entry::Record(HistoryRecord {
        position: Position::new(number(value, "position")),
        time_millis: 0,
        id: id(value, "id"),
        deps: Vec::new(),
        member: member(&text(value, "member")),
        name: text(value, "author"),
        what,
        standing,
    })
}

/// Returns a line with all fields that are there, and those alone, as the cases have them.
fn line(fold: &Fold, entry: &Entry) -> Option<Value> {
    let record = match entry {
        Entry::Gap { from, to, removed } => {
            let why = if *removed { "removed" } else { "damaged" };
            return Some(json!({"kind": "gap", "from": from.get(), "to": to.get(), "why": why}));
        }
        Entry::Record(record) => record,
    };
    let view = fold.view(record.id)?;
    let mut reason = view.reason;
    let (kind, reply) = match &record.what {
        What::Joined => ("joined", None),
        What::Left { reason: why } => {
            reason = why;
            ("left", None)
        }
        What::Said(body) => match body {
            Body::Text(_) => ("text", None),
            Body::Action(_) => ("action", None),
            Body::Notice(_) => ("notice", None),
            Body::Reply { to, .. } => ("reply", Some(*to)),
            Body::Topic(_) => ("topic", None),
            Body::Unknown(_) => ("unknown", None),
            Body::Edit { .. } | Body::Delete { .. } | Body::Reaction { .. } => {
                panic!("{record:?} has a line")
            }
        },
    };
    let mut line = json!({"id": record.id.to_string(), "kind": kind, "author": record.name});
    let mut put = |field: &str, value: Value| {
        line[field] = value;
    };
    if let Some(words) = view.words {
        put("text", words.into());
    }
    if view.edited {
        put("edited", true.into());
    }
    if view.deleted {
        put("deleted", true.into());
    }
    if !reason.is_empty() {
        put("reason", reason.into());
    }
    if let Some(to) = reply {
        let quote = fold.quote(to);
        let mut told = json!({"id": quote.id.to_string()});
        if let Some(author) = quote.author {
            told["author"] = author.into();
        }
        if let Some(words) = quote.words {
            told["text"] = words.into();
        }
        if quote.deleted {
            told["deleted"] = true.into();
        }
        put("reply", told);
    }
    if !view.reactions.is_empty() {
        let told = view.reactions.iter().map(|reaction| {
            let names: Vec<_> = reaction.by.iter().map(|(_, name)| *name).collect();
            json!({"symbol": reaction.symbol, "count": names.len(), "names": names})
        });
        put("reactions", told.collect());
    }
    Some(line)
}

/// Loads pages in their order, and returns all lines and the topic.
fn folded<'a>(pages: impl IntoIterator<Item = &'a [Entry]>) -> (Value, Value) {
    let mut fold = Fold::default();
    let mut entries: Vec<&Entry> = Vec::new();
    for page in pages {
        for entry in page {
            if let Entry::Record(record) = entry {
                let said = Said::from(record.clone());
                let has_line = fold.take(said);
                assert_eq!(has_line, fold.view(record.id).is_some());
            }
            entries.push(entry);
        }
    }
    entries.sort_by_key(|entry| match entry {
        Entry::Record(record) => record.position,
        Entry::Gap { from, .. } => *from,
    });
    let lines = entries.into_iter().filter_map(|entry| line(&fold, entry)).collect();
    (lines, fold.topic().map_or(Value::Null, Value::from))
}

#[test]
fn every_case_reads_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/timeline");
    let mut cases = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        cases += 1;
        let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected = (case["lines"].clone(), case["topic"].clone());
        let about = format!("{}: {}", path.file_name().unwrap().display(), case["about"]);
        let page =
            |records: &Value| -> Vec<Entry> { records.as_array().unwrap().iter().map(entry).collect() };
        let Some(pages) = case["pages"].as_array() else {
            let log = page(&case["log"]);
            assert_eq!(folded([&log[..]]), expected, "{about}");
            for cut in 0..=log.len() {
                let (older, newer) = log.split_at(cut);
                assert_eq!(folded([newer, older]), expected, "{about}; cut at {cut}");
            }
            assert_eq!(folded(log.chunks(1).rev()), expected, "{about}; backwards");
            continue;
        };
        let pages: Vec<_> = pages.iter().map(page).collect();
        assert_eq!(folded(pages.iter().map(Vec::as_slice)), expected, "{about}");
    }
    assert!(cases >= CASES_MIN, "{cases} cases");
}
