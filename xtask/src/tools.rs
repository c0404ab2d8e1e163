//! What steps share that run programs of others.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use crate::outcome::Outcome;

/// Runs a command to its end, and says which.
pub(crate) fn call(command: &mut Command) -> Result<(), ExitCode> {
    eprintln!("$ {command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            eprintln!("xtask: failed ({status}): {command:?}");
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Err(code.map_or(ExitCode::FAILURE, ExitCode::from))
        }
        Err(error) => {
            eprintln!("xtask: {command:?} does not start: {error}");
            Err(ExitCode::FAILURE)
        }
    }
}

/// Whether it starts.
pub(crate) fn is_there(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

/// Runs a program in `xtask/programs` with ours, which needs these others: what they are called, and what they say of
/// themselves when asked so. Or what of them is missing.
pub(crate) fn python(root: &Path, program: &str, others: &[(&str, &str)]) -> Outcome {
    if let Some((missing, _)) =
        [("python3", "--version")].iter().chain(others).find(|(p, arg)| !is_there(p, arg))
    {
        return Outcome::Skipped(format!("{missing} is missing"));
    }
    // -B: nothing is written beside the sources.
    let run = |causerie| {
        let mut python = Command::new("python3");
        python.args(["-B", program]).arg(causerie).current_dir(root.join("xtask/programs"));
        call(&mut python)
    };
    match causerie(root).and_then(run) {
        Ok(()) => Outcome::Passed,
        Err(code) => Outcome::Failed(code),
    }
}

/// Calls `install` unless that has been done for this list of what is wanted, as `stamp` tells.
pub(crate) fn once_for(
    list: &Path,
    stamp: &Path,
    install: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let wanted = fs::read(list).map_err(|error| format!("{}: {error}", list.display()))?;
    if fs::read(stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// Where cargo puts what it builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target))
}

/// Builds the program under test, and tells where it is.
pub(crate) fn causerie(root: &Path) -> Result<PathBuf, ExitCode> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // As for the tests, whose packages and features these are, so that nothing is built again.
    let build = ["test", "--workspace", "--all-features", "--locked", "--test", "cli", "--no-run"];
    call(Command::new(cargo).args(build).current_dir(root))?;
    Ok(target(root).join("debug/causerie"))
}
