//! Several Wharfs that are one cluster: processes on this machine with one warehouse, which reach each other with certificates.
//!
//! They are set up as an operator would set them up: an authority and certificates by `wharf cert`, the nodes joined by a list of
//! addresses. The first begins the cluster and leads it. All are killed at the latest when the value is dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::free_port;
use super::wharf::{Launch, Wharf};
use crate::workloads::wire::{Address, Wire};

/// How long the nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Wharf>,
    launches: Vec<Launch>,
    /// Where the nodes listen for each other.
    listens: Vec<String>,
    // Dropped last, after the servers have ended.
    _folder: TempDir,
}

impl Cluster {
    /// Starts so many nodes of `binary` and waits until all of them run parts of queries and have a vote.
    pub(crate) fn start(binary: &Path, count: u16) -> anyhow::Result<Cluster> {
        Cluster::start_as(binary, count, |_, launch| launch)
    }

    /// The same, with more said about how each node, counted from 0, is started.
    pub(crate) fn start_as(
        binary: &Path,
        count: u16,
        configure: impl Fn(usize, Launch) -> Launch,
    ) -> anyhow::Result<Cluster> {
        let folder = tempfile::Builder::new().prefix("wharf-cluster-").tempdir()?;
        let certificates = folder.path().join("certificates");
        make(binary, &["cert", "ca", "--out"], &certificates, &[])?;
        make(binary, &["cert", "node", "--ca"], &certificates, &["--name", "node", "--address", "127.0.0.1"])?;
        let ports: Vec<String> =
            (0..count).map(|_| Ok(format!("127.0.0.1:{}", free_port()?))).collect::<anyhow::Result<_>>()?;
        let file = |name: &str| certificates.join(name).display().to_string();
        let launch = |(index, listen): (usize, &String)| {
            let data: PathBuf = folder.path().join(format!("node{}", index + 1));
            let launch = Launch::new(binary)
                .data(&data)
                .environment("WHARF_PEERS__ENABLED", "true")
                .environment("WHARF_PEERS__LISTEN", listen)
                .environment("WHARF_PEERS__JOIN", &ports.join(","))
                .environment("WHARF_PEERS__TLS_AUTHORITY_FILE", &file("ca.pem"))
                .environment("WHARF_PEERS__TLS_CERTIFICATE_FILE", &file("node.pem"))
                .environment("WHARF_PEERS__TLS_KEY_FILE", &file("node.key.pem"))
                .environment("WHARF_WAREHOUSE__URL", &format!("file://{}", folder.path().join("warehouse").display()));
            configure(index, launch)
        };
        let launches: Vec<Launch> = ports.iter().enumerate().map(launch).collect();
        let nodes = launches.iter().map(Launch::start).collect::<anyhow::Result<_>>()?;
        let cluster = Cluster { nodes, launches, listens: ports, _folder: folder };
        cluster.wait_for_all()?;
        Ok(cluster)
    }

    /// The first node, which clients talk to.
    pub(crate) fn url(&self) -> String {
        self.nodes[0].url()
    }

    /// One of the nodes.
    pub(crate) fn node(&self, index: usize) -> &Wharf {
        &self.nodes[index]
    }

    /// `kill -9` of a node.
    pub(crate) fn kill(&mut self, index: usize) {
        self.nodes[index].kill();
    }

    /// Starts a node again that was killed.
    pub(crate) fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        self.nodes[index] = self.launches[index].start()?;
        Ok(())
    }

    /// Stops all nodes and starts them again, with more said about how.
    pub(crate) fn restart_as(&mut self, configure: impl Fn(usize, Launch) -> Launch) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.kill();
        }
        for (index, launch) in self.launches.iter_mut().enumerate() {
            *launch = configure(index, launch.clone());
        }
        // At once: a node listens when the catalog answers, which takes most of them.
        self.nodes = std::thread::scope(|scope| {
            let starting: Vec<_> = self.launches.iter().map(|launch| scope.spawn(|| launch.start())).collect();
            starting.into_iter().map(|node| node.join().expect("a start does not panic")).collect::<anyhow::Result<_>>()
        })?;
        self.wait_for_all()
    }

    /// The node that leads, as the first node knows it.
    pub(crate) fn leader(&self) -> anyhow::Result<usize> {
        let mut wire = Wire::connect(&Address::parse(&self.url())?)?;
        let (_, rows) = wire.rows("SELECT address FROM wharf.nodes WHERE role = 'leader'")?;
        let address = rows.into_iter().flatten().next().flatten().context("nobody leads")?;
        self.listens.iter().position(|listen| *listen == address).with_context(|| format!("no node is at {address}"))
    }

    /// The number under which the cluster knows a node.
    pub(crate) fn number(&self, index: usize) -> anyhow::Result<u64> {
        let mut wire = Wire::connect(&Address::parse(&self.url())?)?;
        let sql = format!("SELECT node_id FROM wharf.nodes WHERE address = '{}'", self.listens[index]);
        let (_, rows) = wire.rows(&sql)?;
        let number = rows.into_iter().flatten().next().flatten().context("the cluster does not know the node")?;
        number.parse().with_context(|| format!("{number} is no node"))
    }

    /// Waits until the first node knows that all of them run parts of queries.
    pub(crate) fn wait_for_all(&self) -> anyhow::Result<()> {
        let wanted = Some(self.nodes.len().to_string());
        let begun = Instant::now();
        let address = Address::parse(&self.url())?;
        loop {
            let sql = "SELECT count(*) FILTER (WHERE runs_queries AND role <> 'learner') FROM wharf.nodes";
            let found = Wire::connect(&address).and_then(|mut wire| wire.rows(sql));
            match found {
                Ok((_, rows)) if rows.first().and_then(|row| row.first()) == Some(&wanted) => return Ok(()),
                found if begun.elapsed() > PATIENCE => {
                    bail!("the nodes have not found each other: {found:?}; {}", self.nodes[0].log_tail(10))
                }
                _ => std::thread::sleep(PAUSE),
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
    }
}

fn make(binary: &Path, before: &[&str], folder: &Path, after: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(binary)
        .args(before)
        .arg(folder)
        .args(after)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    if !output.status.success() {
        bail!("{} {}: {}", binary.display(), before.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
