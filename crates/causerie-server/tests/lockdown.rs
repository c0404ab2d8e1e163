//! The operator's emergencies: a lockdown, and the control socket by which it is begun.

#![cfg(unix)]

mod common;

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use causerie_core::wire::{ClientFrame, ErrorCode, ServerFrame};
use causerie_server::{AddressLimits, Settings};
use common::{Classic, Harness, Native, Wire, metric, raw, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const TOKEN: &str = "open sesame";

fn settings(folder: &Path) -> Settings {
    let address = AddressLimits { loopback: true, ..AddressLimits::default() };
    let control = Some(folder.join("control.sock"));
    Settings { control, operator_token: Some(TOKEN.into()), address, ..Settings::default() }
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn status_and_body(answer: &str) -> (u16, &str) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer}")), answer.split_once("\r\n\r\n").map_or("", |(_, body)| body))
}

/// Asks by the control socket.
async fn operate(folder: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let socket = folder.join("control.sock");
    // It is there once the server has started.
    let mut stream = within("the socket", async {
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    })
    .await;
    stream.write_all(request(method, path, "", body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (status, body) = status_and_body(&answer);
    (status, body.to_owned())
}

async fn ask(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let answer = raw(to, request(method, path, headers, body).as_bytes()).await;
    let (status, body) = status_and_body(&answer);
    (status, body.to_owned())
}

async fn lock(folder: &Path, on: bool) {
    let state = format!(r#"{{"on":{on}}}"#);
    assert_eq!(operate(folder, "POST", "/api/operate/lockdown", &state).await, (200, state));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_new_is_let_in_by_any_protocol_and_members_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Harness::start(settings(folder.path())).await;
    let port = Classic::connect(server.address).await.create_room().await;
    let mut ann = Native::join(server.address, "lobby", "Ann").await;
    let mut irc = Classic::connect(server.address).await;
    irc.send("NICK Raj\r\nUSER a 0 * :Raj\r\nJOIN #lobby\r\n").await;
    while !irc.line().await.contains(" 366 ") {}
    let mut classic = Classic::enter(server.port(port), "Sam").await;
    classic.send("./members\n").await;
    classic.expect("['Sam']").await;
    let join = r#"{"name":"Bot","nonce":"00112233445566778899aabbccddeeff"}"#;
    let members = "/api/rooms/lobby/members";
    assert_eq!(ask(server.address, "POST", members, "", join).await.0, 201);

    lock(folder.path(), true).await;
    let mut wire = Wire::greeted(server.address).await;
    wire.join("lobby", "Eve").await;
    wire.refused(ErrorCode::Lockdown).await;
    for port in [false, true] {
        let name = if port { String::new() } else { "more".to_owned() };
        wire.send(&ClientFrame::CreateRoom { name, port, maker: None, temporary: false }).await;
        let told = wire.refused(ErrorCode::Lockdown).await.message;
        assert_eq!(told, "the operator lets nobody make rooms at the moment; try again later");
    }
    let words = "the operator lets nobody new in at the moment; try again later";
    let mut eve = Classic::enter(server.port(port), "Eve").await;
    eve.expect(&format!("Error: {words}")).await;
    let mut controller = Classic::connect(server.address).await;
    controller.send("./createRoom\n").await;
    assert!(controller.line().await.contains("the operator lets nobody make rooms"));
    irc.send("JOIN #more\r\n").await;
    within("a refusal", async {
        while !irc.line().await.contains(&format!(" 437 Raj #more :Cannot join channel: {words}")) {}
    })
    .await;
    irc.send("NICK Rajesh\r\n").await;
    within("a refusal", async { while !irc.line().await.contains(words) {} }).await;
    let (status, told) = ask(server.address, "POST", members, "", r#"{"name":"Eve"}"#).await;
    assert!(status == 503 && told.contains("\"lockdown\"") && told.contains(words), "{told}");
    let (status, told) = ask(server.address, "POST", "/api/rooms", "", r#"{"name":"more"}"#).await;
    assert!(status == 503 && told.contains("\"lockdown\""), "{told}");
    // A join that is repeated is its member's.
    assert_eq!(ask(server.address, "POST", members, "", join).await.0, 200);
    // Who is in speaks, and comes back.
    ann.say("still here").await;
    within("the message", async { while !irc.line().await.contains("PRIVMSG #lobby :still here") {} }).await;
    classic.send("and here\n").await;
    assert!(matches!(ann.resume(server.address).await, ServerFrame::Resumed { .. }));

    lock(folder.path(), false).await;
    let _eve = Native::join(server.address, "lobby", "Eve").await;
    let _more = Native::join(server.address, "more", "Eve").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_at_their_least() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.operator_token = None;
    let server = Harness::start(settings).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(Wire::greeted(server.address).await);
    }
    lock(folder.path(), true).await;
    let mut refused = Classic::connect(server.address).await;
    refused.expect("Error: too many connections from your address; try again later").await;
    // Who is there stays.
    for wire in &mut open {
        wire.ping().await;
    }
    let (_, metrics) = operate(folder.path(), "GET", "/metrics", "").await;
    assert!(metrics.contains("causerie_lockdown 1\n"), "{metrics}");
    lock(folder.path(), false).await;
    assert_eq!(metric(&server, "causerie_lockdown").await, 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_is_the_operators() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    // What a server that was killed has left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Harness::start(settings(folder.path())).await;
    let here = folder.path();
    assert_eq!(operate(here, "POST", "/api/rooms", r#"{"name":"lobby"}"#).await.0, 201);
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    Native::join(server.address, "lobby", "Ann").await;
    assert_eq!(operate(here, "DELETE", "/api/rooms/lobby", "").await.0, 204);
    let (status, closed) = operate(here, "GET", "/api/operate/closed", "").await;
    assert!(status == 200 && closed.starts_with(r#"{"rooms":[{"name":"lobby","number":"#), "{closed}");
    let (status, opened) = operate(here, "POST", "/api/operate/open", r#"{"name":"lobby"}"#).await;
    assert!(status == 200 && opened.contains(r#""name":"lobby""#), "{opened}");
    assert_eq!(operate(here, "POST", "/api/operate/open", r#"{"name":"lobby"}"#).await.0, 404);
    assert_eq!(operate(here, "GET", "/metrics", "").await.0, 200);
    assert_eq!(operate(here, "GET", "/api/operate/lockdown", "").await, (200, r#"{"on":false}"#.into()));
    // By TCP with the token only.
    for (headers, expected) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        (&format!("Authorization: Bearer {TOKEN}\r\n"), 200),
    ] {
        for (method, path, body) in [
            ("GET", "/api/operate/lockdown", ""),
            ("POST", "/api/operate/lockdown", r#"{"on":true}"#),
            ("GET", "/api/operate/closed", ""),
            ("GET", "/metrics", ""),
        ] {
            assert_eq!(ask(server.address, method, path, headers, body).await.0, expected, "{method} {path}");
        }
    }
    assert_eq!(operate(here, "GET", "/api/operate/lockdown", "").await.1, r#"{"on":true}"#);
    server.stop().await;
    assert!(!path.exists() && !folder.path().join("control.new").exists());
}
