//! The figures of a warehouse on an object store beside one on a local disk: gathered, judged, printed, and written as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::report::{TextTable, mebibytes, median};
use crate::throttle::{Answered, Totals};
use crate::workloads::tpch::QUERIES;

/// How often the warm queries may take longer on the store.
const WARM_AIM: f64 = 1.1;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    pub(super) scale: f64,
    pub(super) rounds: u16,
    pub(super) first_byte_ms: u64,
    pub(super) megabytes_per_second: f64,
    pub(super) load_seconds: BTreeMap<&'static str, f64>,
    /// In the order in which they were measured.
    pub(super) phases: Vec<Phase>,
    /// Phase to the time on the store divided by that on the local disk.
    pub(super) ratios: BTreeMap<&'static str, f64>,
    pub(super) warm_aim: f64,
    pub(super) failures: Vec<String>,
}

/// All queries, under one condition.
#[derive(Debug, Default, Serialize)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// Side to query to the milliseconds of each round.
    pub(super) milliseconds: BTreeMap<&'static str, BTreeMap<&'static str, Vec<f64>>>,
    /// What was asked of the store.
    pub(super) asked: Asked,
    /// What the server says of its cache, counted since its start.
    pub(super) cache: BTreeMap<String, i64>,
}

/// What was asked of the store in a phase.
#[derive(Debug, Default, Serialize)]
pub(super) struct Asked {
    /// Kind of request to how many, and their bytes.
    kinds: BTreeMap<String, Totals>,
    all: Totals,
    /// How many were under way at the same time at most.
    most_under_way: usize,
}

impl Asked {
    pub(super) fn new((answered, most_under_way): &(Vec<Answered>, usize)) -> Asked {
        let kinds = Totals::by_kind(answered);
        let mut all = Totals::default();
        for sum in kinds.values() {
            all.requests += sum.requests;
            all.bytes_down += sum.bytes_down;
            all.bytes_up += sum.bytes_up;
        }
        let kinds = kinds.into_iter().map(|(kind, sum)| (kind.name().to_owned(), sum)).collect();
        Asked { kinds, all, most_under_way: *most_under_way }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |sum: &Totals| format!("{} ({})", sum.requests, mebibytes(sum.bytes_down + sum.bytes_up));
        let kinds: Vec<_> = self.kinds.iter().map(|(kind, sum)| format!("{kind} {}", bytes(sum))).collect();
        write!(f, "{} requests", bytes(&self.all))?;
        match kinds.is_empty() {
            true => Ok(()),
            false => write!(f, ", {} at a time at most: {}", self.most_under_way, kinds.join(", ")),
        }
    }
}

impl Phase {
    /// The sum of the medians of all queries, in milliseconds; none when one is missing.
    fn total(&self, side: &str) -> Option<f64> {
        let times = self.milliseconds.get(side)?;
        QUERIES.iter().map(|query| times.get(query.name).map(|rounds| median(rounds))).sum()
    }
}

impl Results {
    /// Computes the ratios.
    pub(super) fn judge(&mut self) {
        let ratio = |phase: &Phase| Some((phase.name, phase.total("store")? / phase.total("local")?));
        self.ratios = self.phases.iter().filter_map(ratio).collect();
    }

    /// Whether warm queries are as fast as they are meant to be; what was not measured is not.
    pub(super) fn aim_is_met(&self) -> bool {
        self.ratios.get("warm").is_some_and(|ratio| *ratio <= self.warm_aim)
    }

    pub(super) fn new(scale: f64, rounds: u16, first_byte_ms: u64, megabytes_per_second: f64) -> Results {
        Results {
            scale,
            rounds,
            first_byte_ms,
            megabytes_per_second,
            load_seconds: BTreeMap::new(),
            phases: Vec::new(),
            ratios: BTreeMap::new(),
            warm_aim: WARM_AIM,
            failures: Vec::new(),
        }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nTPC-H at scale {}: a store with {} ms to the first byte and {} MB/s, and a local disk; medians of {} warm rounds",
            self.scale, self.first_byte_ms, self.megabytes_per_second, self.rounds
        )?;
        let sides = ["store", "local"];
        let measured: Vec<_> = self.phases.iter().filter(|phase| !phase.milliseconds.is_empty()).collect();
        let headings = measured.iter().flat_map(|phase| sides.map(|side| format!("{} {side}", phase.name)));
        let mut table = TextTable::new(std::iter::once("ms".to_owned()).chain(headings));
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        for query in &QUERIES {
            let time = |phase: &Phase, side: &str| Some(median(phase.milliseconds.get(side)?.get(query.name)?));
            let times = measured.iter().flat_map(|phase| sides.map(|side| cell(time(phase, side))));
            table.row(std::iter::once(query.name.to_owned()).chain(times));
        }
        let totals = measured.iter().flat_map(|phase| sides.map(|side| cell(phase.total(side))));
        table.row(std::iter::once("total".to_owned()).chain(totals));
        write!(f, "{table}")?;
        for (side, seconds) in &self.load_seconds {
            writeln!(f, "{side}: loaded in {seconds:.1} s")?;
        }
        for phase in &self.phases {
            writeln!(f, "{}: {}", phase.name, phase.asked)?;
            if let Some(ratio) = self.ratios.get(phase.name) {
                writeln!(f, "{}: store / local = {ratio:.3}", phase.name)?;
            }
        }
        let word = if self.aim_is_met() { "met" } else { "MISSED" };
        writeln!(f, "aim {word}: warm store / local <= {}", self.warm_aim)?;
        for failure in &self.failures {
            writeln!(f, "WRONG  {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_sums_of_medians() {
        let mut results = Results::new(1.0, 3, 30, 100.0);
        let times = |each: &[f64]| QUERIES.iter().map(|query| (query.name, each.to_vec())).collect();
        let milliseconds = BTreeMap::from([("store", times(&[9.0, 3.0, 2.0])), ("local", times(&[2.0, 1.0, 2.0]))]);
        results.phases.push(Phase { name: "warm", milliseconds, ..Phase::default() });
        results.judge();
        assert_eq!(results.ratios["warm"], 1.5);
        assert!(!results.aim_is_met());
        assert!(results.to_string().contains("MISSED"));
    }
}
