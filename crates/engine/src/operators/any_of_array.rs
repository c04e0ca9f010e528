//! `x = ANY (array)`: true when an element equals `x`, NULL when none does and `x` or an element is NULL, else false.
//!
//! DataFusion's `array_has` knows no NULLs. An array that is a constant becomes a list of values (`IN`), by which files are
//! left out of a scan; parameters are constants by then.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Scalar};
use arrow::compute::kernels::cmp::eq;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `item = ANY (array)`, for a list and a value of the list's type.
pub(crate) fn any_of_array(array: Expr, item: Expr) -> Expr {
    Arc::new(function()).call(vec![array, item])
}

/// The function of the operator.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(AnyOfArray { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyOfArray {
    signature: Signature,
}

impl ScalarUDFImpl for AnyOfArray {
    fn name(&self) -> &str {
        "any_of_array"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn simplify(&self, args: Vec<Expr>, _context: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        let [Expr::Literal(ScalarValue::List(list), _), item] = args.as_slice() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        if list.is_null(0) {
            return Ok(ExprSimplifyResult::Simplified(Expr::Literal(ScalarValue::Boolean(None), None)));
        }
        let values = list.value(0);
        let elements = (0..values.len())
            .map(|index| Ok(Expr::Literal(ScalarValue::try_from_array(&values, index)?, None)))
            .collect::<DfResult<Vec<_>>>()?;
        if elements.is_empty() {
            return Ok(ExprSimplifyResult::Simplified(Expr::Literal(ScalarValue::Boolean(Some(false)), None)));
        }
        Ok(ExprSimplifyResult::Simplified(Expr::InList(InList::new(Box::new(item.clone()), elements, false))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let lists = arrays[0].as_list::<i32>();
        let items = &arrays[1];
        let mut found = BooleanBuilder::with_capacity(items.len());
        for row in 0..items.len() {
            if lists.is_null(row) {
                found.append_null();
            } else {
                found.append_option(contained(&lists.value(row), items, row)?);
            }
        }
        Ok(ColumnarValue::Array(Arc::new(found.finish())))
    }
}

fn contained(values: &ArrayRef, items: &ArrayRef, row: usize) -> DfResult<Option<bool>> {
    if values.is_empty() {
        return Ok(Some(false));
    }
    if items.is_null(row) {
        return Ok(None);
    }
    let equal: BooleanArray = eq(values, &Scalar::new(items.slice(row, 1)))?;
    if equal.true_count() > 0 {
        return Ok(Some(true));
    }
    Ok(if equal.null_count() > 0 { None } else { Some(false) })
}
