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
fn a_picture_has_names_deliveries_and_holds() {
    let run = "--seed 3 --members 4 --messages 20 --topology mesh --faults delay=0..200ms --export svg";
    let picture = sim(run);
    assert!(picture.status.success());
    let picture = text(&picture.stdout);
    let document = roxmltree::Document::parse(picture).expect("well-formed");
    let of_class = |class: &str| {
        let has = |node: &roxmltree::Node<'_, '_>| {
            node.attribute("class").is_some_and(|classes| classes.split(' ').any(|c| c == class))
        };
        document.descendants().filter(has).count()
    };
    assert_eq!((of_class("send"), of_class("deliver")), (20, 60));
    assert!(of_class("hold") > 0 && of_class("hold") == of_class("wait"));
    assert_eq!(of_class("message"), 60, "an arrow for each that was received");
    let names: Vec<_> = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("name"))
        .filter_map(|node| node.text())
        .collect();
    assert_eq!(names, ["Ann", "Bob", "Cleo", "Dan"]);
    let held = document.descendants().find(|node| node.attribute("class") == Some("held"));
    let held = held.and_then(|node| node.text()).unwrap();
    assert!(names.iter().any(|name| held.contains(&format!("{name}#"))) && !held.contains("0."), "{held}");
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
