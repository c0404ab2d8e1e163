//! Explanation of a message's place in causal order, in lines: what it depends on, what depends on it, whether two were
//! before, after or concurrent, and the rule that held it back. Read off a stretch of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use causerie_client::Position;
use causerie_client::{HistoryPage, HistoryRecord, MemberId, MemberInfo, MessageId, What};
use causerie_core::content::plain;
use causerie_core::timeline::relation::{Relation, Stretch, causes};

use super::holds::Hold;
use super::room::RoomModel;
use super::text::{fit, one_line, width};
use crate::wording::{label, marked, show};

/// Messages that are named of each kind.
const NAMED_MAX: usize = 8;
/// Conditions of the delivery rule that are told.
const CONDITIONS_MAX: usize = 40;

const RULE: &str = "The delivery rule (Birman, Schiper, Stephenson)";

/// Number of messages of a member; at the least, if the log is not at hand from its beginning.
#[derive(Clone, Copy)]
struct Count {
    count: u64,
    exact: bool,
}

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.exact { "" } else { "≥ " }, self.count)
    }
}

/// A line of the delivery rule: whose messages are counted, the condition, and whether it held.
struct Condition {
    name: String,
    numbers: String,
    holds: bool,
}

/// A message that this client has held back itself.
pub(super) struct OwnHold<'a> {
    /// Name of the reader.
    at: &'a str,
    hold: &'a Hold,
    held_for: Option<Duration>,
    members: &'a [MemberInfo],
}

impl<'a> OwnHold<'a> {
    /// Returns how a message was held here, if it was and that is still known.
    pub(super) fn of(room: &'a RoomModel, at: &'a str, id: MessageId) -> Option<Self> {
        let held_for = room.message(id)?.extra.held_for;
        Some(Self { at, hold: room.holds.get(id)?, held_for, members: &room.members })
    }
}

/// A stretch of the log, to be told in lines.
struct Telling<'a>(Stretch<'a>);

/// Returns what a message rests on directly.
fn causes_of(record: &HistoryRecord) -> impl Iterator<Item = MessageId> + '_ {
    causes(record.id, &record.deps)
}

