//! Fields of composite values: `(value).field`, which the binder writes as a call.
//!
//! A composite value is a row of Arrow's struct.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field};
use wharf_values::{SqlError, SqlState};

use super::call::{Call, Result};
use super::overload::{Declaration, ReturnArguments, immutable};

/// The function behind `(value).field`.
pub(crate) const COMPOSITE_FIELD: &str = "composite_field";

pub(super) const FUNCTIONS: &[Declaration] =
    &[immutable(COMPOSITE_FIELD, "any, text -> any", member).returning(member_field)];

/// The field has the type that the composite type gives it.
fn member_field(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let name = arguments.text(1).ok_or_else(|| SqlError::internal("the name of a field is a constant"))?;
    let field = arguments.fields.first().ok_or_else(|| SqlError::internal("an argument is missing"))?;
    let DataType::Struct(members) = field.data_type() else {
        let ty = wharf_values::sql_type(field);
        let message = format!("column notation .{name} applied to type {ty}, which is not a composite type");
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
    };
    let member = members.iter().find(|member| member.name() == name).ok_or_else(|| {
        let message = format!("could not identify column \"{name}\" in record data type");
        SqlError::new(SqlState::UNDEFINED_COLUMN, message)
    })?;
    Ok(Field::clone(member).with_nullable(true))
}

fn member(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::Struct(_) = call.arguments[0].array.data_type() else {
        return Err(SqlError::internal("a field of a value that is not composite"));
    };
    let rows = call.arguments[0].array.as_struct();
    let name = call.text(1)?;
    let member = rows
        .column_by_name(name.at(0))
        .ok_or_else(|| SqlError::internal("a field that the composite type does not have"))?;
    match rows.nulls() {
        None => Ok(member.clone()),
        Some(nulls) => {
            let absent = BooleanArray::new(!nulls.inner(), None);
            nullif(member, &absent).map_err(|error| SqlError::internal(error.to_string()))
        }
    }
}
