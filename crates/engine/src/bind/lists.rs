//! `array_agg` and `string_agg` whose values have an order or are distinct.
//!
//! DataFusion has one order for all `string_agg`s of a query, and turns the order of distinct values around where two
//! aggregates want opposite ones. So `string_agg` becomes a list that is put together afterwards, and distinct values are
//! sorted when they are all there, ascending where nothing else is asked for, as PostgreSQL does. Distinct `jsonb` documents are
//! found then, too, as equal ones may have different texts.

use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Sort;

use super::context::BindContext;

/// What is done with the list that an aggregate gathered.
pub(super) struct ListPlan {
    /// Sort it: ascending, NULLs first.
    sort: Option<(bool, bool)>,
    /// Its values are documents, of which those that are equal become one.
    pub(super) of_documents: bool,
    /// Put it together to a text.
    pub(super) delimiter: Option<String>,
}

impl ListPlan {
    /// The plan of a call, if it needs one.
    pub(super) fn of(name: &str, args: &[Expr], distinct: bool, order_by: &[Sort]) -> Option<ListPlan> {
        let sort = distinct.then(|| order_by.first().map_or((true, false), |key| (key.asc, key.nulls_first)));
        match (name, args) {
            ("array_agg", [_]) if distinct => Some(ListPlan { sort, of_documents: false, delimiter: None }),
            ("string_agg", [_, Expr::Literal(delimiter, _)]) if distinct || !order_by.is_empty() => {
                let delimiter = delimiter.try_as_str().flatten().unwrap_or_default().to_owned();
                Some(ListPlan { sort, of_documents: false, delimiter: Some(delimiter) })
            }
            _ => None,
        }
    }

    /// The aggregate's value from the list.
    pub(super) fn finish(self, list: Expr, context: &BindContext) -> DfResult<Expr> {
        let text = |text: &str| Expr::Literal(ScalarValue::Utf8(Some(text.to_owned())), None);
        let list = match self.sort {
            Some((ascending, nulls_first)) => {
                let order = text(if ascending { "ASC" } else { "DESC" });
                let nulls = text(if nulls_first { "NULLS FIRST" } else { "NULLS LAST" });
                let function = if self.of_documents { "jsonb_array_distinct" } else { "array_sort" };
                context.call(function, vec![list, order, nulls])?
            }
            None => list,
        };
        match self.delimiter {
            Some(delimiter) => {
                let delimiter = Expr::Literal(ScalarValue::Utf8View(Some(delimiter)), None);
                context.call("array_to_string", vec![list, delimiter])
            }
            None => Ok(list),
        }
    }
}
