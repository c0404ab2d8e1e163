//! A space-time diagram: a column for each member, time going down, an event a row, in the page's signs and colours.
//!
//! Where deliveries are known, an arrow leads from where a message was sent to where it was received, and a dashed line
//! from where it was held to where it was delivered. Where they are not, arrows lead from direct causes. What others have
//! written is text in it and never markup.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cbcast::{MemberId, MessageId};

use crate::sim::export::labels::{Labels, messages, words};
use crate::sim::{TraceEvent, TraceKind};

const COLUMN: usize = 92;
const ROW: usize = 24;
const TOP: usize = 56;
/// Width of the column in which times stand.
const GUTTER: usize = 56;
const TEXTS: usize = 560;
const NAME_CHARS: usize = 11;
const TEXT_CHARS: usize = 80;
/// Radius of the sign of what was sent, and of what was delivered.
const RADIUS: f64 = 6.5;
const SMALL: f64 = 4.0;

/// The page's colours: of members, of hosts, of the ground, of text, of soft text.
struct Colours {
    hues: [&'static str; 8],
    host: &'static str,
    paper: &'static str,
    ink: &'static str,
    soft: &'static str,
}

const LIGHT: Colours = Colours {
    hues: ["#2f66d6", "#b54a14", "#17734a", "#a03aa0", "#7d6000", "#086f80", "#b82858", "#5b5fc7"],
    host: "#606a82",
    paper: "#ffffff",
    ink: "#1c2230",
    soft: "#59627a",
};
const DARK: Colours = Colours {
    hues: ["#7ea6ff", "#ff9a62", "#5fd19a", "#dd8ce0", "#e0bf4a", "#52cbdc", "#ff86a8", "#a6a8ff"],
    host: "#98a2b8",
    paper: "#1a1f29",
    ink: "#e8ebf2",
    soft: "#a3adc2",
};

impl Colours {
    /// Plain rules, since some viewers know no more.
    fn rules(&self) -> String {
        let Self { hues, host, paper, ink, soft } = self;
        let mut out = format!(
            "rect {{ fill: {paper}; }} text {{ fill: {ink}; }} text.at, text.held {{ fill: {soft}; }} \
             .arrow {{ stroke: {soft}; }} .other {{ stroke: {soft}; fill: none; }} marker path {{ fill: {soft}; }}\n"
        );
        let names = (0..hues.len()).map(|n| n.to_string()).chain(["host".into()]);
        for (name, hue) in names.zip(hues.iter().chain([host])) {
            let _ = writeln!(
                out,
                ".hue-{name} {{ fill: {hue}; }} line.hue-{name}, .wait.hue-{name} {{ stroke: {hue}; fill: none; }} \
                 .hold.hue-{name} {{ stroke: {hue}; fill: {paper}; }}"
            );
        }
        out
    }
}

fn style() -> String {
    format!(
        "svg {{ color-scheme: light dark; }}\ntext {{ font: 13px sans-serif; }} text.name {{ text-anchor: middle; \
         font-weight: 600; }} text.at {{ text-anchor: end; font-size: 11px; }} text.held {{ font-style: italic; }}\n\
         .life {{ stroke-width: 2; opacity: 0.35; }} .arrow {{ stroke-width: 1.2; opacity: 0.8; }} \
         .wait {{ stroke-width: 2; stroke-dasharray: 3 4; }} .hold {{ stroke-width: 2.2; }}\n{}\
         @media (prefers-color-scheme: dark) {{\n{}}}",
        LIGHT.rules(),
        DARK.rules()
    )
}

/// The page's hue and shape of a member.
fn look(member: MemberId) -> (String, u32) {
    if member.is_host() {
        return ("host".into(), 1);
    }
    let n = member.ordinal.wrapping_add(member.origin.wrapping_mul(3));
    ((n % 8).to_string(), n % 5)
}

/// A sign around the origin.
fn shape(shape: u32, radius: f64) -> String {
    let polygon = |corners: u32, turn: f64, size: f64| {
        let corner = |n: u32| {
            let angle = ((turn + f64::from(n) / f64::from(corners)) * 2.0 - 0.5) * std::f64::consts::PI;
            format!("{:.2} {:.2}", angle.cos() * size, angle.sin() * size)
        };
        format!("M{}Z", (0..corners).map(corner).collect::<Vec<_>>().join("L"))
    };
    match shape {
        0 => format!("M{0} 0A{1} {1} 0 1 1 {1} 0A{1} {1} 0 1 1 {0} 0Z", -radius, radius),
        1 => polygon(4, 1.0 / 8.0, radius * 1.25),
        2 => polygon(4, 0.0, radius * 1.3),
        3 => polygon(3, 0.0, radius * 1.35),
        _ => polygon(6, 0.0, radius * 1.15),
    }
}

/// Returns whether an event has a row.
fn is_drawn(event: &TraceEvent) -> bool {
    !matches!(event.what, TraceKind::Start { from: None })
}

struct Picture<'a> {
    labels: &'a Labels,
    columns: BTreeMap<MemberId, usize>,
    /// In which row each message was sent, and by whom.
    sent: BTreeMap<MessageId, (usize, MemberId)>,
    /// In which row it was held, by member.
    held: BTreeMap<(MemberId, MessageId), usize>,
    rows: usize,
    lines: String,
    signs: String,
}

