//! `causerie chat` as a process that is killed, and started again with what it has kept.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::common::{Process, Said, causerie};

pub(crate) struct Chat {
    pub(crate) name: Arc<str>,
    server: String,
    state: PathBuf,
    /// Each with the number of its run.
    said: mpsc::UnboundedSender<((usize, u64), Said)>,
    /// Key of the server, with which it speaks by TLS.
    pin: Option<String>,
    number: usize,
    pub(crate) process: Option<Process>,
    pub(crate) run: u64,
    /// Lines that each run was given to say.
    pub(crate) given: Vec<Vec<String>>,
    /// Lines that must be in the log in the end, since a run that was killed had taken them.
    pub(crate) taken: Vec<String>,
}

impl Chat {
    pub(crate) fn new(
        number: usize,
        server: &str,
        state: PathBuf,
        said: mpsc::UnboundedSender<((usize, u64), Said)>,
        pin: Option<String>,
    ) -> Self {
        let name = format!("chat{number}").into();
        let server = server.into();
        Self {
            name,
            server,
            state,
            said,
            pin,
            number,
            process: None,
            run: 0,
            given: Vec::new(),
            taken: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self) {
        self.run += 1;
        let mut command = causerie();
        command.args(["chat", &self.server, "--room", "lobby", "--name", &self.name, "--plain", "--state"]);
        command.arg(&self.state);
        if let Some(pin) = &self.pin {
            command.args(["--tls", "--pin", pin]);
        }
        self.process = Some(Process::start(command, (self.number, self.run), self.said.clone()));
        self.given.push(Vec::new());
    }

    /// Gives it a line, if it runs. One that dies may not have read it.
    pub(crate) async fn give(&mut self, text: &str) {
        let stdin = self.process.as_mut().and_then(|process| process.stdin.as_mut());
        if let Some(stdin) = stdin {
            let _ = stdin.write_all(format!("{text}\n").as_bytes()).await;
            self.given.last_mut().expect("it was started").push(text.to_owned());
        }
    }

    /// Returns those of all lines that it was given that are in its file.
    pub(crate) fn kept(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.state) else { return Vec::new() };
        let entries = entries.map(|entry| entry.unwrap().path());
        // Beside the key of rooms that were made.
        let mut files = entries.filter(|path| path.extension().is_none() && !path.ends_with("key"));
        let bytes = files.next().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        assert_eq!(files.next(), None, "one membership, one file");
        let is_in = |text: &String| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        self.given.iter().flatten().filter(|text| is_in(text)).cloned().collect()
    }

    /// With kill -9. What its file has then must be said by a later run.
    pub(crate) async fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal("KILL").await;
        process.exit().await;
        self.taken.extend(self.kept());
    }
}
