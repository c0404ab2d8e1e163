//! `causerie history` as people and scripts use it, and the client library's reader behind it.

mod common;

use std::io::Read;
use std::process::{Output, Stdio};

use causerie_client::{Body, ErrorCode, Event, History, MessageId, Place, Room, RoomOptions};
use causerie_core::id::Position;
use common::{Process, Said, Server, causerie, soon};
use serde_json::Value;
use tokio::sync::mpsc;

async fn history(server: &Server, args: &[&str]) -> Output {
    let mut command = causerie();
    command.arg("history").args(["--server", &server.address()]).args(args).stdin(Stdio::null());
    soon("history", command.output()).await.expect("the binary was built")
}

fn lines(output: &Output) -> Vec<&str> {
    std::str::from_utf8(&output.stdout).expect("text").lines().collect()
}

/// The lines without their times.
fn told(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let without = |line: &&str| match line.split_once("Z ") {
        Some((time, rest)) if time.parse::<u8>().is_err() && time.contains('T') => rest.to_owned(),
        _ => (*line).to_owned(),
    };
    lines(output).iter().map(without).collect()
}

async fn join(server: &Server, name: &str) -> Room {
    RoomOptions::new(&server.address(), "lobby", name).create(true).join().await.expect("the server is there")
}

/// Says it, and waits until it has its place.
async fn say(room: &mut Room, text: &str) {
    let said = room.say(text).unwrap();
    soon("a place", async {
        let mut id = said;
        loop {
            match room.next_event().await.expect("the session goes on") {
                Event::Delivered(post) if post.own && id.is_none() => id = Some(post.id),
                Event::Placed { id: placed, .. } if Some(placed) == id => break,
                _ => {}
            }
        }
    })
    .await;
}

async fn leave(mut room: Room) {
    room.leave();
    soon("the end", async { while room.next_event().await.is_some() {} }).await;
}

/// Positions: Ann joins (1), asks (2), Bob joins (3), answers (4), leaves (5), Ann goes on with 6 to 9.
async fn a_talk(server: &Server) -> Room {
    let mut ann = join(server, "Ann").await;
    say(&mut ann, "lunch?").await;
    let mut bob = join(server, "Bob").await;
    say(&mut bob, "yes, \x1b[31mnow\x1b[0m\nor later").await;
    leave(bob).await;
    for n in 6..=9 {
        say(&mut ann, &format!("text {n}")).await;
    }
    ann
}