impl Telling<'_> {
    /// The message's whole vector, without its author's own entry.
    fn vector(&self, record: &HistoryRecord, past: &BTreeSet<MessageId>) -> BTreeMap<MemberId, Count> {
        let mut vector = BTreeMap::new();
        let earlier = past.iter().filter_map(|id| self.0.get(*id)).flat_map(causes_of);
        for id in causes_of(record).chain(earlier).filter(|id| id.member != record.id.member) {
            let entry = vector.entry(id.member).or_insert(Count { count: 0, exact: true });
            if id.seq > entry.count {
                *entry = Count {
                    count: id.seq,
                    exact: self.0.from == Position::FIRST || self.0.get(id).is_some(),
                };
            }
        }
        vector
    }

    /// The delivery rule [BSS91, section 5.1] number by number, as it was at the server when the message's turn came: the
    /// author first, then by member.
    fn rule(&self, record: &HistoryRecord, past: &BTreeSet<MessageId>, lines: &mut Vec<String>) {
        let author = record.id.member;
        let vector = self.vector(record, past);
        // Of each member that has said something here: the last before the message, and the first of all.
        let (mut before, mut first, mut names) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for other in self.0.records() {
            let MessageId { member, seq } = other.id;
            names.insert(member, if member.is_host() { "room".into() } else { one_line(&other.name) });
            first.entry(member).or_insert(seq);
            if other.position < record.position {
                before.insert(member, seq);
            }
        }
        let clock = |member: MemberId| match (before.get(&member), first.get(&member), vector.get(&member)) {
            (Some(&count), ..) => Count { count, exact: true },
            (None, Some(first), _) => Count { count: first - 1, exact: true },
            (None, None, stamp) => Count {
                exact: self.0.from == Position::FIRST,
                ..stamp.copied().unwrap_or(Count { count: 0, exact: true })
            },
        };
        let others: BTreeSet<_> =
            vector.keys().chain(first.keys()).copied().filter(|&member| member != author).collect();
        let name = |member: MemberId| names.get(&member).cloned().unwrap_or_else(|| member.to_string());
        let own = (author, format!("{} = {} + 1", record.id.seq, clock(author)));
        let others = others.into_iter().map(|member| {
            let stamp = vector.get(&member).copied().unwrap_or_else(|| self.nothing(first.get(&member)));
            (member, format!("{stamp} ≤ {}", clock(member)))
        });
        let conditions = std::iter::once(own).chain(others);
        let conditions =
            conditions.map(|(member, numbers)| Condition { name: name(member), numbers, holds: true });
        lines.push(format!("{RULE} at the server, its vector against what was delivered:"));
        table(&conditions.collect::<Vec<_>>(), lines);
    }

    /// Returns the count for a member of whom nothing that is here is in a message's past.
    fn nothing(&self, first: Option<&u64>) -> Count {
        // Whose first message is here and not in its past had sent nothing that is.
        Count { count: 0, exact: self.0.from == Position::FIRST || first == Some(&1) }
    }

    /// The delivery rule as it was here when the message was received, before a cause of it.
    fn own_rule(
        &self,
        record: &HistoryRecord,
        past: &BTreeSet<MessageId>,
        own: &OwnHold<'_>,
        lines: &mut Vec<String>,
    ) {
        let author = record.id.member;
        let OwnHold { hold: Hold { clock, waits_for: (waits_for, waits_for_author) }, .. } = own;
        let (mut first, mut names) = (BTreeMap::new(), BTreeMap::new());
        for other in self.0.records() {
            first.entry(other.member).or_insert(other.id.seq);
            names.insert(other.member, &other.name[..]);
        }
        names.extend(own.members.iter().map(|info| (info.member, &info.name[..])));
        let name = |member: MemberId| match names.get(&member) {
            _ if member.is_host() => "room".into(),
            Some(name) => one_line(name),
            None => member.to_string(),
        };
        // Of who is not in the clock, as who had left, it is not known how many there were.
        let had = |member| Count { count: clock.get(member), exact: clock.knows(member) };
        let vector = self.vector(record, past);
        let members = vector.keys().copied().chain(clock.iter().map(|(member, _)| member));
        let members: BTreeSet<_> = members.filter(|&member| member != author).collect();
        let next = Condition {
            name: name(author),
            numbers: format!("{} = {} + 1", record.id.seq, had(author)),
            holds: !clock.knows(author) || record.id.seq == clock.get(author) + 1,
        };
        let others = members.into_iter().map(|member| {
            let stamp = vector.get(&member).copied().unwrap_or_else(|| self.nothing(first.get(&member)));
            let had = had(member);
            let holds = !had.exact || stamp.count <= had.count;
            Condition { name: name(member), numbers: format!("{stamp} ≤ {had}"), holds }
        });
        let mut conditions: Vec<_> = std::iter::once(next).chain(others).collect();
        // Where not all are told, these are.
        conditions.sort_by_key(|condition| condition.holds);
        let failed = conditions.iter().filter(|condition| !condition.holds).count().max(1);
        let (at, plural) = (one_line(own.at), if failed == 1 { "" } else { "s" });
        let held_for = own.held_for.map_or(String::new(), |held_for| format!(" for {}", show(held_for)));
        let cause = label(waits_for_author.as_deref().or(names.get(&waits_for.member).copied()), *waits_for);
        lines.push(format!(
            "At {at} it was received early and held{held_for}: {failed} condition{plural} failed. It waited for {cause}."
        ));
        lines.push(format!("{RULE} at {at}, its vector against what was delivered when it was received:"));
        table(&conditions, lines);
    }

    fn name(&self, id: MessageId) -> String {
        let author = self.0.get(id).map(|record| record.name.as_str());
        label(author, id)
    }

    fn line(&self, id: MessageId) -> String {
        let Some(record) = self.0.get(id) else { return format!("  {id}, before what was read") };
        let what = match &record.what {
            What::Said(body) => {
                let about = body.target().map_or(String::new(), |target| self.name(target));
                let words = marked(plain::labelled(body, &about), record.standing);
                one_line(words.as_deref().unwrap_or("(something that this version cannot show)"))
            }
            What::Joined => "joined".into(),
            What::Left { .. } => "left".into(),
        };
        format!("  {}: {what}", self.name(id))
    }

    fn relation(&self, id: MessageId, other: MessageId) -> String {
        let (this, that) = (self.name(id), self.name(other));
        let chain = |from, to| {
            let steps: Vec<_> = self.0.chain(from, to).into_iter().map(|id| self.name(id)).collect();
            steps.join(" → ")
        };
        match self.0.relation(other, id) {
            None => format!("{that} is too far away to compare."),
            Some(Relation::Before) => format!("{that} is causally before it: {}", chain(other, id)),
            Some(Relation::After) => format!("{that} is causally after it: {}", chain(id, other)),
            Some(Relation::Concurrent) => {
                format!("{this} and {that} are concurrent: neither author had delivered the other's.")
            }
        }
    }

    fn list(&self, heading: &str, ids: Vec<MessageId>, lines: &mut Vec<String>) {
        if ids.is_empty() {
            return lines.push(format!("{heading}: nothing"));
        }
        lines.push(format!("{heading}:"));
        lines.extend(ids.iter().take(NAMED_MAX).map(|&id| self.line(id)));
        if ids.len() > NAMED_MAX {
            lines.push(format!("  and {} more", ids.len() - NAMED_MAX));
        }
    }
}

