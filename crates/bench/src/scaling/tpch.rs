//! TPC-H on one node, and on three on the same cores: as the server decides, and with everything divided.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use super::results::{Aim, Results};
use super::{Arguments, NODES};
use crate::answers::load;
use crate::peers::cluster::Cluster;
use crate::peers::wharf::{Launch, Wharf};
use crate::report::{TextTable, median};
use crate::workloads::tpch::{Files, QUERIES, cache_folder};
use crate::workloads::wire::{Address, Wire};

/// How often as long three nodes may take as one when the server decides.
const AUTO_AIM: f64 = 1.05;
/// The same when every query is divided.
const DIVIDED_AIM: f64 = 1.3;

/// Who answers, and how.
const WAYS: [&str; 3] = ["one node", "three, auto", "three, divided"];

/// The ways that take turns. Not all three do: what is divided takes memory of the node that decides, which the system takes back, and
/// to get it again is then counted as the time of the next query there. Who uses three nodes as they are does not divide all in between.
const TURNS: [&[usize]; 2] = [&[0, 1], &[2]];

/// Measures each query in all ways before the next query.
pub(super) fn measure(binary: &Path, arguments: &Arguments, results: &mut Results) -> anyhow::Result<()> {
    let files = Files::prepare(&cache_folder().join("data"), arguments.scale, false)?;
    let alone = Launch::new(binary).environment("WHARF_MAINTENANCE__ENABLED", "false").start()?;
    let cluster =
        Cluster::start_as(binary, NODES, |_, launch| launch.environment("WHARF_MAINTENANCE__ENABLED", "false"))?;
    let (one, three) = (Address::parse(&alone.url())?, Address::parse(&cluster.url())?);
    load(&one, &files, false)?;
    load(&three, &files, false)?;
    let mut wires = [Wire::connect(&one)?, Wire::connect(&three)?, Wire::connect(&three)?];
    wires[2].simple("SET wharf.distribute = 'on'")?;

    let mut times: BTreeMap<&str, [Vec<f64>; 3]> = BTreeMap::new();
    for query in &QUERIES {
        let times = times.entry(query.name).or_default();
        let mut rows = BTreeSet::new();
        for ways in TURNS {
            for round in 0..=usize::from(arguments.rounds) {
                for turn in 0..ways.len() {
                    let way = ways[(turn + round) % ways.len()];
                    let begun = Instant::now();
                    let answer =
                        wires[way].simple(query.sql).with_context(|| format!("{} on {}", query.name, WAYS[way]))?;
                    rows.insert(answer.rows);
                    // The first round warms up.
                    if round > 0 {
                        times[way].push(begun.elapsed().as_secs_f64() * 1000.0);
                    }
                }
            }
        }
        if rows.len() > 1 {
            results.fail(format!("{}: {rows:?} rows", query.name));
        }
        eprintln!("{}: {:?} ms", query.name, times.each_ref().map(|times| median(times).round()));
    }
    print(&times);
    let total = |way: usize| times.values().map(|times| median(&times[way])).sum::<f64>();
    results.add("TPC-H, one node, ms", total(0), None);
    results.add("TPC-H, three nodes as they decide / one node", total(1) / total(0), Some(Aim::AtMost(AUTO_AIM)));
    results.add("TPC-H, three nodes, all divided / one node", total(2) / total(0), Some(Aim::AtMost(DIVIDED_AIM)));
    drop(wires);
    drop(cluster);
    stop(alone)
}

fn stop(server: Wharf) -> anyhow::Result<()> {
    server.stop(std::time::Duration::from_secs(30)).map(drop)
}

fn print(times: &BTreeMap<&str, [Vec<f64>; 3]>) {
    let mut table = TextTable::new(std::iter::once("ms").chain(WAYS));
    for (query, times) in times {
        let cells = times.iter().map(|times| format!("{:.1}", median(times)));
        table.row(std::iter::once((*query).to_owned()).chain(cells));
    }
    println!("{table}");
}
