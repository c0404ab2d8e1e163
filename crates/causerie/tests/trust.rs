//! Servers that are trusted and servers that are not, with real processes: nobody in between learns anything, and nothing is sent to
//! whom nobody vouches for.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use causerie_client::{
    Body, ConnectError, Directory, End, Event, History, JoinError, Kept, KnownServers, NotTls, Room,
    RoomOptions, Security, TrustError, What,
};
use common::{Certificate, Front, Said, Server, causerie, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("trust-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
        let path: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &name].iter().collect();
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn known(&self) -> KnownServers {
        KnownServers::new(self.0.join("known_servers"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command in pipes, with an input that is said to it; `known`: its file of servers.
async fn run(args: &[&str], known: &Path, input: &str) -> Output {
    let mut command = causerie();
    command
        .args(args)
        .env("CAUSERIE_KNOWN_SERVERS", known)
        .env("CAUSERIE_STATE", known.with_extension("state"));
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who is refused does not read it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    soon("the command ends", child.wait_with_output()).await.unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_says(output: &Output, code: i32, parts: &[&str]) {
    let words = words(output);
    assert_eq!(output.status.code(), Some(code), "{words}");
    parts.iter().for_each(|part| assert!(words.contains(part), "no {part:?} in {words}"));
    assert_eq!(words.lines().count(), 1, "{words}");
}

/// The next event that is wanted.
async fn until<T>(room: &mut Room, what: &str, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    soon(what, async {
        loop {
            let event = room.next_event().await.unwrap_or_else(|| panic!("it ended before {what}"));
            if let Some(found) = wanted(event) {
                break found;
            }
        }
    })
    .await
}

#[tokio::test]
async fn in_a_pipe_a_server_that_is_new_is_refused_before_anything_is_sent() {
    let (server, certificate) = (Server::start(&[]).await, Certificate::own("127.0.0.1"));
    let front = Front::start(server.address(), &certificate).await;
    let (folder, at) = (Folder::new(), front.address());
    let known = folder.known();
    let key = certificate.fingerprint;
    let commands: [&[&str]; 5] = [
        &["chat", &at, "--room", "lobby", "--name", "Ann", "--tls"],
        &["chat", &at, "--tls"],
        &["rooms", &at, "--tls"],
        &["history", "lobby", "--server", &at, "--tls"],
        &["trace", "lobby", "--server", &at, "--tls"],
    ];
    for args in commands {
        let output = run(args, known.path(), "a secret\n").await;
        let why = "is new to this computer, and no authority vouches for its certificate";
        assert_says(&output, 1, &[&at, why, &key.to_string(), "give it as --pin"]);
    }
    assert_eq!((front.shaken(), front.heard()), (5, 0), "bytes that were sent");
    assert!(!known.path().exists());

    // The key that is expected, as the error tells it and as the server prints it.
    for pin in [key.colons(), key.to_string(), format!("sha256:{}", key.hex())] {
        let args = ["chat", &at, "--room", "lobby", "--name", "Ann", "--pin", &pin];
        let output = run(&args, known.path(), "hello\n").await;
        assert!(output.status.success(), "{}", words(&output));
    }
    let heard = front.heard();
    let other = Certificate::own("127.0.0.1").fingerprint;
    let output = run(&["rooms", &at, "--pin", &other.colons()], known.path(), "").await;
    let parts = ["another key than the one that is expected", &other.to_string(), &key.to_string()];
    assert_says(&output, 1, &parts);
    assert_eq!(front.heard(), heard);
    assert!(!known.path().exists(), "what is pinned is not written down");

    known.add(&at, key).unwrap();
    for args in &commands[1..] {
        let output = run(args, known.path(), "").await;
        assert!(output.status.success(), "{}", words(&output));
    }
    let output = run(&["history", "lobby", "--server", &at, "--tls"], known.path(), "").await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("Ann : hello"), "{output:?}");
}

#[tokio::test]
async fn a_man_in_the_middle_learns_nothing() {
    let (server, certificate) = (Server::start(&[]).await, Certificate::own("127.0.0.1"));
    let folder = Folder::new();
    let known = folder.known();
    let mallory = Certificate::own("127.0.0.1");
    let between = Front::start(server.address(), &mallory).await;
    let at = between.address();
    known.add(&at, certificate.fingerprint).unwrap();
    let before = fs::read_to_string(known.path()).unwrap();
    let place = format!("({}:2)", known.path().display());
    for args in [
        &["chat", &at, "--room", "lobby", "--name", "Ann", "--tls"][..],
        &["rooms", &at, "close", "lobby", "--operator-token", "secret", "--tls"],
        &["history", "lobby", "--server", &at, "--tls"],
        &["trace", "lobby", "--server", &at, "--tls"],
    ] {
        let output = run(args, known.path(), "a secret\n").await;
        let (shown, expected) = (mallory.fingerprint.to_string(), certificate.fingerprint.to_string());
        let parts = ["another key than the one that is known", &shown, &expected, &place, "take the line"];
        assert_says(&output, 1, &parts);
    }
    assert_eq!((between.shaken(), between.heard()), (4, 0), "bytes that were sent");
    // Nor is anybody asked, who might say yes.
    let security = Security::new().tls().known_servers(known.clone()).ask(|_| panic!("nobody is asked"));
    let refused = Directory::connect_with(&at, &security).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Untrusted(TrustError::Changed { .. })), "{refused}");
    let refused = RoomOptions::new(&at, "lobby", "Ann").security(security).join().await.unwrap_err();
    assert!(matches!(refused, JoinError::Untrusted(TrustError::Changed { .. })), "{refused}");
    assert_eq!(between.heard(), 0);
    assert_eq!(fs::read_to_string(known.path()).unwrap(), before);
}

#[tokio::test]
async fn who_shows_a_certificate_without_having_its_key_comes_to_nothing() {
    let (server, certificate) = (Server::start(&[]).await, Certificate::own("127.0.0.1"));
    let front = Front::start(server.address(), &certificate).await;
    let (folder, at) = (Folder::new(), front.address());
    let known = folder.known();
    known.add(&at, certificate.fingerprint).unwrap();
    let pin = certificate.fingerprint.colons();
    let rooms = [&["rooms", &at, "--tls"][..], &["rooms", &at, "--pin", &pin]];
    for args in rooms {
        let output = run(args, known.path(), "").await;
        assert!(output.status.success(), "{}", words(&output));
    }
    let heard = front.heard();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        front.change(&certificate.stolen(version));
        for args in rooms {
            let output = run(args, known.path(), "").await;
            assert_says(&output, 1, &["cannot reach", "no TLS comes about", "BadSignature"]);
        }
    }
    assert_eq!(front.heard(), heard);
}

#[tokio::test]
async fn a_server_of_ours_is_known_by_what_it_prints() {
    let folder = Folder::new();
    let (data, known) = (folder.0.join("data"), folder.known());
    let args = ["--tls", "self-signed", "--plain", "never", "--data", data.to_str().unwrap()];
    let mut server = Server::listening("127.0.0.1:0", &args).await;
    let at = server.address();
    let key = soon("the key", async {
        loop {
            match server.log.recv().await {
                Some((_, Said::Out(line))) if line.trim().starts_with("SHA-256 ") => {
                    break line.trim().to_owned();
                }
                Some(_) => {}
                None => panic!("it does not tell its key"),
            }
        }
    })
    .await;
    let said =
        run(&["chat", &at, "--room", "lobby", "--name", "Ann", "--pin", &key], known.path(), "hello\n").await;
    assert!(said.status.success(), "{}", words(&said));
    let asked = run(&["history", "lobby", "--server", &at, "--tls"], known.path(), "").await;
    assert_says(&asked, 1, &["is new to this computer", &key]);
    known.add(&at, key.parse().unwrap()).unwrap();
    let told = run(&["history", "lobby", "--server", &at, "--tls"], known.path(), "").await;
    assert!(String::from_utf8_lossy(&told.stdout).contains("Ann : hello"), "{told:?}");
    // It takes no clear text, and nobody gives it any.
    let refused = run(&["history", "lobby", "--server", &at, "--no-tls"], known.path(), "").await;
    assert_says(&refused, 1, &["TLS"]);
}

#[tokio::test]
async fn servers_of_either_version_of_tls_will_do() {
    let server = Server::start(&[]).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let certificate = Certificate::by(version);
        let front = Front::start(server.address(), &certificate).await;
        let security = Security::new().pin(certificate.fingerprint);
        let mut directory = Directory::connect_with(&front.address(), &security).await.unwrap();
        directory.rooms().await.unwrap();
    }
}

