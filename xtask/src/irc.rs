//! Has irssi and WeeChat in a room of a real server.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::tools::{call, causerie, is_there};

/// Runs them; or what is missing.
pub(crate) fn run(root: &Path) -> Outcome {
    for program in ["python3", "irssi", "weechat-headless"] {
        if !is_there(program, "--version") {
            return Outcome::Skipped(format!("{program} is missing"));
        }
    }
    let program = match causerie(root) {
        Ok(program) => program,
        Err(code) => return Outcome::Failed(code),
    };
    // -B: nothing is written beside the sources.
    let mut clients = Command::new("python3");
    clients.args(["-B", "irc.py"]).arg(program).current_dir(root.join("xtask/programs"));
    match call(&mut clients) {
        Ok(()) => Outcome::Passed,
        Err(code) => Outcome::Failed(code),
    }
}
