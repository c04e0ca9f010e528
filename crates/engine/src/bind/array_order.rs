//! Where arrays are compared by a key in PostgreSQL's order of them, and where Arrow's own comparison is that order.
//!
//! Arrow compares lists as PostgreSQL does in an ascending order with NULLs last, and in its reverse; but its operators `<` and
//! the like take a NULL in a list for less than all else, and it keeps `-0` and `0` apart.

use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Expr, cast};
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use super::resolve::Resolver;
use super::two_zeros::has_two_zeros;
use crate::error::to_datafusion;
use crate::operators::ArrayOrder;

/// Whether an operator takes arrays of this type by their keys.
pub(super) fn compares_by_key(ty: &SqlType, symbol: &str) -> bool {
    matches!(ty, SqlType::Array(_)) && (matches!(symbol, "<" | "<=" | ">" | ">=") || has_two_zeros(ty.innermost()))
}

/// Whether ORDER BY takes arrays of this type by their keys: Arrow puts NULLs in a list where it puts those beside it.
pub(super) fn sorts_by_key(ty: &SqlType, ascending: bool, nulls_first: bool) -> bool {
    match ty {
        SqlType::Array(item) => {
            ascending == nulls_first || matches!(**item, SqlType::Array(_)) || has_two_zeros(ty.innermost())
        }
        _ => false,
    }
}

/// Is it a type of arrays of `jsonb`? To Arrow they are arrays of texts, of which the order is another one.
pub(super) fn has_documents(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Array(_)) && *ty.innermost() == SqlType::Jsonb
}

/// What asks for the order of such arrays is refused.
pub(super) fn no_order_of_arrays() -> DataFusionError {
    to_datafusion(
        SqlError::unsupported("the order of jsonb in arrays is not supported")
            .with_hint("Compare the documents: unnest the arrays, or take one with x[1]."),
    )
}

/// The key of an array.
pub(super) fn array_key(array: Expr) -> Expr {
    ArrayOrder::Key.call(vec![array])
}

impl Resolver<'_> {
    /// Both sides of a comparison of arrays, by their keys.
    pub(super) fn array_keys(&self, left: Expr, right: Expr) -> DfResult<(Expr, Expr)> {
        let (l, r) = (self.field(&left)?, self.field(&right)?);
        let wide = wide_type(l.data_type(), r.data_type());
        Ok((array_key(at_type(left, l.data_type(), &wide)), array_key(at_type(right, r.data_type(), &wide))))
    }

    /// The greatest or the least of arrays of one SQL type.
    pub(super) fn extreme_array(&self, arrays: Vec<Expr>, order: ArrayOrder) -> DfResult<Expr> {
        let fields = arrays.iter().map(|array| self.field(array)).collect::<DfResult<Vec<_>>>()?;
        let types = fields.iter().map(|field| field.data_type());
        let wide = types.clone().cloned().reduce(|wide, ty| wide_type(&wide, &ty)).unwrap_or(DataType::Null);
        Ok(order.call(arrays.into_iter().zip(types).map(|(array, ty)| at_type(array, ty, &wide)).collect()))
    }
}

/// The Arrow type of arrays of one SQL type: that of numerics has a precision and a scale.
fn wide_type(left: &DataType, right: &DataType) -> DataType {
    comparison_coercion(left, right).unwrap_or_else(|| left.clone())
}

fn at_type(array: Expr, own: &DataType, wide: &DataType) -> Expr {
    if own == wide { array } else { cast(array, wide.clone()) }
}
