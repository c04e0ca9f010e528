//! A function that does not exist, refused where the types of its arguments are known: PostgreSQL's message names them.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, mapping};

use crate::error::to_datafusion;

/// A call of a function that is not there; asking for its type is the error.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct UndefinedFunction {
    name: String,
    signature: Signature,
}

impl UndefinedFunction {
    /// In the place of the function of that name.
    pub(crate) fn function(name: &str) -> Arc<ScalarUDF> {
        let nullary_too = vec![
            datafusion::logical_expr::TypeSignature::Nullary,
            datafusion::logical_expr::TypeSignature::VariadicAny,
        ];
        Arc::new(ScalarUDF::new_from_impl(UndefinedFunction {
            name: name.to_owned(),
            signature: Signature::one_of(nullary_too, Volatility::Volatile),
        }))
    }

    /// `42883`, for arguments of these types.
    fn error(&self, types: &[String]) -> SqlError {
        let message = format!("function {}({}) does not exist", self.name, types.join(", "));
        SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    }
}

impl ScalarUDFImpl for UndefinedFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Err(to_datafusion(self.error(&[])))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types = args.arg_fields.iter().zip(args.scalar_arguments).map(|(field, literal)| {
            match (literal, field.data_type()) {
                (_, DataType::Null) | (Some(_), DataType::Utf8) => "unknown".to_owned(),
                // A number without a point is an integer as long as it fits.
                (Some(ScalarValue::Int64(Some(value))), _) if i32::try_from(*value).is_ok() => "integer".to_owned(),
                _ => match mapping::sql_type(field) {
                    SqlType::Numeric(_) => "numeric".to_owned(),
                    SqlType::Varchar(_) => "character varying".to_owned(),
                    SqlType::Char(_) => "character".to_owned(),
                    other => other.to_string(),
                },
            }
        });
        Err(to_datafusion(self.error(&types.collect::<Vec<_>>())))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(to_datafusion(self.error(&[])))
    }
}
