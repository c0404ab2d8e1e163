//! Our own commands, run as `cargo xtask COMMAND`.
//!
//! `cargo xtask check` is everything that CI does: who has seen it pass has seen CI pass. Each step's command
//! is printed before it runs, so that a failure can be repeated by hand; the first failure ends the run with
//! that step's exit code. What had to be skipped is said at the end.

mod deny;
mod foreign;
mod fuzz;
mod layers;
mod mutants;
mod outcome;
mod programs;
mod tools;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, fmt};

use self::outcome::Outcome;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  check    all of the below but for mutants, as CI runs it
  lint     formatting, clippy, layers and the documentation; warnings are errors
  layers   imports between files: every one runs down, and there are no circles
  deny     the packages that we build on: licences, duplicates, sources, advisories (needs cargo-deny)
  no-std   builds cbcast with each combination of its features where there is no standard library, and for a
           target with pointers of 32 bits (needs `rustup target add wasm32-unknown-unknown`)
  test     all tests and doctests
  sim [--seeds N] [--release]
           simulated groups, N seeds of them (10000)
  fuzz [TARGET [INPUT...]] [--seconds N]
           runs the fuzz targets, or one, for N seconds each (20), or runs these inputs again
  mutants [PART] [--missing] [--table]
           weakens one guard after the other, or those named like PART; a test must notice (hours for all).
           --table writes what noticed to docs/evidence/mutants.md, --missing tries those only that are not there
  web      the server's page: types, lints, tests, and all of it in a browser (needs node and chromium)
  programs the server used by curl, a WebSocket client, schemathesis and Prometheus' parser (needs python3 and curl),
           by TLS (with openssl, too), and behind nginx
  irc      irssi and WeeChat in a room of a server that is killed, and by TLS, with right and wrong pins (needs
           python3, irssi and weechat-headless)
  terminal the full-screen client in tmux, its server and itself killed (needs python3 and tmux)
  help     prints this
";

/// How many seeds `check` simulates; a thousand take some seconds.
const SIM_SEEDS: u64 = 10_000;

/// How long `check` runs each fuzz target, in seconds.
const FUZZ_SECONDS: u64 = 15;

/// Every combination of the features of cbcast.
const FEATURES: [&str; 4] = ["", "serde", "tracing", "serde,tracing"];

/// One thing that is checked.
enum Step {
    Cargo(Cargo),
    Fuzz(fuzz::FuzzOptions),
    Foreign,
    Layers,
    Packages,
    Advisories,
    Web,
    Programs,
    Irc,
    Terminal,
}

/// One command line of cargo, with what it needs in its environment.
struct Cargo {
    args: Vec<&'static str>,
    env: Option<(&'static str, String)>,
}

impl Step {
    fn cargo(args: &[&'static str]) -> Self {
        Self::Cargo(Cargo { args: args.to_vec(), env: None })
    }

    fn format() -> Self {
        Self::cargo(&["fmt", "--all", "--check"])
    }

    fn clippy() -> Self {
        let what = ["clippy", "--workspace", "--all-targets", "--all-features", "--locked"];
        Self::cargo(&[&what[..], &["--", "-D", "warnings"]].concat())
    }

    /// A crate outside the workspace that builds cbcast without std, with these of its features; it keeps a lock file
    /// and a target directory of its own.
    fn no_std(features: &'static str) -> Self {
        let what = ["build", "--manifest-path", "xtask/no-std-check/Cargo.toml", "--features", features];
        Self::cargo(&[&what[..], &["--target-dir", "target/no-std-check", "--locked"]].concat())
    }

    fn docs() -> Self {
        let args = vec!["doc", "--workspace", "--no-deps", "--all-features", "--locked"];
        Self::Cargo(Cargo { args, env: Some(("RUSTDOCFLAGS", "-D warnings".into())) })
    }

    fn tests() -> Self {
        Self::cargo(&["test", "--workspace", "--all-features", "--locked"])
    }

    /// The tests of the protocols once more, by TLS, but those about ports and limits, for which a tunnel is another client.
    fn encrypted() -> Self {
        let mut args = vec!["test", "--workspace", "--all-features", "--locked"];
        for test in ["history", "stalled", "answers", "irc", "native", "api", "hostile"] {
            args.extend(["--test", test]);
        }
        args.push("--");
        for test in [
            "a_shutdown_is_said_and_serve_returns",
            "closing_a_port_room_closes_its_port",
            "connections_beyond_the_limit_are_counted",
            "pages_of_other_origins_read_nothing_and_do_nothing",
            "rooms_are_made",
            "settings_change_while_it_serves",
            "too_many_connections",
        ] {
            args.extend(["--skip", test]);
        }
        Self::Cargo(Cargo { args, env: Some(("CAUSERIE_TEST_TLS", "1".into())) })
    }

    /// More seeds of the simulator than the tests run. The same packages and features as for the tests, so that
    /// nothing is built again.
    fn sim(seeds: u64, release: bool) -> Self {
        let mut args = vec!["test", "--workspace", "--all-features", "--locked", "--test", "swarm"];
        args.extend(release.then_some("--release"));
        args.extend(["--", "swarms_keep_causal_order", "--nocapture"]);
        Self::Cargo(Cargo { args, env: Some(("SEEDS", seeds.to_string())) })
    }

    fn fuzz() -> Self {
        Self::Fuzz(fuzz::FuzzOptions { seconds: Some(FUZZ_SECONDS), ..fuzz::FuzzOptions::default() })
    }

    /// Runs it to its end.
    fn run(&self, root: &Path) -> Outcome {
        match self {
            Self::Cargo(command) => command.run(root),
            Self::Fuzz(options) => fuzz::run(root, options),
            Self::Foreign => foreign::run(root),
            Self::Layers => layers::run(root),
            Self::Packages => deny::packages(root),
            Self::Advisories => deny::advisories(root),
            Self::Web => web::run(root),
            Self::Programs => programs::run(root),
            Self::Irc => {
                tools::python(root, "irc.py", &[("irssi", "--version"), ("weechat-headless", "--version")])
            }
            Self::Terminal => tools::python(root, "terminal.py", &[("tmux", "-V")]),
        }
    }
}

impl Cargo {
    fn run(&self, root: &Path) -> Outcome {
        eprintln!("$ {self}");
        // Cargo names itself to what it runs, so that we use the same one.
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(&self.args).envs(self.env.clone()).current_dir(root);
        let status = match command.status() {
            Ok(status) => status,
            Err(error) => {
                eprintln!("xtask: cargo does not start: {error}");
                return Outcome::Failed(ExitCode::FAILURE);
            }
        };
        if status.success() {
            return Outcome::Passed;
        }
        eprintln!("xtask: failed ({status}): {self}");
        // A step that a signal ended has no code; codes beyond a byte exist on Windows only.
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Outcome::Failed(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }
}

/// As one would type it.
impl fmt::Display for Cargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, value)) = &self.env {
            write!(f, "{name}=\"{value}\" ")?;
        }
        write!(f, "cargo {}", self.args.join(" "))
    }
}

