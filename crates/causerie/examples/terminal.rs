//! Time that the full-screen client takes from a key to the screen, in a quiet room and in one with a thousand messages a
//! second; and its memory with a hundred thousand messages to scroll back through.
//!
//! ```sh
//! cargo build --release && cargo run --release --package causerie --example terminal -- target/release/causerie
//! ```
//!
//! It is driven in a pseudo-terminal, and a terminal's parser says when a key is on the screen. Linux only.

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("this needs pseudo-terminals and /proc as Linux has them");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
use linux::main;

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use causerie_bench::process::{Started, usage};
    use causerie_client::{Event, Room, RoomOptions};
    use pty_process::{OwnedWritePty, Size};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::process::Child;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;
    use tokio::time::MissedTickBehavior;

    type Result<T> = std::result::Result<T, Box<dyn Error>>;

    const LINES: u16 = 24;
    const COLUMNS: u16 = 80;
    const INPUT_LINE: usize = 21;
    const PATIENCE: Duration = Duration::from_secs(120);
    /// Keys of one round.
    const KEYS: usize = 200;
    const ROUNDS: usize = 3;
    const AUTHORS: usize = 4;
    const PER_SECOND: u64 = 1_000;
    const SCROLLBACK: usize = 100_000;

    struct Screen {
        state: PathBuf,
        child: Child,
        input: OwnedWritePty,
        parser: Arc<Mutex<vt100::Parser>>,
        changed: Arc<Notify>,
    }

    impl Screen {
        async fn start(program: &Path, server: &Started, name: &str) -> Result<Self> {
            let state = std::env::temp_dir().join(format!("causerie-terminal-{}-{name}", std::process::id()));
            let (pty, pts) = pty_process::open()?;
            pty.resize(Size::new(LINES, COLUMNS))?;
            let child = pty_process::Command::new(program)
                .args(["chat", &server.address.to_string(), "--room", "lobby", "--name", name, "--state"])
                .arg(&state)
                .env("TERM", "xterm-256color")
                .env("XDG_CONFIG_HOME", "/nonexistent")
                .kill_on_drop(true)
                .spawn(pts)?;
            let (mut output, input) = pty.into_split();
            let parser = Arc::new(Mutex::new(vt100::Parser::new(LINES, COLUMNS, 0)));
            let changed = Arc::new(Notify::new());
            let (shown, told) = (Arc::clone(&parser), Arc::clone(&changed));
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(read @ 1..) = output.read(&mut bytes).await {
                    shown.lock().expect("no panic").process(&bytes[..read]);
                    told.notify_one();
                }
            });
            let screen = Self { state, child, input, parser, changed };
            screen.shows("connected to").await?;
            Ok(screen)
        }

        async fn until(&self, what: &str, is_so: impl Fn(&vt100::Screen) -> bool) -> Result<()> {
            let waiting = async {
                while !is_so(self.parser.lock().expect("no panic").screen()) {
                    self.changed.notified().await;
                }
            };
            let shown = || self.parser.lock().expect("no panic").screen().contents();
            let waited = tokio::time::timeout(PATIENCE, waiting).await;
            waited.map_err(|_| format!("no {what} on the screen:\n{}", shown()).into())
        }

        async fn shows(&self, part: &str) -> Result<()> {
            self.until(part, |screen| screen.contents().contains(part)).await
        }

        fn resident(&self) -> Result<f64> {
            let pid = self.child.id().ok_or("the chat has ended")?;
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib: f64 =
                line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).ok_or("odd status")?;
            Ok(kib / 1024.0)
        }

        /// Returns the time that each key took to be on the screen.
        async fn type_keys(&mut self) -> Result<Vec<Duration>> {
            let (mut taken, mut written) = (Vec::new(), String::new());
            for n in 0..KEYS {
                // Out of step with whatever happens regularly.
                tokio::time::sleep(Duration::from_millis(40 + (n as u64 * 17) % 41)).await;
                let key = char::from(b'a' + (n % 26) as u8);
                if written.len() == 40 {
                    written.clear();
                    self.input.write_all(b"\x15").await?;
                    self.until("empty input", |screen| input_line(screen).trim_end() == "Ann>").await?;
                }
                written.push(key);
                let expected = format!("Ann> {written}");
                let start = Instant::now();
                self.input.write_all(key.to_string().as_bytes()).await?;
                self.until(&expected, |screen| input_line(screen).trim_end() == expected).await?;
                taken.push(start.elapsed());
            }
            self.input.write_all(b"\x15").await?;
            Ok(taken)
        }
    }

    impl Drop for Screen {
        fn drop(&mut self) {
            let _ = self.child.start_kill();
            let _ = std::fs::remove_dir_all(&self.state);
        }
    }

    fn input_line(screen: &vt100::Screen) -> String {
        screen.rows(0, COLUMNS).nth(INPUT_LINE).unwrap_or_default()
    }

    async fn join(server: &Started, name: &str) -> Result<Room> {
        Ok(RoomOptions::new(&server.address.to_string(), "lobby", name).create(true).join().await?)
    }

    /// Authors who say so much together, until they are told to stop.
    struct Load {
        said: Arc<AtomicU64>,
        stop: Arc<AtomicBool>,
        authors: Vec<JoinHandle<()>>,
    }

    impl Load {
        async fn start(server: &Started) -> Result<Self> {
            let mut load = Self { said: Arc::default(), stop: Arc::default(), authors: Vec::new() };
            for n in 0..AUTHORS {
                let mut room = join(server, &format!("author-{n}")).await?;
                let (said, stop) = (Arc::clone(&load.said), Arc::clone(&load.stop));
                let mut tick = tokio::time::interval(Duration::from_secs(AUTHORS as u64) / PER_SECOND as u32);
                tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
                load.authors.push(tokio::spawn(async move {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        tokio::select! {
                            _ = tick.tick() => {
                                count += 1;
                                if room.say(&format!("message {count}, about as long as what people write")).is_ok() {
                                    said.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                            event = room.next_event() => if event.is_none() { return },
                        }
                    }
                    room.leave();
                    while room.next_event().await.is_some_and(|event| !matches!(event, Event::Ended(_))) {}
                }));
            }
            Ok(load)
        }

        async fn stop(self) -> Result<u64> {
            self.stop.store(true, Ordering::Relaxed);
            for author in self.authors {
                author.await?;
            }
            Ok(self.said.load(Ordering::Relaxed))
        }
    }

    fn quantile(sorted: &[Duration], share: f64) -> f64 {
        let index = ((sorted.len() - 1) as f64 * share).round() as usize;
        sorted[index].as_secs_f64() * 1e3
    }

    async fn keys(program: &Path) -> Result<()> {
        println!(
            "| from a key to the screen | median ms | p90 ms | p99 ms | most ms | messages/s | client's processor |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|");
        let mut medians = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (index, what) in ["quiet room", "busy room"].into_iter().enumerate() {
                let server = Started::causerie(Command::new(program))?;
                let mut room = join(&server, "Bob").await?;
                let reads = tokio::spawn(async move { while room.next_event().await.is_some() {} });
                let mut screen = Screen::start(program, &server, "Ann").await?;
                let load = if index == 1 { Some(Load::start(&server).await?) } else { None };
                tokio::time::sleep(Duration::from_secs(1)).await;
                let pid = screen.child.id().ok_or("the chat has ended")?;
                let said = || load.as_ref().map_or(0, |load| load.said.load(Ordering::Relaxed));
                let (start, before, cpu) = (Instant::now(), said(), usage(pid)?.cpu);
                let mut taken = screen.type_keys().await?;
                let seconds = start.elapsed().as_secs_f64();
                let (rate, cpu) = ((said() - before) as f64 / seconds, usage(pid)?.cpu - cpu);
                if let Some(load) = load {
                    load.stop().await?;
                }
                reads.abort();
                taken.sort_unstable();
                let at = |share| quantile(&taken, share);
                println!(
                    "| {what} | {:.1} | {:.1} | {:.1} | {:.1} | {rate:.0} | {:.2} |",
                    at(0.5),
                    at(0.9),
                    at(0.99),
                    at(1.0),
                    cpu.as_secs_f64() / seconds,
                );
                medians[index].push(taken[taken.len() / 2]);
            }
        }
        medians.iter_mut().for_each(|medians| medians.sort_unstable());
        let [quiet, busy] = medians.map(|medians| medians[medians.len() / 2].as_secs_f64());
        println!("\nmedian of medians, busy to quiet: {:.2}", busy / quiet);
        Ok(())
    }

    async fn memory(program: &Path) -> Result<()> {
        let server = Started::causerie(Command::new(program))?;
        let mut bob = join(&server, "Bob").await?;
        let text = |n| format!("message {n}. It is about as long as what people write.");
        let screen = Screen::start(program, &server, "Ann").await?;
        let before = screen.resident()?;
        for n in 1..=SCROLLBACK {
            while bob.on_their_way() > 500 || bob.say(&text(n)).is_err() {
                bob.next_event().await.ok_or("the room has ended")?;
            }
        }
        let all_shown = format!("message {SCROLLBACK}.");
        screen.shows(&all_shown).await?;
        let after = screen.resident()?;
        drop(screen);
        println!("\n| memory of the client, MiB | |\n|---|---:|");
        println!("| at the start | {before:.1} |");
        println!("| {SCROLLBACK} messages of {} bytes have come | {after:.1} |", text(SCROLLBACK).len());
        let mut screen = Screen::start(program, &server, "Eve").await?;
        screen.shows(&all_shown).await?;
        let before = screen.resident()?;
        let start = Instant::now();
        screen.input.write_all(b"/search message 1.\r").await?;
        screen.shows("Bob: message 1.").await?;
        let after = screen.resident()?;
        println!("| in the room afterwards | {before:.1} |");
        println!(
            "| all of it read back, page by page ({:.1} s) | {after:.1} |",
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    #[tokio::main]
    pub(super) async fn main() -> Result<()> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [program] = &arguments[..] else { return Err("usage: terminal PROGRAM".into()) };
        let program = std::fs::canonicalize(program)?;
        keys(&program).await?;
        memory(&program).await
    }
}
