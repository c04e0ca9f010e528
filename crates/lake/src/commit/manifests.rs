//! Rewriting manifests: few of them instead of many, each with the files of neighbouring partitions.
//!
//! The same files in other manifests: what always holds is that every entry keeps its snapshot and its sequence numbers, so deletes
//! apply to the files that they applied to before, and the rows keep their ids. This is Iceberg's `rewrite_manifests`.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{ManifestFile, Operation, PrimitiveLiteral};

use super::append::{Group, Merging, entries, group_of, is_incomplete};
use super::snapshot::{Change, Draft};
use crate::error::LakeError;
use crate::manifest::{self, Contents, Entry};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// Which manifests are written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewriteManifests {
    /// Those of this partition specification alone.
    pub spec_id: Option<i32>,
    /// Small ones alone, and only where there are more of them than `commit.manifest.min-count-to-merge`.
    pub only_many_small: bool,
}

/// A state of a table with other manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrittenManifests {
    /// The location of its metadata file.
    pub location: String,
    /// How many manifests went.
    pub rewritten: usize,
    /// How many came.
    pub added: usize,
}

/// Writes manifests of a table anew, so that they have about the size `commit.manifest.target-size-bytes` and list files in the order of
/// their partitions. None when that would change nothing.
///
/// # Errors
/// As [`append`](super::append()).
pub async fn rewrite_manifests(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    which: RewriteManifests,
) -> Result<Option<RewrittenManifests>, LakeError> {
    let merging = Merging::of(base);
    let mut kept = Vec::new();
    let mut groups = BTreeMap::<Group, Vec<ManifestFile>>::new();
    for file in base.manifests().await?.iter().filter(|file| manifest::is_live(file)) {
        match is_candidate(file, which, &merging) {
            true => groups.entry(group_of(file)).or_default().push(file.clone()),
            false => kept.push(file.clone()),
        }
    }
    let mut draft = Draft::new(warehouse, base)?;
    let (mut rewritten, mut added, mut processed) = (0, 0, 0);
    for ((spec_id, _), files) in groups {
        // The list of a new snapshot has to say how many entries there are, which old ones leave open.
        let incomplete = files.iter().any(is_incomplete);
        if which.only_many_small && files.len() <= merging.count && !incomplete {
            kept.extend(files);
            continue;
        }
        let listed = listed(base, &files).await?;
        let wanted = merging.manifests(&files).min(listed.len()).max(1);
        if is_done(&files, wanted, &merging) && is_ordered(&listed) && !incomplete {
            kept.extend(files);
            continue;
        }
        rewritten += files.len();
        processed += listed.len();
        for part in listed.chunks(listed.len().div_ceil(wanted).max(1)) {
            let part = part.iter().map(|listed| listed.entry.clone()).collect();
            draft.add(spec_id, Contents::Existing(part)).await?;
            added += 1;
        }
    }
    if rewritten == 0 {
        return Ok(None);
    }
    let counts = [
        ("manifests-created", added),
        ("manifests-kept", kept.len()),
        ("manifests-replaced", rewritten),
        ("entries-processed", processed),
    ];
    for (name, count) in counts {
        draft.describe(name, count.to_string());
    }
    draft.keep(kept);
    let location = draft.write(Operation::Replace, Change::default(), Change::default(), None).await?;
    Ok(Some(RewrittenManifests { location, rewritten, added }))
}

fn is_candidate(file: &ManifestFile, which: RewriteManifests, merging: &Merging) -> bool {
    let asked = which.spec_id.is_none_or(|id| id == file.partition_spec_id);
    // Manifests that are written here have at least half the size that they should have, so they are not written again and again.
    let small = !which.only_many_small || file.manifest_length < merging.manifest_bytes / 2;
    is_incomplete(file) || (file.key_metadata.is_none() && asked && small)
}

/// Whether there are as many manifests as there should be, or fewer that are not too large.
fn is_done(files: &[ManifestFile], wanted: usize, merging: &Merging) -> bool {
    let large = |file: &ManifestFile| file.manifest_length / 2 > merging.manifest_bytes;
    files.len() == wanted || (files.len() < wanted && !files.iter().any(large))
}

/// An entry of a manifest, by its number among those that are written anew.
struct Listed {
    manifest: usize,
    entry: Entry,
}

/// The files of manifests in the order of their partitions; those of one partition as they were.
async fn listed(base: &LakeTable, manifests: &[ManifestFile]) -> Result<Vec<Listed>, LakeError> {
    let mut listed = Vec::new();
    for (number, file) in manifests.iter().enumerate() {
        let alive = entries(base, std::slice::from_ref(file)).await?.into_iter().filter(Entry::is_alive);
        listed.extend(alive.map(|entry| (partition_of(&entry), Listed { manifest: number, entry })));
    }
    // Values of a field are of one type, all of which are ordered; NULL comes first.
    listed.sort_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    Ok(listed.into_iter().map(|(_, listed)| listed).collect())
}

fn partition_of(entry: &Entry) -> Vec<Option<PrimitiveLiteral>> {
    (0..).map_while(|at| entry.partition_value(at)).collect()
}

/// Whether each manifest has files that follow one another.
fn is_ordered(listed: &[Listed]) -> bool {
    listed.windows(2).all(|pair| pair[0].manifest <= pair[1].manifest)
}
