//! The contents of delete files, read once and kept.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::ObjectStoreExt;
use roaring::RoaringTreemap;

use super::{Cached, DeleteFile, DeleteStore, parquet, size_bytes, vector};
use crate::error::LakeError;
use crate::metadata::guarded;

/// Deletion vectors longer than this are refused: the bitmap of all rows of the largest data files is far shorter.
const MAX_VECTOR_BYTES: u64 = 1 << 30;

impl DeleteStore {
    /// A location as it is compared: other engines write the same place in several ways.
    pub(super) fn path(&self, location: &str) -> String {
        self.store.path(location).map_or_else(|_| location.to_owned(), |path| path.to_string())
    }

    /// The positions of a deletion vector.
    pub(super) async fn vector(&self, file: &DeleteFile) -> Result<RoaringTreemap, LakeError> {
        let location = file.entry.file_path();
        let corrupt = |reason: &str| LakeError::corrupt(location, reason);
        let described = &file.entry;
        let place = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let offset = place(described.content_offset()).ok_or_else(|| corrupt("its manifest has no content offset"))?;
        let length = place(described.content_size_in_bytes()).ok_or_else(|| corrupt("its manifest has no size"))?;
        let end = offset.checked_add(length).filter(|end| *end <= described.file_size_in_bytes());
        let end = end.filter(|_| length <= MAX_VECTOR_BYTES);
        let end = end.ok_or_else(|| corrupt("its manifest says that the deletion vector is outside of the file"))?;
        let path = self.store.path(location)?;
        let read = self.store.objects().get_range(&path, offset..end).await;
        let blob = read.map_err(|error| LakeError::store(location, error))?;
        let positions = guarded(location, || vector::decode(location, &blob))?;
        if positions.len() != described.record_count() {
            let reason = format!("{} rows are deleted instead of {}", positions.len(), described.record_count());
            return Err(LakeError::corrupt(location, reason));
        }
        Ok(positions)
    }

    /// The positions of a position delete file, by the path of the data file.
    pub(super) async fn positions(&self, file: &DeleteFile) -> Result<Arc<HashMap<String, RoaringTreemap>>, LakeError> {
        let location = file.entry.file_path();
        if let Some(Cached::ByFile(positions)) = self.cache.get(location) {
            return Ok(positions);
        }
        let _alone = file.loading.lock().await;
        if let Some(Cached::ByFile(positions)) = self.cache.get(location) {
            return Ok(positions);
        }
        let positions = Arc::new(parquet::positions(self, &file.entry).await?);
        let size = positions.iter().map(|(path, rows)| path.len() + size_bytes(rows)).sum();
        self.cache.insert(location, Cached::ByFile(Arc::clone(&positions)), size);
        Ok(positions)
    }
}
