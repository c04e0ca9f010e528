//! The object store of a warehouse: by URL, with locations as Iceberg writes them.
//!
//! A *location* is what stands in Iceberg metadata: a whole URL, `file:///srv/lake/t/data/a.parquet`. A *path* is what
//! the object store wants: `srv/lake/t/data/a.parquet`. Only this module turns one into the other. Locations are not
//! percent-encoded, since other engines take them as they are.

mod blocks;
mod cached;
mod durable;
mod open;
mod reason;
mod shared_error;
mod upload;
mod vending;

use std::collections::HashMap;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::object_store::ObjectStoreUrl;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutPayload};
use url::Url;

use crate::checksums::verified::VerifiedFiles;
use crate::error::LakeError;
pub use blocks::{CacheOptions, CacheStatistics, MIN_DISK_BYTES};
pub(crate) use cached::CachedStore;
use durable::DurableFileSystem;
pub use open::StoreOptions;
pub use reason::{store_error, store_reason};
pub(crate) use upload::Upload;
pub(crate) use vending::Folders;
use vending::Vending;
pub use vending::{TableCredentials, VENDING_LIFETIMES, VendingOptions};

/// What all locations of a local file system begin with.
const LOCAL: &str = "file:///";

/// An object store and where in it the warehouse is.
#[derive(Debug)]
pub(crate) struct Store {
    /// What all locations in this store begin with, up to and including a slash.
    prefix: String,
    /// The directory of the warehouse.
    root: Path,
    url: ObjectStoreUrl,
    objects: Arc<dyn ObjectStore>,
    /// The cache, before a store that is remote.
    cached: Option<Arc<CachedStore>>,
    data_files: Arc<dyn ObjectStore>,
    /// Gives credentials for tables to clients.
    vending: Option<Arc<Vending>>,
}

