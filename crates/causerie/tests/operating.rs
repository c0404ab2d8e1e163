//! Work of an operator: configure, reload, stop, and run it as a service.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Process, Said, Server, causerie, causerie_with, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::mpsc;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("causerie-operating-{}-{n}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the project.
fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn serve(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = causerie();
    command.arg("serve").args(args).envs(variables.iter().copied());
    soon("it ends", command.output()).await.unwrap()
}

async fn configuration(args: &[&str], variables: &[(&str, &str)]) -> String {
    let printed = serve(&[&["--print-config"], args].concat(), variables).await;
    let error = String::from_utf8_lossy(&printed.stderr).into_owned();
    assert_eq!((printed.status.code(), &error[..]), (Some(0), ""));
    String::from_utf8(printed.stdout).unwrap()
}

/// It must end with 2 and say this, in one line.
async fn is_refused(args: &[&str], variables: &[(&str, &str)], words: &str) {
    let output = serve(args, variables).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args:?}: {said}");
    assert!(said.contains(words), "{words}\nis not what it says:\n{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn the_example_is_what_the_program_prints_and_reads() {
    let printed = configuration(&[], &[]).await;
    assert_eq!(
        printed,
        packaged("packaging/causerie.toml"),
        "causerie serve --print-config > packaging/causerie.toml makes it again"
    );
    // With every default written out it says the same.
    let folder = Folder::new();
    let given: Vec<_> = printed
        .lines()
        .filter(|line| line.contains(" = ") && line.starts_with('#') && !line.starts_with("# "))
        .map(|line| &line[1..])
        .filter(|line| !line.contains("(not shown)"))
        .collect();
    assert!(given.len() > 10, "{printed}");
    let file = folder.write("config.toml", &given.join("\n"));
    let again = configuration(&["--config", &file], &[]).await;
    for line in given {
        assert!(again.lines().any(|other| other == line), "{line} is not in\n{again}");
    }
    // And what it prints then it reads again.
    let file = folder.write("again.toml", &again);
    let values = |text: &str| text.lines().filter(|l| !l.starts_with("# ")).collect::<Vec<_>>().join("\n");
    assert_eq!(values(&configuration(&["--config", &file], &[]).await), values(&again));
}

#[tokio::test]
async fn flags_come_before_the_environment_and_that_before_the_file() {
    let folder = Folder::new();
    let file = folder.write("config.toml", "# mine\nhistory = 1\ngrace = 1\nname-max = 1\n");
    let variables = [("CAUSERIE_HISTORY", "2"), ("CAUSERIE_GRACE", "2")];
    let printed = configuration(&["--config", &file, "--history", "3"], &variables).await;
    for line in ["history = 3", "grace = 2", "name-max = 1", "#rooms-max = 1000"] {
        assert!(printed.lines().any(|other| other == line), "{line} is not in\n{printed}");
    }
    assert!(printed.contains("config.toml:4."), "where it comes from is told:\n{printed}");

    // Of two that exclude each other the closer one counts.
    let file = folder.write("kept.toml", "data = \"/kept\"\n");
    let printed = configuration(&["--config", &file, "--forget"], &[]).await;
    assert!(printed.contains("\nforget = true\n") && printed.contains("\n#data =\n"), "{printed}");
    let file = folder.write("forgotten.toml", "forget = true\n");
    let printed = configuration(&["--config", &file], &[("CAUSERIE_DATA", "/kept")]).await;
    assert!(printed.contains("\n#forget = false\n") && printed.contains("\ndata = \"/kept\"\n"), "{printed}");
    let args = ["--data", "/kept", "--forget"];
    is_refused(&args, &[], "forget and data exclude each other").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_file_in_the_usual_place_is_read() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("causerie")).unwrap();
    folder.write("causerie/config.toml", "history = 7\n");
    let mut command = causerie();
    command.args(["serve", "--print-config"]).env_remove("CAUSERIE_CONFIG").env("XDG_CONFIG_HOME", &folder.0);
    let printed = soon("it ends", command.output()).await.unwrap();
    assert!(String::from_utf8(printed.stdout).unwrap().contains("\nhistory = 7\n"));
}

