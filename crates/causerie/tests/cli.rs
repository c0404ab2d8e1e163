//! The command as people and scripts use it: pipes, exit codes, the original dialogue.

mod common;

use common::{Process, Said, Server, causerie, soon};
use tokio::sync::mpsc;

/// A chat in pipes.
struct Chat {
    process: Process,
    said: mpsc::UnboundedReceiver<((), Said)>,
}

impl Chat {
    fn start(args: &[&str]) -> Self {
        let (send, said) = mpsc::unbounded_channel();
        let mut command = causerie();
        command.arg("chat").args(args);
        Self { process: Process::start(command, (), send), said }
    }

    /// In a room, with nobody asked anything.
    async fn join(server: &Server, room: &str, name: &str, more: &[&str]) -> Self {
        let address = server.address();
        let mut args = vec![&address[..], "--room", room, "--name", name];
        args.extend(more);
        let mut chat = Self::start(&args);
        chat.notice("in '").await;
        chat
    }

    /// The next line on standard output.
    async fn out(&mut self) -> String {
        soon("a message", async {
            loop {
                match self.said.recv().await {
                    Some((_, Said::Out(line))) => break line,
                    Some((_, Said::OutEnd)) | None => panic!("standard output has ended"),
                    Some(_) => {}
                }
            }
        })
        .await
    }

    /// The next line on standard error that contains `part`.
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

    /// End of input: all that is still said, and the exit code.
    async fn end(mut self) -> (Vec<String>, Vec<String>, Option<i32>) {
        self.process.stdin = None;
        let code = self.process.exit().await.code();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some((_, said)) = soon("the pipes end", self.said.recv()).await {
            match said {
                Said::Out(line) => out.push(line),
                Said::Err(line) => err.push(line),
                Said::OutEnd => {}
            }
        }
        (out, err, code)
    }
}

#[tokio::test]
async fn a_pipe_talks_without_questions_and_ends_when_all_is_taken() {
    let server = Server::start(&[]).await;
    let mut bob = Chat::join(&server, "lobby", "Bob", &["--plain"]).await;
    let mut ann = Chat::join(&server, "lobby", "Ann", &["--plain"]).await;
    bob.notice("Ann joined the chatroom").await;
    for n in 0..500 {
        ann.process.write(&format!("line {n}")).await;
    }
    let (out, err, code) = ann.end().await;
    assert_eq!((out, code), (vec![], Some(0)), "own messages are not echoed");
    assert!(!err.iter().any(|line| line.contains("created")), "the room was there: {err:?}");
    for n in 0..500 {
        assert_eq!(bob.out().await, format!("Ann : line {n}"));
    }
    bob.notice("Ann left the chatroom").await;
    let (out, _, code) = bob.end().await;
    assert_eq!((out, code), (vec![], Some(0)));
}

#[tokio::test]
async fn a_room_that_did_not_exist_is_created_and_that_is_said() {
    let server = Server::start(&[]).await;
    let address = server.address();
    let mut ann = Chat::start(&[&address, "--room", "new", "--name", "Ann"]);
    ann.notice("the room 'new' did not exist: it has been created").await;
    assert_eq!(ann.end().await.2, Some(0));
}

#[tokio::test]
async fn commands_are_answered_on_standard_error() {
    let server = Server::start(&[]).await;
    let mut ann = Chat::join(&server, "lobby", "Ann", &[]).await;
    let mut raj = Chat::join(&server, "lobby", "O'Raj", &[]).await;
    ann.notice("O'Raj joined").await;
    raj.process.write("hello").await;
    assert_eq!(ann.out().await, "O'Raj : hello");
    ann.process.write("./members").await;
    ann.notice("['Ann', \"O'Raj\"]").await;
    ann.process.write("./clock").await;
    ann.notice("[0, 1]  Ann, O'Raj").await;
    ann.process.write("./held").await;
    ann.notice("nothing is held back").await;
    ann.process.write("./help").await;
    ann.notice("./leave").await;
    ann.process.write("./leave").await;
    assert_eq!(ann.process.exit().await.code(), Some(0));
    raj.notice("Ann left the chatroom").await;
    assert_eq!(raj.end().await.0, [""; 0], "no command was said to the room");
}

