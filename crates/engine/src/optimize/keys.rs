//! What DataFusion takes for a key and is none.
//!
//! Its plans say which columns are unique, and its rules believe it: a join with what is unique becomes a semi join, DISTINCT
//! of it and keys of groups that follow from it are left out. Two nodes say too much.
//!
//! - UNNEST keeps the keys of the rows that it makes several of: `FROM t, generate_series(1, t.n)` gave a row of `t` once
//!   (<https://github.com/apache/datafusion/pull/24787>, not merged yet).
//! - An aggregate by a column that was a key before a join, and by another column, takes the first for a key again: the groups
//!   of `GROUP BY k, other` met a row with their `k` once.
//!
//! What always holds: the rules see no keys of UNNEST, and of an aggregate all of its group's columns together.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Dependency, FunctionalDependence, FunctionalDependencies, Result};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Unnest};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rules of DataFusion that ask for keys.
pub(crate) const ASK_FOR_KEYS: [&str; 3] = ["eliminate_join", "replace_distinct_aggregate", "optimize_projections"];

/// One of these rules, to be run in its place: it finds no false keys.
#[derive(Debug)]
pub(crate) struct WithoutFalseKeys(pub(crate) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for WithoutFalseKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // A rule that gets node after node asks for the keys below DISTINCT alone, which are new when the one below that has
        // become an aggregate.
        let asks = self.apply_order().is_none() || matches!(plan, LogicalPlan::Distinct(_));
        let plan = if asks && has_false_keys(&plan)? { plan.transform_up_with_subqueries(forget)?.data } else { plan };
        self.0.rewrite(plan, config)
    }
}

fn has_false_keys(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::Unnest(_) => true,
            LogicalPlan::Aggregate(aggregate) => !aggregate.input.schema().functional_dependencies().is_empty(),
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A node without the keys that it has not, nor its inputs any more.
fn forget(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Unnest(unnest) => {
            let schema = unnest.schema.as_ref().clone();
            let schema = Arc::new(schema.with_functional_dependencies(FunctionalDependencies::empty())?);
            Ok(Transformed::yes(LogicalPlan::Unnest(Unnest { schema, ..unnest })))
        }
        LogicalPlan::Aggregate(mut aggregate) => {
            let schema = aggregate.schema.as_ref().clone();
            aggregate.schema = Arc::new(schema.with_functional_dependencies(group(&aggregate))?);
            Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
        }
        // These have the keys of their inputs.
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Join(_) | LogicalPlan::Window(_) => {
            if plan.schema().functional_dependencies().is_empty() {
                return Ok(Transformed::no(plan));
            }
            plan.recompute_schema().map(Transformed::yes)
        }
        plan => Ok(Transformed::no(plan)),
    }
}

/// The columns of the group, which tell every row of an aggregate apart; nothing when it has none, or sets of them.
fn group(aggregate: &Aggregate) -> FunctionalDependencies {
    let sets = aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
    if sets || aggregate.group_expr.is_empty() {
        return FunctionalDependencies::empty();
    }
    // A key that is named twice is one column.
    let keys: Vec<usize> = (0..aggregate.schema.fields().len() - aggregate.aggr_expr.len()).collect();
    let nullable = keys.iter().any(|key| aggregate.schema.field(*key).is_nullable());
    let all = (0..aggregate.schema.fields().len()).collect();
    FunctionalDependencies::new(vec![FunctionalDependence::new(keys, all, nullable).with_mode(Dependency::Single)])
}