/// Tells the conditions, as many as there is room for.
fn table(conditions: &[Condition], lines: &mut Vec<String>) {
    let left_out = conditions.len().saturating_sub(CONDITIONS_MAX);
    let told = &conditions[..conditions.len() - left_out];
    let names = told.iter().map(|condition| width(&condition.name)).max().unwrap_or(0);
    let numbers = told.iter().map(|condition| width(&condition.numbers)).max().unwrap_or(0);
    lines.extend(told.iter().map(|Condition { name, numbers: condition, holds }| {
        let mark = if *holds { "✓" } else { "✗ not yet" };
        format!("  {}  {}  {mark}", fit(name, names), fit(condition, numbers))
    }));
    if left_out > 0 {
        lines.push(format!("  and {left_out} more"));
    }
}

/// About a message, in lines: if it was held here, with the rule that held it; with another one also how the two stand to
/// each other.
pub(super) fn explain(
    page: &HistoryPage,
    id: MessageId,
    other: Option<MessageId>,
    own: Option<&OwnHold<'_>>,
) -> Vec<String> {
    let telling = Telling(Stretch::new(page));
    let stretch = &telling.0;
    let Some(record) = stretch.get(id) else {
        return vec!["The server does not have this message any more.".into()];
    };
    let mut lines = vec![telling.line(id).trim_start().to_owned()];
    let deps: Vec<_> = record.deps.iter().map(ToString::to_string).collect();
    lines.push(format!("Stamp: {id} [{}], at position {}", deps.join(" "), record.position));
    let past = stretch.past(id);
    if let Some(other) = other.filter(|&other| other != id) {
        lines.push(String::new());
        lines.push(telling.relation(id, other));
    }
    lines.push(String::new());
    if let Some(own) = own {
        telling.own_rule(record, &past, own, &mut lines);
        lines.push(String::new());
    }
    telling.rule(record, &past, &mut lines);
    lines.push(String::new());
    telling.list("It depends directly on", causes_of(record).collect(), &mut lines);
    let direct = stretch.records().filter(|later| causes_of(later).any(|cause| cause == id));
    telling.list("What depends directly on it", direct.map(|later| later.id).collect(), &mut lines);
    let (mut concurrent, mut after) = (Vec::new(), 0);
    for other in stretch.records().filter(|other| other.id != id && !past.contains(&other.id)) {
        // Of what stands before it in the log nothing is after it.
        if other.position > record.position && stretch.past(other.id).contains(&id) {
            after += 1;
        } else {
            concurrent.push(other);
        }
    }
    concurrent.sort_by_key(|other| other.position.get().abs_diff(record.position.get()));
    telling.list("Concurrent with it", concurrent.iter().map(|other| other.id).collect(), &mut lines);
    lines.push(String::new());
    lines.push(format!(
        "Of positions {} to {}: {} causally before it, {after} causally after it, {} concurrent.",
        stretch.from,
        stretch.to,
        past.len(),
        concurrent.len()
    ));
    lines
}

#[cfg(test)]
mod tests {
    use causerie_client::{Body, Event, HistoryRecord, MemberId};

    use super::super::samples::*;
    use super::*;

    fn text(member: MemberId, seq: u64, deps: &[MessageId]) -> HistoryRecord {
        HistoryRecord { deps: deps.to_vec(), ..record(member, seq, Body::Text("x".into())) }
    }

