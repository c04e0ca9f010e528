//! SQLite's sqllogictest corpus, judged as its own program judges it.
//!
//! What always holds: PostgreSQL is the measure. A record that PostgreSQL itself fails stands in the baseline and does not count,
//! and every other one that fails is a miss, listed with its SQL and the reason.

mod baseline;
mod misses;
mod parse;
mod render;
mod run_file;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;

use self::baseline::Baseline;
use self::misses::Miss;
use super::{Dialect, Target, files};

/// What a corpus run is asked for.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) folder: PathBuf,
    pub(super) baseline: Option<PathBuf>,
    pub(super) write_baseline: Option<PathBuf>,
    pub(super) misses: Option<PathBuf>,
    /// The percentage of the records that count which must pass.
    pub(super) require: f64,
    pub(super) jobs: usize,
}

/// What came of one file.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) passed: usize,
    pub(super) skipped: usize,
    /// Records left out because PostgreSQL fails them too, whatever they gave.
    pub(super) not_counted: usize,
    pub(super) misses: Vec<Miss>,
    pub(super) took: Duration,
}

/// Runs the corpus and reports. `true`: at least the required percentage of the records that count passed.
pub(super) async fn run(target: &Target, options: &Options) -> anyhow::Result<bool> {
    let baseline = match &options.baseline {
        Some(file) => Baseline::read(file)?,
        None => Baseline::default(),
    };
    let found = files::find(std::slice::from_ref(&options.folder), "test", None)?;
    let started = Instant::now();
    let mut total = Outcome::default();
    let mut tasks = futures::stream::iter(found.iter())
        .map(|file| {
            let name = name_in(&options.folder, file);
            let (target, file, known) = (target.clone(), file.clone(), baseline.of_file(&name));
            async move {
                let task = tokio::spawn({
                    let name = name.clone();
                    async move { run_file::run_file(&target, &file, &name, &known).await }
                });
                (name, task.await)
            }
        })
        .buffered(options.jobs);
    while let Some((name, outcome)) = tasks.next().await {
        let outcome = outcome.context("a task of the runner ended")?.with_context(|| name.clone())?;
        println!("{}", line(&name, &outcome));
        total.passed += outcome.passed;
        total.skipped += outcome.skipped;
        total.not_counted += outcome.not_counted;
        total.misses.extend(outcome.misses);
    }
    total.took = started.elapsed();
    println!("{}", line(&format!("total, {} files", found.len()), &total));
    finish(target, options, &total)
}

fn finish(target: &Target, options: &Options, total: &Outcome) -> anyhow::Result<bool> {
    let counted = total.passed + total.misses.len();
    if counted == 0 {
        bail!("no record of the corpus was run");
    }
    let percentage = 100.0 * total.passed as f64 / counted as f64;
    match &options.baseline {
        Some(_) => println!(
            "{percentage:.3} % of the {counted} records that PostgreSQL passes ({} more are in the baseline)",
            total.not_counted
        ),
        None => println!("{percentage:.3} % of {counted} records"),
    }
    misses::print_reasons(&total.misses);
    if let Some(file) = &options.misses {
        misses::write(file, &total.misses)?;
    }
    if let Some(file) = &options.write_baseline {
        assert_eq!(target.dialect, Dialect::Postgres, "only PostgreSQL is the measure");
        baseline::write(file, &target.version, total)?;
    }
    Ok(percentage >= options.require)
}

fn line(name: &str, outcome: &Outcome) -> String {
    format!(
        "{name:<44} {:>6} passed {:>6} failed {:>6} skipped {:>6} not counted {:>8} ms",
        outcome.passed,
        outcome.misses.len(),
        outcome.skipped,
        outcome.not_counted,
        outcome.took.as_millis()
    )
}

fn name_in(folder: &Path, file: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).to_string_lossy().into_owned()
}
