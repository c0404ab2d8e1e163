//! A server that means no good: what it says is shown, and commands no terminal.

mod common;

use causerie_core::key::Challenge;
use causerie_core::wire::{ErrorCode, ErrorFrame, MAGIC, ServerFrame, VERSION};
use common::{causerie, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Puts something on the clipboard of many terminals, forges another line, and turns the rest around.
const WORDS: &str = "\x1b]52;c;cm0gLXJmIH4=\x07\r\ncauserie: all is well \u{202e}\u{9b}31m";

/// Answers each connection with these words, before it greets or behind that.
async fn refuse_all(listener: TcpListener, greets: bool) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("it listens");
        tokio::spawn(async move {
            let mut magic = [0; MAGIC.len()];
            if stream.read_exact(&mut magic).await.is_err() {
                return;
            }
            let mut out = Vec::new();
            if greets {
                let (agent, challenge) = (WORDS.into(), Challenge::default());
                ServerFrame::Hello { version: VERSION, agent, challenge }.encode(&mut out);
            }
            let suggestion = Some(WORDS.into());
            let error = ErrorFrame { suggestion, ..ErrorFrame::fatal(ErrorCode::NameTaken, WORDS) };
            ServerFrame::Error(error).encode(&mut out);
            let _ = stream.write_all(&out).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
    }
}

#[tokio::test]
async fn the_words_of_a_server_command_no_terminal() {
    for greets in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let refusing = tokio::spawn(refuse_all(listener, greets));
        for args in [
            &["chat", "--room", "lobby", "--name", "Ann", "--plain", &server][..],
            &["chat", "--plain", "--name", "Ann", &server],
            &["rooms", "--server", &server],
            &["rooms", "--server", &server, "create", "lobby"],
            &["rooms", "--server", &server, "close", "lobby"],
            &["history", "--server", &server, "lobby"],
            &["history", "--server", &server, "--json", "lobby"],
            &["trace", "--server", &server, "--format", "dot", "lobby"],
            &["bench", "--server", &server, "--rooms", "1", "--receivers", "1", "--seconds", "1"],
        ] {
            // The original's dialogue asks the server nothing before its user has asked.
            if greets && args[1] == "--plain" {
                continue;
            }
            let mut command = causerie();
            command.args(args).stdin(std::process::Stdio::null());
            let output = soon("the command ends", command.output()).await.expect("it was built");
            assert_eq!(output.status.code(), Some(1), "{args:?}");
            let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
            let [out, err] = &said;
            assert!(err.contains("all is well"), "{args:?} tells why: {said:?}");
            let forged = err.lines().any(|line| line.starts_with("causerie: all is well"));
            let is_obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!forged && !err.contains(is_obeyed) && !out.contains(is_obeyed), "{args:?}: {said:?}");
        }
        refusing.abort();
    }
}
