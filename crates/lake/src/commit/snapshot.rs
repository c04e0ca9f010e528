//! What all commits share: a snapshot of manifests becomes files on the store and a table in memory.
//!
//! The manifests, the manifest list and the metadata file are encoded first and then written at the same time, since none of
//! them is read before the catalog points at the last. So a small commit takes as long as its slowest fsync.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestFile,
    Operation, PartitionSpec, Snapshot, Summary, TableMetadata,
};
use uuid::Uuid;

use super::append::Group;
use crate::error::LakeError;
use crate::files::{FileSet, LakeFile};
use crate::loaded;
use crate::maintain;
use crate::manifest::{self, Contents, Entries, Entry, NewManifest, NewSnapshot};
use crate::metadata::{self, Metadata, Refs};
use crate::partition;
use crate::store::Store;
use crate::table::{LakeTable, total};
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// A snapshot in the making.
pub(super) struct Draft<'a> {
    warehouse: &'a Arc<Warehouse>,
    base: &'a Arc<LakeTable>,
    snapshot: NewSnapshot,
    /// The id of the next row that has none (format version 3).
    next_row_id: u64,
    added: Vec<(NewManifest, Entries)>,
    kept: Vec<ManifestFile>,
    /// What the summary says besides.
    described: Vec<(&'static str, String)>,
}

/// What a snapshot changes, for its summary.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) files: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) position_files: u64,
    pub(super) vectors: u64,
    pub(super) position_deletes: u64,
    pub(super) equality_files: u64,
    pub(super) equality_deletes: u64,
}

impl Change {
    /// Data files and delete files that come.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a DataFile>) -> Change {
        let mut sum = Change::default();
        for file in files {
            let bytes = (file.file_size_in_bytes(), file.content_size_in_bytes());
            sum.add(file.content_type(), file.file_format(), bytes, file.record_count());
        }
        sum
    }

    /// Data files and delete files of manifests, which go.
    pub(super) fn of_entries<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Change {
        let mut sum = Change::default();
        for entry in entries {
            let bytes = (entry.file_size_in_bytes(), entry.content_size_in_bytes());
            sum.add(entry.content_type(), entry.file_format(), bytes, entry.record_count());
        }
        sum
    }

    fn add(&mut self, content: DataContentType, format: DataFileFormat, bytes: (u64, Option<i64>), rows: u64) {
        let (whole, part) = bytes;
        // Of a file of deletion vectors, an entry is one vector.
        self.bytes += part.and_then(|size| u64::try_from(size).ok()).unwrap_or(whole);
        match content {
            DataContentType::Data => {
                self.files += 1;
                self.records += rows;
            }
            DataContentType::PositionDeletes => {
                match format == DataFileFormat::Puffin {
                    true => self.vectors += 1,
                    false => self.position_files += 1,
                }
                self.position_deletes += rows;
            }
            DataContentType::EqualityDeletes => {
                self.equality_files += 1;
                self.equality_deletes += rows;
            }
        }
    }

    fn delete_files(&self) -> u64 {
        self.position_files + self.vectors + self.equality_files
    }
}

