//! Delta: rows are deleted where they are, files give way to others, and files come. This is how rows are deleted and updated.
//!
//! Two ways, by what the table wants: the files that have such rows are written again (copy-on-write), or the rows are deleted by
//! position, in new delete files, and only changed rows are written (merge-on-read). What always holds:
//! - Rows that somebody else has deleted meanwhile stay deleted: a file that was written again must have lost no more rows since
//!   it was read, and rows that are deleted by position must still be there. Otherwise it is a conflict.
//! - Deletes by position of several writers are put together, so that a data file has one deletion vector, or one position delete
//!   file of its own; what these replace goes in the same snapshot.
//! - A data file without any row left goes, with its deletes.
//!
//! Manifests that list none of all this stay as they are; the others are written anew with what is left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::Operation;
use roaring::RoaringTreemap;

use super::append::{Group, entries, group_of, keep};
use super::snapshot::{Change, Draft};
use crate::deletes::{self, DeleteKey, NewDeletes, RemovedFiles, RowDeletes};
use crate::error::LakeError;
use crate::files::{FileSet, LakeFile};
use crate::manifest::{self, Contents, Entry};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// Deletes rows, removes data files and adds others; returns the location of the new metadata file. None when one of the data
/// files is not in the base, or rows of it were deleted that the statement has not seen deleted.
///
/// # Errors
/// As [`append`](super::append()), and deletes that cannot be read.
pub async fn delta(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    removed: &RemovedFiles,
    rows: &RowDeletes,
    added: Vec<WrittenFile>,
) -> Result<Option<String>, LakeError> {
    let operation = if added.is_empty() { Operation::Delete } else { Operation::Overwrite };
    delta_called(operation, warehouse, base, removed, rows, added).await
}

/// The same under the name that the new snapshot is to have for it.
pub(super) async fn delta_called(
    operation: Operation,
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    removed: &RemovedFiles,
    rows: &RowDeletes,
    added: Vec<WrittenFile>,
) -> Result<Option<String>, LakeError> {
    let files = base.files().await?;
    let Some(mut effect) = Effect::of(&files, removed, rows).await? else {
        return Ok(None);
    };
    let mut draft = Draft::new(warehouse, base)?;
    let sorted = effect.sort(base).await?;
    let new = std::mem::take(&mut effect.deleted);
    let written = deletes::write(base.store(), base.location(), draft.version(), &new).await?;
    let locations: HashSet<_> = written.iter().map(|file| file.file_path().to_owned()).collect();
    let result = async {
        let plus = Change::of(added.iter().map(|file| &file.data_file).chain(&written));
        let minus = Change::of_entries(sorted.gone.iter().map(|(_, entry)| entry));
        let mut set = draft.add_files(added).await?;
        let mut by_spec = HashMap::<i32, Vec<_>>::new();
        for (new, file) in new.iter().zip(written) {
            by_spec.entry(new.spec_id).or_default().push(file);
        }
        let mut new_entries = HashMap::new();
        for (spec_id, files) in by_spec {
            let entries = draft.add(spec_id, Contents::Added(files)).await?;
            let named = entries.iter().filter_map(|entry| Some((entry.referenced_data_file()?.to_owned(), entry)));
            new_entries.extend(named);
        }
        draft.add_groups(sorted.gone, Contents::Deleted).await?;
        keep(&mut draft, base, sorted.untouched.into_iter(), sorted.left).await?;

        let rows: HashMap<&str, &Arc<RoaringTreemap>> =
            new.iter().map(|new| (new.data_file.as_str(), &new.rows)).collect();
        for file in files.files.iter().filter(|file| !effect.gone.contains(file.location())) {
            set.push(match (new_entries.get(file.location()), rows.get(file.location())) {
                (Some(entry), Some(rows)) => base.file_after(file, entry, rows)?,
                _ => Arc::clone(file),
            });
        }
        draft.write(operation, plus, minus, Some(FileSet::new(set))).await
    };
    match result.await {
        Ok(location) => Ok(Some(location)),
        Err(error) => {
            base.store().discard(locations).await;
            Err(error)
        }
    }
}

/// What happens to which data file.
struct Effect {
    /// Data files that go.
    gone: HashSet<String>,
    /// Data files that lose rows, and all rows they have lost then.
    deleted: Vec<NewDeletes>,
    /// Delete files that go.
    replaced: HashSet<DeleteKey>,
}

