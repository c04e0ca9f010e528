//! Manifests and manifest lists: parsed, and encoded into bytes.
//!
//! The Avro is Iceberg's own; nothing here touches the object store. What always holds: entries that come out of
//! [`parse`] have their snapshot id and sequence numbers, inherited from the manifest list where the manifest leaves them out.

use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, FormatVersion, Manifest, ManifestContentType, ManifestEntry,
    ManifestEntryRef, ManifestFile, ManifestList, ManifestListWriter, ManifestStatus, ManifestWriterBuilder,
    PartitionSpec, SchemaRef, UNASSIGNED_SEQUENCE_NUMBER,
};

use crate::error::LakeError;
use crate::metadata::guarded;

/// The entries of one manifest.
pub(crate) type Entries = Arc<Vec<ManifestEntryRef>>;

/// What goes into a new manifest.
pub(crate) enum Contents {
    /// Files that the snapshot adds.
    Added(Vec<DataFile>),
    /// Entries of older manifests that live on; others among them are left out.
    Existing(Vec<ManifestEntryRef>),
    /// Files that the snapshot removes; entries that are not alive are left out.
    Deleted(Vec<ManifestEntryRef>),
}

/// A manifest on its way into the store.
pub(crate) struct NewManifest {
    /// As it stands in the manifest list of the snapshot that adds it.
    pub(crate) file: ManifestFile,
    pub(crate) content: Bytes,
    /// What [`parse`] would make of the content.
    pub(crate) entries: Entries,
}

/// The snapshot for which manifests are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewSnapshot {
    pub(crate) id: i64,
    pub(crate) parent: Option<i64>,
    pub(crate) sequence_number: i64,
    /// The format version of the table, 2 at least.
    pub(crate) version: FormatVersion,
    /// The id of its first new row (format version 3).
    pub(crate) first_row_id: u64,
}

/// Parses a manifest list.
pub(crate) fn parse_list(
    location: &str,
    content: &[u8],
    version: FormatVersion,
) -> Result<Vec<ManifestFile>, LakeError> {
    guarded(location, || {
        ManifestList::parse_with_version(content, version)
            .map(|list| list.consume_entries().into_iter().collect())
            .map_err(|error| LakeError::corrupt(location, error))
    })
}

/// Parses the content of a manifest. Avro does not notice when whole blocks are missing at its end, so the length and the
/// number of entries must be those of the manifest list.
pub(crate) fn parse(file: &ManifestFile, content: &[u8]) -> Result<Entries, LakeError> {
    let location = &file.manifest_path;
    let length = content.len() as i64;
    if length != file.manifest_length {
        let reason = format!("it has {length} bytes instead of {}", file.manifest_length);
        return Err(LakeError::corrupt(location, reason));
    }
    let entries = guarded(location, || {
        let manifest = Manifest::parse_avro(content).map_err(|error| LakeError::corrupt(location, error))?;
        let (entries, _) = manifest.into_parts();
        Ok(entries.into_iter().map(|entry| inherit(entry, file)).collect::<Vec<_>>())
    })?;
    let counts = [file.added_files_count, file.existing_files_count, file.deleted_files_count];
    let expected = counts.into_iter().map(|count| Some(count? as usize)).sum::<Option<usize>>();
    if expected.is_some_and(|expected| expected != entries.len()) {
        let reason = format!("it has {} entries instead of {}", entries.len(), expected.unwrap_or(0));
        return Err(LakeError::corrupt(location, reason));
    }
    with_row_ids(file, &Arc::new(entries))
}

/// The entries of a manifest, with the ids of their first rows where these come from the manifest list:
/// <https://iceberg.apache.org/spec/#first-row-id-inheritance>.
pub(crate) fn with_row_ids(file: &ManifestFile, entries: &Entries) -> Result<Entries, LakeError> {
    let Some(mut next) = file.first_row_id else { return Ok(Arc::clone(entries)) };
    let mut inherited = Vec::with_capacity(entries.len());
    for entry in entries.iter() {
        if !entry.is_alive() || entry.data_file.first_row_id().is_some() {
            inherited.push(Arc::clone(entry));
            continue;
        }
        let id = i64::try_from(next).map_err(|error| LakeError::corrupt(&file.manifest_path, error))?;
        let data_file = with_first_row_id(&entry.data_file, file.partition_spec_id, id);
        let data_file = data_file.map_err(|error| LakeError::metadata(&file.manifest_path, error))?;
        next = next.saturating_add(entry.record_count());
        inherited.push(Arc::new(ManifestEntry { data_file, ..ManifestEntry::clone(entry) }));
    }
    Ok(Arc::new(inherited))
}

/// A data file with another first row id, which Iceberg's own type does not let be set.
fn with_first_row_id(file: &DataFile, spec_id: i32, id: i64) -> Result<DataFile, impl std::fmt::Display> {
    let mut copy = DataFileBuilder::default();
    copy.content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(Some(id))
        .partition_spec_id(spec_id)
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(order) = file.sort_order_id() {
        copy.sort_order_id(order);
    }
    copy.build()
}

