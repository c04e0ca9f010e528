//! Our own files, a topic each: run, judged, reported, and on request rewritten.
//!
//! Every file has a schema of its own, made before and dropped after it, so files know nothing of each other and run in any
//! order. A failed record does not end its file: what follows is run and judged as well.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use sqllogictest::{Record, Runner};

use super::Target;
use super::column_letter::ColumnLetter;
use super::files::schema_name;
use super::judge::{Verdict, error_of, judge};
use super::rewrite::rewrite;
use super::session::{Session, Wishes};

/// A query with this label has the names of its columns as the first row of its result.
const NAMES_LABEL: &str = "names";

/// What came of one file.
#[derive(Debug, Default)]
struct Outcome {
    passed: usize,
    failed: usize,
    skipped: usize,
    rewritten: usize,
    /// Where each failed record stands, and a block of text about it.
    failures: Vec<(String, String)>,
    took: Duration,
}

/// Runs the files, `jobs` at a time, and prints what came of each. `true`: everything expected was met.
///
/// An error is a file that cannot be read or parsed, or a schema that cannot be made.
pub(super) async fn run(
    target: &Target,
    files: &[PathBuf],
    jobs: usize,
    overwrite: bool,
    misses: &KnownMisses,
) -> anyhow::Result<bool> {
    let started = Instant::now();
    refuse_equal_names(files)?;
    let known = misses.read()?;
    let mut failed_places = BTreeSet::new();
    let mut total = Outcome::default();
    let mut outcomes = futures::stream::iter(files)
        .map(|file| async move { (file, run_file(target, file, overwrite).await) })
        .buffered(jobs);
    while let Some((file, outcome)) = outcomes.next().await {
        let outcome = outcome.with_context(|| file.display().to_string())?;
        println!("{}", line(&file.display().to_string(), &outcome));
        for (place, failure) in &outcome.failures {
            failed_places.insert(place.clone());
            if !known.contains(place) {
                println!("{failure}");
            }
        }
        total.passed += outcome.passed;
        total.failed += outcome.failed;
        total.skipped += outcome.skipped;
        total.rewritten += outcome.rewritten;
    }
    total.took = started.elapsed();
    println!("{}", line(&format!("total, {} files", files.len()), &total));
    if let Some(file) = &misses.write {
        let list: String = failed_places.iter().map(|place| format!("{place}\n")).collect();
        std::fs::write(file, list).with_context(|| file.display().to_string())?;
    }
    let new = failed_places.difference(&known).count();
    let mended: Vec<_> = known.difference(&failed_places).collect();
    if !known.is_empty() {
        println!("known misses: {} of {} still miss, {new} new", known.len() - mended.len(), known.len());
    }
    for place in &mended {
        println!("  {place} is listed as a miss and passes now: take it off the list");
    }
    // Some answers come in no fixed order, so a listed record may pass by luck: that is told, and fails nothing.
    Ok(new == 0)
}

/// The records that are known to miss, one `file:line` each. A record that misses without being listed is a failure; one
/// that is listed and passes is told, so that it is taken off the list.
#[derive(Debug, Default)]
pub(super) struct KnownMisses {
    /// The list to hold the run to.
    pub(super) list: Option<PathBuf>,
    /// Where to write the list that this run gives.
    pub(super) write: Option<PathBuf>,
}