impl<'a> Draft<'a> {
    /// Begins a snapshot over a state of a table, some of whose rows stay.
    ///
    /// # Errors
    /// Tables that this version cannot write, and [`LakeError::NoValues`] of rows that do not fit the table's columns.
    pub(super) fn new(warehouse: &'a Arc<Warehouse>, base: &'a Arc<LakeTable>) -> Result<Draft<'a>, LakeError> {
        base.check_fits()?;
        Draft::of_other_rows(warehouse, base)
    }

    /// Begins a snapshot over a state of a table of whose rows none stays.
    ///
    /// # Errors
    /// Tables that this version cannot write.
    pub(super) fn of_other_rows(
        warehouse: &'a Arc<Warehouse>,
        base: &'a Arc<LakeTable>,
    ) -> Result<Draft<'a>, LakeError> {
        base.check_readable()?;
        let metadata = base.metadata();
        Ok(Draft {
            warehouse,
            base,
            snapshot: NewSnapshot {
                id: new_snapshot_id(metadata),
                parent: base.snapshot_id(),
                // Version 1 has no sequence numbers: those of what it becomes begin at 1.
                sequence_number: metadata.last_sequence_number() + 1,
                version: metadata.format_version().max(FormatVersion::V2),
                first_row_id: metadata.next_row_id(),
            },
            next_row_id: metadata.next_row_id(),
            added: Vec::new(),
            kept: Vec::new(),
            described: Vec::new(),
        })
    }

    /// The format version that the table will have.
    pub(super) fn version(&self) -> FormatVersion {
        self.snapshot.version
    }

    /// Adds a new manifest of files of one partition specification; gives its entries.
    pub(super) async fn add(&mut self, spec_id: i32, contents: Contents) -> Result<Entries, LakeError> {
        let location = format!("{}/metadata/{}-m0.avro", self.base.location(), Uuid::new_v4());
        let spec = self.base.metadata().partition_spec_by_id(spec_id);
        let spec = spec.ok_or_else(|| {
            let reason = format!("there is no partition specification {spec_id}");
            LakeError::corrupt(self.base.metadata_location(), reason)
        })?;
        let schema = partition::schema_of(self.base.metadata(), self.base.iceberg_schema(), spec);
        let spec = PartitionSpec::clone(spec);
        let mut manifest = manifest::encode(&location, self.snapshot, schema, spec, contents).await?;
        self.assign_row_ids(&mut manifest.file);
        // As everybody else will read it.
        let entries = manifest::parse(&manifest.file, &manifest.content)?;
        self.added.push((manifest, entries.clone()));
        Ok(entries)
    }

    /// Adds data files; gives them as the scan wants them.
    pub(super) async fn add_files(&mut self, files: Vec<WrittenFile>) -> Result<Vec<Arc<LakeFile>>, LakeError> {
        let mut by_spec = BTreeMap::<i32, Vec<_>>::new();
        for file in files {
            by_spec.entry(file.spec_id).or_default().push(file.data_file);
        }
        let mut new = Vec::new();
        for (spec_id, files) in by_spec {
            let entries = self.add(spec_id, Contents::Added(files)).await?;
            for entry in entries.iter() {
                new.push(self.base.file(spec_id, &entry)?);
            }
        }
        Ok(new)
    }

    /// Adds a manifest for each group of entries.
    pub(super) async fn add_groups(
        &mut self,
        entries: Vec<(Group, Entry)>,
        contents: impl Fn(Vec<Entry>) -> Contents,
    ) -> Result<(), LakeError> {
        let mut groups = BTreeMap::<Group, Vec<_>>::new();
        for (group, entry) in entries {
            groups.entry(group).or_default().push(entry);
        }
        for ((spec_id, _), entries) in groups {
            self.add(spec_id, contents(entries)).await?;
        }
        Ok(())
    }

    /// Keeps manifests of the base.
    pub(super) fn keep(&mut self, manifests: impl IntoIterator<Item = ManifestFile>) {
        for mut file in manifests {
            self.assign_row_ids(&mut file);
            self.kept.push(file);
        }
    }

    /// Adds something to the summary of the snapshot.
    pub(super) fn describe(&mut self, name: &'static str, value: String) {
        self.described.push((name, value));
    }

    /// Gives the rows of a data manifest ids if they have none yet, as format version 3 wants it:
    /// <https://iceberg.apache.org/spec/#first-row-id-assignment>.
    fn assign_row_ids(&mut self, file: &mut ManifestFile) {
        let wanted = self.snapshot.version >= FormatVersion::V3 && file.content == ManifestContentType::Data;
        if wanted && file.first_row_id.is_none() {
            file.first_row_id = Some(self.next_row_id);
            self.next_row_id += file.added_rows_count.unwrap_or(0) + file.existing_rows_count.unwrap_or(0);
        }
    }

    /// Writes everything; returns the location of the metadata file. `files` are those of the new snapshot, when known.
    pub(super) async fn write(
        self,
        operation: Operation,
        added: Change,
        removed: Change,
        files: Option<FileSet>,
    ) -> Result<String, LakeError> {
        let Draft { warehouse, base, snapshot, next_row_id, added: manifests, kept, described } = self;
        let NewSnapshot { version, first_row_id, .. } = snapshot;
        let directory = format!("{}/metadata", base.location());
        let list_location = format!("{directory}/snap-{}-1-{}.avro", snapshot.id, Uuid::new_v4());
        // The newest manifest first, as other engines do.
        let listed: Vec<_> = manifests.iter().map(|(new, _)| new.file.clone()).chain(kept).collect();
        let list = manifest::encode_list(&list_location, snapshot, &listed).await?;

        let before = base.snapshot().map(|snapshot| snapshot.summary());
        let mut summary = summary(operation, before, added, removed);
        summary.additional_properties.extend(described.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let snapshot = Snapshot::builder()
            .with_snapshot_id(snapshot.id)
            .with_parent_snapshot_id(snapshot.parent)
            .with_sequence_number(snapshot.sequence_number)
            .with_timestamp_ms(metadata::commit_time_ms(base.metadata()))
            .with_manifest_list(list_location.clone())
            .with_summary(summary)
            .with_schema_id(base.iceberg_schema().schema_id());
        let snapshot = match version {
            FormatVersion::V1 | FormatVersion::V2 => snapshot.build(),
            FormatVersion::V3 => snapshot.with_row_range(first_row_id, next_row_id - first_row_id).build(),
        };
        let branch = base.branch().ok_or_else(|| {
            LakeError::Unsupported(format!("writing to an old version of table \"{}\"", base.metadata_location()))
        })?;
        let table = successor(base, version, snapshot, branch)?;
        let mut table = new_state(warehouse, base, table)?;
        let content = metadata::encode(table.metadata_location(), table.metadata())?;

        let mut outgoing: Vec<_> =
            manifests.iter().map(|(new, _)| (new.file.manifest_path.clone(), new.content.clone())).collect();
        outgoing.push((list_location, list));
        write_files(base.store(), outgoing, (table.metadata_location().to_owned(), content)).await?;

        for (new, entries) in &manifests {
            table.remember(&new.file, entries);
        }
        if branch == MAIN_BRANCH {
            table.preload(listed, files);
        }
        Ok(warehouse.remember(table).metadata_location().to_owned())
    }
}