/// The name of the entries of a manifest in a cache. What they inherit is part of it: the first row id of a manifest is assigned by
/// the snapshot that lists it first, and two that race may differ.
pub(crate) fn cache_key(file: &ManifestFile) -> String {
    match file.first_row_id {
        Some(id) => format!("{}\0{id}", file.manifest_path),
        None => file.manifest_path.clone(),
    }
}

/// What an entry leaves out comes from the manifest list: <https://iceberg.apache.org/spec/#sequence-number-inheritance>.
fn inherit(entry: ManifestEntryRef, file: &ManifestFile) -> ManifestEntryRef {
    let mut entry = Arc::unwrap_or_clone(entry);
    entry.snapshot_id = entry.snapshot_id.or(Some(file.added_snapshot_id));
    if entry.status == ManifestStatus::Added || file.sequence_number == 0 {
        entry.sequence_number = entry.sequence_number.or(Some(file.sequence_number));
        entry.file_sequence_number = entry.file_sequence_number.or(Some(file.sequence_number));
    }
    Arc::new(entry)
}

/// Encodes a manifest of data files, or of delete files.
pub(crate) async fn encode(
    location: &str,
    snapshot: NewSnapshot,
    schema: SchemaRef,
    spec: PartitionSpec,
    contents: Contents,
) -> Result<NewManifest, LakeError> {
    let failed = |error: iceberg::Error| LakeError::metadata(location, error);
    let io = FileIO::new_with_memory();
    let output = io.new_output(location).map_err(failed)?;
    let entries = entries_of(contents, snapshot);
    let deletes = entries.iter().any(|entry| entry.data_file.content_type() != DataContentType::Data);
    let builder = ManifestWriterBuilder::new(output, Some(snapshot.id), schema, spec);
    let mut writer = match (snapshot.version, deletes) {
        (FormatVersion::V1 | FormatVersion::V2, false) => builder.build_v2_data(),
        (FormatVersion::V1 | FormatVersion::V2, true) => builder.build_v2_deletes(),
        (FormatVersion::V3, false) => builder.build_v3_data(),
        (FormatVersion::V3, true) => builder.build_v3_deletes(),
    };
    for entry in &entries {
        let file = entry.data_file.clone();
        let numbers = (entry.snapshot_id, entry.sequence_number, entry.file_sequence_number);
        match (entry.status, numbers) {
            (ManifestStatus::Added, _) => writer.add_file(file, UNASSIGNED_SEQUENCE_NUMBER),
            (ManifestStatus::Existing, (Some(id), Some(number), of_file)) => {
                writer.add_existing_file(file, id, number, of_file)
            }
            (ManifestStatus::Deleted, (_, Some(number), of_file)) => writer.add_delete_file(file, number, of_file),
            _ => {
                let path = file.file_path();
                return Err(LakeError::metadata(location, format!("{path} has no sequence number")));
            }
        }
        .map_err(failed)?;
    }
    let mut file = writer.write_manifest_file().await.map_err(failed)?;
    assign_sequence_number(&mut file, snapshot.sequence_number);
    let content = async { io.new_input(location)?.read().await }.await.map_err(failed)?;
    Ok(NewManifest { file, content, entries: Arc::new(entries.into_iter().map(Arc::new).collect()) })
}

/// The entries as a reader will see them.
fn entries_of(contents: Contents, snapshot: NewSnapshot) -> Vec<ManifestEntry> {
    let alive = |entry: &ManifestEntryRef| entry.is_alive();
    match contents {
        Contents::Added(files) => files
            .into_iter()
            .map(|data_file| ManifestEntry {
                status: ManifestStatus::Added,
                snapshot_id: Some(snapshot.id),
                sequence_number: Some(snapshot.sequence_number),
                file_sequence_number: Some(snapshot.sequence_number),
                data_file,
            })
            .collect(),
        Contents::Existing(entries) => entries
            .into_iter()
            .filter(alive)
            .map(|entry| ManifestEntry { status: ManifestStatus::Existing, ..Arc::unwrap_or_clone(entry) })
            .collect(),
        Contents::Deleted(entries) => entries
            .into_iter()
            .filter(alive)
            .map(|entry| ManifestEntry {
                status: ManifestStatus::Deleted,
                snapshot_id: Some(snapshot.id),
                ..Arc::unwrap_or_clone(entry)
            })
            .collect(),
    }
}

/// What the writer of the manifest list would fill in; done here so that the list in memory equals the one in the store.
fn assign_sequence_number(file: &mut ManifestFile, sequence_number: i64) {
    if file.sequence_number == UNASSIGNED_SEQUENCE_NUMBER {
        file.sequence_number = sequence_number;
    }
    if file.min_sequence_number == UNASSIGNED_SEQUENCE_NUMBER {
        file.min_sequence_number = sequence_number;
    }
}

