//! Columns: another schema for the same rows.
//!
//! Columns are known by field id, so data files stay as they are: a renamed column is found under its old name, a new one
//! is NULL in them or has its initial value, a dropped one is passed over, one of a wider type is widened as it is read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use iceberg::spec::{FormatVersion, Schema, TableMetadataBuilder, Type};
use wharf_catalog::Column;

use super::super::replace;
use super::super::snapshot::write_state;
use crate::error::LakeError;
use crate::schema::{self, CONSTRAINT_PROPERTY, DEFAULT_PROPERTY, TYPE_PROPERTY};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// What a table's schema becomes.
#[derive(Clone, Default)]
pub struct SchemaChange {
    /// Its columns. A column keeps its values if it keeps its field id; a new one needs an id above
    /// [`LakeTable::last_column_id`].
    pub columns: Vec<Column>,
    /// The field ids of its primary key, which Iceberg calls the identifier; none: it stays what it is.
    pub identifier: Option<Vec<i32>>,
    /// Its constraints by name, as SQL.
    pub constraints: BTreeMap<String, String>,
    /// The values of new columns in the rows there are, by field id; where there is none they are NULL. Only where
    /// [`LakeTable::has_initial_values`].
    pub initial: HashMap<i32, ScalarValue>,
    /// The caller has seen that the rows there are fit (a column that becomes NOT NULL has no NULL), or replaces them.
    pub checked: bool,
    /// The rows under the new schema, in the place of all there are.
    pub rewritten: Option<Vec<WrittenFile>>,
    /// The state of the table that this was made of.
    pub made_of: Option<Arc<LakeTable>>,
}

impl SchemaChange {
    /// Other columns, and nothing else.
    pub fn of(base: &LakeTable, columns: &[Column]) -> SchemaChange {
        SchemaChange { columns: columns.to_vec(), constraints: base.constraints(), ..SchemaChange::default() }
    }

    /// Gives a table this schema, and its rows; returns the location of the new metadata file. None when the table is not
    /// what this was made of any more.
    pub(super) async fn apply(
        &self,
        warehouse: &Arc<Warehouse>,
        base: &Arc<LakeTable>,
    ) -> Result<Option<String>, LakeError> {
        if let Some(before) = &self.made_of {
            let same_rows = before.metadata_location() == base.metadata_location();
            let same_shape = before.columns() == base.columns() && before.constraints() == base.constraints();
            if !same_shape || (self.checked && !same_rows) {
                return Ok(None);
            }
        }
        let location = set_columns(warehouse, base, self).await?;
        let Some(files) = &self.rewritten else { return Ok(Some(location)) };
        let between = warehouse.load(&location).await?;
        let replaced = replace(warehouse, &between, files.clone()).await;
        if replaced.is_err() {
            base.store().discard([location]).await;
        }
        replaced.map(Some)
    }
}

/// Gives a table another schema; returns the location of the new metadata file.
///
/// # Errors
/// A change of a stored type that is not a promotion of Iceberg's, a column that is new or becomes NOT NULL although there
/// may be rows without it, a column that the table's files are partitioned by and that goes, and all that
/// [`append`](crate::commit::append()) can meet.
pub async fn set_columns(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    change: &SchemaChange,
) -> Result<String, LakeError> {
    base.check_readable()?;
    check(base, change)?;
    let location = base.metadata_location();
    let failed = |error: iceberg::Error| LakeError::metadata(location, error);
    let before = base.iceberg_schema();
    let new_id = base.metadata().schemas_iter().map(|schema| schema.schema_id()).max().unwrap_or(0) + 1;
    let (schema, _) = schema::iceberg_schema(&change.columns, new_id, Some(before), base.last_column_id())?;
    let schema = schema::with_initial(&schema, &change.initial)?;
    let schema = match &change.identifier {
        Some(key) => schema::with_identifier(schema, key)?,
        None => schema::with_identifier(schema, &before.identifier_field_ids().collect::<Vec<_>>())?,
    };
    let mut properties = schema::properties(&change.columns);
    properties
        .extend(change.constraints.iter().map(|(name, text)| (format!("{CONSTRAINT_PROPERTY}{name}"), text.clone())));
    let kept: HashSet<_> = change.columns.iter().map(|column| format!("{TYPE_PROPERTY}{}", column.field_id)).collect();
    let stale: Vec<_> = base
        .properties()
        .keys()
        // The types of columns that are gone are for reading old snapshots.
        .filter(|name| {
            name.starts_with(DEFAULT_PROPERTY) || name.starts_with(CONSTRAINT_PROPERTY) || kept.contains(*name)
        })
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
        .and_then(|builder| builder.remove_properties(&stale))
        .and_then(|builder| builder.build())
        .map_err(failed)?;
    write_state(warehouse, base, built.metadata).await
}

