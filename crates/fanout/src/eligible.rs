//! Which plans are divided among nodes, and which are better off, or only right, on one.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, InputOrderMode, StatisticsArgs};
use tokio::time::Instant;

use crate::parts::QueryTag;

/// When a query is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribute {
    /// When it reads much.
    #[default]
    Auto,
    /// Whenever it can be.
    On,
    /// Never.
    Off,
}

/// What a session wants of a query.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its setting.
    pub distribute: Distribute,
    /// What a query has to read to be divided under [`Distribute::Auto`], in bytes of the columns that it reads.
    pub min_bytes: u64,
    /// Whether rows of keys that very many rows have are spread over all nodes for a join.
    pub split_hot_keys: bool,
    /// When the statement must have ended.
    pub deadline: Option<Instant>,
    /// Whose work it is, for those who ask a node what it does.
    pub query: QueryTag,
    /// Whether all nodes say in the end what their operators have done, for [`Ran::lines`](crate::Ran::lines).
    pub measured: bool,
}

/// More rows than this that are in the node's memory, such as the system catalog's, are not sent about.
const MAX_ROWS_SENT: usize = 10_000;

/// About how many bytes of files a plan reads.
pub(crate) fn bytes_to_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    bytes_of_scans(plan).into_iter().sum()
}

/// About how many bytes of files the scan of a plan reads that reads the most.
pub(crate) fn most_to_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    bytes_of_scans(plan).into_iter().max().unwrap_or_default()
}

fn bytes_of_scans(plan: &Arc<dyn ExecutionPlan>) -> Vec<u64> {
    let mut bytes = Vec::new();
    // The closure cannot fail.
    let _ = plan.apply(|node| {
        bytes.extend(wharf_lake::bytes_read(node));
        Ok(TreeNodeRecursion::Continue)
    });
    bytes
}

/// Why a plan has to stay on one node, as far as its operators tell.
pub(crate) fn obstacle(plan: &Arc<dyn ExecutionPlan>) -> Option<&'static str> {
    let (mut found, mut scans) = (None, false);
    // The closure cannot fail.
    let _ = plan.apply(|node| {
        scans |= file_scan(node).is_some_and(|scan| scan.file_groups.iter().any(|group| !group.is_empty()));
        found = found.or_else(|| obstacle_at(node));
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found.or_else(|| (!scans).then_some("it reads no files"))
}

fn obstacle_at(node: &Arc<dyn ExecutionPlan>) -> Option<&'static str> {
    if let Some(repartition) = node.downcast_ref::<RepartitionExec>() {
        if repartition.preserve_order() {
            return Some("it keeps an order while it divides rows");
        }
        // The library's codec reads these, which knows no SQL types.
        if let Partitioning::Hash(keys, _) = repartition.partitioning()
            && keys.iter().any(|key| key.downcast_ref::<Column>().is_none())
        {
            return Some("it divides rows by an expression");
        }
    }
    // DataFusion's format has no place for it, and leaves it out.
    if windows(node).iter().any(|window| format!("{window:?}").contains("filter: Some(")) {
        return Some("it has a window function with FILTER");
    }
    if !keys_are_sorted(node) {
        return Some("it has a window whose order is known in other words");
    }
    let memory =
        node.downcast_ref::<DataSourceExec>().is_some_and(|scan| scan.data_source().is::<MemorySourceConfig>());
    if memory && !few_rows(node) {
        return Some("it reads what this node alone has in memory");
    }
    None
}

fn windows(node: &Arc<dyn ExecutionPlan>) -> &[Arc<dyn WindowExpr>] {
    if let Some(bounded) = node.downcast_ref::<BoundedWindowAggExec>() {
        return bounded.window_expr();
    }
    node.downcast_ref::<WindowAggExec>().map_or(&[], |windows| windows.window_expr())
}

/// Whether the keys that a window finds in order are those which its input says it is sorted by. What one node knows beside
/// that, that a column is the same in all rows or the same as the other one of a join, is not sent: a node that gets the plan
/// would not find the order that the window was promised.
fn keys_are_sorted(node: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(keys) = windows(node).first().map(|window| window.partition_by()) else { return true };
    let keys: Vec<_> = match node.downcast_ref::<BoundedWindowAggExec>().map(|window| &window.input_order_mode) {
        Some(InputOrderMode::Linear) => return true,
        Some(InputOrderMode::PartiallySorted(sorted)) => sorted.iter().filter_map(|at| keys.get(*at)).collect(),
        // A window that is not bounded finds all its keys in order.
        Some(InputOrderMode::Sorted) | None => keys.iter().collect(),
    };
    let input = node.children()[0].equivalence_properties();
    keys.is_empty()
        || input.oeq_class().iter().any(|order| {
            let first = &order[..keys.len().min(order.len())];
            keys.iter().all(|key| first.iter().any(|sorted| sorted.expr.eq(key)))
        })
}

fn few_rows(node: &Arc<dyn ExecutionPlan>) -> bool {
    let rows = node.statistics_from_inputs(&[], &StatisticsArgs::new()).map(|statistics| statistics.num_rows);
    matches!(rows, Ok(Precision::Exact(rows)) if rows <= MAX_ROWS_SENT)
}

fn file_scan(node: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    node.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}
