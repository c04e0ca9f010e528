//! Integer arithmetic that raises instead of wrapping.

use std::sync::Arc;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use super::Arithmetic;
use crate::error::to_datafusion;

/// `left op right` for two operands of one integer type; `22003` on overflow, `22012` on division by zero.
pub(crate) fn integer_operator(operator: Arithmetic, left: Expr, right: Expr) -> Expr {
    Arc::new(function(operator)).call(vec![left, right])
}

/// The function of an operator.
pub(super) fn function(operator: Arithmetic) -> ScalarUDF {
    ScalarUDF::new_from_impl(IntegerOperator { operator, signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntegerOperator {
    operator: Arithmetic,
    signature: Signature,
}

impl ScalarUDFImpl for IntegerOperator {
    fn name(&self) -> &str {
        match self.operator {
            Arithmetic::Add => "int_add",
            Arithmetic::Subtract => "int_subtract",
            Arithmetic::Multiply => "int_multiply",
            Arithmetic::Divide => "int_divide",
            Arithmetic::Modulo => "int_modulo",
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
        let result_type = args.return_field.data_type().clone();
        binary(&args.args, |left, right| compute(self.operator, left, right))
            .map_err(|error| to_datafusion(arithmetic_error(&error, &result_type)))
    }
}

fn compute(operator: Arithmetic, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    match operator {
        Arithmetic::Add => numeric::add(left, right),
        Arithmetic::Subtract => numeric::sub(left, right),
        Arithmetic::Multiply => numeric::mul(left, right),
        Arithmetic::Divide => numeric::div(left, right),
        Arithmetic::Modulo => remainder(left, right),
    }
}

/// The smallest integer modulo -1 is 0 in PostgreSQL and an overflow for the machine.
fn remainder(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    match numeric::rem(left, right) {
        Err(ArrowError::ArithmeticOverflow(_)) => {
            let wide = |datum: &dyn Datum| -> Result<(ArrayRef, bool), ArrowError> {
                let (array, scalar) = datum.get();
                Ok((arrow::compute::cast(array, &DataType::Decimal128(38, 0))?, scalar))
            };
            let ((left_array, left_scalar), (right_array, right_scalar)) = (wide(left)?, wide(right)?);
            let result_type = left.get().0.data_type().clone();
            let result = match (left_scalar, right_scalar) {
                (true, false) => numeric::rem(&arrow::array::Scalar::new(left_array), &right_array)?,
                (false, true) => numeric::rem(&left_array, &arrow::array::Scalar::new(right_array))?,
                _ => numeric::rem(&left_array, &right_array)?,
            };
            arrow::compute::cast(&result, &result_type)
        }
        other => other,
    }
}

/// Applies an Arrow kernel to two columnar values, keeping a scalar result a scalar.
pub(super) fn binary(
    args: &[ColumnarValue],
    kernel: impl Fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>,
) -> Result<ColumnarValue, ArrowError> {
    let scalar = |value: &ScalarValue| value.to_scalar().map_err(|e| ArrowError::ComputeError(e.to_string()));
    Ok(match (&args[0], &args[1]) {
        (ColumnarValue::Array(left), ColumnarValue::Array(right)) => ColumnarValue::Array(kernel(left, right)?),
        (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => {
            ColumnarValue::Array(kernel(left, &scalar(right)?)?)
        }
        (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => {
            ColumnarValue::Array(kernel(&scalar(left)?, right)?)
        }
        (ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)) => {
            let array = kernel(&scalar(left)?, &scalar(right)?)?;
            ColumnarValue::Scalar(
                ScalarValue::try_from_array(&array, 0).map_err(|e| ArrowError::ComputeError(e.to_string()))?,
            )
        }
    })
}

/// What a client is told of an error of arithmetic.
pub(super) fn arithmetic_error(error: &ArrowError, result_type: &DataType) -> SqlError {
    match error {
        ArrowError::DivideByZero => SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => {
            let ty: SqlType = wharf_values::mapping::sql_type_of(result_type);
            SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{ty} out of range"))
        }
        other => SqlError::internal(other.to_string()),
    }
}
