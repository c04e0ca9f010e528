//! The warehouse: an object store by URL and what is remembered of the tables in it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::datasource::object_store::ObjectStoreUrl;
use object_store::ObjectStore;
use uuid::Uuid;
use wharf_catalog::Column;

use crate::cache::WeightedCache;
use crate::deletes::DeleteCache;
use crate::error::LakeError;
use crate::fit;
use crate::metadata::{self, Metadata, Refs};
use crate::partition::Layout;
use crate::properties;
use crate::schema::{self, CHECKED_SINCE_PROPERTY, CONSTRAINT_PROPERTY};
use crate::store::{self, CacheOptions, CacheStatistics, Store, StoreOptions, TableCredentials};
use crate::table::{Caches, LakeTable};
use crate::travel::{Head, Position, Version};

/// How many other stores are kept open, with their connections.
const REMEMBERED_STORES: usize = 64;

/// How a warehouse is opened.
#[derive(Clone, Debug)]
pub struct WarehouseOptions {
    /// How object stores are reached.
    pub store: StoreOptions,
    /// The cache before a store that is remote.
    pub cache: CacheOptions,
    /// The memory for parsed table metadata, in bytes.
    pub metadata_cache_bytes: usize,
    /// The memory for parsed manifests, in bytes.
    pub manifest_cache_bytes: usize,
    /// The memory for what row-level deletes say, in bytes.
    pub delete_cache_bytes: usize,
}