pub(super) fn export(trace: &[TraceEvent], labels: &Labels) -> String {
    let drawn: Vec<&TraceEvent> = trace.iter().filter(|event| is_drawn(event)).collect();
    let mut members = Vec::new();
    let mut known = BTreeSet::new();
    let started = trace.iter().filter(|event| !is_drawn(event));
    for process in started.chain(drawn.iter().copied()).map(|event| event.process) {
        if known.insert(process) {
            members.push(process);
        }
    }
    // What was received is told, or it is not: then direct causes are all there is.
    let is_received =
        drawn.iter().any(|event| matches!(event.what, TraceKind::Deliver { .. } | TraceKind::Hold { .. }));
    let causes: BTreeMap<_, _> = messages(trace).into_iter().collect();
    // Of a log that somebody else wrote nobody knows whether causes stand first.
    let sent = drawn.iter().enumerate().filter_map(|(row, event)| match event.what {
        TraceKind::Send { message, .. } => Some((message, (row, event.process))),
        _ => None,
    });
    let mut picture = Picture {
        labels,
        columns: members.iter().copied().zip(0..).collect(),
        sent: sent.collect(),
        held: BTreeMap::new(),
        rows: drawn.len(),
        lines: String::new(),
        signs: String::new(),
    };
    for (row, event) in drawn.iter().enumerate() {
        let causes = match &event.what {
            TraceKind::Send { message, .. } if !is_received => &causes[message][..],
            _ => &[],
        };
        picture.draw(row, event, causes, is_received);
    }
    for ((process, _), row) in std::mem::take(&mut picture.held) {
        picture.wait(process, row, None);
    }
    picture.finish(&members)
}

