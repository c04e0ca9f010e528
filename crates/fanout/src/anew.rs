//! A plan that runs once more.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;

/// The plan without what its last run has left in it, as `reset_plan_states` of DataFusion makes it, with one difference: joins go on
/// making the filters that scans have from them. DataFusion forgets those, and a divided plan is then read whole, since no filter can travel.
///
/// # Errors
/// What DataFusion says of operators that cannot be made anew.
pub fn anew(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let anew = plan.transform_up(|node| {
        let made = node.downcast_ref::<HashJoinExec>().and_then(|join| join.dynamic_expressions_produced().pop());
        let made =
            made.and_then(|made| (made as Arc<dyn Any + Send + Sync>).downcast::<DynamicFilterPhysicalExpr>().ok());
        let (Some(filter), Some(join)) = (made, node.downcast_ref::<HashJoinExec>()) else {
            return node.reset_state().map(Transformed::yes);
        };
        let join = join.builder().reset_state().build()?.with_dynamic_filter_expr(filter)?;
        Ok(Transformed::yes(Arc::new(join)))
    })?;
    Ok(anew.data)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::NullEquality;
    use datafusion::logical_expr::JoinType;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{Column, lit};
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::joins::PartitionMode;

    use super::*;

    #[test]
    fn a_join_goes_on_making_its_filter() {
        let side = |name: &str| -> Arc<dyn ExecutionPlan> {
            let schema = Schema::new(vec![Field::new(name, DataType::Int64, false)]);
            Arc::new(EmptyExec::new(Arc::new(schema)))
        };
        let key = |name: &str| Arc::new(Column::new(name, 0)) as Arc<dyn PhysicalExpr>;
        let (mode, nulls) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
        let (left, right, on) = (side("a"), side("b"), vec![(key("a"), key("b"))]);
        let join = HashJoinExec::try_new(left, right, on, None, &JoinType::Inner, None, mode, nulls, false).unwrap();
        let filter = Arc::new(DynamicFilterPhysicalExpr::new(vec![key("b")], lit(true)));
        let id = filter.expression_id();
        let join: Arc<dyn ExecutionPlan> = Arc::new(join.with_dynamic_filter_expr(filter).unwrap());
        let made = anew(join).unwrap().dynamic_expressions_produced();
        assert_eq!(made.iter().map(|made| made.expression_id()).collect::<Vec<_>>(), [id]);
    }
}
