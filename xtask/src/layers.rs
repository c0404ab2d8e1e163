//! The check that every arrow runs down: no file imports one from a layer above its own, and no files import each other in a
//! circle.
//!
//! Read are the `use` lines and paths of the crates and the imports of the page. Declaring a module is no import; code for
//! tests is not looked at, since tests may look down into anything. The layers themselves stand in `plan.rs`.

mod house;
mod javascript;
mod plan;
mod rust;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::{fmt, fs, io};

use self::house::{Files, House, Import, UnparsedFile};
use self::plan::{CRATES, HOUSES};
use crate::outcome::Outcome;

/// Why the house is not as planned.
#[derive(Debug, Eq, PartialEq)]
enum Fault {
    /// The file stands in no layer.
    NoPlace(String),
    /// The import runs up.
    Up(Import),
    /// The import runs from one part of a layer to another, where these know nothing of each other.
    Across(Import),
    /// The imports of files that reach each other.
    Circle(Vec<Import>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = |Import { from, line, to }: &Import| format!("{from}:{line} -> {to}");
        match self {
            Self::NoPlace(file) => write!(f, "{file} stands in no layer"),
            Self::Up(import) => write!(f, "an import runs up: {}", arrow(import)),
            Self::Across(import) => {
                write!(f, "an import between parts that do not know each other: {}", arrow(import))
            }
            Self::Circle(imports) => {
                write!(f, "a circle:")?;
                imports.iter().try_for_each(|import| write!(f, "\n    {}", arrow(import)))
            }
        }
    }
}

/// Checks all crates and the page.
pub(crate) fn run(root: &Path) -> Outcome {
    eprintln!("$ cargo xtask layers");
    let mut faults = 0;
    let mut tell = |fault: String| {
        eprintln!("{fault}");
        faults += 1;
    };
    for &(name, allowed) in CRATES {
        match fs::read_to_string(root.join("crates").join(name).join("Cargo.toml")) {
            Ok(manifest) => {
                let unplanned = dependencies(&manifest).filter(|other| !allowed.contains(other));
                unplanned.for_each(|other| tell(format!("{name} depends on {other}")));
            }
            Err(error) => tell(format!("the manifest of {name} cannot be read: {error}")),
        }
    }
    for house in HOUSES {
        let files = match read(&root.join(house.folder), house.ending) {
            Ok(files) => files,
            Err(error) => {
                tell(format!("{} cannot be read: {error}", house.folder));
                continue;
            }
        };
        match (house.imports)(&files) {
            Ok(imports) => house.faults(&files, &imports).iter().for_each(|fault| {
                tell(format!("{}: {fault}", house.folder));
            }),
            Err(UnparsedFile { file, why }) => tell(format!("{}/{file}: {why}", house.folder)),
        }
    }
    if faults == 0 {
        return Outcome::Passed;
    }
    eprintln!("xtask: {faults} faults in the layers");
    Outcome::Failed(ExitCode::FAILURE)
}

/// Crates of ours that a manifest names as dependencies, those for tests left out.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]\n"));
    let names = section.unwrap_or_default().lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with("cbcast") || name.starts_with("causerie"))
}

/// The files below `folder` whose names end so. Packages of others, which the page's tools are, are left out.
fn read(folder: &Path, ending: &str) -> io::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((!path.ends_with("node_modules")).then_some(path));
            } else if path.to_string_lossy().ends_with(ending) {
                let name =
                    path.strip_prefix(folder).expect("it was found there").to_string_lossy().into_owned();
                files.insert(name, fs::read_to_string(path)?);
            }
        }
    }
    Ok(files)
}

impl House {
    fn faults(&self, files: &Files, imports: &[Import]) -> Vec<Fault> {
        let mut faults: Vec<_> = if self.layers.is_empty() {
            Vec::new()
        } else {
            let homeless = files.keys().filter(|file| self.place(file).is_none());
            homeless.map(|file| Fault::NoPlace(file.clone())).collect()
        };
        for import in imports {
            let (Some(from), Some(to)) = (self.place(&import.from), self.place(&import.to)) else { continue };
            if to.0 < from.0 {
                faults.push(Fault::Up(import.clone()));
            } else if to.0 == from.0 && to.1 != from.1 && !self.layers[to.0].may_mix {
                faults.push(Fault::Across(import.clone()));
            }
        }
        faults.extend(circles(imports).into_iter().map(Fault::Circle));
        faults
    }

    /// The layer of a file, from 0 at the top, and the part of it.
    fn place(&self, file: &str) -> Option<(usize, &str)> {
        let fits = |part: &str| {
            file.strip_prefix(part).is_some_and(|rest| rest == self.ending || rest.starts_with('/'))
        };
        let parts =
            self.layers.iter().enumerate().flat_map(|(n, layer)| layer.parts.iter().map(move |&p| (n, p)));
        parts.filter(|(_, part)| fits(part)).max_by_key(|(_, part)| part.len())
    }
}

