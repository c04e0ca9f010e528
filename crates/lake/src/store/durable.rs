//! The local file system as an object store whose writes last.
//!
//! What always holds: when a put or a multipart upload has returned, the file and every directory entry that leads to it
//! from the warehouse's directory have been fsynced. `object_store`'s own local file system does not do that.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// How many directories are remembered as durable before the memory starts afresh.
const REMEMBERED_DIRECTORIES: usize = 64 * 1024;

/// An fsync that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not fsync \"{}\": {source}", path.display())]
struct SyncError {
    path: PathBuf,
    source: io::Error,
}

/// The local file system with durable writes.
#[derive(Debug)]
pub(super) struct DurableFileSystem {
    inner: LocalFileSystem,
    directories: Arc<Directories>,
}

/// Which directories are known to have durable entries in their parents.
#[derive(Debug)]
struct Directories {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl DurableFileSystem {
    /// The file system, after making sure that the directory of the warehouse exists. Paths start at the file system's root.
    pub(super) fn create(root: &FilePath) -> io::Result<DurableFileSystem> {
        fs::create_dir_all(root)?;
        for directory in root.ancestors() {
            // Directories above may belong to others; those made just now do not.
            match sync_one(directory) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
                result => result?,
            }
        }
        Ok(DurableFileSystem {
            inner: LocalFileSystem::new(),
            directories: Arc::new(Directories { root: root.to_owned(), durable: Mutex::new(HashSet::new()) }),
        })
    }

    async fn sync(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        sync(Arc::clone(&self.directories), path).await
    }
}

/// Fsyncs a file and the directories that lead to it.
async fn sync(directories: Arc<Directories>, path: PathBuf) -> Result<()> {
    let work = tokio::task::spawn_blocking(move || directories.sync(&path));
    let synced = work.await.map_err(|source| object_store::Error::JoinError { source })?;
    synced.map_err(|source| object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(source) })
}

impl Directories {
    fn sync(&self, path: &FilePath) -> std::result::Result<(), SyncError> {
        let sync = |path: &FilePath| sync_one(path).map_err(|source| SyncError { path: path.to_owned(), source });
        sync(path)?;
        let mut made = Vec::new();
        for directory in path.ancestors().skip(1) {
            sync(directory)?;
            if directory == self.root || self.is_durable(directory) {
                break;
            }
            made.push(directory.to_owned());
        }
        if !made.is_empty() {
            let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
            if durable.len() > REMEMBERED_DIRECTORIES {
                durable.clear();
            }
            durable.extend(made);
        }
        Ok(())
    }

    fn is_durable(&self, directory: &FilePath) -> bool {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(directory)
    }
}

fn sync_one(path: &FilePath) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl fmt::Display for DurableFileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let result = self.inner.put_opts(location, payload, options).await?;
        self.sync(location).await?;
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload { inner, path, directories: Arc::clone(&self.directories) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

/// A multipart upload that is fsynced when it completes.
#[derive(Debug)]
struct DurableUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
    directories: Arc<Directories>,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        sync(Arc::clone(&self.directories), self.path.clone()).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn puts_and_uploads_make_their_directories_durable() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("lake");
        let store = DurableFileSystem::create(&root).unwrap();
        let at = |name: &str| Path::from_absolute_path(root.join(name)).unwrap();

        store.put(&at("t/data/a"), "1".into()).await.unwrap();
        assert!(store.directories.is_durable(&root.join("t/data")));
        assert!(store.directories.is_durable(&root.join("t")));
        assert!(!store.directories.is_durable(&root), "the root is made durable once, at the start");

        let mut upload = store.put_multipart(&at("u/b")).await.unwrap();
        upload.put_part("2".into()).await.unwrap();
        assert!(!root.join("u/b").exists(), "nothing is visible before the end");
        upload.complete().await.unwrap();
        assert!(store.directories.is_durable(&root.join("u")));
        assert_eq!(fs::read_to_string(root.join("u/b")).unwrap(), "2");
        let read = store.get(&at("t/data/a")).await.unwrap().bytes().await.unwrap();
        assert_eq!(read, "1");
    }

    #[test]
    fn an_fsync_that_fails_is_an_error_that_names_the_file() {
        let directories = Directories { root: PathBuf::from("/"), durable: Mutex::new(HashSet::new()) };
        let error = directories.sync(FilePath::new("/no/such/file")).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }
}
