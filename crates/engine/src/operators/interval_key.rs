//! Intervals as numbers that compare as PostgreSQL compares intervals: a month counts 30 days, a day 24 hours.
//!
//! Arrow compares months, days and nanoseconds one after the other, so that 24 hours and one day would differ. An array of
//! intervals becomes an array of such numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, ListArray};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalMonthDayNanoType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The key of an interval, or of an array of intervals, in nanoseconds.
pub(crate) fn interval_key(expr: Expr) -> Expr {
    Arc::new(function()).call(vec![expr])
}

/// The function.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(IntervalKey { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalKey {
    signature: Signature,
}

pub(super) const DAY_NANOS: i128 = 86_400_000_000_000;

/// The length of an interval in nanoseconds.
pub(super) fn length(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * DAY_NANOS + i128::from(interval.nanoseconds)
}

fn key_type(of: &DataType) -> DataType {
    match of {
        DataType::List(item) => DataType::List(Arc::new(Field::new_list_field(key_type(item.data_type()), true))),
        _ => DataType::Decimal128(38, 0),
    }
}

/// The keys of intervals, or of arrays of intervals.
pub(super) fn keys(array: &ArrayRef) -> DfResult<ArrayRef> {
    if let Some(lists) = array.as_list_opt::<i32>() {
        let items = keys(lists.values())?;
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        let lists = ListArray::try_new(field, lists.offsets().clone(), items, lists.nulls().cloned())?;
        return Ok(Arc::new(lists));
    }
    let keys: Decimal128Array = array.as_primitive::<IntervalMonthDayNanoType>().unary(length);
    Ok(Arc::new(keys.with_precision_and_scale(38, 0)?))
}

impl ScalarUDFImpl for IntervalKey {
    fn name(&self) -> &str {
        "interval_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(arg_types.first().map_or(DataType::Null, key_type))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(keys(&array)?))
    }
}
