//! Sums, differences and products of numerics in 128 bits.
//!
//! What comes out is what Arrow's kernels compute, which look for an overflow after every step, in 128 bits, and multiply both
//! sides of a sum even where their scales are the same. Nearly all numbers fit into 64 bits: where a whole batch does, no
//! step can overflow, and it takes a fraction of the time. Other batches are left to Arrow.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array, PrimitiveArray, new_empty_array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::internal_err;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::Arithmetic;
use super::integer::{arithmetic_error, binary};
use crate::error::to_datafusion;

/// The largest power of ten that fits into 64 bits with a sign.
const MAX_POWER: u32 = 18;

/// `left op right` for two numerics in 128 bits and one of `+`, `-` and `*`; `22003` on overflow. None for others.
pub(crate) fn numeric_operator(operator: Arithmetic, types: (&DataType, &DataType)) -> Option<ScalarUDF> {
    match types {
        (DataType::Decimal128(..), DataType::Decimal128(..)) => function(operator),
        _ => None,
    }
}

/// The function of an operator.
pub(super) fn function(operator: Arithmetic) -> Option<ScalarUDF> {
    let name = match operator {
        Arithmetic::Add => "numeric_add",
        Arithmetic::Subtract => "numeric_subtract",
        Arithmetic::Multiply => "numeric_multiply",
        Arithmetic::Divide | Arithmetic::Modulo => return None,
    };
    let signature = Signature::any(2, Volatility::Immutable);
    Some(ScalarUDF::new_from_impl(NumericOperator { operator, name, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NumericOperator {
    operator: Arithmetic,
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for NumericOperator {
    fn name(&self) -> &str {
        self.name
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("{} {} {}", args[0], self.operator.symbol(), args[1]))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        let [left, right] = arg_types else { return internal_err!("{} takes two operands", self.name) };
        Ok(arrow(self.operator, &new_empty_array(left), &new_empty_array(right))?.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name, self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let result_type = args.return_field.data_type();
        binary(&args.args, |left, right| compute(self.operator, left, right, result_type))
            .map_err(|error| to_datafusion(arithmetic_error(&error, result_type)))
    }
}

/// What Arrow computes.
fn arrow(operator: Arithmetic, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    match operator {
        Arithmetic::Add => numeric::add(left, right),
        Arithmetic::Subtract => numeric::sub(left, right),
        Arithmetic::Multiply => numeric::mul(left, right),
        Arithmetic::Divide => numeric::div(left, right),
        Arithmetic::Modulo => numeric::rem(left, right),
    }
}

fn compute(
    operator: Arithmetic,
    left: &dyn Datum,
    right: &dyn Datum,
    result_type: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let short = short(operator, left, right, result_type);
    match short {
        Some(result) => Ok(Arc::new(result)),
        None => arrow(operator, left, right),
    }
}

/// The result where all numbers and the powers of ten between scales fit into 64 bits, if they do.
fn short(operator: Arithmetic, left: &dyn Datum, right: &dyn Datum, result_type: &DataType) -> Option<Decimal128Array> {
    let DataType::Decimal128(precision, scale) = *result_type else { return None };
    let ((left, left_is_scalar), (right, right_is_scalar)) = (left.get(), right.get());
    let (left, right) = (left.as_primitive_opt::<Decimal128Type>()?, right.as_primitive_opt::<Decimal128Type>()?);
    if !fit(left) || !fit(right) {
        return None;
    }
    let nulls = match (left_is_scalar, right_is_scalar) {
        (false, false) => NullBuffer::union(left.nulls(), right.nulls()),
        (true, false) if left.is_valid(0) => right.nulls().cloned(),
        (false, true) if right.is_valid(0) => left.nulls().cloned(),
        _ => return None,
    };
    let operands = Operands { left, right, left_is_scalar, right_is_scalar };
    let power = |from: i8| {
        let difference = u32::try_from(i16::from(scale) - i16::from(from)).ok()?;
        (difference <= MAX_POWER).then(|| 10_i64.pow(difference))
    };
    let values = match operator {
        Arithmetic::Multiply => operands.map(product),
        Arithmetic::Add | Arithmetic::Subtract => {
            let (to_left, to_right) = (power(left.scale())?, power(right.scale())?);
            let to_right = if operator == Arithmetic::Add { to_right } else { -to_right };
            match (to_left, to_right) {
                (1, 1) => operands.map(|left, right| i128::from(left) + i128::from(right)),
                (1, -1) => operands.map(|left, right| i128::from(left) - i128::from(right)),
                _ => operands.map(|left, right| product(left, to_left) + product(right, to_right)),
            }
        }
        Arithmetic::Divide | Arithmetic::Modulo => return None,
    };
    PrimitiveArray::new(values, nulls).with_precision_and_scale(precision, scale).ok()
}

/// Of two numbers of 64 bits, which cannot overflow.
fn product(left: i64, right: i64) -> i128 {
    i128::from(left) * i128::from(right)
}

/// Do all numbers fit into 64 bits?
fn fit(numbers: &Decimal128Array) -> bool {
    // One bit for each that differs from its own sign; no branch, so that it is done for several at a time.
    numbers.values().iter().fold(0_i64, |differs, number| differs | ((*number as i64) >> 63) ^ (*number >> 64) as i64)
        == 0
}

struct Operands<'a> {
    left: &'a Decimal128Array,
    right: &'a Decimal128Array,
    left_is_scalar: bool,
    right_is_scalar: bool,
}

impl Operands<'_> {
    fn map(&self, compute: impl Fn(i64, i64) -> i128) -> ScalarBuffer<i128> {
        let (left, right) = (self.left.values(), self.right.values());
        let compute = |left: i128, right: i128| compute(left as i64, right as i64);
        if self.left_is_scalar {
            let left = left[0];
            right.iter().map(|right| compute(left, *right)).collect()
        } else if self.right_is_scalar {
            let right = right[0];
            left.iter().map(|left| compute(*left, right)).collect()
        } else {
            left.iter().zip(right).map(|(left, right)| compute(*left, *right)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::Scalar;

    use super::*;

    const OPERATORS: [Arithmetic; 3] = [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply];

    fn numbers(values: &[Option<i128>], precision: u8, scale: i8) -> Decimal128Array {
        values.iter().copied().collect::<Decimal128Array>().with_precision_and_scale(precision, scale).unwrap()
    }

    fn check(left: &dyn Datum, right: &dyn Datum, is_short: bool) {
        for operator in OPERATORS {
            let expected = arrow(operator, left, right).unwrap();
            let result_type = expected.data_type().clone();
            let short = short(operator, left, right, &result_type);
            assert_eq!(short.is_some(), is_short, "{operator:?}");
            assert_eq!(&compute(operator, left, right, &result_type).unwrap(), &expected, "{operator:?}");
        }
    }

    #[test]
    fn short_numbers_give_what_arrow_gives() {
        let edges = [Some(0), Some(-1), Some(i128::from(i64::MAX)), None, Some(i128::from(i64::MIN)), Some(123_456)];
        let reversed: Vec<Option<i128>> = edges.iter().rev().copied().collect();
        for (left_scale, right_scale) in [(2, 2), (0, 2), (4, 1)] {
            let (left, right) = (numbers(&edges, 19, left_scale), numbers(&reversed, 19, right_scale));
            check(&left, &right, true);
            let one = Scalar::new(numbers(&[Some(-7)], 9, right_scale));
            check(&left, &one, true);
            check(&one, &left, true);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_to_arrow() {
        let long = numbers(&[Some(1), Some(i128::from(i64::MAX) + 1)], 38, 2);
        let one = numbers(&[Some(1), Some(1)], 3, 2);
        check(&long, &one, false);
        check(&one, &long, false);
        let none = Scalar::new(numbers(&[None], 3, 2));
        assert_eq!(compute(Arithmetic::Add, &one, &none, &DataType::Decimal128(4, 2)).unwrap().null_count(), 2);
    }

    #[test]
    fn an_overflow_is_one() {
        let huge = numbers(&[Some(10_i128.pow(37))], 38, 0);
        let ten = numbers(&[Some(100)], 3, 0);
        let error = compute(Arithmetic::Multiply, &huge, &ten, &DataType::Decimal128(38, 0)).unwrap_err();
        assert!(matches!(error, ArrowError::ArithmeticOverflow(_)), "{error}");
    }
}
