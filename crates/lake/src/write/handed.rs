//! Written files as bytes, for the node that commits what another has written.
//!
//! What always holds: what arrives is what left, to the last bound. The bytes are those of a manifest that lists the files: so they go
//! the way that the files of every commit go, once more.

use iceberg::spec::{DataFile, FormatVersion, ManifestContentType, ManifestFile, PartitionSpec};

use super::WrittenFile;
use crate::error::LakeError;
use crate::manifest::{self, Contents, NewSnapshot};
use crate::partition;
use crate::table::LakeTable;

/// What such a manifest is called. It is on no store.
const NAME: &str = "memory:///handed-on.avro";
/// The snapshot that it says it is of. Whoever commits the files has another.
const SNAPSHOT: NewSnapshot =
    NewSnapshot { id: 1, parent: None, sequence_number: 1, version: FormatVersion::V2, first_row_id: 0 };

impl WrittenFile {
    /// Files that were written under one partition spec of a table, as bytes: see [`WrittenFile::handed_on`].
    ///
    /// # Errors
    /// A table that does not know the spec, and files that cannot be described.
    pub async fn hand_on(table: &LakeTable, files: &[WrittenFile]) -> Result<Vec<u8>, LakeError> {
        let spec_id = files.first().map_or(0, |file| file.spec_id);
        let files = files.iter().map(|file| file.data_file.clone()).collect();
        to_bytes(table, spec_id, files).await
    }

    /// The files that the bytes are of, which are their taker's to commit or to remove.
    ///
    /// # Errors
    /// What no node of ours has written.
    pub fn handed_on(bytes: &[u8]) -> Result<Vec<WrittenFile>, LakeError> {
        from_bytes(bytes)
    }
}

/// Files that were written under one partition spec of a table, as bytes.
///
/// # Errors
/// A table that does not know the spec, and files that cannot be described.
pub(super) async fn to_bytes(table: &LakeTable, spec_id: i32, files: Vec<DataFile>) -> Result<Vec<u8>, LakeError> {
    let metadata = table.metadata();
    let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
        let reason = format!("there is no partition specification {spec_id}");
        LakeError::corrupt(table.metadata_location(), reason)
    })?;
    let schema = partition::schema_of(metadata, table.iceberg_schema(), spec);
    let spec = PartitionSpec::clone(spec);
    let listed = manifest::encode(NAME, SNAPSHOT, schema, spec, Contents::Added(files)).await?;
    let mut bytes = spec_id.to_le_bytes().to_vec();
    bytes.extend_from_slice(&listed.content);
    Ok(bytes)
}

/// The files that the bytes are of.
///
/// # Errors
/// What no node of ours has written.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<Vec<WrittenFile>, LakeError> {
    let Some((spec_id, content)) = bytes.split_first_chunk::<4>() else {
        return Err(LakeError::corrupt(NAME, "it is too short"));
    };
    let spec_id = i32::from_le_bytes(*spec_id);
    let listed = ManifestFile {
        manifest_path: NAME.to_owned(),
        manifest_length: content.len() as i64,
        partition_spec_id: spec_id,
        content: ManifestContentType::Data,
        sequence_number: SNAPSHOT.sequence_number,
        min_sequence_number: SNAPSHOT.sequence_number,
        added_snapshot_id: SNAPSHOT.id,
        added_files_count: None,
        existing_files_count: None,
        deleted_files_count: None,
        added_rows_count: None,
        existing_rows_count: None,
        deleted_rows_count: None,
        partitions: None,
        key_metadata: None,
        first_row_id: None,
    };
    let entries = manifest::parse(&listed, content)?;
    entries.iter().map(|entry| Ok(WrittenFile { data_file: entry.whole()?.data_file, spec_id })).collect()
}
