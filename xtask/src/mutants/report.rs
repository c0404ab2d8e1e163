//! The table of what noticed which mutant, as a document.

use std::collections::HashMap;
use std::path::Path;
use std::{fs, io};

use super::mutant::Mutant;
use super::table;

/// The document.
pub(super) const TABLE: &str = "docs/evidence/mutants.md";

pub(super) const SURVIVED: &str = "**SURVIVED**";
pub(super) const NOT_TRIED: &str = "**NOT TRIED**";

/// The tests that noticed mutants, and what they said, by the first two columns.
pub(super) struct Table {
    told: HashMap<String, String>,
}

impl Table {
    /// Reads what the document tells; a row that cannot be read, or no document, tells nothing.
    pub(super) fn read(root: &Path) -> Self {
        let text = fs::read_to_string(root.join(TABLE)).unwrap_or_default();
        let rows = text.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("| ")?.split_once(" | `")?;
            let (file, told) = rest.split_once("` | ")?;
            let told = told.strip_suffix(" |")?;
            let tried = !told.starts_with(SURVIVED) && !told.starts_with(NOT_TRIED);
            tried.then(|| (format!("{name} | `{file}`"), told.to_owned()))
        });
        Self { told: rows.collect() }
    }

    /// Returns whether a test is known that notices it.
    pub(super) fn tells_of(&self, mutant: &Mutant) -> bool {
        self.told.contains_key(&columns(mutant))
    }

    pub(super) fn tell(&mut self, mutant: &Mutant, told: &str) {
        self.told.insert(columns(mutant), told.replace('|', "\\|"));
    }

    pub(super) fn write(&self, root: &Path) -> io::Result<()> {
        fs::write(root.join(TABLE), self.text())
    }

    /// The document: the mutants of which something is known, in the order of the list.
    pub(super) fn text(&self) -> String {
        let (mut rows, mut alive, mut text) = (0, 0, String::new());
        for (heading, mutants) in table::MUTANTS {
            text += &format!("\n## {heading}\n\n| weakened | in | noticed by |\n|---|---|---|\n");
            for mutant in *mutants {
                let columns = columns(mutant);
                let Some(told) = self.told.get(&columns) else { continue };
                rows += 1;
                alive += usize::from(told.starts_with(SURVIVED) || told.starts_with(NOT_TRIED));
                text += &format!("| {columns} | {told} |\n");
            }
        }
        let all: usize = table::MUTANTS.iter().map(|(_, mutants)| mutants.len()).sum();
        format!(
            "# Mutants\n\nWritten by `cargo xtask mutants --table`. Each guard is weakened in a copy of the sources, \
             and a test must notice.\n{rows} of {all} mutants were tried so far, {alive} not killed. Named is the test that noticed first, with \
             what it said.\n{text}\n{}",
            table::EQUIVALENT
        )
    }
}

fn columns(mutant: &Mutant) -> String {
    let file = mutant.file.trim_start_matches("crates/").replace("/src/", "/");
    format!("{} | `{file}`", mutant.name)
}
