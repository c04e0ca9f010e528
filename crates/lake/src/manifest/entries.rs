//! The entries of a manifest, column by column.
//!
//! A table may have a hundred thousand files, and what its manifests say of them is kept in memory. As Iceberg's own type, with
//! its six maps, a file takes several kilobytes; as columns of Arrow arrays, some hundred bytes. Nothing is lost: the whole of an entry,
//! which a new manifest wants, is made of the columns ([`Entry::whole`]).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, ListArray, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Int32Type, Int64Type};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, ManifestEntry, ManifestStatus, PrimitiveLiteral,
    PrimitiveType, SchemaRef, Struct,
};

use super::by_field::ByField;
use crate::error::LakeError;
use crate::partition;

/// The entries of one manifest.
#[derive(Clone, Debug)]
pub(crate) struct Entries(pub(super) Arc<Columns>);

/// One entry of a manifest: what it says of a data file or a delete file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    columns: Arc<Columns>,
    row: u32,
}

/// The columns. Of those that are `Option`s, none says that no entry has a value. A clone shares all of them.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// The schema with which the manifest was written, which has the types of bounds.
    pub(super) schema: SchemaRef,
    /// The schema of a table that has given columns wider types since.
    pub(super) wider: Option<SchemaRef>,
    pub(super) spec_id: i32,
    pub(super) status: Arc<[ManifestStatus]>,
    pub(super) snapshot_id: Option<Int64Array>,
    pub(super) sequence_number: Option<Int64Array>,
    pub(super) file_sequence_number: Option<Int64Array>,
    pub(super) content: Arc<[DataContentType]>,
    pub(super) path: StringArray,
    pub(super) format: Arc<[DataFileFormat]>,
    /// The fields of the partition, with their types.
    pub(super) partition: Vec<(PrimitiveType, ArrayRef)>,
    pub(super) record_count: ScalarBuffer<i64>,
    pub(super) size_bytes: ScalarBuffer<i64>,
    pub(super) column_sizes: Option<ByField>,
    pub(super) value_counts: Option<ByField>,
    pub(super) null_value_counts: Option<ByField>,
    pub(super) nan_value_counts: Option<ByField>,
    pub(super) lower_bounds: Option<ByField>,
    pub(super) upper_bounds: Option<ByField>,
    pub(super) key_metadata: Option<BinaryArray>,
    pub(super) split_offsets: Option<ListArray>,
    pub(super) equality_ids: Option<ListArray>,
    pub(super) sort_order_id: Option<Int32Array>,
    pub(super) first_row_id: Option<Int64Array>,
    pub(super) referenced_data_file: Option<StringArray>,
    pub(super) content_offset: Option<Int64Array>,
    pub(super) content_size: Option<Int64Array>,
}

impl Entries {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.status.len()
    }

    /// One after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..self.len()).map(|row| Entry { columns: Arc::clone(&self.0), row: row as u32 })
    }

    /// About how much memory they take.
    pub(crate) fn size_bytes(&self) -> usize {
        let columns = &*self.0;
        let numbers = [&columns.snapshot_id, &columns.sequence_number, &columns.file_sequence_number];
        let numbers =
            numbers.into_iter().chain([&columns.first_row_id, &columns.content_offset, &columns.content_size]);
        let numbers: usize = numbers.flatten().map(Array::get_array_memory_size).sum();
        let maps =
            [&columns.column_sizes, &columns.value_counts, &columns.null_value_counts, &columns.nan_value_counts];
        let maps = maps.into_iter().chain([&columns.lower_bounds, &columns.upper_bounds]);
        let maps: usize = maps.flatten().map(ByField::size_bytes).sum();
        let lists = [&columns.split_offsets, &columns.equality_ids].into_iter().flatten();
        let lists: usize = lists.map(Array::get_array_memory_size).sum();
        let others: [usize; 4] = [
            columns.path.get_array_memory_size(),
            columns.key_metadata.as_ref().map_or(0, Array::get_array_memory_size),
            columns.sort_order_id.as_ref().map_or(0, Array::get_array_memory_size),
            columns.referenced_data_file.as_ref().map_or(0, Array::get_array_memory_size),
        ];
        let partition: usize = columns.partition.iter().map(|(_, values)| values.get_array_memory_size()).sum();
        let plain = self.len() * (3 + 2 * size_of::<i64>());
        // The schema is the manifest's own.
        let schema = 1024 + 256 * columns.schema.as_struct().fields().len();
        numbers + maps + lists + others.iter().sum::<usize>() + partition + plain + schema
    }
}

