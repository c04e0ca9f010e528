//! What a node has on its disk, opened and checked: the one place that knows which files those are.
//!
//! Everything behind it is reached through narrow traits (`LogStorage`, `Mark`, `Files`), so that the simulation can put a disk
//! in their place that forgets what was not flushed.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use crate::data_folder::DataFolder;
use crate::error::ConsensusError;
use crate::files::{self, Files, FolderFiles};
use crate::flushed::{FlushedMark, Mark};
use crate::identity::Identity;
use crate::log_storage::LogStorage;
use crate::options::GroupOptions;
use crate::raft_types::SnapshotMeta;
use crate::rehearsal;
use crate::sled_storage::SledStorage;
use crate::snapshots::{SnapshotContent, SnapshotStore};
use crate::startup;

/// A disk that was opened.
pub(crate) struct Disk {
    /// Where it is, for messages and to ask for its free space.
    pub(crate) folder: PathBuf,
    /// Where the identity is written.
    pub(crate) files: Arc<dyn Files>,
    /// Who the node was; none in a new folder.
    pub(crate) identity: Option<Identity>,
    pub(crate) storage: Arc<dyn LogStorage>,
    pub(crate) mark: Arc<dyn Mark>,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) newest: Option<(SnapshotMeta, SnapshotContent)>,
    pub(crate) last_log_index: Option<u64>,
    /// Gone when nobody uses the folder any more.
    pub(crate) data: Arc<dyn Any + Send + Sync>,
    /// To be called when the identity has been written.
    pub(crate) upgrade: Box<dyn Fn() -> Result<(), ConsensusError> + Send + Sync>,
}

impl Disk {
    /// Opens and checks everything in a data folder. Blocks.
    ///
    /// # Errors
    /// As `Group::open` says.
    pub(crate) fn open(options: &GroupOptions) -> Result<Disk, ConsensusError> {
        let data = Arc::new(DataFolder::open(&options.directory)?);
        files::check_free_space(data.path(), options.min_free_bytes_to_open)?;
        let path = data.log();
        let mark = FlushedMark::open(&data.flushed()).map_err(|error| ConsensusError::io(&data.flushed(), &error))?;
        let folder = data.snapshots();
        files::create_folder(&folder).map_err(|error| ConsensusError::io(&folder, &error))?;
        let (snapshots, newest) = SnapshotStore::open(Box::new(FolderFiles::new(folder)), Arc::clone(&data) as _)?;
        let covered = newest.as_ref().map(|(meta, _)| meta);
        rehearsal::check(&data, &mark, covered)?;
        let storage =
            SledStorage::open(path.clone(), Arc::clone(&data)).map_err(|error| startup::read_error(&path, &error))?;
        let last_log_index = startup::check_log(&storage, &mark, covered, &path)?;
        let files = FolderFiles::new(data.path().to_owned());
        let identity = Identity::read(&files)?;
        let used = last_log_index.is_some() || newest.is_some();
        if identity.is_none() && used && !data.is_of_first_version() {
            let reason = "the file IDENTITY is missing, though the folder has been used";
            return Err(ConsensusError::damaged(data.path(), reason));
        }
        let upgrading = Arc::downgrade(&data);
        Ok(Disk {
            folder: data.path().to_owned(),
            files: Arc::new(files),
            identity,
            storage: Arc::new(storage),
            mark: Arc::new(mark),
            snapshots,
            newest,
            last_log_index,
            data,
            upgrade: Box::new(move || upgrading.upgrade().map_or(Ok(()), |data| data.upgrade())),
        })
    }
}
