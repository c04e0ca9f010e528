//! A regular expression ready to be used: by the `regex` crate where that is proved to agree with PostgreSQL, by the
//! matcher of our own otherwise.
//!
//! What always holds: compiled expressions are shared through a cache of limited size, so a function that is given a
//! pattern per row or per batch does not compile it again and again.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use regex::{CaptureLocations, Regex, RegexBuilder};

use super::matcher::{Matcher, Slots};
use super::syntax::{Options, parse};
use super::translate::{same_match, translate};
use crate::functions::call::{Result, TextColumn};

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Pattern {
    /// The expression for the crate, where it can be said in its language.
    crate_regex: Option<Regex>,
    /// The crate finds the match that PostgreSQL finds.
    same: bool,
    /// Needed where it does not.
    matcher: Option<Matcher>,
    captures: usize,
}

/// Bytes of a compiled program of the crate, at most; beyond, our own matcher does it.
const SIZE_LIMIT: usize = 20 << 20;

impl Pattern {
    fn new(pattern: &str, options: Options) -> Result<Pattern> {
        let parsed = parse(pattern, options)?;
        let crate_regex = translate(&parsed.root)
            .and_then(|text| RegexBuilder::new(&text).size_limit(SIZE_LIMIT).nest_limit(1000).build().ok());
        let same = crate_regex.is_some() && same_match(&parsed.root);
        let matcher = if same { None } else { Some(Matcher::new(&parsed)?) };
        Ok(Pattern { crate_regex, same, matcher, captures: parsed.captures })
    }

    /// The compiled expression of a pattern with options, from the cache.
    ///
    /// # Errors
    /// `2201B` for a pattern that is none.
    pub(super) fn get(pattern: &str, options: Options) -> Result<Arc<Pattern>> {
        const MAX_CACHED: usize = 256;
        type Cache = HashMap<(String, Options), Arc<Pattern>>;
        static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);
        let key = (pattern.to_owned(), Options { global: false, ..options });
        if let Some(found) = CACHE.lock().get(&key) {
            return Ok(Arc::clone(found));
        }
        let compiled = Arc::new(Pattern::new(pattern, options)?);
        let mut cache = CACHE.lock();
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }

    /// The number of captures.
    pub(super) fn captures(&self) -> usize {
        self.captures
    }

    /// Whether the text has a match anywhere.
    pub(super) fn is_match(&self, text: &str) -> Result<bool> {
        match &self.crate_regex {
            Some(regex) => Ok(regex.is_match(text)),
            None => Search::new(self, text).find(0, false),
        }
    }
}

/// The pattern and flags of a call's rows, looked up once where they are constant.
pub(super) struct Patterns<'a> {
    pattern: TextColumn<'a>,
    flags: Option<TextColumn<'a>>,
    constant: Option<(Arc<Pattern>, Options)>,
}

impl<'a> Patterns<'a> {
    /// `check` refuses options that a function does not take.
    pub(super) fn new(
        pattern: TextColumn<'a>,
        flags: Option<TextColumn<'a>>,
        check: impl Fn(Options) -> Result<()>,
    ) -> Result<Patterns<'a>> {
        let constant = match (pattern.constant(), flags.map(|flags| flags.constant())) {
            (Some(pattern), None) => Some((pattern, "")),
            (Some(pattern), Some(Some(flags))) => Some((pattern, flags)),
            _ => None,
        };
        let constant = match constant {
            Some((pattern, flags)) => {
                let options = Options::parse(flags)?;
                check(options)?;
                Some((Pattern::get(pattern, options)?, options))
            }
            None => None,
        };
        Ok(Patterns { pattern, flags, constant })
    }

    /// The pattern of a row.
    pub(super) fn at(&self, row: usize, check: impl Fn(Options) -> Result<()>) -> Result<(Arc<Pattern>, Options)> {
        if let Some((pattern, options)) = &self.constant {
            return Ok((Arc::clone(pattern), *options));
        }
        let options = Options::parse(self.flags.map_or("", |flags| flags.at(row)))?;
        check(options)?;
        Ok((Pattern::get(self.pattern.at(row), options)?, options))
    }
}

/// The search for matches in one text. Positions are bytes.
pub(super) struct Search<'p, 'a> {
    pattern: &'p Pattern,
    text: &'a str,
    locations: Option<CaptureLocations>,
    /// Where the last match and its captures lie.
    found: Slots,
    /// The characters and where each begins (and where the last ends), for our own matcher.
    letters: Option<(Vec<char>, Vec<usize>)>,
}

impl<'p, 'a> Search<'p, 'a> {
    pub(super) fn new(pattern: &'p Pattern, text: &'a str) -> Search<'p, 'a> {
        Search { pattern, text, locations: None, found: Vec::new(), letters: None }
    }

