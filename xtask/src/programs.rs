//! Has programs that are not ours use the server: curl, openssl, a WebSocket client, schemathesis, nginx,
//! Prometheus' parser.

use std::path::Path;
use std::process::Command;

use crate::outcome::Outcome;
use crate::tools::{call, causerie, is_there, once_for, target};

/// What they do, and which they are.
const FOLDER: &str = "xtask/programs";

/// Installs them, and runs all that is to be tried; or what is missing.
pub(crate) fn run(root: &Path) -> Outcome {
    for (program, argument) in [("python3", "--version"), ("curl", "--version")] {
        if !is_there(program, argument) {
            return Outcome::Skipped(format!("{program} is missing"));
        }
    }
    let folder = root.join(FOLDER);
    let venv = target(root).join("programs");
    let python = venv.join("bin/python");
    let list = folder.join("requirements.txt");
    let installed = once_for(&list, &venv.join("installed.txt"), || {
        let mut make = Command::new("python3");
        make.args(["-m", "venv", "--clear"]).arg(&venv);
        call(&mut make)
            .map_err(|_| "python3 has no module venv; Debian has it in python3-venv".to_owned())?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&list);
        call(&mut pip).map_err(|_| "pip cannot install the programs; is there a network?".to_owned())
    });
    if let Err(why) = installed {
        return Outcome::Skipped(why);
    }
    let program = match causerie(root) {
        Ok(program) => program,
        Err(code) => return Outcome::Failed(code),
    };
    // -B: nothing is written beside the sources.
    let mut judge = Command::new(&python);
    judge.args(["-B", "-m", "unittest", "discover"]).current_dir(&folder);
    let mut check = Command::new(&python);
    check.args(["-B", "check.py"]).arg(program).arg(root).current_dir(&folder);
    match call(&mut judge).and_then(|()| call(&mut check)) {
        Ok(()) => Outcome::Passed,
        Err(code) => Outcome::Failed(code),
    }
}
