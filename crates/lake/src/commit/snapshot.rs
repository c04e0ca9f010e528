//! What all commits share: a snapshot of manifests becomes files on the store and a table in memory.
//!
//! The manifests, the manifest list and the metadata file are encoded first and then written at the same time, since none of
//! them is read before the catalog points at the last. So a small commit takes as long as its slowest fsync.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestFile, Operation, PartitionSpec, Snapshot, Summary, TableMetadata,
};
use uuid::Uuid;

use crate::error::LakeError;
use crate::manifest::{self, Contents, NewManifest, NewSnapshot};
use crate::metadata::{self, Metadata};
use crate::store::Store;
use crate::table::{FileSet, LakeTable, total};
use crate::warehouse::Warehouse;

/// A snapshot in the making.
pub(super) struct Draft<'a> {
    warehouse: &'a Arc<Warehouse>,
    base: &'a Arc<LakeTable>,
    snapshot: NewSnapshot,
    added: Vec<NewManifest>,
    kept: Vec<ManifestFile>,
}

/// What a snapshot changes, for its summary.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) files: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Change {
    /// Data files that come or go.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a DataFile>) -> Change {
        files.into_iter().fold(Change::default(), |sum, file| Change {
            files: sum.files + 1,
            records: sum.records + file.record_count(),
            bytes: sum.bytes + file.file_size_in_bytes(),
        })
    }
}

impl<'a> Draft<'a> {
    /// Begins a snapshot over a state of a table.
    ///
    /// # Errors
    /// Tables that this version cannot write.
    pub(super) fn new(warehouse: &'a Arc<Warehouse>, base: &'a Arc<LakeTable>) -> Result<Draft<'a>, LakeError> {
        let metadata = base.metadata();
        check_writable(base)?;
        Ok(Draft {
            warehouse,
            base,
            snapshot: NewSnapshot {
                id: new_snapshot_id(metadata),
                parent: base.snapshot_id(),
                sequence_number: metadata.next_sequence_number(),
            },
            added: Vec::new(),
            kept: Vec::new(),
        })
    }

    /// Adds a new manifest.
    pub(super) async fn add(&mut self, contents: Contents) -> Result<(), LakeError> {
        let location = format!("{}/metadata/{}-m0.avro", self.base.location(), Uuid::new_v4());
        let schema = Arc::clone(self.base.iceberg_schema());
        let spec = PartitionSpec::clone(self.base.metadata().default_partition_spec());
        let manifest = manifest::encode(&location, self.snapshot, schema, spec, contents).await?;
        self.added.push(manifest);
        Ok(())
    }

    /// Keeps manifests of the base.
    pub(super) fn keep(&mut self, manifests: impl IntoIterator<Item = ManifestFile>) {
        self.kept.extend(manifests);
    }

    /// Writes everything; returns the location of the metadata file. `files` are those of the new snapshot, when known.
    pub(super) async fn write(
        self,
        operation: Operation,
        added: Change,
        removed: Change,
        files: Option<FileSet>,
    ) -> Result<String, LakeError> {
        let Draft { warehouse, base, snapshot, added: manifests, kept } = self;
        let directory = format!("{}/metadata", base.location());
        let list_location = format!("{directory}/snap-{}-1-{}.avro", snapshot.id, Uuid::new_v4());
        // The newest manifest first, as other engines do.
        let listed: Vec<_> = manifests.iter().map(|new| new.file.clone()).chain(kept).collect();
        let list = manifest::encode_list(&list_location, snapshot, &listed).await?;

        let before = base.snapshot().map(|snapshot| snapshot.summary());
        let snapshot = Snapshot::builder()
            .with_snapshot_id(snapshot.id)
            .with_parent_snapshot_id(snapshot.parent)
            .with_sequence_number(snapshot.sequence_number)
            .with_timestamp_ms(metadata::commit_time_ms(base.metadata()))
            .with_manifest_list(list_location.clone())
            .with_summary(summary(operation, before, added, removed))
            .with_schema_id(base.iceberg_schema().schema_id())
            .build();
        let table = successor(base, snapshot)?;
        let mut table = new_state(warehouse, base, table)?;
        let content = metadata::encode(table.metadata_location(), table.metadata())?;

        let mut outgoing: Vec<_> =
            manifests.iter().map(|new| (new.file.manifest_path.clone(), new.content.clone())).collect();
        outgoing.push((list_location, list));
        write_files(base.store(), outgoing, (table.metadata_location().to_owned(), content)).await?;

        for new in &manifests {
            table.remember(&new.file, &new.entries);
        }
        table.preload(listed, files);
        Ok(warehouse.remember(table).metadata_location().to_owned())
    }

    /// The snapshot in the making.
    pub(super) fn added(&self) -> &[NewManifest] {
        &self.added
    }
}

/// Refuses tables that this version does not know how to write.
pub(super) fn check_writable(base: &LakeTable) -> Result<(), LakeError> {
    let metadata = base.metadata();
    let unsupported = |what: &str| {
        let location = base.metadata_location();
        Err(LakeError::Unsupported(format!("writing to table \"{location}\" {what}")))
    };
    if metadata.format_version() != FormatVersion::V2 {
        return unsupported(&format!("of Iceberg format version {}", metadata.format_version() as u8));
    }
    if !metadata.default_partition_spec().is_unpartitioned() {
        return unsupported("with partitions");
    }
    Ok(())
}

