//! Samples in the README and the documents beside it: their commands are run in order, and what they print is compared.
//!
//! On Linux each server has an address of this machine of its own, so that the default port is free there.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Process, Said, Server, causerie, soon};
use tokio::sync::mpsc;

const PROGRAM: &str = env!("CARGO_BIN_EXE_causerie");

fn document(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A command and what it prints, as a document has them.
#[derive(Debug)]
struct Sample {
    command: String,
    shown: Vec<String>,
}

fn samples(text: &str) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (inside, line.strip_prefix("$ ")) {
            (false, _) => inside = line == "```console",
            (true, _) if line == "```" => inside = false,
            (true, Some(command)) => samples.push(Sample { command: command.into(), shown: Vec::new() }),
            (true, None) => {
                samples.last_mut().expect("a command stands before its output").shown.push(line.into());
            }
        }
    }
    samples
}

/// The same text for all numbers, times and tokens included.
fn masked(line: &str) -> String {
    let is_token = |word: &str| word.len() >= 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = line.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let mut without_tokens = String::new();
    for word in words {
        let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        without_tokens.push_str(if is_token(end) { "0" } else { end });
        without_tokens.push_str(&word[end.len()..]);
    }
    let mut out = String::new();
    let mut rest = &without_tokens[..];
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = &rest[start..];
        let end = digits.find(|c: char| !(c.is_ascii_digit() || ",.".contains(c))).unwrap_or(digits.len());
        let number = digits[..end].trim_end_matches([',', '.']);
        out.push_str(&rest[..start]);
        out.push('0');
        rest = &digits[number.len()..];
    }
    out + rest
}

fn all_masked(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| masked(line)).collect()
}

/// A server at the default port of an address that no other test has.
struct Place {
    host: String,
    _server: Server,
    /// A folder with a `causerie` that means this server.
    programs: PathBuf,
}

impl Place {
    async fn new(number: u8) -> Self {
        let host = address(number);
        let server = Server::listening(&host, &["--forget"]).await;
        let programs = common::state().with_extension(format!("programs-{number}"));
        fs::create_dir_all(&programs).unwrap();
        let script = format!(
            "#!/bin/sh\ncommand=$1\nshift\ncase $command in\nchat) exec '{PROGRAM}' chat {host} \"$@\";;\n\
             history) exec '{PROGRAM}' history --server {host} \"$@\";;\n*) exec '{PROGRAM}' $command \"$@\";;\nesac\n"
        );
        let path = programs.join("causerie");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { host, _server: server, programs }
    }

