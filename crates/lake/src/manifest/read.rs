//! Manifests from Avro into columns.
//!
//! What always holds: what an entry leaves out and the manifest list has (snapshot id, sequence numbers, first row id) is filled in, and
//! a manifest that has not as many entries as the list says is damaged, since Avro does not notice when whole blocks are missing at
//! the end.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, PrimitiveArray, RecordBatch, StructArray};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Int32Type, Int64Type};
use arrow_avro::reader::{ReaderBuilder, read_header_info};
use arrow_avro::schema::AvroSchema;
use iceberg::spec::{
    DataContentType, DataFileFormat, FormatVersion, ManifestFile, ManifestMetadata, ManifestStatus, PrimitiveType,
};
use serde_json::Value;

use super::by_field::ByField;
use super::entries::Columns;
use crate::partition;

/// Reads the content of a manifest. An error is what is wrong with it.
pub(super) fn read(file: &ManifestFile, content: &[u8]) -> Result<Columns, String> {
    let (metadata, batch) = decode(content)?;
    let counts = [file.added_files_count, file.existing_files_count, file.deleted_files_count];
    let expected = counts.into_iter().map(|count| Some(count? as usize)).sum::<Option<usize>>();
    let found = batch.num_rows();
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(format!("it has {found} entries instead of {expected}"));
    }
    let mut columns = columns(file, &metadata, &batch)?;
    columns.inherit(file, metadata.format_version);
    Ok(columns)
}

fn decode(content: &[u8]) -> Result<(ManifestMetadata, RecordBatch), String> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    let header = read_header_info(content).map_err(|error| error.to_string())?;
    let written = header.writer_schema().map_err(|error| error.to_string())?;
    let mut builder = ReaderBuilder::new().with_batch_size(usize::MAX);
    if let Some(schema) = without_empty_partition(&written.json_string) {
        builder = builder.with_reader_schema(schema);
    }
    let mut reader = builder.build(content).map_err(text)?;
    let properties = reader.avro_header().metadata();
    let properties: HashMap<_, _> =
        properties.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect();
    let metadata = ManifestMetadata::parse(&properties).map_err(|error| error.to_string())?;
    let schema = reader.schema();
    let batches = reader.by_ref().collect::<Result<Vec<_>, _>>().map_err(text)?;
    let batch = match <[RecordBatch; 1]>::try_from(batches) {
        Ok([batch]) => batch,
        Err(batches) => concat_batches(&schema, &batches).map_err(text)?,
    };
    Ok((metadata, batch))
}

/// The Avro schema of a table without partitions has a record without fields, of which Arrow has no arrays.
fn without_empty_partition(json: &str) -> Option<AvroSchema> {
    let mut schema: Value = serde_json::from_str(json).ok()?;
    let named = |name: &'static str| move |field: &&mut Value| field["name"] == name;
    let file = schema["fields"].as_array_mut()?.iter_mut().find(named("data_file"))?;
    let fields = file["type"]["fields"].as_array_mut()?;
    let before = fields.len();
    fields.retain(|field| {
        field["name"] != "partition" || field["type"]["fields"].as_array().is_none_or(|all| !all.is_empty())
    });
    (fields.len() < before).then(|| AvroSchema::new(schema.to_string()))
}