/// Encodes a manifest list.
pub(crate) async fn encode_list(
    location: &str,
    snapshot: NewSnapshot,
    manifests: &[ManifestFile],
) -> Result<Bytes, LakeError> {
    let encoded = async {
        let io = FileIO::new_with_memory();
        let output = io.new_output(location)?.writer().await?;
        let NewSnapshot { id, parent, sequence_number, version, first_row_id } = snapshot;
        let mut writer = match version {
            FormatVersion::V1 | FormatVersion::V2 => ManifestListWriter::v2(output, id, parent, sequence_number),
            FormatVersion::V3 => ManifestListWriter::v3(output, id, parent, sequence_number, Some(first_row_id)),
        };
        writer.add_manifests(manifests.iter().cloned())?;
        writer.close().await?;
        io.new_input(location)?.read().await
    };
    encoded.await.map_err(|error| LakeError::metadata(location, error))
}

/// Whether a manifest lists any file that is still there.
pub(crate) fn is_live(file: &ManifestFile) -> bool {
    file.has_added_files() || file.has_existing_files()
}

/// Whether a manifest lists row-level deletes.
pub(crate) fn has_deletes(file: &ManifestFile) -> bool {
    file.content == ManifestContentType::Deletes && is_live(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use iceberg::spec::{
        DataContentType, DataFileBuilder, DataFileFormat, Datum, NestedField, PrimitiveType, Schema, Type,
    };

    use super::*;

    const SNAPSHOT: NewSnapshot =
        NewSnapshot { id: 42, parent: Some(41), sequence_number: 7, version: FormatVersion::V2, first_row_id: 0 };

    fn schema() -> SchemaRef {
        let field = NestedField::optional(1, "a", Type::Primitive(PrimitiveType::String));
        Arc::new(Schema::builder().with_fields([Arc::new(field)]).build().unwrap())
    }

    fn data_file(name: &str) -> DataFile {
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(format!("file:///t/data/{name}"))
            .file_format(DataFileFormat::Parquet)
            .record_count(10)
            .file_size_in_bytes(1000)
            .value_counts(HashMap::from([(1, 10)]))
            .null_value_counts(HashMap::from([(1, 1)]))
            .lower_bounds(HashMap::from([(1, Datum::string("aa"))]))
            .upper_bounds(HashMap::from([(1, Datum::string("zz"))]))
            .split_offsets(Some(vec![4, 500]))
            .build()
            .unwrap()
    }

    async fn encoded(contents: Contents) -> NewManifest {
        let spec = PartitionSpec::unpartition_spec();
        encode("file:///t/metadata/m.avro", SNAPSHOT, schema(), spec, contents).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_kept_in_memory_is_what_a_reader_parses() {
        let added = encoded(Contents::Added(vec![data_file("1"), data_file("2")])).await;
        assert_eq!(parse(&added.file, &added.content).unwrap(), added.entries);
        assert_eq!((added.file.sequence_number, added.file.added_rows_count), (7, Some(20)));

        let older = added.entries.iter().map(|entry| {
            let mut entry = (**entry).clone();
            entry.snapshot_id = Some(3);
            entry.sequence_number = Some(2);
            entry.file_sequence_number = Some(2);
            Arc::new(entry)
        });
        let older: Vec<_> = older.collect();
        let existing = encoded(Contents::Existing(older.clone())).await;
        assert_eq!(parse(&existing.file, &existing.content).unwrap(), existing.entries);
        assert_eq!(existing.entries[0].snapshot_id, Some(3));
        assert_eq!(existing.file.min_sequence_number, 2);
        let deleted = encoded(Contents::Deleted(older)).await;
        assert_eq!(parse(&deleted.file, &deleted.content).unwrap(), deleted.entries);
        assert!(!is_live(&deleted.file) && is_live(&existing.file));

        let files = [added.file, existing.file, deleted.file];
        let list = encode_list("file:///t/metadata/l.avro", SNAPSHOT, &files).await.unwrap();
        assert_eq!(parse_list("l", &list, FormatVersion::V2).unwrap(), files);
    }

    #[tokio::test]
    async fn damage_is_an_error_that_names_the_file_and_never_a_panic() {
        let manifest = encoded(Contents::Added(vec![data_file("1")])).await;
        for length in 0..manifest.content.len() {
            let mut file = manifest.file.clone();
            let content = &manifest.content[..length];
            let error = parse(&file, content).unwrap_err();
            let expected = "file \"file:///t/metadata/m.avro\" is damaged";
            assert!(error.to_string().starts_with(expected), "{error}");
            // Even if the length were right, an entry that is missing is noticed.
            file.manifest_length = length as i64;
            parse(&file, content).unwrap_err();
        }
        for i in 0..manifest.content.len() {
            let mut damaged = manifest.content.to_vec();
            damaged[i] ^= 0x55;
            let _ = parse(&manifest.file, &damaged);
        }
        let list = encode_list("l", SNAPSHOT, &[manifest.file]).await.unwrap();
        for i in 0..list.len() {
            let mut damaged = list.to_vec();
            damaged[i] ^= 0x55;
            let _ = parse_list("l", &damaged, FormatVersion::V2);
            let _ = parse_list("l", &list[..i], FormatVersion::V2);
        }
    }
}
