//! Columns are found in data files by field id.
//!
//! A file keeps the names that columns had when it was written, and may lack columns that came later. What always holds: a
//! column is read from the field with its id or, when the file has no such field, has its initial value throughout, which is
//! NULL unless the table says another; a file without field ids is an error, and so is a missing column that must not be NULL, or whose values
//! were written into other files (`crate::fit`). Where the stored type differs from the table's (`smallint` is stored as an integer), the
//! value is cast.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal, lit};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::error::LakeError;

/// Makes the adapter of each file.
#[derive(Debug)]
pub(super) struct FieldIds {
    /// The field ids of the table's columns by name.
    pub(super) ids: HashMap<String, i32>,
    /// The values of columns that a file lacks, by name.
    pub(super) initial: HashMap<String, ScalarValue>,
    /// The columns that have no values where a file lacks them, by name.
    pub(super) absent: HashSet<String>,
}

impl FieldIds {
    pub(super) fn new(
        columns: &[wharf_catalog::Column],
        initial: HashMap<String, ScalarValue>,
        absent: &[i32],
    ) -> FieldIds {
        let ids = columns.iter().map(|column| (column.name.clone(), column.field_id));
        let absent = columns.iter().filter(|column| absent.contains(&column.field_id));
        FieldIds { ids: ids.collect(), initial, absent: absent.map(|column| column.name.clone()).collect() }
    }
}

impl PhysicalExprAdapterFactory for FieldIds {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let in_file: HashMap<i32, usize> =
            file.fields().iter().enumerate().filter_map(|(index, field)| Some((field_id(field)?, index))).collect();
        if in_file.is_empty() && !file.fields().is_empty() {
            return Err(LakeError::Unsupported("a data file without field ids".to_owned()).into());
        }
        let columns = table
            .fields()
            .iter()
            .filter_map(|field| {
                let place = match self.ids.get(field.name()).map(|id| in_file.get(id)) {
                    Some(Some(index)) => Place::Field(*index),
                    Some(None) => match self.initial.get(field.name()) {
                        Some(value) => Place::Initial(value.clone()),
                        None if field.is_nullable() && !self.absent.contains(field.name()) => Place::Null,
                        None => Place::Missing,
                    },
                    // A column that the reader makes, such as the position of the row, has no field id.
                    None if field.extension_type_name().is_some() => Place::Field(file.index_of(field.name()).ok()?),
                    None => return None,
                };
                Some((field.name().clone(), (Arc::clone(field), place)))
            })
            .collect();
        Ok(Arc::new(Adapter { file, columns }))
    }
}

fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

/// Rewrites expressions over the table into expressions over one file.
#[derive(Debug)]
struct Adapter {
    file: SchemaRef,
    columns: HashMap<String, (Arc<Field>, Place)>,
}

/// Where a column is.
#[derive(Clone, Debug)]
enum Place {
    Field(usize),
    Initial(ScalarValue),
    Null,
    /// Nowhere: whoever wants it gets an error.
    Missing,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.transform(|expr| match expr.downcast_ref::<Column>() {
            Some(column) => self.column(column.name()).map(Transformed::yes),
            None => Ok(Transformed::no(expr)),
        })
        .data()
    }
}

impl Adapter {
    fn column(&self, name: &str) -> Result<Arc<dyn PhysicalExpr>> {
        let Some((field, place)) = self.columns.get(name) else {
            return Err(DataFusionError::Internal(format!("column \"{name}\" is not in the table")));
        };
        let index = match place {
            Place::Field(index) => *index,
            Place::Initial(value) => {
                let metadata = field.metadata().clone().into();
                return Ok(Arc::new(Literal::new_with_metadata(value.clone(), Some(metadata))));
            }
            Place::Null => return Ok(lit(ScalarValue::try_from(field.data_type())?)),
            Place::Missing => return Err(LakeError::NoValues { column: name.to_owned() }.into()),
        };
        let stored = self.file.field(index);
        let column = Arc::new(Column::new(stored.name(), index));
        // Functions pushed into the scan choose by the SQL type, which the file does not know of json and its like; for
        // strings of any length the Arrow type says enough.
        let ty = wharf_values::sql_type(field);
        let speaks_for_itself = ty.is_string() || ty == wharf_values::mapping::sql_type_of(field.data_type());
        if stored.data_type() == field.data_type() && speaks_for_itself {
            return Ok(column);
        }
        Ok(Arc::new(CastExpr::new_with_target_field(column, Arc::clone(field), None)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::datatypes::{DataType, Schema};
    use wharf_catalog::SqlType;

    use super::*;

    fn stored(name: &str, data_type: DataType, id: Option<i32>) -> Field {
        let id = id.map(|id| (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string()));
        Field::new(name, data_type, true).with_metadata(id.into_iter().collect())
    }

    fn adapted(nullable: bool, file: Vec<Field>, column: &str) -> Result<String> {
        adapted_without(&[], nullable, file, column)
    }

    fn adapted_without(absent: &[i32], nullable: bool, file: Vec<Field>, column: &str) -> Result<String> {
        let of = |name: &str, ty, field_id| wharf_catalog::Column {
            name: name.to_owned(),
            ty,
            nullable,
            field_id,
            comment: None,
            default: None,
        };
        let columns = [of("a", SqlType::Integer, 1), of("b", SqlType::SmallInt, 2)];
        let table = crate::schema::table_schema(&columns, &crate::Unproven::default());
        let adapter = FieldIds::new(&columns, HashMap::new(), absent).create(table, Arc::new(Schema::new(file)))?;
        Ok(adapter.rewrite(Arc::new(Column::new(column, 0)))?.to_string())
    }

    #[test]
    fn columns_are_found_by_id_whatever_they_are_called() {
        let file = || vec![stored("a", DataType::Int32, Some(2)), stored("b", DataType::Int32, Some(1))];
        assert_eq!(adapted(false, file(), "a").unwrap(), "b@1");
        assert_eq!(adapted(false, file(), "b").unwrap(), "CAST(a@0 AS Int16)");
    }

    #[test]
    fn a_missing_column_is_null_or_an_error() {
        let file = || vec![stored("a", DataType::Int32, Some(1))];
        assert_eq!(adapted(true, file(), "b").unwrap(), "NULL");
        let error = adapted(false, file(), "b").unwrap_err();
        assert!(error.to_string().contains("column \"b\" has no values"), "{error}");
        // It is one without values, not one that came later.
        let error = adapted_without(&[2], true, file(), "b").unwrap_err();
        assert!(error.to_string().contains("column \"b\" has no values"), "{error}");
        assert_eq!(adapted_without(&[2], true, file(), "a").unwrap(), "a@0");
    }

    #[test]
    fn a_file_without_ids_is_an_error_not_nulls() {
        let error = adapted(true, vec![stored("a", DataType::Int32, None)], "a").unwrap_err();
        assert!(error.to_string().contains("without field ids"), "{error}");
    }
}
