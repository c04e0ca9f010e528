//! A file that is written piece by piece: one put when it is small, a multipart upload when it is not.
//!
//! At most [`PART_BYTES`] times [`PARTS_IN_FLIGHT`] bytes wait in memory. Nothing is visible before [`Upload::finish`].

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, PutPayloadMut, WriteMultipart};

use super::Store;
use crate::error::LakeError;

/// The size of a part; S3 wants at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// How many parts may be under way.
const PARTS_IN_FLIGHT: usize = 4;

/// A file on its way to the object store.
pub(crate) struct Upload {
    objects: Arc<dyn ObjectStore>,
    location: String,
    path: Path,
    state: State,
    size_bytes: u64,
}

enum State {
    Small(PutPayloadMut),
    Large(WriteMultipart),
}

impl Upload {
    /// Begins a file; nothing is sent yet.
    pub(crate) fn new(store: &Store, location: &str) -> Result<Upload, LakeError> {
        Ok(Upload {
            objects: Arc::clone(store.objects()),
            location: location.to_owned(),
            path: store.path(location)?,
            state: State::Small(PutPayloadMut::new()),
            size_bytes: 0,
        })
    }

    /// Appends bytes; waits while too many parts are under way.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), LakeError> {
        self.size_bytes += bytes.len() as u64;
        let written = match &mut self.state {
            State::Small(buffer) if buffer.content_length() + bytes.len() < PART_BYTES => {
                buffer.push(bytes);
                Ok(())
            }
            State::Small(buffer) => {
                let buffered: PutPayload = std::mem::take(buffer).into();
                match self.objects.put_multipart(&self.path).await {
                    Ok(upload) => {
                        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
                        for chunk in buffered {
                            parts.put(chunk);
                        }
                        parts.put(bytes);
                        self.state = State::Large(parts);
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            State::Large(parts) => {
                let room = parts.wait_for_capacity(PARTS_IN_FLIGHT).await;
                room.map(|()| parts.put(bytes))
            }
        };
        written.map_err(|error| LakeError::store(&self.location, error))
    }

    /// Makes the file visible and durable; returns its size in bytes.
    pub(crate) async fn finish(self) -> Result<u64, LakeError> {
        let done = match self.state {
            State::Small(buffer) => self.objects.put(&self.path, buffer.into()).await,
            State::Large(parts) => parts.finish().await,
        };
        done.map_err(|error| LakeError::store(&self.location, error))?;
        Ok(self.size_bytes)
    }

    /// Gives the file up and removes what was sent of it.
    pub(crate) async fn abort(self) {
        if let State::Large(parts) = self.state
            && let Err(error) = parts.abort().await
        {
            tracing::warn!(location = %self.location, %error, "could not abort an upload");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{CacheOptions, StoreOptions};
    use super::*;

    fn open(directory: &tempfile::TempDir) -> Store {
        let url = directory.path().to_str().unwrap();
        Store::open(url, &StoreOptions::default(), &CacheOptions::default()).unwrap()
    }

    #[tokio::test]
    async fn small_and_large_files_arrive_whole() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        for size in [0_usize, 5, 3 * PART_BYTES + 17] {
            let location = format!("{}/file-{size}", store.root());
            let content: Bytes = (0..size).map(|i| i as u8).collect();
            let mut upload = Upload::new(&store, &location).unwrap();
            for piece in content.chunks(1_000_003) {
                upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            assert_eq!(upload.finish().await.unwrap(), size as u64);
            assert_eq!(store.get(&location).await.unwrap(), content);
        }
    }

    #[tokio::test]
    async fn an_aborted_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        let mut upload = Upload::new(&store, &format!("{}/a", store.root())).unwrap();
        upload.write(vec![1; 2 * PART_BYTES].into()).await.unwrap();
        upload.abort().await;
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
