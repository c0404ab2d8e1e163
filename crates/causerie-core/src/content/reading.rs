//! Names that people take for each other, told by how they read.
//!
//! Two names read the same when they differ in nothing that a reader sees: in compatibility forms (`ａ`, `ﬁ`), in characters
//! that show nothing, in the kind of white space, in letter case, or in letters that look alike across scripts (the
//! skeletons of Unicode Technical Standard 39, section 4). [`Reading`] serves wherever a name is given out. Looking a name
//! up stays exact.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;
use unicode_security::skeleton;

use crate::content::text::is_invisible;

/// Forms of a text by which readers know it. Texts that have one in common read the same.
///
/// There are two, because looks and letter case do not mix: `Ian` looks like `lan` and means `ian`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Skeleton of the text as it is written.
    looks: String,
    /// Skeleton of the text without letter case.
    caseless: String,
}

impl Reading {
    /// The reading of `text`. Takes time in proportion to its length.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let plain = plain(text);
        // By way of the capitals: `ς` and `σ` have one in common, and so have `ß` and `ss`.
        let caseless: String =
            plain.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
        Self { looks: skeleton(&plain).collect(), caseless: skeleton(&caseless).collect() }
    }

    /// Returns whether readers would take the one for the other.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.forms().any(|form| other.forms().any(|others| form == others))
    }

    /// Returns whether `NAME : TEXT` would have its end of the name within this.
    pub(super) fn ends_a_name(&self) -> bool {
        self.looks.contains(" :")
    }

    fn forms(&self) -> impl Iterator<Item = &String> {
        // Often equal, and then once.
        [&self.looks, &self.caseless].into_iter().take(if self.looks == self.caseless { 1 } else { 2 })
    }
}

/// `text` in compatibility composition, without what shows nothing, white space folded into single blanks.
fn plain(text: &str) -> String {
    let visible = text.nfkc().filter(|c| c.is_whitespace() || !is_invisible(*c));
    let mut plain = String::with_capacity(text.len());
    for c in visible {
        if !c.is_whitespace() {
            plain.push(c);
        } else if !plain.is_empty() && !plain.ends_with(' ') {
            plain.push(' ');
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

/// Names in use, by how they read, and who has each.
///
/// Names that were given out under another rule may stand beside each other although they read the same.
#[derive(Clone, Debug)]
pub struct Readings<T> {
    by_form: BTreeMap<String, Vec<T>>,
}

impl<T> Default for Readings<T> {
    fn default() -> Self {
        Self { by_form: BTreeMap::new() }
    }
}

impl<T: Clone + PartialEq> Readings<T> {
    /// Notes that `holder` has `name`.
    pub fn insert(&mut self, name: &str, holder: &T) {
        for form in Reading::of(name).forms() {
            self.by_form.entry(form.clone()).or_default().push(holder.clone());
        }
    }

    /// Forgets that `holder` has `name`.
    pub fn remove(&mut self, name: &str, holder: &T) {
        for form in Reading::of(name).forms() {
            let Some(holders) = self.by_form.get_mut(form) else { continue };
            if let Some(at) = holders.iter().position(|other| other == holder) {
                holders.swap_remove(at);
            }
            if holders.is_empty() {
                self.by_form.remove(form);
            }
        }
    }

    /// Holders of names that read as `reading` does. One may be there twice.
    pub fn like(&self, reading: &Reading) -> impl Iterator<Item = &T> {
        reading.forms().filter_map(|form| self.by_form.get(form)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(one: &str, other: &str) -> bool {
        Reading::of(one).same_as(&Reading::of(other))
    }

    #[test]
    fn what_a_reader_cannot_tell_apart_reads_the_same() {
        for (one, other) in [
            ("Raj", "raj"),
            ("Raj", "RAJ"),
            // Cyrillic а, Greek ο.
            ("Raj", "R\u{430}j"),
            ("bob", "b\u{3bf}b"),
            ("Ian", "lan"),
            ("Ann1", "Annl"),
            ("ＡＮＮ", "ann"),
            ("ﬁona", "fiona"),
            ("Zoe\u{308}", "Zoë"),
            ("An\u{200d}n", "Ann"),
            ("An\u{ad}n", "Ann"),
            ("Ann\u{fe0f}", "Ann"),
            ("\u{e0041}Ann", "Ann"),
            ("Ann\u{a0}B", "Ann B"),
            ("Ann\u{2003} B", "Ann B"),
            ("Ann\u{3164}", "Ann"),
            ("Νίκος", "ΝΊΚΟΣ"),
            ("Weiß", "WEISS"),
            ("rnark", "mark"),
        ] {
            assert!(same(one, other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn what_reads_otherwise_is_told_apart() {
        for (one, other) in [
            ("Ann", "Anne"),
            ("Ian", "Jan"),
            ("lan", "ian"),
            ("Ann B", "AnnB"),
            ("Zoë", "Zoe"),
            ("नी", "नि"),
            ("李", "季"),
        ] {
            assert!(!same(one, other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn holders_of_the_same_reading_stand_beside_each_other() {
        let mut names = Readings::default();
        names.insert("Raj", &1);
        names.insert("R\u{430}j", &2);
        let like = |names: &Readings<u8>, text| {
            let mut found: Vec<u8> = names.like(&Reading::of(text)).copied().collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        assert_eq!(like(&names, "RAJ"), [1, 2]);
        names.remove("Raj", &1);
        assert_eq!(like(&names, "raj"), [2]);
        names.remove("R\u{430}j", &2);
        assert_eq!(like(&names, "raj"), [0; 0]);
        assert!(names.by_form.is_empty());
    }

    proptest! {
        #[test]
        fn letter_case_and_what_is_invisible_never_matter(text in "\\PC{1,12}") {
            prop_assert!(same(&text, &text));
            let spread: String = text.chars().flat_map(|c| [c, '\u{200d}', '\u{fe0f}']).collect();
            prop_assert!(same(&text, &spread), "{:?}", Reading::of(&spread));
        }
    }
}
