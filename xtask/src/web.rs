//! Checks the page that the server serves: types, lints, its tests, and all of it in a real browser.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

use crate::Outcome;

/// Where the page is.
const FOLDER: &str = "crates/causerie-server/web";
/// What the tools want at least.
const NODE: u32 = 20;

/// All checks of the page, or what is missing for them.
pub(crate) fn run(root: &Path) -> Outcome {
    let folder = root.join(FOLDER);
    match node() {
        Some(version) if version >= NODE => {}
        Some(version) => return Outcome::Skipped(format!("node is {version}, and must be {NODE} at least")),
        None => return Outcome::Skipped(format!("node {NODE} or later is missing, with npm")),
    }
    if let Err(why) = install(&folder) {
        return Outcome::Skipped(why);
    }
    for script in ["types", "lint", "test"] {
        if let Err(code) = call(Command::new("npm").args(["run", "--silent", script]).current_dir(&folder)) {
            return Outcome::Failed(code);
        }
    }
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if !Path::new(&chromium).exists() {
        return Outcome::Skipped(format!(
            "there is no browser at {chromium}: types, lints and tests without one passed"
        ));
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // As for the tests, whose packages and features these are, so that nothing is built again.
    let build = ["test", "--workspace", "--all-features", "--locked", "--test", "cli", "--no-run"];
    if let Err(code) = call(Command::new(cargo).args(build).current_dir(root)) {
        return Outcome::Failed(code);
    }
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target));
    let pictures = target.join("page");
    let mut test = Command::new("node");
    test.arg("tests/browser.mjs").arg(target.join("debug/causerie")).arg(&pictures).current_dir(&folder);
    match call(&mut test) {
        Ok(()) => Outcome::Passed,
        Err(code) => {
            eprintln!("xtask: what was seen last is in {}", pictures.display());
            Outcome::Failed(code)
        }
    }
}

/// The first number of its version.
fn node() -> Option<u32> {
    let told = Command::new("node").arg("--version").output().ok()?;
    let version = String::from_utf8(told.stdout).ok()?;
    version.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}

/// The tools, as the lock file has them, unless they are there.
fn install(folder: &Path) -> Result<(), String> {
    let lock = fs::read(folder.join("package-lock.json")).map_err(|error| error.to_string())?;
    let stamp = folder.join("node_modules/.of-lock-file");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
    call(&mut npm).map_err(|_| "npm cannot install what checks the page; is there a network?".to_owned())?;
    fs::write(&stamp, lock).map_err(|error| error.to_string())
}

/// Runs a command to its end, and says which.
fn call(command: &mut Command) -> Result<(), ExitCode> {
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
