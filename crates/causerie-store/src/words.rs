//! Words of texts, and queries for them: the one place that says what a search finds.
//!
//! A text becomes tokens: words of letters and digits, and, where a script puts no spaces between words, single
//! characters, so that a phrase of them is found inside any sentence. Tokens are folded, so that case, diacritics, width
//! and the way a character was typed do not matter.

use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Most words of a query. A guess: people type two or three.
pub const QUERY_WORDS_MAX: usize = 16;
/// Most tokens of a query, over all its words: each is looked up in the whole index.
pub const QUERY_TOKENS_MAX: usize = 64;
/// Most bytes of a token: a longer one is found by its start.
const TOKEN_BYTES_MAX: usize = 256;

/// Refusal of a text as a query. Nothing was looked for.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum QueryError {
    /// Too many words.
    #[error("a query has at most {QUERY_WORDS_MAX} words")]
    TooManyWords,
    /// Words with too many parts, such as the characters of a Chinese sentence.
    #[error("the words of a query have at most {QUERY_TOKENS_MAX} parts")]
    TooManyParts,
}

/// Calls `each` with the tokens of a text, in order, until that is false.
fn tokens(text: &str, mut each: impl FnMut(&str) -> bool) {
    let mut word = String::new();
    if text.is_ascii() {
        for piece in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|piece| !piece.is_empty()) {
            word.clear();
            word.push_str(&piece[..piece.len().min(TOKEN_BYTES_MAX)]);
            word.make_ascii_lowercase();
            if !each(&word) {
                return;
            }
        }
        return;
    }
    for c in folded(text) {
        let goes_on = c.is_alphanumeric() || is_combining_mark(c) && !word.is_empty();
        if goes_on && !is_unspaced(c) {
            if word.len() + c.len_utf8() <= TOKEN_BYTES_MAX {
                word.push(c);
            }
            continue;
        }
        if !word.is_empty() {
            if !each(&word) {
                return;
            }
            word.clear();
        }
        if is_unspaced(c) && !each(c.encode_utf8(&mut [0; 4])) {
            return;
        }
    }
    if !word.is_empty() {
        each(&word);
    }
}

/// Returns the characters of a text as they are compared: in lower case, composed, of one width, without the
/// marks that people leave out when they look for something.
fn folded(text: &str) -> impl Iterator<Item = char> {
    let bare = text.nfkd().filter(|c| !is_left_out(*c));
    let lower = bare.flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c });
    lower.nfc()
}

/// Returns whether a character is a mark that people leave out: a diacritic of Latin, Greek or Cyrillic, or a
/// vowel of Hebrew or Arabic.
fn is_left_out(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}'
        | '\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// Returns whether a character, or a mark on one, belongs to a script that puts no spaces between words, or,
/// as Korean, fewer than there are words: Thai, Lao, Burmese, Khmer and their neighbours, Han, kana, hangul,
/// bopomofo, Yi.
fn is_unspaced(c: char) -> bool {
    let is_of_such = matches!(c,
        '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}' | '\u{e81}'..='\u{ece}' | '\u{edc}'..='\u{edf}'
        | '\u{1000}'..='\u{103f}' | '\u{1050}'..='\u{108f}' | '\u{109a}'..='\u{109f}' | '\u{1100}'..='\u{11ff}'
        | '\u{1780}'..='\u{17d3}' | '\u{17d7}' | '\u{17dc}' | '\u{17dd}' | '\u{1950}'..='\u{19cf}'
        | '\u{1a20}'..='\u{1a7c}' | '\u{1b00}'..='\u{1b4c}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{302f}'
        | '\u{3031}'..='\u{3035}' | '\u{3038}'..='\u{303c}' | '\u{3041}'..='\u{3096}' | '\u{3099}' | '\u{309a}'
        | '\u{309d}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{312f}' | '\u{3131}'..='\u{318e}'
        | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{a48c}'
        | '\u{a960}'..='\u{a97c}' | '\u{a980}'..='\u{a9c0}' | '\u{a9e0}'..='\u{a9ef}' | '\u{a9fa}'..='\u{a9fe}'
        | '\u{aa60}'..='\u{aac2}' | '\u{aadb}'..='\u{aadd}' | '\u{ac00}'..='\u{d7a3}' | '\u{d7b0}'..='\u{d7fb}'
        | '\u{f900}'..='\u{faff}' | '\u{1aff0}'..='\u{1b16f}' | '\u{20000}'..='\u{3ffff}');
    is_of_such && (c.is_alphanumeric() || is_combining_mark(c))
}

/// Writes the tokens of a text, with a space behind each.
pub(crate) fn indexed(text: &str, out: &mut String) {
    out.clear();
    tokens(text, |token| {
        out.push_str(token);
        out.push(' ');
        true
    });
}

/// Words that all have to occur in a text.
#[derive(Debug, Default)]
pub(crate) struct Query {
    words: Vec<Phrase>,
}

/// Tokens that have to follow each other.
#[derive(Debug, Default)]
struct Phrase {
    tokens: Vec<String>,
    /// The last token may be the beginning of a word.
    is_open: bool,
}

