//! Checks the page that the server serves: types, lints, its tests, and all of it in real browsers.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::outcome::Outcome;
use crate::tools::{call, causerie, once_for, target};

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
    let program = match causerie(root) {
        Ok(program) => program,
        Err(code) => return Outcome::Failed(code),
    };
    let pictures = target(root).join("page");
    let in_browser = |test: &str, browser: &str| {
        let mut node = Command::new("node");
        node.arg(test).arg(&program).arg(&pictures).arg(browser).current_dir(&folder);
        call(&mut node).inspect_err(|_| eprintln!("xtask: what was seen last is in {}", pictures.display()))
    };
    for test in ["tests/browser.mjs", "tests/daily.mjs", "tests/lab.mjs", "tests/encrypted.mjs"] {
        if let Err(code) = in_browser(test, "chromium") {
            return Outcome::Failed(code);
        }
    }
    let firefox = env::var("FIREFOX").unwrap_or_else(|_| "/usr/bin/firefox-esr".into());
    if !Path::new(&firefox).exists() {
        return Outcome::Skipped(format!("there is no Firefox at {firefox}: all of it passed in Chromium"));
    }
    for test in ["tests/firefox.mjs", "tests/encrypted.mjs"] {
        if let Err(code) = in_browser(test, "firefox") {
            return Outcome::Failed(code);
        }
    }
    Outcome::Passed
}

/// The first number of its version.
fn node() -> Option<u32> {
    let told = Command::new("node").arg("--version").output().ok()?;
    let version = String::from_utf8(told.stdout).ok()?;
    version.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}

/// The tools, as the lock file has them, unless they are there.
fn install(folder: &Path) -> Result<(), String> {
    once_for(&folder.join("package-lock.json"), &folder.join("node_modules/.of-lock-file"), || {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
        call(&mut npm).map_err(|_| "npm cannot install what checks the page; is there a network?".to_owned())
    })
}
