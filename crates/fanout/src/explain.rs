//! A divided plan as lines of text: its stages, how many nodes run each, and which nodes there are; and what its operators have done.

use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion_distributed::{DistributedExec, DistributedMetricsFormat, display_plan_ascii, explain_analyze};
use parking_lot::Mutex;
use url::Url;

use crate::fanout::{NotSpread, Spread};

/// How long nodes may take to say what they have done, once the rows are all there.
const MEASURES_TIMEOUT: Duration = Duration::from_secs(2);

/// The lines of a plan that was divided.
pub fn lines(spread: &Spread) -> Vec<String> {
    let parts = parts(&spread.plan);
    let mut lines: Vec<String> = parts.iter().flat_map(|part| part.indented(part.lines())).collect();
    lines.push(nodes(&spread.nodes));
    lines
}

/// How a query was computed that was to be divided: nodes that are lost change it. Clones are the same.
#[derive(Clone, Debug)]
pub struct Ran(Arc<Mutex<Way>>);

/// A plan and the nodes that it is divided among.
type Way = (Arc<dyn ExecutionPlan>, Vec<Url>);

impl Ran {
    /// By a plan that is divided among nodes.
    pub(crate) fn new(plan: &Arc<dyn ExecutionPlan>, nodes: &[Url]) -> Ran {
        Ran(Arc::new(Mutex::new((Arc::clone(plan), nodes.to_vec()))))
    }

    /// It was begun anew, among these nodes, or on its own one if there are none.
    pub(crate) fn again(&self, plan: &Arc<dyn ExecutionPlan>, nodes: &[Url]) {
        *self.0.lock() = (Arc::clone(plan), nodes.to_vec());
    }

    /// The lines of the plan with what its operators have done on all nodes; of a query that was [measured](crate::Wanted::measured) and has
    /// given all rows. `each` shows the tasks of a stage each by itself.
    pub async fn lines(&self, each: bool) -> Vec<String> {
        let (plan, on) = self.0.lock().clone();
        let (mut lines, mut silent) = (Vec::new(), false);
        for part in parts(&plan) {
            match part.measured(each).await {
                Some(measured) => lines.extend(part.indented(measured)),
                None => {
                    silent = true;
                    lines.extend(part.indented(part.lines()));
                }
            }
        }
        if !on.is_empty() {
            lines.push(nodes(&on));
        }
        if silent {
            lines.push("Metrics: not every node has sent what its operators have done".to_owned());
        }
        lines
    }
}

fn nodes(nodes: &[Url]) -> String {
    let nodes: Vec<_> = nodes.iter().map(|node| node.as_str().trim_end_matches('/')).collect();
    format!("Nodes: {}", nodes.join(", "))
}

/// A part of a plan, some of which are divided.
struct Part {
    plan: Arc<dyn ExecutionPlan>,
    depth: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Among nodes.
    Divided,
    /// An operator above parts.
    Operator,
    /// On this node, with all below it.
    Whole,
}

fn parts(plan: &Arc<dyn ExecutionPlan>) -> Vec<Part> {
    let mut found = Vec::new();
    collect(plan, 0, &mut found);
    found
}

fn collect(plan: &Arc<dyn ExecutionPlan>, depth: usize, found: &mut Vec<Part>) {
    let kind = if plan.is::<DistributedExec>() {
        Kind::Divided
    } else if plan.children().iter().any(|child| child.is::<DistributedExec>()) {
        Kind::Operator
    } else {
        Kind::Whole
    };
    found.push(Part { plan: Arc::clone(plan), depth, kind });
    if kind == Kind::Operator {
        plan.children().into_iter().for_each(|child| collect(child, depth + 1, found));
    }
}

impl Part {
    fn lines(&self) -> Vec<String> {
        let plan = || DisplayableExecutionPlan::new(self.plan.as_ref());
        match self.kind {
            Kind::Divided => split(&display_plan_ascii(self.plan.as_ref(), false)),
            Kind::Operator => split(&plan().one_line().to_string()),
            Kind::Whole => split(&plan().indent(false).to_string()),
        }
    }

    /// None when nodes do not say what they have done.
    async fn measured(&self, each: bool) -> Option<Vec<String>> {
        let plan = || DisplayableExecutionPlan::with_metrics(self.plan.as_ref());
        match self.kind {
            Kind::Divided => {
                let format = match each {
                    true => DistributedMetricsFormat::PerTask,
                    false => DistributedMetricsFormat::Aggregated,
                };
                let said = explain_analyze(Arc::clone(&self.plan), format);
                match tokio::time::timeout(MEASURES_TIMEOUT, said).await {
                    Ok(Ok(text)) => Some(split(&text)),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "what the operators of a query have done cannot be shown");
                        None
                    }
                    Err(_) => None,
                }
            }
            Kind::Operator => Some(split(&plan().one_line().to_string())),
            Kind::Whole => Some(split(&plan().indent(each).to_string())),
        }
    }

    fn indented(&self, lines: Vec<String>) -> Vec<String> {
        let indent = "  ".repeat(self.depth);
        lines.into_iter().map(|line| format!("{indent}{line}")).collect()
    }
}

/// The lines of a text. What a task does at its top, the frame around the stage says.
fn split(text: &str) -> Vec<String> {
    let is_task = |line: &&str| line.trim_start_matches([' ', '│']).starts_with("TaskExec");
    text.trim_end().lines().filter(|line| !is_task(line)).map(str::to_owned).collect()
}

impl std::fmt::Display for NotSpread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotSpread::Alone => f.write_str("there is no other node"),
            NotSpread::Busy => f.write_str("the other nodes are busy"),
            NotSpread::Off => f.write_str("wharf.distribute is off"),
            NotSpread::Small(bytes) => write!(f, "it reads about {bytes} bytes"),
            NotSpread::Cannot(reason) => f.write_str(reason),
        }
    }
}
