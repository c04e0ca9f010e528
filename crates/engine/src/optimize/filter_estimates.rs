//! How many rows a condition lets through, where the bounds of columns do not tell.
//!
//! DataFusion takes a fifth then, whatever the condition says. A join builds its table from the side that it thinks is smaller, so a
//! condition of five parts must not count as one of a single part. The figures for each kind of part are in the manner of PostgreSQL's
//! `selfuncs.h`; parts are rarely independent, so of several the most selective counts whole, the next by its square
//! root, and so on. What lets more through than a fifth counts as a fifth still: how many groups an aggregate has is not known
//! either, and a `HAVING` above it mostly leaves few.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, NotExpr};
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_expr::utils::split_disjunction;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

/// Of a column that equals a value.
const EQUAL: f64 = 0.1;
/// Of a column that is less or more than a value, or than another.
const UNEQUAL: f64 = 1.0 / 3.0;
/// Of a text like a pattern.
const LIKE: f64 = 0.1;
/// Of a column without a value.
const NULL: f64 = 0.05;
/// Of what is not known, as DataFusion has it.
const UNKNOWN: f64 = 0.2;
/// How many parts of a condition count.
const PARTS: usize = 4;

/// Tells filters how selective they are. To be run before the sides of joins are chosen.
#[derive(Debug, Default)]
pub(crate) struct EstimateFilters;

impl PhysicalOptimizerRule for EstimateFilters {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let estimated = plan.transform_up(|plan| {
            let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
            let percent = (estimate(filter.predicate()).min(UNKNOWN) * 100.0).round().max(1.0) as u8;
            Ok(Transformed::yes(Arc::new(filter.clone().with_default_selectivity(percent)?) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(estimated.data)
    }

    fn name(&self) -> &str {
        "estimate_filters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The part of the rows that a condition is true for, from 0 to 1.
fn estimate(condition: &Arc<dyn PhysicalExpr>) -> f64 {
    let parts = split_conjunction(condition);
    if parts.len() > 1 {
        let mut parts: Vec<f64> = parts.into_iter().map(estimate).collect();
        parts.sort_by(f64::total_cmp);
        return parts.iter().take(PARTS).zip(0..).map(|(part, rank)| part.powf(0.5_f64.powi(rank))).product();
    }
    if let Some(not) = condition.downcast_ref::<NotExpr>() {
        return 1.0 - estimate(not.arg());
    }
    let negated = |negated: bool, part: f64| if negated { 1.0 - part } else { part };
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        return negated(list.negated(), (EQUAL * list.list().len() as f64).min(0.5));
    }
    if let Some(like) = condition.downcast_ref::<LikeExpr>() {
        return negated(like.negated(), LIKE);
    }
    if condition.is::<IsNullExpr>() || condition.is::<IsNotNullExpr>() {
        return negated(condition.is::<IsNotNullExpr>(), NULL);
    }
    match condition.downcast_ref::<BinaryExpr>().map(BinaryExpr::op) {
        Some(Operator::Eq) => EQUAL,
        Some(Operator::NotEq) => 1.0 - EQUAL,
        Some(Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) => UNEQUAL,
        Some(Operator::LikeMatch | Operator::ILikeMatch) => LIKE,
        Some(Operator::Or) => {
            1.0 - split_disjunction(condition).into_iter().map(|part| 1.0 - estimate(part)).product::<f64>()
        }
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{binary, col, is_null, like, lit, not};

    use super::*;

    fn close(condition: Arc<dyn PhysicalExpr>, expected: f64) {
        let estimated = estimate(&condition);
        assert!((estimated - expected).abs() < 0.001, "{condition}: {estimated}");
    }

    #[test]
    fn a_condition_of_more_parts_lets_fewer_rows_through() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]);
        let (a, t) = (col("a", &schema).unwrap(), col("t", &schema).unwrap());
        let compare = |op| binary(Arc::clone(&a), op, lit(1_i64), &schema).unwrap();
        let (equal, more) = (compare(Operator::Eq), compare(Operator::Gt));
        let pattern = like(false, false, t, lit("x%"), &schema).unwrap();
        close(Arc::clone(&equal), 0.1);
        close(Arc::clone(&pattern), 0.1);
        close(not(Arc::clone(&pattern)).unwrap(), 0.9);
        close(is_null(Arc::clone(&a)).unwrap(), 0.05);
        close(binary(Arc::clone(&equal), Operator::Or, pattern, &schema).unwrap(), 0.19);
        close(binary(more, Operator::And, equal, &schema).unwrap(), 0.1 * UNEQUAL.sqrt());
    }
}
