//! The fuzz targets, with a stable toolchain and without cargo-fuzz: built with the flags that `cargo fuzz` gives
//! where no sanitizer is asked for, each run for some seconds from its inputs in `fuzz/corpus`.
//!
//! libFuzzer is C++, so building it needs a C++ compiler. Where there is none, nothing is run, and that is said.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::{env, fs, thread};

use crate::outcome::Outcome;

/// Instrumentation for libFuzzer, as in cargo-fuzz's `project.rs`. Debug assertions check for overflow too.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1";

/// What one input may take. The slowest known takes milliseconds, and no target keeps more than some megabytes.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=1024"];

const TARGET_DIR: &str = "target/fuzz";

/// Inputs longer than this are not printed, and lines of a panic no further.
const PRINTED_MAX: usize = 1_024;

/// What to fuzz.
#[derive(Debug, Default)]
pub(crate) struct FuzzOptions {
    /// One target; `None`: all.
    pub(crate) target: Option<String>,
    /// For how long each; `None`: [`SECONDS`](Self::SECONDS).
    pub(crate) seconds: Option<u64>,
    /// Only runs these inputs, of one target.
    pub(crate) inputs: Vec<String>,
}

impl FuzzOptions {
    pub(crate) const SECONDS: u64 = 20;

    /// `[TARGET [INPUT...]] [--seconds N]`
    pub(crate) fn parse(args: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            match arg {
                "--seconds" => options.seconds = Some(args.next()?.parse().ok().filter(|&n| n > 0)?),
                _ if arg.starts_with('-') => return None,
                _ if options.target.is_none() => options.target = Some(arg.into()),
                _ => options.inputs.push(arg.into()),
            }
        }
        Some(options)
    }
}

/// Builds all targets and runs those asked for, as many at a time as there are processors.
pub(crate) fn run(root: &Path, options: &FuzzOptions) -> Outcome {
    let mut targets = targets(root);
    if let Some(wanted) = &options.target {
        if !targets.contains(wanted) {
            eprintln!("xtask: no fuzz target '{wanted}'; there are {}", targets.join(", "));
            return Outcome::Failed(ExitCode::from(2));
        }
        targets.retain(|target| target == wanted);
    }
    let compiler = match cpp_compiler() {
        Ok(compiler) => compiler,
        Err(why) => return Outcome::Skipped(why),
    };
    let directory = match build(root, compiler) {
        Ok(directory) => directory,
        Err(code) => return Outcome::Failed(code),
    };
    if !options.inputs.is_empty() {
        let mut command = Command::new(directory.join(&targets[0]));
        let status = command.args(LIMITS).args(&options.inputs).status();
        return match status {
            Ok(status) if status.success() => Outcome::Passed,
            _ => Outcome::Failed(ExitCode::FAILURE),
        };
    }
    let seconds = options.seconds.unwrap_or(FuzzOptions::SECONDS);
    eprintln!("xtask: {} for {seconds} s each", targets.join(", "));
    let left = Mutex::new(targets.into_iter());
    let next = || left.lock().expect("no thread panics with it").next();
    let one_after_the_other = || {
        let mut failed = false;
        while let Some(target) = next() {
            match fuzz(root, &directory, &target, seconds) {
                Ok(done) => eprintln!("  {target:<16} {done}"),
                Err(why) => {
                    eprintln!("  {target:<16} FAILED\n{why}");
                    failed = true;
                }
            }
        }
        failed
    };
    let failed = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one_after_the_other)).collect();
        running.into_iter().fold(false, |failed, thread| failed | thread.join().expect("it does not panic"))
    });
    if failed { Outcome::Failed(ExitCode::FAILURE) } else { Outcome::Passed }
}

