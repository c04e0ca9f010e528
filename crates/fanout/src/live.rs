//! A cluster of processes: which of its members can take part in queries now.
//!
//! What always holds:
//! - A node is given work only after it has said that it does parts of queries, in this version's format; a node that does not
//!   answer any more, is stopping or has another format is not. Which ones do is asked all the time, not when a query waits.
//! - A node that a query has lost is left out for some seconds, whatever it says itself.
//! - A node that says that it is busy gets no parts of new queries of others until it says otherwise. It takes part all the same: in
//!   queries of its own, and in those that have begun.
//! - Asking has a deadline, and one node that is slow to answer delays no query.
//!
//! Not here: who the members are and how they are reached ([`Members`]).

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion_distributed::GetWorkerInfoRequest;
use datafusion_distributed::grpc::create_worker_client;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};
use url::Url;

use crate::cluster::{Channel, Cluster};
use crate::format;
use crate::load::says_busy;

/// The pause between two rounds of asking.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a node may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// For how long an answer is believed: two of them may be late on a busy machine, or one lost.
const BELIEVED: Duration = Duration::from_secs(8);
/// For how long a node is left out that a query has lost.
const LEFT_OUT: Duration = Duration::from_secs(5);

/// The members of a cluster and the ways to them.
pub trait Members: Debug + Send + Sync + 'static {
    /// The address of each, `host:port`, this node's among them; quick.
    fn addresses(&self) -> Vec<String>;

    /// The channel to the node at an address, which may connect when it is used. It says of itself when it is broken.
    ///
    /// # Errors
    /// An address that is none.
    fn channel(&self, address: &str) -> Result<tonic::transport::Channel, String>;
}

/// What is known of a node.
#[derive(Debug, Default)]
struct Health {
    /// When it said last that it takes part.
    answered: Option<Instant>,
    left_out_until: Option<Instant>,
    /// Whether it is busy, as it said last.
    busy: bool,
    /// Whether it takes part, as was logged last.
    logged: bool,
}

impl Health {
    fn takes_part(&self, now: Instant) -> bool {
        self.answered.is_some_and(|answered| now.duration_since(answered) < BELIEVED)
            && self.left_out_until.is_none_or(|until| until <= now)
    }
}

/// What a node says when it is asked.
enum Answer {
    TakesPart {
        busy: bool,
    },
    /// It is there and does not take part, or nobody is there.
    No(String),
    /// Nothing is known.
    Late,
}

/// The members of a cluster that can take part in queries.
#[derive(Debug)]
pub(crate) struct Live {
    members: Arc<dyn Members>,
    own: Url,
    health: Mutex<HashMap<Url, Health>>,
}

impl Live {
    pub(crate) fn new(members: Arc<dyn Members>, own_address: &str) -> Option<Live> {
        Some(Live { members, own: url(own_address)?, health: Mutex::default() })
    }

    /// Asks the members, round after round.
    pub(crate) async fn watch(&self) {
        let mut rounds = tokio::time::interval(INTERVAL);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.round().await;
        }
    }

    async fn round(&self) {
        let members: Vec<(String, Url)> = self
            .members
            .addresses()
            .into_iter()
            .filter_map(|address| url(&address).map(|url| (address, url)))
            .collect();
        let answers = join_all(members.iter().map(|(address, url)| async {
            // This node is there, and whether it is busy is the business of the others.
            if *url == self.own { Answer::TakesPart { busy: false } } else { self.ask(address).await }
        }))
        .await;
        self.hear(members, answers);
    }

    /// Takes what the members have answered.
    fn hear(&self, members: Vec<(String, Url)>, answers: Vec<Answer>) {
        let now = Instant::now();
        let mut health = self.health.lock();
        health.retain(|known, _| members.iter().any(|(_, url)| url == known));
        for ((address, url), answer) in members.into_iter().zip(answers) {
            let known = health.entry(url).or_default();
            let reason = match answer {
                Answer::TakesPart { busy } => {
                    known.answered = Some(now);
                    if busy != known.busy {
                        known.busy = busy;
                        tracing::debug!(node = address, busy, "a node is busy, or is not any more");
                    }
                    String::new()
                }
                Answer::No(reason) => {
                    known.answered = None;
                    reason
                }
                Answer::Late => "it does not answer".to_owned(),
            };
            let takes_part = known.takes_part(now);
            if takes_part != known.logged {
                known.logged = takes_part;
                match takes_part {
                    true => tracing::info!(node = address, "a node takes part in queries"),
                    false => tracing::info!(node = address, reason, "a node takes no part in queries any more"),
                }
            }
        }
    }

    /// Those that take part at an instant and are of use, always in the same order.
    fn nodes_at(&self, now: Instant, is_of_use: impl Fn(&Health) -> bool) -> Vec<Url> {
        let health = self.health.lock();
        let found = health.iter().filter(|(_, health)| health.takes_part(now) && is_of_use(health));
        let mut nodes: Vec<Url> = found.map(|(url, _)| url.clone()).collect();
        drop(health);
        nodes.sort();
        nodes
    }

    async fn ask(&self, address: &str) -> Answer {
        let channel = match self.members.channel(address) {
            Ok(channel) => Channel::new(channel),
            Err(reason) => return Answer::No(reason),
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer(channel)).await.unwrap_or(Answer::Late)
    }
}

