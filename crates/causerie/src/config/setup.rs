//! The settings of the full-screen client: flags come before the environment, that before the configuration file. Whoever
//! has none of them is asked for server and name, and the answers are kept in the file.

use std::env;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use causerie_client::private;
use causerie_core::content::name::{Name, RoomName};
use causerie_core::content::text::visible;
use clap::{Arg, Args, Command, FromArgMatches as _};

use super::chat::{ChatArgs, HEADING};
use super::file::{SettingKind, UsageError, name, read_file, wrapped};
use crate::address::DEFAULT_SERVER;

/// Characters of the longest name that any server may allow.
const NAME_CHARS_MAX: usize = 1_000;

pub(crate) fn command() -> Command {
    ChatArgs::augment_args(Command::new("causerie chat"))
}

fn settings(command: &Command) -> Vec<&Arg> {
    command.get_arguments().filter(|arg| arg.get_help_heading() == Some(HEADING)).collect()
}

fn default_file() -> Option<PathBuf> {
    Some(directories::ProjectDirs::from("", "", "causerie")?.config_dir().join("chat.toml"))
}

/// Returns the name that one has on this machine.
pub(crate) fn own_name() -> String {
    let name = ["USER", "USERNAME"].into_iter().find_map(|variable| env::var(variable).ok());
    name.filter(|name| check_name(name).is_ok()).unwrap_or_else(|| "guest".into())
}

/// Adds what the file has, and what is answered; and what is to be told of it. `None`: nobody wants to answer.
pub(crate) fn complete(args: ChatArgs, cli: Command) -> anyhow::Result<Option<(ChatArgs, Vec<String>)>> {
    let is_chosen = args.config.is_some();
    let Some(file) = args.config.clone().or_else(default_file) else {
        return with_answers(args, None);
    };
    match file.try_exists() {
        Ok(true) => Ok(Some((with_file(&file, cli)?, Vec::new()))),
        Ok(false) if is_chosen && (args.settings.server.is_some() || args.settings.name.is_some()) => {
            Err(UsageError(format!("{}: there is no such file", file.display())).into())
        }
        Ok(false) => with_answers(args, Some(&file)),
        Err(error) if is_chosen => Err(UsageError(format!("{}: {error}", file.display())).into()),
        Err(error) => {
            let note = format!("{} cannot be read: {error}", file.display());
            Ok(with_answers(args, None)?.map(|(args, mut notes)| {
                notes.insert(0, note);
                (args, notes)
            }))
        }
    }
}

/// The program's arguments once more, with the file's values as defaults.
fn with_file(file: &Path, mut cli: Command) -> anyhow::Result<ChatArgs> {
    let command = command();
    let shows_all = "causerie chat --help shows all";
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    for (id, value, line) in read_file(file, &settings(&command), shows_all)? {
        let checked = match &id[..] {
            "server" => check_server(&value),
            "name" => check_name(&value),
            "room" => RoomName::parse(&value).map(drop).map_err(|error| error.to_string()),
            _ => Ok(()),
        };
        checked.map_err(|why| UsageError(format!("{}:{line}: {id}: {why}", file.display())))?;
        // That is the environment, which comes before the file.
        if id == "theme" && no_color {
            continue;
        }
        cli = cli.mut_subcommand("chat", |chat| chat.mut_arg(id, |arg| arg.default_value(value)));
    }
    let matches =
        cli.try_get_matches().map_err(|error| UsageError(error.to_string().trim_end().to_owned()))?;
    let chat = matches.subcommand_matches("chat").expect("it was read so before");
    ChatArgs::from_arg_matches(chat).map_err(|error| UsageError(error.to_string()).into())
}

fn with_answers(mut args: ChatArgs, file: Option<&Path>) -> anyhow::Result<Option<(ChatArgs, Vec<String>)>> {
    if args.settings.server.is_some() || args.settings.name.is_some() {
        return Ok(Some((args, Vec::new())));
    }
    println!("Two questions, this first time. Enter takes what stands in brackets.");
    let mut input = io::stdin().lock();
    let Some(server) = ask(&mut input, "Server", DEFAULT_SERVER, check_server)? else { return Ok(None) };
    let Some(name) = ask(&mut input, "Your name", &own_name(), check_name)? else { return Ok(None) };
    let note = match file.map(|file| (file, keep(file, &to_file(&command(), &server, &name)))) {
        Some((file, Ok(()))) => {
            format!("your answers are in {}, with more that can be set", file.display())
        }
        Some((file, Err(error))) => {
            format!("your answers cannot be kept in {}: {error}; you will be asked again", file.display())
        }
        None => "there is no folder to keep your answers in: you will be asked again".into(),
    };
    (args.settings.server, args.settings.name) = (Some(server), Some(name));
    Ok(Some((args, vec![note])))
}

