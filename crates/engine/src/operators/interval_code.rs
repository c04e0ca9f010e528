//! Intervals written as numbers of 256 bits, from which they can be read again: DataFusion's own aggregates of numbers then
//! compute `min`, `max` and `sum` of intervals, over groups and over the frames of windows; and `greatest` and `least`.
//!
//! What always holds: of two ranks the one of the longer interval is larger, and those of equal intervals differ only in
//! their last 64 bits. The fields of a sum of parts are the sums of the fields.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal256Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Decimal256Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, i256};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use wharf_values::{SqlError, SqlState};

use super::interval_key::{DAY_NANOS, length};
use crate::error::to_datafusion;

/// What is made of intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IntervalCode {
    /// A number in the order of the intervals.
    Rank,
    /// The interval of a rank.
    OfRank,
    /// A number with a field for the months, the days and the nanoseconds each.
    Parts,
    /// The interval of a sum of parts; `22008` when it is out of range.
    OfParts,
    /// The longest of several, the first of those of that length. NULLs do not count.
    Greatest,
    /// The shortest of several, the first of those of that length. NULLs do not count.
    Least,
}

impl IntervalCode {
    const ALL: [IntervalCode; 6] = [Self::Rank, Self::OfRank, Self::Parts, Self::OfParts, Self::Greatest, Self::Least];

    /// This of an expression, or of several for [`Self::Greatest`] and [`Self::Least`].
    pub(crate) fn call(self, arguments: Vec<Expr>) -> Expr {
        Arc::new(self.function()).call(arguments)
    }

    fn function(self) -> ScalarUDF {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::new_from_impl(IntervalCodeFunction { code: self, signature })
    }
}

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    IntervalCode::ALL.into_iter().map(IntervalCode::function)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalCodeFunction {
    code: IntervalCode,
    signature: Signature,
}

