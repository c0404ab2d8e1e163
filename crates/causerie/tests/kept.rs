//! Chats that are killed, with real processes: started again they go on as the same member, and what they had taken
//! from their input is said once.

mod common;

use std::path::{Path, PathBuf};

use causerie_client::{Body, Event, Room, RoomOptions};
use common::{Process, Said, Server, causerie, soon};
use tokio::sync::mpsc;

struct Chat {
    process: Process,
    said: mpsc::UnboundedReceiver<((), Said)>,
}

impl Chat {
    fn start(server: &str, state: &Path) -> Self {
        let (send, said) = mpsc::unbounded_channel();
        let mut command = causerie();
        command.args(["chat", server, "--room", "lobby", "--name", "Ann", "--state"]).arg(state);
        Self { process: Process::start(command, (), send), said }
    }

    /// The next notice that contains `part`.
    async fn notice(&mut self, part: &str) -> String {
        soon(part, async {
            loop {
                match self.said.recv().await {
                    Some((_, Said::Err(line))) if line.contains(part) => break line,
                    Some(_) => {}
                    None => panic!("ended without saying {part}"),
                }
            }
        })
        .await
    }

    async fn kill(mut self) {
        self.process.signal("KILL").await;
        self.process.exit().await;
    }
}

/// The one file of state there is.
fn kept(state: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(state).ok()?.map(|entry| entry.unwrap().path());
    // Beside the key of rooms that were made.
    let mut files = entries.filter(|path| path.extension().is_none() && !path.ends_with("key"));
    let file = files.next();
    assert_eq!(files.next(), None);
    file
}

/// Until the state on the disk says so.
async fn on_disk(state: &Path, text: &str) {
    let has = || {
        let bytes = kept(state).and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    soon("the chat has taken it", async {
        while !has() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Returns the others' words and comings that Bob sees, until one of them is `last`.
async fn seen(bob: &mut Room, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    soon(last, async {
        while seen.last().is_none_or(|line| line != last) {
            match bob.next_event().await.expect("it goes on") {
                Event::Delivered(post) => {
                    let Body::Text(text) = post.body else { panic!("only texts are said") };
                    seen.push(text);
                }
                Event::Joined { name, history: false, .. } => seen.push(format!("+{name}")),
                Event::Left { name, .. } => seen.push(format!("-{name}")),
                Event::Ended(end) => panic!("{end}"),
                _ => {}
            }
        }
    })
    .await;
    seen
}

struct Place {
    data: PathBuf,
    state: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let path = |what: &str| -> PathBuf {
            [env!("CARGO_TARGET_TMPDIR"), &format!("kept-{name}-{what}-{}", std::process::id())]
                .iter()
                .collect()
        };
        Self { data: path("data"), state: path("state") }
    }

    async fn server(&self, address: &str, grace: &str) -> Server {
        let data = self.data.to_str().expect("a path in UTF-8");
        Server::listening(address, &["--data", data, "--grace", grace, "--log", "warn"]).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for folder in [&self.data, &self.state] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

async fn bob(address: &str) -> Room {
    soon("Bob is in", RoomOptions::new(address, "lobby", "Bob").create(true).join()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_killed_goes_on_as_the_same_member() {
    let place = Place::new("same");
    let mut server = place.server("127.0.0.1:0", "600").await;
    let address = server.address();
    let mut bob = bob(&address).await;
    let mut chat = Chat::start(&address, &place.state);
    chat.notice("in 'lobby'").await;
    chat.process.write("one").await;
    assert_eq!(seen(&mut bob, "one").await, ["+Ann", "one"]);

    let mut second = Chat::start(&address, &place.state);
    second.notice("'Ann' is in 'lobby' already, from here").await;
    assert_eq!(second.process.exit().await.code(), Some(1));

    // The server is killed, then the chat, with two messages that nobody has.
    server.process.signal("KILL").await;
    server.process.exit().await;
    chat.process.write("two").await;
    chat.process.write("three").await;
    on_disk(&place.state, "three").await;
    chat.kill().await;
    let _server = place.server(&address, "600").await;
    let mut chat = Chat::start(&address, &place.state);
    chat.notice("back; 2 messages sent again").await;
    chat.process.write("four").await;
    assert_eq!(seen(&mut bob, "four").await, ["two", "three", "four"], "the same member, each once");

    // With nothing on its way.
    chat.kill().await;
    let mut chat = Chat::start(&address, &place.state);
    chat.notice("in 'lobby': Bob, Ann").await;
    chat.process.write("five").await;
    // The end of input: it leaves, and nothing is kept any more.
    chat.process.stdin = None;
    assert_eq!(seen(&mut bob, "-Ann").await, ["five", "-Ann"]);
    assert!(chat.process.exit().await.success());
    assert_eq!(kept(&place.state), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_has_expired_goes_on_as_another_and_says_the_rest() {
    let place = Place::new("expired");
    let mut server = place.server("127.0.0.1:0", "600").await;
    let address = server.address();
    let mut bob = bob(&address).await;
    let mut chat = Chat::start(&address, &place.state);
    chat.notice("in 'lobby'").await;
    chat.process.write("one").await;
    assert_eq!(seen(&mut bob, "one").await, ["+Ann", "one"]);
    for round in 0..3 {
        server.process.signal("KILL").await;
        server.process.exit().await;
        let text = format!("in round {round}");
        chat.process.write(&text).await;
        on_disk(&place.state, &text).await;
        chat.kill().await;
        // Grace begins anew with the server, and is over at once. Bob comes back in time or as another member.
        server = place.server(&address, "1").await;
        let gone = seen(&mut bob, "-Ann").await;
        assert!(!gone.contains(&text), "{gone:?}");
        chat = Chat::start(&address, &place.state);
        chat.notice("joined again (the member has left, or was away for too long); 1 message sent again")
            .await;
        let came = seen(&mut bob, &text).await;
        assert_eq!(came.iter().filter(|line| **line == text).count(), 1, "{came:?}");
        assert!(came.contains(&"+Ann".to_owned()), "{came:?}");
    }
    chat.process.stdin = None;
    let rest = seen(&mut bob, "-Ann").await;
    assert_eq!(rest, ["-Ann"], "nothing comes twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_cannot_be_used_is_set_aside() {
    let place = Place::new("unusable");
    let server = place.server("127.0.0.1:0", "1").await;
    let address = server.address();
    let mut bob = bob(&address).await;
    let mut chat = Chat::start(&address, &place.state);
    chat.notice("in 'lobby'").await;
    for (at, why) in [(4, "it was written by a later version"), (30, "it is damaged"), (0, "it is damaged")] {
        chat.kill().await;
        let joined = seen(&mut bob, "-Ann").await;
        assert_eq!(joined, ["+Ann", "-Ann"]);
        let file = kept(&place.state).expect("it is there");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[at] ^= 0x40;
        std::fs::write(&file, bytes).unwrap();
        chat = Chat::start(&address, &place.state);
        chat.notice(&format!("what was kept cannot be used: {why}")).await;
        chat.notice("in 'lobby'").await;
    }
    let aside = std::fs::read_dir(&place.state).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().contains(".unusable-")
    });
    assert_eq!(aside.count(), 3);
}