/// Every file of `fuzz/fuzz_targets` is one.
fn targets(root: &Path) -> Vec<String> {
    let files = fs::read_dir(root.join("fuzz/fuzz_targets")).expect("part of the repository");
    let names = files.map(|file| file.expect("readable").path());
    let names = names.filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let mut names: Vec<_> =
        names.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

/// The compiler that libfuzzer-sys is to be built with: `CXX`, or the first there is.
fn cpp_compiler() -> Result<String, String> {
    if cfg!(windows) {
        return Err("libFuzzer is not built on Windows".into());
    }
    let starts = |name: &String| {
        let words: Vec<_> = name.split_whitespace().collect();
        let Some((program, args)) = words.split_first() else { return false };
        let mut command = Command::new(program);
        command.args(args).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    match env::var("CXX") {
        Ok(name) if starts(&name) => Ok(name),
        Ok(name) => Err(format!("CXX is '{name}', which does not start")),
        Err(_) => ["c++", "g++", "clang++"].map(String::from).into_iter().find(starts).ok_or_else(|| {
            "there is no C++ compiler (c++, g++, clang++ or CXX), and libFuzzer is written in C++".into()
        }),
    }
}

/// Builds all targets; where they are then.
fn build(root: &Path, compiler: String) -> Result<PathBuf, ExitCode> {
    let triple = host_triple().ok_or_else(|| {
        eprintln!("xtask: rustc does not say for which system it builds");
        ExitCode::FAILURE
    })?;
    let mut flags = RUSTFLAGS.to_owned();
    if let Ok(more) = env::var("RUSTFLAGS") {
        flags = flags + " " + &more;
    }
    // With a target named, build scripts are built without these flags.
    let args = ["build", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", TARGET_DIR];
    let more = ["--release", "--locked", "--bins", "--target", &triple];
    let line = [&args[..], &more[..]].concat();
    eprintln!("$ CXX=\"{compiler}\" RUSTFLAGS=\"{flags}\" cargo {}", line.join(" "));
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(&line).current_dir(root).env("RUSTFLAGS", flags).env("CXX", compiler);
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    match command.status() {
        Ok(status) if status.success() => Ok(root.join(TARGET_DIR).join(triple).join("release")),
        _ => {
            eprintln!("xtask: the fuzz targets do not build");
            Err(ExitCode::FAILURE)
        }
    }
}

fn host_triple() -> Option<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// Runs one target. What comes of it, in words; an error says what was found and how to see it again.
fn fuzz(root: &Path, directory: &Path, target: &str, seconds: u64) -> Result<String, String> {
    let artifacts = root.join("fuzz/artifacts").join(target);
    // What runs find is used by the next, and lost with the target directory.
    let found = root.join(TARGET_DIR).join("corpus").join(target);
    let log = root.join(TARGET_DIR).join(format!("{target}.log"));
    let io = |error: std::io::Error| format!("  {error}");
    fs::create_dir_all(&artifacts).map_err(io)?;
    fs::create_dir_all(&found).map_err(io)?;
    let output = fs::File::create(&log).map_err(io)?;
    let mut command = Command::new(directory.join(target));
    command.args(LIMITS).args([format!("-max_total_time={seconds}"), "-print_final_stats=1".into()]);
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args([&found, &root.join("fuzz/corpus").join(target)]);
    command.stdin(Stdio::null()).stdout(output.try_clone().map_err(io)?).stderr(output);
    let status = command.current_dir(root).status().map_err(io)?;
    let text = String::from_utf8_lossy(&fs::read(&log).map_err(io)?).into_owned();
    let stat = |name: &str| {
        let line = text.lines().rev().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches(':').trim().parse::<u64>().unwrap_or(0))
    };
    match stat("stat::number_of_executed_units") {
        Some(runs) if status.success() && runs > 0 => {
            let peak = stat("stat::peak_rss_mb").unwrap_or(0);
            Ok(format!("{runs} runs in {seconds} s, none failed; at most {peak} MB"))
        }
        _ => Err(failure(root, target, &text, &log)),
    }
}

/// What the log of a failed run tells: the panic, the input, how to run it again.
fn failure(root: &Path, target: &str, text: &str, log: &Path) -> String {
    let lines: Vec<_> = text.lines().collect();
    let from =
        lines.iter().position(|line| line.contains("panicked at") || line.starts_with("==")).unwrap_or(0);
    let mut told: Vec<String> = lines[from..]
        .iter()
        .take(12)
        .map(|line| {
            let shown: String = line.chars().take(PRINTED_MAX).collect();
            let more = if shown.len() < line.len() { " ..." } else { "" };
            format!("    {shown}{more}")
        })
        .collect();
    told.push(format!("  the whole output: {}", log.display()));
    let input = lines.iter().rev().find_map(|line| Some(line.split_once("Test unit written to ")?.1.trim()));
    if let Some(input) = input {
        if let Some(bytes) = fs::read(input).ok().filter(|bytes| bytes.len() <= PRINTED_MAX) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            told.push(format!("  the input, {} bytes: {hex}", bytes.len()));
        }
        let input = Path::new(input);
        let input = input.strip_prefix(root).unwrap_or(input).display();
        told.push(format!("  replay with: cargo xtask fuzz {target} {input}"));
    }
    told.join("\n")
}
