//! The figures of a comparison: gathered, judged against the aims, printed, and written as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::report::{TextTable, mebibytes, median};
use crate::workloads::tpch::QUERIES;

const WHARF: &str = "wharf";

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    scale: f64,
    rounds: u16,
    cores: usize,
    /// Peer to what it calls itself.
    pub(super) versions: BTreeMap<String, String>,
    pub(super) load_seconds: BTreeMap<String, f64>,
    /// Workload to its rows, where that is not the scale's.
    pub(super) rows: BTreeMap<String, u64>,
    /// Measurement to peer to the milliseconds of each round.
    milliseconds: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// Measurement to peer to the queries a second of each round.
    per_second: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// Peer to workload to its peak in bytes.
    peak_memory_bytes: BTreeMap<String, BTreeMap<String, u64>>,
    /// Measurement to peer to Wharf's median divided by the peer's.
    ratios: BTreeMap<String, BTreeMap<String, f64>>,
    pub(super) aims: Vec<Aim>,
    pub(super) disagreements: BTreeSet<String>,
}

/// A figure that is aimed for.
#[derive(Debug, Serialize)]
pub(super) struct Aim {
    name: &'static str,
    value: f64,
    limit: f64,
    /// Whether more is better.
    at_least: bool,
    pub(super) met: bool,
}

impl Results {
    pub(super) fn new(scale: f64, rounds: u16) -> Results {
        Results {
            scale,
            rounds,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            versions: BTreeMap::new(),
            load_seconds: BTreeMap::new(),
            rows: BTreeMap::new(),
            milliseconds: BTreeMap::new(),
            per_second: BTreeMap::new(),
            peak_memory_bytes: BTreeMap::new(),
            ratios: BTreeMap::new(),
            aims: Vec::new(),
            disagreements: BTreeSet::new(),
        }
    }

    /// Adds one measured round.
    pub(super) fn time(&mut self, measurement: &str, peer: &str, milliseconds: f64) {
        add(&mut self.milliseconds, measurement, peer, milliseconds);
    }

    /// Adds one measured round of a rate.
    pub(super) fn rate(&mut self, measurement: &str, peer: &str, per_second: f64) {
        add(&mut self.per_second, measurement, peer, per_second);
    }

    /// Adds a peak.
    pub(super) fn memory(&mut self, peer: &str, workload: &str, bytes: u64) {
        self.peak_memory_bytes.entry(peer.to_owned()).or_default().insert(workload.to_owned(), bytes);
    }

    /// Notes that an answer is missing or wrong.
    pub(super) fn disagree(&mut self, what: String) {
        if self.disagreements.insert(what.clone()) {
            eprintln!("{what}");
        }
    }

    /// The medians of one measurement so far, in a line.
    pub(super) fn line(&self, measurement: &str) -> String {
        let Some(peers) = self.milliseconds.get(measurement) else {
            return String::new();
        };
        let cells = peers.iter().map(|(peer, values)| format!("{peer} {:.1} ms", median(values)));
        cells.collect::<Vec<_>>().join(", ")
    }

    fn median(&self, measurement: &str, peer: &str) -> Option<f64> {
        let values = self.milliseconds.get(measurement)?.get(peer)?;
        (!values.is_empty()).then(|| median(values))
    }

    /// The sum of the medians of all queries. `None` when one is missing.
    fn tpch_total(&self, peer: &str) -> Option<f64> {
        QUERIES.iter().map(|query| self.median(query.name, peer)).sum()
    }

    fn tpch_peers(&self) -> BTreeSet<&str> {
        let peers = QUERIES.iter().filter_map(|query| self.milliseconds.get(query.name)).flat_map(BTreeMap::keys);
        peers.map(String::as_str).collect()
    }

    /// Computes the ratios and holds them against the aims; what was not measured is not judged.
    pub(super) fn judge(&mut self) {
        let mut ratios: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for (measurement, peers) in self.milliseconds.iter().chain(&self.per_second) {
            let Some(own) = peers.get(WHARF).map(|values| median(values)) else {
                continue;
            };
            for (peer, values) in peers.iter().filter(|(peer, _)| *peer != WHARF) {
                ratios.entry(measurement.clone()).or_default().insert(peer.clone(), own / median(values));
            }
        }
        if let Some(own) = self.tpch_total(WHARF) {
            for peer in self.tpch_peers().into_iter().filter(|peer| *peer != WHARF) {
                if let Some(total) = self.tpch_total(peer) {
                    ratios.entry("tpch".to_owned()).or_default().insert(peer.to_owned(), own / total);
                }
            }
        }
        let ratio = |measurement: &str, peer: &str| ratios.get(measurement)?.get(peer).copied();
        let rate =
            self.per_second.get("select1-per-second").and_then(|peers| peers.get(WHARF)).map(|values| median(values));
        let peak = self.peak_memory_bytes.get(WHARF).and_then(|workloads| workloads.values().max());
        let found = [
            ("TPC-H total: Wharf / DuckDB on generated Parquet", ratio("tpch", "duckdb-parquet"), 1.0, false),
            (
                "TPC-H total: Wharf / DuckDB on the Parquet that Wharf wrote",
                ratio("tpch", "duckdb-wharf-files"),
                1.0,
                false,
            ),
            ("SELECT 1 p50: Wharf / PostgreSQL", ratio("select1-p50", "postgres"), 1.5, false),
            ("SELECT 1 a second on 8 connections", rate, 40_000.0, true),
            ("COPY CSV in: Wharf / PostgreSQL", ratio("copy-in", "postgres"), 1.0, false),
            ("COPY out: Wharf / PostgreSQL", ratio("copy-out", "postgres"), 1.0, false),
            ("SELECT out, text: Wharf / PostgreSQL", ratio("select-out-text", "postgres"), 1.0, false),
            ("SELECT out, binary: Wharf / PostgreSQL", ratio("select-out-binary", "postgres"), 1.0, false),
            ("Wharf's peak memory in MiB", peak.map(|bytes| *bytes as f64 / 1_048_576.0), 2048.0, false),
        ];
        self.aims = found
            .into_iter()
            .filter_map(|(name, value, limit, at_least)| {
                let value = value?;
                let met = if at_least { value >= limit } else { value <= limit };
                Some(Aim { name, value, limit, at_least, met })
            })
            .collect();
        self.ratios = ratios;
    }
}

