//! Another engine: writes row-level deletes into a table, with the writers of the `iceberg` crate and of Parquet.

use arrow::array::StringArray;
use arrow::datatypes::{Field, Schema};
use iceberg::io::FileIO;
use iceberg::metadata_columns::{RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, ManifestContentType, ManifestList,
    ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot, Summary, TableMetadata, UNASSIGNED_SEQUENCE_NUMBER,
};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};

use super::*;

fn path(location: &str) -> &str {
    location.strip_prefix("file://").unwrap()
}

/// The metadata of a table as it lies on the disk.
pub(super) fn metadata(table: &LakeTable) -> TableMetadata {
    serde_json::from_slice(&std::fs::read(path(table.metadata_location())).unwrap()).unwrap()
}

/// Writes a Parquet file into the folder of a table; the columns are given with their field ids.
pub(super) fn parquet(table: &LakeTable, name: &str, columns: Vec<(&str, i32, ArrayRef)>) -> DataFileBuilder {
    let field = |(name, id, array): &(&str, i32, ArrayRef)| {
        let id = [(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())];
        Field::new(*name, array.data_type().clone(), array.is_nullable()).with_metadata(id.into())
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, _, array)| array).collect()).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    let content = writer.into_inner().unwrap();
    let location = format!("{}/data/{name}.parquet", table.location());
    std::fs::write(path(&location), &content).unwrap();
    let mut file = DataFileBuilder::default();
    file.file_path(location)
        .file_format(DataFileFormat::Parquet)
        .record_count(batch.num_rows() as u64)
        .file_size_in_bytes(content.len() as u64);
    file
}

/// A position delete file.
pub(super) fn position_deletes(table: &LakeTable, name: &str, rows: &[(&str, i64)]) -> DataFileBuilder {
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(path, _)| path)));
    let positions: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, position)| *position)));
    let columns = vec![
        ("file_path", RESERVED_FIELD_ID_DELETE_FILE_PATH, paths),
        ("pos", RESERVED_FIELD_ID_DELETE_FILE_POS, positions),
    ];
    let mut file = parquet(table, name, columns);
    file.content(DataContentType::PositionDeletes);
    file
}

/// An equality delete file.
pub(super) fn equality_deletes(table: &LakeTable, name: &str, columns: Vec<(&str, i32, ArrayRef)>) -> DataFile {
    let ids = columns.iter().map(|(_, id, _)| *id).collect();
    let mut file = parquet(table, name, columns);
    file.content(DataContentType::EqualityDeletes).equality_ids(Some(ids)).build().unwrap()
}

/// Commits delete files as a snapshot of their own, in this format version.
pub(super) async fn commit_deletes(
    warehouse: &Arc<Warehouse>,
    table: &LakeTable,
    version: FormatVersion,
    deletes: Vec<DataFile>,
) -> Arc<LakeTable> {
    let io = FileIO::new_with_memory();
    let before = metadata(table);
    let (id, number) = (before.next_sequence_number() * 1000, before.next_sequence_number());
    let folder = format!("{}/metadata/foreign-{number}", table.location());
    let manifest_path = format!("{folder}-m0.avro");
    let output = io.new_output(&manifest_path).unwrap();
    let (schema, spec) = (before.current_schema().clone(), before.default_partition_spec().as_ref().clone());
    let builder = ManifestWriterBuilder::new(output, Some(id), schema, spec);
    let mut manifest = match version {
        FormatVersion::V3 => builder.build_v3_deletes(),
        _ => builder.build_v2_deletes(),
    };
    for file in deletes {
        manifest.add_file(file, UNASSIGNED_SEQUENCE_NUMBER).unwrap();
    }
    let manifest = manifest.write_manifest_file().await.unwrap();
    assert_eq!(manifest.content, ManifestContentType::Deletes);

    let parent = before.current_snapshot().unwrap();
    let kept = std::fs::read(path(parent.manifest_list())).unwrap();
    let kept = ManifestList::parse_with_version(&kept, before.format_version()).unwrap();
    let list_path = format!("{folder}-list.avro");
    let output = io.new_output(&list_path).unwrap().writer().await.unwrap();
    let parent_id = Some(parent.snapshot_id());
    let first = before.next_row_id();
    let mut list = match version {
        FormatVersion::V3 => ManifestListWriter::v3(output, id, parent_id, number, Some(first)),
        _ => ManifestListWriter::v2(output, id, parent_id, number),
    };
    list.add_manifests([manifest].into_iter().chain(kept.consume_entries())).unwrap();
    let assigned = list.next_row_id().unwrap_or(first) - first;
    list.close().await.unwrap();

    let mut summary = parent.summary().additional_properties.clone();
    summary.insert("total-delete-files".to_owned(), "1".to_owned());
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent_id)
        .with_sequence_number(number)
        .with_timestamp_ms(before.last_updated_ms() + 1)
        .with_manifest_list(list_path.clone())
        .with_summary(Summary { operation: Operation::Delete, additional_properties: summary })
        .with_schema_id(before.current_schema_id())
        .with_row_range(first, assigned)
        .build();
    let builder = before.into_builder(Some(table.metadata_location().to_owned()));
    let builder = builder.upgrade_format_version(version).unwrap();
    let after = builder.set_branch_snapshot(snapshot, "main").unwrap().build().unwrap().metadata;
    for location in [manifest_path, list_path] {
        let content = io.new_input(&location).unwrap().read().await.unwrap();
        std::fs::write(path(&location), content).unwrap();
    }
    let location = format!("{}/metadata/{number:05}-foreign.metadata.json", table.location());
    std::fs::write(path(&location), serde_json::to_vec(&after).unwrap()).unwrap();
    warehouse.load(&location).await.unwrap()
}

