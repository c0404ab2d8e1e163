//! Deliveries and holds that native clients tell of, as they come to those who watch over a WebSocket: all of them or
//! counted, in its place between the messages; and nothing is told while nobody watches.
//!
//! `SEED=n cargo test -p causerie --test observed` draws from another seed.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use causerie_client::{Disturbance, Event, Room, RoomOptions};
use common::{Server, soon};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const MESSAGES: usize = 150;

async fn watch(address: &str, name: &str, observed: bool) -> WebSocketStream<TcpStream> {
    let url = format!("ws://{address}/api/rooms/lobby/ws");
    let stream = TcpStream::connect(address).await.unwrap();
    let upgrade = tokio_tungstenite::client_async(url.into_client_request().unwrap(), stream);
    let (mut stream, _) = soon("the upgrade", upgrade).await.unwrap();
    let join = json!({"type": "join", "name": name, "observed": observed});
    stream.send(Message::text(join.to_string())).await.unwrap();
    stream
}

async fn next(stream: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        match soon("an event", stream.next()).await.expect("it goes on").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            _ => continue,
        }
    }
}

async fn native(address: &str, name: &str, link: &str) -> Room {
    let options = RoomOptions::new(address, "lobby", name).create(true);
    let link: Disturbance = link.parse().unwrap();
    soon("joining", options.disturbance(link).join()).await.unwrap()
}

/// Says so many messages, and records what happens to those of others: what a member tells of itself.
async fn talk(mut room: Room, name: &'static str, record: mpsc::UnboundedSender<(String, String)>) {
    let me = room.speaker().member().unwrap().to_string();
    let mut said = 0;
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(15));
    loop {
        tokio::select! {
            _ = pause.tick(), if said < MESSAGES => {
                said += 1;
                room.say(&format!("{name} {said}")).unwrap();
            }
            event = room.next_event() => {
                let what = match event.expect("it goes on") {
                    Event::Held { id, .. } => format!("held {id}"),
                    Event::Delivered(post) if !post.own && !post.history => format!("delivered {}", post.id),
                    Event::Reconnecting { reason, .. } => panic!("{reason}"),
                    _ => continue,
                };
                if record.send((me.clone(), what)).is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_native_clients_hold_and_deliver_is_told_to_those_who_watch_or_counted() {
    let seed: u64 = std::env::var("SEED").map_or(7, |seed| seed.parse().expect("a number"));
    println!("SEED={seed} cargo test -p causerie --test observed");
    let server = Server::start(&[]).await;
    let address = server.address();
    let raj = native(&address, "Raj", &format!("delay=0..60ms,loss=10%,seed={seed}")).await;
    let mut watcher = watch(&address, "Watcher", true).await;
    assert_eq!(next(&mut watcher).await["type"], "welcome");
    // Who comes after the one who watches, and who was there before.
    let eve = native(&address, "Eve", &format!("delay=0..250ms,loss=20%,seed={}", seed + 1)).await;
    let members: BTreeSet<String> =
        [&raj, &eve].map(|room| room.speaker().member().unwrap().to_string()).into();
    let (record, mut recorded) = mpsc::unbounded_channel();
    let talkers = [tokio::spawn(talk(raj, "Raj", record.clone())), tokio::spawn(talk(eve, "Eve", record))];

    let (mut happened, mut seen) =
        (BTreeMap::<String, Vec<String>>::new(), BTreeMap::<String, Vec<String>>::new());
    let (mut left_out, mut holds, mut records) = (0, 0, BTreeSet::new());
    let whole = |happened: &BTreeMap<String, Vec<String>>| {
        let delivered = happened.values().flatten().filter(|what| what.starts_with("delivered")).count();
        delivered == 2 * MESSAGES
    };
    loop {
        while let Ok((member, what)) = recorded.try_recv() {
            happened.entry(member).or_default().push(what);
        }
        let told: usize = seen.values().map(Vec::len).sum();
        let done: usize = happened.values().map(Vec::len).sum();
        // Who joins is delivered, too, and no post: it is told, and not counted here.
        if whole(&happened) && told + left_out >= done {
            break;
        }
        let event = next(&mut watcher).await;
        let text = |field: &str| event[field].as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
        match &*text("type") {
            "message" => {
                let (id, author) = (text("id"), text("member"));
                if left_out == 0 && members.contains(&author) {
                    // What its author had delivered before it was told before it.
                    for dep in event["deps"].as_array().unwrap() {
                        let dep = dep.as_str().unwrap();
                        let before = format!("delivered {dep}");
                        let known = seen.get(&author).is_some_and(|seen| seen.contains(&before));
                        assert!(
                            known || !members.iter().any(|m| dep.starts_with(&format!("{m}#"))),
                            "{event}: {before}"
                        );
                    }
                }
                assert!(records.insert(id));
            }
            "observed" => {
                let (member, message) = (text("member"), text("message"));
                assert!(members.contains(&member), "{event}");
                if message.contains(".0#") {
                    continue;
                }
                assert!(records.contains(&message), "it is told after its message: {event}");
                holds += usize::from(event["what"] == "held");
                assert_eq!(event["what"] == "held", event.get("waits_for").is_some(), "{event}");
                seen.entry(member).or_default().push(format!("{} {message}", text("what")));
            }
            "unobserved" => left_out += usize::try_from(event["count"].as_u64().unwrap()).unwrap(),
            "joined" | "left" => {}
            _ => panic!("{event}"),
        }
    }
    for (member, seen) in &seen {
        // In order, none invented; none left out but those that were counted.
        let mut all = happened[member].iter();
        for what in seen {
            assert!(all.any(|other| other == what), "{member}: {what} is out of place");
        }
        if left_out == 0 {
            assert_eq!(seen, &happened[member]);
        }
    }
    assert!(holds > 10, "{holds} holds: the links are bad");
    println!("{} observed, {left_out} counted", seen.values().map(Vec::len).sum::<usize>());
    talkers.iter().for_each(tokio::task::JoinHandle::abort);
}
