//! Aggregates in the order of a subquery: `array_agg(a ORDER BY (SELECT max(b) FROM u) - a)`.
//!
//! DataFusion names the states of such an aggregate after its order, and a subquery in it is written in another way once its value is
//! known: the states that one operator gives would not be those that the next one expects.

use datafusion::common::Column;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr_rewriter::NamePreserver;

/// The start of the names of such columns.
const COLUMN: &str = "__aggregate_order_";

/// An aggregate call that is ordered by columns where it was by subqueries, under the name that it had. What the columns are is added
/// to `columns`, to be computed below.
pub(super) fn by_columns(call: Expr, columns: &mut Vec<Expr>) -> DfResult<Expr> {
    let name = NamePreserver::new_for_projection().save(&call);
    Ok(name.restore(ordered(call, columns)?))
}

fn ordered(call: Expr, columns: &mut Vec<Expr>) -> DfResult<Expr> {
    match call {
        Expr::Alias(alias) => ordered(*alias.expr, columns),
        Expr::AggregateFunction(mut call) => {
            for key in &mut call.params.order_by {
                if !key.expr.exists(|part| Ok(matches!(part, Expr::ScalarSubquery(_))))? {
                    continue;
                }
                let name = format!("{COLUMN}{}", columns.len());
                let column = Expr::Column(Column::new_unqualified(&name));
                let key = std::mem::replace(&mut key.expr, column.clone());
                // With DISTINCT, the order is one of the arguments.
                call.params.args.iter_mut().filter(|arg| **arg == key).for_each(|arg| *arg = column.clone());
                columns.push(key.alias(name));
            }
            Ok(Expr::AggregateFunction(call))
        }
        other => Ok(other),
    }
}