impl Effect {
    /// None for a conflict.
    async fn of(files: &FileSet, removed: &RemovedFiles, rows: &RowDeletes) -> Result<Option<Effect>, LakeError> {
        let mut effect = Effect { gone: HashSet::new(), deleted: Vec::new(), replaced: HashSet::new() };
        let concerned = files.files.iter().filter(|file| removed.contains(file.location()));
        for file in concerned {
            let deleted = file.deleted().await?;
            if !removed.is_as_seen(file.location(), deleted.as_deref()) {
                return Ok(None);
            }
            effect.goes(file);
        }
        if effect.gone.len() < removed.len() {
            return Ok(None);
        }
        let by_location: HashMap<&str, &Arc<LakeFile>> = files
            .files
            .iter()
            .filter(|file| rows.has_file(file.location()))
            .map(|file| (file.location(), file))
            .collect();
        for (location, rows) in rows.iter() {
            let Some(file) = by_location.get(location.as_str()) else {
                return Ok(None);
            };
            let before = file.deleted().await?;
            if effect.gone.contains(location) || before.as_ref().is_some_and(|before| !before.is_disjoint(rows)) {
                return Ok(None);
            }
            let mut all = rows.clone();
            if let Some(before) = &before {
                all |= &**before;
            }
            effect.loses(file, all)?;
        }
        Ok(Some(effect))
    }

    fn goes(&mut self, file: &LakeFile) {
        self.gone.insert(file.location().to_owned());
        self.replaces(file);
    }

    fn replaces(&mut self, file: &LakeFile) {
        self.replaced.extend(file.deletes.iter().flat_map(|deletes| deletes.own()));
    }

    fn loses(&mut self, file: &LakeFile, all: RoaringTreemap) -> Result<(), LakeError> {
        let rows = file.entry.record_count();
        if all.max().is_some_and(|highest| highest >= rows) {
            let what = format!("a row to be deleted is not among the {rows} of \"{}\"", file.location());
            return Err(LakeError::Batch(what));
        }
        if all.len() == rows {
            self.goes(file);
            return Ok(());
        }
        self.replaces(file);
        self.deleted.push(NewDeletes {
            data_file: file.location().to_owned(),
            partition: file.entry.partition(),
            // Known when the manifests are sorted.
            spec_id: 0,
            rows: Arc::new(all),
        });
        Ok(())
    }

    /// The manifests of the base, by what becomes of them.
    async fn sort(&mut self, base: &LakeTable) -> Result<Sorted, LakeError> {
        let mut sorted = Sorted::default();
        let mut specs = HashMap::new();
        let touched: HashSet<String> = self.deleted.iter().map(|new| new.data_file.clone()).collect();
        for file in base.manifests().await?.iter().filter(|file| manifest::is_live(file)) {
            let group = group_of(file);
            let deletes = manifest::has_deletes(file);
            let alive = entries(base, std::slice::from_ref(file)).await?.into_iter().filter(|entry| entry.is_alive());
            let (out, stay): (Vec<_>, Vec<_>) = alive.partition(|entry| match deletes {
                true => self.replaced.contains(&deletes::key(entry)),
                false => self.gone.contains(entry.file_path()),
            });
            if !deletes {
                let touched = stay.iter().filter(|entry| touched.contains(entry.file_path()));
                specs.extend(touched.map(|entry| (entry.file_path().to_owned(), file.partition_spec_id)));
            }
            if out.is_empty() {
                sorted.untouched.push(file.clone());
            } else {
                sorted.gone.extend(out.into_iter().map(|entry| (group, entry)));
                sorted.left.extend(stay.into_iter().map(|entry| (group, entry)));
            }
        }
        for new in &mut self.deleted {
            new.spec_id = specs.get(&new.data_file).copied().unwrap_or(base.metadata().default_partition_spec_id());
        }
        Ok(sorted)
    }
}

/// The manifests and entries of a base.
#[derive(Default)]
struct Sorted {
    /// Manifests that stay as they are.
    untouched: Vec<iceberg::spec::ManifestFile>,
    /// Entries that stay, of manifests that do not.
    left: Vec<(Group, Entry)>,
    /// Entries that go.
    gone: Vec<(Group, Entry)>,
}
