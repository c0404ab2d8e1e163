//! The packages that we build on: their licences, where they come from, versions beside each other, and what is known
//! against them. The rules are in `deny.toml`.

use std::path::Path;
use std::process::Command;

use crate::outcome::Outcome;
use crate::tools::{call, is_there};

/// Why nothing can be checked.
const MISSING: &str = "cargo-deny is missing; `cargo install --locked cargo-deny` installs it";

/// Checks what the lock files and the packages themselves tell.
pub(crate) fn packages(root: &Path) -> Outcome {
    checked(root, &["Cargo.toml", "fuzz/Cargo.toml"], &["check", "bans", "licenses", "sources"])
}

/// Checks against the advisories of RustSec, where these can be fetched.
pub(crate) fn advisories(root: &Path) -> Outcome {
    let fetched = deny(root, "Cargo.toml").args(["fetch", "db"]).output();
    match fetched {
        Ok(output) if output.status.success() => {
            checked(root, &["Cargo.toml"], &["check", "--disable-fetch", "advisories"])
        }
        _ if is_there("cargo-deny", "--version") => {
            Outcome::Skipped("their database cannot be reached".into())
        }
        _ => Outcome::Skipped(MISSING.into()),
    }
}

fn checked(root: &Path, manifests: &[&str], check: &[&str]) -> Outcome {
    if !is_there("cargo-deny", "--version") {
        return Outcome::Skipped(MISSING.into());
    }
    for manifest in manifests {
        if let Err(code) = call(deny(root, manifest).args(check)) {
            return Outcome::Failed(code);
        }
    }
    Outcome::Passed
}

fn deny(root: &Path, manifest: &str) -> Command {
    let mut deny = Command::new("cargo-deny");
    deny.args(["--manifest-path", manifest, "--config", "deny.toml"]).current_dir(root);
    deny
}
