//! The corpus records that failed: in full in a file, and grouped by reason on the screen.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;

/// This many reasons are printed.
const SHOWN_REASONS: usize = 25;

/// A record that failed.
#[derive(Clone, Debug)]
pub(in crate::slt) struct Miss {
    /// `FILE:LINE`, the file as seen from the corpus folder.
    pub(super) position: String,
    sql: String,
    reason: String,
}

impl Miss {
    pub(super) fn new(file: &str, line: u32, sql: &str, reason: String) -> Miss {
        Miss { position: format!("{file}:{line}"), sql: sql.to_owned(), reason }
    }
}

/// Writes each miss as a block: position, reason, SQL.
pub(super) fn write(file: &Path, misses: &[Miss]) -> anyhow::Result<()> {
    let create = || -> std::io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(file)?);
        for miss in misses {
            writeln!(
                out,
                "{}\n  {}\n  {}\n",
                miss.position,
                miss.reason.replace('\n', "\n  "),
                miss.sql.replace('\n', "\n  ")
            )?;
        }
        out.flush()
    };
    create().with_context(|| format!("cannot write {}", file.display()))
}

/// Prints the most frequent reasons, each with its number and the first record that gave it.
pub(super) fn print_reasons(misses: &[Miss]) {
    let mut groups: HashMap<String, (usize, &Miss)> = HashMap::new();
    for miss in misses {
        groups.entry(kind_of(&miss.reason)).or_insert((0, miss)).0 += 1;
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(&b.0)));
    for (kind, (count, first)) in groups.iter().take(SHOWN_REASONS) {
        println!("{count:>8}  {kind}  ({})", first.position);
    }
    if groups.len() > SHOWN_REASONS {
        println!("          and {} other reasons", groups.len() - SHOWN_REASONS);
    }
}

/// The first line of a reason without what differs from record to record: quoted names, hashes and numbers; the SQLSTATE stays.
fn kind_of(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    let mut kind = String::with_capacity(line.len());
    let mut quoted = false;
    for (index, word) in line.split(' ').enumerate() {
        if index > 0 {
            kind.push(' ');
        }
        let quotes = word.matches('"').count();
        let is_sqlstate = index == 0 && word.len() == 5;
        if quotes > 0 || quoted {
            kind.push_str("\"..\"");
        } else if !is_sqlstate && word.contains(|c: char| c.is_ascii_digit()) {
            kind.push('#');
        } else {
            kind.push_str(word);
        }
        quoted ^= quotes % 2 == 1;
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_grouped_by_what_they_have_in_common() {
        assert_eq!(kind_of("42P01 relation \"tab0\" does not exist"), "42P01 relation \"..\" does not exist");
        assert_eq!(kind_of("value 3 is 17, expected -4"), kind_of("value 12 is 1, expected 5"));
        assert_ne!(kind_of("42703 x"), kind_of("42P01 x"));
    }
}
