//! What token ids stand for.

use std::collections::HashMap;

/// The pieces of text that are tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextUnit {
    /// Unicode characters.
    Character,
    /// What stands between white space.
    Word,
}

/// Token ids and their texts. Ids count from 0 without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    unit: TextUnit,
    tokens: Vec<String>,
    unknown: u32,
    padding: Option<u32>,
}

/// The texts of tokens that stand for none of the text.
const PADDING: &str = "[PAD]";
const UNKNOWN: &str = "[UNK]";
const FIRST: &str = "[CLS]";

impl Vocabulary {
    /// The characters of a text by code point, behind one token for all others.
    pub fn of_characters(text: &str) -> Self {
        let mut characters: Vec<char> = text.chars().collect::<std::collections::HashSet<_>>().into_iter().collect();
        characters.sort_unstable();
        let tokens = std::iter::once(UNKNOWN.to_owned()).chain(characters.into_iter().map(String::from));
        Self { unit: TextUnit::Character, tokens: tokens.collect(), unknown: 0, padding: None }
    }

    /// The words of some lines, the most frequent first (of equally frequent ones by their letters), behind padding, one
    /// token for all others, and the one that begins each sample.
    pub fn of_words<'t>(lines: impl Iterator<Item = &'t str>) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        lines.flat_map(str::split_whitespace).for_each(|word| *counts.entry(word).or_default() += 1);
        for special in [PADDING, UNKNOWN, FIRST] {
            counts.remove(special);
        }
        let mut words: Vec<(&str, usize)> = counts.into_iter().collect();
        words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let special = [PADDING, UNKNOWN, FIRST].into_iter();
        let tokens = special.chain(words.into_iter().map(|(word, _)| word)).map(str::to_owned);
        Self { unit: TextUnit::Word, tokens: tokens.collect(), unknown: 1, padding: Some(0) }
    }

    /// Tokens of which nothing is known but their number; their texts are their ids.
    pub fn of_ids(count: usize) -> Self {
        let tokens = (0..count).map(|id| id.to_string()).collect();
        Self { unit: TextUnit::Word, tokens, unknown: 0, padding: None }
    }

    /// The pieces of text that are tokens.
    pub fn unit(&self) -> TextUnit {
        self.unit
    }

    /// The texts of the tokens; the index is the id.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The token of all pieces that have none of their own.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The token that fills samples up; nothing attends to it.
    pub fn padding(&self) -> Option<u32> {
        self.padding
    }

    /// The token in front of each sample of words.
    pub fn first(&self) -> Option<u32> {
        (self.unit == TextUnit::Word).then_some(2)
    }

    /// Ids by texts.
    pub(super) fn ids(&self) -> HashMap<&str, u32> {
        self.tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id as u32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_words_are_in_order() {
        let characters = Vocabulary::of_characters("hallo\n");
        assert_eq!(characters.tokens(), ["[UNK]", "\n", "a", "h", "l", "o"]);
        let words = Vocabulary::of_words(["b a b", "c [CLS] b"].into_iter());
        assert_eq!(words.tokens(), ["[PAD]", "[UNK]", "[CLS]", "b", "a", "c"]);
        assert_eq!((words.ids()["b"], words.padding(), words.first()), (3, Some(0), Some(2)));
    }
}
