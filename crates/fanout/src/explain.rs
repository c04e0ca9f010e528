//! A divided plan as lines of text: its stages, how many nodes run each, and which nodes there are.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion_distributed::{DistributedExec, display_plan_ascii};

use crate::fanout::{NotSpread, Spread};

/// The lines of a plan that was divided.
pub fn lines(spread: &Spread) -> Vec<String> {
    let mut lines = plan_lines(&spread.plan);
    let nodes: Vec<_> = spread.nodes.iter().map(|node| node.as_str().trim_end_matches('/')).collect();
    lines.push(format!("Nodes: {}", nodes.join(", ")));
    lines
}

fn plan_lines(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    if plan.is::<DistributedExec>() {
        let text = display_plan_ascii(plan.as_ref(), false);
        // What it does, the frame around the stage says.
        return text.lines().filter(|line| !line.ends_with("TaskExec")).map(str::to_owned).collect();
    }
    if plan.children().iter().any(|child| child.is::<DistributedExec>()) {
        let own = DisplayableExecutionPlan::new(plan.as_ref()).one_line().to_string();
        let inner = plan.children().into_iter().flat_map(plan_lines).map(|line| format!("  {line}"));
        return std::iter::once(own.trim_end().to_owned()).chain(inner).collect();
    }
    let text = DisplayableExecutionPlan::new(plan.as_ref()).indent(false).to_string();
    text.lines().map(str::to_owned).collect()
}

impl std::fmt::Display for NotSpread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotSpread::Alone => f.write_str("there is no other node"),
            NotSpread::Off => f.write_str("wharf.distribute is off"),
            NotSpread::Small(bytes) => write!(f, "it reads {bytes} bytes"),
            NotSpread::Cannot(reason) => f.write_str(reason),
        }
    }
}
