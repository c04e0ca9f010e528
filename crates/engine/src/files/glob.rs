//! Patterns of file names: `*` and `?` within a folder, `**` across folders, `[a-z]`, `{a,b}`.

use regex::Regex;
use wharf_values::{SqlError, SqlState};

/// Has a path wildcards? In PostgreSQL's spelling of a path only the star is one, since the others are common in names.
pub(crate) fn is_pattern(path: &str, plain: bool) -> bool {
    path.ends_with('/') || path.contains(if plain { &['*'][..] } else { &['*', '?', '[', '{'][..] })
}

/// The folder above the first wildcard, which is where a listing has to begin.
pub(crate) fn folder(pattern: &str) -> &str {
    let wild = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    pattern[..wild].rfind('/').map_or("", |slash| &pattern[..slash])
}

/// What the names that a pattern means match. A pattern that ends in a slash means everything below.
///
/// # Errors
/// `42602` for brackets without an end.
pub(crate) fn matcher(pattern: &str) -> Result<Regex, SqlError> {
    let mut regex = String::from("^");
    let mut letters = pattern.chars().peekable();
    let (mut in_braces, mut in_brackets) = (false, false);
    while let Some(letter) = letters.next() {
        match letter {
            ']' if in_brackets => {
                in_brackets = false;
                regex.push(']');
            }
            '\\' | '[' | '&' | '~' if in_brackets => regex.extend(['\\', letter]),
            _ if in_brackets => regex.push(letter),
            '*' if letters.peek() == Some(&'*') => {
                letters.next();
                // `a/**/b` is `a/b` too.
                match letters.peek() {
                    Some('/') => {
                        letters.next();
                        regex.push_str("(?:.*/)?");
                    }
                    _ => regex.push_str(".*"),
                }
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                in_brackets = true;
                regex.push('[');
                if letters.next_if_eq(&'!').is_some() {
                    regex.push('^');
                }
            }
            '{' => {
                in_braces = true;
                regex.push_str("(?:");
            }
            '}' if in_braces => {
                in_braces = false;
                regex.push(')');
            }
            ',' if in_braces => regex.push('|'),
            letter => regex.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    if pattern.ends_with('/') {
        regex.push_str(".*");
    }
    regex.push('$');
    let invalid = || SqlError::new(SqlState::INVALID_NAME, format!("\"{pattern}\" is not a pattern of file names"));
    if in_braces || in_brackets {
        return Err(invalid());
    }
    Regex::new(&regex).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn patterns_mean_what_they_do_elsewhere() {
        let all = ["a/b.csv", "a/b.csv.gz", "a/c/d.csv", "a/x[1].csv", "ab.csv", "a/B.csv", "a/é.csv"];
        let matching = |pattern: &str| {
            let regex = matcher(pattern).unwrap();
            all.iter().copied().filter(|name| regex.is_match(name)).collect::<Vec<_>>()
        };
        assert_eq!(matching("a/*.csv"), ["a/b.csv", "a/x[1].csv", "a/B.csv", "a/é.csv"]);
        assert_eq!(matching("a/**/*.csv"), ["a/b.csv", "a/c/d.csv", "a/x[1].csv", "a/B.csv", "a/é.csv"]);
        assert_eq!(matching("a/?.csv"), ["a/b.csv", "a/B.csv", "a/é.csv"]);
        assert_eq!(matching("a/[a-c].csv"), ["a/b.csv"]);
        assert_eq!(matching("a/[!a-c].csv"), ["a/B.csv", "a/é.csv"]);
        assert_eq!(matching("{a/b,ab}.csv"), ["a/b.csv", "ab.csv"]);
        assert_eq!(matching("a/c/"), ["a/c/d.csv"]);
        assert!(matcher("a/[b").is_err());
        assert_eq!((folder("a/b*/c"), folder("*.csv"), folder("a/c/")), ("a", "", "a/c"));
        assert!(is_pattern("a/*.csv", true) && !is_pattern("a/x[1].csv", true) && is_pattern("a/x[1].csv", false));
    }
}
