//! Deletes on their way to another node: which delete files apply to a data file, without what is in them.
//!
//! Of a file only what reading it asks for travels. The contents are read, and kept, by the node that reads the data file.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use iceberg::spec::DataContentType;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::equality::{Column, Columns};
use super::{DeleteCache, DeleteFile, DeleteStore, FileDeletes, only_data_file};
use crate::manifest::{Described, Entry};
use crate::store::Store;

/// A file of a table, as far as reading needs it.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct WireFile {
    content: Content,
    path: String,
    format: String,
    records: u64,
    size_bytes: u64,
    offset: Option<i64>,
    length: Option<i64>,
    /// The only data file it speaks of.
    referenced: Option<String>,
    equality_ids: Option<Vec<i32>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
enum Content {
    Data,
    Positions,
    Equality,
}

/// The deletes that apply to one data file.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct WireDeletes {
    data: WireFile,
    vector: Option<WireFile>,
    positions: Vec<WireFile>,
    equality: Vec<WireFile>,
}

impl WireFile {
    fn of(file: &Entry) -> WireFile {
        WireFile {
            content: match file.content_type() {
                DataContentType::Data => Content::Data,
                DataContentType::PositionDeletes => Content::Positions,
                DataContentType::EqualityDeletes => Content::Equality,
            },
            path: file.file_path().to_owned(),
            format: file.file_format().to_string(),
            records: file.record_count(),
            size_bytes: file.file_size_in_bytes(),
            offset: file.content_offset(),
            length: file.content_size_in_bytes(),
            referenced: only_data_file(file),
            equality_ids: file.equality_ids(),
        }
    }

    fn entry(self) -> Result<Entry> {
        let described = Described {
            content: match self.content {
                Content::Data => DataContentType::Data,
                Content::Positions => DataContentType::PositionDeletes,
                Content::Equality => DataContentType::EqualityDeletes,
            },
            format: self.format.parse().map_err(external)?,
            path: self.path,
            records: self.records,
            size_bytes: self.size_bytes,
            offset: self.offset,
            length: self.length,
            referenced: self.referenced,
            equality_ids: self.equality_ids,
        };
        Ok(described.entry()?)
    }

    fn deletes(self) -> Result<Arc<DeleteFile>> {
        Ok(Arc::new(DeleteFile::new(self.entry()?)))
    }
}

impl WireDeletes {
    pub(crate) fn of(deletes: &FileDeletes) -> WireDeletes {
        let all = |files: &[Arc<DeleteFile>]| files.iter().map(|file| WireFile::of(&file.entry)).collect();
        WireDeletes {
            data: WireFile::of(&deletes.data),
            vector: deletes.vector.as_ref().map(|file| WireFile::of(&file.entry)),
            positions: all(&deletes.positions),
            equality: all(&deletes.equality),
        }
    }

    /// The deletes, to be read from a store.
    ///
    /// # Errors
    /// What no node of ours has written.
    pub(crate) fn arrive(self, shared: &Arc<DeleteStore>) -> Result<FileDeletes> {
        let all = |files: Vec<WireFile>| files.into_iter().map(WireFile::deletes).collect::<Result<Vec<_>>>();
        Ok(FileDeletes {
            shared: Arc::clone(shared),
            data: self.data.entry()?,
            vector: self.vector.map(WireFile::deletes).transpose()?,
            positions: all(self.positions)?,
            equality: all(self.equality)?,
            loading: Mutex::new(()),
        })
    }
}

impl DeleteStore {
    /// A store of deletes on the node they have come to.
    pub(crate) fn new(store: &Arc<Store>, cache: &Arc<DeleteCache>, columns: Columns) -> Arc<DeleteStore> {
        Arc::new(DeleteStore { store: Arc::clone(store), cache: Arc::clone(cache), columns })
    }
}

/// The columns that equality deletes can speak of as one row, the values being those of files that lack the column; and the ids of
/// the others.
pub(crate) fn columns_to_row(columns: &Columns) -> Result<(RecordBatch, Vec<i32>)> {
    let known = columns.iter().filter_map(|(id, column)| Some((*id, column.as_ref()?)));
    let (fields, values): (Vec<_>, Vec<_>) = known
        .map(|(id, column)| {
            let field = Field::new(id.to_string(), column.data_type.clone(), true);
            Ok((field, column.initial.to_array()?))
        })
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), values, &options)?;
    let others = columns.iter().filter(|(_, column)| column.is_none()).map(|(id, _)| *id);
    Ok((row, others.collect()))
}

/// The opposite of [`columns_to_row`].
///
/// # Errors
/// What no node of ours has written.
pub(crate) fn columns_from_row(row: &RecordBatch, others: &[i32]) -> Result<Columns> {
    let mut columns: Columns = others.iter().map(|id| (*id, None)).collect();
    for (field, values) in row.schema_ref().fields().iter().zip(row.columns()) {
        let id = field.name().parse().map_err(external)?;
        let initial = ScalarValue::try_from_array(values, 0)?;
        columns.insert(id, Some(Column { data_type: field.data_type().clone(), initial }));
    }
    Ok(columns)
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn columns_and_files_arrive_as_they_left() {
        let column = |value: ScalarValue| Some(Column { data_type: value.data_type(), initial: value });
        let columns: Columns = [
            (1, column(ScalarValue::Int32(Some(4)))),
            (2, None),
            (7, column(ScalarValue::try_from(&DataType::Utf8View).unwrap())),
        ]
        .into_iter()
        .collect();
        let (row, others) = columns_to_row(&columns).unwrap();
        let arrived = columns_from_row(&row, &others).unwrap();
        assert_eq!(format!("{arrived:?}"), format!("{columns:?}"));
        let file = || WireFile {
            content: Content::Positions,
            path: "s3://lake/t/deletes.puffin".to_owned(),
            format: "puffin".to_owned(),
            records: 3,
            size_bytes: 99,
            offset: Some(4),
            length: Some(40),
            referenced: Some("s3://lake/t/data.parquet".to_owned()),
            equality_ids: None,
        };
        assert_eq!(WireFile::of(&file().entry().unwrap()), file());
    }
}
