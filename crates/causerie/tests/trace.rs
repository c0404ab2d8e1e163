//! `causerie trace`: diagrams of what real members said over real sockets, compared with what the log says.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Output, Stdio};

use causerie_client::{Direction, Event, History, HistoryRecord, Place, Room, RoomOptions};
use causerie_core::id::Position;
use cbcast::MessageId;
use common::{Server, causerie, soon};

const HOSTILE: &str = "</title><script>alert(1)</script> \" \\ } \x1b[31m\r\nhost {\"x\":9}";

async fn trace(server: &Server, args: &[&str]) -> Output {
    let mut command = causerie();
    command.args(["trace", "lobby", "--server", &server.address()]).args(args).stdin(Stdio::null());
    soon("trace", command.output()).await.expect("the binary was built")
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Waits until it has seen this text of another.
async fn hear(room: &mut Room, text: &str) {
    soon("a text", async {
        loop {
            match room.next_event().await.expect("the session goes on") {
                Event::Delivered(post) if post.body.text() == Some(text) && !post.own => break,
                _ => {}
            }
        }
    })
    .await;
}

/// Three who answer each other, at times at the same time, and one of whom comes twice.
async fn a_talk(server: &Server) -> Vec<HistoryRecord> {
    let address = server.address();
    let join =
        async |name: &str| RoomOptions::new(&address, "lobby", name).create(true).join().await.unwrap();
    let mut ann = join("Ann Lee").await;
    let mut bob = join("Bob").await;
    ann.say("first").unwrap();
    hear(&mut bob, "first").await;
    for n in 0..10 {
        let (question, answer) = (format!("question {n}"), format!("answer {n}"));
        ann.say(&question).unwrap();
        // These two know nothing of each other.
        bob.say(&format!("aside {n}")).unwrap();
        hear(&mut bob, &question).await;
        bob.say(&answer).unwrap();
        hear(&mut ann, &answer).await;
    }
    bob.leave();
    soon("the end", async { while bob.next_event().await.is_some() {} }).await;
    let bob = join("Bob").await;
    bob.say(HOSTILE).unwrap();
    hear(&mut ann, HOSTILE).await;
    let mut history = History::connect(&address, "lobby").await.unwrap();
    let page = history.page(Direction::After, Place::Position(Position::START), 1_000).await.unwrap();
    page.records().cloned().collect()
}

/// By the dependencies alone: what comes before what.
fn causes(records: &[HistoryRecord]) -> BTreeMap<MessageId, BTreeSet<MessageId>> {
    let mut all: BTreeMap<MessageId, BTreeSet<MessageId>> = BTreeMap::new();
    for record in records {
        let own = (record.id.seq > 1).then(|| MessageId::new(record.id.member, record.id.seq - 1));
        let mut before = BTreeSet::new();
        for cause in record.deps.iter().copied().chain(own) {
            if let Some(earlier) = all.get(&cause) {
                before.insert(cause);
                before.extend(earlier);
            }
        }
        all.insert(record.id, before);
    }
    all
}

#[tokio::test]
async fn shiviz_sees_the_order_that_the_dependencies_tell() {
    let server = Server::start(&[]).await;
    let records = a_talk(&server).await;
    for (skip, args) in [(0, &["-f", "shiviz"][..]), (9, &["-f", "shiviz", "--since", "10", "-n", "500"])] {
        let records = &records[skip..];
        let causes = causes(records);
        let log = text(trace(&server, args).await);
        let mut lines = log.lines();
        assert_eq!(lines.next(), Some(r"(?<event>.*)\n(?<host>\S*) (?<clock>{.*})"));
        assert_eq!(lines.next(), Some(""));
        let mut clocks: Vec<(String, BTreeMap<String, u64>)> = Vec::new();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        while let Some(event) = lines.next() {
            assert!(event.contains(" ms: send "), "{event}");
            let (host, clock) = lines.next().unwrap().split_once(' ').unwrap();
            let clock: BTreeMap<String, u64> = serde_json::from_str(clock).expect("a JSON object");
            *counts.entry(host.into()).or_default() += 1;
            assert_eq!(clock[host], counts[host], "its own component is 1, 2, 3, ...");
            clocks.push((host.into(), clock));
        }
        assert_eq!(clocks.len(), records.len());
        let hosts: Vec<&str> = counts.keys().map(|host| &host[..]).collect();
        assert_eq!(hosts, ["Ann_Lee", "Bob", "Bob-2", "room"]);
        assert!(clocks.iter().all(|(_, clock)| clock.keys().all(|host| counts.contains_key(host))));
        for (later, (_, clock)) in clocks.iter().enumerate() {
            for (earlier, (host, known)) in clocks.iter().enumerate() {
                let by_clocks = earlier != later && clock.get(host) >= Some(&known[host]);
                let by_deps = causes[&records[later].id].contains(&records[earlier].id);
                assert_eq!(by_clocks, by_deps, "{} before {}", records[earlier].id, records[later].id);
            }
        }
    }
}

#[tokio::test]
async fn pictures_and_graphs_have_every_message_and_every_direct_cause() {
    let server = Server::start(&[]).await;
    let records = a_talk(&server).await;
    let deps: usize = records.iter().map(|record| record.deps.len()).sum();
    let picture = text(trace(&server, &[]).await);
    assert_eq!(picture, text(trace(&server, &["--format", "svg"]).await), "unless told otherwise");
    let document = roxmltree::Document::parse(&picture).expect("well-formed");
    let signs = |document: &roxmltree::Document<'_>| {
        let class = |node: &roxmltree::Node<'_, '_>| {
            node.attribute("class").is_some_and(|class| class.split(' ').any(|class| class == "send"))
        };
        document.descendants().filter(class).count()
    };
    assert_eq!(signs(&document), records.len());
    assert!(!document.descendants().any(|node| node.has_tag_name("script")));
    let arrows = document.descendants().filter(|node| node.attribute("class") == Some("arrow cause"));
    assert_eq!(arrows.count(), deps);
    let titles = document.descendants().filter(|node| node.has_tag_name("path"));
    let titles: Vec<_> = titles.filter_map(|node| node.first_element_child()?.text()).collect();
    assert!(titles.iter().all(|title| !title.contains("0.")), "names, and no ids: {titles:?}");
    // Whoever comes twice is two.
    assert!(titles.iter().any(|title| title.starts_with("Bob-2: send Bob-2#1")), "{titles:?}");
    // In the page's colours, light and dark.
    let colours = include_str!("../../causerie-server/web/style.css").lines();
    let colours: Vec<_> = colours
        .filter(|line| line.trim_start().starts_with("--h"))
        .flat_map(|line| line.split(';').filter_map(|rule| Some(rule.split_once(": ")?.1.trim())))
        .collect();
    assert_eq!(colours.len(), 2 * 9);
    assert!(colours.iter().all(|colour| picture.contains(colour)), "{colours:?}");
    assert!(!picture.contains('\x1b'));
    let last = document.descendants().rfind(|node| node.has_tag_name("title")).and_then(|node| node.text());
    assert!(last.unwrap().contains("</title><script>alert(1)</script>"), "{last:?}");

    let graph = text(trace(&server, &["--format", "dot"]).await);
    let arrows = graph.lines().filter(|line| line.starts_with("  \"") && line.contains(" -> ")).count();
    let own = records.iter().filter(|record| record.id.seq > 1).count();
    assert_eq!(arrows, deps + own);
    let nodes = graph.lines().filter(|line| line.starts_with("    \"") && line.ends_with("];"));
    assert_eq!(nodes.count(), records.len());

    // To a file, and of a part only: what came before is left out.
    let path = std::env::temp_dir().join(format!("causerie-trace-{}.svg", std::process::id()));
    let to = path.display().to_string();
    assert_eq!(text(trace(&server, &["-f", "svg", "-n", "5", "-o", &to]).await), "");
    let written = std::fs::read_to_string(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it is ours");
    let document = roxmltree::Document::parse(&written).expect("well-formed");
    assert_eq!(signs(&document), 5);

    let wrong = trace(&server, &["--format", "pdf"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    let nowhere = trace(&server, &["--format", "dot", "-o", "/nowhere/x.dot"]).await;
    assert_eq!(nowhere.status.code(), Some(1));
}