impl Store {
    /// Opens the store of a URL, or of a directory of the local file system, which is made when it is missing. A store
    /// that is remote is read through a cache.
    pub(crate) fn open(url: &str, options: &StoreOptions, cache: &CacheOptions) -> Result<Store, LakeError> {
        let invalid = |reason: String| LakeError::InvalidUrl { url: url.to_owned(), reason };
        let parsed = parse(url).map_err(&invalid)?;
        let (scheme, root) = ObjectStoreScheme::parse(&parsed).map_err(|error| invalid(error.to_string()))?;
        let mut cached = None;
        let objects: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Local => {
                let directory = PathBuf::from(format!("/{root}"));
                DurableFileSystem::create(&directory).map(Arc::new).map_err(|error| invalid(error.to_string()))?
            }
            ObjectStoreScheme::Memory => open::remote(&scheme, &parsed, options, &HashMap::new()).map_err(&invalid)?,
            _ => {
                let store = open::remote(&scheme, &parsed, options, &HashMap::new()).map_err(&invalid)?;
                Arc::clone(cached.insert(Arc::new(CachedStore::new(store, cache.clone())))) as _
            }
        };
        let vending = open::vending(&scheme, &parsed, options).map_err(&invalid)?;
        let origin = parsed[..url::Position::BeforePath].to_owned();
        // Some cloud URLs have the container in their path: it belongs to the prefix, not to the root.
        let path = percent_decoded(&parsed);
        let prefix = match path.trim_end_matches('/').strip_suffix(root.as_ref()) {
            Some(container) => format!("{origin}/{}", container.trim_start_matches('/')),
            None => format!("{origin}/"),
        };
        let prefix = if prefix.ends_with('/') { prefix } else { prefix + "/" };
        let url = ObjectStoreUrl::parse(&origin).map_err(|error| invalid(error.to_string()))?;
        // A local file system has no cache before it.
        let remembered = if matches!(scheme, ObjectStoreScheme::Local) { cache.memory_bytes } else { 0 };
        let data_files = Arc::new(VerifiedFiles::remembering(Arc::clone(&objects), remembered));
        Ok(Store { prefix, root, url, objects, cached, data_files, vending })
    }

    /// The object store for reading data files: what it gives is what was written.
    pub(crate) fn data_files(&self) -> &Arc<dyn ObjectStore> {
        &self.data_files
    }

    /// A store whose URLs begin with `origin` and a slash, for reading what is not the warehouse's. DataFusion asks for a store of the
    /// URL before it reads anything, though the readers bring their own: it gets the warehouse's.
    pub(crate) fn foreign(origin: &str, warehouse: &Store, objects: Arc<dyn ObjectStore>) -> Store {
        let data_files = Arc::clone(&objects);
        let (prefix, root, url) = (format!("{origin}/"), Path::default(), warehouse.url.clone());
        Store { prefix, root, url, objects, cached: None, data_files, vending: None }
    }

    /// Credentials for folders, by their locations; none when this store gives none.
    pub(crate) async fn credentials(
        &self,
        own: &str,
        borrowed: &[String],
    ) -> Result<Option<TableCredentials>, LakeError> {
        let Some(vending) = &self.vending else { return Ok(None) };
        let folder = |location: &str| self.path(location.trim_end_matches('/')).map(String::from);
        let borrowed = borrowed.iter().map(|location| folder(location)).collect::<Result<_, _>>()?;
        let folders = Folders { own: folder(own)?, borrowed };
        vending.credentials(&folders).await.map(Some).map_err(LakeError::Credentials)
    }

    /// The object store itself.
    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The cache before the store, if it is remote.
    pub(crate) fn cached(&self) -> Option<&Arc<CachedStore>> {
        self.cached.as_ref()
    }

    /// Under which URL DataFusion has to know the store.
    pub(crate) fn url(&self) -> &ObjectStoreUrl {
        &self.url
    }

    /// The directory of the warehouse as a location, without a slash at its end.
    pub(crate) fn root(&self) -> String {
        let location = self.location(&self.root);
        location.strip_suffix('/').unwrap_or(&location).to_owned()
    }

    /// The same as a path.
    pub(crate) fn root_path(&self) -> &Path {
        &self.root
    }

    /// The location of a path.
    pub(crate) fn location(&self, path: &Path) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The path of a location.
    pub(crate) fn path(&self, location: &str) -> Result<Path, LakeError> {
        let foreign = || LakeError::ForeignLocation { location: location.to_owned(), store: self.prefix.clone() };
        let rest = match location.strip_prefix(&self.prefix) {
            Some(rest) => rest,
            // Other engines write local locations as `file:/a` or `/a`, and S3 as `s3a://` or `s3n://`.
            None if self.prefix == LOCAL => {
                location.strip_prefix("file:").unwrap_or(location).strip_prefix('/').ok_or_else(foreign)?
            }
            None => {
                let bucket = self.prefix.split_once("://").map(|(_, rest)| rest);
                let bucket = bucket.filter(|_| self.prefix.starts_with("s3")).ok_or_else(foreign)?;
                ["s3://", "s3a://", "s3n://"]
                    .iter()
                    .find_map(|scheme| location.strip_prefix(scheme)?.strip_prefix(bucket))
                    .ok_or_else(foreign)?
            }
        };
        Path::parse(rest).map_err(|_| foreign())
    }

    /// Whether a location is in the directory of the warehouse.
    pub(crate) fn holds(&self, location: &str) -> bool {
        // A path that can be parsed has no `..`.
        self.path(location).is_ok_and(|path| path.prefix_matches(&self.root))
    }

    /// The path of a data file that a table in this directory names. Of a local file system it is in the warehouse or the
    /// table's own directory: whoever writes manifests shall not have the server read any file of the machine.
    pub(crate) fn data_path(&self, location: &str, table_location: &str) -> Result<Path, LakeError> {
        let path = self.path(location)?;
        let own = || self.path(table_location).is_ok_and(|table| path.prefix_matches(&table));
        if self.prefix == LOCAL && !path.prefix_matches(&self.root) && !own() {
            let store = self.root();
            return Err(LakeError::ForeignLocation { location: location.to_owned(), store });
        }
        Ok(path)
    }

    /// Asks the store whether it is there. What is asked for is an object that does not exist: that is an answer.
    pub(crate) async fn reach(&self) -> Result<(), LakeError> {
        let failed = |error| LakeError::store(self.root(), error);
        if self.prefix == LOCAL {
            // A file system that is gone answers that, too.
            let directory = format!("/{}", self.root);
            return match tokio::fs::metadata(&directory).await {
                Ok(_) => Ok(()),
                Err(source) => {
                    Err(failed(object_store::Error::Generic { store: "LocalFileSystem", source: source.into() }))
                }
            };
        }
        match self.objects.head(&self.root.clone().join(".reach")).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// The whole content of a file.
    pub(crate) async fn get(&self, location: &str) -> Result<Bytes, LakeError> {
        let path = self.path(location)?;
        let read = async { self.objects.get(&path).await?.bytes().await };
        read.await.map_err(|error| LakeError::store(location, error))
    }

    /// Writes a whole file; it is durable when this returns.
    pub(crate) async fn put(&self, location: &str, content: Bytes) -> Result<(), LakeError> {
        let path = self.path(location)?;
        self.objects
            .put(&path, PutPayload::from_bytes(content))
            .await
            .map_err(|error| LakeError::store(location, error))?;
        Ok(())
    }

    /// Removes files that nobody refers to. A failure leaves an orphan, which is logged and otherwise ignored.
    pub(crate) async fn discard(&self, locations: impl IntoIterator<Item = String>) {
        for location in locations {
            let Ok(path) = self.path(&location) else { continue };
            match self.objects.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%location, %error, "could not remove an orphaned file"),
            }
        }
    }
}

