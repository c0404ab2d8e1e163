//! What ShiViz demands of a log, checked on the logs that we write.

use std::collections::BTreeMap;

use cbcast_sim::sim::{self, Export, Plan};

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
