//! Aggregates as DataFusion's planner is to see them, which chooses among functions by the types of what it has planned so far.
//!
//! DataFusion's `avg` and `stddev` of integers are doubles, and `round(double precision, integer)` does not exist. What always
//! holds: these only stand in a plan until the binder has seen it, which puts what computes in their place.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, mapping};

use crate::error::to_datafusion;

/// Those whose result is numeric for integers and numerics, and double precision for the rest.
const NUMERIC: &[&str] = &["avg", "stddev_samp", "stddev_pop", "var_samp", "var_pop"];

/// The aggregate that stands for another of this name while a statement is planned; none: that itself.
pub(crate) fn planned(name: &str) -> Option<Arc<AggregateUDF>> {
    let name = NUMERIC.iter().find(|known| **known == name)?;
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(Arc::new(AggregateUDF::new_from_impl(Planned { name, signature })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Planned {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether there is such an aggregate is for the binder to say.
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_field(&self, arguments: &[FieldRef]) -> DfResult<FieldRef> {
        let exact = arguments.first().is_some_and(|argument| {
            use SqlType::{BigInt, Integer, Numeric, SmallInt};
            matches!(mapping::sql_type(argument), SmallInt | Integer | BigInt | Numeric(_))
        });
        let ty = if exact { SqlType::Numeric(None) } else { SqlType::Double };
        Ok(Arc::new(mapping::field(self.name, &ty, true)))
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(self.left_over())
    }

    fn accumulator(&self, _: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        Err(self.left_over())
    }
}

impl Planned {
    fn left_over(&self) -> datafusion::error::DataFusionError {
        to_datafusion(SqlError::internal(format!("{} was planned and not bound", self.name)))
    }
}
