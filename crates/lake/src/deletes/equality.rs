//! Equality deletes: <https://iceberg.apache.org/spec/#equality-delete-files>.
//!
//! They are turned into positions: the columns they speak of are read from the data file once and looked up among the
//! values of all delete files with the same columns. NULL is equal to NULL. Values are compared as Arrow's row format has
//! them, in the table's types, so a file from before a type was widened compares right. At most [`KEYS_BYTES`] of values are held:
//! more of them mean that the data file is read again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use iceberg::spec::{Literal, NestedField, TableMetadata, Type};
use roaring::RoaringTreemap;

use super::parquet::{Wanted, columns};
use super::{DeleteFile, DeleteStore};
use crate::error::LakeError;
use crate::manifest::Entry;
use crate::{defaults, scan, schema};

/// About how many bytes of values are held at once.
const KEYS_BYTES: usize = 64 * 1024 * 1024;
/// About what a value takes in the set besides its bytes.
const KEY_OVERHEAD: usize = 48;

/// The columns that a table has or had, by field id; none where equality deletes cannot speak of it.
pub(crate) type Columns = BTreeMap<i32, Option<Column>>;

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Its type in storage.
    pub(super) data_type: DataType,
    /// Its value in the rows of files that lack it.
    pub(super) initial: ScalarValue,
}

/// The columns of a table. The current schema counts most, since types only grow wider.
pub(crate) fn columns_of(metadata: &TableMetadata) -> Columns {
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| (schema.schema_id() == metadata.current_schema_id(), schema.schema_id()));
    let fields = schemas.into_iter().flat_map(|schema| schema.as_struct().fields());
    fields.map(|field| (field.id, column(field, metadata.properties()))).collect()
}

fn column(field: &NestedField, properties: &HashMap<String, String>) -> Option<Column> {
    let Type::Primitive(primitive) = &*field.field_type else { return None };
    let data_type = schema::storage_type(&field.field_type).ok()?;
    let initial = match defaults::initial_literal(field, properties) {
        None => ScalarValue::try_from(&data_type).ok()?,
        Some(Literal::Primitive(literal)) => scan::scalar(&literal, primitive, &data_type)?,
        Some(_) => return None,
    };
    Some(Column { data_type, initial })
}

impl DeleteStore {
    /// The positions of the rows of a data file that are equal to a row of the delete files.
    pub(super) async fn equal_rows(
        &self,
        data: &Entry,
        deletes: &[Arc<DeleteFile>],
    ) -> Result<RoaringTreemap, LakeError> {
        let mut by_columns = BTreeMap::<Vec<i32>, Vec<&Entry>>::new();
        for delete in deletes {
            let mut ids = delete.entry.equality_ids().unwrap_or_default();
            if ids.is_empty() {
                let reason = "its manifest does not say which columns are compared";
                return Err(LakeError::corrupt(delete.entry.file_path(), reason));
            }
            ids.sort_unstable();
            by_columns.entry(ids).or_default().push(&delete.entry);
        }
        let mut found = RoaringTreemap::new();
        for (ids, deletes) in by_columns {
            let wanted = self.wanted(&ids, deletes[0].file_path())?;
            let in_data: Vec<_> = ids.iter().zip(&wanted).map(|(id, column)| self.in_data(*id, column)).collect();
            let mut keys = Keys::new(&wanted).map_err(|error| LakeError::corrupt(deletes[0].file_path(), error))?;
            for delete in deletes {
                let location = delete.file_path();
                let mut batches = columns(self, delete, &wanted).await?;
                while let Some(batch) = batches.try_next().await? {
                    keys.add(&batch).map_err(|error| LakeError::corrupt(location, error))?;
                    if keys.size_bytes > KEYS_BYTES {
                        self.look_up(data, &in_data, &mut keys, &mut found).await?;
                    }
                }
            }
            self.look_up(data, &in_data, &mut keys, &mut found).await?;
        }
        Ok(found)
    }

    /// Adds the positions of the rows whose values are among the keys, and forgets the keys.
    async fn look_up(
        &self,
        data: &Entry,
        wanted: &[Wanted],
        keys: &mut Keys,
        found: &mut RoaringTreemap,
    ) -> Result<(), LakeError> {
        if keys.values.is_empty() {
            return Ok(());
        }
        let mut position = 0;
        let mut batches = columns(self, data, wanted).await?;
        while let Some(batch) = batches.try_next().await? {
            let rows = keys.converter.convert_columns(&batch);
            let rows = rows.map_err(|error| LakeError::corrupt(data.file_path(), error))?;
            for row in &rows {
                if keys.values.contains(row.as_ref()) {
                    found.insert(position);
                }
                position += 1;
            }
        }
        if position != data.record_count() {
            let reason = format!("it has {position} rows instead of {}", data.record_count());
            return Err(LakeError::corrupt(data.file_path(), reason));
        }
        keys.clear();
        Ok(())
    }

    /// The column as it is read from a data file, which may lack it.
    fn in_data(&self, id: i32, column: &Wanted) -> Wanted {
        let known = self.columns.get(&id).and_then(Option::as_ref);
        Wanted { missing: known.map(|known| known.initial.clone()), ..column.clone() }
    }

    fn wanted(&self, ids: &[i32], location: &str) -> Result<Vec<Wanted>, LakeError> {
        let wanted = ids.iter().map(|id| match self.columns.get(id) {
            Some(Some(column)) => {
                Ok(Wanted { field_id: *id, name: None, data_type: column.data_type.clone(), missing: None })
            }
            Some(None) => {
                let what = format!("delete file \"{location}\" that compares the column with field id {id}");
                Err(LakeError::Unsupported(what))
            }
            None => Err(LakeError::corrupt(location, format!("the table has no column with field id {id}"))),
        });
        wanted.collect()
    }
}

/// Values of some columns.
struct Keys {
    converter: RowConverter,
    values: HashSet<Box<[u8]>>,
    size_bytes: usize,
}

impl Keys {
    fn new(columns: &[Wanted]) -> arrow::error::Result<Keys> {
        let fields = columns.iter().map(|column| SortField::new(column.data_type.clone()));
        Ok(Keys { converter: RowConverter::new(fields.collect())?, values: HashSet::new(), size_bytes: 0 })
    }

    fn add(&mut self, batch: &[ArrayRef]) -> arrow::error::Result<()> {
        for row in &self.converter.convert_columns(batch)? {
            let value: &[u8] = row.as_ref();
            if !self.values.contains(value) {
                self.size_bytes += value.len() + KEY_OVERHEAD;
                self.values.insert(value.into());
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.values.clear();
        self.size_bytes = 0;
    }
}
