//! Columns: the same rows under another schema. Renaming, comments, defaults, NULLs allowed, a column more.
//!
//! Columns are known by field id, so data files stay as they are: a renamed column is found under its old name, a new one
//! is NULL in them.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::spec::TableMetadataBuilder;
use wharf_catalog::Column;

use super::super::snapshot::{check_writable, write_state};
use crate::error::LakeError;
use crate::schema::{self, DEFAULT_PROPERTY, TYPE_PROPERTY};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// Gives a table these columns; returns the location of the new metadata file. A column keeps its values if it keeps its
/// field id; a new one needs an id above [`LakeTable::last_column_id`] and has to allow NULLs.
///
/// # Errors
/// A change of a stored type, a column that is new or becomes NOT NULL although there may be rows without it, and all that
/// [`append`](crate::commit::append()) can meet.
pub async fn set_columns(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    columns: &[Column],
) -> Result<String, LakeError> {
    check_writable(base)?;
    check(base, columns)?;
    let location = base.metadata_location();
    let failed = |error: iceberg::Error| LakeError::metadata(location, error);
    let before = base.iceberg_schema();
    let new_id = base.metadata().schemas_iter().map(|schema| schema.schema_id()).max().unwrap_or(0) + 1;
    let (schema, _) = schema::iceberg_schema(columns, new_id, Some(before), base.last_column_id())?;
    let properties = schema::properties(columns);
    let stale: HashSet<_> = base
        .properties()
        .keys()
        .filter(|name| name.starts_with(TYPE_PROPERTY) || name.starts_with(DEFAULT_PROPERTY))
        .filter(|name| !properties.contains_key(*name))
        .cloned()
        .collect();
    let built = base
        .metadata()
        .clone()
        .into_builder(Some(location.to_owned()))
        .add_schema(schema)
        .and_then(|builder| builder.set_current_schema(TableMetadataBuilder::LAST_ADDED))
        .and_then(|builder| builder.set_properties(properties))
        .and_then(|builder| builder.remove_properties(&stale.into_iter().collect::<Vec<_>>()))
        .and_then(|builder| builder.build())
        .map_err(failed)?;
    write_state(warehouse, base, built.metadata).await
}

/// Refuses what would make stored rows unreadable.
fn check(base: &LakeTable, columns: &[Column]) -> Result<(), LakeError> {
    let has_rows = base.row_count() != Some(0);
    for column in columns {
        let refuse = |what: &str| Err(LakeError::Batch(format!("column \"{}\" {what}", column.name)));
        let before = base.columns().iter().find(|before| before.field_id == column.field_id);
        match before {
            Some(before) if wharf_values::arrow_type(&before.ty) != wharf_values::arrow_type(&column.ty) => {
                return refuse("is stored as another type");
            }
            Some(before) if has_rows && before.nullable && !column.nullable => {
                return refuse("may contain null values");
            }
            None if column.field_id <= base.last_column_id() => {
                return refuse("has the field id of a former column");
            }
            None if has_rows && !column.nullable => return refuse("contains null values"),
            _ => {}
        }
    }
    Ok(())
}
