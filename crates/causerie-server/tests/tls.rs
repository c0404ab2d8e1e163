//! Encrypted connections: every protocol over TLS on the one port, beside clear text, and who may do what.

mod common;

use std::path::Path;
use std::time::Duration;

use causerie_core::wire::ErrorCode;
use causerie_server::{CertificateSource, ClearText, Protocol, Settings, TlsSettings};
use common::tunnel::{Tunnel, own_certificate};
use common::{Classic, Event, Harness, Native, Wire, metric, raw, within};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn encrypted() -> Settings {
    Settings { tls: Some(own_certificate()), ..Settings::default() }
}

/// The text that a member hears next.
async fn next_text(member: &mut Native) -> String {
    loop {
        if let Event::Text(_, text) = member.event().await {
            return text;
        }
    }
}

const GET: &[u8] = b"GET /api/rooms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_is_spoken_by_tls_beside_clear_text_in_one_order() {
    let server = Harness::start(encrypted()).await;
    let tunnel = Tunnel::to(server.address).open().await;
    let mut members = Vec::new();
    for (address, names) in [(server.address, ["ann", "raj"]), (tunnel, ["eva", "tom"])] {
        for name in names {
            members.push(Native::join(address, "lobby", name).await);
        }
    }
    for n in 0..40 {
        members[n % 4].say(&n.to_string()).await;
    }
    let mut orders = Vec::new();
    for member in &mut members {
        let mut order = Vec::new();
        while order.len() < 40 {
            order.push(next_text(member).await);
        }
        orders.push(order);
    }
    assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
    for through in ["http/1.1", ""] {
        let protocols: &[&str] = if through.is_empty() { &[] } else { &[through] };
        let tunnel = Tunnel::with(server.address, protocols, None).open().await;
        let answer = raw(tunnel, GET).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"lobby\""), "{answer}");
    }
    let irc = Tunnel::with(server.address, &["irc"], None).open().await;
    let greeting = raw(irc, b"NICK bot\r\nUSER bot 0 * :bot\r\nQUIT\r\n").await;
    assert!(greeting.contains(" 001 bot "), "{greeting}");
    let mut classic = Classic::connect(tunnel).await;
    classic.send("./rooms\n").await;
    assert!(classic.line().await.contains("200"));
    assert!(raw(server.address, GET).await.contains("\"lobby\""), "clear text from this machine");
    assert!(metric(&server, r#"causerie_tls_handshakes_total{result="done"}"#).await >= 6.0);
    assert!(metric(&server, "causerie_tls_certificate_ends_timestamp_seconds").await > 2e9);
    drop((members, classic));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_agreed_upon_is_what_is_spoken() {
    let server = Harness::start(encrypted()).await;
    // A page may have a browser send lines of its own to a port: as HTTP they mean nothing.
    let http = Tunnel::with(server.address, &["http/1.1"], None).open().await;
    assert_eq!(raw(http, b"NICK ann\r\nUSER a 0 * :a\r\n").await, "");
    let irc = Tunnel::with(server.address, &["irc"], None).open().await;
    assert!(raw(irc, GET).await.starts_with("HTTP/1.1 400"));
    let refused = Tunnel::with(server.address, &["h2"], None).connect().await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    let failed = r#"causerie_tls_handshakes_total{result="refused_by_server"}"#;
    within("the failure to be counted", async {
        while metric(&server, failed).await < 1.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_one_protocol_speaks_no_other_whatever_is_agreed_upon() {
    let own = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Harness::start(Settings { own_ports: vec![(Protocol::Irc, own)], ..encrypted() }).await;
    let lines = b"NICK bot\r\nUSER bot 0 * :bot\r\nQUIT\r\n";
    for (protocols, is_served) in [(&["irc"][..], true), (&[], true), (&["http/1.1"], false)] {
        let answer = raw(Tunnel::with(own, protocols, None).open().await, lines).await;
        assert_eq!(answer.contains(" 001 bot "), is_served, "{protocols:?}: {answer}");
        assert!(is_served || answer.is_empty(), "{answer}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_a_certificate_and_not_thousands() {
    let server = Harness::start(encrypted()).await;
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["ann".to_owned()]).unwrap().self_signed(&key).unwrap();
    let ask = async |others: usize| {
        let chain = [vec![own.der().clone()], vec![CertificateDer::from(Vec::new()); others]].concat();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let tunnel = Tunnel::with(server.address, &["irc"], Some((chain, key))).open().await;
        raw(tunnel, b"CAP LS 302\r\nNICK ann\r\nUSER a 0 * :a\r\nCAP END\r\nWHOIS ann\r\nQUIT\r\n").await
    };
    let answer = ask(3).await;
    assert!(answer.contains(" 276 ann ann "), "its fingerprint: {answer}");
    // Nobody trusts this server's certificate: whoever came by TLS is not told to do so for half a year.
    assert!(answer.contains(" CAP * LS ") && !answer.contains("sts="), "{answer}");
    assert_eq!(ask(1_000).await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_text_is_refused_in_each_protocols_own_way() {
    let server = Harness::start(Settings { clear_text: ClearText::Never, ..encrypted() }).await;
    let at = server.address;
    let answer =
        raw(at, b"GET /api/rooms?q=1 HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 308 ") && answer.contains("location: https://localhost:1/api/rooms?q=1")
    );
    let answer =
        raw(at, b"POST /api/rooms HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("location"), "nobody is sent elsewhere");
    let said = "this server speaks with other machines by TLS only";
    assert_eq!(raw(at, b"NICK ann\r\nUSER a 0 * :a\r\n").await, format!("ERROR :{said}\r\n"));
    assert_eq!(
        raw(at, b"CAP LS 302\r\n").await,
        format!("ERROR :{said}\r\n"),
        "no STS for our own certificate"
    );
    assert_eq!(raw(at, b"./rooms\n").await, format!("Error: {said}\n"));
    let mut native = Wire::connect(at).await;
    native.fatal(ErrorCode::NotEncrypted).await;
    let tunnel = Tunnel::to(at).open().await;
    assert!(raw(tunnel, GET).await.starts_with("HTTP/1.1 200"), "and TLS goes on");
    server.settings.send_modify(|settings| settings.clear_text = ClearText::Loopback);
    assert!(raw(at, GET).await.starts_with("HTTP/1.1 200"), "it may change while it serves");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_no_classic_clients_says_so() {
    let server = Harness::start(Settings { classic: false, ..encrypted() }).await;
    assert_eq!(
        raw(server.address, b"./rooms\n").await,
        "Error: this server does not serve classic clients\n"
    );
    assert!(raw(server.address, GET).await.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_may_come_byte_by_byte_and_text_need_not_say_that_it_ends() {
    let server = Harness::start(encrypted()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let at = server.address;
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(at).await.unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let bytewise = async {
            let mut byte = [0];
            while from_client.read(&mut byte).await.unwrap() > 0 {
                to_server.write_all(&byte).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = bytewise => {}
            _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
        }
    });
    let mut client = Tunnel::to(slow).connect().await.unwrap();
    client.write_all(GET).await.unwrap();
    let mut answer = String::new();
    within("the answer", client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Whoever closes the socket without a word of TLS has only left.
    let mut irc = Tunnel::to(server.address).connect().await.unwrap();
    irc.write_all(b"NICK gone\r\nUSER gone 0 * :gone\r\nJOIN #lobby\r\n").await.unwrap();
    server.members("lobby", 1).await;
    let (socket, _) = irc.into_inner();
    drop(socket);
    server.members("lobby", 0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_garbled_or_silent_handshake_ends_and_concerns_nobody_else() {
    let settings = Settings { first_words: Duration::from_millis(300), ..encrypted() };
    let server = Harness::start(settings).await;
    let mut ann = Native::join(Tunnel::to(server.address).open().await, "lobby", "ann").await;
    let mut sockets = Vec::new();
    for n in 0..200_u8 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        // A record of a handshake that begins and does not go on, or is none.
        let bytes = [0x16, 3, 1, 2, 0, if n % 2 == 0 { 1 } else { n }, 0, 1, 0xfc];
        socket.write_all(&bytes[..2 + usize::from(n % 8)]).await.unwrap();
        sockets.push(socket);
    }
    ann.say("still here").await;
    assert_eq!(next_text(&mut ann).await, "still here");
    for mut socket in sockets {
        let mut rest = Vec::new();
        // An alert, or nothing; and the end.
        let _ = within("the end", socket.read_to_end(&mut rest)).await;
        assert!(rest.is_empty() || rest[0] == 0x15, "{rest:?}");
    }
    assert!(metric(&server, r#"causerie_tls_handshakes_total{result="timed_out"}"#).await > 0.0);
    drop(ann);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_waited_for_and_gets_all_in_order() {
    let server = Harness::start(encrypted()).await;
    let mut slow = Native::join(Tunnel::to(server.address).open().await, "lobby", "slow").await;
    let mut ann = Native::join(server.address, "lobby", "ann").await;
    let text = "x".repeat(10_000);
    const COUNT: usize = 2_000;
    for n in 0..COUNT {
        ann.say(&format!("{n} {text}")).await;
        // She hears herself: it is stored, and was written to the others as far as they take it.
        next_text(&mut ann).await;
    }
    // 20 MB wait, of which no socket takes more than a few.
    let unread = metric(&server, "causerie_unread_bytes").await;
    assert!(unread < 1e6, "{unread} bytes are kept for who reads nothing");
    for n in 0..COUNT {
        assert_eq!(next_text(&mut slow).await, format!("{n} {text}"));
    }
    drop((ann, slow));
    server.stop().await;
}

/// Writes a certificate for this name, and returns what TLS shows of it.
fn write_certificate(folder: &Path, name: &str) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    certificate.der().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_swapped_and_nobody_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_certificate(folder.path(), "one.example.org");
    let source = CertificateSource::Files {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    let names = vec!["one.example.org".to_owned()];
    let tls = TlsSettings { source, names };
    assert_eq!(tls.certificate().unwrap().unwrap().names, ["one.example.org"]);
    let server = Harness::start(Settings { tls: Some(tls.clone()), ..Settings::default() }).await;
    let tunnel = Tunnel::to(server.address);
    let before = Native::join(tunnel.clone().open().await, "lobby", "before").await;
    assert_eq!(tunnel.shown.lock().unwrap().as_ref(), Some(&first));

    // What cannot be read does not count.
    std::fs::write(folder.path().join("cert.pem"), "none").unwrap();
    let error = tls.certificate().unwrap_err().to_string();
    assert!(error.contains("cert.pem: there is no certificate in it"), "{error}");
    server.settings.send_modify(|_| {});
    tunnel.connect().await.unwrap();
    assert_eq!(tunnel.shown.lock().unwrap().as_ref(), Some(&first));

    let second = write_certificate(folder.path(), "two.example.org");
    server.settings.send_modify(|_| {});
    within("the new certificate", async {
        loop {
            // One that knows nothing of earlier sessions.
            let fresh = Tunnel::to(server.address);
            fresh.connect().await.unwrap();
            if fresh.shown.lock().unwrap().as_ref() == Some(&second) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut before = before;
    before.say("still here").await;
    assert_eq!(next_text(&mut before).await, "still here");

    // A key of another certificate is told.
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let error = tls.certificate().unwrap_err().to_string();
    assert!(error.contains("key.pem: it does not go with the certificate"), "{error}");

    // Without files it is one of the server's own, which is made if there was none.
    server.settings.send_modify(|settings| {
        let own = CertificateSource::SelfSigned { folder: Some(folder.path().join("own")) };
        settings.tls.as_mut().unwrap().source = own;
    });
    within("the server's own certificate", async {
        loop {
            let fresh = Tunnel::to(server.address);
            fresh.connect().await.unwrap();
            if fresh.shown.lock().unwrap().as_ref() != Some(&second) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(before);
    server.stop().await;
}

#[test]
fn a_servers_own_certificate_is_made_once_and_kept_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let source = CertificateSource::SelfSigned { folder: Some(folder.path().join("data/tls")) };
    let tls = TlsSettings { source, names: vec!["chat.example.org".into()] };
    assert_eq!(tls.certificate().unwrap(), None, "looking makes none");
    let made = tls.prepare().unwrap().unwrap();
    assert_eq!(made.names, ["chat.example.org", "localhost", "127.0.0.1", "::1"]);
    assert!(!made.is_trusted && made.remaining() > Duration::from_secs(9 * 365 * 86_400));
    assert_eq!(tls.certificate().unwrap().as_ref(), Some(&made));
    assert_eq!(tls.prepare().unwrap().as_ref(), Some(&made), "and is the same from then on");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = std::fs::metadata(folder.path().join("data/tls/self-signed.pem")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}
