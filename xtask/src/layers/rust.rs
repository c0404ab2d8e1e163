//! Imports of Rust: `use` lines, and paths within the code.
//!
//! Handing a name on (`pub use`) is no import: the arrow goes from the file that uses a name to the one that defines it.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Path, UseTree, Visibility};

use super::house::{Files, Import, UnparsedFile};

/// A module, or what it leads to: its names, from the crate's root down.
type ModulePath = Vec<String>;

/// Reads the imports of a crate's files, which lie below its `src/`.
pub(super) fn imports(files: &Files) -> Result<Vec<Import>, UnparsedFile> {
    let mut parsed = Vec::new();
    for (file, text) in files {
        let tree = syn::parse_file(text);
        let tree = tree.map_err(|error| UnparsedFile { file: file.clone(), why: error.to_string() })?;
        parsed.push((file, module_of(file), tree));
    }
    let mut tests = BTreeSet::new();
    let mut scope = Scope { files, imported: BTreeMap::new() };
    for (_, module, tree) in &parsed {
        for item in &tree.items {
            match item {
                Item::Mod(ItemMod { attrs, ident, content: None, .. }) if for_tests(attrs) => {
                    tests.insert([&module[..], &[ident.to_string()]].concat());
                }
                Item::Use(ItemUse { attrs, tree, .. }) if !for_tests(attrs) => {
                    for (path, name, _) in leaves(tree) {
                        if let Some(path) = scope.absolute(module, &path) {
                            scope.imported.insert((module.clone(), name), path);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let mut imports = BTreeSet::new();
    for (file, module, tree) in &parsed {
        if !tests.iter().any(|test| module.starts_with(test)) {
            let (scope, module) = (&scope, module.clone());
            Finder { scope, file, module, imports: &mut imports }.visit_file(tree);
        }
    }
    Ok(imports.into_iter().collect())
}

/// The module that a file is: `a/b.rs` is `[a, b]`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(path, "lib" | "main" | "mod") {
        return Vec::new();
    }
    path.split('/').map(str::to_owned).collect()
}

fn for_tests(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("test")
            || attr.path().is_ident("cfg")
                && attr.parse_args::<Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

/// The paths that a `use` names: each whole, with the name that it gets here and its line. A glob ends in `*`.
fn leaves(tree: &UseTree) -> Vec<(ModulePath, String, usize)> {
    fn walk(before: &[String], tree: &UseTree, found: &mut Vec<(ModulePath, String, usize)>) {
        let mut leaf = |name: &syn::Ident, renamed: &syn::Ident| {
            let path = if name == "self" { before.to_vec() } else { [before, &[name.to_string()]].concat() };
            let renamed = if renamed == "self" {
                path.last().cloned().unwrap_or_default()
            } else {
                renamed.to_string()
            };
            found.push((path, renamed, name.span().start().line));
        };
        match tree {
            UseTree::Path(path) => walk(&[before, &[path.ident.to_string()]].concat(), &path.tree, found),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(before, tree, found)),
            UseTree::Name(name) => leaf(&name.ident, &name.ident),
            UseTree::Rename(name) => leaf(&name.ident, &name.rename),
            UseTree::Glob(glob) => {
                found.push((
                    [before, &["*".into()]].concat(),
                    "*".into(),
                    glob.star_token.spans[0].start().line,
                ));
            }
        }
    }
    let mut found = Vec::new();
    walk(&[], tree, &mut found);
    found
}

/// The crate's modules, and the names that these have from others.
struct Scope<'a> {
    files: &'a Files,
    /// By module and name there: the path from the root.
    imported: BTreeMap<(ModulePath, String), ModulePath>,
}

impl Scope<'_> {
    /// The file that a module is.
    fn file_of(&self, module: &[String]) -> Option<&str> {
        let path = module.join("/");
        let names = match module {
            [] => ["lib.rs".to_owned(), "main.rs".to_owned()],
            _ => [format!("{path}.rs"), format!("{path}/mod.rs")],
        };
        names.iter().find_map(|name| self.files.get_key_value(name).map(|(name, _)| &**name))
    }

    /// A path as written in `module`, from the root; none if it leads out of the crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<ModulePath> {
        let mut absolute = module.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                absolute.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    absolute.pop();
                    rest = &rest[1..];
                }
            }
            // A module of this file, or else a crate or something in scope.
            first => drop(self.file_of(&[module, &[first.to_owned()]].concat())?),
        }
        absolute.extend_from_slice(rest);
        Some(absolute)
    }

    /// The file that defines what a path from the root names.
    fn definer(&self, path: &[String]) -> Option<&str> {
        let (mut path, mut steps) = (path.to_vec(), 0);
        loop {
            // As far as it leads through modules that are files; modules within a file belong to it.
            let depth = (0..=path.len()).rev().find(|&depth| self.file_of(&path[..depth]).is_some())?;
            let handed_on =
                path.get(depth).and_then(|name| self.imported.get(&(path[..depth].to_vec(), name.clone())));
            match handed_on {
                // Two that hand each other on name nothing; no compiler lets that pass.
                Some(target) if steps < 16 => {
                    path = [&target[..], &path[depth + 1..]].concat();
                    steps += 1;
                }
                _ => return self.file_of(&path[..depth]),
            }
        }
    }
}

