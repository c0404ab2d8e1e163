//! Does a test notice when a guard is taken away? Each mutant weakens one guard in a copy of the sources; the tests
//! named beside it must then fail.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

/// One guard, weakened.
struct Mutant {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// Arguments of `cargo test` that must fail.
    tests: &'static [&'static str],
}

/// Without the examples, which take longer than they tell here.
const CBCAST: &[&str] = &[
    "-p",
    "cbcast",
    "--lib",
    "--test",
    "scenarios",
    "--test",
    "random",
    "--test",
    "mesh",
    "--test",
    "exhaustive",
];
const PROCESSES: &[&str] = &["-p", "causerie", "--test", "causal_order"];
const SESSIONS: &[&str] = &["-p", "causerie-core", "--test", "bad_weather"];

const HOLDBACK: &str = "crates/cbcast/src/group/holdback.rs";
const MEMBERS: &str = "crates/cbcast/src/members.rs";
const FLUSH: &str = "crates/cbcast/src/group/flush.rs";
const INSPECT: &str = "crates/cbcast/src/group/inspect.rs";
const SESSION: &str = "crates/causerie-core/src/session.rs";

/// The delivery rule is off: what arrives is delivered.
const ON_ARRIVAL: (&str, &str) = (
    "        let ahead = id.seq - delivered - 1;\n",
    "        let ahead = id.seq - delivered - 1;\n        if ahead < u64::MAX {\n            \
     self.deliver(now, slot, message, None);\n            self.release(now);\n            return Ok(());\n        }\n",
);

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "deliver on arrival",
        file: HOLDBACK,
        from: ON_ARRIVAL.0,
        to: ON_ARRIVAL.1,
        tests: PROCESSES,
    },
    Mutant {
        name: "deliver on arrival, library",
        file: HOLDBACK,
        from: ON_ARRIVAL.0,
        to: ON_ARRIVAL.1,
        tests: CBCAST,
    },
    Mutant {
        name: "only sender order, dependencies ignored",
        file: MEMBERS,
        from: "_ => return Err(dep),",
        to: "_ => {}",
        tests: PROCESSES,
    },
    Mutant {
        name: "only sender order, library",
        file: MEMBERS,
        from: "_ => return Err(dep),",
        to: "_ => {}",
        tests: CBCAST,
    },
    Mutant {
        name: "dependencies stay in the frontier",
        file: HOLDBACK,
        from: "progress.in_frontier &= progress.delivered != dep_seq;",
        to: "let _ = (progress, dep_seq);",
        tests: CBCAST,
    },
    Mutant {
        name: "copies are delivered again",
        file: HOLDBACK,
        from: "if id.seq <= delivered {",
        to: "if id.seq < delivered {",
        tests: CBCAST,
    },
    Mutant {
        name: "a snapshot without its frontier",
        file: INSPECT,
        from: "frontier: self.frontier(),",
        to: "frontier: Vec::new(),",
        tests: CBCAST,
    },
    Mutant {
        name: "the departed are not forgotten",
        file: HOLDBACK,
        from: "Some(slot) if !member.is_host() => self.forget(slot, id),",
        to: "Some(_) if !member.is_host() => {}",
        tests: CBCAST,
    },
    Mutant {
        name: "a forgotten dependency is not met",
        file: MEMBERS,
        from: "            Standing::Forgotten => {}\n            _ => return Err",
        to: "            _ => return Err",
        tests: CBCAST,
    },
    Mutant {
        name: "who waits for the departed is not woken",
        file: HOLDBACK,
        from: "        self.wake_waiters(slot, u64::MAX);\n",
        to: "",
        tests: CBCAST,
    },
    Mutant {
        name: "stable is what anybody has delivered",
        file: "crates/cbcast/src/stability.rs",
        from: "acknowledged.clone().fold(own, u64::min)",
        to: "acknowledged.clone().fold(0, u64::max).min(own)",
        tests: CBCAST,
    },
    Mutant {
        name: "who is to be flushed is not frozen",
        file: FLUSH,
        from: "let count = *frozen.get_or_insert(delivered);",
        to: "let _ = frozen;\n        let count = delivered;",
        tests: CBCAST,
    },
    Mutant {
        name: "own messages are not sent again on resuming",
        file: SESSION,
        from: "p.message.id().seq > taken) {\n            pending.sent_at = Some(now);\n            resent += 1;",
        to: "p.message.id().seq > taken + 1) {\n            pending.sent_at = Some(now);\n            resent += 1;",
        tests: SESSIONS,
    },
    Mutant {
        name: "placed in order of delivery, not of position",
        file: SESSION,
        from: "self.ready.remove(&self.placed.saturating_add(1))",
        to: "self.ready.pop_first().map(|(_, ready)| ready)",
        tests: SESSIONS,
    },
];

/// Runs all mutants whose name contains `part`.
pub(crate) fn run(root: &Path, part: &str) -> ExitCode {
    let copy = root.join("target/mutants/source");
    let mut survived = 0;
    let chosen: Vec<_> = MUTANTS.iter().filter(|m| m.name.contains(part)).collect();
    for mutant in &chosen {
        let outcome = copy_sources(root, &copy).and_then(|()| try_one(mutant, &copy));
        let outcome = outcome.unwrap_or_else(|error| format!("NOT TRIED: {error}"));
        survived += usize::from(!outcome.starts_with("killed"));
        println!("{:<50} {outcome}", mutant.name);
    }
    println!("{} mutants, {survived} not killed", chosen.len());
    if survived == 0 && !chosen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

fn try_one(mutant: &Mutant, copy: &Path) -> Result<String, String> {
    let path = copy.join(mutant.file);
    let source = fs::read_to_string(&path).map_err(|e| e.to_string())?;
    if source.matches(mutant.from).count() != 1 {
        return Err(format!("its text stands {} times in the source", source.matches(mutant.from).count()));
    }
    fs::write(&path, source.replace(mutant.from, mutant.to)).map_err(|e| e.to_string())?;
    let cargo = |more: &[&str]| {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.arg("test").args(mutant.tests).args(more).current_dir(copy);
        command.env("CARGO_TARGET_DIR", copy.with_file_name("target")).env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).output().map_err(|e| e.to_string())
    };
    let built = cargo(&["--no-run"])?;
    let outcome = if !built.status.success() {
        Err("the mutant does not build".to_owned())
    } else {
        let tested = cargo(&[])?;
        let text =
            String::from_utf8_lossy(&tested.stdout).into_owned() + &String::from_utf8_lossy(&tested.stderr);
        match tested.status.success() {
            true => Ok("SURVIVED".to_owned()),
            false => Ok(format!("killed: {}", reason(&text))),
        }
    };
    fs::write(&path, source).map_err(|e| e.to_string())?;
    outcome
}

/// What the first failing test said.
fn reason(output: &str) -> &str {
    let mut lines = output.lines().skip_while(|line| !line.contains("panicked at"));
    lines.next();
    lines.next().unwrap_or("").trim()
}