impl Picture<'_> {
    fn x(&self, member: MemberId) -> usize {
        GUTTER + COLUMN / 2 + self.columns[&member] * COLUMN
    }

    fn y(row: usize) -> usize {
        TOP + row * ROW
    }

    fn draw(&mut self, row: usize, event: &TraceEvent, causes: &[MessageId], has_time: bool) {
        let TraceEvent { at, process, what } = event;
        let (process, millis) = (*process, at.as_nanos() / 1_000_000);
        let sign = match what {
            TraceKind::Send { message, .. } => {
                // The author's own message before is the column's line.
                for cause in causes.iter().filter(|cause| cause.member != message.member) {
                    let (from, by) = self.sent[cause];
                    self.arrow("cause", (by, from), (process, row), RADIUS);
                }
                Some((message, "send", RADIUS))
            }
            TraceKind::Hold { message, .. } => {
                self.receive(*message, process, row, RADIUS);
                self.held.insert((process, *message), row);
                Some((message, "hold", RADIUS))
            }
            TraceKind::Deliver { message, .. } => {
                match self.held.remove(&(process, *message)) {
                    Some(since) => self.wait(process, since, Some(row)),
                    None => self.receive(*message, process, row, SMALL),
                }
                Some((message, "deliver", SMALL))
            }
            _ => None,
        };
        let told = words(what, self.labels);
        let (x, y) = (self.x(process), Self::y(row));
        let time = if has_time { format!("{millis} ms: ") } else { String::new() };
        let title = escaped(&format!("{time}{}: {told}", self.labels.member(process)));
        let _ = match sign {
            Some((message, kind, size)) => {
                let (hue, figure) = look(message.member);
                writeln!(
                    self.signs,
                    "<path class=\"{kind} hue-{hue}\" d=\"{}\" transform=\"translate({x} {y})\"><title>{title}</title></path>",
                    shape(figure, size)
                )
            }
            None => writeln!(
                self.signs,
                "<path class=\"other\" d=\"M-4 -4L4 4M-4 4L4 -4\" transform=\"translate({x} {y})\"><title>{title}</title></path>"
            ),
        };
        let (text, class) = match what {
            TraceKind::Send { message, .. } if !has_time => (self.labels.message(*message), ""),
            TraceKind::Send { message, deps } => {
                let after: Vec<_> = deps.iter().map(|dep| self.labels.id(*dep)).collect();
                let after =
                    if after.is_empty() { after.concat() } else { format!(" after {}", after.join(", ")) };
                (self.labels.message(*message) + &after, "")
            }
            // An arrow and a dot say as much.
            TraceKind::Deliver { held_for: None, .. } => (String::new(), ""),
            _ => (format!("{}: {told}", self.labels.member(process)), " class=\"held\""),
        };
        if has_time {
            let _ = writeln!(
                self.signs,
                "<text class=\"at\" x=\"{}\" y=\"{}\">{millis}</text>",
                GUTTER - 8,
                y + 4
            );
        }
        if !text.is_empty() {
            let (x, text) = (GUTTER + self.columns.len() * COLUMN + 8, escaped(&start(&text, TEXT_CHARS)));
            let _ = writeln!(self.signs, "<text{class} x=\"{x}\" y=\"{}\">{text}</text>", y + 4);
        }
    }

    /// An arrow from where it was sent.
    fn receive(&mut self, message: MessageId, process: MemberId, row: usize, size: f64) {
        if let Some(&(from, by)) = self.sent.get(&message) {
            self.arrow("message", (by, from), (process, row), size);
        }
    }

    fn arrow(&mut self, kind: &str, from: (MemberId, usize), to: (MemberId, usize), size: f64) {
        let place = |(member, row): (MemberId, usize)| (self.x(member) as f64, Self::y(row) as f64);
        let ((x1, y1), (x2, y2)) = (place(from), place(to));
        let length = (x2 - x1).hypot(y2 - y1).max(1.0);
        let (dx, dy) = ((x2 - x1) / length, (y2 - y1) / length);
        let (begin, end) = (RADIUS + 1.5, size + 1.5);
        let _ = writeln!(
            self.lines,
            "<line class=\"arrow {kind}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" marker-end=\"url(#head)\"/>",
            x1 + dx * begin,
            y1 + dy * begin,
            x2 - dx * end,
            y2 - dy * end
        );
    }

    /// Beside the column, each at another distance: what is held together is told apart.
    fn wait(&mut self, process: MemberId, since: usize, until: Option<usize>) {
        let (x, y) = (self.x(process) as f64, Self::y(since) as f64);
        let away = x - 9.0 - 4.0 * (since % 4) as f64;
        let end = Self::y(until.unwrap_or(self.rows)) as f64;
        let mut d = format!("M{} {y}Q{away} {y} {away} {}L{away} {}", x - RADIUS, y + 10.0, end - 10.0);
        if until.is_some() {
            let _ = write!(d, "Q{away} {end} {} {end}", x - SMALL - 1.0);
        }
        let _ = writeln!(self.lines, "<path class=\"wait hue-{}\" d=\"{d}\"/>", look(process).0);
    }

    fn finish(self, members: &[MemberId]) -> String {
        let (width, bottom) = (GUTTER + members.len() * COLUMN + TEXTS, Self::y(self.rows));
        let height = bottom + ROW / 2;
        // Writing to a string does not fail.
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\">\n<style>\n{}\n</style>\n<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" \
             refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0.8L8 4L0 7.2Z\"/></marker></defs>\n\
             <rect width=\"{width}\" height=\"{height}\"/>\n",
            style()
        );
        for &member in members {
            let (x, name, (hue, figure)) = (self.x(member), self.labels.member(member), look(member));
            let _ = writeln!(
                out,
                "<text class=\"name\" x=\"{x}\" y=\"18\">{}<title>{} ({member})</title></text>",
                escaped(&start(&name, NAME_CHARS)),
                escaped(&name)
            );
            let _ = writeln!(
                out,
                "<path class=\"hue-{hue}\" d=\"{}\" transform=\"translate({x} 31)\"/>",
                shape(figure, 5.0)
            );
            let _ = writeln!(
                out,
                "<line class=\"life hue-{hue}\" x1=\"{x}\" y1=\"42\" x2=\"{x}\" y2=\"{bottom}\"/>"
            );
        }
        out + &self.lines + &self.signs + "</svg>\n"
    }
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
