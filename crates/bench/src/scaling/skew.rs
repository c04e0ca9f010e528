//! A join nine of ten of whose rows are of one key, by four nodes: with the rows of that key spread over all of them, and without.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;

use super::Arguments;
use super::results::Results;
use crate::peers::cluster::Cluster;
use crate::report::median;
use crate::workloads::wire::{Address, Wire};

/// Fewer nodes of two processors each leave the key where it is.
const SPREAD_NODES: u16 = 4;
/// Rows of the larger side.
const FACTS: u64 = 6_000_000;
/// Rows of the other one: too many to be sent to every node.
const THINGS: u64 = 3_500_000;
/// Each row has a partner.
const JOIN: &str = "SELECT count(*), sum(facts.v + things.w) FROM facts JOIN things ON facts.k = things.k";

/// Measures the join both ways in turn.
pub(super) fn measure(binary: &Path, arguments: &Arguments, results: &mut Results) -> anyhow::Result<()> {
    let cluster =
        Cluster::start_as(binary, SPREAD_NODES, |_, launch| launch.environment("WHARF_MAINTENANCE__ENABLED", "false"))?;
    let mut wire = Wire::connect(&Address::parse(&cluster.url())?)?;
    wire.simple("CREATE TABLE facts (k bigint, v bigint)")?;
    wire.simple("CREATE TABLE things (k bigint, w bigint)")?;
    let facts = "INSERT INTO facts SELECT CASE WHEN g % 10 > 0 THEN 7 ELSE g % ";
    wire.simple(&format!("{facts}{THINGS} + 1 END, g FROM generate_series(1::bigint, {FACTS}::bigint) AS s(g)"))?;
    wire.simple(&format!("INSERT INTO things SELECT g, g FROM generate_series(1::bigint, {THINGS}::bigint) AS s(g)"))?;
    wire.simple("SET wharf.distribute = 'on'")?;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=arguments.rounds {
        for (times, split) in times.iter_mut().zip(["off", "on"]) {
            wire.simple(&format!("SET wharf.split_hot_keys = {split}"))?;
            let begun = Instant::now();
            let (_, answer) = wire.rows(JOIN)?;
            let seconds = begun.elapsed().as_secs_f64();
            let counted = answer.first().and_then(|row| row.first()).cloned().flatten();
            ensure!(counted == Some(FACTS.to_string()), "{counted:?} of {FACTS} rows");
            eprintln!("split_hot_keys = {split}: {seconds:.2} s");
            // The first round warms up.
            if round > 0 {
                times.push(seconds);
            }
        }
    }
    let [whole, split] = times.map(|times| median(&times));
    results.add("skewed join, hot key in one place, s", whole, None);
    results.add("skewed join, hot key spread, s", split, None);
    results.add("skewed join, spread / in one place", split / whole, None);
    drop(wire);
    drop(cluster);
    Ok(())
}