impl Query {
    /// Reads a query: any text is one, and one without words finds nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let (mut words, mut parts) = (Vec::new(), 0);
        for piece in text.split(char::is_whitespace) {
            let mut phrase = Phrase::default();
            tokens(piece, |token| {
                parts += 1;
                phrase.is_open = !token.starts_with(is_unspaced);
                phrase.tokens.push(token.to_owned());
                parts <= QUERY_TOKENS_MAX
            });
            if parts > QUERY_TOKENS_MAX {
                return Err(QueryError::TooManyParts);
            }
            if !phrase.tokens.is_empty() {
                words.push(phrase);
            }
            if words.len() > QUERY_WORDS_MAX {
                return Err(QueryError::TooManyWords);
            }
        }
        Ok(Self { words })
    }

    /// Returns whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Writes it in the language of FTS5, for an index of what [`indexed`] writes. Tokens have nothing to be
    /// escaped.
    pub(crate) fn to_fts5(&self) -> String {
        let words = self.words.iter().map(|phrase| {
            let open = if phrase.is_open { " *" } else { "" };
            format!("\"{}\"{open}", phrase.tokens.join(" "))
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Returns whether all its words occur in a text.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut said = Vec::new();
        tokens(text, |token| {
            said.push(token.to_owned());
            true
        });
        !self.is_empty() && self.words.iter().all(|phrase| phrase.occurs(&said))
    }
}

impl Phrase {
    fn occurs(&self, said: &[String]) -> bool {
        let Some((last, before)) = self.tokens.split_last() else { return false };
        let ends = |token: &String| if self.is_open { token.starts_with(last) } else { token == last };
        said.windows(self.tokens.len()).any(|w| w.starts_with(before) && w.last().is_some_and(ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> String {
        let mut out = String::new();
        indexed(text, &mut out);
        out
    }

    fn finds(query: &str, text: &str) -> bool {
        Query::parse(query).unwrap().matches(text)
    }

    #[test]
    fn words_are_words_and_sentences_without_spaces_are_characters() {
        for (text, expected) in [
            ("", ""),
            ("Say \"hi\" AND go-on, x2!", "say hi and go on x2 "),
            ("重跑gen-itgc后五十条", "重 跑 gen itgc 后 五 十 条 "),
            ("今日はカフェ。", "今 日 は カ フ ェ "),
            ("오늘 끝말", "오 늘 끝 말 "),
            ("\u{1112}\u{1161}\u{11ab}", "한 "),
            ("ข้าว", "ข ้ า ว "),
            ("Écoute l'Été, E\u{301}tude", "ecoute l ete etude "),
            ("ＡＢＣ ｶﾀｶﾅ ﬁn", "abc カ タ カ ナ fin "),
            ("हिन्दी मराठी", "हिन्दी मराठी "),
            ("مُدَرِّس שָׁלוֹם", "مدرس שלום "),
            ("ΟΔΟΣ οδός", "οδοσ οδοσ "),
            ("\u{301}x \u{1f600}y", "x y "),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
        assert_eq!(parts(&"é".repeat(10_000)).len(), TOKEN_BYTES_MAX + 1);
        assert_eq!(parts(&"e".repeat(10_000)).len(), TOKEN_BYTES_MAX + 1);
    }

    #[test]
    fn a_query_finds_parts_of_sentences_and_beginnings_of_words() {
        for (query, text) in [
            ("接龙", "今天玩成语接龙游戏"),
            ("龙", "今天玩成语接龙游戏"),
            ("말잇기", "오늘 끝말잇기 게임을 했다"),
            ("ข้าวผัด", "ฉันชอบกินข้าวผัดมาก"),
            ("deploy fail", "the deployment failed"),
            ("itgc后五", "重跑gen-itgc后五十条"),
            ("GEN-it", "重跑gen-itgc后五十条"),
            ("ecole", "L'École"),
        ] {
            assert!(finds(query, text), "{query} in {text}");
        }
        for (query, text) in [
            ("语龙", "今天玩成语接龙游戏"),
            ("ployment", "the deployment failed"),
            ("itgc gone", "重跑gen-itgc后五十条"),
            ("gen后", "重跑gen-itgc后五十条"),
            ("ge-itgc", "重跑gen-itgc后五十条"),
            ("", "x"),
            ("\u{1f600} - *", "\u{1f600} - *"),
        ] {
            assert!(!finds(query, text), "{query} in {text}");
        }
    }

    #[test]
    fn a_query_is_bounded_by_words_and_by_parts() {
        let refused = |text: &str| Query::parse(text).err();
        assert_eq!(refused(&"a ".repeat(16)), None);
        assert_eq!(refused(&"a ".repeat(17)), Some(QueryError::TooManyWords));
        assert_eq!(refused(&"- ".repeat(999)), None);
        assert_eq!(refused(&"a-".repeat(64)), None);
        assert_eq!(refused(&"a-".repeat(65)), Some(QueryError::TooManyParts));
        assert_eq!(refused(&"龙".repeat(65)), Some(QueryError::TooManyParts));
        assert_eq!(refused(&"a-".repeat(7_500)), Some(QueryError::TooManyParts));
    }
}
