//! Variances and standard deviations of integers and numerics, from what DataFusion's own aggregates make of a column: how
//! many values there are, their sum and the sum of their squares.
//!
//! What always holds: those sums are exact, and so is what is made of them, up to the one rounding that PostgreSQL does too
//! (`numeric_stddev_internal` in `src/backend/utils/adt/numeric.c`), to the digits it chooses (`select_div_scale`). An Arrow
//! column has one scale, [`VARIANCE_SCALE`] or [`DEVIATION_SCALE`]: digits beyond are rounded off, and the field's metadata
//! tells the encoders how many of the others PostgreSQL would print. A square without room for ten billion of its kind in a
//! sum is `22003`, since DataFusion's sums wrap.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Decimal256Builder, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Int64Type, i256};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use num_bigint::{BigInt, Sign};
use num_traits::Zero;
use wharf_values::mapping::NUMERIC_KEY;
use wharf_values::{NumericDisplay, SqlError, SqlState};

use crate::cast::power_of_ten;
use crate::error::to_datafusion;

/// Digits after the point of a variance.
const VARIANCE_SCALE: u8 = 20;
/// Digits after the point of a standard deviation, which is the smaller number where there are many digits before it.
const DEVIATION_SCALE: u8 = 24;
/// What a decimal of 256 bits has at most.
const PRECISION: u8 = 76;
/// The digits of a square of which 128 bits have room for the sum of ten billion.
const NARROW_SQUARE: u8 = 28;
/// The same for 256 bits.
const WIDE_SQUARE: u8 = 66;
/// The digits after the point of a value whose square is taken in 256 bits; more of them would leave none before it.
pub(crate) const MAX_COMPUTED_SCALE: i8 = 20;

/// One of PostgreSQL's measures of how far values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spread {
    deviation: bool,
    sample: bool,
    /// Whether the scale of the column says nothing about the digits of its values.
    trims: bool,
}

impl Spread {
    /// The measure that an aggregate computes, by any of its names, of values that are displayed in this way.
    pub(crate) fn of(aggregate: &str, display: NumericDisplay) -> Option<Spread> {
        let (deviation, sample) = match aggregate {
            "stddev" | "stddev_samp" => (true, true),
            "stddev_pop" => (true, false),
            "var" | "variance" | "var_samp" | "var_sample" => (false, true),
            "var_pop" | "var_population" => (false, false),
            _ => return None,
        };
        Some(Spread { deviation, sample, trims: display != NumericDisplay::Scale })
    }

    /// The measure, from a count, a sum and the sums of squares, of which there may be several. NULLs are sums of nothing.
    pub(crate) fn call(self, sums: Vec<Expr>) -> Expr {
        Arc::new(self.function()).call(sums)
    }

    fn function(self) -> ScalarUDF {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::new_from_impl(SpreadFunction { spread: self, signature })
    }

    fn scale(self) -> u8 {
        if self.deviation { DEVIATION_SCALE } else { VARIANCE_SCALE }
    }

    fn data_type(self) -> DataType {
        DataType::Decimal256(PRECISION, self.scale() as i8)
    }
}

/// Which numbers have a square; that of the others is zero.
///
/// Distinct squares are not those of distinct numbers, but on one side of zero they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Square {
    All,
    Positive,
    Negative,
}

impl Square {
    /// The square of an integer of up to 32 bits (as one of 64) or of a numeric; `22003` for one that leaves a sum no room.
    pub(crate) fn call(self, value: Expr) -> Expr {
        Arc::new(self.function()).call(vec![value])
    }

    fn function(self) -> ScalarUDF {
        ScalarUDF::new_from_impl(SquareFunction { square: self, signature: Signature::any(1, Volatility::Immutable) })
    }

    fn has(self, negative: bool) -> bool {
        match self {
            Square::All => true,
            Square::Positive => !negative,
            Square::Negative => negative,
        }
    }
}

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    let both = [false, true];
    let all = both.into_iter().flat_map(move |deviation| {
        both.into_iter().flat_map(move |sample| both.into_iter().map(move |trims| Spread { deviation, sample, trims }))
    });
    let squares = [Square::All, Square::Positive, Square::Negative];
    all.map(Spread::function).chain(squares.map(Square::function))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SpreadFunction {
    spread: Spread,
    signature: Signature,
}

