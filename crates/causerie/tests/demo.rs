//! `causerie demo`: members talk, something is held, and Ctrl-C ends it.
#![cfg(unix)]

mod common;

use std::collections::BTreeSet;

use common::{Process, Said, causerie, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// The demonstration, and the address that it tells to look at.
async fn start() -> (Process, mpsc::UnboundedReceiver<((), Said)>, String) {
    let (said, mut told) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(["demo", "--listen", "127.0.0.1:0"]);
    let process = Process::start(command, (), said);
    let address = soon("the address to look at", async {
        loop {
            let Some(((), Said::Out(line))) = told.recv().await else { continue };
            if let Some((before, rest)) = line.split_once("http://") {
                assert!(before.contains("step by step"), "the lab comes first: {line}");
                break rest.split('/').next().unwrap().to_owned();
            }
        }
    });
    let address = address.await;
    (process, told, address)
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The value of a counter.
fn counted(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse().unwrap()
}

#[tokio::test]
async fn a_demonstration_shows_messages_that_are_held_and_ends_by_ctrl_c() {
    let (mut process, mut told, address) = start().await;
    let mut authors = BTreeSet::new();
    soon("all to speak, and something to be held", async {
        loop {
            // It is made by who joins first.
            let rooms = get(&address, "/api/rooms").await;
            if rooms.contains(r#""demo""#) {
                let page = get(&address, "/api/rooms/demo/messages?limit=1000").await;
                let page: serde_json::Value = serde_json::from_str(&page).unwrap();
                let records = page["messages"].as_array().unwrap();
                let replies = records.iter().filter(|record| record["kind"] == "reply");
                authors.extend(replies.map(|record| record["author"].as_str().unwrap().to_owned()));
            }
            let held = counted(&get(&address, "/metrics").await, "causerie_messages_held_total");
            if held > 0 && authors.len() == 4 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    process.signal("INT").await;
    assert!(process.exit().await.success());
    while let Some((_, said)) = told.recv().await {
        assert!(!matches!(said, Said::Err(_)), "{said:?}");
    }
}

#[tokio::test]
async fn the_lab_stands_first_and_whoever_joins_gets_a_bad_link_too() {
    let (_process, mut told, address) = start().await;
    let mut lines = Vec::new();
    soon("the way out", async {
        while !lines.last().is_some_and(|line: &String| line.contains("Ctrl-C")) {
            match told.recv().await {
                Some(((), Said::Out(line))) => lines.push(line),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    // The first address was read to find the server.
    assert!(lines[0].contains(&format!("http://{address}/?hold#demo")), "the picture stops: {lines:?}");
    let (_, command) = lines[1].split_once(" chat ").expect("how to join");
    let (_, link) = command.split_once(" --link ").expect("over a bad link");
    let link: causerie_client::Disturbance = link.trim().parse().expect("a link");
    assert!(link.delay_max > std::time::Duration::from_secs(1), "{link:?}");
    assert!(get(&address, "/lab").await.contains("The lab"));
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_told() {
    let (_process, _told, address) = start().await;
    let second = causerie().args(["demo", "--listen", &address]).output();
    let second = soon("the second one ends", second).await.unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("cannot listen on") && told.contains("--listen"), "{told}");
}
