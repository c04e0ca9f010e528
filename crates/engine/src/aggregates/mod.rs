//! Aggregates that DataFusion has and computes otherwise than PostgreSQL does.

mod of_pairs;
mod planned;

use datafusion::logical_expr::AggregateUDF;

pub(crate) use planned::planned;

/// The aggregates that take the place of DataFusion's of the same name.
pub(crate) fn aggregate_functions() -> Vec<AggregateUDF> {
    of_pairs::functions()
}