#[tokio::test]
async fn a_line_of_a_pipe_is_said_or_the_exit_code_tells() {
    let server = Server::start(&[]).await;
    let mut bob = Chat::join(&server, "ops", "Bob", &[]).await;
    let mut number = 0;
    let mut pipe = async |args: &[&str], input: &[u8]| {
        number += 1;
        let mut chat = Chat::join(&server, "ops", &format!("Pipe{number}"), args).await;
        chat.process.write_bytes(input).await;
        chat.end().await
    };
    // What reads like a command is one only if it is documented, and alone on its line.
    let log = b"\xef\xbb\xbffirst\r\n./configure failed\n./leave me alone\n/usr/bin/x missing\nlast";
    assert_eq!(pipe(&[], log).await.2, Some(0));
    for line in ["first", "./configure failed", "./leave me alone", "/usr/bin/x missing", "last"] {
        assert_eq!(bob.out().await, format!("Pipe1 : {line}"));
    }
    assert_eq!(pipe(&["--text"], b"./members\n./leave\nlast\n").await.2, Some(0));
    for line in ["./members", "./leave", "last"] {
        assert_eq!(bob.out().await, format!("Pipe2 : {line}"));
    }
    // What cannot be said, and what stands behind the end.
    let long = [&[b'x'; 20_000][..], b"\nnext\n"].concat();
    for (input, why, said) in [
        (&long[..], "not said: ", "next"),
        (b"caf\xe9\nnext\n", "not UTF-8", "next"),
        (b"one\n./leave\n\ntwo\n", "what stands behind ./leave was not said", "one"),
    ] {
        let (_, err, code) = pipe(&[], input).await;
        assert!(err.iter().any(|line| line.contains(why)), "{err:?}");
        assert!(err.iter().any(|line| line.ends_with("lines that were not said: 1")), "{err:?}");
        assert_eq!(code, Some(1));
        assert!(bob.out().await.ends_with(&format!(" : {said}")));
    }
    assert_eq!(pipe(&[], b"one\n./leave\n\n").await.2, Some(0));
}

#[tokio::test]
async fn what_a_chat_has_missed_is_told_as_it_stands() {
    use causerie_client::{Body, Event, RoomOptions};

    let server = Server::start(&[]).await;
    let address = server.address();
    let mut ann = RoomOptions::new(&address, "missed", "Ann").create(true).join().await.unwrap();
    let mut bob = Chat::join(&server, "missed", "Bob", &[]).await;
    let mut said = async |body: Body| {
        let id = ann.send(&body).unwrap().expect("a member");
        let placed = async {
            while !matches!(ann.next_event().await, Some(Event::Placed { id: placed, .. }) if placed == id) {}
        };
        soon("its place", placed).await;
        id
    };
    let seen = said(Body::Text("seen".into())).await;
    assert_eq!(bob.out().await, "Ann : seen");
    bob.process.signal("KILL").await;
    assert!(!bob.process.exit().await.success());
    let secret = said(Body::Text("my password".into())).await;
    let wrong = said(Body::Text("teh".into())).await;
    said(Body::Delete { of: secret, reason: String::new() }).await;
    said(Body::Edit { of: wrong, text: "the".into() }).await;
    said(Body::Edit { of: seen, text: "seen!".into() }).await;
    said(Body::Text("last".into())).await;
    let mut bob = Chat::join(&server, "missed", "Bob", &[]).await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line| line != "Ann : last") {
        heard.push(bob.out().await);
    }
    // What was shown just before it was killed may be shown again, and then as it stands.
    heard.retain(|line| !["Ann : seen", "Ann : seen! (edited)"].contains(&&line[..]));
    assert_eq!(heard[..2], ["Ann : (deleted)", "Ann : the (edited)"], "{heard:?}");
    assert!(!heard.iter().any(|line| line.contains("password") || line.contains("teh")), "{heard:?}");
    assert!(heard.iter().any(|line| line.contains("seen!")), "{heard:?}");
    assert_eq!(bob.end().await.2, Some(0));
}

#[tokio::test]
async fn control_characters_of_others_are_shown_not_obeyed() {
    let server = Server::start(&[]).await;
    let mut bob = Chat::join(&server, "lobby", "Bob", &[]).await;
    let mut ann = Chat::join(&server, "lobby", "Ann", &[]).await;
    ann.process.write("red \x1b[31m bell \x07 right-to-left \u{202e} tab\there é 漢 👩‍👩‍👧").await;
    assert_eq!(bob.out().await, "Ann : red \\x1b[31m bell \\x07 right-to-left \\u202e tab\there é 漢 👩‍👩‍👧");
}