/// What the node at the other end says of itself.
async fn answer(channel: Channel) -> Answer {
    let mut client = create_worker_client(channel.clone());
    match client.get_worker_info(GetWorkerInfoRequest {}).await {
        Err(error) => Answer::No(error.strip_backtrace()),
        Ok(info) if info.version == format::name() => Answer::TakesPart { busy: says_busy(channel).await },
        Ok(info) => Answer::No(format!("its format is \"{}\", not \"{}\"", info.version, format::name())),
    }
}

#[async_trait]
impl Cluster for Live {
    fn nodes(&self) -> Vec<Url> {
        self.nodes_at(Instant::now(), |_| true)
    }

    fn free(&self) -> Vec<Url> {
        self.nodes_at(Instant::now(), |health| !health.busy)
    }

    fn is_own(&self, node: &Url) -> bool {
        *node == self.own
    }

    fn count(&self) -> usize {
        let now = Instant::now();
        self.health.lock().values().filter(|health| health.takes_part(now)).count()
    }

    async fn channel(&self, node: &Url) -> Result<Channel, String> {
        let address = address(node).ok_or_else(|| format!("{node} is no address"))?;
        Ok(Channel::new(self.members.channel(&address)?))
    }

    fn lost(&self, node: &Url) {
        if let Some(health) = self.health.lock().get_mut(node) {
            health.left_out_until = Some(Instant::now() + LEFT_OUT);
        }
    }
}

/// The name by which all nodes know the one at an address; none when it cannot be part of a URL.
fn url(address: &str) -> Option<Url> {
    Url::parse(&format!("http://{address}/")).ok()
}

/// The address again.
pub(crate) fn address(url: &Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::slice;

    use super::*;

    #[derive(Debug)]
    struct NoWays(Mutex<Vec<String>>);

    impl Members for NoWays {
        fn addresses(&self) -> Vec<String> {
            self.0.lock().clone()
        }

        fn channel(&self, address: &str) -> Result<tonic::transport::Channel, String> {
            Err(format!("no way to {address}"))
        }
    }

    #[test]
    fn an_address_comes_back_from_its_url() {
        for known in ["wharf-0.wharf:5442", "192.0.2.7:80", "[2001:db8::7]:5442"] {
            assert_eq!(address(&url(known).unwrap()).unwrap(), known);
        }
    }

    #[tokio::test]
    async fn only_nodes_that_answer_take_part() {
        let members = Arc::new(NoWays(Mutex::new(vec!["a:1".to_owned(), "b:1".to_owned()])));
        let live = Live::new(Arc::clone(&members) as _, "a:1").unwrap();
        assert!(live.nodes().is_empty());
        live.round().await;
        assert_eq!(live.nodes(), [url("a:1").unwrap()]);
        // An answer is not believed for ever.
        assert!(live.nodes_at(Instant::now() + BELIEVED, |_| true).is_empty());
        // Whoever has left the cluster is not asked any more.
        members.0.lock().remove(0);
        live.round().await;
        assert!(live.nodes().is_empty());
    }

    #[tokio::test]
    async fn a_node_that_was_lost_is_left_out_for_seconds() {
        let members = Arc::new(NoWays(Mutex::new(vec!["a:1".to_owned()])));
        let live = Live::new(members, "a:1").unwrap();
        live.round().await;
        let node = live.nodes()[0].clone();
        live.lost(&node);
        live.round().await;
        assert!(live.nodes().is_empty());
        assert_eq!(live.nodes_at(Instant::now() + LEFT_OUT, |_| true), [node]);
    }

    #[tokio::test]
    async fn a_busy_node_gets_no_parts_until_it_says_otherwise() {
        let live = Live::new(Arc::new(NoWays(Mutex::default())), "a:1").unwrap();
        let (own, other) = (url("a:1").unwrap(), url("b:1").unwrap());
        let members = || vec![("a:1".to_owned(), own.clone()), ("b:1".to_owned(), other.clone())];
        let hear = |answer| live.hear(members(), vec![Answer::TakesPart { busy: false }, answer]);
        hear(Answer::TakesPart { busy: true });
        assert_eq!(live.free(), slice::from_ref(&own));
        // It is there, for queries that have begun.
        assert_eq!((live.nodes(), live.count()), (vec![own.clone(), other.clone()], 2));
        hear(Answer::Late);
        assert_eq!(live.free(), slice::from_ref(&own));
        hear(Answer::TakesPart { busy: false });
        assert_eq!(live.free(), [own.clone(), other.clone()]);
    }

    #[test]
    fn a_node_knows_itself() {
        let live = Live::new(Arc::new(NoWays(Mutex::default())), "a:1").unwrap();
        assert!(live.is_own(&url("a:1").unwrap()) && !live.is_own(&url("b:1").unwrap()));
    }
}
