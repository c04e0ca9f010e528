//! A folder of the warehouse for whole files that are not of tables: backups of the catalog.
//!
//! What always holds: a file that was put is durable when that returns, and is there whole or not at all; one that is there is never
//! overwritten. Its name begins with what no table's folder begins with, so nothing that looks after tables meets it.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{PutMode, PutOptions, PutPayload};

use crate::error::LakeError;
use crate::store::Store;
use crate::warehouse::Warehouse;

/// A folder.
#[derive(Clone, Debug)]
pub struct Folder {
    store: Arc<Store>,
    path: Path,
}

impl Warehouse {
    /// A folder in the warehouse's directory, by its path from there; empty: that directory itself. Nothing is asked or made yet.
    pub fn folder(&self, path: &str) -> Folder {
        let root = self.store().root_path().clone();
        let path = path.split('/').filter(|part| !part.is_empty()).fold(root, |path, part| path.join(part));
        Folder { store: Arc::clone(self.store()), path }
    }
}

impl Folder {
    /// Where a file of the folder is.
    pub fn location(&self, name: &str) -> String {
        self.store.location(&self.file(name))
    }

    /// The names of all files below, as paths from here, in order.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn names(&self) -> Result<Vec<String>, LakeError> {
        let listed = self.store.objects().list(Some(&self.path)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| LakeError::store(self.store.location(&self.path), error))?;
        let below = listed.iter().filter_map(|file| {
            let parts = file.location.prefix_match(&self.path)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
        });
        let mut names: Vec<String> = below.filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// [`LakeError::NotFound`], and a store that fails.
    pub async fn get(&self, name: &str) -> Result<Bytes, LakeError> {
        self.store.get(&self.location(name)).await
    }

    /// Writes a new file. False when there is one of this name, which stays as it is.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn put_new(&self, name: &str, content: Bytes) -> Result<bool, LakeError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.objects().put_opts(&self.file(name), PutPayload::from_bytes(content), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(LakeError::store(self.location(name), error)),
        }
    }

    /// Removes files; a failure is logged and otherwise ignored.
    pub async fn discard(&self, names: impl IntoIterator<Item = String>) {
        self.store.discard(names.into_iter().map(|name| self.location(&name))).await;
    }

    fn file(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.path.clone(), |path, part| path.join(part))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::warehouse::WarehouseOptions;

    #[tokio::test]
    async fn a_file_is_written_once() {
        let directory = tempfile::tempdir().unwrap();
        for url in [format!("file://{}/lake", directory.path().display()), "memory://".to_owned()] {
            let warehouse = Warehouse::open(&url, WarehouseOptions::default()).unwrap();
            let folder = warehouse.folder(".wharf/catalog");
            assert_eq!(folder.names().await.unwrap(), Vec::<String>::new());
            assert!(folder.put_new("b/2", Bytes::from_static(b"two")).await.unwrap());
            assert!(folder.put_new("a/1", Bytes::from_static(b"one")).await.unwrap());
            assert!(!folder.put_new("a/1", Bytes::from_static(b"other")).await.unwrap());
            assert_eq!(folder.names().await.unwrap(), ["a/1", "b/2"]);
            assert_eq!(folder.get("a/1").await.unwrap(), "one");
            assert!(folder.location("a/1").ends_with("/.wharf/catalog/a/1"));
            assert_eq!(warehouse.folder(".wharf").names().await.unwrap(), ["catalog/a/1", "catalog/b/2"]);
            folder.discard(["a/1".to_owned()]).await;
            assert!(matches!(folder.get("a/1").await, Err(LakeError::NotFound { .. })));
        }
    }
}
