//! An entry that no manifest of this node has: a file as another node has described it.

use std::sync::Arc;

use arrow::array::{Int64Array, ListArray, StringArray};
use arrow::datatypes::Int32Type;
use iceberg::spec::{DataContentType, DataFileFormat, ManifestStatus, Schema};

use super::entries::{Columns, Entry};
use crate::error::LakeError;

/// What is known of the file.
pub(crate) struct Described {
    pub(crate) content: DataContentType,
    pub(crate) path: String,
    pub(crate) format: DataFileFormat,
    pub(crate) records: u64,
    pub(crate) size_bytes: u64,
    pub(crate) offset: Option<i64>,
    pub(crate) length: Option<i64>,
    pub(crate) referenced: Option<String>,
    pub(crate) equality_ids: Option<Vec<i32>>,
}

impl Described {
    /// The file as an entry; it says nothing of partitions, bounds and sequence numbers.
    ///
    /// # Errors
    /// Numbers that no file has.
    pub(crate) fn entry(self) -> Result<Entry, LakeError> {
        let number = |value: u64| i64::try_from(value).map_err(|error| LakeError::metadata(&self.path, error));
        let (records, size_bytes) = (number(self.records)?, number(self.size_bytes)?);
        let schema = Schema::builder().build().map_err(|error| LakeError::metadata(&self.path, error))?;
        let long = |value: Option<i64>| value.map(|value| Int64Array::from(vec![value]));
        let ids = self.equality_ids.map(|ids| Some(ids.into_iter().map(Some)));
        Ok(Entry::first(Columns {
            schema: Arc::new(schema),
            wider: None,
            spec_id: 0,
            status: vec![ManifestStatus::Existing].into(),
            snapshot_id: None,
            sequence_number: None,
            file_sequence_number: None,
            content: vec![self.content].into(),
            path: StringArray::from(vec![self.path]),
            format: vec![self.format].into(),
            partition: Vec::new(),
            record_count: vec![records].into(),
            size_bytes: vec![size_bytes].into(),
            column_sizes: None,
            value_counts: None,
            null_value_counts: None,
            nan_value_counts: None,
            lower_bounds: None,
            upper_bounds: None,
            key_metadata: None,
            split_offsets: None,
            equality_ids: ids.map(|ids| ListArray::from_iter_primitive::<Int32Type, _, _>([ids])),
            sort_order_id: None,
            first_row_id: None,
            referenced_data_file: self.referenced.map(|file| StringArray::from(vec![file])),
            content_offset: long(self.offset),
            content_size: long(self.length),
        }))
    }
}