fn add(to: &mut BTreeMap<String, BTreeMap<String, Vec<f64>>>, measurement: &str, peer: &str, value: f64) {
    to.entry(measurement.to_owned()).or_default().entry(peer.to_owned()).or_default().push(value);
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nscale {}, medians of {} warm rounds, {} cores", self.scale, self.rounds, self.cores)?;
        for (peer, version) in &self.versions {
            writeln!(f, "  {peer}: {version}")?;
        }
        let peers = self.tpch_peers();
        if !peers.is_empty() {
            writeln!(f, "\nTPC-H, milliseconds (and Wharf's as a multiple of the peer's)")?;
            let mut table = TextTable::new(std::iter::once("query").chain(peers.iter().copied()));
            for query in &QUERIES {
                table.row(self.cells(query.name, query.name, &peers, |peer| self.median(query.name, peer)));
            }
            table.row(self.cells("total", "tpch", &peers, |peer| self.tpch_total(peer)));
            write!(f, "{table}")?;
        }
        let queries: BTreeSet<&str> = QUERIES.iter().map(|query| query.name).collect();
        let others: Vec<&String> = self.milliseconds.keys().filter(|name| !queries.contains(name.as_str())).collect();
        if !others.is_empty() || !self.per_second.is_empty() {
            writeln!(
                f,
                "\nThrough the wire, milliseconds or queries a second (and Wharf's as a multiple of the peer's)"
            )?;
            let servers = BTreeSet::from([WHARF, "postgres"]);
            let mut table = TextTable::new(std::iter::once("").chain(servers.iter().copied()));
            for name in others {
                table.row(self.cells(name, name, &servers, |peer| self.median(name, peer)));
            }
            for (name, rates) in &self.per_second {
                table.row(self.cells(name, name, &servers, |peer| rates.get(peer).map(|values| median(values))));
            }
            write!(f, "{table}")?;
        }
        if !self.peak_memory_bytes.is_empty() {
            writeln!(f, "\nPeak memory")?;
            for (peer, workloads) in &self.peak_memory_bytes {
                let cells: Vec<_> =
                    workloads.iter().map(|(name, bytes)| format!("{name} {}", mebibytes(*bytes))).collect();
                writeln!(f, "  {peer}: {}", cells.join(", "))?;
            }
        }
        if !self.aims.is_empty() {
            writeln!(f, "\nAims")?;
            for aim in &self.aims {
                let (word, sign) = (if aim.met { "met   " } else { "MISSED" }, if aim.at_least { ">=" } else { "<=" });
                writeln!(f, "  {word}  {}: {:.2} (aim {sign} {})", aim.name, aim.value, aim.limit)?;
            }
        }
        for disagreement in &self.disagreements {
            writeln!(f, "WRONG  {disagreement}")?;
        }
        Ok(())
    }
}

impl Results {
    fn cells(
        &self,
        label: &str,
        ratio: &str,
        peers: &BTreeSet<&str>,
        value: impl Fn(&str) -> Option<f64>,
    ) -> Vec<String> {
        let mut cells = vec![label.to_owned()];
        for peer in peers {
            let digits = |value: f64| {
                if value < 10.0 { format!("{value:.3}") } else { format!("{value:.1}") }
            };
            let value = value(peer).map_or_else(|| "-".to_owned(), digits);
            let ratio = self.ratios.get(ratio).and_then(|peers| peers.get(*peer));
            cells.push(ratio.map_or_else(|| value.clone(), |ratio| format!("{value} ({ratio:.2}x)")));
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn totals_ratios_and_aims_are_those_of_the_medians() {
        let mut results = Results::new(1.0, 3);
        for query in &QUERIES {
            for (own, other) in [(1.0, 2.0), (30.0, 3.0), (2.0, 4.0)] {
                results.time(query.name, "wharf", own);
                results.time(query.name, "duckdb-parquet", other);
            }
        }
        results.rate("select1-per-second", "wharf", 10_000.0);
        results.judge();
        assert_eq!(results.tpch_total("wharf"), Some(44.0));
        let ratio = results.ratios["tpch"]["duckdb-parquet"];
        assert!((ratio - 2.0 / 3.0).abs() < 1e-9, "{ratio}");
        let met: Vec<bool> = results.aims.iter().map(|aim| aim.met).collect();
        assert_eq!(met, [true, false]);
        assert!(results.to_string().contains("(0.67x)"));
        assert!(serde_json::to_string(&results).unwrap().contains("\"q22\""));
    }

    #[test]
    fn a_total_with_a_hole_is_no_total() {
        let mut results = Results::new(1.0, 1);
        results.time("q01", "wharf", 1.0);
        results.judge();
        assert_eq!(results.tpch_total("wharf"), None);
        assert!(results.aims.is_empty());
    }
}
