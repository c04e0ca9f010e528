//! Runs one file of the corpus on a connection of its own, in a schema of its own.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use tokio_postgres::SimpleQueryMessage;

use super::super::session::{Session, SessionError, Wishes};
use super::super::{Target, files};
use super::Outcome;
use super::misses::Miss;
use super::parse::{Expected, Record, Sort, parse};
use super::render::Values;

/// Runs the file; `known` are the lines of the records that PostgreSQL itself fails.
///
/// An error is a file that cannot be read, or a server that cannot be reached any more.
pub(super) async fn run_file(
    target: &Target,
    file: &Path,
    name: &str,
    known: &HashSet<u32>,
) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let text = std::fs::read_to_string(file)?;
    let records = parse(&text)?;
    let schema = files::schema_name(Path::new(name));
    remake_schema(target, &schema, true).await?;
    let mut outcome = Outcome::default();
    let mut session = Session::open(target, &schema, Wishes::default()).await?;
    let mut judge = Judge::default();
    for record in &records {
        if record.skipped {
            outcome.skipped += 1;
            continue;
        }
        let answer = session.simple(&record.sql).await;
        let lost = answer.as_ref().is_err_and(SessionError::is_fatal);
        let verdict = judge.judge(record, answer);
        match verdict {
            _ if known.contains(&record.line) => outcome.not_counted += 1,
            Ok(()) => outcome.passed += 1,
            Err(reason) => outcome.misses.push(Miss::new(name, record.line, &record.sql, reason)),
        }
        if lost {
            session = Session::open(target, &schema, Wishes::default())
                .await
                .with_context(|| format!("the connection was lost at line {} and there is no new one", record.line))?;
        }
    }
    remake_schema(target, &schema, false).await?;
    outcome.took = started.elapsed();
    Ok(outcome)
}

async fn remake_schema(target: &Target, schema: &str, create: bool) -> anyhow::Result<()> {
    let session = Session::open(target, "public", Wishes::default()).await?;
    session.simple(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
    if create {
        session.simple(&format!("CREATE SCHEMA {schema}")).await?;
    }
    Ok(())
}

/// Judges answers; remembers the hash of every label, since results of the same label have to be the same.
#[derive(Debug, Default)]
struct Judge {
    values: Values,
    labels: HashMap<String, String>,
}

impl Judge {
    fn judge(
        &mut self,
        record: &Record<'_>,
        answer: Result<Vec<SimpleQueryMessage>, SessionError>,
    ) -> Result<(), String> {
        let messages = match (answer, &record.expected) {
            (Err(error), Expected::Error) if error.code().is_some() => return Ok(()),
            (Err(error), _) => return Err(error.to_string()),
            (Ok(_), Expected::Error) => {
                return Err("it succeeded, an error was expected".to_owned());
            }
            (Ok(_), Expected::Success) => return Ok(()),
            (Ok(messages), Expected::Result { .. }) => messages,
        };
        let Expected::Result { letters, sort, label, lines } = &record.expected else {
            unreachable!("the other expectations returned above")
        };
        self.values.clear();
        for message in &messages {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            if row.len() != letters.len() {
                return Err(format!("{} columns, expected {}", row.len(), letters.len()));
            }
            for (index, letter) in letters.bytes().enumerate() {
                let value = row.try_get(index).map_err(|error| error.to_string())?;
                self.values.push(letter, value);
            }
        }
        self.compare(record.hash_threshold, letters.len(), *sort, *label, lines)
    }

    fn compare(
        &mut self,
        hash_threshold: usize,
        columns: usize,
        sort: Sort,
        label: Option<&str>,
        expected: &[&str],
    ) -> Result<(), String> {
        self.values.sort(sort, columns);
        // Some files have hashes without saying from which number of values on: the expectation itself says it then.
        let expects_hash = matches!(expected, [line] if line.contains(" values hashing to "));
        let hashed = expects_hash || hash_threshold > 0 && self.values.len() > hash_threshold;
        let hash = (hashed || label.is_some()).then(|| self.values.hash());
        if let (Some(label), Some(hash)) = (label, &hash) {
            let first = self.labels.entry(label.to_owned()).or_insert_with(|| hash.clone());
            if first != hash {
                return Err(format!("{hash}, but an earlier result labelled {label} had {first}"));
            }
        }
        match hash {
            Some(hash) if hashed => match expected {
                [line] if *line == hash => Ok(()),
                _ => Err(format!("{hash}, expected {}", expected.first().unwrap_or(&"nothing"))),
            },
            _ => self.compare_values(expected),
        }
    }

    fn compare_values(&self, expected: &[&str]) -> Result<(), String> {
        if self.values.len() != expected.len() {
            return Err(format!("{} values, expected {}", self.values.len(), expected.len()));
        }
        for (index, (actual, expected)) in self.values.iter().zip(expected).enumerate() {
            if actual != *expected {
                return Err(format!("value {} is {actual}, expected {expected}", index + 1));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge_of(from_server: &[&str]) -> Judge {
        let mut judge = Judge::default();
        for value in from_server {
            judge.values.push(b'I', Some(value));
        }
        judge
    }

    #[test]
    fn values_are_compared_after_sorting() {
        assert_eq!(judge_of(&["2", "1"]).compare(8, 1, Sort::Rows, None, &["1", "2"]), Ok(()));
        assert!(judge_of(&["2", "1"]).compare(8, 1, Sort::None, None, &["1", "2"]).is_err());
        assert!(judge_of(&["1"]).compare(8, 1, Sort::None, None, &["1", "2"]).is_err());
    }

    #[test]
    fn many_values_are_compared_by_their_hash() {
        let expected = "2 values hashing to 6ddb4095eb719e2a9f0a3f95677d24e0";
        assert_eq!(judge_of(&["1", "2"]).compare(1, 1, Sort::None, None, &[expected]), Ok(()));
        assert!(judge_of(&["1", "3"]).compare(1, 1, Sort::None, None, &[expected]).is_err());
        assert_eq!(judge_of(&["1", "2"]).compare(0, 1, Sort::None, None, &[expected]), Ok(()), "without a threshold");
        assert!(judge_of(&["1", "2"]).compare(1, 1, Sort::None, None, &["1", "2"]).is_err());
    }

    #[test]
    fn results_of_one_label_have_to_be_the_same() {
        let mut judge = judge_of(&["1"]);
        assert_eq!(judge.compare(8, 1, Sort::None, Some("x"), &["1"]), Ok(()));
        judge.values.clear();
        judge.values.push(b'I', Some("2"));
        assert!(judge.compare(8, 1, Sort::None, Some("x"), &["2"]).is_err());
    }
}
