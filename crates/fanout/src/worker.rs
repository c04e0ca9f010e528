//! The session in which a node runs parts of other nodes' queries: what that session knows, over this node's memory, caches and disk.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{DistributedConfig, DistributedExt, Worker, WorkerQueryContext, WorkerSessionBuilder};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;
use uuid::Uuid;

use crate::eligible::Wanted;
use crate::fanout::Fanout;
use crate::filters::Exchange;
use crate::format;
use crate::parts::QueryTag;
use crate::task::Deadline;
use crate::travelling::{self, Lost};
use crate::vocabulary::Vocabulary;

/// The header with the session, beside those of `datafusion-distributed`.
const SESSION: HeaderName = HeaderName::from_static("x-wharf-session");

/// What goes with a part of a query. Clocks differ, so it says how long the statement may still take.
#[derive(Deserialize, Serialize)]
struct Session {
    /// Of the node that asks.
    format: String,
    settings: String,
    remaining_ms: Option<u64>,
    query: QueryTag,
    /// By which the nodes of the query know what they tell each other.
    exchange: Uuid,
    nodes: Vec<String>,
}

/// The headers that bring a session to other nodes.
///
/// # Errors
/// A configuration that is not of a session of ours.
pub(crate) fn headers(
    config: &SessionConfig,
    wanted: &Wanted,
    vocabulary: &dyn Vocabulary,
    exchange: Uuid,
    nodes: &[Url],
) -> Result<HeaderMap> {
    let remaining = wanted.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let remaining_ms = remaining.map(|remaining| u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX));
    let session = Session {
        format: format::name().to_owned(),
        settings: vocabulary.write_session(config)?,
        remaining_ms,
        query: wanted.query,
        exchange,
        nodes: nodes.iter().map(Url::to_string).collect(),
    };
    let json = serde_json::to_vec(&session).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let value = HeaderValue::try_from(BASE64.encode(json)).expect("base64 is good in a header");
    Ok(HeaderMap::from_iter([(SESSION, value)]))
}

/// A worker of this node.
pub(crate) fn worker(fanout: &Arc<Fanout>) -> Worker {
    let builder = Sessions { fanout: Arc::downgrade(fanout) };
    Worker::from_session_builder(builder).with_runtime_env(Arc::clone(fanout.runtime())).with_version(format::name())
}

struct Sessions {
    /// Weak, since what serves the worker may be kept by the cluster, which this keeps.
    fanout: Weak<Fanout>,
}

#[async_trait]
impl WorkerSessionBuilder for Sessions {
    async fn build_session_state(&self, mut query: WorkerQueryContext) -> Result<SessionState> {
        let Some(fanout) = self.fanout.upgrade() else { return Err(refusal("it is stopping")) };
        let session = read_session(&query.headers)?;
        // Asked before work was given, but a node may have been another since.
        if session.format != format::name() {
            return Err(refusal(&format!("its format is \"{}\"", format::name())));
        }
        if fanout.parts().running() >= fanout.options().max_parts {
            return Err(refusal("it runs as many parts of queries as it may (fanout.max_parts)"));
        }
        let mut config = query.builder.config().take().unwrap_or_default();
        // The library's configuration is DataFusion's default with its own extension.
        let distributed = config.options().extensions.get::<DistributedConfig>().cloned();
        *config.options_mut() = fanout.base().clone();
        if let Some(distributed) = distributed {
            config.options_mut().extensions.insert(distributed);
        }
        let mut config = fanout.codec().vocabulary().read_session(&session.settings, config)?;
        if let Some(remaining_ms) = session.remaining_ms {
            config.set_extension(Arc::new(Deadline(Instant::now() + Duration::from_millis(remaining_ms))));
        }
        config.set_extension(Arc::clone(fanout.parts()));
        config.set_extension(Arc::new(session.query));
        let filters = Arc::clone(fanout.filters());
        let nodes = session.nodes.iter().filter_map(|node| Url::parse(node).ok()).collect();
        config.set_extension(Arc::new(Exchange::new(session.exchange, nodes, fanout.channels(), filters)));
        match fanout.channels_open().end(&query.headers) {
            Some(end) => config.set_extension(Arc::new(end)),
            None => return Err(refusal("the query is over")),
        }
        // What comes is planned already.
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_analyzer_rules(Vec::new())
            .with_optimizer_rules(Vec::new())
            .with_physical_optimizer_rules(Vec::new())
            .with_runtime_env(Arc::clone(fanout.runtime()))
            .with_distributed_channel_resolver(fanout.channels())
            .with_distributed_user_codec_arc(Arc::clone(fanout.codec()) as _)
            .build();
        Ok(state)
    }
}

/// What makes the query begin anew without this node. Its name is known to whoever called it.
fn refusal(reason: &str) -> DataFusionError {
    travelling::lost(Lost { node: String::new(), reason: reason.to_owned() })
}

fn read_session(headers: &HeaderMap) -> Result<Session> {
    let Some(value) = headers.get(SESSION) else { return internal_err!("a part of a query without a session") };
    let json = BASE64.decode(value.as_bytes()).map_err(|error| DataFusionError::External(Box::new(error)))?;
    serde_json::from_slice(&json).map_err(|error| DataFusionError::External(Box::new(error)))
}