/// What it is called in the summary.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cargo(command) => command.fmt(f),
            Self::Fuzz(options) => match &options.target {
                Some(target) => write!(f, "cargo xtask fuzz {target}"),
                None => f.write_str("cargo xtask fuzz"),
            },
            Self::Foreign => f.write_str("cargo xtask no-std: a target of 32 bits"),
            Self::Layers => f.write_str("cargo xtask layers"),
            Self::Packages => f.write_str("cargo xtask deny: bans, licences, sources"),
            Self::Advisories => f.write_str("cargo xtask deny: advisories"),
            Self::Web => f.write_str("cargo xtask web"),
            Self::Programs => f.write_str("cargo xtask programs"),
            Self::Irc => f.write_str("cargo xtask irc"),
            Self::Terminal => f.write_str("cargo xtask terminal"),
        }
    }
}

/// One after the other, until one fails; then, how long each took and what was not done.
fn run_all(steps: &[Step], root: &Path) -> ExitCode {
    let mut summary = Vec::new();
    let mut skipped = 0;
    for step in steps {
        let start = Instant::now();
        let told = match step.run(root) {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Skipped(why) => {
                eprintln!("xtask: *** SKIPPED *** {step}: {why}");
                skipped += 1;
                format!("*** SKIPPED ***: {why}")
            }
            Outcome::Failed(code) => return code,
        };
        summary.push(format!("  {:>4} s  {step}: {told}", start.elapsed().as_secs()));
    }
    if steps.len() > 1 || skipped > 0 {
        eprintln!("{}\nxtask: {} steps passed, {skipped} skipped", summary.join("\n"), steps.len() - skipped);
    }
    // Who has asked for nothing else has not got it.
    if skipped < steps.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `[--seeds N] [--release]`
fn sim_step(args: &[&str]) -> Option<Step> {
    let (mut seeds, mut release) = (SIM_SEEDS, false);
    let mut args = args.iter();
    while let Some(&arg) = args.next() {
        match arg {
            "--seeds" => seeds = args.next()?.parse().ok().filter(|&n| n > 0)?,
            "--release" => release = true,
            _ => return None,
        }
    }
    Some(Step::sim(seeds, release))
}

/// The workspace's root, whatever the current directory is.
fn root() -> PathBuf {
    // At run time first: a target directory shared by two checkouts keeps one binary for both.
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().expect("xtask lies in the workspace").to_path_buf()
}

fn steps(args: &[&str]) -> Option<Vec<Step>> {
    Some(match args {
        ["check"] => vec![Step::format(), Step::clippy(), Step::Layers, Step::Packages, Step::Advisories]
            .into_iter()
            .chain(FEATURES.map(Step::no_std))
            .chain([
                Step::Foreign,
                Step::docs(),
                Step::tests(),
                Step::encrypted(),
                Step::Web,
                Step::Programs,
                Step::Irc,
                Step::Terminal,
                Step::sim(SIM_SEEDS, false),
                Step::fuzz(),
            ])
            .collect(),
        ["lint"] => vec![Step::format(), Step::clippy(), Step::Layers, Step::docs()],
        ["layers"] => vec![Step::Layers],
        ["deny"] => vec![Step::Packages, Step::Advisories],
        ["no-std"] => FEATURES.map(Step::no_std).into_iter().chain([Step::Foreign]).collect(),
        ["test"] => vec![Step::tests()],
        ["web"] => vec![Step::Web],
        ["programs"] => vec![Step::Programs],
        ["irc"] => vec![Step::Irc],
        ["terminal"] => vec![Step::Terminal],
        ["sim", args @ ..] => vec![sim_step(args)?],
        ["fuzz", args @ ..] => vec![Step::Fuzz(fuzz::FuzzOptions::parse(args)?)],
        _ => return None,
    })
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["mutants", ref args @ ..] => match mutants::Order::parse(args) {
            Some(order) => mutants::run(&root(), &order),
            None => usage(),
        },
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => match steps(&args) {
            Some(steps) => run_all(&steps, &root()),
            None => usage(),
        },
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}