impl ScalarUDFImpl for SpreadFunction {
    fn name(&self) -> &str {
        let Spread { deviation, sample, trims } = self.spread;
        match (deviation, sample, trims) {
            (true, true, false) => "numeric_stddev_samp",
            (true, true, true) => "numeric_stddev_samp_trimmed",
            (true, false, false) => "numeric_stddev_pop",
            (true, false, true) => "numeric_stddev_pop_trimmed",
            (false, true, false) => "numeric_var_samp",
            (false, true, true) => "numeric_var_samp_trimmed",
            (false, false, false) => "numeric_var_pop",
            (false, false, true) => "numeric_var_pop_trimmed",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.spread.data_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let least_scale = match args.arg_fields.get(1).map(|sum| sum.data_type()) {
            Some(DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) if !self.spread.trims => {
                (*scale).max(0).unsigned_abs() * 2
            }
            _ => 0,
        };
        let display = match self.spread.deviation {
            true => NumericDisplay::Deviation { least_scale },
            false => NumericDisplay::Variance { least_scale },
        };
        let display = display.metadata_value().map(|value| (NUMERIC_KEY.to_owned(), value));
        let metadata: HashMap<String, String> = display.into_iter().collect();
        Ok(Arc::new(Field::new("spread", self.spread.data_type(), true).with_metadata(metadata)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<DfResult<Vec<ArrayRef>>>()?;
        let result = self.spread.compute(&arrays, args.number_rows).map_err(to_datafusion)?;
        Ok(ColumnarValue::Array(Arc::new(result)))
    }
}

impl Spread {
    fn compute(self, arrays: &[ArrayRef], rows: usize) -> Result<Decimal256Array, SqlError> {
        let [counts, sums, squares @ ..] = arrays else {
            return Err(SqlError::internal("a spread needs a count and sums"));
        };
        let counts = match Sums::of(counts)? {
            Sums::Whole(counts) => counts,
            _ => return Err(SqlError::internal("a count is a bigint")),
        };
        let sums = Sums::of(sums)?;
        let squares = squares.iter().map(Sums::of).collect::<Result<Vec<_>, SqlError>>()?;
        let limit = ten_to(u32::from(PRECISION));
        let mut values = Decimal256Builder::with_capacity(rows);
        for row in 0..rows {
            let count = if counts.is_null(row) { 0 } else { counts.value(row) };
            if count < 1 + i64::from(self.sample) {
                values.append_null();
                continue;
            }
            let squares: BigInt = squares.iter().map(|squares| squares.at(row)).sum();
            let moments = Moments::new(count, sums.at(row), squares, sums.scale());
            let value = moments.spread(self).unwrap_or_default();
            if value >= limit {
                return Err(overflow());
            }
            values.append_value(narrow(&value));
        }
        values.finish().with_precision_and_scale(PRECISION, self.scale() as i8).map_err(|_| overflow())
    }
}

/// A column of sums.
enum Sums<'a> {
    Whole(&'a Int64Array),
    Narrow(&'a Decimal128Array),
    Wide(&'a Decimal256Array),
}

impl Sums<'_> {
    fn of(array: &ArrayRef) -> Result<Sums<'_>, SqlError> {
        match array.data_type() {
            DataType::Int64 => Ok(Sums::Whole(array.as_primitive::<Int64Type>())),
            DataType::Decimal128(..) => Ok(Sums::Narrow(array.as_primitive::<Decimal128Type>())),
            DataType::Decimal256(..) => Ok(Sums::Wide(array.as_primitive::<Decimal256Type>())),
            other => Err(SqlError::internal(format!("{other} is not the type of a sum"))),
        }
    }

    fn scale(&self) -> i8 {
        match self {
            Sums::Whole(_) => 0,
            Sums::Narrow(sums) => sums.scale(),
            Sums::Wide(sums) => sums.scale(),
        }
    }

    fn at(&self, row: usize) -> BigInt {
        match self {
            Sums::Whole(sums) if sums.is_valid(row) => BigInt::from(sums.value(row)),
            Sums::Narrow(sums) if sums.is_valid(row) => BigInt::from(sums.value(row)),
            Sums::Wide(sums) if sums.is_valid(row) => BigInt::from_signed_bytes_le(&sums.value(row).to_le_bytes()),
            _ => BigInt::zero(),
        }
    }
}

/// A number that is not negative and has at most 76 digits.
fn narrow(value: &BigInt) -> i256 {
    let mut bytes = [0; 32];
    let short = value.to_signed_bytes_le();
    bytes[..short.len()].copy_from_slice(&short);
    i256::from_le_bytes(bytes)
}

fn ten_to(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// A count of values with so many digits after the point, their sum and the sum of their squares, which has twice as many.
struct Moments {
    count: i64,
    sum: BigInt,
    squares: BigInt,
    scale: u32,
}

impl Moments {
    fn new(count: i64, sum: BigInt, squares: BigInt, scale: i8) -> Moments {
        // Zeros before the point that are not stored, as of numeric(3, -2).
        let zeros = u32::from(scale.min(0).unsigned_abs());
        let scale = u32::from(scale.max(0).unsigned_abs());
        Moments { count, sum: sum * ten_to(zeros), squares: squares * ten_to(2 * zeros), scale }
    }

    /// The measure at its column's scale; none if it is zero.
    fn spread(&self, spread: Spread) -> Option<BigInt> {
        let count = BigInt::from(self.count);
        let numerator = &count * &self.squares - &self.sum * &self.sum;
        if numerator.sign() != Sign::Plus {
            return None;
        }
        let divisor = &count * if spread.sample { BigInt::from(self.count - 1) } else { count.clone() };
        let digits = self.least_digits(spread).max(quotient_digits(&numerator, 2 * self.scale, &divisor));
        let variance = divide(&(numerator * ten_to(digits)), &(divisor * ten_to(2 * self.scale)));
        let value = if spread.deviation { square_root(&(variance * ten_to(digits))) } else { variance };
        let scale = u32::from(spread.scale());
        Some(match digits.checked_sub(scale) {
            Some(excess) => divide(&value, &ten_to(excess)),
            None => value * ten_to(scale - digits),
        })
    }

    /// The digits after the point that a quotient has as the numerator has them.
    fn least_digits(&self, spread: Spread) -> u32 {
        if !spread.trims {
            return 2 * self.scale;
        }
        (2 * significant(&self.sum, self.scale)).max(significant(&self.squares, 2 * self.scale))
    }
}

/// The digits after the point without trailing zeros.
fn significant(value: &BigInt, scale: u32) -> u32 {
    if value.is_zero() {
        return 0;
    }
    let digits = value.to_string();
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    scale.saturating_sub(zeros as u32)
}

/// `select_div_scale`: sixteen significant digits, counted in groups of four by the first group of both numbers.
fn quotient_digits(numerator: &BigInt, scale: u32, divisor: &BigInt) -> u32 {
    const SIGNIFICANT: i64 = 16;
    let ((weight, first), (divisor_weight, divisor_first)) = (leading(numerator, scale), leading(divisor, 0));
    let weight = weight - divisor_weight - i64::from(first <= divisor_first);
    (SIGNIFICANT - 4 * weight).clamp(0, 1000) as u32
}

/// The power of 10,000 of the first digit in that base, and this digit.
fn leading(value: &BigInt, scale: u32) -> (i64, u32) {
    let digits = value.to_string();
    let exponent = digits.len() as i64 - 1 - i64::from(scale);
    let length = exponent.rem_euclid(4) as usize + 1;
    let first = digits.bytes().chain(std::iter::repeat(b'0')).take(length);
    (exponent.div_euclid(4), first.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// The quotient of two positive numbers, rounded half up.
fn divide(left: &BigInt, right: &BigInt) -> BigInt {
    (left * 2 + right) / (right * 2)
}

/// The nearest to the root: it is nearer to the next number when the rest is more than the root itself.
fn square_root(value: &BigInt) -> BigInt {
    let root = value.sqrt();
    if value - &root * &root > root { root + 1 } else { root }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SquareFunction {
    square: Square,
    signature: Signature,
}

/// The type of a square: 128 bits when ten billion of them are sure to fit.
fn square_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(precision, scale) if 2 * precision <= NARROW_SQUARE => {
            DataType::Decimal128(NARROW_SQUARE, 2 * scale)
        }
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
            let scale = i16::from(*scale) * 2;
            let precision = i16::from(WIDE_SQUARE).max(scale).min(i16::from(PRECISION));
            DataType::Decimal256(precision as u8, scale.clamp(-76, 76) as i8)
        }
        _ => DataType::Decimal128(NARROW_SQUARE, 0),
    }
}

impl ScalarUDFImpl for SquareFunction {
    fn name(&self) -> &str {
        match self.square {
            Square::All => "numeric_square",
            Square::Positive => "numeric_square_of_positive",
            Square::Negative => "numeric_square_of_negative",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(square_type(&arg_types[0]))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(self.square.compute(&values).map_err(to_datafusion)?))
    }
}

impl Square {
    fn compute(self, values: &ArrayRef) -> Result<ArrayRef, SqlError> {
        let data_type = square_type(values.data_type());
        let narrow_limit = 10_u128.pow(u32::from(NARROW_SQUARE));
        let short = |value: i128| {
            if !self.has(value < 0) {
                return Ok(0);
            }
            let square = value.unsigned_abs().checked_mul(value.unsigned_abs());
            square.filter(|square| *square < narrow_limit).map(|square| square as i128).ok_or_else(overflow)
        };
        let wide_limit = power_of_ten(WIDE_SQUARE).ok_or_else(overflow)?;
        let long = |value: i256| {
            if !self.has(value < i256::ZERO) {
                return Ok(i256::ZERO);
            }
            let square = match value.to_i128().and_then(|value| i64::try_from(value).ok()) {
                Some(value) => Some(i256::from_i128(i128::from(value) * i128::from(value))),
                None => value.checked_mul(value),
            };
            square.filter(|square| *square < wide_limit).ok_or_else(overflow)
        };
        Ok(match (values.data_type(), &data_type) {
            (DataType::Int64, DataType::Decimal128(precision, scale)) => {
                let values = values.as_primitive::<Int64Type>();
                let squares = values.try_unary::<_, Decimal128Type, SqlError>(|value| short(i128::from(value)))?;
                Arc::new(squares.with_precision_and_scale(*precision, *scale).map_err(|_| overflow())?)
            }
            (DataType::Decimal128(..), DataType::Decimal128(precision, scale)) => {
                let squares =
                    values.as_primitive::<Decimal128Type>().try_unary::<_, Decimal128Type, SqlError>(short)?;
                Arc::new(squares.with_precision_and_scale(*precision, *scale).map_err(|_| overflow())?)
            }
            (DataType::Decimal128(..), DataType::Decimal256(precision, scale)) => {
                let values = values.as_primitive::<Decimal128Type>();
                let squares = values.try_unary::<_, Decimal256Type, SqlError>(|value| long(i256::from_i128(value)))?;
                Arc::new(squares.with_precision_and_scale(*precision, *scale).map_err(|_| overflow())?)
            }
            (DataType::Decimal256(..), DataType::Decimal256(precision, scale)) => {
                let squares = values.as_primitive::<Decimal256Type>().try_unary::<_, Decimal256Type, SqlError>(long)?;
                Arc::new(squares.with_precision_and_scale(*precision, *scale).map_err(|_| overflow())?)
            }
            (other, _) => return Err(SqlError::internal(format!("{other} has no square"))),
        })
    }
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spread(aggregate: &str, display: NumericDisplay, values: &[i128], scale: i8) -> String {
        let sum = Decimal128Array::from(vec![values.iter().sum::<i128>()]).with_precision_and_scale(38, scale).unwrap();
        let values_array = Decimal128Array::from(values.to_vec()).with_precision_and_scale(38, scale).unwrap();
        let values_array: ArrayRef = Arc::new(values_array);
        let squares = Square::All.compute(&values_array).unwrap();
        let squares = squares.as_primitive::<Decimal256Type>();
        let total = squares.iter().flatten().fold(i256::ZERO, i256::wrapping_add);
        let total = Decimal256Array::from(vec![total]).with_precision_and_scale(76, squares.scale()).unwrap();
        let count = Int64Array::from(vec![values.len() as i64]);
        let arrays: [ArrayRef; 3] = [Arc::new(count), Arc::new(sum), Arc::new(total)];
        let result = Spread::of(aggregate, display).unwrap().compute(&arrays, 1).unwrap();
        if result.is_null(0) { "NULL".to_owned() } else { result.value_as_string(0) }
    }

    /// Expectations from PostgreSQL 15, with zeros up to the scale of the column.
    #[test]
    fn spreads_have_the_digits_of_postgresql() {
        let of = |aggregate: &str, values: &[i128], scale| spread(aggregate, NumericDisplay::Scale, values, scale);
        assert_eq!(of("stddev", &[1, 2, 4], 0), "1.527525231651946700000000");
        assert_eq!(of("var_samp", &[1, 2, 4], 0), "2.33333333333333330000");
        assert_eq!(of("stddev_pop", &[1, 2, 4], 0), "1.247219128924647100000000");
        assert_eq!(of("var_pop", &[1, 2, 4], 0), "1.55555555555555560000");
        assert_eq!(of("stddev", &[1_000_000, 2, 4], 0), "577348.537139680000000000000000");
        assert_eq!(of("variance", &[1_000_000, 2, 4], 0), "333331333337.33333333000000000000");
        assert_eq!(of("stddev_samp", &[1000, 2420], 1), "100.409162928489748500000000");
        assert_eq!(of("stddev", &[10, 20], 4), "0.000707106781186547524401");
        assert_eq!(of("stddev", &[99_999_123_456_789, 2_500_000_000], 9), "70708.290542053284940516000000");
        assert_eq!(of("variance", &[99_999_123_456_789, 2_500_000_000], 9), "4999662351.37942202787509526100");
    }

    #[test]
    fn too_few_values_have_no_spread_and_equal_ones_none_at_all() {
        let of = |aggregate: &str, values: &[i128]| spread(aggregate, NumericDisplay::Scale, values, 2);
        assert_eq!(
            (of("stddev", &[]), of("stddev_pop", &[]), of("var_samp", &[5])),
            ("NULL".into(), "NULL".into(), "NULL".into())
        );
        assert_eq!(of("var_pop", &[5]), "0.00000000000000000000");
        assert_eq!(of("stddev", &[7, 7]), "0.000000000000000000000000");
    }

    #[test]
    fn digits_that_a_column_only_has_room_for_do_not_count() {
        let ten16 = 10_i128.pow(16);
        let of = |display| spread("variance", display, &[ten16, 2 * ten16, 4 * ten16], 16);
        assert_eq!(of(NumericDisplay::Trim), "2.33333333333333330000");
        assert_eq!(of(NumericDisplay::Scale), "2.33333333333333333333");
    }

    #[test]
    fn squares_of_both_sides_are_those_of_all() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(-3), None, Some(0), Some(2)]));
        let of = |square: Square| {
            let squares = square.compute(&values).unwrap();
            squares.as_primitive::<Decimal128Type>().iter().collect::<Vec<Option<i128>>>()
        };
        assert_eq!(of(Square::All), [Some(9), None, Some(0), Some(4)]);
        assert_eq!(of(Square::Positive), [Some(0), None, Some(0), Some(4)]);
        assert_eq!(of(Square::Negative), [Some(9), None, Some(0), Some(0)]);
    }

    #[test]
    fn a_square_without_room_is_an_error() {
        let squares_of = |value: i128, precision| {
            let values = Decimal128Array::from(vec![value]).with_precision_and_scale(precision, 0).unwrap();
            let values: ArrayRef = Arc::new(values);
            Square::All.compute(&values)
        };
        let largest = squares_of(10_i128.pow(33) - 1, 38).unwrap();
        assert_eq!(largest.as_primitive::<Decimal256Type>().value_as_string(0).len(), 66);
        assert_eq!(squares_of(10_i128.pow(33), 38).unwrap_err().code.as_str(), "22003");
        assert_eq!(squares_of(-(10_i128.pow(38) - 1), 38).unwrap_err().code.as_str(), "22003");
        let narrow = squares_of(-99_999_999_999_999, 14).unwrap();
        assert_eq!(narrow.as_primitive::<Decimal128Type>().value(0), 9_999_999_999_999_800_000_000_000_001);
    }
}
