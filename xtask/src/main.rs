//! Our own commands, run as `cargo xtask COMMAND`.
//!
//! `cargo xtask check` is everything that CI does: who has seen it pass has seen CI pass. Each step's command
//! is printed before it runs, so that a failure can be repeated by hand; the first failure ends the run with
//! that step's exit code.

mod mutants;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fmt};

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  check    all of the below, as CI runs it
  lint     formatting, clippy and the documentation; warnings are errors
  no-std   builds cbcast where there is no standard library
  test     all tests and doctests
  mutants  weakens one guard after the other; tests must notice (some minutes)
  help     prints this
";

/// One command line of cargo, with what it needs in its environment.
struct Step {
    args: &'static [&'static str],
    env: Option<(&'static str, &'static str)>,
}

const FORMAT: Step = Step { args: &["fmt", "--all", "--check"], env: None };

const CLIPPY: Step = Step {
    args: &["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"],
    env: None,
};

/// A crate outside the workspace that builds cbcast without std; it keeps a lock file and a target directory
/// of its own.
const NO_STD: Step = Step {
    args: &[
        "build",
        "--manifest-path",
        "xtask/no-std-check/Cargo.toml",
        "--target-dir",
        "target/no-std-check",
        "--locked",
    ],
    env: None,
};

const DOCS: Step = Step {
    args: &["doc", "--workspace", "--no-deps", "--all-features", "--locked"],
    env: Some(("RUSTDOCFLAGS", "-D warnings")),
};

const TESTS: Step = Step { args: &["test", "--workspace", "--all-features", "--locked"], env: None };

impl Step {
    /// Runs it to its end. An error is the code to exit with; why was said.
    fn run(&self, root: &Path) -> Result<(), ExitCode> {
        eprintln!("$ {self}");
        // Cargo names itself to what it runs, so that we use the same one.
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(self.args).envs(self.env).current_dir(root);
        let status = command.status().map_err(|error| {
            eprintln!("xtask: cargo does not start: {error}");
            ExitCode::FAILURE
        })?;
        if status.success() {
            return Ok(());
        }
        eprintln!("xtask: failed ({status}): {self}");
        // A step that a signal ended has no code; codes beyond a byte exist on Windows only.
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Err(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }
}

/// As one would type it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, value)) = self.env {
            write!(f, "{name}=\"{value}\" ")?;
        }
        write!(f, "cargo {}", self.args.join(" "))
    }
}

/// The workspace's root, whatever the current directory is.
fn root() -> PathBuf {
    // At run time first: a target directory shared by two checkouts keeps one binary for both.
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().expect("xtask lies in the workspace").to_path_buf()
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let steps: &[Step] = match args[..] {
        ["check"] => &[FORMAT, CLIPPY, NO_STD, DOCS, TESTS],
        ["lint"] => &[FORMAT, CLIPPY, DOCS],
        ["no-std"] => &[NO_STD],
        ["test"] => &[TESTS],
        ["mutants"] => return mutants::run(&root(), ""),
        ["mutants", part] => return mutants::run(&root(), part),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let root = root();
    match steps.iter().try_for_each(|step| step.run(&root)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}