/// The metadata with one more snapshot, and as few old ones as the table wants to keep.
fn successor(
    base: &LakeTable,
    version: FormatVersion,
    snapshot: Snapshot,
    branch: &str,
) -> Result<TableMetadata, LakeError> {
    let failed = |error: iceberg::Error| LakeError::metadata(base.metadata_location(), error);
    let metadata = base.metadata();
    let expired = maintain::surplus(metadata, base.refs(), branch, metadata::now_ms());
    let snapshot = Arc::new(snapshot);
    let left = metadata.snapshots().filter(|snapshot| !expired.contains(&snapshot.snapshot_id()));
    let loaded = loaded::carried(metadata, left.chain([&snapshot]));
    let builder = metadata
        .clone()
        .into_builder(Some(base.metadata_location().to_owned()))
        .upgrade_format_version(version)
        .map_err(failed)?
        .set_branch_snapshot(Arc::unwrap_or_clone(snapshot), branch)
        .map_err(failed)?
        .remove_snapshots(&expired);
    let builder = match loaded {
        Some(loaded) => loaded::set(builder, loaded).map_err(failed)?,
        None => builder,
    };
    builder.build().map(|built| built.metadata).map_err(failed)
}

/// A table in memory for metadata that is not written yet.
pub(super) fn new_state(warehouse: &Warehouse, base: &LakeTable, table: TableMetadata) -> Result<LakeTable, LakeError> {
    let refs = metadata::refs_after(base.refs(), &table);
    new_state_with(warehouse, base, table, refs)
}

/// The same where branches or tags have come or gone.
pub(super) fn new_state_with(
    warehouse: &Warehouse,
    base: &LakeTable,
    table: TableMetadata,
    refs: Refs,
) -> Result<LakeTable, LakeError> {
    let location = metadata::next_location(base.location(), Some(base.metadata_location()));
    let size_bytes = 1024 * (table.snapshots().len() + 4);
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
    let task = tokio::spawn(async move {
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
    match receiver.await {
        Ok(result) => result,
        // The task has ended before it had an answer, and knows why.
        Err(closed) => Err(task.await.map_or_else(LakeError::from, |()| LakeError::Task(closed.to_string()))),
    }
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
    for (verb, change) in [("added", added), ("removed", removed)] {
        count(&format!("{verb}-delete-files"), change.delete_files());
        count(&format!("{verb}-position-delete-files"), change.position_files);
        count(&format!("{verb}-dvs"), change.vectors);
        count(&format!("{verb}-position-deletes"), change.position_deletes);
        count(&format!("{verb}-equality-delete-files"), change.equality_files);
        count(&format!("{verb}-equality-deletes"), change.equality_deletes);
    }
    let totals = [
        ("total-data-files", added.files, removed.files),
        ("total-records", added.records, removed.records),
        ("total-files-size", added.bytes, removed.bytes),
        ("total-delete-files", added.delete_files(), removed.delete_files()),
        ("total-position-deletes", added.position_deletes, removed.position_deletes),
        ("total-equality-deletes", added.equality_deletes, removed.equality_deletes),
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