#[tokio::test]
async fn mistakes_are_told_with_file_and_line_and_exit_2() {
    let folder = Folder::new();
    let wrong = [
        ("\nhistoy = 1", ":2: there is no setting 'histoy'"),
        ("rooms_max = 1", ":1: there is no setting 'rooms_max', but there is 'rooms-max'"),
        ("config = 'x'", ":1: there is no setting 'config'"),
        ("[limits]\nhistory = 1", ":1: there is no setting 'limits'"),
        ("grace = 1\nhistory = 'many'", ":2: history: it must be a whole number, not a string"),
        ("history = 1.5", ":1: history: it must be a whole number, not a float"),
        ("history = -1", ":1: history: '-1' is not possible"),
        ("rooms-max = 0", ":1: rooms-max: '0' is not possible: 0 is not in 1.."),
        ("forget = 'yes'", ":1: forget: it must be true or false, not a string"),
        ("data = 1", ":1: data: it must be a string, not an integer"),
        (
            "listen = 'here'",
            ":1: listen: 'here' is not possible: it is an address, or an address and a port: 0.0.0.0:12343",
        ),
        ("log = 'inof'", ":1: log: 'inof' is not possible: 'inof' is neither off"),
        ("log-format = 'xml'", ":1: log-format: 'xml' is not possible: it can be text or json"),
        ("history = 1\nhistory = 2", ":2: duplicate key"),
        ("history 1", ":1: "),
        ("operator-token = ''", ":1: operator-token: "),
        ("operator-token-file = '/nonexistent/token'", "operator-token-file: /nonexistent/token: "),
        ("operator-token = 'a'\noperator-token-file = 'b'", "exclude each other"),
    ];
    for (text, words) in wrong {
        let file = folder.write("config.toml", text);
        let words = if words.starts_with(':') { format!("{file}{words}") } else { words.to_owned() };
        is_refused(&["--config", &file], &[], &words).await;
    }
    is_refused(&["--config", "/nonexistent/config.toml"], &[], "/nonexistent/config.toml: ").await;
    is_refused(&["--config", "/"], &[], "/: ").await;
    let file = folder.write("latin1.toml", "");
    fs::write(&file, b"data = '\xe9'").unwrap();
    is_refused(&["--config", &file], &[], "UTF-8").await;
    let variables = [("CAUSERIE_HISTORY", "many")];
    is_refused(&[], &variables, "CAUSERIE_HISTORY: 'many' is not possible: invalid digit").await;
    let empty = folder.write("token", "\n");
    is_refused(&["--operator-token-file", &empty], &[], "it is empty").await;
}

#[tokio::test]
async fn secrets_are_never_printed() {
    let folder = Folder::new();
    let file = folder.write("config.toml", "operator-token = \"sesame\"\n");
    let token = folder.write("token", "sesame\n");
    let printed = [
        configuration(&["--config", &file], &[]).await,
        configuration(&["--operator-token", "sesame"], &[]).await,
        configuration(&[], &[("CAUSERIE_OPERATOR_TOKEN", "sesame")]).await,
        configuration(&["--operator-token-file", &token], &[]).await,
    ];
    for text in printed {
        assert!(!text.contains("sesame"), "{text}");
        let again = folder.write("again.toml", &text);
        configuration(&["--config", &again], &[]).await;
    }
}

async fn closes(server: &Server, room: &str, token: &str) -> bool {
    let mut command = causerie();
    command.args(["rooms", "--server", &server.address(), "close", room]);
    let output = command.env("CAUSERIE_OPERATOR_TOKEN", token).output().await.unwrap();
    output.status.success()
}

