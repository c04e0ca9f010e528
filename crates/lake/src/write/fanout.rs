//! Rows by partition.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use iceberg::spec::{PartitionSpec, SortOrder, Struct, Transform};

use super::sequence::Place;
use crate::error::LakeError;
use crate::partition;
use crate::properties;
use crate::table::LakeTable;

/// The rows of one partition.
pub(super) struct Part {
    /// Equal for equal partition tuples.
    pub(super) key: Box<[u8]>,
    pub(super) place: Place,
    pub(super) batch: RecordBatch,
}

/// Divides rows by the partition spec of a table.
pub(super) struct Partitioner {
    folder: String,
    spec: PartitionSpec,
    sort_order_id: Option<i32>,
    /// Of each partition field, the column and what is made of it.
    terms: Vec<(usize, Transform)>,
    /// Makes keys of partition tuples; made with the first rows.
    converter: Option<RowConverter>,
}

impl Partitioner {
    /// By the current partition spec of a table, for rows in an order.
    pub(super) fn new(table: &LakeTable, order: &SortOrder) -> Result<Partitioner, LakeError> {
        let metadata = table.metadata();
        let spec = PartitionSpec::clone(metadata.default_partition_spec());
        let fields = table.iceberg_schema().as_struct().fields();
        let term = |field: &iceberg::spec::PartitionField| {
            let column = fields.iter().position(|column| column.id == field.source_id);
            let column = column.ok_or_else(|| {
                let what = format!("writing to a table whose partition field \"{}\" has lost its column", field.name);
                LakeError::Unsupported(what)
            })?;
            Ok((column, field.transform))
        };
        Ok(Partitioner {
            folder: properties::data_folder(table.properties(), table.location(), table.store()),
            terms: spec.fields().iter().map(term).collect::<Result<_, LakeError>>()?,
            sort_order_id: i32::try_from(order.order_id).ok().filter(|id| *id != 0),
            spec,
            converter: None,
        })
    }

    /// Whether there is more than one place to go to.
    pub(super) fn is_partitioned(&self) -> bool {
        !self.terms.is_empty()
    }

    /// Of each partition field, the column and what is made of it.
    pub(super) fn terms(&self) -> &[(usize, Transform)] {
        &self.terms
    }

    /// The partition values of rows, field by field.
    fn values(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, LakeError> {
        let values = self.terms.iter().map(|(column, transform)| partition::apply(*transform, batch.column(*column)));
        values.collect()
    }

    /// Divides rows; those of one partition keep their order.
    pub(super) fn split(&mut self, batch: RecordBatch) -> Result<Vec<Part>, LakeError> {
        if !self.is_partitioned() {
            return Ok(vec![Part { key: Box::default(), place: self.place(Struct::empty()), batch }]);
        }
        let failed = |error: arrow::error::ArrowError| LakeError::Batch(error.to_string());
        let values = self.values(&batch)?;
        let converter = match &mut self.converter {
            Some(converter) => converter,
            None => {
                let fields = values.iter().map(|values| SortField::new(values.data_type().clone()));
                self.converter.insert(RowConverter::new(fields.collect()).map_err(failed)?)
            }
        };
        let keys = converter.convert_columns(&values).map_err(failed)?;
        let mut found: HashMap<&[u8], usize> = HashMap::new();
        let mut parts: Vec<Vec<u32>> = Vec::new();
        for (row, key) in keys.iter().enumerate() {
            let part = *found.entry(key.data()).or_insert_with(|| {
                parts.push(Vec::new());
                parts.len() - 1
            });
            parts[part].push(row as u32);
        }
        let whole = parts.len() == 1;
        let part = |rows: Vec<u32>| {
            let first = rows[0] as usize;
            let tuple = Struct::from_iter(values.iter().map(|values| partition::literal(values, first)));
            let batch = match whole {
                true => batch.clone(),
                false => compact(take_record_batch(&batch, &UInt32Array::from(rows)).map_err(failed)?)?,
            };
            Ok(Part { key: keys.row(first).data().into(), place: self.place(tuple), batch })
        };
        parts.into_iter().map(part).collect()
    }

    fn place(&self, tuple: Struct) -> Place {
        let folder = match self.is_partitioned() {
            true => format!("{}/{}", self.folder, partition::folder(&self.spec, &tuple)),
            false => self.folder.clone(),
        };
        Place { folder, spec_id: self.spec.spec_id(), tuple, sort_order_id: self.sort_order_id }
    }
}

/// Texts and bytes of their own: a few rows of a batch would hold on to all of its.
fn compact(batch: RecordBatch) -> Result<RecordBatch, LakeError> {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    });
    RecordBatch::try_new(batch.schema(), columns.collect()).map_err(|error| LakeError::Batch(error.to_string()))
}
