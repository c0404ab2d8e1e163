//! `cbcast` where pointers have 32 bits and there is no operating system: that it can be built for such a target.

use std::path::Path;
use std::process::Command;

use crate::outcome::Outcome;
use crate::tools::call;

/// Of all such targets the one that most toolchains can get.
const TARGET: &str = "wasm32-unknown-unknown";

/// Checks `cbcast` for [`TARGET`], if its `core` and `alloc` are here.
pub(crate) fn run(root: &Path) -> Outcome {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).current_dir(root).output();
    let libraries = libraries.ok().filter(|output| output.status.success());
    let there =
        libraries.is_some_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir());
    if !there {
        return Outcome::Skipped(format!(
            "the standard library for {TARGET} is missing; `rustup target add {TARGET}` installs it"
        ));
    }
    let mut check = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    check.args(["check", "--package", "cbcast", "--lib", "--all-features", "--locked", "--target", TARGET]);
    match call(check.current_dir(root)) {
        Ok(()) => Outcome::Passed,
        Err(code) => Outcome::Failed(code),
    }
}