    /// Finds the first match that begins at or after a place; with its captures if they are wanted.
    pub(super) fn find(&mut self, from: usize, want_captures: bool) -> Result<bool> {
        let Pattern { crate_regex, same, matcher, .. } = self.pattern;
        if let (Some(regex), true) = (crate_regex, *same) {
            return Ok(self.find_by_crate(regex, from, want_captures && self.pattern.captures > 0));
        }
        let Some(matcher) = matcher else {
            return Err(wharf_values::SqlError::internal("a regular expression has no matcher"));
        };
        // The crate knows where the match begins.
        let known_start = match crate_regex {
            Some(regex) => match regex.find_at(self.text, from) {
                Some(found) => Some(found.start()),
                None => return Ok(false),
            },
            None => None,
        };
        let (letters, offsets) = self.letters.get_or_insert_with(|| {
            let offsets = self.text.char_indices().map(|(offset, _)| offset);
            (self.text.chars().collect(), offsets.chain([self.text.len()]).collect())
        });
        let index_of = |offset: usize| offsets.partition_point(|known| *known < offset);
        let (first, last) = match known_start {
            Some(start) => (index_of(start), index_of(start)),
            None => (index_of(from), letters.len()),
        };
        let matched = matcher.find(letters, first, last, want_captures, &mut self.found)?;
        for slot in self.found.iter_mut().flatten() {
            *slot = (offsets[slot.0], offsets[slot.1]);
        }
        Ok(matched)
    }

    fn find_by_crate(&mut self, regex: &Regex, from: usize, want_captures: bool) -> bool {
        self.found.clear();
        if !want_captures {
            let found = regex.find_at(self.text, from);
            self.found.extend(found.map(|found| Some((found.start(), found.end()))));
            return found.is_some();
        }
        let locations = self.locations.get_or_insert_with(|| regex.capture_locations());
        let matched = regex.captures_read_at(locations, self.text, from).is_some();
        if matched {
            self.found.extend((0..locations.len()).map(|index| locations.get(index)));
        }
        matched
    }

    /// Where the match lies that was found last.
    pub(super) fn span(&self) -> (usize, usize) {
        self.found.first().copied().flatten().unwrap_or_default()
    }

    /// What a capture of it holds.
    pub(super) fn capture(&self, index: usize) -> Option<&'a str> {
        self.found.get(index).copied().flatten().map(|(start, end)| &self.text[start..end])
    }

    /// Where a capture of it lies.
    pub(super) fn capture_span(&self, index: usize) -> Option<(usize, usize)> {
        self.found.get(index).copied().flatten()
    }

    /// Where the search for the next match begins: behind this one, and one character further if this one is empty.
    /// Beyond the end of the text when there is nothing left to search.
    pub(super) fn next_start(&self) -> usize {
        let (start, end) = self.span();
        if start < end {
            return end;
        }
        end + self.text[end..].chars().next().map_or(1, char::len_utf8)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The captures (or the match), as `regexp_match` gives them; computed by our own matcher even where the crate's is
    /// the same, so that both are tested.
    fn groups(pattern: &str, text: &str) -> Option<Vec<Option<String>>> {
        let compiled = Pattern::new(pattern, Options::default()).unwrap();
        let run = |pattern: &Pattern| {
            let mut search = Search::new(pattern, text);
            search.find(0, true).unwrap().then(|| {
                let range = if pattern.captures == 0 { 0..1 } else { 1..pattern.captures + 1 };
                range.map(|index| search.capture(index).map(str::to_owned)).collect::<Vec<_>>()
            })
        };
        let found = run(&compiled);
        if compiled.same {
            let parsed = parse(pattern, Options::default()).unwrap();
            let own = Pattern { same: false, matcher: Some(Matcher::new(&parsed).unwrap()), ..compiled };
            assert_eq!(run(&own), found, "the matchers disagree on {pattern} in {text}");
        }
        found
    }

    fn text_of(found: Option<Vec<Option<String>>>) -> String {
        match found {
            None => "no match".to_owned(),
            Some(groups) => {
                groups.into_iter().map(|group| group.unwrap_or("NULL".to_owned())).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// Expectations from PostgreSQL 15.
    #[test]
    fn matches_are_those_of_postgresql() {
        for (pattern, text, expected) in [
            ("foo|foobar", "foobar", "foobar"),
            ("(a|ab)(c|bcd)(d*)", "abcd", "ab,c,d"),
            ("a.*?b.*c", "xabcx", "abc"),
            ("Y*([0-9]{1,3})", "XY1234Z", "123"),
            ("Y*?([0-9]{1,3})", "XY1234Z", "1"),
            ("((a)|b)*", "ab", "b,NULL"),
            ("(a*)*", "aaa", "aaa"),
            ("(a*)+", "aaa", ""),
            ("(abc){2}", "abcabc", "abc"),
            (r"(a+)b\1", "aaabaa", "aa"),
            ("(?<=a)b", "cbab", "b"),
            ("a(?!b)", "abac", "a"),
            (r"^https?://(?:www\.)?([^/]+)/.*$", "https://www.example.com/x", "example.com"),
            ("[0-9]+", "abc", "no match"),
        ] {
            assert_eq!(text_of(groups(pattern, text)), expected, "{pattern} in {text}");
        }
    }
}