#[tokio::test]
async fn the_dialogue_of_the_original_program() {
    let server = Server::start(&[]).await;
    let port = server.port;
    let mut raj = Chat::start(&[&server.address()]);
    for line in ["./nonsense", "./createRoom"] {
        raj.process.write(line).await;
    }
    assert_eq!(raj.out().await, "Enter command : Please enter correct command");
    let created = raj.out().await;
    let room =
        created.strip_prefix("Enter command : CHATROOM CREATED : ").expect("the words of the original");
    let room: u16 = room.parse().unwrap();
    assert!(room > port);
    let mut bob = Chat::join(&server, &room.to_string(), "Bob", &[]).await;

    raj.process.write("./join").await;
    // No room at the server's own port: the next one is offered.
    raj.process.write(&port.to_string()).await;
    raj.process.write("y").await;
    raj.process.write("bob").await;
    let taken = raj.notice("is taken").await;
    assert!(taken.contains("'bob2' is free"), "{taken}");
    raj.process.write("Raj").await;
    raj.notice("in '").await;
    raj.process.write("hello").await;
    assert_eq!(bob.out().await, "Raj : hello");
    bob.process.write("hi").await;
    let prompts = "Enter command : Enter port of 5 digits: ";
    let offer = format!("No room at port {port}. The next one is {room}: join it? [Y/n] ");
    assert_eq!(raj.out().await, format!("{prompts}{offer}Enter Name : Enter Name : Bob : hi"));
    raj.process.write("./leave").await;
    bob.notice("Raj left the chatroom").await;
    let (out, _, code) = raj.end().await;
    assert_eq!((out, code), (vec!["Enter command : ".to_owned()], Some(0)));
}

#[tokio::test]
async fn a_room_that_is_not_there_is_said_and_the_dialogue_goes_on() {
    let server = Server::start(&[]).await;
    let mut raj = Chat::start(&[&server.address()]);
    for line in ["./join", "nowhere", "./rooms", "./join"] {
        raj.process.write(line).await;
    }
    raj.notice("There is no room 'nowhere'").await;
    assert_eq!(raj.end().await.2, Some(0));
}

#[tokio::test]
async fn failures_are_one_line_and_exit_1_wrong_usage_is_2() {
    let server = Server::start(&[]).await;
    let address = server.address();
    let _ann = Chat::join(&server, "lobby", "Ann", &[]).await;
    let failing: [(&[&str], &str); 4] = [
        (&["chat", &address, "--room", "lobby", "--name", "ann"], "the name 'ann' is taken; 'ann2' is free"),
        (&["chat", &address, "--room", "no room", "--name", "Raj"], "room"),
        (&["chat", "127.0.0.1:1", "--room", "lobby", "--name", "Raj"], "cannot reach 127.0.0.1:1"),
        (&["serve", "--forget", "--listen", &address], "--listen ADDRESS:PORT chooses another"),
    ];
    for (args, words) in failing {
        let output = soon("it fails", causerie().args(args).output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(words), "{said}");
        assert_eq!((said.lines().count(), output.stdout.len()), (1, 0), "{said}");
    }
    let usage: [&[&str]; 3] = [&["chat", "--frobnicate"], &["chat", "--link", "lag=3"], &["dance"]];
    for args in usage {
        let output = soon("it fails", causerie().args(args).output()).await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn a_shell_completes_and_the_manual_is_written() {
    let folder = common::state().with_extension("man");
    let _ = std::fs::remove_dir_all(&folder);
    let output = soon("man", causerie().args(["man", "--dir"]).arg(&folder).output()).await.unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
    for page in ["causerie", "causerie-chat", "causerie-rooms-create", "causerie-completions"] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1"))).expect(page);
        assert!(text.contains(".SH NAME"), "{text}");
    }
    let output = soon("man", causerie().arg("man").output()).await.unwrap();
    assert_eq!(output.stdout, std::fs::read(folder.join("causerie.1")).unwrap());
    let output = soon("it fails", causerie().args(["man", "--dir"]).arg(folder.join("causerie.1")).output());
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("causerie.1"));
    std::fs::remove_dir_all(&folder).unwrap();

    let script = soon("completions", causerie().args(["completions", "bash"]).output()).await.unwrap().stdout;
    let ask = "\nCOMP_WORDS=(causerie chat --pl) COMP_CWORD=2; _causerie causerie --pl chat; echo \"${COMPREPLY[@]}\"";
    let script = String::from_utf8(script).unwrap() + ask;
    let mut bash = tokio::process::Command::new("bash");
    let output = soon("bash", bash.args(["--norc", "-c", &script]).output()).await.expect("bash is there");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "--plain\n");
}