/// Collects what one file imports.
struct Finder<'a> {
    scope: &'a Scope<'a>,
    file: &'a str,
    /// Where it is: the file's module, and those written within it.
    module: ModulePath,
    imports: &'a mut BTreeSet<Import>,
}

impl Finder<'_> {
    fn note(&mut self, path: &[String], line: usize) {
        let absolute = self.scope.absolute(&self.module, path);
        if let Some(to) = absolute.and_then(|path| self.scope.definer(&path))
            && to != self.file
        {
            self.imports.insert(Import { from: self.file.to_owned(), line, to: to.to_owned() });
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attrs: &[Attribute] = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            _ => &[],
        };
        if !for_tests(attrs) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if matches!(item.vis, Visibility::Inherited) {
            for (path, _, line) in leaves(&item.tree) {
                self.note(&path, line);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // A single name was imported, or is defined here.
        if segments.len() > 1 {
            self.note(&segments, path.segments[0].ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    // Paths of visibility and attributes import nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::super::house::files;
    use super::*;

    fn of(file: &str, text: &str) -> Vec<(usize, String)> {
        let mut all = files(&[
            ("lib.rs", ""),
            ("a.rs", ""),
            ("a/b.rs", ""),
            ("a/b/c.rs", ""),
            ("d/mod.rs", ""),
            ("e.rs", "pub use self::f::G as H;\npub struct J;"),
            ("e/f.rs", "pub(crate) use crate::a::b::G;"),
        ]);
        all.insert(file.into(), text.into());
        let mut imports = imports(&all).unwrap();
        imports.retain(|import| import.from == file);
        imports.into_iter().map(|import| (import.line, import.to)).collect()
    }

    #[test]
    fn each_way_to_name_a_file_is_read() {
        for (text, expected) in [
            ("use crate::a::b::X;", &[(1, "a/b.rs")][..]),
            ("use crate::{\n    d::Y,\n    Z,\n};", &[(2, "d/mod.rs"), (3, "lib.rs")]),
            ("use crate::e::{H, J};", &[(1, "a/b.rs"), (1, "e.rs")]),
            ("pub use crate::a::X;", &[]),
            ("use crate::a::{self, b as c};", &[(1, "a.rs"), (1, "a/b.rs")]),
            ("use crate::a::*;", &[(1, "a.rs")]),
            ("fn f(x: crate::a::b::X) -> u8 { crate::d::g() }", &[(1, "a/b.rs"), (1, "d/mod.rs")]),
            ("use std::fmt; use bytes::Bytes; fn f() { fmt::x() }", &[]),
            ("pub(in crate::a) fn f() {}", &[]),
            ("mod inner { use super::super::Z; use super::X; }", &[]),
            ("#[cfg(test)] use crate::a::X;\n#[test] fn f() { crate::a::g() }", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|&(line, to)| (line, to.to_owned())).collect();
            assert_eq!(of("lib.rs", text).into_iter().collect::<Vec<_>>(), strip(&expected), "{text}");
        }
        let child = of("a/b.rs", "use super::X;\nuse self::c::Y;\nuse super::super::Z;\nfn f() { c::g() }");
        let expected = [(1, "a.rs"), (2, "a/b/c.rs"), (3, "lib.rs"), (4, "a/b/c.rs")];
        assert_eq!(child, expected.map(|(line, to)| (line, to.to_owned())));
        let inner = of("a/b.rs", "mod tests { use super::*; use super::super::X; }");
        assert_eq!(inner, [(1, "a.rs".to_owned())]);
    }

    /// Without what a file says of itself.
    fn strip(expected: &[(usize, String)]) -> Vec<(usize, String)> {
        expected.iter().filter(|(_, to)| to != "lib.rs").cloned().collect()
    }

    #[test]
    fn files_for_tests_are_left_alone_and_others_must_parse() {
        let all = files(&[("lib.rs", "#[cfg(test)]\nmod samples;"), ("samples.rs", "use crate::X;")]);
        assert_eq!(imports(&all).unwrap(), []);
        let error = imports(&files(&[("lib.rs", "fn")])).unwrap_err();
        assert_eq!(error.file, "lib.rs");
    }
}