fn columns(file: &ManifestFile, metadata: &ManifestMetadata, batch: &RecordBatch) -> Result<Columns, String> {
    let count = batch.num_rows();
    let entry = |name: &str| batch.column_by_name(name);
    let data = entry("data_file").and_then(|data| data.as_struct_opt()).ok_or("its entries have no files")?;
    let field = |name: &str| data.column_by_name(name);
    let map = |name: &str| match present(field(name)) {
        Some(array) => ByField::new(array.as_list_opt().ok_or_else(|| wrong(name))?),
        None => Ok(None),
    };

    let status = required::<Int32Type>(entry("status"), "status")?;
    let status = status.values().iter().map(|status| ManifestStatus::try_from(*status));
    let content = match primitive::<Int32Type>(field("content"), "content")? {
        Some(content) => content.values().iter().map(|content| DataContentType::try_from(*content)).collect(),
        None => Ok(vec![DataContentType::Data; count].into()),
    };
    let paths = field("file_path").filter(|paths| paths.null_count() == 0);
    let mut path = paths.and_then(|paths| paths.as_string_opt::<i32>()).ok_or_else(|| wrong("file_path"))?.clone();
    path.shrink_to_fit();
    let formats = field("file_format").and_then(|formats| formats.as_string_opt::<i32>());
    let formats = formats.ok_or_else(|| wrong("file_format"))?.iter();
    let formats = formats.map(|format| DataFileFormat::from_str(format.unwrap_or_default()));
    let not_negative = |name: &str| {
        let numbers = required::<Int64Type>(field(name), name)?;
        match numbers.values().iter().any(|number| *number < 0) {
            true => Err(wrong(name)),
            false => Ok(numbers.values().clone()),
        }
    };
    let strings = present(field("referenced_data_file"));
    let keys = present(field("key_metadata"));
    Ok(Columns {
        schema: metadata.schema.clone(),
        wider: None,
        spec_id: file.partition_spec_id,
        status: status.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
        snapshot_id: primitive::<Int64Type>(entry("snapshot_id"), "snapshot_id")?,
        sequence_number: primitive::<Int64Type>(entry("sequence_number"), "sequence_number")?,
        file_sequence_number: primitive::<Int64Type>(entry("file_sequence_number"), "file_sequence_number")?,
        content: content.map_err(|error| error.to_string())?,
        path,
        format: formats.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
        partition: tuples(metadata, field("partition").and_then(|partition| partition.as_struct_opt()))?,
        record_count: not_negative("record_count")?,
        size_bytes: not_negative("file_size_in_bytes")?,
        column_sizes: checked(map("column_sizes")?, &DataType::Int64)?,
        value_counts: checked(map("value_counts")?, &DataType::Int64)?,
        null_value_counts: checked(map("null_value_counts")?, &DataType::Int64)?,
        nan_value_counts: checked(map("nan_value_counts")?, &DataType::Int64)?,
        lower_bounds: checked(map("lower_bounds")?, &DataType::Binary)?,
        upper_bounds: checked(map("upper_bounds")?, &DataType::Binary)?,
        key_metadata: keys
            .map(|keys| keys.as_binary_opt().cloned().ok_or_else(|| wrong("key_metadata")))
            .transpose()?,
        split_offsets: list::<Int64Type>(field("split_offsets"), "split_offsets")?,
        equality_ids: list::<Int32Type>(field("equality_ids"), "equality_ids")?,
        sort_order_id: primitive::<Int32Type>(field("sort_order_id"), "sort_order_id")?,
        first_row_id: primitive::<Int64Type>(field("first_row_id"), "first_row_id")?,
        referenced_data_file: strings
            .map(|strings| strings.as_string_opt().cloned().ok_or_else(|| wrong("referenced_data_file")))
            .transpose()?,
        content_offset: primitive::<Int64Type>(field("content_offset"), "content_offset")?,
        content_size: primitive::<Int64Type>(field("content_size_in_bytes"), "content_size_in_bytes")?,
    })
}

fn wrong(name: &str) -> String {
    format!("its field \"{name}\" is not as the format has it")
}

/// A column that has a value somewhere.
fn present(column: Option<&ArrayRef>) -> Option<&ArrayRef> {
    column.filter(|column| column.null_count() < column.len())
}

/// Numbers of the wanted width: some writers have longs where the format has integers.
fn numbers<T: ArrowPrimitiveType>(column: &ArrayRef, name: &str) -> Result<PrimitiveArray<T>, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column = match column.data_type() {
        DataType::Int32 | DataType::Int64 => cast_with_options(column, &T::DATA_TYPE, &options),
        _ => return Err(wrong(name)),
    };
    let mut column = column.map_err(|_| wrong(name))?.as_primitive_opt::<T>().ok_or_else(|| wrong(name))?.clone();
    column.shrink_to_fit();
    Ok(column)
}

fn primitive<T: ArrowPrimitiveType>(
    column: Option<&ArrayRef>,
    name: &str,
) -> Result<Option<PrimitiveArray<T>>, String> {
    present(column).map(|column| numbers(column, name)).transpose()
}

