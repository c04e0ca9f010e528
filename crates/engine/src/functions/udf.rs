//! A PostgreSQL function as DataFusion calls it: one `ScalarUDF` for all overloads of a name.
//!
//! What always holds: DataFusion's coercion only brings arguments to one representation per SQL type; which overload is
//! meant is decided by PostgreSQL's rules when the result type is asked for and again when the function runs, from the
//! same fields, so that both agree. Errors are [`SqlError`]s inside `DataFusionError::External`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use super::call::{Argument, Call};
use super::context::FunctionContext;
use super::convert::{convert, converted_type, representation};
use super::overload::{Chosen, Overload, ReturnArguments, choose_leniently, overloads};

/// The error as it travels through DataFusion.
pub(super) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// All overloads of a name as one function of DataFusion's.
pub(super) fn scalar_udf(name: &'static str) -> Option<Arc<ScalarUDF>> {
    let overloads = overloads(name)?;
    let volatility =
        overloads.iter().map(|overload| overload.declaration.volatility).max_by_key(|volatility| match volatility {
            Volatility::Immutable => 0,
            Volatility::Stable => 1,
            Volatility::Volatile => 2,
        })?;
    let function = Function { name, overloads, signature: Signature::user_defined(volatility) };
    Some(Arc::new(ScalarUDF::new_from_impl(function)))
}

struct Function {
    name: &'static str,
    overloads: &'static [Overload],
    signature: Signature,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Function({})", self.name)
    }
}

/// There is one function of a name, see [`overloads`].
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Function {
    fn choose(&self, fields: &[FieldRef]) -> Result<Chosen<'static>, SqlError> {
        let types = fields.iter().map(|field| argument_type(field)).collect::<Vec<_>>();
        choose_leniently(self.name, self.overloads, &types)
    }

    /// The refusal of a call as PostgreSQL words it: SQL planning has integer literals in 64 bits, which are `integer`.
    fn with_integers(&self, fields: &[FieldRef], constants: &[Option<&ScalarValue>]) -> Option<SqlError> {
        let narrow = |constant: &Option<&ScalarValue>| match constant {
            Some(ScalarValue::Int64(Some(value))) => i32::try_from(*value).is_ok(),
            _ => false,
        };
        let types = fields.iter().zip(constants).map(|(field, constant)| match narrow(constant) {
            true => SqlType::Integer,
            false => argument_type(field),
        });
        choose_leniently(self.name, self.overloads, &types.collect::<Vec<_>>()).err()
    }

    fn return_field(&self, fields: &[FieldRef], constants: &[Option<&ScalarValue>]) -> Result<FieldRef, SqlError> {
        let chosen = self.choose(fields).map_err(|error| self.with_integers(fields, constants).unwrap_or(error))?;
        let arguments = ReturnArguments { fields, types: &chosen.types, constants };
        let field = match chosen.overload.declaration.returning {
            Some(returning) => returning(&arguments)?,
            None => wharf_values::field(self.name, &chosen.returns, true),
        };
        Ok(Arc::new(field.with_name(self.name).with_nullable(true)))
    }

    fn evaluate(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, SqlError> {
        let chosen = self.choose(&args.arg_fields)?;
        let declaration = chosen.overload.declaration;
        let return_type = args.return_field.data_type().clone();
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)))
            && declaration.volatility != Volatility::Volatile;
        let rows = if constant { 1 } else { args.number_rows };
        let context = FunctionContext::of(&args.config_options);

        let mut arguments = Vec::with_capacity(args.args.len());
        for ((value, field), ty) in args.args.iter().zip(&args.arg_fields).zip(&chosen.types) {
            let (array, constant) = match value {
                ColumnarValue::Array(array) => (Arc::clone(array), false),
                ColumnarValue::Scalar(value) => {
                    (value.to_array().map_err(|error| SqlError::internal(error.to_string()))?, true)
                }
            };
            if declaration.strict && constant && is_null(&array) {
                let null = ScalarValue::try_from(&return_type);
                return null.map(ColumnarValue::Scalar).map_err(|error| SqlError::internal(error.to_string()));
            }
            arguments.push(Argument { array: convert(&array, field, ty, &context.text)?, constant });
        }
        let nulls = match declaration.strict {
            true => arguments.iter().filter(|argument| !argument.constant).fold(None, |nulls, argument| {
                NullBuffer::union(nulls.as_ref(), argument.array.logical_nulls().as_ref())
            }),
            false => None,
        };
        let call = Call {
            name: self.name,
            arguments,
            types: chosen.types,
            fields: args.arg_fields.clone(),
            rows,
            nulls,
            return_field: &args.return_field,
            config: &args.config_options,
        };
        let result = match &call.nulls {
            Some(nulls) if nulls.null_count() == rows => new_null_array(&return_type, rows),
            _ => (declaration.evaluate)(&call)?,
        };
        if *result.data_type() != return_type {
            return Err(SqlError::internal(format!(
                "function {} gave {} where {return_type} was promised",
                self.name,
                result.data_type()
            )));
        }
        if constant {
            let value = ScalarValue::try_from_array(&result, 0);
            return value.map(ColumnarValue::Scalar).map_err(|error| SqlError::internal(error.to_string()));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// The SQL type of an argument. Text is `Utf8View` in Wharf; plain `Utf8` is what the SQL planner makes of literals.
pub(super) fn argument_type(field: &Field) -> SqlType {
    match field.data_type() {
        DataType::Utf8 if !field.metadata().contains_key(wharf_values::mapping::TYPE_KEY) => SqlType::Unknown,
        _ => wharf_values::sql_type(field),
    }
}

fn is_null(array: &dyn Array) -> bool {
    array.logical_nulls().is_some_and(|nulls| nulls.is_null(0))
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Never asked, since [`ScalarUDFImpl::return_field_from_args`] is here; answers for plain types all the same.
    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let fields = arg_types
            .iter()
            .map(|data_type| Arc::new(Field::new("argument", data_type.clone(), true)))
            .collect::<Vec<_>>();
        let constants = vec![None; fields.len()];
        self.return_field(&fields, &constants).map(|field| field.data_type().clone()).map_err(external)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.return_field(args.arg_fields, args.scalar_arguments).map_err(external)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = |data_type: &DataType| match data_type {
            // Stays what it is, to be known for a literal.
            DataType::Utf8 => DataType::Utf8,
            other => representation(other),
        };
        Ok(arg_types.iter().map(coerced).collect())
    }

    fn is_strict(&self) -> bool {
        self.overloads.iter().all(|overload| overload.declaration.strict)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.evaluate(args).map_err(external)
    }
}

/// The field of a result that has the (converted) type of an argument.
pub(super) fn same_as_argument(arguments: &ReturnArguments<'_>, index: usize) -> Result<Field, SqlError> {
    let field = arguments.fields.get(index).zip(arguments.types.get(index));
    let (field, ty) = field.ok_or_else(|| SqlError::internal("an argument is missing"))?;
    let data_type = converted_type(field, ty);
    let unchanged = *field.data_type() == data_type;
    let metadata = if unchanged { field.metadata().clone() } else { wharf_values::mapping::metadata(ty) };
    match ty {
        SqlType::Numeric(_) if !unchanged => Ok(Field::new("result", data_type, true)),
        _ => Ok(Field::new("result", data_type, true).with_metadata(metadata)),
    }
}
