//! `pg_sleep(seconds)`: waits without holding a thread, so that it can be cancelled.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use async_trait::async_trait;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, mapping};

use crate::error::to_datafusion;

/// The function.
pub(super) fn function() -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Volatile);
    AsyncScalarUDF::new(Arc::new(Sleep { signature })).into_scalar_udf()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    signature: Signature,
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(mapping::arrow_type(&SqlType::Void))
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(mapping::field(self.name(), &SqlType::Void, true)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(to_datafusion(
            SqlError::unsupported("pg_sleep is not supported here")
                .with_hint("Call it in the select list or in WHERE."),
        ))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let seconds = args.args[0].to_array(args.number_rows)?;
        for seconds in seconds.as_primitive::<Float64Type>().iter().flatten() {
            // Negative times and NaN are none, and one that is too long to be counted does not end.
            if seconds > 0.0 {
                tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).await;
            }
        }
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(Some(String::new()))))
    }
}
