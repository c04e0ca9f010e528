//! How long a write waits when the leader dies.
//!
//! A client of another node writes; the leader is killed; the time counts from the kill to the answer of the next write. Clients
//! are to see a pause, not an error, so an error is a failure.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use super::results::{Aim, Results};
use super::{Arguments, NODES};
use crate::peers::cluster::Cluster;
use crate::report::{median, quantile};
use crate::workloads::wire::{Address, Wire};

/// Seconds.
const AIM: f64 = 2.0;

/// Kills one leader after the other.
pub(super) fn measure(binary: &Path, arguments: &Arguments, results: &mut Results) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(binary, NODES)?;
    let mut wire = Wire::connect(&Address::parse(&cluster.url())?)?;
    wire.simple("CREATE TABLE failovers (n integer)")?;
    let mut waits = Vec::new();
    for number in 0..arguments.failovers {
        let leader = cluster.leader()?;
        let survivor = (leader + 1) % usize::from(NODES);
        let mut wire = Wire::connect(&Address::parse(&cluster.node(survivor).url())?)?;
        let write = format!("INSERT INTO failovers VALUES ({number})");
        cluster.kill(leader);
        let begun = Instant::now();
        match wire.simple(&write) {
            Ok(_) => waits.push(begun.elapsed().as_secs_f64()),
            Err(error) => results.fail(format!("failover {number}: {error:#}")),
        }
        cluster.restart(leader)?;
        cluster.wait_for_all()?;
    }
    let (_, rows) = Wire::connect(&Address::parse(&cluster.url())?)?
        .rows("SELECT count(*), count(DISTINCT n) FROM failovers")
        .context("the rows cannot be counted")?;
    let expected = Some(waits.len().to_string());
    if rows.first().is_none_or(|row| row.iter().any(|count| *count != expected)) {
        results.fail(format!("{} rows were acknowledged, {rows:?} are there", waits.len()));
    }
    results.add("failover, median, s", median(&waits), Some(Aim::AtMost(AIM)));
    results.add("failover, p99, s", quantile(&waits, 0.99), Some(Aim::AtMost(AIM)));
    Ok(())
}
