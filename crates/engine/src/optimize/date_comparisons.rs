//! Dates that are compared with a timestamp: `shipped < date '1994-01-01' + interval '1 year'`.
//!
//! PostgreSQL compares them as timestamps, so the column is cast, row by row, and what a file says of the column's bounds cannot
//! be used. A date is midnight of its day: against a constant the same is asked of the date itself.
//!
//! What always holds: the comparison is true, false or NULL for the same dates as before.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Cast};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Compares dates as dates. To be run after constants are computed.
#[derive(Debug, Default)]
pub(crate) struct CompareDatesAsDates;

impl OptimizerRule for CompareDatesAsDates {
    fn name(&self) -> &str {
        "compare_dates_as_dates"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // The name of a computed column is the text of its expression, so only conditions are touched.
        let schemas: Vec<DFSchemaRef> = match &plan {
            LogicalPlan::Filter(filter) => vec![Arc::clone(filter.input.schema())],
            LogicalPlan::Join(join) => vec![Arc::clone(join.left.schema()), Arc::clone(join.right.schema())],
            // Its conditions may be on columns that it does not give.
            LogicalPlan::TableScan(scan) => {
                vec![Arc::new(DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?)]
            }
            _ => return Ok(Transformed::no(plan)),
        };
        let is_date = |column: &Column| {
            let field = schemas.iter().find_map(|schema| schema.field_from_column(column).ok());
            field.is_some_and(|field| *field.data_type() == DataType::Date32)
        };
        plan.map_expressions(|expr| expr.transform_up(|expr| Ok(rewrite(expr, &is_date))))
    }
}

fn rewrite(expr: Expr, is_date: &impl Fn(&Column) -> bool) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else { return Transformed::no(expr) };
    let date_of = |expr| column_of(expr).filter(|column| is_date(column));
    let rewritten = match (date_of(left), microseconds(right), date_of(right), microseconds(left)) {
        (Some(date), Some(constant), _, _) => compare(date, *op, constant),
        (_, _, Some(date), Some(constant)) => op.swap().and_then(|op| compare(date, op, constant)),
        _ => None,
    };
    match rewritten {
        Some(rewritten) => Transformed::yes(rewritten),
        None => Transformed::no(expr),
    }
}

/// The column that is cast to a timestamp.
fn column_of(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Cast(Cast { expr, field }) if *field.data_type() == DataType::Timestamp(TimeUnit::Microsecond, None) => {
            expr.try_as_col()
        }
        _ => None,
    }
}

/// Microseconds since 1970 of a constant that is a timestamp, and not infinite.
fn microseconds(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(value), None), _) => {
            (*value != i64::MAX && *value != i64::MIN).then_some(*value)
        }
        _ => None,
    }
}

/// `date op constant`, the constant in microseconds.
fn compare(date: &Column, op: Operator, constant: i64) -> Option<Expr> {
    let day = i32::try_from(constant.div_euclid(MICROSECONDS_PER_DAY)).ok()?;
    let midnight = constant.rem_euclid(MICROSECONDS_PER_DAY) == 0;
    let op = match op {
        Operator::Lt if midnight => Operator::Lt,
        Operator::Lt | Operator::LtEq => Operator::LtEq,
        Operator::GtEq if midnight => Operator::GtEq,
        Operator::Gt | Operator::GtEq => Operator::Gt,
        Operator::Eq | Operator::NotEq if midnight => op,
        _ => return None,
    };
    let day = Expr::Literal(ScalarValue::Date32(Some(day)), None);
    Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(Expr::Column(date.clone())), op, Box::new(day))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Every comparison with every kind of constant, on the days around it, is what it is between timestamps.
    #[test]
    fn a_date_compares_as_its_midnight() {
        let holds = |left: i64, op: Operator, right: i64| match op {
            Operator::Lt => left < right,
            Operator::LtEq => left <= right,
            Operator::Gt => left > right,
            Operator::GtEq => left >= right,
            Operator::Eq => left == right,
            _ => left != right,
        };
        let operators = [Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq, Operator::Eq, Operator::NotEq];
        let mut compared = 0;
        for day in [-3_i64, 0, 8_766] {
            for time in [0, 1, MICROSECONDS_PER_DAY - 1] {
                let constant = day * MICROSECONDS_PER_DAY + time;
                for op in operators {
                    let Some(rewritten) = compare(&Column::from_name("d"), op, constant) else {
                        assert!(time != 0 && matches!(op, Operator::Eq | Operator::NotEq));
                        continue;
                    };
                    let Expr::BinaryExpr(BinaryExpr { op: date_op, right, .. }) = rewritten else {
                        panic!("no comparison")
                    };
                    let Expr::Literal(ScalarValue::Date32(Some(bound)), None) = *right else { panic!("no date") };
                    for date in day - 2..=day + 2 {
                        let expected = holds(date * MICROSECONDS_PER_DAY, op, constant);
                        assert_eq!(holds(date, date_op, i64::from(bound)), expected, "{date} {op} {constant}");
                        compared += 1;
                    }
                }
            }
        }
        assert_eq!(compared, 3 * (6 + 4 + 4) * 5);
    }
}