#[tokio::test]
async fn rooms_are_listed_created_closed_and_opened_again() {
    let server = Server::start(&["--operator-token", "sesame"]).await;
    let address = server.address();
    let rooms = async |args: &[&str]| {
        let output = causerie().args(["rooms", "--server", &address]).args(args).output().await.unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    assert_eq!(rooms(&[]).await, (String::new(), Some(0)));
    assert_eq!(rooms(&["create", "lobby"]).await, ("lobby\n".into(), Some(0)));
    assert_eq!(rooms(&["create", "lobby"]).await.1, Some(1));
    assert_eq!(rooms(&["list"]).await.0, "lobby  (0 members)\n");
    let mut ann = Chat::join(&server, "lobby", "Ann", &[]).await;
    assert_eq!(rooms(&["close", "lobby"]).await, (String::new(), Some(0)));
    ann.notice("the room was closed").await;
    assert_eq!(ann.process.exit().await.code(), Some(1));
    assert_eq!(rooms(&["close", "lobby"]).await.1, Some(1));
    // Either of two of one name.
    assert_eq!(rooms(&["create", "lobby"]).await.1, Some(0));
    assert_eq!(rooms(&["close", "lobby"]).await.1, Some(0));
    let operator = ["--operator-token", "sesame"];
    let (closed, _) = rooms(&[&["closed"][..], &operator].concat()).await;
    let numbers: Vec<_> = closed
        .lines()
        .map(|line| line.strip_prefix("lobby  (number ").expect(line).split_once(", closed ").expect(line).0)
        .collect();
    let [older, newer] = numbers[..] else { panic!("{closed}") };
    let open = [&["open", "lobby", "--number", older][..], &operator].concat();
    assert_eq!(rooms(&open).await, (String::new(), Some(0)));
    assert_eq!(rooms(&["list"]).await.0, "lobby  (0 members)\n");
    let (closed, _) = rooms(&[&["closed"][..], &operator].concat()).await;
    assert!(closed.contains(&format!("(number {newer}, ")) && closed.lines().count() == 1, "{closed}");
}

/// On Linux each process has an address of this machine of its own, so that the default port is free there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_a_port_the_default_one_is_meant_everywhere() {
    let [.., a, b] = std::process::id().to_be_bytes();
    let host = format!("127.86.{a}.{b}");
    let server = Server::listening(&host, &["--forget"]).await;
    assert_eq!(server.port, 12343);
    let mut ann = Chat::start(&[&host, "--room", "lobby", "--name", "Ann"]);
    ann.notice("in 'lobby'").await;
    let run = async |args: &[&str]| {
        let output = soon("it ends", causerie().args(args).output()).await.unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {err}");
        out
    };
    assert_eq!(run(&["rooms", &host]).await, "lobby  (1 member)\n");
    assert_eq!(run(&["rooms", &host, "create", "ops"]).await, "ops\n");
    assert_eq!(run(&["rooms", "list", "--server", &host]).await, "lobby  (1 member)\nops  (0 members)\n");
    assert!(run(&["history", "lobby", "--server", &host]).await.ends_with(" * Ann joined\n"));
    assert!(run(&["trace", "lobby", "--server", &host]).await.contains("Ann"));
    let load = ["--seconds", "1", "--warm-up", "0", "--receivers", "2"];
    assert!(run(&[&["bench", "--server", &host][..], &load].concat()).await.contains("lost        0\n"));
    assert_eq!(ann.end().await.2, Some(0));
    // Twice is once too often.
    let twice = causerie().args(["rooms", &host, "--server", &host]).output().await.unwrap();
    assert_eq!(twice.status.code(), Some(2));
}

#[tokio::test]
async fn ctrl_c_ends_a_server_politely_and_its_members_come_back_to_the_next() {
    let mut server = Server::start(&[]).await;
    let address = server.address();
    let mut ann = Chat::join(&server, "lobby", "Ann", &[]).await;
    let mut bob = Chat::join(&server, "lobby", "Bob", &[]).await;
    ann.process.write("before").await;
    assert_eq!(bob.out().await, "Ann : before");
    server.process.signal("INT").await;
    ann.notice("connection lost (the server is shutting down)").await;
    assert_eq!(server.process.exit().await.code(), Some(0));
    // Rooms live in memory: the next server knows nobody. What was said meanwhile is kept and said there.
    ann.process.write("meanwhile").await;
    let mut again = Chat::start(&[]);
    let (send, log) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(["serve", "--forget", "--listen", &address]);
    again.process = Process::start(command, (), send);
    again.said = log;
    ann.notice("joined again").await;
    bob.notice("joined again").await;
    bob.process.write("after").await;
    let mut heard = vec![ann.out().await];
    heard.push(bob.out().await);
    assert_eq!(heard, ["Bob : after", "Ann : meanwhile"]);
    assert_eq!(ann.end().await.2, Some(0));
    assert_eq!(bob.end().await.2, Some(0));
}

#[tokio::test]
async fn ctrl_c_in_a_chat_leaves() {
    let server = Server::start(&[]).await;
    let mut bob = Chat::join(&server, "lobby", "Bob", &[]).await;
    let mut ann = Chat::join(&server, "lobby", "Ann", &[]).await;
    ann.process.write("last words").await;
    assert_eq!(bob.out().await, "Ann : last words");
    ann.process.signal("INT").await;
    assert_eq!(ann.process.exit().await.code(), Some(0));
    bob.notice("Ann left the chatroom").await;
}
