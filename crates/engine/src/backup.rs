//! Backups of the catalog in the warehouse: one when it is asked for, and others by themselves.
//!
//! They are files of `.wharf/catalog/<cluster>/`, called by the entry of the log that they reach to, so that the last in order is the
//! newest. With them and the tables' own files a catalog can be made anew when all nodes are lost. Of each cluster the latest are
//! kept; those of another one, that the warehouse had before, are left alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharf_consensus::Backup;
use wharf_values::SqlError;

use crate::engine::{Engine, now_us};
use crate::error::{from_consensus, from_lake};

/// Where backups are in a warehouse.
pub const BACKUP_FOLDER: &str = ".wharf/catalog";

/// What a backup's name ends with.
pub const BACKUP_EXTENSION: &str = ".backup";

/// How long the last backup may take when the node stops.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// How backups are made by themselves.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// The pause between two looks whether the catalog has changed.
    pub interval: Duration,
    /// How many are kept.
    pub keep: usize,
}

/// A backup that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenBackup {
    pub(crate) location: String,
    pub(crate) log_index: u64,
    pub(crate) bytes: usize,
}

/// The name of a backup in a folder of one cluster.
pub fn backup_name(backup: &Backup) -> String {
    let info = backup.info();
    format!("{:020}-{}{BACKUP_EXTENSION}", info.log_index, info.taken_ms)
}

/// The folder of a cluster's backups in a warehouse.
fn cluster_folder(cluster: Uuid) -> String {
    format!("{BACKUP_FOLDER}/{cluster}")
}

impl Engine {
    /// A backup of the catalog as it is now.
    ///
    /// # Errors
    /// A catalog that does not answer.
    pub async fn backup(&self) -> Result<Backup, SqlError> {
        let backup = self.group.backup(now_us() / 1000, self.warehouse.url()).await;
        backup.map_err(|error| from_consensus(&error))
    }

    /// Writes a backup into the warehouse.
    ///
    /// # Errors
    /// A catalog that does not answer, a store that fails.
    pub(crate) async fn write_backup(&self) -> Result<WrittenBackup, SqlError> {
        let backup = self.backup().await?;
        let folder = self.warehouse.folder(&cluster_folder(backup.info().cluster));
        let name = backup_name(&backup);
        let bytes = Bytes::from(backup.encode());
        let written =
            WrittenBackup { location: folder.location(&name), log_index: backup.info().log_index, bytes: bytes.len() };
        // One that is there, of the same entry of the log in the same millisecond, is the same.
        folder.put_new(&name, bytes).await.map(|_| written).map_err(|error| from_lake(&error))
    }

    /// Writes a backup whenever the catalog has changed, as long as this node leads, until it is told to stop; then a last one.
    pub async fn keep_backups(self: Arc<Self>, options: BackupOptions, stop: CancellationToken) {
        let mut last = None;
        loop {
            self.back_up_if_changed(options, &mut last).await;
            if stop.run_until_cancelled(tokio::time::sleep(options.interval)).await.is_none() {
                break;
            }
        }
        let last_one = self.back_up_if_changed(options, &mut last);
        if tokio::time::timeout(LAST_TIMEOUT, last_one).await.is_err() {
            tracing::warn!("the last backup of the catalog took too long");
        }
    }

    /// `last` is the revision of the catalog that the last backup of this node had, while it leads.
    async fn back_up_if_changed(&self, options: BackupOptions, last: &mut Option<u64>) {
        if !self.group.status().leads {
            // Another node may write meanwhile.
            *last = None;
            return;
        }
        let revision = self.group.local().revision();
        if *last == Some(revision) {
            return;
        }
        match self.write_backup().await {
            Ok(written) => {
                tracing::debug!(location = %written.location, bytes = written.bytes, "the catalog was backed up");
                // It may have more than that, and then the next one comes a little early.
                *last = Some(revision);
                self.forget_backups(options.keep).await;
            }
            Err(error) => tracing::warn!(%error, "the catalog could not be backed up to the warehouse"),
        }
    }

    /// Removes all but the latest backups of this cluster.
    async fn forget_backups(&self, keep: usize) {
        let folder = self.warehouse.folder(&cluster_folder(self.group.status().cluster));
        match folder.names().await {
            Ok(names) => {
                let backups: Vec<String> = names.into_iter().filter(|name| name.ends_with(BACKUP_EXTENSION)).collect();
                let surplus = backups.len().saturating_sub(keep.max(1));
                folder.discard(backups.into_iter().take(surplus)).await;
            }
            Err(error) => tracing::warn!(%error, "former backups of the catalog could not be listed"),
        }
    }
}
