//! Demands of other programs on what we write for them: ShiViz of its logs, Graphviz of graphs, XML of pictures.

use std::collections::{BTreeMap, BTreeSet};

use cbcast::{MemberId, MessageId, Time};
use cbcast_sim::sim::{self, Export, Labels, Plan, TraceEvent, TraceKind};

#[test]
fn logs_follow_the_rules_of_shiviz() {
    for seed in 0..30 {
        let (trace, _) = sim::trace_of(&Plan::swarm(seed));
        let log = sim::export(&trace, Export::Shiviz);
        let mut lines = log.lines();
        assert_eq!(lines.next(), Some(r"(?<event>.*)\n(?<host>\S*) (?<clock>{.*})"));
        assert_eq!(lines.next(), Some(""), "one execution: no delimiter");
        let mut events: BTreeMap<String, u64> = BTreeMap::new();
        let mut clocks: Vec<BTreeMap<String, u64>> = Vec::new();
        while let Some(event) = lines.next() {
            assert!(!event.is_empty());
            let (host, clock) = lines.next().unwrap().split_once(' ').unwrap();
            assert!(!host.is_empty() && !host.contains(char::is_whitespace));
            let clock = parse(clock);
            *events.entry(host.into()).or_default() += 1;
            assert_eq!(clock.get(host), Some(&events[host]), "its own component is 1, 2, 3, …: {event}");
            clocks.push(clock);
        }
        assert_eq!(clocks.len(), trace.len());
        for (host, count) in clocks.iter().flatten() {
            let all = events.get(host).copied().unwrap_or(0);
            assert!((1..=all).contains(count), "{host} is at {count} of {all}");
        }
    }
}

fn parse(json: &str) -> BTreeMap<String, u64> {
    let entries = json.strip_prefix('{').and_then(|json| json.strip_suffix('}')).unwrap();
    let entry = |entry: &str| {
        let (host, count) = entry.split_once(':').unwrap();
        let host = host.strip_prefix('"').and_then(|host| host.strip_suffix('"')).unwrap();
        (host.to_owned(), count.parse().unwrap())
    };
    entries.split(',').map(entry).collect()
}

#[test]
fn graphs_have_all_messages_and_their_causes() {
    let (trace, report) = sim::trace_of(&Plan::swarm(4));
    let graph = sim::export(&trace, Export::Dot);
    assert!(graph.starts_with("digraph causes {\n") && graph.ends_with("}\n"));
    let nodes = graph.lines().filter(|line| line.starts_with("    \"")).count();
    assert_eq!(nodes as u64, report.unwrap().messages);
    assert!(graph.lines().any(|line| line.contains(" -> ")));
}

/// Names that members may try: each of these would break out of some format.
const HOSTILE: &str = "</title><script>\"'&\\ {}\u{1}\u{fffe}\n\u{2028}]]>-->\\";

/// A trace of which only is known what was said and after what, with names and texts that want to be markup.
fn hostile() -> (Vec<TraceEvent>, Labels) {
    let mut trace = Vec::new();
    let mut labels = Labels::default();
    let message = |ordinal, seq| MessageId::new(MemberId::new(0, ordinal), seq);
    let sent = [
        (message(1, 4), vec![message(9, 9)]),
        (message(2, 1), vec![message(1, 4)]),
        (message(3, 1), vec![message(1, 4)]),
        (message(1, 5), vec![message(2, 1), message(3, 1)]),
        (message(2, 2), vec![]),
    ];
    for (millis, (message, deps)) in sent.into_iter().enumerate() {
        let at = Time::from_millis(millis as u64);
        trace.push(TraceEvent { at, process: message.member, what: TraceKind::Send { message, deps } });
        labels.messages.insert(message, HOSTILE.into());
        labels.members.insert(message.member, HOSTILE.into());
    }
    (trace, labels)
}

#[test]
fn the_order_of_a_log_is_that_of_the_dependencies_where_nothing_else_is_known() {
    let (trace, labels) = hostile();
    let log = sim::export_labelled(&trace, Export::Shiviz, &labels);
    let mut lines = log.lines().skip(2);
    let mut clocks = Vec::new();
    while let Some(event) = lines.next() {
        assert!(event.contains("script") && !event.contains(char::is_control));
        let (host, clock) = lines.next().unwrap().split_once(' ').unwrap();
        clocks.push((host.to_owned(), parse(clock)));
    }
    let hosts: BTreeSet<_> = clocks.iter().map(|(host, _)| host.clone()).collect();
    assert_eq!(hosts.len(), 3, "each process has a name of its own: {hosts:?}");
    // By index: which come before which. The missing cause of the first is left out.
    let before = [vec![], vec![0], vec![0], vec![0, 1, 2], vec![0, 1]];
    for (later, causes) in before.iter().enumerate() {
        for earlier in 0..clocks.len() {
            let (host, known) = &clocks[earlier];
            let precedes = earlier != later && clocks[later].1.get(host) >= known.get(host);
            assert_eq!(precedes, causes.contains(&earlier), "{earlier} before {later}");
        }
    }
}

