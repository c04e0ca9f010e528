//! What all nodes say of their queries.
//!
//! What always holds: a message is JSON, and a field that one side does not know is passed over, so that nodes of different versions
//! understand each other. A node tells everything; whom it is shown to is up to the node that asks.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wharf_consensus::Group;
use wharf_fanout::Fanout;

use super::{Client, Queries};

/// How long a node may take to say what it does.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The way to the other nodes of the cluster.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Asks the node at an address; what answers there is [`Engine::answer`](crate::Engine::answer).
    ///
    /// # Errors
    /// Why there is no answer within the time.
    async fn ask(&self, address: &str, question: Question, request: Bytes, timeout: Duration) -> Result<Bytes, String>;
}

/// What an engine asks others for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What a node runs, or reads of a table.
    Report,
    /// To write some files of a table anew.
    RewriteFiles,
    /// To load some files into a table.
    LoadFiles,
}

impl Question {
    /// All there are.
    pub const ALL: [Question; 3] = [Question::Report, Question::RewriteFiles, Question::LoadFiles];
}

/// What a node is asked. Without anything in it: what it runs.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Request {
    /// The table whose states are asked for, instead of what runs.
    #[serde(default)]
    pub(crate) reading: Option<Uuid>,
}

impl Request {
    /// What was asked; a node of a former version asks nothing.
    pub(crate) fn of(bytes: &[u8]) -> Request {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    fn bytes(&self) -> Bytes {
        // What is in it has no key that could not be written.
        serde_json::to_vec(self).map(Bytes::from).unwrap_or_default()
    }
}

/// What a node says.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Report {
    /// The statements of its sessions.
    #[serde(default)]
    pub(crate) statements: Vec<StatementReport>,
    /// What it does for divided queries, its own among them.
    #[serde(default)]
    pub(crate) stages: Vec<StageReport>,
    /// The metadata files of the states of a table that somebody reads there, or may still read. None when that was not asked for, and
    /// of a node that does not know the question or cannot tell.
    #[serde(default)]
    pub(crate) reading: Option<Vec<String>>,
}

/// A statement.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StatementReport {
    pub(crate) id: Uuid,
    pub(crate) process: u32,
    pub(crate) role: u32,
    pub(crate) database: u32,
    pub(crate) kind: String,
    pub(crate) doing: String,
    pub(crate) started_us: i64,
    pub(crate) elapsed_ms: u64,
    pub(crate) rows: u64,
    pub(crate) text: Option<String>,
}

/// A stage of a divided query.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StageReport {
    pub(crate) id: Uuid,
    pub(crate) process: u32,
    pub(crate) role: u32,
    pub(crate) database: u32,
    pub(crate) stage: u64,
    pub(crate) tasks: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) rows: u64,
}

/// What is known of a node.
pub(crate) struct NodeReport {
    pub(crate) node: u64,
    /// None: it is alone.
    pub(crate) address: Option<String>,
    /// None: it has not answered.
    pub(crate) report: Option<Report>,
}

impl Queries {
    /// What this node does.
    pub(crate) fn report(&self, fanout: &Fanout) -> Report {
        let milliseconds = |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let statements = self.statements().into_iter().map(|running| {
            let Client { process, role, database, .. } = *running.client;
            StatementReport {
                id: running.id,
                process,
                role,
                database,
                kind: running.kind.to_owned(),
                doing: running.doing().as_str().to_owned(),
                started_us: running.started_us,
                elapsed_ms: milliseconds(running.elapsed()),
                rows: running.rows(),
                text: running.text(),
            }
        });
        let stages = fanout.stages_running().into_iter().map(|stage| StageReport {
            id: stage.query.id,
            process: stage.query.process,
            role: stage.query.role,
            database: stage.query.database,
            stage: stage.stage,
            tasks: stage.tasks as u64,
            elapsed_ms: milliseconds(stage.elapsed),
            rows: stage.rows,
        });
        Report { statements: statements.collect(), stages: stages.collect(), reading: None }
    }

    /// From now on the other nodes can be asked.
    pub(crate) fn join(&self, peers: std::sync::Arc<dyn Peers>) {
        *self.peers.write() = Some(peers);
    }

    /// The way to the other nodes; none: this one is alone.
    pub(crate) fn peers(&self) -> Option<std::sync::Arc<dyn Peers>> {
        self.peers.read().clone()
    }

    /// What all nodes do, in the order of their numbers.
    pub(crate) async fn gather(&self, group: &Group, fanout: &Fanout) -> Vec<NodeReport> {
        let status = group.status();
        let peers = self.peers();
        let mut members: Vec<_> = status.members.iter().map(|member| (member.node, member.address.clone())).collect();
        members.sort_unstable();
        let asked = members.into_iter().map(|(node, address)| {
            let peers = peers.clone();
            async move {
                let report = match peers {
                    _ if node == status.node => Some(self.report(fanout)),
                    Some(peers) => answer(peers.as_ref(), &address, &Request::default()).await,
                    None => None,
                };
                NodeReport { node, address: Some(address).filter(|address| !address.is_empty()), report }
            }
        });
        join_all(asked).await
    }

    /// The metadata files of the states of a table that the other nodes read, or may still read. The nodes are those that this one
    /// knows of: who has read the catalog before knows all whose statements may have begun by then.
    ///
    /// # Errors
    /// The address of a node that does not say it.
    pub(crate) async fn read_elsewhere(&self, group: &Group, table: Uuid) -> Result<Vec<String>, String> {
        let status = group.status();
        let peers = self.peers();
        let request = &Request { reading: Some(table) };
        let others = status.members.iter().filter(|member| member.node != status.node);
        let asked = others.map(|member| {
            let peers = peers.clone();
            async move {
                let report = answer(peers?.as_ref(), &member.address, request).await?;
                report.reading
            }
            .map(|reading| reading.ok_or_else(|| member.address.clone()))
        });
        let mut locations: Vec<String> = try_join_all(asked).await?.concat();
        locations.sort_unstable();
        locations.dedup();
        Ok(locations)
    }
}

async fn answer(peers: &dyn Peers, address: &str, request: &Request) -> Option<Report> {
    // Whoever asks has a deadline of its own, and this one does not depend on it.
    let asked = tokio::time::timeout(TIMEOUT, peers.ask(address, Question::Report, request.bytes(), TIMEOUT)).await;
    let refused = match asked.unwrap_or_else(|_| Err("it has not answered in time".to_owned())) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(report) => return Some(report),
            Err(error) => error.to_string(),
        },
        Err(reason) => reason,
    };
    tracing::debug!(node = address, reason = refused, "a node does not say what it runs");
    None
}
