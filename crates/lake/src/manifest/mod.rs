//! Manifests and manifest lists: parsed, and encoded into bytes.
//!
//! Nothing here touches the object store. What always holds: entries that come out of [`parse`] have their snapshot id and
//! sequence numbers, inherited from the manifest list where the manifest leaves them out. Manifests are read column by column (`read`,
//! `entries`, `by_field`, `promoted`), since there may be very many entries; lists, which are short, are read and everything is written by Iceberg's
//! own library.

mod by_field;
mod described;
mod entries;
mod promoted;
mod read;

use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, FormatVersion, ManifestContentType, ManifestEntry, ManifestFile, ManifestList,
    ManifestListWriter, ManifestStatus, ManifestWriterBuilder, PartitionSpec, SchemaRef, UNASSIGNED_SEQUENCE_NUMBER,
};

use crate::error::LakeError;
use crate::metadata::guarded;
pub(crate) use described::Described;
pub(crate) use entries::{Entries, Entry};

/// What goes into a new manifest.
pub(crate) enum Contents {
    /// Files that the snapshot adds.
    Added(Vec<DataFile>),
    /// Entries of older manifests that live on; others among them are left out.
    Existing(Vec<Entry>),
    /// Files that the snapshot removes; entries that are not alive are left out.
    Deleted(Vec<Entry>),
}

