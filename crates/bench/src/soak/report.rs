//! What a run came to, for people and as JSON.

use std::collections::BTreeMap;

use super::campaign::Told;
use super::history::History;
use crate::report::{TextTable, median};

/// What a run came to.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) seconds: f64,
    pub(super) network: &'static str,
    clock_jumps: bool,
    done: BTreeMap<&'static str, u64>,
    unknown: BTreeMap<&'static str, u64>,
    refused: BTreeMap<String, u64>,
    lost_connections: u64,
    recovery_max_ms: f64,
    recovery_median_ms: f64,
    faults: Vec<Told>,
    pub(super) failures: Vec<String>,
}

impl Report {
    /// Of a run that is over.
    pub(super) fn new(
        seed: u64,
        seconds: f64,
        namespaces: bool,
        clock_jumps: bool,
        history: &History,
        faults: Vec<Told>,
    ) -> Report {
        let recoveries = recoveries(&faults);
        Report {
            seed,
            seconds,
            network: if namespaces { "namespaces" } else { "loopback" },
            clock_jumps,
            done: history.done.clone(),
            unknown: history.unknown.clone(),
            refused: history.refused.clone(),
            lost_connections: history.lost_connections,
            recovery_max_ms: recoveries.iter().copied().fold(0.0, f64::max),
            recovery_median_ms: median(&recoveries),
            faults,
            failures: Vec::new(),
        }
    }

    /// Prints it.
    pub(super) fn print(&self) {
        let mut table = TextTable::new(["what", "done", "unknown"]);
        for (kind, done) in &self.done {
            table.row([(*kind).to_owned(), done.to_string(), self.unknown.get(kind).unwrap_or(&0).to_string()]);
        }
        println!("\n{table}");
        let refused = self.refused.iter().map(|(code, many)| format!("{code} {many}"));
        println!("refused: {}", refused.collect::<Vec<_>>().join(", "));
        println!("connections lost, or without an answer: {}", self.lost_connections);
        println!(
            "{} faults; a majority took writes again after {:.0} ms (median), {:.0} ms (longest)",
            self.faults.len(),
            self.recovery_median_ms,
            self.recovery_max_ms
        );
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        println!("{} failures", self.failures.len());
    }
}

/// How long those faults took that left a majority.
fn recoveries(faults: &[Told]) -> Vec<f64> {
    faults.iter().filter(|told| told.quorum).filter_map(|told| told.each_ms.or(told.first_ms)).collect()
}
