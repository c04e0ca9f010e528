//! Float arithmetic with PostgreSQL's errors: what is infinite without an infinite operand is an overflow.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, AsArray, Datum, PrimitiveArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use wharf_values::{SqlError, SqlState};

use super::Arithmetic;
use super::integer::binary;
use crate::error::to_datafusion;

/// `left op right` for two operands of one float type; `22003` on overflow and underflow, `22012` on division by zero.
pub(crate) fn float_operator(operator: Arithmetic, left: Expr, right: Expr) -> Expr {
    Arc::new(function(operator)).call(vec![left, right])
}

/// The function of an operator.
pub(super) fn function(operator: Arithmetic) -> ScalarUDF {
    ScalarUDF::new_from_impl(FloatOperator { operator, signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatOperator {
    operator: Arithmetic,
    signature: Signature,
}

impl ScalarUDFImpl for FloatOperator {
    fn name(&self) -> &str {
        match self.operator {
            Arithmetic::Add => "float_add",
            Arithmetic::Subtract => "float_subtract",
            Arithmetic::Multiply => "float_multiply",
            Arithmetic::Divide => "float_divide",
            Arithmetic::Modulo => "float_modulo",
        }
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("{} {} {}", args[0], self.operator.symbol(), args[1]))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(arg_types[0].clone())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        binary(&args.args, |left, right| match left.get().0.data_type() {
            DataType::Float32 => checked::<Float32Type>(self.operator, left, right),
            _ => checked::<Float64Type>(self.operator, left, right),
        })
        .map_err(|error| match error {
            ArrowError::DivideByZero => to_datafusion(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")),
            ArrowError::ArithmeticOverflow(what) => to_datafusion(SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("value out of range: {what}"),
            )),
            other => to_datafusion(SqlError::internal(other.to_string())),
        })
    }
}

/// The kernel's result, searched for an infinity or zero that the operands do not explain only when it has one.
fn checked<T>(operator: Arithmetic, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError>
where
    T: ArrowPrimitiveType,
    T::Native: ArrowNativeTypeOp + Into<f64>,
{
    let (a, a_scalar) = left.get();
    let (b, b_scalar) = right.get();
    let (a, b) = (a.as_primitive::<T>(), b.as_primitive::<T>());
    let at = |array: &PrimitiveArray<T>, scalar: bool, row: usize| -> Option<f64> {
        let row = if scalar { 0 } else { row };
        (!arrow::array::Array::is_null(array, row)).then(|| array.value(row).into())
    };
    if matches!(operator, Arithmetic::Divide | Arithmetic::Modulo) {
        let rows = if a_scalar { arrow::array::Array::len(b) } else { arrow::array::Array::len(a) };
        for row in 0..rows {
            if at(b, b_scalar, row) == Some(0.0) && at(a, a_scalar, row).is_some_and(|x| !x.is_nan()) {
                return Err(ArrowError::DivideByZero);
            }
        }
    }
    let result = match operator {
        Arithmetic::Add => numeric::add(left, right)?,
        Arithmetic::Subtract => numeric::sub(left, right)?,
        Arithmetic::Multiply => numeric::mul(left, right)?,
        Arithmetic::Divide => numeric::div(left, right)?,
        Arithmetic::Modulo => numeric::rem(left, right)?,
    };
    let values = result.as_primitive::<T>();
    let mut made_nan = false;
    for (row, value) in values.iter().enumerate() {
        let Some(value) = value.map(Into::<f64>::into) else { continue };
        made_nan |= value.is_nan() && value.is_sign_negative();
        if value.is_infinite() {
            let explained = [at(a, a_scalar, row), at(b, b_scalar, row)].into_iter().flatten().any(f64::is_infinite);
            if !explained {
                return Err(ArrowError::ArithmeticOverflow("overflow".to_owned()));
            }
        } else if value == 0.0 {
            let (x, y) = (at(a, a_scalar, row).unwrap_or(0.0), at(b, b_scalar, row).unwrap_or(0.0));
            let underflow = match operator {
                Arithmetic::Multiply => x != 0.0 && y != 0.0,
                Arithmetic::Divide => x != 0.0 && !y.is_infinite(),
                _ => false,
            };
            if underflow {
                return Err(ArrowError::ArithmeticOverflow("underflow".to_owned()));
            }
        }
    }
    if made_nan {
        // Processors make NaN with a sign, which would be another value to comparisons, and the smallest.
        let one_nan: PrimitiveArray<T> = values.unary(|value| {
            let float = Into::<f64>::into(value);
            if float.is_nan() && float.is_sign_negative() { value.neg_wrapping() } else { value }
        });
        return Ok(Arc::new(one_nan));
    }
    Ok(result)
}
