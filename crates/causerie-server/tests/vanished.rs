//! Hosts that vanish without a word while others talk, in a network of the test's own: packets of theirs are dropped.
#![cfg(target_os = "linux")]

mod common;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use causerie_core::room::RoomSettings;
use causerie_server::Settings;
use common::{Classic, Event, Harness, Native, within};
use futures_util::SinkExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;

/// Set in the process that has the network.
const INSIDE: &str = "CAUSERIE_TEST_HAS_A_NETWORK";
const NAME: &str = "who_vanishes_in_a_busy_room_is_gone_and_who_is_slow_is_not";

fn run(program: &str, arguments: &[&str]) -> bool {
    let command = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}

/// Lets nothing of a connection of this port through any more.
fn cut(port: u16) {
    for end in ["sport", "dport"] {
        let rule = ["add", "rule", "inet", "cut", "input", "tcp", end, &port.to_string(), "drop"];
        assert!(run("nft", &rule), "nft takes the rule");
    }
}

async fn irc(address: SocketAddr) -> TcpStream {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    stream.write_all(b"NICK Irc\r\nUSER irc 0 * :Irc\r\nJOIN #lobby\r\n").await.unwrap();
    let mut line = String::new();
    while !line.contains(" 366 ") {
        line.clear();
        within("a line", stream.read_line(&mut line)).await.unwrap();
    }
    stream.into_inner()
}

async fn websocket(address: SocketAddr) -> (impl Sized, u16) {
    let request = format!("ws://{address}/api/rooms/lobby/ws").into_client_request().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text(r#"{"type":"join","name":"Web"}"#)).await.unwrap();
    (socket, port)
}

/// A classic client with little room for what it does not read.
async fn slow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(b"./join lobby\nSlow\n").await.unwrap();
    stream
}

#[test]
fn who_vanishes_in_a_busy_room_is_gone_and_who_is_slow_is_not() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(inside());
    }
    if !run("unshare", &["-n", "nft", "list", "ruleset"]) || !run("unshare", &["-n", "ip", "link"]) {
        eprintln!("SKIPPED {NAME}: it wants root, and unshare, ip and nft");
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.arg("-n").arg(itself).args([NAME, "--exact", "--nocapture"]).env(INSIDE, "yes");
    assert!(command.status().unwrap().success(), "see above");
}

async fn inside() {
    assert!(run("ip", &["link", "set", "lo", "up"]));
    assert!(run("nft", &["add", "table", "inet", "cut"]));
    let chain = ["add", "chain", "inet", "cut", "input", "{ type filter hook input priority 0 ; }"];
    assert!(run("nft", &chain), "nft takes the chain");
    let room = RoomSettings { grace: Duration::from_millis(1), ..RoomSettings::default() };
    let settings = Settings { room, answer_time: Duration::from_secs(2), ..Settings::default() };
    let server = Harness::start(settings).await;
    let mut talker = Native::join(server.address, "lobby", "Talker").await;
    let mut slow = slow(server.address).await;
    server.members("lobby", 2).await;
    let address = server.address;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let talking = tokio::spawn(async move {
        let text = "x".repeat(2_000);
        while !stopped.is_cancelled() {
            talker.say(&text).await;
            while !matches!(talker.event().await, Event::Text(_, said) if said == text) {}
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        talker.say("the end").await;
        talker
    });
    let irc = irc(address).await;
    let mut classic = Classic::connect(address).await;
    classic.send("./join lobby\nClassic\n").await;
    let native = Native::join(address, "lobby", "Native").await;
    let (_web, web_port) = websocket(address).await;
    server.members("lobby", 6).await;
    cut(irc.local_addr().unwrap().port());
    cut(classic.address().port());
    cut(native.wire.stream.local_addr().unwrap().port());
    cut(web_port);
    server.members("lobby", 2).await;
    // Once more as long: whoever is slow is still there.
    let mut late = Classic::connect(address).await;
    late.send("./join lobby\nLate\n").await;
    server.members("lobby", 3).await;
    cut(late.address().port());
    server.members("lobby", 2).await;
    stop.cancel();
    let talker = talking.await.unwrap();
    // It is in, and has lost nothing.
    let mut read = String::new();
    let mut buffer = vec![0; 1 << 16];
    while !read.contains("Talker : the end") {
        let count = within("all that was said", slow.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "the slow one was sent away");
        read.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    drop(talker);
    server.stop().await;
}