#[tokio::test]
async fn sighup_reads_the_configuration_again() {
    let folder = Folder::new();
    let token = folder.write("token", "old");
    let text = |more: &str| format!("operator-token-file = \"{token}\"\n{more}");
    let file = folder.write("config.toml", &text("log = \"info\"\nhistory = 5\n"));
    let mut server = Server::start(&["--config", &file, "--rooms-max", "2"]).await;
    let address = server.address();
    let mut create = causerie();
    create.args(["rooms", "--server", &address, "create", "lobby"]);
    assert!(create.status().await.unwrap().success());

    // Flags stay before the file.
    folder.write("config.toml", &text("log = \"debug\"\nhistory = 6\nrooms-max = 9\nmembers-max = 9\n"));
    server.process.signal("HUP").await;
    server.logged("the configuration was read again: 2 settings have changed").await;
    server.logged("history is now 6").await;
    server.logged("log is now debug").await;
    server.logged("members-max has changed, which counts from the next start on").await;

    folder.write("config.toml", &text("history = \"six\"\n"));
    server.process.signal("HUP").await;
    let said = server.logged("the configuration stays as it was").await;
    assert!(said.contains("config.toml:2: history: it must be a whole number, not a string"), "{said}");

    // A secret that has changed in its file.
    folder.write("config.toml", &text("log = \"debug\"\nhistory = 6\n"));
    folder.write("token", "new");
    server.process.signal("HUP").await;
    server.logged("the operator's token is another").await;
    assert!(closes(&server, "lobby", "new").await);

    server.process.signal("TERM").await;
    // Which it does at debug level only.
    server.logged("counted in this run").await;
    assert_eq!(server.process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn logs_as_json_are_objects_with_the_same_words() {
    let mut server = Server::start(&["--log-format", "json"]).await;
    let line = server.logged("Server is listening").await;
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["message"], "Server is listening");
    assert_eq!(object["level"], "INFO");
    assert!(object["timestamp"].is_string() && object["target"].is_string(), "{line}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_ends_nothing() {
    let mut command = causerie();
    command.args(["serve", "--listen", "127.0.0.1:0", "--forget"]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(server.stderr.take());
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let welcome = soon("a welcome", lines.next_line()).await.unwrap().unwrap();
    let address = welcome.trim_end_matches('.').rsplit(' ').next().unwrap();
    let mut create = causerie();
    create.args(["rooms", "--server", address, "create", "lobby"]);
    assert!(create.status().await.unwrap().success());
    let killed = Command::new("kill").args(["-TERM", &server.id().unwrap().to_string()]).status().await;
    assert!(killed.unwrap().success());
    assert_eq!(soon("it ends", server.wait()).await.unwrap().code(), Some(0));
}

/// A member that reads nothing.
async fn who_does_not_read(room: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", room)).await.unwrap();
    stream.write_all(b"Sloth\n").await.unwrap();
    stream
}

#[tokio::test]
async fn the_end_waits_for_who_does_not_read_until_it_is_told_again_and_keeps_what_was_said() {
    const MESSAGES: usize = 1_500;
    let folder = Folder::new();
    let data = folder.0.join("data");
    let data = data.to_str().unwrap();
    // Longer than the test may take.
    let args = ["--data", data, "--drain", "86400"];
    let mut server = Server::listening("127.0.0.1:0", &args).await;
    let address = server.address();
    let mut create = causerie();
    create.args(["rooms", "--server", &address, "create"]);
    let created = create.output().await.unwrap();
    let room = String::from_utf8(created.stdout).unwrap().trim().to_owned();
    let sloth = who_does_not_read(room.parse().unwrap()).await;

    let (said, mut heard) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(["chat", &address, "--room", &room, "--name", "Ann"]);
    let mut ann = Process::start(command, (), said);
    soon("Sloth is in", async {
        loop {
            match heard.recv().await {
                Some((_, Said::Err(line))) if line.contains("Sloth") => break,
                Some(_) => {}
                None => panic!("Ann has ended"),
            }
        }
    })
    .await;
    // More than sockets hold.
    let text = "x".repeat(16_000);
    for _ in 0..MESSAGES {
        ann.write(&text).await;
    }
    ann.stdin = None;
    assert_eq!(ann.exit().await.code(), Some(0), "all of it has come back");

    server.process.signal("TERM").await;
    server.logged("shutting down; 1 connections have 86400 s").await;
    soon("nobody is accepted", async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(server.process.child.try_wait().unwrap().is_none(), "it waits");
    server.process.signal("TERM").await;
    server.logged("1 connections did not end in time").await;
    assert_eq!(server.process.exit().await.code(), Some(0));
    drop(sloth);

    let server = Server::listening("127.0.0.1:0", &["--data", data]).await;
    let mut history = causerie();
    history.args(["history", &room, "--server", &server.address(), "--json", "--limit", "100000"]);
    let output = soon("it ends", history.output()).await.unwrap();
    let history = String::from_utf8(output.stdout).unwrap();
    assert_eq!(history.lines().filter(|line| line.contains(&text)).count(), MESSAGES);
}

#[tokio::test]
async fn who_reads_at_the_end_gets_everything_and_is_told() {
    const MESSAGES: usize = 1_500;
    let mut server = Server::start(&["--drain", "86400"]).await;
    let address = server.address();
    let mut create = causerie();
    create.args(["rooms", "--server", &address, "create"]);
    let created = create.output().await.unwrap();
    let room = String::from_utf8(created.stdout).unwrap().trim().to_owned();
    let mut reader = who_does_not_read(room.parse().unwrap()).await;
    let (said, _heard) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(["chat", &address, "--room", &room, "--name", "Ann"]);
    let mut ann = Process::start(command, (), said);
    let text = "x".repeat(16_000);
    for _ in 0..MESSAGES {
        ann.write(&text).await;
    }
    ann.stdin = None;
    assert_eq!(ann.exit().await.code(), Some(0));
    server.process.signal("TERM").await;
    server.logged("shutting down").await;
    let mut all = Vec::new();
    soon("the server says its last word", reader.read_to_end(&mut all)).await.unwrap();
    let all = String::from_utf8(all).unwrap();
    assert_eq!(all.lines().filter(|line| line.ends_with(&text)).count(), MESSAGES);
    assert!(all.trim_end().ends_with("The server is shutting down"));
    assert_eq!(server.process.exit().await.code(), Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_service_manager_is_told() {
    let folder = Folder::new();
    let path = folder.0.join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let said = async || {
        let mut buffer = [0; 1024];
        let length = soon("a notice", socket.recv(&mut buffer)).await.unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let (send, _log) = mpsc::unbounded_channel();
    let mut command = causerie();
    command.args(["serve", "--listen", "127.0.0.1:0", "--forget"]).env("NOTIFY_SOCKET", &path);
    let mut server = Process::start(command, (), send);
    assert_eq!(said().await.trim(), "READY=1");
    server.signal("HUP").await;
    let reloading = said().await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(said().await.trim(), "READY=1");
    server.signal("TERM").await;
    assert_eq!(said().await.trim(), "STOPPING=1");
    assert_eq!(server.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_unit_starts_the_program_as_it_is() {
    let unit = packaged("packaging/causerie.service");
    let line = |key: &str| {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        lines.next().unwrap_or_else(|| panic!("no {key}"))
    };
    let mut words = line("ExecStart").split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/causerie"));
    let folder = Folder::new();
    let file = folder.write("config.toml", &packaged("packaging/causerie.toml"));
    let args: Vec<_> =
        words.map(|word| if word == "/etc/causerie/config.toml" { &file } else { word }).collect();
    assert_eq!(args.first(), Some(&"serve"));
    let variables: Vec<_> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
        .map(|(name, value)| (name, value.replace("%S", "/var/lib")))
        .collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &value[..])).collect();
    let printed = configuration(&[&args[1..], &[]].concat(), &variables).await;
    assert!(printed.contains("\ndata = \"/var/lib/causerie\"\n"), "{printed}");
    let drain: u64 =
        printed.lines().find_map(|line| line.strip_prefix("#drain = ")).unwrap().parse().unwrap();
    assert!(line("TimeoutStopSec").parse::<u64>().unwrap() > drain);

    // systemd's own opinion. It wants to see the program.
    let here = unit.replace("/usr/local/bin/causerie", env!("CARGO_BIN_EXE_causerie"));
    let path = folder.write("causerie.service", &here);
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no", &path]).output();
    match verified.await {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let about: Vec<_> = said.lines().filter(|line| line.contains("causerie.service")).collect();
            assert!(output.status.success() && about.is_empty(), "{said}");
        }
        Err(error) => println!("SKIPPED: systemd has not looked at the unit: systemd-analyze: {error}"),
    }
}

#[tokio::test]
async fn the_container_uses_what_there_is() {
    let text = packaged("packaging/Containerfile").replace("\\\n", " ");
    let all =
        |word: &str| text.lines().filter_map(|l| l.strip_prefix(word)?.strip_prefix(' ')).collect::<Vec<_>>();
    let one = |word: &str| match &all(word)[..] {
        [only] => *only,
        other => panic!("{word}: {other:?}"),
    };
    // With the Rust that the packages name, as the README has it.
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(all("FROM")[0].contains(&format!("rust:{rust}-")), "{text}");
    assert!(packaged("README.md").contains(&format!("a Rust toolchain ({rust} or later)")));
    let words = |line: &str| serde_json::from_str::<Vec<String>>(line).unwrap();

    // The last stage has the program where it is called, and its own user.
    let copied = all("COPY");
    let program = copied.last().unwrap().rsplit(' ').next().unwrap();
    assert!(copied.last().unwrap().starts_with("--from=build /src/target/release/causerie "));
    assert!(one("ENTRYPOINT").contains(program) && one("HEALTHCHECK").contains(program));
    let user = one("USER");
    assert!(user != "root" && all("RUN").iter().any(|run| run.contains(&format!("nologin {user}"))));

    // What it builds, and with which compiler.
    let manifest = packaged("Cargo.toml");
    let required =
        manifest.lines().find_map(|l| l.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(all("FROM")[0].contains(&format!("/rust:{required}-")), "{:?}", all("FROM"));
    assert!(all("RUN").iter().any(|run| run.contains("--locked --package causerie")));

    // The program knows the settings and the flags.
    let variables: Vec<_> = all("ENV").into_iter().filter_map(|line| line.split_once('=')).collect();
    let mut command = words(one("CMD"));
    assert_eq!(command.remove(0), "serve");
    let args: Vec<_> = command.iter().map(|word| &word[..]).collect();
    let printed = configuration(&args, &variables).await;
    for (name, value) in &variables {
        let name = name.strip_prefix("CAUSERIE_").unwrap().to_lowercase().replace('_', "-");
        assert!(printed.contains(&format!("\n{name} = \"{value}\"\n")), "{name} is not in\n{printed}");
    }
    let (_, data) = variables.iter().find(|(name, _)| *name == "CAUSERIE_DATA").unwrap();
    assert_eq!(one("VOLUME"), *data);
    let (_, listen) = variables.iter().find(|(name, _)| *name == "CAUSERIE_LISTEN").unwrap();
    assert_eq!(listen.rsplit(':').next(), Some(one("EXPOSE")));

    // The question after its health, asked of a server that is well and of none.
    let mut server = Server::start(&[]).await;
    let question = words(one("HEALTHCHECK").split_once("CMD ").unwrap().1);
    let asked = format!("127.0.0.1:{}", one("EXPOSE"));
    assert!(question.contains(&asked), "{question:?}");
    let ask = async |address: &str| {
        let mut command = causerie();
        command.args(question[1..].iter().map(|word| if *word == asked { address } else { word }));
        soon("an answer", command.output()).await.unwrap().status.code()
    };
    assert_eq!(ask(&server.address()).await, Some(0));
    server.process.signal("TERM").await;
    server.process.exit().await;
    assert_eq!(ask(&server.address()).await, Some(1));
}

/// Names and rights of what is in a folder, and the folder's own.
fn rights(folder: &Path) -> Vec<(String, u32)> {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut found = vec![(".".to_owned(), mode(folder))];
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        found.push((entry.file_name().into_string().unwrap(), mode(&entry.path())));
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_a_server_keeps_is_its_owners_and_after_a_stop_two_files() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let path = data.to_str().unwrap();
    // Where everything that is made may be read and written by all.
    let mut command = causerie_with("umask 000");
    command.args(["serve", "--listen", "127.0.0.1:0", "--data", path]);
    let mut server = Server::of(command).await;
    let room = causerie_client::RoomOptions::new(&server.address(), "lobby", "Ann").create(true).join();
    soon("Ann is in", room).await.unwrap();
    let of =
        |mode: u32, names: &[&str]| names.iter().map(|name| ((*name).to_owned(), mode)).collect::<Vec<_>>();
    let files = ["causerie-blocks.db", "causerie.db"];
    let mut running: Vec<_> =
        files.iter().flat_map(|f| [f.to_string(), format!("{f}-shm"), format!("{f}-wal")]).collect();
    running.extend(["control.sock".into(), "lock".into()]);
    let running = of(0o600, &running.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(rights(&data), [of(0o700, &["."]), running].concat());
    server.process.signal("TERM").await;
    assert_eq!(server.process.exit().await.code(), Some(0));
    let stopped = [of(0o700, &["."]), of(0o600, &files), of(0o600, &["lock"])].concat();
    assert_eq!(rights(&data), stopped);

    // What a newer version has written is refused, and systemd does not try again.
    let file = data.join("causerie.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&file, bytes).unwrap();
    for command in
        [&["serve", "--listen", "127.0.0.1:0", "--data", path][..], &["store", "check", "--data", path]]
    {
        let output = soon("it ends", causerie().args(command).output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("format 99") && said.contains("use the newer program"), "{said}");
    }
    assert!(packaged("packaging/causerie.service").lines().any(|line| line == "RestartPreventExitStatus=2"));
}

/// A server that may have so many files open.
#[cfg(target_os = "linux")]
fn limited(files: &str) -> Command {
    let mut command = causerie_with(&format!("ulimit {files}"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--forget"]);
    command
}

/// The soft and the hard limit of open files of a process.
#[cfg(target_os = "linux")]
fn open_files(pid: &str) -> (String, String) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn as_many_files_may_be_open_as_the_system_lets_it() {
    let server = Server::of(limited("-S -n 100")).await;
    let (soft, hard) = open_files(&server.process.pid.to_string());
    assert_eq!((&soft, &hard), (&hard, &open_files("self").1));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_comes_when_no_more_files_may_be_open_gets_in_once_others_have_left() {
    let mut server = Server::of(limited("-n 64")).await;
    // It says so at the start, which was passed over while it was waited for, and whenever it is configured again.
    server.process.signal("HUP").await;
    server.logged("lets this process open 64 files, which is not enough for connections-max = 20000").await;
    let mut others = Vec::new();
    for _ in 0..80 {
        others.push(soon("the system takes it", TcpStream::connect(server.address())).await.unwrap());
    }
    server.logged("cannot accept connections: Too many open files").await;
    let mut late = TcpStream::connect(server.address()).await.unwrap();
    late.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    drop(others);
    let mut told = String::new();
    soon("an answer", late.read_to_string(&mut told)).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 204 "), "{told}");
}
