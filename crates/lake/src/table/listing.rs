//! The data files of a state of a table, from its manifests: all of them, or those of some.
//!
//! A query whose filter leaves out whole manifests (`scan/summaries.rs`) does not read them. What always holds: whoever changes the table
//! sees all files; and once these are in memory, every query is planned over them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::ManifestFile;
use tokio::sync::OnceCell;

use super::{CONCURRENT_MANIFESTS, LakeTable};
use crate::deletes::DeleteIndex;
use crate::error::LakeError;
use crate::files::FileSet;
use crate::manifest::{self, Entries, Entry};

/// The files of how many choices of manifests are kept.
const KEPT_CHOICES: usize = 32;

/// What is in memory of the files.
#[derive(Default)]
pub(super) struct Listing {
    all: OnceCell<Arc<FileSet>>,
    some: Mutex<VecDeque<Choice>>,
}

/// The files of some manifests.
struct Choice {
    /// Of each manifest whether it is read.
    wanted: Vec<bool>,
    files: Arc<FileSet>,
}

impl Listing {
    /// With files that are known.
    pub(super) fn of(files: Option<FileSet>) -> Listing {
        Listing { all: OnceCell::new_with(files.map(Arc::new)), some: Mutex::default() }
    }

    fn find(&self, wanted: &[bool]) -> Option<Arc<FileSet>> {
        let some = self.some.lock().unwrap_or_else(PoisonError::into_inner);
        some.iter().find(|choice| choice.wanted == wanted).map(|choice| Arc::clone(&choice.files))
    }

    /// Keeps the files of a choice as long as all that is kept is not more than the table has.
    fn keep(&self, wanted: &[bool], files: &Arc<FileSet>) {
        let mut some = self.some.lock().unwrap_or_else(PoisonError::into_inner);
        some.push_back(Choice { wanted: wanted.to_vec(), files: Arc::clone(files) });
        let all = files.files.len() as u64 + files.elsewhere;
        while some.len() > KEPT_CHOICES || some.iter().map(|choice| choice.files.files.len() as u64).sum::<u64>() > all
        {
            some.pop_front();
        }
    }

    fn forget_choices(&self) {
        self.some.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl LakeTable {
    /// The data files of the snapshot.
    ///
    /// # Errors
    /// A manifest that is missing or damaged, files that are not Parquet.
    pub(crate) async fn files(&self) -> Result<Arc<FileSet>, LakeError> {
        self.check_readable()?;
        let files = self.listing.all.get_or_try_init(|| self.load_files(None)).await.cloned()?;
        self.listing.forget_choices();
        Ok(files)
    }

    /// The data files of some of the snapshot's manifests, with the deletes that others of them list.
    ///
    /// # Errors
    /// As [`files`](LakeTable::files).
    pub(crate) async fn files_of(&self, wanted: &[bool]) -> Result<Arc<FileSet>, LakeError> {
        self.check_readable()?;
        if let Some(files) = self.listing.find(wanted) {
            return Ok(files);
        }
        let files = self.load_files(Some(wanted)).await?;
        self.listing.keep(wanted, &files);
        Ok(files)
    }

    /// The files if all are in memory.
    pub(crate) fn loaded_files(&self) -> Option<&Arc<FileSet>> {
        self.listing.all.get()
    }

    async fn load_files(&self, wanted: Option<&[bool]>) -> Result<Arc<FileSet>, LakeError> {
        let manifests = self.manifests().await?;
        let is_wanted = |at: usize| wanted.is_none_or(|wanted| wanted.get(at) != Some(&false));
        let live = || manifests.iter().enumerate().filter(|(_, file)| manifest::is_live(file));
        let left_out = live().filter(|(at, file)| !is_wanted(*at) && !manifest::has_deletes(file));
        let elsewhere = left_out.map(|(_, file)| listed_files(file).unwrap_or(0)).sum();

        let read: Vec<_> = live().filter(|(at, _)| is_wanted(*at)).map(|(_, file)| file).collect();
        // Collected first: a stream over borrowing closures is not provably `Send` for every lifetime.
        let reads: Vec<_> = read.iter().map(|file| self.entries(file)).collect();
        let loaded: Vec<Entries> = futures::stream::iter(reads).buffered(CONCURRENT_MANIFESTS).try_collect().await?;
        let alive = |deletes: bool| {
            let listed = read.iter().zip(&loaded).filter(move |(file, _)| manifest::has_deletes(file) == deletes);
            listed.flat_map(|(file, entries)| {
                let alive = entries.iter().filter(Entry::is_alive);
                alive.map(|entry| (file.partition_spec_id, entry))
            })
        };
        let mut deletes = alive(true).peekable();
        let index = match deletes.peek() {
            Some(_) => Some(DeleteIndex::new(self.delete_store(), self.metadata(), deletes)?),
            None => None,
        };
        let files = alive(false).map(|(spec_id, entry)| {
            let deletes = index.as_ref().and_then(|index| index.of(spec_id, &entry));
            self.file_with(spec_id, &entry, deletes)
        });
        let mut files = FileSet::new(files.collect::<Result<_, _>>()?);
        files.elsewhere = elsewhere;
        Ok(Arc::new(files))
    }
}

/// How many files that are still there a manifest lists; none when the manifest list does not say it.
pub(crate) fn listed_files(file: &ManifestFile) -> Option<u64> {
    Some(u64::from(file.added_files_count?) + u64::from(file.existing_files_count?))
}
