//! A classic client. It cannot come back, so it joins anew each time, under another name.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Event that a session was told.
#[derive(Debug)]
pub(crate) enum Told {
    /// It is in: this comes before everything else.
    In,
    /// Text of somebody else.
    Text(String),
}

#[derive(Debug)]
enum Command {
    Say { session: Arc<str>, text: String },
    Leave,
}

pub(crate) struct Classic {
    commands: mpsc::UnboundedSender<Command>,
    /// The name of the session that is in.
    session: watch::Receiver<Option<Arc<str>>>,
    /// Ends only by a mistake.
    pub(crate) task: JoinHandle<()>,
}

impl Classic {
    pub(crate) fn start(address: String, told: mpsc::UnboundedSender<(Arc<str>, Told)>) -> Self {
        let (commands, mut wanted) = mpsc::unbounded_channel();
        let (current, session) = watch::channel(None);
        let task = tokio::spawn(async move {
            for number in 0.. {
                let name: Arc<str> = format!("classic{number}").into();
                run(&address, &name, &told, &current, &mut wanted).await;
                current.send_replace(None);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { commands, session, task }
    }

    pub(crate) fn session(&self) -> Option<Arc<str>> {
        self.session.borrow().clone()
    }

    /// Nothing is said if that session is over by then.
    pub(crate) fn say(&self, session: Arc<str>, text: String) {
        self.commands.send(Command::Say { session, text }).expect("it runs");
    }

    pub(crate) fn leave(&self) {
        self.commands.send(Command::Leave).expect("it runs");
    }
}

/// One session, until its connection is over.
async fn run(
    address: &str,
    name: &Arc<str>,
    told: &mpsc::UnboundedSender<(Arc<str>, Told)>,
    current: &watch::Sender<Option<Arc<str>>>,
    wanted: &mut mpsc::UnboundedReceiver<Command>,
) {
    let Ok(stream) = TcpStream::connect(address).await else { return };
    let (input, mut output) = stream.into_split();
    let mut input = BufReader::new(input);
    if output.write_all(format!("./join lobby\n{name}\n./members\n").as_bytes()).await.is_err() {
        return;
    }
    let mut line = Vec::new();
    loop {
        tokio::select! {
            // What has been read of a line stays in `line` when a command comes first.
            read = input.read_until(b'\n', &mut line) => {
                if read.is_err() || line.pop() != Some(b'\n') {
                    // The connection is gone, maybe in the middle of a line.
                    return;
                }
                let text = String::from_utf8(std::mem::take(&mut line)).expect("UTF-8");
                if current.borrow().is_none() {
                    assert!(!text.starts_with("Error") && !text.starts_with('{'), "{name}: {text}");
                    // Before anybody can have it say something.
                    let _ = told.send((Arc::clone(name), Told::In));
                    current.send_replace(Some(Arc::clone(name)));
                }
                if let Some((_, text)) = text.split_once(" : ") {
                    let _ = told.send((Arc::clone(name), Told::Text(text.to_owned())));
                } else {
                    let members = text.starts_with('[') && text.contains(&format!("'{name}'"));
                    assert!(members || text.ends_with(" the chatroom"), "{name}: {text}");
                }
            }
            command = wanted.recv() => match command {
                Some(Command::Say { session, text }) if session == *name => {
                    if output.write_all(format!("{text}\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
                Some(Command::Say { .. }) => {}
                Some(Command::Leave) => {
                    let _ = output.write_all(b"./leave\n").await;
                    return;
                }
                None => return,
            }
        }
    }
}
