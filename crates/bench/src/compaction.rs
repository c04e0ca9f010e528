//! `wharf-bench compaction`: how fast small files are written together, in megabytes of the files that go.
//!
//! Each round makes the table again, as so many COPYs of the same rows, each of which leaves a file, and then calls
//! `wharf.rewrite_data_files`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::peers::wharf::{Launch, Wharf};
use crate::report::{TextTable, median, processor_ms};
use crate::workloads::tpch::{Files, cache_folder, table};
use crate::workloads::wire::{Address, Wire};

/// What `wharf-bench compaction` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The `wharf` to measure. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Files of the table.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=10_000))]
    files: u16,
    /// Rows of each, of TPC-H's lineitem.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=6_000_000))]
    rows: u64,
    /// How often it is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Write the figures here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How a table is rewritten, and the order it has then.
const WAYS: [(&str, &str); 2] = [
    ("binpack", "CALL wharf.rewrite_data_files(table => 'compacted')"),
    (
        "sort",
        "CALL wharf.rewrite_data_files(table => 'compacted', strategy => 'sort', \
         sort_order => 'l_shipdate, l_partkey DESC')",
    ),
];

#[derive(Debug, Serialize)]
struct Results {
    files: u16,
    rows: u64,
    rounds: u16,
    /// The files that went, in bytes.
    bytes: u64,
    /// Way to the seconds of each round.
    seconds: BTreeMap<&'static str, Vec<f64>>,
    /// Way to the seconds of processor of each round: on a machine that others use, these say more.
    processor_seconds: BTreeMap<&'static str, Vec<f64>>,
    /// Way to the megabytes a second of the median.
    megabytes_per_second: BTreeMap<&'static str, f64>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    tokio::task::spawn_blocking(move || measure(&arguments)).await?
}

fn measure(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let lineitem = table("lineitem");
    let files = Files::prepare(&cache_folder().join("data"), 1.0, false)?;
    let (csv, rows) = files.csv_of(lineitem, 1.0, arguments.rows)?;
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    // The background would write them together first.
    let wharf = Launch::new(&binary).environment("WHARF_MAINTENANCE__ENABLED", "false").start()?;
    let mut wire = Wire::connect(&Address::parse(&wharf.url())?)?;
    let mut results = Results {
        files: arguments.files,
        rows: rows * u64::from(arguments.files),
        rounds: arguments.rounds,
        bytes: 0,
        seconds: BTreeMap::new(),
        processor_seconds: BTreeMap::new(),
        megabytes_per_second: BTreeMap::new(),
    };
    for round in 0..arguments.rounds {
        for (way, call) in WAYS {
            wire.simple(&lineitem.create(Some("compacted")))?;
            for _ in 0..arguments.files {
                wire.copy_in("COPY compacted FROM STDIN (FORMAT csv)", File::open(&csv)?)?;
            }
            let (begun, used) = (Instant::now(), processor_ms(wharf.pid()));
            let (names, answer) = wire.rows(call)?;
            let seconds = begun.elapsed().as_secs_f64();
            let processor_seconds = processor_ms(wharf.pid()).saturating_sub(used) as f64 / 1000.0;
            let count = |name: &str| -> anyhow::Result<u64> {
                let index = names.iter().position(|known| known == name);
                let value = answer.first().zip(index).and_then(|(row, index)| row.get(index)?.clone());
                Ok(value.with_context(|| format!("the answer has no {name}"))?.parse()?)
            };
            ensure!(count("rewritten_data_files")? == u64::from(arguments.files), "not all files were rewritten");
            results.bytes = count("rewritten_bytes")?;
            results.seconds.entry(way).or_default().push(seconds);
            results.processor_seconds.entry(way).or_default().push(processor_seconds);
            eprintln!("round {round}: {way}: {seconds:.2} s, {} files left", count("added_data_files")?);
            wire.simple("DROP TABLE compacted PURGE")?;
        }
    }
    let bytes = results.bytes as f64;
    results.megabytes_per_second =
        results.seconds.iter().map(|(way, seconds)| (*way, bytes / 1e6 / median(seconds))).collect();
    println!("{} files of together {} rows, {:.1} MB", results.files, results.rows, bytes / 1e6);
    let mut printed = TextTable::new(["", "s", "MB/s", "s of processor"]);
    for (way, seconds) in &results.seconds {
        let rate = format!("{:.1}", results.megabytes_per_second[way]);
        let processor = format!("{:.2}", median(&results.processor_seconds[way]));
        printed.row([(*way).to_owned(), format!("{:.2}", median(seconds)), rate, processor]);
    }
    print!("{printed}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&results)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written to {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