/// A manifest on its way into the store.
pub(crate) struct NewManifest {
    /// As it stands in the manifest list of the snapshot that adds it.
    pub(crate) file: ManifestFile,
    pub(crate) content: Bytes,
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

/// Parses the content of a manifest.
///
/// # Errors
/// A manifest that is damaged.
pub(crate) fn parse(file: &ManifestFile, content: &[u8]) -> Result<Entries, LakeError> {
    let location = &file.manifest_path;
    let length = content.len() as i64;
    if length != file.manifest_length {
        let reason = format!("it has {length} bytes instead of {}", file.manifest_length);
        return Err(LakeError::corrupt(location, reason));
    }
    guarded(location, || {
        let columns = read::read(file, content).map_err(|reason| LakeError::corrupt(location, reason))?;
        Ok(Entries(Arc::new(columns)))
    })
}

/// The name of the entries of a manifest in a cache. What they inherit is part of it: the first row id of a manifest is assigned by
/// the snapshot that lists it first, and two that race may differ.
pub(crate) fn cache_key(file: &ManifestFile) -> String {
    match file.first_row_id {
        Some(id) => format!("{}\0{id}", file.manifest_path),
        None => file.manifest_path.clone(),
    }
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
    let entries = entries_of(contents, snapshot)?;
    let deletes = entries.iter().any(|entry| entry.data_file.content_type() != DataContentType::Data);
    let builder = ManifestWriterBuilder::new(output, Some(snapshot.id), schema, spec);
    let mut writer = match (snapshot.version, deletes) {
        (FormatVersion::V1 | FormatVersion::V2, false) => builder.build_v2_data(),
        (FormatVersion::V1 | FormatVersion::V2, true) => builder.build_v2_deletes(),
        (FormatVersion::V3, false) => builder.build_v3_data(),
        (FormatVersion::V3, true) => builder.build_v3_deletes(),
    };
    for entry in entries {
        let numbers = (entry.snapshot_id, entry.sequence_number, entry.file_sequence_number);
        let file = entry.data_file;
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
    Ok(NewManifest { file, content })
}

/// The entries as a reader will see them.
fn entries_of(contents: Contents, snapshot: NewSnapshot) -> Result<Vec<ManifestEntry>, LakeError> {
    let alive = |entries: Vec<Entry>| entries.into_iter().filter(Entry::is_alive);
    match contents {
        Contents::Added(files) => Ok(files
            .into_iter()
            .map(|data_file| ManifestEntry {
                status: ManifestStatus::Added,
                snapshot_id: Some(snapshot.id),
                sequence_number: Some(snapshot.sequence_number),
                file_sequence_number: Some(snapshot.sequence_number),
                data_file,
            })
            .collect()),
        Contents::Existing(entries) => alive(entries)
            .map(|entry| Ok(ManifestEntry { status: ManifestStatus::Existing, ..entry.whole()? }))
            .collect(),
        Contents::Deleted(entries) => alive(entries)
            .map(|entry| {
                let gone = ManifestEntry { snapshot_id: Some(snapshot.id), ..entry.whole()? };
                Ok(ManifestEntry { status: ManifestStatus::Deleted, ..gone })
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

/// A data file of an unpartitioned table as a manifest says it.
#[cfg(test)]
pub(crate) fn entry_of(schema: iceberg::spec::Schema, file: DataFile) -> Entry {
    let snapshot = NewSnapshot { id: 1, parent: None, sequence_number: 1, version: FormatVersion::V2, first_row_id: 0 };
    let contents = Contents::Added(vec![file]);
    let encoded = encode("memory:///m.avro", snapshot, Arc::new(schema), PartitionSpec::unpartition_spec(), contents);
    let made = futures::executor::block_on(encoded).expect("a manifest of a file can be written");
    let entries = parse(&made.file, &made.content).expect("what was written can be read");
    entries.iter().next().expect("it has one file")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use iceberg::spec::{
        DataContentType, DataFileBuilder, DataFileFormat, Datum, Literal, Manifest, NestedField, PrimitiveType, Schema,
        Struct, Transform, Type,
    };

    use super::*;

    const SNAPSHOT: NewSnapshot =
        NewSnapshot { id: 42, parent: Some(41), sequence_number: 7, version: FormatVersion::V2, first_row_id: 0 };

    fn schema() -> SchemaRef {
        let types = [
            PrimitiveType::String,
            PrimitiveType::Long,
            PrimitiveType::Date,
            PrimitiveType::Timestamptz,
            PrimitiveType::Decimal { precision: 20, scale: 2 },
            PrimitiveType::Binary,
            PrimitiveType::Uuid,
            PrimitiveType::Boolean,
            PrimitiveType::Int,
            PrimitiveType::Time,
        ];
        let fields = (1..).zip(types);
        let fields = fields.map(|(id, ty)| Arc::new(NestedField::optional(id, format!("c{id}"), Type::Primitive(ty))));
        Arc::new(Schema::builder().with_fields(fields).build().unwrap())
    }

    fn builder(name: &str) -> DataFileBuilder {
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::Data)
            .file_path(format!("file:///t/data/{name}"))
            .file_format(DataFileFormat::Parquet)
            .record_count(10)
            .file_size_in_bytes(1000)
            .column_sizes(HashMap::from([(1, 50), (2, 60)]))
            .value_counts(HashMap::from([(1, 10), (2, 10)]))
            .null_value_counts(HashMap::from([(1, 1), (2, 0)]))
            .lower_bounds(HashMap::from([(1, Datum::string("aa")), (2, Datum::long(-5))]))
            .upper_bounds(HashMap::from([(1, Datum::string("zz")), (2, Datum::long(5))]))
            .split_offsets(Some(vec![4, 500]));
        builder
    }

    fn data_file(name: &str) -> DataFile {
        builder(name).build().unwrap()
    }

    async fn encoded_as(snapshot: NewSnapshot, spec: PartitionSpec, contents: Contents) -> NewManifest {
        encode("file:///t/metadata/m.avro", snapshot, schema(), spec, contents).await.unwrap()
    }

    async fn encoded(contents: Contents) -> NewManifest {
        encoded_as(SNAPSHOT, PartitionSpec::unpartition_spec(), contents).await
    }

    /// Holds what is read of a manifest against what Iceberg's own library reads of it; gives the former.
    fn compared(manifest: &NewManifest) -> Entries {
        let entries = parse(&manifest.file, &manifest.content).unwrap();
        let (expected, _) = Manifest::parse_avro(&manifest.content).unwrap().into_parts();
        let expected: Vec<_> = expected.into_iter().map(|entry| inherited(&entry, &manifest.file)).collect();
        let read: Vec<_> = entries.iter().map(|entry| entry.whole().unwrap()).collect();
        assert_eq!(read, expected);
        entries
    }

    fn inherited(entry: &ManifestEntry, file: &ManifestFile) -> ManifestEntry {
        let mut entry = entry.clone();
        entry.snapshot_id = entry.snapshot_id.or(Some(file.added_snapshot_id));
        if entry.status == ManifestStatus::Added {
            entry.sequence_number = entry.sequence_number.or(Some(file.sequence_number));
            entry.file_sequence_number = entry.file_sequence_number.or(Some(file.sequence_number));
        }
        entry
    }

    #[tokio::test]
    async fn what_is_read_is_what_was_written() {
        let added = encoded(Contents::Added(vec![data_file("1"), data_file("2")])).await;
        let entries = compared(&added);
        assert_eq!((added.file.sequence_number, added.file.added_rows_count), (7, Some(20)));
        let first = entries.iter().next().unwrap();
        assert_eq!(
            (first.snapshot_id(), first.sequence_number(), first.status()),
            (Some(42), Some(7), ManifestStatus::Added)
        );

        let later = NewSnapshot { id: 43, sequence_number: 8, ..SNAPSHOT };
        let existing = Contents::Existing(entries.iter().collect());
        let existing = encoded_as(later, PartitionSpec::unpartition_spec(), existing).await;
        let kept = compared(&existing).iter().next().unwrap();
        assert_eq!((kept.snapshot_id(), kept.sequence_number(), kept.is_alive()), (Some(42), Some(7), true));
        assert_eq!((existing.file.min_sequence_number, existing.file.sequence_number), (7, 8));
        let deleted = Contents::Deleted(entries.iter().collect());
        let deleted = encoded_as(later, PartitionSpec::unpartition_spec(), deleted).await;
        let gone = compared(&deleted).iter().next().unwrap();
        assert_eq!((gone.snapshot_id(), gone.sequence_number(), gone.is_alive()), (Some(43), Some(7), false));
        assert!(!is_live(&deleted.file) && is_live(&existing.file));

        let files = [added.file, existing.file, deleted.file];
        let list = encode_list("file:///t/metadata/l.avro", SNAPSHOT, &files).await.unwrap();
        assert_eq!(parse_list("l", &list, FormatVersion::V2).unwrap(), files);
    }

    #[tokio::test]
    async fn nothing_of_an_entry_is_lost() {
        let mut spec = PartitionSpec::builder(schema()).with_spec_id(0);
        for column in ["c1", "c2", "c3", "c4", "c5", "c6", "c8", "c10"] {
            spec = spec.add_partition_field(column, column, Transform::Identity).unwrap();
        }
        let spec = spec.add_partition_field("c9", "c9_bucket", Transform::Bucket(16)).unwrap().build().unwrap();
        let values = [
            Literal::string("a/ä"),
            Literal::long(i64::MIN),
            Literal::date(-1),
            Literal::timestamp(1_700_000_000_000_001),
            Literal::decimal(-12345),
            Literal::binary(vec![0, 255]),
            Literal::bool(true),
            Literal::time(86_399_999_999),
            Literal::int(15),
        ];
        let full = builder("full")
            .partition(Struct::from_iter(values.map(Some)))
            .nan_value_counts(HashMap::from([(2, 0)]))
            .sort_order_id(3)
            .build()
            .unwrap();
        // Another order of columns, and columns that others have not.
        let sparse = builder("sparse")
            .partition(std::iter::repeat_n(None, 9).collect())
            .column_sizes(HashMap::from([(9, 1)]))
            .lower_bounds(HashMap::new())
            .split_offsets(None)
            .build()
            .unwrap();
        for version in [FormatVersion::V2, FormatVersion::V3] {
            let snapshot = NewSnapshot { version, ..SNAPSHOT };
            let files = vec![full.clone(), sparse.clone()];
            let made = encoded_as(snapshot, spec.clone(), Contents::Added(files)).await;
            let entries = compared(&made);
            assert_eq!(entries.len(), 2);
            let sparse = entries.iter().nth(1).unwrap();
            assert_eq!((sparse.column_size(9), sparse.column_size(1)), (Some(1), None));
            assert_eq!((sparse.partition_value(0), sparse.partition_value(9)), (Some(None), None));

            let deletes = builder("deletes")
                .content(DataContentType::PositionDeletes)
                .partition(std::iter::repeat_n(None, 9).collect())
                .referenced_data_file(Some("file:///t/data/full".to_owned()))
                .content_offset(Some(4))
                .content_size_in_bytes(Some(40))
                .build();
            let equality = builder("equality")
                .content(DataContentType::EqualityDeletes)
                .partition(std::iter::repeat_n(None, 9).collect())
                .equality_ids(Some(vec![2, 1]))
                .build();
            let files = vec![deletes.unwrap(), equality.unwrap()];
            compared(&encoded_as(snapshot, spec.clone(), Contents::Added(files)).await);
        }
    }

    /// pyiceberg writes the ids as longs, which Avro encodes as it does integers.
    #[tokio::test]
    async fn ids_of_equality_deletes_may_be_longs() {
        let file = builder("equality").content(DataContentType::EqualityDeletes).equality_ids(Some(vec![2, 1])).build();
        let made = encoded(Contents::Added(vec![file.unwrap()])).await;
        let mut content = made.content.to_vec();
        let mut replace = |old: &str, new: &str| {
            let at = content.windows(old.len()).position(|window| window == old.as_bytes()).unwrap();
            content.splice(at..at + old.len(), new.bytes());
        };
        // The header says how long the schema is.
        replace("\"items\":\"int\"", "\"items\":\"long\"");
        replace("\"element-id\":136", "\"element-id\":13");
        let entries = parse(&made.file, &content).unwrap();
        assert_eq!(entries.iter().next().unwrap().equality_ids(), Some(vec![2, 1]));
    }

    #[tokio::test]
    async fn row_ids_come_from_the_list() {
        let snapshot = NewSnapshot { version: FormatVersion::V3, ..SNAPSHOT };
        let numbered = builder("2").first_row_id(Some(5)).build().unwrap();
        let files = vec![data_file("1"), numbered, data_file("3")];
        let mut made = encoded_as(snapshot, PartitionSpec::unpartition_spec(), Contents::Added(files)).await;
        made.file.first_row_id = Some(100);
        let entries = parse(&made.file, &made.content).unwrap();
        let ids = entries.iter().map(|entry| entry.whole().unwrap().data_file.first_row_id());
        assert_eq!(ids.collect::<Vec<_>>(), [Some(100), Some(5), Some(110)]);
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