impl Default for WarehouseOptions {
    fn default() -> WarehouseOptions {
        WarehouseOptions {
            store: StoreOptions::default(),
            cache: CacheOptions::default(),
            metadata_cache_bytes: 64 * 1024 * 1024,
            manifest_cache_bytes: 256 * 1024 * 1024,
            delete_cache_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A table to be made.
#[derive(Clone, Debug)]
pub struct NewTable<'a> {
    /// Its identity, new.
    pub id: Uuid,
    /// The folder it goes into: the name of the database.
    pub namespace: &'a str,
    /// Its name at this moment, for people who look at the metadata.
    pub name: &'a str,
    /// Its columns, numbered.
    pub columns: &'a [Column],
    /// How its rows are laid out in files.
    pub layout: Layout,
    /// The field ids of its primary key.
    pub identifier: Vec<i32>,
    /// More table properties.
    pub properties: HashMap<String, String>,
}

/// An object store with Iceberg tables.
pub struct Warehouse {
    store: Arc<Store>,
    options: StoreOptions,
    /// Other stores that were opened without options of their own, by what their URLs begin with.
    others: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    tables: WeightedCache<Arc<LakeTable>>,
    caches: Caches,
    /// Every state that is in memory, whoever holds it.
    states: Mutex<Vec<Weak<LakeTable>>>,
    written_by_plans: AtomicU64,
}

impl Warehouse {
    /// Opens the warehouse of a URL: `file:///srv/lake`, `s3://bucket/lake`, `gs://`, `az://`, `memory://`, or a directory.
    /// The directory is made when it is missing; other stores are not asked anything yet.
    ///
    /// # Errors
    /// [`LakeError::InvalidUrl`], which names the URL.
    pub fn open(url: &str, options: WarehouseOptions) -> Result<Arc<Warehouse>, LakeError> {
        Ok(Arc::new(Warehouse {
            store: Arc::new(Store::open(url, &options.store, &options.cache)?),
            options: options.store,
            others: Mutex::default(),
            tables: WeightedCache::new(options.metadata_cache_bytes),
            caches: Caches {
                manifests: Arc::new(WeightedCache::new(options.manifest_cache_bytes)),
                deletes: Arc::new(WeightedCache::new(options.delete_cache_bytes)),
            },
            states: Mutex::default(),
            written_by_plans: AtomicU64::default(),
        }))
    }

    /// The object store and the URL under which it has to be registered in DataFusion's `RuntimeEnv` before a table is
    /// scanned.
    pub fn object_store(&self) -> (ObjectStoreUrl, Arc<dyn ObjectStore>) {
        (self.store.url().clone(), Arc::clone(self.store.objects()))
    }

    /// Opens the cache before a remote store, which otherwise the first read does; there is none before a local one.
    ///
    /// # Errors
    /// [`LakeError::InvalidUrl`], which names the folder.
    pub async fn open_cache(&self) -> Result<(), LakeError> {
        let Some(cached) = self.store.cached() else { return Ok(()) };
        cached.open().await.map_err(|reason| LakeError::InvalidUrl { url: self.url(), reason })
    }

    /// Asks the store whether it is there: one small request.
    ///
    /// # Errors
    /// What the store says.
    pub async fn reach(&self) -> Result<(), LakeError> {
        self.store.reach().await
    }

    /// What the remote store and its cache did; none for a local store.
    pub fn cache_statistics(&self) -> Option<CacheStatistics> {
        self.store.cached().map(|cached| cached.statistics())
    }

    /// How many data files plans have written here: [`WriteFilesExec`](crate::WriteFilesExec).
    pub fn files_written_by_plans(&self) -> u64 {
        self.written_by_plans.load(Ordering::Relaxed)
    }

    /// A plan has written so many files.
    pub(crate) fn plan_has_written(&self, files: usize) {
        self.written_by_plans.fetch_add(files as u64, Ordering::Relaxed);
    }

    /// The store of a URL that is not in the warehouse, for loading and unloading: what its URLs begin with, up to where
    /// the path begins, and the store itself, which no cache stands before. `given` are options as `object_store` names
    /// them, for this store alone.
    ///
    /// # Errors
    /// [`LakeError::InvalidUrl`], which names the URL and no option's value.
    pub fn other_store(
        &self,
        url: &str,
        given: &HashMap<String, String>,
    ) -> Result<(String, Arc<dyn ObjectStore>), LakeError> {
        let (own, store) = self.object_store();
        if given.is_empty() {
            // What is in the memory is nowhere else.
            if own.as_str() == "memory:///" && url.starts_with("memory:///") {
                return Ok(("memory://".to_owned(), store));
            }
            let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            let known = others.iter().find(|(origin, _)| {
                url.strip_prefix(origin.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if let Some((origin, store)) = known {
                return Ok((origin.clone(), Arc::clone(store)));
            }
        }
        let (origin, store) = store::open_other(url, &self.options, given)?;
        if given.is_empty() {
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            if others.len() >= REMEMBERED_STORES {
                others.clear();
            }
            others.insert(origin.clone(), Arc::clone(&store));
        }
        Ok((origin, store))
    }

    /// Credentials with which a client can read and write the files in a table's folder for a while, and read those in the folders of
    /// tables that it was cloned from. None when the warehouse gives none.
    ///
    /// # Errors
    /// [`LakeError::Credentials`], and [`LakeError::ForeignLocation`] of a folder in another store.
    pub async fn table_credentials(
        &self,
        location: &str,
        borrowed: &[String],
    ) -> Result<Option<TableCredentials>, LakeError> {
        self.store.credentials(location, borrowed).await
    }

    /// The directory of the warehouse as a URL, without a slash at its end.
    pub fn url(&self) -> String {
        self.store.root()
    }

    /// Whether a location is inside of the warehouse's own directory.
    pub fn contains(&self, location: &str) -> bool {
        self.store.holds(location)
    }

    /// Whether a table property can be set by hand, to this value.
    ///
    /// # Errors
    /// [`LakeError::Invalid`], and [`LakeError::Unsupported`] for what Iceberg has and Wharf does not do.
    pub fn check_property(&self, name: &str, value: &str) -> Result<(), LakeError> {
        properties::check(name, value, &self.store)
    }

    /// Writes the metadata of a new, empty table; returns its location. It is durable when this returns.
    pub async fn create_table(&self, table: NewTable<'_>) -> Result<String, LakeError> {
        let location = self.table_location(table.namespace, table.id);
        let (schema, last_column_id) = schema::iceberg_schema(table.columns, 0, None, 0)?;
        let schema = schema::with_identifier(schema, &table.identifier)?;
        let mut properties = table.properties;
        properties.extend(schema::properties(table.columns));
        properties.insert("wharf.created-as".to_owned(), table.name.to_owned());
        let checks = properties.iter().filter(|(_, text)| fit::holds_of_rows(text));
        let checks = checks.filter_map(|(name, _)| name.strip_prefix(CONSTRAINT_PROPERTY));
        let since: Vec<_> = checks.map(|name| (format!("{CHECKED_SINCE_PROPERTY}{name}"), "0".to_owned())).collect();
        properties.extend(since);
        let metadata = metadata::new_table(&location, table.id, &schema, last_column_id, &table.layout, properties)?;
        let file = metadata::next_location(&location, None);
        let content = metadata::encode(&file, &metadata)?;
        let metadata = Metadata { table: metadata, refs: Refs::new(), size_bytes: content.len() };
        let table = self.table(file.clone(), metadata)?;
        self.store.put(&file, content).await?;
        self.remember(table);
        Ok(file)
    }

    /// Where the files of a new table go.
    pub(crate) fn table_location(&self, namespace: &str, id: Uuid) -> String {
        format!("{}/{}/{id}", self.store.root(), folder_name(namespace))
    }

    /// The table that a metadata file describes, from memory if it is there.
    ///
    /// # Errors
    /// A file that is missing or damaged, or a table that uses what is not supported; each names the file.
    pub async fn load(&self, metadata_location: &str) -> Result<Arc<LakeTable>, LakeError> {
        if let Some(table) = self.tables.get(metadata_location) {
            return Ok(table);
        }
        let content = self.store.get(metadata_location).await?;
        let metadata = metadata::parse(metadata_location, content).await?;
        let table = self.table(metadata_location.to_owned(), metadata)?;
        Ok(self.remember(table))
    }

    /// The table that a metadata file describes as a version of it says, from memory if it is there.
    ///
    /// # Errors
    /// As [`load`](Warehouse::load), and [`LakeError::NoVersion`].
    pub async fn load_at(&self, metadata_location: &str, version: &Version) -> Result<Arc<LakeTable>, LakeError> {
        let head = self.load(metadata_location).await?;
        let position = head.find(version)?;
        self.positioned(head, position)
    }

    /// A snapshot as it would be the head of a branch: with the table's current columns, whichever it was written with.
    ///
    /// # Errors
    /// As [`load_at`](Warehouse::load_at).
    pub async fn load_as_head(&self, metadata_location: &str, snapshot_id: i64) -> Result<Arc<LakeTable>, LakeError> {
        let head = self.load(metadata_location).await?;
        let position = head.find_as_head(snapshot_id)?;
        self.positioned(head, position)
    }

    /// The heads of all branches that a metadata file knows, `main` first; none when nothing was ever written.
    ///
    /// # Errors
    /// As [`load`](Warehouse::load).
    pub async fn heads(&self, table: &LakeTable) -> Result<Vec<Head>, LakeError> {
        let mut heads = Vec::new();
        for branches in table.branches_by_snapshot() {
            let Some(first) = branches.first() else { continue };
            let state = self.load_at(table.metadata_location(), &Version::Ref(first.clone())).await?;
            heads.push(Head { branches, state });
        }
        Ok(heads)
    }

    /// Another state of a table, from memory if it is there.
    fn positioned(&self, head: Arc<LakeTable>, position: Position) -> Result<Arc<LakeTable>, LakeError> {
        let metadata_location = head.metadata_location();
        if position == *head.position() {
            return Ok(head);
        }
        // No file is called so.
        let key = format!("{metadata_location}#{position}");
        if let Some(table) = self.tables.get(&key) {
            return Ok(table);
        }
        let table = Arc::new(head.at(position)?);
        self.note(&table);
        self.tables.insert(&key, Arc::clone(&table), table.own_weight());
        Ok(table)
    }

    /// A table of this warehouse.
    pub(crate) fn table(&self, location: String, metadata: Metadata) -> Result<LakeTable, LakeError> {
        LakeTable::new(Arc::clone(&self.store), self.caches.clone(), location, metadata)
    }

    /// Keeps a table in memory.
    pub(crate) fn remember(&self, table: LakeTable) -> Arc<LakeTable> {
        let table = Arc::new(table);
        self.note(&table);
        self.tables.insert(table.metadata_location(), Arc::clone(&table), table.weight());
        table
    }

    fn note(&self, table: &Arc<LakeTable>) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() == states.capacity() {
            states.retain(|state| state.strong_count() > 0);
        }
        states.push(Arc::downgrade(table));
    }

    /// The states of a table that a scan reads now.
    pub fn states_being_read(&self, id: Uuid) -> Vec<Arc<LakeTable>> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|state| state.strong_count() > 0);
        let alive = states.iter().filter_map(Weak::upgrade);
        alive.filter(|state| state.id() == id && state.is_read()).collect()
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn delete_cache(&self) -> &Arc<DeleteCache> {
        &self.caches.deletes
    }
}

/// A name as a folder: whatever some object store or engine might trip over is replaced. Tables in it are told apart by
/// their ids, so two names may share a folder.
pub(crate) fn folder_name(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let name: String = name.chars().map(|c| if safe(c) { c } else { '_' }).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_are_plain() {
        assert_eq!(folder_name("wharf"), "wharf");
        assert_eq!(folder_name("../a b/é"), "___a_b__");
        assert_eq!(folder_name(""), "_");
    }
}