impl LakeTable {
    /// The constraints that the metadata tell of, by name, as SQL.
    pub fn constraints(&self) -> BTreeMap<String, String> {
        let constraint =
            |(name, text): (&String, &String)| Some((name.strip_prefix(CONSTRAINT_PROPERTY)?.to_owned(), text.clone()));
        self.properties().iter().filter_map(constraint).collect()
    }

    /// Can a new column have a value in the rows there are? Else they have to be written again.
    pub fn has_initial_values(&self) -> bool {
        self.metadata().format_version() >= FormatVersion::V3
    }

    /// Can a value be the initial one of a column of this type?
    pub fn can_be_initial(&self, column: &Column, value: &ScalarValue) -> bool {
        self.has_initial_values()
            && schema::iceberg_schema(std::slice::from_ref(column), 0, None, 0).is_ok_and(|(schema, _)| {
                schema::with_initial(&schema, &HashMap::from([(column.field_id, value.clone())])).is_ok()
            })
    }

    /// Are the files partitioned, or their rows sorted, by this column?
    pub fn is_laid_out_by(&self, field_id: i32) -> bool {
        let metadata = self.metadata();
        metadata.default_partition_spec().fields().iter().any(|field| field.source_id == field_id)
            || metadata.default_sort_order().fields.iter().any(|field| field.source_id == field_id)
    }
}

/// Refuses what would make stored rows unreadable.
fn check(base: &LakeTable, change: &SchemaChange) -> Result<(), LakeError> {
    let has_rows = base.row_count() != Some(0);
    let refuse = |column: &str, what: &str| Err(LakeError::Batch(format!("column \"{column}\" {what}")));
    for column in &change.columns {
        let refuse = |what: &str| refuse(&column.name, what);
        let before = base.columns().iter().find(|before| before.field_id == column.field_id);
        match before {
            Some(before) if !is_readable_as(before, column)? => return refuse("is stored as another type"),
            Some(before) if has_rows && !change.checked && before.nullable && !column.nullable => {
                return refuse("may contain null values");
            }
            None if column.field_id <= base.last_column_id() => {
                return refuse("has the field id of a former column");
            }
            None if has_rows
                && !change.checked
                && !column.nullable
                && !change.initial.contains_key(&column.field_id) =>
            {
                return refuse("contains null values");
            }
            _ => {}
        }
    }
    for gone in base.columns() {
        let stays = change.columns.iter().any(|column| column.field_id == gone.field_id);
        if !stays && base.is_laid_out_by(gone.field_id) {
            return refuse(&gone.name, "is part of the partition key or sort order");
        }
    }
    Ok(())
}

/// Whether files written with one column are read as the other: the types are stored alike, or Iceberg promotes the one
/// to the other (<https://iceberg.apache.org/spec/#schema-evolution>).
fn is_readable_as(before: &Column, after: &Column) -> Result<bool, LakeError> {
    let stored = |column: &Column| -> Result<Schema, LakeError> {
        Ok(schema::iceberg_schema(std::slice::from_ref(column), 0, None, 0)?.0)
    };
    let (before, after) = (stored(before)?, stored(after)?);
    let ty = |schema: &Schema| schema.as_struct().fields().first().map(|field| (*field.field_type).clone());
    Ok(match (ty(&before), ty(&after)) {
        (Some(before), Some(after)) => schema::same_shape(&before, &after) || promotes(&before, &after),
        _ => false,
    })
}

fn promotes(from: &Type, to: &Type) -> bool {
    matches!((from, to), (Type::Primitive(from), Type::Primitive(to)) if schema::promotes(from, to))
}