    /// ```text
    /// Ann#1 ─► Bob#1 ─► Bob#2 ─► Ann#2
    ///     └──► Eve#1 ──────────────┘
    /// ```
    fn stretch() -> HistoryPage {
        page(
            11,
            vec![
                text(ANN, 1, &[id(BOB, 9)]),
                text(BOB, 1, &[id(ANN, 1)]),
                text(EVE, 1, &[id(ANN, 1)]),
                text(BOB, 2, &[]),
                text(ANN, 2, &[id(BOB, 2), id(EVE, 1)]),
            ],
        )
    }

    #[test]
    fn relations_are_those_of_the_dependencies() {
        let said = |a, b| explain(&stretch(), a, Some(b), None).join("\n");
        assert!(said(id(BOB, 2), id(EVE, 1)).contains("Bob#2 and Eve#1 are concurrent"));
        assert!(said(id(EVE, 1), id(BOB, 1)).contains("Eve#1 and Bob#1 are concurrent"));
        assert!(said(id(ANN, 2), id(ANN, 1)).contains("Ann#1 is causally before it: Ann#1 → Ann#2"));
        assert!(said(id(BOB, 2), id(ANN, 1)).contains("Ann#1 is causally before it: Ann#1 → Bob#1 → Bob#2"));
        assert!(said(id(BOB, 1), id(ANN, 2)).contains("Ann#2 is causally after it: Bob#1 → Bob#2 → Ann#2"));
        assert!(said(id(BOB, 1), id(BOB, 9)).contains("too far away"));
    }

    #[test]
    fn a_message_is_told_with_what_is_around_it() {
        let lines = explain(&stretch(), id(BOB, 2), None, None);
        assert_eq!(
            lines,
            [
                "Bob#2: x",
                "Stamp: 0.2#2 [], at position 14",
                "",
                "The delivery rule (Birman, Schiper, Stephenson) at the server, its vector against what was delivered:",
                "  Bob  2 = 1 + 1  ✓",
                "  Ann  1 ≤ 1      ✓",
                // Her first message was there, and not in its past.
                "  Eve  0 ≤ 1      ✓",
                "",
                "It depends directly on:",
                "  Bob#1: x",
                "What depends directly on it:",
                "  Ann#2: x",
                "Concurrent with it:",
                "  Eve#1: x",
                "",
                "Of positions 11 to 15: 2 causally before it, 1 causally after it, 1 concurrent.",
            ]
        );
        assert!(
            explain(&stretch(), id(ANN, 1), None, None).contains(&"  0.2#9, before what was read".into())
        );
        assert!(explain(&stretch(), id(EVE, 7), None, None)[0].contains("not have this message"));
    }

    #[test]
    fn what_was_held_here_is_told_with_the_rule_as_it_was_here() {
        let mut room = welcomed();
        // Ann has her own message and Eve's first; Bob's second comes before his first.
        let clock = [(MemberId::host(0), 3), (ANN, 1), (BOB, 0), (EVE, 1)].into_iter().collect();
        room.handle(
            Event::Held {
                id: id(BOB, 2),
                author: Some("Bob".into()),
                waits_for: id(BOB, 1),
                waits_for_author: Some("Bob".into()),
                clock,
            },
            "Ann",
        );
        let mut delivered = said(BOB, 2, "x", None);
        if let Event::Delivered(post) = &mut delivered {
            post.held_for = Some(Duration::from_millis(451));
        }
        room.handle(delivered, "Ann");
        let own = OwnHold::of(&room, "Ann", id(BOB, 2)).unwrap();
        let lines = explain(&stretch(), id(BOB, 2), None, Some(&own));
        assert_eq!(
            lines[3..11],
            [
                "At Ann it was received early and held for 451 ms: 1 condition failed. It waited for Bob#1.",
                "The delivery rule (Birman, Schiper, Stephenson) at Ann, its vector against what was delivered when it was received:",
                "  Bob   2 = 0 + 1  ✗ not yet",
                "  room  ≥ 0 ≤ 3    ✓",
                "  Ann   1 ≤ 1      ✓",
                "  Eve   0 ≤ 1      ✓",
                "",
                "The delivery rule (Birman, Schiper, Stephenson) at the server, its vector against what was delivered:",
            ]
        );
        assert!(OwnHold::of(&room, "Ann", id(BOB, 1)).is_none());
    }
}
