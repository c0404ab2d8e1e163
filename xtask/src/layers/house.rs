//! Files, what they import, and the layers that they stand in.

use std::collections::BTreeMap;

/// Text of each file, by its path below the folder of a house.
pub(super) type Files = BTreeMap<String, String>;

/// A folder of files that import each other, and its layers from the top down.
pub(super) struct House {
    pub(super) folder: &'static str,
    /// How the names of its files end.
    pub(super) ending: &'static str,
    pub(super) imports: fn(&Files) -> Result<Vec<Import>, UnparsedFile>,
    pub(super) layers: &'static [Layer],
}

/// Files that may import those of the layers below.
pub(super) struct Layer {
    /// Each a file without its ending, with the folder of the same name. The longest that fits says where a file belongs.
    pub(super) parts: &'static [&'static str],
    /// Whether files of one part may import those of another.
    pub(super) may_mix: bool,
}

/// One file imports another; both by their paths below the folder of their house.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Import {
    pub(super) from: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) to: String,
}

/// A file that does not parse.
#[derive(Debug)]
pub(super) struct UnparsedFile {
    pub(super) file: String,
    pub(super) why: String,
}

/// The files of a test.
#[cfg(test)]
pub(super) fn files(texts: &[(&str, &str)]) -> Files {
    texts.iter().map(|&(name, text)| (name.into(), text.into())).collect()
}