    /// Returns what a shell shows of a command that ends by itself, standard error first.
    async fn run(&self, command: &str) -> Vec<String> {
        let path = format!("{}:{}", self.programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = tokio::process::Command::new("sh");
        shell
            .args(["-c", command])
            .env("PATH", path)
            .env("CAUSERIE_STATE", common::state())
            .kill_on_drop(true);
        let output = soon(command, shell.output()).await.expect("a shell");
        let text = [output.stderr, output.stdout].map(|bytes| String::from_utf8(bytes).expect("text"));
        assert!(output.status.success(), "{command}: {text:?}");
        text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
    }

    /// Returns what the server answers to these bytes, up to the end of the connection; `ends`: nothing more is sent.
    fn answer(&self, bytes: &str, ends: bool) -> String {
        let mut stream = TcpStream::connect((&self.host[..], 12343)).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        if ends {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Returns what the command shows, by whatever it is run.
    async fn shown(&self, command: &str) -> Vec<String> {
        if let Some(words) = command.strip_suffix(" | nc -q 1 127.0.0.1 12343") {
            let words = words.strip_prefix("printf '").unwrap().strip_suffix('\'').unwrap();
            return self.answer(words, true).lines().map(str::to_owned).collect();
        }
        if let Some(rest) = command.strip_prefix("curl -s http://127.0.0.1:12343") {
            let (path, rest) = rest.split_once(' ').unwrap();
            let (header, body) = rest.split_once(" -d '").unwrap();
            let header = header.strip_prefix("-H '").unwrap().strip_suffix('\'').unwrap();
            let body = body.strip_suffix('\'').unwrap();
            let length = body.len();
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let answer = self.answer(&request, false);
            return answer.split_once("\r\n\r\n").unwrap().1.lines().map(str::to_owned).collect();
        }
        self.run(command).await
    }
}

/// An address of this machine that no other test has.
fn address(number: u8) -> String {
    let [.., a, b] = std::process::id().to_be_bytes();
    format!("127.{}.{a}.{b}", 100 + number)
}

/// Returns what is told at the start, up to `last`, as it is told at 127.0.0.1.
async fn told_at_the_start(args: &[&str], host: &str, last: &str) -> Vec<String> {
    let (send, mut said) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(args);
    let _process = Process::start(command, (), send);
    let mut lines: Vec<String> = Vec::new();
    soon("the start", async {
        while !lines.last().is_some_and(|line| line.contains(last)) {
            match said.recv().await {
                Some(((), Said::Out(line))) => {
                    lines.push(line.replace(host, "127.0.0.1").replace(PROGRAM, "target/release/causerie"));
                }
                Some(_) => {}
                None => panic!("ended after {lines:?}"),
            }
        }
    })
    .await;
    lines
}

/// Runs all that a document shows, in order, on a server of its own.
async fn compare(path: &str, number: u8) {
    let place = Place::new(number).await;
    let samples = samples(&document(path));
    assert!(!samples.is_empty());
    for Sample { command, shown } in samples {
        let host = address(number + 50);
        match &command[..] {
            "cargo run --release" => {
                let told =
                    told_at_the_start(&["serve", "--forget", "--listen", &host], &host, "Ctrl-C").await;
                assert_eq!(told, shown, "{command}");
            }
            "cargo run --release -- demo" => {
                let told = told_at_the_start(&["demo", "--listen", &host], &host, "your own link").await;
                assert_eq!(told, shown, "{command}");
            }
            // It runs this test.
            "cargo xtask check" => assert!(shown.is_empty()),
            // What happens on a link that is disturbed is another thing each time: see below.
            on_a_bad_link if on_a_bad_link.contains("--name Eve --link") => {}
            simulated if simulated.starts_with("causerie sim ") => {
                assert_eq!(place.run(simulated).await, shown, "{command}");
            }
            load if load.starts_with("causerie bench ") => {
                let told = place.run(&load.replace("--seconds 10", "--seconds 1")).await;
                let progress = |line: &&String| !line.starts_with("causerie") && !line.is_empty();
                let told: Vec<_> = told.iter().filter(progress).cloned().collect();
                assert_eq!(all_masked(&told), all_masked(&shown), "{command}");
            }
            other => {
                let told = place.shown(other).await;
                assert_eq!(all_masked(&told), all_masked(&shown), "{path}: {command}: {told:#?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_shows_what_the_program_says() {
    compare("README.md", 1).await;
    assert!(document("README.md").lines().count() <= 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_document_shows_what_the_program_says() {
    compare("docs/using.md", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_teachers_document_shows_what_the_program_says() {
    compare("docs/teaching.md", 3).await;
}

/// Everybody's words come in the order that is shown, and what is told of them is told in these words.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_bad_link_answers_come_after_their_questions() {
    let text = document("docs/teaching.md");
    let sample = samples(&text).into_iter().find(|sample| sample.command.contains("--name Eve --link"));
    let Sample { command, shown } = sample.expect("it is shown");
    let (chat, notices): (Vec<_>, Vec<_>) = shown.iter().partition(|line| line.contains(" : "));
    let server = Server::start(&[]).await;
    let address = server.address();
    let start = |args: Vec<&str>| {
        let (send, said) = mpsc::unbounded_channel();
        let mut command = causerie();
        command.args(args);
        (Process::start(command, (), send), said)
    };
    let join =
        |name: &'static str| start(vec!["chat", &address, "--plain", "--room", "lobby", "--name", name]);
    let next = async |said: &mut mpsc::UnboundedReceiver<((), Said)>, part: &str| {
        soon(part, async {
            loop {
                match said.recv().await {
                    Some(((), Said::Out(line) | Said::Err(line))) if line.contains(part) => break,
                    Some(_) => {}
                    None => panic!("ended without {part}"),
                }
            }
        })
        .await;
    };
    let (mut ann, mut anns) = join("Ann");
    next(&mut anns, "in 'lobby'").await;
    let (mut bob, mut bobs) = join("Bob");
    next(&mut bobs, "in 'lobby'").await;
    let mut args: Vec<_> = command.split(' ').skip(1).collect();
    args.insert(1, &address);
    let (_eve, mut eves) = start(args);
    next(&mut bobs, "Eve joined").await;
    for line in &chat {
        let (name, text) = line.split_once(" : ").unwrap();
        let (speaker, hears) = match name {
            "Ann" => (&mut ann, &mut bobs),
            _ => (&mut bob, &mut anns),
        };
        speaker.write(text).await;
        // The next one is said by somebody who has read this one.
        next(hears, text).await;
    }
    let form = |line: &str| {
        let named = ["Ann", "Bob", "Eve"].iter().fold(masked(line), |line, name| line.replace(name, "N"));
        // A long time is told in seconds.
        named.strip_suffix(" 0 s").map(|line| format!("{line} 0 ms")).unwrap_or(named)
    };
    let forms: Vec<_> = notices.iter().map(|line| form(line)).collect();
    let mut heard = Vec::new();
    soon("Eve hears it all", async {
        while heard.len() < chat.len() {
            match eves.recv().await {
                Some(((), Said::Out(line))) => heard.push(line),
                Some(((), Said::Err(line))) => assert!(forms.contains(&form(&line)), "{line}"),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert!(heard.iter().eq(chat), "{heard:?}");
}

#[test]
fn the_commands_that_are_listed_are_those_there_are() {
    let help = |args: &[&str]| {
        let output = Command::new(PROGRAM).args(args).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = document("docs/using.md");
    let listed: Vec<_> = text.lines().filter(|line| line.starts_with("causerie ")).collect();
    let mut names: Vec<_> = listed.iter().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    let all = help(&[]);
    let (_, commands) = all.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    // What goes on in the next line stands further to the right.
    let names_there = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let mut there: Vec<_> = names_there.filter_map(|line| line.split(' ').next()).collect();
    there.retain(|name| *name != "help");
    names.sort_unstable();
    there.sort_unstable();
    assert_eq!(names, there);
    for line in listed {
        let name = line.split_whitespace().nth(1).unwrap();
        let mut flags = help(&[name]);
        for part in ["create", "open", "restore", "backup", "show"] {
            if line.contains(&format!(" {part} ")) {
                flags += &help(&[name, part]);
            }
        }
        for flag in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            assert!(!flag.starts_with("--") || flags.contains(flag), "{name}: {flag}");
        }
    }
}

/// The bot of the README is that of the client's documentation, which is compiled.
#[test]
fn the_rust_that_is_shown_is_compiled() {
    let text = document("README.md");
    let (_, rust) = text.split_once("```rust\n").unwrap();
    let (rust, _) = rust.split_once("```").unwrap();
    let compiled = document("crates/causerie-client/src/lib.rs");
    assert!(rust.lines().count() > 5);
    for line in rust.lines() {
        assert!(compiled.contains(&format!("//! {line}\n")), "{line}");
    }
}

#[test]
fn as_many_exercises_as_there_are_are_told_of() {
    const WORDS: [&str; 10] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let lab = document("crates/causerie-server/web/lab/lab.js");
    let count = (1..).take_while(|n| lab.contains(&format!("name: \"{n}. "))).count();
    for path in ["README.md", "docs/teaching.md"] {
        let words = format!("{} exercises", WORDS[count]);
        assert!(document(path).to_lowercase().contains(&words), "{path}: {words}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for path in ["README.md", "docs/using.md", "docs/teaching.md"] {
        let text = document(path);
        let folder = Path::new(path).parent().unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let link = rest.split(')').next().unwrap();
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("http") {
                continue;
            }
            links += 1;
            let target = folder.join(file);
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            assert!(root.join(&target).exists(), "{path}: {link}");
            if !anchor.is_empty() {
                let headings = document(target.to_str().unwrap());
                let as_anchor =
                    |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                let is_there =
                    headings.lines().any(|line| line.starts_with('#') && as_anchor(line) == anchor);
                assert!(is_there, "{path}: {link}");
            }
        }
    }
    assert!(links > 20);
}