/// Opens a store that is not a warehouse's, and has no cache: its files may change. Gives what its URLs begin with, up
/// to where the path begins, and the store.
///
/// # Errors
/// [`LakeError::InvalidUrl`], which names the URL and no option's value.
pub(crate) fn open_other(
    url: &str,
    options: &StoreOptions,
    given: &HashMap<String, String>,
) -> Result<(String, Arc<dyn ObjectStore>), LakeError> {
    let invalid = |reason: String| LakeError::InvalidUrl { url: url.to_owned(), reason };
    let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    let (scheme, _) = ObjectStoreScheme::parse(&parsed).map_err(|error| invalid(error.to_string()))?;
    let origin = parsed[..url::Position::BeforePath].to_owned();
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Local => Arc::new(LocalFileSystem::new()),
        _ => open::remote(&scheme, &parsed, options, given).map_err(invalid)?,
    };
    Ok((origin, store))
}

/// A URL; a text without a scheme is a directory of the local file system.
fn parse(url: &str) -> Result<Url, String> {
    if url.contains("://") || url.starts_with("file:") || url.starts_with("memory:") {
        return Url::parse(url).map_err(|error| error.to_string());
    }
    if url.is_empty() {
        return Err("the URL is empty".to_owned());
    }
    let absolute = std::path::absolute(FilePath::new(url)).map_err(|error| error.to_string())?;
    // An object store has no `..`.
    let mut directory = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                directory.pop();
            }
            component => directory.push(component),
        }
    }
    Url::from_directory_path(&directory).map_err(|()| "the path cannot be written as a URL".to_owned())
}

