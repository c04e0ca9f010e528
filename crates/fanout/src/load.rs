//! Whether a node is too busy for parts of further queries of others: what it says when it is asked.
//!
//! What always holds: whoever does not say that it is busy is not. So a node that does not know the question yet gets parts as before.
//!
//! Not here: who is asked, and when ([`crate::live`]); that a node takes no parts beyond its limit ([`crate::worker`]).

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::runtime_env::RuntimeEnv;
use tonic::Status;

use crate::cluster::Channel;
use crate::parts::Parts;
use crate::unary::{self, Answers};

/// Of what it may use, a node that is busy uses so much.
const BUSY_PERCENT: u128 = 90;

/// What parts of queries take on a node.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    parts: Arc<Parts>,
    max_parts: usize,
    runtime: Arc<RuntimeEnv>,
}

impl Load {
    /// Of these parts, which may be so many, and of the memory of all queries.
    pub(crate) fn new(parts: Arc<Parts>, max_parts: usize, runtime: Arc<RuntimeEnv>) -> Load {
        Load { parts, max_parts, runtime }
    }

    fn is_busy(&self) -> bool {
        let pool = &self.runtime.memory_pool;
        let memory = match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => nearly_all(pool.reserved(), bytes),
            MemoryLimit::Infinite | MemoryLimit::Unknown => false,
        };
        memory || nearly_all(self.parts.running(), self.max_parts)
    }
}

fn nearly_all(used: usize, limit: usize) -> bool {
    used as u128 * 100 >= limit as u128 * BUSY_PERCENT
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Question {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Answer {
    #[prost(bool, tag = "1")]
    busy: bool,
}

/// Whether the node at the other end says that it is busy.
pub(crate) async fn says_busy(channel: Channel) -> bool {
    unary::ask::<Load>(channel, Question {}).await.is_ok_and(|answer| answer.busy)
}

impl Answers for Load {
    type Question = Question;
    type Answer = Answer;

    const SERVICE: &'static str = "wharf.fanout.v1.Load";
    const PATH: &'static str = "/wharf.fanout.v1.Load/Ask";
    const MAX_QUESTION_BYTES: usize = 1 << 10;

    fn answer(&self, _: Question) -> Result<Answer, Status> {
        Ok(Answer { busy: self.is_busy() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use tonic::service::Routes;

    use super::*;
    use crate::cluster::{Cluster, InProcess};
    use crate::parts::QueryTag;
    use crate::unary::Unary;

    /// What a node says that has ten parts and 1000 bytes of memory.
    async fn says(load: &Load) -> bool {
        ask(Routes::new(Unary(load.clone()))).await
    }

    async fn ask(node: Routes) -> bool {
        let node = InProcess::new([node]);
        says_busy(node.channel(&node.nodes()[0]).await.unwrap()).await
    }

    fn load() -> Load {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(1000)));
        Load::new(Arc::default(), 10, runtime.build_arc().unwrap())
    }

    #[tokio::test]
    async fn a_node_with_many_parts_is_busy() {
        let load = load();
        let query = QueryTag::default();
        let mut parts: Vec<_> = (0..8).map(|task| load.parts.begin(query, 1, task)).collect();
        assert!(!says(&load).await);
        parts.push(load.parts.begin(query, 1, 8));
        assert!(says(&load).await);
        parts.pop();
        assert!(!says(&load).await);
    }

    #[tokio::test]
    async fn a_node_without_memory_is_busy() {
        let load = load();
        let taken = MemoryConsumer::new("a join").register(&load.runtime.memory_pool);
        taken.grow(899);
        assert!(!says(&load).await);
        taken.grow(1);
        assert!(says(&load).await);
        drop(taken);
        assert!(!says(&load).await);
    }

    #[tokio::test]
    async fn a_node_that_does_not_know_the_question_is_not_busy() {
        assert!(!ask(Routes::default()).await);
    }
}
