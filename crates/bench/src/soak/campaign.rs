//! One fault after the other, and how long the cluster takes to get over each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::faults::{Fault, Kind, Survivors};
use super::workload::Shared;
use super::{Arguments, NODES};

/// Writes that are not taken by then never will be.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a fault came to. Times are from its beginning, or, for `whole`, from its end.
#[derive(Debug, serde::Serialize)]
pub(super) struct Told {
    pub(super) kind: Kind,
    fault: String,
    at_seconds: f64,
    /// How long the slowest of three writes took right before, one on each node: what the machine itself takes.
    calm_ms: Option<f64>,
    /// Was a majority left?
    pub(super) quorum: bool,
    /// Until a write was acknowledged by one of the nodes that go on.
    pub(super) first_ms: Option<f64>,
    /// Until that was so by each of them.
    pub(super) each_ms: Option<f64>,
    /// After the fault, until each node has acknowledged a write.
    pub(super) whole_ms: Option<f64>,
}

/// The campaign.
pub(super) struct Campaign<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) cluster: &'a mut Cluster,
    pub(super) random: fastrand::Rng,
    pub(super) failures: Vec<String>,
    pub(super) told: Vec<Told>,
}

impl Campaign<'_> {
    /// Goes on for so long, and ends with a whole cluster.
    pub(super) async fn run(&mut self, until: Instant) -> anyhow::Result<()> {
        let kinds: Vec<Kind> = match self.arguments.faults.as_slice() {
            [] => <Kind as clap::ValueEnum>::value_variants().to_vec(),
            chosen => chosen.to_vec(),
        };
        let mut deck: Vec<Kind> = Vec::new();
        while Instant::now() < until {
            if deck.is_empty() {
                deck.clone_from(&kinds);
                self.random.shuffle(&mut deck);
            }
            let kind = deck.pop().expect("it was filled above");
            if !Fault::is_possible(kind, self.cluster) {
                continue;
            }
            tokio::time::sleep(Duration::from_millis(self.random.u64(500..2_500))).await;
            self.fault(kind).await?;
        }
        Ok(())
    }

    async fn fault(&mut self, kind: Kind) -> anyhow::Result<()> {
        let fault = Fault::choose(kind, self.cluster, &mut self.random).await;
        let all: Vec<usize> = (0..NODES).collect();
        let (_, calm) = self.until_written(Instant::now(), &all, true).await;
        let at = self.shared.now();
        let begun = Instant::now();
        fault.begin(self.cluster).await?;
        let (nodes, each) = match fault.survivors() {
            Survivors::None => (Vec::new(), false),
            Survivors::Each(nodes) => (nodes, true),
            Survivors::One(nodes) => (nodes, false),
        };
        let hold = Duration::from_millis(self.random.u64(1_500..5_000));
        let (first, last) = self.until_written(begun, &nodes, each).await;
        tokio::time::sleep(hold.saturating_sub(begun.elapsed())).await;

        let healed = Instant::now();
        fault.end(self.cluster)?;
        let whole = self.until_whole(&fault, healed, &all).await?;
        let milliseconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3);
        let told = Told {
            kind,
            fault: fault.to_string(),
            at_seconds: at.as_secs_f64(),
            calm_ms: milliseconds(calm),
            quorum: !nodes.is_empty(),
            first_ms: milliseconds(first),
            each_ms: milliseconds(last).filter(|_| each),
            whole_ms: milliseconds(whole),
        };
        let show = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.0} ms"));
        println!(
            "{:7.1} s  {fault}: a write before {}, first write {}, each survivor {}, whole again {}",
            told.at_seconds,
            show(told.calm_ms),
            show(told.first_ms),
            show(told.each_ms),
            show(told.whole_ms)
        );
        let measured = if each { last } else { first };
        let limit = Duration::from_millis(self.arguments.recovery_limit);
        if told.quorum && measured.is_none_or(|time| time > limit) {
            self.failures.push(format!("{fault} at {:.1} s: no write within {limit:?}", told.at_seconds));
        }
        if whole.is_none() {
            self.failures.push(format!("after {fault}: not every node takes writes again within {PATIENCE:?}"));
        }
        self.told.push(told);
        self.look_after_the_dead();
        Ok(())
    }

    /// Nodes that have ended by themselves.
    fn look_after_the_dead(&mut self) {
        for node in 0..NODES {
            if let Some(status) = self.cluster.nodes[node].ended() {
                let log = self.cluster.log_tail(node);
                self.failures.push(format!("node {} ended by itself ({status}):\n{log}", node + 1));
                if let Err(error) = self.cluster.start_node(node) {
                    self.failures.push(format!("{error:#}"));
                }
            }
        }
    }

    /// How long after `since` each node has acknowledged a write. What ends by itself, as it must without room on its disk, is started
    /// again, as whoever looks after the process would do it.
    async fn until_whole(&mut self, fault: &Fault, since: Instant, all: &[usize]) -> anyhow::Result<Option<Duration>> {
        let limit = Duration::from_millis(self.arguments.recovery_limit);
        let mut written = std::pin::pin!(until_written(Arc::clone(self.shared), limit, since, all, true));
        loop {
            tokio::select! {
                (_, whole) = &mut written => return Ok(whole),
                () = tokio::time::sleep(Duration::from_millis(100)) => fault.start_again(self.cluster)?,
            }
        }
    }

    async fn until_written(&self, since: Instant, nodes: &[usize], each: bool) -> (Option<Duration>, Option<Duration>) {
        let limit = Duration::from_millis(self.arguments.recovery_limit);
        until_written(Arc::clone(self.shared), limit, since, nodes, each).await
    }
}

/// How long after `since` one of the nodes, and each of them, has acknowledged a write that began after this call. Without `each`
/// the first is enough.
async fn until_written(
    shared: Arc<Shared>,
    limit: Duration,
    since: Instant,
    nodes: &[usize],
    each: bool,
) -> (Option<Duration>, Option<Duration>) {
    let mut writes = JoinSet::new();
    for node in nodes {
        let (shared, node) = (Arc::clone(&shared), *node);
        writes.spawn(async move {
            let (written, attempts) = shared.write_on(node, PATIENCE).await;
            let elapsed = since.elapsed();
            if elapsed > limit {
                let last = attempts.last().map_or("the first attempt", String::as_str);
                println!(
                    "  node {}: {} attempts in {elapsed:.1?}; the last that failed: {last}",
                    node + 1,
                    attempts.len() + 1
                );
            }
            written.then_some(elapsed)
        });
    }
    let (mut first, mut last) = (None::<Duration>, Some(Duration::ZERO));
    while let Some(written) = writes.join_next().await {
        let written = written.ok().flatten();
        first = [first, written].into_iter().flatten().min();
        last = last.zip(written).map(|(last, written)| last.max(written));
        if !each && first.is_some() {
            break;
        }
    }
    (first, last.filter(|_| !nodes.is_empty()))
}
