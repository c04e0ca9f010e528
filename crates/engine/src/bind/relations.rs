//! Items of FROM: without keys, and lateral where they are.
//!
//! DataFusion adds to the keys of GROUP BY what follows from them, by keys that a subquery's groups gave it and that an UNNEST in
//! that subquery has doubled (`crate::optimize::keys` tells more): `GROUP BY k` over `SELECT k, unnest(..) AS v FROM (.. GROUP BY k)`
//! had a row for every `k` and `v`. PostgreSQL adds nothing for a subquery, a view or WITH.
//!
//! DataFusion takes a LATERAL item for an ordinary one when only subqueries inside of it refer to the items before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::{FunctionalDependencies, Result as DfResult};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{LogicalPlan, Projection, SubqueryAlias};
use sqlparser::ast::TableFactor;

use super::subqueries::as_lateral;

/// Plans an item of FROM as DataFusion does, takes its keys, and marks it where it is lateral. For the planning of one statement.
#[derive(Debug, Default)]
pub(super) struct Relations {
    /// DataFusion is asked to plan the item at hand, and asks here first.
    asked: AtomicBool,
}

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let may_have_keys = matches!(relation, TableFactor::Derived { .. } | TableFactor::Table { .. });
        if !may_have_keys || self.asked.swap(false, Ordering::Relaxed) {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        self.asked.store(true, Ordering::Relaxed);
        let lateral = matches!(relation, TableFactor::Derived { lateral: true, .. });
        let plan = without_keys(context.plan(relation)?)?;
        let plan = if lateral { as_lateral(plan)? } else { plan };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
    }
}

fn without_keys(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    if plan.schema().functional_dependencies().is_empty() {
        return Ok(plan);
    }
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let input = without_keys(Arc::unwrap_or_clone(alias.input))?;
            SubqueryAlias::try_new(Arc::new(input), alias.alias).map(LogicalPlan::SubqueryAlias)
        }
        // LATERAL is known by this.
        LogicalPlan::Subquery(mut subquery) => {
            subquery.subquery = Arc::new(without_keys(Arc::unwrap_or_clone(subquery.subquery))?);
            Ok(LogicalPlan::Subquery(subquery))
        }
        LogicalPlan::Projection(projection) => {
            let schema = projection.schema.as_ref().clone();
            let schema = Arc::new(schema.with_functional_dependencies(FunctionalDependencies::empty())?);
            Projection::try_new_with_schema(projection.expr, projection.input, schema).map(LogicalPlan::Projection)
        }
        plan => {
            // Sorts, limits and their like have the keys of what is below.
            let exprs = plan.schema().columns().into_iter().map(datafusion::logical_expr::Expr::Column).collect();
            without_keys(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
        }
    }
}
