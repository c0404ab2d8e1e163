//! A space-time diagram: a column for each member, time going down, a dot for each message, arrows from its direct
//! causes. What others have written is text in it and never markup.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cbcast::{MemberId, MessageId};

use crate::sim::Event;
use crate::sim::export::{Labels, messages};

const COLUMN: usize = 110;
const ROW: usize = 22;
const TOP: usize = 50;
const TEXTS: usize = 560;
const NAME_CHARS: usize = 14;
const TEXT_CHARS: usize = 80;

/// Colours for light and for dark surroundings. Plain, since some viewers know no more.
const STYLE: &str = "\
svg { color-scheme: light dark; }
rect { fill: #ffffff; } text { fill: #1b1f24; font: 13px sans-serif; } text.name { text-anchor: middle; }
line.life { stroke: #9aa4af; stroke-dasharray: 2 4; } line.cause { stroke: #1b1f24; opacity: 0.55; }
marker path { fill: #1b1f24; } circle { fill: #0b62d6; }
@media (prefers-color-scheme: dark) {
rect { fill: #14181d; } text { fill: #e4e8ec; } line.life { stroke: #66717d; } line.cause { stroke: #e4e8ec; }
marker path { fill: #e4e8ec; } circle { fill: #6fb1ff; } }";

pub(super) fn export(trace: &[Event], labels: &Labels) -> String {
    let messages = messages(trace);
    let mut columns: BTreeMap<MemberId, usize> = BTreeMap::new();
    let mut members = Vec::new();
    for (message, _) in &messages {
        columns.entry(message.member).or_insert_with(|| {
            members.push(message.member);
            members.len() - 1
        });
    }
    let x = |member: MemberId| COLUMN / 2 + columns[&member] * COLUMN;
    let y = |row: usize| TOP + row * ROW;
    let rows: BTreeMap<MessageId, usize> =
        messages.iter().enumerate().map(|(row, (id, _))| (*id, row)).collect();
    let (width, height) = (members.len() * COLUMN + TEXTS, y(messages.len()) + ROW / 2);
    // Writing to a string does not fail.
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\">\n<style>\n{STYLE}\n</style>\n<defs><marker id=\"head\" viewBox=\"0 0 8 8\" \
         refX=\"12\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path \
         d=\"M0 0L8 4L0 8z\"/></marker></defs>\n<rect width=\"{width}\" height=\"{height}\"/>\n"
    );
    for &member in &members {
        let (x, name) = (x(member), labels.member(member));
        let _ = writeln!(
            out,
            "<text class=\"name\" x=\"{x}\" y=\"20\">{}<title>{} ({member})</title></text>",
            escaped(&start(&name, NAME_CHARS)),
            escaped(&name)
        );
        let bottom = y(messages.len());
        let _ = writeln!(out, "<line class=\"life\" x1=\"{x}\" y1=\"30\" x2=\"{x}\" y2=\"{bottom}\"/>");
    }
    for (message, causes) in &messages {
        // The author's own message before is the column's line.
        for cause in causes.iter().filter(|cause| cause.member != message.member) {
            let (x1, y1, x2, y2) = (x(cause.member), y(rows[cause]), x(message.member), y(rows[message]));
            let _ = writeln!(
                out,
                "<line class=\"cause\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" \
                 marker-end=\"url(#head)\"/>"
            );
        }
    }
    for (row, (message, causes)) in messages.iter().enumerate() {
        let (x, y, label) = (x(message.member), y(row), labels.message(*message));
        let mut title = format!("{message} {label}");
        for cause in causes.iter().filter(|cause| cause.member != message.member) {
            let _ = write!(title, "\nafter {}", labels.message(*cause));
        }
        let title = escaped(&title);
        let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\"><title>{title}</title></circle>");
        let (x, y) = (members.len() * COLUMN, y + 4);
        let label = escaped(&start(&label, TEXT_CHARS));
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\">{label}</text>");
    }
    out.push_str("</svg>\n");
    out
}

/// Enough of a text to recognise it.
fn start(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text in XML. What XML cannot have at all is shown as the replacement character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
