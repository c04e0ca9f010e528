//! Intervals as numbers that compare as PostgreSQL compares intervals: a month counts 30 days, a day 24 hours.
//!
//! Arrow compares months, days and nanoseconds one after the other, so that 24 hours and one day would differ.

use std::sync::Arc;

use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::{DataType, IntervalMonthDayNanoType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The key of an interval expression, in nanoseconds.
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

const DAY_NANOS: i128 = 86_400_000_000_000;

impl ScalarUDFImpl for IntervalKey {
    fn name(&self) -> &str {
        "interval_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Decimal128(38, 0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let array = args.args[0].to_array(rows)?;
        let keys: Decimal128Array = array.as_primitive::<IntervalMonthDayNanoType>().unary(|interval| {
            let days = i128::from(interval.months) * 30 + i128::from(interval.days);
            days * DAY_NANOS + i128::from(interval.nanoseconds)
        });
        Ok(ColumnarValue::Array(Arc::new(keys.with_precision_and_scale(38, 0)?)))
    }
}
