//! The three nodes together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::NODES;
use super::network::Network;
use super::node::{self, Common, Node};
use super::session::Session;

/// A cluster that is not there by then never will be.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// The nodes, the network between them, and the folder of all of it. They go in this order.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    folder: tempfile::TempDir,
    binary: PathBuf,
    log_filter: String,
    /// The number that each node has in the cluster.
    numbers: Vec<i64>,
}

impl Cluster {
    /// Starts the nodes and waits until all of them vote.
    pub(super) async fn start(
        binary: PathBuf,
        log_filter: String,
        network: Network,
        folder: tempfile::TempDir,
    ) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster { nodes: Vec::new(), network, folder, binary, log_filter, numbers: Vec::new() };
        node::authority(&cluster.common())?;
        for index in 0..NODES {
            let node = Node::make(index, &cluster.common())?;
            cluster.nodes.push(node);
        }
        for index in 0..NODES {
            cluster.start_node(index)?;
        }
        let deadline = Instant::now() + START_LIMIT;
        for node in 0..NODES {
            let number = loop {
                if let Some(number) = cluster.number(node, "SELECT node_id FROM wharf.raft").await {
                    break number;
                }
                if Instant::now() > deadline || cluster.nodes[node].ended().is_some() {
                    bail!("node {} does not start:\n{}", node + 1, tail(&cluster.nodes[node].log(), 20));
                }
                tokio::time::sleep(PAUSE).await;
            };
            cluster.numbers.push(number);
        }
        let voters = "SELECT count(*) FROM wharf.nodes WHERE role <> 'learner'";
        while cluster.number(0, voters).await != Some(i64::try_from(NODES)?) {
            if Instant::now() > deadline {
                bail!("not all nodes vote:\n{}", tail(&cluster.nodes[0].log(), 20));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(cluster)
    }

    fn common(&self) -> Common<'_> {
        Common {
            binary: &self.binary,
            network: &self.network,
            folder: self.folder.path(),
            log_filter: &self.log_filter,
        }
    }

    /// Starts the process of a node, and does not wait.
    pub(super) fn start_node(&mut self, index: usize) -> anyhow::Result<()> {
        let common = Common {
            binary: &self.binary,
            network: &self.network,
            folder: self.folder.path(),
            log_filter: &self.log_filter,
        };
        self.nodes[index].start(&common).with_context(|| format!("node {}", index + 1))
    }

    /// Where clients reach the nodes.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address(&self.network)).collect()
    }

    /// The node that leads, as far as any node says.
    pub(super) async fn leader(&self) -> Option<usize> {
        for node in 0..NODES {
            let leader = self.number(node, "SELECT leader_id FROM wharf.raft").await;
            if let Some(index) = leader.and_then(|leader| self.numbers.iter().position(|number| *number == leader)) {
                return Some(index);
            }
        }
        None
    }

    /// Has another node take the lead; whether that came about is not of interest.
    pub(super) async fn transfer_leader(&self, to: usize) {
        if let Ok(session) = Session::open(self.nodes[to].address(&self.network)).await {
            let _ = session.run(&format!("CALL wharf.transfer_leader({})", self.numbers[to])).await;
        }
    }

    async fn number(&self, node: usize, sql: &str) -> Option<i64> {
        let session = Session::open(self.nodes[node].address(&self.network)).await.ok()?;
        session.numbers(sql).await.ok()?.first()?.first().copied()
    }

    /// Asks all nodes to end; what is wrong with how they do, and with what they have logged.
    pub(super) fn stop(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        self.nodes.iter().for_each(Node::ask_to_end);
        for (index, node) in self.nodes.iter_mut().enumerate() {
            match node.wait() {
                Some(status) if status.success() => {}
                status => failures.push(format!("node {} ended with {status:?} after SIGTERM", index + 1)),
            }
            let log = node.log();
            let alarming = log.lines().filter(|line| line.contains("panicked") || line.contains(" ERROR "));
            // That a disk was full is of the test's making.
            let of_the_disk = ["StorageFull", "No space left", "no space left", "disk full", "the disk"];
            let alarming: Vec<&str> =
                alarming.filter(|line| !of_the_disk.iter().any(|words| line.contains(words))).collect();
            if !alarming.is_empty() {
                let (many, first) = (alarming.len(), alarming[0]);
                failures.push(format!("the log of node {} has {many} errors; the first: {first}", index + 1));
            }
        }
        failures
    }

    /// The last lines of a node's log.
    pub(super) fn log_tail(&self, node: usize) -> String {
        tail(&self.nodes[node].log(), 8)
    }

    /// Leaves the logs, and says where.
    pub(super) fn keep(mut self) -> PathBuf {
        self.nodes.clear();
        self.folder.keep()
    }
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().rev().take(count).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
