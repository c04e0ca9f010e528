//! The corpus records that PostgreSQL itself fails, one `FILE:LINE` per line, `#` before a remark.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::Context;

use super::Outcome;

/// The lines of the failing records, by file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline(HashMap<String, HashSet<u32>>);

impl Baseline {
    /// Reads a baseline; a line that is none is an error with its number.
    pub(super) fn read(file: &Path) -> anyhow::Result<Baseline> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Baseline::parse(&text).with_context(|| file.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Baseline> {
        let mut files: HashMap<String, HashSet<u32>> = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let position = line.rsplit_once(':').and_then(|(file, number)| Some((file, number.parse().ok()?)));
            let (file, number) = position.with_context(|| format!("line {}: {line:?} is no FILE:LINE", index + 1))?;
            files.entry(file.to_owned()).or_default().insert(number);
        }
        Ok(Baseline(files))
    }

    /// The lines of this file's failing records.
    pub(super) fn of_file(&self, file: &str) -> HashSet<u32> {
        self.0.get(file).cloned().unwrap_or_default()
    }
}

/// Writes the baseline of a whole run against PostgreSQL.
pub(super) fn write(file: &Path, version: &str, total: &Outcome) -> anyhow::Result<()> {
    let mut text = format!(
        "# Records of SQLite's sqllogictest corpus that PostgreSQL itself fails, by file and line.\n\
         # Written by `wharf-bench slt --postgres --corpus DIR --write-baseline FILE` against {}:\n\
         # {} records passed, {} failed, {} are for other databases.\n",
        version.split(" on ").next().unwrap_or(version),
        total.passed,
        total.misses.len(),
        total.skipped
    );
    for miss in &total.misses {
        text.push_str(&miss.position);
        text.push('\n');
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn positions_are_read_by_file() {
        let baseline =
            Baseline::parse("# remark\nevidence/in1.test:12\nevidence/in1.test:40\n\nselect1.test:7\n").unwrap();
        assert_eq!(baseline.of_file("evidence/in1.test"), HashSet::from([12, 40]));
        assert_eq!(baseline.of_file("other.test"), HashSet::new());
        assert!(Baseline::parse("evidence/in1.test\n").is_err());
    }
}
