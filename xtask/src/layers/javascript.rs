//! Imports of the page's modules.

use super::house::{Files, Import, UnparsedFile};

/// Reads the imports of modules, which lie below one folder. One statement begins a line, and names its file by a
/// relative path.
pub(super) fn imports(files: &Files) -> Result<Vec<Import>, UnparsedFile> {
    let mut imports = Vec::new();
    for (file, text) in files {
        let mut begun = None;
        for (n, line) in text.lines().enumerate() {
            if line.starts_with("import ")
                || line.starts_with("import{")
                || line.starts_with("export {")
                || line.starts_with("export *")
            {
                begun = Some(n + 1);
            }
            let Some(start) = begun else { continue };
            if let Some(path) = quoted(line) {
                begun = None;
                if path.starts_with('.') {
                    let to = resolved(file, path);
                    if !files.contains_key(&to) {
                        return Err(UnparsedFile {
                            file: file.clone(),
                            why: format!("line {start}: there is no {path}"),
                        });
                    }
                    imports.push(Import { from: file.clone(), line: start, to });
                }
            } else if line.ends_with(';') {
                begun = None;
            }
        }
    }
    imports.sort();
    Ok(imports)
}

/// The last text in double quotes of a line.
fn quoted(line: &str) -> Option<&str> {
    let (before, _) = line.rsplit_once('"')?;
    before.rsplit_once('"').map(|(_, path)| path)
}

/// The path below the folder that `path` is, seen from `file`.
fn resolved(file: &str, path: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::house::files;
    use super::*;

    #[test]
    fn imports_of_modules_are_read() {
        let all = files(&[
            (
                "app.js",
                "// import { z } from \"./z.js\";\nimport { a } from \"./chat/list.js\";\nimport {\n  b,\n  c,\n} from \"./lib/text.js\";\nexport const X = \"./y.js\";",
            ),
            ("chat/list.js", "import \"../lib/text.js\";\nexport { a };\nconst b = \"./no.js\";"),
            ("lib/text.js", ""),
        ]);
        let found: Vec<_> = imports(&all).unwrap().into_iter().map(|i| (i.from, i.line, i.to)).collect();
        let expected =
            [("app.js", 2, "chat/list.js"), ("app.js", 3, "lib/text.js"), ("chat/list.js", 1, "lib/text.js")];
        assert_eq!(found, expected.map(|(from, line, to)| (from.to_owned(), line, to.to_owned())));
        let missing = imports(&files(&[("a.js", "import { b } from \"./b.js\";")])).unwrap_err();
        assert_eq!(missing.why, "line 1: there is no ./b.js");
    }
}
