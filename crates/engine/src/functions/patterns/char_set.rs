//! Sets of characters, as sorted ranges of code points.
//!
//! What always holds: the ranges are sorted, apart from each other and not empty, so two sets with the same members are
//! equal. Classes are those of the `C.UTF-8` locale as near as Rust's tables come; digits are ASCII.

use std::sync::LazyLock;

use crate::functions::strings::{lower_char, upper_char};

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct CharSet {
    ranges: Vec<(u32, u32)>,
}

const LAST: u32 = 0x10_ffff;

impl CharSet {
    pub(super) fn empty() -> CharSet {
        CharSet::default()
    }

    pub(super) fn any() -> CharSet {
        CharSet { ranges: vec![(0, LAST)] }
    }

    pub(super) fn of(letter: char) -> CharSet {
        CharSet { ranges: vec![(letter as u32, letter as u32)] }
    }

    /// The characters from one to another, both included.
    pub(super) fn range(from: char, to: char) -> CharSet {
        CharSet { ranges: vec![(from as u32, to as u32)] }
    }

    fn from_predicate(predicate: impl Fn(char) -> bool) -> CharSet {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for letter in (0..=LAST).filter_map(char::from_u32).filter(|letter| predicate(*letter)) {
            let code = letter as u32;
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == code => *last = code,
                _ => ranges.push((code, code)),
            }
        }
        CharSet { ranges }
    }

    /// The set of a class's name, `None` when there is no such class.
    pub(super) fn class(name: &str) -> Option<CharSet> {
        // The digits of other scripts are letters to the locale, since only ASCII's are digits.
        static ALPHA: LazyLock<CharSet> = LazyLock::new(|| {
            let mut letters = CharSet::from_predicate(char::is_alphabetic);
            letters.add(&decimal_digits());
            CharSet::range('0', '9').negated().intersection(&letters)
        });
        static ALNUM: LazyLock<CharSet> = LazyLock::new(|| {
            let mut both = ALPHA.clone();
            both.add(&CharSet::range('0', '9'));
            both
        });
        static UPPER: LazyLock<CharSet> = LazyLock::new(|| CharSet::from_predicate(char::is_uppercase));
        static LOWER: LazyLock<CharSet> = LazyLock::new(|| CharSet::from_predicate(char::is_lowercase));
        static SPACE: LazyLock<CharSet> = LazyLock::new(|| {
            // iswspace leaves out the spaces that do not break, and NEL.
            CharSet::from_predicate(|c| {
                c.is_whitespace() && !matches!(c, '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}')
            })
        });
        Some(match name {
            "alpha" => ALPHA.clone(),
            "alnum" => ALNUM.clone(),
            "word" => {
                let mut word = ALNUM.clone();
                word.add(&CharSet::of('_'));
                word
            }
            "upper" => UPPER.clone(),
            "lower" => LOWER.clone(),
            "digit" => CharSet::range('0', '9'),
            "xdigit" => {
                let mut digits = CharSet::range('0', '9');
                digits.add(&CharSet::range('a', 'f'));
                digits.add(&CharSet::range('A', 'F'));
                digits
            }
            "space" => SPACE.clone(),
            "blank" => {
                let mut blank = CharSet::of(' ');
                blank.add(&CharSet::of('\t'));
                blank
            }
            "cntrl" => {
                let mut control = CharSet::range('\0', '\u{1f}');
                control.add(&CharSet::range('\u{7f}', '\u{9f}'));
                control
            }
            "punct" => CharSet::from_predicate(is_punctuation),
            "graph" => CharSet::from_predicate(|c| !c.is_control() && !c.is_whitespace()),
            "print" => CharSet::from_predicate(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')),
            "ascii" => CharSet::range('\0', '\u{7f}'),
            _ => return None,
        })
    }

    pub(super) fn add(&mut self, other: &CharSet) {
        self.ranges.extend_from_slice(&other.ranges);
        self.normalize();
    }

    fn normalize(&mut self) {
        self.ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len());
        for (from, to) in self.ranges.drain(..) {
            match merged.last_mut() {
                Some((_, last)) if from <= last.saturating_add(1) => *last = (*last).max(to),
                _ => merged.push((from, to)),
            }
        }
        self.ranges = merged;
    }

    pub(super) fn negated(&self) -> CharSet {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = 0;
        for (from, to) in &self.ranges {
            if *from > next {
                ranges.push((next, from - 1));
            }
            next = to + 1;
        }
        if next <= LAST {
            ranges.push((next, LAST));
        }
        CharSet { ranges }
    }

    pub(super) fn intersection(&self, other: &CharSet) -> CharSet {
        let mut outside = self.negated();
        outside.add(&other.negated());
        outside.negated()
    }

    pub(super) fn without(&self, letter: char) -> CharSet {
        let mut others = self.negated();
        others.add(&CharSet::of(letter));
        others.negated()
    }

    /// With the other case of every member.
    pub(super) fn case_insensitive(&self) -> CharSet {
        let mut set = self.clone();
        let mut cases = Vec::new();
        for (from, to) in &self.ranges {
            // Above, no letter has cases; ranges that are nearly everything are closed already.
            for letter in (*from..=(*to).min(0x1_ffff)).filter_map(char::from_u32) {
                for other in [lower_char(letter), upper_char(letter)] {
                    if other != letter {
                        cases.push((other as u32, other as u32));
                    }
                }
            }
        }
        set.ranges.extend(cases);
        set.normalize();
        set
    }

    #[inline]
    pub(super) fn contains(&self, letter: char) -> bool {
        let code = letter as u32;
        if let [(from, to)] = self.ranges.as_slice() {
            return (*from..=*to).contains(&code);
        }
        let index = self.ranges.partition_point(|(_, to)| *to < code);
        self.ranges.get(index).is_some_and(|(from, _)| *from <= code)
    }

    pub(super) fn intersects(&self, other: &CharSet) -> bool {
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some((a, b)), Some((c, d))) = (left.peek(), right.peek()) {
            if b < c {
                left.next();
            } else if d < a {
                right.next();
            } else {
                return true;
            }
        }
        false
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The one member of a set of one.
    pub(super) fn single(&self) -> Option<char> {
        match self.ranges.as_slice() {
            [(from, to)] if from == to => char::from_u32(*from),
            _ => None,
        }
    }

    pub(super) fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }
}