impl Entry {
    /// The only row of some columns.
    pub(super) fn first(columns: Columns) -> Entry {
        Entry { columns: Arc::new(columns), row: 0 }
    }

    fn row(&self) -> usize {
        self.row as usize
    }

    fn long(&self, column: &Option<Int64Array>) -> Option<i64> {
        let column = column.as_ref()?;
        column.is_valid(self.row()).then(|| column.value(self.row()))
    }

    /// What the manifest says of the file in the snapshot that added the manifest.
    pub(crate) fn status(&self) -> ManifestStatus {
        self.columns.status[self.row()]
    }

    /// Whether the file is still there.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.status(), ManifestStatus::Added | ManifestStatus::Existing)
    }

    /// The snapshot that added the file, or removed it.
    pub(crate) fn snapshot_id(&self) -> Option<i64> {
        self.long(&self.columns.snapshot_id)
    }

    /// The number that orders the file before or after deletes.
    pub(crate) fn sequence_number(&self) -> Option<i64> {
        self.long(&self.columns.sequence_number)
    }

    /// Data, or which kind of deletes.
    pub(crate) fn content_type(&self) -> DataContentType {
        self.columns.content[self.row()]
    }

    /// Where the file is.
    pub(crate) fn file_path(&self) -> &str {
        self.columns.path.value(self.row())
    }

    /// The format of the file.
    pub(crate) fn file_format(&self) -> DataFileFormat {
        self.columns.format[self.row()]
    }

    /// How many rows it was written with.
    pub(crate) fn record_count(&self) -> u64 {
        self.columns.record_count[self.row()].unsigned_abs()
    }

    /// How large it is.
    pub(crate) fn file_size_in_bytes(&self) -> u64 {
        self.columns.size_bytes[self.row()].unsigned_abs()
    }

    /// Whether it is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.columns.key_metadata.as_ref().is_some_and(|keys| keys.is_valid(self.row()))
    }

    /// The partition that it belongs to.
    pub(crate) fn partition(&self) -> Struct {
        let fields = self.columns.partition.iter();
        fields.map(|(ty, values)| partition::literal_of(values, self.row(), ty)).collect()
    }

    /// One value of its partition; none where there is no such field.
    pub(crate) fn partition_value(&self, at: usize) -> Option<Option<PrimitiveLiteral>> {
        let (ty, values) = self.columns.partition.get(at)?;
        Some(partition::literal_of(values, self.row(), ty).and_then(|value| value.as_primitive_literal()))
    }

    /// The size of a column in the file.
    pub(crate) fn column_size(&self, id: i32) -> Option<u64> {
        self.count(&self.columns.column_sizes, id)
    }

    /// How many values of a column are NULL.
    pub(crate) fn null_value_count(&self, id: i32) -> Option<u64> {
        self.count(&self.columns.null_value_counts, id)
    }

    /// How many values of a column are NaN.
    pub(crate) fn nan_value_count(&self, id: i32) -> Option<u64> {
        self.count(&self.columns.nan_value_counts, id)
    }

    /// A lower bound of the values of a column.
    pub(crate) fn lower_bound(&self, id: i32) -> Option<Datum> {
        self.bound(&self.columns.lower_bounds, id)
    }

    /// An upper bound of the values of a column.
    pub(crate) fn upper_bound(&self, id: i32) -> Option<Datum> {
        self.bound(&self.columns.upper_bounds, id)
    }

    fn count(&self, counts: &Option<ByField>, id: i32) -> Option<u64> {
        let counts = counts.as_ref()?;
        count_at(counts, counts.find(self.row(), id)?)
    }

    fn bound(&self, bounds: &Option<ByField>, id: i32) -> Option<Datum> {
        let bounds = bounds.as_ref()?;
        self.bound_at(bounds, bounds.find(self.row(), id)?, id)
    }

    /// Of a column that the schema does not know, and of bytes that are no value of its type, nothing is known.
    fn bound_at(&self, bounds: &ByField, place: usize, id: i32) -> Option<Datum> {
        let bytes = bounds.values().as_binary::<i32>().value(place);
        Datum::try_from_bytes(bytes, self.columns.bound_type(id, bytes.len())?).ok()
    }

    /// Where row groups begin; none where nobody says it.
    pub(crate) fn split_offsets(&self) -> Option<&[i64]> {
        let lists = self.columns.split_offsets.as_ref().filter(|lists| lists.is_valid(self.row()))?;
        let (from, to) = (lists.value_offsets()[self.row()], lists.value_offsets()[self.row() + 1]);
        lists.values().as_primitive::<Int64Type>().values().get(from as usize..to as usize)
    }

    /// The columns that equality deletes compare.
    pub(crate) fn equality_ids(&self) -> Option<Vec<i32>> {
        let lists = self.columns.equality_ids.as_ref().filter(|lists| lists.is_valid(self.row()))?;
        Some(lists.value(self.row()).as_primitive::<Int32Type>().values().to_vec())
    }

    /// The one data file that deletes are of.
    pub(crate) fn referenced_data_file(&self) -> Option<&str> {
        let files = self.columns.referenced_data_file.as_ref().filter(|files| files.is_valid(self.row()))?;
        Some(files.value(self.row()))
    }

    /// Where in its file a deletion vector begins.
    pub(crate) fn content_offset(&self) -> Option<i64> {
        self.long(&self.columns.content_offset)
    }

    /// How long a deletion vector is.
    pub(crate) fn content_size_in_bytes(&self) -> Option<i64> {
        self.long(&self.columns.content_size)
    }

    /// The entry as Iceberg's own type has it.
    ///
    /// # Errors
    /// None for an entry that was read; what it has is what that type wants.
    pub(crate) fn whole(&self) -> Result<ManifestEntry, LakeError> {
        let data_file = self.data_file().map_err(|error| LakeError::metadata(self.file_path(), error))?;
        Ok(ManifestEntry {
            status: self.status(),
            snapshot_id: self.snapshot_id(),
            sequence_number: self.sequence_number(),
            file_sequence_number: self.long(&self.columns.file_sequence_number),
            data_file,
        })
    }

    fn data_file(&self) -> Result<DataFile, impl std::fmt::Display + use<>> {
        let columns = &*self.columns;
        let row = self.row();
        let keys = columns.key_metadata.as_ref().filter(|keys| keys.is_valid(row));
        let mut file = DataFileBuilder::default();
        file.content(self.content_type())
            .file_path(self.file_path().to_owned())
            .file_format(self.file_format())
            .partition(self.partition())
            .record_count(self.record_count())
            .file_size_in_bytes(self.file_size_in_bytes())
            .column_sizes(self.counts(&columns.column_sizes))
            .value_counts(self.counts(&columns.value_counts))
            .null_value_counts(self.counts(&columns.null_value_counts))
            .nan_value_counts(self.counts(&columns.nan_value_counts))
            .lower_bounds(self.bounds(&columns.lower_bounds))
            .upper_bounds(self.bounds(&columns.upper_bounds))
            .key_metadata(keys.map(|keys| keys.value(row).to_vec()))
            .split_offsets(self.split_offsets().map(<[i64]>::to_vec))
            .equality_ids(self.equality_ids())
            .first_row_id(self.long(&columns.first_row_id))
            .partition_spec_id(columns.spec_id)
            .referenced_data_file(self.referenced_data_file().map(str::to_owned))
            .content_offset(self.content_offset())
            .content_size_in_bytes(self.content_size_in_bytes());
        if let Some(orders) = columns.sort_order_id.as_ref().filter(|orders| orders.is_valid(row)) {
            file.sort_order_id(orders.value(row));
        }
        file.build()
    }

    fn counts(&self, counts: &Option<ByField>) -> HashMap<i32, u64> {
        let Some(counts) = counts else { return HashMap::new() };
        counts.of(self.row()).filter_map(|(id, place)| Some((id, count_at(counts, place)?))).collect()
    }

    fn bounds(&self, bounds: &Option<ByField>) -> HashMap<i32, Datum> {
        let Some(bounds) = bounds else { return HashMap::new() };
        bounds.of(self.row()).filter_map(|(id, place)| Some((id, self.bound_at(bounds, place, id)?))).collect()
    }
}

/// A count; one below zero says nothing.
fn count_at(counts: &ByField, place: usize) -> Option<u64> {
    u64::try_from(counts.values().as_primitive::<Int64Type>().value(place)).ok()
}