impl ScalarUDFImpl for IntervalCodeFunction {
    fn name(&self) -> &str {
        match self.code {
            IntervalCode::Rank => "interval_rank",
            IntervalCode::OfRank => "interval_of_rank",
            IntervalCode::Parts => "interval_parts",
            IntervalCode::OfParts => "interval_of_parts",
            IntervalCode::Greatest => "interval_greatest",
            IntervalCode::Least => "interval_least",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(match self.code {
            IntervalCode::Rank | IntervalCode::Parts => DataType::Decimal256(PRECISION, 0),
            IntervalCode::OfRank | IntervalCode::OfParts | IntervalCode::Greatest | IntervalCode::Least => {
                DataType::Interval(IntervalUnit::MonthDayNano)
            }
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<DfResult<Vec<ArrayRef>>>()?;
        let intervals = |array: &ArrayRef| array.as_primitive::<IntervalMonthDayNanoType>().clone();
        let numbers = |array: &ArrayRef| array.as_primitive::<Decimal256Type>().clone();
        let written = |array: Decimal256Array| -> DfResult<ArrayRef> {
            Ok(Arc::new(array.with_precision_and_scale(PRECISION, 0)?))
        };
        Ok(ColumnarValue::Array(match self.code {
            IntervalCode::Rank => written(intervals(&arrays[0]).unary(rank))?,
            IntervalCode::Parts => written(intervals(&arrays[0]).unary(parts))?,
            IntervalCode::OfRank => Arc::new(numbers(&arrays[0]).try_unary::<_, IntervalMonthDayNanoType, _>(of_rank)?),
            IntervalCode::OfParts => {
                Arc::new(numbers(&arrays[0]).try_unary::<_, IntervalMonthDayNanoType, _>(of_parts)?)
            }
            IntervalCode::Greatest => Arc::new(extreme(&arrays, args.number_rows, |new, old| new > old)),
            IntervalCode::Least => Arc::new(extreme(&arrays, args.number_rows, |new, old| new < old)),
        }))
    }
}

/// What a decimal of 256 bits has at most.
const PRECISION: u8 = 76;
/// The bits of the months and of the days in a rank.
const FIELD_BITS: u8 = 32;
/// Where the days begin among the parts: room for 2^36 times the largest nanoseconds.
const DAYS_AT: u8 = 100;
/// The bits of the days among the parts.
const DAYS_BITS: u8 = 64;

/// The two's complement with its sign turned around is in the order of the numbers.
const SIGN: u32 = 1 << 31;

fn rank(interval: IntervalMonthDayNano) -> i256 {
    let fields = (u64::from(interval.months as u32 ^ SIGN) << FIELD_BITS) | u64::from(interval.days as u32 ^ SIGN);
    (i256::from_i128(length(interval)) << (2 * FIELD_BITS)) | i256::from_parts(u128::from(fields), 0)
}

fn of_rank(rank: i256) -> DfResult<IntervalMonthDayNano> {
    let fields = rank.to_parts().0 as u64;
    let months = ((fields >> FIELD_BITS) as u32 ^ SIGN) as i32;
    let days = (fields as u32 ^ SIGN) as i32;
    let length = (rank >> (2 * FIELD_BITS)).to_i128();
    let whole = (i128::from(months) * 30 + i128::from(days)) * DAY_NANOS;
    let nanoseconds = length.and_then(|length| i64::try_from(length - whole).ok()).ok_or_else(out_of_range)?;
    Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
}

fn parts(interval: IntervalMonthDayNano) -> i256 {
    let field = |value: i64| i256::from_i128(i128::from(value));
    (field(i64::from(interval.months)) << (DAYS_AT + DAYS_BITS))
        .wrapping_add(field(i64::from(interval.days)) << DAYS_AT)
        .wrapping_add(field(interval.nanoseconds))
}

fn of_parts(sum: i256) -> DfResult<IntervalMonthDayNano> {
    // The lowest bits with their sign, and what is above them.
    let split = |value: i256, bits: u8| {
        let shift = (256 - u16::from(bits)) as u8;
        let low = (value << shift) >> shift;
        (low, value.wrapping_sub(low) >> bits)
    };
    let (nanoseconds, rest) = split(sum, DAYS_AT);
    let (days, months) = split(rest, DAYS_BITS);
    let small = |value: i256| value.to_i128().and_then(|value| i32::try_from(value).ok()).ok_or_else(out_of_range);
    let nanoseconds = nanoseconds.to_i128().and_then(|value| i64::try_from(value).ok()).ok_or_else(out_of_range)?;
    Ok(IntervalMonthDayNano::new(small(months)?, small(days)?, nanoseconds))
}

fn out_of_range() -> datafusion::error::DataFusionError {
    to_datafusion(SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))
}

fn extreme(arrays: &[ArrayRef], rows: usize, better: fn(i128, i128) -> bool) -> IntervalMonthDayNanoArray {
    let columns: Vec<_> = arrays.iter().map(|array| array.as_primitive::<IntervalMonthDayNanoType>()).collect();
    (0..rows)
        .map(|row| {
            let present = columns.iter().filter(|column| column.is_valid(row)).map(|column| column.value(row));
            present.reduce(|old, new| if better(length(new), length(old)) { new } else { old })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CASES: [IntervalMonthDayNano; 8] = [
        IntervalMonthDayNano { months: i32::MIN, days: i32::MIN, nanoseconds: i64::MIN },
        IntervalMonthDayNano { months: -1, days: 29, nanoseconds: 86_399_999_999_000 },
        IntervalMonthDayNano { months: 0, days: 0, nanoseconds: -1_000 },
        IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 0 },
        IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 0 },
        IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 90_000_000_000_000 },
        IntervalMonthDayNano { months: 1, days: 0, nanoseconds: -1_000 },
        IntervalMonthDayNano { months: i32::MAX, days: i32::MAX, nanoseconds: i64::MAX },
    ];

    #[test]
    fn intervals_come_back_from_their_ranks_which_are_in_their_order() {
        for interval in CASES {
            assert_eq!(of_rank(rank(interval)).unwrap(), interval);
        }
        assert!(CASES.map(rank).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn the_fields_of_a_sum_are_the_sums_of_the_fields() {
        for interval in CASES {
            assert_eq!(of_parts(parts(interval)).unwrap(), interval);
        }
        let sum = CASES[..7].iter().map(|interval| parts(*interval)).reduce(i256::wrapping_add).unwrap();
        let sum = of_parts(sum.wrapping_add(parts(CASES[7]))).unwrap();
        assert_eq!(sum, IntervalMonthDayNano::new(-1, 29, 176_399_999_996_999));
        assert!(of_parts(parts(CASES[7]).wrapping_add(parts(CASES[4]))).is_err());
    }
}
