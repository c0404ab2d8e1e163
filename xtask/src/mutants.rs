//! Does a test notice when a guard is taken away? Each mutant weakens one guard in a copy of the sources; a test must
//! then fail.
//!
//! All share one build directory. The quick tests come first, since most mutants fall to them. A test that does not
//! end has noticed too: guards keep loops finite.

mod edge;
mod hosts;
mod mutant;
mod report;
mod table;
mod trust;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use self::mutant::{Mutant, Suite};
use self::report::{NOT_TRIED, SURVIVED, TABLE, Table};

/// All that a test binary does takes seconds.
const TIME_MAX: Duration = Duration::from_secs(120);

/// Messages are cut to this many characters in the table.
const MESSAGE_MAX: usize = 110;

enum Fate {
    /// By which test, and what it said.
    Killed(String),
    Survived,
    NotTried(String),
}

/// Which mutants are tried, and whether the table is written.
pub(crate) struct Order<'a> {
    /// Those whose name contains this.
    part: &'a str,
    /// Only those of them that the table tells nothing of.
    missing: bool,
    /// Write the table: what is not tried again stays as it stands there.
    table: bool,
}

impl<'a> Order<'a> {
    pub(crate) fn parse(args: &[&'a str]) -> Option<Self> {
        let mut order = Self { part: "", missing: false, table: false };
        for &arg in args {
            match arg {
                "--missing" => order.missing = true,
                "--table" => order.table = true,
                part if order.part.is_empty() && !part.starts_with('-') => order.part = part,
                _ => return None,
            }
        }
        Some(order)
    }
}

/// Runs the mutants that are asked for. The table is written after each, so that a run that is cut off has not been in vain.
pub(crate) fn run(root: &Path, order: &Order<'_>) -> ExitCode {
    let copy = root.join("target/mutants/source");
    let (mut tried, mut alive) = (0, 0);
    let mut table = Table::read(root);
    let all = table::MUTANTS.iter().flat_map(|(_, mutants)| *mutants);
    let wanted = all.filter(|m| m.name.contains(order.part) && !(order.missing && table.tells_of(m)));
    for mutant in wanted.collect::<Vec<_>>() {
        let start = Instant::now();
        let fate = copy_sources(root, &copy).and_then(|()| try_one(mutant, &copy));
        let told = match fate.unwrap_or_else(Fate::NotTried) {
            Fate::Killed(by) => by,
            Fate::Survived => {
                alive += 1;
                SURVIVED.to_owned()
            }
            Fate::NotTried(why) => {
                alive += 1;
                format!("{NOT_TRIED}: {why}")
            }
        };
        tried += 1;
        println!("{:>3} s  {:<60} {told}", start.elapsed().as_secs(), mutant.name);
        table.tell(mutant, &told);
        if order.table && !written(&table, root) {
            return ExitCode::FAILURE;
        }
    }
    if order.table && !written(&table, root) {
        return ExitCode::FAILURE;
    }
    println!("{tried} mutants, {alive} not killed");
    if alive == 0 && (tried > 0 || order.missing) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn written(table: &Table, root: &Path) -> bool {
    table.write(root).inspect_err(|error| eprintln!("xtask: {TABLE} cannot be written: {error}")).is_ok()
}

/// The files that git knows or would take, as they are now.
fn copy_sources(root: &Path, copy: &Path) -> Result<(), String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git does not start: {error}"))?;
    for file in String::from_utf8_lossy(&listed.stdout).lines().filter(|file| root.join(file).is_file()) {
        let (from, to) = (root.join(file), copy.join(file));
        let same = fs::read(&from).ok() == fs::read(&to).ok();
        if !same {
            // Files that have not changed keep their times, so that they are not built again.
            fs::create_dir_all(to.parent().expect("inside the copy")).map_err(|e| e.to_string())?;
            fs::copy(&from, &to).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn try_one(mutant: &Mutant, copy: &Path) -> Result<Fate, String> {
    let path = copy.join(mutant.file);
    let source = fs::read_to_string(&path).map_err(|e| e.to_string())?;
    let places = source.matches(mutant.from).count();
    if places != 1 {
        return Err(format!("its text stands {places} times in the source"));
    }
    fs::write(&path, source.replace(mutant.from, mutant.to)).map_err(|e| e.to_string())?;
    let fate = run_stages(mutant.suite, copy);
    fs::write(&path, source).map_err(|e| e.to_string())?;
    fate
}

fn run_stages(suite: Suite, copy: &Path) -> Result<Fate, String> {
    for stage in suite.stages() {
        for test in build(stage, copy)? {
            if let Some(noticed) = run_test(&test, copy)? {
                return Ok(Fate::Killed(noticed));
            }
        }
    }
    Ok(Fate::Survived)
}

/// Builds the tests of a stage: where they are.
fn build(stage: &[&str], copy: &Path) -> Result<Vec<PathBuf>, String> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--no-run", "--locked"]).args(stage).current_dir(copy);
    command.env("CARGO_TARGET_DIR", copy.with_file_name("target")).env("CARGO_PROFILE_DEV_DEBUG", "0");
    let output = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err("it does not build".into());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let tests = text.lines().filter(|line| line.trim_start().starts_with("Executable"));
    let path = |line: &str| Some(copy.join(line.rsplit_once('(')?.1.strip_suffix(')')?));
    Ok(tests.filter_map(path).collect())
}

/// Runs one test binary. What noticed, if anything did.
fn run_test(test: &Path, copy: &Path) -> Result<Option<String>, String> {
    let log = copy.with_file_name("log");
    let output = fs::File::create(&log).map_err(|e| e.to_string())?;
    let mut command = Command::new(test);
    command.current_dir(copy).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command.stdout(output.try_clone().map_err(|e| e.to_string())?).stderr(output);
    let mut running = command.spawn().map_err(|e| e.to_string())?;
    let start = Instant::now();
    let status = loop {
        match running.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None if start.elapsed() > TIME_MAX => {
                running.kill().and_then(|()| running.wait()).map_err(|e| e.to_string())?;
                return Ok(Some("a test that does not end".into()));
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    if status.success() {
        return Ok(None);
    }
    let text = fs::read(&log).map_err(|e| e.to_string())?;
    Ok(Some(
        reason(&String::from_utf8_lossy(&text)).unwrap_or_else(|| format!("a test that ends with {status}")),
    ))
}

/// The first test that panicked, and what it said.
fn reason(output: &str) -> Option<String> {
    let mut lines = output.lines().skip_while(|line| !line.contains("panicked at"));
    let test = lines.next()?.split('\'').nth(1)?.to_owned();
    let message = lines.next()?.trim();
    let shown: String = message.chars().take(MESSAGE_MAX).collect();
    let more = if shown.len() < message.len() { "…" } else { "" };
    Some(format!("`{test}`: {shown}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a mutant weakens stands once in its file: a change of a guard changes its text in the table.
    #[test]
    fn every_mutant_has_its_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let all = table::MUTANTS.iter().flat_map(|(_, mutants)| *mutants);
        let stands_once = |m: &&Mutant| {
            let source = fs::read_to_string(root.join(m.file)).expect(m.file);
            source.matches(m.from).count() == 1
        };
        let lost: Vec<_> = all.filter(|m| !stands_once(m)).map(|m| (m.name, m.file)).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    /// The table tells of mutants that there are, in their order, and that a test noticed each.
    #[test]
    fn the_table_tells_of_mutants_that_there_are() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let written = fs::read_to_string(root.join(TABLE)).expect(TABLE);
        assert!(!written.contains(SURVIVED) && !written.contains(NOT_TRIED), "not killed");
        let table = Table::read(&root);
        assert!(table.text() == written, "{TABLE} differs from what would be written");
    }
}