#[tokio::test]
async fn a_room_is_told_from_any_place() {
    let server = Server::start(&[]).await;
    let ann = a_talk(&server).await;
    let all = [
        "* Ann joined",
        "Ann : lunch?",
        "* Bob joined",
        r"Bob : yes, \x1b[31mnow\x1b[0m\nor later",
        "* Bob left",
        "Ann : text 6",
        "Ann : text 7",
        "Ann : text 8",
        "Ann : text 9",
    ];
    assert_eq!(told(&history(&server, &["lobby"]).await), all);
    assert_eq!(told(&history(&server, &["lobby", "--limit", "2"]).await), all[7..]);
    assert_eq!(told(&history(&server, &["lobby", "--limit", "0"]).await), [""; 0]);
    assert_eq!(told(&history(&server, &["lobby", "--since", "4"]).await), all[3..]);
    assert_eq!(told(&history(&server, &["lobby", "--since", "0", "--limit", "3"]).await), all[..3]);
    assert_eq!(told(&history(&server, &["lobby", "--since", "10"]).await), [""; 0]);
    assert_eq!(told(&history(&server, &["lobby", "--since", "0.2#1", "-n", "2"]).await), all[3..5]);
    assert_eq!(told(&history(&server, &["lobby", "--since", "2h"]).await), all);
    assert_eq!(told(&history(&server, &["lobby", "--since", "2100-01-01T00:00:00Z"]).await), [""; 0]);

    let json = history(&server, &["lobby", "--json", "--since", "3", "--limit", "3"]).await;
    let values: Vec<Value> = lines(&json).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = values.iter().map(|value| value["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["joined", "text", "left"]);
    assert_eq!(values[1]["position"], 4);
    assert_eq!((&values[1]["id"], &values[1]["member"]), (&"0.2#1".into(), &"0.2".into()));
    assert_eq!(values[1]["deps"], serde_json::json!(["0.0#2"]));
    assert_eq!(values[1]["author"], "Bob");
    assert_eq!(values[1]["text"], "yes, \x1b[31mnow\x1b[0m\nor later");
    assert!(!json.stdout.contains(&0x1b), "a terminal is safe from it as it is");
    let time = values[1]["time"].as_str().unwrap();
    assert_eq!(time.len(), "2026-01-31T09:30:00.125Z".len(), "{time}");
    // A time that was told is a place: the second text after it, or all of that millisecond.
    let since = history(&server, &["lobby", "--json", "--since", time]).await;
    let first: Value = serde_json::from_str(lines(&since)[0]).unwrap();
    assert_eq!(first["time"], time);
    leave(ann).await;
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let server = Server::start(&[]).await;
    let ann = a_talk(&server).await;
    let failed = |output: Output, code: i32, part: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{said}");
        assert!(output.stdout.is_empty());
    };
    failed(history(&server, &["nowhere"]).await, 1, "there is no room 'nowhere'");
    failed(history(&server, &["../etc"]).await, 1, "the name of a room");
    failed(history(&server, &["lobby", "--since", "0.2#9"]).await, 1, "there is no readable message 0.2#9");
    failed(history(&server, &["lobby", "--since", "yesterday"]).await, 2, "such as 2h or 3d");
    failed(
        history(&server, &["lobby", "--since", "1", "-n", "1", "--follow"]).await,
        1,
        "leave out one of them",
    );
    let mut command = causerie();
    command.args(["history", "lobby", "--server", "127.0.0.1:1"]);
    failed(soon("refused", command.output()).await.unwrap(), 1, "cannot reach 127.0.0.1:1");
    leave(ann).await;
}

#[tokio::test]
async fn who_follows_misses_nothing_and_hears_of_the_servers_end() {
    let server = Server::start(&[]).await;
    let mut ann = a_talk(&server).await;
    let (send, mut said) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(["history", "lobby", "--follow", "--json", "-n", "3", "--server", &server.address()]);
    let mut follower = Process::start(command, (), send);
    let mut next = 7;
    let mut line = async |next: u64| {
        let Some((_, Said::Out(line))) = soon("a line", said.recv()).await else { panic!() };
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["position"], &value["text"]), (&next.into(), &format!("text {next}").into()));
    };
    for n in 10..60u64 {
        // What was said before it began, and then at a pace of its own.
        while next < u64::max(10, n.saturating_sub(20)) {
            line(next).await;
            next += 1;
        }
        say(&mut ann, &format!("text {n}")).await;
    }
    while next < 60 {
        line(next).await;
        next += 1;
    }
    let mut history = History::connect(&server.address(), "lobby").await.unwrap();
    let members = history.page(causerie_client::Direction::Before, Place::End, 99).await.unwrap();
    assert!(
        members.records().all(|record| record.name == "Ann" || record.name == "Bob"),
        "readers do not join"
    );
    server.process.signal("TERM").await;
    assert_eq!(follower.exit().await.code(), Some(1));
    let why = soon("why", async {
        loop {
            match said.recv().await {
                Some((_, Said::Err(line))) => break line,
                Some(_) => {}
                None => panic!("it said nothing"),
            }
        }
    });
    let why = why.await;
    assert!(why.contains("shutting down") || why.contains("is lost"), "{why}");
}

#[tokio::test]
async fn nobody_reading_is_no_failure() {
    let server = Server::start(&[]).await;
    let mut ann = join(&server, "Ann").await;
    // More than a pipe holds.
    for n in 0..100 {
        say(&mut ann, &format!("{n:02000}")).await;
    }
    let address = server.address();
    let reading = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_causerie"));
        command.args(["history", "lobby", "-n", "100", "--server", &address]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut start = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut start).unwrap();
        // Its standard output is closed now.
        child.wait_with_output().unwrap()
    });
    let output = soon("the end", reading).await.unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
    leave(ann).await;
}

#[tokio::test]
async fn a_reader_goes_both_ways_and_a_question_given_up_confuses_nothing() {
    let server = Server::start(&["--keep-messages", "1000000"]).await;
    let mut ann = a_talk(&server).await;
    let mut history = History::connect(&server.address(), "lobby").await.unwrap();
    let positions =
        |page: &causerie_client::HistoryPage| page.records().map(|r| r.position).collect::<Vec<_>>();
    history.seek(Place::Position(Position::new(5)));
    assert_eq!(
        positions(&history.older(3).await.unwrap().unwrap()),
        [Position::new(2), Position::new(3), Position::new(4)]
    );
    assert_eq!(
        positions(&history.newer(3).await.unwrap().unwrap()),
        [Position::new(6), Position::new(7), Position::new(8)]
    );
    assert_eq!(positions(&history.older(3).await.unwrap().unwrap()), [Position::FIRST]);
    assert_eq!(history.older(3).await.unwrap(), None);
    assert_eq!(positions(&history.newer(3).await.unwrap().unwrap()), [Position::new(9)]);
    assert_eq!(history.newer(3).await.unwrap(), None);
    // The question is under way, and nobody waits for the answer any more.
    tokio::select! {
        biased;
        _ = history.wait_for_newer(3) => panic!("nothing is there"),
        () = tokio::task::yield_now() => {}
    }
    let (page, ()) = tokio::join!(history.wait_for_newer(3), say(&mut ann, "at last"));
    assert_eq!(positions(&page.unwrap()), [Position::new(10)]);
    history.expect_epoch(Some(causerie_client::Epoch::new(7)));
    let error = history.newer(3).await.unwrap_err();
    assert!(matches!(error, causerie_client::ConnectError::Refused { code: ErrorCode::Diverged, .. }));
    leave(ann).await;
}