/// Unicode's category Nd.
fn decimal_digits() -> CharSet {
    // Rust's `is_numeric` also has fractions and letters that stand for numbers; the regex crate knows the category.
    let numeric = (0..=LAST).filter_map(char::from_u32).filter(|letter| letter.is_numeric()).collect::<String>();
    let mut digits = CharSet::empty();
    let category = regex::Regex::new(r"\p{Nd}").expect("a category of Unicode is a valid expression");
    for found in category.find_iter(&numeric) {
        digits.ranges.extend(found.as_str().chars().map(|letter| (letter as u32, letter as u32)));
    }
    digits.normalize();
    digits
}

fn is_punctuation(letter: char) -> bool {
    letter.is_ascii_punctuation()
        || (!letter.is_ascii() && !letter.is_alphanumeric() && !letter.is_whitespace() && !letter.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_normal_after_every_operation() {
        let mut set = CharSet::range('c', 'f');
        set.add(&CharSet::range('a', 'b'));
        set.add(&CharSet::of('z'));
        assert_eq!(set.ranges(), [('a' as u32, 'f' as u32), ('z' as u32, 'z' as u32)]);
        assert_eq!(set.negated().negated(), set);
        assert!(set.contains('d') && !set.contains('g') && set.contains('z'));
        assert!(!set.intersects(&set.negated()));
        assert!(!CharSet::any().without('\n').contains('\n'));
        assert!(CharSet::of('k').case_insensitive().contains('K'));
    }

    #[test]
    fn classes_of_the_locale() {
        let word = CharSet::class("word").unwrap_or_default();
        assert!(word.contains('_') && word.contains('é') && !word.contains('-'));
        assert!(CharSet::class("vowel").is_none());
    }
}
