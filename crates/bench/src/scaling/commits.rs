//! What a commit takes on one node and on three, and how many commands the catalog takes a second.

use std::path::Path;
use std::time::{Duration, Instant};

use super::results::Results;
use super::{Arguments, NODES};
use crate::peers::cluster::Cluster;
use crate::peers::wharf::Wharf;
use crate::report::quantile;
use crate::workloads::wire::{Address, Wire};

/// Connections that send commands at the same time.
const CONNECTIONS: usize = 16;

/// Measures both on both.
pub(super) fn measure(binary: &Path, arguments: &Arguments, results: &mut Results) -> anyhow::Result<()> {
    let duration = Duration::from_secs(arguments.seconds);
    let alone = Wharf::start(binary)?;
    on("one node", &[Address::parse(&alone.url())?], duration, results)?;
    drop(alone);
    let cluster = Cluster::start(binary, NODES)?;
    let addresses: Vec<Address> = (0..usize::from(NODES))
        .map(|index| Address::parse(&cluster.node(index).url()))
        .collect::<anyhow::Result<_>>()?;
    on("three nodes", &addresses, duration, results)
}

fn on(name: &str, addresses: &[Address], duration: Duration, results: &mut Results) -> anyhow::Result<()> {
    let mut wire = Wire::connect(&addresses[0])?;
    wire.simple("CREATE TABLE commits (n bigint)")?;
    let inserts = repeat(&mut wire, duration, |number| format!("INSERT INTO commits VALUES ({number})"))?;
    results.add(format!("INSERT of a row, {name}, p50 ms"), quantile(&inserts, 0.5), None);
    results.add(format!("INSERT of a row, {name}, p99 ms"), quantile(&inserts, 0.99), None);

    for number in 0..CONNECTIONS {
        wire.simple(&format!("CREATE VIEW commented_{number} AS SELECT 1 AS one"))?;
    }
    let comments = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|client| {
                let address = &addresses[client % addresses.len()];
                scope.spawn(move || {
                    let mut wire = Wire::connect(address)?;
                    repeat(&mut wire, duration, |number| format!("COMMENT ON VIEW commented_{client} IS '{number}'"))
                })
            })
            .collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    let rate = comments.len() as f64 / duration.as_secs_f64();
    results.add(format!("commands of the catalog, {name}, {CONNECTIONS} connections, a second"), rate, None);
    results.add(format!("commands of the catalog, {name}, p99 ms"), quantile(&comments, 0.99), None);
    Ok(())
}

/// Sends statements one after the other; gives the milliseconds that each took.
fn repeat(wire: &mut Wire, duration: Duration, statement: impl Fn(usize) -> String) -> anyhow::Result<Vec<f64>> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < duration {
        let sql = statement(times.len());
        let sent = Instant::now();
        wire.simple(&sql)?;
        times.push(sent.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}
