//! Real processes for tests: a server, chat clients in pipes, and a proxy that disturbs connections.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

mod front;
mod proxy;

pub(crate) mod socket;

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

pub(crate) use front::{Certificate, Front};
pub(crate) use proxy::{Fault, Proxy};

/// Nothing here takes longer, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the folder in which the clients of this test keep their state.
pub(crate) fn state() -> PathBuf {
    [env!("CARGO_TARGET_TMPDIR"), &format!("state-{}", std::process::id())].iter().collect()
}

pub(crate) fn causerie() -> Command {
    prepared(Command::new(env!("CARGO_BIN_EXE_causerie")))
}

/// The same, run by a shell that has set this before, such as `umask 0`.
pub(crate) fn causerie_with(setting: &str) -> Command {
    let mut shell = prepared(Command::new("sh"));
    shell.args(["-c", &format!("{setting} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_causerie")]);
    shell
}

fn prepared(mut command: Command) -> Command {
    command.kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAUSERIE_") {
            command.env_remove(name);
        }
    }
    // Nor counts what whoever runs the tests has configured.
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("CAUSERIE_CONFIG", "/dev/null");
    command.env("CAUSERIE_STATE", state());
    command
}

/// Awaits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out: {what}"),
    }
}

/// One line of a process, or the end of its output.
#[derive(Debug)]
pub(crate) enum Said {
    Out(String),
    Err(String),
    OutEnd,
}

/// A process with pipes. Its lines come over one channel, in order.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) pid: u32,
}

impl Process {
    /// Starts it; its lines go to `said`, marked with `who`.
    pub(crate) fn start<W>(mut command: Command, who: W, said: mpsc::UnboundedSender<(W, Said)>) -> Self
    where
        W: Clone + Send + 'static,
    {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary was built");
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (who2, said2) = (who.clone(), said.clone());
        tokio::spawn(async move {
            let mut lines = BufReader::new(out).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = said.send((who.clone(), Said::Out(line)));
            }
            let _ = said.send((who, Said::OutEnd));
        });
        tokio::spawn(async move {
            let mut lines = BufReader::new(err).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = said2.send((who2.clone(), Said::Err(line)));
            }
        });
        let pid = child.id().expect("just started");
        Self { stdin: child.stdin.take(), child, pid }
    }

    pub(crate) async fn write(&mut self, line: &str) {
        self.write_bytes(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) async fn write_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("not closed");
        stdin.write_all(bytes).await.expect("it reads");
        stdin.flush().await.expect("it reads");
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status().await;
        assert!(sent.expect("kill exists").success());
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        soon("a process ends", self.child.wait()).await.expect("it was started")
    }
}

/// A server on a port of its own choice. `log` gets its lines.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) log: mpsc::UnboundedReceiver<((), Said)>,
}

impl Server {
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::listening("127.0.0.1:0", &[&["--forget"], args].concat()).await
    }

    /// On this address.
    pub(crate) async fn listening(address: &str, args: &[&str]) -> Self {
        let mut command = causerie();
        command.args(["serve", "--listen", address]).args(args);
        Self::of(command).await
    }

    /// Started by this command.
    pub(crate) async fn of(command: Command) -> Self {
        let (said, mut log) = mpsc::unbounded_channel();
        let process = Process::start(command, (), said);
        let port = soon("the server listens", async {
            loop {
                let Some(((), Said::Out(line))) = log.recv().await else { continue };
                if let Some((_, address)) = line.split_once(" is listening on ") {
                    break address.trim_end_matches('.').rsplit(':').next().unwrap().parse().unwrap();
                }
            }
        })
        .await;
        Self { process, port, log }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The next line of the log that contains `part`.
    pub(crate) async fn logged(&mut self, part: &str) -> String {
        soon(part, async {
            loop {
                match self.log.recv().await {
                    Some((_, Said::Err(line))) if line.contains(part) => break line,
                    Some(_) => {}
                    None => panic!("the server ended without logging {part}"),
                }
            }
        })
        .await
    }
}