#[tokio::test]
async fn who_is_accepted_is_asked_about_once() {
    let (server, certificate) = (Server::start(&[]).await, Certificate::own("127.0.0.1"));
    let front = Front::start(server.address(), &certificate).await;
    let (folder, at) = (Folder::new(), front.address());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let no = Security::new().tls().known_servers(folder.known()).ask(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        false
    });
    let refused = causerie_client::meet(&at, &no).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Untrusted(TrustError::Declined(_))), "{refused}");
    assert!(!folder.known().path().exists());
    let count = Arc::clone(&asked);
    let yes = Security::new().tls().known_servers(folder.known()).ask(move |stranger| {
        count.fetch_add(1, Ordering::Relaxed);
        stranger.server.starts_with("127.0.0.1:") && stranger.why.contains("no authority")
    });
    assert!(!yes.knows(&at).unwrap());
    causerie_client::meet(&at, &yes).await.unwrap();
    assert_eq!((asked.load(Ordering::Relaxed), front.heard()), (2, 0), "nothing was said by that");
    let mut room =
        RoomOptions::new(&at, "lobby", "Ann").create(true).security(yes.clone()).join().await.unwrap();
    assert!(matches!(room.next_event().await, Some(Event::Welcomed { .. })));
    assert_eq!(Directory::connect_with(&at, &yes).await.unwrap().rooms().await.unwrap().len(), 1);
    assert!(History::connect_with(&at, "lobby", &yes).await.unwrap().older(9).await.unwrap().is_some());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let text = fs::read_to_string(folder.known().path()).unwrap();
    assert!(text.ends_with(&format!("\n{at} sha256:{}\n", certificate.fingerprint.hex())), "{text}");
    // Another certificate with another key is none that was accepted, whatever its owner says.
    front.change(&Certificate::own("127.0.0.1"));
    let refused = Directory::connect_with(&at, &yes).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Untrusted(TrustError::Changed { .. })), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_another_when_the_connection_comes_back_ends_the_session() {
    let (server, certificate) = (Server::start(&[]).await, Certificate::own("127.0.0.1"));
    let front = Front::start(server.address(), &certificate).await;
    let (folder, at) = (Folder::new(), front.address());
    let certificate_key = certificate.fingerprint;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let security = Security::new().tls().known_servers(folder.known()).ask(move |stranger| {
        count.fetch_add(1, Ordering::SeqCst);
        stranger.fingerprint == certificate_key
    });
    let options = || RoomOptions::new(&at, "lobby", "Ann").create(true).security(security.clone());
    let kept = || Kept::open(folder.0.join("kept")).unwrap();
    let end = async |room: &mut Room| {
        let end = until(room, "an end", |event| match event {
            Event::Ended(end) => Some(end),
            _ => None,
        });
        let End::Untrusted(why) = end.await else { panic!("it is trusted") };
        assert_eq!(room.next_event().await, None);
        why
    };
    let mut room = options().join_and_keep(kept()).await.unwrap();
    let member = until(&mut room, "welcome", |event| match event {
        Event::Welcomed { member, .. } => Some(member),
        _ => None,
    })
    .await;
    room.say("before").unwrap();
    until(&mut room, "a place", |event| matches!(event, Event::Placed { .. }).then_some(())).await;

    // It is new again, and nobody is asked in the middle of a conversation. Who they are is kept, though nothing is on its way.
    fs::rename(folder.known().path(), folder.0.join("aside")).unwrap();
    front.cut();
    let why = end(&mut room).await;
    assert!(why.contains("is new to this computer"), "{why}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    fs::rename(folder.0.join("aside"), folder.known().path()).unwrap();
    drop(room);
    let mut room = options().join_and_keep(kept()).await.unwrap();
    let resumed = |event| matches!(event, Event::Resumed { .. }).then_some(());
    until(&mut room, "a resumption", resumed).await;
    assert_eq!(room.member(), Some(member));

    // Who comes back is asked by the first connection, as who is new.
    drop(room);
    let free = soon("what is kept is let go of", async {
        loop {
            match Kept::open(folder.0.join("kept")) {
                Ok(kept) => break kept,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    fs::remove_file(folder.known().path()).unwrap();
    let mut room = options().join_and_keep(free).await.unwrap();
    until(&mut room, "a resumption", resumed).await;
    assert_eq!((room.member(), asked.load(Ordering::SeqCst)), (Some(member), 2));

    // A list that cannot be read may be mended, and the session waits for that.
    let list = fs::read_to_string(folder.known().path()).unwrap();
    fs::write(folder.known().path(), "in the middle of an edi").unwrap();
    front.cut();
    until(&mut room, "why it does not come back", |event| match event {
        Event::Reconnecting { reason, .. } if reason.contains("known_servers:1") => Some(()),
        _ => None,
    })
    .await;
    fs::write(folder.known().path(), list).unwrap();
    until(&mut room, "a resumption", resumed).await;

    // It has another key.
    front.change(&Certificate::own("127.0.0.1"));
    let heard = front.heard();
    front.cut();
    room.say("meanwhile").unwrap();
    let why = end(&mut room).await;
    assert!(why.contains(&certificate.fingerprint.to_string()), "{why}");
    drop(room);
    let refused = options().join_and_keep(kept()).await.unwrap_err();
    assert!(matches!(refused, JoinError::Untrusted(TrustError::Changed { .. })), "{refused}");
    let heard_then = front.heard();
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    // Once it is itself again, who they are and what they said is there.
    front.change(&certificate);
    let mut room = options().join_and_keep(kept()).await.unwrap();
    until(&mut room, "what was said", |event| match event {
        Event::Placed { .. } => Some(()),
        _ => None,
    })
    .await;
    assert_eq!((room.member(), room.on_their_way()), (Some(member), 0));
    let mut history = History::connect(&server.address(), "lobby").await.unwrap();
    let page = history.older(50).await.unwrap().unwrap();
    let text = |what: &What| match what {
        What::Said(body) => body.text().map(str::to_owned),
        _ => None,
    };
    let said: Vec<_> = page.records().filter_map(|record| text(&record.what)).collect();
    assert_eq!(said, ["before", "meanwhile"]);
    // Up to the cut the connection was in use.
    assert!(heard_then - heard < 200, "{heard} {heard_then}");
    drop((room, front));
}

#[tokio::test]
async fn an_authority_of_the_system_vouches_for_a_server_by_its_name() {
    let server = Server::start(&[]).await;
    let (certificate, authority) = Certificate::vouched("localhost");
    let front = Front::start(server.address(), &certificate).await;
    let folder = Folder::new();
    let (known, roots) = (folder.known(), folder.0.join("roots.pem"));
    fs::write(&roots, authority).unwrap();
    let rooms = async |at: &str| {
        let mut command = causerie();
        command.args(["rooms", at, "--tls", "--known-servers"]).arg(known.path());
        soon("rooms", command.env("SSL_CERT_FILE", &roots).env_remove("SSL_CERT_DIR").output()).await.unwrap()
    };
    let by_name = format!("localhost:{}", front.port);
    let output = rooms(&by_name).await;
    assert!(output.status.success(), "{}", words(&output));
    // Whatever was known before.
    known.add(&by_name, Certificate::own("localhost").fingerprint).unwrap();
    assert!(rooms(&by_name).await.status.success());
    let heard = front.heard();
    let by_address = format!("127.0.0.1:{}", front.port);
    assert_says(&rooms(&by_address).await, 1, &["is new", "its certificate is for other names"]);
    // And once nobody vouches any more, what was known counts again.
    front.change(&Certificate::own("localhost"));
    assert_says(&rooms(&by_name).await, 1, &["another key than the one that is known"]);
    assert_eq!(front.heard(), heard);
}

/// Answers every connection with these words, once it has said something, and closes it. Bytes that it has heard.
async fn answering(words: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            count.fetch_add(stream.read(&mut bytes).await.unwrap_or(0), Ordering::SeqCst);
            let _ = stream.write_all(words.as_bytes()).await;
            let _ = stream.shutdown().await;
            while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
        }
    });
    (at, heard)
}

#[tokio::test]
async fn nothing_falls_back_to_clear_text() {
    let folder = Folder::new();
    let known = folder.known();
    for (answer, words) in [
        ("220 mail \x1b[2J\r\n", "not by TLS: 220 mail \\x1b[2J; if it speaks none, --no-tls"),
        // A server of ours that has no room.
        (
            "Error: too many connections\n",
            "it answers in clear text, not by TLS: Error: too many connections\n",
        ),
        ("", "it closes the connection instead of speaking TLS; if it speaks none, --no-tls"),
    ] {
        let (at, heard) = answering(answer).await;
        let args = ["chat", &at, "--room", "lobby", "--name", "Ann", "--tls"];
        let output = run(&args, known.path(), "a secret\n").await;
        assert_says(&output, 1, &[words]);
        let error = Directory::connect_with(&at, &Security::new().tls()).await.unwrap_err();
        let ConnectError::Io(error) = error else { panic!("{error}") };
        assert!(error.get_ref().unwrap().is::<NotTls>());
        // The offer of TLS, twice.
        assert!(heard.load(Ordering::SeqCst) < 2 * 4096);
    }
    // A server on this machine is spoken to in clear text, unless one says otherwise.
    let server = Server::start(&[]).await;
    for args in [&["rooms", &server.address()][..], &["rooms", &server.address(), "--no-tls"]] {
        let output = run(args, known.path(), "").await;
        assert!(output.status.success(), "{}", words(&output));
    }
    // And a front of TLS that is spoken to in clear text lets nobody in.
    let front = Front::start(server.address(), &Certificate::own("127.0.0.1")).await;
    let output = run(&["rooms", &front.address(), "--no-tls"], known.path(), "").await;
    assert_eq!((output.status.code(), front.shaken(), front.heard()), (Some(1), 0, 0));
    for wrong in [&["--no-tls", "--tls"][..], &["--no-tls", "--pin", &"00".repeat(32)], &["--pin", "00"]] {
        let output = run(&[&["rooms", &server.address()], wrong].concat(), known.path(), "").await;
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_damaged_line_among_the_known_servers_is_told_and_nothing_is_sent() {
    let (server, certificate) = (Server::start(&[]).await, Certificate::own("127.0.0.1"));
    let front = Front::start(server.address(), &certificate).await;
    let folder = Folder::new();
    let known = folder.known();
    fs::write(known.path(), "# mine\nchat.example.org:12343 sha256:12\n").unwrap();
    let output = run(&["rooms", &front.address(), "--tls"], known.path(), "").await;
    assert_says(&output, 1, &[&format!("{}:2: a line is HOST:PORT sha256:HEX", known.path().display())]);
    assert_eq!(front.heard(), 0);
}

#[tokio::test]
async fn much_is_said_over_a_bad_link_by_tls() {
    let (server, certificate) = (Server::start(&[]).await, Certificate::own("127.0.0.1"));
    let front = Front::start(server.address(), &certificate).await;
    let security = Security::new().pin(certificate.fingerprint);
    let join = async |name: &str, link: Option<&str>| {
        let mut options =
            RoomOptions::new(&front.address(), "lobby", name).create(true).security(security.clone());
        if let Some(link) = link {
            options = options.disturbance(link.parse().unwrap());
        }
        let mut room = options.join().await.unwrap();
        until(&mut room, "welcome", |event| matches!(event, Event::Welcomed { .. }).then_some(())).await;
        room
    };
    let mut ann = join("Ann", Some("delay=0..20ms,loss=10%,dup=5%,seed=7")).await;
    let mut bob = join("Bob", None).await;
    let text = |n: usize| format!("{n} {}", "x".repeat(10_000));
    for n in 0..100 {
        ann.say(&text(n)).unwrap();
        bob.say(&text(n)).unwrap();
        if n == 50 {
            // The session comes back by TLS, too.
            front.cut();
        }
    }
    for room in [&mut ann, &mut bob] {
        let mut next = 0;
        until(room, "all that was said", |event| {
            if let Event::Delivered(post) = event
                && !post.own
            {
                assert_eq!(post.body, Body::Text(text(next)));
                next += 1;
            }
            (next == 100).then_some(())
        })
        .await;
    }
}