/// The same rows as a table of format version 1, as it was before row-level deletes and sequence numbers: manifest, manifest list
/// and metadata file are written anew. The manifest list leaves out what it may.
pub(super) async fn as_version_1(warehouse: &Arc<Warehouse>, table: &LakeTable) -> Arc<LakeTable> {
    let before = metadata(table);
    let snapshot = before.current_snapshot().unwrap();
    let (io, id) = (FileIO::new_with_memory(), snapshot.snapshot_id());
    let list = std::fs::read(path(snapshot.manifest_list())).unwrap();
    let list = ManifestList::parse_with_version(&list, before.format_version()).unwrap();
    let folder = format!("{}/metadata/v1", table.location());
    let manifest_path = format!("{folder}-m0.avro");
    let output = io.new_output(&manifest_path).unwrap();
    let (schema, spec) = (before.current_schema().clone(), before.default_partition_spec().as_ref().clone());
    let mut manifest = ManifestWriterBuilder::new(output, Some(id), schema.clone(), spec).build_v1();
    for file in list.entries() {
        let content = std::fs::read(path(&file.manifest_path)).unwrap();
        for entry in iceberg::spec::Manifest::parse_avro(&content).unwrap().entries() {
            manifest.add_file(entry.data_file.clone(), 0).unwrap();
        }
    }
    let mut manifest = manifest.write_manifest_file().await.unwrap();
    (manifest.added_rows_count, manifest.existing_rows_count, manifest.deleted_rows_count) = (None, None, None);
    let list_path = format!("{folder}-list.avro");
    let output = io.new_output(&list_path).unwrap().writer().await.unwrap();
    let mut list = ManifestListWriter::v1(output, id, None);
    list.add_manifests([manifest].into_iter()).unwrap();
    list.close().await.unwrap();
    for location in [manifest_path, list_path.clone()] {
        let content = io.new_input(&location).unwrap().read().await.unwrap();
        std::fs::write(path(&location), content).unwrap();
    }
    let schema = serde_json::to_value(schema.as_ref()).unwrap();
    let now = before.last_updated_ms();
    let written = serde_json::json!({
        "format-version": 1,
        "table-uuid": before.uuid(),
        "location": before.location(),
        "last-updated-ms": now,
        "last-column-id": before.last_column_id(),
        "schema": schema,
        "partition-spec": [],
        "properties": {},
        "current-snapshot-id": id,
        "snapshots": [{ "snapshot-id": id, "timestamp-ms": now, "manifest-list": list_path }],
        "snapshot-log": [{ "snapshot-id": id, "timestamp-ms": now }],
    });
    let location = format!("{folder}.metadata.json");
    std::fs::write(path(&location), written.to_string()).unwrap();
    warehouse.load(&location).await.unwrap()
}