fn required<T: ArrowPrimitiveType>(column: Option<&ArrayRef>, name: &str) -> Result<PrimitiveArray<T>, String> {
    numbers(column.filter(|column| column.null_count() == 0).ok_or_else(|| wrong(name))?, name)
}

fn list<T: ArrowPrimitiveType>(column: Option<&ArrayRef>, name: &str) -> Result<Option<ListArray>, String> {
    let Some(column) = present(column) else { return Ok(None) };
    let list = column.as_list_opt::<i32>().ok_or_else(|| wrong(name))?;
    let values = numbers::<T>(list.values(), name)?;
    let field = Arc::new(Field::new("element", T::DATA_TYPE, true));
    let mut list = ListArray::new(field, list.offsets().clone(), Arc::new(values), list.nulls().cloned());
    list.shrink_to_fit();
    Ok(Some(list))
}

fn checked(map: Option<ByField>, ty: &DataType) -> Result<Option<ByField>, String> {
    match &map {
        Some(by_field) if by_field.values().data_type() != ty => {
            Err(format!("it has a map of {} where one of {ty} should be", by_field.values().data_type()))
        }
        _ => Ok(map),
    }
}

/// The values of the partition fields in the order of the specification. Avro's names are not always those of the fields, since it
/// allows fewer, so the place decides where the name does not.
fn tuples(metadata: &ManifestMetadata, values: Option<&StructArray>) -> Result<Vec<(PrimitiveType, ArrayRef)>, String> {
    let ty = metadata.partition_spec.partition_type(&metadata.schema).map_err(|error| error.to_string())?;
    let Some(values) = values else {
        return match ty.fields().is_empty() {
            true => Ok(Vec::new()),
            false => Err(wrong("partition")),
        };
    };
    if values.num_columns() != ty.fields().len() {
        return Err(wrong("partition"));
    }
    let fields = ty.fields().iter().enumerate().map(|(at, field)| {
        let ty = field.field_type.as_primitive_type().ok_or_else(|| wrong("partition"))?;
        let column = values.column_by_name(&field.name).unwrap_or_else(|| values.column(at));
        if !partition::holds(column.data_type(), ty) {
            return Err(format!(
                "partition field \"{}\" of type {ty} has values of {}",
                field.name,
                column.data_type()
            ));
        }
        let mut column = ArrayRef::clone(column);
        column.shrink_to_fit();
        Ok((ty.clone(), column))
    });
    fields.collect()
}

impl Columns {
    /// What entries leave out comes from the manifest list: <https://iceberg.apache.org/spec/#sequence-number-inheritance>,
    /// <https://iceberg.apache.org/spec/#first-row-id-inheritance>.
    fn inherit(&mut self, file: &ManifestFile, version: FormatVersion) {
        let count = self.status.len();
        fill(&mut self.snapshot_id, count, |_| Some(file.added_snapshot_id));
        let status = Arc::clone(&self.status);
        let number = |row: usize| match version {
            FormatVersion::V1 => Some(0),
            _ if status[row] == ManifestStatus::Added || file.sequence_number == 0 => Some(file.sequence_number),
            _ => None,
        };
        fill(&mut self.sequence_number, count, number);
        fill(&mut self.file_sequence_number, count, number);
        if let Some(mut next) = file.first_row_id {
            let rows = self.record_count.clone();
            fill(&mut self.first_row_id, count, |row| {
                let id = (status[row] != ManifestStatus::Deleted).then_some(next)?;
                next = next.saturating_add(rows[row].unsigned_abs());
                i64::try_from(id).ok()
            });
        }
    }
}

/// Fills what is NULL.
fn fill(column: &mut Option<Int64Array>, count: usize, mut value: impl FnMut(usize) -> Option<i64>) {
    if column.as_ref().is_some_and(|known| known.null_count() == 0) {
        return;
    }
    let known = column.take();
    let known = |row: usize| known.as_ref().filter(|known| known.is_valid(row)).map(|known| known.value(row));
    *column = some_value((0..count).map(|row| known(row).or_else(|| value(row))).collect());
}

fn some_value(column: Int64Array) -> Option<Int64Array> {
    (column.null_count() < column.len()).then_some(column)
}