#[tokio::test]
async fn who_joins_a_chat_of_lines_is_shown_what_stands() {
    let server = Server::start(&[]).await;
    let mut ann = join(&server, "Ann").await;
    let mut bodies =
        vec![Body::Text("my password".into()), Body::Text("teh".into()), Body::Topic("secrets".into())];
    let id = |seq| MessageId::new(ann.member().expect("she is in"), seq);
    let (secret, typo, topic, reply) = (id(1), id(2), id(3), id(4));
    let delete = |of| Body::Delete { of, reason: String::new() };
    bodies.push(Body::Reply { to: secret, text: "oh".into() });
    bodies.push(Body::Edit { of: typo, text: "the".into() });
    bodies.extend([delete(secret), delete(topic)]);
    bodies.push(Body::Reply { to: typo, text: "well".into() });
    for body in &bodies {
        ann.send(body).unwrap();
    }
    say(&mut ann, "that was it").await;
    let (send, mut said) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(["chat", &server.address(), "--plain", "--room", "lobby", "--name", "Eve", "--history"]);
    let mut eve = Process::start(command, (), send);
    let mut lines = async |last: &str| {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != last) {
            if let Some((_, Said::Out(line))) = soon(last, said.recv()).await {
                lines.push(line);
            }
        }
        lines
    };
    assert_eq!(
        lines("Ann : that was it").await,
        [
            "Ann : (deleted)",
            "Ann : the (edited)",
            "Ann : (deleted)",
            "Ann : (to an earlier message) oh",
            "Ann : (corrects an earlier message) the",
            "Ann : (takes back an earlier message)",
            "Ann : (takes back an earlier message)",
            "Ann : (to Ann: \"the\") well",
            "Ann : that was it",
        ]
    );
    // What is said from now on is told as it is said, and quotes what stands.
    for body in [
        Body::Reply { to: secret, text: "again".into() },
        Body::Reply { to: typo, text: "still".into() },
        delete(reply),
        Body::Reply { to: reply, text: "gone".into() },
    ] {
        ann.send(&body).unwrap();
    }
    say(&mut ann, "bye").await;
    assert_eq!(
        lines("Ann : bye").await,
        [
            "Ann : (to an earlier message) again",
            "Ann : (to Ann: \"the\") still",
            "Ann : (takes back an earlier message)",
            "Ann : (to an earlier message) gone",
            "Ann : bye",
        ]
    );
    drop(eve.stdin.take());
    assert!(eve.exit().await.success());
    leave(ann).await;
}

#[tokio::test]
async fn in_a_chat_earlier_pages_are_shown_one_after_the_other() {
    let server = Server::start(&["--history", "2"]).await;
    let ann = a_talk(&server).await;
    let (send, mut said) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(["chat", &server.address(), "--room", "lobby", "--name", "Eve", "--history"]);
    let mut eve = Process::start(command, (), send);
    // Her own joining is the second.
    let mut out = Vec::new();
    soon("the history", async {
        while out != ["Ann : text 9"] {
            if let Some((_, Said::Out(line))) = said.recv().await {
                out.push(line);
            }
        }
    })
    .await;
    let mut page = async |eve: &mut Process, command: &str| {
        eve.write(command).await;
        let mut out = Vec::new();
        loop {
            match soon("a page", said.recv()).await {
                Some((_, Said::Out(line))) => out.push(line.split_once("Z ").unwrap().1.to_owned()),
                Some((_, Said::Err(line))) if line.starts_with("in '") => {}
                Some((_, Said::Err(line))) => return (out, line),
                other => panic!("{other:?}"),
            }
        }
    };
    // Notices come through another pipe, and may overtake: so a page is asked for by what it ends with.
    let (_, notice) = page(&mut eve, "./history 3").await;
    assert_eq!(notice, "that was 6 to 8; ./history tells more");
    let (_, notice) = page(&mut eve, "./history").await;
    assert_eq!(notice, "that was 1 to 5: from the beginning");
    let (_, notice) = page(&mut eve, "./history").await;
    assert_eq!(notice, "there is nothing earlier");
    // In a pipe this is a text.
    eve.write("/history").await;
    drop(eve.stdin.take());
    assert!(eve.exit().await.success());
    let told = told(&history(&server, &["lobby", "-n", "2"]).await);
    assert_eq!(told, ["Eve : /history", "* Eve left"]);
    leave(ann).await;
}