fn check_server(server: &str) -> Result<(), String> {
    match server.is_empty() || server.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err("it is a host, or a host and a port: chat.example.org:12343".into()),
        false => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    Name::parse(name, NAME_CHARS_MAX).map(drop).map_err(|error| error.to_string())
}

/// Asks until the answer is possible; `None` at the end of input.
fn ask(
    input: &mut impl BufRead,
    question: &str,
    default: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> anyhow::Result<Option<String>> {
    loop {
        print!("{question} [{default}]: ");
        io::stdout().flush()?;
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).map_err(|error| anyhow!("cannot read the answer: {error}"))?
            == 0
        {
            println!();
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let answer = if line.trim().is_empty() { default } else { line.trim() };
        match check(answer) {
            Ok(()) => return Ok(Some(answer.into())),
            Err(why) => println!("'{}' is not possible: {why}", visible(answer)),
        }
    }
}

/// Writes a file, never over another one, and never half of it.
fn keep(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        private::create_folder(folder)?;
    }
    let beside = file.with_extension(format!("toml-{}", std::process::id()));
    let kept =
        private::create(&beside).and_then(|mut new| new.write_all(text.as_bytes())).and_then(|()| match file
            .try_exists(
        )? {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => fs::rename(&beside, file),
        });
    if kept.is_err() {
        let _ = fs::remove_file(&beside);
    }
    kept
}

/// A file with these two, and with all else that can be set as comments.
fn to_file(command: &Command, server: &str, user: &str) -> String {
    let mut out = String::from(
        "# The configuration of `causerie chat` on the full screen. A flag counts before the environment (CAUSERIE_ and the\n\
         # name in capitals, with _ for -), that before this file, and that before the defaults, which are commented out.\n",
    );
    for arg in settings(command) {
        let (name, kind) = (name(arg), SettingKind::of(arg));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let possible: Vec<_> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        let choice = if possible.is_empty() { String::new() } else { format!(" ({})", possible.join(", ")) };
        out.push('\n');
        out.push_str(&wrapped(&format!("{}{choice}.", help.trim_end_matches('.'))));
        let default = arg.get_default_values().first().map(|value| kind.write(&value.to_string_lossy()));
        let line = match name {
            "server" => format!("server = {}\n", kind.write(server)),
            "name" => format!("name = {}\n", kind.write(user)),
            _ => format!("#{name} = {}\n", default.unwrap_or_default()).replace(" \n", "\n"),
        };
        out.push_str(&line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_documented_and_has_one_name_in_all_places() {
        let command = command();
        command.clone().debug_assert();
        assert!(settings(&command).len() > 5);
        for arg in settings(&command) {
            let name = name(arg);
            assert!(arg.get_help().is_some_and(|help| help.to_string().len() > 10), "{name}");
            assert_eq!(arg.get_id().as_str().replace('_', "-"), name);
            let variable = format!("CAUSERIE_{}", name.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(std::ffi::OsStr::to_str), Some(&variable[..]));
        }
    }

    #[test]
    fn what_is_kept_is_read_and_has_every_setting() {
        let folder = env::temp_dir().join(format!("causerie-setup-{}", std::process::id()));
        let file = folder.join("deep/chat.toml");
        let command = command();
        keep(&file, &to_file(&command, "chat.example.org", "Ann \"O'\\")).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let read = |file: &Path| read_file(file, &settings(&command), "").unwrap();
        let found: Vec<_> = read(&file).into_iter().map(|(id, value, _)| (id, value)).collect();
        let expected = [("name", "Ann \"O'\\"), ("server", "chat.example.org")];
        assert_eq!(found, expected.map(|(id, value)| (id.to_owned(), value.to_owned())));
        for arg in settings(&command) {
            let name = name(arg);
            assert!(
                text.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{name} ="))),
                "{text}"
            );
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        assert!(keep(&file, "other").is_err(), "what is there stays");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        // With each default in force it is a configuration as well.
        let (heading, rest) = text.split_once("\n\n").unwrap();
        let lines = rest.lines().filter_map(|line| match line.strip_prefix('#') {
            Some(set) if !set.starts_with(' ') => (!set.ends_with('=')).then_some(set),
            _ => Some(line),
        });
        fs::write(&file, [heading].into_iter().chain(lines).collect::<Vec<_>>().join("\n")).unwrap();
        assert!(read(&file).len() > 4);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn it_is_asked_until_the_answer_is_possible() {
        let answer = |typed: &str| ask(&mut typed.as_bytes(), "Your name", "ann", check_name).unwrap();
        assert_eq!(answer("\n").as_deref(), Some("ann"));
        assert_eq!(answer(" Bob \n").as_deref(), Some("Bob"));
        assert_eq!(answer("a\x1bb\nBob\n").as_deref(), Some("Bob"));
        assert_eq!(answer(""), None);
        assert_eq!(answer("a : b\n"), None);
    }
}