/// The metadata with one more snapshot, and as few old ones as the table wants to keep.
fn successor(base: &LakeTable, snapshot: Snapshot) -> Result<TableMetadata, LakeError> {
    let failed = |error: iceberg::Error| LakeError::metadata(base.metadata_location(), error);
    let metadata = base.metadata();
    let mut known: Vec<_> = metadata.snapshots().map(|old| (old.sequence_number(), old.snapshot_id())).collect();
    known.sort_unstable();
    // A branch or a tag may want any of them.
    let surplus = match base.has_other_refs() {
        true => 0,
        false => (known.len() + 1).saturating_sub(metadata::snapshots_kept(metadata)),
    };
    let expired: Vec<_> = known.into_iter().take(surplus).map(|(_, id)| id).collect();
    let built = metadata
        .clone()
        .into_builder(Some(base.metadata_location().to_owned()))
        .set_branch_snapshot(snapshot, MAIN_BRANCH)
        .map_err(failed)?
        .remove_snapshots(&expired)
        .build()
        .map_err(failed)?;
    Ok(built.metadata)
}

/// A table in memory for metadata that is not written yet.
pub(super) fn new_state(warehouse: &Warehouse, base: &LakeTable, table: TableMetadata) -> Result<LakeTable, LakeError> {
    let location = metadata::next_location(base.location(), Some(base.metadata_location()));
    let size_bytes = 1024 * (table.snapshots().len() + 4);
    let refs = metadata::refs_after(base.refs(), &table);
    let metadata = Metadata { table, refs, size_bytes };
    warehouse.table(location, metadata)
}

/// Writes metadata without any new snapshot; returns its location.
pub(crate) async fn write_state(
    warehouse: &Warehouse,
    base: &LakeTable,
    table: TableMetadata,
) -> Result<String, LakeError> {
    let table = new_state(warehouse, base, table)?;
    let content = metadata::encode(table.metadata_location(), table.metadata())?;
    write_metadata(base.store(), (table.metadata_location().to_owned(), content)).await?;
    Ok(warehouse.remember(table).metadata_location().to_owned())
}

/// Writes manifests and manifest list (the last of `files`) and the metadata file, all at once. When one fails, or nobody
/// waits for them any more, they are removed; not before all have ended, since one that is given up half way could still
/// make its file afterwards.
async fn write_files(
    store: &Arc<Store>,
    files: Vec<(String, Bytes)>,
    metadata: (String, Bytes),
) -> Result<(), LakeError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let store = Arc::clone(store);
    tokio::spawn(async move {
        let written = files.iter().chain([&metadata]).map(|(location, _)| location.clone()).collect::<Vec<_>>();
        let result = write_all(&store, files, metadata).await;
        if result.is_err() {
            store.discard(written).await;
            // Nobody waits for the error.
            drop(sender.send(result));
        } else if sender.send(result).is_err() {
            store.discard(written).await;
        }
    });
    receiver.await.unwrap_or_else(|error| Err(LakeError::Task(error.to_string())))
}

async fn write_all(store: &Store, mut files: Vec<(String, Bytes)>, metadata: (String, Bytes)) -> Result<(), LakeError> {
    let list = files.pop();
    let manifests = async {
        for (location, content) in files {
            store.put(&location, content).await?;
        }
        fail::fail_point!("lake::manifest_written", |_| Err(LakeError::Failpoint("lake::manifest_written")));
        Ok(())
    };
    let list = async {
        if let Some((location, content)) = list {
            store.put(&location, content).await?;
        }
        fail::fail_point!("lake::manifest_list_written", |_| Err(LakeError::Failpoint("lake::manifest_list_written")));
        Ok(())
    };
    let (manifests, list, metadata) = futures::join!(manifests, list, write_metadata(store, metadata));
    manifests.and(list).and(metadata)
}

/// Writes the metadata file.
pub(super) async fn write_metadata(store: &Store, (location, content): (String, Bytes)) -> Result<(), LakeError> {
    fail::fail_point!("lake::before_metadata", |_| Err(LakeError::Failpoint("lake::before_metadata")));
    store.put(&location, content).await?;
    fail::fail_point!("lake::metadata_written", |_| Err(LakeError::Failpoint("lake::metadata_written")));
    Ok(())
}

/// The summary of a snapshot, with the totals that other engines and `row_count` read.
fn summary(operation: Operation, before: Option<&Summary>, added: Change, removed: Change) -> Summary {
    let mut properties = HashMap::new();
    let mut count = |name: &str, value: u64| {
        if value > 0 {
            properties.insert(name.to_owned(), value.to_string());
        }
    };
    count("added-data-files", added.files);
    count("added-records", added.records);
    count("added-files-size", added.bytes);
    count("deleted-data-files", removed.files);
    count("deleted-records", removed.records);
    count("removed-files-size", removed.bytes);
    let totals = [
        ("total-data-files", added.files, removed.files),
        ("total-records", added.records, removed.records),
        ("total-files-size", added.bytes, removed.bytes),
        ("total-delete-files", 0, 0),
        ("total-position-deletes", 0, 0),
        ("total-equality-deletes", 0, 0),
    ];
    for (name, plus, minus) in totals {
        // A total that the base does not know stays unknown.
        let old = match before {
            Some(before) => total(before, name),
            None => Some(0),
        };
        if let Some(old) = old {
            let new = (old + plus).saturating_sub(minus);
            properties.insert(name.to_owned(), new.to_string());
        }
    }
    Summary { operation, additional_properties: properties }
}

/// An id that the table does not have yet.
fn new_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let id = ((high ^ low) & i64::MAX as u64) as i64;
        if metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}
