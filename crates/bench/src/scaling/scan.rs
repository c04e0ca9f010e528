//! A scan of a large table on an object store that gives each node only so much a second, by one node and by three.
//!
//! Each node reaches the store through a proxy of its own, which stands for its network card. Next to nothing is kept between
//! queries: the cache is as small as it can be, and has no disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::results::{Aim, Results};
use super::{Arguments, NODES};
use crate::peers::cluster::Cluster;
use crate::peers::s3::{S3, with_warehouse};
use crate::peers::wharf::Launch;
use crate::report::median;
use crate::throttle::{Distance, Throttle};
use crate::workloads::wire::{Address, Wire};

/// How many times as fast three nodes are meant to read.
const AIM: f64 = 2.7;
/// Bytes of each row, which do not compress.
const ROW_BYTES: u64 = 1024;
/// Rows that one statement makes.
const PORTION: u64 = 256 * 1024;
const SCAN: &str = "SELECT count(*), sum(n), max(length(filler)) FROM large";

/// Measures the scan with and without the other nodes.
pub(super) async fn measure(binary: &Path, arguments: &Arguments, results: &mut Results) -> anyhow::Result<()> {
    let store = tokio::task::spawn_blocking(S3::start).await??;
    let distance = Distance {
        first_byte: Duration::from_millis(arguments.first_byte),
        bytes_per_second: f64::from(arguments.megabytes_per_second) * 1e6,
    };
    let mut proxies = Vec::new();
    for _ in 0..NODES {
        proxies.push(Throttle::start(store.address(), distance).await?);
    }
    let far: Vec<String> = proxies.iter().map(|proxy| format!("http://{}", proxy.address())).collect();
    let near = format!("http://{}", store.address());
    let (binary, bytes, rounds) = (binary.to_owned(), u64::from(arguments.gigabytes) * 1_000_000_000, arguments.rounds);
    let times = tokio::task::spawn_blocking(move || {
        // The table is made near the store.
        let mut cluster = Cluster::start_as(&binary, NODES, |_, launch| on_store(launch, &near))?;
        let rows = fill(&Address::parse(&cluster.url())?, bytes)?;
        cluster.restart_as(|index, launch| on_store(launch, &far[index]))?;
        scans(&Address::parse(&cluster.url())?, rows, rounds)
    })
    .await??;
    let [one, three] = times.map(|times| median(&times));
    results.add("scan by one node, s", one, None);
    results.add("scan by three nodes, s", three, None);
    results.add("scan, one node / three nodes", one / three, Some(Aim::AtLeast(AIM)));
    Ok(())
}

fn on_store(launch: Launch, endpoint: &str) -> Launch {
    let environment = [
        ("WHARF_CACHE__MEMORY_BYTES", "16777216"),
        ("WHARF_CACHE__DISK_BYTES", "0"),
        ("WHARF_MAINTENANCE__ENABLED", "false"),
    ];
    let launch = with_warehouse(launch, endpoint);
    environment.into_iter().fold(launch, |launch, (name, value)| launch.environment(name, value))
}

/// Makes the table; gives its rows.
fn fill(address: &Address, bytes: u64) -> anyhow::Result<u64> {
    let mut wire = Wire::connect(address)?;
    wire.simple("CREATE TABLE large (n bigint, filler text)")?;
    let rows = bytes.div_ceil(ROW_BYTES);
    let digests = ROW_BYTES / 32;
    let mut made = 0;
    let begun = Instant::now();
    while made < rows {
        let upto = (made + PORTION).min(rows);
        // A digest of each row and each place in it.
        let filler: Vec<String> = (0..digests).map(|place| format!("md5((n * {digests} + {place})::text)")).collect();
        wire.simple(&format!(
            "INSERT INTO large SELECT n, {} FROM generate_series({}::bigint, {}::bigint) AS s(n)",
            filler.join(" || "),
            made + 1,
            upto
        ))?;
        made = upto;
        eprintln!("{made} of {rows} rows made, {:.0} s", begun.elapsed().as_secs_f64());
    }
    Ok(rows)
}

/// Seconds by one node, and by all.
fn scans(address: &Address, rows: u64, rounds: u16) -> anyhow::Result<[Vec<f64>; 2]> {
    let mut wire = Wire::connect(address)?;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (times, distribute) in times.iter_mut().zip(["off", "on"]) {
            wire.simple(&format!("SET wharf.distribute = '{distribute}'"))?;
            let begun = Instant::now();
            let (_, answer) = wire.rows(SCAN)?;
            times.push(begun.elapsed().as_secs_f64());
            let counted = answer.first().and_then(|row| row.first()).cloned().flatten();
            ensure!(counted == Some(rows.to_string()), "{rows} rows were made, {counted:?} are read");
            eprintln!("distribute = {distribute}: {:.1} s", times.last().context("it was measured")?);
        }
    }
    Ok(times)
}