impl KnownMisses {
    fn read(&self) -> anyhow::Result<BTreeSet<String>> {
        let Some(file) = &self.list else { return Ok(BTreeSet::new()) };
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

/// Two files of one name would share a schema.
fn refuse_equal_names(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut names = HashSet::new();
    for file in files {
        if !names.insert(file.file_stem()) {
            bail!("{}: another file of this run has the same name", file.display());
        }
    }
    Ok(())
}

fn line(name: &str, outcome: &Outcome) -> String {
    let mut text = format!(
        "{name:<44} {:>5} passed {:>5} failed {:>5} skipped {:>7} ms",
        outcome.passed,
        outcome.failed,
        outcome.skipped,
        outcome.took.as_millis()
    );
    if outcome.rewritten > 0 {
        let _ = write!(text, " {:>5} rewritten", outcome.rewritten);
    }
    text
}

async fn run_file(target: &Target, file: &Path, overwrite: bool) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let records = sqllogictest::parse_file::<ColumnLetter>(file)?;
    let schema = schema_name(Path::new(file.file_stem().unwrap_or_default()));
    remake_schema(target, &schema, true).await?;
    let mut outcome = Outcome::default();
    let rewritten = run_records(target, &schema, records, overwrite, &mut outcome).await;
    remake_schema(target, &schema, false).await?;
    if overwrite && outcome.rewritten > 0 {
        std::fs::write(file, file_text(&rewritten))?;
    }
    outcome.took = started.elapsed();
    Ok(outcome)
}

/// Runs the records in order and returns them with their expectations as they are to be written.
async fn run_records(
    target: &Target,
    schema: &str,
    records: Vec<Record<ColumnLetter>>,
    overwrite: bool,
    outcome: &mut Outcome,
) -> Vec<Record<ColumnLetter>> {
    let wishes = Wishes::default();
    let mut runner = Runner::new(|| {
        let wishes = wishes.clone();
        async move { Session::open(target, schema, wishes).await }
    });
    runner.add_label(target.dialect.label());
    let mut written = Vec::with_capacity(records.len());
    let mut halted = false;
    for record in records {
        halted |= matches!(record, Record::Halt { .. });
        if halted {
            written.push(record);
            continue;
        }
        let (describe, names) = match &record {
            Record::Query { expected: sqllogictest::QueryExpect::Results { label, .. }, .. } => {
                (true, label.as_deref() == Some(NAMES_LABEL))
            }
            _ => (false, false),
        };
        wishes.set(describe, names);
        let output = runner.apply_record(record.clone()).await;
        if overwrite {
            match rewrite(&record, &output) {
                Ok(Some(new)) => {
                    outcome.rewritten += usize::from(new.to_string() != record.to_string());
                    outcome.passed += 1;
                    written.push(new);
                    continue;
                }
                Ok(None) => {}
                Err(reason) => {
                    outcome.failed += 1;
                    outcome.failures.push((place(&record), failure_text(&record, &reason)));
                    written.push(record);
                    continue;
                }
            }
        }
        match judge(&record, &output) {
            Verdict::Passed => outcome.passed += 1,
            Verdict::Skipped => outcome.skipped += 1,
            Verdict::NoRecord => {}
            Verdict::Failed(reason) => {
                outcome.failed += 1;
                outcome.failures.push((place(&record), failure_text(&record, &reason)));
            }
        }
        // The rest of the file would fail for the same reason, each record after its time limit.
        halted |= error_of(&output).is_some_and(|error| error.is_fatal());
        written.push(record);
    }
    runner.shutdown_async().await;
    written
}

/// Where a record stands, as `file:line`.
fn place(record: &Record<ColumnLetter>) -> String {
    match record {
        Record::Statement { loc, .. } | Record::Query { loc, .. } => loc.to_string(),
        _ => String::new(),
    }
}

fn failure_text(record: &Record<ColumnLetter>, reason: &str) -> String {
    let (location, sql) = match record {
        Record::Statement { loc, sql, .. } | Record::Query { loc, sql, .. } => (loc.to_string(), sql.as_str()),
        _ => (String::new(), ""),
    };
    format!("  {location}\n    {}\n    {}", sql.replace('\n', "\n    "), reason.replace('\n', "\n    "))
}

/// Drops the schema with all it holds, and makes it anew if asked to.
async fn remake_schema(target: &Target, schema: &str, create: bool) -> anyhow::Result<()> {
    let session = Session::open(target, "public", Wishes::default()).await?;
    session.simple(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
    if create {
        session.simple(&format!("CREATE SCHEMA {schema}")).await?;
    }
    Ok(())
}

fn file_text(records: &[Record<ColumnLetter>]) -> String {
    let mut text = String::new();
    for record in records {
        let _ = writeln!(text, "{record}");
    }
    text.truncate(text.trim_end_matches('\n').len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_files_of_this_repository_survive_being_written_back() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sqllogictest");
        let mut records_in_all = 0;
        for file in super::super::files::find(&[folder], "slt", None).unwrap() {
            let records = sqllogictest::parse_file::<ColumnLetter>(&file).unwrap();
            records_in_all += records
                .iter()
                .filter(|record| matches!(record, Record::Statement { .. } | Record::Query { .. }))
                .count();
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(file_text(&records), text, "{} is not written as --override would", file.display());
        }
        assert!(records_in_all >= 400, "only {records_in_all} records");
    }
}
