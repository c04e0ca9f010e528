//! Which deletes apply to which data file: <https://iceberg.apache.org/spec/#scan-planning>.
//!
//! - A deletion vector: to the data file that it names, if that is not newer.
//! - Position deletes: to data files that are not newer, of the same partition (specification and values), and only to the one that
//!   is named or that the bounds leave, if there is such a one. None where there is a deletion vector.
//! - Equality deletes: to data files that are strictly older, of the same partition, or of any if their own
//!   specification has no partitions.
//!
//! Older and newer are by data sequence number.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{DataContentType, DataFileFormat, Datum, PrimitiveLiteral, Struct, TableMetadata};
use tokio::sync::Mutex;

use super::{DeleteFile, DeleteStore, FileDeletes, is_vector};
use crate::error::LakeError;
use crate::manifest::Entry;

/// A partition: the specification and the values.
type Partition = (i32, Struct);

/// The deletes of a snapshot, by what they apply to.
pub(crate) struct DeleteIndex {
    shared: Arc<DeleteStore>,
    vectors: HashMap<String, Arc<DeleteFile>>,
    /// Position deletes of one data file.
    of_file: HashMap<String, Vec<Arc<DeleteFile>>>,
    /// Position deletes of a partition.
    of_partition: HashMap<Partition, Vec<Arc<DeleteFile>>>,
    equality: HashMap<Partition, Vec<Arc<DeleteFile>>>,
    equality_everywhere: Vec<Arc<DeleteFile>>,
}

impl DeleteIndex {
    /// An index of delete files, each with the partition specification it was written under.
    ///
    /// # Errors
    /// Delete files in a format that is not read, encrypted ones, and entries that contradict the specification.
    pub(crate) fn new(
        shared: Arc<DeleteStore>,
        metadata: &TableMetadata,
        entries: impl IntoIterator<Item = (i32, Entry)>,
    ) -> Result<DeleteIndex, LakeError> {
        let mut index = DeleteIndex {
            shared,
            vectors: HashMap::new(),
            of_file: HashMap::new(),
            of_partition: HashMap::new(),
            equality: HashMap::new(),
            equality_everywhere: Vec::new(),
        };
        for (spec_id, entry) in entries {
            let spec = metadata.partition_spec_by_id(spec_id);
            let everywhere = spec.is_some_and(|spec| spec.is_unpartitioned());
            index.add(spec_id, everywhere, entry)?;
        }
        Ok(index)
    }

    fn add(&mut self, spec_id: i32, everywhere: bool, entry: Entry) -> Result<(), LakeError> {
        let file = &entry;
        let location = file.file_path().to_owned();
        if file.is_encrypted() {
            return Err(LakeError::Unsupported(format!("encrypted delete file \"{location}\"")));
        }
        let partition = || (spec_id, file.partition());
        let vector = is_vector(&entry);
        if !vector && file.file_format() != DataFileFormat::Parquet {
            let what = format!("delete file \"{location}\" of format {}", file.file_format());
            return Err(LakeError::Unsupported(what));
        }
        match file.content_type() {
            DataContentType::PositionDeletes if vector => {
                let data = file.referenced_data_file();
                let data = data.ok_or_else(|| LakeError::corrupt(&location, "its manifest names no data file"))?;
                let (data, path) = (data.to_owned(), self.shared.path(data));
                if self.vectors.insert(path, Arc::new(DeleteFile::new(entry))).is_some() {
                    let reason = format!("a second deletion vector of data file \"{data}\"");
                    return Err(LakeError::corrupt(&location, reason));
                }
            }
            DataContentType::PositionDeletes => {
                let list = match only_data_file(file) {
                    Some(data) => self.of_file.entry(self.shared.path(&data)).or_default(),
                    None => self.of_partition.entry(partition()).or_default(),
                };
                list.push(Arc::new(DeleteFile::new(entry)));
            }
            DataContentType::EqualityDeletes if everywhere => {
                self.equality_everywhere.push(Arc::new(DeleteFile::new(entry)));
            }
            DataContentType::EqualityDeletes => {
                let list = self.equality.entry(partition()).or_default();
                list.push(Arc::new(DeleteFile::new(entry)));
            }
            DataContentType::Data => {
                return Err(LakeError::corrupt(location, "it is a data file in a manifest of deletes"));
            }
        }
        Ok(())
    }

    /// What applies to a data file of a partition specification; none when nothing does.
    pub(crate) fn of(&self, spec_id: i32, data: &Entry) -> Option<Arc<FileDeletes>> {
        let location = data.file_path();
        let path = self.shared.path(location);
        let written = data.sequence_number().unwrap_or(0);
        let partition = (spec_id, data.partition());
        let not_newer = |delete: &&Arc<DeleteFile>| written <= delete.entry.sequence_number().unwrap_or(0);
        let older = |delete: &&Arc<DeleteFile>| written < delete.entry.sequence_number().unwrap_or(0);

        let vector = self.vectors.get(&path).filter(not_newer).cloned();
        let positions: Vec<_> = match &vector {
            Some(_) => Vec::new(),
            None => {
                let of_file = self.of_file.get(&path).into_iter().flatten();
                let of_partition = self.of_partition.get(&partition).into_iter().flatten();
                let of_partition = of_partition.filter(|delete| may_name(&delete.entry, location));
                of_file.chain(of_partition).filter(not_newer).cloned().collect()
            }
        };
        let of_partition = self.equality.get(&partition).into_iter().flatten();
        let equality: Vec<_> = of_partition.chain(&self.equality_everywhere).filter(older).cloned().collect();
        if vector.is_none() && positions.is_empty() && equality.is_empty() {
            return None;
        }
        let (shared, data) = (Arc::clone(&self.shared), data.clone());
        Some(Arc::new(FileDeletes { shared, data, vector, positions, equality, loading: Mutex::new(()) }))
    }
}

/// The only data file that position deletes name: the manifest says so, or both bounds of the paths are the same. (A shortened
/// bound is not the same as its counterpart.)
pub(crate) fn only_data_file(file: &Entry) -> Option<String> {
    file.referenced_data_file().map(str::to_owned).or_else(|| {
        let (lower, upper) = path_bounds(file);
        lower.filter(|lower| Some(lower) == upper.as_ref())
    })
}

/// Whether the bounds of the paths leave room for a data file.
fn may_name(file: &Entry, location: &str) -> bool {
    let (lower, upper) = path_bounds(file);
    lower.is_none_or(|lower| *lower <= *location) && upper.is_none_or(|upper| *location <= *upper)
}

fn path_bounds(file: &Entry) -> (Option<String>, Option<String>) {
    let text = |bound: Option<Datum>| match bound?.literal() {
        PrimitiveLiteral::String(text) => Some(text.clone()),
        _ => None,
    };
    let id = RESERVED_FIELD_ID_DELETE_FILE_PATH;
    (text(file.lower_bound(id)), text(file.upper_bound(id)))
}
