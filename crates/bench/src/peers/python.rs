//! DuckDB and DataFusion, each in a Python child of its own that runs `peers/peer.py`.
//!
//! The child times its queries itself, without the pipe; this side gives it SQL, a line of JSON at a time, and waits for the answer
//! within a limit. The Python and the packages are those of `peers/install`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::end_child;
use crate::workloads::tpch::TABLES;

const ANSWER_LIMIT: Duration = Duration::from_secs(900);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Runs `peers/install` for these peers and gives the Python that has their packages.
pub(crate) fn install(peers: &[&str]) -> anyhow::Result<PathBuf> {
    let script = sources().join("install");
    let output = Command::new(&script)
        .args(peers)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        bail!("{} failed ({})", script.display(), output.status);
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// A child that holds one engine; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
    requests: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
    version: String,
}

#[derive(Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Request<'a> {
    Open { tables: BTreeMap<&'static str, TableFile>, folder: &'a Path },
    Query { sql: &'a str },
}

#[derive(Serialize)]
struct TableFile {
    columns: &'static str,
    parquet: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    milliseconds: f64,
    #[serde(default)]
    rows: u64,
    error: Option<String>,
    version: Option<String>,
}

impl Engine {
    /// Starts `duckdb-parquet`, `duckdb-native` or `datafusion-parquet` and opens TPC-H's tables, each in the Parquet files that
    /// `parquet` names for it (DataFusion takes one); `folder` is for the engine's own files.
    pub(crate) fn start(
        python: &Path,
        kind: &str,
        parquet: impl Fn(&'static str) -> Vec<PathBuf>,
        folder: &Path,
    ) -> anyhow::Result<Engine> {
        let mut child = Command::new(python)
            .arg(sources().join("peer.py"))
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let requests = child.stdin.take();
        let output = child.stdout.take().expect("stdout was piped above");
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut engine = Engine { child, requests, answers, version: String::new() };
        engine.version = engine.answer()?.version.unwrap_or_default();
        let tables =
            TABLES.iter().map(|table| (table.name, TableFile { columns: table.columns, parquet: parquet(table.name) }));
        engine.request(&Request::Open { tables: tables.collect(), folder })?;
        Ok(engine)
    }

    /// The engine's version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a query to its last row: milliseconds and rows.
    pub(crate) fn query(&mut self, sql: &str) -> anyhow::Result<(f64, u64)> {
        let reply = self.request(&Request::Query { sql })?;
        Ok((reply.milliseconds, reply.rows))
    }

    fn request(&mut self, request: &Request<'_>) -> anyhow::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let pipe = self.requests.as_mut().context("the child's input is closed")?;
        pipe.write_all(&line).context("the child has ended")?;
        pipe.flush()?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<Reply> {
        let line = self.answers.recv_timeout(ANSWER_LIMIT).context("no answer from the child")?;
        let reply: Reply = serde_json::from_str(&line).with_context(|| format!("the child answered {line:?}"))?;
        match reply.error {
            Some(error) => bail!("{error}"),
            None => Ok(reply),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Its input ends, and so does the child.
        self.requests = None;
        end_child(&mut self.child, "TERM", STOP_LIMIT);
    }
}
