//! Aggregates that DataFusion has and computes otherwise than PostgreSQL does.

mod extremes;
mod of_pairs;
mod planned;

use datafusion::logical_expr::AggregateUDF;

pub(crate) use extremes::{max, min};
pub(crate) use planned::planned;

/// The aggregates that take the place of DataFusion's of the same name.
pub(crate) fn aggregate_functions() -> Vec<AggregateUDF> {
    let mut functions = of_pairs::functions();
    functions.extend(extremes::functions());
    functions
}
