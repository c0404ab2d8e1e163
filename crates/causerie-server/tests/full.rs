//! A store that is full: senders are told, reading goes on, and once there is room so does writing, with nothing lost.
//! (That SQLite says so in time, and takes more once it can, is shown by the store's own tests.)

mod common;

use std::sync::Arc;

use causerie_core::wire::{ClientFrame, ErrorCode, ServerFrame};
use causerie_server::Settings;
use causerie_store::Store;
use common::limited::Limited;
use common::{Classic, Event, Harness, Native, Wire, within};

fn text(n: usize) -> String {
    format!("message {n}")
}

/// What is said next, whoever comes and whatever is told of the store meanwhile.
async fn next_text(member: &mut Native) -> String {
    loop {
        match member.wire.frame().await {
            ServerFrame::Delivered(record) => {
                if let Event::Text(_, text) = member.take(record) {
                    return text;
                }
            }
            ServerFrame::Error(error)
                if matches!(error.code, ErrorCode::StorageFull | ErrorCode::StorageAgain) => {}
            other => panic!("neither a record nor the store's trouble: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_takes_messages_later_and_is_read_meanwhile() {
    let store = Arc::new(Limited::default());
    let server = Harness::with_store(Settings::default(), Arc::clone(&store) as Arc<dyn Store>).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;

    for n in 0..50 {
        ann.say(&text(n)).await;
        assert_eq!(next_text(&mut ann).await, text(n));
    }

    store.fill();
    for n in 50..100 {
        ann.say(&text(n)).await;
    }
    let told = ann.wire.error().await;
    assert_eq!((told.code, told.fatal), (ErrorCode::StorageFull, false));

    // Reading goes on: all that was stored, for who is there and for who comes back, and questions are answered.
    for n in 0..50 {
        assert_eq!(next_text(&mut raj).await, text(n));
    }
    raj.wire.send(&ClientFrame::Ping(7)).await;
    within("an answer", async {
        loop {
            match raj.wire.frame().await {
                ServerFrame::Pong(7) => break,
                ServerFrame::Error(error) => assert_eq!(error.code, ErrorCode::StorageFull),
                other => panic!("nothing is shown that is not stored: {other:?}"),
            }
        }
    })
    .await;
    tried_again(&store, 2).await;

    // There is room: everything that waited is stored, and comes once, in order.
    store.make_room();
    for n in 50..100 {
        assert_eq!(next_text(&mut raj).await, text(n));
    }
    ann.say("after all").await;
    assert_eq!(next_text(&mut raj).await, "after all");
    server.stop().await;
}

/// Until so many commits have found no room.
async fn tried_again(store: &Limited, times: u64) {
    within("another try", async {
        while store.refused() < times {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Reads lines up to one that has this in it. How many had `counted` in them.
async fn until_line(client: &mut Classic, part: &str, counted: &str) -> usize {
    let mut count = 0;
    loop {
        let line = client.line().await;
        count += usize::from(line.contains(counted));
        if line.contains(part) {
            return count;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_full_nobody_comes_in_and_each_is_told_once() {
    const FULL: &str = "no room left to store messages: ";
    const AGAIN: &str = "there is room again";
    let store = Arc::new(Limited::default());
    let server = Harness::with_store(Settings::default(), Arc::clone(&store) as Arc<dyn Store>).await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let mut door = Classic::connect(server.address).await;
    let port = door.create_room().await;
    let mut cleo = Classic::enter((server.address.ip(), port).into(), "Cleo").await;
    cleo.send("./members\n").await;
    cleo.expect("['Cleo']").await;
    let mut irma = Classic::connect(server.address).await;
    irma.send("NICK Irma\r\nUSER i 0 * :i\r\nJOIN #lobby\r\n").await;
    until_line(&mut irma, " 366 ", "").await;

    store.fill();
    ann.say("in flight").await;
    loop {
        match ann.wire.frame().await {
            ServerFrame::Delivered(record) => drop(ann.take(record)),
            ServerFrame::Error(error) if error.code == ErrorCode::StorageFull => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(until_line(&mut cleo, FULL, FULL).await, 1);
    assert_eq!(until_line(&mut irma, FULL, FULL).await, 1);
    tried_again(&store, 3).await;

    // Nobody is admitted, nothing is made, and what cannot wait is not taken.
    let mut eve = Wire::greeted(server.address).await;
    eve.join("lobby", "Eve").await;
    eve.refused(ErrorCode::StorageFull).await;
    eve.send(&ClientFrame::CreateRoom { name: "another".into(), port: false, maker: None, temporary: false })
        .await;
    eve.refused(ErrorCode::StorageFull).await;
    door.send("./createRoom\n").await;
    assert!(door.line().await.contains("no room left"));
    let mut carl = Classic::enter((server.address.ip(), port).into(), "Carl").await;
    until_line(&mut carl, "nobody can join", "").await;
    cleo.send("never\n").await;
    assert_eq!(until_line(&mut cleo, "this was not said", FULL).await, 0, "it was told before");
    irma.send("PRIVMSG #lobby :never\r\nJOIN #new\r\nPING here\r\n").await;
    assert_eq!(until_line(&mut irma, " 404 ", FULL).await, 0, "it was told before");
    assert_eq!(until_line(&mut irma, "PONG", "no room left").await, 1, "that of the room");
    // Nothing but the answer: the trouble was told once, however often it was tried.
    ann.wire.ping().await;

    store.make_room();
    let mut told = 0;
    loop {
        match ann.wire.frame().await {
            ServerFrame::Error(error) if error.code == ErrorCode::StorageAgain => told += 1,
            ServerFrame::Delivered(record) => {
                if ann.take(record) == Event::Text(ann.member, "in flight".into()) {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    if told == 0 {
        assert_eq!(ann.wire.error().await.code, ErrorCode::StorageAgain);
    }
    until_line(&mut cleo, AGAIN, "").await;
    until_line(&mut irma, AGAIN, "").await;
    eve.join("lobby", "Eve").await;
    assert!(matches!(eve.frame().await, ServerFrame::Welcome(welcome) if welcome.members.len() == 3));
    server.stop().await;
}