/// The circles among imports: for each the imports between its files.
fn circles(imports: &[Import]) -> Vec<Vec<Import>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports {
        next.entry(&import.from).or_default().insert(&import.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|&file| (file, reachable(file, &next))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|seen| seen.contains(to));
    let mut done = BTreeSet::new();
    let mut circles = Vec::new();
    for &file in next.keys() {
        if !reaches(file, file) || done.contains(file) {
            continue;
        }
        let circle: BTreeSet<&str> =
            next.keys().copied().filter(|other| reaches(file, other) && reaches(other, file)).collect();
        let within = |import: &&Import| circle.contains(&*import.from) && circle.contains(&*import.to);
        circles.push(imports.iter().filter(within).cloned().collect());
        done.extend(circle);
    }
    circles
}

/// The files that imports lead to from `from`; itself only by a circle.
fn reachable<'a>(from: &'a str, next: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        let new = next.get(file).into_iter().flatten().filter(|&&to| seen.insert(to));
        open.extend(new);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::house::{Layer, files};
    use super::*;

    fn import(from: &str, line: usize, to: &str) -> Import {
        Import { from: from.into(), line, to: to.into() }
    }

    const HOUSE: House = House {
        folder: "",
        ending: ".rs",
        imports: rust::imports,
        layers: &[
            Layer { parts: &["lib"], may_mix: false },
            Layer { parts: &["gates"], may_mix: false },
            Layer { parts: &["gates/irc", "gates/http"], may_mix: false },
            Layer { parts: &["rooms"], may_mix: true },
            Layer { parts: &["net"], may_mix: false },
        ],
    };

    fn faults(texts: &[(&str, &str)]) -> Vec<Fault> {
        let files = files(texts);
        HOUSE.faults(&files, &rust::imports(&files).unwrap())
    }

    #[test]
    fn a_forbidden_import_is_found_with_both_files_and_the_line() {
        let good = [
            ("lib.rs", "mod gates;\nuse crate::gates::irc::serve;"),
            ("gates.rs", "mod irc;\nmod http;"),
            ("gates/irc.rs", "use crate::rooms::Room;"),
            ("gates/irc/words.rs", "use crate::net::Line;"),
            ("gates/http.rs", "fn f() { crate::net::write() }"),
            ("rooms.rs", "use self::tail::Tail;"),
            ("rooms/tail.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::gates::irc;\n}"),
            ("net.rs", ""),
        ];
        assert_eq!(faults(&good), []);
        for (file, text, fault) in [
            ("net.rs", "\nuse crate::rooms::Room;", Fault::Up(import("net.rs", 2, "rooms.rs"))),
            ("net.rs", "fn f() -> crate::Server {}", Fault::Up(import("net.rs", 1, "lib.rs"))),
            (
                "rooms/other.rs",
                "use crate::{gates::irc};",
                Fault::Up(import("rooms/other.rs", 1, "gates/irc.rs")),
            ),
            (
                "gates/http.rs",
                "use super::irc::Line;",
                Fault::Across(import("gates/http.rs", 1, "gates/irc.rs")),
            ),
            (
                "rooms/tail.rs",
                "use super::Room;",
                Fault::Circle(vec![
                    import("rooms.rs", 1, "rooms/tail.rs"),
                    import("rooms/tail.rs", 1, "rooms.rs"),
                ]),
            ),
            ("attic.rs", "", Fault::NoPlace("attic.rs".into())),
        ] {
            let mut texts = good.to_vec();
            texts.retain(|(name, _)| *name != file);
            texts.push((file, text));
            assert_eq!(faults(&texts), [fault]);
        }
    }

    #[test]
    fn circles_are_found_whole() {
        let ring = [import("a", 1, "b"), import("b", 2, "c"), import("c", 3, "a")];
        let around = [import("a", 9, "d"), import("d", 1, "e"), import("x", 1, "a")];
        let pair = [import("e", 4, "f"), import("f", 5, "e")];
        assert_eq!(circles(&[&ring[..], &around, &pair].concat()), [ring.to_vec(), pair.to_vec()]);
        assert!(circles(&around).is_empty());
    }

    #[test]
    fn dependencies_are_those_of_the_program_alone() {
        let manifest = "[package]\nname = \"causerie-x\"\n\n[dependencies]\n# Why.\ncbcast.workspace = true\n\
                        bytes = \"1\"\ncauserie-core = { path = \"\" }\n\n[dev-dependencies]\ncbcast-sim.workspace = true\n";
        assert_eq!(dependencies(manifest).collect::<Vec<_>>(), ["cbcast", "causerie-core"]);
    }
}
