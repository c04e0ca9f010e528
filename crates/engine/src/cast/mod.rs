//! `CAST` as PostgreSQL means it: one scalar function that converts an Arrow array from one SQL type to another.
//!
//! DataFusion's own cast keeps Arrow's meaning (truncation, NULL or wrong SQLSTATE where PostgreSQL rounds or raises), so
//! the binder uses it only where the two agree ([`arrow_agrees`]), which keeps DataFusion's optimizer at work there, and
//! this function everywhere else.

mod convert;
mod numbers;
mod stored;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use wharf_catalog::SqlType;
use wharf_values::mapping;

use crate::error::to_datafusion;
use crate::functions::FunctionContext;

pub(crate) use convert::{cannot_cast, cast_array};
pub(crate) use numbers::power_of_ten;
pub(crate) use stored::{as_stored, is_multidimensional, several_dimensions};

/// How strict a conversion is: PostgreSQL cuts a too long string in an explicit cast and refuses it in an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CastMode {
    /// `CAST(x AS t)`, and conversions that PostgreSQL does by itself.
    Explicit,
    /// A value stored in a column.
    Assignment,
}

/// The function behind a cast to one type.
#[derive(Debug)]
pub(crate) struct CastFunction {
    to: SqlType,
    mode: CastMode,
    signature: Signature,
}

impl PartialEq for CastFunction {
    fn eq(&self, other: &Self) -> bool {
        self.to == other.to && self.mode == other.mode
    }
}
impl Eq for CastFunction {}
impl Hash for CastFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to.hash(state);
        self.mode.hash(state);
    }
}

impl CastFunction {
    /// A call of the cast on an expression.
    pub(crate) fn call(expr: Expr, to: SqlType, mode: CastMode) -> Expr {
        Self::function(to, mode).call(vec![expr])
    }

    /// The function itself.
    pub(crate) fn function(to: SqlType, mode: CastMode) -> Arc<ScalarUDF> {
        let function = CastFunction { to, mode, signature: Signature::any(1, Volatility::Immutable) };
        Arc::new(ScalarUDF::new_from_impl(function))
    }

    /// The type that it casts to.
    pub(crate) fn to(&self) -> &SqlType {
        &self.to
    }

    /// How strict it is.
    pub(crate) fn mode(&self) -> CastMode {
        self.mode
    }
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &str {
        "cast"
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("{}::{}", args[0].schema_name(), self.to))
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("{}::{}", args[0], self.to))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(mapping::arrow_type(&self.to))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(result_field(&args.arg_fields[0], &self.to)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let context = FunctionContext::of(&args.config_options);
        let from = &args.arg_fields[0];
        let convert = |array| {
            cast_array(array, from, &self.to, &args.return_field, &context.text, self.mode).map_err(to_datafusion)
        };
        match &args.args[0] {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(convert(array)?)),
            ColumnarValue::Scalar(scalar) => {
                let array = convert(&scalar.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }
}

/// The field of `from` cast to `to`. A `numeric` without precision takes the scale of what it is made from where that
/// says one, since PostgreSQL's keeps every digit.
pub(crate) fn result_field(from: &Field, to: &SqlType) -> Field {
    if *to == SqlType::Numeric(None) {
        let natural = match from.data_type() {
            DataType::Int8 | DataType::Int16 => Some(DataType::Decimal128(5, 0)),
            DataType::Int32 | DataType::UInt16 | DataType::UInt8 => Some(DataType::Decimal128(10, 0)),
            DataType::Int64 | DataType::UInt32 => Some(DataType::Decimal128(19, 0)),
            DataType::UInt64 => Some(DataType::Decimal128(20, 0)),
            decimal if decimal.is_decimal() => Some(decimal.clone()),
            _ => None,
        };
        if let Some(data_type) = natural {
            let kept = from.metadata().get(mapping::NUMERIC_KEY);
            let metadata = kept.map(|v| (mapping::NUMERIC_KEY.to_owned(), v.clone())).into_iter().collect();
            return Field::new("cast", data_type, true).with_metadata(metadata);
        }
    }
    mapping::field("cast", to, true)
}

/// Does Arrow's cast do what PostgreSQL's does, errors included?
pub(crate) fn arrow_agrees(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    let rank = |data_type: &D| match data_type {
        D::Int16 => Some(1),
        D::Int32 => Some(2),
        D::Int64 => Some(3),
        _ => None,
    };
    if let (Some(a), Some(b)) = (rank(from), rank(to)) {
        return a <= b;
    }
    match (from, to) {
        (a, b) if a == b => true,
        (D::Null, _) => true,
        (D::Int16 | D::Int32 | D::Int64, D::Float64) | (D::Int16, D::Float32) | (D::Float32, D::Float64) => true,
        (D::Int16 | D::Int32 | D::Int64, D::Decimal128(precision, scale) | D::Decimal256(precision, scale)) => {
            let digits = match from {
                D::Int16 => 5,
                D::Int32 => 10,
                _ => 19,
            };
            i16::from(*precision) - i16::from(*scale) >= digits
        }
        (D::Decimal128(p1, s1), D::Decimal128(p2, s2) | D::Decimal256(p2, s2))
        | (D::Decimal256(p1, s1), D::Decimal256(p2, s2)) => {
            s2 >= s1 && i16::from(*p2) - i16::from(*s2) >= i16::from(*p1) - i16::from(*s1)
        }
        (D::Utf8 | D::LargeUtf8 | D::Utf8View, D::Utf8 | D::LargeUtf8 | D::Utf8View) => true,
        (D::Date32, D::Timestamp(_, None)) => true,
        (D::Timestamp(_, a), D::Timestamp(_, b)) => a.is_some() == b.is_some(),
        _ => false,
    }
}
