//! `causerie man` and `causerie completions`: what is installed beside the program, made from the definitions that read
//! its command line, so that it cannot lack anything.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Write the manual: a page for each command.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The folder to write all pages to, such as /usr/local/share/man/man1; it is made if it does not exist. Without it
    /// the first page goes to standard output.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Print what lets a shell complete commands and flags with TAB.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &ManArgs, command: Command) -> anyhow::Result<()> {
    let command = whole(command);
    match &args.dir {
        Some(dir) => write_all(&command, dir),
        None => print(&page(&command)?),
    }
}

pub(crate) fn completions(args: &CompletionsArgs, command: Command) -> anyhow::Result<()> {
    print(&script(args.shell, command))
}

fn script(shell: Shell, mut command: Command) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command, "causerie", &mut out);
    out
}

/// Returns it with full names of the commands. None has a `help` of its own: `--help` says the same, and a page would be empty.
fn whole(command: Command) -> Command {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    command
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Man::new(command.clone()).render(&mut out)?;
    Ok(out)
}

fn write_all(command: &Command, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
    for command in pages(command) {
        let file = dir.join(format!("{}.1", name(command)));
        fs::write(&file, page(command)?).with_context(|| format!("{}", file.display()))?;
    }
    Ok(())
}

/// A command, and all that are part of it.
fn pages(command: &Command) -> Vec<&Command> {
    let mut all = vec![command];
    all.extend(command.get_subcommands().flat_map(pages));
    all
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

/// A reader who has seen enough is no failure.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, ValueEnum as _};

    use super::*;
    use crate::Cli;

    #[test]
    fn every_command_has_a_page_with_all_its_flags() {
        let command = whole(Cli::command());
        let names: Vec<_> = pages(&command).into_iter().map(name).collect();
        for wanted in
            ["causerie", "causerie-serve", "causerie-chat", "causerie-rooms-list", "causerie-store-backup"]
        {
            assert!(names.contains(&wanted), "{wanted} is not in {names:?}");
        }
        assert!(!names.iter().any(|name| name.ends_with("help")), "{names:?}");
        let mut flags = 0;
        for command in pages(&command) {
            let page = String::from_utf8(page(command).expect("memory")).expect("UTF-8");
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long() else { continue };
                flags += 1;
                let written = format!("--{long}").replace('-', "\\-");
                assert!(page.contains(&written), "{}: --{long}", name(command));
            }
            for part in command.get_subcommands() {
                let written = format!("{}(1)", name(part)).replace('-', "\\-");
                assert!(page.contains(&written), "{} does not lead to {written}", name(command));
            }
        }
        assert!(flags > 80, "{flags} flags");
    }

    #[test]
    fn every_shell_completes_every_command_and_flag() {
        let command = whole(Cli::command());
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell, Cli::command())).expect("UTF-8");
            for command in pages(&command) {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
                for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                    let flag = if *shell == Shell::Fish { format!("-l {long}") } else { format!("--{long}") };
                    assert!(script.contains(&flag), "{shell}: {}: {flag}", name(command));
                }
            }
        }
    }
}