/// The path of a URL as the object store sees it.
fn percent_decoded(url: &Url) -> String {
    match Path::from_url_path(url.path()) {
        Ok(path) => format!("/{path}"),
        Err(_) => url.path().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn open(url: &str) -> Store {
        Store::open(url, &StoreOptions::default(), &CacheOptions::default()).unwrap()
    }

    #[test]
    fn locations_and_paths_of_the_local_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("a lake");
        let store = open(&format!("file://{}", root.display()));
        assert!(root.is_dir(), "the directory is made");
        assert_eq!(store.root(), format!("file://{}", root.display()));
        let location = format!("{}/t/x y%20z.avro", store.root());
        let path = store.path(&location).unwrap();
        assert_eq!(store.location(&path), location);
        assert_eq!(store.path(location.strip_prefix("file://").unwrap()).unwrap(), path);
        let hadoop = location.replacen("file://", "file:", 1);
        assert_eq!(store.path(&hadoop).unwrap(), path);
        assert!(matches!(store.path("s3://bucket/a"), Err(LakeError::ForeignLocation { .. })));
    }

    #[test]
    fn data_files_are_in_the_warehouse_or_in_their_table() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&format!("file://{}/lake", directory.path().display()));
        let table = format!("file://{}/registered/t", directory.path().display());
        for (file, allowed) in [
            (format!("{}/other/data/a.parquet", store.root()), true),
            (format!("{table}/data/a.parquet"), true),
            (format!("{table}2/data/a.parquet"), false),
            ("file:///etc/passwd".to_owned(), false),
            ("/etc/passwd".to_owned(), false),
        ] {
            assert_eq!(store.data_path(&file, &table).is_ok(), allowed, "{file}");
        }
    }

    #[test]
    fn a_plain_directory_is_a_file_url() {
        let directory = tempfile::tempdir().unwrap();
        let root = format!("file://{}", directory.path().display());
        assert_eq!(open(directory.path().to_str().unwrap()).root(), root);
        let detour = directory.path().join("a/../b/..");
        assert_eq!(open(detour.to_str().unwrap()).root(), root);
    }

    #[test]
    fn a_store_without_a_directory() {
        let store = open("memory://");
        assert_eq!((store.root().as_str(), store.url().as_str()), ("memory://", "memory:///"));
        let path = store.path("memory:///t/a").unwrap();
        assert_eq!((path.as_ref(), store.location(&path).as_str()), ("t/a", "memory:///t/a"));
    }

    #[test]
    fn locations_in_a_bucket() {
        let other = HashMap::from([
            ("aws_region".to_owned(), "eu-central-1".to_owned()),
            ("aws_access_key_id".to_owned(), "key".to_owned()),
            ("aws_secret_access_key".to_owned(), "secret".to_owned()),
        ]);
        let options = StoreOptions { other, ..StoreOptions::default() };
        let store = Store::open("s3://bucket/lake/", &options, &CacheOptions::default()).unwrap();
        assert_eq!(store.root(), "s3://bucket/lake");
        let path = store.path("s3://bucket/lake/t/data/1.parquet").unwrap();
        assert_eq!(path.as_ref(), "lake/t/data/1.parquet");
        assert_eq!(store.path("s3a://bucket/lake/t/data/1.parquet").unwrap(), path);
        assert_eq!(store.location(&path), "s3://bucket/lake/t/data/1.parquet");
        assert!(store.path("s3://other/lake/t").is_err());
        assert_eq!(store.url().as_str(), "s3://bucket/");
    }

    #[test]
    fn errors_name_the_url() {
        for url in ["nonsense://x/y", "", "file:///proc/nothing/here"] {
            let error = Store::open(url, &StoreOptions::default(), &CacheOptions::default()).unwrap_err();
            assert!(error.to_string().contains(&format!("\"{url}\"")), "{error}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let store = open("memory://");
        let location = format!("{}/t/a.json", store.root());
        let error = store.get(&location).await.unwrap_err();
        assert_eq!(error.to_string(), format!("file \"{location}\" does not exist"));
        store.put(&location, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(store.get(&location).await.unwrap(), "x");
        store.discard([location.clone()]).await;
        assert!(store.get(&location).await.is_err());
    }
}
