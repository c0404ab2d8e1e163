//! `causerie sim` as people and scripts use it.

use std::process::{Command, Output};

fn sim(args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causerie"));
    command.arg("sim").args(args.split_whitespace()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_run_is_summed_up_with_the_command_that_repeats_it() {
    let first = sim("--seed 7 --members 5 --topology relay --faults delay=0..200ms,loss=10%,crash");
    assert!(first.status.success(), "{}", text(&first.stderr));
    let summary = text(&first.stdout);
    let (command, rest) = summary.split_once('\n').unwrap();
    assert!(rest.contains("order      0 violations") && rest.contains("held back"), "{summary}");
    let again = sim(command.strip_prefix("causerie sim ").unwrap());
    assert_eq!(text(&again.stdout), summary);
}

#[test]
fn many_runs_are_summed_up_together() {
    let many = sim("--seed 3 --runs 20");
    assert!(many.status.success(), "{}", text(&many.stderr));
    assert!(text(&many.stdout).starts_with("20 runs, seeds 3 to 22\n"));
    assert_eq!(text(&many.stderr), "", "progress is for terminals");
}

#[test]
fn exports_go_to_standard_output_or_a_file() {
    let plan = "--seed 3 --members 3 --messages 5 --topology mesh --faults none --export jsonl";
    let shown = sim(plan);
    assert!(shown.status.success());
    assert_eq!(text(&shown.stdout).lines().filter(|line| line.contains("\"event\":\"send\"")).count(), 5);
    let path = std::env::temp_dir().join(format!("causerie-sim-{}.jsonl", std::process::id()));
    assert!(sim(&format!("{plan} --output {}", path.display())).status.success());
    let written = std::fs::read(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it is ours");
    assert_eq!(written, shown.stdout);
}

#[test]
fn wrong_usage_is_refused() {
    for wrong in
        ["--faults frogs", "--topology ring", "--members 1", "--export pdf", "--output x", "--runs 0"]
    {
        assert_eq!(sim(wrong).status.code(), Some(2), "{wrong}");
    }
    assert_eq!(sim("--runs 2 --export dot").status.code(), Some(1));
}