#[test]
fn graphs_hold_any_text() {
    let (trace, labels) = hostile();
    let graph = sim::export_labelled(&trace, Export::Dot, &labels);
    // Outside of quoted strings there is nothing but what we write.
    let (mut outside, mut quoted, mut chars) = (String::new(), false, graph.chars());
    while let Some(c) = chars.next() {
        match (quoted, c) {
            (_, '"') => quoted = !quoted,
            (true, '\\') => assert!(matches!(chars.next(), Some('"' | '\\'))),
            (true, c) => assert!(!c.is_control()),
            (false, c) => outside.push(c),
        }
    }
    assert!(!quoted && !outside.contains("script"), "{outside}");
    assert_eq!(outside.matches("->").count(), 6, "two of them to the author's own next message");
    assert_eq!(outside.matches("[label=]").count(), 5);
}

#[test]
fn pictures_are_xml_with_a_dot_for_each_message_and_an_arrow_for_each_cause() {
    let count = |picture: &str| {
        let document = roxmltree::Document::parse(picture).expect("well-formed");
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            *found.entry(node.tag_name().name().to_owned()).or_default() += 1;
            let class = node.attribute("class").unwrap_or_default();
            for kind in class.split(' ').filter(|kind| KINDS.contains(kind)) {
                *found.entry(kind.into()).or_default() += 1;
            }
        }
        found
    };
    let (trace, labels) = hostile();
    let picture = sim::export_labelled(&trace, Export::Svg, &labels);
    let found = count(&picture);
    let ours = ["cause", "defs", "line", "marker", "path", "rect", "send", "style", "svg", "text", "title"];
    assert_eq!(found.keys().collect::<Vec<_>>(), ours, "nothing from others is markup");
    assert_eq!((found["send"], found["cause"], found["text"]), (5, 4, 3 + 5));
    let document = roxmltree::Document::parse(&picture).unwrap();
    let title = document.descendants().rfind(|node| node.has_tag_name("title")).unwrap();
    assert!(title.text().unwrap().contains("</title><script>\"'&\\ {}\u{fffd}\u{fffd}\n"), "{title:?}");

    let mut holds = 0;
    // Who goes back to an older state receives again what it had received; what a liar says is known once it is delivered.
    let is_plain = |seed: &u64| Plan::swarm(*seed).faults.rollbacks + Plan::swarm(*seed).faults.liars == 0;
    for seed in (0..).filter(is_plain).take(10) {
        let (trace, report) = sim::trace_of(&Plan::swarm(seed));
        let report = report.unwrap();
        let found = count(&sim::export(&trace, Export::Svg));
        let found = |kind: &str| found.get(kind).copied().unwrap_or(0) as u64;
        assert_eq!(found("send"), report.messages);
        assert_eq!(found("deliver"), report.deliveries);
        assert_eq!((found("hold"), found("wait")), (report.held, report.held), "each has its line");
        // One arrow to where it was received: what was held is delivered where it is.
        let held =
            trace.iter().filter(|e| matches!(e.what, TraceKind::Deliver { held_for: Some(_), .. })).count();
        let snapshots = found("deliver") - held as u64 + found("hold") - found("message");
        assert_eq!(snapshots, 0, "seed {seed}");
        assert_eq!(found("cause"), 0, "what was received says more");
        holds += report.held;
    }
    assert!(holds > 0, "nothing was held in any of these runs");
}

/// Classes of what is counted.
const KINDS: [&str; 6] = ["cause", "message", "send", "hold", "wait", "deliver"];

#[test]
fn members_of_the_same_name_are_told_apart() {
    let member = |ordinal| MemberId::new(0, ordinal);
    let names = ["Bob", "Bob", "Bob-2", "Ann"].map(String::from);
    let labels = Labels::named((1..).map(member).zip(names));
    let named: Vec<_> = (1..=4).map(|ordinal| labels.id(MessageId::new(member(ordinal), 7))).collect();
    assert_eq!(named, ["Bob#7", "Bob-2#7", "Bob-2-2#7", "Ann#7"]);
}
